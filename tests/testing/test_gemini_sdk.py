"""The Gemini form, read by Google's own SDK, as AI Studio and as Vertex."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from cascadeflow.testing import ManualClock, SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

QUESTION = "What is the capital of France?"
SHEET = {QUESTION: "Paris"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def with_sdk(
    body: Callable[[Any, SimulatedProvider], Awaitable[None]],
    *models: SimulatedModel,
    vertex: bool = False,
) -> None:
    """Runs a scenario with Google's client against a simulated provider."""
    genai = pytest.importorskip("google.genai", reason="the oracle of this test")

    async def scenario() -> None:
        served = models or (
            SimulatedModel("small", answers=SHEET, reasoning_tokens=5, cached_share=0.5),
        )
        # With a client of its own it does not take aiohttp, where that happens to be installed.
        async with (
            SimulatedProvider(served, clock=ManualClock(), api_key="sesame") as server,
            httpx2.AsyncClient() as http,
        ):
            reached = {"base_url": server.url, "httpx_async_client": http}
            options: dict[str, Any] = {"http_options": reached}
            if vertex:
                from google.oauth2.credentials import Credentials  # noqa: PLC0415

                options |= {
                    "vertexai": True,
                    "project": "simulated",
                    "location": "global",
                    "credentials": Credentials("sesame"),  # type: ignore[no-untyped-call]
                }
            else:
                options["api_key"] = "sesame"
            client = genai.Client(**options)
            try:
                await body(client.aio.models, server)
            finally:
                await client.aio.aclose()
                client.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("vertex", [False, True], ids=["ai-studio", "vertex"])
def test_a_whole_answer_is_read_by_the_sdk(vertex: bool) -> None:
    async def scenario(models: Any, server: SimulatedProvider) -> None:
        answer = await models.generate_content(
            model="small",
            contents=QUESTION,
            config={"system_instruction": "Be brief.", "max_output_tokens": 50},
        )
        (seen,) = server.requests
        assert answer.text == seen.text == "Paris"
        assert answer.candidates[0].finish_reason == "STOP"
        assert answer.model_version == "small"
        usage = answer.usage_metadata
        assert usage.prompt_token_count == seen.prompt_tokens
        assert usage.cached_content_token_count == seen.cached_tokens != 0
        assert usage.candidates_token_count == 2
        assert usage.thoughts_token_count == 5
        assert usage.total_token_count == usage.prompt_token_count + 7
        assert (seen.protocol, seen.question, seen.right) == ("gemini", QUESTION, True)

    with_sdk(scenario, vertex=vertex)


@pytest.mark.parametrize("vertex", [False, True], ids=["ai-studio", "vertex"])
def test_a_stream_is_read_by_the_sdk_and_says_the_same(vertex: bool) -> None:
    async def scenario(models: Any, _server: SimulatedProvider) -> None:
        stream = await models.generate_content_stream(model="small", contents="Tell me something.")
        chunks = [chunk async for chunk in stream]
        whole = await models.generate_content(model="small", contents="Tell me something.")
        assert "".join(chunk.text or "" for chunk in chunks) == whole.text
        assert chunks[-1].usage_metadata == whole.usage_metadata
        assert chunks[-1].candidates[0].finish_reason == "STOP"
        assert len(chunks) == 32 + 1

    with_sdk(scenario, vertex=vertex)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tools_are_called_and_their_results_answered(stream: bool) -> None:
    types = pytest.importorskip("google.genai", reason="the oracle of this test").types
    weather = types.FunctionDeclaration(name="get_weather", parameters_json_schema=CITY)
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[weather])],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )

    async def ask(models: Any, contents: list[Any]) -> tuple[Any, str]:
        if not stream:
            answer = await models.generate_content(model="small", contents=contents, config=config)
            return answer, "" if answer.function_calls else answer.text
        pieces = await models.generate_content_stream(
            model="small", contents=contents, config=config
        )
        chunks = [chunk async for chunk in pieces]
        texts = [chunk.text or "" for chunk in chunks if not chunk.function_calls]
        return chunks[0], "".join(texts)

    async def scenario(models: Any, server: SimulatedProvider) -> None:
        question = types.UserContent("What is the weather in Oslo?")
        first, _ = await ask(models, [question])
        (call,) = first.function_calls
        assert (call.name, list(call.args)) == ("get_weather", ["city"])
        result = types.Part.from_function_response(name=call.name, response={"result": "It rains."})
        _, text = await ask(
            models, [question, first.candidates[0].content, types.UserContent(result)]
        )
        assert text == server.requests[-1].text != ""
        assert server.requests[-1].question == "What is the weather in Oslo?"

    with_sdk(scenario)


def test_the_answer_is_parsed_by_the_schema() -> None:
    from pydantic import BaseModel  # noqa: PLC0415 - only here

    class City(BaseModel):
        city: str

    async def scenario(models: Any, _server: SimulatedProvider) -> None:
        answer = await models.generate_content(
            model="small",
            contents=QUESTION,
            config={"response_mime_type": "application/json", "response_schema": City},
        )
        assert answer.parsed == City(city="Paris")

    with_sdk(scenario)


def test_a_limit_and_a_stop_sequence_end_an_answer() -> None:
    async def scenario(models: Any, _server: SimulatedProvider) -> None:
        cut = await models.generate_content(
            model="small", contents="Tell me something.", config={"max_output_tokens": 9}
        )
        assert cut.candidates[0].finish_reason == "MAX_TOKENS"
        assert cut.usage_metadata.candidates_token_count == 9 - 5
        stopped = await models.generate_content(
            model="small", contents="Tell me something.", config={"stop_sequences": [" "]}
        )
        assert stopped.candidates[0].finish_reason == "STOP"
        assert " " not in stopped.text

    with_sdk(scenario)


@pytest.mark.parametrize(
    ("kind", "status", "word", "model", "more"),
    [
        ("ClientError", 404, "NOT_FOUND", "other", {}),
        ("ClientError", 400, "INVALID_ARGUMENT", "small", {"contents": []}),
        ("ClientError", 400, "INVALID_ARGUMENT", "tiny", {}),
        ("ClientError", 429, "RESOURCE_EXHAUSTED", "busy", {}),
        ("ServerError", 503, "UNAVAILABLE", "full", {}),
        ("ServerError", 500, "INTERNAL", "broken", {}),
    ],
)
def test_errors_are_known_to_the_sdk(
    kind: str, status: int, word: str, model: str, more: dict[str, Any]
) -> None:
    errors = pytest.importorskip("google.genai", reason="the oracle of this test").errors

    async def scenario(models: Any, server: SimulatedProvider) -> None:
        asked = {"model": model, "contents": QUESTION, **more}
        if not asked["contents"]:
            asked["contents"] = [{"role": "robot", "parts": [{"text": "Hi"}]}]
        with pytest.raises(getattr(errors, kind)) as caught:
            await models.generate_content(**asked)
        assert (caught.value.code, caught.value.status) == (status, word)
        assert server.requests[0].status == status

    with_sdk(
        scenario,
        SimulatedModel("small"),
        SimulatedModel("tiny", context_window=5),
        SimulatedModel("busy", error_rate=1.0, error_status=429),
        SimulatedModel("full", error_rate=1.0, error_status=503),
        SimulatedModel("broken", error_rate=1.0),
    )
