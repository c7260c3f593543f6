"""What the alerts' tests share: an alert, and clocks that say how long they were waited on."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from cascadeflow.budgets.alerts import Alert
from cascadeflow.budgets.records import AccountStanding, Scope
from cascadeflow.testing import ManualClock

__all__ = ["LONG", "START", "Asleep", "Waits", "make_alert"]

LONG = 60.0
"""Seconds that a test waits for what comes at once."""

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_alert(
    name: str = "u1",
    *,
    scope: Scope | None = None,
    limit: int | None = 1_000_000_000,
    spent: int = 812_345_678,
    held: int = 0,
    **fields: Any,
) -> Alert:
    scope = scope or Scope("user", name)
    standing = AccountStanding(
        scope=scope,
        period="day",
        limit=limit,
        spent=spent,
        held=held,
        state=None,
        started_at=START.replace(hour=0),
        resets_at=START.replace(hour=0) + timedelta(days=1),
    )
    given: dict[str, Any] = {
        "scope": scope,
        "period": "day",
        "state": "warned",
        "standing": standing,
        "at": START,
        "mode": "block",
    }
    return Alert(**(given | fields))


class Waits(ManualClock):
    """Every wait ends at once; how long it was asked to be is written down."""

    def __init__(self) -> None:
        super().__init__(START)
        self.asked: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)


class Asleep(ManualClock):
    """Stands still, and says when somebody waits on it."""

    def __init__(self) -> None:
        super().__init__(START)
        self.reached = threading.Event()

    async def sleep(self, seconds: float) -> None:
        self.reached.set()
        await super().sleep(seconds)
