"""The codec of OpenAI chat completions, and of every provider that speaks a dialect of them.

https://platform.openai.com/docs/api-reference/chat. What a dialect does differently is said by its
`Quirks`; this module has no provider's name in it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import InvalidRequestError
from cascadeflow.providers.openai_decode import OpenAIStreamDecoder, read_response
from cascadeflow.providers.protocols import EncodedRequest
from cascadeflow.providers.reading import ResponseReader
from cascadeflow.providers.shared import (
    add_extra,
    data_url,
    dump,
    message_fields,
)
from cascadeflow.types import EMPTY, ContentPart, DocumentPart, ImagePart, Message, TextPart

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cascadeflow.models.completion import Completion
    from cascadeflow.providers.protocols import StreamDecoder
    from cascadeflow.providers.registry import Provider
    from cascadeflow.types import ChatRequest, ResponseFormat, Tool, ToolChoice

__all__ = ["OpenAIChatCodec"]

_WORDS: Final = (None, "auto", "none", "required")
"""Choices that name no tool."""

_HEADERS: Final[Mapping[str, str]] = {"content-type": "application/json"}


class OpenAIChatCodec(ResponseReader):
    """Writes requests and reads answers of one provider that speaks OpenAI chat completions.

    Attributes:
        name: the provider's id.
    """

    __slots__ = ("_quirks",)

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider.id)
        self._quirks = provider.quirks

    def encode(self, request: ChatRequest) -> EncodedRequest:
        """Writes a request. What the provider is known to refuse is left out (`docs/providers.md`).

        Raises:
            InvalidRequestError: the protocol has no words for a part of it.
        """
        body: dict[str, Any] = {
            "model": request.model,
            "messages": self._messages(request.messages),
        }
        self._limit_and_sample(body, request)
        if request.tools:
            tools = request.tools
            if not self._quirks.names_tools and request.tool_choice not in _WORDS:
                tools = tuple(tool for tool in tools if tool.name == request.tool_choice)
            body["tools"] = [_tool(tool) for tool in tools]
        if request.tool_choice is not None:
            body["tool_choice"] = self._tool_choice(request.tool_choice)
        if request.response_format is not None:
            body["response_format"] = _response_format(request.response_format)
        if request.user is not None and "user" not in self._quirks.refuses:
            body["user"] = request.user
        if request.stream:
            body["stream"] = True
            if "stream_options" not in self._quirks.refuses:
                body["stream_options"] = {"include_usage": True}
        add_extra(body, request.extra)
        return EncodedRequest("/chat/completions", _HEADERS, dump(body))

    def _limit_and_sample(self, body: dict[str, Any], request: ChatRequest) -> None:
        quirks = self._quirks
        if request.max_tokens is not None:
            body[quirks.max_tokens_field] = request.max_tokens
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.top_p is not None:
            body["top_p"] = request.top_p
        if request.stop:
            body["stop"] = list(request.stop)
        if request.seed is not None:
            body[quirks.seed_field] = request.seed
        if request.logprobs is not None and "logprobs" not in quirks.refuses:
            if quirks.logprobs_as_count:
                body["logprobs"] = max(1, request.logprobs)
            else:
                body["logprobs"] = True
                if request.logprobs:
                    body["top_logprobs"] = request.logprobs

    def _whole(self, headers: Mapping[str, str], body: bytes) -> Completion:
        return read_response(self.name, headers, body)

    def _stream(self, headers: Mapping[str, str]) -> StreamDecoder:
        return OpenAIStreamDecoder(self.name, headers)

    def assistant_message(self, completion: Completion) -> Message:
        """Gives an answer as the message that goes back to this provider in the next request.

        What it wants back unchanged (reasoning that it signed or that it refuses to go without) is
        in the message's `extras`, marked as this provider's, so that no other is sent it.
        """
        back: dict[str, Any] = {}
        choices = completion.extras.get("choices")
        message = choices[0].get("message") if choices else None
        if isinstance(message, dict):
            back = {name: message[name] for name in _BACK if name in message}
        field = self._quirks.reasoning_back
        if field is not None and completion.reasoning:
            back[field] = completion.reasoning
        return Message(
            "assistant",
            completion.text,
            tool_calls=completion.tool_calls,
            extras={f"provider:{self.name}": back} if back else EMPTY,
        )

    def _messages(self, messages: Iterable[Message]) -> list[dict[str, Any]]:
        """Writes the conversation.

        A tool's result holds only text. What else it has stands in a user message behind the
        results, which must follow their calls unbroken. Mistral, which has words of its own for
        files, takes them in the result, and no user message behind one.
        """
        written: list[dict[str, Any]] = []
        behind: list[dict[str, Any]] = []
        for message in messages:
            content = message.content
            if message.role != "tool" and behind:
                written.append({"role": "user", "content": behind})
                behind = []
            if (
                message.role != "tool"
                or isinstance(content, str)
                or self._quirks.documents == "document_url"
            ):
                written.append(self._message(message))
                continue
            texts = tuple(part for part in content if isinstance(part, TextPart))
            if len(texts) < len(content):
                said = f"The result of the call {self._call_id(message.tool_call_id or '')} holds:"
                behind.append({"type": "text", "text": said})
                files = (part for part in content if not isinstance(part, TextPart))
                behind.extend(self._part(part) for part in files)
            written.append(self._message(replace(message, content=texts or "")))
        if behind:
            written.append({"role": "user", "content": behind})
        return written

    def _message(self, message: Message) -> dict[str, Any]:
        role = message.role
        if role == "developer" and not self._quirks.developer_role:
            role = "system"
        content: Any = message.content
        if not isinstance(content, str):
            content = [self._part(part) for part in content]
        written: dict[str, Any] = {"role": role, "content": content}
        if message.name is not None and "name" not in self._quirks.refuses:
            written["name"] = message.name
        if message.tool_call_id is not None:
            written["tool_call_id"] = self._call_id(message.tool_call_id)
        if message.tool_calls:
            if not content:
                written["content"] = None
            written["tool_calls"] = [
                {
                    "id": self._call_id(call.id),
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in message.tool_calls
            ]
        if message.extras:
            written.update(message_fields(message, self.name))
        return written

    def _call_id(self, call_id: str) -> str:
        """A call and its result agree in the id, whoever gave it and whatever its form must be."""
        length = self._quirks.call_id_length
        if length is None or (len(call_id) == length and call_id.isascii() and call_id.isalnum()):
            return call_id
        from hashlib import sha256  # noqa: PLC0415 - for the rare id of another provider

        return sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:length]

    def _part(self, part: ContentPart) -> dict[str, Any]:
        if isinstance(part, TextPart):
            return {"type": "text", "text": part.text}
        if isinstance(part, ImagePart):
            image: dict[str, Any] = {"url": part.url or data_url(part)}
            if part.detail is not None:
                image["detail"] = part.detail
            return {"type": "image_url", "image_url": image}
        return self._document(part)

    def _document(self, part: DocumentPart) -> dict[str, Any]:
        where = self._quirks.documents
        if where == "document_url":
            if part.file_id is not None:
                return {"type": "file", "file_id": part.file_id}
            written = {"type": "document_url", "document_url": part.url or data_url(part)}
            if part.name is not None:
                written["document_name"] = part.name
            return written
        file: dict[str, Any] = {}
        if part.file_id is not None:
            file["file_id"] = part.file_id
        elif part.url is not None and where == "inline":
            raise InvalidRequestError(
                f"{self.name} takes no documents by URL: send the document's data or its file id"
            )
        else:
            file["file_data"] = part.url or data_url(part)
            file["filename"] = part.name or "document"
        return {"type": "file", "file": file}

    def _tool_choice(self, choice: ToolChoice) -> Any:
        if choice in ("auto", "none"):
            return choice
        if choice == "required" or not self._quirks.names_tools:
            return self._quirks.required_choice
        return {"type": "function", "function": {"name": choice}}


_BACK: Final = ("content", "reasoning_details")
"""Fields that go back as they came: Mistral's parts, OpenRouter's reasoning details."""


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = dict(tool.parameters) or {"type": "object", "properties": {}}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _response_format(form: ResponseFormat) -> dict[str, Any]:
    if form.kind == "json_object":
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": form.name, "schema": dict(form.schema)}
    if form.strict is not None:
        schema["strict"] = form.strict
    return {"type": "json_schema", "json_schema": schema}
