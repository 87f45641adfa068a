# SPDX-License-Identifier: BSD-3-Clause
"""Two runs, or two variants of one run: what became faster or slower.

Variants of one run were interleaved and are compared round by round. Two runs were
not: their rounds are two samples, compared by Mann and Whitney's test and the
interval that comes from turning it round, and the machine's drift between them is
in the result.
"""
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import mannwhitneyu

from .axes import bytes_text, number
from .data import GROUP, SERIES, STATUSES, DataError, unusual
from .speed import (FASTER, SAME, SLOWER, UNCLEAR, Ratio, margin, round_medians, speedup)
from .tables import Table, render

# What has to agree for times to be comparable at all.
SAME_MACHINE = [("machine.cpu_model", "CPU"), ("machine.host_id", "machine"), ("machine.governor", "frequency governor"),
                ("topology.effective_cpus", "usable CPUs"), ("build.compiler", "compiler"),
                ("build.flags", "compiler flags"), ("build.sanitizers", "sanitizers"),
                ("blas.core", "BLAS core type")]
TOLD = [("build.git_commit", "commit"), ("build.version", "version"), ("machine.kernel", "kernel"),
        ("blas.config", "BLAS")]
FEWEST = 4  # rounds of each, for an interval without pairs at 95 %


@dataclass(frozen=True)
class Row:
    """One shape: A, the reference, beside B."""
    label: str
    n: int
    place: str
    a: object      # rows of summary.csv; None: not in that run
    b: object
    ratio: object  # Ratio time A / time B, or None where one of them has no time
    p: float       # of Mann and Whitney's test; NaN where paired

    def verdict(self, within):
        """FASTER: B is."""
        if self.ratio is not None:
            return self.ratio.verdict(within)
        lost = self.a is not None and self.a["status"] == "ok"
        return "lost" if lost and self.b is not None else "not comparable"


@dataclass(frozen=True)
class Comparison:
    rows: list
    paired: bool
    names: tuple     # of A and B
    margin: float
    notes: list      # what differs between the runs and what that means

    def counts(self):
        verdicts = [r.verdict(self.margin) for r in self.rows]
        return {v: verdicts.count(v) for v in (FASTER, SLOWER, SAME, UNCLEAR, "lost", "not comparable")}

    @property
    def regressed(self):
        """Whether anything is slower, or no longer measured."""
        counts = self.counts()
        return counts[SLOWER] + counts["lost"] > 0


def variants(run, a, b):
    """Comparison of two variants of one run: by label, or name, or name:params."""
    rounds = round_medians(run)
    found = []
    several = run.cells["seed"].nunique() > 1

    def seeds(seed):
        return [f"seed {seed:g}"] if several else []
    for group in run.groups:
        one, two = _pick(group, a), _pick(group, b)
        if one is None or two is None:
            continue
        for seed in sorted(set(one.rows["seed"]) & set(two.rows["seed"])):
            left, right = (_by_length(s.rows[s.rows["seed"] == seed]) for s in (one, two))
            for n in sorted(set(left) & set(right)):
                found.append((f"{two.label} against {one.label}", n, _place(group.key, seeds(seed)), left[n], right[n]))
    if not found:
        labels = sorted({s.label for g in run.groups for s in g.series})
        missing = [w for w in (a, b) if not any(_pick(g, w) for g in run.groups)]
        why = (f"there is no variant {missing[0]!r} in it" if missing
               else "they share no shape and input")
        raise DataError(f"{run.path}: {why}. It has: {', '.join(labels)}.")
    k = len(found)
    rows = [Row(label, n, place, x, y, speedup(rounds, x, y, k) if _both_ok(x, y) else None, np.nan)
            for label, n, place, x, y in found]
    return Comparison(rows, True, (a, b), margin(run), _correction(rows))


def runs(a, b, force=False):
    """Comparison of two runs, cell by cell; B against A."""
    notes = _same_place(a, b, force)
    left, right = _cells(a), _cells(b)
    both = [k for k in left if k in right]
    if not both:
        raise DataError(f"{a.path} and {b.path} have no cell in common: a cell is one variant with its "
                        "parameters, shape, input, threads and instruction set.")
    timed = [k for k in both if _both_ok(left[k], right[k])]
    rounds = round_medians(a), round_medians(b)
    settings = a.cells.groupby("variant")["params"].nunique()
    rows = []
    for key in both:
        x, y = left[key], right[key]
        ratio, p = _unpaired(rounds, x, y, len(timed)) if key in timed else (None, np.nan)
        if ratio is None and x["status"] != "ok":
            continue
        place = _place(x)
        several = settings[x["variant"]] > 1
        rows.append(Row(f"{x['variant']} {x['params']}" if several else x["variant"], x["n"], place, x, y, ratio, p))
    alone = len(left) - len(both), len(right) - len(both)
    if any(alone):
        notes.append(f"Not compared, as only one run has them: {alone[0]} cells of A, {alone[1]} of B.")
    notes.insert(0, "The runs were not interleaved: drift of the machine between them is not removed.")
    return Comparison(rows, False, (str(a.path), str(b.path)), max(margin(a), margin(b)),
                      notes + _correction(rows))


def shift(a, b, confidence=0.95):
    """(estimate, low, high) of the shift of sample a over sample b, and the p-value of
    Mann and Whitney's test. The interval holds the shifts that the test does not refuse."""
    test = mannwhitneyu(a, b, method="exact" if len(a) * len(b) <= 1600 else "asymptotic")
    pairs = np.sort(np.subtract.outer(a, b), axis=None)
    skip = _refused(len(a), len(b), confidence)
    low, high = (pairs[skip], pairs[-1 - skip]) if skip is not None else (np.nan, np.nan)
    return np.median(pairs), low, high, test.pvalue


@lru_cache
def _refused(m, n, confidence):
    """How many of the ordered pairwise differences lie outside on each side; None if
    the samples are too small for that confidence.

    The test refuses a shift that leaves fewer than that many differences below it; it
    depends on ranks alone, so any samples of these sizes tell."""
    if min(m, n) < FEWEST:
        return None
    a, b = np.arange(m) * (n + 1.0), np.arange(n) + 0.5
    pairs = np.sort(np.subtract.outer(a, b), axis=None)
    skip = None
    for k in range(len(pairs) // 2):
        between = (pairs[k - 1] + pairs[k]) / 2 if k else pairs[0] - 1.0
        if mannwhitneyu(a - between, b, method="exact" if m * n <= 1600 else "asymptotic").pvalue > 1 - confidence:
            break
        skip = k
    return skip


def _unpaired(rounds, x, y, comparisons):
    """Ratio of time A / time B from the rounds of two runs, and the p-value."""
    parts = [r.of([(0, c["cell_id"])]) if r is not None else None for r, c in zip(rounds, (x, y))]
    if any(p is None for p in parts):
        return Ratio(x["time_median_ns"] / y["time_median_ns"], np.nan, np.nan, 0), np.nan
    logs = [np.log(p[1]) for p in parts]
    wanted = 1 - 0.05 / comparisons
    value, low, high, p = shift(*logs, wanted)
    corrected = bool(np.isfinite(low))
    if not corrected:
        value, low, high, p = shift(*logs)
    return Ratio(*(float(np.exp(v)) for v in (value, low, high)), 0, corrected), float(p)


def _pick(group, words):
    name, _, params = words.partition(":")
    for s in group.series:
        if words == s.label or words == s.variant or (name == s.variant and params == s.params):
            return s
    return None


def _by_length(rows):
    return {int(row["n"]): row for _, row in rows.iterrows()}


def _place(key, more=()):
    """Of a group's key or a row."""
    return ", ".join([key["input_kind"], f"d {key['d_head']:g}", *["causal"] * bool(key["causal"]), *unusual(key), *more])


def _both_ok(x, y):
    return x["status"] == "ok" and y["status"] == "ok"


def _cells(run):
    """{key: row}; the program's own version is no part of it."""
    columns = GROUP + [c for c in SERIES if c != "impl"] + ["n", "seed"]
    table = run.cells
    external = table["impl"].where(~table["impl"].str.startswith("attnbench"), "")
    keys = zip(*(table[c] for c in columns), external)
    return dict(zip(keys, (row for _, row in table.iterrows())))


def _same_place(a, b, force):
    """Notes on what differs; DataError where that makes times incomparable."""
    if not a.info or not b.info:
        missing = a.path if not a.info else b.path
        if not force:
            raise DataError(f"{missing}: no run.json, so nobody knows whether the machines are the same. "
                            "--force compares all the same.")
        return ["There is no run.json: the machines may differ."]
    differ = [(name, x, y) for path, name in SAME_MACHINE for x, y in [(_at(a, path), _at(b, path))] if x != y]
    words = [f"{name}: {_say(x)} against {_say(y)}" for name, x, y in differ]
    if differ and not force:
        raise DataError(f"{a.path} and {b.path} were not measured alike ({'; '.join(words)}), so a difference "
                        "says nothing about the code. --force compares all the same.")
    notes = [f"**Not measured alike** ({'; '.join(words)}): a difference says little about the code."] if words else []
    told = [f"{name} {_say(x)} against {_say(y)}" for path, name in TOLD
            for x, y in [(_at(a, path), _at(b, path))] if x != y]
    return notes + (["B differs from A in: " + "; ".join(told) + "."] if told else [])


def _at(run, path):
    value = run.info
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _say(value):
    return "not known" if value is None else str(value)[:60]


def _correction(rows):
    timed = [r for r in rows if r.ratio is not None and np.isfinite(r.ratio.low)]
    if len(timed) < 2:
        return []
    if all(r.ratio.corrected for r in timed):
        return [f"Intervals are widened for {len(timed)} comparisons (confidence 1 - 0.05 / {len(timed)})."]
    return [f"The rounds are too few to widen all intervals for {len(timed)} comparisons: of those at 95 %, "
            "about one in twenty misses."]


# Words


VERDICT_WORDS = {FASTER: "**faster**", SLOWER: "**slower**", SAME: "same", UNCLEAR: "unclear",
                 "lost": "**no longer measured**", "not comparable": "not comparable"}


def table(comparison):
    rows = []
    for r in comparison.rows:
        verdict = r.verdict(comparison.margin)
        rows.append((
            r.label, r.place, str(r.n), _time(r.a), _time(r.b),
            str(r.ratio) if r.ratio is not None else "",
            VERDICT_WORDS[verdict] + _reason(r, verdict),
            _change(r.a, r.b, "ws_tracked_bytes", bytes_text), _change(r.a, r.b, "err_exact_rel_fro", number)))
    head = ("variant", "input", "n", "A", "B", "time A / B [interval]", "B is", "workspace", "error")
    if not comparison.paired:
        rows = [r[:6] + (f"{row.p:.2g}" if np.isfinite(row.p) else "",) + r[6:]
                for r, row in zip(rows, comparison.rows)]
        head = head[:6] + ("p",) + head[6:]
    return Table("comparison", "", head, rows, (2, 3, 4))


def text(comparison, fmt="md"):
    """The whole answer: Markdown for a pull request, text for a terminal, or CSV."""
    made = table(comparison)
    if fmt == "csv":
        return render(made, "csv")
    counts = ", ".join(f"{k} {v}" for v, k in comparison.counts().items() if k)
    how = ("paired by round, interleaved" if comparison.paired
           else "unpaired: Mann and Whitney's test and its interval")
    lines = [f"A: `{comparison.names[0]}`, B: `{comparison.names[1]}`; {how}; a difference is one beyond "
             f"{comparison.margin:.1%}.", "", f"**B: {counts}.**", ""]
    lines += [render(made, fmt).rstrip(), ""] + [n for note in comparison.notes for n in (note, "")]
    out = "\n".join(lines).rstrip() + "\n"
    return out if fmt == "md" else out.replace("**", "").replace("`", "")


def _reason(row, verdict):
    if verdict == "lost":
        return f": {STATUSES[row.b['status']]}"
    if verdict != UNCLEAR:
        return ""
    return " (few rounds)" if np.isnan(row.ratio.low) else " (wide interval)"


def _time(row):
    return f"{number(row['time_median_ns'] * 1e-6)} ms" if row["status"] == "ok" else row["status"]


def _change(a, b, column, say):
    """"12 KiB", or "12 KiB -> 14 KiB" where it changed by more than a hundredth."""
    x, y = a[column], b[column]
    if not np.isfinite(x) or not np.isfinite(y):
        return ""
    return say(x) if abs(y - x) <= 0.01 * max(abs(x), abs(y)) else f"{say(x)} → {say(y)}"
