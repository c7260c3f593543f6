"""Limits and broken streams, as the SDKs of OpenAI and Anthropic tell their users."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cascadeflow.testing import ManualClock, SimulatedModel, SimulatedProvider

PROTOCOLS = ("openai", "openai-responses", "anthropic")


def client_of(protocol: str, server: SimulatedProvider) -> Any:
    name, url = (
        ("anthropic", server.url) if protocol == "anthropic" else ("openai", server.base_url)
    )
    sdk = pytest.importorskip(name, reason="the oracle of this test")
    make = sdk.AsyncAnthropic if name == "anthropic" else sdk.AsyncOpenAI
    return make(api_key="any", base_url=url, max_retries=0)


async def create(client: Any, protocol: str, *, raw: bool = False, **more: Any) -> Any:
    """Asks in the SDK's own way, for the answer or for the HTTP response that carries it."""
    asked: dict[str, Any]
    if protocol == "openai-responses":
        resource, asked = client.responses, {"input": "Hi"}
    else:
        resource = client.messages if protocol == "anthropic" else client.chat.completions
        asked = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 99}
    if raw:
        resource = resource.with_raw_response
    return await resource.create(model="small", **asked, **more)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_sdk_sees_how_much_is_left_and_when_to_come_again(protocol: str) -> None:
    clock = ManualClock()
    prefix = "anthropic-ratelimit-requests-{}"
    if protocol != "anthropic":
        prefix = "x-ratelimit-{}-requests"

    async def scenario() -> None:
        model = SimulatedModel("small", rate_limit=2)
        async with (
            SimulatedProvider([model], clock=clock) as server,
            client_of(protocol, server) as client,
        ):
            for left in ("1", "0"):
                response = await create(client, protocol, raw=True)
                assert response.headers[prefix.format("limit")] == "2"
                assert response.headers[prefix.format("remaining")] == left
                assert response.headers[prefix.format("reset")]
            with pytest.raises(Exception, match="2 requests a minute") as caught:
                await create(client, protocol)
            assert type(caught.value).__name__ == "RateLimitError"
            assert caught.value.response.headers["retry-after"] == "30"  # type: ignore[attr-defined]
            clock.advance(30)
            await create(client, protocol)

    asyncio.run(scenario())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stream_that_breaks_off_is_no_answer_to_the_sdk(protocol: str) -> None:
    async def scenario() -> None:
        model = SimulatedModel("small", break_stream_rate=1.0)
        async with (
            SimulatedProvider([model]) as server,
            client_of(protocol, server) as client,
        ):
            stream = await create(client, protocol, stream=True)
            pieces: list[Any] = []

            async def read() -> None:
                async for piece in stream:
                    pieces.append(piece)  # noqa: PERF401 - what came before the error counts

            with pytest.raises(Exception, match="incomplete chunked read"):
                await read()
            assert len(pieces) >= 16
            assert server.requests[0].outcome == "broken"

    asyncio.run(scenario())
