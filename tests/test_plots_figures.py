# SPDX-License-Identifier: BSD-3-Clause
"""plots/: labels, axes and figures; nothing is cut off and no two texts overlap."""
import itertools
import os
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Annotation, Text

import synthetic
from synthetic import GAUSS, ROOT

from plots import data, derive, figures, gp, labels, lines, style
from plots.axes import binary_ticks, bytes_text, decimal_ticks, plain
from plots.pareto import front, points

pytest_plugins = ("plots_fixtures",)


def many(count):
    """`count` variants of all families, by the names of the catalogue."""
    rng = np.random.default_rng(3)
    names = [(f, v) for f, vs in style.CATALOGUE.items() if f != "control" for v in vs]
    names += [("sparse", f"extra-pattern-{i}") for i in range(max(count - len(names), 0))]
    return {v: (f, "", 10 ** rng.uniform(5, 6.4), rng.choice([1, 1.5, 2]), 10 ** rng.uniform(4, 6),
                rng.choice([0, 1]), *([2e-7] * 2 if f == "exact" else 10 ** rng.uniform(-0.2, 0.5, 2)))
            for f, v in names[:count]}


# Labels and axes


def test_spread_keeps_order_distance_and_bounds():
    rng = np.random.default_rng(0)
    for count in (1, 2, 14, 45):
        wanted = rng.uniform(0, 300, count)
        got = labels.spread(wanted, 6, 0, 300)
        order = np.argsort(wanted)
        assert (np.diff(got[order]) >= 6 - 1e-9).all()
        assert got.min() >= -1e-9 and got.max() <= 300 + 1e-9
    assert labels.spread([10, 50], 6, 0, 100).tolist() == [10, 50]


def test_placed_labels_do_not_overlap():
    rng = np.random.default_rng(1)
    spots = np.vstack([rng.normal((150, 120), 12, (20, 2)), rng.uniform(20, 280, (20, 2))])
    sizes = np.column_stack([rng.uniform(20, 60, 40), np.full(40, 8)])
    corners = labels.place(spots, sizes, (0, 0, 400, 300), 3)
    boxes = np.hstack([corners, corners + sizes])
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 400 and boxes[:, 3].max() <= 300
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_ticks_and_units():
    assert decimal_ticks(0.5, 200, 4) == [1, 10, 100]
    assert decimal_ticks(0.5, 4, 3) == [0.5, 1, 2]
    assert decimal_ticks(0.5, 4, 6) == [0.5, 0.7, 1, 1.5, 2, 3]
    assert binary_ticks(1000, 20000, 6) == [1024, 2048, 4096, 8192, 16384]
    assert [bytes_text(v) for v in (0, 1023, 1536, 3 << 20)] == ["0 B", "1023 B", "1.5 KiB", "3 MiB"]
    assert plain(2e-7).startswith("2") and "{-7}" in plain(2e-7) and plain(0.3) == "0.3"


def test_front():
    assert front([3, 1, 2, 4], [0, 5, 6, 0]) == [1, 0]
    assert front([1, 1], [2, 1]) == [1]


def test_style_is_stable_and_tells_variants_apart():
    for family, names in style.CATALOGUE.items():
        looks = {style.marker(family, v) for v in names}
        assert len(looks) == len(names), family
    assert style.marker("linear", "unheard-of") == style.marker("linear", "unheard-of")
    assert len(set(style.FAMILIES.values())) == 10
    assert style.colour("unknown") == style.FAMILIES["other"]


def test_points_are_those_of_one_length(gauss):
    names = {p[0].label for p in points(gauss, 4096)}
    assert names == set(synthetic.VARIANTS) - {"full", "topk"}


# Figures


def boxes_of(figure):
    """[(text, (x0, y0, x1, y1))] of every text that is drawn."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    out = []
    for text in figure.findobj(Text):
        axes = getattr(text, "axes", None)
        if text.get_visible() and text.get_text().strip() and (axes is None or axes.get_visible()):
            box = text.get_window_extent(renderer)
            if box.width and _drawn(text, axes):
                slanted = text.get_rotation() % 90 != 0  # its box says little
                out.append((text.get_text(), isinstance(text, Annotation) or slanted, box.extents))
    return out


def _drawn(text, axes):
    """Tick labels that are switched off are objects all the same."""
    if axes is None:
        return True
    for axis in (axes.xaxis, axes.yaxis):
        for tick in axis.get_major_ticks() + axis.get_minor_ticks():
            if text in (tick.label1, tick.label2):
                low, high = sorted(axis.get_view_interval())
                return tick in axis._update_ticks() and low <= tick.get_loc() <= high
    return True


def check_layout(figure):
    found = boxes_of(figure)
    width, height = figure.bbox.width, figure.bbox.height
    for text, _, (x0, y0, x1, y1) in found:
        assert x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height, f"{text!r} is cut off"
    slack = 0.75  # pt: boxes hold the room of accents and descenders
    for (a, ma, p), (b, mb, q) in itertools.combinations(found, 2):
        apart = (p[2] <= q[0] + slack or q[2] <= p[0] + slack
                 or p[3] <= q[1] + slack or q[3] <= p[1] + slack)
        assert apart or ma or mb, f"{a!r} overlaps {b!r}"
    return [t for t, *_ in found]


@pytest.mark.parametrize("columns", [2, 1])
def test_texts_are_inside_and_apart(run, analysis, columns):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for planned in figures.plan(analysis, overlay=True):
            if columns not in planned.columns:
                continue
            texts = check_layout(figures.draw(analysis, planned, columns))
            words = " ".join(texts)
            if planned.slug == figures.RUN:
                continue
            group = next(g for g in run.groups if g.slug == planned.slug)
            for series in group.series:
                if planned.name in (*lines.QUANTITIES, "exponents") and len(series.ok) > (planned.name == "exponents"):
                    assert series.label in texts
            assert "Example CPU 9000" in words and "1 thread" in words and "entropy ratio" in words
            if planned.name in lines.QUANTITIES or "pareto" in planned.name:
                assert "[ms]" in words or "[bytes]" in words or "[1]" in words


def test_notes_say_why_a_curve_ends(analysis):
    texts = " ".join(check_layout(figures.draw(analysis, figures.plan(analysis)[0], 2))).replace("\xa0", " ")
    assert "would not fit in memory: full from n = 4096" in texts
    assert "timed out: topk from n = 4096" in texts
    real = [f for f in figures.plan(analysis) if f.slug.startswith("real") and f.name == "time"][0]
    texts = " ".join(check_layout(figures.draw(analysis, real, 2))).replace("\xa0", " ")
    assert "crashed: retention from n = 512" in texts
    assert "Not drawn (not supported): linformer" in texts


@pytest.mark.parametrize("count, lengths", [
    (1, (256, 512)), (2, (1024,)), (45, (768, 1024, 2048)),
    (17, (256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096))])
def test_layout_from_one_to_many(tmp_path, count, lengths):
    groups = [(GAUSS, 64, lengths, 6, 0.813, 0.93)]
    synthetic.write_run(tmp_path, many(count), groups, raw=False)
    analysis = derive.Analysis(data.load(tmp_path))
    planned = figures.plan(analysis)
    assert {f.name for f in planned} >= {"time", "memory", "error"}
    assert any(f.name.endswith("families") for f in planned) == (count > 16)
    brief = count > 16 and len(lengths) > 3
    for f, columns in figures.sheets(planned):
        if not brief or columns == 2 or f.name in ("time", "exponents"):
            check_layout(figures.draw(analysis, f, columns))


def test_no_interval_no_memory_no_error(tmp_path):
    table = synthetic.write_run(tmp_path, rounds=3, raw=False)
    table = table.assign(ws_tracked_bytes=0, err_exact_rel_fro=np.nan, err_exact_nmse_u=np.nan)
    table.to_csv(tmp_path / "summary.csv", index=False)
    analysis = derive.Analysis(data.load(tmp_path))
    planned = figures.plan(analysis)
    names = {f.name for f in planned}
    assert "time" in names and not any(n.startswith(("error", "pareto", "fronts", "bubble")) for n in names)
    texts = " ".join(check_layout(figures.draw(analysis, planned[0], 2)))
    assert "too few rounds" in texts
    for f in planned:
        check_layout(figures.draw(analysis, f, 1))


ROOF = [{"threads": 2, "isa": "avx2", "fma_gflops": 230.0},
        {"threads": 1, "isa": "avx2", "fma_gflops": 118.0, "sgemm_gflops": 104.0, "triad_gbs": {"dram": 15.0},
         "exp_gexps": 2.0, "read_gbs": {"l1": 420.0, "l2": 180.0, "l3": 60.0, "dram": 18.0}}]


def texts_of(path, name, columns, overlay=False):
    """Texts of one figure of a run, after a look at its layout."""
    analysis = derive.Analysis(data.load(path))
    wanted = next(f for f in figures.plan(analysis, overlay=overlay) if f.name == name)
    return " ".join(check_layout(figures.draw(analysis, wanted, columns)))


@pytest.mark.parametrize("columns", [2, 1])
def test_roofline_needs_and_shows_the_ceilings(tmp_path, columns):
    synthetic.write_run(tmp_path, groups=synthetic.GROUPS[:1], raw=False)
    analysis = derive.Analysis(data.load(tmp_path))
    assert not any(f.name == "roofline" for f in figures.plan(analysis))
    assert any("no roofline" in line for line in figures.skipped(analysis.run))
    synthetic.write_run(tmp_path, groups=synthetic.GROUPS[:1], raw=False, info={**synthetic.MACHINE, "roof": ROOF})
    texts = texts_of(tmp_path, "roofline", columns)
    assert "peak 118" in texts and "sgemm 104" in texts and "memory 18 GB/s" in texts and "linear-elu" in texts


@pytest.mark.parametrize("roof", [{}, [], [None], [{"threads": 1, "fma_gflops": "fast"}], ROOF[:1]])
def test_a_roof_of_another_shape_is_no_roof(tmp_path, roof):
    synthetic.write_run(tmp_path, groups=synthetic.GROUPS[:1], raw=False, info={"roof": roof})
    assert not any(f.name == "roofline" for f in figures.plan(derive.Analysis(data.load(tmp_path))))


@pytest.mark.parametrize("columns", [2, 1])
def test_task_accuracy_is_drawn_where_there_is_some(tmp_path, columns):
    table = synthetic.write_run(tmp_path, groups=synthetic.GROUPS[:1], raw=False)
    table.assign(task_accuracy=np.linspace(0, 1, len(table)), task_chance=0.1).to_csv(tmp_path / "summary.csv", index=False)
    assert "a guess" in texts_of(tmp_path, "accuracy", columns)
    assert "task accuracy [1]" in texts_of(tmp_path, "accuracy", columns)
    assert "task accuracy [1]" in texts_of(tmp_path, "bubble", columns)


@pytest.mark.parametrize("columns", [2, 1])
def test_knobs(tmp_path, columns):
    table = synthetic.write_run(tmp_path, {v: synthetic.VARIANTS[v] for v in ("flash", "performer")},
                                synthetic.GROUPS[:1], raw=False)
    rows = [table[table["variant"] == "flash"]]
    for m in (32, 64, 128, 256):
        t = table[table["variant"] == "performer"].assign(params=f"m={m}:ortho=1", err_exact_rel_fro=8 / m)
        rows.append(t.assign(time_median_ns=t["time_median_ns"] * m / 256, cell_id=f"{m}" + t["cell_id"]))
    pd.concat(rows).to_csv(tmp_path / "summary.csv", index=False)
    texts = texts_of(tmp_path, "knobs", columns).split()
    assert {"performer", "m=256", "32", "64", "128"} <= set(texts)


@pytest.mark.parametrize("columns", [2, 1])
def test_implied_weights(tmp_path, columns):
    table = synthetic.write_run(tmp_path, groups=[("gauss:sigma=1", 64, (16, 32), 6, 0.8, 0.9)], raw=False)
    assert any("--keep-weights" in line for line in figures.skipped(data.load(tmp_path)))
    paths = synthetic.keep_weights(tmp_path, table)
    texts = texts_of(tmp_path, "implied-n32", columns)
    assert "exact" in texts and "sliding-window" in texts and "gauss σ=1" in texts
    words = " ".join(texts.split())
    assert "As exact, to 0.001: full, flash, chunked." in words
    assert "no such matrix: retention." in words
    assert not any("--keep-weights" in line for line in figures.skipped(data.load(tmp_path)))
    for bad, said in ((np.zeros((3, 3)), "2 x n_q x n_k"), (np.ones((2, 32, 32)), "--fresh"), (None, "numpy.save")):
        paths["topk"].write_bytes(b"junk") if bad is None else np.save(paths["topk"], bad)
        with pytest.raises(data.DataError, match=said):
            texts_of(tmp_path, "implied-n32", columns)


def test_entropy_of_real_heads(run):
    (kind, items), = figures.matrices.heads(run)
    assert kind == synthetic.REAL and len(items) == 12
    assert all(0 <= i["entropy_ratio_min"] <= i["entropy_ratio"] <= i["entropy_ratio_max"] <= 1 for i in items)


def test_crossovers_are_mapped(analysis):
    wanted = next(f for f in figures.plan(analysis) if f.name == "crossovers-flash")
    texts = check_layout(figures.draw(analysis, wanted, 2))
    named = float(analysis.crossing("flash", analysis.run.groups[0].find("performer")).named)
    assert f"{named:.3g}" in texts and "≤ 256" in texts and "never" in texts


def test_figures_on_the_command_line(call, folder, tmp_path):
    done = call("figures", folder, "--out", tmp_path, "--only", "time,noise", "--formats", "svg")
    names = sorted(p.name for p in tmp_path.rglob("*.*") if p.is_file())
    assert done.returncode == 0 and names == 2 * ["time-1col.svg"] + 2 * ["time.svg"]
    assert done.stderr == ""


@pytest.mark.skipif(not (ROOT / "results" / "sample" / "summary.csv").is_file(), reason="no results/sample")
def test_figures_of_the_readme_are_those_of_the_sample(tmp_path):
    """`make figures` gives the committed files to the bit."""
    subprocess.run([sys.executable, "-m", "plots", "figures", "results/sample", "--flat", "--formats", "svg", "--only",
                    "time,memory,error,pareto", "--out", tmp_path], cwd=ROOT, check=True, capture_output=True)
    committed = {p.name: p.read_bytes() for p in (ROOT / "results" / "sample").glob("*.svg")}
    made = {p.name: p.read_bytes() for p in tmp_path.glob("*.svg")}
    # Figures of other sweeps lie beside them.
    assert "time.svg" in made and [n for n, text in made.items() if committed.get(n) != text] == []


def test_files_of_all_formats(analysis, tmp_path):
    planned = [f for f in figures.plan(analysis) if f.name in ("time", "pareto-n4096")][:3]
    paths = figures.write(analysis, tmp_path, figures.sheets(planned))
    assert len(paths) == len(planned) * 2 * 3
    for path in paths:
        head = path.read_bytes()
        assert head.startswith({".pdf": b"%PDF", ".svg": b"<?xml", ".png": b"\x89PNG"}[path.suffix])
        if path.suffix == ".pdf":
            assert b"/FontFile2" in head and b"/Type3" not in head


def test_svg_is_the_same_to_the_bit(folder, tmp_path):
    digests = []
    for name in ("a", "b"):
        script = ("import sys; from plots import data, derive, figures; a = derive.Analysis(data.load(sys.argv[1])); "
                  "figures.write(a, sys.argv[2], [(figures.plan(a)[0], 2), (figures.plan(a)[3], 1)], ('svg', 'pdf'))")
        env = {**os.environ, "PYTHONHASHSEED": str(len(digests) + 1), "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", script, folder, tmp_path / name], check=True, env=env)
        digests.append({p.name: p.read_bytes() for p in sorted((tmp_path / name).rglob("*.*"))})
    assert len(digests[0]) == 4 and digests[0] == digests[1]


@pytest.mark.skipif(not gp.available(), reason="gnuplot is not installed")
def test_gnuplot_draws_from_the_same_csv(run, tmp_path):
    paths = gp.write(run, tmp_path)
    assert len(paths) == 2 * 4 * 3
    svg = (tmp_path / "gauss-sigma=1_d64" / "time-gnuplot.svg").read_text()
    assert "longformer" in svg and "Time against sequence length" in svg
    assert svg.count("<path stroke='rgb(213,  94,   0)'") >= 4  # the four linear variants
    for path in paths:
        assert path.stat().st_size > 2000
