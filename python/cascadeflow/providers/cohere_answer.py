"""An answer of Cohere's v2 chat, whole or as far as a stream has brought it.

Its state takes a whole message and a stream's pieces alike, so the two readings cannot drift apart.
What this package has no field for is kept in `Completion.extras` at the provider's own paths:
`extras["message"]` (tool plan, citations, thinking blocks), `extras["usage"]`,
`extras["logprobs"]`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models.completion import (
    Completion,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    UsageUpdate,
)
from cascadeflow.models.usage import Usage
from cascadeflow.providers.error_mapping import header_facts, request_id_of
from cascadeflow.types import EMPTY, FinishReason, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cascadeflow.models.completion import StreamEvent

__all__ = ["Answer", "read_usage"]

_FINISH: Final[Mapping[str, FinishReason]] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR": "error",
    "TIMEOUT": "error",
}

_KINDS: Final = frozenset({"text", "thinking"})
_FORM: Final = frozenset({"delta", "index", "type"})
"""What an event says of the stream and not of the answer."""
_MOST_TOKENS: Final = 2**53
_NOTHING: Final[Mapping[str, Any]] = {}


# Usage


def read_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Reads a `usage` object.

    Cohere counts twice: `tokens` is what the model read and wrote, with the template and the tools'
    rendering; `billed_units` is what is charged, and what the published prices are for. So the
    billed counts are the buckets; `tokens` stands in for one that is not stated (a server of one's
    own, which bills nobody). `cached_tokens` are a part of `tokens`, and what is billed is the same
    with and without them (a recorded prompt of 2,406 billed tokens had 2,928 cached ones), so they
    are in no bucket. Search units and classifications are billed by the piece.

    Returns:
        The usage, or `None` when the object counts nothing.
    """
    billed, used = _mapping(raw.get("billed_units")), _mapping(raw.get("tokens"))
    read, written = (
        _count(used, name) if (stated := _count(billed, name)) is None else stated
        for name in ("input_tokens", "output_tokens")
    )
    requests = {
        name: count
        for name in ("search_units", "classifications")
        if (count := _count(billed, name))
    }
    if read is None and written is None and not requests:
        return None
    return Usage(input_tokens=read, output_tokens=written, requests=requests or EMPTY)


def _count(raw: Mapping[str, Any], name: str) -> int | None:
    value = raw.get(name)
    if type(value) is float and value.is_integer():
        value = int(value)  # the API's own types say that counts are floats
    if type(value) is not int:  # a bool is no count
        return None
    return value if 0 <= value <= _MOST_TOKENS else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _NOTHING


# The answer


class _Block:
    """A block of the content, as far as it has been read."""

    __slots__ = ("kind", "rest", "texts")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.texts: list[str] = []
        self.rest: dict[str, Any] = {}

    def add(self, raw: Mapping[str, Any]) -> str:
        """Takes the block, or a piece of it, and gives the text that is new."""
        said = ""
        for name, value in raw.items():
            if name == self.kind and isinstance(value, str):
                said = value
                self.texts.append(value)
            elif (name, value) != ("type", self.kind):
                _keep(self.rest, name, value)
        return said

    @property
    def plain(self) -> bool:
        """Whether it is nothing but text."""
        return self.kind == "text" and not self.rest

    def as_raw(self) -> dict[str, Any]:
        return {"type": self.kind, self.kind: "".join(self.texts), **self.rest}


class _Call:
    """A tool call, as far as it has been read."""

    __slots__ = ("arguments", "id", "name", "rest")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.rest: dict[str, Any] = {}


class Answer:
    """An answer, as far as it has been read; `events` collects what is new, on a stream."""

    def __init__(self, events: list[StreamEvent] | None = None) -> None:
        self._events = events
        self._blocks: list[_Block] = []
        self._block_at: dict[Any, _Block] = {}
        self._calls: list[_Call] = []
        self._call_at: dict[Any, int] = {}
        self._citations: list[Any] = []
        self._plan: list[str] = []
        self._reasoning: list[str] = []
        self._logprobs: list[Any] = []
        self._message: dict[str, Any] = {}
        self._odd: dict[str, list[Any]] = {}
        self._usage: Usage | None = None
        self._raw_usage: Mapping[str, Any] | None = None
        self._texts: dict[str, str] = {}
        self._rest: dict[str, Any] = {}
        self.unknown: list[Any] = []
        self.finish: str | None = None

    def add_top(self, fields: Mapping[str, Any]) -> None:
        """Takes what stands beside the message: of a whole answer, or of a stream's event."""
        for name, value in fields.items():
            if value is None or name in _FORM:
                continue
            if name in ("id", "model") and isinstance(value, str):
                self._texts[name] = value
            elif name == "finish_reason":
                self.finish = str(value)
            elif name == "usage" and isinstance(value, dict):
                self._add_usage(value)
            elif name == "logprobs":
                self._logprobs.extend(value if isinstance(value, list) else [value])
            elif name != "message" or not isinstance(value, dict):
                _keep(self._rest, name, value)

    def add_message(self, message: Mapping[str, Any], index: Any = None, *, new: bool) -> None:
        """Takes a whole message, or the message of a stream's event.

        Args:
            message: the message. What a whole one lists, an event names alone.
            index: which block of the content, or which call, an event speaks of.
            new: whether what it holds begins there, or goes on.
        """
        for name, value in message.items():
            if name == "content":
                for block in _each(value):
                    self._add_block(block, index, new=new)
            elif name == "tool_plan" and isinstance(value, str):
                self._add_plan(value)
            elif name == "tool_calls":
                for call in _each(value):
                    self._add_call(call, index, new=new)
            elif name == "citations":
                self._citations.extend(_each(value))
            elif (name, value) != ("role", "assistant"):
                _keep(self._message, name, value)

    def _add_block(self, raw: Any, index: Any, *, new: bool) -> None:
        if isinstance(raw, str):
            raw = {"text": raw}
        if not isinstance(raw, dict):
            self._odd.setdefault("content", []).append(raw)
            return
        index = _key(index)
        block = None if new else self._block_at.get(index)
        kind = raw.get("type")
        if not isinstance(kind, str):
            # A piece does not repeat the type; a text of the other kind belongs to another block.
            kind = "thinking" if "thinking" in raw else "text" if "text" in raw else None
        if block is None or (kind in _KINDS and kind != block.kind):
            block = self._block_at[index] = _Block(kind or "text")
            self._blocks.append(block)
        said = block.add(raw)
        if said and block.kind == "text":
            self._event(TextDelta(said))
        elif said and block.kind == "thinking":
            self._reason(said)

    def _add_plan(self, plan: str) -> None:
        """Takes the tool plan, or a piece of it: what the model says of its calls ahead of them."""
        if plan:
            self._plan.append(plan)
            self._reason(plan)

    def _add_call(self, raw: Any, index: Any, *, new: bool) -> None:
        if not isinstance(raw, dict):
            self._odd.setdefault("tool_calls", []).append(raw)
            return
        index = _key(index)
        place = None if new else self._call_at.get(index)
        if place is None:
            place = self._call_at[index] = len(self._calls)
            self._calls.append(_Call())
        call = self._calls[place]
        said = {"id": "", "name": "", "arguments": ""}
        for name, value in raw.items():
            if name == "id" and isinstance(value, str) and not call.id:
                call.id = said["id"] = value
            elif name == "function" and isinstance(value, dict):
                self._add_function(call, value, said)
            elif (name, value) != ("type", "function"):
                _keep(call.rest, name, value)
        told = said["id"] or None, said["name"] or None, said["arguments"]
        self._event(ToolCallDelta(place, *told))

    def _add_function(self, call: _Call, raw: Mapping[str, Any], said: dict[str, str]) -> None:
        for name, value in raw.items():
            if name == "name" and isinstance(value, str) and not call.name:
                call.name = said["name"] = value
            elif name == "arguments" and value is not None:
                text = value
                if not isinstance(text, str):
                    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
                if text:
                    call.arguments.append(text)
                    said["arguments"] += text
            elif value is not None:
                rest = call.rest.get("function")
                if not isinstance(rest, dict):
                    rest = {} if rest is None else {"function": rest}
                    call.rest["function"] = rest
                _keep(rest, name, value)

    def _add_usage(self, raw: Mapping[str, Any]) -> None:
        self._raw_usage = raw
        usage = read_usage(raw)
        if usage is not None:
            self._usage = usage
            self._event(UsageUpdate(usage))

    def _reason(self, text: str) -> None:
        self._reasoning.append(text)
        self._event(ReasoningDelta(text))

    def _event(self, event: StreamEvent) -> None:
        if self._events is not None:
            self._events.append(event)

    def completion(
        self, headers: Mapping[str, str], *, complete: bool = True, broken: bool = False
    ) -> Completion:
        """Gives the answer as far as it has been read."""
        finish: FinishReason = "error" if broken else "unknown"
        if self.finish is not None:
            finish = _FINISH.get(self.finish, "unknown")
        return Completion(
            text="".join(
                text for block in self._blocks if block.kind == "text" for text in block.texts
            ),
            tool_calls=tuple(
                ToolCall(call.id, call.name, "".join(call.arguments)) for call in self._calls
            ),
            finish_reason=finish,
            raw_finish_reason=self.finish,
            usage=self._usage,
            usage_complete=complete,
            model=self._texts.get("model"),
            response_id=self._texts.get("id"),
            request_id=request_id_of(headers),
            reasoning="".join(self._reasoning),
            logprobs=_read_logprobs(self._logprobs),
            headers=header_facts(headers) or EMPTY,
            extras=self._extras() or EMPTY,
        )

    def _extras(self) -> dict[str, Any]:
        extras = {**self._rest}
        message = {**self._message}
        if not all(block.plain for block in self._blocks):
            message["content"] = [block.as_raw() for block in self._blocks]
        if self._plan:
            message["tool_plan"] = "".join(self._plan)
        if self._citations:
            message["citations"] = self._citations.copy()
        if any(call.rest for call in self._calls):
            message["tool_calls"] = [call.rest for call in self._calls]
        for name, odd in self._odd.items():  # what has another form than the protocol's
            message[name] = [*message.get(name, ()), *odd]
        if message:
            extras["message"] = message
        if self._raw_usage is not None:
            extras["usage"] = self._raw_usage
        if self._logprobs:
            extras["logprobs"] = self._logprobs.copy()
        if self.unknown:
            extras["events"] = self.unknown.copy()
        return extras


def _keep(kept: dict[str, Any], name: str, value: Any) -> None:
    """Keeps a value; what a stream says anew and otherwise becomes a list."""
    old = kept.get(name)
    if value is None or (old is not None and old == value):
        return
    if old is None:
        kept[name] = value.copy() if isinstance(value, list) else value
    elif not isinstance(old, list):
        kept[name] = [old, value]
    elif not old or old[-1] != value:
        old.append(value)


def _each(value: Any) -> list[Any]:
    """What a whole message lists, a stream's event names alone."""
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]


def _key(index: Any) -> Any:
    return index if isinstance(index, (int, str)) else None


def _read_logprobs(items: Sequence[Any]) -> tuple[TokenLogprob, ...] | None:
    """Reads `logprobs`: each item is a piece of text and the probabilities of its tokens.

    Which token wrote which letters is not said: the first one is given the text, the others none.
    """
    if not items:
        return None
    tokens: list[TokenLogprob] = []
    for item in items:
        if isinstance(item, dict):
            text = item.get("text")
            for value in _numbers(item.get("logprobs")):
                tokens.append(TokenLogprob(text if isinstance(text, str) else "", float(value)))
                text = ""
    return tuple(tokens)


def _numbers(value: Any) -> Iterator[float]:
    for each in value if isinstance(value, list) else ():
        if isinstance(each, (int, float)) and not isinstance(each, bool) and abs(each) < 2**53:
            yield each
