# SPDX-License-Identifier: BSD-3-Clause
"""Tests marked slow run when asked for: pytest -m slow."""
import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: many draws; run by `make test-slow`")


def pytest_collection_modifyitems(config, items):
    if not config.option.markexpr:
        skip = [i for i in items if i.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=skip)
        items[:] = [i for i in items if i not in skip]


@pytest.fixture(params=[5, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"])
def stride(request):
    """How many faults to pass over between two that are tried."""
    return request.param


@pytest.fixture(params=[16, pytest.param(200, marks=pytest.mark.slow)], ids=["few", "many"])
def draws(request):
    """How often a test of coverage draws."""
    return request.param
