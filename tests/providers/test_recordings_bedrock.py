"""Real exchanges with Bedrock: answers decode with nothing lost, requests keep their meaning.

Each recorded response is read here a second time, leaf by leaf, without the codec's helpers, and
its binary streams by botocore's own reader. Each recorded request is read into a `ChatRequest` by
hand, written by the codec, and compared; `same_meaning` states the differences of form.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from botocore.eventstream import EventStreamBuffer
from recorded_rows import dig, headers_of, leaves, rows_of

from cascadeflow.errors import BadRequestError
from cascadeflow.models.completion import (
    Completed,
    Completion,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageUpdate,
)
from cascadeflow.models.usage import Usage
from cascadeflow.providers.codecs import get_codec
from cascadeflow.types import (
    ChatRequest,
    ContentPart,
    DocumentPart,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from recorded_rows import Path_, Row

CODEC = get_codec("bedrock")


def answers(folder: Path) -> Iterator[tuple[Row, Row]]:
    """The rows with a whole answer, and the answer's JSON."""
    for row in rows_of(folder, "bedrock"):
        if row["status"] == 200 and "response_base64" not in row:
            text = row.get("response_text")
            yield row, json.loads(text) if text else row["response"]


def streams(folder: Path) -> Iterator[tuple[Row, bytes]]:
    for row in rows_of(folder, "bedrock"):
        if "response_base64" in row:
            yield row, base64.b64decode(row["response_base64"])


def decode(row: Row, body: Row) -> Completion:
    return CODEC.decode(row["status"], headers_of(row), json.dumps(body).encode())


def held(path: Path_, value: Any, answer: Completion, body: Row) -> bool:
    """Whether a leaf is held by a field, or says only what the format itself says."""
    match path:
        case ("stopReason",):
            return answer.raw_finish_reason == value
        case ("serviceTier", "type"):
            return answer.service_tier == value
        case ("output", "message", "role"):
            return bool(value == "assistant")
        case ("output", "message", "content", _, "text"):
            return value in answer.text
        case ("output", "message", "content", int(index), "toolUse", *rest):
            block = body["output"]["message"]["content"][index]["toolUse"]
            for call in answer.tool_calls:
                if call.id == block["toolUseId"]:
                    said = {"toolUseId": call.id, "name": call.name}
                    same = {**said, "input": json.loads(call.arguments)}
                    return bool(dig(same, tuple(rest)) == value)
    return False


def test_every_recorded_answer_is_read_and_nothing_of_it_is_lost(recordings: Path) -> None:
    checked = 0
    for row, body in answers(recordings):
        answer = decode(row, body)
        for path, value in leaves(body):
            kept = dig(answer.extras, path) == value
            assert kept or held(path, value, answer, body), (row["id"], path, value)
            checked += 1
    assert checked > 0


def test_the_visible_answer_is_what_the_model_wrote(recordings: Path) -> None:
    seen = 0
    for row, body in answers(recordings):
        answer = decode(row, body)
        blocks = body["output"]["message"]["content"]
        calls = [block["toolUse"] for block in blocks if "toolUse" in block]
        asked = [call for call in calls if call.get("type") != "server_tool_use"]
        thoughts = [block["reasoningContent"] for block in blocks if "reasoningContent" in block]
        assert answer.text == "".join(block.get("text", "") for block in blocks)
        assert [call.id for call in answer.tool_calls] == [call["toolUseId"] for call in asked]
        shown = [thought.get("reasoningText", {}).get("text", "") for thought in thoughts]
        assert answer.reasoning == "".join(shown)
        assert answer.raw_finish_reason == body["stopReason"]
        assert answer.finish_reason != "unknown"
        assert answer.usage_complete
        seen += 1
    assert seen > 0


def expected_usage(raw: Row) -> Usage:
    """What the documents say of each number, written down once more and on purpose naively."""
    hour = [each["inputTokens"] for each in raw.get("cacheDetails", ()) if each["ttl"] == "1h"]
    written = raw.get("cacheWriteInputTokens")
    return Usage(
        input_tokens=raw["inputTokens"],
        cache_read_tokens=raw.get("cacheReadInputTokens"),
        cache_write_5m_tokens=written - sum(hour) if written is not None else None,
        cache_write_1h_tokens=sum(hour) if hour else None,
        output_tokens=raw["outputTokens"],
    )


def test_usage_is_split_into_buckets_that_add_up_to_the_total(recordings: Path) -> None:
    cached = 0
    for row, body in answers(recordings):
        answer, raw = decode(row, body), body["usage"]
        assert answer.usage == expected_usage(raw), row["id"]
        assert answer.usage is not None
        assert answer.usage.total_tokens == raw["totalTokens"], row["id"]
        cached += bool(raw.get("cacheReadInputTokens") or raw.get("cacheWriteInputTokens"))
    assert cached > 0


def test_error_answers_raise_the_mapped_error_with_all_their_words(recordings: Path) -> None:
    seen = 0
    for row in rows_of(recordings, "bedrock"):
        if row["status"] < 400:
            continue
        with pytest.raises(BadRequestError) as caught:
            decode(row, row["response"])
        error = caught.value
        assert type(error) is BadRequestError
        assert (error.status, error.billed, error.retryable) == (400, False, False)
        assert error.details == row["response"]
        assert row["response"]["message"] in str(error)
        seen += 1
    assert seen > 0


def test_what_must_go_back_is_what_came(recordings: Path) -> None:
    """Signed reasoning and what the server's tools did stand in the next request as they came."""
    seen = 0
    for row, body in answers(recordings):
        blocks = body["output"]["message"]["content"]
        message = CODEC.assistant_message(decode(row, body))
        request = ChatRequest(model="m", messages=(Message("user", "Hi"), message))
        turns = json.loads(CODEC.encode(request).body)["messages"]
        sent = turns[1]["content"] if len(turns) > 1 else []  # some answers were empty
        for block in blocks:
            thought = block.get("reasoningContent", {})
            signed = thought.get("redactedContent") or thought.get("reasoningText", {}).get(
                "signature"
            )
            served = block.get("toolUse", {}).get("type") == "server_tool_use"
            if signed or served or "toolResult" in block:
                assert block in sent, row["id"]
                seen += 1
    assert seen > 0


# Streams


def events_of(chunks: Iterable[bytes]) -> list[Any]:
    return list(CODEC.decode_stream(chunks))


def payloads(data: bytes) -> list[tuple[str, Row]]:
    """Names and contents of a stream's events, as botocore reads them."""
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(each.headers[":event-type"], json.loads(each.payload)) for each in buffer]


def test_recorded_streams_give_the_same_events_however_they_are_cut(recordings: Path) -> None:
    for row, data in streams(recordings):
        whole = events_of([data])
        assert events_of(bytes([byte]) for byte in data) == whole, row["id"]
        for size in (7, 64, 1021):
            cut = [data[i : i + size] for i in range(0, len(data), size)]
            assert events_of(cut) == whole, (row["id"], size)


def test_a_stream_holds_what_its_pieces_said(recordings: Path) -> None:
    seen = 0
    for row, data in streams(recordings):
        pieces = payloads(data)
        events = events_of([data])
        answer = events[-1].completion
        deltas = [body["delta"] for kind, body in pieces if kind == "contentBlockDelta"]
        text = "".join(delta.get("text", "") for delta in deltas)
        thought = "".join(d.get("reasoningContent", {}).get("text", "") for d in deltas)
        usage = next(body["usage"] for kind, body in pieces if kind == "metadata")
        assert "".join(e.text for e in events if isinstance(e, TextDelta)) == text == answer.text
        reasoned = "".join(e.text for e in events if isinstance(e, ReasoningDelta))
        assert reasoned == thought == answer.reasoning
        assert [e.usage for e in events if isinstance(e, UsageUpdate)] == [expected_usage(usage)]
        assert answer.usage == expected_usage(usage)
        assert answer.usage_complete
        starts = [body["start"] for kind, body in pieces if kind == "contentBlockStart"]
        calls = [start["toolUse"] for start in starts if "toolUse" in start]
        asked = [call for call in calls if call.get("type") != "server_tool_use"]
        told = [event for event in events if isinstance(event, ToolCallDelta)]
        assert [call.id for call in told if call.id] == [call["toolUseId"] for call in asked]
        assert [call.id for call in answer.tool_calls] == [call["toolUseId"] for call in asked]
        for index, call in enumerate(answer.tool_calls):
            written = "".join(each.arguments for each in told if each.index == index)
            assert call.arguments == (written or "{}")
        stop = next(body for kind, body in pieces if kind == "messageStop")
        assert answer.raw_finish_reason == stop["stopReason"]
        seen += 1
        assert row["status"] == 200
    assert seen > 0


def test_nothing_of_a_stream_is_lost(recordings: Path) -> None:
    """Texts that come in pieces are compared above; here everything else."""
    for row, data in streams(recordings):
        answer = events_of([data])[-1].completion
        kept = {json.dumps(value) for _, value in leaves(answer.extras)}
        fields = [answer.raw_finish_reason]
        fields += [text for call in answer.tool_calls for text in (call.id, call.name)]
        kept |= {json.dumps(value) for value in fields}
        for kind, body in payloads(data):
            for path, value in leaves(body):
                if path[-1] in ("p", "contentBlockIndex") or path == ("role",):
                    continue  # padding, positions, and who always speaks
                if path in (("delta", "text"), ("delta", "reasoningContent", "text")):
                    continue
                if path[:2] == ("delta", "toolUse"):
                    continue  # a tool's input, compared as the model wrote it
                assert json.dumps(value) in kept, (row["id"], kind, path, value)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_stream_that_breaks_off_does_not_pass_for_whole(recordings: Path, share: float) -> None:
    for _, data in streams(recordings):
        cut = data[: int(len(data) * share)]
        last = events_of([cut])[-1]
        assert isinstance(last, Completed)
        assert not last.completion.usage_complete
        stopped = any(kind == "messageStop" for kind, _ in payloads(cut))
        assert (last.completion.finish_reason == "error") == (not stopped)


# Requests


class InexpressibleError(Exception):
    """A `ChatRequest` has no field for this."""


def read(row: Row) -> ChatRequest:
    body = dict(row["request"])
    model, action = row["path"].removeprefix("/model/").split("/")
    config = dict(body.pop("inferenceConfig", {}))
    tooling = dict(body.pop("toolConfig", {}))
    tools = tooling.pop("tools", [])
    if any(set(tool) - {"toolSpec"} for tool in tools):
        body["toolConfig"], tools = {"tools": tools}, []  # the provider's own go through `extra`
        if "toolChoice" in tooling:
            body["toolConfig"]["toolChoice"] = tooling.pop("toolChoice")
    choice = tooling.pop("toolChoice", {})
    named = {"auto": "auto", "any": "required", "tool": choice.get("tool", {}).get("name")}
    form = None
    text_format = body.get("outputConfig", {}).get("textFormat")
    if text_format is not None:
        schema = text_format["structure"]["jsonSchema"]
        if set(schema) == {"name", "schema"}:  # with a description it goes through `extra`
            form = ResponseFormat("json_schema", json.loads(schema["schema"]), schema["name"])
            del body["outputConfig"]
    system = body.pop("system", [])
    messages = [Message("system", "", extras={"content": system})] if system else []
    for message in body.pop("messages"):
        messages.extend(read_message(message))
    request = ChatRequest(
        model=unquote(model),
        messages=tuple(messages),
        max_tokens=config.pop("maxTokens", None),
        temperature=config.pop("temperature", None),
        top_p=config.pop("topP", None),
        stop=tuple(config.pop("stopSequences", ())),
        tools=tuple(
            Tool(
                tool["toolSpec"]["name"],
                tool["toolSpec"].get("description", ""),
                tool["toolSpec"]["inputSchema"]["json"],
                tool["toolSpec"].get("strict"),
            )
            for tool in tools
        ),
        tool_choice=next((named[kind] for kind in choice), None),
        response_format=form,
        stream=action == "converse-stream",
        extra=body,
    )
    assert not config
    assert not tooling
    return request


def read_message(message: Row) -> list[Message]:
    content = message["content"]
    kinds = {kind for block in content for kind in block}
    if message["role"] == "assistant":
        if not kinds <= {"text", "toolUse"} or any(
            "type" in block.get("toolUse", {}) for block in content
        ):
            return [Message("assistant", extras={"content": content})]
        texts = tuple(TextPart(block["text"]) for block in content if "text" in block)
        calls = [block["toolUse"] for block in content if "toolUse" in block]
        made = (
            ToolCall(call["toolUseId"], call["name"], json.dumps(call["input"])) for call in calls
        )
        return [Message("assistant", texts, tuple(made))]
    messages = []
    parts: list[ContentPart] = []
    for block in content:
        if "toolResult" in block:
            if parts:
                raise InexpressibleError("a result after other content")
            result = block["toolResult"]
            messages.append(
                Message(
                    "tool",
                    tuple(map(read_part, result["content"])),
                    tool_call_id=result["toolUseId"],
                    extras={"status": result["status"]} if "status" in result else {},
                )
            )
        else:
            parts.append(read_part(block))
    return [*messages, Message("user", tuple(parts))] if parts else messages


MEDIA_TYPES = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "mp4": "video/mp4",
}


def read_part(block: Row) -> ContentPart:
    match block:
        case {"text": text, **rest} if not rest:
            return TextPart(text)
        case {"image": {"format": form, "source": source}}:
            return ImagePart(**read_source(source), media_type=MEDIA_TYPES[form])
        case {"document": {"format": form, "name": name, "source": source}}:
            return DocumentPart(**read_source(source), media_type=MEDIA_TYPES[form], name=name)
        case {"video": {"format": form, "source": source}} if form in MEDIA_TYPES:
            return DocumentPart(**read_source(source), media_type=MEDIA_TYPES[form])
    raise InexpressibleError(f"a block of {sorted(block)}")


def read_source(source: Row) -> dict[str, str]:
    return {"data": source["bytes"]} if "bytes" in source else {"url": source["s3Location"]["uri"]}


def same_meaning(value: Any) -> Any:
    """Takes out differences of form: every line here is one of the stated differences."""
    if isinstance(value, dict):
        value = {key: same_meaning(item) for key, item in value.items()}
        for key in ("system", "inferenceConfig"):
            if not value.get(key, True):
                del value[key]  # said to be empty
        if isinstance(value.get("schema"), str):
            value["schema"] = json.loads(value["schema"])  # JSON in a text: its spaces
    elif isinstance(value, list):
        value = [same_meaning(item) for item in value]
    return value


def test_a_recorded_request_is_written_with_the_same_meaning(recordings: Path) -> None:
    compared, refused = 0, set()
    for row in rows_of(recordings, "bedrock"):
        try:
            request = read(row)
        except InexpressibleError as reason:
            refused.add(str(reason))
            continue
        encoded = CODEC.encode(request)
        assert encoded.path == row["path"]
        assert same_meaning(json.loads(encoded.body)) == same_meaning(row["request"]), row["id"]
        compared += 1
    assert compared > 0
    assert refused <= INEXPRESSIBLE


INEXPRESSIBLE = {
    "a block of ['cachePoint']",  # in a user's message; a system message's and tools' can be said
    "a block of ['video']",  # whose form the recorded client got wrong
}
"""What a `ChatRequest` cannot say today, but through a message's extras."""
