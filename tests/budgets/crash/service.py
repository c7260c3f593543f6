"""A service that is killed under load: an agent with a budget, and what its provider served.

    python service.py STORE_URL DURABILITY LIMIT SEED

Each line on standard output is `{"served": NANODOLLARS}`, written in one piece at the moment when
the provider charges, before its answer is on its way.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from decimal import Decimal
from typing import Any

from cascadeflow import CascadeAgent, CascadeFlowError, CostTracker, ModelConfig, Price, RetryPolicy
from cascadeflow.testing import CannedResponse, RecordingTransport


async def main(url: str, durability: Any, limit: str, seed: int) -> None:
    """Asks until it is killed, or until the budget is spent."""
    chance = random.Random(seed)

    async def respond(request: Any) -> CannedResponse | Exception:
        body = json.loads(request.body)
        await asyncio.sleep(0)
        tokens = chance.randint(1, body["max_completion_tokens"])
        served = 20 * 1_000 + tokens * 2_000
        os.write(1, json.dumps({"served": served}).encode() + b"\n")
        await asyncio.sleep(0)
        if chance.random() < 0.1:
            return ConnectionError("reset")
        usage = {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}
        message = {"role": "assistant", "content": "Oslo it is"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return CannedResponse.json({"model": "m", "choices": [choice], "usage": usage})

    price = Price(input=Decimal(1), output=Decimal(2))
    tracker = CostTracker(
        global_budget=limit,
        default_user_budget=limit,
        enforcement_mode="block",
        store=url,
        durability=durability,
    )
    agent = CascadeAgent(
        [ModelConfig("m", "openai", price=price, api_key="k", base_url="http://127.0.0.1:9/v1")],
        cost_tracker=tracker,
        transport=RecordingTransport(respond=respond),
        retry=RetryPolicy(attempts=2, base_delay=0, max_delay=0),
    )

    async def one_user(user: int) -> None:
        while True:
            try:
                await agent.run("Where?", user_id=f"u{user}", max_tokens=chance.randint(1, 500))
            except CascadeFlowError:
                await asyncio.sleep(0)

    await asyncio.gather(*(one_user(user) for user in range(8)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
