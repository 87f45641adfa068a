# SPDX-License-Identifier: BSD-3-Clause
"""What is given up for what: the fronts of all lengths, speed at equal error, and
speed, quality and memory in one picture."""
import numpy as np

from . import style
from .axes import bytes_text, decimal_ticks, length_axis, limits, number, plain, set_ticks
from .canvas import Sheet, families_of
from .crossover import LEVELS
from .labels import anchor, place, spread, text_width
from .lines import ERROR, TIME, _family, facts, said
from .pareto import front, points
from .speed import speedup_at

EXACT = 1e-4        # errors below are rounding
SHADES = ["#b9bcc1", "#8f949b", "#6a6f77", "#484d55", "#24272c"]  # short to long


def fronts(group, columns, machine=""):
    """Front of error against time at every length; has_fronts has to hold.

    A step is one length (iso-n); the level lines are one error (iso-error)."""
    size = style.SIZES[columns]
    lengths = [n for n in group.measured_lengths if len(_approximate(group, n)) >= 2][-len(SHADES):]
    found = {n: _approximate(group, n) for n in lengths}
    chosen = {n: [found[n][i] for i in front([f[1] for f in found[n]], [f[4] for f in found[n]])]
              for n in lengths}
    exact = {n: min((f[1] for f in points(group, n, TIME) if f[4] < EXACT), default=np.nan) for n in lengths}
    everyone = [f for n in lengths for f in found[n]]
    names = [f"n = {n}" for n in lengths]
    left = 21 + text_width("0.001", size["text"])
    sheet = Sheet(columns, "Fronts of error against time", facts(group, machine),
                  families_of([f[0] for n in lengths for f in chosen[n]]),
                  ["A step: what nothing beats in both at one length, down to exact attention at its foot. "
                   "Dotted: equal error. Small dots: the rest, as far as not worse than that."],
                  210 if columns == 1 else 280, left=left)
    ax = sheet.axes(left, sheet.bottom, sheet.right - 8 - max(text_width(t, size["text"]) for t in names), sheet.top)
    low, high = limits([f[4] for n in lengths for f in chosen[n]] + [1.0], 1.4, 8)
    span = limits([f[1] for f in everyone] + [t for t in exact.values() if np.isfinite(t)], 1.3)
    _log(ax, span, (low, high), size)
    for level in (*LEVELS, 1.0):
        if low < level < high:
            ax.axhline(level, color=style.MUTED, linewidth=0.6, linestyle=(0, (1, 2)), zorder=1.3)
    marks = []
    for n, shade in zip(lengths, SHADES[-len(lengths):]):
        xs, ys = [f[1] for f in chosen[n]], [min(f[4], high) for f in chosen[n]]
        if np.isfinite(exact[n]) and exact[n] > xs[-1]:
            xs, ys = xs + [exact[n], exact[n]], ys + [ys[-1], low]
        ax.step(xs, ys, where="post", color=shade, linewidth=size["line"], zorder=1.6)
        for f in found[n]:
            if f not in chosen[n] and f[4] < high:
                ax.plot(f[1], f[4], ".", color=style.colour(f[0].family), markersize=2, alpha=0.6, zorder=1.5)
        marks += [(f, n) for f in chosen[n] if f[4] <= high]
    for f, _ in marks:
        shape = style.marker(f[0].family, f[0].variant)
        ax.plot(f[1], f[4], linestyle="none", marker=shape, zorder=3, markersize=style.mark_size(shape, size["mark"]) * 1.4,
                markerfacecolor=style.colour(f[0].family), markeredgecolor=style.PAPER, markeredgewidth=0.4)
    _axes_names(sheet, ax, said(TIME, group).axis, ERROR.axis)
    _labels(sheet, ax, [f[0] for f, _ in marks], [(f[1], f[4]) for f, _ in marks], size)
    edge = ax.get_window_extent().x1
    heights = spread([sheet.place_of(ax, 1, chosen[n][-1][4])[1] for n in lengths], size["text"] * 1.3,
                     sheet.bottom, sheet.top)
    for n, shade, y in zip(lengths, SHADES[-len(lengths):], heights):
        start = sheet.place_of(ax, max([f[1] for f in chosen[n]] + [exact[n] if np.isfinite(exact[n]) else 0]),
                               chosen[n][-1][4])
        sheet.line([start[0], edge, edge + 4], [start[1], start[1], y], shade, 0.4, linestyle=(0, (1, 2)))
        sheet.text(edge + 5, y, f"n = {n}", color=style.INK, va="center_baseline")
    return sheet.figure


def has_fronts(group):
    return sum(len(_approximate(group, n)) >= 2 for n in group.measured_lengths) >= 2


def has_equal_error(group):
    flash = group.find("flash")
    return flash is not None and flash.ok["time_median_ns"].notna().any() and any(s.at(n)["err_exact_rel_fro"] <= 1 for n in flash.ok["n"] for s in group.series
                                     if s.family not in ("exact", "control") and s.at(n) is not None)


def has_bubble(group, n):
    rows = [s.at(n) for s in group.series if s.at(n) is not None]
    return sum(r["ws_tracked_bytes"] > 0 and (np.isfinite(r["err_exact_cos"]) or np.isfinite(r["task_accuracy"]))
               for r in rows) >= 2


def _approximate(group, n):
    return [f for f in points(group, n, TIME) if f[0].family not in ("exact", "control") and f[4] > EXACT]


def equal_error(analysis, group, columns, machine=""):
    """Times as fast as flash of the fastest approximation whose error is at most e,
    against the length: a curve a level. has_equal_error has to hold."""
    flash, size = group.find("flash"), style.SIZES[columns]
    curves = [(e, c) for e in (*LEVELS, 1.0) for c in [_fastest(analysis, group, flash, e)] if c]
    curves = [c for i, c in enumerate(curves) if i == 0 or c[1] != curves[i - 1][1]]
    lengths = [int(n) for n in flash.ok["n"]]
    names = [f"error ≤ {e:g}" for e, _ in curves]
    left = 21 + text_width("100", size["text"])
    sheet = Sheet(columns, "Speed at equal error", facts(group, machine),
                  families_of([s for _, c in curves for _, _, s in c]),
                  ["The fastest approximation whose error is at most that given; its name is at the point. No point: "
                   "none is accurate enough. Line at 1: flash."], 200 if columns == 1 else 260, left=left)
    ax = sheet.axes(left, sheet.bottom, sheet.right - 10 - max(text_width(t, size["text"]) for t in names), sheet.top)
    values = [r.value for _, c in curves for _, r, _ in c]
    low, high = limits(values + [1.0], 1.5)
    length_axis(ax, lengths, ax.get_window_extent().width, size["text"])
    ax.set_yscale("log")
    ax.set_ylim(low, high)
    set_ticks(ax.yaxis, decimal_ticks(low, high, 8), plain)
    ax.axhline(1, color=style.MUTED, linewidth=0.8, zorder=1.4)
    shades = SHADES[-len(curves):]
    spots, paths = [], []
    for (e, curve), shade in zip(curves, shades):
        ns, ys = [n for n, _, _ in curve], [r.value for _, r, _ in curve]
        ax.plot(ns, ys, color=shade, linewidth=size["line"], zorder=1.8)
        for n, r, s in curve:
            if np.isfinite(r.low):
                ax.plot([n, n], [r.low, r.high], color=shade, linewidth=0.7, zorder=1.8)
            shape = style.marker(s.family, s.variant)
            ax.plot(n, r.value, linestyle="none", marker=shape, markersize=style.mark_size(shape, size["mark"]) * 1.4,
                    markerfacecolor=style.colour(s.family), markeredgecolor=style.PAPER, markeredgewidth=0.4, zorder=3)
        spots += [(s, n, r.value) for i, (n, r, s) in enumerate(curve) if i == 0 or curve[i - 1][2] is not s]
        paths += [[(n, r.value) for n, r, _ in curve]]
    _axes_names(sheet, ax, said(TIME, group).length, "times as fast as flash")
    _labels(sheet, ax, [s for s, _, _ in spots], [(n, y) for _, n, y in spots], size, paths)
    edge = ax.get_window_extent().x1
    ends = [sheet.place_of(ax, c[-1][0], c[-1][1].value) for _, c in curves]
    for words, end, y, shade in zip(names, ends, spread([e[1] for e in ends], size["text"] * 1.3, sheet.bottom, sheet.top), shades):
        sheet.line([end[0] + 4, edge + 1, edge + 5], [end[1], end[1], y], shade, 0.5)
        sheet.text(edge + 7, y, words, va="center_baseline")
    return sheet.figure


def _fastest(analysis, group, flash, level):
    """[(n, Ratio, series)] of the fastest approximation at each length with error <= level."""
    out = []
    for n in flash.ok["n"]:
        good = [s for s in group.series if s.family not in ("exact", "control") and s.at(n) is not None
                and s.at(n)["err_exact_rel_fro"] <= level]
        if good:
            best = min(good, key=lambda s: s.at(n)["time_median_ns"])
            out.append((int(n), speedup_at(analysis.rounds, flash, best, n), best))
    return out


def bubble(group, n, columns, machine=""):
    """Speed and quality with the workspace as the area, at one length; has_bubble has
    to hold."""
    size = style.SIZES[columns]
    task = any(np.isfinite(s.at(n)["task_accuracy"]) for s in group.series if s.at(n) is not None)
    column = "task_accuracy" if task else "err_exact_cos"
    rows = [(s, s.at(n)) for s in group.series if s.at(n) is not None]
    rows = [(s, r) for s, r in rows if np.isfinite(r[column]) and r["ws_tracked_bytes"] > 0]
    rows.sort(key=lambda p: -p[1]["ws_tracked_bytes"])
    quality = "task accuracy [1]" if task else "mean cosine to exact attention [1]"
    tokens = [r["tokens"] / r["time_median_ns"] * 1e9 for _, r in rows]
    ys = [r[column] for _, r in rows]
    left = 21 + text_width("−0.25", size["text"])
    most = max(r["ws_tracked_bytes"] for _, r in rows)
    sheet = Sheet(columns, f"Speed, quality and memory at n = {n}", facts(group, machine), families_of([s for s, _ in rows]),
                  [f"Areas: peak workspace; the largest is {bytes_text(most)}, of {rows[0][0].label}."],
                  210 if columns == 1 else 280, left=left)
    ax = sheet.axes(left, sheet.bottom, sheet.right - 10, sheet.top)
    ax.set_xscale("log")
    span = limits(tokens, 1.8)
    ax.set_xlim(*span)
    pad = max(0.12 * (max(ys) - min(ys)), 0.02)
    ax.set_ylim(min(ys) - pad, max(ys) + pad)
    set_ticks(ax.xaxis, decimal_ticks(*span, 7), _count)
    ticks = [t for t in np.arange(-1, 1.01, 0.25 if max(ys) - min(ys) > 0.6 else 0.1) if ax.get_ylim()[0] <= t <= ax.get_ylim()[1]]
    set_ticks(ax.yaxis, ticks, lambda t: f"{t + 0.0:.2g}".replace("-", "−"))
    reach = 26 if columns == 2 else 17
    for (s, r), x, y in zip(rows, tokens, ys):
        across = max(2 * reach * np.sqrt(r["ws_tracked_bytes"] / most), 2.5)
        ax.plot(x, y, "o", markersize=across, markerfacecolor=style.colour(s.family), markeredgecolor=style.PAPER,
                markeredgewidth=0.5, alpha=0.55, zorder=2)
    _axes_names(sheet, ax, "tokens a second", quality)
    _labels(sheet, ax, [s for s, _ in rows], list(zip(tokens, ys)), size)
    return sheet.figure


def _count(value):
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{number(value / scale)} {unit}"
    return number(value)


def _log(ax, span, heights, size):
    box = ax.get_window_extent()
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(*span)
    ax.set_ylim(*heights)
    set_ticks(ax.xaxis, decimal_ticks(*span, max(int(box.width / 32), 2)), plain)
    set_ticks(ax.yaxis, decimal_ticks(*heights, max(int(box.height / (size["text"] * 3)), 2)), plain)


def _axes_names(sheet, ax, below, beside):
    ax.set_xlabel(below, fontsize=sheet.size["text"], labelpad=2)
    sheet.text(9, (sheet.bottom + sheet.top) / 2, beside, rotation=90, ha="center", va="center")


def _labels(sheet, ax, series, at, size, paths=(), taken=()):
    """Names beside points, apart from each other, from boxes that are taken and, where
    they can be, from paths."""
    small = size["text"] - 0.3
    spots = [sheet.place_of(ax, *p) for p in at]
    boxes = [(text_width(s.label, small) + 1, small * 1.1) for s in series]
    box = ax.get_window_extent()
    radius = size["mark"] * 0.8
    drawn = [[sheet.place_of(ax, *p) for p in path] for path in paths]
    segments = [pair for path in drawn for pair in zip(path, path[1:])]
    corners = place(spots, boxes, (box.x0 + 2, box.y0 + 2, box.x1 - 1, box.y1 - 1), radius, segments, taken)
    for s, spot, corner, wide in zip(series, spots, corners, boxes):
        end = anchor(spot, corner, wide)
        away = np.hypot(*(end - spot))
        if away > radius + 3:
            start = np.asarray(spot) + (end - spot) * radius / away
            sheet.line([start[0], end[0]], [start[1], end[1]], style.colour(_family(s)), 0.5, alpha=0.8)
        sheet.text(corner[0], corner[1] + small * 0.26, s.label, size=small, color=style.text_colour(s.family))
