"""What it takes to write a request to Gemini and to read its answer, whole and streamed.

The reference is what the standard library's `json` takes for the same bytes, which no codec written
in Python can do without.
"""

from __future__ import annotations

import json
from typing import Any

from cascadeflow.providers import get_codec
from cascadeflow.types import ChatRequest, Message

WRITE = "encode a request, 300 characters (gemini)"
WHOLE = "decode a whole answer, 300 characters (gemini)"
STREAM = "decode a stream of 50 pieces (gemini)"

REFERENCE = {"role": "reference", "reference": "json.loads"}

REQUEST = ChatRequest(
    model="gemini-3-flash",
    messages=(
        Message("system", "You are helpful."),
        Message("user", "What is the capital of Norway? " * 9),
    ),
    max_tokens=100,
    temperature=0.0,
)

USAGE = {
    "promptTokenCount": 70,
    "candidatesTokenCount": 50,
    "totalTokenCount": 140,
    "thoughtsTokenCount": 20,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 70}],
}


def piece(text: str, **candidate: Any) -> dict[str, Any]:
    content = {"parts": [{"text": text}], "role": "model"}
    return {
        "candidates": [{"content": content, "index": 0, **candidate}],
        "usageMetadata": USAGE,
        "modelVersion": "gemini-3-flash",
        "responseId": "n1P6abvRFaKdz7IPkcuQ2Aw",
    }


ANSWER = json.dumps(piece("Oslo. " * 50, finishReason="STOP", avgLogprobs=-0.1)).encode()


def stream() -> list[bytes]:
    pieces = [piece("Oslo. ") for _ in range(49)]
    for count, each in enumerate(pieces):  # the counts grow
        each["usageMetadata"] = {**USAGE, "candidatesTokenCount": count}
    pieces.append(piece("Oslo. ", finishReason="STOP"))
    return [f"data: {json.dumps(each)}\r\n\r\n".encode() for each in pieces]


def test_encode(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": WRITE, "role": "figure", "gate_s": None}
    assert benchmark(get_codec("gemini").encode, REQUEST).body


def test_encode_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": WRITE, "role": "reference", "reference": "json.dumps"}
    body = json.loads(get_codec("gemini").encode(REQUEST).body)
    assert benchmark(lambda: json.dumps(body).encode())


def test_decode(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": WHOLE, "role": "figure", "gate_s": None}
    assert benchmark(get_codec("gemini").decode, 200, {}, ANSWER).text.startswith("Oslo")


def test_decode_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": WHOLE, **REFERENCE}
    assert benchmark(json.loads, ANSWER)


def test_decode_stream(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": STREAM, "role": "figure", "gate_s": None}
    chunks = stream()
    codec = get_codec("gemini")
    events = benchmark(lambda: list(codec.decode_stream(chunks)))
    assert events[-1].completion.text == "Oslo. " * 50


def test_decode_stream_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": STREAM, **REFERENCE}
    chunks = stream()
    assert benchmark(lambda: [json.loads(chunk[6:]) for chunk in chunks])
