"""A real HTTP server on this machine, whose every byte a test decides.

The modules in this folder that are no tests can be imported by their names.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.models.config import ModelConfig
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    import ssl

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)

Handler = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request that came in, and the ways to answer it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def respond(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """A whole response; what is not bytes is written as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = {"content-type": "application/json", "content-length": str(len(data))}
        await self.raw(_head(status, {**head, **(headers or {})}) + data)

    async def start_stream(self, headers: dict[str, str] | None = None, status: int = 200) -> None:
        head = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        await self.raw(_head(status, {**head, **(headers or {})}))

    async def send(self, data: bytes) -> None:
        await self.raw(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def event(self, data: Any) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        await self.send(f"data: {text}\n\n".encode())

    async def end_stream(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def until_closed(self) -> None:
        """Waits until the client closes the connection."""
        while await self.reader.read(65536):
            pass

    def drop(self) -> None:
        """Resets the connection."""
        self.writer.transport.abort()


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


@dataclass
class Loopback:
    """The server, and what it saw."""

    port: int = 0
    exchanges: list[Exchange] = field(default_factory=list)
    connections: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    busiest: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def all_closed(self) -> None:
        """Waits until no connection is open; a leak makes the test's time-out fail it."""
        while self.open:  # noqa: ASYNC110 - closing is not this side's event
            await asyncio.sleep(0)


@asynccontextmanager
async def serve(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Loopback]:
    """Runs a server on the running loop."""
    loopback = Loopback()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        loopback.connections += 1
        loopback.open.add(writer)
        loopback.busiest = max(loopback.busiest, len(loopback.open))
        try:
            while exchange := await _read(reader, writer, len(loopback.exchanges) + 1):
                loopback.exchanges.append(exchange)
                await handler(exchange)
                if writer.transport.is_closing():
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            loopback.open.discard(writer)
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    loopback.port = server.sockets[0].getsockname()[1]
    try:
        yield loopback
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
) -> Exchange | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Exchange(method, path, headers, body, number, reader, writer)


ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m-2026",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}


async def answer(exchange: Exchange) -> None:
    """Answers as an OpenAI-compatible server does, whole or streamed."""
    if not exchange.json.get("stream"):
        await exchange.respond(200, ANSWER, {"x-request-id": f"req-{exchange.number}"})
        return
    await exchange.start_stream({"x-request-id": f"req-{exchange.number}"})
    for chunk in stream_chunks():
        await exchange.event(chunk)
    await exchange.event("[DONE]")
    await exchange.end_stream()


def stream_chunks(*texts: str) -> list[dict[str, Any]]:
    """The chunks of a streamed answer, usage included."""
    deltas: list[dict[str, Any]] = [{"content": text} for text in texts or ("Hel", "lo")]
    chunks = [
        {"id": "c", "model": "m-2026", "choices": [{"index": 0, "delta": delta}]}
        for delta in deltas
    ]
    chunks.append({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({"id": "c", "choices": [], "usage": ANSWER["usage"]})
    return chunks


def model(server: Loopback, **settings: Any) -> ModelConfig:
    """A model at the server, called `openai:m`."""
    settings = {"api_key": "sk-test-key-0123456789", "base_url": server.url, **settings}
    return ModelConfig("m", "openai", **settings)


def ask(text: str = "Hi", **settings: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=(Message("user", text),), **settings)


def open_files() -> int:
    """How many files and sockets this process has open."""
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))


@pytest.fixture(scope="session")
def http() -> SimpleNamespace:
    """The helpers above: a test module can import none of its neighbours."""
    names = (Exchange, ask, answer, model, open_files, serve, stream_chunks)
    return SimpleNamespace(ANSWER=ANSWER, **{each.__name__: each for each in names})
