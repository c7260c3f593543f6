"""`response_format=` a type: the answer comes parsed, and a draft that is none is escalated."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import datetime
import enum
import json
import pickle
import uuid  # noqa: TC003 - pydantic reads the types
from decimal import Decimal  # noqa: TC003
from typing import Any

import pytest
from pydantic import BaseModel, Field, field_validator

from cascadeflow import ConfigurationError, CostTracker, RuleValidator
from cascadeflow.pipeline import events


class City(BaseModel):
    """A city."""

    name: str
    people: int = Field(ge=0)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name != "Oslo":
            raise ValueError("nobody knows this city")
        return name


OSLO = '{"name": "Oslo", "people": 700000}'


def ask(agent: Any, *, streaming: bool = False, **options: Any) -> Any:
    async def main() -> Any:
        question = "Which city is the capital of Norway?"
        if not streaming:
            return await agent.run(question, **options)
        async for event in agent.stream(question, **options):
            if isinstance(event, events.RequestCompleted):
                return event.result
        return None

    return asyncio.run(main())


@pytest.mark.parametrize("streaming", [False, True])
def test_the_answer_comes_as_the_type_that_was_asked_for(world: Any, streaming: bool) -> None:
    w = world(small=[OSLO])
    result = ask(w.agent("small", "big"), streaming=streaming, response_format=City)
    assert result.parsed == City(name="Oslo", people=700_000)
    assert result.parse_problem is None
    assert result.content == OSLO
    assert result.draft_accepted
    form = w.bodies[0]["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["name"] == "City"
    assert set(form["json_schema"]["schema"]["properties"]) == {"name", "people"}
    assert result.to_dict()["parsed"] == {"name": "Oslo", "people": 700_000}
    assert json.loads(json.dumps(result.metadata))["parsed"]["name"] == "Oslo"


@pytest.mark.parametrize(
    "draft",
    [
        "The capital is Oslo.",
        '{"name": "Oslo"}',
        '{"name": "Oslo", "people": -1}',
        '{"name": "Atlantis", "people": 1}',  # fits the schema: only the type knows better
    ],
)
@pytest.mark.parametrize("built_in", [False, True])
def test_a_draft_that_does_not_validate_is_escalated(
    world: Any, draft: str, built_in: bool
) -> None:
    w = world(small=[draft], big=[OSLO])
    options = {"validator": RuleValidator()} if built_in else {}
    result = ask(w.agent("small", "big", **options), response_format=City)
    assert w.asked == ["small", "big"]
    assert result.parsed == City(name="Oslo", people=700_000)
    assert result.quality.accepted is False
    assert result.routing.escalated


def test_a_verifier_that_does_not_keep_to_it_is_said_so_and_nothing_is_lost(world: Any) -> None:
    w = world(big=['{"name": "Atlantis", "people": 1}'])
    result = ask(w.agent("big"), response_format=City)
    assert result.parsed is None
    assert "nobody knows this city" in result.parse_problem
    assert result.content == '{"name": "Atlantis", "people": 1}'


def test_what_is_no_object_is_wrapped_for_the_provider_and_unwrapped_for_the_caller(
    world: Any,
) -> None:
    w = world(small=['{"value": [1, 2, 3]}'])
    result = ask(w.agent("small", "big"), response_format=list[int])
    assert result.parsed == [1, 2, 3]
    assert w.bodies[0]["response_format"]["json_schema"]["schema"]["type"] == "object"


def test_without_a_type_nothing_is_parsed(world: Any) -> None:
    w = world(small=[OSLO])
    result = ask(w.agent("small", "big"), response_format={"type": "json_object"})
    assert (result.parsed, result.parse_problem, result.content) == (None, None, OSLO)


def test_what_no_schema_can_be_made_of_is_refused_before_anything_is_sent(world: Any) -> None:
    class Strange:
        pass

    w = world(small=["never"])
    with pytest.raises(ConfigurationError):
        ask(w.agent("small", "big"), response_format=Strange)
    assert w.asked == []


def test_a_repeat_from_the_cache_is_parsed_too(world: Any) -> None:
    w = world(small=[OSLO])
    agent = w.agent("small", "big", cache="memory")
    first = ask(agent, response_format=City)
    again = ask(agent, response_format=City)
    assert again.routing.route == "cache"
    assert again.parsed == first.parsed == City(name="Oslo", people=700_000)


def test_tools_and_a_type_go_together(world: Any) -> None:
    def people(city: str) -> int:
        """Says how many people live in a city."""
        return len(city) * 175_000

    call = {"text": "", "calls": (("c1", "people", '{"city": "Oslo"}'),), "finish": "tool_calls"}
    w = world(small=[call, OSLO])
    tracker = CostTracker(global_budget=1, enforcement_mode="block")
    result = ask(
        w.agent("small", "big", cost_tracker=tracker),
        response_format=City,
        tools=[people],
        tool_executor=True,
        max_tokens=100,
    )
    assert w.asked == ["small", "small"], "a call is not yet the answer, and is no wrong one"
    assert result.parsed == City(name="Oslo", people=700_000)
    assert result.steps[0].outcomes[0].content == "700000"


class Colour(enum.Enum):
    RED = "red"


class Where(BaseModel):
    at: datetime.datetime
    price: Decimal


@dataclasses.dataclass
class Everything:
    some: set[int]
    key: uuid.UUID
    day: datetime.date
    colour: Colour
    where: Where
    by_day: dict[datetime.date, Decimal]
    took: datetime.timedelta
    raw: bytes
    share: float


EVERYTHING = {
    "some": [1],
    "key": "12345678-1234-5678-1234-567812345678",
    "day": "2026-01-02",
    "colour": "red",
    "where": {"at": "2026-01-02T03:04:05Z", "price": "1.50"},
    "by_day": {"2026-01-02": "2"},
    "took": "PT1S",
    "raw": "abc",
    "share": "nan",
}
SAID = json.dumps({**EVERYTHING, "share": "NaN"})


@pytest.mark.parametrize(
    ("kind", "text", "plain"),
    [
        (Everything, SAID, EVERYTHING),
        (set[int], '{"value": [1]}', [1]),
        (datetime.date, '{"value": "2026-01-02"}', "2026-01-02"),
        (list[Colour], '{"value": ["red"]}', ["red"]),
        (
            dict[int, Where],
            json.dumps({1: EVERYTHING["where"]}),
            {"1": EVERYTHING["where"]},
        ),
    ],
)
def test_whatever_was_parsed_the_result_is_plain_json_and_can_be_kept(
    world: Any, kind: Any, text: str, plain: Any
) -> None:
    result = ask(world(big=[text]).agent("big"), response_format=kind)
    assert result.parse_problem is None
    for written in (result.to_dict(), result.metadata):
        assert json.loads(json.dumps(written, allow_nan=False))["parsed"] == plain
    assert copy.deepcopy(result).to_dict() == result.to_dict()
    assert pickle.loads(pickle.dumps(result)).to_dict() == result.to_dict()  # noqa: S301 - our own


@pytest.mark.parametrize("built_in", [False, True])
def test_what_is_said_beside_a_call_is_not_yet_the_answer(world: Any, built_in: bool) -> None:
    def people(city: str) -> int:
        """Says how many people live in a city."""
        return len(city) * 175_000

    call = {
        "text": "Let me look that up.",
        "calls": (("c1", "people", '{"city": "Oslo"}'),),
        "finish": "tool_calls",
    }
    options = {"validator": RuleValidator()} if built_in else {}
    w = world(small=[call, OSLO])
    result = ask(
        w.agent("small", "big", **options),
        response_format=City,
        tools=[people],
        tool_executor=True,
    )
    assert w.asked == ["small", "small"]
    assert result.parsed == City(name="Oslo", people=700_000)
    for text in ("", "Let me look that up."):
        agent = world(big=[{**call, "text": text}]).agent("big", cache="memory")
        for route in ("direct", "cache"):
            result = ask(agent, response_format=City, tools=[people])
            assert result.routing.route == route
            assert (result.parsed, result.parse_problem) == (None, None)


def test_an_answer_that_is_not_what_was_asked_is_not_given_again(world: Any) -> None:
    class Capital(BaseModel):
        name: str
        people: int = Field(ge=0)

        @field_validator("people")
        @classmethod
        def _large(cls, people: int) -> int:
            if people < 1_000_000:
                raise ValueError("too few")
            return people

    w = world(big=["no JSON", OSLO])
    agent = w.agent("big", cache="memory")
    assert ask(agent, response_format=City).parse_problem
    assert ask(agent, response_format=City).parsed == City(name="Oslo", people=700_000)
    assert w.asked == ["big"] * 2
    Capital.__name__ = City.__name__
    Capital.__doc__ = City.__doc__
    ask(agent, response_format=Capital)
    assert w.asked == ["big"] * 3, "the answer that is kept would not be read"
