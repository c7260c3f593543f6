"""Over any arrivals, the limiter admits exactly what a plain one admits."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import TYPE_CHECKING

import limiter_reference as slow
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from limiter_reference import DAY, HOUR, MINUTE, SECOND, Limits

from cascadeflow._native import LimitPolicy, LimitRefusal, RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from cascadeflow._native import Permit

NAMES = ["user:a", "user:b", "tier:free", "global"]

rates = st.none() | st.tuples(
    st.integers(0, 8) | st.sampled_from([7, 1_000, 999_999_937, 10**9]), st.integers(0, 6)
)
logs = st.none() | st.integers(0, 6) | st.sampled_from([119, 120, 121, 10**6])
limits = st.builds(
    Limits,
    per_second=rates,
    per_minute=rates,
    per_hour=logs,
    per_day=logs,
    tokens_per_minute=st.none() | st.integers(0, 40),
    concurrent=st.none() | st.none() | st.integers(0, 4),
)
nearly = st.integers(-1, 1)
durations = st.one_of(
    st.integers(0, 3),
    st.integers(0, SECOND),
    st.integers(0, 50).map(lambda tenths: tenths * SECOND // 10),
    st.integers(0, 120).map(lambda seconds: seconds * SECOND),
    st.builds(
        int.__add__,
        st.sampled_from([SECOND, 30 * SECOND, MINUTE, 720 * SECOND, HOUR, DAY]),
        nearly,
    ),
    st.integers(0, 2 * DAY),
)
requests = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(0, 2)),
    min_size=1,
    max_size=4,
    unique_by=lambda pair: pair[0],
)
tokens = st.integers(0, 15)
which = st.integers(0, 100)


class Beside(RuleBasedStateMachine):
    """The limiter and the plain one, asked the same."""

    @initialize(policies=st.lists(limits, min_size=3, max_size=3), now=st.integers(0, 100 * DAY))
    def begin(self, policies: list[Limits], now: int) -> None:
        self.limiter, self.plain = RateLimiter(), slow.Limiter()
        self.limits = policies
        self.policies = [LimitPolicy(**asdict(policy)) for policy in policies]
        self.permits: list[tuple[Permit, slow.Permit]] = []
        self.now, self.retry = now, now

    def check(self, refusal: LimitRefusal, passes: Callable[[int], bool]) -> None:
        """It passes when the refusal says, and not a nanosecond before."""
        if refusal.retry_ns is None:
            assert not passes(self.now + 400 * DAY)
        else:
            assert passes(self.now + refusal.retry_ns)
            assert not passes(self.now + refusal.retry_ns - 1)
            self.retry = self.now + refusal.retry_ns
        assert refusal.permanent == (refusal.allowed == 0 or refusal.requested > refusal.allowed)
        assert refusal.account in refusal.blocked

    @rule(request=requests, count=tokens)
    def acquire(self, request: list[tuple[str, int]], count: int) -> None:
        asked = [(name, self.policies[policy]) for name, policy in request]
        plainly = [(name, self.limits[policy]) for name, policy in request]
        blocked = self.plain.blocked(plainly, count, self.now)
        answer = self.limiter.acquire(asked, count, self.now)
        permit = self.plain.acquire(plainly, count, self.now)
        if isinstance(answer, LimitRefusal):
            assert permit is None
            assert answer.blocked == tuple(blocked)
            self.check(answer, lambda now: not self.plain.blocked(plainly, count, now))
        else:
            assert permit is not None
            self.permits.append((answer, permit))

    @rule(duration=durations)
    def wait(self, duration: int) -> None:
        self.now += max(duration, 0)

    @rule(duration=durations)
    def go_back(self, duration: int) -> None:
        self.now = max(self.now - max(duration, 0), 0)

    @rule(early=st.booleans())
    def wait_as_told(self, early: bool) -> None:
        self.now = max(self.now, self.retry - early)

    @precondition(lambda self: self.permits)
    @rule(place=which, count=tokens)
    def extend(self, place: int, count: int) -> None:
        permit, plainly = self.permits[place % len(self.permits)]
        before = copy.deepcopy((self.plain, plainly))
        answer = permit.extend(count, self.now)
        assert (answer is None) == self.plain.extend(plainly, count, self.now)
        if answer is not None:

            def passes(now: int) -> bool:
                plain, plainly = copy.deepcopy(before)
                return plain.extend(plainly, count, now)

            self.check(answer, passes)

    @precondition(lambda self: self.permits)
    @rule(place=which, total=st.integers(0, 60))
    def correct(self, place: int, total: int) -> None:
        permit, plainly = self.permits[place % len(self.permits)]
        permit.correct(total, self.now)
        self.plain.correct(plainly, total, self.now)

    @precondition(lambda self: self.permits)
    @rule(place=which)
    def cancel(self, place: int) -> None:
        permit, plainly = self.permits[place % len(self.permits)]
        permit.cancel(self.now)
        self.plain.cancel(plainly, self.now)

    @precondition(lambda self: self.permits)
    @rule(place=which)
    def release(self, place: int) -> None:
        permit, plainly = self.permits[place % len(self.permits)]
        permit.release()
        self.plain.release(plainly)

    @precondition(lambda self: self.permits)
    @rule(place=which)
    def drop(self, place: int) -> None:
        _, plainly = self.permits.pop(place % len(self.permits))
        self.plain.drop(plainly)

    @rule()
    def evict(self) -> None:
        assert self.limiter.evict(self.now) == self.plain.evict(self.now)

    @rule(name=st.sampled_from(NAMES), policy=st.integers(0, 2))
    def stand(self, name: str, policy: int) -> None:
        account = self.plain.accounts.get(name, slow.Account(clock=self.plain.forgotten))
        now = max(self.now, account.clock)
        for standing in self.limiter.standings([(name, self.policies[policy])], self.now):
            assert standing.account == name
            if standing.limit == "tokens_per_minute":
                assert standing.remaining == max(standing.allowed - account.token_sum(now), 0)
            elif standing.limit == "concurrent":
                assert standing.remaining == max(standing.allowed - account.leases, 0)
                assert standing.reset_ns is None
            elif standing.remaining < 10:
                self.try_out(name, policy, standing.limit, standing.remaining)

    def try_out(self, name: str, policy: int, limit: str, remaining: int) -> None:
        """As many pass as are said to remain."""
        plain = copy.deepcopy(self.plain)
        only = [(name, Limits(**{limit: getattr(self.limits[policy], limit)}))]
        for _ in range(remaining):
            assert plain.acquire(only, 0, self.now)
        assert plain.acquire(only, 0, self.now) is None

    @invariant()
    def as_many_are_remembered(self) -> None:
        if hasattr(self, "limiter"):
            assert len(self.limiter) == len(self.plain.accounts)


Beside.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
TestLimiterBesideThePlainOne = Beside.TestCase
