"""Requests that wait for money, and calls that last until a test lets them go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agent_world import QUESTION, World, until

from cascadeflow import TierConfig
from cascadeflow.pipeline import events

if TYPE_CHECKING:
    from cascadeflow import CascadeAgent, CascadeResult

ANSWER: dict[str, Any] = {"text": "small says", "input_tokens": 10, "output_tokens": 5}
"""What costs next to nothing beside what is held for it."""

COST = 20_000
"""Nanodollars that the answer costs: 10 tokens in at 1 US dollar a million, 5 out at 2."""

ONE = "0.0022"
"""US dollars: room for one call of 1,000 output tokens and what some have cost, not for two."""

TWO = "0.0043"


class Calls:
    """The calls under way, each of which lasts until it is let go."""

    def __init__(self, world: World) -> None:
        self.open: list[asyncio.Future[None]] = []
        world.meanwhile = self._last

    async def _last(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self.open.append(future)
        try:
            await future
        finally:
            if future in self.open:
                self.open.remove(future)

    async def begun(self, count: int) -> None:
        """Waits until so many are under way."""
        await until(lambda: len(self.open) == count)

    def let_go(self) -> None:
        """Ends the one that was begun first."""
        self.open.pop(0).set_result(None)


def site(**scripts: Any) -> tuple[World, Calls]:
    """A world with one cheap model, whose calls last until they are let go."""
    world = World(**{"small": [ANSWER], **scripts})
    return world, Calls(world)


def waits(max_wait: float = 30.0, **fields: Any) -> dict[str, TierConfig]:
    """One tier that waits; `budget` is room for one call at a time."""
    fields = {"budget": ONE, **fields}
    return {"free": TierConfig("free", on_limit="wait", max_wait=max_wait, **fields)}


def asks(agent: CascadeAgent, **options: Any) -> asyncio.Task[CascadeResult]:
    """Asks, as a task."""
    options = {"query": QUESTION, "user_id": "ann", "max_tokens": 1000, **options}
    return asyncio.ensure_future(agent.run(**options))


async def settled() -> None:
    """Lets everything run that can."""
    for _ in range(60):
        await asyncio.sleep(0)


def queued(world: World) -> list[str]:
    """What those wait for who were told so, in order."""
    return [event.limit for event in world.events if isinstance(event, events.RequestQueued)]


def held(agent: CascadeAgent) -> int:
    """Nanodollars that are held on any account."""
    assert agent.cost_tracker is not None
    return sum(account.held for account in agent.cost_tracker.accounts())
