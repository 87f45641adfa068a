# SPDX-License-Identifier: BSD-3-Clause
"""Is a table of results plausible? Checks that need nothing but the table.

    falls-time, falls-memory   less at a longer length, beyond the intervals
    plateau       grows, then is the same to the digit at the next length
    flat          hardly grows over four times the length
    duplicate     a cell twice
    copied        two variants with the same numbers
    constant-cv   standard deviations that are one share of their means: made up
    interval      an estimate outside its own interval
    zero          0 where nothing was measured, or in a whole column of errors
    missing       a length without a row, and without a word why
    average       not the mean of its row
    crossover     said to lie where the rows say otherwise, or where nothing was measured
    roofline      more operations a second than the machine has
    summary       (own runs) not what its raw rows give
"""
import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np
import pandas as pd

from . import crossover
from .axes import number
from .data import DataError, load
from .speed import interval, round_medians

FALL = 0.01        # a fall without intervals of less than this is rounding
FALL_TIMED = 0.05  # with intervals: these are of the noise, not of the clock rate
GREW = 1.1         # a plateau comes after a step of this
FLAT_SPAN, FLAT_GROWTH, FLAT_SECONDS = 4, 1.05, 1e-3
CV_ROWS = 6
ROOF = 1.02
WORDS = {"time": "time", "memory": "memory"}


@dataclass(frozen=True)
class Found:
    check: str
    lines: tuple   # of the file
    words: str


CHECKS = ("duplicate", "falls-time", "falls-memory", "plateau", "flat", "copied", "constant-cv",
          "interval", "zero", "missing", "average", "crossover", "roofline", "summary")


def lint(table, peak=None, skip=()):
    """[Found] of a foreign.Foreign; peak: GFLOP/s that the machine can do, if known."""
    out = []
    for check in (_duplicates, _falls, _plateaus, _flat, _copies, _constant_cv, _intervals, _zeros,
                  _missing, _averages, _crossovers):
        out += check(table)
    peak = peak or (_peak(table) if table.ours else None)
    if peak:
        out += _roofline(table, peak)
    if table.ours:
        out += _own(table)
    return [f for f in sorted(out, key=lambda f: (CHECKS.index(f.check), f.lines)) if f.check not in skip]


def as_text(found, path):
    if not found:
        return f"{path}: nothing implausible.\n"
    lines = [f"{path}:{','.join(map(str, f.lines[:6]))}{' ...' if len(f.lines) > 6 else ''}: "
             f"{f.check}: {f.words}" for f in found]
    kinds = pd.Series([f.check for f in found]).value_counts()
    return "\n".join(lines + ["", f"{len(found)} findings: "
                              + ", ".join(f"{k} {v}" for k, v in kinds.items())]) + "\n"


def _ok(rows, role):
    return rows[rows["ok"] & (rows[role] > 0)] if role in rows else rows.iloc[:0]


def _duplicates(table):
    if not table.has("n") or (table.table["variant"] == "").any():
        return []
    out = []
    twin = table.table[table.table.duplicated(["variant", "n"], keep=False) & table.table["n"].notna()]
    for (variant, n), rows in twin.groupby(["variant", "n"], sort=False):
        values = [c for c in ("time", "memory", "error") if c in rows]
        same = all(rows[c].nunique(dropna=False) == 1 for c in values)
        out.append(Found("duplicate", tuple(rows["line"]), f"{_name(variant)} at n = {n:g} has "
                         f"{len(rows)} rows" + (" with the same numbers." if same else ", and they differ.")))
    return out


def _falls(table):
    out = []
    for name, rows in table.series():
        for role, what in WORDS.items():
            known = _ok(rows, role).drop_duplicates("n")
            for (_, a), (_, b) in zip(known.iloc[:-1].iterrows(), known.iloc[1:].iterrows()):
                if _fell(table, a, b, role):
                    out.append(Found(f"falls-{role}", (int(a["line"]), int(b["line"])), f"{_name(name)} takes less "
                                     f"{what} at n = {b['n']:g} than at n = {a['n']:g}: {_value(table, b, role)} "
                                     f"after {_value(table, a, role)}{_same_as(table, b, role)}."))
    return out


def _fell(table, a, b, role):
    if table.ours and role == "memory":
        return False  # counted to the byte; the declared bytes are compared with it in _own
    if role == "time" and b.get("work", np.nan) < a.get("work", np.nan):
        return False  # so it is declared: a transform of a length with large prime factors
    if role == "time" and np.isfinite(a.get("low", np.nan)) and np.isfinite(b.get("high", np.nan)):
        return b["high"] < a["low"] * (1 - FALL_TIMED)
    return not table.ours and b[role] < a[role] * (1 - FALL)


def _same_as(table, row, role):
    """Another variant's name, where that has the very number at this length."""
    shown = "rate" if role == "time" and "rate" in table.table else role
    others = table.table[(table.table["n"] == row["n"]) & (table.table[shown] == row[shown])
                         & (table.table["variant"] != row["variant"])]
    return f", the value of {_name(others['variant'].iloc[0])}" if len(others) else ""


def _plateaus(table):
    if table.ours:
        return []  # workspace may grow in steps, and is declared
    out = []
    for name, rows in table.series():
        for role, what in WORDS.items():
            known = _ok(rows, role).drop_duplicates("n")
            value, n, line = (known[c].to_numpy() for c in (role, "n", "line")) if len(known) > 2 else ((), (), ())
            for i in range(1, len(value) - 1):
                if value[i] == value[i + 1] and value[i] > GREW * value[i - 1]:
                    out.append(Found("plateau", (int(line[i]), int(line[i + 1])),
                                     f"{_name(name)} takes the same {what}, to the digit, at n = {n[i]:g} and at "
                                     f"n = {n[i + 1]:g}, though it grew {value[i] / value[i - 1]:.2g} times up to there."))
    return out


def _flat(table):
    """Only where a unit is known: below a millisecond a call may be all overhead."""
    out = []
    for name, rows in table.series() if np.isfinite(table.seconds) else ():
        known = _ok(rows, "time").drop_duplicates("n")
        known = known[known["time"] * table.seconds >= FLAT_SECONDS]
        if len(known) < 2:
            continue
        n, t = known["n"].to_numpy(), known["time"].to_numpy()
        far = [(i, j) for i in range(len(n)) for j in range(i + 1, len(n))
               if n[j] >= FLAT_SPAN * n[i] and t[j] < FLAT_GROWTH * t[i]]
        if far:
            i, j = max(far, key=lambda p: n[p[1]] / n[p[0]])
            out.append(Found("flat", tuple(known["line"].iloc[[i, j]]), f"{_name(name)} takes {_value(table, known.iloc[i], 'time')} "
                             f"at n = {n[i]:g} and {_value(table, known.iloc[j], 'time')} at n = {n[j]:g}: to read "
                             f"{n[j] / n[i]:g} times the input takes longer than that."))
    return out


def _copies(table):
    out, series = [], table.series()
    for role in ("time",) if table.ours else ("time", "memory"):
        known = [(name, _ok(rows, role).drop_duplicates("n").set_index("n")) for name, rows in series]
        known = [(name, rows) for name, rows in known if len(rows) >= 4 and rows[role].nunique() > 1]
        seen = {}
        for name, rows in known:
            seen.setdefault((tuple(rows.index), tuple(rows[role])), []).append((name, rows["line"].iloc[0]))
        out += [Found("copied", tuple(int(line) for _, line in same), f"{' and '.join(_name(n) for n, _ in same)} have "
                      f"the same {WORDS[role]} at all {len(key[0])} lengths.")
                for key, same in seen.items() if len(same) > 1]
    return out


def _constant_cv(table):
    """Whether one share of the mean, up to how the deviations are rounded, gives them all."""
    if not table.has("std"):
        return []
    rows = table.table[table.table["ok"] & (table.table["time"] > 0) & (table.table["std"] > 0)]
    if len(rows) < CV_ROWS:
        return []
    half = np.array([_half_unit(v) for v in table.text.loc[rows.index, table.columns["std"]]])
    low, high = (((rows["std"] + s * half) / rows["time"]).to_numpy() for s in (-1, 1))
    share = (low.max() + high.min()) / 2
    if low.max() > high.min() * (1 + 1e-9) or np.median((high - low) / share) > 0.25:
        return []
    return [Found("constant-cv", tuple(rows["line"]), f"every standard deviation is {share:.3%} of its mean, in all "
                  f"{len(rows)} rows: nobody measures that.")]


def _half_unit(text):
    """Half a unit of the last digit written: "1.30" -> 0.005."""
    try:
        return float(Decimal(1).scaleb(Decimal(text.strip()).as_tuple().exponent)) / 2
    except (InvalidOperation, TypeError):
        return 0.0


def _intervals(table):
    if not (table.has("low") and table.has("high")):
        return []
    rows = table.table[table.table["ok"] & table.table["low"].notna() & table.table["high"].notna()]
    bad = rows[(rows["time"] < rows["low"] * (1 - 1e-9)) | (rows["time"] > rows["high"] * (1 + 1e-9))]
    return [Found("interval", (int(r["line"]),), f"{_name(r['variant'])}: {number(r['time'])} is outside its interval "
                  f"[{number(r['low'])}, {number(r['high'])}].") for _, r in bad.iterrows()]


def _zeros(table):
    out = []
    for role in ("time", "rate", "memory", "error"):
        if role not in table.columns or not table.has(role):
            continue
        known = table.table[table.table[role].notna()]
        zero = known[known[role] == 0]
        failed = zero[~zero["ok"]]
        column = table.columns[role]
        if len(known) >= 3 and len(zero) == len(known) and not (table.ours and role == "memory"):
            also = f", the {len(failed)} that failed included" if len(failed) else ""
            out.append(Found("zero", tuple(zero["line"]), f"{column} is 0 in all {len(zero)} rows{also}: it was not "
                             "measured, and a field for that is left empty."))
        elif len(failed):
            out.append(Found("zero", tuple(failed["line"]), f"{column} is 0 in {len(failed)} rows that failed: what was "
                             "not measured is left empty."))
        elif role in ("time", "rate") and len(zero):
            out.append(Found("zero", tuple(zero["line"]), f"{column} is 0: nothing takes no time."))
    return out


def _missing(table):
    if table.ours and (table.path.parent / "run.json").is_file():
        return []  # _own compares with what was planned
    series = table.series()
    every = sorted(table.table["n"].dropna().unique()) if series else []
    if len(series) < 2 or len(every) < 3:
        return []
    counts = table.table[table.table["n"].notna()].groupby("n")["variant"].nunique()
    usual = set(counts[counts >= len(series) / 2].index)
    out = []
    for name, rows in series:
        gone = sorted(usual - set(rows["n"]))
        if gone:
            out.append(Found("missing", tuple(int(v) for v in rows["line"]), f"{_name(name)} has no row at n = "
                             f"{', '.join(f'{n:g}' for n in gone)}, where others have one: failures are results too."))
    return out


def _averages(table):
    if not table.has("average"):
        return []
    parts = [c for c in table.table if c.startswith("part ")]
    out = []
    for i, row in table.table.iterrows():
        mean = row[parts].astype(float).mean()
        slack = _half_unit(table.text.loc[i, table.columns["average"]]) * 1.01 + 1e-9
        if np.isfinite(row["average"]) and abs(mean - row["average"]) > slack:
            out.append(Found("average", (int(row["line"]),), f"{_name(row['variant'])}: the average is given as "
                             f"{row['average']:g}, but the mean of its row is {mean:.2f}."))
    return out


def _crossovers(table):
    out = []
    for role in ("time", "memory"):
        if not table.has(f"{role}_crossover"):
            continue
        rows = {name: _ok(r, role).drop_duplicates("n").set_index("n") for name, r in table.series()}
        base = rows.get(table.baseline)
        if base is None:
            raise DataError(f"{table.path}: crossovers are against a baseline: name one with --baseline, "
                            f"of {', '.join(rows)}.")
        for name, mine in rows.items():
            claim = mine[f"{role}_crossover"].dropna()
            if name == table.baseline or claim.empty:
                continue
            ratio = (base[role] / mine[role]).dropna()
            words = _claim(claim.iloc[0], crossover.points({int(n): r for n, r in ratio.items()}), ratio.index)
            if words:
                out.append(Found("crossover", tuple(mine["line"]), f"{_name(name)} against {table.baseline}, {role}: {words}"))
    return out


def _claim(claim, found, lengths):
    """What is wrong with a crossing said to be at `claim`; "" if nothing is."""
    low, high = min(lengths), max(lengths)
    words = []
    if not low <= claim <= high:
        words.append(f"the crossover is given as {claim:g}, but only lengths from {low:g} to {high:g} were measured")
    if found.kind == "always" and claim > low:
        words.append(f"the crossover is given as {claim:g}, but the rows have it better at every length")
    if found.kind == "once" and not (found.below or low) <= claim <= found.above:
        words.append(f"the crossover is given as {claim:g}, but the rows have it better from between "
                     f"{found.below or low:g} and {found.above:g} on")
    if found.kind in ("never", "several", "until"):
        words.append(f"the crossover is given as {claim:g}, but the rows have it better {found}")
    return "; ".join(words) + "." if words else ""


def _roofline(table, peak):
    rows = table.table[table.table["ok"]] if table.has("gflops") else table.table.iloc[:0]
    peaks = np.asarray([peak.get(at, np.nan) for at in zip(*(table.text.loc[rows.index, c] for c in ("threads", "dtype")))]
                       if isinstance(peak, dict) else np.full(len(rows), peak), float)
    bad = rows[rows["gflops"].to_numpy() > ROOF * peaks] if len(rows) else rows
    return [Found("roofline", (int(r["line"]),), f"{_name(r['variant'])} at n = {r['n']:g} runs {number(r['gflops'])} GFLOP/s; "
                  "the machine's peak is lower.") for _, r in bad.iterrows()]


def _peak(table):
    """{(threads, dtype): GFLOP/s} that run.json holds, the most of any instruction set; or None."""
    path = table.path.parent / "run.json"
    try:
        roof = json.loads(path.read_text(encoding="utf-8")).get("roof") if path.is_file() else None
        peaks = {}
        for r in roof or []:
            apart = "bf16" in r["isa"]  # it multiplies bf16 faster: only a ceiling of that tells
            for dtype, most in (("f32", r["fma_gflops"]), ("f16", r["fma_gflops"]),
                                ("bf16", r.get("bf16_gflops", np.inf if apart else r["fma_gflops"]))):
                at = str(r["threads"]), dtype
                peaks[at] = max(peaks.get(at, 0), most)
        return peaks or None
    except (ValueError, AttributeError, KeyError, TypeError):
        return None


def _own(table):
    """A run against its own parts."""
    try:
        run = load(table.path.parent, table.path.name)
    except DataError as err:
        return [Found("summary", (), str(err))]
    lines = {c: i + 2 for i, c in enumerate(table.text["cell_id"])}
    rounds = round_medians(run) or {}
    out = []
    for _, row in run.cells.iterrows():
        at = (lines.get(row["cell_id"], 0),)
        if row["status"] in ("ok", "inaccurate"):
            out += [Found("summary", at, f"{row['variant']} at n = {row['n']}: {w}") for w in _disagrees(row, rounds)]
    planned = run.info.get("counts", {}).get("planned") if isinstance(run.info.get("counts"), dict) else None
    if planned is not None and planned != len(run.cells) and not run.info["counts"].get("open"):
        out.append(Found("missing", (), f"{planned} cells were planned, and {len(run.cells)} have a row."))
    return out


def _disagrees(row, rounds):
    """What of a row its raw rows, or its other fields, do not give."""
    if row["cell_id"] in rounds:
        values = rounds[row["cell_id"]][1]
        low, high = interval(values)
        for column, value in (("time_median_ns", np.median(values)), ("time_ci95_lo_ns", low), ("time_ci95_hi_ns", high)):
            if np.isfinite(value) and abs(row[column] - value) > 1e-6 * value + 1:
                yield f"{column} is {row[column]:.10g}, but raw.csv gives {value:.10g}."
        if row["rounds"] != len(values):
            yield f"rounds is {row['rounds']:g}, but raw.csv has {len(values)}."
    rates = [row[c] / row["time_median_ns"] for c in ("flops_useful", "flops_executed") if np.isfinite(row[c])]
    if np.isfinite(row["gflops_per_s"]) and rates and all(abs(row["gflops_per_s"] - r) > 1e-4 * r for r in rates):
        yield f"gflops_per_s is {row['gflops_per_s']:g}, but operations over time are {rates[0]:g}."
    if row["time_min_ns"] > row["time_median_ns"] * (1 + 1e-9):
        yield "time_min_ns is above the median."
    if np.isfinite(row["ws_model_bytes"]) and row["ws_tracked_bytes"] > row["ws_model_bytes"] + 4096:
        yield f"it held {row['ws_tracked_bytes']:g} B of workspace, and declared {row['ws_model_bytes']:g}."


def _name(text):
    return " ".join(str(text).split())


def _value(table, row, role):
    """A number as the file gives it."""
    column = table.columns.get("rate" if role == "time" and "rate" in table.table else role, "")
    text = table.text.loc[row.name, column] if column in table.text else number(row[role])
    return f"{text} ({column})"
