# SPDX-License-Identifier: BSD-3-Clause
"""What tests of the command line share: running it, reading what it wrote."""

import collections
import csv
import os
import pathlib
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("ATTNBENCH", str(ROOT / "attnbench"))
# No A/A band of this machine: verdicts rest on the default margin.
ENVIRONMENT = {**os.environ, "XDG_CACHE_HOME": "/nonexistent"}
LIMIT = 120  # seconds: no test waits for a hanging program
FAST = ["--rounds", "2", "--samples", "3"]
CEILINGS = ["--seconds", "2ms"]  # nobody looks at them here

built = pytest.mark.skipif(not os.access(PROGRAM, os.X_OK), reason="build attnbench first")
# What takes minutes; `make check` runs it.
slow = pytest.mark.skipif(not os.environ.get("ATTNBENCH_SLOW"), reason="slow: ATTNBENCH_SLOW=1")


def call(*args, cwd=ROOT, env=None, **more):
    more.setdefault("timeout", LIMIT)
    ceilings = CEILINGS if args[:1] == ("run",) else []
    return subprocess.run([PROGRAM, *map(str, args), *ceilings], cwd=cwd, env={**ENVIRONMENT, **(env or {})},
                          capture_output=True, text=True, **more)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def run(out, *args, code=0, **more):
    done = call("run", "--out", out, *args, **more)
    assert done.returncode == code, done.stderr
    return done


def checked(out):
    """A run that `attnbench check` finds nothing wrong with."""
    done = call("check", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def time_groups(out):
    """(cell, pass, round) -> number of rows."""
    return collections.Counter((r["cell_id"], r["pass"], r["round"]) for r in rows(out / "raw.csv"))


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def compile_shared(source, directory, *libraries):
    """A shared object from a file of tests/."""
    so = directory / (source.removesuffix(".c") + ".so")
    cc = os.environ.get("CC", "cc")
    subprocess.run([cc, "-std=c17", "-D_GNU_SOURCE", "-O1", "-fPIC", "-shared", "-o", so,
                    ROOT / "tests" / source, *libraries], check=True)
    return so


@pytest.fixture(scope="session")
def faulty(tmp_path_factory):
    """The plug-in of faults, built for this test."""
    return compile_shared("faulty.c", tmp_path_factory.mktemp("plugin"), "-lm", "-pthread")
