# SPDX-License-Identifier: BSD-3-Clause
"""Result tables of any origin, by names of ours.

A mapping says which column is what: {"n": "q_seqlen", "time": "fwd_time_ms"}. Columns
joined by + name a variant together, or are the parts of an average."""
import difflib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from .data import GROUP, SERIES, DataError

ROLES = {
    "variant": "what was measured; several columns joined by +",
    "n": "sequence length",
    "time": "time; its unit is the end of the name: _ns _us _ms _s",
    "rate": "runs a second, or anything that is 1 over time",
    "memory": "peak memory",
    "error": "error or difference to a reference",
    "std": "standard deviation of the time",
    "low": "lower end of the interval of the time", "high": "upper end",
    "status": "ok, or true, where the row was measured",
    "gflops": "operations a second, in 10^9; tflops in the name scales it",
    "parts": "columns whose mean is the average, joined by +", "average": "that average",
    "time_crossover": "length from which it is said to be faster than the baseline",
    "memory_crossover": "length from which it is said to be smaller than the baseline",
}
GUESSES = {  # where no mapping is given
    "variant": ("variant", "method", "mechanism", "name", "model", "backend"),
    "n": ("n", "seq_len", "seqlen", "sequence_length", "q_seqlen", "n_k", "length", "N"),
    "time": ("time_ms", "time_us", "time_ns", "time_s", "mean_ms", "median_ms", "latency_ms", "ms", "fwd_time_ms"),
    "memory": ("memory_mb", "peak_memory_mb", "memory_gb", "memory_bytes", "memory"),
    "error": ("max_diff", "error", "rel_err", "max_abs_err"),
    "std": ("std_ms", "std", "stddev"), "status": ("status", "success"),
}
SECONDS = {"_ns": 1e-9, "_us": 1e-6, "_ms": 1e-3, "_s": 1.0}
TRUE = ("ok", "true", "1", "success", "passed", "yes", "")
PUBLISHED = Path(__file__).parent.parent / "results" / "published"


@dataclass(frozen=True)
class Foreign:
    """A table as numbers, beside its text."""
    path: Path
    text: pd.DataFrame = field(repr=False)    # as in the file
    table: pd.DataFrame = field(repr=False)   # roles as columns, and `line`
    columns: dict                             # role -> name in the file
    seconds: float                            # of a unit of time; NaN: not known
    ours: bool = False                        # a summary.csv
    baseline: str = ""                        # what crossovers are against

    def series(self):
        """[(name, rows by length)]; those without a length have none."""
        if "n" not in self.table:
            return []
        known = self.table[self.table["n"].notna()]
        return [(name, rows.sort_values("n", kind="stable"))
                for name, rows in known.groupby("variant", sort=False)]

    def has(self, role):
        return role in self.table and self.table[role].notna().any()


def parse_mapping(text):
    """"n=q_seqlen,time=ms" -> {"n": "q_seqlen", "time": "ms"}"""
    out = {}
    for part in text.split(","):
        role, equals, column = part.partition("=")
        role = role.strip()
        if not equals or role not in ROLES:
            near = difflib.get_close_matches(role, ROLES, 1)
            raise DataError(f"--map {part!r}: wanted ROLE=COLUMN"
                            + (f"; did you mean {near[0]}?" if near else f", ROLE one of {', '.join(ROLES)}."))
        out[role] = column.strip()
    return out


def read(path, mapping=None, baseline=""):
    """Reads a table of results; DataError says what is wrong with it."""
    path = Path(path)
    text = read_text(path)
    if mapping is None and {"cell_id", "time_median_ns", "status"} <= set(text):
        return _ours(path, text)
    known = tables().get(path.name, {}) if path.resolve().parent == PUBLISHED.resolve() else {}
    mapping = mapping or known.get("columns") or _guess(path, text)
    baseline = baseline or known.get("baseline", {}).get("full", "")
    return _foreign(path, text, mapping, baseline)


def tables():
    """results/published/tables.json: {file: what it is}; {} where there is none."""
    path = PUBLISHED / "tables.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def read_text(path):
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as err:
        raise DataError(f"{path}: not a table of comma-separated values ({err}).") from None
    if text.empty:
        raise DataError(f"{path}: a header and no rows.")
    return text


def _guess(path, text):
    mapping = {role: next((n for n in names if n in text), None) for role, names in GUESSES.items()}
    mapping = {role: name for role, name in mapping.items() if name}
    if "variant" not in mapping or len(mapping) < 2:
        raise DataError(f"{path}: cannot tell which column is what. Say so with --map, for example "
                        f"--map variant={text.columns[0]},n=seq_len,time=mean_ms. Roles: {', '.join(ROLES)}.")
    return mapping


def _foreign(path, text, mapping, baseline):
    for column in (c for joined in mapping.values() for c in joined.split("+")):
        if column not in text:
            near = difflib.get_close_matches(column, list(text.columns), 1)
            raise DataError(f"{path}: there is no column {column!r}"
                            + (f"; did you mean {near[0]!r}?" if near else f". It has: {', '.join(text.columns)}."))
    table = pd.DataFrame({"line": np.arange(len(text)) + 2})
    parts = mapping.get("variant", "").split("+")
    table["variant"] = text[parts].agg(" ".join, axis=1).str.split().str.join(" ") if parts != [""] else ""
    status = mapping.get("status")
    table["ok"] = text[status].str.lower().isin(TRUE) if status else True
    for role in ROLES:
        if role in mapping and role not in ("variant", "status", "parts"):
            table[role] = pd.to_numeric(text[mapping[role]], errors="coerce")
    if "parts" in mapping:
        for k, column in enumerate(mapping["parts"].split("+")):
            table[f"part {k}"] = pd.to_numeric(text[column], errors="coerce")
    if "rate" in table and "time" not in table:
        table["time"] = 1 / table["rate"]
        seconds = np.nan
    else:
        seconds = next((s for end, s in SECONDS.items() if mapping.get("time", "").endswith(end)), np.nan)
    if "gflops" in table and "tflops" in mapping["gflops"].lower():
        table["gflops"] *= 1000
    return Foreign(path, text, table, mapping, seconds, baseline=baseline)


def _ours(path, text):
    """A summary.csv, with the columns of ours that have the roles."""
    roles = {"n": "n_k", "time": "time_median_ns", "low": "time_ci95_lo_ns", "high": "time_ci95_hi_ns",
             "memory": "ws_tracked_bytes", "error": "err_exact_rel_fro", "gflops": "gflops_per_s", "work": "flops_executed"}
    table = pd.DataFrame({"line": np.arange(len(text)) + 2})
    key = [c for c in SERIES + [g for g in GROUP if g != "rows"] + ["seed"] if c in text]
    query = np.where(text["n_q"] == text["n_k"], "", "n_q=" + text["n_q"]) if "n_q" in text else ""
    table["variant"] = text[key].agg(" ".join, axis=1) + " " + query
    table["ok"] = text["status"].isin(("ok", "inaccurate"))
    for role, column in roles.items():
        if column in text:
            table[role] = pd.to_numeric(text[column], errors="coerce")
    return Foreign(path, text, table, roles, 1e-9, ours=True)
