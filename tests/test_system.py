# SPDX-License-Identifier: BSD-3-Clause
"""A system that refuses: files that cannot be written, calls that are forbidden, sensors and CPUs that are gone.

Rows that were measured stay, derived files are whole or absent, and a sentence says what happened.
"""

import errno
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from cli import (CEILINGS, ENVIRONMENT, FAST, LIMIT, PROGRAM, ROOT, built, call, checked, compile_shared, rows, run,
                 time_groups, wait_for)

pytestmark = built

TINY = ["--variant", "flash", "--n", "8", "--d", "8", "--rounds", "2", "--samples", "1", "--keep-weights", "8"]
WEIGHTS = 128 + 2 * 8 * 8 * 4  # bytes of the file that keeps them
SANITIZED = "sanitize" in os.environ.get("ATTNBENCH", "") or "asan" in os.environ.get("ATTNBENCH", "")


@pytest.fixture(scope="session")
def fault_io(tmp_path_factory):
    if SANITIZED:
        pytest.skip("a sanitizer must be loaded first")
    return compile_shared("fault_io.c", tmp_path_factory.mktemp("fault"), "-ldl")


@pytest.fixture(scope="session")
def refuse(tmp_path_factory):
    program = tmp_path_factory.mktemp("refuse") / "refuse"
    subprocess.run([os.environ.get("CC", "cc"), "-std=c17", "-D_GNU_SOURCE", "-O1", "-o", program,
                    ROOT / "tests" / "refuse.c"], check=True)
    return program


def faults(fault_io, out, what, nth, number, mark=None):
    env = {"LD_PRELOAD": str(fault_io), "FAULT_DIR": str(out), "FAULT_CALL": what, "FAULT_NTH": str(nth),
           "FAULT_ERRNO": str(int(number))}
    return {**env, "FAULT_MARK": str(mark)} if mark else env


def whole_or_absent(out):
    """What is made from raw.csv is never half there."""
    if (out / "summary.csv").exists():
        lines = (out / "summary.csv").read_text().splitlines()
        assert lines and all(line.count(",") == lines[0].count(",") for line in lines)
    if (out / "run.json").exists():
        json.loads((out / "run.json").read_text())
    assert all(path.stat().st_size == WEIGHTS for path in (out / "implied").glob("*.npy"))


def fails_and_goes_on(out, env, words):
    """A run that fails says so, and the next one finishes it."""
    done = call("run", *TINY, "--out", out, env=env)
    assert done.returncode in (0, 3), done.stderr
    if done.returncode == 3:
        assert str(out) in done.stderr or out.name in done.stderr or "raw.csv" in done.stderr, done.stderr
        assert words in done.stderr, done.stderr
    whole_or_absent(out)
    kept = len(rows(out / "raw.csv")) if (out / "raw.csv").exists() else 0
    again = call("run", *TINY, "--out", out)
    if "--fresh" in again.stderr:  # rows without run.json: nobody knows what measured them
        assert again.returncode == 3
        again = call("run", *TINY, "--out", out, "--fresh")
        kept = 0
    assert again.returncode == 0, again.stderr
    assert len(rows(out / "raw.csv")) >= kept
    checked(out)
    assert sorted(time_groups(out).values()) == [1] * 4  # memory, accuracy, two rounds
    assert [path.stat().st_size for path in (out / "implied").iterdir()] == [WEIGHTS]
    return done


# --- files -------------------------------------------------------------------

@pytest.mark.parametrize("what,number", [("write", errno.EIO), ("fsync", errno.EIO), ("rename", errno.EACCES),
                                         ("open", errno.EMFILE), ("ftruncate", errno.EIO)])
def test_each_call_in_turn(tmp_path, fault_io, what, number, stride):
    stopped = 0
    for nth in range(1, 100, stride):
        out, mark = tmp_path / str(nth), tmp_path / f"{nth}.mark"
        done = fails_and_goes_on(out, faults(fault_io, out, what, nth, number, mark), os.strerror(number))
        if not mark.exists():
            break
        stopped += done.returncode == 3
        shutil.rmtree(out)
    else:
        raise AssertionError("the faults have no end")
    assert stopped >= {"write": 6, "fsync": 4, "rename": 3, "open": 3, "ftruncate": 0}[what] // stride


@pytest.mark.parametrize("nth", [1, 4, 9])
def test_full_disk(tmp_path, fault_io, nth):
    out = tmp_path / "run"
    done = fails_and_goes_on(out, faults(fault_io, out, "write", f"{nth}+", errno.ENOSPC), "No space left")
    assert done.returncode == 3


def test_disk_that_fills(tmp_path):
    """A limit on the size of files, as a quota is."""
    out = tmp_path / "run"
    args = [PROGRAM, "run", "--variant", "flash", "--n", "8", "--rounds", "40", "--samples", "10", *CEILINGS]
    limited = ["prlimit", "--fsize=60000", *args, "--out", str(out)]
    if not shutil.which("prlimit"):
        pytest.skip("needs prlimit")
    done = subprocess.run(limited, env=ENVIRONMENT, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 3 and "raw.csv" in done.stderr, done.stderr
    whole_or_absent(out)
    before = rows(out / "raw.csv")
    done = subprocess.run([*args, "--out", str(out)], env=ENVIRONMENT, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    after = rows(out / "raw.csv")
    assert after[:len(before)] == before and len(after) == 2 + 40 * 10
    checked(out)


def test_interrupted_writes(tmp_path, fault_io):
    for nth in [1, 3, 6, 9]:
        out = tmp_path / str(nth)
        done = call("run", *TINY, "--out", out, env=faults(fault_io, out, "write", nth, errno.EINTR))
        assert done.returncode == 0, done.stderr
        checked(out)


@pytest.mark.parametrize("nth", [2, 4, 5, 8])
def test_short_write(tmp_path, fault_io, nth):
    """Of a group of rows that did not fit, nothing is left; a shorter write elsewhere goes on."""
    out = tmp_path / "run"
    fails_and_goes_on(out, faults(fault_io, out, "write", nth, 0), "the disk is full")


def test_read_only_directory(tmp_path):
    out = tmp_path / "run"
    run(out, *TINY)
    before = (out / "raw.csv").read_bytes()
    for path in [*out.iterdir(), out]:
        path.chmod(0o500 if path == out else 0o400)
    if os.access(out / "raw.csv", os.W_OK):  # root may all the same
        command = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", PROGRAM]
        if not shutil.which("setpriv") or subprocess.run([*command, "--version"], capture_output=True).returncode:
            for path in [out, *out.iterdir()]:
                path.chmod(0o700)
            pytest.skip("root, and nobody may not run this program")
    else:
        command = [PROGRAM]
    done = subprocess.run([*command, "run", *TINY, "--out", str(out)], env=ENVIRONMENT,
                          capture_output=True, text=True, timeout=LIMIT)
    for path in [out, *out.iterdir()]:
        path.chmod(0o700)
    assert done.returncode == 3 and "Permission denied" in done.stderr, done.stderr
    assert (out / "raw.csv").read_bytes() == before


# --- the machine -------------------------------------------------------------

def test_suspended(tmp_path, fault_io):
    """The machine slept during a worker: it is measured again, and the log says so."""
    out = tmp_path / "run"
    env = faults(fault_io, "/nonexistent", "clock", 4, 0)
    done = call("run", *TINY, "--out", out, env=env)
    assert done.returncode == 0, done.stderr
    log = (out / "events.log").read_text()
    assert " suspended " in log and "it is measured again" in log and "36" in log
    checked(out)


def test_wrong_products(tmp_path, fault_io):
    out = tmp_path / "run"
    done = call("run", *TINY, "--out", out, env=faults(fault_io, out, "sgemm", 0, 0))
    assert done.returncode == 3
    assert "OpenBLAS computes wrong products on this CPU" in done.stderr and "OPENBLAS_CORETYPE" in done.stderr
    assert not (out / "raw.csv").exists()
    done = call("selftest", env=faults(fault_io, out, "sgemm", 0, 0))
    assert done.returncode != 0


@pytest.mark.parametrize("mib", [200, *(pytest.param(m, marks=pytest.mark.slow) for m in (150, 400, 700))])
def test_little_address_space(tmp_path, mib):
    """OpenBLAS has been seen to spin where memory is limited: whatever it does, the run ends and says why."""
    if SANITIZED or not shutil.which("prlimit"):
        pytest.skip("needs prlimit and no sanitizer")
    out = tmp_path / "run"
    done = subprocess.run(["prlimit", f"--as={mib << 20}", PROGRAM, "run", *TINY, "--timeout", "1", *CEILINGS,
                           "--out", str(out)], env=ENVIRONMENT, capture_output=True, text=True, timeout=4 * LIMIT)
    assert done.returncode in (0, 1, 3, 127) and (done.returncode == 0 or done.stderr.strip()), done
    if done.returncode == 1:
        assert all(r["message"] for r in rows(out / "summary.csv") if r["status"] != "ok")


def test_no_proc_no_sys(tmp_path):
    """Empty cells, each with its reason."""
    (tmp_path / "root").mkdir()
    out = tmp_path / "run"
    done = run(out, "--variant", "flash,full", "--n", 32, *FAST, "--sysroot", tmp_path / "root")
    assert done.returncode == 0
    for row in rows(out / "raw.csv"):
        for column in ["steal_ticks", "freq_khz", "run_delay_ns", "rss_peak_bytes", "throttled"]:
            assert row[column] == "", column
        assert row["pass"] != "time" or (row["wall_ns"] and row["nivcsw"])
    sensors = json.loads((out / "run.json").read_text())["sensors"]
    absent = {name: s["reason"] for name, s in sensors.items() if not s["available"]}
    assert len(absent) > 8 and all(absent.values())
    checked(out)


REFUSED = [
    "perf_event_open", "pidfd_open", "close_range", "mbind,set_mempolicy,get_mempolicy", "sched_setaffinity",
    "madvise", "getrusage", "prctl",
]


@pytest.mark.parametrize("names", REFUSED)
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_refused_calls(tmp_path, refuse, names, number):
    out = tmp_path / "run"
    done = subprocess.run([refuse, str(int(number)), names, PROGRAM, "run", "--variant", "flash,full", "--n", "32",
                           *FAST, *CEILINGS, "--out", str(out)], env=ENVIRONMENT, capture_output=True, text=True,
                          timeout=LIMIT)
    if done.returncode == 77:
        pytest.skip("no seccomp filters here")
    assert done.returncode == 0, done.stderr
    table = rows(out / "summary.csv")
    assert len(table) == 2 and all(r["status"] == "ok" and r["time_median_ns"] for r in table)
    checked(out)
    if names == "sched_setaffinity":
        assert all("unpinned" in r["flags"] for r in table)
    if names == "perf_event_open":
        sensors = json.loads((out / "run.json").read_text())["sensors"]
        assert not sensors["cycles"]["available"] and sensors["cycles"]["reason"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_cpus_vanish(tmp_path):
    out = tmp_path / "run"
    child = subprocess.Popen([PROGRAM, "run", "--variant", "flash", "--n", "64", "--threads", "2", "--rounds", "8",
                              "--samples", "3", "--out", str(out), *CEILINGS], env=ENVIRONMENT,
                             stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    wait_for(lambda: (out / "raw.csv").exists() and len(rows(out / "raw.csv")) > 5)
    os.sched_setaffinity(child.pid, {min(os.sched_getaffinity(0))})
    _, err = child.communicate(timeout=LIMIT)
    assert child.returncode == 0, err
    (row,) = rows(out / "summary.csv")
    assert row["status"] == "ok" and row["rounds"] == "8"
    if "not pinned any more" in err:  # unless it had ended before
        assert "unpinned" in row["flags"]
    checked(out)


# --- words and streams -------------------------------------------------------

def test_locale_and_names(tmp_path):
    """A decimal comma and odd names change no byte of the files."""
    made = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", str(tmp_path / "de_DE.UTF-8")],
                          capture_output=True) if shutil.which("localedef") else None
    env = {"LOCPATH": str(tmp_path), "LC_ALL": "de_DE.UTF-8"} if made and made.returncode == 0 else \
        {"LC_ALL": "de_DE.UTF-8"}
    plain = call("plan", "--variant", "all", "--n", "64,128", "--format", "csv")
    german = call("plan", "--variant", "all", "--n", "64,128", "--format", "csv", env=env)
    keep = lambda text: [line.split(",")[:8] for line in text.splitlines()]  # times are predicted anew
    assert keep(plain.stdout) == keep(german.stdout)
    sample = tmp_path / 'an "odd" name; of = one'
    shutil.copytree(ROOT / "datasets" / "real" / "minilm", sample)
    out = tmp_path / 'out, "quoted"\nin two lines'
    done = run(out, "--variant", "flash,linear-elu", "--n", 64, "--d", 32, "--data", f"file:{sample}", *FAST, env=env)
    table = rows(out / "summary.csv")
    assert {r["input_kind"] for r in table} == {f"file:{sample}"} and {r["status"] for r in table} == {"ok"}
    assert all("," not in r["time_median_ns"] and float(r["time_median_ns"]) > 0 for r in table)
    checked(out)
    before = (out / "summary.csv").read_bytes()
    run(out, "--variant", "flash,linear-elu", "--n", 64, "--d", 32, "--data", f"file:{sample}", *FAST)
    assert (out / "summary.csv").read_bytes() == before
    assert done.stdout


def test_all_streams_closed(tmp_path):
    out = tmp_path / "run"
    done = subprocess.run(f"'{PROGRAM}' run {' '.join(TINY)} {' '.join(CEILINGS)} --out '{out}' <&- 2>&- >/dev/null",
                          shell=True, env=ENVIRONMENT, timeout=LIMIT)
    assert done.returncode == 0
    checked(out)
    again = tmp_path / "again"
    done = subprocess.run(f"'{PROGRAM}' run {' '.join(TINY)} {' '.join(CEILINGS)} --out '{again}' <&- >&- 2>&-",
                          shell=True, env=ENVIRONMENT, timeout=LIMIT)
    assert done.returncode == 0  # what nobody wants to read is no error
    checked(again)


def test_reader_that_leaves(tmp_path):
    """stdout and stderr are pipes nobody reads: the measurement goes on."""
    out = tmp_path / "run"
    child = subprocess.Popen([PROGRAM, "run", *TINY, *CEILINGS, "--out", str(out)], env=ENVIRONMENT,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.close()
    child.stderr.close()
    assert child.wait(LIMIT) in (0, 3)
    checked(out)
