"""A verifier that answered the very same request as a cross-check is not asked, or paid, twice."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.agent.opinions_site import (
    RIGHT,
    SUM,
    WRONG,
    Site,
    ask,
    check_books,
    graded,
    held,
    money,
    read,
    used,
    verdicts,
)

from cascadeflow import AnswerReplaced, CallStarted, QualityConfig, TextChunk, Tool
from cascadeflow.money import to_usd
from cascadeflow.pipeline.run import Run
from cascadeflow.quality.validator import CascadeValidator

if TYPE_CHECKING:
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.types import ChatRequest

BIG = QualityConfig.strict(cross_check="big")
CALL = {"text": "", "calls": (("c1", "add", '{"a": 17, "b": 25}'),), "finish": "tool_calls"}


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def site_of(world: Any, judge: list[Any] | None = None, **scripts: Any) -> Site:
    """One whose draft is wrong, and rejected by the judge."""
    return Site(
        world,
        judge or [graded(1)],
        **{"small": [WRONG], "middle": [RIGHT], "big": [RIGHT], **scripts},
    )


@pytest.mark.parametrize("streaming", [False, True])
def test_the_verifiers_answer_is_the_one_it_gave_as_a_cross_check_and_paid_once(
    world: Any, bill: Any, streaming: bool
) -> None:
    site = site_of(world)
    with money() as tracker:
        agent = site.agent(cost_tracker=tracker, quality_config=BIG)
        result = read(agent)[0] if streaming else ask(agent)
        assert site.asked == ["small", "big", "big?"]
        assert [event.charge.role for event in used(tracker)] == ["draft", "cross_check", "judge"]
        check_books(tracker, site, bill, [result])
        assert held(tracker) == 0
    assert result.content == "The answer is 42."
    assert (result.routing.model_used, result.routing.answered_as) == ("openai:big", "cross_check")
    assert result.routing.escalated
    assert verdicts(result) == {"cross_check": "failed", "judge": "failed"}
    once = bill("big", RIGHT["input_tokens"], RIGHT["output_tokens"])
    grade = graded(1)
    graded_for = bill("big", grade["input_tokens"], grade["output_tokens"])
    assert result.cost.opinions == to_usd(once + graded_for)
    assert result.cost.verifier is None
    assert result.cost.total == result.cost.draft + result.cost.opinions
    assert (result.cost.verifier_alone, result.cost.saved_basis) == (to_usd(once), "measured")
    assert [attempt.model for attempt in result.attempts] == ["small", "big", "big"]
    assert result.usage_by_model["openai:big"].total_tokens == 28 + 215
    assert result.timing.verifier_ms is None


def test_what_each_answer_was_asked_for_as_is_told(world: Any) -> None:
    site = site_of(world, small=[RIGHT])
    assert ask(site.agent(quality_config=BIG)).routing.answered_as == "draft"
    assert site.asked == ["small", "big"]
    site = site_of(world)
    assert ask(site.agent()).routing.answered_as == "verifier"
    assert site.asked == ["small", "middle", "big?", "big"]
    assert ask(site.agent(), force_direct=True).routing.answered_as == "direct"


@pytest.mark.parametrize("show_draft", [True, False])
def test_on_a_stream_it_is_shown_whole_in_the_drafts_place(world: Any, show_draft: bool) -> None:
    result, told = read(site_of(world).agent(quality_config=BIG), show_draft=show_draft)
    text = ""
    for each in told:
        if isinstance(each, AnswerReplaced):
            text = ""
        elif isinstance(each, TextChunk):
            text += each.text
    assert text == result.content == "The answer is 42."
    assert sum(isinstance(each, AnswerReplaced) for each in told) == show_draft
    asked = [(each.model, each.role) for each in told if isinstance(each, CallStarted)]
    assert asked == [
        ("openai:small", "draft"),
        ("openai:big", "cross_check"),
        ("openai:big", "judge"),
    ]


def test_where_the_verifier_fails_a_cross_check_that_is_next_in_line_is_not_asked_again(
    world: Any, bill: Any
) -> None:
    site = site_of(world, big=[500])
    with money() as tracker:
        result = ask(site.agent(cost_tracker=tracker))
        check_books(tracker, site, bill, [result])
    assert site.asked == ["small", "middle", "big?", "big"]
    assert (result.content, result.routing.answered_as) == ("The answer is 42.", "cross_check")
    assert result.routing.fallbacks == ("openai:big",)
    assert result.cost.saved_basis == "estimated"  # nobody knows what the planned one would take


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 99},
        {"temperature": 0.3},
        {"tools": (Tool("add", parameters={"type": "object"}),)},
        {"seed": 7},
        {"extra": {"top_k": 3}},
    ],
)
def test_a_verifier_that_would_be_asked_otherwise_is_asked(
    world: Any, bill: Any, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Run.chat_for

    def chat_for(run: Run, model: ModelConfig) -> ChatRequest:
        chat = written(run, model)
        heard = any(call.role == "cross_check" for call in run.calls)
        return replace(chat, **change) if heard else chat

    monkeypatch.setattr(Run, "chat_for", chat_for)
    site = site_of(world)
    with money() as tracker:
        result = ask(site.agent(cost_tracker=tracker, quality_config=BIG))
        check_books(tracker, site, bill, [result])
    assert site.asked == ["small", "big", "big?", "big"]
    assert result.routing.answered_as == "verifier"
    assert result.cost.verifier == result.cost.verifier_alone


@pytest.mark.parametrize(
    "first",
    [
        {"text": "I'm sorry, but I can't help with that."},
        {"text": "The answer is", "finish": "length"},
        {"text": ""},
        500,
    ],
)
def test_an_answer_that_is_none_is_not_served(world: Any, first: Any) -> None:
    site = site_of(world, big=[first, RIGHT])
    result = ask(site.agent(quality_config=BIG))
    assert site.asked == ["small", "big", "big?", "big"]
    assert (result.content, result.routing.answered_as) == ("The answer is 42.", "verifier")


def test_an_answer_that_cannot_be_read_as_what_was_asked_for_is_not_served(world: Any) -> None:
    def said(answer: Any) -> dict[str, Any]:
        return {"text": json.dumps({"answer": answer})}

    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}
    site = site_of(world, small=[said(41)], big=[said("many"), said(42)])
    result = ask(site.agent(quality_config=BIG), response_format=form)
    assert site.asked == ["small", "big", "big?", "big"]
    assert result.content == '{"answer": 42}'
    site = site_of(world, small=[said(41)], big=[said(42)])
    result = ask(site.agent(quality_config=BIG), response_format=form)
    assert site.asked == ["small", "big", "big?"]
    assert result.content == '{"answer": 42}'


@pytest.mark.parametrize("length", [0, 40_000])
def test_whether_it_is_an_answer_is_not_for_a_validator_of_ones_own_to_fail_at(
    world: Any, length: int
) -> None:
    class Mine(CascadeValidator):
        def judge_text(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("drafts are judged by judge_with")

    site = site_of(world, big=[{**RIGHT, "text": f"The answer is 42.{' Really.' * (length // 8)}"}])
    result = ask(site.agent(quality_config=BIG, validator=Mine()))
    assert site.asked == ["small", "big", "big?"]
    assert result.routing.answered_as == "cross_check"


def test_a_long_answer_is_served_too(world: Any) -> None:
    text = "The answer is 42. " + "It follows from adding both numbers. " * 2_000
    site = site_of(world, big=[{**RIGHT, "text": text}])
    result = ask(site.agent(quality_config=BIG))
    assert site.asked == ["small", "big", "big?"]
    assert result.content == text


@pytest.mark.parametrize("streaming", [False, True])
def test_in_a_tool_loop_its_wish_to_call_a_tool_is_granted(world: Any, streaming: bool) -> None:
    site = site_of(world, big=[CALL, RIGHT])
    agent = site.agent(quality_config=BIG)
    options: dict[str, Any] = {"tools": [add], "tool_executor": True}
    result = read(agent, **options)[0] if streaming else ask(agent, **options)
    assert site.asked == ["small", "big", "big?", "big"]  # the last one with what the tool gave
    assert "42" in str(site.world.bodies[-1]["messages"][-1]["content"])
    assert [step.outcomes[0].content for step in result.steps] == ["42"]
    assert result.content == "The answer is 42."
    assert result.routing.answered_as == "verifier"


def test_it_is_kept_for_who_asks_again_as_any_verifiers_answer_is(world: Any) -> None:
    site = site_of(world)
    agent = site.agent(quality_config=BIG, cache="memory")

    async def main() -> Any:
        async with agent:
            await agent.run(SUM, max_tokens=100)
            return await agent.run(SUM, max_tokens=100)

    again = asyncio.run(main())
    assert site.asked == ["small", "big", "big?"]
    assert (again.routing.route, again.routing.answered_as) == ("cache", None)
    assert (again.content, again.routing.model_used) == ("The answer is 42.", "openai:big")


def test_the_answers_own_response_id_is_named_and_not_the_judges(world: Any) -> None:
    site = site_of(world)
    plain = site._plain

    def numbered(request: Any) -> Any:
        came = plain(request)
        name = f"chatcmpl-call-{len(site.sent)}-of".encode()
        return replace(came, chunks=tuple(c.replace(b"chatcmpl", name) for c in came.chunks))

    site._plain = numbered
    result = ask(site.agent(quality_config=BIG))
    assert result.response_ids["openai:big"] == "chatcmpl-call-2-of-big"
