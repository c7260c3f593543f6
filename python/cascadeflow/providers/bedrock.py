"""The codec of Amazon Bedrock's converse, which speaks to every chat model on Bedrock.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from cascadeflow.errors import InvalidRequestError
from cascadeflow.providers.bedrock_decode import is_plain, read_response
from cascadeflow.providers.bedrock_errors import error_from_response
from cascadeflow.providers.bedrock_media import Media
from cascadeflow.providers.bedrock_stream import BedrockStreamDecoder
from cascadeflow.providers.protocols import EncodedRequest
from cascadeflow.providers.reading import ResponseReader
from cascadeflow.providers.shared import (
    add_extra,
    dump,
    message_fields,
)
from cascadeflow.types import EMPTY, Message, TextPart, Tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cascadeflow.errors import ProviderError
    from cascadeflow.models.completion import Completion
    from cascadeflow.providers.protocols import StreamDecoder
    from cascadeflow.providers.registry import Provider
    from cascadeflow.types import ChatRequest, ContentPart, ToolCall

__all__ = ["BedrockConverseCodec"]

_HEADERS: Final[Mapping[str, str]] = {"content-type": "application/json"}

_JSON_ONLY: Final = "Answer with one JSON value and nothing else: no code fence, no other words."
_NO_TOOLS: Final = "Do not call any tool in this turn: answer in words."

_METADATA: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,\-.]{1,256}", re.ASCII)
"""What the protocol lets a value of the request's metadata be."""


class BedrockConverseCodec(ResponseReader):
    """Writes requests and reads answers of Amazon Bedrock's converse.

    Attributes:
        name: the provider's id.
    """

    __slots__ = ()

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider.id)

    def encode(self, request: ChatRequest) -> EncodedRequest:
        """Writes a request; the model's id or ARN stands in the path.

        System messages go into `system`, wherever they stood, and messages of one role that follow
        each other become one, since the protocol wants roles to alternate. It has no seed and no
        log-probabilities. "Any JSON" it lacks too, and it is asked for in words.

        Where no tool may be called, none is declared; but once the conversation holds tool calls
        the protocol demands that tools are declared: then they are, and that none be called is
        asked for in words. Blank text is refused by the protocol and is left out. `user` becomes
        the request's metadata `user_id`, hashed when it has characters that metadata may not have.

        Raises:
            InvalidRequestError: the protocol has no words for a part of it.
        """
        media = Media(self.name)
        system = self._system(request, media)
        messages = self._messages(request, media)
        body: dict[str, Any] = {"messages": messages}
        config = _inference(request)
        if config:
            body["inferenceConfig"] = config
        if request.tools and request.tool_choice != "none":
            body["toolConfig"] = _tool_config(request.tools, request.tool_choice)
        elif "toolConfig" not in request.extra and any(map(_holds_tools, messages)):
            config = _tool_config(request.tools or _called(request), None)
            if config["tools"]:
                body["toolConfig"] = config
                system.append({"text": _NO_TOOLS})
        if system:
            body["system"] = system
        form = request.response_format
        if form is not None and form.kind == "json_schema":
            body["outputConfig"] = {"textFormat": _text_format(form.schema, form.name)}
        if request.user:
            body["requestMetadata"] = {"user_id": _metadata(request.user)}
        add_extra(body, request.extra)
        action = "converse-stream" if request.stream else "converse"
        path = f"/model/{quote(request.model, safe='')}/{action}"
        return EncodedRequest(path, _HEADERS, dump(body))

    def _error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return error_from_response(self.name, status, headers, body)

    def _whole(self, headers: Mapping[str, str], body: bytes) -> Completion:
        return read_response(self.name, headers, body)

    def _stream(self, headers: Mapping[str, str]) -> StreamDecoder:
        return BedrockStreamDecoder(self.name, headers)

    def assistant_message(self, completion: Completion) -> Message:
        """Gives an answer as the message that goes back to this provider in the next request.

        Signed reasoning, citations and what the server's own tools did must go back unchanged; they
        are in the message's `extras`, marked as this provider's, so that no other is sent them.
        Reasoning without a signature is left out: models that do not sign it refuse it.
        """
        output = completion.extras.get("output")
        message = output.get("message") if isinstance(output, dict) else None
        blocks = message.get("content") if isinstance(message, dict) else None
        back: list[Any] = []
        calls = iter(completion.tool_calls)
        for block in blocks if isinstance(blocks, list) else ():
            back.extend(_back(block, calls))
        extras = EMPTY
        if not all(map(is_plain, back)):
            extras = {f"provider:{self.name}": {"content": back}}
        return Message(
            "assistant", completion.text, tool_calls=completion.tool_calls, extras=extras
        )

    def _system(self, request: ChatRequest, media: Media) -> list[Any]:
        blocks: list[Any] = []
        for message in request.messages:
            if message.role in ("system", "developer"):
                fields = message_fields(message, self.name) if message.extras else EMPTY
                blocks.extend(fields.get("content") or _parts(message, media))
        form = request.response_format
        if form is not None and form.kind == "json_object":
            blocks.append({"text": _JSON_ONLY})
        return blocks

    def _messages(self, request: ChatRequest, media: Media) -> list[dict[str, Any]]:
        written: list[dict[str, Any]] = []
        for message in request.messages:
            if message.role in ("system", "developer"):
                continue
            role = "assistant" if message.role == "assistant" else "user"
            fields = message_fields(message, self.name) if message.extras else {}
            status = fields.pop("status", None) if message.role == "tool" else None
            blocks = fields.pop("content", None) or _blocks(message, media, status)
            if not blocks and not fields:
                continue
            last = written[-1] if written else EMPTY
            if last.get("role") == role and last.keys() == {"role", "content"} and not fields:
                last["content"].extend(blocks)
            else:
                written.append({"role": role, "content": list(blocks), **fields})
        if not written:
            raise InvalidRequestError(
                f"{self.name} needs a message that is not a system message, and not empty: "
                "add the user's"
            )
        return written


def _parts(message: Message, media: Media) -> list[dict[str, Any]]:
    """The protocol refuses blank text, so it is left out."""
    content = message.content
    parts: tuple[ContentPart, ...] = (TextPart(content),) if isinstance(content, str) else content
    return [
        {"text": part.text} if isinstance(part, TextPart) else media.block(part)
        for part in parts
        if not isinstance(part, TextPart) or part.text.strip()
    ]


def _blocks(message: Message, media: Media, status: Any) -> list[dict[str, Any]]:
    blocks = _parts(message, media)
    if message.role == "tool":
        result: dict[str, Any] = {"toolUseId": message.tool_call_id, "content": blocks}
        if status is not None:
            result["status"] = status
        return [{"toolResult": result}]
    blocks.extend(
        {
            "toolUse": {
                "toolUseId": call.id,
                "name": call.name,
                "input": _arguments(call.arguments),
            }
        }
        for call in message.tool_calls
    )
    return blocks


def _arguments(text: str) -> Any:
    """A tool's input is an object here. What is none (the model broke its JSON) goes as text."""
    try:
        parsed = json.loads(text or "{}")
    except (ValueError, RecursionError):
        parsed = None
    return parsed if isinstance(parsed, dict) else {"INVALID_JSON": text}


def _inference(request: ChatRequest) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if request.max_tokens is not None:
        config["maxTokens"] = request.max_tokens
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if request.top_p is not None:
        config["topP"] = request.top_p
    if request.stop:
        config["stopSequences"] = list(request.stop)
    return config


def _tool_config(tools: Iterable[Tool], choice: str | None) -> dict[str, Any]:
    config: dict[str, Any] = {"tools": [_tool(tool) for tool in tools]}
    if choice == "auto":
        config["toolChoice"] = {"auto": {}}
    elif choice == "required":
        config["toolChoice"] = {"any": {}}
    elif choice is not None:
        config["toolChoice"] = {"tool": {"name": choice}}
    return config


def _tool(tool: Tool) -> dict[str, Any]:
    written: dict[str, Any] = {"name": tool.name}
    if tool.description.strip():
        written["description"] = tool.description
    schema = dict(tool.parameters) or {"type": "object", "properties": {}}
    written["inputSchema"] = {"json": schema}
    if tool.strict is not None:
        written["strict"] = tool.strict
    return {"toolSpec": written}


def _called(request: ChatRequest) -> list[Tool]:
    """The tools that a conversation speaks of, where the request declares none."""
    calls = [call for message in request.messages for call in message.tool_calls]
    return [Tool(name) for name in dict.fromkeys(call.name for call in calls)]


def _holds_tools(message: Mapping[str, Any]) -> bool:
    return any(
        isinstance(block, dict) and ("toolUse" in block or "toolResult" in block)
        for block in message["content"]
    )


def _text_format(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The protocol takes the schema as JSON in a text."""
    text = dump(schema).decode()
    return {"type": "json_schema", "structure": {"jsonSchema": {"name": name, "schema": text}}}


def _metadata(user: str) -> str:
    if _METADATA.fullmatch(user):
        return user
    return f"sha256:{hashlib.sha256(user.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _back(block: Any, calls: Iterator[ToolCall]) -> list[Any]:
    """A block of an answer in the form in which a request may have it."""
    if not isinstance(block, dict):
        return []
    if block.keys() == {"text"} and not (isinstance(block["text"], str) and block["text"].strip()):
        return []
    thought = block.get("reasoningContent")
    if isinstance(thought, dict):
        shown = thought.get("reasoningText")
        signed = isinstance(shown, dict) and shown.get("signature")
        return [block] if signed or thought.get("redactedContent") else []
    tool = block.get("toolUse")
    if not isinstance(tool, dict):
        return [block]
    if tool.get("type") == "server_tool_use":
        return [block]
    fields = {name: value for name, value in tool.items() if name != "type"}
    call = next(calls, None)
    if call is not None:  # what the model wrote, which is an object even where it broke its JSON
        fields["input"] = _arguments(call.arguments)
    return [{**block, "toolUse": fields}]
