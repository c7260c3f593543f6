"""The codec of Bedrock's converse: requests, and what the recordings do not show of answers."""

from __future__ import annotations

import base64
import itertools
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.errors import InvalidRequestError
from cascadeflow.models.usage import Usage
from cascadeflow.providers.bedrock_decode import read_usage
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

if TYPE_CHECKING:
    from cascadeflow.models.completion import Completion

HI = (Message("user", "Hi"),)


@cache
def converse() -> Any:
    """Amazon's own description of a request."""
    described = Loader().load_service_model("bedrock-runtime", "service-2")
    return ServiceModel(described).operation_model("Converse").input_shape


def misfits(  # noqa: PLR0911 - a table
    value: Any, shape: Any, path: str = ""
) -> list[str]:
    """What Amazon's description forbids beyond what its own validator looks at."""
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        found = []
        for name, member in shape.members.items():
            if name in value:
                found += misfits(value[name], member, f"{path}.{name}")
        if getattr(shape, "is_tagged_union", False) and len(value) != 1:
            found.append(f"{path}: {sorted(value)} is not one of a kind")
        return found + [f"{path}.{name}" for name in value if name not in shape.members]
    if shape.type_name == "list":
        return [
            problem
            for index, item in enumerate(value)
            for problem in misfits(item, shape.member, f"{path}[{index}]")
        ]
    if shape.type_name == "map":
        keys = [problem for key in value for problem in misfits(key, shape.key, f"{path} key")]
        return keys + [
            problem
            for key, item in value.items()
            for problem in misfits(item, shape.value, f"{path}.{key}")
        ]
    if shape.type_name == "string":
        limits = shape.metadata
        pattern = limits.get("pattern")
        if shape.enum and value not in shape.enum:
            return [f"{path}: {value!r} is none of {shape.enum}"]
        if pattern and not re.fullmatch(pattern, value):
            return [f"{path}: {value!r} does not fit {pattern}"]
        if not limits.get("min", 0) <= len(value) <= limits.get("max", 10**9):
            return [f"{path}: {len(value)} characters"]
    if shape.type_name == "blob":
        base64.b64decode(value, validate=True)
    return []


def encoded(messages: tuple[Message, ...] = HI, **rest: Any) -> Any:
    settings = {"model": "amazon.nova-micro-v1:0", **rest}
    return get_codec("bedrock").encode(ChatRequest(messages=messages, **settings))


def encode(messages: tuple[Message, ...] = HI, **rest: Any) -> Any:
    body = json.loads(encoded(messages, **rest).body)
    report = ParamValidator().validate({"modelId": "amazon.nova-micro-v1:0", **body}, converse())
    assert not report.has_errors(), report.generate_report()
    assert misfits(body, converse()) == []
    return body


def decode(blocks: list[Any], headers: dict[str, str] | None = None, **fields: Any) -> Completion:
    body = {"output": {"message": {"role": "assistant", "content": blocks}}, **fields}
    return get_codec("bedrock").decode(200, headers or {}, json.dumps(body).encode())


# Requests


def test_a_plain_request_says_no_more_than_it_must() -> None:
    assert encode() == {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("amazon.nova-micro-v1:0", "/model/amazon.nova-micro-v1%3A0/converse"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/mi1",
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3A"
                "application-inference-profile%2Fmi1/converse"
            ),
        ),
        ("us.anthropic.claude-sonnet-4-6", "/model/us.anthropic.claude-sonnet-4-6/converse"),
    ],
)
def test_the_model_s_id_or_arn_stands_in_the_path(model: str, path: str) -> None:
    assert encoded(model=model).path == path
    assert encoded(model=model, stream=True).path == f"{path}-stream"
    assert encoded(model=model, stream=True).body == encoded(model=model).body


def test_every_setting_is_written() -> None:
    body = encode(
        temperature=0.2,
        top_p=0.9,
        max_tokens=7,
        stop=("x",),
        user="u-1",
        tools=(Tool("f", "does", {"type": "object"}, strict=True), Tool("g")),
        tool_choice="f",
        response_format=ResponseFormat("json_schema", {"type": "object"}, "thing"),
        extra={
            "inferenceConfig": {"topP": 0.5},
            "additionalModelRequestFields": {"thinking": {"type": "adaptive"}},
            "performanceConfig": {"latency": "optimized"},
            "serviceTier": {"type": "flex"},
            "guardrailConfig": {"guardrailIdentifier": "abc", "guardrailVersion": "1"},
            "requestMetadata": {"team": "a"},
        },
    )
    del body["messages"]
    assert body == {
        "inferenceConfig": {
            "maxTokens": 7,
            "temperature": 0.2,
            "topP": 0.5,
            "stopSequences": ["x"],
        },
        "toolConfig": {
            "tools": [
                {
                    "toolSpec": {
                        "name": "f",
                        "description": "does",
                        "inputSchema": {"json": {"type": "object"}},
                        "strict": True,
                    }
                },
                {
                    "toolSpec": {
                        "name": "g",
                        "inputSchema": {"json": {"type": "object", "properties": {}}},
                    }
                },
            ],
            "toolChoice": {"tool": {"name": "f"}},
        },
        "outputConfig": {
            "textFormat": {
                "type": "json_schema",
                "structure": {"jsonSchema": {"name": "thing", "schema": '{"type":"object"}'}},
            }
        },
        "requestMetadata": {"user_id": "u-1", "team": "a"},
        "additionalModelRequestFields": {"thinking": {"type": "adaptive"}},
        "performanceConfig": {"latency": "optimized"},
        "serviceTier": {"type": "flex"},
        "guardrailConfig": {"guardrailIdentifier": "abc", "guardrailVersion": "1"},
    }


@pytest.mark.parametrize(("choice", "written"), [("auto", "auto"), ("required", "any")])
def test_the_tool_choice_has_the_protocol_s_words(choice: str, written: str) -> None:
    config = encode(tools=(Tool("f"),), tool_choice=choice)["toolConfig"]
    assert config["toolChoice"] == {written: {}}
    assert "toolChoice" not in encode(tools=(Tool("f"),))["toolConfig"]


def test_no_tool_may_be_called_where_none_is_declared() -> None:
    assert encode(tools=(Tool("f"),), tool_choice="none") == encode()


def test_after_tool_calls_no_further_one_is_asked_for_in_words() -> None:
    called = Message("assistant", tool_calls=(ToolCall("1", "f", "{}"),))
    messages = (*HI, called, Message("tool", "ok", tool_call_id="1"))
    body = encode(messages, tools=(Tool("f"),), tool_choice="none")
    assert "toolChoice" not in body["toolConfig"]
    assert body["toolConfig"]["tools"]
    assert "Do not call any tool" in body["system"][-1]["text"]
    assert "toolChoice" in encode(messages, tools=(Tool("f"),), tool_choice="auto")["toolConfig"]


def test_tools_that_only_the_conversation_names_are_declared_and_not_to_be_called() -> None:
    calls = (ToolCall("1", "f", "{}"), ToolCall("2", "g", "{}"), ToolCall("3", "f", "{}"))
    results = tuple(Message("tool", "ok", tool_call_id=call.id) for call in calls)
    body = encode((*HI, Message("assistant", tool_calls=calls), *results))
    declared = [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]]
    assert declared == ["f", "g"]
    assert "Do not call any tool" in body["system"][-1]["text"]
    own = {"toolConfig": {"tools": [{"systemTool": {"name": "nova_code_interpreter"}}]}}
    body = encode((*HI, Message("assistant", tool_calls=calls), *results), extra=own)
    assert body["toolConfig"] == own["toolConfig"]
    assert "system" not in body


def test_system_messages_go_to_the_top() -> None:
    body = encode((Message("system", "A"), *HI, Message("developer", "B")))
    assert body["system"] == [{"text": "A"}, {"text": "B"}]
    assert body["messages"] == [{"role": "user", "content": [{"text": "Hi"}]}]


def test_a_system_message_may_hold_blocks_of_the_provider_s_own() -> None:
    blocks = [{"text": "A"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    own = Message("system", "A", extras={"provider:bedrock": {"content": blocks}})
    assert encode((own, *HI))["system"] == blocks
    elsewhere = json.loads(
        get_codec("openai").encode(ChatRequest(model="m", messages=(own, *HI))).body
    )
    assert elsewhere["messages"][0] == {"role": "system", "content": "A"}


def test_any_json_is_asked_for_in_words() -> None:
    body = encode(response_format=ResponseFormat("json_object"))
    assert "JSON" in body["system"][0]["text"]
    assert "outputConfig" not in body


@pytest.mark.parametrize(
    "messages", [(Message("system", "A"),), (Message("user", " \n"),), (Message("assistant"),)]
)
def test_a_conversation_in_which_nobody_says_anything_is_refused(
    messages: tuple[Message, ...],
) -> None:
    with pytest.raises(InvalidRequestError, match="user"):
        encode(messages)


def test_blank_text_which_the_api_refuses_is_left_out() -> None:
    parts = (TextPart(" "), TextPart("Hi"), TextPart(""))
    assert encode((Message("system", "\n"), Message("user", parts))) == encode()


def test_roles_alternate() -> None:
    messages = (*HI, Message("user", "there"), Message("assistant", "A"), Message("assistant", "B"))
    assert encode(messages)["messages"] == [
        {"role": "user", "content": [{"text": "Hi"}, {"text": "there"}]},
        {"role": "assistant", "content": [{"text": "A"}, {"text": "B"}]},
    ]


def test_results_of_one_turn_s_calls_stand_in_one_message() -> None:
    image = ImagePart(data="AAAA", media_type="image/png")
    calls = (ToolCall("1", "f", '{"a": 1}'), ToolCall("2", "g", ""), ToolCall("3", "h", "{}"))
    json_result = {"toolResult": {"toolUseId": "3", "content": [{"json": {"n": 1}}]}}
    messages = (
        *HI,
        Message("assistant", "Wait.", tool_calls=calls),
        Message("tool", "one", tool_call_id="1", extras={"status": "error"}),
        Message("tool", (TextPart("two"), image), tool_call_id="2"),
        Message("tool", "3", (), "3", None, {"provider:bedrock": {"content": [json_result]}}),
        Message("user", "And?"),
        Message("assistant", "So."),
    )
    body = encode(messages)["messages"]
    assert [message["role"] for message in body] == ["user", "assistant", "user", "assistant"]
    assert body[1]["content"] == [
        {"text": "Wait."},
        {"toolUse": {"toolUseId": "1", "name": "f", "input": {"a": 1}}},
        {"toolUse": {"toolUseId": "2", "name": "g", "input": {}}},
        {"toolUse": {"toolUseId": "3", "name": "h", "input": {}}},
    ]
    assert body[2]["content"] == [
        {"toolResult": {"toolUseId": "1", "content": [{"text": "one"}], "status": "error"}},
        {
            "toolResult": {
                "toolUseId": "2",
                "content": [
                    {"text": "two"},
                    {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
                ],
            }
        },
        json_result,
        {"text": "And?"},
    ]


def test_arguments_that_the_model_broke_go_back_as_text() -> None:
    calls = (ToolCall("1", "f", '{"a": '), ToolCall("2", "f", "[1]"))
    blocks = encode((*HI, Message("assistant", tool_calls=calls)))["messages"][1]["content"]
    assert [block["toolUse"]["input"] for block in blocks] == [
        {"INVALID_JSON": '{"a": '},
        {"INVALID_JSON": "[1]"},
    ]


SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.mark.parametrize(
    ("part", "kind", "form"),
    [
        (ImagePart(data="AAAA", media_type="image/jpeg"), "image", "jpeg"),
        (ImagePart(data="AAAA", media_type="image/JPG; q=1"), "image", "jpeg"),
        (ImagePart(url="s3://bucket/a.webp"), "image", "webp"),
        (DocumentPart(data="AAAA", media_type="application/pdf"), "document", "pdf"),
        (DocumentPart(data="AAAA", media_type=SHEET), "document", "xlsx"),
        (DocumentPart(data="AAAA", media_type="text/plain"), "document", "txt"),
        (DocumentPart(data="AAAA", media_type="text/x-python"), "document", "txt"),
        (DocumentPart(data="AAAA", name="notes.md"), "document", "md"),
        (DocumentPart(url="s3://bucket/a.mp4"), "video", "mp4"),
        (DocumentPart(data="AAAA", media_type="video/3gpp"), "video", "three_gp"),
        (DocumentPart(data="AAAA", media_type="audio/mpeg"), "audio", "mp3"),
    ],
)
def test_media_have_the_protocol_s_names_of_forms(part: Any, kind: str, form: str) -> None:
    block = encode((Message("user", (part,)),))["messages"][0]["content"][0]
    assert block[kind]["format"] == form
    source = {"bytes": "AAAA"} if part.data else {"s3Location": {"uri": part.url}}
    assert block[kind]["source"] == source


@pytest.mark.parametrize(
    ("part", "advice"),
    [
        (ImagePart(url="https://x.example/i.png"), "fetches no URL"),
        (DocumentPart(url="https://x.example/a.pdf"), "fetches no URL"),
        (DocumentPart(file_id="file_1", name="a.pdf"), "no files by id"),
        (DocumentPart(data="AAAA", media_type="application/zip"), "media_type"),
        (ImagePart(data="AAAA"), "media_type"),
    ],
)
def test_what_the_protocol_cannot_carry_is_refused_with_advice(part: Any, advice: str) -> None:
    with pytest.raises(InvalidRequestError, match=advice):
        encode((Message("user", (part,)),))


def test_names_of_documents_have_only_what_the_api_allows_and_differ() -> None:
    names = ["Q3_report.v2.pdf", "q3_Report.v2.pdf", "über  alles\t(1) [x]", None, "***", "a" * 300]
    parts = tuple(DocumentPart(data="AA==", media_type="text/plain", name=name) for name in names)
    blocks = encode((Message("user", parts),))["messages"][0]["content"]
    written = [block["document"]["name"] for block in blocks]
    assert written[:5] == [
        "Q3-report-v2-pdf",
        "q3-Report-v2-pdf (2)",
        "-ber alles-(1) [x]",
        "Document 4",
        "-",
    ]
    assert len(set(written)) == len(written)


@given(st.lists(st.none() | st.text(max_size=300), max_size=6))
def test_any_name_of_a_document_becomes_one_that_the_api_allows(names: list[Any]) -> None:
    parts = tuple(DocumentPart(data="AA==", media_type="text/csv", name=name) for name in names)
    blocks = encode((Message("user", (TextPart("Hi"), *parts)),))["messages"][0]["content"][1:]
    written = [block["document"]["name"] for block in blocks]
    for name in written:
        assert re.fullmatch(r"(?!.*  )[A-Za-z0-9 \-()\[\]]{1,200}", name)
    assert len(set(written)) == len(names)


@given(st.text(min_size=1, max_size=400))
def test_any_user_becomes_metadata_that_the_api_allows(user: str) -> None:
    written = encode(user=user)["requestMetadata"]["user_id"]
    if re.fullmatch(r"[a-zA-Z0-9@._-]{1,256}", user):
        assert written == user


TEXTS = st.text(max_size=20)
CALLS = st.builds(
    ToolCall,
    st.from_regex(r"[a-zA-Z0-9_.:-]{1,64}", fullmatch=True),
    st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True),
    TEXTS | st.just('{"a": [1, null]}'),
)
MESSAGES = st.one_of(
    st.builds(Message, st.sampled_from(["system", "developer", "user", "assistant"]), TEXTS),
    st.builds(Message, st.just("assistant"), TEXTS, st.lists(CALLS, max_size=3).map(tuple)),
    st.builds(lambda text, call: Message("tool", text, tool_call_id=call.id), TEXTS, CALLS),
    st.builds(
        lambda text, name: Message(
            "user",
            (TextPart(text), DocumentPart(data="AA==", media_type="application/pdf", name=name)),
        ),
        TEXTS,
        st.none() | TEXTS,
    ),
)
TOOLS = st.builds(
    Tool,
    st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True),
    TEXTS,
    st.just({"type": "object"}),
    st.none() | st.booleans(),
)


@given(
    st.lists(MESSAGES, max_size=6),
    st.lists(TOOLS, max_size=2),
    st.none() | st.sampled_from(["auto", "none", "required", "f"]),
    st.sampled_from([None, ResponseFormat("json_object"), ResponseFormat("json_schema", {})]),
)
def test_amazon_s_own_validator_accepts_whatever_is_written(
    messages: list[Message], tools: list[Tool], choice: str | None, form: Any
) -> None:
    body = encode(
        (*HI, *messages),
        tools=tuple(tools),
        tool_choice=choice,
        response_format=form,
        max_tokens=5,
        temperature=0.5,
    )
    roles = [message["role"] for message in body["messages"]]
    assert all(first != second for first, second in itertools.pairwise(roles))


# Answers


@pytest.mark.parametrize(
    ("raw", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_model_output", "error"),
        ("malformed_tool_use", "error"),
        ("news", "unknown"),
    ],
)
def test_stop_reasons_are_told_in_our_words(raw: str, finish: str) -> None:
    answer = decode([{"text": "a"}], stopReason=raw)
    assert (answer.finish_reason, answer.raw_finish_reason) == (finish, raw)


def test_every_stop_reason_that_amazon_describes_is_known() -> None:
    described = Loader().load_service_model("bedrock-runtime", "service-2")
    for raw in described["shapes"]["StopReason"]["enum"]:
        assert decode([{"text": "a"}], stopReason=raw).finish_reason != "unknown"


def test_blocks_of_all_kinds_are_read_or_kept() -> None:
    blocks = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
        {"reasoningContent": {"redactedContent": "AAAA"}},
        {"text": "It is "},
        {"citationsContent": {"content": [{"text": "4"}], "citations": [{"title": "t"}]}},
        {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
        {"cachePoint": {"type": "default"}},
        {"guardContent": {"text": {"text": "g"}}},
        {"toolUse": {"toolUseId": "s", "name": "web", "input": {}, "type": "server_tool_use"}},
        {"toolResult": {"toolUseId": "s", "content": [{"text": "r"}]}},
        {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": "ü"}}},
        {"hologram": {"x": 1}},
    ]
    answer = decode(blocks, trace={"guardrail": {"actionReason": "none"}}, metrics={"latencyMs": 5})
    assert answer.text == "It is 4"
    assert answer.reasoning == "hm"
    assert answer.tool_calls == (ToolCall("t", "f", '{"a":"ü"}'),)
    assert answer.extras["output"]["message"]["content"] == blocks
    assert answer.extras["trace"] == {"guardrail": {"actionReason": "none"}}
    assert answer.extras["metrics"] == {"latencyMs": 5}
    assert answer.model is None


def test_what_must_go_back_goes_back_and_to_nobody_else() -> None:
    signed = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}}
    redacted = {"reasoningContent": {"redactedContent": "AAAA"}}
    asked = {"toolUseId": "s", "name": "web", "input": {}, "type": "server_tool_use"}
    result = {"toolResult": {"toolUseId": "s", "type": "x", "content": [{"json": {}}]}}
    called = {"toolUseId": "t", "name": "f", "input": {"a": 1}}
    answer = decode(
        [
            signed,
            redacted,
            {"text": " "},
            {"text": "4"},
            {"toolUse": asked},
            result,
            {"toolUse": {**called, "type": "tool_use"}},
        ]
    )
    message = get_codec("bedrock").assistant_message(answer)
    sent = encode((*HI, message))["messages"][1]["content"]
    assert sent == [
        signed,
        redacted,
        {"text": "4"},
        {"toolUse": asked},
        result,
        {"toolUse": called},
    ]
    request = ChatRequest(model="m", messages=(*HI, message))
    elsewhere = json.loads(get_codec("anthropic").encode(request).body)["messages"][1]["content"]
    assert [block["type"] for block in elsewhere] == ["text", "tool_use"]


def test_reasoning_without_a_signature_is_not_sent_back() -> None:
    answer = decode([{"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "4"}])
    message = get_codec("bedrock").assistant_message(answer)
    assert not message.extras
    assert encode((*HI, message))["messages"][1]["content"] == [{"text": "4"}]


def test_the_tier_that_served_is_told_and_so_is_speed_that_costs() -> None:
    assert decode([], serviceTier={"type": "flex"}).service_tier == "flex"
    fast = {"performanceConfig": {"latency": "optimized"}}
    assert decode([], **fast).service_tier == "optimized"
    assert decode([], serviceTier={"type": "default"}, **fast).service_tier == "optimized"
    assert decode([], serviceTier={"type": "priority"}, **fast).service_tier == "priority"
    assert decode([], performanceConfig={"latency": "standard"}).service_tier is None
    assert decode([], **fast).extras["performanceConfig"] == {"latency": "optimized"}


def test_a_prompt_router_says_which_model_it_chose() -> None:
    arn = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0"
    answer = decode([{"text": "a"}], trace={"promptRouter": {"invokedModelId": arn}})
    assert answer.model == "anthropic.claude-3-haiku-20240307-v1:0"
    assert answer.extras["trace"]["promptRouter"]["invokedModelId"] == arn


def test_the_request_s_id_is_amazon_s() -> None:
    assert decode([], {"x-amzn-requestid": "r-1"}).request_id == "r-1"


# Usage


def test_what_went_through_the_cache_stands_beside_the_input() -> None:
    raw = {
        "inputTokens": 3,
        "outputTokens": 61,
        "totalTokens": 2435,
        "cacheReadInputTokens": 2074,
        "cacheWriteInputTokens": 297,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 100}, {"ttl": "5m", "inputTokens": 197}],
    }
    usage = read_usage(raw)
    assert usage == Usage(
        input_tokens=3,
        output_tokens=61,
        cache_read_tokens=2074,
        cache_write_5m_tokens=197,
        cache_write_1h_tokens=100,
    )
    assert usage.total_tokens == raw["totalTokens"]
    assert decode([], usage=raw).extras["usage"] == raw


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        ({}, None),
        ({"totalTokens": 5}, None),
        ({"outputTokens": 0}, Usage(output_tokens=0)),
        ({"cacheReadInputTokenCount": 2}, Usage(cache_read_tokens=2)),
        ({"cacheWriteInputTokens": 9}, Usage(cache_write_5m_tokens=9)),
        ({"cacheDetails": [{"ttl": "5m", "inputTokens": 2}]}, Usage(cache_write_5m_tokens=2)),
        ({"cacheDetails": [{"ttl": "1h", "inputTokens": 2}]}, Usage(cache_write_1h_tokens=2)),
        (
            {"cacheWriteInputTokens": 1, "cacheDetails": [{"ttl": "1h", "inputTokens": 2}]},
            Usage(cache_write_5m_tokens=0, cache_write_1h_tokens=1),
        ),
        ({"serverToolUsage": {"webSearchRequests": 2}}, Usage(requests={"web_search": 2})),
        ({"inputTokens": "7", "outputTokens": True, "cacheDetails": [3]}, None),
        ({"inputTokens": -1, "outputTokens": 10**30}, None),
    ],
)
def test_usage_says_what_the_provider_said_and_no_more(raw: Any, usage: Usage | None) -> None:
    assert read_usage(raw) == usage
