"""What it takes to judge what a request is about, by rules."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cascadeflow.domains.rules import RuleLayer

PARAGRAPH = (
    "Please look at the function below, which reads 16 rows of sales.csv and should return the "
    "total by region. It raises KeyError: 'region' since we moved to the new export, and my "
    "manager wants the figures (about $4,200 for March, 12% less than in February) before the "
    "meeting. What is wrong with it, and how would you test it? "
)
SIZES = (32, 1024, 102_400)
GATE, GOAL = 1e-3, 3e-5
"""Seconds at 1 KB; a longer text is read by its first and last kilobytes, 16 in all."""

WORDS = re.compile(r"\w+")


def request_of(size: int) -> str:
    return (PARAGRAPH * (size // len(PARAGRAPH) + 1))[:size]


def figure(size: int) -> str:
    return f"domain rules, {size} B" if size < 1024 else f"domain rules, {size // 1024} KB"


@pytest.mark.parametrize("size", SIZES)
def test_rules(benchmark: Any, size: int) -> None:
    longer = max(1, min(size, 16 * 1024) // 1024)
    benchmark.extra_info |= {
        "figure": figure(size), "role": "figure", "gate_s": longer * GATE, "goal_s": longer * GOAL,
    }  # fmt: skip
    layer, text = RuleLayer.builtin(), request_of(size)
    assert len(benchmark(layer.report, text).probabilities) == len(layer.domains)


@pytest.mark.parametrize("size", SIZES)
def test_rules_reference(benchmark: Any, size: int) -> None:
    benchmark.extra_info |= {
        "figure": figure(size), "role": "reference", "reference": "re, counting words",
    }  # fmt: skip
    assert len(benchmark(WORDS.findall, request_of(size))) >= 4
