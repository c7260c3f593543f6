"""What it takes to write a request and to read an answer, whole and streamed.

The reference is what the standard library's `json` takes for the same bytes, which no codec written
in Python can do without.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from cascadeflow.providers import get_codec
from cascadeflow.types import ChatRequest, Message

WRITE = "encode a request, 300 characters"
WHOLE = "decode a whole answer, 300 characters"
STREAM = "decode a stream of 50 pieces"

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
    "prompt_tokens": 70,
    "completion_tokens": 50,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
OPENAI_WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "service_tier": "default",
    "system_fingerprint": "fp",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Oslo. " * 50, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}
ANTHROPIC_WHOLE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Oslo. " * 50}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 70, "output_tokens": 50, "cache_read_input_tokens": 0},
}


def openai_chunk(**fields: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", **fields}


def openai_stream() -> list[dict[str, Any]]:
    deltas = [{"content": "Oslo. "}] * 50
    choices = [{"index": 0, "delta": d, "logprobs": None, "finish_reason": None} for d in deltas]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"})
    chunks = [openai_chunk(choices=[choice], usage=None) for choice in choices]
    return [*chunks, openai_chunk(choices=[], usage=USAGE)]


def anthropic_stream() -> list[dict[str, Any]]:
    delta = {"type": "text_delta", "text": "Oslo. "}
    block = {"type": "text", "text": ""}
    return [
        {"type": "message_start", "message": {**ANTHROPIC_WHOLE, "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *[{"type": "content_block_delta", "index": 0, "delta": delta}] * 50,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
        {"type": "message_stop"},
    ]


WHOLES = {"openai": OPENAI_WHOLE, "anthropic": ANTHROPIC_WHOLE}
STREAMS = {"openai": openai_stream(), "anthropic": anthropic_stream()}


def pieces(events: list[dict[str, Any]]) -> list[bytes]:
    return [f"data: {json.dumps(event)}\n\n".encode() for event in events]


def named(figure: str, protocol: str) -> str:
    return f"{figure} ({protocol})"


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_encode(benchmark: Any, protocol: str) -> None:
    benchmark.extra_info |= {"figure": named(WRITE, protocol), "role": "figure", "gate_s": None}
    assert benchmark(get_codec(protocol).encode, REQUEST).body


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_encode_reference(benchmark: Any, protocol: str) -> None:
    reference = {"role": "reference", "reference": "json.dumps"}
    benchmark.extra_info |= {"figure": named(WRITE, protocol), **reference}
    body = json.loads(get_codec(protocol).encode(REQUEST).body)
    assert benchmark(lambda: json.dumps(body).encode())


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_decode(benchmark: Any, protocol: str) -> None:
    benchmark.extra_info |= {"figure": named(WHOLE, protocol), "role": "figure", "gate_s": None}
    body = json.dumps(WHOLES[protocol]).encode()
    assert benchmark(get_codec(protocol).decode, 200, {}, body).text.startswith("Oslo")


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_decode_reference(benchmark: Any, protocol: str) -> None:
    reference = {"role": "reference", "reference": "json.loads"}
    benchmark.extra_info |= {"figure": named(WHOLE, protocol), **reference}
    body = json.dumps(WHOLES[protocol]).encode()
    assert benchmark(json.loads, body)


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_decode_stream(benchmark: Any, protocol: str) -> None:
    benchmark.extra_info |= {"figure": named(STREAM, protocol), "role": "figure", "gate_s": None}
    chunks = pieces(STREAMS[protocol])
    codec = get_codec(protocol)
    events = benchmark(lambda: list(codec.decode_stream(chunks)))
    assert events[-1].completion.text == "Oslo. " * 50


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_decode_stream_reference(benchmark: Any, protocol: str) -> None:
    reference = {"role": "reference", "reference": "json.loads"}
    benchmark.extra_info |= {"figure": named(STREAM, protocol), **reference}
    chunks = pieces(STREAMS[protocol])
    assert benchmark(lambda: [json.loads(chunk[6:]) for chunk in chunks])
