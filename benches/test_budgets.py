"""What budgets add to a request: one call in memory, with and without them.

The transport answers at once, so that nothing is measured but this package. The reference is the
same agent without a tracker; `speed` without a store, with a SQLite file, and with each hold on
disk before its call (`durability="strict"`, which waits for the disk).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import BudgetConfig, CascadeAgent, CostTracker, ModelConfig, Price

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

ADDED = "request under budgets, in memory"
BODY = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"The capital of Norway is Oslo, on the Oslofjord."},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":15,"completion_tokens":12,'
    b'"total_tokens":27}}'
)
LIMITS = BudgetConfig(daily=10_000, monthly=100_000, total=1_000_000)


class Response:
    status = 200
    headers = {"content-type": "application/json"}  # noqa: RUF012 - a response of the wire's form

    async def chunks(self) -> AsyncIterator[bytes]:
        yield BODY

    async def aclose(self) -> None:
        return None


class Transport:
    async def send(self, _: Any) -> Response:
        return Response()

    async def aclose(self) -> None:
        return None


def tracker(kind: str, folder: Path) -> CostTracker | None:
    if kind == "none":
        return None
    store: dict[str, Any] = {}
    if kind != "memory":
        store = {"store": f"sqlite:///{folder / 'budgets.db'}"}
    if kind == "strict":
        store["durability"] = "strict"
    return CostTracker(
        global_budget=LIMITS,
        default_user_budget=LIMITS,
        budgets={"team:*": LIMITS, "tag:*": LIMITS},
        enforcement_mode="block",
        **store,
    )


class Asker:
    def __init__(self, kind: str, folder: Path) -> None:
        self.tracker = tracker(kind, folder)
        self.loop = asyncio.new_event_loop()
        models = [
            ModelConfig(name, "openai", price=Price(input=1, output=cost), api_key="k")
            for name, cost in (("small", 2), ("big", 30))
        ]
        self.agent = CascadeAgent(models, cost_tracker=self.tracker, transport=Transport())

    def ask(self) -> None:
        result = self.loop.run_until_complete(
            self.agent.run(
                "What is the capital of Norway?",
                user_id="ann",
                team="research",
                tags=("nightly",),
                max_tokens=100,
            )
        )
        assert result.content

    def close(self) -> None:
        self.loop.run_until_complete(self.agent.aclose())
        if self.tracker is not None:
            self.tracker.close()
        self.loop.close()


@pytest.fixture
def asker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asker]:
    made = Asker(request.param, tmp_path)
    made.ask()
    yield made
    made.close()


@pytest.mark.parametrize("asker", ["memory"], indirect=True)
def test_a_request_under_budgets(benchmark: Any, asker: Asker) -> None:
    benchmark.extra_info |= {"figure": ADDED, "role": "figure", "gate_s": 0.005}
    benchmark(asker.ask)


@pytest.mark.parametrize("asker", ["none"], indirect=True)
def test_a_request_without_budgets(benchmark: Any, asker: Asker) -> None:
    benchmark.extra_info |= {"figure": ADDED, "role": "reference", "reference": "without budgets"}
    benchmark(asker.ask)


@pytest.mark.parametrize("asker", ["sqlite"], indirect=True)
def test_a_request_under_budgets_in_a_file(benchmark: Any, asker: Asker) -> None:
    benchmark.extra_info |= {
        "figure": "request under budgets, SQLite",
        "role": "figure",
        "gate_s": 0.005,
    }
    benchmark(asker.ask)


@pytest.mark.parametrize("asker", ["strict"], indirect=True)
def test_a_request_with_its_hold_on_disk(benchmark: Any, asker: Asker) -> None:
    benchmark.extra_info |= {
        "figure": "request under budgets, strict",
        "role": "figure",
        "gate_s": None,
    }
    benchmark(asker.ask)
