"""Strict holds and grants in a SQLite store: how they end, and what becomes of them after a crash.

After a crash a hold that nothing followed is a charge nobody confirmed, and is logged as one; what
was granted beyond what is spent by then counts as spent, beside the log, until it is reclaimed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from cascadeflow.budgets.records import Charge, Scope, UsageEvent
from cascadeflow.budgets.stores.events import (
    decode_spender,
    from_micros,
    micros,
    quarter_entries,
    quarter_of,
    usage_scopes,
)
from cascadeflow.budgets.stores.sqlite_sums import text_of, value_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from datetime import datetime

    from cascadeflow.budgets.records import LogEvent
    from cascadeflow.budgets.stores.protocol import ScopeRecord

__all__ = [
    "LeftOver",
    "count_unreported",
    "end_holds",
    "held_calls",
    "left_over",
    "unconfirmed_events",
    "with_left",
]

# What is granted beyond what is spent, and beyond what earlier crashes left.
_UNREPORTED: Final = (
    "FROM grants g JOIN scopes s ON s.id = g.scope_id LEFT JOIN unreported u USING (scope_id) "
    "WHERE g.up_to > s.spent + COALESCE(u.nanodollars, 0)"
)


def held_calls(connection: sqlite3.Connection) -> dict[str, int]:
    """Gives how many calls each request holds."""
    return {
        text_of(request): count
        for request, count in connection.execute(
            "SELECT request_id, COUNT(*) FROM holds GROUP BY request_id"
        )
    }


def end_holds(
    connection: sqlite3.Connection,
    held: dict[str, int],
    events: Iterable[LogEvent],
    ended: Iterable[str],
) -> None:
    """Takes away what the events take the place of, and all that the ended requests hold.

    `held` is what `held_calls` gave, and is kept true.
    """
    for event in events:
        if isinstance(event, UsageEvent) and event.request_id in held:
            held[event.request_id] -= connection.execute(
                "DELETE FROM holds WHERE id = (SELECT MIN(id) FROM holds "
                "WHERE request_id = ? AND model = ?)",
                (value_of(event.request_id), value_of(event.charge.model)),
            ).rowcount
            if not held[event.request_id]:
                del held[event.request_id]
    for request in ended:
        if held.pop(request, 0):
            connection.execute("DELETE FROM holds WHERE request_id = ?", (value_of(request),))


def unconfirmed_events(connection: sqlite3.Connection, now: datetime) -> list[UsageEvent]:
    """Gives a charge for each call that is still held, at what it is held at."""
    return [
        UsageEvent(
            # The hold's row, which is never used twice: two holds never share an event's id.
            event_id=f"{text_of(request)}:hold-{number}",
            at=from_micros(at),
            logged_at=now,
            request_id=text_of(request),
            spender=decode_spender(spender),
            charge=Charge(model=text_of(model), nanodollars=held, confirmed=False, held=held),
        )
        for number, request, at, spender, model, held in connection.execute(
            "SELECT id, request_id, at, spender, model, nanodollars FROM holds ORDER BY id"
        )
    ]


def count_unreported(connection: sqlite3.Connection) -> None:
    """Moves what is granted and not spent to what counts as spent, and ends all grants."""
    connection.execute(
        "INSERT INTO unreported (scope_id, nanodollars, at) "
        f"SELECT g.scope_id, g.up_to - s.spent - COALESCE(u.nanodollars, 0), g.at {_UNREPORTED} "
        "ON CONFLICT (scope_id) DO UPDATE SET "
        "nanodollars = nanodollars + excluded.nanodollars, at = MAX(at, excluded.at)"
    )
    connection.execute("DELETE FROM grants")


class LeftOver(NamedTuple):
    """What a dead process left of one scope; opening for writing settles it.

    Attributes:
        held: nanodollars of calls that were under way, by UTC quarter of an hour (counted from
            1970): each becomes a charge.
        unreported: nanodollars that were granted beyond these.
        granted_at: when, microseconds since 1970; 0 when nothing is unreported.
    """

    held: dict[int, int]
    unreported: int = 0
    granted_at: int = 0


def left_over(connection: sqlite3.Connection) -> dict[Scope, LeftOver]:
    """Reckons what opening for writing would make of what a dead process left, changing nothing."""
    found: dict[Scope, LeftOver] = {}
    for at, spender, model, nanodollars in connection.execute(
        "SELECT at, spender, model, nanodollars FROM holds"
    ):
        for scope in usage_scopes(decode_spender(spender), text_of(model)):
            held = found.setdefault(scope, LeftOver({})).held
            held[quarter_of(at)] = held.get(quarter_of(at), 0) + nanodollars
    for kind, name, extra, at in connection.execute(
        f"SELECT s.kind, s.name, g.up_to - s.spent - COALESCE(u.nanodollars, 0), g.at {_UNREPORTED}"
    ):
        scope = Scope(kind, text_of(name))
        held = found.get(scope, LeftOver({})).held
        beyond = extra - sum(held.values())
        if beyond > 0:
            found[scope] = LeftOver(held, beyond, at)
    return found


def with_left(record: ScopeRecord, left: LeftOver | None, since: datetime) -> ScopeRecord:
    """Gives a record as it will be once the store is opened for writing.

    Args:
        record: what the file holds now.
        left: what a dead process left of the scope, if anything.
        since: from which moment on `record` was asked for.
    """
    if left is None:
        return record
    granted_at = record.granted_at
    if left.unreported:
        granted = from_micros(left.granted_at)
        granted_at = max(granted_at or granted, granted)
    return replace(
        record,
        spent=record.spent + sum(left.held.values()) + left.unreported,
        unreported=record.unreported + left.unreported,
        by_quarter=_charged(record.by_quarter, left.held, quarter_of(micros(since))),
        granted_at=granted_at,
    )


def _charged(
    entries: tuple[tuple[datetime, int], ...], held: dict[int, int], since: int
) -> tuple[tuple[datetime, int], ...]:
    """Adds charges of quarters of an hour to `ScopeRecord.by_quarter`, as `sqlite_sums` would."""
    quarters: dict[int, list[int]] = {}
    for start, amount in entries:
        quarters.setdefault(quarter_of(micros(start)), []).append(amount)
    # Of a quarter's two entries the first is what was taken off, negative.
    sums = {
        each: (sum(amounts), -amounts[0] if len(amounts) > 1 else 0)
        for each, amounts in quarters.items()
    }
    for quarter, nanodollars in held.items():
        if quarter >= since:
            booked, taken = sums.get(quarter, (0, 0))
            sums[quarter] = booked + nanodollars, taken
        for later, (booked, taken) in sums.items():
            if later > quarter and taken:
                sums[later] = booked, taken + nanodollars
    return tuple(
        entry
        for quarter, (booked, taken) in sorted(sums.items())
        for entry in quarter_entries(quarter, booked, taken)
    )
