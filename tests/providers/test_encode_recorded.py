"""What we would send means what the recorded clients sent.

Each recorded request is read into a `ChatRequest` here, by hand, then written by the codec, and the
two bodies are compared after taking out differences of form that mean nothing; `same_meaning` lists
them all.
"""

from __future__ import annotations

import base64
import json
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

OPENAI_LIKE = ["openai", "azure", "cerebras", "crusoe", "deepseek", "groq", "huggingface"]
OPENAI_LIKE += ["mistral", "ollama", "openrouter", "snowflake", "zai"]


class InexpressibleError(Exception):
    """A `ChatRequest` has no field for this."""


def requests(folder: Path, provider: str) -> list[Json]:
    return [row["request"] for row in rows_of(folder, provider)]


def data_of(url: str) -> dict[str, str]:
    media_type, _, data = url.removeprefix("data:").partition(";base64,")
    return {"media_type": media_type, "data": data}


def read_openai(body: Json) -> ChatRequest:
    body = {name: value for name, value in body.items() if value is not None}
    tools = body.pop("tools", [])
    if any(tool.get("type", "function") != "function" for tool in tools):
        body["tools"], tools = tools, []  # the provider's own tools go through `extra`
    choice = body.pop("tool_choice", None)
    if isinstance(choice, dict):
        choice = choice["function"]["name"]
    form = body.pop("response_format", None)
    body.pop("stream_options", None)
    known: Json = {
        "model": body.pop("model"),
        "messages": tuple(openai_message(message) for message in body.pop("messages")),
        "max_tokens": body.pop("max_tokens", None) or body.pop("max_completion_tokens", None),
        "temperature": body.pop("temperature", None),
        "top_p": body.pop("top_p", None),
        "stop": tuple(body.pop("stop", ())),
        "stream": body.pop("stream", False),
        "user": body.pop("user", None),
        "tools": tuple(openai_tool(tool) for tool in tools),
        "tool_choice": "required" if choice == "any" else choice,
        "response_format": form and openai_form(form),
    }
    return ChatRequest(**known, extra=body)


def openai_tool(tool: Json) -> Tool:
    function = dict(tool["function"])
    if set(tool) - {"type", "function"}:
        raise InexpressibleError("further fields of a tool")
    return Tool(
        function["name"],
        function.get("description", ""),
        function["parameters"],
        function.get("strict"),
    )


def openai_form(form: Json) -> ResponseFormat:
    if form["type"] == "json_object":
        return ResponseFormat("json_object")
    schema = form["json_schema"]
    if "description" in schema:
        raise InexpressibleError("a schema's description")
    return ResponseFormat("json_schema", schema["schema"], schema["name"], schema.get("strict"))


def openai_message(message: Json) -> Message:
    known = {"role", "content", "tool_calls", "tool_call_id", "name"}
    content = message.get("content")
    if isinstance(content, list) and any(part["type"] == "thinking" for part in content):
        known.remove("content")  # the provider's own parts go back through `extras`
        content = ""
    elif isinstance(content, list):
        content = tuple(openai_part(part) for part in content)
    return Message(
        message["role"],
        content or "",
        tuple(
            ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls") or ()
        ),
        message.get("tool_call_id"),
        message.get("name"),
        {name: value for name, value in message.items() if name not in known},
    )


def openai_part(part: Json) -> ContentPart:  # noqa: PLR0911 - a table
    part = {name: value for name, value in part.items() if value is not None}
    match part:
        case {"type": "text", "text": text, **rest} if not rest:
            return TextPart(text)
        case {"type": "image_url", "image_url": {"url": str(url), **image}, **rest} if not rest:
            if url.startswith("data:"):
                return ImagePart(**data_of(url), **image)
            return ImagePart(url=url, **image)
        case {"type": "file", "file": {"file_data": str(url), "filename": name}}:
            if url.startswith("data:"):
                return DocumentPart(**data_of(url), name=name)
            return DocumentPart(url=url, name=name)
        case {"type": "file", "file": {"file_id": str(file_id)}}:
            return DocumentPart(file_id=file_id)
        case {"type": "document_url", "document_url": str(url)}:
            return DocumentPart(url=url)
    raise InexpressibleError(f"a part of type {part.get('type')} with {sorted(part)}")


def read_anthropic(body: Json) -> ChatRequest:
    body = dict(body)
    tools = body.pop("tools", [])
    if any(set(tool) - {"name", "description", "input_schema", "strict"} for tool in tools):
        body["tools"], tools = tools, []  # the provider's own tools go through `extra`
    choice = body.pop("tool_choice", {"type": None})
    if set(choice) - {"type", "name"}:
        raise InexpressibleError("further fields of the tool choice")
    named = {"any": "required", "tool": choice.get("name")}
    output = dict(body.pop("output_config", {}))
    form = output.pop("format", None)
    if output:
        body["output_config"] = output
    system = body.pop("system", [])
    if isinstance(system, str):
        system = [{"type": "text", "text": system}]
    messages = [Message("system", "", extras={"content": system})] if system else []
    for message in body.pop("messages"):
        messages.extend(anthropic_messages(message))
    return ChatRequest(
        model=body.pop("model"),
        messages=tuple(messages),
        max_tokens=body.pop("max_tokens"),
        stop=tuple(body.pop("stop_sequences", ())),
        tools=tuple(
            Tool(t["name"], t.get("description", ""), t["input_schema"], t.get("strict"))
            for t in tools
        ),
        tool_choice=named.get(choice["type"], choice["type"]),
        response_format=form and ResponseFormat("json_schema", form["schema"]),
        stream=body.pop("stream", False),
        user=body.pop("metadata", {}).get("user_id"),
        extra=body,
    )


def anthropic_messages(message: Json) -> list[Message]:
    role, content = message["role"], message["content"]
    if isinstance(content, str):
        return [Message(role, content)]
    if role == "assistant":
        kinds = {block["type"] for block in content}
        if not kinds <= {"text", "tool_use"}:
            return [Message("assistant", "", extras={"content": content})]
        calls = tuple(
            ToolCall(block["id"], block["name"], json.dumps(block["input"]))
            for block in content
            if block["type"] == "tool_use"
        )
        texts = tuple(TextPart(block["text"]) for block in content if block["type"] == "text")
        return [Message("assistant", texts, calls)]
    if role == "system":
        raise InexpressibleError("a system message in the middle, which goes to the top")
    messages = []
    parts: list[ContentPart] = []
    for block in content:
        if block["type"] == "tool_result":
            inner = block["content"]
            result = inner if isinstance(inner, str) else tuple(map(anthropic_part, inner))
            if block.get("is_error"):
                raise InexpressibleError("a tool's error flag")
            messages.append(Message("tool", result, tool_call_id=block["tool_use_id"]))
        else:
            parts.append(anthropic_part(block))
    return [*messages, Message("user", tuple(parts))] if parts else messages


def anthropic_part(block: Json) -> ContentPart:  # noqa: PLR0911 - a table
    block = {name: value for name, value in block.items() if value is not None}
    match block:
        case {"type": "text", "text": text, **rest} if not rest:
            return TextPart(text)
        case {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}:
            return ImagePart(media_type=kind, data=data)
        case {"type": "image", "source": {"type": "url", "url": url}}:
            return ImagePart(url=url)
        case {"type": "document", "source": {"type": "base64", "media_type": kind, "data": data}}:
            return DocumentPart(media_type=kind, data=data)
        case {"type": "document", "source": {"type": "text", "data": text}}:
            data = base64.b64encode(text.encode()).decode()
            return DocumentPart(media_type="text/plain", data=data)
        case {"type": "document", "source": {"type": "url", "url": url}}:
            return DocumentPart(url=url)
        case {"type": "document", "source": {"type": "file", "file_id": file_id}}:
            return DocumentPart(file_id=file_id)
    raise InexpressibleError(f"a block of type {block['type']} with {sorted(block)}")


def same_meaning(value: Any, name: str = "") -> Any:
    """Takes out differences of form: every line here is one of the stated differences."""
    if isinstance(value, dict):
        value = {key: same_meaning(item, key) for key, item in value.items()}
        renamed = {"max_completion_tokens": "max_tokens"}
        value = {renamed.get(key, key): item for key, item in value.items()}
        for key, nothing in {
            "stream": False,  # the default, said aloud
            "prefix": False,
            "is_error": False,
            "tool_calls": [],
            "tools": [],
            "description": "",
            "content": "",  # beside tool calls: no text
        }.items():
            if value.get(key) in (nothing, []):
                del value[key]
        value.pop("stream_options", None)  # ours always asks for a stream's usage
        if "function" in value:
            value.pop("index", None)  # Mistral's client repeats the position
            value.setdefault("type", "function")
        if "file_id" in value:
            value.pop("filename", None)  # the file has its name already
        return {key: item for key, item in value.items() if item is not None}
    if name == "arguments" and isinstance(value, str):
        return json.loads(value)
    if isinstance(value, list):
        value = [same_meaning(item) for item in value]
        if name in ("content", "system") and [part.keys() for part in value] == [{"type", "text"}]:
            return value[0]["text"]  # one text part, and the text itself
    return value


@pytest.mark.parametrize("provider", [*OPENAI_LIKE, "anthropic"])
def test_a_recorded_request_is_written_with_the_same_meaning(
    recordings: Path, provider: str
) -> None:
    read = read_anthropic if provider == "anthropic" else read_openai
    compared, refused = 0, set()
    for body in requests(recordings, provider):
        try:
            request = read(body)
        except InexpressibleError as reason:
            refused.add(str(reason))
            continue
        written = json.loads(get_codec(provider).encode(request).body)
        assert same_meaning(written) == same_meaning(body)
        compared += 1
    assert compared > 0
    assert refused <= INEXPRESSIBLE


INEXPRESSIBLE = {
    "a block of type container_upload with ['file_id', 'type']",
    "a block of type image with ['source', 'type']",  # by file id
    "a block of type text with ['cache_control', 'text', 'type']",
    "a block of type tool_reference with ['tool_name', 'type']",
    "a part of type input_audio with ['input_audio', 'type']",
    "a part of type text with ['cache_control', 'text', 'type']",
    "a part of type text with ['prompt_cache_breakpoint', 'text', 'type']",
    "a part of type video_url with ['type', 'video_url']",
    "a schema's description",
    "a system message in the middle, which goes to the top",
    "a tool's error flag",
    "further fields of a tool",
    "further fields of the tool choice",
}
"""What a `ChatRequest` cannot say today."""
