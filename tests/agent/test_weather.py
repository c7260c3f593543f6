"""Whatever the providers do, the result says what was done, and what was done was decided."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import RetryPolicy
from cascadeflow.errors import AllModelsFailedError
from cascadeflow.money import from_usd, to_usd
from cascadeflow.pipeline import events

says = st.builds(
    lambda text, input_tokens, output_tokens, **more: {
        "text": text,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        **more,
    },
    st.sampled_from(["Oslo it is", "BAD it is", "CRASH it is", ""]),
    st.integers(0, 5000),
    st.integers(0, 5000),
    usage=st.booleans(),
    breaks_after=st.none() | st.integers(0, 4),
)
behaviours = (
    says
    | st.sampled_from([400, 401, 403, 404, 429, 500, 503, 529])
    | st.builds(TimeoutError, st.just("late"))
    | st.builds(ConnectionError, st.just("reset"))
)
scripts = st.fixed_dictionaries(
    {name: st.lists(behaviours, min_size=1, max_size=3) for name in ("small", "middle", "big")}
)


async def ask(agent: Any, mode: str, told: list[Any], leave_after: int) -> Any:
    """Runs one request: whole, streamed, or streamed and left after some events."""
    if mode == "whole":
        return await agent.run("Where?")
    stream = agent.stream("Where?", show_draft=mode == "shown")
    try:
        async for event in stream:
            told.append(event)
            if mode == "left" and len(told) > leave_after:
                return None
    finally:
        await stream.aclose()
    return told[-1].result


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=scripts,
    models=st.integers(1, 3),
    mode=st.sampled_from(["whole", "held", "shown", "left"]),
    leave_after=st.integers(0, 9),
    tries=st.integers(1, 3),
    keep_rejected=st.booleans(),
)
def test_in_any_weather_the_books_are_right(
    *,
    world: Any,
    bill: Any,
    script: dict[str, Any],
    models: int,
    mode: str,
    leave_after: int,
    tries: int,
    keep_rejected: bool,
) -> None:
    names = ("small", "middle", "big")[:models]
    w = world(**script)
    tracker = CostTracker()
    told: list[Any] = []

    async def main() -> Any:
        async with w.agent(
            *names,
            cost_tracker=tracker,
            retry=RetryPolicy(attempts=tries, base_delay=0),
            on_verifier_failure="draft" if keep_rejected else "error",
        ) as agent:
            try:
                result = await ask(agent, mode, told, leave_after)
            except AllModelsFailedError as error:
                result = error
            # Nothing is left behind: no task, no connection.
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert w.transport.open_exchanges == 0
            return result

    result = asyncio.run(main())
    if not w.events:
        assert mode == "left"
        return
    # The first event and the last: exactly one end.
    ends = [
        event
        for event in w.events
        if isinstance(event, (events.RequestCompleted, events.RequestFailed))
    ]
    assert len(ends) == 1
    assert w.events[-1] is ends[0]
    # Nobody is asked twice in a request, retries apart.
    started = [event.model for event in w.events if isinstance(event, events.CallStarted)]
    assert len(set(started)) == len(started)
    runs = [model for place, model in enumerate(w.asked) if w.asked[place - 1 : place] != [model]]
    sent = [f"openai:{model}" for model in runs]
    # A reader may leave between a call's announcement and its request.
    assert sent == started or (mode == "left" and sent == started[:-1])
    assert max(map(w.asked.count, w.asked), default=0) <= tries
    # The tracker has what the calls cost, and for those nobody knows of, what was held for them.
    finished = [event for event in w.events if isinstance(event, events.CallFinished)]
    known = sum(event.cost for event in finished if event.cost is not None)
    charges = [event.charge for event in tracker.events()]
    assert sum(charge.nanodollars or 0 for charge in charges if charge.confirmed) == known
    lost = [charge for charge in charges if not charge.confirmed]
    assert all(charge.nanodollars == max(charge.held, charge.estimate or 0) for charge in lost)
    assert tracker.spent == to_usd(known + sum(charge.nanodollars or 0 for charge in lost))
    if isinstance(ends[0], events.RequestFailed):
        # A reader may leave when the usage of the call under way has come, and its end has not.
        broken = [charge.estimate for charge in lost if charge.estimate is not None]
        assert ends[0].cost == known or (mode == "left" and ends[0].cost == known + sum(broken))
        assert ends[0].cancelled == (mode == "left" and result is None)
        if isinstance(result, AllModelsFailedError):
            tried = {error.model for error in result.errors}
            drafted = {event.model.partition(":")[2] for event in finished}
            assert tried | drafted == set(names)
        return
    check_result(w, ends[0].result, finished, bill)
    if mode != "whole":
        shown = [event for event in w.events if isinstance(event, events.TextChunk)]
        kept = ""
        for event in w.events:
            if isinstance(event, events.AnswerReplaced):
                kept = ""
            elif isinstance(event, events.TextChunk):
                kept += event.text
        assert kept == ends[0].result.content
        if mode == "held" and len(started) == 1:
            assert "".join(event.text for event in shown) == kept


def check_result(w: Any, result: Any, finished: list[Any], bill: Any) -> None:
    """The result against the wire and against its own events."""
    assert len(result.attempts) == len(w.transport.exchanges)
    assert [attempt.model for attempt in result.attempts] == w.asked
    costs = [event.cost for event in finished]
    if None in costs:
        assert result.cost.total is None
    else:
        assert from_usd(result.cost.total) == sum(costs)
    by_model = {event.model: event for event in finished}
    assert result.routing.model_used in by_model
    assert result.content == by_model[result.routing.model_used].completion.text
    for exchange in w.transport.exchanges:
        model = exchange.request_json["model"]
        event = by_model.get(f"openai:{model}")
        if event is None or exchange.status != 200 or exchange.outcome != "complete":
            continue
        usage = event.completion.usage
        if usage is None:
            assert event.cost is None
            assert '"usage"' not in exchange.response_body.decode()
        else:
            assert event.cost == bill(model, usage.total_input_tokens, usage.total_output_tokens)
    json.dumps(result.to_dict(), allow_nan=False)
    assert result.timing.overhead_ms >= 0
