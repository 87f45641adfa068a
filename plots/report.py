# SPDX-License-Identifier: BSD-3-Clause
"""report.html: one file that needs no network, with everything a run says."""
import base64
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from plotly.offline import get_plotlyjs

from . import figures, gp, machine, style, svg
from .axes import bytes_text
from .data import FLAGS, STATUSES, DataError, pretty_input
from .findings import NOT_APPROXIMATE, as_text, findings
from .lines import facts
from .pareto import best_length
from .crossover import crossing
from .speed import round_medians, speedup

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Made:
    findings: str
    paths: list  # [(path, what it is)]


def report(run, out, formats=figures.FORMATS):
    """Writes out/figures/ and out/report.html; formats has to hold svg."""
    folder = out / "figures"
    planned = figures.plan(run)
    figures.write(run, folder, planned, formats)
    drawn, note = _gnuplot(run, folder, formats)
    found = findings(run)
    page = out / "report.html"
    text = render(run, planned, folder, found, out, formats)
    partial = page.with_suffix(".html.part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, page)
    count = f"{len(planned)} figures for one and two columns, as {', '.join(formats)}"
    return Made(as_text(found), [
        (page, "findings, figures, table, machine: open it in a browser"),
        (folder, count + (f"; {len(drawn) // len(formats)} by gnuplot" if drawn else f"; {note}"))])


def _gnuplot(run, folder, formats):
    if not gp.available():
        return [], "none by gnuplot, which is not installed"
    try:
        return gp.write(run, folder, formats), ""
    except DataError as err:
        print(f"attnbench: warning: {err}", file=sys.stderr)
        return [], "gnuplot failed"


def render(run, planned, folder, found, out, formats):
    """The page as text."""
    env = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True,
                             trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    rounds = round_medians(run)
    sprite = svg.Sprite()
    groups = [_group(g, planned, folder, out, formats, sprite, rounds) for g in run.groups]
    counts = run.cells["status"].value_counts()
    links = [(name, words) for name, words in (
        ("raw.csv", "every sample"), ("run.json", "machine and settings"),
        ("topology.xml", "topology")) if (run.path / name).is_file() and run.path == out]
    return env.get_template("report.html.j2").render(
        title=run.path.resolve().name, findings=found, groups=groups, sprite=sprite.sheet(),
        counts=[(STATUSES[s], int(counts[s])) for s in STATUSES if s in counts],
        cpu=machine.cpu(run.info), command=machine.command(run.info),
        commit=machine.commit(run.info), sections=machine.sections(run.info),
        everything=machine.everything(run.info), cells=_cells(run, rounds),
        failures=_failures(run), flags=_flags(run), palette=palette(), dark=palette(dark=True),
        csv=base64.b64encode((run.path / "summary.csv").read_bytes()).decode(), links=links,
        css=_asset("report.css"), js=_asset("report.js"), explore=_asset("explore.js"),
        data=json.dumps({"groups": [_traces(g) for g in run.groups],
                         "families": list(style.FAMILIES)}).replace("<", "\\u003c"),
        plotly=re.sub("<(?=/?script|!--)", r"\\x3c", get_plotlyjs(), flags=re.I))


def palette(dark=False):
    """{CSS variable: colour}; on dark paper a colour is lightened as far as it needs."""
    plain = {name: value for value, name in svg.colours().items()}  # text needs more contrast
    if not dark:
        return plain
    special = {"ink": "#eceef0", "muted": "#a9adb3", "rule": "#777c83", "grid": "#2f3338",
               "paper": "#17191c"}
    return {name: special.get(name) or style.on_dark(value, 0.28 if "text" in name else 0.2)
            for name, value in plain.items()}


def _group(group, planned, folder, out, formats, sprite, rounds):
    """What the template needs of a group: its name, table against flash, figures."""
    shown = []
    for k, f in enumerate(p for p in planned if p.slug == group.slug):
        views = []
        for columns in f.columns:
            text = f.path(folder, columns, "svg").read_text(encoding="utf-8")
            views.append((columns, sprite.inline(text, f"{group.slug}-{k}-{columns}-", f.alt)))
        files = [(fmt.upper() + ("" if columns == 2 else " one column"),
                  os.path.relpath(f.path(folder, columns, fmt), out))
                 for columns in f.columns for fmt in formats]
        length = int(f.name[8:]) if f.name.startswith("pareto-n") else None
        shown.append({"id": f"{group.slug}-{f.name}", "title": f.title, "views": views,
                      "files": files, "length": length})
    return {"slug": group.slug, "name": ", ".join(facts(group)), "figures": shown,
            "short": _short(group), "lengths": [f["length"] for f in shown if f["length"]],
            "best": best_length(group), "rivals": _rivals(group, rounds)}


def _short(group):
    key = group.key
    words = [group.input, f"d {key['d_head']:g}", "causal" if key["causal"] else "bidirectional"]
    return ", ".join(words)


def _rivals(group, rounds):
    """Each approximation against flash, the fastest first; None without flash."""
    flash = group.find("flash")
    if flash is None or flash.ok.empty:
        return None
    rows = []
    for s in group.series:
        cross = crossing(rounds, flash, s) if s.family not in NOT_APPROXIMATE else None
        if cross is None:
            continue
        n = max(cross.at)
        row = s.at(n)
        rows.append({"name": s.label, "family": s.family, "n": n, "ratio": cross.at[n],
                     "cross": cross, "error": row["err_exact_rel_fro"],
                     "uniform": group.uniform(n), "bytes": row["ws_tracked_bytes"],
                     "bytes_text": _bytes(row["ws_tracked_bytes"])})
    return sorted(rows, key=lambda r: -r["ratio"].value)


def _cells(run, rounds):
    """Every row of summary.csv, for the table."""
    rows = []
    for group in run.groups:
        flash = group.find("flash")
        for s in group.series:
            for _, row in group.cells[_is(group.cells, s)].sort_values(["n", "seed"]).iterrows():
                base = flash.at(row["n"]) if flash is not None else None
                ok = row["status"] == "ok"
                other = ok and base is not None and base["cell_id"] != row["cell_id"]
                ratio = speedup(rounds, base, row) if other else None
                rows.append({
                    "group": group.slug, "input": pretty_input(row["input_kind"]),
                    "d": int(row["d_head"]), "causal": bool(row["causal"]), "name": s.label,
                    "params": row["params"], "family": s.family, "n": row["n"],
                    "status": row["status"], "words": STATUSES[row["status"]],
                    "message": row["message"], "flags": row["flags"].replace(";", ", "),
                    "time": row["time_median_ns"] if ok else np.nan,
                    "time_text": _time(row) if ok else STATUSES[row["status"]],
                    "ratio": ratio, "bytes": row["ws_tracked_bytes"],
                    "bytes_text": _bytes(row["ws_tracked_bytes"]),
                    "error": row["err_exact_rel_fro"], "nmse": row["err_exact_nmse_u"],
                    "impl": row["err_impl_rel_fro"]})
    return rows


def _is(cells, s):
    first = s.cells.iloc[0]
    return ((cells["impl"] == first["impl"]) & (cells["variant"] == s.variant)
            & (cells["params"] == first["params"]))


def _failures(run):
    """Rows that were not measured, those with the same reason together."""
    out = {}
    for _, row in run.failures.iterrows():
        at = (row["variant"], row["params"], pretty_input(row["input_kind"]),
              int(row["d_head"]), bool(row["causal"]), row["status"], row["message"])
        out.setdefault(at, []).append(row["n"])
    return [{"name": v, "params": p, "input": i, "d": d, "causal": c, "status": s,
             "words": STATUSES[s], "message": m, "lengths": sorted(set(ns))}
            for (v, p, i, d, c, s, m), ns in out.items()]


def _flags(run):
    """[(flag, cells that have it, what it means)], the most frequent first."""
    counts = run.cells["flags"].str.split(";").explode().value_counts()
    return [(flag, int(count), FLAGS.get(flag, "")) for flag, count in counts.items() if flag]


def _traces(group):
    """Numbers of a group for the interactive charts."""
    out = []
    for s in group.series:
        ok = s.ok
        out.append({
            "name": s.label, "family": s.family if s.family in style.FAMILIES else "other",
            "symbol": style.SYMBOLS[style.marker(s.family, s.variant)], "index": s.index,
            "n": [int(n) for n in ok["n"]], "time": _list(ok["time_median_ns"] / 1e6),
            "low": _list(ok["time_ci95_lo_ns"] / 1e6), "high": _list(ok["time_ci95_hi_ns"] / 1e6),
            "memory": _list(ok["ws_tracked_bytes"]), "error": _list(ok["err_exact_rel_fro"])})
    uniform = [(n, group.uniform(n)) for n in group.measured_lengths]
    return {"slug": group.slug, "name": ", ".join(facts(group)), "series": out,
            "uniform": [[n, u] for n, u in uniform if np.isfinite(u)]}


def _list(values):
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in values]


def _bytes(value):
    return bytes_text(value) if np.isfinite(value) else ""


def _time(row):
    """"3.93 ms [3.91, 3.95]" in the unit that suits the median."""
    unit, scale = next((u, s) for u, s in (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0))
                       if row["time_median_ns"] >= s or s == 1.0)
    text = f"{row['time_median_ns'] / scale:.4g} {unit}"
    low, high = row["time_ci95_lo_ns"], row["time_ci95_hi_ns"]
    return text + (f" [{low / scale:.4g}, {high / scale:.4g}]" if np.isfinite(low + high) else "")


def _asset(name):
    return (TEMPLATES / name).read_text(encoding="utf-8")

