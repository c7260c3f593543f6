"""One timer for all the deadlines of a call.

`asyncio.timeout` arms and disarms a timer for every wait, which is felt when a stream comes in many
small pieces. Here a wait only notes its deadline; the timer that is armed already looks at it when
it fires, and is armed anew only for a deadline that is earlier than its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")

_NEVER: Final = float("inf")
_LOOK_SECONDS: Final = 20.0

__all__ = ["Deadline"]


class Deadline:
    """Limits awaits, one at a time; close it when the call is over."""

    __slots__ = ("_cancelled", "_handle", "_loop", "_task", "_when")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._when = 0.0
        self._cancelled = False

    async def limit(self, awaitable: Awaitable[T], seconds: float | None) -> T:
        """Awaits something for at most so many seconds; `None` waits for ever.

        Raises:
            TimeoutError: the seconds passed first.
        """
        task = asyncio.current_task()
        if task is None:
            return await awaitable
        cancelling = task.cancelling()
        self._task = task
        self.move(seconds)
        late = False
        try:
            return await awaitable
        except asyncio.CancelledError:
            late = self._cancelled
            raise
        finally:
            self._task = None
            if self._cancelled:
                self._cancelled = False
                # Ours becomes a time-out, unless the task is being cancelled from outside as well.
                if task.uncancel() <= cancelling and late:
                    raise TimeoutError from None

    def move(self, seconds: float | None) -> None:
        """Gives the wait under way so many seconds from now."""
        if seconds is None:
            self._when = _NEVER
            return
        now = self._loop.time()
        self._when = when = now + seconds
        handle = self._handle
        if handle is None or when < handle.when():
            if handle is not None:
                handle.cancel()
            self._arm(now)

    def close(self) -> None:
        """Disarms the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look(self) -> None:
        self._handle = None
        task = self._task
        if task is None:
            return
        now = self._loop.time()
        if self._when > now:
            if self._when != _NEVER:
                self._arm(now)
        elif not self._cancelled:
            self._cancelled = True
            task.cancel()

    def _arm(self, now: float) -> None:
        # Sooner than needed: the next wait's deadline is then seldom earlier, and an early look is
        # cheaper than a timer.
        self._handle = self._loop.call_at(min(self._when, now + _LOOK_SECONDS), self._look)
