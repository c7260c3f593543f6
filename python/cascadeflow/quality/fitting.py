"""Fitting a calibration to judged drafts: ridge logistic regression, drawn to what ships.

What is fitted starts from the shipped judgement and moves away from it as far as the rows pay for
it: the ridge pulls the weight of its log-odds to 1, that of every measure to 0 and those of a
second opinion to the reckoned ones, so that few rows change little, and a fault that no row has
keeps its shipped weight. A. E. Hoerl and R. W. Kennard, Ridge Regression, 1970.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cascadeflow.quality.evidence import AGREES, DISAGREES, probability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["JudgedDraft", "Weights", "fit", "held_out"]

_RIDGE: Final = 3.0
"""How strongly weights are held to what ships, in the units of a row's second derivative: a dozen
undecided rows with a measure of 1 pull as strongly."""

_FREE: Final = 0.1
"""The same for the intercept: only so much that it stays finite where all rows are good."""

_SEEN: Final = 5
"""A measure that fewer rows have gets no weight of its own."""

_STEPS: Final = 25

_HALVINGS: Final = 30
"""Times that a step is halved: at the best weights rounding alone can make any step a loss."""

_CLOSE: Final = 1e-6
"""A step that lessens the loss by no more than this share of it is the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedDraft:
    """A draft of which it is known whether it was good enough.

    Attributes:
        group: rows with the same one are of the same question, and never torn apart.
        log_odds: what the shipped judgement says of it: the rules of its text, and where local
            checks ran, times what they leave of that.
        features: the measures of its text, in the order of `quality_weights`; where local checks
            ran, behind them their doubts (`local_doubts`).
        agrees: whether the second opinion agrees; `None` where there was none.
        good: whether it was good enough.
    """

    group: str
    log_odds: float
    features: tuple[float, ...]
    agrees: bool | None
    good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How the log-odds that a draft is good enough come about.

    Attributes:
        intercept: what every draft has.
        text: the weight of the shipped judgement's log-odds; never below 0.
        features: a weight for each measure, on top of what the shipped judgement gives it.
        agrees: what a second opinion that agrees adds; at least 0.
        disagrees: what one that does not adds; at most 0.
    """

    intercept: float
    text: float
    features: tuple[float, ...]
    agrees: float = AGREES
    disagrees: float = DISAGREES

    def unaided(self, log_odds: float, features: Sequence[float]) -> float:
        """The log-odds without a second opinion."""
        parts = zip(self.features, features, strict=True)
        return self.intercept + self.text * log_odds + math.fsum([w * x for w, x in parts])

    def log_odds(self, draft: JudgedDraft) -> float:
        """The log-odds, the second opinion included."""
        heard = {None: 0.0, True: self.agrees, False: self.disagrees}[draft.agrees]
        return self.unaided(draft.log_odds, draft.features) + heard


def fit(drafts: Sequence[JudgedDraft], *, start: Weights | None = None) -> Weights:
    """Fits weights to drafts, first those of the draft itself, then the second opinion's on top.

    Args:
        drafts: at least one.
        start: from where to seek; decides how long it takes, not what comes out.
    """
    count = len(drafts[0].features)
    used = [
        at for at in range(count) if sum(draft.features[at] != 0.0 for draft in drafts) >= _SEEN
    ]
    inputs = [(1.0, draft.log_odds, *(draft.features[at] for at in used)) for draft in drafts]
    good = [float(draft.good) for draft in drafts]
    begin = [0.0, 1.0, *([0.0] * len(used))]
    if start is not None:
        begin = [start.intercept, start.text, *(start.features[at] for at in used)]
    drawn_to = [0.0, 1.0, *([0.0] * len(used))]
    beta = _newton(inputs, good, [0.0] * len(drafts), drawn_to=drawn_to, begin=begin)
    features = [0.0] * count
    for at, weight in zip(used, beta[2:], strict=True):
        features[at] = weight
    alone = Weights(intercept=beta[0], text=max(0.0, beta[1]), features=tuple(features))
    unaided = [alone.unaided(draft.log_odds, draft.features) for draft in drafts]
    agrees, disagrees = (
        _move([(said, draft.good) for said, draft in each], toward=toward)
        for each, toward in (
            (
                [pair for pair in zip(unaided, drafts, strict=True) if pair[1].agrees is True],
                AGREES,
            ),
            (
                [pair for pair in zip(unaided, drafts, strict=True) if pair[1].agrees is False],
                DISAGREES,
            ),
        )
    )
    return Weights(
        intercept=alone.intercept,
        text=alone.text,
        features=alone.features,
        agrees=max(0.0, agrees),
        disagrees=min(0.0, disagrees),
    )


def held_out(
    drafts: Sequence[JudgedDraft],
    part_of: Callable[[JudgedDraft], int],
    *,
    start: Weights,
) -> list[Weights]:
    """For each draft, weights that saw no draft of the same part.

    Args:
        drafts: of at least two parts.
        part_of: names a draft's part; drafts of one group must be of one part.
        start: as in `fit`.
    """
    parts = [part_of(draft) for draft in drafts]
    fits = {
        part: fit(
            [draft for draft, mine in zip(drafts, parts, strict=True) if mine != part], start=start
        )
        for part in sorted(set(parts))
    }
    return [fits[part] for part in parts]


def _newton(
    inputs: Sequence[tuple[float, ...]],
    good: Sequence[float],
    offsets: Sequence[float],
    *,
    drawn_to: Sequence[float],
    begin: Sequence[float],
) -> list[float]:
    """Logistic regression under a ridge, a slight one on the first input, by Newton's method.

    A step that does not lessen the loss is halved.
    """
    size = len(drawn_to)
    ridge = [_FREE, *([_RIDGE] * (size - 1))]
    beta = list(begin)
    # Most measures of most texts are 0: only the others are multiplied.
    sparse = [[(at, x) for at, x in enumerate(each) if x] for each in inputs]

    def loss(beta: Sequence[float]) -> float:
        held = sum(r * (b - to) ** 2 for r, b, to in zip(ridge, beta, drawn_to, strict=True))
        return held / 2 + sum(
            _surprise(offset + sum([beta[at] * x for at, x in each]), right)
            for each, offset, right in zip(sparse, offsets, good, strict=True)
        )

    before = loss(beta)
    for _ in range(_STEPS):
        gradient = [r * (to - b) for r, b, to in zip(ridge, beta, drawn_to, strict=True)]
        curves = [[0.0] * size for _ in range(size)]
        for each, offset, right in zip(sparse, offsets, good, strict=True):
            guess = probability(offset + sum([beta[at] * x for at, x in each]))
            slope, curve = right - guess, guess * (1 - guess)
            for index, (at, x) in enumerate(each):
                gradient[at] += slope * x
                scaled, line = curve * x, curves[at]
                for other, y in each[: index + 1]:
                    line[other] += scaled * y
        for at in range(size):
            curves[at][at] += ridge[at]
            for other in range(at):
                curves[other][at] = curves[at][other]
        step = _solved(curves, gradient)
        tried = [b + s for b, s in zip(beta, step, strict=True)]
        after = loss(tried)
        for _ in range(_HALVINGS):
            if after <= before:
                break
            tried = [(b + t) / 2 for b, t in zip(beta, tried, strict=True)]
            after = loss(tried)
        if after > before:  # no step lessens the loss any more, but for rounding
            return beta
        beta, gained, before = tried, before - after, after
        if gained < _CLOSE * max(1.0, before):
            break
    return beta


def _surprise(log_odds: float, right: float) -> float:
    """The negative log-likelihood of one row."""
    towards = -log_odds if right else log_odds
    return math.log1p(math.exp(-abs(towards))) + max(0.0, towards)


def _solved(matrix: list[list[float]], vector: Sequence[float]) -> list[float]:
    """Solves a small symmetric positive definite system by elimination."""
    size = len(vector)
    rows = [[*line, value] for line, value in zip(matrix, vector, strict=True)]
    for at in range(size):
        for below in range(at + 1, size):
            factor = rows[below][at] / rows[at][at]
            if factor:
                for column in range(at, size + 1):
                    rows[below][column] -= factor * rows[at][column]
    out = [0.0] * size
    for at in reversed(range(size)):
        known = sum(rows[at][column] * out[column] for column in range(at + 1, size))
        out[at] = (rows[at][size] - known) / rows[at][at]
    return out


def _move(rows: Sequence[tuple[float, bool]], *, toward: float) -> float:
    """What one verdict adds to the log-odds that the drafts have, drawn to the reckoned figure."""
    if not rows:
        return toward
    return _newton(
        [(0.0, 1.0)] * len(rows),
        [float(good) for _, good in rows],
        [said for said, _ in rows],
        drawn_to=[0.0, toward],
        begin=[0.0, toward],
    )[1]
