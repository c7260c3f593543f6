"""What it takes to write a request to Cohere and to read its answer, whole and streamed.

The reference is what the standard library's `json` takes for the same bytes, which no codec written
in Python can do without.
"""

from __future__ import annotations

import json
from typing import Any

from cascadeflow.providers import get_codec
from cascadeflow.types import ChatRequest, Message

WRITE = "encode a request, 300 characters (cohere)"
WHOLE = "decode a whole answer, 300 characters (cohere)"
STREAM = "decode a stream of 50 pieces (cohere)"

REQUEST = ChatRequest(
    model="m",
    messages=(
        Message("system", "You are helpful."),
        Message("user", "What is the capital of Norway? " * 9),
    ),
    max_tokens=100,
    temperature=0.0,
)

USAGE = {
    "billed_units": {"input_tokens": 70, "output_tokens": 50},
    "tokens": {"input_tokens": 560, "output_tokens": 52},
    "cached_tokens": 512,
}
ANSWER = {
    "id": "r1",
    "message": {"role": "assistant", "content": [{"type": "text", "text": "Oslo. " * 50}]},
    "finish_reason": "COMPLETE",
    "usage": USAGE,
}


def event(kind: str, **content: str) -> dict[str, Any]:
    return {"type": kind, "index": 0, "delta": {"message": {"content": content}}}


EVENTS = [
    {"type": "message-start", "id": "r1", "delta": {"message": {"role": "assistant"}}},
    event("content-start", type="text", text=""),
    *[event("content-delta", text="Oslo. ")] * 50,
    {"type": "content-end", "index": 0},
    {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": USAGE}},
]
PIECES = [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in EVENTS]
REFERENCE = {"role": "reference", "reference": "json.loads"}


def test_encode(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": WRITE, "role": "figure", "gate_s": None}
    assert benchmark(get_codec("cohere").encode, REQUEST).body


def test_encode_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": WRITE, "role": "reference", "reference": "json.dumps"}
    body = json.loads(get_codec("cohere").encode(REQUEST).body)
    assert benchmark(lambda: json.dumps(body).encode())


def test_decode(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": WHOLE, "role": "figure", "gate_s": None}
    body = json.dumps(ANSWER).encode()
    assert benchmark(get_codec("cohere").decode, 200, {}, body).text.startswith("Oslo")


def test_decode_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": WHOLE, **REFERENCE}
    assert benchmark(json.loads, json.dumps(ANSWER).encode())


def test_decode_stream(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": STREAM, "role": "figure", "gate_s": None}
    codec = get_codec("cohere")
    events = benchmark(lambda: list(codec.decode_stream(PIECES)))
    assert events[-1].completion.text == "Oslo. " * 50


def test_decode_stream_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": STREAM, **REFERENCE}
    assert benchmark(lambda: [json.loads(piece.partition(b"data: ")[2]) for piece in PIECES])
