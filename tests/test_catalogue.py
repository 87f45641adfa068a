# SPDX-License-Identifier: BSD-3-Clause
"""What `attnbench list` says of each variant, and the catalogue made from it."""
import csv
import io

import pytest

from cli import ROOT, built, call

pytestmark = built
FIELDS = ("family", "paper", "formula", "cost", "tends to", "bidirectional", "causal", "decode", "n_q != n_k",
          "exact", "random", "bound", "pitfalls")


def table():
    return list(csv.DictReader(io.StringIO(call("list", "--format", "csv").stdout)))


@pytest.fixture(scope="module", name="variants")
def _variants():
    return {r["variant"]: r for r in table()}


def test_how_many(variants):
    assert len(variants) >= 40


def test_no_field_is_empty(variants):
    for name, row in variants.items():
        lines = call("list", name).stdout.splitlines()
        said = {line[:14].strip(): line[15:].strip() for line in lines[2:] if line[14:15] == " "}
        missing = [f for f in FIELDS if not said.get(f)]
        assert not missing, f"list {name}: {missing}"
        assert row["title"] in lines[0]
        for form in ("bidirectional", "causal", "decode"):
            words = said[form]
            assert words.startswith("yes") == bool(int(row[form])), f"{name}: {form}"
            assert words == "yes" or len(words) > 8, f"{name} says no more of {form} than {words!r}"
        named = [p.partition("=")[0] for p in row["params"].split(":") if p]
        shown = [line.split()[0] for line in lines[lines.index("") + 1:] if line and line.split()[0] in named]
        assert set(named) <= set(shown) if named else "parameters" in said, name


def test_the_catalogue_is_current():
    """`make catalogue` writes it."""
    text = (ROOT / "attention" / "README.md").read_text(encoding="utf-8")
    head, _, rest = text.partition("<!-- catalogue: attnbench list --format md -->\n")
    shown, end, _ = rest.partition("<!-- end of the catalogue -->\n")
    assert head and end
    assert shown == call("list", "--format", "md").stdout, "run `make catalogue`"


def test_the_catalogue_is_a_table():
    lines = call("list", "--format", "md").stdout.splitlines()
    columns = {line.replace("\\|", "").count("|") for line in lines}
    assert len(columns) == 1, "a cell holds an unescaped |"
    assert len(lines) == len(table()) + 2
