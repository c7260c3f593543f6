"""Second opinions are asked for the cheapest first, and nobody is once it is clear."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.quality.test_calibration import calibration

from cascadeflow.config import LOCAL_CHECKS, QualityConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.completion import Completion
from cascadeflow.quality.evidence import AGREES, DISAGREES, graded, logit, probability
from cascadeflow.quality.opinions import NotAskedError, same_final_answer, second_opinions
from cascadeflow.quality.validator import CascadeValidator
from cascadeflow.types import ChatRequest, ImagePart, Message, TextPart, Tool, ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.quality import QualityReport

SUM = "What is 17 + 25?"
DRAFT = Completion(text="The answer is 42.", finish_reason="stop")
SAME, OTHER = "The answer is 42.", "The answer is 43."


def graded_as(grade: int, fault: str = "") -> str:
    return json.dumps({"fault": fault, "grade": grade})


class Scripted:
    """Models that say what they are told to; `None` could not be asked."""

    def __init__(
        self,
        other: Completion | str | None = SAME,
        samples: Sequence[Completion | str] = (),
        grade: Completion | str | None = None,
    ) -> None:
        self.asked: list[str] = []
        self.wanted: list[Any] = []
        self.shown: tuple[Message, ...] = ()
        self._other, self._samples, self._grade = other, samples, grade

    async def answer(self, wanted: bool | str) -> tuple[str, Completion]:
        self.asked.append("cross_check")
        self.wanted.append(wanted)
        return "p:other", self._said(self._other)

    async def sample(self, count: int, temperature: float) -> Sequence[Completion]:
        self.asked.append("self_consistency")
        self.wanted.append((count, temperature))
        if not self._samples:
            raise NotAskedError("no money")
        return [self._said(each) for each in self._samples]

    async def judge(
        self,
        wanted: bool | str,
        messages: tuple[Message, ...],
    ) -> tuple[str, Completion]:
        self.asked.append("judge")
        self.wanted.append(wanted)
        self.shown = messages
        return "p:judge", self._said(self._grade)

    @staticmethod
    def _said(said: Completion | str | None) -> Completion:
        if said is None:
            raise NotAskedError("no money")
        return Completion(text=said, finish_reason="stop") if isinstance(said, str) else said


def judged(
    adviser: Scripted | None,
    draft: Completion = DRAFT,
    *,
    request: ChatRequest | None = None,
    **config: Any,
) -> QualityReport:
    chat = request or ChatRequest("m", (Message("user", SUM),))
    config = {"without": LOCAL_CHECKS} | config  # what opinions add, and nothing else
    return asyncio.run(
        CascadeValidator().judge_with(
            chat, draft, config=QualityConfig.strict(**config), adviser=adviser
        )
    )


def verdicts(report: QualityReport) -> dict[str, str]:
    names = ("cross_check", "self_consistency", "judge", "opinions")
    return {each.name: each.verdict for each in report.checks if each.name in names}


def test_agreement_settles_it_and_nobody_else_is_asked() -> None:
    adviser = Scripted(SAME, [SAME] * 3, graded_as(1))
    report = judged(adviser, samples=3)
    assert adviser.asked == ["cross_check"]
    assert report.accepted is True
    assert verdicts(report) == {"cross_check": "passed"}
    assert report.score is not None
    assert report.score > 0.99


def test_disagreement_asks_on_in_order_of_cost() -> None:
    adviser = Scripted(OTHER, [SAME, OTHER], graded_as(2, "42 is wrong"))
    report = judged(adviser, samples=2)
    assert adviser.asked == ["cross_check", "self_consistency", "judge"]
    assert adviser.wanted == [True, (2, 0.7), True]
    assert report.accepted is False
    assert verdicts(report) == {
        "cross_check": "failed",
        "self_consistency": "passed",  # half of them agree
        "judge": "failed",
    }


def test_nobody_is_asked_of_a_draft_that_its_text_condemns() -> None:
    for text in ("", "I'm sorry, but I can't help with that.", SUM):
        adviser = Scripted(SAME, [], graded_as(5))
        report = judged(adviser, Completion(text=text, finish_reason="stop"))
        assert adviser.asked == []
        assert report.accepted is False
        assert report.mode == "strict"


def test_a_draft_cut_at_its_limit_is_no_matter_of_opinion() -> None:
    adviser = Scripted(SAME, [], graded_as(5))
    assert judged(adviser, replace(DRAFT, finish_reason="length")).accepted is False
    assert adviser.asked == []


def test_a_tool_call_is_held_to_its_tool_and_to_no_opinion() -> None:
    call = ToolCall("1", "add", '{"a": 17}')
    tool = Tool("add", parameters={"type": "object", "required": ["a"]})
    chat = ChatRequest("m", (Message("user", SUM),), tools=(tool,))
    adviser = Scripted()
    draft = Completion(tool_calls=(call,), finish_reason="tool_calls")
    report = judged(adviser, draft, request=chat)
    assert (adviser.asked, report.accepted) == ([], True)
    wrong = replace(draft, tool_calls=(replace(call, arguments="{}"),))
    assert judged(adviser, wrong, request=chat, threshold=0.0).accepted is False


def test_where_nobody_can_be_asked_nothing_is_accepted() -> None:
    report = judged(None)
    assert report.accepted is False
    assert verdicts(report) == {"opinions": "error"}
    assert "nobody can be asked" in report.reason
    silent = judged(Scripted(None, [], None), samples=1)
    assert silent.accepted is False
    assert set(verdicts(silent).values()) == {"error"}
    assert "no money" in silent.reason


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.8])
def test_no_threshold_makes_up_for_opinions_that_were_not_had(threshold: float) -> None:
    assert judged(Scripted(None, [], None), threshold=threshold).accepted is False


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("The capital of Norway is Oslo.", "the capital  of Norway is\nOslo", True),
        ("The capital of Norway is Oslo.", "The capital of Norway is Bergen.", None),
        ("It is cold. " * 40, "It is cold. " * 40, None),  # too long to be one answer
        ("```\nif a:\n    b()\nc()\n```", "```\nif a:\n    b()\n    c()\n```", None),
        ("```\nSet a = B\n```", "```\nSet a = b\n```", None),
        (" ", "  ", None),
        ("", "", None),
        ("The answer is 42.", "The answer is 43.", False),
    ],
)
def test_short_answers_that_are_the_same_text_agree_whatever_their_form(
    one: str, other: str, same: bool | None
) -> None:
    assert same_final_answer(one, other) is same_final_answer(other, one) is same


def test_another_model_that_writes_the_very_same_sentence_agrees() -> None:
    norway = ChatRequest("m", (Message("user", "What is the capital of Norway?"),))
    draft = Completion(text="The capital of Norway is Oslo.", finish_reason="stop")
    report = judged(Scripted(draft.text), draft, request=norway, judge=False)
    assert verdicts(report) == {"cross_check": "passed"}
    assert report.accepted is True


def test_a_report_says_why_nobody_had_anything_to_say() -> None:
    prose = Completion(text="It was a bright cold day in April.", finish_reason="stop")
    adviser = Scripted("The clocks were striking thirteen, and it was cold.")
    report = judged(adviser, prose, judge=False)
    assert verdicts(report) == {"cross_check": "not_applicable"}
    assert report.accepted is False
    assert "no final answer to compare" in report.reason


@pytest.mark.parametrize(
    "other",
    [
        Completion(text="I'm sorry, but I can't help with that.", finish_reason="stop"),
        Completion(text="So we add 17 and", finish_reason="length"),
        Completion(text="", finish_reason="stop"),
        Completion(refusal="No.", finish_reason="refusal"),
        Completion(text="The answer is 43", finish_reason="content_filter"),
    ],
)
def test_who_does_not_answer_neither_agrees_nor_disagrees(other: Completion) -> None:
    adviser = Scripted(other, [other, other], graded_as(5))
    report = judged(adviser, samples=2)
    assert verdicts(report) == {
        "cross_check": "error",
        "self_consistency": "not_applicable",
        "judge": "passed",
    }
    assert report.accepted is True
    alone = judged(Scripted(other), judge=False)
    assert alone.accepted is False


# Each parameter


def test_clear_above_says_when_enough_is_known() -> None:
    relaxed, eager = Scripted(SAME, [], graded_as(1)), Scripted(SAME, [], graded_as(1))
    assert judged(relaxed).accepted is True
    assert relaxed.asked == ["cross_check"]
    assert judged(eager, clear_above=0.999).accepted is False
    assert eager.asked == ["cross_check", "judge"]


def test_a_draft_that_its_text_makes_clear_needs_no_opinion() -> None:
    adviser = Scripted(OTHER, [], graded_as(1))
    report = judged(adviser, clear_above=0.89)
    assert (adviser.asked, report.accepted) == ([], True)
    judged(adviser, clear_above=0.91)  # text alone says no more than 0.9
    assert adviser.asked == ["cross_check", "judge"]


def test_one_opinion_against_a_faultless_text_rejects_it() -> None:
    assert judged(Scripted(OTHER), judge=False).accepted is False
    assert judged(Scripted(None, [OTHER]), samples=1, judge=False).accepted is False
    assert judged(Scripted(grade=graded_as(3)), cross_check=False).accepted is False


@pytest.mark.parametrize("count", [1, 3, 20])
def test_a_drafter_that_repeats_itself_outvotes_no_other_model(count: int) -> None:
    repeats = Scripted(OTHER, [SAME] * count)
    report = judged(repeats, samples=count, judge=False)
    assert report.accepted is False
    assert report.score == pytest.approx(probability(logit(0.9) + DISAGREES))
    assert repeats.asked == ["cross_check"]  # what could not change it is not paid for
    # With a judge behind, they are asked, for they may end it; a good grade alone makes up for it.
    graded_well = Scripted(OTHER, [SAME] * count, graded_as(5))
    report = judged(graded_well, samples=count)
    assert report.score == pytest.approx(probability(logit(0.9) + DISAGREES + graded(5)))
    assert report.accepted is True
    against = Scripted(OTHER, [OTHER] * count, graded_as(5))
    assert judged(against, samples=count).accepted is False


def test_a_drafter_that_repeats_itself_outvotes_nobody_by_a_calibration_either() -> None:
    made = calibration(mode="strict", cross_check="third", agrees=2.0, disagrees=-1.0)
    for judge in (True, False):
        config = QualityConfig.strict(samples=3, judge=judge, threshold=0.8)
        adviser = Scripted(OTHER, [SAME] * 3, graded_as(4))
        request = ChatRequest("m", (Message("user", SUM),))
        found = asyncio.run(
            second_opinions(
                *(0.85, request, DRAFT), config=config, adviser=adviser, calibration=made
            )
        )
        grade = graded(4) if judge else 0.0
        assert found.probability == pytest.approx(probability(logit(0.85) - 1.0 + grade))
        assert ("self_consistency" in adviser.asked) is judge


def test_a_second_model_that_agrees_makes_up_for_one_that_does_not() -> None:
    class Two(Scripted):
        async def answer(self, wanted: bool | str) -> tuple[str, Completion]:
            self._other = OTHER if wanted == "a" else SAME
            return await super().answer(wanted)

    report = judged(Two(), cross_check=("a", "b"), judge=False)
    assert report.score == pytest.approx(probability(logit(0.9) + DISAGREES + AGREES))
    assert report.accepted is True


def test_clear_below_says_when_it_is_lost() -> None:
    patient, quick = Scripted(OTHER, [], graded_as(5)), Scripted(OTHER, [], graded_as(5))
    assert judged(patient).accepted is True
    assert patient.asked == ["cross_check", "judge"]
    assert judged(quick, clear_below=0.75).accepted is False
    assert quick.asked == ["cross_check"]


def test_nothing_is_clear_on_the_wrong_side_of_the_threshold() -> None:
    high = Scripted(SAME, [], graded_as(5))
    assert judged(high, threshold=0.995).accepted is True  # agreement alone is not enough
    assert high.asked == ["cross_check", "judge"]
    low = Scripted(SAME, [], graded_as(5))
    report = judged(low, Completion(text="12 * 12 = 154", finish_reason="stop"), threshold=0.001)
    assert low.asked[0] == "cross_check"
    assert report.accepted is True


def test_cross_check_says_who_or_nobody() -> None:
    named, nobody = Scripted(SAME), Scripted(SAME, [], graded_as(5))
    judged(named, cross_check="p:other")
    assert named.wanted == ["p:other"]
    judged(nobody, cross_check=False)
    assert nobody.asked == ["judge"]


def test_samples_and_their_temperature_are_passed_on() -> None:
    adviser = Scripted(OTHER, [SAME] * 4)
    report = judged(adviser, samples=4, sample_temperature=1.1, cross_check=False, judge=False)
    assert adviser.wanted == [(4, 1.1)]
    assert report.accepted is True
    none = Scripted(OTHER, [SAME] * 4, graded_as(5))
    judged(none)
    assert "self_consistency" not in none.asked


def test_samples_that_differ_among_themselves_reject() -> None:
    adviser = Scripted(None, ["The answer is 1.", "The answer is 2.", OTHER])
    report = judged(adviser, samples=3, judge=False)
    assert report.accepted is False
    assert "0 of 3 samples agree" in report.reason


def test_judge_says_who_or_nobody() -> None:
    named = Scripted(OTHER, [], graded_as(5))
    judged(named, judge="p:judge")
    assert named.wanted == [True, "p:judge"]
    nobody = Scripted(OTHER, [], graded_as(5))
    judged(nobody, judge=False)
    assert nobody.asked == ["cross_check"]


def test_the_judge_is_shown_the_rubric_the_request_and_the_draft() -> None:
    adviser = Scripted(OTHER, [], graded_as(5))
    judged(adviser, rubric="5: it is short")
    instruction, given = adviser.shown
    assert "5: it is short" in instruction.text
    assert SUM in given.text
    assert DRAFT.text in given.text


# Judges


@pytest.mark.parametrize(
    ("grade", "verdict", "accepted"),
    [(5, "passed", True), (4, "passed", True), (3, "failed", False), (1, "failed", False)],
)
def test_a_grade_decides(grade: int, verdict: str, accepted: bool) -> None:
    report = judged(Scripted(grade=graded_as(grade)), cross_check=False)
    assert verdicts(report) == {"judge": verdict}
    assert report.accepted is accepted
    (check,) = [each for each in report.checks if each.name == "judge"]
    assert check.score == (grade - 1) / 4


@pytest.mark.parametrize(
    "said", ["It is fine.", "", '{"grade": 9}', '{"fault": ""}', "Rating: 5/10", "[]", "5"]
)
def test_a_judge_without_a_grade_is_an_error_and_no_pass(said: str) -> None:
    report = judged(Scripted(grade=said), cross_check=False)
    assert verdicts(report) == {"judge": "error"}
    assert report.accepted is False
    assert "gave no grade" in report.reason


def test_a_judge_that_was_cut_off_has_not_said_its_last_word() -> None:
    cut = Completion(text='Perhaps {"grade": 5}. But then', finish_reason="length")
    report = judged(Scripted(grade=cut), cross_check=False)
    assert verdicts(report) == {"judge": "error"}
    assert report.accepted is False


def test_what_a_judge_says_of_the_fault_is_in_no_reason() -> None:
    secret = "the user's name is Ann"
    for grade in (5, 2):
        report = judged(Scripted(grade=graded_as(grade, secret * 20)), cross_check=False)
        (check,) = [each for each in report.checks if each.name == "judge"]
        assert check.quoted == (secret * 20)[:200]
        assert secret not in report.reason
        assert all(secret not in each.reason for each in report.checks)


def test_a_judge_is_not_asked_of_what_it_is_not_shown() -> None:
    parts = (TextPart("What is this?"), ImagePart(url="https://example.com/a.png"))
    adviser = Scripted(None, [], graded_as(5))
    report = judged(adviser, request=ChatRequest("m", (Message("user", parts),)))
    assert "judge" not in adviser.asked
    assert report.accepted is False
    words = ChatRequest("m", (Message("user", (TextPart(SUM),)),))
    assert judged(adviser, request=words).accepted is True


def test_each_opinion_says_how_long_it_took() -> None:
    report = judged(Scripted(OTHER, [SAME], graded_as(4)), samples=1)
    took = {each.name: each.ms for each in report.checks if each.name in verdicts(report)}
    assert len(took) == 3
    assert all(ms is not None and ms >= 0 for ms in took.values())


# The configuration


@pytest.mark.parametrize(
    "wrong",
    [
        {"clear_above": 1.1},
        {"clear_above": True},
        {"clear_below": float("nan")},
        {"clear_above": 0.4},
        {"cross_check": ""},
        {"cross_check": 3},
        {"judge": None},
        {"samples": 21},
        {"samples": -1},
        {"samples": 1.0},
        {"sample_temperature": 2.1},
        {"sample_temperature": "hot"},
        {"rubric": "  "},
        {"rubric": 5},
        {"check_timeout": 0},
        {"check_timeout": 601},
        {"cross_check": False, "judge": False},
        {"mode": "thorough"},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        QualityConfig.strict(**wrong)


def test_options_of_another_mode_are_kept_and_do_nothing() -> None:
    config = QualityConfig.fast(cross_check="x", samples=3, judge="y", relevance_threshold=1.0)
    chat, adviser = ChatRequest("m", (Message("user", SUM),)), Scripted(OTHER, [OTHER] * 3)
    heard = CascadeValidator().judge_with(chat, DRAFT, config=config, adviser=adviser)
    plain = CascadeValidator().judge(chat, DRAFT, config=QualityConfig.fast())
    report, without = asyncio.run(heard), asyncio.run(plain)
    assert (report.score, report.accepted) == (without.score, without.accepted)
    assert adviser.asked == []
    strict = replace(config, mode="strict")
    assert (strict.cross_checks, strict.samples, strict.judge) == (("x",), 3, "y")


@settings(max_examples=200)
@given(
    prior=st.floats(0.01, 0.99),
    other=st.sampled_from([SAME, OTHER, None]),
    samples=st.lists(st.sampled_from([SAME, OTHER]), max_size=3),
    grade=st.sampled_from([None, 1, 2, 3, 4, 5]),
    threshold=st.floats(0, 1),
    above=st.floats(0.5, 1),
    below=st.floats(0, 0.5),
    judges=st.booleans(),
)
def test_opinions_add_up_whatever_is_said(  # noqa: PLR0917 - what is drawn
    prior: float,
    other: str | None,
    samples: list[str],
    grade: int | None,
    threshold: float,
    above: float,
    below: float,
    judges: bool,
) -> None:
    config = QualityConfig.strict(
        threshold=threshold,
        clear_above=above,
        clear_below=below,
        samples=len(samples),
        judge=judges,
    )
    adviser = Scripted(other, samples, None if grade is None else graded_as(grade))
    request = ChatRequest("m", (Message("user", SUM),))
    found = asyncio.run(second_opinions(prior, request, DRAFT, config=config, adviser=adviser))
    names = [
        "cross_check",
        *(["self_consistency"] if samples else []),
        *(["judge"] if judges else []),
    ]
    assert adviser.asked == names[: len(adviser.asked)]  # in order, none left out
    moves = {"cross_check": {SAME: AGREES, OTHER: DISAGREES, None: 0.0}[other]}
    moves["judge"] = 0.0 if grade is None else graded(grade)
    odds = logit(min(prior, 0.9))
    silent = True
    for check in found.checks:
        sure = probability(odds)
        assert min(below, threshold) <= sure < max(above, threshold)
        if check.name != "self_consistency":
            odds += moves[check.name]
            silent = silent and moves[check.name] == 0.0
        else:
            silent = False
            agreeing = samples.count(SAME)
            agrees, differs = math.log(0.7 / (0.3 * 0.6)), math.log(0.3 / (1 - 0.3 * 0.6))
            said = agreeing * agrees + (len(samples) - agreeing) * differs
            if other != OTHER or said < 0:
                odds += said
    assert found.probability == pytest.approx(probability(odds))
    if len(found.checks) < len(names):
        assert found.heard  # it was clear
    elif silent:
        assert not found.heard
