# SPDX-License-Identifier: BSD-3-Clause
"""Does time grow as the cost says? python -m plots.complexity DIR

DIR is a run of harness/sweeps/complexity.ini, with DIR/variants.csv from `attnbench
list --format csv` beside it for the declared costs. A line a variant: local slopes of
time (log-log, between neighbouring lengths), the slope of executed operations over the
same lengths, and that of time against these operations, which is 1 where time follows
them. Beside it the same slope of the fastest samples, which other programs on the machine
disturb least. `met`: the slope of the medians is within 0.1 of 1; `disturbed`: it is not,
but that of the fastest samples is. Writes DIR/complexity.csv as well.
"""
import csv
import sys
from pathlib import Path

import numpy as np

from . import fits
from .data import DataError, load
from .derive import growth_data
from .speed import round_medians
from .tables import Table, render

TOLERANCE = 0.1
HEAD = ("variant", "causal", "declared cost", "n", "local slopes of time", "slope of FLOPs", "slope of time",
        "time against FLOPs", "of the fastest", "verdict")


def costs(path):
    """{variant: declared cost} of the output of `attnbench list --format csv`; {} without it."""
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        return {row["variant"]: row["complexity"] for row in csv.DictReader(file, strict=True)}


def slope(x, y):
    """Least-squares slope of log y against log x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def line(group, series, rounds, declared):
    """A row of the table, or None with fewer than three lengths."""
    data = growth_data(series, "time", rounds)
    if data is None or len(data.n) < 3:
        return None
    found = fits.fit(data, decompose=False)
    grows = np.isfinite(data.work).all() and (data.work > 0).all()
    verdict, against, fastest = "no operations", "", np.nan
    if grows:
        work = found.work if np.isfinite(found.work.value) else fits.Slope(slope(data.work, data.value))
        ok = series.ok.set_index("n")["time_min_ns"].reindex(data.n.astype(int))
        fastest = slope(data.work, ok.to_numpy(float)) if (ok > 0).all() else np.nan
        near = [abs(s - 1) <= TOLERANCE for s in (work.value, fastest)]
        against, verdict = str(work), "met" if near[0] else "disturbed" if near[1] else "not met"
    return (series.label, "yes" if group.key["causal"] else "no", declared.get(series.variant, ""),
            f"{data.n[0]:.0f} to {data.n[-1]:.0f}", ", ".join(f"{s.value:.2f}" for s in found.local),
            f"{slope(data.n, data.work):.2f}" if grows else "", str(found.exponent), against,
            f"{fastest:.2f}" if np.isfinite(fastest) else "", verdict)


def table(run, declared):
    """A line a series of every group that has lengths; flash once."""
    rounds, rows, seen = round_medians(run), [], set()
    for group in run.groups:
        for series in group.series:
            row = line(group, series, rounds, declared)
            if row and row[:2] not in seen:
                seen.add(row[:2])
                rows.append(row)
    return Table("complexity", "Growth of time with length, and against the operations that are run", HEAD, rows)


def main(argv):
    if len(argv) != 1:
        print("use: python -m plots.complexity DIR, a run of harness/sweeps/complexity.ini", file=sys.stderr)
        return 2
    folder = Path(argv[0])
    try:
        made = table(load(folder), costs(folder / "variants.csv"))
    except DataError as err:
        print(f"attnbench: {err}", file=sys.stderr)
        return 2
    (folder / "complexity.csv").write_text(render(made, "csv"), encoding="utf-8")
    print(render(made, "md"), end="")
    met = sum(r[-1] == "met" for r in made.rows)
    disturbed = sum(r[-1] == "disturbed" for r in made.rows)
    print(f"\n{met} of {len(made.rows)}: slope of time against FLOPs within {TOLERANCE} of 1"
          + (f"; {disturbed} more by their fastest samples." if disturbed else "."))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
