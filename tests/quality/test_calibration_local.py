"""A calibration where models on this machine judge too: what it does to what they say."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.quality.local_models import Broken, Stranger

from cascadeflow import CascadeAgent
from cascadeflow._native import quality_weights
from cascadeflow.config import LOCAL_CHECKS, QualityConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.completion import Completion
from cascadeflow.quality import judge_text
from cascadeflow.quality.calibration import Calibration, Expected, calibration_of, local_doubts
from cascadeflow.quality.evidence import logit, probability
from cascadeflow.quality.fitting import JudgedDraft, Weights, fit
from cascadeflow.quality.local import LocalFindings
from cascadeflow.quality.report import CheckReport
from cascadeflow.quality.validator import CascadeValidator
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cascadeflow.quality import QualityReport

NAMES = tuple(quality_weights()[0])
QUESTION, ANSWER = "What is 12 * 12?", "The answer is 144."
TEXT = judge_text(QUESTION, ANSWER)
WIDTH = len(NAMES) + len(LOCAL_CHECKS)
AS_SHIPPED = Weights(intercept=0.0, text=1.0, features=(0.0,) * WIDTH)
NOTHING_FAILS = {"relevance_threshold": 0.0, "toxicity_threshold": 1.0}


def calibration(weights: Weights = AS_SHIPPED, **changes: Any) -> Calibration:
    figure = Expected(estimate=0.9, low=0.8, high=1.0)
    values: dict[str, Any] = {
        "mode": "balanced", "draft": "small", "verifier": "large", "questions": 500,
        "date": "2026-11-23", "target": 0.9, "confidence": 0.95, "promised": True,
        "threshold": 0.5, "quality_kept": figure, "saved": figure,
    }  # fmt: skip
    return Calibration.of_weights(weights, **values | changes)


def findings(scores: Sequence[float], *, share: float = 1.0) -> LocalFindings:
    checks = tuple(
        CheckReport(name=name, verdict="passed", score=score)
        for name, score in zip(LOCAL_CHECKS, scores, strict=True)
    )
    return LocalFindings(checks=checks, share=share, failed=False, missing=False)


def judged(config: QualityConfig, embedder: Any = None, answer: str = ANSWER) -> QualityReport:
    request = ChatRequest("a-model", (Message("user", QUESTION),))
    completion = Completion(text=answer, finish_reason="stop")
    validator = CascadeValidator(embedder or Stranger())
    return asyncio.run(validator.judge(request, completion, config=config))


def written(folder: Path, made: Calibration) -> str:
    path = folder / "quality.json"
    made.write(path)
    return str(path)


SHARES = st.floats(0.0, 1.0)


@given(SHARES, st.tuples(SHARES, SHARES, SHARES), st.sampled_from([ANSWER, "12 * 12 = 154", ""]))
def test_weights_that_no_row_has_moved_change_nothing(
    share: float, scores: tuple[float, float, float], answer: str
) -> None:
    text = judge_text(QUESTION, answer)
    found = calibration().probability_of(text, findings(scores, share=share))
    assert found == pytest.approx(text.probability * share, abs=2e-9)


@given(st.tuples(SHARES, SHARES, SHARES), st.tuples(SHARES, SHARES, SHARES))
def test_a_doubt_grows_as_the_score_falls_and_stays_between_nothing_and_two(
    scores: tuple[float, float, float], others: tuple[float, float, float]
) -> None:
    for score, other, mine, its in zip(
        scores, others, local_doubts(findings(scores)), local_doubts(findings(others)), strict=True
    ):
        assert 0.0 <= mine <= 2.0
        assert (score <= other) is (mine >= its) or mine == its


def test_a_doubt_is_in_log_odds_and_what_says_nothing_leaves_none() -> None:
    assert local_doubts(findings((0.99, 0.5, 0.01))) == pytest.approx((0.0, 1.0, 2.0))
    assert local_doubts(None) == (0.0, 0.0, 0.0)
    silent = LocalFindings(
        checks=(
            CheckReport(name="relevance", verdict="error", score=0.0),
            CheckReport(name="grounding", verdict="not_applicable", score=1.0),
            CheckReport(name="toxicity", verdict="passed", score=0.5),
        ),
        share=1.0,
        failed=False,
        missing=True,
    )
    assert local_doubts(silent) == pytest.approx((0.0, 0.0, 1.0))


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        Weights,
        intercept=st.floats(-50, 50),
        text=st.floats(0, 5),
        features=st.tuples(*[st.floats(-50, 50)] * WIDTH),
    ),
    st.floats(0, 1),
    st.sampled_from([{"relevance_threshold": 1.0}, {"toxicity_threshold": 0.0}]),
)
def test_what_a_local_check_fails_is_accepted_by_no_calibration(
    tmp_path_factory: pytest.TempPathFactory,
    weights: Weights,
    threshold: float,
    fails: dict[str, float],
) -> None:
    made = calibration(weights, threshold=threshold)
    path = written(tmp_path_factory.mktemp("calibrated"), made)
    report = judged(QualityConfig.balanced(calibration=path, **fails))
    assert report.threshold == threshold
    assert report.accepted is False


def test_what_a_local_check_could_not_look_at_is_accepted_by_no_calibration(tmp_path: Path) -> None:
    sure = replace(AS_SHIPPED, intercept=50.0)
    path = written(tmp_path, calibration(sure))
    assert judged(QualityConfig.balanced(calibration=path, **NOTHING_FAILS)).accepted is True
    assert judged(QualityConfig.balanced(calibration=path), Broken()).accepted is False


@pytest.mark.parametrize("mode", ["balanced", "strict"])
def test_the_score_is_the_calibrated_probability_of_text_and_local_checks(
    tmp_path: Path, mode: Any
) -> None:
    features = [0.0] * WIDTH
    features[-3:] = -0.5, 0.0, -2.0
    weights = Weights(intercept=1.0, text=0.5, features=tuple(features))
    path = written(
        tmp_path, calibration(weights, mode=mode, cross_check="x" if mode == "strict" else None)
    )
    config = QualityConfig(mode=mode, calibration=path, **NOTHING_FAILS)  # type: ignore[arg-type]
    if mode == "strict":
        config = replace(config, threshold=0.0)  # clear, whatever anybody says
        report = asyncio.run(_advised(config))
    else:
        report = judged(config)
    scores = {check.name: check.score for check in report.checks}
    shipped = judged(QualityConfig.balanced(**NOTHING_FAILS)).score
    assert shipped is not None
    relevance, _, toxicity = local_doubts(findings([scores[name] for name in LOCAL_CHECKS]))
    assert relevance > 0
    assert toxicity > 0
    log_odds = 1.0 + 0.5 * logit(shipped) - 0.5 * relevance - 2.0 * toxicity
    assert report.score == pytest.approx(probability(log_odds))


async def _advised(config: QualityConfig) -> QualityReport:
    """Judges where somebody could be asked, and nobody needs to be."""
    adviser: Any = object()
    request = ChatRequest("a-model", (Message("user", QUESTION),))
    completion = Completion(text=ANSWER, finish_reason="stop")
    return await CascadeValidator(Stranger()).judge_with(
        request, completion, config=config, adviser=adviser
    )


def test_the_text_alone_is_judged_as_if_the_local_checks_had_found_nothing(tmp_path: Path) -> None:
    features = (*([0.0] * len(NAMES)), -3.0, -3.0, -3.0)
    made = calibration(Weights(intercept=-1.0, text=0.5, features=features))
    config = QualityConfig.balanced(calibration=written(tmp_path, made), async_validation=True)
    request = ChatRequest("a-model", (Message("user", QUESTION),))
    completion = Completion(text=ANSWER, finish_reason="stop")
    report = CascadeValidator(Stranger()).judge_text(request, completion, config=config)
    assert report.score == pytest.approx(probability(-1.0 + 0.5 * logit(TEXT.probability)))


def test_a_strict_calibration_of_format_1_is_read_and_the_local_checks_count_on_top(
    tmp_path: Path,
) -> None:
    features = (-0.25, *([0.0] * (WIDTH - 1)))
    made = calibration(
        Weights(intercept=-1.0, text=0.5, features=features),
        mode="strict",
        without=None,
        cross_check="third",
    )
    path = written(tmp_path, made)
    values = json.loads((tmp_path / "quality.json").read_text())
    assert (values["format"], "without" in values) == (1, False)
    assert Calibration.read(path) == made
    for off in ((), ("toxicity",), LOCAL_CHECKS):
        assert calibration_of(QualityConfig.strict(calibration=path, without=off)) == made
    found = made.probability_of(TEXT, findings((0.1, 1.0, 1.0), share=0.6))
    assert found == pytest.approx(0.6 * probability(-1.0 + 0.5 * logit(TEXT.probability)))


def test_a_calibration_is_refused_for_another_mode_and_for_other_checks(tmp_path: Path) -> None:
    path = written(tmp_path, calibration(without=("grounding",)))
    models = ["openai:gpt-5-mini", "anthropic:claude-opus-4-5"]
    for config in (QualityConfig.fast(calibration=path), QualityConfig.strict(calibration=path)):
        with pytest.raises(ConfigurationError, match=f"for mode balanced, not {config.mode}"):
            CascadeAgent(models, config)
    with pytest.raises(ConfigurationError) as caught:
        CascadeAgent(models, QualityConfig.balanced(calibration=path, without=("topic",)))
    said = str(caught.value)
    assert "with grounding off, and this configuration has topic off" in said
    assert "without=('grounding',), or tune it again --without topic" in said
    with pytest.raises(ConfigurationError, match=r"no check off.*tune it again with all checks"):
        calibration_of(QualityConfig.balanced(calibration=path))
    assert calibration_of(QualityConfig.balanced(calibration=path, without=("grounding",)))
    fast = written(tmp_path, replace(calibration(), mode="fast", without=()))
    assert calibration_of(QualityConfig.fast(calibration=fast, without=("toxicity",)))
    with pytest.raises(ConfigurationError, match="tuned for mode fast, not balanced"):
        calibration_of(QualityConfig.balanced(calibration=fast))


def test_what_is_written_is_read_again_with_the_weights_of_local_checks(tmp_path: Path) -> None:
    features = (*([0.0] * len(NAMES)), -1.0, 0.0, 0.5)
    made = calibration(replace(AS_SHIPPED, features=features), without=("topic", "grounding"))
    assert made.weights == {"relevance": -1.0, "toxicity": 0.5}
    assert Calibration.read(written(tmp_path, made)) == made


def test_a_fit_finds_what_a_local_check_knows_and_few_rows_change_little() -> None:
    rows = []
    for index in range(2000):
        doubt = (index % 5) / 2  # 0 to 2
        good = (index * 7919 % 1000) / 1000 < probability(2.0 - 1.5 * doubt)
        rows.append(
            JudgedDraft(
                group=str(index), log_odds=2.0, features=(0.0, doubt), agrees=None, good=good
            )
        )
    assert fit(rows).features == pytest.approx((0.0, -1.5), abs=0.15)
    few = fit(rows[:8])
    assert few.features[1] == pytest.approx(0.0, abs=0.5)
    assert few.text == pytest.approx(1.0, abs=0.5)
