"""Figures on scored texts of which it is known whether they are good.

Where a figure speaks of finding something, what is to be found is the faulty: AUPRC and F1 are of
the wrong, the unsupported and the toxic ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cascadeflow.cli.replay.statistics import auc, bootstrap
from cascadeflow.domains.evaluation import LabelledRow, Prediction, evaluate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Figures", "Pairs", "Scored", "average_precision", "figures", "pairs", "parts_of"]

RESAMPLES: Final = 500


@dataclass(frozen=True, slots=True)
class Scored:
    """One text and what was said of it.

    Attributes:
        key: the question; what shares it is drawn together.
        part: its model, subset or category.
        good: whether it is good.
        score: 0 to 1; more is better.
        passed: whether it was accepted, or passed the check.
    """

    key: str
    part: str
    good: bool
    score: float
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How well scores tell good from faulty; `None` is what the rows do not tell.

    Attributes:
        n: texts.
        good: the share of them that is good, 0 to 1.
        auc: the probability that a good one scores above a faulty one; with `by_part`, the mean of
            the parts that have both.
        interval: its 95 % interval, over questions drawn with replacement.
        auc_pooled: the same over all at once.
        auprc: average precision of finding the faulty by a low score; by chance `1 - good`.
        f1: of finding the faulty by what did not pass.
        ece: the expected calibration error of the score as a probability of being good.
        passed: the share that passed.
        good_passed: the share of the passed that is good.
        good_failed: the share of the others that is good.
        false_alarms: the share of the good that did not pass.
        caught: the share of the faulty that did not pass.
        accuracy: the share that is good and passed, or faulty and did not.
    """

    n: int
    good: float
    auc: float | None
    interval: tuple[float, float] | None
    auc_pooled: float | None
    auprc: float | None
    f1: float | None
    ece: float | None
    passed: float
    good_passed: float | None
    good_failed: float | None
    false_alarms: float | None
    caught: float | None
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """How many pairs a score puts in order.

    Attributes:
        n: pairs.
        share: the share in which the better one scores higher; a tie counts one half.
        interval: its 95 % interval, over pairs drawn with replacement.
        ties: the share in which both score the same.
    """

    n: int
    share: float
    interval: tuple[float, float] | None
    ties: float


def figures(rows: Sequence[Scored], *, by_part: bool = False, seed: int | None = 0) -> Figures:
    """Reckons the figures of at least one text.

    Args:
        rows: the texts.
        by_part: whether the AUC is the mean of the parts'.
        seed: of the interval; `None` for no interval.
    """
    good, faulty = [row for row in rows if row.good], [row for row in rows if not row.good]
    passed, failed = [row for row in rows if row.passed], [row for row in rows if not row.passed]
    caught = sum(not row.passed for row in faulty)
    said = evaluate(
        [LabelledRow("", "good" if row.good else "faulty") for row in rows],
        [Prediction("good", row.score) for row in rows],
    )

    def drawn(clusters: Sequence[Sequence[Scored]]) -> float | None:
        return _auc([row for cluster in clusters for row in cluster], by_part=by_part)

    return Figures(
        n=len(rows),
        good=len(good) / len(rows),
        auc=_auc(rows, by_part=by_part),
        interval=None
        if seed is None or not good or not faulty
        else bootstrap(_by_question(rows), drawn, resamples=RESAMPLES, seed=seed),
        auc_pooled=_auc(rows, by_part=False),
        auprc=average_precision(rows),
        f1=2 * caught / (len(faulty) + len(failed)) if faulty else None,
        ece=said.ece,
        passed=len(passed) / len(rows),
        good_passed=_share(row.good for row in passed),
        good_failed=_share(row.good for row in failed),
        false_alarms=_share(not row.passed for row in good),
        caught=_share(not row.passed for row in faulty),
        accuracy=sum(row.passed == row.good for row in rows) / len(rows),
    )


def pairs(rows: Sequence[Scored], *, seed: int | None = 0) -> Pairs:
    """Reckons how many pairs are in order.

    Args:
        rows: of each pair the better one and behind it the worse one, in turn.
        seed: of the interval; `None` for no interval.
    """
    both = list(zip(rows[::2], rows[1::2], strict=True))
    return Pairs(
        n=len(both),
        share=ordered_rightly(both),
        interval=None
        if seed is None
        else bootstrap(both, ordered_rightly, resamples=RESAMPLES, seed=seed),
        ties=sum(better.score == worse.score for better, worse in both) / len(both),
    )


def ordered_rightly(both: Sequence[tuple[Scored, Scored]]) -> float:
    """The share of pairs (better, worse) whose better one scores higher; a tie is one half."""
    return sum(
        (better.score > worse.score) + 0.5 * (better.score == worse.score) for better, worse in both
    ) / len(both)


def average_precision(rows: Sequence[Scored]) -> float | None:
    """The mean precision at which the faulty are found by ever higher scores.

    Texts of one score are found together. `None` where nothing is faulty.

    >>> average_precision([Scored("", "", good, score, True) for good, score in
    ...     [(False, 0.1), (True, 0.2), (False, 0.3), (True, 0.9)]])
    0.8333333333333333
    """
    faulty = sum(not row.good for row in rows)
    if not faulty:
        return None
    ordered = sorted(rows, key=lambda row: row.score)
    total, found, before = 0.0, 0, 0
    for seen, row in enumerate(ordered, 1):
        found += not row.good
        if seen == len(ordered) or ordered[seen].score != row.score:
            total += (found - before) * found / seen
            before = found
    return total / faulty


def parts_of(rows: Iterable[Scored]) -> dict[str, list[Scored]]:
    """The rows of each part, by its name."""
    parts: dict[str, list[Scored]] = {}
    for row in rows:
        parts.setdefault(row.part, []).append(row)
    return dict(sorted(parts.items()))


def _auc(rows: Sequence[Scored], *, by_part: bool) -> float | None:
    if not by_part:
        return auc([row.score for row in rows], [row.good for row in rows])
    found = [
        each for part in parts_of(rows).values() if (each := _auc(part, by_part=False)) is not None
    ]
    return sum(found) / len(found) if found else None


def _by_question(rows: Sequence[Scored]) -> list[list[Scored]]:
    questions: dict[str, list[Scored]] = {}
    for row in rows:
        questions.setdefault(row.key, []).append(row)
    return list(questions.values())


def _share(flags: Iterable[bool]) -> float | None:
    listed = list(flags)
    return sum(listed) / len(listed) if listed else None
