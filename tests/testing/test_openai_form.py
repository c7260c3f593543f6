"""The OpenAI form, read by OpenAI's own SDK and by hand."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.testing import ManualClock, SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Wire

SHEET = {"What is the capital of France?": "Paris", "How much is 3 + 4?": "7"}
QUESTION = "What is the capital of France?"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,  # some versions of the SDK stream no others
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
TIME = {"type": "function", "function": {"name": "getLocalTime", "strict": True, "parameters": {}}}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "big": {"type": "boolean"}},
    "required": ["city", "big"],
}


def with_sdk(
    body: Callable[[Any, SimulatedProvider], Awaitable[None]], *models: SimulatedModel, **more: Any
) -> None:
    """Runs a scenario with OpenAI's client against a simulated provider."""
    openai = pytest.importorskip("openai", reason="the oracle of this test")

    async def scenario() -> None:
        served = models or (SimulatedModel("small", answers=SHEET),)
        async with (
            SimulatedProvider(served, **more) as server,
            openai.AsyncOpenAI(api_key="any", base_url=server.base_url, max_retries=0) as client,
        ):
            await body(client, server)

    asyncio.run(scenario())


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_a_whole_answer_is_read_by_the_sdk() -> None:
    async def scenario(client: Any, server: SimulatedProvider) -> None:
        raw = await client.chat.completions.with_raw_response.create(
            model="small",
            messages=[{"role": "system", "content": "Be brief."}, *user(QUESTION)],
        )
        answer = raw.parse()
        (seen,) = server.requests
        assert answer.choices[0].message.content == seen.text == "Paris"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.model == "small"
        assert answer.id.startswith("chatcmpl-")
        # 9 and 30 characters, four a token; 4 a message, 3 a request. Paris is 2 tokens.
        assert answer.usage.prompt_tokens == seen.prompt_tokens == 3 + 8 + 8 + 3
        assert answer.usage.completion_tokens == seen.output_tokens == 2
        assert answer.usage.total_tokens == 24
        assert raw.headers["x-request-id"] == seen.request_id
        assert (seen.protocol, seen.model, seen.question) == ("openai", "small", QUESTION)
        assert (seen.right, seen.status, seen.outcome, seen.finish) == (
            True,
            200,
            "complete",
            "stop",
        )

    with_sdk(scenario)


def test_a_stream_is_read_by_the_sdk_and_says_the_same() -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        stream = await client.chat.completions.create(
            model="small",
            messages=user("Tell me something."),
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        whole = await client.chat.completions.create(
            model="small", messages=user("Tell me something.")
        )
        assert text == whole.choices[0].message.content
        assert chunks[0].choices[0].delta.role == "assistant"
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        assert chunks[-1].choices == []
        assert chunks[-1].usage == whole.usage
        assert len({chunk.id for chunk in chunks}) == 1
        # The default answer has 32 tokens, a chunk each; role, finish and usage besides.
        assert len(chunks) == 32 + 3
        assert whole.usage.completion_tokens == 32

    with_sdk(scenario)


def test_a_stream_has_usage_only_when_asked_and_ends_with_done(wire: Wire) -> None:
    async def scenario() -> None:
        async with SimulatedProvider([SimulatedModel("small", answers=SHEET)]) as server:
            with_usage, without = await wire.ask(
                server.port,
                wire.openai("small", QUESTION, stream=True, stream_options={"include_usage": True}),
                wire.openai("small", QUESTION, stream=True),
            )
        for response in (with_usage, without):
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.events[-1] == (None, "[DONE]")
        parsed = [json.loads(data) for _, data in with_usage.events[:-1]]
        assert [chunk["usage"] for chunk in parsed[:-1]] == [None] * (len(parsed) - 1)
        assert parsed[-1]["usage"]["total_tokens"] == 8 + 4 + 3 + 2
        assert all("usage" not in json.loads(data) for _, data in without.events[:-1])

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called_and_their_results_answered(stream: bool) -> None:
    async def ask(client: Any, messages: list[Any], **more: Any) -> Any:
        arguments = {"model": "small", "messages": messages, **more}
        if not stream:
            return (await client.chat.completions.create(**arguments)).choices[0]
        async with client.chat.completions.stream(**arguments) as events:
            return (await events.get_final_completion()).choices[0]

    async def scenario(client: Any, server: SimulatedProvider) -> None:
        messages = user("What is the weather in Paris?")
        choice = await ask(client, messages, tools=[TIME, WEATHER])
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        (call,) = choice.message.tool_calls
        assert call.function.name == "get_weather"
        assert json.loads(call.function.arguments) == {"city": "What is the weather in Paris?"}
        messages += [
            {"role": "assistant", "tool_calls": [call.model_dump(include=_CALL_FIELDS)]},
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ]
        choice = await ask(client, messages, tools=[TIME, WEATHER])
        assert choice.finish_reason == "stop"
        assert choice.message.content
        assert [seen.finish for seen in server.requests] == ["tool_calls", "stop"]
        first, second = (seen.prompt_tokens or 0 for seen in server.requests)
        assert second > first > 0

    with_sdk(scenario)


_CALL_FIELDS = {"id": True, "type": True, "function": {"name": True, "arguments": True}}


@pytest.mark.parametrize(
    ("choice", "calls_tools", "called"),
    [
        ("auto", True, "getLocalTime"),
        ("auto", False, None),
        ("none", True, None),
        ("required", False, "getLocalTime"),
        ({"type": "function", "function": {"name": "get_weather"}}, False, "get_weather"),
    ],
)
def test_which_tool_is_called_is_the_requests_choice(
    choice: Any, calls_tools: bool, called: str | None
) -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        answer = await client.chat.completions.create(
            model="small",
            messages=user("What is the local time, and the weather?"),
            tools=[WEATHER, TIME],
            tool_choice=choice,
        )
        calls = answer.choices[0].message.tool_calls
        assert (calls[0].function.name if calls else None) == called

    with_sdk(scenario, SimulatedModel("small", calls_tools=calls_tools))


def test_a_tool_call_can_be_cut_by_the_limit() -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        answer = await client.chat.completions.create(
            model="small", messages=user("a" * 100), tools=[WEATHER], max_tokens=5
        )
        assert answer.choices[0].finish_reason == "length"
        arguments = answer.choices[0].message.tool_calls[0].function.arguments
        assert arguments == '{"city": "aaaaaaaaaa'
        assert answer.usage.completion_tokens == 5

    with_sdk(scenario)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_token_limit_is_held(field: str) -> None:
    async def scenario(client: Any, server: SimulatedProvider) -> None:
        answer = await client.chat.completions.create(
            model="small", messages=user(QUESTION), **{field: 1}
        )
        assert answer.choices[0].message.content == "Pari"
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.completion_tokens == 1
        assert server.requests[0].right is False

    with_sdk(scenario)


@pytest.mark.parametrize("stop", ["ri", ["zzz", "ri"]])
def test_stop_sequences_end_the_answer_before_them(stop: Any) -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        answer = await client.chat.completions.create(
            model="small", messages=user(QUESTION), stop=stop
        )
        assert answer.choices[0].message.content == "Pa"
        assert answer.choices[0].finish_reason == "stop"

    with_sdk(scenario)


def test_json_is_given_when_it_is_asked_for() -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        schema = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}
        texts = [
            (
                await client.chat.completions.create(
                    model="small", messages=user(QUESTION), response_format=form
                )
            )
            .choices[0]
            .message.content
            for form in ({"type": "text"}, {"type": "json_object"}, schema)
        ]
        assert texts[0] == "Paris"
        assert json.loads(texts[1]) == {"answer": "Paris"}
        assert json.loads(texts[2]) == {"city": "Paris", "big": True}

    with_sdk(scenario)


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_stands_in_its_own_field_under_a_schema(wire: Wire, stream: bool) -> None:
    async def scenario() -> None:
        async with SimulatedProvider([SimulatedModel("small", refusal_rate=1.0)]) as server:
            schema = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}
            plain, formed = await wire.ask(
                server.port,
                wire.openai("small", "Hi", stream=stream),
                wire.openai("small", "Hi", stream=stream, response_format=schema),
            )
            assert [seen.finish for seen in server.requests] == ["refusal", "refusal"]
        if stream:
            deltas = [
                [json.loads(data)["choices"][0]["delta"] for _, data in response.events[1:-1]]
                for response in (plain, formed)
            ]
            texts = ["".join(d.get("content") or "" for d in each) for each in deltas]
            refusals = ["".join(d.get("refusal") or "" for d in each) for each in deltas]
        else:
            messages = [each.json["choices"][0]["message"] for each in (plain, formed)]
            texts = [message["content"] or "" for message in messages]
            refusals = [message["refusal"] or "" for message in messages]
        assert texts[0] == refusals[1] == "I'm sorry, but I can't help with that."
        assert texts[1] == refusals[0] == ""

    asyncio.run(scenario())


def test_cached_and_reasoning_tokens_are_part_of_the_usage() -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        answer = await client.chat.completions.create(model="small", messages=user(QUESTION))
        assert answer.usage.prompt_tokens == 15
        assert answer.usage.prompt_tokens_details.cached_tokens == 7
        assert answer.usage.completion_tokens == 12
        assert answer.usage.completion_tokens_details.reasoning_tokens == 10
        # The hidden reasoning alone can use up the limit.
        answer = await client.chat.completions.create(
            model="small", messages=user(QUESTION), max_tokens=10
        )
        assert answer.choices[0].message.content == ""
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.completion_tokens == 10

    with_sdk(
        scenario, SimulatedModel("small", answers=SHEET, cached_share=0.5, reasoning_tokens=10)
    )


def test_the_models_are_listed_and_found() -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        openai = pytest.importorskip("openai")
        assert [model.id async for model in client.models.list()] == ["small", "org/large"]
        assert (await client.models.retrieve("small")).id == "small"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("other")

    with_sdk(scenario, SimulatedModel("small"), SimulatedModel("org/large"))


@pytest.mark.parametrize(
    ("kind", "model", "more"),
    [
        ("NotFoundError", "other", {}),
        ("BadRequestError", "small", {"max_tokens": 0}),
        ("BadRequestError", "small", {"n": 2}),
        ("BadRequestError", "small", {"messages": []}),
        ("BadRequestError", "small", {"messages": [{"role": "robot", "content": "Hi"}]}),
        ("BadRequestError", "small", {"messages": ["Hi"]}),
        ("BadRequestError", "small", {"tools": 5}),
        ("BadRequestError", "tiny", {}),
        ("RateLimitError", "busy", {}),
        ("InternalServerError", "broken", {}),
        ("APIConnectionError", "gone", {}),
    ],
)
def test_errors_are_known_to_the_sdk(kind: str, model: str, more: dict[str, Any]) -> None:
    openai = pytest.importorskip("openai", reason="the oracle of this test")

    async def scenario(client: Any, server: SimulatedProvider) -> None:
        arguments = {"model": model, "messages": user(QUESTION), **more}
        with pytest.raises(getattr(openai, kind)) as caught:
            await client.chat.completions.create(**arguments)
        (seen,) = server.requests
        assert seen.status == getattr(caught.value, "status_code", None)
        assert seen.text is None
        if kind == "NotFoundError":
            assert caught.value.code == "model_not_found"
        if model == "tiny":
            assert caught.value.code == "context_length_exceeded"
        if seen.status is not None:
            assert caught.value.request_id == seen.request_id

    with_sdk(
        scenario,
        SimulatedModel("small"),
        SimulatedModel("tiny", context_window=10),
        SimulatedModel("busy", error_rate=1.0, error_status=429),
        SimulatedModel("broken", error_rate=1.0),
        SimulatedModel("gone", error_rate=1.0, error_status="disconnect"),
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"model":"small"}', b'{"messages":[1]}', b"\xff", b"[" * 100_000],
)
def test_a_body_that_is_no_request_is_a_bad_request(wire: Wire, content: bytes) -> None:
    async def scenario() -> None:
        async with SimulatedProvider([SimulatedModel("small")]) as server:
            (response,) = await wire.ask(server.port, wire.request("/v1/chat/completions", content))
            assert response.status == 400
            assert response.json["error"]["type"] == "invalid_request_error"
            assert response.json["error"]["message"]

    asyncio.run(scenario())


def test_a_broken_stream_breaks_off_half_way() -> None:
    async def scenario(client: Any, server: SimulatedProvider) -> None:
        stream = await client.chat.completions.create(
            model="small", messages=user("Hi"), stream=True
        )
        texts: list[str] = []

        async def read() -> None:
            async for chunk in stream:
                texts.append(chunk.choices[0].delta.content)  # noqa: PERF401 - it raises

        # The SDK's own error in some versions, its HTTP client's in others.
        with pytest.raises(Exception, match=r"incomplete chunked read|Connection error"):
            await read()
        (seen,) = server.requests
        assert (seen.outcome, seen.status) == ("broken", 200)
        assert seen.text is not None
        assert seen.text.startswith("".join(texts))
        assert len(texts) == 1 + 32 // 2

    with_sdk(scenario, SimulatedModel("small", break_stream_rate=1.0))


def test_a_key_can_be_required() -> None:
    openai = pytest.importorskip("openai", reason="the oracle of this test")

    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="small", messages=user("Hi"))
        right = client.with_options(api_key="the-right-key")
        assert await right.chat.completions.create(model="small", messages=user("Hi"))

    with_sdk(scenario, api_key="the-right-key")


def test_the_rate_limit_is_told_in_headers_and_refills_with_the_clock(wire: Wire) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        model = SimulatedModel("small", rate_limit=2)
        async with SimulatedProvider([model], clock=clock) as server:
            request = wire.openai("small", "Hi")
            first, second, third = await wire.ask(server.port, request, request, request)
            assert [each.status for each in (first, second, third)] == [200, 200, 429]
            assert first.headers["x-ratelimit-limit-requests"] == "2"
            assert first.headers["x-ratelimit-remaining-requests"] == "1"
            assert first.headers["x-ratelimit-reset-requests"] == "30000ms"
            assert third.headers["x-ratelimit-remaining-requests"] == "0"
            assert third.headers["retry-after"] == "30"
            assert third.headers["retry-after-ms"] == "30000"
            assert third.json["error"]["code"] == "rate_limit_exceeded"
            clock.advance(30)
            fourth, fifth = await wire.ask(server.port, request, request)
            assert [fourth.status, fifth.status] == [200, 429]
            assert server.stats.by_status == {200: 3, 429: 2}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions", "/openai/v1/chat/completions", "/chat/completions",
        "/openai/deployments/small/chat/completions?api-version=2026-01-01",
    ],
)  # fmt: skip
def test_the_path_may_stand_behind_any_prefix(wire: Wire, path: str) -> None:
    async def scenario() -> None:
        async with SimulatedProvider([SimulatedModel("small", answers=SHEET)]) as server:
            content = {"model": "small", "messages": user(QUESTION)}
            (response,) = await wire.ask(server.port, wire.request(path, content))
            assert response.json["choices"][0]["message"]["content"] == "Paris"

    asyncio.run(scenario())


def test_parts_of_a_message_are_read_and_an_image_counts(wire: Wire) -> None:
    async def scenario() -> None:
        async with SimulatedProvider([SimulatedModel("small", answers=SHEET)]) as server:
            parts = [
                {"type": "text", "text": "What is the capital"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "text", "text": "of France?"},
            ]
            content = {"model": "small", "messages": [{"role": "user", "content": parts}]}
            (response,) = await wire.ask(server.port, wire.request("/v1/chat/completions", content))
            assert response.json["choices"][0]["message"]["content"] == "Paris"
            assert response.json["usage"]["prompt_tokens"] == 8 + 85 + 4 + 3

    asyncio.run(scenario())
