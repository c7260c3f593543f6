"""HTTP/2: many calls over one connection, each ended without harm to the others."""

from __future__ import annotations

import asyncio
import gc
import json
import warnings
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.config import Deadlines
from cascadeflow.errors import ProviderConnectionError, ProviderTimeoutError

if TYPE_CHECKING:
    from types import SimpleNamespace

# What goes well


def test_calls_and_streams_go_over_one_connection(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any
) -> None:
    async def main() -> None:
        asked = http2.completer(tls)
        async with http2.serve(http2.answering(http), tls) as server:
            tasks = asyncio.all_tasks()
            for number in (1, 3, 5):
                reply = await asked.complete(server.model(), http.ask(temperature=0.0))
                assert reply.completion.text == "Hello"
                assert reply.completion.usage.input_tokens == 3
                assert reply.completion.request_id == f"r{number}"
                assert reply.attempts[0].request_id == f"r{number}"
                events = await http2.events_of(asked.stream(server.model(), http.ask()))
                assert events[-1].completion.text == "Hello"
            assert len(server.connections) == 1
            sent = server.exchanges[0]
            assert sent.headers[":path"] == "/v1/chat/completions"
            assert sent.headers[":authority"] == f"localhost:{server.port}"
            assert sent.headers["authorization"] == "Bearer sk-test-key-0123456789"
            assert sent.headers["user-agent"].startswith("cascadeflow/")
            assert "host" not in sent.headers
            assert int(sent.headers["content-length"]) == len(sent.body)
            await asked.aclose()
            await server.until(lambda: not server.open)
            assert asyncio.all_tasks() <= tasks

    before = http.open_files()
    asyncio.run(main())
    assert http.open_files() == before


@pytest.mark.parametrize("streams", [3, 100, 1_000])
def test_as_many_calls_share_a_connection_as_the_server_allows_and_the_rest_open_more(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any, streams: int
) -> None:
    calls = 2 * min(streams, 100) + 2

    async def main() -> None:
        everyone = asyncio.Event()

        async def together(exchange: Any) -> None:
            if len(server.exchanges) == calls:
                everyone.set()
            await everyone.wait()
            await exchange.respond(200, http.ANSWER)

        asked = http2.completer(tls)
        async with http2.serve(together, tls, streams=streams) as server:
            model = server.model()
            replies = [asked.complete(model, http.ask()) for _ in range(calls)]
            assert len(await asyncio.gather(*replies)) == calls
            assert len(server.connections) == 3
            assert server.busiest == min(streams, 100)
            everyone.set()
            await asked.complete(model, http.ask())
            assert len(server.connections) == 3
            await asked.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("size", [100_000, 3_000_000])
def test_a_request_larger_than_the_server_s_window_arrives_whole(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any, size: int
) -> None:
    async def main() -> None:
        asked = http2.completer(tls)
        async with http2.serve(http2.answering(http), tls, window=1_000) as server:
            model = server.model()
            small = asyncio.create_task(asked.complete(model, http.ask()))
            await asked.complete(model, http.ask("x" * size))
            await small
            assert max(len(each.body) for each in server.exchanges) > size
            await asked.aclose()

    asyncio.run(main())


def test_a_response_larger_than_our_window_is_read_and_a_slow_reader_holds_up_nobody(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any
) -> None:
    flood = 40 * 1024 * 1024  # more than the connection's window, and much more than the stream's

    async def handler(exchange: Any) -> None:
        if not exchange.json.get("stream"):
            text = "y" * 3_000_000
            await exchange.respond(200, {"choices": [{"message": {"content": text}}]})
            return
        exchange.head()
        sent = 0
        while sent < flood:
            await exchange.event({"choices": [{"index": 0, "delta": {"content": "z" * 100_000}}]})
            sent += 100_000

    async def main() -> None:
        asked = http2.completer(tls)
        async with http2.serve(handler, tls) as server:
            model = server.model()
            slow = [asked.stream(model, http.ask()) for _ in range(20)]
            for stream in slow:
                await anext(stream)
            reply = await asked.complete(model, http.ask())
            assert len(reply.completion.text) == 3_000_000
            assert len(server.connections) == 1
            for stream in slow:
                await stream.aclose()
            await asked.aclose()

    asyncio.run(main())


def test_a_compressed_answer_is_read(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any
) -> None:
    import gzip  # noqa: PLC0415

    data = gzip.compress(json.dumps(http.ANSWER).encode())

    async def handler(exchange: Any) -> None:
        assert exchange.headers["accept-encoding"] == "gzip"
        body = data if exchange.number == 1 else data[:-9]
        await exchange.respond(200, body, {"content-encoding": "gzip"})

    async def main() -> None:
        asked = http2.completer(tls)
        async with http2.serve(handler, tls) as server:
            assert (await asked.complete(server.model(), http.ask())).completion.text == "Hello"
            with pytest.raises(ProviderConnectionError, match="compressed"):
                await asked.complete(server.model(), http.ask())
            await asked.aclose()

    asyncio.run(main())


# Calls that are let go


@pytest.mark.parametrize("handler", ["sing", "be_silent"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_call_resets_its_stream_and_harms_no_other(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any, handler: str, *, streamed: bool
) -> None:
    async def either(exchange: Any) -> None:
        if exchange.json.get("temperature") is None:
            await getattr(http2, handler)(exchange)
        else:
            await http2.answering(http)(exchange)

    async def main() -> None:
        asked = http2.completer(tls)
        async with http2.serve(either, tls) as server:
            model = server.model()
            await asked.complete(model, http.ask(temperature=0.0))
            tasks = asyncio.all_tasks()

            async def call() -> None:
                if not streamed:
                    await asked.complete(model, http.ask())
                    return
                await http2.events_of(asked.stream(model, http.ask()))

            for number, passes in enumerate((0, 1, 4, 16, 64, 256), 2):
                task = asyncio.create_task(call())
                await server.until(lambda number=number: len(server.exchanges) == number)
                for _ in range(passes):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await server.exchanges[-1].reset == 8  # CANCEL
            assert asyncio.all_tasks() <= tasks | set().union(
                *(connection.tasks for connection in server.connections)
            )
            reply = await asked.complete(model, http.ask(temperature=0.0))
            assert reply.completion.text == "Hello"
            assert len(server.connections) == 1
            await asked.aclose()

    asyncio.run(main())


def test_a_connection_outlives_any_number_of_streams_that_are_let_go(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any
) -> None:
    async def main() -> None:
        asked = http2.completer(tls)
        async with http2.serve(http2.sing, tls, streams=20) as server:
            for _ in range(150):
                async with aclosing(asked.stream(server.model(), http.ask())) as events:
                    await anext(events)
            assert len(server.connections) == 1
            await server.until(lambda: server.connections[0].h2.open_inbound_streams == 0)
            await asked.aclose()

    asyncio.run(main())


def test_half_of_many_calls_are_cancelled_at_any_moment_and_the_other_half_is_answered(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any
) -> None:
    import random  # noqa: PLC0415

    drawn = random.Random(3)

    async def main() -> None:
        asked = http2.completer(tls)
        async with http2.serve(http2.answering(http), tls) as server:
            model = server.model()

            async def call(passes: int | None) -> str:
                task = asyncio.create_task(asked.complete(model, http.ask("x" * 3_000)))
                if passes is not None:
                    for _ in range(passes):
                        await asyncio.sleep(0)
                    task.cancel()
                try:
                    return str((await task).completion.text)
                except asyncio.CancelledError:
                    return "cancelled"

            for _ in range(10):
                passes = [drawn.randrange(40) if n % 2 else None for n in range(20)]
                said = await asyncio.gather(*map(call, passes))
                assert all(text == "Hello" for text in said[::2])
            assert len(server.connections) == 1
            await asked.aclose()

    asyncio.run(main())


# Deadlines


def test_each_deadline_is_kept(http: SimpleNamespace, http2: SimpleNamespace, tls: Any) -> None:
    async def one_piece(exchange: Any) -> None:
        if exchange.json.get("stream"):
            exchange.head()
            await exchange.event(http.stream_chunks()[0])
        await exchange.reset

    async def main() -> None:
        async with http2.serve(one_piece, tls) as server:
            model = server.model()
            asked = http2.completer(tls, deadlines=Deadlines(first_byte=0.05))
            with pytest.raises(ProviderTimeoutError, match=r"first byte within 0\.05 s") as caught:
                await asked.complete(model, http.ask())
            assert caught.value.billed is None
            assert await server.exchanges[-1].reset == 8
            await asked.aclose()

            asked = http2.completer(tls, deadlines=Deadlines(between_chunks=0.05))
            with pytest.raises(ProviderTimeoutError, match=r"0\.05 s") as caught:
                await http2.events_of(asked.stream(model, http.ask()))
            assert caught.value.partial.text == "Hel"
            assert await server.exchanges[-1].reset == 8

            with pytest.raises(ProviderTimeoutError, match="deadline") as caught:
                await asked.complete(model, http.ask(), timeout=0.04)
            assert await server.exchanges[-1].reset == 8
            assert len(server.connections) == 2
            await asked.aclose()

    asyncio.run(main())


def test_a_server_that_takes_no_more_of_a_request_is_a_time_out(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any
) -> None:
    async def main() -> None:
        asked = http2.completer(tls, deadlines=Deadlines(first_byte=0.05))
        async with http2.serve(http2.be_silent, tls, stingy=True) as server:
            with pytest.raises(ProviderTimeoutError, match="first byte"):
                await asked.complete(server.model(), http.ask("x" * 200_000))
            assert len(server.exchanges[0].body) == 65_535
            await asked.aclose()

    asyncio.run(main())


def test_a_handshake_that_never_ends_is_a_time_out_that_was_not_billed(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any
) -> None:
    async def main() -> None:
        waiting: list[asyncio.StreamWriter] = []

        async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            waiting.append(writer)

        listening = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        tasks = asyncio.all_tasks()
        model = http2.Http2Server(port=port).model()
        asked = http2.completer(tls, deadlines=Deadlines(connect=0.05))
        with pytest.raises(ProviderTimeoutError, match="no connection within") as caught:
            await asked.complete(model, http.ask())
        assert caught.value.billed is False
        await asyncio.sleep(0)
        assert asyncio.all_tasks() <= tasks
        await asked.aclose()
        for writer in waiting:
            writer.transport.abort()
        listening.close()

    before = http.open_files()
    asyncio.run(main())
    assert http.open_files() == before


def test_a_loop_that_ends_takes_its_connections_along(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any
) -> None:
    """No `aclose`, and still no file, no loop and no warning is left behind."""
    asked = http2.completer(tls)

    async def main() -> None:
        async with http2.serve(http2.answering(http), tls) as server:
            await asked.complete(server.model(), http.ask())

    before = http.open_files()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            asyncio.run(main())
        gc.collect()
    assert http.open_files() == before
