"""What does not fit is refused before it is spent, and every hold ends once."""

from __future__ import annotations

import asyncio
import gc
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.budgets.accounts import EveryModel
from cascadeflow.budgets.records import NOBODY, Charge, Scope, Spender, UsageEvent
from cascadeflow.budgets.tracker import ANONYMOUS, CostTracker
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import BudgetExceededError, ConfigurationError, InvalidRequestError
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from cascadeflow.budgets.reservation import Reservation

USD = 10**9
CHEAP, DEAR = "openai:small", "openai:large"
START = datetime(2026, 3, 10, 12, tzinfo=UTC)


def tracker_at(start: datetime = START, **options: Any) -> tuple[CostTracker, ManualClock]:
    clock = ManualClock(start)
    return CostTracker(clock=clock, **options), clock


def hold(
    tracker: CostTracker,
    amount: int | list[tuple[str, int]],
    *,
    spender: Spender = NOBODY,
    request_id: str = "r",
    at: datetime | None = None,
    force: bool = False,
) -> Reservation:
    calls = [(CHEAP, amount)] if isinstance(amount, int) else amount
    moment = at or tracker._clock.now()
    return tracker.reserve_sync(spender, calls, request_id=request_id, at=moment, force=force)


def charge(amount: int | None, model: str = CHEAP, *, confirmed: bool = True) -> Charge:
    return Charge(model=model, nanodollars=amount, confirmed=confirmed, held=amount or 0)


def usage(tracker: CostTracker) -> list[UsageEvent]:
    return [event for event in tracker.events() if isinstance(event, UsageEvent)]


# What is held, booked and given back


def test_what_is_not_spent_comes_back() -> None:
    tracker, _ = tracker_at(global_budget=1)
    held = hold(tracker, USD)
    assert (held.open, held.held, held.calls) == (True, USD, ((CHEAP, USD),))
    assert tracker.remaining() == 0
    outcome = held.settle([charge(USD // 4)])
    assert (outcome.booked, outcome.overrun) == (USD // 4, 0)
    assert not held.open
    assert tracker.remaining() == Decimal("0.75")
    assert tracker.spent == Decimal("0.25")


def test_a_release_gives_everything_back_and_logs_nothing() -> None:
    tracker, _ = tracker_at(global_budget=1)
    assert hold(tracker, USD).release().booked == 0
    assert tracker.remaining() == 1
    assert tracker.events() == []


def test_settling_twice_changes_nothing() -> None:
    tracker, _ = tracker_at(global_budget=1)
    held = hold(tracker, USD)
    first = held.settle([charge(USD)])
    again = held.settle([charge(USD)])
    assert (again.booked, again.crossed) == (USD, ())
    assert first.crossed != ()
    assert held.release().booked == USD
    assert len(usage(tracker)) == 1
    assert tracker.spent == 1


def test_a_charge_above_the_hold_is_booked_in_full_as_overrun() -> None:
    tracker, _ = tracker_at(global_budget=1)
    outcome = hold(tracker, USD // 2).settle([charge(2 * USD)])
    assert (outcome.booked, outcome.overrun) == (2 * USD, USD + USD // 2)
    assert tracker.spent == 2
    assert tracker.remaining() == 0


def test_a_charge_that_cannot_be_leaves_the_hold_open() -> None:
    tracker, _ = tracker_at(global_budget=1)
    held = hold(tracker, USD)
    for wrong in (-1, 2**62):
        with pytest.raises(InvalidRequestError):
            held.settle([charge(wrong)])
    assert held.open
    assert held.settle([charge(1)]).booked == 1


@pytest.mark.parametrize("calls", [[(CHEAP, -1)], [(CHEAP, 10), (DEAR, -5)]])
def test_a_call_cannot_be_held_at_less_than_nothing(calls: list[tuple[str, int]]) -> None:
    tracker, _ = tracker_at(global_budget=1)
    with pytest.raises(InvalidRequestError):
        hold(tracker, calls)
    held = hold(tracker, 5)
    with pytest.raises(InvalidRequestError):
        held.extend_sync(calls)
    assert tracker.accounts("global")[0].held == 5


def test_the_log_says_who_what_when_and_why() -> None:
    tracker, clock = tracker_at(global_budget=1)
    spender = Spender(user_id="u", tier="pro", tags=("a",))
    held = hold(tracker, 100, spender=spender, request_id="abc")
    clock.advance(5)
    held.settle([charge(7), charge(None, DEAR, confirmed=False)], metadata={"why": "test"})
    first, second = usage(tracker)
    assert (first.at, first.logged_at) == (START, START + timedelta(seconds=5))
    assert (first.request_id, first.spender, first.charge) == ("abc", spender, charge(7))
    assert first.metadata == {"why": "test"}
    assert first.event_id != second.event_id
    assert tracker.unknown_costs == 1
    assert tracker.events(since=START + timedelta(microseconds=1)) == []
    assert len(tracker.events(until=START + timedelta(seconds=1))) == 2


def test_standings_are_those_of_the_accounts_that_it_touches() -> None:
    tracker, _ = tracker_at(global_budget=BudgetConfig(daily=1, total=10), default_user_budget=2)
    held = hold(tracker, USD // 2, spender=Spender(user_id="u"))
    assert [(str(s.scope), s.period, s.held) for s in held.standings] == [
        ("global", "day", USD // 2),
        ("global", "total", USD // 2),
        ("user:u", "total", USD // 2),
    ]
    outcome = held.settle([charge(3)])
    assert {(s.spent, s.held) for s in outcome.standings} == {(3, 0)}


# What is refused


def test_what_does_not_fit_is_refused_and_says_what_does() -> None:
    tracker, _ = tracker_at(user_budgets={"u": BudgetConfig(daily=1)})
    hold(tracker, USD // 2, spender=Spender(user_id="u")).settle([charge(USD // 4)])
    keep = hold(tracker, USD // 2, spender=Spender(user_id="u"))
    with pytest.raises(BudgetExceededError) as caught:
        hold(tracker, USD // 2, spender=Spender(user_id="u"))
    error = caught.value
    assert (error.scope, error.name, error.period) == ("user", "u", "day")
    assert (error.limit, error.spent, error.held) == (Decimal(1), Decimal("0.25"), Decimal("0.5"))
    assert error.requested == Decimal("0.5")
    assert error.resets_at == datetime(2026, 3, 11, tzinfo=UTC)
    assert not error.permanent
    for part in ("$0.25 is left", "2026-03-11 00:00 UTC", "max_tokens", "user:u"):
        assert part in str(error)
    keep.release()
    assert tracker.accounts("user:u")[0].held == 0


def test_a_request_larger_than_the_whole_limit_never_fits() -> None:
    tracker, _ = tracker_at(global_budget=1)
    with pytest.raises(BudgetExceededError, match="waiting does not help") as caught:
        hold(tracker, USD + 1)
    assert caught.value.permanent
    assert caught.value.resets_at is None
    hold(tracker, USD).release()


def test_a_limit_of_zero_is_a_limit_of_zero() -> None:
    tracker, _ = tracker_at(global_budget=5, user_budgets={"u": 0})
    with pytest.raises(BudgetExceededError) as caught:
        hold(tracker, 1, spender=Spender(user_id="u"))
    assert (caught.value.name, caught.value.limit) == ("u", Decimal(0))
    hold(tracker, 0, spender=Spender(user_id="u")).settle([charge(0)])


def test_all_accounts_are_held_or_none() -> None:
    tracker, _ = tracker_at(global_budget=10, budgets={"team:a": 1}, user_budgets={"u": 5})
    spender = Spender(user_id="u", team="a")
    with pytest.raises(BudgetExceededError, match="team:a"):
        hold(tracker, 2 * USD, spender=spender)
    assert {s.held for s in tracker.accounts()} == {0}


@pytest.mark.parametrize("mode", ["block", "degrade"])
def test_a_request_that_no_limit_applies_to_is_refused(mode: str) -> None:
    tracker, _ = tracker_at(user_budgets={"known": 5}, enforcement_mode=mode)
    with pytest.raises(BudgetExceededError, match="default_user_budget=") as caught:
        hold(tracker, 1, spender=Spender(user_id="unknown"))
    assert (caught.value.permanent, caught.value.limit) == (True, Decimal(0))
    assert (caught.value.scope, caught.value.name) == ("user", "unknown")
    assert tracker.remaining("unknown") == 0
    assert hold(tracker, 1, spender=Spender(user_id="unknown"), force=True).open


def test_nobody_is_the_anonymous_user_of_the_default_budget() -> None:
    tracker, _ = tracker_at(user_budgets={"u": 9}, default_user_budget=BudgetConfig(daily=1))
    held = hold(tracker, USD)
    assert held.spender.user_id == ANONYMOUS
    with pytest.raises(BudgetExceededError) as caught:
        hold(tracker, 1, spender=Spender(user_id=""))
    assert caught.value.name == ANONYMOUS
    hold(tracker, USD, spender=Spender(user_id="other")).release()
    held.settle([charge(5)])
    (event,) = usage(tracker)
    assert event.spender.user_id == ANONYMOUS
    assert tracker.by_user == {}
    assert tracker.entries[0].user_id is None


def test_each_user_has_a_default_budget_of_its_own_and_a_named_one_holds_over_it() -> None:
    tracker, _ = tracker_at(default_user_budget=1, user_budgets={"rich": 5})
    assert hold(tracker, 5 * USD, spender=Spender(user_id="rich")).open
    for user in ("a", "b"):
        keep = hold(tracker, USD, spender=Spender(user_id=user))
        with pytest.raises(BudgetExceededError):
            hold(tracker, 1, spender=Spender(user_id=user))
        keep.release()


@pytest.mark.parametrize(
    ("budget", "spender"),
    [
        ("team:a", Spender(team="a")),
        ("team:*", Spender(team="any")),
        ("tier:pro", Spender(tier="pro")),
        ("key:k1", Spender(key="k1")),
        ("tag:batch", Spender(tags=("x", "batch", "batch"))),
        ("user:u", Spender(user_id="u")),
        ("model:openai:small", Spender()),
        ("model:*", Spender()),
    ],
)
def test_a_budget_holds_for_whom_it_names(budget: str, spender: Spender) -> None:
    tracker, _ = tracker_at(global_budget=10, budgets={budget: 1})
    keep = hold(tracker, USD, spender=spender)
    with pytest.raises(BudgetExceededError) as caught:
        hold(tracker, 1, spender=spender)
    assert caught.value.scope == budget.partition(":")[0]
    keep.release()
    hold(tracker, [(DEAR, 0)], spender=Spender(user_id="somebody")).release()


def test_a_model_is_counted_its_own_part() -> None:
    tracker, _ = tracker_at(global_budget=10, budgets={f"model:{DEAR}": 1})
    assert tracker.budgeted_models == {DEAR}
    held = hold(tracker, [(CHEAP, 5 * USD), (DEAR, USD)])
    held.settle([charge(USD), charge(USD // 2, DEAR)])
    assert [(str(s.scope), s.spent) for s in tracker.accounts()] == [
        ("global", USD + USD // 2),
        (f"model:{DEAR}", USD // 2),
    ]
    with pytest.raises(BudgetExceededError, match=DEAR):
        hold(tracker, [(CHEAP, 1), (DEAR, USD)])


def test_every_model_may_have_a_budget() -> None:
    tracker, _ = tracker_at(budgets={"model:*": 1})
    assert isinstance(tracker.budgeted_models, EveryModel)
    assert DEAR in tracker.budgeted_models


def test_a_model_that_was_not_held_for_is_booked_by_force() -> None:
    tracker, _ = tracker_at(global_budget=10, budgets={f"model:{DEAR}": 1})
    hold(tracker, USD).settle([charge(USD, DEAR)])
    assert tracker.accounts(f"model:{DEAR}")[0].spent == USD
    assert tracker.accounts("global")[0].spent == USD


# Modes


def test_warn_books_what_does_not_fit_and_says_so() -> None:
    tracker, _ = tracker_at(global_budget=1, enforcement_mode="warn")
    assert not tracker.enforces
    fits, too_much = hold(tracker, USD), hold(tracker, USD)
    assert (fits.over_limit, too_much.over_limit) == (False, True)
    assert too_much.extend_sync([(CHEAP, USD)])
    for held in (fits, too_much):
        held.settle([charge(USD)])
    assert tracker.spent == 2


def test_force_holds_over_a_limit_that_blocks() -> None:
    tracker, _ = tracker_at(global_budget=1)
    held = hold(tracker, 2 * USD, force=True)
    assert held.over_limit
    with pytest.raises(BudgetExceededError):
        hold(tracker, 1)
    assert not held.extend_sync([(CHEAP, 1)])
    assert held.extend_sync([(CHEAP, 1)], force=True)


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({}, "warn"),
        ({"budget_limit": 1}, "warn"),
        ({"global_budget": 1}, "block"),
        ({"default_user_budget": 1}, "block"),
        ({"budget_limit": 1, "user_budgets": {"u": 1}}, "block"),
        ({"budgets": {"team:a": 1}}, "block"),
        ({"budget_limit": 1, "enforcement_mode": "block"}, "block"),
        ({"global_budget": 1, "enforcement_mode": "degrade"}, "degrade"),
    ],
)
def test_only_v01s_limit_warns_where_no_mode_is_given(options: dict[str, Any], mode: str) -> None:
    tracker = CostTracker(**options)
    assert tracker.mode == mode
    assert tracker.enforces == (mode != "warn")


def test_budget_limit_blocks_when_told_to() -> None:
    tracker, _ = tracker_at(budget_limit="0.01", enforcement_mode="block")
    assert tracker.budget_limit == 0.01
    with pytest.raises(BudgetExceededError):
        hold(tracker, USD)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"budget_limit": 1, "global_budget": 1}, "give one of them"),
        ({"global_budget": -1}, "global_budget"),
        ({"user_budgets": {"u": "much"}}, "'u'"),
        ({"budgets": {"house:a": 1}}, "house:a"),
        ({"budgets": {"team:": 1}}, "team:"),
        ({"budgets": {"global:x": 1}}, "global"),
        ({"budgets": {"user:u": 1}, "user_budgets": {"u": 1}}, "two budgets"),
        ({"budgets": {"global": 1}, "global_budget": 1}, "two budgets"),
        ({"enforcement_mode": "loud"}, "enforcement_mode"),
        ({"durability": "fast"}, "durability"),
        ({"durability": "strict"}, "needs a store"),
        ({"store": "file:///x"}, "store"),
        ({"min_output": 0}, "min_output"),
        ({"min_output": 5000}, "default_max_output"),
        ({"alert_channels": ["https://example.com"]}, "channel"),
        ({"default_user_budget": BudgetConfig(daily=1, timezone="Mars/Olympus")}, "Mars"),
    ],
)
def test_what_cannot_be_set_up_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        CostTracker(**options)


def test_a_request_needs_a_time_with_a_zone() -> None:
    tracker, _ = tracker_at(global_budget=1)
    with pytest.raises(InvalidRequestError, match="time zone"):
        hold(tracker, 1, at=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


# Extending


def test_an_extension_is_all_or_nothing_and_settled_with_the_rest() -> None:
    tracker, _ = tracker_at(global_budget=1)
    held = hold(tracker, USD // 2)
    assert asyncio.run(held.extend([(CHEAP, USD // 2)]))
    assert not held.extend_sync([(CHEAP, 1)])
    assert (held.held, len(held.calls)) == (USD, 2)
    held.settle([charge(1), charge(2)])
    assert tracker.accounts("global")[0].spent == 3
    assert not held.extend_sync([(CHEAP, 1)])


def test_an_extension_for_another_model_is_held_on_its_budget_too() -> None:
    tracker, _ = tracker_at(global_budget=10, budgets={f"model:{DEAR}": 1})
    held = hold(tracker, USD)
    assert held.extend_sync([(DEAR, USD)])
    assert tracker.accounts(f"model:{DEAR}")[0].held == USD
    assert not held.extend_sync([(DEAR, 1)])
    other = hold(tracker, USD)
    assert not other.extend_sync([(DEAR, 1)])
    assert tracker.accounts("global")[0].held == 3 * USD
    other.release()
    held.settle([charge(1), charge(2, DEAR)])
    assert [(s.spent, s.held) for s in tracker.accounts()] == [(3, 0), (2, 0)]


def test_without_a_limit_an_extension_always_fits() -> None:
    tracker, _ = tracker_at()
    held = hold(tracker, 1)
    assert held.extend_sync([(DEAR, USD)])
    assert held.held == USD + 1


# Dropped, expired, late


def test_a_dropped_reservation_is_booked_in_full_as_unconfirmed() -> None:
    tracker, _ = tracker_at(global_budget=1, user_budgets={"u": 1})
    held = hold(tracker, [(CHEAP, 100), (DEAR, 0)], spender=Spender(user_id="u"))
    assert held.extend_sync([(CHEAP, 50)])
    del held
    gc.collect()
    assert tracker.spent == Decimal(150).scaleb(-9)
    assert [(e.charge.model, e.charge.nanodollars, e.charge.confirmed) for e in usage(tracker)] == [
        (CHEAP, 100, False),
        (DEAR, None, False),
        (CHEAP, 50, False),
    ]
    assert [(s.spent, s.held) for s in tracker.accounts()] == [(150, 0), (150, 0)]
    assert tracker.unknown_costs == 1


def test_a_destroyed_task_leaves_nothing_held() -> None:
    tracker, _ = tracker_at(global_budget=1)

    async def request() -> None:
        held = await tracker.reserve(NOBODY, [(CHEAP, 10)], request_id="r", at=START)
        await asyncio.sleep(3600)
        held.release()

    async def main() -> None:
        task = asyncio.create_task(request())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    gc.collect()
    assert [(s.spent, s.held) for s in tracker.accounts()] == [(10, 0)]


def test_a_settled_reservation_may_be_dropped() -> None:
    tracker, _ = tracker_at(global_budget=1)
    held = hold(tracker, 10)
    held.settle([charge(1)])
    del held
    gc.collect()
    assert len(usage(tracker)) == 1


def test_a_live_reservation_is_renewed_for_as_long_as_requests_come() -> None:
    tracker, clock = tracker_at(global_budget=1)
    held = hold(tracker, 10)
    for _ in range(40):
        clock.advance(100)
        hold(tracker, 1).release()
    assert held.open
    assert held.settle([charge(3)]).booked == 3
    assert tracker.spent == Decimal(3).scaleb(-9)


def test_what_nobody_ends_within_a_day_expires_and_may_be_corrected_once() -> None:
    tracker, clock = tracker_at(global_budget=1)
    held = hold(tracker, [(CHEAP, 100), (DEAR, 50)])
    clock.advance(86_401)
    hold(tracker, 1).release()
    clock.advance(601)
    hold(tracker, 1).release()
    assert not held.open
    assert not held.extend_sync([(CHEAP, 1)])
    assert not held.renew()
    assert tracker.accounts("global")[0].spent == 150
    assert held.settle([charge(30), charge(5, "openai:other")]).booked == 35
    assert held.settle([charge(30)]).booked == 35
    assert tracker.accounts("global")[0].spent == 35
    cheap, dear, cheaper, other, never = usage(tracker)
    assert not cheap.charge.confirmed
    assert (cheaper.corrects, cheaper.booked) == (cheap.event_id, 30 - 100)
    assert (other.corrects, other.booked) == (None, 5)
    assert (never.corrects, never.booked) == (dear.event_id, -50)
    assert sum(event.booked for event in usage(tracker)) == 35
    assert tracker.spent == Decimal(35).scaleb(-9)


def test_renewing_says_that_it_is_not_forgotten() -> None:
    tracker, clock = tracker_at(global_budget=1)
    held = hold(tracker, 10)
    for _ in range(3):
        clock.advance(80_000)
        assert held.renew()
        hold(tracker, 1).release()
    assert held.open
    assert held.release().booked == 0


def test_without_a_limit_what_is_forgotten_expires_too() -> None:
    tracker, clock = tracker_at()
    held = hold(tracker, 100)
    clock.advance(87_500)
    hold(tracker, 1).release()
    assert not held.open
    assert tracker.spent == Decimal(100).scaleb(-9)
    held.settle([charge(1)])
    assert tracker.spent == Decimal(1).scaleb(-9)


# Periods


def test_money_belongs_to_the_period_that_reserved_it() -> None:
    tracker, clock = tracker_at(
        datetime(2026, 3, 10, 22, 59, tzinfo=UTC),
        global_budget=BudgetConfig(daily=1, timezone="Europe/Oslo"),
    )
    held = hold(tracker, USD)
    clock.advance(120)  # it is the next day in Oslo
    hold(tracker, USD).settle([charge(USD // 2)])
    held.settle([charge(USD)])
    (standing,) = tracker.accounts("global")
    assert standing.spent == USD // 2
    assert standing.started_at == datetime(2026, 3, 10, 23, tzinfo=UTC)


def test_a_request_that_began_before_the_period_changed_belongs_to_the_new_one() -> None:
    tracker, clock = tracker_at(
        datetime(2026, 3, 10, 23, 59, tzinfo=UTC), global_budget=BudgetConfig(daily=1)
    )
    began = clock.now()
    clock.advance(120)
    hold(tracker, 1).release()
    late = hold(tracker, USD, at=began)
    assert late.at == datetime(2026, 3, 11, tzinfo=UTC)
    late.settle([charge(USD)])
    assert usage(tracker)[0].at == late.at
    assert tracker.accounts("global")[0].spent == USD


def test_idle_accounts_are_dropped_once_their_period_is_over() -> None:
    tracker, clock = tracker_at(default_user_budget=BudgetConfig(daily=1))
    for number in range(50):
        hold(tracker, 1, spender=Spender(user_id=f"u{number}")).settle([charge(1)])
    open_one = hold(tracker, 1, spender=Spender(user_id="open"))
    clock.advance(86_400)
    hold(tracker, 1, spender=Spender(user_id="new")).release()
    assert {s.scope.name for s in tracker.accounts()} == {"open", "new"}
    assert hold(tracker, 1, spender=Spender(user_id="u1")).open
    open_one.release()


# Cheap questions


def test_the_state_is_the_worst_of_the_accounts() -> None:
    tracker, _ = tracker_at(global_budget=10, user_budgets={"u": 1})
    user = Spender(user_id="u")
    assert tracker.state(user) == "ok"
    held = hold(tracker, USD * 8 // 10, spender=user)
    assert tracker.state(user) == "warned"
    assert held.extend_sync([(CHEAP, USD // 10)])
    assert tracker.state(user) == "degraded"
    held.settle([charge(USD)])
    assert tracker.state(user) == "exhausted"
    assert tracker.state(Spender(user_id="other")) == "ok"
    assert asyncio.run(tracker.prepare(user)) == "exhausted"
    assert CostTracker().state(user) is None


def test_the_state_counts_the_models_that_may_be_called() -> None:
    tracker, _ = tracker_at(global_budget=10, budgets={f"model:{DEAR}": 1})
    hold(tracker, [(DEAR, USD)]).settle([charge(USD, DEAR)])
    assert tracker.state(NOBODY, [CHEAP]) == "ok"
    assert tracker.state(NOBODY, [CHEAP, DEAR]) == "exhausted"


def test_remaining_is_what_the_tightest_budget_leaves() -> None:
    tracker, _ = tracker_at(
        global_budget=10, default_user_budget=BudgetConfig(daily=2, total=1), budgets={"tag:x": 0}
    )
    assert tracker.remaining("u") == 1
    assert tracker.remaining("u", tags=["x"]) == 0
    assert CostTracker().remaining("u") is None


def test_settings_can_be_read_back() -> None:
    tracker = CostTracker(default_max_output=100, min_output=10)
    assert (tracker.default_max_output, tracker.min_output) == (100, 10)
    assert (CostTracker().default_max_output, CostTracker().min_output) == (4096, 256)


def test_a_tracker_without_budgets_opens_no_account() -> None:
    tracker, _ = tracker_at()
    hold(tracker, 5, spender=Spender(user_id="u", team="t")).settle([charge(3)])
    assert tracker.accounts() == []
    assert tracker.accounts(Scope("user", "u")) == []
    assert tracker.by_user == {"u": 3e-9}


def test_what_is_recorded_is_booked_on_the_accounts_over_any_limit() -> None:
    tracker, _ = tracker_at(global_budget=1, user_budgets={"u": 1}, budgets={"model:p:m": 1})
    tracker.add_cost("m", "p", tokens=5, cost=3, user_id="u")
    assert {(str(s.scope), s.spent) for s in tracker.accounts()} == {
        ("global", 3 * USD),
        ("user:u", 3 * USD),
        ("model:p:m", 3 * USD),
    }
    with pytest.raises(BudgetExceededError):
        hold(tracker, 1, spender=Spender(user_id="u"))
