# SPDX-License-Identifier: BSD-3-Clause
"""Which figures a run has, and writing them: PDF, SVG and PNG, in two widths."""
import io
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import matplotlib

from . import forest, inputs, knobs, machine, matrices, noise, published, roofline, trade
from .lines import ACCURACY, FEW, MEMORY, QUANTITIES, WORK, drawable, facts, family_lines, lines, said
from .pareto import SAID, best_length, pareto, points, telling_lengths, usual_cost

FORMATS = ("pdf", "svg", "png")
DPI = 220  # of the PNG
SUFFIX = {2: "", 1: "-1col"}  # of the file name, by columns
RUN = "run"  # folder of figures of the whole run


@dataclass(frozen=True)
class Figure:
    """One figure; its files are NAME.pdf, NAME-1col.pdf and so on, in `folder`."""
    slug: str      # of the group, also the name of its folder; RUN: of the whole run
    name: str      # "time", "memory", "error", "pareto-n4096", "time-families" ...
    title: str
    alt: str       # what it shows, for one who cannot see it
    columns: tuple  # widths there are

    def path(self, folder, columns, fmt):
        return Path(folder) / self.slug / f"{self.name}{SUFFIX[columns]}.{fmt}"


def plan(analysis, lengths=(), overlay=False):
    """Every figure of a run, in the order of a report.

    lengths: of the figures of error against time; () for a telling few."""
    out = []
    for group in analysis.run.groups:
        out += _of_group(analysis, group, lengths)
    return out + _of_run(analysis, overlay)


def _of_group(analysis, group, lengths):
    what = ", ".join(facts(group))
    out = []

    def add(name, title, columns=(2, 1), more=""):
        out.append(Figure(group.slug, name, title, f"{title}{more}; {what}.", columns))
    for q in (said(q, group) for q in QUANTITIES.values()):
        count = len(drawable(group, q))
        if count:
            scale = "" if q.name == ACCURACY.name else ", log-log"
            add(q.name, q.title, (2, 1), f"{scale}, {count} variants")
        if count > FEW:
            add(f"{q.name}-families", f"{said(q, group).title}, family by family", (2,))
    for n in lengths or telling_lengths(group):
        count = len(points(group, n))
        if count >= 2:
            add(f"pareto-n{n}", f"Error against {SAID[usual_cost(group).name]} at n = {n}", more=f", {count} variants, front marked")
    best = best_length(group)
    if best and len(points(group, best, MEMORY)) >= 2:
        add(f"memory-pareto-n{best}", f"Error against peak workspace at n = {best}", more=", front marked")
    if best and usual_cost(group).name != WORK.name and knobs.knobs(group, best):
        add(f"work-pareto-n{best}", f"Error against operations at n = {best}", more=", front marked")
    kept = matrices.length(analysis.run, group)
    if kept:
        add(f"implied-n{kept}", f"Weights that variants imply at n = {kept}", more=", beside exact ones")
    for name, title, drawn in (
            ("fronts", "Fronts of error against time", trade.has_fronts(group)),
            ("equal-error", "Speed at equal error", trade.has_equal_error(group)),
            ("exponents", "Exponents of time with intervals", any(analysis.fit(s, "time") for s in group.series)),
            ("bubble", f"Speed, quality and memory at n = {best}", best and trade.has_bubble(group, best)),
            ("knobs", f"What a parameter buys at n = {best}", best and bool(knobs.knobs(group, best))),
            ("roofline", f"Roofline at n = {best}", best and usual_cost(group).name != WORK.name
             and roofline.ceilings(analysis.run, group) is not None)):
        if drawn:
            add(name, title)
    return out


def _of_run(analysis, overlay):
    run, out = analysis.run, []
    for base in ("flash", "full"):
        if forest.mapped_groups(run, base):
            out.append(_run_figure(f"crossovers-{base}", f"Lengths from which variants are faster than {base}"))
    if matrices.heads(run):
        out.append(_run_figure("entropy", "How peaked the heads of stored inputs are"))
    for sweep in inputs.sweeps(run):
        out.append(_run_figure(f"input-{sweep.name}", inputs.title(sweep)))
        if inputs.held(sweep):
            out.append(_run_figure(f"held-{sweep.name}", inputs.held_title(sweep)))
    if noise.table(run) is not None:
        out.append(_run_figure("noise", "How quiet the machine was"))
    if overlay and published.agreement(analysis) is not None:
        out.append(_run_figure("published", "Published exponents and crossovers beside those measured", (2,)))
    return out


def _run_figure(name, title, columns=(2, 1)):
    return Figure(RUN, name, title, f"{title}.", columns)


def skipped(run):
    """Figures that there would be if the run had more, and what it would take."""
    out = []
    if not any(matrices.length(run, g) for g in run.groups):
        out.append("no weights that variants imply: the run kept none, which `--keep-weights 256` does up to 256 tokens.")
    if run.groups and all(roofline.ceilings(run, g) is None for g in run.groups):
        out.append("no roofline: run.json holds no ceilings of the machine for these threads.")
    if not run.cells["task_accuracy"].notna().any():
        out.append("no task accuracy: no input of the run is a task.")
    return out


def draw(analysis, figure, columns):
    """The matplotlib figure."""
    cpu, run, name = machine.cpu(analysis.run.info), analysis.run, figure.name
    if figure.slug == RUN:
        if name.startswith("crossovers-"):
            return forest.crossover_map(analysis, name.removeprefix("crossovers-"), columns, cpu)
        if name.startswith(("input-", "held-")):
            what, _, rest = name.partition("-")
            sweep = next(s for s in inputs.sweeps(run) if s.name == rest)
            return (inputs.curves if what == "input" else inputs.states)(sweep, columns, cpu)
        if name == "published":
            return published.overlay(analysis, columns, cpu)
        return {"entropy": matrices.entropy, "noise": noise.noise}[name](run, columns, cpu)
    group = next(g for g in run.groups if g.slug == figure.slug)
    if name.startswith("pareto-n"):
        return pareto(group, int(name.removeprefix("pareto-n")), columns, cpu)
    if name.startswith("memory-pareto-n"):
        return pareto(group, int(name.removeprefix("memory-pareto-n")), columns, cpu, MEMORY)
    if name.startswith("work-pareto-n"):
        return pareto(group, int(name.removeprefix("work-pareto-n")), columns, cpu, WORK)
    if name.startswith("implied-n"):
        return matrices.heat(run, group, int(name.removeprefix("implied-n")), columns, cpu)
    if name.endswith("-families"):
        return family_lines(group, QUANTITIES[name.removesuffix("-families")], cpu)
    if name in QUANTITIES:
        return lines(group, QUANTITIES[name], columns, cpu)
    best = best_length(group)
    return {"fronts": lambda: trade.fronts(group, columns, cpu),
            "equal-error": lambda: trade.equal_error(analysis, group, columns, cpu),
            "exponents": lambda: forest.forest(analysis, group, columns, cpu),
            "bubble": lambda: trade.bubble(group, best, columns, cpu),
            "knobs": lambda: knobs.knob_curves(group, best, columns, cpu),
            "roofline": lambda: roofline.roofline(run, group, best, columns, cpu)}[name]()


def sheets(wanted):
    """[(figure, columns)]: the figures of plan() in every width."""
    return [(f, c) for f in wanted for c in f.columns]


def write(analysis, folder, jobs, formats=FORMATS):
    """Writes [(figure, columns)] below folder, on all CPUs, and returns the paths."""
    for slug in {f.slug for f, _ in jobs}:
        (Path(folder) / slug).mkdir(parents=True, exist_ok=True)
    _spread(_write_one, analysis, jobs, folder, formats)
    return [f.path(folder, c, fmt) for f, c in jobs for fmt in formats]


def write_flat(analysis, folder, wanted, formats):
    """Figures of the first group and of the run, two columns wide, as folder/NAME.fmt."""
    first = {analysis.run.groups[0].slug, RUN}
    jobs = [(Figure("", f.name, f.title, f.alt, (2,)), draw(analysis, f, 2)) for f in wanted if f.slug in first]
    folder.mkdir(parents=True, exist_ok=True)
    for figure, drawn in jobs:
        for fmt in formats:
            save(drawn, figure.path(folder, 2, fmt))
    return [f.path(folder, 2, fmt) for f, _ in jobs for fmt in formats]


def page(analysis, jobs):
    """SVG text of [(figure, columns)] for a page: words stay words, set in its font."""
    return list(_spread(_page_one, analysis, jobs))


def _spread(work, analysis, jobs, *same):
    """work(job, *same) of every job, in order, on all CPUs."""
    if any(f.name in ("exponents", "equal-error") or f.slug == RUN for f, _ in jobs):
        analysis.prepare()  # once, before the workers are made
    try:
        with ProcessPoolExecutor(initializer=_adopt, initargs=(analysis,)) as pool:
            return list(pool.map(work, jobs, *map(repeat, same), chunksize=4))
    except (NotImplementedError, PermissionError):  # a sandbox without semaphores
        _adopt(analysis)
        return [work(job, *same) for job in jobs]


_analysis = None  # of a worker process


def _adopt(analysis):
    global _analysis
    _analysis = analysis


def _write_one(job, folder, formats):
    figure, columns = job
    drawn = draw(_analysis, figure, columns)
    for fmt in formats:
        save(drawn, figure.path(folder, columns, fmt))


def _page_one(job):
    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        draw(_analysis, *job).savefig(out, format="svg", dpi=72, metadata={"Date": None})
    return out.getvalue()


def save(drawn, path):
    """Without dates, so that the same data gives the same bytes."""
    fmt = Path(path).suffix[1:]
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[fmt]
    drawn.savefig(path, format=fmt, dpi=DPI if fmt == "png" else 72, metadata=metadata)
