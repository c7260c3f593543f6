"""A disk never stands in a request's way, and one that fails loses nothing that was counted."""

from __future__ import annotations

import asyncio
import gc
import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from tracker_stores import ME, MODEL, START, USD, Site, TestStore, hold, paid, spent

from cascadeflow.budgets import writer as writer_module
from cascadeflow.budgets.records import NOBODY, ManualEvent, Spender, UsageEvent
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import BudgetExceededError, StoreError
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

# A store that fails


@pytest.mark.parametrize("mode", ["block", "degrade"])
def test_while_the_disk_is_full_no_request_is_taken_on_and_nothing_is_lost(mode: Any) -> None:
    site = Site()
    tracker = site.tracker(global_budget=10, enforcement_mode=mode)
    held = hold(tracker, USD)
    site.store.broken = True
    held.settle(paid(USD))
    with pytest.raises(StoreError):
        tracker.flush()
    with pytest.raises(StoreError, match="no space"):
        hold(tracker, 1)
    with pytest.raises(StoreError):
        asyncio.run(tracker.reserve(NOBODY, [(MODEL, 1)], request_id="r", at=START))
    site.store.broken = False
    tracker.flush()
    hold(tracker, 1).release()
    assert [event.charge.nanodollars for event in tracker.events()] == [USD]  # type: ignore[union-attr]
    tracker.close()


def test_what_cannot_be_written_is_tried_again_without_being_asked() -> None:
    site = Site()
    tracker = site.tracker(global_budget=10)
    held = hold(tracker, USD)
    site.store.broken = True
    held.settle(paid(USD))
    with pytest.raises(StoreError):
        tracker.flush()
    site.store.broken = False
    while True:  # its own retries, the test's time-out is the limit
        try:
            hold(tracker, 1).release()
            break
        except StoreError:
            continue
    assert len(list(site.store.events())) == 1


def test_warn_runs_on_while_the_disk_is_full() -> None:
    site = Site()
    tracker = site.tracker(global_budget=1, default_user_budget=1, enforcement_mode="warn")
    hold(tracker, USD // 100).release()
    site.store.broken = True
    for user in (None, None, "new"):
        hold(tracker, USD, Spender(user_id=user)).settle(paid(USD))
    assert tracker.spent == 3
    site.store.broken = False
    tracker.flush()
    assert spent(tracker) == {"total": 3 * USD}
    assert spent(tracker, "user:new") == {"total": USD}
    tracker.close()
    site.crash()
    assert spent(site.tracker(global_budget=1)) == {"total": 3 * USD}


def test_settling_never_waits_and_reserving_does_when_too_much_is_unwritten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer_module, "MOST_UNWRITTEN", 10)
    site = Site()
    tracker = site.tracker(global_budget=10)
    held = [hold(tracker, 10, request_id=str(number)) for number in range(50)]
    tracker.flush()

    async def main() -> None:
        site.store.gate.clear()
        for each in held[:20]:
            each.settle(paid(1))
        await asyncio.to_thread(site.store.waiting.wait)
        for each in held[20:]:
            each.settle(paid(1))
        late = asyncio.create_task(
            tracker.reserve(NOBODY, [(MODEL, 1)], request_id="late", at=START)
        )
        for _ in range(20):
            await asyncio.sleep(0)
        assert not late.done()
        site.store.gate.set()
        (await late).release()

    asyncio.run(main())
    tracker.flush()
    assert len(list(site.store.events())) == 50


def test_a_bug_in_a_store_is_an_error_like_any_other() -> None:
    class Odd(TestStore):
        def append(self, events: Any, *, ended: Any = ()) -> None:
            if events or ended:
                raise KeyError("odd")

    clock = ManualClock(START)
    tracker = CostTracker(global_budget=1, clock=clock, store=Odd(clock=clock))
    hold(tracker, 1).settle(paid(1))
    with pytest.raises(StoreError, match="KeyError"):
        tracker.flush()
    with pytest.raises(KeyError):
        tracker.close()


# By hand


def test_limits_set_by_hand_hold_after_a_restart() -> None:
    site = Site()
    options: dict[str, Any] = {"global_budget": 10, "default_user_budget": 1}
    with site.tracker(**options) as tracker:
        tracker.set_budget("user:u", 3, **ME)
        tracker.set_budget("user:*", 2, **ME)
        tracker.set_budget("team:t", BudgetConfig(daily=1), **ME)
        tracker.set_budget(f"model:{MODEL}", 5, **ME)
        hold(tracker, 3 * USD, Spender(user_id="u")).release()
    site.crash()
    with site.tracker(**options) as tracker:
        assert tracker.budgeted_models == {MODEL}
        limits = {str(s.scope): s.limit for s in tracker.accounts()}
        assert limits["user:u"] == 3 * USD
        assert limits["team:t"] == USD
        with pytest.raises(BudgetExceededError):
            hold(tracker, 2 * USD + 1, Spender(user_id="other"))
        hold(tracker, 2 * USD, Spender(user_id="other")).release()


def test_a_change_that_cannot_be_written_is_no_change() -> None:
    site = Site()
    tracker = site.tracker(global_budget=1)
    hold(tracker, USD).settle(paid(USD))
    tracker.flush()
    site.store.broken = True
    for change in (
        lambda: tracker.set_budget("global", 5, **ME),
        lambda: tracker.adjust("global", -1, **ME),
        lambda: tracker.reset(**ME),
    ):
        with pytest.raises(StoreError):
            change()
    site.store.broken = False
    tracker.flush()
    assert tracker.budget_limit == 1
    assert spent(tracker) == {"total": USD}
    assert tracker.spent == 1
    assert all(isinstance(event, UsageEvent) for event in tracker.events())


def test_a_reset_is_an_audited_adjustment_and_deletes_nothing() -> None:
    site = Site()
    with site.tracker(global_budget=2, default_user_budget=2) as tracker:
        hold(tracker, USD, Spender(user_id="u")).settle(paid(USD))
        tracker.reset(**ME)
        assert tracker.spent == 0
        assert spent(tracker, "user:u") == {"total": 0}
        changes = [event for event in tracker.events() if isinstance(event, ManualEvent)]
        assert {(e.kind, e.nanodollars, e.actor) for e in changes} == {("reset", -USD, "ada")}
        assert sum(isinstance(event, UsageEvent) for event in tracker.events()) == 1
        hold(tracker, 2 * USD).release()
    site.crash()
    with site.tracker(global_budget=2, default_user_budget=2) as tracker:
        assert tracker.spent == 0
        assert spent(tracker) == {"total": 0}


def test_an_adjustment_is_there_again() -> None:
    site = Site()
    with site.tracker(global_budget=BudgetConfig(daily=2, total=2)) as tracker:
        hold(tracker, USD).settle(paid(USD))
        assert tracker.adjust("global", "-0.25", **ME) == Decimal("-0.25")
    site.crash()
    with site.tracker(global_budget=BudgetConfig(daily=2, total=2)) as tracker:
        assert spent(tracker) == {"day": 3 * USD // 4, "total": 3 * USD // 4}


# Counting beside reservations


def test_what_is_recorded_before_a_scope_was_read_is_counted_once() -> None:
    site = Site()
    tracker = site.tracker(global_budget=10)
    tracker.record(model="small", provider="openai", nanodollars=5)
    assert spent(tracker) == {"total": 5}
    tracker.record(model="small", provider="openai", nanodollars=6)
    assert spent(tracker) == {"total": 11}
    assert tracker.spent == Decimal(11).scaleb(-9)


def test_what_is_recorded_while_a_scope_is_read_is_counted_once() -> None:
    site = Site()
    tracker = site.tracker(global_budget=10)
    tracker.record(model="small", provider="openai", nanodollars=1)

    async def main() -> None:
        tracker.flush()
        site.store.gate.clear()
        task = asyncio.create_task(tracker.reserve(NOBODY, [(MODEL, 10)], request_id="r", at=START))
        await asyncio.to_thread(site.store.waiting.wait)
        tracker.record(model="small", provider="openai", nanodollars=5)
        site.store.gate.set()
        (await task).release()

    asyncio.run(main())
    assert spent(tracker) == {"total": 6}


def test_a_dropped_reservation_is_in_the_log() -> None:
    site = Site()
    tracker = site.tracker(global_budget=1)
    hold(tracker, 10)
    gc.collect()
    tracker.flush()
    (event,) = site.store.events()
    assert isinstance(event, UsageEvent)
    assert (event.charge.nanodollars, event.charge.confirmed) == (10, False)


def test_the_state_is_known_once_the_accounts_were_read() -> None:
    site = Site()
    with site.tracker(global_budget=1) as tracker:
        hold(tracker, USD).settle(paid(USD))
    site.crash()
    tracker = site.tracker(global_budget=1, enforcement_mode="degrade")
    assert tracker.state(NOBODY) is None
    assert asyncio.run(tracker.prepare(NOBODY)) == "exhausted"
    assert tracker.state(NOBODY) == "exhausted"


def test_thresholds_reported_before_a_restart_are_not_reported_again() -> None:
    site = Site()
    with site.tracker(global_budget=BudgetConfig(daily=1)) as tracker:
        crossed = hold(tracker, USD).settle(paid(USD * 8 // 10)).crossed
        assert [state for _, state in crossed] == ["warned"]
    site.crash()
    tracker = site.tracker(global_budget=BudgetConfig(daily=1))
    crossed = hold(tracker, USD // 5).settle(paid(USD // 5)).crossed
    assert [state for _, state in crossed] == ["degraded", "exhausted"]


def test_a_tracker_works_on_an_event_loop_too() -> None:
    site = Site()

    async def main() -> None:
        async with site.tracker(global_budget=1) as tracker:
            held = await tracker.reserve(NOBODY, [(MODEL, 10)], request_id="r", at=START)
            assert await held.extend([(MODEL, USD // 2)])
            held.settle(paid(5))
            await tracker.aflush()
            assert len(list(site.store.events())) == 1

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_must_not_spend_what_its_parent_was_granted(tmp_path: Path) -> None:
    tracker = CostTracker(global_budget=1, store=f"sqlite:///{tmp_path}/b.db")
    held = hold(tracker, 10)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            hold(tracker, 1)
        except StoreError as error:
            held.settle(paid(10))
            tracker.close()
            code = 0 if "forked" in str(error) and tracker.spent == 0 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    held.settle(paid(10))
    assert spent(tracker) == {"total": 10}
    tracker.close()
