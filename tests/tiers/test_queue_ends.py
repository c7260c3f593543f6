"""How waiting for a rate limit ends, and what wakes the queue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from queue_scene import (
    A_HUNDRED_TOKENS,
    NOTHING,
    ONE_A_SECOND,
    ONE_AT_ONCE,
    TWELVE_A_MINUTE,
    Accounts,
    CountingLimiter,
    Scene,
    settle,
    user,
)

from cascadeflow._native import LimitPolicy, LimitRefusal, RateLimiter
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.tiers.queue import FairQueue, NeverFits, QueueFull, TimedOut

# How waiting ends


def test_no_more_wait_than_may_and_the_next_one_is_told_at_once() -> None:
    async def main() -> None:
        scene = Scene(size=2)
        shared = ("global", ONE_A_SECOND)
        scene.fill(shared)
        await scene.come("a", user("a", shared))
        await scene.come("b", user("b", shared))
        with pytest.raises(QueueFull) as caught:
            await scene.take("c", user("c", shared), 0)
        assert caught.value.refusal is not None
        assert caught.value.refusal.account == "global"
        # What is blocked by no one in line is asked for itself.
        other = user("d", own=ONE_AT_ONCE)
        await scene.take("d", other, 0)
        with pytest.raises(QueueFull) as caught:
            await scene.take("d", other, 0)
        assert caught.value.refusal is not None
        assert caught.value.refusal.limit == "concurrent"
        assert len(scene.queue) == 2
        await scene.end()

    asyncio.run(main())


def test_at_its_deadline_one_gives_up_and_just_then_may_still_pass() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", ONE_A_SECOND)
        scene.fill(shared)
        first = await scene.come("first", user("a", shared), deadline=1.0)
        second = await scene.come("second", user("b", shared), deadline=1.9)
        third = await scene.come("third", user("c", shared), deadline=2.0)
        await scene.clock.run_for(1)
        assert first.done()
        await scene.clock.run_for(0.899999999)
        assert not second.done()
        await scene.clock.run_for(0.000000001)
        with pytest.raises(TimedOut) as caught:
            second.result()
        assert caught.value.refusal is not None
        assert caught.value.refusal.limit == "per_second"
        await scene.clock.run_for(0.1)
        assert third.done()
        assert scene.passed == ["first", "third"]
        await scene.end()

    asyncio.run(main())


def test_a_deadline_that_has_passed_is_not_waited_for() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", ONE_A_SECOND)
        scene.fill(shared)
        scene.clock.advance(0.5)
        for deadline in (0.5, 0.25):
            with pytest.raises(TimedOut):
                await scene.take("a", user("a", shared), 0, deadline=deadline)
        await scene.end()

    asyncio.run(main())


def test_whoever_gives_up_makes_room_for_the_next() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", A_HUNDRED_TOKENS)
        scene.fill(shared, tokens=50)
        await scene.come("large", user("a", shared), 60, deadline=5.0)
        await scene.come("small", user("b", shared), 40)
        assert scene.passed == []
        await scene.clock.run_for(5)
        assert scene.passed == ["small"]
        await scene.end()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("policy", "tokens"), [(A_HUNDRED_TOKENS, 101), (NOTHING, 0), (LimitPolicy(concurrent=0), 0)]
)
def test_what_never_fits_never_waits_not_even_behind_others(
    policy: LimitPolicy, tokens: int
) -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", ONE_AT_ONCE)
        for _ in range(2):
            with pytest.raises(NeverFits) as caught:
                await scene.take("never", user("a", shared, own=policy), tokens)
            assert caught.value.refusal is not None
            assert caught.value.refusal.permanent
            refusal = scene.queue.try_now(user("a", shared, own=policy), tokens)
            assert isinstance(refusal, LimitRefusal)
            assert refusal.permanent
            if not len(scene.queue):
                scene.permits.append(scene.fill(shared))
                await scene.come("b", user("b", shared))
        assert len(scene.queue) == 1
        await scene.end()

    asyncio.run(main())


def test_the_most_tokens_of_a_request_are_those_of_the_limiter() -> None:
    async def main() -> None:
        scene = Scene()
        await scene.take("a", user("a"), 10**15)
        with pytest.raises(InvalidRequestError):
            RateLimiter().acquire(user("a"), 10**15 + 1, 0)
        for tokens in (10**15 + 1, -1):
            with pytest.raises(InvalidRequestError):
                await scene.take("a", user("a"), tokens)
        with pytest.raises(ConfigurationError):
            await scene.take("a", user("a"), 0, weight=0)
        with pytest.raises(ConfigurationError):
            FairQueue(RateLimiter(), scene.clock, size=-1)
        await scene.end()

    asyncio.run(main())


def test_a_cancelled_waiter_leaves_at_once_and_lets_the_next_one_pass() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", A_HUNDRED_TOKENS)
        scene.fill(shared, tokens=50)
        large = await scene.come("large", user("a", shared), 60)
        behind = await scene.come("behind", user("b", shared), 60)
        await scene.come("small", user("c", shared), 40)
        behind.cancel()
        await settle()
        assert len(scene.queue) == 2
        assert scene.passed == []
        large.cancel()
        await settle()
        assert scene.passed == ["small"]
        await scene.end()

    asyncio.run(main())


def test_a_users_next_request_does_not_wait_for_one_that_left() -> None:
    async def main() -> None:
        scene = Scene()
        scene.fill(("user:a", A_HUNDRED_TOKENS), tokens=50)
        large = await scene.come("large", user("a", own=A_HUNDRED_TOKENS), 60)
        await scene.come("small", user("a", own=A_HUNDRED_TOKENS), 40)
        assert scene.passed == []
        large.cancel()
        await settle()
        assert scene.passed == ["small"]
        await scene.end()

    asyncio.run(main())


@pytest.mark.parametrize("account", ["global", "user:a"])
def test_what_was_granted_as_it_was_cancelled_goes_to_the_next(account: str) -> None:
    async def main() -> None:
        scene = Scene()
        both = LimitPolicy(concurrent=1, per_hour=2)
        one = (account, both)
        lease = scene.fill(one)
        first = await scene.come("first", (one,))
        await scene.come("second", (one,))
        lease.release()
        scene.queue.returned((one,))
        assert len(scene.queue) == 1  # it has passed, and does not know it yet
        first.cancel()
        await settle()
        assert first.cancelled()
        assert scene.passed == ["second"]
        assert scene.leases(account, both) == 1
        await scene.end()

    asyncio.run(main())


def test_a_permit_that_nobody_holds_is_not_held_by_the_queue() -> None:
    async def main() -> None:
        scene = Scene()
        own = LimitPolicy(concurrent=1)
        lease = scene.fill(("user:a", own))
        await scene.come("a", user("a", own=own))
        lease.release()
        scene.queue.returned()
        await settle()
        assert scene.leases("user:a", own) == 1
        scene.tasks.clear()
        scene.permits.clear()
        assert scene.leases("user:a", own) == 0
        await scene.end()

    asyncio.run(main())


def test_one_that_waits_is_told_what_for_and_one_that_passes_is_not() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", ONE_A_SECOND)
        told: list[LimitRefusal | None] = []
        await scene.take("a", user("a", shared), 0, on_wait=told.append)
        assert told == []
        for number in range(3):
            await scene.come("b", user(f"{number // 2}", shared), on_wait=told.append)
        assert [(one.account, one.limit) for one in told if one] == [("global", "per_second")] * 3

        def fail(_: LimitRefusal | None) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await scene.take("c", user("c", shared), 0, on_wait=fail)
        assert len(scene.queue) == 3
        await scene.end()

    asyncio.run(main())


# Waking


def test_a_lease_that_ends_wakes_one_waiter_and_asks_for_no_other() -> None:
    async def main() -> None:
        scene = Scene(size=20_000)
        shared = ("global", LimitPolicy(concurrent=1))
        lease = scene.fill(shared)
        for number in range(2_000):
            scene.tasks.append(asyncio.create_task(scene.take("", user(f"{number}", shared), 0)))
        await settle()
        scene.limiter.asked = 0
        for count in range(1, 11):
            lease.release()
            scene.queue.returned((shared,))
            await settle()
            assert len(scene.passed) == count
            assert scene.limiter.asked == 2 * count  # who passes, and who then does not
            lease = scene.permits[-1]
        await scene.end()

    asyncio.run(main())


def test_users_whose_time_has_not_come_are_not_asked_for() -> None:
    async def main() -> None:
        scene = Scene(size=20_000)
        own = LimitPolicy(per_second=(1, 0), concurrent=1)
        leases = [scene.fill((f"user:{number}", own)) for number in range(500)]
        for number in range(500):
            name = f"{number}"
            scene.tasks.append(asyncio.create_task(scene.take(name, user(name, own=own), 0)))
        await settle()
        scene.limiter.asked = 0
        leases[7].release()
        scene.queue.returned((("user:7", own),))
        await scene.clock.run_for(1)
        assert scene.passed == ["7"]
        assert scene.limiter.asked == 2
        for lease in leases:
            lease.release()
        scene.queue.returned()
        await settle()
        assert len(scene.passed) == 500
        assert scene.clock.sleepers == 0
        await scene.end()

    asyncio.run(main())


def test_nothing_is_polled_while_nothing_can_pass() -> None:
    async def main() -> None:
        scene = Scene()
        own = LimitPolicy(per_hour=1)
        scene.fill(*user("a", own=own))
        await scene.come("a", user("a", own=own))
        asked = scene.limiter.asked
        await scene.clock.run_for(3_599)
        assert scene.limiter.asked == asked
        assert scene.clock.sleepers == 1
        await scene.clock.run_for(1)
        assert scene.passed == ["a"]
        await scene.end()

    asyncio.run(main())


def test_an_earlier_moment_sets_the_alarm_anew() -> None:
    async def main() -> None:
        scene = Scene()
        scene.fill(("user:a", TWELVE_A_MINUTE))
        scene.fill(("user:b", ONE_A_SECOND))
        await scene.come("a", user("a", own=TWELVE_A_MINUTE))
        assert scene.clock.next_deadline == 5
        await scene.come("b", user("b", own=ONE_A_SECOND))
        assert scene.clock.next_deadline == 1
        assert scene.clock.sleepers == 1
        await scene.clock.run_for(5)
        assert scene.passed == ["b", "a"]
        await scene.end()

    asyncio.run(main())


def test_what_comes_back_in_the_midst_of_a_step_is_not_lost() -> None:
    """As a finaliser may bring it back, which can run whenever memory is collected."""

    async def main() -> None:
        scene = Scene()
        shared = ("global", LimitPolicy(concurrent=1))
        leases = [scene.fill(shared)]
        asked = 0

        class Interrupted(CountingLimiter):
            def acquire(self, accounts: Accounts, tokens: int, now_ns: int) -> Any:
                nonlocal asked
                asked += 1
                answer = scene.limiter.acquire(accounts, tokens, now_ns)
                if leases:
                    leases.pop().release()
                    queue.returned((shared,))
                return answer

        limiter: Any = Interrupted()
        queue = FairQueue(limiter, scene.clock)
        permit = await queue.wait(
            user("a", shared), 0, tier="t", weight=1, deadline=None
        )  # refused at first
        assert asked == 2
        permit.release()
        await scene.end()

    asyncio.run(main())


def test_a_waiter_that_is_collected_in_the_midst_of_a_step_leaves() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", LimitPolicy(concurrent=1))
        scene.permits.append(scene.fill(shared))
        abandoned: list[Any] = []

        class Interrupted(CountingLimiter):
            def acquire(self, accounts: Accounts, tokens: int, now_ns: int) -> Any:
                if abandoned:
                    abandoned.pop().close()
                return scene.limiter.acquire(accounts, tokens, now_ns)

        limiter: Any = Interrupted()
        queue = FairQueue(limiter, scene.clock)
        waiting = queue.wait(user("a", shared), 0, tier="a", weight=1, deadline=None)
        waiting.send(None)  # it waits
        assert len(queue) == 1
        abandoned.append(waiting)
        task = asyncio.create_task(
            queue.wait(user("b", shared), 0, tier="b", weight=1, deadline=None)
        )
        await settle()
        assert len(queue) == 1
        scene.permits.pop().release()
        queue.returned((shared,))
        (await task).release()
        assert len(queue) == 0
        await scene.end()

    asyncio.run(main())


def test_a_late_alarm_does_not_let_others_overtake() -> None:
    """The clock has moved on, and the loop was too busy to notice."""

    async def main() -> None:
        scene = Scene()
        shared = ("global", ONE_A_SECOND)
        scene.fill(shared)
        waiting = await scene.come("waiting", user("a", shared))
        scene.clock.advance(1)
        assert isinstance(scene.queue.try_now(user("b", shared), 0), LimitRefusal)
        await settle()
        assert waiting.done()
        assert scene.passed == ["waiting"]
        await scene.end()

    asyncio.run(main())


def test_who_comes_and_goes_leaves_nothing_behind() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", ONE_AT_ONCE)
        scene.permits.append(scene.fill(shared))
        own = LimitPolicy(per_hour=1)
        scene.fill(("user:full", own))
        await scene.come("first", user("first", shared))
        late = await scene.come("late", user("late", shared), deadline=5_000.0)
        scene.fill(("user:kept", own))
        await scene.come("kept", user("kept", own=own))
        for number in range(1_000):
            for accounts in (user(f"{number}", shared), user("full", own=own)):
                task = asyncio.create_task(scene.take("", accounts, 0, deadline=6_000.0 + number))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        line = scene.queue._line
        (group,) = line._groups.values()
        assert line.count == 3
        assert len(group.ring) < 100
        assert len(line._deadlines) < 100
        assert len(line._unparkings) < 100
        assert len(line._flows) == 3
        assert list(line._parked) == ["user:kept"]
        await scene.clock.run_for(3_600)
        assert scene.passed == ["kept"]
        await scene.clock.run_for(1_400)
        with pytest.raises(TimedOut):
            late.result()
        scene.permits.pop(0).release()
        scene.queue.returned((shared,))
        await settle()
        assert scene.passed == ["kept", "first"]
        assert not line._deadlines
        assert not line._unparkings
        await scene.end()

    asyncio.run(main())
