"""A small Gemini drafts, a larger one checks; thinking is set in Google's own words.

Needs GEMINI_API_KEY. Run: python examples/gemini.py
"""

from __future__ import annotations

import asyncio

from cascadeflow import CascadeAgent, ModelConfig

DRAFT = ModelConfig("gemini-3.5-flash-lite", "gemini")
VERIFIER = ModelConfig(
    "gemini-3.1-pro-preview",
    "gemini",
    # Whatever this package has no word for goes into the request as it stands.
    extra={"generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}},
)


async def main() -> None:
    """Asks, and prints who answered, what it cost and how much of it was thinking."""
    async with CascadeAgent([DRAFT, VERIFIER]) as agent:
        result = await agent.run("How many r are there in 'strawberry'? One word.")
    print(result.content)
    print(f"answered by  {result.routing.model_used} ({result.routing.reason})")
    print(f"cost         {result.cost.total} USD, saved {result.cost.saved} USD")
    if (usage := result.usage) is not None:
        print(f"thinking     {usage.reasoning_tokens} of {usage.total_tokens} tokens")


if __name__ == "__main__":
    asyncio.run(main())
