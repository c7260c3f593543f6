"""A tracker under any order of operations equals a slow, obvious model that does one at a time."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from tracker_stores import TestStore, kill

from cascadeflow.budgets.records import AccountStanding, Charge, Spender, UsageEvent
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import BudgetExceededError
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from cascadeflow.budgets.reservation import Reservation

CHEAP, DEAR = "openai:small", "openai:large"
START = datetime(2026, 3, 10, 22, 50, tzinfo=UTC)
NANO = Fraction(1, 10**9)
ROLLING_WIDTH_MS = 3_600_000 // 48
THRESHOLDS = ((Fraction(8, 10), "warned"), (Fraction(9, 10), "degraded"), (1, "exhausted"))
ME = {"actor": "ada", "reason": "asked for"}

amounts = st.integers(0, 60) | st.integers(0, 400)
users = st.sampled_from([None, "named", "other"])
models = st.sampled_from([CHEAP, DEAR])
calls = st.lists(st.tuples(models, amounts), min_size=1, max_size=3)


def usd(nanodollars: int) -> str:
    return f"{nanodollars}e-9"


@dataclass(eq=False)
class Entry:
    """Money on some accounts: what is held, or what was booked, in the periods of one moment."""

    at: datetime
    on: dict[str, int]


def spread(user: str, parts: list[tuple[str, int]]) -> dict[str, int]:
    """What calls come to on each account."""
    total = sum(amount for _, amount in parts)
    on = {"global": total, f"user:{user}": total}
    for model, amount in parts:
        on[f"model:{model}"] = on.get(f"model:{model}", 0) + amount
    return on


@dataclass(eq=False)
class Group:
    """What a reservation asked for in one quarter of an hour."""

    calls: list[tuple[str, int]]
    entries: list[Entry]

    def settle(self, user: str, charges: list[tuple[str, int]]) -> None:
        """What was held first is used first, on every account by itself."""
        actual = spread(user, charges)
        scopes = {scope for entry in self.entries for scope in entry.on} | set(actual)
        for scope in scopes:
            rest = actual.get(scope, 0)
            for entry in self.entries:
                share = rest if entry is self.entries[-1] else min(rest, entry.on.get(scope, 0))
                entry.on[scope] = share
                rest -= share


def period_of(period: str, at: datetime) -> int:
    """Which day, or bucket of a rolling hour; a total is one period."""
    if period == "total":
        return 0
    if period == "day":
        return at.toordinal()
    return int(at.timestamp() * 1000) // ROLLING_WIDTH_MS


def quarter(at: datetime) -> int:
    return int(at.timestamp()) // 900


class TrackerMachine(RuleBasedStateMachine):
    """Everything a tracker in memory can be told, in any order."""

    stored = False
    default = BudgetConfig(rolling=usd(250), rolling_hours=1)
    reservations = Bundle("reservations")

    def make(self) -> CostTracker:
        return CostTracker(
            global_budget=BudgetConfig(daily=usd(600), total=usd(2000)),
            user_budgets={"named": BudgetConfig(daily=usd(300))},
            default_user_budget=self.default,
            budgets={f"model:{DEAR}": usd(500)},
            clock=self.clock,
            store=self.store,
        )

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock(START)
        self.store = TestStore(clock=self.clock) if self.stored else None
        self.limits: dict[tuple[str, str], int] = {
            ("global", "day"): 600,
            ("global", "total"): 2000,
            ("user:named", "day"): 300,
            ("user:other", self.default.limits[0][0]): 250,
            ("user:anonymous", self.default.limits[0][0]): 250,
            (f"model:{DEAR}", "total"): 500,
        }
        self.entries: list[Entry] = []
        self.of: dict[int, tuple[str, list[Group]]] = {}
        self.reported: set[tuple[Any, ...]] = set()
        self.open_tracker()

    def open_tracker(self) -> None:
        self.tracker = self.make()
        self.tracker._books._alert = self.hear

    def hear(self, standing: AccountStanding, state: str, now_ms: int) -> None:
        if state in {"refused", "over_limit"}:
            return
        instance: Any = standing.started_at
        if standing.period == "rolling":
            instance = now_ms // (ROLLING_WIDTH_MS * 49)
        key = (str(standing.scope), standing.period, instance, state)
        assert key not in self.reported
        self.reported.add(key)

    # The model

    def used(self, scope: str, period: str, at: datetime) -> int:
        now = period_of(period, at)
        reach = 48 if period == "rolling" else 0
        return sum(
            entry.on.get(scope, 0)
            for entry in self.entries
            if now - reach <= period_of(period, entry.at) <= now
        )

    def fits(self, on: dict[str, int]) -> bool:
        return all(
            not on.get(scope) or self.used(scope, period, self.clock.now()) + on[scope] <= limit
            for (scope, period), limit in self.limits.items()
        )

    def spender(self, user: str | None) -> Spender:
        return Spender(user_id=user, team="untouched")

    # What may happen

    @rule(target=reservations, user=users, asked=calls, force=st.sampled_from([False] * 4 + [True]))
    def reserve(self, user: str | None, asked: list[tuple[str, int]], force: bool) -> Any:
        now = self.clock.now()
        on = spread(user or "anonymous", asked)
        fits = self.fits(on)
        try:
            made = self.tracker.reserve_sync(
                self.spender(user), asked, request_id="r", at=now, force=force
            )
        except BudgetExceededError as error:
            assert not fits
            assert not force
            assert error.limit < error.spent + error.held + error.requested  # noqa: PT017 - a rule
            return multiple()
        assert fits or force
        assert made.over_limit == (not fits)
        entry = Entry(now, on)
        self.entries.append(entry)
        self.of[id(made)] = (user or "anonymous", [Group(list(asked), [entry])])
        return made

    @rule(made=reservations, asked=calls, force=st.sampled_from([False] * 4 + [True]))
    def extend(self, made: Reservation, asked: list[tuple[str, int]], force: bool) -> None:
        user, groups = self.of[id(made)]
        if not made.open:
            assert not made.extend_sync(asked, force=force)
            return
        now = self.clock.now()
        on = spread(user, asked)
        fits = self.fits(on)
        assert made.extend_sync(asked, force=force) == (fits or force)
        if not (fits or force):
            return
        entry = Entry(now, on)
        self.entries.append(entry)
        if quarter(groups[-1].entries[0].at) == quarter(now):
            groups[-1].entries.append(entry)
            groups[-1].calls += asked
        else:
            groups.append(Group(list(asked), [entry]))

    @rule(made=reservations, share=st.integers(0, 120), confirmed=st.booleans())
    def settle(self, made: Reservation, share: int, confirmed: bool) -> None:
        user, groups = self.of[id(made)]
        was_open = made.open
        charges = [
            Charge(model=m, nanodollars=n * share // 100, confirmed=confirmed, held=n)
            for m, n in made.calls
        ]
        before = self.tracker.spent
        outcome = made.settle(charges)
        assert not made.open
        if not was_open:
            assert self.tracker.spent == before
            return
        assert outcome.booked == sum(c.nanodollars or 0 for c in charges)
        assert outcome.overrun == max(0, outcome.booked - made.held)
        if outcome.overrun:
            self.tracker.flush()  # nobody granted it: it is safe once it is written, not before
        for group in groups:
            group.settle(user, [(model, n * share // 100) for model, n in group.calls])

    @rule(made=consumes(reservations))
    def release(self, made: Reservation) -> None:
        if made.open:
            for group in self.of[id(made)][1]:
                group.settle("", [])
        made.release()
        self.forget(made)

    @rule(made=consumes(reservations))
    def drop(self, made: Reservation) -> None:
        self.forget(made)  # an open one stays booked at what was held
        del made
        gc.collect()

    def forget(self, made: Reservation) -> None:
        self.of.pop(id(made))
        # The machine keeps what its rules were given: the tracker is told as `__del__` tells it.
        made.__del__()

    @rule(user=users, model=models, amount=amounts)
    def record(self, user: str | None, model: str, amount: int) -> None:
        provider, _, name = model.partition(":")
        self.tracker.record(model=name, provider=provider, nanodollars=amount, user_id=user)
        self.tracker.flush()  # what was spent elsewhere is safe once it is written, not before
        on = spread(user or "anonymous", [(model, amount)])
        self.entries.append(Entry(self.clock.now(), on))

    @rule(
        account=st.sampled_from([("global", "day"), ("global", "total"), ("user:named", "day")]),
        limit=st.integers(1, 2500),
    )
    def change_a_limit(self, account: tuple[str, str], limit: int) -> None:
        scope, _ = account
        self.limits[account] = limit
        names = {"day": "daily", "total": "total"}
        config: dict[str, Any] = {
            names[p]: usd(n) for (s, p), n in self.limits.items() if s == scope
        }
        for standing in self.tracker.accounts(scope):
            new = self.limits[scope, standing.period]
            for share, state in THRESHOLDS:
                if standing.spent < ceil(share * new):  # it may be reached anew
                    self.reported.discard((scope, standing.period, standing.started_at, state))
        self.tracker.set_budget(scope, BudgetConfig(**config), **ME)

    @rule(seconds=st.sampled_from([1, 60, 100, 900, 3600, 4000, 30_000]))
    def turn_the_clock(self, seconds: int) -> None:
        self.clock.advance(seconds)

    # What always holds

    @invariant()
    def every_sum_is_the_models(self) -> None:
        if not hasattr(self, "tracker"):
            return
        now = self.clock.now()
        for standing in self.tracker.accounts():
            scope, period = str(standing.scope), standing.period
            assert standing.limit == self.limits[scope, period]
            used = standing.spent + standing.held
            assert used == self.used(scope, period, now), (scope, period)

    @invariant()
    def thresholds_that_are_reached_were_reported(self) -> None:
        if not hasattr(self, "tracker"):
            return
        for standing in self.tracker.accounts():
            if standing.period == "rolling" or standing.limit is None:
                continue
            for share, state in THRESHOLDS:
                if standing.spent and standing.spent >= ceil(share * standing.limit):
                    scope = str(standing.scope)
                    key = (scope, standing.period, standing.started_at, state)
                    assert key in self.reported

    @invariant()
    def the_log_adds_up(self) -> None:
        if not hasattr(self, "tracker") or self.stored:
            return
        events = [e for e in self.tracker.events() if isinstance(e, UsageEvent)]
        assert self.tracker.spent == sum(e.booked for e in events) * NANO

    def teardown(self) -> None:
        self.of = {}
        if hasattr(self, "tracker"):
            self.tracker.close()


class StoredTrackerMachine(TrackerMachine):
    """The same with a store, restarts included; in the end the process dies."""

    stored = True
    # What a rolling window spent is read back by quarters of an hour: no less, but not the same.
    default = BudgetConfig(daily=usd(250))

    @precondition(lambda self: hasattr(self, "tracker"))
    @rule(made=st.lists(consumes(TrackerMachine.reservations), max_size=0))
    def restart(self, made: list[Reservation]) -> None:
        self.tracker.close()  # what is open is booked in full
        assert made == []
        assert self.store is not None
        self.store = TestStore(clock=self.clock, left=self.store)
        self.open_tracker()

    def teardown(self) -> None:
        if not hasattr(self, "tracker"):
            return
        assert self.store is not None
        before = {(str(s.scope), s.period): s.spent + s.held for s in self.tracker.accounts()}
        self.store.broken = True
        kill(self.tracker)
        self.store = TestStore(clock=self.clock, left=self.store)
        with self.make() as again:
            after = {(str(s.scope), s.period): s.spent for s in again.accounts()}
        for account, used in before.items():
            if account in after:
                assert after[account] >= used, account
        self.of = {}


TrackerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
StoredTrackerMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestTracker = TrackerMachine.TestCase
TestStoredTracker = StoredTrackerMachine.TestCase
