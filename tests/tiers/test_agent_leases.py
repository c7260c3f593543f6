"""Never more at once than the tier lets, and whatever ends a request gives its place back."""

from __future__ import annotations

import asyncio
import gc
import random
from typing import Any

import pytest
from agent_world import QUESTION, World, ask, outcomes, read, until

from cascadeflow import (
    AllModelsFailedError,
    BudgetExceededError,
    CascadeAgent,
    MissingKeyError,
    QualityConfig,
    RateLimitError,
    RateLimits,
    TierConfig,
    TierForbiddenError,
    Tiers,
)
from cascadeflow.clock import SystemClock
from cascadeflow.pipeline import events
from cascadeflow.testing import ManualClock

MOST = 3
LEASED = "concurrent"


def tiers_of(**fields: Any) -> dict[str, TierConfig]:
    return {"free": TierConfig("free", **{"max_concurrency": MOST, **fields})}


async def places(agent: CascadeAgent, user: str = "u") -> int:
    """How many places the user has left; it takes one, asks, and gives it back."""
    result = await agent.run("How many are left?", user_id=user, use_cache=False)
    reports = [each for each in result.tier.limits if each.limit == LEASED]
    assert {report.resets_after for report in reports} == {None}
    return min(report.remaining for report in reports)


async def never() -> None:
    await asyncio.Event().wait()


def test_no_more_than_the_tier_lets_are_under_way_and_the_rest_are_refused() -> None:
    world = World(small=["small says"])
    go_on = asyncio.Event()
    world.meanwhile = go_on.wait

    async def main() -> None:
        async with world.agent(tier_config=tiers_of()) as agent:
            tasks = [asyncio.create_task(agent.run(QUESTION, user_id="u")) for _ in range(20)]
            await until(lambda: world.transport.open_exchanges == MOST)
            await until(lambda: sum(task.done() for task in tasks) == 20 - MOST)
            other = asyncio.create_task(agent.run(QUESTION, user_id="somebody else"))
            await until(lambda: world.transport.open_exchanges == MOST + 1)
            go_on.set()
            await other
            passed, refused = await outcomes(*tasks)
            assert len(passed) == MOST
            for error in refused:
                assert (error.account, error.limit) == ("user:u", "concurrent")
                assert (error.allowed, error.retry_after) == (MOST, None)
                assert not error.permanent
                assert "Retry-After" not in error.headers
            assert world.most_at_once == MOST + 1
            assert await places(agent) == MOST

    asyncio.run(main())


def test_who_waits_passes_when_another_ends_and_never_more_at_once() -> None:
    world = World(small=["small says"])
    world.meanwhile = lambda: asyncio.sleep(0)

    async def main() -> None:
        async with world.agent(tier_config=tiers_of(on_limit="wait")) as agent:
            done = await asyncio.gather(
                *[agent.run(f"{QUESTION} {i}", user_id="u") for i in range(50)]
            )
            assert len(done) == 50
            assert world.most_at_once == MOST
            asked = [body["messages"][0]["content"] for body in world.bodies]
            assert asked == [f"{QUESTION} {i}" for i in range(50)]  # in the order they came
            assert await places(agent) == MOST

    asyncio.run(main())


def test_the_tier_and_everybody_together_have_places_too() -> None:
    world = World(small=["small says"])
    world.meanwhile = lambda: asyncio.sleep(0)
    tiers = Tiers(
        {
            "free": TierConfig("free", max_concurrency=2, tier_max_concurrency=4),
            "pro": TierConfig("pro"),
        },
        max_concurrency=6,
        clock=world.clock,
    )

    async def main() -> None:
        async with world.agent(tier_config=tiers) as agent:
            passed, refused = await outcomes(
                *[agent.run(QUESTION, user_id=f"u{i % 5}") for i in range(20)],
                *[agent.run(QUESTION, user_id="p", user_tier="pro") for _ in range(20)],
            )
            assert len(passed) == 6 == world.most_at_once
            assert {error.account for error in refused} == {"tier:free", "global"}
            assert {error.retry_after for error in refused} == {None}
            passed, _ = await outcomes(
                *[agent.run(QUESTION, user_id="p", user_tier="pro") for _ in range(20)]
            )
            assert len(passed) == 6

    asyncio.run(main())


def test_a_batch_asks_no_more_at_once_than_its_tier_lets() -> None:
    world = World(small=["small says"])
    world.meanwhile = lambda: asyncio.sleep(0)

    async def main() -> None:
        async with world.agent(tier_config=tiers_of()) as agent:
            batch = await agent.run_batch([QUESTION] * 30, concurrency=8, user_id="u")
            assert batch.success_count == 30
            assert world.most_at_once == MOST
            one = await agent.run_batch([QUESTION] * 4, concurrency=1, user_id="u")
            assert one.success_count == 4

    asyncio.run(main())


def test_none_at_once_is_none_at_all() -> None:
    world = World(small=["small says"])
    for on_limit in ("refuse", "wait"):
        agent = world.agent(tier_config=tiers_of(max_concurrency=0, on_limit=on_limit))
        with pytest.raises(RateLimitError) as caught:
            ask(agent, user_id="u")
        assert caught.value.permanent
    assert world.asked == []


# What gives the place back


async def an_answer(_: World, agent: CascadeAgent) -> None:
    await agent.run(QUESTION, user_id="u")


async def an_escalation(_: World, agent: CascadeAgent) -> None:
    result = await agent.run(QUESTION, user_id="u", quality_config=QualityConfig(threshold=1.0))
    assert result.routing.escalated


async def an_error(_: World, agent: CascadeAgent) -> None:
    with pytest.raises(AllModelsFailedError):
        await agent.run(QUESTION, user_id="u", model="middle")


async def a_missing_key(_: World, agent: CascadeAgent) -> None:
    with pytest.raises(MissingKeyError):
        await agent.run(QUESTION, user_id="u", model="keyless")


async def a_budget(_: World, agent: CascadeAgent) -> None:
    with pytest.raises(BudgetExceededError):
        await agent.run(QUESTION, user_id="u", max_tokens=100_000_000)


async def a_tier_that_forbids(_: World, agent: CascadeAgent) -> None:
    with pytest.raises(TierForbiddenError):
        await agent.run(QUESTION, user_id="u", domain="legal")


async def a_cancel(world: World, agent: CascadeAgent) -> None:
    world.meanwhile = never
    task = asyncio.create_task(agent.run(QUESTION, user_id="u"))
    await until(lambda: world.transport.open_exchanges == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def a_timeout(world: World, agent: CascadeAgent) -> None:
    world.meanwhile = never
    with pytest.raises(AllModelsFailedError):
        await agent.run(QUESTION, user_id="u", timeout=0.01)


async def a_cancelled_batch(world: World, agent: CascadeAgent) -> None:
    world.meanwhile = never
    task = asyncio.create_task(agent.run_batch([QUESTION] * 9, user_id="u"))
    await until(lambda: world.transport.open_exchanges == MOST)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def a_whole_stream(_: World, agent: CascadeAgent) -> None:
    await read(agent.stream(QUESTION, user_id="u"))


async def a_stream_that_breaks(_: World, agent: CascadeAgent) -> None:
    with pytest.raises(AllModelsFailedError):
        await read(agent.stream(QUESTION, user_id="u", model="breaking"))


async def a_stream_that_is_left(_: World, agent: CascadeAgent) -> None:
    stream = agent.stream(QUESTION, user_id="u", show_draft=True)
    async for event in stream:
        if isinstance(event, events.TextChunk):
            break
    await stream.aclose()


async def a_stream_that_is_left_before_it_began(_: World, agent: CascadeAgent) -> None:
    stream = agent.stream(QUESTION, user_id="u")
    await stream.aclose()


async def a_stream_that_is_forgotten(_: World, agent: CascadeAgent) -> None:
    stream = agent.stream(QUESTION, user_id="u", show_draft=True)
    assert isinstance(await anext(stream), events.RequestStarted)
    del stream
    gc.collect()
    for _turn in range(20):  # the loop closes what nobody refers to
        await asyncio.sleep(0)


async def a_cancelled_stream(world: World, agent: CascadeAgent) -> None:
    world.meanwhile = never
    task = asyncio.create_task(read(agent.stream(QUESTION, user_id="u")))
    await until(lambda: world.transport.open_exchanges == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def a_tool_that_ends_the_request(_: World, agent: CascadeAgent) -> None:
    class Stop(BaseException):
        pass

    def lookup(city: str) -> str:
        """Says where a city is."""
        raise Stop(city)

    with pytest.raises(Stop):
        await agent.run(QUESTION, user_id="u", model="calling", tools=[lookup], tool_executor=True)


async def a_listener_that_ends_the_program(world: World, agent: CascadeAgent) -> None:
    class Halt(BaseException):
        pass

    class Told(list[Any]):
        def append(self, event: Any) -> None:
            if isinstance(event, events.CallFinished):
                raise Halt

    heard = world.agent("small", tier_config=agent.tiers, on_event=Told().append)
    with pytest.raises(Halt):
        await heard.run(QUESTION, user_id="u")


ENDINGS = [
    an_answer,
    an_escalation,
    an_error,
    a_missing_key,
    a_budget,
    a_tier_that_forbids,
    a_cancel,
    a_timeout,
    a_cancelled_batch,
    a_whole_stream,
    a_stream_that_breaks,
    a_stream_that_is_left,
    a_stream_that_is_left_before_it_began,
    a_stream_that_is_forgotten,
    a_cancelled_stream,
    a_tool_that_ends_the_request,
    a_listener_that_ends_the_program,
]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_place_is_free_again_after(ending: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    call = {"text": "", "calls": (("c1", "lookup", '{"city": "Oslo"}'),)}
    world = World(
        small=["small says at length"],
        middle=[500],
        big=["big says"],
        breaking=[{"text": "it breaks off", "breaks": True}],
        calling=[call],
        keyless=["never"],
    )
    models = [
        world.model("small"),
        world.model("breaking", like="small"),
        world.model("calling", like="small"),
        world.model("keyless", like="small", api_key=None),
        world.model("middle"),
        world.model("big"),
    ]
    config = tiers_of(
        tier_max_concurrency=MOST,
        budget=1,
        domains=["general"],
        blocked_models=["nobody"],
    )

    async def main() -> None:
        options = {"models": models, "order": "given", "clock": SystemClock()}
        async with world.agent(tier_config=config, **options) as agent:
            for _ in range(MOST + 1):
                await ending(world, agent)
                world.meanwhile = None
            assert await places(agent) == MOST

    asyncio.run(main())


def test_a_stream_whose_loop_is_gone_gives_its_place_back() -> None:
    world = World(small=["small says at length"])
    agent = world.agent(tier_config=tiers_of(max_concurrency=1))
    loop = asyncio.new_event_loop()
    stream = agent.stream(QUESTION, user_id="u", show_draft=True)
    assert isinstance(loop.run_until_complete(anext(stream)), events.RequestStarted)
    loop.close()
    with pytest.raises(RateLimitError):
        ask(agent, user_id="u")
    del stream
    world.events.clear()
    gc.collect()
    assert ask(agent, user_id="u").content


def test_who_waits_for_the_place_of_a_forgotten_stream_gets_it() -> None:
    world = World(small=["small says at length"])
    config = tiers_of(max_concurrency=1, on_limit="wait", max_wait=3600)
    agent = world.agent(tier_config=config)
    loop = asyncio.new_event_loop()
    streams = [agent.stream(QUESTION, user_id="u", show_draft=True)]
    loop.run_until_complete(anext(streams[0]))
    loop.close()

    async def main() -> None:
        async with agent:
            task = asyncio.create_task(agent.run(QUESTION, user_id="u"))
            await until(lambda: "RequestQueued" in world.kinds())
            assert not task.done()
            streams.clear()
            world.events.clear()
            gc.collect()
            await until(task.done)
            assert task.result().tier.waited_ms == 0  # no time passed

    asyncio.run(main())


def test_a_hedged_request_has_one_place() -> None:
    world = World(small=["small says"], middle=["middle says"], big=["big says"])
    world.clock = ManualClock(autojump=True)
    world.meanwhile = lambda: world.clock.sleep(10)

    async def main() -> None:
        config = tiers_of(max_concurrency=1)
        async with world.agent(tier_config=config, hedge_after=1) as agent:
            for _ in range(3):
                await agent.run(QUESTION, user_id="u")
            assert world.most_at_once == 2
            assert len(world.asked) == 6
            assert await places(agent) == 1

    asyncio.run(main())


def test_a_cache_hit_takes_a_place_and_gives_it_back() -> None:
    world = World(small=["small says"])

    async def main() -> None:
        async with world.agent(tier_config=tiers_of(max_concurrency=1), cache="memory") as agent:
            for route in ("direct", "cache", "cache", "cache"):
                result = await agent.run(QUESTION, user_id="u")
                assert result.routing.route == route
                assert result.tier.limits[0].remaining == 1

    asyncio.run(main())


def test_a_request_from_within_a_request_needs_a_place_of_its_own() -> None:
    call = {"text": "", "calls": (("c1", "deeper", "{}"),)}
    world = World(small=[call, "inner", "outer"])

    async def main() -> None:
        async with world.agent(tier_config=tiers_of(max_concurrency=2)) as agent:

            async def deeper() -> str:
                """Asks again."""
                return (await agent.run(QUESTION, user_id="u")).content

            result = await agent.run(
                QUESTION, user_id="u", tools=[deeper], tool_executor=True, timeout=60
            )
            assert result.content == "outer"
            assert await places(agent) == 2

    asyncio.run(main())


@pytest.mark.parametrize("on_limit", ["refuse", "wait"])
def test_a_thousand_tasks_with_random_cancels_leave_every_place_free(on_limit: Any) -> None:
    choose = random.Random(20261201)
    world = World(
        small=["small says", "BAD", 500, {"text": "it breaks", "breaks": True}] * 200,
        big=["big says", 500, "big says"] * 300,
        calm=["calm says"],
    )
    models = [world.model("small"), world.model("calm", like="spare"), world.model("big")]

    async def meanwhile() -> None:
        for _ in range(choose.randrange(6)):
            await asyncio.sleep(0)

    world.meanwhile = meanwhile
    config = tiers_of(
        on_limit=on_limit, tier_max_concurrency=7, rate_limits=RateLimits(per_hour=100_000)
    )
    tiers = Tiers(config, max_concurrency=6, clock=world.clock)

    async def one(agent: CascadeAgent, number: int) -> None:
        user = f"u{number % 4}"
        if number % 3 == 0:
            stream = agent.stream(QUESTION, user_id=user, show_draft=bool(number % 2))
            try:
                async for _ in stream:
                    if choose.random() < 0.05:
                        break
            finally:
                await stream.aclose()
        else:
            await agent.run(QUESTION, user_id=user)

    async def main() -> None:
        async with world.agent(models=models, tier_config=tiers) as agent:
            tasks = []
            for number in range(1_000):
                tasks.append(asyncio.create_task(one(agent, number)))
                if choose.random() < 0.3:
                    await asyncio.sleep(0)
                if choose.random() < 0.4:
                    choose.choice(tasks[-10:]).cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            wrong = [
                each
                for each in done
                if isinstance(each, BaseException)
                and not isinstance(
                    each, asyncio.CancelledError | RateLimitError | AllModelsFailedError
                )
            ]
            assert wrong == []
            assert sum(isinstance(each, asyncio.CancelledError) for each in done) > 50
            assert sum(each is None for each in done) > 50
            assert world.most_at_once <= 6
            world.meanwhile = None
            for user in ("u0", "u1", "u2", "u3"):
                result = await agent.run("And now?", user_id=user, model="calm")
                left = {e.account: e.remaining for e in result.tier.limits if e.limit == LEASED}
                assert left == {f"user:{user}": MOST, "tier:free": 7, "global": 6}

    asyncio.run(main())
