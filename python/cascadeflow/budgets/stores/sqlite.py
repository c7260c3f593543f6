"""A store in one SQLite file: the usage log, its sums, grants and holds, and notes.

The file is in WAL mode and every commit is on disk before it is acknowledged. One process writes
it at a time; others may read it meanwhile. What a file holds is described in `sqlite_schema`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final, Self

from cascadeflow.budgets.audit import reclaimed
from cascadeflow.budgets.stores.chain import Chain, ChainRow, Head
from cascadeflow.budgets.stores.events import (
    check_amount,
    decode,
    encode,
    encode_spender,
    micros,
)
from cascadeflow.budgets.stores.notes import NotesInSqlite
from cascadeflow.budgets.stores.protocol import ScopeRecord
from cascadeflow.budgets.stores.sqlite_file import (
    FileLock,
    connections_here,
    database_path,
    explain,
    lock_path,
    refuse_foreign,
    writer_is_alive,
)
from cascadeflow.budgets.stores.sqlite_holds import (
    LeftOver,
    count_unreported,
    end_holds,
    held_calls,
    left_over,
    unconfirmed_events,
    with_left,
)
from cascadeflow.budgets.stores.sqlite_schema import connect, create, migrate
from cascadeflow.budgets.stores.sqlite_sums import (
    ScopeIds,
    Tally,
    differences,
    read_scopes,
    rebuild,
    text_of,
    value_of,
)
from cascadeflow.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from cascadeflow.budgets.records import LogEvent, ManualEvent, Scope
    from cascadeflow.budgets.stores.protocol import Grant, StrictHold
    from cascadeflow.clock import Clock

__all__ = ["SqliteStore"]

_PAGE: Final = 1000
_ASKED_AT_ONCE: Final = 500
_FOREVER: Final = 2**63 - 1


class SqliteStore(NotesInSqlite):
    """A store of record in one SQLite file; see `budgets.stores.protocol.Store`.

    Made by `open_store`. Any thread may call it; calls wait for one another. Iterators read a page
    at a time and hold nothing open between two, and show the log as it was when they began.
    """

    def __init__(self, url: str, *, clock: Clock, chain: Chain, read_only: bool = False) -> None:
        """Opens the file, or makes it.

        What a crash left is settled now: holds that nothing followed are logged as unconfirmed
        charges, and what was granted and not reported counts as spent.

        Raises:
            ConfigurationError: the URL names no file.
            StoreError: the file is no store, is damaged or in use, or cannot be written.
        """
        self.path: Final[Path] = database_path(url)
        self.read_only: Final = read_only
        self._clock: Final = clock
        self._chain: Final = chain
        self._mutex = threading.RLock()
        self._pid = os.getpid()
        self._lock: FileLock | None = None
        self._connection: sqlite3.Connection | None = None
        self._head: Head | None = None
        self._scope_ids = ScopeIds()
        self._open_holds: dict[str, int] | None = None
        self._left: dict[Scope, LeftOver] = {}
        self._key_fits = False
        exists = refuse_foreign(self.path)
        if read_only and not exists:
            raise StoreError(f"{self.path} is not there: nothing was ever stored in it")
        if not read_only:
            self._lock = FileLock(self.path)
        try:
            if self._lock is not None:
                self._make_or_inspect(self._lock.noted_rows, exists=exists)
            connections_here.enter(self.path)
            try:
                self._connection = connect(self.path, read_only=read_only)
                self._begin()
            except BaseException:
                self._shut()
                raise
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

    def _make_or_inspect(self, noted: int, *, exists: bool) -> None:
        """Makes the file, or sees whether it still has every row that was acknowledged.

        It looks through a reading connection, which repairs nothing in a file that is refused.
        """
        rows = 0
        if exists:
            with (
                connections_here.during(self.path),
                closing(connect(self.path, read_only=True)) as connection,
                self._explained("reading it"),
            ):
                rows = _head_in(connection, self.path).rows
        if rows < noted:
            raise StoreError(
                f"{self.path} holds {rows} rows of the usage log, but {noted} had been written: "
                "the file or its -wal was cut, lost, or replaced by an older copy. Restore the "
                f"newest; to go on with what is there, delete {lock_path(self.path).name}"
            )
        if not exists:
            create(self.path, self._chain.fingerprint, self._chain.genesis.hash)

    def _begin(self) -> None:
        with self._explained("opening it"):
            connection = self._live()
            changed = migrate(connection, self.path, read_only=self.read_only)
            self._head = _head_in(connection, self.path)
            fingerprint, summed_rows, summed_global = connection.execute(
                "SELECT key_fingerprint, summed_rows, summed_global FROM state"
            ).fetchone()
            self._check_key(fingerprint)
            rows = self._head.rows
            if self.read_only:
                if not writer_is_alive(self.path):
                    self._left = left_over(connection)
                return
            (last,) = connection.execute("SELECT MAX(number) FROM log").fetchone()
            spent = connection.execute(
                "SELECT spent FROM scopes WHERE kind = 'global' AND name = ''"
            ).fetchone()
            if (last or 0) != rows:
                # Never reckoned anew from a log with rows missing: that would free what was spent.
                raise StoreError(
                    f"{self.path}: its usage log was changed by another program (it ends at row "
                    f"{last or 0}, its head is row {rows}). Run `cascadeflow audit verify` and "
                    "restore a backup, or keep the file aside and begin a new one"
                )
            if changed or summed_rows != rows or summed_global != (spent[0] if spent else 0):
                self.rebuild_sums()
            self._recover()

    def _check_key(self, fingerprint: bytes) -> None:
        self._key_fits = fingerprint == self._chain.fingerprint
        if self._key_fits:
            return
        if not self._chain.keyed:
            if self.read_only:
                return  # everything but `audit.verify` can do without
            raise StoreError(
                f"{self.path} has a keyed audit chain: set CASCADEFLOW_AUDIT_KEY to its key"
            )
        raise StoreError(
            f"{self.path} has an audit chain with another key: set CASCADEFLOW_AUDIT_KEY to its own"
            if fingerprint
            else f"{self.path} was begun without an audit key, and a chain keeps what it began "
            "with: unset CASCADEFLOW_AUDIT_KEY, or begin a new file"
        )

    def _recover(self) -> None:
        """Settles what the last process left open, in one transaction."""
        with self._transaction("settling what a crash left") as connection:
            events = unconfirmed_events(connection, self._clock.now())
            self._write(connection, [(event, encode(event)) for event in events])
            connection.execute("DELETE FROM holds")
            self._open_holds = {}
            count_unreported(connection)

    # What is known

    def scopes(self, *, since: datetime) -> Iterator[ScopeRecord]:
        """Every scope that has spending since then, a total, or a limit set by hand."""
        left = dict(self._left)
        last = 0
        while True:
            with self._reading("reading its sums") as connection:
                page, last = read_scopes(connection, since, after=last, limit=_PAGE)
            for record in page:
                yield with_left(record, left.pop(record.scope, None), since)
            if not last:
                break
        for scope, amounts in left.items():
            yield with_left(ScopeRecord(scope=scope), amounts, since)

    def scope(self, scope: Scope, *, since: datetime) -> ScopeRecord:
        """One scope; an empty record when nothing is known of it."""
        with self._reading("reading its sums") as connection:
            page, _ = read_scopes(connection, since, scope=scope)
        record = page[0] if page else ScopeRecord(scope=scope)
        return with_left(record, self._left.get(scope), since)

    def events(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[LogEvent]:
        """The log by `at`, oldest first, half-open; as it was when the first was asked for."""
        at = -_FOREVER if since is None else micros(since)
        end = _FOREVER if until is None else micros(until)
        number, newest = 0, self.head().rows
        while True:
            page = self._page_of_events(at, number, end, newest)
            for _, _, body in page:
                yield decode(body)
            if len(page) < _PAGE:
                return
            at, number, _ = page[-1]

    def _page_of_events(
        self, at: int, number: int, end: int, newest: int
    ) -> list[tuple[int, int, str]]:
        with self._reading("reading its log") as connection:
            # The rest of that microsecond, then what is later: two searches in the index, where a
            # comparison of pairs would read all of a microsecond's rows again.
            page = connection.execute(
                "SELECT at, number, body FROM log WHERE at = ? AND at < ? AND number > ? "
                "AND number <= ? ORDER BY number LIMIT ?",
                (at, end, number, newest, _PAGE),
            ).fetchall()
            if len(page) < _PAGE:
                page += connection.execute(
                    "SELECT at, number, body FROM log WHERE at > ? AND at < ? AND number <= ? "
                    "ORDER BY at, number LIMIT ?",
                    (at, end, newest, _PAGE - len(page)),
                ).fetchall()
            return page

    # What is written

    def grant(self, grants: Sequence[Grant]) -> None:
        """Journals what may be spent; durable when it returns."""
        rows = [
            (_pair(each.scope), check_amount(each.up_to, what="a grant"), micros(each.at))
            for each in grants
        ]
        with self._transaction("granting") as connection:
            connection.executemany(
                "INSERT INTO grants (scope_id, up_to, at) VALUES (?, ?, ?) ON CONFLICT (scope_id) "
                "DO UPDATE SET up_to = MAX(up_to, excluded.up_to), at = MAX(at, excluded.at)",
                [(self._scope_ids.of(connection, scope), up_to, at) for scope, up_to, at in rows],
            )

    def hold(self, holds: Sequence[StrictHold]) -> None:
        """Journals holds; durable when it returns.

        A second hold of the same request adds its calls to the first's.
        """
        rows = [
            (
                value_of(each.request_id),
                micros(each.at),
                encode_spender(each.spender),
                value_of(call.model),
                check_amount(call.nanodollars, what="a hold"),
            )
            for each in holds
            for call in each.calls
        ]
        with self._transaction("holding") as connection:
            held = self._held(connection)
            connection.executemany(
                "INSERT INTO holds (request_id, at, spender, model, nanodollars) "
                "VALUES (?, ?, ?, ?, ?)",
                rows,
            )
            for each in holds:
                held[each.request_id] = held.get(each.request_id, 0) + len(each.calls)

    def append(self, events: Sequence[LogEvent], *, ended: Iterable[str] = ()) -> None:
        """Appends to the log, in one transaction with the sums; durable when it returns.

        An event whose id is in the log already is passed over. A usage event takes the place of
        one held call of its request and model; `ended` ends whatever else those requests hold.
        """
        encoded = [(event, encode(event)) for event in events]
        with self._transaction("writing its log") as connection:
            fresh = self._write(connection, encoded)
            if held := self._held(connection):
                end_holds(connection, held, fresh, ended)

    def _held(self, connection: sqlite3.Connection) -> dict[str, int]:
        """How many calls each request holds; most stores hold none, and ask the file nothing."""
        if self._open_holds is None:
            self._open_holds = held_calls(connection)
        return self._open_holds

    def _write(
        self, connection: sqlite3.Connection, encoded: Sequence[tuple[LogEvent, str]]
    ) -> list[LogEvent]:
        """Appends what is new, and adds it to the sums; gives it."""
        known = _known_ids(connection, [value_of(event.event_id) for event, _ in encoded])
        number, digest = self._current_head(connection)
        rows, fresh, tally = [], [], Tally()
        for event, body in encoded:
            event_id = value_of(event.event_id)
            if event_id in known:
                continue
            known.add(event_id)
            number += 1
            digest = self._chain.link(digest, body)
            at = micros(event.at)
            rows.append((number, event_id, at, body, digest))
            fresh.append(event)
            tally.add(event, at)
        if rows:
            connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?)", rows)
            tally.write(connection, self._scope_ids)
            connection.execute(
                "UPDATE state SET rows = ?, hash = ?, summed_rows = ?, "
                "summed_global = summed_global + ?",
                (number, digest, number, tally.total),
            )
            self._head = Head(number, digest)
        return fresh

    def _current_head(self, connection: sqlite3.Connection) -> tuple[int, bytes]:
        if self._head is None:  # a transaction failed
            self._head = _head_in(connection, self.path)
        return self._head.rows, self._head.hash

    def report(self, spent: Iterable[tuple[Scope, int]]) -> None:
        """Shrinks grants to what was truly spent (a sum over the scope's life, holds included).

        What lies beyond what the log knows stays granted, and counts as spent after a crash.
        """
        with self._transaction("reporting what was spent") as connection:
            now = micros(self._clock.now())
            for scope, total in spent:
                scope_id = self._scope_ids.of(connection, _pair(scope))
                (known,) = connection.execute(
                    "SELECT s.spent + COALESCE(u.nanodollars, 0) FROM scopes s LEFT JOIN "
                    "unreported u ON u.scope_id = s.id WHERE s.id = ?",
                    (scope_id,),
                ).fetchone()
                if total <= known:
                    connection.execute("DELETE FROM grants WHERE scope_id = ?", (scope_id,))
                else:
                    connection.execute(
                        "INSERT INTO grants (scope_id, up_to, at) VALUES (?, ?, ?) "
                        "ON CONFLICT (scope_id) DO UPDATE SET up_to = excluded.up_to",
                        (scope_id, check_amount(total, what="what was spent"), now),
                    )

    def reclaim(self, scope: Scope, *, actor: str, reason: str, spent: int = 0) -> ManualEvent:
        """Settles what a crash left granted and not reported: it counts as spent no longer.

        Args:
            scope: whose.
            actor: who settles it.
            reason: why.
            spent: nanodollars of it that were truly spent; they are booked now.

        Returns:
            The event that was logged: its `nanodollars` are `spent`, its `previous` is what counted
            as spent until now, its `unreported` the part of it that is settled.

        Raises:
            InvalidRequestError: there is no actor or no reason.
            StoreError: nothing of the scope is unreported, or less than `spent`.
        """
        with self._transaction("settling what was not reported") as connection:
            scope_id = self._scope_ids.of(connection, _pair(scope))
            logged, unreported = connection.execute(
                "SELECT s.spent, COALESCE(u.nanodollars, 0) FROM scopes s LEFT JOIN unreported u "
                "ON u.scope_id = s.id WHERE s.id = ?",
                (scope_id,),
            ).fetchone()
            event = reclaimed(
                scope,
                previous=logged + unreported,
                unreported=unreported,
                spent=spent,
                actor=actor,
                reason=reason,
                at=self._clock.now(),
            )
            self._write(connection, [(event, encode(event))])
            connection.execute("DELETE FROM unreported WHERE scope_id = ?", (scope_id,))
            # Grants stay: the process that has them may still spend up to them.
        return event

    def rebuild_sums(self) -> None:
        """Reckons all sums and limits anew from the log, in one transaction."""
        with self._transaction("reckoning its sums anew") as connection:
            self._scope_ids.clear()
            rebuild(connection)

    # The chain

    @property
    def chain(self) -> Chain:
        """How its rows are hashed."""
        return self._chain

    @property
    def key_fits(self) -> bool:
        """Whether `chain` has the key that the log was begun with."""
        return self._key_fits

    def head(self) -> Head:
        """What it says its newest row is."""
        with self._reading("reading its head") as connection:
            return _head_in(connection, self.path)

    def rows(self) -> Iterator[ChainRow]:
        """The log as it is kept, in the order it was written."""
        last = -_FOREVER - 1
        while True:
            with self._reading("reading its log") as connection:
                page = connection.execute(
                    "SELECT number, event_id, at, CAST(body AS BLOB), hash FROM log "
                    "WHERE number > ? ORDER BY number LIMIT ?",
                    (last, _PAGE),
                ).fetchall()
            for number, event_id, at, body, digest in page:
                text = body.decode(errors="surrogateescape")
                yield ChainRow(number, text_of(event_id), at, text, digest)
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def check_beside_chain(self) -> str | None:
        """Says what is wrong beside the chain: damage, or sums that are not those of the log."""
        with (
            connections_here.during(self.path),
            closing(connect(self.path, read_only=True)) as connection,
            self._explained("checking it"),
        ):
            return differences(connection)

    # Opening and closing

    def close(self, spent: Iterable[tuple[Scope, int]] = ()) -> None:
        """Closes: each scope's grant shrinks to what was truly spent (a sum over its life).

        Closing twice is closing once. When the grants cannot be written the store is closed all
        the same, and what they hold counts as spent when it is opened again.
        """
        self._check_process()
        with self._mutex:
            if self._connection is None:
                return
            try:
                if not self.read_only:
                    self.report(spent)
            finally:
                self._shut()
                if self._lock is not None:
                    self._lock.release()

    def _shut(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        connections_here.leave(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_process(self) -> None:
        # Before waiting for the mutex, which a thread of the parent may have held at the fork.
        if os.getpid() != self._pid:
            raise StoreError(
                f"{self.path} was opened by process {self._pid}, which forked this one: a store "
                "belongs to the process that opened it. Open it after forking"
            )

    def _live(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"{self.path} is closed: open it again")
        return self._connection

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise explain(error, self.path, doing) from None

    @contextmanager
    def _reading(self, doing: str) -> Iterator[sqlite3.Connection]:
        self._check_process()
        with self._mutex, self._explained(doing):
            yield self._live()

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        """All of the block or none of it; on disk when it ends."""
        with self._reading(doing) as connection:
            if self.read_only:
                raise StoreError(f"{self.path} is open for reading only: {doing} is not possible")
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # What is remembered of the file may be wrong now: it is read again when needed.
                self._head = None
                self._open_holds = None
                self._scope_ids.clear()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            head, lock = self._head, self._lock
            if head is not None and lock is not None and head.rows != lock.noted_rows:
                lock.note(head.rows)


def _pair(scope: Scope) -> tuple[str, str]:
    return scope.kind, scope.name


def _head_in(connection: sqlite3.Connection, path: Path) -> Head:
    row = connection.execute("SELECT rows, hash FROM state").fetchone()
    if row is None or not isinstance(row[0], int) or not isinstance(row[1], bytes):
        raise StoreError(f"{path} is damaged: its head is gone. Restore it from a backup")
    return Head(*row)


def _known_ids(
    connection: sqlite3.Connection, event_ids: Sequence[str | bytes]
) -> set[str | bytes]:
    known: set[str | bytes] = set()
    for start in range(0, len(event_ids), _ASKED_AT_ONCE):
        asked = event_ids[start : start + _ASKED_AT_ONCE]
        marks = ",".join("?" * len(asked))
        known.update(
            each
            for (each,) in connection.execute(
                f"SELECT event_id FROM log WHERE event_id IN ({marks})",  # noqa: S608 - marks only
                asked,
            )
        )
    return known
