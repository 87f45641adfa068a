# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the tests of plots/."""
from types import SimpleNamespace

import pytest

import synthetic
from plots import __main__ as command
from plots import data, derive


@pytest.fixture(name="call")
def _call(capsys):
    """The command line, in this process: call("lint", path) -> returncode, stdout, stderr."""
    def call(*words):
        capsys.readouterr()
        try:
            code = command.main([str(w) for w in words])
        except SystemExit as end:  # argparse
            code = end.code or 0
        out = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=out.out, stderr=out.err)
    return call


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
