"""How well a detector does on labelled requests: accuracy, macro recall, calibration, confusion.

Every figure that is published is counted here, for `cascadeflow domains eval` and for the
benchmarks alike.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FEWEST", "Bin", "Count", "Evaluation", "LabelledRow", "Prediction", "evaluate"]

FEWEST: Final = 50
"""The fewest rows at which a label's recall enters the macro average; fewer are listed only."""

BINS: Final = 15
"""Bins of equal width that the expected calibration error is counted over."""

_Key = TypeVar("_Key", str, tuple[str, str])


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A request and what it is about.

    Attributes:
        text: the request.
        label: its domain.
        source: where it is from; `""` where that is not known.
    """

    text: str
    label: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a detector said of one request.

    Attributes:
        domain: the domain that it is routed by.
        confidence: the probability that this is right, 0 to 1; `None` where it claims none, and the
            row is then left out of the calibration.
    """

    domain: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """Rows, and how many of them were right.

    Attributes:
        rows: how many.
        right: how many were given their label.
    """

    rows: int
    right: int

    @property
    def share(self) -> float:
        """The share that is right, 0 to 1; 0 of no rows."""
        return self.right / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Bin:
    """The rows whose confidence lies in one interval, which holds its upper end.

    Attributes:
        upper: the interval's upper end.
        rows: how many rows.
        confidence: their mean confidence.
        accuracy: the share of them that is right.
    """

    upper: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the predictions of a labelled set are worth.

    Attributes:
        rows: how many rows, and how many were right.
        macro_recall: the mean recall of the labels with at least `fewest` rows, 0 to 1; `None` when
            no label has as many.
        by_label: each label's rows and how many of them were found, by name.
        precision: of each domain that was predicted: how often, and how often rightly, by name.
        by_source: the same of each source, by name.
        by_label_and_source: the same of each label of each source.
        listed_only: labels of fewer than `fewest` rows, which `macro_recall` leaves out.
        ece: the expected calibration error over the rows with a confidence, 0 to 1; `None` when
            none has one.
        bins: what `ece` is counted from; empty intervals are left out.
        confusion: (label, predicted domain) and how often; zeros are left out.
        fewest: the fewest rows of a label that is averaged.
    """

    rows: Count
    macro_recall: float | None
    by_label: Mapping[str, Count]
    precision: Mapping[str, Count]
    by_source: Mapping[str, Count]
    by_label_and_source: Mapping[tuple[str, str], Count]
    listed_only: tuple[str, ...]
    ece: float | None
    bins: tuple[Bin, ...]
    confusion: Mapping[tuple[str, str], int]
    fewest: int

    @property
    def accuracy(self) -> float:
        """The share of all rows that is right, 0 to 1."""
        return self.rows.share


def evaluate(
    rows: Sequence[LabelledRow], predictions: Sequence[Prediction], *, fewest: int = FEWEST
) -> Evaluation:
    """Counts how far the predictions agree with the labels.

    Args:
        rows: the labelled requests.
        predictions: one for each row, in their order.
        fewest: the fewest rows at which a label enters the macro average.

    Raises:
        ValueError: there are not as many predictions as rows, or a confidence is not within 0 to 1.
    """
    if len(rows) != len(predictions):
        raise ValueError(f"{len(predictions)} predictions for {len(rows)} rows")
    pairs = list(zip(rows, predictions, strict=True))
    by_label = _counts([(row.label, row.label == said.domain) for row, said in pairs])
    macro = [count.share for count in by_label.values() if count.rows >= fewest]
    bins = _bins(
        [
            (said.confidence, row.label == said.domain)
            for row, said in pairs
            if said.confidence is not None
        ]
    )
    binned = sum(each.rows for each in bins)
    return Evaluation(
        rows=Count(len(pairs), sum(row.label == said.domain for row, said in pairs)),
        macro_recall=sum(macro) / len(macro) if macro else None,
        by_label=by_label,
        precision=_counts([(said.domain, row.label == said.domain) for row, said in pairs]),
        by_source=_counts([(row.source, row.label == said.domain) for row, said in pairs]),
        by_label_and_source=_counts(
            [((row.label, row.source), row.label == said.domain) for row, said in pairs]
        ),
        listed_only=tuple([name for name, count in by_label.items() if count.rows < fewest]),
        ece=sum(each.rows * abs(each.confidence - each.accuracy) for each in bins) / binned
        if binned
        else None,
        bins=bins,
        confusion=dict(sorted(Counter([(row.label, said.domain) for row, said in pairs]).items())),
        fewest=fewest,
    )


def _counts(outcomes: list[tuple[_Key, bool]]) -> dict[_Key, Count]:
    rows = Counter([key for key, _ in outcomes])
    right = Counter([key for key, hit in outcomes if hit])
    return {key: Count(rows[key], right[key]) for key in sorted(rows)}


def _bins(outcomes: list[tuple[float, bool]]) -> tuple[Bin, ...]:
    held: defaultdict[int, list[tuple[float, bool]]] = defaultdict(list)
    for confidence, hit in outcomes:
        if not 0.0 <= confidence <= 1.0:
            raise ValueError(f"a confidence is between 0 and 1, not {confidence}")
        # An interval holds its upper end, the lowest one both of its ends.
        held[max(0, -int(-confidence * BINS // 1) - 1)].append((confidence, hit))
    return tuple(
        [
            Bin(
                upper=(index + 1) / BINS,
                rows=len(held[index]),
                confidence=sum(confidence for confidence, _ in held[index]) / len(held[index]),
                accuracy=sum(hit for _, hit in held[index]) / len(held[index]),
            )
            for index in sorted(held)
        ]
    )
