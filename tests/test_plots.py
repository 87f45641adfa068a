# SPDX-License-Identifier: BSD-3-Clause
"""plots/: reading a run, comparing times, findings; on runs whose truth is known."""
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import quantile_test

import synthetic
from synthetic import FAULTS, GAUSS, REAL, ROOT

from plots import crossover, data, derive, figures, findings, machine, speed, style

pytest_plugins = ("plots_fixtures",)


# Loading


def test_loads_every_row(run):
    assert len(run.cells) == 14 * 7
    assert [g.slug for g in run.groups] == ["gauss-sigma=1_d64", "real-minilm_d32"]
    assert [s.label for s in run.groups[0].series] == list(synthetic.VARIANTS)
    assert run.groups[0].lengths == [256, 512, 1024, 2048, 4096]
    assert len(run.failures) == len(FAULTS)


def test_ends_of_curves(gauss, run):
    ends = {s.label: [(a, b, r["status"]) for a, b, r in s.ends] for s in gauss.series if s.ends}
    assert ends == {"full": [(2048, 4096, "skipped_mem")], "topk": [(2048, 4096, "timeout")],
                    "nystrom": [(None, 256, "unsupported")]}
    assert run.groups[1].find("linformer").ok.empty


def test_uniform_level_is_recovered(gauss):
    for n in gauss.lengths:
        assert gauss.uniform(n) == pytest.approx(0.813 * (1 + 0.02 * np.log2(n / 256)), rel=1e-9)


def test_settings_of_one_variant_are_told_apart(tmp_path):
    spec = synthetic.VARIANTS["performer"]
    table = synthetic.write_run(tmp_path, {"performer": spec}, raw=False)
    other = table.assign(params="m=64:ortho=1", cell_id="x" + table["cell_id"])
    pd.concat([table, other]).to_csv(tmp_path / "summary.csv", index=False)
    series = data.load(tmp_path).groups[0].series
    assert [s.label for s in series] == ["performer m=256", "performer m=64"]
    assert style.dashes(series[0].index) != style.dashes(series[1].index)


def test_seeds_become_one_curve_that_spans_them(tmp_path):
    table = synthetic.write_run(tmp_path, {"flash": synthetic.VARIANTS["flash"]}, raw=False)
    slow = table.assign(seed=2, cell_id="x" + table["cell_id"])
    times = ["time_median_ns", "time_ci95_lo_ns", "time_ci95_hi_ns"]
    slow[times] *= 1.5
    pd.concat([table, slow]).to_csv(tmp_path / "summary.csv", index=False)
    run = data.load(tmp_path)
    row, (_, first) = run.groups[0].series[0].at(512), next(table[table.n_k == 512].iterrows())
    assert row["time_median_ns"] == pytest.approx(1.25 * first["time_median_ns"])
    assert row["time_ci95_lo_ns"] == pytest.approx(first["time_ci95_lo_ns"])
    assert row["time_ci95_hi_ns"] == pytest.approx(1.5 * first["time_ci95_hi_ns"])


@pytest.mark.parametrize("spoil, words", [
    (lambda d: shutil.rmtree(d), ["no such directory", "attnbench run"]),
    (lambda d: (d / "summary.csv").unlink(), ["summary.csv", "no such file", "raw.csv is there"]),
    (lambda d: (d / "summary.csv").write_text(""), ["summary.csv", "empty"]),
    (lambda d: (d / "summary.csv").write_text("a,b\n1,2\n"), ["missing columns", "schema_version"]),
    (lambda d: edit(d, lambda t: t.head(0)), ["no rows", "resumes"]),
    (lambda d: edit(d, lambda t: t.rename(columns={"ws_tracked_bytes": "ws_tracked_byte"})),
     ["missing column ws_tracked_bytes", "there is 'ws_tracked_byte'"]),
    (lambda d: edit(d, lambda t: put(t, 3, "time_median_ns", "nan")),
     ["summary.csv:5", "time_median_ns", "'nan'", "left empty"]),
    (lambda d: edit(d, lambda t: put(t, 2, "n_k", "")), ["summary.csv:4", "n_k", "not a number"]),
    (lambda d: edit(d, lambda t: put(t, 1, "status", "fine")), ["unknown status 'fine'", "ok"]),
    (lambda d: edit(d, lambda t: put(t, 1, "time_median_ns", "0")), ["summary.csv:3", "status ok"]),
    (lambda d: edit(d, lambda t: pd.concat([t, t.iloc[[4]]])), ["lines 6, ", "same cell"]),
    (lambda d: edit(d, lambda t: put(t, 0, "schema_version", "9")), ["schema_version '9'", "Update"]),
    (lambda d: (d / "run.json").write_text("{"), ["run.json", "JSON"]),
    (lambda d: (d / "summary.csv").write_bytes(b"\xff\xfe\x00"), ["summary.csv", "not a CSV"]),
])
def test_errors_say_what_where_and_what_to_do(tmp_path, spoil, words):
    path = tmp_path / "run"
    synthetic.write_run(path, {"flash": synthetic.VARIANTS["flash"], "full": synthetic.VARIANTS["full"]})
    spoil(path)
    with pytest.raises(data.DataError) as err:
        data.load(path)
    for word in words:
        assert word in str(err.value), str(err.value)


def edit(folder, change):
    path = folder / "summary.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def put(table, row, column, value):
    table.loc[row, column] = value
    return table


def test_run_json_is_optional_and_may_have_any_shape(tmp_path):
    assert machine.sections({}) == [] and machine.cpu({}) == "" and machine.command({}) == ""
    assert machine.cpu({"machine": {"cpu_model": "A  B"}}) == "A B"
    assert machine.sections({"machine": "?", "topology": []}) == []
    assert machine.command({"argv": ["./attnbench", "run", "a b"]}) == "./attnbench run 'a b'"
    assert machine.commit({"build": {"git_commit": "12", "git_dirty": True}}).startswith("12 with changes")
    synthetic.write_run(tmp_path, {"flash": synthetic.VARIANTS["flash"]}, info=None)
    assert data.load(tmp_path).info == {}
    assert ("Memory", "16 GiB") in dict(machine.sections(synthetic.MACHINE))["Machine"]


# Speed


def truth(name, n, d=64):
    spec = synthetic.VARIANTS[name]
    return spec[2] * (n / 256) ** spec[3] * d / 64


def test_interval_ranks_are_those_of_the_protocol():
    for rounds, ranks in {6: (1, 6), 9: (2, 8), 12: (3, 10), 15: (4, 12), 20: (6, 15), 30: (10, 21)}.items():
        values = np.random.default_rng(rounds).permutation(np.arange(1, rounds + 1))
        assert speed.interval(values) == ranks
        assert speed.interval(values) == tuple(quantile_test(values, q=0, p=0.5).confidence_interval(0.95))
    assert np.isnan(speed.interval(np.arange(5))).all()


def test_ratio_is_paired_by_round(run, gauss):
    rounds = speed.round_medians(run)
    flash, fast = gauss.find("flash").at(1024), gauss.find("taylor1").at(1024)
    paired, loose = speed.speedup(rounds, flash, fast), speed.speedup(None, flash, fast)
    exact = truth("flash", 1024) / truth("taylor1", 1024)
    assert paired.pairs == 9 and loose.pairs == 0
    assert paired.low <= paired.value <= paired.high
    assert paired.value == pytest.approx(exact, rel=0.02)
    assert paired.high - paired.low < (loose.high - loose.low) / 2
    assert paired.verdict() == speed.FASTER
    assert speed.speedup(rounds, fast, flash).verdict() == speed.SLOWER


def test_coverage_of_the_ratio(tmp_path):
    """The 95 % interval holds the truth about that often."""
    two = {v: synthetic.VARIANTS[v] for v in ("flash", "taylor1")}
    groups = [(f"gauss:sigma={i}", 64, (256, 512), 6, 0.8, 0.9) for i in range(60)]
    synthetic.write_run(tmp_path, two, groups, seed=11)
    run = data.load(tmp_path)
    rounds = speed.round_medians(run)
    held = [r.low <= truth("flash", n) / truth("taylor1", n) <= r.high
            for g in run.groups for n in (256, 512)
            for r in [speed.speedup(rounds, g.find("flash").at(n), g.find("taylor1").at(n))]]
    assert np.mean(held) > 0.9


def same_rounds(got, wanted):
    assert list(got) == list(wanted)
    for cell in wanted:
        np.testing.assert_array_equal(got[cell], wanted[cell])


def test_disturbed_samples_are_set_aside(tmp_path):
    synthetic.write_run(tmp_path, {"flash": synthetic.VARIANTS["flash"]})
    raw = pd.read_csv(tmp_path / "raw.csv", dtype={"disturbed": str})
    before = speed.round_medians(data.load(tmp_path))
    raw["samples_in_round"] = 6
    bad = raw.assign(sample=9, disturbed="1", wall_ns=raw["wall_ns"] * 50)
    pd.concat([raw, bad]).to_csv(tmp_path / "raw.csv", index=False)
    same_rounds(speed.round_medians(data.load(tmp_path)), before)


def test_reset_and_torn_rows_do_not_count(tmp_path):
    synthetic.write_run(tmp_path, {"flash": synthetic.VARIANTS["flash"]})
    raw = pd.read_csv(tmp_path / "raw.csv", dtype=str, keep_default_na=False)
    before = speed.round_medians(data.load(tmp_path))
    first = raw["cell_id"].iloc[0]
    void = raw[raw["cell_id"] == first].assign(wall_ns="1")
    reset = void.iloc[[0]].assign(**{"pass": "reset"})
    torn = raw.iloc[[-1]].assign(round="99", wall_ns="1")
    pd.concat([void, reset, raw, torn]).to_csv(tmp_path / "raw.csv", index=False)
    same_rounds(speed.round_medians(data.load(tmp_path)), before)


def test_verdicts():
    def verdict(low, high):
        return speed.Ratio((low + high) / 2, low, high, 9).verdict()
    assert verdict(1.02, 1.1) == speed.FASTER and verdict(0.8, 0.95) == speed.SLOWER
    assert verdict(0.995, 1.005) == speed.SAME and verdict(0.9, 1.1) == speed.UNCLEAR
    assert verdict(np.nan, np.nan) == speed.UNCLEAR
    assert "too few rounds" in str(speed.Ratio(2.0, np.nan, np.nan, 3))


def test_crossings(run, gauss):
    rounds = speed.round_medians(run)
    flash = gauss.find("flash")

    def of(name):
        c = crossover.crossing(rounds, flash, gauss.find(name))
        return c.kind, c.below, c.above
    # 1.9 (n/256) against 1.4 (n/256)^2 ms: they cross at n = 347.
    assert of("performer") == ("once", 256, 512)
    assert of("linear-elu")[0] == "always"
    assert of("topk")[0] == "never"
    assert of("nystrom") == ("always", 0, 512)
    assert str(crossover.crossing(rounds, flash, gauss.find("performer"))) == "from a length in (256, 512]"
    assert str(crossover.Crossing("once", 0, 512, {256: None, 512: None})) == "from 512; not decided below"


# Findings


def test_findings_are_right(analysis):
    found = findings.findings(analysis)
    assert len(found) == 4
    fast, wrong, exact, growth = (f.numbers for f in found)
    assert (fast["n"], fast["best"], fast["faster"], fast["of"]) == (4096, "linear-elu", 10, 10)
    assert fast["ratio"].value == pytest.approx(truth("flash", 4096) / truth("linear-elu", 4096), rel=0.02)
    assert fast["nearest"] == "nystrom"
    assert str(fast["ratio"]) in found[0].text and "0.885" in found[0].text
    # At 4096, err = e (1 + 0.12) is compared with 0.813 (1 + 0.08).
    beyond = [v for v, s in synthetic.VARIANTS.items() if s[0] != "exact" and v not in ("topk",)
              and s[6] * 1.12 > 0.813 * 1.08]
    assert wrong[GAUSS]["worse"] == len(beyond) and wrong[GAUSS]["of"] == 10
    assert wrong[GAUSS]["best"] == "nystrom" and wrong[REAL]["best"] == "topk"
    assert wrong[REAL]["of"] == 9
    assert exact["n"] == 2048
    assert exact["ratio"].value == pytest.approx(1.5, rel=0.02)
    assert exact["memory_ratio"] == pytest.approx(2.7e5 * 64 / 3.7e4, rel=0.01)
    assert exact["leanest"] == "retention"
    assert "From n = 4096 on full would not fit in memory." in found[2].text
    assert growth["lead"] == "flash" and growth["low"] <= 2 <= growth["high"]
    assert "KiB of workspace (flash: " in found[0].text
    slugs = {(f.slug, f.name) for f in figures.plan(analysis)}
    assert all(f.figure in slugs for f in found)


def test_findings_claim_no_more_than_the_data(tmp_path):
    one = {v: synthetic.VARIANTS[v] for v in ("flash", "taylor1")}
    few = [(GAUSS, 64, (256,), 6, 0.8, 0.9)]
    synthetic.write_run(tmp_path / "few", one, few, rounds=3)
    text = " ".join(findings.as_text(findings.findings(derive.Analysis(data.load(tmp_path / "few")))).split())
    assert "none of 1 approximations is faster" in text and "too few rounds for an interval" in text
    synthetic.write_run(tmp_path / "alone", {"flash": one["flash"]}, few)
    assert findings.findings(derive.Analysis(data.load(tmp_path / "alone"))) == []
    assert "Nothing to compare" in findings.as_text([])
    slow = {"flash": one["flash"], "topk": synthetic.VARIANTS["topk"]}
    synthetic.write_run(tmp_path / "slow", slow, few)
    found = findings.findings(derive.Analysis(data.load(tmp_path / "slow")))
    assert found[0].title == "No approximation is clearly faster than exact attention"


def test_findings_without_flash_or_raw(tmp_path):
    some = {v: synthetic.VARIANTS[v] for v in ("full", "linear-elu")}
    synthetic.write_run(tmp_path, some, synthetic.GROUPS[:1], raw=False)
    found = findings.findings(derive.Analysis(data.load(tmp_path)))
    growth = found[-1].numbers
    assert found[-1].title.startswith("Growth") and growth["slope"] == pytest.approx(2, abs=0.15)
    assert np.isnan(growth["low"])  # without rounds there is nothing to resample


# Command line


def test_command_line(call, folder, tmp_path):
    done = subprocess.run([sys.executable, "-m", "plots", "findings", folder], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0 and done.stdout.startswith("1. Fastest: linear-elu") and not done.stderr
    done = call("report", tmp_path / "nowhere")
    assert done.returncode == 2 and "no such directory" in done.stderr and not done.stdout
    done = call("figures", folder, "--lengths", "two")
    assert done.returncode == 2 and "512,4096" in done.stderr
    assert call("--help").returncode == 0
