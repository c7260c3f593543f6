"""Several cross-checks: asked in turn, until it is clear."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow import ConfigurationError, QualityConfig, TierConfig
from cascadeflow.models.completion import Completion
from cascadeflow.quality.evidence import AGREES, DISAGREES, logit, probability
from cascadeflow.quality.opinions import NotAskedError, Opinions, second_opinions
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Mapping

DRAFT = Completion(text="So it is 17 + 25 = 42. The answer is 42.", finish_reason="stop")
SAME, OTHER, PROSE = "The answer is 42.", "The answer is 41.", "It was a cold day in spring."


class Crowd:
    """Models that each have one answer, or cannot be asked."""

    def __init__(self, answers: Mapping[str, str | None]) -> None:
        self.asked: list[str] = []
        self._answers = answers

    async def answer(self, wanted: bool | str) -> tuple[str, Completion]:
        assert isinstance(wanted, str)
        self.asked.append(wanted)
        said = self._answers[wanted]
        if said is None:
            raise NotAskedError(f"{wanted} did not answer")
        return wanted, Completion(text=said, finish_reason="stop")

    async def sample(self, *_: Any) -> Any:
        raise NotImplementedError

    async def judge(self, *_: Any) -> Any:
        raise NotImplementedError


def opinions(prior: float, crowd: Crowd, names: Any, **options: Any) -> Opinions:
    config = QualityConfig.strict(cross_check=names, judge=False, **options)
    request = ChatRequest("m", (Message("user", "What is 17 + 25?"),))
    return asyncio.run(second_opinions(prior, request, DRAFT, config=config, adviser=crowd))


def verdicts(found: Opinions) -> dict[str, str]:
    return {check.name: check.verdict for check in found.checks}


def test_who_agrees_first_settles_it() -> None:
    crowd = Crowd({"a": SAME, "b": OTHER})
    found = opinions(0.9, crowd, ("a", "b"))
    assert crowd.asked == ["a"]
    assert verdicts(found) == {"cross_check": "passed"}


def test_a_second_model_outvotes_the_first_that_disagreed() -> None:
    crowd = Crowd({"a": OTHER, "b": SAME, "c": OTHER})
    found = opinions(0.9, crowd, ("a", "b", "c"), clear_above=0.95)
    assert crowd.asked == ["a", "b"]
    assert verdicts(found) == {"cross_check": "failed", "cross_check_2": "passed"}
    assert found.probability > 0.95


def test_nobody_agreeing_is_worse_than_one_who_does_not() -> None:
    one = opinions(0.9, Crowd({"a": OTHER}), "a")
    both = opinions(0.9, Crowd({"a": OTHER, "b": OTHER}), ("a", "b"))
    assert both.probability < one.probability < 0.8


def test_one_that_cannot_be_asked_leaves_it_to_the_next() -> None:
    found = opinions(0.9, Crowd({"a": None, "b": PROSE, "c": SAME}), ("a", "b", "c"))
    assert verdicts(found) == {
        "cross_check": "error",
        "cross_check_2": "not_applicable",
        "cross_check_3": "passed",
    }
    assert found.heard
    nobody = opinions(0.9, Crowd({"a": None, "b": None}), ("a", "b"))
    assert not nobody.heard


@given(
    prior=st.floats(0.01, 0.9),
    said=st.lists(st.sampled_from([SAME, OTHER, None, PROSE]), min_size=1, max_size=5),
)
def test_each_moves_the_odds_once_and_in_turn(prior: float, said: list[str | None]) -> None:
    names = [f"m{at}" for at in range(len(said))]
    crowd = Crowd(dict(zip(names, said, strict=True)))
    found = opinions(prior, crowd, names)
    assert crowd.asked == names[: len(crowd.asked)]
    moves = {SAME: AGREES, OTHER: DISAGREES, None: 0.0, PROSE: 0.0}
    odds = logit(prior)
    for answer, _ in zip(said, found.checks, strict=False):
        assert 0.5 <= probability(odds) < 0.97  # nobody is asked once it is clear
        odds += moves[answer]
    assert found.probability == pytest.approx(probability(odds))
    if len(found.checks) < len(said):
        assert not 0.5 <= found.probability < 0.97
    assert len({check.name for check in found.checks}) == len(found.checks)


def test_one_name_in_a_list_is_that_name() -> None:
    assert QualityConfig.strict(cross_check=["a"]).cross_check == "a"
    assert QualityConfig.strict(cross_check=["a", "b"]).cross_checks == ("a", "b")
    assert QualityConfig.strict().cross_checks == (True,)
    assert QualityConfig.strict(cross_check=False).cross_checks == ()


@pytest.mark.parametrize(
    "wrong", [(), [], ("a", ""), ("a", True), ("a", "a"), {"a"}, None, ("a", 1)]
)
def test_what_names_no_models_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="cross_check"):
        QualityConfig.strict(cross_check=wrong)


def test_tiers_write_and_read_them() -> None:
    quality = QualityConfig.strict(cross_check=("a", "b"))
    tier = TierConfig("pro", quality_config=quality)
    plain = tier.to_dict()
    assert plain["quality_config"]["cross_check"] == ["a", "b"]
    assert TierConfig.from_dict(plain, name="pro").quality_config == quality
