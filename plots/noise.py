# SPDX-License-Identifier: BSD-3-Clause
"""How quiet the machine was: rounds, calibration and disturbed samples over the run."""
import numpy as np
import pandas as pd

from . import style
from .axes import set_ticks
from .canvas import Sheet
from .labels import text_width
from .speed import standing

BINS = 60
PANELS = (("rounds", "round over its cell − 1 [%]"), ("calibration", "calibration over its best − 1 [%]"),
          ("disturbed", "disturbed samples [%]"))


def table(run):
    """A row a round of a cell: minutes from the start, deviation, calibration, disturbed
    share, steal; None without what is needed."""
    raw = run.raw
    if raw is None or not {"t_start_ns", "wall_ns", "calls", "disturbed", "round", "cell_id"} <= set(raw):
        return None
    raw = standing(raw)
    raw = raw[(raw["pass"] == "time") & (raw["status"] == "ok")]
    number = {c: pd.to_numeric(raw[c], errors="coerce") for c in ("t_start_ns", "wall_ns", "calls")}
    for c in ("cal_before_ns", "cal_after_ns", "steal_ticks"):
        number[c] = pd.to_numeric(raw[c], errors="coerce") if c in raw else np.nan
    rows = pd.DataFrame({"cell": raw["cell_id"], "round": raw["round"], "start": number["t_start_ns"],
                         "ns": number["wall_ns"] / number["calls"], "disturbed": (raw["disturbed"] == "1") * 1.0,
                         "before": number["cal_before_ns"], "after": number["cal_after_ns"],
                         "steal": number["steal_ticks"]}).dropna(subset=["start", "ns"])
    if rows.empty or not (rows["start"] > 0).any():
        return None
    each = rows.groupby(["cell", "round"], sort=False).agg(
        start=("start", "min"), ns=("ns", "median"), disturbed=("disturbed", "mean"), before=("before", "max"),
        after=("after", "max"), steal=("steal", "max")).reset_index()
    each["minutes"] = (each["start"] - each["start"].min()) / 6e10
    each["rounds"] = 100 * (each["ns"] / each.groupby("cell")["ns"].transform("median") - 1)
    calibration = each[["before", "after"]].max(axis=1)
    each["calibration"] = 100 * (calibration / each[["before", "after"]].min().min() - 1)
    each["disturbed"] *= 100
    return each


def noise(run, columns, machine=""):
    """Three panels over the time of the run; None without raw rows that have it."""
    each = table(run)
    if each is None or len(each) < 4:
        return None
    size = style.SIZES[columns]
    panels = [(name, words) for name, words in PANELS if each[name].notna().any()]
    tall, apart = 74, 14
    left = 30 + text_width("−100", size["text"])
    steal = each["steal"].sum()
    words = [f"{len(each)} rounds of {each['cell'].nunique()} cells", f"{each['minutes'].max():.1f} minutes",
             f"{steal:.0f} ticks stolen by the host" if np.isfinite(steal) else "", machine]
    sheet = Sheet(columns, "How quiet the machine was", [w for w in words if w], [],
                  ["Dark: the middle half; light: 5 to 95 %; line: median, of what was measured in that part of the run. "
                   "Samples are set aside for a cause, never for their value; a drift that all cells share cancels in ratios."],
                  len(panels) * tall + (len(panels) - 1) * apart, left=left)
    for k, (name, words) in enumerate(panels):
        top = sheet.top - k * (tall + apart)
        ax = sheet.axes(left, top - tall, sheet.right, top)
        _bands(ax, each["minutes"].to_numpy(), each[name].to_numpy(float), size)
        _ticks(ax, size)
        ax.set_xlim(0, max(each["minutes"].max(), 1e-3))
        ax.tick_params(labelbottom=k == len(panels) - 1)
        for row, part in enumerate(_halves(words)):
            sheet.text(9 + row * size["text"] * 1.25, top - tall / 2, part, rotation=90, ha="center", va="center",
                       size=size["text"] - 0.6)
    ax.set_xlabel("minutes from the start of the run", fontsize=size["text"], labelpad=2)
    return sheet.figure


def _halves(words):
    parts = words.split(" ")
    best = min(range(1, len(parts)), key=lambda k: abs(len(" ".join(parts[:k])) - len(words) / 2))
    return " ".join(parts[:best]), " ".join(parts[best:])


def _bands(ax, x, y, size):
    keep = np.isfinite(y)
    x, y = x[keep], y[keep]
    edges = np.linspace(0, x.max() * (1 + 1e-9), min(BINS, max(len(x) // 8, 2)) + 1)
    which = np.digitize(x, edges) - 1
    parts = [(b, y[which == b]) for b in range(len(edges) - 1) if (which == b).any()]
    middle = [(edges[b] + edges[b + 1]) / 2 for b, _ in parts]
    q = np.array([np.percentile(v, [5, 25, 50, 75, 95]) for _, v in parts])
    ax.fill_between(middle, q[:, 0], q[:, 4], color=style.FAMILIES["sparse"], alpha=0.18, linewidth=0, zorder=1.5)
    ax.fill_between(middle, q[:, 1], q[:, 3], color=style.FAMILIES["sparse"], alpha=0.4, linewidth=0, zorder=1.6)
    ax.plot(middle, q[:, 2], color=style.INK, linewidth=size["line"] * 0.8, zorder=2)


def _ticks(ax, size):
    low, high = ax.get_ylim()
    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 1e4, 1e5, 1e9) if (high - low) / s <= 5)
    set_ticks(ax.yaxis, np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step, lambda v: f"{v + 0:g}".replace("-", "−"))
    low, high = ax.get_xlim()
    ax.tick_params(labelsize=size["text"])
