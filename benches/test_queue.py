"""What the queue before the rate limiter takes: when nobody waits, and when ten thousand do.

With nobody waiting it stands beside the limiter alone. With 10,000 waiting, what is measured is one
lease that ends and goes to the next of them: until that one has it, event loop included; beside the
same with an `asyncio.Semaphore`, which knows neither weights nor users nor limits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow._native import LimitPolicy, Permit, RateLimiter
from cascadeflow.clock import SystemClock
from cascadeflow.tiers.queue import Behind, FairQueue

if TYPE_CHECKING:
    from collections.abc import Callable

EMPTY = "3 accounts' rate limits with nobody waiting"
REFUSED = "a request that others wait before, 10,000 of them"
LOOK = "a lease handed on, 10,000 waiting"
OWN = "a lease handed on, 10,000 users waiting for limits of their own"

WAITING = 10_000
FREE = LimitPolicy(per_second=(1_000_000, 1_000_000), concurrent=1_000_000)
ACCOUNTS = (("user:u1", FREE), ("tier:pro", FREE), ("global", FREE))
ONE = LimitPolicy(concurrent=1)
HOURLY = LimitPolicy(per_hour=1)
WEIGHTS = {"free": 1, "pro": 5, "enterprise": 20}


def own(number: int) -> tuple[str, LimitPolicy]:
    return f"user:{number}", FREE


class Waiting:
    """Tasks that wait, and a loop for them."""

    loop: asyncio.AbstractEventLoop
    tasks: list[asyncio.Task[None]]
    passed: int

    def turn(self) -> None:
        for _ in range(2):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def let_one(self) -> None:
        raise NotImplementedError

    def hand_on(self) -> None:
        before = self.passed
        self.let_one()
        self.turn()
        assert self.passed == before + 1

    def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*self.tasks, return_exceptions=True))
        self.loop.close()


class Crowd(Waiting):
    """Ten thousand who wait for one lease, and a loop for them."""

    def __init__(self, *, blocked: bool) -> None:
        self.loop = asyncio.new_event_loop()
        self.queue = FairQueue(RateLimiter(), SystemClock(), size=2 * WAITING)
        self.shared = ("global", ONE)
        permit = self.queue.try_now((self.shared,), 0)
        assert isinstance(permit, Permit)
        self.held: Permit = permit
        self.passed = 0
        self.tasks = [
            self.loop.create_task(self.take((own(number), self.shared), number))
            for number in range(WAITING // 10 if blocked else WAITING)
        ]
        if blocked:
            for number in range(WAITING):
                mine = (f"user:full{number}", HOURLY)
                self.queue.try_now((mine,), 0)
                self.tasks.append(self.loop.create_task(self.take((mine,), number)))
        self.turn()
        assert len(self.queue) == len(self.tasks)

    async def take(self, accounts: tuple[tuple[str, LimitPolicy], ...], number: int) -> None:
        tier = ("free", "pro", "enterprise")[number % 3]
        self.held = await self.queue.wait(
            accounts, 0, tier=tier, weight=WEIGHTS[tier], deadline=None
        )
        self.passed += 1

    def let_one(self) -> None:
        self.held.release()
        self.queue.returned((self.shared,))


class Semaphores(Waiting):
    """The same with the standard library's semaphore."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.semaphore = asyncio.Semaphore(0)
        self.passed = 0
        self.tasks = [self.loop.create_task(self.take()) for _ in range(WAITING)]
        self.turn()

    async def take(self) -> None:
        await self.semaphore.acquire()
        self.passed += 1

    def let_one(self) -> None:
        self.semaphore.release()


def test_empty(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": EMPTY, "role": "figure", "gate_s": 1e-3, "goal_s": 2e-6}
    try_now = FairQueue(RateLimiter(), SystemClock()).try_now

    def one() -> None:
        permit: Any = try_now(ACCOUNTS, 0)
        permit.release()

    benchmark(one)


def test_empty_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {
        "figure": EMPTY,
        "role": "reference",
        "reference": "the limiter alone, with the time",
    }
    acquire, monotonic = RateLimiter().acquire, SystemClock.monotonic

    def one() -> None:
        permit: Any = acquire(ACCOUNTS, 0, round(monotonic() * 1e9))
        permit.release()

    benchmark(one)


def test_refused(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": REFUSED, "role": "figure", "gate_s": 1e-3, "goal_s": 1e-5}
    crowd = Crowd(blocked=False)
    accounts = (own(-1), crowd.shared)
    assert isinstance(benchmark(crowd.queue.try_now, accounts, 0), Behind)
    crowd.close()


@pytest.mark.parametrize(
    ("make", "about"),
    [
        (
            lambda: Crowd(blocked=False),
            {"figure": LOOK, "role": "figure", "gate_s": 1e-3, "goal_s": 1e-4},
        ),
        (
            Semaphores,
            {"figure": LOOK, "role": "reference", "reference": "asyncio.Semaphore"},
        ),
        (
            lambda: Crowd(blocked=True),
            {"figure": OWN, "role": "figure", "gate_s": 1e-3, "goal_s": 1e-4},
        ),
    ],
    ids=["look", "look-reference", "own"],
)
def test_hand_on(benchmark: Any, make: Callable[[], Waiting], about: dict[str, Any]) -> None:
    benchmark.extra_info |= about
    crowd = make()
    benchmark.pedantic(crowd.hand_on, rounds=500, warmup_rounds=50)
    crowd.close()
