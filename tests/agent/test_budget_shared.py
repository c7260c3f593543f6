"""One agent and one tracker serve every thread and event loop of a process, and midnight passes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from cascadeflow import BudgetConfig, BudgetExceededError, CascadeAgent, CostTracker
from cascadeflow.money import to_usd
from cascadeflow.pipeline import events
from cascadeflow.testing import ManualClock

SMALL_CALL = Decimal("0.0002")  # 100 tokens in, 50 out, at 1 and 2 US dollars per million


def outcomes(results: list[Any]) -> tuple[int, int]:
    """How many were answered and how many were refused; anything else is raised."""
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, BudgetExceededError):
            raise result
    refused = sum(isinstance(result, BudgetExceededError) for result in results)
    return len(results) - refused, refused


@pytest.mark.parametrize("way", ["run_sync", "loops"])
def test_threads_and_loops_together_never_spend_more_than_the_limit(world: Any, way: str) -> None:
    tracker = CostTracker(global_budget="0.004", enforcement_mode="block")
    agent: CascadeAgent = world(small=["Oslo"]).agent(cost_tracker=tracker, on_event=None)

    async def ten() -> list[Any]:
        tasks = [agent.run("Where is Oslo?", max_tokens=100, user_id="ann") for _ in range(10)]
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    def one(_: int) -> Any:
        try:
            return agent.run_sync("Where is Oslo?", max_tokens=100, user_id="ann")
        except BudgetExceededError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        if way == "run_sync":
            results = list(pool.map(one, range(60)))
        else:
            results = [r for rs in pool.map(lambda _: asyncio.run(ten()), range(6)) for r in rs]
    answered, refused = outcomes(results)
    (account,) = tracker.accounts("global")
    assert account.held == 0
    assert to_usd(account.spent) == answered * SMALL_CALL <= Decimal("0.004")
    assert answered > 0 < refused
    agent.close()


def test_a_request_that_crosses_midnight_is_of_the_day_it_began(world: Any) -> None:
    clock = ManualClock(datetime(2026, 11, 22, 23, 59, 50, tzinfo=UTC))
    tracker = CostTracker(
        global_budget=BudgetConfig(daily=1), enforcement_mode="block", clock=clock
    )

    def pass_midnight(event: Any) -> None:
        if isinstance(event, events.DraftJudged) and clock.now().day == 22:
            clock.advance(20)

    w = world(small=["BAD"], big=["Oslo"])
    agent = w.agent(cost_tracker=tracker, clock=clock, on_event=pass_midnight)
    asyncio.run(agent.run("Where is Oslo?", max_tokens=100))
    assert {event.at.day for event in tracker.events()} == {22}
    (account,) = tracker.accounts("global")
    assert (account.spent, account.held) == (0, 0)  # the new day's
    asyncio.run(agent.run("Where is Oslo?", max_tokens=100))
    (account,) = tracker.accounts("global")
    assert (to_usd(account.spent), account.held) == (Decimal("0.0027"), 0)


def test_a_clock_that_goes_back_opens_no_day_again(world: Any) -> None:
    clock = ManualClock(datetime(2026, 11, 23, 0, 30, tzinfo=UTC))
    tracker = CostTracker(
        global_budget=BudgetConfig(daily="0.0003"), enforcement_mode="block", clock=clock
    )
    agent = world(small=["Oslo"]).agent(cost_tracker=tracker, clock=clock)
    asyncio.run(agent.run("Where is Oslo?", max_tokens=100))
    earlier = ManualClock(datetime(2026, 11, 22, 23, 0, tzinfo=UTC))
    behind = world(small=["Oslo"]).agent(cost_tracker=tracker, clock=earlier)
    with pytest.raises(BudgetExceededError):
        asyncio.run(behind.run("Where is Oslo?", max_tokens=100))
