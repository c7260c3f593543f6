"""The rate limiter under threads: exactly as many pass as may, and every lease ends."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cascadeflow._native import LimitPolicy, LimitRefusal, RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECOND = 1_000_000_000
THREADS = 16


@pytest.fixture(autouse=True)
def threads_that_switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_of_sixty_four_calls_on_ten_an_hour_exactly_ten_pass() -> None:
    user = LimitPolicy(per_second=(1_000, 999), per_hour=10, concurrent=64)
    tier, everybody = LimitPolicy(per_day=1_000), LimitPolicy(tokens_per_minute=10**6)
    for _ in range(20):
        limiter, start = RateLimiter(), threading.Barrier(THREADS)

        def call(
            number: int, limiter: RateLimiter = limiter, start: threading.Barrier = start
        ) -> int:
            accounts = [("user:a", user), ("tier:free", tier), ("global", everybody)]
            accounts = accounts[number % 3 :] + accounts[: number % 3]
            start.wait()
            answers = [limiter.acquire(accounts, 3, 5) for _ in range(4)]
            return sum(not isinstance(answer, LimitRefusal) for answer in answers)

        with ThreadPoolExecutor(THREADS) as pool:
            assert sum(pool.map(call, range(THREADS))) == 10
        left = limiter.standings([("tier:free", tier), ("global", everybody)], 5)
        assert [standing.remaining for standing in left] == [990, 10**6 - 30]


def test_ten_thousand_tasks_never_have_more_than_limit_and_burst_in_any_second() -> None:
    limiter, policy = RateLimiter(), LimitPolicy(per_second=(100, 20), concurrent=7)
    clock, passed, under_way, most = iter(range(0, 10**12, SECOND // 997)), [], 0, 0

    async def task(crowd: asyncio.Semaphore) -> None:
        nonlocal under_way, most
        async with crowd:
            now = next(clock)
            answer = limiter.acquire((("user:a", policy),), 0, now)
            if isinstance(answer, LimitRefusal):
                await asyncio.sleep(0)
                return
            passed.append(now)
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            answer.release()

    async def everybody() -> None:
        crowd = asyncio.Semaphore(12)
        await asyncio.gather(*(task(crowd) for _ in range(10_000)))

    asyncio.run(everybody())
    assert most == 7
    assert len(passed) > 500
    for place, first in enumerate(passed):
        assert sum(first <= at < first + SECOND for at in passed[place : place + 200]) <= 120
    assert limiter.standings((("user:a", policy),), 0)[1].remaining == 7


def test_leases_and_tokens_are_conserved_whatever_threads_do() -> None:
    limiter = RateLimiter()
    user = LimitPolicy(concurrent=3, tokens_per_minute=10**9)
    everybody = LimitPolicy(concurrent=5, tokens_per_minute=10**9, per_hour=10**6)

    def work(seed: int) -> tuple[int, int]:
        choose = random.Random(seed)
        tokens = requests = 0
        for _ in range(400):
            name = choose.choice(["user:a", "user:b"])
            answer = limiter.acquire(((name, user), ("global", everybody)), choose.randrange(50), 0)
            if isinstance(answer, LimitRefusal):
                assert answer.limit == "concurrent"
                continue
            if choose.random() < 0.5:
                assert answer.extend(choose.randrange(50), 0) is None
            total = choose.randrange(100)
            answer.correct(total, 0)
            if choose.random() < 0.3:
                answer.cancel(0)
                continue
            tokens, requests = tokens + total, requests + 1
            if choose.random() < 0.5:
                answer.release()
            # Otherwise it is dropped.
        return tokens, requests

    with ThreadPoolExecutor(THREADS) as pool:
        done = list(pool.map(work, range(THREADS)))
    tokens, requests = (sum(column) for column in zip(*done, strict=True))
    assert requests > 100
    left = [standing.remaining for standing in limiter.standings([("global", everybody)], 0)]
    assert left == [10**6 - requests, 10**9 - tokens, 5]
    for name in ("user:a", "user:b"):
        assert limiter.standings([(name, user)], 0)[1].remaining == 3


def test_one_permit_that_many_threads_end_ends_once() -> None:
    limiter, policy = RateLimiter(), LimitPolicy(concurrent=5, per_hour=100)
    kept = limiter.acquire([("user:a", policy)], 0, 0)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(100):
            permit = limiter.acquire([("user:a", policy)], 0, 0)
            assert not isinstance(permit, LimitRefusal)
            ends: list[Callable[[], None]] = [permit.release, partial(permit.cancel, 0)] * 2
            for ended in [pool.submit(end) for end in ends]:
                ended.result()
            del permit, ends
    assert not isinstance(kept, LimitRefusal)
    assert [standing.remaining for standing in kept.standings(0)] == [99, 4]


def test_forgetting_while_others_ask_loses_nothing() -> None:
    limiter, ten = RateLimiter(), LimitPolicy(per_hour=10)
    done = threading.Event()

    def forget() -> None:
        while not done.is_set():
            limiter.evict(0)

    def ask(_: int) -> int:
        return sum(
            not isinstance(limiter.acquire([(f"user:{number}", ten)], 0, 0), LimitRefusal)
            for number in range(100)
            for _ in range(3)
        )

    forgetting = threading.Thread(target=forget)
    forgetting.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(ask, range(4))) == 100 * 10
    finally:
        done.set()
        forgetting.join()
