"""Real answers of Cohere decode with nothing lost, and what was asked is written the same way.

Each recorded exchange is read here a second time, without the codec's helpers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recorded_rows import dig, leaves, rows_of

from cascadeflow.providers.codecs import get_codec
from cascadeflow.types import ChatRequest, Message, TextPart, Tool, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorded_rows import Path_, Row

    from cascadeflow.models.completion import Completion


def answers(folder: Path) -> Iterator[tuple[Row, Completion]]:
    seen = 0
    for row in rows_of(folder, "cohere"):
        if row["status"] < 400 and "response" in row:
            body = json.dumps(row["response"]).encode()
            yield row["response"], get_codec("cohere").decode(row["status"], {}, body)
            seen += 1
    assert seen


def held(  # noqa: PLR0911 - a table, in the form of a match
    path: Path_, value: Any, answer: Completion
) -> bool:
    """Whether a leaf is held by a field, or says only what the format itself says."""
    match path:
        case ("id",):
            return answer.response_id == value
        case ("finish_reason",):
            return answer.raw_finish_reason == value
        case ("message", "role"):
            return bool(value == "assistant")
        case ("message", "content", _, "text"):
            return value in answer.text
        case ("message", "content", _, "type"):
            return bool(value == "text")
        case ("message", "tool_calls", int(index), *rest):
            call = answer.tool_calls[index]
            function = {"name": call.name, "arguments": call.arguments}
            said = {"id": call.id, "type": "function", "function": function}
            return bool(dig(said, tuple(rest)) == value)
    return False


def test_nothing_of_a_recorded_answer_is_lost(recordings: Path) -> None:
    for body, answer in answers(recordings):
        for path, value in leaves(body):
            assert held(path, value, answer) or dig(answer.extras, path) == value, path


def test_text_reasoning_and_calls_are_what_was_written(recordings: Path) -> None:
    for body, answer in answers(recordings):
        message = body["message"]
        blocks = message.get("content") or []
        assert answer.text == "".join(block.get("text", "") for block in blocks)
        thoughts = "".join(block.get("thinking", "") for block in blocks)
        assert answer.reasoning == thoughts + message.get("tool_plan", "")
        asked = [call["function"] for call in message.get("tool_calls", [])]
        assert [(call.name, call.arguments) for call in answer.tool_calls] == [
            (function["name"], function["arguments"]) for function in asked
        ]
        assert answer.finish_reason != "unknown"


def test_the_billed_counts_are_the_usage_and_no_bucket_is_made_up(recordings: Path) -> None:
    for body, answer in answers(recordings):
        raw, usage = body["usage"], answer.usage
        assert usage is not None
        billed = raw["billed_units"]
        assert (usage.input_tokens, usage.output_tokens) == (
            billed["input_tokens"],
            billed["output_tokens"],
        )
        assert usage.total_tokens == sum(billed.values())
        assert answer.extras["usage"] == raw


def test_what_is_cached_changes_nothing_of_what_is_billed(recordings: Path) -> None:
    """Why `cached_tokens` are no bucket: they may be more than all that is billed as input."""
    more = [
        body["usage"]
        for body, _ in answers(recordings)
        if body["usage"].get("cached_tokens", 0) > body["usage"]["billed_units"]["input_tokens"]
    ]
    assert more
    assert all(each["cached_tokens"] <= each["tokens"]["input_tokens"] for each in more)


def read(body: Row) -> ChatRequest:
    body = dict(body)
    tools = [tool["function"] for tool in body.pop("tools", [])]
    choice = body.pop("tool_choice", None)
    known = {
        "model": body.pop("model"),
        "messages": tuple(read_message(message) for message in body.pop("messages")),
        "stop": tuple(body.pop("stop_sequences", ())),
        "stream": body.pop("stream", False),
        "tools": tuple(Tool(t["name"], t.get("description", ""), t["parameters"]) for t in tools),
        "tool_choice": choice and choice.lower(),
    }
    return ChatRequest(**known, extra=body)


def read_message(message: Row) -> Message:
    content: Any = message.get("content", "")
    extras = {}
    if isinstance(content, list) and any(block["type"] == "thinking" for block in content):
        content, extras = "", {"content": content}  # goes back through `extras`
    elif isinstance(content, list):
        content = tuple(TextPart(block["text"]) for block in content)
    calls = tuple(
        ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls", ())
    )
    return Message(message["role"], content, calls, message.get("tool_call_id"), extras=extras)


def test_a_recorded_request_is_written_with_the_same_meaning(recordings: Path) -> None:
    compared = 0
    for row in rows_of(recordings, "cohere"):
        written = json.loads(get_codec("cohere").encode(read(row["request"])).body)
        asked = dict(row["request"])
        if asked.get("stream") is False:
            del asked["stream"]  # the default, said aloud
        assert written == asked
        compared += 1
    assert compared
