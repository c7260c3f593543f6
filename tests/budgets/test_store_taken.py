"""What is taken off by hand beyond what a period had spent is no credit for what comes later."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import ANN, LONG_AGO, MODEL, START, MemoryOpener, Opener, SqliteOpener, usage

from cascadeflow.budgets.audit import adjusted, reset, verify
from cascadeflow.budgets.records import Charge, LogEvent, Scope, Spender, UsageEvent
from cascadeflow.budgets.stored_standings import StoredCalendar, StoredStanding
from cascadeflow.budgets.stores import open_store
from cascadeflow.budgets.stores.protocol import HeldCall, StrictHold
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import BudgetExceededError
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cascadeflow.budgets.stores.memory import MemoryStore
    from cascadeflow.budgets.stores.protocol import Store
    from cascadeflow.budgets.stores.sqlite import SqliteStore

DAY = 24 * 60
USD = 10**9
BY = {"actor": "eve", "reason": "goodwill"}
Kind = Literal["memory", "sqlite"]


@pytest.fixture(params=["memory", "sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return MemoryOpener() if request.param == "memory" else SqliteOpener(tmp_path / "budgets.db")


def taken_off(amount: int, *, minutes: float = 0.0, scope: Scope = ANN) -> LogEvent:
    at = START + timedelta(minutes=minutes)
    return reset(scope, "month", previous=amount, at=at, **BY)


def standings(
    store: Store, *, minutes: float, scope: Scope = ANN, timezone: str = "UTC"
) -> dict[str, StoredStanding]:
    """How the scope stands by what the store knows: what a tracker counts when it opens it."""
    calendar = StoredCalendar(START + timedelta(minutes=minutes), timezone=timezone)
    record = store.scope(scope, since=calendar.since)
    return {each.standing.period: each for each in calendar.standings(record)}


def counted(store: Store, *, minutes: float) -> dict[str, int]:
    return {
        period: each.standing.spent for period, each in standings(store, minutes=minutes).items()
    }


def test_what_is_spent_after_a_reset_beyond_the_day_counts_in_full(opener: Opener) -> None:
    store = opener.open()
    store.append([usage(1, 1000), usage(2, 100, minutes=DAY)])
    store.append([taken_off(1100, minutes=DAY + 1)])
    store.append([usage(3, 60, minutes=DAY + 2)])
    for _ in range(2):
        found = counted(store, minutes=DAY + 3)
        assert (found["day"], found["rolling"]) == (60, 60)
        assert (found["month"], found["total"]) == (60, 60)
        record = store.scope(ANN, since=LONG_AGO)
        assert record.by_quarter[-2:] == (
            (START.replace(day=2, minute=0), -1000),
            (START.replace(day=2, minute=0), 60),
        )
        assert sum(amount for _, amount in record.by_quarter) == record.spent == 60
        store.rebuild_sums()
        assert store.scope(ANN, since=LONG_AGO) == record
        assert verify(store).ok
        opener.crash()
        store = opener.open()


def test_a_reset_of_the_day_itself_stays_one_entry_and_takes_what_was_spent(
    opener: Opener,
) -> None:
    store = opener.open()
    store.append([usage(1, 100), taken_off(100), usage(2, 7)])
    assert [amount for _, amount in store.scope(ANN, since=LONG_AGO).by_quarter] == [7]
    assert counted(store, minutes=1)["day"] == 7


def test_resets_one_after_another_each_count_what_came_after_them(opener: Opener) -> None:
    store = opener.open()
    store.append([usage(1, 500)])
    store.append([usage(2, 10, minutes=DAY), taken_off(300, minutes=DAY)])
    store.append([usage(3, 20, minutes=DAY), taken_off(200, minutes=DAY)])
    store.append([usage(4, 5, minutes=DAY)])
    assert counted(store, minutes=DAY)["day"] == 5
    # The amounts taken off were more than the day's, so a part of them is the month's.
    assert counted(store, minutes=DAY)["month"] == 500 + 10 - 300 + 20 - 200 + 5


def test_a_charge_that_is_logged_after_a_reset_of_a_later_quarter_counts_in_full(
    opener: Opener,
) -> None:
    store = opener.open()
    store.append([usage(1, 1000), usage(2, 100, minutes=DAY)])
    held = StrictHold(
        request_id="slow",
        at=START + timedelta(minutes=DAY),
        spender=Spender(user_id="ann"),
        calls=(HeldCall(model=MODEL, nanodollars=40),),
    )
    store.hold([held])
    store.append([taken_off(1100, minutes=DAY + 30)])
    store.append([usage(3, 50, minutes=DAY + 1)])
    assert counted(store, minutes=DAY + 40)["day"] == 50
    opener.crash()  # the hold becomes a charge of its own quarter, which is earlier too
    store = opener.open()
    assert counted(store, minutes=DAY + 40)["day"] == 90
    assert counted(store, minutes=DAY + 40)["month"] == 90
    assert verify(store).ok


def test_damage_to_what_was_taken_off_is_found_and_reckoned_anew(tmp_path: Path) -> None:
    opener = SqliteOpener(tmp_path / "budgets.db")
    store = opener.open()
    store.append([usage(1, 100), taken_off(400), usage(2, 30)])
    connection = store._connection
    assert connection is not None
    for damage in ("UPDATE taken SET nanodollars = 0", "DELETE FROM taken"):
        connection.execute(damage)
        assert "taken off" in verify(store).reason
        store.rebuild_sums()
        assert verify(store).ok
        assert counted(store, minutes=1)["day"] == 30


# Whatever happens, against adding up event by event


@dataclass(frozen=True)
class Step:
    """One thing that happens: minutes after the step before, how much, and what then."""

    after: int
    amount: int
    late: int
    """By how many minutes the charge's request began earlier."""
    by_hand: bool
    reopened: bool


def steps(*, latest: int) -> st.SearchStrategy[list[Step]]:
    """Days in which little happens a quarter of an hour, and a lot in some."""
    charge = st.builds(
        Step,
        after=st.sampled_from([0, 1, 5, 15, 200, 700, DAY]),
        amount=st.integers(0, 100),
        late=st.integers(0, latest),
        by_hand=st.just(False),
        reopened=st.booleans(),
    )
    change = st.builds(
        Step,
        after=st.sampled_from([0, 1, 10]),
        amount=st.integers(-300, 100),
        late=st.just(0),
        by_hand=st.just(True),
        reopened=st.booleans(),
    )
    return st.lists(charge | change, max_size=25)


@contextmanager
def opened(kind: Kind) -> Iterator[Opener]:
    if kind == "memory":
        yield MemoryOpener()
        return
    with tempfile.TemporaryDirectory() as folder:
        sqlite = SqliteOpener(Path(folder) / "budgets.db")
        yield sqlite
        sqlite.crash()


def play(
    opener: Opener, drawn: list[Step]
) -> tuple[SqliteStore | MemoryStore, list[LogEvent], int]:
    """Gives the reopened store, all events as they were logged, and the minute at the end."""
    store, minute = opener.open(), 0
    events: list[LogEvent] = []
    batch: list[LogEvent] = []
    for number, step in enumerate(drawn):
        minute += step.after
        at = START + timedelta(minutes=minute)
        if step.by_hand:
            batch.append(adjusted(ANN, nanodollars=step.amount, previous=None, at=at, **BY))
        else:
            batch.append(usage(number, step.amount, minutes=minute - step.late))
        if step.reopened:
            store.append(batch)
            events += batch
            batch = []
            opener.crash()
            store = opener.open()
    store.append(batch)
    opener.crash()
    return opener.open(), events + batch, minute


def by_the_event(events: list[LogEvent], start: datetime | None) -> int:
    """A period's spending, event by event: never below zero."""
    spent = 0
    for event in events:
        if start is None or event.at >= start:
            change = event.booked if isinstance(event, UsageEvent) else event.nanodollars or 0
            spent = max(0, spent + change)
    return spent


def periods(
    store: Store, events: list[LogEvent], minute: int, timezone: str
) -> Iterator[tuple[str, int, int]]:
    """Gives each calendar period, what the store counts in it, and what it must."""
    found = standings(store, minutes=minute, timezone=timezone)
    for period in ("day", "week", "month"):
        standing = found[period].standing
        assert standing.started_at is not None
        yield period, standing.spent, by_the_event(events, standing.started_at)


ZONES = ["UTC", "Asia/Kathmandu", "America/St_Johns"]


@pytest.mark.parametrize(("kind", "examples"), [("memory", 300), ("sqlite", 30)])
def test_reopened_sums_are_those_of_adding_up_event_by_event(kind: Kind, examples: int) -> None:
    """Also when more was taken off than the period had spent."""

    @settings(max_examples=examples, deadline=None)
    @given(steps(latest=0), st.sampled_from(ZONES))
    def check(drawn: list[Step], timezone: str) -> None:
        with opened(kind) as opener:
            store, events, minute = play(opener, drawn)
            for period, spent, expected in periods(store, events, minute, timezone):
                assert spent == expected, period
            record = store.scope(ANN, since=LONG_AGO)
            assert sum(amount for _, amount in record.by_quarter) == record.spent
            assert verify(store).ok

    check()


@pytest.mark.parametrize(("kind", "examples"), [("memory", 300), ("sqlite", 30)])
def test_late_charges_never_make_a_period_less_than_what_was_spent(
    kind: Kind, examples: int
) -> None:
    @settings(max_examples=examples, deadline=None)
    @given(steps(latest=90), st.sampled_from(ZONES))
    def check(drawn: list[Step], timezone: str) -> None:
        with opened(kind) as opener:
            store, events, minute = play(opener, drawn)
            late = sum(step.amount for step in drawn if step.late)
            for period, spent, expected in periods(store, events, minute, timezone):
                assert expected <= spent <= expected + late, period
            assert verify(store).ok

    check()


@settings(max_examples=25, deadline=None)
@given(steps(latest=90))
def test_both_stores_give_the_same_quarters(drawn: list[Step]) -> None:
    with opened("memory") as one, opened("sqlite") as other:
        records = [play(each, drawn)[0].scope(ANN, since=LONG_AGO) for each in (one, other)]
    assert records[0] == records[1]


# With a whole tracker


NOON = datetime(2026, 3, 10, 12, 1, tzinfo=UTC)


def spend(tracker: CostTracker, amount: int) -> None:
    at = tracker._clock.now()
    held = tracker.reserve_sync(Spender(user_id="ann"), [(MODEL, amount)], request_id="r", at=at)
    held.settle([Charge(model=MODEL, nanodollars=amount, confirmed=True, held=amount)])


def end(tracker: CostTracker, url: str, *, cleanly: bool) -> None:
    """Closes the tracker, or leaves its file as the death of its process would."""
    if cleanly:
        tracker.close()
        return
    tracker.flush()
    assert tracker._writer is not None
    store: Any = tracker._writer._vault.store
    tracker._writer.abandon("it has crashed")
    opener = SqliteOpener(Path(url.removeprefix("sqlite:///")))
    opener._store = store
    opener.crash()


@pytest.mark.parametrize("cleanly", [True, False], ids=["closed", "crashed"])
@pytest.mark.parametrize("by", ["the tracker", "the command line"])
def test_a_days_limit_holds_over_a_reset_of_more_and_a_restart(
    tmp_path: Path, by: str, *, cleanly: bool
) -> None:
    url = f"sqlite:///{tmp_path}/budgets.db"
    clock = ManualClock(NOON - timedelta(days=1))

    def tracker(**budget: Any) -> CostTracker:
        return CostTracker(store=url, clock=clock, default_user_budget=BudgetConfig(**budget))

    # While only the month is limited, more is taken off than the day has spent.
    first = tracker(monthly=100)
    spend(first, 40 * USD)
    clock.advance(86_400)
    spend(first, USD)
    if by == "the tracker":
        first.reset(**BY)
        spend(first, USD)
        end(first, url, cleanly=cleanly)
    else:
        first.close()
        with open_store(url, clock=clock) as store:
            store.append([reset(ANN, "month", previous=41 * USD, at=clock.now(), **BY)])
        second = tracker(daily=2, monthly=100)
        spend(second, USD)
        end(second, url, cleanly=cleanly)

    clock.advance(60)  # the same quarter of an hour
    again = tracker(daily=2, monthly=100)
    spent = {each.period: each.spent for each in again.accounts("user:ann")}
    assert spent["day"] >= USD
    assert spent["month"] >= USD
    if cleanly:
        assert spent == {"day": USD, "month": USD}
    with pytest.raises(BudgetExceededError):
        spend(again, USD + 1)
    if cleanly:
        spend(again, USD)
    again.close()
    with tracker(daily=2) as last, pytest.raises(BudgetExceededError):
        spend(last, USD + 1)


def test_a_zones_midnight_is_the_start_of_a_quarter() -> None:
    for name in ZONES:
        midnight = datetime(2026, 3, 10, tzinfo=ZoneInfo(name))
        assert midnight.timestamp() % 900 == 0
