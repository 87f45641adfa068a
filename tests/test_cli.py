# SPDX-License-Identifier: BSD-3-Clause
"""The command line from outside: exit codes, messages, files, tables."""

import collections
import csv
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys

import pytest

from cli import CEILINGS, ENVIRONMENT, FAST, LIMIT, PROGRAM, ROOT, built, call, checked, rows, run

pytestmark = built


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """One finished run, for tests that only look."""
    out = tmp_path_factory.mktemp("small") / "run"
    done = run(out, "--variant", "full,flash,linear-elu", "--n", "32,64", "--d", 16, "--rounds", 6,
               "--samples", 3)
    return out, done


# --- use ---------------------------------------------------------------------

WRONG = [
    ([], "usage"),
    (["lst"], "there is no verb 'lst'; did you mean 'list'?"),
    (["run"], "give --variant"),
    (["run", "--varaint", "full"], "did you mean '--variant'?"),
    (["run", "--variant"], "--variant needs a value"),
    (["run", "--variant", "flsh"], "--variant: there is no variant 'flsh'; did you mean 'flash'?"),
    (["run", "--variant", "performer:mm=3"], "performer has no parameter 'mm'"),
    (["run", "--variant", "performer:m=1"], "out of range: from 2"),
    (["run", "--variant", "full", "--n", "12.5"], "--n: '12.5' is not a whole number"),
    (["run", "--variant", "full", "--n", "256..512"], ":x2 to double"),
    (["run", "--variant", "full", "--data", "gaus"], "--data: "),
    (["run", "--variant", "full", "--isa", "avx3"], "--isa: there is no instruction set 'avx3'"),
    (["run", "--variant", "full", "--dtype", "f64"], "'f64' is none of f32, bf16, f16"),
    (["run", "--variant", "full", "--timeout", "soon"], "--timeout: 'soon'"),
    (["run", "--variant", "full", "--profile", "qick"], "did you mean 'quick'?"),
    (["run", "nowhere.ini"], "cannot open the sweep file nowhere.ini"),
    (["run", "a.ini", "b.ini"], "takes one sweep file"),
    (["run", "--plugin", "nowhere.so", "--variant", "full"], "--plugin: "),
    (["list", "flsh"], "did you mean 'flash'?"),
    (["list", "--columns", "xml"], "'xml' is none of"),
    (["show"], "show wants one directory"),
    (["show", "/nowhere"], "cannot open /nowhere/raw.csv"),
    (["doctor", "now"], "doctor takes no argument"),
]


@pytest.mark.parametrize("args,message", WRONG)
def test_wrong_use(args, message):
    done = call(*args)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("verb", ["list", "plan", "run", "show", "doctor"])
def test_help(verb):
    done = call(verb, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert "--help" in done.stdout
    assert all(len(line) <= 130 for line in done.stdout.splitlines())


def test_version_and_usage():
    assert re.fullmatch(r"attnbench \d+\.\d+\.\d+\n", call("--version").stdout)
    usage = call("--help")
    assert usage.returncode == 0
    for verb in ["list", "plan", "run", "show", "doctor", "report", "figures", "findings"]:
        assert f"  {verb} " in usage.stdout


def test_sweep_file_errors(tmp_path):
    sweep = tmp_path / "s.ini"
    for text, message in [
        ("variant = full\nprofle = quick\n", "s.ini:2:1: 'profle' is not an option; did you mean 'profile'?"),
        ("variant = full,\n  flsh\n", "s.ini:2:3: variant: there is no variant 'flsh'"),
        ("variant = full\nn = 64, 12x\n", "s.ini:2:9: n: '12x' is not a number"),
        ("variant = full\n[a]\nbudget = 5\n", "move it to the top"),
        ("[empty]\nn = 4\n", "section [empty]: no variant is named"),
    ]:
        sweep.write_text(text)
        done = call("plan", sweep)
        assert done.returncode == 2
        assert message in done.stderr, done.stderr


# --- list, plan --------------------------------------------------------------

def test_list():
    table = list(csv.DictReader(call("list", "--format", "csv").stdout.splitlines()))
    assert len(table) >= 14
    assert {"exact", "sparse", "linear", "low-rank", "recurrent"} <= {row["family"] for row in table}
    for row in table:
        assert row["title"] and row["family"] and row["complexity"]
        one = call("list", row["variant"])
        assert one.returncode == 0 and row["title"] in one.stdout
    assert "| full |" in call("list", "--format", "md").stdout
    assert "gauss" in call("list", "--inputs").stdout
    assert "scalar" in call("list", "--isa").stdout
    assert json.loads(call("list", "--format", "json").stdout)[0]["variant"] == table[0]["variant"]


def test_schemas_are_current():
    for name, columns in [("raw", "json-raw"), ("summary", "json-summary")]:
        printed = call("list", "--columns", columns).stdout
        json.loads(printed)
        assert (ROOT / "results" / "schema" / f"{name}.json").read_text() == printed, \
            f"run: ./attnbench list --columns {columns} > results/schema/{name}.json"


def test_column_documentation_is_current():
    text = (ROOT / "results" / "README.md").read_text()
    begin, end = "<!-- columns -->\n", "<!-- end of columns -->"
    assert text.split(begin)[1].split(end)[0] == call("list", "--columns", "md").stdout, \
        "put the output of `./attnbench list --columns md` between the two comments"


def test_plan():
    done = call("plan", "--variant", "full,flash,linformer", "--n", "64,8192", "--causal", 1,
                "--memory", "64MiB", "--format", "csv")
    assert done.returncode == 0, done.stderr
    table = list(csv.DictReader(done.stdout.splitlines()))
    assert len(table) == 6
    state = {(row["variant"], int(row["n_k"])): row for row in table}
    assert state["full", 64]["status"] == "ok" and float(state["full", 64]["predicted_call_ns"]) > 0
    assert state["full", 8192]["status"] == "skipped_mem"
    assert "67108864 bytes" in state["full", 8192]["message"]
    assert state["full", 8192]["predicted_peak_bytes"] + " bytes" in state["full", 8192]["message"]
    assert state["flash", 8192]["status"] == "ok"
    assert state["linformer", 64]["status"] == "unsupported" and state["linformer", 64]["message"]
    text = call("plan", "--variant", "full,flash", "--n", 64).stdout
    assert "2 cells in 1 shapes: 2 to run" in text and "6 rounds" in text


def test_plan_of_the_default_sweep():
    done = call("plan", "harness/sweeps/default.ini", "--format", "csv")
    assert done.returncode == 0, done.stderr
    table = list(csv.DictReader(done.stdout.splitlines()))
    assert len(table) == 14 * 7
    assert {row["status"] for row in table} == {"ok"}
    assert {row["input_kind"] for row in table} == {"gauss:sigma=1", "real:minilm"}


def test_plan_on_another_machine():
    env = {"HWLOC_SYNTHETIC": "numa:2 core:32 pu:1"}
    args = ["plan", "--variant", "flash", "--n", 64, "--threads", "64,65", "--format", "csv"]
    table = list(csv.DictReader(call(*args, env=env).stdout.splitlines()))
    assert [row["status"] for row in table] == ["ok", "unsupported"]
    assert "more than the 64 CPUs" in table[1]["message"]


# --- run ---------------------------------------------------------------------

def check_against_schema(path, name):
    schema = {f["name"]: f for f in json.loads((ROOT / "results" / "schema" / f"{name}.json").read_text())["fields"]}
    table = rows(path)
    with open(path, newline="") as file:
        assert next(csv.reader(file)) == list(schema)
    for row in table:
        for column, value in row.items():
            kind = schema[column]["type"]
            if value == "":
                continue
            if kind == "integer":
                int(value)
            elif kind == "number":
                float(value)
            elif kind == "boolean":
                assert value in ("0", "1")
            if "constraints" in schema[column]:
                assert value in schema[column]["constraints"]["enum"]
    return table


def test_run(small):
    out, done = small
    raw = check_against_schema(out / "raw.csv", "raw")
    summary = check_against_schema(out / "summary.csv", "summary")
    assert len(summary) == 6
    for row in summary:
        assert row["status"] == "ok" and row["stop_reason"] == "max_rounds"
        assert row["rounds"] == "6" and row["samples"] == "18"
        low, mid, high = (float(row[c]) for c in ["time_ci95_lo_ns", "time_median_ns", "time_ci95_hi_ns"])
        assert 0 < low <= mid <= high
        assert int(row["ws_tracked_bytes"]) > 0 and int(row["rss_delta_bytes"]) >= 0
        assert 0 < float(row["err_impl_rel_fro"]) <= float(row["err_impl_bound"])
        assert float(row["err_exact_rel_fro"]) <= (5e-6 if row["family"] == "exact" else 10)
        assert float(row["roof_share"]) > 0
    groups = collections.Counter((r["cell_id"], r["pass"], r["round"]) for r in raw)
    assert set(groups.values()) == {1, 3}
    assert len(groups) == 6 * (2 + 6)
    for row in raw:
        assert row["schema_version"] == "1" and row["run_id"] == raw[0]["run_id"]
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "complete" and record["counts"] == {"planned": 6, "ok": 6}
    assert record["config"]["options"]["n"] == "32,64"
    assert record["config"]["options"]["heads"] == "1"
    assert record["machine"]["cpu_model"] and record["blas"]["config"] and record["sensors"]
    assert record["sessions"][0]["end"]
    assert "<topology" in (out / "topology.xml").read_text()
    assert "complete" in (out / "events.log").read_text()
    assert "full" in done.stdout and "err exact" in done.stdout
    assert "round 6 of 6" in done.stderr and "\033" not in done.stderr + done.stdout


def test_every_round_has_every_place(small):
    """Within a shape the order of a round is a permutation, and positions tell it."""
    raw = [r for r in rows(small[0] / "raw.csv") if r["pass"] == "time" and r["sample"] == "0"]
    for number in range(6):
        positions = [int(r["position"]) for r in raw if r["round"] == str(number)]
        assert sorted(positions) == list(range(6))
        starts = [int(r["t_start_ns"]) for r in sorted(
            (r for r in raw if r["round"] == str(number)), key=lambda r: int(r["position"]))]
        assert starts == sorted(starts)


def test_show(small):
    out, done = small
    shown = call("show", out)
    assert shown.returncode == 0
    assert shown.stdout == done.stdout
    table = list(csv.DictReader(call("show", out, "--format", "csv").stdout.splitlines()))
    assert {r["baseline"] for r in table} == {"full"}
    for row in table:
        if row["variant"] == "full":
            assert row["verdict"] == ""
        else:
            assert row["verdict"] in {"FASTER", "SLOWER", "SAME", "UNCLEAR"}
            assert float(row["speedup_ci_lo"]) <= float(row["speedup"]) <= float(row["speedup_ci_hi"])
    assert "| variant |" in call("show", out, "--format", "md").stdout
    assert {r["baseline"] for r in csv.DictReader(
        call("show", out, "--format", "csv", "--baseline", "flash").stdout.splitlines())} == {"flash"}
    coloured = call("show", out, "--color", "always").stdout
    assert re.sub(r"\033\[\d*m", "", coloured) == shown.stdout


@pytest.mark.slow
def test_coverage_of_intervals_under_load():
    done = call("selftest", "--coverage", "--comparisons", 3, "--samples", 1, "--quiet", "--format", "csv")
    assert done.returncode in (0, 1), done.stderr
    table = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["order"] for row in table] == ["interleaved"] * 3 + ["in one go"] * 3
    for row in table:
        assert 6 <= int(row["rounds"]) <= 20 and row["stop_reason"] in ("ci_target", "max_rounds")
        lo, hi, median = (float(row[name]) for name in ("time_ci95_lo_ns", "time_ci95_hi_ns", "long_run_median_ns"))
        assert int(row["covers"]) == (lo <= median <= hi)
        assert lo <= float(row["time_median_ns"]) <= hi


def test_share_of_selection(tmp_path):
    done = run(tmp_path / "run", "--variant", "flash,topk,lsh,nsa,moba,routing,clustered", "--n", 256, "--d", 16, "--causal",
               "0,1", "--rounds", 1, "--samples", 1)
    assert done.returncode == 0
    for row in rows(tmp_path / "run" / "summary.csv"):
        share = row["selection_share"]
        if row["status"] == "unsupported" or row["variant"] == "flash":
            assert share == ""
        else:
            assert 0 < float(share) < 1, row["variant"]


def test_the_same_command_again_measures_nothing(small):
    out, _ = small
    before = (out / "raw.csv").read_bytes()
    again = run(out, "--variant", "full,flash,linear-elu", "--n", "32,64", "--d", 16, "--rounds", 6,
                "--samples", 3)
    assert (out / "raw.csv").read_bytes() == before
    assert "full" in again.stdout
    assert len(json.loads((out / "run.json").read_text())["sessions"]) >= 2


def test_another_plan_is_refused(tmp_path):
    out = tmp_path / "run"
    args = ["--variant", "flash", "--n", 16, *FAST]
    run(out, *args)
    before = (out / "raw.csv").read_bytes()
    done = run(out, "--variant", "flash", "--n", "16,32", *FAST, code=3)
    assert "another plan" in done.stderr and "--fresh" in done.stderr
    assert (out / "raw.csv").read_bytes() == before
    run(out, "--variant", "flash", "--n", "16,32", *FAST, "--fresh")
    assert {r["n_k"] for r in rows(out / "summary.csv")} == {"16", "32"}
    kept = list(out.glob("raw.csv.2*"))
    assert len(kept) == 1 and kept[0].read_bytes() == before
    # Another build or machine is refused as well.
    record = json.loads((out / "run.json").read_text())
    for part, key, words in [("build", "program_hash", "another build"), ("machine", "host_id", "another machine")]:
        changed = json.loads(json.dumps(record))
        changed[part][key] = "0" * 16
        (out / "run.json").write_text(json.dumps(changed))
        assert words in run(out, "--variant", "flash", "--n", "16,32", *FAST, code=3).stderr
    (out / "run.json").unlink()
    assert "nobody knows" in run(out, "--variant", "flash", "--n", "16,32", *FAST, code=3).stderr


def test_rerun(tmp_path):
    out = tmp_path / "run"
    args = ["--variant", "flash,full", "--n", 16, *FAST]
    run(out, *args)
    first = {r["variant"]: r["time_mean_ns"] for r in rows(out / "summary.csv")}
    run(out, *args, "--rerun", "flash")
    again = {r["variant"]: r["time_mean_ns"] for r in rows(out / "summary.csv")}
    assert first["full"] == again["full"] and first["flash"] != again["flash"]
    raw = rows(out / "raw.csv")
    assert [r["variant"] for r in raw if r["pass"] == "reset"] == ["flash"]


def test_sweep_file(tmp_path):
    sweep = tmp_path / "s.ini"
    sweep.write_text("rounds = 2\nsamples = 3\nd = 8\n[one]\nvariant = flash\nn = 8, 16\n"
                     "[two]\nvariant = performer:m=8|16\nn = 8\ndata = gauss:sigma=2\n")
    out = tmp_path / "run"
    run(out, sweep)
    table = rows(out / "summary.csv")
    assert {(r["variant"], r["n_k"], r["input_kind"]) for r in table} == {
        ("flash", "8", "gauss:sigma=1"), ("flash", "16", "gauss:sigma=1"),
        ("performer", "8", "gauss:sigma=2")}
    assert len(table) == 4
    record = json.loads((out / "run.json").read_text())
    assert record["sweep"]["text"] == sweep.read_text()
    assert [g["section"] for g in record["config"]["groups"]] == ["one", "two"]


def test_default_directory(tmp_path):
    done = call("run", "--variant", "flash", "--n", 8, *FAST, "--name", "quick-look", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (made,) = (tmp_path / "results").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z-quick-look", made.name)


# --- terminals, pipes, Python ------------------------------------------------

def on_terminal(term, *args):
    """Runs with stderr on a terminal 60 columns wide; returns code and what it got."""
    try:
        main, other = pty.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminal here: {error}")
    import fcntl
    import struct
    import termios
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    child = subprocess.Popen([PROGRAM, *map(str, args)], stderr=other, stdout=subprocess.DEVNULL,
                             env={**os.environ, "TERM": term})
    os.close(other)
    got = b""
    while True:
        ready, _, _ = select.select([main], [], [], LIMIT)
        assert ready
        try:
            some = os.read(main, 65536)
        except OSError:  # the other end is closed
            some = b""
        if not some:
            break
        got += some
    os.close(main)
    return child.wait(LIMIT), got.decode()


def test_progress_on_a_terminal(tmp_path):
    code, text = on_terminal("xterm", "run", "--variant", "full,flash", "--n", "16,32", *FAST, "--out",
                             tmp_path / "a")
    assert code == 0
    assert "\033[?25l" in text and text.rstrip().endswith("\033[?25h")
    lines = [line for line in re.split(r"\r|\n|\033\[K|\033\[\?25.", text) if "[" in line and "/" in line]
    assert lines and all(len(line) < 60 for line in lines if line.startswith("["))
    code, text = on_terminal("dumb", "run", "--variant", "flash", "--n", "16", *FAST, "--out", tmp_path / "b")
    assert code == 0 and "\033" not in text and "round 2 of 2" in text


def test_closed_streams(tmp_path):
    done = subprocess.run(f"'{PROGRAM}' run --variant flash --n 8 --rounds 1 --samples 1 --out '{tmp_path}/a' 2>&-",
                          shell=True, capture_output=True, timeout=LIMIT)
    assert done.returncode == 0
    done = subprocess.run(f"'{PROGRAM}' list > /dev/full", shell=True, capture_output=True, text=True,
                          timeout=LIMIT)
    assert done.returncode == 3 and "stdout" in done.stderr
    raw = rows(tmp_path / "a" / "raw.csv")
    assert len(raw) == 3


def test_doctor():
    done = call("doctor")
    assert done.returncode == 0, done.stderr
    for word in ["CPUs", "BLAS", "memory", "noise", "Sensors"]:
        assert word in done.stdout


def test_doctor_without_proc(tmp_path):
    done = call("doctor", "--sysroot", tmp_path)
    assert done.returncode == 0 and "unknown CPU" in done.stdout


def test_python_verbs_need_the_environment(tmp_path):
    """A copy of the program beside a plots/ without .venv says what to do."""
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "__main__.py").write_text("import sys; print(sys.argv[1:]); sys.exit(4)\n")
    program = tmp_path / "attnbench"
    shutil.copy(PROGRAM, program)
    done = subprocess.run([program, "report", "D"], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 3 and "pip install -r" in done.stderr  # installed: there is no Makefile
    (tmp_path / "Makefile").touch()
    done = subprocess.run([program, "report", "D"], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 3 and "make deps" in done.stderr
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    done = subprocess.run([program, "figures", "A", "B", "--x"], capture_output=True, text=True,
                          cwd="/", timeout=LIMIT)
    assert done.returncode == 4 and done.stdout == "['figures', 'A', 'B', '--x']\n"
