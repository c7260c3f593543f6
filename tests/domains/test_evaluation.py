from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.domains.evaluation import (
    Count,
    Evaluation,
    LabelledRow,
    Prediction,
    evaluate,
)

NAMES = st.sampled_from(["code", "math", "legal"])
CONFIDENCES = st.floats(0, 1)
PAIRS = st.lists(st.tuples(NAMES, NAMES, st.sampled_from(["a", "b"]), CONFIDENCES), max_size=60)


def evaluation(*outcomes: tuple[str, str, str, float | None], fewest: int = 1) -> Evaluation:
    rows = [LabelledRow("?", label, source) for label, _, source, _ in outcomes]
    said = [Prediction(domain, confidence) for _, domain, _, confidence in outcomes]
    return evaluate(rows, said, fewest=fewest)


def test_accuracy_recall_precision_and_confusion_are_counted() -> None:
    result = evaluation(
        ("code", "code", "a", 0.9),
        ("code", "math", "a", 0.4),
        ("math", "math", "b", 0.8),
        ("math", "math", "b", 0.8),
    )
    assert result.accuracy == 0.75
    assert result.by_label == {"code": Count(2, 1), "math": Count(2, 2)}
    assert result.macro_recall == 0.75
    assert result.precision == {"code": Count(1, 1), "math": Count(3, 2)}
    assert result.by_source == {"a": Count(2, 1), "b": Count(2, 2)}
    assert result.by_label_and_source == {("code", "a"): Count(2, 1), ("math", "b"): Count(2, 2)}
    assert result.confusion == {("code", "code"): 1, ("code", "math"): 1, ("math", "math"): 2}


def test_a_label_of_few_rows_is_listed_and_not_averaged() -> None:
    rows = [("code", "code", "", 1.0)] * 50 + [("math", "code", "", 1.0)] * 49
    result = evaluation(*rows, fewest=50)
    assert result.macro_recall == 1.0
    assert result.listed_only == ("math",)
    assert result.by_label["math"] == Count(49, 0)


def test_without_a_label_of_enough_rows_there_is_no_macro_recall() -> None:
    assert evaluation(("code", "code", "", 1.0), fewest=2).macro_recall is None


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    rows = [("code", "code", "", 0.9)] * 6 + [("code", "math", "", 0.9)] * 4
    result = evaluation(*rows)
    assert result.ece == pytest.approx(0.3)
    assert [each.rows for each in result.bins] == [10]


def test_rows_without_a_confidence_are_left_out_of_the_calibration() -> None:
    assert evaluation(("code", "math", "", None)).ece is None
    both = evaluation(("code", "math", "", None), ("code", "code", "", 1.0))
    assert both.ece == 0.0
    assert both.rows == Count(2, 1)


def test_an_interval_holds_its_upper_end() -> None:
    result = evaluation(
        ("code", "code", "", 0.0), ("code", "code", "", 1 / 15), ("code", "code", "", 0.067)
    )
    assert [(each.upper, each.rows) for each in result.bins] == [(1 / 15, 2), (2 / 15, 1)]


def test_nothing_to_evaluate_gives_zeros_rather_than_an_error() -> None:
    result = evaluation()
    assert (result.accuracy, result.macro_recall, result.ece) == (0.0, None, None)


def test_rows_without_their_prediction_are_refused() -> None:
    with pytest.raises(ValueError, match="0 predictions for 1 rows"):
        evaluate([LabelledRow("?", "code")], [])


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_a_confidence_beyond_certainty_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        evaluation(("code", "code", "", confidence))


@given(PAIRS)
def test_every_row_is_counted_once_in_each_break_down(
    outcomes: list[tuple[str, str, str, float]],
) -> None:
    result = evaluation(*outcomes)
    parts = (result.by_label, result.precision, result.by_source, result.by_label_and_source)
    for counts in parts:
        assert sum(count.rows for count in counts.values()) == len(outcomes)
        assert sum(count.right for count in counts.values()) == result.rows.right
    assert sum(result.confusion.values()) == len(outcomes)
    assert sum(each.rows for each in result.bins) == len(outcomes)
    assert result.ece is None or 0.0 <= result.ece <= 1.0


@given(st.lists(CONFIDENCES, min_size=1, max_size=40))
def test_the_bins_hold_the_confidences_between_their_ends(confidences: list[float]) -> None:
    for each in evaluation(*[("code", "code", "", value) for value in confidences]).bins:
        assert each.upper - 1 / 15 - 1e-9 <= each.confidence <= each.upper + 1e-9
