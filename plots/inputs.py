# SPDX-License-Identifier: BSD-3-Clause
"""Curves against a parameter of the input: accuracy at a task against its pairs, error
against the entropy; and what a variant recalls against the bytes that it keeps.

A sweep is what of a run differs in one parameter of the input alone, at one length."""
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from matplotlib.ticker import NullLocator

from . import style
from .axes import binary_ticks, bytes_text, decimal_ticks, limits, plain, set_ticks
from .canvas import Sheet, families_of
from .data import GROUP, SERIES, Group, pretty_input
from .labels import spread, text_width
from .lines import facts
from .trade import _axes_names, _labels

LEAST = 3    # values of the parameter that make a curve
LEVEL = 0.9  # share of right answers that counts as solved


@dataclass(frozen=True, eq=False)
class Curve:
    series: object  # of all values together: label, family, variant, index
    rows: dict      # {value: row}, ascending; measured ones

    def numbers(self, column):
        """(values, numbers) where the column has one."""
        pairs = [(v, r[column]) for v, r in self.rows.items() if np.isfinite(r[column])]
        return np.array([v for v, _ in pairs]), np.array([y for _, y in pairs])


@dataclass(frozen=True, eq=False)
class Sweep:
    kind: str     # "mqar"
    param: str    # "pairs"
    n: int
    groups: dict  # {value: group}, ascending
    index: int    # of those of this kind and parameter

    @property
    def name(self):
        return f"{self.kind}-{self.param}" + (f"-{self.index + 1}" if self.index else "")

    @property
    def values(self):
        return list(self.groups)

    @cached_property
    def curves(self):
        together = Group(next(iter(self.groups.values())).key, self.name,
                         pd.concat([g.cells[g.cells["n"] == self.n] for g in self.groups.values()]).drop_duplicates(SERIES))
        out = {_who(s): Curve(s, {}) for s in together.series}
        for value, group in self.groups.items():
            for s in group.series:
                if s.at(self.n) is not None:
                    out[_who(s)].rows[value] = s.at(self.n)
        return [c for c in out.values() if len(c.rows) > 1]

    @property
    def task(self):
        return any(np.isfinite(g.chance(self.n)) for g in self.groups.values())

    def facts(self, machine):
        """As of a figure of one input, with the parameter left open."""
        first = next(iter(self.groups.values()))
        rest = ":".join(p for p in _params(first.key["input_kind"]) if not p.startswith(self.param + "="))
        ends = [e for g in self.groups.values() if g.entropy for e in g.entropy]
        regime = f" (entropy ratio {min(ends):.2f}–{max(ends):.2f})" if ends else ""
        return [pretty_input(self.kind + (":" + rest if rest else "")) + regime, f"n = {self.n}"] + facts(first, machine)[1:]


def _who(series):
    return tuple(series.cells[c].iloc[0] for c in SERIES)


def _params(kind):
    return kind.split(":")[1:]


def sweeps(run):
    """Every sweep of a run, in the order of its inputs."""
    found = {}
    for group in run.groups:
        kind, params = group.key["input_kind"].split(":")[0], _params(group.key["input_kind"])
        for i, word in enumerate(params):
            name, _, value = word.partition("=")
            try:
                value = float(value)
            except ValueError:
                continue
            rest = (kind, name, *params[:i], *params[i + 1:], *(group.key[c] for c in GROUP[1:]))
            for n in group.measured_lengths:
                found.setdefault((*rest, n), {})[value] = group
    out, count = [], {}
    for (kind, name, *_, n), groups in found.items():
        if len(groups) >= LEAST:
            index = count[kind, name] = count.get((kind, name), -1) + 1
            out.append(Sweep(kind, name, n, dict(sorted(groups.items())), index))
    return out


# Where a task is no longer solved


def break_of(values, accuracy, level=LEVEL):
    """(words, solved, failed): "above", 32, 64: solved up to 32, not at 64. "up to": not
    solved up to the first, solved from the second on. "at all": never; "": always or now and then."""
    solved = [a >= level for a in accuracy]
    if not any(solved):
        return "at all", None, None
    changes = [i for i in range(1, len(solved)) if solved[i] != solved[i - 1]]
    if len(changes) != 1:
        return "", None, None
    before, after = values[changes[0] - 1], values[changes[0]]
    return ("above", before, after) if solved[0] else ("up to", before, after)


def verdicts(sweep):
    """[(curve, words, solved, failed)] of a task, in the order of the run."""
    return [(c, *break_of(*c.numbers("task_accuracy"))) for c in sweep.curves]


def _notes(sweep):
    if not sweep.task:
        return ["X: output, Y: exact softmax attention in double precision. Zero output has error 1; uniform average: each row "
                "the plain mean of the visible values. Exact variants, whose error is rounding, are left out."]
    found = {}
    for curve, words, before, after in verdicts(sweep):
        found.setdefault((words, after or 0, before or 0), []).append(curve.series.label)
    said = []
    for (words, after, before), who in sorted(found.items()):
        if words:
            said.append({"above": f"from {sweep.param}\u00a0=\u00a0{after:g} on, not at {before:g}",
                         "up to": f"up to {sweep.param}\u00a0=\u00a0{before:g}, not at {after:g}",
                         "at all": "throughout"}[words] + f": {', '.join(who)}")
    said = [f"Below {LEVEL:g} " + "; ".join(said) + "."] if said else []
    return [" ".join(["Share of the queries that are answered rightly; exact attention solves the task."] + said)]


# The curves


def title(sweep):
    return f"{'Task accuracy' if sweep.task else 'Error'} against {sweep.param} of {sweep.kind}"


def curves(sweep, columns, machine=""):
    """Accuracy at the task, or error, of every variant against the parameter."""
    size, task = style.SIZES[columns], sweep.task
    column = "task_accuracy" if task else "err_exact_rel_fro"
    shown = [(c, *c.numbers(column)) for c in sweep.curves if task or c.series.family not in ("exact", "control")]
    shown = [s for s in shown if len(s[1])]
    guides = _guides(sweep)
    names = [c.series.label for c, _, _ in shown] + [g[0] for g in guides]
    step = size["text"] * 1.22
    margin = 20 + size["mark"] + 6 + max(text_width(t, size["text"]) for t in names)
    sheet = Sheet(columns, title(sweep), sweep.facts(machine), families_of([c.series for c, _, _ in shown]), _notes(sweep),
                  max(150 if columns == 1 else 200, len(names) * step + 4), left=21 + text_width("0.001", size["text"]))
    edge = sheet.right - margin
    ax = sheet.axes(sheet.left, sheet.bottom, edge, sheet.top)
    _value_axis(ax, sweep.values, size)
    if task:
        ax.set_ylim(-0.03, 1.03)
        set_ticks(ax.yaxis, [0, 0.2, 0.4, 0.6, 0.8, 1], "{:.1f}".format)
        ax.axhline(LEVEL, color=style.RULE, linewidth=0.6, linestyle=(0, (1, 2)), zorder=1.3)
    else:
        ax.set_yscale("log")
        low, high = limits(np.concatenate([y for _, _, y in shown] + [[1.0]]))
        ax.set_ylim(max(low, 1e-4), min(high, 1e3))
        set_ticks(ax.yaxis, decimal_ticks(*ax.get_ylim(), 9), plain)
    for _, xs, ys, pattern in guides:
        ax.plot(xs, ys, color=style.MUTED, linewidth=size["line"] * 0.8, linestyle=pattern, zorder=1.6)
    for curve, xs, ys in shown:
        s = curve.series
        shape = style.marker(s.family, s.variant)
        ax.plot(xs, ys, color=style.colour(s.family), linewidth=size["line"], linestyle=style.dashes(s.index), marker=shape,
                markersize=style.mark_size(shape, size["mark"]), markeredgecolor=style.PAPER, markeredgewidth=0.35,
                zorder=3 if s.family == "exact" else 2)
    _axes_names(sheet, ax, f"{sweep.param} of {sweep.kind}",
                "task accuracy [1]" if task else "relative error, ‖X − Y‖ / ‖Y‖ [1]")
    low, high = ax.get_ylim()
    ends = [sheet.place_of(ax, xs[-1], min(max(ys[-1], low), high)) for _, xs, ys, *_ in shown]
    ends += [sheet.place_of(ax, xs[-1], min(max(ys[-1], low), high)) for _, xs, ys, _ in guides]
    spots = spread([e[1] for e in ends], step, sheet.bottom + 2, sheet.top - 2)
    for (curve, _, _), end, y in zip(shown, ends, spots):
        s = curve.series
        sheet.line([end[0] + 2, edge, edge + 14], [end[1], end[1], y], style.colour(s.family), 0.5, alpha=0.7)
        sheet.mark(edge + 16 + size["mark"] / 2, y, s.family, s.variant, size["mark"])
        sheet.text(edge + 20 + size["mark"], y, s.label, va="center_baseline", color=style.text_colour(s.family))
    for (words, _, _, pattern), end, y in zip(guides, ends[len(shown):], spots[len(shown):]):
        sheet.line([edge + 2, edge + 14], [end[1], y], style.MUTED, 0.5, linestyle=pattern)
        sheet.text(edge + 20 + size["mark"], y, words, color=style.MUTED, va="center_baseline")
    return sheet.figure


def _guides(sweep):
    """[(name, values, numbers, dashes)]: what a useless answer scores."""
    values = np.array(sweep.values)
    if sweep.task:
        return [("a guess", values, np.array([g.chance(sweep.n) for g in sweep.groups.values()]), (0, (5, 2)))]
    uniform = np.array([g.uniform(sweep.n) for g in sweep.groups.values()])
    there = np.isfinite(uniform)
    out = [("zero output", values, np.ones(len(values)), (0, (1, 1.5)))]
    return out + ([("uniform average", values[there], uniform[there], (0, (5, 2)))] if there.any() else [])


def _value_axis(ax, values, size):
    """Logarithmic where the values span a factor of 8 or more, all above 0."""
    ends = min(values), max(values)
    if ends[0] > 0 and ends[1] / ends[0] >= 8 and ends[1] > 1:
        ax.set_xscale("log", base=2)
        ax.set_xlim(ends[0] / 1.1, ends[1] * 1.1)
    else:
        pad = 0.03 * (ends[1] - ends[0])
        ax.set_xlim(ends[0] - pad, ends[1] + pad)
    room, ticks = ax.get_window_extent().width, []
    for v in values:
        x = ax.transData.transform((v, 1))[0]
        if not ticks or x - ticks[-1][0] > text_width(f"{v:g}", size["text"]) + 5:
            ticks.append((x, v))
    if room > 0:
        set_ticks(ax.xaxis, [v for _, v in ticks], "{:g}".format)
    ax.xaxis.set_minor_locator(NullLocator())


# Recall against what is kept


def held_title(sweep):
    return f"How many {sweep.param} are answered against what is kept of the tokens"


def held(sweep):
    """[(curve, bytes a head, largest value that is solved, next value or None)] of the causal variants that
    say what they keep; [] where it tells nothing: no task, or less than three of them."""
    if not sweep.task or sweep.param != "pairs":
        return []
    out = []
    for curve, words, before, after in verdicts(sweep):
        values, accuracy = curve.numbers("task_accuracy")
        row = curve.rows[values[-1]] if len(values) else None
        if row is None or not row["state_bytes"] > 0:
            continue
        each = row["state_bytes"] / (row["batch"] * row["heads"])
        if words == "above":
            out.append((curve, each, before, after))
        elif words == "" and (accuracy >= LEVEL).all():
            out.append((curve, each, values[-1], None))
    return out if len(out) >= 3 else []


def states(sweep, columns, machine=""):
    """The largest value of the parameter at which a variant still solves the task, against the bytes that decoding
    keeps of the tokens. held() has to say something."""
    size, found = style.SIZES[columns], held(sweep)
    left = 21 + text_width(f"{max(sweep.values):g}", size["text"])
    never = [c.series.label for c, words, _, _ in verdicts(sweep) if words == "at all"]
    sheet = Sheet(columns, held_title(sweep), sweep.facts(machine), families_of([c.series for c, *_ in found]),
                  [f"Mark: the most {sweep.param} of those tried of which a share of {LEVEL:g} or more is answered; the line above it ends "
                   f"where that is no longer so. Arrow: all that were tried. Bytes a head, after {sweep.n} tokens."
                   + (f" Not solved with any: {', '.join(never)}." if never else "")],
                  190 if columns == 1 else 240, left=left)
    ax = sheet.axes(left, sheet.bottom, sheet.right - 8, sheet.top)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    span = limits([b for _, b, _, _ in found], 2.0)
    ax.set_xlim(*span)
    ax.set_ylim(min(sweep.values) / 1.6, max(sweep.values) * 2)
    set_ticks(ax.xaxis, binary_ticks(*span, max(int(ax.get_window_extent().width / 44), 2)), bytes_text)
    set_ticks(ax.yaxis, sweep.values, "{:g}".format)
    for curve, each, before, after in found:
        s = curve.series
        shape = style.marker(s.family, s.variant)
        if after is None:
            ax.annotate("", (each, before * 1.5), (each, before), zorder=1.9,
                        arrowprops={"arrowstyle": "->", "color": style.colour(s.family), "linewidth": 0.8})
        else:
            ax.plot([each, each], [before, after], color=style.colour(s.family), linewidth=0.8, zorder=1.9)
        ax.plot(each, before, linestyle="none", marker=shape, markersize=style.mark_size(shape, size["mark"]) * 1.5,
                markerfacecolor=style.colour(s.family), markeredgecolor=style.PAPER, markeredgewidth=0.4, zorder=3)
    _axes_names(sheet, ax, "kept of the tokens, a head", f"{sweep.param} answered")
    _labels(sheet, ax, [c.series for c, *_ in found], [(b, v) for _, b, v, _ in found], size)
    return sheet.figure
