"""The codec of Anthropic messages. https://docs.anthropic.com/en/api/messages."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import InvalidRequestError
from cascadeflow.providers.anthropic_decode import AnthropicStreamDecoder, read_response
from cascadeflow.providers.protocols import EncodedRequest
from cascadeflow.providers.reading import ResponseReader
from cascadeflow.providers.shared import (
    add_extra,
    dump,
    message_fields,
)
from cascadeflow.types import EMPTY, ContentPart, DocumentPart, ImagePart, Message, TextPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.models.completion import Completion
    from cascadeflow.providers.protocols import StreamDecoder
    from cascadeflow.providers.registry import Provider
    from cascadeflow.types import ChatRequest, Tool, ToolChoice

__all__ = ["AnthropicMessagesCodec"]

_HEADERS: Final[Mapping[str, str]] = {
    "content-type": "application/json",
    "anthropic-version": "2023-06-01",
}

_JSON_ONLY: Final = "Answer with one JSON value and nothing else: no code fence, no other words."


class AnthropicMessagesCodec(ResponseReader):
    """Writes requests and reads answers of one provider that speaks Anthropic messages.

    Attributes:
        name: the provider's id.
    """

    __slots__ = ("_quirks",)

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider.id)
        self._quirks = provider.quirks

    def encode(self, request: ChatRequest) -> EncodedRequest:
        """Writes a request.

        System messages go into `system`, wherever they stood, and messages that say nothing are
        left out, since the protocol refuses them. It has no seed and no log-probabilities; "any
        JSON" it lacks too, and it is asked for in words.

        Raises:
            InvalidRequestError: the protocol has no words for a part of it.
        """
        max_tokens = request.max_tokens
        if max_tokens is None:
            max_tokens = self._quirks.default_max_tokens
        if max_tokens is None:
            raise InvalidRequestError(
                f"{self.name} needs max_tokens: say how long an answer may be"
            )
        body: dict[str, Any] = {"model": request.model, "max_tokens": max_tokens}
        system = self._system(request)
        if len(system) == 1 and system[0].keys() == {"type", "text"}:
            body["system"] = system[0]["text"]
        elif system:
            body["system"] = system
        body["messages"] = self._messages(request)
        _sample(body, request)
        if request.tools:
            body["tools"] = [_tool(tool) for tool in request.tools]
        if request.tool_choice is not None:
            body["tool_choice"] = _tool_choice(request.tool_choice)
        if request.user is not None:
            body["metadata"] = {"user_id": request.user}
        if request.stream:
            body["stream"] = True
        add_extra(body, request.extra)
        return EncodedRequest("/v1/messages", _HEADERS, dump(body))

    def _whole(self, headers: Mapping[str, str], body: bytes) -> Completion:
        return read_response(self.name, headers, body)

    def _stream(self, headers: Mapping[str, str]) -> StreamDecoder:
        return AnthropicStreamDecoder(self.name, headers)

    def assistant_message(self, completion: Completion) -> Message:
        """Gives an answer as the message that goes back to this provider in the next request.

        Signed thinking and server tools' blocks must go back unchanged; they are in the message's
        `extras`, marked as this provider's, so that no other is sent them.
        """
        blocks = completion.extras.get("content")
        return Message(
            "assistant",
            completion.text,
            tool_calls=completion.tool_calls,
            extras={f"provider:{self.name}": {"content": blocks}} if blocks else EMPTY,
        )

    def _system(self, request: ChatRequest) -> list[dict[str, Any]]:
        blocks: list[dict[str, Any]] = []
        for message in request.messages:
            if message.role in ("system", "developer"):
                fields = message_fields(message, self.name) if message.extras else {}
                own = fields.get("content")
                blocks.extend(own or [self._part(part) for part in _parts(message)])
        form = request.response_format
        if form is not None and form.kind == "json_object":
            blocks.append({"type": "text", "text": _JSON_ONLY})
        return blocks

    def _messages(self, request: ChatRequest) -> list[dict[str, Any]]:
        """Writes the conversation; all results of a turn's tool calls stand in one user message."""
        written: list[dict[str, Any]] = []
        after_result = False
        for message in request.messages:
            if message.role in ("system", "developer"):
                continue
            role = "assistant" if message.role == "assistant" else "user"
            blocks: Any = self._blocks(message)
            fields = message_fields(message, self.name) if message.extras else {}
            blocks = fields.pop("content", blocks)
            if not blocks and not fields:
                continue  # a message without content is refused: an answer may have had none
            if after_result and role == "user" and not fields:
                written[-1]["content"].extend(blocks)
            else:
                if len(blocks) == 1 and isinstance(blocks[0], dict):
                    only = blocks[0]
                    blocks = only["text"] if only.keys() == {"type", "text"} else blocks
                written.append({"role": role, "content": blocks, **fields})
            after_result = isinstance(written[-1]["content"], list) and (
                message.role == "tool" or (after_result and role == "user")
            )
        if not written:
            raise InvalidRequestError(
                f"{self.name} needs a message that is not a system message, and not empty: "
                "add the user's"
            )
        return written

    def _blocks(self, message: Message) -> list[dict[str, Any]]:
        blocks = [self._part(part) for part in _parts(message)]
        if message.role == "tool":
            result: dict[str, Any] = {"type": "tool_result", "tool_use_id": message.tool_call_id}
            if blocks:
                result["content"] = (
                    blocks[0]["text"]
                    if len(blocks) == 1 and blocks[0]["type"] == "text"
                    else blocks
                )
            return [result]
        blocks.extend(
            {
                "type": "tool_use",
                "id": call.id,
                "name": call.name,
                "input": _arguments(call.arguments),
            }
            for call in message.tool_calls
        )
        return blocks

    def _part(self, part: ContentPart) -> dict[str, Any]:
        if isinstance(part, TextPart):
            return {"type": "text", "text": part.text}
        if isinstance(part, ImagePart):
            return {"type": "image", "source": _source(part)}
        written: dict[str, Any] = {"type": "document", "source": _source(part)}
        if part.name is not None:
            written["title"] = part.name
        return written


def _parts(message: Message) -> tuple[ContentPart, ...]:
    """The protocol refuses empty text, so it is left out."""
    if isinstance(message.content, str):
        return (TextPart(message.content),) if message.content else ()
    return tuple(part for part in message.content if not isinstance(part, TextPart) or part.text)


def _source(part: ImagePart | DocumentPart) -> dict[str, Any]:
    if isinstance(part, DocumentPart) and part.file_id is not None:
        return {"type": "file", "file_id": part.file_id}
    if part.url is not None:
        return {"type": "url", "url": part.url}
    if part.data is None or part.media_type is None:
        raise InvalidRequestError(
            f"{type(part).__name__} needs a url, or data (base64) with its media_type"
        )
    if part.media_type == "text/plain" and isinstance(part, DocumentPart):
        # The protocol takes plain text as text, and only other documents as base64.
        try:
            text = base64.b64decode(part.data, validate=True).decode()
        except ValueError:
            raise InvalidRequestError("a text/plain document needs base64 of UTF-8") from None
        return {"type": "text", "media_type": "text/plain", "data": text}
    return {"type": "base64", "media_type": part.media_type, "data": part.data}


def _arguments(text: str) -> Any:
    """A tool's input is an object here. What is none (the model broke its JSON) goes as text."""
    try:
        parsed = json.loads(text or "{}")
    except (ValueError, RecursionError):
        parsed = None
    return parsed if isinstance(parsed, dict) else {"INVALID_JSON": text}


def _sample(body: dict[str, Any], request: ChatRequest) -> None:
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    form = request.response_format
    if form is not None and form.kind == "json_schema":
        body["output_config"] = {"format": {"type": "json_schema", "schema": dict(form.schema)}}


def _tool(tool: Tool) -> dict[str, Any]:
    written: dict[str, Any] = {"name": tool.name}
    if tool.description:
        written["description"] = tool.description
    written["input_schema"] = dict(tool.parameters) or {"type": "object", "properties": {}}
    if tool.strict is not None:
        written["strict"] = tool.strict
    return written


def _tool_choice(choice: ToolChoice) -> dict[str, Any]:
    if choice in ("auto", "none"):
        return {"type": choice}
    if choice == "required":
        return {"type": "any"}
    return {"type": "tool", "name": choice}
