"""Where a tier waits, a request waits for money that others hold, and never in vain."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from till_site import COST, ONE, TWO, asks, held, queued, settled, site, waits

from cascadeflow import (
    AllModelsFailedError,
    BudgetConfig,
    BudgetExceededError,
    CostTracker,
    RateLimits,
    TierConfig,
    Tiers,
)
from cascadeflow.budgets.records import Spender

DAY = 86_400.0


def test_it_passes_once_the_money_of_others_comes_back() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits()) as agent:
            first = asks(agent)
            await calls.begun(1)
            second = asks(agent)
            await settled()
            assert queued(world) == ["user:ann budget"]
            assert len(calls.open) == 1
            world.clock.advance(3)
            calls.let_go()
            await calls.begun(1)
            calls.let_go()
            results = [await first, await second]
            assert [result.tier.waited_ms for result in results] == [0, 3000]
            assert results[1].timing.overhead_ms == 0
            assert held(agent) == 0
            assert world.clock.sleepers == 0

    asyncio.run(main())


def test_those_who_wait_pass_in_the_order_in_which_they_came() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits(budget="0.003")) as agent:
            done: list[int] = []

            async def ask(number: int) -> None:
                await asks(agent)
                done.append(number)

            tasks = [asyncio.ensure_future(ask(number)) for number in range(7)]
            for _ in tasks:
                await calls.begun(1)
                await settled()
                assert len(calls.open) == 1, "more than one fits"
                calls.let_go()
            await asyncio.gather(*tasks)
            assert done == list(range(7))

    asyncio.run(main())


def test_two_that_fit_side_by_side_pass_side_by_side() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits(budget=TWO)) as agent:
            tasks = [asks(agent) for _ in range(6)]
            for _ in range(3):
                await calls.begun(2)
                calls.let_go()
                calls.let_go()
            await asyncio.gather(*tasks)

    asyncio.run(main())


# Nobody waits in vain


def test_what_is_larger_than_the_whole_budget_is_refused_at_once() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits()) as agent:
            first = asks(agent)
            await calls.begun(1)
            with pytest.raises(BudgetExceededError) as caught:
                await asks(agent, max_tokens=5000)
            assert caught.value.permanent
            waiting = asks(agent, max_tokens=500)
            await settled()
            with pytest.raises(BudgetExceededError) as caught:
                await asks(agent, max_tokens=5000)  # now that others wait
            assert caught.value.permanent
            assert queued(world) == ["user:ann budget"]
            for _ in range(2):
                calls.let_go()
                await settled()
            await asyncio.gather(first, waiting)

    asyncio.run(main())


def test_what_would_not_fit_if_all_came_back_is_refused_at_once() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits()) as agent:
            assert agent.cost_tracker is not None
            agent.cost_tracker.add_cost("small", "openai", 1, "0.001", user_id="ann")
            first = asks(agent, max_tokens=500)
            await calls.begun(1)
            with pytest.raises(BudgetExceededError) as caught:
                await asks(agent)
            assert not caught.value.permanent
            assert caught.value.held > 0
            waiting = asks(agent, max_tokens=500)
            await settled()
            with pytest.raises(BudgetExceededError):
                await asks(agent)
            assert queued(world) == ["user:ann budget"]
            for _ in range(2):
                calls.let_go()
                await settled()
            await asyncio.gather(first, waiting)

    asyncio.run(main())


def test_another_window_that_is_spent_counts_too() -> None:
    """The month waits for money that is held, and the day is spent: the refusal names the month."""
    world, calls = site()
    budget = BudgetConfig(daily=ONE, monthly="0.0065")

    async def main() -> None:
        world.clock.advance(DAY - 60)
        async with world.agent(tier_config=waits(budget=budget)) as agent:
            tracker = agent.cost_tracker
            assert tracker is not None
            first = asks(agent)  # held in the month, and in yesterday
            await calls.begun(1)
            world.clock.advance(120)
            tracker.add_cost("small", "openai", 1, "0.0031", user_id="ann")
            with pytest.raises(BudgetExceededError) as caught:
                await asks(agent)
            assert caught.value.period == "month"
            assert caught.value.spent + caught.value.requested <= caught.value.limit
            assert queued(world) == []
            calls.let_go()
            await first

    asyncio.run(main())


def test_who_learns_while_waiting_that_it_cannot_fit_any_more_is_refused_then() -> None:
    world, _ = site()

    async def main() -> None:
        async with world.agent(tier_config=waits()) as agent:
            tracker = agent.cost_tracker
            assert tracker is not None
            tracker.assign("ann", BudgetConfig(total=ONE))
            at = world.clock.now()
            spender = Spender(user_id="ann", tier="free")
            other = await tracker.reserve(spender, [("m", 1_000_000)], request_id="r", at=at)
            waiting = asks(agent)
            await settled()
            assert not waiting.done()
            tracker.add_cost("small", "openai", 1, "0.001", user_id="ann")
            other.release()
            with pytest.raises(BudgetExceededError):
                await waiting
            assert world.clock.sleepers == 0

    asyncio.run(main())


def test_a_tier_that_does_not_wait_is_refused_at_once_and_not_held_back() -> None:
    world, calls = site()
    config = waits(budget=1, tier_budget=None)
    config["quick"] = TierConfig("quick")

    async def main() -> None:
        tracker = CostTracker(global_budget=TWO, enforcement_mode="block", clock=world.clock)
        async with world.agent(tier_config=config, cost_tracker=tracker) as agent:
            first = asks(agent)
            await calls.begun(1)
            waiting = asks(agent, max_tokens=1800)
            await settled()
            assert queued(world) == ["global budget"]
            with pytest.raises(BudgetExceededError):
                await asks(agent, user_id="bob", user_tier="quick", max_tokens=1800)
            quick = asks(agent, user_id="bob", user_tier="quick", max_tokens=500)
            await calls.begun(2)
            for _ in range(3):
                calls.let_go()
                await settled()
            await asyncio.gather(first, waiting, quick)

    asyncio.run(main())


# Nobody overtakes


def test_who_would_fit_does_not_overtake_who_waits() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits(budget=TWO)) as agent:
            done: list[str] = []

            async def ask(name: str, tokens: int) -> None:
                await asks(agent, max_tokens=tokens)
                done.append(name)

            first = asks(agent)
            await calls.begun(1)
            large = asyncio.ensure_future(ask("large", 1800))
            await settled()
            small = asyncio.ensure_future(ask("small", 100))  # would fit beside the first
            await settled()
            assert len(calls.open) == 1
            assert queued(world) == ["user:ann budget"] * 2
            for _ in range(3):
                calls.let_go()
                await settled()
            await asyncio.gather(first, large, small)
            assert done == ["large", "small"]

    asyncio.run(main())


def test_nor_on_the_budget_of_a_model() -> None:
    world, calls = site()

    async def main() -> None:
        tracker = CostTracker(
            budgets={"model:openai:small": TWO}, enforcement_mode="block", clock=world.clock
        )
        async with world.agent(tier_config=waits(budget=1), cost_tracker=tracker) as agent:
            first = asks(agent)
            await calls.begun(1)
            large = asks(agent, max_tokens=1800)
            await settled()
            small = asks(agent, user_id="bob", max_tokens=100)
            await settled()
            assert queued(world) == ["model:openai:small budget"] * 2
            calls.let_go()
            await calls.begun(1)
            await settled()
            assert not large.done()
            assert not small.done()
            calls.let_go()
            await large
            await calls.begun(1)
            calls.let_go()
            await asyncio.gather(first, small)

    asyncio.run(main())


def test_who_did_not_get_a_turn_in_time_is_told_that_others_wait_before_it() -> None:
    world, calls = site()
    config = waits(max_wait=100, budget=TWO)
    config["hurried"] = TierConfig("hurried", budget=TWO, on_limit="wait", max_wait=5)

    async def main() -> None:
        async with world.agent(tier_config=config) as agent:
            first = asks(agent)
            await calls.begun(1)
            large = asks(agent, max_tokens=1800)
            await settled()
            small = asks(agent, max_tokens=100, user_tier="hurried")
            await settled()
            world.clock.advance(5)
            with pytest.raises(BudgetExceededError, match="others wait before it") as caught:
                await small
            error = caught.value
            assert error.account == "user:ann total"
            assert error.limit == Decimal(TWO)
            assert error.held > error.requested > 0
            assert not error.permanent
            assert held(agent) == error.held.scaleb(9), "what it would have held is given back"
            calls.let_go()
            await calls.begun(1)
            calls.let_go()
            await asyncio.gather(first, large)

    asyncio.run(main())


def test_who_waits_for_one_account_does_not_overtake_on_another() -> None:
    """Ann's second waits for her own money, then behind Bob, who came first, for everybody's."""
    world, calls = site()

    async def main() -> None:
        tracker = CostTracker(global_budget="0.0055", enforcement_mode="block", clock=world.clock)
        config = waits(budget=None)
        config["one"] = TierConfig("one", budget=ONE, on_limit="wait", max_wait=30)
        async with world.agent(tier_config=config, cost_tracker=tracker) as agent:
            done: list[str] = []

            async def ask(name: str, **options: Any) -> None:
                await asks(agent, **options)
                done.append(name)

            first = asks(agent, user_tier="one")
            await calls.begun(1)
            other = asks(agent, user_id="cat", user_tier="free", max_tokens=500)
            await calls.begun(2)
            bob = asyncio.ensure_future(
                ask("bob", user_id="bob", user_tier="free", max_tokens=2600)
            )
            await settled()
            ann = asyncio.ensure_future(ask("ann", user_tier="one"))
            await settled()
            assert queued(world) == ["global budget"] * 2
            calls.let_go()  # ann's own: her second one would fit, and bob would not
            await settled()
            assert len(calls.open) == 1
            calls.let_go()
            await calls.begun(1)
            calls.let_go()
            await calls.begun(1)
            calls.let_go()
            await asyncio.gather(first, other, bob, ann)
            assert done == ["bob", "ann"]

    asyncio.run(main())


def test_no_more_wait_than_the_queue_has_places() -> None:
    world, calls = site()

    async def main() -> None:
        tiers = Tiers(waits(), queue_size=2, clock=world.clock)
        async with world.agent(tier_config=tiers) as agent:
            tasks = [asks(agent) for _ in range(3)]
            await settled()
            with pytest.raises(BudgetExceededError) as caught:
                await asks(agent)
            assert any("queue_size" in note for note in caught.value.__notes__)
            for _ in tasks:
                calls.let_go()
                await settled()
            await asyncio.gather(*tasks)

    asyncio.run(main())


# How long


def test_at_its_deadline_it_is_refused() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits(max_wait=30)) as agent:
            first = asks(agent)
            await calls.begun(1)
            second = asks(agent)
            await settled()
            await world.clock.run_for(30 - 1e-9)
            assert not second.done()
            await world.clock.run_for(1e-9)
            with pytest.raises(BudgetExceededError) as caught:
                await second
            assert caught.value.account == "user:ann total"
            assert any("30 s" in note for note in caught.value.__notes__)
            calls.let_go()
            await first
            third = asks(agent)  # nobody is before it
            await calls.begun(1)
            calls.let_go()
            assert (await third).tier.waited_ms == 0

    asyncio.run(main())


def test_a_deadline_that_floats_put_after_its_nanosecond_is_met_all_the_same() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits(max_wait=0.2)) as agent:
            world.clock.advance(0.1)  # 0.1 + 0.2 is 0.30000000000000004
            first = asks(agent)
            await calls.begun(1)
            second = asks(agent)
            await settled()
            world.clock.advance(0.2)
            await settled()
            assert second.done()
            with pytest.raises(BudgetExceededError):
                await second
            calls.let_go()
            await first

    asyncio.run(main())


def test_waiting_for_rate_limits_and_for_money_counts_together() -> None:
    world, calls = site()
    limits = RateLimits(per_minute=3, burst_per_minute=0)

    async def main() -> None:
        async with world.agent(tier_config=waits(max_wait=30, rate_limits=limits)) as agent:
            first = asks(agent)
            await calls.begun(1)
            second, third = asks(agent), asks(agent, user_id="bob")
            await settled()
            assert queued(world) == ["user:ann per_minute"]
            await calls.begun(2)
            await world.clock.run_for(20)
            assert queued(world) == ["user:ann per_minute", "user:ann budget"]
            await world.clock.run_for(10 - 1e-6)
            assert not second.done()
            await world.clock.run_for(1e-6)
            with pytest.raises(BudgetExceededError):
                await second
            calls.let_go()
            calls.let_go()
            await asyncio.gather(first, third)

    asyncio.run(main())


def test_both_waits_are_in_the_result() -> None:
    world, calls = site()
    limits = RateLimits(per_minute=3, burst_per_minute=0)

    async def main() -> None:
        async with world.agent(tier_config=waits(rate_limits=limits)) as agent:
            first = asks(agent)
            await calls.begun(1)
            second = asks(agent)
            await settled()
            await world.clock.run_for(25)
            calls.let_go()
            await calls.begun(1)
            calls.let_go()
            assert (await second).tier.waited_ms == 25_000
            await first

    asyncio.run(main())


def test_the_requests_own_timeout_ends_it() -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits(max_wait=1e9)) as agent:
            first = asks(agent)
            await calls.begun(1)
            with pytest.raises(AllModelsFailedError, match="waited for the money of its budget"):
                await asks(agent, timeout=0.001)
            calls.let_go()
            await first
            assert held(agent) == 0
            third = asks(agent)
            await calls.begun(1)
            calls.let_go()
            await third

    asyncio.run(main())


@pytest.mark.parametrize("max_wait", [1e9, 1e300])
def test_it_may_wait_for_ever(max_wait: float) -> None:
    world, calls = site()

    async def main() -> None:
        async with world.agent(tier_config=waits(max_wait=max_wait)) as agent:
            first = asks(agent)
            await calls.begun(1)
            second = asks(agent)
            await settled()
            world.clock.advance(1e6)
            calls.let_go()
            await calls.begun(1)
            calls.let_go()
            await asyncio.gather(first, second)

    asyncio.run(main())


# Periods


def test_at_a_periods_end_it_passes_and_counts_in_the_next() -> None:
    world, calls = site()
    budget = BudgetConfig(daily=ONE)

    async def main() -> None:
        world.clock.advance(DAY - 20)
        async with world.agent(tier_config=waits(budget=budget)) as agent:
            tracker = agent.cost_tracker
            assert tracker is not None
            first = asks(agent)
            await calls.begun(1)
            second, third = asks(agent), asks(agent)
            await settled()
            await world.clock.run_for(20 - 1e-6)
            assert len(calls.open) == 1
            await world.clock.run_for(1e-6)
            await calls.begun(2)
            calls.let_go()
            await first
            (account,) = tracker.accounts("user:ann")
            assert account.spent == 0, "the first one is yesterday's"
            assert account.held > 0
            calls.let_go()
            result = await second
            assert result.tier.waited_ms == 20_000
            assert result.created == world.clock.now()
            (account,) = tracker.accounts("user:ann")
            assert account.spent == COST
            await calls.begun(1)
            calls.let_go()
            await third

    asyncio.run(main())


def test_a_budget_that_is_spent_is_waited_for_if_its_period_ends_in_time() -> None:
    world, calls = site()
    budget = BudgetConfig(daily=ONE)

    async def main() -> None:
        world.clock.advance(DAY - 40)
        async with world.agent(tier_config=waits(budget=budget)) as agent:
            tracker = agent.cost_tracker
            assert tracker is not None
            first = asks(agent, max_tokens=100)
            await calls.begun(1)
            calls.let_go()
            await first
            tracker.add_cost("small", "openai", 1, "0.001", user_id="ann")
            with pytest.raises(BudgetExceededError) as caught:
                await asks(agent)
            assert caught.value.resets_at == world.clock.now() + timedelta(seconds=40)
            world.clock.advance(10)
            second = asks(agent)
            await settled()
            assert queued(world) == ["user:ann budget"]
            await world.clock.run_for(30)
            await calls.begun(1)
            calls.let_go()
            assert (await second).tier.waited_ms == 30_000

    asyncio.run(main())


def test_what_falls_out_of_a_rolling_period_lets_it_pass() -> None:
    world, calls = site()
    budget = BudgetConfig(rolling=ONE, rolling_hours=1)

    async def main() -> None:
        async with world.agent(tier_config=waits(max_wait=7200, budget=budget)) as agent:
            tracker = agent.cost_tracker
            assert tracker is not None
            first = asks(agent)
            await calls.begun(1)
            calls.let_go()
            await first
            for _ in range(3):
                world.clock.advance(600)
                tracker.add_cost("small", "openai", 1, "0.0007", user_id="ann")
            second = asks(agent, max_tokens=500)
            await settled()
            await world.clock.run_for(7200)
            await calls.begun(1)
            calls.let_go()
            waited = (await second).tier.waited_ms / 1000
            assert 1800 < waited < 3600

    asyncio.run(main())
