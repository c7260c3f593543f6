"""Where time goes and what broken calls cost, told by a clock that is turned by hand."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from cascadeflow.agent import CascadeAgent
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import RetryPolicy
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import Price
from cascadeflow.money import to_usd
from cascadeflow.pipeline import events
from cascadeflow.quality.report import QualityReport
from cascadeflow.testing import CannedResponse, ManualClock, RecordingTransport

SMALL = ModelConfig("small", "anthropic", price=Price(input=1, output=2), api_key="k")
BIG = ModelConfig("big", "anthropic", price=Price(input=10, output=30), api_key="k")


class Yes:
    """Accepts everything."""

    def judge(self, *_: Any, **__: Any) -> QualityReport:
        return QualityReport(mode="fast", accepted=True, reason="yes")


def claude(text: str, *, breaks: bool = False, stream: bool = False) -> CannedResponse:
    """A message in Anthropic's form; its stream says at once what the input was."""
    usage: dict[str, Any] = {"input_tokens": 1_000, "output_tokens": 10}
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "small",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": usage,
    }
    if not stream:
        return CannedResponse.json(message)
    start = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    told: list[Any] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": part},
            }
            for part in text.split("|")
        ),
    ]
    if breaks:
        return CannedResponse.events(told, breaks_with=ConnectionError("reset"))
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    return CannedResponse.events(
        [
            *told,
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 10}},
            {"type": "message_stop"},
        ]
    )


def test_time_is_booked_where_it_was_spent() -> None:
    clock = ManualClock()

    def respond(request: Any) -> CannedResponse | Exception:
        name = json.loads(request.body)["model"]
        clock.advance({"small": 3, "middle": 5, "big": 7}[name])
        return ConnectionError("reset") if name == "middle" else claude(f"from {name}")

    class Slow:
        def judge(self, *_: Any, **__: Any) -> QualityReport:
            clock.advance(2)
            return QualityReport(mode="fast", accepted=False, reason="no")

    middle = ModelConfig("middle", "anthropic", price=Price(input=5, output=5), api_key="k")
    agent = CascadeAgent(
        [middle, SMALL, BIG],
        order="given",
        transport=RecordingTransport(respond=respond),
        retry=RetryPolicy(attempts=1),
        validator=Slow(),
        clock=clock,
    )
    timing = asyncio.run(agent.run("Where?")).timing
    assert timing.draft_ms == 8_000  # the failed drafter's time is drafting time
    assert timing.verifier_ms == 7_000
    assert timing.validation_ms == 2_000
    assert timing.transport_ms == 15_000
    assert timing.overhead_ms == 2_000
    assert timing.total_ms == 17_000
    assert timing.first_token_ms is None


def test_the_readers_time_is_not_the_failed_models() -> None:
    clock = ManualClock()

    def respond(request: Any) -> CannedResponse:
        clock.advance(1)
        name = json.loads(request.body)["model"]
        return claude("a|b", breaks=name == "small", stream=True)

    agent = CascadeAgent(
        [SMALL, BIG],
        transport=RecordingTransport(respond=respond),
        retry=RetryPolicy(attempts=1),
        clock=clock,
    )

    async def main() -> Any:
        last: Any = None
        async for event in agent.stream("Where?", show_draft=True):
            if isinstance(event, events.TextChunk):
                clock.advance(10)
            last = event
        return last.result.timing

    timing = asyncio.run(main())
    assert timing.draft_ms == 1_000
    assert timing.reader_ms == 40_000  # four pieces, two of each model
    assert timing.transport_ms == 2_000
    assert timing.overhead_ms == 0
    assert timing.total_ms == 42_000
    assert timing.first_token_ms == 22_000


def test_a_stream_begins_when_its_reader_does() -> None:
    clock = ManualClock()
    agent = CascadeAgent(
        [SMALL],
        transport=RecordingTransport(respond=lambda _: claude("a|b", stream=True)),
        clock=clock,
    )

    async def main() -> Any:
        stream = agent.stream("Where?", timeout=5)
        clock.advance(60)
        return [event async for event in stream][-1]

    timing = asyncio.run(main()).result.timing
    assert timing.overhead_ms == 0
    assert timing.reader_ms == timing.total_ms == 60_000


def test_what_a_broken_stream_is_known_to_have_used_is_booked() -> None:
    tracker = CostTracker()

    def respond(request: Any) -> CannedResponse:
        name = json.loads(request.body)["model"]
        return claude("a|b", breaks=name == "small", stream=True)

    agent = CascadeAgent(
        [SMALL, BIG],
        transport=RecordingTransport(respond=respond),
        retry=RetryPolicy(attempts=1),
        cost_tracker=tracker,
    )

    async def main() -> Any:
        return [event async for event in agent.stream("Where?")][-1]

    result = asyncio.run(main()).result
    # 1,000 tokens at 1 dollar a million and one token at 2: what the stream had said by then.
    assert result.cost.other == Decimal("0.001002")
    assert result.cost.verifier == Decimal("0.0103")
    assert result.cost.total == Decimal("0.011302")
    assert not result.cost.confirmed
    # The books have what was held for the broken call, since it may have cost as much.
    broken, whole = [event.charge for event in tracker.events()]
    assert (broken.confirmed, broken.estimate) == (False, 1_002_000)
    assert broken.nanodollars == broken.held > 1_002_000
    assert whole.confirmed
    assert tracker.spent == to_usd(broken.held) + Decimal("0.0103") == result.budget.booked


@pytest.mark.parametrize("cancel", [False, True])
def test_what_a_dropped_stream_is_known_to_have_used_is_booked(cancel: bool) -> None:
    tracker = CostTracker()
    told: list[Any] = []
    agent = CascadeAgent(
        [SMALL],
        transport=RecordingTransport(respond=lambda _: claude("a|b|c", stream=True)),
        cost_tracker=tracker,
        on_event=told.append,
    )

    async def read(reached: asyncio.Event) -> None:
        stream = agent.stream("Where?")
        try:
            async for event in stream:
                if isinstance(event, events.TextChunk):
                    reached.set()
                    if not cancel:
                        break
                    await asyncio.Event().wait()
        finally:
            await stream.aclose()

    async def main() -> None:
        reached = asyncio.Event()
        task = asyncio.create_task(read(reached))
        await reached.wait()
        if cancel:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            await task

    asyncio.run(main())
    (event,) = tracker.events()
    assert (event.charge.confirmed, event.charge.estimate) == (False, 1_002_000)
    assert tracker.spent == to_usd(event.charge.held) > Decimal("0.001002")
    assert isinstance(told[-1], events.RequestFailed)
    assert told[-1].cost == 1_002_000
    assert told[-1].cancelled


def test_without_the_verifiers_price_there_is_nothing_to_compare_with() -> None:
    unknown = ModelConfig("claude-unheard-of", "anthropic", api_key="k")
    # A price without a rate for input cannot say what the draft's input would have cost.
    mute = ModelConfig("mute", "anthropic", price=Price(input=None, output=30), api_key="k")
    for verifier in (unknown, mute):
        agent = CascadeAgent(
            [SMALL, verifier],
            order="given",
            unknown_price="allow",
            transport=RecordingTransport(respond=lambda _: claude("Oslo is in Norway.")),
            validator=Yes(),
        )
        cost = asyncio.run(agent.run("Where?")).cost
        assert cost.total == Decimal("0.00102")
        assert (cost.verifier_alone, cost.saved, cost.saved_basis) == (None, None, None)
        assert cost.saved_fraction is None


def test_free_models_save_nothing_and_divide_by_nothing() -> None:
    free = [
        ModelConfig(name, "anthropic", price=Price(input=0, output=0), api_key="k")
        for name in ("one", "two")
    ]
    agent = CascadeAgent(
        free,
        transport=RecordingTransport(respond=lambda _: claude("Oslo is in Norway.")),
        validator=Yes(),
    )
    cost = asyncio.run(agent.run("Where?")).cost
    assert cost.total == cost.saved == Decimal(0)
    assert cost.saved_fraction is None


def test_an_impossible_usage_spoils_no_answer() -> None:
    body = json.loads(claude("Oslo").chunks[0])
    body["usage"]["input_tokens"] = -5
    agent = CascadeAgent(
        [SMALL], transport=RecordingTransport(respond=lambda _: CannedResponse.json(body))
    )
    result = asyncio.run(agent.run("Where?"))
    assert result.content == "Oslo"
    assert result.cost.total is None or result.cost.total >= 0
