"""What the page on testing shows really runs, block by block."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cascadeflow.providers.guard import allow_real_requests

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_page_has_its_blocks() -> None:
    assert len(BLOCKS) == 8


@pytest.mark.parametrize("source", BLOCKS, ids=lambda source: str(BLOCKS.index(source)))
def test_a_block_runs_as_it_stands(source: str) -> None:
    if "openai" in source.split():
        pytest.importorskip("openai")
    with allow_real_requests():  # gives the switch back its position, whatever the block does
        exec(compile(source, str(PAGE), "exec"), {"__name__": "block"})  # noqa: S102
