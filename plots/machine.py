# SPDX-License-Identifier: BSD-3-Clause
"""What run.json says of the machine and the run, as far as it says it."""
import shlex

from .axes import bytes_text

SECTIONS = [  # heading, [(label, paths that may hold it)]
    ("Machine", [
        ("CPU", ["machine.cpu_model", "cpu_model"]),
        ("Cores", ["topology.cores"]),
        ("CPUs this run may use", ["topology.effective_cpus"]),
        ("L1 data cache", ["topology.l1d_bytes"]),
        ("L2 cache", ["topology.l2_bytes"]),
        ("L3 cache", ["topology.l3_bytes"]),
        ("Memory", ["machine.memory_total_bytes"]),
        ("NUMA nodes", ["topology.numa_nodes"]),
        ("Hypervisor", ["machine.hypervisor"]),
        ("Frequency governor", ["machine.governor"]),
        ("Huge pages", ["machine.transparent_hugepages"]),
    ]),
    ("Software", [
        ("System", ["machine.os"]),
        ("Kernel", ["machine.kernel"]),
        ("C library", ["machine.libc"]),
        ("Compiler", ["build.compiler"]),
        ("Flags", ["build.flags"]),
        ("BLAS", ["blas.config"]),
        ("attnbench", ["build.version"]),
    ]),
    ("Run", [
        ("Status", ["status"]),
        ("Started", ["start"]),
        ("Ended", ["end"]),
        ("Profile", ["config.profile"]),
        ("Sweep", ["sweep.path"]),
        ("Clock resolution in ns", ["timing.resolution_ns"]),
        ("Load at the start", ["machine.load1"]),
    ]),
]


def cpu(info):
    """Name of the processor, for a figure; "" where it is not known."""
    value = _find(info, SECTIONS[0][1][0][1])
    return " ".join(str(value).split()) if isinstance(value, str) else ""


def command(info):
    """The command line as one types it, or ""."""
    argv = _find(info, ["argv"])
    return shlex.join(str(a) for a in argv) if isinstance(argv, list) else ""


def commit(info):
    """"0123abc with changes ...", or ""."""
    value = _find(info, ["build.git_commit"])
    if not isinstance(value, str) or not value:
        return ""
    dirty = _find(info, ["build.git_dirty"])
    return value + (" with changes that are not committed" if dirty else "")


def sections(info):
    """[(heading, [(label, value)])] of what is known."""
    out = []
    for heading, wanted in SECTIONS:
        rows = [(label, _say(paths[0], _find(info, paths))) for label, paths in wanted]
        rows = [(label, value) for label, value in rows if value]
        if rows:
            out.append((heading, rows))
    return out


def everything(info, prefix=""):
    """run.json as flat rows [("cpu.model", "...")]."""
    rows = []
    for key, value in info.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            rows += everything(value, name + ".") if value else [(name, "none")]
        else:
            rows.append((name, _say(name, value) or "not available"))
    return rows


def _find(info, paths):
    """First value that is there, None if none is."""
    for path in paths:
        value = info
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            return value
    return None


def _say(name, value):
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_say(k, v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(_say(name, v) for v in value)
    if isinstance(value, int) and name.endswith("_bytes"):
        return bytes_text(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
