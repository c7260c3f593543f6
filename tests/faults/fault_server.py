"""A server on this machine whose every byte a test decides, on a loop and in a thread of its own.

So whatever task or socket is left on the test's own loop is the client's.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass
class Link:
    """One connection, and the request that has just come in on it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    """Which request of the server this is, from 1."""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def streamed(self) -> bool:
        """Whether the request asks for a stream, in whichever protocol."""
        return bool(json.loads(self.body).get("stream")) or "stream" in self.path.lower()

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def respond(
        self, body: bytes, *, status: int = 200, kind: str = "application/json", **headers: str
    ) -> None:
        """A whole response, well framed."""
        await self.send(
            head(status, {"content-type": kind, "content-length": len(body), **headers}) + body
        )

    async def stream(
        self, *events: bytes, kind: str = "text/event-stream", end: bool = True
    ) -> None:
        """A response in chunks, one an event."""
        await self.send(head(200, {"content-type": kind, "transfer-encoding": "chunked"}))
        for event in events:
            await self.send(chunk(event))
        if end:
            await self.send(b"0\r\n\r\n")

    def reset(self) -> None:
        """Cuts the connection with a reset, whatever is on its way."""
        self.writer.transport.abort()

    async def finish(self) -> None:
        """Ends this side of the connection in good order."""
        await self.writer.drain()
        self.writer.close()

    async def silence(self) -> None:
        """Says nothing until the client has gone."""
        while await self.reader.read(65536):
            pass


Handler = Callable[[Link], Awaitable[None]]


def head(status: int, headers: dict[str, Any]) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(line.replace("_", "-") for line in [*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass
class Served:
    """One server while it listens, and what it saw."""

    loop: asyncio.AbstractEventLoop
    url: str = ""
    requests: int = 0
    accepted: int = 0
    open: int = 0
    _none_open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._none_open.set()

    async def closed(self) -> None:
        """Waits until the server sees no connection; a leak makes the test's time-out fail it."""
        seen = asyncio.run_coroutine_threadsafe(self._none_open.wait(), self.loop)
        await asyncio.wrap_future(seen)

    def opened(self) -> None:
        self.accepted += 1
        self.open += 1
        self._none_open.clear()

    def ended(self) -> None:
        self.open -= 1
        if not self.open:
            self._none_open.set()


class FaultServer:
    """The thread and its loop; `serving` opens one server on it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faults", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextmanager
    def serving(
        self, handler: Handler, *, on_accept: Callable[[asyncio.StreamWriter], bool] | None = None
    ) -> Iterator[Served]:
        """Listens until the block ends.

        Args:
            handler: answers each request, or fails to.
            on_accept: is shown each connection before anything is read; `True` ends it there.
        """
        served = Served(self._loop)
        manager = _listen(served, handler, on_accept)
        self._wait(manager.__aenter__())
        try:
            yield served
        finally:
            self._wait(manager.__aexit__(None, None, None))

    def _wait(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


@asynccontextmanager
async def _listen(
    served: Served,
    handler: Handler,
    on_accept: Callable[[asyncio.StreamWriter], bool] | None,
) -> AsyncIterator[None]:
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        served.opened()
        try:
            if on_accept is not None and on_accept(writer):
                return
            while link := await _read(served, reader, writer):
                await handler(link)
                if writer.transport.is_closing():
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
            served.ended()
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=4096)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(
    served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Link | None:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    served.requests += 1
    return Link(reader, writer, served.requests, first.split(" ")[1], headers, body)
