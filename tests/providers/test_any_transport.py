"""One contract, whatever sends: the default, a client of the user's, or an object with `send`."""

from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import CascadeAgent, CostTracker, Price
from cascadeflow.config import BreakerPolicy, Deadlines, RetryPolicy
from cascadeflow.errors import (
    CircuitOpenError,
    OverloadedError,
    ProviderConnectionError,
    ProviderTimeoutError,
)
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.providers.transport import HttpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import SimpleNamespace

    from cascadeflow.providers.protocols import HttpRequest

ONCE = RetryPolicy(attempts=1)


class RawResponse:
    """A response over a socket of its own, of which nothing is kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.status = 0
        self.headers: dict[str, str] = {}

    async def read_head(self) -> None:
        try:
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        except asyncio.IncompleteReadError:
            raise ConnectionError("no response") from None
        self.status = int(first.split(" ")[1])
        self.headers = {name.lower(): value for name, value in (x.split(": ") for x in lines)}

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            if "content-length" in self.headers:
                yield await self.reader.readexactly(int(self.headers["content-length"]))
                return
            while size := int(await self.reader.readline(), 16):
                yield await self.reader.readexactly(size)
                await self.reader.readline()
        except (asyncio.IncompleteReadError, ValueError):
            raise ConnectionError("cut off") from None

    async def aclose(self) -> None:
        self.writer.transport.abort()


class RawTransport:
    """An object with one method, which knows nothing of deadlines and compression."""

    async def send(self, request: HttpRequest) -> RawResponse:
        host, port = request.url.split("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        response = RawResponse(reader, writer)
        try:
            lines = [f"POST {request.url[request.url.index(port) + len(port) :]} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in request.headers.items()]
            lines += [f"content-length: {len(request.body)}", "", ""]
            writer.write("\r\n".join(lines).encode() + request.body)
            await response.read_head()
        except BaseException:
            await response.aclose()
            raise
        return response


def subclass(library: Any) -> Any:
    class Mine(library.AsyncClient):  # type: ignore[misc]
        pass

    return Mine()


class Wrapper:
    """A client alike, which inherits nothing and raises the errors of the one within."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def build_request(self, *args: Any, **kwargs: Any) -> Any:
        return self.client.build_request(*args, **kwargs)

    async def send(self, request: Any, *, stream: bool) -> Any:
        return await self.client.send(request, stream=stream)

    async def aclose(self) -> None:
        await self.client.aclose()


KINDS = ["default", "httpx2", "httpx", "subclass", "wrapper", "one method"]


def made(kind: str) -> Any:
    if kind == "default":
        return HttpTransport()
    if kind == "one method":
        return RawTransport()
    library = pytest.importorskip("httpx" if kind == "httpx" else "httpx2")
    if kind == "subclass":
        return subclass(library)
    return Wrapper(library.AsyncClient()) if kind == "wrapper" else library.AsyncClient()


async def close(transport: Any) -> None:
    if hasattr(transport, "aclose"):
        await transport.aclose()


async def events_of(stream: Any) -> list[Any]:
    async with aclosing(stream) as events:
        return [event async for event in events]


async def ask(asked: HttpCompleter, model: Any, request: Any, *, streamed: bool) -> Any:
    if streamed:
        return (await events_of(asked.stream(model, request)))[-1]
    return await asked.complete(model, request)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_calls_and_streams_are_answered(http: SimpleNamespace, kind: str) -> None:
    async def main() -> None:
        transport = made(kind)
        asked = HttpCompleter(transport=transport)
        async with http.serve(http.answer) as server:
            model = http.model(server, headers={"X-Team": "blue"})
            for _ in range(2):
                reply = await asked.complete(model, http.ask())
                assert reply.completion.text == "Hello"
                assert reply.completion.request_id is not None
                events = await events_of(asked.stream(model, http.ask()))
                assert events[-1].completion.text == "Hello"
            assert all(each.headers["x-team"] == "blue" for each in server.exchanges)
            await close(transport)
            await server.all_closed()

    before = http.open_files()
    asyncio.run(main())
    assert http.open_files() == before


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("began", [False, True])
def test_a_cancelled_call_closes_its_connection_and_leaves_nothing(
    http: SimpleNamespace, kind: str, *, streamed: bool, began: bool
) -> None:
    async def handler(exchange: Any) -> None:
        if began:
            await exchange.start_stream()
            await exchange.event(http.stream_chunks()[0])
        await exchange.until_closed()

    async def main() -> None:
        transport = made(kind)
        asked = HttpCompleter(transport=transport)
        async with http.serve(handler) as server:
            tasks = asyncio.all_tasks()
            model = http.model(server)
            for number, passes in enumerate((0, 10, 100), 1):
                task = asyncio.ensure_future(ask(asked, model, http.ask(), streamed=streamed))
                while len(server.exchanges) < number:  # noqa: ASYNC110 - until it has arrived
                    await asyncio.sleep(0)
                for _ in range(passes):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await server.all_closed()
            for _ in range(5):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() <= tasks
            await close(transport)

    before = http.open_files()
    asyncio.run(main())
    assert http.open_files() == before


def test_each_deadline_is_kept_and_closes_the_connection(http: SimpleNamespace, kind: str) -> None:
    async def handler(exchange: Any) -> None:
        if exchange.json.get("stream"):
            await exchange.start_stream()
            await exchange.event(http.stream_chunks()[0])
        await exchange.until_closed()

    async def main() -> None:
        transport = made(kind)
        async with http.serve(handler) as server:
            model = http.model(server)

            def asked(**deadlines: float) -> HttpCompleter:
                given = Deadlines(**deadlines)
                return HttpCompleter(transport=transport, retry=ONCE, deadlines=given)

            # Who has only `send` keeps the first two by itself; it gets both together at most.
            first = asked(connect=0.3, first_byte=0.05)
            with pytest.raises(ProviderTimeoutError, match=r"0\.3?5 s|0\.05 s") as caught:
                await first.complete(model, http.ask())
            assert caught.value.billed is None
            await server.all_closed()
            between = asked(between_chunks=0.05)
            with pytest.raises(ProviderTimeoutError, match=r"0\.05 s") as caught:
                await events_of(between.stream(model, http.ask()))
            assert caught.value.partial.text == "Hel"
            await server.all_closed()
            for streamed in (False, True):
                with pytest.raises(ProviderTimeoutError, match="call's deadline"):
                    await ask(asked(total=0.05), model, http.ask(), streamed=streamed)
                await server.all_closed()
            await close(transport)

    before = http.open_files()
    asyncio.run(main())
    assert http.open_files() == before


def test_what_breaks_may_have_been_billed_and_what_never_stood_was_not(
    http: SimpleNamespace, kind: str
) -> None:
    async def handler(exchange: Any) -> None:
        if exchange.number == 1:
            exchange.drop()
        elif exchange.number == 2:
            await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{")
            exchange.writer.close()
        else:
            await exchange.start_stream()
            await exchange.event(http.stream_chunks()[0])
            exchange.drop()

    async def main() -> None:
        transport = made(kind)
        asked = HttpCompleter(transport=transport, retry=ONCE)
        async with http.serve(handler) as server:
            model = http.model(server)
            for _ in range(2):
                with pytest.raises(ProviderConnectionError) as caught:
                    await asked.complete(model, http.ask())
                assert caught.value.billed is None
                assert caught.value.retryable
            with pytest.raises(ProviderConnectionError) as caught:
                await events_of(asked.stream(model, http.ask()))
            assert caught.value.billed is None
            assert caught.value.partial.text == "Hel"
        with pytest.raises(ProviderConnectionError) as caught:
            await asked.complete(model, http.ask())
        assert caught.value.billed is False
        assert "sk-test-key" not in f"{caught.value}{caught.value.__context__}"
        await close(transport)

    before = http.open_files()
    asyncio.run(main())
    assert http.open_files() == before


def test_a_flood_of_zeros_is_unpacked_in_pieces_and_broken_off(
    http: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascadeflow.providers.client.MOST_BODY_BYTES", 3 * 1024 * 1024)
    data = gzip.compress(bytes(200 * 1024 * 1024), compresslevel=1)

    async def handler(exchange: Any) -> None:
        await exchange.respond(200, data, {"content-encoding": "gzip"})

    async def main() -> None:
        asked = HttpCompleter(retry=ONCE)
        async with http.serve(handler) as server:
            with pytest.raises(Exception, match="3 MiB"):
                await asked.complete(http.model(server), http.ask())
            await asked.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("coding", ["br", "deflate"])
def test_what_is_compressed_unasked_is_said(http: SimpleNamespace, coding: str) -> None:
    async def handler(exchange: Any) -> None:
        await exchange.respond(200, b"\x1b\x03", {"content-encoding": coding})

    async def main() -> None:
        asked = HttpCompleter(retry=ONCE)
        async with http.serve(handler) as server:
            with pytest.raises(ProviderConnectionError, match=f"'{coding}', unasked"):
                await asked.complete(http.model(server), http.ask())
            await asked.aclose()

    asyncio.run(main())


def test_several_gzip_members_are_one_answer(http: SimpleNamespace) -> None:
    data = json.dumps(http.ANSWER).encode()

    async def handler(exchange: Any) -> None:
        packed = gzip.compress(data[:9]) + gzip.compress(data[9:])
        await exchange.respond(200, packed, {"content-encoding": "gzip"})

    async def main() -> None:
        asked = HttpCompleter()
        async with http.serve(handler) as server:
            reply = await asked.complete(http.model(server), http.ask())
            assert reply.completion.text == "Hello"
            await asked.aclose()

    asyncio.run(main())


# Errors of nobody's


class OddError(Exception):
    """Nothing that the contract knows."""


class Odd:
    """A transport that raises something of its own, at a place of the test's choosing."""

    def __init__(self, place: str, transport: Any) -> None:
        self.place = place
        self.transport = transport
        self.closed = 0

    async def send(self, request: HttpRequest) -> Any:
        if self.place == "send":
            raise OddError("mine")
        response = await self.transport.send(request)
        outer = self

        class Response:
            status = response.status
            headers = response.headers

            async def chunks(self) -> AsyncIterator[bytes]:
                async with aclosing(response.chunks()) as pieces:
                    async for piece in pieces:
                        yield piece
                        raise OddError("mine")

            async def aclose(self) -> None:
                outer.closed += 1
                await response.aclose()

        return Response()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("place", ["send", "chunks"])
def test_a_foreign_error_is_raised_as_it_is_once_and_everything_is_closed(
    http: SimpleNamespace, place: str, *, streamed: bool
) -> None:
    async def main() -> None:
        inner = HttpTransport()
        odd = Odd(place, inner)
        asked = HttpCompleter(transport=odd, breaker=BreakerPolicy(failures=1, window=1))
        async with http.serve(http.answer) as server:
            tasks = asyncio.all_tasks()
            model = http.model(server)
            for _ in range(3):
                with pytest.raises(OddError, match="mine"):
                    await ask(asked, model, http.ask(), streamed=streamed)
            assert len(server.exchanges) == (0 if place == "send" else 3)  # never repeated
            assert odd.closed == len(server.exchanges)
            await server.all_closed()
            assert asked.breakers()["openai:m"].failures == 0  # it says nothing of the provider
            assert asyncio.all_tasks() <= tasks
            await inner.aclose()

    before = http.open_files()
    asyncio.run(main())
    assert http.open_files() == before


def test_a_probe_that_ends_in_a_foreign_error_gives_its_place_back(http: SimpleNamespace) -> None:
    async def handler(exchange: Any) -> None:
        if exchange.number == 1:
            await exchange.respond(503, {"error": {"message": "no"}})
        else:
            await http.answer(exchange)

    async def main() -> None:
        inner = HttpTransport()
        odd = Odd("", inner)
        policy = BreakerPolicy(failures=1, window=1, cooldown=0.001)
        asked = HttpCompleter(transport=odd, breaker=policy, retry=ONCE)
        odd.send = inner.send  # type: ignore[method-assign] # behaves at first
        async with http.serve(handler) as server:
            model = http.model(server)
            with pytest.raises(OverloadedError):
                await asked.complete(model, http.ask())
            while asked.breakers()["openai:m"].retry_after:  # noqa: ASYNC110 - a millisecond
                await asyncio.sleep(0)
            del odd.send
            odd.place = "send"
            for _ in range(3):  # each is a probe, and each gives its place back
                with pytest.raises(OddError):
                    await asked.complete(model, http.ask())
            odd.send = inner.send  # type: ignore[method-assign]
            await asked.complete(model, http.ask())
            await inner.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("place", ["send", "chunks"])
def test_a_foreign_error_leaves_no_money_held(http: SimpleNamespace, place: str) -> None:
    async def main() -> None:
        inner = HttpTransport()
        tracker = CostTracker(global_budget=1, enforcement_mode="block")
        async with http.serve(http.answer) as server:
            model = http.model(server, price=Price(input=1, output=2))
            agent = CascadeAgent(models=[model], transport=Odd(place, inner), cost_tracker=tracker)
            with pytest.raises(OddError):
                await agent.run("Hi", user_id="u1", max_tokens=100)
            (account,) = tracker.accounts("global")
            assert account.held == 0
            assert account.spent > 0  # it may have been billed: nobody can say that it was not
            await agent.aclose()
            await inner.aclose()

    asyncio.run(main())


def test_an_open_circuit_passes_a_cascade_on_to_the_next_model(http: SimpleNamespace) -> None:
    async def handler(exchange: Any) -> None:
        if exchange.json["model"] == "draft":
            await exchange.respond(503, {"error": {"message": "no"}})
        else:
            await http.answer(exchange)

    async def main() -> None:
        async with http.serve(handler) as server:
            prices = {"draft": Price(input=1, output=1), "verifier": Price(input=9, output=9)}
            models = [
                ModelConfig(name, "openai", api_key="k" * 9, base_url=server.url, price=price)
                for name, price in prices.items()
            ]
            agent = CascadeAgent(models=models, retry=ONCE)
            for number in range(14):
                result = await agent.run(f"What is the capital of country {number}?")
                assert result.content == "Hello"
            asked = [exchange.json["model"] for exchange in server.exchanges]
            assert asked.count("draft") == 10
            assert asked.count("verifier") == 14
            await agent.aclose()

    asyncio.run(main())
    assert issubclass(CircuitOpenError, OverloadedError)
