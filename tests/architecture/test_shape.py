"""What a stranger may rely on: the shape of the tree."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tracked(*patterns: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--", *patterns], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if listing.returncode:
        pytest.skip("not a git checkout: nothing says which files belong to the project")
    return [ROOT / line for line in listing.stdout.splitlines() if (ROOT / line).exists()]


def test_no_module_is_longer_than_600_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked("*.py", "*.rs", "*.pyi")
        if (lines := len(path.read_text().splitlines())) > 600
    }
    assert long == {}


def test_no_file_is_so_large_that_a_clone_becomes_slow() -> None:
    large = {
        str(path): path.stat().st_size for path in tracked() if path.stat().st_size > 2_000_000
    }
    assert large == {}


def test_every_python_file_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in tracked("python/*.py", "benches/*.py", "examples/*.py")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []
