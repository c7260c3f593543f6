"""The tables of a SQLite store: made, checked, and brought forward from older versions."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

from cascadeflow.budgets.stores.notes import NOTES_TABLE
from cascadeflow.budgets.stores.sqlite_file import APPLICATION_ID, explain
from cascadeflow.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["MIGRATIONS", "connect", "create", "make_summary_tables", "migrate"]

_OLDEST_SQLITE: Final = (3, 31, 0)
_CACHE_KIB: Final = 16 * 1024
_WAL_KEPT: Final = 64 * 1024 * 1024
_BUSY_SECONDS: Final = 5.0

_SUMMARIES: Final = """
CREATE TABLE {place}scopes (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name NOT NULL,
    spent INTEGER NOT NULL DEFAULT 0 CHECK (typeof(spent) = 'integer'),
    UNIQUE (kind, name)
);
CREATE TABLE {place}sums (
    scope_id INTEGER NOT NULL,
    quarter INTEGER NOT NULL,
    nanodollars INTEGER NOT NULL CHECK (typeof(nanodollars) = 'integer'),
    PRIMARY KEY (scope_id, quarter)
) WITHOUT ROWID;
CREATE TABLE {place}taken (
    scope_id INTEGER NOT NULL,
    quarter INTEGER NOT NULL,
    nanodollars INTEGER NOT NULL CHECK (typeof(nanodollars) = 'integer'),
    PRIMARY KEY (scope_id, quarter)
) WITHOUT ROWID;
CREATE TABLE {place}limits (
    scope_id INTEGER NOT NULL,
    period TEXT NOT NULL,
    nanodollars INTEGER,
    PRIMARY KEY (scope_id, period)
) WITHOUT ROWID;
"""

# `name` and `event_id` hold any text: as TEXT where UTF-8 can carry it, else as bytes.
_LOG: Final = """
CREATE TABLE log (
    number INTEGER PRIMARY KEY,
    event_id NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    hash BLOB NOT NULL
);
CREATE INDEX log_at ON log (at);
CREATE TRIGGER log_is_never_changed BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'the usage log is append-only'); END;
CREATE TRIGGER log_is_never_cut BEFORE DELETE ON log
BEGIN SELECT RAISE(ABORT, 'the usage log is append-only'); END;
CREATE TRIGGER log_is_never_replaced BEFORE INSERT ON log
WHEN NEW.number <= (SELECT MAX(number) FROM log)
    OR EXISTS (SELECT 1 FROM log WHERE event_id = NEW.event_id)
BEGIN SELECT RAISE(ABORT, 'the usage log is append-only'); END;
"""

_BESIDES: Final = """
CREATE TABLE grants (
    scope_id INTEGER PRIMARY KEY,
    up_to INTEGER NOT NULL,
    at INTEGER NOT NULL
);
CREATE TABLE unreported (
    scope_id INTEGER PRIMARY KEY,
    nanodollars INTEGER NOT NULL,
    at INTEGER NOT NULL
);
CREATE TABLE holds (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id NOT NULL,
    at INTEGER NOT NULL,
    spender TEXT NOT NULL,
    model NOT NULL,
    nanodollars INTEGER NOT NULL
);
CREATE INDEX holds_request ON holds (request_id);
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    rows INTEGER NOT NULL,
    hash BLOB NOT NULL,
    key_fingerprint BLOB NOT NULL,
    summed_rows INTEGER NOT NULL,
    summed_global INTEGER NOT NULL
);
"""

MIGRATIONS: Final[Mapping[int, str]] = {
    1: _LOG + _SUMMARIES.format(place="") + _BESIDES,
    2: NOTES_TABLE,
}
"""What brings a file from each version to the next; a published step is never changed.

`log` is the truth; `scopes`, `sums`, `taken` and `limits` are reckoned from it and can be again.
`taken` is what was taken off in a quarter of an hour beyond what had been spent in it by then.
`state` has one row: the chain's head, and how far and to what the sums were reckoned. `notes` has
named JSON objects, which nothing else depends on.
"""


def make_summary_tables(connection: sqlite3.Connection) -> None:
    """Makes empty temporary tables of what is reckoned from the log, to reckon it anew."""
    for statement in _statements(_SUMMARIES.format(place="temp.")):
        connection.execute(statement)


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Opens a database that is there, and sees that every setting it relies on is taken.

    Raises:
        StoreError: SQLite is too old, or the file cannot be opened, or does not take a setting.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreError(
            f"SQLite {'.'.join(map(str, _OLDEST_SQLITE))} or newer is needed; this Python has "
            f"{sqlite3.sqlite_version}"
        )
    try:
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode={'ro' if read_only else 'rw'}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_SECONDS,
        )
    except sqlite3.Error as error:
        raise explain(error, path, "opening it") from None
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if read_only:
            # Reads the header, and the `-wal` file where there is one.
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        else:
            _settle(connection, path)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        raise explain(error, path, "opening it") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _settle(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    # FULL: a commit has reached the disk when it returns. On macOS that takes F_FULLFSYNC.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT}")
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    full = 2
    if mode != "wal" or synchronous != full:
        raise StoreError(
            f"{path}: its file system cannot do what a store needs (journal {mode!r}, synchronous "
            f"{synchronous}): put it on a local disk, not on a network share"
        )


def create(path: Path, fingerprint: bytes, genesis: bytes) -> None:
    """Makes an empty store, all of it or nothing, readable by its owner only.

    It is made beside its place and then moved there, so that a crash leaves no half of one.

    Raises:
        StoreError: it cannot be written.
    """
    for left in (path.with_name(path.name + end) for end in ("-wal", "-journal")):
        if left.exists() and left.stat().st_size:
            raise StoreError(
                f"{path} is gone, but its {left.name} is still there: restore the file from a "
                f"backup; to begin anew, take {left.name} away too"
            )
    draft = path.with_name(f"{path.name}-new")
    try:
        for end in ("", "-wal", "-journal"):  # what a crash left behind
            draft.with_name(draft.name + end).unlink(missing_ok=True)
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(draft.as_uri(), uri=True, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("BEGIN IMMEDIATE")
            for version, script in sorted(MIGRATIONS.items()):
                _step(connection, version, script)
            connection.execute(
                "INSERT INTO state VALUES (1, 0, ?, ?, 0, 0)", (genesis, fingerprint)
            )
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        draft.replace(path)
        _sync_folder(path.parent)
    except sqlite3.Error as error:
        raise explain(error, path, "making it") from None
    except OSError as error:
        raise StoreError(
            f"{path} cannot be made: {error.strerror or error}. Check its folder's free space and "
            "that this user may write there"
        ) from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    *,
    read_only: bool = False,
    migrations: Mapping[int, str] = MIGRATIONS,
) -> bool:
    """Brings a file to the newest version, a step a transaction; says whether there was a step.

    Raises:
        StoreError: it is newer than this package, or a step failed (the file is as before it).
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    newest = max(migrations)
    if application != APPLICATION_ID or version < 1:
        raise StoreError(f"{path} is not a store, or damaged: restore it from a backup")
    if version > newest:
        raise StoreError(
            f"{path} was written by a newer cascadeflow (its form is {version}, this one knows "
            f"{newest}): upgrade this one"
        )
    if version < newest and read_only:
        raise StoreError(
            f"{path} was written by an older cascadeflow: open it once for writing, which brings "
            "it forward"
        )
    for step in range(version + 1, newest + 1):
        try:
            connection.execute("BEGIN IMMEDIATE")
            _step(connection, step, migrations[step])
            connection.execute("COMMIT")
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise explain(error, path, f"bringing it to form {step}") from None
    return bool(version < newest)


def _step(connection: sqlite3.Connection, version: int, script: str) -> None:
    # Not `executescript`, which commits what is open.
    for statement in _statements(script):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version}")


def _statements(script: str) -> list[str]:
    """Gives a script's statements; a trigger's inner semicolons belong to it."""
    statements, current = [], ""
    for line in script.splitlines():
        current += line + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements


def _sync_folder(folder: Path) -> None:
    """Makes a renaming durable."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
