"""The OpenAI chat codec: what the recordings do not show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cascadeflow.errors import (
    InvalidRequestError,
    MalformedResponseError,
    OverloadedError,
    ProviderError,
    RateLimitedError,
)
from cascadeflow.models.completion import Completed, Completion, TextDelta, ToolCallDelta
from cascadeflow.models.usage import Usage
from cascadeflow.providers.codecs import get_codec
from cascadeflow.providers.openai_usage import read_cost, read_usage
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


def encode(provider: str = "openai", messages: tuple[Message, ...] = HI, **rest: Any) -> Any:
    request = ChatRequest(model="m", messages=messages, **rest)
    return json.loads(get_codec(provider).encode(request).body)


def decode(message: Any, provider: str = "openai", **choice: Any) -> Completion:
    body = {"choices": [{"index": 0, "message": message, **choice}]}
    return get_codec(provider).decode(200, {}, json.dumps(body).encode())


def stream(*chunks: Any, provider: str = "openai") -> list[Any]:
    lines = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
    data = "".join(f"data: {line}\n\n" for line in lines).encode()
    return list(get_codec(provider).decode_stream([data]))


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


# Requests


def test_a_plain_request_says_nothing_that_was_not_asked() -> None:
    assert encode() == {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def test_every_setting_is_written() -> None:
    body = encode(
        max_tokens=5,
        temperature=0.0,
        top_p=0.5,
        stop=("a", "b"),
        seed=7,
        logprobs=3,
        user="u",
        stream=True,
        response_format=ResponseFormat("json_schema", {"type": "object"}, "city", strict=True),
        tools=(Tool("f", "does", {"type": "object"}, strict=True), Tool("g")),
        tool_choice="f",
    )
    del body["messages"]
    assert body == {
        "model": "m",
        "max_completion_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["a", "b"],
        "seed": 7,
        "logprobs": True,
        "top_logprobs": 3,
        "user": "u",
        "stream": True,
        "stream_options": {"include_usage": True},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "city", "schema": {"type": "object"}, "strict": True},
        },
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "description": "does",
                    "parameters": {"type": "object"},
                    "strict": True,
                },
            },
            {
                "type": "function",
                "function": {"name": "g", "parameters": {"type": "object", "properties": {}}},
            },
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    }


@pytest.mark.parametrize(
    ("provider", "field"),
    [("openai", "max_completion_tokens"), ("mistral", "max_tokens"), ("deepseek", "max_tokens")],
)
def test_the_limit_has_the_dialect_s_name(provider: str, field: str) -> None:
    assert encode(provider, max_tokens=9)[field] == 9


def test_dialects_are_sent_what_they_know_and_nothing_that_they_refuse() -> None:
    asked: dict[str, Any] = {
        "seed": 1,
        "user": "u",
        "logprobs": 0,
        "tool_choice": "required",
        "stream": True,
    }
    named = (Message("developer", "Be brief."), Message("user", "Hi", name="ann"))
    mistral = encode("mistral", named, **asked)
    assert mistral.keys() == {"model", "messages", "random_seed", "tool_choice", "stream"}
    assert mistral["tool_choice"] == "any"
    assert [message["role"] for message in mistral["messages"]] == ["system", "user"]
    assert "name" not in mistral["messages"][1]
    groq = encode("groq", named, **asked)
    assert "logprobs" not in groq
    assert groq["user"] == "u"
    openai = encode("openai", named, **asked)
    assert openai["messages"][0]["role"] == "developer"
    assert openai["messages"][1]["name"] == "ann"
    assert openai["logprobs"] is True
    assert "top_logprobs" not in openai
    assert encode("together", **asked)["logprobs"] == 1


def test_extra_fields_come_last_and_objects_are_put_together() -> None:
    body = encode(
        temperature=0.1, stream=True, extra={"temperature": 0.9, "stream_options": {"x": 1}}
    )
    assert body["temperature"] == 0.9
    assert body["stream_options"] == {"include_usage": True, "x": 1}


def test_parts_tool_calls_and_results_are_written() -> None:
    messages = (
        Message(
            "user",
            (
                TextPart("Look"),
                ImagePart(url="https://x.example/i.png", detail="low"),
                ImagePart(data="AAAA", media_type="image/png"),
                DocumentPart(data="BBBB", media_type="application/pdf", name="a.pdf"),
                DocumentPart(file_id="file-1"),
            ),
        ),
        Message("assistant", tool_calls=(ToolCall("c1", "f", '{"a":1}'),)),
        Message("tool", "done", tool_call_id="c1"),
    )
    user, assistant, tool = encode(messages=messages)["messages"]
    assert user["content"] == [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "https://x.example/i.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {
            "type": "file",
            "file": {"file_data": "data:application/pdf;base64,BBBB", "filename": "a.pdf"},
        },
        {"type": "file", "file": {"file_id": "file-1"}},
    ]
    assert assistant["content"] is None
    assert assistant["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]
    assert tool == {"role": "tool", "tool_call_id": "c1", "content": "done"}


def test_a_document_by_url_goes_where_it_is_taken_and_is_refused_elsewhere() -> None:
    messages = (Message("user", (DocumentPart(url="https://x.example/a.pdf"),)),)
    part = encode("mistral", messages)["messages"][0]["content"][0]
    assert part == {"type": "document_url", "document_url": "https://x.example/a.pdf"}
    part = encode("openrouter", messages)["messages"][0]["content"][0]
    assert part["file"]["file_data"] == "https://x.example/a.pdf"
    with pytest.raises(InvalidRequestError, match="by URL"):
        encode("openai", messages)


@pytest.mark.parametrize("extra", [{"x": object()}, {"x": float("nan")}])
def test_what_is_not_json_is_refused_before_it_is_sent(extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="JSON"):
        encode(extra=extra)


def test_a_lone_surrogate_in_a_text_is_carried() -> None:
    assert encode(messages=(Message("user", "a\ud800b"),))["messages"][0]["content"] == "a\ud800b"


# Answers


def test_a_refusal_is_told_apart_from_an_answer() -> None:
    answer = decode({"content": None, "refusal": "I cannot."}, finish_reason="stop")
    assert (answer.text, answer.refusal, answer.finish_reason) == ("", "I cannot.", "refusal")
    assert answer.raw_finish_reason == "stop"


def test_log_probabilities_are_read_and_kept_whole() -> None:
    entry = {
        "token": "Hi",
        "logprob": -0.5,
        "bytes": [72, 105],
        "top_logprobs": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}],
    }
    raw = {"content": [entry], "refusal": None}
    answer = decode({"content": "Hi"}, logprobs=raw)
    assert answer.logprobs is not None
    (first,) = answer.logprobs
    assert (first.token, first.logprob, first.top) == ("Hi", -0.5, (("Hi", -0.5),))
    assert answer.extras["choices"][0]["logprobs"]["content"] == [entry]
    together = decode({"content": "Hi"}, logprobs={"tokens": ["Hi"], "token_logprobs": [-1.0]})
    assert together.logprobs is not None
    assert together.logprobs[0].logprob == -1.0


def test_further_choices_are_kept_in_the_provider_s_words() -> None:
    choices = [
        {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"},
        {"index": 1, "message": {"role": "assistant", "content": "b"}, "finish_reason": "length"},
    ]
    answer = get_codec("openai").decode(200, {}, json.dumps({"choices": choices}).encode())
    assert answer.text == "a"
    assert answer.extras["choices"][1] == {
        "index": 1,
        "message": {"content": "b"},
        "finish_reason": "length",
    }


def test_further_choices_of_a_stream_are_kept_and_give_no_events() -> None:
    second = {"choices": [{"index": 1, "delta": {"content": "b"}}]}
    events = stream(delta(content="a"), second, delta(content="c"), second, "[DONE]")
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["a", "c"]
    assert events[-1].completion.extras["choices"][1]["message"] == {"content": "bb"}


def test_reasoning_under_both_names_is_read_once() -> None:
    answer = decode({"content": "4", "reasoning": "2+2", "reasoning_content": "2+2"})
    assert answer.reasoning == "2+2"
    assert answer.extras == {}


def test_a_whole_answer_that_comes_for_a_stream_is_given_as_events() -> None:
    decoder = get_codec("openai").decoder({"content-type": "application/json; charset=utf-8"})
    assert decoder.feed(b'{"choices":[{"message":') == ()
    decoder.feed(b'{"content":"Hi"},"finish_reason":"stop"}]}')
    text, last = decoder.finish()
    assert isinstance(text, TextDelta)
    assert isinstance(last, Completed)
    assert last.completion.text == "Hi"


def test_an_answer_goes_back_as_its_provider_wants_it_and_no_other_sees_that() -> None:
    answer = decode({"content": "4", "reasoning_content": "2+2"}, "deepseek")
    message = get_codec("deepseek").assistant_message(answer)
    back = encode("deepseek", (*HI, message))["messages"][1]
    assert back == {"role": "assistant", "content": "4", "reasoning_content": "2+2"}
    elsewhere = encode("openai", (*HI, message))["messages"][1]
    assert elsewhere == {"role": "assistant", "content": "4"}
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
    answer = decode({"content": [*parts, {"type": "text", "text": "4"}]}, "mistral")
    message = get_codec("mistral").assistant_message(answer)
    assert encode("mistral", (*HI, message))["messages"][1]["content"][:1] == parts


# Streams


def test_parallel_calls_are_told_apart_however_the_server_numbers_them() -> None:
    def call(call_id: str | None, name: str | None, text: str, **rest: Any) -> Any:
        return {"id": call_id, "function": {"name": name, "arguments": text}, **rest}

    for numbers in ([{"index": 0}, {"index": 1}], [{"index": 0}, {"index": 0}], [{}, {}]):
        events = stream(
            delta(tool_calls=[call("a", "f", "", **numbers[0])]),
            delta(tool_calls=[call(None, None, '{"x":1}', **numbers[0])]),
            delta(tool_calls=[call("b", "g", '{"y"', **numbers[1])]),
            delta(tool_calls=[call(None, None, ":2}", **numbers[1])]),
            "[DONE]",
        )
        assert events[-1].completion.tool_calls == (
            ToolCall("a", "f", '{"x":1}'),
            ToolCall("b", "g", '{"y":2}'),
        )
        indexes = [event.index for event in events if isinstance(event, ToolCallDelta)]
        assert indexes == [0, 0, 1, 1]


def test_arguments_that_come_as_an_object_are_written_as_json() -> None:
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    answer = decode({"content": None, "tool_calls": [call]})
    assert answer.tool_calls == (ToolCall("", "f", '{"a":1}'),)


@pytest.mark.parametrize("ending", [["[DONE]"], []])
def test_a_stream_is_whole_with_its_end_mark_or_with_reason_and_usage(ending: list[str]) -> None:
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    assert stream(delta(content="a"), last, usage, *ending)[-1].completion.usage_complete


def test_a_stream_without_its_usage_is_not_confirmed() -> None:
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    answer = stream(delta(content="a"), last)[-1].completion
    assert (answer.usage, answer.usage_complete, answer.finish_reason) == (None, False, "stop")


def test_groq_s_usage_is_found_where_it_stood_before() -> None:
    usage = {"prompt_tokens": 2, "completion_tokens": 1}
    events = stream({"choices": [], "x_groq": {"id": "r", "usage": usage}}, "[DONE]")
    assert events[-1].completion.usage == Usage(input_tokens=2, output_tokens=1)


def test_an_error_in_a_stream_keeps_what_had_come() -> None:
    codec = get_codec("openai")
    data = (
        b'data: {"choices":[{"delta":{"content":"Hel"}}]}\n\n'
        b'data: {"error":{"type":"server_error","message":"oh"}}\n\n'
    )
    decoder = codec.decoder()
    assert decoder.feed(data) == [TextDelta("Hel")]
    assert isinstance(decoder.failure, OverloadedError)
    for again in (lambda: decoder.feed(b""), decoder.finish):
        with pytest.raises(OverloadedError) as caught:
            again()
        assert caught.value.partial.text == "Hel"
        assert caught.value.billed is None


def test_a_rate_limit_in_a_stream_is_a_rate_limit() -> None:
    with pytest.raises(RateLimitedError):
        stream({"error": {"code": 429, "message": "slow down"}})


@pytest.mark.parametrize("data", ["{", "[]", "nonsense", "\N{REPLACEMENT CHARACTER}", '"text"'])
def test_an_event_that_is_no_object_is_a_typed_error(data: str) -> None:
    with pytest.raises(MalformedResponseError):
        stream(data, "[DONE]")


def test_invalid_utf8_in_a_stream_is_a_typed_error() -> None:
    with pytest.raises(MalformedResponseError):
        list(get_codec("openai").decode_stream([b'data: {"a": "\xff"}\n\n']))


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b'{"choices": []}', b"<html>no</html>", b'{"choices": [1]}'],
)
def test_a_response_that_is_none_is_a_typed_error(body: bytes) -> None:
    with pytest.raises(MalformedResponseError) as caught:
        get_codec("openai").decode(200, {}, body)
    assert caught.value.billed is None
    assert ("web page" in str(caught.value)) == body.startswith(b"<html")


def test_an_error_behind_a_status_200_is_an_error() -> None:
    with pytest.raises(ProviderError) as caught:
        get_codec("openrouter").decode(200, {}, b'{"error":{"code":429,"message":"slow"}}')
    assert isinstance(caught.value, RateLimitedError)


# Usage


def test_reasoning_that_is_counted_beside_the_output_is_not_taken_out_of_it() -> None:
    raw = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 115,
        "completion_tokens_details": {"reasoning_tokens": 100},
    }
    assert read_usage(raw) == Usage(input_tokens=10, output_tokens=5, reasoning_tokens=100)


def test_missing_is_not_zero() -> None:
    usage = read_usage({"prompt_tokens": 3})
    assert usage == Usage(input_tokens=3)
    assert usage is not None
    assert (usage.cache_read_tokens, usage.output_tokens) == (None, None)
    zero = read_usage({"prompt_tokens": 0, "prompt_tokens_details": {"cached_tokens": 0}})
    assert zero == Usage(input_tokens=0, cache_read_tokens=0)
    assert read_usage({}) is None
    assert read_usage({"prompt_tokens": None, "total_tokens": "many"}) is None


@pytest.mark.parametrize("count", [-1, 1.5, True, "7", 2**60, float("inf"), [], None])
def test_what_is_no_count_is_not_counted(count: Any) -> None:
    assert read_usage({"prompt_tokens": count}) is None


@pytest.mark.parametrize(
    ("raw", "nanodollars"),
    [
        ({"cost": 0.0000000004}, 1),
        ({"cost": 0.00183}, 1_830_000),
        ({"cost": 0}, 0),
        ({"cost": {"total_cost": 0.006, "request_cost": 0.005}}, 6_000_000),
        (
            {
                "cost": 0.001,
                "is_byok": True,
                "cost_details": {"upstream_inference_cost": 0.002},
            },
            3_000_000,
        ),
        ({"cost": 0, "is_byok": True}, None),
        ({"cost": -1}, None),
        ({"cost": "1"}, None),
        ({"cost": float("nan")}, None),
        ({}, None),
    ],
)
def test_a_reported_cost_is_read_exactly(raw: dict[str, Any], nanodollars: int | None) -> None:
    assert read_cost(raw) == nanodollars


def test_a_server_that_cannot_be_told_a_tool_s_name_is_told_of_that_tool_only() -> None:
    tools = (Tool("look"), Tool("find"))

    def sent(provider: str, choice: str | None) -> tuple[list[str], Any]:
        request = ChatRequest("m", (Message("user", "hi"),), tools=tools, tool_choice=choice)
        body = json.loads(get_codec(provider).encode(request).body)
        return [tool["function"]["name"] for tool in body["tools"]], body.get("tool_choice")

    assert sent("llamacpp", "find") == (["find"], "required")
    assert sent("llamacpp", "auto") == (["look", "find"], "auto")
    assert sent("llamacpp", "required") == (["look", "find"], "required")
    assert sent("llamacpp", None) == (["look", "find"], None)
    named = {"type": "function", "function": {"name": "find"}}
    assert sent("openai", "find") == (["look", "find"], named)
