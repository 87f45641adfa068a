# SPDX-License-Identifier: BSD-3-Clause
"""Attention itself: the matrices that variants imply, and how peaked real heads are.

A run with --keep-weights leaves DIR/implied/CELL_ID.npy: the weights of exact attention and
those that the variant implies (its output where the values are the identity), 2 x n_q x n_k;
rows are queries. Entropies are those in origin.json beside stored tensors."""
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LogNorm

from . import style
from .axes import decimal_ticks, plain, set_ticks
from .canvas import PAD, Sheet
from .data import DataError
from .labels import cut, text_width
from .lines import facts

LARGEST = 512  # of a matrix that is drawn
ALIKE = 1e-3   # a relative distance to exact that no shade of grey shows
GREYS = colormaps["Greys"].with_extremes(bad="white", under="white")
STORED = Path(__file__).parent.parent / "datasets" / "real"


@dataclass(frozen=True)
class Implied:
    exact: np.ndarray
    others: list   # [(label, matrix)]
    alike: list    # labels of those that are exact to the eye
    without: list  # labels of those that were measured and have no such matrix


def _kept(run, series, n):
    """Path of the weights that a series implies at length n, of the first seed that has
    them; None without any."""
    paths = [run.path / "implied" / f"{cell}.npy" for _, cell in series.ids(n)]
    return next((p for p in paths if p.is_file()), None)


def length(run, group):
    """The longest at which weights were kept; None: at none."""
    return next((n for n in reversed(group.measured_lengths) if any(_kept(run, s, n) for s in group.series)), None)


def implied(run, group, n):
    out = Implied(None, [], [], [])
    for s in group.series:
        path = _kept(run, s, n)
        if path is None:
            if s.own and s.at(n) is not None:
                out.without.append(s.label)
            continue
        exact, matrix = _read(path)
        if out.exact is None:
            out = Implied(exact, out.others, out.alike, out.without)
        if exact.shape != out.exact.shape or distance(exact, out.exact) > ALIKE:
            raise DataError(f"{path}: its exact weights are not those of the other files of this input and shape. "
                            "Measure again with --fresh.")
        if distance(matrix, exact) < ALIKE:
            out.alike.append(s.label)
        else:
            out.others.append((s.label, matrix))
    return out


def _read(path):
    """(exact, implied), each n_q x n_k."""
    try:
        both = np.load(path, allow_pickle=False)
    except (ValueError, OSError) as err:
        raise DataError(f"{path}: not an array as numpy.save writes it ({err}).") from None
    if both.ndim != 3 or len(both) != 2 or not np.issubdtype(both.dtype, np.floating) or max(both.shape) > LARGEST:
        raise DataError(f"{path}: wanted numbers, 2 x n_q x n_k, n at most {LARGEST}; it is {both.dtype} {both.shape}.")
    return both.astype(float)


def distance(matrix, exact):
    return np.linalg.norm(matrix - exact) / np.linalg.norm(exact)


def heat(run, group, n, columns, machine=""):
    """Heat maps side by side, exact first."""
    found = implied(run, group, n)
    panels = [("exact", found.exact)] + found.others
    size = style.SIZES[columns]
    across = min(len(panels), 5 if columns == 2 else 3)
    down = -(-len(panels) // across)
    inner = size["width"] * 72 - 2 * PAD - 40
    side = (inner - (across - 1) * 8) / across
    rows, keys = found.exact.shape
    tall, head = side * rows / keys, size["text"] * 3.6
    notes = ["Row: a query, column: a key, of the first head. Same scale for all; white: no weight, or a negative one. "
             "Number: relative distance to exact, Frobenius norm."]
    if found.alike:
        notes.append(f"As exact, to {ALIKE:g}: {', '.join(found.alike)}.")
    if found.without:
        notes.append(f"No product of weights and values, so no such matrix: {', '.join(found.without)}.")
    sheet = Sheet(columns, f"Weights that variants imply at n = {n}", facts(group) + ([machine] if machine else []), [],
                  notes, down * (tall + head), below=6, left=PAD)
    top = float(found.exact.max())
    norm = LogNorm(top * 1e-4, top)
    for k, (name, matrix) in enumerate(panels):
        x = PAD + (k % across) * (side + 8)
        y = sheet.top - (k // across) * (tall + head) - head - tall + 2
        ax = sheet.axes(x, y, x + side, y + tall)
        drawn = ax.imshow(np.where(matrix > 0, matrix, np.nan), cmap=GREYS, norm=norm, interpolation="none", aspect="auto")
        ax.grid(False)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(True)
        small = size["text"] - 0.3
        sheet.text(x, y + tall + 3 + small * 1.25, cut(name, small, side), size=small)
        sheet.text(x, y + tall + 3, f"{distance(matrix, found.exact):.2g}" if k else "", size=small, color=style.MUTED)
    bar = sheet.axes(sheet.right - 34, sheet.top - head - tall + 2, sheet.right - 28, sheet.top - head + 2)
    sheet.figure.colorbar(drawn, cax=bar)
    bar.grid(False)
    set_ticks(bar.yaxis, decimal_ticks(norm.vmin, norm.vmax, 5), plain)
    bar.tick_params(labelsize=size["text"] - 1)
    return sheet.figure


def heads(run):
    """[(input, [item of origin.json])] of the stored inputs of a run, where they say so."""
    out = []
    for kind in run.cells["input_kind"].unique():
        folder = _folder(kind)
        path = folder / "origin.json" if folder else None
        if path is None or not path.is_file():
            continue
        try:
            items = json.loads(path.read_text(encoding="utf-8")).get("items", [])
            items = [i for i in items if np.isfinite(float(i["entropy_ratio"]))]
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if items:
            out.append((kind, items))
    return out


def _folder(kind):
    place, _, name = kind.partition(":")
    if place == "file":
        return Path(name)
    if place != "real" or not name or "/" in name:
        return None
    given = os.environ.get("ATTNBENCH_DATA")
    roots = ([Path(given)] if given else []) + [STORED, STORED.parent.parent / "real"]
    return next((r / name for r in roots if (r / name).is_dir()), None)


def entropy(run, columns, machine=""):
    """Entropy of each head of the stored inputs, with its range over queries; None
    without any."""
    found = heads(run)
    if not found:
        return None
    size = style.SIZES[columns]
    rows = [(kind, item) for kind, items in found for item in sorted(items, key=lambda i: i["entropy_ratio"])]
    step = size["text"] * 1.5
    names = [_head(item) for _, item in rows]
    wide = max(text_width(n, size["text"]) for n in names)
    sheet = Sheet(columns, "How peaked the heads of stored inputs are", [kind for kind, _ in found], [],
                  ["Entropy of the weights of a query over that of equal weights: 1 is no preference, below 0.5 is peaked. "
                   "Point: mean over queries; bar: lowest to highest query."], len(rows) * step + 6, left=PAD + wide + 8)
    ax = sheet.axes(sheet.left, sheet.bottom, sheet.right - 4, sheet.top)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(0, len(rows) * step + 6)
    set_ticks(ax.xaxis, [0, 0.25, 0.5, 0.75, 1], lambda v: f"{v:g}")
    set_ticks(ax.yaxis, [], str)
    for k, ((_, item), name) in enumerate(zip(rows, names)):
        y = (len(rows) - k - 0.5) * step + 3
        low, high = item.get("entropy_ratio_min"), item.get("entropy_ratio_max")
        if low is not None and high is not None:
            ax.plot([low, high], [y, y], color=style.RULE, linewidth=1.4, zorder=2, solid_capstyle="butt")
        ax.plot(item["entropy_ratio"], y, "o", color=style.FAMILIES["sparse"], markersize=size["mark"] * 1.2, zorder=3)
        sheet.text(sheet.left - 6, sheet.bottom + y, name, ha="right", va="center_baseline")
    ax.set_xlabel("entropy ratio, H / ln(visible keys)", fontsize=size["text"], labelpad=2)
    return sheet.figure


def _head(item):
    known = [f"{word} {item[word]}" for word in ("layer", "head") if word in item]
    return ", ".join(known) or f"head {item.get('item', '?')}"
