"""How sure a model was of its words speaks against a guess, and never for an answer."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.config import LOCAL_CHECKS, TEXT_CHECKS, TOKEN_CHECKS, QualityConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.completion import Completion, TokenLogprob
from cascadeflow.quality import RuleValidator, judge_text
from cascadeflow.quality.calibration import Calibration, Expected
from cascadeflow.quality.confidence import judge_confidence, mean_probability
from cascadeflow.quality.opinions import NotAskedError
from cascadeflow.quality.validator import CascadeValidator
from cascadeflow.types import ChatRequest, Message, ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cascadeflow.quality.report import CheckReport, QualityReport

QUESTION = "What is the capital of Peru?"
SURE, GUESS = 0.98, 0.1


def tokens(*probabilities: float) -> tuple[TokenLogprob, ...]:
    return tuple(TokenLogprob("word ", math.log(each)) for each in probabilities)


def draft(*probabilities: float, text: str = "Lima.", **fields: Any) -> Completion:
    return Completion(
        text=text, finish_reason="stop", logprobs=tokens(*probabilities) or None, **fields
    )


def judged(
    completion: Completion, config: QualityConfig | None = None, question: str = QUESTION
) -> QualityReport:
    return asyncio.run(
        CascadeValidator().judge_with(
            ChatRequest("a-model", (Message("user", question),)),
            completion,
            config=config or QualityConfig.fast(),
            adviser=Nobody(),
        )
    )


class Nobody:
    """Has nobody to ask."""

    async def answer(self, *_: Any) -> Any:
        raise NotAskedError("nobody is there")

    sample = judge = answer


def confidence(report: QualityReport) -> CheckReport:
    (found,) = (check for check in report.checks if check.name == "confidence")
    return found


probabilities = st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=40)


@given(probabilities)
def test_the_score_is_the_geometric_mean(given_: list[float]) -> None:
    want = math.prod(each ** (1 / len(given_)) for each in given_)
    assert mean_probability(tokens(*given_)) == pytest.approx(want)
    assert judge_confidence(draft(*given_)).check.score == pytest.approx(want)


@given(probabilities, st.floats(0.0, 1.0))
def test_it_moves_the_odds_within_bounds_and_never_upwards(given_: list[float], p: float) -> None:
    found = judge_confidence(draft(*given_))
    after = found.weighed(p)
    assert 0.0 <= after <= p
    assert 0.3 <= found.ratio <= 1.0
    if 0.001 < p < 0.999:
        odds, less = p / (1 - p), after / (1 - after)
        assert less / odds == pytest.approx(found.ratio)


@given(st.floats(1e-4, 1.0), st.floats(1e-4, 1.0))
def test_the_surer_of_two_models_never_counts_for_less(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert judge_confidence(draft(low)).ratio <= judge_confidence(draft(high)).ratio


@given(
    st.lists(
        st.one_of(
            st.floats(allow_nan=True, allow_infinity=True),
            st.integers(),
            st.none(),
            st.text(max_size=3),
        ),
        max_size=30,
    )
)
def test_whatever_comes_as_log_probabilities_a_mean_is_a_probability(values: list[Any]) -> None:
    mean = mean_probability([TokenLogprob("a", value) for value in values])
    assert mean is None or 0.0 < mean <= 1.0


NONSENSE: Sequence[Any] = (None, math.nan, -math.inf, math.inf, 1.0, 0.5, "-0.1", 10**400)


@pytest.mark.parametrize("value", NONSENSE)
def test_what_is_no_log_probability_is_passed_over(value: Any) -> None:
    nothing = (TokenLogprob("Lima", value),)
    found = confidence(judged(Completion(text="Lima.", finish_reason="stop", logprobs=nothing)))
    assert (found.verdict, found.score, found.reason) == ("not_applicable", 1.0, "")
    beside = (*nothing, *tokens(0.5), *nothing, *tokens(0.25))
    assert mean_probability(beside) == pytest.approx(0.125**0.5)


def test_a_logarithm_that_is_above_0_by_rounding_is_certainty() -> None:
    assert mean_probability([TokenLogprob("a", 1e-7), TokenLogprob("b", 0.0)]) == 1.0
    assert mean_probability([TokenLogprob("a", 0)]) == 1.0


def test_one_token_beyond_what_a_server_lists_does_not_condemn_a_long_answer() -> None:
    """OpenAI says -9999 of a token that is not among the likeliest twenty."""
    mean = mean_probability((*tokens(*[0.9] * 50), TokenLogprob("x", -9999.0)))
    assert mean == pytest.approx(math.exp((50 * math.log(0.9) - 10) / 51))
    assert mean_probability([TokenLogprob("x", -9999.0), TokenLogprob("y", -(10**400))]) is not None


@pytest.mark.parametrize("logprobs", [None, ()])
def test_without_log_probabilities_there_is_nothing_to_say(logprobs: Any) -> None:
    report = judged(Completion(text="Lima.", finish_reason="stop", logprobs=logprobs))
    assert confidence(report).verdict == "not_applicable"
    assert report.score == judge_text(QUESTION, "Lima.", finish_reason="stop").probability


def test_tool_calls_are_not_judged_by_it() -> None:
    calls = (ToolCall("call_1", "weather", "{}"),)
    found = judge_confidence(draft(GUESS, tool_calls=calls))
    assert (found.check.verdict, found.ratio) == ("not_applicable", 1.0)


def test_a_guess_fails_and_does_not_reach_the_usual_threshold() -> None:
    report = judged(draft(*[GUESS] * 8))
    assert confidence(report).verdict == "failed"
    assert confidence(report).score == pytest.approx(GUESS)
    words = "the model gave its own words a probability of 0.10 on average"
    assert confidence(report).reason == words
    assert report.accepted is False
    assert report.reason.startswith(f"confidence: {words}; ")
    # It is one voice and no veto.
    low = judged(draft(*[GUESS] * 8), QualityConfig.fast(threshold=0.7))
    assert low.accepted is True
    assert low.score == report.score


def test_a_sure_model_changes_nothing() -> None:
    with_, without = judged(draft(SURE, SURE)), judged(draft())
    assert confidence(with_).verdict == "passed"
    assert confidence(with_).reason == ""
    assert with_.score == without.score


@pytest.mark.parametrize("answer", ["12 * 12 = 154", "I'm sorry, but I can't help with that.", ""])
@pytest.mark.parametrize("sure", [SURE, GUESS])
def test_no_draft_that_another_check_failed_is_lifted(answer: str, sure: float) -> None:
    question = "What is 12 * 12?"
    before = judged(draft(text=answer), question=question)
    after = judged(draft(*[sure] * 6, text=answer), question=question)
    assert before.score is not None
    assert after.score is not None
    assert after.score <= before.score
    assert after.accepted is False


def test_a_doubt_that_rejects_is_named_though_no_check_failed() -> None:
    report = judged(draft(*[0.42] * 8), QualityConfig.fast(threshold=0.9))
    assert confidence(report).verdict == "passed"
    assert report.accepted is False
    assert "a probability of 0.42 on average" in report.reason


OFF = ("confidence", *LOCAL_CHECKS)


@pytest.mark.parametrize("mode", ["fast", "balanced", "strict"])
def test_every_mode_has_it_and_can_have_it_off(mode: Any) -> None:
    def by(*without: str) -> QualityReport:
        return judged(draft(GUESS, GUESS), QualityConfig(mode=mode, without=without))

    on, off = by(*LOCAL_CHECKS), by(*OFF)
    assert confidence(on).verdict == "failed"
    assert confidence(off).verdict == "not_applicable"
    assert on.score is not None
    assert off.score is not None
    assert on.score < off.score


def test_a_calibrated_probability_is_not_moved_by_it(tmp_path: Path) -> None:
    """Logs that calibrations are fitted to say nothing of it; the verdict is told all the same."""
    path = tmp_path / "quality.json"
    none = Expected(estimate=1.0, low=1.0, high=1.0)
    Calibration(
        mode="fast",
        draft="cheap",
        verifier="dear",
        questions=1000,
        date="2026-11-20",
        target=0.95,
        confidence=0.9,
        promised=True,
        threshold=0.6,
        intercept=0.0,
        text=1.0,
        weights={},
        agrees=1.0,
        disagrees=-1.0,
        quality_kept=none,
        saved=none,
    ).write(path)
    guess, plain = draft(*[GUESS] * 8), draft()
    config = QualityConfig.fast(calibration=str(path))
    report = judged(guess, config)
    assert confidence(report).verdict == "failed"
    assert report.score == judged(plain, config).score
    assert report.accepted is True
    # Nor does it matter to a calibration whether it is off.
    off = judged(guess, QualityConfig.fast(calibration=str(path), without=("confidence",)))
    assert (confidence(off).verdict, off.score) == ("not_applicable", report.score)


def test_the_judge_by_rules_alone_has_it() -> None:
    report = asyncio.run(
        RuleValidator().judge(
            ChatRequest("a-model", (Message("user", QUESTION),)),
            draft(GUESS),
            config=QualityConfig(),
        )
    )
    assert confidence(report).verdict == "failed"


def test_it_is_one_of_the_checks_that_can_be_off() -> None:
    assert TOKEN_CHECKS == ("confidence",)
    assert not {*TOKEN_CHECKS} & {*TEXT_CHECKS, *LOCAL_CHECKS}
    with pytest.raises(ConfigurationError, match="code, confidence, relevance"):
        QualityConfig(without=("assurance",))


def test_hostile_sizes_are_read_in_part() -> None:
    million = tokens(GUESS) * 1_000_000 + tokens(SURE) * 4_096
    assert mean_probability(million) == pytest.approx(SURE)
    long_words = (TokenLogprob("x" * 10_000_000, -0.01),) * 100
    assert mean_probability(long_words) == pytest.approx(math.exp(-0.01))
