# SPDX-License-Identifier: BSD-3-Clause
"""plots/: comparing runs and variants; is a table plausible; published tables."""
import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

import synthetic
from synthetic import ROOT

from plots import compare, data, foreign, lint, published, speed, tables

pytest_plugins = ("plots_fixtures",)
TWO = {v: synthetic.VARIANTS[v] for v in ("flash", "taylor1")}
PUBLISHED = ROOT / "results" / "published"


# Comparing


def test_shift_is_what_the_test_does_not_refuse():
    rng = np.random.default_rng(0)
    for m, n in ((5, 7), (6, 6), (9, 12), (4, 4)):
        a, b = rng.normal(0.3, 1, m), rng.normal(0, 1, n)
        _, low, high, p = compare.shift(a, b)
        assert p == mannwhitneyu(a, b, method="exact").pvalue
        inside = np.linspace(low, high, 9)[1:-1]
        assert all(mannwhitneyu(a - s, b, method="exact").pvalue > 0.05 for s in inside)
        for s in (low - 1e-6, high + 1e-6):
            assert mannwhitneyu(a - s, b, method="exact").pvalue <= 0.05 or min(m, n) < 5
    assert np.isnan(compare.shift(np.arange(3.0), np.arange(9.0))[1])


def test_shift_covers(draws):
    rng = np.random.default_rng(1)
    held = []
    for _ in range(10 * draws):
        _, low, high, _ = compare.shift(rng.normal(0.5, 1, 6), rng.normal(0, 1, 8))
        held.append(low <= 0.5 <= high)
    assert np.mean(held) > 0.92


def test_variants_of_one_run_are_paired(run):
    made = compare.variants(run, "flash", "taylor1")
    assert made.paired and len(made.rows) == 7 and made.counts()[speed.FASTER] == 7
    row = next(r for r in made.rows if r.n == 1024)
    truth = 1.4e6 * 16 / (2.6e5 * 4)
    assert row.ratio.pairs == 9 and row.ratio.low <= truth <= row.ratio.high
    assert not made.regressed and compare.variants(run, "taylor1", "flash").regressed
    text = compare.text(made)
    assert "paired by round" in text and text.count("**faster**") == 7 and "| taylor1 against flash |" in text
    with pytest.raises(data.DataError, match="no variant 'flas' in it. It has: .*flash"):
        compare.variants(run, "flas", "taylor1")


def slower(folder, factor, cells=lambda t: t["n_k"] == "512"):
    """Makes cells of a run slower, in both of its files."""
    table = pd.read_csv(folder / "summary.csv", dtype=str, keep_default_na=False)
    ids = set(table.loc[cells(table), "cell_id"])
    for name, columns in (("summary.csv", [c for c in table if c.startswith("time_")]), ("raw.csv", ["wall_ns"])):
        rows = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
        at = rows["cell_id"].isin(ids)
        for c in columns:
            value = pd.to_numeric(rows.loc[at, c]) * factor
            rows.loc[at, c] = value.map(lambda v: "" if np.isnan(v) else repr(round(v)))
        rows.to_csv(folder / name, index=False)


def test_runs_are_not_paired_and_say_so(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    synthetic.write_run(a, TWO, seed=3)
    synthetic.write_run(b, TWO, seed=4)
    slower(b, 1.5)
    made = compare.runs(data.load(a), data.load(b))
    verdicts = {(r.label, r.n, r.place.split(",")[0]): r.verdict(made.margin) for r in made.rows}
    assert not made.paired and made.regressed and len(made.rows) == 14
    assert {v for (_, n, _), v in verdicts.items() if n == 512} == {speed.SLOWER}
    assert speed.SLOWER not in {v for (_, n, _), v in verdicts.items() if n != 512}
    text = compare.text(made)
    assert "not interleaved" in text and "Mann and Whitney" in text and "**B: 4 slower" in text
    assert compare.text(made, "csv").count("\n") == 15 and "**" not in compare.text(made, "text")


def test_compare_on_the_command_line(call, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    synthetic.write_run(a, TWO, synthetic.GROUPS[1:])
    synthetic.write_run(b, TWO, synthetic.GROUPS[1:])
    same = call("compare", a, b, "--fail-on", "slower")
    assert same.returncode == 0 and "slower" not in same.stdout.split("**B:")[1].split("\n")[0]
    slower(b, 2)
    assert call("compare", a, b).returncode == 0
    assert call("compare", a, b, "--fail-on", "slower").returncode == 4
    assert call("compare", b, a, "--fail-on", "slower").returncode == 0
    assert call("compare", a, "flash", "taylor1", "--fail-on", "slower").returncode == 0
    done = call("compare", a)
    assert done.returncode == 2 and "two runs" in done.stderr


def test_a_cell_that_is_lost_is_a_regression(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    synthetic.write_run(a, TWO, synthetic.GROUPS[1:])
    synthetic.write_run(b, TWO, synthetic.GROUPS[1:], {("taylor1", synthetic.REAL, 512): ("timeout", "no answer")})
    made = compare.runs(data.load(a), data.load(b))
    assert made.counts()["lost"] == 1 and made.regressed
    assert "**no longer measured**: timed out" in compare.text(made)


def test_other_machines_are_refused(tmp_path):
    a, b, c = (tmp_path / x for x in "abc")
    other = json.loads(json.dumps(synthetic.MACHINE))
    other["machine"]["cpu_model"] = "Other CPU"
    other["build"]["git_commit"] = "f" * 40
    synthetic.write_run(a, TWO, synthetic.GROUPS[1:])
    synthetic.write_run(b, TWO, synthetic.GROUPS[1:], info=other)
    synthetic.write_run(c, TWO, synthetic.GROUPS[1:], info=None)
    for left, right, words in ((a, b, "CPU: Example .* against Other CPU"), (a, c, "no run.json")):
        with pytest.raises(data.DataError, match=words):
            compare.runs(data.load(left), data.load(right))
        assert compare.runs(data.load(left), data.load(right), force=True).rows
    assert "Not measured alike" in compare.text(compare.runs(data.load(a), data.load(b), force=True))
    build = json.loads(json.dumps(synthetic.MACHINE))
    build["build"]["git_commit"] = "f" * 40
    (b / "run.json").write_text(json.dumps(build))
    assert "commit" in " ".join(compare.runs(data.load(a), data.load(b)).notes)


# Plausibility


@pytest.mark.parametrize("name", sorted(p.name for p in PUBLISHED.glob("*.csv")))
def test_published_tables_and_their_defects(name):
    about = foreign.tables()[name]
    assert about["source"] and about["what"] and isinstance(about["caveats"], list)
    found = lint.lint(foreign.read(PUBLISHED / name))
    assert {f.check for f in found} == set(about["defects"])


def test_the_defects_are_those_published():
    def words(name):
        return " ".join(f.words for f in lint.lint(foreign.read(PUBLISHED / name)))
    lra = words("lra-cost.csv")
    assert "Synthesizer takes less time at n = 3072 than at n = 2048" in lra and "the value of Sinkhorn" in lra
    assert "Linear takes less time at n = 2048" in lra and "Linformer takes the same memory" in lra
    cab = words("cab.csv")
    assert "given as 1877" in cab and "between 256 and 512" in cab and "only lengths from 256 to 8192" in cab
    assert "5.000% of its mean, in all 45 rows" in words("attn-bench.csv")
    assert "0 in all 740 rows, the 12 that failed included" in words("cudnn-frontend.csv")
    assert "51.29, but the mean of its row is 51.48" in words("lra-accuracy.csv")
    assert set(foreign.tables()) == {p.name for p in PUBLISHED.glob("*.csv")}


def test_own_runs_are_plausible(folder, tmp_path):
    assert lint.lint(foreign.read(folder / "summary.csv")) == []
    synthetic.write_run(tmp_path, noise=0.2, rounds=6, seed=5)
    found = lint.lint(foreign.read(tmp_path / "summary.csv"))
    assert found == [], found


@pytest.mark.parametrize("spoil, check", [
    (lambda t: t.assign(time_median_ns=t["time_median_ns"] * np.where(t["n_k"] == 512, 2, 1)), "summary"),
    (lambda t: t.assign(time_ci95_lo_ns=t["time_median_ns"] * 1.1), "interval"),
    (lambda t: pd.concat([t, t.iloc[[3]]]), "duplicate"),
    (lambda t: t.assign(err_exact_rel_fro=0), "zero"),
    (lambda t: t.assign(gflops_per_s=3 * t["gflops_per_s"]), "summary"),
    (lambda t: t.iloc[:-2], "missing"),
    (lambda t: t.assign(ws_tracked_bytes=2 * t["ws_model_bytes"]), "summary"),
])
def test_what_is_wrong_with_an_own_run_is_found(tmp_path, spoil, check):
    table = synthetic.write_run(tmp_path, TWO, info={"counts": {"planned": 14, "ok": 14}})
    spoil(table).to_csv(tmp_path / "summary.csv", index=False)
    assert check in {f.check for f in lint.lint(foreign.read(tmp_path / "summary.csv"))}


def write(path, text):
    path.write_text(text)
    return path


def test_foreign_columns_are_named(tmp_path):
    path = write(tmp_path / "x.csv", "who,len,ms,tf,diff\na,128,1.0,5,0\na,256,2.0,50,0\na,512,1.5,5,0\n"
                                     "b,128,1.0,5,0\nb,256,2.0,5,0\nb,512,4.0,5,0\n")
    with pytest.raises(data.DataError, match="--map"):
        foreign.read(path)
    mapping = foreign.parse_mapping("variant=who,n=len,time=ms,error=diff")
    assert [f.check for f in lint.lint(foreign.read(path, mapping))] == ["falls-time", "zero"]
    assert "roofline" in {f.check for f in lint.lint(foreign.read(path, {**mapping, "gflops": "tf"}), peak=10)}
    assert lint.lint(foreign.read(path, mapping), skip=("zero", "falls-time")) == []
    with pytest.raises(data.DataError, match="did you mean 'len'"):
        foreign.read(path, {"variant": "who", "n": "lenn"})
    with pytest.raises(data.DataError, match="did you mean time"):
        foreign.parse_mapping("tme=ms")


def test_rounded_deviations_and_copies(tmp_path):
    rows = [(v, n, f"{t:.2f}", f"{t * 0.05:.2f}") for v, scale in (("a", 9.1), ("b", 15.3), ("c", 15.3))
            for n in (128, 256, 512, 1024) for t in [scale * (n / 100)]]
    path = tmp_path / "y.csv"
    pd.DataFrame(rows, columns=["name", "n", "mean_ms", "std_ms"]).to_csv(path, index=False)
    assert [f.check for f in lint.lint(foreign.read(path))] == ["copied", "constant-cv"]
    rng = np.random.default_rng(0)
    honest = pd.read_csv(path).assign(std_ms=lambda t: t["mean_ms"] * rng.uniform(0.01, 0.1, len(t)))
    honest.to_csv(path, index=False)
    assert [f.check for f in lint.lint(foreign.read(path))] == ["copied"]


def test_lint_on_the_command_line(call, folder, tmp_path):
    done = call("lint", folder)
    assert done.returncode == 0 and "nothing implausible" in done.stdout
    done = call("lint", PUBLISHED / "lra-cost.csv")
    assert done.returncode == 1 and "lra-cost.csv:23,24: falls-time: Synthesizer" in done.stdout
    assert call("lint", tmp_path / "none.csv").returncode == 2
    assert "there are duplicate" in call("lint", folder, "--skip", "zeros").stderr


# Published results beside a run


def test_claims_of_published_tables():
    claims = {(c.table, c.variant, c.quantity): c for c in published.claims()}
    assert claims["nystromformer.csv", "full", "time"].exponent == pytest.approx(1.98, abs=0.01)
    assert claims["flash-attention.csv", "sliding-window", "time"].exponent == pytest.approx(1.0, abs=0.02)
    linformer = claims["flash-attention.csv", "linformer", "time"].crossings
    assert round(linformer["full"].named) == 529 and round(linformer["flash"].named) == 860
    window = claims["flash-attention.csv", "sliding-window", "time"].crossings
    assert round(window["full"].named) == 2794 and round(window["flash"].named) == 5635
    assert claims["cab-crossovers.csv", "performer", "time"].crossings == {"full": 2361.0}
    assert claims["lra-cost.csv", "full", "memory"].end_to_end


def test_agreement_compares_shapes(analysis, gauss):
    found = published.agreement(analysis)
    assert found.group is gauss
    exponents = {(c.table, s.variant, c.quantity): ours for c, ours, s in found.exponents}
    assert exponents["nystromformer.csv", "full", "time"].value == pytest.approx(2, abs=0.05)
    assert all(-1 <= tau <= 1 for *_, tau in found.orders) and found.orders
    for table in published.tables_of(found):
        text = tables.render(table, "text")
        assert "ms" not in text.split() and table.rows


# Tables


def test_tables_for_papers(analysis, tmp_path):
    paths = tables.write(analysis, tmp_path)
    assert {p.name for p in paths} == {f"{n}.{f}" for n in ("results", "exponents", "crossovers") for f in ("tex", "md")}
    latex = (tmp_path / "gauss-sigma=1_d64" / "results.tex").read_text()
    assert latex.count(r"\toprule") == latex.count(r"\midrule") == latex.count(r"\bottomrule") == 1
    assert "linear-elu" in latex and r"gauss $\sigma$=1" in latex and "σ" not in latex
    markdown = (tmp_path / "gauss-sigma=1_d64" / "crossovers.md").read_text()
    row = next(line for line in markdown.splitlines() if line.startswith("| performer"))
    assert "(256, 512]" in row and row.count("|") == 8
    made = tables.Table("t", "50 % of a_b & c", ("x|y", "n"), [("a|b", "1"), ("#{}~^\\", "20")], (1,))
    assert tables.tex(made.caption) == r"50 \% of a\_b \& c"
    assert tables.render(made, "md").splitlines()[2] == "| a\\|b | 1 |"
    assert tables.render(made, "text").splitlines()[1].endswith("    1")
    assert tables.render(made, "csv").splitlines()[1] == "a|b,1"


def test_fit_on_the_command_line(call, folder, tmp_path):
    done = call("fit", folder, "--out", tmp_path)
    assert done.returncode == 0 and "O(" not in done.stdout and "within n = 256 to 4096" in done.stdout
    assert {p.name for p in tmp_path.iterdir()} == {"fits.csv", "slopes.csv", "crossovers.csv"}
    assert r"\toprule" in call("fit", folder, "--out", tmp_path, "--format", "tex").stdout
