"""The Anthropic form, read by Anthropic's own SDK and by hand."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.testing import ManualClock, SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Wire

SHEET = {"What is the capital of France?": "Paris"}
QUESTION = "What is the capital of France?"
WEATHER = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
TIME = {"name": "get_time", "input_schema": {"type": "object"}}


def with_sdk(
    body: Callable[[Any, SimulatedProvider], Awaitable[None]], *models: SimulatedModel, **more: Any
) -> None:
    """Runs a scenario with Anthropic's client against a simulated provider."""
    anthropic = pytest.importorskip("anthropic", reason="the oracle of this test")

    async def scenario() -> None:
        served = models or (SimulatedModel("small", answers=SHEET),)
        async with (
            SimulatedProvider(served, **more) as server,
            anthropic.AsyncAnthropic(api_key="any", base_url=server.url, max_retries=0) as client,
        ):
            await body(client, server)

    asyncio.run(scenario())


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_a_whole_answer_is_read_by_the_sdk() -> None:
    async def scenario(client: Any, server: SimulatedProvider) -> None:
        answer = await client.messages.create(
            model="small", max_tokens=50, system="Be brief.", messages=user(QUESTION)
        )
        (seen,) = server.requests
        assert [(block.type, block.text) for block in answer.content] == [("text", "Paris")]
        assert (answer.stop_reason, answer.stop_sequence, answer.model) == (
            "end_turn",
            None,
            "small",
        )
        assert answer.id.startswith("msg_")
        # 9 and 30 characters, four a token; 4 a message, 3 a request. Paris is 2 tokens.
        assert answer.usage.input_tokens == seen.prompt_tokens == 3 + 8 + 8 + 3
        assert answer.usage.output_tokens == seen.output_tokens == 2
        assert answer.usage.cache_read_input_tokens == 0
        assert answer._request_id == seen.request_id
        assert (seen.protocol, seen.question, seen.right) == ("anthropic", QUESTION, True)

    with_sdk(scenario)


def test_a_stream_is_read_by_the_sdk_and_says_the_same() -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        asked: dict[str, Any] = {"model": "small", "max_tokens": 50, "messages": user("Tell me.")}
        async with client.messages.stream(**asked) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            streamed = await stream.get_final_message()
        whole = await client.messages.create(**asked)
        assert text == whole.content[0].text == streamed.content[0].text
        assert streamed.stop_reason == whole.stop_reason == "end_turn"
        assert streamed.usage.output_tokens == whole.usage.output_tokens == 32
        assert streamed.usage.input_tokens == whole.usage.input_tokens

    with_sdk(scenario)


def test_the_events_of_a_stream_stand_in_their_order(wire: Wire) -> None:
    async def scenario() -> None:
        async with SimulatedProvider([SimulatedModel("small", answers=SHEET)]) as server:
            (response,) = await wire.ask(
                server.port, wire.anthropic("small", QUESTION, stream=True)
            )
        names = [name for name, _ in response.events]
        assert names == [
            "message_start", "content_block_start", "ping", "content_block_delta",
            "content_block_delta", "content_block_stop", "message_delta", "message_stop",
        ]  # fmt: skip
        contents = [json.loads(data) for _, data in response.events]
        assert [content["type"] for content in contents] == names
        assert contents[0]["message"]["usage"]["output_tokens"] == 1
        assert contents[0]["message"]["content"] == []
        assert contents[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
        assert contents[-2]["usage"]["output_tokens"] == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called_and_their_results_answered(stream: bool) -> None:
    async def ask(client: Any, messages: list[Any]) -> Any:
        asked = {"model": "small", "max_tokens": 99, "messages": messages, "tools": [TIME, WEATHER]}
        if not stream:
            return await client.messages.create(**asked)
        async with client.messages.stream(**asked) as events:
            return await events.get_final_message()

    async def scenario(client: Any, server: SimulatedProvider) -> None:
        messages = user("What is the weather in Oslo?")
        answer = await ask(client, messages)
        assert answer.stop_reason == "tool_use"
        (block,) = answer.content
        assert (block.type, block.name) == ("tool_use", "get_weather")
        assert block.input == {"city": "What is the weather in Oslo?"}
        used = {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
        result = {"type": "tool_result", "tool_use_id": block.id, "content": "rain"}
        messages += [
            {"role": "assistant", "content": [used]},
            {"role": "user", "content": [result]},
        ]
        answer = await ask(client, messages)
        assert answer.stop_reason == "end_turn"
        assert answer.content[0].text
        # What was asked is still the question, not the tool's result.
        assert {seen.question for seen in server.requests} == {"What is the weather in Oslo?"}

    with_sdk(scenario)


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "auto"}, None),
        ({"type": "none"}, None),
        ({"type": "any"}, "get_time"),
        ({"type": "tool", "name": "get_weather"}, "get_weather"),
    ],
)
def test_which_tool_is_called_is_the_requests_choice(choice: Any, called: str | None) -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        answer = await client.messages.create(
            model="small",
            max_tokens=99,
            messages=user("What time is it?"),
            tools=[WEATHER, TIME],
            tool_choice=choice,
        )
        assert getattr(answer.content[0], "name", None) == called

    with_sdk(scenario, SimulatedModel("small", calls_tools=False))


def test_the_token_limit_is_held_and_must_be_stated() -> None:
    anthropic = pytest.importorskip("anthropic", reason="the oracle of this test")

    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        answer = await client.messages.create(model="small", max_tokens=1, messages=user(QUESTION))
        assert (answer.content[0].text, answer.stop_reason) == ("Pari", "max_tokens")
        assert answer.usage.output_tokens == 1
        with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
            await client.post(
                "/v1/messages",
                body={"model": "small", "messages": user("Hi")},
                cast_to=anthropic.types.Message,
            )

    with_sdk(scenario)


def test_a_tool_call_cut_by_the_limit_has_no_input(wire: Wire) -> None:
    async def scenario() -> None:
        async with SimulatedProvider([SimulatedModel("small")]) as server:
            (response,) = await wire.ask(
                server.port, wire.anthropic("small", "a" * 99, max_tokens=5, tools=[WEATHER])
            )
        assert response.json["stop_reason"] == "max_tokens"
        assert response.json["content"][0]["input"] == {}

    asyncio.run(scenario())


def test_a_stop_sequence_is_named() -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        answer = await client.messages.create(
            model="small", max_tokens=9, messages=user(QUESTION), stop_sequences=["x", "ri"]
        )
        assert answer.content[0].text == "Pa"
        assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "ri")

    with_sdk(scenario)


@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_answer_has_no_block(wire: Wire, stream: bool) -> None:
    async def scenario() -> None:
        async with SimulatedProvider([SimulatedModel("small", reasoning_tokens=9)]) as server:
            (response,) = await wire.ask(
                server.port, wire.anthropic("small", "Hi", max_tokens=9, stream=stream)
            )
        if stream:
            names = [name for name, _ in response.events]
            assert names == ["message_start", "ping", "message_delta", "message_stop"]
        else:
            assert response.json["content"] == []
            assert response.json["usage"]["output_tokens"] == 9

    asyncio.run(scenario())


def test_json_is_given_when_it_is_asked_for(wire: Wire) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    form = {"type": "json_schema", "schema": schema}

    async def scenario() -> None:
        async with SimulatedProvider([SimulatedModel("small", answers=SHEET)]) as server:
            responses = await wire.ask(
                server.port,
                wire.anthropic("small", QUESTION, output_config={"format": form}),
                wire.anthropic("small", QUESTION, output_format=form),
                wire.anthropic("small", QUESTION, output_config={"effort": "low"}),
            )
        texts = [response.json["content"][0]["text"] for response in responses]
        assert [json.loads(text) for text in texts[:2]] == [{"city": "Paris"}] * 2
        assert texts[2] == "Paris"

    asyncio.run(scenario())


def test_a_refusal_has_its_own_stop_reason() -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        answer = await client.messages.create(model="small", max_tokens=50, messages=user("Hi"))
        assert answer.stop_reason == "refusal"
        assert answer.content[0].text.startswith("I'm sorry")

    with_sdk(scenario, SimulatedModel("small", refusal_rate=1.0))


def test_cached_tokens_are_counted_beside_the_input() -> None:
    async def scenario(client: Any, server: SimulatedProvider) -> None:
        answer = await client.messages.create(model="small", max_tokens=50, messages=user(QUESTION))
        assert answer.usage.cache_read_input_tokens == 7
        assert answer.usage.input_tokens == 8
        assert server.requests[0].prompt_tokens == 15

    with_sdk(scenario, SimulatedModel("small", answers=SHEET, cached_share=0.5))


def test_the_models_are_listed_and_found() -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        anthropic = pytest.importorskip("anthropic")
        assert [model.id async for model in client.models.list()] == ["small", "large"]
        assert (await client.models.retrieve("large")).display_name == "large"
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("other")

    with_sdk(scenario, SimulatedModel("small"), SimulatedModel("large"))


@pytest.mark.parametrize(
    ("kind", "code", "model", "more"),
    [
        ("NotFoundError", "not_found_error", "other", {}),
        ("BadRequestError", "invalid_request_error", "small", {"messages": []}),
        ("BadRequestError", "invalid_request_error", "small", {"max_tokens": 0}),
        ("BadRequestError", "invalid_request_error", "small",
         {"messages": [{"role": "system", "content": "Hi"}]}),
        ("BadRequestError", "invalid_request_error", "tiny", {}),
        ("RateLimitError", "rate_limit_error", "busy", {}),
        ("OverloadedError", "overloaded_error", "full", {}),
        ("InternalServerError", "api_error", "broken", {}),
        ("APIConnectionError", None, "gone", {}),
    ],
)  # fmt: skip
def test_errors_are_known_to_the_sdk(
    kind: str, code: str | None, model: str, more: dict[str, Any]
) -> None:
    anthropic = pytest.importorskip("anthropic", reason="the oracle of this test")

    async def scenario(client: Any, server: SimulatedProvider) -> None:
        asked = {"model": model, "max_tokens": 9, "messages": user(QUESTION), **more}
        # A class of its own for 529 in some versions, the one of every 5xx in others.
        expected = getattr(anthropic, kind, anthropic.InternalServerError)
        with pytest.raises(expected) as caught:
            await client.messages.create(**asked)
        (seen,) = server.requests
        assert seen.status == getattr(caught.value, "status_code", None)
        if code is not None:
            assert caught.value.body["error"]["type"] == code
            assert caught.value.body["request_id"] == seen.request_id == caught.value.request_id

    with_sdk(
        scenario,
        SimulatedModel("small"),
        SimulatedModel("tiny", context_window=10),
        SimulatedModel("busy", error_rate=1.0, error_status=429),
        SimulatedModel("full", error_rate=1.0, error_status=529),
        SimulatedModel("broken", error_rate=1.0),
        SimulatedModel("gone", error_rate=1.0, error_status="disconnect"),
    )


def test_the_version_header_is_required(wire: Wire) -> None:
    async def scenario() -> None:
        async with SimulatedProvider([SimulatedModel("small")]) as server:
            request = wire.anthropic("small", "Hi").replace(b"anthropic-version", b"other-version")
            (response,) = await wire.ask(server.port, request)
        assert response.status == 400
        assert "anthropic-version" in response.json["error"]["message"]

    asyncio.run(scenario())


def test_a_key_can_be_required() -> None:
    anthropic = pytest.importorskip("anthropic", reason="the oracle of this test")

    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        asked: dict[str, Any] = {"model": "small", "max_tokens": 9, "messages": user("Hi")}
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(**asked)
        assert await client.with_options(api_key="the-right-key").messages.create(**asked)

    with_sdk(scenario, api_key="the-right-key")


def test_the_rate_limit_is_told_in_headers(wire: Wire) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        model = SimulatedModel("small", rate_limit=1)
        async with SimulatedProvider([model], clock=clock) as server:
            request = wire.anthropic("small", "Hi")
            first, second = await wire.ask(server.port, request, request)
            assert (first.status, second.status) == (200, 429)
            prefix = "anthropic-ratelimit-requests-"
            assert first.headers[f"{prefix}limit"] == "1"
            assert first.headers[f"{prefix}remaining"] == "0"
            reset = datetime.fromisoformat(first.headers[f"{prefix}reset"])
            assert reset == clock.now() + timedelta(seconds=60)
            assert second.headers["retry-after"] == "60"

    asyncio.run(scenario())


def test_blocks_of_a_message_are_read_and_an_image_counts(wire: Wire) -> None:
    async def scenario() -> None:
        async with SimulatedProvider([SimulatedModel("small", answers=SHEET)]) as server:
            source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
            blocks = [
                {"type": "text", "text": "What is the capital"},
                {"type": "image", "source": source},
                {"type": "text", "text": "of France?"},
            ]
            request = wire.anthropic(
                "small",
                "",
                messages=[{"role": "user", "content": blocks}],
                system=[{"type": "text", "text": "Be brief."}],
            )
            (response,) = await wire.ask(server.port, request)
        assert response.json["content"][0]["text"] == "Paris"
        assert response.json["usage"]["input_tokens"] == 3 + 8 + 85 + 8 + 3

    asyncio.run(scenario())
