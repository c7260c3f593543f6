"""What a tracker needs of a store, and the records that pass between them.

A store is the memory that outlives the process. It *grants* the process a slice of each scope's
money before that may be spent, so that after a crash what was granted and not reported counts as
spent; it keeps the usage log; and it gives the sums back when it is opened again.

All of a store's methods block (they are called from a writer thread, or at start and end), and what
one returns from is durable: it survives the death of the process and of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from cascadeflow.models.notes import Notes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from cascadeflow.budgets.records import LogEvent, ManualEvent, Scope, Spender
    from cascadeflow.types import PeriodKind

__all__ = ["Durability", "Grant", "HeldCall", "ScopeRecord", "Store", "StrictHold"]

Durability = Literal["default", "strict"]
"""`default`: events are written in batches, and a slice of each budget is journalled before it may
be spent. `strict`: each hold is written before the provider is called, so a crash loses nothing."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a scope may have spent in all: it only grows while the process lives.

    Attributes:
        scope: whose money.
        up_to: nanodollars, as a sum over the scope's whole life (settled and held).
        at: when it was granted, UTC: what is later found unreported counts in every period that
            has not ended by then.
    """

    scope: Scope
    up_to: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCall:
    """One call that a strict hold covers, and nanodollars held for it."""

    model: str
    nanodollars: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StrictHold:
    """A hold that is on disk before its provider is called (`durability="strict"`).

    A hold that no usage event and no `end_hold` followed counts as spent when the store is opened
    again: an unconfirmed charge for each of its calls is logged then.
    """

    request_id: str
    at: datetime
    spender: Spender
    calls: tuple[HeldCall, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeRecord:
    """What a store knows of one scope when it is opened.

    Attributes:
        scope: whose money.
        spent: nanodollars over the scope's whole life, what was granted and never reported
            included.
        unreported: the part of it that was granted, never reported, and so counts as spent.
        by_quarter: nanodollars by UTC quarter of an hour (its start), since the moment asked for,
            oldest first: the calendar periods of every time zone are made of them. A quarter in
            which more was taken off by hand than had been spent in it has two entries: first what
            was taken off beyond that (negative), then what counts after it; their sum is what was
            booked. A period's spending is what one gets by adding the entries in order, at zero
            after each that leads below it: exactly as event by event where events were logged in
            the order of their quarters, and otherwise never less than was spent since the last time
            something was taken off. `unreported` is not in it: it belongs to every period that had
            not ended at `granted_at`.
        granted_at: when the newest of the unreported grants was made; `None` without one.
        limits: limits set by hand (`ManualEvent`s of kind `limit`) that hold over configured ones:
            period to nanodollars, `None` for "no limit".
    """

    scope: Scope
    spent: int = 0
    unreported: int = 0
    by_quarter: tuple[tuple[datetime, int], ...] = ()
    granted_at: datetime | None = None
    limits: tuple[tuple[PeriodKind, int | None], ...] = field(default=())


class Store(Notes, Protocol):
    """A store of record; it keeps notes too, of what is learned."""

    def scopes(self, *, since: datetime) -> Iterator[ScopeRecord]:
        """Every scope that has spending since then, a total, or a limit set by hand."""

    def scope(self, scope: Scope, *, since: datetime) -> ScopeRecord:
        """One scope; an empty record when nothing is known of it."""

    def grant(self, grants: Sequence[Grant]) -> None:
        """Journals what may be spent; durable when it returns."""

    def hold(self, holds: Sequence[StrictHold]) -> None:
        """Journals holds; durable when it returns.

        A second hold of the same request adds its calls to the first's.
        """

    def append(self, events: Sequence[LogEvent], *, ended: Iterable[str] = ()) -> None:
        """Appends to the log, in one transaction with the sums; durable when it returns.

        An event whose id is in the log already is passed over. A usage event takes the place of one
        held call of its request and model; `ended` names the requests whose strict holds are over,
        with whatever of them is left.
        """

    def report(self, spent: Iterable[tuple[Scope, int]]) -> None:
        """Shrinks grants to what was truly spent (a sum over the scope's life, holds included).

        For scopes that are put aside while the process goes on; `close` does the same at the end.
        """

    def reclaim(self, scope: Scope, *, actor: str, reason: str, spent: int = 0) -> ManualEvent:
        """Settles what a crash left granted and not reported: it counts as spent no longer.

        `spent` nanodollars of it were truly spent, and are booked by the event that is logged.
        """

    def events(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[LogEvent]:
        """The log by `at`, oldest first, half-open; what is logged meanwhile is left out."""

    def close(self, spent: Iterable[tuple[Scope, int]] = ()) -> None:
        """Closes: each scope's grant shrinks to what was truly spent (a sum over its life)."""
