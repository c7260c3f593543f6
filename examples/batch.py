"""Many questions, so many at a time, with progress and a cost tracker.

Needs OPENAI_API_KEY and ANTHROPIC_API_KEY. Run: python examples/batch.py
"""

from __future__ import annotations

import asyncio

from cascadeflow import BatchProgress, CascadeAgent, CostTracker

COUNTRIES = ["Norway", "Peru", "Japan", "Kenya", "Canada", "Portugal"]


def show(progress: BatchProgress) -> None:
    """Prints how far the batch has come."""
    print(f"{progress.done} of {progress.total}, {progress.cost} USD so far")


async def main() -> None:
    """Asks for six capitals, three at a time."""
    tracker = CostTracker(budget_limit=1.00)
    models = ["openai:gpt-6-luna", "anthropic:claude-opus-5-5"]
    async with CascadeAgent(models, cost_tracker=tracker) as agent:
        batch = await agent.run_batch(
            [f"What is the capital of {country}?" for country in COUNTRIES],
            concurrency=3,
            on_progress=show,
            max_tokens=200,
        )
    for country, result, error in zip(COUNTRIES, batch.results, batch.errors, strict=True):
        print(f"{country:10} {error if result is None else result.content}")
    tracker.print_summary()


if __name__ == "__main__":
    asyncio.run(main())
