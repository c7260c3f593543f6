"""What `import cascadeflow` offers, and what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cascadeflow

SOURCE = Path(cascadeflow.__file__ or "")


def names_for_type_checkers() -> set[str]:
    """The names imported under `if TYPE_CHECKING:`."""
    tree = ast.parse(SOURCE.read_text())
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return {
                alias.name
                for statement in node.body
                if isinstance(statement, ast.ImportFrom)
                for alias in statement.names
            }
    raise AssertionError("cascadeflow/__init__.py has no TYPE_CHECKING block")


def test_the_lists_of_public_names_agree() -> None:
    assert cascadeflow.__all__ == sorted(cascadeflow.__all__)
    assert set(cascadeflow.__all__) == names_for_type_checkers() | {"__version__"}
    assert set(cascadeflow._HOME_OF) | {"__version__"} == set(cascadeflow.__all__)
    assert dir(cascadeflow) == cascadeflow.__all__


@pytest.mark.parametrize("name", cascadeflow.__all__)
def test_every_public_name_is_there(name: str) -> None:
    value = getattr(cascadeflow, name)
    home = cascadeflow._HOME_OF.get(name)
    if home is not None:
        assert getattr(sys.modules[f"cascadeflow.{home}"], name) is value


def test_a_name_that_is_not_public_is_missed_as_usual() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = cascadeflow.nothing  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        (
            "import cascadeflow",
            ["asyncio", "dataclasses", "httpx2", "logging", "pydantic", "ssl", "typing"],
        ),
        (
            "from cascadeflow import CascadeAgent; CascadeAgent(['openai:gpt-5'])",
            ["httpx2", "mistralrs", "numpy", "pydantic", "rich", "typer"],
        ),
    ],
)
def test_importing_loads_nothing_heavy(statement: str, absent: list[str]) -> None:
    # Without site: what a machine's own start-up files import is not ours.
    program = f"import sys; sys.path[:0] = {sys.path!r}; {statement}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "cascadeflow" in loaded
    assert sorted(set(absent) & set(loaded)) == []
