"""What it takes to judge a draft by its text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.config import QualityConfig
from cascadeflow.models.completion import Completion
from cascadeflow.quality import QualityReport, RuleValidator, judge_text
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Coroutine

VALIDATOR = "rule validator, 1 KB answer"
QUESTION = (
    "A baker makes 16 loaves a day, keeps three for her family and gives four to the school. She "
    "sells the rest at the market for $2 each. How much does she earn every day?"
)
PARAGRAPH = (
    "She bakes 16 loaves every day, and three of them stay at home, so 16 - 3 = 13 loaves remain. "
    "The school gets four of these, which leaves 13 - 4 = 9 loaves for the market. At $2 for each "
    "loaf she earns 9 * $2 = $18 a day, whatever the weather, as long as she sells all of them. "
    "The price of flour does not matter here, since the question asks for what she takes in, not "
    "for what is left after her costs; nor does it matter how she gets to the market, or whether "
    "some customers pay later. If the school wanted five loaves instead, there would be one fewer "
    "to sell, and the sum would be 8 * $2 = $16. "
)
WORDS = re.compile(r"\w+")


def answer(size: int) -> str:
    text = (PARAGRAPH * (size // len(PARAGRAPH) + 1))[: size - 20]
    return text.rsplit(". ", 1)[0] + ". The answer is 18."


def run(coroutine: Coroutine[Any, Any, QualityReport]) -> QualityReport:
    """Runs a coroutine that never waits, without a loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        report: QualityReport = stop.value
        return report
    raise AssertionError("it waited")


def figure(size: int) -> str:
    return f"rule quality, {size // 1024} KB answer"


# 100 times the text may take 100 times as long.
@pytest.mark.parametrize(("size", "gate", "goal"), [(1024, 5e-3, 1e-4), (102_400, 0.5, 1e-2)])
def test_rules(benchmark: Any, size: int, gate: float, goal: float) -> None:
    benchmark.extra_info |= {
        "figure": figure(size), "role": "figure", "gate_s": gate, "goal_s": goal,
    }  # fmt: skip
    assert not benchmark(judge_text, QUESTION, answer(size)).rejected


@pytest.mark.parametrize("size", [1024, 102_400])
def test_rules_reference(benchmark: Any, size: int) -> None:
    benchmark.extra_info |= {
        "figure": figure(size), "role": "reference", "reference": "re, counting words",
    }  # fmt: skip
    assert len(benchmark(WORDS.findall, answer(size))) > 150


def test_validator(benchmark: Any) -> None:
    benchmark.extra_info |= {
        "figure": VALIDATOR, "role": "figure", "gate_s": 5e-3, "goal_s": 1e-4,
    }  # fmt: skip
    request = ChatRequest("a-model", (Message("user", QUESTION),))
    completion = Completion(text=answer(1024), finish_reason="stop")
    validator, config = RuleValidator(), QualityConfig()
    report = benchmark(lambda: run(validator.judge(request, completion, config=config)))
    assert report.accepted


def test_validator_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {
        "figure": VALIDATOR, "role": "reference", "reference": "re, counting words",
    }  # fmt: skip
    assert len(benchmark(WORDS.findall, answer(1024))) > 150
