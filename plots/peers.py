# SPDX-License-Identifier: BSD-3-Clause
"""Our variants beside other programs: time relative to flash, and to our own variant of the same
definition, with intervals, memory and error; as figures, as CSV, as Markdown and in words.

A variant of another program is called PROGRAM/NAME; run.json says which of ours it is made after.
"""
import csv
import math
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from . import machine, style
from .axes import bytes_text, number
from .data import DataError
from .figures import FORMATS, save
from .speed import FASTER, SAME, SLOWER, Ratio, round_medians, speedup

BASE = "flash"
# Okabe and Ito's, and two more; ours are ink.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5c2e", "#690f66"]
FILES = ("peers.csv", "peers.md")


@dataclass(frozen=True)
class Line:
    """One cell of another program, or of ours, at one shape."""
    row: object         # of summary.csv
    label: str
    engine: str         # "" for ours
    base: str           # name of our variant of that definition
    to_flash: Ratio     # time of the cell over that of flash; None: not measured
    to_ours: Ratio      # time of the cell over that of `base`; None: no such cell

    @property
    def ok(self):
        return self.row["status"] in ("ok", "inaccurate") and self.row["time_median_ns"] > 0


def inverse(ratio):
    return Ratio(1 / ratio.value, 1 / ratio.high, 1 / ratio.low, ratio.pairs)


def collect(run):
    """{(d, causal, threads, dtype, input): {n: [Line]}}; DataError without flash or another program."""
    rounds = round_medians(run)
    info = run.info.get("engines", {})
    out = {}
    for group in run.groups:
        key = group.key
        at = (int(key["d_head"]), bool(key["causal"]), int(key["threads"]), key["dtype"], key["input_kind"])
        for n, cells in group.cells.groupby("n"):
            flash = _first(cells, BASE, "")
            lines = [_line(row, cells, flash, rounds, info) for _, row in cells.iterrows()]
            out.setdefault(at, {}).setdefault(int(n), []).extend(lines)
    if not any(line.engine for shapes in out.values() for lines in shapes.values() for line in lines):
        raise DataError(f"{run.path}: no cell is another program's. Name some, as in "
                        "`attnbench run harness/sweeps/peers.ini`; `attnbench list --engines` shows them.")
    return out


def _first(cells, variant, params):
    """The measured cell of a variant of ours: with these parameters, else with any."""
    rows = cells[(cells["variant"] == variant) & cells["status"].isin(["ok", "inaccurate"])
                 & (cells["time_median_ns"] > 0)]
    exact = rows[rows["params"] == params]
    rows = exact if len(exact) else rows
    return rows.iloc[0] if len(rows) else None


def _line(row, cells, flash, rounds, info):
    engine = row["variant"].partition("/")[0] if "/" in row["variant"] else ""
    base = info.get(row["variant"], {}).get("definition", "").partition(":")[0] if engine else row["variant"]
    ours = _alike(cells, row, base) if engine and base else None
    timed = row["status"] in ("ok", "inaccurate") and row["time_median_ns"] > 0
    return Line(row, _label(row), engine, base,
                inverse(speedup(rounds, flash, row)) if timed and flash is not None else None,
                inverse(speedup(rounds, ours, row)) if timed and ours is not None else None)


def _alike(cells, row, base):
    """Our cell of that definition whose parameters agree with most of the program's."""
    rows = cells[(cells["variant"] == base) & cells["status"].isin(["ok", "inaccurate"])
                 & (cells["time_median_ns"] > 0)]
    if rows.empty:
        return None
    wanted = set(filter(None, row["params"].split(":")))
    return rows.iloc[int(np.argmax([len(wanted & set(p.split(":"))) for p in rows["params"]]))]


def _label(row):
    """The name, and parameters that tell it from another cell of that name."""
    shown = [p for p in row["params"].split(":") if p in ("proj=uniform", "proj=gauss", "eps=0.0001")]
    return " ".join([row["variant"]] + shown)


# --- the table ----------------------------------------------------------------------------------

COLUMNS = ["d", "causal", "threads", "dtype", "input", "n", "variant", "params", "impl", "definition",
           "status", "time_ns", "time_lo_ns", "time_hi_ns", "over_flash", "over_flash_lo", "over_flash_hi",
           "over_ours", "over_ours_lo", "over_ours_hi", "roof_share", "memory_bytes", "err_impl", "err_exact",
           "rounds", "flags", "message"]


def write_csv(lines, path):
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for (d, causal, threads, dtype, data), shapes in lines.items():
            for n, cells in sorted(shapes.items()):
                for line in cells:
                    row = line.row
                    table.writerow([_csv(v) for v in (
                        d, int(causal), threads, dtype, data, n, row["variant"], row["params"], row["impl"],
                        line.base, row["status"], row["time_median_ns"], row["time_ci95_lo_ns"],
                        row["time_ci95_hi_ns"], *_three(line.to_flash), *_three(line.to_ours),
                        row.get("roof_share", math.nan), row["rss_delta_bytes"], row["err_impl_rel_fro"], row["err_exact_rel_fro"],
                        row["rounds"], row["flags"], row["message"])])


def _three(ratio):
    return (ratio.value, ratio.low, ratio.high) if ratio else (math.nan,) * 3


def _csv(value):
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value


def as_markdown(run, lines):
    words = ["# Our variants beside other programs", "",
             f"Run `{run.info.get('run_id', run.path.name)}`, {machine.cpu(run.info) or 'machine not recorded'}. "
             f"Numbers are time over the time of attnbench's `{BASE}` on the same shape, round by round, with the "
             "95 % interval; below 1 is faster. *own* is the same against our variant of the same definition, *of peak* "
             "the share of the machine's ceiling that the work of the definition comes to, at the last length. Memory is "
             "the growth of the process in one call, as the kernel counts it, for all rows alike; `err impl` is the "
             "distance from our definition.", ""]
    for (d, causal, threads, dtype, data), shapes in lines.items():
        form = "causal" if causal else "bidirectional"
        words += [f"## d = {d}, {form}, {threads} thread{'s' if threads > 1 else ''}"
                  + ("" if dtype == "f32" else f", {dtype}") + f", {data}", ""]
        lengths = sorted(shapes)
        words += ["| variant | program | " + " | ".join(f"n = {n}" for n in lengths)
                  + f" | own, n = {lengths[-1]} | of peak | memory | err impl | err exact |",
                  "|---|---|" + "---|" * (len(lengths) + 5)]
        for name in dict.fromkeys(line.label for n in lengths for line in shapes[n]):
            words.append(_markdown_row(name, lengths, shapes))
        words.append("")
    return "\n".join(words)


def _markdown_row(name, lengths, shapes):
    at = {n: next((line for line in shapes[n] if line.label == name), None) for n in lengths}
    last = next((at[n] for n in reversed(lengths) if at[n] and at[n].ok), None)
    some = last or next(line for line in at.values() if line)
    cells = []
    for n in lengths:
        line = at[n]
        if line is None:
            cells.append("")
        elif not line.ok:
            cells.append(line.row["status"])
        else:
            cells.append(str(line.to_flash) if line.to_flash else "")
    memory = last.row["rss_delta_bytes"] if last else math.nan
    tail = [str(last.to_ours) if last and last.to_ours else "", _share(last),
            bytes_text(memory) if memory == memory else "",
            _error(last, "err_impl_rel_fro"), _error(last, "err_exact_rel_fro")]
    status = " (inaccurate)" if last and last.row["status"] == "inaccurate" else ""
    return "| " + " | ".join([f"`{name}`{status}", some.row["impl"], *cells, *tail]) + " |"


def _share(line):
    value = line.row.get("roof_share", math.nan) if line else math.nan
    return f"{value:.0%}" if value == value else ""


def _error(line, column):
    value = line.row[column] if line else math.nan
    return f"{value:.1e}" if value == value else ""


# --- in words ------------------------------------------------------------------------------------

def verdicts(lines):
    """[(ours, shape, n, ratio, rival, our share of the ceiling)]: is our flash as fast as every exact peer, and each of our variants as fast
    as the other programs' of the same definition? The verdict is on ours."""
    out = []
    for key, shapes in lines.items():
        d, causal, threads, *_ = key
        where = f"d {d}, {'causal' if causal else 'bidirectional'}, {threads} thread{'s' if threads > 1 else ''}"
        for n, cells in sorted(shapes.items()):
            rivals = {}
            for line in cells:
                if line.engine and line.ok:
                    exact = line.row["family"] == "exact"
                    ratio = line.to_flash if exact else line.to_ours
                    if ratio:
                        rivals.setdefault(BASE if exact else line.base, []).append((ratio, line))
            for ours, found in rivals.items():
                ratio, line = min(found, key=lambda f: f[0].value)
                out.append((ours, where, n, ratio, line, _share(_own(cells, ours))))
    return out


def _own(cells, variant):
    return next((line for line in cells if line.ok and line.row["variant"] == variant), None)


def in_words(lines):
    """How often ours is faster, the same or slower than the fastest rival, and each shape where it is not faster."""
    found = verdicts(lines)
    words = []
    for ours in dict.fromkeys(v[0] for v in found):
        mine = [v for v in found if v[0] == ours]
        counts = {}
        for *_, ratio, _, _ in mine:
            counts[ratio.verdict()] = counts.get(ratio.verdict(), 0) + 1
        worst = min(mine, key=lambda v: v[3].value)
        words.append(f"{ours}: against the fastest other program, faster {counts.get(FASTER, 0)}, same "
                     f"{counts.get(SAME, 0)}, slower {counts.get(SLOWER, 0)}, undecided "
                     f"{len(mine) - sum(counts.get(v, 0) for v in (FASTER, SAME, SLOWER))} of {len(mine)} shapes; "
                     f"{number(worst[3].value)}x at the least ({worst[4].label}, {worst[1]}, n {worst[2]}"
                     + (f"; ours is at {worst[5]} of the ceiling there)" if worst[5] else ")"))
        words += [f"  slower: {where}, n {n}: {line.label} takes {ratio}x our time"
                  for _, where, n, ratio, line, _ in mine if ratio.verdict() == SLOWER]
    return "\n".join(words)


# --- the figures ------------------------------------------------------------------------------------

def draw(lines, exact, cpu, columns=2):
    """Panels of d by form and threads; a curve a variant. exact: exact attention over flash; else each other
    program's over ours of the same definition."""
    keys = [k for k, shapes in lines.items() if _curves(shapes, exact)]
    if not keys:
        return None
    rows = sorted({(k[0], *k[3:]) for k in keys})
    cols = sorted({k[1:3] for k in keys}, key=lambda c: (c[1], c[0]))
    size = style.SIZES[columns]
    engines, names = _legend(lines, exact)
    legend = 0.17 * math.ceil(len(names) / 4) + 0.05
    figure = Figure(figsize=(size["width"], 1.75 * len(rows) + 0.75 + legend), dpi=72)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(cols), sharex=True, sharey=True, squeeze=False)
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.075, right=0.99, top=1 - 0.55 / height, bottom=(legend + 0.36) / height,
                           wspace=0.06, hspace=0.12)
    points = [p for k in keys for curve in _curves(lines[k], exact).values() for p in curve]
    lengths = sorted({n for n, _ in points})
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            key = (row[0], *col, *row[1:])
            _panel(axes[i][j], _curves(lines.get(key, {}), exact), engines, names, size)
            if i == 0:
                form = "causal" if col[0] else "bidirectional"
                axes[i][j].set_title(f"{form}, {col[1]} thread{'s' if col[1] > 1 else ''}", size=size["text"])
        what = "time over flash" if exact else "time over ours"
        axes[i][0].set_ylabel(f"{what}, d = {row[0]}", size=size["text"])
    _limits(axes[0][0], points)
    for ax in axes.flat:
        _ticks(ax, lengths, size)
    title = ("Exact attention: time relative to attnbench's flash" if exact
             else "Time relative to attnbench's variant of the same definition")
    figure.text(0.01, 1 - 0.06 / height, title, size=size["title"], weight="bold", va="top")
    figure.text(0.01, 1 - 0.24 / height, cpu or "", size=size["text"] - 0.4, color=style.MUTED, va="top")
    figure.text(0.5, (legend + 0.07) / height, "sequence length n", size=size["text"], ha="center")
    handles = [Line2D([], [], color=engines[e], marker=style.MARKERS[m], markersize=size["mark"], linewidth=size["line"],
                      label=name) for name, (e, m) in names.items()]
    figure.legend(handles=handles, loc="lower center", ncol=4, fontsize=size["text"] - 0.6, frameon=False,
                  bbox_to_anchor=(0.5, 0), handlelength=2.2, borderaxespad=0.1, labelspacing=0.3)
    return figure


def _wanted(line, exact):
    is_exact = line.row["family"] == "exact"
    ratio = line.to_flash if exact else line.to_ours
    if not (line.ok and ratio):
        return None
    if exact:
        return ratio if is_exact and line.row["variant"] != BASE else None
    return ratio if line.engine and not is_exact else None


def _curves(shapes, exact):
    """{label: [(n, ratio)]}"""
    out = {}
    for n, cells in sorted(shapes.items()):
        for line in cells:
            ratio = _wanted(line, exact)
            if ratio:
                out.setdefault(line.label, []).append((n, ratio))
    return out


def _legend(lines, exact):
    """({engine: colour}, {label: (engine, marker)}): a colour a program, a marker a variant of it."""
    names, seen = {}, {}
    for shapes in lines.values():
        for cells in shapes.values():
            for line in cells:
                if _wanted(line, exact) and line.label not in names:
                    place = seen[line.engine] = seen.get(line.engine, -1) + 1
                    names[line.label] = (line.engine, place % len(style.MARKERS))
    engines = [e for e in seen if e]
    return {"": style.INK, **{e: COLOURS[i % len(COLOURS)] for i, e in enumerate(engines)}}, names


def _limits(ax, points):
    """Of all panels, which share them: all ratios with their intervals, and 1."""
    values = [v for _, r in points for v in (r.value, r.low, r.high) if v == v] + [1]
    ax.set_xlim(min(n for n, _ in points) / 1.2, max(n for n, _ in points) * 1.2)
    ax.set_ylim(min(values) / 1.25, max(values) * 1.25)


def _ticks(ax, lengths, size):
    """Lengths as far as they do not overlap: all up to five, else every other from the last."""
    shown = lengths if len(lengths) <= 5 else lengths[::-1][::2][::-1]
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.xaxis.set_major_formatter(FixedFormatter([str(n) for n in shown]))
    ax.xaxis.set_minor_locator(NullLocator())
    low, high = ax.get_ylim()
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if low <= t <= high]
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(FixedFormatter([f"{t:g}" for t in ticks]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.tick_params(labelsize=size["text"] - 0.6)
    ax.grid(True)


def _panel(ax, curves, engines, names, size):
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.axhline(1, color=style.INK, linewidth=0.8)
    for name, points in curves.items():
        engine, place = names[name]
        xs, ys = [n for n, _ in points], [r.value for _, r in points]
        low = [r.value - r.low if r.low == r.low else 0 for _, r in points]
        high = [r.high - r.value if r.high == r.high else 0 for _, r in points]
        ax.errorbar(xs, ys, yerr=[np.maximum(low, 0), np.maximum(high, 0)], color=engines[engine],
                    marker=style.MARKERS[place], markersize=size["mark"], linewidth=size["line"],
                    elinewidth=0.6, capsize=1.2, markeredgecolor=style.PAPER, markeredgewidth=0.3)


def write(run, folder):
    """Tables and figures below folder; returns their paths and what they say in words."""
    lines = collect(run)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in FILES]
    write_csv(lines, paths[0])
    paths[1].write_text(as_markdown(run, lines), encoding="utf-8")
    cpu = machine.cpu(run.info)
    for name, exact in (("peers-exact", True), ("peers-others", False)):
        figure = draw(lines, exact, cpu)
        if figure is None:
            continue
        for fmt in FORMATS:
            path = folder / "figures" / f"{name}.{fmt}"
            path.parent.mkdir(exist_ok=True)
            save(figure, path)
            paths.append(path)
    return paths, in_words(lines)
