"""Experiments in a SQLite file of their own, which several processes add to.

Users are in it as hashes alone. Every addition is one transaction, written through to the disk: a
process that is killed loses what it had not yet handed over, and never half of something.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.experiments.book import Book, UnitSums
from cascadeflow.experiments.store import check_max_users, no_experiment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from cascadeflow.experiments.book import Pending, Stop
    from cascadeflow.experiments.store import Review
    from cascadeflow.types import JsonObject

__all__ = ["SqliteExperiments", "path_of"]

APPLICATION_ID: Final = 0x43464C58
"""`CFLX`, in the database's header: what tells experiments from any other SQLite file."""

SCHEMA: Final = 1
_PREFIX: Final = "sqlite:///"
_BUSY_SECONDS: Final = 10.0
_LARGEST_FILE: Final = 200_000
_AT_ONCE: Final = 500
"""Users read by one statement."""

_TABLES: Final = (
    "create table experiments (name text not null primary key, body text not null) without rowid",
    (
        "create table units (experiment text not null, unit blob not null, body text not null, "
        "primary key (experiment, unit)) without rowid"
    ),
)

_abandoned: list[Any] = []
"""Connections of a parent process: closing them here would meddle with its locks."""


def path_of(url: str) -> Path:
    """Gives the file that `sqlite:///relative.db` or `sqlite:////absolute.db` names.

    Raises:
        ConfigurationError: it names none.
    """
    name = url.removeprefix(_PREFIX)
    if not url.startswith(_PREFIX) or not name or name == ":memory:" or "?" in name:
        raise ConfigurationError(
            'a store of experiments is "memory", "sqlite:///relative/experiments.db" or '
            f'"sqlite:////absolute/experiments.db", with no options behind it; not {url!r:.200}'
        )
    return Path(name)


class SqliteExperiments:
    """Keeps experiments in a file. Several threads and processes may use it at once.

    Args:
        path: the file; it is made when it is not there, its folder is not.
        max_users: how many users' sums an experiment keeps, a few hundred bytes each; as in
            `MemoryExperiments`.
        create: whether a file that is not there is made; otherwise that is an error.

    Raises:
        StoreError: the file is none of experiments, is damaged, or cannot be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_users: int = _LARGEST_FILE,
        create: bool = True,
    ) -> None:
        self._path = Path(path).absolute()
        self._max_users = check_max_users(max_users)
        self._create = create
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None
        with self._transaction("opening"):
            pass  # what is wrong with the file is said now, and not with the first request

    def begin(self, description: JsonObject) -> Book:
        """Notes what an experiment is, and gives its book as it stands.

        Raises:
            ConfigurationError: it was something else before.
            StoreError: the file cannot be written.
        """
        name = description["name"]
        with self._transaction("beginning an experiment") as connection:
            row = _row(connection, name)
            if row is None:
                book = Book(dict(description))
            else:
                book = self._read(row)
                book.describe(description, where=str(self._path))
            _write(connection, name, book)
        return book

    def add(self, name: str, pending: Mapping[bytes, Pending], review: Review) -> Book:
        """Adds what was seen, has the book reviewed, and writes both in one transaction.

        Raises:
            StoreError: the file cannot be written, or is damaged.
        """
        with self._transaction("adding observations") as connection:
            book = self._book(connection, name)
            asked = [unit for unit, seen in pending.items() if not seen.anonymous]
            units = self._units(connection, name, asked)
            book.absorb(pending, units)
            connection.executemany(
                "insert into units (experiment, unit, body) values (?, ?, ?) "
                "on conflict (experiment, unit) do update set body = excluded.body",
                [(name, unit, sums.to_text()) for unit, sums in units.items()],
            )
            self._thin(connection, name, book)
            review(book)
            _write(connection, name, book)
        return book

    def stop(self, name: str, stop: Stop) -> Book:
        """Notes a stop; one that was noted before stays as it is.

        Raises:
            ConfigurationError: there is no such experiment.
            StoreError: the file cannot be written.
        """
        with self._transaction("stopping") as connection:
            book = self._book(connection, name)
            if book.stop(stop):
                _write(connection, name, book)
        return book

    def read(self, name: str) -> Book:
        """Gives a book as it stands.

        Raises:
            ConfigurationError: there is no such experiment.
            StoreError: the file cannot be read.
        """
        with self._transaction("reading", write=False) as connection:
            return self._book(connection, name)

    def names(self) -> list[str]:
        """The experiments' names, in order.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._transaction("reading", write=False) as connection:
            return _names(connection)

    def close(self) -> None:
        """Closes the file; using the store again opens it anew."""
        self._leave_parent()
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def __del__(self) -> None:
        """Closes the file when nobody has the store any more."""
        connection = getattr(self, "_connection", None)
        if connection is not None and self._pid == os.getpid():
            connection.close()

    def _book(self, connection: sqlite3.Connection, name: str) -> Book:
        row = _row(connection, name)
        if row is None:
            raise no_experiment(name, _names(connection), str(self._path))
        return self._read(row)

    def _read(self, text: str) -> Book:
        return Book.from_text(text, where=str(self._path))

    def _units(
        self, connection: sqlite3.Connection, name: str, asked: list[bytes]
    ) -> dict[bytes, UnitSums]:
        found: dict[bytes, UnitSums] = {}
        for begin in range(0, len(asked), _AT_ONCE):
            some = asked[begin : begin + _AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = connection.execute(
                # Only question marks are put in.
                f"select unit, body from units where experiment = ? and unit in ({marks})",  # noqa: S608
                (name, *some),
            )
            for unit, body in rows:
                try:
                    found[bytes(unit)] = UnitSums.from_text(body)
                except (ValueError, TypeError, AttributeError) as error:
                    raise self._damaged(f"a user's sums: {type(error).__name__}") from None
        return found

    def _thin(self, connection: sqlite3.Connection, name: str, book: Book) -> None:
        count = "select count(*) from units where experiment = ?"
        while connection.execute(count, (name,)).fetchone()[0] > self._max_users:
            book.level += 1
            connection.execute(
                "delete from units where experiment = ? and unit >= ?", (name, book.first_left_out)
            )

    # The file

    @contextlib.contextmanager
    def _transaction(self, doing: str, *, write: bool = True) -> Iterator[sqlite3.Connection]:
        """One change of the file, whole or not at all, also beside other processes."""
        import sqlite3  # noqa: PLC0415 - only where there is such a store

        self._leave_parent()
        with self._lock:
            try:
                connection = self._open()
                connection.execute("begin immediate" if write else "begin")
                try:
                    yield connection
                except BaseException:
                    if connection.in_transaction:  # a full disk has ended it already
                        connection.execute("rollback")
                    raise
                connection.execute("commit")
            except sqlite3.Error as error:
                raise self._explained(error, doing) from None
            except UnicodeDecodeError as error:  # damaged bytes in the text of SQLite's own error
                raise self._damaged(str(error.reason)) from None

    def _leave_parent(self) -> None:
        """A forked child takes neither its parent's lock nor its connection."""
        if self._pid != os.getpid():
            _abandoned.append(self._connection)
            self._lock, self._connection, self._pid = threading.Lock(), None, os.getpid()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        import sqlite3  # noqa: PLC0415

        try:
            flags = os.O_RDWR | (os.O_CREAT if self._create else 0)
            os.close(os.open(self._path, flags, 0o600))
        except OSError as error:
            raise StoreError(
                f"the experiments {self._path} cannot be opened: {error.strerror or error}. Name "
                + ("a file in a folder that this user may write" if self._create else "another")
            ) from None
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("begin immediate")
            self._prepare(connection)
            connection.execute("commit")
            # Whoever opens it at the same moment may be changing this, and then it is changed.
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        owner = connection.execute("pragma application_id").fetchone()[0]
        version = connection.execute("pragma user_version").fetchone()[0]
        tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
        if owner == 0 and tables == 0 and self._create:
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"pragma application_id = {APPLICATION_ID}")
            connection.execute(f"pragma user_version = {SCHEMA}")
        elif owner != APPLICATION_ID:
            raise StoreError(
                f"{self._path} holds no experiments; it was left as it is. Name the file that "
                "Experiment(store=…) was given"
            )
        elif version != SCHEMA:
            raise StoreError(
                f"the experiments {self._path} were made by another version of this package (their "
                f"form is {version}, this version's {SCHEMA}): use that version, or name a new file"
            )

    def _explained(self, error: sqlite3.Error, doing: str) -> StoreError:
        name = getattr(error, "sqlite_errorname", None) or type(error).__name__
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")):
            return self._damaged(f"{name}: {error}")
        advice = "try again, or name another file"
        if name.startswith("SQLITE_FULL"):
            advice = "the disk is full: free some space"
        elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            advice = "this user may not write it: change its rights, or name another file"
        elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            advice = "another process keeps it locked: end what that one does"
        return StoreError(f"{doing} in {self._path} failed ({name}: {error}): {advice}")

    def _damaged(self, why: str) -> StoreError:
        return StoreError(
            f"{self._path} is damaged, or holds no experiments ({why}). Restore a backup; "
            "`sqlite3 FILE .recover` saves what can be read. Or name a new file: assignment does "
            "not depend on it, only the figures begin anew"
        )


def _row(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("select body from experiments where name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _write(connection: sqlite3.Connection, name: str, book: Book) -> None:
    connection.execute(
        "insert into experiments (name, body) values (?, ?) "
        "on conflict (name) do update set body = excluded.body",
        (name, book.to_text()),
    )


def _names(connection: sqlite3.Connection) -> list[str]:
    return [str(row[0]) for row in connection.execute("select name from experiments order by name")]
