# SPDX-License-Identifier: BSD-3-Clause
"""Curves against the sequence length: time, memory, error, accuracy at a task.

Every curve is named at its end, beside the axes; where a curve ends early a
cross marks the place and the notes below say why.
"""
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Callable

import numpy as np
from matplotlib.ticker import NullLocator

from . import style
from .axes import (bars, binary_ticks, bytes_text, decimal_ticks, gap, length_axis, limits, plain,
                   set_ticks, slopes)
from .canvas import Sheet, families_of
from .data import STATUSES, usual_scale
from .labels import spread, text_width

CLEAR = 4  # the process's growth is drawn from this many times its resolution
FEW = 16  # more curves than this are also drawn family by family


@dataclass(frozen=True)
class Quantity:
    name: str
    title: str
    axis: str
    column: str
    interval: tuple
    scale: float
    ticks: Callable
    tick_text: Callable
    growth: bool  # reference slopes make sense
    linear: tuple = ()  # limits of a linear axis; () for a logarithmic one
    length: str = "sequence length n [tokens]"


TIME = Quantity("time", "Time against sequence length", "time of one forward pass [ms]",
                "time_median_ns", ("time_ci95_lo_ns", "time_ci95_hi_ns"), 1e-6, decimal_ticks,
                plain, True)
MEMORY = Quantity("memory", "Peak workspace against sequence length",
                  "peak workspace beside Q, K, V, O [bytes]", "ws_tracked_bytes", (), 1.0,
                  binary_ticks, bytes_text, True)
ERROR = Quantity("error", "Error against sequence length",
                 "relative error, ‖X − Y‖ / ‖Y‖ [1]", "err_exact_rel_fro", (), 1.0,
                 decimal_ticks, plain, False)
WORK = Quantity("work", "Operations against sequence length", "operations of one forward pass [GFLOP]",
                "flops_executed", (), 1e-9, decimal_ticks, plain, True)
ACCURACY = Quantity("accuracy", "Task accuracy against sequence length", "task accuracy [1]",
                    "task_accuracy", (), 1.0, lambda low, high, most: [0, 0.2, 0.4, 0.6, 0.8, 1],
                    "{:.1f}".format, False, (-0.03, 1.03))
STATE = Quantity("state", "What is kept between tokens against context", "kept between tokens [bytes]",
                 "state_bytes", (), 1.0, binary_ticks, bytes_text, True)
QUANTITIES = {q.name: q for q in (TIME, STATE, MEMORY, ERROR, ACCURACY)}
TOKEN = replace(TIME, title="Time per token against context", axis="time per token [µs]", scale=1e-3)
DECODING = {q.name: replace(q, title=q.title.replace("sequence length", "context"), length="context [tokens]")
            for q in (*QUANTITIES.values(), WORK, TOKEN)}


def said(quantity, group):
    """The quantity as it is called in a group, where a call may be the step of a token."""
    return DECODING.get(quantity.name, quantity) if group.key["mode"] == "decode" else quantity


@lru_cache(maxsize=8192)
def curve(series, quantity):
    """n, y, low, high of a series; NaN where a cell was not measured."""
    cells = series.cells
    y = (cells[quantity.column] * quantity.scale).where(cells["status"] == "ok").to_numpy(float)
    low, high = (((cells[c] * quantity.scale).to_numpy(float) for c in quantity.interval)
                 if quantity.interval else (np.full(len(y), np.nan),) * 2)
    return cells["n"].to_numpy(float), y, low, high


def drawable(group, quantity):
    """Series that have at least one value of the quantity."""
    return [s for s in group.series if np.isfinite(curve(s, quantity)[1]).any()]


def lines(group, quantity, columns, machine=""):
    """One figure with every series of a group. None if nothing was measured."""
    quantity = said(quantity, group)
    shown = drawable(group, quantity)
    if not shown:
        return None
    size = style.SIZES[columns]
    guides = _guides(group, quantity)
    names = [s.label for s in shown] + [g[0] for g in guides]
    step = size["text"] * 1.22
    margin = 20 + size["mark"] + 6 + max(text_width(t, size["text"]) for t in names)
    body = max(150 if columns == 1 else 200, len(names) * step + 4)
    sheet = Sheet(columns, quantity.title, facts(group, machine), families_of(shown),
                  _notes(group, shown, quantity), body, left=_left(quantity, size))
    edge = sheet.right - margin
    curves = [(s,) + curve(s, quantity) for s in shown]
    floor, panels = _panels(sheet, edge, quantity, curves, guides)
    if quantity.growth:
        slopes(sheet, panels[0][0], [(n, y) for _, n, y, _, _ in curves])
    for ax, _, _ in panels:
        _guide_lines(ax, guides, size)
        for s, n, y, low, high in _exact_last(curves):
            _draw(ax, s, n, _lift(y, floor, quantity), low, high, size)
            if quantity.name == MEMORY.name:
                _resident(ax, s, size)
    ends = [_end(sheet, panels, n, _lift(y, floor, quantity)) for _, n, y, _, _ in curves]
    ends += [_end(sheet, panels, np.array([n for n, _ in points]), np.array([v for _, v in points]))
             for _, points, _ in guides]
    spots = spread([e[1] for e in ends], step, sheet.bottom + 2, sheet.top - 2)
    for (s, n, y, _, _), end, spot in zip(curves, ends, spots):
        _label(sheet, edge, end, spot, s, size)
    for (text, _, pattern), end, spot in zip(guides, ends[len(curves):], spots[len(curves):]):
        sheet.line([edge + 2, edge + 14], [end[1], spot], style.MUTED, 0.5, linestyle=pattern)
        sheet.text(edge + 20 + size["mark"], spot, text, color=style.MUTED, va="center_baseline")
    return sheet.figure


def family_lines(group, quantity, machine=""):
    """A panel a family, the others grey behind it: for more curves than one panel
    shows well. Two columns wide."""
    quantity = said(quantity, group)
    shown = drawable(group, quantity)
    families = families_of(shown)
    size = {**style.SIZES[2], "text": style.SIZES[2]["text"] - 0.7, "line": 1.0, "mark": 2.8}
    across = min(3, len(families))
    down = -(-len(families) // across)
    step = size["text"] * 1.2
    tall = max(100, max(sum(_family(s) == f for s in shown) for f in families) * step + 2)
    sheet = Sheet(2, f"{quantity.title}, family by family", facts(group, machine), [],
                  _notes(group, shown, quantity), down * (tall + 20) - 8, left=_left(quantity, size))
    widest = [max(text_width(s.label, size["text"]) for s in shown
                  if _family(s) in families[k::across]) + 18 for k in range(across)]
    wide = (sheet.right - sheet.left - sum(widest) - 14 * (across - 1)) / across
    low, high = quantity.linear or limits(np.concatenate([curve(s, quantity)[1] for s in shown]))
    for k, family in enumerate(families):
        column, row = k % across, k // across
        left = sheet.left + column * (wide + 14) + sum(widest[:column])
        top = sheet.top - 12 - row * (tall + 20)
        ax = sheet.axes(left, top - tall, left + wide, top)
        length_axis(ax, group.measured_lengths, wide, size["text"])
        _value_axis(ax, quantity, low, high, tall, size)
        last = k + across >= len(families)
        ax.tick_params(labelleft=column == 0, labelbottom=last, labelsize=size["text"])
        _family_panel(sheet, ax, quantity, shown, family, (left, top, wide, tall, low), size)
        if last:
            ax.set_xlabel(quantity.length.removeprefix("sequence "), fontsize=size["text"], labelpad=2)
    sheet.text(9, (sheet.bottom + sheet.top) / 2, quantity.axis, rotation=90, ha="center",
               va="center")
    return sheet.figure


def _family_panel(sheet, ax, quantity, shown, family, box, size):
    left, top, wide, tall, low = box
    mine = [s for s in shown if _family(s) == family]
    rest = [curve(s, quantity)[:2] for s in shown if s not in mine]
    if rest:  # one line with gaps
        xs, ys = (np.concatenate([np.append(c[k], np.nan) for c in rest]) for k in (0, 1))
        ax.plot(xs, ys, color=style.GRID, linewidth=0.7, zorder=1.2)
    for s in mine:
        n, y, lo, hi = curve(s, quantity)
        _draw(ax, s, n, _lift(y, low, quantity), lo, hi, size)
    ends = [_end(sheet, [(ax, low, 0)], *curve(s, quantity)[:2]) for s in mine]
    step = size["text"] * 1.2
    spots = spread([e[1] for e in ends], step, top - tall + 3, top - 3)
    edge = left + wide
    for s, end, spot in zip(mine, ends, spots):
        early = end[0] < edge - 6
        xs = [end[0] + (size["mark"] + 6 if early else 2), edge, edge + 9]
        sheet.line(xs, [end[1], end[1], spot], style.colour(family), 0.5, alpha=0.7,
                   linestyle=(0, (1, 2)) if early else "-")
        sheet.text(edge + 11, spot, s.label, size=size["text"], va="center_baseline",
                   color=style.text_colour(family))
    sheet.text(left + 2, top + 3, family, weight="bold", color=style.text_colour(family))


def facts(group, machine=""):
    """What holds for a whole figure: shape, input, threads, machine."""
    key = group.key
    entropy = group.entropy
    spread_of = ""
    if entropy:
        low, high = (f"{e:.2f}" for e in entropy)
        spread_of = f" (entropy ratio {low if low == high else low + '–' + high})"
    d = f"d {key['d_head']:g}"
    if key["d_value"] != key["d_head"]:
        d += f", d_v {key['d_value']:g}"
    seeds = group.cells["seed"].nunique()
    threads = key["threads"]
    return [w for w in (
        group.input + spread_of,
        f"batch {key['batch']:g}" + (f" ({key['lengths']})" if key["lengths"] != "full" else ""),
        f"{key['heads']:g} head" + "s" * (key["heads"] != 1)
        + (f" ({key['kv_heads']:g} of keys)" if key["kv_heads"] != key["heads"] else ""),
        f"{key['rows']:g} quer" + ("ies" if key["rows"] != 1 else "y") if key["rows"] else "",
        d, "" if usual_scale(key) else f"scale {key['scale']:.3g}",
        "causal" if key["causal"] else "bidirectional", key["dtype"],
        f"{threads:g} thread" + "s" * (threads != 1), key["isa"],
        f"{key['cache']} cache" if key["cache"] else "",
        key["mode"] if key["mode"] not in ("", "forward") else "",
        f"{seeds} seeds" if seeds > 1 else "", machine) if w]


def reasons(group, shown):
    """Notes on curves that end, and on series that have no curve at all."""
    ended, absent = {}, {}
    for s in group.series:
        for last, first, row in s.ends:
            if s in shown and last is not None:
                word = "at" if first < s.ok["n"].max() else "from"
                ended.setdefault(row["status"], []).append(f"{s.label} {word} n\u00a0=\u00a0{first}")
        if s not in shown and len(s.cells):
            absent.setdefault(s.cells["status"].iloc[0], []).append(s.label)
    words = [f"× {STATUSES[status]}: {', '.join(who)}." for status, who in ended.items()]
    words += [f"Not drawn ({STATUSES[status] if status != 'ok' else 'no value'}): {', '.join(who)}."
              for status, who in absent.items()]
    return ["  ".join(words)] if words else []


def _notes(group, shown, quantity):
    notes = []
    if quantity.name == TIME.name:
        notes.append("Median of round medians; bars: 95 % order-statistic interval.")
        if any(np.isnan(s.ok["time_ci95_lo_ns"]).any() for s in shown):
            notes[0] += " Hollow: too few rounds for an interval."
    if quantity.name == STATE.name:
        notes.append("A cache of keys and values grows with the context; sums over them do not.")
    if quantity.name == MEMORY.name:
        notes.append("Lines: exact peak of the memory handed out. Dashes: growth of the "
                     f"process (VmHWM), drawn from {CLEAR} times its resolution (bars).")
    if quantity.name == ERROR.name:
        notes.append("X: output, Y: exact softmax attention in double precision. Zero output has "
                     "error 1; uniform average: each row the plain mean of the visible values.")
    if quantity.name == ACCURACY.name:
        notes.append("Share of the queries that are answered rightly; exact attention solves the task.")
    return notes + reasons(group, shown)


def _left(quantity, size):
    """Room for the axis title and the widest tick label."""
    widest = {"memory": "512 KiB", "error": "2 × 10−", "time": "10 000", "accuracy": "0.2", "state": "512 KiB"}[quantity.name]
    return 21 + text_width(widest, size["text"])


def _family(series):
    return series.family if series.family in style.FAMILIES else "other"


def _exact_last(curves):
    """The baselines are drawn on top."""
    return sorted(curves, key=lambda c: c[0].family == "exact")


def _lift(y, floor, quantity):
    """A value of 0 has no place on a log axis: it is drawn on its lower edge."""
    return y if quantity.linear else np.where(y == 0, floor, y)


def _guides(group, quantity):
    """[(name, [(n, value)], dashes)]: what a useless answer would score."""
    lengths = group.measured_lengths
    if quantity.name == ACCURACY.name:
        chance = [(n, group.chance(n)) for n in lengths if np.isfinite(group.chance(n))]
        return [("a guess", chance, (0, (5, 2)))] if chance else []
    if quantity is not ERROR:
        return []
    uniform = [(n, group.uniform(n)) for n in lengths]
    uniform = [(n, u) for n, u in uniform if np.isfinite(u)]
    out = [("zero output", [(n, 1.0) for n in lengths], (0, (1, 1.5)))]
    if uniform:
        out.append(("uniform average", uniform, (0, (5, 2))))
    return out


def _guide_lines(ax, guides, size):
    for _, points, pattern in guides:
        xs, ys = zip(*points)
        ax.plot(xs, ys, color=style.MUTED, linewidth=size["line"] * 0.8, linestyle=pattern,
                zorder=1.6)


def _panels(sheet, edge, quantity, curves, guides):
    """(floor, [(axes, low, high)]): one panel, or two about an empty stretch of values."""
    values = np.concatenate([np.concatenate([y, lo, hi]) for _, _, y, lo, hi in curves]
                            + [[v for _, v in points] for _, points, _ in guides]
                            + [clear_growth(c[0])["rss_delta_bytes"] for c in curves
                               if quantity.name == MEMORY.name])
    cut = gap(values) if quantity.name == ERROR.name else None
    lengths = sorted({int(n) for _, ns, y, _, _ in curves for n in ns[np.isfinite(y)]})
    if cut is None:
        parts = [(sheet.bottom, sheet.top) + (quantity.linear or limits(values))]
    else:
        break_at = sheet.bottom + 0.24 * (sheet.top - sheet.bottom)
        parts = [(break_at + 6, sheet.top) + limits(values[values >= cut[1]]),
                 (sheet.bottom, break_at) + limits(values[(values <= cut[0]) & (values > 0)], 1.6, 15)]
    panels = []
    for bottom, top, low, high in parts:
        ax = sheet.axes(sheet.left, bottom, edge, top)
        length_axis(ax, lengths, edge - sheet.left, sheet.size["text"])
        _value_axis(ax, quantity, low, high, top - bottom, sheet.size)
        panels.append((ax, low, high))
    if cut is not None:
        panels[0][0].tick_params(labelbottom=False, length=0, axis="x")
        panels[0][0].spines["bottom"].set_visible(False)
        _break_mark(sheet, parts[0][0] - 3)
    panels[-1][0].set_xlabel(quantity.length, fontsize=sheet.size["text"], labelpad=2)
    sheet.text(9, (sheet.bottom + sheet.top) / 2, quantity.axis, rotation=90, ha="center",
               va="center")
    return parts[-1][2], panels


def _break_mark(sheet, y):
    for dy in (-2, 2):
        sheet.line([sheet.left - 4, sheet.left + 4], [y + dy - 1.5, y + dy + 1.5], style.RULE, 0.7)


def _value_axis(ax, quantity, low, high, tall, size):
    most = max(int(tall / (size["text"] * 2.9)), 2)
    clear = 1.0
    if not quantity.linear:
        ax.set_yscale("log")
        clear = (high / low)**(4 / tall)  # no tick within 4 pt of the ends
    ax.set_ylim(low, high)
    set_ticks(ax.yaxis, quantity.ticks(low * clear, high / clear, most), quantity.tick_text)
    ax.yaxis.set_minor_locator(NullLocator())


def _draw(ax, s, n, y, low, high, size):
    colour = style.colour(s.family)
    shape = style.marker(s.family, s.variant)
    mark = style.mark_size(shape, size["mark"])
    front = 3 if s.family == "exact" else 2
    ax.plot(n, y, color=colour, linewidth=size["line"], linestyle=style.dashes(s.index),
            marker=shape, markersize=mark,
            markeredgecolor=style.PAPER, markeredgewidth=0.35, zorder=front)
    has = np.isfinite(low) & np.isfinite(high) & np.isfinite(y)
    if has.any():
        bars(ax, n[has], low[has], high[has], colour, 0.7, 1.6, front)
        bare = np.isfinite(y) & ~has
    else:
        bare = np.isfinite(y) & (not np.isnan(low).all())
    if bare.any():
        ax.plot(n[bare], y[bare], linestyle="none", marker=shape,
                markersize=mark * 0.8, markerfacecolor=style.PAPER,
                markeredgecolor=colour, markeredgewidth=0.7, zorder=front + 0.1)
    ends = [(last, y[list(n).index(last)]) for last, _, _ in s.ends if last is not None]
    for x, value in ends:
        ax.annotate("×", (x, value), xytext=(size["mark"] + 2.2, 0), textcoords="offset points",
                    color=colour, fontsize=size["text"] + 2, ha="center", va="center_baseline",
                    zorder=front)


def clear_growth(s):
    return s.ok[s.ok["rss_delta_bytes"] >= CLEAR * s.ok["rss_resolution_bytes"]]


def _resident(ax, s, size):
    """Growth of the process as a check: a tick, with its resolution as a bar."""
    ok = clear_growth(s)
    if ok.empty:
        return
    delta, bar = ok["rss_delta_bytes"].to_numpy(), ok["rss_resolution_bytes"].to_numpy()
    ax.errorbar(ok["n"], delta, yerr=bar, fmt="_",
                color=style.colour(s.family), markersize=size["mark"] * 1.9, markeredgewidth=0.8,
                elinewidth=0.5, alpha=0.75, zorder=1.8)


def _end(sheet, panels, n, y):
    """Where a curve ends, in points of the sheet, and whether that is before the right edge."""
    last = np.flatnonzero(np.isfinite(y))[-1]
    ax = next((a for a, low, _ in panels if y[last] >= low), panels[-1][0])
    x, height = sheet.place_of(ax, n[last], y[last])
    return x, height


def _label(sheet, edge, end, spot, s, size):
    """Leader, marker and name beside the axes."""
    colour = style.colour(s.family)
    early = end[0] < edge - 12
    if early:
        sheet.line([end[0] + size["mark"] + 6, edge, edge + 14], [end[1], end[1], spot], colour,
                   0.5, linestyle=(0, (1, 2)))
    else:
        sheet.line([end[0] + 2, edge, edge + 14], [end[1], end[1], spot], colour, 0.5, alpha=0.7)
    sheet.mark(edge + 16 + size["mark"] / 2, spot, s.family, s.variant, size["mark"])
    sheet.text(edge + 20 + size["mark"], spot, s.label, va="center_baseline",
               color=style.text_colour(s.family))
