"""`cascadeflow budget`: how accounts stand, and changing them by hand."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.budget_store import NOW, filled, usage

from cascadeflow.budgets.audit import reset
from cascadeflow.budgets.records import ManualEvent, Scope
from cascadeflow.budgets.stores import open_store
from cascadeflow.budgets.stores.protocol import Grant
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    from typer.testing import Result

    from cascadeflow.budgets.stores.sqlite import SqliteStore

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]


@pytest.fixture
def held(store: str) -> Iterator[None]:
    """Another process has the store open, and has been granted money."""
    script = (
        "import sys; from datetime import datetime\n"
        "from cascadeflow.budgets.records import Scope\n"
        "from cascadeflow.budgets.stores import open_store\n"
        "from cascadeflow.budgets.stores.protocol import Grant\n"
        "store = open_store(sys.argv[1])\n"
        "store.grant([Grant(Scope('global'), 10**9, datetime.fromisoformat(sys.argv[2]))])\n"
        "print('open', flush=True); sys.stdin.read(); store.close()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, store, NOW.isoformat()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def periods(account: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["period"]: each for each in account["periods"]}


def manual(url: str) -> list[ManualEvent]:
    with open_store(url, read_only=True) as store:
        return [event for event in store.events() if isinstance(event, ManualEvent)]


def test_show_tells_what_one_account_spent_in_each_period(answered: Answered, store: str) -> None:
    found = answered("budget", "show", "user:ada", "--store", store)
    (account,) = found["accounts"]
    stands = periods(account)
    assert account["scope"] == "user:ada"
    assert list(stands) == ["rolling", "day", "week", "month", "total"]
    assert stands["day"]["spent"] == "0.001000000"
    assert stands["total"]["spent"] == "0.030000000"
    assert stands["week"]["spent"] == "0.004000000"
    assert stands["month"]["spent"] == "0.019000000"
    assert stands["total"]["limit"] is None
    assert stands["total"]["resets_at"] is None


def test_show_without_an_account_shows_the_global_one_first_and_then_the_dearest(
    answered: Answered, call: Call, store: str
) -> None:
    found = answered("budget", "show", "--top", "3")
    assert found["count"] == 9
    assert found["accounts"][0]["scope"] == "global"
    shown = call("budget", "show", "--top", "3").stdout
    assert "6 more" in shown
    assert "global" in shown
    assert "limit by hand" not in shown
    assert store


def test_a_limit_that_is_set_by_hand_is_shown_with_how_much_is_left(
    answered: Answered, call: Call, store: str
) -> None:
    answered(
        *("budget", "set", "user:ada", "--daily", "0.0011", "--monthly", "5"),
        *("--reason", "asked for more", "--actor", "grace"),
    )
    found = answered(
        *("budget", "set", "user:ada", "--daily", "0.0012", "--unlimited", "week"),
        *("--reason", "a little more"),
    )
    assert [(e["period"], e["amount"], e["previous"]) for e in found["events"]] == [
        ("day", "0.001200000", "0.001100000"),
        ("week", None, None),
    ]
    day = periods(answered("budget", "show", "user:ada")["accounts"][0])["day"]
    assert (day["limit"], day["remaining"]) == ("0.001200000", "0.000200000")
    assert day["state"] == "warned"
    assert day["by_hand"] is True
    shown = call("budget", "show", "user:ada").stdout
    assert "83%" in shown
    assert "unlimited" in shown
    first = manual(store)[0]
    assert (first.actor, first.reason, first.kind) == ("grace", "asked for more", "limit")


def test_zero_is_a_limit_of_zero(answered: Answered, store: str) -> None:
    answered("budget", "set", "team:research", "--total", "0", "--reason", "over")
    total = periods(answered("budget", "show", "team:research")["accounts"][0])["total"]
    assert (total["limit"], total["remaining"]) == ("0.000000000", "0.000000000")
    assert total["state"] == "exhausted"
    assert store


def test_days_are_the_time_zones(answered: Answered, store: str) -> None:
    day = periods(
        answered("budget", "show", "global", "--timezone", "Asia/Kathmandu")["accounts"][0]
    )["day"]
    assert day["resets_at"] == "2026-11-19T18:15:00+00:00"
    assert store


def test_a_reset_sets_the_day_to_zero_and_leaves_its_costs_in_the_reports(
    answered: Answered, call: Call, store: str
) -> None:
    found = answered("budget", "reset", "user:ada", "--reason", "a loop", "--actor", "grace")
    (event,) = found["events"]
    assert (event["kind"], event["amount"], event["previous"]) == (
        "reset",
        "-0.001000000",
        "0.001000000",
    )
    after = {each["period"]: each["spent"] for each in found["after"]}
    assert after["day"] == "0.000000000"
    assert after["total"] == "0.029000000"
    costs = answered("costs", "report")
    assert next(row for row in costs["rows"] if row["user"] == "ada")["cost"] == "0.030000000"
    assert costs["adjustments"][0]["nanodollars"] == -1_000_000
    assert "nothing was spent" in call("budget", "reset", "user:ada", "--reason", "again").stdout
    assert len(manual(store)) == 1


def test_after_a_reset_of_a_longer_period_what_is_spent_counts_in_the_day(
    answered: Answered, call: Call, store: str
) -> None:
    found = answered("budget", "reset", "user:ada", "--period", "total", "--reason", "anew")
    assert {each["spent"] for each in found["after"]} == {"0.000000000"}
    shown = call("budget", "show", "user:ada", "--store", store).stdout
    assert "-$" not in shown, "an account shows never less than nothing"
    with open_store(store, clock=ManualClock(NOW)) as file:
        file.append([usage(99, nanodollars=5_000_000)])
    day = periods(answered("budget", "show", "user:ada")["accounts"][0])["day"]
    assert (day["spent"], day["unreported"]) == ("0.005000000", "0.000000000")
    assert day["booked"].startswith("-")
    found = answered("budget", "reset", "user:ada", "--reason", "once more")
    assert [event["amount"] for event in found["events"]] == ["-0.005000000"]
    assert {each["spent"] for each in found["after"]} == {"0.000000000"}


@pytest.mark.usefixtures("budget_clock")
def test_what_a_crash_left_counts_as_spent_until_it_is_reclaimed(
    answered: Answered, call: Call, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/crashed.db"
    script = (
        "import os, sys; from datetime import datetime\n"
        "from cascadeflow.budgets.records import Scope\n"
        "from cascadeflow.budgets.stores import open_store\n"
        "from cascadeflow.budgets.stores.protocol import Grant\n"
        "store, now = open_store(sys.argv[1]), datetime.fromisoformat(sys.argv[2])\n"
        "store.grant([Grant(Scope('user', 'ada'), 7_000_000, now)])\n"
        "os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", script, url, NOW.isoformat()], check=False)
    day = periods(answered("budget", "show", "user:ada", "--store", url)["accounts"][0])["day"]
    assert (day["spent"], day["unreported"]) == ("0.007000000", "0.007000000")
    assert "reclaim" in call("budget", "show", "user:ada", "--store", url).stdout
    found = answered(
        *("budget", "reclaim", "user:ada", "--spent", "0.002", "--reason", "the bill says so"),
        *("--store", url),
    )
    assert found["events"][0]["amount"] == "0.002000000"
    day = periods(answered("budget", "show", "user:ada", "--store", url)["accounts"][0])["day"]
    assert (day["spent"], day["unreported"]) == ("0.002000000", "0.000000000")


def crashed(url: str, *granted: str, calls: str = "()") -> None:
    """A process that dies with a million nanodollars granted to each account."""
    script = (
        "import os, sys; from datetime import datetime\n"
        "from cascadeflow.budgets.accounts import parse_scope\n"
        "from cascadeflow.budgets.records import Spender\n"
        "from cascadeflow.budgets.stores import open_store\n"
        "from cascadeflow.budgets.stores.protocol import Grant, HeldCall, StrictHold\n"
        "store, now = open_store(sys.argv[1]), datetime.fromisoformat(sys.argv[2])\n"
        "spent = {scope: store.scope(scope, since=now).spent for scope in map(parse_scope, "
        "sys.argv[3:])}\n"
        "store.grant([Grant(scope, amount + 1_000_000, now) for scope, amount in spent.items()])\n"
        f"calls = tuple(HeldCall(model='openai:gpt-5', nanodollars=each) for each in {calls})\n"
        "store.hold([StrictHold(request_id='h1', at=now, spender=Spender(user_id='ada'), "
        "calls=calls)])\n"
        "os._exit(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, url, NOW.isoformat(), *granted], check=False
    )
    assert done.returncode == 3


def test_reclaim_says_what_it_was_and_its_numbers_add_up(
    answered: Answered, call: Call, store: str
) -> None:
    crashed(store, "user:ada")
    (event,) = answered(
        *("budget", "reclaim", "user:ada", "--spent", "0.0004", "--reason", "the bill")
    )["events"]
    assert (event["kind"], event["unreported"], event["amount"]) == (
        "reclaim",
        "0.001000000",
        "0.000400000",
    )
    assert (event["previous"], event["after"]) == ("0.031000000", "0.030400000")
    total = periods(answered("budget", "show", "user:ada")["accounts"][0])["total"]
    assert total["spent"] == event["after"]
    assert answered("audit", "list")["changes"] == [event]
    assert (
        "reclaim: of $0.001 not reported, $0.0004 were spent ($0.031 → $0.0304)"
        in call("audit", "list").stdout
    )


def test_all_that_a_crash_left_is_reclaimed_at_once_with_an_event_for_each(
    answered: Answered, call: Call, store: str
) -> None:
    crashed(store, "global", "user:ada", "user:new", "tier:pro")
    assert "reclaim --all" in call("budget", "show").stdout
    found = answered("budget", "reclaim", "--all", "--reason", "after the crash")
    assert found["scope"] is None
    assert {event["scope"]: event["after"] for event in found["events"]} == {
        "global": "0.040000000",
        "user:ada": "0.030000000",
        "user:new": "0.000000000",
        "tier:pro": "0.040000000",
    }
    assert [event.kind for event in manual(store)] == ["reclaim"] * 4
    assert answered("costs", "report")["adjustments"] == [], "nothing was booked"
    assert "reclaim" not in call("budget", "show").stdout
    assert answered("budget", "reclaim", "--all", "--reason", "again")["events"] == []
    assert len(manual(store)) == 4


def test_calls_under_way_at_a_crash_are_shown_as_the_next_start_books_them(
    answered: Answered, call: Call, store: str
) -> None:
    crashed(store, calls="(3_000_000, 500_000)")
    shown = answered("budget", "show", "user:ada")
    day = periods(shown["accounts"][0])["day"]
    assert (day["spent"], day["unreported"]) == ("0.004500000", "0.000000000")
    text = call("budget", "show").stdout
    assert "reclaim" not in text
    assert "*" not in text
    with open_store(store, clock=ManualClock(NOW)):
        pass
    assert answered("budget", "show", "user:ada") == shown


@pytest.mark.parametrize("minutes", [-40, 0, 40])
def test_a_reader_sees_what_a_writer_will_find_also_after_a_reset(store: str, minutes: int) -> None:
    ada = Scope("user", "ada")
    at = NOW + timedelta(minutes=minutes)
    with open_store(store, clock=ManualClock(at)) as file:
        file.append([reset(ada, "total", previous=30_000_000, actor="eve", reason="anew", at=at)])
    crashed(store, "user:ada", calls="(3_000_000, 500_000)")
    moments = (NOW - timedelta(days=60), NOW, NOW + timedelta(minutes=20))

    def known(file: SqliteStore) -> list[Any]:
        return [
            [file.scope(ada, since=each), *sorted(file.scopes(since=each), key=str)]
            for each in moments
        ]

    with open_store(store, read_only=True) as file:
        seen = known(file)
    with open_store(store, clock=ManualClock(NOW)) as file:
        assert seen == known(file)


def test_what_was_granted_beyond_the_calls_under_way_can_be_reclaimed(
    answered: Answered, store: str
) -> None:
    crashed(store, "user:ada", calls="(400_000,)")
    day = periods(answered("budget", "show", "user:ada")["accounts"][0])["day"]
    assert (day["spent"], day["unreported"]) == ("0.002000000", "0.000600000")
    (event,) = answered("budget", "reclaim", "user:ada", "--reason", "no bill")["events"]
    assert (event["unreported"], event["after"]) == ("0.000600000", "0.030400000")


def test_a_limit_that_is_set_to_what_it_is_is_no_change(
    answered: Answered, call: Call, store: str
) -> None:
    arguments = ("budget", "set", "user:ada", "--daily", "5", "--reason", "why")
    answered(*arguments, "--unlimited", "week")
    found = answered(*arguments, "--monthly", "50")
    assert [event["period"] for event in found["events"]] == ["month"]
    assert found["kept"] == [{"period": "week", "limit": None}]
    shown = call(*arguments, "--unlimited", "week").stdout
    assert "day: is $5.00 already" in shown
    assert "week: is unlimited already" in shown
    assert "month $50.00" in shown
    assert len(manual(store)) == 3


def test_only_takes_the_limits_of_all_other_periods_away(answered: Answered, store: str) -> None:
    answered("budget", "set", "user:ada", "--daily", "5", "--weekly", "9", "--reason", "a")
    found = answered("budget", "set", "user:ada", "--daily", "5", "--only", "--reason", "b")
    assert found["kept"] == []
    assert {event["period"]: (event["previous"], event["amount"]) for event in found["events"]} == {
        "week": ("9.000000000", None),
        "month": (None, None),
        "total": (None, None),
        "rolling": (None, None),
    }
    stands = periods(answered("budget", "show", "user:ada")["accounts"][0])
    assert [name for name, each in stands.items() if each["limit"] is not None] == ["day"]
    again = answered("budget", "set", "user:ada", "--daily", "5", "--only", "--reason", "c")
    assert again["events"] == []
    assert len(manual(store)) == 6


@pytest.mark.usefixtures("budget_clock")
def test_a_reset_also_settles_what_a_crash_left(answered: Answered, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/crashed.db"
    filled(url)
    with open_store(url, clock=ManualClock(NOW)) as store:
        store.grant([Grant(Scope("user", "ada"), 10**9, NOW - timedelta(seconds=1))])
        store.close([(Scope("user", "ada"), 40_000_000)])
    before = periods(answered("budget", "show", "user:ada", "--store", url)["accounts"][0])["day"]
    assert before["unreported"] == "0.010000000"
    found = answered("budget", "reset", "user:ada", "--reason", "anew", "--store", url)
    assert [event["kind"] for event in found["events"]] == ["reclaim", "reset"]
    day = {each["period"]: each for each in found["after"]}["day"]
    assert (day["spent"], day["unreported"]) == ("0.000000000", "0.000000000")


@pytest.mark.usefixtures("held")
def test_a_running_process_lets_others_read_and_its_grant_is_not_taken_for_spent(
    answered: Answered,
) -> None:
    total = periods(answered("budget", "show", "global")["accounts"][0])["total"]
    assert (total["spent"], total["unreported"]) == ("0.040000000", "0.000000000")
    assert answered("costs", "report")["totals"]["cost"] == "0.040000000"


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    "arguments",
    [("set", "user:ada", "--daily", "5"), ("reset", "user:ada"), ("reclaim", "user:ada")],
)
def test_a_running_process_keeps_others_from_writing_and_the_error_says_what_to_do(
    answered: Answered, store: str, arguments: tuple[str, ...]
) -> None:
    error = answered("budget", *arguments, "--reason", "why not", exit_code=1)["error"]
    assert error["type"] == "StoreError"
    assert "Stop that process" in error["message"]
    assert manual(store) == []


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("set", "user:ada", "--reason", "x"), 2, "which limit"),
        (("set", "ada", "--daily", "1", "--reason", "x"), 2, "user:"),
        (("set", "user:ada", "--daily", "-1", "--reason", "x"), 2, "at least 0"),
        (("set", "user:ada", "--daily", "five", "--reason", "x"), 2, "number of US dollars"),
        (("set", "user:ada", "--daily", "1", "--reason", " "), 2, "a reason"),
        (("set", "user:ada", "--daily", "1", "--actor", "", "--reason", "x"), 2, "an actor"),
        (
            ("set", "user:ada", "--daily", "1", "--unlimited", "day", "--reason", "x"),
            2,
            "choose",
        ),
        (("set", "user:ada", "--unlimited", "year", "--reason", "x"), 2, "no period"),
        (("reclaim", "user:ada", "--reason", "x"), 1, "nothing to settle"),
        (("reclaim", "--reason", "x"), 2, "--all"),
        (("reclaim", "user:ada", "--all", "--reason", "x"), 2, "--all"),
        (("reclaim", "--all", "--spent", "1", "--reason", "x"), 2, "of one account"),
        (("show", "--timezone", "Mars/Olympus"), 2, "time zone"),
        (("show", "--rolling-hours", "0"), 2, "rolling_hours"),
        (("show", "--store", "postgres://x"), 2, "sqlite:///"),
        (("show", "--store", "sqlite:///nowhere/x.db"), 1, "is not there"),
        (("set", "user:ada", "--daily", "1", "--reason", "x", "--store", "sqlite:///x.db"), 1,
         "--create"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_and_says_why(
    answered: Answered, store: str, arguments: tuple[str, ...], exit_code: int, message: str
) -> None:
    assert message in answered("budget", *arguments, exit_code=exit_code)["error"]["message"]
    assert manual(store) == []


@pytest.mark.usefixtures("budget_clock")
def test_a_new_store_is_made_when_it_is_asked_for(answered: Answered, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    answered(
        *("budget", "set", "global", "--monthly", "100", "--reason", "the start", "--create"),
        *("--store", url),
    )
    month = periods(answered("budget", "show", "global", "--store", url)["accounts"][0])["month"]
    assert (month["limit"], month["spent"]) == ("100.000000000", "0.000000000")


def test_no_store_at_all_says_where_to_name_one(answered: Answered) -> None:
    message = answered("budget", "show", exit_code=2)["error"]["message"]
    assert "--store" in message
    assert "CASCADEFLOW_STORE" in message


@pytest.mark.usefixtures("budget_clock")
def test_a_name_from_outside_cannot_steer_the_terminal(call: Call, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/budgets.db"
    with open_store(url) as store:
        store.append([usage(1, user="\x1b[2J[red]a\nb")])
    for arguments in (("budget", "show"), ("costs", "report")):
        shown = call(*arguments, "--store", url).stdout
        assert "\x1b" not in shown
        assert "[red]a\\nb" in shown
