"""This package's own codecs read the simulated provider as they read the real ones."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from cascadeflow import CascadeAgent, CostTracker, RetryPolicy
from cascadeflow.errors import (
    AllModelsFailedError,
    AuthenticationError,
    ContextTooLongError,
    ModelNotFoundError,
    OverloadedError,
    ProviderError,
    RateLimitedError,
)
from cascadeflow.models.completion import Completed, Completion
from cascadeflow.models.prices import Price
from cascadeflow.pipeline import events
from cascadeflow.providers.codecs import get_codec
from cascadeflow.testing import ManualClock, SimulatedModel, SimulatedProvider, SimulatedRequest
from cascadeflow.types import ChatRequest, ImagePart, Message, ResponseFormat, TextPart, Tool

if TYPE_CHECKING:
    from conftest import RawResponse, Wire

PROVIDERS = ("openai", "openai-responses", "anthropic", "gemini", "vertex", "bedrock", "cohere")
STOPPING = tuple(each for each in PROVIDERS if each != "openai-responses")  # it has no stops
COUNT_REASONING = {"openai", "openai-responses", "gemini", "vertex"}
COUNT_CACHE = set(PROVIDERS) - {"cohere"}  # which bills what is cached like the rest
HAVE_IDS = set(PROVIDERS) - {"gemini", "vertex"}

each_provider = pytest.mark.parametrize("provider", PROVIDERS)
each_way = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

MODELS = [
    SimulatedModel("small", reasoning_tokens=3, cached_share=0.5),
    SimulatedModel("tiny", context_window=5),
    SimulatedModel("full", rate_limit=1),
    SimulatedModel("failing", error_rate=1.0, error_status=503),
    SimulatedModel("breaking", break_stream_rate=1.0),
]
TOOL = Tool(
    "get_weather",
    "The weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
HEADERS = {"anthropic": ["anthropic-version: 2023-06-01"]}


def request_for(model: str, text: str = "What is the weather in Oslo?", **more: Any) -> ChatRequest:
    messages = (Message("system", "Be brief."), Message("user", text))
    return ChatRequest(model, **{"messages": messages, **more})


def ask(
    wire: Wire, provider: str, request: ChatRequest, *, times: int = 1, key: str | None = None
) -> tuple[RawResponse, SimulatedRequest]:
    """Sends what the codec writes, and gives what came back, byte by byte."""
    encoded = get_codec(provider).encode(request)

    async def scenario() -> tuple[RawResponse, SimulatedRequest]:
        async with SimulatedProvider(MODELS, seed=7, clock=ManualClock(), api_key=key) as server:
            sent = wire.request(encoded.path, encoded.body, headers=HEADERS.get(provider, ()))
            responses = await wire.ask(server.port, *[sent] * times)
            return responses[-1], server.requests[-1]

    return asyncio.run(scenario())


def read(provider: str, response: RawResponse, *, stream: bool) -> Completion:
    codec = get_codec(provider)
    headers = {name.lower(): value for name, value in response.headers.items()}
    if not stream:
        return codec.decode(response.status, headers, response.body)
    decoder = codec.decoder(headers)
    *_, last = [*decoder.feed(response.body), *decoder.finish()]
    assert isinstance(last, Completed)
    return last.completion


@each_provider
@each_way
@pytest.mark.parametrize("with_tools", [False, True], ids=["text", "tool"])
def test_an_answer_is_read_with_nothing_lost(
    wire: Wire, provider: str, stream: bool, with_tools: bool
) -> None:
    tools = (TOOL,) if with_tools else ()
    response, seen = ask(wire, provider, request_for("small", stream=stream, tools=tools))
    completion = read(provider, response, stream=stream)
    assert completion.text == seen.text
    assert completion.finish_reason == seen.finish == ("tool_calls" if with_tools else "stop")
    assert [call.name for call in completion.tool_calls] == ["get_weather"] * with_tools
    assert all(call.id for call in completion.tool_calls)
    assert seen.protocol == ("gemini" if provider == "vertex" else provider)
    assert (seen.model, seen.question) == ("small", "What is the weather in Oslo?")
    assert seen.stream is stream
    named = None if provider in {"bedrock", "cohere"} else "small"  # their answers name no model
    assert completion.model == named
    assert completion.request_id == (seen.request_id if provider in HAVE_IDS else None)
    usage = completion.usage
    assert usage is not None
    assert completion.usage_complete
    assert usage.total_input_tokens == seen.prompt_tokens
    assert usage.total_output_tokens == seen.output_tokens
    if provider in COUNT_CACHE:
        assert usage.cache_read_tokens == seen.cached_tokens != 0
    if provider in COUNT_REASONING:
        assert usage.reasoning_tokens == seen.reasoning_tokens == 3


@each_provider
@each_way
def test_a_stream_says_the_same_as_a_whole_answer(wire: Wire, provider: str, stream: bool) -> None:
    """The answer is the request's, whatever the protocol and the way."""
    response, seen = ask(wire, provider, request_for("small", stream=stream))
    _, other = ask(wire, "openai", request_for("small"))
    assert read(provider, response, stream=stream).text == seen.text == other.text
    assert seen.prompt_tokens == other.prompt_tokens


@each_provider
@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("other", ModelNotFoundError, 404),
        ("tiny", ContextTooLongError, 400),
        ("full", RateLimitedError, 429),
        ("failing", OverloadedError, 503),
    ],
)
def test_an_error_is_read_as_what_it_is(
    wire: Wire, provider: str, model: str, error: type[ProviderError], status: int
) -> None:
    response, seen = ask(wire, provider, request_for(model), times=2)
    with pytest.raises(error) as caught:
        read(provider, response, stream=False)
    assert caught.value.status == seen.status == status
    assert caught.value.billed is False
    if provider in HAVE_IDS:
        assert caught.value.request_id == seen.request_id
    if error is RateLimitedError:
        assert caught.value.retry_after == pytest.approx(60, abs=1)


@each_provider
def test_a_wrong_key_is_an_authentication_error(wire: Wire, provider: str) -> None:
    response, _ = ask(wire, provider, request_for("small"), key="the right one")
    with pytest.raises(AuthenticationError):
        read(provider, response, stream=False)


@each_provider
@each_way
def test_an_answer_is_cut_at_its_limit(wire: Wire, provider: str, stream: bool) -> None:
    response, seen = ask(wire, provider, request_for("small", stream=stream, max_tokens=8))
    completion = read(provider, response, stream=stream)
    assert completion.finish_reason == seen.finish == "length"
    assert completion.text == seen.text
    assert completion.usage is not None
    assert completion.usage.total_output_tokens == 8


@pytest.mark.parametrize("provider", STOPPING)
def test_a_stop_sequence_ends_an_answer(wire: Wire, provider: str) -> None:
    response, seen = ask(wire, provider, request_for("small", stop=(" ",)))
    completion = read(provider, response, stream=False)
    assert completion.finish_reason == "stop"
    assert completion.text == seen.text
    assert " " not in completion.text


@each_provider
@each_way
def test_an_answer_has_the_schema_that_was_asked_for(
    wire: Wire, provider: str, stream: bool
) -> None:
    form = ResponseFormat("json_schema", TOOL.parameters)
    response, _ = ask(wire, provider, request_for("small", stream=stream, response_format=form))
    answer = json.loads(read(provider, response, stream=stream).text)
    assert list(answer) == ["city"]
    assert isinstance(answer["city"], str)


@each_provider
@pytest.mark.parametrize(
    ("choice", "called"), [("none", False), ("required", True), ("get_weather", True)]
)
def test_which_tool_is_called_is_the_requests_choice(
    wire: Wire, provider: str, choice: str, called: bool
) -> None:
    request = request_for("small", tools=(TOOL,), tool_choice=choice)
    response, _ = ask(wire, provider, request)
    assert bool(read(provider, response, stream=False).tool_calls) is called


@each_provider
def test_a_result_goes_back_in_the_protocols_own_words(wire: Wire, provider: str) -> None:
    codec = get_codec(provider)
    first = request_for("small", tools=(TOOL,))
    response, _ = ask(wire, provider, first)
    completion = read(provider, response, stream=False)
    (call,) = completion.tool_calls
    result = Message("tool", "It rains.", tool_call_id=call.id, name=call.name)
    again = request_for(
        "small",
        messages=(*first.messages, codec.assistant_message(completion), result),
        tools=(TOOL,),
    )
    response, seen = ask(wire, provider, again)
    answer = read(provider, response, stream=False)
    assert (answer.finish_reason, answer.tool_calls) == ("stop", ())
    assert answer.text == seen.text
    assert seen.question == "What is the weather in Oslo?"
    assert b"It rains." in seen.body


@each_provider
def test_an_image_counts(wire: Wire, provider: str) -> None:
    text = TextPart("What is this?")
    image = ImagePart(data="aGVsbG8=", media_type="image/png")
    counts = []
    for content in ((text,), (text, image)):
        request = request_for("small", messages=(Message("user", content),))
        counts.append(ask(wire, provider, request)[1].prompt_tokens)
    without, with_image = counts
    assert without is not None
    assert with_image == without + 85


@each_provider
def test_a_stream_that_breaks_off_is_read_as_far_as_it_came(wire: Wire, provider: str) -> None:
    encoded = get_codec(provider).encode(request_for("breaking", stream=True))

    async def scenario() -> bytes:
        async with (
            SimulatedProvider(MODELS) as server,
            await wire.connect(server.port) as client,
        ):
            headers = HEADERS.get(provider, ())
            await client.send(wire.request(encoded.path, encoded.body, headers=headers))
            await client.read_head()
            chunk = await client.reader.readline()
            body = await client.reader.readexactly(int(chunk, 16))
            assert await client.reader.read() == b"\r\n"
            return body

    decoder = get_codec(provider).decoder()
    *_, last = [*decoder.feed(asyncio.run(scenario())), *decoder.finish()]
    assert isinstance(last, Completed)
    assert len(last.completion.text) == 4 * 16
    assert not last.completion.usage_complete


@pytest.mark.parametrize("provider", [*PROVIDERS, "azure", "mistral", "perplexity", "cerebras"])
@each_way
def test_a_model_of_each_provider_can_be_asked_by_an_agent(provider: str, stream: bool) -> None:
    """With a key, as a user would: the address, the header and the cost are right."""
    tracker = CostTracker(global_budget=1, enforcement_mode="block")
    model = SimulatedModel(
        "small", answers={"Where is Oslo?": "In Norway."}, price=Price(input=1, output=2)
    )

    async def scenario() -> tuple[Any, SimulatedRequest]:
        async with (
            SimulatedProvider([model], api_key="sesame") as server,
            CascadeAgent(
                server.models_for(provider),
                cost_tracker=tracker,
                retry=RetryPolicy(attempts=1),
            ) as agent,
        ):
            if not stream:
                return await agent.run("Where is Oslo?", max_tokens=50), server.requests[-1]
            async for event in agent.stream("Where is Oslo?", max_tokens=50):
                if isinstance(event, events.RequestCompleted):
                    return event.result, server.requests[-1]
            raise AssertionError("the stream had no last event")

    result, seen = asyncio.run(scenario())
    assert result.content == "In Norway."
    assert seen.right is True
    assert seen.prompt_tokens is not None
    assert seen.output_tokens is not None
    expected = Decimal(seen.prompt_tokens + 2 * seen.output_tokens) / 1_000_000
    assert result.cost.total == expected
    (account,) = tracker.accounts("global")
    assert (account.held, account.spent) == (0, int(expected * 10**9))


@each_provider
def test_a_broken_stream_of_each_provider_is_booked_at_its_hold(provider: str) -> None:
    tracker = CostTracker(global_budget=1, enforcement_mode="block")
    model = SimulatedModel("small", break_stream_rate=1.0, price=Price(input=1, output=2))

    async def scenario() -> None:
        async with (
            SimulatedProvider([model]) as server,
            CascadeAgent(
                server.models_for(provider), cost_tracker=tracker, retry=RetryPolicy(attempts=1)
            ) as agent,
        ):
            async for _ in agent.stream("Where is Oslo?", max_tokens=50):
                pass

    with pytest.raises(AllModelsFailedError):
        asyncio.run(scenario())
    (account,) = tracker.accounts("global")
    assert account.held == 0
    assert account.spent >= 50 * 2 * 1000


def test_usage_that_nobody_asked_for_is_sent_only_behind_its_prefix() -> None:
    """Also when the same body has come before, elsewhere: what is remembered is kept apart."""
    model = SimulatedModel("small", answers={"Hi": "Hello."})
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}

    async def scenario() -> list[bool]:
        async with SimulatedProvider([model]) as server, httpx2.AsyncClient() as client:
            paths = ("/v1", "/usage-unasked/v1") * 3
            urls = [f"{server.url}{path}/chat/completions" for path in paths]
            return ['"usage":{' in (await client.post(url, json=body)).text for url in urls]

    assert asyncio.run(scenario()) == [False, True] * 3
