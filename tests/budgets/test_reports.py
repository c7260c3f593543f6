"""Chargeback adds up to what the ledger booked, by whatever it is grouped."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from usage_logs import START, correction, logs, manual, usage

from cascadeflow.budgets.records import LogEvent, Scope, UsageEvent
from cascadeflow.budgets.reports import Grouping, Report, ReportRow, chargeback
from cascadeflow.errors import ConfigurationError, InvalidRequestError

GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
ADDED = ("calls", "input_tokens", "output_tokens", "nanodollars", "unconfirmed_nanodollars",
         "overrun_nanodollars", "unknown_costs", "unknown_tokens")  # fmt: skip


def values(row: ReportRow) -> dict[str, int]:
    return {name: getattr(row, name) for name in (*ADDED, "requests")}


def by_keys(report: Report) -> dict[tuple[str, ...], dict[str, int]]:
    return {row.keys: values(row) for row in report.rows}


def slowly(events: list[LogEvent], by: tuple[Grouping, ...], timezone: str) -> dict[Any, Any]:
    """The obvious way: what replaces what is worked out first, then each row is added up."""
    unique = {event.event_id: event for event in events if isinstance(event, UsageEvent)}
    corrected = {event.corrects: event for event in unique.values() if event.corrects}
    rows: dict[Any, Counter[str]] = defaultdict(Counter)
    requests: dict[Any, set[str]] = defaultdict(set)
    for event in unique.values():
        if event.corrects:
            continue
        last = corrected.get(event.event_id, event).charge
        first = event.charge
        tokens = [
            getattr(first if getattr(last, name) is None else last, name)
            for name in ("input_tokens", "output_tokens")
        ]
        local = event.at.astimezone(ZoneInfo(timezone))
        year, week, _ = local.isocalendar()
        fixed = {
            "user": event.spender.user_id or "",
            "tier": event.spender.tier or "",
            "team": event.spender.team or "",
            "key": event.spender.key or "",
            "model": first.model,
            "provider": first.model.split(":")[0],
            "role": first.role,
            "day": str(local.date()),
            "week": f"{year}-W{week:02}",
            "month": f"{local.year}-{local.month:02}",
        }
        tags = sorted({tag for tag in event.spender.tags if tag}) or [""]
        for tag in tags if "tag" in by else tags[:1]:
            keys = tuple({**fixed, "tag": tag}[name] for name in by)
            requests[keys].add(event.request_id)
            rows[keys].update(
                calls=1,
                input_tokens=tokens[0] or 0,
                output_tokens=tokens[1] or 0,
                nanodollars=last.nanodollars or 0,
                unconfirmed_nanodollars=0 if last.confirmed else last.nanodollars or 0,
                overrun_nanodollars=last.overrun,
                unknown_costs=int(last.nanodollars is None),
                unknown_tokens=int(None in tokens),
            )
    return {
        keys: {name: row[name] for name in ADDED} | {"requests": len(requests[keys])}
        for keys, row in rows.items()
    }


@given(
    logs(),
    st.lists(st.sampled_from(GROUPINGS), unique=True, max_size=3),
    st.sampled_from(["UTC", "Europe/Oslo", "Asia/Kathmandu", "America/St_Johns"]),
)
def test_a_report_equals_the_obvious_sum(
    events: list[LogEvent], by: list[Grouping], timezone: str
) -> None:
    report = chargeback(events, by=by, timezone=timezone)
    assert by_keys(report) == slowly(events, tuple(by), timezone)
    assert len(by_keys(report)) == len(report.rows)
    totals = slowly(events, (), timezone).get((), dict.fromkeys((*ADDED, "requests"), 0))
    assert values(report.totals) == totals


@given(logs(), st.lists(st.sampled_from(GROUPINGS), unique=True, min_size=1, max_size=3))
def test_rows_add_up_to_the_ledger_to_the_nanodollar_unless_they_are_by_tag(
    events: list[LogEvent], by: list[Grouping]
) -> None:
    booked = sum(
        {e.event_id: e.booked for e in events if isinstance(e, UsageEvent)}.values()
    )  # fmt: skip
    report = chargeback(events, by=by)
    assert report.totals.nanodollars == booked
    if report.overlapping:
        assert "tag" in by
    else:
        for name in ADDED:
            assert sum(getattr(row, name) for row in report.rows) == getattr(report.totals, name)
    assert report.totals.cost == Decimal(booked) / 10**9


@settings(max_examples=40)
@given(logs(), st.lists(st.sampled_from(GROUPINGS), unique=True, max_size=2))
def test_an_ordered_log_gives_the_same_report(events: list[LogEvent], by: list[Grouping]) -> None:
    ordered = sorted(events, key=lambda event: event.at)
    assert chargeback(ordered, by=by, ordered=True) == chargeback(events, by=by)


@settings(max_examples=40)
@given(logs(), st.integers(-1, 22 * 86_400))
def test_a_log_cut_in_two_adds_up_to_the_whole(events: list[LogEvent], seconds: int) -> None:
    cut = START + timedelta(seconds=seconds)
    before = chargeback(events, by=["user"], until=cut).totals
    after = chargeback(events, by=["user"], since=cut).totals
    whole = chargeback(events, by=["user"]).totals
    for name, value in values(whole).items():
        assert values(before)[name] + values(after)[name] == value


def test_a_correction_counts_as_its_difference_in_the_period_of_its_charge() -> None:
    first = usage(confirmed=False, nanodollars=5_000, held=5_000)
    late = correction(first, 3_000, 70, after=timedelta(days=40))
    (row,) = chargeback([first, late], by=["day"]).rows
    assert row.keys == ("2026-10-20",)
    assert (row.nanodollars, row.unconfirmed_nanodollars, row.calls) == (3_000, 0, 1)
    assert (row.input_tokens, row.output_tokens, row.unknown_tokens) == (70, 70, 0)
    open_still = chargeback([first], by=["day"]).totals
    assert (open_still.nanodollars, open_still.unconfirmed_nanodollars) == (5_000, 5_000)
    assert open_still.unconfirmed_cost == Decimal("0.000005")


def test_a_day_is_the_time_zones_day_on_the_days_the_clocks_change_too() -> None:
    moments = [
        datetime(2026, 10, 24, 21, 59, tzinfo=UTC),  # 23:59 in Oslo
        datetime(2026, 10, 24, 22, 0, tzinfo=UTC),  # 00:00, still summer time
        datetime(2026, 10, 25, 22, 59, tzinfo=UTC),  # 23:59, winter time
        datetime(2026, 10, 25, 23, 0, tzinfo=UTC),  # 00:00
    ]
    events = [usage(number, at=at) for number, at in enumerate(moments)]
    report = chargeback(events, by=["day"], timezone="Europe/Oslo")
    assert [(row.keys[0], row.calls) for row in report.rows] == [
        ("2026-10-24", 1),
        ("2026-10-25", 2),
        ("2026-10-26", 1),
    ]


def test_weeks_are_iso_weeks_and_belong_to_the_year_of_their_thursday() -> None:
    events = [
        usage(1, at=datetime(2026, 12, 31, tzinfo=UTC)),
        usage(2, at=datetime(2027, 1, 1, tzinfo=UTC)),
        usage(3, at=datetime(2027, 1, 4, tzinfo=UTC)),
    ]
    report = chargeback(events, by=["week", "month"])
    assert [row.keys for row in report.rows] == [
        ("2026-W53", "2026-12"),
        ("2026-W53", "2027-01"),
        ("2027-W01", "2027-01"),
    ]


def test_a_request_with_two_tags_counts_under_both_and_the_report_says_so() -> None:
    events = [usage(1, tags=("a", "b", "a")), usage(2, tags=("a",)), usage(3)]
    report = chargeback(events, by=["tag"])
    assert {row.keys[0]: row.nanodollars for row in report.rows} == {
        "a": 2_000,
        "b": 1_000,
        "": 1_000,
    }
    assert report.totals.nanodollars == 3_000
    assert report.overlapping == 1
    assert "counts under each of them (here 1 call)" in report.notes[0]
    assert chargeback(events, by=["user"]).notes == ()


def test_what_a_request_did_not_name_is_a_row_of_its_own() -> None:
    report = chargeback([usage(1), usage(2, user_id=None), usage(3, user_id="")], by=["user"])
    assert {row.keys: row.calls for row in report.rows} == {("",): 2, ("u1",): 1}


def test_rows_come_by_time_and_then_the_dearest_first() -> None:
    events = [
        usage(1, user_id="cheap", nanodollars=1),
        usage(2, user_id="dear", nanodollars=9),
        usage(3, user_id="early", nanodollars=5, at=START - timedelta(days=1)),
    ]
    report = chargeback(events, by=["user", "day"])
    assert [row.keys[0] for row in report.rows] == ["early", "dear", "cheap"]


def test_a_request_counts_once_in_each_row_that_it_stands_in() -> None:
    draft = usage(1, request_id="r", role="draft", model="a:small")
    verifier = usage(2, request_id="r", role="verifier", model="a:large")
    by_model = chargeback([draft, verifier], by=["model"])
    assert [(row.calls, row.requests) for row in by_model.rows] == [(1, 1), (1, 1)]
    assert (by_model.totals.calls, by_model.totals.requests) == (2, 1)


def test_an_unknown_cost_is_counted_and_not_taken_for_zero() -> None:
    report = chargeback([usage(1, nanodollars=None), usage(2)], by=["user"])
    assert (report.totals.unknown_costs, report.totals.nanodollars) == (1, 1_000)
    assert "not known" in report.notes[0]


def test_a_call_that_cost_more_than_was_held_is_an_overrun_once() -> None:
    over = usage(1, nanodollars=5_000, held=3_000)
    first = usage(2, nanodollars=3_000, held=3_000, confirmed=False)
    report = chargeback([over, first, correction(first, 4_000, 1)], by=["user"])
    assert report.totals.overrun_nanodollars == 2_000 + 1_000
    assert report.totals.overrun == Decimal("0.000003")


def test_what_was_changed_by_hand_is_told_and_is_no_cost() -> None:
    user = Scope("user", "u1")
    events: list[LogEvent] = [
        usage(1),
        manual(1, user, -400),
        manual(2, user, -100, kind="reset"),
        manual(2, user, -100, kind="reset"),
        manual(3, user, 5_000_000, kind="limit"),
        manual(4, Scope("global"), 7, period="day"),
        manual(5, Scope("global"), 0, period="day", kind="reclaim", unreported=9),
    ]
    report = chargeback(events, by=["user"])
    assert report.totals.nanodollars == 1_000
    assert [(str(a.scope), a.period, a.nanodollars, a.changes) for a in report.adjustments] == [
        ("global", "day", 7, 1),
        ("user:u1", None, -500, 2),
    ]
    assert report.notes[0].endswith("global day by 0.000000007 USD (1 change).")
    assert report.notes[1].endswith("USD (2 changes).")
    assert chargeback(events, by=[], since=START + timedelta(days=1)).adjustments == ()


def test_memory_is_bounded_when_the_events_come_in_order() -> None:
    def events(count: int) -> Any:
        return (
            usage(number, at=START + timedelta(seconds=number), user_id=f"u{number % 7}")
            for number in range(count)
        )

    def peak(count: int, *, ordered: bool) -> int:
        tracemalloc.start()
        chargeback(events(count), by=["user"], ordered=ordered)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(100, ordered=True)
    few, many = peak(1_000, ordered=True), peak(8_000, ordered=True)
    # The periods' names are not asked for; what is kept is one instant and seven rows.
    assert many < few + 20_000
    assert peak(8_000, ordered=False) > many + 8_000 * 50


def test_events_out_of_order_are_refused_where_they_were_said_to_be_in_order() -> None:
    events = [usage(1), usage(2, at=START - timedelta(seconds=1))]
    with pytest.raises(InvalidRequestError, match="ordered=False"):
        chargeback(events, by=["user"], ordered=True)
    assert chargeback(events, by=["user"]).totals.calls == 2


def test_a_log_that_is_shuffled_gives_the_same_report() -> None:
    first = usage(1, confirmed=False, nanodollars=9, input_tokens=4, output_tokens=None)
    events = [first, correction(first, 5, None), usage(2), usage(3)]
    shuffled = random.Random(3)
    expected = chargeback(events, by=["user", "model"])
    for order in itertools.permutations(events):
        again = [*order, shuffled.choice(order)]
        assert chargeback(again, by=["user", "model"]) == expected


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"by": ["colour"]}, InvalidRequestError, "choose of user, tier"),
        ({"by": ["user", "user"]}, InvalidRequestError, "once"),
        ({"by": [], "since": START.replace(tzinfo=None)}, InvalidRequestError, "time zone"),
        (
            {"by": [], "since": START, "until": START - timedelta(seconds=1)},
            InvalidRequestError,
            "before since",
        ),
        ({"by": [], "timezone": "Mars/Olympus"}, ConfigurationError, "no time zone"),
        ({"by": [], "timezone": "../etc/passwd"}, ConfigurationError, "no time zone"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        chargeback([usage(1)], **arguments)
