"""Reads a stream of Amazon Bedrock's converse: events in a binary event stream.

Its blocks are put together in the form that a whole answer has, so that both are read by the same
code, and both can go back in the next request.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models.completion import (
    Completion,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageUpdate,
)
from cascadeflow.providers.bedrock_decode import build_completion, read_usage
from cascadeflow.providers.bedrock_errors import error_in_stream
from cascadeflow.providers.error_mapping import malformed
from cascadeflow.providers.event_stream import EventStreamParser
from cascadeflow.providers.reading import StreamReader
from cascadeflow.providers.shared import read_json
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cascadeflow.providers.event_stream import HeaderValue

__all__ = ["BedrockStreamDecoder"]

_PADDING: Final = "p"
"""Every event has one of a random length, so that its size tells nothing. It says nothing else."""


class _Block:
    """A content block of a stream, as far as it has been read."""

    __slots__ = ("_citations", "_redacted", "_texts", "call", "json", "other", "start")

    def __init__(self, start: Mapping[str, Any], call: int | None) -> None:
        self.start = start
        self.call = call
        self.json: list[str] = []
        self.other: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}
        self._redacted: list[str] = []
        self._citations: list[Any] = []

    def add_text(self, text: str) -> None:
        self._texts.setdefault("text", []).append(text)

    def take(self, kind: str, value: Any) -> bool:
        """Takes a delta's member; whether it is one that is known."""
        if kind == "text" and isinstance(value, str):
            self.add_text(value)
        elif kind == "citation":
            self._citations.append(value)
        elif kind == "reasoningContent" and isinstance(value, dict):
            return self._take_reasoning(value)
        elif kind == "toolResult" and isinstance(value, list):
            self.other.setdefault("content", []).extend(value)
        elif kind == "image" and isinstance(value, dict):
            self.other.update(value)
        else:
            return False
        return True

    def _take_reasoning(self, value: Mapping[str, Any]) -> bool:
        if not value or not all(
            name in ("text", "signature", "redactedContent") and isinstance(part, str)
            for name, part in value.items()
        ):
            return False
        for name, part in value.items():
            if name == "redactedContent":
                self._redacted.append(part)
            else:
                self._texts.setdefault(f"reasoning {name}", []).append(part)
        return True

    def finished(self) -> dict[str, Any]:
        """The block in the form of a whole answer's."""
        block: dict[str, Any] = {}
        for kind, fields in self.start.items():
            content = {**fields, **self.other}
            if kind == "toolUse":
                content["input"] = _parsed(self.written())
            block[kind] = content
        if self.other and not self.start:
            block["toolResult" if "content" in self.other else "image"] = self.other
        text = self._texts.get("text")
        if self._citations:
            said = [{"text": "".join(text)}] if text else []
            block["citationsContent"] = {"content": said, "citations": self._citations}
        elif text is not None:
            block["text"] = "".join(text)
        reasoning: dict[str, Any] = {}
        shown = {
            name: "".join(self._texts[f"reasoning {name}"])
            for name in ("text", "signature")
            if f"reasoning {name}" in self._texts
        }
        if shown:
            reasoning["reasoningText"] = {"text": "", **shown}
        if self._redacted:
            reasoning["redactedContent"] = _joined(self._redacted)
        if reasoning:
            block["reasoningContent"] = reasoning
        return block

    def written(self) -> str | None:
        """A tool's input as the model wrote it, which may be broken JSON."""
        return "".join(self.json) or None


def _parsed(written: str | None) -> Any:
    if written is None:
        return {}
    try:
        return json.loads(written)
    except (ValueError, RecursionError):
        return written  # as the model wrote it, broken


def _joined(pieces: Sequence[str]) -> str:
    """Puts pieces of base64 together, each of which is whole in itself."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        return base64.b64encode(b"".join(map(_decoded, pieces))).decode()
    except binascii.Error:
        return "".join(pieces)


def _decoded(piece: str) -> bytes:
    return binascii.a2b_base64(piece.encode(), strict_mode=True)


class BedrockStreamDecoder(StreamReader):
    """Reads one stream of converse events."""

    __slots__ = ("_blocks", "_body", "_calls", "_complete", "_message", "_parser", "_unknown")

    def __init__(self, provider: str, headers: Mapping[str, str] = EMPTY) -> None:
        super().__init__(provider, headers)
        self._parser = EventStreamParser()
        self._body: dict[str, Any] = {}
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._complete = False
        self._unknown: list[Any] = []

    def _feed(self, chunk: bytes) -> None:
        for headers, payload in self._parser.feed(chunk):
            self._read(headers, payload)
            if self.failure is not None:
                return
        if self._parser.failure is not None:
            self._fail(malformed(self._provider, self._parser.failure, body=self._parser.rejected))

    def _end(self) -> None:
        """Nothing is pending: a frame is whole, or is none."""

    def _completion(self) -> Completion:
        return build_completion(
            self._body,
            {"message": self._message},
            [block.finished() for block in self._blocks.values()],
            self._headers,
            complete=self._complete,
            broken="stopReason" not in self._body,
            extras={"events": self._unknown} if self._unknown else EMPTY,
            written=[block.written() for block in self._blocks.values()],
        )

    def _read(self, headers: Mapping[str, HeaderValue], payload: bytes) -> None:
        kind = headers.get(":message-type", "event")
        if kind == "error":  # it has no payload
            said = {"message": headers.get(":error-message", "")}
            self._fail(
                error_in_stream(self._provider, headers.get(":error-code"), said, self._headers)
            )
            return
        try:
            event = read_json(payload) if payload else {}
        except (ValueError, RecursionError):
            event = None
        if kind == "exception":
            name = headers.get(":exception-type")
            self._fail(error_in_stream(self._provider, name, event, self._headers))
        elif not isinstance(event, dict):
            self._fail(malformed(self._provider, "a stream's event is not a JSON object"))
        else:
            event.pop(_PADDING, None)
            self._take(str(headers.get(":event-type", "")), event)

    def _take(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "contentBlockDelta":
            self._take_delta(event)
        elif kind == "contentBlockStart":
            self._start_block(event)
        elif kind == "messageStart":
            self._message.update(event)
        elif kind == "messageStop":
            self._body.update(event)
        elif kind == "metadata":
            self._body.update(event)
            self._complete = True  # it comes last, with the usage
            usage = event.get("usage")
            counted = read_usage(usage) if isinstance(usage, dict) else None
            if counted is not None:
                self._events.append(UsageUpdate(counted))
        elif kind != "contentBlockStop":
            self._unknown.append({kind: event})

    def _start_block(self, event: Mapping[str, Any]) -> None:
        start = event.get("start")
        index = _index(event, len(self._blocks))
        if not isinstance(start, dict) or index in self._blocks or not _is_start(start):
            self._unknown.append({"contentBlockStart": event})
            return
        call = None
        tool = start.get("toolUse")
        if tool is not None and tool.get("type") != "server_tool_use":
            call = self._calls
            self._calls += 1
            self._events.append(
                ToolCallDelta(
                    call, _text_or_none(tool.get("toolUseId")), _text_or_none(tool.get("name"))
                )
            )
        self._blocks[index] = _Block(start, call)

    def _take_delta(self, event: Mapping[str, Any]) -> None:
        delta = event.get("delta")
        index = _index(event, len(self._blocks) - 1)
        block = self._blocks.get(index)
        if block is None:  # text and reasoning begin without saying so
            block = self._blocks[index] = _Block(EMPTY, None)
        if isinstance(delta, dict) and len(delta) == 1 and isinstance(delta.get("text"), str):
            block.add_text(delta["text"])  # nearly all of them are
            self._say("text", delta["text"])
            return
        known = isinstance(delta, dict)
        for kind, value in delta.items() if isinstance(delta, dict) else ():
            if kind == "toolUse":
                known = self._take_input(block, value) and known
            elif block.take(kind, value):
                self._say(kind, value)
            else:
                known = False
        if not known:
            self._unknown.append({"contentBlockDelta": event})

    def _take_input(self, block: _Block, value: Any) -> bool:
        written = value.get("input") if isinstance(value, dict) else None
        if not isinstance(written, str) or len(value) != 1 or "toolUse" not in block.start:
            return False
        block.json.append(written)
        if written and block.call is not None:
            self._events.append(ToolCallDelta(block.call, arguments=written))
        return True

    def _say(self, kind: str, value: Any) -> None:
        if kind == "text" and value:
            self._events.append(TextDelta(value))
        elif kind == "reasoningContent" and value.get("text"):
            self._events.append(ReasoningDelta(value["text"]))


def _is_start(start: Mapping[str, Any]) -> bool:
    """Whether a block's start has the form that one has: objects, and no tool's input yet."""
    tool = start.get("toolUse", EMPTY)
    return all(isinstance(fields, dict) for fields in start.values()) and "input" not in tool


def _index(event: Mapping[str, Any], otherwise: int) -> int:
    index = event.get("contentBlockIndex")
    return index if isinstance(index, int) else otherwise


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
