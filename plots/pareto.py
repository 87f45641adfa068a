# SPDX-License-Identifier: BSD-3-Clause
"""Error against time, or against memory, at one length, with the front of what is
not beaten in both."""
import numpy as np

from . import style
from .axes import bars, gap, limits, set_ticks
from .canvas import Sheet, families_of
from .labels import anchor, place, spread, text_width
from .lines import ERROR, TIME, WORK, _break_mark, _family, _left, _value_axis, facts, said

SAID = {"time": "time", "memory": "peak workspace", "work": "operations"}


def usual_cost(group):
    """Time, or operations where only errors were measured."""
    return said(TIME, group) if group.cells["time_median_ns"].notna().any() else WORK


def points(group, n, cost=None):
    """[(series, cost, low, high, error)] of what was measured at length n; the time is in
    ms, or µs for a token, and only the time has an interval. cost: None for the usual one."""
    out, cost = [], said(cost, group) if cost else usual_cost(group)
    for s in group.series:
        row = s.at(n)
        if row is not None and np.isfinite(row["err_exact_rel_fro"]) and row[cost.column] > 0:
            t, low, high = (row[c] * cost.scale if c else np.nan
                            for c in (cost.column,) + (cost.interval or ("", "")))
            out.append((s, t, low, high, row["err_exact_rel_fro"]))
    return out


def front(times, errors):
    """Indices of the points that no other beats in both, fastest first.

    Give exact variants the same error: what tells them apart is rounding."""
    best, out = np.inf, []
    for i in np.lexsort((errors, times)):
        if errors[i] < best:
            best = errors[i]
            out.append(int(i))
    return out


def best_length(group):
    """The largest length at which nearly as many series were measured as at any."""
    counts = {n: len(points(group, n)) for n in group.measured_lengths}
    most = max(counts.values(), default=0)
    return max((n for n, k in counts.items() if k >= 0.75 * most), default=None)


def telling_lengths(group):
    """best_length and shorter ones, each at most a quarter of the one before."""
    out = []
    for n in reversed(group.measured_lengths):
        if n <= (out[-1] / 4 if out else best_length(group)) and len(points(group, n)) >= 2:
            out.append(n)
    return sorted(out)


def pareto(group, n, columns, machine="", cost=None):
    """The figure, or None where fewer than two series were measured at n."""
    cost = said(cost, group) if cost else usual_cost(group)
    found = points(group, n, cost)
    if len(found) < 2:
        return None
    size = style.SIZES[columns]
    guides = [("zero output", 1.0, (0, (1, 1.5)))]
    if np.isfinite(group.uniform(n)):
        guides.append(("uniform average", group.uniform(n), (0, (5, 2))))
    margin = 8 + max(text_width(g[0], size["text"]) for g in guides)
    words = facts(group, machine)
    sheet = Sheet(columns, f"Error against {SAID[cost.name]} at n = {n}", words,
                  families_of([f[0] for f in found]), _notes(group, n, found, cost),
                  max(190, 9 * len(found)) if columns == 1 else max(250, 7 * len(found)),
                  left=_left(ERROR, size))
    times, errors = np.array([f[1] for f in found]), np.array([f[4] for f in found])
    edge = sheet.right - margin
    panels, floor = _panels(sheet, edge, found, errors, guides, cost)
    chosen = front(times, [0 if f[0].family == "exact" else f[4] for f in found])
    drawn = np.where(errors > 0, errors, floor)
    _draw(panels, found, drawn, chosen, guides, size)
    _name(sheet, panels, found, drawn, chosen, edge, guides, size)
    return sheet.figure


def _notes(group, n, found, cost):
    bars = "Bars: 95 % interval of the median time. " if cost.name == TIME.name else ""
    notes = ["Thick outlines and the step: the front, which nothing measured here beats in both. "
             f"{bars}Upright line: flash."]
    if group.find("flash") is None or group.find("flash").at(n) is None:
        notes = [notes[0].removesuffix(" Upright line: flash.")]
    there = {id(f[0]) for f in found}
    out = [s.label for s in group.series if id(s) not in there and (s.cells["n"] == n).any()]
    return notes + ([f"Not drawn, as not measured at this length: {', '.join(out)}."] if out else [])


def _panels(sheet, edge, found, errors, guides, cost=TIME):
    values = np.concatenate([errors, [g[1] for g in guides]])
    cut = gap(values)
    if cut is None:
        parts = [(sheet.bottom, sheet.top) + limits(values, 1.35)]
    else:
        middle = sheet.bottom + 0.22 * (sheet.top - sheet.bottom)
        parts = [(middle + 6, sheet.top) + limits(values[values >= cut[1]], 1.35),
                 (sheet.bottom, middle) + limits(values[(values <= cut[0]) & (values > 0)], 2.5, 15)]
    spans = np.array([x for f in found for x in f[1:4]])
    left, right = limits(spans, 1.35)
    panels = []
    for bottom, top, low, high in parts:
        ax = sheet.axes(sheet.left, bottom, edge, top)
        ax.set_xscale("log")
        ax.set_xlim(left, right)
        room = 30 if cost.name == TIME.name else 48
        set_ticks(ax.xaxis, cost.ticks(left, right, max(int((edge - sheet.left) / room), 2)),
                  cost.tick_text)
        _value_axis(ax, ERROR, low, high, top - bottom, sheet.size)
        panels.append((ax, low, high))
    if cut is not None:
        panels[0][0].tick_params(labelbottom=False, length=0, axis="x")
        panels[0][0].spines["bottom"].set_visible(False)
        _break_mark(sheet, parts[0][0] - 3)
    panels[-1][0].set_xlabel(cost.axis, fontsize=sheet.size["text"], labelpad=2)
    sheet.text(9, (sheet.bottom + sheet.top) / 2, ERROR.axis, rotation=90, ha="center",
               va="center")
    return panels, parts[-1][2]


def _draw(panels, found, errors, chosen, guides, size):
    flash = next((f[1] for f in found if f[0].variant == "flash"), None)
    for ax, _, _ in panels:
        for _, level, pattern in guides:
            ax.axhline(level, color=style.MUTED, linewidth=size["line"] * 0.8, linestyle=pattern,
                       zorder=1.5)
        if flash:
            ax.axvline(flash, color=style.RULE, linewidth=0.7, zorder=1.4)
        ax.step([found[i][1] for i in chosen], errors[chosen], where="post", color=style.INK,
                linewidth=0.8, alpha=0.55, zorder=1.7)
        for i, (s, t, low, high, _) in enumerate(found):
            first = i in chosen
            if np.isfinite(low) and np.isfinite(high):
                bars(ax, errors[[i]], np.array([low]), np.array([high]), style.colour(s.family), 0.8, 1.6, 2, True)
            shape = style.marker(s.family, s.variant)
            ax.plot(t, errors[i], linestyle="none", marker=shape,
                    markersize=style.mark_size(shape, size["mark"]) * (1.7 if first else 1.4),
                    markerfacecolor=style.colour(s.family),
                    markeredgecolor=style.INK if first else style.PAPER,
                    markeredgewidth=0.9 if first else 0.4, zorder=3 if first else 2.5)


def _name(sheet, panels, found, errors, chosen, edge, guides, size):
    """Names beside the points, and beside the axes those of the levels."""
    small = size["text"] - 0.3
    spots = [sheet.place_of(_panel(panels, e), f[1], e) for f, e in zip(found, errors)]
    boxes = [(text_width(f[0].label, small, _weight(i, chosen)) + 1, small * 1.1)
             for i, f in enumerate(found)]
    levels = [sheet.place_of(_panel(panels, g[1]), found[0][1], g[1])[1] for g in guides]
    across = [((sheet.left, y), (edge, y)) for y in levels]
    step = [spots[i] for i in chosen]
    stairs = [p for a, b in zip(step, step[1:]) for p in ((a, (b[0], a[1])), ((b[0], a[1]), b))]
    upright = [((x, sheet.bottom), (x, sheet.top)) for f, (x, _) in zip(found, spots)
               if f[0].variant == "flash"]
    radius = size["mark"] * 0.85
    breaks = [(sheet.left, ax.get_window_extent().y1 - 2, edge, ax.get_window_extent().y1 + 8)
              for ax, _, _ in panels[1:]]
    corners = place(spots, boxes, (sheet.left + 2, sheet.bottom + 2, edge - 1, sheet.top + 2),
                    radius, across + stairs + upright, breaks)
    for i, (f, spot, corner, box) in enumerate(zip(found, spots, corners, boxes)):
        end = anchor(spot, corner, box)
        away = np.hypot(*(end - spot))
        if away > radius + 3:
            start = np.asarray(spot) + (end - spot) * radius / away
            sheet.line([start[0], end[0]], [start[1], end[1]], style.colour(_family(f[0])), 0.5,
                       alpha=0.8)
        sheet.text(corner[0], corner[1] + small * 0.26, f[0].label, size=small,
                   weight=_weight(i, chosen), color=style.text_colour(f[0].family))
    names = spread(levels, size["text"] * 1.3, sheet.bottom, sheet.top)
    for (text, _, _), y in zip(guides, names):
        sheet.text(edge + 5, y, text, color=style.MUTED, va="center_baseline")


def _panel(panels, value):
    return next((ax for ax, low, _ in panels if value >= low), panels[-1][0])


def _weight(i, chosen):
    return "bold" if i in chosen else "normal"
