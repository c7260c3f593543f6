"""The default transport: httpx2, many small connection pools, deadlines of our own.

One httpx2 pool does not scale: its bookkeeping grows with the square of its connections. So the
connections are spread over clients of 25 each. A client belongs to one event loop of one process:
an agent may be used from several loops, from threads and after a fork, and no connection ever
crosses over. Clients are closed with their loop.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from cascadeflow.errors import ConfigurationError
from cascadeflow.providers.guard import check_request, host_of, is_loopback
from cascadeflow.providers.protocols import ConnectTimeoutError, NotConnectedError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    from cascadeflow.providers.protocols import HttpRequest, HttpResponse, Transport

__all__ = ["ClientTransport", "HttpTransport", "as_transport"]

CONNECTIONS_PER_CLIENT: Final = 25

_MOST_URLS: Final = 256

_KEEPALIVE_SECONDS: Final = 30.0
"""How long an idle connection is kept: shorter than the idle limit of any provider's front end."""


class _Body:
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


class _Client:
    """An httpx-like client, and what must be known of its library: httpx2, or httpx."""

    __slots__ = ("busy", "client", "decoding_errors", "transport_errors", "urls")

    def __init__(self, client: Any) -> None:
        self.client = client
        self.busy = 0
        """How many requests it is busy with, of those that the sharding counts."""
        self.urls: dict[str, Any] = {}
        """The addresses it has been asked for, parsed: they are few, and parsing is felt."""
        transport: list[type[Exception]] = [OSError]
        decoding: list[type[Exception]] = []
        for cls in type(client).__mro__:
            library: Any = sys.modules.get(cls.__module__.partition(".")[0])
            if hasattr(library, "TransportError") and hasattr(library, "DecodingError"):
                transport += [library.TransportError, library.StreamError]
                decoding += [library.DecodingError]
        self.transport_errors = tuple(transport)
        self.decoding_errors = tuple(decoding)

    def url(self, text: str) -> Any:
        url = self.urls.get(text)
        if url is None:
            if len(self.urls) >= _MOST_URLS:
                self.urls.clear()
            make: Any = type(getattr(self.client, "base_url", text))
            url = self.urls[text] = make(text)
        return url


class _Response:
    """A response of an httpx-like client."""

    __slots__ = ("_client", "_release", "_response", "headers", "status")

    def __init__(
        self, response: Any, client: _Client, release: Callable[[], None] | None = None
    ) -> None:
        self._response = response
        self._client = client
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
        except self._client.decoding_errors:
            raise ConnectionError("the compressed response is broken or cut off") from None
        except self._client.transport_errors as error:
            raise ConnectionError(_words(error, "the connection broke")) from None

    async def aclose(self) -> None:
        """Ends the response; closes the connection when the body was not read to its end."""
        try:
            await self._response.aclose()
        finally:
            if self._release is not None:
                self._release()
                self._release = None


def _words(error: BaseException, otherwise: str) -> str:
    return f"{otherwise} ({str(error) or type(error).__name__})"


async def _exchange(client: _Client, request: HttpRequest) -> Any:
    """Sends over a client and gives its response, once the headers are there.

    The deadline for connecting ends when the client asks for the body, and the one for the first
    byte begins when it has taken it.
    """
    now = asyncio.get_running_loop().time

    def expect_first_byte() -> None:
        wait = request.first_byte
        deadline.reschedule(None if wait is None else now() + wait)

    body = _Body(request.body, expect_first_byte)
    built = client.client.build_request(
        request.method,
        client.url(request.url),
        headers={**request.headers, "content-length": str(len(request.body))},
        content=body,
        timeout=None,
    )
    try:
        async with asyncio.timeout(request.connect) as deadline:
            return await client.client.send(built, stream=True)
    except TimeoutError:
        if body.asked_for:
            raise TimeoutError(f"no first byte within {request.first_byte:g} s") from None
        raise ConnectTimeoutError(f"no connection within {request.connect:g} s") from None
    except client.transport_errors as error:
        # The error itself may hold the request, headers and all, so it is not chained.
        if body.asked_for:
            raise ConnectionError(_words(error, "the connection broke")) from None
        raise NotConnectedError(_words(error, "no connection")) from None


class ClientTransport:
    """Sends over a client of the user's: `httpx2.AsyncClient`, `httpx.AsyncClient`, or one alike.

    The client's limits, proxies and hooks hold; its time-outs do not, for this package keeps
    deadlines of its own. It is the user's to close.
    """

    __slots__ = ("_client",)

    def __init__(self, client: Any) -> None:
        self._client = _Client(client)

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Sends the request and returns once the response's headers are there.

        Raises:
            TimeoutError: a deadline passed.
            ConnectionError: no connection, or it broke.
            RequestsForbiddenError: real requests are forbidden.
        """
        check_request(request.url)
        return _Response(await _exchange(self._client, request), self._client)


class _LoopClients:
    """All clients of one event loop."""

    __slots__ = ("closer", "free", "shards")

    def __init__(self) -> None:
        self.shards: list[_Client] = []
        self.free: dict[str, list[_Client]] = {}
        """By origin, the clients that can take another request; the last one is taken first."""
        self.closer: AsyncGenerator[None, None] | None = None

    def release(self, origin: str, shard: _Client) -> None:
        if shard.busy == CONNECTIONS_PER_CLIENT and origin in self.free:
            self.free[origin].append(shard)
        shard.busy -= 1

    async def close(self) -> None:
        shards = self.shards.copy()
        self.shards.clear()
        self.free.clear()
        for shard in shards:
            await shard.client.aclose()


class HttpTransport:
    """The default transport.

    Args:
        trust_env: whether proxies and certificates named by the environment (`HTTPS_PROXY`,
            `SSL_CERT_FILE` …) are used. Addresses of this machine are never reached by a proxy.
        ssl_context: how servers are checked; without one, by httpx2's usual certificates.
    """

    __slots__ = ("_clients", "_lock", "_pid", "_ssl_context", "_trust_env")

    def __init__(
        self, *, trust_env: bool = True, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._trust_env = trust_env
        self._ssl_context = ssl_context
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopClients] = (
            WeakKeyDictionary()
        )

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Sends the request and returns once the response's headers are there.

        Raises:
            TimeoutError: a deadline passed.
            ConnectionError: no connection, or it broke.
            RequestsForbiddenError: real requests are forbidden.
        """
        url = request.url
        check_request(url)
        clients = await self._loop_clients()
        end = url.find("/", 8)
        origin = url if end < 0 else url[:end]
        shard = self._shard(clients, origin)
        response = None
        try:
            response = await _exchange(shard, request)
            return _Response(response, shard, lambda: clients.release(origin, shard))
        finally:
            if response is None:
                clients.release(origin, shard)

    async def aclose(self) -> None:
        """Closes the connections of the running loop; the transport may be used again."""
        if self._pid == os.getpid():
            clients = self._clients.pop(asyncio.get_running_loop(), None)
            if clients is not None and clients.closer is not None:
                await clients.closer.aclose()

    def _shard(self, clients: _LoopClients, origin: str) -> _Client:
        free = clients.free.get(origin)
        if free is None:
            free = clients.free[origin] = []
        if not free:
            shard = self._make(origin)
            clients.shards.append(shard)
            free.append(shard)
        shard = free[-1]
        shard.busy += 1
        if shard.busy == CONNECTIONS_PER_CLIENT:
            free.pop()
        return shard

    def _make(self, origin: str) -> _Client:
        import httpx2  # noqa: PLC0415 - 35 ms, when the first request is sent

        here = is_loopback(host_of(origin))
        verify: Any = False  # no certificates are read for plain HTTP
        if origin.startswith("https:"):
            if self._ssl_context is None:
                self._ssl_context = httpx2.create_ssl_context(trust_env=self._trust_env)
            verify = self._ssl_context
        client = httpx2.AsyncClient(
            verify=verify,
            trust_env=self._trust_env and not here,
            timeout=None,
            limits=httpx2.Limits(
                max_connections=CONNECTIONS_PER_CLIENT,
                max_keepalive_connections=CONNECTIONS_PER_CLIENT,
                keepalive_expiry=_KEEPALIVE_SECONDS,
            ),
        )
        return _Client(client)

    async def _loop_clients(self) -> _LoopClients:
        if self._pid != os.getpid():
            self._leave_parent()
        loop = asyncio.get_running_loop()
        clients = self._clients.get(loop)
        if clients is not None:
            return clients
        clients = _LoopClients()
        with self._lock:
            for other in [other for other in self._clients if other.is_closed()]:
                del self._clients[other]  # closed without its generators: nothing can be awaited
            self._clients[loop] = clients
        # A loop closes its asynchronous generators before it ends, and so our clients.
        clients.closer = _close_at_end(clients, lambda: self._clients.pop(loop, None))
        await anext(clients.closer)
        return clients

    def _leave_parent(self) -> None:
        """In a forked child: forgets the parent's clients without touching their sockets.

        To finalise them here would wake the parent's loop and warn of transports left open, so they
        are made immortal.
        """
        import ctypes  # noqa: PLC0415 - only after a fork with connections open

        if self._clients:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(dict(self._clients)))
        self._clients = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._pid = os.getpid()


async def _close_at_end(
    clients: _LoopClients, forget: Callable[[], object]
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        forget()
        clients.closer = None  # it holds the loop, and the loop shall go
        await clients.close()


def as_transport(given: Any) -> Transport:
    """Makes a transport of whatever the user gave.

    Args:
        given: `None` for the default; a client with httpx's API; or any object with one `send`
            method (`cascadeflow.providers.protocols.Transport`).

    Raises:
        ConfigurationError: it is none of these.
    """
    if given is None:
        return HttpTransport()
    if not callable(getattr(given, "send", None)):
        raise ConfigurationError(
            "transport must be an httpx2.AsyncClient, an httpx.AsyncClient or an object with "
            f"`async def send(request)`, not {type(given).__name__}"
        )
    if hasattr(given, "build_request"):
        if not inspect.iscoroutinefunction(given.send):
            raise ConfigurationError(
                f"transport is a client that blocks ({type(given).__name__}): give its AsyncClient"
            )
        return ClientTransport(given)
    transport: Transport = given
    return transport
