# SPDX-License-Identifier: BSD-3-Clause
"""Batches of sequences of different lengths, from the command line to figures."""
import csv

import pytest
import synthetic  # noqa: F401  puts the tree on the path, for plots
from cli import FAST, built, call, checked, rows, run

from plots import data, gp, lines

LENGTHS = ["--lengths", "full,padded,packed"]
pytestmark = built


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    args = ["--variant", "flash,performer:m=16", *LENGTHS, "--mode", "forward,decode", "--batch", 3, "--heads", 4, "--kv-heads",
            2, "--n", 40, "--d", 16, "--causal", 1, "--dtype", "bf16", "--threads", 2, "--no-pin", "--quiet", *FAST]
    run(out, *args)
    return out, args


def test_every_pass(measured):
    out, args = measured
    checked(out)
    table = rows(out / "summary.csv")
    assert len(table) == 2 * 3 * 2 and len({r["cell_id"] for r in table}) == len(table)
    for row in table:
        assert row["status"] == "ok", row["message"]
        tokens = 3 * 40 if row["lengths"] == "full" else 40 + 16 + 12  # the draw is fixed
        assert int(row["tokens"]) == (3 if row["mode"] == "decode" else tokens)
        assert float(row["time_median_ns"]) > 0 and int(row["ws_tracked_bytes"]) > 0
        assert float(row["err_impl_rel_fro"]) <= float(row["err_impl_bound"])
    for row in table:  # what a padded batch works on is what a packed one does
        twins = [r for r in table if r["lengths"] == "packed" and all(
            r[c] == row[c] for c in ("variant", "mode"))]
        if row["lengths"] == "padded":
            for column in ("flops_useful", "flops_executed", "pairs_executed", "bytes_model", "ws_tracked_bytes",
                           "err_exact_rel_fro", "err_impl_rel_fro", "entropy_ratio", "state_bytes"):
                assert [r[column] for r in twins] == [row[column]], column
            if row["mode"] == "forward":
                assert int(twins[0]["io_bytes"]) * 3 * 40 == int(row["io_bytes"]) * int(row["tokens"])
    before = (out / "raw.csv").read_bytes()
    run(out, *args)
    assert (out / "raw.csv").read_bytes() == before  # nothing is measured again


def test_show(measured):
    out, _ = measured
    text = call("show", out).stdout
    assert " lengths " in text and " packed " in text
    table = list(csv.DictReader(call("show", out, "--format", "csv").stdout.splitlines()))
    assert {r["lengths"] for r in table} == {"full", "padded", "packed"}
    assert all(r["baseline"] == "flash" for r in table)


def test_figures_keep_them_apart(measured):
    loaded = data.load(measured[0])
    groups = [g for g in loaded.groups if g.key["mode"] == "forward"]
    assert sorted(g.key["lengths"] for g in groups) == ["full", "packed", "padded"]
    for group in groups:
        lengths = group.key["lengths"]
        assert lengths in group.slug and len(group.cells) == 2
        assert ("batch 3" if lengths == "full" else f"batch 3 ({lengths})") in lines.facts(group)
        assert f'strcol("lengths") eq "{lengths}"' in gp._condition(group, True)
        assert "lengths" not in gp._condition(group, False)


def test_files_without_the_column(measured, tmp_path):
    table = rows(measured[0] / "summary.csv")
    table = [{k: v for k, v in r.items() if k not in ("lengths", "tokens")} for r in table if r["lengths"] == "full"]
    with open(tmp_path / "summary.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    cells = data.load(tmp_path).cells
    assert set(cells["lengths"]) == {"full"}
    assert (cells["tokens"] == 3 * cells["n_q"]).all()


def test_plan_and_refusals():
    args = ["plan", "--variant", "flash,sinkhorn", "--n", 64, "--format", "csv"]
    table = list(csv.DictReader(call(*args, "--batch", "1,2", *LENGTHS).stdout.splitlines()))
    assert len(table) == 12
    for row in table:
        lonely = row["batch"] == "1" and row["lengths"] != "full"
        assert row["status"] == ("unsupported" if lonely else "ok")
        assert ("a batch of 2 or more" in row["message"]) == lonely
    text = call("plan", "--variant", "flash", "--n", 64, "--batch", 2, "--causal", 1, *LENGTHS).stdout
    assert "2x1 causal packed f32" in text and "2x1 causal f32" in text
    done = call(*args, "--batch", 2, "--lengths", "paked")
    assert done.returncode == 2 and "full, padded, packed" in done.stderr and "packed'" in done.stderr


def test_verify_has_the_property():
    done = call("verify", "--variant", "flash,performer:m=16,lsh", "--isa", "auto", "--format", "csv")
    table = [r for r in csv.DictReader(done.stdout.splitlines()) if r["code"] == "P19"]
    assert table and {r["verdict"] for r in table} == {"pass"}
