# SPDX-License-Identifier: BSD-3-Clause
"""What run.json says of the machine and the run, as far as it says it."""

SECTIONS = [  # heading, [(label, paths that may hold it)]
    ("Machine", [
        ("CPU", ["cpu_model", "model_name", "cpu.model", "cpu.name"]),
        ("Instruction sets", ["isa", "cpu_flags", "cpu.flags"]),
        ("CPUs allowed", ["effective_cpus", "allowed_cpus", "cpus"]),
        ("Cores", ["cores", "n_cores"]),
        ("Caches", ["caches", "cache", "cache_sizes"]),
        ("Memory", ["mem_total_bytes", "memory.total_bytes", "mem_total"]),
        ("NUMA nodes", ["numa_nodes", "numa"]),
        ("Guest of a hypervisor", ["hypervisor"]),
        ("Frequency governor", ["governor"]),
        ("Huge pages", ["thp", "thp_mode"]),
    ]),
    ("Software", [
        ("Kernel", ["kernel"]),
        ("C library", ["libc"]),
        ("Compiler", ["compiler"]),
        ("Flags", ["compiler_flags", "cflags", "flags"]),
        ("BLAS", ["openblas_config", "openblas", "blas"]),
        ("hwloc", ["hwloc_version", "hwloc"]),
    ]),
    ("Run", [
        ("Status", ["status"]),
        ("Started", ["start", "started", "start_utc", "started_utc"]),
        ("Ended", ["end", "ended", "end_utc", "ended_utc"]),
        ("Profile", ["profile", "config.profile"]),
        ("Clock resolution", ["clock_resolution_ns", "clock.resolution_ns"]),
        ("Cells by status", ["counts", "status_counts"]),
    ]),
]


def cpu(info):
    """Name of the processor, for a figure; "" where it is not known."""
    value = _find(info, SECTIONS[0][1][0][1])
    return " ".join(str(value).split()) if isinstance(value, str) else ""


def command(info):
    """The command line as one types it, or ""."""
    argv = _find(info, ["argv", "command", "command_line"])
    if isinstance(argv, list):
        return " ".join(_quoted(str(a)) for a in argv)
    return str(argv) if argv else ""


def commit(info):
    """"0123abc (with changes)", or ""."""
    value = _find(info, ["git_commit", "git.commit", "commit", "build.commit"])
    if not isinstance(value, str) or not value:
        return ""
    dirty = _find(info, ["git_dirty", "git.dirty", "dirty"])
    return value + (" with changes that are not committed" if dirty else "")


def sections(info):
    """[(heading, [(label, value)])] of what is known."""
    out = []
    for heading, wanted in SECTIONS:
        rows = [(label, _say(label, _find(info, paths))) for label, paths in wanted]
        rows = [(label, value) for label, value in rows if value]
        if heading == "Run":
            rows += [(f"Warning {i}", str(w)) for i, w in
                     enumerate(_find(info, ["warnings"]) or [], 1)]
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
    """First value that is there: at the path itself, or with its last name one
    level down, whatever the section is called."""
    for path in paths:
        value = info
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            return value
    for path in paths:
        if "." not in path:
            for section in info.values():
                if isinstance(section, dict) and section.get(path) is not None:
                    return section[path]
    return None


def _say(label, value):
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_say(label + str(k), v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(_say(label, v) for v in value)
    if isinstance(value, int) and value >= 4096 and any(
            w in label.lower() for w in ("bytes", "memory", "cache")):
        from .axes import bytes_text
        return bytes_text(value)
    return str(value)


def _quoted(word):
    safe = all(c.isalnum() or c in "-_./:=,+@%^" for c in word) and word
    return word if safe else "'" + word.replace("'", "'\\''") + "'"
