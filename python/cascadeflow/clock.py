"""Time is passed in: the clock everything asks, so that tests turn it by hand."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """What this package needs to know of time."""

    def now(self) -> datetime:
        """The wall clock, in UTC: which price and which budget period hold."""

    def monotonic(self) -> float:
        """Seconds that never go back, from an unnamed start: how long things take."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""


class SystemClock:
    """The machine's own clock."""

    __slots__ = ()

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    monotonic = staticmethod(time.perf_counter)  # asked some twenty times a request

    async def sleep(self, seconds: float) -> None:
        """Waits on the running event loop."""
        await asyncio.sleep(seconds)
