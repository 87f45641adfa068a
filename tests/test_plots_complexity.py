# SPDX-License-Identifier: BSD-3-Clause
"""The table of growth: known slopes come back, and the verdict is about FLOPs."""
import csv

from plots import complexity
import synthetic


def rows(folder):
    with open(folder / "complexity.csv", newline="", encoding="utf-8") as file:
        return {r["variant"]: r for r in csv.DictReader(file)}


def test_known_growth(tmp_path, capsys):
    """Operations of the synthetic run grow as its times: every line is met."""
    synthetic.write_run(tmp_path, noise=0.002)
    (tmp_path / "variants.csv").write_text("variant,complexity\nflash,n^2 d\n", encoding="utf-8")
    assert complexity.main([str(tmp_path)]) == 0
    found = rows(tmp_path)
    assert set(found) == set(synthetic.VARIANTS)
    for name, spec in synthetic.VARIANTS.items():
        row = found[name]
        assert abs(float(row["slope of FLOPs"]) - spec[3]) < 0.01
        assert abs(float(row["slope of time"].split()[0]) - spec[3]) < 0.05
        assert abs(float(row["time against FLOPs"].split()[0]) - 1) < 0.05
        assert row["verdict"] == "met"
        assert len(row["local slopes of time"].split(", ")) == 4
    assert found["flash"]["declared cost"] == "n^2 d" and found["full"]["declared cost"] == ""
    assert "14 of 14" in capsys.readouterr().out


def test_a_miss_is_said(tmp_path):
    """Time that grows faster than its operations."""
    table = synthetic.write_run(tmp_path, raw=False)
    table.loc[table["variant"] == "topk", "flops_executed"] **= 0.7
    late = (table["variant"] == "performer") & (table["n_k"] == 4096)
    table.loc[late, ["time_median_ns", "time_ci95_lo_ns", "time_ci95_hi_ns"]] *= 4
    table.to_csv(tmp_path / "summary.csv", index=False)
    complexity.main([str(tmp_path)])
    found = rows(tmp_path)
    assert found["topk"]["verdict"] == "not met" and found["flash"]["verdict"] == "met"
    assert found["performer"]["verdict"] == "disturbed"  # the fastest samples are as before


def test_usage(capsys):
    assert complexity.main([]) == 2
    assert "complexity.ini" in capsys.readouterr().err
    assert complexity.main(["/nonexistent"]) == 2
