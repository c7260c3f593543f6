"""LiteLLM's proxy takes what we send, as an OpenAI-compatible server that others run.

Its mock responses know no streamed tool calls; for these it asks the simulated provider behind it,
in OpenAI's form and in Anthropic's, so that each message is translated by LiteLLM on its way.
"""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from litellm_proxy import KEY

from cascadeflow import AllModelsFailedError, CascadeAgent, CostTracker, ModelConfig, RetryPolicy
from cascadeflow.errors import (
    BadRequestError,
    ContextTooLongError,
    OverloadedError,
    RateLimitedError,
)
from cascadeflow.models.prices import Price
from cascadeflow.pipeline import events
from cascadeflow.testing import SimulatedModel, SimulatedProvider
from cascadeflow.types import Message, Tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cascadeflow.pipeline.result import CascadeResult
    from conftest import Proxy

# The first test waits until the proxy is there.
pytestmark = pytest.mark.timeout(400)

WEATHER = Tool(
    "get_weather",
    "The weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)


async def ask(agent: CascadeAgent, *args: Any, stream: bool, **options: Any) -> CascadeResult:
    if not stream:
        return await agent.run(*args, **options)
    pieces = []
    async for event in agent.stream(*args, **options):
        if isinstance(event, events.TextChunk):
            pieces.append(event.text)
        elif isinstance(event, events.RequestCompleted):
            assert "".join(pieces) == event.result.content
            return event.result
    raise AssertionError("the stream had no last event")


def at(proxy: Proxy, name: str, scenario: Callable[[CascadeAgent], Awaitable[Any]]) -> Any:
    """Runs a scenario with an agent whose one model is the proxy's."""

    async def main() -> Any:
        model = ModelConfig(
            name,
            "openai",
            api_key=KEY,
            base_url=f"http://127.0.0.1:{proxy.port}/v1",
            price=Price(input=1, output=2),
        )
        async with CascadeAgent([model], retry=RetryPolicy(attempts=1)) as agent:
            return await scenario(agent)

    return asyncio.run(main())


both_modes = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@both_modes
def test_a_text_is_read_and_counted(litellm_proxy: Proxy, stream: bool) -> None:
    result = at(
        litellm_proxy,
        "text",
        lambda agent: ask(
            agent,
            "What is the capital of France?",
            stream=stream,
            max_tokens=50,
            temperature=0.5,
            top_p=0.9,
            stop=["END"],
            seed=7,
            system_prompt="Be brief.",
        ),
    )
    assert result.content == "Paris, of course."
    assert result.finish_reason == "stop"
    usage = result.usage
    assert usage.total_input_tokens > 0
    assert usage.total_output_tokens > 0
    assert result.completion.usage_complete
    assert result.cost.confirmed
    if stream:
        # LiteLLM writes into a stream's usage what it reckons the call cost: 0.40 and 1.60 dollars
        # a million, by its own table. What a provider says it charges wins over any price list.
        assert result.cost.price_sources == {"openai:text": "provider"}
        expected = usage.total_input_tokens * 4 + usage.total_output_tokens * 16
        assert result.cost.total == Decimal(expected) / 10_000_000
    else:
        expected = usage.total_input_tokens + 2 * usage.total_output_tokens
        assert result.cost.total == Decimal(expected) / 1_000_000
    assert result.completion.model == "text"


def test_tools_are_accepted_and_a_call_is_read(litellm_proxy: Proxy) -> None:
    result = at(
        litellm_proxy,
        "tools",
        lambda agent: ask(agent, "Weather?", stream=False, tools=[WEATHER], tool_choice="required"),
    )
    (call,) = result.tool_calls
    assert (call.id, call.name, call.arguments) == ("call_1", "get_weather", '{"city": "Oslo"}')


@both_modes
def test_a_schema_is_accepted(litellm_proxy: Proxy, stream: bool) -> None:
    schema = {**WEATHER.parameters, "additionalProperties": False}
    result = at(
        litellm_proxy,
        "json",
        lambda agent: ask(
            agent,
            "Name a city.",
            stream=stream,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "city", "schema": schema, "strict": True},
            },
        ),
    )
    assert json.loads(result.content) == {"city": "Oslo"}


@both_modes
@pytest.mark.parametrize("behind", ["openai", "anthropic"])
def test_tools_go_through_to_the_provider_behind_it_and_back(
    litellm_proxy: Proxy, behind: str, stream: bool
) -> None:
    async def scenario(agent: CascadeAgent) -> tuple[Any, Any]:
        async with SimulatedProvider(
            [SimulatedModel("small", output_tokens=8)], port=litellm_proxy.upstream
        ) as server:
            first = await ask(
                agent, "What is the weather in Oslo?", stream=stream, tools=[WEATHER], max_tokens=99
            )
            (call,) = first.tool_calls
            messages = [*first.messages, Message("tool", "It rains.", tool_call_id=call.id)]
            second = await ask(
                agent, messages=messages, stream=stream, tools=[WEATHER], max_tokens=99
            )
            return (first, second), server.requests

    (first, second), seen = at(litellm_proxy, f"{behind}-behind", scenario)
    assert [request.protocol for request in seen] == [behind, behind]
    (call,) = first.tool_calls
    assert call.name == "get_weather"
    assert list(json.loads(call.arguments)) == ["city"]
    assert first.finish_reason == "tool_calls"
    assert second.content == seen[1].text
    for result, request in zip((first, second), seen, strict=True):
        assert result.usage.total_input_tokens == request.prompt_tokens
        assert result.usage.total_output_tokens == request.output_tokens


@both_modes
@pytest.mark.parametrize("behind", ["openai", "anthropic"])
def test_an_image_goes_through_to_the_provider_behind_it(
    litellm_proxy: Proxy, behind: str, stream: bool
) -> None:
    question = {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        ],
    }

    async def scenario(agent: CascadeAgent) -> tuple[Any, Any]:
        async with SimulatedProvider(
            [SimulatedModel("small", output_tokens=8)], port=litellm_proxy.upstream
        ) as server:
            result = await ask(agent, messages=[question], stream=stream, max_tokens=99)
            return result, server.requests[-1]

    result, seen = at(litellm_proxy, f"{behind}-behind", scenario)
    assert result.content == seen.text
    assert PIXEL.encode() in seen.body
    assert seen.prompt_tokens > 85  # what the simulator counts an image at


@both_modes
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("busy", RateLimitedError),
        ("broken", OverloadedError),
        ("long", ContextTooLongError),
        ("no-such-model", BadRequestError),
    ],
)
def test_an_error_is_the_right_one_and_is_not_booked(
    litellm_proxy: Proxy, name: str, error: type[Exception], stream: bool
) -> None:
    tracker = CostTracker(global_budget=1, enforcement_mode="block")

    async def scenario(agent: CascadeAgent) -> None:
        async with CascadeAgent(
            agent.models, cost_tracker=tracker, retry=RetryPolicy(attempts=1)
        ) as careful:
            await ask(careful, "Hi", stream=stream, max_tokens=50)

    with pytest.raises(AllModelsFailedError) as caught:
        at(litellm_proxy, name, scenario)
    (failure,) = caught.value.errors
    assert type(failure) is error
    assert failure.billed is False
    (account,) = tracker.accounts("global")
    assert (account.held, account.spent) == (0, 0)
