"""What users and tiers may spend is enforced for who they are, without anybody giving a tracker."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from agent_world import QUESTION, World, ask, read

from cascadeflow import (
    BudgetConfig,
    BudgetExceededError,
    ConfigurationError,
    CostTracker,
    RateLimits,
    TierConfig,
    Tiers,
    UserProfile,
)
from cascadeflow.money import to_usd

if TYPE_CHECKING:
    from pathlib import Path

CALL = Decimal("0.0002")
"""What one answer of `small` costs: 100 tokens in, 50 out, at 1 and 2 US dollars a million."""

TWO_CALLS = "0.00045"
"""Two answers fit it, a third one's worst case does not."""

SHORT: dict[str, Any] = {"max_tokens": 50}
DAY = 86_400.0


def count_until_refused(agent: Any, **options: Any) -> tuple[int, BudgetExceededError]:
    """How many pass before the budget refuses, and its refusal."""
    for passed in range(100):
        try:
            ask(agent, **SHORT, **options)
        except BudgetExceededError as error:
            return passed, error
    raise AssertionError("nobody was ever refused")


@pytest.mark.parametrize("budget", [TWO_CALLS, BudgetConfig(daily=TWO_CALLS)])
def test_each_user_of_a_tier_has_the_tiers_budget(budget: Any) -> None:
    world = World(small=["small says"])
    agent = world.agent(tier_config={"free": TierConfig("free", budget=budget)})
    for user in ("ann", "bob", None):
        passed, refusal = count_until_refused(agent, user_id=user)
        assert passed == 2
        assert refusal.account.startswith(f"user:{user or 'anonymous'} ")
        assert refusal.limit == Decimal(TWO_CALLS)
        assert refusal.spent == 2 * CALL
        assert refusal.held == 0
    assert len(world.asked) == 6


@pytest.mark.parametrize("way", ["stream", "batch", "sync"])
def test_it_holds_on_every_way(way: str) -> None:
    world = World(small=["small says"])
    agent = world.agent(tier_config={"free": TierConfig("free", budget=TWO_CALLS)})
    options: dict[str, Any] = {"user_id": "ann", **SHORT}

    async def main() -> int:
        async with agent:
            if way == "batch":
                batch = await agent.run_batch([QUESTION] * 9, concurrency=1, **options)
                assert all(isinstance(e, BudgetExceededError | None) for e in batch.errors)
                return batch.success_count
            for passed in range(9):
                try:
                    if way == "stream":
                        await read(agent.stream(QUESTION, **options))
                    else:
                        await asyncio.to_thread(agent.run_sync, QUESTION, **options)
                except BudgetExceededError:
                    return passed
        return 9

    assert asyncio.run(main()) == 2 == len(world.asked)
    agent.close()


def test_at_once_no_more_pass_than_the_budget_holds() -> None:
    world = World(small=["small says"])
    world.meanwhile = lambda: asyncio.sleep(0)
    agent = world.agent(tier_config={"free": TierConfig("free", budget=TWO_CALLS)})

    async def main() -> None:
        async with agent:
            done = await asyncio.gather(
                *[agent.run(QUESTION, user_id="ann", **SHORT) for _ in range(40)],
                return_exceptions=True,
            )
        refused = [each for each in done if isinstance(each, BudgetExceededError)]
        assert len(refused) >= 38
        assert len(done) - len(refused) == len(world.asked)
        assert agent.cost_tracker is not None
        assert agent.cost_tracker.spent <= Decimal(TWO_CALLS)

    asyncio.run(main())


def test_a_tier_without_a_budget_runs_beside_one_that_has_one() -> None:
    world = World(small=["small says"])
    config = {"free": TierConfig("free", budget=TWO_CALLS), "pro": TierConfig("pro")}
    agent = world.agent(tier_config=config)
    assert count_until_refused(agent, user_id="ann")[0] == 2
    for _ in range(5):
        assert ask(agent, user_id="bob", user_tier="pro", **SHORT).budget.limit is None
    assert len(world.asked) == 7


def test_without_any_budget_nothing_is_held_and_nothing_changed() -> None:
    world = World(small=["small says"])
    agent = world.agent(tier_config={"free": TierConfig("free")})
    result = ask(agent, user_id="ann")
    assert result.budget.mode == "off"
    assert "max_completion_tokens" not in world.bodies[0]


def test_the_tracker_that_is_made_is_there_to_be_read() -> None:
    world = World(small=["small says"])
    agent = world.agent(tier_config={"free": TierConfig("free", budget=TWO_CALLS)})
    ask(agent, user_id="ann", **SHORT)
    tracker = agent.cost_tracker
    assert tracker is not None
    assert tracker.mode == "block"
    (account,) = tracker.accounts("user:ann")
    assert (to_usd(account.spent), account.held) == (CALL, 0)


# The tier as a whole


def test_all_users_of_a_tier_share_the_tiers_budget() -> None:
    world = World(small=["small says"])
    config = {
        "free": TierConfig("free", tier_budget=TWO_CALLS, budget=1),
        "pro": TierConfig("pro"),
    }
    agent = world.agent(tier_config=config)
    ask(agent, user_id="ann", **SHORT)
    ask(agent, user_id="bob", **SHORT)
    with pytest.raises(BudgetExceededError) as caught:
        ask(agent, user_id="cat", **SHORT)
    assert caught.value.account.startswith("tier:free")
    assert ask(agent, user_id="cat", user_tier="pro", **SHORT).content == "small says"
    assert len(world.asked) == 3


def test_a_user_who_named_no_tier_is_counted_on_the_default_ones_budget() -> None:
    world = World(small=["small says"])
    agent = world.agent(tier_config={"free": TierConfig("free", tier_budget=TWO_CALLS)})
    ask(agent, user_id="ann", user_tier="no such tier", **SHORT)
    ask(agent, **SHORT)
    with pytest.raises(BudgetExceededError, match="tier"):
        ask(agent, user_id="bob", **SHORT)


def test_two_agents_with_one_tracker_share_the_tiers_budget() -> None:
    world = World(small=["small says"])
    tracker = CostTracker(default_user_budget=1, clock=world.clock)
    config = {"free": TierConfig("free", tier_budget=TWO_CALLS)}
    for _ in range(2):
        ask(world.agent(tier_config=config, cost_tracker=tracker), user_id="ann", **SHORT)
    with pytest.raises(BudgetExceededError, match="tier"):
        ask(world.agent(tier_config=config, cost_tracker=tracker), user_id="ann", **SHORT)


def test_two_budgets_for_one_tier_are_refused() -> None:
    world = World(small=["small says"])
    tracker = CostTracker(budgets={"tier:free": 5}, clock=world.clock)
    with pytest.raises(ConfigurationError, match="free"):
        world.agent(tier_config={"free": TierConfig("free", tier_budget=1)}, cost_tracker=tracker)


# One user's own


def test_a_profiles_budget_is_that_users_alone() -> None:
    world = World(small=["small says"])
    agent = world.agent(
        tier_config={"free": TierConfig("free", budget=TWO_CALLS)},
        user_profiles={
            "ann": UserProfile(budget="0.0015"),
            "bob": UserProfile(budget=None),
            "cat": UserProfile(budget=0),
        },
    )
    assert count_until_refused(agent, user_id="ann")[0] == 7
    assert count_until_refused(agent, user_id="cat")[0] == 0
    assert count_until_refused(agent, user_id="dan")[0] == 2
    for _ in range(9):
        ask(agent, user_id="bob", **SHORT)


def test_a_resolvers_profile_has_a_budget_too() -> None:
    world = World(small=["small says"])
    agent = world.agent(
        tier_config={"free": TierConfig("free")},
        tier_resolver=lambda user: UserProfile("free", budget=TWO_CALLS if user == "ann" else None),
    )
    assert count_until_refused(agent, user_id="ann")[0] == 2
    for _ in range(5):
        ask(agent, user_id="bob", **SHORT)


def test_a_budget_given_to_a_user_by_name_holds_over_the_tiers() -> None:
    world = World(small=["small says"])
    tracker = CostTracker(user_budgets={"ann": "0.0015"}, clock=world.clock)
    agent = world.agent(
        tier_config={"free": TierConfig("free", budget=TWO_CALLS)}, cost_tracker=tracker
    )
    assert count_until_refused(agent, user_id="ann")[0] == 7
    assert count_until_refused(agent, user_id="bob")[0] == 2


def test_the_tiers_budget_holds_over_the_trackers_default() -> None:
    world = World(small=["small says"])
    tracker = CostTracker(default_user_budget="0.0015", clock=world.clock)
    config = {"free": TierConfig("free", budget=TWO_CALLS), "pro": TierConfig("pro")}
    agent = world.agent(tier_config=config, cost_tracker=tracker)
    assert count_until_refused(agent, user_id="ann")[0] == 2
    assert count_until_refused(agent, user_id="bob", user_tier="pro")[0] == 7


# Changes in mid-day


def test_an_upgrade_in_mid_day_gives_the_rest_of_the_larger_budget_and_no_more() -> None:
    world = World(small=["small says"])
    config = {
        "free": TierConfig("free", budget=BudgetConfig(daily=TWO_CALLS)),
        "pro": TierConfig("pro", budget=BudgetConfig(daily="0.00105")),
    }
    tiers = Tiers(config, clock=world.clock)
    agent = world.agent(tier_config=tiers)
    assert count_until_refused(agent, user_id="ann")[0] == 2
    tiers.set_profile("ann", "pro")
    assert count_until_refused(agent, user_id="ann")[0] == 3
    tiers.set_profile("ann", "free")  # what was spent stays spent
    assert count_until_refused(agent, user_id="ann")[0] == 0
    tiers.set_profile("ann", "pro")
    assert count_until_refused(agent, user_id="ann")[0] == 0
    world.clock.advance(DAY)
    assert count_until_refused(agent, user_id="ann")[0] == 5
    assert count_until_refused(agent, user_id="bob")[0] == 2


def test_what_was_spent_in_one_tier_counts_in_the_periods_of_the_next() -> None:
    world = World(small=["small says"])
    config = {
        "free": TierConfig("free", budget=BudgetConfig(daily=1)),
        "pro": TierConfig("pro", budget=BudgetConfig(monthly=TWO_CALLS)),
    }
    agent = world.agent(tier_config=config)
    ask(agent, user_id="ann", user_tier="free", **SHORT)
    world.clock.advance(DAY)  # another day, the same month
    assert count_until_refused(agent, user_id="ann", user_tier="pro")[0] == 1
    world.clock.advance(31 * DAY)
    assert count_until_refused(agent, user_id="ann", user_tier="pro")[0] == 2


def test_so_it_does_when_the_process_began_anew_in_between(tmp_path: Path) -> None:
    world = World(small=["small says"])
    config = {
        "free": TierConfig("free", budget=BudgetConfig(daily=1)),
        "pro": TierConfig("pro", budget=BudgetConfig(monthly=TWO_CALLS)),
    }
    counts = []
    for tier, days in (("free", 1), ("pro", 40), ("pro", 0)):
        tracker = CostTracker(
            store=f"sqlite:///{tmp_path}/budgets.db", enforcement_mode="block", clock=world.clock
        )
        agent = world.agent(tier_config=config, cost_tracker=tracker)
        if tier == "free":
            ask(agent, user_id="ann", user_tier=tier, **SHORT)
        else:
            counts.append(count_until_refused(agent, user_id="ann", user_tier=tier)[0])
        tracker.close()
        world.clock.advance(days * DAY)
    assert counts == [1, 2]


def test_two_tiers_at_once_of_one_user_spend_one_account() -> None:
    world = World(small=["small says"])
    world.meanwhile = lambda: asyncio.sleep(0)
    config = {
        "free": TierConfig("free", budget=BudgetConfig(daily=TWO_CALLS)),
        "pro": TierConfig("pro", budget=BudgetConfig(daily="0.00105")),
    }
    agent = world.agent(tier_config=config)

    async def main() -> None:
        async with agent:
            await asyncio.gather(
                *[
                    agent.run(QUESTION, user_id="ann", user_tier=tier, **SHORT)
                    for _ in range(20)
                    for tier in ("free", "pro")
                ],
                return_exceptions=True,
            )

    asyncio.run(main())
    assert 2 <= len(world.asked) <= 5


# What a tracker does with it


def test_a_tracker_that_degrades_degrades_within_the_tier() -> None:
    world = World(small=["small says"], middle=["middle says"], big=["big says"])
    tracker = CostTracker(enforcement_mode="degrade", clock=world.clock)
    agent = world.agent(
        tier_config={"free": TierConfig("free", budget="0.002", blocked_models=["small"])},
        cost_tracker=tracker,
        cache=False,
    )
    result = ask(agent, user_id="ann", max_tokens=100)
    assert result.budget.action == "cheaper_plan"
    assert result.content == "middle says"


def test_a_tracker_that_warns_warns() -> None:
    world = World(small=["small says"])
    tracker = CostTracker(enforcement_mode="warn", clock=world.clock)
    agent = world.agent(
        tier_config={"free": TierConfig("free", budget="0.0001")}, cost_tracker=tracker
    )
    result = ask(agent, user_id="ann", **SHORT)
    assert result.budget.over_limit
    assert "BudgetWarned" in world.kinds()


def test_a_user_without_a_budget_is_not_refused_for_want_of_one() -> None:
    # A tracker that enforces refuses who has no budget at all: a tier without one says it is none.
    world = World(small=["small says"])
    tracker = CostTracker(user_budgets={"bob": 1}, enforcement_mode="block", clock=world.clock)
    config = {"pro": TierConfig("pro", rate_limits=RateLimits(per_hour=9))}
    agent = world.agent(tier_config=config, cost_tracker=tracker)
    assert ask(agent, user_id="ann", **SHORT).content == "small says"
    assert ask(agent, **SHORT).content == "small says"


def test_the_result_says_whose_budgets_it_was_counted_on() -> None:
    world = World(small=["small says"])
    config = TierConfig("free", budget=BudgetConfig(daily=1), tier_budget=BudgetConfig(monthly=9))
    result = ask(world.agent(tier_config={"free": config}), user_id="ann", **SHORT)
    assert {report.account for report in result.budget.accounts} == {
        "user:ann day",
        "tier:free month",
    }
    assert result.budget.booked == CALL
