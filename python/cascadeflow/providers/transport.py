"""The default transport: httpx2's engine over many small pools, or HTTP/2; deadlines of our own.

One pool does not scale: its bookkeeping grows with the square of its connections. So the
connections are spread over pools of 25 each. Where the server offers HTTP/2 and `h2` is installed,
calls share connections instead. A connection belongs to one event loop of one process: an agent may
be used from several loops, from threads and after a fork, and none ever crosses over. Connections
are closed with their loop.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from cascadeflow.errors import ConfigurationError, MissingDependencyError
from cascadeflow.providers.client_transport import Client, ClientTransport, Heads, NotOfferedError
from cascadeflow.providers.guard import check_request, is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable

    from cascadeflow.providers.engine import EnginePool, Place
    from cascadeflow.providers.http2 import Http2Pool
    from cascadeflow.providers.protocols import HttpRequest, HttpResponse, Transport

__all__ = ["ClientTransport", "HttpTransport", "as_transport"]

CONNECTIONS_PER_CLIENT: Final = 25

KEEPALIVE_SECONDS: Final = 30.0
"""How long an idle connection is kept: shorter than the idle limit of any provider's front end."""

_MOST_PLACES: Final = 256


class _LoopClients:
    """All connections of one event loop."""

    __slots__ = ("closer", "free", "http2", "shards")

    def __init__(self) -> None:
        self.shards: list[EnginePool | Client] = []
        self.free: dict[str, list[EnginePool | Client]] = {}
        """By origin, the pools that can take another request; the last one is taken first."""
        self.http2: dict[str, Http2Pool | None] = {}
        """By origin, its HTTP/2 connections; `None` where it speaks no HTTP/2."""
        self.closer: AsyncGenerator[None, None] | None = None

    def release(self, origin: str, shard: EnginePool | Client) -> None:
        if shard.busy == CONNECTIONS_PER_CLIENT and origin in self.free:
            self.free[origin].append(shard)
        shard.busy -= 1

    async def close(self) -> None:
        shards = self.shards.copy()
        pools = [pool for pool in self.http2.values() if pool is not None]
        self.shards.clear()
        self.free.clear()
        self.http2.clear()
        for each in (*shards, *pools):
            await each.aclose()


class HttpTransport:
    """The default transport.

    Args:
        trust_env: whether proxies and certificates named by the environment (`HTTPS_PROXY`,
            `SSL_CERT_FILE` …) are used. Addresses of this machine are never reached by a proxy.
        ssl_context: how servers are checked; without one, by httpx2's usual certificates.
        http2: whether HTTP/2 is spoken with servers that offer it (over TLS, by ALPN): `None`
            where the extra `http2` is installed, `True` requires that, `False` never. Through a
            proxy, HTTP/1.1 is spoken.

    Raises:
        MissingDependencyError: `http2=True`, and the extra is not installed.
    """

    __slots__ = ("_clients", "_contexts", "_heads", "_http2", "_lock", "_pid", "_places",
                 "_ssl_context", "_trust_env")  # fmt: skip

    def __init__(
        self,
        *,
        trust_env: bool = True,
        ssl_context: ssl.SSLContext | None = None,
        http2: bool | None = None,
    ) -> None:
        if http2 and find_spec("h2") is None:
            raise MissingDependencyError(
                "HttpTransport(http2=True) needs the package h2: pip install 'cascadeflow[http2]'"
            )
        self._trust_env = trust_env
        self._ssl_context = ssl_context
        self._contexts: dict[bool, ssl.SSLContext] = {}
        """Of our own, one for each protocol: what is offered stands in the context."""
        self._http2 = http2
        self._places: dict[str, Place] = {}
        self._heads = Heads()
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
        place = self._places.get(url) or self._place(url)
        head = self._heads.of(request.headers)
        clients = await self._loop_clients()
        standing: Any = None
        if place.secure and self._http2 is not False:
            http2 = clients.http2.get(place.origin, ...)
            if http2 is ...:
                http2 = clients.http2[place.origin] = self._http2_pool(place)
            if http2 is not None:
                try:
                    return await http2.send(request, place, head)
                except NotOfferedError as answer:
                    standing = answer.transport
                    clients.http2[place.origin] = None
        shard = self._shard(clients, place)
        if standing is not None and not isinstance(shard, Client):
            shard.backend.take(standing)

        def release() -> None:
            clients.release(place.origin, shard)

        response = None
        try:
            if isinstance(shard, Client):
                response = await shard.send(request, release)
            else:
                response = await shard.send(request, place, head, release)
            return response
        finally:
            if response is None:
                release()

    async def aclose(self) -> None:
        """Closes the connections of the running loop; the transport may be used again."""
        if self._pid == os.getpid():
            clients = self._clients.pop(asyncio.get_running_loop(), None)
            if clients is not None and clients.closer is not None:
                await clients.closer.aclose()

    def _place(self, url: str) -> Place:
        from cascadeflow.providers.engine import Place  # noqa: PLC0415 - 35 ms, with the first one

        place = Place(url)
        if len(self._places) >= _MOST_PLACES:
            self._places.clear()
        self._places[url] = place
        return place

    def _shard(self, clients: _LoopClients, place: Place) -> EnginePool | Client:
        free = clients.free.get(place.origin)
        if free is None:
            free = clients.free[place.origin] = []
        if not free:
            shard = self._client(place) if self._is_proxied(place) else self._engine(place)
            clients.shards.append(shard)
            free.append(shard)
        shard = free[-1]
        shard.busy += 1
        if shard.busy == CONNECTIONS_PER_CLIENT:
            free.pop()
        return shard

    def _engine(self, place: Place) -> EnginePool:
        from cascadeflow.providers.engine import EnginePool  # noqa: PLC0415 - as above

        context = self._context(http2=False) if place.secure else None
        return EnginePool(CONNECTIONS_PER_CLIENT, KEEPALIVE_SECONDS, context)

    def _client(self, place: Place) -> Client:
        """Makes a whole client of httpx2's, which knows its way through proxies."""
        import httpx2  # noqa: PLC0415 - as above

        # No certificates are read for plain HTTP.
        verify: Any = self._context(http2=False) if place.secure else False
        limits = httpx2.Limits(
            max_connections=CONNECTIONS_PER_CLIENT,
            max_keepalive_connections=CONNECTIONS_PER_CLIENT,
            keepalive_expiry=KEEPALIVE_SECONDS,
        )
        return Client(httpx2.AsyncClient(verify=verify, timeout=None, limits=limits))

    def _http2_pool(self, place: Place) -> Http2Pool | None:
        if self._is_proxied(place) or (self._http2 is None and find_spec("h2") is None):
            return None
        from cascadeflow.providers.http2 import Http2Pool  # noqa: PLC0415 - an extra

        return Http2Pool(place, KEEPALIVE_SECONDS, self._context(http2=True))

    def _context(self, *, http2: bool) -> ssl.SSLContext:
        if self._ssl_context is not None:
            return self._ssl_context
        context = self._contexts.get(http2)
        if context is None:
            import httpx2  # noqa: PLC0415 - as above

            context = self._contexts[http2] = httpx2.create_ssl_context(trust_env=self._trust_env)
        return context

    def _is_proxied(self, place: Place) -> bool:
        """Whether a proxy may stand between: then httpx2 finds out, and goes through it."""
        if not self._trust_env or is_loopback(place.host):
            return False
        from urllib.request import getproxies  # noqa: PLC0415 - heavy, and seldom needed

        return not {"http", "https", "all"}.isdisjoint(getproxies())

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
        # A loop closes its asynchronous generators before it ends, and so our connections.
        clients.closer = _close_at_end(clients, lambda: self._clients.pop(loop, None))
        await anext(clients.closer)
        return clients

    def _leave_parent(self) -> None:
        """In a forked child: forgets the parent's connections without touching their sockets.

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
