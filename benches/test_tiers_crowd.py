"""What a tier takes where a million users have asked before. Making them takes longest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from tier_gates import OurTiers, PlainTiers

CROWDED = "tier + 3 rate limits with 1,000,000 users: let in and leave"
CROWD = 1_000_000


def crowd(gate: Any) -> Any:
    """One request of each of so many users in turn."""
    users = [f"u{number}" for number in range(CROWD)]
    for user in users:
        gate.request(user)
    request, number = gate.request, 0

    def one() -> None:
        nonlocal number
        number = (number + 7_919) % CROWD  # scattered, as users are
        request(users[number])

    return one


@pytest.mark.parametrize(
    ("make", "about"),
    [
        (OurTiers, {"role": "figure", "gate_s": 1e-3, "goal_s": 2e-6}),
        (PlainTiers, {"role": "reference", "reference": "a lock and deques"}),
    ],
    ids=["figure", "reference"],
)
def test_crowd(benchmark: Any, make: Any, about: dict[str, Any]) -> None:
    benchmark.extra_info |= {"figure": CROWDED, **about}
    benchmark(crowd(make()))
