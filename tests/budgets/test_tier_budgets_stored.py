"""Tiers' budgets with a store: what it knows of a user counts, in whatever tier the user is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tracker_stores import ME, MODEL, START, Site, TestStore, hold, paid

from cascadeflow.budgets.records import Spender
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import BudgetExceededError, StoreError
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

CENT = 10_000_000
FREE = BudgetConfig(daily="0.10")
PRO = BudgetConfig(daily=5, monthly=1)
ANN = Spender(user_id="ann")


def spend(made: CostTracker, cents: int, config: BudgetConfig | None) -> None:
    made.assign("ann", config)
    hold(made, cents * CENT, ANN).settle(paid(cents * CENT))


def spent(made: CostTracker) -> dict[str, int]:
    return {s.period: s.spent // CENT for s in made.accounts("user:ann")}


@pytest.fixture(params=["default", "strict"])
def durability(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_store_tells_what_was_spent_in_the_new_tiers_periods(
    tmp_path: Path, durability: str
) -> None:
    clock = ManualClock(START)
    options: dict[str, Any] = {
        "store": f"sqlite:///{tmp_path / 'budgets.db'}",
        "durability": durability,
        "enforcement_mode": "block",
        "clock": clock,
    }
    with CostTracker(**options) as made:
        for _ in range(3):
            spend(made, 10, FREE)
            clock.advance(86_400)
    with CostTracker(**options) as made:
        spend(made, 65, PRO)
        with pytest.raises(BudgetExceededError) as caught:
            spend(made, 6, PRO)
        assert caught.value.period == "month"
        assert spent(made) == {"day": 65, "month": 95}


@pytest.mark.parametrize("declared", [[], [FREE], [FREE, PRO]])
def test_a_tier_that_comes_while_the_account_is_open_counts_what_the_store_knows(
    durability: str, declared: list[BudgetConfig]
) -> None:
    site = Site()
    options: dict[str, Any] = {"enforcement_mode": "block", "durability": durability}
    with site.tracker(**options) as made:
        spend(made, 10, FREE)
    site.crash()
    site.clock.advance(86_400)
    with site.tracker(**options) as made:
        made.declare_tiers(declared)
        spend(made, 10, FREE)
        spend(made, 75, PRO)
        with pytest.raises(BudgetExceededError):
            spend(made, 6, PRO)
        spend(made, 5, PRO)
        assert spent(made) == {"day": 90, "month": 100}


def test_looking_at_an_account_reads_the_periods_that_came_late() -> None:
    site = Site()
    with site.tracker(enforcement_mode="block") as made:
        spend(made, 10, FREE)
    site.crash()
    with site.tracker(enforcement_mode="block") as made:
        made.assign("ann", FREE)
        assert spent(made) == {"day": 10}
        made.assign("ann", PRO)
        assert str(made.remaining("ann")) == "0.900000000"
        made.assign("ann", BudgetConfig(weekly=1))
        asyncio.run(made.prepare(ANN))
        assert spent(made)["week"] == 10
        made.assign("ann", BudgetConfig(total="0.10"))
        assert asyncio.run(made.prepare(ANN)) == "exhausted"


def test_an_extension_waits_for_the_periods_that_came_late() -> None:
    site = Site()
    with site.tracker(enforcement_mode="block") as made:
        spend(made, 10, FREE)
    site.crash()
    site.clock.advance(86_400)
    with site.tracker(enforcement_mode="block") as made:
        made.assign("ann", FREE)
        made_first = hold(made, 5 * CENT, ANN)
        made.assign("ann", PRO)
        assert not made_first.extend_sync([(MODEL, 86 * CENT)])
        assert made_first.extend_sync([(MODEL, 85 * CENT)])
        made_first.release()


def test_a_store_that_cannot_be_read_refuses_and_only_warns_where_that_is_all() -> None:
    for mode in ("block", "warn"):
        site = Site()
        with site.tracker(enforcement_mode=mode) as made:
            made.assign("ann", FREE)
            hold(made, CENT, ANN).settle(paid(CENT))
            made.flush()
            site.store.broken = True
            made.assign("ann", PRO)
            if mode == "block":
                with pytest.raises(StoreError):
                    hold(made, CENT, ANN)
                with pytest.raises(StoreError):
                    asyncio.run(made.prepare(ANN))
            else:
                hold(made, CENT, ANN).release()
                asyncio.run(made.prepare(ANN))
            site.store.broken = False


def test_a_crash_hides_nothing_from_a_tier_that_came_while_it_ran() -> None:
    site = Site()
    made = site.tracker(enforcement_mode="block")
    made.assign("ann", FREE)
    hold(made, 5 * CENT, ANN).settle(paid(5 * CENT))
    made.assign("ann", PRO)
    made.flush()
    site.clock.advance(86_400)
    hold(made, 60 * CENT, ANN)
    site.crash()
    again = site.tracker(enforcement_mode="block")
    again.declare_tiers([FREE, PRO])
    again.assign("ann", PRO)
    assert spent(again)["day"] >= 60
    assert spent(again)["month"] >= 65
    again.close()


def test_a_tiers_own_budget_counts_what_the_store_knows_of_it() -> None:
    pro = Spender(user_id="ann", tier="pro")
    site = Site()
    with site.tracker(enforcement_mode="block", default_user_budget=100) as made:
        hold(made, 30 * CENT, pro).settle(paid(30 * CENT))
    site.crash()
    with site.tracker(enforcement_mode="block", default_user_budget=100) as made:
        hold(made, 20 * CENT, pro).settle(paid(20 * CENT))
        made.declare_tier_budget("pro", BudgetConfig(monthly=1))
        with pytest.raises(BudgetExceededError):
            hold(made, 51 * CENT, pro)
        hold(made, 50 * CENT, pro).release()
        made.set_budget("tier:pro", BudgetConfig(monthly=2), **ME)
        hold(made, 150 * CENT, pro).release()


def test_what_is_assigned_is_dropped_with_accounts_that_the_store_keeps() -> None:
    store = TestStore(clock=(clock := ManualClock(START)))
    with CostTracker(store=store, clock=clock, enforcement_mode="block") as made:
        made.declare_tiers([FREE, BudgetConfig(total=9)])
        for number in range(20):
            made.assign(f"u{number}", FREE)
            hold(made, CENT, Spender(user_id=f"u{number}")).settle(paid(CENT))
        for _ in range(5):
            clock.advance(1_000)
            spend(made, 1, FREE)
            made.flush()
        assert set(made._budgets.assigned) == {"ann"}
        made.assign("u3", BudgetConfig(total=9))
        assert {s.period: s.spent for s in made.accounts("user:u3")} == {"day": CENT, "total": CENT}


def test_a_limit_by_hand_alerts_of_an_idle_account_that_it_finds_spent() -> None:
    heard: list[tuple[str, str]] = []
    site = Site()
    with site.tracker(
        enforcement_mode="block",
        global_budget=BudgetConfig(total=9),
        alert_channels=[lambda alert: heard.append((str(alert.scope), alert.state))],
    ) as made:
        made.assign("ann", None)
        hold(made, 50 * CENT, ANN).settle(paid(50 * CENT))
        made.flush()
        site.clock.advance(1_000)
        now = site.clock.now()
        bob = Spender(user_id="bob")
        made.reserve_sync(bob, [(MODEL, 0)], request_id="r", at=now, force=True).release()
        made.flush()
        assert "user:ann" not in map(str, made._books.accounts)  # dropped: nobody used it
        made.set_budget("user:ann", BudgetConfig(total="0.55"), **ME)
    assert heard == [("user:ann", "warned"), ("user:ann", "degraded")]
