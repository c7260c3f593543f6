"""Tools that run: the models are asked again with what the tools gave, inside one request."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BeforeValidator

from cascadeflow import (
    BudgetConfig,
    CostTracker,
    InvalidRequestError,
    Message,
    Tool,
    ToolContext,
    tool,
)
from cascadeflow.errors import AllModelsFailedError, BudgetExceededError, ToolAbort
from cascadeflow.pipeline import events
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from cascadeflow.types import ToolCall


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


ADD = {"text": "", "calls": (("c1", "add", '{"a": 2, "b": 3}'),), "finish": "tool_calls"}
SCHEMA = Tool(
    "add",
    "Adds two numbers.",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)


def ask(
    agent: Any, *, streaming: bool = False, told: list[Any] | None = None, **options: Any
) -> Any:
    async def main() -> Any:
        result = None
        question = "How much is 2 + 3?"
        if streaming:
            async for event in agent.stream(question, **options):
                if told is not None:
                    told.append(event)
                if isinstance(event, events.RequestCompleted):
                    result = event.result
        else:
            result = await agent.run(question, **options)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return asyncio.run(main())


@pytest.mark.parametrize("streaming", [False, True])
def test_a_function_is_run_and_the_models_asked_again(world: Any, streaming: bool) -> None:
    w = world(small=[ADD, "It is 5."])
    result = ask(w.agent("small", "big"), streaming=streaming, tools=[add], tool_executor=True)
    assert result.content == "It is 5."
    assert result.tool_calls == ()
    assert w.asked == ["small", "small"]
    (step,) = result.steps
    assert step.model == "openai:small"
    (outcome,) = step.outcomes
    assert (outcome.call.name, outcome.content, outcome.error) == ("add", "5", None)
    sent = w.bodies[1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == "c1"
    assert sent[2]["content"] == "5"
    assert [message.role for message in result.messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert [tool["function"]["name"] for tool in w.bodies[1]["tools"]] == ["add"]


def test_without_an_executor_the_calls_are_returned(world: Any) -> None:
    w = world(small=[ADD])
    result = ask(w.agent("small", "big"), tools=[add])
    assert [(call.name, json.loads(call.arguments)) for call in result.tool_calls] == [
        ("add", {"a": 2, "b": 3})
    ]
    assert result.steps == ()
    assert w.asked == ["small"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_executor_of_ones_own_is_handed_each_call(world: Any, asynchronous: bool) -> None:
    w = world(small=[ADD, "It is 6."])
    seen: list[ToolCall] = []

    def run(call: ToolCall) -> Any:
        seen.append(call)
        return {"sum": 6}

    async def later(call: ToolCall) -> Any:
        return run(call)

    result = ask(
        w.agent("small", "big"), tools=[SCHEMA], tool_executor=later if asynchronous else run
    )
    assert result.content == "It is 6."
    assert [call.id for call in seen] == ["c1"]
    assert json.loads(w.bodies[1]["messages"][2]["content"]) == {"sum": 6}


def test_max_steps_bounds_the_loop_and_returns_the_calls_of_the_last_answer(world: Any) -> None:
    w = world(small=[ADD])
    result = ask(w.agent("small", "big"), tools=[add], tool_executor=True, max_steps=3)
    assert w.asked == ["small"] * 3
    assert len(result.steps) == 2
    assert [call.name for call in result.tool_calls] == ["add"]
    assert result.finish_reason == "tool_calls"


def test_every_step_is_in_the_cost_the_usage_and_the_log(world: Any) -> None:
    w = world(small=[ADD, ADD, "BAD"], big=["It is 5."])
    tracker = CostTracker(global_budget=1, enforcement_mode="block")
    result = ask(
        w.agent("small", "big", cost_tracker=tracker),
        tools=[add],
        tool_executor=True,
        max_tokens=100,
    )
    assert w.asked == ["small", "small", "small", "big"]
    draft, big = Decimal("0.0002"), Decimal("0.0025")
    assert result.cost.draft == 3 * draft
    assert result.cost.verifier == big
    assert result.cost.total == 3 * draft + big
    # Alone, the verifier would have answered all three turns: two are estimated, one is measured.
    assert result.cost.verifier_alone == 3 * big
    assert result.cost.saved_basis == "estimated"
    assert result.usage.input_tokens == 400
    assert result.usage_by_model["openai:small"].output_tokens == 150
    assert result.budget.booked == result.cost.total == result.budget.spent
    assert result.budget.remaining == 1 - result.cost.total
    assert result.routing.escalated
    assert {event.request_id for event in tracker.events()} == {result.request_id}
    assert len(tracker.events()) == 4


def test_once_a_draft_was_rejected_the_next_steps_go_to_the_verifier(world: Any) -> None:
    w = world(small=["BAD"], big=[ADD, "It is 5."])
    result = ask(w.agent("small", "big"), tools=[add], tool_executor=True)
    assert w.asked == ["small", "big", "big"]
    assert (result.content, result.routing.escalated) == ("It is 5.", True)
    assert result.quality.accepted is False


def test_a_call_that_does_not_fit_is_not_run_and_the_model_is_told_why(world: Any) -> None:
    wrong = {**ADD, "calls": (("c1", "add", '{"a": "two"}'), ("c2", "nothing", "{}"))}
    w = world(big=[wrong, "Sorry."])
    ran: list[Any] = []

    def add(a: int, b: int) -> int:
        ran.append((a, b))
        return a + b

    result = ask(w.agent("big"), tools=[add], tool_executor=True)
    assert ran == []
    first, second = result.steps[0].outcomes
    assert first.error
    assert second.error
    given_back = [m["content"] for m in w.bodies[1]["messages"] if m["role"] == "tool"]
    assert given_back == [first.content, second.content]
    assert "nothing" in given_back[1]


def test_a_tool_that_raises_tells_the_model_and_one_that_aborts_ends_the_request(
    world: Any,
) -> None:
    def add(a: int, b: int) -> int:
        raise ValueError(f"cannot add {a} and {b}")

    w = world(big=[ADD, "Sorry."])
    result = ask(w.agent("big"), tools=[add], tool_executor=True)
    assert result.steps[0].outcomes[0].error == "ValueError: cannot add 2 and 3"
    assert result.content == "Sorry."

    def stop(call: ToolCall) -> None:
        raise ToolAbort(f"no more {call.name}")

    w = world(big=[ADD])
    tracker = CostTracker(global_budget=1, enforcement_mode="block")
    with pytest.raises(ToolAbort, match="no more add"):
        ask(w.agent("big", cost_tracker=tracker), tools=[add], tool_executor=stop, max_tokens=100)
    (account,) = tracker.accounts("global")
    assert (account.held, account.spent) == (0, 2_500_000), "what was asked is paid"


def test_a_forced_call_is_forced_once(world: Any) -> None:
    w = world(big=[ADD, "It is 5."])
    ask(w.agent("big"), tools=[add], tool_executor=True, tool_choice="required")
    assert w.bodies[0]["tool_choice"] == "required"
    assert "tool_choice" not in w.bodies[1]


def test_a_tool_that_asks_for_its_context_is_told_who_and_where(world: Any) -> None:
    seen: list[ToolContext] = []

    def whoami(context: ToolContext) -> str:
        """Says who asks."""
        seen.append(context)
        return "ann"

    call = {"text": "", "calls": (("c9", "whoami", "{}"),), "finish": "tool_calls"}
    w = world(big=[call, "You are Ann."])
    result = ask(w.agent("big"), tools=[whoami], tool_executor=True, user_id="ann")
    (context,) = seen
    assert (context.call_id, context.user_id, context.step) == ("c9", "ann", 1)
    assert context.request_id == result.request_id


def test_a_step_that_the_budget_does_not_cover_ends_the_loop_with_what_there_is(
    world: Any,
) -> None:
    long = "x" * 40_000

    def add(a: int, b: int) -> str:
        return long if a and b else ""

    w = world(big=[{**ADD, "text": "Let me see."}, "never"])
    probe = CostTracker(global_budget=1, enforcement_mode="block")
    held = ask(w.agent("big", cost_tracker=probe), tools=[add], max_tokens=100).budget.held
    w = world(big=[{**ADD, "text": "Let me see."}, "never"])
    tracker = CostTracker(global_budget=held, enforcement_mode="block")
    result = ask(
        w.agent("big", cost_tracker=tracker), tools=[add], tool_executor=True, max_tokens=100
    )
    assert w.asked == ["big"]
    assert result.content == "Let me see."
    assert result.budget.action == "fewer_steps"
    assert result.steps[0].outcomes[0].content == long, "what the tool gave is not lost"
    assert result.tool_calls == (), "they have been called"
    assert [message.role for message in result.messages] == ["user", "assistant", "tool"]
    assert result.budget.spent <= held


def test_degrade_goes_on_with_a_cheaper_model_where_the_plan_does_not_fit(world: Any) -> None:
    w = world(small=[ADD, "It is 5."], big=["never"])
    probe = CostTracker(global_budget=1, enforcement_mode="degrade")
    first = ask(w.agent("small", "big", cost_tracker=probe), tools=[add], max_tokens=100)
    w = world(small=[ADD, "It is 5."], big=["never"])
    tracker = CostTracker(
        global_budget=BudgetConfig(
            total=first.budget.held + Decimal("0.0002"), warn_at=0.98, degrade_at=0.99
        ),
        enforcement_mode="degrade",
    )
    result = ask(
        w.agent("small", "big", cost_tracker=tracker),
        tools=[add],
        tool_executor=True,
        max_tokens=100,
    )
    assert result.content == "It is 5."
    assert w.asked == ["small", "small"]
    assert result.budget.action == "cheaper_plan"


def test_events_tell_each_step_and_the_texts_since_the_last_are_the_content(world: Any) -> None:
    w = world(small=[{**ADD, "text": "Let me see."}, "It is 5."])
    told: list[Any] = []
    result = ask(
        w.agent("small", "big"), streaming=True, told=told, tools=[add], tool_executor=True
    )
    kinds = [type(event).__name__ for event in told]
    assert kinds.index("ToolStarted") < kinds.index("ToolFinished") < kinds.index("StepStarted")
    assert "UsageReported" in kinds
    begin = kinds.index("StepStarted")
    assert told[begin].step == 2
    texts = [event.text for event in told[begin:] if isinstance(event, events.TextChunk)]
    assert "".join(texts) == result.content == "It is 5."
    before = [event.text for event in told[:begin] if isinstance(event, events.TextChunk)]
    assert "".join(before) == "Let me see."


def test_a_cancelled_request_cancels_its_tools_and_closes_its_books(world: Any) -> None:
    w = world(big=[{**ADD, "calls": (("c1", "add", "{}"), ("c2", "add", "{}"))}])
    tracker = CostTracker(global_budget=1, enforcement_mode="block")
    ended: list[str] = []

    async def main() -> None:
        started = asyncio.Event()

        async def hang(call: ToolCall) -> None:
            try:
                if call.id == "c2":
                    started.set()
                await asyncio.Event().wait()
            finally:
                ended.append(call.id)

        tool = Tool("add")
        agent = w.agent("big", cost_tracker=tracker)
        task = asyncio.create_task(
            agent.run("2 + 3?", tools=[tool], tool_executor=hang, max_tokens=100)
        )
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert sorted(ended) == ["c1", "c2"]
    (account,) = tracker.accounts("global")
    assert account.held == 0
    assert account.spent == 2_500_000


def test_answers_of_a_loop_are_never_cached(world: Any) -> None:
    w = world(small=[ADD, "It is 5.", ADD, "It is 5."])
    agent = w.agent("small", "big", cache="memory")
    for _ in range(2):
        assert ask(agent, tools=[add], tool_executor=True).routing.route == "cascade"
    assert w.asked == ["small"] * 4


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tool_executor": True}, "needs tools="),
        ({"tool_executor": True, "tools": [SCHEMA]}, "give its function"),
        ({"tool_executor": "yes", "tools": [add]}, "must be True, or a function"),
        ({"tool_executor": True, "tools": [add], "max_steps": 0}, "max_steps"),
        ({"tool_executor": True, "tools": [add], "max_steps": True}, "max_steps"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_is_sent(
    world: Any, options: dict[str, Any], why: str
) -> None:
    w = world(small=["never"])
    with pytest.raises(InvalidRequestError, match=why):
        ask(w.agent("small"), **options)
    assert w.asked == []


def test_a_provider_that_fails_between_steps_is_passed_over(world: Any) -> None:
    w = world(small=[ADD, 500], big=["It is 5."])
    result = ask(w.agent("small", "big"), tools=[add], tool_executor=True)
    assert w.asked == ["small", "small", "big"]
    assert result.content == "It is 5."
    w = world(small=[ADD, 500], big=[500])
    with pytest.raises(AllModelsFailedError):
        ask(w.agent("small", "big"), tools=[add], tool_executor=True)


TURN = st.sampled_from(["call", "two calls", "BAD", "fail", "done", "no usage"])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    small=st.lists(TURN, min_size=1, max_size=4),
    big=st.lists(TURN, min_size=1, max_size=4),
    steps=st.integers(1, 4),
    budget=st.sampled_from(["0.002", "0.004", "0.006", "0.02", "1"]),
    mode=st.sampled_from(["block", "degrade"]),
    streaming=st.booleans(),
)
def test_whatever_the_models_do_no_step_spends_more_than_the_budget(  # noqa: PLR0917
    world: Any,
    small: list[str],
    big: list[str],
    steps: int,
    budget: str,
    mode: Any,
    streaming: bool,
) -> None:
    plays: dict[str, Any] = {
        "call": ADD,
        "two calls": {**ADD, "calls": (*ADD["calls"], ("c2", "add", '{"a": 1, "b": 1}'))},
        "BAD": "BAD",
        "fail": 500,
        "done": "It is 5.",
        "no usage": {**ADD, "usage": False},
    }
    w = world(small=[plays[turn] for turn in small], big=[plays[turn] for turn in big])
    tracker = CostTracker(global_budget=budget, enforcement_mode=mode, min_output=16)
    agent = w.agent("small", "big", cost_tracker=tracker)
    try:
        result = ask(
            agent,
            streaming=streaming,
            tools=[add],
            tool_executor=True,
            max_steps=steps,
            max_tokens=100,
        )
    except (AllModelsFailedError, BudgetExceededError):
        assert w.asked or mode == "block" or budget == "0.002"
    else:
        assert len(result.steps) <= steps - 1 or result.budget.action == "fewer_steps"
        assert result.budget.booked <= result.budget.held
        assert isinstance(result.messages[0], Message)
    (account,) = tracker.accounts("global")
    assert account.held == 0
    assert account.spent <= account.limit
    booked = [event.charge.nanodollars or 0 for event in tracker.events()]
    assert account.spent == sum(booked)


def test_a_draft_that_was_accepted_before_does_not_make_the_answer_one(world: Any) -> None:
    w = world(small=[ADD, 500], big=["It is 5."])
    result = ask(w.agent("small", "big"), tools=[add], tool_executor=True)
    assert result.model_used == "big"
    assert not result.draft_accepted
    assert result.quality.accepted is None


def refuse(value: Any) -> Any:
    raise RuntimeError(f"no {value}")


@pytest.mark.parametrize("how", ["cancelled", "validator"])
def test_whatever_goes_wrong_in_a_tool_is_told_to_the_model(world: Any, how: str) -> None:
    async def cancelled(a: int) -> int:
        waited = asyncio.get_running_loop().create_future()
        waited.cancel(str(a))
        return await waited

    def invalid(a: Annotated[int, BeforeValidator(refuse)]) -> int:
        return a

    add = tool(cancelled if how == "cancelled" else invalid, name="add")
    w = world(big=[{**ADD, "calls": (("c1", "add", '{"a": 2}'),)}, "Sorry."])
    result = ask(w.agent("big"), tools=[add], tool_executor=True)
    assert result.content == "Sorry."
    (outcome,) = result.steps[0].outcomes
    assert outcome.error.startswith(
        "CancelledError" if how == "cancelled" else "RuntimeError: no 2"
    )
    assert w.bodies[1]["messages"][2]["content"] == outcome.error


def test_a_stream_tells_what_is_said_and_of_each_tool_while_the_tools_still_run(world: Any) -> None:
    calls = (("c1", "add", "{}"), ("c2", "add", "{}"))
    w = world(small=[{**ADD, "text": "Let me see.", "calls": calls}, "It is 5."])
    told: list[Any] = []

    async def main() -> None:
        gates = {"c1": asyncio.Event(), "c2": asyncio.Event()}

        async def wait(call: ToolCall) -> str:
            await gates[call.id].wait()
            return call.id

        async def read() -> None:
            agent = w.agent("small", "big")
            async for event in agent.stream("2 + 3?", tools=[Tool("add")], tool_executor=wait):
                told.append(event)  # noqa: PERF401 - seen while it is read

        def kinds() -> list[str]:
            return [type(event).__name__ for event in told]

        async def until(kind: str, count: int) -> None:
            while kinds().count(kind) < count:
                assert not task.done()
                await asyncio.sleep(0)

        task = asyncio.create_task(read())
        await until("ToolStarted", 2)
        assert "".join(e.text for e in told if isinstance(e, events.TextChunk)) == "Let me see."
        gates["c2"].set()
        await until("ToolFinished", 1)
        assert "StepStarted" not in kinds()
        gates["c1"].set()
        await task

    asyncio.run(main())
    assert [type(event).__name__ for event in told].count("ToolFinished") == 2
    assert told[-1].result.content == "It is 5."


@pytest.mark.parametrize("leave", range(1, 20))
def test_a_stream_may_be_left_at_any_event_and_its_tools_end(world: Any, leave: int) -> None:
    calls = (("c1", "add", "{}"), ("c2", "add", "{}"))
    w = world(small=[{**ADD, "text": "Let me see.", "calls": calls}, "It is 5."])
    tracker = CostTracker(global_budget=1, enforcement_mode="block")
    running = 0

    async def main() -> None:
        async def work(call: ToolCall) -> str:
            nonlocal running
            running += 1
            try:
                for _ in range(5 if call.id == "c1" else 50):
                    await asyncio.sleep(0)
            finally:
                running -= 1
            return "5"

        agent = w.agent("small", "big", cost_tracker=tracker)
        stream = agent.stream("2 + 3?", tools=[Tool("add")], tool_executor=work, max_tokens=100)
        async with aclosing(stream):
            for _ in range(leave):
                if await anext(stream, None) is None:
                    break
        assert running == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    (account,) = tracker.accounts("global")
    assert account.held == 0
    assert account.spent == sum(event.charge.nanodollars or 0 for event in tracker.events())


def test_the_time_of_tools_is_neither_the_providers_nor_ours(world: Any) -> None:
    clock = ManualClock()

    async def work(call: ToolCall) -> str:
        clock.advance(3.0 if call.id == "c1" else 1.0)
        return "5"

    w = world(big=[ADD, "It is 5."])
    agent = w.agent("big", clock=clock)
    timing = ask(agent, tools=[Tool("add")], tool_executor=work).timing
    assert (timing.total_ms, timing.tools_ms, timing.overhead_ms) == (3000, 3000, 0)
    assert ask(world(big=["5"]).agent("big")).timing.tools_ms is None


def test_a_loop_whose_time_is_up_ends_with_what_the_tools_gave(world: Any) -> None:
    clock = ManualClock()

    def slow(call: ToolCall) -> str:
        clock.advance(60)
        return f"ran {call.name}"

    w = world(big=[{**ADD, "text": "Let me see."}, "never"])
    result = ask(w.agent("big", clock=clock), tools=[add], tool_executor=slow, timeout=30)
    assert w.asked == ["big"]
    assert result.content == "Let me see."
    assert result.steps[0].outcomes[0].content == "ran add"
    assert result.budget.action == "none"
    assert [message.role for message in result.messages] == ["user", "assistant", "tool"]


def test_tools_may_ask_agents_whose_tools_ask_agents_however_many_at_once(world: Any) -> None:
    def expert(question: str) -> str:
        """Asks somebody else."""
        inner = world(big=[ADD, f"5, to {question}"])
        return str(inner.agent("big").run_sync(question, tools=[add], tool_executor=True).content)

    calls = tuple((f"c{index}", "expert", '{"question": "why"}') for index in range(24))
    w = world(big=[{"text": "", "calls": calls, "finish": "tool_calls"}, "done"])
    result = w.agent("big").run_sync("why?", tools=[expert], tool_executor=True)
    assert result.content == "done"
    assert {outcome.content for outcome in result.steps[0].outcomes} == {"5, to why"}


def test_steps_without_anybody_who_runs_tools_are_refused(world: Any) -> None:
    w = world(big=["never"])
    with pytest.raises(InvalidRequestError, match="tool_executor"):
        ask(w.agent("big"), tools=[add], max_steps=3)
