"""Threads for what takes too long to be done on an event loop.

asyncio's own are the user's: whoever fills them with work that blocks would hold requests up here.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["Aside"]

T = TypeVar("T")


class Aside:
    """A few threads, begun when there is first something to do. Any thread and loop may use it."""

    def __init__(self, threads: int, name: str) -> None:
        """Begins with none.

        Args:
            threads: how many there may be; what comes beyond that waits its turn.
            name: what they are called.
        """
        self._threads = threads
        self._name = name
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        _all.add(self)

    async def run(self, work: Callable[[], T]) -> T:
        """Does something that blocks, elsewhere.

        Whoever is cancelled before it was begun takes it back; what was begun runs to its end.

        Raises:
            Exception: what `work` raises.
        """
        with self._lock:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - heavy

                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=self._name)
            done = self._pool.submit(work)
        return await asyncio.wrap_future(done)

    def rest(self) -> None:
        """Lets the threads end once they have done what there is; the next work begins others."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()  # a thread that is not here may have held it
        self._pool = None


_all: Final[weakref.WeakSet[Aside]] = weakref.WeakSet()


def _after_fork() -> None:
    for each in list(_all):
        each._after_fork()  # noqa: SLF001 - its own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
