"""Recordings as files: read back byte for byte, and answered from."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.providers.protocols import HttpRequest
from cascadeflow.testing import CannedResponse, Exchange, RecordingTransport, ReplayTransport
from cascadeflow.testing.replay import load_exchanges, save_exchanges

if TYPE_CHECKING:
    from pathlib import Path

    from cascadeflow.providers.protocols import Transport

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
BODIES = (
    st.binary(max_size=30)
    | st.text(max_size=30).map(str.encode)
    | JSON.map(lambda content: json.dumps(content).encode())
    | JSON.map(lambda content: json.dumps(content, separators=(",", ":")).encode())
)
HEADERS = st.dictionaries(st.sampled_from(["content-type", "x-request-id", "date"]), st.text())


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    body = draw(BODIES)
    cut = draw(st.integers(0, len(body)))
    failed = draw(st.booleans())
    return Exchange(
        index=0,
        method=draw(st.sampled_from(["POST", "GET"])),
        url=draw(st.sampled_from(["https://a.example/v1", "http://127.0.0.1:80/v1?a=b"])),
        headers=draw(HEADERS),
        body=draw(BODIES),
        status=draw(st.none() | st.integers(100, 599)),
        response_headers=draw(HEADERS),
        chunks=draw(st.sampled_from([(body,), (body[:cut], body[cut:]), ()])),
        outcome="failed" if failed else draw(st.sampled_from(["complete", "closed_early"])),
        error=("ConnectionResetError", "gone") if failed else None,
        started=draw(st.floats(0, 1e6)),
        responded=draw(st.none() | st.floats(0, 1e6)),
        ended=draw(st.floats(0, 1e6)),
    )


@given(exchanges(), st.sampled_from(["jsonl", "jsonl.gz"]))
def test_what_is_read_back_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, exchange: Exchange, kind: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"round-trip.{kind}"
    save_exchanges([exchange], path)
    assert load_exchanges(path) == (exchange,)


def send(transport: Transport, body: bytes, *, key: str = "k" * 20) -> tuple[int, list[bytes]]:
    async def scenario() -> tuple[int, list[bytes]]:
        request = HttpRequest(
            method="POST",
            url=f"https://a.example/v1?key={key}",
            headers={"authorization": f"Bearer {key}"},
            body=body,
        )
        response = await transport.send(request)
        try:
            return response.status, [chunk async for chunk in response.chunks()]
        finally:
            await response.aclose()

    return asyncio.run(scenario())


def recorded(*responses: CannedResponse, bodies: tuple[bytes, ...]) -> tuple[Exchange, ...]:
    transport = RecordingTransport(responses=responses)
    for body in bodies:
        send(transport, body)
    return transport.exchanges


def test_a_saved_recording_answers_as_the_provider_did(tmp_path: Path) -> None:
    stream = CannedResponse.events([{"n": 1}, "[DONE]"])
    transport = RecordingTransport(responses=[stream, CannedResponse(status=500, chunks=[b"no"])])
    send(transport, b'{"a": 1, "b": 2}')
    send(transport, b"second")
    transport.save(tmp_path / "recording.jsonl")
    replay = ReplayTransport.load(tmp_path / "recording.jsonl")
    assert replay.unused == 2
    # Another key, another order of keys, other spaces: the same request.
    assert send(replay, b'{"b":2,"a":1}', key="another-key-altogether") == (200, [*stream.chunks])
    assert send(replay, b"second") == (500, [b"no"])
    assert replay.unused == 0


def test_what_was_not_recorded_is_refused_and_nothing_is_sent() -> None:
    replay = ReplayTransport(recorded(CannedResponse(), bodies=(b"{}",)))
    with pytest.raises(ConfigurationError, match="nothing recorded"):
        send(replay, b'{"other": true}')
    assert replay.unused == 1


def test_the_same_request_gets_its_answers_one_after_the_other() -> None:
    answers = [CannedResponse(chunks=[b"one"]), CannedResponse(chunks=[b"two"])]
    replay = ReplayTransport(recorded(*answers, bodies=(b"{}", b"{}")))
    assert [send(replay, b"{}")[1] for _ in range(2)] == [[b"one"], [b"two"]]
    with pytest.raises(ConfigurationError, match="only 2 recorded"):
        send(replay, b"{}")


def test_repeat_gives_the_last_answer_again() -> None:
    answers = [CannedResponse(chunks=[b"one"]), CannedResponse(chunks=[b"two"])]
    replay = ReplayTransport(recorded(*answers, bodies=(b"{}", b"{}")), repeat=True)
    bodies = [send(replay, b"{}")[1] for _ in range(4)]
    assert bodies == [[b"one"], [b"two"], [b"two"], [b"two"]]
    with pytest.raises(ConfigurationError, match="nothing recorded"):
        send(replay, b"[]")


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (TimeoutError("late"), TimeoutError),
        (ConnectionResetError("gone"), ConnectionError),
        (OSError("odd"), ConnectionError),
    ],
)
@pytest.mark.parametrize("midway", [False, True])
def test_recorded_failures_are_raised_again(
    failure: Exception, raised: type[Exception], midway: bool
) -> None:
    answer = CannedResponse(chunks=[b"half"], breaks_with=failure) if midway else failure
    transport = RecordingTransport(responses=[answer])
    with pytest.raises(type(failure)):
        send(transport, b"{}")
    with pytest.raises(raised, match=str(failure)):
        send(ReplayTransport(transport.exchanges), b"{}")


def test_a_recording_that_was_closed_early_says_so_where_it_ends() -> None:
    async def record() -> tuple[Exchange, ...]:
        transport = RecordingTransport(responses=[CannedResponse(chunks=[b"a", b"b"])])
        request = HttpRequest(
            method="POST", url="https://a.example/v1?key=***", headers={}, body=b"{}"
        )
        response = await transport.send(request)
        await response.aclose()
        return transport.exchanges

    with pytest.raises(ConfigurationError, match=r"the recording of .* ends here"):
        send(ReplayTransport(asyncio.run(record())), b"{}")


def test_secret_names_hold_on_both_sides() -> None:
    def tenant(name: str) -> HttpRequest:
        body = f'{{"tenant":"{name}"}}'.encode()
        return HttpRequest(
            method="POST", url="https://a.example/", headers={"x-tenant": name}, body=body
        )

    async def scenario() -> int:
        transport = RecordingTransport(responses=[CannedResponse()], secret_names=["x-tenant"])
        await (await transport.send(tenant("tenant-one"))).aclose()
        replay = ReplayTransport(transport.exchanges, secret_names=["x-tenant"])
        return (await replay.send(tenant("tenant-two"))).status

    assert asyncio.run(scenario()) == 200


@pytest.mark.parametrize(
    "content",
    [
        b"not json\n",
        b"[1]\n",
        b'{"status": 200}\n',
        b'{"headers":{},"status":200,"url":"a","request":{},"response":1,"chunk_sizes":[5]}\n',
        b"\xff\n",
    ],
)
def test_what_is_no_recording_is_a_store_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"recording\.jsonl"):
        ReplayTransport.load(path)


def test_a_file_that_is_missing_or_no_gzip_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot read"):
        ReplayTransport.load(tmp_path / "missing.jsonl")
    (tmp_path / "broken.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(StoreError, match="cannot read"):
        ReplayTransport.load(tmp_path / "broken.jsonl.gz")


def test_recordings_of_real_providers_are_read_and_answered_from(recordings: Path) -> None:
    path = recordings / "anthropic.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    loaded = load_exchanges(path)
    assert len(loaded) == len(rows)
    for row, exchange in zip(rows, loaded, strict=True):
        assert exchange.url == f"https://{row['host']}{row['path']}"
        assert exchange.status == row["status"]
        assert exchange.request_json == row["request"]
        if "response" in row:
            assert exchange.response_json == row["response"]
        else:
            assert exchange.response_body == row["response_text"].encode()

    async def scenario() -> None:
        replay = ReplayTransport(loaded)
        first = loaded[0]
        request = HttpRequest(method="POST", url=first.url, headers={}, body=first.body)
        response = await replay.send(request)
        assert b"".join([chunk async for chunk in response.chunks()]) == first.response_body
        assert replay.unused == len(loaded) - 1

    asyncio.run(scenario())
