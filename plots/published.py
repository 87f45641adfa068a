# SPDX-License-Identifier: BSD-3-Clause
"""Published tables beside a run: does the shape agree?

Exponents, the order of variants and the lengths at which they cross are compared,
and never times: those are of other machines. The tables, their sources and what is
wrong with them are in results/published."""
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from . import crossover, foreign, style
from .axes import limits, number, plain, set_ticks, decimal_ticks
from .canvas import PAD, Sheet, families_of
from .fits import NONE, Slope
from .forest import style_order
from .labels import text_width
from .lines import facts
from .tables import Table

SHAPES = ["o", "s", "^", "D", "v", "P", "X", "p"]
OCTAVES = 2      # a published exponent is taken over the last so many octaves
FEWEST = 3       # and points


@dataclass(frozen=True)
class Claim:
    """What a published table says of one variant."""
    table: str
    title: str
    quantity: str       # time or memory
    variant: str        # ours
    named: str          # theirs
    exponent: float     # NaN where there are too few points
    crossings: dict     # base (ours) -> length, or a Crossing of its rows
    end_to_end: bool


@dataclass(frozen=True)
class Agreement:
    """The run beside the tables."""
    group: object
    exponents: list   # [(Claim, our Slope, series)]
    crossings: list   # [(Claim, base, their length or NaN, their words, our Crossing, series)]
    orders: list      # [(title, quantity, n, variants, Kendall's tau)]


def claims():
    """Every Claim that the tables make of variants of ours."""
    out = []
    for name, about in foreign.tables().items():
        if not about["same_as"] or not (foreign.PUBLISHED / name).is_file():
            continue
        if "crossovers" in about:
            out += _stated(name, about)
        else:
            out += _measured(name, about)
    return out


def _stated(name, about):
    """A table that gives crossovers and no rows."""
    text = foreign.read_text(foreign.PUBLISHED / name)
    columns = about["crossovers"]
    return [Claim(name, about["title"], q, about["same_as"][row[columns["variant"]]], row[columns["variant"]], np.nan,
                  {columns["baseline"]: float(row[columns[q]])}, about.get("end_to_end", False))
            for _, row in text.iterrows() if row[columns["variant"]] in about["same_as"] for q in ("time", "memory")]


def _measured(name, about):
    table = foreign.read(foreign.PUBLISHED / name)
    rows = {series: known for series, known in table.series()}
    per = foreign.read_text(table.path)[about["per"]].astype(float) if "per" in about else None
    out = []
    for theirs, ours in about["same_as"].items():
        for quantity in ("time", "memory"):
            curve = _curve(rows.get(theirs), quantity, per)
            if not curve:
                continue
            bases = {b: _curve(rows.get(t), quantity, per) for b, t in about.get("baseline", {}).items() if t != theirs}
            crossings = {b: crossover.points({n: base[n] / curve[n] for n in curve if n in base})
                         for b, base in bases.items() if len(set(base) & set(curve)) >= 2}
            if len(curve) > 1 or crossings:
                out.append(Claim(name, about["title"], quantity, ours, theirs, _exponent(curve), crossings,
                                 about.get("end_to_end", False)))
    return out


def _curve(rows, quantity, per=None):
    """{n: value} of a published series."""
    if rows is None or quantity not in rows:
        return {}
    rows = rows[rows["ok"] & (rows[quantity] > 0)].drop_duplicates("n")
    scale = per.loc[rows.index] if per is not None else 1.0
    return {int(n): float(v) for n, v in zip(rows["n"], rows[quantity] / scale)}


def _exponent(curve):
    n = np.array(sorted(curve), float)
    y = np.array([curve[int(m)] for m in n])
    last = n >= n[-1] / 2**OCTAVES if len(n) else n
    if last.sum() < FEWEST:
        return np.nan
    return float(np.polyfit(np.log(n[last]), np.log(y[last]), 1)[0])


def agreement(analysis):
    """Agreement of the group that reaches furthest; None where nothing can be compared."""
    every = claims()
    named = {c.variant for c in every}
    groups = [g for g in analysis.run.groups if named & {s.variant for s in g.series}]
    if not groups:
        return None
    group = max(groups, key=lambda g: (not g.decode, g.key["dtype"] == "f32", max(g.measured_lengths, default=0), len(g.measured_lengths)))
    exponents, crossings = [], []
    for claim in every:
        s = group.find(claim.variant)
        if s is None or s.ok.empty:
            continue
        if np.isfinite(claim.exponent):
            exponents.append((claim, _ours(analysis, s, claim.quantity), s))
        for base, theirs in claim.crossings.items():
            ours = (analysis.crossing(base, s) if claim.quantity == "time"
                    else _total_crossing(group.find(base), s))
            if ours is not None:
                crossings.append((claim, base, *_length(theirs), ours, s))
    exponents = [e for e in exponents if np.isfinite(e[1].value)]
    found = Agreement(group, exponents, crossings, _orders(group))
    return found if exponents or crossings else None


def _ours(analysis, s, quantity):
    if quantity == "memory":
        return Slope(_exponent(_total(s)))
    fit = analysis.fit(s, "time")
    return NONE if fit is None else fit.tail if fit.tail_from else fit.exponent


def _total(s):
    """{n: bytes} of Q, K, V, O and the workspace: what others call memory."""
    total = s.ok["io_bytes"] + s.ok["ws_tracked_bytes"]
    return {int(n): float(b) for n, b in zip(s.ok["n"], total) if b > 0}


def _total_crossing(base, s):
    ours, exact = _total(s), _total(base) if base is not None else {}
    ratios = {n: exact[n] / ours[n] for n in ours if n in exact}
    return crossover.points(ratios) if len(ratios) >= 2 else None


def _length(theirs):
    """(length or NaN, words) of a published crossing."""
    if isinstance(theirs, float):
        return theirs, f"given as {theirs:g}"
    words = str(theirs)
    return (theirs.named if theirs.kind == "once" else np.nan), words


def _orders(group):
    """How alike the variants are ranked at the longest length that a table has of them."""
    out = []
    for name, about in foreign.tables().items():
        if not about["same_as"] or "crossovers" in about or not (foreign.PUBLISHED / name).is_file():
            continue
        table = foreign.read(foreign.PUBLISHED / name)
        rows = dict(table.series())
        for quantity, column in (("time", "time_median_ns"), ("memory", None)):
            curves = {ours: _curve(rows.get(theirs), quantity) for theirs, ours in about["same_as"].items()}
            curves = {v: c for v, c in curves.items() if c and group.find(v) is not None}
            lengths = sorted({n for c in curves.values() for n in c})
            for n in reversed(lengths):
                both = [v for v, c in curves.items() if n in c]
                near = max((m for m in group.measured_lengths if m <= n), default=None)
                both = [v for v in both if near and group.find(v).at(near) is not None]
                if len(both) >= 4:
                    here = [group.find(v).at(near)[column] if column else _total(group.find(v)).get(near, np.nan) for v in both]
                    tau = kendalltau([curves[v][n] for v in both], here).statistic
                    out.append((about["title"], quantity, (n, near), both, float(tau)))
                    break
    return out


def tables_of(found):
    """Tables for the report and for papers."""
    order = sorted(found.exponents, key=lambda e: (e[0].quantity != "time", style_order(e[2]), e[0].variant))
    rows = [(c.variant, c.quantity, c.title + (" (end to end)" if c.end_to_end else ""), c.named,
             f"{c.exponent:.2f}", str(ours)) for c, ours, _ in order]
    crossings = [(c.variant, c.quantity, base, c.title, c.named, words + (f": {number(length)}" if np.isfinite(length) and
                  not words.startswith("given") else ""), str(ours), ours.length()) for c, base, length, words, ours, _ in found.crossings]
    orders = [(title, quantity, f"{n[0]} (ours: {n[1]})", ", ".join(both), f"{tau:.2f}")
              for title, quantity, n, both, tau in found.orders]
    what = ", ".join(facts(found.group))
    return [Table("published-exponents", "Exponents of n: published, over the last two octaves, and here; memory with inputs and "
                  f"output: {what}.",
                  ("variant", "of", "table", "named there", "published", "here [95 %]"), rows, (4,)),
            Table("published-crossovers", f"Where a variant passes exact attention: published, and here: {what}.",
                  ("variant", "in", "against", "table", "named there", "published", "here", "here, n* [95 %]"), crossings),
            Table("published-order", f"Order of the variants, published and here (Kendall's tau: 1 is the same order): {what}.",
                  ("table", "of", "n", "variants", "tau"), orders, (4,))]


def overlay(analysis, columns, machine=""):
    """Exponents and crossovers of published tables beside ours; None without any."""
    found = agreement(analysis)
    if found is None:
        return None
    size = style.SIZES[columns]
    titles = list(dict.fromkeys(c.title for c, *_ in found.exponents + found.crossings))
    shapes = {t: SHAPES[k % len(SHAPES)] for k, t in enumerate(titles)}
    rows = list(dict.fromkeys((s.variant, s) for _, _, s in sorted(
        [e for e in found.exponents if e[0].quantity == "time"], key=lambda e: (style_order(e[2]), e[2].variant))))
    crossing_rows = list(dict.fromkeys((f"{s.variant} / {base}", s, base) for c, base, length, _, _, s in found.crossings
                                       if c.quantity == "time" and np.isfinite(length)))
    if not rows:
        return None
    step = size["text"] * 1.6
    count = len(rows) + (len(crossing_rows) + 3 if crossing_rows else 0)
    wide = max(text_width(t, size["text"]) for t in [r[0] for r in rows] + [r[0] for r in crossing_rows])
    key = sum(1 for _ in titles)
    sheet = Sheet(columns, "Published results beside this run", facts(found.group, machine), families_of([r[1] for r in rows]),
                  ["Filled, with bar: here, 95 %. Hollow: published, of other machines and often of whole models, which flattens "
                   "exponents. Times are not compared. Above: exponent of time; below: n from which it is faster than the exact "
                   "baseline named after the stroke."], count * step + key * size["text"] * 1.4 + 12, left=PAD + wide + 8)
    top = sheet.top - key * size["text"] * 1.4 - 4
    for k, title in enumerate(titles):
        y = sheet.top - (k + 0.5) * size["text"] * 1.4
        _hollow_artist(sheet, PAD + 6, y, shapes[title], size)
        sheet.text(PAD + 14, y, title, va="center_baseline")
    ax = sheet.axes(sheet.left, top - len(rows) * step, sheet.right, top)
    _rows(sheet, ax, rows, step, top)
    spans = [1.0, 2.0]
    for claim, ours, s in found.exponents:
        if claim.quantity != "time":
            continue
        y = _height(rows, s.variant, step)
        ax.plot(claim.exponent, y + 0.22 * step, marker=shapes[claim.title], **_hollow(s, size))
        _mark(ax, ours.value, ours.low, ours.high, y - 0.15 * step, s, size)
        spans += [claim.exponent, ours.value] + [v for v in (ours.low, ours.high) if np.isfinite(v)]
    ax.set_xlim(min(spans) - 0.1, max(spans) + 0.1)
    set_ticks(ax.xaxis, [t for t in np.arange(-1, 4, 0.5) if ax.get_xlim()[0] <= t <= ax.get_xlim()[1]], lambda t: f"{t:g}")
    if crossing_rows:
        low = top - (len(rows) + 3) * step
        below = sheet.axes(sheet.left, low - len(crossing_rows) * step, sheet.right, low)
        _crossings(sheet, below, found, crossing_rows, shapes, step, low, size)
    return sheet.figure


def _crossings(sheet, ax, found, rows, shapes, step, top, size):
    _rows(sheet, ax, [(r[0], r[1]) for r in rows], step, top)
    ax.set_xscale("log")
    values = []
    for claim, base, length, _, ours, s in found.crossings:
        if claim.quantity != "time" or f"{s.variant} / {base}" not in [r[0] for r in rows]:
            continue
        y = _height(rows, f"{s.variant} / {base}", step)
        if np.isfinite(length):
            ax.plot(length, y + 0.22 * step, marker=shapes[claim.title], **_hollow(s, size))
            values.append(length)
        at = ours.named if np.isfinite(ours.named) else ours.above if ours.kind in ("always", "once") else np.nan
        if np.isfinite(at) and at > 0:
            _mark(ax, at, ours.low, ours.high, y - 0.15 * step, s, size)
            if not np.isfinite(ours.named):
                ax.annotate("≤", (at, y - 0.15 * step), xytext=(-size["mark"] - 4, 0), textcoords="offset points",
                            fontsize=size["text"], va="center_baseline", ha="center")
            values += [at]
    low, high = limits(values or [100, 1000], 1.4)
    ax.set_xlim(low, high)
    set_ticks(ax.xaxis, decimal_ticks(low, high, 8), plain)
    ax.set_xlabel("n", fontsize=size["text"], labelpad=2)


def _rows(sheet, ax, rows, step, top):
    ax.set_ylim(0, len(rows) * step)
    set_ticks(ax.yaxis, [], str)
    ax.spines["left"].set_visible(False)
    for k, (name, s) in enumerate(rows):
        sheet.text(sheet.left - 6, top - (k + 0.5) * step, name, ha="right", va="center_baseline",
                   color=style.text_colour(s.family))
        ax.axhline((len(rows) - k - 0.5) * step, color=style.GRID, linewidth=0.4, zorder=0.5)


def _height(rows, name, step):
    return (len(rows) - [r[0] for r in rows].index(name) - 0.5) * step


def _hollow(s, size):
    return {"linestyle": "none", "markersize": size["mark"] * 1.3, "markerfacecolor": style.PAPER,
            "markeredgecolor": style.colour(s.family), "markeredgewidth": 0.8, "zorder": 3}


def _hollow_artist(sheet, x, y, shape, size):
    from matplotlib.lines import Line2D
    sheet.figure.add_artist(Line2D([x], [y], transform=sheet.points, linestyle="none", marker=shape, markersize=size["mark"] * 1.3,
                                   markerfacecolor=style.PAPER, markeredgecolor=style.INK, markeredgewidth=0.8))


def _mark(ax, value, low, high, y, s, size):
    if np.isfinite(low):
        ax.plot([low, high], [y, y], color=style.colour(s.family), linewidth=size["line"] * 0.9, solid_capstyle="butt", zorder=2)
    ax.plot(value, y, marker=style.marker(s.family, s.variant), linestyle="none", markersize=size["mark"] * 1.1,
            markerfacecolor=style.colour(s.family), markeredgecolor=style.PAPER, markeredgewidth=0.3, zorder=3)
