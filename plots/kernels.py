# SPDX-License-Identifier: BSD-3-Clause
"""The kernels against the ceilings of the machine: python -m plots.kernels DIR.

DIR is a run of harness/sweeps/kernels.ini. Shares are of the multiply-adds in
registers of the same run, instruction set and thread count. Ratios are taken
inside rounds, as in speed.py; their intervals are those of the median.
"""
import sys

import numpy as np

from .axes import number
from .data import DataError, load
from .speed import Ratio, round_medians, speedup

COLUMNS = ["what", "here", "95 % interval"]


class Kernels:
    def __init__(self, run):
        self.cells = run.cells
        self.roofs = {(r["threads"], r["isa"]): r for r in run.info.get("roof", [])}
        self.rounds = round_medians(run)
        self.best = run.cells["isa"].mode()[0]  # what nothing else was asked for
        if not self.roofs:
            raise DataError(f"{run.path / 'run.json'}: no ceilings in it; run it again with this version.")

    def cell(self, variant, n, n_q=None, d=64, causal=0, threads=1, dtype="f32", isa=None, params=""):
        c = self.cells
        rows = c[(c["variant"] == variant) & (c["n_k"] == n) & (c["n_q"] == (n_q or n))
                 & (c["d_head"] == d) & (c["causal"] == causal) & (c["threads"] == threads)
                 & (c["dtype"] == dtype) & (c["isa"] == (isa or self.best))
                 & c["params"].str.startswith(params) & (c["status"] == "ok")]
        return None if rows.empty else rows.iloc[0]

    def share(self, row, flops="flops_useful"):
        """Of the peak of multiply-adds: value and interval in per cent."""
        if row is None:
            return None
        peak = self.roofs[int(row["threads"]), row["isa"]]["fma_gflops"]
        per_ns = [row[flops] / row[f"time_{t}_ns"] for t in ("median", "ci95_hi", "ci95_lo")]
        return tuple(100 * x / peak for x in per_ns)

    def ratio(self, row, base, per=None):
        """time(row) / time(base), for as many units of the column `per`."""
        if row is None or base is None:
            return None
        r = speedup(self.rounds, row, base)
        by = base[per] / row[per] if per else 1
        return r.value * by, r.low * by, r.high * by

    def shares(self):
        for d in (64, 128):
            for causal, word in ((0, "full"), (1, "causal")):
                for n in (1024, 4096, 16384):
                    yield (f"flash f32 d = {d}, {word}, n = {n}", "%",
                           self.share(self.cell("flash", n, d=d, causal=causal)))
        yield "flash f32 d = 64, full, n = 4096, avx2", "%", self.share(self.cell("flash", 4096, isa="avx2"))
        for causal, word in ((0, "bidirectional"), (1, "causal")):
            for n in (4096, 65536):
                yield (f"linear-elu {word}, n = {n}, executed", "%",
                       self.share(self.cell("linear-elu", n, causal=causal), "flops_executed"))

    def ratios(self):
        for d in (64, 128):
            for dtype in ("bf16", "f16"):
                yield (f"flash f32 over {dtype}, d = {d}, n = 4096", "x",
                       self.ratio(self.cell("flash", 4096, d=d), self.cell("flash", 4096, d=d, dtype=dtype)))
        for threads in (1, 2):
            for n in (4096, 8192):
                yield (f"full over flash, n = {n}, {threads} thread{'s' * (threads > 1)}", "x",
                       self.ratio(self.cell("full", n, threads=threads), self.cell("flash", n, threads=threads)))
        yield ("flash, 1 thread over 2, n = 16384", "x",
               self.ratio(self.cell("flash", 16384), self.cell("flash", 16384, threads=2)))
        for variant, params, causal, n in (
                ("sliding-window", "left=256:right=256", 0, 16384), ("sliding-window", "left=511:right=0", 1, 16384),
                ("sparse-strided", "l=128", 0, 16384), ("sparse-strided", "l=128", 1, 16384)):
            yield (f"{variant} {params}, {'causal' if causal else 'full'}, n = {n}, a pair, over flash", "x",
                   self.ratio(self.cell(variant, n, causal=causal, params=params),
                              self.cell("flash", n, causal=causal), "pairs_executed"))
        yield ("topk k = 64 over flash, n = 4096", "x",
               self.ratio(self.cell("topk", 4096, params="k=64"), self.cell("flash", 4096)))
        yield "linformer k = 256, n = 16384, over flash and GEMM", "x", self.linformer(16384, 256)
        yield "nystrom m = 64, n = 16384, over flash twice", "x", self.nystrom(16384, 64)

    def linformer(self, n, k):
        """Segment means are sums of K and V: they move 2 n d floats and are no product."""
        row, base = self.cell("linformer", n, params=f"k={k}"), self.cell("flash", k, n_q=n)
        return self.ratio(row, base)

    def nystrom(self, n, m):
        """n queries by m landmarks and m by n; four m x m x m products an iteration."""
        row, right, left = self.cell("nystrom", n), self.cell("flash", m, n_q=n), self.cell("flash", n, n_q=m)
        if row is None or right is None or left is None:
            return None
        products = 6 * 4 * 2 * m ** 3 / self.roofs[1, self.best]["sgemm_gflops"]
        base = right["time_median_ns"] + left["time_median_ns"] + products
        return tuple(row[f"time_{t}_ns"] / base for t in ("median", "ci95_lo", "ci95_hi"))

    def exponents(self):
        for variant in ("flash", "linear-elu", "sliding-window"):
            lengths = [2048, 4096, 8192, 16384]
            rows = [self.cell(variant, n, params="left=auto" if variant == "sliding-window" else "")
                    for n in lengths]
            if any(r is None for r in rows):
                yield f"{variant}: exponent of time, n = 2048 to 16384", "", None
                continue
            slope = np.polyfit(np.log(lengths), np.log([r["time_median_ns"] for r in rows]), 1)[0]
            yield f"{variant}: exponent of time, n = 2048 to 16384", "", (slope, np.nan, np.nan)

    def memory(self):
        for variant in ("linear-elu", "sliding-window", "retention"):
            rows = [self.cell(variant, n, causal=1) for n in (262144, 1048576)]
            ok = all(r is not None for r in rows)
            yield (f"{variant} causal: work space at n = 1048576 over that at 262144", "x",
                   (rows[1]["ws_tracked_bytes"] / rows[0]["ws_tracked_bytes"], np.nan, np.nan) if ok else None)
        errors = self.cells.loc[(self.cells["dtype"] == "f32") & (self.cells["family"] == "exact"), "err_exact_rel_fro"]
        yield "largest error of an exact variant in f32", "", (errors.max(), np.nan, np.nan)

    def rows(self):
        for part in (self.shares, self.ratios, self.exponents, self.memory):
            for what, unit, values in part():
                if values is None:
                    yield what, "not measured", ""
                    continue
                value, low, high = values
                said = f"{low:.3g} to {high:.3g}" if np.isfinite(low) else ""
                yield what, f"{value:.3g} {unit}".strip(), said


def main(argv):
    if len(argv) != 1:
        print("use: python -m plots.kernels DIR, a run of harness/sweeps/kernels.ini", file=sys.stderr)
        return 2
    try:
        kernels = Kernels(load(argv[0]))
    except DataError as err:
        print(f"attnbench: {err}", file=sys.stderr)
        return 2
    print("| " + " | ".join(COLUMNS) + " |\n|---|---|---|")
    for row in kernels.rows():
        print("| " + " | ".join(row) + " |")
    for (threads, isa), roof in kernels.roofs.items():
        print(f"\n{threads} thread{'s' * (threads > 1)}, {isa}: {number(roof['fma_gflops'])} GFLOP/s of multiply-adds, "
              f"{number(roof['sgemm_gflops'])} of sgemm, {number(roof['exp_gexps'])} G exponentials/s", end="")
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
