"""The Gemini codec's streams: what the recordings do not show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import MalformedResponseError, OverloadedError, RateLimitedError
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

if TYPE_CHECKING:
    from cascadeflow.models.completion import StreamEvent


def piece(*parts: Any, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [{**candidate, **fields.pop("candidate", {})}], **fields}


def counted(prompt: int, made: int) -> dict[str, Any]:
    counts = {"promptTokenCount": prompt, "candidatesTokenCount": made}
    return {"usageMetadata": {**counts, "totalTokenCount": prompt + made}}


def lines(*pieces: Any) -> bytes:
    return "".join(f"data: {json.dumps(each)}\r\n\r\n" for each in pieces).encode()


def read(data: bytes, provider: str = "vertex") -> list[StreamEvent]:
    """The events, which are the same whole and byte by byte."""
    codec = get_codec(provider)
    events = list(codec.decode_stream([data]))
    assert list(codec.decode_stream(bytes([byte]) for byte in data)) == events
    return events


def answer_of(events: list[StreamEvent]) -> Completion:
    assert isinstance(events[-1], Completed)
    return events[-1].completion


def test_texts_thoughts_and_calls_become_events_and_one_answer() -> None:
    events = read(
        lines(
            piece({"text": "Hm", "thought": True}, responseId="r-1"),
            piece({"text": "m.", "thought": True}, {"text": "Os"}),
            piece({"text": "lo"}, {"functionCall": {"id": "c1", "name": "f", "args": {"x": 1}}}),
            piece(
                {"text": "", "thoughtSignature": "c2ln"},
                finish="STOP",
                **counted(4, 5),
                modelVersion="gemini-3-flash",
            ),
        )
    )
    usage = Usage(input_tokens=4, output_tokens=5)
    answer = answer_of(events)
    assert events[:-1] == [
        ReasoningDelta("Hm"),
        ReasoningDelta("m."),
        TextDelta("Os"),
        TextDelta("lo"),
        ToolCallDelta(0, "c1", "f", '{"x":1}'),
        UsageUpdate(usage),
    ]
    assert (answer.text, answer.reasoning, answer.usage) == ("Oslo", "Hmm.", usage)
    assert (answer.finish_reason, answer.model) == ("tool_calls", "gemini-3-flash")
    back = get_codec("vertex").assistant_message(answer)
    assert back.extras["provider:vertex"]["parts"] == [
        {"text": "Hmm.", "thought": True},
        {"text": "Oslo"},
        {"functionCall": {"id": "c1", "name": "f", "args": {"x": 1}}},
        {"text": "", "thoughtSignature": "c2ln"},
    ]


def partial(*values: Any, more: bool = True, **call: Any) -> dict[str, Any]:
    written = {"partialArgs": list(values)} if values else {}
    going_on = {"willContinue": True} if more else {}
    return piece({"functionCall": {**call, **written, **going_on}})


def test_arguments_that_come_value_by_value_become_one_call() -> None:
    events = read(
        lines(
            partial(name="book", id="c1"),
            partial({"jsonPath": "$.city", "stringValue": "Os", "willContinue": True}),
            partial({"jsonPath": "$.city", "stringValue": "lo"}),
            partial(
                {"jsonPath": "$.rooms[0].beds", "numberValue": 2},
                {"jsonPath": "$.rooms[0]['with view']", "boolValue": False},
                {"jsonPath": "$.rooms[1].beds", "nullValue": "NULL_VALUE"},
            ),
            partial(more=False),
            piece({"functionCall": {"name": "pay", "args": {}}}, finish="STOP", responseId="r"),
        )
    )
    arguments = (
        '{"city":"Oslo","rooms":[{"beds":2,"with view":false},{"beds":null}]}'  # as they came
    )
    answer = answer_of(events)
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [
        ("c1", "book", arguments),
        ("gemini_1_r", "pay", "{}"),
    ]
    assert events[:-1] == [
        ToolCallDelta(0, "c1", "book"),
        ToolCallDelta(0, arguments=arguments),
        ToolCallDelta(1, "gemini_1_r", "pay", "{}"),
    ]


def test_values_that_have_no_place_are_kept_and_a_call_left_open_is_given() -> None:
    strange = [
        {"jsonPath": "$..x", "stringValue": "a"},
        {"jsonPath": "$[0]", "numberValue": 1},
        {"jsonPath": "$.list[7]", "numberValue": 1},
        {"jsonPath": "$.n.deeper", "numberValue": 1},
        {"jsonPath": "$.x", "otherValue": 1},
        5,
    ]
    known = {"jsonPath": "$.n", "numberValue": 3}
    events = read(lines(partial(name="f", id="c"), partial(known, *strange)))
    assert events[:-1] == [ToolCallDelta(0, "c", "f"), ToolCallDelta(0, arguments='{"n":3}')]
    answer = answer_of(events)
    [part] = answer.extras["candidates"][0]["content"]["parts"]
    assert part["functionCall"]["partialArgs"] == strange
    assert answer.finish_reason == "error"


def test_the_last_count_stands_and_vertex_s_first_pieces_say_less() -> None:
    events = read(
        lines(
            piece({"text": "a"}, usageMetadata={"trafficType": "ON_DEMAND"}),
            piece({"text": "b"}, **counted(3, 1)),
            piece({"text": "c"}, finish="STOP", usageMetadata={"trafficType": "ON_DEMAND_FLEX"}),
        )
    )
    updates = [event.usage for event in events if isinstance(event, UsageUpdate)]
    assert updates == [Usage(input_tokens=3, output_tokens=1)]
    answer = answer_of(events)
    assert answer.service_tier == "flex"
    assert answer.usage_complete


def test_usage_that_came_before_the_end_is_not_the_last_word() -> None:
    last = piece({"text": "b"}, finish="STOP")
    answer = answer_of(read(lines(piece({"text": "a"}, **counted(3, 1)), last)))
    assert (answer.finish_reason, answer.usage_complete) == ("stop", False)
    late = {"usageMetadata": counted(3, 2)["usageMetadata"]}
    answer = answer_of(read(lines(piece({"text": "a"}), last, late)))
    assert answer.usage_complete
    assert answer.usage == Usage(input_tokens=3, output_tokens=2)


def test_searches_join_the_usage() -> None:
    grounding = {"groundingMetadata": {"webSearchQueries": ["a", "b"]}}
    events = read(
        lines(
            piece({"text": "a"}, **counted(3, 1), modelVersion="gemini-3-flash"),
            piece({"text": "b"}, finish="STOP", candidate=grounding, **counted(3, 2)),
        )
    )
    usage = Usage(input_tokens=3, output_tokens=2, requests={"web_search": 2})
    assert answer_of(events).usage == usage
    assert [event for event in events if isinstance(event, UsageUpdate)][-1].usage == usage


def test_what_comes_in_pieces_is_put_together() -> None:
    def chosen(token: str) -> dict[str, Any]:
        return {"logprobsResult": {"chosenCandidates": [{"token": token, "logProbability": -0.5}]}}

    first = {"groundingMetadata": {"groundingChunks": [{"web": 1}]}, **chosen("ha")}
    second = {"groundingMetadata": {"groundingChunks": [{"web": 1}, {"web": 2}]}, **chosen("ha")}
    other = {"content": {"parts": [{"text": "No"}]}, "index": 1}
    two = piece({"text": "ha"}, candidate=first)
    two["candidates"].append(other)
    three = piece({"text": "ha"}, finish="STOP", candidate=second)
    three["candidates"].insert(0, {**other, "finishReason": "STOP"})
    answer = answer_of(read(lines(two, three)))
    assert answer.text == "haha"
    assert answer.logprobs is not None
    assert [each.token for each in answer.logprobs] == ["ha", "ha"]
    [kept, further] = answer.extras["candidates"]
    assert kept["groundingMetadata"]["groundingChunks"] == [{"web": 1}, {"web": 2}]
    assert further == {
        "index": 1,
        "content": {"parts": [{"text": "NoNo"}]},
        "finishReason": "STOP",
    }


def test_a_blocked_prompt_ends_a_stream() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, **counted(5, 0)}
    answer = answer_of(read(lines(blocked)))
    assert (answer.finish_reason, answer.raw_finish_reason) == ("content_filter", "SAFETY")
    assert answer.usage_complete


FAILED = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    "written",
    [
        lines(FAILED),
        lines([FAILED]),
        json.dumps(FAILED, indent=2).replace("\n", "\r\n").encode() + b"\r\n",
        json.dumps(FAILED, indent=2).encode(),
        json.dumps(FAILED).encode(),
        json.dumps([FAILED], indent=2).encode(),
    ],
)
def test_an_error_in_a_stream_raises_after_what_came_before(written: bytes) -> None:
    data = lines(piece({"text": "Os"}, **counted(3, 1))) + written
    for chunks in ([data], [bytes([byte]) for byte in data]):
        events: list[StreamEvent] = []
        with pytest.raises(OverloadedError) as caught:
            events.extend(get_codec("gemini").decode_stream(chunks))
        assert events == [TextDelta("Os"), UsageUpdate(Usage(input_tokens=3, output_tokens=1))]
        failure = caught.value
        assert (failure.status, failure.code, failure.billed) == (503, "UNAVAILABLE", None)
        assert failure.retryable
        assert failure.partial.text == "Os"


def test_what_follows_a_bare_error_is_not_read_and_what_looks_like_one_ends() -> None:
    data = b'{\n  "hint": 1\n}\n' + lines(piece({"text": "a"}, finish="STOP"))
    answer = answer_of(read(data))
    assert (answer.text, answer.extras) == ("a", {"hint": 1})
    data = json.dumps(FAILED, indent=1).encode() + b"\n" + lines(piece({"text": "b"}))
    with pytest.raises(OverloadedError) as caught:
        read(data)
    assert caught.value.partial is None


def test_a_list_that_ends_with_an_error_gives_what_it_had() -> None:
    limited = {"error": {"code": 429, "message": "Slow.", "status": "RESOURCE_EXHAUSTED"}}
    body = json.dumps([piece({"text": "a"}, **counted(1, 1)), limited]).encode()
    with pytest.raises(RateLimitedError) as caught:
        get_codec("gemini").decode(200, {}, body)
    assert caught.value.partial.text == "a"
    assert caught.value.billed is None


@pytest.mark.parametrize("data", [b"data: nonsense\n\n", b"data: 5\n\n", b"data: \xff\n\n"])
def test_an_event_that_is_none_is_a_typed_error(data: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        list(get_codec("gemini").decode_stream([lines(piece({"text": "a"})), data]))


def test_a_gateway_s_closing_word_says_nothing() -> None:
    data = lines(piece({"text": "a"}, finish="STOP", **counted(1, 1))) + b"data: [DONE]\n\n"
    assert answer_of(read(data)).text == "a"


def test_nothing_is_known_before_the_first_piece() -> None:
    decoder = get_codec("gemini").decoder()
    assert decoder.partial() is None
    decoder.feed(lines(piece({"text": "a"})))
    partial = decoder.partial()
    assert partial is not None
    assert (partial.text, partial.usage_complete) == ("a", False)
