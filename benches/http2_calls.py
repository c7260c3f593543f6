"""What a call costs over HTTP/2 and over HTTP/1.1, TLS on both, beside httpx2's own client.

    python benches/http2_calls.py

Asks hypercorn, in a process of its own, on this machine. Prints for each way to send: the median
time of a call, one after another; the processor time that this side spends on it; the same for a
stream of 50 events; and, with 100 calls at once, calls a second, this side's processor time for
each. Rounds of all ways are interleaved, so that a busy moment
of the machine meets them all. The server is pure Python too, and shares the machine: the processor
times say more than the others.

Needs hypercorn and h2 (`pip install hypercorn`), and openssl for a certificate.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2

from cascadeflow.providers.protocols import HttpRequest
from cascadeflow.providers.transport import HttpTransport

ROUNDS, CALLS, AT_ONCE = 20, 20, 100

APP = """
ANSWER = b'{"choices": [{"index": 0, "message": {"content": "Oslo"}, "finish_reason": "stop"}]}'

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"].endswith("shutdown"):
                return
    while (await receive()).get("more_body"):
        pass
    head = {"type": "http.response.start", "status": 200, "headers": []}
    await send(head)
    if scope["path"] == "/stream":
        for _ in range(50):
            piece = {"type": "http.response.body", "body": b"data: " + ANSWER + b"\\n\\n"}
            await send({**piece, "more_body": True})
    await send({"type": "http.response.body", "body": ANSWER})
"""
BODY = b'{"model": "small", "messages": [{"role": "user", "content": "%s"}]}' % (b"x" * 300)
HEADERS = {"content-type": "application/json", "authorization": "Bearer k"}

Ask = Callable[[str], Awaitable[None]]


def over(transport: HttpTransport, base: str) -> Ask:
    async def ask(path: str) -> None:
        request = HttpRequest(method="POST", url=base + path, headers=HEADERS, body=BODY)
        response = await transport.send(request)
        try:
            async for _ in response.chunks():
                pass
        finally:
            await response.aclose()
        assert response.status == 200

    return ask


def by(client: httpx2.AsyncClient, base: str) -> Ask:
    async def ask(path: str) -> None:
        async with client.stream("POST", base + path, content=BODY, headers=HEADERS) as response:
            async for _ in response.aiter_bytes():
                pass
        assert response.status_code == 200

    return ask


def certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)


def serve(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    (folder / "app.py").write_text(APP)
    (folder / "settings.py").write_text("keep_alive_max_requests = 10**9\n")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        command = [sys.executable, "-m", "hypercorn", "app:app", "--log-level", "critical"]
        command += ["--bind", f"fd://{listener.fileno()}", "--config", "file:settings.py"]
        command += ["--certfile", "cert.pem", "--keyfile", "key.pem"]
        process = subprocess.Popen(
            command, cwd=folder, pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL
        )
        return process, listener.getsockname()[1]


async def one_after_another(ways: dict[str, Ask], path: str) -> dict[str, tuple[float, float]]:
    """Median seconds and processor seconds of a call."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    work: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 2):
        for name, ask in ways.items():
            begun, worked = time.perf_counter(), time.process_time()
            for _ in range(CALLS):
                await ask(path)
            if number >= 2:  # the first two warm up
                times[name].append((time.perf_counter() - begun) / CALLS)
                work[name].append((time.process_time() - worked) / CALLS)
    return {name: (statistics.median(times[name]), statistics.median(work[name])) for name in ways}


async def at_once(ask: Ask) -> tuple[float, float]:
    """Calls a second and processor seconds of a call."""
    begun, worked = time.perf_counter(), time.process_time()
    for _ in range(5):
        await asyncio.gather(*(ask("/") for _ in range(AT_ONCE)))
    calls = 5 * AT_ONCE
    return calls / (time.perf_counter() - begun), (time.process_time() - worked) / calls


async def main(folder: Path, port: int) -> None:
    base = f"https://localhost:{port}"
    contexts = [ssl.create_default_context(cafile=folder / "cert.pem") for _ in range(3)]
    first = HttpTransport(ssl_context=contexts[0], http2=False)
    second = HttpTransport(ssl_context=contexts[1], http2=True)
    client = httpx2.AsyncClient(verify=contexts[2], timeout=None)
    ways = {
        "HTTP/1.1": over(first, base),
        "HTTP/2": over(second, base),
        "httpx2, HTTP/1.1": by(client, base),
    }
    print(f"{'':18}{'call':>12}{'processor':>12}{'stream':>12}{'processor':>12}   µs")
    calls, streams = await one_after_another(ways, "/"), await one_after_another(ways, "/stream")
    for name in ways:
        figures = [1e6 * value for value in (*calls[name], *streams[name])]
        print(f"{name:18}" + "".join(f"{value:12.0f}" for value in figures))
    print(f"\n{AT_ONCE} at once")
    for name in ("HTTP/1.1", "HTTP/2"):
        rate, work = await at_once(ways[name])
        print(f"{name:18}{rate:12.0f} calls/s, {1e6 * work:.0f} µs of processor each")
    for each in (first, second, client):
        await each.aclose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificate(folder)
        process, port = serve(folder)
        try:
            asyncio.run(main(folder, port))
        finally:
            process.terminate()
            process.wait()
