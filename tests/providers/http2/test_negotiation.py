"""HTTP/2 where it is offered, HTTP/1.1 where it is not; and a server that we did not write."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.config import RetryPolicy
from cascadeflow.errors import MissingDependencyError, ProviderConnectionError
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.providers.transport import HttpTransport

if TYPE_CHECKING:
    from pathlib import Path
    from types import SimpleNamespace

# Which protocol is spoken


def test_a_server_without_http2_is_spoken_to_in_http1_over_the_connection_that_stands(
    http: SimpleNamespace, tls: Any
) -> None:
    plain = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    plain.load_cert_chain(tls.certificate, tls.key)

    async def main() -> None:
        transport = HttpTransport(ssl_context=tls.trusting, http2=True)
        asked = HttpCompleter(transport=transport, retry=RetryPolicy(attempts=1))
        async with http.serve(http.answer, tls=plain) as server:
            model = http.model(server, base_url=f"https://localhost:{server.port}/v1")
            calls = [asked.complete(model, http.ask()) for _ in range(5)]
            assert len(await asyncio.gather(*calls)) == 5
            assert server.connections <= 5
            await asked.complete(model, http.ask())
            assert server.connections <= 5
            await transport.aclose()
            await server.all_closed()

    before = http.open_files()
    asyncio.run(main())
    assert http.open_files() == before


def test_http2_can_be_left_out(http: SimpleNamespace, http2: SimpleNamespace, tls: Any) -> None:
    offered: list[str | None] = []

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        offered.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        writer.transport.abort()

    async def main() -> None:
        listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls.serving)
        model = http2.Http2Server(port=listening.sockets[0].getsockname()[1]).model()
        for spoken in (False, None, True):
            transport = HttpTransport(ssl_context=tls.trusting, http2=spoken)
            with pytest.raises(ProviderConnectionError):
                await HttpCompleter(transport=transport, retry=http2.ONCE).complete(
                    model, http.ask()
                )
            await transport.aclose()
        listening.close()

    asyncio.run(main())
    assert offered == ["http/1.1", "h2", "h2"]


def test_http2_that_is_asked_for_and_not_installed_is_said(
    monkeypatch: pytest.MonkeyPatch, http: SimpleNamespace, tls: Any
) -> None:
    monkeypatch.setattr("cascadeflow.providers.transport.find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"cascadeflow\[http2\]"):
        HttpTransport(http2=True)

    async def main() -> None:
        plain = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        plain.load_cert_chain(tls.certificate, tls.key)
        plain.set_alpn_protocols(["h2", "http/1.1"])
        sender = HttpTransport(ssl_context=tls.trusting)
        async with http.serve(http.answer, tls=plain) as server:
            model = http.model(server, base_url=f"https://localhost:{server.port}/v1")
            reply = await HttpCompleter(transport=sender).complete(model, http.ask())
            assert reply.completion.text == "Hello"  # in HTTP/1.1
            await sender.aclose()

    asyncio.run(main())


# A server that we did not write

APP = """
import asyncio, json

ANSWER = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"},
    "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}).encode()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"].endswith("shutdown"):
                return
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body")
    version = scope["http_version"].encode()
    if not json.loads(body).get("stream"):
        head = [(b"content-type", b"application/json"), (b"x-request-id", version)]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": ANSWER})
        return
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"text/event-stream")]})
    for _ in range(400):
        event = b'data: {"choices": [{"index": 0, "delta": {"content": "la "}}]}\\n\\n'
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b'data: {"choices": [{"index": 0, '
                b'"delta": {}, "finish_reason": "stop"}]}\\n\\ndata: [DONE]\\n\\n'})
"""


def test_hypercorn_understands_us(
    http: SimpleNamespace, http2: SimpleNamespace, tls: Any, tmp_path: Path
) -> None:
    """More calls than it takes on one connection (1,000), some of them let go half-way."""
    pytest.importorskip("hypercorn")
    (tmp_path / "app.py").write_text(APP)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "hypercorn", "app:app"),
                *("--bind", f"fd://{listener.fileno()}", "--log-level", "critical"),
                *("--certfile", str(tls.certificate), "--keyfile", str(tls.key)),
            ],
            cwd=tmp_path,
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
        )
        model = http2.Http2Server(port=listener.getsockname()[1]).model()

    async def main() -> None:
        asked = http2.completer(tls, retry=RetryPolicy(attempts=3, base_delay=0.0))
        for _ in range(12):
            calls = [asked.complete(model, http.ask()) for _ in range(100)]
            for reply in await asyncio.gather(*calls):
                assert reply.completion.text == "Hello"
                assert reply.completion.request_id == "2"  # the version that it was asked in
            async with aclosing(asked.stream(model, http.ask())) as events:
                await anext(events)
        events = await http2.events_of(asked.stream(model, http.ask()))
        assert events[-1].completion.text == "la " * 400
        await asked.aclose()

    try:
        asyncio.run(main())
    finally:
        process.terminate()
        process.wait()
