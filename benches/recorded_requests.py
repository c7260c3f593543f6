"""Reads recorded exchanges as requests of ours, each with the input tokens that were billed for it.

What a `ChatRequest` cannot say (a provider's own tools, blocks of other kinds) is kept in its
`extra` or in a message's `extras`, as it is when a caller passes it through.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cascadeflow.models.config import ModelConfig
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


@dataclass(frozen=True)
class Recorded:
    """A request, the model it went to, and what was billed."""

    id: str
    source: str
    model: ModelConfig
    request: ChatRequest
    input_tokens: int

    @property
    def cassette(self) -> str:
        """The test recording it is part of: requests of one are not independent."""
        return self.source.partition("#")[0]


def read_recordings(folder: Path) -> Iterator[Recorded]:
    """Gives every successful exchange whose billed input is known, each distinct request once."""
    seen = set()
    for file in sorted(folder.glob("*.jsonl.gz")):
        provider = file.name.removesuffix(".jsonl.gz")
        if provider == "openai-responses":  # another protocol; its input may stay at the provider
            continue
        with gzip.open(file, "rt") as lines:
            rows = [json.loads(line) for line in lines]
        for row in rows:
            tokens = billed_input(row)
            key = (provider, row["path"], json.dumps(row["request"], sort_keys=True))
            if tokens is None or key in seen:
                continue
            seen.add(key)
            request = READERS.get(provider, read_openai)(row)
            yield Recorded(
                id=row["id"],
                source=row["source"],
                model=ModelConfig(name=request.model, provider=provider),
                request=request,
                input_tokens=tokens,
            )


def answers(row: Json) -> Iterator[Json]:
    """The JSON objects of a response, whole, streamed as text or streamed as binary frames."""
    if isinstance(row.get("response"), dict):
        yield row["response"]
    for line in (row.get("response_text") or "").splitlines():
        if line.startswith("data:") and line[5:].strip() not in ("", "[DONE]"):
            yield json.loads(line[5:])
    frames = base64.b64decode(row.get("response_base64") or "")
    while len(frames) >= 16:
        length, headers = struct.unpack(">II", frames[:8])
        payload = frames[12 + headers : length - 4]
        yield json.loads(payload or b"{}")
        frames = frames[length:]


def billed_input(row: Json) -> int | None:
    """All input tokens that were billed, cached or not; the last word of a stream counts."""
    found = None
    for answer in answers(row):
        usage = answer.get("usage") or answer.get("usageMetadata") or answer.get("message", {})
        usage = usage.get("usage", usage) if isinstance(usage, dict) else {}
        if not isinstance(usage, dict):
            continue
        cached = sum(
            usage.get(name) or 0
            for name in (
                *("cache_read_input_tokens", "cache_creation_input_tokens"),
                *("cacheReadInputTokens", "cacheWriteInputTokens"),
            )
        )
        for tokens in (
            usage.get("billed_units", {}).get("input_tokens"),
            usage.get("prompt_tokens"),
            usage.get("input_tokens"),
            usage.get("inputTokens"),
            usage.get("promptTokenCount"),
        ):
            if tokens is not None:
                found = tokens + cached
                break
    return found or None


def read_openai(row: Json) -> ChatRequest:
    """Reads the chat-completions protocol, whatever the provider."""
    body = {name: value for name, value in row["request"].items() if value is not None}
    form = body.pop("response_format", None) or {}
    schema = form.get("json_schema", {})
    tools = body.pop("tools", [])
    own = [tool for tool in tools if tool.get("type", "function") == "function"]
    if len(own) != len(tools):
        body["tools"] = [tool for tool in tools if tool not in own]
    return ChatRequest(
        model=body.pop("model", row["path"].split("/deployments/")[-1].split("/")[0]),
        messages=tuple(openai_message(message) for message in body.pop("messages")),
        tools=tuple(
            Tool(
                tool["function"]["name"],
                tool["function"].get("description") or "",
                tool["function"].get("parameters") or {},
            )
            for tool in own
        ),
        response_format=ResponseFormat(
            form["type"], schema.get("schema", {}), schema.get("name", "answer")
        )
        if form.get("type") in ("json_object", "json_schema")
        else None,
        extra=body,
    )


def openai_message(message: Json) -> Message:
    content = message.get("content") or ""
    if isinstance(content, list):
        content = tuple(openai_part(part) for part in content)
    return Message(
        message["role"],
        content,
        tuple(
            ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls") or ()
        ),
        message.get("tool_call_id"),
        message.get("name"),
    )


def openai_part(part: Json) -> ContentPart:
    match part:
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            return ImagePart(url=url)
        case {"text": str(text)} | {"refusal": str(text)}:
            return TextPart(text)
    return DocumentPart(name=part.get("type"))


def read_anthropic(row: Json) -> ChatRequest:
    """Reads Anthropic's messages."""
    body = dict(row["request"])
    tools = body.pop("tools", [])
    own = [tool for tool in tools if "input_schema" in tool]
    if len(own) != len(tools):
        body["tools"] = [tool for tool in tools if tool not in own]
    system = body.pop("system", None) or []
    if isinstance(system, str):
        system = [{"type": "text", "text": system}]
    messages = [Message("system", tuple(TextPart(block["text"]) for block in system))]
    for message in body.pop("messages"):
        messages += block_messages(message["role"], message["content"])
    form = (body.get("output_config") or {}).get("format")
    return ChatRequest(
        model=body.pop("model"),
        messages=tuple(messages if system else messages[1:]),
        tools=tuple(
            Tool(tool["name"], tool.get("description", ""), tool["input_schema"]) for tool in own
        ),
        response_format=ResponseFormat("json_schema", form["schema"]) if form else None,
        extra=body,
    )


def block_messages(role: Any, content: Any) -> list[Message]:
    """Splits Anthropic's and Bedrock's blocks into messages: each tool result is one of its own."""
    if isinstance(content, str):
        return [Message(role, content)]
    messages: list[Message] = []
    parts: list[ContentPart] = []
    calls: list[ToolCall] = []
    other = []
    for block in content:
        match block:
            case {"type": "text", "text": str(text)} | {"text": str(text)}:
                parts.append(TextPart(text))
            case {"type": "tool_use", "id": id_, "name": name, "input": arguments} | {
                "toolUse": {"toolUseId": id_, "name": name, "input": arguments}
            }:
                calls.append(ToolCall(id_, name, json.dumps(arguments)))
            case {"type": "tool_result", "tool_use_id": id_, "content": result} | {
                "toolResult": {"toolUseId": id_, "content": result}
            }:
                inner = block_messages("tool", result)
                messages.append(Message("tool", inner[0].content if inner else "", (), id_))
            case {"type": "image"} | {"image": _}:
                parts.append(ImagePart(data="…"))
            case {"type": "document"} | {"document": _} | {"video": _}:
                parts.append(DocumentPart(data="…"))
            case {"json": value}:
                parts.append(TextPart(json.dumps(value)))
            case {"cachePoint": _}:
                pass
            case _:
                other.append(block)
    if parts or calls or other:
        extras = {"content": other} if other else {}
        messages.append(Message(role, tuple(parts), tuple(calls), extras=extras))
    return messages


def read_bedrock(row: Json) -> ChatRequest:
    """Reads Bedrock's converse."""
    body = dict(row["request"])
    found = re.search(r"/model/(.+?)/converse", row["path"])
    config = body.pop("toolConfig", None) or {}
    specs = [tool["toolSpec"] for tool in config.get("tools", []) if "toolSpec" in tool]
    messages = [
        Message("system", block["text"]) for block in body.pop("system", []) if "text" in block
    ]
    for message in body.pop("messages"):
        messages += block_messages(message["role"], message["content"])
    form = (body.pop("outputConfig", None) or {}).get("textFormat", {}).get("structure", {})
    schema = form.get("jsonSchema", {}).get("schema")
    return ChatRequest(
        model=found.group(1).replace("%3A", ":") if found else "",
        messages=tuple(messages),
        tools=tuple(
            Tool(spec["name"], spec.get("description", ""), spec["inputSchema"]["json"])
            for spec in specs
        ),
        response_format=ResponseFormat("json_schema", json.loads(schema)) if schema else None,
        extra={
            name: value for name, value in body.items() if name == "additionalModelRequestFields"
        },
    )


def read_gemini(row: Json) -> ChatRequest:
    """Reads Gemini's generateContent."""
    body = dict(row["request"])
    found = re.search(r"/models/([^:]+):", row["path"])
    config = body.get("generationConfig") or {}
    declared: list[Json] = []
    own = []
    tools = body.pop("tools", None) or []
    for tool in [tools] if isinstance(tools, dict) else tools:
        declared += tool.get("functionDeclarations", [])
        own += [{name: tool[name]} for name in tool if name != "functionDeclarations"]
    system = (body.pop("systemInstruction", None) or {}).get("parts", [])
    messages = [Message("system", tuple(TextPart(part["text"]) for part in system))]
    for content in body.pop("contents"):
        messages += gemini_messages(content)
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    return ChatRequest(
        model=found.group(1) if found else "",
        messages=tuple(messages if system else messages[1:]),
        tools=tuple(
            Tool(
                tool["name"],
                tool.get("description", ""),
                tool.get("parameters_json_schema")
                or tool.get("parametersJsonSchema")
                or tool.get("parameters")
                or {},
            )
            for tool in declared
        ),
        response_format=ResponseFormat("json_schema", schema) if schema else None,
        extra={"tools": own} if own else {},
    )


def gemini_messages(content: Json) -> list[Message]:
    role: Any = "assistant" if content.get("role") == "model" else "user"
    messages: list[Message] = []
    parts: list[ContentPart] = []
    calls: list[ToolCall] = []
    signatures: list[str] = []
    for part in content.get("parts") or []:
        # Two SDKs, two spellings; a signature stands beside what it signs.
        camel = {re.sub("_(.)", lambda found: found[1].upper(), name): part[name] for name in part}
        if signature := camel.pop("thoughtSignature", None):
            signatures.append(signature)
        match camel:
            case {"functionCall": {"name": name, **rest}}:
                arguments = json.dumps(rest.get("args") or {})
                calls.append(ToolCall(rest.get("id", ""), name, arguments))
            case {"functionResponse": {"response": value, **rest}}:
                text = (TextPart(json.dumps(value)),)
                files = (DocumentPart(data="…"),) if rest.get("parts") else ()
                id_, name = rest.get("id"), rest.get("name")
                messages.append(Message("tool", text + files, (), id_, name))
            case {"text": str(text)}:
                parts.append(TextPart(text))
            case {"inlineData": _} | {"fileData": _}:
                parts.append(DocumentPart(data="…"))
            case {}:
                pass
            case _:  # code that the provider ran
                parts.append(TextPart(json.dumps(camel)))
    if parts or calls:
        extras = {"signature": signatures} if signatures else {}
        messages.append(Message(role, tuple(parts), tuple(calls), extras=extras))
    return messages


READERS = {
    "anthropic": read_anthropic,
    "bedrock": read_bedrock,
    "gemini": read_gemini,
    "vertex": read_gemini,
}
