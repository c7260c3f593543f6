"""A permit is asked before a try is repeated: under a budget, only what was held for is sent."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.config import RetryPolicy
from cascadeflow.errors import (
    OverloadedError,
    ProviderConnectionError,
    ProviderError,
    RateLimitedError,
    StoreError,
)
from cascadeflow.models.completer import Completer, Reply
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.providers.completer import Providers
from cascadeflow.testing.clock import ManualClock

if TYPE_CHECKING:
    from types import SimpleNamespace


class Permit:
    """Grants as many further tries as it has, and notes what it was asked about."""

    def __init__(
        self, grants: int, *, takes: float = 0.0, clock: ManualClock | None = None
    ) -> None:
        self.grants = grants
        self.asked: list[ProviderError] = []
        self._takes = takes
        self._clock = clock

    async def __call__(self, error: ProviderError) -> bool:
        self.asked.append(error)
        if self._clock is not None:
            self._clock.advance(self._takes)
        self.grants -= 1
        return self.grants >= 0


def completer(clock: ManualClock | None = None, **retry: Any) -> HttpCompleter:
    """A completer whose clock jumps over every wait."""
    return HttpCompleter(
        clock=clock or ManualClock(autojump=True),
        random=random.Random(1),
        retry=RetryPolicy(**{"attempts": 3, **retry}),
    )


def script(http: SimpleNamespace, *statuses: int) -> Any:
    """Answers each request by the next status; 200 is an answer, 0 a reset; the last repeats."""

    async def handler(exchange: Any) -> None:
        status = statuses[min(exchange.number, len(statuses)) - 1]
        if status == 200:
            await http.answer(exchange)
        elif status == 0:
            exchange.drop()
        else:
            after = {"retry-after": "7"} if status == 429 else {}
            await exchange.respond(status, {"error": {"message": "no"}}, after)

    return handler


async def ask(
    asked: Completer, model: Any, request: Any, *, streamed: bool, **options: Any
) -> Reply:
    if not streamed:
        return await asked.complete(model, request, **options)
    last: Any = None
    stream: Any = asked.stream(model, request, **options)
    async with aclosing(stream) as events:
        async for event in events:
            last = event
    assert isinstance(last, Reply)
    return last


@pytest.mark.parametrize("streamed", [False, True])
def test_a_permit_is_asked_with_the_error_before_each_further_try(
    http: SimpleNamespace, streamed: bool
) -> None:
    async def main() -> None:
        permit, asked = Permit(2), completer()
        async with http.serve(script(http, 503, 0, 200)) as server:
            reply = await ask(
                asked, http.model(server), http.ask(), streamed=streamed, may_retry=permit
            )
            await asked.aclose()
        assert reply.completion.text == "Hello"
        assert [type(error) for error in permit.asked] == [OverloadedError, ProviderConnectionError]
        assert [error.billed for error in permit.asked] == [False, None]
        assert [len(error.attempts) for error in permit.asked] == [1, 2]

    asyncio.run(main())


@pytest.mark.parametrize("streamed", [False, True])
def test_no_permit_ends_the_trying_with_the_error(http: SimpleNamespace, streamed: bool) -> None:
    async def main() -> None:
        permit, asked = Permit(1), completer()
        async with http.serve(script(http, 503, 0, 200)) as server:
            with pytest.raises(ProviderConnectionError) as caught:
                await ask(
                    asked, http.model(server), http.ask(), streamed=streamed, may_retry=permit
                )
            await asked.aclose()
            assert len(server.exchanges) == 2
        assert len(permit.asked) == 2
        assert caught.value is permit.asked[-1]
        outcomes = [attempt.outcome for attempt in caught.value.attempts]
        assert outcomes == ["OverloadedError", "ProviderConnectionError"]

    asyncio.run(main())


def test_no_time_is_waited_for_a_try_that_is_not_permitted(http: SimpleNamespace) -> None:
    async def main() -> None:
        clock = ManualClock(autojump=True)
        asked = completer(clock, base_delay=4.0)
        async with http.serve(script(http, 503)) as server:
            before = clock.monotonic()
            with pytest.raises(OverloadedError):
                await asked.complete(http.model(server), http.ask(), may_retry=Permit(0))
            await asked.aclose()
        assert clock.monotonic() == before

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "retry", "timeout"),
    [
        (400, {}, None),  # cannot pass
        (503, {"attempts": 1}, None),  # the policy allows no further try
        (429, {}, 5.0),  # the deadline leaves no time for the wait that the provider asks for
    ],
)
def test_a_permit_is_not_asked_where_no_try_would_follow(
    http: SimpleNamespace, status: int, retry: dict[str, Any], timeout: float | None
) -> None:
    async def main() -> None:
        permit, asked = Permit(9), completer(**retry)
        async with http.serve(script(http, status)) as server:
            with pytest.raises(ProviderError):
                await asked.complete(
                    http.model(server), http.ask(), timeout=timeout, may_retry=permit
                )
            await asked.aclose()
            assert len(server.exchanges) == 1
        assert permit.asked == []

    asyncio.run(main())


def test_a_permit_is_not_asked_once_a_stream_has_given_an_event(http: SimpleNamespace) -> None:
    async def half(exchange: Any) -> None:
        await exchange.start_stream()
        await exchange.event(http.stream_chunks()[0])
        exchange.drop()

    async def main() -> None:
        permit, asked = Permit(9), completer()
        async with http.serve(half) as server:
            with pytest.raises(ProviderConnectionError):
                await ask(asked, http.model(server), http.ask(), streamed=True, may_retry=permit)
            await asked.aclose()
        assert permit.asked == []

    asyncio.run(main())


def test_a_permit_that_comes_after_the_deadline_is_not_used(http: SimpleNamespace) -> None:
    async def main() -> None:
        clock = ManualClock(autojump=True)
        permit, asked = Permit(9, takes=60.0, clock=clock), completer(clock)
        async with http.serve(script(http, 429)) as server:
            with pytest.raises(RateLimitedError):
                await asked.complete(http.model(server), http.ask(), timeout=30.0, may_retry=permit)
            await asked.aclose()
            assert len(server.exchanges) == 1
        assert len(permit.asked) == 1

    asyncio.run(main())


def test_a_permit_s_own_failure_is_raised_and_nothing_more_is_sent(http: SimpleNamespace) -> None:
    async def broken(_: ProviderError) -> bool:
        raise StoreError("the disk is full")

    async def main() -> None:
        asked = completer()
        async with http.serve(script(http, 503)) as server:
            with pytest.raises(StoreError, match="disk is full"):
                await asked.complete(http.model(server), http.ask(), may_retry=broken)
            await asked.aclose()
            assert len(server.exchanges) == 1

    asyncio.run(main())


def test_a_wait_that_google_asks_for_in_the_body_is_honoured(http: SimpleNamespace) -> None:
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "4s"}
    refusal = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "no", "details": [delay]}

    async def handler(exchange: Any) -> None:
        if exchange.number == 1:
            await exchange.respond(429, {"error": refusal})
        else:
            answer = {"content": {"parts": [{"text": "Hello"}]}, "finishReason": "STOP"}
            await exchange.respond(200, {"candidates": [answer]})

    async def main() -> None:
        asked = completer(base_delay=0.0)
        async with http.serve(handler) as server:
            model = ModelConfig("m", "gemini", api_key="k" * 9, base_url=server.url)
            reply = await asked.complete(model, http.ask())
            await asked.aclose()
        assert reply.completion.text == "Hello"
        assert [attempt.started_ms for attempt in reply.attempts] == [0, 4000]

    asyncio.run(main())


@pytest.mark.parametrize("streamed", [False, True])
def test_the_default_completer_hands_the_permit_on(http: SimpleNamespace, streamed: bool) -> None:
    async def main() -> None:
        permit = Permit(0)
        clock = ManualClock(autojump=True)
        asked = Providers(clock=clock, random=random.Random(1))
        async with http.serve(script(http, 503, 200)) as server:
            with pytest.raises(OverloadedError):
                await ask(
                    asked, http.model(server), http.ask(), streamed=streamed, may_retry=permit
                )
            await asked.aclose()
        assert len(permit.asked) == 1

    asyncio.run(main())
