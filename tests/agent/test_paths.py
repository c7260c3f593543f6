"""Every path a request can take, each field of its result held against what was really sent."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.config import QualityConfig, RetryPolicy
from cascadeflow.errors import (
    AllModelsFailedError,
    ModelNotFoundError,
    OverloadedError,
    ProviderTimeoutError,
)
from cascadeflow.money import to_usd
from cascadeflow.quality.report import QualityReport
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from cascadeflow.pipeline.result import CascadeResult

ASK = "What is the capital of Norway?"


def hold_against_the_wire(world: Any, result: CascadeResult, bill: Any) -> None:
    """What holds on every path: the result says what the transport saw, nothing more or less."""
    exchanges = world.transport.exchanges
    assert world.transport.open_exchanges == 0
    answered = {}
    for exchange in exchanges:
        if exchange.status == 200 and exchange.outcome == "complete":
            answered[exchange.request_json["model"]] = usage_of(exchange)
    ids = {model: f"openai:{model}" for model in {*world.asked}}
    assert [attempt.model for attempt in result.attempts] == world.asked
    assert [attempt.status for attempt in result.attempts] == [e.status for e in exchanges]
    assert [attempt.outcome == "ok" for attempt in result.attempts] == [
        exchange.status == 200 and exchange.outcome == "complete" for exchange in exchanges
    ]
    assert result.budget.max_tokens_sent == {
        ids[body["model"]]: body.get("max_tokens", body.get("max_completion_tokens"))
        for body in world.bodies
    }
    assert set(result.response_ids) == {ids[model] for model in answered}
    assert set(result.cost.price_sources) == {ids[model] for model in answered}
    assert result.streamed is bool(world.bodies[-1].get("stream"))
    assert result.routing.model_used.partition(":")[2] in answered
    assert result.model_used == result.routing.model_used.partition(":")[2]
    assert result.routing.provider_used == "openai"
    assert result.routing.fallbacks == tuple(
        ids[model] for model in dict.fromkeys(world.asked) if model not in answered
    )
    # Money, reckoned independently.
    if all(usage is not None for usage in answered.values()):
        costs = {model: bill(model, *usage) for model, usage in answered.items()}  # type: ignore[misc]
        assert result.cost.total == to_usd(sum(costs.values()))
        draft = result.routing.draft_model
        drafted = [model for model in costs if role_of(world, model) == "draft"]
        assert result.cost.draft == (to_usd(costs[drafted[0]]) if drafted else None)
        if draft is None:
            assert not drafted
        assert {key: u.total_input_tokens for key, u in result.usage_by_model.items()} == {
            ids[model]: usage[0] for model, usage in answered.items() if usage
        }
        assert result.usage is not None
        assert result.usage.total_tokens == sum(sum(usage) for usage in answered.values() if usage)
    # Time adds up.
    timing = result.timing
    assert timing.total_ms == pytest.approx(
        timing.transport_ms + timing.overhead_ms + timing.reader_ms, abs=0.01
    )
    assert (timing.draft_ms or 0) + (timing.verifier_ms or 0) <= timing.total_ms
    assert (timing.validation_ms is None) == (result.quality.accepted is None)
    # Flat and JSON forms say the same.
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["cost"]["total"] == (
        None if result.cost.total is None else format(result.cost.total, "f")
    )
    assert len(result.metadata) >= 30
    assert result.metadata["routing_model_used"] == result.routing.model_used
    assert result.metadata["quality_accepted"] is result.quality.accepted
    assert result.metadata["attempts"] == plain["attempts"]


def usage_of(exchange: Any) -> tuple[int, int] | None:
    if not exchange.request_json.get("stream"):
        usage = exchange.response_json.get("usage")
    else:
        lines = exchange.response_body.decode().splitlines()
        bodies = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        usage = next((body["usage"] for body in bodies if body.get("usage")), None)
    return usage and (usage["prompt_tokens"], usage["completion_tokens"])


def role_of(world: Any, model: str) -> str | None:
    roles = [
        event.role
        for event in world.events
        if type(event).__name__ == "CallStarted" and event.model == f"openai:{model}"
    ]
    return roles[0] if roles else None


def run(world: Any, *models: str, streaming: bool = False, **options: Any) -> CascadeResult:
    agent_options = {
        key: options.pop(key)
        for key in ("enable_cascade", "on_verifier_failure", "retry", "order", "unknown_price")
        if key in options
    }

    async def main() -> CascadeResult:
        async with world.agent(*models, **agent_options) as agent:
            result: CascadeResult
            if not streaming:
                result = await agent.run(ASK, **options)
                return result
            last: Any = None
            async for event in agent.stream(ASK, **options):
                last = event
            result = last.result
            return result

    return asyncio.run(main())


both = pytest.mark.parametrize("streaming", [False, True])


@both
def test_an_accepted_draft_is_the_answer(world: Any, bill: Any, streaming: bool) -> None:
    w = world(small=["Oslo"], big=["Oslo"])
    result = run(w, streaming=streaming)
    hold_against_the_wire(w, result, bill)
    assert w.asked == ["small"]
    assert result.content == "Oslo"
    assert result.routing.route == "cascade"
    assert (result.routing.draft_model, result.routing.verifier_model) == (
        "openai:small",
        "openai:big",
    )
    assert result.draft_accepted
    assert not result.routing.escalated
    assert result.quality.reason == "good"
    assert result.quality.threshold == QualityConfig().threshold
    assert result.cost.verifier is None
    # What the verifier would have cost for as many tokens.
    assert result.cost.verifier_alone == to_usd(bill("big", 100, 50))
    assert result.cost.saved == to_usd(bill("big", 100, 50) - bill("small", 100, 50))
    assert result.cost.saved_basis == "estimated"
    assert result.cost.saved_fraction == pytest.approx(1 - 200 / 2500)
    assert result.cost.confirmed
    assert result.timing.verifier_ms is None
    assert (result.timing.first_token_ms is not None) is streaming


@both
def test_a_rejected_draft_is_verified(world: Any, bill: Any, streaming: bool) -> None:
    w = world(small=["BAD"], big=[{"text": "Oslo", "input_tokens": 110, "output_tokens": 7}])
    result = run(w, streaming=streaming)
    hold_against_the_wire(w, result, bill)
    assert w.asked == ["small", "big"]
    assert result.content == "Oslo"
    assert result.routing.escalated
    assert result.quality.accepted is False
    assert result.rejection_reason == "it starts with BAD"
    assert result.cost.verifier == result.cost.verifier_alone == to_usd(bill("big", 110, 7))
    assert result.cost.saved == to_usd(-bill("small", 100, 50))  # drafting lost money
    assert result.cost.saved_basis == "measured"
    assert result.timing.draft_ms is not None
    assert result.timing.verifier_ms is not None


@both
def test_a_drafter_that_fails_is_passed_over(world: Any, bill: Any, streaming: bool) -> None:
    w = world(small=[500], middle=["Oslo"], big=["Oslo"])
    result = run(w, streaming=streaming)
    hold_against_the_wire(w, result, bill)
    assert w.asked == ["small", "middle"]
    assert result.routing.draft_model == "openai:small"  # what was planned
    assert result.routing.model_used == "openai:middle"  # what was done
    assert result.draft_accepted
    assert result.cost.draft == to_usd(bill("middle", 100, 50))


@both
def test_when_every_drafter_fails_the_verifier_answers(
    world: Any, bill: Any, streaming: bool
) -> None:
    w = world(small=[500], middle=[404], big=["Oslo"])
    result = run(w, streaming=streaming)
    hold_against_the_wire(w, result, bill)
    assert w.asked == ["small", "middle", "big"]
    assert result.quality.accepted is None  # there was nothing to judge
    assert not result.routing.escalated
    assert result.cost.draft is None
    assert result.cost.saved == 0


@both
def test_a_verifier_that_fails_gives_way_to_the_next_best(
    world: Any, bill: Any, streaming: bool
) -> None:
    w = world(small=["BAD"], middle=["Oslo"], big=[503])
    result = run(w, streaming=streaming)
    hold_against_the_wire(w, result, bill)
    assert w.asked == ["small", "big", "middle"]
    assert result.routing.model_used == "openai:middle"
    assert result.routing.escalated
    assert result.cost.verifier == to_usd(bill("middle", 100, 50))
    assert result.cost.verifier_alone == to_usd(bill("big", 100, 50))
    assert result.cost.saved_basis == "estimated"


@both
def test_without_any_verifier_a_rejected_draft_is_no_answer(world: Any, streaming: bool) -> None:
    w = world(small=["BAD"], middle=[404], big=[503])
    with pytest.raises(AllModelsFailedError, match="the draft was rejected") as caught:
        run(w, streaming=streaming)
    assert [type(error) for error in caught.value.errors] == [OverloadedError, ModelNotFoundError]
    assert caught.value.__cause__ is caught.value.errors[-1]
    assert w.asked == ["small", "big", "middle"]
    failed = w.events[-1]
    assert type(failed).__name__ == "RequestFailed"
    assert failed.error is caught.value
    assert not failed.cancelled
    assert failed.cost == 200_000  # the draft was billed all the same


@both
def test_a_rejected_draft_can_be_asked_for_and_says_what_it_is(
    world: Any, bill: Any, streaming: bool
) -> None:
    w = world(small=["BAD but better than nothing"], big=[503])
    result = run(w, streaming=streaming, on_verifier_failure="draft")
    hold_against_the_wire(w, result, bill)
    assert result.content == "BAD but better than nothing"
    assert result.quality.accepted is False
    assert not result.draft_accepted
    assert result.routing.model_used == "openai:small"
    assert result.routing.escalated
    assert result.routing.fallbacks == ("openai:big",)


@both
def test_when_nobody_answers_every_reason_is_given(world: Any, streaming: bool) -> None:
    w = world(small=[500], big=[TimeoutError("no first byte")])
    with pytest.raises(AllModelsFailedError) as caught:
        run(w, streaming=streaming)
    assert [type(error) for error in caught.value.errors] == [
        OverloadedError,
        ProviderTimeoutError,
    ]
    assert "openai:small" in str(caught.value)
    assert "openai:big" in str(caught.value)


@both
def test_one_model_answers_directly(world: Any, bill: Any, streaming: bool) -> None:
    w = world(big=["Oslo"])
    result = run(w, streaming=streaming)
    hold_against_the_wire(w, result, bill)
    assert result.routing.route == "direct"
    assert result.routing.reason == "the agent has one model"
    assert result.routing.draft_model is None
    assert not result.cascaded
    assert result.quality.accepted is None
    assert result.quality.mode is None
    assert result.cost.draft is None
    assert result.cost.saved == 0
    assert result.timing.draft_ms is None


@both
def test_force_direct_asks_the_best_model_first(world: Any, bill: Any, streaming: bool) -> None:
    w = world(small=["Oslo"], middle=["Oslo"], big=[500])
    result = run(w, streaming=streaming, force_direct=True)
    hold_against_the_wire(w, result, bill)
    assert w.asked == ["big", "middle"]
    assert result.routing.route == "direct"
    assert result.routing.reason == "force_direct=True"
    assert result.routing.verifier_model == "openai:big"
    assert result.routing.model_used == "openai:middle"
    assert result.cost.saved_basis == "estimated"


@both
def test_tool_calls_pass_through(world: Any, bill: Any, streaming: bool) -> None:
    w = world(
        small=[{"text": "", "finish": "tool_calls", "calls": (("c1", "now", '{"tz": "UTC"}'),)}],
        big=["x"],
    )
    tools = [{"name": "now", "parameters": {"type": "object"}}]
    result = run(w, streaming=streaming, tools=tools, tool_choice="auto")
    hold_against_the_wire(w, result, bill)
    assert result.finish_reason == "tool_calls"
    (call,) = result.tool_calls
    assert (call.id, call.name, json.loads(call.arguments)) == ("c1", "now", {"tz": "UTC"})
    assert w.bodies[0]["tools"][0]["function"]["name"] == "now"
    assert w.bodies[0]["tool_choice"] == "auto"
    assert result.has_tool_calls


@both
def test_a_missing_usage_makes_the_cost_unknown_not_zero(
    world: Any, bill: Any, streaming: bool
) -> None:
    w = world(small=[{"text": "Oslo", "usage": False}], big=["x"])
    result = run(w, streaming=streaming)
    hold_against_the_wire(w, result, bill)
    assert result.cost.total is None
    assert result.total_cost is None
    assert result.cost.saved is None
    assert result.cost.saved_basis is None
    assert not result.cost.confirmed
    assert result.usage is None


def test_a_cost_the_provider_names_wins(world: Any) -> None:
    w = world(small=[{"text": "Oslo", "charged": 0.00123}], big=["x"])
    result = run(w)
    assert result.cost.total == Decimal("0.00123")
    assert result.cost.price_sources == {"openai:small": "provider"}


def test_a_retry_is_an_attempt_and_is_not_paid(world: Any, bill: Any) -> None:
    w = world(small=[500, 500, "Oslo"], big=["x"])
    result = run(w, retry=RetryPolicy(attempts=3, base_delay=0))
    hold_against_the_wire(w, result, bill)
    assert w.asked == ["small"] * 3
    assert result.routing.fallbacks == ()
    assert result.cost.confirmed  # a 500 is not billed


def test_a_try_that_may_have_been_billed_leaves_the_cost_unconfirmed(world: Any, bill: Any) -> None:
    w = world(small=[TimeoutError("no first byte"), "Oslo"], big=["x"])
    result = run(w, retry=RetryPolicy(attempts=2, base_delay=0))
    hold_against_the_wire(w, result, bill)
    assert not result.cost.confirmed
    w = world(small=[TimeoutError("no first byte")], big=["Oslo"])
    assert not run(w).cost.confirmed


def test_a_validator_that_raises_accepts_nothing(
    world: Any, bill: Any, caplog: pytest.LogCaptureFixture
) -> None:
    w = world(small=["CRASH"], big=["Oslo"])
    result = run(w)
    hold_against_the_wire(w, result, bill)
    assert result.content == "Oslo"
    assert result.quality.accepted is False
    assert result.quality.score is None
    assert "RuntimeError" in result.quality.reason
    (check,) = result.quality.checks
    assert (check.name, check.verdict) == ("validator", "failed")
    assert "the validator broke" not in caplog.text  # it may quote the prompt


def test_nobody_is_asked_once_the_time_is_up(world: Any) -> None:
    w = world(small=["BAD"], big=["Oslo"])
    clock = ManualClock()

    class Slow:
        def judge(self, *_: Any, **__: Any) -> QualityReport:
            clock.advance(10)
            return QualityReport(mode="fast", accepted=False, reason="late")

    async def main() -> None:
        async with w.agent(validator=Slow(), clock=clock) as agent:
            await agent.run(ASK, timeout=5)

    with pytest.raises(AllModelsFailedError, match=r"timeout of 5 s passed"):
        asyncio.run(main())
    assert w.asked == ["small"]


@both
def test_events_tell_the_same_story(world: Any, streaming: bool) -> None:
    w = world(small=["BAD"], middle=[500], big=["Oslo fjord"])
    result = run(w, "small", "middle", "big", streaming=streaming)
    kinds = [kind for kind in w.kinds() if kind not in {"TextChunk", "UsageReported"}]
    assert kinds == [
        "RequestStarted",
        "Routed",
        *("CallStarted", "CallFinished", "DraftJudged"),
        *("CallStarted", "CallFinished"),
        "RequestCompleted",
    ]
    assert {event.request_id for event in w.events} == {result.request_id}
    routed = next(event for event in w.events if type(event).__name__ == "Routed")
    assert routed.route == result.routing.route
    assert routed.draft_model == result.routing.draft_model
    finished = [event for event in w.events if type(event).__name__ == "CallFinished"]
    assert sum(event.cost for event in finished) == int(result.cost.total * 10**9)  # type: ignore[operator]
    assert w.events[-1].result is result
