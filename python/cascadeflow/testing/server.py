"""A loopback HTTP/1.1 server on plain asyncio protocols: one write a response where it can be."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, cast

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.testing.http1 import LAST_CHUNK, HttpFault, RequestParser, chunk, response_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cascadeflow.clock import Clock
    from cascadeflow.testing.http1 import ParsedRequest

__all__ = ["Delivery", "LoopbackServer", "Outcome", "Site"]

Outcome = Literal["complete", "cancelled", "broken", "disconnected"]
"""`cancelled`: the client went away first; `broken`: a stream that was cut off on purpose;
`disconnected`: cut off on purpose before any response."""

logger = logging.getLogger(__name__)

_READ_AHEAD: Final = 64 * 1024
"""Bytes of further requests taken in while one is being answered."""


class Delivery(NamedTuple):
    """A response, and when each part of it is sent. A tuple, for one is made with each request.

    Attributes:
        head: status line and headers, without what frames the body.
        parts: bytes of the body, each with the seconds after the request at which it is sent, in
            ascending order.
        ended: told how it did end, and whether any of it was sent.
        streamed: whether the parts are chunks of a stream; without it, the body has a length.
        ending: how it shall end.
    """

    head: bytes
    parts: tuple[tuple[float, bytes], ...]
    ended: Callable[[Outcome, bool], None]
    streamed: bool = False
    ending: Outcome = "complete"


class Site(Protocol):
    """What answers the requests."""

    def respond(self, request: ParsedRequest) -> Delivery:
        """Answers one request; raises nothing."""

    def refuse(self, fault: HttpFault) -> bytes:
        """Gives the body of the response to bytes that are no request."""


class LoopbackServer:
    """Listens on one address and hands each request to its site."""

    def __init__(self, site: Site, *, clock: Clock, host: str, port: int, max_body: int) -> None:
        self.site = site
        self.clock = clock
        self.max_body = max_body
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._port_in_use = 0
        self._connections: set[Connection] = set()
        self._all_closed: asyncio.Event | None = None
        self.connections_accepted = 0

    @property
    def port(self) -> int:
        """The port it listens on.

        Raises:
            ConfigurationError: the server is not running.
        """
        if self._server is None:
            raise ConfigurationError(
                "the server is not running: enter it with `async with`, or `start_in_thread()`"
            )
        return self._port_in_use

    @property
    def open_connections(self) -> int:
        """How many connections stand."""
        return len(self._connections)

    async def start(self) -> None:
        """Starts to listen.

        Raises:
            ConfigurationError: it runs already.
            StoreError: the address cannot be listened on.
        """
        if self._server is not None:
            raise ConfigurationError("the server is running already: enter it once")
        self._all_closed = asyncio.Event()
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self), self._host, self._port, backlog=4096
            )
        except OSError as error:
            raise StoreError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror}; choose another"
                " port, or 0 for any"
            ) from error
        self._port_in_use = cast("int", self._server.sockets[0].getsockname()[1])

    async def aclose(self) -> None:
        """Stops listening and cuts every connection; nothing of it is left afterwards."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        tasks = [connection.task for connection in self._connections if connection.task]
        for connection in tuple(self._connections):
            connection.cut()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._connections and self._all_closed is not None:
            await self._all_closed.wait()
        await server.wait_closed()

    @contextmanager
    def running_in_thread(self) -> Iterator[None]:
        """Runs the server on an event loop of its own, in a thread of its own.

        Raises:
            ConfigurationError: it runs already.
            StoreError: the address cannot be listened on.
        """
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def run() -> None:
            stop = asyncio.Event()
            try:
                await self.start()
            except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
                started.set_exception(error)
                return
            started.set_result((asyncio.get_running_loop(), stop))
            try:
                await stop.wait()
            finally:
                await self.aclose()

        thread = Thread(target=lambda: asyncio.run(run()), name="simulated-provider", daemon=True)
        thread.start()
        try:
            loop, stop = started.result()
        except BaseException:
            thread.join()
            raise
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()

    def opened(self, connection: Connection) -> None:
        """A connection stands."""
        self._connections.add(connection)
        self.connections_accepted += 1

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        if self._server is None and not self._connections and self._all_closed is not None:
            self._all_closed.set()


class Connection(asyncio.Protocol):
    """One client's connection: requests answered one after the other."""

    __slots__ = (
        "_head_sent",
        "_lingers",
        "_may_write",
        "_parser",
        "_server",
        "_told_to_continue",
        "_transport",
        "task",
    )

    def __init__(self, server: LoopbackServer) -> None:
        self._server = server
        self._parser = RequestParser(max_body=server.max_body)
        self._transport: asyncio.Transport
        self.task: asyncio.Task[None] | None = None
        self._may_write: asyncio.Event | None = None
        self._told_to_continue = False
        self._lingers = False
        self._head_sent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is there."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, or of several."""
        if self._lingers:
            return
        self._parser.feed(data)
        if self.task is None and self._may_write is None:
            self._serve()
        elif self._parser.buffered > _READ_AHEAD:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client is gone, or was cut off: what was being made for it is given up."""
        if self.task is not None:
            self.task.cancel()
        self._server.closed(self)

    def pause_writing(self) -> None:
        """The client reads more slowly than it is sent to."""
        self._may_write = asyncio.Event()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._may_write is not None:
            self._may_write.set()
            self._may_write = None
            if self.task is None:
                asyncio.get_running_loop().call_soon(self._go_on)

    def cut(self) -> None:
        """Ends the connection at once."""
        self._transport.abort()

    def _go_on(self) -> None:
        """Answers what came in while something was waited for."""
        self._transport.resume_reading()
        if self.task is None:
            self._serve()

    def _serve(self) -> None:
        """Answers what has come in, until something has to be waited for."""
        while self._may_write is None and not self._transport.is_closing():
            try:
                request = self._parser.next_request()
            except HttpFault as fault:
                self._refuse(fault)
                return
            if request is None:
                if self._parser.waits_for_continue and not self._told_to_continue:
                    self._told_to_continue = True
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            self._told_to_continue = False
            delivery = self._server.site.respond(request)
            if delivery.parts and delivery.parts[-1][0] > 0:
                self._head_sent = False
                self.task = asyncio.get_running_loop().create_task(
                    self._send_in_time(delivery, request)
                )
                self.task.add_done_callback(partial(self._delivered, delivery, request))
                return
            self._send_at_once(delivery, request)

    def _send_at_once(self, delivery: Delivery, request: ParsedRequest) -> None:
        # Told first: a client in another thread may ask what was recorded once it has read this.
        if delivery.ending == "disconnected":
            delivery.ended(delivery.ending, False)  # noqa: FBT003 - nothing was sent
            self._transport.abort()
            return
        delivery.ended(delivery.ending, True)  # noqa: FBT003 - something was sent
        head, framed = _framing(delivery, request)
        parts = delivery.parts
        body = parts[0][1] if len(parts) == 1 else b"".join([part for _, part in parts])
        if framed:
            body = chunk(body) + _end(delivery, framed=True)
        self._transport.write(head + body)
        self._close_unless_kept(delivery, request)

    def _delivered(
        self, delivery: Delivery, request: ParsedRequest, task: asyncio.Task[None]
    ) -> None:
        """Goes on with the next request, or notes that this one was given up.

        Here and not in the task itself: one that is cancelled before its first step never runs.
        """
        self.task = None
        if task.cancelled():
            delivery.ended("cancelled", self._head_sent)
            return
        if (error := task.exception()) is not None:
            logger.error("a response could not be sent", exc_info=error)
            delivery.ended("cancelled", self._head_sent)
            self._transport.abort()
            return
        self._close_unless_kept(delivery, request)
        self._go_on()

    async def _send_in_time(self, delivery: Delivery, request: ParsedRequest) -> None:
        """Sends each part at its time, catching up when several are due."""
        clock, transport = self._server.clock, self._transport
        started = clock.monotonic()
        pending, framed = _framing(delivery, request)
        parts, at = delivery.parts, 0
        while at < len(parts):
            passed = clock.monotonic() - started
            due = at
            while due < len(parts) and parts[due][0] <= passed + _TOLERANCE:
                due += 1
            if due == at:
                await clock.sleep(parts[at][0] - passed)
                continue
            data = b"".join([part for _, part in parts[at:due]])
            at = due
            if framed:
                data = chunk(data)
            self._head_sent = delivery.ending != "disconnected"
            if at == len(parts):
                data += _end(delivery, framed=framed)
                delivery.ended(delivery.ending, self._head_sent)
            if delivery.ending == "disconnected":
                transport.abort()
                return
            transport.write(pending + data)
            pending = b""
            if self._may_write is not None and at < len(parts):
                await self._may_write.wait()

    def _close_unless_kept(self, delivery: Delivery, request: ParsedRequest) -> None:
        whole = delivery.ending == "complete"
        unframed = delivery.streamed and not request.chunks_allowed
        if not whole or unframed or not request.keep_alive:
            self._transport.close()

    def _refuse(self, fault: HttpFault) -> None:
        """Answers bytes that cannot be read, and lets the client read that before the end."""
        body = self._server.site.refuse(fault)
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        self._lingers = True
        self._transport.write(response_head(fault.status, headers) + b"\r\n" + body)
        # Closing with unread bytes would reset the connection, and the response with it.
        self._transport.write_eof()


_TOLERANCE: Final = 1e-6
"""Seconds: a part due within it is sent along, for clocks count in floats."""


def _framing(delivery: Delivery, request: ParsedRequest) -> tuple[bytes, bool]:
    """Gives the whole head, and whether the body comes in chunks."""
    connection = b"" if request.keep_alive else b"connection: close\r\n"
    if not delivery.streamed:
        length = sum([len(part) for _, part in delivery.parts])
        return b"%bcontent-length: %d\r\n%b\r\n" % (delivery.head, length, connection), False
    if request.chunks_allowed:
        return b"%btransfer-encoding: chunked\r\n%b\r\n" % (delivery.head, connection), True
    return delivery.head + b"connection: close\r\n\r\n", False  # HTTP/1.0: its end is the end


def _end(delivery: Delivery, *, framed: bool) -> bytes:
    return LAST_CHUNK if framed and delivery.ending == "complete" else b""
