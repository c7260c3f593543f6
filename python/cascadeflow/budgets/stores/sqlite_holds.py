"""Strict holds and grants in a SQLite store: how they end, and what becomes of them after a crash.

After a crash a hold that nothing followed is a charge nobody confirmed, and is logged as one; what
was granted beyond what is spent by then counts as spent, beside the log, until it is reclaimed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cascadeflow.budgets.records import Charge, Scope, UsageEvent
from cascadeflow.budgets.stores.events import decode_spender, from_micros, usage_scopes
from cascadeflow.budgets.stores.sqlite_sums import text_of, value_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from datetime import datetime

    from cascadeflow.budgets.records import LogEvent

__all__ = ["count_unreported", "end_holds", "held_calls", "left_over", "unconfirmed_events"]

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


def left_over(connection: sqlite3.Connection) -> dict[Scope, tuple[int, int]]:
    """Reckons what opening for writing would make of what a dead process left, changing nothing.

    Returns:
        By scope: nanodollars that will count as spent besides what counts already, and the time of
        the newest grant or hold among them, microseconds since 1970.
    """
    found: dict[Scope, tuple[int, int]] = {}
    for at, spender, model, nanodollars in connection.execute(
        "SELECT at, spender, model, nanodollars FROM holds"
    ):
        for scope in usage_scopes(decode_spender(spender), text_of(model)):
            before, latest = found.get(scope, (0, at))
            found[scope] = before + nanodollars, max(at, latest)
    for kind, name, extra, at in connection.execute(
        f"SELECT s.kind, s.name, g.up_to - s.spent - COALESCE(u.nanodollars, 0), g.at {_UNREPORTED}"
    ):
        scope = Scope(kind, text_of(name))
        held, latest = found.get(scope, (0, at))
        found[scope] = max(held, extra), max(at, latest)
    return found
