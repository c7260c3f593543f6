"""llama.cpp's own server answers what the `llamacpp` dialect sends, with a real model behind it."""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import AllModelsFailedError, CascadeAgent, ModelConfig, RetryPolicy
from cascadeflow.errors import BadRequestError, ContextTooLongError, OverloadedError
from cascadeflow.pipeline import events
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.types import ChatRequest, Message, Tool

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from cascadeflow.pipeline.result import CascadeResult

# A loaded machine decodes a few tokens a second, and the first test starts the server.
pytestmark = pytest.mark.timeout(300)

WEATHER = Tool(
    "get_weather",
    "The weather in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
    },
)
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "large": {"type": "boolean"}},
    "required": ["city", "large"],
    "additionalProperties": False,
}


def model(url: str) -> ModelConfig:
    return ModelConfig("smollm2", "llamacpp", base_url=f"{url}/v1")


def with_agent(url: str, ask: Any) -> Any:
    async def main() -> Any:
        async with CascadeAgent([model(url)], retry=RetryPolicy(attempts=1)) as agent:
            return await ask(agent)

    work: Coroutine[Any, Any, Any] = main()
    return asyncio.run(work)


async def streamed(agent: CascadeAgent, *args: Any, **options: Any) -> tuple[CascadeResult, Any]:
    """Asks for a stream: the result, and the pieces in which it came."""
    pieces: list[events.TextChunk | events.ToolCallChunk] = []
    async for event in agent.stream(*args, **options):
        if isinstance(event, events.TextChunk | events.ToolCallChunk):
            pieces.append(event)
        elif isinstance(event, events.RequestCompleted):
            return event.result, pieces
    raise AssertionError("the stream had no last event")


def test_a_chat_is_answered_counted_and_cut_at_its_limit(llama_url: str) -> None:
    result = with_agent(
        llama_url,
        lambda agent: agent.run(
            "Tell me of Oslo.", system_prompt="Be kind.", max_tokens=6, temperature=0.7, seed=3
        ),
    )
    assert result.content
    assert result.finish_reason == "length"
    assert result.usage.output_tokens == 6
    assert result.usage.total_input_tokens > 10
    assert result.completion.model == "smollm2"
    assert result.completion.response_id.startswith("chatcmpl-")
    assert result.cost.total == 0  # it runs on the user's own machine
    assert "timings" in result.completion.extras


def test_a_stream_comes_in_pieces_with_its_usage(llama_url: str) -> None:
    result, pieces = with_agent(
        llama_url, lambda agent: streamed(agent, "Tell me of Oslo.", max_tokens=6, temperature=0)
    )
    assert len(pieces) > 2
    assert "".join(piece.text for piece in pieces) == result.content
    assert result.finish_reason == "length"
    assert result.completion.usage_complete
    assert result.usage.output_tokens == 6
    whole = with_agent(
        llama_url, lambda agent: agent.run("Tell me of Oslo.", max_tokens=6, temperature=0)
    )
    assert whole.content == result.content
    assert whole.usage.total_input_tokens == result.usage.total_input_tokens
    # The same prompt stands in the server's cache now, and is not counted twice.
    assert whole.usage.cache_read_tokens > 0


def test_a_seed_makes_the_same_answer_again(llama_url: str) -> None:
    async def thrice(agent: CascadeAgent) -> list[str]:
        answers = []
        for seed in (7, 7, 8):
            result = await agent.run(
                "Write any word.", max_tokens=8, temperature=2.0, seed=seed, top_p=1.0
            )
            answers.append(result.content)
        return answers

    first, again, other = with_agent(llama_url, thrice)
    assert first == again != other


def test_a_stop_sequence_ends_the_answer_before_it(llama_url: str) -> None:
    result = with_agent(
        llama_url,
        lambda agent: agent.run("Tell me of Oslo.", max_tokens=12, stop=[" "], temperature=0),
    )
    assert result.finish_reason == "stop"
    assert " " not in result.content


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_tool_is_called_with_arguments_that_fit(llama_url: str, stream: bool) -> None:
    options: dict[str, Any] = {
        "tools": [WEATHER],
        "tool_choice": "required",
        "max_tokens": 60,
        "temperature": 0,
    }
    question = f"Repeat this:\n{CALL}"

    async def ask(agent: CascadeAgent) -> Any:
        if stream:
            return await streamed(agent, question, **options)
        return await agent.run(question, **options), None

    result, pieces = with_agent(llama_url, ask)
    (call,) = result.tool_calls
    assert call.name == "get_weather"
    assert call.id
    assert list(json.loads(call.arguments)) == ["city"]
    assert result.finish_reason == "tool_calls"
    assert result.usage.output_tokens > 5
    if stream:
        assert (pieces[0].id, pieces[0].name) == (call.id, "get_weather")
        assert "".join(piece.arguments for piece in pieces) == call.arguments


def test_a_tool_that_was_not_named_is_not_called(llama_url: str) -> None:
    other = Tool("get_time", "The time.", {"type": "object", "properties": {}})
    result = with_agent(
        llama_url,
        lambda agent: agent.run(
            f"Repeat this:\n{CALL}",
            tools=[WEATHER, other],
            tool_choice="get_time",
            max_tokens=40,
            temperature=0,
        ),
    )
    # Left to itself it calls get_weather. (`required` is a wish there too: so small a model may
    # answer in words.)
    assert {call.name for call in result.tool_calls} <= {"get_time"}


def test_a_tool_s_result_goes_back(llama_url: str) -> None:
    async def ask(agent: CascadeAgent) -> Any:
        first = await agent.run(
            f"Repeat this:\n{CALL}",
            tools=[WEATHER],
            tool_choice="required",
            max_tokens=60,
            temperature=0,
        )
        (call,) = first.tool_calls
        result = Message("tool", "It rains.", tool_call_id=call.id)
        return await agent.run(
            messages=[*first.messages, result], tools=[WEATHER], tool_choice="none", max_tokens=4
        )

    result = with_agent(llama_url, ask)
    assert not result.tool_calls
    assert result.content


def test_a_schema_is_held_to_by_the_server_s_grammar(llama_url: str) -> None:
    result = with_agent(
        llama_url,
        lambda agent: agent.run(
            "Name a city.",
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "city", "schema": CITY, "strict": True},
            },
            max_tokens=80,
        ),
    )
    answer = json.loads(result.content)
    assert isinstance(answer["city"], str)
    assert isinstance(answer["large"], bool)
    assert len(answer) == 2


def test_log_probabilities_are_read(llama_url: str) -> None:
    async def main() -> Any:
        completer = HttpCompleter()
        try:
            return await completer.complete(
                model(llama_url),
                ChatRequest(
                    "smollm2", (Message("user", "Hi"),), max_tokens=3, logprobs=2, temperature=0
                ),
            )
        finally:
            await completer.aclose()

    completion = asyncio.run(main()).completion
    assert len(completion.logprobs) == 3
    for each in completion.logprobs:
        assert each.logprob <= 0
        assert len(each.top) == 2
        assert each.top[0] == (each.token, each.logprob)  # the likeliest one was taken
        assert sum(math.exp(chance) for _, chance in each.top) <= 1.0001


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"query": "word " * 1500}, ContextTooLongError),
        ({"query": "Hi", "extra": {"grammar": "root ::= ("}}, BadRequestError),
        # The server takes a request that its model cannot answer for a failure of its own.
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "What is this?"},
                            {
                                "type": "image_url",
                                "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="},
                            },
                        ],
                    }
                ]
            },
            OverloadedError,
        ),
    ],
    ids=["context", "form", "image"],
)
def test_what_the_server_refuses_is_the_right_error(
    llama_url: str, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(AllModelsFailedError) as caught:
        with_agent(llama_url, lambda agent: agent.run(**options, max_tokens=4))
    (failure,) = caught.value.errors
    assert type(failure) is error
    assert failure.billed is False
