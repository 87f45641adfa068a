# SPDX-License-Identifier: BSD-3-Clause
"""From the CSV of a run to figures, findings and a report.

Reads summary.csv, raw.csv and run.json of a run directory and nothing else:

    data      the files as checked tables; groups (a figure) of series (a curve)
    speed     ratios of times, paired by round, and where they cross
    findings  the three most interesting results, in words
    style     colours, markers, sizes;  labels, axes, canvas: where things go
    lines     time, memory and error against length;  pareto: error against time
    figures   which figures there are, and their files;  gp: those by gnuplot
    report    report.html, from templates/;  svg, machine: parts of it
"""
