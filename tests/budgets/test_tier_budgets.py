"""Users are assigned the budgets of their tiers while money is spent and held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from tracker_stores import ME, MODEL, START, Site, hold, paid

from cascadeflow.budgets.records import Spender
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import BudgetExceededError, ConfigurationError
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from cascadeflow.budgets.alerts import Alert

CENT = 10_000_000
FREE = BudgetConfig(daily="0.10")
PRO = BudgetConfig(daily=5, monthly=50)
ANN = Spender(user_id="ann")


def tracker(**options: Any) -> CostTracker:
    options.setdefault("clock", ManualClock(START))
    return CostTracker(**{"enforcement_mode": "block", **options})


def spend(
    made: CostTracker, cents: int, spender: Spender = ANN, config: BudgetConfig | None = None
) -> None:
    """What an agent does for a request that costs all that was held."""
    if config is not None:
        made.assign(spender.user_id, config)
    hold(made, cents * CENT, spender).settle(paid(cents * CENT))


def standings(made: CostTracker, scope: str = "user:ann") -> dict[str, tuple[int | None, int]]:
    """By period: limit and spending, in cents."""
    return {
        s.period: (None if s.limit is None else s.limit // CENT, s.spent // CENT)
        for s in made.accounts(scope)
    }


# Whose budget holds


def test_an_assigned_budget_limits_the_user() -> None:
    made = tracker()
    made.assign("ann", FREE)
    assert made.remaining("ann") == Decimal("0.1")
    spend(made, 8)
    with pytest.raises(BudgetExceededError) as caught:
        spend(made, 3)
    assert (caught.value.scope, caught.value.name) == ("user", "ann")
    assert made.remaining("ann") == Decimal("0.02")


def test_a_user_whom_nobody_assigned_anything_is_refused_as_before() -> None:
    made = tracker()
    made.declare_tiers([FREE, PRO])
    made.assign("ann", FREE)
    assert made.remaining("bob") == 0
    with pytest.raises(BudgetExceededError, match="no budget applies to the user 'bob'"):
        hold(made, 1, Spender(user_id="bob"))
    with pytest.raises(BudgetExceededError, match="no budget applies"):
        hold(made, 1)


def test_who_was_refused_for_want_of_a_budget_is_served_once_assigned_one() -> None:
    made = tracker()
    with pytest.raises(BudgetExceededError, match="no budget applies"):
        spend(made, 1)
    spend(made, 1, config=FREE)
    with pytest.raises(BudgetExceededError, match="no budget applies"):
        hold(made, 1, Spender(user_id="bob"))
    made.assign("bob", None)
    hold(made, 1, Spender(user_id="bob"))


@pytest.mark.parametrize("mode", ["block", "degrade", "warn"])
@pytest.mark.parametrize("declared", [[], [PRO]])
def test_a_tier_without_a_budget_counts_without_a_limit(
    mode: str, declared: list[BudgetConfig]
) -> None:
    made = tracker(enforcement_mode=mode)
    made.declare_tiers(declared)
    made.assign("ann", None)
    assert made.remaining("ann") is None
    spend(made, 100_000)
    assert all(s.limit is None and s.spent == 100_000 * CENT for s in made.accounts("user:ann"))


def test_a_tier_without_a_budget_leaves_the_default_budget() -> None:
    made = tracker(default_user_budget=BudgetConfig(total=1))
    made.assign("ann", None)
    spend(made, 90)
    with pytest.raises(BudgetExceededError):
        spend(made, 11)
    made.set_budget("user:*", BudgetConfig(total=2), **ME)
    spend(made, 11)
    assert made.remaining("ann") == Decimal("0.99")


def test_an_assigned_budget_holds_over_the_default_and_what_was_set_by_hand_for_it() -> None:
    made = tracker(default_user_budget=BudgetConfig(daily=1, monthly=2))
    made.set_budget("user:*", BudgetConfig(weekly=3), **ME)
    made.assign("ann", FREE)
    limits = {period: limit for period, (limit, _) in standings(made).items()}
    assert {p: n for p, n in limits.items() if n is not None} == {"day": 10}


def test_a_budget_by_name_holds_over_the_assigned_one() -> None:
    made = tracker(user_budgets={"ann": BudgetConfig(weekly=2)})
    made.declare_tiers([FREE, PRO])
    spend(made, 150, config=FREE)
    assert standings(made) == {"week": (200, 150)}
    made.assign("ann", None)
    assert standings(made) == {"week": (200, 150)}


def test_a_budget_by_hand_holds_over_every_other_and_whatever_tier_comes() -> None:
    made = tracker()
    made.declare_tiers([FREE, PRO])
    spend(made, 5, config=FREE)
    made.set_budget("user:ann", BudgetConfig(weekly=1), **ME)
    spend(made, 90)
    for tier in (PRO, FREE, BudgetConfig(total="0.01"), None):
        made.assign("ann", tier)
        limited = {p: n for p, n in standings(made).items() if n[0] is not None}
        assert limited == {"week": (100, 95)}
    made.set_budget("user:ann", None, **ME)
    made.assign("ann", BudgetConfig(daily=0))
    spend(made, 10_000)
    assert made.remaining("ann") is None


def test_a_budget_by_hand_survives_a_restart_whole() -> None:
    site = Site()
    with site.tracker() as made:
        made.declare_tiers([FREE, PRO])
        spend(made, 5, config=FREE)
        made.set_budget("user:ann", BudgetConfig(weekly=1), **ME)
    site.crash()
    with site.tracker() as made:
        made.declare_tiers([FREE, PRO])
        made.assign("ann", FREE)
        limited = {p: n for p, n in standings(made).items() if n[0] is not None}
        assert limited == {"week": (100, 5)}


def test_the_anonymous_user_can_be_in_a_tier() -> None:
    made = tracker()
    made.assign(None, FREE)
    spend(made, 9, Spender())
    made.assign("anonymous", PRO)
    made.assign(None, FREE)
    with pytest.raises(BudgetExceededError):
        spend(made, 2, Spender())
    assert standings(made, "user:anonymous")["day"] == (10, 9)


# Changing tier


def test_what_was_spent_today_counts_on_the_new_tiers_day() -> None:
    made = tracker()
    made.declare_tiers([FREE, PRO])
    spend(made, 10, config=FREE)
    with pytest.raises(BudgetExceededError):
        spend(made, 1)
    spend(made, 1, config=PRO)
    assert standings(made) == {"day": (500, 11), "month": (5000, 11)}
    made.assign("ann", FREE)
    with pytest.raises(BudgetExceededError):
        spend(made, 1)
    assert standings(made) == {"day": (10, 11), "month": (None, 11)}


def test_what_was_spent_this_month_counts_on_the_tier_that_has_a_month() -> None:
    clock = ManualClock(START)
    made = tracker(clock=clock)
    made.declare_tiers([FREE, PRO])
    for _ in range(5):
        spend(made, 10, config=FREE)
        clock.advance(86_400)
    made.assign("ann", PRO)
    assert standings(made) == {"day": (500, 0), "month": (5000, 50)}


def test_who_was_idle_between_two_tiers_gets_no_fresh_month() -> None:
    clock = ManualClock(START)
    made = tracker(clock=clock)
    made.declare_tiers([FREE, PRO])
    spend(made, 10, config=FREE)
    for _ in range(3):
        clock.advance(86_400)
        spend(made, 1, Spender(user_id="other"), FREE)
    assert standings(made)["month"] == (None, 10)
    made.assign("ann", PRO)
    assert standings(made) == {"day": (500, 0), "month": (5000, 10)}


def test_requests_under_way_stay_held_and_settle_rightly() -> None:
    made = tracker()
    made.declare_tiers([FREE, PRO])
    made.assign("ann", PRO)
    first = hold(made, 300 * CENT, ANN)
    made.assign("ann", FREE)
    with pytest.raises(BudgetExceededError) as caught:
        spend(made, 1)
    assert caught.value.held == 3
    assert not first.extend_sync([(MODEL, 1)])
    made.assign("ann", PRO)
    with pytest.raises(BudgetExceededError):
        spend(made, 201)
    first.settle(paid(4 * CENT))
    assert standings(made) == {"day": (500, 4), "month": (5000, 4)}


def test_going_to_and_fro_gives_no_fresh_money() -> None:
    made = tracker()
    made.declare_tiers([FREE, PRO])
    served = 0
    for turn in range(40):
        made.assign("ann", (FREE, PRO, None)[turn % 3] if turn % 3 != 2 else FREE)
        try:
            spend(made, 3)
        except BudgetExceededError:
            continue
        served += 3
    assert standings(made)["day"][1] == served
    assert standings(made)["month"][1] == served


def test_a_tier_in_another_time_zone_counts_its_own_days() -> None:
    clock = ManualClock(datetime(2026, 3, 10, 22, tzinfo=UTC))
    made = tracker(clock=clock)
    tokyo = BudgetConfig(daily=1, timezone="Asia/Tokyo")  # a day begins there at 15:00 UTC
    made.declare_tiers([FREE, tokyo])
    spend(made, 10, config=FREE)
    clock.advance(3 * 3600)  # the next day in UTC, the same one in Tokyo
    spend(made, 10, config=FREE)
    made.assign("ann", tokyo)
    assert made.remaining("ann") == Decimal("0.8")
    made.assign("ann", FREE)
    assert made.remaining("ann") == 0


# The tier together


def test_a_tier_has_a_budget_of_all_its_users_together() -> None:
    made = tracker()
    made.declare_tier_budget("pro", BudgetConfig(daily=1))
    for user in ("ann", "bob"):
        spend(made, 40, Spender(user_id=user, tier="pro"), PRO)
    with pytest.raises(BudgetExceededError) as caught:
        spend(made, 40, Spender(user_id="eve", tier="pro"), PRO)
    assert (caught.value.scope, caught.value.name) == ("tier", "pro")


def test_a_tiers_budget_may_be_said_again_but_not_otherwise() -> None:
    made = tracker(budgets={"tier:free": BudgetConfig(daily=1)})
    for _ in range(2):
        made.declare_tier_budget("pro", BudgetConfig(daily=1))
        made.declare_tier_budget("free", BudgetConfig(daily="1.00"))
    with pytest.raises(ConfigurationError, match="two budgets for tier:pro"):
        made.declare_tier_budget("pro", BudgetConfig(daily=2))
    with pytest.raises(ConfigurationError, match="two budgets for tier:free"):
        made.declare_tier_budget("free", BudgetConfig(daily=1, monthly=2))
    for name in ("", "*"):
        with pytest.raises(ConfigurationError, match="name"):
            made.declare_tier_budget(name, PRO)


def test_a_tiers_budget_by_hand_holds_over_the_declared_one() -> None:
    made = tracker()
    made.set_budget("tier:pro", BudgetConfig(daily=3), **ME)
    made.declare_tier_budget("pro", BudgetConfig(daily=1, weekly=2))
    pro = Spender(user_id="ann", tier="pro")
    spend(made, 150, pro, PRO)
    assert standings(made, "tier:pro") == {"day": (300, 150), "week": (200, 150)}


def test_a_declared_tier_budget_holds_for_spenders_who_are_known_already() -> None:
    made = tracker(budgets={"tier:*": BudgetConfig(total=100)})
    pro = Spender(user_id="ann", tier="pro")
    spend(made, 100, pro, PRO)
    made.declare_tier_budget("pro", BudgetConfig(total=2))
    with pytest.raises(BudgetExceededError) as caught:
        spend(made, 150, pro, PRO)
    assert caught.value.scope == "tier"
    assert caught.value.spent == 1
    plain = tracker()
    spend(plain, 100, pro, PRO)
    held = hold(plain, 50 * CENT, pro)
    plain.declare_tier_budget("pro", BudgetConfig(total=2))
    held.settle(paid(50 * CENT))
    assert standings(plain, "tier:pro") == {"total": (200, 50)}
    with pytest.raises(BudgetExceededError):
        spend(plain, 151, pro, PRO)


# Alerts


def test_alerts_name_the_limit_that_holds_and_come_once_each() -> None:
    heard: list[tuple[str, int | None]] = []

    def hear(alert: Alert) -> None:
        heard.append((alert.state, None if alert.standing.limit is None else alert.standing.limit))

    made = tracker(alert_channels=[hear])
    made.declare_tiers([FREE, PRO])
    spend(made, 10, config=FREE)
    with pytest.raises(BudgetExceededError):
        spend(made, 1)
    spend(made, 390, config=PRO)
    for _ in range(3):
        made.assign("ann", FREE)
        with pytest.raises(BudgetExceededError):
            spend(made, 1)
        made.assign("ann", PRO)
    made.close()
    free = [(state, 10 * CENT) for state in ("warned", "degraded", "exhausted", "refused")]
    assert heard == [*free, ("warned", 500 * CENT)]


def test_going_down_a_tier_alerts_that_the_new_limit_is_spent() -> None:
    heard: list[tuple[str, int | None]] = []
    made = tracker(alert_channels=[lambda alert: heard.append((alert.state, alert.standing.spent))])
    made.declare_tiers([FREE, PRO])
    spend(made, 100, config=PRO)
    made.assign("ann", FREE)
    made.close()
    assert [state for state, _ in heard] == ["warned", "degraded", "exhausted"]


# Memory


def test_what_is_assigned_to_idle_users_is_forgotten_with_their_accounts() -> None:
    clock = ManualClock(START)
    made = tracker(clock=clock)
    made.declare_tiers([FREE])
    for number in range(50):
        spend(made, 1, Spender(user_id=f"u{number}"), FREE)
    for _ in range(4):
        clock.advance(43_200)
        spend(made, 1, config=FREE)
    assert set(made._budgets.assigned) == {"ann"}
    assert not made._budgets._retired
    spend(made, 1, Spender(user_id="u1"), FREE)


def test_a_user_is_not_forgotten_between_assigning_and_reserving() -> None:
    clock = ManualClock(START)
    made = tracker(clock=clock)
    made.declare_tiers([FREE])
    for _ in range(5):
        spend(made, 1, config=FREE)
        clock.advance(2 * 86_400)  # reserving drops the idle account, its own request's included
    assert made.remaining("ann") == Decimal("0.1")


def test_users_who_are_only_assigned_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascadeflow.budgets.books._MOST_UNUSED", 20)
    clock = ManualClock(START)
    made = tracker(clock=clock)
    for number in range(100):
        made.assign(f"u{number}", FREE)
    for _ in range(3):
        clock.advance(120)
        spend(made, 1, config=FREE)
    assert set(made._budgets.assigned) == {"ann"}


def test_more_time_zones_than_can_be_counted_are_refused() -> None:
    made = tracker()
    zones = ["UTC", "Europe/Oslo", *[f"Etc/GMT+{n}" for n in range(1, 12)]]
    budgets = [BudgetConfig(daily=1, monthly=1, timezone=zone) for zone in zones]
    with pytest.raises(ConfigurationError, match="time zones"):
        made.declare_tiers(budgets)
    made.declare_tiers(budgets[:12])
    made.set_budget(
        "user:ann", BudgetConfig(daily=1, weekly=2, monthly=3, total=4, rolling=5), **ME
    )
    spend(made, 50, config=budgets[3])
    assert made.remaining("ann") == Decimal("0.5")


def test_periods_that_no_tier_declared_are_bounded_too() -> None:
    made = tracker()
    made.declare_tiers([FREE])
    spend(made, 1, config=FREE)
    for hours in range(1, 64):
        made.assign("ann", BudgetConfig(rolling=1, rolling_hours=hours))
    with pytest.raises(ConfigurationError, match="more than 64"):
        made.assign("ann", BudgetConfig(rolling=1, rolling_hours=64))
    assert made.remaining("ann") == Decimal("0.99")
    made.assign("ann", FREE)
    assert standings(made)["day"] == (10, 1)


def test_times_of_declared_budgets_are_counted_for_open_accounts_from_then_on() -> None:
    clock = ManualClock(START)
    made = tracker(clock=clock)
    made.declare_tiers([FREE])
    spend(made, 1, config=FREE)
    made.declare_tiers([PRO])
    spend(made, 2)
    clock.advance(timedelta(days=1).total_seconds())
    spend(made, 3)
    assert standings(made)["month"] in {(None, 5), (None, 6)}
