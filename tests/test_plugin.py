# SPDX-License-Identifier: BSD-3-Clause
"""Plug-ins from end to end, as a newcomer meets them: installed header, the template, one compiler
line, then list, verify, run and report; the examples in other languages; and plug-ins that lie."""

import csv
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("ATTNBENCH", str(ROOT / "attnbench"))
LIMIT = 300  # seconds: no test waits for a hanging program
CC = os.environ.get("CC", "cc")
FAST = ["--rounds", 1, "--samples", 3, "--d", 16, "--quiet"]

pytestmark = pytest.mark.skipif(not os.access(PROGRAM, os.X_OK), reason="build attnbench first")


def call(*args, code=0):
    done = subprocess.run([PROGRAM, *map(str, args)], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def rows(path):
    with open(path / "summary.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


@pytest.fixture(scope="session")
def include(tmp_path_factory):
    """What `make install` puts into include/."""
    folder = tmp_path_factory.mktemp("prefix") / "include" / "attnbench"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "attention" / "attn.h", folder)
    return folder.parent


@pytest.fixture(scope="session")
def examples(tmp_path_factory, include):
    out = tmp_path_factory.mktemp("examples")
    done = subprocess.run([ROOT / "attention" / "plugin" / "build.sh", out, include], capture_output=True,
                          text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout


def test_newcomer(tmp_path, include):
    """The steps of attention/README.md, word for word where it gives a command."""
    readme = (ROOT / "attention" / "README.md").read_text(encoding="utf-8")
    compile_line = re.search(r"^ +(cc .*mine\.so.*)$", readme, re.M).group(1)
    source = (ROOT / "attention" / "plugin" / "template.c").read_text(encoding="utf-8")
    source = re.sub(r"\balibi\b", "mine", source).replace("linear biases", "my own idea")
    (tmp_path / "mine.c").write_text(source, encoding="utf-8")
    built = subprocess.run([CC, *compile_line.split()[1:], f"-I{include}", "-Wall", "-Wextra", "-Wconversion",
                            "-Werror"], cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    so = tmp_path / "mine.so"
    assert "my own idea" in call("list", "--plugin", so, "mine")
    assert re.search(r"^mine +other", call("list", "--plugin", so), re.M)
    verified = call("verify", "--plugin", so, "--variant", "mine", "--isa", "auto")
    assert ", 0 failed," in verified and not verified.startswith("0 passed")
    out = tmp_path / "run"
    call("run", "--plugin", so, "--variant", "flash,mine,mine:factor=0", "--n", "48,64", "--causal", "0,1",
         "--threads", "1,2", "--out", out, *FAST)
    table = rows(out)
    mine = [r for r in table if r["variant"] == "mine"]
    assert len(table) == 24 and len(mine) == 16 and {r["status"] for r in table} == {"ok"}
    for row in mine:
        assert float(row["err_impl_rel_fro"]) < 5e-6 and float(row["time_median_ns"]) > 0
        assert row["ws_tracked_bytes"] == row["ws_model_bytes"] != ""
        if row["params"] == "factor=0":  # its limit: plain softmax
            assert float(row["err_exact_rel_fro"]) < 5e-6
    if not (ROOT / ".venv" / "bin" / "python").exists():
        pytest.skip("the report needs .venv: make deps")
    call("report", out, "--formats", "svg")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "mine" in page and (out / "figures").is_dir()


@pytest.mark.parametrize("name,family", [("alibi", "other"), ("sigmoid", "other"), ("relu", "other"),
                                         ("onednn", "exact")])
def test_example(tmp_path, examples, name, family):
    out, said = examples
    if f"{name} is left out" in said:
        pytest.skip(next(line for line in said.splitlines() if name in line))
    so = out / f"{name}.so"
    assert ", 0 failed," in call("verify", "--plugin", so, "--variant", name, "--isa", "auto")
    call("run", "--plugin", so, "--variant", f"flash,{name}", "--n", 40, "--threads", "1,2", "--out",
         tmp_path / "r", *FAST)
    table = rows(tmp_path / "r")
    assert len(table) == 4 and all(r["status"] == "ok" for r in table)
    assert {r["family"] for r in table if r["variant"] == name} == {family}


def test_examples_are_short():
    for name in ("sigmoid.cpp", "relu.rs"):
        lines = (ROOT / "attention" / "plugin" / name).read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 100, name


def test_wrong_abi(tmp_path, include):
    source = (ROOT / "attention" / "plugin" / "template.c").read_text(encoding="utf-8")
    (tmp_path / "old.c").write_text(source.replace(".abi = ATTN_ABI", ".abi = ATTN_ABI + 1"), encoding="utf-8")
    subprocess.run([CC, "-fPIC", "-shared", f"-I{include}", "-o", tmp_path / "old.so", tmp_path / "old.c", "-lm"],
                   check=True)
    done = subprocess.run([PROGRAM, "list", "--plugin", tmp_path / "old.so"], capture_output=True, text=True)
    assert done.returncode == 2 and "another version of attention/attn.h" in done.stderr


LIES = [("scratch", "bad_output", "past the end of scratch memory"), ("oob", "bad_output", "past the end of the output"),
        ("segv", "crash", "signal 11"), ("spin", "timeout", "no result after"),
        ("hog", "oom", "resident memory grew"), ("unwritten", "bad_output", "nan"), ("none", "ok", "")]


def test_lies_are_rows(tmp_path):
    """A plug-in that works beyond its work space, crashes, hangs or eats memory is a status each."""
    so = tmp_path / "faulty.so"
    subprocess.run([CC, "-std=c17", "-D_GNU_SOURCE", "-O1", "-fPIC", "-shared", "-o", so,
                    ROOT / "tests" / "faulty.c", "-lm", "-pthread"], check=True)
    call("run", "--plugin", so, "--variant", "flash," + ",".join(f"faulty:how={how}" for how, _, _ in LIES),
         "--n", 32, "--timeout", "5s", "--memory", "200MiB", "--out", tmp_path / "r", *FAST, code=1)
    table = {r["params"].split(":")[0] or r["variant"]: r for r in rows(tmp_path / "r")}
    assert len(table) == len(LIES) + 1
    for how, status, message in LIES:
        row = table[f"how={how}"]
        assert row["status"] == status and message in row["message"], row
    flash = next(r for r in rows(tmp_path / "r") if r["variant"] == "flash")
    assert flash["status"] == "ok"
