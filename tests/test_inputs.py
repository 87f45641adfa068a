# SPDX-License-Identifier: BSD-3-Clause
"""Sweeps of a task, from the run to the figure: exact attention solves it, a window that
is too short guesses, and states forget, from where the figure says."""
import math
import os
import subprocess

import numpy as np
import pytest
from matplotlib.text import Text

from synthetic import ROOT

from plots import data, derive, figures, inputs, report, tables

PROGRAM = os.environ.get("ATTNBENCH", str(ROOT / "attnbench"))
PAIRS = (8, 32, 128, 256)
HEADS = 8

pytestmark = pytest.mark.skipif(not os.access(PROGRAM, os.X_OK), reason="build attnbench first")


def errors(out, *args):
    done = subprocess.run([PROGRAM, "run", "--accuracy-only", "--quiet", "--out", out, *map(str, args)], cwd=ROOT,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return data.load(out)


@pytest.fixture(scope="module", name="recall")
def _recall(tmp_path_factory):
    return errors(tmp_path_factory.mktemp("recall") / "run", "--variant",
                  "flash,sliding-window:left=24:right=0,linear-elu,performer:m=64|512,deltanet,taylor2", "--n", 400, "--d", 32,
                  "--heads", HEADS, "--causal", 1, "--data", "mqar:gap=32:pairs=" + "|".join(map(str, PAIRS)))


@pytest.fixture(scope="module", name="sweep")
def _sweep(recall):
    (sweep,) = inputs.sweeps(recall)
    return sweep


def words_of(drawn):
    return " ".join(t.get_text() for t in drawn.findobj(Text)).replace("\u00a0", " ")


def test_a_sweep_is_what_differs_in_one_parameter(sweep):
    assert (sweep.name, sweep.n, tuple(sweep.values)) == ("mqar-pairs", 400, PAIRS) and sweep.task
    assert [c.series.label for c in sweep.curves] == ["flash", "sliding-window", "linear-elu", "performer m=64", "performer m=512",
                                                      "deltanet", "taylor2"]
    assert all(tuple(c.rows) == PAIRS for c in sweep.curves)


def test_exact_attention_solves_and_a_window_shorter_than_the_gap_guesses(sweep):
    of = {c.series.label: c.numbers("task_accuracy")[1] for c in sweep.curves}
    assert (of["flash"] == 1).all()
    for pairs, accuracy in zip(PAIRS, of["sliding-window"]):
        # Queries that ask for one pair get one answer: so many are independent.
        apart = HEADS * min(pairs, 64)
        assert abs(accuracy - 1 / 16) < 5 * math.sqrt(15 / 256 / apart), (pairs, accuracy)


def test_states_forget_from_where_the_figure_says(recall, sweep):
    places = {c.series.label: (words, before, after) for c, words, before, after in inputs.verdicts(sweep)}
    assert places["flash"] == ("", None, None) and places["sliding-window"] == ("at all", None, None)
    of = {c.series.label: c.numbers("task_accuracy")[1] for c in sweep.curves}
    for name in ("linear-elu", "performer m=64", "performer m=512", "deltanet"):
        assert (np.diff(of[name]) < 0.05).all() and of[name][-1] < 0.5, (name, of[name])
    drawn = words_of(inputs.curves(sweep, 2))
    assert "Below 0.9" in drawn and "throughout: sliding-window" in drawn and "entropy ratio" in drawn and "a guess" in drawn
    some = [(name, *place[1:]) for name, place in places.items() if place[0] == "above"]
    assert some
    for name, before, after in some:
        at = PAIRS.index(after)
        assert PAIRS[at - 1] == before and of[name][at - 1] >= 0.9 > of[name][at]
        said = next(part for part in drawn.split(";") if f"from pairs = {after:g} on, not at {before:g}" in part)
        assert name in said
    names = [f.name for f in figures.plan(derive.Analysis(recall)) if f.slug == figures.RUN]
    assert "input-mqar-pairs" in names and "held-mqar-pairs" in names


def test_recall_against_what_is_kept(sweep):
    found = {c.series.label: (each, before, after) for c, each, before, after in inputs.held(sweep)}
    n, d = 400, 32
    cache = 4 * n * 2 * d
    assert found["flash"][0] == pytest.approx(cache, rel=0.02) and found["flash"][1:] == (PAIRS[-1], None)
    if "deltanet" in found:
        assert found["deltanet"][0] == pytest.approx(4 * d * d, rel=0.02)
    drawn = words_of(inputs.states(sweep, 1))
    assert "sliding-window" in drawn.split("Not solved with any:")[1] and "flash" in drawn


def test_where_a_task_breaks():
    assert inputs.break_of([1, 2, 3], [1, 0.95, 0.2]) == ("above", 2, 3)
    assert inputs.break_of([1, 2, 3], [0.1, 0.2, 1]) == ("up to", 2, 3)
    assert inputs.break_of([1, 2, 3], [0.1, 0.2, 0.3]) == ("at all", None, None)
    assert inputs.break_of([1, 2, 3], [1, 0.2, 1]) == inputs.break_of([1, 2], [1, 1]) == ("", None, None)


def test_error_against_entropy(tmp_path):
    run = errors(tmp_path / "run", "--variant", "flash,topk:k=8,linear-elu,uniform", "--n", 256, "--d", 16,
                 "--data", "logits:H=0.2|0.5|0.9", "--seed", "1,2")
    (sweep,) = inputs.sweeps(run)
    assert not sweep.task and inputs.held(sweep) == [] and sweep.values == [0.2, 0.5, 0.9]
    of = {c.series.label: c.numbers("err_exact_rel_fro")[1] for c in sweep.curves}
    assert of["topk"][0] < of["topk"][-1] and of["linear-elu"][0] > of["linear-elu"][-1]
    drawn = words_of(inputs.curves(sweep, 1))
    assert "uniform average" in drawn and "zero output" in drawn and "2 seeds" in drawn and "linear-elu" in drawn


def test_a_run_of_errors_alone_has_a_report(tmp_path):
    run = errors(tmp_path / "run", "--variant", "flash,full,performer:m=16|32,uniform", "--n", "32,64", "--d", 16)
    made = report.report(run, tmp_path)
    page = made.paths[0][0].read_text(encoding="utf-8").split("<script")[0]
    assert ">nan" not in page and "errors alone" in page
    rows = tables.results(derive.Analysis(run), run.groups[0]).rows
    assert [r[0] for r in rows[-2:]] == ["(uniform average)", "(zeros)"]


def test_what_an_error_takes(tmp_path):
    run = errors(tmp_path / "run", "--variant", "flash,topk:k=4|16|64,performer:m=32|64,linear-elu", "--n", 256, "--d", 16,
                 "--data", "logits:H=0.3")
    (group,) = run.groups
    table = tables.bargains(derive.Analysis(run), group)
    rows = {r[0]: dict(zip(table.head, r)) for r in table.rows}
    assert list(rows) == ["topk", "performer", "(uniform average)", "(zeros)"] and rows["topk"]["settings"] == "3"
    whole = group.find("flash").at(256)["flops_executed"]
    shares = {s.at(256)["err_exact_rel_fro"]: s.at(256)["flops_executed"] / whole for s in group.series if s.variant == "topk"}
    assert float(rows["topk"]["error at the same work"]) == pytest.approx(min((e for e, w in shares.items() if w <= 1)), rel=1e-2)
    good = [w for e, w in shares.items() if e <= 0.1]
    assert float(rows["topk"]["work for error 0.1"] or "nan") == pytest.approx(min(good), rel=1e-2) if good else True
