# SPDX-License-Identifier: BSD-3-Clause
"""Runs of decode steps: the axis of contexts, bytes of state, tables and report."""
import csv
import io
import re

import pytest

import synthetic

from cli import ROOT, built, call, checked, rows, run
from plots import data, derive, figures, tables

pytestmark = built
SWEEP = ROOT / "harness" / "sweeps" / "decode.ini"
CACHED, CONSTANT = ("flash", "moba"), ("linear-elu", "sliding-window", "retention")


@pytest.fixture(scope="module", name="out")
def _out(tmp_path_factory):
    """Decode steps at four contexts."""
    out = tmp_path_factory.mktemp("decode") / "run"
    run(out, "--variant", ",".join(CACHED + CONSTANT), "--mode", "decode", "--context", "64..4096:x4", "--d", 16,
        "--baseline", "flash", "--rounds", 2, "--samples", 3)
    return out


def test_states(out):
    """A cache grows with the context, to the byte; a state or a ring does not."""
    state = {(r["variant"], int(r["n_k"])): int(r["state_bytes"]) for r in rows(out / "summary.csv")}
    assert {n for _, n in state} == {64, 256, 1024, 4096}
    for n in (64, 256, 1024, 4096):
        assert state["flash", n] == 4 * n * (16 + 16)
        assert state["linear-elu", n] == state["linear-elu", 64] >= 4 * 16 * 17
    assert state["sliding-window", 1024] == state["sliding-window", 4096] == 4 * 256 * 32
    assert state["moba", 4096] > state["flash", 4096]  # means of blocks beside the cache


def test_rows(out):
    """One query a step, causal, and the row of the causal form."""
    checked(out)
    for r in rows(out / "summary.csv"):
        assert (r["mode"], r["status"], r["n_q"], r["causal"]) == ("decode", "ok", "1", "1")
        assert float(r["time_median_ns"]) > 0
        assert float(r["err_impl_rel_fro"]) < 1e-5
        if r["variant"] == "flash":
            assert float(r["err_exact_rel_fro"]) < 1e-5  # the baseline is exact
            assert float(r["pairs_executed"]) == int(r["n_k"])  # of the step, not of the fill
    prefill = {(r["variant"], r["n_k"]) for r in rows(out / "raw.csv") if r["pass"] == "time" and r["prefill_ns"]}
    assert len(prefill) == 20


def test_memory_of_the_past_is_the_variants(out):
    """What was kept counts as touched: no flag speaks of memory from elsewhere."""
    table = [r for r in rows(out / "raw.csv") if r["pass"] == "memory"]
    assert len(table) == 20
    for r in table:
        assert int(r["ws_tracked_bytes"]) >= int(r["state_bytes"])
        if r["variant"] == "flash":
            assert int(r["ws_touched_bytes"]) >= int(r["state_bytes"])
    assert not [r for r in rows(out / "summary.csv") if "mem_" in r["flags"]]


def test_show(out):
    head = call("show", out).stdout.splitlines()[0]
    for word in ("context", "time a token", "state", "speed-up"):
        assert word in head
    assert "time a call" not in head
    table = list(csv.DictReader(io.StringIO(call("show", out, "--format", "csv").stdout)))
    assert {r["mode"] for r in table} == {"decode"}
    assert all(float(r["state_bytes"]) > 0 for r in table)


def test_report(out):
    analysis = derive.Analysis(data.load(out))
    planned = {f.name: f for f in figures.plan(analysis)}
    assert planned["time"].title == "Time per token against context"
    assert "state" in planned
    drawn = figures.draw(analysis, planned["time"], 2)
    words = {t.get_text() for t in drawn.findobj(lambda a: hasattr(a, "get_text"))}
    assert "context [tokens]" in words and "time per token [µs]" in words
    group = analysis.run.groups[0]
    made = tables.results(analysis, group)
    assert "state" in made.head and "time per token [µs] [95 %]" in made.head
    kept = {r[0]: r[made.head.index("state")] for r in made.rows}
    assert kept["flash"] == "512 KiB"


def test_forward_runs_say_nothing_of_states(tmp_path):
    """The words of decoding are not in tables of forward passes."""
    synthetic.write_run(tmp_path)
    planned = {f.name: f for f in figures.plan(derive.Analysis(data.load(tmp_path)))}
    assert "state" not in planned and planned["time"].title == "Time against sequence length"


def test_the_sweep():
    """The shipped sweep plans, every cell can run, and its baseline is exact and cached."""
    done = call("plan", SWEEP, "--format", "csv")
    assert done.returncode == 0, done.stderr
    planned = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(planned) > 100
    text = SWEEP.read_text(encoding="utf-8")
    assert "1024..65536:x4" in text
    first = [r for r in planned if r["variant"] in ("flash", "full")]
    assert first and {r["variant"] for r in first} == {"flash"}  # what others are compared with
    assert re.search(r"^decode +yes: keeps cache", call("list", "flash").stdout, re.M)


def test_context_is_for_decoding():
    done = call("plan", "--variant", "flash", "--context", "64")
    assert done.returncode == 2 and "context" in done.stderr
