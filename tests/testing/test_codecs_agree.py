"""This package's own codecs read the simulated provider as they read the real ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import ContextTooLongError, ModelNotFoundError, RateLimitedError
from cascadeflow.models.completion import Completed, Completion
from cascadeflow.providers.codecs import get_codec
from cascadeflow.testing import SimulatedModel, SimulatedProvider, SimulatedRequest

if TYPE_CHECKING:
    from conftest import RawResponse, Wire

MODELS = [
    SimulatedModel("small", reasoning_tokens=3, cached_share=0.5),
    SimulatedModel("tiny", context_window=5),
    SimulatedModel("full", rate_limit=1),
]
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: dict[str, Any] = {
    "openai": [{"type": "function", "function": {"name": "get_weather", "parameters": TOOL}}],
    "anthropic": [{"name": "get_weather", "input_schema": TOOL}],
}


def ask(
    wire: Wire, protocol: str, model: str, *, times: int = 1, **more: Any
) -> tuple[RawResponse, SimulatedRequest]:
    async def scenario() -> tuple[RawResponse, SimulatedRequest]:
        async with SimulatedProvider(MODELS, seed=7) as server:
            request = getattr(wire, protocol)(model, "What is the weather in Oslo?", **more)
            responses = await wire.ask(server.port, *[request] * times)
            return responses[-1], server.requests[-1]

    return asyncio.run(scenario())


def read(protocol: str, response: RawResponse, *, stream: bool) -> Completion:
    codec = get_codec(protocol)
    if not stream:
        return codec.decode(response.status, response.headers, response.body)
    decoder = codec.decoder(response.headers)
    *_, last = [*decoder.feed(response.body), *decoder.finish()]
    assert isinstance(last, Completed)
    return last.completion


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("with_tools", [False, True])
def test_an_answer_is_read_with_nothing_lost(
    wire: Wire, protocol: str, stream: bool, with_tools: bool
) -> None:
    more: dict[str, Any] = {"stream": stream}
    if with_tools:
        more["tools"] = TOOLS[protocol]
    if stream and protocol == "openai":
        more["stream_options"] = {"include_usage": True}
    response, seen = ask(wire, protocol, "small", **more)
    completion = read(protocol, response, stream=stream)
    assert completion.text == seen.text
    assert completion.finish_reason == seen.finish == ("tool_calls" if with_tools else "stop")
    assert [call.name for call in completion.tool_calls] == ["get_weather"] * with_tools
    assert completion.model == "small"
    assert completion.request_id == seen.request_id
    usage = completion.usage
    assert usage is not None
    assert completion.usage_complete
    assert usage.total_input_tokens == seen.prompt_tokens
    assert usage.cache_read_tokens == seen.cached_tokens
    assert usage.total_output_tokens == seen.output_tokens
    if protocol == "openai":
        assert usage.reasoning_tokens == seen.reasoning_tokens == 3


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("model", "times", "error"),
    [
        ("other", 1, ModelNotFoundError),
        ("tiny", 1, ContextTooLongError),
        ("full", 2, RateLimitedError),
    ],
)
def test_an_error_is_read_as_what_it_is(
    wire: Wire, protocol: str, model: str, times: int, error: type[Exception]
) -> None:
    response, seen = ask(wire, protocol, model, times=times)
    with pytest.raises(error) as caught:
        read(protocol, response, stream=False)
    assert getattr(caught.value, "status", None) == seen.status
    assert getattr(caught.value, "request_id", None) == seen.request_id
    if error is RateLimitedError:
        assert getattr(caught.value, "retry_after", None) == pytest.approx(60, abs=1)


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_a_stream_that_breaks_off_is_read_as_far_as_it_came(wire: Wire, protocol: str) -> None:
    async def scenario() -> bytes:
        model = SimulatedModel("small", break_stream_rate=1)
        async with (
            SimulatedProvider([model]) as server,
            await wire.connect(server.port) as client,
        ):
            await client.send(getattr(wire, protocol)("small", "Hi", stream=True))
            await client.read_head()
            chunk = await client.reader.readline()
            body = await client.reader.readexactly(int(chunk, 16))
            assert await client.reader.read() == b"\r\n"
            return body

    decoder = get_codec(protocol).decoder()
    *_, last = [*decoder.feed(asyncio.run(scenario())), *decoder.finish()]
    assert isinstance(last, Completed)
    assert len(last.completion.text) == 4 * 16
    assert not last.completion.usage_complete
