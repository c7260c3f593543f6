"""HTTP/1.1: small pools of httpx2's own engine, httpcore2, without the client around it.

What the client adds to each request (cookies, redirects, its own copy of everything) is not needed
here, and costs as much as sending the request does; `benches/test_overhead.py` measures it.
"""

from __future__ import annotations

import zlib
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import httpcore2
import httpx2

from cascadeflow.providers.client_transport import Body, late, words
from cascadeflow.providers.deadline import Deadline
from cascadeflow.providers.network import AsyncioBackend
from cascadeflow.providers.protocols import NotConnectedError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping

    from cascadeflow.providers.protocols import HttpRequest

__all__ = ["EnginePool", "Place", "unpacked"]

_ERRORS: Final = (
    OSError,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
)

_MOST_UNPACKED: Final = 1024 * 1024
"""Bytes that are decompressed at once."""

_PACKED: Final = "the compressed response is broken or cut off"


class Place:
    """An address, taken apart once."""

    __slots__ = ("authority", "host", "origin", "port", "secure", "target", "url")

    def __init__(self, url: str) -> None:
        parsed = httpx2.URL(url)
        self.secure = parsed.scheme == "https"
        self.host: str = parsed.raw_host.decode()
        self.port: int = parsed.port or (443 if self.secure else 80)
        self.authority: bytes = parsed.netloc
        self.target: bytes = parsed.raw_path
        self.url = httpcore2.URL(
            scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=self.target
        )
        self.origin = f"{parsed.scheme}://{self.host}:{self.port}"


class EnginePool:
    """One pool of the engine. It does not scale, so several of them share the connections.

    Args:
        connections: how many it may open.
        keep: seconds that an idle one is kept.
        context: how servers are checked, `None` for plain HTTP.
    """

    __slots__ = ("backend", "busy", "pool")

    def __init__(self, connections: int, keep: float, context: ssl.SSLContext | None) -> None:
        self.backend = AsyncioBackend()
        self.pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=keep,
            network_backend=self.backend,
        )
        self.busy = 0
        """How many requests it is busy with, of those that the sharding counts."""

    async def send(
        self,
        request: HttpRequest,
        place: Place,
        head: tuple[tuple[bytes, bytes], ...],
        release: Callable[[], None],
    ) -> EngineResponse:
        """Sends a request and returns once the response's headers are there.

        Args:
            request: what to send, and its deadlines.
            place: its address.
            head: its headers.
            release: called when the response has been ended.
        """
        deadline = Deadline()
        first_byte = request.first_byte
        body = Body(request.body, lambda: deadline.move(first_byte))
        size = b"%d" % len(request.body)
        asked = httpcore2.Request(
            request.method,
            place.url,
            headers=((b"host", place.authority), *head, (b"content-length", size)),
            content=body,
        )
        try:
            response = await deadline.limit(self.pool.handle_async_request(asked), request.connect)
        except TimeoutError:
            raise late(request, body) from None
        except _ERRORS as error:
            if body.asked_for:
                raise ConnectionError(words(error, "the connection broke")) from None
            raise NotConnectedError(words(error, "no connection")) from None
        finally:
            deadline.close()
        return EngineResponse(response, release)

    async def aclose(self) -> None:
        """Closes all connections."""
        await self.pool.aclose()
        await self.backend.aclose()


class EngineResponse:
    """A response of the engine, whose body has not been read yet."""

    __slots__ = ("_release", "_response", "headers", "status")

    def __init__(self, response: httpcore2.Response, release: Callable[[], None]) -> None:
        self._response = response
        self._release: Callable[[], None] | None = release
        self.status = response.status
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in response.headers
        }

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes, decompressed, as they come."""
        source: Any = aiter(self._response.stream)  # type: ignore[arg-type] # it is the async kind
        if "content-encoding" in self.headers:
            source = unpacked(source, self.headers["content-encoding"])
        try:
            async with aclosing(source):
                async for piece in source:
                    yield piece
        except _ERRORS as error:
            raise ConnectionError(words(error, "the connection broke")) from None

    async def aclose(self) -> None:
        """Ends the response; closes the connection when the body was not read to its end."""
        release, self._release = self._release, None
        if release is not None:
            try:
                await self._response.aclose()
                stream = self._response.extensions["network_stream"]
                if not stream.clean:
                    await stream.aclose()  # the next response would begin with what came behind
            finally:
                release()


async def unpacked(source: Any, coding: str) -> AsyncIterator[bytes]:
    """Decompresses a body as it comes.

    Raises:
        ConnectionError: it is broken, cut off, or compressed in a way that was not asked for.
    """
    coding = coding.strip().lower()
    async with aclosing(source):
        if coding in ("identity", ""):
            async for piece in source:
                yield piece
            return
        if coding not in ("gzip", "x-gzip"):
            raise ConnectionError(f"the response is compressed by {coding[:40]!r}, unasked")
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        begun = False
        try:
            async for piece in source:
                rest = piece
                while rest:
                    if unpacker.eof:  # a further member follows
                        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
                    begun = True
                    # In small pieces, so that whoever counts them can stop a flood.
                    data = unpacker.decompress(rest, _MOST_UNPACKED)
                    rest = unpacker.unconsumed_tail or unpacker.unused_data
                    if data:
                        yield data
        except zlib.error:
            raise ConnectionError(_PACKED) from None
        if begun and not unpacker.eof:
            raise ConnectionError(_PACKED)
