"""Streams of forms that no recording shows, of the protocols beside chat completions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.models.completion import Completed, Completion, ToolCallDelta
from cascadeflow.providers.codecs import get_codec

if TYPE_CHECKING:
    from cascadeflow.models.completion import StreamEvent


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def read(provider: str, *pieces: bytes) -> tuple[list[StreamEvent], Completion]:
    events = list(get_codec(provider).decode_stream(pieces))
    assert isinstance(events[-1], Completed)
    return events, events[-1].completion


ENDS = {
    "anthropic": sse(
        {"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
        {"type": "message_stop"},
    ),
    "cohere": sse(
        {"type": "message-start", "delta": {"message": {"role": "assistant"}}},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}},
    ),
    "gemini": sse(
        {
            "candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 2},
        }
    ),
    "openai-responses": sse(
        {"type": "response.completed", "response": {"status": "completed", "output": []}}
    ),
}


@pytest.mark.parametrize("provider", ENDS)
def test_a_sign_of_life_without_data_says_nothing(provider: str) -> None:
    blank = b"data:\n\n"
    expected = read(provider, ENDS[provider])
    assert read(provider, blank, ENDS[provider], blank, b"data: \n\n") == expected
    assert (expected[1].finish_reason, expected[1].usage_complete) == ("stop", True)


def start(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def delta(index: int, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": fields}


def test_blocks_that_a_server_numbers_alike_are_all_kept() -> None:
    text = {"type": "text_delta", "text": "B"}
    _, answer = read(
        "anthropic",
        sse(
            start(0, {"type": "thinking", "thinking": "hm"}),
            stop(0),
            start(0, {"type": "text", "text": "A"}),
            delta(0, **text),
            stop(0),
            start(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}}),
            delta(0, type="input_json_delta", partial_json='{"a":1}'),
            stop(0),
        ),
        ENDS["anthropic"],
    )
    assert (answer.reasoning, answer.text) == ("hm", "AB")
    assert [(call.id, call.arguments) for call in answer.tool_calls] == [("t", '{"a":1}')]


def test_arguments_that_come_whole_with_a_call_are_told_as_an_event() -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"city": "Köln"}}
    events, answer = read("anthropic", sse(start(0, block), stop(0)), ENDS["anthropic"])
    told = [event for event in events if isinstance(event, ToolCallDelta)]
    assert "".join(event.arguments for event in told) == answer.tool_calls[0].arguments
    assert json.loads(answer.tool_calls[0].arguments) == {"city": "Köln"}
