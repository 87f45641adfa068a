# SPDX-License-Identifier: BSD-3-Clause
"""Attention itself: the matrices that variants imply, and how peaked real heads are.

DIR/implied/ holds exact.npy and NAME.npy, one n x n matrix a variant (its output where
the values are the identity); rows are queries. Entropies are those in origin.json beside
stored tensors."""
import json
import os
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm

from . import style
from .axes import set_ticks
from .canvas import PAD, Sheet
from .data import DataError
from .labels import cut, text_width

LARGEST = 512  # of a matrix that is drawn
STORED = Path(__file__).parent.parent / "datasets" / "real"


def implied(run):
    """[(name, matrix)], exact first; [] without any."""
    folder = run.path / "implied"
    names = sorted(p.stem for p in folder.glob("*.npy")) if folder.is_dir() else []
    if "exact" not in names or len(names) < 2:
        return []
    out = []
    for name in ["exact"] + [n for n in names if n != "exact"]:
        path = folder / f"{name}.npy"
        try:
            matrix = np.load(path, allow_pickle=False)
        except (ValueError, OSError) as err:
            raise DataError(f"{path}: not an array as numpy.save writes it ({err}).") from None
        if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.floating) or max(matrix.shape) > LARGEST:
            raise DataError(f"{path}: wanted numbers of two dimensions, each at most {LARGEST}; it is "
                            f"{matrix.dtype} {matrix.shape}.")
        out.append((name, matrix.astype(float)))
    wrong = [n for n, m in out if m.shape != out[0][1].shape]
    if wrong:
        raise DataError(f"{folder / wrong[0]}.npy: its shape is not that of exact.npy.")
    return out


def heat(run, columns, machine=""):
    """Heat maps side by side, exact first; None without matrices."""
    found = implied(run)
    if not found:
        return None
    size = style.SIZES[columns]
    across = min(len(found), 5 if columns == 2 else 3)
    down = -(-len(found) // across)
    exact = found[0][1]
    inner = style.SIZES[columns]["width"] * 72 - 2 * PAD - 40
    side = (inner - (across - 1) * 8) / across
    tall, head = side * exact.shape[0] / exact.shape[1], size["text"] * 3.0
    sheet = Sheet(columns, "Weights that variants imply", [f"{exact.shape[0]} queries, {exact.shape[1]} keys", machine] if machine
                  else [f"{exact.shape[0]} queries, {exact.shape[1]} keys"], [],
                  ["Row: a query, column: a key. Same scale for all; white: no weight, or a negative one. Number: relative "
                   "distance to exact, Frobenius norm."], down * (tall + head), below=6, left=PAD)
    top = float(exact.max())
    norm = LogNorm(top * 1e-4, top)
    for k, (name, matrix) in enumerate(found):
        x = PAD + (k % across) * (side + 8)
        y = sheet.top - (k // across) * (tall + head) - head - tall + 2
        ax = sheet.axes(x, y, x + side, y + tall)
        drawn = ax.imshow(np.where(matrix > 0, matrix, np.nan), cmap="Greys", norm=norm, interpolation="nearest", aspect="auto")
        ax.grid(False)
        ax.set_xticks([])
        ax.set_yticks([])
        away = np.linalg.norm(matrix - exact) / np.linalg.norm(exact)
        small = size["text"] - 0.3
        sheet.text(x, y + tall + 3 + small * 1.25, cut(name, small, side), size=small)
        sheet.text(x, y + tall + 3, f"{away:.2g}" if k else "", size=small, color=style.MUTED)
    bar = sheet.axes(sheet.right - 34, sheet.top - head - tall + 2, sheet.right - 28, sheet.top - head + 2)
    sheet.figure.colorbar(drawn, cax=bar)
    bar.grid(False)
    set_ticks(bar.yaxis, [top * 10.0**-e for e in range(0, 5)], lambda v: f"{v:.1g}")
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
