"""Ten thousand at once, several loops and threads, loops that end: nobody and nothing is lost."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections import Counter, defaultdict
from typing import Any

import pytest

from cascadeflow._native import LimitPolicy, LimitRefusal, Permit, RateLimiter
from cascadeflow.clock import SystemClock
from cascadeflow.testing import ManualClock
from cascadeflow.tiers.queue import Behind, FairQueue, NotServed, QueueFull, TimedOut

SECOND = 10**9
WEIGHTS = {"a": 1, "b": 4, "c": 20}

Accounts = tuple[tuple[str, LimitPolicy], ...]


def standing(limiter: RateLimiter, accounts: Accounts, now_ns: int) -> dict[tuple[str, str], int]:
    """How many are counted, by account and limit."""
    return {
        (one.account, one.limit): one.allowed - one.remaining
        for one in limiter.standings(accounts, now_ns)
    }


def most_within(moments: list[int], span_ns: int) -> int:
    """The most of these moments that lie within any stretch of a length, its end excluded."""
    most = begin = 0
    for end, moment in enumerate(moments):
        while moments[begin] <= moment - span_ns:
            begin += 1
        most = max(most, end - begin + 1)
    return most


class Crowd:
    """Requests of forty users in three tiers, and what became of them."""

    def __init__(self) -> None:
        own = LimitPolicy(per_second=(5, 4), concurrent=3)
        tier = LimitPolicy(per_minute=(6_000, 300), concurrent=60)
        self.users = {f"user:u{number}": own for number in range(40)}
        self.policies = {**self.users, **{f"tier:{name}": tier for name in "abc"}}
        self.policies["global"] = LimitPolicy(
            per_second=(400, 20), per_hour=1_000_000, concurrent=100
        )
        self.chance = random.Random(11)
        self.clock = ManualClock()
        self.limiter = RateLimiter()
        self.queue = FairQueue(self.limiter, self.clock, size=500)
        self.ends: Counter[str] = Counter()
        self.passed: dict[str, list[int]] = defaultdict(list)
        self.under_way: Counter[str] = Counter()

    def now_ns(self) -> int:
        return round(self.clock.monotonic() * 1e9)

    def choose(self) -> tuple[Accounts, str]:
        """A user is now in this tier and now in that, and some have no limits of their own."""
        tier = self.chance.choice("abc")
        names = [f"user:u{self.chance.randrange(40)}", f"tier:{tier}", "global"]
        names = names[self.chance.random() < 0.1 :]
        return tuple((name, self.policies[name]) for name in names), tier

    async def request(self) -> None:
        try:
            await self.live(*self.choose())
        except asyncio.CancelledError:
            self.ends["cancelled"] += 1
            raise
        except NotServed as error:
            self.ends[type(error).__name__] += 1

    async def live(self, accounts: Accounts, tier: str) -> None:
        deadline = self.clock.monotonic() + self.chance.choice([0.5, 3, 20])
        got: Any = self.queue.try_now(accounts, 0)
        try:
            if not isinstance(got, Permit):
                got = await self.queue.wait(
                    accounts, 0, tier=tier, weight=WEIGHTS[tier], deadline=deadline
                )
        except TimedOut:
            assert self.now_ns() == round(deadline * 1e9)
            raise
        names = [name for name, _ in accounts]
        self.under_way.update(names)
        for name in names:
            self.passed[name].append(self.now_ns())
            most = 3 if name in self.users else 100 if name == "global" else 60
            assert self.under_way[name] <= most
        try:
            await self.clock.sleep(self.chance.choice([0.05, 0.2, 0.6]))
            self.ends["served"] += 1
        finally:
            self.under_way.subtract(names)
            got.release()
            self.queue.returned(accounts)

    async def come(self, count: int) -> int:
        """Gives how many were cancelled before they had begun."""
        tasks: list[asyncio.Task[None]] = []
        for _ in range(count):
            tasks.append(asyncio.create_task(self.request()))
            if self.chance.random() < 0.3:
                self.chance.choice(tasks[-400:]).cancel()
            if self.chance.random() < 0.01:
                await self.clock.run_for(self.chance.choice([0.01, 0.2, 0.5]))
        await self.clock.run_for(40)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            assert result is None or isinstance(result, asyncio.CancelledError)
        return sum(result is not None for result in results) - self.ends["cancelled"]


def test_ten_thousand_with_random_ends_are_all_accounted_for() -> None:
    crowd = Crowd()

    async def main() -> int:
        never_began = await crowd.come(10_000)
        assert len(crowd.queue) == 0
        assert crowd.clock.sleepers == 0
        assert not crowd.queue._desks
        return never_began

    assert asyncio.run(main()) + sum(crowd.ends.values()) == 10_000
    assert min(crowd.ends[end] for end in ("served", "cancelled", "TimedOut", "QueueFull")) > 100
    for name, moments in crowd.passed.items():
        counted = standing(crowd.limiter, ((name, crowd.policies[name]),), crowd.now_ns())
        assert counted[name, "concurrent"] == 0
        if name in crowd.users:
            assert most_within(moments, SECOND) <= 5 + 4
        elif name == "global":
            assert most_within(moments, SECOND) <= 400 + 20
            # What was granted to somebody who was gone came back.
            assert counted[name, "per_hour"] == len(moments)


def in_threads(count: int, work: Any) -> None:
    """Runs a coroutine on a loop of its own in each of several threads; raises what they raise."""
    errors: list[BaseException] = []

    def live(number: int) -> None:
        try:
            asyncio.run(work(number))
        except BaseException as error:  # noqa: BLE001 - handed on below
            errors.append(error)

    threads = [threading.Thread(target=live, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_loops_in_several_threads_share_leases_and_hand_them_on() -> None:
    shared = ("global", LimitPolicy(concurrent=5, per_hour=1_000_000))
    limiter = RateLimiter()
    queue = FairQueue(limiter, SystemClock(), size=10_000)
    lock = threading.Lock()
    held, ends = 0, Counter[str]()

    async def request(number: int, chance: random.Random) -> None:
        nonlocal held
        accounts = ((f"user:{number % 7}", LimitPolicy(concurrent=2)), shared)
        permit = await queue.wait(
            accounts, 0, tier="ab"[number % 2], weight=1 + number % 2, deadline=None
        )
        with lock:
            held += 1
            ends["passed"] += 1
            assert held <= 5
        try:
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
        finally:
            with lock:
                held -= 1
            permit.release()
            queue.returned(accounts if chance.random() < 0.5 else None)

    async def work(thread: int) -> None:
        chance = random.Random(thread)
        tasks = [asyncio.create_task(request(number, chance)) for number in range(400)]
        for _ in range(100):
            await asyncio.sleep(0)
            if chance.choice(tasks).cancel():
                await asyncio.sleep(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        with lock:
            ends["ended"] += len(results)
            for result in results:
                assert result is None or isinstance(result, asyncio.CancelledError)

    in_threads(4, work)
    assert ends["ended"] == 1_600
    assert 800 < ends["passed"] <= 1_600
    assert len(queue) == 0
    assert not queue._desks
    counted = standing(limiter, (shared,), 0)
    assert counted["global", "concurrent"] == 0
    assert counted["global", "per_hour"] == ends["passed"]


def test_loops_in_several_threads_are_woken_in_time() -> None:
    shared = ("global", LimitPolicy(per_second=(2_000, 0)))
    queue = FairQueue(RateLimiter(), SystemClock(), size=10_000)
    passed: list[float] = []

    async def request(number: int) -> None:
        accounts = ((f"user:{number % 7}", LimitPolicy(per_second=(500, 3))), shared)
        await queue.wait(accounts, 0, tier="t", weight=1, deadline=None)
        passed.append(SystemClock.monotonic())

    async def work(_: int) -> None:
        await asyncio.gather(*[request(number) for number in range(100)])

    in_threads(4, work)
    assert len(passed) == 400
    # One is due every half millisecond: 399 after the first, however late they are woken.
    assert max(passed) - min(passed) >= 0.19


def stop_after(loop: asyncio.AbstractEventLoop, *coroutines: Any) -> list[asyncio.Task[Any]]:
    """Lets a loop run for a moment with these tasks on it, and stops it."""
    tasks = [loop.create_task(coroutine) for coroutine in coroutines]
    for _ in range(5):
        loop.call_soon(loop.stop)
        loop.run_forever()
    return tasks


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_is_closed_takes_nobody_elses_turn() -> None:
    shared = ("global", LimitPolicy(concurrent=1, per_hour=3))
    clock, limiter = ManualClock(), RateLimiter()
    queue = FairQueue(limiter, clock, size=3)
    lease = queue.try_now((shared,), 0)
    assert isinstance(lease, Permit)

    def wait(user: str) -> Any:
        accounts = ((f"user:{user}", LimitPolicy(concurrent=1)), shared)
        return queue.wait(accounts, 0, tier="t", weight=1, deadline=None)

    dead, alive = asyncio.new_event_loop(), asyncio.new_event_loop()
    lost = stop_after(dead, wait("a"), wait("b"))
    (waiting,) = stop_after(alive, wait("c"))
    assert len(queue) == 3
    lease.release()
    queue.returned((shared,))
    assert len(queue) == 2  # one has been granted to the first, whose loop will not run again
    stop_after(alive)
    assert not waiting.done()
    dead.close()
    assert isinstance(queue.try_now((shared,), 0), Behind | LimitRefusal)
    stop_after(alive)
    assert isinstance(waiting.result(), Permit)
    assert len(queue) == 0
    assert standing(limiter, (shared,), 0) == {
        ("global", "concurrent"): 1,
        ("global", "per_hour"): 2,
    }
    for task in lost:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    del lost, task
    gc.collect()
    assert standing(limiter, (shared,), 0)["global", "concurrent"] == 1
    waiting.result().release()
    stop_after(alive)
    alive.close()
    assert clock.sleepers == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_dead_take_no_place_in_the_queue() -> None:
    shared = ("global", LimitPolicy(concurrent=1))
    queue = FairQueue(RateLimiter(), ManualClock(), size=1)
    lease = queue.try_now((shared,), 0)
    assert isinstance(lease, Permit)

    def wait() -> Any:
        return queue.wait((shared,), 0, tier="t", weight=1, deadline=None)

    dead = asyncio.new_event_loop()
    (lost,) = stop_after(dead, wait())
    lost._log_destroy_pending = False  # type: ignore[attr-defined]
    with pytest.raises(QueueFull):
        asyncio.run(wait())
    dead.close()

    async def live() -> None:
        task = asyncio.create_task(wait())
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(queue) == 1
        lease.release()
        queue.returned((shared,))
        await task

    asyncio.run(live())
    assert len(queue) == 0


def test_a_busy_loop_holds_up_no_other_loop() -> None:
    """The first in line is on a loop that does not run; the alarm of the other one rings."""
    shared = ("global", LimitPolicy(per_second=(1, 0)))
    clock = ManualClock()
    queue = FairQueue(RateLimiter(), clock)
    queue.try_now((shared,), 0)

    def wait() -> Any:
        return queue.wait((shared,), 0, tier="t", weight=1, deadline=None)

    busy, free = asyncio.new_event_loop(), asyncio.new_event_loop()
    (first,) = stop_after(busy, wait())
    (second,) = stop_after(free, wait())
    for expected in (False, True):
        clock.advance(1)
        stop_after(free)
        assert second.done() == expected
    stop_after(busy)
    assert first.done()
    for loop in (busy, free):
        stop_after(loop)
        loop.close()
    assert clock.sleepers == 0
