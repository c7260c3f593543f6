"""The Gemini codec: what the recordings do not show of requests and whole answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import (
    InvalidRequestError,
    MalformedResponseError,
)
from cascadeflow.models.usage import Usage
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
SKIPPED = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="


def encode(messages: tuple[Message, ...] = HI, provider: str = "gemini", **rest: Any) -> Any:
    request = ChatRequest(model=rest.pop("model", "gemini-3-flash"), messages=messages, **rest)
    return json.loads(get_codec(provider).encode(request).body)


def path(model: str, provider: str = "gemini", **rest: Any) -> str:
    return get_codec(provider).encode(ChatRequest(model, HI, **rest)).path


def decode(parts: list[Any], provider: str = "gemini", **fields: Any) -> Completion:
    candidate = {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP"}
    body = {"candidates": [{**candidate, **fields.pop("candidate", {})}], **fields}
    return get_codec(provider).decode(200, {}, json.dumps(body).encode())


# Requests


def test_a_plain_request_holds_nothing_but_its_text() -> None:
    assert encode() == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


@pytest.mark.parametrize(
    ("provider", "model", "written"),
    [
        ("gemini", "gemini-3-flash", "/v1beta/models/gemini-3-flash:generateContent"),
        ("gemini", "models/gemini-3-flash", "/v1beta/models/gemini-3-flash:generateContent"),
        ("gemini", "tunedModels/mine-1", "/v1beta/tunedModels/mine-1:generateContent"),
        ("gemini", "a b?c#d:e", "/v1beta/models/a%20b%3Fc%23d%3Ae:generateContent"),
        ("vertex", "gemini-3-flash", "/publishers/google/models/gemini-3-flash:generateContent"),
        ("vertex", "publishers/x/models/y@1", "/publishers/x/models/y@1:generateContent"),
        ("vertex", "endpoints/123", "/endpoints/123:generateContent"),
    ],
)
def test_the_model_stands_in_the_path(provider: str, model: str, written: str) -> None:
    assert path(model, provider) == written
    streamed = written.replace(":generateContent", ":streamGenerateContent?alt=sse")
    assert path(model, provider, stream=True) == streamed


@pytest.mark.parametrize("model", ["", "..", "a/../b", "a//b", "/a", "projects/p/locations/l/x"])
def test_a_name_that_would_lead_elsewhere_is_refused(model: str) -> None:
    for provider in ("gemini", "vertex"):
        with pytest.raises(InvalidRequestError):
            path(model, provider)


def test_every_setting_is_written() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    body = encode(
        (Message("system", "Be brief."), Message("developer", "Be kind."), *HI),
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        stop=("END",),
        seed=3,
        logprobs=2,
        user="u1",
        tools=(Tool("f", "Does it.", schema), Tool("g")),
        tool_choice="f",
        response_format=ResponseFormat("json_schema", schema),
        extra={"safetySettings": [], "labels": {"team": "a"}},
    )
    assert body == {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {
            "maxOutputTokens": 7,
            "temperature": 0.5,
            "topP": 0.9,
            "seed": 3,
            "stopSequences": ["END"],
            "responseMimeType": "application/json",
            "responseJsonSchema": schema,
            "responseLogprobs": True,
            "logprobs": 2,
        },
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "f", "description": "Does it.", "parametersJsonSchema": schema},
                    {"name": "g"},
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "safetySettings": [],
        "labels": {"team": "a"},
    }


def test_any_json_and_the_chosen_token_s_probability_are_asked_for() -> None:
    body = encode(response_format=ResponseFormat("json_object"), logprobs=0)
    config = {"responseMimeType": "application/json", "responseLogprobs": True}
    assert body["generationConfig"] == config


@pytest.mark.parametrize(
    ("choice", "strict", "mode"),
    [
        ("auto", None, "AUTO"),
        ("none", None, "NONE"),
        ("required", None, "ANY"),
        ("auto", True, "VALIDATED"),
        (None, True, "VALIDATED"),
        ("required", True, "ANY"),
        (None, False, None),
        (None, None, None),
    ],
)
def test_the_tool_choice_has_the_protocol_s_words(
    choice: str | None, strict: bool | None, mode: str | None
) -> None:
    body = encode(tools=(Tool("f", strict=strict),), tool_choice=choice)
    config = None if mode is None else {"functionCallingConfig": {"mode": mode}}
    assert body.get("toolConfig") == config


def test_the_caller_s_own_fields_win_and_join_ours_in_either_spelling() -> None:
    body = encode(
        max_tokens=5,
        tools=(Tool("f"),),
        tool_choice="required",
        response_format=ResponseFormat("json_schema", {"type": "object"}),
        extra={
            "generation_config": {
                "max_output_tokens": 9,
                "thinking_config": {"thinking_budget": 0},
                "response_schema": {"type": "OBJECT", "properties": {"first_name": {}}},
            },
            "tools": [{"googleSearch": {}}],
            "tool_config": {
                "function_calling_config": {"allowed_function_names": ["f", "g"]},
                "include_server_side_tool_invocations": True,
            },
            "cached_content": "cachedContents/1",
        },
    )
    assert body["generationConfig"] == {
        "maxOutputTokens": 9,
        "responseMimeType": "application/json",
        "thinkingConfig": {"thinking_budget": 0},
        "responseSchema": {"type": "OBJECT", "properties": {"first_name": {}}},
    }
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}, {"googleSearch": {}}]
    assert body["toolConfig"] == {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]},
        "includeServerSideToolInvocations": True,
    }
    assert body["cachedContent"] == "cachedContents/1"


def test_a_conversation_without_a_user_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="add the user's"):
        encode((Message("system", "Be brief."),))


CALLS = (ToolCall("a", "add", '{"x":1}'), ToolCall("b", "sub", '{"x":2}'))


def test_results_of_one_turn_s_calls_stand_together_in_the_order_of_the_calls() -> None:
    conversation = (
        *HI,
        Message("assistant", "Let me see.", CALLS),
        Message("tool", "two", tool_call_id="b"),
        Message("tool", '{"sum": 1}', tool_call_id="a"),
        Message("user", "And now?"),
    )
    contents = encode(conversation)["contents"]
    assert [content["role"] for content in contents] == ["user", "model", "user", "user"]
    assert contents[1]["parts"] == [
        {"text": "Let me see."},
        {
            "functionCall": {"name": "add", "args": {"x": 1}, "id": "a"},
            "thoughtSignature": SKIPPED,
        },
        {"functionCall": {"name": "sub", "args": {"x": 2}, "id": "b"}},
    ]
    assert contents[2]["parts"] == [
        {"functionResponse": {"name": "add", "response": {"sum": 1}, "id": "a"}},
        {"functionResponse": {"name": "sub", "response": {"output": "two"}, "id": "b"}},
    ]
    at_vertex = encode(conversation, "vertex")["contents"]
    assert not any("id" in part["functionResponse"] for part in at_vertex[2]["parts"])
    assert at_vertex[1]["parts"][2] == {"functionCall": {"name": "sub", "args": {"x": 2}}}


def test_only_models_that_sign_their_calls_are_told_that_one_has_no_signature() -> None:
    turn = (*HI, Message("assistant", "", CALLS))
    for model in ("gemini-2.5-flash", "gemini-2.0-flash", "gemma-3-27b-it"):
        parts = encode(turn, model=model)["contents"][1]["parts"]
        assert not any("thoughtSignature" in part for part in parts)
    parts = encode(turn, model="gemini-4-argon")["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [SKIPPED, None]


def test_a_result_whose_function_nobody_named_is_refused() -> None:
    result = Message("tool", "1", tool_call_id="zz")
    with pytest.raises(InvalidRequestError, match="by the function's name"):
        encode((*HI, Message("assistant", "", CALLS), result))
    named = Message("tool", "1", tool_call_id="zz", name="add")
    [part] = encode((*HI, named))["contents"][1]["parts"]
    assert part["functionResponse"]["name"] == "add"


@pytest.mark.parametrize(
    ("text", "response"),
    [
        ("plain", {"output": "plain"}),
        ('{"a":[1]}', {"a": [1]}),
        ("[1,2]", {"output": "[1,2]"}),
        ("", {"output": ""}),
        ('{"a":NaN}', {"output": '{"a":NaN}'}),
        ('{"a":', {"output": '{"a":'}),
    ],
)
def test_a_result_is_an_object(text: str, response: Any) -> None:
    result = Message("tool", text, tool_call_id="a")
    contents = encode((*HI, Message("assistant", "", CALLS), result))["contents"]
    assert contents[2]["parts"][0]["functionResponse"]["response"] == response


def test_files_in_a_result_stand_where_the_model_takes_them() -> None:
    png = ImagePart(data="aGk=", media_type="image/png")
    wav = DocumentPart(data="aGk=", media_type="audio/wav")
    result = Message("tool", (TextPart("see"), wav, png), tool_call_id="a")
    other = Message("tool", "two", tool_call_id="b")
    turn = (*HI, Message("assistant", "", CALLS), result, other)
    image = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    sound = {"inlineData": {"mimeType": "audio/wav", "data": "aGk="}}
    first, second, *behind = encode(turn)["contents"][2]["parts"]
    assert first["functionResponse"]["parts"] == [image]
    assert second["functionResponse"]["name"] == "sub"
    assert behind == [sound]
    older = encode(turn, model="gemini-2.5-pro")["contents"][2]["parts"]
    assert "parts" not in older[0]["functionResponse"]
    assert older[2:] == [sound, image]


def test_arguments_that_the_model_broke_go_back_as_text() -> None:
    turn = (*HI, Message("assistant", "", (ToolCall("a", "f", '{"x":'),)))
    call = encode(turn)["contents"][1]["parts"][0]["functionCall"]
    assert call["args"] == {"INVALID_JSON": '{"x":'}


FILES = "https://generativelanguage.googleapis.com/v1beta/files/abc"


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (
            ImagePart(data="aGk=", media_type="image/png"),
            {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        ),
        (
            ImagePart(url="data:image/png;base64,aGk="),
            {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        ),
        (
            ImagePart(url="https://x.test/a.JPG?s=1"),
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x.test/a.JPG?s=1"}},
        ),
        (
            DocumentPart(url="https://youtu.be/lCdaVNyHtjU"),
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://youtu.be/lCdaVNyHtjU"}},
        ),
        (DocumentPart(url="https://x.test/doc"), {"fileData": {"fileUri": "https://x.test/doc"}}),
        (DocumentPart(file_id="files/abc"), {"fileData": {"fileUri": FILES}}),
        (DocumentPart(file_id="abc"), {"fileData": {"fileUri": FILES}}),
        (
            DocumentPart(file_id=FILES, media_type="audio/wav"),
            {"fileData": {"mimeType": "audio/wav", "fileUri": FILES}},
        ),
        (
            DocumentPart(data="aGk=", media_type="application/pdf", name="a.pdf"),
            {"inlineData": {"mimeType": "application/pdf", "data": "aGk="}},
        ),
    ],
)
def test_images_and_documents_are_written(part: Any, written: Any) -> None:
    [content] = encode((Message("user", (part,)),))["contents"]
    assert content["parts"] == [written]


def test_vertex_takes_names_and_buckets_and_must_know_the_kind_of_a_file() -> None:
    pdf = DocumentPart(file_id="gs://b/a.pdf", name="Report")
    [content] = encode((Message("user", (pdf,)),), "vertex")["contents"]
    assert content["parts"][0]["fileData"] == {
        "mimeType": "application/pdf",
        "fileUri": "gs://b/a.pdf",
        "displayName": "Report",
    }
    for part in (DocumentPart(url="https://x.test/doc"), DocumentPart(file_id="files/abc")):
        with pytest.raises(InvalidRequestError, match="Vertex"):
            encode((Message("user", (part,)),), "vertex")


@pytest.mark.parametrize("part", [ImagePart(), ImagePart(data="aGk="), ImagePart(url="data:,a")])
def test_a_part_that_holds_nothing_is_refused(part: ImagePart) -> None:
    with pytest.raises(InvalidRequestError):
        encode((Message("user", (part,)),))


@pytest.mark.parametrize(
    ("details", "resolution"),
    [
        (["low", "low"], "MEDIA_RESOLUTION_LOW"),
        (["low", "high"], "MEDIA_RESOLUTION_HIGH"),
        (["low", None], None),
        (["auto"], None),
    ],
)
def test_one_resolution_holds_for_all_images(details: list[Any], resolution: str | None) -> None:
    parts = tuple(ImagePart(url="https://x.test/a.png", detail=detail) for detail in details)
    config = encode((Message("user", parts),)).get("generationConfig", {})
    assert config.get("mediaResolution") == resolution


# Whole answers


def test_signed_parts_go_back_unchanged_and_to_nobody_else() -> None:
    parts = [
        {"text": "Hm.", "thought": True},
        {"text": "Look: ", "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "add", "args": {"x": 1}}, "thoughtSignature": "c2lnMg=="},
    ]
    answer = decode(parts, responseId="r-1")
    assert (answer.text, answer.reasoning) == ("Look: ", "Hm.")
    [call] = answer.tool_calls
    assert (call.name, call.arguments) == ("add", '{"x":1}')
    back = get_codec("gemini").assistant_message(answer)
    result = Message("tool", "2", tool_call_id=call.id)
    contents = encode((*HI, back, result))["contents"]
    assert contents[1] == {"role": "model", "parts": parts}
    assert contents[2]["parts"] == [
        {"functionResponse": {"name": "add", "response": {"output": "2"}}}
    ]
    elsewhere = encode((*HI, back, result), "vertex")["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in elsewhere] == [None, SKIPPED]


def test_calls_without_ids_get_ids_that_stay_and_are_never_sent() -> None:
    parts = [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "f", "args": {}}}]
    answer, again = decode(parts, responseId="r-1"), decode(parts, responseId="r-1")
    ids = [call.id for call in answer.tool_calls]
    assert len(set(ids)) == 2
    assert ids == [call.id for call in again.tool_calls]
    assert ids != [call.id for call in decode(parts, responseId="r-2").tool_calls]
    assert all(len(each) <= 40 for each in ids)
    assert [call.arguments for call in answer.tool_calls] == ["{}", "{}"]
    back = get_codec("gemini").assistant_message(answer)
    assert back.extras == {}
    results = tuple(Message("tool", str(i), tool_call_id=each) for i, each in enumerate(ids))
    contents = encode((*HI, back, *reversed(results)))["contents"]
    assert contents[2]["parts"] == [
        {"functionResponse": {"name": "f", "response": {"output": "0"}}},
        {"functionResponse": {"name": "f", "response": {"output": "1"}}},
    ]
    assert not any("id" in part["functionCall"] for part in contents[1]["parts"])


@pytest.mark.parametrize(
    ("raw", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("OTHER", "error"),
        ("FINISH_REASON_UNSPECIFIED", "unknown"),
        ("SOMETHING_NEW", "unknown"),
    ],
)
def test_finish_reasons_are_told_in_our_words(raw: str, finish: str) -> None:
    answer = decode([{"text": "a"}], candidate={"finishReason": raw})
    assert (answer.finish_reason, answer.raw_finish_reason) == (finish, raw)


def test_a_call_that_a_limit_cut_off_ended_by_the_limit() -> None:
    parts = [{"functionCall": {"name": "f", "args": {}}}]
    assert decode(parts).finish_reason == "tool_calls"
    cut = decode(parts, candidate={"finishReason": "MAX_TOKENS"})
    assert cut.finish_reason == "length"


def test_a_blocked_prompt_is_an_answer_without_text_that_says_why() -> None:
    body = {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": [{"a": 1}]},
        "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
    }
    answer = get_codec("gemini").decode(200, {}, json.dumps(body).encode())
    assert (answer.text, answer.finish_reason) == ("", "content_filter")
    assert answer.raw_finish_reason == "PROHIBITED_CONTENT"
    assert answer.usage == Usage(input_tokens=9, output_tokens=0)
    assert answer.extras["promptFeedback"] == body["promptFeedback"]


def test_further_candidates_and_what_server_side_tools_did_are_kept() -> None:
    parts = [
        {"executableCode": {"language": "PYTHON", "code": "1+1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"text": "It is 2."},
    ]
    first = {"content": {"parts": parts}, "safetyRatings": [{"category": "c"}]}
    second = {"content": {"parts": [{"text": "Two."}]}, "finishReason": "STOP", "index": 1}
    body = {"candidates": [first, second], "usageMetadata": {"candidatesTokenCount": 4}}
    answer = get_codec("gemini").decode(200, {}, json.dumps(body).encode())
    assert answer.text == "It is 2."
    kept = answer.extras["candidates"]
    assert kept[0]["content"]["parts"] == parts
    assert kept[0]["safetyRatings"] == [{"category": "c"}]
    assert kept[1] == second
    assert get_codec("gemini").assistant_message(answer).extras == {
        "provider:gemini": {"parts": parts}
    }


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", b'{"candidates":5}', b"[1]", b"<html>", b"[" * 5000]
)
def test_a_response_that_is_none_is_a_typed_error(body: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        get_codec("gemini").decode(200, {}, body)


@pytest.mark.parametrize("parts", [5, "text", {"text": "a"}, [5]])
def test_parts_of_the_caller_s_own_are_a_list_of_objects(parts: Any) -> None:
    for role in ("user", "assistant", "system"):
        with pytest.raises(InvalidRequestError, match="'parts'"):
            encode((*HI, Message(role, "a", extras={"parts": parts})))


def test_an_answer_with_strange_parts_goes_back_without_them() -> None:
    answer = decode([5, {"text": "a", "thoughtSignature": "c2ln"}])
    back = get_codec("gemini").assistant_message(answer)
    [_, content] = encode((*HI, back))["contents"]
    assert content["parts"] == [{"text": "a", "thoughtSignature": "c2ln"}]
    body = {"candidates": [{"content": {"parts": 5}}]}
    answer = get_codec("gemini").decode(200, {}, json.dumps(body).encode())
    assert get_codec("gemini").assistant_message(answer).extras == {}
