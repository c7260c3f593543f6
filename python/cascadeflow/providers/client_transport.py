"""Sending over a client of the user's own, which has httpx's API."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.providers.deadline import Deadline
from cascadeflow.providers.guard import check_request
from cascadeflow.providers.protocols import ConnectTimeoutError, NotConnectedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from cascadeflow.providers.protocols import HttpRequest, HttpResponse

__all__ = ["Body", "Client", "ClientTransport", "Heads", "NotOfferedError", "late", "words"]

_MOST_URLS: Final = 256
_MOST_HEADS: Final = 256


class NotOfferedError(Exception):
    """A server speaks no HTTP/2; nothing was sent to it.

    Attributes:
        transport: the connection that stands all the same, for HTTP/1.1; `None` when somebody else
            has found out.
    """

    def __init__(self, transport: Any = None) -> None:
        super().__init__("the server speaks no HTTP/2")
        self.transport = transport


class Heads:
    """Headers as bytes. A model's are the same mapping with each request, so they are kept."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Mapping[str, str], tuple[tuple[bytes, bytes], ...]]] = {}

    def of(self, headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
        """Gives the headers, names lower-cased, with what every request says besides."""
        kept = self._kept.get(id(headers))
        if kept is not None and kept[0] is headers:
            return kept[1]
        given = {name.lower(): value for name, value in headers.items()}
        whole = {"accept": "*/*", "accept-encoding": "gzip", **given}
        pairs = tuple([(name.encode("ascii"), value.encode()) for name, value in whole.items()])
        if len(self._kept) >= _MOST_HEADS:
            self._kept.clear()
        self._kept[id(headers)] = headers, pairs
        return pairs


class Body:
    """A request's body that tells when it is asked for: then the connection stands."""

    __slots__ = ("_data", "_on_progress", "asked_for")

    def __init__(self, data: bytes, on_progress: Callable[[], None]) -> None:
        self._data = data
        self._on_progress = on_progress
        self.asked_for = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.asked_for = True
        self._on_progress()
        yield self._data
        self._on_progress()


def late(request: HttpRequest, body: Body) -> TimeoutError:
    """Says which deadline has passed."""
    if body.asked_for:
        return TimeoutError(f"no first byte within {request.first_byte:g} s")
    return ConnectTimeoutError(f"no connection within {request.connect:g} s")


def words(error: BaseException, otherwise: str) -> str:
    """Says what went wrong, and what the library below says of it."""
    return f"{otherwise} ({str(error) or type(error).__name__})"


class Client:
    """An httpx-like client."""

    __slots__ = ("busy", "client", "urls")

    def __init__(self, client: Any) -> None:
        self.client = client
        self.busy = 0
        """How many requests it is busy with, of those that the sharding counts."""
        self.urls: dict[str, Any] = {}
        """The addresses it has been asked for, parsed: they are few, and parsing is felt."""

    async def send(
        self, request: HttpRequest, release: Callable[[], None] | None = None
    ) -> HttpResponse:
        """Sends a request and returns once the response's headers are there.

        The deadline for connecting ends when the client asks for the body, and the one for the
        first byte begins when it has taken it.

        Args:
            request: what to send, and its deadlines.
            release: called when the response has been ended.
        """
        deadline = Deadline()
        body = Body(request.body, lambda: deadline.move(request.first_byte))
        built = self.client.build_request(
            request.method,
            self._url(request.url),
            headers={**request.headers, "content-length": str(len(request.body))},
            content=body,
            timeout=None,
        )
        try:
            response = await deadline.limit(self.client.send(built, stream=True), request.connect)
        except TimeoutError:
            raise late(request, body) from None
        except Exception as error:
            if not _is_transport_error(error):
                raise
            # The error itself may hold the request, headers and all, so it is not chained.
            if body.asked_for:
                raise ConnectionError(words(error, "the connection broke")) from None
            raise NotConnectedError(words(error, "no connection")) from None
        finally:
            deadline.close()
        return _Response(response, release)

    async def aclose(self) -> None:
        """Closes the client."""
        await self.client.aclose()

    def _url(self, text: str) -> Any:
        url = self.urls.get(text)
        if url is None:
            if len(self.urls) >= _MOST_URLS:
                self.urls.clear()
            make: Any = type(getattr(self.client, "base_url", text))
            url = self.urls[text] = make(text)
        return url


class _Response:
    """A response of an httpx-like client."""

    __slots__ = ("_release", "_response", "headers", "status")

    def __init__(self, response: Any, release: Callable[[], None] | None) -> None:
        self._response = response
        self._release = release
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in response.headers.raw
        }

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes, decompressed, as they come."""
        response = self._response
        # Where nothing is compressed, the client's decoding layers are passed by.
        plain = "content-encoding" not in self.headers
        source = aiter(response.stream) if plain else response.aiter_bytes()
        try:
            async with aclosing(source):
                async for piece in source:
                    yield piece
        except Exception as error:
            if _is_a(error, "DecodingError"):
                raise ConnectionError("the compressed response is broken or cut off") from None
            if not _is_transport_error(error):
                raise
            raise ConnectionError(words(error, "the connection broke")) from None

    async def aclose(self) -> None:
        """Ends the response; closes the connection when the body was not read to its end."""
        release, self._release = self._release, None
        try:
            await self._response.aclose()
        finally:
            if release is not None:
                release()


def _is_transport_error(error: Exception) -> bool:
    return isinstance(error, OSError) or _is_a(error, "TransportError", "StreamError")


def _is_a(error: Exception, *names: str) -> bool:
    """Whether an error is one of httpx2's or httpx's of these names, or of a library alike.

    The error is asked, not the client: a client may wrap another one.
    """
    for cls in type(error).__mro__:
        library = sys.modules.get(cls.__module__.partition(".")[0])
        for name in names:
            known = getattr(library, name, None)
            if isinstance(known, type) and isinstance(error, known):
                return True
    return False


class ClientTransport:
    """Sends over a client of the user's: `httpx2.AsyncClient`, `httpx.AsyncClient`, or one alike.

    The client's limits, proxies and hooks hold; its time-outs do not, for this package keeps
    deadlines of its own. It is the user's to close.
    """

    __slots__ = ("_client",)

    def __init__(self, client: Any) -> None:
        self._client = Client(client)

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Sends the request and returns once the response's headers are there.

        Raises:
            TimeoutError: a deadline passed.
            ConnectionError: no connection, or it broke.
            RequestsForbiddenError: real requests are forbidden.
        """
        check_request(request.url)
        return await self._client.send(request)
