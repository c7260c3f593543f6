"""What a rate limit takes: a request that passes three limits, and the end of its lease.

The reference is the obvious limiter in plain Python: deques and counters behind one lock, with the
same accounts, limits and answers.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import pytest

from cascadeflow._native import LimitPolicy, LimitRefusal, RateLimiter

ONE = "rate limits: acquire + release, 3 limits"
THREE = "rate limits: acquire + release, user + tier + global x 3 limits"
CROWDED = "rate limits with 1,000,000 users: acquire + release, 3 limits"
REFUSED = "rate limits: a refusal, user + tier + global x 3 limits"

SECOND = 1_000_000_000
MINUTE, HOUR = 60 * SECOND, 3_600 * SECOND
APART = SECOND // 100
PER_MINUTE, PER_HOUR, CONCURRENT = 60_000, 10_000_000, 100
CROWD = 1_000_000
NAMES = ("user:u1", "tier:pro", "global")


class PlainAccount:
    """What a plain limiter remembers."""

    __slots__ = ("hour", "minute", "under_way")

    def __init__(self) -> None:
        self.minute: deque[int] = deque()
        self.hour: deque[int] = deque()
        self.under_way = 0


class PlainPermit:
    """Ends its leases."""

    __slots__ = ("accounts", "lock")

    def __init__(self, lock: threading.Lock, accounts: list[PlainAccount]) -> None:
        self.lock = lock
        self.accounts = accounts

    def release(self) -> None:
        with self.lock:
            for account in self.accounts:
                account.under_way -= 1
            self.accounts = []


class PlainLimiter:
    """Deques and counters behind one lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.accounts: dict[str, PlainAccount] = {}

    def acquire(
        self, accounts: tuple[tuple[str, tuple[int, int, int]], ...], _tokens: int, now_ns: int
    ) -> PlainPermit | None:
        with self.lock:
            known = []
            for name, (per_minute, per_hour, concurrent) in accounts:
                account = self.accounts.get(name)
                if account is None:
                    account = self.accounts[name] = PlainAccount()
                minute, hour = account.minute, account.hour
                while minute and minute[0] + MINUTE <= now_ns:
                    minute.popleft()
                while hour and hour[0] + HOUR <= now_ns:
                    hour.popleft()
                if (
                    len(minute) >= per_minute
                    or len(hour) >= per_hour
                    or account.under_way >= concurrent
                ):
                    return None
                known.append(account)
            for account in known:
                account.minute.append(now_ns)
                account.hour.append(now_ns)
                account.under_way += 1
            return PlainPermit(self.lock, known)


def native() -> tuple[Any, Any]:
    policy = LimitPolicy(
        per_minute=(PER_MINUTE, PER_MINUTE - 1), per_hour=PER_HOUR, concurrent=CONCURRENT
    )
    return RateLimiter(), policy


def plain() -> tuple[Any, Any]:
    return PlainLimiter(), (PER_MINUTE, PER_HOUR, CONCURRENT)


def measure(benchmark: Any, request: Any) -> None:
    """Measures a hundred at a time: one takes hardly longer than looking at the clock."""

    def hundred() -> None:
        for _ in range(100):
            request()

    benchmark(hundred)
    benchmark.extra_info["value_s"] = benchmark.stats.stats.median / 100


def passer(made: tuple[Any, Any], names: tuple[str, ...]) -> Any:
    """One request, a hundredth of a second after the last one."""
    limiter, policy = made
    accounts = tuple((name, policy) for name in names)
    acquire, now = limiter.acquire, 0

    def request() -> None:
        nonlocal now
        now += APART
        acquire(accounts, 0, now).release()

    return request


def crowd(made: tuple[Any, Any]) -> Any:
    """One request of each of so many users in turn."""
    limiter, policy = made
    everybody = [((f"user:{number}", policy),) for number in range(CROWD)]
    for accounts in everybody:
        limiter.acquire(accounts, 0, 0).release()
    acquire, now, number = limiter.acquire, 0, 0

    def request() -> None:
        nonlocal now, number
        now += 1_000
        # Scattered, as users are.
        number = (number + 7_919) % CROWD
        acquire(everybody[number], 0, now).release()

    return request


@pytest.mark.parametrize(
    ("make", "about"),
    [
        (native, {"role": "figure", "gate_s": 1e-3, "goal_s": 1e-6}),
        (plain, {"role": "reference", "reference": "a lock and deques"}),
    ],
    ids=["figure", "reference"],
)
def test_one(benchmark: Any, make: Any, about: dict[str, Any]) -> None:
    benchmark.extra_info |= {"figure": ONE, **about}
    measure(benchmark, passer(make(), NAMES[:1]))


@pytest.mark.parametrize(
    ("make", "about"),
    [
        (native, {"role": "figure", "gate_s": 1e-3, "goal_s": 2e-6}),
        (plain, {"role": "reference", "reference": "a lock and deques"}),
    ],
    ids=["figure", "reference"],
)
def test_three(benchmark: Any, make: Any, about: dict[str, Any]) -> None:
    benchmark.extra_info |= {"figure": THREE, **about}
    measure(benchmark, passer(make(), NAMES))


@pytest.mark.parametrize(
    ("make", "about"),
    [
        (native, {"role": "figure", "gate_s": 1e-3, "goal_s": 2e-6}),
        (plain, {"role": "reference", "reference": "a lock and deques"}),
    ],
    ids=["figure", "reference"],
)
def test_crowded(benchmark: Any, make: Any, about: dict[str, Any]) -> None:
    benchmark.extra_info |= {"figure": CROWDED, **about}
    measure(benchmark, crowd(make()))


@pytest.mark.parametrize(
    ("make", "about"),
    [
        (native, {"role": "figure", "gate_s": 1e-3, "goal_s": 2e-6}),
        (plain, {"role": "reference", "reference": "a lock and deques"}),
    ],
    ids=["figure", "reference"],
)
def test_refused(benchmark: Any, make: Any, about: dict[str, Any]) -> None:
    benchmark.extra_info |= {"figure": REFUSED, **about}
    limiter, policy = make()
    accounts = tuple((name, policy) for name in NAMES)
    held = [limiter.acquire(accounts[-1:], 0, 0) for _ in range(CONCURRENT)]
    measure(benchmark, lambda: limiter.acquire(accounts, 0, 1))
    refused = limiter.acquire(accounts, 0, 1)
    assert len(held) == CONCURRENT
    assert refused is None or (isinstance(refused, LimitRefusal) and refused.account == "global")
