"""An HTTP/2 server on this machine, whose every frame a test decides."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cascadeflow.config import RetryPolicy
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.providers.transport import HttpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

pytest.importorskip("h2")

import h2.config
import h2.connection
import h2.events
import h2.settings

ONCE = RetryPolicy(attempts=1)


class Tls(NamedTuple):
    serving: ssl.SSLContext
    trusting: ssl.SSLContext
    key: Path
    certificate: Path


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A certificate for `localhost`, and the two contexts that go with it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the test's certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate, key)
    serving.set_alpn_protocols(["h2", "http/1.1"])
    trusting = ssl.create_default_context(cafile=str(certificate))
    return Tls(serving, trusting, key, certificate)


# A server


@dataclass
class Exchange:
    """One request that came in, and the ways to answer it."""

    server: Http2Server
    connection: _Connection
    id: int
    number: int
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)
    whole: asyncio.Event = field(default_factory=asyncio.Event)
    reset: asyncio.Future[int] = field(default_factory=asyncio.Future)

    @property
    def json(self) -> Any:
        return json.loads(bytes(self.body))

    def head(self, status: int = 200, headers: dict[str, str] | None = None) -> None:
        headers = headers or {"content-type": "text/event-stream"}
        self.connection.h2.send_headers(self.id, [(":status", str(status)), *headers.items()])
        self.connection.flush()

    async def send(self, data: bytes) -> None:
        protocol = self.connection.h2
        while data:
            room = min(protocol.local_flow_control_window(self.id), 16_384)
            if room <= 0:
                await self.connection.window_opened()
                continue
            protocol.send_data(self.id, data[:room])
            data = data[room:]
            self.connection.flush()

    async def event(self, data: Any) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        await self.send(f"data: {text}\n\n".encode())

    def end(self) -> None:
        self.connection.h2.end_stream(self.id)
        self.connection.flush()

    async def respond(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.head(status, {"content-type": "application/json", **(headers or {})})
        await self.send(data)
        self.end()

    def abort(self, code: int) -> None:
        self.connection.h2.reset_stream(self.id, code)
        self.connection.flush()


if TYPE_CHECKING:
    Handler = Callable[[Exchange], Awaitable[None]]


class _Connection(asyncio.Protocol):
    """The server's side of one connection."""

    def __init__(self, server: Http2Server, handler: Handler) -> None:
        self.server = server
        self.handler = handler
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self.exchanges: dict[int, Exchange] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.deaf = False
        self.pings = 0
        self._window = asyncio.Event()
        self._echo = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server.connections.append(self)
        self.server.open.add(self)
        self.h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.server.streams,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: self.server.window,
            },
        )
        self.h2.initiate_connection()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.server.open.discard(self)
        for task in self.tasks:
            task.cancel()

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.transport.write(data)

    async def window_opened(self) -> None:
        self._window.clear()
        await self._window.wait()

    async def heard(self, data: bytes = b"") -> None:
        """Sends a ping with bytes right behind it, and waits until the client has read both."""
        self._echo.clear()
        self.h2.ping(b"heard it")
        self.raw(self.h2.data_to_send() + data)
        await self._echo.wait()

    def goodbye(self, last: int, code: int = 0) -> None:
        """Sends a GOAWAY, and goes on: `h2` itself would fall silent."""
        payload = last.to_bytes(4) + code.to_bytes(4) + b"so long"
        self.raw(len(payload).to_bytes(3) + b"\x07\x00" + bytes(4) + payload)

    def raw(self, data: bytes) -> None:
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        for event in self.h2.receive_data(data):
            self._take(event)
        self.flush()

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            number = len(self.server.exchanges) + 1
            exchange = Exchange(
                self.server,
                self,
                event.stream_id,
                number,
                {str(name): str(value) for name, value in event.headers},
            )
            self.exchanges[event.stream_id] = exchange
            self.server.exchanges.append(exchange)
            self.server.busiest = max(self.server.busiest, self.h2.open_inbound_streams)
            task = asyncio.ensure_future(self._handle(exchange))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif isinstance(event, h2.events.DataReceived):
            self.exchanges[event.stream_id].body += event.data
            if not self.server.stingy:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.exchanges[event.stream_id].whole.set()
        elif isinstance(event, h2.events.StreamReset):
            reset = self.exchanges[event.stream_id].reset
            if not reset.done():
                reset.set_result(int(event.error_code))
        elif isinstance(event, h2.events.WindowUpdated):
            self._window.set()
        elif isinstance(event, h2.events.PingReceived):
            self.pings += 1
        elif isinstance(event, h2.events.PingAckReceived):
            self._echo.set()

    async def _handle(self, exchange: Exchange) -> None:
        if not self.server.early:
            await exchange.whole.wait()
        await self.handler(exchange)


@dataclass
class Http2Server:
    """The server, and what it saw.

    Attributes:
        streams: how many it takes at once on a connection.
        window: bytes of a request that it takes unasked.
        stingy: whether it never takes more than those.
        early: whether it answers before a request has come in whole.
    """

    streams: int = 100
    window: int = 65_535
    stingy: bool = False
    early: bool = False
    port: int = 0
    exchanges: list[Exchange] = field(default_factory=list)
    connections: list[_Connection] = field(default_factory=list)
    open: set[_Connection] = field(default_factory=set)
    busiest: int = 0

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/v1"

    def model(self, **settings: Any) -> ModelConfig:
        settings = {"api_key": "sk-test-key-0123456789", "base_url": self.url, **settings}
        return ModelConfig("m", "openai", **settings)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until something has come about; the test's time-out fails it otherwise."""
        while not condition():  # noqa: ASYNC110 - the other side's event
            await asyncio.sleep(0)


@asynccontextmanager
async def serve(handler: Handler, tls: Tls, **settings: Any) -> AsyncIterator[Http2Server]:
    """Runs a server on the running loop."""
    server = Http2Server(**settings)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(
        lambda: _Connection(server, handler), "localhost", 0, ssl=tls.serving, family=socket.AF_INET
    )
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        tasks = [task for connection in server.connections for task in connection.tasks]
        for connection in server.connections:
            connection.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.until(lambda: not server.open)


def completer(tls: Tls, **settings: Any) -> HttpCompleter:
    transport = HttpTransport(ssl_context=tls.trusting)
    made = HttpCompleter(transport=transport, **{"retry": ONCE, **settings})
    made.aclose = transport.aclose  # type: ignore[method-assign] # the tests' own transport
    return made


async def events_of(stream: Any) -> list[Any]:
    async with aclosing(stream) as events:
        return [event async for event in events]


def answering(http: SimpleNamespace) -> Handler:
    async def handler(exchange: Exchange) -> None:
        if not exchange.json.get("stream"):
            await exchange.respond(200, http.ANSWER, {"x-request-id": f"r{exchange.number}"})
            return
        exchange.head()
        for chunk in http.stream_chunks():
            await exchange.event(chunk)
        await exchange.event("[DONE]")
        exchange.end()

    return handler


async def sing(exchange: Exchange) -> None:
    """A stream that never ends by itself."""
    exchange.head()
    while not exchange.reset.done():
        await exchange.event({"choices": [{"index": 0, "delta": {"content": "la "}}]})
        await asyncio.sleep(0)


async def be_silent(exchange: Exchange) -> None:
    await exchange.reset


@pytest.fixture(scope="session")
def http2() -> SimpleNamespace:
    """The helpers above: a test module can import none of its neighbours."""
    names = (Http2Server, answering, be_silent, completer, events_of, serve, sing)
    return SimpleNamespace(ONCE=ONCE, **{each.__name__: each for each in names})
