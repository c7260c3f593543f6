"""A calibration's file, what it does to the judging of drafts, and how its weights are fitted."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow import CascadeAgent
from cascadeflow._native import quality_weights
from cascadeflow.config import LOCAL_CHECKS, QualityConfig
from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.models.completion import Completion
from cascadeflow.quality import judge_text
from cascadeflow.quality.calibration import Calibration, Expected
from cascadeflow.quality.evidence import AGREES, DISAGREES, logit, probability
from cascadeflow.quality.fitting import JudgedDraft, fit, held_out
from cascadeflow.quality.opinions import NotAskedError
from cascadeflow.quality.validator import CascadeValidator, RuleValidator
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from pathlib import Path

    from cascadeflow.quality import QualityReport

NAMES = tuple(quality_weights()[0])
QUESTION, ANSWER = "What is 12 * 12?", "The answer is 144."
PLAIN = judge_text(QUESTION, ANSWER).probability


def calibration(**changes: Any) -> Calibration:
    made = Calibration(
        mode="fast",
        draft="small",
        verifier="large",
        questions=500,
        date="2026-11-23",
        target=0.97,
        confidence=0.95,
        promised=True,
        threshold=0.55,
        intercept=-1.0,
        text=0.5,
        weights={NAMES[0]: -0.25},
        agrees=2.0,
        disagrees=-1.5,
        quality_kept=Expected(estimate=0.99, low=0.97, high=1.01),
        saved=Expected(estimate=0.5, low=0.4, high=0.6),
    )
    return replace(made, **changes)


def written(folder: Path, **changes: Any) -> str:
    path = folder / "quality.json"
    calibration(**changes).write(path)
    return str(path)


def judged(config: QualityConfig, answer: str = ANSWER) -> QualityReport:
    request = ChatRequest("a-model", (Message("user", QUESTION),))
    completion = Completion(text=answer, finish_reason="stop")
    return asyncio.run(RuleValidator().judge(request, completion, config=config))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    made = calibration(mode="strict", cross_check="third")
    made.write(tmp_path / "quality.json")
    assert Calibration.read(tmp_path / "quality.json") == made
    assert [path.name for path in tmp_path.iterdir()] == ["quality.json"]


def test_the_score_is_the_calibrated_probability_and_the_threshold_the_files(
    tmp_path: Path,
) -> None:
    report = judged(QualityConfig.fast(calibration=written(tmp_path)))
    assert report.score == pytest.approx(probability(-1.0 + 0.5 * logit(PLAIN)))
    assert report.threshold == 0.55
    assert report.accepted is True
    harder = judged(QualityConfig.fast(calibration=written(tmp_path, threshold=0.9)))
    assert (harder.accepted, harder.threshold) == (False, 0.9)


@pytest.mark.parametrize("stated", [0.3, 0.8])
def test_a_stated_threshold_goes_before_the_files(tmp_path: Path, stated: float) -> None:
    config = QualityConfig.fast(calibration=written(tmp_path), threshold=stated)
    assert judged(config).threshold == stated
    assert judged(replace(config, check_timeout=1)).threshold == stated


def test_a_draft_that_a_check_rejects_stays_rejected(tmp_path: Path) -> None:
    report = judged(QualityConfig.fast(calibration=written(tmp_path, intercept=50.0)), "")
    assert report.score is not None
    assert report.score <= 0.01
    assert report.accepted is False


def test_a_threshold_of_one_accepts_nothing_however_sure_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, intercept=99.0, threshold=1.0, promised=False)
    assert judged(QualityConfig.fast(calibration=path)).accepted is False


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    config = QualityConfig.fast(calibration=written(tmp_path))
    assert judged(config).threshold == 0.55
    path = written(tmp_path, threshold=0.7)
    os.utime(path, ns=(1, 1))
    assert judged(config).threshold == 0.7


def test_what_cannot_be_used_is_said_when_the_agent_is_built(tmp_path: Path) -> None:
    models = ["openai:gpt-5-mini", "anthropic:claude-opus-4-5"]
    missing = str(tmp_path / "none.json")
    with pytest.raises(ConfigurationError, match=r"none\.json cannot be read.*tune --out"):
        CascadeAgent(models, QualityConfig.fast(calibration=missing))
    path = written(tmp_path)
    with pytest.raises(ConfigurationError, match="tuned for mode fast, not strict"):
        CascadeAgent(models, QualityConfig.strict(calibration=path))
    CascadeAgent(models, QualityConfig.fast(calibration=path))
    with pytest.raises(ConfigurationError, match="calibration must be text"):
        QualityConfig(calibration="")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cascadeflow": "something else"}, "is no calibration of cascadeflow"),
        ({"format": 3}, "is of format 3, and this version reads 2 and those before"),
        ({"format": 1, "mode": "balanced"}, "mode 'balanced'"),
        ({"without": ["astrology"]}, "no check astrology"),
        ({"weights": {"relevance": -1.0}}, "no measure relevance"),
        ({"threshold": 1.5}, "1.5 does not lie in 0..1"),
        ({"threshold": "high"}, "'high' is no number"),
        ({"threshold": None}, "no number"),
        ({"intercept": math.nan}, "nan is no number"),
        ({"weights": {"astrology": 1.0}}, "no measure astrology"),
        ({"weights": [1.0]}, "damaged"),
        ({"agrees": -1.0}, "does not lie in"),
        ({"mode": "strict"}, "mode strict has a cross_check"),
        ({"promised": False}, "nothing is promised"),
        ({"expected": {}}, "no field 'quality_kept'"),
    ],
)
def test_a_damaged_or_foreign_file_says_what_to_do(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "quality.json"
    calibration().write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigurationError) as caught:
        Calibration.read(path)
    assert words in str(caught.value)
    assert "cascadeflow tune" in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 900))
def test_no_damage_is_taken_for_a_calibration_or_escapes(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "quality.json"
    calibration().write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    try:
        threshold = Calibration.read(path).threshold
    except ConfigurationError:
        return
    assert 0 <= threshold <= 1


def test_a_calibration_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        calibration().write(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


class OneOpinion:
    """Answers a cross-check, and counts how often it is asked."""

    def __init__(self, text: str | None) -> None:
        self.text = text
        self.asked = 0

    async def answer(self, wanted: bool | str) -> tuple[str, Completion]:
        assert wanted is True
        self.asked += 1
        if self.text is None:
            raise NotAskedError("no money")
        return "x:third", Completion(text=self.text, finish_reason="stop")

    async def sample(self, count: int, temperature: float) -> list[Completion]:
        raise NotImplementedError

    async def judge(
        self,
        wanted: bool | str,
        messages: tuple[Message, ...],
    ) -> tuple[str, Completion]:
        raise NotImplementedError


def crossed(path: str, adviser: OneOpinion) -> QualityReport:
    config = QualityConfig.strict(calibration=path, judge=False, without=LOCAL_CHECKS)
    request = ChatRequest("a-model", (Message("user", QUESTION),))
    completion = Completion(text=ANSWER, finish_reason="stop")
    return asyncio.run(
        CascadeValidator().judge_with(request, completion, config=config, adviser=adviser)
    )


TEXT = -1.0 + 0.5 * logit(PLAIN)


@pytest.mark.parametrize(
    ("threshold", "says", "asked", "accepted", "log_odds"),
    [
        (probability(TEXT), "The answer is 144.", 1, True, TEXT + 2.0),
        (probability(TEXT), "The answer is 143.", 1, False, TEXT - 1.5),
        (probability(TEXT), None, 1, False, TEXT),
        # No answer could change the decision: nobody is asked.
        (probability(TEXT - 1.6), "The answer is 143.", 0, True, TEXT),
        (probability(TEXT + 2.1), "The answer is 144.", 0, False, TEXT),
    ],
)
def test_a_cross_check_moves_what_was_fitted_and_is_asked_where_it_can_decide(
    tmp_path: Path, threshold: float, says: str | None, asked: int, *, accepted: bool,
    log_odds: float,
) -> None:  # fmt: skip
    path = written(
        tmp_path, mode="strict", without=LOCAL_CHECKS, cross_check="third", threshold=threshold
    )
    adviser = OneOpinion(says)
    report = crossed(path, adviser)
    assert (adviser.asked, report.accepted) == (asked, accepted)
    assert report.score == pytest.approx(probability(log_odds))


def drafts(count: int, seed: int = 0) -> list[JudgedDraft]:
    """Drafts whose rules are too sure, and that a measure and a second opinion know more of."""
    draw = random.Random(seed)
    made = []
    for index in range(count):
        said = draw.gauss(2.0, 1.0)
        measure = draw.random() if draw.random() < 0.5 else 0.0
        good = draw.random() < probability(0.5 * said - 2.0 * measure)
        agrees = None if draw.random() < 0.1 else draw.random() < (0.9 if good else 0.2)
        features = (measure, *([0.0] * (len(NAMES) - 1)))
        made.append(
            JudgedDraft(
                group=str(index), log_odds=said, features=features, agrees=agrees, good=good
            )
        )
    return made


def test_a_fit_finds_what_the_drafts_were_made_by() -> None:
    weights = fit(drafts(6000))
    assert weights.intercept == pytest.approx(0.0, abs=0.25)
    assert weights.text == pytest.approx(0.5, abs=0.1)
    assert weights.features[0] == pytest.approx(-2.0, abs=0.3)
    assert set(weights.features[1:]) == {0.0}
    assert weights.agrees == pytest.approx(math.log(0.9 / 0.2), abs=0.2)
    assert weights.disagrees == pytest.approx(math.log(0.1 / 0.8), abs=0.2)


def test_few_drafts_change_little_of_what_ships() -> None:
    weights = fit(drafts(4))
    assert weights.text == pytest.approx(1.0, abs=0.5)
    assert set(weights.features) == {0.0}
    assert weights.agrees == pytest.approx(AGREES, abs=0.5)
    assert weights.disagrees == pytest.approx(DISAGREES, abs=0.5)
    silent = [replace(draft, agrees=None) for draft in drafts(50)]
    assert (fit(silent).agrees, fit(silent).disagrees) == (AGREES, DISAGREES)


def test_where_a_fit_starts_decides_nothing() -> None:
    rows = drafts(300)
    far = replace(fit(drafts(300, seed=1)), intercept=4.0, text=3.0)
    one, other = fit(rows), fit(rows, start=far)
    assert other.intercept == pytest.approx(one.intercept, abs=1e-3)
    assert other.text == pytest.approx(one.text, abs=1e-3)
    assert other.features == pytest.approx(one.features, abs=1e-3)


@pytest.mark.parametrize("good", [True, False])
def test_drafts_of_one_kind_only_give_finite_weights(good: bool) -> None:
    weights = fit([replace(draft, good=good) for draft in drafts(200)])
    numbers = (weights.intercept, weights.text, *weights.features, weights.agrees)
    assert all(math.isfinite(number) for number in numbers)
    assert weights.agrees >= 0 >= weights.disagrees


def test_held_out_weights_saw_no_draft_of_their_own_part() -> None:
    rows = drafts(300)
    whole = fit(rows)
    held = held_out(rows, lambda draft: int(draft.group) % 3, start=whole)
    for index in range(3):
        alone = fit([row for row in rows if int(row.group) % 3 != index])
        assert held[index].text == pytest.approx(alone.text, abs=1e-3)
        assert held[index] is held[index + 3]


@pytest.mark.parametrize(("log_odds", "count"), [(2.54, 1), (2.68, 1), (3.02, 1), (3.3, 2)])
def test_a_fit_ends_where_rounding_makes_every_step_a_loss(log_odds: float, count: int) -> None:
    rows = [
        JudgedDraft(group=str(at), log_odds=log_odds, features=(), agrees=True, good=True)
        for at in range(count)
    ]
    weights = fit(rows)
    assert AGREES < weights.agrees < AGREES + 0.1
    assert weights.text == pytest.approx(1.0, abs=0.1)
