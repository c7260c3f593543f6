"""An answer as a Python object: a draft that does not fit it is never used.

Needs OPENAI_API_KEY and ANTHROPIC_API_KEY. Run: python examples/structured_output.py
"""

from __future__ import annotations

import asyncio
from typing import Literal

from pydantic import BaseModel, Field

from cascadeflow import CascadeAgent

TICKET = (
    "Ticket: the invoice of March shows 240 EUR twice, and I was charged for both. Please hurry!"
)


class Triage(BaseModel):
    """Where a ticket goes."""

    department: Literal["billing", "technical", "sales"]
    urgency: int = Field(ge=1, le=5, description="5 is the most urgent")
    amounts: list[float] = Field(default=[], description="sums of money in it")
    summary: str


async def main() -> None:
    """Asks, and prints the object."""
    async with CascadeAgent(["openai:gpt-6-luna", "anthropic:claude-opus-5-5"]) as agent:
        result = await agent.run(f"Where does this go?\n{TICKET}", response_format=Triage)
    triage = result.parsed
    if not isinstance(triage, Triage):  # not even the last model gave what was asked for
        print(f"no answer that fits: {result.parse_problem}")
        return
    print(f"to {triage.department}, urgency {triage.urgency}: {triage.summary}")
    print(f"answered by {result.model_used}, {'draft' if result.draft_accepted else 'verified'}")


if __name__ == "__main__":
    asyncio.run(main())
