# SPDX-License-Identifier: BSD-3-Clause
"""Faults: whatever happens, rows that were measured stay, and a sentence says what to do."""

import collections
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import pytest

from cli import CEILINGS, ENVIRONMENT, FAST, LIMIT, PROGRAM, ROOT, built, call, faulty, rows, run, time_groups, wait_for

pytestmark = built

# --- kills and locks ---------------------------------------------------------

# `make kills` makes 200 of them.
KILLS = int(os.environ.get("KILLS", "40"))


@pytest.mark.parametrize("seed,kills", [(0, 6), (1, 6), pytest.param(2, KILLS, marks=pytest.mark.slow)])
def test_kill_at_any_moment(tmp_path, seed, kills):
    chance = random.Random(seed)
    args = ["run", "--variant", "full,flash,linear-elu", "--n", "16,32", "--d", "16", "--rounds", "3",
            "--samples", "3", "--out", str(tmp_path / "killed")]
    whole = tmp_path / "whole"
    start = time.monotonic()
    run(whole, *args[1:-2])
    longest = 0.9 * (time.monotonic() - start)
    for turn in range(kills):
        if turn and turn % 10 == 0:  # what is done is not killed again
            finish_and_compare(args, tmp_path, whole)
            shutil.rmtree(tmp_path / "killed")
        child = subprocess.Popen([PROGRAM, *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            child.wait(chance.uniform(0.01, longest))
        except subprocess.TimeoutExpired:
            child.kill()
        child.wait()
        raw = tmp_path / "killed" / "raw.csv"
        if raw.exists() and chance.random() < 0.5:  # and the power fails in a write
            with open(raw, "r+b") as file:
                size = file.seek(0, 2)
                file.truncate(max(0, size - chance.randrange(1, 400)))
    finish_and_compare(args, tmp_path, whole)


def finish_and_compare(args, tmp_path, whole):
    # A file cut into the middle of what run.json knows is still ours.
    done = call(*args)
    assert done.returncode == 0, done.stderr
    killed, expected = time_groups(tmp_path / "killed"), time_groups(whole)
    assert killed == expected
    ids = lambda out: [(r["cell_id"], r["status"], r["rounds"], r["samples"]) for r in rows(out / "summary.csv")]
    assert sorted(ids(tmp_path / "killed")) == sorted(ids(whole))
    calls = collections.defaultdict(set)
    for r in rows(tmp_path / "killed" / "raw.csv"):
        if r["pass"] == "time":
            calls[r["cell_id"]].add(r["calls_base"])
    assert all(len(c) == 1 for c in calls.values())  # frozen in the first round


def test_two_runs_on_one_directory(tmp_path):
    out = tmp_path / "run"
    args = ["--variant", "flash", "--n", "64", "--rounds", "200", "--samples", "3"]
    first = subprocess.Popen([PROGRAM, "run", *args, "--out", str(out)], stderr=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: (out / "run.json").exists())
        second = run(out, *args, code=3)
        assert f"process {first.pid} " in second.stderr or "another process" in second.stderr
        assert "--out" in second.stderr
    finally:
        first.kill()
        first.wait()


def test_interrupt_and_go_on(tmp_path):
    out = tmp_path / "a run"  # a blank, for the command that is printed
    args = ["run", "--variant", "full,flash", "--n", "32,64", "--rounds", "5", "--samples", "3"]
    child = subprocess.Popen([PROGRAM, *args, "--out", str(out)], stderr=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    wait_for(lambda: (out / "raw.csv").exists() and len(rows(out / "raw.csv")) > 6)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=LIMIT)
    assert child.returncode == 130
    assert "to go on:" in err
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "interrupted"
    assert (out / "summary.csv").exists()
    command = err.split("to go on:\n")[1].strip()
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    groups = time_groups(out)
    assert len(groups) == 4 * (2 + 5)
    assert json.loads((out / "run.json").read_text())["status"] == "complete"


def test_interrupt_twice(tmp_path, faulty):
    out = tmp_path / "run"
    child = subprocess.Popen([PROGRAM, "run", "--plugin", str(faulty), "--variant", "faulty:how=spin",
                              "--n", "16", "--timeout", "60", "--out", str(out)], stderr=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, text=True)
    wait_for(lambda: (out / "topology.xml").exists())
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert child.poll() is None  # it waits for its worker
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=20)
    assert child.returncode == 130
    assert rows(out / "raw.csv") == []


def test_budget(tmp_path):
    out = tmp_path / "run"
    args = ["--variant", "full,flash", "--n", "32,64", *FAST]
    done = run(out, *args, "--budget", "1ms", code=1)
    assert "the budget of the run is spent" in done.stderr
    table = rows(out / "summary.csv")
    assert len(table) == 4 and {r["stop_reason"] for r in table} == {"run_budget"}
    run(out, *args)
    table = rows(out / "summary.csv")
    assert {(r["status"], r["stop_reason"], r["rounds"]) for r in table} == {("ok", "max_rounds", "2")}
    assert {r["message"] for r in table} == {""}


# --- faults ------------------------------------------------------------------

def test_faults(tmp_path, faulty):
    out = tmp_path / "run"
    done = run(out, "--plugin", faulty, "--variant",
               "flash,faulty:how=segv|nan|oob|abort|exit|none:at=32", "--n", "16,32,64", *FAST, code=1)
    status = {(r["variant"], r["params"].split(":")[0], r["n_k"]): r for r in rows(out / "summary.csv")}
    assert len(status) == 3 + 6 * 3
    for how, expected, message in [("segv", "crash", "signal 11"), ("abort", "crash", "signal 6"),
                                   ("nan", "bad_output", "nan"), ("oob", "bad_output", "past the end"),
                                   ("exit", "crash", "exit code 3")]:
        row = status["faulty", f"how={how}", "32"]
        assert row["status"] == expected and row["stop_reason"] == "failed"
        assert message in row["message"].lower()
        assert row["time_median_ns"] == ""
        for n in ["16", "64"]:
            assert status["faulty", f"how={how}", n]["status"] == "ok"
    assert status["faulty", "how=none", "32"]["status"] == "ok"
    assert all(r["status"] == "ok" for (v, _, _), r in status.items() if v == "flash")
    assert "5 of 21 cells failed" in done.stderr
    assert "about to dereference" in (out / "events.log").read_text()
    assert "crash: killed by signal 11" in done.stdout
    # They stay failed, until asked to try again.
    before = (out / "raw.csv").stat().st_size
    args = ["--plugin", faulty, "--variant", "flash,faulty:how=segv|nan|oob|abort|exit|none:at=32",
            "--n", "16,32,64", *FAST]
    run(out, *args, code=1)
    assert (out / "raw.csv").stat().st_size == before
    run(out, *args, "--retry-failed", code=1)
    assert sum(r["pass"] == "reset" for r in rows(out / "raw.csv")) == 5


def test_timeouts_end_larger_cells(tmp_path, faulty):
    out = tmp_path / "run"
    start = time.monotonic()
    run(out, "--plugin", faulty, "--variant", "faulty:how=spin,flash", "--n", "16,32,64,128",
        "--timeout", "1", *FAST, code=1)
    assert time.monotonic() - start < 60
    table = {(r["variant"], r["n_k"]): r for r in rows(out / "summary.csv")}
    assert [table["faulty", n]["status"] for n in ["16", "32", "64", "128"]] == \
        ["timeout", "timeout", "skipped_timeout", "skipped_timeout"]
    assert "timed out on cells that are smaller" in table["faulty", "128"]["message"]
    assert all(table["flash", n]["status"] == "ok" for n in ["16", "32", "64", "128"])


def test_inaccurate_is_timed(tmp_path, faulty):
    out = tmp_path / "run"
    run(out, "--plugin", faulty, "--variant", "faulty:how=wrong", "--n", 16, *FAST, code=1)
    (row,) = rows(out / "summary.csv")
    assert row["status"] == "inaccurate" and float(row["time_median_ns"]) > 0
    assert float(row["err_impl_rel_fro"]) > float(row["err_impl_bound"])


def test_memory_limit(tmp_path):
    out = tmp_path / "run"
    done = run(out, "--variant", "full,flash", "--n", "64,2048", "--memory", "16MiB", "--rounds", 1,
               "--samples", 1)
    table = {(r["variant"], r["n_k"]): r for r in rows(out / "summary.csv")}
    assert table["full", "2048"]["status"] == "skipped_mem"
    assert table["full", "2048"]["stop_reason"] == "skipped"
    numbers = [int(x) for x in re.findall(r"\((\d+) bytes\)", table["full", "2048"]["message"])]
    assert len(numbers) == 2 and numbers[0] > numbers[1] == 16 << 20
    assert table["flash", "2048"]["status"] == "ok" and table["full", "64"]["status"] == "ok"
    assert "skipped_mem" in done.stdout


def test_unwritable_directory(tmp_path):
    (tmp_path / "file").write_text("")
    done = call("run", "--variant", "flash", "--n", 8, "--out", tmp_path / "file" / "x")
    assert done.returncode == 3 and "cannot make the directory" in done.stderr
    done = call("run", "--variant", "flash", "--n", 8, "--out", tmp_path / "file")
    assert done.returncode == 3 and "is not a directory" in done.stderr


def test_damaged_raw_file(tmp_path):
    out = tmp_path / "run"
    run(out, "--variant", "flash", "--n", 8, *FAST)
    text = (out / "raw.csv").read_text().replace(",memory,", ",memry,")
    (out / "raw.csv").write_text(text)
    done = run(out, "--variant", "flash", "--n", 8, *FAST, code=3)
    assert "row 2" in done.stderr and "'memry' is none of" in done.stderr
    assert (out / "raw.csv").read_text() == text


