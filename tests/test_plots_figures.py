# SPDX-License-Identifier: BSD-3-Clause
"""plots/: labels, axes and figures; nothing is cut off and no two texts overlap."""
import itertools
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from matplotlib.text import Annotation, Text

import synthetic
from synthetic import GAUSS, ROOT

from plots import data, figures, gp, labels, style
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
                out.append((text.get_text(), isinstance(text, Annotation), box.extents))
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
def test_texts_are_inside_and_apart(run, columns):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for planned in figures.plan(run):
            if columns not in planned.columns:
                continue
            drawn = figures.draw(run, planned, columns)
            texts = check_layout(drawn)
            words = " ".join(texts)
            group = next(g for g in run.groups if g.slug == planned.slug)
            for series in group.series:
                if not planned.name.startswith("pareto") and not series.ok.empty:
                    assert series.label in texts
            assert "Example CPU 9000" in words and "1 thread" in words and "entropy ratio" in words
            assert "[ms]" in words or "[bytes]" in words or "[1]" in words


def test_notes_say_why_a_curve_ends(run, gauss):
    texts = " ".join(check_layout(figures.draw(run, figures.plan(run)[0], 2))).replace("\xa0", " ")
    assert "would not fit in memory: full from n = 4096" in texts
    assert "timed out: topk from n = 4096" in texts
    real = [f for f in figures.plan(run) if f.slug.startswith("real") and f.name == "time"][0]
    texts = " ".join(check_layout(figures.draw(run, real, 2))).replace("\xa0", " ")
    assert "crashed: retention from n = 512" in texts
    assert "Not drawn (not supported): linformer" in texts


@pytest.mark.parametrize("count, lengths", [
    (1, (256, 512)), (2, (1024,)), (45, (768, 1024, 2048)),
    (17, (256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096))])
def test_layout_from_one_to_many(tmp_path, count, lengths):
    groups = [(GAUSS, 64, lengths, 6, 0.813, 0.93)]
    synthetic.write_run(tmp_path, many(count), groups, raw=False)
    run = data.load(tmp_path)
    planned = figures.plan(run)
    assert {f.name for f in planned} >= {"time", "memory", "error"}
    assert any(f.name.endswith("families") for f in planned) == (count > 16)
    for f in planned:
        for columns in f.columns:
            check_layout(figures.draw(run, f, columns))


def test_no_interval_no_memory_no_error(tmp_path):
    table = synthetic.write_run(tmp_path, rounds=3, raw=False)
    table = table.assign(ws_tracked_bytes=0, err_exact_rel_fro=np.nan, err_exact_nmse_u=np.nan)
    table.to_csv(tmp_path / "summary.csv", index=False)
    run = data.load(tmp_path)
    names = {f.name for f in figures.plan(run)}
    assert "time" in names and not any(n.startswith(("error", "pareto")) for n in names)
    texts = " ".join(check_layout(figures.draw(run, figures.plan(run)[0], 2)))
    assert "too few rounds" in texts
    for f in figures.plan(run):
        check_layout(figures.draw(run, f, 1))


def test_files_of_all_formats(run, tmp_path):
    planned = [f for f in figures.plan(run) if f.name in ("time", "pareto-n4096")][:3]
    paths = figures.write(run, tmp_path, planned)
    assert len(paths) == len(planned) * 2 * 3
    for path in paths:
        head = path.read_bytes()
        assert head.startswith({".pdf": b"%PDF", ".svg": b"<?xml", ".png": b"\x89PNG"}[path.suffix])
        if path.suffix == ".pdf":
            assert b"/FontFile2" in head and b"/Type3" not in head


def test_svg_is_the_same_to_the_bit(folder, tmp_path):
    digests = []
    for name in ("a", "b"):
        script = ("import sys; from plots import data, figures; run = data.load(sys.argv[1]); "
                  "figures.write(run, sys.argv[2], figures.plan(run)[2:4], ('svg', 'pdf'))")
        env = {**os.environ, "PYTHONHASHSEED": str(len(digests) + 1), "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", script, folder, tmp_path / name], check=True, env=env)
        digests.append({p.name: p.read_bytes() for p in sorted((tmp_path / name).rglob("*.*"))})
    assert len(digests[0]) == 8 and digests[0] == digests[1]


@pytest.mark.skipif(not gp.available(), reason="gnuplot is not installed")
def test_gnuplot_draws_from_the_same_csv(run, tmp_path):
    paths = gp.write(run, tmp_path)
    assert len(paths) == 2 * 4 * 3
    svg = (tmp_path / "gauss-sigma=1_d64" / "time-gnuplot.svg").read_text()
    assert "longformer" in svg and "Time against sequence length" in svg
    assert svg.count("<path stroke='rgb(213,  94,   0)'") >= 4  # the four linear variants
    for path in paths:
        assert path.stat().st_size > 2000
