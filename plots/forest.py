# SPDX-License-Identifier: BSD-3-Clause
"""Intervals side by side: exponents of every variant, and a map of crossovers."""
import numpy as np

from . import style
from .axes import number, set_ticks
from .canvas import PAD, Sheet, families_of
from .labels import text_width
from .lines import _family, facts

SURE = {"always": "always", "never": "never", "unclear": "?", "several": "several"}


def forest(analysis, group, columns, machine=""):
    """Exponents of time with intervals, a row a variant; None without any."""
    rows = [(s, f) for s in group.series for f in [analysis.fit(s, "time")] if f]
    if not rows:
        return None
    rows.sort(key=lambda p: (style_order(p[0]), p[1].exponent.value))
    size = style.SIZES[columns]
    step = size["text"] * 1.55
    names = max(text_width(s.label, size["text"]) for s, _ in rows)
    said = [str(f.tail if f.tail_from else f.exponent) for _, f in rows]
    beside = max(text_width(t, size["text"]) for t in said) + 8
    lengths = group.measured_lengths
    sheet = Sheet(columns, f"Exponent of time, within n = {lengths[0]} to {lengths[-1]}", facts(group, machine),
                  families_of([s for s, _ in rows]), _notes(rows), len(rows) * step + 6, left=PAD + names + 8)
    ax = sheet.axes(sheet.left, sheet.bottom, sheet.right - beside, sheet.top)
    spans = [v for _, f in rows for e in (f.exponent, f.tail) for v in (e.value, e.low, e.high) if np.isfinite(v)]
    low, high = min(spans + [0.9]) - 0.08, max(spans + [2.1]) + 0.08
    ax.set_xlim(low, high)
    ax.set_ylim(0, len(rows) * step + 6)
    ticks = [t for t in np.arange(-1, 6.01, 0.25 if high - low < 2.4 and columns == 2 else 0.5) if low <= t <= high]
    set_ticks(ax.xaxis, ticks, lambda t: f"{t:g}".replace("-", "−"))
    set_ticks(ax.yaxis, [], str)
    ax.spines["left"].set_visible(False)
    for law in (1, 2):
        ax.axvline(law, color=style.MUTED, linewidth=0.8, zorder=1.3)
    for k, ((s, f), words) in enumerate(zip(rows, said)):
        y = (len(rows) - k - 0.5) * step + 3
        colour, shape = style.colour(s.family), style.marker(s.family, s.variant)
        _whisker(ax, f.exponent, y + (0.2 * step if f.tail_from else 0), colour, shape, size, hollow=bool(f.tail_from))
        if f.tail_from:
            _whisker(ax, f.tail, y - 0.2 * step, colour, shape, size)
        sheet.text(sheet.left - 6, sheet.bottom + y, s.label, ha="right", va="center_baseline",
                   color=style.text_colour(s.family))
        sheet.text(sheet.right - beside + 6, sheet.bottom + y, words, va="center_baseline")
    ax.set_xlabel("exponent of n", fontsize=size["text"], labelpad=2)
    return sheet.figure


def style_order(series):
    return list(style.FAMILIES).index(_family(series))


def _notes(rows):
    notes = ["Filled: over the tail, the longest end of the sweep without a trend in its local slopes; hollow, or alone: "
             "over all lengths. Bars: 95 %, bootstrap over rounds. It holds within these lengths."]
    none = [s.label for s, f in rows if not f.tail_from]
    if none and len(none) < len(rows):
        notes.append(f"The slope still changes at the end of the sweep: {', '.join(none)}.")
    return notes


def _whisker(ax, slope, y, colour, shape, size, hollow=False):
    if np.isfinite(slope.low):
        ax.plot([slope.low, slope.high], [y, y], color=colour, linewidth=size["line"] * 0.8, zorder=2,
                solid_capstyle="butt", alpha=0.6 if hollow else 1)
    ax.plot(slope.value, y, linestyle="none", marker=shape, zorder=3, markersize=style.mark_size(shape, size["mark"]) * 1.1,
            markerfacecolor=style.PAPER if hollow else colour, markeredgecolor=colour, markeredgewidth=0.7)


def mapped_groups(run, base):
    """Columns of the map: groups with the base and something to compare; [] for fewer
    than two."""
    groups = [g for g in run.groups if g.find(base) is not None and not g.find(base).ok.empty
              and any(s.family not in ("exact", "control") for s in g.series)]
    return groups if len(groups) > 1 else []


def crossover_map(analysis, base, columns, machine=""):
    """Where each variant becomes faster than a base, a column a shape or input;
    mapped_groups has to have some."""
    groups = mapped_groups(analysis.run, base)
    names = []
    for g in groups:
        names += [(s.label, s) for s in g.series if s.family not in ("exact", "control")
                  and s.label not in [n for n, _ in names]]
    names.sort(key=lambda p: (style_order(p[1]), p[0]))
    found = {(label, k): analysis.crossing(base, s) for k, g in enumerate(groups) for s in g.series
             for label in [s.label]}
    size = style.SIZES[columns]
    step = size["text"] * 1.7
    wide = max(text_width(n, size["text"]) for n, _ in names)
    room = size["width"] * 72 - 2 * PAD - wide - 8
    kept = groups[:int(room // (text_width("≤ 16384", size["text"] - 0.5) + 4))]
    heads, told, tall = _heads(headings(groups)[:len(kept)], size, room)
    if len(kept) < len(groups):
        told.append(f"And {len(groups) - len(kept)} more shapes and inputs, which crossovers.csv has.")
    common = [f for f in facts(groups[0], machine) if all(f in facts(g, machine) for g in groups)]
    sheet = Sheet(columns, f"Length from which a variant is faster than {base}", common, families_of([s for _, s in names]),
                  told + ["A number: interpolated between the last length at which it is slower and the first at which it is faster; "
                   "≤: faster from the first length on that decides. Dark: early. “several”: more than one crossing, "
                   "?: not decided by these rounds."],
                  len(names) * step + tall, below=4, left=PAD + wide + 8)
    cell = min((room - (0 if told else tall * 0.8)) / len(kept), 64)
    lengths = sorted({n for g in groups for n in g.measured_lengths})
    span = np.log2(max(lengths) / min(lengths)) or 1
    for k, head in enumerate(heads):
        sheet.text(sheet.left + (k + 0.5) * cell, sheet.bottom + len(names) * step + 5, head,
                   **({"ha": "center"} if told else {"rotation": 45, "ha": "left", "va": "bottom", "rotation_mode": "anchor"}))
    for i, (label, s) in enumerate(names):
        y = sheet.bottom + (len(names) - i - 1) * step
        sheet.text(sheet.left - 6, y + step / 2, label, ha="right", va="center_baseline", color=style.text_colour(s.family))
        for k in range(len(kept)):
            words, at = _say(found.get((label, k)))
            dark = 0 if at is None else 0.08 + 0.62 * (1 - np.log2(max(at, min(lengths)) / min(lengths)) / span)
            _tile(sheet, sheet.left + k * cell, y, cell, step, style.colour(s.family), dark)
            sheet.text(sheet.left + (k + 0.5) * cell, y + step / 2, words, ha="center", va="center_baseline",
                       size=size["text"] - 0.5, color=style.INK if at is not None else style.MUTED)
    return sheet.figure


def _heads(heads, size, room):
    """(heads of columns, notes that say what they stand for, height): slanted words, or
    letters and a note where these would take up more than half of the room, or touch."""
    tall = max(text_width(h, size["text"]) for h in heads) * 0.72 + 8
    cell = (room - tall * 0.8) / len(heads)
    if tall < room / 2 and cell >= text_width("≤ 16384", size["text"]) + 2:
        return heads, [], tall
    letters = [chr(ord("a") + k) if k < 26 else f"{k + 1}" for k in range(len(heads))]
    return letters, ["; ".join(f"{a}: {h}" for a, h in zip(letters, heads)) + "."], size["text"] + 8


def headings(groups):
    """What tells groups apart, in words."""
    told = [facts(g) for g in groups]
    out = []
    for g, words in zip(groups, told):
        own = [w for w in words if not all(w in other for other in told)]
        out.append(", ".join([g.input] + [w for w in own if not w.startswith(g.input)]))
    return out


def _say(crossing):
    """(words, length that shades the cell or None)"""
    if crossing is None:
        return "", None
    if crossing.kind == "always":
        return f"≤ {crossing.above}", crossing.above
    if crossing.kind == "once":
        if np.isfinite(crossing.named):
            return number(crossing.named), crossing.named
        return f"≤ {crossing.above}", crossing.above
    if crossing.kind == "until":
        return f"until {crossing.below}", None
    return SURE[crossing.kind], None


def _tile(sheet, x, y, wide, tall, colour, dark):
    """A rectangle of a colour mixed into the paper."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle
    mixed = tuple(1 + (c - 1) * dark for c in to_rgb(colour))
    sheet.figure.add_artist(Rectangle((x + 0.5, y + 0.5), wide - 1, tall - 1, transform=sheet.points, facecolor=mixed,
                                      edgecolor=style.GRID, linewidth=0.4, zorder=0.5))
