"""What a whole call costs above its transport, beside the OpenAI SDK and LiteLLM.

Everyone asks the same simulated provider, in a process of its own, for the same answer, one call
after another over one kept connection. A bare httpx2 call that sends the same bytes and reads the
whole body is what all others are measured from. The rounds of all clients are interleaved, so that
a busy moment of the machine meets them all, and a client's overhead is the median of its
differences from the bare call of the same round.

LiteLLM is measured in a process of its own, by the Python that `CASCADEFLOW_LITELLM_PYTHON` names
(one that has it), or by this one.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import pytest

from cascadeflow import CascadeAgent, Price
from cascadeflow.testing import SimulatedModel, start_in_process

FIGURE = "whole call overhead, fast"
WHOLE = "whole call, fast"
QUESTION = "What is the capital of Norway?"
ANSWER = "The capital of Norway is Oslo, a city of about 700,000 people on the Oslofjord."
ROUNDS = 60
CALLS = 10

LITELLM = """
import asyncio, json, os, sys, time, warnings
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
warnings.simplefilter("ignore")
import litellm
litellm.telemetry = False
litellm.suppress_debug_info = True
base_url, rounds, calls, question = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

async def ask():
    answer = await litellm.acompletion(
        model="openai/small", api_base=base_url, api_key="k", max_retries=0,
        messages=[{"role": "user", "content": question}],
    )
    assert answer.choices[0].message.content

async def main():
    for _ in range(3 * calls):
        await ask()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            await ask()
        times.append((time.perf_counter() - start) / calls)
    print(json.dumps(times))

asyncio.run(main())
"""

Ask = Callable[[], Awaitable[Any]]


class Clients:
    """Everyone that is measured, on one event loop."""

    def __init__(self, base_url: str, agent: CascadeAgent) -> None:
        self.loop = asyncio.new_event_loop()
        self.agent = agent
        self.http = httpx2.AsyncClient(timeout=30)
        self.url = f"{base_url}/chat/completions"
        self.body = json.dumps(
            {"model": "small", "messages": [{"role": "user", "content": QUESTION}]}
        ).encode()
        self.headers = {"content-type": "application/json", "authorization": "Bearer k"}
        self.asks: dict[str, Ask] = {"bare httpx2": self.bare, "cascadeflow": self.ours}
        self.sdk: Any = None
        try:
            import openai  # noqa: PLC0415 - in the dependency group bench
        except ImportError:
            return
        self.sdk = openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0)
        self.asks["openai SDK"] = self.openai

    async def bare(self) -> None:
        response = await self.http.post(self.url, content=self.body, headers=self.headers)
        assert response.status_code == 200

    async def ours(self) -> None:
        result = await self.agent.run(QUESTION)
        assert result.draft_accepted
        assert result.cost.total is not None

    async def openai(self) -> None:
        answer = await self.sdk.chat.completions.create(
            model="small", messages=[{"role": "user", "content": QUESTION}]
        )
        assert answer.choices[0].message.content == ANSWER

    def round(self, ask: Ask) -> float:
        """Seconds a call, over one round."""

        async def several() -> float:
            start = time.perf_counter()
            for _ in range(CALLS):
                await ask()
            return (time.perf_counter() - start) / CALLS

        return self.loop.run_until_complete(several())

    def close(self) -> None:
        async def aclose() -> None:
            await self.http.aclose()
            await self.agent.aclose()
            if self.sdk is not None:
                await self.sdk.close()

        self.loop.run_until_complete(aclose())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


@pytest.fixture(scope="module")
def measured() -> Iterator[tuple[Clients, dict[str, float], dict[str, float]]]:
    """The clients, each one's median seconds a call, and its median above the bare call."""
    models = [
        SimulatedModel("small", answers={QUESTION: ANSWER}, price=Price(input=1, output=2)),
        SimulatedModel("big", answers={QUESTION: ANSWER}, price=Price(input=10, output=30)),
    ]
    with start_in_process(models) as server:
        clients = Clients(server.base_url, CascadeAgent(server.models_for("openai")))
        try:
            for ask in clients.asks.values():
                for _ in range(3):
                    clients.round(ask)
            rounds = [
                {name: clients.round(ask) for name, ask in clients.asks.items()}
                for _ in range(ROUNDS)
            ]
            whole = {name: statistics.median(r[name] for r in rounds) for name in clients.asks}
            above = {
                name: statistics.median(r[name] - r["bare httpx2"] for r in rounds)
                for name in clients.asks
            }
            litellm = litellm_times(server.base_url)
            if litellm is not None:
                whole["LiteLLM"] = statistics.median(litellm)
                above["LiteLLM"] = whole["LiteLLM"] - whole["bare httpx2"]
            yield clients, whole, above
        finally:
            clients.close()


def litellm_times(base_url: str) -> list[float] | None:
    """Seconds a call of each round, `None` where LiteLLM is not installed."""
    python = os.environ.get("CASCADEFLOW_LITELLM_PYTHON", sys.executable)
    has_it = subprocess.run(
        [python, "-c", "import importlib.util as u; raise SystemExit(not u.find_spec('litellm'))"],
        check=False,
    )
    if has_it.returncode:
        return None
    finished = subprocess.run(
        [python, "-c", LITELLM, base_url, str(ROUNDS), str(CALLS), QUESTION],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-2_000:]
    times: list[float] = json.loads(finished.stdout.splitlines()[-1])
    return times


def record(benchmark: Any, measured: Any, name: str, **info: Any) -> None:
    """Runs one client under pytest-benchmark; the figure is the interleaved measurement."""
    clients, whole, above = measured
    if name not in whole:
        pytest.skip(f"{name} is not installed: it is in the dependency group bench")
    info.setdefault("value_s", above[name])
    benchmark.extra_info.update(info)
    if name in clients.asks:
        benchmark.pedantic(clients.round, args=(clients.asks[name],), rounds=10, warmup_rounds=1)
    else:
        # Measured in a process of its own: nothing of it can be run here.
        benchmark.pedantic(lambda: None, rounds=1)


def test_overhead_of_a_whole_call(benchmark: Any, measured: Any) -> None:
    record(
        benchmark,
        measured,
        "cascadeflow",
        figure=FIGURE,
        role="figure",
        gate_s=0.005,
        goal_s=0.00015,
    )


def test_overhead_of_the_openai_sdk(benchmark: Any, measured: Any) -> None:
    record(
        benchmark,
        measured,
        "openai SDK",
        figure=FIGURE,
        role="reference",
        reference="openai SDK",
    )


def test_overhead_of_litellm(benchmark: Any, measured: Any) -> None:
    record(
        benchmark,
        measured,
        "LiteLLM",
        figure=FIGURE,
        role="reference",
        reference="LiteLLM",
    )


def test_a_whole_call(benchmark: Any, measured: Any) -> None:
    record(
        benchmark,
        measured,
        "cascadeflow",
        figure=WHOLE,
        role="figure",
        gate_s=None,
        goal_s=None,
        value_s=measured[1]["cascadeflow"],
    )


def test_a_bare_call(benchmark: Any, measured: Any) -> None:
    record(
        benchmark,
        measured,
        "bare httpx2",
        figure=WHOLE,
        role="reference",
        reference="bare httpx2",
        value_s=measured[1]["bare httpx2"],
    )
