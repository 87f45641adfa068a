# SPDX-License-Identifier: BSD-3-Clause
"""How a quantity grows with the length, in order of trust:

    local slopes      between neighbouring lengths, with intervals
    exponent          log-log slope over all lengths, and over the tail: the longest
                      end of the sweep whose local slopes show no trend
    decomposition     y = c0 + c1 n + c g(n), no c below 0, for g in GROWTHS, by relative
                      least squares; which g the data tell apart, by AICc
    work              log-log slope of time against the declared operations: 1 if a
                      variant does what it says

What is found holds within the lengths measured. Intervals are bootstraps over
rounds (bootstrap.py); a quantity that does not vary has none.
"""
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from . import bootstrap

GROWTHS = {  # name: g(n); "n" adds no third term, "1" neither that nor c1
    "1": None, "n": None, "n log n": lambda n: n * np.log2(n), "n^1.5": lambda n: n**1.5,
    "n^2": lambda n: n**2}
TERMS = {"1": 1, "n": 2}  # coefficients; else 3
TAIL_POINTS, TAIL_OCTAVES = 4, 2
STEADY = 0.02     # a trend of local slopes that adds up to less than this is none
DECIDED = 4       # AICc from the best to the next
FLOOR = 1e-4      # relative residual below which fits are equally good: rounding, counters


@dataclass(frozen=True)
class Data:
    """A quantity over lengths."""
    n: np.ndarray          # (k,), ascending
    value: np.ndarray      # (k,), above 0
    rounds: np.ndarray     # (R, k), NaN where a round is missing; R = 0: nothing varies
    outside: np.ndarray    # (k,) working set over last-level cache, NaN where not known
    work: np.ndarray       # (k,) declared operations, NaN where not known


@dataclass(frozen=True)
class Slope:
    value: float
    low: float = np.nan
    high: float = np.nan

    def __str__(self):
        if np.isnan(self.value):
            return ""
        value, low, high = (round(v, 2) + 0.0 for v in (self.value, self.low, self.high))  # no -0
        return f"{value:.2f}" + (f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else "")


NONE = Slope(np.nan)


@dataclass(frozen=True)
class Decomposition:
    """y = c0 + c1 n + lead g(n) with the growth that fits best."""
    growths: tuple      # those that the data do not tell apart, the best first
    delta: float        # AICc from the best to the next that is not among them
    coefficients: tuple  # (c0, c1, lead), each a Slope
    shares: tuple       # of each term at the longest length, each a Slope
    residual: float     # root mean square, relative

    def name(self):
        return " or ".join(self.growths)


@dataclass(frozen=True)
class Fit:
    n: tuple                 # lengths
    rounds: int              # fewest rounds of a length; 0: nothing varies
    local: tuple             # of k - 1 Slopes
    exponent: Slope
    tail: Slope
    tail_from: int           # first length of the tail; 0: there is none
    parts: Decomposition     # or None
    work: Slope
    flags: tuple


def fit(data, decompose=True):
    """Fit of a quantity; None with fewer than two lengths."""
    if len(data.n) < 2:
        return None
    draws = bootstrap.medians(data.rounds) if len(data.rounds) else None
    fewest = int(np.isfinite(data.rounds).sum(axis=0).min()) if len(data.rounds) else 0
    logs = None if draws is None else np.log(draws)
    x, y = np.log(data.n), np.log(data.value)
    steps = np.diff(x)
    local = _slopes(np.diff(y) / steps, None if logs is None else np.diff(logs, axis=1) / steps, fewest)
    flags = []
    if draws is None and len(data.rounds):
        flags.append("few_rounds")
    start = _tail(data, x, y, logs, fewest)
    if start is None:
        flags.append("no_tail")
    elif (data.outside[start:] < 1).any():
        flags.append("in_cache")
    parts = decomposition(data, draws, fewest) if decompose else None
    if decompose and parts is None:
        flags.append("few_points")
    return Fit(tuple(int(n) for n in data.n), fewest, local, _log_log(x, y, logs, fewest),
               NONE if start is None else _log_log(x[start:], y[start:], logs if logs is None
                                                   else logs[:, start:], fewest),
               0 if start is None else int(data.n[start]), parts,
               _against_work(data, y, logs, fewest), tuple(flags))


def _slopes(values, draws, rounds):
    if draws is None:
        return tuple(Slope(float(v)) for v in values)
    low, high = bootstrap.interval(draws, rounds)
    return tuple(Slope(*map(float, s)) for s in zip(values, low, high))


def _weights(x):
    """w with w @ y the least-squares slope of y against x."""
    away = x - x.mean()
    return away / (away @ away)


def _log_log(x, y, logs, rounds):
    w = _weights(x)
    return _slopes([w @ y], None if logs is None else logs @ w[:, None], rounds)[0]


def _against_work(data, y, logs, rounds):
    """Slope of log time against log operations; NONE where these are not known or do
    not grow."""
    if len(y) < 3 or not (data.work > 0).all() or data.work[-1] < 2 * data.work[0]:
        return NONE
    return _log_log(np.log(data.work), y, logs, rounds)


def _tail(data, x, y, logs, rounds):
    """Index at which the tail starts, or None.

    Its local slopes have no trend, and its working set lies on one side of the
    last-level cache."""
    for start in range(len(x) - TAIL_POINTS + 1):
        if x[-1] - x[start] < TAIL_OCTAVES * np.log(2) - 1e-9:
            break
        beyond = data.outside[start:]
        if (beyond > 1).any() and (beyond < 1).any():
            continue
        if not _trend(x[start:], y[start:], None if logs is None else logs[:, start:], rounds):
            return start
    return None


def _trend(x, y, logs, rounds):
    """Whether the local slopes rise or fall beyond what the rounds leave open."""
    middle, steps = (x[1:] + x[:-1]) / 2, np.diff(x)
    w = _weights(middle)
    span = middle[-1] - middle[0]
    if abs(w @ (np.diff(y) / steps)) * span <= STEADY:
        return False
    if logs is None:
        return True
    low, high = bootstrap.interval(np.diff(logs, axis=1) / steps @ w, rounds)
    return not low <= 0 <= high


def decomposition(data, draws=None, rounds=0):
    """Decomposition, or None where the lengths are too few for the corrected AIC."""
    count = len(data.n)
    if count < 6:
        return None
    fits = {g: _relative(data.n, data.value, g) for g in GROWTHS}
    scores = {g: _aicc(fits[g][1], count, TERMS.get(g, 3) + 1) for g in GROWTHS}
    order = sorted(GROWTHS, key=scores.get)
    best = order[0]
    near = [g for g in order if scores[g] - scores[best] < DECIDED
            and (g == best or fits[g][0][-1] > FLOOR * data.value[-1])]  # else it is the simpler one
    further = [scores[g] - scores[best] for g in order if g not in near]
    scaled, residual = fits[best]
    scale = _scale(data.n, best)
    top = _columns(data.n, best)[-1]
    values = np.atleast_2d(scaled)
    if draws is not None:
        values = np.vstack([scaled, _relative_all(data, draws, best)])
    terms = values * top  # of y at the longest length
    shares = terms / np.maximum(terms.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return Decomposition(tuple(near), further[0] if further else np.inf,
                         _three(values / scale, rounds), _three(shares, rounds), float(residual))


def _three(values, rounds):
    """Slopes of up to three columns; values[0] is the estimate, the rest draws."""
    out = [Slope(float(values[0, k]), *map(float, bootstrap.interval(values[1:, k], rounds)
                                           if len(values) > 1 else (np.nan, np.nan)))
           for k in range(values.shape[1])]
    return tuple(out + [Slope(0.0)] * (3 - len(out)))


def _columns(n, growth):
    """(k, terms), each term 1 at the longest length."""
    u = n / n[-1]
    g = GROWTHS[growth]
    return np.column_stack(([np.ones_like(u), u] + ([g(n) / g(n[-1])] if g else []))[:TERMS.get(growth, 3)])


def _scale(n, growth):
    """What the terms are divided by in _columns."""
    g = GROWTHS[growth]
    return np.array(([1.0, n[-1]] + ([g(n[-1])] if g else []))[:TERMS.get(growth, 3)])


def _relative(n, value, growth):
    """(coefficients of _columns, relative root mean square residual), none below 0."""
    c = nonnegative(_columns(n, growth) / value[:, None], np.ones((len(n), 1)))
    rest = 1 - _columns(n, growth) @ c[:, 0] / value
    return c[:, 0], np.sqrt(np.mean(rest**2))


def _relative_all(data, draws, growth):
    """Coefficients (draws, terms) of every draw, weighted as the estimate."""
    a = _columns(data.n, growth) / data.value[:, None]
    return nonnegative(a, (draws / data.value).T).T


def nonnegative(a, b):
    """Least squares a x = b with x >= 0, for a (k, p) with p of 1 to 3 and b (k, m).

    The best x is the plain solution on the terms that it uses, so all sets of
    terms are tried: seven pseudo-inverses for all columns of b at once."""
    p = a.shape[1]
    best = np.full(b.shape[1], np.inf)
    out = np.zeros((p, b.shape[1]))
    for size in range(p + 1):
        for terms in combinations(range(p), size):
            x = np.linalg.pinv(a[:, terms]) @ b if size else np.empty((0, b.shape[1]))
            rest = ((b - a[:, terms] @ x) ** 2).sum(axis=0)
            better = (x >= 0).all(axis=0) & (rest < best)
            best = np.where(better, rest, best)
            full = np.zeros_like(out)
            full[list(terms)] = x
            out = np.where(better, full, out)
    return out


def _aicc(residual, count, parameters):
    """Corrected Akaike criterion of a least-squares fit."""
    return (2 * count * np.log(max(residual, FLOOR)) + 2 * parameters
            + 2 * parameters * (parameters + 1) / (count - parameters - 1))
