# SPDX-License-Identifier: BSD-3-Clause
"""From the CSV of a run to fits, comparisons, figures and a report.

Reads summary.csv, raw.csv and run.json of a run directory and nothing else:

    data       the files as checked tables; groups (a figure) of series (a curve)
    speed      ratios of times, paired by round;  crossover: from which length
    bootstrap  resampled rounds;  fits: how a quantity grows with the length
    derive     fits.csv, slopes.csv, crossovers.csv: all of a run, computed once
    findings   the most interesting results, in words
    compare    two runs, or two variants of one
    lint       is a table plausible?  foreign: tables of other programs
    published  tables of papers (results/published) beside a run
    style      colours, markers, sizes;  labels, axes, canvas: where things go
    lines      curves against length;  pareto, trade: what is given up for what
    forest     intervals side by side;  knobs, roofline, noise, matrices: the rest
    figures    which figures there are, and their files;  gp: those by gnuplot
    tables     text, Markdown, CSV, LaTeX
    report     report.html, from templates/;  svg, machine: parts of it
"""
import os

# Matrices here have a handful of rows; threads of BLAS would only wait.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
