"""One question for all who want to know, on every event loop, whoever leaves meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from directory_site import SECRET, Site, turns

from cascadeflow.tiers.directory import Membership

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def test_a_hundred_requests_of_one_user_put_one_question() -> None:
    site = Site(slow=True)

    async def main() -> None:
        asking = [asyncio.create_task(site.find()) for _ in range(100)]
        await turns()
        site.let_go()
        members = await asyncio.gather(*asking)
        assert len({id(member) for member in members}) == 1
        assert members[0].tier.name == "pro"

    asyncio.run(main())
    assert site.asked == {"ann": 1}
    assert site.directory._open == {}


def test_users_are_asked_about_side_by_side() -> None:
    gate = asyncio.Event()

    async def resolver(user_id: str) -> str:
        await gate.wait()
        return {"ann": "pro"}.get(user_id, "free")

    site = Site(resolver=resolver)

    async def main() -> dict[str, str]:
        asking = {user: asyncio.create_task(site.find(user)) for user in ("ann", "bob", "cid")}
        await turns()
        gate.set()
        return {user: (await task).tier.name for user, task in asking.items()}

    assert asyncio.run(main()) == {"ann": "pro", "bob": "free", "cid": "free"}


@pytest.mark.parametrize("leaves", [{0}, {1, 2}, {0, 1, 2}])
def test_who_is_cancelled_leaves_the_question_to_the_others(leaves: set[int]) -> None:
    site = Site(slow=True)

    async def main() -> None:
        asking = [asyncio.create_task(site.find()) for _ in range(3)]
        await turns()
        for number in leaves:
            asking[number].cancel()
        await turns()
        site.let_go()
        got = await asyncio.gather(*asking, return_exceptions=True)
        for number, result in enumerate(got):
            if number in leaves:
                assert isinstance(result, asyncio.CancelledError)
            else:
                assert isinstance(result, Membership)
                assert result.tier.name == "pro"
        await turns()
        assert site.directory.known("ann", None) is not None

    asyncio.run(main())
    assert (site.asked, site.cancelled) == ({"ann": 1}, 0)


@pytest.mark.parametrize("slow", [False, True])
def test_a_resolver_that_cancels_itself_cancels_no_request(slow: bool) -> None:
    async def resolver(_: str) -> str:
        if slow:
            await asyncio.sleep(0)
        raise asyncio.CancelledError

    site = Site(resolver=resolver)

    async def main() -> Membership:
        return await site.find()

    assert asyncio.run(main()).reason == "the resolver was cancelled: default"
    assert site.directory.known("ann", None) is None


def test_a_resolver_that_ends_the_process_is_not_kept_from_it() -> None:
    site = Site(answer=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        site.find_now()
    assert site.directory._open == {}
    site.answer = "pro"
    assert site.find_now().tier.name == "pro"


def test_a_loop_that_ends_takes_its_questions_with_it_and_the_next_one_asks_anew() -> None:
    site = Site(slow=True)

    held: list[asyncio.Task[Membership]] = []

    async def leave() -> None:
        held.append(asyncio.create_task(site.find()))
        await turns()

    asyncio.run(leave())
    assert site.cancelled == 1
    assert site.directory._open == {}
    assert site.directory.known("ann", None) is None

    async def ask() -> Membership:
        asking = asyncio.create_task(site.find())
        await turns()
        site.let_go()
        return await asking

    assert asyncio.run(ask()).tier.name == "pro"


def test_who_comes_when_an_answer_has_just_expired_waits_for_a_new_one() -> None:
    site = Site(slow=True, ttl=10)

    async def main() -> None:
        first = asyncio.create_task(site.find())
        await turns()
        site.let_go()
        assert (await first).tier.name == "pro"
        site.answer = "free"
        site.clock.advance(10)
        asking = [asyncio.create_task(site.find()) for _ in range(5)]
        await turns()
        assert site.directory.known("ann", None) is None
        site.let_go()
        assert {member.tier.name for member in await asyncio.gather(*asking)} == {"free"}

    asyncio.run(main())
    assert site.asked == {"ann": 2}


@pytest.mark.parametrize("whom", ["ann", None])
def test_what_is_forgotten_is_asked_anew(whom: str | None) -> None:
    site = Site()
    for user in ("ann", "bob"):
        site.find_now(user)
    site.directory.forget(whom)
    assert site.directory.known("ann", None) is None
    assert (site.directory.known("bob", None) is None) == (whom is None)


@pytest.mark.parametrize("whom", ["ann", None])
def test_an_answer_asked_for_before_it_was_forgotten_is_not_remembered(whom: str | None) -> None:
    site = Site(slow=True)

    async def main() -> None:
        early = asyncio.create_task(site.find())
        await turns()
        first = site.gate
        assert first is not None
        site.directory.forget(whom)
        late = asyncio.create_task(site.find())
        await turns()
        first.set()
        assert (await early).tier.name == "pro"
        assert site.directory.known("ann", None) is None
        site.answer = "free"
        site.let_go()
        assert (await late).tier.name == "free"
        assert site.directory.known("ann", None) == await late

    asyncio.run(main())
    assert site.asked == {"ann": 2}
    assert site.directory._open == {}


def test_a_profile_that_is_set_during_a_question_holds() -> None:
    site = Site(slow=True)

    async def main() -> None:
        asking = asyncio.create_task(site.find())
        await turns()
        site.directory.set_profile("ann", "free")
        assert site.directory.known("ann", None) is not None
        site.let_go()
        assert (await asking).source == "profile"
        member = site.directory.known("ann", None)
        assert member is not None
        assert member.source == "profile"
        site.directory.set_profile("ann", None)
        assert (await site.find()).source == "resolver"

    asyncio.run(main())
    assert site.asked == {"ann": 1}


def test_the_least_recently_seen_are_asked_about_again() -> None:
    site = Site(keep=2)
    for user in ("ann", "bob", "ann", "cid"):
        site.find_now(user)
    assert site.asked == {"ann": 1, "bob": 1, "cid": 1}
    site.find_now("ann")
    assert site.asked["ann"] == 1
    site.find_now("bob")
    assert site.asked["bob"] == 2


def test_who_was_asked_about_again_has_been_seen_last() -> None:
    site = Site(keep=2, ttl=60)
    site.find_now("ann")
    site.clock.advance(30)
    site.find_now("bob")
    site.clock.advance(30)
    site.find_now("ann")
    site.find_now("cid")
    assert site.directory.known("ann", None) is not None
    assert site.directory.known("bob", None) is None


class Stage:
    """Two event loops that ask about one user, and a resolver that each answers when it is told."""

    def __init__(self) -> None:
        self.site = Site(resolver=self.resolver, ttl=60)
        self.loops = [asyncio.new_event_loop() for _ in range(2)]
        self.gates: dict[asyncio.AbstractEventLoop, asyncio.Future[Any]] = {}
        self.asking: dict[asyncio.AbstractEventLoop, asyncio.Task[Membership]] = {}

    async def resolver(self, _: str) -> Any:
        loop = asyncio.get_running_loop()
        self.gates[loop] = loop.create_future()
        return await self.gates[loop]

    def ask(self, number: int) -> None:
        loop = self.loops[number]
        self.asking[loop] = loop.create_task(self.site.find())
        loop.run_until_complete(turns())

    def answer(self, number: int, answer: Any) -> str:
        loop = self.loops[number]
        if isinstance(answer, Exception):
            self.gates[loop].set_exception(answer)
        else:
            self.gates[loop].set_result(answer)
        return loop.run_until_complete(self.asking[loop]).tier.name

    def known(self) -> str:
        member = self.site.directory.known("ann", None)
        assert member is not None
        return member.tier.name

    def close(self) -> None:
        for loop in self.loops:
            loop.run_until_complete(turns())
            loop.close()


def test_of_two_loops_answers_the_one_that_was_asked_for_later_holds() -> None:
    stage = Stage()
    stage.ask(0)
    stage.ask(1)
    assert stage.answer(1, "free") == "free"
    assert stage.answer(0, "pro") == "free"  # it is older than what is known
    assert stage.known() == "free"
    stage.close()


@pytest.mark.parametrize("first", [0, 1])
def test_a_failure_on_one_loop_takes_no_answer_from_another(first: int) -> None:
    stage = Stage()
    stage.ask(0)
    stage.ask(1)
    assert stage.answer(first, "pro") == "pro"
    assert stage.answer(1 - first, OSError(SECRET)) == "pro"
    assert stage.known() == "pro"
    stage.close()


@pytest.mark.parametrize("first", [0, 1])
def test_an_answer_takes_the_place_of_another_loop_s_failure(first: int) -> None:
    stage = Stage()
    stage.ask(0)
    stage.ask(1)
    assert stage.answer(first, OSError(SECRET)) == "free"
    assert stage.answer(1 - first, "pro") == "pro"
    assert stage.known() == "pro"
    stage.close()


def test_a_failure_does_not_bring_back_what_another_loop_was_told_too_long_ago() -> None:
    stage = Stage()
    stage.ask(0)
    stage.ask(1)
    assert stage.answer(0, "pro") == "pro"
    # The other question outlives the answer: it has no deadline that this clock passed.
    stage.site.clock._elapsed += 60 * 10**9
    assert stage.answer(1, OSError(SECRET)) == "free"
    assert stage.known() == "free"
    stage.close()


def threads(count: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    begin = threading.Barrier(count)
    failed: list[BaseException] = []

    def run() -> None:
        begin.wait()
        try:
            asyncio.run(work())
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    running = [threading.Thread(target=run) for _ in range(count)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert failed == []


@pytest.mark.parametrize("is_async", [False, True])
def test_loops_in_several_threads_ask_once_each_at_most(is_async: bool) -> None:
    asked: Counter[tuple[int, str]] = Counter()

    def at_once(user_id: str) -> str:
        asked[threading.get_ident(), user_id] += 1
        return "pro" if user_id.endswith("0") else "free"

    async def later(user_id: str) -> str:
        await asyncio.sleep(0)
        return at_once(user_id)

    site = Site(resolver=later if is_async else at_once)
    users = [f"user-{number}" for number in range(50)]

    async def work() -> None:
        found = await asyncio.gather(*(site.find(user) for user in users * 4))
        for member in found:
            assert member.user_id is not None
            assert member.tier.name == ("pro" if member.user_id.endswith("0") else "free")

    threads(4, work)
    assert set(asked.values()) == {1}
    assert {user for _, user in asked} == set(users)
    assert site.directory._open == {}


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="new in Python 3.12")
def test_tasks_that_begin_at_once_change_nothing() -> None:
    async def resolver(_: str) -> str:
        return "pro"

    site = Site(resolver=resolver)

    async def main() -> Membership:
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - unknown to older versions
        return (await asyncio.gather(*(site.find() for _ in range(3))))[0]

    assert asyncio.run(main()).tier.name == "pro"
    assert site.directory._open == {}
