"""What is sent under a budget: no more than was held for, nothing a provider refuses, and told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from cascadeflow import (
    AllModelsFailedError,
    BudgetExceededError,
    CascadeAgent,
    CostTracker,
    InvalidRequestError,
    ModelConfig,
    RetryPolicy,
)
from cascadeflow.models.prices import Price
from cascadeflow.testing import CannedResponse, RecordingTransport

SEARCH = {"web_search_options": {}}


def tracked(budget: Any = 1, **options: Any) -> CostTracker:
    return CostTracker(**{"global_budget": budget, "enforcement_mode": "block", **options})


def ask(agent: CascadeAgent, **options: Any) -> Any:
    return asyncio.run(agent.run("Where is Oslo?", **options))


def claude(request: Any) -> CannedResponse | Exception:
    """A Claude that refuses what the real one does."""
    body = json.loads(request.body)
    thinking = body.get("thinking", {}).get("budget_tokens", 0)
    if body["max_tokens"] <= thinking:
        error = {"type": "invalid_request_error", "message": "max_tokens must be greater"}
        return CannedResponse.json({"type": "error", "error": error}, status=400)
    usage = {"input_tokens": 10, "output_tokens": 10}
    content = [{"type": "text", "text": "Oslo"}]
    fixed = {"id": "m", "type": "message", "role": "assistant", "stop_reason": "end_turn"}
    return CannedResponse.json({**fixed, "model": "m", "content": content, "usage": usage})


def thinking_agent(tracker: CostTracker | None, **fields: Any) -> tuple[Any, CascadeAgent]:
    transport = RecordingTransport(respond=claude)
    model = ModelConfig("claude", "anthropic", price=Price(input=1, output=2), api_key="k")
    agent = CascadeAgent([replace(model, **fields)], cost_tracker=tracker, transport=transport)
    return transport, agent


THINK = {"thinking": {"type": "enabled", "budget_tokens": 10_000}}


@pytest.mark.parametrize("where", ["model", "call"])
def test_a_default_limit_leaves_room_for_what_the_model_is_told_to_think(where: str) -> None:
    tracker = tracked(default_max_output=1_000)
    fields = {"extra": THINK} if where == "model" else {}
    transport, agent = thinking_agent(tracker, **fields)
    result = ask(agent, **({} if where == "model" else {"extra": THINK}))
    (exchange,) = transport.exchanges
    assert exchange.request_json["max_tokens"] == 11_000
    assert result.budget.max_tokens_sent == {"anthropic:claude": 11_000}
    assert result.budget.held >= Decimal(2 * 11_000).scaleb(-6)


def test_a_lowered_limit_leaves_room_for_what_the_model_is_told_to_think() -> None:
    tracker = tracked("0.025", enforcement_mode="degrade", min_output=500)
    transport, agent = thinking_agent(tracker, extra=THINK)
    result = ask(agent, max_tokens=50_000)
    assert result.budget.action == "smaller_max_tokens"
    assert 10_500 <= transport.exchanges[0].request_json["max_tokens"] < 12_500
    with pytest.raises(BudgetExceededError):
        ask(thinking_agent(tracked("0.0205", enforcement_mode="degrade"), extra=THINK)[1])


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("mode", ["block", "degrade"])
def test_a_limit_in_the_providers_own_words_is_sent_alone_and_told(
    world: Any, field: str, mode: str
) -> None:
    w = world(small=["Oslo"])
    result = ask(w.agent(cost_tracker=tracked(enforcement_mode=mode)), extra={field: 50})
    sent = {name: w.bodies[0].get(name) for name in ("max_tokens", "max_completion_tokens")}
    assert sent == {"max_tokens": None, "max_completion_tokens": None, field: 50}
    assert result.budget.max_tokens_sent == {"openai:small": 50}
    plain = ask(world(small=["Oslo"]).agent(cost_tracker=tracked()), max_tokens=50)
    assert abs(result.budget.held - plain.budget.held) < Decimal("0.0001")


def test_a_limit_that_the_protocol_does_not_heed_bounds_nothing(world: Any) -> None:
    w = world(small=["Oslo"])
    ask(w.agent(cost_tracker=tracked(default_max_output=700)), extra={"max_new_tokens": 5})
    assert w.bodies[0]["max_completion_tokens"] == 700


def test_a_limit_in_extra_that_wins_over_the_calls_is_held_for_and_told(world: Any) -> None:
    w = world(small=["Oslo"])
    agent = w.agent(cost_tracker=tracked())
    result = ask(agent, max_tokens=10, extra={"max_completion_tokens": 9_000})
    assert w.bodies[0]["max_completion_tokens"] == 9_000
    assert result.budget.max_tokens_sent == {"openai:small": 9_000}
    assert result.budget.held >= Decimal(2 * 9_000).scaleb(-6)


@pytest.mark.parametrize("extra", [{"n": 5}, {"best_of": 5}])
def test_several_answers_are_held_for_and_lowered_together(world: Any, extra: Any) -> None:
    one = ask(world(small=["Oslo"]).agent(cost_tracker=tracked()), max_tokens=1_000)
    agent = world(small=["Oslo"]).agent(cost_tracker=tracked())
    five = ask(agent, max_tokens=1_000, extra=extra)
    assert five.budget.held >= one.budget.held + Decimal(4 * 2 * 1_000).scaleb(-6)
    w = world(small=["Oslo"])
    tracker = tracked(five.budget.held / 2, enforcement_mode="degrade", min_output=10)
    lowered = ask(w.agent(cost_tracker=tracker), max_tokens=1_000, extra=extra)
    assert w.bodies[0]["max_completion_tokens"] < 500
    assert lowered.budget.held <= five.budget.held / 2


def test_warn_sends_what_would_be_sent_without_a_budget(world: Any) -> None:
    options: dict[str, Any] = {"extra": {"n": 2, "metadata": {"a": "b"}}, "temperature": 0.5}
    sent = []
    for tracker in (None, tracked(0, enforcement_mode="warn", budgets={"model:*": 0})):
        w = world(small=["BAD"], middle=[TimeoutError("late")], big=[500])
        agent = w.agent("small", "middle", "big", cost_tracker=tracker)
        with pytest.raises(AllModelsFailedError):
            ask(agent, **options)
        sent.append(w.bodies)
    assert sent[0] == sent[1]
    assert len(sent[0]) == 3


def test_warn_runs_what_no_ledger_can_count(world: Any) -> None:
    tracker = tracked(enforcement_mode="warn")
    model = ModelConfig("small", "openai", price=Price(input=1, output=10**6), api_key="k")
    lost = [TimeoutError("late")]
    w = world(small=lost, middle=lost, big=["Oslo"])
    models = [replace(model, name=name) for name in ("small", "middle", "big")]
    agent = CascadeAgent(
        models,
        cost_tracker=tracker,
        transport=w.transport,
        retry=RetryPolicy(attempts=2, base_delay=0),
        order="given",
    )
    for max_tokens in (10**9, 2**31 - 1, 3 * 10**9, 4 * 10**9):
        assert ask(agent, max_tokens=max_tokens).content == "Oslo"
    assert w.asked == ["small", "small", "middle", "middle", "big"] * 4
    (account,) = tracker.accounts("global")
    assert account.held == 0


@pytest.mark.parametrize("way", ["run", "stream", "batch", "run_sync"])
def test_what_may_come_on_top_is_stated_on_every_way(world: Any, way: str) -> None:
    tracker = tracked()
    w = world(small=["Oslo"])
    agent = w.agent(cost_tracker=tracker)

    def go(**options: Any) -> Any:
        async def read() -> Any:
            return [e async for e in agent.stream("Where?", **options)][-1].result

        async def batch() -> Any:
            done = await agent.run_batch(["Where?"], **options)
            if done.errors[0] is not None:
                raise done.errors[0]
            return done.results[0]

        if way == "run_sync":
            return agent.run_sync("Where?", **options)
        return asyncio.run(
            {"run": lambda: agent.run("Where?", **options), "stream": read, "batch": batch}[way]()
        )

    with pytest.raises(InvalidRequestError, match="max_extra_cost"):
        go(extra=SEARCH)
    assert w.asked == []
    assert go(extra=SEARCH, max_extra_cost="0.25").budget.held > Decimal("0.25")
    with pytest.raises(BudgetExceededError):
        go(extra=SEARCH, max_extra_cost=2)


def test_a_request_that_cannot_be_bounded_leaves_nothing_held(world: Any) -> None:
    tracker = tracked()
    agent = world(small=["Oslo"]).agent(cost_tracker=tracker)
    for extra in (SEARCH, {"n": -1}, {"messages_": 1}, {"input": "x"}, {"max_tokens": 2**40}):
        with pytest.raises(InvalidRequestError):
            ask(agent, extra=extra)
    (account,) = tracker.accounts("global")
    assert (account.spent, account.held) == (0, 0)


class Stuck:
    """What never comes, and says when it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        await asyncio.Event().wait()


@pytest.mark.parametrize("streamed", [False, True])
def test_a_store_that_hangs_keeps_nobody_longer_than_the_requests_timeout(
    world: Any, monkeypatch: pytest.MonkeyPatch, *, streamed: bool
) -> None:
    stuck = Stuck()
    monkeypatch.setattr(CostTracker, "reserve", stuck)
    tracker = tracked()
    agent = world(small=["Oslo"]).agent(cost_tracker=tracker)

    async def main() -> None:
        if not streamed:
            await agent.run("Where?", timeout=0.01)
        async for _ in agent.stream("Where?", timeout=0.01):
            pass

    with pytest.raises(AllModelsFailedError, match=r"timeout of 0\.01 s"):
        asyncio.run(main())
    assert stuck.asked == 1
