"""How many requests the simulated provider answers: it must not be what a load test measures.

The provider has a process, and so a core, of its own; here, 64 connections are written and read by
hand, for any HTTP library would cost more than the provider. The reference is the least that an
asyncio server can do: the same bytes to whoever sends anything.
"""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.testing import SimulatedModel, start_in_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONNECTIONS = 64
ROUNDS = 60

LEAST = """
import asyncio
ANSWER = b"HTTP/1.1 200 OK\\r\\ncontent-length: 700\\r\\n\\r\\n" + b"x" * 700
class Least(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(ANSWER)
async def main():
    server = await asyncio.get_running_loop().create_server(Least, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def request(question: str, **more: Any) -> bytes:
    """A request as a client library sends it."""
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": question},
    ]
    body = json.dumps({"model": "small", "messages": messages, "max_tokens": 100, **more}).encode()
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        "Host: 127.0.0.1:8000",
        "Accept: application/json",
        "Accept-Encoding: gzip, deflate",
        "Connection: keep-alive",
        "User-Agent: python-httpx2/2.16.2",
        "Authorization: Bearer simulated-key",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body


class Clients:
    """Connections that each send one request, then each read one answer."""

    def __init__(self, stack: ExitStack, port: int) -> None:
        self._sockets = []
        for _ in range(CONNECTIONS):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(one)

    def ask(self, requests: list[bytes], ends: Callable[[bytes], bool]) -> None:
        """Sends one request on each connection and reads each answer to its end."""
        for one, data in zip(self._sockets, requests, strict=True):
            one.sendall(data)
        for one in self._sockets:
            received = one.recv(65536)
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
            while not ends(received):
                received += one.recv(65536)


def has_its_length(received: bytes) -> bool:
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    return len(body) == length


def has_its_last_chunk(received: bytes) -> bool:
    return received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@contextmanager
def least_server() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", LEAST], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


@contextmanager
def simulator() -> Iterator[int]:
    with start_in_process([SimulatedModel("small")], seed=7) as process:
        yield int(process.url.rsplit(":", 1)[1])


def measure(
    benchmark: Any,
    server: Callable[[], Any],
    batches: Iterator[list[bytes]],
    ends: Callable[[bytes], bool],
    info: dict[str, Any],
) -> None:
    """Times rounds of one request on each connection; the figure is one request's share."""
    with ExitStack() as stack:
        clients = Clients(stack, stack.enter_context(server()))
        benchmark.pedantic(
            clients.ask, setup=lambda: ((next(batches), ends), {}), rounds=ROUNDS, warmup_rounds=10
        )
    # None under --benchmark-disable: then it only runs.
    if benchmark.stats is not None:
        info["value_s"] = benchmark.stats.stats.median / CONNECTIONS
        info["requests_per_second"] = CONNECTIONS / benchmark.stats.stats.median
    benchmark.extra_info.update(info)


def the_same() -> Iterator[list[bytes]]:
    return itertools.repeat([request(f"What is {n} + {n}?") for n in range(CONNECTIONS)])


def always_new(**more: Any) -> Iterator[list[bytes]]:
    numbers = itertools.count()
    while True:
        yield [request(f"What is {next(numbers)} + 1?", **more) for _ in range(CONNECTIONS)]


@pytest.mark.parametrize("role", ["figure", "reference"])
def test_one_request(benchmark: Any, role: str) -> None:
    info: dict[str, Any] = {"figure": "simulated provider, one request", "role": role}
    if role == "figure":
        info |= {"gate_s": None, "goal_s": 1 / 10_000}
    else:
        info["reference"] = "asyncio, fixed answer"
    server = simulator if role == "figure" else least_server
    measure(benchmark, server, the_same(), has_its_length, info)


@pytest.mark.parametrize("role", ["figure", "reference"])
def test_one_request_that_never_came_before(benchmark: Any, role: str) -> None:
    info: dict[str, Any] = {"figure": "simulated provider, one new request", "role": role}
    if role == "figure":
        info |= {"gate_s": None, "goal_s": 1 / 10_000}
    else:
        info["reference"] = "asyncio, fixed answer"
    server = simulator if role == "figure" else least_server
    measure(benchmark, server, always_new(), has_its_length, info)


def test_one_stream_of_32_tokens(benchmark: Any) -> None:
    info: dict[str, Any] = {
        "figure": "simulated provider, one stream of 32 tokens",
        "role": "figure",
    }
    info |= {"gate_s": None, "goal_s": None}
    measure(benchmark, simulator, always_new(stream=True), has_its_last_chunk, info)
