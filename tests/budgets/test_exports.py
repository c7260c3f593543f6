"""The log for other programs: every charge, every value, exact."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from usage_logs import correction, logs, usage

from cascadeflow.budgets.exports import CSV_COLUMNS, export_csv, export_json, usd_text
from cascadeflow.budgets.records import LogEvent, UsageEvent
from cascadeflow.money import to_usd


def unique(events: list[LogEvent]) -> dict[str, UsageEvent]:
    found: dict[str, UsageEvent] = {}
    for event in events:
        if isinstance(event, UsageEvent):
            found.setdefault(event.event_id, event)
    return found


def as_json(events: list[LogEvent]) -> list[dict[str, object]]:
    file = io.StringIO()
    count = export_json(events, file)
    rows = json.loads(file.getvalue())
    assert count == len(rows)
    return list(rows)


def as_csv(events: list[LogEvent]) -> list[dict[str, str]]:
    file = io.StringIO(newline="")
    count = export_csv(events, file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue(), newline="")))
    assert count == len(rows)
    return rows


@given(logs())
def test_json_holds_each_charge_once_and_exact(events: list[LogEvent]) -> None:
    expected = unique(events)
    rows = as_json(events)
    assert [row["event_id"] for row in rows] == list(expected)
    for row in rows:
        event = expected[str(row["event_id"])]
        assert tuple(row) == CSV_COLUMNS
        assert row["user"] == event.spender.user_id
        assert row["tags"] == list(event.spender.tags)
        assert Decimal(str(row["booked_usd"])) * 10**9 == event.booked
        cost = event.charge.nanodollars
        assert row["cost_usd"] is None if cost is None else Decimal(str(row["cost_usd"])) >= 0
        assert row["input_tokens"] == event.charge.input_tokens
        assert row["at"] == event.at.isoformat()


@settings(max_examples=40)
@given(logs())
def test_csv_holds_the_same_as_json(events: list[LogEvent]) -> None:
    for text, plain in zip(as_csv(events), as_json(events), strict=True):
        for name, value in plain.items():
            if name in {"tags", "metadata"}:
                assert json.loads(text[name]) == value
            elif name == "confirmed":
                assert text[name] == str(value).lower()
            else:
                assert text[name] == ("" if value is None else str(value))


def test_nothing_is_made_safe_for_spreadsheets_in_an_export() -> None:
    events: list[LogEvent] = [usage(user_id="=cmd()", metadata={"a": ["=1", None]})]
    assert as_csv(events)[0]["user"] == "=cmd()"
    assert json.loads(as_csv(events)[0]["metadata"]) == {"a": ["=1", None]}
    assert as_json(events)[0]["metadata"] == {"a": ["=1", None]}


def test_a_correction_is_a_line_with_what_it_corrects_and_by_how_much() -> None:
    first = usage(nanodollars=5_000, held=5_000, confirmed=False, estimate=2_500)
    rows = as_json([first, correction(first, 3_000, 5)])
    assert rows[0]["estimate_usd"] == "0.000002500"
    assert rows[0]["confirmed"] is False
    assert rows[1]["corrects"] == first.event_id
    assert (rows[1]["cost_usd"], rows[1]["booked_usd"]) == ("0.000003000", "-0.000002000")


def test_a_name_that_utf_8_cannot_carry_survives_in_json() -> None:
    file = io.StringIO()
    export_json([usage(user_id="\ud800")], file)
    assert json.loads(file.getvalue().encode("utf-8"))[0]["user"] == "\ud800"


@given(st.integers(-(2**70), 2**70))
def test_dollars_as_text_are_the_exact_dollars(nanodollars: int) -> None:
    assert usd_text(nanodollars) == f"{to_usd(nanodollars):f}"


def test_an_empty_log_is_a_heading_and_an_empty_array() -> None:
    assert as_csv([]) == []
    assert as_json([]) == []
