"""Calls over real HTTP on this machine: retries, deadlines, streams, keys, attempts."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.config import Deadlines, RetryPolicy
from cascadeflow.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    MalformedResponseError,
    MissingKeyError,
    OverloadedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitedError,
)
from cascadeflow.models.completer import Reply
from cascadeflow.models.completion import Completed, TextDelta, UsageUpdate
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.usage import Usage
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.testing.clock import ManualClock

if TYPE_CHECKING:
    from types import SimpleNamespace

ONCE = RetryPolicy(attempts=1)


def impatient(**settings: Any) -> HttpCompleter:
    """A completer whose clock jumps over every wait."""
    clock = ManualClock(autojump=True)
    return HttpCompleter(clock=clock, random=random.Random(1), **settings)


async def events_of(stream: Any) -> list[Any]:
    async with aclosing(stream) as events:
        return [event async for event in events]


def test_a_call_gives_the_answer_and_how_it_was_come_by(http: SimpleNamespace) -> None:
    async def main() -> None:
        completer = HttpCompleter()
        async with http.serve(http.answer) as server:
            reply = await completer.complete(http.model(server), http.ask(temperature=0.0))
            await completer.aclose()
            await server.all_closed()
        assert reply.completion.text == "Hello"
        assert reply.completion.usage == Usage(input_tokens=3, output_tokens=1)
        assert reply.completion.request_id == "req-1"
        (attempt,) = reply.attempts
        assert (attempt.provider, attempt.model, attempt.outcome) == ("openai", "m", "ok")
        assert (attempt.status, attempt.request_id, attempt.billed) == (200, "req-1", True)
        assert 0 < reply.transport_ms <= reply.duration_ms
        assert attempt.duration_ms <= reply.duration_ms
        (sent,) = server.exchanges
        assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
        assert sent.headers["authorization"] == "Bearer sk-test-key-0123456789"
        assert sent.headers["user-agent"].startswith("cascadeflow/")
        assert sent.json == {
            "model": "m",
            "messages": [{"role": "user", "content": "Hi"}],
            "temperature": 0.0,
        }

    asyncio.run(main())


def test_a_stream_gives_its_events_and_then_the_reply(http: SimpleNamespace) -> None:
    async def main() -> None:
        completer = HttpCompleter()
        async with http.serve(http.answer) as server:
            events = await events_of(completer.stream(http.model(server), http.ask()))
            await completer.aclose()
        *given, last = events
        assert [event.text for event in given if isinstance(event, TextDelta)] == ["Hel", "lo"]
        assert isinstance(given[-2], UsageUpdate)
        assert isinstance(given[-1], Completed)
        assert isinstance(last, Reply)
        assert last.completion is given[-1].completion
        assert last.completion.text == "Hello"
        assert last.first_token_ms is not None
        assert 0 < last.first_token_ms <= last.duration_ms
        assert [attempt.outcome for attempt in last.attempts] == ["ok"]
        assert server.exchanges[0].json["stream"] is True

    asyncio.run(main())


def test_anthropic_s_protocol_goes_to_its_own_path_with_its_own_header(
    http: SimpleNamespace,
) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.respond(200, {"content": [{"type": "text", "text": "Hello"}]})

    async def main() -> None:
        completer = HttpCompleter()
        async with http.serve(handler) as server:
            for base_url in (server.url, server.url.removesuffix("/v1")):
                model = ModelConfig("m", "anthropic", api_key="sk-ant-1", base_url=base_url)
                reply = await completer.complete(model, http.ask())
                assert reply.completion.text == "Hello"
            await completer.aclose()
        for sent in server.exchanges:
            assert sent.path == "/v1/messages"
            assert sent.headers["x-api-key"] == "sk-ant-1"
            assert sent.headers["anthropic-version"] == "2023-06-01"
            assert "authorization" not in sent.headers

    asyncio.run(main())


def test_the_model_s_own_headers_and_fields_are_sent(http: SimpleNamespace) -> None:
    async def main() -> None:
        completer = HttpCompleter()
        async with http.serve(http.answer) as server:
            model = http.model(server, headers={"X-Team": "blue"}, extra={"top_k": 1, "n": 1})
            await completer.complete(model, http.ask(extra={"n": 2}))
            await completer.aclose()
        (sent,) = server.exchanges
        assert sent.headers["x-team"] == "blue"
        assert (sent.json["top_k"], sent.json["n"]) == (1, 2)

    asyncio.run(main())


# Keys


def test_a_key_comes_from_the_environment_anew_for_each_call(
    http: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        completer = HttpCompleter()
        async with http.serve(http.answer) as server:
            model = http.model(server, api_key=None)
            for key in ("first-key", "second-key"):
                monkeypatch.setenv("OPENAI_API_KEY", key)
                await completer.complete(model, http.ask())
            await completer.aclose()
        keys = [sent.headers["authorization"] for sent in server.exchanges]
        assert keys == ["Bearer first-key", "Bearer second-key"]

    asyncio.run(main())


def test_a_missing_key_is_named_before_anything_is_sent(
    http: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    async def main() -> None:
        async with http.serve(http.answer) as server:
            with pytest.raises(MissingKeyError, match="OPENAI_API_KEY"):
                await HttpCompleter().complete(http.model(server, api_key=None), http.ask())
            assert server.connections == 0

    asyncio.run(main())


def test_a_local_server_needs_no_key(http: SimpleNamespace) -> None:
    async def main() -> None:
        completer = HttpCompleter()
        async with http.serve(http.answer) as server:
            model = ModelConfig("m", "vllm", base_url=server.url)
            await completer.complete(model, http.ask())
            await completer.aclose()
        assert "authorization" not in server.exchanges[0].headers

    asyncio.run(main())


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(
    http: SimpleNamespace,
) -> None:
    async def main() -> None:
        async with http.serve(http.answer) as server:
            with pytest.raises(ConfigurationError) as caught:
                await HttpCompleter().complete(
                    http.model(server, api_key="sk-geheim\n-schlüssel"), http.ask()
                )
            assert "geheim" not in str(caught.value)

    asyncio.run(main())


def test_a_header_that_cannot_be_sent_is_refused_without_being_shown(
    http: SimpleNamespace,
) -> None:
    async def main() -> None:
        async with http.serve(http.answer) as server:
            model = http.model(server, headers={"x-token": "hunter22\r\nx-evil: 1"})
            with pytest.raises(ConfigurationError) as caught:
                await HttpCompleter().complete(model, http.ask())
            assert "hunter22" not in str(caught.value)
            assert server.connections == 0

    asyncio.run(main())


def test_a_credential_that_the_user_wrote_as_a_header_stands(http: SimpleNamespace) -> None:
    async def main() -> None:
        completer = HttpCompleter()
        async with http.serve(http.answer) as server:
            mine = {"Authorization": "Basic bWU6cHc="}
            await completer.complete(http.model(server, api_key=None, headers=mine), http.ask())
            await completer.aclose()
        assert server.exchanges[0].headers["authorization"] == "Basic bWU6cHc="

    asyncio.run(main())


def test_a_provider_without_an_address_asks_for_one() -> None:
    model = ModelConfig("m", "azure", api_key="k")
    with pytest.raises(ConfigurationError, match="base_url"):
        asyncio.run(HttpCompleter().complete(model, _hi()))


def _hi() -> Any:
    from cascadeflow.types import ChatRequest, Message  # noqa: PLC0415

    return ChatRequest(model="m", messages=(Message("user", "Hi"),))


def test_no_error_shows_a_key_that_the_server_echoes(http: SimpleNamespace) -> None:
    key = "tenant-42:correct horse battery"

    async def handler(exchange: Any) -> None:
        said = exchange.headers["authorization"] + exchange.headers["x-extra"]
        await exchange.respond(
            401, {"error": {"message": f"who is {said}?"}}, {"x-request-id": key}
        )

    async def main() -> None:
        completer = HttpCompleter()
        async with http.serve(handler) as server:
            model = http.model(server, api_key=key, headers={"x-extra": "hunter22"})
            with pytest.raises(AuthenticationError) as caught:
                await completer.complete(model, http.ask())
            await completer.aclose()
        seen = f"{caught.value}{caught.value!r}{vars(caught.value)}{caught.value.__cause__}{model}"
        assert "battery" not in seen
        assert "hunter22" not in seen

    asyncio.run(main())


# Retries


def script(*answers: Any) -> Any:
    """Answers each request by the next entry: a status with headers, or a coroutine function."""

    async def handler(exchange: Any) -> None:
        step = answers[min(exchange.number, len(answers)) - 1]
        if callable(step):
            await step(exchange)
        else:
            status, headers = step
            await exchange.respond(status, {"error": {"message": "no"}}, headers)

    return handler


def test_what_may_pass_is_tried_again_with_jitter(http: SimpleNamespace) -> None:
    async def main() -> None:
        completer = impatient(retry=RetryPolicy(attempts=3, base_delay=1.0, max_delay=8.0))
        async with http.serve(script((503, {}), (429, {}), http.answer)) as server:
            reply = await completer.complete(http.model(server), http.ask())
            await completer.aclose()
        outcomes = [attempt.outcome for attempt in reply.attempts]
        assert outcomes == ["OverloadedError", "RateLimitedError", "ok"]
        assert [attempt.billed for attempt in reply.attempts] == [False, False, True]
        drawn = random.Random(1)
        first, second = drawn.uniform(0, 1.0), drawn.uniform(0, 2.0)
        started = [attempt.started_ms / 1000 for attempt in reply.attempts]
        assert started == pytest.approx([0.0, first, first + second])
        assert reply.transport_ms == pytest.approx(1000 * (first + second))

    asyncio.run(main())


def test_the_provider_s_wish_to_wait_is_honoured(http: SimpleNamespace) -> None:
    async def main() -> None:
        for headers in (
            {"retry-after": "4"},
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "4s"},
        ):
            completer = impatient(retry=RetryPolicy(attempts=2, base_delay=0.0))
            async with http.serve(script((429, headers), http.answer)) as server:
                reply = await completer.complete(http.model(server), http.ask())
                await completer.aclose()
            assert reply.attempts[1].started_ms == 4000

    asyncio.run(main())


def test_a_wait_longer_than_allowed_ends_the_retrying(http: SimpleNamespace) -> None:
    async def main() -> None:
        completer = impatient(retry=RetryPolicy(attempts=5, max_delay=8.0))
        async with http.serve(script((429, {"retry-after": "9"}))) as server:
            with pytest.raises(RateLimitedError) as caught:
                await completer.complete(http.model(server), http.ask())
            await completer.aclose()
        assert len(server.exchanges) == 1
        assert caught.value.retry_after == 9.0

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "body"), [(400, {}), (401, {}), (404, {}), (429, {"code": "insufficient_quota"})]
)
def test_what_cannot_pass_is_not_tried_again(
    http: SimpleNamespace, status: int, body: dict[str, str]
) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.respond(status, {"error": {"message": "no", **body}})

    async def main() -> None:
        completer = impatient()
        async with http.serve(handler) as server:
            with pytest.raises(ProviderError) as caught:
                await completer.complete(http.model(server), http.ask())
            await completer.aclose()
        assert len(server.exchanges) == 1
        assert caught.value.model == "m"
        assert [attempt.status for attempt in caught.value.attempts] == [status]

    asyncio.run(main())


def test_the_last_error_carries_every_try(http: SimpleNamespace) -> None:
    async def main() -> None:
        completer = impatient(retry=RetryPolicy(attempts=3))
        async with http.serve(script((500, {"x-request-id": "r"}))) as server:
            with pytest.raises(OverloadedError) as caught:
                await completer.complete(http.model(server), http.ask())
            await completer.aclose()
        tries = caught.value.attempts
        assert [(a.outcome, a.status, a.request_id) for a in tries] == [
            ("OverloadedError", 500, "r")
        ] * 3

    asyncio.run(main())


def test_no_try_begins_that_the_deadline_leaves_no_time_for(http: SimpleNamespace) -> None:
    async def main() -> None:
        completer = impatient(retry=RetryPolicy(attempts=5, base_delay=0.0))
        async with http.serve(script((429, {"retry-after": "7"}))) as server:
            with pytest.raises(RateLimitedError):
                await completer.complete(http.model(server), http.ask(), timeout=20.0)
            await completer.aclose()
        assert len(server.exchanges) == 3  # at 0, 7 and 14 seconds

    asyncio.run(main())


def test_a_connection_that_breaks_is_tried_again(http: SimpleNamespace) -> None:
    async def drop(exchange: Any) -> None:
        exchange.drop()

    async def main() -> None:
        completer = impatient()
        async with http.serve(script(drop, http.answer)) as server:
            reply = await completer.complete(http.model(server), http.ask())
            await completer.aclose()
        outcomes = [(attempt.outcome, attempt.billed) for attempt in reply.attempts]
        assert outcomes == [("ProviderConnectionError", None), ("ok", True)]

    asyncio.run(main())


def test_where_nobody_listens_nothing_was_billed(http: SimpleNamespace) -> None:
    async def main() -> None:
        async with http.serve(http.answer) as server:
            model = http.model(server)
        with pytest.raises(ProviderConnectionError) as caught:
            await impatient(retry=ONCE).complete(model, http.ask())
        assert caught.value.billed is False
        assert caught.value.status is None

    asyncio.run(main())


def test_a_stream_is_tried_again_before_its_first_event_and_never_after(
    http: SimpleNamespace,
) -> None:
    async def half(exchange: Any) -> None:
        await exchange.start_stream()
        await exchange.event(http.stream_chunks()[0])
        exchange.drop()

    async def main() -> None:
        completer = impatient()
        async with http.serve(script((503, {}), http.answer)) as server:
            events = await events_of(completer.stream(http.model(server), http.ask()))
            assert [attempt.outcome for attempt in events[-1].attempts] == ["OverloadedError", "ok"]
        async with http.serve(script(half, http.answer)) as server:
            stream = completer.stream(http.model(server), http.ask())
            assert await anext(stream) == TextDelta("Hel")
            with pytest.raises(ProviderConnectionError) as caught:
                await anext(stream)
            assert len(server.exchanges) == 1
            assert caught.value.partial.text == "Hel"
            assert not caught.value.partial.usage_complete
            assert caught.value.billed is None
            assert len(caught.value.attempts) == 1
        await completer.aclose()

    asyncio.run(main())


# Streams that end badly


def test_a_stream_that_ends_before_its_answer_is_no_answer(http: SimpleNamespace) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.start_stream()
        await exchange.event(http.stream_chunks()[0])
        await exchange.end_stream()

    async def main() -> None:
        completer = impatient(retry=ONCE)
        async with http.serve(handler) as server:
            with pytest.raises(ProviderConnectionError, match="ended before") as caught:
                await events_of(completer.stream(http.model(server), http.ask()))
            await completer.aclose()
        assert caught.value.partial.text == "Hel"

    asyncio.run(main())


def test_an_answer_whose_usage_never_came_is_given_unconfirmed(http: SimpleNamespace) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.start_stream()
        for chunk in http.stream_chunks()[:-1]:
            await exchange.event(chunk)
        await exchange.end_stream()

    async def main() -> None:
        completer = impatient(retry=ONCE)
        async with http.serve(handler) as server:
            reply = (await events_of(completer.stream(http.model(server), http.ask())))[-1]
            await completer.aclose()
        assert reply.completion.text == "Hello"
        assert reply.completion.usage is None
        assert not reply.completion.usage_complete

    asyncio.run(main())


def test_an_error_in_a_stream_is_raised_without_waiting_for_more(http: SimpleNamespace) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.start_stream()
        await exchange.event(http.stream_chunks()[0])
        await exchange.event({"error": {"type": "invalid_request_error", "message": "no"}})
        await exchange.until_closed()

    async def main() -> None:
        completer = impatient()
        async with http.serve(handler) as server:
            with pytest.raises(BadRequestError) as caught:
                await events_of(completer.stream(http.model(server), http.ask()))
            await server.all_closed()
            await completer.aclose()
        assert caught.value.partial.text == "Hel"
        assert [attempt.outcome for attempt in caught.value.attempts] == ["BadRequestError"]

    asyncio.run(main())


def test_a_server_that_does_not_stream_is_understood(http: SimpleNamespace) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.respond(200, http.ANSWER)

    async def main() -> None:
        completer = HttpCompleter()
        async with http.serve(handler) as server:
            events = await events_of(completer.stream(http.model(server), http.ask()))
            await completer.aclose()
        assert events[0] == TextDelta("Hello")
        assert events[-1].completion.usage == Usage(input_tokens=3, output_tokens=1)

    asyncio.run(main())


def test_a_web_page_is_a_malformed_answer_that_may_have_been_billed(http: SimpleNamespace) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.respond(200, b"<html>Welcome</html>", {"content-type": "text/html"})

    async def main() -> None:
        completer = impatient()
        async with http.serve(handler) as server:
            with pytest.raises(MalformedResponseError, match="base URL") as caught:
                await completer.complete(http.model(server), http.ask())
            await completer.aclose()
        assert caught.value.billed is None
        assert len(server.exchanges) == 1

    asyncio.run(main())


# Deadlines


async def never_answer(exchange: Any) -> None:
    await exchange.until_closed()


def test_no_first_byte_in_time_is_a_time_out_that_may_have_been_billed(
    http: SimpleNamespace,
) -> None:
    async def main() -> None:
        completer = HttpCompleter(deadlines=Deadlines(first_byte=0.05), retry=ONCE)
        async with http.serve(never_answer) as server:
            with pytest.raises(ProviderTimeoutError, match=r"first byte within 0\.05 s") as caught:
                await completer.complete(http.model(server), http.ask())
            await server.all_closed()
            await completer.aclose()
        assert caught.value.billed is None
        assert caught.value.retryable

    asyncio.run(main())


def test_no_further_piece_in_time_is_a_time_out(http: SimpleNamespace) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.start_stream()
        await exchange.event(http.stream_chunks()[0])
        await exchange.until_closed()

    async def main() -> None:
        completer = HttpCompleter(deadlines=Deadlines(between_chunks=0.05), retry=ONCE)
        async with http.serve(handler) as server:
            with pytest.raises(ProviderTimeoutError, match=r"0\.05 s") as caught:
                await events_of(completer.stream(http.model(server), http.ask()))
            assert caught.value.partial.text == "Hel"
            with pytest.raises(ProviderTimeoutError):
                await completer.complete(http.model(server), http.ask())
            await server.all_closed()
            await completer.aclose()

    asyncio.run(main())


def test_the_whole_call_has_a_deadline_also_against_a_slow_drip(http: SimpleNamespace) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.start_stream()
        while True:
            await exchange.event(http.stream_chunks()[0])
            await asyncio.sleep(0.005)

    async def main() -> None:
        completer = HttpCompleter(retry=ONCE)
        async with http.serve(handler) as server:
            with pytest.raises(ProviderTimeoutError, match="deadline"):
                await events_of(completer.stream(http.model(server), http.ask(), timeout=0.1))
            await server.all_closed()
            await completer.aclose()

    asyncio.run(main())


def test_a_connection_that_never_stands_is_a_time_out_that_was_not_billed(
    http: SimpleNamespace,
) -> None:
    """A listener whose queue is full takes no further connection."""
    import socket  # noqa: PLC0415

    async def main() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            port = listener.getsockname()[1]
            held = [socket.socket() for _ in range(4)]
            for each in held:
                each.setblocking(False)
                each.connect_ex(("127.0.0.1", port))
            model = ModelConfig("m", "vllm", base_url=f"http://127.0.0.1:{port}/v1")
            completer = HttpCompleter(deadlines=Deadlines(connect=0.05), retry=ONCE)
            with pytest.raises(ProviderTimeoutError, match="no connection within") as caught:
                await completer.complete(model, http.ask())
            assert caught.value.billed is False
            await completer.aclose()
            for each in held:
                each.close()

    asyncio.run(main())
