"""Fallbacks stand in when everybody else has failed, and for nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cascadeflow import BreakerPolicy, CascadeAgent, CostTracker
from cascadeflow.errors import AllModelsFailedError, ConfigurationError
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import Price


def spare(name: str, **options: Any) -> ModelConfig:
    """A model at another provider, reached by the same transport."""
    return ModelConfig(
        name,
        "groq",
        price=Price(input=1, output=2),
        api_key="gsk-test",
        base_url="http://127.0.0.1:9/v1",
        **options,
    )


def ask(agent: CascadeAgent, **options: Any) -> Any:
    return asyncio.run(agent.run("Where is Oslo?", max_tokens=100, **options))


def test_a_fallback_answers_when_all_others_failed_inside_the_same_hold(world: Any) -> None:
    w = world(small=[500], big=[500], spare=["Oslo"])
    tracker = CostTracker(global_budget=1, enforcement_mode="block")
    result = ask(w.agent("small", "big", fallbacks=[spare("spare")], cost_tracker=tracker))
    assert w.asked == ["small", "big", "spare"]
    assert result.content == "Oslo"
    assert result.routing.model_used == "groq:spare"
    assert result.routing.fallbacks == ("openai:small", "openai:big")
    reserved = {event.request_id for event in tracker.events()}
    assert reserved == {result.request_id}, "one request, one hold"
    assert result.budget.spent == result.cost.total


def test_a_fallback_is_asked_for_nothing_else(world: Any) -> None:
    w = world(small=["BAD"], big=["Oslo"], spare=["never"])
    agent = w.agent("small", "big", fallbacks=[spare("spare")])
    assert ask(agent).content == "Oslo"
    assert ask(agent, force_direct=True).content == "Oslo"
    assert "spare" not in w.asked
    assert [model.id for model in agent.models] == ["openai:small", "openai:big"]
    assert [model.id for model in agent.fallbacks] == ["groq:spare"]


def test_the_named_model_has_no_fallback(world: Any) -> None:
    w = world(small=[500], big=["Oslo"], spare=["never"])
    with pytest.raises(AllModelsFailedError):
        ask(w.agent("small", "big", fallbacks=[spare("spare")]), model="openai:small")
    assert w.asked == ["small"]


def test_fallbacks_are_asked_in_the_order_given(world: Any) -> None:
    w = world(small=[500], one=[500], two=["Oslo"])
    result = ask(w.agent("small", fallbacks=[spare("one"), spare("two")]))
    assert w.asked == ["small", "one", "two"]
    assert result.content == "Oslo"


def test_a_fallback_that_cannot_do_what_is_asked_is_left_out(world: Any) -> None:
    w = world(small=[500], one=["never"], two=["Oslo"])
    fallbacks = [spare("one", supports_tools=False), spare("two")]
    tools = [{"name": "look", "parameters": {"type": "object", "properties": {}}}]
    result = ask(w.agent("small", fallbacks=fallbacks), tools=tools)
    assert (w.asked, result.content) == (["small", "two"], "Oslo")


def test_a_fallback_that_the_budget_cannot_pay_is_not_asked(world: Any) -> None:
    dear = ModelConfig(
        "spare",
        "groq",
        price=Price(input=1, output=1_000_000),
        api_key="gsk-test",
        base_url="http://127.0.0.1:9/v1",
    )
    w = world(small=[500], spare=["never"])
    tracker = CostTracker(global_budget=1, enforcement_mode="block")
    with pytest.raises(AllModelsFailedError, match="did not cover asking groq:spare"):
        ask(w.agent("small", fallbacks=[dear], cost_tracker=tracker))
    assert w.asked == ["small"]


@pytest.mark.parametrize(
    ("fallbacks", "why"),
    [
        ("groq:spare", "fallbacks must be a list"),
        ([ModelConfig("small", "openai", cost=1)], "named twice"),
        (["nobody:x"], "no provider is called"),
    ],
)
def test_what_cannot_be_a_fallback_is_refused(world: Any, fallbacks: Any, why: str) -> None:
    w = world(small=["x"])
    with pytest.raises(ConfigurationError, match=why):
        w.agent("small", fallbacks=fallbacks)


def test_a_model_that_keeps_failing_is_left_alone_and_the_next_asked_at_once(world: Any) -> None:
    w = world(small=[500], big=["Oslo"])
    agent = w.agent("small", "big", breaker=BreakerPolicy(failures=2, window=2))
    results = [ask(agent) for _ in range(4)]
    assert w.asked == ["small", "big", "small", "big", "big", "big"]
    assert all(result.content == "Oslo" for result in results)
    assert results[-1].routing.fallbacks == ("openai:small",)
    assert [attempt.outcome for attempt in results[-1].attempts] == ["ok"], "nothing was sent"
    assert results[-1].cost.confirmed, "nothing was sent to it"

    w = world(small=[500], big=["Oslo"])
    agent = w.agent("small", "big", breaker=None)
    for _ in range(4):
        ask(agent)
    assert w.asked == ["small", "big"] * 4


def test_a_breaker_is_no_affair_of_a_completer_of_ones_own() -> None:
    with pytest.raises(ConfigurationError, match="breaker="):
        CascadeAgent(["openai:gpt-5-mini"], completer=object(), breaker=None)  # type: ignore[arg-type]
