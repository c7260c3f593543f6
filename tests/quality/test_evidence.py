"""Second opinions move the odds by what the formula says, and never out of 0 to 1."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.quality.evidence import (
    AGREES,
    DISAGREES,
    agreement,
    graded,
    logit,
    probability,
)


@given(st.floats(0, 1))
def test_log_odds_and_probability_undo_each_other(share: float) -> None:
    assert probability(logit(share)) == pytest.approx(share, abs=1e-8)


@given(st.floats(-1e6, 1e6))
def test_a_probability_lies_between_0_and_1(log_odds: float) -> None:
    assert 0 <= probability(log_odds) <= 1
    assert probability(log_odds) + probability(-log_odds) == pytest.approx(1)


@given(st.floats(0.51, 0.99), st.floats(0.01, 0.99))
def test_agreement_speaks_for_a_draft_and_disagreement_against_it(
    right: float, same_mistake: float
) -> None:
    agrees, differs = agreement(right, same_mistake)
    assert agrees > 0 > differs


@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_what_is_expected_to_be_found_moves_nothing_on_average(
    prior: float, right: float, same_mistake: float
) -> None:
    """A probability is only one if the mean of what it may become is what it is."""
    agrees, differs = agreement(right, same_mistake)
    together = prior * right + (1 - prior) * (1 - right) * same_mistake
    after = together * probability(logit(prior) + agrees)
    after += (1 - together) * probability(logit(prior) + differs)
    assert after == pytest.approx(prior)


def test_the_formula_holds_where_answers_are_drawn_as_it_supposes() -> None:
    """Drafts, second answers and shared mistakes are drawn; the share that is right is counted."""
    draw = random.Random(7)
    prior, right, same = 0.8, 0.75, 0.25
    agreed: list[bool] = []
    differed: list[bool] = []
    for _ in range(200_000):
        good = draw.random() < prior
        other_good = draw.random() < right
        agrees = good == other_good if good or other_good else draw.random() < same
        (agreed if agrees else differed).append(good)
    assert sum(agreed) / len(agreed) == pytest.approx(probability(logit(prior) + AGREES), abs=0.01)
    said = probability(logit(prior) + DISAGREES)
    assert sum(differed) / len(differed) == pytest.approx(said, abs=0.01)


def test_the_documented_factors_are_those_that_are_used() -> None:
    assert round(math.exp(AGREES), 1) == 12.0
    assert round(math.exp(DISAGREES), 2) == 0.27


def test_a_better_grade_never_makes_a_draft_less_likely_good() -> None:
    moves = [graded(each) for each in range(1, 6)]
    assert moves == sorted(moves)
    assert moves[2] < 0 < moves[3]  # 3 of 5 is a fault, 4 is none


def test_certainty_stays_finite() -> None:
    assert math.isfinite(logit(0.0))
    assert math.isfinite(logit(1.0))
    assert probability(1e300) == 1.0
    assert probability(-1e300) == 0.0
