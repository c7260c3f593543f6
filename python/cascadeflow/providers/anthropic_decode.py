"""Reads Anthropic messages, whole and streamed, with nothing lost.

An answer is a list of content blocks. Where it holds more than plain text and tool calls (signed
thinking, server tools, citations), `Completion.extras["content"]` keeps the list as it came, which
is also what the next request must carry back.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models.completion import (
    Completion,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageUpdate,
)
from cascadeflow.models.usage import Usage
from cascadeflow.providers.error_mapping import (
    error_from_object,
    header_facts,
    malformed,
    request_id_of,
)
from cascadeflow.providers.reading import SseReader
from cascadeflow.providers.shared import read_json
from cascadeflow.types import EMPTY, FinishReason, ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["AnthropicStreamDecoder", "read_response", "read_usage"]

_FINISH: Final[Mapping[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}

_TOP: Final = frozenset({"content", "id", "model", "stop_reason", "usage"})

_MOST_TOKENS: Final = 2**53


def read_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Reads a `usage` object as disjoint buckets.

    `input_tokens` leaves out what went through the cache; `output_tokens` holds the thinking, which
    is taken out where it is counted apart. Iterations that compacted the context are billed beside
    the totals and are added. What an advising model consumed on the way has another model's price:
    it is counted as requests of the server-side tool `advisor`, so that it is not taken for free.

    Returns:
        The usage, or `None` when the object counts nothing.
    """
    usage = _read_counts(raw)
    requests: dict[str, int] = {}
    iterations = raw.get("iterations")
    for iteration in iterations if isinstance(iterations, list) else ():
        if not isinstance(iteration, dict):
            continue
        kind = iteration.get("type")
        if kind == "compaction":
            usage += _read_counts(iteration)
        elif kind == "advisor_message":
            requests["advisor"] = requests.get("advisor", 0) + 1
    if requests:
        usage = replace(usage, requests={**usage.requests, **requests})
    return None if usage == Usage() else usage


def _read_counts(raw: Mapping[str, Any]) -> Usage:
    written = _count(raw, "cache_creation_input_tokens")
    split = raw.get("cache_creation")
    for_an_hour = _count(split, "ephemeral_1h_input_tokens") if isinstance(split, dict) else None
    if isinstance(split, dict) and written is None:
        five = _count(split, "ephemeral_5m_input_tokens")
        if five is not None or for_an_hour is not None:
            written = (five or 0) + (for_an_hour or 0)
    if written is not None and for_an_hour is not None:
        # A stream repeats the total as it grows, but not the split: the total is the newer word.
        for_an_hour = min(for_an_hour, written)
        written -= for_an_hour
    output = _count(raw, "output_tokens")
    details = raw.get("output_tokens_details")
    thinking = _count(details, "thinking_tokens") if isinstance(details, dict) else None
    if output is not None and thinking is not None:
        thinking = min(thinking, output)
        output -= thinking
    tools = raw.get("server_tool_use")
    requests = {}
    if isinstance(tools, dict):
        for name in tools:
            count = _count(tools, name)
            if count:
                requests[name.removesuffix("_requests")] = count
    return Usage(
        input_tokens=_count(raw, "input_tokens"),
        cache_read_tokens=_count(raw, "cache_read_input_tokens"),
        cache_write_5m_tokens=written,
        cache_write_1h_tokens=for_an_hour,
        output_tokens=output,
        reasoning_tokens=thinking,
        requests=requests or EMPTY,
    )


def _count(raw: Mapping[str, Any], name: str) -> int | None:
    value = raw.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MOST_TOKENS else None


def build_completion(
    message: Mapping[str, Any],
    blocks: Sequence[Any],
    headers: Mapping[str, str],
    *,
    complete: bool = True,
    broken: bool = False,
    extras: Mapping[str, Any] = EMPTY,
    written: Sequence[str | None] = (),
) -> Completion:
    """Makes a completion of a message object and its content blocks.

    Args:
        message: the message object.
        blocks: its content.
        headers: the response's headers, names lower-cased.
        complete: whether the usage is the provider's last word.
        broken: whether the answer ends in the middle.
        extras: further extras.
        written: for each block, a tool call's arguments as the model wrote them, where known.
    """
    text: list[str] = []
    reasoning: list[str] = []
    calls: list[ToolCall] = []
    plain = True
    for position, block in enumerate(blocks):
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text" and isinstance(block.get("text"), str):
            text.append(block["text"])
            plain = plain and not any(
                value is not None for name, value in block.items() if name not in ("type", "text")
            )
        elif kind == "tool_use":
            arguments = written[position] if written else None
            calls.append(_tool_call(block, arguments))
            plain = plain and block.keys() <= {"type", "id", "name", "input"}
        else:
            plain = False
            if kind == "thinking" and isinstance(block.get("thinking"), str):
                reasoning.append(block["thinking"])
    rest: dict[str, Any] = {
        name: value
        for name, value in message.items()
        if name not in _TOP
        and value is not None
        and (name, value) not in (("type", "message"), ("role", "assistant"))
    }
    rest.update(extras)
    if not plain:
        rest["content"] = list(blocks)
    raw_usage = message.get("usage")
    usage = tier = None
    if isinstance(raw_usage, dict) and raw_usage:
        rest["usage"] = raw_usage
        usage = read_usage(raw_usage)
        tier = raw_usage.get("service_tier")
    for name in ("id", "model"):
        if message.get(name) is not None and not isinstance(message[name], str):
            rest[name] = message[name]
    raw_finish = message.get("stop_reason")
    finish: FinishReason = "error" if broken else "unknown"
    if raw_finish is not None:
        finish = _FINISH.get(str(raw_finish), "unknown")
    return Completion(
        text="".join(text),
        tool_calls=tuple(calls),
        finish_reason=finish,
        raw_finish_reason=None if raw_finish is None else str(raw_finish),
        usage=usage,
        usage_complete=complete,
        model=_text_or_none(message.get("model")),
        response_id=_text_or_none(message.get("id")),
        request_id=request_id_of(headers),
        refusal=_refusal(message) if finish == "refusal" else None,
        reasoning="".join(reasoning),
        service_tier=_text_or_none(tier),
        headers=header_facts(headers) or EMPTY,
        extras=rest or EMPTY,
    )


def _refusal(message: Mapping[str, Any]) -> str | None:
    details = message.get("stop_details")
    return _text_or_none(details.get("explanation")) if isinstance(details, dict) else None


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _tool_call(block: Mapping[str, Any], arguments: str | None) -> ToolCall:
    if arguments is None:
        arguments = json.dumps(block.get("input", {}), ensure_ascii=False, separators=(",", ":"))
    return ToolCall(str(block.get("id") or ""), str(block.get("name") or ""), arguments)


def read_response(provider: str, headers: Mapping[str, str], body: bytes) -> Completion:
    """Reads a whole response whose status says that it is an answer.

    Raises:
        ProviderError: the body is an error all the same, or no answer at all.
    """
    try:
        parsed = read_json(body)
        if not isinstance(parsed, dict):
            raise malformed(provider, "it is not a JSON object")
        blocks = parsed.get("content")
        if isinstance(blocks, list):
            return build_completion(parsed, blocks, headers)
    except ValueError:
        raise malformed(provider, "it is not JSON", body=body) from None
    except RecursionError:
        raise malformed(provider, "it is nested too deeply") from None
    if parsed.get("error"):
        # It began to answer, and may bill what it did.
        raise error_from_object(provider, parsed, headers=headers, billed=None)
    raise malformed(provider, "it has no content")


class _Block:
    """A content block of a stream, as far as it has been read."""

    __slots__ = ("call", "json", "raw", "texts")

    def __init__(self, raw: dict[str, Any], call: int | None) -> None:
        self.raw = raw
        self.call = call
        self.json: list[str] = []
        self.texts: dict[str, list[str]] = {}

    def add_text(self, name: str, text: str) -> None:
        if name not in self.texts:
            first = self.raw.get(name)
            self.texts[name] = [first] if isinstance(first, str) else []
        self.texts[name].append(text)

    def finished(self) -> dict[str, Any]:
        block = dict(self.raw)
        for name, texts in self.texts.items():
            block[name] = "".join(texts)
        written = self.written()
        if written is not None:
            try:
                block["input"] = json.loads(written)
            except (ValueError, RecursionError):
                block["input"] = written  # as the model wrote it, broken
        return block

    def written(self) -> str | None:
        """A tool's input as the model wrote it, which may be broken JSON."""
        return "".join(self.json) or None


class AnthropicStreamDecoder(SseReader):
    """Reads one stream of message events."""

    __slots__ = ("_blocks", "_calls", "_done", "_message", "_open", "_unknown")

    def __init__(self, provider: str, headers: Mapping[str, str] = EMPTY) -> None:
        super().__init__(provider, headers)
        self._message: dict[str, Any] = {}
        self._blocks: list[_Block] = []
        self._open: dict[int, _Block] = {}
        """Of each index the newest block: some servers number them all alike."""
        self._calls = 0
        self._done = False
        self._unknown: list[Any] = []

    def _completion(self) -> Completion:
        stopped = self._message.get("stop_reason") is not None
        return build_completion(
            self._message,
            [block.finished() for block in self._blocks],
            self._headers,
            complete=self._done or stopped,  # one event carries the reason and the final usage
            broken=not self._done and not stopped,
            extras={"events": self._unknown} if self._unknown else EMPTY,
            written=[block.written() for block in self._blocks],
        )

    def _read(self, _: str, data: bytes, *, at_end: bool = False) -> None:
        try:
            event = read_json(data)
            if not isinstance(event, dict):
                self._fail(malformed(self._provider, "a stream's event is not a JSON object"))
            else:
                self._take(event)
        except (ValueError, RecursionError):
            if not at_end and data.strip():  # what is cut off, or blank, is no event
                self._fail(malformed(self._provider, "a stream's event is not JSON", body=data))

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = event.get("type")
        if kind == "content_block_delta":
            self._take_delta(event)
        elif kind == "content_block_start":
            self._start_block(event)
        elif kind == "message_start":
            self._update(event.get("message"))
        elif kind == "message_delta":
            self._update(event.get("delta"))
            self._update({name: event[name] for name in event if name not in ("type", "delta")})
        elif kind == "message_stop":
            self._done = True
        elif kind == "error" or (kind is None and event.get("error")):
            self._fail(error_from_object(self._provider, event, headers=self._headers, billed=None))
        elif kind == "content_block_stop":
            self._end_block(event)
        elif kind != "ping":
            self._unknown.append(event)

    def _update(self, fields: Any) -> None:
        for name, value in fields.items() if isinstance(fields, dict) else ():
            if name == "usage":
                self._update_usage(value)
            elif value is not None:
                self._message[name] = value

    def _update_usage(self, raw: Any) -> None:
        if not isinstance(raw, dict):
            return
        old = self._message.get("usage")
        merged = dict(old) if isinstance(old, dict) else {}
        merged.update({name: value for name, value in raw.items() if value is not None})
        self._message["usage"] = merged
        usage = read_usage(merged)
        if usage is not None:
            self._events.append(UsageUpdate(usage))

    def _start_block(self, event: Mapping[str, Any]) -> None:
        raw = event.get("content_block")
        if not isinstance(raw, dict):
            self._unknown.append(event)
            return
        call = None
        if raw.get("type") == "tool_use":
            call = self._calls
            self._calls += 1
            self._events.append(
                ToolCallDelta(call, _text_or_none(raw.get("id")), _text_or_none(raw.get("name")))
            )
        block = self._open[_index(event, len(self._blocks))] = _Block(dict(raw), call)
        self._blocks.append(block)
        for name in ("text", "thinking"):
            if isinstance(raw.get(name), str):
                self._say(raw, name, raw[name])

    def _take_delta(self, event: Mapping[str, Any]) -> None:
        delta = event.get("delta")
        block = self._open.get(_index(event, len(self._blocks) - 1))
        if not isinstance(delta, dict) or block is None:
            self._unknown.append(event)
            return
        for name, value in delta.items():
            if name == "type" or value is None:
                continue
            if name == "partial_json" and isinstance(value, str):
                block.json.append(value)
                if block.call is not None and value:
                    self._events.append(ToolCallDelta(block.call, arguments=value))
            elif name == "citation":
                citations = block.raw.get("citations")
                block.raw["citations"] = [*(citations or ()), value]
            elif isinstance(value, str):
                block.add_text(name, value)
                self._say(block.raw, name, value)
            else:
                block.raw[name] = value

    def _end_block(self, event: Mapping[str, Any]) -> None:
        """Tells a call's arguments where they came whole, with the block's start."""
        block = self._open.get(_index(event, len(self._blocks) - 1))
        if block is None or block.call is None or block.json or not block.raw.get("input"):
            return
        block.json.append(_tool_call(block.raw, None).arguments)
        self._events.append(ToolCallDelta(block.call, arguments=block.json[0]))

    def _say(self, block: Mapping[str, Any], name: str, text: str) -> None:
        kind = block.get("type")
        if not text:
            return
        if name == "text" and kind == "text":
            self._events.append(TextDelta(text))
        elif name == "thinking" and kind == "thinking":
            self._events.append(ReasoningDelta(text))


def _index(event: Mapping[str, Any], otherwise: int) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else otherwise
