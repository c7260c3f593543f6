"""A directory whose resolver answers when, and what, it is told to."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from cascadeflow.testing.clock import ManualClock
from cascadeflow.tiers.config import TierConfig
from cascadeflow.tiers.directory import Directory

if TYPE_CHECKING:
    from cascadeflow.tiers.directory import Membership

TIERS = {
    "free": TierConfig("free", max_tokens=256),
    "pro": TierConfig("pro", max_tokens=4096, priority=10),
}
SECRET = "postgres://app:hunter2@db/users"


class Site:
    """A directory with a manual clock, and a resolver that answers as it is told to."""

    def __init__(self, answer: Any = "pro", *, slow: bool = False, **settings: Any) -> None:
        self.clock = ManualClock()
        self.answer = answer
        self.asked: Counter[str] = Counter()
        self.cancelled = 0
        self.gate: asyncio.Event | None = None
        self.directory = Directory(
            **{
                "tiers": TIERS,
                "default": "free",
                "resolver": self.slowly if slow else self.at_once,
                "clock": self.clock,
                **settings,
            }
        )

    def at_once(self, user_id: str) -> Any:
        self.asked[user_id] += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def slowly(self, user_id: str) -> Any:
        self.asked[user_id] += 1
        self.gate = gate = asyncio.Event()
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def let_go(self) -> None:
        assert self.gate is not None
        self.gate.set()

    async def find(self, user_id: str = "ann") -> Membership:
        return await self.directory.find(user_id, None)

    def find_now(self, user_id: str = "ann") -> Membership:
        return asyncio.run(self.find(user_id))


async def turns() -> None:
    """Lets every task have its turn."""
    for _ in range(10):
        await asyncio.sleep(0)
