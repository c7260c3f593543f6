"""Tiers that come and go in any order, beside a model that keeps every spending there ever was."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from tracker_stores import ME, MODEL, TestStore

from cascadeflow.budgets.records import Charge, Spender
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import BudgetExceededError
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from cascadeflow.budgets.reservation import Reservation

START = datetime(2026, 3, 27, 13, 50, tzinfo=UTC)


def usd(nanodollars: int) -> str:
    return f"{nanodollars}e-9"


TIERS: dict[str, BudgetConfig | None] = {
    "free": BudgetConfig(daily=usd(100)),
    "pro": BudgetConfig(daily=usd(300), monthly=usd(900)),
    "asia": BudgetConfig(daily=usd(200), weekly=usd(500), timezone="Asia/Tokyo"),
    "once": BudgetConfig(total=usd(700)),
    "none": None,
}
USERS = ["ann", "bob", "anonymous", "named"]
NAMED = BudgetConfig(weekly=usd(400))
DEFAULT = BudgetConfig(daily=usd(50), monthly=usd(2000), timezone="America/New_York")

numbers = st.integers(0, 11)
amounts = st.integers(0, 40) | st.integers(0, 320)


def period_of(period: str, zone: str, at: datetime) -> object:
    local = at.astimezone(ZoneInfo(zone))
    return {
        "day": local.date(),
        "week": local.isocalendar()[:2],
        "month": (local.year, local.month),
        "total": 0,
    }[period]


@dataclass(eq=False)
class Spending:
    """What was held, or is spent, for one call."""

    user: str
    at: datetime
    amount: int


@dataclass(eq=False)
class Open:
    """A reservation that has not ended."""

    user: str
    made: Reservation
    spendings: list[Spending]


class TierMachine(RuleBasedStateMachine):
    """In memory, with every budget declared."""

    declared = tuple(TIERS)
    default: BudgetConfig | None = None
    mode = "block"
    users: tuple[str, ...] = tuple(USERS)
    looks = True
    """Whether accounts are looked at after each step, which reads them from the store."""
    reservations = Bundle("reservations")

    def new_store(self) -> Any:
        return None

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock(START)
        self.spendings: list[Spending] = []
        self.open: list[Open] = []
        self.by_hand: dict[str, dict[str, int]] = {}
        self.assigned: dict[str, str] = {}
        self.blurred: set[str] = set()
        """Users who came to an undeclared budget while something was held."""
        self.store = self.new_store()
        self.begin_process()

    def begin_process(self) -> None:
        self.tracker = CostTracker(
            user_budgets={"named": NAMED},
            default_user_budget=self.default,
            enforcement_mode=self.mode,  # type: ignore[arg-type]
            clock=self.clock,
            store=self.store,
        )
        configs = [TIERS[name] for name in self.declared]
        self.tracker.declare_tiers([config for config in configs if config is not None])

    # The model

    def holds(self, user: str) -> BudgetConfig | None:
        if user == "named":
            return NAMED
        return TIERS.get(self.assigned.get(user, "none")) or self.default

    def limits(self, user: str) -> list[tuple[str, str, int]]:
        config = self.holds(user)
        zone = "UTC" if config is None else config.timezone
        found = dict[str, int]() if config is None else {str(p): n for p, n in config.limits}
        return [(period, zone, n) for period, n in self.by_hand.get(user, found).items()]

    def applies(self, user: str) -> bool:
        return user in self.by_hand or user in self.assigned or self.holds(user) is not None

    def used(self, user: str, period: str, zone: str) -> int:
        now = period_of(period, zone, self.clock.now())
        return sum(
            s.amount
            for s in self.spendings
            if s.user == user and period_of(period, zone, s.at) == now
        )

    def left(self, user: str) -> int | None:
        found = [n - self.used(user, period, zone) for period, zone, n in self.limits(user)]
        return min(found, default=None)

    def fits(self, user: str, amount: int) -> bool:
        left = self.left(user)
        return left is None or amount <= left or amount == 0

    def user(self, number: int) -> str:
        return self.users[number % len(self.users)]

    # What may happen

    @rule(number=numbers, tier=st.sampled_from(list(TIERS)))
    def assign(self, number: int, tier: str) -> None:
        user = self.user(number)
        if tier not in self.declared and any(each.user == user for each in self.open):
            self.blurred.add(user)
        self.assigned[user] = tier
        self.assign_again(user)

    def assign_again(self, user: str) -> None:
        """What an agent does before each request: an idle user's assignment is forgotten."""
        if user in self.assigned:
            config = TIERS[self.assigned[user]]
            self.tracker.assign(None if user == "anonymous" else user, config)

    @rule(target=reservations, number=numbers, amount=amounts, force=st.integers(0, 4))
    def reserve(self, number: int, amount: int, force: int) -> Any:
        user = self.user(number)
        spender = Spender(user_id=None if user == "anonymous" else user)
        now = self.clock.now()
        over = self.mode == "warn" or force == 4
        self.assign_again(user)
        fits = self.applies(user) and self.fits(user, amount)
        try:
            made = self.tracker.reserve_sync(
                spender, [(MODEL, amount)], request_id="r", at=now, force=force == 4
            )
        except BudgetExceededError:
            assert not over
            assert not fits or user in self.blurred
            return multiple()
        assert fits or over
        spending = Spending(user, now, amount)
        self.spendings.append(spending)
        found = Open(user, made, [spending])
        self.open.append(found)
        return found

    @rule(which=reservations, amount=amounts)
    def extend(self, which: Open, amount: int) -> None:
        if which not in self.open:
            return
        fits = self.fits(which.user, amount)
        done = which.made.extend_sync([(MODEL, amount)])
        if done:
            assert fits or self.mode == "warn"
            spending = Spending(which.user, self.clock.now(), amount)
            self.spendings.append(spending)
            which.spendings.append(spending)
        else:
            assert not fits or which.user in self.blurred

    @rule(which=consumes(reservations), share=st.integers(0, 120))
    def settle(self, which: Open, share: int) -> None:
        if which in self.open:
            self.end(which, share)

    def end(self, which: Open, share: int) -> None:
        which.made.settle(
            [
                Charge(model=model, nanodollars=held * share // 100, confirmed=True, held=held)
                for model, held in which.made.calls
            ]
        )
        for spending in which.spendings:
            spending.amount = spending.amount * share // 100
        self.open.remove(which)

    @rule(number=numbers, amount=amounts)
    def record(self, number: int, amount: int) -> None:
        user = self.user(number)
        self.tracker.record(
            model="small", provider="openai", nanodollars=amount, user_id=user, at=None
        )
        self.tracker.flush()
        self.spendings.append(Spending(user, self.clock.now(), amount))

    @rule(limit=st.integers(0, 600), period=st.sampled_from("dm"))
    def set_by_hand(self, limit: int, period: str) -> None:
        user = "bob"
        config = (
            BudgetConfig(daily=usd(limit)) if period == "d" else BudgetConfig(monthly=usd(limit))
        )
        if any(each.user == user for each in self.open):
            self.blurred.add(user)
        self.tracker.set_budget(f"user:{user}", config, **ME)
        self.by_hand[user] = {str(p): n for p, n in config.limits}

    @rule(seconds=st.sampled_from([1, 60, 900, 3600, 7 * 3600]))
    def turn_the_clock(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(days=st.integers(1, 20))
    def days_go_by(self, days: int) -> None:
        for which in list(self.open):  # nobody holds money that long
            self.end(which, 100)
        self.blurred.clear()
        self.clock.advance(days * 86_400)

    # What always holds

    @invariant()
    def accounts_are_the_models(self) -> None:
        if hasattr(self, "tracker") and self.looks:
            self.look()

    @rule()
    def look(self) -> None:
        for user in self.users:
            if user not in self.blurred:
                self.look_at(user)

    def look_at(self, user: str) -> None:
        self.assign_again(user)
        left = self.left(user)
        expected = None if left is None else max(0, left)
        if not self.applies(user) and self.mode != "warn":
            expected = 0
        found = self.tracker.remaining(user)
        assert (None if found is None else found * 10**9) == expected
        limits = {period: (zone, limit) for period, zone, limit in self.limits(user)}
        for standing in self.tracker.accounts(f"user:{user}"):
            if standing.limit is not None:
                zone, limit = limits.pop(standing.period)
                assert standing.limit == limit
                used = standing.spent + standing.held
                assert used == self.used(user, standing.period, zone)
        assert not limits

    def teardown(self) -> None:
        if hasattr(self, "tracker"):
            self.tracker.close()


class WarningMachine(TierMachine):
    """A budget that only warns refuses nobody, and counts the same."""

    mode = "warn"


class DefaultMachine(TierMachine):
    """Beside a default budget, which has periods of its own."""

    default = DEFAULT
    mode = "degrade"


class UndeclaredMachine(TierMachine):
    """Budgets that come without a word before them."""

    declared = ("free",)


class StoredMachine(TierMachine):
    """With a store that outlives the process, and its tiers' budgets."""

    def new_store(self) -> Any:
        return TestStore(clock=self.clock)

    @rule()
    def restart(self) -> None:
        for which in self.open:  # they are booked in full
            which.made.__del__()
        self.open.clear()
        self.blurred.clear()
        self.tracker.close()
        self.store = self.next_store()
        self.begin_process()

    def next_store(self) -> Any:
        return TestStore(clock=self.clock, left=self.store)


class UndeclaredStoredMachine(StoredMachine):
    """What the store knows counts in periods that nobody declared."""

    declared = ("free",)
    users: tuple[str, ...] = ("ann",)
    looks = False


class SQLiteMachine(UndeclaredStoredMachine):
    """The same in a file."""

    default = DEFAULT
    users = ("ann", "bob")
    folder: Path | None = None

    def new_store(self) -> Any:
        self.folder = Path(tempfile.mkdtemp())
        return self.next_store()

    def next_store(self) -> Any:
        return f"sqlite:///{self.folder}/budgets.db"

    def teardown(self) -> None:
        super().teardown()
        if self.folder is not None:
            shutil.rmtree(self.folder)


for _machine, _examples in (
    (TierMachine, 25),
    (WarningMachine, 15),
    (DefaultMachine, 25),
    (UndeclaredMachine, 25),
    (StoredMachine, 15),
    (UndeclaredStoredMachine, 60),
    (SQLiteMachine, 10),
):
    _machine.TestCase.settings = settings(
        max_examples=_examples,
        stateful_step_count=35,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )

TestTiers = TierMachine.TestCase
TestWarning = WarningMachine.TestCase
TestDefault = DefaultMachine.TestCase
TestUndeclared = UndeclaredMachine.TestCase
TestStored = StoredMachine.TestCase
TestUndeclaredStored = UndeclaredStoredMachine.TestCase
TestSQLite = SQLiteMachine.TestCase
