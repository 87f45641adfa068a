# SPDX-License-Identifier: BSD-3-Clause
"""How much faster one variant is than another, and from which length.

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

CLEAN = 3        # a round with fewer undisturbed samples is taken whole
MARGIN = 0.01    # a ratio within this of 1 is no difference

FASTER, SLOWER, SAME, UNCLEAR = "faster", "slower", "same", "unclear"


@dataclass(frozen=True)
class Ratio:
    """time(base) / time(variant): above 1 means faster than the base."""
    value: float
    low: float   # NaN where there are too few rounds for an interval
    high: float
    pairs: int   # rounds it was paired over; 0: from the medians' own intervals

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


@dataclass(frozen=True)
class Crossing:
    """From which length a variant is faster than a base."""
    kind: str     # always, once, never, several, unclear
    below: int    # once: largest length with a verdict against it,
    above: int    # and the smallest one at and above which it is faster
    at: dict      # length -> Ratio

    def __str__(self):
        lengths = sorted(self.at)
        if self.kind == "always":
            return f"at every length measured, from {lengths[0]}"
        if self.kind == "once" and self.below:
            return f"from a length in ({self.below}, {self.above}]"
        if self.kind == "once":
            return f"from {self.above}; not decided below"
        if self.kind == "never":
            return f"at no length measured, up to {lengths[-1]}"
        if self.kind == "several":
            return "at some lengths, with more than one crossing"
        return "not decided by these rounds"


def round_medians(run):
    """(cell_id, round) -> time of a call in ns; None without a usable raw.csv.

    The value of a round is the median of its undisturbed samples, or of all
    where fewer than three are undisturbed."""
    raw = run.raw
    if raw is None or not {"cell_id", "pass", "round", "status", "wall_ns", "calls"} <= set(raw):
        return None
    raw = _standing(raw)
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
    return clean["median"].where(clean["size"] >= CLEAN).reindex(whole.index).fillna(whole)


def _standing(raw):
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


def interval(values):
    """95 % interval of the median by order statistics; NaN for fewer than six."""
    low, high = _ranks(len(values))
    if not np.isfinite(low):
        return np.nan, np.nan
    ordered = np.sort(values)
    return ordered[int(low)], ordered[int(high)]


@lru_cache
def _ranks(count):
    """Which of `count` ordered values bound the median: as the interval of 0, 1, 2 ..."""
    return quantile_test(np.arange(count), q=0, p=0.5).confidence_interval(0.95)


def speedup(rounds, base, variant):
    """Ratio of two rows of summary.csv of one shape."""
    if rounds is not None and _known(rounds, base) and _known(rounds, variant):
        logs = (np.log(rounds[base["cell_id"]]) - np.log(rounds[variant["cell_id"]])).dropna()
        if len(logs):
            return Ratio(*(float(np.exp(v)) for v in (np.median(logs), *interval(logs))), len(logs))
    value = base["time_median_ns"] / variant["time_median_ns"]
    return Ratio(value, base["time_ci95_lo_ns"] / variant["time_ci95_hi_ns"],
                 base["time_ci95_hi_ns"] / variant["time_ci95_lo_ns"], 0)


def crossing(rounds, base, variant):
    """Crossing of two series; None where they share no measured length."""
    shared = sorted(set(base.ok["n"]) & set(variant.ok["n"]))
    if not shared:
        return None
    at = {n: speedup(rounds, base.at(n), variant.at(n)) for n in shared}
    verdicts = [at[n].verdict() for n in shared]
    faster = [v == FASTER for v in verdicts]
    if all(faster):
        return Crossing("always", 0, shared[0], at)
    if not any(faster):
        kind = "unclear" if verdicts[-1] == UNCLEAR else "never"
        return Crossing(kind, 0, 0, at)
    first = faster.index(True)
    if all(faster[first:]):
        against = [n for n, v in zip(shared, verdicts) if v == SLOWER]
        return Crossing("once", against[-1] if against else 0, shared[first], at)
    return Crossing("several", 0, 0, at)


def _known(rounds, row):
    return row["cell_id"] in rounds.index.get_level_values(0)
