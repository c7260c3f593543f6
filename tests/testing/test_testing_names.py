"""The public names of `cascadeflow.testing`, and the examples in its docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import cascadeflow.testing
from cascadeflow.errors import RequestsForbiddenError
from cascadeflow.providers.guard import check_request

MODULES = sorted(
    module.name
    for module in pkgutil.iter_modules(cascadeflow.testing.__path__, "cascadeflow.testing.")
)


def test_the_names_are_sorted_and_all_there() -> None:
    names = cascadeflow.testing.__all__
    assert names == sorted(names)
    assert all(hasattr(cascadeflow.testing, name) for name in names)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_real_requests_are_forbidden_by_the_switch_given_here() -> None:
    with cascadeflow.testing.allow_real_requests():
        check_request("https://api.example.org/")
        with cascadeflow.testing.forbid_real_requests():
            with pytest.raises(RequestsForbiddenError):
                check_request("https://api.example.org/")
            check_request("http://127.0.0.1:8000/")


def test_importing_it_does_not_import_what_is_heavy() -> None:
    code = (
        "import sys, cascadeflow.testing;"
        "print(sorted({'httpx2', 'pydantic', 'rich', 'numpy', 'urllib.request'} & {*sys.modules}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == "[]"
