"""Runs the detector over labelled requests, one after another, and counts how well it does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

from cascadeflow.domains.evaluation import Count, Evaluation, Prediction, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cascadeflow.domains.detector import DomainDetector
    from cascadeflow.domains.evaluation import LabelledRow
    from cascadeflow.domains.records import Detection

__all__ = ["LayerScore", "Score", "quantile", "score"]

_WARM_UP: Final = "What is this about?"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerScore:
    """How one layer did.

    Attributes:
        asked: how many rows came to it.
        answered: the rows that it decided, and how many of them it decided rightly.
        share: the share of all rows that it decided, 0 to 1.
        times_us: what it took for each row that came to it, microseconds, sorted.
    """

    asked: int
    answered: Count
    share: float
    times_us: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a detector did on labelled rows.

    Attributes:
        evaluation: the figures of all rows; what is unsure counts as `general`.
        layers: each layer that ran, by name, in their order.
        unsure: the rows that no layer answered, and how many of them are labelled `general`.
        times_us: what each row took in all, microseconds, sorted.
        coverage: (share of rows, accuracy) of the surest rows that any layer answered, ever more.
    """

    evaluation: Evaluation
    layers: dict[str, LayerScore]
    unsure: Count
    times_us: tuple[float, ...]
    coverage: tuple[tuple[float, float], ...]


async def score(
    rows: Sequence[LabelledRow],
    detector: DomainDetector,
    *,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Score:
    """Asks the detector about each row by itself, as single requests come.

    Args:
        rows: labelled requests, at least one.
        detector: the detector.
        on_progress: called with how many rows are done.

    Raises:
        ConfigurationError: a layer that is needed cannot run.
    """
    await _warm(detector)
    found: list[tuple[Detection, float]] = []
    for row in rows:
        began = perf_counter()
        detection = await detector.detect(row.text)
        found.append((detection, (perf_counter() - began) * 1e6))
        on_progress(len(found))
    return _counted(rows, found)


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Gives the nearest-rank quantile of sorted numbers; `None` of none.

    >>> quantile([1, 2, 3, 4], 0.5), quantile([1, 2, 3, 4], 0.99), quantile([], 0.5)
    (2, 4, None)
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


async def _warm(detector: DomainDetector) -> None:
    """Opens what the layers need, so that no row's time has it in it."""
    await detector.detect(_WARM_UP)
    embedder = detector.embedder()
    if embedder is not None:
        from cascadeflow.domains.semantic import SemanticHead  # noqa: PLC0415 - rules need none

        await embedder.vectors([_WARM_UP])
        SemanticHead.builtin()


def _counted(rows: Sequence[LabelledRow], found: Sequence[tuple[Detection, float]]) -> Score:
    times: dict[str, list[float]] = {}
    decided: dict[str, list[bool]] = {}
    sure: list[tuple[float, bool]] = []
    for row, (detection, took) in zip(rows, found, strict=True):
        right = detection.domain == row.label
        decided.setdefault(detection.layer, []).append(right)
        if detection.layer != "none" and detection.confidence is not None:
            sure.append((detection.confidence, right))
        rest = took
        for report in detection.layers:
            # What is not the rules' is the sentence model's, its queue and its head.
            spent = report.ms * 1e3 if report.layer == "rules" else rest
            rest -= spent
            times.setdefault(report.layer, []).append(spent)
    total = len(rows)
    none = Count(0, 0)
    counts = {layer: Count(len(hits), sum(hits)) for layer, hits in decided.items()}
    return Score(
        evaluation=evaluate(rows, [Prediction(each.domain, each.confidence) for each, _ in found]),
        layers={
            layer: LayerScore(
                asked=len(spent),
                answered=counts.get(layer, none),
                share=counts.get(layer, none).rows / total,
                times_us=tuple(sorted(spent)),
            )
            for layer, spent in times.items()
        },
        unsure=counts.get("none", none),
        times_us=tuple(sorted([took for _, took in found])),
        coverage=_coverage(sure, total),
    )


def _coverage(sure: list[tuple[float, bool]], total: int) -> tuple[tuple[float, float], ...]:
    """The accuracy of the surest 1, 2, 3 … rows; equally sure ones come together."""
    points = []
    right = 0
    ordered = sorted(sure, key=lambda each: -each[0])
    for count, (confidence, hit) in enumerate(ordered, 1):
        right += hit
        if count == len(ordered) or ordered[count][0] != confidence:
            points.append((count / total, right / count))
    return tuple(points)
