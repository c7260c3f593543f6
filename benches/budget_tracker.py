"""What a reservation takes: `python benches/budget_tracker.py [ROUNDS]` (default 20,000).

Microseconds of `reserve` (awaited) and `settle` (one charge), in memory: the best of a hundred
runs, which a shared machine moves least.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cascadeflow.budgets.records import Charge, Spender
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import BudgetConfig

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "openai:small"
NOW = datetime.now(UTC)
PERIODS = BudgetConfig(daily=10**6, weekly=10**6, monthly=10**6)
TRACKERS: dict[str, Callable[[], CostTracker]] = {
    "no budget": CostTracker,
    "1 scope, total": lambda: CostTracker(global_budget=10**6),
    "4 scopes, total": lambda: CostTracker(
        global_budget=10**6,
        default_user_budget=10**6,
        budgets={"team:*": 10**6, "tier:*": 10**6},
    ),
    "4 scopes x 3 periods": lambda: CostTracker(
        global_budget=PERIODS,
        default_user_budget=PERIODS,
        budgets={"team:*": PERIODS, "tier:*": PERIODS},
    ),
}


async def run(tracker: CostTracker, rounds: int) -> tuple[float, float]:
    """Microseconds of one reserve, and of one settle."""
    spender = Spender(user_id="u1", team="t", tier="pro")
    calls = [(MODEL, 1000)]
    charge = [Charge(model=MODEL, nanodollars=700, confirmed=True, held=1000)]
    reserving = settling = 0.0
    clock = time.perf_counter
    for _ in range(rounds):
        began = clock()
        held = await tracker.reserve(spender, calls, request_id="r", at=NOW)
        middle = clock()
        held.settle(charge)
        ended = clock()
        reserving += middle - began
        settling += ended - middle
    return reserving / rounds * 1e6, settling / rounds * 1e6


async def best_of(tracker: CostTracker, rounds: int) -> tuple[float, float]:
    """The fastest of a hundred runs."""
    return min([await run(tracker, max(1, rounds // 100)) for _ in range(100)], key=sum)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    for name, make in TRACKERS.items():
        best = asyncio.run(best_of(make(), rounds))
        print(f"{name:22} reserve {best[0]:6.2f} µs   settle {best[1]:6.2f} µs")


if __name__ == "__main__":
    main()
