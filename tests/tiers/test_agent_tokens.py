"""Tokens a minute: reserved before anything is sent, and set right by what was used."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agent_world import QUESTION, World, ask, outcomes, read, until

from cascadeflow import (
    AllModelsFailedError,
    BudgetExceededError,
    CascadeAgent,
    RateLimitError,
    RateLimits,
    TierConfig,
    Tiers,
)
from cascadeflow.testing import ManualClock

LIMIT, OUTPUT = 10_000, 1_000
CALL = ("c1", "lookup", '{"city": "Oslo"}')


def tier(**fields: Any) -> dict[str, TierConfig]:
    fields = {"rate_limits": RateLimits(tokens_per_minute=LIMIT), "max_tokens": OUTPUT, **fields}
    return {"free": TierConfig("free", **fields)}


def lookup(city: str) -> str:
    """Says where a city is."""
    return f"{city} is in Norway"


LOOP: dict[str, Any] = {"tools": [lookup], "tool_executor": True}


def left(result: Any) -> int:
    """How many tokens of the minute are left when a request has ended."""
    (report,) = [each for each in result.tier.limits if each.limit == "tokens_per_minute"]
    assert report.allowed == LIMIT
    assert result.tier.headers["X-RateLimit-Remaining-Tokens"] == str(report.remaining)
    return int(report.remaining)


async def left_before(agent: CascadeAgent, user: str = "u") -> int:
    """How many were left before now: asks once more, of which 150 are known to be used."""
    return left(await agent.run("And?", user_id=user, model="calm", max_tokens=60)) + 150


def agent_of(world: World, **options: Any) -> CascadeAgent:
    """An agent with one more model, that answers whatever the weather."""
    names = [name for name in world.names if name != "calm"]
    models = [*map(world.model, names), world.model("calm", like="spare")]
    return world.agent(models=models, order="given", **{"tier_config": tier(), **options})


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("draft", "used"), [("small says", 150), ("BAD", 300), ({"text": "x", "input_tokens": 7}, 57)]
)
def test_what_was_reserved_and_not_used_is_given_back(
    streamed: bool, draft: Any, used: int
) -> None:
    world = World(small=[draft], big=["big says"])

    async def main() -> None:
        async with world.agent(tier_config=tier()) as agent:
            for number in (1, 2, 3):
                if streamed:
                    result = await read(agent.stream(QUESTION, user_id="u"))
                else:
                    result = await agent.run(QUESTION, user_id="u")
                assert left(result) == LIMIT - number * used

    asyncio.run(main())


def test_tokens_are_reserved_while_a_request_is_under_way() -> None:
    world = World(small=["small says"], big=["big says"])
    go_on = asyncio.Event()
    world.meanwhile = go_on.wait

    async def main() -> None:
        async with world.agent(tier_config=tier()) as agent:
            # Draft and verifier, some 1,010 tokens each: four fit, though 600 would be used.
            tasks = [asyncio.create_task(agent.run(QUESTION, user_id="u")) for _ in range(6)]
            await until(lambda: sum(task.done() for task in tasks) == 2)
            for task in tasks[4:]:
                error = task.exception()
                assert isinstance(error, RateLimitError)
                assert (error.account, error.limit) == ("user:u", "tokens_per_minute")
                assert 2 * OUTPUT < error.requested < 2 * OUTPUT + 200
                assert error.retry_after is not None
            go_on.set()
            passed, _ = await outcomes(*tasks)
            assert len(passed) == 4
            # What they did not use is there again at once.
            assert left(await agent.run(QUESTION, user_id="u")) == LIMIT - 5 * 150

    asyncio.run(main())


def test_after_retry_after_it_passes() -> None:
    world = World(small=[{"text": "small says", "input_tokens": 2_000, "output_tokens": 400}])

    async def main() -> None:
        async with world.agent(tier_config=tier()) as agent:
            for _ in range(12):
                _, refused = await outcomes(agent.run(QUESTION, user_id="u"))
                for error in refused:
                    assert error.retry_after is not None
                    assert 0 < error.retry_after <= 60
                    world.clock.advance(error.retry_after)
                    await agent.run(QUESTION, user_id="u")
                world.clock.advance(3)
            assert len(world.asked) == 12

    asyncio.run(main())


def test_who_waits_for_tokens_passes_within_the_minute() -> None:
    world = World(small=[{"text": "small says", "input_tokens": 10, "output_tokens": 990}])

    async def main() -> None:
        config = tier(on_limit="wait", max_wait=600)
        async with world.agent(tier_config=config) as agent:
            tasks = [asyncio.create_task(agent.run(QUESTION, user_id="u")) for _ in range(12)]
            await world.clock.run_for(150)
            waits = sorted([(await task).tier.waited_ms for task in tasks])
            # Nine are reckoned at some 1,020 tokens each, and use 1,000: a tenth does not fit.
            assert waits[:9] == [0] * 9
            assert all(0 < wait <= 60_000 for wait in waits[9:])

    asyncio.run(main())


def test_a_request_larger_than_the_whole_limit_never_passes() -> None:
    world = World(small=["small says"])
    agent = world.agent(tier_config=tier(max_tokens=None))
    with pytest.raises(RateLimitError, match=r"ask for fewer \(max_tokens=\)") as caught:
        ask(agent, user_id="u", max_tokens=20_000)
    assert caught.value.permanent
    assert caught.value.retry_after is None
    assert ask(agent, user_id="u", max_tokens=5_000).content
    assert len(world.asked) == 1


def test_more_than_was_reserved_is_counted_all_the_same() -> None:
    world = World(small=[{"text": "small says", "input_tokens": 8_000, "output_tokens": 1_900}])
    agent = world.agent(tier_config=tier())
    assert left(ask(agent, user_id="u")) == 100
    with pytest.raises(RateLimitError):
        ask(agent, user_id="u")
    world.clock.advance(60)
    assert ask(agent, user_id="u").content


def test_without_the_providers_figures_it_is_what_was_reckoned() -> None:
    world = World(small=[{"text": "small says", "usage": False}])
    agent = world.agent(tier_config=tier())
    assert OUTPUT < LIMIT - left(ask(agent, user_id="u")) < OUTPUT + 100


def test_a_cache_hit_uses_none() -> None:
    world = World(small=["small says"])

    async def main() -> None:
        async with world.agent(tier_config=tier(), cache="memory") as agent:
            for _ in range(3):
                assert left(await agent.run(QUESTION, user_id="u")) == LIMIT - 150

    asyncio.run(main())


def test_the_tier_and_everybody_together_have_limits_too() -> None:
    world = World(small=["small says"])
    tiers = Tiers(
        {
            "free": TierConfig(
                "free", tier_rate_limits=RateLimits(tokens_per_minute=3_000), max_tokens=500
            ),
            "pro": TierConfig("pro", max_tokens=500),
        },
        rate_limits=RateLimits(tokens_per_minute=6_000),
        clock=world.clock,
    )
    agent = world.agent(tier_config=tiers)
    result = ask(agent, user_id="a")
    remaining = {report.account: report.remaining for report in result.tier.limits}
    assert remaining == {"tier:free": 2_850, "global": 5_850}
    result = ask(agent, user_id="b", user_tier="pro")
    assert {each.account: each.remaining for each in result.tier.limits} == {"global": 5_700}


# Requests that do not end well


async def fails(agent: CascadeAgent) -> None:
    with pytest.raises(AllModelsFailedError):
        await agent.run(QUESTION, user_id="u", model="small")


async def breaks_off(agent: CascadeAgent) -> None:
    with pytest.raises(AllModelsFailedError):
        await read(agent.stream(QUESTION, user_id="u", model="small"))


async def is_cancelled(agent: CascadeAgent) -> None:
    task = asyncio.create_task(agent.run(QUESTION, user_id="u", model="small"))
    for _ in range(60):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def is_out_of_money(agent: CascadeAgent) -> None:
    # What an image costs at this provider nobody can say, so it is what the caller says.
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    with pytest.raises(BudgetExceededError):
        await agent.run(
            messages=[{"role": "user", "content": [image]}], user_id="u", max_extra_cost=1_000
        )


async def is_left(agent: CascadeAgent) -> None:
    stream = agent.stream(QUESTION, user_id="u", model="small", show_draft=True)
    async for event in stream:
        if type(event).__name__ == "TextChunk":
            break
    await stream.aclose()


@pytest.mark.parametrize(
    ("small", "way", "used"),
    [
        (500, fails, 0),  # surely not billed
        (429, fails, 0),
        (ConnectionError("reset"), fails, OUTPUT),  # perhaps it was
        ({"text": "it breaks off", "breaks": True}, breaks_off, OUTPUT),
        ("small says at length", is_left, OUTPUT),
        ("never", is_cancelled, OUTPUT),
        ("never", is_out_of_money, 0),
    ],
)
def test_what_a_broken_request_may_have_used_stays_counted(small: Any, way: Any, used: int) -> None:
    world = World(small=[small], calm=["calm says"])

    async def main() -> None:
        config = tier(budget=1)
        async with agent_of(world, tier_config=config) as agent:
            if small == "never":
                world.meanwhile = asyncio.Event().wait
            await way(agent)
            world.meanwhile = None
            taken = LIMIT - await left_before(agent)
            assert used <= taken <= (used and used + 100)
            world.clock.advance(61)
            assert LIMIT - await left_before(agent) == 0

    asyncio.run(main())


def test_a_failed_draft_and_the_answer_after_it_are_both_counted() -> None:
    world = World(small=[ConnectionError("reset")], big=["big says"])
    agent = world.agent(tier_config=tier())
    taken = LIMIT - left(ask(agent, user_id="u"))
    assert OUTPUT + 150 < taken < OUTPUT + 250


def test_a_hedged_draft_is_counted_twice() -> None:
    world = World(small=["small says"], middle=["middle says"], big=["big says"])
    world.clock = ManualClock(autojump=True)
    world.meanwhile = lambda: world.clock.sleep(100 if len(world.started) == 1 else 1)
    agent = world.agent(tier_config=tier(), hedge_after=1)
    taken = LIMIT - left(ask(agent, user_id="u"))
    assert world.asked == ["small", "middle"]
    assert OUTPUT + 150 < taken < OUTPUT + 250


# Tool loops


FULL_STEP = {"text": "I look it up", "calls": (CALL,), "input_tokens": 40, "output_tokens": OUTPUT}


def test_a_tool_loop_that_runs_out_stops_with_what_it_has() -> None:
    world = World(small=[FULL_STEP])
    result = ask(world.agent(tier_config=tier()), user_id="u", max_steps=50, **LOOP)
    assert result.tier.stopped_by == "user:u tokens_per_minute"
    assert result.content == "I look it up"
    assert result.finish_reason == "tool_calls"
    assert result.tool_calls == ()
    assert result.steps[-1].outcomes[0].content == "Oslo is in Norway"
    assert 5 < len(result.steps) == len(world.asked) < 10
    assert left(result) == LIMIT - (OUTPUT + 40) * len(world.asked)
    assert result.budget.action == "none"
    assert result.to_dict()["tier"]["stopped_by"] == "user:u tokens_per_minute"
    assert result.metadata["tier_stopped_by"] == "user:u tokens_per_minute"


def test_a_streamed_tool_loop_stops_too_and_its_place_is_free() -> None:
    world = World(small=[FULL_STEP], calm=["calm says"])

    async def main() -> None:
        async with agent_of(world, tier_config=tier(max_concurrency=1)) as agent:
            result = await read(
                agent.stream(QUESTION, user_id="u", model="small", max_steps=50, **LOOP)
            )
            assert result.tier.stopped_by == "user:u tokens_per_minute"
            assert 5 < len(result.steps) == len(world.asked) < 10
            world.clock.advance(61)
            assert (await agent.run("And?", user_id="u", model="calm")).content == "calm says"

    asyncio.run(main())


def test_a_tool_loop_within_the_limit_goes_on_to_its_end() -> None:
    call = {"text": "", "calls": (CALL,)}
    world = World(small=[call, call, "small says"])
    result = ask(world.agent(tier_config=tier()), user_id="u", **LOOP)
    assert result.tier.stopped_by is None
    assert result.content == "small says"
    assert left(result) == LIMIT - 3 * 150


def test_at_once_no_more_tokens_are_used_than_a_minute_allows() -> None:
    # What providers bill is never more than was reserved, so the limit holds to the token.
    world = World(
        small=[{"text": "BAD", "output_tokens": n % 900, "input_tokens": 5} for n in range(300)],
        big=[
            {"text": "big says", "output_tokens": n % 1_000, "input_tokens": 5} for n in range(300)
        ],
    )
    world.meanwhile = lambda: asyncio.sleep(0)

    async def main() -> None:
        async with world.agent(tier_config=tier()) as agent:
            passed, refused = await outcomes(
                *[agent.run(QUESTION, user_id="u") for _ in range(150)]
            )
            used = sum(result.usage.total_tokens for result in passed)
            assert used <= LIMIT
            assert len(passed) + len(refused) == 150
            assert min(left(result) for result in passed) >= 0

    asyncio.run(main())


@pytest.mark.parametrize("streamed", [False, True])
def test_more_tokens_than_anybody_can_count_cost_no_answer_and_no_place(streamed: bool) -> None:
    huge = 6 * 10**14  # each of two calls: together more than a limit can be
    world = World(
        small=[{"text": "BAD", "input_tokens": huge}],
        big=[{"text": "big says", "input_tokens": huge}],
    )

    async def main() -> None:
        async with world.agent(tier_config=tier(max_concurrency=1)) as agent:
            request: dict[str, Any] = {"query": QUESTION, "user_id": "u"}
            if streamed:
                result = await read(agent.stream(**request))
            else:
                result = await agent.run(**request)
            assert result.content == "big says"
            assert left(result) == 0
            with pytest.raises(RateLimitError) as refused:
                await agent.run(**request)
            assert refused.value.limit == "tokens_per_minute"

    asyncio.run(main())
