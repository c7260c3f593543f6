"""Answers kept in a SQLite file, which outlives the process and which several may share.

The file holds answers **in clear**, so only its owner may read it (mode 0600). Whose they are and
what was asked is in it only as a hash. It is a cache: deleting it costs nothing but repeats.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cascadeflow.cache.answer import CachedAnswer
from cascadeflow.cache.memory import check_limits
from cascadeflow.cache.protocol import CacheStats
from cascadeflow.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from concurrent.futures import ThreadPoolExecutor
    from datetime import datetime

    from cascadeflow.cache.key import CacheKey

__all__ = ["SqliteCache", "path_of"]

_T = TypeVar("_T")

APPLICATION_ID: Final = 0x43464C43
"""`CFLC`, in the database's header: what tells a cache from any other SQLite file."""

SCHEMA: Final = 1
_PREFIX: Final = "sqlite:///"
_BUSY_SECONDS: Final = 5.0

_TABLES: Final = """
create table answers (
    digest blob primary key,
    scope text not null,
    created real not null,
    used integer not null,
    size integer not null,
    body blob not null
);
create index answers_by_use on answers (used);
create index answers_by_age on answers (created);
create index answers_by_scope on answers (scope);
create table totals (one integer primary key check (one = 1), used integer, bytes integer);
insert into totals values (1, 0, 0);
create trigger answer_kept after insert on answers begin
    update totals set bytes = bytes + new.size;
end;
create trigger answer_dropped after delete on answers begin
    update totals set bytes = bytes - old.size;
end;
"""

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
            'a cache is "memory", "sqlite:///relative/answers.db" or '
            f'"sqlite:////absolute/answers.db", with no options behind it; not {url!r:.200}'
        )
    return Path(name)


class SqliteCache:
    """Keeps the answers that were used last, in a file.

    A thread of its own reads and writes, so that no event loop waits for the disk. What was kept
    last may be lost when the machine loses power.

    Args:
        path: the file; it is made when it is not there, its folder is not.
        max_bytes: how much the answers take at most; one that is larger is not kept. The file is
            somewhat larger than that.
        ttl: seconds after which an answer is forgotten; `None` never.

    Raises:
        StoreError: the file is no cache, is damaged, or cannot be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = 1024 * 1024 * 1024,
        ttl: float | None = 3600.0,
    ) -> None:
        check_limits(max_entries=None, max_bytes=max_bytes, ttl=ttl)
        self._path = Path(path).absolute()
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._lock = threading.Lock()
        self._at_work = threading.Lock()
        self._pid = os.getpid()
        self._executor: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._hits = 0
        self._misses = 0
        # What is wrong with the file is said now, and not with the first request.
        self._worker().submit(self._alone, self._open).result()

    async def get(self, key: CacheKey, *, now: datetime) -> CachedAnswer | None:
        """Gives the answer, unless there is none or it has grown too old.

        Raises:
            StoreError: the file cannot be read.
        """
        return await self._away(self._get, key, now.timestamp())

    async def put(self, key: CacheKey, answer: CachedAnswer, *, now: datetime) -> None:
        """Keeps an answer in the place of an earlier one; the least recently used ones make room.

        Its age counts from now.

        Raises:
            StoreError: the file cannot be written.
        """
        await self._away(self._put, key, answer, now.timestamp())

    async def clear(self, scope: str | None = None) -> int:
        """Forgets every answer, or those of one scope, and gives how many.

        What is forgotten is overwritten in the file.

        Raises:
            StoreError: the file cannot be written.
        """
        return await self._away(self._clear, scope)

    async def stats(self) -> CacheStats:
        """How it does; hits and misses are this process's, the rest is the file's.

        Raises:
            StoreError: the file cannot be read.
        """
        return await self._away(self._stats)

    async def aclose(self) -> None:
        """Closes the file and ends the thread; using the cache again opens it anew."""
        await self._away(self._close)
        with self._own_lock():
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    def __del__(self) -> None:
        """Closes the file when nobody has the cache any more, and so nobody is at work in it."""
        connection = getattr(self, "_connection", None)
        if connection is not None and self._pid == os.getpid():
            connection.close()

    # On the thread

    def _get(self, key: CacheKey, now: float) -> CachedAnswer | None:
        with self._transaction("reading an answer") as connection:
            row = connection.execute(
                "select body, created from answers where digest = ?", (key.digest,)
            ).fetchone()
            if row is not None and self._ttl is not None and now - row[1] >= self._ttl:
                connection.execute("delete from answers where digest = ?", (key.digest,))
                row = None
            if row is not None:
                connection.execute(
                    "update answers set used = ? where digest = ?", (_next(connection), key.digest)
                )
        if row is None:
            self._misses += 1
            return None
        self._hits += 1
        try:
            return CachedAnswer.from_bytes(row[0])
        except ValueError as error:
            raise self._damaged(str(error)) from None

    def _put(self, key: CacheKey, answer: CachedAnswer, now: float) -> None:
        body = answer.to_bytes()
        size = len(body) + len(key.digest) + len(key.scope)
        with self._transaction("keeping an answer") as connection:
            connection.execute("delete from answers where digest = ?", (key.digest,))
            if self._ttl is not None:
                connection.execute("delete from answers where created <= ?", (now - self._ttl,))
            if size > self._max_bytes:
                return
            connection.execute(
                "insert into answers values (?, ?, ?, ?, ?, ?)",
                (key.digest, key.scope, now, _next(connection), size, body),
            )
            while connection.execute("select bytes from totals").fetchone()[0] > self._max_bytes:
                connection.execute(
                    "delete from answers where used = (select min(used) from answers)"
                )

    def _clear(self, scope: str | None) -> int:
        with self._transaction("forgetting answers") as connection:
            if scope is None:
                gone = connection.execute("delete from answers")
            else:
                gone = connection.execute("delete from answers where scope = ?", (scope,))
        # The log still has what was forgotten; another process that reads may keep it a while.
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        return gone.rowcount

    def _stats(self) -> CacheStats:
        with self._transaction("counting answers") as connection:
            entries = connection.execute("select count(*) from answers").fetchone()[0]
            size = connection.execute("select bytes from totals").fetchone()[0]
        return CacheStats(hits=self._hits, misses=self._misses, entries=entries, bytes=size)

    @contextlib.contextmanager
    def _transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        """One change of the file, whole or not at all, also beside other processes."""
        import sqlite3  # noqa: PLC0415 - only where there is such a cache

        connection = self._open()
        try:
            connection.execute("begin immediate")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:  # a full disk has ended it already
                    connection.execute("rollback")
                raise
            connection.execute("commit")
        except sqlite3.Error as error:
            raise self._explained(error, doing) from None

    def _open(self) -> sqlite3.Connection:
        """Gives the connection, opened on first use.

        Raises:
            StoreError: the file is no cache, is damaged, or cannot be opened.
        """
        if self._connection is not None:
            return self._connection
        import sqlite3  # noqa: PLC0415

        try:
            # Made with its mode before SQLite sees it: its side files take theirs from it.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError(
                f"the cache {self._path} cannot be opened: {error.strerror or error}. Name a file "
                "in a folder that this user may write"
            ) from None
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("pragma secure_delete = on")
            connection.execute("pragma synchronous = normal")
            connection.execute("begin immediate")
            self._prepare(connection)
            connection.execute("commit")
            self._path.chmod(0o600)
            # Whoever opens it at the same moment may be changing this, and then it is changed.
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute("pragma journal_mode = wal")
        except sqlite3.Error as error:
            connection.close()
            raise self._explained(error, "opening it") from None
        except OSError as error:
            connection.close()
            raise StoreError(
                f"the cache {self._path} cannot be kept from others' eyes: {error.strerror}. Name "
                "a file that belongs to this user"
            ) from None
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Makes the tables, or sees to it that they are this version's.

        Raises:
            StoreError: the file is no cache, or one of another version.
        """
        owner = connection.execute("pragma application_id").fetchone()[0]
        version = connection.execute("pragma user_version").fetchone()[0]
        tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
        if owner == 0 and tables == 0:
            for statement in _statements(_TABLES):
                connection.execute(statement)
            connection.execute(f"pragma application_id = {APPLICATION_ID}")
            connection.execute(f"pragma user_version = {SCHEMA}")
        elif owner != APPLICATION_ID:
            raise StoreError(
                f"{self._path} is a SQLite file of something else; it was left as it is. Name "
                "another file for the cache"
            )
        elif version != SCHEMA:
            raise StoreError(
                f"the cache {self._path} was made by another version of this package (its form is "
                f"{version}, this version's {SCHEMA}): delete it, nothing but repeats is lost"
            )

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _explained(self, error: sqlite3.Error, doing: str) -> StoreError:
        name = getattr(error, "sqlite_errorname", None) or type(error).__name__
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")):
            return self._damaged(f"{name}: {error}")
        advice = "try again, or name another file for the cache"
        if name.startswith("SQLITE_FULL"):
            advice = "the disk is full: free some space, or give the cache a smaller max_bytes"
        elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            advice = "this user may not write it: change its rights, or name another file"
        elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            advice = "another process keeps it locked: end what that one does, or name another file"
        return StoreError(f"{doing} in the cache {self._path} failed ({name}: {error}): {advice}")

    def _damaged(self, why: str) -> StoreError:
        return StoreError(
            f"the cache {self._path} is damaged or no cache ({why}). If it is one, delete it with "
            "its -wal and -shm files: nothing but repeats is lost"
        )

    # The thread

    async def _away(self, function: Callable[..., _T], *arguments: Any) -> _T:
        import asyncio  # noqa: PLC0415 - heavy; whoever awaits has it

        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker(), self._alone, function, *arguments)

    def _alone(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Two threads are there for a moment when a closed cache is used again."""
        with self._at_work:
            return function(*arguments)

    def _worker(self) -> ThreadPoolExecutor:
        with self._own_lock():
            if self._executor is None:
                from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - heavy

                self._executor = ThreadPoolExecutor(1, thread_name_prefix="cascadeflow-cache")
            return self._executor

    def _own_lock(self) -> threading.Lock:
        """The lock; a forked child takes neither its parent's locks, thread nor connection."""
        if self._pid != os.getpid():
            _abandoned.append((self._connection, self._executor))
            self._lock, self._at_work = threading.Lock(), threading.Lock()
            self._executor = self._connection = None
            self._pid = os.getpid()
        return self._lock


def _next(connection: sqlite3.Connection) -> int:
    """The next number of the order of use, which all processes share."""
    connection.execute("update totals set used = used + 1")
    number: int = connection.execute("select used from totals").fetchone()[0]
    return number


def _statements(script: str) -> Iterator[str]:
    """Splits a script; `executescript` would end the transaction."""
    import sqlite3  # noqa: PLC0415

    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if statement.strip() and sqlite3.complete_statement(statement):
            yield statement
            statement = ""
