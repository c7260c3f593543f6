"""What it takes to say what a call can cost at most."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cascadeflow.models.config import ModelConfig
from cascadeflow.models.tokens import count_request
from cascadeflow.models.worst_case import Counts, worst_case
from cascadeflow.types import ChatRequest, Message

WHOLE = "worst case of a call, 1 KB"
BEYOND = "worst case of a call, tokens counted before"
AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MODEL = ModelConfig.parse("openai:gpt-5-mini")
TEXT = ("The quick brown fox jumps over the lazy dog. " * 24)[:1024]
REQUEST = ChatRequest("gpt-5-mini", (Message("system", "Be brief."), Message("user", TEXT)))


def test_worst_case(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": WHOLE, "role": "figure", "gate_s": 1e-3, "goal_s": 40e-6}
    worst = benchmark(worst_case, MODEL, REQUEST, output_tokens=1_000, at=AT)
    assert worst.input_exact


def test_worst_case_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": WHOLE, "role": "reference", "reference": "the count alone"}
    assert benchmark(count_request, REQUEST, MODEL).exact


def test_beyond_the_count(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": BEYOND, "role": "figure", "gate_s": 1e-3, "goal_s": 15e-6}
    counts: Counts = {}
    worst = benchmark(worst_case, MODEL, REQUEST, output_tokens=1_000, at=AT, counts=counts)
    assert worst.input_exact
    assert len(counts) == 1


def test_beyond_the_count_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": BEYOND, "role": "reference", "reference": "the count alone"}
    assert benchmark(count_request, REQUEST, MODEL).exact
