# SPDX-License-Identifier: BSD-3-Clause
"""Tables as text, Markdown, CSV and LaTeX; and those that a paper wants of a run.

LaTeX needs the package booktabs, and nothing else."""
import csv
import io
from dataclasses import dataclass
from pathlib import Path
from unicodedata import east_asian_width

import numpy as np

from .axes import bytes_text, number
from .crossover import LEVELS
from .derive import NOT_APPROXIMATE
from .lines import TIME, WORK, facts, said
from .pareto import best_length, points
from .speed import speedup_at


@dataclass(frozen=True)
class Table:
    name: str      # of its files
    caption: str
    head: tuple
    rows: list     # of tuples of text
    right: tuple = ()  # columns that are numbers, by index


FORMATS = ("text", "md", "csv", "tex")
BUDGETS = (1 / 16, 1 / 4, 1.0)  # of the operations of exact attention
TEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
       "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
       "σ": r"$\sigma$", "ρ": r"$\rho$", "µ": r"\textmu{}", "×": r"$\times$", "≤": r"$\leq$",
       "–": "--", "\u00a0": "~", "\u2009": r"\,", "²": r"\textsuperscript{2}"}


def render(table, fmt):
    """The table as text that ends in a newline."""
    return {"text": _text, "md": _markdown, "csv": _csv, "tex": _latex}[fmt](table)


def _text(table):
    grid = [table.head] + table.rows
    widths = [max(_width(row[k]) for row in grid) for k in range(len(table.head))]
    out = []
    for row in grid:
        cells = [" " * (w - _width(c)) + c if k in table.right else c + " " * (w - _width(c))
                 for k, (c, w) in enumerate(zip(row, widths))]
        out.append("  ".join(cells).rstrip())
    return "\n".join(out) + "\n"


def _width(text):
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def _markdown(table):
    def line(cells):
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"
    rule = ["---:" if k in table.right else "---" for k in range(len(table.head))]
    return "\n".join([line(table.head), line(rule)] + [line(r) for r in table.rows]) + "\n"


def _csv(table):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([table.head] + table.rows)
    return out.getvalue()


def _latex(table):
    spec = "".join("r" if k in table.right else "l" for k in range(len(table.head)))
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{tex(table.caption)}}}",
             rf"\label{{tab:{table.name}}}", rf"\begin{{tabular}}{{{spec}}}", r"\toprule",
             " & ".join(tex(h) for h in table.head) + r" \\", r"\midrule"]
    lines += [" & ".join(tex(c) for c in row) + r" \\" for row in table.rows]
    return "\n".join(lines + [r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def tex(text):
    """Text for LaTeX."""
    return "".join(TEX.get(c, c) for c in text)


# The tables of a run


def of_run(analysis):
    """Every table of a run, up to four a group."""
    out = []
    for group in analysis.run.groups:
        for make in (results, bargains, exponents, crossovers):
            table = make(analysis, group)
            if table.rows:
                out.append((group, table))
    return out


def write(analysis, folder, formats=("tex", "md")):
    """folder/GROUP/results.tex and so on; returns the paths."""
    paths = []
    for group, table in of_run(analysis):
        place = Path(folder) / group.slug
        place.mkdir(parents=True, exist_ok=True)
        for fmt in formats:
            path = place / f"{table.name}.{fmt}"
            head = f"{table.caption}\n\n" if fmt == "md" else ""
            path.write_text(head + render(table, fmt), encoding="utf-8")
            paths.append(path)
    return paths


def _what(group):
    return ", ".join(facts(group))


def results(analysis, group):
    """Time, ratio to flash, workspace and error at the longest length that most reached."""
    n = best_length(group) or max(group.measured_lengths, default=0)
    flash, time = group.find("flash"), said(TIME, group)
    rows = []
    for s in group.series:
        row = s.at(n)
        if row is None:
            continue
        ratio = (speedup_at(analysis.rounds, flash, s, n)
                 if flash is not None and flash is not s and flash.timed(n) and s.timed(n) else None)
        rows.append((row["time_median_ns"], (
            s.label, s.family, _interval(row, time.scale), str(ratio) if ratio else "1" if s is flash and s.timed(n) else "",
            _bytes(row["ws_tracked_bytes"]), _bytes(row["state_bytes"]),
            _plain(row["err_exact_rel_fro"]), _plain(row["task_accuracy"]))))
    rows = [r for _, r in sorted(rows, key=lambda p: p[0])]
    if any(r[6] for r in rows):
        rows += [("(uniform average)", "", "", "", "", "", _plain(group.uniform(n)), ""), ("(zeros)", "", "", "", "", "", "1", "")]
    head = ("variant", "family", f"{'time' if time is TIME else 'time per token'} {time.axis[-4:]} [95 %]", "times as fast as flash", "workspace", "state",
            "relative error", "task accuracy")
    return _filled("results", f"Time, workspace and error at n = {n}: {_what(group)}.", head, rows, (4, 5, 6, 7))


def bargains(analysis, group):
    """Of variants with several settings: what an error takes in operations, and what error a budget of them buys."""
    n = best_length(group)
    exact = group.find("flash") or group.find("full")
    if n is None or exact is None or exact.at(n) is None:
        return Table("bargains", "", (), [])
    whole = exact.at(n)["flops_executed"] * WORK.scale
    settings = {}
    for s, work, _, _, error in points(group, n, WORK):
        if s.family not in NOT_APPROXIMATE:
            settings.setdefault(s.variant, []).append((work / whole, error))
    rows = []
    for variant, found in settings.items():
        if len(found) < 2:
            continue
        best = [min((e for w, e in found if w <= budget), default=np.nan) for budget in BUDGETS]
        least = [min((w for w, e in found if e <= level), default=np.nan) for level in reversed(LEVELS)]
        rows.append((variant, str(len(found)), *(_plain(e) for e in best), *(_plain(w) for w in least)))
    if rows:
        rows += [("(uniform average)", "", *[_plain(group.uniform(n))] * len(BUDGETS), *[""] * len(LEVELS)),
                 ("(zeros)", "", *["1"] * len(BUDGETS), *[""] * len(LEVELS))]
    head = ("variant", "settings", *(f"error at 1/{1 / b:g} of the work" if b < 1 else "error at the same work" for b in BUDGETS),
            *(f"work for error {level:g}" for level in reversed(LEVELS)))
    return Table("bargains", f"Least relative error within a budget of operations, and least operations for an error, as shares of what "
                 f"exact attention takes, over the settings measured, at n = {n}: {_what(group)}.", head, rows,
                 tuple(range(1, len(head))))


def _filled(name, caption, head, rows, right=()):
    """A table without the columns that are empty throughout."""
    keep = [k for k in range(len(head)) if any(r[k] for r in rows)]
    return Table(name, caption, tuple(head[k] for k in keep), [tuple(r[k] for k in keep) for r in rows],
                 tuple(i for i, k in enumerate(keep) if k in right))


def exponents(analysis, group):
    """How time and memory grow."""
    rows = []
    for s in group.series:
        f, m = analysis.fit(s, "time"), analysis.fit(s, "memory")
        if f is None:
            continue
        parts = f.parts.name() if f.parts else ""
        rows.append((s.label, str(f.local[-1]), str(f.exponent),
                     f"{f.tail} from {f.tail_from}" if f.tail_from else "", parts,
                     str(f.parts.shares[2 if len(f.parts.growths[0]) > 1 else 1]) if f.parts else "",
                     str(f.work), str(m.exponent) if m else ""))
    lengths = group.measured_lengths
    within = f" within n = {lengths[0]} to {lengths[-1]}" if lengths else ""
    head = ("variant", "last local slope", "exponent of n", "of the tail", "growth", "its share at the longest n",
            "slope against FLOPs", "workspace")
    return _filled("exponents", f"Growth of time and workspace{within}, with 95 % intervals: {_what(group)}.", head, rows)


def crossovers(analysis, group):
    """From where a variant is faster, and leaner, than the exact baselines."""
    rows = []
    for s in group.series:
        cells = []
        for base, quantity in (("full", "time"), ("flash", "time"), ("full", "memory"), ("flash", "memory")):
            c = analysis.crossing(base, s, quantity)
            cells += [str(c) if c else ""] + ([c.length() if c else ""] if quantity == "time" else [])
        if any(cells):
            rows.append((s.label, *cells))
    return Table("crossovers", f"Lengths from which a variant is faster than, or takes less workspace "
                 f"than, exact attention, with 95 % intervals: {_what(group)}.",
                 ("variant", "faster than full", "n*", "faster than flash", "n*",
                  "leaner than full", "leaner than flash"), rows)


def _bytes(value):
    return bytes_text(value) if np.isfinite(value) else ""


def _interval(row, scale):
    low, high = row["time_ci95_lo_ns"], row["time_ci95_hi_ns"]
    text = _plain(row["time_median_ns"] * scale) and number(row["time_median_ns"] * scale)
    return text + (f" [{number(low * scale)}, {number(high * scale)}]" if np.isfinite(low + high) else "")


def _plain(value):
    return f"{value:.3g}" if np.isfinite(value) else ""
