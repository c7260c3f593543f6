"""One choice of a chat completion, whole or as far as a stream has brought it.

Its state takes a whole message and a stream's deltas alike, so the two readings cannot drift apart.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models.completion import (
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
)
from cascadeflow.types import ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.models.completion import StreamEvent

__all__ = ["Choice", "keep", "read_logprobs"]

_CHOICE: Final = frozenset({"delta", "finish_reason", "logprobs", "message"})

_MESSAGE: Final = frozenset(
    {
        "content",
        "function_call",
        "reasoning",
        "reasoning_content",
        "refusal",
        "tool_calls",
    }
)


class _Call:
    """A tool call, as far as it has been read."""

    __slots__ = ("arguments", "id", "name", "rest")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.rest: dict[str, Any] = {}

    def finished(self) -> ToolCall:
        return ToolCall(self.id, self.name, "".join(self.arguments))

    def is_whole(self) -> bool:
        """Whether it has a name, and arguments that nothing can follow."""
        try:
            return bool(self.name) and isinstance(json.loads("".join(self.arguments)), dict)
        except (ValueError, RecursionError):
            return False


class Choice:
    """One choice, as far as it has been read; `events` collects what is new, on a stream."""

    __slots__ = (
        "_by_index",
        "calls",
        "events",
        "finish",
        "index",
        "logprobs",
        "message",
        "other_calls",
        "reasoning",
        "refusal",
        "rest",
        "text",
    )

    def __init__(self, index: int, events: list[StreamEvent] | None = None) -> None:
        self.index = index
        self.events = events
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: list[_Call] = []
        self.other_calls: list[Any] = []
        """Calls of kinds that no caller could answer, as they came."""
        self._by_index: dict[Any, int] = {}
        self.finish: str | None = None
        self.logprobs: dict[str, Any] = {}
        self.rest: dict[str, Any] = {}
        self.message: dict[str, Any] = {}

    def add(self, choice: Mapping[str, Any]) -> None:
        """Takes a choice: its whole message, or a delta."""
        message = choice.get("message")
        if message is None:
            message = choice.get("delta")
        if isinstance(message, dict):
            self._add_message(message)
        finish = choice.get("finish_reason")
        if finish is not None:
            self.finish = str(finish)
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            _merge(self.logprobs, logprobs)
        rest = self.rest
        for name, value in choice.items():
            if name not in _CHOICE and value is not None and rest.get(name) != value:
                keep(rest, name, value)

    def _add_message(self, message: Mapping[str, Any]) -> None:
        content = message.get("content")
        if content:
            self._add_content(content)
            if len(message) == 1:
                return  # as nearly every delta of a stream
        first, second = message.get("reasoning_content"), message.get("reasoning")
        if first or second:
            self._add_reasoning(first, second)
        refusal = message.get("refusal")
        if refusal:
            self._add_refusal(refusal)
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            for position, call in enumerate(calls):
                if isinstance(call, dict):
                    self._add_call(call, position)
                elif call is not None:
                    self.other_calls.append(call)
        function = message.get("function_call")
        if isinstance(function, dict) and (function.get("name") or function.get("arguments")):
            self._add_call({"index": "function_call", "function": function}, 0)
        for name, value in message.items():
            if (
                name not in _MESSAGE
                and value is not None
                and (name, value) != ("role", "assistant")
            ):
                _merge(self.message, {name: value})

    def _add_text(self, text: str) -> None:
        if text:
            self.text.append(text)
            if self.events is not None:
                self.events.append(TextDelta(text))

    def _add_thought(self, text: str) -> None:
        if text:
            self.reasoning.append(text)
            if self.events is not None:
                self.events.append(ReasoningDelta(text))

    def _add_content(self, content: Any) -> None:
        kept = self.message.get("content") if self.message else None
        if isinstance(content, str):
            self._add_text(content)
            if isinstance(kept, list):
                _append_text(kept, content)
            return
        if not isinstance(content, list):
            _merge(self.message, {"content": [content]})
            return
        # Mistral writes parts: text, thinking, references. All but plain text is kept as it came
        # too, with the text around it, for the provider wants it back unchanged. On a stream it
        # writes parts and plain text by turns.
        said = "".join(self.text)
        plain = True
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "text" and isinstance(part.get("text"), str):
                self._add_text(part["text"])
                plain = plain and part.keys() <= {"type", "text"}
            elif kind == "thinking":
                plain = False
                thoughts = part.get("thinking")
                for thought in thoughts if isinstance(thoughts, list) else [thoughts]:
                    text = thought.get("text") if isinstance(thought, dict) else thought
                    if isinstance(text, str):
                        self._add_thought(text)
            else:
                plain = False
        if not plain or isinstance(kept, list):
            if kept is None and said:
                self.message["content"] = [{"type": "text", "text": said}]
            _merge(self.message, {"content": content})

    def _add_reasoning(self, first: Any, second: Any) -> None:
        """`reasoning_content` and `reasoning` are two names for one thing; some send both."""
        text = first if isinstance(first, str) and first else second
        if isinstance(text, str):
            self._add_thought(text)
        for name, value in (("reasoning_content", first), ("reasoning", second)):
            if value and value != text:
                _merge(self.message, {name: value})

    def _add_refusal(self, refusal: Any) -> None:
        if isinstance(refusal, str):
            self.refusal.append(refusal)
            if self.events is not None:
                self.events.append(RefusalDelta(refusal))
        else:
            _merge(self.message, {"refusal": refusal})

    def _add_call(self, raw: Mapping[str, Any], position: int) -> None:
        function = _function_of(raw)
        if function is None:
            self.other_calls.append(raw)
            return
        name, call_id = function.get("name"), raw.get("id")
        key = raw.get("index")
        if not isinstance(key, (int, str)):
            key = (position, "unnumbered")
        place = self._place(key, call_id, name)
        call = self.calls[place]
        new_id = call_id if isinstance(call_id, str) and not call.id else ""
        new_name = name if isinstance(name, str) and not call.name else ""
        call.id, call.name = call.id or new_id, call.name or new_name
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
        if arguments:
            call.arguments.append(arguments)
        if self.events is not None:
            self.events.append(
                ToolCallDelta(place, new_id or None, new_name or None, arguments or "")
            )
        _keep_rest(call, raw, function)

    def _place(self, key: Any, call_id: Any, name: Any) -> int:
        """Finds the call that a piece belongs to, or begins a new one.

        Some servers give every call the index 0, or none: a new id beside a name begins a new call.
        Where calls have neither number nor id, a name begins one once the last one's arguments are
        whole.
        """
        place = self._by_index.get(key)
        if place is not None:
            call = self.calls[place]
            begins = bool(call_id and name and call.id and call_id != call.id)
            if not call_id and name and isinstance(key, tuple):
                begins = call.is_whole()
            if not begins:
                return place
        self.calls.append(_Call())
        self._by_index[key] = len(self.calls) - 1
        return len(self.calls) - 1

    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that it asks for."""
        return tuple(call.finished() for call in self.calls)

    def leftover(self) -> dict[str, Any]:
        """What no field of a Completion holds, at the paths the provider used."""
        rest = dict(self.rest)
        if rest.get("index") == 0:
            del rest["index"]
        message = dict(self.message)
        calls = [call.rest for call in self.calls]
        if any(calls) or self.other_calls:
            message["tool_calls"] = [*calls, *self.other_calls]
        if message:
            rest["message"] = message
        if any(value is not None for value in self.logprobs.values()):
            rest["logprobs"] = self.logprobs
        return rest

    def as_raw(self) -> dict[str, Any]:
        """The whole choice in the provider's words: for all but the first, which has the fields."""
        message: dict[str, Any] = {
            "content": "".join(self.text),
            "reasoning_content": "".join(self.reasoning),
            "refusal": "".join(self.refusal),
            **self.message,
        }
        message = {name: value for name, value in message.items() if value}
        if self.calls or self.other_calls:
            calls = [
                {
                    "id": call.id,
                    "function": {"name": call.name, "arguments": "".join(call.arguments)},
                    **call.rest,
                }
                for call in self.calls
            ]
            message["tool_calls"] = [*calls, *self.other_calls]
        rest = self.leftover()
        return {**rest, "index": self.index, "finish_reason": self.finish, "message": message}


def _function_of(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Gives what is called and with what, or `None` for a call that no caller could answer."""
    function, custom = raw.get("function"), raw.get("custom")
    if isinstance(function, dict):
        return function
    if isinstance(custom, dict):
        return {"name": custom.get("name"), "arguments": custom.get("input")}
    if raw.get("type") in (None, "function") and isinstance(raw.get("id"), str):
        return {}  # its name comes with the next piece
    return None


def _keep_rest(call: _Call, raw: Mapping[str, Any], function: Mapping[str, Any]) -> None:
    """Keeps what else is said of a call."""
    for field, value in raw.items():
        if field in ("index", "function") or (field, value) == ("type", "function"):
            continue
        if value is not None and not (field == "id" and isinstance(value, str)):
            call.rest[field] = value
    for field, value in function.items():
        if field == "arguments" or (field == "name" and isinstance(value, str)):
            continue
        if value is not None:
            call.rest.setdefault("function", {})[field] = value


def _append_text(parts: list[Any], text: str) -> None:
    """Puts text behind parts: to the last one, where that is nothing but text."""
    last = parts[-1] if parts else None
    if isinstance(last, dict) and last.keys() == {"type", "text"} and last["type"] == "text":
        parts[-1] = {"type": "text", "text": f"{last['text']}{text}"}
    else:
        parts.append({"type": "text", "text": text})


def read_logprobs(raw: Mapping[str, Any]) -> tuple[TokenLogprob, ...] | None:
    """Reads a choice's `logprobs`, OpenAI's form or Together's."""
    content = raw.get("content")
    if isinstance(content, list):
        return tuple(
            TokenLogprob(
                str(entry.get("token", "")),
                float(entry["logprob"]),
                tuple(
                    (str(top.get("token", "")), float(top["logprob"]))
                    for top in _list(entry.get("top_logprobs"))
                    if isinstance(top, dict) and _is_number(top.get("logprob"))
                ),
            )
            for entry in content
            if isinstance(entry, dict) and _is_number(entry.get("logprob"))
        )
    tokens, values = raw.get("tokens"), raw.get("token_logprobs")
    if isinstance(tokens, list) and isinstance(values, list):  # Together
        return tuple(
            TokenLogprob(str(token), float(value))
            for token, value in zip(tokens, values, strict=False)
            if _is_number(value)
        )
    return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**53)


def keep(kept: dict[str, Any], name: str, value: Any) -> None:
    """Keeps a field that states how things are: the last word counts, objects grow."""
    old = kept.get(name)
    if isinstance(old, dict) and isinstance(value, dict):
        kept[name] = {**old, **value}
    else:
        kept[name] = value


_PIECES: Final = frozenset({"data", "transcript"})
"""Text that a message's own objects (`audio`) send in pieces."""


def _merge(kept: dict[str, Any], new: Mapping[str, Any]) -> None:
    """Keeps what pieces of a message say: lists grow, texts that change become a list of texts."""
    for name, value in new.items():
        old = kept.get(name)
        if value is None:
            continue
        if old is None:
            kept[name] = value.copy() if isinstance(value, (list, dict)) else value
        elif isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        elif isinstance(old, list):
            if isinstance(value, list):
                old.extend(value)
            elif not old or old[-1] != value:
                old.append(value)
        elif name in _PIECES and isinstance(old, str) and isinstance(value, str):
            kept[name] = old + value
        elif old != value:
            kept[name] = [old, *value] if isinstance(value, list) else [old, value]
