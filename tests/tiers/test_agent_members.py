"""Who is in which tier is the server's to say; what is unknown, or fails, is the default tier."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from agent_world import QUESTION, World, ask, outcomes, read

from cascadeflow import (
    CascadeAgent,
    CascadeFlowError,
    ConfigurationError,
    InvalidRequestError,
    RateLimits,
    TierConfig,
    TierForbiddenError,
    Tiers,
    UserProfile,
)
from cascadeflow.pipeline import events

BOTH = {
    "free": TierConfig("free", max_tokens=100, blocked_models=["big"]),
    "pro": TierConfig("pro", max_tokens=1_000),
}


def world_of() -> World:
    return World(small=["small says"], big=["big says"])


async def ask_in(agent: CascadeAgent, **options: Any) -> Any:
    return await agent.run(QUESTION, **options)


def is_free(world: World, result: Any) -> None:
    """Not only is it said: it is what was done."""
    assert result.tier.name == "free"
    assert result.tier.max_tokens == 100
    assert world.bodies[-1]["max_completion_tokens"] == 100
    assert result.routing.verifier_model == "openai:small"


# Without a resolver


@pytest.mark.parametrize(
    ("options", "source"),
    [
        ({}, "default"),
        ({"user_id": "u"}, "default"),
        ({"user_id": "u", "user_tier": "no such tier"}, "default"),
        ({"user_tier": "PRO"}, "default"),
        ({"user_tier": "pro "}, "default"),
        ({"user_id": "u", "user_tier": "free"}, "call"),
        ({"user_tier": "free"}, "call"),
    ],
)
def test_whoever_is_in_no_tier_is_in_the_default_one(options: Any, source: str) -> None:
    world = world_of()
    result = ask(world.agent(tier_config=BOTH), **options)
    is_free(world, result)
    assert result.tier.source == source
    assert result.tier.reason


@pytest.mark.parametrize("wrong", ["", 7, b"pro", ["pro"]])
@pytest.mark.parametrize("option", ["user_id", "user_tier"])
def test_what_is_no_name_is_refused(option: str, wrong: Any) -> None:
    world = world_of()
    with pytest.raises(InvalidRequestError, match=option):
        ask(world.agent(tier_config=BOTH), **{option: wrong})
    assert world.asked == []


def test_a_call_that_names_a_tier_gets_it() -> None:
    world = world_of()
    agent = world.agent(tier_config=BOTH)
    result = ask(agent, user_id="u", user_tier="pro")
    assert (result.tier.name, result.tier.source) == ("pro", "call")
    assert world.bodies[0]["max_completion_tokens"] == 1_000
    is_free(world, ask(agent, user_id="u"))


def test_the_default_is_the_one_that_is_named() -> None:
    world = world_of()
    result = ask(world.agent(tier_config=BOTH, default_tier="pro"), user_tier="gold")
    assert (result.tier.name, result.tier.source) == ("pro", "default")
    assert "gold" in result.tier.reason


def test_the_presets_are_enforced_by_one_option() -> None:
    world = world_of()
    agent = world.agent(enable_user_tiers=True)
    assert agent.tiers is not None
    assert set(agent.tiers.tiers) == {"free", "pro", "enterprise"}
    result = ask(agent, user_id="u", max_tokens=5_000)
    assert result.tier.name == "free"
    assert world.bodies[0]["max_completion_tokens"] == 1_024
    with pytest.raises(TierForbiddenError):
        ask(agent, user_id="u", extra={"seed": 1})
    assert ask(agent, user_id="u", user_tier="enterprise", extra={"seed": 1}).content


@pytest.mark.parametrize(
    ("tier", "a_minute", "at_once"), [("free", 5, 2), ("pro", 60, 10), ("enterprise", 600, 100)]
)
def test_the_presets_limits_hold(tier: str, a_minute: int, at_once: int) -> None:
    world = world_of()
    agent = world.agent(enable_user_tiers=True)
    options: Any = {"user_tier": tier, "max_tokens": 10}

    async def main() -> None:
        async with agent:
            go_on = asyncio.Event()
            world.meanwhile = go_on.wait
            asyncio.get_running_loop().call_later(0, go_on.set)
            passed, refused = await outcomes(
                *[ask_in(agent, user_id="u", **options) for _ in range(at_once + 5)]
            )
            assert len(passed) == at_once == world.most_at_once
            assert {error.limit for error in refused} == {"concurrent"}
            world.meanwhile = None
            for number in range(a_minute - at_once + 1):
                last, refused = await outcomes(ask_in(agent, user_id="u", **options))
                assert len(last) == (number < a_minute - at_once)
            assert {error.limit for error in refused} == {"per_minute"}
            assert (await ask_in(agent, user_id="v", **options)).content

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"default_tier": "free"}, "needs tiers"),
        ({"tier_resolver": lambda _: "pro"}, "needs tiers"),
        ({"user_profiles": {}}, "needs tiers"),
        ({"tier_config": BOTH, "default_tier": "gold"}, "gold"),
        ({"tier_config": {"a": BOTH["free"], "b": BOTH["pro"]}}, "default tier"),
        ({"tier_config": {}}, "at least one"),
        ({"tier_config": {"free": "free"}}, "TierConfig"),
        ({"tier_config": 3}, "mapping"),
        ({"tier_config": BOTH, "tier_resolver": "pro"}, "function"),
        ({"tier_config": BOTH, "user_profiles": {"u": 3}}, "UserProfile"),
        ({"tier_config": Tiers(BOTH), "default_tier": "pro"}, "beside a Tiers object"),
        ({"tier_config": Tiers(BOTH), "tier_resolver": lambda _: "pro"}, "beside a Tiers object"),
    ],
)
def test_options_that_cannot_work_are_refused(options: Any, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        world_of().agent(**options)


def test_without_tiers_a_named_tier_is_a_name_for_the_books_and_nothing_else() -> None:
    world = world_of()
    result = ask(world.agent(), user_id="u", user_tier="free")
    assert result.tier.name is None
    assert result.tier.headers == {}
    assert "max_completion_tokens" not in world.bodies[0]


# A resolver


async def slow(_: str) -> str:
    await asyncio.Event().wait()
    raise AssertionError("it waits for ever")


async def cancelled(_: str) -> str:
    raise asyncio.CancelledError


def raising(_: str) -> str:
    raise RuntimeError("password=hunter2")


async def raising_later(_: str) -> str:
    await asyncio.sleep(0)
    raise RuntimeError("password=hunter2")


async def nobody(_: str) -> None:
    return None


RESOLVERS: dict[str, Any] = {
    "none": lambda _: None,
    "none, later": nobody,
    "unknown": lambda _: "no such tier",
    "a number": lambda _: 7,
    "the tier itself": lambda _: BOTH["pro"],
    "a tuple": lambda _: ("pro",),
    "empty": lambda _: "",
    "raises": raising,
    "raises, later": raising_later,
    "is cancelled": cancelled,
    "takes no user": lambda: "pro",
    "gives itself": lambda _: slow,
    "an unknown profile": lambda _: UserProfile("no such tier"),
}


@pytest.mark.parametrize("name", RESOLVERS)
def test_a_resolver_that_names_no_tier_names_the_default(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = world_of()
    agent = world.agent(tier_config=BOTH, tier_resolver=RESOLVERS[name])
    result = ask(agent, user_id="u")
    is_free(world, result)
    assert result.tier.source in {"default", "resolver"}
    assert "hunter2" not in caplog.text
    assert "hunter2" not in json.dumps(result.to_dict())


def test_a_resolver_that_takes_too_long_names_the_default() -> None:
    world = world_of()

    async def main() -> None:
        async with world.agent(tier_config=BOTH, tier_resolver=slow) as agent:
            task = asyncio.create_task(ask_in(agent, user_id="u"))
            await world.clock.run_for(2.5)
            result = await task
            is_free(world, result)
            assert "longer than 2 s" in result.tier.reason

    asyncio.run(main())


def test_what_the_resolver_says_holds_over_nothing_but_a_profile() -> None:
    world = world_of()
    agent = world.agent(
        tier_config=BOTH,
        tier_resolver=lambda user: "pro" if user in {"p", "q"} else None,
        user_profiles={"q": "free"},
    )
    result = ask(agent, user_id="p")
    assert (result.tier.name, result.tier.source) == ("pro", "resolver")
    is_free(world, ask(agent, user_id="q"))
    is_free(world, ask(agent, user_id="r"))
    is_free(world, ask(agent))


@pytest.mark.parametrize("way", ["run", "stream", "batch", "events", "sync"])
@pytest.mark.parametrize("user", ["p", "u", None])
def test_with_a_resolver_no_call_names_its_own_tier(way: str, user: str | None) -> None:
    world = world_of()
    agent = world.agent(tier_config=BOTH, tier_resolver=lambda _: "free")
    options: Any = {"user_id": user, "user_tier": "pro"}

    async def main() -> None:
        async with agent:
            match way:
                case "run":
                    await agent.run(QUESTION, **options)
                case "stream":
                    await read(agent.stream(QUESTION, **options))
                case "batch":
                    await agent.run_batch([QUESTION], **options)
                case "sync":
                    await asyncio.to_thread(agent.run_sync, QUESTION, **options)
                case _:
                    told = [event async for event in agent.stream_events(QUESTION, **options)]
                    assert told[-1].data["type"] == "InvalidRequestError"
                    raise InvalidRequestError(told[-1].content)

    with pytest.raises(InvalidRequestError, match="user_tier= cannot be given"):
        asyncio.run(main())
    assert world.asked == []


def test_the_resolver_is_asked_once_for_many_and_again_when_its_answer_is_old() -> None:
    world = world_of()
    asked: list[str] = []

    async def resolver(user: str) -> str:
        asked.append(user)
        await asyncio.sleep(0)
        return "pro" if len(asked) == 1 else "free"

    async def main() -> None:
        async with world.agent(tier_config=BOTH, tier_resolver=resolver) as agent:
            done = await asyncio.gather(*[ask_in(agent, user_id="u") for _ in range(30)])
            assert {result.tier.name for result in done} == {"pro"}
            assert asked == ["u"]
            world.clock.advance(59)
            assert (await ask_in(agent, user_id="u")).tier.name == "pro"
            world.clock.advance(2)
            assert (await ask_in(agent, user_id="u")).tier.name == "free"
            assert len(asked) == 2
            assert agent.tiers is not None
            agent.tiers.forget("u")
            await ask_in(agent, user_id="u")
            assert len(asked) == 3

    asyncio.run(main())


def test_a_cancelled_request_does_not_take_the_answer_from_those_who_wait_for_it() -> None:
    world = world_of()
    go_on = asyncio.Event()

    async def resolver(_: str) -> str:
        await go_on.wait()
        return "pro"

    async def main() -> None:
        async with world.agent(tier_config=BOTH, tier_resolver=resolver) as agent:
            tasks = [asyncio.create_task(ask_in(agent, user_id="u")) for _ in range(3)]
            for _ in range(10):
                await asyncio.sleep(0)
            tasks[0].cancel()
            await asyncio.sleep(0)
            go_on.set()
            assert [(await task).tier.name for task in tasks[1:]] == ["pro", "pro"]
            assert tasks[0].cancelled()

    asyncio.run(main())


def test_a_request_whose_time_is_up_while_its_tier_is_looked_up_says_so() -> None:
    world = world_of()
    agent = world.agent(tier_config=BOTH, tier_resolver=slow)
    with pytest.raises(CascadeFlowError, match="while it waited for its user's tier"):
        ask(agent, user_id="u", timeout=0.01)
    assert world.asked == []


# One user's own


def test_setting_one_users_profile_changes_that_user_alone() -> None:
    world = world_of()
    presets = {"free": TierConfig.free(), "pro": TierConfig.pro()}
    before = {name: repr(tier) for name, tier in presets.items()}
    tiers = Tiers(presets, profiles={"b": UserProfile("free", max_tokens=7)}, clock=world.clock)
    agent = world.agent(tier_config=tiers)

    def sent(user: str | None) -> int:
        ask(agent, user_id=user)
        return int(world.bodies[-1]["max_completion_tokens"])

    everybody = ("a", "b", "c", None)
    assert [sent(user) for user in everybody] == [1_024, 7, 1_024, 1_024]
    tiers.set_profile("a", UserProfile("pro", max_tokens=9, features=["cache"]))
    assert [sent(user) for user in everybody] == [9, 7, 1_024, 1_024]
    tiers.set_profile("b", None)
    assert [sent(user) for user in everybody] == [9, 1_024, 1_024, 1_024]
    assert {name: repr(tier) for name, tier in presets.items()} == before
    assert {name: repr(tier) for name, tier in tiers.tiers.items()} == before
    assert (repr(TierConfig.free()), repr(TierConfig.pro())) == tuple(before.values())


def test_a_profile_holds_from_the_next_request_on() -> None:
    world = world_of()
    tiers = Tiers(BOTH, clock=world.clock)
    agent = world.agent(tier_config=tiers)
    is_free(world, ask(agent, user_id="u"))
    tiers.set_profile("u", "pro")
    result = ask(agent, user_id="u")
    assert (result.tier.name, result.tier.source) == ("pro", "profile")
    # A profile's tier is the server's word: no call changes it.
    assert ask(agent, user_id="u", user_tier="free").tier.name == "pro"
    tiers.set_profile("u", "free")
    is_free(world, ask(agent, user_id="u", user_tier="pro"))


def test_a_profiles_limits_are_that_users_alone() -> None:
    world = world_of()
    config = {"free": TierConfig("free", rate_limits=RateLimits(per_hour=2))}
    profiles = {"a": UserProfile(rate_limits=RateLimits(per_hour=5)), "b": "free"}
    agent = world.agent(tier_config=config, user_profiles=profiles)

    async def main() -> None:
        async with agent:
            for user, most in (("a", 5), ("b", 2), ("c", 2)):
                passed, _ = await outcomes(*[ask_in(agent, user_id=user) for _ in range(9)])
                assert len(passed) == most

    asyncio.run(main())


# What the result says


def test_the_tier_is_in_the_result_as_plain_json() -> None:
    world = world_of()
    config = TierConfig(
        "free",
        max_tokens=100,
        rate_limits=RateLimits(per_minute=5, per_hour=10, tokens_per_minute=9_000),
        max_concurrency=3,
        tier_rate_limits=RateLimits(per_day=1_000),
    )
    result = ask(world.agent(tier_config={"free": config}), user_id="u", domain="code")
    plain = json.loads(json.dumps(result.to_dict()))
    tier = plain["tier"]
    assert tier["name"] == "free"
    assert tier["source"] == "default"
    assert tier["max_tokens"] == 100
    assert tier["waited_ms"] == 0.0
    assert tier["stopped_by"] is None
    assert [(each["account"], each["limit"], each["remaining"]) for each in tier["limits"]] == [
        ("user:u", "per_minute", 4),
        ("user:u", "per_hour", 9),
        ("user:u", "tokens_per_minute", 9_000 - 150),
        ("user:u", "concurrent", 3),
        ("tier:free", "per_day", 999),
    ]
    assert tier["limits"][1]["resets_after"] == 3_600
    assert tier["headers"] == {
        "X-RateLimit-Limit": "5",
        "X-RateLimit-Remaining": "4",
        "X-RateLimit-Reset": "12",
        "X-RateLimit-Limit-Tokens": "9000",
        "X-RateLimit-Remaining-Tokens": "8850",
        "X-RateLimit-Reset-Tokens": "60",
    }
    assert plain["routing"]["domain"] == "code"
    flat = json.loads(json.dumps(result.metadata))
    assert flat["tier_name"] == "free"
    assert flat["tier_headers"] == tier["headers"]
    assert flat["tier_limits"] == tier["limits"]
    assert flat["routing_domain"] == "code"


@pytest.mark.parametrize("way", ["run", "stream", "batch", "cache", "sync", "streaming"])
def test_on_every_way_the_result_says_its_tier(way: str) -> None:
    world = world_of()
    config = {"free": TierConfig("free", rate_limits=RateLimits(per_hour=10))}
    agent = world.agent(tier_config=config, cache="memory" if way == "cache" else None)

    async def main() -> Any:
        async with agent:
            match way:
                case "stream":
                    return await read(agent.stream(QUESTION, user_id="u"))
                case "batch":
                    return (await agent.run_batch([QUESTION], user_id="u"))[0]
                case "sync":
                    return await asyncio.to_thread(agent.run_sync, QUESTION, user_id="u")
                case "streaming":
                    return await agent.run_streaming(QUESTION, user_id="u", enable_visual=False)
                case "cache":
                    await agent.run(QUESTION, user_id="u")
            return await agent.run(QUESTION, user_id="u")

    result = asyncio.run(main())
    assert result.tier.name == "free"
    left = 8 if way == "cache" else 9
    assert result.tier.headers["X-RateLimit-Remaining"] == str(left)
    assert (result.routing.route == "cache") == (way == "cache")
    told = [event for event in world.events if isinstance(event, events.RequestCompleted)]
    assert told[-1].result.tier == result.tier
