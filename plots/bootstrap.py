# SPDX-License-Identifier: BSD-3-Clause
"""Resampling rounds, and intervals from it.

A round is what repeats: all lengths and variants share its weather, so a draw
takes whole rounds, the same ones for every length.
"""
from functools import lru_cache

import numpy as np
from scipy.stats import norm, t

DRAWS = 2000
SEED = 1
FEWEST = 6  # rounds; with fewer there is no interval


@lru_cache(maxsize=64)
def _choices(rounds):
    return np.random.default_rng(SEED).integers(rounds, size=(DRAWS, rounds))


def medians(values):
    """(DRAWS, k): medians over resampled rounds of values (rounds, k), NaN where a
    round is missing; None with too few rounds.

    Lengths that stopped at different rounds keep the rounds they share in step."""
    if len(values) < FEWEST or np.isfinite(values).sum(axis=0).min(initial=FEWEST) < FEWEST:
        return None
    out = np.empty((DRAWS, values.shape[1]))
    for k in range(values.shape[1]):
        out[:, k] = _median(values[:, k][_choices(len(values))], values[:, k])
    return out


def _median(drawn, column):
    """Median of each row without its NaN; where all are, that of the column."""
    ordered = np.sort(drawn, axis=1)  # NaN last
    have = np.isfinite(ordered).sum(axis=1)
    row, last = np.arange(len(ordered)), np.maximum(have - 1, 0)
    middle = (ordered[row, last // 2] + ordered[row, np.minimum(have // 2, last)]) / 2
    return np.where(have > 0, middle, np.nanmedian(column))


def interval(statistic, rounds, confidence=0.95):
    """Interval of a statistic (draws, ...) over its draws: expanded percentiles.

    The plain percentile interval is too narrow for few rounds, as the normal
    one is beside Student's; with R rounds its tails are taken at
    Phi(-sqrt(R / (R - 1)) t), t being Student's quantile (Hesterberg 2015)."""
    tail = norm.cdf(-np.sqrt(rounds / (rounds - 1)) * t.ppf(0.5 + confidence / 2, rounds - 1))
    return np.quantile(statistic, [tail, 1 - tail], axis=0)


def together(lengths, parts):
    """(rounds, k) of parts [(numbers of rounds, values)], one a length."""
    every = np.unique(np.concatenate([p[0] for p in parts])) if parts else np.empty(0, int)
    out = np.full((len(every), len(lengths)), np.nan)
    for k, (numbers, values) in enumerate(parts):
        out[np.searchsorted(every, numbers), k] = values
    return out
