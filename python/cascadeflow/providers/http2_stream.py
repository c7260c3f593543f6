"""What the two sides say on one HTTP/2 stream, and the frames that come in."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from h2.errors import ErrorCodes
from hpack import HeaderTuple, NeverIndexedHeaderTuple

from cascadeflow.providers.engine import unpacked
from cascadeflow.providers.protocols import NotConnectedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Mapping

    from cascadeflow.providers.http2 import Http2Connection

__all__ = [
    "Frames",
    "Http2Response",
    "Stream",
    "name_of",
    "packable",
    "read_headers",
    "reset_error",
]

_PUBLIC: Final = frozenset(
    (b"accept", b"accept-encoding", b"anthropic-version", b"content-type", b"user-agent")
)
"""The headers that hold no secret, whoever wrote them."""

_FRAME_HEAD: Final = 9
_LARGEST_FRAME: Final = 16_384
_GOAWAY: Final = 7


class Stream:
    """One request and its response."""

    __slots__ = (
        "connection", "ended", "error", "headers", "id", "pieces", "sent", "sent_at", "status",
        "timer", "unsaid", "waiter",
    )  # fmt: skip

    def __init__(self, connection: Http2Connection, number: int, now: float) -> None:
        self.connection = connection
        self.id = number
        self.sent_at = now
        self.sent = False
        """Whether the request has gone out whole."""
        self.status = 0
        self.headers: Mapping[str, str] | None = None
        self.pieces: deque[bytes] = deque()
        self.unsaid = 0
        """Bytes that were read and not yet given back to the sender's window."""
        self.ended = False
        self.error: Exception | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Something has changed: whoever waits looks again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def wait(self) -> None:
        """Waits until something about the stream has changed."""
        self.waiter = self.connection.loop.create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    async def answer(self) -> Mapping[str, str]:
        """Waits for the response's headers."""
        while self.headers is None:
            if self.error is not None:
                raise self.error
            if self.ended:
                raise ConnectionError("the connection broke (a response without headers)")
            await self.wait()
        return self.headers

    def fail(self, error: Exception) -> None:
        """Ends it with an error, unless it has ended."""
        if not self.ended and self.error is None:
            self.error = error
            self.wake()

    def expect(self, seconds: float | None) -> None:
        """Begins to wait for the first byte."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if seconds is not None:
            late = TimeoutError(f"no first byte within {seconds:g} s")
            self.timer = self.connection.loop.call_later(seconds, self.fail, late)


class Http2Response:
    """A response whose body has not been read yet."""

    __slots__ = ("_stream", "headers", "status")

    def __init__(self, stream: Stream, status: int, headers: Mapping[str, str]) -> None:
        self._stream = stream
        self.status = status
        self.headers = headers

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes, decompressed, as they come."""
        coding = self.headers.get("content-encoding")
        return self._raw() if coding is None else unpacked(self._raw(), coding)

    async def _raw(self) -> AsyncIterator[bytes]:
        stream = self._stream
        pieces = stream.pieces
        while True:
            if pieces:
                piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
                stream.connection.consumed(stream, len(piece))
                yield piece
            elif stream.ended:
                return
            elif stream.error is not None:
                raise stream.error
            else:
                await stream.wait()

    async def aclose(self) -> None:
        """Ends the response; resets the stream when it was not read to its end."""
        self._stream.connection.end(self._stream)


class Frames:
    """Takes the GOAWAY frames out of what comes in.

    `h2` takes one for the end of the connection, and would refuse the rest of the answers that the
    server announces with it.
    """

    __slots__ = ("_collected", "_goaway", "_head", "_left", "_told")

    def __init__(self, told: Callable[[int, int], None]) -> None:
        self._told = told
        self._head = b""
        self._left = 0
        """Bytes of the current frame that are still to come."""
        self._goaway = False
        self._collected = b""

    def without_goaway(self, data: bytes) -> bytes:
        """Gives the bytes of all other frames."""
        kept: list[bytes] = []
        position = 0
        size = len(data)
        if not self._goaway and not self._head:
            position = self._left
            while position + _FRAME_HEAD <= size and data[position + 3] != _GOAWAY:
                position += _FRAME_HEAD + _length(data[position : position + 3])
            if position >= size:
                self._left = position - size
                return data
            self._left = 0
            kept.append(data[:position])
        while position < size:
            if not self._left:
                head = self._head + data[position : position + _FRAME_HEAD - len(self._head)]
                position += len(head) - len(self._head)
                if len(head) < _FRAME_HEAD:
                    self._head = head
                    break
                self._head = b""
                self._left = _length(head[:3])
                self._goaway = head[3] == _GOAWAY
                if not self._goaway:
                    kept.append(head)
                elif not self._left:
                    raise ConnectionError("a GOAWAY without its facts")
                continue
            piece = data[position : position + self._left]
            position += len(piece)
            self._left -= len(piece)
            if not self._goaway:
                kept.append(piece)
                continue
            self._collected = (self._collected + piece)[:8]  # the rest is for people to read
            if not self._left:
                self._goaway = False
                facts, self._collected = self._collected, b""
                self._told(int.from_bytes(facts[:4]) & 0x7FFFFFFF, int.from_bytes(facts[4:8]))
        return b"".join(kept)


def _length(field: bytes) -> int:
    """Reads a frame's length; we allow none larger than everybody must take."""
    length = int.from_bytes(field)
    if length > _LARGEST_FRAME:
        raise ConnectionError("a frame that is too large")
    return length


def packable(name: bytes, value: bytes) -> HeaderTuple:
    """Says which headers a connection may remember: no credentials (RFC 7541, section 7.1.3)."""
    kind = HeaderTuple if name in _PUBLIC else NeverIndexedHeaderTuple
    return kind(name, value)


def read_headers(raw: Any) -> tuple[int, dict[str, str]]:
    """Reads a response's status and headers."""
    status = 0
    headers: dict[str, str] = {}
    for name, value in raw:
        if name == b":status":
            status = int(value)
        elif not name.startswith(b":"):
            headers[name.decode("latin-1").lower()] = value.decode("latin-1")
    return status, headers


def reset_error(code: int) -> Exception:
    """Says why the server reset a stream."""
    name = name_of(code)
    if code == ErrorCodes.REFUSED_STREAM:  # promises that nothing was processed (section 8.7)
        return NotConnectedError(f"the server refused the stream ({name})")
    return ConnectionError(f"the connection broke (the server reset the stream: {name})")


def name_of(code: int) -> str:
    """Names an error code."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"code {code}"
