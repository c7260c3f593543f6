"""`cascadeflow forecast` and `cascadeflow audit`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.budget_store import NOW, usage

from cascadeflow.budgets.stores import open_store
from cascadeflow.cli.forecast import sparkline
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from typer.testing import Result

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]

MONTH_END = "2026-12-01T00:00:00+00:00"


def test_steady_spending_is_foretold_to_the_months_end(answered: Answered, store: str) -> None:
    found = answered("forecast", "user:ada", "--store", store)
    assert found["scope"] == "user:ada"
    assert (found["period"], found["ends_at"]) == ("month", MONTH_END)
    assert found["method"] == "weekday"
    # A tenth of a cent a day: 19 days are spent, about 11 are to come.
    assert found["spent"] == "0.019000000"
    assert Decimal("0.027") < Decimal(found["expected"]) < Decimal("0.033")
    assert Decimal(found["low"]) <= Decimal(found["expected"]) <= Decimal(found["high"])
    assert len(found["daily"]) == 28
    assert found["daily"][-1] == {"day": "2026-11-19", "cost": "0.001000000"}
    assert found["limit"] is None
    assert found["runs_out_at"] is None


def test_the_forecast_says_when_a_limit_runs_out(
    answered: Answered, call: Call, store: str
) -> None:
    found = answered("forecast", "user:ada", "--limit", "0.025")
    assert "2026-11-23" <= found["runs_out_at"] <= "2026-11-28"
    shown = call("forecast", "user:ada", "--limit", "0.025").stdout
    assert "runs out" in shown
    assert "│" in shown
    assert "80% sure" in shown
    assert "not before" in call("forecast", "user:ada", "--limit", "5").stdout
    assert store


def test_a_limit_set_by_hand_is_taken_for_the_forecast(answered: Answered, store: str) -> None:
    answered("budget", "set", "user:ada", "--monthly", "0.025", "--reason", "less")
    found = answered("forecast", "user:ada", "--level", "0.5")
    assert found["limit"] == "0.025000000"
    assert found["level"] == 0.5
    assert found["runs_out_at"] is not None
    assert store


def test_what_was_set_right_by_hand_does_not_bend_the_forecast(
    answered: Answered, store: str
) -> None:
    before = answered("forecast", "user:ada")["daily"]
    answered("budget", "reset", "user:ada", "--reason", "a loop")
    found = answered("forecast", "user:ada")
    assert found["daily"] == before
    assert found["spent"] == "0.018000000"
    assert store


@pytest.mark.parametrize("period", ["day", "week", "rolling", "total"])
def test_every_period_has_a_forecast(
    answered: Answered, call: Call, store: str, period: str
) -> None:
    found = answered("forecast", "global", "--period", period, "--timezone", "Europe/Oslo")
    assert found["period"] == period
    assert (found["ends_at"] is None) == (period == "total")
    assert "spent so far" in call("forecast", "--period", period).stdout
    assert store


def test_without_history_the_forecast_says_why_there_is_none(
    answered: Answered, call: Call, store: str
) -> None:
    found = answered("forecast", "user:nobody")
    assert found["method"] == "none"
    assert found["expected"] is None
    assert found["reason"] in call("forecast", "user:nobody").stdout
    assert store


def test_the_sparkline_shows_what_is_there() -> None:
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([1, 1000, 500, 0, -5]) == "▂█▅▁▁"


def test_the_audit_lists_who_changed_what_and_why(
    answered: Answered, call: Call, store: str
) -> None:
    assert "Nothing was changed" in call("audit", "list").stdout
    for number in range(3):
        answered(
            *("budget", "set", f"user:u{number}", "--daily", "5", "--reason", f"because {number}"),
            *("--actor", "grace"),
        )
    found = answered("audit", "list", "--top", "2", "--store", store)
    assert found["count"] == 3
    assert [change["scope"] for change in found["changes"]] == ["user:u1", "user:u2"]
    assert found["changes"][1]["reason"] == "because 2"
    assert found["changes"][1]["amount"] == "5.000000000"
    shown = call("audit", "list", "--top", "2").stdout
    for words in ("grace", "because 2", "limit $5.00", "1 older"):
        assert words in shown
    assert answered("audit", "list", "--scope", "user:u0")["count"] == 1
    assert answered("audit", "list", "--until", "2026-11-19")["count"] == 0
    assert answered("audit", "list", "--since", "2026-11-19")["count"] == 3


def test_an_untouched_log_is_verified_and_its_head_can_be_noted(
    answered: Answered, call: Call, store: str
) -> None:
    found = answered("audit", "verify", "--store", store)
    assert (found["ok"], found["rows"], found["first_bad"]) == (True, 32, None)
    assert found["keyed"] is False
    noted = answered("audit", "head")["head"]
    assert noted == found["head"] == call("audit", "head").stdout.strip()
    with open_store(store, clock=ManualClock(NOW)) as opened:
        opened.append([usage(500)])
    assert answered("audit", "verify", "--head", noted)["ok"] is True
    assert "is as it was written: 33 rows" in call("audit", "verify").stdout


def tamper(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize(
    "change",
    [
        ("UPDATE log SET body = replace(body, '1000000', '1') WHERE number = 7", 7),
        ("DELETE FROM log WHERE number = 7", 7),
        ("DELETE FROM log WHERE number > 30", 31),
    ],
    ids=["changed", "taken out", "cut"],
)
def test_a_tampered_log_is_found_with_exit_code_1(
    answered: Answered, call: Call, store: str, tmp_path: Path, change: tuple[str, int]
) -> None:
    statement, first_bad = change
    tamper(tmp_path / "budgets.db", statement)
    found = answered("audit", "verify", "--store", store, exit_code=1)
    assert found["ok"] is False
    assert found["first_bad"] == first_bad
    assert found["reason"]
    assert "not as it was written" in call("audit", "verify", exit_code=1).stdout


def test_an_older_copy_put_back_is_found_by_the_head_that_was_noted(
    answered: Answered, store: str, tmp_path: Path
) -> None:
    file = tmp_path / "budgets.db"
    older = file.read_bytes()
    with open_store(store, clock=ManualClock(NOW + timedelta(days=1))) as opened:
        opened.append([usage(500, at=NOW + timedelta(days=1))])
    noted = answered("audit", "head")["head"]
    file.write_bytes(older)
    assert answered("audit", "verify")["ok"] is True, "nothing in the file itself can show it"
    found = answered("audit", "verify", "--head", noted, exit_code=1)
    assert "had been noted" in found["reason"]
    assert "head is" in answered("audit", "verify", "--head", "x", exit_code=2)["error"]["message"]
