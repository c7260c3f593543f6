"""The windows of the ledger follow the calendar of every time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reference_calendar import EARLIEST_MS, LATEST_MS, unix_ms, zone_names
from reference_calendar import Window as SlowWindow

from cascadeflow._native import Window
from cascadeflow.errors import ConfigurationError, InvalidRequestError

HOUR = 3_600_000

# What both databases have long known; later rules are announced and withdrawn from year to year.
SETTLED = st.integers(
    unix_ms(datetime(1972, 1, 1, tzinfo=UTC)), unix_ms(datetime(2024, 1, 1, tzinfo=UTC))
)
CALENDAR = st.sampled_from(["day", "week", "month"])


def same_period(kind: str, zone: str, now_ms: int) -> None:
    window = getattr(Window, kind)(zone)
    slow = getattr(SlowWindow, kind)(zone)
    assert window.period(now_ms) == slow.period(now_ms)


@given(CALENDAR, st.sampled_from(zone_names()), SETTLED)
@example("day", "Pacific/Apia", unix_ms(datetime(2011, 12, 30, 10, tzinfo=UTC)))  # no 30th
@example("day", "America/St_Johns", unix_ms(datetime(2006, 10, 29, 3, tzinfo=UTC)))  # 00:01 → 23:01
@example("day", "Asia/Kathmandu", unix_ms(datetime(1985, 12, 31, 18, 20, tzinfo=UTC)))
@example("day", "America/Sao_Paulo", unix_ms(datetime(2018, 11, 4, 3, tzinfo=UTC)))  # no midnight
@example("week", "Pacific/Kwajalein", unix_ms(datetime(1993, 8, 22, 3, tzinfo=UTC)))  # no Saturday
@example("day", "Antarctica/Troll", unix_ms(datetime(2005, 3, 27, 3, tzinfo=UTC)))
def test_calendar_periods_are_those_of_zoneinfo(kind: str, zone: str, now_ms: int) -> None:
    same_period(kind, zone, now_ms)


@given(CALENDAR, st.sampled_from(zone_names()), SETTLED, st.integers(-26 * HOUR, 26 * HOUR))
def test_periods_are_those_of_zoneinfo_around_their_ends(
    kind: str, zone: str, now_ms: int, shift: int
) -> None:
    end = getattr(Window, kind)(zone).period(now_ms)[1]
    for near in (end - 1, end, end + shift):
        same_period(kind, zone, near)


@given(
    CALENDAR,
    st.sampled_from(["UTC", "Europe/Oslo", "America/New_York", "Asia/Tokyo", "Australia/Sydney"]),
    st.integers(unix_ms(datetime(1900, 1, 1, tzinfo=UTC)), LATEST_MS),
)
def test_rules_carry_calendars_into_any_year(kind: str, zone: str, now_ms: int) -> None:
    same_period(kind, zone, now_ms)


@given(st.integers(1, 366 * 86_400), st.integers(1, 1_000), st.integers(EARLIEST_MS, LATEST_MS))
def test_rolling_windows_are_those_of_the_model(seconds: int, buckets: int, now_ms: int) -> None:
    window = Window.rolling(seconds, buckets)
    start, end = window.period(now_ms)
    assert (start, end) == SlowWindow.rolling(seconds, buckets).period(now_ms)
    assert start is not None
    assert end is not None
    assert start <= now_ms - seconds * 1000 < now_ms < end  # never less than the window
    assert end - start <= seconds * 1000 * (1 + 1 / buckets) + buckets + 1


def test_the_total_has_no_start_and_no_end() -> None:
    assert Window.total().period(0) == (None, None)


def test_windows_asked_for_alike_are_equal_and_say_what_they_are() -> None:
    windows = [
        Window.day("UTC"),
        Window.day("Asia/Tokyo"),
        Window.week("UTC"),
        Window.month("UTC"),
        Window.total(),
        Window.rolling(60, 6),
        Window.rolling(60, 5),
    ]
    assert len(set(windows)) == len(windows)
    assert Window.day("Asia/Tokyo") in windows
    assert Window.rolling(60, 6) in windows
    assert [window.kind for window in windows[3:6]] == ["month", "total", "rolling"]
    assert repr(windows[1]) == 'Window.day("Asia/Tokyo")'
    assert repr(windows[5]) == "Window.rolling(60, 6)"
    assert repr(windows[4]) == "Window.total()"


@pytest.mark.parametrize("zone", ["", "CEST", "+02:00", "Europe/Gotham", "europe/oslo", "../UTC"])
def test_an_unknown_zone_is_refused_with_the_form_of_a_known_one(zone: str) -> None:
    for window in (Window.day, Window.week, Window.month):
        with pytest.raises(ConfigurationError, match='IANA database, such as "Europe/Oslo"'):
            window(zone)


@pytest.mark.parametrize(
    ("seconds", "buckets"),
    [
        (0, 1),
        (-1, 1),
        (366 * 86_400 + 1, 1),
        (60, 0),
        (60, 1_001),
        (60, 10**30),
        (60.0, 6),
        (True, 6),
    ],
)
def test_a_rolling_window_of_no_such_form_is_refused(seconds: Any, buckets: Any) -> None:
    with pytest.raises(ConfigurationError, match="rolling window"):
        Window.rolling(seconds, buckets)


@pytest.mark.parametrize(
    "now_ms", [EARLIEST_MS - 1, LATEST_MS + 1, 10**30, 1.5, True, None, "2026", float("nan")]
)
def test_what_is_no_time_is_refused(now_ms: Any) -> None:
    with pytest.raises(InvalidRequestError, match="Unix milliseconds"):
        Window.day("UTC").period(now_ms)
