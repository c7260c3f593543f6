"""What it takes to judge how hard a request is."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cascadeflow.domains import assess
from cascadeflow.types import Message

PROSE = (
    "Please compare the two offers below, explain which of them costs less over five years if the "
    "interest rate rises by one point, and say what you assume about inflation. My adviser thinks "
    "that the second one is safer, but I don't see why, since its fees are higher and nothing is "
    "guaranteed after the third year. Write it so that my father understands it. "
)
CODE = '''
def merge(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Joins spans that touch."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:  # they touch
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return [span for span in joined if span[0] < span[1] or "empty" in NAMES]
'''
KINDS = {"prose": PROSE, "code": CODE}
SIZES = (1024, 102_400)
GATE, GOAL = 1e-3, 5e-5
"""Seconds for 1 KB; a hundred times the text may take a hundred times as long."""

WORDS = re.compile(r"\w+")


def request_of(kind: str, size: int) -> str:
    text = KINDS[kind]
    return (text * (size // len(text) + 1))[:size]


def figure(kind: str, size: int) -> str:
    return f"complexity, {size // 1024} KB of {kind}"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_complexity(benchmark: Any, kind: str, size: int) -> None:
    share = size / 1024
    benchmark.extra_info |= {
        "figure": figure(kind, size), "role": "figure",
        "gate_s": share * GATE, "goal_s": share * GOAL,
    }  # fmt: skip
    messages = [Message("user", request_of(kind, size))]
    assert benchmark(assess, messages).score > 0.2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_complexity_reference(benchmark: Any, kind: str, size: int) -> None:
    benchmark.extra_info |= {
        "figure": figure(kind, size), "role": "reference", "reference": "re, counting words",
    }  # fmt: skip
    assert len(benchmark(WORDS.findall, request_of(kind, size))) > 80
