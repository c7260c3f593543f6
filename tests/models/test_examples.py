"""The examples in the docstrings do what they say."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "cascadeflow.money",
        "cascadeflow.models._price",
        "cascadeflow.models.catalogue",
        "cascadeflow.models.config",
        "cascadeflow.models.overrides",
    ],
)
def test_examples_run(module: str) -> None:
    ran = doctest.testmod(import_module(module), optionflags=doctest.ELLIPSIS)
    assert ran.attempted > 0
    assert ran.failed == 0
