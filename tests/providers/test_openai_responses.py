"""The OpenAI responses codec, requests and whole answers: what the recordings do not show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cascadeflow import errors
from cascadeflow.errors import InvalidRequestError, MalformedResponseError, ProviderError
from cascadeflow.models.completion import Completion, TokenLogprob
from cascadeflow.models.usage import Usage
from cascadeflow.providers.codecs import codec_for, get_codec
from cascadeflow.providers.registry import Provider, Quirks
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
CODEC = get_codec("openai-responses")


def encode(messages: tuple[Message, ...] = HI, **rest: Any) -> Any:
    return json.loads(CODEC.encode(ChatRequest(model="m", messages=messages, **rest)).body)


def decode(output: list[Any], **fields: Any) -> Completion:
    body = {"id": "resp", "status": "completed", "output": output, **fields}
    return CODEC.decode(200, {}, json.dumps(body).encode())


def said(*parts: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "id": "msg", "role": "assistant", "content": list(parts), **fields}


def text(words: str, **fields: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": words, "annotations": [], **fields}


def usage_of(output: list[Any] | None = None, **fields: Any) -> Usage | None:
    return decode(output or [], **fields).usage


def call(kind: str = "function_call", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "id": "fc_1", "call_id": "call_1", "name": "f", **fields}


# Requests


def test_a_plain_request_says_nothing_that_was_not_asked_for() -> None:
    encoded = CODEC.encode(ChatRequest(model="m", messages=HI))
    assert encoded.path == "/responses"
    assert json.loads(encoded.body) == {"model": "m", "input": [{"role": "user", "content": "Hi"}]}
    assert encoded.headers is CODEC.encode(ChatRequest(model="n", messages=HI)).headers


def test_every_setting_is_written() -> None:
    body = encode(
        max_tokens=50,
        temperature=0.2,
        top_p=0.9,
        user="u",
        stream=True,
        logprobs=2,
        tools=(Tool("f", "does", {"type": "object"}, strict=True), Tool("g")),
        tool_choice="f",
        response_format=ResponseFormat("json_schema", {"type": "object"}, "city", strict=False),
        extra={
            "reasoning": {"effort": "low"},
            "text": {"verbosity": "low"},
            "include": ["reasoning.encrypted_content"],
            "temperature": 0.3,
        },
    )
    del body["input"], body["model"]
    assert body == {
        "max_output_tokens": 50,
        "temperature": 0.3,
        "top_p": 0.9,
        "safety_identifier": "u",
        "stream": True,
        "top_logprobs": 2,
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "tools": [
            {
                "type": "function",
                "name": "f",
                "description": "does",
                "parameters": {"type": "object"},
                "strict": True,
            },
            {
                "type": "function",
                "name": "g",
                "parameters": {"type": "object", "properties": {}},
                "strict": False,
            },
        ],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {
            "format": {
                "type": "json_schema",
                "name": "city",
                "schema": {"type": "object"},
                "strict": False,
            },
            "verbosity": "low",
        },
        "reasoning": {"effort": "low"},
    }


def test_the_chosen_tokens_alone_need_no_count() -> None:
    body = encode(logprobs=0)
    assert body["include"] == ["message.output_text.logprobs"]
    assert "top_logprobs" not in body


def test_what_is_included_already_is_not_asked_for_twice() -> None:
    asked = ["message.output_text.logprobs"]
    assert encode(logprobs=0, extra={"include": asked})["include"] == asked


def test_any_json_is_a_format_of_the_text() -> None:
    body = encode(response_format=ResponseFormat("json_object"))
    assert body["text"] == {"format": {"type": "json_object"}}


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_the_tool_choice_keeps_its_words(choice: str) -> None:
    assert encode(tool_choice=choice)["tool_choice"] == choice


def test_stop_sequences_are_refused_because_an_answer_would_run_over_them() -> None:
    with pytest.raises(InvalidRequestError, match="stop"):
        encode(stop=("END",))


def test_a_seed_is_left_out_because_the_protocol_has_none() -> None:
    assert encode(seed=7) == encode()


def test_the_system_message_that_opens_a_conversation_is_its_instructions() -> None:
    opening = Message("system", (TextPart("Be brief."),))
    body = encode((opening, *HI, Message("system", "Be kind."), Message("developer", "Now.")))
    assert body["instructions"] == "Be brief."
    assert body["input"] == [
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": "Now."},
    ]


def test_a_system_message_alone_is_input_because_some_input_is_demanded() -> None:
    assert encode((Message("system", "A"),)) == {
        "model": "m",
        "input": [{"role": "system", "content": "A"}],
    }


def test_a_system_message_with_fields_of_its_own_is_input_because_instructions_have_none() -> None:
    body = encode((Message("system", "A", extras={"phase": "x"}), *HI))
    assert body["input"][0] == {"role": "system", "content": "A", "phase": "x"}
    assert "instructions" not in body


def test_a_provider_s_quirks_hold_here_too() -> None:
    record = Provider(
        id="acme",
        protocol="openai-responses",
        base_url="https://llm.acme.example/v1",
        quirks=Quirks(required_choice="any", refuses=frozenset({"user", "logprobs"})),
    )
    request = ChatRequest(
        model="m",
        messages=(Message("developer", "A"), *HI),
        tool_choice="required",
        user="u",
        logprobs=1,
    )
    assert json.loads(codec_for(record).encode(request).body) == {
        "model": "m",
        "input": [{"role": "system", "content": "A"}, {"role": "user", "content": "Hi"}],
        "tool_choice": "any",
    }


def test_images_and_documents_are_written() -> None:
    parts = (
        TextPart("Look:"),
        ImagePart(url="https://x.example/i.png", detail="low"),
        ImagePart(data="AAAA", media_type="image/png"),
        DocumentPart(url="https://x.example/a.pdf"),
        DocumentPart(file_id="file-1", name="a.pdf"),
        DocumentPart(data="BBBB", media_type="application/pdf", name="a.pdf"),
        DocumentPart(url="data:text/plain;base64,SGk="),
    )
    written = [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": "https://x.example/i.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
        {"type": "input_file", "file_url": "https://x.example/a.pdf"},
        {"type": "input_file", "file_id": "file-1"},
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,BBBB",
        },
        {
            "type": "input_file",
            "filename": "document",
            "file_data": "data:text/plain;base64,SGk=",
        },
    ]
    assert encode((Message("user", parts),))["input"] == [{"role": "user", "content": written}]
    result = Message("tool", parts, tool_call_id="1")
    assert encode((*HI, result))["input"][1] == {
        "type": "function_call_output",
        "call_id": "1",
        "output": written,
    }
    with pytest.raises(InvalidRequestError, match="media_type"):
        encode((Message("user", (ImagePart(data="AAAA"),)),))
    with pytest.raises(InvalidRequestError, match="ImagePart"):
        encode((Message("assistant", (ImagePart(url="https://x.example/i.png"),)),))


def test_a_turn_of_another_provider_becomes_words_calls_and_results() -> None:
    messages = (
        *HI,
        Message("assistant", "Wait.", (ToolCall("1", "f", '{"a": 1}'), ToolCall("2", "g", ""))),
        Message("tool", "one", tool_call_id="1"),
        Message("tool", "two", tool_call_id="2"),
        Message("assistant", (TextPart("So."), TextPart("Then."))),
        Message("assistant", "", (ToolCall("3", "g", "{}"),)),
        Message("assistant", ""),
        Message("assistant", "Hm.", extras={"phase": "commentary"}),
    )
    assert encode(messages)["input"][1:] == [
        {"role": "assistant", "content": "Wait."},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": '{"a": 1}'},
        {"type": "function_call", "call_id": "2", "name": "g", "arguments": ""},
        {"type": "function_call_output", "call_id": "1", "output": "one"},
        {"type": "function_call_output", "call_id": "2", "output": "two"},
        {"role": "assistant", "content": "So."},
        {"role": "assistant", "content": "Then."},
        {"type": "function_call", "call_id": "3", "name": "g", "arguments": "{}"},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": "Hm.", "phase": "commentary"},
    ]


def test_an_answer_goes_back_item_by_item_and_to_nobody_else() -> None:
    output = [
        {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gAAA"},
        said(text("Wait."), phase="commentary", status="completed"),
        call(arguments="{}", namespace="n", status="completed"),
        {"type": "custom_tool_call", "id": "c", "call_id": "call_2", "name": "sh", "input": "ls"},
    ]
    back = CODEC.assistant_message(decode(output))
    results = (
        Message("tool", "one", tool_call_id="call_1"),
        Message("tool", "a.txt", tool_call_id="call_2"),
    )
    written = encode((*HI, back, *results))["input"]
    assert written[1:5] == output
    assert [item["type"] for item in written[5:]] == [
        "function_call_output",
        "custom_tool_call_output",
    ]
    request = ChatRequest(model="m", messages=(*HI, back))
    elsewhere = json.loads(get_codec("openai").encode(request).body)["messages"][1]
    assert elsewhere["content"] == "Wait."
    assert len(elsewhere["tool_calls"]) == 2
    assert "gAAA" not in json.dumps(elsewhere)


# Answers


@pytest.mark.parametrize(
    ("fields", "finish", "raw"),
    [
        ({"status": "completed"}, "stop", "completed"),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "length",
            "max_output_tokens",
        ),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            "content_filter",
            "content_filter",
        ),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "tired"}},
            "unknown",
            "tired",
        ),
        ({"status": "incomplete"}, "unknown", "incomplete"),
        ({"status": "cancelled"}, "error", "cancelled"),
        ({"status": "queued"}, "unknown", None),
        ({"status": "in_progress"}, "unknown", None),
        ({"status": "resting"}, "unknown", "resting"),
        ({"status": None}, "unknown", None),
    ],
)
def test_how_an_answer_ended_is_told_in_our_words(
    fields: dict[str, Any], finish: str, raw: str | None
) -> None:
    answer = decode([said(text("a"))], **fields)
    assert (answer.finish_reason, answer.raw_finish_reason) == (finish, raw)
    if fields["status"] != raw:
        assert answer.extras.get("status") == fields["status"]
    if "incomplete_details" in fields:
        assert answer.extras["incomplete_details"] == fields["incomplete_details"]
    assert answer.usage_complete == (fields["status"] not in ("queued", "in_progress"))


def test_an_answer_that_asks_for_calls_ends_with_them_unless_it_was_cut() -> None:
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    custom = call("custom_tool_call", input="ls -l")
    answer = decode([call(arguments='{"a": 1}'), custom])
    assert answer.tool_calls == (
        ToolCall("call_1", "f", '{"a": 1}'),
        ToolCall("call_1", "f", "ls -l"),
    )
    assert answer.finish_reason == "tool_calls"
    answer = decode([call(arguments='{"a": ')], **cut)
    assert (answer.finish_reason, answer.tool_calls[0].arguments) == ("length", '{"a": ')


def test_arguments_that_are_no_text_are_written_as_text() -> None:
    answer = decode([call(arguments={"a": [1]}, call_id=None), call(arguments=None)])
    assert answer.tool_calls == (ToolCall("fc_1", "f", '{"a":[1]}'), ToolCall("call_1", "f", ""))


def test_a_refusal_stands_apart_from_the_text() -> None:
    answer = decode([said({"type": "refusal", "refusal": "Not this."})])
    assert (answer.text, answer.refusal, answer.finish_reason) == ("", "Not this.", "refusal")


def test_reasoning_is_its_summary_and_its_text() -> None:
    summary = [{"type": "summary_text", "text": "First. "}, {"type": "summary_text", "text": "B."}]
    content = [{"type": "reasoning_text", "text": "Raw."}]
    item = {"type": "reasoning", "id": "rs", "summary": summary, "content": content}
    answer = decode([item, {"type": "reasoning", "id": "r2", "summary": None}, said(text("4"))])
    assert (answer.reasoning, answer.text) == ("First. B.Raw.", "4")


def test_log_probabilities_of_all_text_are_read() -> None:
    top = [{"token": "A", "logprob": -0.1, "bytes": [65]}, {"token": "B", "logprob": -3}, 7]
    tokens = [
        {"token": "A", "logprob": -0.1, "top_logprobs": top},
        {"token": "?", "logprob": "high"},
        None,
    ]
    more = [{"token": "b", "logprob": -1, "top_logprobs": 5}]
    answer = decode([said(text("A", logprobs=tokens), text("b", logprobs=more))])
    assert answer.logprobs == (
        TokenLogprob("A", -0.1, (("A", -0.1), ("B", -3.0))),
        TokenLogprob("b", -1.0),
    )
    assert decode([said(text("A", logprobs=[]))]).logprobs is None


def test_items_of_every_other_kind_are_kept_as_they_came() -> None:
    kinds = ["computer_call", "local_shell_call", "mcp_approval_request", "apply_patch_call"]
    output = [{"type": kind, "id": str(n), "x": {"y": n}} for n, kind in enumerate(kinds)]
    output += [{"type": "telepathy_call", "thought": "hm"}, {"id": "no type"}]
    answer = decode(output)
    assert answer.extras["output"] == output
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("", (), "stop")


def test_fields_that_are_no_text_are_kept_where_they_stood() -> None:
    answer = decode([], id=7, model=["m"], service_tier={"a": 1})
    assert (answer.response_id, answer.model, answer.service_tier) == (None, None, None)
    kept = {name: answer.extras[name] for name in ("id", "model", "service_tier")}
    assert kept == {"id": 7, "model": ["m"], "service_tier": {"a": 1}}


def test_the_tier_asked_for_is_not_taken_for_the_one_that_served() -> None:
    assert decode([], service_tier="flex").service_tier == "flex"
    queued = decode([], status="queued", service_tier="auto")
    assert (queued.service_tier, queued.extras["service_tier"]) == (None, "auto")


def test_ids_and_limits_stand_in_the_headers() -> None:
    headers = {"x-request-id": "req_1", "x-ratelimit-remaining-requests": "9", "server": "x"}
    answer = CODEC.decode(200, headers, b'{"output": []}')
    assert answer.request_id == "req_1"
    assert "server" not in answer.headers
    assert answer.headers["x-ratelimit-remaining-requests"] == "9"


# Failures


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"output": "text"}', b"\xff", b"[" * 10**5])
def test_a_response_that_is_none_is_a_typed_error(body: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        CODEC.decode(200, {}, body)


@pytest.mark.parametrize(
    ("code", "message", "name", "retryable"),
    [
        ("server_error", "Oops", "OverloadedError", True),
        ("rate_limit_exceeded", "Slow down", "RateLimitedError", True),
        ("vector_store_timeout", "Late", "OverloadedError", True),
        ("invalid_image_url", "No image", "BadRequestError", False),
        ("image_content_policy_violation", "No", "ContentFilteredError", False),
        ("bio_policy", "No", "ContentFilteredError", False),
        (
            "invalid_prompt",
            "your prompt was flagged as potentially violating our usage policy",
            "ContentFilteredError",
            False,
        ),
        ("context_length_exceeded", "Too long", "ContextTooLongError", False),
        ("9" * 10_000, "Odd", "OverloadedError", True),
    ],
)
def test_a_failed_response_is_the_mapped_error_and_keeps_what_it_had(
    code: str, message: str, name: str, *, retryable: bool
) -> None:
    body = {
        "status": "failed",
        "error": {"code": code, "message": message},
        "output": [said(text("It is"))],
        "usage": {"input_tokens": 5, "output_tokens": 2},
    }
    with pytest.raises(ProviderError) as caught:
        CODEC.decode(200, {"x-request-id": "req_1"}, json.dumps(body).encode())
    error = caught.value
    assert type(error) is getattr(errors, name)
    assert (error.billed, error.retryable, error.request_id) == (None, retryable, "req_1")
    assert (error.code, error.details) == (code, {"error": body["error"]})
    assert error.partial.text == "It is"
    assert error.partial.usage == Usage(input_tokens=5, output_tokens=2)
    assert (error.partial.finish_reason, error.partial.raw_finish_reason) == ("error", "failed")


def test_a_failure_without_a_word_of_why_is_one_all_the_same() -> None:
    with pytest.raises(ProviderError, match="does not say why"):
        decode([], status="failed", error=None)


def test_an_error_in_the_place_of_an_answer_may_have_been_billed() -> None:
    with pytest.raises(ProviderError) as caught:
        CODEC.decode(200, {}, b'{"error": {"message": "upstream", "code": 502}}')
    assert (caught.value.billed, caught.value.retryable) == (None, True)


# Usage


def test_usage_is_split_into_buckets_that_add_up() -> None:
    raw = {
        "input_tokens": 100,
        "input_tokens_details": {
            "cached_tokens": 40,
            "cached_tokens_details": {"audio_tokens": 5, "image_tokens": 10},
            "cache_write_tokens": 20,
            "audio_tokens": 8,
            "image_tokens": 16,
        },
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 3, "image_tokens": 4},
    }
    usage = usage_of(usage=raw)
    assert usage == Usage(
        input_tokens=31,
        cache_read_tokens=25,
        cache_read_audio_tokens=5,
        cache_read_image_tokens=10,
        cache_write_5m_tokens=20,
        input_audio_tokens=3,
        input_image_tokens=6,
        output_tokens=23,
        reasoning_tokens=20,
        output_audio_tokens=3,
        output_image_tokens=4,
    )
    assert (usage.total_input_tokens, usage.total_output_tokens) == (100, 50)


def test_parts_larger_than_the_whole_do_not_count_twice() -> None:
    details = {"cached_tokens": 90, "cache_write_tokens": 90}
    usage = usage_of(usage={"input_tokens": 100, "input_tokens_details": details})
    expected = Usage(input_tokens=0, cache_read_tokens=90, cache_write_5m_tokens=10)
    assert usage == expected


def test_missing_is_not_zero() -> None:
    assert usage_of(usage={"output_tokens": 0}) == Usage(output_tokens=0)
    assert usage_of(usage={}) is None
    assert usage_of(usage=None) is None
    assert usage_of() is None
    answer = decode([], usage=[1])
    assert (answer.usage, answer.extras["usage"]) == (None, [1])


@pytest.mark.parametrize("count", [-1, 1.5, True, "7", 2**60, [], None])
def test_what_is_no_count_is_not_counted(count: Any) -> None:
    assert usage_of(usage={"input_tokens": count}) is None


COUNTED = {"usage": {"input_tokens": 1, "output_tokens": 1}}


def test_server_side_tools_that_cost_something_are_counted() -> None:
    environment = {"type": "container_reference", "container_id": "cntr_2"}
    output = [
        {"type": "web_search_call", "action": {"type": "search", "query": "q"}},
        {"type": "web_search_call", "action": {"type": "open_page", "url": "u"}},
        {"type": "web_search_call", "action": {"type": "find_in_page", "url": "u"}},
        {"type": "web_search_call"},
        {"type": "file_search_call"},
        {"type": "image_generation_call"},
        {"type": "code_interpreter_call", "container_id": "cntr_1"},
        {"type": "code_interpreter_call", "container_id": "cntr_1"},
        {"type": "shell_call", "environment": environment},
        {"type": "shell_call", "environment": {"type": "local"}},
        {"type": "mcp_call"},
        {"type": "computer_call"},
        {"type": "tool_search_call"},
    ]
    usage = usage_of(output, **COUNTED)
    assert usage is not None
    assert usage.requests == {
        "web_search": 2,
        "file_search": 1,
        "image_generation": 1,
        "code_interpreter": 2,
    }


def test_the_provider_s_own_count_of_a_tool_wins() -> None:
    output = [{"type": "web_search_call"}]
    for told, counted in ((3, {"web_search": 3}), (0, {})):
        tools = {"web_search": {"num_requests": told}, "image_gen": {"total_tokens": 0}}
        usage = usage_of(output, tool_usage=tools, **COUNTED)
        assert usage is not None
        assert usage.requests == counted


def test_what_a_router_says_it_charged_is_read() -> None:
    answer = decode([], usage={"input_tokens": 1, "output_tokens": 1, "cost": 0.00183})
    assert answer.reported_cost == 1_830_000
    assert decode([], **COUNTED).reported_cost is None
