"""The Cohere form, read by Cohere's own SDK."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.testing import ManualClock, SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

QUESTION = "What is the capital of France?"
SHEET = {QUESTION: "Paris"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}


def with_sdk(
    body: Callable[[Any, SimulatedProvider], Awaitable[None]], *models: SimulatedModel
) -> None:
    """Runs a scenario with Cohere's client against a simulated provider."""
    cohere = pytest.importorskip("cohere", reason="the oracle of this test")
    httpx = pytest.importorskip("httpx", reason="what this SDK sends with")

    async def scenario() -> None:
        served = models or (SimulatedModel("small", answers=SHEET, cached_share=0.5),)
        async with (
            SimulatedProvider(served, clock=ManualClock(), api_key="sesame") as server,
            httpx.AsyncClient() as http,
        ):
            client = cohere.AsyncClientV2("sesame", base_url=server.url, httpx_client=http)
            await body(client, server)

    asyncio.run(scenario())


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_a_whole_answer_is_read_by_the_sdk() -> None:
    async def scenario(client: Any, server: SimulatedProvider) -> None:
        answer = await client.chat(
            model="small",
            messages=[{"role": "system", "content": "Be brief."}, *user(QUESTION)],
            max_tokens=50,
        )
        (seen,) = server.requests
        assert answer.message.content[0].text == seen.text == "Paris"
        assert answer.finish_reason == "COMPLETE"
        assert answer.usage.billed_units.input_tokens == seen.prompt_tokens
        assert answer.usage.tokens.output_tokens == seen.output_tokens == 2
        assert answer.usage.cached_tokens == seen.cached_tokens
        assert (seen.protocol, seen.question, seen.right) == ("cohere", QUESTION, True)

    with_sdk(scenario)


def test_a_stream_is_read_by_the_sdk_and_says_the_same() -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        messages = user("Tell me something.")
        events = [e async for e in client.chat_stream(model="small", messages=messages)]
        whole = await client.chat(model="small", messages=messages)
        texts = [e.delta.message.content.text for e in events if e.type == "content-delta"]
        assert "".join(texts) == whole.message.content[0].text
        assert len(texts) == 32
        assert events[0].type == "message-start"
        assert events[-1].type == "message-end"
        assert events[-1].delta.finish_reason == "COMPLETE"
        assert events[-1].delta.usage == whole.usage

    with_sdk(scenario)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tools_are_called_and_their_results_answered(stream: bool) -> None:
    async def ask(client: Any, messages: list[Any]) -> tuple[str, list[Any]]:
        """The text, and the calls as the next request has them."""
        if not stream:
            answer = await client.chat(model="small", messages=messages, tools=[WEATHER])
            calls = [call.model_dump() for call in answer.message.tool_calls or ()]
            return "".join(part.text for part in answer.message.content or ()), calls
        text, calls = "", []
        async for event in client.chat_stream(model="small", messages=messages, tools=[WEATHER]):
            if event.type == "content-delta":
                text += event.delta.message.content.text
            elif event.type == "tool-call-start":
                calls.append(event.delta.message.tool_calls.model_dump())
            elif event.type == "tool-call-delta":
                more = event.delta.message.tool_calls.function.arguments
                calls[event.index]["function"]["arguments"] += more
        return text, calls

    async def scenario(client: Any, server: SimulatedProvider) -> None:
        question = user("What is the weather in Oslo?")
        _, calls = await ask(client, question)
        (call,) = calls
        assert call["function"]["name"] == "get_weather"
        assert list(json.loads(call["function"]["arguments"])) == ["city"]
        result = {"role": "tool", "tool_call_id": call["id"], "content": "It rains."}
        text, again = await ask(
            client, [*question, {"role": "assistant", "tool_calls": [call]}, result]
        )
        assert not again
        assert text == server.requests[-1].text != ""

    with_sdk(scenario)


def test_json_is_given_when_it_is_asked_for() -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        answer = await client.chat(
            model="small",
            messages=user(QUESTION),
            response_format={"type": "json_object", "json_schema": CITY},
        )
        assert json.loads(answer.message.content[0].text) == {"city": "Paris"}

    with_sdk(scenario)


def test_a_limit_and_a_stop_sequence_end_an_answer() -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        messages = user("Tell me something.")
        cut = await client.chat(model="small", messages=messages, max_tokens=9)
        assert (cut.finish_reason, cut.usage.tokens.output_tokens) == ("MAX_TOKENS", 9)
        stopped = await client.chat(model="small", messages=messages, stop_sequences=[" "])
        assert stopped.finish_reason == "STOP_SEQUENCE"
        assert " " not in stopped.message.content[0].text

    with_sdk(scenario)


@pytest.mark.parametrize(
    ("kind", "model", "messages"),
    [
        ("NotFoundError", "other", user(QUESTION)),
        ("BadRequestError", "small", []),
        ("BadRequestError", "tiny", user(QUESTION)),
        ("TooManyRequestsError", "busy", user(QUESTION)),
        ("InternalServerError", "broken", user(QUESTION)),
    ],
)
def test_errors_are_known_to_the_sdk(kind: str, model: str, messages: list[Any]) -> None:
    cohere = pytest.importorskip("cohere", reason="the oracle of this test")

    async def scenario(client: Any, server: SimulatedProvider) -> None:
        with pytest.raises(getattr(cohere, kind)) as caught:
            await client.chat(model=model, messages=messages, request_options={"max_retries": 0})
        (seen,) = server.requests
        assert caught.value.status_code == seen.status
        assert caught.value.headers["x-debug-trace-id"] == seen.request_id

    with_sdk(
        scenario,
        SimulatedModel("small"),
        SimulatedModel("tiny", context_window=5),
        SimulatedModel("busy", error_rate=1.0, error_status=429),
        SimulatedModel("broken", error_rate=1.0),
    )
