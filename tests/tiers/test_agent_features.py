"""What a tier does not include is refused by name, before anything is sent, taken or held."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agent_world import QUESTION, World, ask, read

from cascadeflow import (
    ConfigurationError,
    CostTracker,
    QualityConfig,
    RateLimits,
    TierConfig,
    TierForbiddenError,
    UserProfile,
)
from cascadeflow.testing import ManualClock
from cascadeflow.tiers.config import FEATURES

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
SHOWN = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE]}]


def lookup(city: str) -> str:
    """Says where a city is."""
    return f"{city} is in Norway"


CALL = {"text": "", "calls": (("c1", "lookup", '{"city": "Oslo"}'),)}

OPTIONS: dict[str, dict[str, Any]] = {
    "tools": {"tools": [lookup]},
    "images": {"query": None, "messages": SHOWN, "max_extra_cost": 0},
    "strict": {"quality_mode": "strict"},
    "extra": {"extra": {"reasoning_effort": "low"}},
}


async def with_option(agent: Any, feature: str) -> Any:
    options = {"query": QUESTION, "user_id": "u", **OPTIONS.get(feature, {})}
    if feature == "streaming":
        return await read(agent.stream(**options))
    if feature == "batch":
        batch = await agent.run_batch([options.pop("query")], **options)
        if batch.errors[0] is not None:
            raise batch.errors[0]
        return batch[0]
    return await agent.run(**options)


REFUSED = sorted(FEATURES - {"cache"})  # a cache that is not shared is no refusal


def test_every_feature_is_tried() -> None:
    assert set(REFUSED) == {*OPTIONS, "streaming", "batch"}


@pytest.mark.parametrize("missing", REFUSED)
def test_a_missing_feature_refuses_just_that(missing: str) -> None:
    world = World(small=["small says"], big=["big says"])
    tracker = CostTracker(default_user_budget=1, clock=world.clock)
    config = TierConfig(
        "free",
        features=FEATURES - {missing},
        rate_limits=RateLimits(per_hour=100),
        max_concurrency=5,
    )

    async def main() -> None:
        async with world.agent(tier_config={"free": config}, cost_tracker=tracker) as agent:
            with pytest.raises(TierForbiddenError, match="the tier free") as caught:
                await with_option(agent, missing)
            error = caught.value
            assert (error.tier, error.what, error.value) == ("free", "feature", missing)
            assert world.transport.open_exchanges == 0
            assert world.asked == []
            assert world.kinds()[-1] == "RequestFailed"
            assert not [each for each in tracker.accounts() if each.spent or each.held]
            # Nothing of the hour is gone: the first that is let in finds it whole.
            result = await agent.run(QUESTION, user_id="u")
            assert result.tier.headers["X-RateLimit-Remaining"] == "99"
            for other in REFUSED:
                if other != missing:
                    assert (await with_option(agent, other)).content in {"small says", "big says"}

    asyncio.run(main())


@pytest.mark.parametrize("missing", REFUSED)
def test_a_users_own_features_take_the_tiers_place(missing: str) -> None:
    world = World(small=["small says"], big=['{"fault": "", "grade": 5}'])
    agent = world.agent(
        tier_config={"free": TierConfig("free", features=())},
        user_profiles={"u": UserProfile(features=FEATURES)},
    )

    async def main() -> None:
        async with agent:
            assert (await with_option(agent, missing)).content == "small says"

    asyncio.run(main())


def test_streaming_by_every_name_is_streaming() -> None:
    world = World(small=["small says"])
    agent = world.agent(tier_config={"free": TierConfig("free", features=FEATURES - {"streaming"})})

    async def main() -> None:
        async with agent:
            for way in (
                lambda: agent.run_streaming(QUESTION, enable_visual=False),
                lambda: read(agent.stream(QUESTION, show_draft=True)),
            ):
                with pytest.raises(TierForbiddenError):
                    await way()
            told = [event async for event in agent.stream_events(QUESTION)]
            assert [event.type.value for event in told] == ["error"]
            assert told[0].data["type"] == "TierForbiddenError"

    asyncio.run(main())
    assert world.asked == []


def test_without_the_cache_nothing_is_read_from_it_and_nothing_kept() -> None:
    world = World(small=["first", "second", "third"])
    config = {
        "free": TierConfig("free", features=FEATURES - {"cache"}),
        "pro": TierConfig("pro"),
    }

    async def main() -> None:
        options = {"cache": "memory", "cache_scope": "global"}
        async with world.agent(tier_config=config, **options) as agent:
            assert (await agent.run(QUESTION, user_tier="free")).content == "first"
            assert (await agent.run(QUESTION, user_tier="pro")).content == "second"
            assert (await agent.run(QUESTION, user_tier="pro")).content == "second"
            assert (await agent.run(QUESTION, user_tier="free")).content == "third"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("scope", "shared"), [("user", False), ("tenant", True), ("global", True), (None, False)]
)
def test_a_tiers_cache_scope_takes_the_agents_place(scope: Any, shared: bool) -> None:
    world = World(small=["first", "second"])
    config = {"free": TierConfig("free", cache_scope=scope)}

    async def main() -> None:
        async with world.agent(tier_config=config, cache="memory") as agent:
            await agent.run(QUESTION, user_id="a", team="t")
            second = await agent.run(QUESTION, user_id="b", team="t")
            assert (second.routing.route == "cache") == shared

    asyncio.run(main())


# Domains


@pytest.mark.parametrize("domain", [None, "general", "legal"])
def test_a_domain_that_the_tier_has_not_is_refused_with_its_name(domain: Any) -> None:
    world = World(small=["small says"])
    config = TierConfig("free", domains=["code"], rate_limits=RateLimits(per_hour=5))
    agent = world.agent(tier_config={"free": config})
    with pytest.raises(TierForbiddenError) as caught:
        ask(agent, domain=domain, user_id="u")
    assert (caught.value.what, caught.value.value) == ("domain", domain or "general")
    assert world.asked == []
    result = ask(agent, domain="code", user_id="u")
    assert result.routing.domain == "code"
    assert result.tier.headers["X-RateLimit-Remaining"] == "4"
    assert result.to_dict()["routing"]["domain"] == "code"


def test_a_domain_of_ones_own_is_known_once_a_tier_names_it() -> None:
    world = World(small=["small says"])
    config = {"free": TierConfig("free", domains=["golf"]), "pro": TierConfig("pro")}
    agent = world.agent(tier_config=config)
    assert ask(agent, domain="golf").routing.domain == "golf"
    assert ask(agent, domain="golf", user_tier="pro").routing.domain == "golf"
    assert ask(agent, user_tier="pro").routing.domain is None


# The largest max_tokens


@pytest.mark.parametrize("asked", [None, 50, 100, 101, 5_000])
def test_every_call_that_is_sent_is_capped(asked: int | None) -> None:
    world = World(small=[CALL, "BAD"], middle=["middle says"], big=[CALL, 500])
    result = ask(
        world.agent(tier_config={"free": TierConfig("free", max_tokens=100)}),
        max_tokens=asked,
        tools=[lookup],
        tool_executor=True,
    )
    assert world.asked == ["small", "small", "big", "big", "middle"]
    sent = min(asked or 100, 100)
    assert {body["max_completion_tokens"] for body in world.bodies} == {sent}
    assert set(result.budget.max_tokens_sent.values()) == {sent}
    assert result.tier.max_tokens == 100


@pytest.mark.parametrize("way", ["stream", "batch", "hedge", "fallback", "budget", "cache"])
def test_on_every_way_it_is_capped(way: str) -> None:
    world = World(small=["small says"], big=["big says"], spare=["spare says"])
    options: dict[str, Any] = {}
    if way == "hedge":
        world.clock = ManualClock(autojump=True)
        world.meanwhile = lambda: world.clock.sleep(10)
        options = {"hedge_after": 1}
    elif way == "fallback":
        world = World(small=[500], big=[500], spare=["spare says"])
    elif way == "budget":
        options = {"cost_tracker": CostTracker(default_user_budget=1, clock=world.clock)}
    elif way == "cache":
        options = {"cache": "memory"}

    async def main() -> None:
        config = {"free": TierConfig("free", max_tokens=100)}
        async with world.agent(tier_config=config, **options) as agent:
            for _ in range(2):
                if way == "stream":
                    await read(agent.stream(QUESTION, max_tokens=5_000))
                elif way == "batch":
                    await agent.run_batch([QUESTION, QUESTION], max_tokens=5_000)
                else:
                    await agent.run(QUESTION, max_tokens=5_000)
        assert world.bodies
        for body in world.bodies:
            assert body["max_completion_tokens"] == 100

    asyncio.run(main())


def test_a_models_own_smaller_limit_holds() -> None:
    world = World(small=["small says"])
    model = world.model("small", max_tokens=30)
    agent = world.agent(models=[model], tier_config={"free": TierConfig("free", max_tokens=100)})
    ask(agent)
    assert world.bodies[0]["max_completion_tokens"] == 30


@pytest.mark.parametrize("field", ["max_completion_tokens", "max_tokens", "n"])
def test_extra_that_asks_for_more_than_the_tier_lets_is_refused_and_less_is_sent(
    field: str,
) -> None:
    world = World(small=["small says"])
    config = TierConfig("free", max_tokens=100, rate_limits=RateLimits(per_hour=5))
    agent = world.agent(tier_config={"free": config, "pro": TierConfig("pro")})
    with pytest.raises(TierForbiddenError) as caught:
        ask(agent, extra={field: 101}, user_id="u")
    assert (caught.value.what, caught.value.value) == ("max_tokens", "101")
    assert world.asked == []
    assert ask(agent, extra={field: 101}, user_id="u", user_tier="pro").content
    assert world.bodies[0][field] == 101
    less = ask(agent, extra={"max_completion_tokens": 40}, user_id="v")
    assert world.bodies[1]["max_completion_tokens"] == 40
    assert less.budget.max_tokens_sent == {"openai:small": 40}
    result = ask(agent, extra={"seed": 7}, user_id="u")
    assert world.bodies[2]["max_completion_tokens"] == 100
    assert result.tier.headers["X-RateLimit-Remaining"] == "4"


# How drafts are judged


def test_the_call_says_it_before_the_tier_and_the_tier_before_the_agent() -> None:
    def judged(**options: Any) -> tuple[float | None, int]:
        world = World(small=["small says"], big=["big says"])
        quality = options.pop("of_tier", None)
        agent = world.agent(
            quality_config=QualityConfig(threshold=0.5),
            tier_config={"free": TierConfig("free", quality_config=quality)},
        )
        result = ask(agent, **options)
        return result.quality.threshold, len(world.asked)

    tier, call = QualityConfig(threshold=1.0), QualityConfig(threshold=0.0)
    assert judged() == (0.5, 1)
    assert judged(of_tier=tier) == (1.0, 2)
    assert judged(of_tier=tier, quality_config=call) == (0.0, 1)
    assert judged(quality_config=tier) == (1.0, 2)
    assert judged(of_tier=tier, quality_mode="fast") == (QualityConfig().threshold, 1)


def test_a_tiers_quality_mode_is_the_presets() -> None:
    world = World(small=["small says"])
    agent = world.agent(
        "small",
        models=[world.model("small"), world.model("big")],
        quality_config=QualityConfig(threshold=0.5),
        tier_config={"free": TierConfig("free", quality_mode="fast")},
    )
    assert ask(agent).quality.threshold == QualityConfig.fast().threshold


def test_a_users_own_quality_replaces_the_tiers_however_it_was_said() -> None:
    world = World(small=["small says"], big=["big says"])
    agent = world.agent(
        tier_config={"free": TierConfig("free", quality_mode="fast")},
        user_profiles={"u": UserProfile(quality_config=QualityConfig(threshold=1.0))},
    )
    assert ask(agent, user_id="u").quality.threshold == 1.0
    assert ask(agent, user_id="v").quality.threshold == QualityConfig().threshold


@pytest.mark.parametrize("way", ["run", "stream", "batch"])
def test_a_threshold_of_one_always_escalates_and_of_nought_always_accepts(way: str) -> None:
    world = World(small=["BAD small says"], big=["big says"])

    async def main() -> None:
        async with world.agent() as agent:
            for threshold, who in ((1.0, "big says"), (0.0, "BAD small says")):
                options: Any = {"quality_config": QualityConfig(threshold=threshold)}
                if way == "stream":
                    result = await read(agent.stream(QUESTION, **options))
                elif way == "batch":
                    result = (await agent.run_batch([QUESTION], **options))[0]
                else:
                    result = await agent.run(QUESTION, **options)
                assert result.content == who
                assert result.quality.threshold == threshold
                assert result.quality.accepted == (threshold == 0.0)

    asyncio.run(main())


def test_answers_that_were_judged_otherwise_are_not_shared_by_the_cache() -> None:
    world = World(small=["small says"], big=["big says"])

    async def main() -> None:
        async with world.agent(cache="memory") as agent:
            assert (await agent.run(QUESTION)).content == "small says"
            sure = QualityConfig(threshold=1.0)
            for route in ("cascade", "cache"):
                result = await agent.run(QUESTION, quality_config=sure)
                assert result.content == "big says"
                assert result.routing.route == route

    asyncio.run(main())


def test_both_ways_to_say_how_are_refused() -> None:
    world = World(small=["small says"])
    for tiers in ({}, {"enable_user_tiers": True}):
        with pytest.raises(ConfigurationError, match="not both"):
            ask(world.agent(**tiers), quality_mode="fast", quality_config=QualityConfig())
    assert world.asked == []
