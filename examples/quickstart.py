"""One question, and the proof of how it was answered.

Needs OPENAI_API_KEY and ANTHROPIC_API_KEY. Run: python examples/quickstart.py
"""

from __future__ import annotations

import asyncio

from cascadeflow import CascadeAgent


async def main() -> None:
    """Asks, and prints what the answer cost and why it went where it went."""
    async with CascadeAgent(["openai:gpt-6-luna", "anthropic:claude-opus-5-5"]) as agent:
        result = await agent.run("What is the capital of Norway?")
    print(result.content)
    print(f"answered by  {result.routing.model_used} ({result.routing.reason})")
    print(f"cost         {result.cost.total} USD")
    print(f"saved        {result.cost.saved} USD ({result.cost.saved_basis})")
    print(f"draft        {'accepted' if result.draft_accepted else result.quality.reason}")
    print(f"time         {result.timing.total_ms:.0f} ms, {result.timing.overhead_ms:.2f} ms ours")


if __name__ == "__main__":
    asyncio.run(main())
