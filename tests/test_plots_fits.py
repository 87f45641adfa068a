# SPDX-License-Identifier: BSD-3-Clause
"""plots/: exponents, decompositions and crossovers, on data whose truth is known."""
import csv
import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import nnls

import synthetic
from synthetic import GAUSS

from plots import bootstrap, crossover, data, derive, fits, speed

pytest_plugins = ("plots_fixtures",)

GRID = np.round(256 * 2 ** np.linspace(0, 6, 13))  # 256 to 16384, two an octave
OCTAVES = GRID[::2]


def measured(law, n, rng, rounds=9, noise=0.02, drift=0.05):
    """fits.Data of a law: noise a length and round, and weather that lengths share."""
    each = law(n) * np.exp(rng.normal(0, drift, (rounds, 1)) + rng.normal(0, noise, (rounds, len(n))))
    nothing = np.full(len(n), np.nan)
    return fits.Data(n, np.median(each, axis=0), each, nothing, nothing)


def covered(slope, truth):
    return slope.low <= truth <= slope.high


def often(draws):
    """The share of a nominal 95 % that so many draws may be held to."""
    return 0.9 if draws >= 200 else 0.75


# The bootstrap


def test_draws_keep_the_rounds_of_all_lengths_in_step():
    weather = np.random.default_rng(0).normal(0, 1, (9, 1))
    draws = bootstrap.medians(weather + [[0.0, 5.0]])
    np.testing.assert_allclose(draws[:, 1] - draws[:, 0], 5)
    assert draws.shape == (bootstrap.DRAWS, 2)
    np.testing.assert_array_equal(draws, bootstrap.medians(weather + [[0.0, 5.0]]))


def test_draws_of_unequal_rounds():
    values = np.arange(24.0).reshape(12, 2)
    values[6:, 1] = np.nan
    draws = bootstrap.medians(values)
    assert np.isfinite(draws).all() and draws[:, 1].max() <= 11
    assert bootstrap.medians(values[:7]) is not None
    values[5:, 1] = np.nan
    assert bootstrap.medians(values) is None and bootstrap.medians(values[:5, :1]) is None


def test_interval_is_as_wide_as_student_asks(draws):
    rng = np.random.default_rng(5)
    held = []
    for _ in range(4 * draws):
        sample = rng.normal(0, 1, (6, 1))
        low, high = bootstrap.interval(bootstrap.medians(sample)[:, 0], 6)
        held.append(low <= 0 <= high)
    assert np.mean(held) >= often(draws)


# Exponents


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("rounds, noise", [(6, 0.02), (12, 0.03)])
def test_exponents_are_covered(draws, power, rounds, noise):
    rng = np.random.default_rng([int(10 * power), rounds])
    held = {"all": [], "tail": [], "local": [], "work": []}
    for _ in range(draws):
        d = measured(lambda n: 40 * n**power, OCTAVES, rng, rounds, noise)
        f = fits.fit(fits.Data(d.n, d.value, d.rounds, d.outside, 3 * d.n**power))
        held["all"].append(covered(f.exponent, power))
        held["work"].append(covered(f.work, 1))
        held["local"] += [covered(s, power) for s in f.local]
        if f.tail_from:
            held["tail"].append(covered(f.tail, power))
    assert len(held["tail"]) > 0.9 * draws
    assert {k: np.mean(v) >= often(draws) for k, v in held.items()} == dict.fromkeys(held, True)


def test_tail_leaves_the_overhead_behind():
    rng = np.random.default_rng(2)
    f = fits.fit(measured(lambda n: n**2 + 9e5, 2.0 ** np.arange(5, 18), rng, 12, 0.01))
    assert f.exponent.value < 1.5
    assert f.tail_from >= 2048 and f.tail.value == pytest.approx(2, abs=0.05)
    assert "no_tail" not in f.flags


def test_tail_does_not_straddle_the_cache():
    d = measured(lambda n: n, OCTAVES, np.random.default_rng(3))
    inside = np.where(OCTAVES <= 1024, 0.5, 3.0)
    f = fits.fit(fits.Data(d.n, d.value, d.rounds, inside, d.work))
    assert f.tail_from == 2048 and "in_cache" not in f.flags
    f = fits.fit(fits.Data(d.n, d.value, d.rounds, inside / 10, d.work))
    assert f.tail_from == 256 and "in_cache" in f.flags


def test_few_rounds_and_few_points_are_said():
    d = measured(lambda n: n, OCTAVES[:3], np.random.default_rng(4), rounds=3)
    f = fits.fit(d)
    assert np.isnan(f.exponent.low) and f.parts is None and f.tail_from == 0
    assert set(f.flags) == {"few_rounds", "few_points", "no_tail"}
    assert fits.fit(fits.Data(d.n[:1], d.value[:1], d.rounds[:, :1], d.outside[:1], d.work[:1])) is None


# Decomposition


def test_nonnegative_agrees_with_scipy():
    rng = np.random.default_rng(6)
    for p in (1, 2, 3):
        a, b = rng.normal(size=(9, p)), rng.normal(size=(9, 40))
        got = fits.nonnegative(a, b)
        np.testing.assert_allclose(got, np.array([nnls(a, column)[0] for column in b.T]).T, atol=1e-9)


@pytest.mark.parametrize("n", [OCTAVES, GRID], ids=["octaves", "halves"])
@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_a_linear_part_does_not_make_n_squared_look_like_less(draws, n, noise):
    rng = np.random.default_rng(7)
    named = [fits.decomposition(measured(lambda n: n**2 + 2048 * n, n, rng, 9, noise)).growths
             for _ in range(draws)]
    assert ("n^1.5",) not in named
    assert np.mean([g == ("n^2",) for g in named]) >= 0.95


def test_growths_that_data_do_not_tell_apart_are_a_set(draws):
    rng = np.random.default_rng(8)
    named = [fits.decomposition(measured(lambda n: n * np.log2(n), OCTAVES, rng, 9, 0.03)).growths
             for _ in range(draws)]
    assert np.mean(["n log n" in g for g in named]) >= 0.95
    vague = [fits.decomposition(measured(lambda n: 4e4 + n * np.log2(n), OCTAVES, rng, 9, 0.03)).growths
             for _ in range(draws)]
    assert np.mean([len(g) > 1 for g in vague]) > 0.3


def test_shares_and_coefficients_are_covered(draws):
    rng = np.random.default_rng(9)
    held = []
    for _ in range(draws):
        d = measured(lambda n: 3e4 + 200 * n + 0.05 * n**2, GRID, rng, 9, 0.01, 0.0)
        parts = fits.decomposition(d, bootstrap.medians(d.rounds), 9)
        total = 3e4 + 200 * 16384 + 0.05 * 16384**2
        if parts.growths[0] == "n^2":
            held.append(covered(parts.coefficients[2], 0.05)
                        and covered(parts.shares[2], 0.05 * 16384**2 / total))
    assert len(held) >= 0.9 * draws and np.mean(held) >= often(draws)


@pytest.mark.parametrize("law, growth, exponent", [
    (lambda n: 4 * n**2, "n^2", 2), (lambda n: 256 * n, "n", 1), (lambda n: 65536 + 0 * n, "1", 0),
    (lambda n: 4096 + 512 * n + 4 * n**2, "n^2", None)])
def test_bytes_give_their_formula(law, growth, exponent):
    nothing = np.full(len(GRID), np.nan)
    f = fits.fit(fits.Data(GRID, law(GRID), np.empty((0, len(GRID))), nothing, nothing))
    assert f.parts.growths == (growth,) and f.parts.residual < 1e-9 and f.rounds == 0
    if exponent is not None:
        assert f.exponent.value == pytest.approx(exponent, abs=1e-9)
        assert f.tail.value == pytest.approx(exponent, abs=1e-9)
    assert sum(s.value for s in f.parts.shares) == pytest.approx(1)


# Crossovers


def crossing_of(log_ratio, n, rng, rounds=9, noise=0.02):
    parts, at = [], {}
    for m in n:
        logs = log_ratio(m) + rng.normal(0, noise, rounds)
        parts.append((np.arange(rounds), logs))
        at[int(m)] = speed.of_logs(logs)
    return crossover.judge(at, parts)


@pytest.mark.parametrize("truth", [300.0, 1448.0, 9000.0])
@pytest.mark.parametrize("rounds", [6, 15])
def test_crossovers_are_covered(draws, truth, rounds):
    rng = np.random.default_rng([int(truth), rounds])
    found = [crossing_of(lambda n: np.log(n / truth), OCTAVES, rng, rounds) for _ in range(draws)]
    assert np.mean([c.kind == "once" for c in found]) >= often(draws)
    assert np.mean([c.low <= truth <= c.high for c in found]) >= often(draws)
    assert all(c.below < c.above and (c.below or 256) <= truth <= c.above for c in found)


def test_kinds_of_crossings():
    rng = np.random.default_rng(1)

    def kind(f):
        c = crossing_of(f, OCTAVES, rng, 9, 0.005)
        return c.kind, c.below, c.above, [round(r, -2) for r in c.roots]
    assert kind(lambda n: 0.5) == ("always", 0, 256, [])
    assert kind(lambda n: -0.5) == ("never", 0, 0, [])
    assert kind(lambda n: np.log(1448 / n)) == ("until", 1024, 2048, [1400])
    c = crossing_of(lambda n: np.sin(np.log2(n / 256) * 1.5 + 0.5), OCTAVES, rng, 9, 0.005)
    assert c.kind == "several" and len(c.roots) >= 2 and np.isnan(c.named)
    near = crossing_of(lambda n: 0.0, OCTAVES, rng, 9, 0.02)
    assert near.kind in ("unclear", "never", "several") and np.isnan(near.named) and near.single < 0.95


def test_published_rows_cross_where_they_cross():
    """Times of ABC and of plain attention that a fit of a parabola and a line put at 1877."""
    rows = pd.read_csv(synthetic.ROOT / "results" / "published" / "cab.csv")
    time = rows.pivot(index="n", columns="variant", values="time_ms")
    c = crossover.points((time["vanilla"] / time["abc"]).to_dict())
    assert (c.kind, c.below, c.above) == ("once", 256, 512)
    assert len(c.roots) == 1 and 256 < c.named < 512
    memory = rows.pivot(index="n", columns="variant", values="memory_mib")
    assert crossover.points((memory["vanilla"] / memory["abc"]).to_dict()).kind == "always"


# A run


def test_fits_of_a_run(analysis, run, gauss):
    for name, power in (("flash", 2.0), ("taylor1", 1.0), ("sparse-strided", 1.5)):
        f = analysis.fit(gauss.find(name), "time")
        assert f.exponent.value == pytest.approx(power, abs=0.05) and covered(f.exponent, power), name
        assert f.rounds == 9 and f.flags == ("few_points",)
    memory = analysis.fit(gauss.find("full"), "memory")
    assert memory.exponent.value == pytest.approx(2, abs=1e-3) and np.isnan(memory.exponent.low)
    error = analysis.fit(gauss.find("taylor1"), "error")
    assert 0 < error.exponent.value < 0.1


def test_crossings_of_a_run(analysis, gauss):
    c = analysis.crossing("flash", gauss.find("performer"))
    truth = 256 * 1.9 / 1.4
    assert (c.kind, c.below, c.above) == ("once", 256, 512) and c.low <= truth <= c.high
    assert c.named == pytest.approx(truth, rel=0.03) and c.single == 1
    memory = analysis.crossing("full", gauss.find("flash"), "memory")
    assert memory.kind == "always"
    equal = analysis.crossing("flash", gauss.find("taylor1"), "time_at_error", 0.01)
    assert equal.kind == "never"


def test_equal_error_takes_the_fastest_setting_that_is_accurate_enough(tmp_path):
    table = synthetic.write_run(tmp_path, {"flash": synthetic.VARIANTS["flash"]},
                                synthetic.GROUPS[:1], raw=False)
    rows = [table]
    for m, slow, err in ((16, 0.2, 0.5), (64, 0.5, 0.05), (256, 0.8, 0.002)):
        t = table.assign(variant="performer", family="linear", params=f"m={m}", err_exact_rel_fro=err,
                         cell_id=f"{m}" + table["cell_id"])
        for c in ("time_median_ns", "time_ci95_lo_ns", "time_ci95_hi_ns"):
            t[c] = table[c] * slow * np.where(table["n_k"] == 256, 4, 1)
        rows.append(t)
    pd.concat(rows).to_csv(tmp_path / "summary.csv", index=False)
    group = data.load(tmp_path).groups[0]
    settings = [s for s in group.series if s.variant == "performer"]
    c = crossover.at_error(None, group.find("flash"), settings, 0.1)
    assert set(c.chosen.values()) == {"performer m=64"} and (c.kind, c.below, c.above) == ("once", 256, 512)
    assert crossover.at_error(None, group.find("flash"), settings, 0.001).kind == "never"


def test_seeds_are_pooled(tmp_path):
    two = {v: synthetic.VARIANTS[v] for v in ("flash", "taylor1")}
    tables, raws = [], []
    for seed in (1, 2):
        synthetic.write_run(tmp_path, two, synthetic.GROUPS[1:], seed=seed, rounds=6)
        table, raw = (pd.read_csv(tmp_path / f, dtype=str, keep_default_na=False)
                      for f in ("summary.csv", "raw.csv"))
        for t in (table, raw):
            t["cell_id"], t["seed"] = str(seed) + t["cell_id"], str(seed)
        tables.append(table)
        raws.append(raw)
    pd.concat(tables).to_csv(tmp_path / "summary.csv", index=False)
    pd.concat(raws).to_csv(tmp_path / "raw.csv", index=False)
    run = data.load(tmp_path)
    group, rounds = run.groups[0], speed.round_medians(run)
    assert speed.speedup_at(rounds, group.find("flash"), group.find("taylor1"), 256).pairs == 12
    assert derive.growth_data(group.find("flash"), "time", rounds).rounds.shape == (12, 2)


def check_schema(table, schema):
    """Columns, types and enumerations of a Frictionless Table Schema."""
    assert list(table.columns) == [f["name"] for f in schema["fields"]]
    for f in schema["fields"]:
        known = table.loc[table[f["name"]] != "", f["name"]]
        if f["type"] in ("integer", "number"):
            assert np.isfinite(known.astype(float)).all(), f["name"]
        if f["type"] == "integer":
            assert known.str.fullmatch(r"-?\d+").all(), f["name"]
        if f["type"] == "boolean":
            assert set(known) <= {"0", "1"}
        assert set(known) <= set(f.get("constraints", {}).get("enum", known)), f["name"]
        assert f["description"]


def test_derived_files(analysis, run, tmp_path):
    paths = derive.write(analysis, tmp_path)
    assert [p.name for p in paths] == ["fits.csv", "slopes.csv", "crossovers.csv"]
    tables = [pd.read_csv(p, keep_default_na=False, dtype=str) for p in paths]
    for path, table in zip(paths, tables):
        text = path.read_text()
        assert "nan" not in text and "inf" not in text.replace("linf", "") and "\r" not in text
        assert not table.duplicated(["variant", "params", "input_kind", "quantity"] + [
            c for c in ("n_from", "baseline", "error_at_most") if c in table]).any()
    for path, table in zip(paths, tables):
        check_schema(table, json.loads((synthetic.ROOT / "results" / "schema" / f"{path.stem}.json").read_text()))
    fit, slopes, crossings = tables
    row = fit[(fit.variant == "flash") & (fit.quantity == "time") & (fit.input_kind == GAUSS)].iloc[0]
    assert float(row.exponent_ci_lo) <= 2 <= float(row.exponent_ci_hi) and row.draws_seed == "1"
    assert len(slopes[(slopes.variant == "flash") & (slopes.quantity == "time")]) == 4 + 1
    row = crossings[(crossings.variant == "performer") & (crossings.baseline == "flash")
                    & (crossings.quantity == "time") & (crossings.input_kind == GAUSS)].iloc[0]
    assert (row.below, row.above, row.verdict, row.method) == ("256", "512", "once", "paired")
    before = [p.read_bytes() for p in paths]
    derive.write(derive.Analysis(data.load(run.path)), tmp_path)
    assert before == [p.read_bytes() for p in paths]
    with open(paths[0], newline="") as file:
        assert all(len(r) == len(fit.columns) for r in csv.reader(file))
