"""The files of a SQLite store: where they are, whose they are, and who has them open.

Beside the database lies a side file, `<name>-lock`. The process that writes holds a lock on it that
the system takes back when the process dies, however it dies, and that a forked child does not
inherit. In it stand the holder, for the error that a second process gets, and how many rows the log
had after the newest commit: when the database is later found with fewer, its `-wal` file was lost
or cut, or an older copy was put back, and money that was spent would be forgotten.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cascadeflow.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

__all__ = [
    "APPLICATION_ID",
    "FileLock",
    "connections_here",
    "database_path",
    "explain",
    "refuse_foreign",
    "writer_is_alive",
]

APPLICATION_ID: Final = 0x43464C57
"""`CFLW`, in the database's header: what tells a store from any other SQLite file."""

_PREFIX: Final = "sqlite:///"
_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_ROWS_DIGITS: Final = 20
_HOLDER_BYTES: Final = 400
_OPEN: Final = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_LOCKED_BYTE: Final = 1 << 30  # far past the text, which others may then read on Windows too


def database_path(url: str) -> Path:
    """Gives the absolute path of the file that a store's URL names, links followed.

    Raises:
        ConfigurationError: the URL names no file.
        StoreError: its folder is not there.
    """
    name = url.removeprefix(_PREFIX)
    if not url.startswith(_PREFIX) or not name or name == ":memory:" or "?" in name:
        raise ConfigurationError(
            "a store is written sqlite:///relative/path.db or sqlite:////absolute/path.db, with no "
            f"options behind it, not {url!r:.200}"
        )
    try:
        path = Path(name).resolve()
        found = path.parent.is_dir()
        taken = path.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigurationError(f"{name!r:.200} cannot be a file's name: {error}") from None
    if not found:
        raise StoreError(f"the folder {path.parent} is not there: create it first")
    if taken:
        raise StoreError(f"{path} is a folder: name a file in it")
    return path


class _Connections:
    """How many connections this process has to each database.

    Closing any descriptor of a file drops all POSIX locks that the process has on it, SQLite's own
    included. So a database's bytes are read directly only while no connection is open, and a side
    file is opened only when its lock is not ours.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open: dict[Path, int] = {}
        self.writers: dict[Path, int] = {}
        self.inherited: frozenset[Path] = frozenset()

    def enter(self, path: Path) -> None:
        """Counts a connection in, before it is opened.

        Raises:
            StoreError: the parent process had the file open when it forked this one. SQLite would
                take the parent's locks for this process's own.
        """
        with self.lock:
            if path in self.inherited:
                raise StoreError(
                    f"{path} was open when this process was forked, and cannot be opened safely "
                    "here: fork first and open then, or start the process anew (spawn)"
                )
            self.open[path] = self.open.get(path, 0) + 1

    def leave(self, path: Path) -> None:
        """Counts a connection out, after it was closed."""
        with self.lock:
            self.open[path] -= 1
            if not self.open[path]:
                del self.open[path]

    @contextlib.contextmanager
    def during(self, path: Path) -> Iterator[None]:
        """Counts a connection for the length of the block."""
        self.enter(path)
        try:
            yield
        finally:
            self.leave(path)

    def after_fork(self) -> None:
        """The child has none of its parent's locks, and must not wait for its threads'."""
        self.lock = threading.Lock()
        self.inherited |= frozenset(self.open)
        self.writers = {}


connections_here: Final = _Connections()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=connections_here.after_fork)


def refuse_foreign(path: Path) -> bool:
    """Sees to it that a file is a store, without touching it; `False` when there is none yet.

    An empty file counts as none: a store is made in its place.

    Raises:
        StoreError: it is something else, or cannot be read.
    """
    with connections_here.lock:
        if path in connections_here.open:
            return True
        try:
            with path.open("rb") as file:
                header = file.read(_HEADER_BYTES)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {_advice(error)}") from None
    if not header:
        return False
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        raise StoreError(
            f"{path} is not a SQLite file, or its first bytes are damaged; it was left as it is. "
            "Name another file, or restore this one from a backup"
        )
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StoreError(
            f"{path} is a SQLite file of another program; it was left as it is. Name another file"
        )
    return True


class FileLock:
    """The right to write a store: one process at a time.

    Attributes:
        noted_rows: how many rows the log had when that was last noted, by whoever held the lock.
    """

    def __init__(self, database: Path) -> None:
        """Takes the lock.

        Raises:
            StoreError: another process has it, or this one has it already, or the side file cannot
                be made.
        """
        self._database = database
        self._path = lock_path(database)
        self._pid = os.getpid()
        with connections_here.lock:
            if database in connections_here.writers:
                raise StoreError(
                    f"{database} is open in this process already: share that store, or close it "
                    "first"
                )
            self._file = self._take()
            connections_here.writers[database] = self._pid

    def _take(self) -> int:
        try:
            file = os.open(self._path, _OPEN | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {_advice(error)}") from None
        try:
            self._lock_or_refuse(file)
            self.noted_rows = _read_rows(file)
            holder = f"process {self._pid} on {socket.gethostname()}"
            os.ftruncate(file, _ROWS_DIGITS + 1)
            _write_at(file, _ROWS_DIGITS + 1, f"{holder}\n")
            self._write_rows(file, self.noted_rows)
        except OSError as error:
            os.close(file)
            raise StoreError(f"{self._path} cannot be written: {_advice(error)}") from None
        except BaseException:
            os.close(file)
            raise
        return file

    def _lock_or_refuse(self, file: int) -> None:
        if not _try_lock(file):
            raise StoreError(
                f"{self._database} is in use by {_holder(file)}: one process at a time may write "
                "a store. Stop that one, or give this one a file of its own; reports can read it "
                "meanwhile (read_only=True)"
            )

    def note(self, rows: int) -> None:
        """Notes how many rows the log has, after their commit.

        The note outlives the process, and may be lost with the machine: it is never ahead of what
        is on disk.

        Raises:
            StoreError: it cannot be written.
        """
        try:
            self._write_rows(self._file, rows)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {_advice(error)}") from None
        self.noted_rows = rows

    @staticmethod
    def _write_rows(file: int, rows: int) -> None:
        _write_at(file, 0, f"{rows:0{_ROWS_DIGITS}d}\n")

    def release(self) -> None:
        """Gives the lock back. The side file stays: taking it away would race with a taker."""
        if os.getpid() != self._pid:
            return
        with connections_here.lock:
            if connections_here.writers.pop(self._database, None) is not None:
                os.close(self._file)


def lock_path(database: Path) -> Path:
    """Gives the side file of a database."""
    return database.with_name(f"{database.name}-lock")


def writer_is_alive(database: Path) -> bool:
    """Whether some process has the store open for writing, as far as this one may see."""
    with connections_here.lock:
        if database in connections_here.writers:
            return True
        try:
            file = os.open(lock_path(database), _OPEN)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # not ours to know: then what it was granted is taken to be in its hands
        try:
            return not _try_lock(file)
        finally:
            os.close(file)


if sys.platform == "win32":  # pragma: no cover - not run where this is built
    import msvcrt

    def _try_lock(file: int) -> bool:
        os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(file: int) -> bool:
        # Record locks, not flock: a forked child must not keep its dead parent's lock.
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _LOCKED_BYTE)
        except (BlockingIOError, PermissionError):
            return False
        return True


def _read_rows(file: int) -> int:
    text = _read_at(file, 0, _ROWS_DIGITS)
    return int(text) if len(text) == _ROWS_DIGITS and text.isdigit() else 0


def _holder(file: int) -> str:
    text = _read_at(file, _ROWS_DIGITS + 1, _HOLDER_BYTES).decode(errors="replace").strip()
    return text or "another process"


# Not `pread` and `pwrite`, which Windows has not.
def _read_at(file: int, place: int, length: int) -> bytes:
    os.lseek(file, place, os.SEEK_SET)
    return os.read(file, length)


def _write_at(file: int, place: int, text: str) -> None:
    os.lseek(file, place, os.SEEK_SET)
    os.write(file, text.encode())


def _advice(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "permission was denied. Give this user the right to read and write it and its folder"
    return f"{error.strerror or error}"


_ADVICE: Final = {
    "SQLITE_FULL": "the disk is full. Free some space and try again: what was acknowledged is safe,"
    " and this was not written",
    "SQLITE_READONLY": "it may not be written. Give this user the right to write the file and its "
    "folder",
    "SQLITE_CANTOPEN": "it cannot be opened. Give this user the right to read and write the file "
    "and its folder",
    "SQLITE_PERM": "permission was denied. Give this user the right to write the file",
    "SQLITE_AUTH": "permission was denied. Give this user the right to write the file",
    "SQLITE_CORRUPT": "the file is damaged. Stop writing to it, keep a copy, and restore a backup; "
    "`sqlite3 FILE .recover` saves what can be read",
    "SQLITE_NOTADB": "the file is damaged, or not a store. Restore it from a backup",
    "SQLITE_BUSY": "another program keeps it locked. Close that program's write transaction",
    "SQLITE_LOCKED": "another program keeps it locked. Close that program's write transaction",
    "SQLITE_IOERR": "the disk failed to read or write it. Check the disk and its free space",
    "SQLITE_CONSTRAINT": "its rows do not allow this: a sum over 9 billion US dollars, or a file "
    "that another program changed",
}


def explain(error: sqlite3.Error | UnicodeDecodeError, path: Path, doing: str) -> StoreError:
    """Gives an error of SQLite as one that says what to do.

    Python cannot read an error of SQLite that quotes damaged bytes: it raises `UnicodeDecodeError`.
    """
    if isinstance(error, UnicodeDecodeError):
        return StoreError(f"{path}: {doing} failed: it is damaged: restore it from a backup")
    name = getattr(error, "sqlite_errorname", None) or ""
    for known, advice in _ADVICE.items():
        if name.startswith(known):
            return StoreError(f"{path}: {doing} failed: {advice} ({name}: {error})")
    return StoreError(f"{path}: {doing} failed: {error} ({name or type(error).__name__})")
