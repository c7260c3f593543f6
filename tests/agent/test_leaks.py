"""A cancelled or failed run leaves no task, no connection and no file behind, over real sockets."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.agent import CascadeAgent
from cascadeflow.config import Deadlines, RetryPolicy
from cascadeflow.errors import AllModelsFailedError
from cascadeflow.models.prices import Price
from cascadeflow.pipeline import events
from cascadeflow.testing import SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Callable


def open_files() -> set[str]:
    """What this process has open: sockets and files, by their descriptor."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("this system does not list a process's files")
    found = set()
    for entry in folder.iterdir():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except FileNotFoundError:
            continue  # the listing's own descriptor
    return found


def model(name: str, **more: Any) -> SimulatedModel:
    return SimulatedModel(name, price=Price(input=1, output=2), **more)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what another task brings about."""
    while not condition():  # noqa: ASYNC110 - the server's counts tell no event
        await asyncio.sleep(0.001)


async def quiet(server: SimulatedProvider) -> None:
    """Waits until the server has noticed that its clients are gone."""
    await until(lambda: not (server.stats.open_connections or server.stats.in_progress))


async def cancelled_run(agent: CascadeAgent, server: SimulatedProvider) -> None:
    task = asyncio.create_task(agent.run("What takes so long?"))
    await until(lambda: server.stats.in_progress == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancelled_stream(agent: CascadeAgent, server: SimulatedProvider) -> None:
    stream = agent.stream("What takes so long?", show_draft=True)
    async for event in stream:
        if isinstance(event, events.TextChunk):
            break
    assert server.stats.in_progress == 1
    await stream.aclose()


async def timed_out_run(agent: CascadeAgent, server: SimulatedProvider) -> None:
    with pytest.raises(AllModelsFailedError, match="timeout"):
        await agent.run("What takes so long?", timeout=0.05)
    assert server.stats.requests == 1


async def failed_run(agent: CascadeAgent, server: SimulatedProvider) -> None:
    with pytest.raises(AllModelsFailedError):
        await agent.run("What fails?", model="failing")
    assert server.stats.requests == 1


async def broken_stream(agent: CascadeAgent, server: SimulatedProvider) -> None:
    with pytest.raises(AllModelsFailedError):
        async for _ in agent.stream("What breaks?", model="breaking"):
            pass
    assert server.stats.requests == 1


async def cancelled_batch(agent: CascadeAgent, server: SimulatedProvider) -> None:
    task = asyncio.create_task(agent.run_batch([f"Question {i}?" for i in range(50)]))
    await until(lambda: server.stats.in_progress == 8)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "scenario",
    [
        cancelled_run,
        cancelled_stream,
        timed_out_run,
        failed_run,
        broken_stream,
        cancelled_batch,
    ],
)
def test_nothing_is_left_behind(scenario: Any) -> None:
    # The first token comes at once, the rest never: whoever waits for the end waits for ever.
    models = [
        model("slow", tokens_per_second=1, output_tokens=100_000),
        model("failing", error_rate=1.0),
        model("breaking", break_stream_rate=1.0),
    ]

    async def main(server: SimulatedProvider) -> None:
        agent = CascadeAgent(
            server.models_for("openai"),
            order="given",
            retry=RetryPolicy(attempts=1),
            deadlines=Deadlines(total=30),
        )
        await scenario(agent, server)
        # httpcore2 leaves a generator that the loop finalises in a task of its own, at once.
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        await agent.aclose()
        await quiet(server)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with SimulatedProvider(models).start_in_thread() as server:
        gc.collect()
        files = open_files()
        asyncio.run(main(server))
        gc.collect()
        assert open_files() == files


def test_an_agent_that_was_closed_can_be_used_again() -> None:
    async def main() -> None:
        async with SimulatedProvider([model("small")]) as server:
            agent = CascadeAgent(server.models_for("openai"))
            async with agent:
                await agent.run("One?")
            await quiet(server)
            assert (await agent.run("Two?")).content
            await agent.aclose()

    asyncio.run(main())
