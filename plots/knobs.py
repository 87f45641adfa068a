# SPDX-License-Identifier: BSD-3-Clause
"""What a parameter buys: error against time, or against operations where no time was
measured, as it grows: a path a variant."""
import numpy as np

from . import style
from .axes import limits
from .canvas import Sheet, families_of
from .labels import text_width
from .lines import ERROR, facts
from .pareto import points, usual_cost
from .trade import _axes_names, _labels, _log


def knobs(group, n):
    """[(variant, parameter, [(value, point)])] of variants measured with several values of
    one parameter at length n, ascending."""
    at = {id(p[0]): p for p in points(group, n)}
    out = []
    for variant in dict.fromkeys(s.variant for s in group.series):
        found = [(_settings(s.params), at[id(s)]) for s in group.series if s.variant == variant and id(s) in at]
        if len(found) < 2:
            continue
        names = set().union(*(p for p, _ in found))
        for name in sorted(names):
            rest = [{k: v for k, v in p.items() if k != name} for p, _ in found]
            usual = max(rest, key=rest.count)
            line = [(float(p[name]), point) for (p, point), r in zip(found, rest)
                    if r == usual and _number(p.get(name))]
            if len({value for value, _ in line}) >= 2:
                out.append((variant, name, sorted(line, key=lambda v: v[0])))
    return out


def knob_curves(group, n, columns, machine=""):
    """The figure, or None where no parameter was varied."""
    paths = knobs(group, n)
    if not paths:
        return None
    size = style.SIZES[columns]
    everyone = [p for _, _, line in paths for _, p in line]
    flash = next((p for p in points(group, n) if p[0].variant == "flash"), None)
    left = 21 + text_width("0.001", size["text"])
    sheet = Sheet(columns, f"What a parameter buys at n = {n}", facts(group, machine),
                  families_of([p[0] for p in everyone]),
                  ["A path: one variant as its parameter grows, with the value at each point." + (" Upright line: flash." if flash else "")],
                  200 if columns == 1 else 260, left=left)
    ax = sheet.axes(left, sheet.bottom, sheet.right, sheet.top)
    _log(ax, limits([p[1] for p in everyone] + ([flash[1]] if flash else []), 1.5),
         limits([p[4] for p in everyone if p[4] > 0], 1.5), size)
    if flash:
        ax.axvline(flash[1], color=style.RULE, linewidth=0.7, zorder=1.4)
    marked, paths_drawn = [], []
    for variant, name, line in paths:
        family = line[0][1][0].family
        shape = style.marker(family, variant)
        xs, ys = [p[1] for _, p in line], [p[4] for _, p in line]
        ax.plot(xs, ys, color=style.colour(family), linewidth=size["line"], marker=shape,
                markersize=style.mark_size(shape, size["mark"]) * 1.2, markeredgecolor=style.PAPER, markeredgewidth=0.4, zorder=2)
        marked += [_Named(f"{variant} {name}={v:g}" if k == len(line) - 1 else f"{v:g}", p[0], (p[1], p[4]))
                   for k, (v, p) in enumerate(line)]
        paths_drawn.append(list(zip(xs, ys)))
    _axes_names(sheet, ax, usual_cost(group).axis, ERROR.axis)
    _labels(sheet, ax, marked, [m.at for m in marked], size, paths_drawn)
    return sheet.figure


class _Named:
    """A point with a name of its own, as _labels wants it."""

    def __init__(self, label, series, at):
        self.label, self.family, self.at = label, series.family, at


def _settings(params):
    return dict(p.partition("=")[::2] for p in params.split(":") if p)


def _number(text):
    try:
        return bool(np.isfinite(float(text)))
    except (TypeError, ValueError):
        return False
