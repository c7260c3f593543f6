"""An answer in pieces: what is shown, what is taken back, and what leaving early ends."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import CostTracker
from cascadeflow.errors import AllModelsFailedError, InvalidRequestError
from cascadeflow.pipeline import events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def collect(world: Any, *models: str, **options: Any) -> list[events.Event]:
    agent_options = {key: options.pop(key) for key in ("on_verifier_failure",) if key in options}

    async def main() -> list[events.Event]:
        async with world.agent(*models, **agent_options) as agent:
            return [event async for event in agent.stream("What is this?", **options)]

    return asyncio.run(main())


def text_kept(told: list[Any]) -> str:
    """What a reader has on the screen: everything since the last replacement."""
    text = ""
    for event in told:
        if isinstance(event, events.AnswerReplaced):
            text = ""
        elif isinstance(event, events.TextChunk):
            text += event.text
    return text


def result_of(told: list[Any]) -> Any:
    assert isinstance(told[-1], events.RequestCompleted)
    return told[-1].result


def of(told: list[Any], kind: type) -> list[Any]:
    return [event for event in told if isinstance(event, kind)]


def test_a_draft_is_held_back_until_it_is_accepted(world: Any) -> None:
    told = collect(world(small=["one two three"], big=["x"]))
    kinds = [type(event).__name__ for event in told]
    assert kinds.index("DraftJudged") < kinds.index("TextChunk")
    assert text_kept(told) == "one two three"
    assert of(told, events.AnswerReplaced) == []


def test_a_rejected_draft_that_was_held_back_was_never_shown(world: Any) -> None:
    told = collect(world(small=["BAD one two"], big=["right one"]))
    assert "".join(event.text for event in of(told, events.TextChunk)) == "right one"
    assert of(told, events.AnswerReplaced) == []
    assert {event.model for event in of(told, events.TextChunk)} == {"openai:big"}


def test_a_draft_shown_at_once_comes_before_its_verdict(world: Any) -> None:
    told = collect(world(small=["one two three"], big=["x"]), show_draft=True)
    kinds = [type(event).__name__ for event in told]
    assert kinds.index("TextChunk") < kinds.index("DraftJudged")
    assert [event.text for event in of(told, events.TextChunk)] == ["one ", "two ", "three"]
    assert text_kept(told) == result_of(told).content == "one two three"


def test_a_draft_shown_at_once_is_replaced_when_rejected(world: Any) -> None:
    told = collect(world(small=["BAD one"], big=["right two"]), show_draft=True)
    (replaced,) = of(told, events.AnswerReplaced)
    assert (replaced.old_model, replaced.new_model) == ("openai:small", "openai:big")
    assert replaced.reason == "it starts with BAD"
    assert text_kept(told) == result_of(told).content == "right two"


def test_a_model_that_breaks_off_half_way_is_replaced(world: Any) -> None:
    w = world(small=["BAD"], middle=["whole answer"], big=[{"text": "a b c", "breaks_after": 2}])
    told = collect(w)
    (replaced,) = of(told, events.AnswerReplaced)
    assert (replaced.old_model, replaced.new_model) == ("openai:big", "openai:middle")
    assert "failed" in replaced.reason
    result = result_of(told)
    assert text_kept(told) == result.content == "whole answer"
    assert result.routing.fallbacks == ("openai:big",)
    assert not result.cost.confirmed  # what was sent may have been billed


def test_a_drafter_that_breaks_off_half_way_is_replaced_by_the_next(world: Any) -> None:
    w = world(small=[{"text": "a b c", "breaks_after": 2}], middle=["whole answer"], big=["x"])
    told = collect(w, show_draft=True)
    (replaced,) = of(told, events.AnswerReplaced)
    assert (replaced.old_model, replaced.new_model) == ("openai:small", "openai:middle")
    assert text_kept(told) == "whole answer"
    held_back = collect(
        world(small=[{"text": "a b c", "breaks_after": 2}], middle=["whole answer"], big=["x"])
    )
    assert of(held_back, events.AnswerReplaced) == []


@pytest.mark.parametrize("show_draft", [False, True])
def test_a_rejected_draft_that_is_kept_is_on_the_screen_once(world: Any, show_draft: bool) -> None:
    w = world(small=["BAD but all"], big=[503])
    told = collect(w, on_verifier_failure="draft", show_draft=show_draft)
    assert text_kept(told) == result_of(told).content == "BAD but all"
    w = world(small=["BAD but all"], big=[{"text": "a b c", "breaks_after": 2}])
    told = collect(w, on_verifier_failure="draft", show_draft=show_draft)
    assert text_kept(told) == result_of(told).content == "BAD but all"


@pytest.mark.parametrize("show_draft", [False, True])
def test_tool_calls_come_in_pieces_too(world: Any, show_draft: bool) -> None:
    calls = (("c1", "now", '{"tz": "UTC"}'), ("c2", "now", '{"tz": "CET"}'))
    w = world(small=[{"text": "", "finish": "tool_calls", "calls": calls}], big=["x"])
    told = collect(w, tools=[{"name": "now"}], show_draft=show_draft)
    pieces = of(told, events.ToolCallChunk)
    assert {(piece.index, piece.id, piece.name) for piece in pieces} == {
        (0, "c1", "now"),
        (1, "c2", "now"),
    }
    for index, call in enumerate(result_of(told).tool_calls):
        arguments = "".join(piece.arguments for piece in pieces if piece.index == index)
        assert arguments == call.arguments


def test_the_first_token_is_the_kept_answers(world: Any) -> None:
    told = collect(world(small=["BAD"], big=["right"]), show_draft=True)
    timing = result_of(told).timing
    assert timing.draft_ms < timing.first_token_ms <= timing.total_ms


def test_the_readers_own_time_is_nobodys_overhead(world: Any) -> None:
    from cascadeflow.testing import ManualClock  # noqa: PLC0415

    clock = ManualClock()
    w = world(small=["one two three"], big=["x"])

    async def main() -> Any:
        last = None
        async with w.agent(clock=clock) as agent:
            async for event in agent.stream("Hi", show_draft=True):
                clock.advance(1)
                last = event
        return last

    timing = asyncio.run(main()).result.timing
    assert timing.overhead_ms == 0
    assert timing.reader_ms == timing.total_ms > 0


def test_wrong_arguments_are_refused_before_the_first_event(world: Any) -> None:
    async def main() -> None:
        async with world(small=["a"]).agent() as agent:
            with pytest.raises(InvalidRequestError):
                agent.stream("")

    asyncio.run(main())


def test_a_stream_that_fails_raises_after_its_last_event(world: Any) -> None:
    w = world(small=[500], big=[500])
    told: list[Any] = []

    async def main() -> None:
        async with w.agent() as agent:
            async for event in agent.stream("Hi"):
                told.append(event)  # noqa: PERF401 - it raises half-way

    with pytest.raises(AllModelsFailedError):
        asyncio.run(main())
    # The exception is the reader's; the event is the listeners'.
    assert of(told, events.RequestFailed) == []
    assert isinstance(w.events[-1], events.RequestFailed)


async def leave_by_break(stream: AsyncIterator[Any]) -> None:
    async for event in stream:
        if isinstance(event, events.TextChunk):
            break


async def leave_by_close(stream: Any) -> None:
    async for event in stream:
        if isinstance(event, events.TextChunk):
            await stream.aclose()


async def leave_by_cancel(stream: Any) -> None:
    reached = asyncio.Event()

    async def read() -> None:
        async for event in stream:
            if isinstance(event, events.TextChunk):
                reached.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(read())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await stream.aclose()


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_close, leave_by_cancel])
def test_leaving_early_closes_the_connection_and_says_so(world: Any, leave: Any) -> None:
    w = world(small=["one two three four"], big=["x"])

    async def main() -> None:
        async with w.agent() as agent:
            await leave(agent.stream("Hi", show_draft=True))
            gc.collect()
            for _ in range(5):
                await asyncio.sleep(0)
            assert w.transport.open_exchanges == 0
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    (exchange,) = w.transport.exchanges
    assert exchange.outcome == "closed_early"
    failed = w.events[-1]
    assert isinstance(failed, events.RequestFailed)
    assert failed.cancelled
    assert len(of(w.events, events.RequestFailed)) == 1


def test_leaving_after_the_last_event_is_not_a_cancel(world: Any) -> None:
    w = world(small=["one"], big=["x"])

    async def main() -> None:
        async with w.agent() as agent:
            async for event in agent.stream("Hi"):
                if isinstance(event, events.RequestCompleted):
                    break
            gc.collect()
            await asyncio.sleep(0)

    asyncio.run(main())
    assert isinstance(w.events[-1], events.RequestCompleted)


def test_a_stream_nobody_reads_asks_nobody(world: Any) -> None:
    w = world(small=["one"], big=["x"])

    async def main() -> None:
        async with w.agent() as agent:
            await agent.stream("Hi").aclose()

    asyncio.run(main())
    assert w.asked == []
    assert w.events == []


def test_a_stream_that_is_left_before_its_call_is_sent_costs_nothing(world: Any) -> None:
    w = world(small=["Oslo"])
    tracker = CostTracker(global_budget=1, enforcement_mode="block")

    async def main() -> None:
        agent = w.agent("small", "big", cost_tracker=tracker)
        stream = agent.stream("Where is Oslo?", max_tokens=100)
        async for event in stream:
            if isinstance(event, events.CallStarted):
                break
        await stream.aclose()

    asyncio.run(main())
    assert w.asked == []
    assert not tracker.events()
    (account,) = tracker.accounts("global")
    assert (account.held, account.spent) == (0, 0)
