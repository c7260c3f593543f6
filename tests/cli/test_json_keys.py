"""What the commands on budgets print with `--json` is on the page on the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Answered: TypeAlias = Callable[..., dict[str, Any]]

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    """What the page says of a command, and of what `audit list` shares with `budget`."""
    parts = {part.split("\n", 1)[0]: part for part in PAGE.split("\n## ")}
    return parts[name] + (parts["budget"] if name == "audit" else "")


def keys(value: Any) -> set[str]:
    """Every key, however deep."""
    if isinstance(value, dict):
        return set(value).union(*(keys(each) for each in value.values()))
    return set().union(*(keys(each) for each in value)) if isinstance(value, list) else set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("budget", "show"),
        ("budget", "set", "user:ada", "--daily", "1", "--reason", "why"),
        ("budget", "reset", "user:ada", "--reason", "why"),
        ("costs", "report", "--by", "tag", "--by", "day"),
        ("costs", "export", "--format", "focus", "-o", "out.csv"),
        ("forecast", "user:ada"),
        ("audit", "list"),
        ("audit", "verify"),
        ("audit", "head"),
    ],
    ids=" ".join,
)
def test_every_key_is_on_the_page(
    answered: Answered,
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    answered("budget", "set", "global", "--monthly", "9", "--reason", "there is one")
    found = answered(*arguments, "--store", store)
    named = set(re.findall(r"[a-z_]+", section(arguments[0])))
    assert keys(found) - named == set()
