"""What the page on experiments and its example show really runs, against the simulated provider."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.experiments.sqlite import SqliteExperiments
from cascadeflow.providers.registry import get_provider, register_provider
from cascadeflow.testing import SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "experiments.md"


@pytest.fixture(autouse=True)
def providers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The providers that the page names are the simulated one; their code knows nothing of it."""
    monkeypatch.chdir(tmp_path)
    models = [SimulatedModel(name) for name in ("gpt-6-luna", "claude-opus-5-5")]
    with SimulatedProvider(models).start_in_thread() as server:
        before = [get_provider(name) for name in ("openai", "anthropic")]
        register_provider(replace(before[0], base_url=server.base_url), replace=True)
        register_provider(replace(before[1], base_url=server.url), replace=True)
        for provider in before:
            monkeypatch.setenv(provider.key_env[0], "simulated")
        try:
            yield
        finally:
            for provider in before:
                register_provider(provider, replace=True)


def test_every_block_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2

    async def main() -> None:
        namespace: dict[str, Any] = {}
        for source in blocks:
            code = compile(source, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            running = eval(code, namespace)  # noqa: S307 - this repository's own page
            if inspect.iscoroutine(running):
                await running
            await namespace["agent"].aclose()
        namespace["experiment"].close()

    asyncio.run(main())
    assert re.search(r"^keener-threshold (control|keen)$", capsys.readouterr().out, re.MULTILINE)


def test_the_example_runs_and_leaves_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "ab_test.py"), run_name="__main__")
    out = capsys.readouterr().out
    assert re.search(r"^user-0 (control|keen) ", out, re.MULTILINE)
    store = SqliteExperiments("experiments.db", create=False)
    book = store.read("keener-threshold")
    store.close()
    assert sum(book.arrivals.values()) == 6
