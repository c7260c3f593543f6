"""Ten an hour are ten an hour, whichever way sixty-four requests come at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from agent_world import QUESTION, World, ask, outcomes, read
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow import (
    AllModelsFailedError,
    BudgetConfig,
    BudgetExceededError,
    CostTracker,
    MissingKeyError,
    RateLimitError,
    RateLimits,
    TierConfig,
    Tiers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cascadeflow import CascadeAgent

MANY, MOST, HOUR = 64, 10, 3600.0
A_NANOSECOND = 1e-9


def tier(**limits: Any) -> dict[str, TierConfig]:
    return {"free": TierConfig("free", rate_limits=RateLimits(**limits or {"per_hour": MOST}))}


def lookup(city: str) -> str:
    """Says where a city is."""
    return f"{city} is in Norway"


LOOP: dict[str, Any] = {"tools": [lookup], "tool_executor": True}
CALLS_A_TOOL = {"text": "", "calls": (("c1", "lookup", '{"city": "Oslo"}'),)}


async def by_run(agent: CascadeAgent) -> Any:
    return await outcomes(*[agent.run(f"{QUESTION} {i}", user_id="u") for i in range(MANY)])


async def by_stream(agent: CascadeAgent) -> Any:
    return await outcomes(
        *[read(agent.stream(f"{QUESTION} {i}", user_id="u")) for i in range(MANY)]
    )


async def by_batch(agent: CascadeAgent) -> Any:
    questions = [f"{QUESTION} {i}" for i in range(MANY)]
    batch = await agent.run_batch(questions, concurrency=MANY, user_id="u")
    return [r for r in batch.results if r], [e for e in batch.errors if e]


async def by_cache(agent: CascadeAgent) -> Any:
    first = await agent.run(QUESTION, user_id="u")
    passed, refused = await outcomes(*[agent.run(QUESTION, user_id="u") for _ in range(MANY - 1)])
    assert {result.routing.route for result in passed} <= {"cache"}
    return [first, *passed], refused


async def by_tool_loop(agent: CascadeAgent) -> Any:
    return await outcomes(*[agent.run(QUESTION, user_id="u", **LOOP) for _ in range(MANY)])


async def by_all_at_once(agent: CascadeAgent) -> Any:
    async def batch() -> Any:
        done = await agent.run_batch([QUESTION], user_id="u", use_cache=False)
        if done.errors[0] is not None:
            raise done.errors[0]
        return done.results[0]

    ways: list[Callable[[], Any]] = [
        lambda: agent.run(QUESTION, user_id="u", use_cache=False),
        lambda: agent.run(QUESTION, user_id="u"),
        lambda: agent.run_streaming(QUESTION, user_id="u", enable_visual=False),
        lambda: read(agent.stream(QUESTION, user_id="u", show_draft=True)),
        batch,
    ]
    return await outcomes(*[ways[i % len(ways)]() for i in range(MANY)])


def script(way: Any) -> list[Any]:
    return [CALLS_A_TOOL] * 10 + ["It is in Norway"] if way is by_tool_loop else ["In Norway"]


@pytest.mark.parametrize(
    "way", [by_run, by_stream, by_batch, by_cache, by_tool_loop, by_all_at_once]
)
def test_of_64_at_once_exactly_10_an_hour_pass_and_10_more_an_hour_later(way: Any) -> None:
    # The models take their turns: all 64 are under way before the first is answered.
    world = World(small=script(way))
    world.meanwhile = lambda: asyncio.sleep(0)
    cache = "memory" if way in (by_cache, by_all_at_once) else None

    async def main() -> None:
        async with world.agent(tier_config=tier(), cache=cache) as agent:
            for hour in (0, 1):
                passed, refused = await way(agent)
                assert len(passed) == MOST
                assert len(refused) == MANY - MOST
                for error in refused:
                    assert isinstance(error, RateLimitError)
                    assert (error.account, error.limit) == ("user:u", "per_hour")
                    assert (error.allowed, error.requested, error.tier) == (MOST, 1, "free")
                    assert error.retry_after == HOUR
                    assert not error.permanent
                    assert error.headers == {
                        "Retry-After": "3600",
                        "X-RateLimit-Limit": "10",
                        "X-RateLimit-Remaining": "0",
                        "X-RateLimit-Reset": "3600",
                    }
                assert min(each.tier.limits[0].remaining for each in passed) == 0
                assert len(world.asked) <= (hour + 1) * MOST * (2 if way is by_tool_loop else 1)
                world.clock.advance(HOUR)

    asyncio.run(main())


def test_from_eight_threads_without_an_event_loop_exactly_10_pass() -> None:
    world = World(small=["In Norway"])

    def one(number: int) -> Any:
        try:
            return agent.run_sync(f"{QUESTION} {number}", user_id="u")
        except RateLimitError as error:
            return error

    with world.agent(tier_config=tier()) as agent, ThreadPoolExecutor(8) as threads:
        for _ in range(2):
            done = list(threads.map(one, range(MANY)))
            refused = [each for each in done if isinstance(each, RateLimitError)]
            assert len(refused) == MANY - MOST
            assert {error.retry_after for error in refused} == {HOUR}
            world.clock.advance(HOUR)
    assert len(world.asked) == 2 * MOST


def test_on_eight_event_loops_at_once_exactly_10_pass() -> None:
    world = World(small=["In Norway"])
    agent = world.agent(tier_config=tier())

    async def eighth() -> tuple[int, int]:
        async with agent:
            passed, refused = await outcomes(
                *[agent.run(QUESTION, user_id="u") for _ in range(MANY // 8)]
            )
            return len(passed), len(refused)

    with ThreadPoolExecutor(8) as threads:
        counts = list(threads.map(lambda _: asyncio.run(eighth()), range(8)))
    assert sum(passed for passed, _ in counts) == MOST == len(world.asked)
    assert sum(refused for _, refused in counts) == MANY - MOST


def test_two_agents_that_share_tiers_share_the_limit() -> None:
    world = World(small=["In Norway"])
    tiers = Tiers(tier(), clock=world.clock)

    async def main() -> None:
        agents = [world.agent(tier_config=tiers) for _ in range(2)]
        passed, _ = await outcomes(
            *[agent.run(QUESTION, user_id="u") for agent in agents for _ in range(MANY // 2)]
        )
        assert len(passed) == MOST
        for agent in agents:
            await agent.aclose()

    asyncio.run(main())


def test_one_users_requests_take_nothing_from_anothers() -> None:
    world = World(small=["In Norway"])

    async def main() -> None:
        async with world.agent(tier_config=tier()) as agent:
            users = [f"u{i}" for i in range(8)] + [None]
            passed, _ = await outcomes(
                *[agent.run(QUESTION, user_id=user) for user in users for _ in range(MOST + 2)]
            )
            assert len(passed) == MOST * len(users)

    asyncio.run(main())


def test_a_user_that_changes_tier_keeps_what_was_used() -> None:
    world = World(small=["In Norway"])
    config = {**tier(per_hour=2), "pro": TierConfig("pro", rate_limits=RateLimits(per_hour=3))}
    agent = world.agent(tier_config=config)
    for name in ("free", "free", "pro"):
        ask(agent, user_id="u", user_tier=name)
    for name in ("free", "pro"):
        with pytest.raises(RateLimitError) as caught:
            ask(agent, user_id="u", user_tier=name)
        assert caught.value.retry_after == HOUR


def test_the_tier_as_a_whole_and_everybody_together_are_limited() -> None:
    world = World(small=["In Norway"])
    config = TierConfig("free", tier_rate_limits=RateLimits(per_hour=3))
    tiers = Tiers(
        {"free": config, "pro": TierConfig("pro")},
        rate_limits=RateLimits(per_hour=5),
        clock=world.clock,
    )
    agent = world.agent(tier_config=tiers)
    for user in "abc":
        ask(agent, user_id=user)
    with pytest.raises(RateLimitError, match="tier:free has 3 requests an hour"):
        ask(agent, user_id="d")
    for user in "ef":
        ask(agent, user_id=user, user_tier="pro")
    with pytest.raises(RateLimitError, match="global has 5 requests an hour"):
        ask(agent, user_id="g", user_tier="pro")
    # All or nothing: those who were refused took no place of anybody's.
    assert len(world.asked) == 5


LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "per_second": st.integers(1, 4),
        "per_minute": st.integers(1, 7),
        "per_hour": st.integers(1, 9),
        "per_day": st.integers(1, 12),
    },
).filter(bool)
PAUSES = st.lists(
    st.one_of(st.just(0), st.integers(0, 10**9), st.integers(0, 10**13)), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(limits=LIMITS, pauses=PAUSES)
def test_at_retry_after_a_request_passes_and_a_nanosecond_earlier_none_does(
    limits: dict[str, int], pauses: list[int]
) -> None:
    world = World(small=["In Norway"])

    async def main() -> None:
        async with world.agent(tier_config=tier(**limits)) as agent:
            for pause in pauses:
                world.clock.advance(pause / 1e9)
                for _ in range(13):
                    try:
                        await agent.run(QUESTION, user_id="u")
                    except RateLimitError as error:
                        again = error.retry_after
                        break
                else:
                    continue
                assert again is not None
                assert again > 0
                world.clock.advance(max(0.0, again - A_NANOSECOND))
                with pytest.raises(RateLimitError) as caught:
                    await agent.run(QUESTION, user_id="u")
                assert caught.value.retry_after == A_NANOSECOND
                world.clock.advance(A_NANOSECOND)
                assert (await agent.run(QUESTION, user_id="u")).content

    asyncio.run(main())


def test_retry_after_is_exact_at_moments_that_no_float_hits() -> None:
    # A thirtieth of all whole nanoseconds come back from a float of seconds as one less.
    world = World(small=["In Norway"])

    async def main() -> None:
        async with world.agent(tier_config=tier(per_second=1)) as agent:
            hit = 0
            for nanoseconds in range(1, 400):
                world.clock.advance(nanoseconds / 1e9)
                try:
                    await agent.run(QUESTION, user_id="u")
                except RateLimitError as error:
                    world.clock.advance(error.retry_after or 0.0)
                    assert (await agent.run(QUESTION, user_id="u")).content
                    hit += 1
            assert hit > 300

    asyncio.run(main())


# What gives the hour's place back, and what does not


def places_left(agent: CascadeAgent, **options: Any) -> int:
    """How many of the hour's are left, by asking once more."""
    return int(ask(agent, user_id="u", **options).tier.headers["X-RateLimit-Remaining"])


def test_a_request_that_the_budget_refuses_takes_no_place_in_the_hour() -> None:
    world = World(small=["In Norway"])
    tracker = CostTracker(user_budgets={"u": "0.001"}, default_user_budget=1, clock=world.clock)
    agent = world.agent(tier_config=tier(), cost_tracker=tracker)
    for _ in range(MOST + 5):
        with pytest.raises(BudgetExceededError):
            ask(agent, user_id="u", max_tokens=100_000)
    assert world.asked == []
    assert places_left(agent, max_tokens=10) == MOST - 1


def test_a_tiers_budget_that_refuses_takes_no_place_in_the_hour() -> None:
    world = World(small=["In Norway"])
    config = TierConfig("free", rate_limits=RateLimits(per_hour=MOST), budget="0.001")
    agent = world.agent(tier_config={"free": config})
    for _ in range(MOST + 5):
        with pytest.raises(BudgetExceededError):
            ask(agent, user_id="u", max_tokens=100_000)
    assert places_left(agent, max_tokens=10) == MOST - 1


@pytest.mark.parametrize("streamed", [False, True])
def test_a_missing_key_takes_no_place_in_the_hour(
    streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    world = World(small=["In Norway"])
    agent = world.agent(
        models=[world.model("small", api_key=None)], tier_config=tier(), clock=world.clock
    )

    async def main() -> None:
        for _ in range(MOST + 5):
            way = (
                read(agent.stream(QUESTION, user_id="u"))
                if streamed
                else agent.run(QUESTION, user_id="u")
            )
            with pytest.raises(MissingKeyError):
                await way

    asyncio.run(main())
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert places_left(agent) == MOST - 1


@pytest.mark.parametrize("failure", [500, 401, ConnectionError("reset")])
def test_a_request_that_no_model_answers_keeps_its_place(failure: Any) -> None:
    world = World(small=[failure, "In Norway"])
    agent = world.agent(tier_config=tier())
    with pytest.raises(AllModelsFailedError):
        ask(agent, user_id="u")
    assert places_left(agent) == MOST - 2


def test_what_a_request_cannot_say_takes_no_place_in_the_hour() -> None:
    world = World(small=["In Norway"])
    agent = world.agent(tier_config=tier())
    for wrong in ({"query": ""}, {"model": "nobody"}, {"max_tokens": 0}, {"domain": "golf"}):
        with pytest.raises(Exception, match=r"empty|no model|at least|domain"):
            ask(agent, user_id="u", **wrong)
    assert places_left(agent) == MOST - 1


def test_a_budget_of_the_day_and_the_hours_limit_hold_together() -> None:
    world = World(small=["In Norway"])
    config = TierConfig(
        "free", rate_limits=RateLimits(per_hour=3), budget=BudgetConfig(daily="0.0007")
    )
    agent = world.agent(tier_config={"free": config})
    for _ in range(3):
        ask(agent, user_id="u", max_tokens=50)
    with pytest.raises(RateLimitError):
        ask(agent, user_id="u", max_tokens=50)
    world.clock.advance(HOUR)
    with pytest.raises(BudgetExceededError):
        ask(agent, user_id="u", max_tokens=50)
    world.clock.advance(24 * HOUR)
    assert ask(agent, user_id="u", max_tokens=50).content
