# SPDX-License-Identifier: BSD-3-Clause
"""Operations a second against operations a byte, under the ceilings of the machine.

The ceilings are those that the run measured itself (run.json, "roof"), at the same
thread count; without them there is no figure."""
import numpy as np

from . import style
from .axes import limits, number
from .canvas import Sheet, families_of
from .labels import text_width
from .lines import facts
from .trade import _axes_names, _labels, _log

LEVELS = ("l1", "l2", "l3", "dram")


def ceilings(run, group):
    """{"peak": GFLOP/s, "gemm": ..., "l1": GB/s, ...} at the group's threads and, if it
    was measured, instruction set; or None."""
    roof = run.info.get("roof")
    same = [r for r in roof if isinstance(r, dict) and r.get("threads") == group.key["threads"]
            and _positive(r.get("fma_gflops"))] if isinstance(roof, list) else []
    one = next((r for r in same if r.get("isa") == group.key["isa"]), same[0] if same else None)
    if one is None:
        return None
    out = {"peak": one["fma_gflops"], "gemm": one.get("sgemm_gflops")}
    if group.key["dtype"] == "bf16" and _positive(one.get("bf16_gflops")):
        out = {"peak": one["bf16_gflops"]}
    read = one.get("read_gbs") if isinstance(one.get("read_gbs"), dict) else {}
    out.update({level: read.get(level) for level in LEVELS})
    return {k: v for k, v in out.items() if _positive(v)}


def _positive(value):
    return isinstance(value, (int, float)) and np.isfinite(value) and value > 0


def roofline(run, group, n, columns, machine=""):
    """The figure at length n, or None without ceilings or rates."""
    roofs = ceilings(run, group)
    rows = [(s, s.at(n)) for s in group.series if s.at(n) is not None]
    rows = [(s, r["intensity_flop_per_byte"], r["gflops_per_s"]) for s, r in rows
            if r["intensity_flop_per_byte"] > 0 and r["gflops_per_s"] > 0]
    if roofs is None or not rows:
        return None
    size = style.SIZES[columns]
    left = 21 + text_width("1000", size["text"])
    bands = [level for level in LEVELS if level in roofs]
    knees = [roofs["peak"] / roofs[b] for b in bands]
    sheet = Sheet(columns, f"Roofline at n = {n}", facts(group, machine), families_of([s for s, _, _ in rows]),
                  ["Ceilings as this run measured them, at the same number of threads: multiply-adds"
                   + (", sgemm (dashed)" if "gemm" in roofs else "") + " and reading from each level. Operations are "
                   "those that the definition needs, bytes the least traffic that the variant declares."],
                  200 if columns == 1 else 260, left=left)
    beside = text_width("sgemm 1000", size["text"]) + 8
    ax = sheet.axes(left, sheet.bottom, sheet.right - beside, sheet.top)
    xs = limits([x for _, x, _ in rows] + [k / 6 for k in knees], 1.4)
    ys = limits([y for _, _, y in rows] + [roofs["peak"]], 1.4, 24)[0], roofs["peak"] * 1.4
    _log(ax, xs, ys, size)
    x = np.geomspace(*xs, 200)
    for band in bands:
        slope = x * roofs[band]
        keep = slope <= roofs["peak"] * 1.0001
        ax.plot(x[keep], slope[keep], color=style.MUTED, linewidth=0.9, zorder=1.5)
    flat = x[x >= (min(knees) if knees else xs[0])]
    ax.plot([flat[0], xs[1]], [roofs["peak"]] * 2, color=style.INK, linewidth=1.1, zorder=1.6)
    if "gemm" in roofs:
        ax.plot([flat[0], xs[1]], [roofs["gemm"]] * 2, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1.6)
    for s, at, rate in rows:
        shape = style.marker(s.family, s.variant)
        ax.plot(at, rate, linestyle="none", marker=shape, markersize=style.mark_size(shape, size["mark"]) * 1.4,
                markerfacecolor=style.colour(s.family), markeredgecolor=style.PAPER, markeredgewidth=0.4, zorder=3)
    _axes_names(sheet, ax, "operations a byte [FLOP/B]", "operations a second [GFLOP/s]")
    taken = _name_roofs(sheet, ax, roofs, bands, xs, ys, size)
    _labels(sheet, ax, [s for s, _, _ in rows], [(a, r) for _, a, r in rows], size,
            [[(flat[0], roofs[k]), (xs[1], roofs[k])] for k in ("peak", "gemm") if k in roofs], taken)
    return sheet.figure


def _name_roofs(sheet, ax, roofs, bands, xs, ys, size):
    """Names of the ceilings: levels along their slopes, the rest beside the axes. Returns
    the boxes (x0, y0, x1, y1) that they take up within these."""
    taken = []
    edge = ax.get_window_extent().x1
    top = sheet.place_of(ax, xs[1], roofs["peak"])[1]
    sheet.text(edge + 4, top, f"peak {number(roofs['peak'])}", va="center_baseline")
    if "gemm" in roofs:
        y = sheet.place_of(ax, xs[1], roofs["gemm"])[1]
        sheet.text(edge + 4, min(y, top - size["text"] * 1.3), f"sgemm {number(roofs['gemm'])}", va="center_baseline", color=style.MUTED)
    for band in bands:
        x = np.sqrt(max(xs[0], ys[0] / roofs[band]) * roofs["peak"] / roofs[band])  # middle of what is seen
        y = x * roofs[band]
        if not (xs[0] < x < xs[1] and ys[0] < y < roofs["peak"]):
            continue
        a, b = sheet.place_of(ax, x, y), sheet.place_of(ax, x * 2, y * 2)
        words, small = f"{band.upper() if band != 'dram' else 'memory'} {number(roofs[band])} GB/s", size["text"] - 0.8
        turn = np.arctan2(b[1] - a[1], b[0] - a[0])
        sheet.text(a[0], a[1] + 2, words, rotation=float(np.degrees(turn)), rotation_mode="anchor", ha="center",
                   va="bottom", color=style.MUTED, size=small)
        half = text_width(words, small) / 2
        wide, tall = half * np.cos(turn) + small, half * np.sin(turn) + small
        taken.append((a[0] - wide, a[1] - tall, a[0] + wide, a[1] + tall))
    return taken
