"""Reads streams of OpenAI responses, with nothing lost.

A stream tells of each output item as it grows and ends with the whole response once more, which is
the provider's last word: the answer is read from it, as from a response that was not streamed.
What the pieces said before is kept as far as it was read, for a stream that breaks off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models.completion import (
    Completion,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    UsageUpdate,
)
from cascadeflow.providers.error_mapping import error_from_object, malformed
from cascadeflow.providers.openai_responses_decode import (
    CALLS,
    Place,
    Say,
    arguments_of,
    build_completion,
    call_id_of,
    failure_of,
    spoken,
    spoken_part,
    word,
)
from cascadeflow.providers.openai_responses_usage import read_usage
from cascadeflow.providers.reading import SseReader
from cascadeflow.providers.shared import read_json
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["ResponsesStreamDecoder"]


@dataclass(frozen=True, slots=True)
class _Text:
    """A text that comes in pieces: of which kind of item, where it stands there, what it is."""

    item: str
    name: str
    where: str = ""
    index: str = ""
    part: str = ""
    say: Say | None = None


_TEXTS: Final[Mapping[str, _Text]] = {
    "output_text": _Text("message", "text", "content", "content_index", "output_text", TextDelta),
    "refusal": _Text("message", "refusal", "content", "content_index", "refusal", RefusalDelta),
    "reasoning_text": _Text(
        "reasoning", "text", "content", "content_index", "reasoning_text", ReasoningDelta
    ),
    "reasoning_summary_text": _Text(
        "reasoning", "text", "summary", "summary_index", "summary_text", ReasoningDelta
    ),
    "function_call_arguments": _Text("function_call", "arguments"),
    "custom_tool_call_input": _Text("custom_tool_call", "input"),
    "mcp_call_arguments": _Text("mcp_call", "arguments"),
    "code_interpreter_call_code": _Text("code_interpreter_call", "code"),
}
_DELTA: Final = {f"response.{stem}.delta": text for stem, text in _TEXTS.items()}
_DONE: Final = {f"response.{stem}.done": text for stem, text in _TEXTS.items()}

_PARTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "response.content_part.added": ("message", "content", "content_index"),
    "response.content_part.done": ("message", "content", "content_index"),
    "response.reasoning_summary_part.added": ("reasoning", "summary", "summary_index"),
    "response.reasoning_summary_part.done": ("reasoning", "summary", "summary_index"),
}

_BEGINS: Final = frozenset({"response.created", "response.in_progress", "response.queued"})
_ENDS: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)
_STEPS: Final = frozenset(
    {"in_progress", "searching", "interpreting", "generating", "completed", "failed"}
)
"""What a server-side tool's own events say of it: `response.web_search_call.searching`."""
_STEP_FIELDS: Final = frozenset({"type", "item_id", "output_index", "sequence_number"})


class _Item:
    """An output item, as far as it has been read."""

    __slots__ = ("call", "done", "named", "parts", "raw", "said")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw: dict[str, Any] = {}
        self.call: int | None = None
        """Which of the answer's tool calls it is."""
        self.named = False
        """Whether that call's id and name have been told."""
        self.done = False
        self.parts: dict[tuple[str, int], dict[str, Any]] = {}
        self.said: dict[Place, list[str]] = {}
        """Each text as far as it has come; all of it has been given as events."""
        self.begin(raw)

    def begin(self, raw: Mapping[str, Any]) -> None:
        """Takes the item's own object."""
        self.raw = {**self.raw, **raw}
        for where in ("summary", "content"):
            parts = raw.get(where)
            for index, part in enumerate(parts if isinstance(parts, list) else ()):
                if isinstance(part, dict):
                    self.parts[where, index] = dict(part)

    def part(self, where: str, index: int, kind: str) -> dict[str, Any]:
        """Gives one part of it; a part that nothing was said of yet is of the given kind."""
        return self.parts.setdefault((where, index), {"type": kind})

    def finished(self) -> dict[str, Any]:
        """Gives the item in the provider's form."""
        if self.done:
            return self.raw
        item = dict(self.raw)
        parts = {place: dict(part) for place, part in self.parts.items()}
        for (where, index, name), pieces in self.said.items():
            (parts[where, index] if where else item)[name] = "".join(pieces)
        for where in ("summary", "content"):
            found = sorted(index for each, index in parts if each == where)
            if found:
                item[where] = [parts[where, index] for index in found]
        return item


class ResponsesStreamDecoder(SseReader):
    """Reads one stream of a response's events."""

    __slots__ = ("_calls", "_done", "_items", "_response", "_unknown")

    def __init__(self, provider: str, headers: Mapping[str, str] = EMPTY) -> None:
        super().__init__(provider, headers)
        self._response: Mapping[str, Any] = {}
        self._items: dict[int, _Item] = {}
        self._calls = 0
        self._done = False
        self._unknown: list[Any] = []

    def _completion(self) -> Completion:
        return build_completion(
            self._response,
            self._output(),
            self._headers,
            complete=self._done,
            broken=not self._done,
            events=self._unknown,
        )

    def _output(self) -> Sequence[Any]:
        output = self._response.get("output")
        if self._done and output and isinstance(output, list):
            return output
        # Before the end, and where a server leaves the output out of its last word.
        return [self._items[index].finished() for index in sorted(self._items)]

    def _read(self, _: str, data: bytes, *, at_end: bool = False) -> None:
        if data == b"[DONE]":
            return  # chat completions end so, and some servers end everything so
        try:
            event = read_json(data)
        except (ValueError, RecursionError):
            if not at_end and data.strip():  # what is cut off, or blank, is no event
                self._fail(malformed(self._provider, "a stream's event is not JSON", body=data))
            return
        if not isinstance(event, dict):
            self._fail(malformed(self._provider, "a stream's event is not a JSON object"))
            return
        try:
            self._take(event)
        except RecursionError:
            self._fail(malformed(self._provider, "a stream's event is nested too deeply"))

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = word(event, "type")
        if self._done:
            self._unknown.append(event)  # the answer is whole: nothing takes it back
        elif kind in _DELTA:
            self._take_delta(_DELTA[kind], event)
        elif kind in _DONE:
            self._end_text(_DONE[kind], event)
        elif kind in _PARTS:
            self._take_part(kind, event)
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._take_item(event, done=kind.endswith("done"))
        elif kind in _BEGINS or kind in _ENDS:
            self._take_response(event, kind)
        elif kind == "response.output_text.annotation.added":
            self._take_annotation(event)
        elif kind == "error" or (not kind and event.get("error")):
            self._fail(error_from_object(self._provider, event, headers=self._headers, billed=None))
        elif not self._take_step(kind, event) and kind != "keepalive":
            self._unknown.append(event)

    def _take_delta(self, text: _Text, event: Mapping[str, Any]) -> None:
        delta = event.get("delta")
        if not isinstance(delta, str):
            self._unknown.append(event)
            return
        item = self._item(event, text.item)
        place = _place(text, event)
        pieces = item.said.get(place)
        if pieces is not None:
            pieces.append(delta)
        else:
            item.said[place] = [delta]
            if text.where:
                item.part(*place[:2], text.part)
        logprobs = event.get("logprobs")
        if logprobs and isinstance(logprobs, list):
            part = item.part(*place[:2], text.part)
            known = part.get("logprobs")
            part["logprobs"] = [*(known if isinstance(known, list) else ()), *logprobs]
        if delta:
            self._say(item, text.name, delta, text.say)

    def _end_text(self, text: _Text, event: Mapping[str, Any]) -> None:
        whole = event.get(text.name)
        if not isinstance(whole, str):
            self._unknown.append(event)
            return
        item = self._item(event, text.item)
        place = _place(text, event)
        if text.where:
            part = item.part(*place[:2], text.part)
            if isinstance(event.get("logprobs"), list):
                part["logprobs"] = event["logprobs"]
        self._catch_up(item, place, whole, text.say)

    def _take_part(self, kind: str, event: Mapping[str, Any]) -> None:
        of, where, name = _PARTS[kind]
        raw = event.get("part")
        if not isinstance(raw, dict):
            self._unknown.append(event)
            return
        item = self._item(event, of)
        index = _number(event.get(name), 0)
        item.parts[where, index] = dict(raw)
        for place, text, say in spoken_part(where, index, raw):
            self._catch_up(item, place, text, say)

    def _take_item(self, event: Mapping[str, Any], *, done: bool) -> None:
        raw = event.get("item")
        if not isinstance(raw, dict):
            self._unknown.append(event)
            return
        item = self._item(event, word(raw, "type"), raw)
        self._complete(item)
        if done:
            item.raw, item.done = raw, True
            item.parts.clear()
            item.said.clear()

    def _complete(self, item: _Item) -> None:
        """Gives the events for what the item's own object says and its pieces did not."""
        if item.call is not None:
            if not item.named and (call_id_of(item.raw) or word(item.raw, "name")):
                item.named = True
                self._events.append(
                    ToolCallDelta(
                        item.call, call_id_of(item.raw) or None, word(item.raw, "name") or None
                    )
                )
            name = CALLS.get(word(item.raw, "type"), "")
            self._catch_up(item, ("", 0, name), arguments_of(item.raw), None)
        for place, text, say in spoken(item.raw):
            self._catch_up(item, place, text, say)

    def _catch_up(self, item: _Item, place: Place, whole: str, say: Say | None) -> None:
        """Takes a whole text where pieces of it may have come, and gives what they left out.

        What differs from its pieces cannot be taken back; the whole text is the last word.
        """
        known = "".join(item.said.get(place, ()))
        if whole == known or not whole:
            return
        item.said[place] = [whole]
        if whole.startswith(known):
            self._say(item, place[2], whole[len(known) :], say)

    def _say(self, item: _Item, name: str, text: str, say: Say | None) -> None:
        if say is not None:
            self._events.append(say(text))
        elif item.call is not None and CALLS.get(word(item.raw, "type")) == name:
            self._events.append(ToolCallDelta(item.call, arguments=text))

    def _take_response(self, event: Mapping[str, Any], kind: str) -> None:
        response = event.get("response")
        if not isinstance(response, dict):
            self._unknown.append(event)
            return
        self._response = response
        if kind in _ENDS:
            self._end_response(kind)
        if response.get("usage") is not None:
            usage = read_usage(response, self._output())
            if usage is not None:
                self._events.append(UsageUpdate(usage))
        if kind in _ENDS and self._response.get("status") == "failed":
            self._fail(failure_of(self._provider, response, self._output(), self._headers))

    def _end_response(self, kind: str) -> None:
        output = self._response.get("output")
        items = output if isinstance(output, list) else []
        for index, raw in enumerate(items):
            known = self._items.get(index)
            if isinstance(raw, dict) and (known is None or not known.done):
                self._take_item({"output_index": index, "item": raw}, done=True)
        # Of what is whole now, no piece is kept.
        self._unknown = [
            event
            for event in self._unknown
            if not 0 <= _number(event.get("output_index"), -1) < len(items)
        ]
        if self._response.get("status") is None:
            self._response = {**self._response, "status": kind.removeprefix("response.")}
        self._done = True

    def _take_annotation(self, event: Mapping[str, Any]) -> None:
        item = self._item(event, "message")
        part = item.part("content", _number(event.get("content_index"), 0), "output_text")
        known = part.get("annotations")
        part["annotations"] = [
            *(known if isinstance(known, list) else ()),
            event.get("annotation"),
        ]

    def _take_step(self, kind: str, event: Mapping[str, Any]) -> bool:
        """Takes a server-side tool's word on how far it is; says whether the event was one."""
        stem, _, step = kind.rpartition(".")
        tool = stem.removeprefix("response.")
        if step not in _STEPS or tool == stem or not event.keys() <= _STEP_FIELDS:
            return False
        item = self._item(event, tool)
        if not item.done:
            item.raw["status"] = step
        return True

    def _item(self, event: Mapping[str, Any], kind: str, raw: Mapping[str, Any] = EMPTY) -> _Item:
        """Finds the item that an event tells of, or begins it."""
        index = _number(event.get("output_index"), -1)
        if index < 0:
            index = self._index_of(word(event, "item_id") or word(raw, "id"), begins=bool(raw))
        item = self._items.get(index)
        if item is not None and not raw:
            return item
        if item is None:
            named = {"id": event["item_id"]} if word(event, "item_id") else {}
            item = self._items[index] = _Item({"type": kind, **named, **raw})
        else:
            item.begin(raw)
        if item.call is None and word(item.raw, "type") in CALLS:
            item.call = self._calls
            self._calls += 1
        return item

    def _index_of(self, item_id: str, *, begins: bool) -> int:
        """Finds an item by its id, where a server does not number them, or else the last one."""
        for index, item in self._items.items():
            if item_id and word(item.raw, "id") == item_id:
                return index
        last = max(self._items, default=-1)
        return last + 1 if item_id or begins else max(last, 0)


def _place(text: _Text, event: Mapping[str, Any]) -> Place:
    return text.where, _number(event.get(text.index), 0) if text.where else 0, text.name


def _number(value: Any, otherwise: int) -> int:
    return value if type(value) is int else otherwise
