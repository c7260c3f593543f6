"""Files that are written whole or not at all: a lock for two processes, and a part that is kept.

What has come of a file lies beside it under a name that holds its hash, so that nothing but the
rest of that very file is ever put behind it; only a file that is what it should be gets its name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from cascadeflow.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Partial", "hashed", "locked", "write_whole"]

_LOOK_AGAIN: Final = 0.1
"""Seconds between two looks at a lock that another process holds."""

_BLOCK: Final = 1 << 20

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def locked(folder: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Holds a folder for this process and thread; who comes meanwhile waits.

    The lock is the operating system's: it ends with the process, however that ends.

    Args:
        folder: it is made if there is none.
        waiting: called once when another holds it.

    Raises:
        StoreError: the folder cannot be made, or its file system has no locks.
    """
    path = folder.with_name(f".{folder.name}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
    try:
        told = False
        while not _take(handle, path):
            if not told and waiting is not None:
                waiting()
            told = True
            time.sleep(_LOOK_AGAIN)
        try:
            yield
        finally:
            _give_back(handle)
    finally:
        os.close(handle)


def _take(handle: int, path: Path) -> bool:
    try:
        if os.name == "nt":
            import msvcrt  # noqa: PLC0415

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl  # noqa: PLC0415

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        raise StoreError(
            f"{path} cannot be locked, and two processes could write the same file at once: "
            f"{error.strerror or error}. Set XDG_CACHE_HOME to a folder on a local disk"
        ) from error
    return True


def _give_back(handle: int) -> None:
    # Closing alone would leave it to a child that was forked meanwhile.
    if os.name != "nt":
        import fcntl  # noqa: PLC0415

        fcntl.flock(handle, fcntl.LOCK_UN)


def hashed(path: Path, algorithm: str, *, first: bytes = b"") -> str:
    """Gives a file's hash in hexadecimal, of what it holds now.

    Raises:
        StoreError: it cannot be read.
    """
    hasher = hashlib.new(algorithm, first, usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                hasher.update(block)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
    return hasher.hexdigest()


class Partial:
    """What has come of a file. Use it as a context manager, under the folder's lock.

    Args:
        target: the file's name once it is whole.
        size: bytes it will have.
        digest: its hash in hexadecimal.
        algorithm: `sha256`, or `git` for the SHA-1 of a blob as git counts it.
    """

    def __init__(self, target: Path, *, size: int, digest: str, algorithm: str) -> None:
        self.path = target.with_name(f".{target.name}.{digest[:16]}.partial")
        self.done = 0
        self._target = target
        self._size = size
        self._digest = digest
        self._algorithm = algorithm

    def __enter__(self) -> Self:
        """Opens it, and reads what an earlier attempt left.

        Raises:
            StoreError: it cannot be written, or the disk has no room for the rest.
        """
        with self._told():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b", buffering=0)
        try:
            with self._told():
                self._read_what_is_there()
                self._check_room()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves on the disk what has come, and nothing where nothing has."""
        self._file.close()
        if not self.done:
            # One that cannot be removed is gone on with: that it is there is no failure.
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def add(self, block: bytes) -> None:
        """Puts bytes behind those that are there.

        Raises:
            StoreError: the disk is full, or fails.
        """
        with self._told():
            view = memoryview(block)
            while view:
                written = self._file.write(view)
                self._hasher.update(view[:written])
                self.done += written
                view = view[written:]

    def start_again(self) -> None:
        """Throws away what has come."""
        with self._told():
            self._file.truncate(0)
        self.done = 0
        self._hasher = self._new_hasher()

    def is_right(self) -> bool:
        """Whether what has come is the file."""
        return self.done == self._size and self._hasher.hexdigest() == self._digest

    def finish(self) -> None:
        """Gives the file its name, once it is on the disk.

        Raises:
            StoreError: the disk failed.
        """
        with self._told():
            os.fsync(self._file.fileno())
            self._file.close()
            self.path.replace(self._target)

    def _read_what_is_there(self) -> None:
        self._hasher = self._new_hasher()
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            self._hasher.update(block)
            self.done += len(block)
        if self.done > self._size:
            self.start_again()

    def _check_room(self) -> None:
        missing = self._size - self.done
        free = shutil.disk_usage(self.path.parent).free
        if free < missing:
            raise OSError(errno.ENOSPC, f"{missing:,} bytes are to come and {free:,} are free")

    def _new_hasher(self) -> hashlib._Hash:
        if self._algorithm == "git":
            hasher = hashlib.sha1(usedforsecurity=False)
            hasher.update(b"blob %d\0" % self._size)
            return hasher
        return hashlib.sha256()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"{error.strerror or error}"
            if error.errno in _NO_SPACE:
                raise StoreError(
                    f"no room for {self._target}: {reason}. The {self.done:,} bytes that came are "
                    "kept: make room, or set XDG_CACHE_HOME to a folder that has it and move them "
                    "there, and run it again"
                ) from error
            raise StoreError(f"{self.path} cannot be written: {reason}") from error


def write_whole(path: Path, content: bytes) -> None:
    """Writes a small file whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
