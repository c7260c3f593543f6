"""A draft that is slow is asked for twice: the first answer counts, both are paid for."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow import CascadeAgent, CostTracker, ModelConfig, Price
from cascadeflow.budgets.reservation import Reservation
from cascadeflow.errors import (
    AllModelsFailedError,
    ConfigurationError,
    MissingKeyError,
    OverloadedError,
    ProviderError,
)
from cascadeflow.models.completer import Reply
from cascadeflow.models.completion import Completed, Completion, TextDelta
from cascadeflow.models.usage import Usage
from cascadeflow.pipeline import events
from cascadeflow.quality.report import QualityReport
from cascadeflow.testing import ManualClock

PRICES = {"small": 1, "middle": 4, "big": 10}
LATE = 10.0


class Accepting:
    def judge(self, _request: Any, completion: Completion, *, config: Any) -> QualityReport:
        return QualityReport(
            mode=config.mode, accepted=not completion.text.startswith("BAD"), reason="as it says"
        )


class Slow:
    """Answers each model's calls after so many seconds, or fails then."""

    def __init__(self, clock: ManualClock, **plays: list[tuple[float, str | type]]) -> None:
        self.clock = clock
        self.plays = plays
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.open = 0

    async def complete(self, model: ModelConfig, *_: Any, **__: Any) -> Reply:
        wait, said = self.plays[model.name].pop(0)
        self.asked.append(model.name)
        began = self.clock.monotonic()
        self.open += 1
        try:
            await self.clock.sleep(wait)
        except asyncio.CancelledError:
            self.cancelled.append(model.name)
            raise
        finally:
            self.open -= 1
        if said is MissingKeyError:
            raise MissingKeyError("set a key")
        if not isinstance(said, str):
            raise OverloadedError("no", provider="openai", model=model.name)
        took = (self.clock.monotonic() - began) * 1000
        completion = Completion(
            text=said, finish_reason="stop", usage=Usage(input_tokens=100, output_tokens=50)
        )
        return Reply(completion=completion, attempts=(), duration_ms=took, transport_ms=took)

    async def stream(self, model: ModelConfig, *rest: Any, **__: Any) -> Any:
        reply = await self.complete(model, *rest)
        yield TextDelta(reply.completion.text)
        yield Completed(reply.completion)
        yield reply

    async def aclose(self) -> None:
        assert self.open == 0


def agent_over(slow: Slow, *names: str, told: list[Any] | None = None, **options: Any) -> Any:
    models = [
        ModelConfig(name, "openai", price=Price(input=PRICES[name], output=2 * PRICES[name]))
        for name in names
    ]
    return CascadeAgent(
        models,
        completer=slow,
        clock=slow.clock,
        validator=Accepting(),
        on_event=(told if told is not None else []).append,
        **{"hedge_after": 2.0, **options},
    )


async def turns() -> None:
    """Lets every task go as far as it can while the clock stands."""
    for _ in range(50):
        await asyncio.sleep(0)


def tracked(clock: ManualClock, budget: str = "1.00") -> CostTracker:
    return CostTracker(global_budget=budget, enforcement_mode="block", clock=clock)


async def ask(agent: CascadeAgent, *, streaming: bool = False) -> Any:
    result = None
    if streaming:
        async for event in agent.stream("Where is Oslo?", max_tokens=100):
            if isinstance(event, events.RequestCompleted):
                result = event.result
    else:
        result = await agent.run("Where is Oslo?", max_tokens=100)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return result


@pytest.mark.parametrize("streaming", [False, True])
def test_the_next_drafter_is_asked_when_the_first_is_slow_and_the_first_answer_counts(
    streaming: bool,
) -> None:
    clock = ManualClock(autojump=True)
    slow = Slow(clock, small=[(LATE, "late")], middle=[(1.0, "Oslo")], big=[])
    tracker = tracked(clock)
    told: list[Any] = []
    agent = agent_over(slow, "small", "middle", "big", cost_tracker=tracker, told=told)
    result = asyncio.run(ask(agent, streaming=streaming))
    assert result.content == "Oslo"
    assert result.routing.model_used == "openai:middle"
    assert slow.asked == ["small", "middle"]
    assert slow.cancelled == ["small"]
    assert clock.monotonic() == 3.0, "two seconds of patience and the second's one"
    assert result.routing.fallbacks == (), "nobody failed"
    assert result.timing.overhead_ms == 0
    assert result.timing.transport_ms == 3000
    # The one that was overtaken may be billed: it is booked at what was held for it.
    charges = [event.charge for event in tracker.events()]
    assert [(charge.model, charge.confirmed) for charge in charges] == [
        ("openai:middle", True),
        ("openai:small", False),
    ]
    assert charges[1].nanodollars == charges[1].held > 0
    assert not result.cost.confirmed
    (overtaken,) = result.attempts
    assert (overtaken.model, overtaken.outcome, overtaken.billed) == (
        "small",
        "OvertakenError",
        None,
    )
    assert overtaken.duration_ms == 3000
    (account,) = tracker.accounts("global")
    assert account.held == 0
    failed = [event for event in told if isinstance(event, events.CallFailed)]
    assert [type(event.error).__name__ for event in failed] == ["OvertakenError"]


def test_with_one_drafter_the_same_model_is_asked_again() -> None:
    clock = ManualClock(autojump=True)
    slow = Slow(clock, small=[(LATE, "late"), (0.5, "Oslo")], big=[])
    result = asyncio.run(ask(agent_over(slow, "small", "big")))
    assert (result.content, slow.asked, slow.cancelled) == ("Oslo", ["small", "small"], ["small"])


def test_a_draft_that_comes_in_time_is_asked_for_once() -> None:
    clock = ManualClock(autojump=True)
    slow = Slow(clock, small=[(1.0, "Oslo")], middle=[], big=[])
    result = asyncio.run(ask(agent_over(slow, "small", "middle", "big")))
    assert (result.content, slow.asked, slow.cancelled) == ("Oslo", ["small"], [])
    assert result.cost.confirmed


def test_the_first_counts_when_it_is_first_after_all() -> None:
    clock = ManualClock(autojump=True)
    slow = Slow(clock, small=[(3.0, "Oslo")], middle=[(LATE, "late")], big=[])
    result = asyncio.run(ask(agent_over(slow, "small", "middle", "big")))
    assert (result.content, slow.cancelled) == ("Oslo", ["middle"])
    assert result.timing.overhead_ms == 0


def test_one_that_fails_leaves_the_other_and_nobody_is_asked_twice() -> None:
    clock = ManualClock(autojump=True)
    slow = Slow(
        clock, small=[(3.0, OverloadedError)], middle=[(5.0, OverloadedError)], big=[(1.0, "Oslo")]
    )
    result = asyncio.run(ask(agent_over(slow, "small", "middle", "big")))
    assert slow.asked == ["small", "middle", "big"]
    assert (result.content, slow.cancelled) == ("Oslo", [])
    assert result.routing.fallbacks == ("openai:small", "openai:middle")


def test_a_hedge_that_the_budget_does_not_cover_is_not_made() -> None:
    clock = ManualClock(autojump=True)
    slow = Slow(clock, small=[(LATE, "Oslo")], middle=[], big=[])
    # Enough for the plan, a draft and a verification, and for nothing else.
    probe = agent_over(
        Slow(clock, small=[(0, "x")]), "small", "middle", "big", cost_tracker=tracked(clock)
    )
    held = asyncio.run(ask(probe)).budget.held
    agent = agent_over(slow, "small", "middle", "big", cost_tracker=tracked(clock, str(held)))
    result = asyncio.run(ask(agent))
    assert (result.content, slow.asked) == ("Oslo", ["small"])
    assert result.budget.spent <= Decimal(held)


def test_a_verifier_and_a_draft_that_is_shown_are_not_hedged() -> None:
    clock = ManualClock(autojump=True)
    slow = Slow(clock, small=[(LATE, "BAD")], big=[(LATE, "Oslo")])

    async def main() -> Any:
        agent = agent_over(slow, "small", "big")
        async for event in agent.stream("Where is Oslo?", show_draft=True):
            if isinstance(event, events.RequestCompleted):
                return event.result
        return None

    assert asyncio.run(main()).content == "Oslo"
    assert slow.asked == ["small", "big"]


@pytest.mark.parametrize("after", [1.0, 2.5])
def test_cancelling_the_request_cancels_both_and_books_both(after: float) -> None:
    clock = ManualClock()
    slow = Slow(clock, small=[(LATE, "late")], middle=[(LATE, "late")], big=[])
    tracker = tracked(clock)

    async def main() -> None:
        agent = agent_over(slow, "small", "middle", "big", cost_tracker=tracker)
        task = asyncio.create_task(agent.run("Where is Oslo?", max_tokens=100))
        await turns()
        clock.advance(after)
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    expected = ["small"] if after < 2 else ["small", "middle"]
    assert slow.cancelled == expected
    assert slow.open == 0
    charges = [event.charge for event in tracker.events()]
    assert [charge.model for charge in charges] == [f"openai:{name}" for name in expected]
    assert all(charge.nanodollars == charge.held for charge in charges)
    (account,) = tracker.accounts("global")
    assert account.held == 0


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "soon", True])
def test_patience_is_a_time(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="hedge_after"):
        CascadeAgent(["openai:gpt-5-mini"], hedge_after=wrong)


PLAYS = st.tuples(st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0]), st.sampled_from(["a", "b", "no"]))


@given(
    small=st.tuples(PLAYS, PLAYS),
    middle=st.tuples(PLAYS, PLAYS),
    big=PLAYS,
    three=st.booleans(),
)
def test_whoever_is_slow_or_fails_the_books_balance(
    small: tuple[Any, Any], middle: tuple[Any, Any], big: Any, three: bool
) -> None:
    def play(one: tuple[float, str]) -> tuple[float, str | type]:
        return (one[0], ProviderError if one[1] == "no" else one[1])

    clock = ManualClock(autojump=True)
    slow = Slow(
        clock,
        small=[play(small[0]), play(small[1])],
        middle=[play(middle[0]), play(middle[1])],
        big=[play(big)],
    )
    tracker = tracked(clock)
    names = ("small", "middle", "big") if three else ("small", "big")
    agent = agent_over(slow, *names, cost_tracker=tracker)
    try:
        result = asyncio.run(ask(agent))
        assert result.budget.booked <= result.budget.held
        assert result.content in {"a", "b"}
    except AllModelsFailedError:
        assert "big" in slow.asked
    assert slow.open == 0
    (account,) = tracker.accounts("global")
    assert account.held == 0
    charges = [event.charge for event in tracker.events()]
    assert account.spent == sum(charge.nanodollars or 0 for charge in charges)
    answered = len(slow.asked) - len(slow.cancelled)
    assert sum(charge.confirmed for charge in charges) <= answered
    assert sum(not charge.confirmed for charge in charges) == len(slow.cancelled)


@pytest.mark.parametrize("same_moment", [False, True])
def test_a_mistake_of_the_setup_in_one_call_does_not_unbook_the_other(*, same_moment: bool) -> None:
    clock = ManualClock(autojump=True)
    first = (3.0 if same_moment else LATE, "Oslo")
    slow = Slow(clock, small=[first], middle=[(1.0, MissingKeyError)], big=[])
    tracker = tracked(clock)
    agent = agent_over(slow, "small", "middle", "big", cost_tracker=tracker)
    with pytest.raises(MissingKeyError):
        asyncio.run(ask(agent))
    charges = [event.charge for event in tracker.events()]
    # What was sent may be billed; what was not sent is not.
    assert [charge.model for charge in charges] == ["openai:small"]
    assert charges[0].nanodollars
    assert charges[0].confirmed == same_moment
    (account,) = tracker.accounts("global")
    assert (account.held, account.spent) == (0, charges[0].nanodollars)


def test_both_that_come_in_the_same_moment_are_paid_at_what_they_cost() -> None:
    clock = ManualClock(autojump=True)
    slow = Slow(clock, small=[(3.0, "Oslo")], middle=[(1.0, "Bergen")], big=[])
    tracker = tracked(clock)
    result = asyncio.run(ask(agent_over(slow, "small", "middle", "big", cost_tracker=tracker)))
    assert result.content in {"Oslo", "Bergen"}
    assert [event.charge.confirmed for event in tracker.events()] == [True, True]
    assert result.cost.confirmed
    assert result.timing.total_ms == result.timing.transport_ms == 3000


def test_time_that_two_calls_share_is_counted_once() -> None:
    clock = ManualClock(autojump=True)
    slow = Slow(
        clock, small=[(3.0, OverloadedError)], middle=[(5.0, OverloadedError)], big=[(1.0, "Oslo")]
    )
    timing = asyncio.run(ask(agent_over(slow, "small", "middle", "big"))).timing
    assert timing.total_ms == 8000
    assert (timing.transport_ms, timing.overhead_ms) == (8000, 0)


def test_a_slow_store_under_the_hedge_does_not_delay_the_first_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*_: Any, **__: Any) -> bool:
        await asyncio.Event().wait()
        return True

    clock = ManualClock(autojump=True)
    slow = Slow(clock, small=[(3.0, "Oslo")], middle=[], big=[])
    tracker = tracked(clock)
    monkeypatch.setattr(Reservation, "extend", never)
    result = asyncio.run(ask(agent_over(slow, "small", "middle", "big", cost_tracker=tracker)))
    assert (result.content, slow.asked, slow.cancelled) == ("Oslo", ["small"], [])
    assert result.timing.total_ms == 3000
    assert result.budget.booked == result.cost.total


@pytest.mark.parametrize("streaming", [False, True])
def test_who_was_hedged_is_not_asked_again_and_who_could_not_be_paid_may_be(
    streaming: bool,
) -> None:
    clock = ManualClock(autojump=True)
    slow = Slow(clock, small=[(3.0, "BAD")], middle=[(LATE, "late")], big=[(0.0, OverloadedError)])
    with pytest.raises(AllModelsFailedError):
        asyncio.run(ask(agent_over(slow, "small", "middle", "big"), streaming=streaming))
    assert slow.asked == ["small", "middle", "big"]

    slow = Slow(clock, small=[(3.0, OverloadedError)], middle=[(1.0, "Oslo")], big=[])

    def held(*names: str) -> Decimal:
        said = Slow(clock, **{name: [(0, "x")] for name in names})
        amount = asyncio.run(ask(agent_over(said, *names, cost_tracker=tracked(clock)))).budget.held
        assert isinstance(amount, Decimal)
        return amount

    # Beside the first draft there is not enough; once that one has failed for nothing, there is.
    budget = str(held("small", "middle", "big") + held("middle") - held("small") / 2)
    agent = agent_over(slow, "small", "middle", "big", cost_tracker=tracked(clock, budget))
    result = asyncio.run(ask(agent, streaming=streaming))
    assert (slow.asked, result.content) == (["small", "middle"], "Oslo")


def test_a_stream_tells_of_both_calls_as_they_are_made() -> None:
    clock = ManualClock()
    slow = Slow(clock, small=[(LATE, "late")], middle=[(1.0, "Oslo")], big=[])

    async def main() -> None:
        told: list[str] = []

        async def read() -> None:
            async for event in agent_over(slow, "small", "middle", "big").stream("Where is Oslo?"):
                told.append(type(event).__name__)  # noqa: PERF401 - seen while it is read

        task = asyncio.create_task(read())
        await turns()
        assert told == ["RequestStarted", "Routed", "CallStarted"]
        clock.advance(2.0)
        await turns()
        assert told[3:] == ["CallStarted"]
        clock.advance(1.0)
        await task
        assert told[-1] == "RequestCompleted"

    asyncio.run(main())


def test_leaving_a_stream_while_both_are_under_way_ends_both() -> None:
    clock = ManualClock()
    slow = Slow(clock, small=[(LATE, "late")], middle=[(LATE, "late")], big=[])
    tracker = tracked(clock)

    async def main() -> None:
        agent = agent_over(slow, "small", "middle", "big", cost_tracker=tracker)
        stream = agent.stream("Where is Oslo?", max_tokens=100)
        for _ in range(3):
            await anext(stream)
        clock_on = asyncio.create_task(anext(stream))
        await turns()
        clock.advance(2.5)
        assert type(await clock_on).__name__ == "CallStarted"
        await turns()
        assert slow.open == 2
        await stream.aclose()
        assert slow.open == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    charges = [event.charge for event in tracker.events()]
    assert [charge.model for charge in charges] == ["openai:small", "openai:middle"]
    assert all(charge.nanodollars == charge.held for charge in charges)
