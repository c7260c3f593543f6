"""A tier's rate limits, as the limiter counts them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from cascadeflow._native import LimitPolicy, LimitRefusal, RateLimiter
from cascadeflow.errors import ConfigurationError
from cascadeflow.tiers.config import RateLimits, policy_of


def passed(policy: LimitPolicy | None, tries: int, *, tokens: int = 0) -> int:
    """How many of so many that come at once pass, none of them ending meanwhile."""
    assert policy is not None
    limiter, permits = RateLimiter(), []
    for _ in range(tries):
        permit = limiter.acquire([("user:u", policy)], tokens, 0)
        if not isinstance(permit, LimitRefusal):
            permits.append(permit)
    return len(permits)


def test_nothing_limited_is_no_policy() -> None:
    assert policy_of(None, None) is None
    assert policy_of(RateLimits(), None) is None


def test_the_same_limits_give_the_same_policy() -> None:
    assert policy_of(RateLimits(per_hour=3), 2) is policy_of(RateLimits(per_hour=3), 2)
    assert policy_of(RateLimits(per_hour=3), 2) is not policy_of(RateLimits(per_hour=3), 3)


@pytest.mark.parametrize(
    ("limits", "concurrent", "at_once"),
    [
        (RateLimits(per_second=4), None, 4),
        (RateLimits(per_second=4, burst_per_second=0), None, 1),
        (RateLimits(per_second=4, burst_per_second=6), None, 7),
        (RateLimits(per_minute=5), None, 5),
        (RateLimits(per_minute=5, burst_per_minute=1), None, 2),
        (RateLimits(per_minute=1), None, 1),
        (RateLimits(per_hour=3), None, 3),
        (RateLimits(per_day=6), None, 6),
        (RateLimits(tokens_per_minute=25), None, 2),
        (RateLimits(), 3, 3),
        (None, 3, 3),
        (RateLimits(per_hour=2), 3, 2),
        (RateLimits(per_hour=3), 2, 2),
        (RateLimits(per_second=0), None, 0),
        (RateLimits(per_minute=0), None, 0),
        (RateLimits(per_hour=0), None, 0),
        (RateLimits(per_day=0), None, 0),
        (RateLimits(tokens_per_minute=0), None, 0),
        (None, 0, 0),
    ],
)
def test_as_many_pass_at_once_as_the_limits_say(
    limits: RateLimits | None, concurrent: int | None, at_once: int
) -> None:
    assert passed(policy_of(limits, concurrent), 10, tokens=10) == at_once


@pytest.mark.parametrize("name", [each.name for each in fields(RateLimits)])
def test_whatever_a_tier_may_say_the_limiter_takes(name: str) -> None:
    largest = 10**15 if name == "tokens_per_minute" else 10**9
    limit = name.removeprefix("burst_")
    given: dict[str, Any] = {limit: 20, name: largest}
    assert policy_of(RateLimits(**given), 10**9) is not None
    with pytest.raises(ConfigurationError, match="whole number from 0"):
        RateLimits(**{limit: 20, name: largest + 1})
