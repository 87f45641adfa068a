# SPDX-License-Identifier: BSD-3-Clause
"""Run directories with known truth, for the tests of plots/."""
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import quantile_test

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # plots/ is run from the tree, not installed

KEY = ("schema_version run_id impl variant family params mode batch lengths heads kv_heads n_q n_k d_head d_value "
       "causal scale dtype threads isa cache input_kind seed cell_id").split()
SUMMARY = KEY + (
    "status stop_reason message rounds samples clean_share calls time_median_ns time_ci95_lo_ns "
    "time_ci95_hi_ns time_mad_ns time_min_ns time_q1_ns time_q3_ns time_p95_ns time_mean_ns "
    "time_all_median_ns first_call_median_ns prepare_ns cpu_median_ns flops_model flops_useful "
    "flops_executed pairs_executed bytes_model gflops_per_s gbytes_per_s intensity_flop_per_byte "
    "roof_share io_bytes ws_model_bytes ws_tracked_bytes rss_delta_bytes rss_resolution_bytes "
    "untracked_bytes err_impl_rel_fro err_impl_bound err_exact_rel_fro err_exact_max_abs "
    "err_exact_cos err_exact_nmse_u err_rows entropy_ratio working_set_over_llc energy_uj "
    "flags").split()
RAW = KEY + ("pass round position sample samples_in_round status t_start_ns calls wall_ns cpu_ns "
             "disturbed").split()

# name: (family, params, time in ns at n = 256 and d = 64, its exponent, bytes
# likewise, error on gauss, on real); growth is exact, noise comes on top.
VARIANTS = {
    "full": ("exact", "", 2.1e6, 2.0, 2.7e5, 2.0, 2.1e-7, 2.6e-7),
    "flash": ("exact", "", 1.4e6, 2.0, 3.7e4, 0.0, 2.4e-7, 2.9e-7),
    "chunked": ("exact", "qc=auto:kc=auto", 1.6e6, 2.0, 6.1e4, 0.5, 2.5e-7, 3.1e-7),
    "sliding-window": ("sparse", "left=32:right=32", 8.5e5, 1.0, 2.4e4, 0.0, 2.62, 0.57),
    "sparse-strided": ("sparse", "l=auto", 9.5e5, 1.5, 2.4e4, 0.0, 2.57, 0.61),
    "longformer": ("sparse", "w=64:g=4", 1.0e6, 1.0, 2.6e4, 0.0, 2.52, 0.41),
    "topk": ("sparse", "k=32", 3.1e6, 2.0, 3.3e4, 1.0, 2.03, 0.09),
    "linear-elu": ("linear", "", 2.4e5, 1.0, 1.7e4, 0.0, 0.79, 0.83),
    "taylor1": ("linear", "", 2.6e5, 1.0, 1.75e4, 0.0, 0.758, 0.80),
    "efficient": ("linear", "", 2.9e5, 1.0, 1.72e4, 0.0, 0.764, 0.77),
    "performer": ("linear", "m=256:ortho=1", 1.9e6, 1.0, 1.3e5, 0.0, 3.05, 0.72),
    "linformer": ("low-rank", "k=64:proj=avg", 4.2e5, 1.0, 5.1e4, 0.0, 0.785, 0.48),
    "nystrom": ("low-rank", "m=64:iter=6", 1.3e6, 1.0, 1.8e5, 0.9, 0.733, 0.36),
    "retention": ("recurrent", "gamma=auto", 2.7e5, 1.0, 1.65e4, 0.0, 18.0, 2.2),
}
GROUPS = [  # input_kind, d, lengths, column of the error, uniform level, entropy ratio
    ("gauss:sigma=1", 64, (256, 512, 1024, 2048, 4096), 6, 0.813, 0.93),
    ("real:minilm", 32, (256, 512), 7, 0.71, 0.62),
]
GAUSS, REAL = GROUPS[0][0], GROUPS[1][0]
FAULTS = {
    ("full", GAUSS, 4096): ("skipped_mem", 'needs 64.3 MiB, the limit is "32 MiB"'),
    ("topk", GAUSS, 4096): ("timeout", "no answer in 30 s"),
    ("nystrom", GAUSS, 256): ("unsupported", "n = 256 < 4 m"),
    ("retention", REAL, 512): ("crash", "signal 11 (SIGSEGV)"),
    ("linformer", REAL, 256): ("unsupported", "E is for <n = 1024>"),
    ("linformer", REAL, 512): ("unsupported", "E is for <n = 1024>"),
}
MACHINE = {
    "schema_version": 1, "run_id": "20260101T000000Z-0001", "status": "complete",
    "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:02:30Z",
    "argv": ["attnbench", "run", "harness/sweeps/default.ini", "--out", "results/default"],
    "config": {"profile": "quick"}, "counts": {"planned": 98, "ok": 92},
    "build": {"compiler": "gcc 12.2.0", "flags": "-O2 -g", "git_dirty": False,
              "git_commit": "0123456789abcdef0123456789abcdef01234567"},
    "machine": {"cpu_model": "Example  CPU 9000 8-Core Processor", "governor": None,
                "kernel": "Linux 6.1.0-18-amd64", "memory_total_bytes": 16 * 2**30},
    "topology": {"cores": 8, "l2_bytes": 1048576, "effective_cpus": 8.0},
    "blas": {"config": "OpenBLAS 0.3.21 DYNAMIC_ARCH NO_AFFINITY Zen MAX_THREADS=64"},
    "sensors": {"steal": {"available": False, "reason": "no such file"}},
}


def write_run(path, variants=VARIANTS, groups=GROUPS, faults=(), rounds=9, noise=0.01, seed=7,
              raw=True, info=MACHINE):
    """Writes summary.csv, raw.csv and run.json; faults: {(variant, input, n): (status, message)}.

    Every round has a drift that its variants share, so pairing them by round
    removes it. Returns the summary as a table."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    faults, cells, lines = dict(faults), [], []
    for kind, d, lengths, error, uniform, entropy in groups:
        for n in lengths:
            drift = np.exp(rng.normal(0, 3 * noise, rounds))
            for position, (name, spec) in enumerate(variants.items()):
                key = _key(name, spec, kind, d, n)
                status, message = faults.get((name, kind, n), ("ok", ""))
                row = {**key, "status": status, "message": message,
                       "io_bytes": 4 * n * d * 4, "rss_resolution_bytes": 262144}
                if status == "ok":
                    each = (_growth(spec[2], spec[3], n) * d / 64 * drift
                            * np.exp(rng.normal(0, noise, rounds)))
                    row.update(_measured(spec, n, d, each, error, uniform, entropy, rng))
                    lines += _lines(key, position, each, rng) if raw else []
                cells.append(row)
    table = pd.DataFrame(cells).reindex(columns=SUMMARY)
    table.to_csv(path / "summary.csv", index=False, lineterminator="\n")
    if raw:
        pd.DataFrame(lines).reindex(columns=RAW).to_csv(path / "raw.csv", index=False,
                                                        lineterminator="\n")
    if info is not None:
        (path / "run.json").write_text(json.dumps(info, indent=2))
    return table


def keep_weights(path, table, n=32):
    """path/implied, as `attnbench run --keep-weights` leaves it, of the longest cells: exact variants are
    exact, others drop small weights, the last has no such matrix. Returns {variant: path}."""
    (path / "implied").mkdir()
    exact, paths = np.random.default_rng(0).dirichlet(np.ones(n), n), {}
    for k, (_, row) in enumerate(table[table["n_k"] == table["n_k"].max()].iloc[:-1].iterrows()):
        own = exact if row["family"] == "exact" else np.where(exact < 0.01 * k, 0, exact)
        paths[row["variant"]] = path / "implied" / f"{row['cell_id']}.npy"
        np.save(paths[row["variant"]], np.stack([exact, own]).astype("f4"))
    return paths


def _growth(at256, exponent, n):
    return at256 * (n / 256) ** exponent


def _key(name, spec, kind, d, n):
    key = {"schema_version": 1, "run_id": "20260101T000000Z-0001", "impl": "attnbench",
           "variant": name, "family": spec[0], "params": spec[1], "mode": "forward", "batch": 1, "lengths": "full",
           "heads": 4, "kv_heads": 4, "n_q": n, "n_k": n, "d_head": d, "d_value": d, "causal": 0, "scale": d**-0.5, "dtype": "f32",
           "threads": 1, "isa": "avx2", "cache": "warm", "input_kind": kind, "seed": 1}
    key["cell_id"] = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    return key


def _measured(spec, n, d, each, error, uniform, entropy, rng):
    interval = (quantile_test(each, p=0.5).confidence_interval(0.95) if len(each) >= 6
                else (np.nan, np.nan))
    tracked = round(_growth(spec[4], spec[5], n) * d / 64 / 64) * 64
    err = spec[error] * (1 + 0.03 * np.log2(n / 256)) if spec[0] != "exact" else spec[error]
    level = uniform * (1 + 0.02 * np.log2(n / 256))
    flops = (20 + 7 * len(spec[1])) * _growth(spec[2], spec[3], n) * d / 64
    return {
        "stop_reason": "ci_target", "rounds": len(each), "samples": 10 * len(each),
        "clean_share": 0.97, "flags": "cal_slow;ci_wide" if n == 512 else "", "calls": max(1, round(1e6 / np.median(each))),
        "time_median_ns": np.median(each), "time_ci95_lo_ns": interval[0],
        "time_ci95_hi_ns": interval[1], "time_min_ns": each.min(), "time_mean_ns": each.mean(),
        "ws_model_bytes": tracked, "ws_tracked_bytes": tracked,
        "rss_delta_bytes": int(tracked * 4 + rng.integers(0, 200000)),
        "err_impl_rel_fro": 2e-7, "err_impl_bound": 5e-6, "err_exact_rel_fro": err,
        "err_exact_nmse_u": (err / level) ** 2, "err_exact_max_abs": err, "err_rows": n,
        "err_exact_cos": 1 / (1 + err**2), "bytes_model": 16 * n * d, "flops_executed": flops,
        "intensity_flop_per_byte": flops / (16 * n * d),
        "entropy_ratio": entropy + 0.002 * np.log2(n / 256),
        "flops_useful": flops, "gflops_per_s": flops / np.median(each),
    }


def _lines(key, position, each, rng):
    out = []
    for r, ns in enumerate(each):
        for sample in range(3):
            out.append({**key, "pass": "time", "round": r, "position": position, "sample": sample,
                        "samples_in_round": 3, "status": "ok", "t_start_ns": 0, "calls": 4,
                        "wall_ns": round(4 * ns * (1 + (sample - 1) * 1e-4)), "disturbed": 0})
    return out
