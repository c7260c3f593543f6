"""What a tier takes: which one a user is in, three rate limits, and leaving again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from tier_gates import OurTiers, PlainTiers

ONE = "tier + 3 rate limits: let in and leave"


@pytest.mark.parametrize(
    ("make", "about"),
    [
        (OurTiers, {"role": "figure", "gate_s": 1e-3, "goal_s": 2e-6}),
        (PlainTiers, {"role": "reference", "reference": "a lock and deques"}),
    ],
    ids=["figure", "reference"],
)
def test_one(benchmark: Any, make: Any, about: dict[str, Any]) -> None:
    benchmark.extra_info |= {"figure": ONE, **about}
    request = make().request
    benchmark(lambda: request("u1"))
