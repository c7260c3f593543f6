"""Ten thousand requests at once on one dollar: never over, nothing left held, nothing lost."""

from __future__ import annotations

import asyncio
import json
import random
from decimal import Decimal
from typing import Any

import pytest

from cascadeflow import CascadeAgent, CostTracker, ModelConfig, RetryPolicy
from cascadeflow.errors import AllModelsFailedError, BudgetExceededError
from cascadeflow.models.prices import Price
from cascadeflow.money import from_usd, to_usd
from cascadeflow.quality.report import QualityReport
from cascadeflow.testing import CannedResponse, RecordingTransport

INPUT, OUTPUT = 2, 8
"""Nanodollars a token, so that what the provider serves is a sum anybody can do."""


class Provider:
    """Serves answers of random length, fails at random, and writes down what it charged for."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.served: dict[str, int] = {}
        """Nanodollars by the text of the question: all that was really charged."""

    async def respond(self, request: Any) -> CannedResponse | Exception:
        body = json.loads(request.body)
        question = body["messages"][-1]["content"]
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)
        fate = self._random.random()
        if fate < 0.1:
            return CannedResponse.json({"error": {"message": "busy"}}, status=503)
        tokens = self._random.randint(1, body["max_completion_tokens"])
        usage = {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}
        self.served[question] = self.served.get(question, 0) + 20 * INPUT + tokens * OUTPUT
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)
        if fate < 0.15:
            return ConnectionError("reset")  # charged, and the answer is lost on the way
        text = "BAD" if fate < 0.4 else "good"
        if body.get("stream"):
            return streamed(body["model"], text, usage, breaks=fate > 0.95)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        return CannedResponse.json(
            {"id": "c", "model": body["model"], "choices": [choice], "usage": usage}
        )


def streamed(model: str, text: str, usage: Any, *, breaks: bool) -> CannedResponse:
    """A stream; one that breaks never says what it used, and was charged all the same."""

    def chunk(**fields: Any) -> dict[str, Any]:
        return {"id": "c", "object": "chat.completion.chunk", "model": model, **fields}

    def choice(delta: dict[str, Any], finish: str | None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": finish}]

    start = chunk(choices=choice({"role": "assistant", "content": text}, None))
    if breaks:
        return CannedResponse.events([start], breaks_with=ConnectionError("reset"))
    end = chunk(choices=choice({}, "stop"))
    return CannedResponse.events([start, end, chunk(choices=[], usage=usage), "[DONE]"])


class Validator:
    """Rejects what says BAD."""

    def judge(self, _: Any, completion: Any, *, config: Any) -> QualityReport:
        return QualityReport(mode=config.mode, accepted=completion.text == "good", reason="it says")


def model(name: str) -> ModelConfig:
    per_million = Price(input=Decimal("0.002"), output=Decimal("0.008"))
    return ModelConfig(
        name, "openai", price=per_million, api_key="k", base_url="http://127.0.0.1:9/v1"
    )


async def storm(
    tracker: CostTracker, provider: Provider, *, users: list[str], runs: int, seed: int
) -> dict[str, int]:
    """Runs so many requests at once, some cancelled on the way; gives what became of them."""
    chance = random.Random(seed)
    agent = CascadeAgent(
        [model("small"), model("big")],
        cost_tracker=tracker,
        order="given",
        transport=RecordingTransport(respond=provider.respond),
        validator=Validator(),
        retry=RetryPolicy(attempts=2, base_delay=0, max_delay=0),
    )
    fates = {"answered": 0, "refused": 0, "failed": 0, "cancelled": 0}

    async def one(number: int, tokens: int, steps: int | None, *, streamed: bool) -> None:
        user = users[number % len(users)]
        question = f"question {number}"

        async def ask() -> None:
            if not streamed:
                await agent.run(question, user_id=user, max_tokens=tokens)
                return
            stream = agent.stream(question, user_id=user, max_tokens=tokens)
            try:
                async for _ in stream:
                    pass
            finally:
                await stream.aclose()

        task = asyncio.ensure_future(ask())
        if steps is not None:
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
        try:
            await task
        except BudgetExceededError:
            fates["refused"] += 1
        except AllModelsFailedError:
            fates["failed"] += 1
        except asyncio.CancelledError:
            fates["cancelled"] += 1
        else:
            fates["answered"] += 1

    await asyncio.gather(
        *(
            one(
                number,
                chance.randint(1, 60_000),
                chance.randrange(30) if chance.random() < 0.1 else None,
                streamed=chance.random() < 0.2,
            )
            for number in range(runs)
        )
    )
    return fates


def audit(tracker: CostTracker, provider: Provider) -> None:
    """The log, the ledger and the provider's own list say the same."""
    confirmed: dict[str, int] = {}
    booked = 0
    unconfirmed = 0
    for event in tracker.events():
        charge = event.charge
        booked += event.booked
        if charge.confirmed:
            confirmed[event.request_id] = confirmed.get(event.request_id, 0) + event.booked
            assert charge.overrun == 0
        else:
            unconfirmed += 1
            assert event.booked == charge.held
    assert to_usd(booked) == tracker.spent
    served = sum(provider.served.values())
    assert booked >= served
    if not unconfirmed:
        assert booked == served


@pytest.mark.parametrize("mode", ["block", "degrade"])
def test_ten_thousand_requests_on_one_dollar(mode: Any) -> None:
    provider = Provider(seed=1)
    tracker = CostTracker(
        user_budgets={"u1": "1.00"}, enforcement_mode=mode, keep=100_000, min_output=1
    )
    fates = asyncio.run(storm(tracker, provider, users=["u1"], runs=10_000, seed=2))
    (account,) = tracker.accounts("user:u1")
    assert account.spent <= account.limit == from_usd(1)
    assert account.held == 0
    assert min(fates["answered"], fates["refused"], fates["cancelled"]) > 0
    audit(tracker, provider)
    # Nothing was lost: what is left can still be spent, down to less than a request's hold.
    asyncio.run(storm(tracker, provider, users=["u1"], runs=200, seed=6))
    (later,) = tracker.accounts("user:u1")
    assert account.spent < later.spent <= from_usd(1)
    audit(tracker, provider)


def test_with_confirmed_calls_only_the_ledger_equals_the_providers_list() -> None:
    class Reliable(Provider):
        async def respond(self, request: Any) -> CannedResponse | Exception:
            body = json.loads(request.body)
            tokens = self._random.randint(1, body["max_completion_tokens"])
            await asyncio.sleep(0)
            if self._random.random() < 0.2:
                return CannedResponse.json({"error": {"message": "busy"}}, status=503)
            question = body["messages"][-1]["content"]
            charged = 20 * INPUT + tokens * OUTPUT
            self.served[question] = self.served.get(question, 0) + charged
            usage = {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}
            message = {"role": "assistant", "content": self._random.choice(["good", "BAD"])}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return CannedResponse.json(
                {"id": "c", "model": body["model"], "choices": [choice], "usage": usage}
            )

    provider = Reliable(seed=3)
    tracker = CostTracker(global_budget="5.00", enforcement_mode="block", keep=100_000)

    async def main() -> None:
        agent = CascadeAgent(
            [model("small"), model("big")],
            cost_tracker=tracker,
            order="given",
            transport=RecordingTransport(respond=provider.respond),
            validator=Validator(),
            retry=RetryPolicy(attempts=2, base_delay=0, max_delay=0),
        )
        tasks = [agent.run(f"question {n}", max_tokens=20_000) for n in range(2_000)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                assert isinstance(result, (BudgetExceededError, AllModelsFailedError))

    asyncio.run(main())
    (account,) = tracker.accounts("global")
    assert account.held == 0
    assert account.spent == sum(provider.served.values()) <= from_usd(5)


def test_sixty_four_first_requests_of_a_user_nobody_knows() -> None:
    provider = Provider(seed=4)
    tracker = CostTracker(
        user_budgets={"known": 5},
        default_user_budget="0.001",
        enforcement_mode="block",
        keep=10_000,
    )
    asyncio.run(storm(tracker, provider, users=["stranger"], runs=64, seed=5))
    (account,) = tracker.accounts("user:stranger")
    assert account.limit == from_usd("0.001")
    assert 0 < account.spent <= account.limit
    assert account.held == 0
    audit(tracker, provider)
