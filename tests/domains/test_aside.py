"""Work done elsewhere: on threads that are the room's own, and that end with it."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings

import pytest

from cascadeflow.domains.aside import Aside

PATIENCE = 30.0


def threads(name: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith(name)]


def test_it_is_done_in_a_thread_of_its_own_and_what_it_raises_is_raised() -> None:
    async def main() -> None:
        aside = Aside(1, "aside-a")
        assert threads("aside-a") == []
        assert (await aside.run(threading.current_thread)).name.startswith("aside-a")
        with pytest.raises(ZeroDivisionError):
            await aside.run(lambda: 1 // 0)
        aside.rest()

    asyncio.run(main())


def test_no_more_threads_than_were_said_and_whoever_waits_can_take_it_back() -> None:
    async def main() -> None:
        aside, go, done = Aside(2, "aside-b"), threading.Event(), []
        busy = [asyncio.ensure_future(aside.run(lambda: go.wait(PATIENCE))) for _ in range(2)]
        last = asyncio.ensure_future(aside.run(lambda: done.append("taken back")))
        after = asyncio.ensure_future(aside.run(lambda: done.append("done")))
        await asyncio.sleep(0)
        assert len(threads("aside-b")) == 2
        last.cancel()
        await asyncio.gather(last, return_exceptions=True)
        go.set()
        await asyncio.gather(*busy, after)
        assert done == ["done"]
        aside.rest()

    asyncio.run(main())


def test_at_rest_its_threads_end_when_all_is_done_and_work_begins_others() -> None:
    async def main() -> None:
        aside, go = Aside(1, "aside-c"), threading.Event()
        work = [asyncio.ensure_future(aside.run(lambda: go.wait(PATIENCE))) for _ in range(3)]
        await asyncio.sleep(0)
        (thread,) = threads("aside-c")
        aside.rest()
        aside.rest()
        go.set()
        assert await asyncio.gather(*work) == [True] * 3
        await asyncio.to_thread(thread.join, PATIENCE)
        assert threads("aside-c") == []
        assert await aside.run(lambda: "again") == "again"
        aside.rest()

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_begins_threads_of_its_own() -> None:
    aside = Aside(1, "aside-d")
    assert asyncio.run(aside.run(lambda: 1)) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it has threads, as meant
        child = os.fork()
    if child == 0:
        with_own = asyncio.new_event_loop().run_until_complete(aside.run(lambda: 7))
        os._exit(with_own)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    aside.rest()
