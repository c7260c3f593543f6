"""The ledger by itself: what it promises under threads, what it refuses, and how it says so."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow._native import Ledger, Refusal, Settlement, Window
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.money import MAX_NANODOLLARS

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_795_348_800_000  # 2026-11-22 12:00 UTC
LATER = NOW + 60_000
DAY = Window.day("UTC")
ROLLING = Window.rolling(3_600, 6)
TOTAL = Window.total()


def opened(ledger: Ledger, limit: int | None, *, name: str = "u1", **more: Any) -> int:
    return ledger.open_scope("user", name, [(DAY, limit), (TOTAL, None)], NOW, **more)


def held(result: int | Refusal) -> int:
    assert isinstance(result, int), result
    return result


def refused(result: int | Refusal | None) -> Refusal:
    assert isinstance(result, Refusal), result
    return result


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Runs the work in so many threads that begin together, and raises what one of them raised."""
    barrier = threading.Barrier(count)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait()
            work(number)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_a_hold_is_taken_on_all_scopes_or_on_none() -> None:
    ledger = Ledger()
    wide, narrow = opened(ledger, 100), opened(ledger, 10, name="u2")
    assert ledger.find_scope("user", "u2") == narrow
    refusal = refused(ledger.reserve([wide, narrow], 11, NOW, LATER))
    assert (refusal.kind, refusal.scope, refusal.requested) == ("limit", narrow, 11)
    assert refusal.grant_needed is None
    assert refusal.standing is not None
    assert (refusal.standing.window, refusal.standing.limit) == (DAY, 10)
    assert refusal.standing.resets_ms == NOW + 43_200_000
    assert ledger.total(wide) == ledger.total(narrow) == (0, 0)
    hold = held(ledger.reserve((wide, narrow), [100, 10], NOW, LATER))
    assert ledger.held_amounts(hold) == [(wide, 100), (narrow, 10)]
    assert ledger.open_holds() == 1


def test_a_limit_of_zero_is_a_limit() -> None:
    ledger = Ledger()
    scope = opened(ledger, 0)
    assert refused(ledger.reserve([scope], 1, NOW, LATER)).kind == "limit"
    assert isinstance(ledger.reserve([scope], 0, NOW, LATER), int)


def test_a_settlement_books_what_was_used_and_returns_the_rest() -> None:
    ledger = Ledger()
    scope = opened(ledger, 100)
    hold = held(ledger.reserve([scope], 100, NOW, LATER))
    settlement = ledger.settle(hold, 30, NOW)
    assert isinstance(settlement, Settlement)
    assert (settlement.outcome, settlement.booked, settlement.overrun) == ("settled", 30, 0)
    assert ledger.total(scope) == (30, 0)
    again = ledger.settle(hold, 99, NOW)
    assert (again.outcome, again.overrun) == ("already", 0)
    assert ledger.total(scope) == (30, 0)
    assert isinstance(ledger.reserve([scope], 70, NOW, LATER), int)


def test_a_provider_that_bills_more_than_was_held_is_booked_in_full() -> None:
    ledger = Ledger()
    scope = opened(ledger, 100)
    settlement = ledger.settle(held(ledger.reserve([scope], 60, NOW, LATER)), 150, NOW)
    assert (settlement.booked, settlement.overrun) == (150, 90)
    assert ledger.standing(scope, NOW)[0].spent == 150
    assert refused(ledger.reserve([scope], 1, NOW, LATER)).kind == "limit"
    assert isinstance(ledger.reserve([scope], 0, NOW, LATER), int)
    assert isinstance(ledger.reserve([scope], 5, NOW, LATER, force=True), int)


def test_an_expired_hold_is_booked_in_full_and_corrected_once() -> None:
    ledger = Ledger(late_seconds=10)
    scope = opened(ledger, 100)
    hold = held(ledger.reserve([scope], 60, NOW, LATER))
    assert ledger.renew(hold, LATER + 1_000)
    assert ledger.expire(LATER + 999) == []
    assert ledger.expire(LATER + 1_000) == [hold]
    assert not ledger.renew(hold, LATER + 5_000)
    assert ledger.total(scope) == (60, 0)
    assert ledger.settle(hold, 20, LATER + 2_000).outcome == "corrected"
    assert ledger.total(scope) == (20, 0)
    assert ledger.settle(hold, 10, LATER + 2_000).outcome == "already"
    late = held(ledger.reserve([scope], 60, NOW, LATER))
    ledger.expire(LATER)
    ledger.expire(LATER + 10_001)
    assert ledger.settle(late, 20, LATER + 10_001).outcome == "already"
    assert ledger.total(scope) == (80, 0)


def test_the_same_key_gives_the_same_hold() -> None:
    ledger = Ledger()
    scope = opened(ledger, 100)
    first = held(ledger.reserve([scope], 60, NOW, LATER, key=b"sixteen bytes ok"))
    assert ledger.reserve([scope], 60, NOW, LATER, key=b"sixteen bytes ok") == first
    assert ledger.total(scope) == (0, 60)
    assert refused(ledger.reserve([scope], 60, NOW, LATER, key=b"another")).kind == "limit"


def test_no_more_than_the_grant_is_held_over_the_life() -> None:
    ledger = Ledger()
    scope = opened(ledger, None, spent_total=1_000, grant=1_050)
    hold = held(ledger.reserve([scope], 50, NOW, LATER))
    refusal = refused(ledger.reserve([scope], 7, NOW, LATER))
    assert (refusal.kind, refusal.grant_needed, refusal.standing) == ("grant", 1_057, None)
    assert refused(ledger.extend(hold, 7, NOW)).kind == "grant"
    ledger.set_grant(scope, 1_057)
    assert ledger.extend(hold, 7, NOW) is None
    ledger.set_grant(scope, None)
    assert isinstance(ledger.reserve([scope], 10**9, NOW, LATER), int)


def test_an_extension_belongs_to_the_period_that_it_was_made_in() -> None:
    ledger = Ledger()
    scope = opened(ledger, 100)
    hold = held(ledger.reserve([scope], 90, NOW, LATER))
    tomorrow = NOW + 86_400_000
    assert refused(ledger.extend(hold, 20, NOW)).requested == 20
    assert ledger.extend(hold, 20, tomorrow) is None
    assert refused(ledger.extend(hold, 90, tomorrow)).kind == "limit"
    assert ledger.held_amounts(hold) == [(scope, 110)]
    assert ledger.settle(hold, 95, tomorrow).booked == 95
    day, total = ledger.standing(scope, tomorrow)
    assert (day.spent, total.spent) == (5, 95)


def test_spending_belongs_to_the_period_that_reserved_it() -> None:
    ledger = Ledger()
    scope = opened(ledger, 100)
    hold = held(ledger.reserve([scope], 60, NOW, LATER))
    tomorrow = NOW + 86_400_000
    assert [s.held for s in ledger.standing(scope, tomorrow)] == [0, 60]
    ledger.settle(hold, 60, tomorrow)
    day, total = ledger.standing(scope, tomorrow)
    assert (day.spent, total.spent) == (0, 60)
    assert (total.starts_ms, total.resets_ms) == (None, None)


def test_periods_never_go_back() -> None:
    ledger = Ledger()
    scope = opened(ledger, 100)
    tomorrow = NOW + 86_400_000
    held(ledger.reserve([scope], 60, tomorrow, tomorrow))
    assert refused(ledger.reserve([scope], 60, NOW, LATER)).kind == "limit"
    assert ledger.standing(scope, NOW)[0].held == 60


def test_limits_change_while_money_is_held() -> None:
    ledger = Ledger()
    scope = opened(ledger, 100)
    hold = held(ledger.reserve([scope], 60, NOW, LATER))
    ledger.set_limits(scope, [(DAY, 50), (ROLLING, 10)], NOW)
    standing = {each.window: each for each in ledger.standing(scope, NOW)}
    assert (standing[DAY].limit, standing[DAY].held) == (50, 60)
    assert (standing[ROLLING].limit, standing[ROLLING].held) == (10, 0)
    assert TOTAL not in standing
    assert refused(ledger.reserve([scope], 5, NOW, LATER)).kind == "limit"
    ledger.release(hold, NOW)
    assert isinstance(ledger.reserve([scope], 5, NOW, LATER), int)


def test_an_evicted_scope_is_stale_until_it_is_opened_again() -> None:
    ledger = Ledger()
    scope = opened(ledger, 100, grant=500)
    ledger.settle(held(ledger.reserve([scope], 60, NOW, LATER)), 40, NOW)
    assert ledger.evict(NOW + 1_000, 1_001) == []
    assert ledger.evict(NOW + 1_000, 1_000) == [("user", "u1", 40)]
    assert refused(ledger.reserve([scope], 1, NOW, LATER)).kind == "stale"
    assert ledger.find_scope("user", "u1") is None
    again = opened(ledger, 100, spent_total=40)
    assert again != scope
    assert ledger.scope_name(again) == ("user", "u1")
    with pytest.raises(InvalidRequestError, match="open it again"):
        ledger.total(scope)


def test_a_stale_handle_is_told_from_that_of_the_scope_in_its_place() -> None:
    ledger = Ledger()
    old = opened(ledger, 100)
    ledger.evict(NOW, 0)
    new = opened(ledger, 100, name="u2")
    for scopes in ([old, new], [new, old]):
        refusal = refused(ledger.reserve(scopes, 1, NOW, LATER))
        assert (refusal.kind, refusal.scope) == ("stale", old)
    assert ledger.total(new) == (0, 0)


def test_an_adjustment_never_makes_spending_negative() -> None:
    ledger = Ledger()
    scope = opened(ledger, 100)
    assert ledger.adjust(scope, 30, NOW) == 30
    assert ledger.adjust(scope, -50, NOW) == -30
    assert ledger.total(scope) == (0, 0)


def test_no_more_is_held_than_can_be_counted() -> None:
    ledger = Ledger()
    scope = opened(ledger, None)
    hold = held(ledger.reserve([scope], MAX_NANODOLLARS, NOW, LATER))
    for force in (False, True):
        with pytest.raises(InvalidRequestError, match="larger than can be accounted for"):
            ledger.reserve([scope], 1, NOW, LATER, force=force)
    assert ledger.adjust(scope, 5, NOW) == 0
    ledger.settle(hold, MAX_NANODOLLARS, NOW)
    assert ledger.adjust(scope, -MAX_NANODOLLARS, NOW) == -MAX_NANODOLLARS
    assert ledger.total(scope) == (0, 0)


def test_sixteen_threads_never_spend_more_than_the_limit_and_lose_nothing() -> None:
    ledger = Ledger()
    limit = 200_000
    windows = [(DAY, limit), (ROLLING, limit), (TOTAL, limit)]
    shared = ledger.open_scope("global", "", windows, NOW)
    users = [ledger.open_scope("user", str(n), windows, NOW) for n in range(4)]
    booked = [0] * 16
    refusals = [0] * 16

    def work(number: int) -> None:
        chance = random.Random(number)
        user = users[number % len(users)]
        for turn in range(400):
            amount = chance.randrange(1, 400)
            scopes = (shared, user) if turn % 2 else (user, shared)
            hold = ledger.reserve(scopes, amount, NOW, LATER)
            if isinstance(hold, Refusal):
                assert hold.kind == "limit"
                refusals[number] += 1
                continue
            settled, under_way = ledger.total(shared)
            assert settled + under_way <= limit
            end = chance.random()
            if end < 0.2:
                ledger.release(hold, NOW)
            elif end < 0.3 and ledger.extend(hold, 10, NOW) is None:
                booked[number] += ledger.settle(hold, amount + 10, NOW).booked or 0
            else:
                booked[number] += ledger.settle(hold, amount * 3 // 4, NOW).booked or 0

    in_threads(16, work)
    assert ledger.open_holds() == 0
    assert ledger.total(shared) == (sum(booked), 0)
    assert sum(ledger.total(user)[0] for user in users) == sum(booked)
    assert sum(refusals) > 0
    for standing in ledger.standing(shared, NOW):
        assert (standing.spent, standing.held) == (sum(booked), 0)
        assert standing.spent <= limit


def test_what_fits_is_never_refused_by_what_others_take_back() -> None:
    ledger = Ledger()
    shared = opened(ledger, 16 * 100)
    full = opened(ledger, 0, name="full")

    def work(number: int) -> None:
        for _ in range(300):
            if number % 2:  # takes 100 of the shared scope and gives it back at once, refused
                assert isinstance(ledger.reserve((shared, full), 100, NOW, LATER), Refusal)
            else:
                ledger.release(held(ledger.reserve((shared,), 200, NOW, LATER)), NOW)

    in_threads(16, work)  # eight of them hold 200 each: it always fits
    assert ledger.total(shared) == (0, 0)


def test_sixty_four_threads_that_open_the_same_scope_get_one_handle() -> None:
    ledger = Ledger()
    handles: list[int] = []

    def work(_: int) -> None:
        handle = opened(ledger, 10)
        handles.append(handle)
        held(ledger.reserve([handle], 0, NOW, LATER))
        ledger.reserve([handle], 1, NOW, LATER)

    in_threads(64, work)
    assert len(handles) == 64
    assert len(set(handles)) == 1
    assert ledger.scopes() == handles[:1]
    assert ledger.total(handles[0]) == (0, 10)


def refuses(call: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        call()


NO_AMOUNTS = [-1, MAX_NANODOLLARS + 1, 10**40, 1.0, float("nan"), float("inf"), True, "1"]


@pytest.mark.parametrize("amount", NO_AMOUNTS)
def test_what_is_no_amount_is_refused_with_what_is(amount: Any) -> None:
    ledger = Ledger()
    scope = opened(ledger, 100)
    hold = held(ledger.reserve([scope], 10, NOW, LATER))
    for call in (
        lambda: ledger.reserve([scope], amount, NOW, LATER),
        lambda: ledger.reserve([scope], [amount], NOW, LATER),
        lambda: ledger.reserve([scope], (amount,), NOW, LATER),
        lambda: ledger.extend(hold, amount, NOW),
        lambda: ledger.settle(hold, amount, NOW),
        lambda: ledger.settle(hold, [amount], NOW),
        lambda: opened(ledger, None, name="new", spent_total=amount),
        lambda: opened(ledger, None, name="new", spent=[amount]),
        lambda: opened(ledger, None, name="new", grant=amount),
        lambda: ledger.set_grant(scope, amount),
    ):
        with pytest.raises(InvalidRequestError, match=r"whole nanodollars from 0 to 46\d+, not"):
            call()
    with pytest.raises(ConfigurationError, match="whole nanodollars"):
        opened(ledger, amount, name="new")
    if amount != -1:
        with pytest.raises(InvalidRequestError, match="whole nanodollars"):
            ledger.adjust(scope, amount, NOW)
    assert ledger.find_scope("user", "new") is None
    assert ledger.total(scope) == (0, 10)


def test_no_amount_at_all_is_refused() -> None:
    ledger = Ledger()
    scope = opened(ledger, 100)
    nothing: Any = None
    refuses(lambda: ledger.reserve([scope], nothing, NOW, LATER), "whole nanodollars")
    refuses(lambda: ledger.reserve([scope], [nothing], NOW, LATER), "whole nanodollars")
    refuses(lambda: ledger.adjust(scope, nothing, NOW), "whole nanodollars")
    refuses(lambda: opened(ledger, None, name="new", spent=[nothing]), "whole nanodollars")


@pytest.mark.parametrize("moment", [1.5, True, None, 10**15, -(10**15), 10**30, "now"])
def test_what_is_no_time_is_refused_with_what_is(moment: Any) -> None:
    ledger = Ledger()
    scope = opened(ledger, 100)
    hold = held(ledger.reserve([scope], 10, NOW, LATER))
    for call in (
        lambda: ledger.reserve([scope], 1, moment, LATER),
        lambda: ledger.reserve([scope], 1, NOW, moment),
        lambda: ledger.extend(hold, 1, moment),
        lambda: ledger.renew(hold, moment),
        lambda: ledger.settle(hold, 1, moment),
        lambda: ledger.release(hold, moment),
        lambda: ledger.expire(moment),
        lambda: ledger.adjust(scope, 1, moment),
        lambda: ledger.standing(scope, moment),
        lambda: ledger.evict(moment, 0),
        lambda: ledger.set_limits(scope, [], moment),
        lambda: ledger.open_scope("user", "new", [], moment),
    ):
        with pytest.raises(InvalidRequestError, match="Unix milliseconds"):
            call()
    assert ledger.total(scope) == (0, 10)


def test_calls_of_no_sense_are_refused_and_change_nothing() -> None:
    ledger = Ledger()
    scope, other = opened(ledger, 100), opened(ledger, 100, name="u2")
    hold = held(ledger.reserve([scope], 10, NOW, LATER))
    no_scopes: Any = scope
    for call, said in (
        (lambda: ledger.reserve([], 1, NOW, LATER), "at least one"),
        (lambda: ledger.reserve(no_scopes, 1, NOW, LATER), "sequence of handles"),
        (lambda: ledger.reserve([scope, scope], 1, NOW, LATER), "only once"),
        (lambda: ledger.reserve([scope, other], [1], NOW, LATER), "2 scopes"),
        (lambda: ledger.settle(hold, [1, 2], NOW), "1 scopes"),
        (lambda: ledger.extend(hold, (), NOW), "1 scopes"),
        (lambda: ledger.reserve(range(65), 1, NOW, LATER), "64 scopes"),
        (lambda: ledger.reserve(["user"], 1, NOW, LATER), "handle"),  # type: ignore[list-item]
        (lambda: ledger.reserve([scope], 1, NOW, LATER, key=b""), "1 to 16 bytes"),
        (lambda: ledger.reserve([scope], 1, NOW, LATER, key=b"k" * 17), "1 to 16 bytes"),
        (lambda: ledger.settle(hold + 1, 1, NOW), "no such hold"),
        (lambda: ledger.settle(-1, 1, NOW), "id is a whole number"),
        (lambda: ledger.held_amounts(2**62), "id is a whole number"),
        (lambda: ledger.reserve([scope + 2**56], 1, NOW, LATER), "handle is a whole number"),
        (lambda: ledger.total(scope + 2**56), "handle is a whole number"),
        (lambda: ledger.scope_name(other + 1), "open it again"),
        (lambda: ledger.set_limits(other + 1, [], NOW), "open it again"),
        (lambda: ledger.evict(NOW, -1), "idle_ms"),
        (lambda: opened(ledger, 1, name="new", spent=[1, 2, 3]), "2 windows"),
    ):
        refuses(call, said)
    assert ledger.total(scope) == (0, 10)
    assert ledger.total(other) == (0, 0)


@pytest.mark.parametrize(
    "limits",
    [[(DAY, 1), (DAY, 2)], [DAY], [(DAY,)], [("day", 1)], [(DAY, "1")], [(DAY, -1)], 7, None],
)
def test_limits_of_no_such_form_are_refused(limits: Any) -> None:
    ledger = Ledger()
    scope = opened(ledger, 100)
    with pytest.raises(ConfigurationError, match=r"pairs of a Window|only one limit"):
        ledger.open_scope("user", "new", limits, NOW)
    with pytest.raises(ConfigurationError, match=r"pairs of a Window|only one limit"):
        ledger.set_limits(scope, limits, NOW)
    assert len(ledger.standing(scope, NOW)) == 2


@pytest.mark.parametrize("late", [-1, 1.5, True, 10**10, "1"])
def test_a_late_time_of_no_such_form_is_refused(late: Any) -> None:
    with pytest.raises(ConfigurationError, match="late_seconds"):
        Ledger(late_seconds=late)


def test_what_it_answers_can_be_read() -> None:
    ledger = Ledger()
    scope = opened(ledger, 5, grant=10)
    full = refused(ledger.reserve([scope], 6, NOW, LATER))
    assert repr(full) == (
        f"Refusal(kind='limit', scope={scope}, requested=6, standing=WindowStanding(window="
        f'Window.day("UTC"), limit=5, spent=0, held=0, starts_ms={NOW - 43_200_000}, '
        f"resets_ms={NOW + 43_200_000}))"
    )
    hold = held(ledger.reserve([scope], 5, NOW, LATER))
    assert repr(ledger.settle(hold, 7, NOW)) == (
        "Settlement(outcome='settled', booked=7, overrun=2)"
    )
    assert repr(ledger.settle(hold, 7, NOW)) == (
        "Settlement(outcome='already', booked=None, overrun=0)"
    )
