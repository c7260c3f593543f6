"""Who waits for a rate limit, and in which order they pass."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from queue_scene import (
    A_HUNDRED_TOKENS,
    ONE_A_SECOND,
    ONE_AT_ONCE,
    PLENTY,
    TWELVE_A_MINUTE,
    TWO_A_SECOND,
    Scene,
    settle,
    user,
)

from cascadeflow._native import LimitPolicy, LimitRefusal, Permit
from cascadeflow.tiers.queue import Behind


def test_with_nobody_waiting_the_limiter_is_asked_and_nothing_else() -> None:
    scene = Scene()
    accounts = user("u", ("global", ONE_A_SECOND))
    assert isinstance(scene.queue.try_now(accounts, 0), Permit)
    refusal = scene.queue.try_now(accounts, 0)
    assert isinstance(refusal, LimitRefusal)
    assert refusal.retry_ns == 10**9
    assert scene.limiter.asked == 2


def test_who_waits_passes_in_the_very_moment_that_the_limit_allows() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", ONE_A_SECOND)
        scene.fill(shared)
        for name in "abc":
            await scene.come(name, user(name, shared))
        await scene.clock.run_for(0.999999999)
        assert scene.passed == []
        await scene.clock.run_for(0.000000001)
        assert scene.passed == ["a"]
        await scene.clock.run_for(2)
        assert scene.passed == ["a", "b", "c"]
        await scene.end()

    asyncio.run(main())


@pytest.mark.parametrize(("heavy", "light"), [(10, 1), (3, 2), (1, 1), (1000, 7)])
def test_tiers_that_wait_for_one_limit_pass_by_their_weights(heavy: int, light: int) -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", TWO_A_SECOND)
        scene.fill(shared)
        for number in range(120):
            for tier, weight in (("heavy", heavy), ("light", light)):
                accounts = user(f"{tier}{number % 3}", shared)
                await scene.come(tier, accounts, tier=tier, weight=weight)
        served: Counter[str] = Counter()
        await scene.second(60)
        assert len(scene.passed) == 120
        for name in scene.passed[:119]:
            served[name] += 1
            share = served["heavy"] / heavy - served["light"] / light
            assert abs(share) <= 1 / heavy + 1 / light
        await scene.end()

    asyncio.run(main())


def test_a_tier_that_was_idle_has_saved_up_nothing() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", ONE_A_SECOND)
        scene.fill(shared)
        await scene.come("b", user("b", shared), tier="b")
        for _ in range(40):
            await scene.come("a", user("a", shared), tier="a")
        await scene.second(21)
        assert scene.passed == ["b"] + ["a"] * 20
        for _ in range(10):
            await scene.come("b", user("b", shared), tier="b")
        await scene.second(10)
        assert Counter(scene.passed[21:]) == {"a": 5, "b": 5}
        await scene.end()

    asyncio.run(main())


def test_a_tier_held_back_by_its_own_limit_has_saved_up_nothing() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", ONE_A_SECOND)
        own = ("tier:b", LimitPolicy(concurrent=1))
        lease = scene.fill(own)
        scene.fill(shared)
        for _ in range(40):
            await scene.come("b", user("b", own, shared), tier="b")
            await scene.come("a", user("a", shared), tier="a")
        await scene.second(20)
        assert scene.passed == ["a"] * 20
        lease.release()
        scene.queue.returned((own,))
        for _ in range(10):
            await scene.second()
            scene.permits.pop().release()
            scene.queue.returned((own,))
        assert Counter(scene.passed[20:]) == {"a": 5, "b": 5}
        await scene.end()

    asyncio.run(main())


def test_users_of_a_tier_take_turns_and_each_ones_requests_keep_their_order() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", ONE_A_SECOND)
        scene.fill(shared)
        for name in ("a1", "a2", "a3", "b1", "c1", "c2"):
            await scene.come(name, user(name[0], shared))
        await scene.second(2)
        await scene.come("d1", user("d", shared))
        await scene.second(5)
        assert scene.passed == ["a1", "b1", "c1", "a2", "d1", "c2", "a3"]
        await scene.end()

    asyncio.run(main())


def test_users_without_limits_of_their_own_take_turns_by_their_name() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", ONE_A_SECOND)
        scene.fill(shared)
        for name in ("a1", "a2", "b1"):
            await scene.come(name, (shared,), user=name[0])
        await scene.second(3)
        assert scene.passed == ["a1", "b1", "a2"]
        await scene.end()

    asyncio.run(main())


def test_who_waits_for_its_own_limit_holds_nobody_back() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", TWO_A_SECOND)
        slow = user("slow", shared, own=TWELVE_A_MINUTE)
        scene.fill(*slow)
        await scene.come("slow", slow)
        for number in range(6):
            await scene.come(f"{number}", user("quick", shared))
        await scene.second(3)
        assert scene.passed == [f"{number}" for number in range(6)]
        assert isinstance(scene.queue.try_now(user("new", shared), 0), LimitRefusal)
        await scene.second(2)
        assert scene.passed[6:] == ["slow"]
        await scene.end()

    asyncio.run(main())


def test_one_that_cannot_pass_for_its_own_limit_does_not_close_a_shared_one() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", A_HUNDRED_TOKENS)
        greedy = user("greedy", shared, own=LimitPolicy(per_hour=1))
        scene.fill(*greedy, tokens=50)
        await scene.come("greedy", greedy, 90)  # both refuse it, its own for an hour
        assert isinstance(scene.queue.try_now(user("other", shared), 40), Permit)
        await scene.come("another", user("another", shared), 10)
        assert scene.passed == ["another"]
        await scene.end()

    asyncio.run(main())


def test_a_large_request_is_not_overtaken_by_small_ones() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", A_HUNDRED_TOKENS)
        scene.fill(shared, tokens=60)
        await scene.clock.run_for(30)
        scene.fill(shared, tokens=10)
        await scene.come("large", user("a", shared), 80)
        for number in range(5):
            await scene.come(f"{number}", user("b", shared), 2)
            behind = scene.queue.try_now(user("c", shared), 1)
            assert isinstance(behind, Behind)
            assert behind.refusal.account == "global"
            assert behind.refusal.requested == 80
            assert behind.retry_ns == 30 * 10**9
        await scene.clock.run_for(30)
        assert scene.passed == ["large", "0", "1", "2", "3", "4"]
        await scene.end()

    asyncio.run(main())


def test_a_small_request_of_a_tier_whose_turn_is_next_need_not_wait_for_a_large_one() -> None:
    async def main() -> None:
        scene = Scene()
        shared = ("global", A_HUNDRED_TOKENS)
        scene.fill(shared, tokens=50)
        scene.fill(("user:busy", ONE_A_SECOND))
        await scene.come("busy", user("busy", own=ONE_A_SECOND), tier="a")
        await scene.come("a", user("a", shared), 10, tier="a")
        await scene.come("large", user("a", shared), 80, tier="a")
        await scene.come("small", user("b", shared), 10, tier="b")
        assert scene.passed == ["a", "small"]
        await scene.end()

    asyncio.run(main())


@pytest.mark.parametrize("in_line", [False, True])
def test_what_an_overtaker_took_is_closed_to_the_next_where_a_waiter_now_waits_for_it(
    *, in_line: bool
) -> None:
    async def main() -> None:
        scene = Scene(size=1)
        tier = ("tier:a", LimitPolicy(tokens_per_minute=40))
        shared = ("global", LimitPolicy(tokens_per_minute=80))
        for name in "uv":
            scene.fill(*user(name, tier, shared), tokens=10)
            await scene.clock.run_for(10)
        await scene.come("waits", user("w", tier, shared), 25, tier="a")  # for its tier, 40 s
        # Of `global` 60 are left, and who does not need the tier's goes by.
        if in_line:
            await scene.come("overtakes", user("x", shared), 56, tier="b")
            assert scene.passed == ["overtakes"]
        else:
            scene.fill(*user("x", shared), tokens=56)
        behind = scene.queue.try_now(user("y", shared), 1)
        assert isinstance(behind, Behind)
        assert (behind.refusal.account, behind.refusal.requested) == ("global", 25)
        assert behind.retry_ns == 60 * 10**9
        await scene.clock.run_for(60)
        assert scene.passed[-1] == "waits"
        await scene.end()

    asyncio.run(main())


def test_only_what_a_waiter_waits_for_is_closed_to_others() -> None:
    async def main() -> None:
        scene = Scene()
        tier = ("tier:a", ONE_AT_ONCE)
        scene.permits.append(scene.fill(tier))
        await scene.come("a", user("a", tier, ("global", PLENTY)), tier="a")
        behind = scene.queue.try_now(user("b", tier, ("global", PLENTY)), 0)
        assert isinstance(behind, Behind)
        assert behind.refusal.account == "tier:a"
        assert behind.retry_ns is None
        assert isinstance(scene.queue.try_now(user("b", ("global", PLENTY)), 0), Permit)
        await scene.end()

    asyncio.run(main())


def test_one_user_in_two_tiers_waits_for_one_account() -> None:
    async def main() -> None:
        scene = Scene()
        own = LimitPolicy(concurrent=1)
        lease = scene.fill(("user:u", own))
        await scene.come("1", user("u", own=own), tier="a")
        await scene.come("2", user("u", own=own), tier="b")
        await scene.come("3", user("v", ("user:u", own)), tier="c")
        assert scene.passed == []
        lease.release()
        for expected in (["1"], ["1", "2"], ["1", "2", "3"]):
            scene.queue.returned((("user:u", own),))
            await settle()
            assert scene.passed == expected
            scene.permits[-1].release()
        await scene.end()

    asyncio.run(main())


def test_requests_of_one_user_may_need_different_accounts() -> None:
    async def main() -> None:
        scene = Scene()
        narrow = ("tier:t", ONE_AT_ONCE)
        lease = scene.fill(narrow)
        await scene.come("1", user("u", narrow))
        await scene.come("2", user("u", ("global", PLENTY)))
        gone = await scene.come("3", user("w", narrow))
        await scene.come("4", user("w", ("global", PLENTY)))
        assert scene.passed == []  # each user's requests keep their order
        gone.cancel()
        await settle()
        assert scene.passed == ["4"]
        lease.release()
        scene.queue.returned((narrow,))
        await settle()
        assert scene.passed == ["4", "1", "2"]
        await scene.end()

    asyncio.run(main())
