"""Each account, period and threshold is reported once, whoever reaches it; so are alerts."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.budgets.records import NOBODY, Charge, Spender
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import BudgetExceededError
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from cascadeflow.budgets.alerts import Alert
    from cascadeflow.budgets.reservation import Outcome, Reservation

USD = 10**9
MODEL = "openai:small"
START = datetime(2026, 3, 10, 12, tzinfo=UTC)
ME = {"actor": "ada", "reason": "asked for"}


class Heard:
    """A tracker and the alerts that came of it."""

    def __init__(self, **options: Any) -> None:
        self.alerts: list[Alert] = []
        self.clock = ManualClock(START)
        self.tracker = CostTracker(clock=self.clock, alert_channels=[self.alerts.append], **options)

    def hold(self, amount: int, spender: Spender = NOBODY) -> Reservation:
        now = self.clock.now()
        return self.tracker.reserve_sync(spender, [(MODEL, amount)], request_id="r", at=now)

    def spend(self, amount: int, spender: Spender = NOBODY) -> Outcome:
        charge = Charge(model=MODEL, nanodollars=amount, confirmed=True, held=amount)
        return self.hold(amount, spender).settle([charge])

    def said(self) -> list[tuple[str, str]]:
        """The alerts since the last time: account and state."""
        assert self.tracker._alerts is not None
        assert self.tracker._alerts.flush()
        told: list[tuple[str, str]] = [(alert.account, alert.state) for alert in self.alerts]
        self.alerts.clear()
        return told


def crossed(outcome: Outcome) -> list[tuple[str, str, str]]:
    return [(str(s.scope), s.period, state) for s, state in outcome.crossed]


def test_each_threshold_is_reported_once() -> None:
    heard = Heard(global_budget=1)
    assert crossed(heard.spend(USD * 79 // 100)) == []
    assert crossed(heard.spend(USD // 100)) == [("global", "total", "warned")]
    assert crossed(heard.spend(USD // 100)) == []
    assert crossed(heard.spend(USD * 9 // 100)) == [("global", "total", "degraded")]
    assert crossed(heard.spend(USD // 10)) == [("global", "total", "exhausted")]
    assert crossed(heard.spend(0)) == []
    states = ("warned", "degraded", "exhausted")
    assert heard.said() == [("global total", state) for state in states]


def test_an_alert_says_how_the_account_stood() -> None:
    heard = Heard(user_budgets={"u": BudgetConfig(daily=1)}, enforcement_mode="degrade")
    keep = heard.hold(USD // 10, Spender(user_id="u"))
    heard.spend(USD * 8 // 10, Spender(user_id="u"))
    assert heard.tracker._alerts is not None
    assert heard.tracker._alerts.flush()
    (alert,) = heard.alerts
    assert (alert.state, alert.mode, alert.at) == ("warned", "degrade", START)
    assert (alert.standing.spent, alert.standing.held) == (USD * 8 // 10, USD // 10)
    assert "user:u" in alert.text
    keep.release()


def test_what_is_only_held_reaches_no_threshold() -> None:
    heard = Heard(global_budget=1)
    held = heard.hold(USD)
    assert held.settle([Charge(model=MODEL, nanodollars=5, confirmed=True)]).crossed == ()
    assert heard.said() == []


def test_every_account_and_period_has_its_own() -> None:
    heard = Heard(
        global_budget=BudgetConfig(daily=1, weekly=2), default_user_budget=BudgetConfig(monthly=4)
    )
    assert crossed(heard.spend(USD)) == [
        ("global", "day", "warned"),
        ("global", "day", "degraded"),
        ("global", "day", "exhausted"),
    ]
    heard.clock.advance(86_400)
    assert crossed(heard.spend(USD * 8 // 10)) == [
        ("global", "day", "warned"),
        ("global", "week", "warned"),
        ("global", "week", "degraded"),
    ]


@pytest.mark.parametrize("budget", [BudgetConfig(daily=1), BudgetConfig(rolling=1)])
def test_a_new_period_is_reported_anew(budget: BudgetConfig) -> None:
    heard = Heard(global_budget=budget)
    for _ in range(3):
        assert len(crossed(heard.spend(USD))) == 3
        heard.clock.advance(86_400 * 2)


def test_a_refusal_is_an_alert_once_in_its_period() -> None:
    heard = Heard(global_budget=BudgetConfig(daily=1))
    for _ in range(2):
        for _ in range(3):
            with pytest.raises(BudgetExceededError):
                heard.hold(2 * USD)
        assert heard.said() == [("global day", "refused")]
        heard.clock.advance(86_400)


def test_running_over_a_limit_that_only_warns_is_an_alert_once() -> None:
    heard = Heard(global_budget=1, enforcement_mode="warn")
    heard.spend(USD)
    heard.said()
    for _ in range(3):
        assert heard.hold(5).over_limit
    assert heard.said() == [("global total", "over_limit")]


def test_dropped_and_recorded_money_reaches_thresholds_too() -> None:
    heard = Heard(global_budget=1, user_budgets={"u": 1})
    heard.hold(USD * 8 // 10)
    assert heard.tracker.spent > 0
    heard.tracker.record(model="m", provider="p", nanodollars=USD, user_id="u")
    told = heard.said()
    assert told.count(("global total", "warned")) == 1
    assert ("user:u total", "exhausted") in told


def test_a_raised_limit_has_thresholds_of_its_own() -> None:
    heard = Heard(global_budget=1)
    heard.spend(USD)
    heard.tracker.set_budget("global", 10, **ME)
    assert crossed(heard.spend(USD)) == []
    assert crossed(heard.spend(6 * USD)) == [("global", "total", "warned")]


def test_a_lowered_limit_is_reported_when_it_is_lowered() -> None:
    heard = Heard(global_budget=10)
    heard.spend(USD)
    heard.tracker.set_budget("global", 1, **ME)
    assert [state for _, state in heard.said()] == ["warned", "degraded", "exhausted"]
    assert crossed(heard.spend(0)) == []


def test_an_adjustment_below_a_threshold_lets_it_be_reached_again() -> None:
    heard = Heard(global_budget=1)
    heard.spend(USD)
    heard.tracker.adjust("global", "-0.15", **ME)
    assert crossed(heard.spend(USD // 10)) == [("global", "total", "degraded")]
    heard.tracker.adjust("global", "0.05", **ME)
    assert heard.said()[-1] == ("global total", "exhausted")


def test_a_total_that_is_reached_is_in_the_log_of_the_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard = Heard(budget_limit=1)
    with caplog.at_level(logging.WARNING):
        heard.spend(USD)
    assert "tracked only" in caplog.text
    caplog.clear()
    heard = Heard(budget_limit=1, enforcement_mode="block")
    with caplog.at_level(logging.WARNING):
        heard.spend(USD)
    assert "tracked only" not in caplog.text
    assert "the budget is exhausted" in caplog.text


def test_a_channel_that_raises_changes_nothing_for_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def dead(alert: Alert) -> None:
        raise OSError(alert.state)

    with CostTracker(global_budget=1, alert_channels=[dead]) as tracker, caplog.at_level(60):
        now = tracker._clock.now()
        held = tracker.reserve_sync(NOBODY, [(MODEL, USD)], request_id="r", at=now)
        charge = Charge(model=MODEL, nanodollars=USD, confirmed=True)
        assert held.settle([charge]).booked == USD


def test_a_model_that_stands_in_for_another_alerts_of_its_own_budget() -> None:
    heard: list[tuple[str, str]] = []
    tracker = CostTracker(
        global_budget=1,
        default_user_budget=1,
        budgets={"model:openai:large": "0.0000005"},
        alert_channels=[lambda alert: heard.append((str(alert.scope), alert.state))],
    )

    async def main() -> None:
        at = datetime.now(UTC)
        spender = Spender(user_id="u")
        held = await tracker.reserve(spender, [("openai:small", 0)], request_id="r", at=at)
        assert await held.extend([("openai:large", 450)])
        held.settle([Charge(model="openai:large", nanodollars=450, confirmed=True, held=450)])

    asyncio.run(main())
    tracker.close()
    assert ("model:openai:large", "degraded") in heard
