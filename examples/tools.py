"""Python functions as tools: the agent runs what the models ask for, and they answer with it.

Needs OPENAI_API_KEY and ANTHROPIC_API_KEY. Run: python examples/tools.py
"""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import Field

from cascadeflow import CascadeAgent, ToolContext, tool

PRICES = {"single": 90, "double": 140}
BOOKINGS: dict[str, list[str]] = {}


def room_price(
    kind: Literal["single", "double"],
    nights: Annotated[int, Field(ge=1, le=30, description="how many nights")] = 1,
) -> dict[str, int]:
    """Says what a hotel room costs, in euros."""
    return {"euros": PRICES[kind] * nights}


@tool(name="book_room", strict=True)
async def book(kind: Literal["single", "double"], arrival: date, context: ToolContext) -> str:
    """Books a room for one night.

    Args:
        kind: which room.
        arrival: the day the guest comes.
        context: who asks; the model neither sees nor fills it.
    """
    if arrival < date.today() - timedelta(days=1):  # noqa: DTZ011 - the hotel's own day
        raise ValueError("that day is over")  # the model reads this and may try again
    # Who books is what the server says, never what the model says.
    BOOKINGS.setdefault(context.user_id or "guest", []).append(f"{kind} {arrival}")
    return "booked"


async def main() -> None:
    """Asks, and prints each step and what it all cost."""
    async with CascadeAgent(["openai:gpt-6-luna", "anthropic:claude-opus-5-5"]) as agent:
        result = await agent.run(
            "What is the room price of a double room for 3 nights?",
            tools=[room_price, book],
            tool_executor=True,
            max_steps=5,
            user_id="ann",
        )
    for number, step in enumerate(result.steps, start=1):
        for outcome in step.outcomes:
            print(f"step {number}  {outcome.call.name}({outcome.call.arguments})")
            print(f"        -> {outcome.error or outcome.content}, {outcome.duration_ms:.1f} ms")
    print(result.content)
    print(f"cost    {result.cost.total} USD in {len(result.steps) + 1} steps")


if __name__ == "__main__":
    asyncio.run(main())
