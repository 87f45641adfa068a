# SPDX-License-Identifier: BSD-3-Clause
"""plots/peers.py: other programs relative to flash and to our variant of the same definition."""
import csv
import re

import pytest

import synthetic
from synthetic import GAUSS

from plots import data, peers

# Truth: sdpa takes 2.0 of flash, mha 0.9, eager 4; the window 3 of ours, linear-elu 0.5 of ours.
VARIANTS = {
    "flash": ("exact", "block=0", 1e6, 2.0, 3.7e4, 0.0, 2.4e-7, 2.9e-7),
    "full": ("exact", "", 1.5e6, 2.0, 2.7e5, 2.0, 2.1e-7, 2.6e-7),
    "torch/sdpa": ("exact", "", 2e6, 2.0, 2.7e5, 2.0, 2.1e-7, 2.6e-7),
    "torch/eager": ("exact", "", 4e6, 2.0, 2.7e5, 2.0, 2.1e-7, 2.6e-7),
    "ort/mha": ("exact", "", 0.9e6, 2.0, 2.7e5, 2.0, 2.1e-7, 2.6e-7),
    "sliding-window": ("sparse", "left=32:right=32", 8e5, 1.0, 2.4e4, 0.0, 2.62, 0.57),
    "torch/window": ("sparse", "left=32:right=32", 24e5, 1.0, 2.4e4, 0.0, 2.62, 0.57),
    "linear-elu": ("linear", "", 2e5, 1.0, 1.7e4, 0.0, 0.79, 0.83),
    "ort/linear": ("linear", "", 1e5, 1.0, 1.7e4, 0.0, 0.79, 0.83),
    "ort/other": ("linear", "", 1e5, 1.0, 1.7e4, 0.0, 0.79, 0.83),
}
ENGINES = {
    "torch/sdpa": {"impl": "torch 2", "definition": "flash", "same": True},
    "torch/eager": {"impl": "torch 2", "definition": "full", "same": True},
    "torch/window": {"impl": "torch 2", "definition": "sliding-window", "same": True},
    "ort/mha": {"impl": "ort 1", "definition": "flash", "same": True},
    "ort/linear": {"impl": "ort 1", "definition": "linear-elu:eps=0.000001", "same": True},
    "ort/other": {"impl": "ort 1", "definition": "efficient", "same": False},
}
GROUPS = [(GAUSS, 64, (256, 512, 1024), 6, 0.813, 0.93), (GAUSS, 128, (256, 512, 1024), 6, 0.813, 0.93)]
FAULTS = {("torch/eager", GAUSS, 1024): ("oom", "no memory for run: too much"),
          ("ort/mha", GAUSS, 256): ("timeout", "no result after 30 s")}


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory):
    path = tmp_path_factory.mktemp("peers")
    synthetic.write_run(path, VARIANTS, GROUPS, FAULTS, rounds=9, noise=0.002,
                        info={**synthetic.MACHINE, "engines": ENGINES})
    run = data.load(path)
    paths, words = peers.write(run, path)
    return path, run, paths, words


def test_ratios(made):
    path, run, _, _ = made
    with open(path / "peers.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert len(rows) == len(run.cells) == 60  # every cell, also those that failed
    for row in rows:
        if row["status"] != "ok":
            assert row["over_flash"] == row["over_ours"] == "" and row["message"]
            continue
        spec, flash = VARIANTS[row["variant"]], VARIANTS["flash"]
        growth = (int(row["n"]) / 256) ** (spec[3] - flash[3])
        assert float(row["over_flash"]) == pytest.approx(spec[2] / flash[2] * growth, rel=0.02)
        assert float(row["over_flash_lo"]) <= float(row["over_flash"]) <= float(row["over_flash_hi"])
        ours = ENGINES.get(row["variant"], {}).get("definition", "").partition(":")[0]
        if ours in VARIANTS and ours:
            assert float(row["over_ours"]) == pytest.approx(
                spec[2] / VARIANTS[ours][2] * (int(row["n"]) / 256) ** (spec[3] - VARIANTS[ours][3]), rel=0.02)
        else:
            assert row["over_ours"] == ""


def test_markdown(made):
    path, _, _, _ = made
    text = (path / "peers.md").read_text(encoding="utf-8")
    assert text.count("## d = ") == 2 and "## d = 128, bidirectional, 1 thread, gauss:sigma=1" in text
    lines = text.splitlines()
    heads = [line for line in lines if line.startswith("| variant")]
    assert len(heads) == 2 and "n = 256 | n = 512 | n = 1024 | own, n = 1024 | of peak" in heads[0]
    table = [line for line in lines if line.startswith("| `")]
    assert len(table) == 2 * len(VARIANTS) and len({line.count("|") for line in table + heads}) == 1
    eager = next(line for line in table if "torch/eager" in line)
    assert "| oom |" in eager and "4" in eager
    assert re.search(r"`torch/window`.*\| 3(\.0\d)? \[2\.9\d, 3\.0\d\] \|", text)


def test_words(made):
    words = made[3]
    assert "flash: against the fastest other program, faster 2, same 0, slower 4" in words
    assert "sliding-window: against the fastest other program, faster 6" in words
    assert "linear-elu: against the fastest other program, faster 0, same 0, slower 6" in words
    assert "slower: d 64, bidirectional, 1 thread, n 512: ort/mha takes 0.9" in words


def test_figures(made):
    _, _, paths, _ = made
    names = {p.name for p in paths}
    assert {"peers.csv", "peers.md", "peers-exact.svg", "peers-others.png", "peers-exact.pdf"} <= names
    assert all(p.stat().st_size > 0 for p in paths)
    svg = next(p for p in paths if p.name == "peers-exact.svg")
    before = svg.read_bytes()
    peers.write(made[1], made[0])
    assert svg.read_bytes() == before  # the same data, the same bytes


def test_needs_another_program(tmp_path):
    synthetic.write_run(tmp_path, {"flash": VARIANTS["flash"]}, GROUPS[:1])
    with pytest.raises(data.DataError, match="no cell is another program's"):
        peers.write(data.load(tmp_path), tmp_path)


def test_without_flash(tmp_path):
    synthetic.write_run(tmp_path, {k: v for k, v in VARIANTS.items() if k != "flash"}, GROUPS[:1],
                        info={**synthetic.MACHINE, "engines": ENGINES})
    paths, words = peers.write(data.load(tmp_path), tmp_path)
    assert "sliding-window" in words and "flash:" not in words
    assert any(p.name == "peers-others.svg" for p in paths)
