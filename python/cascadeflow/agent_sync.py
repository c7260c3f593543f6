"""The event loop of those who have none: one background thread per process.

`CascadeAgent.run_sync` hands its work to this loop, whether or not the caller's thread runs a loop
of its own. The loop is started on first use and kept, so that connections are reused between calls.
A forked child has no such thread; it notices, and starts its own.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["close_in_background", "run_in_background"]

T = TypeVar("T")


class LoopThread:
    """An event loop that runs in a daemon thread until the process ends."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stopping = False
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="cascadeflow-loop", daemon=True
        )
        self._thread.start()
        started.wait()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(started.set)
        try:
            while not self._stopping:
                try:
                    self._loop.run_forever()
                except (SystemExit, KeyboardInterrupt):
                    # A tool's, most likely. Its task has it, and raises it in whoever waits for
                    # that; the other requests on this loop go on.
                    continue
        finally:
            # What asyncio.run does at its end; agents close their connections here.
            self._loop.run_until_complete(_cancel_others())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop and waits for it; an interrupted wait cancels it."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError(
                "run_sync was called on its own event loop, which would wait for itself: "
                "inside a callback or a coroutine, await run() instead"
            )
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise asyncio.CancelledError from None
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Ends the loop: cancels what still runs on it and waits for its end."""
        self._stopping = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class _Holder:
    """The process's one loop thread, and its lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: LoopThread | None = None
        self.inherited: list[Any] = []

    def get(self) -> LoopThread:
        with self.lock:
            if self.thread is None:
                self.thread = LoopThread()
            return self.thread

    def forked(self) -> None:
        """In a child: the thread did not come along, and the lock may be held by nobody.

        The parent's loop is kept, not closed: its sockets are the parent's too.
        """
        self.lock = threading.Lock()
        self.inherited.append(self.thread)
        self.thread = None

    def stop(self) -> None:
        thread, self.thread = self.thread, None
        if thread is not None:
            thread.stop()


_holder: Final = _Holder()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_holder.forked)
atexit.register(_holder.stop)


def run_in_background(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the process's background loop and waits for it.

    It blocks the calling thread. Called inside a running event loop, it blocks that loop too.
    """
    return _holder.get().run(work)


def close_in_background(close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Closes something on the background loop, if there is one: else nothing was opened there."""
    if _holder.thread is not None:
        _holder.thread.run(close())
