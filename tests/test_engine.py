# SPDX-License-Identifier: BSD-3-Clause
"""External engines: the protocol with the reference client, runs of it beside our variants, and
engines that die, hang, lie or babble: none loses a row."""

import csv
import mmap
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

np = pytest.importorskip("numpy", reason="numpy is not installed: the reference engine needs it")

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("ATTNBENCH", str(ROOT / "attnbench"))
CLIENT = ROOT / "harness" / "peers" / "numpy" / "engine.py"
FAULTY = ROOT / "tests" / "faulty_engine.py"
LIMIT = 300  # seconds: no test waits for a hanging program

pytestmark = pytest.mark.skipif(not os.access(PROGRAM, os.X_OK), reason="build attnbench first")


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    path = tmp_path_factory.mktemp("engines") / "engines.ini"
    path.write_text(f"[numpy]\ncommand = {sys.executable} {CLIENT}\n"
                    f"[faulty]\ncommand = {sys.executable} {FAULTY}\n"
                    "[missing]\ncommand = ./nowhere --at all\ninstall = make nowhere\n"
                    f"[mute]\ncommand = {sys.executable} -c exit(7)\n"
                    "[rude]\ncommand = /bin/echo what do you want?\n"
                    "[old]\ncommand = /bin/echo engine 0 old 1.0\n"
                    "[odd]\ncommand = /bin/sh odd.sh\n", encoding="utf-8")
    path.with_name("odd.sh").write_text("read x; echo engine 1 odd 1; echo variant a same=nothing; echo end\n",
                                        encoding="utf-8")
    return path


def call(*args, **more):
    env = {**os.environ, **more.pop("env", {})}
    return subprocess.run([PROGRAM, *map(str, args)], cwd=ROOT, env=env, capture_output=True, text=True,
                          timeout=LIMIT, **more)


def run(out, registry, *args, code=0, **more):
    done = call("run", "--out", out, "--registry", registry, "--quiet", *args, **more)
    assert done.returncode == code, done.stderr + done.stdout
    with open(out / "summary.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


SMALL = ["--d", 16, "--rounds", 1, "--samples", 3]


# --- the protocol, spoken to the reference client -------------------------------------------------

class Talk:
    """The harness's side, by hand."""

    def __init__(self, tmp_path):
        self.process = subprocess.Popen([sys.executable, CLIENT], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.path = tmp_path / "shared"

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def plan(self, variant, q, k, v, causal=0, scale=0.25, **arg):
        b, h, n_q, d = q.shape
        parts = [q, k, v, np.zeros(q.shape[:3] + v.shape[3:], np.float32)]
        starts = np.cumsum([4096] + [-(-p.nbytes // 64) * 64 for p in parts])
        self.path.write_bytes(b"\0" * (starts[-1] + 4096))
        file = open(self.path, "r+b")
        self.memory = mmap.mmap(file.fileno(), 0)
        views = [np.frombuffer(self.memory, np.float32, p.size, s).reshape(p.shape)
                 for p, s in zip(parts, starts)]
        for view, part in zip(views, parts):
            view[...] = part
        self.out = views[3]
        words = dict(variant=variant, batch=b, heads=h, kv_heads=k.shape[1], n_q=n_q, n_k=k.shape[2], d=d, d_v=v.shape[3],
                     causal=causal, scale=scale, type="f32", seed=1, threads=1, cpus="",
                     file=self.path, bytes=len(self.memory), q=starts[0], k=starts[1], v=starts[2],
                     out=starts[3], state=0, state_bytes=0, **{f"arg.{a}": x for a, x in arg.items()})
        return self.ask("plan " + " ".join(f"{a}={x}" for a, x in words.items()))


@pytest.fixture
def talk(tmp_path):
    talk = Talk(tmp_path)
    yield talk
    talk.process.kill()
    talk.process.communicate()


def test_protocol(talk):
    rng = np.random.default_rng(1)
    q, k, v = (rng.standard_normal((2, 3, n, 16), np.float32) for n in (5, 9, 9))
    assert talk.ask("hello 1") == f"engine 1 numpy {np.__version__}"
    lines = [talk.process.stdout.readline().split() for _ in range(3)]
    assert lines[-1] == ["end"]
    assert all(line[0] == "variant" and any(w.startswith("same=") for w in line) for line in lines[:-1])
    assert talk.plan("softmax", q, k, v, causal=1) == "ok"
    assert talk.ask("prepare") == "ok"
    before = time.monotonic_ns()
    word, start, end, cpu, total = talk.ask("run 3").split()
    assert word == "ran" and before <= int(start) <= int(end) <= time.monotonic_ns() and int(cpu) >= 0
    assert int(total) == int(talk.out.view(np.uint16).sum(dtype=np.uint64))
    s = 0.25 * q.astype(float) @ k.swapaxes(-1, -2)
    s[..., ~np.tri(5, 9, 4, dtype=bool)] = -np.inf
    w = np.exp(s - s.max(-1, keepdims=True))
    assert np.abs(talk.out - w / w.sum(-1, keepdims=True) @ v).max() < 1e-6
    word, peak = talk.ask("memory").split()
    assert word == "memory" and int(peak) > 1 << 20
    talk.process.stdin.write("bye\n")
    talk.process.stdin.flush()
    assert talk.process.wait(10) == 0


def test_client_reports_errors(talk):
    talk.ask("hello 1")
    while talk.process.stdout.readline().strip() != "end":
        pass
    x = np.ones((1, 1, 4, 4), np.float32)
    assert talk.plan("nothing", x, x, x).startswith("error KeyError")
    assert talk.plan("linear-elu", x, x, x, eps=0) == "ok"  # it goes on after an error
    assert talk.ask("prepare") == "ok"
    assert talk.ask("run 1").startswith("ran ")
    assert np.allclose(talk.out, 1)


# --- engines in runs --------------------------------------------------------------------------

def test_run_beside_ours(tmp_path, registry):
    rows = run(tmp_path / "r", registry, "--variant", "full,numpy/softmax,linear-elu,numpy/linear-elu:eps=0",
               "--n", 48, "--n-k", 64, "--causal", "0,1", "--heads", 2, "--batch", 2, "--threads", "1,2", *SMALL)
    assert len(rows) == 16
    for row in rows:
        assert row["status"] == "ok", row
        assert float(row["err_impl_rel_fro"]) < 2e-6 and float(row["time_median_ns"]) > 0
        external = "/" in row["variant"]
        assert row["impl"] == (f"numpy {np.__version__}" if external else "attnbench 0.1.0")
        assert (row["ws_tracked_bytes"] == "") == external
        assert (row["rss_delta_bytes"] != "") and row["flops_useful"] != ""
    of = {(r["variant"], r["causal"], r["threads"]): r for r in rows}
    for (variant, causal, threads), row in of.items():  # the same definition gives the same error
        if variant == "numpy/linear-elu":
            ours = of["linear-elu", causal, threads]
            assert row["err_exact_rel_fro"][:6] == ours["err_exact_rel_fro"][:6]
            assert row["params"] == "eps=0" and row["family"] == "linear"
    with open(tmp_path / "r" / "raw.csv", newline="", encoding="utf-8") as file:
        raw = list(csv.DictReader(file))
    for row in raw:
        if row["variant"] == "numpy/softmax" and row["pass"] == "time":
            assert int(row["cpu_ns"]) > 0 and int(row["t_start_ns"]) > 0 and row["minflt"] != ""
            assert int(row["prepare_ns"]) > 0 and int(row["samples_in_round"]) == 3
            assert row["unpinned"] == "0"
    again = call("run", "--out", tmp_path / "r", "--registry", registry, "--quiet", "--variant",
                 "full,numpy/softmax,linear-elu,numpy/linear-elu:eps=0", "--n", 48, "--n-k", 64, "--causal",
                 "0,1", "--heads", 2, "--batch", 2, "--threads", "1,2", *SMALL)
    assert again.returncode == 0
    with open(tmp_path / "r" / "raw.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(raw)  # it was resumed: nothing was left to do


def test_all_and_plan(tmp_path, registry):
    plan = call("plan", "--registry", registry, "--variant", "flash,numpy/all", "--n", 64)
    assert plan.returncode == 0 and "numpy/softmax" in plan.stdout and "numpy/linear-elu" in plan.stdout
    rows = run(tmp_path / "r", registry, "--variant", "numpy/softmax", "--isa", "all", "--n", 32, *SMALL)
    assert sum(r["status"] == "ok" for r in rows) == 1  # an engine has one instruction set: its own


def test_list(registry):
    done = call("list", "--engines", "--registry", registry)
    assert done.returncode == 0
    assert "same as full" in done.stdout and f"numpy {np.__version__}" in done.stdout
    assert "engine missing is not here (./nowhere: No such file or directory): make nowhere" in done.stdout
    one = call("list", "numpy/softmax", "--registry", registry)
    assert one.returncode == 0 and one.stdout.startswith("numpy/softmax: softmax of numpy")


@pytest.mark.parametrize("variant,message", [
    ("nump/softmax", "there is no engine 'nump'; did you mean 'numpy'?"),
    ("numpy/softmx", "engine numpy has no variant 'softmx'; did you mean 'numpy/softmax'?"),
    ("numpy/softmax:m=3", "numpy/softmax has no parameter 'm'"),
])
def test_wrong_names(registry, variant, message):
    done = call("run", "--registry", registry, "--variant", variant)
    assert done.returncode == 2 and message in done.stderr


def test_wrong_registry(tmp_path):
    path = tmp_path / "e.ini"
    for text, message in [("[A b]\ncommand = x\n", "cannot be the name of an engine"),
                          ("[family]\ncommand = x\n", "cannot be the name"),
                          ("[a]\ncomand = x\n", "has 'comand', which is none of command"),
                          ("[a]\ninstall = x\n", "[a] has no command"),
                          ("[a]\ncommand = " + "x" * 300, "longer than 198 characters"),
                          ("what?\n", ":1: this line is neither")]:
        path.write_text(text, encoding="utf-8")
        done = call("list", "--engines", "--registry", path)
        assert done.returncode == 2 and message in done.stderr, done.stderr
    assert call("list", "--engines", "--registry", tmp_path / "none").returncode == 2


def test_verify_says_where(registry):
    done = call("verify", "--variant", "flash")
    assert done.returncode == 0
    done = call("verify", "--variant", "numpy/softmax")
    assert done.returncode == 2 and "err_impl_rel_fro" in done.stderr


def test_absent_parameter(tmp_path, registry):
    rows = run(tmp_path / "r", registry, "--variant", "numpy/linear-elu:chunk=8", "--n", 32, *SMALL)
    assert rows[0]["status"] == "unsupported" and "has no parameter chunk" in rows[0]["message"]


# --- engines that are not there, or not engines ---------------------------------------------------

@pytest.mark.parametrize("engine,status,message", [
    ("missing", "unsupported", "engine missing is not here"),
    ("mute", "failed", "engine mute ended before its greeting (exit code 7)"),
    ("rude", "failed", "engine rude greets with 'what do you want?'"),
    ("old", "failed", "speaks version 0 of the protocol"),
    ("odd", "failed", "neither the same as nor like one of ours"),
])
def test_no_engine(tmp_path, registry, engine, status, message):
    rows = run(tmp_path / "r", registry, "--variant", f"flash,{engine}/it:m=3", "--n", "32,64", *SMALL,
               code=1 if status == "failed" else 0)
    assert len(rows) == 4
    for row in rows:
        if row["variant"] == "flash":
            assert row["status"] == "ok"
        else:
            assert row["status"] == status and message in row["message"], row["message"]


# --- engines that fail on the way -------------------------------------------------------------------

FAULTS = [
    ("none", "ok", ""),
    ("print", "ok", ""),
    ("child", "ok", ""),
    ("sleep", "ok", ""),
    ("refuse", "unsupported", "engine faulty refuses: not today"),
    ("raise", "crash", "engine faulty failed at run: ValueError: no good at all"),
    ("oom", "oom", "has no memory for run: a million bytes too many"),
    ("kill", "crash", "was killed by signal 9 (Killed) during run"),
    ("segv", "crash", "was killed by signal 11"),
    ("exit", "crash", "ended with exit code 3 during run"),
    ("hang-plan", "timeout", "ended during plan of the engine"),
    ("hang-prepare", "timeout", "ended during prepare of the engine"),
    ("hang", "timeout", "no result after"),
    ("stubborn", "timeout", "no result after"),
    ("silent", "timeout", "no result after"),
    ("half", "timeout", "no result after"),
    ("garbage", "failed", "answered run with 'who goes there?'"),
    ("binary", "failed", "bytes that are no line of text"),
    ("long", "failed", "bytes that are no line of text"),
    ("close", "crash", "closed its output during run"),
    ("nan", "bad_output", "the output is nan at batch 0, head 0, query 39, channel 0"),
    ("unwritten", "bad_output", "nan at batch 0, head 0, query 0, channel 0"),
    ("outside", "bad_output", "past the end of the output"),
    ("mutate", "bad_output", "changed its inputs"),
    ("wrong", "inaccurate", "against our definition"),
    ("sum", "bad_output", "reports the sum"),
    ("clock", "failed", "its clock is not CLOCK_MONOTONIC"),
    ("past", "failed", "its clock is not CLOCK_MONOTONIC"),
    ("fast", "failed", "its times cannot be trusted"),
]


@pytest.fixture(scope="session")
def faulty_rows(tmp_path_factory, registry):
    """All faults in one run, among good cells, so that what one does to another would show."""
    wanted = ["flash", "numpy/softmax"] + [f"faulty/{fault}" for fault, _, _ in FAULTS]
    out = tmp_path_factory.mktemp("faults") / "run"
    rows = run(out, registry, "--variant", ",".join(wanted), "--n", "40", "--timeout", "5s", *SMALL, code=1)
    return out, rows


def test_faults_lose_no_row(faulty_rows):
    _, rows = faulty_rows
    assert len(rows) == len(FAULTS) + 2 and len({r["cell_id"] for r in rows}) == len(rows)
    assert [r["status"] for r in rows if not r["variant"].startswith("faulty/")] == ["ok", "ok"]


@pytest.mark.parametrize("fault,status,message", FAULTS)
def test_fault(faulty_rows, fault, status, message):
    row = next(r for r in faulty_rows[1] if r["variant"] == f"faulty/{fault}")
    assert row["status"] == status and message in row["message"], row["message"]
    if status == "ok":
        assert float(row["err_impl_rel_fro"]) < 1e-6


def test_faults_leave_nobody(faulty_rows):
    mine = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(FAULTY).encode() in command:
            mine.append(entry.name)
    assert mine == []


def test_memory_limit_counts_the_engine(tmp_path, registry):
    rows = run(tmp_path / "r", registry, "--variant", "faulty/hog", "--n", 40, "--memory", "256MiB", *SMALL, code=1)
    assert rows[0]["status"] == "oom" and "resident memory grew to" in rows[0]["message"]


def test_killed_from_outside(tmp_path, registry):
    """Engines are shot at random moments: every cell still has a row and a status."""
    pids = tmp_path / "pids"
    done = threading.Event()

    def shoot():
        shot = set()
        while not done.wait(0.15):
            for pid in pids.read_text().split() if pids.exists() else []:
                if pid not in shot:
                    shot.add(pid)
                    try:
                        os.kill(int(pid), signal.SIGKILL)
                    except ProcessLookupError:
                        pass

    shooter = threading.Thread(target=shoot)
    shooter.start()
    try:
        rows = run(tmp_path / "r", registry, "--variant", "flash,faulty/sleep,numpy/softmax", "--n", "24,32,40",
                   "--timeout", "20s", "--rounds", 2, "--d", 16, code=1, env={"FAULTY_PIDS": str(pids)})
    finally:
        done.set()
        shooter.join()
    assert len(rows) == 9
    for row in rows:
        good = "ok" if row["variant"] != "faulty/sleep" else ("ok", "crash")
        assert row["status"] in good, row
    assert any(r["status"] == "crash" and "signal 9" in r["message"] for r in rows)
