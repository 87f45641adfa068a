# SPDX-License-Identifier: BSD-3-Clause
"""Logarithmic axes: limits, ticks that are numbers one reads, breaks, slopes."""
import numpy as np
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter, NullLocator

from . import style
from .labels import spread, text_width

UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]


def bytes_text(value):
    """1572864 -> "1.5 MiB"."""
    unit = 0
    while abs(value) >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.3g} {UNITS[unit]}" if value < 1000 else f"{value:.0f} {UNITS[unit]}"


def number(value):
    """Three digits, never in powers of ten: 0.0123, 93.4, 1870."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def limits(values, pad=1.25, least=4.0):
    """Limits around positive values, a factor of `least` apart or more."""
    values = np.asarray([v for v in values if np.isfinite(v) and v > 0])
    if not values.size:
        return 0.1, 10.0
    low, high = values.min() / pad, values.max() * pad
    short = np.sqrt(max(least / (high / low), 1))
    return low / short, high * short


def decimal_ticks(low, high, most):
    """1, 10, 100 or 1, 3, 10 or 1, 2, 5, 10 ...: the most that fit."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    best = []
    for step, subs in ((3, (1,)), (2, (1,)), (1, (1,)), (1, (1, 3)), (1, (1, 2, 5)),
                       (1, (1, 1.5, 2, 3, 5, 7))):
        ticks = [float(f"{s}e{e}") for e in range(first, last + 1) if e % step == 0 for s in subs]
        ticks = [t for t in ticks if low <= t <= high]
        if len(ticks) <= most and len(ticks) > len(best):
            best = ticks
    return best


def binary_ticks(low, high, most):
    """Powers of two, evenly spaced and at most `most`."""
    first, last = int(np.ceil(np.log2(low))), int(np.floor(np.log2(high)))
    for step in (1, 2, 3, 4, 5, 10, 20):
        ticks = [2.0**e for e in range(first, last + 1) if e % step == 0]
        if len(ticks) <= most:
            break
    return ticks


def bars(ax, at, low, high, colour, width, cap, zorder, across=False):
    """Intervals as bars with caps `cap` points wide; across: along x.

    Two artists however many bars: as many as errorbar makes a bar."""
    gap = np.full(len(at), np.nan)
    place, ends = np.column_stack([at, at, gap]).ravel(), np.column_stack([low, high, gap]).ravel()
    tips = np.concatenate([at, at]), np.concatenate([low, high])
    how = {"color": colour, "zorder": zorder, "solid_capstyle": "butt"}
    for x, y, more in ((place, ends, {"linewidth": width}), (*tips, {
            "linestyle": "none", "marker": "|" if across else "_", "markersize": 2 * cap, "markeredgewidth": 0.6})):
        ax.plot(*((y, x) if across else (x, y)), **how, **more)


def set_ticks(axis, ticks, text):
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([text(t) for t in ticks]))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def plain(value):
    """0.001, 1, 100 000; 2×10⁻⁷ where that would be a row of zeros."""
    if value < 1e-4:
        digit, power = f"{value:.1e}".split("e")
        digit = digit.removesuffix(".0")
        return ("" if digit == "1" else digit + "\u2009×\u2009") + f"10$^{{{int(power)}}}$"
    return f"{value:,.10g}".replace(",", "\u2009")


def length_axis(ax, lengths, width, size):
    """Log x axis whose ticks are measured lengths, as many as do not touch."""
    low, high = min(lengths), max(lengths)
    ax.set_xscale("log", base=2)
    span = max(np.log2(high / low), 0.5)
    ax.set_xlim(low / 2**(0.03 * span), high * 2**(0.03 * span))
    per_octave = width / np.log2(ax.get_xlim()[1] / ax.get_xlim()[0])
    ticks, edge = [], np.inf
    for n in sorted(lengths, reverse=True):
        half = text_width(str(int(n)), size) / 2 + 2
        x = np.log2(n) * per_octave
        if x + half <= edge:
            ticks.insert(0, n)
            edge = x - half
    set_ticks(ax.xaxis, ticks, lambda n: str(int(n)))


def gap(values):
    """(below, above): ends of the widest empty stretch, if over 2 decades; else None."""
    values = np.sort([v for v in values if np.isfinite(v) and v > 0])
    if len(values) < 2:
        return None
    steps = np.diff(np.log10(values))
    at = int(np.argmax(steps))
    return (values[at], values[at + 1]) if steps[at] > 2 else None


def slopes(sheet, ax, curves):
    """A fan of reference slopes 1, 1.5 and 2 where no curve is: below on the
    right, or above on the left, for which the y limits grow as far as needed.

    curves: [(n, y)] that it stays clear of."""
    size = sheet.size["text"] - 0.6
    box = ax.get_window_extent()
    text = text_width("n1.5", size) + 3
    wide = min(0.2 * box.width, 80)
    for grow in np.arange(0, 1.2, 0.04):
        low, high = ax.get_ylim()
        ax.set_ylim(low, low * (high / low)**(1 + grow / 8))
        octave_x = box.width / np.log2(ax.get_xlim()[1] / ax.get_xlim()[0])
        octave_y = box.height / np.log2(ax.get_ylim()[1] / ax.get_ylim()[0])
        octaves = min(wide / octave_x, 0.3 * box.height / (2 * octave_y))
        w, h = octaves * octave_x, max(2 * octaves * octave_y, 2.4 * size)
        dots = np.vstack([_dense(ax, x, y, box) for x, y in curves])
        corners = [(0.03 * box.width, box.height - h - 4),
                   (0.97 * box.width - w - text, 0.05 * box.height)]
        free = [c for c in corners if not _within(dots, c, w + text, h, 7)]
        if free:
            break
    x, y = (free or corners)[0]
    x, y = box.x0 + x, box.y0 + y
    ends = y + np.array([1, 1.5, 2]) * octaves * octave_y
    names = spread(ends, size * 1.15, y, y + h + size)
    for end, name, words in zip(ends, names, ("n", "n$^{1.5}$", "n²")):
        sheet.line([x, x + w], [y, end], style.MUTED, 0.7, zorder=1.5)
        sheet.text(x + w + 3, name, words, size=size, color=style.MUTED, va="center")


def _within(dots, corner, wide, tall, pad):
    """Whether any of the points is in a box or within pad of it."""
    return bool(((dots[:, 0] > corner[0] - pad) & (dots[:, 0] < corner[0] + wide + pad)
                 & (dots[:, 1] > corner[1] - pad) & (dots[:, 1] < corner[1] + tall + pad)).any())


def _dense(ax, xs, ys, box):
    """A curve as points about 3 pt apart, in points from the axes' corner."""
    keep = np.isfinite(ys) & (np.asarray(ys) > 0)
    if not keep.any():
        return np.empty((0, 2))
    at = ax.transData.transform(np.column_stack([np.asarray(xs)[keep], np.asarray(ys)[keep]]))
    at = at - (box.x0, box.y0)
    t = np.linspace(0, len(at) - 1, max(len(at) * 24, 2))
    return np.column_stack([np.interp(t, range(len(at)), at[:, k]) for k in (0, 1)])
