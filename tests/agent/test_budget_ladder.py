"""`degrade` takes the first rung that fits, none lesser than it needs, and says what it did."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from cascadeflow import BudgetConfig, BudgetExceededError, CascadeAgent, CostTracker
from cascadeflow.models.prices import Price
from cascadeflow.money import to_usd
from cascadeflow.testing import ManualClock

OUTPUT = 1_000


def tracked(budget: Any, **options: Any) -> CostTracker:
    options = {"enforcement_mode": "degrade", "min_output": 10, **options}
    return CostTracker(global_budget=budget, **options)


def ask(agent: CascadeAgent, **options: Any) -> Any:
    return asyncio.run(agent.run("Where is Oslo?", **{"max_tokens": OUTPUT, **options}))


def held(world: Any, *names: str, **options: Any) -> Decimal:
    """What a plan over these models is held at."""
    w = world(**{name: ["Oslo"] for name in names})
    found = ask(w.agent(cost_tracker=tracked(9)), **options).budget.held
    assert isinstance(found, Decimal)
    return found


def test_output_shrinks_until_it_fits_every_account(world: Any) -> None:
    alone = held(world, "small")
    tracker = tracked(
        alone * 9 / 10,
        default_user_budget=alone * 8 / 10,
        budgets={"team:x": alone * 7 / 10, "tier:y": alone * 6 / 10, "key:k": alone * 5 / 10},
    )
    w = world(small=["Oslo"])
    options = {"user_id": "ann", "team": "x", "user_tier": "y", "key_id": "k"}
    result = ask(w.agent(cost_tracker=tracker), **options)
    assert result.budget.action == "smaller_max_tokens"
    # As much as the tightest account pays for, and not a token less.
    assert alone / 2 - Decimal("0.000002") < result.budget.held <= alone / 2


def test_a_model_whose_own_budget_is_spent_does_not_close_the_agent(world: Any) -> None:
    tracker = tracked(9, budgets={"model:openai:small": "0.0001"})
    w = world(small=["Oslo"], middle=["Oslo"], big=["Oslo"])
    result = ask(w.agent(cost_tracker=tracker))
    assert w.asked == ["middle"]
    assert result.budget.action == "cheaper_plan"
    assert result.routing.verifier_model == "openai:middle"


def test_with_two_models_the_one_that_is_left_answers(world: Any) -> None:
    tracker = tracked(9, budgets={"model:openai:small": 0})
    w = world(small=["Oslo"], big=["Oslo"])
    result = ask(w.agent(cost_tracker=tracker))
    assert w.asked == ["big"]
    assert result.budget.action == "cheaper_plan"
    assert result.routing.route == "direct"


def test_an_account_of_a_model_that_is_not_planned_changes_no_plan(world: Any) -> None:
    tracker = tracked(9, budgets={"model:openai:middle": 1})
    tracker.record(model="middle", provider="openai", nanodollars=950_000_000)
    w = world(small=["BAD"], middle=["Oslo"], big=["Oslo"])
    result = ask(w.agent(cost_tracker=tracker))
    assert w.asked == ["small", "big"]
    assert result.budget.action == "none"


def test_a_planned_model_that_is_nearly_spent_makes_the_plan_cheaper(world: Any) -> None:
    tracker = tracked(9, budgets={"model:openai:big": 1})
    tracker.record(model="big", provider="openai", nanodollars=950_000_000)
    w = world(small=["BAD"], big=["Oslo"])
    assert ask(w.agent(cost_tracker=tracker)).budget.action == "cheaper_plan"
    assert w.asked == ["small"]


def free_and_paid(world: Any, tracker: CostTracker, **options: Any) -> tuple[Any, CascadeAgent]:
    w = world(small=["paid"], middle=["free"])
    paid = w.agent("small").models[0]
    free = replace(paid, name="middle", price=Price(input=0, output=0))
    models = [paid, free]
    return w, CascadeAgent(
        models, cost_tracker=tracker, transport=w.transport, order="given", **options
    )


def test_a_free_model_answers_even_when_an_account_is_over_its_limit(world: Any) -> None:
    tracker = tracked("0.01")
    tracker.record(model="x", provider="y", nanodollars=20_000_000)
    w, agent = free_and_paid(world, tracker)
    assert ask(agent).budget.action == "free_model"
    assert w.asked == ["middle"]


def test_a_free_model_is_no_way_around_being_unknown(world: Any) -> None:
    tracker = CostTracker(user_budgets={"ann": 1}, enforcement_mode="degrade")
    w, agent = free_and_paid(world, tracker)
    with pytest.raises(BudgetExceededError, match="no budget applies"):
        ask(agent, user_id="eve")
    assert w.asked == []


@pytest.mark.parametrize("mode", ["block", "degrade"])
def test_the_answer_of_one_user_is_never_anothers(world: Any, mode: str) -> None:
    w = world(small=["for ann"])
    tracker = CostTracker(
        default_user_budget="0.01", global_budget=9, enforcement_mode=mode, min_output=10
    )
    agent = w.agent(cost_tracker=tracker, cache="memory" if mode == "block" else None)
    ask(agent, user_id="ann")
    for user in ("ann", "eve", "anonymous"):
        tracker.record(model="x", provider="y", nanodollars=10_000_000, user_id=user)
    assert ask(agent, user_id="ann").routing.route == "cache"
    for options in (
        {"user_id": "eve"},
        {},
        {"user_id": "anonymous"},
        {"user_id": "ann", "team": "t"},
    ):
        with pytest.raises(BudgetExceededError):
            ask(agent, **options)
    assert len(w.asked) == 1


def test_what_would_fit_an_empty_budget_is_told_to_wait(world: Any) -> None:
    clock = ManualClock()
    plan, alone = held(world, "small", "big"), held(world, "small")
    tracker = tracked(BudgetConfig(daily=alone), clock=clock)
    assert alone < plan
    w = world(small=["Oslo"], big=["Oslo"])
    agent = w.agent(cost_tracker=tracker, clock=clock)
    tracker.record(model="x", provider="y", nanodollars=int(alone * 10**9) - 1)
    with pytest.raises(BudgetExceededError) as refused:
        ask(agent)
    assert not refused.value.permanent
    assert refused.value.resets_at is not None
    # It says what it takes at least: the cheapest model, with the fewest tokens that are allowed.
    assert refused.value.requested < alone
    clock.advance((refused.value.resets_at - clock.now()).total_seconds())
    assert ask(agent).budget.action == "cheaper_plan"


def test_what_would_never_fit_is_not_told_to_wait(world: Any) -> None:
    tracker = tracked(BudgetConfig(daily="0.00001"))
    with pytest.raises(BudgetExceededError) as refused:
        ask(world(small=["Oslo"], big=["Oslo"]).agent(cost_tracker=tracker))
    assert refused.value.permanent


def test_one_pinned_model_shrinks_to_what_is_left(world: Any) -> None:
    alone = held(world, "small", "big", model="big")
    tracker = tracked(alone / 2)
    w = world(small=["Oslo"], big=["Oslo"])
    result = ask(w.agent(cost_tracker=tracker), model="big")
    assert w.asked == ["big"]
    assert result.budget.action == "smaller_max_tokens"
    assert result.budget.max_tokens_sent["openai:big"] == w.bodies[0]["max_completion_tokens"]
    assert result.budget.held <= alone / 2


def test_who_stands_in_on_a_smaller_rung_is_sent_no_more_than_it(world: Any) -> None:
    alone = held(world, "small")
    tracker = tracked(alone * 3 / 4)
    w = world(small=[500], middle=["Oslo"], big=["Oslo"])
    with pytest.raises(Exception, match="did not cover"):
        ask(w.agent(cost_tracker=tracker))
    (account,) = tracker.accounts("global")
    assert w.asked == ["small"]
    assert (account.spent, account.held) == (0, 0)


def test_who_stands_in_with_a_budget_of_its_own_is_held_on_it(world: Any) -> None:
    tracker = CostTracker(
        global_budget=9,
        budgets={"model:openai:middle": "0.0001", "model:*": 5},
        enforcement_mode="block",
    )
    w = world(small=["BAD"], middle=["Oslo"], big=[TimeoutError("late")])
    with pytest.raises(Exception, match="did not cover asking openai:middle"):
        ask(w.agent("small", "middle", "big", cost_tracker=tracker))
    assert w.asked == ["small", "big"]
    by_model = {a.scope.name: a for a in tracker.accounts() if a.scope.kind == "model"}
    assert {name: a.held for name, a in by_model.items()} == dict.fromkeys(by_model, 0)
    assert to_usd(by_model["openai:small"].spent) == Decimal("0.0002")


@pytest.mark.parametrize("budgets", [{}, {"model:*": 5}])
def test_a_list_of_three_pays_each_and_gives_the_rest_back(world: Any, budgets: Any) -> None:
    tracker = CostTracker(global_budget=9, budgets=budgets, enforcement_mode="block")
    w = world(small=[TimeoutError("late")], middle=["BAD"], big=["Oslo"])
    result = ask(w.agent("small", "middle", "big", cost_tracker=tracker))
    assert w.asked == ["small", "middle", "big"]
    (account,) = tracker.accounts("global")
    lost = tracker.events()[0].charge.held
    assert account.held == 0
    # 100 tokens in and 50 out at 4 and 8, and at 10 and 30 US dollars per million.
    assert account.spent == lost + 800_000 + 2_500_000
    assert to_usd(account.spent) == result.budget.booked <= result.budget.held


@pytest.mark.parametrize("answered", [True, False])
def test_a_refused_rung_alerts_nobody_unless_it_was_the_last(world: Any, *, answered: bool) -> None:
    probe = CostTracker(global_budget=1)
    asyncio.run(world(small=["Oslo"]).agent(cost_tracker=probe).run("Where?", max_tokens=100))
    (event,) = probe.events()
    alerts: list[Any] = []
    tracker = CostTracker(
        global_budget=to_usd(event.charge.held if answered else 1),
        enforcement_mode="degrade",
        alert_channels=[alerts.append],
    )
    agent = world(small=["Oslo"], big=["Oslo"]).agent(cost_tracker=tracker)
    if answered:
        result = asyncio.run(agent.run("Where?", max_tokens=100))
        assert result.budget.action == "cheaper_plan"
    else:
        with pytest.raises(BudgetExceededError):
            asyncio.run(agent.run("Where?", max_tokens=100))
    tracker.close()
    assert ("refused" in [alert.state for alert in alerts]) != answered
