"""The circuit breaker, held against a slow, obvious model of it."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cascadeflow.config import BreakerPolicy
from cascadeflow.errors import (
    AuthenticationError,
    BadRequestError,
    CircuitOpenError,
    ConfigurationError,
    MalformedResponseError,
    OverloadedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitedError,
)
from cascadeflow.providers.breaker import (
    BURST_SECONDS,
    BreakerState,
    CircuitBreaker,
    Outcome,
    outcome_of,
)
from cascadeflow.testing.clock import ManualClock


class SlowBreaker:
    """The same machine, said as plainly as it goes: it keeps every try there ever was."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self.policy = policy
        self.draws = random.Random(7)
        self.epoch = 0
        self.state = "closed"
        self.since_closed: list[tuple[float, float, str]] = []  # began, ended, outcome
        self.opened = 0
        self.until = 0.0

    def admit(self, now: float) -> int | None:
        if self.state == "closed":
            return self.epoch
        if now < self.until:
            return None
        self.state, self.until = "half_open", now + self.policy.max_cooldown
        self.epoch += 1
        return self.epoch

    def counted(self, now: float) -> list[str]:
        """The last tries that say something, bursts counted once."""
        kept: list[tuple[float, str]] = []
        for began, ended, outcome in self.since_closed:
            failures = [at for at, kind in kept if kind == "failed"]
            burst = failures and began < failures[-1] and ended < failures[-1] + BURST_SECONDS
            if outcome == "answered" or (outcome == "failed" and not burst):
                kept.append((ended, outcome))
        return [kind for at, kind in kept[-self.policy.window :] if at >= now - self.policy.period]

    def failures(self, now: float) -> int:
        return self.counted(now).count("failed")

    def record(
        self, ticket: int, outcome: str, began: float, now: float, asked: float | None
    ) -> None:
        if ticket != self.epoch:
            return
        if self.state == "closed":
            self.since_closed.append((began, now, outcome))
            if outcome == "failed" and self.failures(now) >= self.policy.failures:
                self.open(now, asked)
        elif outcome == "failed":
            self.open(now, asked)
        else:
            self.epoch += 1
            if outcome == "unknown":
                self.state, self.until = "open", now
            else:
                self.state, self.opened, self.since_closed = "closed", 0, []

    def open(self, now: float, asked: float | None) -> None:
        policy = self.policy
        highest = min(policy.cooldown * 2**self.opened, policy.max_cooldown)
        wait = self.draws.uniform(highest / 2, highest)
        wait = max(wait, min(asked or 0.0, policy.max_cooldown))
        self.state, self.until = "open", now + wait
        self.opened += 1
        self.epoch += 1
        self.since_closed = []


class BreakerMachine(RuleBasedStateMachine):
    """Whatever is tried, in any order and however much overlaps, both say the same."""

    policy = BreakerPolicy(failures=3, window=5, period=20.0, cooldown=2.0, max_cooldown=9.0)

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.fast = CircuitBreaker(self.policy, clock=self.clock, random=random.Random(7))
        self.slow = SlowBreaker(self.policy)
        self.under_way: list[tuple[int, int, float]] = []

    @rule()
    def begin(self) -> None:
        now = self.clock.monotonic()
        fast, slow = self.fast.admit(), self.slow.admit(now)
        assert (fast is None) == (slow is None)
        if fast is not None and slow is not None:
            self.under_way.append((fast, slow, now))

    @precondition(lambda self: self.under_way)
    @rule(
        which=st.integers(0, 99),
        outcome=st.sampled_from(["answered", "failed", "failed", "failed", "refused", "unknown"]),
        asked=st.sampled_from([None, None, 4.0, 100.0]),
    )
    def end(self, which: int, outcome: Outcome, asked: float | None) -> None:
        fast, slow, began = self.under_way.pop(which % len(self.under_way))
        self.fast.record(fast, outcome, began=began, retry_after=asked)
        self.slow.record(slow, outcome, began, self.clock.monotonic(), asked)

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def both_say_the_same(self) -> None:
        now = self.clock.monotonic()
        said = self.fast.state()
        assert said.state == self.slow.state
        assert said.opened == self.slow.opened
        if said.state == "closed":
            assert said.failures == self.slow.failures(now)
        if said.state == "open":
            assert said.retry_after == pytest.approx(max(0.0, self.slow.until - now), abs=1e-6)

    @invariant()
    def it_never_stays_away_longer_than_it_may(self) -> None:
        assert self.fast.refuses_for() <= self.policy.max_cooldown + 1e-9

    @invariant()
    def its_memory_is_bounded(self) -> None:
        assert len(self.fast._tries) <= self.policy.window


BreakerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestBreakerMachine = BreakerMachine.TestCase


def breaker(clock: ManualClock, **policy: Any) -> CircuitBreaker:
    return CircuitBreaker(BreakerPolicy(**policy), clock=clock, random=random.Random(1))


def fail(each: CircuitBreaker, times: int = 1, retry_after: float | None = None) -> None:
    for _ in range(times):
        ticket = each.admit()
        assert ticket is not None
        each.record(ticket, "failed", began=each._clock.monotonic(), retry_after=retry_after)


def test_failures_in_a_row_open_it_and_an_answered_probe_closes_it() -> None:
    clock = ManualClock()
    each = breaker(clock, failures=3, window=3, cooldown=4.0)
    fail(each, 3)
    assert each.admit() is None
    assert each.state() == BreakerState(
        state="open", failures=0, opened=1, retry_after=each.refuses_for()
    )
    assert 2.0 <= each.refuses_for() <= 4.0
    clock.advance(4.0)
    probe = each.admit()
    assert probe is not None
    assert each.admit() is None  # one at a time
    assert each.state().retry_after is None
    each.record(probe, "answered", began=clock.monotonic())
    assert each.at_rest
    assert each.admit() is not None


def test_half_of_the_last_tries_open_it_though_others_were_answered() -> None:
    clock = ManualClock()
    each = breaker(clock, failures=5, window=10)
    for _ in range(4):
        fail(each)
        ticket = each.admit()
        assert ticket is not None
        each.record(ticket, "answered", began=clock.monotonic())
    assert each.state().failures == 4
    fail(each)
    assert each.admit() is None


def test_the_cooldown_doubles_up_to_its_maximum_and_starts_over_once_closed() -> None:
    clock = ManualClock()
    each = breaker(clock, failures=1, window=1, cooldown=2.0, max_cooldown=10.0)
    for highest in (2.0, 4.0, 8.0, 10.0, 10.0):
        fail(each)
        assert highest / 2 <= each.refuses_for() <= highest
        clock.advance(highest)
    probe = each.admit()
    assert probe is not None
    each.record(probe, "refused", began=clock.monotonic())  # it is there, if only to say no
    fail(each)
    assert each.refuses_for() <= 2.0


def test_the_provider_s_wish_to_be_left_alone_is_honoured_up_to_the_maximum() -> None:
    for wish, wait in ((7.0, 7.0), (3_600.0, 60.0)):
        each = breaker(ManualClock(), failures=1, window=1, cooldown=1.0, max_cooldown=60.0)
        fail(each, retry_after=wish)
        assert each.refuses_for() == wait


def test_a_probe_that_tells_nothing_gives_its_place_back() -> None:
    clock = ManualClock()
    each = breaker(clock, failures=1, window=1, cooldown=1.0)
    fail(each)
    clock.advance(1.0)
    probe = each.admit()
    assert probe is not None
    assert each.admit() is None
    each.record(probe, "unknown", began=clock.monotonic())
    assert each.admit() is not None


def test_the_place_of_a_probe_that_never_comes_back_lapses() -> None:
    clock = ManualClock()
    each = breaker(clock, failures=1, window=1, cooldown=1.0, max_cooldown=30.0)
    fail(each)
    clock.advance(1.0)
    lost = each.admit()
    assert lost is not None
    assert each.admit() is None
    clock.advance(30.0)
    second = each.admit()
    assert second is not None
    each.record(lost, "failed", began=0.0)  # too late to say anything
    assert each.state().state == "half_open"
    each.record(second, "answered", began=clock.monotonic())
    assert each.at_rest


def test_what_failed_together_counts_once() -> None:
    clock = ManualClock()
    each = breaker(clock, failures=3, window=5)
    tickets = [each.admit() for _ in range(100)]
    clock.advance(1.0)
    for ticket in tickets:
        assert ticket is not None
        each.record(ticket, "failed", began=0.0)
    assert each.state().failures == 1
    fail(each)  # the next try shows how things are
    assert each.state().failures == 2


def test_threads_lose_no_failure_and_let_one_probe_through() -> None:
    clock = ManualClock()
    each = breaker(clock, failures=1_000, window=1_000, period=1e9)
    probes: list[int] = []

    def run(work: Any) -> None:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    run(lambda: fail(each, 100))
    assert each.state().failures == 800
    fail(each, 200)
    clock.advance(120.0)

    def probe() -> None:
        ticket = each.admit()
        if ticket is not None:
            probes.append(ticket)

    run(probe)
    assert len(probes) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"failures": 0},
        {"failures": 21, "window": 20},
        {"window": 10_000},
        {"period": 0.0},
        {"cooldown": 0.0},
        {"cooldown": 9.0, "max_cooldown": 8.0},
        {"period": float("nan")},
        {"failures": "10"},
        {"failures": 1.5},
        {"window": None},
        {"period": "60"},
        {"cooldown": True},
    ],
)
def test_a_policy_that_cannot_work_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="BreakerPolicy"):
        BreakerPolicy(**settings)


def test_only_what_speaks_of_the_provider_s_health_counts() -> None:
    def outcome(cls: type[ProviderError]) -> str:
        return outcome_of(cls("no", provider="p", model="m"))

    ill: tuple[type[ProviderError], ...] = (
        OverloadedError,
        ProviderTimeoutError,
        ProviderConnectionError,
        MalformedResponseError,
    )
    well: tuple[type[ProviderError], ...] = (
        RateLimitedError,
        AuthenticationError,
        BadRequestError,
    )
    assert {outcome(cls) for cls in ill} == {"failed"}
    assert {outcome(cls) for cls in well} == {"refused"}
    assert outcome(CircuitOpenError) == "unknown"
