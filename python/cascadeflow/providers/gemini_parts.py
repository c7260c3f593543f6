"""A candidate of a Gemini answer: its parts, whole or in pieces, and the calls among them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models.completion import ReasoningDelta, TextDelta, TokenLogprob, ToolCallDelta
from cascadeflow.types import ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.models.completion import StreamEvent

__all__ = ["Candidate", "is_made_up"]

_PREFIX: Final = "gemini_"
_NOT_IN_AN_ID: Final = re.compile(r"[^A-Za-z0-9_-]")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d{1,6})\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")
_MOST_ITEMS: Final = 10_000


def is_made_up(call_id: str) -> bool:
    """Whether an id of a call is one of ours: the provider gave none, and is sent none back."""
    return call_id.startswith(_PREFIX)


def _make_up(response_id: str | None, index: int) -> str:
    """Makes an id that is the same each time the answer is read, in at most 40 characters."""
    answer = _NOT_IN_AN_ID.sub("", response_id or "")[-24:]
    return f"{_PREFIX}{index}_{answer}" if answer else f"{_PREFIX}{index}"


class _Run:
    """Adjacent pieces of one text."""

    __slots__ = ("pieces", "thought")

    def __init__(self, text: str, *, thought: bool | None) -> None:
        self.pieces = [text]
        self.thought = thought

    def finished(self) -> dict[str, Any]:
        part: dict[str, Any] = {"text": "".join(self.pieces)}
        return part if self.thought is None else {**part, "thought": self.thought}


class _Call:
    """A function call; Vertex can send its arguments value by value."""

    __slots__ = ("_written", "args", "growing", "id", "name", "own_id", "part", "rest", "unread")

    def __init__(self, part: dict[str, Any], call: Mapping[str, Any], made_up_id: str) -> None:
        given = call.get("id")
        self.own_id = isinstance(given, str) and bool(given)
        self.id = str(given) if self.own_id else made_up_id
        name = call.get("name")
        self.name = name if isinstance(name, str) else ""
        self.args = call.get("args")
        self.part = {key: value for key, value in part.items() if key != "functionCall"}
        known = ("id", "name", "args", "partialArgs", "willContinue")
        self.rest = {key: value for key, value in call.items() if key not in known}
        for key, value in (("id", given), ("name", name)):
            if value is not None and not isinstance(value, str):
                self.rest[key] = value
        self.growing: str | None = None
        """The path of the text that the next value of the same path continues."""
        self.unread: list[Any] = []
        self._written: str | None = None
        self.grow(call)

    @property
    def plain(self) -> bool:
        return not self.part and not self.rest and not self.unread

    def arguments(self) -> str:
        if self._written is None:
            args = {} if self.args is None else self.args
            self._written = json.dumps(args, ensure_ascii=False, separators=(",", ":"))
        return self._written

    def grow(self, call: Mapping[str, Any]) -> None:
        """Takes further values of the arguments."""
        self._written = None
        values = call.get("partialArgs")
        for value in values if isinstance(values, list) else ():
            if not isinstance(value, dict) or not self._put(value):
                self.unread.append(value)

    def _put(self, value: Mapping[str, Any]) -> bool:
        path = value.get("jsonPath")
        steps = _steps(path)
        if not steps or not isinstance(steps[0], str):
            return False
        if "stringValue" in value and isinstance(value["stringValue"], str):
            new: Any = value["stringValue"]
        elif "numberValue" in value or "boolValue" in value:
            new = value.get("numberValue", value.get("boolValue"))
        elif "nullValue" in value:
            new = None
        else:
            return False
        if not isinstance(self.args, dict):
            if self.args is not None:
                return False
            self.args = {}
        grown = _place(self.args, steps, new, grow=isinstance(new, str) and path == self.growing)
        self.growing = path if value.get("willContinue") is True else None
        return grown

    def finished(self) -> dict[str, Any]:
        call: dict[str, Any] = {"name": self.name, **self.rest}
        if self.own_id:
            call["id"] = self.id
        if self.args is not None:
            call["args"] = self.args
        if self.unread:
            call["partialArgs"] = self.unread
        return {"functionCall": call, **self.part}


def _steps(path: Any) -> list[str | int]:
    """Reads a path such as `$.places[0].name`; empty when it is none."""
    if not isinstance(path, str) or not path.startswith("$"):
        return []
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or len(steps) > 100:  # noqa: PLR2004 - deeper than any arguments
            return []
        at = found.end()
        steps.append(int(found[2]) if found[2] else found[1] or found[3] or found[4] or "")
    return steps


def _place(root: dict[str, Any], steps: list[str | int], new: Any, *, grow: bool) -> bool:
    """Puts a value into arguments at its path, or says that they have no such place."""
    place: Any = root
    for depth, step in enumerate(steps):
        if isinstance(step, int):
            if not isinstance(place, list) or step > min(len(place), _MOST_ITEMS):
                return False
            old = place[step] if step < len(place) else None
        elif isinstance(place, dict):
            old = place.get(step)
        else:
            return False
        rest = steps[depth + 1 :]
        if rest and old is not None:
            place = old
            continue
        if any(isinstance(each, int) and each for each in rest):
            return False  # a list begins with its first item
        if not rest and grow and isinstance(old, str):
            new = old + new
        for each in reversed(rest):
            new = [new] if isinstance(each, int) else {each: new}
        if isinstance(place, list) and step == len(place):
            place.append(new)
        else:
            place[step] = new
        return True
    return False


class Candidate:
    """One candidate, as far as it has been read.

    Args:
        events: where the events of a stream go; `None` where there is no stream.
        joined: whether it comes in pieces, so that adjacent texts are one text.
    """

    __slots__ = (
        "_content",
        "_events",
        "_joined",
        "_open",
        "calls",
        "finish",
        "parts",
        "rest",
        "used_tools",
    )

    def __init__(self, events: list[StreamEvent] | None = None, *, joined: bool = False) -> None:
        self._events = events
        self._joined = joined
        self._content: dict[str, Any] = {}
        self._open: int | None = None
        self.parts: list[Any] = []
        self.calls: list[_Call] = []
        self.finish: str | None = None
        self.rest: dict[str, Any] = {}
        self.used_tools = False
        """Whether it says of server-side tools what may have been billed."""

    def add(self, raw: Mapping[str, Any], position: int, response_id: str | None) -> None:
        """Takes a candidate, or the next piece of it."""
        for name, value in raw.items():
            if name == "content" and isinstance(value, dict):
                parts = value.get("parts")
                if isinstance(parts, list):
                    for part in parts:
                        self._add_part(part, response_id)
                for key, item in value.items():
                    if key != "parts" or not isinstance(item, list):
                        self._content[key] = item
            elif name == "finishReason" and isinstance(value, str):
                self.finish = value
            elif value is not None and (name != "index" or value != position):
                merge(self.rest, name, value)
                self.used_tools = self.used_tools or name == "groundingMetadata"

    def _add_part(self, part: Any, response_id: str | None) -> None:
        if not isinstance(part, dict):
            self.parts.append(part)
            return
        text = part.get("text")
        if isinstance(text, str):
            self._add_text(part, text)
            return
        call = part.get("functionCall")
        if isinstance(call, dict):
            self._add_call(part, call, response_id)
        else:
            self.parts.append(part)
            self.used_tools = self.used_tools or "toolCall" in part

    def _add_text(self, part: Mapping[str, Any], text: str) -> None:
        thought = part.get("thought")
        if self._events is not None and text:
            self._events.append(ReasoningDelta(text) if thought is True else TextDelta(text))
        if self._joined and len(part) == 1 + (thought is not None):
            last = self.parts[-1] if self.parts else None
            if isinstance(last, _Run) and last.thought is thought:
                last.pieces.append(text)
            elif text:
                self.parts.append(_Run(text, thought=thought))
            return
        self.parts.append(part)

    def _add_call(
        self, part: dict[str, Any], raw: Mapping[str, Any], response_id: str | None
    ) -> None:
        going_on = raw.get("willContinue") is True
        if self._open is not None and not raw.get("name"):
            call = self.calls[self._open]
            call.grow(raw)
            call.part.update((key, item) for key, item in part.items() if key != "functionCall")
            if not going_on:
                self.close()
            return
        self.close()
        index = len(self.calls)
        call = _Call(part, raw, _make_up(response_id, index))
        self.calls.append(call)
        self.parts.append(call)
        if going_on:
            self._open = index
        if self._events is not None:
            arguments = "" if going_on else call.arguments()
            self._events.append(ToolCallDelta(index, call.id, call.name or None, arguments))

    def close(self) -> None:
        """Ends a call whose arguments came value by value."""
        if self._open is not None and self._events is not None:
            arguments = self.calls[self._open].arguments()
            self._events.append(ToolCallDelta(self._open, arguments=arguments))
        self._open = None

    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that it asks for."""
        return tuple(ToolCall(call.id, call.name, call.arguments()) for call in self.calls)

    def texts(self) -> tuple[str, str]:
        """The visible text and the reasoning."""
        texts: list[str] = []
        thoughts: list[str] = []
        for part in self.parts:
            if isinstance(part, _Run):
                (thoughts if part.thought is True else texts).extend(part.pieces)
            elif isinstance(part, dict) and isinstance(part.get("text"), str):
                (thoughts if part.get("thought") is True else texts).append(part["text"])
        return "".join(texts), "".join(thoughts)

    def raw_parts(self) -> list[Any]:
        """The parts in the provider's words, pieces put together."""
        return [part.finished() if isinstance(part, (_Run, _Call)) else part for part in self.parts]

    def leftover(self) -> dict[str, Any]:
        """What no field of a Completion holds, at the paths the provider used.

        The parts stand there whole where they are more than text and calls: that is also what the
        next request must carry back.
        """
        content = dict(self._content)
        if content.get("role") == "model":
            del content["role"]
        if not all(_is_plain(part) for part in self.parts):
            content["parts"] = self.raw_parts()
        content = {name: value for name, value in content.items() if value is not None}
        return {**self.rest, "content": content} if content else dict(self.rest)

    def as_raw(self, position: int) -> dict[str, Any]:
        """The whole candidate: for all but the first, which has the fields."""
        content = {**self._content, "parts": self.raw_parts()}
        raw = {**self.rest, "index": position, "content": content}
        return raw if self.finish is None else {**raw, "finishReason": self.finish}

    def logprobs(self) -> tuple[TokenLogprob, ...] | None:
        """The log-probabilities, when there are any."""
        return _read_logprobs(self.rest.get("logprobsResult"))


def _is_plain(part: Any) -> bool:
    if isinstance(part, _Run):
        return part.thought is None
    if isinstance(part, _Call):
        return part.plain
    return isinstance(part, dict) and part.keys() == {"text"}


def _read_logprobs(raw: Any) -> tuple[TokenLogprob, ...] | None:
    if not isinstance(raw, dict) or not isinstance(raw.get("chosenCandidates"), list):
        return None
    tops = raw.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    read = []
    for position, chosen in enumerate(raw["chosenCandidates"]):
        token = _token(chosen)
        if token is not None:
            top = tops[position] if position < len(tops) else None
            others = top.get("candidates") if isinstance(top, dict) else None
            entries = [_token(each) for each in others] if isinstance(others, list) else []
            read.append(TokenLogprob(*token, tuple(each for each in entries if each is not None)))
    return tuple(read)


def _token(raw: Any) -> tuple[str, float] | None:
    """Reads a token; a probability of one has the logarithm zero, which the JSON leaves out."""
    if not isinstance(raw, dict):
        return None
    token, value = raw.get("token", ""), raw.get("logProbability", 0)
    if not isinstance(token, str) or isinstance(value, bool):
        return None
    if not isinstance(value, (int, float)) or not abs(value) < 2**53:
        return None
    return token, float(value)


def merge(kept: dict[str, Any], name: str, value: Any, *, pieces: bool = False) -> None:
    """Keeps what the pieces of a stream say of one thing: objects and lists grow.

    A list that repeats what was there and goes on counts once; but `pieces` never repeat, and two
    that are alike are two.
    """
    old = kept.get(name)
    if old is None:
        kept[name] = value
    elif isinstance(old, dict) and isinstance(value, dict):
        for key, item in value.items():
            if item is not None:
                merge(old, key, item, pieces=pieces or name == "logprobsResult")
    elif isinstance(old, list) and isinstance(value, list):
        if pieces or value[: len(old)] != old:
            old.extend(value)
        else:
            kept[name] = value
    elif value is not None:
        kept[name] = value
