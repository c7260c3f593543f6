"""Budgets that hold: a day's limit a user, a total for everybody, what happens when they run out.

Needs OPENAI_API_KEY and ANTHROPIC_API_KEY. Run: python examples/budgets.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from cascadeflow import BudgetConfig, BudgetExceededError, CascadeAgent, CostTracker, LogAlert

MODELS = ["openai:gpt-6-luna", "anthropic:claude-opus-5-5"]


async def main() -> None:
    """Asks for Ann, who may spend a dollar a day, and for Eve, who may spend next to nothing."""
    with tempfile.TemporaryDirectory() as folder:
        tracker = CostTracker(
            global_budget=100,
            user_budgets={"ann": BudgetConfig(daily=1, timezone="Europe/Oslo")},
            default_user_budget=BudgetConfig(daily="0.000001"),
            enforcement_mode="block",
            alert_channels=[LogAlert()],
            store=f"sqlite:///{Path(folder) / 'budgets.db'}",
        )
        async with CascadeAgent(MODELS, cost_tracker=tracker) as agent:
            result = await agent.run("What is the capital of Norway?", user_id="ann")
            print(result.content)
            print(f"cost {result.cost.total} USD, {result.budget.remaining} USD left")
            try:
                await agent.run("What is the capital of Peru?", user_id="eve")
            except BudgetExceededError as error:
                print(f"{error.account}: {error.limit} USD; resets at {error.resets_at}")
        for account in tracker.accounts():
            print(account.scope, account.period, account.spent, "of", account.limit, "nanodollars")
        await tracker.aclose()


if __name__ == "__main__":
    asyncio.run(main())
