"""The codec of Gemini generateContent, of AI Studio and of Vertex.

https://ai.google.dev/api/generate-content and
https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest. Where the two differ (paths,
ids of calls, names and addresses of files), the provider's protocol decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from cascadeflow.errors import InvalidRequestError
from cascadeflow.providers.gemini_decode import GeminiStreamDecoder, read_response
from cascadeflow.providers.gemini_media import encode_media
from cascadeflow.providers.gemini_parts import is_made_up
from cascadeflow.providers.protocols import EncodedRequest
from cascadeflow.providers.reading import ResponseReader
from cascadeflow.providers.shared import (
    WholeBodyDecoder,
    dump,
    is_event_stream,
    message_fields,
)
from cascadeflow.types import EMPTY, ContentPart, ImagePart, Message, TextPart

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cascadeflow.models.completion import Completion
    from cascadeflow.providers.protocols import StreamDecoder
    from cascadeflow.providers.registry import Provider
    from cascadeflow.types import ChatRequest, JsonObject, ResponseFormat, Tool, ToolCall

__all__ = ["GeminiCodec"]

_HEADERS: Final[Mapping[str, str]] = {"content-type": "application/json"}

_NO_SIGNATURE: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""`skip_thought_signature_validator`: for calls that another model made, which Gemini 3 and later
refuse without a signature. https://ai.google.dev/gemini-api/docs/thought-signatures"""

_OLDER: Final = re.compile(r"(?:gemini-[12]\b|gemma|learnlm)", re.IGNORECASE)
"""Models from before Gemini 3, which sign no calls and take no files in a call's result."""

_IN_RESULTS: Final = ("image/", "application/pdf", "text/plain")
"""What a result may hold beside its JSON; other files stand behind it."""

_PLAIN_NAME: Final = re.compile(
    r"[A-Za-z0-9_@-][A-Za-z0-9_.@-]*(?:/[A-Za-z0-9_@-][\w.@-]*)*", re.ASCII
)

_CAMEL: Final = re.compile(r"_([a-z0-9])")


class GeminiCodec(ResponseReader):
    """Writes requests and reads answers of one provider that speaks Gemini generateContent.

    Attributes:
        name: the provider's id.
    """

    __slots__ = ("_vertex",)

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider.id)
        self._vertex = provider.protocol == "vertex"

    def encode(self, request: ChatRequest) -> EncodedRequest:
        """Writes a request.

        System messages go into `systemInstruction`, wherever they stood. The protocol has no field
        for the end user, and it is left out.

        Raises:
            InvalidRequestError: the protocol has no words for a part of it.
        """
        body: dict[str, Any] = {}
        system = self._system(request)
        if system:
            body["systemInstruction"] = {"parts": system}
        body["contents"] = self._contents(request)
        config = _generation_config(request)
        if config:
            body["generationConfig"] = config
        if request.tools:
            body["tools"] = [{"functionDeclarations": [_tool(tool) for tool in request.tools]}]
        mode = _mode(request)
        if mode:
            body["toolConfig"] = {"functionCallingConfig": mode}
        if request.extra:
            _add_extra(body, request.extra)
        return EncodedRequest(self._path(request), _HEADERS, dump(body))

    def _whole(self, headers: Mapping[str, str], body: bytes) -> Completion:
        # A prompt that was blocked is an answer without text, whose finish reason is
        # `content_filter`: the provider answered 200, and may have billed the prompt.
        return read_response(self.name, headers, body)

    def decoder(self, headers: Mapping[str, str] = EMPTY) -> StreamDecoder:
        """Gives a decoder for one streamed response, or for a whole one that came instead."""
        if not is_event_stream(headers):
            return WholeBodyDecoder(lambda body: self._whole(headers, body))
        return self._stream(headers)  # which reads a list of pieces, and one alone, too

    def _stream(self, headers: Mapping[str, str]) -> StreamDecoder:
        return GeminiStreamDecoder(self.name, headers)

    def assistant_message(self, completion: Completion) -> Message:
        """Gives an answer as the message that goes back to this provider in the next request.

        Signed parts and what server-side tools did must go back unchanged; they are in the
        message's `extras`, marked as this provider's, so that no other is sent them.
        """
        parts = None
        candidates = completion.extras.get("candidates")
        content = candidates[0].get("content") if candidates else None
        if isinstance(content, dict) and isinstance(content.get("parts"), list):
            parts = [part for part in content["parts"] if isinstance(part, dict)]
        return Message(
            "assistant",
            completion.text,
            tool_calls=completion.tool_calls,
            extras={f"provider:{self.name}": {"parts": parts}} if parts else EMPTY,
        )

    def _path(self, request: ChatRequest) -> str:
        model = request.model.removeprefix("models/")
        if model.startswith("projects/"):
            raise InvalidRequestError(
                f"{request.model!r} names a project, which stands in the address: set "
                "GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION, or ModelConfig.base_url, and "
                "leave the name from 'publishers/' or 'endpoints/' on"
            )
        if not _PLAIN_NAME.fullmatch(model):
            if not all(step.strip(".") for step in model.split("/")):
                raise InvalidRequestError(f"{model!r} cannot be a model's name in an address")
            model = quote(model, safe="/@", errors="surrogatepass")
        if "/" in model:
            where = f"/{model}" if self._vertex else f"/v1beta/{model}"
        else:
            root = "/publishers/google" if self._vertex else "/v1beta"
            where = f"{root}/models/{model}"
        verb = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        return f"{where}:{verb}"

    def _system(self, request: ChatRequest) -> list[Any]:
        parts: list[Any] = []
        for message in request.messages:
            if message.role in ("system", "developer"):
                fields = message_fields(message, self.name) if message.extras else {}
                parts.extend(_own_parts(fields) or _write(_parts(message), vertex=self._vertex))
        return parts

    def _contents(self, request: ChatRequest) -> list[dict[str, Any]]:
        """Writes the conversation.

        All results of a turn's calls stand together, in the order of the calls: that is how those
        without ids are told apart.
        """
        conversation = _Conversation(self._vertex, not _OLDER.search(request.model))
        for message in request.messages:
            if message.role in ("system", "developer"):
                continue
            fields = message_fields(message, self.name) if message.extras else {}
            own = _own_parts(fields)
            if message.role == "assistant":
                conversation.add_answer(message, own, fields)
            elif message.role == "tool":
                conversation.add_result(message, own)
            else:
                parts = own or _write(_parts(message), vertex=self._vertex)
                # One who says nothing still has a turn: the system message alone may be the task.
                conversation.add("user", parts or [{"text": ""}], fields)
        written = conversation.finished()
        if not written:
            raise InvalidRequestError(
                f"{self.name} needs a message that is not a system message: add the user's"
            )
        return written


class _Conversation:
    """The contents of a request, as far as they are written."""

    __slots__ = ("_calls", "_contents", "_newer", "_results", "_vertex")

    def __init__(self, vertex: bool, newer: bool) -> None:  # noqa: FBT001
        self._vertex = vertex
        self._newer = newer
        self._contents: list[dict[str, Any]] = []
        self._calls: dict[str, tuple[int, str]] = {}
        """Of each call by its id: where it stood, and the function's name."""
        self._results: list[tuple[int, list[dict[str, Any]]]] = []

    def add(self, role: str, parts: Sequence[Any], fields: Mapping[str, Any] = EMPTY) -> None:
        """Adds a content; one without parts is refused, so it is left out."""
        self._flush()
        if parts:
            self._contents.append({"role": role, "parts": list(parts), **fields})

    def add_answer(self, message: Message, own: list[Any], fields: Mapping[str, Any]) -> None:
        parts = own
        if not parts:
            parts = _write(_parts(message), vertex=self._vertex)
            parts.extend(self._call(call) for call in message.tool_calls)
        if self._newer:
            for position, part in enumerate(parts):
                if "functionCall" in part or "function_call" in part:
                    if not part.keys() & {"thoughtSignature", "thought_signature"}:
                        parts[position] = {**part, "thoughtSignature": _NO_SIGNATURE}
                    break
        self._calls.update(
            (call.id, (position, call.name)) for position, call in enumerate(message.tool_calls)
        )
        self.add("model", parts, fields)

    def add_result(self, message: Message, own: list[Any]) -> None:
        call_id = message.tool_call_id or ""
        position, name = self._calls.get(call_id, (len(self._results), message.name))
        if not name:
            raise InvalidRequestError(
                f"Gemini wants a tool's result by the function's name, and no message before it "
                f"has a call with the id {call_id!r}: add the assistant's message with the call, "
                "or set the tool message's name"
            )
        self._results.append((position, own or self._result(message, call_id, name)))

    def finished(self) -> list[dict[str, Any]]:
        self._flush()
        return self._contents

    def _flush(self) -> None:
        if self._results:
            self._results.sort(key=lambda result: result[0])
            parts = [part for _, result in self._results for part in result]
            self._results.clear()
            # What is no result stands behind them all: they must follow their calls unbroken.
            parts.sort(key=lambda part: "functionResponse" not in part)
            self._contents.append({"role": "user", "parts": parts})

    def _call(self, call: ToolCall) -> dict[str, Any]:
        written: dict[str, Any] = {"name": call.name, "args": _arguments(call.arguments)}
        if self._sends_id(call.id):
            written["id"] = call.id
        return {"functionCall": written}

    def _sends_id(self, call_id: str) -> bool:
        """Vertex's stable version knows no ids of calls; ours no provider knows."""
        return not self._vertex and bool(call_id) and not is_made_up(call_id)

    def _result(self, message: Message, call_id: str, name: str) -> list[dict[str, Any]]:
        response: dict[str, Any] = {"name": name, "response": _response(message.text)}
        if self._sends_id(call_id):
            response["id"] = call_id
        behind = []
        for part in _parts(message):
            if isinstance(part, TextPart):
                continue
            media = encode_media(part, vertex=self._vertex)
            kind = next(iter(media.values())).get("mimeType", "")
            if self._newer and kind.startswith(_IN_RESULTS):
                response.setdefault("parts", []).append(media)
            else:
                behind.append(media)
        return [{"functionResponse": response}, *behind]


def _own_parts(fields: dict[str, Any]) -> list[Any]:
    """Takes a message's parts in the protocol's own words, which its `extras` may hold."""
    parts = fields.pop("parts", None) or []
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, dict) for part in parts):
        raise InvalidRequestError("'parts' in a message's extras is a list of Gemini's parts")
    return list(parts)


def _write(parts: Iterable[ContentPart], *, vertex: bool) -> list[dict[str, Any]]:
    return [
        {"text": part.text} if isinstance(part, TextPart) else encode_media(part, vertex=vertex)
        for part in parts
    ]


def _parts(message: Message) -> tuple[ContentPart, ...]:
    """Empty text says nothing, and Vertex refuses it."""
    if isinstance(message.content, str):
        return (TextPart(message.content),) if message.content else ()
    return tuple(part for part in message.content if not isinstance(part, TextPart) or part.text)


def _arguments(text: str) -> Any:
    """Arguments are an object here. What is none (the model broke its JSON) goes as text."""
    parsed = _json_object(text or "{}")
    return {"INVALID_JSON": text} if parsed is None else parsed


def _response(text: str) -> dict[str, Any]:
    """A result is an object here: JSON that is one as it stands, all else as `output`."""
    parsed = _json_object(text) if text.lstrip().startswith("{") else None
    return {"output": text} if parsed is None else parsed


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _generation_config(request: ChatRequest) -> dict[str, Any]:
    config: dict[str, Any] = {
        name: value
        for name, value in (
            ("maxOutputTokens", request.max_tokens),
            ("temperature", request.temperature),
            ("topP", request.top_p),
            ("seed", request.seed),
        )
        if value is not None
    }
    if request.stop:
        config["stopSequences"] = list(request.stop)
    if request.response_format is not None:
        config.update(_response_format(request.response_format))
    if request.logprobs is not None:
        config["responseLogprobs"] = True
        if request.logprobs:
            config["logprobs"] = request.logprobs
    resolution = _resolution(request.messages)
    if resolution is not None:
        config["mediaResolution"] = resolution
    return config


def _response_format(form: ResponseFormat) -> dict[str, Any]:
    config: dict[str, Any] = {"responseMimeType": "application/json"}
    if form.kind == "json_schema":
        # `responseSchema` would be OpenAPI's subset, in which plain JSON schemas are errors.
        config["responseJsonSchema"] = dict(form.schema)
    return config


def _resolution(messages: Iterable[Message]) -> str | None:
    """One resolution holds for all images: the highest asked for, and low only where all ask it."""
    asked = {
        part.detail
        for message in messages
        if not isinstance(message.content, str)
        for part in message.content
        if isinstance(part, ImagePart)
    }
    if "high" in asked:
        return "MEDIA_RESOLUTION_HIGH"
    return "MEDIA_RESOLUTION_LOW" if asked == {"low"} else None


def _tool(tool: Tool) -> dict[str, Any]:
    written: dict[str, Any] = {"name": tool.name}
    if tool.description:
        written["description"] = tool.description
    if tool.parameters:
        # `parameters` would be OpenAPI's subset, in which plain JSON schemas are errors.
        written["parametersJsonSchema"] = dict(tool.parameters)
    return written


def _mode(request: ChatRequest) -> dict[str, Any]:
    """Says how functions may be called; `VALIDATED` holds the arguments to the schema."""
    choice = request.tool_choice
    if choice in (None, "auto"):
        if any(tool.strict for tool in request.tools):
            return {"mode": "VALIDATED"}
        return {} if choice is None else {"mode": "AUTO"}
    if choice in ("none", "required"):
        return {"mode": "NONE" if choice == "none" else "ANY"}
    return {"mode": "ANY", "allowedFunctionNames": [choice]}


def _add_extra(body: dict[str, Any], extra: JsonObject) -> None:
    """Adds the caller's further fields: they win, and their settings and tools join ours.

    The API takes each name in two spellings. They are written in one, so that no field is there
    twice.
    """
    for name, value in extra.items():
        field = _camel(name)
        if field == "tools" and isinstance(value, (list, tuple)):
            body[field] = [*body.get(field, ()), *value]
        elif field == "generationConfig" and isinstance(value, Mapping):
            config = body[field] = _joined(body.get(field), value)
            if "responseSchema" in config:
                config.pop("responseJsonSchema", None)  # the API takes one of them
        elif field == "toolConfig" and isinstance(value, Mapping):
            ours = body.get(field, {}).get("functionCallingConfig")
            config = body[field] = _joined(None, value)
            theirs = config.get("functionCallingConfig", {})
            if isinstance(theirs, Mapping) and (ours or theirs):
                config["functionCallingConfig"] = _joined(ours, theirs)
        else:
            body[field] = value


def _joined(ours: Mapping[str, Any] | None, theirs: Mapping[str, Any]) -> dict[str, Any]:
    return {**(ours or {}), **{_camel(name): value for name, value in theirs.items()}}


def _camel(name: str) -> str:
    return _CAMEL.sub(lambda found: found[1].upper(), name)
