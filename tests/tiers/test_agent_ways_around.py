"""Ways around a tier, each of which must be closed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from agent_world import QUESTION, World, ask, until

from cascadeflow import (
    AllModelsFailedError,
    BreakerPolicy,
    BudgetExceededError,
    CascadeFlowError,
    ConfigurationError,
    CostTracker,
    DocumentPart,
    InvalidRequestError,
    Message,
    ModelConfig,
    RateLimitError,
    RateLimits,
    RetryPolicy,
    TextPart,
    TierConfig,
    TierForbiddenError,
    Tiers,
    UserProfile,
)
from cascadeflow.models.prices import Price
from cascadeflow.pipeline import events
from cascadeflow.testing import CannedResponse, RecordingTransport


def refused_or_capped(provider: str, extra: dict[str, Any], tier: TierConfig) -> Any:
    """Asks with `extra`; gives the body that was sent, `None` where the tier refused."""
    sent = RecordingTransport(respond=lambda _: CannedResponse.json({}, status=500))
    world = World(small=["small says"])
    agent = world.agent(
        models=[world.model("small", provider)], tier_config={"free": tier}, transport=sent
    )
    try:
        ask(agent, extra=extra)
    except TierForbiddenError:
        assert sent.exchanges == ()
        return None
    except AllModelsFailedError:
        pass
    return sent.exchanges[0].request_json


# No field within a harmless one names a model


@pytest.mark.parametrize("provider", ["gemini", "vertex"])
@pytest.mark.parametrize("field", ["generationConfig", "generation_config"])
def test_no_field_within_a_harmless_one_names_a_model(provider: str, field: str) -> None:
    # Vertex takes a model's name in `generationConfig.routingConfig.manualMode.modelName`.
    tier = TierConfig("free", models=[f"{provider}:small"])
    extra = {field: {"routingConfig": {"manualMode": {"modelName": "big"}}}}
    body = refused_or_capped(provider, extra, tier)
    assert body is None or "big" not in json.dumps(body)


# The largest max_tokens


LIMITS = {"max_tokens", "max_completion_tokens", "maxOutputTokens", "maxTokens"}


@pytest.mark.parametrize(
    ("provider", "extra"),
    [
        ("openai", {"max_completion_tokens": None}),
        ("openai", {"max_completion_tokens": 99_999.0}),
        ("openai", {"max_completion_tokens": "99999"}),
        ("openai", {"max_completion_tokens": 0}),
        ("openai", {"max_completion_tokens": -1}),
        ("openai", {"max_completion_tokens": 5, "max_tokens": 99_999}),
        ("groq", {"max_tokens": None}),
        ("groq", {"max_completion_tokens": 99_999}),
        ("vllm", {"max_completion_tokens": 99_999}),
        ("together", {"max_completion_tokens": 99_999}),
        ("llamacpp", {"n_predict": 99_999}),
        ("openai", {"n": 50}),
        ("anthropic", {"max_tokens": None}),
        ("anthropic", {"max_tokens": 99_999.0}),
        ("gemini", {"generationConfig": {"max_output_tokens": 99_999}}),
        ("gemini", {"generation_config": {"maxOutputTokens": 99_999}}),
        ("gemini", {"generationConfig": {"maxOutputTokens": None}}),
        ("gemini", {"generationConfig": {"candidateCount": 8}}),
        ("bedrock", {"inferenceConfig": {"maxTokens": None}}),
    ],
)
def test_no_way_of_saying_it_lifts_the_tiers_max_tokens(
    provider: str, extra: dict[str, Any]
) -> None:
    body = refused_or_capped(provider, extra, TierConfig("free", max_tokens=100))
    if body is None:
        return  # the tier refused it

    sent = {**body, **body.get("generationConfig", {}), **body.get("inferenceConfig", {})}
    assert not {"n", "n_predict", "candidateCount"} & set(sent), "it answers more than once"
    said = [sent[name] for name in LIMITS & set(sent)]
    assert said, "no limit was sent at all"
    assert all(type(limit) is int and 0 < limit <= 100 for limit in said), said


def test_what_the_operator_says_of_a_model_does_not_lift_the_tiers_max_tokens() -> None:
    world = World(small=["small says"])
    model = world.model("small", extra={"max_completion_tokens": 5_000})
    agent = world.agent(models=[model], tier_config={"free": TierConfig("free", max_tokens=100)})
    result = ask(agent)
    assert world.bodies[0]["max_completion_tokens"] <= 100
    assert result.budget.max_tokens_sent == {"openai:small": 100}


def test_what_the_operator_says_of_a_model_is_not_held_against_the_caller() -> None:
    world = World(small=["small says"])
    model = world.model("small", extra={"max_completion_tokens": 5_000})
    agent = world.agent(models=[model], tier_config={"free": TierConfig("free", max_tokens=100)})
    assert ask(agent, extra={"seed": 7}).content == "small says"


# Images


IMAGE = "iVBORw0KGgo="


@pytest.mark.parametrize(
    "message",
    [
        Message("user", (TextPart("?"), DocumentPart(data=IMAGE, media_type="image/png"))),
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "?"},
                {"type": "file", "file": {"file_data": f"data:image/png;base64,{IMAGE}"}},
            ],
        },
        {
            "role": "assistant",
            "content": "",
            "parts": [{"inlineData": {"mimeType": "image/png", "data": IMAGE}}],
        },
    ],
)
def test_an_image_under_another_name_is_an_image(message: Any) -> None:
    sent = RecordingTransport(respond=lambda _: CannedResponse.json({}, status=500))
    world = World(small=["small says"])
    agent = world.agent(
        models=[world.model("small", "gemini")],
        tier_config={"free": TierConfig("free", features=["extra", "tools"])},
        transport=sent,
    )
    with pytest.raises(CascadeFlowError):
        ask(agent, query=None, messages=[message, {"role": "user", "content": "?"}])
    for exchange in sent.exchanges:
        assert IMAGE not in json.dumps(exchange.request_json)


def test_a_schema_of_several_types_is_no_image_and_breaks_nothing() -> None:
    world = World(small=["small says"])
    tier = TierConfig("free", features=["extra", "tools"])
    schema = {"type": ["string", "null"]}
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
    ask(world.agent(tier_config={"free": tier}), extra={"response_format": form})
    assert world.bodies[0]["response_format"] == form


# Budgets


def test_a_budget_that_a_profile_gets_later_is_enforced() -> None:
    world = World(small=["small says"])
    tiers = Tiers({"free": TierConfig("free")}, clock=world.clock)
    agent = world.agent(tier_config=tiers)
    ask(agent, user_id="u", max_tokens=100)
    tiers.set_profile("u", UserProfile("free", budget=0))
    with pytest.raises(BudgetExceededError):
        ask(agent, user_id="u", max_tokens=100)


def test_a_budget_that_a_profile_gets_later_is_not_merely_warned_of_by_default() -> None:
    world = World(small=["small says"])
    tiers = Tiers({"free": TierConfig("free")}, clock=world.clock)
    unsaid, said = (
        CostTracker(clock=world.clock),
        CostTracker(enforcement_mode="warn", clock=world.clock),
    )
    agent = world.agent(tier_config=tiers, cost_tracker=unsaid)
    tiers.set_profile("u", UserProfile("free", budget=0))
    with pytest.raises(ConfigurationError, match="enforcement_mode"):
        ask(agent, user_id="u")
    assert world.asked == []
    assert ask(world.agent(tier_config=tiers, cost_tracker=said), user_id="u").budget.over_limit


@pytest.mark.parametrize("user", ["u", None])
def test_who_waited_is_held_to_the_budget_of_its_own_tier_whoever_came_meanwhile(
    user: str | None,
) -> None:
    world = World(small=["small says"])
    go_on = asyncio.Event()
    world.meanwhile = go_on.wait
    waits: dict[str, Any] = {"max_concurrency": 1, "on_limit": "wait", "max_tokens": 50}
    tiers = {
        "free": TierConfig("free", budget="0.0000001", **waits),
        "pro": TierConfig("pro", budget=100, **waits),
    }

    async def main() -> None:
        async with world.agent(tier_config=tiers) as agent:
            tasks = []
            for tier in ("pro", "free", "pro"):
                asking = agent.run(QUESTION, user_id=user, user_tier=tier)
                tasks.append(asyncio.ensure_future(asking))
            await until(lambda: world.kinds().count("RequestQueued") == 2)
            go_on.set()
            await asyncio.wait(tasks)
            assert [task.exception() is None for task in tasks] == [True, False, True]
            assert isinstance(tasks[1].exception(), BudgetExceededError)

    asyncio.run(main())


def test_two_agents_that_share_tiers_share_each_users_budget() -> None:
    world = World(small=["small says"])
    tiers = Tiers({"free": TierConfig("free", budget="0.0003")}, clock=world.clock)
    ask(world.agent(tier_config=tiers), user_id="u", max_tokens=50)
    with pytest.raises(BudgetExceededError):
        ask(world.agent(tier_config=tiers), user_id="u", max_tokens=50)


TIERS_OF_WHICH_ONE_HAS_A_BUDGET = {
    "free": TierConfig("free", budget=1),
    "enterprise": TierConfig("enterprise"),
}
SOMEBODY: dict[str, Any] = {"user_id": "u", "user_tier": "enterprise"}


def test_who_has_no_budget_may_ask_what_no_budget_can_bound() -> None:
    world = World(small=["small says"])
    agent = world.agent(tier_config=TIERS_OF_WHICH_ONE_HAS_A_BUDGET)
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    shown = [{"role": "user", "content": [{"type": "text", "text": "?"}, image]}]
    assert ask(agent, query=None, messages=shown, **SOMEBODY).content == "small says"


def test_who_has_no_budget_may_ask_a_model_whose_price_is_not_known() -> None:
    world = World(small=["small says"])
    model = ModelConfig("small", "openai", api_key="k", base_url="http://127.0.0.1:9/v1")
    agent = world.agent(
        models=[model], unknown_price="allow", tier_config=TIERS_OF_WHICH_ONE_HAS_A_BUDGET
    )
    assert ask(agent, **SOMEBODY).content == "small says"


@pytest.mark.parametrize(
    "options",
    [
        {"tier_config": TIERS_OF_WHICH_ONE_HAS_A_BUDGET},
        {"tier_config": {"enterprise": TierConfig("enterprise")}, "user_profiles": {"v": "free"}},
        {"tier_config": {"enterprise": TierConfig("enterprise")}, "tier_resolver": lambda _: None},
    ],
)
def test_who_has_no_budget_is_asked_for_as_it_came(options: dict[str, Any]) -> None:
    world = World(small=["small says"])
    agent = world.agent(**options)
    ask(agent, **({"user_id": "u"} if "tier_resolver" in options else SOMEBODY))
    assert "max_completion_tokens" not in world.bodies[0]


# Streams


def test_a_streams_reader_is_told_that_it_waits_while_it_waits() -> None:
    world = World(small=["small says"])
    config = TierConfig("free", rate_limits=RateLimits(per_hour=1), on_limit="wait", max_wait=7_200)

    async def main() -> None:
        async with world.agent(tier_config={"free": config}) as agent:
            await agent.run(QUESTION, user_id="u")
            seen: list[Any] = []

            async def reader() -> None:
                async for event in agent.stream(QUESTION, user_id="u"):
                    kind = type(event)
                    seen.append(kind)

            task = asyncio.create_task(reader())
            await until(lambda: world.clock.sleepers > 0)
            for _ in range(50):
                await asyncio.sleep(0)
            told = list(seen)
            world.clock.advance(3_600)
            await task
            assert told == [events.RequestStarted, events.RequestQueued]

    asyncio.run(main())


# Waiting


def test_who_gave_up_waiting_is_told_how_long_it_still_takes() -> None:
    world = World(small=["small says"])
    config = TierConfig("free", rate_limits=RateLimits(per_hour=1), on_limit="wait", max_wait=600)

    async def main() -> None:
        async with world.agent(tier_config={"free": config}) as agent:
            await agent.run(QUESTION, user_id="u")
            task = asyncio.create_task(agent.run(QUESTION, user_id="u"))
            await until(lambda: world.clock.sleepers > 0)
            await world.clock.run_for(600)
            with pytest.raises(RateLimitError) as caught:
                await task
            assert caught.value.retry_after == 3_000
            assert caught.value.headers["Retry-After"] == "3000"

    asyncio.run(main())


# Domains


def test_a_domain_that_only_a_users_profile_names_may_be_said() -> None:
    world = World(small=["small says"])
    agent = world.agent(
        tier_config={"free": TierConfig("free", domains=["general"])},
        user_profiles={"u": UserProfile("free", domains=["astrology"])},
    )
    assert ask(agent, user_id="u", domain="astrology").routing.domain == "astrology"


# Tokens


def lookup(city: str) -> str:
    """Says where a city is."""
    return f"{city} is in Norway"


def test_a_tool_loop_is_not_stopped_for_tokens_that_it_never_used() -> None:
    call = {
        "text": "",
        "calls": (("c1", "lookup", '{"city": "Oslo"}'),),
        "input_tokens": 60,
        "output_tokens": 10,
    }
    world = World(small=[call, call, call, "small says"], big=["big says"])
    tier = TierConfig("free", rate_limits=RateLimits(tokens_per_minute=4_000), max_tokens=1_000)
    result = ask(
        world.agent(tier_config={"free": tier}), tools=[lookup], tool_executor=True, user_id="u"
    )
    # Four drafts of 70 tokens; draft and verifier of one step are some 2,100 at most.
    assert result.tier.stopped_by is None
    assert result.content == "small says"


def test_a_tool_loop_that_used_more_than_was_reckoned_stops() -> None:
    # Images, documents, reasoning: what a call uses is often not what could be counted before.
    call = {
        "text": "",
        "calls": (("c1", "lookup", '{"city": "Oslo"}'),),
        "input_tokens": 3_000,
        "output_tokens": 1_000,
    }
    world = World(small=[call])
    tier = TierConfig("free", rate_limits=RateLimits(tokens_per_minute=10_000), max_tokens=1_000)
    result = ask(
        world.agent(tier_config={"free": tier}),
        tools=[lookup],
        tool_executor=True,
        max_steps=50,
        user_id="u",
    )
    assert result.tier.stopped_by == "user:u tokens_per_minute"
    assert len(world.asked) <= 3


def test_a_try_that_may_have_been_billed_counts_its_tokens() -> None:
    # As it does when another model answers in its place, and as a budget books it.
    world = World(small=[ConnectionError("reset"), "small says"])
    tier = TierConfig("free", rate_limits=RateLimits(tokens_per_minute=10_000), max_tokens=1_000)
    agent = world.agent(
        tier_config={"free": tier}, retry=RetryPolicy(attempts=2, base_delay=0, max_delay=0)
    )
    result = ask(agent, user_id="u")
    assert len(world.asked) == 2
    assert result.tier.limits[0].remaining < 10_000 - 1_150


def test_a_try_that_may_have_been_billed_counts_the_output_that_its_budget_let_it_have() -> None:
    world = World(small=[ConnectionError("reset"), "small says"])
    tier = TierConfig("free", rate_limits=RateLimits(tokens_per_minute=10_000), budget=5)
    agent = world.agent(
        tier_config={"free": tier}, retry=RetryPolicy(attempts=2, base_delay=0, max_delay=0)
    )
    result = ask(agent, user_id="u")
    sent = world.bodies[0]["max_completion_tokens"]
    assert sent > 1_024
    assert result.tier.limits[0].remaining < 10_000 - 150 - sent


def test_a_model_that_costs_nothing_needs_no_budget_to_be_capped() -> None:
    world = World(small=["small says"])
    model = ModelConfig(
        "small",
        "openai",
        price=Price(input=0, output=0),
        api_key="k",
        base_url="http://127.0.0.1:9/v1",
    )
    agent = world.agent(models=[model], tier_config={"free": TierConfig("free", max_tokens=10)})
    ask(agent, max_tokens=500)
    assert world.bodies[0]["max_completion_tokens"] == 10


# Users


def test_where_no_tier_has_a_budget_nothing_is_noted_of_users() -> None:
    world = World(small=["small says"])
    agent = world.agent(tier_config={"free": TierConfig("free"), "pro": TierConfig("pro")})
    tracker = agent.cost_tracker
    assert tracker is not None
    for user in range(20):
        ask(agent, user_id=f"u{user}", user_tier="pro")
    assert not tracker._budgets.assigned
    tracker.set_budget("user:u7", 0, actor="the operator", reason="it has not paid")
    with pytest.raises(BudgetExceededError):
        ask(agent, user_id="u7", user_tier="pro")
    assert ask(agent, user_id="u8", user_tier="pro").content == "small says"


@pytest.mark.parametrize("name", ["user_id", "user_tier", "team", "key_id"])
@pytest.mark.parametrize(
    "tier",
    [TierConfig("free", max_concurrency=1), TierConfig("free", budget=1), TierConfig("free")],
)
def test_a_name_that_cannot_be_written_is_refused_in_words(name: str, tier: TierConfig) -> None:
    agent = World(small=["small says"]).agent(tier_config={"free": tier})
    with pytest.raises(InvalidRequestError, match=rf"{name} must be text that UTF-8 can write"):
        ask(agent, **{name: "\ud800"})


def test_where_every_model_is_left_alone_nobody_is_asked_and_the_place_is_free_again() -> None:
    world = World(small=[503])
    agent = world.agent(
        tier_config={"free": TierConfig("free", rate_limits=RateLimits(per_hour=100))},
        breaker=BreakerPolicy(),
    )
    for _ in range(50):
        with pytest.raises(AllModelsFailedError):
            ask(agent, user_id="u")
    sent = len(world.asked)
    assert sent < 50
    tiers = agent.tiers
    assert tiers is not None
    member = tiers.known("u", None)
    assert member is not None
    entry = tiers.try_enter(member)
    assert entry is not None
    assert entry.standings()[0].remaining == 100 - sent - 1


def test_without_tiers_no_result_can_write_into_the_next_ones() -> None:
    report: Any = ask(World(small=["small says"]).agent()).tier
    with pytest.raises(TypeError):
        report.headers["X-RateLimit-Limit"] = "0"
    assert ask(World(small=["small says"]).agent()).to_dict()["tier"]["headers"] == {}
