"""Changes by hand take effect at once, and are events with actor and reason."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.budgets.accounts import EveryModel
from cascadeflow.budgets.records import NOBODY, Charge, ManualEvent, Spender
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import BudgetExceededError, ConfigurationError, InvalidRequestError
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from cascadeflow.budgets.reservation import Reservation

USD = 10**9
MODEL = "openai:small"
ME: dict[str, str] = {"actor": "ada", "reason": "asked for"}


def tracker_at(**options: Any) -> CostTracker:
    return CostTracker(clock=ManualClock(datetime(2026, 3, 10, 12, tzinfo=UTC)), **options)


def hold(tracker: CostTracker, amount: int, spender: Spender = NOBODY) -> Reservation:
    now = tracker._clock.now()
    return tracker.reserve_sync(spender, [(MODEL, amount)], request_id="r", at=now)


def paid(amount: int) -> list[Charge]:
    return [Charge(model=MODEL, nanodollars=amount, confirmed=True, held=amount)]


def manual(tracker: CostTracker) -> list[ManualEvent]:
    return [event for event in tracker.events() if isinstance(event, ManualEvent)]


def test_a_lower_limit_refuses_at_once_and_what_is_held_stays_held() -> None:
    tracker = tracker_at(global_budget=10)
    held = hold(tracker, 5 * USD)
    tracker.set_budget("global", 2, **ME)
    with pytest.raises(BudgetExceededError) as caught:
        hold(tracker, 1)
    assert (caught.value.limit, caught.value.held) == (Decimal(2), Decimal(5))
    held.settle(paid(USD))
    assert tracker.remaining() == 1
    assert tracker.budget_limit == 2


def test_a_higher_limit_lets_through_at_once() -> None:
    tracker = tracker_at(global_budget=1)
    held = hold(tracker, USD)
    tracker.set_budget("global", BudgetConfig(total="2.5"), **ME)
    assert held.extend_sync([(MODEL, USD)])
    held.settle(paid(2 * USD))
    assert tracker.remaining() == Decimal("0.5")


def test_each_changed_period_is_an_event() -> None:
    tracker = tracker_at(user_budgets={"u": BudgetConfig(daily=1, monthly=10)})
    tracker.set_budget("user:u", BudgetConfig(daily=1, weekly=5), **ME)
    assert [(e.period, e.nanodollars, e.previous) for e in manual(tracker)] == [
        ("month", None, 10 * USD),
        ("week", 5 * USD, None),
    ]
    assert {(str(e.scope), e.kind, e.actor, e.reason) for e in manual(tracker)} == {
        ("user:u", "limit", "ada", "asked for")
    }
    limits = {s.period: s.limit for s in tracker.accounts("user:u")}
    assert limits == {"day": USD, "week": 5 * USD, "month": None}


def test_no_limit_said_on_purpose_refuses_nobody() -> None:
    tracker = tracker_at(default_user_budget=1)
    tracker.set_budget("user:vip", None, **ME)
    hold(tracker, 100 * USD, Spender(user_id="vip")).settle(paid(USD))
    with pytest.raises(BudgetExceededError):
        hold(tracker, 2 * USD, Spender(user_id="other"))
    assert tracker.remaining("vip") is None


def test_a_new_default_holds_for_everybody_without_a_budget_of_their_own() -> None:
    tracker = tracker_at(default_user_budget=1, user_budgets={"rich": 50})
    keep = hold(tracker, USD, Spender(user_id="a"))
    tracker.set_budget("user:*", 2, **ME)
    for user in ("a", "b"):
        hold(tracker, USD, Spender(user_id=user)).release()
    with pytest.raises(BudgetExceededError):
        hold(tracker, 2 * USD, Spender(user_id="a"))
    hold(tracker, 50 * USD, Spender(user_id="rich")).release()
    keep.release()


def test_a_budget_for_a_scope_that_had_none_counts_requests_under_way() -> None:
    tracker = tracker_at(global_budget=10)
    team = Spender(team="t")
    held = hold(tracker, USD, team)
    tracker.set_budget("team:t", 1, **ME)
    held.settle(paid(USD // 4))
    assert tracker.accounts("team:t")[0].spent == USD // 4
    with pytest.raises(BudgetExceededError):
        hold(tracker, USD, team)


def test_a_model_may_be_given_a_budget_later() -> None:
    tracker = tracker_at(global_budget=10)
    held = hold(tracker, USD)
    tracker.set_budget(f"model:{MODEL}", 1, **ME)
    assert tracker.budgeted_models == {MODEL}
    assert held.extend_sync([(MODEL, USD)])
    assert not held.extend_sync([(MODEL, USD)])
    held.settle(paid(USD + 5))
    assert tracker.accounts(f"model:{MODEL}")[0].spent == USD + 5
    tracker.set_budget("model:*", 3, **ME)
    assert isinstance(tracker.budgeted_models, EveryModel)


@pytest.mark.parametrize("change", [{"timezone": "Asia/Tokyo"}, {"warn_at": 0.1}])
def test_only_amounts_are_changed_by_hand(change: dict[str, Any]) -> None:
    tracker = tracker_at(user_budgets={"u": BudgetConfig(daily=1, timezone="Europe/Oslo")})
    with pytest.raises(ConfigurationError, match=next(iter(change))):
        tracker.set_budget("user:u", BudgetConfig(daily=2, **change), **ME)
    tracker.set_budget("user:u", BudgetConfig(daily=2), **ME)
    tracker.set_budget("user:u", BudgetConfig(daily=3, timezone="Europe/Oslo"), **ME)
    assert [s.limit for s in tracker.accounts("user:u")] == [3 * USD]


@pytest.mark.parametrize("who", [{"actor": "", "reason": "x"}, {"actor": "x", "reason": " "}])
def test_a_change_needs_an_actor_and_a_reason(who: dict[str, str]) -> None:
    tracker = tracker_at(global_budget=1)
    with pytest.raises(InvalidRequestError, match=r"actor|reason"):
        tracker.set_budget("global", 2, **who)
    with pytest.raises(InvalidRequestError, match=r"actor|reason"):
        tracker.adjust("global", 2, **who)
    with pytest.raises(InvalidRequestError, match=r"actor|reason"):
        tracker.reset(**who)
    assert tracker.events() == []
    assert tracker.budget_limit == 1


def test_an_adjustment_is_booked_and_takes_off_no_more_than_there_is() -> None:
    tracker = tracker_at(global_budget=BudgetConfig(daily=5, total=10))
    assert tracker.adjust("global", "2.5", **ME) == Decimal("2.5")
    assert tracker.adjust("global", Decimal("-0.5"), **ME) == Decimal("-0.5")
    assert tracker.spent == 2
    assert tracker.adjust("global", -100, **ME) == -2
    assert tracker.spent == 0
    assert [(e.kind, e.nanodollars, e.previous) for e in manual(tracker)] == [
        ("adjust", 5 * USD // 2, 0),
        ("adjust", -USD // 2, 5 * USD // 2),
        ("adjust", -2 * USD, 2 * USD),
    ]


@pytest.mark.parametrize("amount", ["much", float("nan"), "--1", 10**11])
def test_an_adjustment_that_is_no_amount_is_refused(amount: Any) -> None:
    with pytest.raises(InvalidRequestError):
        tracker_at(global_budget=1).adjust("global", amount, **ME)


def test_an_adjustment_counts_for_who_has_no_budget_too() -> None:
    tracker = tracker_at()
    assert tracker.adjust("user:u", 1, **ME) == 1
    assert tracker.adjust("global", 1, **ME) == 1
    assert tracker.spent == 1
    assert len(manual(tracker)) == 2
    assert tracker.adjust("global", -5, **ME) == -1


def test_a_reset_forgets_what_was_spent_and_keeps_what_is_held() -> None:
    tracker = tracker_at(
        global_budget=BudgetConfig(daily=5, total=10),
        default_user_budget=5,
        budgets={f"model:{MODEL}": 5},
    )
    hold(tracker, USD).settle(paid(USD))
    held = hold(tracker, 2 * USD)
    tracker.reset()
    assert tracker.spent == 0
    assert tracker.entries == []
    assert {(s.spent, s.held) for s in tracker.accounts()} == {(0, 2 * USD)}
    assert len(tracker.accounts()) == 4
    with pytest.raises(BudgetExceededError):
        hold(tracker, 4 * USD)
    assert held.extend_sync([(MODEL, USD)])
    held.settle(paid(USD))
    assert {(s.spent, s.held) for s in tracker.accounts()} == {(USD, 0)}


def test_after_a_reset_warnings_are_given_again(caplog: pytest.LogCaptureFixture) -> None:
    tracker = tracker_at(budget_limit=1)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            crossed = hold(tracker, USD).settle(paid(USD)).crossed
            assert [state for _, state in crossed] == ["warned", "degraded", "exhausted"]
            tracker.reset()
    assert len(caplog.records) == 4
