"""A till serves any number of threads and event loops, and outlives each of them."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from agent_world import World
from till_site import ANSWER, Calls, asks, held, queued, settled, site, waits

from cascadeflow.clock import SystemClock
from cascadeflow.pipeline.till import Till, _wake

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

FOR_EIGHTY = "0.0041"
"""Room for one call at a time, and for what eighty answers cost."""


def watched(world: World) -> list[int]:
    """By call: how many were under way when it was begun, over all loops."""
    under_way: list[int] = []
    lock = threading.Lock()
    open_calls = [0]

    async def meanwhile() -> None:
        with lock:
            open_calls[0] += 1
            under_way.append(open_calls[0])
        await asyncio.sleep(0)
        with lock:
            open_calls[0] -= 1

    world.meanwhile = meanwhile
    return under_way


@pytest.mark.parametrize("way", ["run_sync", "asyncio.run"])
def test_several_threads_that_share_an_agent_all_pass(way: str) -> None:
    world = World(small=[ANSWER])
    under_way = watched(world)
    config = waits(budget=FOR_EIGHTY, max_wait=600)
    options: dict[str, Any] = {"user_id": "ann", "max_tokens": 1000}
    agent = world.agent(tier_config=config, clock=SystemClock(), on_event=None)

    async def several() -> list[Any]:
        return await asyncio.gather(*[agent.run("Oslo?", **options) for _ in range(10)])

    def work(_: int) -> list[Any]:
        if way == "asyncio.run":
            return asyncio.run(several())
        return [agent.run_sync("Oslo?", **options) for _ in range(10)]

    with ThreadPoolExecutor(8) as threads:
        done = [each for results in threads.map(work, range(8)) for each in results]
    agent.close()
    assert len(done) == len(under_way) == 80
    assert max(under_way) == 1, "never two at once"
    assert held(agent) == 0


def test_a_loop_that_is_closed_takes_its_requests_out_of_the_line() -> None:
    world, calls = site()
    agent = world.agent(tier_config=waits(budget="0.0025"))
    errors: list[Any] = []

    def elsewhere() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda _, context: errors.append(context["message"]))
        tasks = [loop.create_task(_ask(agent)) for _ in range(2)]
        loop.run_until_complete(settled())
        assert not any(task.done() for task in tasks)
        loop.close()

    async def main() -> None:
        async with agent:
            first = asks(agent)
            await calls.begun(1)
            await asyncio.to_thread(elsewhere)
            assert len(queued(world)) == 2
            third = asks(agent)
            await settled()
            calls.let_go()
            await calls.begun(1)
            fourth = asks(agent)
            await settled()
            gc.collect()  # the lost requests end
            calls.let_go()
            await calls.begun(1)
            calls.let_go()
            await asyncio.gather(first, third, fourth)
            assert held(agent) == 0

    asyncio.run(main())
    gc.collect()
    assert all("pending" in message for message in errors)


async def _ask(agent: Any) -> Any:
    return await asks(agent)


def test_a_loop_that_stands_still_holds_up_nobody_and_keeps_its_place() -> None:
    world, calls = site()
    agent = world.agent(tier_config=waits(budget="0.0025", max_wait=1e6))
    loop = asyncio.new_event_loop()
    paused = loop.create_task(_ask(agent))

    async def main() -> None:
        async with agent:
            first = asks(agent)
            await calls.begun(1)
            await asyncio.to_thread(loop.run_until_complete, settled())
            assert not paused.done()
            second, third = asks(agent), asks(agent)
            await settled()
            calls.let_go()
            await calls.begun(1)
            calls.let_go()
            await first
            await second
            await calls.begun(1)

            async def go_on() -> Any:
                await settled()
                return len(queued(world))

            assert await asyncio.to_thread(loop.run_until_complete, go_on()) == 3
            assert not paused.done()
            calls.let_go()  # while it stands still
            await third
            elsewhere = Calls(world)

            async def end() -> None:
                await elsewhere.begun(1)
                elsewhere.let_go()
                await paused

            await asyncio.to_thread(loop.run_until_complete, end())

    asyncio.run(main())
    loop.close()


@needs_fork
def test_a_forked_child_waits_behind_nobody_of_its_parents() -> None:
    world, calls = site()
    agent = world.agent(tier_config=waits())

    async def in_child() -> None:
        task = asks(agent)
        await calls.begun(1)
        calls.let_go()
        assert (await task).tier.waited_ms == 0

    async def main() -> None:
        first = asks(agent)
        await calls.begun(1)
        second = asks(agent)
        await settled()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                asyncio.events._set_running_loop(None)
                calls.open.clear()
                asyncio.run(in_child())
                code = 0
            finally:
                os._exit(code)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        calls.let_go()
        await calls.begun(1)
        calls.let_go()
        await asyncio.gather(first, second)

    asyncio.run(main())


# The till alone


def test_ten_thousand_in_a_line_and_one_is_called() -> None:
    async def main() -> None:
        till = Till()
        places = [till.arrive() for _ in range(10_000)]
        for place in places:
            till.wait_for(place, "user:ann")
        assert [place.called for place in places] == [True] + [False] * 9_999
        assert till.take_turn(places[0], uncalled=False)
        till.returned()
        assert sum(place.called for place in places) == 1
        for number, place in enumerate(places):
            assert till.take_turn(place, uncalled=False), number
            till.leave(place)
        assert len(till) == 0

    asyncio.run(main())


def test_who_moves_to_another_line_stands_there_by_the_order_of_coming() -> None:
    async def main() -> None:
        till = Till()
        first, second, third = (till.arrive() for _ in range(3))
        till.wait_for(first, "user:ann")
        till.wait_for(third, "global")
        assert till.take_turn(third, uncalled=False)
        till.wait_for(second, "global")
        assert not till.take_turn(third, uncalled=True)
        assert till.ahead(third, ["user:bob", "global"]) == "global"
        till.wait_for(first, "global")
        assert not till.take_turn(second, uncalled=True)
        till.leave(first)
        assert till.take_turn(second, uncalled=False), "it is called when the one before it leaves"
        till.leave(third)
        assert not second.called
        assert till.ahead(till.arrive(), ["user:ann"]) is None

    asyncio.run(main())


def test_what_a_garbage_collection_ends_in_the_midst_of_a_step_is_noted_and_not_waited_for() -> (
    None
):
    async def main() -> None:
        till = Till()
        first, second = till.arrive(), till.arrive()
        till.wait_for(first, "user:ann")
        till.wait_for(second, "user:ann")
        with till._lock:  # a step of this very thread
            till.leave(first)
            till.returned()
        assert till.take_turn(second, uncalled=True) or till.take_turn(second, uncalled=True)
        assert len(till) == 1

    asyncio.run(main())


def test_to_wake_a_loop_that_was_closed_in_this_moment_harms_nobody() -> None:
    loop = asyncio.new_event_loop()
    till = Till()

    async def arrive() -> Any:
        place = till.arrive()
        place.future = asyncio.get_running_loop().create_future()
        return place

    place = loop.run_until_complete(arrive())
    loop.close()
    _wake(place)
    assert not place.future.done()
