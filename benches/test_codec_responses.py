"""What it takes to write a request and to read an answer over OpenAI responses.

The reference is what the standard library's `json` takes for the same bytes, which no codec written
in Python can do without. The texts are those of `test_codecs.py`, in this protocol's form.
"""

from __future__ import annotations

import json
from typing import Any

from cascadeflow.providers import get_codec
from cascadeflow.types import ChatRequest, Message

WRITE = "encode a request, 300 characters (openai-responses)"
WHOLE = "decode a whole answer, 300 characters (openai-responses)"
STREAM = "decode a stream of 50 pieces (openai-responses)"

REQUEST = ChatRequest(
    model="m",
    messages=(
        Message("system", "You are helpful."),
        Message("user", "What is the capital of Norway? " * 9),
    ),
    max_tokens=100,
    temperature=0.0,
)


def response(status: str, output: list[Any], usage: Any = None) -> dict[str, Any]:
    """A response object with the fields that the provider always sends."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": "You are helpful.",
        "max_output_tokens": 100,
        "max_tool_calls": None,
        "model": "m",
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 0.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage,
        "user": None,
        "metadata": {},
    }


def message(status: str, *parts: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "status": status,
        "content": list(parts),
        "role": "assistant",
    }


def part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


USAGE = {
    "input_tokens": 70,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 120,
}
ANSWER = response("completed", [message("completed", part("Oslo. " * 50))], USAGE)


def events() -> list[dict[str, Any]]:
    where = {"item_id": "msg_1", "output_index": 0}
    at = {**where, "content_index": 0}
    begun = response("in_progress", [])
    sent = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "item": message("in_progress"), **where},
        {"type": "response.content_part.added", "part": part(""), **at},
        *[{"type": "response.output_text.delta", "delta": "Oslo. ", "logprobs": [], **at}] * 50,
        {"type": "response.output_text.done", "text": "Oslo. " * 50, "logprobs": [], **at},
        {"type": "response.content_part.done", "part": part("Oslo. " * 50), **at},
        {"type": "response.output_item.done", "item": ANSWER["output"][0], **where},
        {"type": "response.completed", "response": ANSWER},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(sent)]


def pieces() -> list[bytes]:
    return [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events()]


def test_encode(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": WRITE, "role": "figure", "gate_s": None}
    assert benchmark(get_codec("openai-responses").encode, REQUEST).body


def test_encode_reference(benchmark: Any) -> None:
    reference = {"role": "reference", "reference": "json.dumps"}
    benchmark.extra_info |= {"figure": WRITE, **reference}
    body = json.loads(get_codec("openai-responses").encode(REQUEST).body)
    assert benchmark(lambda: json.dumps(body).encode())


def test_decode(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": WHOLE, "role": "figure", "gate_s": None}
    body = json.dumps(ANSWER).encode()
    decode = get_codec("openai-responses").decode
    assert benchmark(decode, 200, {}, body).text.startswith("Oslo")


def test_decode_reference(benchmark: Any) -> None:
    reference = {"role": "reference", "reference": "json.loads"}
    benchmark.extra_info |= {"figure": WHOLE, **reference}
    body = json.dumps(ANSWER).encode()
    assert benchmark(json.loads, body)


def test_decode_stream(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": STREAM, "role": "figure", "gate_s": None}
    chunks = pieces()
    codec = get_codec("openai-responses")
    given = benchmark(lambda: list(codec.decode_stream(chunks)))
    assert given[-1].completion.text == "Oslo. " * 50
    assert len(given) == 52


def test_decode_stream_reference(benchmark: Any) -> None:
    reference = {"role": "reference", "reference": "json.loads"}
    benchmark.extra_info |= {"figure": STREAM, **reference}
    data = [json.dumps(event).encode() for event in events()]
    assert benchmark(lambda: [json.loads(each) for each in data])
