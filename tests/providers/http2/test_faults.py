"""HTTP/2: whatever the server does, the right error, and the next call is answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.config import Deadlines
from cascadeflow.errors import ProviderConnectionError, ProviderError, ProviderTimeoutError

if TYPE_CHECKING:
    from types import SimpleNamespace

# What goes wrong


def test_after_a_goodbye_what_was_taken_is_answered_and_the_rest_is_known_unbilled(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any
) -> None:
    async def main() -> None:
        both = asyncio.Event()

        async def handler(exchange: Any) -> None:
            if exchange.number > 2:
                await http2.answering(http)(exchange)
                return
            if exchange.number == 2:
                both.set()
                return
            await both.wait()
            exchange.head()
            await exchange.event(http.stream_chunks()[0])
            exchange.connection.goodbye(exchange.id)
            for chunk in http.stream_chunks()[1:]:
                await exchange.event(chunk)
            exchange.end()

        asked = http2.completer(tls)
        async with http2.serve(handler, tls) as server:
            model = server.model()
            stream = asyncio.create_task(http2.events_of(asked.stream(model, http.ask())))
            await server.until(lambda: len(server.exchanges) == 1)
            with pytest.raises(ProviderConnectionError, match="goodbye") as caught:
                await asked.complete(model, http.ask())
            assert caught.value.billed is False
            assert (await stream)[-1].completion.text == "Hello"
            assert (await asked.complete(model, http.ask())).completion.text == "Hello"
            assert len(server.connections) == 2
            await server.until(lambda: len(server.open) == 1)  # the first one was closed
            await asked.aclose()

    asyncio.run(main())


def test_a_goodbye_in_any_two_pieces_is_understood(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any
) -> None:
    frame = (15).to_bytes(3) + b"\x07\x00" + bytes(4) + (0).to_bytes(8) + b"so long"

    async def handler(exchange: Any) -> None:
        cut = exchange.number % len(frame)
        await exchange.connection.heard(frame[:cut])
        exchange.connection.raw(frame[cut:])

    async def main() -> None:
        asked = http2.completer(tls, breaker=None)
        async with http2.serve(handler, tls) as server:
            for _ in range(len(frame)):
                with pytest.raises(ProviderConnectionError, match="goodbye") as caught:
                    await asked.complete(server.model(), http.ask())
                assert caught.value.billed is False
            await asked.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(("code", "billed"), [(7, False), (2, None), (0xDEAD, None)])
def test_a_reset_stream_is_an_error_and_a_refused_one_is_known_unbilled(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any, code: int, billed: bool | None
) -> None:
    async def handler(exchange: Any) -> None:
        if exchange.number == 1:
            exchange.abort(code)
        else:
            await http2.answering(http)(exchange)

    async def main() -> None:
        asked = http2.completer(tls)
        async with http2.serve(handler, tls) as server:
            with pytest.raises(ProviderConnectionError, match="stream") as caught:
                await asked.complete(server.model(), http.ask())
            assert caught.value.billed is billed
            assert (await asked.complete(server.model(), http.ask())).completion.text == "Hello"
            assert len(server.connections) == 1
            await asked.aclose()

    asyncio.run(main())


def test_a_connection_that_breaks_fails_its_calls_and_the_next_one_gets_another(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any
) -> None:
    async def handler(exchange: Any) -> None:
        if exchange.number <= 2:
            if exchange.number == 2:
                exchange.connection.transport.abort()
            return
        await http2.answering(http)(exchange)

    async def main() -> None:
        asked = http2.completer(tls)
        async with http2.serve(handler, tls) as server:
            model = server.model()
            calls = [asked.complete(model, http.ask()), asked.complete(model, http.ask())]
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(outcome, ProviderConnectionError)
                assert outcome.billed is None
            assert (await asked.complete(model, http.ask())).completion.text == "Hello"
            await asked.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        (9).to_bytes(3) + b"\x00\x00" + (99).to_bytes(4) + b"unasked!!",  # DATA for no stream
        (5).to_bytes(3) + b"\x01\x04" + (1).to_bytes(4) + b"\xff\xff\xff\xff\xff",  # HEADERS
        b"\x00\x00\x00\x07\x00\x00\x00\x00\x00",  # a GOAWAY without its facts
    ],
)
def test_what_is_no_http2_ends_the_connection_and_not_the_program(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any, nonsense: bytes
) -> None:
    async def handler(exchange: Any) -> None:
        if exchange.number == 1:
            exchange.connection.raw(nonsense)
        else:
            await http2.answering(http)(exchange)

    async def main() -> None:
        asked = http2.completer(tls)
        async with http2.serve(handler, tls) as server:
            with pytest.raises(ProviderConnectionError):
                await asked.complete(server.model(), http.ask(), timeout=5.0)
            assert (await asked.complete(server.model(), http.ask())).completion.text == "Hello"
            await asked.aclose()

    asyncio.run(main())


def test_an_answer_before_the_request_was_read_is_taken(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any
) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.respond(413, {"error": {"message": "too large"}})

    async def main() -> None:
        asked = http2.completer(tls)
        async with http2.serve(handler, tls, stingy=True, early=True) as server:
            with pytest.raises(ProviderError) as caught:
                await asked.complete(server.model(), http.ask("x" * 200_000))
            assert caught.value.status == 413
            await server.exchanges[0].reset
            await asked.aclose()

    asyncio.run(main())


def test_a_connection_that_fell_silent_gets_no_further_call(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascadeflow.providers.http2._PATIENCE", 0.0)

    async def handler(exchange: Any) -> None:
        if len(exchange.server.connections) == 1 and exchange.number > 1:
            exchange.connection.deaf = True
        else:
            await http2.answering(http)(exchange)

    async def main() -> None:
        asked = http2.completer(tls, deadlines=Deadlines(first_byte=0.05))
        async with http2.serve(handler, tls) as server:
            model = server.model()
            await asked.complete(model, http.ask())
            with pytest.raises(ProviderTimeoutError):
                await asked.complete(model, http.ask())
            assert (await asked.complete(model, http.ask())).completion.text == "Hello"
            assert len(server.connections) == 2
            await asked.aclose()

    asyncio.run(main())


def test_a_connection_that_answers_a_ping_is_trusted_again(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascadeflow.providers.http2._PATIENCE", 0.0)

    async def handler(exchange: Any) -> None:
        if exchange.number == 2:
            await exchange.reset
        else:
            await http2.answering(http)(exchange)

    async def main() -> None:
        asked = http2.completer(tls, deadlines=Deadlines(first_byte=0.05))
        async with http2.serve(handler, tls) as server:
            model = server.model()
            await asked.complete(model, http.ask())
            with pytest.raises(ProviderTimeoutError):
                await asked.complete(model, http.ask())
            await server.until(lambda: server.connections[0].pings == 1)
            await server.connections[0].heard()  # so it has read the answer to its ping, too
            await asked.complete(model, http.ask())
            assert len(server.connections) == 1
            await asked.aclose()

    asyncio.run(main())


def test_an_idle_connection_is_not_used_after_its_time(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascadeflow.providers.transport.KEEPALIVE_SECONDS", 0.0)

    async def main() -> None:
        asked = http2.completer(tls)
        async with http2.serve(http2.answering(http), tls) as server:
            for _ in range(3):
                await asked.complete(server.model(), http.ask())
            assert len(server.connections) == 3
            await server.until(lambda: len(server.open) == 1)
            await asked.aclose()

    asyncio.run(main())
