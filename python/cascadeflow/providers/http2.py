"""HTTP/2 (RFC 9113): many calls over one connection, each ended without harm to the others.

The protocol itself is `h2`'s (the extra `http2`). httpx2 can speak HTTP/2 as well, but (2.16.2) it
resets no stream that is let go, so that a connection is dead for good after a hundred of them; a
cancelled call may take its neighbours along; and a server that says goodbye breaks the calls that
it would still have answered. Here

* nothing that is written can be cut off in the middle, whoever is cancelled;
* a call that is let go resets its stream, so that the provider stops generating;
* after a GOAWAY, what the server took is answered to its end, and what it did not take is known to
  be unbilled;
* a connection that has fallen silent is found out by a PING and gets no further calls.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from h2.errors import ErrorCodes

from cascadeflow.providers.client_transport import NotOfferedError
from cascadeflow.providers.http2_stream import (
    Frames,
    Http2Response,
    Stream,
    name_of,
    packable,
    read_headers,
    reset_error,
)
from cascadeflow.providers.network import EYEBALLS_DELAY
from cascadeflow.providers.protocols import ConnectTimeoutError, NotConnectedError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from cascadeflow.providers.engine import Place
    from cascadeflow.providers.protocols import HttpRequest

__all__ = ["Http2Pool"]

STREAMS_PER_CONNECTION: Final = 100
"""Calls at once over one connection, where the server allows so many; it seldom allows more."""

_STREAM_WINDOW: Final = 1024 * 1024
"""Bytes of one response that may wait to be read before its sender is slowed down."""

_CONNECTION_WINDOW: Final = 16 * 1024 * 1024
"""Bytes that may be under way on a connection. They count as read when they arrive, so that a slow
reader holds up nobody else."""

_NEVER: Final = float("inf")

_PATIENCE: Final = 1.0
"""Seconds that a connection which is in doubt has for its sign of life."""

_CONFIG: Final = h2.config.H2Configuration(
    header_encoding=None,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
    validate_inbound_headers=False,
    normalize_inbound_headers=False,
)


class Http2Pool:
    """All connections to one origin, on one event loop.

    Args:
        place: an address there.
        keep: seconds that an idle connection is kept.
        context: how the server is checked; HTTP/2 is offered through it.
    """

    def __init__(self, place: Place, keep: float, context: ssl.SSLContext) -> None:
        self._host = place.host
        self._port = place.port
        self._keep = keep
        self._context = context
        self._packed: tuple[Any, Any] = (None, None)
        """The headers that were last sent, and what is made of them."""
        self._connections: list[Http2Connection] = []
        self._connecting = asyncio.Lock()
        self._offered = True

    @property
    def connections(self) -> Sequence[Http2Connection]:
        """Those that are open."""
        return tuple(each for each in self._connections if not each.lost.done())

    async def send(
        self, request: HttpRequest, place: Place, head: tuple[tuple[bytes, bytes], ...]
    ) -> Http2Response:
        """Sends a request and returns once the response's headers are there.

        Args:
            request: its body and deadlines.
            place: where it goes.
            head: its headers, names lower-cased.

        Raises:
            NotOfferedError: the server speaks no HTTP/2.
            TimeoutError: a deadline passed.
            ConnectionError: no connection, or it broke.
        """
        packed = self._packed
        if packed[0] is not head:
            packed = self._packed = head, tuple([packable(*pair) for pair in head])
        headers = (
            (b":method", request.method.encode()),
            (b":scheme", b"https"),
            (b":authority", place.authority),
            (b":path", place.target),
            *packed[1],
            (b"content-length", b"%d" % len(request.body)),
        )
        connection = self._free()
        if connection is None:
            try:
                async with asyncio.timeout(request.connect):
                    connection = await self._take()
            except TimeoutError:
                raise ConnectTimeoutError(f"no connection within {request.connect:g} s") from None
            except OSError as error:
                raise NotConnectedError(
                    f"no connection ({str(error) or type(error).__name__})"
                ) from None
        return await connection.send(headers, request.body, request.first_byte)

    async def aclose(self) -> None:
        """Closes all connections."""
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()
        for connection in connections:
            await connection.lost

    def _free(self) -> Http2Connection | None:
        """Finds a connection that takes another stream, the oldest first: so others fall idle."""
        found = None
        for connection in tuple(self._connections):
            if connection.lost.done():
                self._connections.remove(connection)
            elif found is None and connection.usable():
                found = connection
            else:
                connection.close_if_idle()
        return found

    async def _take(self) -> Http2Connection:
        while (connection := self._free()) is None:
            async with self._connecting:  # whoever waits here may find room on the next one
                if not self._offered:
                    raise NotOfferedError
                if self._free() is None:
                    await self._connect()
        return connection

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._context.set_alpn_protocols(["h2", "http/1.1"])
        transport, connection = await loop.create_connection(
            lambda: Http2Connection(loop, self._keep),
            self._host,
            self._port,
            ssl=self._context,
            server_hostname=self._host,
            happy_eyeballs_delay=EYEBALLS_DELAY,
        )
        if not connection.offered:
            self._offered = False
            raise NotOfferedError(transport)
        try:
            await connection.greeted()
        except BaseException:
            connection.close()
            await connection.lost
            raise
        self._connections.append(connection)


class Http2Connection(asyncio.Protocol):
    """One connection. All writing is done between two turns of the loop, so that nothing tears."""

    def __init__(self, loop: asyncio.AbstractEventLoop, keep: float) -> None:
        self.loop = loop
        self._keep = keep
        self.offered = False
        self.settled = asyncio.Event()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.why = "the connection was closed"
        self._transport: Any = None
        self._h2: Any = None
        self._streams: dict[int, Stream] = {}
        self._leaving = False
        """Whether it takes no further streams, and is closed after its last one."""
        self._heard_at = 0.0
        self._idle_since = _NEVER
        self._doubted_at: float | None = None
        self._unsaid = 0
        self._paused = False
        self._frames = Frames(self._goodbye)

    # What the pool asks

    async def greeted(self) -> None:
        """Waits until the server has said how many streams it takes.

        Raises:
            NotConnectedError: it has closed the connection, or takes no streams.
        """
        await self.settled.wait()
        if not self.room():
            raise NotConnectedError(
                self.why if self.lost.done() else "the server takes no requests"
            )

    def room(self) -> int:
        """How many more streams it takes."""
        if self._leaving or self.lost.done():
            return 0
        allowed: int = self._h2.remote_settings.max_concurrent_streams
        return max(0, min(allowed, STREAMS_PER_CONNECTION) - len(self._streams))

    def usable(self) -> bool:
        """Whether to send a request over it; sorts out those that have grown old or fell silent."""
        now = self.loop.time()
        if not self._streams and now - self._idle_since > self._keep:
            self._leave("it was idle")
        elif self._doubted_at is not None and now - self._doubted_at > _PATIENCE:
            self._leave("it fell silent")
        return self.room() > 0

    def close_if_idle(self) -> None:
        """Closes it when nobody has needed it for a while."""
        if not self._streams and self.loop.time() - self._idle_since > self._keep:
            self._leave("it was idle")

    async def send(
        self, head: Sequence[tuple[bytes, bytes]], body: bytes, first_byte: float | None
    ) -> Http2Response:
        """Sends a request and returns once the response's headers are there.

        Raises:
            TimeoutError: no first byte within so many seconds.
            ConnectionError: it broke.
        """
        protocol = self._h2
        try:
            number = protocol.get_next_available_stream_id()
            protocol.send_headers(number, head, end_stream=not body)
        except h2.exceptions.ProtocolError as error:
            self._leave("it takes no further request")
            raise NotConnectedError(f"no connection ({error})") from None
        stream = self._streams[number] = Stream(self, number, self.loop.time())
        try:
            if body:
                await self._upload(stream, body, first_byte)
            else:
                stream.sent = True
            self._flush()
            stream.expect(first_byte)
            headers = await stream.answer()
        except BaseException as error:
            self.end(stream)
            if isinstance(error, h2.exceptions.ProtocolError):
                raise ConnectionError(f"the connection broke ({error})") from None
            raise
        return Http2Response(stream, stream.status, headers)

    def end(self, stream: Stream) -> None:
        """Ends a stream, and resets it when the response was not read to its end."""
        if self._streams.pop(stream.id, None) is None:
            return
        stream.expect(None)
        now = self.loop.time()
        if not (stream.ended and stream.sent) and not self.lost.done():
            with suppress(h2.exceptions.ProtocolError):  # the other side has ended it already
                self._h2.reset_stream(stream.id, ErrorCodes.CANCEL)
                if self._heard_at <= stream.sent_at and self._doubted_at is None:
                    self._doubted_at = now  # not a byte since: is anybody there?
                    self._h2.ping(b"anybody?")
            self._flush()
        if not self._streams:
            self._idle_since = now
            if self._leaving:
                self.close()

    def consumed(self, stream: Stream, size: int) -> None:
        """Notes that so many bytes were read: the sender may send as many again."""
        stream.unsaid += size
        if stream.unsaid >= _STREAM_WINDOW // 2 and not stream.ended and stream.error is None:
            with suppress(h2.exceptions.ProtocolError):  # it has just been closed
                self._h2.increment_flow_control_window(stream.unsaid, stream.id)
            stream.unsaid = 0
            self._flush()

    def close(self) -> None:
        """Closes it at once, with a word to the other side."""
        if self.lost.done() or self._transport is None or self._transport.is_closing():
            return
        self._leaving = True
        if self._h2 is not None:
            self._h2.close_connection()
            self._flush()
        self._transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.offered = transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        if not self.offered:
            return
        protocol = self._h2 = h2.connection.H2Connection(config=_CONFIG)
        protocol.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 64 * 1024,
            },
        )
        protocol.initiate_connection()
        protocol.increment_flow_control_window(_CONNECTION_WINDOW - 65_535)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        self._doubted_at = None
        try:
            rest = self._frames.without_goaway(data)
            for event in self._h2.receive_data(rest) if rest else ():
                self._take(event)
        except Exception as error:  # noqa: BLE001 - whatever the bytes were: it is over
            self.why = f"the server broke HTTP/2's rules ({error})"
            self._flush()  # h2 has written a word about it
            self._transport.abort()
            return
        self._flush()

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and str(exc):
            self.why = str(exc)
        for stream in tuple(self._streams.values()):
            stream.fail(ConnectionError(f"the connection broke ({self.why})"))
        self.settled.set()
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake_all()

    # What comes in

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self.settled.set()
            self._wake_all()  # their windows may have grown
            return
        if isinstance(event, h2.events.WindowUpdated):
            self._wake_all()
            return
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if isinstance(event, h2.events.DataReceived):
            self._count(event.flow_controlled_length)
        if stream is None:
            return  # it was let go
        if isinstance(event, h2.events.DataReceived):
            if event.data:
                stream.pieces.append(event.data)
            stream.unsaid += event.flow_controlled_length - len(event.data)  # padding
        elif isinstance(event, h2.events.ResponseReceived):
            stream.expect(None)
            stream.status, stream.headers = read_headers(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.fail(reset_error(event.error_code))
        stream.wake()

    def _count(self, size: int) -> None:
        """Gives bytes that came back to the connection's window, whoever reads them."""
        self._unsaid += size
        if self._unsaid >= _CONNECTION_WINDOW // 2:
            self._h2.increment_flow_control_window(self._unsaid)
            self._unsaid = 0

    def _goodbye(self, last: int, code: int) -> None:
        """The server closes the connection; streams after `last` were not looked at."""
        name = name_of(code)
        self.why = f"the server said goodbye: {name}"
        self._leaving = True
        for stream in tuple(self._streams.values()):
            if stream.id > last:
                stream.fail(NotConnectedError(f"the server said goodbye ({name})"))
        if not self._streams:
            self.close()

    # What goes out

    async def _upload(self, stream: Stream, body: bytes, first_byte: float | None) -> None:
        """Sends a body, as fast as the server takes it."""
        protocol = self._h2
        position = 0
        while position < len(body):
            if stream.error is not None:
                raise stream.error
            if stream.ended:
                return  # it has answered without reading on
            window = min(
                protocol.local_flow_control_window(stream.id), protocol.max_outbound_frame_size
            )
            if window <= 0 or self._paused:
                self._flush()
                stream.expect(first_byte)
                await stream.wait()
                continue
            piece = body[position : position + window]
            position += len(piece)
            protocol.send_data(stream.id, piece, end_stream=position == len(body))
            if position < len(body):
                self._flush()
        stream.sent = True

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _wake_all(self) -> None:
        for stream in self._streams.values():
            if not stream.sent:
                stream.wake()

    def _leave(self, why: str) -> None:
        self.why = why
        self._leaving = True
        if not self._streams:
            self.close()
