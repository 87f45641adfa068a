# SPDX-License-Identifier: BSD-3-Clause
"""The four basic figures by gnuplot, from the same summary.csv.

gnuplot reads the CSV itself; this only says which rows and curves.
"""
import re
import shutil
import subprocess
from pathlib import Path

from . import machine, style
from .axes import gap, limits
from .data import GROUP, DataError, usual_scale
from .lines import ERROR, MEMORY, QUANTITIES, TIME, clear_growth, facts, said
from .pareto import best_length, front, points

SCRIPTS = Path(__file__).parent / "gnuplot"
TERMINALS = {
    "pdf": 'pdfcairo size 6.9in,{tall}in font "DejaVu Sans,8"',
    "svg": 'svg size 662,{pixels} font "DejaVu Sans,10" background "white"',
    "png": 'pngcairo size 1518,{pixels2} font "DejaVu Sans,8" fontscale 2.1 linewidth 2 pointscale 2',
}
SHAPES = {"o": 7, "s": 5, "^": 9, "D": 13, "v": 11, "P": 1, "X": 2, "p": 15, "<": 8, "*": 3,
          ">": 10, "h": 14, "d": 12, "8": 6}


def available():
    return shutil.which("gnuplot") is not None


def write(run, folder, formats=("pdf", "svg", "png")):
    """Writes them below folder and returns their paths; [] without gnuplot."""
    if not available():
        return []
    out = []
    for group in run.groups:
        (Path(folder) / group.slug).mkdir(parents=True, exist_ok=True)
        for name in ("time", "memory", "error", "pareto"):
            variables = _variables(run, group, name)
            for fmt in formats if variables else ():
                path = Path(folder) / group.slug / f"{name}-gnuplot.{fmt}"
                _draw(name, {**variables, "out": str(path.resolve())}, fmt)
                out.append(path)
    return out


def _variables(run, group, name):
    """What the scripts ask for, see gnuplot/style.gp; None if there is nothing to draw."""
    n = best_length(group)
    found = points(group, n) if n else []
    quantity = said(QUANTITIES.get(name, ERROR), group)
    shown = [s for s in group.series if (s.ok[quantity.column] > 0).any()]
    title = quantity.title
    if name == "pareto":
        shown, title = [f[0] for f in found], f"Error against time at n = {n}"
    if not shown or (name == "pareto" and len(found) < 2):
        return None
    chosen = front([f[1] for f in found], [0 if f[0].family == "exact" else f[4] for f in found])
    words = facts(group, machine.cpu(run.info))
    half = (len(words) + 1) // 2
    return {
        "csv": str((run.path / "summary.csv").resolve()), "heading": title,
        "facts": _plain(" · ".join(words[:half])), "more": _plain(" · ".join(words[half:])),
        "keep": _condition(group, run.cells["lengths"].nunique() > 1),
        "variants": " ".join(s.variant for s in shown),
        "params": " ".join(s.cells["params"].iloc[0] or "-" for s in shown),
        "names": " ".join(s.label.replace(" ", "\u00a0") for s in shown),
        "colours": " ".join(style.colour(s.family) for s in shown),
        "shapes": " ".join(str(SHAPES[style.marker(s.family, s.variant)]) for s in shown),
        "n0": float(min(group.measured_lengths)), "n1": float(max(group.measured_lengths)),
        "xname": quantity.length, "tname": said(TIME, group).axis, "tscale": said(TIME, group).scale,
        "length": float(n), "front": " ".join(str(i + 1) for i in chosen), "count": len(shown),
        **_ranges(group, name, quantity, shown, found)}


def _ranges(group, name, quantity, shown, found):
    """Limits and ticks of the axes, and whether the value axis is broken."""
    values = [f[4] for f in found] if name == "pareto" else [
        v for s in shown for v in s.ok[quantity.column] * quantity.scale]
    if quantity.name == MEMORY.name:
        values += [v for s in shown for v in clear_growth(s)["rss_delta_bytes"]]
    if quantity.name == ERROR.name:
        values += [1.0] + [group.uniform(m) for m in group.measured_lengths]
    cut = gap(values) if quantity.name == ERROR.name else None
    y = limits([v for v in values if not cut or v >= cut[1]], 1.35)
    z = limits([v for v in values if cut and v <= cut[0]], 2, 100)
    t = limits([v for f in found for v in f[1:4]], 1.35)
    return {"y0": y[0], "y1": y[1], "z0": z[0], "z1": z[1], "t0": t[0], "t1": t[1],
            "broken": int(cut is not None),
            "yticks": _ticks(quantity.ticks(*y, 8), quantity.tick_text),
            "zticks": _ticks(quantity.ticks(*z, 3), quantity.tick_text),
            "tticks": "(" + ", ".join(f"{v:g}" for v in TIME.ticks(*t, 8)) + ")"}


def _ticks(values, text):
    """As `set ytics` takes them; matplotlib's markup of powers becomes gnuplot's."""
    words = (text(v).replace("$^{", "^{").replace("}$", "}") for v in values)
    return "(" + ", ".join(f'"{w}" {v!r}' for w, v in zip(words, map(float, values))) + ")"


def _condition(group, ragged):
    """The group's key as a condition that gnuplot evaluates on a row. ragged: the rows
    differ in lengths, a column that older files do not have."""
    tests = []
    for column in GROUP:
        value = group.key[column]
        if column == "rows":
            tests.append('column("n_q") == ' + (f"{value}" if value else 'column("n_k")'))
        elif column == "kv_heads":
            if value != group.key["heads"]:
                tests.append(f'column("kv_heads") == {value:g}')
        elif column == "lengths":
            if ragged:
                tests.append(f'strcol("lengths") eq "{value}"')
        elif column == "scale":
            if not usual_scale(group.key):
                tests.append(f'abs(column("scale") / {value!r} - 1) < 1e-6')
        elif isinstance(value, str):
            tests.append(f'strcol("{column}") eq "{_escape(value)}"')
        else:
            tests.append(f'column("{column}") == {value:g}')
    return "(" + " && ".join(tests) + ")"


def _draw(name, variables, fmt):
    tall = max(3.9, 0.175 * variables["count"] + 0.4)
    size = {"tall": round(tall, 2), "pixels": round(tall * 96), "pixels2": round(tall * 220)}
    variables = {**variables, "term": TERMINALS[fmt].format(**size)}
    head = "".join(f"{k} = {v if isinstance(v, (int, float)) else _quoted(v)}\n"
                   for k, v in variables.items())
    Path(variables["out"]).write_bytes(b"")
    done = subprocess.run(["gnuplot", "-"], input=head + f'load "{name}.gp"\n', text=True,
                          cwd=SCRIPTS, capture_output=True, timeout=120, check=False)
    if done.returncode or not Path(variables["out"]).stat().st_size:
        raise DataError(f"gnuplot/{name}.gp: {done.stderr.strip() or 'gnuplot failed'}")


def _plain(text):
    """Keeps gnuplot from reading markup into a text."""
    return re.sub(r"([_^{}@&~])", r"\\\1", text)


def _escape(text):
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _quoted(text):
    return '"' + _escape(text) + '"'
