"""The Anthropic messages codec: what the recordings do not show."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from cascadeflow.errors import (
    InvalidRequestError,
    MalformedResponseError,
    OverloadedError,
)
from cascadeflow.models.completion import (
    Completed,
    Completion,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from cascadeflow.models.usage import Usage
from cascadeflow.providers.anthropic_decode import read_usage
from cascadeflow.providers.codecs import get_codec
from cascadeflow.types import (
    ChatRequest,
    DocumentPart,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
)

HI = (Message("user", "Hi"),)


def encode(messages: tuple[Message, ...] = HI, **rest: Any) -> Any:
    request = ChatRequest(model="m", messages=messages, **rest)
    return json.loads(get_codec("anthropic").encode(request).body)


def decode(blocks: list[Any], **fields: Any) -> Completion:
    body = {"type": "message", "role": "assistant", "content": blocks, **fields}
    return get_codec("anthropic").decode(200, {}, json.dumps(body).encode())


def stream(*events: Any) -> list[Any]:
    lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
    return list(get_codec("anthropic").decode_stream(["".join(lines).encode()]))


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": fields}


BEGIN = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": "claude",
        "usage": {
            "input_tokens": 5,
            "output_tokens": 1,
            "cache_creation_input_tokens": 10,
            "cache_creation": {"ephemeral_5m_input_tokens": 6, "ephemeral_1h_input_tokens": 4},
        },
    },
}
END = (
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 9},
    },
    {"type": "message_stop"},
)


# Requests


def test_a_plain_request_has_the_limit_that_the_protocol_demands() -> None:
    assert encode() == {
        "model": "m",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    assert encode(max_tokens=7)["max_tokens"] == 7


def test_the_version_of_the_protocol_is_named() -> None:
    encoded = get_codec("anthropic").encode(ChatRequest(model="m", messages=HI))
    assert encoded.headers["anthropic-version"] == "2023-06-01"
    assert encoded.path == "/v1/messages"


def test_every_setting_is_written() -> None:
    body = encode(
        temperature=0.2,
        top_p=0.9,
        stop=("x",),
        user="u",
        stream=True,
        tools=(Tool("f", "does", {"type": "object"}, strict=True), Tool("g")),
        tool_choice="f",
        response_format=ResponseFormat("json_schema", {"type": "object"}),
        extra={"output_config": {"effort": "low"}, "top_k": 3},
    )
    del body["messages"], body["model"], body["max_tokens"]
    assert body == {
        "temperature": 0.2,
        "top_p": 0.9,
        "stop_sequences": ["x"],
        "metadata": {"user_id": "u"},
        "stream": True,
        "tools": [
            {
                "name": "f",
                "description": "does",
                "input_schema": {"type": "object"},
                "strict": True,
            },
            {"name": "g", "input_schema": {"type": "object", "properties": {}}},
        ],
        "tool_choice": {"type": "tool", "name": "f"},
        "output_config": {
            "format": {"type": "json_schema", "schema": {"type": "object"}},
            "effort": "low",
        },
        "top_k": 3,
    }


@pytest.mark.parametrize(
    ("choice", "written"), [("auto", "auto"), ("none", "none"), ("required", "any")]
)
def test_the_tool_choice_has_the_protocol_s_words(choice: str, written: str) -> None:
    assert encode(tool_choice=choice)["tool_choice"] == {"type": written}


def test_system_messages_go_to_the_top() -> None:
    messages = (Message("system", "A"), *HI, Message("developer", "B"))
    body = encode(messages)
    assert body["system"] == [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
    assert body["messages"] == [{"role": "user", "content": "Hi"}]
    assert encode((Message("system", "A"), *HI))["system"] == "A"


def test_any_json_is_asked_for_in_words() -> None:
    body = encode(response_format=ResponseFormat("json_object"))
    assert "JSON" in body["system"]
    assert "output_config" not in body


def test_a_conversation_without_a_user_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="user"):
        encode((Message("system", "A"),))


def test_results_of_one_turn_s_calls_stand_in_one_message() -> None:
    messages = (
        *HI,
        Message(
            "assistant",
            "Wait.",
            tool_calls=(ToolCall("1", "f", '{"a": 1}'), ToolCall("2", "g", "")),
        ),
        Message("tool", "one", tool_call_id="1"),
        Message("tool", (TextPart("two"), ImagePart(url="https://x.example/i.png")), (), "2"),
        Message("user", "And?"),
        Message("assistant", "So."),
    )
    body = encode(messages)["messages"]
    assert [message["role"] for message in body] == ["user", "assistant", "user", "assistant"]
    assert body[1]["content"] == [
        {"type": "text", "text": "Wait."},
        {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "2", "name": "g", "input": {}},
    ]
    assert body[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "1", "content": "one"},
        {
            "type": "tool_result",
            "tool_use_id": "2",
            "content": [
                {"type": "text", "text": "two"},
                {"type": "image", "source": {"type": "url", "url": "https://x.example/i.png"}},
            ],
        },
        {"type": "text", "text": "And?"},
    ]


def test_arguments_that_the_model_broke_go_back_as_text() -> None:
    calls = (ToolCall("1", "f", '{"a": '), ToolCall("2", "f", "[1]"))
    blocks = encode((*HI, Message("assistant", tool_calls=calls)))["messages"][1]["content"]
    assert [block["input"] for block in blocks] == [
        {"INVALID_JSON": '{"a": '},
        {"INVALID_JSON": "[1]"},
    ]


def test_images_and_documents_are_written() -> None:
    text = base64.b64encode("Grüße".encode()).decode()
    parts = (
        ImagePart(data="AAAA", media_type="image/png"),
        DocumentPart(data="BBBB", media_type="application/pdf", name="a.pdf"),
        DocumentPart(data=text, media_type="text/plain"),
        DocumentPart(url="https://x.example/a.pdf"),
        DocumentPart(file_id="file_1"),
    )
    sources = [
        block["source"] for block in encode((Message("user", parts),))["messages"][0]["content"]
    ]
    assert sources == [
        {"type": "base64", "media_type": "image/png", "data": "AAAA"},
        {"type": "base64", "media_type": "application/pdf", "data": "BBBB"},
        {"type": "text", "media_type": "text/plain", "data": "Grüße"},
        {"type": "url", "url": "https://x.example/a.pdf"},
        {"type": "file", "file_id": "file_1"},
    ]
    with pytest.raises(InvalidRequestError, match="media_type"):
        encode((Message("user", (ImagePart(data="AAAA"),)),))


def test_thinking_goes_back_unchanged_and_to_nobody_else() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    answer = decode([thinking, {"type": "text", "text": "4"}])
    message = get_codec("anthropic").assistant_message(answer)
    assert encode((*HI, message))["messages"][1]["content"][0] == thinking
    request = ChatRequest(model="m", messages=(*HI, message))
    elsewhere = json.loads(get_codec("openai").encode(request).body)["messages"][1]
    assert elsewhere == {"role": "assistant", "content": "4"}


@pytest.mark.parametrize("content", [[[]], ["x"], [None], "x"])
def test_content_of_another_form_goes_back_as_it_came(content: object) -> None:
    message = Message("assistant", extras={"provider:anthropic": {"content": content}})
    assert encode((*HI, message))["messages"][1]["content"] == content


# Answers


@pytest.mark.parametrize(
    ("raw", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "refusal"),
        ("pause_turn", "unknown"),
    ],
)
def test_stop_reasons_are_told_in_our_words(raw: str, finish: str) -> None:
    answer = decode([{"type": "text", "text": "a"}], stop_reason=raw)
    assert (answer.finish_reason, answer.raw_finish_reason) == (finish, raw)


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "explanation": "Not this."}
    answer = decode([], stop_reason="refusal", stop_details=details)
    assert answer.refusal == "Not this."


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"content": "text"}', b"\xff"])
def test_a_response_that_is_none_is_a_typed_error(body: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        get_codec("anthropic").decode(200, {}, body)


# Streams


def test_a_stream_s_blocks_become_events_and_one_answer() -> None:
    events = stream(
        BEGIN,
        start(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="2+2"),
        delta(0, type="signature_delta", signature="sig"),
        {"type": "content_block_stop", "index": 0},
        start(1, type="text", text=""),
        delta(1, type="text_delta", text="It is "),
        delta(1, type="text_delta", text="4"),
        delta(1, type="citations_delta", citation={"url": "u"}),
        start(2, type="tool_use", id="t1", name="f", input={}),
        delta(2, type="input_json_delta", partial_json=""),
        delta(2, type="input_json_delta", partial_json='{"a":'),
        delta(2, type="input_json_delta", partial_json=" 1}"),
        start(3, type="tool_use", id="t2", name="g", input={}),
        *END,
    )
    kinds = (TextDelta, ReasoningDelta, ToolCallDelta)
    assert [event for event in events if isinstance(event, kinds)] == [
        ReasoningDelta("2+2"),
        TextDelta("It is "),
        TextDelta("4"),
        ToolCallDelta(0, "t1", "f"),
        ToolCallDelta(0, arguments='{"a":'),
        ToolCallDelta(0, arguments=" 1}"),
        ToolCallDelta(1, "t2", "g"),
    ]
    answer = events[-1].completion
    assert answer.text == "It is 4"
    assert answer.reasoning == "2+2"
    assert answer.tool_calls == (ToolCall("t1", "f", '{"a": 1}'), ToolCall("t2", "g", "{}"))
    assert answer.extras["content"][0]["signature"] == "sig"
    assert answer.extras["content"][1]["citations"] == [{"url": "u"}]
    assert answer.extras["content"][2]["input"] == {"a": 1}
    assert answer.usage_complete


def test_usage_grows_over_a_stream() -> None:
    answer = stream(BEGIN, *END)[-1].completion
    assert answer.usage == Usage(
        input_tokens=5, output_tokens=9, cache_write_5m_tokens=6, cache_write_1h_tokens=4
    )


def test_a_stream_that_breaks_off_says_so_and_keeps_what_it_had() -> None:
    last = stream(BEGIN, start(0, type="text", text=""), delta(0, type="text_delta", text="It"))[-1]
    assert isinstance(last, Completed)
    assert last.completion.text == "It"
    assert (last.completion.usage_complete, last.completion.finish_reason) == (False, "error")


def test_an_error_event_raises_after_what_came_before() -> None:
    decoder = get_codec("anthropic").decoder()
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    data = [BEGIN, start(0, type="text", text=""), delta(0, type="text_delta", text="It"), error]
    sent = "".join(f"data: {json.dumps(event)}\n\n" for event in data).encode()
    assert TextDelta("It") in decoder.feed(sent)
    with pytest.raises(OverloadedError) as caught:
        decoder.finish()
    assert caught.value.partial.text == "It"
    assert caught.value.retryable
    assert caught.value.status == 529


def test_events_that_nobody_knows_are_kept() -> None:
    news = {"type": "weather", "degrees": 21}
    assert stream(BEGIN, news, *END)[-1].completion.extras["events"] == [news]


# Usage


def test_an_advisor_s_work_is_counted_and_a_compaction_s_is_added() -> None:
    usage = read_usage(
        {
            "input_tokens": 100,
            "output_tokens": 10,
            "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
            "iterations": [
                {"type": "message", "input_tokens": 100, "output_tokens": 10},
                {"type": "compaction", "input_tokens": 1000, "output_tokens": 50},
                {"type": "advisor_message", "model": "big", "input_tokens": 9, "output_tokens": 9},
            ],
        }
    )
    assert usage == Usage(
        input_tokens=1100, output_tokens=60, requests={"web_search": 2, "advisor": 1}
    )


def test_cache_writes_without_a_split_last_five_minutes() -> None:
    assert read_usage({"cache_creation_input_tokens": 7}) == Usage(cache_write_5m_tokens=7)
    split = {"cache_creation": {"ephemeral_1h_input_tokens": 3, "ephemeral_5m_input_tokens": 2}}
    assert read_usage(split) == Usage(cache_write_5m_tokens=2, cache_write_1h_tokens=3)
    grown = {"cache_creation_input_tokens": 9, **split}
    assert read_usage(grown) == Usage(cache_write_5m_tokens=6, cache_write_1h_tokens=3)


def test_missing_is_not_zero() -> None:
    assert read_usage({"output_tokens": 0}) == Usage(output_tokens=0)
    assert read_usage({}) is None
