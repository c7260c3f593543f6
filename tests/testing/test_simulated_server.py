"""The simulated provider as a server: strict, patient with the slow, and gone when it is closed."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.models.prices import Price
from cascadeflow.testing import (
    ManualClock,
    SimulatedModel,
    SimulatedProvider,
    SimulatedRequest,
    SimulatedStats,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import RawClient, Wire

SMALL = SimulatedModel("small", answers={"Hi": "Hello."})


def serve(
    body: Callable[[SimulatedProvider], Awaitable[None]], *models: SimulatedModel, **more: Any
) -> None:
    """Runs a scenario against a provider, and sees to it that nothing of it is left."""

    async def scenario() -> None:
        async with SimulatedProvider(models or (SMALL,), **more) as server:
            await body(server)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert server.stats.open_connections == 0
        assert server.stats.in_progress == 0

    asyncio.run(scenario())


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop run until something has happened; the test's timeout is the limit."""
    while not condition():  # noqa: ASYNC110 - what it waits for is not ours to signal
        await asyncio.sleep(0)


def test_one_connection_carries_many_requests(wire: Wire) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        requests = [wire.openai("small", "Hi"), wire.anthropic("small", "Hi")] * 20
        responses = await wire.ask(server.port, *requests)
        assert [response.status for response in responses] == [200] * 40
        assert server.stats.connections == 1

    serve(scenario)


def test_requests_that_come_at_once_are_answered_in_their_order(wire: Wire) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        async with await wire.connect(server.port) as client:
            questions = [f"Question {n}" for n in range(50)]
            await client.send(b"".join(wire.openai("small", each) for each in questions))
            for _ in questions:
                assert (await client.read_response()).status == 200
        assert [request.question for request in server.requests] == questions

    serve(scenario, SimulatedModel("small", latency=0.1), clock=ManualClock(autojump=True))


def test_a_client_that_sends_ahead_without_end_is_made_to_wait(wire: Wire) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        async with await wire.connect(server.port) as client:
            request = wire.openai("small", "x" * 50_000)
            sending = asyncio.create_task(client.send(*[request] * 300))
            await until(lambda: server.stats.in_progress == 1)
            for _ in range(200):
                await asyncio.sleep(0)
            assert not sending.done()
            clock.advance(1)
            await until(lambda: server.stats.requests > 1)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    clock = ManualClock()
    serve(scenario, SimulatedModel("small", latency=1), clock=clock)


@pytest.mark.parametrize("size", [1, 7])
def test_a_request_may_come_in_small_pieces(wire: Wire, size: int) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        async with await wire.connect(server.port) as client:
            data = wire.openai("small", "Hi")
            await client.send(*(data[at : at + size] for at in range(0, len(data), size)))
            assert (await client.read_response()).status == 200

    serve(scenario)


def test_a_body_may_come_in_chunks(wire: Wire) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        body = wire.openai("small", "Hi").partition(b"\r\n\r\n")[2]
        head = (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(body[i : i + 9]), body[i : i + 9])
                          for i in range(0, len(body), 9))  # fmt: skip
        (response,) = await wire.ask(server.port, head + chunks + b"0\r\n\r\n")
        assert response.json["choices"][0]["message"]["content"] == "Hello."
        assert server.requests[0].body == body

    serve(scenario)


def test_a_client_that_waits_to_be_told_is_told_to_continue(wire: Wire) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        head, _, body = wire.openai("small", "Hi").partition(b"\r\n\r\n")
        async with await wire.connect(server.port) as client:
            await client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(body)
            assert (await client.read_response()).status == 200

    serve(scenario)


@pytest.mark.parametrize("stream", [False, True])
def test_http_1_0_is_answered_without_chunks_and_closed(wire: Wire, stream: bool) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        request = wire.openai("small", "Hi", stream=stream).replace(b"HTTP/1.1", b"HTTP/1.0")
        async with await wire.connect(server.port) as client:
            await client.send(request)
            response = await client.read_response()
            assert "transfer-encoding" not in response.headers
            assert response.headers["connection"] == "close"
            if stream:
                assert response.events[-1] == (None, "[DONE]")
            assert await client.reader.read() == b""

    serve(scenario)


def test_the_connection_is_closed_when_the_client_asks_for_it(wire: Wire) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        request = wire.openai("small", "Hi").replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        async with await wire.connect(server.port) as client:
            await client.send(request + wire.openai("small", "Not answered"))
            assert (await client.read_response()).headers["connection"] == "close"
            assert await client.reader.read() == b""
        assert server.stats.requests == 1

    serve(scenario)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n" + b"a" * 500_000, 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", 413),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000, 431),
    ],
)
def test_what_is_no_request_is_answered_once_and_closed(
    wire: Wire, data: bytes, status: int
) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        async with await wire.connect(server.port) as client:
            await client.send(data)
            response = await client.read_response()
            assert response.status == status
            assert response.headers["connection"] == "close"
            assert response.json["error"]["message"]
            assert await client.reader.read() == b""
        assert server.stats.faults == 1
        assert server.requests == ()

    serve(scenario, max_body=1000)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/embeddings", 404),
        ("GET", "/", 404),
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/v1/messages", 405),
        ("POST", "/v1/models", 405),
    ],
)
def test_what_is_not_there_is_said_to_be_not_there(
    wire: Wire, method: str, path: str, status: int
) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        refused, served = await wire.ask(
            server.port, wire.request(path, {}, method=method), wire.openai("small", "Hi")
        )
        assert refused.status == status
        assert ("allow" in refused.headers) is (status == 405)
        assert served.status == 200

    serve(scenario)


def test_a_head_request_gets_a_head(wire: Wire) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        async with await wire.connect(server.port) as client:
            await client.send(b"HEAD /v1/models HTTP/1.1\r\nhost: a\r\n\r\n")
            assert (await client.read_head())[0] == 405
            await client.send(wire.openai("small", "Hi"))
            assert (await client.read_response()).status == 200

    serve(scenario)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_ends_what_was_being_made_for_it(wire: Wire, stream: bool) -> None:
    clock = ManualClock()

    async def scenario(server: SimulatedProvider) -> None:
        client = await wire.connect(server.port)
        await client.send(wire.openai("small", "Hi", stream=stream))
        await until(lambda: clock.sleepers == 1)
        await clock.run_for(1.05)
        if stream:
            await client.read_head()
        await client.close()
        await until(lambda: server.stats.in_progress == 0)
        assert clock.sleepers == 0
        (seen,) = server.requests
        assert (seen.outcome, seen.status) == ("cancelled", 200 if stream else None)
        assert server.stats.by_outcome == {"cancelled": 1}
        assert server.stats.by_status == ({200: 1} if stream else {})

    model = SimulatedModel("small", latency=1, tokens_per_second=10, output_tokens=100)
    serve(scenario, model, clock=clock)


def test_a_client_that_resets_its_connection_right_after_its_request_is_noticed() -> None:
    async def scenario(server: SimulatedProvider) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            content = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
            body = json.dumps(content).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}"
            client.sendall(head.encode() + b"\r\n\r\n" + body)
            # Closing with linger 0 resets the connection.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await until(lambda: server.stats.connections == 1 and not server.stats.open_connections)
        await until(lambda: server.stats.in_progress == 0)
        assert all(request.outcome == "cancelled" for request in server.requests)
        assert clock.sleepers == 0

    clock = ManualClock()
    serve(scenario, SimulatedModel("small", latency=1), clock=clock)


def test_a_client_that_asks_on_and_never_reads_is_made_to_wait(wire: Wire) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        async with await wire.connect(server.port) as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            request = wire.openai("small", "Hi")
            sending = asyncio.create_task(client.send(*[request] * 1000))
            served = -1
            while server.stats.requests > served:
                served = server.stats.requests
                for _ in range(100):
                    await asyncio.sleep(0)
            # The answers of 400,000 characters each fill every buffer on the way.
            assert 0 < served < 1000
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(1000):
                assert (await client.read_response()).status == 200
            await sending

    serve(scenario, SimulatedModel("small", output_tokens=100_000))


def test_a_client_that_reads_slowly_slows_its_stream_and_loses_nothing(wire: Wire) -> None:
    # Larger than any socket's buffers, so that the server has to wait for the client.
    model = SimulatedModel(
        "small", tokens_per_second=1e6, tokens_per_chunk=50_000, output_tokens=5_000_000
    )
    clock = ManualClock()

    async def scenario(server: SimulatedProvider) -> None:
        async with await wire.connect(server.port) as client:
            await client.send(wire.openai("small", "Hi", stream=True))
            await until(lambda: clock.sleepers == 1)
            await clock.run_for(10)
            # All of it is due by now, and it is still not all sent.
            assert server.stats.in_progress == 1
            response = await client.read_response()
            (seen,) = server.requests
            deltas = [json.loads(data)["choices"][0]["delta"] for _, data in response.events[:-1]]
            assert "".join(delta.get("content", "") for delta in deltas) == seen.text
            assert seen.outcome == "complete"

    serve(scenario, model, clock=clock)


def test_closing_ends_every_connection_stream_and_wait(wire: Wire) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        model = SimulatedModel("small", latency=1, tokens_per_second=1)
        async with SimulatedProvider([model], clock=clock) as server:
            clients: list[RawClient] = [await wire.connect(server.port) for _ in range(20)]
            for number, client in enumerate(clients[:15]):
                await client.send(wire.openai("small", f"Hi {number}", stream=True))
            await until(lambda: clock.sleepers == 15)
            await clock.run_for(2.5)
            port = server.port
        assert clock.sleepers == 0
        assert server.stats.by_outcome == {"cancelled": 15}
        assert server.stats.open_connections == 0
        for client in clients:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await client.reader.readuntil(b"never")
            client.writer.close()
        with pytest.raises(OSError, match=r"refused|Connect"):
            await wire.connect(port)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


def test_it_can_be_entered_again_and_counts_on() -> None:
    async def scenario() -> None:
        server = SimulatedProvider([SMALL])
        for _ in range(2):
            async with server:
                with pytest.raises(ConfigurationError, match="running already"):
                    await server.__aenter__()
            with pytest.raises(ConfigurationError, match="not running"):
                _ = server.base_url

    asyncio.run(scenario())


def test_a_port_that_is_taken_is_a_store_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = SimulatedProvider([SMALL], port=taken.getsockname()[1])
        with pytest.raises(StoreError, match="cannot listen"), server.start_in_thread():
            pass


def test_a_thousand_streams_at_once_all_finish(wire: Wire) -> None:
    clock = ManualClock(autojump=True)
    model = SimulatedModel(
        "small", latency=0.3, tokens_per_second=50, tokens_per_chunk=4, output_tokens=40
    )

    async def stream(server: SimulatedProvider, number: int) -> None:
        async with await wire.connect(server.port) as client:
            await client.send(wire.openai("small", f"Question {number}", stream=True))
            response = await client.read_response()
            assert response.events[-1] == (None, "[DONE]")

    async def scenario(server: SimulatedProvider) -> None:
        await asyncio.gather(*(stream(server, number) for number in range(1000)))
        stats = server.stats
        assert stats.by_outcome == {"complete": 1000}
        assert stats.output_tokens == 40_000
        assert {request.question for request in server.requests} == {
            f"Question {number}" for number in range(1000)
        }

    serve(scenario, model, clock=clock)


def test_what_is_kept_of_requests_is_bounded_and_the_counts_are_not(wire: Wire) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        await wire.ask(server.port, *(wire.openai("small", f"{n}") for n in range(5)))
        assert [request.question for request in server.requests] == ["3", "4"]
        assert server.stats.requests == 5

    serve(scenario, keep_requests=2)


def test_stats_add_everything_up(wire: Wire) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        requests = [wire.openai("small", "Hi"), wire.anthropic("wrong", "Hi"),
                    wire.openai("wrong", "Unknown"), wire.openai("other", "Hi")]  # fmt: skip
        await wire.ask(server.port, *requests)
        assert server.stats == SimulatedStats(
            requests=4,
            in_progress=0,
            by_status={200: 3, 404: 1},
            by_outcome={"complete": 4},
            by_model={"small": 1, "wrong": 2},
            right=1,
            wrong=1,
            prompt_tokens=8 + 8 + 9,
            output_tokens=2 + 2 + 32,
            connections=1,
            open_connections=server.stats.open_connections,
            faults=0,
        )

    serve(scenario, SMALL, SimulatedModel("wrong", skill=0, answers={"Hi": "Hello."}))


def test_no_key_is_left_in_what_is_kept(wire: Wire) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        headers = ["authorization: Bearer sk-very-secret", "x-trace: abc"]
        content = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
        await wire.ask(server.port, wire.request("/v1/chat/completions", content, headers=headers))
        (seen,) = server.requests
        assert seen.headers["authorization"] == "***"
        assert seen.headers["x-trace"] == "abc"
        fields = [getattr(seen, name) for name in SimulatedRequest.__slots__]
        assert "sk-very-secret" not in repr(fields) + repr(server)

    serve(scenario)


def test_every_response_has_a_date_and_its_own_id(wire: Wire) -> None:
    async def scenario(server: SimulatedProvider) -> None:
        first, second = await wire.ask(server.port, *[wire.openai("small", "Hi")] * 2)
        clock.advance(3600)
        (third,) = await wire.ask(server.port, wire.openai("small", "Hi"))
        assert first.headers["date"] == second.headers["date"] == "Thu, 01 Jan 2026 00:00:00 GMT"
        assert third.headers["date"] == "Thu, 01 Jan 2026 01:00:00 GMT"
        assert third.json["created"] - first.json["created"] == 3600
        assert len({each.headers["x-request-id"] for each in (first, second, third)}) == 3

    clock = ManualClock()
    serve(scenario, clock=clock)


def post(port: int, model: str, host: str = "127.0.0.1") -> Any:
    """Asks as code that is not async does."""
    connection = HTTPConnection(host, port, timeout=60)
    try:
        content = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(content))
        return json.load(connection.getresponse())
    finally:
        connection.close()


def test_it_runs_in_a_thread_for_code_that_is_not_async() -> None:
    server = SimulatedProvider([SMALL])
    for requests in (1, 2):
        with server.start_in_thread() as started:
            assert started is server
            answer = post(server.port, "small")
            assert answer["choices"][0]["message"]["content"] == "Hello."
            assert len(server.requests) == requests
            port = server.port
            refused = pytest.raises(ConfigurationError, match="running already")
            with refused, server.start_in_thread():
                pass
        with pytest.raises(OSError, match="refused"):
            post(port, "small")


def test_it_listens_on_ipv6_too() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    server = SimulatedProvider([SMALL], host="::1")
    try:
        with server.start_in_thread():
            assert server.url.startswith("http://[::1]:")
            assert post(server.port, "small", "::1")["model"] == "small"
    except StoreError:
        pytest.skip("no IPv6 loopback here")


def test_its_models_are_given_as_an_agent_takes_them() -> None:
    price = Price(input=5, output=25)
    models = [SMALL, SimulatedModel("large", price=price)]
    with SimulatedProvider(models).start_in_thread() as server:
        small, large = server.models_for("openai")
        assert (small.price, large.price) == (None, price)
        assert (small.id, large.id) == ("openai:small", "openai:large")
        assert small.base_url == server.base_url == f"{server.url}/v1"
        assert small.api_key is not None
        assert small.api_key not in repr(small)
        (claude,) = server.models_for("anthropic", "large")
        assert (claude.id, claude.base_url) == ("anthropic:large", server.url)
        with pytest.raises(ConfigurationError, match="no model other: it has small, large"):
            server.models_for("openai", "other")
    keyed = SimulatedProvider([SMALL], api_key="the-right-key")
    with keyed.start_in_thread():
        assert keyed.models_for("openai")[0].api_key == "the-right-key"
