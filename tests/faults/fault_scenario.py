"""One fault, from the agent's side: what it must come to, in errors, money and connections."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from fault_table import Answer, Fails, Fault
from fault_voices import SERVED, Voice

from cascadeflow import AllModelsFailedError, CascadeAgent, CostTracker, Deadlines, RetryPolicy
from cascadeflow.money import to_usd
from cascadeflow.pipeline import events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fault_server import FaultServer, Link, Served

    from cascadeflow.errors import ProviderError
    from cascadeflow.pipeline.result import CascadeResult

QUESTION = "Where is the opera house?"
ONCE = RetryPolicy(attempts=1)


def tracked(budget: str = "1.00", **options: Any) -> CostTracker:
    return CostTracker(global_budget=budget, enforcement_mode="block", **options)


def spent(tracker: CostTracker) -> int:
    """What is booked, in nanodollars; nothing may be held any more."""
    (found,) = tracker.accounts("global")
    assert found.held == 0, "a hold is still open"
    return found.spent


async def ask(agent: CascadeAgent, *, streamed: bool, **options: Any) -> CascadeResult:
    """Asks, whole or as a stream; the pieces of a stream are its result's text."""
    options = {"max_tokens": 100, **options}
    if not streamed:
        return await agent.run(QUESTION, **options)
    pieces = []
    result = None
    stream: AsyncIterator[Any] = agent.stream(QUESTION, **options)
    async for event in stream:
        if isinstance(event, events.TextChunk):
            pieces.append(event.text)
        elif isinstance(event, events.RequestCompleted):
            result = event.result
    assert result is not None
    assert "".join(pieces) == result.content
    return result


async def answer(link: Link, voice: Voice) -> None:
    """What a server that behaves does."""
    if link.streamed:
        await link.stream(*voice.events(), kind=voice.stream_kind)
    else:
        await link.respond(voice.whole())


async def no_task_left() -> None:
    """Waits until the loop has no other task; one that stays makes the test's time-out fail it."""
    # httpcore2 leaves a generator that the loop finalises in a task of its own, at once.
    while asyncio.all_tasks() != {asyncio.current_task()}:  # noqa: ASYNC110
        await asyncio.sleep(0)


@cache
def hold(voice: Voice, streamed: bool, servers: FaultServer) -> int:
    """What one call of this provider's model is held at, in nanodollars."""

    async def main(served: Served) -> Any:
        async with CascadeAgent([voice.model(served.url)], cost_tracker=tracked()) as agent:
            return (await ask(agent, streamed=streamed)).budget.held

    with servers.serving(lambda link: answer(link, voice)) as served:
        held = int(asyncio.run(main(served)) * 10**9)
    assert held > SERVED
    return held


async def suffer(
    servers: FaultServer,
    voice: Voice,
    fault: Fault,
    *,
    streamed: bool,
    one_hold: int,
    deadlines: Deadlines | None = None,
) -> None:
    """Asks a server that answers the first request with a fault, and the second one well."""

    async def handler(link: Link) -> None:
        await (fault.play if link.number == 1 else answer)(link, voice)

    with servers.serving(handler) as served:
        tracker = tracked()
        agent = CascadeAgent(
            [voice.model(served.url)], cost_tracker=tracker, retry=ONCE, deadlines=deadlines
        )
        await _first(agent, tracker, fault, streamed=streamed, one_hold=one_hold)
        if fault.hangs_up:
            await served.closed()
        booked = spent(tracker)
        result = await ask(agent, streamed=streamed)
        assert result.content == "Oslo, of course."
        assert spent(tracker) == booked + SERVED
        await agent.aclose()
        await served.closed()
        assert served.requests == 2


async def _first(
    agent: CascadeAgent, tracker: CostTracker, fault: Fault, *, streamed: bool, one_hold: int
) -> None:
    expected = fault.streamed if streamed else fault.whole
    if isinstance(expected, Fails):
        with pytest.raises(AllModelsFailedError) as caught:
            await ask(agent, streamed=streamed)
        (error,) = caught.value.errors
        check_error(error, expected)
        booked = spent(tracker)
        assert booked == (0 if expected.billed is False else one_hold)
    else:
        assert isinstance(expected, Answer)
        result = await ask(agent, streamed=streamed)
        assert result.content.startswith(("Oslo, of course.", "oooo"))
        assert result.cost.confirmed is expected.confirmed
        if expected.confirmed:
            assert result.cost.total == to_usd(SERVED)
        booked = spent(tracker)
        assert booked == (SERVED if expected.confirmed else one_hold)
    assert booked >= (SERVED if fault.ran else 0), "less is booked than the provider bills"


def check_error(error: ProviderError, expected: Fails) -> None:
    assert type(error) is expected.error, error
    assert error.billed is expected.billed
    (attempt,) = error.attempts
    assert attempt.outcome == expected.error.__name__
    assert attempt.billed is error.billed
    assert str(error).startswith(error.provider)
    assert "sk-test" not in str(error)
