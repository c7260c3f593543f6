"""The circuit breaker: a slow, obvious model of it, and what it does to calls over real HTTP."""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cascadeflow.config import BreakerPolicy, Deadlines, RetryPolicy
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
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers.breaker import (
    BURST_SECONDS,
    BreakerState,
    CircuitBreaker,
    Outcome,
    outcome_of,
)
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.providers.completer import Providers
from cascadeflow.testing.clock import ManualClock

if TYPE_CHECKING:
    from types import SimpleNamespace

ONCE = RetryPolicy(attempts=1)


# The state machine


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


# What it does to calls


def completer(clock: ManualClock, **settings: Any) -> HttpCompleter:
    policy = {"failures": 3, "window": 3, "cooldown": 10.0, **settings.pop("policy", {})}
    return HttpCompleter(
        clock=clock,
        random=random.Random(1),
        **{"breaker": BreakerPolicy(**policy), "retry": ONCE, **settings},
    )


def failing(http: SimpleNamespace, *statuses: int) -> Any:
    """Answers by the next status; the last one repeats; 200 is an answer, 0 a reset."""

    async def handler(exchange: Any) -> None:
        status = statuses[min(exchange.number, len(statuses)) - 1]
        if status == 200:
            await http.answer(exchange)
        elif status == 0:
            exchange.drop()
        else:
            await exchange.respond(status, {"error": {"message": "no"}})

    return handler


async def ask(asked: HttpCompleter | Providers, model: Any, request: Any, *, streamed: bool) -> Any:
    if not streamed:
        return await asked.complete(model, request)
    async with aclosing(asked.stream(model, request)) as events:
        return [event async for event in events][-1]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("status", [503, 0])
def test_a_model_that_keeps_failing_is_not_asked_until_its_cooldown_is_over(
    http: SimpleNamespace, status: int, *, streamed: bool
) -> None:
    async def main() -> None:
        clock = ManualClock()
        asked = completer(clock)
        async with http.serve(failing(http, status, status, status, 200)) as server:
            model = http.model(server)
            for _ in range(3):
                with pytest.raises((OverloadedError, ProviderConnectionError)):
                    await ask(asked, model, http.ask(), streamed=streamed)
            with pytest.raises(CircuitOpenError, match="another model") as caught:
                await ask(asked, model, http.ask(), streamed=streamed)
            error = caught.value
            assert isinstance(error, OverloadedError)
            assert error.billed is False
            assert error.retryable is False
            assert error.attempts == ()
            assert (error.provider, error.model) == ("openai", "m")
            assert error.retry_after == asked.breakers()["openai:m"].retry_after
            assert len(server.exchanges) == 3
            assert asked.breakers()["openai:m"].state == "open"
            clock.advance(10.0)
            reply = await ask(asked, model, http.ask(), streamed=streamed)
            assert reply.completion.text == "Hello"
            assert asked.breakers()["openai:m"] == BreakerState(
                state="closed", failures=0, opened=0, retry_after=0.0
            )
            await asked.aclose()

    asyncio.run(main())


def test_retrying_ends_with_the_last_error_when_the_circuit_opens(http: SimpleNamespace) -> None:
    async def main() -> None:
        clock = ManualClock(autojump=True)
        asked = completer(clock, retry=RetryPolicy(attempts=9, base_delay=0.1))
        async with http.serve(failing(http, 503)) as server:
            with pytest.raises(OverloadedError) as caught:
                await asked.complete(http.model(server), http.ask())
            assert not isinstance(caught.value, CircuitOpenError)
            assert len(caught.value.attempts) == 3
            assert len(server.exchanges) == 3
            await asked.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("status", [400, 401, 404, 429])
def test_a_refusal_does_not_open_the_circuit(http: SimpleNamespace, status: int) -> None:
    async def main() -> None:
        asked = completer(ManualClock(autojump=True))
        async with http.serve(failing(http, status)) as server:
            for _ in range(6):
                with pytest.raises(ProviderError):
                    await asked.complete(http.model(server), http.ask())
            assert len(server.exchanges) == 6
            assert asked.breakers()["openai:m"].failures == 0
            await asked.aclose()

    asyncio.run(main())


def test_a_missed_deadline_counts_and_a_call_s_own_time_out_does_not(http: SimpleNamespace) -> None:
    async def never(exchange: Any) -> None:
        await exchange.until_closed()

    async def main() -> None:
        asked = HttpCompleter(
            retry=ONCE,
            deadlines=Deadlines(first_byte=0.03),
            breaker=BreakerPolicy(failures=2, window=2),
        )
        async with http.serve(never) as server:
            model = http.model(server)
            for _ in range(3):
                with pytest.raises(ProviderTimeoutError, match="call's deadline"):
                    await asked.complete(model, http.ask(), timeout=0.01)
            assert asked.breakers()["openai:m"].failures == 0
            for _ in range(2):
                with pytest.raises(ProviderTimeoutError, match="first byte"):
                    await asked.complete(model, http.ask())
            with pytest.raises(CircuitOpenError):
                await asked.complete(model, http.ask())
            await asked.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_probe_gives_its_place_back(http: SimpleNamespace, *, streamed: bool) -> None:
    async def handler(exchange: Any) -> None:
        if exchange.number <= 3:
            await exchange.respond(503, {"error": {"message": "no"}})
        elif exchange.number == 4:
            await exchange.until_closed()
        else:
            await http.answer(exchange)

    async def main() -> None:
        clock = ManualClock()
        asked = completer(clock)
        async with http.serve(handler) as server:
            model = http.model(server)
            for _ in range(3):
                with pytest.raises(OverloadedError):
                    await asked.complete(model, http.ask())
            clock.advance(10.0)
            probe = asyncio.create_task(ask(asked, model, http.ask(), streamed=streamed))
            while len(server.exchanges) < 4:  # noqa: ASYNC110 - until it has arrived
                await asyncio.sleep(0)
            with pytest.raises(CircuitOpenError, match="just now") as caught:
                await asked.complete(model, http.ask())
            assert caught.value.retry_after is None
            probe.cancel()
            with pytest.raises(asyncio.CancelledError):
                await probe
            assert (await asked.complete(model, http.ask())).completion.text == "Hello"
            await asked.aclose()

    asyncio.run(main())


def test_the_first_piece_of_a_stream_closes_the_circuit_and_its_breaking_off_counts(
    http: SimpleNamespace,
) -> None:
    async def handler(exchange: Any) -> None:
        if exchange.number <= 3:
            await exchange.respond(503, {"error": {"message": "no"}})
            return
        await exchange.start_stream()
        await exchange.event(http.stream_chunks()[0])
        await going.wait()
        exchange.drop()

    async def main() -> None:
        clock = ManualClock()
        asked = completer(clock)
        async with http.serve(handler) as server:
            model = http.model(server)
            for _ in range(3):
                with pytest.raises(OverloadedError):
                    await asked.complete(model, http.ask())
            clock.advance(10.0)
            stream = asked.stream(model, http.ask())
            await anext(stream)
            assert asked.breakers()["openai:m"].state == "closed"
            going.set()
            with pytest.raises(ProviderConnectionError):
                await anext(stream)
            assert asked.breakers()["openai:m"].failures == 1
            await asked.aclose()

    going = asyncio.Event()
    asyncio.run(main())


def test_each_model_at_each_address_has_its_own(http: SimpleNamespace) -> None:
    async def main() -> None:
        clock = ManualClock()
        asked = completer(clock)
        async with (
            http.serve(failing(http, 503)) as broken,
            http.serve(failing(http, 200)) as well,
        ):
            ill = http.model(broken)
            for _ in range(3):
                # Made anew each time, as a model is that is named by a string.
                with pytest.raises(OverloadedError):
                    await asked.complete(http.model(broken), http.ask())
            with pytest.raises(CircuitOpenError):
                await asked.complete(ill, http.ask())
            other = ModelConfig("n", "openai", api_key="k" * 9, base_url=broken.url)
            with pytest.raises(OverloadedError) as caught:
                await asked.complete(other, http.ask())
            assert not isinstance(caught.value, CircuitOpenError)
            await asked.complete(http.model(well), http.ask())
            await asked.aclose()
            assert {name: each.state for name, each in asked.breakers().items()} == {
                f"openai:m at {broken.url}": "open",
                f"openai:m at {well.url}": "closed",
                "openai:n": "closed",
            }

    asyncio.run(main())


def test_no_more_breakers_are_kept_than_memory_shall_hold(
    http: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascadeflow.providers.breaker._MOST_BREAKERS", 4)

    async def main() -> None:
        asked = completer(ManualClock())
        async with http.serve(failing(http, 503, 503, 503, 200)) as server:
            ill = http.model(server)
            for _ in range(3):
                with pytest.raises(OverloadedError):
                    await asked.complete(ill, http.ask())
            for number in range(20):
                model = ModelConfig(f"n{number}", "openai", api_key="k" * 9, base_url=server.url)
                await asked.complete(model, http.ask())
            assert len(asked.breakers()) <= 4
            with pytest.raises(CircuitOpenError):  # what is open is kept longest
                await asked.complete(ill, http.ask())
            await asked.aclose()

    asyncio.run(main())


def test_it_can_be_left_out_and_is_there_by_default(http: SimpleNamespace) -> None:
    async def main() -> None:
        async with http.serve(failing(http, 503)) as server:
            model = http.model(server)
            for settings in ({"breaker": None}, {}):
                asked = Providers(clock=ManualClock(), retry=ONCE, **settings)
                errors: list[ProviderError] = []
                for _ in range(20):
                    with pytest.raises(OverloadedError) as caught:
                        await asked.complete(model, http.ask())
                    errors.append(caught.value)
                opened = [isinstance(error, CircuitOpenError) for error in errors]
                assert opened == [False] * 20 if settings else [False] * 10 + [True] * 10
                assert bool(asked.breakers()) is not bool(settings)
                await asked.aclose()

    asyncio.run(main())
