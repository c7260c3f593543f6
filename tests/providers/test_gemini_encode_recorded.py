"""What we would send to AI Studio and Vertex means what the recorded clients sent.

Each recorded request is read into a `ChatRequest` here, by hand, then written by the codec, and the
two bodies are compared after taking out differences of form that mean nothing; `same_meaning` lists
them all.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

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
    from collections.abc import Iterator
    from pathlib import Path

Json = dict[str, Any]


class InexpressibleError(Exception):
    """A `ChatRequest` has no field for this."""


FREE = {"args", "response", "labels", "parametersJsonSchema", "responseJsonSchema", "parameters"}
"""Below these names the keys are the user's own."""


def camel(value: Any) -> Any:
    """The API takes each name in two spellings; here they are in one."""
    if isinstance(value, dict):
        named = {re.sub("_([a-z])", lambda m: m[1].upper(), key): value[key] for key in value}
        return {key: item if key in FREE else camel(item) for key, item in named.items()}
    return [camel(item) for item in value] if isinstance(value, list) else value


def recorded(folder: Path, provider: str) -> Iterator[tuple[str, Json]]:
    for row in rows_of(folder, provider):
        yield row["path"], camel(row["request"])


def read(path: str, body: Json, provider: str) -> ChatRequest:
    model, verb = unquote(path.partition("/models/")[2]).split(":")
    body = dict(body)
    config = dict(body.pop("generationConfig", {}))
    tool_config = dict(body.pop("toolConfig", {}))
    choice, strict = read_choice(tool_config)
    tools, others = read_tools(body.pop("tools", []), strict=strict)
    system = body.pop("systemInstruction", {"parts": []})
    messages = [Message("system", tuple(map(read_part, system["parts"])))]
    for content in body.pop("contents"):
        messages.extend(read_content(content, provider))
    known: Json = {
        "max_tokens": config.pop("maxOutputTokens", None),
        "temperature": config.pop("temperature", None),
        "top_p": config.pop("topP", None),
        "stop": tuple(config.pop("stopSequences", ())),
        "seed": config.pop("seed", None),
        "response_format": read_form(config),
    }
    if config.pop("responseLogprobs", False):
        known["logprobs"] = config.pop("logprobs", 0)
    extra = {**body, "generationConfig": config, "toolConfig": tool_config, "tools": others}
    return ChatRequest(
        model=model,
        messages=tuple(messages if system["parts"] else messages[1:]),
        tools=tools,
        tool_choice=choice,
        stream=verb.startswith("stream"),
        extra={name: value for name, value in extra.items() if value},
        **known,
    )


def read_form(config: Json) -> ResponseFormat | None:
    if config.get("responseMimeType") != "application/json":
        return None
    del config["responseMimeType"]
    if "responseJsonSchema" in config:
        return ResponseFormat("json_schema", config.pop("responseJsonSchema"))
    return ResponseFormat("json_object")


def read_choice(tool_config: Json) -> tuple[str | None, bool]:
    """The choice, and whether arguments are held to their schemas."""
    calling = tool_config.pop("functionCallingConfig", None)
    match calling:
        case None:
            return None, False
        case {"mode": "AUTO" | "NONE" as mode, **rest} if not rest:
            return mode.lower(), False
        case {"mode": "VALIDATED", **rest} if not rest:
            return None, True
        case {"mode": "ANY", **rest} if not rest:
            return "required", False
        case {"mode": "ANY", "allowedFunctionNames": [name]}:
            return name, False
    tool_config["functionCallingConfig"] = calling  # which of several: through `extra`
    return None, False


def read_tools(tools: Any, *, strict: bool) -> tuple[tuple[Tool, ...], list[Json]]:
    entries = [tools] if isinstance(tools, dict) else tools
    declared = [each for entry in entries for each in entry.get("functionDeclarations", ())]
    if any(set(each) - {"name", "description", *SCHEMAS} for each in declared):
        raise InexpressibleError("further fields of a function")
    return tuple(
        Tool(
            each["name"],
            each.get("description", ""),
            each.get("parametersJsonSchema") or lower_types(each.get("parameters", {})),
            strict or None,
        )
        for each in declared
    ), [entry for entry in entries if "functionDeclarations" not in entry]


SCHEMAS = ("parameters", "parametersJsonSchema")


def lower_types(schema: Any) -> Any:
    """OpenAPI's `OBJECT` is JSON schema's `object`."""
    if isinstance(schema, dict):
        return {
            key: item.lower() if key == "type" and isinstance(item, str) else lower_types(item)
            for key, item in schema.items()
        }
    return [lower_types(item) for item in schema] if isinstance(schema, list) else schema


def read_content(content: Json, provider: str) -> list[Message]:
    parts = content["parts"]
    if content["role"] == "model":
        called = [part["functionCall"] for part in parts if "functionCall" in part]
        calls = tuple(
            ToolCall(own_id(call), call["name"], json.dumps(call["args"])) for call in called
        )
        if all(part.keys() in ({"text"}, {"functionCall"}) for part in parts):
            texts = tuple(TextPart(part["text"]) for part in parts if "text" in part)
            return [Message("assistant", texts, calls)]
        # What is signed goes back as it came, as `assistant_message` has it.
        return [Message("assistant", "", calls, extras={f"provider:{provider}": {"parts": parts}})]
    results = [part["functionResponse"] for part in parts if "functionResponse" in part]
    others = tuple(read_part(part) for part in parts if "functionResponse" not in part)
    messages = [
        Message(
            "tool",
            (TextPart(json.dumps(each["response"])), *map(read_part, each.get("parts", ()))),
            tool_call_id=own_id(each),
        )
        for each in results
    ]
    return [*messages, Message("user", others)] if others else messages


def own_id(call: Json) -> str:
    """Where the provider gave no id, the codec had made one up, and that is never sent."""
    given: str = call.get("id") or f"gemini_{call['name']}"
    return given


def read_part(part: Json) -> ContentPart:
    match part:
        case {"text": str(text), **rest} if not rest:
            return TextPart(text)
        case {"inlineData": {"mimeType": kind, "data": data}, **rest} if not rest:
            made = ImagePart if kind.startswith("image/") else DocumentPart
            return made(media_type=kind, data=data)
        case {"fileData": {"mimeType": kind, "fileUri": uri}, **rest} if not rest:
            made = ImagePart if kind.startswith("image/") else DocumentPart
            return made(media_type=kind, url=uri)
    raise InexpressibleError(f"a part of {sorted(part)}")


DUMMIES = (
    "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=",
    "Y29udGV4dF9lbmdpbmVlcmluZ19pc190aGVfd2F5X3RvX2dv",
)
"""Both of Google's words for a call that has no signature."""


def same_meaning(body: Json, provider: str) -> Json:
    """Takes out differences of form: every line here is one of the stated differences."""
    body = dict(body)
    for name in ("generationConfig", "toolConfig", "tools"):
        if not body.get(name):
            body.pop(name, None)  # nothing, said aloud
    if "systemInstruction" in body:
        body["systemInstruction"] = {"parts": body["systemInstruction"]["parts"]}  # has no role
    if "tools" in body:
        entries = [body["tools"]] if isinstance(body["tools"], dict) else body["tools"]
        declared = [each for entry in entries for each in entry.get("functionDeclarations", ())]
        others = [entry for entry in entries if "functionDeclarations" not in entry]
        body["tools"] = [[same_function(each) for each in declared], others]  # in any order
    contents: list[Json] = []
    for content in body["contents"]:
        parts = [same_part(part, provider) for part in content["parts"] if part != {"text": ""}]
        if contents and contents[-1]["role"] == content["role"]:
            contents[-1]["parts"] += parts  # a turn in one content, or in several
        elif parts or content["role"] == "user":
            contents.append({"role": content["role"], "parts": parts})
    body["contents"] = contents
    return body


def same_function(function: Json) -> Json:
    function = {key: item for key, item in function.items() if item not in ("", None)}
    if "parameters" in function:
        function["parametersJsonSchema"] = lower_types(function.pop("parameters"))
    return function


def same_part(part: Json, provider: str) -> Json:
    part = {key: dict(item) if isinstance(item, dict) else item for key, item in part.items()}
    if part.get("thoughtSignature") in DUMMIES:
        part["thoughtSignature"] = DUMMIES[0]
    for name in ("functionCall", "functionResponse"):
        if name in part and provider == "vertex":
            part[name].pop("id", None)  # its stable version has none: the order tells
    return part


@pytest.mark.parametrize("provider", ["gemini", "vertex"])
def test_a_recorded_request_is_written_with_the_same_meaning(
    recordings: Path, provider: str
) -> None:
    compared, refused = 0, set()
    for path, body in recorded(recordings, provider):
        try:
            request = read(path, body, provider)
        except InexpressibleError as reason:
            refused.add(str(reason))
            continue
        encoded = get_codec(provider).encode(request)
        written = camel(json.loads(encoded.body))
        assert same_meaning(written, provider) == same_meaning(body, provider)
        assert path.endswith(encoded.path.partition("?")[0])
        assert ("?alt=sse" in encoded.path) == request.stream
        compared += 1
    assert compared > 50
    assert refused <= INEXPRESSIBLE


INEXPRESSIBLE = {"a part of ['fileData', 'videoMetadata']"}
"""What a `ChatRequest` cannot say today, but for `Message.extras`."""
