from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cascadeflow.config import QualityConfig
from cascadeflow.models.completion import Completion
from cascadeflow.quality import QualityReport, RuleValidator, Validator, judge_tool_calls
from cascadeflow.types import ChatRequest, Message, Tool, ToolCall

WEATHER = Tool(
    "weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
)


def judged(
    question: str, completion: Completion, *, threshold: float | None = None, **request: Any
) -> QualityReport:
    validator = RuleValidator()
    promise: Validator = validator  # a type checker holds it to the protocol
    assert promise is validator
    config = QualityConfig() if threshold is None else QualityConfig.fast(threshold=threshold)
    chat = ChatRequest("a-model", (Message("user", question),), **request)
    return asyncio.run(validator.judge(chat, completion, config=config))


def call(name: str, arguments: str) -> ToolCall:
    return ToolCall("call_1", name, arguments)


def test_a_good_answer_is_accepted_with_its_threshold_and_checks() -> None:
    report = judged("What is the capital of Peru?", Completion(text="Lima.", finish_reason="stop"))
    assert report.accepted is True
    assert report.mode == "fast"
    assert report.threshold == QualityConfig().threshold
    assert report.score is not None
    assert report.score >= QualityConfig().threshold
    assert [check.name for check in report.checks][-1] == "tool_calls"
    assert "no check failed" in report.reason


def test_a_rejection_names_what_failed() -> None:
    report = judged("What is 12 * 12?", Completion(text="12 * 12 = 154", finish_reason="stop"))
    assert report.accepted is False
    assert "arithmetic" in report.reason
    assert "144" in report.reason


def test_the_threshold_decides() -> None:
    answer = Completion(text="12 * 12 = 154", finish_reason="stop")
    assert judged("What is 12 * 12?", answer, threshold=0.0).accepted is True
    assert judged("What?", Completion(text="Lima."), threshold=0.999).accepted is False


def test_the_system_prompt_and_the_last_user_message_are_what_was_asked() -> None:
    messages = (
        Message("system", "Respond only with valid JSON."),
        Message("user", "List 5 rivers."),
        Message("assistant", "1. Rhine"),
        Message("user", "And the capital of Peru?"),
    )
    request = ChatRequest("a-model", messages)
    report = asyncio.run(
        RuleValidator().judge(request, Completion(text="Lima."), config=QualityConfig())
    )
    failed = [check for check in report.checks if check.verdict == "failed"]
    assert [check.name for check in failed] == ["format"]
    assert "JSON" in failed[0].reason


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ((call("wether", '{"city": "Lima"}'),), "no tool called 'wether'"),
        ((call("weather", '{"city": "Lima"'),), "not closed"),
        ((call("weather", '["Lima"]'),), "not object"),
        ((call("weather", '{"days": 2}'),), "lacks the member “city”"),
        ((call("weather", '{"city": "Lima", "days": "two"}'),), "not integer"),
        ((call("weather", '{"city": "Lima"}'), call("", "{}")), "no tool called ''"),
    ],
)
def test_a_tool_call_that_cannot_be_made_rejects_the_answer(
    calls: tuple[ToolCall, ...], reason: str
) -> None:
    completion = Completion(tool_calls=calls, finish_reason="tool_calls")
    report = judged("Weather in Lima?", completion, tools=(WEATHER,))
    assert report.accepted is False
    assert report.score is not None
    assert report.score <= 0.01
    assert reason in report.reason


def test_a_tool_call_that_can_be_made_is_accepted_without_text() -> None:
    calls = (call("weather", '{"city": "Lima"}'),)
    completion = Completion(tool_calls=calls, finish_reason="tool_calls")
    assert judged("Weather in Lima?", completion, tools=(WEATHER,)).accepted is True
    nothing = (call("now", ""),)
    completion = Completion(tool_calls=nothing, finish_reason="tool_calls")
    assert judged("What time is it?", completion, tools=(Tool("now"),)).accepted is True


@pytest.mark.parametrize(
    ("required", "calls", "verdict"),
    [
        (None, (), "not_applicable"),
        ("auto", (), "not_applicable"),
        ("none", (), "not_applicable"),
        ("required", (), "failed"),
        ("weather", (), "failed"),
        ("required", (call("now", "{}"),), "passed"),
        ("weather", (call("now", "{}"),), "failed"),
        ("now", (call("now", "{}"),), "passed"),
    ],
)
def test_a_tool_call_that_was_required_must_come(
    required: str | None, calls: tuple[ToolCall, ...], verdict: str
) -> None:
    report = judge_tool_calls(calls, (WEATHER, Tool("now")), required=required)
    assert report.verdict == verdict


def test_a_refusal_carried_apart_rejects_the_answer() -> None:
    report = judged("How?", Completion(refusal="I can't help with that.", finish_reason="refusal"))
    assert report.accepted is False


def test_reasoning_without_an_answer_is_empty() -> None:
    report = judged("How?", Completion(reasoning="Hm, let me think.", finish_reason="stop"))
    assert "only reasoning" in report.reason
