"""Whatever is done in whatever order, the ledger answers as its slow and obvious model does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import reference_ledger as slow
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cascadeflow import _native as native
from cascadeflow.errors import CascadeFlowError

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
NAMES = ["a", "b", "c"]

STARTS = [
    1_774_744_200_000,  # 2026-03-29 00:30 UTC: Oslo's day of 23 hours
    1_325_239_100_000,  # 2011-12-30 09:58 UTC: Apia is about to skip a day
    1_162_088_940_000,  # 2006-10-29 02:29 UTC: St John's is about to begin a day twice
    1_798_761_590_000,  # 2026-12-31 23:59:50 UTC
]


def windows(module: Any) -> list[Any]:
    window = module.Window
    return [
        window.total(),
        window.day("Europe/Oslo"),
        window.day("America/St_Johns"),
        window.week("Pacific/Apia"),
        window.month("UTC"),
        window.rolling(3_600, 6),
        window.rolling(10, 3),
    ]


PAIRS = list(zip(windows(native), windows(slow), strict=True))

small = st.integers(0, 60)
amounts = st.one_of(small, small, st.integers(0, 400))
parts = amounts | st.lists(amounts, min_size=2, max_size=2)
limit = st.sampled_from([None, 0, 60, 100, 200, 300])
limits = st.lists(
    st.tuples(st.integers(0, len(PAIRS) - 1), limit), max_size=4, unique_by=lambda pair: pair[0]
)
grants = st.sampled_from([None, None, 100, 500, 2_000])
spans = st.sampled_from([1, SECOND, 4 * SECOND, MINUTE, 11 * MINUTE, HOUR, DAY, 8 * DAY, 32 * DAY])
which = st.integers(0, 100)

Pair = tuple[int, int]
"""A handle or an id of the fast ledger, and the slow one's for the same."""


def limits_of(chosen: list[tuple[int, int | None]], side: int) -> list[tuple[Any, int | None]]:
    return [(PAIRS[window][side], limit) for window, limit in chosen]


def standing(found: Any, side: int) -> tuple[Any, ...]:
    window = next(place for place, pair in enumerate(PAIRS) if pair[side] == found.window)
    return window, found.limit, found.spent, found.held, found.starts_ms, found.resets_ms


class TwoLedgers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.fast = native.Ledger(late_seconds=HOUR // SECOND)
        self.slow = slow.Ledger(late_seconds=HOUR // SECOND)
        self.slow.rank = self.place_in_memory
        self.now = STARTS[0]
        self.scope_of: dict[int, int] = {}  # the fast ledger's handles to the slow one's
        self.hold_of: dict[int, int] = {}
        self.last_opened: dict[str, Pair] = {}

    def place_in_memory(self, model: int) -> int:
        """By which the fast ledger orders scopes: an evicted one's place is taken by another."""
        fast = next(fast for fast, slow in self.scope_of.items() if slow == model)
        return fast & 0xFFFFFF

    def a_hold(self, number: int) -> Pair:
        """The newest for 0, and so on; mostly one that is open."""
        held = [pair for pair in self.hold_of.items() if number % 5 == 4 or self.is_open(pair)]
        held = held or list(self.hold_of.items())
        return held[-1 - number % len(held)]

    def is_open(self, hold: Pair) -> bool:
        return not isinstance(
            self.both(lambda ledger, side: ledger.held_amounts(hold[side]))[0], type
        )

    def a_scope(self, number: int) -> Pair:
        """One that was opened lately; now and then one that may be evicted."""
        if number % 7 == 6:
            return list(self.scope_of.items())[number % len(self.scope_of)]
        return list(self.last_opened.values())[number % len(self.last_opened)]

    @initialize(
        start=st.sampled_from(STARTS), opened=st.tuples(*[st.tuples(limits, grants)] * len(NAMES))
    )
    def begin(self, start: int, opened: Any) -> None:
        self.now = start
        for name, (chosen, grant) in zip(NAMES, opened, strict=True):
            self.open(name, chosen, [], 0, grant)

    def both(self, call: Callable[[Any, int], Any]) -> tuple[Any, Any]:
        """Calls both; an error is an answer like another."""
        answers: list[Any] = []
        for side, ledger in enumerate((self.fast, self.slow)):
            try:
                answers.append(call(ledger, side))
            except CascadeFlowError as error:
                answers.append(type(error))
        return answers[0], answers[1]

    def same(self, call: Callable[[Any, int], Any]) -> Any:
        fast, model = self.both(call)
        assert fast == model
        return fast

    def same_refusal(self, fast: Any, model: Any) -> None:
        assert fast.kind == model.kind
        assert self.scope_of[fast.scope] == model.scope
        assert fast.requested == model.requested
        assert fast.grant_needed == model.grant_needed
        if model.standing is None:
            assert fast.standing is None
        else:
            assert standing(fast.standing, 0) == standing(model.standing, 1)

    @rule(span=spans, times=st.sampled_from([1, 1, 1, 2, 5, -1]))
    def time_goes_on(self, span: int, times: int) -> None:
        self.now += span * times

    @rule(
        name=st.sampled_from(NAMES),
        chosen=limits,
        spent=st.lists(small, max_size=4),
        more=small,
        grant=grants,
    )
    def open_anew(
        self,
        name: str,
        chosen: list[tuple[int, int | None]],
        spent: list[int],
        more: int,
        grant: int | None,
    ) -> None:
        self.open(name, chosen, spent, more, grant)

    def open(
        self,
        name: str,
        chosen: list[tuple[int, int | None]],
        spent: list[int],
        more: int,
        grant: int | None,
    ) -> None:
        fast, model = self.both(
            lambda ledger, side: ledger.open_scope(
                "user",
                name,
                limits_of(chosen, side),
                self.now,
                spent=spent,
                spent_total=max([0, *spent]) + more,  # a life is no less than a part of it
                grant=grant,
            )
        )
        if isinstance(model, type):
            assert fast is model
            return
        assert self.scope_of.setdefault(fast, model) == model
        self.same(lambda ledger, side: ledger.scope_name((fast, model)[side]))
        self.last_opened[name] = (fast, model)

    @rule(name=st.sampled_from(NAMES))
    def find(self, name: str) -> None:
        fast, model = self.both(lambda ledger, _: ledger.find_scope("user", name))
        assert (fast is None and model is None) or self.scope_of[fast] == model

    @rule(scope=which, chosen=limits)
    def set_limits(self, scope: int, chosen: list[tuple[int, int | None]]) -> None:
        pair = self.a_scope(scope)
        self.same(
            lambda ledger, side: ledger.set_limits(pair[side], limits_of(chosen, side), self.now)
        )

    @rule(scope=which, grant=grants)
    def set_grant(self, scope: int, grant: int | None) -> None:
        pair = self.a_scope(scope)
        self.same(lambda ledger, side: ledger.set_grant(pair[side], grant))

    def reserve_on(self, on: list[Pair], amount: int | list[int], lasts: int, **more: Any) -> None:
        fast, model = self.both(
            lambda ledger, side: ledger.reserve(
                [pair[side] for pair in on], amount, self.now, self.now + lasts, **more
            )
        )
        if isinstance(model, type):
            assert fast is model
        elif isinstance(model, slow.Refusal):
            self.same_refusal(fast, model)
        else:
            assert self.hold_of.setdefault(fast, model) == model

    @rule(amount=small, lasts=spans, chosen=st.permutations(NAMES), count=st.integers(1, 3))
    def reserve(self, amount: int, lasts: int, chosen: list[str], count: int) -> None:
        self.reserve_on([self.last_opened[name] for name in chosen[:count]], amount, lasts)

    @rule(
        chosen=st.lists(which, min_size=1, max_size=3),
        amount=parts,
        lasts=spans,
        key=st.none() | st.sampled_from([b"k", b"l"]),
        force=st.booleans(),
    )
    def reserve_anyhow(
        self,
        chosen: list[int],
        amount: int | list[int],
        lasts: int,
        key: bytes | None,
        *,
        force: bool,
    ) -> None:
        on = [self.a_scope(number) for number in chosen]
        handles = {fast for fast, _ in on}
        if len({fast & 0xFFFFFF for fast in handles}) < len(handles) < len(on):
            return  # one that is stale and one named twice: either may be said
        self.reserve_on(on, amount, lasts, key=key, force=force)

    @precondition(lambda self: self.hold_of)
    @rule(hold=which, amount=parts, force=st.booleans())
    def extend(self, hold: int, amount: int | list[int], *, force: bool) -> None:
        pair = self.a_hold(hold)
        fast, model = self.both(
            lambda ledger, side: ledger.extend(pair[side], amount, self.now, force=force)
        )
        if isinstance(model, slow.Refusal):
            self.same_refusal(fast, model)
        else:
            assert fast is model

    @precondition(lambda self: self.hold_of)
    @rule(hold=which, lasts=spans)
    def renew(self, hold: int, lasts: int) -> None:
        pair = self.a_hold(hold)
        self.same(lambda ledger, side: ledger.renew(pair[side], self.now + lasts))

    def same_settlement(self, call: Callable[[Any, int], Any]) -> None:
        fast, model = self.both(call)
        if isinstance(model, type):
            assert fast is model
        else:
            assert (fast.outcome, fast.booked, fast.overrun) == (
                model.outcome,
                model.booked,
                model.overrun,
            )

    @precondition(lambda self: self.hold_of)
    @rule(hold=which, actual=small | st.lists(small, min_size=1, max_size=3))
    def settle(self, hold: int, actual: int | list[int]) -> None:
        pair = self.a_hold(hold)
        self.same_settlement(lambda ledger, side: ledger.settle(pair[side], actual, self.now))

    @precondition(lambda self: self.hold_of)
    @rule(hold=which)
    def release(self, hold: int) -> None:
        pair = self.a_hold(hold)
        self.same_settlement(lambda ledger, side: ledger.release(pair[side], self.now))

    @precondition(lambda self: self.hold_of)
    @rule(later=st.sampled_from([0, MINUTE, HOUR, DAY]))
    def expire(self, later: int) -> None:
        self.now += later
        fast, model = self.both(lambda ledger, _: ledger.expire(self.now))
        assert {self.hold_of[hold] for hold in fast} == set(model)
        assert len(fast) == len(model)

    @rule(scope=which, amount=st.integers(-80, 80))
    def adjust(self, scope: int, amount: int) -> None:
        pair = self.a_scope(scope)
        self.same(lambda ledger, side: ledger.adjust(pair[side], amount, self.now))

    @rule(idle=st.sampled_from([0, MINUTE, DAY, DAY]))
    def evict(self, idle: int) -> None:
        fast, model = self.both(lambda ledger, _: ledger.evict(self.now, idle))
        assert sorted(fast) == sorted(model)

    @invariant()
    def the_same_is_open(self) -> None:
        assert {self.scope_of[scope] for scope in self.fast.scopes()} == set(self.slow.scopes())
        assert self.fast.open_holds() == self.slow.open_holds()

    @invariant()
    def every_scope_stands_the_same(self) -> None:
        for pair in self.scope_of.items():
            self.same_standing(pair)

    def same_standing(self, scope: tuple[int, int]) -> None:
        self.same(lambda ledger, side: ledger.total(scope[side]))
        self.same(
            lambda ledger, side: [
                standing(each, side) for each in ledger.standing(scope[side], self.now)
            ]
        )

    @invariant()
    def every_hold_is_the_same(self) -> None:
        for pair in self.hold_of.items():
            self.same_amounts(pair)

    def same_amounts(self, hold: tuple[int, int]) -> None:
        fast, model = self.both(lambda ledger, side: ledger.held_amounts(hold[side]))
        if isinstance(model, type):
            assert fast is model
        else:
            assert [(self.scope_of[scope], amount) for scope, amount in fast] == model


TwoLedgers.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestTwoLedgers = TwoLedgers.TestCase
