# SPDX-License-Identifier: BSD-3-Clause
"""How much faster one variant is than another at a length.

Variants of a shape run interleaved, round by round, so a ratio is taken inside
each round and drift cancels. The interval of its median is by order statistics
(scipy.stats.quantile_test): nothing is assumed normal.
"""
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.stats import quantile_test

from .axes import number

CLEAN = 3           # a round with fewer undisturbed samples is taken whole
MARGIN = 0.01       # a ratio within this of 1 is no difference
CONFIDENCE = 0.95
SEED_STEP = 10**6   # rounds of different seeds have different numbers

FASTER, SLOWER, SAME, UNCLEAR = "faster", "slower", "same", "unclear"


@dataclass(frozen=True)
class Ratio:
    """time(base) / time(variant): above 1 means faster than the base."""
    value: float
    low: float   # NaN where there are too few rounds for an interval
    high: float
    pairs: int   # rounds it was paired over; 0: from the medians' own intervals
    corrected: bool = True  # the interval is as wide as the number of comparisons asks

    def verdict(self, margin=MARGIN):
        if self.low > 1 + margin:
            return FASTER
        if self.high < 1 / (1 + margin):
            return SLOWER
        if self.low >= 1 / (1 + margin) and self.high <= 1 + margin:
            return SAME
        return UNCLEAR

    def __str__(self):
        if np.isnan(self.low):
            return f"{number(self.value)} (too few rounds for an interval)"
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"


class Rounds(dict):
    """cell_id -> (numbers of its rounds, ascending; time of a call in each, in ns)."""

    def of(self, ids):
        """Rounds and times of [(seed, cell_id)]: all seeds in one, or None."""
        parts = [(int(seed) * SEED_STEP + self[c][0], self[c][1]) for seed, c in ids if c in self]
        if not parts:
            return None
        return tuple(np.concatenate(column) for column in zip(*parts))

    def pairs(self, base, variant):
        """(rounds, ln(base / variant)) of the rounds that both [(seed, cell_id)] have."""
        a, b = self.of(base), self.of(variant)
        if a is None or b is None:
            return np.empty(0, int), np.empty(0)
        common, i, j = np.intersect1d(a[0], b[0], return_indices=True)
        return common, np.log(a[1][i] / b[1][j])


def margin(run):
    """Ratios this near 1 are no difference: 1 %, or what the same kernel under two
    names showed on this machine, where run.json says it."""
    band = run.info.get("aa_band")
    return max(MARGIN, band) if isinstance(band, (int, float)) else MARGIN


def round_medians(run):
    """Rounds of a run; None without a usable raw.csv.

    The value of a round is the median of its undisturbed samples, or of all
    where fewer than three are undisturbed."""
    raw = run.raw
    if raw is None or not {"cell_id", "pass", "round", "status", "wall_ns", "calls"} <= set(raw):
        return None
    raw = standing(raw)
    raw = raw[(raw["pass"] == "time") & (raw["status"] == "ok") & (raw["cell_id"] != "")]
    table = pd.DataFrame({
        "cell_id": raw["cell_id"], "round": pd.to_numeric(raw["round"], errors="coerce"),
        "ns": pd.to_numeric(raw["wall_ns"], errors="coerce")
        / pd.to_numeric(raw["calls"], errors="coerce"),
        "clean": raw["disturbed"] != "1" if "disturbed" in raw else True})
    table = table[np.isfinite(table["ns"]) & table["round"].notna()]
    by = ["cell_id", "round"]
    clean = table[table["clean"]].groupby(by)["ns"].agg(["median", "size"])
    whole = table.groupby(by)["ns"].median()
    value = clean["median"].where(clean["size"] >= CLEAN).reindex(whole.index).fillna(whole)
    out = Rounds()
    numbers = value.index.get_level_values(1).to_numpy(int)
    for cell, at in value.groupby(level=0).indices.items():
        out[cell] = (numbers[at], value.to_numpy()[at])
    return out


def standing(raw):
    """Rows that count: after the last `reset` of their cell, and no torn groups."""
    raw = raw.reset_index(drop=True)
    resets = raw[raw["pass"] == "reset"]
    if len(resets):
        last = raw["cell_id"].map(pd.Series(resets.index, resets["cell_id"]).groupby(level=0).max())
        raw = raw[~(raw.index <= last)]
    if "samples_in_round" in raw:
        size = raw.groupby(["cell_id", "pass", "round"])["status"].transform("size")
        raw = raw[~(size < pd.to_numeric(raw["samples_in_round"], errors="coerce"))]
    return raw


def interval(values, confidence=CONFIDENCE):
    """Interval of the median by order statistics; NaN where there are too few,
    at 95 % fewer than six."""
    low, high = _ranks(len(values), confidence)
    if not np.isfinite(low):
        return np.nan, np.nan
    ordered = np.sort(values)
    return ordered[int(low)], ordered[int(high)]


@lru_cache
def _ranks(count, confidence):
    """Which of `count` ordered values bound the median: as the interval of 0, 1, 2 ..."""
    return quantile_test(np.arange(count), q=0, p=0.5).confidence_interval(confidence)


def of_logs(logs, comparisons=1):
    """Ratio of ln(base / variant) in rounds. With k comparisons the interval has
    confidence 1 - 0.05 / k where the rounds suffice for that, else 95 %."""
    wanted = 1 - (1 - CONFIDENCE) / comparisons
    low, high = interval(logs, wanted)
    corrected = bool(np.isfinite(low))
    if not corrected:
        low, high = interval(logs)
    return Ratio(*(float(np.exp(v)) for v in (np.median(logs), low, high)), len(logs), corrected)


def speedup(rounds, base, variant, comparisons=1):
    """Ratio of two rows of summary.csv of one shape and seed."""
    if rounds is not None:
        _, logs = rounds.pairs([(0, base["cell_id"])], [(0, variant["cell_id"])])
        if len(logs):
            return of_logs(logs, comparisons)
    return _of_medians(base, variant)


def speedup_at(rounds, base, variant, n):
    """Ratio of two series at length n, over all seeds."""
    if rounds is not None:
        _, logs = rounds.pairs(base.ids(n), variant.ids(n))
        if len(logs):
            return of_logs(logs)
    return _of_medians(base.at(n), variant.at(n))


def _of_medians(base, variant):
    value = base["time_median_ns"] / variant["time_median_ns"]
    return Ratio(value, base["time_ci95_lo_ns"] / variant["time_ci95_hi_ns"],
                 base["time_ci95_hi_ns"] / variant["time_ci95_lo_ns"], 0)
