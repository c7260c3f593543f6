"""Server-sent events: however the bytes are cut, the events are the same."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.providers import get_codec
from cascadeflow.providers.sse import SseEvent, SseParser


def parse(*chunks: bytes) -> list[SseEvent]:
    parser = SseParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.finish()


def slow(data: bytes) -> list[SseEvent]:
    """The standard's own words (WHATWG HTML 9.2.6), read over the whole stream at once."""
    events: list[SseEvent] = []
    name, lines = "", []
    text = data.removeprefix(b"\xef\xbb\xbf")
    for line in [*re.split(rb"\r\n|\n|\r", text), b""]:
        if not line:
            if lines:
                events.append((name, b"\n".join(lines)))
            name, lines = "", []
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                lines.append(value)
            elif field == b"event":
                name = value.decode("utf-8", "replace")
    return events


pieces = st.sampled_from(
    b"data:|data: |data|event: |event:|: comment|id: 1|{}|[DONE]| |\n|\n\n|\r|\r\n|\r\n\r\n".split(
        b"|"
    )
)
streams = st.lists(pieces, max_size=40).map(b"".join)


@given(stream=streams)
def test_the_parser_reads_what_the_standard_says(stream: bytes) -> None:
    assert parse(stream) == slow(stream)


@given(stream=streams, data=st.data())
def test_any_split_of_the_bytes_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    bounds = [0, *cuts, len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(bounds)]
    assert parse(*chunks) == parse(stream)


@given(stream=streams)
def test_byte_by_byte_gives_the_same_events(stream: bytes) -> None:
    assert parse(*(bytes([byte]) for byte in stream)) == parse(stream)


def test_an_event_that_no_blank_line_ended_is_given_at_the_end() -> None:
    parser = SseParser()
    assert parser.feed(b"data: [DONE]") == []
    assert parser.finish() == [("", b"[DONE]")]


@pytest.mark.parametrize("size", [1, 7])
def test_a_long_line_in_small_pieces_is_not_copied_again_and_again(size: int) -> None:
    """A quadratic parser would copy 1 MB a million times: hours, so its time-out would fail it."""
    line = b"data: " + b"x" * 1_000_000 + b"\n\n"
    events = parse(*(line[i : i + size] for i in range(0, len(line), size)))
    assert [len(data) for _, data in events] == [1_000_000]


OPENAI = [
    {"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"id": "c", "choices": [{"index": 0, "delta": {"reasoning": "höchst — 🤔"}}]},
    {"id": "c", "choices": [{"index": 0, "delta": {"content": "Grüße, 世界 🌍"}}]},
    {"choices": [{"delta": {"tool_calls": [{"id": "1", "function": {"name": "f"}}]}}]},
    {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": '{"ä": 1}'}}]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
]
ANTHROPIC = [
    {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "世界 🌍"}},
    {"type": "ping"},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]


@pytest.mark.parametrize(("provider", "events"), [("openai", OPENAI), ("anthropic", ANTHROPIC)])
@given(data=st.data(), ending=st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"]))
def test_a_codec_gives_the_same_events_however_its_stream_is_cut(
    provider: str, events: list[dict[str, Any]], data: st.DataObject, ending: str
) -> None:
    lines = [json.dumps(event, ensure_ascii=False) for event in events]
    if provider == "openai":
        lines.append("[DONE]")
    stream = "".join(f"data: {line}{ending}" for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    chunks = [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]
    codec = get_codec(provider)
    whole = list(codec.decode_stream([stream]))
    assert list(codec.decode_stream(chunks)) == whole
    assert whole[-1].completion.usage_complete
