"""Where a response ends: as h11 sees it, however the bytes are cut and whatever comes behind."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.config import RetryPolicy
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.providers.framing import Framing

if TYPE_CHECKING:
    from types import SimpleNamespace


def chunked(body: bytes, sizes: list[int], *, trailer: bytes, extension: bytes) -> bytes:
    pieces = []
    for size in sizes:
        piece, body = body[:size], body[size:]
        if piece:
            pieces.append(b"%X%s\r\n%s\r\n" % (len(piece), extension, piece))
    if body:
        pieces.append(b"%x\r\n%s\r\n" % (len(body), body))
    return b"".join(pieces) + b"0\r\n" + trailer + b"\r\n"


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    body = draw(st.binary(max_size=60)) + draw(st.sampled_from([b"", b"\r\n\r\n", b"0\r\n\r\n"]))
    head = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    head += b"HTTP/1.1 200 OK\r\nX-A: b\r\n"
    if draw(st.booleans()):
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    sizes = draw(st.lists(st.integers(1, 20), max_size=5))
    trailer = draw(st.sampled_from([b"", b"x-t: 1\r\n"]))
    extension = draw(st.sampled_from([b"", b";a=b"]))
    rest = chunked(body, sizes, trailer=trailer, extension=extension)
    return head + b"transfer-encoding: chunked\r\n\r\n" + rest


def left_over(data: bytes) -> bytes | None:
    """What h11 has left when the response has ended; `None` while it has not."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            return None
        if isinstance(event, h11.EndOfMessage):
            return bytes(connection.trailing_data[0])


@given(
    response=responses(),
    behind=st.sampled_from([b"", b"", b"x", b"\r\n", b"HTTP/1.1 500 No\r\n\r\n"]),
    missing=st.integers(0, 3),
    data=st.data(),
)
def test_it_sees_the_end_where_h11_sees_it(
    response: bytes, behind: bytes, missing: int, data: st.DataObject
) -> None:
    sent = response + behind
    sent = sent[: len(sent) - missing]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    framing = Framing()
    for start, end in pairwise([0, *cuts, len(sent)]):
        framing.feed(sent[start:end])
    assert framing.clean == (left_over(sent) == b"")


@given(st.binary(max_size=200), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n"]))
def test_bytes_of_any_kind_raise_nothing(data: bytes, head: bytes) -> None:
    framing = Framing()
    framing.feed(head + data)
    framing.feed(b"\r\n\r\n" + data)


@pytest.mark.parametrize("streamed", [False, True])
def test_what_comes_behind_a_response_is_not_the_answer_to_the_next_request(
    http: SimpleNamespace, *, streamed: bool
) -> None:
    async def handler(exchange: Any) -> None:
        await http.answer(exchange)
        if exchange.number < 4:
            await exchange.raw(b"HTTP/1.1 500 Sorry\r\ncontent-length: 2\r\n\r\nno")

    async def main() -> None:
        asked = HttpCompleter(retry=RetryPolicy(attempts=1))
        async with http.serve(handler) as server:
            for _ in range(5):
                if streamed:
                    stream = asked.stream(http.model(server), http.ask())
                    events: list[Any] = [event async for event in stream]
                    assert events[-1].completion.text == "Hello"
                else:
                    reply = await asked.complete(http.model(server), http.ask())
                    assert reply.completion.text == "Hello"
            assert server.connections == 4  # the last two calls shared one
            await asked.aclose()

    asyncio.run(main())


def test_a_connection_that_the_server_closed_is_not_used_again(http: SimpleNamespace) -> None:
    async def handler(exchange: Any) -> None:
        await http.answer(exchange)
        exchange.writer.close()

    async def main() -> None:
        asked = HttpCompleter(retry=RetryPolicy(attempts=1))
        async with http.serve(handler) as server:
            for _ in range(20):
                reply = await asked.complete(http.model(server), http.ask())
                assert reply.completion.text == "Hello"
            assert server.connections == 20
            await asked.aclose()

    asyncio.run(main())
