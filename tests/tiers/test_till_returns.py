"""Wherever money comes back, whoever waits for it is told; and nobody else is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from agent_world import QUESTION, World, read
from till_site import ANSWER, COST, ONE, TWO, asks, held, queued, settled, site, waits

from cascadeflow import (
    AllModelsFailedError,
    BudgetConfig,
    BudgetExceededError,
    CostTracker,
    ModelConfig,
    TierConfig,
    Tiers,
)
from cascadeflow.budgets.records import Spender
from cascadeflow.clock import SystemClock
from cascadeflow.models.prices import Price
from cascadeflow.pipeline import events

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from cascadeflow.budgets.reservation import Reservation

ANN = Spender(user_id="ann", tier="free")
ROOMY = "0.0025"
"""As `ONE`, with room for what a dozen answers cost."""


class Counting(CostTracker):
    """Counts how often somebody tries to hold money."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.tries: list[str | None] = []

    async def reserve(
        self,
        spender: Spender,
        calls: Sequence[tuple[str, int]],
        *,
        request_id: str,
        at: datetime,
        force: bool = False,
        tentative: bool = False,
    ) -> Reservation:
        self.tries.append(spender.user_id)
        return await super().reserve(
            spender, calls, request_id=request_id, at=at, force=force, tentative=tentative
        )


def tracker_of(agent: Any) -> CostTracker:
    assert isinstance(agent.cost_tracker, CostTracker)
    return agent.cost_tracker


async def taken(
    agent: Any, world: World, *, nanodollars: int = 2_000_000, budget: str = ONE
) -> Reservation:
    """Money of Ann's that something else holds."""
    tracker = tracker_of(agent)
    tracker.assign("ann", BudgetConfig(total=budget))
    at = world.clock.now()
    return await tracker.reserve(ANN, [("m", nanodollars)], request_id="r", at=at)


# Between two moments


def test_what_comes_back_between_the_refusal_and_the_waiting_is_not_missed() -> None:
    world, calls = site()
    other: list[Reservation] = []

    def told(event: Any) -> None:
        if isinstance(event, events.RequestQueued):
            other.pop().release()  # it is in line, and does not wait yet

    async def main() -> None:
        async with world.agent(tier_config=waits(), on_event=told) as agent:
            other.append(await taken(agent, world))
            task = asks(agent)
            await calls.begun(1)
            calls.let_go()
            assert (await task).tier.waited_ms == 0

    asyncio.run(main())


def test_who_is_cancelled_in_the_moment_it_is_called_leaves_the_turn_to_the_next() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits()) as agent:
            other = await taken(agent, world)
            first, second = asks(agent), asks(agent)
            await settled()
            other.release()
            first.cancel()
            await calls.begun(1)
            calls.let_go()
            assert (await second).content == "small says"
            with pytest.raises(asyncio.CancelledError):
                await first
            assert held(agent) == 0

    asyncio.run(main())


def test_who_leaves_from_the_middle_holds_up_nobody() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits(budget=ROOMY)) as agent:
            tasks = [asks(agent) for _ in range(9)]
            await settled()
            for number in (8, 3, 5):
                tasks[number].cancel()
            for _ in range(6):
                await calls.begun(1)
                calls.let_go()
                await settled()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            gone = [n for n, each in enumerate(done) if isinstance(each, asyncio.CancelledError)]
            assert gone == [3, 5, 8]
            assert held(agent) == 0
            assert world.clock.sleepers == 0

    asyncio.run(main())


# Who brings it back


@pytest.mark.parametrize("way", ["set_budget", "adjust", "reset", "assign"])
def test_a_budget_that_is_changed_lets_it_pass(way: str) -> None:
    world, calls = site()
    who: dict[str, Any] = {"actor": "mia", "reason": "she asked for it"}

    async def main() -> None:
        async with world.agent(tier_config=waits()) as agent:
            tracker = tracker_of(agent)
            small = way in {"adjust", "reset"}
            other = await taken(agent, world, nanodollars=60_000 if small else 2_000_000)
            if small:
                tracker.adjust("user:ann", "0.0001", **who)
            task = asks(agent)
            await settled()
            assert queued(world) == ["user:ann budget"]
            if way == "set_budget":
                tracker.set_budget("user:ann", BudgetConfig(total=TWO), **who)
            elif way == "adjust":
                tracker.adjust("user:ann", "-0.0001", **who)
            elif way == "reset":
                tracker.reset(**who)
            else:
                tracker.assign("ann", BudgetConfig(total=TWO))
            await calls.begun(1)
            calls.let_go()
            await task
            other.release()

    asyncio.run(main())


def test_agents_that_share_a_tracker_share_the_line_and_one_without_tiers_feeds_it() -> None:
    world, calls = site()

    async def main() -> None:
        tracker = CostTracker(global_budget=ROOMY, enforcement_mode="block", clock=world.clock)
        options: dict[str, Any] = {"tier_config": waits(budget=None), "cost_tracker": tracker}
        async with (
            world.agent(cost_tracker=tracker) as plain,
            world.agent(**options) as one,
            world.agent(**options) as two,
        ):
            tracker.set_budget("user:ann", None, actor="mia", reason="the global one is enough")
            done: list[str] = []

            async def ask(agent: Any, name: str) -> None:
                await asks(agent)
                done.append(name)

            tasks = [asyncio.ensure_future(ask(plain, "plain"))]
            await calls.begun(1)
            for agent, name in ((one, "a"), (two, "b"), (one, "c")):
                tasks.append(asyncio.ensure_future(ask(agent, name)))
                await settled()
            assert queued(world) == ["global budget"] * 3
            for _ in tasks:
                await calls.begun(1)
                calls.let_go()
                await settled()
            await asyncio.gather(*tasks)
            assert done == ["plain", "a", "b", "c"]

    asyncio.run(main())


def test_a_request_that_fails_brings_its_money_back() -> None:
    world, calls = site(small=[401, ANSWER])

    async def main() -> None:
        async with world.agent(tier_config=waits()) as agent:
            first = asks(agent)
            await calls.begun(1)
            second = asks(agent)
            await settled()
            calls.let_go()
            with pytest.raises(AllModelsFailedError):
                await first
            await calls.begun(1)
            calls.let_go()
            await second

    asyncio.run(main())


def test_who_is_broken_off_is_booked_in_full_and_whoever_waits_learns_it_then() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits()) as agent:
            stream = agent.stream(QUESTION, user_id="ann", max_tokens=1000)
            first = asyncio.ensure_future(read(stream))
            await calls.begun(1)
            second = asks(agent)
            await settled()
            first.cancel()
            with pytest.raises(BudgetExceededError) as caught:
                await second
            assert caught.value.held == 0
            assert not caught.value.permanent
            with pytest.raises(asyncio.CancelledError):
                await first
            assert world.clock.sleepers == 0

    asyncio.run(main())


# Every way in


def test_a_stream_waits_before_its_first_piece() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits()) as agent:
            first = asks(agent)
            await calls.begun(1)
            stream = agent.stream(QUESTION, user_id="ann", max_tokens=1000)
            second = asyncio.ensure_future(read(stream))
            await settled()
            assert queued(world) == ["user:ann budget"]
            world.clock.advance(2)
            calls.let_go()
            await calls.begun(1)
            calls.let_go()
            result = await second
            assert (result.tier.waited_ms, result.timing.overhead_ms) == (2000, 0)
            await first

    asyncio.run(main())


def test_a_batch_larger_than_its_budgets_room_is_answered_one_by_one() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits(budget=ROOMY)) as agent:
            options: dict[str, Any] = {"user_id": "ann", "max_tokens": 1000}
            task = asyncio.ensure_future(agent.run_batch([QUESTION] * 12, **options))
            for _ in range(12):
                await calls.begun(1)
                calls.let_go()
                await settled()
            assert (await task).success_count == 12

    asyncio.run(main())


def lookup(city: str) -> str:
    """Says where a city is."""
    return f"{city} is in Norway"


def test_a_tool_loops_money_comes_back_after_its_last_step_and_its_steps_do_not_wait() -> None:
    call = {**ANSWER, "text": "", "calls": (("c1", "lookup", '{"city": "Oslo"}'),)}
    world, calls = site(small=[call, call, ANSWER])

    async def main() -> None:
        async with world.agent(tier_config=waits(budget="0.0032")) as agent:
            first = asks(agent, tools=[lookup], tool_executor=True)
            await calls.begun(1)
            second = asks(agent)
            await settled()
            for _ in range(3):
                await calls.begun(1)
                assert not second.done()
                assert len(queued(world)) == 1
                calls.let_go()
                await settled()
            result = await first
            assert result.content == "small says"
            assert result.tier.waited_ms == 0
            await calls.begun(1)
            calls.let_go()
            await second

    asyncio.run(main())


# Degrade


def two_models(world: World, *, free: bool) -> list[ModelConfig]:
    second = world.model("big")
    if free:
        second = ModelConfig(
            "middle",
            "openai",
            price=Price(input=0, output=0),
            api_key="k",
            base_url="http://127.0.0.1:9/v1",
        )
    return [world.model("small"), second]


def degrading_agent(world: World, budget: str, *, free: bool, **options: Any) -> Any:
    tracker = CostTracker(
        global_budget=budget, enforcement_mode="degrade", min_output=900, clock=world.clock
    )
    return world.agent(
        models=two_models(world, free=free),
        tier_config=waits(budget=None),
        cost_tracker=tracker,
        **options,
    )


def test_what_can_run_more_cheaply_at_once_does_so_and_does_not_wait() -> None:
    world, calls = site(big=[ANSWER])

    async def main() -> None:
        async with degrading_agent(world, "0.037", free=False) as agent:
            tasks = [asks(agent) for _ in range(3)]  # the first holds for both models
            await calls.begun(3)
            assert queued(world) == []
            for _ in range(3):
                calls.let_go()
                await settled()
            actions = [(await task).budget.action for task in tasks]
            assert actions == ["none", "cheaper_plan", "smaller_max_tokens"]

    asyncio.run(main())


def test_what_does_not_even_fit_on_the_lowest_rung_waits_and_gets_what_there_is_then() -> None:
    world, calls = site(big=[ANSWER])

    async def main() -> None:
        async with degrading_agent(world, "0.0341", free=False) as agent:
            first = asks(agent)
            await calls.begun(1)
            second = asks(agent)
            await settled()
            assert queued(world) == ["global budget"]
            calls.let_go()
            await calls.begun(1)
            calls.let_go()
            results = [await first, await second]
            assert [each.budget.action for each in results] == ["none", "none"]

    asyncio.run(main())


def test_what_would_run_more_cheaply_but_waits_for_its_turn_runs_as_asked_then() -> None:
    world, calls = site(big=[ANSWER])

    async def main() -> None:
        async with degrading_agent(world, "0.0345", free=False) as agent:
            first = asks(agent)
            await calls.begun(1)
            large = asks(agent, max_tokens=1600)  # not even its smallest fits
            await settled()
            small = asks(agent, max_tokens=100)  # fits with a cheaper plan, as the first one would
            await settled()
            assert queued(world) == ["global budget"] * 2
            assert len(calls.open) == 1
            for _ in range(3):
                calls.let_go()
                await settled()
            result = await small
            assert (result.budget.action, result.routing.route) == ("none", "cascade")
            await asyncio.gather(first, large)

    asyncio.run(main())


def test_what_costs_nothing_does_not_wait_behind_those_who_wait() -> None:
    world, calls = site(middle=[ANSWER])
    config = waits(budget=None)
    config["cheap"] = TierConfig("cheap", models=["openai:middle"], on_limit="wait", max_wait=9)
    config["dear"] = TierConfig("dear", models=["openai:small"], on_limit="wait", max_wait=9)

    async def main() -> None:
        tracker = CostTracker(
            global_budget=ONE, enforcement_mode="degrade", min_output=1000, clock=world.clock
        )
        models = two_models(world, free=True)
        async with world.agent(models=models, tier_config=config, cost_tracker=tracker) as agent:
            first = asks(agent, user_tier="dear")
            await calls.begun(1)
            second = asks(agent, user_tier="dear")
            await settled()
            assert queued(world) == ["global budget"]
            third = asks(agent, user_tier="cheap")
            await calls.begun(2)
            assert len(queued(world)) == 1
            for _ in range(3):
                calls.let_go()
                await settled()
            await asyncio.gather(first, second, third)

    asyncio.run(main())


# Alerts


@pytest.mark.parametrize("in_time", [True, False])
def test_only_who_is_refused_in_the_end_alerts(in_time: bool) -> None:
    world, calls = site()
    states: list[str] = []

    async def main() -> None:
        tracker = CostTracker(
            enforcement_mode="block",
            clock=world.clock,
            alert_channels=[lambda alert: states.append(alert.state)],
        )
        config = waits(max_wait=5)
        async with world.agent(tier_config=config, cost_tracker=tracker) as agent:
            first = asks(agent)
            await calls.begun(1)
            second = asks(agent, max_tokens=600)
            await settled()
            if in_time:
                calls.let_go()
                await calls.begun(1)
            else:
                world.clock.advance(5)
                with pytest.raises(BudgetExceededError):
                    await second
            calls.let_go()
            await asyncio.gather(first, second, return_exceptions=True)
        tracker.close()  # every alert is delivered
        assert states.count("refused") == (0 if in_time else 1)

    asyncio.run(main())


def test_an_extension_that_is_refused_alerts_as_without_waiting() -> None:
    """A fallback that the budget does not cover is not asked: that is for the operator to know."""
    world, calls = site(small=[500], spare=["spare says"])
    states: list[str] = []

    async def main() -> None:
        tracker = CostTracker(
            enforcement_mode="block",
            clock=world.clock,
            alert_channels=[lambda alert: states.append(alert.state)],
        )
        async with world.agent(tier_config=waits(), cost_tracker=tracker) as agent:
            task = asks(agent)
            await calls.begun(1)
            calls.let_go()
            with pytest.raises(AllModelsFailedError, match="did not cover"):
                await task
        tracker.close()
        assert states.count("refused") == 1

    asyncio.run(main())


# Stores


@pytest.mark.parametrize("durability", ["default", "strict"])
def test_with_a_store_everybody_passes_in_turn(durability: Any, tmp_path: Path) -> None:
    world, calls = site()

    async def main() -> None:
        tracker = CostTracker(
            enforcement_mode="block",
            store=f"sqlite:///{tmp_path}/b.db",
            durability=durability,
            clock=world.clock,
        )
        async with world.agent(tier_config=waits(budget=ROOMY), cost_tracker=tracker) as agent:
            done: list[int] = []

            async def ask(number: int) -> None:
                await asks(agent)
                done.append(number)

            tasks = [asyncio.ensure_future(ask(0))]
            await begun(calls)
            for number in range(1, 6):
                tasks.append(asyncio.ensure_future(ask(number)))
                await begun_to_wait(world, number)
            for _ in tasks:
                await begun(calls)
                calls.let_go()
            await asyncio.gather(*tasks)
            assert done == list(range(6))
            assert held(agent) == 0
        await tracker.aclose()

    asyncio.run(main())


async def begun(calls: Any) -> None:
    """Waits for a store's thread too, which takes its own time."""
    while not calls.open:
        await asyncio.to_thread(lambda: None)


async def begun_to_wait(world: World, count: int) -> None:
    while len(queued(world)) < count:
        await asyncio.to_thread(lambda: None)


# Many


def test_money_that_comes_back_wakes_the_first_in_line_and_nobody_else() -> None:
    world, calls = site()
    users = [f"u{number}" for number in range(20)]

    async def main() -> None:
        tracker = Counting(enforcement_mode="block", clock=world.clock)
        async with world.agent(tier_config=waits(budget=ROOMY), cost_tracker=tracker) as agent:
            first = [asks(agent, user_id=user) for user in users]
            await calls.begun(len(users))
            second = [asks(agent, user_id=user) for user in users for _ in range(10)]
            await settled()
            assert len(queued(world)) == len(second)
            tracker.tries.clear()
            calls.let_go()
            await calls.begun(len(users))
            await settled()
            assert set(tracker.tries) == {"u0"}
            assert len(tracker.tries) <= 2, "who passes, and the next who does not"
            for task in [*first, *second]:
                task.cancel()
            await asyncio.gather(*first, *second, return_exceptions=True)

    asyncio.run(main())


def test_however_many_wait_each_return_costs_a_try_or_two() -> None:
    many = 1000
    world = World(small=[ANSWER])

    async def main() -> None:
        tracker = Counting(enforcement_mode="block", keep=10)
        tiers = Tiers(waits(budget="0.03", max_wait=1e6), queue_size=many)
        options: dict[str, Any] = {"cost_tracker": tracker, "clock": SystemClock()}
        async with world.agent(tier_config=tiers, **options) as agent:
            other = await taken(agent, world, nanodollars=29_000_000, budget="0.03")
            tasks = [asks(agent) for _ in range(many)]
            await settled()
            assert len(tracker.tries) == many + 2, "each tried once, and the first once more"
            tracker.tries.clear()
            other.release()
            done = await asyncio.gather(*tasks)
            assert all(each.content == "small says" for each in done)
            assert len(tracker.tries) <= 2.1 * many
            assert held(agent) == 0
            assert tracker.accounts("user:ann")[0].spent == many * COST

    asyncio.run(main())
