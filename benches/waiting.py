"""How many of a burst pass a small budget: refused at once where it does not fit, or made to wait.

    python benches/waiting.py [--requests 600] [--json]

One user's requests come all at once on a budget of one cent. Each is held at its worst case (draft
and verifier with all the output that they may give, $0.0033) and costs what the provider says then:
tokens drawn at random, one draft in five rejected and asked again of the dearer model. Under
`on_limit="refuse"` whoever does not fit beside those under way is refused, though most of their
money comes back; under `"wait"` it waits for that. Both meet the same answers, and the budget is
never exceeded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from cascadeflow import CascadeAgent, ModelConfig, Price, TierConfig, Tiers
from cascadeflow.errors import BudgetExceededError
from cascadeflow.quality import QualityReport
from cascadeflow.testing import CannedResponse, RecordingTransport

PRICES = {"small": (1, 1), "big": (10, 10)}
"""US dollars a million tokens, input and output."""

BUDGET = Decimal("0.01")
MAX_TOKENS = 200


@dataclass(frozen=True, slots=True)
class Burst:
    """What became of a burst.

    Attributes:
        on_limit: what the tier does with who does not fit.
        requests: how many came at once.
        passed: how many were answered.
        spent: the share of the budget that was spent.
        longest_wait_ms: how long who was answered waited at most, for the others' answers.
    """

    on_limit: str
    requests: int
    passed: int
    spent: float
    longest_wait_ms: float


class Judge:
    """Rejects what says no."""

    def judge(self, _: Any, completion: Any, *, config: Any) -> QualityReport:
        return QualityReport(mode=config.mode, accepted=completion.text == "yes", reason="it says")


def agent_for(on_limit: Any, requests: int) -> CascadeAgent:
    chance = random.Random(7)

    async def respond(request: Any) -> CannedResponse:
        body = json.loads(request.body)
        tokens = chance.randint(1, 20)
        text = "no" if body["model"] == "small" and chance.random() < 0.2 else "yes"
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        usage = {"prompt_tokens": 15, "completion_tokens": tokens, "total_tokens": 15 + tokens}
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return CannedResponse.json({"model": body["model"], "choices": [choice], "usage": usage})

    models = [
        ModelConfig(
            name,
            "openai",
            price=Price(input=each_input, output=each_output),
            api_key="k",
            base_url="http://127.0.0.1:9/v1",
        )
        for name, (each_input, each_output) in PRICES.items()
    ]
    tier = TierConfig("free", budget=BUDGET, on_limit=on_limit, max_wait=600)
    return CascadeAgent(
        models,
        tier_config=Tiers({"free": tier}, queue_size=requests),
        transport=RecordingTransport(respond=respond),
        validator=Judge(),
    )


async def burst(on_limit: Any, requests: int) -> Burst:
    """Asks so often at once; gives what became of it."""
    async with agent_for(on_limit, requests) as agent:
        question = "What is the capital of Norway?"
        work = [agent.run(question, user_id="ann", max_tokens=MAX_TOKENS) for _ in range(requests)]
        done = await asyncio.gather(*work, return_exceptions=True)
        tracker = agent.cost_tracker
        if tracker is None:
            raise AssertionError("nobody counts the money")
        (account,) = tracker.accounts("user:ann")
    waits = []
    for each in done:
        if isinstance(each, BudgetExceededError):
            continue
        if isinstance(each, BaseException):
            raise each
        waits.append(each.tier.waited_ms)
    spent = Decimal(account.spent) / 10**9
    if account.held or spent > BUDGET:
        raise AssertionError("the budget was exceeded, or money lost")
    return Burst(on_limit, requests, len(waits), float(spent / BUDGET), max(waits))


def main() -> None:
    """Runs both and prints what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    found = [asyncio.run(burst(way, arguments.requests)) for way in ("refuse", "wait")]
    for each in found:
        print(
            f"{each.on_limit:>6}: {each.passed} of {each.requests} answered, {each.spent:.0%} of "
            f"${BUDGET} spent, at most {each.longest_wait_ms:.0f} ms waited"
        )
    if arguments.json:
        print(json.dumps({each.on_limit: asdict(each) for each in found}))


if __name__ == "__main__":
    main()
