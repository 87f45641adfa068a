# SPDX-License-Identifier: BSD-3-Clause
"""What surrounds the program: help, manual page, completion, installation."""
import os
import pty
import re
import shutil
import subprocess

import pytest

from cli import PROGRAM, ROOT, built, call, wait_for

pytestmark = built
VERBS = call("complete", "attnbench ").stdout.split() if os.access(PROGRAM, os.X_OK) else []
PLOTS = ["report", "figures", "findings", "fit", "compare", "lint", "peers"]


def options_of(verb):
    return set(re.findall(r"^ .{5}--([a-z-]+)", call(verb, "--help").stdout, re.M))


def test_help_of_every_verb():
    for verb in [v for v in VERBS if not v.startswith("-")]:
        done = call(verb, "--help")
        assert done.returncode == 0 and done.stderr == ""
        assert done.stdout == call("help", verb).stdout
        assert done.stdout.startswith(f"attnbench {verb}") and "--help" in done.stdout


@pytest.mark.parametrize("verb", PLOTS)
def test_the_table_has_the_options_that_plots_reads(verb):
    python = ROOT / ".venv" / "bin" / "python"
    said = subprocess.run([python, "-m", "plots", verb, "--help"], cwd=ROOT, capture_output=True, text=True,
                          check=True).stdout
    assert set(re.findall(r"--([a-z][a-z-]+)", said.split("options:")[1])) >= options_of(verb)
    assert set(re.findall(r"^  (?:-h, )?--([a-z-]+)", said, re.M)) == options_of(verb)


@pytest.mark.parametrize("width", [30, 50, 80])
def test_help_keeps_to_a_narrow_terminal(width):
    for args in (["--help"], ["run", "--help"], ["lint", "--help"]):
        for line in call(*args, env={"COLUMNS": str(width)}).stdout.splitlines():
            name = line.lstrip().startswith(("-", "usage"))  # is not broken
            assert len(line) <= width or name or " " not in line.strip(), line


def test_no_colour_where_it_is_not_wanted():
    """In a terminal, as script(1) makes one."""
    if not shutil.which("script"):
        pytest.skip("script is not installed")
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        done = subprocess.run(["script", "-qec", f"{PROGRAM} doctor", "/dev/null"], capture_output=True, text=True,
                              env={**os.environ, "TERM": "xterm", **env}, timeout=60, stdin=subprocess.DEVNULL)
        if coloured and "\033[" not in done.stdout:
            pytest.skip("nothing here is worth a colour")
        assert ("\033[" in done.stdout) == coloured


def test_manual_page():
    page = call("help", "--as", "man").stdout
    assert page.startswith(".TH ATTNBENCH 1 ")
    for section in ("NAME", "SYNOPSIS", "VERBS", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "EXAMPLES"):
        assert f"\n.SH {section}\n" in page
    for verb in [v for v in VERBS if not v.startswith("-")]:
        assert re.search(rf"^\.B {verb}\b", page, re.M)
    assert all(line.startswith((".TH ", ".SH ", ".TP", ".B ", ".I ", ".br")) for line in page.splitlines()
               if line.startswith((".", "'")))
    if not shutil.which("groff"):
        pytest.skip("groff is not installed: structure only")
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8"], input=page, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    plain = re.sub(".\x08", "", done.stdout)  # bold is struck twice
    assert "--variant" in plain and "torch/sdpa-flash" in plain


@pytest.mark.parametrize("line, wanted, exact", [
    ("attnbench rep", ["report"], True),
    ("attnbench run --vari", ["--variant"], True),
    ("attnbench run --variant full,flas", ["full,flash"], True),
    ("attnbench run --variant=full,flas", ["--variant=full,flash"], True),
    ("attnbench run -v performer:map=h", ["performer:map=hyperbolic"], True),
    ("attnbench run -v performer:m=128:ort", ["performer:m=128:ortho="], True),
    ("attnbench run --data gauss,log", ["gauss,logits"], True),
    ("attnbench run --data real:", ["real:minilm"], True),
    ("attnbench run --profile ", ["quick", "standard", "report"], True),
    ("attnbench run --n ", [], True),
    ("attnbench run ", [":sweep"], True),
    ("attnbench run --out ", [":dir"], True),
    ("attnbench lint ", [":file"], True),
    ("attnbench fit --format ", ["text", "md", "csv", "tex"], True),
    ("attnbench figures --formats pdf,", ["pdf,svg"], False),
    ("attnbench list ", ["flash", "linformer"], False),
    ("attnbench help com", ["compare"], True),
    ("attnbench nonsense ", [], True),
    ("attnbench", [], True),
    ("", [], True),
])
def test_what_may_follow(line, wanted, exact):
    got = call("complete", line).stdout.split()
    assert got == wanted if exact else set(wanted) <= set(got)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    dest = tmp_path_factory.mktemp("dest")
    subprocess.run(["make", "-s", "install", f"DESTDIR={dest}", "PREFIX=/opt/x", f"BUILD={ROOT}/build/installed",
                    "-o", "attnbench"], cwd=ROOT, check=True, capture_output=True, timeout=120)
    return dest / "opt" / "x"


def test_installed_program_works(prefix, tmp_path):
    program = prefix / "bin" / "attnbench"

    def start(*args):
        return subprocess.run([program, *args], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    run = start("run", "--variant", "full,flash", "--n", "64,128", "--d", "32", "--data", "real:minilm", "--rounds", "2", "--samples",
                "3", "--seconds", "2ms", "--out", "first", "--quiet")
    assert run.returncode == 0, run.stderr
    report = start("findings", "first")
    assert report.returncode == 3 and "pip install -r" in report.stderr and str(prefix) in report.stderr
    (prefix / "share" / "attnbench" / ".venv").symlink_to(ROOT / ".venv")
    report = start("report", "first", "--overlay")
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "first" / "report.html").is_file()
    assert start("lint", prefix / "share/attnbench/results/published/lra-cost.csv").returncode == 1


def test_installed_header_builds_a_plugin(prefix, tmp_path):
    if not shutil.which("pkg-config"):
        pytest.skip("pkg-config is not installed")
    flags = subprocess.run(["pkg-config", f"--define-variable=prefix={prefix}", "--cflags", "attnbench"], text=True,
                           capture_output=True, check=True,
                           env={**os.environ, "PKG_CONFIG_PATH": str(prefix / "share/pkgconfig")}).stdout.split()
    so = tmp_path / "alibi.so"
    subprocess.run([os.environ.get("CC", "cc"), "-std=c17", "-fPIC", "-shared", *flags, "-o", so,
                    prefix / "share/attnbench/plugin/template.c", "-lm"], check=True)
    done = subprocess.run([prefix / "bin/attnbench", "list", "--plugin", so], capture_output=True, text=True, check=True)
    assert "alibi" in done.stdout


BASH = r"""
source "$1/share/bash-completion/completions/attnbench"
compopt() { :; }
try() {  # LINE WORD...: as bash calls a completion function
	COMP_LINE=$1; COMP_POINT=${#1}; shift
	COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _attnbench; echo "${COMPREPLY[*]}"
}
try "attnbench rep" attnbench rep
try "attnbench run --variant full,flas" attnbench run --variant full,flas
try "attnbench run --variant=full,flas" attnbench run --variant = full,flas
try "attnbench run -v performer:map=" attnbench run -v performer : map =
try "attnbench run -v performer:m=1:ort" attnbench run -v performer : m = 1 : ort
try "attnbench report resul" attnbench report resul
complete -p attnbench
"""


def test_bash_completes(prefix):
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    done = subprocess.run(["bash", "-c", BASH, "bash", prefix], capture_output=True, text=True, cwd=ROOT,
                          env={**os.environ, "PATH": f"{prefix}/bin:{os.environ['PATH']}"})
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["report", "full,flash", "full,flash", "positive hyperbolic trig", "ortho=", "results",
                                        "complete -F _attnbench attnbench"]


ZSHRC = r"""
fpath=($PREFIX/share/zsh/site-functions $fpath)
autoload -Uz compinit && compinit -u
note() { print -r -- "$BUFFER" >>$NOTES; BUFFER= }
zle -N note && bindkey '^G' note
zle-line-init() { : >>$NOTES }
zle -N zle-line-init
"""
ZSH = {  # what is typed before a tab, and the line behind it
    "attnbench rep": "attnbench report ", "attnbench run --vari": "attnbench run --variant ",
    "attnbench run --keep-weights 8 --no-acc": "attnbench run --keep-weights 8 --no-accuracy ",
    "attnbench run --variant full,flas": "attnbench run --variant full,flash ",
    "attnbench run --variant=full,flas": "attnbench run --variant=full,flash ",
    "attnbench run -v performer:m=1:ort": "attnbench run -v performer:m=1:ortho=",
    "attnbench run -v performer:map=pos": "attnbench run -v performer:map=positive ",
    "attnbench run --data gauss:sig": "attnbench run --data gauss:sigma=",
    "attnbench run harness/sweeps/defa": "attnbench run harness/sweeps/default.ini ",
    "attnbench report resul": "attnbench report results/", "attnbench run --out=resul": "attnbench run --out=results/",
}


def test_zsh_completes(prefix, tmp_path):
    """At the prompt of a zsh that reads the installed script."""
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    notes = tmp_path / "notes"
    (tmp_path / ".zshrc").write_text(ZSHRC)
    terminal, inside = pty.openpty()
    env = {**os.environ, "PATH": f"{prefix}/bin:{os.environ['PATH']}", "PREFIX": str(prefix), "NOTES": str(notes),
           "ZDOTDIR": str(tmp_path), "TERM": "dumb"}
    with subprocess.Popen(["zsh", "-i"], cwd=ROOT, env=env, stdin=inside, stdout=inside, stderr=inside,
                          start_new_session=True) as shell:
        try:
            wait_for(notes.exists)
            for count, line in enumerate(ZSH, 1):
                os.write(terminal, f"{line}\t\a".encode())
                wait_for(lambda: len(notes.read_text().splitlines()) == count)
        finally:
            screen = os.read(terminal, 1 << 16)
            shell.kill()
    assert dict(zip(ZSH, notes.read_text().splitlines())) == ZSH, screen


def test_uninstall_leaves_nothing(prefix):
    dest = str(prefix).removesuffix("/opt/x")
    link = prefix / "share/attnbench/.venv"
    if link.is_symlink():
        link.unlink()
    subprocess.run(["make", "-s", "uninstall", f"DESTDIR={dest}", "PREFIX=/opt/x"], cwd=ROOT, check=True)
    assert [p for p in prefix.rglob("*") if not p.is_dir()] == []
