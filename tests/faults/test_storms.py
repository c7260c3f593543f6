"""A provider that turns everybody away for a while, and tries that follow one another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from fault_scenario import answer, ask, hold, no_task_left, spent, tracked
from fault_server import chunk, head
from fault_table import MEGABYTE
from fault_voices import SERVED, VOICES, Voice

from cascadeflow import AllModelsFailedError, CascadeAgent, RetryPolicy
from cascadeflow.errors import MalformedResponseError, ProviderConnectionError, RateLimitedError
from cascadeflow.providers import client
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from fault_server import FaultServer, Link, Served

THRICE = RetryPolicy(attempts=3, base_delay=0.5, max_delay=8)

both_modes = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
each_voice = pytest.mark.parametrize("voice", VOICES, ids=str)


async def refuse(link: Link, voice: Voice, **headers: str) -> None:
    await link.respond(voice.error(), status=429, **headers)


@each_voice
@both_modes
def test_a_storm_of_refusals_costs_nothing_and_waits_between_its_tries(
    fault_loop: FaultServer, voice: Voice, streamed: bool
) -> None:
    clock, tracker = ManualClock(autojump=True), tracked()

    async def main(url: str) -> None:
        async with CascadeAgent(
            [voice.model(url)], cost_tracker=tracker, retry=THRICE, clock=clock
        ) as agent:
            with pytest.raises(AllModelsFailedError) as caught:
                await ask(agent, streamed=streamed)
            (error,) = caught.value.errors
            assert isinstance(error, RateLimitedError)
            assert [attempt.billed for attempt in error.attempts] == [False] * 3
            assert [attempt.status for attempt in error.attempts] == [429] * 3
        await no_task_left()

    with fault_loop.serving(lambda link: refuse(link, voice)) as served:
        asyncio.run(main(served.url))
        assert (served.requests, served.accepted) == (3, 1)
    assert spent(tracker) == 0
    assert 0 < clock.monotonic() <= 0.5 + 1.0


@each_voice
@both_modes
def test_a_storm_that_names_its_end_is_waited_out(
    fault_loop: FaultServer, voice: Voice, streamed: bool
) -> None:
    clock, tracker = ManualClock(autojump=True), tracked()

    async def handler(link: Link) -> None:
        if link.number < 3:
            await refuse(link, voice, retry_after="7")
        else:
            await answer(link, voice)

    async def main(url: str) -> None:
        async with CascadeAgent(
            [voice.model(url)], cost_tracker=tracker, retry=THRICE, clock=clock
        ) as agent:
            result = await ask(agent, streamed=streamed)
        assert result.content == "Oslo, of course."
        assert result.cost.confirmed
        assert [attempt.billed for attempt in result.attempts] == [False, False, True]

    with fault_loop.serving(handler) as served:
        asyncio.run(main(served.url))
    assert spent(tracker) == SERVED
    assert 14 <= clock.monotonic() <= 14 + 2 * 0.5


@each_voice
def test_a_storm_that_lasts_too_long_is_not_waited_out(
    fault_loop: FaultServer, voice: Voice
) -> None:
    clock, tracker = ManualClock(autojump=True), tracked()

    async def main(url: str) -> None:
        async with CascadeAgent(
            [voice.model(url)], cost_tracker=tracker, retry=THRICE, clock=clock
        ) as agent:
            with pytest.raises(AllModelsFailedError) as caught:
                await ask(agent, streamed=False)
        (error,) = caught.value.errors
        assert error.retry_after == 3600

    with fault_loop.serving(lambda link: refuse(link, voice, retry_after="3600")) as served:
        asyncio.run(main(served.url))
        assert served.requests == 1
    assert (spent(tracker), clock.monotonic()) == (0, 0)


@each_voice
def test_a_hundred_at_once_get_through_a_storm_and_are_booked_exactly(
    fault_loop: FaultServer, voice: Voice
) -> None:
    """The first hundred and fifty tries are turned away, whoever makes them."""
    clock, tracker = ManualClock(autojump=True), tracked()

    async def handler(link: Link) -> None:
        if link.number <= 150:
            await refuse(link, voice)
        else:
            await answer(link, voice)

    async def main(url: str) -> list[Any]:
        patient = RetryPolicy(attempts=10)
        async with CascadeAgent(
            [voice.model(url)], cost_tracker=tracker, retry=patient, clock=clock
        ) as agent:
            asked = (ask(agent, streamed=number % 2 == 1) for number in range(100))
            results = await asyncio.gather(*asked)
        await no_task_left()
        return results

    with fault_loop.serving(handler) as served:
        results = asyncio.run(main(served.url))
        assert served.requests == 250
        assert served.accepted <= 100
    assert {result.content for result in results} == {"Oslo, of course."}
    assert spent(tracker) == 100 * SERVED


@each_voice
@both_modes
def test_a_try_that_may_have_been_billed_keeps_its_hold_beside_the_answer_s_cost(
    fault_loop: FaultServer, voice: Voice, streamed: bool
) -> None:
    one_hold = hold(voice, streamed, fault_loop)

    async def handler(link: Link) -> None:
        if link.number == 1:
            link.reset()
        else:
            await answer(link, voice)

    async def main(url: str, budget: str) -> int:
        tracker = tracked(budget)
        async with CascadeAgent(
            [voice.model(url)],
            cost_tracker=tracker,
            retry=THRICE,
            clock=ManualClock(autojump=True),
        ) as agent:
            try:
                result = await ask(agent, streamed=streamed)
            except AllModelsFailedError as failed:
                assert isinstance(failed.errors[0], ProviderConnectionError)  # noqa: PT017
            else:
                assert not result.cost.confirmed
                assert [attempt.billed for attempt in result.attempts] == [None, True]
        return spent(tracker)

    with fault_loop.serving(handler) as served:
        assert asyncio.run(main(served.url, "1.00")) == one_hold + SERVED
        assert served.requests == 2
    # Where the budget has no room for two tries, there is one.
    with fault_loop.serving(handler) as served:
        assert asyncio.run(main(served.url, f"{one_hold * 1.5 / 1e9:.9f}")) == one_hold
        assert served.requests == 1


@each_voice
@both_modes
@pytest.mark.parametrize("declared", [False, True], ids=["in-chunks", "with-a-length"])
def test_a_response_that_never_ends_is_broken_off(
    fault_loop: FaultServer,
    voice: Voice,
    streamed: bool,
    declared: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "MOST_BODY_BYTES", MEGABYTE)
    monkeypatch.setattr(client, "MOST_STREAM_BYTES", MEGABYTE)
    tracker = tracked()
    sent = 0

    async def handler(link: Link) -> None:
        nonlocal sent
        if link.number > 1:
            await answer(link, voice)
            return
        kind = voice.stream_kind if streamed else "application/json"
        framing: dict[str, Any] = (
            {"content-length": 10**12} if declared else {"transfer-encoding": "chunked"}
        )
        await link.send(head(200, {"content-type": kind, **framing}))
        piece = voice.padding if streamed else b" " * 20_000
        while True:
            sent += len(piece)
            await link.send(piece if declared else chunk(piece))

    async def main(served: Served) -> None:
        async with CascadeAgent([voice.model(served.url)], cost_tracker=tracker) as agent:
            with pytest.raises(AllModelsFailedError) as caught:
                await ask(agent, streamed=streamed)
            (error,) = caught.value.errors
            assert isinstance(error, MalformedResponseError)
            assert error.billed is None
            await served.closed()
            assert (await ask(agent, streamed=streamed)).content == "Oslo, of course."
        await no_task_left()

    with fault_loop.serving(handler) as served:
        asyncio.run(main(served))
    assert sent < 20 * MEGABYTE  # what the sockets hold, besides
    assert spent(tracker) == hold(voice, streamed, fault_loop) + SERVED
