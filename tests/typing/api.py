"""Type-checked, never run: what a user writes keeps its types (`mypy --strict tests/typing`)."""

from __future__ import annotations

from decimal import Decimal
from typing import assert_type

from cascadeflow import (
    AllModelsFailedError,
    AnswerReplaced,
    BatchProgress,
    BatchResult,
    CascadeAgent,
    CascadeResult,
    ChatRequest,
    Completion,
    CostTracker,
    Deadlines,
    Event,
    Message,
    ModelConfig,
    Price,
    ProviderError,
    QualityConfig,
    QualityReport,
    RequestCompleted,
    ResponseFormat,
    RetryPolicy,
    StreamEvent,
    StreamEventType,
    TextChunk,
    Tool,
    ToolCall,
    Usage,
)


class OwnValidator:
    """A validator is anything with this one method."""

    def judge(
        self, request: ChatRequest, completion: Completion, *, config: QualityConfig
    ) -> QualityReport:
        """Accepts what is long enough."""
        long_enough = len(completion.text) > len(request.last_user_text)
        return QualityReport(mode=config.mode, accepted=long_enough)


def listen(event: Event) -> None:
    """A listener is anything that takes an event."""
    if isinstance(event, TextChunk):
        assert_type(event.text, str)


async def use() -> None:
    """Every way of asking."""
    tracker = CostTracker(budget_limit=10.00)
    agent = CascadeAgent(
        [
            "openai:gpt-5-mini",
            ModelConfig("claude-opus-4-5", "anthropic", price=Price(input=5, output=25)),
            {"name": "llama3.2", "provider": "ollama"},
        ],
        quality_config=QualityConfig.fast(threshold=0.6),
        cost_tracker=tracker,
        validator=OwnValidator(),
        on_event=[listen],
        order="given",
        draft_up_to="moderate",
        on_verifier_failure="draft",
        unknown_price="allow",
        retry=RetryPolicy(attempts=2),
        deadlines=Deadlines(total=30),
    )
    assert_type(agent.models, tuple[ModelConfig, ...])
    result = await agent.run("What is 2 + 2?", max_tokens=100, temperature=0.7)
    assert_type(result, CascadeResult)
    assert_type(result.content, str)
    assert_type(result.cost.total, Decimal | None)
    assert_type(result.cost.saved, Decimal | None)
    assert_type(result.total_cost, float | None)
    assert_type(result.quality.score, float | None)
    assert_type(result.routing.escalated, bool)
    assert_type(result.tool_calls, tuple[ToolCall, ...])
    assert_type(result.usage, Usage | None)
    await agent.run(
        messages=[Message("system", "Be brief."), {"role": "user", "content": "Hello"}],
        tools=[Tool("now"), {"name": "then"}],
        tool_choice="auto",
        response_format=ResponseFormat("json_object"),
        stop=["END"],
        user_id="ann",
        timeout=5,
    )
    async for event in agent.stream("Hello", show_draft=True, max_tokens=10):
        assert_type(event, Event)
        if isinstance(event, RequestCompleted):
            assert_type(event.result, CascadeResult)
        elif isinstance(event, AnswerReplaced):
            assert_type(event.reason, str)
    async for old in agent.stream_events("Hello"):
        assert_type(old, StreamEvent)
        assert_type(old.type, StreamEventType)
    batch = await agent.run_batch(["a", "b"], concurrency=2, on_progress=progress, seed=1)
    assert_type(batch, BatchResult)
    assert_type(batch[0], CascadeResult | None)
    assert_type(await agent.run_streaming("Hello"), CascadeResult)
    assert_type(agent.run_sync("Hello", seed=1), CascadeResult)
    try:
        await agent.run("Hello", model="openai:gpt-5-mini")
    except AllModelsFailedError as error:
        assert_type(error.errors, tuple[ProviderError, ...])
    async with CascadeAgent.from_env(order="given") as other:
        assert_type(other, CascadeAgent)
    with CascadeAgent(["openai:gpt-5-mini"]) as blocking:
        assert_type(blocking, CascadeAgent)


def progress(so_far: BatchProgress) -> None:
    """A batch tells how far it is."""
    assert_type(so_far.total, int | None)


async def what_a_type_checker_refuses(agent: CascadeAgent) -> None:
    """Each line is an error, and mypy fails when one of them stops being one."""
    await agent.run("Hello", max_token=3)  # type: ignore[call-arg]
    agent.stream("Hello", max_tokens="3")  # type: ignore[arg-type]
    agent.run_sync("Hello", colour="red")  # type: ignore[call-arg]
    CascadeAgent(["openai:gpt-5"], order="random")  # type: ignore[arg-type]
    CascadeAgent(["openai:gpt-5"], validator=3)  # type: ignore[arg-type]
