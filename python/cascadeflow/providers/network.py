"""The wire under HTTP/1.1: sockets for httpx2's engine (httpcore2), straight on asyncio.

The engine's own sockets go through anyio, which takes two turns of the event loop and four more
system calls for each request. Here what is written is collected and goes out in one piece, when the
answer is waited for; and whether an idle connection has died is known without asking the kernel.

The engine's time-outs are never set: deadlines are kept above (`HttpRequest`).
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import httpcore2

from cascadeflow.providers.framing import Framing

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

__all__ = ["EYEBALLS_DELAY", "AsyncioBackend"]

EYEBALLS_DELAY: Final = 0.25
"""Seconds before a name's next address is tried as well (RFC 8305, section 5)."""

_MOST_UNREAD: Final = 256 * 1024
"""Bytes that may wait to be read before the sender is slowed down."""

_MOST_UNSENT: Final = 64 * 1024
"""Bytes that are collected before they are sent."""


class AsyncioBackend(httpcore2.AsyncNetworkBackend):
    """Makes the engine's connections."""

    def __init__(self) -> None:
        self._spare: list[_Stream] = []

    def take(self, transport: asyncio.Transport) -> None:
        """Takes a connection that stands, TLS included, for the next that is asked for."""
        wire = _Wire()
        wire.connection_made(transport)
        transport.set_protocol(wire)
        self._spare.append(_Stream(transport, wire))

    async def aclose(self) -> None:
        """Closes what nobody asked for."""
        spare, self._spare = self._spare, []
        for stream in spare:
            await stream.aclose()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the engine's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connects to the first of a host's addresses that answers."""
        if self._spare:
            return self._spare.pop()
        loop = asyncio.get_running_loop()
        try:
            transport, wire = await loop.create_connection(
                _Wire,
                host,
                port,
                happy_eyeballs_delay=EYEBALLS_DELAY,
                local_addr=None if local_address is None else (local_address, 0),
            )
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        for option in socket_options or ():
            transport.get_extra_info("socket").setsockopt(*option)
        return _Stream(transport, wire)


class _Wire(asyncio.Protocol):
    """What came in and was not read yet, and whether more can be sent."""

    def __init__(self) -> None:
        self.unread: deque[bytes] = deque()
        self.unread_size = 0
        self.ended = False
        self.error: Exception | None = None
        self.transport: Any = None
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._reading = True
        self._writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.unread.append(data)
        self.unread_size += len(data)
        if self.unread_size > _MOST_UNREAD and self._reading:
            self._reading = False
            self.transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> None:
        self.ended = True
        _wake(self._reader)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self.error = exc
        _wake(self._reader)
        _wake(self._writer)
        _wake(self.lost)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        _wake(self._writer)

    async def until_readable(self) -> None:
        """Waits until something can be read, or nothing more comes."""
        while not self.unread and not self.ended:
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None

    async def until_writable(self) -> None:
        """Waits until the other side takes more."""
        while not self._writable and not self.lost.done():
            self._writer = self._loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None

    def take(self) -> bytes:
        """Gives the next piece that came in."""
        piece = self.unread.popleft()
        self.unread_size -= len(piece)
        if not self._reading and self.unread_size <= _MOST_UNREAD // 2:
            self._reading = True
            if not self.lost.done():
                self.transport.resume_reading()
        return piece


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection, as the engine wants it."""

    def __init__(self, transport: Any, wire: _Wire) -> None:
        self._transport = transport
        self._wire = wire
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self._framing = Framing()
        self._answering = False

    @property
    def clean(self) -> bool:
        """Whether the last response has ended and nothing came behind it."""
        return self._framing.clean

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Sends what was written, and gives what has come; empty at the end."""
        self._flush()
        wire = self._wire
        if not wire.unread:
            await wire.until_readable()
            if not wire.unread:
                if wire.error is not None:
                    raise httpcore2.ReadError(str(wire.error)) from wire.error
                return b""
        piece = wire.take()
        if len(piece) > max_bytes:
            piece, rest = piece[:max_bytes], piece[max_bytes:]
            wire.unread.appendleft(rest)
            wire.unread_size += len(rest)
        self._answering = True
        self._framing.feed(piece)
        return piece

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Takes bytes to send; they go out before the next read, or when they are many."""
        if not buffer:
            return
        wire = self._wire
        if wire.ended and wire.lost.done():
            raise httpcore2.WriteError(str(wire.error or "the connection is closed"))
        if self._answering and self._framing.clean:
            self._framing = Framing()
            self._answering = False
        self._unsent.append(buffer)
        self._unsent_size += len(buffer)
        if self._unsent_size >= _MOST_UNSENT:
            self._flush()
            await wire.until_writable()

    async def aclose(self) -> None:
        """Closes the connection at once; what was not sent is dropped."""
        self._unsent.clear()
        self._transport.abort()
        await self._wire.lost

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore2.AsyncNetworkStream:
        """Speaks TLS from here on."""
        if self._transport.get_extra_info("ssl_object") is not None:
            return self  # it does already
        wire = self._wire
        self._flush()
        try:
            transport = await wire._loop.start_tls(  # noqa: SLF001 - of this module
                self._transport, wire, ssl_context, server_hostname=server_hostname
            )
        except BaseException as error:
            self._transport.abort()
            if isinstance(error, OSError):
                raise httpcore2.ConnectError(str(error)) from error
            raise
        if transport is None:
            raise httpcore2.ConnectError("the connection broke before TLS was spoken")
        wire.transport = transport
        return _Stream(transport, wire)

    def get_extra_info(self, info: str) -> Any:
        """Tells what the engine asks: `ssl_object`, `is_readable`, addresses and the socket."""
        if info == "is_readable":
            return bool(self._wire.unread) or self._wire.ended or self._has_more()
        name = {"client_addr": "sockname", "server_addr": "peername"}.get(info, info)
        return self._transport.get_extra_info(name)

    def _has_more(self) -> bool:
        """Whether the kernel knows more than the event loop has had time to tell."""
        descriptor = self._transport.get_extra_info("socket").fileno()
        if descriptor < 0:
            return True
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(0))
        return bool(select.select([descriptor], [], [], 0)[0])

    def _flush(self) -> None:
        if self._unsent:
            self._transport.write(b"".join(self._unsent))
            self._unsent.clear()
            self._unsent_size = 0
