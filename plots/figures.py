# SPDX-License-Identifier: BSD-3-Clause
"""Which figures a run has, and writing them: PDF, SVG and PNG, in two widths."""
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from . import machine
from .lines import FEW, QUANTITIES, drawable, facts, family_lines, lines
from .pareto import pareto, points, telling_lengths

FORMATS = ("pdf", "svg", "png")
DPI = 220  # of the PNG
SUFFIX = {2: "", 1: "-1col"}  # of the file name, by columns


@dataclass(frozen=True)
class Figure:
    """One figure; its files are NAME.pdf, NAME-1col.pdf and so on, in `folder`."""
    slug: str      # of the group, also the name of its folder
    name: str      # "time", "memory", "error", "pareto-n4096", "time-families"
    title: str
    alt: str       # what it shows, for one who cannot see it
    columns: tuple  # widths there are

    def path(self, folder, columns, fmt):
        return Path(folder) / self.slug / f"{self.name}{SUFFIX[columns]}.{fmt}"


def plan(run, lengths=()):
    """Every figure of a run, in the order of a report.

    lengths: of the figures of error against time; () for a telling few."""
    out = []
    for group in run.groups:
        what = ", ".join(facts(group))
        for q in QUANTITIES.values():
            count = len(drawable(group, q))
            if not count:
                continue
            alt = f"{q.title}, log-log, {count} variants; {what}."
            out.append(Figure(group.slug, q.name, q.title, alt, (2, 1)))
            if count > FEW:
                title = f"{q.title}, family by family"
                out.append(Figure(group.slug, f"{q.name}-families", title,
                                  f"{title}; {what}.", (2,)))
        for n in lengths or telling_lengths(group):
            count = len(points(group, n))
            if count >= 2:
                title = f"Error against time at n = {n}"
                alt = f"{title}, {count} variants, front marked; {what}."
                out.append(Figure(group.slug, f"pareto-n{n}", title, alt, (2, 1)))
    return out


def draw(run, figure, columns):
    """The matplotlib figure."""
    group = next(g for g in run.groups if g.slug == figure.slug)
    cpu = machine.cpu(run.info)
    if figure.name.startswith("pareto-n"):
        return pareto(group, int(figure.name.removeprefix("pareto-n")), columns, cpu)
    if figure.name.endswith("-families"):
        return family_lines(group, QUANTITIES[figure.name.removesuffix("-families")], cpu)
    return lines(group, QUANTITIES[figure.name], columns, cpu)


def write(run, folder, wanted, formats=FORMATS):
    """Writes the figures of plan() below folder, on all CPUs, and returns their paths."""
    jobs = [(f, c) for f in wanted for c in f.columns]
    for slug in {f.slug for f in wanted}:
        (Path(folder) / slug).mkdir(parents=True, exist_ok=True)
    try:
        with ProcessPoolExecutor(initializer=_adopt, initargs=(run,)) as pool:
            list(pool.map(_write_one, jobs, repeat(folder), repeat(formats)))
    except (NotImplementedError, PermissionError):  # a sandbox without semaphores
        _adopt(run)
        for job in jobs:
            _write_one(job, folder, formats)
    return [f.path(folder, c, fmt) for f, c in jobs for fmt in formats]


_run = None  # of a worker process


def _adopt(run):
    global _run
    _run = run


def _write_one(job, folder, formats):
    figure, columns = job
    drawn = draw(_run, figure, columns)
    for fmt in formats:
        save(drawn, figure.path(folder, columns, fmt))


def save(drawn, path):
    """Without dates, so that the same data gives the same bytes."""
    fmt = Path(path).suffix[1:]
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[fmt]
    drawn.savefig(path, format=fmt, dpi=DPI if fmt == "png" else 72, metadata=metadata)

