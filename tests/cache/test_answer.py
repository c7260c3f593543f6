"""Which answers are kept, and that they come back as they were."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.cache import CachedAnswer
from cascadeflow.errors import InvalidRequestError
from cascadeflow.models.completion import Completion
from cascadeflow.models.usage import Usage
from cascadeflow.types import ToolCall

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WHOLE = Completion(
    text="Oslo",
    finish_reason="stop",
    usage=Usage(input_tokens=3, output_tokens=1),
    model="gpt-5-mini-2025-08-07",
    response_id="r1",
    reasoning="Norway",
    headers={"x-request-id": "sk-secret"},
    extras={"key": "sk-secret"},
)

text = st.text(st.characters(exclude_categories=()), max_size=12)
counts = st.none() | st.integers(0, 2**53)
usages = st.builds(
    Usage,
    **{each.name: counts for each in fields(Usage) if each.name != "requests"},
    requests=st.dictionaries(text, st.integers(0, 9), max_size=2),
)
answers = st.builds(
    CachedAnswer,
    text=text,
    model=text,
    created=st.datetimes(
        min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
        timezones=st.just(timezone(timedelta(hours=2))),
    ),
    finish_reason=st.sampled_from(["stop", "tool_calls"]),
    tool_calls=st.lists(st.builds(ToolCall, text, text, text), max_size=2).map(tuple),
    reasoning=text,
    usage=st.none() | usages,
    nanodollars=st.none() | st.integers(0, 2**62),
    response_id=st.none() | text,
)


@given(answers)
def test_an_answer_comes_back_as_it_was(answer: CachedAnswer) -> None:
    assert CachedAnswer.from_bytes(answer.to_bytes()) == answer


def test_a_whole_answer_is_kept_with_what_it_cost_and_without_what_is_secret() -> None:
    answer = CachedAnswer.of(WHOLE, model="openai:gpt-5-mini", created=NOW, nanodollars=5)
    assert answer == CachedAnswer(
        text="Oslo",
        model="openai:gpt-5-mini",
        created=NOW,
        usage=WHOLE.usage,
        nanodollars=5,
        reasoning="Norway",
        response_id="r1",
    )
    assert b"secret" not in answer.to_bytes()
    both = Usage(input_tokens=9, output_tokens=2)
    summed = CachedAnswer.of(WHOLE, model="m", created=NOW, usage=both)
    assert summed is not None
    assert summed.usage == both


def test_tool_calls_are_an_answer() -> None:
    calls = replace(
        WHOLE, text="", finish_reason="tool_calls", tool_calls=(ToolCall("1", "f", "{}"),)
    )
    answer = CachedAnswer.of(calls, model="m", created=NOW)
    assert answer is not None
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == calls.tool_calls


@pytest.mark.parametrize(
    "change",
    [
        *({"finish_reason": reason} for reason in ("length", "content_filter", "refusal")),
        *({"finish_reason": reason} for reason in ("error", "unknown")),
        {"refusal": "I cannot"},
        {"usage_complete": False},
        {"usage": None},
        {"text": ""},
    ],
)
def test_what_may_be_better_the_next_time_is_not_kept(change: dict[str, Any]) -> None:
    assert CachedAnswer.of(replace(WHOLE, **change), model="m", created=NOW) is None


def test_an_unfinished_answer_cannot_be_made_by_hand_either() -> None:
    wrong: Any = "length"
    with pytest.raises(InvalidRequestError, match="length"):
        CachedAnswer(text="Os", model="m", created=NOW, finish_reason=wrong)
    with pytest.raises(InvalidRequestError, match="time zone"):
        CachedAnswer(text="Os", model="m", created=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b'{"text": 1}', b"\xff\xfe"])
def test_what_is_no_answer_is_not_read_as_one(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - several kinds of it
        CachedAnswer.from_bytes(data)
