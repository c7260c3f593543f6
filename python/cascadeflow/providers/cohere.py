"""The codec of Cohere's v2 chat. https://docs.cohere.com/v2/reference/chat."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import ContentFilteredError, InvalidRequestError, ProviderError
from cascadeflow.providers.cohere_decode import CohereStreamDecoder, read_response
from cascadeflow.providers.error_mapping import error_from_body
from cascadeflow.providers.protocols import EncodedRequest
from cascadeflow.providers.reading import ResponseReader
from cascadeflow.providers.shared import (
    add_extra,
    data_url,
    dump,
    message_fields,
)
from cascadeflow.types import EMPTY, DocumentPart, ImagePart, Message, TextPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.models.completion import Completion
    from cascadeflow.providers.protocols import StreamDecoder
    from cascadeflow.providers.registry import Provider
    from cascadeflow.types import ChatRequest, ResponseFormat, Tool

__all__ = ["CohereChatCodec"]

_HEADERS: Final[Mapping[str, str]] = {"content-type": "application/json"}

_BY_STATUS: Final[Mapping[int, type[ProviderError]]] = {
    498: ContentFilteredError,  # a word on its deny list, in the request or in the answer
}

_BACK: Final = ("content", "tool_plan", "citations")
"""Fields of a message that go back as they came."""


class CohereChatCodec(ResponseReader):
    """Writes requests and reads answers of one provider that speaks Cohere's v2 chat.

    Attributes:
        name: the provider's id.
    """

    __slots__ = ("_quirks",)

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider.id)
        self._quirks = provider.quirks

    def encode(self, request: ChatRequest) -> EncodedRequest:
        """Writes a request.

        The protocol has no user id, no speaker's name, no choice of one tool (it is sent that tool
        alone and must call it) and one switch for the strictness of all tools. Documents stand
        beside the messages and hold text; other documents it has no words for.

        Raises:
            InvalidRequestError: the protocol has no words for a part of it.
        """
        documents: list[Any] = []
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [self._message(message, documents) for message in request.messages],
        }
        if request.tools:
            _add_tools(body, request.tools)
        if request.tool_choice is not None:
            self._choose(body, request)
        if documents:
            body["documents"] = [*documents, *(request.extra.get("documents") or ())]
        if request.response_format is not None:
            body["response_format"] = _response_format(request.response_format)
        self._limit_and_sample(body, request)
        if request.stream:
            body["stream"] = True
        extra = request.extra
        if documents and "documents" in extra:
            extra = {name: value for name, value in extra.items() if name != "documents"}
        add_extra(body, extra)
        return EncodedRequest("/v2/chat", _HEADERS, dump(body))

    def _limit_and_sample(self, body: dict[str, Any], request: ChatRequest) -> None:
        if request.max_tokens is not None:
            body["max_tokens"] = request.max_tokens
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.top_p is not None:
            body["p"] = request.top_p
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        if request.seed is not None:
            body["seed"] = request.seed
        if request.logprobs is not None and "logprobs" not in self._quirks.refuses:
            body["logprobs"] = True  # of the chosen tokens; it reports no others

    def _choose(self, body: dict[str, Any], request: ChatRequest) -> None:
        choice = request.tool_choice
        if choice == "auto":
            return  # what it does unasked
        if choice in ("required", "none"):
            body["tool_choice"] = choice.upper()
            return
        chosen = [tool for tool in request.tools if tool.name == choice]
        if not chosen:
            raise InvalidRequestError(f"tool_choice names {choice!r}, which is none of the tools")
        body["tools"] = [_tool(tool) for tool in chosen]
        body["tool_choice"] = "REQUIRED"

    def _error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return _error(self.name, status, headers, body)

    def _whole(self, headers: Mapping[str, str], body: bytes) -> Completion:
        return read_response(self.name, headers, body)

    def _stream(self, headers: Mapping[str, str]) -> StreamDecoder:
        return CohereStreamDecoder(self.name, headers)

    def assistant_message(self, completion: Completion) -> Message:
        """Gives an answer as the message that goes back to this provider in the next request.

        The tool plan, the thinking and the citations go back as they came. They are in the
        message's `extras`, marked as this provider's, so that no other is sent them.
        """
        message = completion.extras.get("message")
        back: dict[str, Any] = {}
        if isinstance(message, dict):
            back = {name: message[name] for name in _BACK if name in message}
        return Message(
            "assistant",
            completion.text,
            tool_calls=completion.tool_calls,
            extras={f"provider:{self.name}": back} if back else EMPTY,
        )

    def _message(self, message: Message, documents: list[Any]) -> dict[str, Any]:
        role = "system" if message.role == "developer" else message.role
        written: dict[str, Any] = {"role": role}
        content = self._content(message, documents)
        if content or not message.tool_calls:
            written["content"] = content
        if message.tool_call_id is not None:
            written["tool_call_id"] = message.tool_call_id
        if message.tool_calls:
            written["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in message.tool_calls
            ]
        if message.extras:
            written.update(message_fields(message, self.name))
        return written

    def _content(self, message: Message, documents: list[Any]) -> Any:
        if isinstance(message.content, str):
            return message.content
        parts: list[dict[str, Any]] = []
        for part in message.content:
            if isinstance(part, TextPart):
                parts.append({"type": "text", "text": part.text})
            elif isinstance(part, ImagePart):
                if message.role == "tool":
                    raise InvalidRequestError(
                        f"{self.name} takes no images in a tool's result: put the image into a "
                        "user message behind it"
                    )
                image: dict[str, Any] = {"url": part.url or data_url(part)}
                if part.detail is not None:
                    image["detail"] = part.detail
                parts.append({"type": "image_url", "image_url": image})
            elif message.role == "tool":
                parts.append({"type": "document", "document": self._document(part)})
            else:
                documents.append(self._document(part))
        return parts

    def _document(self, part: DocumentPart) -> dict[str, Any]:
        """Writes a document: its fields, which the model reads by their names."""
        kind = (part.media_type or "").partition(";")[0].strip().lower()
        if part.data is None or not (kind.startswith("text/") or kind == "application/json"):
            raise InvalidRequestError(
                f"{self.name} takes documents as text: send the data of a text/… or "
                "application/json document, or its text"
            )
        try:
            text = base64.b64decode(part.data, validate=True).decode()
        except ValueError:
            raise InvalidRequestError(f"a {kind} document needs base64 of UTF-8") from None
        data: dict[str, Any] = {"text": text}
        if part.name is not None:
            data["title"] = part.name
        return {"data": data}


def _error(provider: str, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Reads an error response: `{"id": …, "message": …}`."""
    error = error_from_body(provider, status, headers, body, by_status=_BY_STATUS)
    said = error.details
    if error.request_id is None and isinstance(said.get("id"), str):
        error.request_id = said["id"]
    if error.code is None and isinstance(said.get("error_type"), str):
        error.code = said["error_type"]
    if status in _BY_STATUS or error.code == "NO_VALID_RESPONSE_GENERATED":
        error.billed = None  # the model may have run, and its answer been thrown away
    return error


def _add_tools(body: dict[str, Any], tools: tuple[Tool, ...]) -> None:
    body["tools"] = [_tool(tool) for tool in tools]
    stated = {tool.strict for tool in tools if tool.strict is not None}
    if stated:
        body["strict_tools"] = True in stated


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}


def _response_format(form: ResponseFormat) -> dict[str, Any]:
    written: dict[str, Any] = {"type": "json_object"}
    if form.kind == "json_schema":
        written["json_schema"] = dict(form.schema)
    return written
