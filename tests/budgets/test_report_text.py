"""A report as people and programs read it: a table, CSV for a spreadsheet, JSON."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from usage_logs import START, logs, manual, usage

from cascadeflow.budgets.records import LogEvent, Scope
from cascadeflow.budgets.report_records import one_line, spreadsheet_safe
from cascadeflow.budgets.reports import chargeback

FORMULAS = [
    *("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1"),
    *(" =1", "\uff1d1", "|x", "%0"),
]


def test_the_table_is_aligned_and_exact_and_ends_with_the_total() -> None:
    events = [
        usage(1, nanodollars=1_500_000_000, input_tokens=1_200, output_tokens=3),
        usage(2, user_id="a much longer name", nanodollars=1, input_tokens=0, output_tokens=0),
        usage(3, user_id=None, nanodollars=0, input_tokens=0, output_tokens=0),
    ]
    lines = chargeback(events, by=["user"]).to_table().splitlines()
    assert lines[0].split("  ")[0] == "user"
    assert len({len(line) for line in lines}) == 1
    assert "1.500000000" in lines[2]
    assert "0.000000001" in lines[3]
    assert lines[4].startswith("(none)")
    assert set(lines[5]) == {"-", " "}
    assert lines[6].startswith("total")
    assert "1.500000001" in lines[6]
    assert "unconfirmed" not in lines[0]
    assert "overrun" not in lines[0]


def test_the_table_speaks_of_rare_things_where_they_happened() -> None:
    events: list[LogEvent] = [
        usage(1, nanodollars=7, held=7, confirmed=False),
        usage(2, nanodollars=None, tags=("a", "b")),
        usage(3, nanodollars=9, held=4),
        manual(1, Scope("global"), -5),
    ]
    text = chargeback(events, by=["tag"]).to_table()
    for words in ("unconfirmed (USD)", "overrun (USD)", "unknown costs", "Changed by hand"):
        assert words in text
    assert "each of them" in text


def test_an_empty_report_is_a_table_too() -> None:
    assert "total" in chargeback([], by=["user", "day"]).to_table()
    assert chargeback([], by=[]).to_csv().splitlines()[0].startswith("calls,")
    assert json.loads(chargeback([], by=[]).to_json())["rows"] == []


def test_a_name_cannot_break_a_line_or_steer_the_terminal() -> None:
    text = chargeback([usage(user_id="a\nb\x1b[31m\u202e")], by=["user"]).to_table()
    assert "\\n" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert len(text.splitlines()) == 5


def test_csv_is_read_back_as_it_was_and_no_name_becomes_a_formula() -> None:
    names = [*FORMULAS, 'quoted "name", with commas', "two\nlines", "u1", "ü漢"]
    events = [
        usage(number, user_id=name, nanodollars=number) for number, name in enumerate(names, 1)
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(chargeback(events, by=["user"]).to_csv(), newline="")))
    found = {row["user"]: Decimal(row["cost_usd"]) for row in rows}
    assert len(found) == len(names)
    for number, name in enumerate(names, 1):
        shown = f"'{name}" if name in FORMULAS else name
        assert found[shown] == Decimal(number) / 10**9


@given(st.text())
def test_what_no_spreadsheet_runs_is_left_as_it_is(text: str) -> None:
    safe = spreadsheet_safe(text)
    assert safe in {text, f"'{text}"}
    if text[:1].isalnum():
        assert safe == text
    assert safe[:1] not in set("=+-@\t\r\n")


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    assert one_line(text).isprintable()


@settings(max_examples=40)
@given(logs())
def test_json_and_csv_say_what_the_report_says(events: list[LogEvent]) -> None:
    report = chargeback(
        events, by=["user", "day"], since=START, until=START + timedelta(days=30)
    )  # fmt: skip
    read = json.loads(report.to_json())
    assert read["by"] == ["user", "day"]
    assert read["since"] == "2026-10-20T00:00:00+00:00"
    assert [(row["user"], row["day"]) for row in read["rows"]] == [row.keys for row in report.rows]
    assert [row["nanodollars"] for row in read["rows"]] == [row.nanodollars for row in report.rows]
    assert [Decimal(row["cost"]) for row in read["rows"]] == [row.cost for row in report.rows]
    assert Decimal(read["totals"]["cost"]) == report.totals.cost
    assert len(read["adjustments"]) == len(report.adjustments)
    rows = list(csv.DictReader(io.StringIO(report.to_csv(), newline="")))
    assert [Decimal(row["cost_usd"]) for row in rows] == [row.cost for row in report.rows]
    assert [int(row["calls"]) for row in rows] == [row.calls for row in report.rows]
    assert [Decimal(row["unconfirmed_usd"]) for row in rows] == [
        row.unconfirmed_cost for row in report.rows
    ]
