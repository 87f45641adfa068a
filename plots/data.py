# SPDX-License-Identifier: BSD-3-Clause
"""A run directory as checked tables.

summary.csv holds one row a cell. Cells that differ only in length belong to
one series (a curve); series that can be compared belong to one group (a
figure). A row whose status is not `ok` stays a row: it ends a curve or is
listed, and is never dropped.
"""
import difflib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

SCHEMA = 1

KEY_TEXT = ["impl", "variant", "family", "params", "mode", "dtype", "isa", "cache", "input_kind"]
KEY_NUMBER = ["batch", "heads", "n_q", "n_k", "d_head", "d_value", "causal", "threads", "seed"]
TIME = ["time_median_ns", "time_ci95_lo_ns", "time_ci95_hi_ns"]
MEMORY = ["ws_tracked_bytes", "rss_delta_bytes", "rss_resolution_bytes"]
ERROR = ["err_impl_rel_fro", "err_impl_bound", "err_exact_rel_fro", "err_exact_nmse_u", "entropy_ratio"]
NUMBERS = TIME + MEMORY + ERROR + [
    "rounds", "samples", "clean_share", "calls", "time_mad_ns", "time_min_ns", "time_q1_ns",
    "time_q3_ns", "time_p95_ns", "time_mean_ns", "time_all_median_ns", "first_call_median_ns",
    "prepare_ns", "cpu_median_ns", "flops_model", "flops_useful", "flops_executed",
    "pairs_executed", "bytes_model", "gflops_per_s", "gbytes_per_s", "intensity_flop_per_byte",
    "roof_share", "io_bytes", "ws_model_bytes", "untracked_bytes", "err_exact_max_abs",
    "err_exact_cos", "err_rows", "working_set_over_llc", "energy_uj", "task_accuracy",
    "task_chance", "err_uniform_rel_fro", "state_bytes", "prefill_ns", "tokens"]
TEXTS = ["run_id", "cell_id", "stop_reason", "message", "flags"]
REQUIRED = ["schema_version"] + KEY_TEXT + KEY_NUMBER + ["status", "message"] + TIME + [
    "ws_tracked_bytes", "err_exact_rel_fro", "err_exact_nmse_u"]

# What has to agree for two cells to be in one figure, and for two points to be
# on one curve of it. The length is the axis, the seed is repetition.
RAW = {"cell_id", "pass", "round", "position", "sample", "samples_in_round", "status", "t_start_ns",
       "calls", "wall_ns", "disturbed", "steal_ticks", "cal_before_ns", "cal_after_ns"}
GROUP = ["input_kind", "mode", "batch", "lengths", "heads", "kv_heads", "rows", "d_head", "d_value", "causal", "scale",
         "dtype", "threads", "isa", "cache"]
SERIES = ["impl", "variant", "params"]

STATUSES = {
    "ok": "measured",
    "unsupported": "not supported",
    "skipped_mem": "would not fit in memory",
    "skipped_timeout": "skipped, shorter ones timed out",
    "oom": "out of memory",
    "timeout": "timed out",
    "crash": "crashed",
    "bad_output": "wrong output",
    "inaccurate": "misses its own definition",
    "failed": "could not be measured",
}
FLAGS = {
    "accuracy_missing": "no error was measured",
    "autocorrelated": "neighbouring rounds resemble each other: the interval is too narrow",
    "bimodal": "the rounds fall into two groups",
    "cal_drift": "the CPU changed its speed within rounds",
    "cal_slow": "the CPU was slower than at its best in this run",
    "ci_wide": "the interval is wider than wanted",
    "clamped": "some rows needed a denominator kept away from zero",
    "disturbed": "most samples were disturbed",
    "few_rounds": "too few rounds for an interval",
    "mem_leakpath": "the process grew by more than was handed out",
    "rss_bound": "the growth of the process is an upper bound",
    "single_sample": "some rounds hold one sample",
    "throttled": "a CPU quota stopped the run at times",
    "timer_limited": "too short for a cold time",
    "unpinned": "a thread could not be bound to its CPU",
    "unstable": "the rounds differ by more than they should",
}


class DataError(Exception):
    """What is wrong with a file, where, and what to do about it."""


@dataclass(frozen=True, eq=False)
class Series:
    """One curve: a variant with its parameters, over the lengths of a group."""
    label: str
    family: str
    variant: str
    index: int  # 0, 1, ... among the settings of the same variant
    cells: pd.DataFrame = field(repr=False)  # one row a length, ascending; seeds together
    rows: pd.DataFrame = field(repr=False)   # the rows that these stand for, a seed each

    @cached_property
    def ok(self):
        return self.cells[self.cells["status"] == "ok"]

    @cached_property
    def _by_length(self):
        return {row["n"]: row for _, row in self.ok.iterrows()}

    def at(self, n):
        """The measured row at length n, or None."""
        return self._by_length.get(n)

    def timed(self, n):
        """Whether there is a time at length n: in a run of errors alone there is none."""
        row = self.at(n)
        return row is not None and bool(np.isfinite(row["time_median_ns"]))

    @cached_property
    def _ids(self):
        out = {}
        ok = self.rows[self.rows["status"] == "ok"]
        for n, seed, cell in zip(ok["n"], ok["seed"], ok["cell_id"]):
            out.setdefault(n, []).append((seed, cell))
        return out

    def ids(self, n):
        """[(seed, cell_id)] of the measured cells at length n."""
        return self._ids.get(n, [])

    @property
    def params(self):
        return self.cells["params"].iloc[0]

    @property
    def ends(self):
        """[(last measured length or None, first length that failed, its row)]"""
        out, last = [], None
        failing = False
        for _, row in self.cells.iterrows():
            if row["status"] == "ok":
                last, failing = row["n"], False
            elif not failing:
                out.append((last, row["n"], row))
                failing = True
        return out


@dataclass(frozen=True, eq=False)
class Group:
    """Everything that may be compared in one figure."""
    key: dict
    slug: str
    cells: pd.DataFrame = field(repr=False)

    @cached_property
    def series(self):
        return _series(self.cells)

    @property
    def lengths(self):
        return sorted(int(n) for n in self.cells["n"].unique())

    @property
    def measured_lengths(self):
        return sorted(int(n) for n in self.cells.loc[self.cells["status"] == "ok", "n"].unique())

    def find(self, variant):
        """The first series of a variant, or None."""
        return next((s for s in self.series if s.variant == variant), None)

    def uniform(self, n):
        """Relative error at length n of a plain mean of the visible values.

        Where no column says so: rel_fro^2 / nmse_u = |U-Y|^2 / |Y|^2 holds for every variant, so the
        one that is furthest from exact gives it with the most digits.
        """
        given = self.cells.loc[self.cells["n"] == n, "err_uniform_rel_fro"].dropna()
        if len(given):
            return float(given.median())
        rows = self.cells[(self.cells["n"] == n) & (self.cells["err_exact_nmse_u"] > 1e-6)
                          & self.cells["err_exact_rel_fro"].notna()]
        if rows.empty:
            return np.nan
        row = rows.loc[rows["err_exact_nmse_u"].idxmax()]
        return float(row["err_exact_rel_fro"] / np.sqrt(row["err_exact_nmse_u"]))

    def chance(self, n):
        """Accuracy at length n of a guess at the task; NaN where there is no task."""
        given = self.cells.loc[self.cells["n"] == n, "task_chance"].dropna()
        return float(given.median()) if len(given) else np.nan

    @property
    def entropy(self):
        """(lowest, highest) entropy ratio of exact attention over lengths and seeds, or None. The median over
        variants leaves out the few that take keys from queries, for which it is another one."""
        values = self.cells.groupby(["n", "seed"])["entropy_ratio"].median().dropna()
        return (values.min(), values.max()) if len(values) else None

    @property
    def input(self):
        return pretty_input(self.key["input_kind"])


@dataclass(frozen=True, eq=False)
class Run:
    path: Path
    cells: pd.DataFrame = field(repr=False)
    info: dict = field(repr=False)

    @cached_property
    def groups(self):
        return _groups(self.cells)

    @property
    def failures(self):
        return self.cells[self.cells["status"] != "ok"]

    @cached_property
    def raw(self):
        """raw.csv, or None where there is none."""
        path = self.path / "raw.csv"
        return _read(path, RAW) if path.is_file() and path.stat().st_size else None


def load(directory, name="summary.csv"):
    """Reads and checks a run directory; DataError says what is wrong. name: of the
    file that holds a row a cell."""
    path = Path(directory)
    if not path.is_dir():
        raise DataError(f"{path}: no such directory. A run is made by "
                        "`attnbench run SWEEP.ini --out DIR`; give its DIR here.")
    summary = path / name
    if not summary.is_file():
        hint = ("raw.csv is there, so the run was cut short: the same `attnbench run` finishes it."
                if (path / "raw.csv").is_file() else "Is this the --out directory of a run?")
        raise DataError(f"{summary}: no such file. {hint}")
    return Run(path, _check(_read(summary), summary), _read_info(path / "run.json"))


def pretty_input(kind):
    """"gauss:sigma=1" -> "gauss σ=1"; "real:minilm" -> "real minilm"."""
    for name, sign in (("sigma", "σ"), ("rho", "ρ")):
        kind = kind.replace(f"{name}=", f"{sign}=")
    return kind.replace(":", " ", 1).replace(":", " ")


def usual_scale(key):
    """Whether the logits are scaled by 1 / sqrt(d)."""
    return abs(key["scale"] * np.sqrt(key["d_head"]) - 1) < 1e-4


def _read(path, columns=None):
    """A CSV file as text; columns: those to keep, None for all."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8",
                           usecols=columns and (lambda name: name in columns))
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the file is empty. Run the sweep again: it resumes.") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as err:
        raise DataError(f"{path}: not a CSV file of attnbench ({err}).") from None
    except OSError as err:
        raise DataError(f"{path}: {err.strerror}.") from None


def _read_info(path):
    if not path.is_file():
        return {}
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as err:
        raise DataError(f"{path}: not readable as JSON ({err}). Remove it to report without "
                        "the machine's description.") from None
    return info if isinstance(info, dict) else {}


def _check(cells, path):
    missing = [c for c in REQUIRED if c not in cells.columns]
    if missing:
        raise DataError(f"{path}: {_say_missing(missing, list(cells.columns))}")
    if cells.empty:
        raise DataError(f"{path}: a header and no rows: no cell was finished. "
                        "Run the sweep again: it resumes.")
    newer = pd.to_numeric(cells["schema_version"], errors="coerce")
    if not (newer <= SCHEMA).all():
        raise DataError(f"{path}: schema_version {cells['schema_version'].iloc[int(np.argmax(~(newer <= SCHEMA)))]!r}, "
                        f"but this version reads up to {SCHEMA}. Update attnbench.")
    cells = cells.copy()
    for column in ["scale", "kv_heads", "lengths"] + NUMBERS + TEXTS:
        if column not in cells.columns:
            cells[column] = ""
    for column in KEY_NUMBER + ["scale", "kv_heads"] + NUMBERS:
        cells[column] = _numbers(cells[column], path, required=column in KEY_NUMBER)
    unknown = sorted(set(cells["status"]) - set(STATUSES))
    if unknown:
        raise DataError(f"{path}: unknown status {unknown[0]!r}; known: {', '.join(STATUSES)}.")
    _check_times(cells, path)
    cells["kv_heads"] = cells["kv_heads"].fillna(cells["heads"])
    cells["lengths"] = cells["lengths"].replace("", "full")
    cells["tokens"] = cells["tokens"].fillna(cells["batch"] * cells["n_q"])
    cells["scale"] = cells["scale"].fillna(1 / np.sqrt(cells["d_head"]))
    cells["n"] = cells["n_k"].astype(int)
    cells["rows"] = np.where(cells["n_q"] == cells["n_k"], 0, cells["n_q"]).astype(int)
    twin = cells.duplicated(GROUP + SERIES + ["n", "seed"], keep=False)
    if twin.any():
        lines = ", ".join(str(i + 2) for i in np.flatnonzero(twin)[:2])
        raise DataError(f"{path}: lines {lines} hold the same cell. A run has a row a cell; "
                        "were two files joined?")
    return cells


def _check_times(cells, path):
    """An ok row without a time is not a measurement, unless only errors were; a time of 0 is none either."""
    errors = cells["time_median_ns"].isna() & ~(cells["rounds"] > 0) & cells["err_exact_rel_fro"].notna()
    bad = (cells["status"] == "ok") & ~(cells["time_median_ns"] > 0) & ~errors
    if bad.any():
        raise DataError(f"{path}:{int(np.argmax(bad)) + 2}: status ok, but time_median_ns is "
                        f"{cells['time_median_ns'][int(np.argmax(bad))]}; an ok row has a time above 0.")


def _say_missing(missing, present):
    words = []
    for name in missing[:6]:
        near = difflib.get_close_matches(name, present, 1, 0.75)
        words.append(name + (f" (there is {near[0]!r})" if near else ""))
    more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
    return (f"missing column{'s' if len(missing) > 1 else ''} {', '.join(words)}{more}. "
            "This reads the summary.csv that `attnbench run` writes.")


def _numbers(column, path, required):
    """Text to float; an empty cell is NaN, anything else has to be finite."""
    values = pd.to_numeric(column, errors="coerce")
    bad = ~np.isfinite(values) & ((column != "") | required)
    if bad.any():
        at = int(np.argmax(bad))
        raise DataError(f"{path}:{at + 2}: column {column.name} is {column.iloc[at]!r}, not a number"
                        + ("." if required else "; what is not available is left empty."))
    return values.astype(float)


def _groups(cells):
    varying = [c for c in GROUP if cells[c].nunique() > 1]
    out = []
    for values, rows in cells.groupby(GROUP, sort=False):
        key = {c: v.item() if isinstance(v, np.generic) else v for c, v in zip(GROUP, values)}
        out.append(Group(key, _slug(key, varying), rows))
    return out


def _slug(key, varying):
    """File name of a group: its input, and what else tells it from the others."""
    words = [key["input_kind"]]
    for column, short in (("mode", ""), ("rows", "nq"), ("d_head", "d"), ("batch", "b"), ("lengths", ""),
                          ("heads", "h"), ("kv_heads", "kv"), ("threads", "t"), ("dtype", ""), ("isa", ""),
                          ("cache", ""), ("d_value", "dv"), ("scale", "scale")):
        usual = (column == "d_value" and key["d_value"] == key["d_head"]
                 or column == "kv_heads" and key["kv_heads"] == key["heads"]
                 or column == "scale" and usual_scale(key))
        if column in varying and not usual:
            value = key[column]
            words.append(f"{short}{value:g}" if isinstance(value, (int, float)) else short + value)
    if "causal" in varying:
        words.append("causal" if key["causal"] else "bidirectional")
    text = "_".join(words)
    return "".join(c if c.isalnum() or c in "._=" else "-" for c in text)


def _series(cells):
    cells = cells.copy()
    many_impl = cells["impl"].nunique() > 1
    out = []
    for (impl, variant), rows in cells.groupby(["impl", "variant"], sort=False):
        shown = _differing([p for p in rows["params"].unique()])
        for index, (params, part) in enumerate(rows.groupby("params", sort=False)):
            label = " ".join([variant] + ([shown[params]] if shown[params] else [])
                             + ([f"({impl})"] if many_impl else []))
            out.append(Series(label, part["family"].iloc[0], variant, index, _over_seeds(part), part))
    return out


def _differing(settings):
    """Of "m=128:ortho=1" and "m=256:ortho=1", what tells them apart: "m=128"."""
    parts = {s: dict(p.partition("=")[::2] for p in s.split(":") if p) for s in settings}
    same = {k for k in set().union(*parts.values())
            if len({p.get(k) for p in parts.values()}) == 1}
    return {s: " ".join(f"{k}={v}" if v else k for k, v in p.items() if k not in same)
            for s, p in parts.items()}


def _over_seeds(rows):
    """One row a length: the median over seeds; its interval spans all of theirs."""
    if not rows.duplicated("n").any():
        return rows.sort_values("n")
    out = []
    for _, part in rows.groupby("n"):
        ok = part[part["status"] == "ok"]
        row = (ok if len(ok) else part).iloc[0].copy()
        if len(ok) > 1:
            row[NUMBERS] = ok[NUMBERS].median()
            row["time_ci95_lo_ns"] = ok["time_ci95_lo_ns"].min(skipna=False)
            row["time_ci95_hi_ns"] = ok["time_ci95_hi_ns"].max(skipna=False)
        out.append(row)
    return pd.DataFrame(out).astype({c: float for c in NUMBERS})
