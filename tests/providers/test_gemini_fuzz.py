"""Whatever the bytes are, an answer or a typed error comes of them: never anything else."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_rows import rows_of

from cascadeflow.errors import InvalidRequestError, ProviderError
from cascadeflow.models.completion import Completed, Completion
from cascadeflow.providers.codecs import get_codec
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Steps = tuple[Any, ...]

NAMES = ["candidates", "content", "parts", "text", "thought", "functionCall", "args", "name", "id"]
NAMES += ["finishReason", "index", "usageMetadata", "promptTokenCount", "totalTokenCount"]
NAMES += ["promptTokensDetails", "modality", "tokenCount", "promptFeedback", "blockReason"]
NAMES += ["groundingMetadata", "webSearchQueries", "groundingChunks", "logprobsResult", "error"]
NAMES += ["chosenCandidates", "topCandidates", "logProbability", "partialArgs", "willContinue"]
NAMES += ["jsonPath", "stringValue", "responseId", "modelVersion", "trafficType", "toolCall"]
WORDS = ["STOP", "AUDIO", "IMAGE", "SAFETY", "$.a[0].b", "$", "GOOGLE_SEARCH_WEB", "model"]

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
    """Recorded answers and pieces of streams, the smaller ones."""
    found: list[Any] = []
    for provider in ("gemini", "vertex"):
        for row in rows_of(recordings, provider):
            data = row.get("response_text", "").splitlines()
            found += [json.loads(line[6:]) for line in data if line.startswith("data: ")]
            found += [row["response"]] if "response" in row else []
    return [body for body in found if len(json.dumps(body)) < 3000]


def places(value: Any, steps: Steps = ()) -> Iterator[Steps]:
    """Every place in a JSON value."""
    yield steps
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places(item, (*steps, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*steps, index))


def mutate(data: st.DataObject, value: Any) -> Any:
    """A copy with something else at some places."""
    for _ in range(data.draw(st.integers(1, 3))):
        steps = data.draw(st.sampled_from(list(places(value))))
        new = data.draw(VALUES)
        if not steps:
            return new
        value = deepcopy(value)
        inner = value
        for step in steps[:-1]:
            inner = inner[step]
        inner[steps[-1]] = new
    return value


def check(completion: Completion | None) -> None:
    """An answer of any bytes can be used as every other: sent back, priced, shown."""
    if completion is None:
        return
    assert isinstance(completion.text, str)
    assert isinstance(completion.reasoning, str)
    assert all(type(call.arguments) is str for call in completion.tool_calls)
    if completion.usage is not None:
        assert completion.usage.total_tokens >= 0
        assert all(count > 0 for count in completion.usage.requests.values())
    for text in (completion.model, completion.response_id, completion.service_tier):
        assert text is None or isinstance(text, str)
    assert repr(completion)
    codec = get_codec("gemini")
    request = ChatRequest("m", (Message("user", "Hi"), codec.assistant_message(completion)))
    try:
        codec.encode(request)
    except InvalidRequestError as error:
        assert "JSON" in str(error)  # noqa: PT017 - Python reads numbers that JSON does not have


def decode(body: bytes, status: int = 200) -> None:
    try:
        check(get_codec("gemini").decode(status, {}, body))
    except ProviderError as error:
        check(error.partial)


def decode_stream(chunks: Iterable[bytes]) -> str:
    events: list[Any] = []
    try:
        events.extend(get_codec("gemini").decode_stream(chunks))
    except ProviderError as error:
        check(error.partial)
        events.append(str(error))
    else:
        assert isinstance(events[-1], Completed)
        check(events[-1].completion)
    return repr(events)  # NaN is not equal to itself


def lines(events: Iterable[Any]) -> bytes:
    return "".join(f"data: {json.dumps(event)}\r\n\r\n" for event in events).encode()


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_recorded_answers_with_anything_anywhere(bodies: list[Any], data: st.DataObject) -> None:
    body = mutate(data, data.draw(st.sampled_from(bodies)))
    decode(json.dumps(body).encode())
    decode(json.dumps([body, body]).encode())
    decode_stream([lines([body, body])])


@settings(deadline=None, max_examples=80)
@given(body=VALUES, status=st.sampled_from([200, 400, 429, 500]))
def test_answers_of_any_json(body: Any, status: int) -> None:
    decode(json.dumps(body).encode(), status)
    decode(json.dumps({"error": body}).encode(), status)
    decode(json.dumps({"candidates": body, "usageMetadata": body}).encode())
    parts = [{"text": body}, {"functionCall": body}, {"toolCall": body}, body]
    candidate = {"content": {"parts": parts}, "groundingMetadata": body, "logprobsResult": body}
    decode(json.dumps({"candidates": [candidate], "promptFeedback": body}).encode())


@settings(deadline=None, max_examples=80)
@given(body=st.binary(max_size=200), status=st.sampled_from([200, 400, 429, 500]))
def test_answers_and_streams_of_any_bytes(body: bytes, status: int) -> None:
    decode(body, status)
    decode(b'{"candidates":[' + body + b"]}", status)
    whole = decode_stream([body])
    assert decode_stream(bytes([byte]) for byte in body) == whole
    decode_stream([b"data: " + body + b"\n\n"])


PARTS = st.fixed_dictionaries(
    {},
    optional={
        "text": st.text(max_size=3) | VALUES,
        "thought": st.booleans() | VALUES,
        "thoughtSignature": VALUES,
        "functionCall": st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["f", "g", ""]) | VALUES,
                "id": VALUES,
                "args": VALUES,
                "willContinue": st.booleans() | VALUES,
                "partialArgs": st.lists(
                    st.fixed_dictionaries(
                        {"jsonPath": st.sampled_from(["$.a", "$.a[0]", "$.b.c"]) | VALUES},
                        optional={
                            "stringValue": st.text(max_size=3) | VALUES,
                            "numberValue": VALUES,
                            "willContinue": st.booleans(),
                        },
                    )
                    | VALUES,
                    max_size=3,
                ),
            },
        ),
        "toolCall": VALUES,
    },
)
PIECES = st.fixed_dictionaries(
    {
        "candidates": st.lists(
            st.fixed_dictionaries(
                {"content": st.fixed_dictionaries({"parts": st.lists(PARTS, max_size=3)})},
                optional={
                    "index": st.integers(-1, 3) | VALUES,
                    "finishReason": st.sampled_from(WORDS) | VALUES,
                    "groundingMetadata": VALUES,
                    "logprobsResult": VALUES,
                },
            ),
            max_size=2,
        )
    },
    optional={"usageMetadata": VALUES, "responseId": VALUES, "error": VALUES},
)


@settings(deadline=None, max_examples=150)
@given(pieces=st.lists(PIECES, max_size=6), stray=st.booleans())
def test_streams_of_pieces_with_any_fields(pieces: list[Any], *, stray: bool) -> None:
    sent = lines(pieces)
    if stray and pieces:
        sent += json.dumps(pieces[0], indent=1).encode()
    whole = decode_stream([sent])
    assert decode_stream(bytes([byte]) for byte in sent) == whole
    decode(json.dumps(pieces).encode())


@pytest.mark.parametrize("depth", [50, 500, 900, 2000, 100_000])
def test_deep_nesting_is_an_answer_or_a_typed_error(depth: int) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        deep = (opening * depth + "1" + closing * depth).encode()
        call = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":'
        body = call + deep + b"}}}]}}]}"
        decode(body)
        decode_stream([b"data: " + body + b"\n\n"])
        decode(b'{"error":{"message":' + deep + b',"details":' + deep + b"}}", 400)
        decode_stream([b'data: {"error":{"code":' + deep + b"}}\n\n"])
