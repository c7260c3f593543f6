"""Reads messages in the OpenAI form, and copies the JSON that callers hand in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from cascadeflow.errors import InvalidRequestError
from cascadeflow.types import (
    EMPTY,
    ContentPart,
    DocumentPart,
    ImagePart,
    JsonObject,
    Message,
    Role,
    TextPart,
    ToolCall,
)

__all__ = ["frozen_json", "read_message"]

_ROLES = get_args(Role)  # not a set: what a caller wrote may be unhashable
_KNOWN = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})
_DEPTH = 64
"""Deeper JSON than any schema needs; deeper still would end in a RecursionError elsewhere."""


def read_message(message: Any, index: int) -> Message:
    """Reads one message: a dict in the OpenAI form.

    Fields of an assistant's message that this package does not know (a reasoning text, a signature)
    are kept as `extras`, for the provider that wants them back.

    Raises:
        InvalidRequestError: what is wrong with `messages[index]`.
    """
    where = f"messages[{index}]"
    if not isinstance(message, Mapping):
        raise InvalidRequestError(
            f"{where} must be a Message or a dict with role and content, "
            f"not {type(message).__name__}"
        )
    role: Any = message.get("role")
    if role not in _ROLES:
        raise InvalidRequestError(
            f"{where}.role must be one of {', '.join(sorted(_ROLES))}; not {role!r}"
        )
    extras = {
        str(key): value for key, value in message.items() if key not in _KNOWN and not _void(value)
    }
    if extras and role != "assistant":
        raise InvalidRequestError(f"{where} has fields no {role} message has: {', '.join(extras)}")
    calls = _tool_calls(message.get("tool_calls"), where, role)
    call_id = message.get("tool_call_id")
    if (role == "tool") != isinstance(call_id, str):
        raise InvalidRequestError(
            f"{where}: a tool message names its call in tool_call_id, and no other message does"
        )
    name = message.get("name")
    if name is not None and not isinstance(name, str):
        raise InvalidRequestError(f"{where}.name must be text")
    content = message.get("content")
    if content is None and role != "assistant":
        raise InvalidRequestError(f"{where} has no content")
    return Message(
        role,
        _content(content, where),
        tool_calls=calls,
        tool_call_id=call_id,
        name=name,
        extras=frozen_json(extras, where) if extras else EMPTY,
    )


def _void(value: Any) -> bool:
    """What an SDK's dump writes for "nothing": it means nothing, so nothing is lost."""
    return value is None or (isinstance(value, (str, Sequence, Mapping)) and not value)


def _content(content: Any, where: str) -> str | tuple[ContentPart, ...]:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        raise InvalidRequestError(
            f"{where}.content must be text or a list of parts, not {type(content).__name__}"
        )
    return tuple(_part(part, f"{where}.content[{index}]") for index, part in enumerate(content))


def _part(part: Any, where: str) -> ContentPart:
    if isinstance(part, (TextPart, ImagePart, DocumentPart)):
        return part
    if isinstance(part, str):
        return TextPart(part)
    if not isinstance(part, Mapping):
        raise InvalidRequestError(f"{where} must be a part, not {type(part).__name__}")
    kind = part.get("type")
    if kind == "text":
        _only(part, {"type", "text"}, where)
        if not isinstance(part.get("text"), str):
            raise InvalidRequestError(f"{where}.text must be text")
        return TextPart(part["text"])
    if kind == "image_url":
        _only(part, {"type", "image_url"}, where)
        return _image(part.get("image_url"), f"{where}.image_url")
    if kind == "file":
        _only(part, {"type", "file"}, where)
        return _document(part.get("file"), f"{where}.file")
    raise InvalidRequestError(f"{where}.type must be text, image_url or file; not {kind!r}")


def _image(image: Any, where: str) -> ImagePart:
    if isinstance(image, str):
        image = {"url": image}
    if not isinstance(image, Mapping) or not isinstance(image.get("url"), str) or not image["url"]:
        raise InvalidRequestError(f"{where} needs a url (an address or a data: URL)")
    _only(image, {"url", "detail"}, where)
    detail = image.get("detail")
    if detail not in (None, "auto", "low", "high"):
        raise InvalidRequestError(f"{where}.detail must be auto, low or high; not {detail!r}")
    data = _data_url(image["url"], where)
    if data is None:
        return ImagePart(url=image["url"], detail=detail)
    return ImagePart(media_type=data[0], data=data[1], detail=detail)


def _document(file: Any, where: str) -> DocumentPart:
    if not isinstance(file, Mapping):
        raise InvalidRequestError(f"{where} must be a dict with file_id or file_data")
    _only(file, {"file_id", "file_data", "filename"}, where)
    name, file_id = file.get("filename"), file.get("file_id")
    data: Any = file.get("file_data")
    if (file_id is None) == (data is None) or not isinstance(file_id or data, str):
        raise InvalidRequestError(f"{where} needs either file_id or file_data")
    if file_id is not None:
        return DocumentPart(file_id=file_id, name=name)
    decoded = _data_url(data, where)
    if decoded is None:
        raise InvalidRequestError(f"{where}.file_data must be a data: URL with base64 content")
    return DocumentPart(media_type=decoded[0], data=decoded[1], name=name)


def _data_url(url: str, where: str) -> tuple[str, str] | None:
    """Gives media type and base64 text of a `data:` URL, `None` for any other address."""
    if not url.startswith("data:"):
        return None
    head, comma, data = url[5:].partition(",")
    media_type, _, encoding = head.partition(";")
    if not comma or not data or not media_type or encoding.rpartition(";")[2] != "base64":
        raise InvalidRequestError(
            f"{where}: a data: URL reads data:<media type>;base64,<data>, and this one does not"
        )
    return media_type, data


def _tool_calls(calls: Any, where: str, role: str) -> tuple[ToolCall, ...]:
    if _void(calls):
        return ()
    if role != "assistant":
        raise InvalidRequestError(f"{where}: only an assistant's message has tool_calls")
    if isinstance(calls, (str, Mapping)) or not isinstance(calls, Sequence):
        raise InvalidRequestError(f"{where}.tool_calls must be a list")
    return tuple(
        call if isinstance(call, ToolCall) else _tool_call(call, f"{where}.tool_calls[{index}]")
        for index, call in enumerate(calls)
    )


def _tool_call(call: Any, where: str) -> ToolCall:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or call.get("type", "function") != "function":
        raise InvalidRequestError(f"{where} must be a function call with id and function")
    call_id, name, arguments = call.get("id"), function.get("name"), function.get("arguments", "")
    if isinstance(arguments, Mapping):
        arguments = json.dumps(frozen_json(arguments, f"{where}.function.arguments"))
    if not isinstance(call_id, str) or not isinstance(name, str) or not isinstance(arguments, str):
        raise InvalidRequestError(f"{where} needs an id, a name and arguments (JSON text)")
    return ToolCall(call_id, name, arguments)


def _only(mapping: JsonObject, known: set[str], where: str) -> None:
    unknown = set(mapping) - known
    if unknown:
        raise InvalidRequestError(
            f"{where} has fields that would be lost: {', '.join(sorted(map(str, unknown)))}"
        )


def frozen_json(value: JsonObject, where: str) -> dict[str, Any]:
    """Copies a JSON object, so that the caller's later changes to it change nothing here.

    Raises:
        InvalidRequestError: something in it is not JSON.
    """
    copied = _copy(value, where, _DEPTH)
    if not isinstance(copied, dict):  # the caller checked; this tells mypy so
        raise InvalidRequestError(f"{where} must be a JSON object")
    return copied


def _copy(value: Any, where: str, depth: int) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise InvalidRequestError(f"{where} holds {value}, which is not JSON")
    if depth == 0:
        raise InvalidRequestError(f"{where} is nested more than {_DEPTH} levels deep")
    if isinstance(value, Mapping):
        copied = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidRequestError(f"{where} has the key {key!r}, which is not text")
            copied[key] = _copy(item, where, depth - 1)
        return copied
    if isinstance(value, (list, tuple)):
        return [_copy(item, where, depth - 1) for item in value]
    raise InvalidRequestError(f"{where} holds a {type(value).__name__}, which is not JSON")
