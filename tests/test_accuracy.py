# SPDX-License-Identifier: BSD-3-Clause
"""Errors, implied weights and tasks from outside: what the rows say, against
numpy and against what must hold."""

import csv
import json
import math
import os
import pathlib
import struct
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("ATTNBENCH", str(ROOT / "attnbench"))

pytestmark = pytest.mark.skipif(not os.access(PROGRAM, os.X_OK), reason="build attnbench first")


def call(*args, code=0):
    done = subprocess.run([PROGRAM, *map(str, args)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr + done.stdout
    return done


def errors(out, *args, code=0):
    """Rows of summary.csv of a run of errors alone."""
    call("run", "--accuracy-only", "--quiet", "--out", out, *args, code=code)
    with open(out / "summary.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def number(row, name):
    return float(row[name]) if row[name] else math.nan


def save(path, **tensors):
    """A .safetensors file, by the definition of the format."""
    header, data = {}, b""
    for name, x in tensors.items():
        kind = {"f4": "F32", "f2": "F16", "f8": "F64"}[x.dtype.str[1:]]
        header[name] = {"dtype": kind, "shape": list(x.shape), "data_offsets": [len(data), len(data) + x.nbytes]}
        data += x.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def softmax(q, k, causal=False):
    logits = q.astype(float) @ k.astype(float).T / math.sqrt(q.shape[1])
    if causal:
        logits[np.triu_indices(len(q), 1)] = -np.inf
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def tensors(tmp_path_factory):
    """Two heads of tensors of our own, in a file."""
    rng = np.random.default_rng(5)
    q, k, v = (rng.normal(size=(2, 48, 16)).astype(np.float32) for _ in range(3))
    path = tmp_path_factory.mktemp("tensors") / "own.safetensors"
    save(path, q=q, k=k, v=v)
    return path, q, k, v


@pytest.mark.parametrize("causal", [False, True])
def test_every_metric_against_numpy(tensors, tmp_path, causal):
    path, q, k, v = tensors
    rows = errors(tmp_path / "run", "--variant", "flash,sliding-window:left=5:right=5,linear-elu,uniform", "--n", 48,
                  "--d", 16, "--heads", 2, "--causal", int(causal), "--data", f"file:{path}")
    visible = np.tril(np.ones((48, 48))) if causal else np.ones((48, 48))
    band = visible * (abs(np.subtract.outer(np.arange(48), np.arange(48))) <= 5)
    exact = [softmax(q[h], k[h], causal) for h in range(2)]

    def weights(name, h):
        if name == "flash":
            return exact[h]
        if name == "sliding-window":
            a = exact[h] * band
        elif name == "uniform":
            a = visible
        else:
            phi = lambda x: np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))
            a = phi(q[h].astype(float)) @ phi(k[h].astype(float)).T * visible
        return a / a.sum(1, keepdims=True)

    assert {r["variant"] for r in rows} == {"flash", "sliding-window", "linear-elu", "uniform"}
    for row in rows:
        a = [weights(row["variant"], h) for h in range(2)]
        x = np.array([a[h] @ v[h] for h in range(2)])
        y = np.array([exact[h] @ v[h] for h in range(2)])
        u = np.array([visible / visible.sum(1, keepdims=True) @ v[h] for h in range(2)])
        length = np.linalg.norm
        lines = (length(x - y, axis=2) / length(y, axis=2)).ravel()
        p, a = np.array(exact), np.array(a)
        several = np.ones(48, bool) if not causal else np.arange(48) > 0
        entropy = -np.sum(p * np.log(np.where(p > 0, p, 1)), 2)[:, several]
        keys = visible.sum(1)[several]
        wanted = {
            "err_exact_rel_fro": length(x - y) / length(y), "err_exact_max_abs": abs(x - y).max(),
            "err_exact_max_rel_row": lines.max(), "err_exact_med_rel_row": np.median(lines),
            "err_exact_cos": np.mean(np.sum(x * y, 2) / length(x, axis=2) / length(y, axis=2)),
            "err_exact_nmse_u": length(x - y) ** 2 / length(u - y) ** 2, "err_uniform_rel_fro": length(u - y) / length(y),
            "entropy_ratio": np.mean(entropy / np.log(keys)), "n_eff": np.mean(np.exp(entropy)),
            "weights_tv": abs(p - a).sum(2).mean() / 2, "weights_dropped": np.sum(p * (a == 0), 2).mean(),
            "weights_kl_rev": np.mean(np.sum(a * np.log(np.where(a > 0, a, 1) / np.where(a > 0, p, 1)), 2)),
        }
        if row["variant"] != "sliding-window":
            wanted["weights_kl"] = np.mean(np.sum(p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, a, 1)), 2))
        else:
            assert row["weights_kl"] == "" and number(row, "weights_dropped") > 0.1
            kept = 1 - np.sum(p * (a == 0), 2)
            assert number(row, "weights_kl_rev") == pytest.approx(np.mean(-np.log(kept)), rel=1e-4)
        for name, value in wanted.items():
            assert number(row, name) == pytest.approx(value, rel=2e-4, abs=2e-6), (row["variant"], name)
        assert int(row["err_rows"]) == 48 and int(row["weights_rows"]) == 96
        assert int(row["err_cos_left_out"]) == 0 and number(row, "err_sampling") == 0
        assert row["task_accuracy"] == row["task_chance"] == row["task_answers"] == ""


@pytest.mark.parametrize("causal", [False, True])
def test_weights_that_are_kept(tensors, tmp_path, causal):
    """The matrices of the first head, for every cell that has them and is short enough; once."""
    path, q, k, _ = tensors
    out = tmp_path / "run"
    args = ["--variant", "flash,sliding-window:left=5:right=5,linear-elu,aft-simple", "--n", "24,48", "--d", 16,
            "--seconds", "2ms", "--heads", 2, "--causal", int(causal), "--data", f"file:{path}", "--keep-weights", 47]
    rows = errors(out, *args)
    short = {r["cell_id"]: r["variant"] for r in rows if r["n_k"] == "24" and r["variant"] != "aft-simple"}
    files = {f.stem: f for f in (out / "implied").iterdir()}
    assert len(short) == 3 and files.keys() == short.keys()
    wanted = softmax(q[0, :24], k[0, :24], causal)
    for cell, variant in short.items():
        exact, own = np.load(files[cell], allow_pickle=False)
        assert exact.dtype == np.float32 and exact == pytest.approx(wanted, abs=1e-6)
        assert own.sum(1) == pytest.approx(np.ones(24), abs=1e-5)
        assert not causal or not np.triu(own, 1).any()
        assert (abs(own - exact).max() < 1e-6) == (variant == "flash")
        assert variant != "sliding-window" or (own[0, 6:] == 0).all() and own[0, :6].any()
    before = {c: f.stat().st_mtime_ns for c, f in files.items()}
    errors(out, *args)
    assert {c: f.stat().st_mtime_ns for c, f in files.items()} == before
    errors(out, *args[:-2], "--fresh")
    assert not list((out / "implied").iterdir())


def test_what_has_no_weights_has_no_numbers_for_them(tmp_path):
    rows = errors(tmp_path / "run", "--variant", "fnet,aft-simple,flash", "--n", "64,1100", "--d", 16)
    for row in rows:
        none = row["variant"] != "flash" or row["n_k"] == "1100"
        for name in ("weights_rows", "weights_tv", "weights_kl", "weights_kl_rev", "weights_dropped"):
            assert (row[name] == "") == none, (row["variant"], row["n_k"], name)


def test_long_sequences_are_sampled(tmp_path):
    (row,) = errors(tmp_path / "run", "--variant", "sliding-window:left=64:right=64", "--n", 16400, "--d", 8)
    assert int(row["err_rows"]) == 512
    assert 0 < number(row, "err_sampling") < 0.1 * number(row, "err_exact_rel_fro")


@pytest.mark.parametrize("task", ["mqar:gap=100", "induction:distance=200:span=50", "haystack:depth=0.1", "majority"])
def test_exact_attention_solves_tasks_and_a_short_window_guesses(tmp_path, task):
    variants = "full,flash,chunked,topk:k=16,sliding-window:left=8:right=0,null"
    rows = errors(tmp_path / "run", "--variant", variants, "--n", 300, "--heads", 16, "--causal", 1, "--data", task)
    answers = {"mqar": 64, "induction": 50, "haystack": 16, "majority": 16}[task.split(":")[0]] * 16
    for row in rows:
        assert row["status"] == "ok"
        assert int(row["task_answers"]) == answers and number(row, "task_chance") == 1 / 16
        if row["variant"] in ("sliding-window", "null"):
            assert abs(number(row, "task_accuracy") - 1 / 16) < 6 * math.sqrt(15 / 256 / answers)
        else:
            assert number(row, "task_accuracy") == 1, row["variant"]


def test_states_that_are_too_small_forget(tmp_path):
    rows = errors(tmp_path / "run", "--variant", "linear-elu,taylor2,deltanet,retention,performer:m=1024", "--n", 640,
                  "--heads", 4, "--causal", 1, "--data", "mqar:pairs=8|64|512")
    for name in ("linear-elu", "deltanet", "retention", "performer"):
        falls = [number(r, "task_accuracy") for r in rows if r["variant"] == name]
        assert falls == sorted(falls, reverse=True) and falls[0] > 0.6 and falls[-1] < 0.5, (name, falls)
    assert all(number(r, "task_accuracy") == 1 for r in rows if r["variant"] == "taylor2")  # 2145 features


def test_seeds_are_gathered(tmp_path):
    rows = errors(tmp_path / "run", "--variant", "performer,uniform", "--n", "32,64", "--d", 16, "--seed", "1..10:+1")
    assert len(rows) == 40
    table = list(csv.DictReader(call("show", "--by-seed", "--format", "csv", tmp_path / "run").stdout.splitlines()))
    assert len(table) == 4
    for line in table:
        values = sorted(number(r, "err_exact_rel_fro") for r in rows if r["variant"] == line["variant"] and r["n_k"] == line["n"])
        assert line["seeds"] == "10"
        assert float(line["err_exact_rel_fro_median"]) == pytest.approx((values[4] + values[5]) / 2, rel=1e-12)
        # 2nd to 9th of ten: 97.9 %
        assert (float(line["err_exact_rel_fro_ci95_lo"]), float(line["err_exact_rel_fro_ci95_hi"])) == (values[1], values[8])
    text = call("show", "--by-seed", tmp_path / "run").stdout
    assert "seeds" in text and "[" in text and "order statistics" in text
    few = errors(tmp_path / "few", "--variant", "uniform", "--n", 32, "--d", 16, "--seed", "1,2,3")
    assert len(few) == 3 and "no interval below 6 seeds" in call("show", "--by-seed", tmp_path / "few").stdout


# Relative errors of independent definitions in double, by numpy, one draw of n = 512, d = 64.
DRAWN = {
    "uniform": (0.813, 0.996), "sliding-window": (2.62, 1.49), "block-local": (2.59, 1.48), "sparse-strided": (2.57, 1.48),
    "longformer": (2.52, 1.46), "bigbird": (0.970, 0.843), "topk": (2.03, 0.120), "linear-elu": (0.790, 0.993),
    "efficient": (0.764, 0.990), "taylor1": (0.758, 0.992), "taylor2": (0.399, 0.932), "cosformer": (0.757, 0.990),
    "performer eps=0": (3.05, 1.62), "performer eps=0.0001": (0.808, 0.996), "rfa": (0.755, 0.992), "hedgehog": (0.805, 0.994),
    "linformer proj=avg": (0.785, 0.990), "linformer proj=gauss": (21.7, 5.8), "nystrom iters=6": (0.733, 1.02),
    "scatterbrain": (2.86, 1.48),
}


@pytest.fixture(scope="module")
def table():
    """The accuracy table that ships: {(variant, params, input): row}."""
    with open(ROOT / "results" / "sample" / "accuracy.csv", newline="", encoding="utf-8") as file:
        return {(r["variant"], r["params"], r["input"]): r for r in csv.DictReader(file, strict=True)}


def test_the_shipped_table_is_near_independent_numbers(table):
    for name, numbers in DRAWN.items():
        variant, *setting = name.split()
        for data, value in zip(("gauss:sigma=1", "gauss:sigma=3"), numbers, strict=True):
            (row,) = (r for (v, params, kind), r in table.items()
                      if v == variant and kind == data and set(setting) <= set(params.split(":")))
            assert row["seeds"] == "10"
            assert float(row["err_exact_rel_fro_median"]) == pytest.approx(value, rel=0.1), (name, data)


def test_the_shipped_table_is_made_by_its_command(table, tmp_path):
    call("run", "--accuracy-only", "--quiet", "--out", tmp_path / "run", "--n", 512, "--d", 64, "--seed", "1..10:+1", "--data",
         "gauss:sigma=1,local", "--variant", "uniform,sliding-window:left=32:right=32,performer:m=256,linformer:k=64")
    made = list(csv.DictReader(call("show", "--by-seed", "--format", "csv", tmp_path / "run").stdout.splitlines()))
    assert len(made) == 8
    for row in made:
        shipped = table[row["variant"], row["params"], row["input"]]
        for column in shipped:
            if column.startswith("err_exact_rel_fro") or column.startswith("entropy_ratio"):
                assert float(row[column]) == pytest.approx(float(shipped[column]), rel=1e-3), (row["variant"], row["input"], column)


def test_half_precision_halves_what_is_read_and_written(tmp_path):
    rows = errors(tmp_path / "run", "--variant", "flash,linear-elu", "--n", 64, "--d", 16, "--heads", 2, "--dtype", "f32,bf16,f16")
    size = {(r["variant"], r["dtype"]): int(r["io_bytes"]) for r in rows}
    for variant in ("flash", "linear-elu"):
        assert size[variant, "f32"] == 4 * 64 * 16 * 2 * 4
        assert size[variant, "bf16"] == size[variant, "f16"] == size[variant, "f32"] // 2
    for row in rows:
        assert number(row, "err_exact_rel_fro") < {"f32": 5e-6, "bf16": 1.5e-2, "f16": 2e-3}[row["dtype"]] or row["variant"] != "flash"


@pytest.mark.parametrize("sigma", [1, 4])
def test_half_precision_is_near_exact_attention(tmp_path, sigma):
    rows = errors(tmp_path / "run", "--variant", "flash", "--n", 512, "--d", "64,128", "--dtype", "bf16,f16", "--data",
                  f"gauss:sigma={sigma}")
    for row in rows:
        assert number(row, "err_exact_rel_fro") <= {"bf16": 1.5e-2, "f16": 2e-3}[row["dtype"]], row["d_head"]


def test_tables_show_what_not_attending_scores(tmp_path):
    rows = errors(tmp_path / "run", "--variant", "flash,lsh", "--n", "32,64", "--d", 16)
    shown = call("show", tmp_path / "run").stdout
    lines = [line.split() for line in shown.splitlines()]
    assert [line[:2] for line in lines].count(["(uniform", "average)"]) == 2
    assert [line[0] for line in lines if line].count("(zeros)") == 2
    assert "time a call" not in shown and "H/ln n" in shown and "task" not in shown.split("\n")[0]
    for n in ("32", "64"):
        error = next(number(r, "err_uniform_rel_fro") for r in rows if r["n_k"] == n and r["variant"] == "flash")
        assert ["(uniform", "average)", n, f"{error:.1e}"] in [line[:4] for line in lines]


def test_errors_alone_are_resumed_and_kept_apart_from_times(tmp_path):
    args = ["--variant", "flash", "--n", 32, "--d", 16, "--quiet", "--out", tmp_path / "run"]
    errors(tmp_path / "run", "--variant", "flash", "--n", 32, "--d", 16)
    before = (tmp_path / "run" / "raw.csv").read_bytes()
    call("run", "--accuracy-only", *args)
    assert (tmp_path / "run" / "raw.csv").read_bytes() == before
    assert "flash" in call("plan", "--accuracy-only", "--variant", "flash", "--n", 32).stdout
    done = call("run", *args, code=3)
    assert "plan" in done.stderr


def test_damaged_tensors_end_in_a_sentence(tensors, tmp_path):
    path, q, k, v = tensors
    whole = path.read_bytes()
    bad = tmp_path / "bad.safetensors"
    length = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8:8 + length])

    def variant(change):
        copy = json.loads(json.dumps(header))
        change(copy)
        text = json.dumps(copy).encode()
        return struct.pack("<Q", len(text)) + text + whole[8 + length:]

    wrong = {
        "it is cut short": whole[:-1],
        "is longer than its header says": whole + b"\0",
        "is I32; F32, F16, BF16 and F64 are read": variant(lambda h: h["q"].update(dtype="I32")),
        "where another one is": variant(lambda h: h["k"].update(data_offsets=h["q"]["data_offsets"])),
        "bytes in the file": variant(lambda h: h["q"].update(shape=[2, 48, 17])),
        "the header is said to have": struct.pack("<Q", 1 << 60) + whole[8:],
        "no tensors named q, k and v": variant(lambda h: h.update(w=h.pop("v"))),
    }
    for says, data in wrong.items():
        bad.write_bytes(data)
        done = call("run", "--variant", "flash", "--n", 48, "--d", 16, "--data", f"file:{bad}", "--out", tmp_path / "out", code=2)
        assert says in done.stderr and str(bad) in done.stderr and "Traceback" not in done.stderr
    row = errors(tmp_path / "long", "--variant", "flash", "--n", 64, "--d", 16, "--data", f"file:{path}")[0]
    assert row["status"] == "unsupported" and "holds 48 tokens a head, n = 64 was asked" in row["message"]


@pytest.fixture(scope="module")
def sqrt_d():
    """{(table, n, d, logits, factor): {quantity: value}} of the experiment."""
    out = {}
    for r in csv.DictReader(call("experiment", "sqrt-d", "--format", "csv").stdout.splitlines()):
        key = (r["table"], *(int(r[k]) if r[k] else 0 for k in ("n", "d")), r["logits"], float(r["factor"] or 0))
        out.setdefault(key, {})[r["quantity"]] = float(r["value"])
    return out


def test_variance_of_a_product(sqrt_d):
    for d in (4, 16, 64, 256, 1024):
        row = sqrt_d["variance", 0, d, "raw", 0]
        assert abs(row["variance / d"] - 1) < 3 * row["standard error"]
        assert abs(row["mean / sqrt(d)"]) < 3 / math.sqrt(8192)
        assert row["6 / d"] == 6 / d and abs(row["kurtosis"] - 6 / d) < 0.4


def test_saturation_without_the_factor(sqrt_d):
    """Against the mean over many draws by numpy, whose standard errors are below half a percent."""
    wanted = {4: (0.109, 0.745, 271, 0.960), 16: (0.407, 0.363, 19.9, 0.741), 64: (0.705, 0.1327, 3.12, 0.404),
              256: (0.855, 0.056, 1.630, 0.204)}
    for d, numbers in wanted.items():
        row = sqrt_d["saturation", 1024, d, "raw", 0]
        for name, value in zip(("max p", "H / ln n", "n_eff", "gradient"), numbers, strict=True):
            assert row[name] == pytest.approx(value, rel=0.06 if d == 256 else 0.03), (d, name)
        assert row["std"] == pytest.approx(math.sqrt(d), rel=0.01)
    for d in (4, 16, 64, 256, 1024):
        scaled, over = sqrt_d["saturation", 1024, d, "/sqrt(d)", 0], sqrt_d["saturation", 1024, d, "/d", 0]
        assert scaled["H / ln n"] == pytest.approx(0.928, abs=0.002)  # whatever d is
        assert scaled["gradient"] == pytest.approx(1 / math.sqrt(d), rel=0.01)
        assert over["H / ln n"] > 0.98 and over["gradient"] == pytest.approx(1 / d, rel=0.01)


def test_gradient_and_best_factor(sqrt_d):
    at = {key[4]: row for key, row in sqrt_d.items() if key[0] == "gradient"}
    for a, mean in {2: 1.94, 3: 2.58, 5: 2.98, 7: 3.05, 10: 3.08}.items():
        assert at[a]["mean"] == pytest.approx(mean, rel=0.03)
    assert at[0.01]["mean"] < 0.011 and at[1000]["median"] == 0  # uniform, one key
    assert max(at, key=lambda a: at[a]["median"]) in (5, 6, 7)
    for n, best in {128: 1.71, 512: 2.01, 1024: 2.15, 4096: 2.41, 16384: 2.65}.items():
        row = sqrt_d["best", n, 0, "", 0]
        assert row["formula"] == pytest.approx(best, abs=0.006)
        assert row["formula"] == pytest.approx(row["0.84 sqrt(ln n)"], rel=0.09)
        assert row["median"] > 2 * row["formula"]


def test_entropy_against_length(sqrt_d):
    lengths = (128, 512, 1024, 4096, 16384)
    for logits, numbers in {"/sqrt(d)": (0.899, 0.921, 0.928, 0.940, 0.949), "2/sqrt(d)": (0.660, 0.710, 0.725, 0.762, 0.795)}.items():
        for n, value in zip(lengths, numbers, strict=True):
            assert sqrt_d["length", n, 64, logits, 0]["H / ln n"] == pytest.approx(value, rel=0.03)
    # At a factor that grows with ln n the largest weight falls less.
    fall = [sqrt_d["length", n, 64, "2 ln n/ln 512", 0]["max p"] for n in (1024, 4096, 16384)]
    assert max(fall) / min(fall) < 1.15


def test_other_ways_to_the_same_logits(sqrt_d):
    rows = {key[3]: row for key, row in sqrt_d.items() if key[0] == "equivalent"}
    assert rows["/sqrt(d)"]["difference"] == 0
    assert rows["smaller W"]["difference"] < 1e-6 and rows["unit, each"]["difference"] < 1e-14
    assert rows["unit"]["H / ln n"] == pytest.approx(rows["/sqrt(d)"]["H / ln n"], rel=0.01)


# --- sequences of different lengths --------------------------------------------

@pytest.mark.parametrize("causal", [0, 1])
def test_each_sequence_is_compared_on_its_own_tokens(tmp_path, causal):
    rng = np.random.default_rng(8)
    q, v = (rng.normal(size=(2, 4, 60, 16)).astype(np.float32) for _ in range(2))
    k = rng.normal(size=(2, 2, 60, 16)).astype(np.float32)
    save(tmp_path / "two.safetensors", q=q, k=k, v=v[:, :2])
    rows = errors(tmp_path / "run", "--variant", "flash,uniform", "--lengths", "padded,packed", "--batch", 2, "--heads", 4,
                  "--kv-heads", 2, "--n", 60, "--d", 16, "--causal", causal, "--data", f"file:{tmp_path / 'two.safetensors'}")
    assert [r["lengths"] for r in rows] == ["padded", "padded", "packed", "packed"]
    short = int(rows[0]["tokens"]) - 60
    assert 15 <= short < 60
    exact, mean, entropy, keys = [], [], [], []
    for b, n in enumerate((60, short)):
        visible = np.tril(np.ones((n, n))) if causal else np.ones((n, n))
        for h in range(4):
            p = softmax(q[b, h, :n], k[b, h // 2, :n], causal)
            exact.append(p @ v[b, h // 2, :n])
            mean.append(visible / visible.sum(1, keepdims=True) @ v[b, h // 2, :n])
            entropy.append(-np.sum(p * np.log(np.where(p > 0, p, 1)), 1)[causal:])
            keys.append(visible.sum(1)[causal:])
    exact, mean, entropy, keys = map(np.concatenate, (exact, mean, entropy, keys))
    length = np.linalg.norm
    for row in rows:
        assert row["status"] == "ok" and int(row["tokens"]) == 60 + short and int(row["err_rows"]) == 60
        assert math.isclose(number(row, "entropy_ratio"), np.mean(entropy / np.log(keys)), rel_tol=1e-9)
        assert math.isclose(number(row, "n_eff"), np.mean(np.exp(entropy)), rel_tol=1e-9)
        assert math.isclose(number(row, "err_uniform_rel_fro"), length(mean - exact) / length(exact), rel_tol=1e-9)
        assert number(row, "err_impl_rel_fro") < number(row, "err_impl_bound")
        # Two elements, q and out, a token and query head, as many of k and v for half the heads; padded, for 60 tokens.
        assert int(row["io_bytes"]) == (4 + 2) * 2 * 16 * 4 * (60 + (60 if row["lengths"] == "padded" else short))
        if row["variant"] == "flash":
            pairs = sum(n * (n + 1) // 2 if causal else n * n for n in (60, short)) * 4
            assert number(row, "pairs_executed") == pairs and number(row, "flops_useful") == pairs * 2 * 32
            assert number(row, "err_exact_rel_fro") < 1e-6
        else:
            lines = length(mean - exact, axis=1) / length(exact, axis=1)
            assert math.isclose(number(row, "err_exact_rel_fro"), length(mean - exact) / length(exact), rel_tol=1e-6)
            assert math.isclose(number(row, "err_exact_med_rel_row"), np.median(lines), rel_tol=1e-5)
            assert math.isclose(number(row, "err_exact_nmse_u"), 1, rel_tol=1e-5)


def test_tasks_of_several_lengths(tmp_path):
    rows = errors(tmp_path / "run", "--variant", "full,uniform", "--lengths", "full,packed", "--batch", 4, "--n", "40,128",
                  "--d", 64, "--causal", 1, "--data", "haystack")
    assert len(rows) == 8
    for row in rows:
        if (row["lengths"], row["n_q"]) == ("packed", "40"):
            assert row["status"] == "unsupported"
            assert row["message"].startswith("sequence 1, of 16 tokens: haystack") and "n >= 32" in row["message"]
        else:
            assert row["status"] == "ok" and row["task_answers"] == str(4 * 16) and row["task_chance"] == "0.0625"
            assert (row["task_accuracy"] == "1") == (row["variant"] == "full")
