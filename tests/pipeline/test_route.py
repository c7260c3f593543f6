"""Which models a plan names, in which order, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cascadeflow.errors import ConfigurationError, InvalidRequestError, UnknownModelError
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import Price
from cascadeflow.pipeline.request import normalise
from cascadeflow.pipeline.route import LEVELS, Router

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DEAR = ModelConfig("dear", "openai", price=Price(input=10, output=30))
MIDDLE = ModelConfig("middle", "openai", price=Price(input=4, output=8))
CHEAP = ModelConfig("cheap", "openai", price=Price(input=1, output=2))
ASK = normalise("What is the capital of Norway?")
TOOLS = normalise("What time is it?", tools=[{"name": "now"}])
IMAGE = normalise(
    messages=[
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}],
        }
    ]
)


def ids(models: tuple[ModelConfig, ...]) -> list[str]:
    return [model.name for model in models]


def test_the_order_is_by_price_whatever_the_lists_order() -> None:
    router = Router([DEAR, CHEAP, MIDDLE], at=NOW)
    assert ids(router.models) == ["cheap", "middle", "dear"]
    plan = router.plan(ASK, complexity_hint="simple")
    assert plan.route == "cascade"
    assert ids(plan.drafters) == ["cheap", "middle"]
    assert ids(plan.verifiers) == ["dear", "middle", "cheap"]
    assert (plan.draft_model, plan.verifier_model) == ("openai:cheap", "openai:dear")


def test_the_given_order_is_kept_when_asked_for() -> None:
    plan = Router([DEAR, CHEAP, MIDDLE], at=NOW, order="given").plan(ASK, complexity_hint="simple")
    assert (plan.draft_model, plan.verifier_model) == ("openai:dear", "openai:middle")


def test_known_models_are_ordered_by_the_catalogue() -> None:
    router = Router([ModelConfig("gpt-5", "openai"), ModelConfig("gpt-5-nano", "openai")], at=NOW)
    assert ids(router.models) == ["gpt-5-nano", "gpt-5"]


@pytest.mark.parametrize(
    ("options", "plan_options", "reason"),
    [
        ({"enable_cascade": False}, {}, "enable_cascade=False"),
        ({}, {"force_direct": True}, "force_direct=True"),
        ({"draft_up_to": "hard"}, {"complexity_hint": "expert"}, "expert requests are not drafted"),
        ({"draft_up_to": "simple"}, {"complexity_hint": "moderate"}, "moderate requests are not"),
    ],
)
def test_direct_requests_go_to_the_dearest_and_say_why(
    options: Any, plan_options: Any, reason: str
) -> None:
    plan = Router([CHEAP, MIDDLE, DEAR], at=NOW, **options).plan(ASK, **plan_options)
    assert plan.route == "direct"
    assert plan.drafters == ()
    assert plan.draft_model is None
    assert ids(plan.verifiers) == ["dear", "middle", "cheap"]
    assert reason in plan.reason


@pytest.mark.parametrize("level", LEVELS)
def test_levels_up_to_the_chosen_one_are_drafted(level: Any) -> None:
    router = Router([CHEAP, DEAR], at=NOW, draft_up_to=level)
    routes = [router.plan(ASK, complexity_hint=each).route for each in LEVELS]
    drafted = LEVELS.index(level) + 1
    assert routes == ["cascade"] * drafted + ["direct"] * (len(LEVELS) - drafted)


def test_a_hint_stands_in_the_plan() -> None:
    plan = Router([CHEAP, DEAR], at=NOW).plan(ASK, complexity_hint="hard")
    assert (plan.complexity, plan.complexity_score) == ("hard", 0.75)


def test_without_a_hint_the_rules_judge() -> None:
    router = Router([CHEAP, DEAR], at=NOW)
    easy = router.plan(normalise("What is 2 + 2?"))
    hard = router.plan(
        normalise(
            "Prove that every bounded monotone sequence of real numbers converges, derive the "
            "rate for x_{n+1} = sqrt(2 + x_n), analyse the stability of the fixed point, and "
            "implement a production-ready solver in Rust with tests and a complexity analysis."
        )
    )
    assert LEVELS.index(easy.complexity) < LEVELS.index(hard.complexity)
    assert 0 <= easy.complexity_score < hard.complexity_score <= 1


def test_a_model_can_be_named_by_id_or_by_name() -> None:
    router = Router([CHEAP, DEAR], at=NOW)
    for name in ("openai:cheap", "cheap"):
        plan = router.plan(ASK, model=name)
        assert plan.route == "direct"
        assert ids(plan.verifiers) == ["cheap"]  # it, and no other
    with pytest.raises(UnknownModelError, match="it has openai:cheap, openai:dear"):
        router.plan(ASK, model="nobody")


def test_a_name_that_two_providers_share_needs_its_provider() -> None:
    twin = ModelConfig("cheap", "groq", price=Price(input=1, output=1))
    router = Router([CHEAP, twin], at=NOW)
    with pytest.raises(UnknownModelError, match="several models called 'cheap'"):
        router.plan(ASK, model="cheap")
    assert router.plan(ASK, model="groq:cheap").verifiers == (twin,)


def test_tools_go_to_models_that_can_call_them() -> None:
    mute = ModelConfig("mute", "openai", cost=0.5, supports_tools=False)
    plan = Router([mute, CHEAP, DEAR], at=NOW).plan(TOOLS, complexity_hint="simple")
    assert plan.draft_model == "openai:cheap"
    assert mute not in plan.verifiers
    plan = Router([mute, CHEAP], at=NOW).plan(TOOLS)
    assert (plan.route, plan.reason) == ("direct", "only one model can do what the request needs")
    with pytest.raises(InvalidRequestError, match=r"call tools.*openai:mute"):
        Router([mute], at=NOW).plan(TOOLS)
    with pytest.raises(InvalidRequestError, match="call tools"):
        Router([mute, CHEAP], at=NOW).plan(TOOLS, model="mute")


def test_images_go_to_models_that_are_not_known_to_be_blind() -> None:
    blind = ModelConfig("o3-mini", "openai")
    sighted = ModelConfig("gpt-4o", "openai")
    unknown = ModelConfig("mystery", "openai", cost=0.001)
    plan = Router([blind, sighted, unknown], at=NOW).plan(IMAGE, complexity_hint="simple")
    assert {model.name for model in plan.verifiers} == {"gpt-4o", "mystery"}
    with pytest.raises(InvalidRequestError, match="see images"):
        Router([blind], at=NOW).plan(IMAGE)


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ([], {}, "at least one model"),
        ([CHEAP, CHEAP], {}, "named twice: openai:cheap"),
        ([CHEAP], {"order": "random"}, "order must be"),
        ([CHEAP], {"draft_up_to": "impossible"}, "draft_up_to must be"),
    ],
)
def test_what_cannot_work_is_refused_at_once(models: Any, options: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Router(models, at=NOW, **options)


def test_a_hint_that_is_no_level_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="complexity_hint must be one of trivial"):
        Router([CHEAP], at=NOW).plan(ASK, complexity_hint="tricky")
