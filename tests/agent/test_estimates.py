"""A call that breaks off is booked at its hold, with what it is reckoned to have cost beside it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import CascadeAgent, CostTracker, ModelConfig, Price, UsageEvent
from cascadeflow.errors import AllModelsFailedError, ProviderTimeoutError
from cascadeflow.models.completion import Completion
from cascadeflow.models.usage import Usage
from cascadeflow.pipeline import events

if TYPE_CHECKING:
    from cascadeflow.models.completer import Reply

QUESTION = "Where is Oslo?"


def ask(agent: Any, *, told: list[Any] | None = None) -> Any:
    async def main() -> Any:
        result = None
        async for event in agent.stream(QUESTION, max_tokens=100):
            if told is not None:
                told.append(event)
            if isinstance(event, events.RequestCompleted):
                result = event.result
        return result

    return asyncio.run(main())


def test_a_stream_that_breaks_off_is_booked_at_its_hold_with_the_estimate_beside_it(
    world: Any,
) -> None:
    w = world(small=[{"text": "Oslo lies in the south of Norway", "breaks_after": 4}], big=["Oslo"])
    tracker = CostTracker(global_budget=1, enforcement_mode="block")
    result = ask(w.agent("small", "big", cost_tracker=tracker))
    broken, answered = [e.charge for e in tracker.events() if isinstance(e, UsageEvent)]
    assert (broken.confirmed, answered.confirmed) == (False, True)
    assert broken.nanodollars == broken.held
    # Some words in, some words out, at 1 and 2 US dollars per million: far less than the hold.
    assert broken.estimate is not None
    assert 4_000 < broken.estimate < 60_000 < broken.held
    assert result.cost.estimated_other == Decimal(broken.estimate).scaleb(-9)
    assert result.cost.total == Decimal("0.0025"), "what is known, and nothing else"
    assert not result.cost.confirmed
    assert result.budget.unconfirmed == 1
    assert result.to_dict()["cost"]["estimated_other"] == str(result.cost.estimated_other)


def test_more_that_came_is_reckoned_dearer(world: Any) -> None:
    estimates = []
    for pieces in (1, 6):
        w = world(small=[{"text": "a b c d e f g h i j", "breaks_after": pieces}], big=["Oslo"])
        tracker = CostTracker(global_budget=1, enforcement_mode="block")
        ask(w.agent("small", "big", cost_tracker=tracker))
        estimates.append(tracker.events()[0].charge.estimate)
    assert estimates[0] < estimates[1]


def test_a_call_that_surely_was_not_billed_has_no_estimate(world: Any) -> None:
    w = world(small=[429], big=["Oslo"])
    result = ask(w.agent("small", "big"))
    assert result.cost.estimated_other is None
    assert result.cost.confirmed


def test_the_estimate_is_made_without_a_budget_too_and_for_requests_that_fail(world: Any) -> None:
    w = world(small=[{"text": "Oslo lies", "breaks_after": 1}], big=[ConnectionError("reset")])
    with pytest.raises(AllModelsFailedError):
        ask(w.agent("small", "big"))
    w = world(small=[ConnectionError("reset")], big=["Oslo"])
    result = ask(w.agent("small", "big"))
    assert result.cost.estimated_other is not None
    assert result.cost.estimated_other > 0


def test_a_stream_reports_the_usage_of_each_call_even_of_a_draft_held_back(world: Any) -> None:
    w = world(small=["BAD"], big=["Oslo"])
    told: list[Any] = []
    result = ask(w.agent("small", "big"), told=told)
    reported = [event for event in told if isinstance(event, events.UsageReported)]
    assert [event.model for event in reported] == ["openai:small", "openai:big"]
    assert reported[-1].usage == result.usage_by_model["openai:big"]
    assert {event.request_id for event in reported} == {result.request_id}


class Nonsense:
    """A completer whose calls break off with a usage that cannot be."""

    async def complete(self, model: ModelConfig, *_: Any, **__: Any) -> Reply:
        error = ProviderTimeoutError("late", provider="openai", model=model.name, billed=None)
        error.partial = Completion(text="Os", usage=Usage(input_tokens=-5, output_tokens=3))
        raise error

    def stream(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        return None


def test_a_usage_that_cannot_be_breaks_neither_the_request_nor_its_books() -> None:
    tracker = CostTracker(global_budget=1, enforcement_mode="block")
    model = ModelConfig("m", "openai", price=Price(input=1, output=2))
    agent = CascadeAgent([model], completer=Nonsense(), cost_tracker=tracker)
    with pytest.raises(AllModelsFailedError):
        asyncio.run(agent.run(QUESTION, max_tokens=100))
    (charge,) = [event.charge for event in tracker.events() if isinstance(event, UsageEvent)]
    assert charge.nanodollars == charge.held > 0
    assert charge.estimate is None
    (account,) = tracker.accounts("global")
    assert (account.held, account.spent) == (0, charge.held)
