"""`cascadeflow costs`: who spent what, and the log as a file for other programs."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.budget_store import NOW, usage
from typer.testing import CliRunner

from cascadeflow.budgets.stores import open_store
from cascadeflow.cli import costs
from cascadeflow.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from typer.testing import Result

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]


def test_the_report_has_a_row_for_each_and_the_total_below(call: Call, store: str) -> None:
    shown = call("costs", "report", "--store", store).stdout
    for words in ("ada", "=cmd()", "eve", "0.030", "total", "0.040", "unconfirmed"):
        assert words in shown
    assert call("costs", "report").stdout == shown


def test_the_report_in_json_is_exact_and_cut_to_the_days_asked_for(
    answered: Answered, store: str
) -> None:
    found = answered(
        *("costs", "report", "--by", "user", "--by", "day", "--since", "2026-11-18"),
        *("--until", "2026-11-19", "--timezone", "Europe/Oslo", "--store", store),
    )
    assert found["rows"] == [
        {"user": "ada", "day": "2026-11-18"}
        | {name: found["rows"][0][name] for name in found["totals"]}
    ]
    assert found["totals"]["cost"] == "0.001000000"
    assert found["since"] == "2026-11-17T23:00:00+00:00"
    moment = answered("costs", "report", "--since", "2026-11-19T13:07:00+01:00")
    assert moment["totals"]["calls"] == 3


@pytest.mark.parametrize("columns", [60, 80, 110])
def test_a_narrow_terminal_leaves_columns_out_and_no_name_is_squeezed(
    store: str, columns: int
) -> None:
    long = "a-customer-of-ours@example.com"
    with open_store(store) as opened:
        opened.append([usage(300, user=long, nanodollars=1_234_567, held=1_000_000)])
        opened.append([usage(301, user=long, nanodollars=None, input_tokens=None)])
    arguments = ["costs", "report", "--by", "user", "--by", "day", "--since", "2026-11-18"]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": str(columns)})
    table = [line for line in result.stdout.splitlines() if line[:1] in set("┏┃┡│├└")]
    assert len({len(line) for line in table}) == 1
    assert len(table[0]) <= columns
    assert "…" not in result.stdout
    names = [line.split("│")[1].strip() for line in table if line.startswith("│")]
    assert long in "".join(names)
    assert len(next(name for name in names if name and long.startswith(name))) >= 16
    assert all(amount in result.stdout for amount in ("2026-11-18", "0.001234567", "0.013234567"))
    assert "No room for:" in result.stdout
    assert "cost of 1 call is not known" in result.stdout


def test_a_report_into_a_file_has_every_column_whole(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    with open_store(store) as opened:
        opened.append([usage(300, user="u" * 90, nanodollars=None, input_tokens=None)])
    shown = CliRunner().invoke(app, ["costs", "report", "--by", "user", "--by", "day"]).stdout
    assert "u" * 90 in shown
    assert "No room" not in shown


def test_rows_that_are_not_shown_are_in_the_total(call: Call, store: str) -> None:
    shown = call("costs", "report", "--by", "day", "--top", "2").stdout
    assert "28 more rows" in shown
    assert "0.040" in shown
    assert store


def test_by_tag_the_report_says_that_the_rows_are_more_than_the_total(
    answered: Answered, call: Call, store: str
) -> None:
    found = answered("costs", "report", "--by", "tag")
    assert found["overlapping"] == 32
    assert sum(Decimal(row["cost"]) for row in found["rows"]) == 2 * Decimal(
        found["totals"]["cost"]
    )
    assert "several tags" in call("costs", "report", "--by", "tag").stdout
    assert store


def test_csv_is_safe_for_a_spreadsheet_and_its_warnings_are_beside_it(
    call: Call, store: str
) -> None:
    result = call("costs", "report", "--by", "user", "--by", "tag", "--csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {row["user"] for row in rows} == {"ada", "'=cmd()", "eve"}
    assert "several tags" in result.stderr
    assert store


@pytest.mark.parametrize("form", ["csv", "json", "focus"])
def test_an_export_is_exact_and_complete(
    answered: Answered, store: str, tmp_path: Path, form: str
) -> None:
    file = tmp_path / "out"
    found = answered("costs", "export", "--format", form, "-o", str(file), "--store", store)
    assert (found["rows"], found["format"], found["file"]) == (32, form, str(file))
    text = file.read_text(encoding="utf-8")
    if form == "json":
        rows = json.loads(text)
        costs_found, users = "booked_usd", "user"
    else:
        rows = list(csv.DictReader(io.StringIO(text)))
        costs_found, users = ("booked_usd", "user") if form == "csv" else ("BilledCost", "x_UserId")
    assert sum(Decimal(row[costs_found]) for row in rows) == Decimal("0.04")
    assert {row[users] for row in rows} == {"ada", "=cmd()", "eve"}
    assert [path.name for path in tmp_path.glob("*out*")] == ["out"]


def test_focus_takes_the_account_the_issuer_and_the_team(
    answered: Answered, call: Call, store: str, tmp_path: Path
) -> None:
    with open_store(store) as opened:
        opened.append([usage(200, nanodollars=None)])
    file = tmp_path / "focus.csv"
    arguments = (
        *("costs", "export", "--format", "focus", "-o", str(file), "--sub-account", "team"),
        *("--issuer", "Example Ltd", "--billing-account", "acc"),
    )
    found = answered(*arguments)
    assert (found["version"], found["unknown_costs"], found["rows"]) == ("1.4", 1, 32)
    row = next(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    assert (row["SubAccountId"], row["SubAccountType"]) == ("research", "Team")
    assert (row["InvoiceIssuerName"], row["BillingAccountId"]) == ("Example Ltd", "acc")
    assert "left out" in call(*arguments, "--force").stdout


def test_an_export_is_cut_to_the_days_asked_for(
    answered: Answered, store: str, tmp_path: Path
) -> None:
    found = answered(
        *("costs", "export", "-o", str(tmp_path / "day.csv"), "--since", "2026-11-19"),
        *("--until", "2026-11-20", "--store", store),
    )
    assert found["rows"] == 3


def test_a_file_is_overwritten_only_when_it_is_asked_for_and_stays_whole_until_then(
    answered: Answered, call: Call, store: str, tmp_path: Path
) -> None:
    file = tmp_path / "out.csv"
    file.write_text("mine", encoding="utf-8")
    message = answered("costs", "export", "-o", str(file), exit_code=2)["error"]["message"]
    assert "--force" in message
    assert file.read_text(encoding="utf-8") == "mine"
    call("costs", "export", "-o", str(file), "--issuer", " ", "--format", "focus", "--force",
         exit_code=2)  # fmt: skip
    assert file.read_text(encoding="utf-8") == "mine", "it failed half-way"
    call("costs", "export", "-o", str(file), "--force")
    assert file.read_text(encoding="utf-8").startswith("event_id,")
    assert [path.name for path in tmp_path.glob("*.csv*")] == ["out.csv"]
    assert list(tmp_path.glob(".out*")) == []
    assert store


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    first, second = tmp_path / "first", tmp_path / "second"
    for part in (first, second):
        part.write_text(part.name, encoding="utf-8")
    costs._take_name(file, first)
    with pytest.raises(FileExistsError):
        costs._take_name(file, second)
    assert file.read_text(encoding="utf-8") == "first"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("report", "--by", "colour"), 2, "choose of user"),
        (("report", "--by", "user", "--by", "user"), 2, "once"),
        (("report", "--since", "yesterday"), 2, "2026-11-01"),
        (("report", "--since", "2026-11-02", "--until", "2026-11-02"), 2, "not after"),
        (("report", "--timezone", "Mars/Olympus"), 2, "time zone"),
        (("report", "--csv"), 2, "exclude each other"),
        (("export", "-o", "/nowhere/at/all.csv"), 1, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused_and_says_why(
    answered: Answered, store: str, arguments: tuple[str, ...], exit_code: int, message: str
) -> None:
    error = answered("costs", *arguments, exit_code=exit_code)["error"]
    assert message in error["message"]
    assert store


def test_a_log_without_charges_gives_an_empty_report(
    answered: Answered, call: Call, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/empty.db"
    with open_store(url):
        pass
    assert answered("costs", "report", "--store", url)["rows"] == []
    assert "total" in call("costs", "report", "--store", url).stdout
    assert NOW.tzinfo is not None
