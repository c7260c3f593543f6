"""Code that was written for v0.1 runs unchanged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import CascadeAgent, CostTracker, ModelConfig, QualityConfig, StreamEventType
from cascadeflow.quality.validator import CascadeValidator
from cascadeflow.testing import SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

RIGHT = {
    "What is the capital of France?": "The capital of France is Paris.",
    "Say nothing.": "",
}


@pytest.fixture
def server() -> Iterator[SimulatedProvider]:
    models = [
        SimulatedModel("gpt-4o-mini", answers=RIGHT),
        SimulatedModel("gpt-4o", answers={**RIGHT, "Say nothing.": "Here is something after all."}),
    ]
    with SimulatedProvider(models).start_in_thread() as running:
        yield running


def v01_models(server: SimulatedProvider) -> list[ModelConfig]:
    # v0.1's own form; base_url and api_key are fields of v0.1 too.
    return [
        ModelConfig(
            name="gpt-4o",
            provider="openai",
            cost=0.00625,
            base_url=server.base_url,
            api_key="test",
            speed_ms=900,
            quality_score=0.9,
        ),
        ModelConfig(
            name="gpt-4o-mini",
            provider="openai",
            cost=0.00015,
            base_url=server.base_url,
            api_key="test",
            supports_tools=True,
        ),
    ]


def test_a_v01_program_runs(server: SimulatedProvider, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        tracker = CostTracker(budget_limit=10.00, warn_threshold=0.8, verbose=True)
        agent = CascadeAgent(v01_models(server), verbose=True, enable_cascade=True)
        result: Any = await agent.run(
            "What is the capital of France?", max_tokens=100, temperature=0.7
        )
        print(f"{result.content} by {result.model_used} (${result.total_cost:.6f})")  # noqa: T201
        assert result.content == "The capital of France is Paris."
        assert result.model_used == "gpt-4o-mini"
        assert result.total_cost > 0
        assert result.latency_ms > 0
        assert result.complexity in {"trivial", "simple", "moderate", "hard", "expert"}
        assert result.cascaded is True
        assert result.draft_accepted is True
        assert result.cost_saved > 0
        assert result.metadata["routing_complexity"] == result.complexity
        assert result.routing_strategy == "cascade"
        assert result.reason
        assert result.has_tool_calls is False
        assert (result.draft_model, result.verifier_model) == ("gpt-4o-mini", "gpt-4o")
        assert result.draft_cost == result.total_cost
        assert result.verifier_cost is None
        assert result.draft_latency_ms > 0
        assert result.verifier_latency_ms is None
        assert result.quality_check_passed is True
        assert result.rejection_reason is None
        assert result.quality_score >= result.quality_threshold
        tracker.add_cost(
            model=result.model_used,
            provider="openai",
            tokens=result.usage.total_tokens,
            cost=result.total_cost,
            query_id="q1",
        )
        summary = tracker.get_summary()
        assert summary["total_cost"] == pytest.approx(result.total_cost)
        assert summary["by_model"] == {"gpt-4o-mini": pytest.approx(result.total_cost)}
        assert summary["budget_limit"] == 10.00
        assert tracker.get_recent_entries(n=3)[0].query_id == "q1"
        tracker.print_summary()

    asyncio.run(main())
    written = capsys.readouterr()
    assert "The capital of France is Paris. by gpt-4o-mini" in written.out
    assert "Budget limit:     $10.00" in written.out
    assert "answered by openai:gpt-4o-mini" in written.err


def test_v01s_flat_price_is_in_dollars_per_thousand_tokens(server: SimulatedProvider) -> None:
    result = asyncio.run(CascadeAgent(v01_models(server)).run("What is the capital of France?"))
    assert result.usage is not None
    assert result.total_cost == pytest.approx(0.00015 * result.usage.total_tokens / 1000)
    assert result.cost.price_sources == {"openai:gpt-4o-mini": "user"}


def test_v01s_limit_of_a_hundred_tokens_is_gone(server: SimulatedProvider) -> None:
    asyncio.run(CascadeAgent(v01_models(server)).run("What is the capital of France?"))
    body = server.requests[-1].body
    assert b"max_tokens" not in body
    assert b"max_completion_tokens" not in body
    assert b"temperature" not in body


def test_force_direct_and_positional_options_mean_what_they_meant(
    server: SimulatedProvider,
) -> None:
    agent = CascadeAgent(v01_models(server), None, True, False)
    result = asyncio.run(
        agent.run("What is the capital of France?", 50, 0.5, complexity_hint="simple")
    )
    assert b'"max_completion_tokens":50' in server.requests[-1].body.replace(b" ", b"")
    assert b'"temperature":0.5' in server.requests[-1].body.replace(b" ", b"")
    assert result.complexity == "simple"
    direct = asyncio.run(agent.run("What is the capital of France?", force_direct=True))
    assert direct.model_used == "gpt-4o"
    assert not direct.cascaded
    assert direct.cost_saved == 0


def test_run_streaming_writes_the_answer_and_returns_the_result(
    server: SimulatedProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = CascadeAgent(v01_models(server))
    result = asyncio.run(agent.run_streaming("What is the capital of France?", max_tokens=100))
    assert result.content == "The capital of France is Paris."
    assert capsys.readouterr().out == "The capital of France is Paris.\n"
    asyncio.run(agent.run_streaming("What is the capital of France?", enable_visual=False))
    assert capsys.readouterr().out == ""


def test_stream_events_speaks_v01s_words(server: SimulatedProvider) -> None:
    async def main(question: str) -> tuple[str, list[Any]]:
        text, told = "", []
        agent = CascadeAgent(v01_models(server))
        async for event in agent.stream_events(question, max_tokens=100, temperature=0.7):
            told.append(event)
            if event.type == StreamEventType.CHUNK:
                text += event.content
            elif event.type == StreamEventType.SWITCH:
                text = ""
        return text, told

    text, told = asyncio.run(main("What is the capital of France?"))
    assert text == "The capital of France is Paris."
    kinds = [event.type.value for event in told if event.type != StreamEventType.CHUNK]
    assert kinds == ["routing", "draft_decision", "complete"]
    assert told[0].data["strategy"] == "cascade"
    chunk = next(event for event in told if event.type == StreamEventType.CHUNK)
    assert chunk.data == {"model": "gpt-4o-mini", "phase": "draft", "provider": "openai"}
    decision = next(event for event in told if event.type == StreamEventType.DRAFT_DECISION)
    assert decision.data["accepted"] is True
    assert decision.data["draft_model"] == "gpt-4o-mini"
    assert told[-1].data["result"]["content"] == text
    assert told[-1].data["result"]["model_used"] == "gpt-4o-mini"


def test_stream_events_switches_and_ends_in_v01s_words(world: Any) -> None:
    async def main(agent: CascadeAgent) -> list[Any]:
        return [event async for event in agent.stream_events("Where?")]

    told = asyncio.run(main(world(small=["BAD"], big=["Oslo"]).agent()))
    switch = next(event for event in told if event.type == StreamEventType.SWITCH)
    assert (switch.data["from_model"], switch.data["to_model"]) == ("small", "big")
    assert [event.data["phase"] for event in told if event.type == StreamEventType.CHUNK] == [
        "draft",
        "verifier",
    ]
    told = asyncio.run(main(world(small=[500], big=[500]).agent()))
    assert told[-1].type == StreamEventType.ERROR
    assert told[-1].data["type"] == "AllModelsFailedError"


@pytest.mark.parametrize("second", ["big", "middle"])
def test_stream_events_name_no_second_opinion_as_the_phase_of_an_answer(
    world: Any, second: str
) -> None:
    async def main(agent: CascadeAgent) -> list[Any]:
        return [event async for event in agent.stream_events("What is 17 + 25?")]

    w = world(small=["The answer is 43."], middle=["The answer is 42."], big=["The answer is 42."])
    quality = QualityConfig.strict(cross_check=second, judge=False)
    agent = w.agent(
        validator=CascadeValidator(), quality_config=quality, draft_up_to="expert", order="given"
    )
    told = asyncio.run(main(agent))
    assert w.asked == ["small", second, *([] if second == "big" else ["big"])]
    phases = [event.data["phase"] for event in told if event.type == StreamEventType.CHUNK]
    assert list(dict.fromkeys(phases)) == ["draft", "verifier"]


def test_run_batch_returns_v01s_counts(server: SimulatedProvider) -> None:
    batch = asyncio.run(
        CascadeAgent(v01_models(server)).run_batch(["What is the capital of France?"] * 3)
    )
    assert (batch.success_count, batch.failure_count) == (3, 0)
    assert batch.total_cost > 0
    assert batch.results[0] is not None
    assert batch.results[0].content == "The capital of France is Paris."


def test_the_bill_of_an_empty_draft_is_paid_and_the_verifier_answers(
    server: SimulatedProvider,
) -> None:
    result = asyncio.run(CascadeAgent(v01_models(server)).run("Say nothing."))
    assert result.content == "Here is something after all."
    assert result.cascaded
    assert not result.draft_accepted
    assert result.rejection_reason
    assert result.verifier_cost is not None
    assert result.cost_saved is not None
    assert result.cost_saved < 0


def test_stream_events_knows_the_fallbacks_too(world: Any) -> None:
    w = world(small=[500], big=[500], middle=["Oslo"])
    (spare,) = w.agent("middle").models
    agent = w.agent("small", "big", fallbacks=[spare])

    async def main() -> list[Any]:
        return [event async for event in agent.stream_events("Where is Oslo?")]

    told = asyncio.run(main())
    assert [event.type for event in told[1:]] == [StreamEventType.CHUNK, StreamEventType.COMPLETE]
    assert told[1].data["model"] == "middle"
    assert told[-1].data["result"]["model_used"] == "middle"


def test_run_streaming_starts_a_line_for_each_step_and_leaves_nothing_open(
    world: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    call = {"text": "Let me see.", "calls": (("c1", "add", '{"a": 2, "b": 3}'),)}
    agent = world(small=[call, "It is 5."]).agent("small", "big")

    async def main() -> None:
        result = await agent.run_streaming("2 + 3?", tools=[add], tool_executor=True)
        assert result.content == "It is 5."
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert capsys.readouterr().out == "Let me see.\nIt is 5.\n"
