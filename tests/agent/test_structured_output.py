"""`response_format=` a type: the answer comes parsed, and a draft that is none is escalated."""

from __future__ import annotations

import asyncio
import json
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
