"""The figures of `cascadeflow quality eval`, beside slow and obvious ways to reckon them."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.cli.quality.figures import Scored, average_precision, figures, pairs, parts_of

SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
ROWS = st.lists(
    st.builds(
        Scored,
        key=st.sampled_from("abcdef"),
        part=st.sampled_from(["small", "large"]),
        good=st.booleans(),
        score=SCORES,
        passed=st.booleans(),
    ),
    min_size=1,
    max_size=30,
)


def slow_auc(rows: list[Scored]) -> float | None:
    both = [(a.score, b.score) for a, b in product(rows, rows) if a.good and not b.good]
    return sum((a > b) + 0.5 * (a == b) for a, b in both) / len(both) if both else None


def slow_average_precision(rows: list[Scored]) -> float | None:
    faulty = [row for row in rows if not row.good]
    if not faulty:
        return None
    total = 0.0
    for each in faulty:  # at its own threshold
        found = [row for row in rows if row.score <= each.score]
        total += sum(not row.good for row in found) / len(found)
    return total / len(faulty)


@given(ROWS)
def test_ranking_figures_are_those_of_every_pair_and_every_threshold(rows: list[Scored]) -> None:
    found = figures(rows, seed=None)
    assert found.auc == pytest.approx(slow_auc(rows))
    assert average_precision(rows) == pytest.approx(slow_average_precision(rows))


@given(ROWS)
def test_shares_are_counted_on_the_rows_they_are_named_for(rows: list[Scored]) -> None:
    found = figures(rows, seed=None)
    passed = [row for row in rows if row.passed]
    failed = [row for row in rows if not row.passed]
    assert found.passed == len(passed) / len(rows)
    assert found.good == sum(row.good for row in rows) / len(rows)
    assert (found.good_passed is None) == (not passed)
    if passed:
        assert found.good_passed == sum(row.good for row in passed) / len(passed)
    if failed:
        assert found.good_failed == sum(row.good for row in failed) / len(failed)
    caught = sum(not row.good for row in failed)
    faulty = sum(not row.good for row in rows)
    if caught:
        precision, recall = caught / len(failed), caught / faulty
        assert found.f1 == pytest.approx(2 * precision * recall / (precision + recall))
        assert found.caught == recall
    else:
        assert found.f1 == (0.0 if faulty else None)


@given(ROWS)
def test_by_part_the_auc_is_the_mean_of_the_parts_that_have_both(rows: list[Scored]) -> None:
    found = figures(rows, by_part=True, seed=None)
    each = [auc for part in parts_of(rows).values() if (auc := slow_auc(part)) is not None]
    assert found.auc == pytest.approx(sum(each) / len(each) if each else None)
    assert found.auc_pooled == pytest.approx(slow_auc(rows))


def test_telling_models_apart_is_no_merit_within_them() -> None:
    rows = [Scored(str(at), "good model", at % 10 > 0, 0.9, True) for at in range(40)]
    rows += [Scored(str(at), "bad model", at % 10 == 0, 0.1, False) for at in range(40)]
    found = figures(rows, by_part=True, seed=0)
    assert found.auc == 0.5
    assert found.auc_pooled == pytest.approx(0.9)
    assert found.interval == (0.5, 0.5)


def test_the_interval_holds_the_figure_repeats_and_widens_where_questions_are_few() -> None:
    few = [Scored(str(at // 4), "", at % 3 > 0, (at * 9 % 20) / 20, True) for at in range(20)]
    many = [
        Scored(f"{copy} {row.key}", "", row.good, row.score, True)
        for copy in range(20)
        for row in few
    ]
    small, large = figures(few), figures(many)
    assert small.auc == large.auc
    assert small.interval == figures(few).interval
    assert small.interval is not None
    assert large.interval is not None
    assert small.auc is not None
    assert small.interval[0] <= small.auc <= small.interval[1]
    assert large.interval[1] - large.interval[0] < small.interval[1] - small.interval[0]


def test_perfect_probabilities_have_no_calibration_error_and_sure_mistakes_the_most() -> None:
    sure = [Scored(str(at), "", at % 2 == 0, float(at % 2 == 0), True) for at in range(10)]
    assert figures(sure, seed=None).ece == 0.0
    wrong = [Scored(str(at), "", at % 2 == 0, float(at % 2), True) for at in range(10)]
    assert figures(wrong, seed=None).ece == 1.0


def test_one_kind_of_label_has_no_auc_and_no_interval() -> None:
    found = figures([Scored("a", "", True, 0.5, True), Scored("b", "", True, 0.7, False)])
    assert (found.auc, found.interval, found.auprc, found.f1, found.caught) == (None,) * 5
    assert (found.false_alarms, found.good_failed) == (0.5, 1.0)


def test_a_pair_is_in_order_when_the_better_one_scores_higher_and_half_when_it_ties() -> None:
    scores = [(0.9, 0.1), (0.5, 0.5), (0.2, 0.8), (0.6, 0.4)]
    rows = [
        Scored(str(at), "", good, score, True)
        for at, both in enumerate(scores)
        for good, score in zip((True, False), both, strict=True)
    ]
    found = pairs(rows)
    assert (found.n, found.share, found.ties) == (4, 0.625, 0.25)
    assert found.interval is not None
    assert found.interval[0] <= 0.625 <= found.interval[1]
