"""With a store: what was spent is there again, and a crash never frees money."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tracker_stores import ME, MODEL, START, USD, Site, hold, paid, spent

from cascadeflow.budgets.records import NOBODY, Charge, Scope, Spender, UsageEvent
from cascadeflow.budgets.reservation import Reservation
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.budgets.vault import slice_of
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import BudgetExceededError, StoreError

# From one process to the next


@pytest.mark.parametrize("durability", ["default", "strict"])
def test_what_was_spent_is_there_again(durability: Any) -> None:
    site = Site()
    budgets = {"global_budget": BudgetConfig(daily=5, total=10), "default_user_budget": 3}
    with site.tracker(durability=durability, **budgets) as tracker:
        hold(tracker, USD, Spender(user_id="u")).settle(paid(USD // 4))
        hold(tracker, USD).settle(paid(USD))
    site.crash()
    with site.tracker(durability=durability, **budgets) as tracker:
        assert tracker.spent == Decimal("1.25")
        assert tracker.by_user == {"u": 0.25}
        assert tracker.by_model == {"small": 1.25}
        assert spent(tracker) == {"day": USD + USD // 4, "total": USD + USD // 4}
        assert spent(tracker, "user:u") == {"total": USD // 4}
        assert len(tracker.events()) == 2
        with pytest.raises(BudgetExceededError):
            hold(tracker, 4 * USD)


def test_a_store_on_disk_is_opened_by_its_url(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/budgets.db"
    for expected in (0, 1, 2):
        with CostTracker(global_budget=5, store=url) as tracker:
            assert tracker.spent == expected
            hold(tracker, USD).settle(paid(USD))
    with CostTracker(global_budget=5, store=url) as tracker, pytest.raises(StoreError):
        CostTracker(global_budget=5, store=url)
    assert tracker.mode == "block"


def test_a_tracker_that_nobody_closes_is_closed_at_the_end_of_the_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/budgets.db"
    script = f"""
        import sys
        sys.path[:0] = {sys.path!r}
        import conftest
        from cascadeflow.budgets.tracker import CostTracker
        from cascadeflow.budgets.records import NOBODY, Charge
        tracker = CostTracker(global_budget=5, store={url!r})
        calls = [({MODEL!r}, {USD})]
        now = tracker._clock.now()
        first = tracker.reserve_sync(NOBODY, calls, request_id="a", at=now)
        first.settle([Charge(model={MODEL!r}, nanodollars=7, confirmed=True)])
        open_one = tracker.reserve_sync(NOBODY, calls, request_id="b", at=now)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with CostTracker(global_budget=5, store=url) as tracker:
        assert spent(tracker) == {"total": USD + 7}
        charges = [e.charge for e in tracker.events() if isinstance(e, UsageEvent)]
        assert [(c.nanodollars, c.confirmed) for c in charges] == [(7, True), (USD, False)]


def test_a_closed_tracker_takes_nothing_on_and_books_what_was_open() -> None:
    site = Site()
    tracker = site.tracker(global_budget=5)
    held = hold(tracker, USD)
    tracker.close()
    tracker.close()
    assert not held.open
    with pytest.raises(StoreError, match="closed"):
        hold(tracker, 1)
    with pytest.raises(StoreError, match="closed"):
        tracker.record(model="m", provider="p", nanodollars=1)
    site.crash()
    assert spent(site.tracker(global_budget=5)) == {"total": USD}


def test_a_clean_end_gives_back_what_was_granted_in_advance() -> None:
    site = Site()
    for _ in range(20):
        with site.tracker(global_budget=1) as tracker:
            hold(tracker, USD // 100).settle(paid(1))
        site.crash()
    with site.tracker(global_budget=1) as tracker:
        assert spent(tracker) == {"total": 20}


# Crashes


def test_after_a_crash_no_less_is_spent_than_was_and_not_much_more() -> None:
    site = Site()
    tracker = site.tracker(global_budget=1)
    for _ in range(10):
        hold(tracker, USD // 100).settle(paid(USD // 100))
    held = hold(tracker, USD // 100)
    site.store.broken = True  # the log's last moments are not written
    site.crash()
    again = site.tracker(global_budget=1)
    counted = spent(again)["total"]
    assert USD * 11 // 100 <= counted <= USD * 11 // 100 + USD // 20
    assert held.open


def test_a_request_that_is_refused_leaves_nothing_for_a_crash_to_count() -> None:
    site = Site()
    tracker = site.tracker(global_budget=1)
    for amount in (5 * USD, 2 * USD):
        with pytest.raises(BudgetExceededError):
            hold(tracker, amount)
    site.crash()
    again = site.tracker(global_budget=1)
    assert spent(again)["total"] <= USD // 20
    hold(again, USD // 2).release()


@pytest.mark.parametrize("how", ["overrun", "record", "adjust", "model"])
def test_what_was_booked_without_a_grant_takes_none_from_requests_under_way(how: str) -> None:
    site = Site()
    options: dict[str, Any] = {"global_budget": 1, "budgets": {"model:openai:large": 1}}
    tracker = site.tracker(**options)
    held, other = hold(tracker, USD // 5), hold(tracker, USD // 5)
    if how == "overrun":
        other.settle(paid(USD // 2))
    elif how == "record":
        other.release()
        tracker.record(model="small", provider="openai", nanodollars=USD // 2)
    elif how == "adjust":
        other.release()
        tracker.adjust("global", "0.5", **ME)
    else:
        other.settle([Charge(model="openai:large", nanodollars=USD // 2, confirmed=True)])
    tracker.flush()
    site.crash()
    assert spent(site.tracker(**options))["total"] >= USD // 5 + USD // 2
    assert held.open


@pytest.mark.parametrize("durability", ["default", "strict"])
def test_what_runs_over_a_limit_that_only_warns_survives_a_crash_too(durability: Any) -> None:
    site = Site()
    options = {"global_budget": 1, "enforcement_mode": "warn", "durability": durability}
    tracker = site.tracker(**options)
    held = [hold(tracker, USD, request_id=str(number)) for number in range(3)]
    assert held[1].extend_sync([(MODEL, USD)])
    assert [each.over_limit for each in held] == [False, True, True]
    site.crash()
    assert spent(site.tracker(**options))["total"] >= 4 * USD


def test_an_extension_in_a_later_period_is_counted_there_after_a_crash() -> None:
    site = Site()
    options: dict[str, Any] = {"global_budget": BudgetConfig(daily=1, total=10)}
    tracker = site.tracker(**options)
    held = hold(tracker, USD)
    site.clock.advance(86_400)
    assert held.extend_sync([(MODEL, USD // 2)])
    assert not held.extend_sync([(MODEL, USD)])
    assert spent(tracker) == {"day": 0, "total": 0}
    held.settle([*paid(USD), *paid(USD // 2)])
    assert spent(tracker) == {"day": USD // 2, "total": USD + USD // 2}
    tracker.flush()
    assert [event.at.day for event in tracker.events()] == [10, 11]
    tracker.close()
    site.crash()
    assert spent(site.tracker(**options)) == {"day": USD // 2, "total": USD + USD // 2}


def test_without_a_crash_between_writes_nothing_is_counted_twice() -> None:
    site = Site()
    tracker = site.tracker(global_budget=1)
    hold(tracker, USD // 2).settle(paid(USD // 2))
    tracker.flush()
    site.crash()
    again = site.tracker(global_budget=1)
    assert USD // 2 <= spent(again)["total"] <= USD // 2 + USD // 20


def test_a_crash_does_not_shrink_the_days_after_it() -> None:
    site = Site()
    budgets = {"global_budget": BudgetConfig(daily=1)}
    tracker = site.tracker(**budgets)
    held = hold(tracker, USD)
    site.crash()
    assert spent(site.tracker(**budgets)) == {"day": USD}
    site.clock.advance(86_400)
    site.crash()
    assert spent(site.tracker(**budgets)) == {"day": 0}
    assert held.open


def test_what_yesterday_was_granted_is_written_anew_before_it_is_spent_today() -> None:
    site = Site()
    budgets = {"global_budget": BudgetConfig(daily=1, total=100)}
    tracker = site.tracker(**budgets)
    hold(tracker, USD // 2).settle(paid(1))
    site.clock.advance(86_400)
    held = hold(tracker, USD // 100)
    site.crash()
    counted = spent(site.tracker(**budgets))
    assert counted["day"] >= USD // 100
    assert held.open


@pytest.mark.parametrize("hours", [1, 24])
def test_a_rolling_window_forgets_nothing_over_a_crash(hours: float) -> None:
    site = Site()
    budgets = {"global_budget": BudgetConfig(rolling=1, rolling_hours=hours, total=100)}
    tracker = site.tracker(**budgets)
    kept = []
    for _ in range(10):
        kept.append(hold(tracker, USD // 100))
        site.clock.advance(hours * 60)
    site.crash()
    assert spent(site.tracker(**budgets))["rolling"] >= USD // 10
    assert len(kept) == 10


def test_strict_has_each_hold_on_disk_and_a_crash_loses_nothing() -> None:
    site = Site()
    tracker = site.tracker(global_budget=1, durability="strict")
    hold(tracker, 1000, request_id="settled").settle(paid(10))
    tracker.flush()
    hold(tracker, 500, request_id="released").release()
    tracker.flush()
    open_one = hold(tracker, 70, request_id="open")
    assert open_one.extend_sync([("openai:large", 7)])
    unwritten = hold(tracker, 300, request_id="unwritten")
    site.store.gate.clear()
    unwritten.settle(paid(3))
    site.crash()
    again = site.tracker(global_budget=1, durability="strict")
    assert spent(again) == {"total": 10 + 77 + 300}
    assert site.store.granted == []
    assert again.spent == Decimal(387).scaleb(-9)


def test_a_strict_hold_that_cannot_be_written_is_no_hold() -> None:
    site = Site()
    tracker = site.tracker(global_budget=1, durability="strict")
    hold(tracker, 1).release()
    site.store.broken = True
    with pytest.raises(StoreError):
        hold(tracker, 5)
    assert tracker._books.totals()[0][1] == 0
    site.store.broken = False


# Grants


def test_a_slice_shrinks_to_the_call_as_the_limit_comes_near() -> None:
    site = Site()
    tracker = site.tracker(global_budget=1)
    call = USD // 100
    for _ in range(100):
        hold(tracker, call).settle(paid(call))
        total = sum(total for _, total in tracker._books.totals())
        assert site.store.granted[-1].up_to <= total + (USD - total) // 20 + 1
    with pytest.raises(BudgetExceededError):
        hold(tracker, 1)
    assert tracker.spent == 1
    assert max(grant.up_to for grant in site.store.granted) == USD


def test_a_busy_scope_asks_its_store_seldom() -> None:
    site = Site()
    tracker = site.tracker(global_budget=1000)
    for _ in range(1000):
        hold(tracker, USD // 1000).settle(paid(USD // 1000))
        site.clock.advance(0.01)
    assert site.store.calls["grant"] < 30


def test_a_slice_is_never_negative() -> None:
    assert slice_of(-5, 10**9, 10) == 0


def test_many_waiting_requests_share_one_write() -> None:
    site = Site()
    tracker = site.tracker(global_budget=1, default_user_budget=1)
    spender = Spender(user_id="new")

    async def main() -> list[Reservation]:
        site.store.gate.clear()
        loop = asyncio.get_running_loop()
        tasks = [
            asyncio.create_task(
                tracker.reserve(spender, [(MODEL, USD // 100)], request_id=str(n), at=START)
            )
            for n in range(64)
        ]
        await loop.run_in_executor(None, site.store.waiting.wait)
        site.store.gate.set()
        return await asyncio.gather(*tasks)

    held = asyncio.run(main())
    assert site.store.calls["scope"] <= 4
    assert site.store.calls["grant"] <= 4
    assert [s.held for s in tracker.accounts()] == [64 * USD // 100] * 2
    assert len(held) == 64


def test_of_many_that_wait_for_a_store_exactly_as_many_as_fit_go_on() -> None:
    site = Site()
    tracker = site.tracker(default_user_budget=1)

    async def one(number: int) -> bool:
        spender = Spender(user_id="new")
        try:
            held = await tracker.reserve(
                spender, [(MODEL, USD // 50)], request_id=str(number), at=START
            )
        except BudgetExceededError:
            return False
        await asyncio.sleep(0)
        held.settle(paid(USD // 50))
        return True

    async def main() -> list[bool]:
        return await asyncio.gather(*(one(number) for number in range(64)))

    assert sum(asyncio.run(main())) == 50
    assert tracker.spent == 1


def test_a_cancelled_wait_leaves_nothing_held_and_the_others_waiting() -> None:
    site = Site()
    tracker = site.tracker(global_budget=1)

    async def main() -> None:
        site.store.gate.clear()
        tasks = [
            asyncio.create_task(
                tracker.reserve(NOBODY, [(MODEL, USD // 10)], request_id=str(n), at=START)
            )
            for n in range(5)
        ]
        await asyncio.to_thread(site.store.waiting.wait)
        for task in tasks[:2]:
            task.cancel()
        await asyncio.sleep(0)
        site.store.gate.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(each, Reservation) for each in done] == [False] * 2 + [True] * 3
        for each in done[2:]:
            assert isinstance(each, Reservation)
            each.release()

    asyncio.run(main())
    assert tracker.accounts()[0].held == 0


def test_an_idle_scope_gives_back_what_it_was_granted() -> None:
    site = Site()
    tracker = site.tracker(global_budget=BudgetConfig(daily=5), default_user_budget=10)
    hold(tracker, USD, Spender(user_id="idle")).settle(paid(USD // 2))
    site.clock.advance(3600)
    hold(tracker, 1, Spender(user_id="busy")).release()
    tracker.flush()
    assert site.store.reported[Scope("user", "idle")] == USD // 2
    assert spent(tracker, "user:idle") == {"total": USD // 2}
    site.crash()
    assert spent(site.tracker(default_user_budget=10), "user:idle") == {"total": USD // 2}
