"""The rate limiter as Python sees it: what passes, what is refused and why, what makes no sense."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from cascadeflow._native import LimitPolicy, LimitRefusal, LimitStanding, Permit, RateLimiter
from cascadeflow.errors import ConfigurationError, InvalidRequestError

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND


def passing(limiter: RateLimiter, *accounts: tuple[str, LimitPolicy], now: int = 0) -> Permit:
    permit = limiter.acquire(accounts, 0, now)
    assert isinstance(permit, Permit)
    return permit


def refused(
    limiter: RateLimiter, *accounts: tuple[str, LimitPolicy], tokens: int = 0, now: int = 0
) -> LimitRefusal:
    refusal = limiter.acquire(accounts, tokens, now)
    assert isinstance(refusal, LimitRefusal)
    return refusal


def remaining(limiter: RateLimiter, name: str, policy: LimitPolicy, now: int = 0) -> list[int]:
    return [standing.remaining for standing in limiter.standings([(name, policy)], now)]


def test_ten_an_hour_is_never_eleven() -> None:
    limiter, ten = RateLimiter(), LimitPolicy(per_hour=10)
    for second in range(10):
        passing(limiter, ("user:a", ten), now=second * SECOND)
    refusal = refused(limiter, ("user:a", ten), now=HOUR - 1)
    assert (refusal.account, refusal.limit, refusal.allowed) == ("user:a", "per_hour", 10)
    assert (refusal.requested, refusal.retry_ns, refusal.permanent) == (1, 1, False)
    assert refusal.blocked == ("user:a",)
    passing(limiter, ("user:a", ten), now=HOUR)
    assert refused(limiter, ("user:a", ten), now=HOUR).retry_ns == SECOND


def test_a_refusal_names_the_account_that_takes_longest_and_everyone_who_refused() -> None:
    limiter = RateLimiter()
    hour, day, many = LimitPolicy(per_hour=1), LimitPolicy(per_day=1), LimitPolicy(per_day=9)
    accounts = (("user:a", hour), ("tier:free", day), ("global", many))
    passing(limiter, *accounts)
    refusal = refused(limiter, *accounts)
    assert (refusal.account, refusal.limit) == ("tier:free", "per_day")
    assert refusal.retry_ns == 24 * HOUR
    assert refusal.blocked == ("user:a", "tier:free")
    assert remaining(limiter, "global", many) == [8]


def test_a_lease_ends_when_its_permit_is_dropped() -> None:
    limiter, one = RateLimiter(), LimitPolicy(concurrent=1)
    permit = passing(limiter, ("user:a", one))
    refusal = refused(limiter, ("user:a", one))
    assert refusal.retry_ns is None
    assert not refusal.permanent
    del permit
    gc.collect()
    permit = passing(limiter, ("user:a", one))
    permit.release()
    permit.release()
    permit.cancel(0)
    del permit
    assert remaining(limiter, "user:a", one) == [1]


def test_a_permit_in_a_cycle_ends_when_it_is_collected() -> None:
    limiter, one = RateLimiter(), LimitPolicy(concurrent=1)
    cycle: list[Any] = [passing(limiter, ("user:a", one))]
    cycle.append(cycle)
    assert remaining(limiter, "user:a", one) == [0]
    del cycle
    gc.collect()
    assert remaining(limiter, "user:a", one) == [1]


def test_a_limit_of_none_and_a_request_larger_than_a_limit_never_pass() -> None:
    limiter = RateLimiter()
    for none in (
        LimitPolicy(per_second=(0, 0)),
        LimitPolicy(per_minute=(0, 5)),
        LimitPolicy(per_hour=0),
        LimitPolicy(per_day=0),
        LimitPolicy(tokens_per_minute=0),
        LimitPolicy(concurrent=0),
    ):
        refusal = refused(limiter, ("user:a", none))
        assert refusal.permanent
        assert refusal.retry_ns is None
    some = LimitPolicy(tokens_per_minute=100)
    refusal = refused(limiter, ("user:a", some), tokens=101)
    assert (refusal.permanent, refusal.requested, refusal.allowed) == (True, 101, 100)
    assert len(limiter) == 0


def test_tokens_are_reserved_extended_corrected_and_taken_back() -> None:
    limiter, some = RateLimiter(), LimitPolicy(tokens_per_minute=100)
    permit = limiter.acquire([("user:a", some)], 60, SECOND)
    assert isinstance(permit, Permit)
    assert permit.extend(40, SECOND) is None
    refusal = permit.extend(1, SECOND)
    assert refusal is not None
    assert (refusal.limit, refusal.retry_ns) == ("tokens_per_minute", 60 * SECOND)
    permit.correct(250, SECOND)
    assert remaining(limiter, "user:a", some, SECOND) == [0]
    permit.correct(30, SECOND)
    assert [standing.remaining for standing in permit.standings(SECOND)] == [70]
    permit.cancel(SECOND)
    assert remaining(limiter, "user:a", some, SECOND) == [100]


def test_standings_say_how_each_limit_stands() -> None:
    policy = LimitPolicy(
        per_second=(5, 2),
        per_minute=(60, 0),
        per_hour=10,
        per_day=1_000,
        tokens_per_minute=500,
        concurrent=3,
    )
    limiter = RateLimiter()
    permit = limiter.acquire([("user:a", policy)], 20, 7 * SECOND)
    assert isinstance(permit, Permit)
    standings = permit.standings(7 * SECOND)
    assert all(isinstance(standing, LimitStanding) for standing in standings)
    plain = [(one.limit, one.allowed, one.remaining, one.reset_ns) for one in standings]
    assert plain == [
        ("per_second", 5, 2, SECOND // 5),
        ("per_minute", 60, 0, SECOND),
        ("per_hour", 10, 9, HOUR),
        # A thousand a day are counted in slots of 720 seconds.
        ("per_day", 1_000, 999, 24 * HOUR + 713 * SECOND),
        ("tokens_per_minute", 500, 480, 60 * SECOND),
        ("concurrent", 3, 2, None),
    ]
    seen = limiter.standings([("user:a", policy), ("user:b", policy)], 7 * SECOND)
    assert [standing.account for standing in seen] == ["user:a"] * 6 + ["user:b"] * 6
    assert len(limiter) == 1


def test_what_is_idle_is_forgotten() -> None:
    limiter, ten = RateLimiter(), LimitPolicy(per_hour=10)
    for number in range(100):
        passing(limiter, (f"user:{number}", ten), now=number)
    assert limiter.evict(HOUR + 49) == 50
    assert len(limiter) == 50
    assert limiter.evict(2 * HOUR) == 50


@pytest.mark.parametrize("accounts", [list, tuple])
def test_accounts_are_any_sequence_of_pairs(accounts: Any) -> None:
    limiter, policy = RateLimiter(), LimitPolicy(per_hour=1)
    assert isinstance(limiter.acquire(accounts([("ä", policy), ("b", policy)]), 0, 0), Permit)
    assert refused(limiter, ("ä", policy)).account == "ä"


POLICY = LimitPolicy(per_hour=1)


@pytest.mark.parametrize(
    ("accounts", "tokens", "now", "message"),
    [
        ([], 0, 0, "at least one account"),
        ([(str(name), POLICY) for name in range(9)], 0, 0, "at most 8 accounts"),
        ([("a", POLICY), ("a", POLICY)], 0, 0, "names an account once"),
        ([("a", None)], 0, 0, "a name and a LimitPolicy"),
        ([("a", POLICY, 1)], 0, 0, "a name and a LimitPolicy"),
        ([(b"a", POLICY)], 0, 0, "a name and a LimitPolicy"),
        ({"a": POLICY}, 0, 0, "a name and a LimitPolicy"),
        ([("a", POLICY)], -1, 0, "tokens are a whole number"),
        ([("a", POLICY)], 1.5, 0, "tokens are a whole number"),
        ([("a", POLICY)], True, 0, "tokens are a whole number"),
        ([("a", POLICY)], 10**16, 0, "at most 1000000000000000 tokens"),
        pytest.param([("a", POLICY)], 10**5000, 0, "tokens are a whole number", id="digits"),
        ([("a", POLICY)], 0, -1, "a time is whole nanoseconds"),
        ([("a", POLICY)], 0, 1.0, "a time is whole nanoseconds"),
        ([("a", POLICY)], 0, 2**62, "a time is whole nanoseconds"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    accounts: Any, tokens: Any, now: Any, message: str
) -> None:
    limiter = RateLimiter()
    with pytest.raises(InvalidRequestError, match=message):
        limiter.acquire(accounts, tokens, now)
    assert len(limiter) == 0


def test_a_permit_refuses_what_makes_no_sense() -> None:
    permit = passing(RateLimiter(), ("a", POLICY))
    calls: list[Any] = [
        lambda: permit.extend(-1, 0),
        lambda: permit.extend(1, -1),
        lambda: permit.correct(10**16, 0),
        lambda: permit.correct(0.5, 0),  # type: ignore[arg-type]
        lambda: permit.cancel(-1),
        lambda: permit.standings(-1),
    ]
    for call in calls:
        with pytest.raises(InvalidRequestError):
            call()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"per_second": 5}, "per_second is a limit and its burst"),
        ({"per_second": (5,)}, "per_second is a limit and its burst"),
        ({"per_minute": (None, 5)}, "per_minute is a limit and its burst"),
        ({"per_minute": (5, -1)}, "per_minute is a limit and its burst"),
        ({"per_minute": (5, 1.0)}, "per_minute is a limit and its burst"),
        ({"per_hour": -1}, "per_hour is a whole number"),
        ({"per_hour": True}, "per_hour is a whole number"),
        ({"per_day": 2.0}, "per_day is a whole number"),
        ({"per_day": 10**9 + 1}, "per_day is at most 1000000000"),
        ({"concurrent": "3"}, "concurrent is a whole number"),
        ({"tokens_per_minute": 10**16}, "tokens_per_minute is at most 1000000000000000"),
        ({"per_second": (10**9, 10**9 + 1)}, "a burst is at most"),
        ({"per_minute": (1, 10**9)}, "a burst is at most"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LimitPolicy(**given)


def test_policies_of_the_same_limits_are_equal_and_say_what_they_are() -> None:
    one, same = LimitPolicy(per_hour=10, concurrent=2), LimitPolicy(concurrent=2, per_hour=10)
    other = LimitPolicy(per_hour=11, concurrent=2)
    assert one == same != other
    assert len({one, same, other}) == 2
    assert repr(one) == "LimitPolicy(per_hour=10, concurrent=2)"
    assert repr(LimitPolicy(per_second=(5, 4))) == "LimitPolicy(per_second=(5, 4))"
