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

from . import derive, figures, foreign, gp, lint, machine, published, style, svg, tables
from .axes import bytes_text
from .data import FLAGS, STATUSES, DataError, pretty_input
from .derive import NOT_APPROXIMATE
from .findings import as_text, findings
from .lines import TIME, facts, said
from .pareto import best_length
from .speed import speedup

TEMPLATES = Path(__file__).parent / "templates"
NARROW = ("time", "memory", "error", "accuracy", "exponents", "crossovers-flash")  # also one column wide
WHOLE = 3        # inputs and shapes of which the page has every figure; of the rest it has
ESSENTIAL = ("time", "memory", "error", "accuracy", "exponents")  # these and the best front
SHOWN = ("results", "bargains", "exponents", "crossovers")


@dataclass(frozen=True)
class Made:
    findings: str
    paths: list  # [(path, what it is)]


def report(run, out, formats=(), overlay=False):
    """Writes out/report.html, tables/, fits.csv and so on; with formats also figures/,
    every figure for papers."""
    analysis = derive.Analysis(run)
    out.mkdir(parents=True, exist_ok=True)
    folder = out / "figures"
    planned = figures.plan(analysis, overlay=overlay)
    shown = on_page(run, planned)
    drawn = dict(zip(shown, figures.page(analysis, shown)))
    files = None
    if formats:
        figures.write(analysis, folder, figures.sheets(planned), formats)
        extra, note = _gnuplot(run, folder, formats)
        files = (folder, f"{len(planned)} figures for one and two columns, as {', '.join(formats)}; "
                 + (f"{len(extra) // len(formats)} by gnuplot" if extra else note))
    derived = derive.write(analysis, out)
    written = tables.write(analysis, out / "tables")
    found = findings(analysis)
    page = out / "report.html"
    text = render(analysis, drawn, folder, found, out, formats, derived, overlay)
    partial = page.with_suffix(".html.part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, page)
    return Made(as_text(found), [
        (page, "findings, figures, tables, machine: open it in a browser")] + ([files] if files else []) + [
        (out / "tables", f"{len(written)} tables for papers, LaTeX and Markdown"),
        (", ".join(p.name for p in derived), f"in {out}: exponents, local slopes, crossovers")])


def on_page(run, planned):
    """[(figure, columns)] that the page shows."""
    whole = [g.slug for g in run.groups[:WHOLE]] + [figures.RUN]
    best = {g.slug: f"pareto-n{best_length(g)}" for g in run.groups}
    out = []
    for f in planned:
        essential = f.name in ESSENTIAL or f.name == best.get(f.slug)
        if f.slug in whole or essential:
            out.append((f, 2))
            if 1 in f.columns and (f.name in NARROW or f.name == best.get(f.slug)):
                out.append((f, 1))
    return out


def _gnuplot(run, folder, formats):
    if not gp.available():
        return [], "none by gnuplot, which is not installed"
    try:
        return gp.write(run, folder, formats), ""
    except DataError as err:
        print(f"attnbench: warning: {err}", file=sys.stderr)
        return [], "gnuplot failed"


def render(analysis, drawn, folder, found, out, formats, derived, overlay):
    """The page as text. drawn: {(figure, columns): SVG}; derived: paths of fits.csv and so on."""
    env = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True,
                             trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    run = analysis.run
    pictures = _pictures(drawn, folder, out, formats)
    groups = [_group(analysis, g, pictures) for g in run.groups]
    counts = run.cells["status"].value_counts()
    links = [(name, words) for name, words in (
        ("raw.csv", "every sample"), ("run.json", "machine and settings"),
        ("topology.xml", "topology")) if (run.path / name).is_file() and run.path == out]
    agreed = published.agreement(analysis) if overlay else None
    files = [(run.path / "summary.csv", "a row a cell")] + [
        (p, words) for p, words in zip(derived, ("exponents and decompositions", "local slopes", "crossovers"))]
    return env.get_template("report.html.j2").render(
        title=run.path.resolve().name, findings=found, groups=groups, fonts=svg.font_faces(drawn.values()),
        counts=[(STATUSES[s], int(counts[s])) for s in STATUSES if s in counts],
        cpu=machine.cpu(run.info), command=machine.command(run.info),
        commit=machine.commit(run.info), sections=machine.sections(run.info),
        everything=machine.everything(run.info), cells=_cells(analysis),
        states=bool(run.cells["state_bytes"].notna().any()),
        tasks=bool(run.cells["task_accuracy"].notna().any()),
        failures=_failures(run), flags=_flags(run), warnings=_warnings(run),
        figures_of_run=pictures.get(figures.RUN, []), whole=len(run.groups) <= WHOLE, dir=str(run.path),
        published=[t for t in published.tables_of(agreed) if t.rows] if agreed else [],
        sources=_sources() if agreed else [],
        inputs=list(dict.fromkeys(g["input"] for g in groups)), masks=list(dict.fromkeys(g["mask"] for g in groups)),
        families=[f for f in style.FAMILIES if f in set(run.cells["family"])],
        palette=palette(), dark=palette(dark=True), margin=analysis.margin,
        downloads=[(p.name, base64.b64encode(p.read_bytes()).decode(), words) for p, words in files], links=links,
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


def _pictures(drawn, folder, out, formats):
    """{slug: [what the template needs of a figure]}"""
    views, result = {}, {}
    for (f, columns), text in drawn.items():
        views.setdefault(f, []).append((columns, svg.inline(text, f"{f.slug}-{f.name}-{columns}-", f.alt)))
    for f, widths in views.items():
        files = [(fmt.upper() + ("" if columns == 2 else " one column"), os.path.relpath(f.path(folder, columns, fmt), out))
                 for columns in f.columns for fmt in formats]
        length = int(f.name[8:]) if f.name.startswith("pareto-n") else None
        result.setdefault(f.slug, []).append({"id": f"{f.slug}-{f.name}", "title": f.title, "views": widths,
                                              "files": files, "length": length})
    return result


def _group(analysis, group, pictures):
    """What the template needs of a group: its name, table against flash, figures, tables."""
    shown = pictures.get(group.slug, [])
    made = {t.name: t for t in (tables.bargains(analysis, group), tables.exponents(analysis, group),
                                tables.crossovers(analysis, group))}
    return {"slug": group.slug, "name": ", ".join(facts(group)), "figures": shown, "short": _short(group),
            "input": group.input, "mask": "causal" if group.key["causal"] else "bidirectional",
            "lengths": [f["length"] for f in shown if f["length"]],
            "best": best_length(group), "rivals": _rivals(analysis, group),
            "tables": [made[n] for n in SHOWN if n in made and made[n].rows]}


def _short(group):
    key = group.key
    words = [group.input, f"d {key['d_head']:g}", "causal" if key["causal"] else "bidirectional"]
    return ", ".join(words)


def _rivals(analysis, group):
    """Each approximation against flash, the earliest first; None without flash."""
    flash = group.find("flash")
    if flash is None or not any(flash.timed(n) for n in flash.ok["n"]):
        return None
    rows = []
    for s in group.series:
        cross = analysis.crossing("flash", s) if s.family not in NOT_APPROXIMATE else None
        if cross is None:
            continue
        n = max(cross.at)
        row, full = s.at(n), analysis.crossing("full", s)
        rows.append({"name": s.label, "family": s.family, "n": n, "ratio": cross.at[n], "cross": cross,
                     "from": _from(cross), "order": _order(cross), "full": _from(full) if full else "",
                     "full_order": _order(full) if full else np.inf,
                     "error": row["err_exact_rel_fro"], "uniform": group.uniform(n),
                     "bytes": row["ws_tracked_bytes"], "bytes_text": _bytes(row["ws_tracked_bytes"]),
                     "base_bytes": _bytes(flash.at(n)["ws_tracked_bytes"])})
    return sorted(rows, key=lambda r: (r["order"], -r["ratio"].value))


def _from(cross):
    """A crossing for a narrow column: "347 [343, 352]", "≤ 256", "never"."""
    if cross.kind == "always":
        return f"≤ {cross.above}"
    if cross.kind == "once":
        return cross.length() or f"≤ {cross.above}"
    return {"never": f"not up to {max(cross.at)}", "unclear": "not decided", "several": "several crossings",
            "until": f"only up to {cross.below}"}[cross.kind]


def _order(cross):
    if cross.kind == "always" or cross.kind == "once":
        return cross.named if np.isfinite(cross.named) else float(cross.above)
    return {"until": 1e12, "several": 1e13, "unclear": 1e14, "never": 1e15}[cross.kind]


def _cells(analysis):
    """Every row of summary.csv, for the table."""
    rows = []
    for group in analysis.run.groups:
        flash = group.find("flash")
        for s in group.series:
            for row in s.rows.sort_values(["n", "seed"]).to_dict("records"):
                base = flash.at(row["n"]) if flash is not None else None
                ok = row["status"] == "ok"
                other = ok and base is not None and flash.timed(row["n"]) and s.timed(row["n"]) and base["cell_id"] != row["cell_id"]
                ratio = speedup(analysis.rounds, base, row) if other else None
                rows.append({
                    "group": group.slug, "input": pretty_input(row["input_kind"]),
                    "d": int(row["d_head"]), "causal": bool(row["causal"]), "name": s.label,
                    "params": row["params"], "family": s.family, "n": row["n"],
                    "status": row["status"], "words": STATUSES[row["status"]],
                    "message": row["message"], "flags": row["flags"].replace(";", ", "),
                    "time": row["time_median_ns"] if ok else np.nan,
                    "time_text": _time(row) if ok and row["time_median_ns"] > 0 else "errors alone" if ok else STATUSES[row["status"]],
                    "ratio": ratio, "bytes": row["ws_tracked_bytes"],
                    "bytes_text": _bytes(row["ws_tracked_bytes"]),
                    "state": row["state_bytes"], "state_text": _bytes(row["state_bytes"]),
                    "error": row["err_exact_rel_fro"], "nmse": row["err_exact_nmse_u"],
                    "accuracy": row["task_accuracy"], "impl": row["err_impl_rel_fro"]})
    return rows


def _warnings(run):
    """What to know before believing the page, in words."""
    out = []
    if run.info.get("status") not in (None, "complete"):
        out.append(f"The run is not complete ({run.info['status']}): the same command goes on with it.")
    if run.raw is None:
        out.append("There is no raw.csv: ratios are of medians, not paired by round, and exponents have no intervals.")
    found = lint.lint(foreign.read(run.path / "summary.csv"))
    out += [f"{f.check}: {f.words}" for f in found[:8]]
    if len(found) > 8:
        out.append(f"and {len(found) - 8} more that `attnbench lint {run.path}` prints.")
    return out + [line[0].upper() + line[1:] for line in figures.skipped(run)]


def _sources():
    return [(about["title"], about["source"], about["caveats"]) for about in foreign.tables().values() if about["same_as"]]


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
    time = said(TIME, group)
    out = []
    for s in group.series:
        ok = s.ok
        out.append({
            "name": s.label, "family": s.family if s.family in style.FAMILIES else "other",
            "symbol": style.SYMBOLS[style.marker(s.family, s.variant)], "index": s.index,
            "n": [int(n) for n in ok["n"]], "time": _list(ok["time_median_ns"] * time.scale),
            "low": _list(ok["time_ci95_lo_ns"] * time.scale), "high": _list(ok["time_ci95_hi_ns"] * time.scale),
            "state": _list(ok["state_bytes"]),
            "memory": _list(ok["ws_tracked_bytes"]), "error": _list(ok["err_exact_rel_fro"]),
            "accuracy": _list(ok["task_accuracy"])})
    uniform = [(n, group.uniform(n)) for n in group.measured_lengths]
    return {"slug": group.slug, "name": ", ".join(facts(group)), "series": out, "length": time.length,
            "axes": {"time": [time.axis, "µs"]} if time is not TIME else {},
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

