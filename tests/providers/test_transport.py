"""The transport: nothing leaks, and no loop or process shares a connection."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import multiprocessing
import os
import shutil
import ssl
import subprocess
import threading
import warnings
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.config import RetryPolicy
from cascadeflow.errors import (
    ConfigurationError,
    ProviderConnectionError,
    RequestsForbiddenError,
)
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.providers.guard import (
    allow_real_requests,
    check_request,
    forbid_real_requests,
)
from cascadeflow.providers.transport import CONNECTIONS_PER_CLIENT, HttpTransport, as_transport

if TYPE_CHECKING:
    from pathlib import Path
    from types import SimpleNamespace

    from cascadeflow.providers.protocols import HttpRequest

ONCE = RetryPolicy(attempts=1)


async def stream_for_ever(exchange: Any) -> None:
    await exchange.start_stream()
    while True:
        await exchange.event({"choices": [{"index": 0, "delta": {"content": "la "}}]})
        await asyncio.sleep(0)


async def never_answer(exchange: Any) -> None:
    await exchange.until_closed()


async def nothing_is_left(server: Any, tasks: set[asyncio.Task[Any]]) -> None:
    """No connection stays open at the server, and no task of ours is running."""
    await server.all_closed()
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() <= tasks


@pytest.mark.parametrize("handler", [never_answer, stream_for_ever])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_call_closes_its_connection_and_leaves_nothing(
    http: SimpleNamespace, handler: Any, *, streamed: bool
) -> None:
    async def main() -> None:
        completer = HttpCompleter()
        async with http.serve(handler) as server:
            tasks = asyncio.all_tasks()
            model = http.model(server)

            async def call() -> None:
                if not streamed:
                    await completer.complete(model, http.ask())
                    return
                async with aclosing(completer.stream(model, http.ask())) as events:
                    async for _ in events:
                        pass

            for number, passes in enumerate((0, 10, 100), 1):
                task = asyncio.create_task(call())
                while len(server.exchanges) < number:  # noqa: ASYNC110 - until it has arrived
                    await asyncio.sleep(0)
                for _ in range(passes):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await nothing_is_left(server, tasks)
            await completer.aclose()

    before = http.open_files()
    asyncio.run(main())
    assert http.open_files() == before


def test_a_stream_that_is_let_go_closes_its_connection(http: SimpleNamespace) -> None:
    async def main() -> None:
        completer = HttpCompleter()
        async with http.serve(stream_for_ever) as server:
            tasks = asyncio.all_tasks()
            async with aclosing(completer.stream(http.model(server), http.ask())) as events:
                await anext(events)
            await nothing_is_left(server, tasks)
            await completer.aclose()

    asyncio.run(main())


def test_failed_calls_leave_nothing(http: SimpleNamespace) -> None:
    async def drop(exchange: Any) -> None:
        if exchange.number % 2:
            exchange.drop()
        else:
            await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{")
            exchange.writer.close()

    async def main() -> None:
        completer = HttpCompleter(retry=ONCE)
        async with http.serve(drop) as server:
            tasks = asyncio.all_tasks()
            for _ in range(10):
                with pytest.raises(ProviderConnectionError):
                    await completer.complete(http.model(server), http.ask())
            await nothing_is_left(server, tasks)
            await completer.aclose()

    before = http.open_files()
    asyncio.run(main())
    assert http.open_files() == before


def test_connections_are_used_again_and_spread_over_clients(http: SimpleNamespace) -> None:
    async def main() -> None:
        calls = 2 * CONNECTIONS_PER_CLIENT + 10
        waiting = 0
        everyone = asyncio.Event()

        async def together(exchange: Any) -> None:
            nonlocal waiting
            waiting += 1
            if waiting == calls:
                everyone.set()
            await everyone.wait()
            await http.answer(exchange)

        transport = HttpTransport()
        completer = HttpCompleter(transport=transport)
        async with http.serve(together) as server:
            model = http.model(server)
            for _ in range(2):
                replies = [completer.complete(model, http.ask()) for _ in range(calls)]
                assert len(await asyncio.gather(*replies)) == calls
            assert server.connections == calls  # the second round opened none
            (clients,) = transport._clients.values()
            assert len(clients.shards) == 3
            assert [shard.busy for shard in clients.shards] == [0, 0, 0]
            await transport.aclose()
            await server.all_closed()

    asyncio.run(main())


def test_loops_and_threads_share_no_connection(http: SimpleNamespace) -> None:
    completer = HttpCompleter()
    outcomes: list[str] = []

    async def main() -> None:
        async with http.serve(http.answer) as server:
            for _ in range(2):
                reply = await completer.complete(http.model(server), http.ask())
                outcomes.append(reply.completion.text)
            assert server.connections == 1

    def one_after_the_other() -> None:
        for _ in range(3):
            asyncio.run(main())

    threads = [threading.Thread(target=one_after_the_other) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == ["Hello"] * 18


def test_a_loop_that_ends_takes_its_connections_along(http: SimpleNamespace) -> None:
    """No `aclose`, and still no file, no loop and no warning is left behind."""
    transport = HttpTransport()
    completer = HttpCompleter(transport=transport)

    async def main() -> None:
        async with http.serve(http.answer) as server:
            await completer.complete(http.model(server), http.ask())

    before = http.open_files()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            asyncio.run(main())
        gc.collect()
    assert http.open_files() == before
    assert not transport._clients


def test_a_completer_works_again_after_it_was_closed(http: SimpleNamespace) -> None:
    async def main() -> None:
        completer = HttpCompleter()
        async with http.serve(http.answer) as server:
            for _ in range(2):
                await completer.complete(http.model(server), http.ask())
                await completer.aclose()
            assert server.connections == 2

    asyncio.run(main())


def _call_in_child(url: str, completer: HttpCompleter, results: Any) -> None:
    async def main() -> str:
        model = ModelConfig("m", "vllm", base_url=url)
        reply = await completer.complete(model, _hi())
        return reply.completion.text

    try:
        results.put((os.getpid(), asyncio.run(main())))
    except BaseException as error:  # noqa: BLE001 - the parent shall see it
        results.put((os.getpid(), repr(error)))


def _hi() -> Any:
    from cascadeflow.types import ChatRequest, Message  # noqa: PLC0415

    return ChatRequest(model="m", messages=(Message("user", "Hi"),))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_connections_of_its_own(http: SimpleNamespace) -> None:
    """The parent forks with an open connection, as a pre-loading server does, and uses it on."""

    async def main() -> None:
        completer = HttpCompleter()
        context = multiprocessing.get_context("fork")
        results = context.SimpleQueue()
        async with http.serve(http.answer) as server:
            model = http.model(server)
            await completer.complete(model, http.ask())
            loop = asyncio.get_running_loop()
            exits: asyncio.Queue[int | None] = asyncio.Queue()

            def fork() -> None:
                child = context.Process(
                    target=_call_in_child, args=(server.url, completer, results)
                )
                child.start()
                child.join()
                loop.call_soon_threadsafe(exits.put_nowait, child.exitcode)

            # This thread's loop serves the children meanwhile, so another one forks them.
            forking = [threading.Thread(target=fork) for _ in range(2)]
            for thread in forking:
                thread.start()
            assert [await exits.get() for _ in forking] == [0, 0]
            for thread in forking:
                thread.join()
            answers = [results.get() for _ in forking]
            assert [text for _, text in answers] == ["Hello", "Hello"]
            await completer.complete(model, http.ask())
            ports = [exchange.writer.get_extra_info("peername") for exchange in server.exchanges]
            assert ports[0] == ports[-1]  # the parent's connection outlived its children
            assert len(set(ports)) == 3
            await completer.aclose()

    asyncio.run(main())


# What the user may hand in


@pytest.mark.parametrize("library", ["httpx2", "httpx"])
def test_a_client_of_the_user_s_own_is_used_and_left_open(
    http: SimpleNamespace, library: str
) -> None:
    module = pytest.importorskip(library)

    async def main() -> None:
        async with module.AsyncClient(headers={"x-mine": "1"}, timeout=0.000001) as client:
            completer = HttpCompleter(transport=client, retry=ONCE)
            async with http.serve(http.answer) as server:
                model = http.model(server)
                reply = await completer.complete(model, http.ask())
                assert reply.completion.text == "Hello"
                events: list[Any] = [e async for e in completer.stream(model, http.ask())]
                assert events[-1].completion.text == "Hello"
                assert server.exchanges[0].headers["x-mine"] == "1"
            with pytest.raises(ProviderConnectionError) as caught:
                await completer.complete(model, http.ask())
            assert caught.value.billed in (False, None)
            await completer.aclose()
            assert not client.is_closed

    asyncio.run(main())


def test_an_object_with_one_method_is_a_transport(http: SimpleNamespace) -> None:
    class Response:
        status = 200
        headers = {"x-request-id": "r"}  # noqa: RUF012 - it is read only

        async def chunks(self) -> Any:
            body = json.dumps(http.ANSWER).encode()
            yield body[:9]
            yield body[9:]

        async def aclose(self) -> None:
            closed.append(True)

    class Transport:
        async def send(self, request: HttpRequest) -> Response:
            sent.append(request)
            return Response()

    sent: list[HttpRequest] = []
    closed: list[bool] = []

    async def main() -> None:
        completer = HttpCompleter(transport=Transport())
        model = ModelConfig("m", "openai", api_key="sk-secret-key")
        reply = await completer.complete(model, http.ask())
        assert reply.completion.text == "Hello"
        await completer.aclose()

    asyncio.run(main())
    assert closed == [True]
    assert sent[0].url == "https://api.openai.com/v1/chat/completions"
    assert "sk-secret-key" not in repr(sent[0])


def test_what_is_no_transport_is_refused() -> None:
    httpx2 = pytest.importorskip("httpx2")
    with pytest.raises(ConfigurationError, match="send"):
        as_transport(object())
    with httpx2.Client() as client, pytest.raises(ConfigurationError, match="AsyncClient"):
        as_transport(client)


def test_a_compressed_answer_is_read_and_a_broken_one_is_an_error(http: SimpleNamespace) -> None:
    data = gzip.compress(json.dumps(http.ANSWER).encode())

    async def handler(exchange: Any) -> None:
        assert "gzip" in exchange.headers["accept-encoding"]
        body = data if exchange.number == 1 else data[:-20]
        if exchange.number == 3:
            body = b"this was never compressed"
        await exchange.respond(200, body, {"content-encoding": "gzip"})

    async def main() -> None:
        completer = HttpCompleter(retry=ONCE)
        async with http.serve(handler) as server:
            model = http.model(server)
            assert (await completer.complete(model, http.ask())).completion.text == "Hello"
            for _ in range(2):
                with pytest.raises(ProviderConnectionError, match="compressed") as caught:
                    await completer.complete(model, http.ask())
                assert caught.value.billed is None
            await completer.aclose()

    asyncio.run(main())


def test_tls_is_spoken_and_checked(http: SimpleNamespace, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the test's certificate, is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
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
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def main() -> None:
        async with http.serve(http.answer, tls=serving) as server:
            url = f"https://localhost:{server.port}/v1"
            model = http.model(server, base_url=url)
            transport = HttpTransport(ssl_context=trusting)
            completer = HttpCompleter(transport=transport)
            for _ in range(2):
                reply = await completer.complete(model, http.ask())
                assert reply.completion.text == "Hello"
            assert server.connections == 1
            await transport.aclose()
            with pytest.raises(ProviderConnectionError, match="certificate") as caught:
                await HttpCompleter(retry=ONCE).complete(model, http.ask())
            assert caught.value.billed is False

    before = http.open_files()
    asyncio.run(main())
    assert http.open_files() == before


def test_a_proxy_of_the_environment_is_gone_through_and_this_machine_is_reached_directly(
    http: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with http.serve(http.answer) as proxy, http.serve(http.answer) as server:
            for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            far = http.model(server, base_url="http://api.example.invalid/v1")
            transport = HttpTransport()
            completer = HttpCompleter(transport=transport, retry=ONCE)
            for _ in range(2):
                assert (await completer.complete(far, http.ask())).completion.text == "Hello"
            assert proxy.connections == 1
            sent = proxy.exchanges[0]
            assert sent.path == "http://api.example.invalid/v1/chat/completions"
            await completer.complete(http.model(server), http.ask())
            assert len(server.exchanges) == 1
            await transport.aclose()
            await proxy.all_closed()
            # A name that resolves nowhere (RFC 6761).
            blind = HttpTransport(trust_env=False)
            with pytest.raises(ProviderConnectionError) as caught:
                await HttpCompleter(transport=blind, retry=ONCE).complete(far, http.ask())
            assert caught.value.billed is False
            assert len(proxy.exchanges) == 2
            await blind.aclose()

    with allow_real_requests():  # to a host that is none: all goes to the proxy
        asyncio.run(main())


def test_only_limits_and_request_ids_reach_the_answer(http: SimpleNamespace) -> None:
    async def handler(exchange: Any) -> None:
        said = {"x-request-id": "r", "x-ratelimit-remaining-tokens": "5", "set-cookie": "s=1"}
        await exchange.respond(200, http.ANSWER, said)

    async def main() -> None:
        completer = HttpCompleter()
        async with http.serve(handler) as server:
            reply = await completer.complete(http.model(server), http.ask())
            await completer.aclose()
        assert reply.completion.headers == {
            "x-request-id": "r",
            "x-ratelimit-remaining-tokens": "5",
        }

    asyncio.run(main())


# The guard


def test_a_forbidden_request_opens_no_socket(
    http: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket  # noqa: PLC0415

    opened: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: opened.append(address))
    model = ModelConfig("m", "openai", api_key="sk-secret-key")
    with forbid_real_requests(), pytest.raises(RequestsForbiddenError) as caught:
        asyncio.run(HttpCompleter().complete(model, http.ask()))
    assert "api.openai.com" in str(caught.value)
    assert "sk-secret-key" not in str(caught.value)
    assert opened == []


def test_a_client_of_the_user_s_own_is_guarded_too(http: SimpleNamespace) -> None:
    httpx2 = pytest.importorskip("httpx2")

    async def main() -> None:
        async with httpx2.AsyncClient() as client:
            model = ModelConfig("m", "openai", api_key="sk-secret-key")
            with forbid_real_requests(), pytest.raises(RequestsForbiddenError):
                await HttpCompleter(transport=client).complete(model, http.ask())

    asyncio.run(main())


def test_the_switch_is_thrown_by_the_environment_or_in_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, here = "https://api.openai.com/v1", "http://[::1]:8000/v1"
    monkeypatch.setenv("CASCADEFLOW_FORBID_REQUESTS", "1")
    check_request(here)
    with pytest.raises(RequestsForbiddenError):
        check_request(real)
    with allow_real_requests():
        check_request(real)
        with forbid_real_requests(), pytest.raises(RequestsForbiddenError):
            check_request(real)
        check_request(real)
    with pytest.raises(RequestsForbiddenError):
        check_request(real)
    for off in ("0", ""):
        monkeypatch.setenv("CASCADEFLOW_FORBID_REQUESTS", off)
        check_request(real)


@pytest.mark.parametrize(
    "url",
    ["https://localhost.example.org", "https://127.0.0.1.nip.io", "https://10.0.0.1", "http://x@y"],
)
def test_what_only_looks_like_this_machine_is_forbidden(url: str) -> None:
    with forbid_real_requests(), pytest.raises(RequestsForbiddenError):
        check_request(url)
