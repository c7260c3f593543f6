"""Whatever the bytes are, an answer or a typed error comes of them: never anything else."""

from __future__ import annotations

import gzip
import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow.errors import ProviderError
from cascadeflow.models.completion import Completed, Completion
from cascadeflow.providers.codecs import get_codec
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CODEC = get_codec("openai-responses")

Steps = tuple[Any, ...]

NAMES = ["type", "id", "call_id", "output", "content", "summary", "text", "delta", "item", "part"]
NAMES += ["response", "status", "error", "code", "usage", "input_tokens", "output_index"]
NAMES += ["logprobs", "arguments", "action", "tool_usage", "incomplete_details", "message"]
WORDS = ["message", "reasoning", "function_call", "custom_tool_call", "web_search_call", "failed"]
WORDS += ["output_text", "refusal", "summary_text", "completed", "incomplete", "queued", "error"]
WORDS += ["response.completed", "response.output_text.delta", "response.output_item.done"]
WORDS += ["response.function_call_arguments.delta", "response.created", "response.x.completed"]

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**60)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
"""JSON of any form, with a liking for the protocol's own words."""


@pytest.fixture(scope="module")
def bodies(recordings: Path) -> list[Any]:
    """Recorded answers, the smaller ones: a change to one is seldom lost in the mass."""
    with gzip.open(recordings / "openai-responses.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    found = [row["response"] for row in rows if "response" in row]
    return [body for body in found if len(json.dumps(body)) < 20_000]


@pytest.fixture(scope="module")
def streams(recordings: Path) -> list[list[Any]]:
    """Recorded streams, as their events."""
    with gzip.open(recordings / "openai-responses.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    texts = [row["response_text"] for row in rows if "response_text" in row]
    return [
        [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
        for text in texts
    ]


def places(value: Any, steps: Steps = ()) -> Iterator[Steps]:
    """Every place in a JSON value."""
    yield steps
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places(item, (*steps, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*steps, index))


def put(value: Any, steps: Steps, new: Any) -> Any:
    """A copy with something else at a place."""
    if not steps:
        return new
    value = deepcopy(value)
    inner = value
    for step in steps[:-1]:
        inner = inner[step]
    inner[steps[-1]] = new
    return value


def mutate(data: st.DataObject, value: Any) -> Any:
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(list(places(value))))
        value = put(value, place, data.draw(VALUES))
    return value


def check(completion: Completion) -> None:
    """An answer of any bytes can be used as every other: sent back, priced, shown."""
    assert isinstance(completion.text, str)
    assert isinstance(completion.reasoning, str)
    assert all(type(call.arguments) is str for call in completion.tool_calls)
    if completion.usage is not None:
        assert completion.usage.total_tokens >= 0
        assert all(count > 0 for count in completion.usage.requests.values())
    for text in (completion.model, completion.response_id, completion.service_tier):
        assert text is None or isinstance(text, str)
    assert repr(completion)
    message = CODEC.assistant_message(completion)
    if not has_no_json(completion.extras.get("output")):
        CODEC.encode(ChatRequest(model="m", messages=(Message("user", "Hi"), message)))


def has_no_json(value: Any) -> bool:
    """Whether Python read numbers that JSON does not have: they cannot be sent back."""
    return any(word in json.dumps(value) for word in ("NaN", "Infinity"))


def decode(body: bytes) -> None:
    try:
        completion = CODEC.decode(200, {}, body)
    except ProviderError as error:
        if error.partial is not None:
            check(error.partial)
    else:
        check(completion)


def decode_stream(chunks: Iterable[bytes]) -> list[Any]:
    events: list[Any] = []
    try:
        events.extend(CODEC.decode_stream(chunks))
    except ProviderError as error:
        check(error.partial)
        events.append(str(error))
    else:
        assert isinstance(events[-1], Completed)
        check(events[-1].completion)
    return events


def lines(events: Iterable[Any]) -> bytes:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_recorded_answers_with_anything_anywhere(bodies: list[Any], data: st.DataObject) -> None:
    body = mutate(data, data.draw(st.sampled_from(bodies)))
    decode(json.dumps(body).encode())


@settings(deadline=None, max_examples=60)
@given(body=VALUES)
def test_answers_of_any_json(body: Any) -> None:
    decode(json.dumps(body).encode())
    decode(json.dumps({"output": body}).encode())
    decode(json.dumps({"output": [body], "status": "completed", "usage": body}).encode())
    decode(json.dumps({"output": [], "status": "failed", "error": body}).encode())


@settings(deadline=None, max_examples=60)
@given(body=st.binary(max_size=200), status=st.sampled_from([200, 400, 429, 500]))
def test_answers_of_any_bytes(body: bytes, status: int) -> None:
    for data in (body, b'{"output":[' + body + b"]}"):
        try:
            check(CODEC.decode(status, {}, data))
        except ProviderError as error:
            check(error.partial or Completion())


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_recorded_streams_with_anything_anywhere(
    streams: list[list[Any]], data: st.DataObject
) -> None:
    events = list(data.draw(st.sampled_from(streams)))
    at = data.draw(st.integers(0, len(events) - 1))
    match data.draw(st.sampled_from(["change", "drop", "again", "swap", "insert"])):
        case "change":
            events[at] = mutate(data, events[at])
        case "drop":
            del events[at]
        case "again":
            events.insert(data.draw(st.integers(0, len(events))), events[at])
        case "swap":
            events[at], events[at - 1] = events[at - 1], events[at]
        case "insert":
            events.insert(at, data.draw(VALUES))
    sent = lines(events)
    given_whole = decode_stream([sent])
    size = data.draw(st.integers(1, 500))
    cut = decode_stream(sent[i : i + size] for i in range(0, len(sent), size))
    assert repr(cut) == repr(given_whole)  # NaN is not equal to itself


@settings(deadline=None, max_examples=80)
@given(events=st.lists(VALUES, max_size=6))
def test_streams_of_any_json(events: list[Any]) -> None:
    decode_stream([lines(events)])


KINDS = ["output_text.delta", "output_text.done", "content_part.added", "output_item.added"]
KINDS += ["output_item.done", "function_call_arguments.delta", "function_call_arguments.done"]
KINDS += ["refusal.delta", "reasoning_summary_text.delta", "reasoning_summary_part.done"]
KINDS += ["output_text.annotation.added", "web_search_call.completed", "created", "completed"]
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from([f"response.{kind}" for kind in KINDS])},
    optional={
        "output_index": st.integers(-1, 2) | VALUES,
        "item_id": st.sampled_from(["a", "b"]) | VALUES,
        "content_index": st.integers(0, 1) | VALUES,
        "summary_index": st.integers(0, 1) | VALUES,
        "delta": st.text(max_size=3) | VALUES,
        "text": st.text(max_size=3) | VALUES,
        "arguments": st.text(max_size=3) | VALUES,
        "part": st.fixed_dictionaries({"type": st.sampled_from(WORDS), "text": VALUES}) | VALUES,
        "item": st.fixed_dictionaries(
            {"type": st.sampled_from(WORDS)},
            optional={
                "id": st.sampled_from(["a", "b"]) | VALUES,
                "call_id": VALUES,
                "arguments": VALUES,
                "content": VALUES,
                "summary": VALUES,
            },
        ),
        "response": VALUES | st.fixed_dictionaries({"output": VALUES, "status": VALUES}),
        "logprobs": VALUES,
        "annotation": VALUES,
    },
)


@settings(deadline=None, max_examples=150)
@given(events=st.lists(EVENTS, max_size=12))
def test_streams_of_known_events_in_any_order_with_any_fields(events: list[Any]) -> None:
    sent = lines(events)
    whole = decode_stream([sent])
    assert repr(decode_stream(bytes([byte]) for byte in sent)) == repr(whole)


@settings(deadline=None, max_examples=60)
@given(data=st.binary(max_size=200))
def test_streams_of_any_bytes(data: bytes) -> None:
    decode_stream([data])
    decode_stream([b"data: " + data + b"\n\n"])
