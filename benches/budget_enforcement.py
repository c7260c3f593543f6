"""How often a budget holds when many spend at once: here, and with a counter checked before acting.

    python benches/budget_enforcement.py [--trials 40] [--json]

A trial is a budget and a burst of requests at once, each of a cost nobody knows beforehand (tokens
drawn at random, some answers rejected and asked again of a dearer model, some calls failing, some
requests cancelled). It is enforced when the provider's own list of what it served never exceeds the
budget. The reference does what most tools do: it reads the counter, asks the model, and adds what
that cost. Both meet the same provider, the same questions and the same seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cascadeflow import CascadeAgent, CostTracker, ModelConfig, Price, RetryPolicy
from cascadeflow.errors import AllModelsFailedError, BudgetExceededError
from cascadeflow.money import from_usd, to_usd
from cascadeflow.quality import QualityReport
from cascadeflow.testing import CannedResponse, RecordingTransport

PRICES = {"small": (1, 4), "big": (5, 20)}
"""Nanodollars a token, input and output."""


@dataclass
class Provider:
    """Charges for what it serves, and writes it down."""

    random: random.Random
    served: int = 0

    async def respond(self, request: Any) -> CannedResponse | Exception:
        body = json.loads(request.body)
        await asyncio.sleep(0)
        fate = self.random.random()
        if fate < 0.05:
            return CannedResponse.json({"error": {"message": "busy"}}, status=503)
        tokens = self.random.randint(1, body["max_completion_tokens"])
        per_input, per_output = PRICES[body["model"]]
        self.served += 20 * per_input + tokens * per_output
        await asyncio.sleep(0)
        usage = {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}
        message = {"role": "assistant", "content": "no" if fate < 0.3 else "yes"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return CannedResponse.json({"model": body["model"], "choices": [choice], "usage": usage})


class Judge:
    """Rejects what says no."""

    def judge(self, _: Any, completion: Any, *, config: Any) -> QualityReport:
        return QualityReport(mode=config.mode, accepted=completion.text == "yes", reason="it says")


def agent_for(provider: Provider, tracker: CostTracker | None) -> CascadeAgent:
    models = [
        ModelConfig(
            name,
            "openai",
            price=Price(input=Decimal(i) / 1000, output=Decimal(o) / 1000),
            api_key="k",
            base_url="http://127.0.0.1:9/v1",
        )
        for name, (i, o) in PRICES.items()
    ]
    return CascadeAgent(
        models,
        cost_tracker=tracker,
        transport=RecordingTransport(respond=provider.respond),
        validator=Judge(),
        retry=RetryPolicy(attempts=2, base_delay=0, max_delay=0),
    )


async def burst(ask: Any, requests: int, chance: random.Random) -> None:
    """All at once; one in twenty is cancelled on its way."""

    async def one(number: int) -> None:
        task = asyncio.ensure_future(ask(number))
        if chance.random() < 0.05:
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
        try:
            await task
        except (BudgetExceededError, AllModelsFailedError, asyncio.CancelledError):
            return

    await asyncio.gather(*(one(number) for number in range(requests)))


def ours(budget: int, requests: int, seed: int) -> tuple[int, int]:
    provider = Provider(random.Random(seed))
    tracker = CostTracker(global_budget=to_usd(budget), enforcement_mode="block")
    agent = agent_for(provider, tracker)

    async def ask(number: int) -> None:
        await agent.run(f"question {number}", max_tokens=2_000)

    asyncio.run(burst(ask, requests, random.Random(seed + 1)))
    (account,) = tracker.accounts("global")
    if account.held or account.spent < provider.served:
        raise AssertionError("the ledger lost money")
    return provider.served, account.spent


def check_then_act(budget: int, requests: int, seed: int) -> int:
    provider = Provider(random.Random(seed))
    agent = agent_for(provider, None)
    spent = 0

    async def ask(number: int) -> None:
        nonlocal spent
        if spent >= budget:
            raise BudgetExceededError(
                "the counter is full",
                scope="global",
                name="",
                period="total",
                limit=to_usd(budget),
                spent=to_usd(spent),
                held=Decimal(0),
                requested=Decimal(0),
                resets_at=None,
                permanent=False,
            )
        result = await agent.run(f"question {number}", max_tokens=2_000)
        spent += from_usd(result.cost.total or 0)

    asyncio.run(burst(ask, requests, random.Random(seed + 1)))
    return provider.served


def main() -> None:
    """Runs the trials and prints what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    chance = random.Random(7)
    kept = kept_by_counter = 0
    overshoot: list[float] = []
    used: list[float] = []
    for trial in range(arguments.trials):
        budget = chance.randrange(200_000, 3_000_000)
        served, spent = ours(budget, arguments.requests, trial)
        kept += served <= spent <= budget
        used.append(served / budget)
        without = check_then_act(budget, arguments.requests, trial)
        kept_by_counter += without <= budget
        overshoot.append(without / budget)
    found = {
        "trials": arguments.trials,
        "requests": arguments.requests,
        "enforced": kept / arguments.trials,
        "median_used": statistics.median(used),
        "check_then_act_enforced": kept_by_counter / arguments.trials,
        "check_then_act_median_spent": statistics.median(overshoot),
        "check_then_act_largest_spent": max(overshoot),
    }
    print(
        f"{arguments.trials} budgets, {arguments.requests} requests at once on each\n"
        f"this package:   {found['enforced']:.1%} enforced, {found['median_used']:.0%} of the "
        "budget served (median)\n"
        f"check then act: {found['check_then_act_enforced']:.1%} enforced, spends "
        f"{found['check_then_act_median_spent']:.1f} times the budget (median), at most "
        f"{found['check_then_act_largest_spent']:.1f} times"
    )
    if arguments.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
