"""However a request ends, its money ends with it: once, in full, and for what was really sent."""

from __future__ import annotations

import asyncio
import gc
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import (
    AllModelsFailedError,
    BudgetConfig,
    CascadeAgent,
    CostTracker,
    MemoryCache,
    ModelConfig,
    RetryPolicy,
)
from cascadeflow.budgets.records import Charge, UsageEvent
from cascadeflow.budgets.reservation import Reservation
from cascadeflow.errors import (
    MissingKeyError,
    ProviderTimeoutError,
    StoreError,
)
from cascadeflow.models.completer import Reply
from cascadeflow.models.completion import Completed, Completion, TextDelta
from cascadeflow.models.prices import Price
from cascadeflow.models.usage import Usage
from cascadeflow.money import to_usd
from cascadeflow.pipeline import events
from cascadeflow.testing import CannedResponse, ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SMALL_CALL = Decimal("0.0002")  # 100 tokens in, 50 out, at 1 and 2 US dollars per million
BIG_CALL = Decimal("0.0025")  # at 10 and 30


def tracked(budget: Any = "1.00", **options: Any) -> CostTracker:
    return CostTracker(**{"global_budget": budget, "enforcement_mode": "block", **options})


def ask(agent: CascadeAgent, **options: Any) -> Any:
    return asyncio.run(agent.run("Where is Oslo?", **{"max_tokens": 100, **options}))


def charges(tracker: CostTracker) -> list[Charge]:
    return [event.charge for event in tracker.events() if isinstance(event, UsageEvent)]


def spent(tracker: CostTracker) -> Decimal:
    (found,) = tracker.accounts("global")
    assert found.held == 0, "a hold is still open"
    assert found.spent == sum(charge.nanodollars or 0 for charge in charges(tracker))
    return to_usd(found.spent)


def one_hold(world: Any) -> Decimal:
    """What a call of the small model is held at."""
    held = ask(world(small=["Oslo"]).agent(cost_tracker=tracked())).budget.held
    assert isinstance(held, Decimal)
    return held


class Interrupt(BaseException):
    """What a signal may raise anywhere."""


# A try and the next one


def test_a_try_is_booked_once_when_the_store_fails_under_the_next_one(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> bool:
        raise StoreError("the disk is full")

    held = one_hold(world)
    monkeypatch.setattr(Reservation, "extend", broken)
    tracker = tracked(held)
    w = world(small=[TimeoutError("late"), "Oslo"])
    with pytest.raises(StoreError):
        ask(w.agent(cost_tracker=tracker, retry=RetryPolicy(attempts=3, base_delay=0)))
    assert len(w.asked) == 1
    assert spent(tracker) == held


def test_a_try_is_booked_once_when_it_is_cancelled_while_the_next_one_is_held_for(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = one_hold(world)
    waiting = asyncio.Event()

    async def never(*_: Any, **__: Any) -> bool:
        waiting.set()
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(Reservation, "extend", never)
    tracker = tracked(held)
    w = world(small=[TimeoutError("late"), "Oslo"])

    async def main() -> None:
        agent = w.agent(cost_tracker=tracker, retry=RetryPolicy(attempts=3, base_delay=0))
        task = asyncio.create_task(agent.run("Where is Oslo?", max_tokens=100))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert spent(tracker) == held


@pytest.mark.parametrize("streamed", [False, True])
def test_a_try_that_the_deadline_forbade_is_not_booked(
    world: Any, monkeypatch: pytest.MonkeyPatch, *, streamed: bool
) -> None:
    held = one_hold(world)
    clock = ManualClock(autojump=True)
    extend = Reservation.extend

    async def slow(self: Any, calls: Any, *, force: bool = False) -> bool:
        clock.advance(60)
        return await extend(self, calls, force=force)

    monkeypatch.setattr(Reservation, "extend", slow)
    tracker = tracked(clock=clock)
    w = world(small=[TimeoutError("late"), "Oslo"])
    agent = w.agent(cost_tracker=tracker, retry=RetryPolicy(attempts=3, base_delay=0), clock=clock)

    async def main() -> None:
        if not streamed:
            await agent.run("Where is Oslo?", max_tokens=100, timeout=30)
        async for _ in agent.stream("Where is Oslo?", max_tokens=100, timeout=30):
            pass

    with pytest.raises(AllModelsFailedError):
        asyncio.run(main())
    assert len(w.asked) == 1
    assert spent(tracker) == held


class OwnCompleter:
    """A completer of the user's own: its answers are given, one a call."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.close_raises: BaseException | None = None

    async def complete(self, *_: Any, may_retry: Any = None, **__: Any) -> Reply:
        answer = self.answers.pop(0)
        if isinstance(answer, list):  # tries of one call
            for error in answer:
                if isinstance(error, Exception) and not await may_retry(error):
                    raise error
            answer = answer[-1]
        if isinstance(answer, BaseException):
            raise answer
        return Reply(completion=answer, attempts=(), duration_ms=1, transport_ms=1)

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        try:
            answer = self.answers.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            yield TextDelta(answer.text)
            yield Completed(answer)
            yield Reply(completion=answer, attempts=(), duration_ms=1, transport_ms=1)
        finally:
            if self.close_raises is not None:
                raise self.close_raises

    async def aclose(self) -> None:
        return None


SMALL = ModelConfig("small", "openai", price=Price(input=1, output=2))
BIG = ModelConfig("big", "openai", price=Price(input=10, output=30))
OSLO = Completion(
    text="Oslo", finish_reason="stop", usage=Usage(input_tokens=100, output_tokens=50)
)


def late(**fields: Any) -> ProviderTimeoutError:
    return ProviderTimeoutError("late", provider="openai", model="small", billed=None, **fields)


def test_a_try_with_known_usage_that_may_not_be_repeated_is_booked_once(world: Any) -> None:
    held = one_hold(world)
    tracker = tracked(held)
    failure = late()
    failure.partial = OSLO
    agent = CascadeAgent([SMALL], cost_tracker=tracker, completer=OwnCompleter([failure, OSLO]))
    with pytest.raises(AllModelsFailedError):
        ask(agent)
    assert spent(tracker) == held


# What was never sent


def test_a_missing_key_costs_nothing(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    tracker = tracked()
    w = world(small=["Oslo"])
    agent = CascadeAgent([SMALL], cost_tracker=tracker, transport=w.transport)
    with pytest.raises(MissingKeyError):
        ask(agent)
    assert w.asked == []
    assert spent(tracker) == 0


def test_what_the_protocol_has_no_words_for_costs_nothing(world: Any) -> None:
    tracker = tracked()
    model = ModelConfig("claude", "anthropic", price=Price(input=1, output=2), api_key="k")
    agent = CascadeAgent([model], cost_tracker=tracker, transport=world(small=[""]).transport)

    async def main() -> None:
        await agent.run(messages=[{"role": "system", "content": "Be brief."}], max_tokens=9)

    with pytest.raises(ValueError, match="not a system message"):
        asyncio.run(main())
    assert spent(tracker) == 0


def test_a_listener_that_ends_the_program_before_the_call_costs_nothing(world: Any) -> None:
    def interrupt(event: Any) -> None:
        if isinstance(event, events.CallStarted):
            raise Interrupt

    tracker = tracked()
    w = world(small=["Oslo"])
    with pytest.raises(Interrupt):
        ask(w.agent(cost_tracker=tracker, on_event=interrupt))
    assert w.asked == []
    assert spent(tracker) == 0


# What was sent and answered


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "at", [events.CallFinished, events.DraftJudged, events.BudgetWarned, events.RequestCompleted]
)
def test_a_listener_that_ends_the_program_loses_no_charge(
    world: Any, at: type, *, streamed: bool
) -> None:
    def interrupt(event: Any) -> None:
        if isinstance(event, at):
            raise Interrupt

    tracker = tracked(BudgetConfig(total=1, warn_at=0.0001))
    agent = world(small=["Oslo"], big=["Oslo"]).agent(cost_tracker=tracker, on_event=interrupt)

    async def main() -> None:
        if not streamed:
            await agent.run("Where is Oslo?", max_tokens=100)
        async for _ in agent.stream("Where is Oslo?", max_tokens=100):
            pass

    with pytest.raises(Interrupt):
        asyncio.run(main())
    assert spent(tracker) == SMALL_CALL


def test_a_listener_that_raises_changes_nothing(world: Any) -> None:
    def broken(_: Any) -> None:
        raise ValueError("no")

    tracker = tracked(BudgetConfig(total=1, warn_at=0.0001))
    ask(world(small=["BAD"], big=["Oslo"]).agent(cost_tracker=tracker, on_event=broken))
    assert spent(tracker) == SMALL_CALL + BIG_CALL


@pytest.mark.parametrize("breaks", [OSError("no"), Interrupt()])
def test_a_connection_that_breaks_on_closing_loses_no_charge(breaks: BaseException) -> None:
    tracker = tracked()
    own = OwnCompleter(OSLO)
    own.close_raises = breaks
    agent = CascadeAgent([SMALL], cost_tracker=tracker, completer=own)

    async def main() -> None:
        async for _ in agent.stream("Where is Oslo?", max_tokens=100):
            pass

    with pytest.raises(type(breaks)):
        asyncio.run(main())
    (charge,) = charges(tracker)
    assert charge.confirmed, "the answer had come, with its usage"
    assert spent(tracker) == SMALL_CALL


def test_a_stream_whose_closing_breaks_under_a_dropped_reader_is_booked_at_once() -> None:
    tracker = tracked()
    own = OwnCompleter(OSLO)
    own.close_raises = OSError("no")
    told: list[Any] = []
    agent = CascadeAgent([SMALL], cost_tracker=tracker, completer=own, on_event=told.append)

    async def main() -> None:
        stream = agent.stream("Where is Oslo?", max_tokens=100)
        async for event in stream:
            if isinstance(event, events.TextChunk):
                break
        with pytest.raises(OSError, match="no"):
            await stream.aclose()
        (charge,) = charges(tracker)
        assert not charge.confirmed
        assert spent(tracker) == to_usd(charge.held)

    asyncio.run(main())
    assert isinstance(told[-1], events.RequestFailed)


def test_a_stream_that_nobody_closes_is_booked_when_it_is_collected(world: Any) -> None:
    tracker = tracked()
    agent = world(small=["Oslo it is"]).agent(cost_tracker=tracker)

    async def main() -> None:
        async def read() -> None:
            async for event in agent.stream("Where is Oslo?", max_tokens=100):
                if isinstance(event, events.TextChunk):
                    return

        await read()
        gc.collect()
        for _ in range(5):  # the loop closes what was collected
            await asyncio.sleep(0)
        (charge,) = charges(tracker)
        assert spent(tracker) == to_usd(charge.held) > 0

    asyncio.run(main())


def test_an_answer_that_is_cancelled_while_it_is_cached_is_booked_and_told_once(
    world: Any,
) -> None:
    storing = asyncio.Event()

    class Slow(MemoryCache):
        async def put(self, *_: Any, **__: Any) -> None:
            storing.set()
            await asyncio.Event().wait()

    tracker = tracked()
    w = world(small=["Oslo"])

    async def main() -> None:
        agent = w.agent(cost_tracker=tracker, cache=Slow())
        task = asyncio.create_task(agent.run("Where is Oslo?", max_tokens=100))
        await storing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert spent(tracker) == SMALL_CALL
    ends = [k for k in w.kinds() if k in {"RequestCompleted", "RequestFailed"}]
    assert ends == ["RequestFailed"]


@pytest.mark.parametrize("charged", [4_000_000_000, 1e12, 1e30])
def test_a_bill_that_cannot_be_breaks_no_answer_and_leaves_no_hold(
    world: Any, charged: float
) -> None:
    tracker = tracked()
    w = world(small=[{"text": "BAD", "charged": charged}], big=[{"text": "O", "charged": charged}])
    result = ask(w.agent(cost_tracker=tracker))
    assert result.content == "O"
    (account,) = tracker.accounts("global")
    assert account.held == 0
    assert account.spent > 0


def test_the_providers_own_figure_is_booked_even_over_the_hold(world: Any) -> None:
    tracker = tracked()
    result = ask(world(small=[{"text": "Oslo", "charged": 0.25}]).agent(cost_tracker=tracker))
    assert spent(tracker) == Decimal("0.25") == result.cost.total == result.budget.booked
    assert result.budget.overrun == Decimal("0.25") - result.budget.held


def test_an_overrun_of_the_draft_is_made_good_before_the_verifier_is_asked(world: Any) -> None:
    probe = ask(world(small=["BAD"], big=["Oslo"]).agent(cost_tracker=tracked()))
    tracker = tracked(probe.budget.held)
    w = world(small=[{"text": "BAD", "output_tokens": 2_000}], big=["Oslo"])
    # The draft has eaten into what was held for the verifier, and there is no more to be had.
    with pytest.raises(AllModelsFailedError, match="budget did not cover asking openai:big"):
        ask(w.agent(cost_tracker=tracker))
    assert w.asked == ["small"]
    assert spent(tracker) <= probe.budget.held


def test_an_overrun_of_the_draft_takes_nothing_from_a_verifier_that_can_be_paid(
    world: Any,
) -> None:
    tracker = tracked()
    w = world(small=[{"text": "BAD", "output_tokens": 2_000}], big=["Oslo"])
    result = ask(w.agent(cost_tracker=tracker))
    draft = Decimal("0.0041")
    assert spent(tracker) == draft + BIG_CALL
    assert result.budget.overrun == draft - to_usd(charges(tracker)[0].held)


def test_an_answer_of_a_free_model_without_usage_costs_nothing() -> None:
    tracker = tracked(0)
    free = ModelConfig("free", "openai", price=Price(input=0, output=0))
    own = OwnCompleter(Completion(text="Oslo", finish_reason="stop"), late())
    agent = CascadeAgent([free], cost_tracker=tracker, completer=own)
    assert ask(agent).content == "Oslo"
    with pytest.raises(AllModelsFailedError):
        ask(agent)
    assert spent(tracker) == 0
    assert tracker.unknown_costs == 0


@pytest.mark.parametrize("lost", [late(), Completion(text="Oslo", finish_reason="stop")])
def test_in_warn_a_call_that_nobody_knows_the_cost_of_counts_as_unknown(lost: Any) -> None:
    tracker = tracked(enforcement_mode="warn")
    agent = CascadeAgent(
        [ModelConfig("nobody-knows", "openai")],
        unknown_price="allow",
        cost_tracker=tracker,
        completer=OwnCompleter(lost),
    )
    try:
        assert ask(agent).cost.total is None
    except AllModelsFailedError:
        assert isinstance(lost, Exception)
    assert tracker.unknown_costs == 1
    (charge,) = charges(tracker)
    assert (charge.nanodollars, charge.confirmed) == (None, False)
    assert charge.overrun == 0


def test_a_200_that_is_an_error_may_have_been_billed(world: Any) -> None:
    tracker = tracked()
    w = world(small=["never"])
    w.transport._respond = lambda _: CannedResponse.json(
        {"error": {"message": "the upstream broke off", "code": 502}}
    )
    with pytest.raises(AllModelsFailedError):
        ask(w.agent(cost_tracker=tracker))
    assert spent(tracker) == one_hold(world)


@pytest.mark.parametrize(("status", "billed"), [(504, True), (524, True), (503, False)])
def test_a_gateway_that_gave_up_waiting_may_have_been_billed(
    world: Any, status: int, billed: bool
) -> None:
    tracker = tracked()
    with pytest.raises(AllModelsFailedError):
        ask(world(small=[status]).agent(cost_tracker=tracker))
    assert spent(tracker) == (one_hold(world) if billed else 0)


def test_a_stream_without_usage_is_booked_at_its_hold(world: Any) -> None:
    tracker = tracked()
    agent = world(small=[{"text": "Oslo it is", "usage": False}]).agent(cost_tracker=tracker)

    async def main() -> Any:
        return [e async for e in agent.stream("Where is Oslo?", max_tokens=100)][-1].result

    result = asyncio.run(main())
    assert result.budget.unconfirmed == 1
    assert spent(tracker) == result.budget.held == one_hold(world)


# Around it


def test_a_stream_belongs_to_the_period_in_which_it_is_first_read(world: Any) -> None:
    clock = ManualClock(datetime(2026, 11, 22, 23, 0, tzinfo=UTC))
    tracker = tracked(BudgetConfig(daily=1), clock=clock)
    agent = world(small=["Oslo"]).agent(cost_tracker=tracker, clock=clock)

    async def main() -> Any:
        stream = agent.stream("Where is Oslo?", max_tokens=100)
        clock.advance(3 * 3600)
        return [event async for event in stream][-1].result

    result = asyncio.run(main())
    assert result.created == clock.now()
    (event,) = tracker.events()
    assert event.at.day == 23
    assert spent(tracker) == SMALL_CALL


@pytest.mark.parametrize("mode", ["warn", "block"])
def test_a_tracker_that_is_closed_under_way_has_booked_the_hold(
    world: Any, tmp_path: Any, mode: str
) -> None:
    tracker = tracked(enforcement_mode=mode, store=f"sqlite:///{tmp_path / 'b.db'}")
    w = world(small=["BAD"], big=[TimeoutError("late")], middle=["Oslo"])

    def close(event: Any) -> None:
        if isinstance(event, events.DraftJudged):
            tracker.close()

    agent = w.agent("small", "middle", "big", cost_tracker=tracker, on_event=close)
    if mode == "warn":  # it changes nothing for the request
        result = ask(agent)
        assert w.asked == ["small", "big", "middle"]
        assert result.budget.booked == result.budget.held
    else:
        with pytest.raises(AllModelsFailedError, match="did not cover asking openai:middle"):
            ask(agent)
        assert w.asked == ["small", "big"]
    (account,) = tracker.accounts("global")
    assert account.held == 0
    assert to_usd(account.spent) > SMALL_CALL + BIG_CALL  # the draft's and the verifier's hold


def test_a_limit_that_is_lowered_under_way_stops_who_would_stand_in(world: Any) -> None:
    tracker = tracked()
    w = world(small=["BAD"], middle=["Oslo"], big=[TimeoutError("late")])

    def lower(event: Any) -> None:
        if isinstance(event, events.DraftJudged):
            tracker.set_budget("global", 0, actor="mia", reason="stop")

    agent = w.agent("small", "middle", "big", cost_tracker=tracker, on_event=lower)
    with pytest.raises(AllModelsFailedError, match="budget did not cover asking openai:middle"):
        ask(agent)
    assert w.asked == ["small", "big"]
    draft, lost = charges(tracker)
    (account,) = tracker.accounts("global")
    assert account.held == 0
    assert to_usd(account.spent) == SMALL_CALL + to_usd(lost.held)
    assert draft.confirmed


def test_a_batch_that_stops_on_an_error_leaves_nothing_held(world: Any) -> None:
    tracker = tracked()
    w = world(small=["Oslo", 401, "Oslo"])
    agent = w.agent(cost_tracker=tracker)
    with pytest.raises(AllModelsFailedError):
        asyncio.run(
            agent.run_batch(
                ["Where is Oslo?"] * 50, concurrency=8, stop_on_error=True, max_tokens=100
            )
        )
    assert spent(tracker) >= SMALL_CALL


def test_a_request_from_plain_code_is_booked_like_any_other(world: Any) -> None:
    tracker = tracked()
    with world(small=["BAD"], big=["Oslo"]).agent(cost_tracker=tracker) as agent:
        result = agent.run_sync("Where is Oslo?", max_tokens=100, user_id="ann")
    assert spent(tracker) == SMALL_CALL + BIG_CALL == result.budget.booked
