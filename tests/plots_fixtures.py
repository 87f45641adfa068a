# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the tests of plots/."""
import pytest

import synthetic
from plots import data, derive


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    synthetic.write_run(path, faults=synthetic.FAULTS)
    return path


@pytest.fixture(scope="module", name="run")
def _run(folder):
    return data.load(folder)


@pytest.fixture(scope="module", name="gauss")
def _gauss(run):
    return run.groups[0]


@pytest.fixture(scope="module", name="analysis")
def _analysis(run):
    return derive.Analysis(run)
