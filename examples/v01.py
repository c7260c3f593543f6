"""A program written for v0.1: it runs unchanged.

Needs OPENAI_API_KEY. Run: python examples/v01.py
"""

from __future__ import annotations

import asyncio

from cascadeflow import CascadeAgent, CostTracker, ModelConfig, StreamEventType


async def main() -> None:
    """Asks, streams and tracks as v0.1's documentation did."""
    agent = CascadeAgent(
        models=[
            ModelConfig(name="gpt-4o-mini", provider="openai", cost=0.00015),
            ModelConfig(name="gpt-4o", provider="openai", cost=0.00625),
        ],
        enable_cascade=True,
        verbose=True,
    )
    tracker = CostTracker(budget_limit=10.00)
    result = await agent.run("What is the capital of Norway?", max_tokens=100, temperature=0.7)
    print(f"{result.content}\n{result.model_used}: ${result.total_cost:.6f}")
    print(f"saved ${result.cost_saved:.6f}, draft accepted: {result.draft_accepted}")
    tracker.add_cost(model=result.model_used, provider="openai", tokens=50, cost=result.total_cost)
    async for event in agent.stream_events("What is the capital of Peru?", max_tokens=100):
        if event.type == StreamEventType.CHUNK:
            print(event.content, end="", flush=True)
        elif event.type == StreamEventType.COMPLETE:
            print(f"\n${event.data['result']['total_cost']:.6f}")
    tracker.print_summary()


if __name__ == "__main__":
    asyncio.run(main())
