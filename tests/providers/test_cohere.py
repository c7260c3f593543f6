"""The Cohere chat codec: what the recordings do not show."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from cascadeflow.errors import (
    BadRequestError,
    ContentFilteredError,
    ContextTooLongError,
    InvalidRequestError,
    RateLimitedError,
)
from cascadeflow.models.usage import Usage
from cascadeflow.providers.codecs import get_codec
from cascadeflow.providers.cohere_answer import read_usage
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
    return json.loads(get_codec("cohere").encode(request).body)


def decode(message: Any, **fields: Any) -> Any:
    body = {"id": "r1", "message": {"role": "assistant", **message}, **fields}
    return get_codec("cohere").decode(200, {}, json.dumps(body).encode())


def text_document(text: str, **fields: Any) -> DocumentPart:
    data = base64.b64encode(text.encode()).decode()
    return DocumentPart(data=data, media_type="text/plain", **fields)


# Requests


def test_a_plain_request_says_nothing_that_was_not_asked() -> None:
    encoded = get_codec("cohere").encode(ChatRequest(model="m", messages=HI))
    assert encoded.path == "/v2/chat"
    assert json.loads(encoded.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
    }


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
        tools=(Tool("f", "does", {"type": "object"}, strict=True), Tool("g")),
        tool_choice="required",
        extra={"k": 3, "safety_mode": "STRICT"},
    )
    del body["messages"]
    assert body == {
        "model": "m",
        "max_tokens": 5,
        "temperature": 0.0,
        "p": 0.5,
        "stop_sequences": ["a", "b"],
        "seed": 7,
        "logprobs": True,
        "stream": True,
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "description": "does", "parameters": {"type": "object"}},
            },
            {
                "type": "function",
                "function": {"name": "g", "parameters": {"type": "object", "properties": {}}},
            },
        ],
        "strict_tools": True,
        "tool_choice": "REQUIRED",
        "k": 3,
        "safety_mode": "STRICT",
    }


def test_a_tool_choice_has_the_protocol_s_words_and_one_tool_is_chosen_by_sending_it_alone() -> (
    None
):
    tools = (Tool("f"), Tool("g"))
    assert "tool_choice" not in encode(tools=tools, tool_choice="auto")
    assert encode(tools=tools, tool_choice="none")["tool_choice"] == "NONE"
    body = encode(tools=tools, tool_choice="g")
    assert body["tool_choice"] == "REQUIRED"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["g"]
    with pytest.raises(InvalidRequestError, match="none of the tools"):
        encode(tools=tools, tool_choice="h")


@pytest.mark.parametrize(
    ("stated", "switch"), [((True, None), True), ((False, True), True), ((False,), False)]
)
def test_strictness_is_one_switch_for_all_tools(stated: tuple[Any, ...], switch: bool) -> None:
    tools = tuple(Tool(f"f{at}", strict=strict) for at, strict in enumerate(stated))
    assert encode(tools=tools)["strict_tools"] is switch


def test_json_is_asked_for_with_and_without_a_schema() -> None:
    form = ResponseFormat("json_schema", {"type": "object"})
    wanted = {"type": "json_object", "json_schema": {"type": "object"}}
    assert encode(response_format=form)["response_format"] == wanted
    assert encode(response_format=ResponseFormat("json_object"))["response_format"] == {
        "type": "json_object"
    }


def test_a_conversation_with_images_calls_and_results_is_written() -> None:
    messages = (
        Message("developer", "Be brief."),
        Message(
            "user",
            (
                TextPart("Look"),
                ImagePart(url="https://x.example/i.png", detail="low"),
                ImagePart(data="AAAA", media_type="image/png"),
            ),
            name="ann",
        ),
        Message("assistant", tool_calls=(ToolCall("c1", "f", '{"a":1}'),)),
        Message("tool", "done", tool_call_id="c1"),
        Message("tool", (TextPart("see"), text_document("rows", name="t")), (), "c2"),
    )
    system, user, assistant, first, second = encode(messages)["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert user == {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look"},
            {"type": "image_url", "image_url": {"url": "https://x.example/i.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ],
    }
    function = {"name": "f", "arguments": '{"a":1}'}
    assert assistant == {
        "role": "assistant",
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }
    assert first == {"role": "tool", "tool_call_id": "c1", "content": "done"}
    assert second["content"] == [
        {"type": "text", "text": "see"},
        {"type": "document", "document": {"data": {"text": "rows", "title": "t"}}},
    ]


def test_documents_of_text_stand_beside_the_messages_and_before_one_s_own() -> None:
    parts = (TextPart("Sum up"), text_document("Grüße", name="a"))
    mine = [{"id": "b", "data": {"text": "own"}}]
    body = encode((Message("user", parts),), extra={"documents": mine})
    assert body["messages"][0]["content"] == [{"type": "text", "text": "Sum up"}]
    assert body["documents"] == [{"data": {"text": "Grüße", "title": "a"}}, *mine]
    assert encode(extra={"documents": ["own"]})["documents"] == ["own"]


@pytest.mark.parametrize(
    "part",
    [
        DocumentPart(url="https://x.example/a.txt"),
        DocumentPart(file_id="f1"),
        DocumentPart(data="AAAA", media_type="application/pdf"),
        DocumentPart(data="AAAA"),
        DocumentPart(data="****", media_type="text/plain"),
        DocumentPart(data="/w==", media_type="text/plain"),  # no UTF-8
    ],
)
def test_a_document_that_is_no_text_is_refused_before_it_is_sent(part: DocumentPart) -> None:
    with pytest.raises(InvalidRequestError, match="document"):
        encode((Message("user", (part,)),))


def test_plan_thinking_and_citations_go_back_as_they_came_and_to_nobody_else() -> None:
    thinking = {"type": "thinking", "thinking": "hm"}
    cited = [{"start": 0, "end": 1, "text": "4", "sources": []}]
    content = [thinking, {"type": "text", "text": "4"}]
    answer = decode({"content": content, "tool_plan": "I will.", "citations": cited})
    message = get_codec("cohere").assistant_message(answer)
    assert encode((*HI, message))["messages"][1] == {
        "role": "assistant",
        "content": content,
        "tool_plan": "I will.",
        "citations": cited,
    }
    request = ChatRequest(model="m", messages=(*HI, message))
    elsewhere = json.loads(get_codec("openai").encode(request).body)["messages"][1]
    assert elsewhere == {"role": "assistant", "content": "4"}


# Answers


@pytest.mark.parametrize(
    ("raw", "finish"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("TOOL_CALL", "tool_calls"),
        ("ERROR", "error"),
        ("TIMEOUT", "error"),
        ("TIRED", "unknown"),
    ],
)
def test_finish_reasons_are_told_in_our_words(raw: str, finish: str) -> None:
    answer = decode({"content": [{"type": "text", "text": "a"}]}, finish_reason=raw)
    assert (answer.finish_reason, answer.raw_finish_reason) == (finish, raw)


def test_thinking_and_the_plan_are_reasoning_and_stay_apart_from_the_text() -> None:
    answer = decode(
        {
            "content": [
                {"type": "thinking", "thinking": "hm "},
                {"type": "text", "text": "It is "},
                {"type": "text", "text": "4"},
            ],
            "tool_plan": "I will.",
        }
    )
    assert (answer.text, answer.reasoning) == ("It is 4", "hm I will.")
    assert answer.extras["message"]["tool_plan"] == "I will."
    assert answer.extras["message"]["content"][0] == {"type": "thinking", "thinking": "hm "}


def test_citations_log_probabilities_and_whatever_else_is_said_are_kept() -> None:
    logprobs = [
        {"text": "Hello", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]},
        {"token_ids": [3], "logprobs": [-1]},
    ]
    cited = [{"start": 0, "end": 5, "sources": [{"type": "document", "id": "d"}]}]
    answer = decode(
        {
            "content": [{"type": "text", "text": "Hello", "new": 1}],
            "citations": cited,
            "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}, "x": 2}}],
        },
        logprobs=logprobs,
        prompt="P",
    )
    said = [(token.token, token.logprob) for token in answer.logprobs]
    assert said == [("Hello", -0.5), ("", -0.25), ("", -1.0)]
    assert answer.tool_calls == (ToolCall("c", "f", '{"a":1}'),)
    assert answer.extras == {
        "prompt": "P",
        "logprobs": logprobs,
        "message": {
            "content": [{"type": "text", "text": "Hello", "new": 1}],
            "citations": cited,
            "tool_calls": [{"function": {"x": 2}}],
        },
    }


def test_the_ids_and_the_limits_of_trial_keys_are_read_from_the_headers() -> None:
    headers = {"x-debug-trace-id": "t1", "x-trial-endpoint-call-remaining": "19", "via": "1.1"}
    body = b'{"id":"r1","message":{"content":[]}}'
    answer = get_codec("cohere").decode(200, headers, body)
    assert (answer.response_id, answer.request_id) == ("r1", "t1")
    assert answer.headers == {"x-debug-trace-id": "t1", "x-trial-endpoint-call-remaining": "19"}


# Usage


def test_what_is_billed_is_counted_and_what_was_read_stands_beside_it_whole() -> None:
    raw = {
        "billed_units": {"input_tokens": 41.0, "output_tokens": 25},
        "tokens": {"input_tokens": 1441, "output_tokens": 54},
        "cached_tokens": 144,
    }
    answer = decode({"content": []}, usage=raw)
    assert answer.usage == Usage(input_tokens=41, output_tokens=25)
    assert answer.extras["usage"] == raw


def test_tokens_stand_in_where_nothing_is_billed() -> None:
    assert read_usage({"tokens": {"input_tokens": 5, "output_tokens": 3}}) == Usage(
        input_tokens=5, output_tokens=3
    )


def test_searches_and_classifications_are_counted_by_the_piece() -> None:
    usage = read_usage({"billed_units": {"search_units": 2, "classifications": 1}})
    assert usage == Usage(requests={"search_units": 2, "classifications": 1})


@pytest.mark.parametrize("count", [-1, 1.5, True, "7", 2**60, float("inf"), [], None])
def test_what_is_no_count_is_not_counted(count: Any) -> None:
    assert read_usage({"billed_units": {"input_tokens": count}}) is None
    assert read_usage({"billed_units": count, "tokens": count}) is None
    assert read_usage({"billed_units": {"input_tokens": 0}}) == Usage(input_tokens=0)


# Errors


@pytest.mark.parametrize(
    ("status", "message", "cls"),
    [
        (400, "invalid request: message must not be empty in a turn", BadRequestError),
        (400, "too many tokens: size limit exceeded by 11326 tokens", ContextTooLongError),
        (429, "You are using a Trial key, which is limited to 10 calls / minute", RateLimitedError),
        (498, "please adjust the input and try again", ContentFilteredError),
    ],
)
def test_errors_are_mapped(status: int, message: str, cls: type[Exception]) -> None:
    said = {"id": "e1", "message": message}
    with pytest.raises(cls) as caught:
        get_codec("cohere").decode(status, {}, json.dumps(said).encode())
    assert type(caught.value) is cls
    assert caught.value.request_id == "e1"
    assert caught.value.details == said
    assert message in str(caught.value)


def test_an_answer_that_was_made_and_thrown_away_may_be_billed() -> None:
    said = {"message": "no valid response", "error_type": "NO_VALID_RESPONSE_GENERATED"}
    with pytest.raises(BadRequestError) as caught:
        get_codec("cohere").decode(422, {"x-debug-trace-id": "t"}, json.dumps(said).encode())
    assert caught.value.code == "NO_VALID_RESPONSE_GENERATED"
    assert caught.value.billed is None
    assert caught.value.request_id == "t"


def test_an_error_behind_a_status_200_is_an_error() -> None:
    body = b'{"id":"e1","message":"too many tokens: shorten it"}'
    with pytest.raises(ContextTooLongError) as caught:
        get_codec("cohere").decode(200, {}, body)
    assert caught.value.billed is None
