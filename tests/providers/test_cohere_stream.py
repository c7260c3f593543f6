"""Streams of the Cohere chat codec. None is recorded; the events are those of the API's types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow.errors import MalformedResponseError, OverloadedError, ProviderError
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

CITATION = {
    "start": 0,
    "end": 5,
    "text": "It is",
    "sources": [{"type": "document", "id": "d1", "document": {"title": "t"}}],
    "type": "TEXT_CONTENT",
}
USAGE = {
    "billed_units": {"input_tokens": 12, "output_tokens": 7},
    "tokens": {"input_tokens": 90, "output_tokens": 9},
    "cached_tokens": 64,
}


def event(kind: str, index: int | None = None, **message: Any) -> dict[str, Any]:
    numbered = {} if index is None else {"index": index}
    return {"type": kind, **numbered, "delta": {"message": message}}


BEGIN = {
    "type": "message-start",
    "id": "r1",
    "delta": {
        "message": {
            "role": "assistant",
            "content": [],
            "tool_plan": "",
            "tool_calls": [],
            "citations": [],
        }
    },
}
END = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": USAGE}}
ANSWER = [
    BEGIN,
    event("content-start", 0, content={"type": "thinking", "thinking": ""}),
    event("content-delta", 0, content={"thinking": "2+"}),
    event("content-delta", 0, content={"thinking": "2"}),
    {"type": "content-end", "index": 0},
    event("content-start", 1, content={"type": "text", "text": ""}),
    {
        **event("content-delta", 1, content={"text": "It is "}),
        "logprobs": {"text": "It is ", "token_ids": [1], "logprobs": [-0.5]},
    },
    event("content-delta", 1, content={"text": "4"}),
    event("citation-start", 0, citations=CITATION),
    {"type": "citation-end", "index": 0},
    {"type": "content-end", "index": 1},
    END,
]
CALLS = [
    BEGIN,
    event("tool-plan-delta", tool_plan="I will"),
    event("tool-plan-delta", tool_plan=" look."),
    event(
        "tool-call-start",
        0,
        tool_calls={"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
    ),
    event("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"x":'}}),
    event("tool-call-delta", 0, tool_calls={"function": {"arguments": "1}"}}),
    {"type": "tool-call-end", "index": 0},
    event(
        "tool-call-start",
        1,
        tool_calls={"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ),
    {"type": "tool-call-end", "index": 1},
    {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": USAGE}},
]


def written(events: list[Any], *, done: bool = True) -> bytes:
    lines = [f"event: {each.get('type')}\ndata: {json.dumps(each)}\n\n" for each in events]
    return "".join(lines).encode() + (b"data: [DONE]\n\n" if done else b"")


def read(*chunks: bytes) -> list[Any]:
    return list(get_codec("cohere").decode_stream(chunks))


def answered(*events: dict[str, Any]) -> Completion:
    last = read(written(list(events)))[-1]
    assert isinstance(last, Completed)
    return last.completion


def test_the_pieces_of_an_answer_become_events_and_one_completion() -> None:
    events = read(written(ANSWER))
    assert events[:-1] == [
        ReasoningDelta("2+"),
        ReasoningDelta("2"),
        TextDelta("It is "),
        TextDelta("4"),
        UsageUpdate(Usage(input_tokens=12, output_tokens=7)),
    ]
    answer = events[-1].completion
    assert (answer.text, answer.reasoning, answer.response_id) == ("It is 4", "2+2", "r1")
    assert (answer.finish_reason, answer.usage_complete) == ("stop", True)
    assert [token.logprob for token in answer.logprobs] == [-0.5]
    assert answer.extras["message"]["citations"] == [CITATION]
    assert answer.extras["usage"] == USAGE


def test_plan_and_calls_become_events_and_one_completion() -> None:
    events = read(written(CALLS))
    assert events[:-1] == [
        ReasoningDelta("I will"),
        ReasoningDelta(" look."),
        ToolCallDelta(0, "a", "f"),
        ToolCallDelta(0, arguments='{"x":'),
        ToolCallDelta(0, arguments="1}"),
        ToolCallDelta(1, "b", "g", "{}"),
        UsageUpdate(Usage(input_tokens=12, output_tokens=7)),
    ]
    answer = events[-1].completion
    assert answer.tool_calls == (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", "{}"))
    assert answer.finish_reason == "tool_calls"
    assert answer.extras["message"] == {"tool_plan": "I will look."}


def put_together(events: list[Any]) -> dict[str, Any]:
    """The body that is sent where no stream was asked for, by hand."""
    message: dict[str, Any] = {"role": "assistant"}
    body = {"id": "r1", "message": message, **events[-1]["delta"]}
    calls: dict[int, Any] = {}
    blocks: dict[int, Any] = {}
    for each in events:
        index, piece = each.get("index"), (each.get("delta") or {}).get("message", {})
        match each["type"]:
            case "content-start":
                blocks[index] = dict(piece["content"])
            case "content-delta":
                for name, text in piece["content"].items():
                    blocks[index][name] += text
            case "tool-plan-delta":
                message["tool_plan"] = message.get("tool_plan", "") + piece["tool_plan"]
            case "tool-call-start":
                calls[index] = json.loads(json.dumps(piece["tool_calls"]))
            case "tool-call-delta":
                function = piece["tool_calls"]["function"]
                calls[index]["function"]["arguments"] += function["arguments"]
            case "citation-start":
                message.setdefault("citations", []).append(piece["citations"])
        if "logprobs" in each:
            body.setdefault("logprobs", []).append(each["logprobs"])
    message |= {"content": list(blocks.values()), "tool_calls": list(calls.values())}
    return body


@pytest.mark.parametrize("events", [ANSWER, CALLS])
def test_a_stream_says_what_the_whole_answer_says(events: list[Any]) -> None:
    body = json.dumps(put_together(events)).encode()
    assert answered(*events) == get_codec("cohere").decode(200, {}, body)


@pytest.mark.parametrize("events", [ANSWER, CALLS])
def test_a_stream_gives_the_same_events_however_it_is_cut(events: list[Any]) -> None:
    data = written(events)
    whole = read(data)
    assert read(*(bytes([byte]) for byte in data)) == whole
    for at in range(len(data)):
        assert read(data[:at], data[at:]) == whole


def test_a_stream_that_breaks_off_does_not_pass_for_whole() -> None:
    data = written(ANSWER, done=False)
    end = data.index(b"event: message-end")
    for at in range(0, end + 40, 7):
        last = read(data[:at])[-1].completion
        assert (last.usage_complete, last.finish_reason, last.usage) == (False, "error", None)
    assert read(data)[-1].completion.usage_complete


def test_an_end_that_says_no_reason_is_no_end() -> None:
    answer = answered(*ANSWER[:-1], {"type": "message-end", "delta": {"usage": USAGE}})
    assert (answer.usage_complete, answer.finish_reason) == (False, "error")
    assert answer.usage is not None


def test_an_error_at_the_end_raises_with_what_had_come_and_what_it_cost() -> None:
    delta = {"finish_reason": "ERROR", "error": "the model fell over", "usage": USAGE}
    events: list[Any] = []
    with pytest.raises(OverloadedError, match="fell over") as caught:
        events.extend(
            get_codec("cohere").decode_stream(
                [written([*ANSWER[:-1], {"type": "message-end", "delta": delta}])]
            )
        )
    assert TextDelta("4") in events
    assert caught.value.billed is None
    assert caught.value.partial.text == "It is 4"
    assert caught.value.partial.usage == Usage(input_tokens=12, output_tokens=7)
    assert caught.value.partial.extras["error"] == "the model fell over"


def test_an_error_object_in_the_middle_raises_after_what_came_before() -> None:
    decoder = get_codec("cohere").decoder()
    data = written([*ANSWER[:7], {"id": "e", "message": "internal server error"}])
    assert TextDelta("It is ") in decoder.feed(data)
    for again in (lambda: decoder.feed(b""), decoder.finish):
        with pytest.raises(ProviderError, match="internal") as caught:
            again()
        assert caught.value.partial.text == "It is "


def test_pieces_without_a_beginning_are_taken_all_the_same() -> None:
    answer = answered(
        event("content-delta", 0, content={"text": "a"}),
        event("content-delta", 0, content={"thinking": "b"}),
        event("content-delta", 0, content={"thinking": "c"}),
        event("tool-call-delta", 0, tool_calls={"id": "x", "function": {"name": "f"}}),
        END,
    )
    assert (answer.text, answer.reasoning) == ("a", "bc")
    assert answer.tool_calls == (ToolCall("x", "f", ""),)


def test_calls_and_citations_may_also_come_as_lists() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = answered(
        event("tool-call-start", 0, tool_calls=[call]),
        event("citation-start", 0, citations=[CITATION, CITATION]),
        END,
    )
    assert answer.tool_calls == (ToolCall("a", "f", "{}"),)
    assert answer.extras["message"]["citations"] == [CITATION, CITATION]


def test_whatever_nobody_knows_is_kept() -> None:
    debug = {"type": "debug", "prompt": "<|START|>"}
    piece = {**event("content-delta", 0, content={"text": "a"}, weather="fine"), "degrees": 21}
    answer = answered(debug, piece, {**piece, "degrees": 22}, END)
    assert answer.extras["events"] == [debug]
    assert answer.extras["degrees"] == [21, 22]
    assert answer.extras["message"] == {"weather": "fine"}
    assert answer.text == "aa"


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b"nonsense", b'"text"', b'{"a": "\xff"}', b"[" * 9999]
)
def test_an_event_that_is_no_object_is_a_typed_error(data: bytes) -> None:
    with pytest.raises(MalformedResponseError) as caught:
        read(written(ANSWER[:7], done=False) + b"data: " + data + b"\n\ndata: {}\n\n")
    assert caught.value.partial.text == "It is "


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"{}", b'{"message": 0}', b"\xff"])
def test_a_response_that_is_none_is_a_typed_error(body: bytes) -> None:
    with pytest.raises(MalformedResponseError) as caught:
        get_codec("cohere").decode(200, {}, body)
    assert caught.value.billed is None


def test_a_whole_answer_that_comes_for_a_stream_is_given_as_events() -> None:
    decoder = get_codec("cohere").decoder({"content-type": "application/json"})
    assert decoder.feed(b'{"message":{"content":[{"type":"text",') == ()
    decoder.feed(b'"text":"Hi"}]},"finish_reason":"COMPLETE"}')
    text, last = decoder.finish()
    assert text == TextDelta("Hi")
    assert last.completion.finish_reason == "stop"


# Any bytes

NAMES = st.sampled_from(
    [
        *("type", "index", "delta", "message", "content", "text", "thinking", "tool_plan"),
        *("tool_calls", "function", "name", "arguments", "id", "citations", "usage", "tokens"),
        *("billed_units", "input_tokens", "logprobs", "token_ids", "finish_reason", "error", "x"),
        *("role", "events", "cached_tokens"),
    ]
)
KINDS = st.sampled_from([each["type"] for each in [*ANSWER, *CALLS]])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | KINDS
    | st.sampled_from(["text", "thinking", "function", "COMPLETE"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
EVENTS = st.fixed_dictionaries(
    {"type": KINDS},
    optional={
        "index": st.integers(0, 2) | VALUES,
        "delta": VALUES | st.fixed_dictionaries({"message": st.dictionaries(NAMES, VALUES)}),
        "logprobs": VALUES,
    },
)


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS | VALUES, max_size=6))
def test_no_stream_raises_anything_but_a_provider_error(events: list[Any]) -> None:
    data = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)
    try:
        last = read(data)[-1]
    except ProviderError as error:
        assert error.partial is None or isinstance(error.partial, Completion)  # noqa: PT017
    else:
        assert isinstance(last, Completed)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=6), st.sampled_from([200, 400, 422, 429, 498, 503]))
def test_no_body_raises_anything_but_a_provider_error(body: dict[str, Any], status: int) -> None:
    codec = get_codec("cohere")
    try:
        answer = codec.decode(status, {}, json.dumps(body).encode())
    except ProviderError as error:
        assert error.provider == "cohere"  # noqa: PT017
    else:
        assert status == 200
        codec.assistant_message(answer)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_a_provider_error(data: bytes) -> None:
    for call in (lambda: read(data), lambda: get_codec("cohere").decode(200, {}, data)):
        try:
            call()
        except ProviderError as error:
            assert error.provider == "cohere"  # noqa: PT017
