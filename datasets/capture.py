#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Capture queries, keys and values of a trained transformer.

Runs a Hugging Face model that is on this disk over a text file, records what
enters the dot product of each attention head (after rotary embeddings, before
keys are repeated for grouped queries), chooses heads, and writes q.npy, k.npy,
v.npy and origin.json into a directory that `--data file:DIR` reads.

Before anything is written, softmax(q k^T / sqrt(d)) v is computed in double
precision from what was recorded and compared with the model's own output, head
by head. A model whose attention adds something else (a position bias, a soft
cap, a window) is refused.
"""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Largest relative difference between the model's output, in float32, and the
# same in double from the same q, k, v: rounding gives 1e-6, a missing bias 1e-2.
AGREEMENT = 1e-4


class CaptureError(Exception):
    """What is wrong, where, and what to do."""


@dataclass
class Layer:
    """One call of attention: q [B, H, n, d], k and v [B, H_kv, n, d], out [B, H, n, d_v]."""

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    out: np.ndarray
    causal: bool


def attention(q, k, v, causal):
    """Output [n, d_v] and entropy ratio a row of one head, in double.

    The ratio is H / ln(number of visible keys); a row that sees one key has none.
    """
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    logits = q @ k.T / np.sqrt(q.shape[1])
    visible = np.full(len(q), len(k))
    if causal:
        visible = np.arange(len(q)) + len(k) - len(q) + 1
        logits[np.arange(len(k)) >= visible[:, None]] = -np.inf
    logits -= logits.max(axis=1, keepdims=True)
    weights = np.exp(logits)
    total = weights.sum(axis=1, keepdims=True)
    weights /= total
    # H = -sum p ln p = ln(total) - sum p (s - max), where p = 0 counts for nothing
    spread = np.where(weights > 0, weights * np.where(weights > 0, logits, 0), 0).sum(axis=1)
    entropy = np.log(total[:, 0]) - spread
    several = visible > 1
    return weights @ v, entropy[several] / np.log(visible[several])


def rel_fro(x, exact):
    return float(np.linalg.norm(x.astype(np.float64) - exact) / np.linalg.norm(exact))


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def find_model(spec):
    """The directory of a model, and how to name it: a path, or package:NAME."""
    if not spec.startswith("package:"):
        path = Path(spec)
        if not (path / "config.json").is_file():
            raise CaptureError(f"{path} holds no config.json; give the directory of a model, or package:NAME")
        return path, {"path": path.name}
    name = spec.removeprefix("package:")
    found = importlib.util.find_spec(name)
    if not found or not found.submodule_search_locations:
        raise CaptureError(f"there is no Python package {name} here; install it in this environment")
    root = Path(next(iter(found.submodule_search_locations)))
    configs = [p for p in sorted(root.rglob("config.json")) if "model_type" in json.loads(p.read_text("utf-8"))]
    if len(configs) != 1:
        raise CaptureError(f"package {name} holds {len(configs)} models; give the directory of one: "
                           + ", ".join(str(p.parent) for p in configs))
    origin = {"path": f"{name}/{configs[0].parent.relative_to(root)}"}
    for distribution in importlib.metadata.packages_distributions().get(name, []):
        origin["package"] = distribution
        origin["package_version"] = importlib.metadata.version(distribution)
    return configs[0].parent, origin


def card_licence(path):
    """The licence that the model's own README states in its front matter."""
    readme = path / "README.md"
    lines = readme.read_text("utf-8").splitlines() if readme.is_file() else []
    if lines and lines[0] == "---":
        for line in lines[1:]:
            if line == "---":
                break
            if line.startswith("license:"):
                return line.removeprefix("license:").strip()
    return None


def windows_of(path, text, tokens, windows):
    """Token ids [windows, tokens]: consecutive pieces of the text, each with the
    special tokens that the model expects, and the characters that they cover."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    if not tokenizer.is_fast:
        raise CaptureError(f"{path} has no fast tokenizer (tokenizer.json); convert it with transformers")
    pieces = tokenizer(text, truncation=True, max_length=tokens, return_overflowing_tokens=True,
                       return_offsets_mapping=True)
    ids = pieces["input_ids"]
    whole = [i for i, piece in enumerate(ids) if len(piece) == tokens]
    if len(whole) < windows:
        have = sum(len(piece) for piece in ids)
        raise CaptureError(f"the text has {have} tokens, {windows} window(s) of {tokens} were asked; "
                           "give a longer text or a smaller --tokens")
    used = max(end for i in whole[:windows] for _, end in pieces["offset_mapping"][i])
    return [ids[i] for i in whole[:windows]], used


def run(path, ids):
    """Every attention call of the model over the windows, in the order of its layers."""
    import torch
    from transformers import AutoModel
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as registry
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(path, local_files_only=True, dtype=torch.float32,
                                          attn_implementation="eager").eval()
    except (OSError, ValueError) as error:
        raise CaptureError(f"transformers cannot load the model in {path}: {error}") from error
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit and len(ids[0]) > limit:
        raise CaptureError(f"the model takes {limit} tokens, --tokens {len(ids[0])} was asked; use --windows for more")
    layers = []
    original = registry["sdpa"]

    def observe(module, query, key, value, attention_mask, *args, scaling=None, **kwargs):
        out, weights = original(module, query, key, value, attention_mask, *args, scaling=scaling, **kwargs)
        # Fold a scale other than 1/sqrt(d) into q, so that 1/sqrt(d) is right for it.
        fold = 1.0 if scaling is None else scaling * query.shape[-1] ** 0.5
        fold = 1.0 if abs(fold - 1) < 1e-6 else fold
        layers.append(Layer(*(x.detach().numpy().copy() for x in (query * fold, key, value, out.transpose(1, 2))),
                            causal=bool(getattr(module, "is_causal", False))))
        return out, weights

    batch = {"input_ids": torch.tensor(ids), "attention_mask": torch.ones(len(ids), len(ids[0]), dtype=torch.long)}
    with torch.no_grad():
        plain = model(**batch).last_hidden_state  # as the model itself defines it
        registry["sdpa"] = observe
        try:
            model.set_attn_implementation("sdpa")
            observed = model(**batch).last_hidden_state
        except ValueError as error:
            raise CaptureError(f"transformers has no fused attention for this model ({model.config.model_type}): it is "
                               "not plain softmax attention (a soft cap, a sink)") from error
        finally:
            registry["sdpa"] = original
    if not layers:
        raise CaptureError(f"no attention was seen: this model ({model.config.model_type}) does not call it "
                           "through transformers' registry")
    if not (difference := rel_fro(observed.numpy(), plain.numpy())) < AGREEMENT:
        raise CaptureError(f"observed, the model's output is {difference:.1e} away from what it is otherwise: its "
                           "attention is not plain softmax attention (a soft cap, a sink), or it is random")
    return layers


def query_heads(layer, kv_head):
    """The query heads that share a key/value head."""
    size = layer.q.shape[1] // layer.k.shape[1]
    return range(kv_head * size, (kv_head + 1) * size)


def examine(layer, kv_head, layer_index, dtype):
    """Entropy and errors of the query heads of one key/value head; stored as dtype."""
    heads = {}
    for h, b in itertools.product(query_heads(layer, kv_head), range(len(layer.q))):
        exact, _ = attention(layer.q[b, h], layer.k[b, kv_head], layer.v[b, kv_head], layer.causal)
        agreement = rel_fro(layer.out[b, h], exact)
        if not agreement < AGREEMENT:
            raise CaptureError(f"layer {layer_index}, head {h}: softmax(q k^T / sqrt(d)) v is {agreement:.1e} away from "
                               "the model's own output; its attention adds what q, k and v do not hold")
        q, k, v = (x.astype(dtype) for x in (layer.q[b, h], layer.k[b, kv_head], layer.v[b, kv_head]))
        if not all(np.isfinite(x).all() for x in (q, k, v)):
            raise CaptureError(f"layer {layer_index}, head {h} does not fit in {np.dtype(dtype).name}; use --dtype f32")
        stored, ratios = attention(q, k, v, layer.causal)
        storage = max(rel_fro(x, y.astype(np.float64)) for x, y in
                      ((q, layer.q[b, h]), (k, layer.k[b, kv_head]), (v, layer.v[b, kv_head])))
        heads.setdefault(h, []).append((ratios, agreement, storage, rel_fro(stored, layer.out[b, h].astype(np.float64))))
    return [{
        "layer": layer_index, "head": h,
        "entropy_ratio": float(np.mean([m[0].mean() for m in seen])),
        "entropy_ratio_min": float(min(m[0].min() for m in seen)),
        "entropy_ratio_max": float(max(m[0].max() for m in seen)),
        "model_output_rel_fro": max(m[1] for m in seen),
        "storage_rel_fro": max(m[2] for m in seen),
        "stored_output_rel_fro": max(m[3] for m in seen),
    } for h, seen in heads.items()]


def spread(n):
    """0 .. n-1 in an order of which every beginning covers the range: the
    middle, then again and again the one farthest from all before it."""
    order = [n // 2] if n else []
    while len(order) < n:
        order.append(max((i for i in range(n) if i not in order), key=lambda i: min(abs(i - j) for j in order)))
    return order


def choose(entropies, count):
    """Keys of `count` entries at even ranks from the least to the greatest."""
    ranked = sorted(entropies, key=lambda key: (entropies[key], key))
    if count > len(ranked):
        raise CaptureError(f"{count} heads were asked, {len(ranked)} are there; use --select entropy={len(ranked)}")
    last = len(ranked) - 1
    even = [ranked[round(i * last / (count - 1))] for i in range(count)] if count > 1 else [ranked[last // 2]]
    return [even[i] for i in spread(count)]


def parse_indices(text, limit, what):
    """'0,2-4' as [0, 2, 3, 4], or 'all'."""
    if text == "all":
        return list(range(limit))
    indices = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise CaptureError(f"--{what} '{text}' is not a list such as 0,2-4")
        indices += range(int(first), int(last or first) + 1)
    for i in indices:
        if i >= limit:
            raise CaptureError(f"there is no {what[:-1]} {i}; the model has 0 to {limit - 1}")
    return list(dict.fromkeys(indices))


def select(layers, args, dtype):
    """The chosen (layer, key/value head) pairs in order, and what is known of their heads."""
    known = {}
    for i in parse_indices(args.layers, len(layers), "layers"):
        for h in parse_indices(args.heads, layers[i].k.shape[1], "heads"):
            known[i, h] = examine(layers[i], h, i, dtype)
    order = list(known)
    if args.select != "all":
        how, _, count = args.select.partition("=")
        if how != "entropy" or not count.isdecimal() or int(count) < 1:
            raise CaptureError(f"--select '{args.select}' is neither all nor entropy=COUNT")
        order = choose({key: np.mean([h["entropy_ratio"] for h in heads]) for key, heads in known.items()}, int(count))
    if len({(layers[i].q.shape[1] // layers[i].k.shape[1], layers[i].causal) for i, _ in order}) != 1:
        raise CaptureError("the chosen layers differ in causality or in query heads a key head; choose with --layers")
    return order, known


def arrays(layers, order, dtype):
    """q, k, v over the chosen heads: [H, n, d], or [B, H, n, d] for several windows."""
    def stack(pick):
        x = np.concatenate([pick(layers[i], h) for i, h in order], axis=1).astype(dtype)
        return np.ascontiguousarray(x[0] if len(x) == 1 else x)

    return {"q": stack(lambda layer, h: layer.q[:, query_heads(layer, h)]), "k": stack(lambda layer, h: layer.k[:, h:h + 1]),
            "v": stack(lambda layer, h: layer.v[:, h:h + 1])}


def describe(args, path, origin, used, layers, order, known, tensors, argv):
    """origin.json: where the tensors come from and what they are like."""
    first = layers[order[0][0]]
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "tokenizers", "numpy")}
    weights = sorted(p for pattern in ("*.safetensors", "pytorch_model*.bin") for p in path.glob(pattern))
    heads = [head for key in order for head in known[key]]
    return {
        "about": "queries, keys and values of a trained transformer, as they enter the dot product",
        "command": "python3 datasets/capture.py " + shlex.join(argv),
        "made_with": {"python": platform.python_version(), "machine": platform.machine(), **versions},
        "model": {"name": args.model_name, **origin,
                  "type": json.loads((path / "config.json").read_text("utf-8"))["model_type"],
                  "licence": args.model_licence or card_licence(path),
                  "sha256": {p.name: sha256(p) for p in weights}},
        "text": {"file": "text.txt", "source": args.text_source, "licence": args.text_licence,
                 "characters_used": used, "sha256": sha256(args.out / "text.txt")},
        "windows": args.windows, "tokens": args.tokens, "causal": first.causal, "scale": "1/sqrt(d)",
        "arrays": {f"{name}.npy": {"dtype": x.dtype.str, "shape": list(x.shape), "sha256": sha256(args.out / f"{name}.npy")}
                   for name, x in tensors.items()},
        "order": "head i of an array is items[i]; entropy_ratio is the mean over queries of H / ln(visible keys) of "
                 "softmax(q k^T / sqrt(d)), from the arrays as stored. model_output_rel_fro: the model's own output "
                 "against the same in double from q, k, v before rounding; storage_rel_fro: rounding of q, k, v to "
                 "the stored type; stored_output_rel_fro: output from the stored arrays against the model's own.",
        "items": [{"item": i, **head} for i, head in enumerate(heads)],
    }


def parse_args(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="directory of the model, or package:NAME of an installed Python package that holds one")
    parser.add_argument("--text", required=True, type=Path, help="UTF-8 text file")
    parser.add_argument("--out", required=True, type=Path, help="directory to write")
    parser.add_argument("--tokens", type=int, default=512, help="tokens a window, special tokens included (512)")
    parser.add_argument("--windows", type=int, default=1, help="consecutive windows of the text: the batch (1)")
    parser.add_argument("--layers", default="all", help="for example 0,2-4 (all)")
    parser.add_argument("--heads", default="all", help="key/value heads, each with all its query heads (all)")
    parser.add_argument("--select", default="entropy=8", help="entropy=COUNT: heads at even ranks of mean entropy, the middle one first; or all (entropy=8)")
    parser.add_argument("--dtype", choices=("f16", "f32"), default="f16", help="as stored (f16)")
    parser.add_argument("--model-name", help="for origin.json")
    parser.add_argument("--model-licence", help="for origin.json (what the model's README states)")
    parser.add_argument("--text-source", help="for origin.json")
    parser.add_argument("--text-licence", help="for origin.json")
    args = parser.parse_args(argv)
    if args.tokens < 2 or args.windows < 1:
        parser.error("--tokens must be at least 2 and --windows at least 1")
    return args


def capture(argv):
    args = parse_args(argv)
    dtype = {"f16": "<f2", "f32": "<f4"}[args.dtype]
    try:
        text = args.text.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CaptureError(f"cannot read {args.text} as UTF-8: {error}") from error
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is fetched
    path, origin = find_model(args.model)
    ids, used = windows_of(path, text, args.tokens, args.windows)
    layers = run(path, ids)
    order, known = select(layers, args, dtype)
    tensors = arrays(layers, order, dtype)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "text.txt").write_text(text, "utf-8")
    for name, x in tensors.items():
        np.save(args.out / f"{name}.npy", x)
    about = describe(args, path, origin, used, layers, order, known, tensors, argv)
    (args.out / "origin.json").write_text(json.dumps(about, indent="\t", ensure_ascii=False) + "\n", "utf-8")
    for item in about["items"]:
        print(f"item {item['item']:3}  layer {item['layer']:2}  head {item['head']:2}  H/ln n {item['entropy_ratio']:.3f}"
              f"  model {item['model_output_rel_fro']:.1e}  stored {item['stored_output_rel_fro']:.1e}")


def main():
    try:
        capture(sys.argv[1:])
    except CaptureError as error:
        print(f"capture.py: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"capture.py: {error.name} is not installed here; make the environment of datasets/README.md", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
