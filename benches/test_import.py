"""What importing costs: the package, and the way to the first agent."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import Any

import pytest

TIMES = 15
IMPORT = "import cascadeflow"
FIRST_AGENT = (
    "from cascadeflow import CascadeAgent; "
    "CascadeAgent(['openai:gpt-6-luna', 'anthropic:claude-opus-5-5'])"
)


def in_fresh_processes(statement: str) -> list[float]:
    """Seconds that a statement takes in processes that have done nothing before."""
    script = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    times = []
    for _ in range(TIMES + 2):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"{statement!r} does not run here: {done.stderr.splitlines()[-1]}")
        times.append(float(done.stdout))
    return times[2:]  # the first ones read from disk


@pytest.mark.parametrize(
    ("statement", "info"),
    [
        (
            IMPORT,
            {"figure": IMPORT, "role": "figure", "gate_s": 0.2, "goal_s": 0.08},
        ),
        (
            "import json, asyncio",
            {"figure": IMPORT, "role": "reference", "reference": "import json, asyncio"},
        ),
        (
            FIRST_AGENT,
            {"figure": "import and first agent", "role": "figure", "gate_s": None, "goal_s": None},
        ),
        (
            "from openai import AsyncOpenAI; AsyncOpenAI(api_key='k')",
            {
                "figure": "import and first agent",
                "role": "reference",
                "reference": "import openai, first client",
            },
        ),
    ],
    ids=["import", "json-asyncio", "first-agent", "openai"],
)
def test_import(benchmark: Any, statement: str, info: dict[str, Any]) -> None:
    times = in_fresh_processes(statement)
    benchmark.extra_info.update(info, value_s=statistics.median(times), best_s=min(times))
    benchmark.pedantic(
        subprocess.run,
        args=([sys.executable, "-c", statement],),
        kwargs={"check": True},
        rounds=1,
    )
