# SPDX-License-Identifier: BSD-3-Clause
"""Every variant in one run: measured, or refused with a reason."""
import pytest

from cli import built, checked, rows, run

pytestmark = built


@pytest.fixture(scope="module", name="out")
def _out(tmp_path_factory):
    """All variants, both masks, a round each."""
    out = tmp_path_factory.mktemp("all") / "run"
    run(out, "--variant", "all", "--n", 96, "--d", 16, "--causal", "0,1", "--rounds", 1, "--samples", 3)
    return out


def test_ok_or_refused(out):
    table = rows(out / "summary.csv")
    assert len({r["variant"] for r in table}) >= 40 and len(table) == 2 * len({r["variant"] for r in table})
    for r in table:
        assert r["status"] in ("ok", "unsupported"), f"{r['variant']}: {r['status']}, {r['message']}"
        assert r["status"] == "ok" or len(r["message"]) > 20
    refused = [r for r in table if r["status"] == "unsupported"]
    assert {r["variant"] for r in refused if r["causal"] == "1"} >= {"linformer", "nystrom", "fnet"}
    checked(out)


def test_bytes_declared_are_bytes_held(out):
    for r in rows(out / "summary.csv"):
        if r["status"] == "ok":
            assert r["ws_model_bytes"] == r["ws_tracked_bytes"], r["variant"]


def test_work_is_what_was_counted(out):
    """Hashing and clustering do as much as the input asks: the summary has that, not the plan's
    expectation, which rounds repeat. None computes more pairs than there are but by design."""
    plans = {r["cell_id"]: r for r in rows(out / "raw.csv") if r["pass"] == "time" and r["sample"] == "0"}
    differ = set()
    for r in rows(out / "summary.csv"):
        if r["status"] != "ok":
            continue
        assert float(r["pairs_executed"]) > 0, r["variant"]
        if r["variant"] != "null":
            assert float(r["flops_executed"]) > 0, r["variant"]
        if r["flops_executed"] != plans[r["cell_id"]]["flops_executed"]:
            differ.add(r["variant"])
    assert {"lsh", "routing", "clustered"} <= differ


def test_without_errors(tmp_path):
    """--no-accuracy: times and memory alone, and the work is counted all the same."""
    out = tmp_path / "run"
    run(out, "--variant", "flash,lsh", "--n", 64, "--d", 16, "--rounds", 1, "--samples", 3, "--no-accuracy")
    checked(out)
    assert {r["pass"] for r in rows(out / "raw.csv")} == {"memory", "time"}
    for r in rows(out / "summary.csv"):
        assert r["status"] == "ok" and not r["err_exact_rel_fro"]
        assert float(r["time_median_ns"]) > 0 and float(r["flops_executed"]) > 0
        assert "accuracy_missing" not in r["flags"]
