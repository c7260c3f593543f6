"""The sums of a SQLite store: per scope over its life and by quarter of an hour, and its limits.

They are reckoned from the log and nothing else: with each commit what its events add, and from the
whole log again when that is asked for or when their counts disagree.

A period's spending never falls below zero, whatever is taken off by hand: what comes afterwards
counts in full. One sum for each quarter of an hour could not tell what came afterwards, so beside
the sum is kept how far below zero it has been (`taken`, positive). A quarter that began with x then
ends with max(0, x - taken) + (sum + taken), just as event by event. A charge of an earlier quarter
that is logged later came afterwards too: the later quarters' `taken` grows by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from cascadeflow.budgets.records import Scope
from cascadeflow.budgets.stores.events import (
    booking,
    decode,
    from_micros,
    limit_changes,
    micros,
    quarter_entries,
    quarter_of,
)
from cascadeflow.budgets.stores.protocol import ScopeRecord
from cascadeflow.budgets.stores.sqlite_schema import make_summary_tables

if TYPE_CHECKING:
    import sqlite3
    from datetime import datetime

    from cascadeflow.budgets.records import LogEvent
    from cascadeflow.types import PeriodKind

__all__ = [
    "ScopeIds",
    "Tally",
    "differences",
    "read_scopes",
    "rebuild",
    "text_of",
    "value_of",
]

# By quarter of an hour, scope by scope.
_Quarters: TypeAlias = dict[int, dict[tuple[str, str], int]]

_GLOBAL: Final = ("global", "")
_REMEMBERED: Final = 65_536
_CHUNK: Final = 2000


def value_of(text: str) -> str | bytes:
    """Gives what a column holds of a text: itself, or bytes where UTF-8 cannot carry it."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON can carry it
        return text.encode(errors="surrogatepass")
    return text


def text_of(value: object) -> str:
    """Gives the text back that `value_of` was given."""
    return value.decode(errors="surrogatepass") if isinstance(value, bytes) else str(value)


class ScopeIds:
    """The rows of the scopes that were used of late; forget them when a transaction fails."""

    __slots__ = ("_ids", "_place")

    def __init__(self, place: str = "main") -> None:
        self._place = place
        self._ids: dict[tuple[str, str], int] = {}

    def clear(self) -> None:
        """Forgets all."""
        self._ids.clear()

    def of(self, connection: sqlite3.Connection, scope: tuple[str, str]) -> int:
        """Gives the row of a scope (its kind and name), made if there is none."""
        known = self._ids.get(scope)
        if known is not None:
            return known
        named = (scope[0], value_of(scope[1]))
        row = connection.execute(
            f"SELECT id FROM {self._place}.scopes WHERE kind = ? AND name = ?",  # noqa: S608 - ours
            named,
        ).fetchone()
        if row is None:
            found = connection.execute(
                f"INSERT INTO {self._place}.scopes (kind, name) VALUES (?, ?)",  # noqa: S608 - ours
                named,
            ).lastrowid
        else:
            found = row[0]
        assert found is not None  # noqa: S101 - an INSERT has a row
        if len(self._ids) >= _REMEMBERED:
            self._ids.clear()
        self._ids[scope] = found
        return found


class Tally:
    """What a batch of events adds to the sums.

    Attributes:
        total: nanodollars it adds to the global account.
    """

    __slots__ = ("_limits", "_quarters", "_steps", "total")

    def __init__(self) -> None:
        self._quarters: _Quarters = {}
        # Charges may be added up in any order among themselves, but not with what takes off.
        self._steps: list[_Quarters] = [self._quarters]
        self._limits: dict[tuple[tuple[str, str], PeriodKind], int | None] = {}
        self.total = 0

    def add(self, event: LogEvent, at: int) -> None:
        """Adds one event of that time, microseconds since 1970."""
        booked = booking(event, at)
        if booked is not None:
            scopes, quarter, nanodollars = booked
            if nanodollars < 0:
                self._quarters = {}
                self._steps += ({quarter: dict.fromkeys(scopes, nanodollars)}, self._quarters)
            else:
                sums = self._quarters.get(quarter)
                if sums is None:
                    sums = self._quarters[quarter] = {}
                for pair in scopes:
                    sums[pair] = sums.get(pair, 0) + nanodollars
            if scopes[0] == _GLOBAL:
                self.total += nanodollars
        for scope, period, limit in limit_changes(event):
            self._limits[(scope.kind, scope.name), period] = limit

    def write(self, connection: sqlite3.Connection, ids: ScopeIds, *, place: str = "main") -> None:
        """Adds it all to the tables."""
        lives: dict[int, int] = {}
        for number, step in enumerate(self._steps):
            rows = []
            for quarter, sums in step.items():
                for scope, nanodollars in sums.items():
                    scope_id = ids.of(connection, scope)
                    lives[scope_id] = lives.get(scope_id, 0) + nanodollars
                    rows.append((scope_id, quarter, nanodollars))
            _add_to_quarters(connection, rows, place, takes_off=number % 2 == 1)
        connection.executemany(
            f"UPDATE {place}.scopes SET spent = spent + ? WHERE id = ?",  # noqa: S608 - ours
            [(nanodollars, scope_id) for scope_id, nanodollars in lives.items()],
        )
        connection.executemany(
            f"INSERT INTO {place}.limits VALUES (?, ?, ?) ON CONFLICT (scope_id, period) "  # noqa: S608 - ours
            "DO UPDATE SET nanodollars = excluded.nanodollars",
            [
                (ids.of(connection, scope), period, limit)
                for (scope, period), limit in self._limits.items()
            ],
        )


def _add_to_quarters(
    connection: sqlite3.Connection,
    rows: list[tuple[int, int, int]],
    place: str,
    *,
    takes_off: bool,
) -> None:
    """Adds to the sums of scopes (their rows) in quarters: charges, or what is taken off."""
    connection.executemany(
        f"INSERT INTO {place}.sums VALUES (?, ?, ?) ON CONFLICT (scope_id, quarter) "  # noqa: S608 - ours
        "DO UPDATE SET nanodollars = nanodollars + excluded.nanodollars",
        rows,
    )
    if takes_off:
        connection.executemany(
            f"INSERT INTO {place}.taken SELECT scope_id, quarter, -nanodollars FROM {place}.sums "  # noqa: S608 - ours
            "WHERE scope_id = ? AND quarter = ? AND nanodollars < 0 "
            "ON CONFLICT (scope_id, quarter) "
            "DO UPDATE SET nanodollars = MAX(nanodollars, excluded.nanodollars)",
            [row[:2] for row in rows],
        )
    elif connection.execute(f"SELECT EXISTS (SELECT 1 FROM {place}.taken)").fetchone()[0]:  # noqa: S608 - ours
        connection.executemany(
            f"UPDATE {place}.taken SET nanodollars = nanodollars + ? "  # noqa: S608 - ours
            "WHERE scope_id = ? AND quarter > ?",
            [(nanodollars, scope_id, quarter) for scope_id, quarter, nanodollars in rows],
        )


def rebuild(connection: sqlite3.Connection, *, place: str = "main") -> None:
    """Reckons the sums from the log; into the tables, or into temporary ones (`temp`).

    The caller has begun the transaction.
    """
    ids = ScopeIds(place)
    if place == "temp":
        make_summary_tables(connection)
    else:
        connection.execute("UPDATE main.scopes SET spent = 0")
        connection.execute("DELETE FROM main.sums")
        connection.execute("DELETE FROM main.taken")
        connection.execute("DELETE FROM main.limits")
    total = 0
    log = connection.execute("SELECT body FROM main.log ORDER BY number")
    while page := log.fetchmany(_CHUNK):
        tally = Tally()
        for (body,) in page:
            event = decode(body)
            tally.add(event, micros(event.at))
        tally.write(connection, ids, place=place)
        total += tally.total
    if place == "main":
        connection.execute("UPDATE state SET summed_rows = rows, summed_global = ?", (total,))


_COMPARED: Final = (
    ("life's sum", "SELECT kind, name, '', spent FROM {0}.scopes WHERE spent <> 0"),
    (
        "sum of a quarter of an hour",
        "SELECT kind, name, quarter, nanodollars FROM {0}.sums JOIN {0}.scopes ON id = scope_id",
    ),
    (
        "amount taken off in a quarter of an hour",
        "SELECT kind, name, quarter, nanodollars FROM {0}.taken JOIN {0}.scopes ON id = scope_id",
    ),
    (
        "limit",
        "SELECT kind, name, period, nanodollars FROM {0}.limits JOIN {0}.scopes ON id = scope_id",
    ),
)


def differences(connection: sqlite3.Connection) -> str | None:
    """Says where the file is damaged, or its sums disagree with the log; `None` when nowhere.

    The connection is the caller's alone.
    """
    connection.execute("BEGIN")  # one view of the file throughout
    (damage,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if damage != "ok":
        return f"the file is damaged ({damage}): restore it from a backup"
    rebuild(connection, place="temp")
    for what, query in _COMPARED:
        kept, reckoned = query.format("main"), query.format("temp")
        for one, other in ((kept, reckoned), (reckoned, kept)):
            row = connection.execute(f"{one} EXCEPT {other} LIMIT 1").fetchone()
            if row is not None:
                scope = Scope(row[0], text_of(row[1]))
                return f"the {what} of {scope} is not what the log adds up to: reckon it anew"
    return None


def read_scopes(
    connection: sqlite3.Connection,
    since: datetime,
    *,
    scope: Scope | None = None,
    after: int = 0,
    limit: int = 1,
) -> tuple[list[ScopeRecord], int]:
    """Reads one scope, or a page of them.

    Args:
        connection: whose.
        since: quarters of an hour that end before it are left out.
        scope: the one; `None` for a page.
        after: the row that the page before ended with.
        limit: rows in a page.

    Returns:
        What has a sum, anything unreported or a limit, and the last row read; 0 at the end.
    """
    chosen = "id > ?" if scope is None else "kind = ? AND name = ?"
    values = (after, limit) if scope is None else (scope.kind, value_of(scope.name), 1)
    page = connection.execute(
        "SELECT id, kind, name, spent, COALESCE(u.nanodollars, 0), u.at FROM scopes "  # noqa: S608 - ours
        f"LEFT JOIN unreported u ON u.scope_id = id WHERE {chosen} ORDER BY id LIMIT ?",
        values,
    ).fetchall()
    if not page:
        return [], 0
    first, last = page[0][0], page[-1][0]
    # One search a scope, whatever it spent before; the order of the names is the order of the ids.
    within = (first, last, quarter_of(micros(since)))
    quarters: dict[int, list[tuple[datetime, int]]] = {}
    for scope_id, quarter, nanodollars, taken in connection.execute(
        "SELECT q.scope_id, q.quarter, q.nanodollars, t.nanodollars FROM scopes s "
        "CROSS JOIN sums q ON q.scope_id = s.id LEFT JOIN taken t ON t.scope_id = q.scope_id "
        "AND t.quarter = q.quarter WHERE s.id BETWEEN ? AND ? AND q.quarter >= ? "
        "ORDER BY q.scope_id, q.quarter",
        within,
    ):
        quarters.setdefault(scope_id, []).extend(quarter_entries(quarter, nanodollars, taken or 0))
    limits: dict[int, list[tuple[PeriodKind, int | None]]] = {}
    for scope_id, period, nanodollars in connection.execute(
        "SELECT scope_id, period, nanodollars FROM limits WHERE scope_id BETWEEN ? AND ?",
        (first, last),
    ):
        limits.setdefault(scope_id, []).append((period, nanodollars))
    records = [
        ScopeRecord(
            scope=Scope(kind, text_of(name)),
            spent=spent + unreported,
            unreported=unreported,
            by_quarter=tuple(quarters.get(scope_id, ())),
            granted_at=None if at is None else from_micros(at),
            limits=tuple(limits.get(scope_id, ())),
        )
        for scope_id, kind, name, spent, unreported, at in page
        if scope is not None or spent or unreported or scope_id in quarters or scope_id in limits
    ]
    return records, last if len(page) == limit else 0
