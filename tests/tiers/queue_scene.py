"""A queue on a clock turned by hand, for the tests of who waits."""

from __future__ import annotations

import asyncio
from typing import Any

from cascadeflow._native import LimitPolicy, Permit, RateLimiter
from cascadeflow.testing import ManualClock
from cascadeflow.tiers.queue import FairQueue

Accounts = tuple[tuple[str, LimitPolicy], ...]

ONE_A_SECOND = LimitPolicy(per_second=(1, 0))
TWO_A_SECOND = LimitPolicy(per_second=(2, 0))
TWELVE_A_MINUTE = LimitPolicy(per_minute=(12, 0))
PLENTY = LimitPolicy(per_second=(1_000_000, 1_000_000))
ONE_AT_ONCE = LimitPolicy(concurrent=1)
A_HUNDRED_TOKENS = LimitPolicy(tokens_per_minute=100)
NOTHING = LimitPolicy(per_second=(0, 5))


class CountingLimiter:
    """The limiter, and how often it was asked."""

    def __init__(self) -> None:
        self.limiter = RateLimiter()
        self.standings = self.limiter.standings
        self.asked = 0

    def acquire(self, accounts: Accounts, tokens: int, now_ns: int) -> Any:
        self.asked += 1
        return self.limiter.acquire(accounts, tokens, now_ns)


class Scene:
    """A queue on a clock turned by hand, and who passed it."""

    def __init__(self, size: int = 1000) -> None:
        self.clock = ManualClock()
        self.limiter = CountingLimiter()
        limiter: Any = self.limiter
        self.queue = FairQueue(limiter, self.clock, size=size)
        self.passed: list[str] = []
        self.permits: list[Permit] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def take(self, name: str, accounts: Accounts, tokens: int, **options: Any) -> None:
        options = {"tier": "t", "weight": 1, "deadline": None, **options}
        self.permits.append(await self.queue.wait(accounts, tokens, **options))
        self.passed.append(name)

    async def come(
        self, name: str, accounts: Accounts, tokens: int = 0, **options: Any
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(self.take(name, accounts, tokens, **options))
        self.tasks.append(task)
        await settle()
        return task

    async def second(self, count: int = 1) -> None:
        for _ in range(count):
            await self.clock.run_for(1)

    def fill(self, *accounts: tuple[str, LimitPolicy], tokens: int = 0) -> Permit:
        permit = self.queue.try_now(accounts, tokens)
        assert isinstance(permit, Permit)
        return permit

    def leases(self, name: str, policy: LimitPolicy) -> int:
        """How many are held on an account."""
        (standing,) = [
            standing
            for standing in self.limiter.standings([(name, policy)], 0)
            if standing.limit == "concurrent"
        ]
        return standing.allowed - standing.remaining

    async def end(self) -> None:
        """Everybody leaves, and nothing stays behind."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await settle()
        assert len(self.queue) == 0
        assert self.clock.sleepers == 0
        assert not self.queue._desks


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


def user(name: str, *shared: tuple[str, LimitPolicy], own: LimitPolicy = PLENTY) -> Accounts:
    return ((f"user:{name}", own), *shared)
