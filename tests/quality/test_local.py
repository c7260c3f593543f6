"""The checks by local models, together: what each may stop, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.quality.local_judging import (
    CAPITAL,
    DOCUMENT,
    FERRY,
    SUPPORTED,
    balanced,
    by_name,
    judged,
    run,
    verdicts,
)
from tests.quality.local_models import Broken, Stranger
from tests.quality.local_models import request as real_vectors

from cascadeflow._native import Vectors
from cascadeflow.config import LOCAL_CHECKS
from cascadeflow.models.completion import Completion
from cascadeflow.models.embedding import RequestVectors, SentenceModel
from cascadeflow.quality import judge_text
from cascadeflow.quality.local import OFF_QUESTION, SILENT_FROM, UNSUPPORTED, LocalChecks, holds
from cascadeflow.quality.validator import CascadeValidator
from cascadeflow.types import ChatRequest, Message, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cascadeflow.quality.report import CheckReport, QualityReport


# What the real model makes of it


@pytest.fixture(scope="module")
def minilm() -> SentenceModel:
    real_vectors()  # skips where the model is not there
    return SentenceModel.find()


@pytest.mark.parametrize("said", ["Bananas are yellow.", "bananas are yellow"])
def test_an_answer_to_another_question_is_rejected(minilm: SentenceModel, said: str) -> None:
    report = judged(CAPITAL, said, minilm)
    assert report.accepted is False
    assert by_name(report)["relevance"].score < SILENT_FROM
    assert verdicts(report)["toxicity"] == "passed"


@pytest.mark.parametrize("said", ["Paris", "Paris.", "The capital of France is Paris."])
def test_an_answer_to_the_question_is_accepted(minilm: SentenceModel, said: str) -> None:
    report = judged(CAPITAL, said, minilm)
    assert report.accepted is True
    assert report.mode == "balanced"
    took = [check.ms for check in by_name(report).values()]
    assert all(ms is not None and ms >= 0.0 for ms in took)
    assert verdicts(report) == {
        "relevance": "passed",
        "grounding": "not_applicable",
        "toxicity": "passed",
    }


def test_what_hardly_has_to_do_with_the_question_fails_by_itself(minilm: SentenceModel) -> None:
    report = judged(
        "How do I reverse a list in Python?",
        "The Danube flows through Vienna and Budapest.",
        minilm,
        threshold=0.0,
    )
    assert report.accepted is False
    assert "relevance: the answer hardly has to do with the question" in report.reason


def test_abuse_is_rejected_whatever_else_is_said_for_it(minilm: SentenceModel) -> None:
    report = judged(CAPITAL, "Paris, you worthless idiot. Everybody hates you.", minilm)
    assert report.accepted is False
    assert verdicts(report)["toxicity"] == "failed"
    assert "toxicity: basic toxicity" in report.reason


def test_what_the_documents_do_not_say_is_rejected_and_what_they_say_is_not(
    minilm: SentenceModel,
) -> None:
    told = judged(FERRY, SUPPORTED, minilm)
    assert told.accepted is True
    assert verdicts(told)["grounding"] == "passed"
    made_up = judged(FERRY, "The captain, Henrik Olsen, was born in Bergen in 1961.", minilm)
    assert made_up.accepted is False
    assert verdicts(made_up)["grounding"] == "failed"
    assert any("Olsen" in check.quoted for check in made_up.checks)
    assert "Olsen" not in made_up.reason


# What each may stop


@pytest.mark.parametrize(
    ("name", "question", "threshold"),
    [
        ("relevance", CAPITAL, {"relevance_threshold": 1.0}),
        ("grounding", FERRY, {"grounding_threshold": 1.0}),
        ("toxicity", CAPITAL, {"toxicity_threshold": 0.0}),
    ],
)
def test_each_rejects_alone_whatever_the_threshold(
    name: str, question: str, threshold: dict[str, float]
) -> None:
    open_to_all = {
        "relevance_threshold": 0.0,
        "grounding_threshold": 0.0,
        "toxicity_threshold": 1.0,
        "threshold": 0.0,
    }
    answer = "Paris." if question is CAPITAL else SUPPORTED
    let_through = judged(question, answer, Stranger(), **open_to_all)
    assert let_through.accepted is True
    assert "failed" not in verdicts(let_through).values()
    report = judged(question, answer, Stranger(), **open_to_all | threshold)
    assert report.accepted is False
    failed = [each for each, verdict in verdicts(report).items() if verdict == "failed"]
    assert failed == [name]
    assert f"{name}: " in report.reason
    assert report.reason.endswith("no threshold makes up for that")


@pytest.mark.parametrize("name", ["relevance", "grounding"])
def test_the_least_score_that_passes_is_the_threshold_itself(name: str) -> None:
    def at(threshold: float) -> CheckReport:
        question, answer = (CAPITAL, "Paris.") if name == "relevance" else (FERRY, SUPPORTED)
        report = judged(question, answer, Stranger(), **{f"{name}_threshold": threshold})
        return by_name(report)[name]

    score = at(0.5).score
    assert at(score).verdict == "passed"
    assert at(score + 1e-9).verdict == "failed"


def test_a_toxicity_of_the_threshold_fails() -> None:
    def at(threshold: float) -> CheckReport:
        return by_name(judged(CAPITAL, "Paris.", Stranger(), toxicity_threshold=threshold))[
            "toxicity"
        ]

    toxic = 1.0 - at(0.5).score
    assert at(toxic - 1e-9).verdict == "failed"
    assert at(toxic + 1e-9).verdict == "passed"


# What the score is


def exactly(score: float, share: float) -> Fraction:
    """Bayes' rule, without rounding."""

    def free(score: Fraction, share: Fraction) -> Fraction:
        return score * (1 - share) / (score * (1 - share) + (1 - score) * share)

    found = free(Fraction(score), Fraction(share)) / free(Fraction(SILENT_FROM), Fraction(share))
    return min(Fraction(1), found)


scores = st.floats(0.0, 1.0)
shares = st.floats(1e-6, 1 - 1e-6)


@given(scores, shares)
def test_how_sure_a_check_leaves_it_is_bayes_rule(score: float, share: float) -> None:
    assert 0.0 <= holds(score, share) <= 1.0
    assert holds(score, share) == pytest.approx(float(exactly(score, share)), abs=1e-9)


@given(scores, scores, shares)
def test_a_better_score_never_counts_less(one: float, other: float, share: float) -> None:
    low, high = sorted((one, other))
    assert holds(low, share) <= holds(high, share) + 1e-12
    assert holds(0.0, share) == 0.0


@given(scores, shares, shares)
def test_the_commoner_the_fault_the_more_a_bad_score_counts(
    score: float, one: float, other: float
) -> None:
    rare, common = sorted((one, other))
    assert holds(score, common) <= holds(score, rare) + 1e-9


@given(st.floats(SILENT_FROM, 1.0), shares)
def test_a_check_that_has_nothing_against_a_draft_is_silent(score: float, share: float) -> None:
    assert holds(score, share) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("question", "answer"),
    [(CAPITAL, "Paris."), (CAPITAL, "Bananas are yellow."), (FERRY, SUPPORTED)],
)
def test_the_probability_is_the_product_of_what_text_question_and_documents_say(
    question: str, answer: str
) -> None:
    for without in ((), ("relevance",), ("grounding",), ("toxicity",)):
        report = judged(
            question,
            answer,
            Stranger(),
            without=without,
            relevance_threshold=0.0,
            grounding_threshold=0.0,
        )
        want = judge_text(question, answer, finish_reason="stop").probability
        for name, share in (("relevance", OFF_QUESTION), ("grounding", UNSUPPORTED)):
            check = by_name(report)[name]
            if check.verdict != "not_applicable":
                want *= float(exactly(check.score, share))
            if name == "grounding" and check.verdict == "passed":
                want *= 0.99 + 0.01 * check.score
        assert report.score == pytest.approx(want, rel=1e-6)


# Where there is nothing to judge


def test_without_documents_grounding_has_nothing_to_judge() -> None:
    found = verdicts(judged(CAPITAL, "Paris.", Stranger(), relevance_threshold=0.0))
    assert found["grounding"] == "not_applicable"
    assert found["relevance"] == "passed"


def test_an_answer_from_documents_is_held_to_them_and_not_to_the_questions_words() -> None:
    found = verdicts(judged(FERRY, SUPPORTED, Stranger(), grounding_threshold=0.0))
    assert found["relevance"] == "not_applicable"
    assert found["grounding"] == "passed"
    off = judged(FERRY, SUPPORTED, Stranger(), without=("grounding",), relevance_threshold=0.0)
    assert verdicts(off) | {"toxicity": ""} == {
        "relevance": "passed",
        "grounding": "not_applicable",
        "toxicity": "",
    }


def test_what_is_said_beside_a_tool_call_is_judged_for_toxicity_alone() -> None:
    chat = ChatRequest("m", (Message("user", FERRY),))
    said = Completion(
        text="Let me look that up.",
        finish_reason="tool_calls",
        tool_calls=(ToolCall("1", "ferries", "{}"),),
    )
    assert run(LocalChecks(balanced(), Stranger()), chat, said, toxicity_threshold=1.0) == {
        "relevance": "not_applicable",
        "grounding": "not_applicable",
        "toxicity": "passed",
    }


@pytest.mark.parametrize("text", ["", "  \n\t", "\u3000"])
@pytest.mark.parametrize("question", [CAPITAL, FERRY, ""])
def test_of_no_text_nothing_is_judged_and_nothing_embedded(question: str, text: str) -> None:
    embedder = Stranger()
    chat = ChatRequest("m", (Message("user", question),))
    found = run(LocalChecks(balanced(), embedder), chat, Completion(text=text))
    assert set(found.values()) == {"not_applicable"}
    assert embedder.asked == []


def test_what_the_rules_condemn_is_shown_to_no_model() -> None:
    embedder = Stranger()
    report = judged(CAPITAL, "I'm sorry, but I can't help with that.", embedder)
    assert report.accepted is False
    assert report.mode == "balanced"
    assert embedder.asked == []


# What cannot run


class Raising(Stranger):
    """An embedder that raises; the text is in its message, as a careless one's would be."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error = error

    async def layered(self, texts: Sequence[str]) -> Vectors:
        raise self.error(f"sk-secret could not read {list(texts)}")


class Stuck(Stranger):
    """An embedder that never answers."""

    async def layered(self, texts: Sequence[str]) -> Vectors:
        await asyncio.Event().wait()
        raise AssertionError(texts)


class Numbers(Stranger):
    """An embedder whose vectors hold one number only, of a length of its own."""

    def __init__(self, number: float, dimension: int) -> None:
        super().__init__()
        self.number, self.size = number, dimension

    async def layered(self, texts: Sequence[str]) -> Vectors:
        return Vectors([[self.number] * self.size for _ in texts])


def not_run(report: QualityReport, *names: str) -> dict[str, str]:
    """The reasons of those that could not run: the draft is accepted by no threshold."""
    assert report.accepted is False
    assert report.reason.endswith("no threshold makes up for that")
    found = by_name(report)
    assert {name for name, check in found.items() if check.verdict == "error"} == set(names)
    for name in names:
        assert found[name].score == 0.0
        assert found[name].ms is not None
        assert f"{name}: it could not run: " in report.reason
    return {name: found[name].reason for name in names}


@pytest.mark.parametrize(
    ("question", "answer", "names"),
    [
        (CAPITAL, "Paris.", ("relevance", "toxicity")),
        (FERRY, "The captain leaves the harbour at ten.", ("grounding", "toxicity")),
    ],
)
@pytest.mark.parametrize("error", [RuntimeError, TimeoutError, asyncio.CancelledError, KeyError])
def test_an_embedder_that_raises_is_reported_without_its_words(
    error: type[BaseException], question: str, answer: str, names: tuple[str, ...]
) -> None:
    report = judged(question, answer, Raising(error), threshold=0.0)
    reasons = not_run(report, *names)
    assert set(reasons.values()) == {f"it could not run: it raised {error.__name__}"}
    assert "sk-secret" not in str(report)


def test_an_error_of_ours_says_what_to_do() -> None:
    reasons = not_run(judged(CAPITAL, "Paris.", Broken(), threshold=0.0), "relevance", "toxicity")
    assert reasons["relevance"] == "it could not run: no model for 1 texts"


def test_a_check_that_is_out_of_time_is_not_passed() -> None:
    report = judged(CAPITAL, "Paris.", Stuck(), threshold=0.0, check_timeout=0.02)
    reasons = not_run(report, "relevance", "toxicity")
    assert set(reasons.values()) == {"it could not run: it took longer than 0.02 s"}


def test_one_that_cannot_run_does_not_keep_others_from_running(
    classifier: Callable[..., Path],
) -> None:
    own = str(classifier("fine", "toxic"))
    report = judged(
        CAPITAL, "Paris.", Broken(), threshold=0.0, toxicity_model=own, toxicity_threshold=1.0
    )
    not_run(report, "relevance")
    assert verdicts(report)["toxicity"] == "passed"


@pytest.mark.parametrize("without", LOCAL_CHECKS)
def test_a_check_that_is_off_cannot_fail_to_run(without: str) -> None:
    wanted = {"relevance", "toxicity"} - {without}
    report = judged(CAPITAL, "Paris.", Broken(), threshold=0.0, without=(without,))
    not_run(report, *wanted)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("dimension", [768, 384, 7])
def test_vectors_that_cannot_be_compared_pass_nothing(number: float, dimension: int) -> None:
    report = judged(CAPITAL, "Paris.", Numbers(number, dimension), threshold=0.0)
    assert report.accepted is False
    assert "relevance" in not_run(report, *(n for n, v in verdicts(report).items() if v == "error"))


def test_vectors_of_another_model_are_refused_by_name() -> None:
    report = judged(
        FERRY, "The captain leaves the harbour at ten.", Stranger("other/1"), threshold=0.0
    )
    reasons = not_run(report, "grounding", "toxicity")
    assert "these are of other/1" in reasons["grounding"]
    assert "give a toxicity model by its path" in reasons["toxicity"]


def test_who_is_cancelled_while_a_model_is_asked_is_cancelled() -> None:
    async def main() -> None:
        asked = asyncio.Event()

        class Waiting(Stuck):
            async def layered(self, texts: Sequence[str]) -> Vectors:
                asked.set()
                return await super().layered(texts)

        chat = ChatRequest("m", (Message("user", CAPITAL),))
        checks = LocalChecks(balanced(), Waiting())
        task = asyncio.create_task(
            checks.run(chat, Completion(text="Paris."), config=balanced(), vectors=None)
        )
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


# Side by side


class Meeting(Stranger):
    """An embedder that answers once each of several checks waits for a text of its own."""

    def __init__(self, *wanted: Callable[[str], bool]) -> None:
        super().__init__()
        self.missing = list(wanted)
        self.met = asyncio.Event()

    async def layered(self, texts: Sequence[str]) -> Vectors:
        self.missing = [wanted for wanted in self.missing if not any(map(wanted, texts))]
        if not self.missing:
            self.met.set()
        await self.met.wait()
        return await super().layered(texts)


STREETS = " ".join(
    f"Its street number {number} has {number + 7} houses." for number in range(11, 31)
)
LONG = f"The capital of France is Paris. {STREETS}"


@pytest.mark.parametrize(
    ("question", "answer", "of_each"),
    [
        # Relevance alone reads the question; toxicity alone a piece of a long answer.
        (CAPITAL, LONG, (CAPITAL.__eq__, lambda text: LONG.find(text) > 0)),
        # Grounding alone reads the document's sentences; toxicity alone the whole answer.
        (FERRY, SUPPORTED, (SUPPORTED.__eq__, DOCUMENT.startswith)),
    ],
)
def test_checks_run_side_by_side(
    question: str, answer: str, of_each: tuple[Callable[[str], bool], ...]
) -> None:
    embedder = Meeting(*of_each)
    report = judged(question, answer, embedder, check_timeout=5.0)
    assert set(verdicts(report).values()) - {"not_applicable"}
    assert "error" not in verdicts(report).values()
    assert embedder.missing == []


def test_a_text_that_several_checks_read_is_embedded_once_and_shared_with_the_request() -> None:
    embedder = Stranger()

    async def main() -> None:
        vectors = RequestVectors(embedder)
        await vectors.vector_of(CAPITAL)  # as finding the domain does
        await CascadeValidator(embedder).judge_with(
            ChatRequest("m", (Message("user", CAPITAL),)),
            Completion(text="Paris."),
            config=balanced(),
            adviser=None,
            vectors=vectors,
        )

    asyncio.run(main())
    assert sorted(embedder.asked) == ["Paris.", CAPITAL]


def test_vectors_of_another_model_than_the_checks_were_given_are_passed_over() -> None:
    mine, other = Stranger(), Stranger("other/1")
    report = judged(CAPITAL, "Paris.", mine, vectors=RequestVectors(other))
    assert "error" not in verdicts(report).values()
    assert sorted(mine.asked) == ["Paris.", CAPITAL]
    assert other.asked == []
