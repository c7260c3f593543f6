"""The recording transport: what it writes down is what was sent and what came back."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.providers.protocols import HttpRequest
from cascadeflow.testing import (
    CannedResponse,
    Exchange,
    ManualClock,
    RecordingTransport,
    SimulatedModel,
    SimulatedProvider,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from pathlib import Path

    from cascadeflow.providers.protocols import HttpResponse, Transport

KEY = "sk-live-0123456789abcdef"


def request(body: bytes = b'{"model":"small"}', url: str = "https://a.example/v1") -> HttpRequest:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    return HttpRequest(method="POST", url=url, headers=headers, body=body)


async def read(transport: Transport, sent: HttpRequest) -> bytes:
    response = await transport.send(sent)
    try:
        return b"".join([chunk async for chunk in response.chunks()])
    finally:
        await response.aclose()


def test_it_is_a_transport() -> None:
    transport: Transport = RecordingTransport(responses=[])
    assert repr(transport) == "RecordingTransport(0 exchanges, 0 open)"


@pytest.mark.parametrize("sources", [{}, {"responses": [], "respond": lambda _: None}])
def test_exactly_one_source_is_needed(sources: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="exactly one"):
        RecordingTransport(**sources)


def test_canned_responses_come_in_order_and_are_written_down() -> None:
    async def scenario() -> None:
        transport = RecordingTransport(
            responses=[
                CannedResponse.json({"answer": "Zürich"}, headers={"X-Request-Id": "r1"}),
                CannedResponse(status=503, chunks=[b"over", b"loaded"]),
            ]
        )
        assert await read(transport, request()) == '{"answer":"Zürich"}'.encode()
        assert await read(transport, request(b"{}", url="https://b.example/")) == b"overloaded"
        first, second = transport.exchanges
        assert (first.index, first.method, first.url) == (0, "POST", "https://a.example/v1")
        assert first.request_json == {"model": "small"}
        assert first.headers == {"authorization": "***", "content-type": "application/json"}
        assert (first.status, first.outcome, first.error) == (200, "complete", None)
        assert first.response_headers == {"content-type": "application/json", "x-request-id": "r1"}
        assert first.response_json == {"answer": "Zürich"}
        assert (second.index, second.url, second.status) == (1, "https://b.example/", 503)
        assert second.chunks == (b"over", b"loaded")
        assert second.response_body == b"overloaded"

    asyncio.run(scenario())


def test_one_request_too_many_says_so_without_the_key() -> None:
    transport = RecordingTransport(responses=[])
    with pytest.raises(ConfigurationError, match="no canned response is left") as caught:
        asyncio.run(read(transport, request(url=f"https://a.example/v1?key={KEY}")))
    assert KEY not in str(caught.value)


def test_events_are_written_as_each_protocol_writes_them() -> None:
    canned = CannedResponse.events([{"type": "ping"}, {"id": 1}, "[DONE]"])
    assert canned.chunks == (
        b'event: ping\ndata: {"type":"ping"}\n\n',
        b'data: {"id":1}\n\n',
        b"data: [DONE]\n\n",
    )
    assert canned.headers == {"content-type": "text/event-stream"}


@pytest.mark.parametrize("later", [False, True])
def test_a_function_answers_from_what_it_is_sent(later: bool) -> None:
    async def slowly(sent: HttpRequest) -> CannedResponse:
        await asyncio.sleep(0)
        return CannedResponse(chunks=[sent.body])

    def at_once(sent: HttpRequest) -> CannedResponse:
        return CannedResponse(chunks=[sent.body])

    transport = RecordingTransport(respond=slowly if later else at_once)
    assert asyncio.run(read(transport, request(b"echo"))) == b"echo"


def test_an_exception_is_raised_and_written_down() -> None:
    transport = RecordingTransport(responses=[TimeoutError(f"no answer for {KEY}")])
    with pytest.raises(TimeoutError):
        asyncio.run(read(transport, request()))
    (exchange,) = transport.exchanges
    assert (exchange.status, exchange.outcome) == (None, "failed")
    assert exchange.error == ("TimeoutError", "no answer for ***")
    assert (exchange.responded, transport.open_exchanges) == (None, 0)


def test_a_body_that_breaks_off_is_written_down_as_far_as_it_came() -> None:
    canned = CannedResponse.events(["a", "b"], breaks_with=ConnectionResetError("gone"))
    transport = RecordingTransport(responses=[canned])
    with pytest.raises(ConnectionResetError):
        asyncio.run(read(transport, request()))
    (exchange,) = transport.exchanges
    assert exchange.chunks == (b"data: a\n\n", b"data: b\n\n")
    assert (exchange.status, exchange.outcome) == (200, "failed")
    assert exchange.error == ("ConnectionResetError", "gone")


def test_a_response_that_is_closed_early_is_told_from_one_that_is_left_open() -> None:
    async def scenario() -> None:
        transport = RecordingTransport(
            responses=[CannedResponse.events(["a", "b"]), CannedResponse.events(["c"])]
        )
        response = await transport.send(request())
        async with aclosing(as_generator(response.chunks())) as chunks:
            assert await anext(chunks) == b"data: a\n\n"
        assert transport.open_exchanges == 1
        await response.aclose()
        await response.aclose()
        (exchange,) = transport.exchanges
        assert (exchange.outcome, exchange.chunks) == ("closed_early", (b"data: a\n\n",))
        await transport.send(request())
        assert transport.open_exchanges == 1

    asyncio.run(scenario())


def test_a_cancelled_request_is_written_down() -> None:
    async def scenario() -> None:
        async def never(_sent: HttpRequest) -> CannedResponse:
            await asyncio.Event().wait()
            raise AssertionError

        transport = RecordingTransport(respond=never)
        task = asyncio.create_task(transport.send(request()))
        await asyncio.sleep(0)
        assert transport.open_exchanges == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [e.error for e in transport.exchanges] == [("CancelledError", "")]

    asyncio.run(scenario())


def test_exchanges_stand_in_the_order_they_were_sent_not_ended() -> None:
    async def scenario() -> None:
        transport = RecordingTransport(respond=lambda sent: CannedResponse(chunks=[sent.body]))
        first = await transport.send(request(b"first"))
        await read(transport, request(b"second"))
        assert [exchange.body for exchange in transport.exchanges] == [b"second"]
        assert [chunk async for chunk in first.chunks()] == [b"first"]
        assert [exchange.body for exchange in transport.exchanges] == [b"first", b"second"]

    asyncio.run(scenario())


def test_times_are_read_from_the_clock_it_is_given() -> None:
    async def scenario() -> None:
        clock = ManualClock()

        async def respond(_sent: HttpRequest) -> CannedResponse:
            clock.advance(0.3)
            return CannedResponse(chunks=[b"a"])

        transport = RecordingTransport(respond=respond, clock=clock)
        clock.advance(1)
        response = await transport.send(request())
        clock.advance(0.2)
        assert [chunk async for chunk in response.chunks()] == [b"a"]
        (exchange,) = transport.exchanges
        assert (exchange.started, exchange.responded, exchange.ended) == (1.0, 1.3, 1.5)

    asyncio.run(scenario())


def test_no_key_is_left_anywhere_in_a_record_or_its_file(tmp_path: Path) -> None:
    async def scenario() -> tuple[Exchange, ...]:
        half = len(KEY) // 2
        error = f'{{"error":"wrong key {KEY}"}}'.encode()
        at = error.index(KEY.encode()) + half
        canned = CannedResponse(
            status=401,
            headers={"X-Echo": KEY, "Set-Cookie": "id=1"},
            chunks=[error[:at], error[at:]],
        )
        transport = RecordingTransport(responses=[canned], secret_names=["x-tenant"])
        sent = HttpRequest(
            method="POST",
            url=f"https://a.example/v1?key={KEY}",
            headers={"X-Api-Key": KEY, "X-Tenant": "tenant-number-99"},
            body=f'{{"user":"tenant-number-99","note":"{KEY}"}}'.encode(),
        )
        # What the caller reads is untouched.
        assert KEY.encode() in await read(transport, sent)
        transport.save(tmp_path / "recording.jsonl")
        return transport.exchanges

    (exchange,) = asyncio.run(scenario())
    assert exchange.request_json == {"user": "***", "note": "***"}
    assert exchange.response_json == {"error": "wrong key ***"}
    everything = repr(exchange) + repr([getattr(exchange, name) for name in exchange.__slots__])
    for text in (everything, (tmp_path / "recording.jsonl").read_text()):
        assert KEY not in text
        assert "tenant-number-99" not in text


def test_a_file_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot write"):
        RecordingTransport(responses=[]).save(tmp_path / "no" / "such" / "folder.jsonl")


def test_what_cannot_send_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="transport must be"):
        RecordingTransport(object())


def test_it_records_over_a_client_too() -> None:
    httpx2 = pytest.importorskip("httpx2")

    async def scenario() -> None:
        async with (
            SimulatedProvider([SimulatedModel("small", answers={"Hi": "Hello."})]) as server,
            httpx2.AsyncClient() as client,
        ):
            transport = RecordingTransport(client)
            body = b'{"model":"small","stream":true,"messages":[{"role":"user","content":"Hi"}]}'
            await read(transport, request(body, url=f"{server.base_url}/chat/completions"))
            (exchange,) = transport.exchanges
            assert exchange.body == server.requests[0].body
            assert exchange.response_body.endswith(b"data: [DONE]\n\n")

    asyncio.run(scenario())


def test_it_records_a_real_exchange_over_another_transport() -> None:
    async def scenario() -> None:
        async with SimulatedProvider([SimulatedModel("small", answers={"Hi": "Hello."})]) as server:
            transport = RecordingTransport(StreamsTransport(server.port))
            url = f"{server.base_url}/chat/completions"
            body = b'{"model":"small","messages":[{"role":"user","content":"Hi"}]}'
            await read(transport, request(body, url=url))
            (exchange,) = transport.exchanges
            (seen,) = server.requests
            assert exchange.body == seen.body == body
            assert exchange.response_json["choices"][0]["message"]["content"] == "Hello."
            assert exchange.response_headers["x-request-id"] == seen.request_id

    asyncio.run(scenario())


class StreamsTransport:
    """The least that is a transport: one request, one connection."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def send(self, sent: HttpRequest) -> HttpResponse:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        path = "/" + sent.url.split("/", 3)[3]
        head = f"{sent.method} {path} HTTP/1.0\r\ncontent-length: {len(sent.body)}\r\n\r\n"
        writer.write(head.encode() + sent.body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:-2])
        return StreamsResponse(int(lines[0].split(" ")[1]), headers, reader, writer)


class StreamsResponse:
    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.status = status
        self.headers = headers
        self._reader = reader
        self._writer = writer

    async def chunks(self) -> AsyncIterator[bytes]:
        while data := await self._reader.read(100):
            yield data

    async def aclose(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def as_generator(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for chunk in chunks:
        yield chunk
