"""Streams of Bedrock's converse: events, errors in the middle, cuts, and bytes from anywhere."""

from __future__ import annotations

import base64
import json
import struct
from contextlib import suppress
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow import errors
from cascadeflow.errors import MalformedResponseError, ProviderError, RateLimitedError
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
from cascadeflow.types import ToolCall

CODEC = get_codec("bedrock")
STREAMED = {"content-type": "application/vnd.amazon.eventstream"}


def frame(payload: bytes, **headers: str) -> bytes:
    """A frame; `event_type` is the header `:event-type`."""
    raw = b""
    for name, value in headers.items():
        key, text = f":{name.replace('_', '-')}".encode(), value.encode()
        raw += bytes([len(key)]) + key + b"\x07" + struct.pack("!H", len(text)) + text
    prelude = struct.pack("!II", 16 + len(raw) + len(payload), len(raw))
    checked = prelude + struct.pack("!I", crc32(prelude)) + raw + payload
    return checked + struct.pack("!I", crc32(checked))


def event(kind: str, body: Any) -> bytes:
    return frame(json.dumps(body).encode(), event_type=kind, message_type="event")


def start(index: int, **block: Any) -> bytes:
    return event("contentBlockStart", {"contentBlockIndex": index, "start": block})


def delta(index: int, **fields: Any) -> bytes:
    padded = {"contentBlockIndex": index, "delta": fields, "p": "abcdef"}
    return event("contentBlockDelta", padded)


def stop(index: int) -> bytes:
    return event("contentBlockStop", {"contentBlockIndex": index})


BEGIN = event("messageStart", {"role": "assistant", "p": "ab"})
USAGE = {"inputTokens": 5, "outputTokens": 9, "totalTokens": 24, "cacheReadInputTokens": 10}
STOP = event("messageStop", {"stopReason": "end_turn"})
META = event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 7}, "p": "abc"})


def stream(*frames: bytes) -> list[Any]:
    return list(CODEC.decode_stream([b"".join(frames)]))


def answer_of(*frames: bytes) -> Completion:
    last = stream(*frames)[-1]
    assert isinstance(last, Completed)
    return last.completion


FULL = (
    BEGIN,
    delta(0, reasoningContent={"text": "2"}),
    delta(0, reasoningContent={"text": "+2"}),
    delta(0, reasoningContent={"signature": "sig"}),
    stop(0),
    delta(1, reasoningContent={"redactedContent": base64.b64encode(b"secret").decode()}),
    delta(1, reasoningContent={"redactedContent": base64.b64encode(b"s!").decode()}),
    delta(2, text=""),
    delta(2, text="It is "),
    delta(2, text="4"),
    delta(2, citation={"title": "t", "sourceContent": [{"text": "q"}]}),
    stop(2),
    start(3, toolUse={"toolUseId": "t1", "name": "f"}),
    delta(3, toolUse={"input": ""}),
    delta(3, toolUse={"input": '{"a":'}),
    delta(3, toolUse={"input": " 1}"}),
    start(4, toolUse={"toolUseId": "s1", "name": "web", "type": "server_tool_use"}),
    delta(4, toolUse={"input": "{}"}),
    start(5, toolResult={"toolUseId": "s1", "status": "success"}),
    delta(5, toolResult=[{"text": "found"}]),
    delta(5, toolResult=[{"json": {"n": 1}}]),
    start(6, toolUse={"toolUseId": "t2", "name": "g"}),
    start(7, image={"format": "png"}),
    delta(7, image={"source": {"bytes": "AAAA"}}),
    event("messageStop", {"stopReason": "tool_use", "additionalModelResponseFields": {"x": 1}}),
    META,
)


def test_a_stream_s_blocks_become_events_and_one_answer() -> None:
    events = stream(*FULL)
    kinds = (TextDelta, ReasoningDelta, ToolCallDelta, UsageUpdate)
    assert [event for event in events if isinstance(event, kinds)] == [
        ReasoningDelta("2"),
        ReasoningDelta("+2"),
        TextDelta("It is "),
        TextDelta("4"),
        ToolCallDelta(0, "t1", "f"),
        ToolCallDelta(0, arguments='{"a":'),
        ToolCallDelta(0, arguments=" 1}"),
        ToolCallDelta(1, "t2", "g"),
        UsageUpdate(Usage(input_tokens=5, output_tokens=9, cache_read_tokens=10)),
    ]
    answer = events[-1].completion
    assert answer.text == "It is 4"
    assert answer.reasoning == "2+2"
    assert answer.tool_calls == (ToolCall("t1", "f", '{"a": 1}'), ToolCall("t2", "g", "{}"))
    assert (answer.finish_reason, answer.raw_finish_reason) == ("tool_calls", "tool_use")
    assert answer.usage_complete
    assert answer.extras == {
        "additionalModelResponseFields": {"x": 1},
        "usage": USAGE,
        "metrics": {"latencyMs": 7},
        "output": {
            "message": {
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "2+2", "signature": "sig"}}},
                    {
                        "reasoningContent": {
                            "redactedContent": base64.b64encode(b"secrets!").decode()
                        }
                    },
                    {
                        "citationsContent": {
                            "content": [{"text": "It is 4"}],
                            "citations": [{"title": "t", "sourceContent": [{"text": "q"}]}],
                        }
                    },
                    {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}},
                    {
                        "toolUse": {
                            "toolUseId": "s1",
                            "name": "web",
                            "type": "server_tool_use",
                            "input": {},
                        }
                    },
                    {
                        "toolResult": {
                            "toolUseId": "s1",
                            "status": "success",
                            "content": [{"text": "found"}, {"json": {"n": 1}}],
                        }
                    },
                    {"toolUse": {"toolUseId": "t2", "name": "g", "input": {}}},
                    {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
                ]
            }
        },
    }


def told(chunks: list[bytes]) -> list[Any]:
    """The events, and the error where the stream carries one."""
    events: list[Any] = []
    try:
        events.extend(CODEC.decode_stream(chunks))
    except ProviderError as error:
        events.append((type(error), str(error), error.code, error.partial))
    return events


CRASH = frame(
    b'{"message":"Too many tokens, please wait"}',
    exception_type="throttlingException",
    message_type="exception",
)


@pytest.mark.parametrize(
    "data",
    [
        b"".join(FULL),
        b"".join(FULL[:9]),
        b"".join((*FULL[:10], CRASH, *FULL[10:])),
        b"".join(FULL[:10]) + b"<html>not a frame</html>",
        b"<html><body>not a stream</body></html>",
    ],
)
def test_a_stream_is_the_same_byte_by_byte_and_at_every_cut(data: bytes) -> None:
    whole = told([data])
    assert told([bytes([byte]) for byte in data]) == whole
    for place in range(0, len(data), 7):
        assert told([data[:place], data[place:]]) == whole


@pytest.mark.parametrize("headers", [{}, STREAMED, {"content-type": ""}])
def test_a_response_that_does_not_say_what_it_is_is_read_as_a_stream(
    headers: dict[str, str],
) -> None:
    decoder = CODEC.decoder(headers)
    given_ = [*decoder.feed(BEGIN + delta(0, text="Hi") + STOP + META), *decoder.finish()]
    assert given_[0] == TextDelta("Hi")
    assert given_[-1].completion.text == "Hi"


def test_a_whole_answer_that_came_instead_of_a_stream_is_read() -> None:
    content = [{"text": "Hi"}]
    body = {"output": {"message": {"content": content}}, "stopReason": "end_turn", "usage": USAGE}
    decoder = CODEC.decoder({"content-type": "application/json; charset=utf-8"})
    data = json.dumps(body).encode()
    assert [*decoder.feed(data[:9]), *decoder.feed(data[9:])] == []
    events = decoder.finish()
    assert events[0] == TextDelta("Hi")
    assert isinstance(events[-1], Completed)
    assert events[-1].completion == CODEC.decode(200, {}, data)


def test_a_stream_that_breaks_off_says_so_and_keeps_what_it_had() -> None:
    answer = answer_of(BEGIN, delta(0, text="It"), delta(0, text=" is")[:-3])
    assert answer.text == "It"
    assert (answer.usage_complete, answer.finish_reason) == (False, "error")


def test_a_stream_without_its_last_event_has_no_final_usage() -> None:
    answer = answer_of(BEGIN, delta(0, text="It"), STOP)
    assert (answer.usage, answer.usage_complete, answer.finish_reason) == (None, False, "stop")


def test_a_tool_s_input_that_the_model_broke_is_given_as_it_was_written() -> None:
    answer = answer_of(
        BEGIN,
        start(0, toolUse={"toolUseId": "t", "name": "f"}),
        delta(0, toolUse={"input": '{"a": '}),
        event("messageStop", {"stopReason": "malformed_tool_use"}),
        META,
    )
    assert answer.tool_calls == (ToolCall("t", "f", '{"a": '),)
    assert answer.finish_reason == "error"


def test_events_blocks_and_deltas_that_nobody_knows_are_kept() -> None:
    news = {"degrees": 21}
    hologram = {"hologram": {"depth": 3}}
    answer = answer_of(
        BEGIN,
        event("weather", news),
        start(0, hologram={"format": "x"}),
        delta(0, **hologram),
        delta(1, text="Hi"),
        STOP,
        META,
    )
    assert answer.extras["events"] == [
        {"weather": news},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": hologram}},
    ]
    assert answer.extras["output"]["message"]["content"][0] == {"hologram": {"format": "x"}}
    assert answer.text == "Hi"


# Errors in the middle


@pytest.mark.parametrize(
    ("kind", "name", "status"),
    [
        ("throttlingException", "RateLimitedError", 429),
        ("modelStreamErrorException", "OverloadedError", 424),
        ("internalServerException", "OverloadedError", 500),
        ("serviceUnavailableException", "OverloadedError", 503),
        ("validationException", "BadRequestError", 400),
        ("modelTimeoutException", "ProviderTimeoutError", 408),
        ("newException", "OverloadedError", None),
    ],
)
def test_an_exception_raises_after_what_came_before(kind: str, name: str, status: Any) -> None:
    said = {"message": "broke", "originalStatusCode": 500, "originalMessage": "deep down"}
    data = frame(json.dumps(said).encode(), exception_type=kind, message_type="exception")
    decoder = CODEC.decoder({"x-amzn-requestid": "r-1"})
    assert TextDelta("It") in decoder.feed(BEGIN + delta(0, text="It") + data + META)
    with pytest.raises(ProviderError) as caught:
        decoder.finish()
    error = caught.value
    assert type(error) is getattr(errors, name)
    assert (error.status, error.code, error.request_id) == (status, kind, "r-1")
    assert (error.partial.text, error.partial.usage) == ("It", None)
    assert error.billed is None
    assert error.retryable == (name != "BadRequestError")
    assert error.details == said
    assert "broke" in str(error)
    assert decoder.failure is error


def test_an_input_that_is_too_long_is_told_apart_in_a_stream_too() -> None:
    said = b'{"message":"Input is too long for requested model."}'
    with pytest.raises(errors.ContextTooLongError):
        stream(BEGIN, frame(said, exception_type="validationException", message_type="exception"))


def test_an_error_frame_has_its_words_in_its_headers() -> None:
    broken = frame(b"", message_type="error", error_code="ThrottlingException", error_message="no")
    with pytest.raises(RateLimitedError, match="no") as caught:
        stream(BEGIN, delta(0, text="It"), broken)
    assert caught.value.code == "ThrottlingException"
    assert caught.value.partial.text == "It"


def test_a_frame_with_a_wrong_checksum_is_no_answer() -> None:
    broken = bytearray(delta(0, text=" is"))
    broken[-6] ^= 1
    decoder = CODEC.decoder()
    assert decoder.feed(BEGIN + delta(0, text="It") + bytes(broken) + META) == [TextDelta("It")]
    with pytest.raises(MalformedResponseError, match="checksum") as caught:
        decoder.finish()
    assert caught.value.partial.text == "It"
    assert caught.value.billed is None


@pytest.mark.parametrize("payload", [b"{", b"[]", b"\xff", b"[" * 100_000, b"3"])
def test_an_event_that_is_no_object_is_no_answer(payload: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        stream(BEGIN, frame(payload, event_type="contentBlockDelta", message_type="event"))


def test_a_web_page_in_a_stream_s_place_says_that_the_address_is_wrong() -> None:
    with pytest.raises(MalformedResponseError, match="base URL"):
        stream(b"<!doctype html><html><body>Sign in</body></html>")


# Bytes from anywhere

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("contentBlockIndex", "start", "delta", "toolUse", "toolResult", "input"),
                    *("toolUseId", "name", "type", "text", "reasoningContent", "reasoningText"),
                    *("redactedContent", "signature", "citation", "image", "usage", "content"),
                    *("stopReason", "role", "output", "message", "citationsContent", "trace"),
                    *("inputTokens", "cacheDetails", "ttl", "serverToolUsage", "__type"),
                    *("serviceTier", "performanceConfig", "promptRouter", "invokedModelId"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
STARTS = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop"]
KINDS = st.sampled_from([*STARTS, "messageStop", "metadata", "exception", "news"])


def any_frame(kind: str, body: Any) -> bytes:
    data = json.dumps(body).encode()
    if kind == "exception":
        return frame(data, message_type="exception", exception_type="validationException")
    return frame(data, message_type="event", event_type=kind)


def check(chunks: list[bytes]) -> None:
    """Whatever comes, it ends in a Completion or a ProviderError."""
    with suppress(ProviderError):
        *_, last = CODEC.decode_stream(chunks)
        assert isinstance(last, Completed)
        CODEC.assistant_message(last.completion)


@given(st.lists(st.tuples(KINDS, JSON), max_size=8))
def test_frames_of_any_content_end_in_an_answer_or_a_typed_error(frames: list[Any]) -> None:
    check([any_frame(kind, body) for kind, body in frames])


@given(st.integers(0, 10_000), st.binary(max_size=20), st.integers(0, 20))
def test_a_stream_in_which_bytes_were_changed_is_an_answer_or_a_typed_error(
    at: int, put: bytes, gone: int
) -> None:
    data = b"".join(FULL)
    at %= len(data)
    check([data[:at] + put + data[at + gone :]])


@given(st.sampled_from([200, 400, 403, 429, 500]), JSON | st.binary(max_size=40))
def test_a_body_of_any_content_is_an_answer_or_a_typed_error(status: int, body: Any) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with suppress(ProviderError):
        answer = CODEC.decode(status, {"x-amzn-errortype": "ValidationException"}, data)
        CODEC.assistant_message(answer)


@given(JSON)
def test_an_answer_of_any_content_is_read_and_can_go_back(content: Any) -> None:
    blocks = content if isinstance(content, list) else [content]
    body = json.dumps({"output": {"message": {"content": blocks}}, "usage": content}).encode()
    answer = CODEC.decode(200, {}, body)
    CODEC.assistant_message(answer)


@pytest.mark.parametrize("depth", [500, *range(880, 1_010, 2), 100_000])
def test_deep_nesting_is_an_answer_or_a_typed_error(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    tool = b'{"toolUse":{"toolUseId":"t","name":"f","input":' + deep + b"}}"
    for body in (
        b'{"output":{"message":{"content":[' + tool + b"]}}}",
        b'{"output":' + deep + b"}",
        b'{"message":' + deep + b"}",
    ):
        for status in (200, 400):
            with suppress(ProviderError):
                CODEC.assistant_message(CODEC.decode(status, {}, body))
    written = json.dumps(deep.decode()).encode()
    body = b'{"contentBlockIndex":0,"delta":{"toolUse":{"input":' + written + b"}}}"
    opened = start(0, toolUse={"toolUseId": "t", "name": "f"})
    check([opened, frame(body, event_type="contentBlockDelta", message_type="event"), STOP])
    for kind in ("contentBlockStart", "contentBlockDelta", "metadata", "messageStop"):
        named = b'{"start":{"toolUse":{"input":' + deep + b'}},"delta":{"citation":' + deep + b"}}"
        check([frame(named, event_type=kind, message_type="event")])
