"""What the pages and examples on tools and structured output show runs, unchanged."""

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

from cascadeflow.providers.registry import get_provider, register_provider
from cascadeflow.testing import SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MODELS = ["gpt-6-luna", "claude-opus-5-5"]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedProvider]:
    """Every provider the pages name is the simulated one; their code knows nothing of it."""
    models = [SimulatedModel(name, calls_tools=True) for name in MODELS]
    with SimulatedProvider(models).start_in_thread() as server:
        before = [get_provider(name) for name in ("openai", "anthropic")]
        register_provider(replace(before[0], base_url=server.base_url), replace=True)
        register_provider(replace(before[1], base_url=server.url), replace=True)
        for one in before:
            monkeypatch.setenv(one.key_env[0], "simulated")
        try:
            yield server
        finally:
            for one in before:
                register_provider(one, replace=True)


async def run_page(name: str) -> dict[str, Any]:
    """Runs a page's blocks in order, as one program; gives its names."""
    text = (ROOT / "docs" / name).read_text()
    namespace: dict[str, Any] = {}
    for source in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(source, name, "exec", flags=flags, dont_inherit=True)
        running = eval(code, namespace)  # noqa: S307 - this repository's own page
        if inspect.iscoroutine(running):
            await running
    await namespace["agent"].aclose()
    return namespace


@pytest.mark.usefixtures("provider")
def test_the_page_on_tools_runs_and_what_it_says_happens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    namespace = asyncio.run(run_page("tools.md"))
    assert "room_price" in capsys.readouterr().out
    assert namespace["book"].parameters["required"] == ["kind", "arrival", "guests"]
    (step,) = namespace["result"].steps
    assert step.outcomes[0].error is None
    problem = namespace["box"].check(namespace["call"]).message
    page = (ROOT / "docs" / "tools.md").read_text()
    assert f"# {problem}" in page
    assert namespace["outcome"].content == '{"euros":90}'


@pytest.mark.usefixtures("provider")
def test_the_page_on_structured_output_runs_and_what_it_says_happens() -> None:
    namespace = asyncio.run(run_page("structured-output.md"))
    assert namespace["result"].parsed in {"cats", "dogs"}
    problem = namespace["schema"].parse('{"department": "billing", "urgency": 7}').problem
    assert f"# {problem}" in (ROOT / "docs" / "structured-output.md").read_text()
    assert namespace["schema"].format.strict is True


@pytest.mark.usefixtures("provider")
def test_the_example_of_tools_runs_one_and_answers_with_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_path(str(ROOT / "examples" / "tools.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert re.search(r'^step 1  room_price\(\{"kind"', printed, re.MULTILINE), printed
    assert re.search(r'^        -> \{"euros":\d+\}, ', printed, re.MULTILINE), printed
    assert "USD in 2 steps" in printed


@pytest.mark.usefixtures("provider")
def test_the_example_of_structured_output_prints_an_object(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_path(str(ROOT / "examples" / "structured_output.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert re.match(r"to (billing|technical|sales), urgency \d: ", printed), printed
    assert "answered by" in printed
