"""Budgets hold on every way that a request can take, and every way settles."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from cascadeflow import (
    AllModelsFailedError,
    BudgetConfig,
    BudgetExceededError,
    CascadeAgent,
    CostTracker,
    InvalidRequestError,
    ModelConfig,
    RetryPolicy,
    UnknownPriceError,
)
from cascadeflow.models.prices import Price
from cascadeflow.money import to_usd
from cascadeflow.pipeline import events
from cascadeflow.testing import ManualClock

SMALL_CALL = Decimal("0.0002")  # 100 tokens in, 50 out, at 1 and 2 US dollars per million
BIG_CALL = Decimal("0.0025")  # at 10 and 30


def tracked(budget: Any = "1.00", **options: Any) -> CostTracker:
    return CostTracker(**{"global_budget": budget, "enforcement_mode": "block", **options})


def ask(agent: CascadeAgent, **options: Any) -> Any:
    options = {"max_tokens": 100, **options}
    return asyncio.run(agent.run("Where is Oslo?", **options))


def account(tracker: CostTracker, scope: str = "global") -> Any:
    (found,) = tracker.accounts(scope)
    assert found.held == 0, "a hold is still open"
    return found


def spent(tracker: CostTracker, scope: str = "global") -> Decimal:
    return to_usd(account(tracker, scope).spent)


# What is booked


@pytest.mark.parametrize("mode", ["warn", "block", "degrade"])
@pytest.mark.parametrize(
    ("draft", "cost"), [("Oslo it is", SMALL_CALL), ("BAD", SMALL_CALL + BIG_CALL)]
)
def test_an_answer_is_booked_at_what_it_cost_and_the_rest_goes_back(
    world: Any, mode: str, draft: str, cost: Decimal
) -> None:
    tracker = tracked(enforcement_mode=mode)
    result = ask(world(small=[draft], big=["Oslo"]).agent(cost_tracker=tracker), user_id="ann")
    assert spent(tracker) == cost == result.budget.booked == result.cost.total
    assert result.budget.held > cost
    assert result.budget.mode == mode
    assert result.budget.remaining == 1 - cost
    assert result.budget.state == "ok"
    assert result.budget.unconfirmed == 0
    assert result.budget.action == "none"
    assert [report.account for report in result.budget.accounts] == ["global total"]


def test_what_surely_was_not_billed_costs_nothing(world: Any) -> None:
    tracker = tracked()
    with pytest.raises(AllModelsFailedError):
        ask(world(small=[500], big=[401]).agent(cost_tracker=tracker))
    assert spent(tracker) == 0


@pytest.mark.parametrize("error", [TimeoutError("late"), ConnectionError("reset")])
def test_what_may_have_been_billed_is_booked_at_its_hold(world: Any, error: Exception) -> None:
    tracker = tracked()
    agent = world(small=[error], big=["Oslo"]).agent(cost_tracker=tracker)
    result = ask(agent)
    lost, answered = [event.charge for event in tracker.events()]
    assert not lost.confirmed
    assert lost.nanodollars == lost.held > 0
    assert answered.confirmed
    assert to_usd(answered.nanodollars) == BIG_CALL
    assert result.budget.unconfirmed == 1
    assert result.budget.booked == spent(tracker) == to_usd(lost.held) + BIG_CALL


def test_each_try_that_may_have_been_billed_is_held_for_and_booked(world: Any) -> None:
    tracker = tracked()
    w = world(small=[TimeoutError("late"), TimeoutError("late"), "Oslo"])
    result = ask(w.agent(cost_tracker=tracker, retry=RetryPolicy(attempts=3, base_delay=0)))
    charges = [event.charge for event in tracker.events()]
    assert [charge.confirmed for charge in charges] == [False, False, True]
    assert result.budget.held >= to_usd(3 * charges[0].held)
    assert spent(tracker) == to_usd(2 * charges[0].held) + SMALL_CALL


def test_a_try_that_nobody_can_pay_for_is_not_made(world: Any) -> None:
    probe = tracked()
    held = ask(world(small=["Oslo"]).agent(cost_tracker=probe)).budget.held
    tracker = tracked(held + held / 2)
    w = world(small=[TimeoutError("late"), "Oslo"])
    with pytest.raises(AllModelsFailedError):
        ask(w.agent(cost_tracker=tracker, retry=RetryPolicy(attempts=3, base_delay=0)))
    assert len(w.asked) == 1
    assert spent(tracker) == held


def test_one_that_stands_in_is_paid_from_what_the_failed_one_left(world: Any) -> None:
    probe = tracked()
    agent = world(small=["BAD"], big=["Oslo"]).agent("small", "big", cost_tracker=probe)
    held = ask(agent).budget.held
    tracker = tracked(held)
    # The verifier surely cost nothing: its money pays for the one that stands in.
    w = world(small=["BAD"], middle=["Oslo"], big=[500])
    ask(w.agent("small", "middle", "big", cost_tracker=tracker))
    assert w.asked == ["small", "big", "middle"]
    assert spent(tracker) == SMALL_CALL + Decimal("0.0008")


def test_one_that_nobody_can_pay_for_does_not_stand_in(world: Any) -> None:
    probe = tracked()
    held = ask(world(small=["Oslo"]).agent(cost_tracker=probe, enable_cascade=False)).budget.held
    tracker = tracked(held)
    w = world(big=["never"], small=[500])
    agent = w.agent("big", "small", order="given", enable_cascade=False, cost_tracker=tracker)
    with pytest.raises(AllModelsFailedError, match="did not cover asking openai:big"):
        ask(agent)
    assert w.asked == ["small"]
    assert spent(tracker) == 0


def test_an_answer_without_usage_is_booked_at_its_hold(world: Any) -> None:
    tracker = tracked()
    w = world(small=[{"text": "Oslo", "usage": False}])
    result = ask(w.agent(cost_tracker=tracker))
    assert result.cost.total is None
    assert result.budget.unconfirmed == 1
    assert spent(tracker) == result.budget.held > 0


def test_a_provider_that_bills_more_than_was_held_is_booked_in_full(world: Any) -> None:
    tracker = tracked("0.01")
    w = world(small=[{"text": "Oslo", "output_tokens": 9_999}])
    result = ask(w.agent(cost_tracker=tracker))
    assert spent(tracker) == result.cost.total == Decimal("0.020098")
    assert result.budget.overrun == result.cost.total - result.budget.held > 0
    (event,) = tracker.events()
    assert to_usd(event.charge.overrun) == result.budget.overrun
    with pytest.raises(BudgetExceededError):
        ask(w.agent(cost_tracker=tracker))


def test_a_cancelled_request_books_its_call_at_the_hold(world: Any) -> None:
    tracker = tracked()
    entered = asyncio.Event()

    async def main() -> None:
        async def respond(_: Any) -> Any:
            entered.set()
            await asyncio.Event().wait()

        w = world(small=["never"])
        w.transport._respond = respond
        task = asyncio.ensure_future(
            w.agent(cost_tracker=tracker).run("Where is Oslo?", max_tokens=100)
        )
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    (event,) = tracker.events()
    assert not event.charge.confirmed
    assert spent(tracker) == to_usd(event.charge.held) > 0


def test_a_dropped_stream_books_its_call_at_the_hold(world: Any) -> None:
    tracker = tracked()
    agent = world(small=["BAD"], big=["Oslo it is"]).agent(cost_tracker=tracker)

    async def main() -> None:
        stream = agent.stream("Where is Oslo?", max_tokens=100)
        async for event in stream:
            if isinstance(event, events.TextChunk):
                break
        await stream.aclose()

    asyncio.run(main())
    draft, verifier = [event.charge for event in tracker.events()]
    assert draft.confirmed
    assert not verifier.confirmed
    assert spent(tracker) == SMALL_CALL + to_usd(verifier.held)


@pytest.mark.parametrize("draft", ["Oslo it is", "BAD"])
def test_a_stream_read_to_its_end_is_booked_like_any_other(world: Any, draft: str) -> None:
    tracker = tracked()
    agent = world(small=[draft], big=["Oslo"]).agent(cost_tracker=tracker)

    async def main() -> Any:
        async for event in agent.stream("Where is Oslo?", max_tokens=100):
            last = event
        return last.result

    result = asyncio.run(main())
    assert spent(tracker) == result.cost.total == result.budget.booked


def test_a_validator_that_breaks_settles_too(world: Any) -> None:
    tracker = tracked()
    ask(world(small=["CRASH"], big=["Oslo"]).agent(cost_tracker=tracker))
    assert spent(tracker) == SMALL_CALL + BIG_CALL


def test_a_batch_keeps_to_the_budget(world: Any) -> None:
    probe = tracked()
    held = ask(world(small=["Oslo"]).agent(cost_tracker=probe)).budget.held
    tracker = tracked(held + 3 * SMALL_CALL)
    agent = world(small=["Oslo"]).agent(cost_tracker=tracker)
    batch = asyncio.run(
        agent.run_batch(["Where is Oslo?"] * 10, concurrency=1, max_tokens=100, user_id="ann")
    )
    # Each answer costs less than its hold; when the rest is less than a hold, it is over.
    assert batch.success_count == 4
    assert {type(error) for error in batch.errors if error} == {BudgetExceededError}
    assert spent(tracker) == 4 * SMALL_CALL <= tracker.accounts("global")[0].limit


# What is refused


def test_a_request_larger_than_the_limit_is_told_apart_from_one_that_must_wait(world: Any) -> None:
    clock = ManualClock()
    probe = tracked()
    w = world(small=["Oslo"])
    held = ask(w.agent(cost_tracker=probe)).budget.held
    tracker = tracked(BudgetConfig(daily=held), clock=clock)
    agent = w.agent(cost_tracker=tracker, clock=clock)
    ask(agent)
    sent = len(w.asked)
    with pytest.raises(BudgetExceededError) as refused:
        ask(agent)
    error = refused.value
    assert (error.scope, error.period, error.account) == ("global", "day", "global day")
    assert (error.limit, error.spent, error.held, error.requested) == (held, SMALL_CALL, 0, held)
    assert not error.permanent
    assert error.resets_at is not None
    assert error.resets_at > clock.now()
    with pytest.raises(BudgetExceededError) as refused:
        ask(agent, max_tokens=100_000)
    assert refused.value.permanent
    assert len(w.asked) == sent, "a refused request was sent"
    clock.advance((error.resets_at - clock.now()).total_seconds())
    ask(agent)


@pytest.mark.parametrize("mode", ["block", "degrade"])
def test_zero_is_a_limit_of_zero(world: Any, mode: str) -> None:
    w = world(small=["Oslo"])
    agent = w.agent(cost_tracker=tracked(0, enforcement_mode=mode))
    with pytest.raises(BudgetExceededError) as refused:
        ask(agent)
    assert refused.value.limit == 0
    assert refused.value.permanent
    assert w.asked == []


@pytest.mark.parametrize(
    ("budgets", "options", "scope"),
    [
        ({"user_budgets": {"ann": 0}}, {"user_id": "ann"}, "user"),
        ({"default_user_budget": 0}, {"user_id": "somebody"}, "user"),
        ({"default_user_budget": 0}, {}, "user"),
        ({"budgets": {"tier:free": 0}}, {"user_tier": "free"}, "tier"),
        ({"budgets": {"team:*": 0}}, {"team": "research"}, "team"),
        ({"budgets": {"key:k1": 0}}, {"key_id": "k1"}, "key"),
        ({"budgets": {"tag:batch": 0}}, {"tags": ["nightly", "batch"]}, "tag"),
        ({"budgets": {"model:openai:big": 0}}, {}, "model"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_every_kind_of_account_refuses(
    world: Any, budgets: Any, options: Any, scope: str, *, streamed: bool
) -> None:
    w = world(small=["Oslo"], big=["Oslo"])
    agent = w.agent(cost_tracker=CostTracker(global_budget=9, enforcement_mode="block", **budgets))

    async def main() -> None:
        if not streamed:
            await agent.run("Where is Oslo?", **options)
            return
        async for _ in agent.stream("Where is Oslo?", **options):
            pass

    with pytest.raises(BudgetExceededError) as refused:
        asyncio.run(main())
    assert refused.value.scope == scope
    assert w.asked == []


def test_a_request_to_which_no_limit_applies_is_refused_not_unlimited(world: Any) -> None:
    agent = world(small=["Oslo"]).agent(
        cost_tracker=CostTracker(user_budgets={"ann": 5}, enforcement_mode="block")
    )
    ask(agent, user_id="ann")
    with pytest.raises(BudgetExceededError, match="default_user_budget"):
        ask(agent, user_id="eve")
    with pytest.raises(BudgetExceededError, match="default_user_budget"):
        ask(agent)


def test_an_unknown_price_is_refused_under_a_budget(world: Any) -> None:
    agent = CascadeAgent(
        [ModelConfig("nobody-knows", "openai", api_key="k")],
        unknown_price="allow",
        cost_tracker=tracked(),
        transport=world(small=["Oslo"]).transport,
    )
    with pytest.raises(UnknownPriceError):
        ask(agent)


def test_what_cannot_be_bounded_needs_a_stated_bound(world: Any) -> None:
    w = world(small=["Oslo"])
    tracker = tracked()
    agent = w.agent(cost_tracker=tracker)
    search = {"web_search_options": {}}
    with pytest.raises(InvalidRequestError, match="max_extra_cost"):
        ask(agent, extra=search)
    assert w.asked == []
    result = ask(agent, extra=search, max_extra_cost="0.25")
    assert result.budget.held > Decimal("0.25")
    assert ask(world(small=["Oslo"]).agent(), extra=search).content == "Oslo"


@pytest.mark.parametrize("bad", [-1, "much", float("nan"), float("inf")])
def test_a_bound_that_is_none_is_refused(world: Any, bad: Any) -> None:
    with pytest.raises(InvalidRequestError, match="max_extra_cost"):
        ask(world(small=["Oslo"]).agent(), max_extra_cost=bad)


@pytest.mark.parametrize(
    "options", [{"user_id": ""}, {"team": 5}, {"tags": "one"}, {"tags": [""]}, {"key_id": b"k"}]
)
def test_a_name_that_is_none_is_refused(world: Any, options: Any) -> None:
    with pytest.raises(InvalidRequestError):
        ask(world(small=["Oslo"]).agent(), **options)


# What is sent


@pytest.mark.parametrize("mode", ["block", "degrade"])
def test_an_enforced_budget_caps_what_had_no_cap_and_says_so(world: Any, mode: str) -> None:
    w = world(small=["Oslo"])
    tracker = tracked(enforcement_mode=mode, default_max_output=1_234)
    result = ask(w.agent(cost_tracker=tracker), max_tokens=None)
    assert w.bodies[0]["max_completion_tokens"] == 1_234
    assert result.budget.max_tokens_sent == {"openai:small": 1_234}
    ask(w.agent(cost_tracker=tracker), max_tokens=5_000)
    assert w.bodies[1]["max_completion_tokens"] == 5_000


@pytest.mark.parametrize("tracker", [None, tracked(enforcement_mode="warn")])
def test_without_an_enforced_budget_the_request_is_sent_as_it_came(
    world: Any, tracker: CostTracker | None
) -> None:
    w = world(small=["Oslo"])
    ask(w.agent(cost_tracker=tracker), max_tokens=None)
    assert "max_tokens" not in w.bodies[0]
    assert "max_completion_tokens" not in w.bodies[0]


# Mode warn


def test_warn_runs_over_the_limit_and_says_so(world: Any) -> None:
    alerts: list[Any] = []
    tracker = tracked("0.0003", enforcement_mode="warn", alert_channels=[alerts.append])
    w = world(small=["Oslo"])
    agent = w.agent(cost_tracker=tracker)
    results = [ask(agent) for _ in range(3)]
    assert spent(tracker) == 3 * SMALL_CALL
    assert results[-1].budget.over_limit
    assert results[-1].budget.state == "exhausted"
    warned = [event for event in w.events if isinstance(event, events.BudgetWarned)]
    assert [event.state for event in warned] == ["warned", "degraded", "exhausted"]
    assert {event.account for event in warned} == {"global total"}
    tracker.close()
    assert {alert.state for alert in alerts} >= {"warned", "degraded", "exhausted", "over_limit"}


def test_warn_calls_nothing_an_overrun_that_nobody_could_hold_for(world: Any) -> None:
    tracker = tracked(enforcement_mode="warn")
    result = ask(
        world(small=["Oslo"]).agent(cost_tracker=tracker), extra={"web_search_options": {}}
    )
    assert spent(tracker) == SMALL_CALL == result.budget.booked
    assert result.budget.overrun == 0
    assert result.budget.held == 0


# Mode degrade


def degrading(world: Any, budget: Any, **options: Any) -> tuple[Any, CostTracker, CascadeAgent]:
    tracker = tracked(budget, enforcement_mode="degrade", **options)
    w = world(small=["BAD"], big=["Oslo"])
    return w, tracker, w.agent(cost_tracker=tracker)


def holds(world: Any) -> tuple[Decimal, Decimal]:
    """What the cascade and the small model alone are held at."""
    cascade = ask(world(small=["Oslo"], big=["Oslo"]).agent(cost_tracker=tracked())).budget.held
    alone = ask(world(small=["Oslo"]).agent(cost_tracker=tracked())).budget.held
    return cascade, alone


def test_degrade_takes_the_cheap_model_alone_when_the_plan_does_not_fit(world: Any) -> None:
    cascade, alone = holds(world)
    w, tracker, agent = degrading(world, (cascade + alone) / 2)
    result = ask(agent)
    assert w.asked == ["small"]
    assert result.content == "BAD"
    assert result.budget.action == "cheaper_plan"
    assert result.routing.route == "direct"
    assert result.routing.verifier_model == result.routing.model_used == "openai:small"
    assert spent(tracker) == SMALL_CALL
    # What was saved is counted against the model that was planned to verify.
    assert result.cost.verifier_alone == BIG_CALL


def test_degrade_plans_more_cheaply_from_degrade_at_on(world: Any) -> None:
    w, tracker, agent = degrading(world, BudgetConfig(total=1, degrade_at=0.9))
    assert ask(agent).budget.action == "none"
    tracker.record(model="x", provider="y", nanodollars=880_000_000)
    assert ask(agent).budget.action == "none"
    tracker.record(model="x", provider="y", nanodollars=20_000_000)
    assert ask(agent).budget.action == "cheaper_plan"
    assert w.asked == ["small", "big", "small", "big", "small"]


def test_degrade_then_shrinks_the_output(world: Any) -> None:
    _, alone = holds(world)
    w, tracker, agent = degrading(world, alone - Decimal("0.00005"), min_output=10)
    result = ask(agent)
    assert result.budget.action == "smaller_max_tokens"
    sent = w.bodies[0]["max_completion_tokens"]
    assert 10 <= sent < 100
    assert result.budget.max_tokens_sent == {"openai:small": sent}
    assert result.budget.held <= alone - Decimal("0.00005")
    assert spent(tracker) == SMALL_CALL


def test_degrade_does_not_shrink_under_the_floor(world: Any) -> None:
    _, alone = holds(world)
    w, _, agent = degrading(world, alone - Decimal("0.00005"), min_output=90)
    with pytest.raises(BudgetExceededError):
        ask(agent)
    assert w.asked == []


def test_degrade_then_answers_from_what_the_user_was_answered_before(world: Any) -> None:
    w, tracker, agent = degrading(world, 1)
    first = ask(agent, user_id="ann")
    tracker.record(model="x", provider="y", nanodollars=to_nano(tracker) - 1)
    again = ask(agent, user_id="ann")
    assert again.content == first.content == "Oslo"
    assert again.budget.action == "cache"
    assert again.routing.route == "cache"
    assert again.cost.total == again.budget.booked == 0
    assert w.asked == ["small", "big"]
    with pytest.raises(BudgetExceededError):  # nobody sees another's answer
        ask(agent, user_id="eve")
    with pytest.raises(BudgetExceededError):
        ask(agent)


def to_nano(tracker: CostTracker) -> int:
    remaining = account(tracker).remaining
    assert remaining is not None
    return remaining


def test_degrade_at_last_asks_a_model_that_costs_nothing(world: Any) -> None:
    w = world(small=["Oslo"], middle=["free"])
    paid = w.agent("small").models[0]
    free = replace(paid, name="middle", price=Price(input=0, output=0))
    agent = CascadeAgent(
        [paid, free],
        cost_tracker=tracked(0, enforcement_mode="degrade"),
        transport=w.transport,
        order="given",
    )
    result = ask(agent)
    assert w.asked == ["middle"]
    assert result.budget.action == "free_model"


def test_a_pinned_model_is_not_exchanged(world: Any) -> None:
    cascade, alone = holds(world)
    w, _, agent = degrading(world, (cascade + alone) / 2, min_output=1_000)
    with pytest.raises(BudgetExceededError):
        ask(agent, model="big", max_tokens=1_000)
    assert w.asked == []


def test_without_a_tracker_nothing_is_held(world: Any) -> None:
    result = ask(world(small=["Oslo"]).agent())
    assert result.budget.mode == "off"
    assert result.budget.held is None
    assert result.budget.booked is None
