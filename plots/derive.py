# SPDX-License-Identifier: BSD-3-Clause
"""fits.csv, slopes.csv and crossovers.csv of a run: what can be told from it beyond
a row a cell. results/README.md describes their columns."""
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from . import bootstrap, fits
from .crossover import LEVELS, at_error, crossing, in_memory
from .data import SCHEMA
from .speed import margin, round_medians

BASES = ("full", "flash")
NOT_APPROXIMATE = ("exact", "control")
COLUMNS = {"time": "time_median_ns", "memory": "ws_tracked_bytes", "error": "err_exact_rel_fro"}
DECOMPOSED = ("time", "memory")
SLOPE_PARTS = (("value", ""), ("low", "_ci_lo"), ("high", "_ci_hi"))


@dataclass(frozen=True, eq=False)
class Analysis:
    """Fits and crossings of a run, each computed once."""
    run: object

    @cached_property
    def rounds(self):
        return round_medians(self.run)

    @cached_property
    def margin(self):
        return margin(self.run)

    @cached_property
    def fits(self):
        """[(group, series, quantity, Fit)]"""
        out = []
        for group in self.run.groups:
            for s in group.series:
                for quantity in COLUMNS:
                    data = growth_data(s, quantity, self.rounds)
                    found = fits.fit(data, quantity in DECOMPOSED) if data is not None else None
                    if found:
                        out.append((group, s, quantity, found))
        return out

    def prepare(self):
        """Computes everything, so that forked workers have it."""
        return len(self._fits) + len(self._crossings)

    @cached_property
    def _fits(self):
        return {(s, q): f for _, s, q, f in self.fits}

    def fit(self, series, quantity):
        """Fit of one of the three quantities of a series, or None."""
        return self._fits.get((series, quantity))

    @cached_property
    def crossings(self):
        """[(group, base, variant or its name, quantity, level or None, Crossing)]"""
        out = []
        for group in self.run.groups:
            bases = [group.find(b) for b in BASES]
            for base in (b for b in bases if b is not None and not b.ok.empty):
                out += self._against(group, base)
        return out

    def _against(self, group, base):
        out = []
        rest = [s for s in group.series if s is not base and s.family != "control"]
        for s in rest:
            found = [("time", crossing(self.rounds, base, s, self.margin)), ("memory", in_memory(base, s))]
            out += [(group, base, s, q, None, c) for q, c in found if c]
        for variant in dict.fromkeys(s.variant for s in rest if s.family not in NOT_APPROXIMATE):
            settings = [s for s in rest if s.variant == variant]
            for level in LEVELS:
                c = at_error(self.rounds, base, settings, level, self.margin)
                if c:
                    out.append((group, base, settings[0], "time_at_error", level, c))
        return out

    @cached_property
    def _crossings(self):
        return {(b.variant, s, q, e): c for _, b, s, q, e, c in self.crossings}

    def crossing(self, base, series, quantity="time", level=None):
        """Crossing of a series with a baseline, named, of its group; or None. At equal
        error ("time_at_error", level) the first series of a variant stands for all."""
        return self._crossings.get((base, series, quantity, level))


def growth_data(series, quantity, rounds):
    """fits.Data of a series, or None where fewer than two lengths have a value."""
    column = COLUMNS[quantity]
    ok = series.ok[series.ok[column] > 0]
    if len(ok) < 2:
        return None
    n = ok["n"].to_numpy(float)
    each = np.empty((0, len(n)))
    value = ok[column].to_numpy(float)
    if quantity == "time":
        parts = [rounds.of(series.ids(m)) for m in ok["n"]] if rounds is not None else [None]
        if all(p is not None for p in parts):
            each = bootstrap.together(n, parts)
            value = np.nanmedian(each, axis=0)
    elif quantity == "error":
        seeds = series.rows[(series.rows["status"] == "ok") & series.rows["n"].isin(ok["n"])]
        table = seeds.pivot_table(index="seed", columns="n", values=column)
        each = table.to_numpy(float) if len(table) > 1 else each
    work = ok["flops_executed"].to_numpy(float) if quantity == "time" else np.full(len(n), np.nan)
    return fits.Data(n, value, each, ok["working_set_over_llc"].to_numpy(float), work)


def write(analysis, folder):
    """Writes the three files into folder and returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for name, rows in (("fits.csv", fit_rows(analysis)), ("slopes.csv", slope_rows(analysis)),
                       ("crossovers.csv", crossing_rows(analysis))):
        path = folder / name
        partial = path.with_suffix(".csv.part")
        pd.DataFrame(rows).to_csv(partial, index=False, lineterminator="\n")
        os.replace(partial, path)
        out.append(path)
    return out


@lru_cache(maxsize=4096)
def _key_of(group, series):
    key = {k: v for k, v in group.key.items() if k != "rows"}
    key["n_q"] = group.key["rows"] or ""  # empty: as many as keys
    first = series.cells.iloc[0]
    return {"schema_version": SCHEMA, "run_id": first["run_id"], "impl": first["impl"],
            "variant": series.variant, "family": series.family, "params": series.params,
            **{k: _cell(v) for k, v in key.items()}}


def _key(group, series):
    return dict(_key_of(group, series))


def _slope(name, slope):
    return {f"{name}{end}": _cell(getattr(slope, part)) for part, end in SLOPE_PARTS}


def fit_rows(analysis):
    rows = []
    for group, s, quantity, f in analysis.fits:
        parts, row = f.parts, {**_key(group, s), "quantity": quantity}
        row.update(n_min=f.n[0], n_max=f.n[-1], points=len(f.n), rounds=f.rounds or "")
        row.update(_slope("exponent", f.exponent), **_slope("exponent_tail", f.tail))
        row["tail_n_min"] = f.tail_from or ""
        row.update(family_set="|".join(parts.growths) if parts else "",
                   delta_aicc=_cell(parts.delta) if parts else "")
        for k, name in enumerate(("c0", "c1", "c_lead")):
            row.update(_slope(name, parts.coefficients[k] if parts else fits.NONE))
        for k, name in enumerate(("share_c0_at_nmax", "share_c1_at_nmax", "lead_share_at_nmax")):
            row.update(_slope(name, parts.shares[k] if parts else fits.NONE))
        row["residual_rms"] = _cell(parts.residual) if parts else ""
        row.update(_slope("slope_vs_flops", f.work), **_drawn(f.rounds), flags=";".join(sorted(f.flags)))
        rows.append(row)
    return rows


def slope_rows(analysis):
    return [{**_key(group, s), "quantity": quantity, "n_from": f.n[k], "n_to": f.n[k + 1],
             **_slope("slope", slope)}
            for group, s, quantity, f in analysis.fits for k, slope in enumerate(f.local)]


def crossing_rows(analysis):
    rows = []
    for group, base, s, quantity, level, c in analysis.crossings:
        key = _key(group, s)
        if level is not None:
            key["params"] = ""  # the fastest setting at each length
        pairs = [r.pairs for r in c.at.values() if r.pairs]
        rows.append({
            **key, "baseline": base.variant, "quantity": quantity, "error_at_most": _cell(level),
            "n_min": min(c.at), "n_max": max(c.at), "points": len(c.at), "verdict": c.kind,
            "below": c.below or "", "above": c.above or "", "n_star": _cell(c.named),
            "n_star_ci_lo": _cell(c.low), "n_star_ci_hi": _cell(c.high),
            "roots": ";".join(f"{r:.6g}" for r in c.roots), "share_single": _cell(c.single),
            "settings": ";".join(dict.fromkeys(c.chosen.values())),
            "method": ("exact" if quantity == "memory" else "paired" if pairs else "medians"),
            "pairs": min(pairs, default=""), "margin": analysis.margin,
            **_drawn(min(pairs, default=0))})
    return rows


def _drawn(rounds):
    """Draws and seed of the intervals, where there are any."""
    has = rounds >= bootstrap.FEWEST
    return {"draws": bootstrap.DRAWS if has else "", "draws_seed": bootstrap.SEED if has else ""}


def _cell(value):
    """What is not known is an empty field."""
    if value is None or isinstance(value, float) and not np.isfinite(value):
        return ""
    if isinstance(value, float):
        value = float(f"{round(value, 12):.9g}")
        return int(value) if value.is_integer() else value
    return value
