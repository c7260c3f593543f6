"""The codec of OpenAI responses. https://platform.openai.com/docs/api-reference/responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import InvalidRequestError
from cascadeflow.providers.openai_responses_decode import call_id_of, read_response
from cascadeflow.providers.openai_responses_stream import ResponsesStreamDecoder
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
    from collections.abc import Sequence

    from cascadeflow.models.completion import Completion
    from cascadeflow.providers.protocols import StreamDecoder
    from cascadeflow.providers.registry import Provider
    from cascadeflow.types import ChatRequest, ResponseFormat, Tool

__all__ = ["OpenAIResponsesCodec"]

_HEADERS: Final[Mapping[str, str]] = {"content-type": "application/json"}

_LOGPROBS: Final = "message.output_text.logprobs"


class OpenAIResponsesCodec(ResponseReader):
    """Writes requests and reads answers of one provider that speaks OpenAI responses.

    Attributes:
        name: the provider's id.
    """

    __slots__ = ("_quirks",)

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider.id)
        self._quirks = provider.quirks

    def encode(self, request: ChatRequest) -> EncodedRequest:
        """Writes a request.

        A system message that opens the conversation becomes `instructions`. The protocol has no
        seed and no names of speakers, so these are not sent.

        Raises:
            InvalidRequestError: the protocol has no words for a part of it.
        """
        if request.stop:
            raise InvalidRequestError(
                f"{self.name} has no stop sequences: leave stop out, or ask the model through chat "
                "completions (openai:MODEL)"
            )
        body: dict[str, Any] = {"model": request.model}
        messages: Sequence[Message] = request.messages
        instructions = _instructions(messages)
        if instructions is not None:
            body["instructions"] = instructions
            messages = messages[1:]
        body["input"] = self._input(messages)
        self._limit_and_sample(body, request)
        if request.tools:
            body["tools"] = [_tool(tool) for tool in request.tools]
        if request.tool_choice is not None:
            body["tool_choice"] = self._tool_choice(request.tool_choice)
        if request.response_format is not None:
            body["text"] = {"format": _response_format(request.response_format)}
        if request.user is not None and "user" not in self._quirks.refuses:
            body["safety_identifier"] = request.user
        if request.stream:
            body["stream"] = True
        add_extra(body, request.extra)
        if request.logprobs is not None and "logprobs" not in self._quirks.refuses:
            _ask_for_logprobs(body)
        return EncodedRequest("/responses", _HEADERS, dump(body))

    def _limit_and_sample(self, body: dict[str, Any], request: ChatRequest) -> None:
        if request.max_tokens is not None:
            body["max_output_tokens"] = request.max_tokens
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.top_p is not None:
            body["top_p"] = request.top_p
        if request.logprobs and "logprobs" not in self._quirks.refuses:
            body["top_logprobs"] = request.logprobs

    def _whole(self, headers: Mapping[str, str], body: bytes) -> Completion:
        return read_response(self.name, headers, body)

    def _stream(self, headers: Mapping[str, str]) -> StreamDecoder:
        return ResponsesStreamDecoder(self.name, headers)

    def assistant_message(self, completion: Completion) -> Message:
        """Gives an answer as the message that goes back to this provider in the next request.

        Its output items go back unchanged, encrypted reasoning and server-side tools' calls among
        them; they are in the message's `extras`, marked as this provider's, so that no other is
        sent them.
        """
        items = completion.extras.get("output")
        return Message(
            "assistant",
            completion.text,
            tool_calls=completion.tool_calls,
            extras={f"provider:{self.name}": {"output": items}} if items else EMPTY,
        )

    def _input(self, messages: Sequence[Message]) -> list[Any]:
        items: list[Any] = []
        custom: set[str] = set()
        for message in messages:
            fields = message_fields(message, self.name) if message.extras else {}
            if message.role == "tool":
                items.append(self._result(message, fields, custom))
                continue
            own = fields.pop("output", None)
            if own is None:
                items.extend(self._message(message, fields))
                continue
            for item in own:
                items.append(item)
                if isinstance(item, Mapping) and item.get("type") == "custom_tool_call":
                    custom.add(call_id_of(item))
        return items

    def _message(self, message: Message, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Writes what was said as one item, and each call as one."""
        role, content = message.role, message.content
        if role == "developer" and not self._quirks.developer_role:
            role = "system"
        contents: list[Any] = [content]
        if not isinstance(content, str):
            # The assistant's words are not of the form that input has: each is a message.
            contents = (
                [self._said(part) for part in content]
                if role == "assistant"
                else [[self._part(part) for part in content]]
            )
        if message.tool_calls and not fields:
            contents = [each for each in contents if each]
        return [
            *({"role": role, "content": each, **fields} for each in contents),
            *(
                {
                    "type": "function_call",
                    "call_id": call.id,
                    "name": call.name,
                    "arguments": call.arguments,
                }
                for call in message.tool_calls
            ),
        ]

    def _result(
        self, message: Message, fields: Mapping[str, Any], custom: set[str]
    ) -> dict[str, Any]:
        content: Any = message.content
        if not isinstance(content, str):
            content = [self._part(part) for part in content]
        kind = "custom_tool_call_output" if message.tool_call_id in custom else None
        return {
            "type": kind or "function_call_output",
            "call_id": message.tool_call_id,
            "output": content,
            **fields,
        }

    def _said(self, part: ContentPart) -> str:
        if isinstance(part, TextPart):
            return part.text
        raise InvalidRequestError(
            f"{self.name} takes only text as what the assistant said: put the {type(part).__name__}"
            " into a user message"
        )

    def _part(self, part: ContentPart) -> dict[str, Any]:
        if isinstance(part, TextPart):
            return {"type": "input_text", "text": part.text}
        if isinstance(part, ImagePart):
            url = part.url or data_url(part)
            return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
        return _file(part)

    def _tool_choice(self, choice: str) -> Any:
        if choice in ("auto", "none"):
            return choice
        if choice == "required":
            return self._quirks.required_choice
        return {"type": "function", "name": choice}


def _instructions(messages: Sequence[Message]) -> str | None:
    """Gives the system message that opens a conversation, where it is text and nothing more."""
    first = messages[0] if len(messages) > 1 else None
    if first is None or first.role != "system" or first.extras:
        return None
    if isinstance(first.content, str):
        return first.content
    texts = [part.text for part in first.content if isinstance(part, TextPart)]
    return texts[0] if len(texts) == len(first.content) == 1 else None


def _file(part: DocumentPart) -> dict[str, Any]:
    written: dict[str, Any] = {"type": "input_file"}
    if part.file_id is not None:
        written["file_id"] = part.file_id
    elif part.url is not None and not part.url.startswith("data:"):
        written["file_url"] = part.url
    else:
        written["filename"] = part.name or "document"
        written["file_data"] = part.url or data_url(part)
    return written


def _tool(tool: Tool) -> dict[str, Any]:
    written: dict[str, Any] = {"type": "function", "name": tool.name}
    if tool.description:
        written["description"] = tool.description
    written["parameters"] = dict(tool.parameters) or {"type": "object", "properties": {}}
    # Left out, it means true here: the provider then rewrites the schema, and what was optional in
    # it is demanded. Elsewhere it means false.
    written["strict"] = bool(tool.strict)
    return written


def _response_format(form: ResponseFormat) -> dict[str, Any]:
    if form.kind == "json_object":
        return {"type": "json_object"}
    written: dict[str, Any] = {
        "type": "json_schema",
        "name": form.name,
        "schema": dict(form.schema),
    }
    if form.strict is not None:
        written["strict"] = form.strict
    return written


def _ask_for_logprobs(body: dict[str, Any]) -> None:
    """Adds to what the caller wants included, in its own words, what the request asked for."""
    included = body.get("include")
    asked = list(included) if isinstance(included, (list, tuple)) else []
    if _LOGPROBS not in asked:
        body["include"] = [*asked, _LOGPROBS]
