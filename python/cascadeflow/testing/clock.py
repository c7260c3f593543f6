"""A clock that stands still until a test turns it: nothing really waits."""

from __future__ import annotations

import asyncio
import heapq
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cascadeflow.errors import ConfigurationError

__all__ = ["ManualClock"]

_NANOSECONDS = 1_000_000_000

_SETTLE_PASSES = 32
"""Passes of the event loop that count as "everything has had its turn": a chain of hand-overs
between tasks, or a talk over a loopback socket on the same loop, needs one or two passes a step."""


@dataclass(order=True, slots=True)
class _Sleeper:
    deadline: int
    order: int
    loop: asyncio.AbstractEventLoop = field(compare=False)
    woken: asyncio.Future[None] = field(compare=False)


class ManualClock:
    """A `cascadeflow.clock.Clock` that moves only when it is told to.

    `sleep` returns when the clock has been moved past its end; who is due first wakes first, and of
    those due at the same moment, who fell asleep first. It may be shared by several event loops and
    threads: the order holds within each loop.

    >>> clock = ManualClock()
    >>> clock.advance(90)
    >>> clock.monotonic()
    90.0
    >>> clock.now().isoformat()
    '2026-01-01T00:01:30+00:00'
    """

    def __init__(
        self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC), *, autojump: bool = False
    ) -> None:
        """Sets the clock.

        Args:
            start: what `now()` says at first; must have a time zone.
            autojump: move by itself to the next sleeper's end whenever the event loop has nothing
                else to do, so that code which sleeps runs to its end at once, in simulated time.
                Only the loop that the sleeper is on is watched, so keep what shares such a clock
                on one loop: what another thread or process is doing, it cannot see.

        Raises:
            ConfigurationError: `start` has no time zone.
        """
        if start.tzinfo is None:
            raise ConfigurationError(
                "ManualClock needs a start with a time zone, such as datetime(..., tzinfo=UTC)"
            )
        self._start = start.astimezone(UTC)
        self._autojump = autojump
        # Whole nanoseconds: ten times a tenth of a second must be a second.
        self._elapsed = 0
        self._sleepers: list[_Sleeper] = []
        self._fallen_asleep = 0
        # Sleepers of a server in a background thread come and go while a test turns the clock.
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The start plus what the clock was moved by, in UTC."""
        return self._start + timedelta(microseconds=self._elapsed // 1_000)

    def monotonic(self) -> float:
        """Seconds the clock was moved by, in all."""
        return self._elapsed / _NANOSECONDS

    @property
    def sleepers(self) -> int:
        """How many sleeps have not ended yet."""
        return len(self._sleepers)

    @property
    def next_deadline(self) -> float | None:
        """When the next sleeper is due, in seconds of `monotonic()`; `None` when nobody sleeps."""
        deadline = self._next()
        return None if deadline is None else deadline / _NANOSECONDS

    async def sleep(self, seconds: float) -> None:
        """Waits until the clock has been moved by so many seconds; 0 or less only yields once."""
        nanoseconds = round(seconds * _NANOSECONDS)
        if nanoseconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        with self._lock:
            self._fallen_asleep += 1
            sleeper = _Sleeper(
                self._elapsed + nanoseconds, self._fallen_asleep, loop, loop.create_future()
            )
            heapq.heappush(self._sleepers, sleeper)
        if self._autojump:
            loop.call_soon(self._jump_when_idle, loop, sleeper.order, _SETTLE_PASSES)
        try:
            await sleeper.woken
        except asyncio.CancelledError:
            with self._lock:
                if sleeper in self._sleepers:  # not woken in the same moment
                    self._sleepers.remove(sleeper)
                    heapq.heapify(self._sleepers)
            raise

    def advance(self, seconds: float) -> None:
        """Moves the clock at once and wakes who is due, in order.

        The woken run when the caller next lets the event loop run, and find the clock at its new
        time: a task that sleeps a second at a time wakes once from `advance(10)`. `run_for(10)`
        wakes it ten times.

        Raises:
            ConfigurationError: `seconds` is negative; no clock goes back.
        """
        self._move_to(self._elapsed + _forward(seconds))

    async def run_for(self, seconds: float) -> None:
        """Moves the clock from one sleeper's end to the next, letting everything run at each.

        What wakes may sleep again, and is woken again at its time. "Everything" is what runs on
        this event loop without waiting for anything outside of it.

        Raises:
            ConfigurationError: `seconds` is negative; no clock goes back.
        """
        end = self._elapsed + _forward(seconds)
        await _settle()
        while (deadline := self._next()) is not None and deadline <= end:
            self._move_to(deadline)
            await _settle()
        self._move_to(end)

    def _next(self) -> int | None:
        with self._lock:
            return self._sleepers[0].deadline if self._sleepers else None

    def _move_to(self, moment: int) -> None:
        with self._lock:
            self._elapsed = max(self._elapsed, moment)
            due = []
            while self._sleepers and self._sleepers[0].deadline <= self._elapsed:
                due.append(heapq.heappop(self._sleepers))
        for sleeper in due:
            if not sleeper.loop.is_closed():
                sleeper.loop.call_soon_threadsafe(_wake, sleeper.woken)

    def _jump_when_idle(self, loop: asyncio.AbstractEventLoop, newest: int, passes: int) -> None:
        """Counts passes of the loop in which nobody fell asleep, then moves to the next end."""
        if newest != self._fallen_asleep:
            return  # a later sleeper counts now
        deadline = self._next()
        if deadline is None:
            return
        if passes == 0:
            self._move_to(deadline)
            passes = _SETTLE_PASSES
        loop.call_soon(self._jump_when_idle, loop, newest, passes - 1)


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


async def _settle() -> None:
    for _ in range(_SETTLE_PASSES):
        await asyncio.sleep(0)


def _forward(seconds: float) -> int:
    if not 0 <= seconds < float("inf"):
        raise ConfigurationError(
            f"a ManualClock moves forward only: advance it by 0 or more seconds, not {seconds}"
        )
    return round(seconds * _NANOSECONDS)
