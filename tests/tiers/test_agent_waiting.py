"""Under `on_limit="wait"` a request waits for its turn, as long as it may, and loses nothing."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
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
    TierForbiddenError,
    Tiers,
)
from cascadeflow.clock import SystemClock
from cascadeflow.pipeline import events

HOUR = 3600.0
A_NANOSECOND = 1e-9


def waiting(max_wait: float = 2 * HOUR, **fields: Any) -> dict[str, TierConfig]:
    fields = {"rate_limits": RateLimits(per_hour=1), **fields}
    return {"free": TierConfig("free", on_limit="wait", max_wait=max_wait, **fields)}


async def settled() -> None:
    for _ in range(60):
        await asyncio.sleep(0)


def queued(world: World) -> list[events.RequestQueued]:
    return [event for event in world.events if isinstance(event, events.RequestQueued)]


@pytest.mark.parametrize("streamed", [False, True])
def test_it_passes_at_its_moment_and_not_a_nanosecond_earlier(streamed: bool) -> None:
    world = World(small=["small says"])

    async def main() -> None:
        async with world.agent(tier_config=waiting()) as agent:
            first = await agent.run(QUESTION, user_id="u")
            assert first.tier.waited_ms == 0
            assert queued(world) == []
            way = (
                read(agent.stream(QUESTION, user_id="u"))
                if streamed
                else agent.run(QUESTION, user_id="u")
            )
            task = asyncio.create_task(way)
            await settled()
            (told,) = queued(world)
            assert (told.tier, told.limit) == ("free", "user:u per_hour")
            await world.clock.run_for(HOUR - A_NANOSECOND)
            await settled()
            assert not task.done()
            assert world.asked == ["small"]
            await world.clock.run_for(A_NANOSECOND)
            result = await task
            assert result.content == "small says"
            assert result.tier.waited_ms == HOUR * 1000
            assert result.timing.total_ms == HOUR * 1000
            assert result.timing.overhead_ms == 0
            assert result.tier.headers["X-RateLimit-Remaining"] == "0"

    asyncio.run(main())


@pytest.mark.parametrize("streamed", [False, True])
def test_at_its_deadline_it_is_refused_and_told_how_long_it_waited(streamed: bool) -> None:
    world = World(small=["small says"])

    async def main() -> None:
        async with world.agent(tier_config=waiting(max_wait=10.0)) as agent:
            await agent.run(QUESTION, user_id="u")
            way = (
                read(agent.stream(QUESTION, user_id="u"))
                if streamed
                else agent.run(QUESTION, user_id="u")
            )
            task = asyncio.create_task(way)
            await settled()
            await world.clock.run_for(10.0)
            with pytest.raises(RateLimitError) as caught:
                await task
            error = caught.value
            assert (error.account, error.limit) == ("user:u", "per_hour")
            assert error.waited_ms == 10_000
            assert "waited 10 s" in str(error)
            assert world.kinds()[-1] == "RequestFailed"
            # It took nothing: the next one passes when the first one's hour is over.
            await world.clock.run_for(HOUR - 10)
            assert (await agent.run(QUESTION, user_id="u")).tier.waited_ms == 0

    asyncio.run(main())


def test_a_batch_waits_for_each_of_its_own() -> None:
    world = World(small=["small says"])

    async def main() -> None:
        config = waiting(rate_limits=RateLimits(per_second=1, burst_per_second=0))
        async with world.agent(tier_config=config) as agent:
            task = asyncio.create_task(agent.run_batch([QUESTION] * 9, user_id="u"))
            await settled()
            for second in range(8):
                assert len(world.asked) == second + 1
                await world.clock.run_for(1.0)
                await settled()
            batch = await task
            assert batch.success_count == 9
            waits = sorted(result.tier.waited_ms for result in batch if result)
            assert waits == [1000 * second for second in range(9)]

    asyncio.run(main())


def test_from_several_threads_everybody_passes_in_time() -> None:
    world = World(small=["small says"])
    config = waiting(rate_limits=RateLimits(per_second=500, burst_per_second=0))
    with (
        world.agent(tier_config=config, clock=SystemClock()) as agent,
        ThreadPoolExecutor(8) as threads,
    ):
        done = list(
            threads.map(lambda i: agent.run_sync(f"{QUESTION} {i}", user_id="u"), range(32))
        )
    assert len(world.asked) == len(done) == 32
    assert sum(result.tier.waited_ms > 0 for result in done) > 0


def test_turns_go_by_the_tiers_priorities() -> None:
    world = World(small=["small says"])
    tiers = Tiers(
        {
            name: TierConfig(name, priority=weight, on_limit="wait", max_wait=HOUR)
            for name, weight in (("free", 1), ("pro", 4))
        },
        rate_limits=RateLimits(per_second=1, burst_per_second=0),
        clock=world.clock,
    )

    async def main() -> None:
        async with world.agent(tier_config=tiers) as agent:
            await agent.run(QUESTION, user_id="x", user_tier="pro")
            tasks = [
                asyncio.create_task(agent.run(name, user_id=name, user_tier=name))
                for _ in range(20)
                for name in ("free", "pro")
            ]
            await settled()
            await world.clock.run_for(25.0)
            served = [body["messages"][0]["content"] for body in world.bodies[1:]]
            assert len(served) == 25
            assert served.count("pro") == 20
            assert served.count("free") == 5
            assert "free" in served[:6]  # nobody waits for ever
            await world.clock.run_for(15.0)
            assert all(task.done() for task in tasks)

    asyncio.run(main())


def test_who_does_not_wait_overtakes_nobody_who_does() -> None:
    world = World(small=["small says"])
    tiers = Tiers(
        {
            "free": TierConfig("free", on_limit="wait", max_wait=HOUR),
            "hasty": TierConfig("hasty"),
        },
        rate_limits=RateLimits(per_second=1, burst_per_second=0),
        clock=world.clock,
    )

    async def main() -> None:
        async with world.agent(tier_config=tiers) as agent:
            await agent.run(QUESTION, user_id="a")
            tasks = [asyncio.create_task(agent.run(QUESTION, user_id="a")) for _ in range(3)]
            await settled()
            for _ in range(3):
                with pytest.raises(RateLimitError) as caught:
                    await agent.run(QUESTION, user_id="b", user_tier="hasty")
                assert not caught.value.permanent
                await world.clock.run_for(1.0)
            assert all(task.done() for task in tasks)
            await world.clock.run_for(1.0)
            assert (await agent.run(QUESTION, user_id="b", user_tier="hasty")).content

    asyncio.run(main())


def test_what_never_fits_is_refused_at_once() -> None:
    world = World(small=["small says"])
    for limits in (RateLimits(per_hour=0), RateLimits(tokens_per_minute=50)):
        agent = world.agent(tier_config=waiting(rate_limits=limits))
        with pytest.raises(RateLimitError) as caught:
            ask(agent, user_id="u", max_tokens=100)
        assert caught.value.permanent
        assert caught.value.retry_after is None
        assert caught.value.waited_ms == 0
    assert world.asked == []
    assert queued(world) == []


def test_what_the_tier_forbids_does_not_wait_first() -> None:
    world = World(small=["small says"])

    async def main() -> None:
        config = waiting(features=["streaming"])
        async with world.agent(tier_config=config) as agent:
            await agent.run(QUESTION, user_id="u")
            with pytest.raises(TierForbiddenError):
                await agent.run(QUESTION, user_id="u", extra={"seed": 1})

    asyncio.run(main())
    assert queued(world) == []


def test_no_more_wait_than_the_queue_has_places() -> None:
    world = World(small=["small says"])
    tiers = Tiers(waiting(), queue_size=2, clock=world.clock)

    async def main() -> None:
        async with world.agent(tier_config=tiers) as agent:
            await agent.run(QUESTION, user_id="u")
            tasks = [asyncio.create_task(agent.run(QUESTION, user_id="u")) for _ in range(2)]
            await settled()
            with pytest.raises(RateLimitError, match="2 requests wait already") as caught:
                await agent.run(QUESTION, user_id="u")
            assert caught.value.limit == "queue"
            # Whose own limit has room needs no place to wait in.
            assert (await agent.run(QUESTION, user_id="v")).tier.waited_ms == 0
            await world.clock.run_for(HOUR)
            assert [task.done() for task in tasks] == [True, False]
            await world.clock.run_for(HOUR)
            assert (await tasks[1]).tier.waited_ms == 2 * HOUR * 1000

    asyncio.run(main())


def test_a_queue_without_places_lets_nobody_wait() -> None:
    world = World(small=["small says"])
    tiers = Tiers(waiting(), queue_size=0, clock=world.clock)
    agent = world.agent(tier_config=tiers)
    assert ask(agent, user_id="u").content
    with pytest.raises(RateLimitError):
        ask(agent, user_id="u")


# What ends the waiting


def test_a_requests_own_timeout_ends_its_waiting_and_takes_nothing() -> None:
    world = World(small=["small says"])

    async def main() -> None:
        async with world.agent(tier_config=waiting(), clock=SystemClock()) as agent:
            await agent.run(QUESTION, user_id="u")
            for way in (
                agent.run(QUESTION, user_id="u", timeout=0.01),
                read(agent.stream(QUESTION, user_id="u", timeout=0.01)),
            ):
                with pytest.raises(AllModelsFailedError, match="its turn under the rate limits"):
                    await way
            assert len(world.asked) == 1
            assert world.kinds()[-1] == "RequestFailed"

    asyncio.run(main())


def test_a_request_that_is_cancelled_while_it_waits_takes_no_turn() -> None:
    world = World(small=["small says"])

    async def main() -> None:
        async with world.agent(tier_config=waiting()) as agent:
            await agent.run(QUESTION, user_id="u")
            tasks = [asyncio.create_task(agent.run(QUESTION, user_id="u")) for _ in range(10)]
            await settled()
            for task in tasks[:9]:
                task.cancel()
            await world.clock.run_for(HOUR)
            assert (await tasks[9]).tier.waited_ms == HOUR * 1000
            assert all(task.cancelled() for task in tasks[:9])
            assert len(world.asked) == 2

    asyncio.run(main())


@pytest.mark.parametrize("after", range(8))
def test_a_cancel_in_the_moment_in_which_it_passes_loses_no_place(after: int) -> None:
    world = World(small=["small says"])
    config = waiting(rate_limits=RateLimits(per_hour=1), max_concurrency=1)

    async def main() -> None:
        async with world.agent(tier_config=config) as agent:
            await agent.run(QUESTION, user_id="u")
            tasks = [asyncio.create_task(agent.run(QUESTION, user_id="u")) for _ in range(2)]
            await settled()
            world.clock.advance(HOUR)
            for _ in range(after):
                await asyncio.sleep(0)
            tasks[0].cancel()
            await settled()
            (first,) = await asyncio.gather(tasks[0], return_exceptions=True)
            if len(world.asked) == 2 and isinstance(first, asyncio.CancelledError):
                # It had been sent, so its hour is used, or it was not and the other one passed.
                await world.clock.run_for(HOUR)
            elif not isinstance(first, asyncio.CancelledError):
                await world.clock.run_for(HOUR)
            assert tasks[1].done()
            result = await tasks[1]
            assert {
                each.remaining for each in result.tier.limits if each.limit == "concurrent"
            } == {1}

    asyncio.run(main())


def test_a_stream_that_is_left_while_it_waits_takes_no_turn() -> None:
    world = World(small=["small says"])

    async def main() -> None:
        async with world.agent(tier_config=waiting()) as agent:
            await agent.run(QUESTION, user_id="u")
            task = asyncio.create_task(read(agent.stream(QUESTION, user_id="u")))
            other = asyncio.create_task(agent.run(QUESTION, user_id="u"))
            await settled()
            task.cancel()
            await world.clock.run_for(HOUR)
            assert (await other).tier.waited_ms == HOUR * 1000

    asyncio.run(main())


def test_a_request_that_waited_and_that_its_budget_refuses_lets_the_next_one_pass() -> None:
    world = World(small=["small says"])
    config = waiting(rate_limits=None, tier_rate_limits=RateLimits(per_hour=1), budget=1)

    async def main() -> None:
        async with world.agent(tier_config=config) as agent:
            await agent.run(QUESTION, user_id="u")
            dear = asyncio.create_task(agent.run(QUESTION, user_id="u", max_tokens=10_000_000))
            cheap = asyncio.create_task(agent.run(QUESTION, user_id="v"))
            await settled()
            await world.clock.run_for(HOUR)
            with pytest.raises(BudgetExceededError):
                await dear
            assert (await cheap).tier.waited_ms == HOUR * 1000

    asyncio.run(main())


def test_while_others_come_and_go_nobody_is_forgotten() -> None:
    world = World(small=["small says"])
    world.meanwhile = lambda: asyncio.sleep(0)
    config = waiting(rate_limits=RateLimits(per_second=5, burst_per_second=0), max_concurrency=2)

    async def visit(agent: CascadeAgent, number: int) -> Any:
        return await agent.run(QUESTION, user_id=f"u{number % 3}")

    async def main() -> None:
        async with world.agent(tier_config=config) as agent:
            tasks = [asyncio.create_task(visit(agent, number)) for number in range(120)]
            await settled()
            for task in tasks[::7]:
                task.cancel()
            await world.clock.run_for(30.0)
            passed, refused = await outcomes(
                *[task for index, task in enumerate(tasks) if index % 7]
            )
            assert len(passed) == 120 - len(tasks[::7])
            assert refused == []

    asyncio.run(main())


def test_an_end_of_the_event_loop_forgets_who_waited_on_it() -> None:
    world = World(small=["small says"])
    agent = world.agent(tier_config=waiting())

    async def gone() -> None:
        await agent.run(QUESTION, user_id="u")
        task = asyncio.create_task(agent.run(QUESTION, user_id="u"))
        await until(lambda: bool(queued(world)))
        assert not task.done()  # asyncio.run cancels it

    asyncio.run(gone())
    world.clock.advance(HOUR)
    assert ask(agent, user_id="u").tier.waited_ms == 0
