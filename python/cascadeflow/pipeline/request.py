"""The first station: what a caller wrote becomes one frozen record, or a precise error.

Everything behind this module sees only `Request` and the records of `cascadeflow.types`. What is
mutable in the caller's hands (schemas, extra fields) is copied here, so that changing it afterwards
changes nothing that was decided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cascadeflow.errors import InvalidRequestError
from cascadeflow.pipeline.messages import frozen_json, read_message
from cascadeflow.types import (
    EMPTY,
    ChatRequest,
    ImagePart,
    JsonObject,
    Message,
    ResponseFormat,
    Tool,
    ToolChoice,
)

if TYPE_CHECKING:
    from cascadeflow.models.config import ModelConfig

__all__ = ["Request", "normalise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked, before it is known which model will be asked.

    The fields mean what they mean in `cascadeflow.types.ChatRequest`; `None` says nothing to the
    provider.
    """

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    response_format: ResponseFormat | None = None
    extra: JsonObject = EMPTY

    @property
    def has_images(self) -> bool:
        """Whether any message shows an image."""
        for message in self.messages:
            if not isinstance(message.content, str) and any(
                isinstance(part, ImagePart) for part in message.content
            ):
                return True
        return False

    def for_model(self, model: ModelConfig, *, max_tokens: int | None) -> ChatRequest:
        """Gives what is asked of one model, its settings filled in where the caller said nothing.

        Args:
            model: the model; its system prompt and temperature give way to the call's. Its extra
                fields are the completer's to send.
            max_tokens: the output limit to send, as `output_limit` gave it.
        """
        messages = self.messages
        if model.system_prompt and not _has_system(messages):
            messages = (Message("system", model.system_prompt), *messages)
        return ChatRequest(
            model=model.name,
            messages=messages,
            max_tokens=max_tokens,
            temperature=model.temperature if self.temperature is None else self.temperature,
            top_p=self.top_p,
            stop=self.stop,
            seed=self.seed,
            tools=self.tools,
            tool_choice=self.tool_choice,
            response_format=self.response_format,
            extra=self.extra,
        )


def normalise(
    query: str | None = None,
    *,
    messages: Iterable[Message | JsonObject] | None = None,
    system_prompt: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    stop: str | Sequence[str] | None = None,
    seed: int | None = None,
    tools: Sequence[Tool | JsonObject] | None = None,
    tool_choice: ToolChoice | JsonObject | None = None,
    response_format: ResponseFormat | JsonObject | None = None,
    extra: JsonObject | None = None,
) -> Request:
    """Reads a caller's arguments.

    Raises:
        InvalidRequestError: what is wrong, at which argument, and what would be right.

    >>> normalise("What is 2 + 2?").messages[0].role
    'user'
    """
    conversation = _conversation(query, messages, system_prompt)
    declared = _tools(tools)
    return Request(
        messages=conversation,
        max_tokens=_whole("max_tokens", max_tokens, least=1),
        temperature=_number("temperature", temperature, most=2.0),
        top_p=_number("top_p", top_p, most=1.0),
        stop=_stop(stop),
        seed=_whole("seed", seed),
        tools=declared,
        tool_choice=_tool_choice(tool_choice, declared),
        response_format=_response_format(response_format),
        extra=_extra(extra),
    )


def _conversation(
    query: Any,
    messages: Any,
    system_prompt: Any,
) -> tuple[Message, ...]:
    if (query is None) == (messages is None):
        raise InvalidRequestError(
            "a request needs either query= (a text) or messages= (a conversation)"
            + (", not both" if query is not None else "")
        )
    if query is not None:
        if not isinstance(query, str):
            raise InvalidRequestError(
                f"query must be text, not {type(query).__name__}; a conversation goes to messages="
            )
        if not query.strip():
            raise InvalidRequestError("query is empty: there is nothing to ask")
        conversation: tuple[Message, ...] = (Message("user", query),)
    else:
        conversation = _read_messages(messages)
    if system_prompt is not None:
        if not isinstance(system_prompt, str) or not system_prompt.strip():
            raise InvalidRequestError("system_prompt must be text that is not empty, or None")
        if _has_system(conversation):
            raise InvalidRequestError(
                "system_prompt= was given and messages= has a system message too: state it once"
            )
        conversation = (Message("system", system_prompt), *conversation)
    for index, message in enumerate(conversation):
        _check_encodable(message, index)
    return conversation


def _read_messages(messages: Any) -> tuple[Message, ...]:
    if isinstance(messages, (str, Mapping, Message)) or not isinstance(messages, Iterable):
        raise InvalidRequestError(
            f"messages must be a sequence of messages, not {type(messages).__name__}"
        )
    conversation = tuple(
        message if isinstance(message, Message) else read_message(message, index)
        for index, message in enumerate(messages)
    )
    if not conversation:
        raise InvalidRequestError("messages is empty: there is nothing to ask")
    return conversation


def _has_system(messages: tuple[Message, ...]) -> bool:
    return any(message.role in {"system", "developer"} for message in messages)


def _check_encodable(message: Message, index: int) -> None:
    """Half a surrogate pair cannot be written as UTF-8, which every protocol asks for."""
    text = message.content if isinstance(message.content, str) else message.text
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"messages[{index}] holds half a surrogate pair at character {error.start}: "
            "it cannot be sent as UTF-8; was a text cut in the middle of a character?"
        ) from None


def _whole(name: str, value: Any, *, least: int | None = None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequestError(f"{name} must be a whole number, not {value!r}")
    if least is not None and value < least:
        raise InvalidRequestError(f"{name} must be at least {least}, not {value}")
    return value


def _number(name: str, value: Any, *, most: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidRequestError(f"{name} must be a number, not {value!r}")
    if not 0 <= value <= most:
        raise InvalidRequestError(f"{name} must lie in 0..{most:g}, not {value}")
    return value


def _stop(stop: Any) -> tuple[str, ...]:
    if stop is None:
        return ()
    if isinstance(stop, str):
        stop = (stop,)
    if not isinstance(stop, Sequence) or not all(isinstance(s, str) and s for s in stop):
        raise InvalidRequestError("stop must be a text that is not empty, or a sequence of such")
    return tuple(stop)


def _tools(tools: Any) -> tuple[Tool, ...]:
    if tools is None:
        return ()
    if isinstance(tools, (str, Mapping, Tool)) or not isinstance(tools, Iterable):
        raise InvalidRequestError(f"tools must be a list of tools, not {type(tools).__name__}")
    return tuple(_tool(tool, index) for index, tool in enumerate(tools))


def _tool(tool: Any, index: int) -> Tool:
    where = f"tools[{index}]"
    name: Any
    description: Any
    parameters: Any
    strict: Any
    if isinstance(tool, Tool):
        name, description = tool.name, tool.description
        parameters, strict = tool.parameters, tool.strict
    elif isinstance(tool, Mapping):
        body = tool
        if "function" in tool:
            if tool.get("type", "function") != "function" or not isinstance(
                tool["function"], Mapping
            ):
                raise InvalidRequestError(f"{where} is not a function: {tool.get('type')!r}")
            body = tool["function"]
        unknown = set(body) - {"name", "description", "parameters", "strict", "type"}
        if unknown:
            raise InvalidRequestError(
                f"{where} has fields no tool has: {', '.join(sorted(map(str, unknown)))}"
            )
        name, description = body.get("name"), body.get("description") or ""
        parameters, strict = body.get("parameters") or EMPTY, body.get("strict")
    else:
        raise InvalidRequestError(
            f"{where} must be a Tool or a dict in the OpenAI form, not {type(tool).__name__}"
        )
    if not isinstance(name, str) or not name:
        raise InvalidRequestError(f"{where} needs a name")
    if not isinstance(description, str):
        raise InvalidRequestError(f"{where}.description must be text")
    if not isinstance(parameters, Mapping):
        raise InvalidRequestError(f"{where}.parameters must be a JSON schema (a dict)")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequestError(f"{where}.strict must be True, False or None")
    return Tool(name, description, frozen_json(parameters, f"{where}.parameters"), strict)


def _tool_choice(choice: Any, tools: tuple[Tool, ...]) -> str | None:
    if choice is None:
        return None
    if isinstance(choice, Mapping):  # OpenAI's {"type": "function", "function": {"name": …}}
        function = choice.get("function")
        choice = function.get("name") if isinstance(function, Mapping) else None
    if not tools:
        raise InvalidRequestError("tool_choice= needs tools=")
    names = [tool.name for tool in tools]
    if choice not in ["auto", "none", "required", *names]:
        raise InvalidRequestError(
            f"tool_choice must be auto, none, required or one of {', '.join(names)}; not {choice!r}"
        )
    return str(choice)


def _response_format(form: Any) -> ResponseFormat | None:
    kind: Any
    schema: Any
    name: Any
    if form is None:
        return None
    if isinstance(form, ResponseFormat):
        kind, schema, name, strict = form.kind, form.schema, form.name, form.strict
    elif isinstance(form, Mapping):
        kind = form.get("type")
        if kind == "text":
            return None
        body = form.get("json_schema") or EMPTY
        if not isinstance(body, Mapping):
            raise InvalidRequestError("response_format.json_schema must be a dict with a schema")
        schema, name, strict = (
            body.get("schema", EMPTY),
            body.get("name", "answer"),
            body.get("strict"),
        )
    else:
        raise InvalidRequestError(
            "response_format must be a ResponseFormat or a dict such as {'type': 'json_object'}, "
            f"not {type(form).__name__}"
        )
    if kind not in ("json_object", "json_schema"):
        raise InvalidRequestError(
            f"response_format must be json_object, json_schema or text, not {kind!r}"
        )
    if kind == "json_schema" and not (isinstance(schema, Mapping) and schema):
        raise InvalidRequestError("response_format json_schema needs a schema")
    if not isinstance(name, str) or not isinstance(strict, bool | None):
        raise InvalidRequestError("response_format needs a name that is text, and strict a bool")
    return ResponseFormat(kind, frozen_json(schema, "response_format.schema"), name, strict)


def _extra(extra: Any) -> JsonObject:
    if not extra:
        return EMPTY
    if not isinstance(extra, Mapping):
        raise InvalidRequestError(
            f"extra must be a dict of further body fields, not {type(extra).__name__}"
        )
    ours = {"model", "messages", "stream"} & set(extra)
    if ours:
        raise InvalidRequestError(
            f"extra may not set {', '.join(sorted(ours))}: the cascade decides these"
        )
    return frozen_json(extra, "extra")
