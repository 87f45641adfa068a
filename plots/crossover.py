# SPDX-License-Identifier: BSD-3-Clause
"""From which length a variant beats a baseline.

The bracket is what the verdicts say: the last length at which the variant is
slower, and the first at which it is faster. Between them the median log ratio is
interpolated in log n; resampled rounds give the interval. All changes of sign are
kept, and with more or fewer than one in over 5 % of the draws there is no single
length to name.
"""
from dataclasses import dataclass, field

import numpy as np

from . import bootstrap
from .axes import number
from .speed import FASTER, MARGIN, SAME, SLOWER, UNCLEAR, Ratio, speedup_at

LEVELS = (0.01, 0.03, 0.1, 0.3)  # of the error, for crossovers at equal error
AMBIGUOUS = 0.05  # share of draws without exactly one crossing, from which none is named


@dataclass(frozen=True)
class Crossing:
    """From which length a variant beats a base."""
    kind: str     # always, once, until, never, several, unclear
    below: int    # once: largest length with a verdict against it, 0 if there is none,
    above: int    # and the smallest one from which it is better; until: the other way round
    at: dict      # length -> Ratio
    roots: tuple = ()        # lengths at which the median ratio passes 1
    low: float = np.nan      # interval of the one root
    high: float = np.nan
    single: float = np.nan   # share of draws with exactly one root
    named: float = np.nan    # that root; NaN where there is not just one to name
    chosen: dict = field(default_factory=dict)  # length -> label of the setting, at equal error

    def __str__(self):
        lengths = sorted(self.at)
        if self.kind == "always":
            return f"at every length measured, from {lengths[0]}"
        if self.kind == "once" and self.below:
            return f"from a length in ({self.below}, {self.above}]"
        if self.kind == "once":
            return f"from {self.above}; not decided below"
        if self.kind == "until":
            return f"up to {self.below}, not from {self.above}"
        if self.kind == "never":
            return f"at no length measured, up to {lengths[-1]}"
        if self.kind == "several":
            return "at some lengths, with more than one crossing"
        return "not decided by these rounds"

    def length(self):
        """"347 [343, 352]": the interpolated length, or "" where none is named."""
        if np.isnan(self.named):
            return ""
        return number(self.named) + (f" [{number(self.low)}, {number(self.high)}]"
                                     if np.isfinite(self.low) else "")


def crossing(rounds, base, variant, margin=MARGIN):
    """Crossing in time of two series; None where they share no measured length."""
    shared = [int(n) for n in base.ok["n"] if base.timed(n) and variant.timed(n)]
    if not shared:
        return None
    at = {n: speedup_at(rounds, base, variant, n) for n in shared}
    parts = [rounds.pairs(base.ids(n), variant.ids(n)) for n in shared] if rounds is not None else None
    return judge(at, parts, margin)


def judge(at, parts=None, margin=MARGIN):
    """Crossing from ratios at lengths; parts: [(rounds, log ratios)] a length, or None."""
    shared = sorted(at)
    verdicts = [at[n].verdict(margin) for n in shared]
    logs = np.log([at[n].value for n in shared])
    roots = tuple(float(r) for r in _roots(np.array(shared, float), logs))
    kind, below, above = _bracket(shared, verdicts)
    named, low, high, single = _named(shared, parts, roots)
    return Crossing(kind, below, above, at, roots, low, high, single, named)


def points(ratios):
    """Crossing of {length: base / variant} without any rounds: signs and roots alone."""
    at = {n: Ratio(r, r, r, 0) for n, r in ratios.items()}
    return judge(at)


def _bracket(lengths, verdicts):
    faster = [v == FASTER for v in verdicts]
    if all(faster):
        return "always", 0, lengths[0]
    if not any(faster):
        return ("unclear" if verdicts[-1] == UNCLEAR else "never"), 0, 0
    first, last = faster.index(True), len(faster) - 1 - faster[::-1].index(True)
    if all(faster[first:]):
        against = [n for n, v in zip(lengths, verdicts) if v == SLOWER]
        return "once", against[-1] if against else 0, lengths[first]
    after = [n for n, v in zip(lengths, verdicts) if v in (SLOWER, SAME)]
    if all(faster[:last + 1]) and after and after[0] > lengths[last]:
        return "until", lengths[last], after[0]
    return "several", 0, 0


def _roots(lengths, logs):
    """Lengths at which log ratios pass 0, interpolated in log n."""
    passes = logs[:-1] * logs[1:] < 0
    x = np.log(lengths)
    at = np.flatnonzero(passes)
    exact = list(lengths[logs == 0])
    part = logs[at] / (logs[at] - logs[at + 1])
    return sorted(exact + list(np.exp(x[at] + part * (x[at + 1] - x[at]))))


def _named(lengths, parts, roots):
    """(root, low, high, share of draws with exactly one); NaN for what is not known."""
    alone = roots[0] if len(roots) == 1 else np.nan
    if not parts or any(len(p[0]) == 0 for p in parts) or len(lengths) < 2:
        return alone, np.nan, np.nan, np.nan
    values = bootstrap.together(lengths, parts)
    draws = bootstrap.medians(values)
    if draws is None:
        return alone, np.nan, np.nan, np.nan
    passes = draws[:, :-1] * draws[:, 1:] < 0
    one = passes.sum(axis=1) == 1
    single = float(one.mean())
    if len(roots) != 1 or single < 1 - AMBIGUOUS:
        return np.nan, np.nan, np.nan, single
    x, row = np.log(lengths), np.flatnonzero(one)
    at = passes[one].argmax(axis=1)
    a, b = draws[row, at], draws[row, at + 1]
    found = np.exp(x[at] + a / (a - b) * (x[at + 1] - x[at]))
    fewest = int(np.isfinite(values).sum(axis=0).min())
    low, high = bootstrap.interval(found, fewest)
    return roots[0], float(low), float(high), single


def in_memory(base, variant):
    """Crossing of two series in peak workspace, which does not vary."""
    ratios = {}
    for n in base.ok["n"]:
        a, b = base.at(n)["ws_tracked_bytes"], variant.at(n)
        b = np.nan if b is None else b["ws_tracked_bytes"]
        if np.isfinite(a) and np.isfinite(b):
            ratios[int(n)] = max(a, 1) / max(b, 1)  # of no workspace at all as of a byte
    return points(ratios) if ratios else None


def at_error(rounds, base, settings, level, margin=MARGIN):
    """Crossing in time where only settings of a variant count whose error is at most
    level, the fastest of them at each length; None where that cannot be told.

    settings: series of one variant. A length at which none is accurate enough counts
    against it."""
    at, parts, chosen = {}, [], {}
    for n in base.ok["n"]:
        known = [s for s in settings if base.timed(n) and s.timed(n)
                 and np.isfinite(s.at(n)["err_exact_rel_fro"])]
        if not known:
            continue
        good = [s for s in known if s.at(n)["err_exact_rel_fro"] <= level]
        n = int(n)
        if not good:
            at[n] = Ratio(0.0, 0.0, 0.0, 0)
            continue
        best = min(good, key=lambda s: s.at(n)["time_median_ns"])
        at[n], chosen[n] = speedup_at(rounds, base, best, n), best.label
        parts.append(rounds.pairs(base.ids(n), best.ids(n)) if rounds is not None else (np.empty(0),) * 2)
    if not at:
        return None
    lengths = sorted(at)
    kind, below, above = _bracket(lengths, [at[n].verdict(margin) for n in lengths])
    timed = [n for n in lengths if n in chosen]
    roots = tuple(_roots(np.array(timed, float), np.log([at[n].value for n in timed]))) if timed else ()
    named, low, high, single = _named(timed, parts, roots) if kind == "once" and below in chosen else (np.nan,) * 4
    return Crossing(kind, below, above, at, roots, low, high, single, named, chosen)
