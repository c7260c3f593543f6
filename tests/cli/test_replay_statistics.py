"""The statistics of replay, against hand-computed figures and slow, obvious counting."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.cli.replay.statistics import (
    Outcome,
    always_draft,
    always_verifier,
    auc,
    bootstrap,
    curve,
    expected_random,
    perfect_validator,
    quality_kept,
    random_at_cost,
    random_to_quality,
    saved_fraction,
    wilson,
)


def outcome(
    draft: bool,
    verifier: bool,
    *,
    accepted: bool,
    score: float | None = 0.5,
    draft_cost: int = 1,
    verifier_cost: int = 10,
) -> Outcome:
    return Outcome(
        draft_correct=draft,
        verifier_correct=verifier,
        draft_cost=draft_cost,
        verifier_cost=verifier_cost,
        accepted=accepted,
        score=score,
        cost=draft_cost + (0 if accepted else verifier_cost),
    )


FOUR = (
    outcome(True, True, accepted=True, score=0.9),
    outcome(False, True, accepted=False, score=0.2),
    outcome(False, True, accepted=True, score=0.6),
    outcome(True, False, accepted=False, score=0.2, verifier_cost=30),
)

outcomes = st.lists(
    st.builds(
        outcome,
        st.booleans(),
        st.booleans(),
        accepted=st.booleans(),
        score=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
        draft_cost=st.integers(0, 50),
        verifier_cost=st.integers(1, 500),
    ),
    min_size=1,
    max_size=24,
)


def test_the_baselines_of_four_questions_are_those_worked_out_by_hand() -> None:
    assert always_draft(FOUR).accuracy == 0.5
    assert always_draft(FOUR).saved == pytest.approx(1 - 4 / 60)
    assert always_verifier(FOUR).accuracy == 0.75
    assert always_verifier(FOUR).saved == 0
    # Perfect: two drafts are right, the other two questions cost 10 each.
    assert perfect_validator(FOUR).accuracy == 1.0
    assert perfect_validator(FOUR).saved == pytest.approx(1 - 24 / 60)
    # The cascade was billed 4 + 10 + 30 = 44 of 60, so random escalates 40/60 of the questions.
    at_cost = random_at_cost(FOUR)
    assert at_cost.saved == pytest.approx(1 - 44 / 60)
    assert at_cost.accuracy == pytest.approx(0.5 + 40 / 60 * 0.25)


def test_random_escalation_to_a_quality_gives_the_cheapest_share_that_reaches_it() -> None:
    # 90 % of 0.75 is 0.675: 70 % of the way from 0.5 to 0.75.
    reached = random_to_quality(FOUR, 0.9)
    assert reached is not None
    assert reached.accuracy == pytest.approx(0.675)
    assert reached.saved == pytest.approx(1 - (4 + 0.7 * 60) / 60)
    unneeded = random_to_quality(FOUR, 0.5)
    assert unneeded == expected_random(FOUR, 0.0)
    assert random_to_quality((outcome(False, True, accepted=True),), 1.1) is None


def test_without_a_verifier_cost_nothing_can_be_saved_and_random_takes_the_same_share() -> None:
    free = tuple(
        outcome(draft, verifier, accepted=accepted, verifier_cost=0)
        for draft, verifier, accepted in [(True, True, True), (False, True, False)]
    )
    assert always_draft(free).saved is None
    assert saved_fraction(3, 0) is None
    assert random_at_cost(free).accuracy == pytest.approx(0.75)
    assert quality_kept(0.4, 0.0) is None
    assert quality_kept(0.4, 0.8) == pytest.approx(0.5)


@given(outcomes)
def test_expected_random_is_the_average_over_every_way_to_escalate(some: list[Outcome]) -> None:
    some = some[:6]
    share = 1 / 3
    accuracy = 0.0
    cost = 0.0
    for choice in itertools.product([False, True], repeat=len(some)):
        weight = math.prod(share if escalate else 1 - share for escalate in choice)
        pairs = list(zip(some, choice, strict=True))
        right = sum(o.verifier_correct if escalate else o.draft_correct for o, escalate in pairs)
        accuracy += weight * right / len(some)
        cost += weight * sum(o.draft_cost + escalate * o.verifier_cost for o, escalate in pairs)
    baseline = expected_random(some, share)
    assert baseline.accuracy == pytest.approx(accuracy)
    assert baseline.saved == pytest.approx(1 - cost / sum(o.verifier_cost for o in some))


@given(outcomes)
def test_no_policy_is_righter_than_the_perfect_validator(some: list[Outcome]) -> None:
    best = perfect_validator(some).accuracy
    served = sum(o.correct for o in some) / len(some)
    rivals = [always_draft(some), always_verifier(some), random_at_cost(some)]
    assert all(best >= rival.accuracy - 1e-12 for rival in rivals)
    assert best >= served


@given(outcomes)
def test_random_at_cost_saves_what_the_cascade_saved(some: list[Outcome]) -> None:
    billed = sum(o.cost for o in some)
    assert random_at_cost(some).saved == pytest.approx(
        saved_fraction(billed, sum(o.verifier_cost for o in some))
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=30))
def test_auc_is_the_share_of_won_pairs_with_ties_counted_half(
    pairs: list[tuple[int, bool]],
) -> None:
    right = [score for score, label in pairs if label]
    wrong = [score for score, label in pairs if not label]
    found = auc([score for score, _ in pairs], [label for _, label in pairs])
    if not right or not wrong:
        assert found is None
        return
    won = sum((r > w) + 0.5 * (r == w) for r in right for w in wrong)
    assert found == pytest.approx(won / (len(right) * len(wrong)))


@given(outcomes)
def test_each_point_of_the_curve_is_what_its_threshold_gives(some: list[Outcome]) -> None:
    points = curve(some)
    alone = sum(o.verifier_cost for o in some)
    thresholds = [point.threshold for point in points]
    assert thresholds == [*sorted({o.score for o in some if o.score is not None}), None]
    for point in points:
        accepted = [
            point.threshold is not None and o.score is not None and o.score >= point.threshold
            for o in some
        ]
        pairs = list(zip(some, accepted, strict=True))
        cost = sum(o.draft_cost + (0 if kept else o.verifier_cost) for o, kept in pairs)
        right = sum(o.draft_correct if kept else o.verifier_correct for o, kept in pairs)
        assert point.escalated == pytest.approx(1 - sum(accepted) / len(some))
        assert point.accuracy == pytest.approx(right / len(some))
        assert point.saved == pytest.approx(1 - cost / alone)


def test_a_draft_without_a_score_is_never_accepted_on_the_curve() -> None:
    points = curve((outcome(True, True, accepted=False, score=None),))
    assert [point.threshold for point in points] == [None]
    assert points[0].escalated == 1.0
    # The draft is charged all the same, so escalating everything saves less than nothing.
    assert points[0].saved == pytest.approx(-0.1)


def test_the_wilson_interval_equals_published_values() -> None:
    # Newcombe 1998, table I: 81 of 263 and 15 of 148, score method without continuity correction.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20)[0] == 0.0
    assert wilson(29, 29)[1] == 1.0


def test_the_bootstrap_is_repeatable_and_holds_the_figure() -> None:
    sample = FOUR * 50

    def accuracy(some: object) -> float:
        return always_draft(some).accuracy  # type: ignore[arg-type]

    first = bootstrap(sample, accuracy, resamples=200)
    assert first == bootstrap(sample, accuracy, resamples=200)
    assert first is not None
    assert first[0] < 0.5 < first[1]
    # 200 questions at one half: the normal interval is 0.5 ± 0.069.
    assert first == pytest.approx((0.431, 0.569), abs=0.03)
    assert bootstrap(sample, lambda _: None, resamples=10) is None
