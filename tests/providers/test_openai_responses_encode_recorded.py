"""What we would send over OpenAI responses means what the recorded clients sent.

Each recorded request is read into a `ChatRequest` here, by hand, then written by the codec, and the
two bodies are compared after taking out differences of form that mean nothing; `same_meaning` lists
them all. The official SDK's own types are asked what they think of each body as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from recorded_rows import rows_of

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
    from pathlib import Path

Json = dict[str, Any]


class InexpressibleError(Exception):
    """A `ChatRequest` has no field for this."""


@pytest.fixture(scope="module")
def bodies(recordings: Path) -> list[Json]:
    return [row["request"] for row in rows_of(recordings, "openai-responses")]


def read(body: Json) -> ChatRequest:
    body = without_nulls(body)
    messages = []
    if "instructions" in body:
        messages.append(Message("system", body.pop("instructions")))
    given = body.pop("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    messages.extend(message(without_null_status(item)) for item in given)
    tools = body.pop("tools", [])
    if any(tool["type"] != "function" or set(tool) - TOOL for tool in tools):
        body["tools"], tools = tools, []  # the provider's own tools go through `extra`
    choice = body.pop("tool_choice", None)
    if isinstance(choice, dict) and choice["type"] == "function":
        choice = choice["name"]
    elif isinstance(choice, dict):
        body["tool_choice"], choice = choice, None
    text = dict(body.pop("text", {}))
    form = text.pop("format", None)
    if form is not None and form["type"] == "text":
        text["format"], form = form, None
    if text:
        body["text"] = text
    known: Json = {
        "model": body.pop("model"),
        "messages": tuple(messages),
        "max_tokens": body.pop("max_output_tokens", None),
        "temperature": body.pop("temperature", None),
        "top_p": body.pop("top_p", None),
        "stream": body.pop("stream", False),
        "user": body.pop("safety_identifier", None),
        "tools": tuple(
            Tool(each["name"], each.get("description") or "", each["parameters"], each["strict"])
            for each in tools
        ),
        "tool_choice": choice,
        "response_format": form and response_format(form),
    }
    return ChatRequest(**known, extra=body)


TOOL = {"type", "name", "description", "parameters", "strict"}


def response_format(form: Json) -> ResponseFormat:
    if form["type"] == "json_object":
        return ResponseFormat("json_object")
    if "description" in form:
        raise InexpressibleError("a schema's description")
    return ResponseFormat("json_schema", form["schema"], form["name"], form.get("strict"))


def message(item: Json) -> Message:
    """An item as a message: what only this protocol has goes back as an answer's own item."""
    match item:
        case {"role": role, "content": content, **rest} if not rest.keys() - {"phase"}:
            said = content if isinstance(content, str) else tuple(map(part, content))
            return Message(role, said, extras=rest)
        case {"type": "function_call", "call_id": call, "name": name, "arguments": text, **rest}:
            if not rest:
                return Message("assistant", tool_calls=(ToolCall(call, name, text),))
        case {"type": "function_call_output", "call_id": call, "output": result, **rest}:
            if not rest:
                said = result if isinstance(result, str) else tuple(map(part, result))
                return Message("tool", said, tool_call_id=call)
    return Message("assistant", extras={"provider:openai-responses": {"output": [item]}})


def part(raw: Json) -> ContentPart:
    match raw:
        case {"type": "input_text", "text": text, **rest} if not rest:
            return TextPart(text)
        case {"type": "input_image", "image_url": str(url), "detail": detail, **rest} if not rest:
            if url.startswith("data:"):
                return ImagePart(**data_of(url), detail=detail)
            return ImagePart(url=url, detail=detail)
        case {"type": "input_file", "file_url": url, **rest} if not rest:
            return DocumentPart(url=url)
        case {"type": "input_file", "file_id": file_id, **rest} if not rest:
            return DocumentPart(file_id=file_id)
        case {"type": "input_file", "file_data": url, "filename": name, **rest} if not rest:
            return DocumentPart(**data_of(url), name=name)
    raise InexpressibleError(f"a part of type {raw['type']} with {sorted(raw)}")


def without_nulls(item: Json) -> Json:
    return {name: value for name, value in item.items() if value is not None}


def without_null_status(item: Json) -> Json:
    return {name: value for name, value in item.items() if (name, value) != ("status", None)}


def data_of(url: str) -> dict[str, str]:
    media_type, _, data = url.removeprefix("data:").partition(";base64,")
    return {"media_type": media_type, "data": data}


def same_meaning(body: Json) -> Json:
    """Takes out differences of form: every line here is one of the stated differences."""
    body = without_nulls(body)
    if body.get("stream") is False:
        del body["stream"]  # the default, said aloud
    if isinstance(body["input"], str):
        body["input"] = [{"role": "user", "content": body["input"]}]  # the same, in short
    body["input"] = [without_null_status(item) for item in body["input"]]
    if "tools" in body:  # no description, said aloud
        tools = [
            {name: value for name, value in tool.items() if value or name != "description"}
            for tool in body["tools"]
        ]
        body["tools"] = tools
    first = body["input"][0]
    alone = len(body["input"]) == 1 or "instructions" in body
    if first.get("role") == "system" and set(first) == {"role", "content"} and not alone:
        body["instructions"], body["input"] = first["content"], body["input"][1:]
    return body


def test_a_recorded_request_is_written_with_the_same_meaning(bodies: list[Json]) -> None:
    compared, refused = 0, set()
    for body in bodies:
        try:
            request = read(body)
        except InexpressibleError as reason:
            refused.add(str(reason))
            continue
        written = json.loads(get_codec("openai-responses").encode(request).body)
        assert same_meaning(written) == same_meaning(body)
        compared += 1
    assert compared > 100
    assert refused <= INEXPRESSIBLE


INEXPRESSIBLE = {
    "a part of type input_image with ['detail', 'file_id', 'type']",
    "a schema's description",
    "a part of type input_text with ['prompt_cache_breakpoint', 'text', 'type']",
}
"""What a `ChatRequest` cannot say today."""


# The official SDK


@pytest.fixture(scope="module")
def accept() -> Any:
    """Checks a body against the SDK's own types; what they leave to be read later is read."""
    pydantic = pytest.importorskip("pydantic")
    params = pytest.importorskip("openai.types.responses.response_create_params")
    types = {
        stream: pydantic.TypeAdapter(getattr(params, f"ResponseCreateParams{name}"))
        for stream, name in ((False, "NonStreaming"), (True, "Streaming"))
    }

    def check(body: Json) -> None:
        exhaust(types[body.get("stream", False)].validate_python(body))

    return check


def exhaust(value: Any) -> None:
    if isinstance(value, Mapping):
        for item in value.values():
            exhaust(item)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for item in value:
            exhaust(item)


def test_the_official_sdk_s_types_accept_what_is_written(bodies: list[Json], accept: Any) -> None:
    for body in bodies:
        try:
            request = read(body)
        except InexpressibleError:
            continue
        accept(json.loads(get_codec("openai-responses").encode(request).body))


def test_the_official_sdk_s_types_accept_every_field(accept: Any) -> None:
    codec = get_codec("openai-responses")
    answer = {
        "status": "completed",
        "output": [
            {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gAAA"},
            {
                "type": "message",
                "id": "msg",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Wait.", "annotations": []}],
            },
            {"type": "custom_tool_call", "id": "ctc", "call_id": "c", "name": "sh", "input": "ls"},
        ],
    }
    back = codec.assistant_message(codec.decode(200, {}, json.dumps(answer).encode()))
    parts = (
        TextPart("Look:"),
        ImagePart(url="https://x.example/i.png"),
        ImagePart(data="AAAA", media_type="image/png", detail="low"),
        DocumentPart(url="https://x.example/a.pdf"),
        DocumentPart(data="AAAA", media_type="application/pdf"),
        DocumentPart(file_id="file-1"),
    )
    request = ChatRequest(
        model="m",
        messages=(
            Message("system", "Be brief."),
            Message("developer", "Be kind."),
            Message("user", parts),
            back,
            Message("tool", "a.txt", tool_call_id="c"),
            Message("assistant", (TextPart("So."), TextPart("Then:")), (ToolCall("1", "f", "{}"),)),
            Message("tool", parts, tool_call_id="1"),
        ),
        max_tokens=100,
        temperature=0.5,
        top_p=0.9,
        tools=(Tool("f"), Tool("g", "does", {"type": "object"}, strict=True)),
        tool_choice="f",
        response_format=ResponseFormat("json_schema", {"type": "object"}, strict=True),
        logprobs=3,
        stream=True,
        user="u-1",
        extra={"reasoning": {"effort": "low"}, "text": {"verbosity": "low"}, "store": False},
    )
    accept(json.loads(codec.encode(request).body))


def test_the_check_against_the_sdk_s_types_can_fail(accept: Any) -> None:
    with pytest.raises(ValueError, match="strict"):
        accept({"model": "m", "input": "Hi", "tools": [{"type": "function", "name": "f"}]})
