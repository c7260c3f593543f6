"""The responses form, read by OpenAI's own SDK."""

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
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "name": "get_weather", "strict": True, "parameters": CITY}


def with_sdk(
    body: Callable[[Any, SimulatedProvider], Awaitable[None]], *models: SimulatedModel
) -> None:
    """Runs a scenario with OpenAI's client against a simulated provider."""
    openai = pytest.importorskip("openai", reason="the oracle of this test")

    async def scenario() -> None:
        served = models or (
            SimulatedModel("small", answers=SHEET, reasoning_tokens=5, cached_share=0.5),
        )
        async with (
            SimulatedProvider(served, clock=ManualClock()) as server,
            openai.AsyncOpenAI(api_key="any", base_url=server.base_url, max_retries=0) as client,
        ):
            await body(client, server)

    asyncio.run(scenario())


def test_a_whole_answer_is_read_by_the_sdk() -> None:
    async def scenario(client: Any, server: SimulatedProvider) -> None:
        answer = await client.responses.create(
            model="small", instructions="Be brief.", input=QUESTION, max_output_tokens=50
        )
        (seen,) = server.requests
        assert answer.output_text == seen.text == "Paris"
        assert (answer.status, answer.model) == ("completed", "small")
        assert answer.id.startswith("resp_")
        assert answer._request_id == seen.request_id
        usage = answer.usage
        assert usage.input_tokens == seen.prompt_tokens
        assert usage.input_tokens_details.cached_tokens == seen.cached_tokens != 0
        assert usage.output_tokens == seen.output_tokens == 2 + 5
        assert usage.output_tokens_details.reasoning_tokens == 5
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        assert (seen.protocol, seen.question, seen.right) == ("openai-responses", QUESTION, True)

    with_sdk(scenario)


def test_a_stream_is_put_together_by_the_sdk_and_says_the_same() -> None:
    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        async with client.responses.stream(model="small", input="Tell me something.") as stream:
            events = [event async for event in stream]
            last = await stream.get_final_response()
        whole = await client.responses.create(model="small", input="Tell me something.")
        assert last.output_text == whole.output_text
        assert last.usage == whole.usage
        pieces = [each.delta for each in events if each.type == "response.output_text.delta"]
        assert "".join(pieces) == whole.output_text
        assert len(pieces) == 32  # tokens, a piece each
        assert [each.sequence_number for each in events] == list(range(len(events)))
        assert events[0].type == "response.created"
        assert events[-1].type == "response.completed"

    with_sdk(scenario)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tools_are_called_and_their_results_answered(stream: bool) -> None:
    async def ask(client: Any, given: list[Any]) -> Any:
        if not stream:
            return await client.responses.create(model="small", input=given, tools=[WEATHER])
        async with client.responses.stream(model="small", input=given, tools=[WEATHER]) as pieces:
            return await pieces.get_final_response()

    async def scenario(client: Any, server: SimulatedProvider) -> None:
        question = {"role": "user", "content": "What is the weather in Oslo?"}
        first = await ask(client, [question])
        (call,) = first.output
        assert (call.type, call.name) == ("function_call", "get_weather")
        assert list(json.loads(call.arguments)) == ["city"]
        asked = {
            "type": "function_call",
            "call_id": call.call_id,
            "name": call.name,
            "arguments": call.arguments,
        }
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "It rains."}
        second = await ask(client, [question, asked, result])
        assert second.output_text == server.requests[-1].text
        assert server.requests[-1].question == question["content"]

    with_sdk(scenario)


def test_the_answer_is_parsed_by_the_schema() -> None:
    from pydantic import BaseModel  # noqa: PLC0415 - only here

    class City(BaseModel):
        city: str

    async def scenario(client: Any, _server: SimulatedProvider) -> None:
        answer = await client.responses.parse(model="small", input=QUESTION, text_format=City)
        assert answer.output_parsed == City(city="Paris")

    with_sdk(scenario)


def test_an_answer_that_is_cut_says_why() -> None:
    async def scenario(client: Any, server: SimulatedProvider) -> None:
        answer = await client.responses.create(
            model="small", input="Tell me something.", max_output_tokens=16
        )
        assert answer.status == "incomplete"
        assert answer.incomplete_details.reason == "max_output_tokens"
        assert answer.usage.output_tokens == 16
        assert answer.output_text == server.requests[0].text

    with_sdk(scenario)


@pytest.mark.parametrize(
    ("kind", "model", "more"),
    [
        ("NotFoundError", "other", {}),
        ("BadRequestError", "small", {"input": []}),
        ("BadRequestError", "small", {"input": ["Hi"]}),
        ("BadRequestError", "small", {"input": [{"role": "robot", "content": "Hi"}]}),
        ("BadRequestError", "small", {"max_output_tokens": 0}),
        ("BadRequestError", "small", {"previous_response_id": "resp_1"}),
        ("BadRequestError", "tiny", {}),
        ("RateLimitError", "busy", {}),
        ("InternalServerError", "broken", {}),
        ("APIConnectionError", "gone", {}),
    ],
)
def test_errors_are_known_to_the_sdk(kind: str, model: str, more: dict[str, Any]) -> None:
    openai = pytest.importorskip("openai", reason="the oracle of this test")

    async def scenario(client: Any, server: SimulatedProvider) -> None:
        with pytest.raises(getattr(openai, kind)) as caught:
            await client.responses.create(**{"model": model, "input": QUESTION, **more})
        (seen,) = server.requests
        assert seen.status == getattr(caught.value, "status_code", None)
        if model == "tiny":
            assert caught.value.code == "context_length_exceeded"

    with_sdk(
        scenario,
        SimulatedModel("small"),
        SimulatedModel("tiny", context_window=5),
        SimulatedModel("busy", error_rate=1.0, error_status=429),
        SimulatedModel("broken", error_rate=1.0),
        SimulatedModel("gone", error_rate=1.0, error_status="disconnect"),
    )
