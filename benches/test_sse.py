"""Reading 1 MB of streamed chat completion chunks, beside the OpenAI SDK reading the same bytes.

The figure is seconds for 1 MB, so that 0.02 s are 50 MB/s; `mb_per_s` in the benchmark's
`extra_info` says it the other way round. The SDK reads through its public API, from a transport in
memory. What the standard library's `json` takes for the same chunks is the floor that nobody who
is written in Python gets below.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.models.completion import Completed
from cascadeflow.providers import get_codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIGURE = "decode 1 MB of stream (openai chat)"
WORDS = ("The ", "capital ", "of ", "Norway ", "is ", "Oslo", ", ", "håper ", "jeg", ".\n")
PIECE = 16 * 1024
"""What one read of a socket gives of a TLS connection: one record."""


def written(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event, separators=(',', ':'))}\n\n"


def stream() -> bytes:
    """About 1 MB of what OpenAI sends, usage and end included."""
    events: list[dict[str, Any]] = []
    head = {
        "id": "chatcmpl-CbJ6lRUYm2yZq5iLrnbyvRzcJPVUx",
        "object": "chat.completion.chunk",
        "created": 1763820000,
        "model": "gpt-5-mini-2025-08-07",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }
    size = 0
    while size < 1_000_000:
        delta = {"content": WORDS[len(events) % len(WORDS)]}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        events.append({**head, "choices": [choice], "usage": None, "obfuscation": "x" * 8})
        size += len(written(events[-1]))
    last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    usage = {
        "prompt_tokens": 14,
        "completion_tokens": len(events),
        "total_tokens": 14 + len(events),
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
    events.append({**head, "choices": [last], "usage": None})
    events.append({**head, "choices": [], "usage": usage})
    return "".join([*map(written, events), "data: [DONE]\n\n"]).encode()


STREAM = stream()
PIECES = [STREAM[at : at + PIECE] for at in range(0, len(STREAM), PIECE)]
TEXT = "".join(
    event["choices"][0]["delta"].get("content", "")
    for line in STREAM.split(b"\n\n")[:-2]
    if (event := json.loads(line[6:]))["choices"]
)


def measure(benchmark: Any, read: Callable[[], str], **info: Any) -> None:
    """Measures reading the stream."""
    assert len(STREAM) == pytest.approx(1_000_000, rel=0.01)
    assert benchmark(read) == TEXT
    if benchmark.stats is not None:
        info["mb_per_s"] = round(len(STREAM) / benchmark.stats.stats.median / 1e6, 1)
    benchmark.extra_info |= {"figure": FIGURE, **info}


def test_decode_a_stream(benchmark: Any) -> None:
    codec = get_codec("openai")

    def read() -> str:
        *_, last = codec.decode_stream(PIECES)
        assert isinstance(last, Completed)
        return last.completion.text

    measure(benchmark, read, role="figure", gate_s=None)


def test_decode_a_stream_with_the_openai_sdk(benchmark: Any) -> None:
    openai = pytest.importorskip("openai", reason="it is in the dependency group bench")
    httpx = pytest.importorskip("httpx")

    class Stream(httpx.SyncByteStream):  # type: ignore[misc, name-defined] # one or the other
        def __iter__(self) -> Iterator[bytes]:
            return iter(PIECES)

    def answer(_: Any) -> Any:
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=headers, stream=Stream())

    client = openai.OpenAI(
        api_key="k", http_client=httpx.Client(transport=httpx.MockTransport(answer))
    )

    def read() -> str:
        chunks = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        # Each piece is taken, as a caller does; the SDK itself puts nothing together.
        return "".join([c.choices[0].delta.content or "" for c in chunks if c.choices])

    measure(benchmark, read, role="reference", reference="openai SDK")


def test_decode_a_stream_with_json_alone(benchmark: Any) -> None:
    def read() -> str:
        texts: list[str] = []
        for line in b"".join(PIECES).split(b"\n\n"):
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                if event["choices"]:
                    texts.append(event["choices"][0]["delta"].get("content", ""))
        return "".join(texts)

    measure(benchmark, read, role="reference", reference="json.loads")
