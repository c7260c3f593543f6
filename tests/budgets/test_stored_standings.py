"""What a store says of an account from outside agrees with sums over its log, period by period."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from usage_logs import manual, usage

from cascadeflow.budgets.records import LogEvent, Scope, UsageEvent
from cascadeflow.budgets.stored_standings import StoredCalendar
from cascadeflow.budgets.stores.memory import MemoryStore
from cascadeflow.budgets.stores.protocol import Grant, ScopeRecord
from cascadeflow.errors import ConfigurationError
from cascadeflow.testing import ManualClock

NOW = datetime(2026, 11, 19, 22, 40, tzinfo=UTC)  # a Thursday; in Kathmandu it is Friday
USER = Scope("user", "u1")


@given(
    st.lists(st.tuples(st.integers(0, 40 * 96), st.integers(0, 10**12)), max_size=30),
    st.sampled_from(["UTC", "Asia/Kathmandu", "America/St_Johns"]),
)
def test_each_periods_spending_is_the_sum_of_its_charges(
    charges: list[tuple[int, int]], timezone: str
) -> None:
    events: list[LogEvent] = [
        usage(number, at=NOW - timedelta(minutes=15 * ago), nanodollars=cost)
        for number, (ago, cost) in enumerate(charges)
    ]
    store = MemoryStore(clock=ManualClock(NOW))
    store.append(events)
    calendar = StoredCalendar(NOW, timezone=timezone)
    stands = {
        each.standing.period: each
        for each in calendar.standings(store.scope(USER, since=calendar.since))
    }
    zone = ZoneInfo(timezone)
    today = NOW.astimezone(zone).date()
    begins = {
        "day": today,
        "week": today - timedelta(days=today.weekday()),
        "month": today.replace(day=1),
    }
    usages = [event for event in events if isinstance(event, UsageEvent)]
    for period, begin in begins.items():
        expected = sum(e.booked for e in usages if e.at.astimezone(zone).date() >= begin)
        assert stands[period].standing.spent == stands[period].booked == expected
        assert stands[period].standing.started_at == datetime(
            begin.year, begin.month, begin.day, tzinfo=zone
        )
    assert stands["total"].standing.spent == sum(event.booked for event in usages)
    in_a_day = sum(event.booked for event in usages if event.at > NOW - timedelta(hours=24))
    a_little_more = sum(event.booked for event in usages if event.at > NOW - timedelta(hours=25))
    assert in_a_day <= stands["rolling"].standing.spent <= a_little_more


def test_the_periods_come_the_shortest_first_with_the_limits_set_by_hand() -> None:
    record = ScopeRecord(
        scope=USER, spent=900, by_quarter=((NOW, 900),), limits=(("day", 1_000), ("week", None))
    )
    stands = StoredCalendar(NOW).standings(record)
    assert [each.standing.period for each in stands] == ["rolling", "day", "week", "month", "total"]
    assert [(each.by_hand, each.standing.limit) for each in stands] == [
        (False, None),
        (True, 1_000),
        (True, None),
        (False, None),
        (False, None),
    ]
    assert stands[1].standing.state == "degraded"
    assert stands[1].standing.remaining == 100


def test_what_was_granted_and_not_reported_counts_in_the_periods_that_were_not_over() -> None:
    clock = ManualClock(NOW - timedelta(days=2))
    crashed = MemoryStore(clock=clock)
    crashed.append([usage(1, at=clock.now(), nanodollars=100)])
    crashed.grant([Grant(USER, 350, clock.now())])
    clock.advance(2 * 86_400)
    store = MemoryStore(clock=clock, left=crashed)
    calendar = StoredCalendar(clock.now())
    stands = calendar.standings(store.scope(USER, since=calendar.since))
    found = {
        each.standing.period: (each.standing.spent, each.booked, each.unreported) for each in stands
    }
    assert found == {
        "rolling": (0, 0, 0),
        "day": (0, 0, 0),
        "week": (350, 100, 250),
        "month": (350, 100, 250),
        "total": (350, 100, 250),
    }


def test_a_period_that_was_reset_below_nothing_counts_as_unspent() -> None:
    store = MemoryStore(clock=ManualClock(NOW))
    store.append(
        [
            usage(1, at=NOW - timedelta(days=1), nanodollars=100),
            usage(2, at=NOW, nanodollars=10),
            manual(1, USER, -110, kind="reset", period="month", at=NOW),
        ]
    )
    calendar = StoredCalendar(NOW)
    stands = {
        each.standing.period: each
        for each in calendar.standings(store.scope(USER, since=calendar.since))
    }
    assert (stands["month"].standing.spent, stands["month"].booked) == (0, 0)
    assert (stands["day"].standing.spent, stands["day"].booked) == (0, -100)
    store.append([usage(3, at=NOW, nanodollars=30)])
    day = calendar.standings(store.scope(USER, since=calendar.since))[1]
    assert (day.standing.spent, day.booked, day.unreported) == (30, -70, 0)


@pytest.mark.parametrize(
    "arguments", [{"timezone": "Mars/Olympus"}, {"rolling_hours": 0.0}], ids=str
)
def test_a_calendar_that_cannot_be_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        StoredCalendar(NOW, **arguments)  # type: ignore[arg-type]
