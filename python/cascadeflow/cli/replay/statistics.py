"""The arithmetic of replay: pure functions on what each question cost and whether it was right.

Definitions, all over the same questions (`docs/replay.md` states them for readers):

* *saved* = 1 - cost / cost of asking the verifier alone. The draft is charged whether or not it is
  accepted, so a cascade that escalates everything saves less than nothing.
* *quality kept* = accuracy / accuracy of the verifier alone.
* *perfect validator*: accepts a draft if and only if it is right.
* *random escalation*: each question is escalated with the same probability p, whatever the draft
  says; the figures are its expectation, in closed form. p is chosen so that it costs what the
  validator cost (`random_at_cost`), so the two differ in accuracy alone.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "Baseline",
    "CurvePoint",
    "Outcome",
    "always_draft",
    "always_verifier",
    "auc",
    "bootstrap",
    "curve",
    "expected_random",
    "perfect_validator",
    "quality_kept",
    "random_at_cost",
    "random_to_quality",
    "saved_fraction",
    "wilson",
]


_Drawn = TypeVar("_Drawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One question's way through the cascade. Costs are in nanodollars.

    Attributes:
        draft_correct: whether the draft is right.
        verifier_correct: whether the verifier's answer is right.
        draft_cost: what the draft cost.
        verifier_cost: what the verifier costs, asked or not.
        accepted: whether the draft was accepted.
        score: the validator's probability that the draft is good enough; `None` if it gave none.
        cost: what the cascade was billed for the question.
        not_run: whether a check of the draft could not be run, or an opinion not be heard.
    """

    draft_correct: bool
    verifier_correct: bool
    draft_cost: int
    verifier_cost: int
    accepted: bool
    score: float | None
    cost: int
    not_run: bool = False

    @property
    def correct(self) -> bool:
        """Whether the answer that was served is right."""
        return self.draft_correct if self.accepted else self.verifier_correct

    @property
    def opinions_cost(self) -> int:
        """What second opinions cost: all that is neither the draft's nor the verifier's."""
        return self.cost - self.draft_cost - (0 if self.accepted else self.verifier_cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a policy scores: the share of right answers, and the share of cost saved."""

    accuracy: float
    saved: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One threshold of the validator's score.

    Attributes:
        threshold: drafts with at least this score are accepted; `None`: none is.
        escalated: share of questions that the verifier answers.
        accuracy: share of right answers.
        saved: share of the verifier-alone cost that is saved.
    """

    threshold: float | None
    escalated: float
    accuracy: float
    saved: float | None


def saved_fraction(cost: float, verifier_cost: int) -> float | None:
    """Gives 1 - cost / verifier-alone cost, or `None` when the verifier costs nothing.

    >>> saved_fraction(25, 100)
    0.75
    """
    return None if verifier_cost == 0 else 1 - cost / verifier_cost


def quality_kept(accuracy: float, verifier_accuracy: float) -> float | None:
    """Gives accuracy / verifier-alone accuracy, or `None` when the verifier is never right."""
    return None if verifier_accuracy == 0 else accuracy / verifier_accuracy


def always_draft(outcomes: Sequence[Outcome]) -> Baseline:
    """Every draft is served, unjudged."""
    return _baseline(
        outcomes,
        correct=lambda outcome: outcome.draft_correct,
        cost=lambda outcome: outcome.draft_cost,
    )


def always_verifier(outcomes: Sequence[Outcome]) -> Baseline:
    """The verifier answers everything and nothing is drafted."""
    return _baseline(
        outcomes,
        correct=lambda outcome: outcome.verifier_correct,
        cost=lambda outcome: outcome.verifier_cost,
    )


def perfect_validator(outcomes: Sequence[Outcome]) -> Baseline:
    """A draft is accepted if and only if it is right."""
    return _baseline(
        outcomes,
        correct=lambda outcome: outcome.draft_correct or outcome.verifier_correct,
        cost=lambda outcome: (
            outcome.draft_cost + (0 if outcome.draft_correct else outcome.verifier_cost)
        ),
    )


def expected_random(outcomes: Sequence[Outcome], share: float) -> Baseline:
    """The expectation of escalating each question with probability `share`, 0 to 1."""
    draft, verifier = always_draft(outcomes), always_verifier(outcomes)
    verifier_cost = sum(outcome.verifier_cost for outcome in outcomes)
    draft_cost = sum(outcome.draft_cost for outcome in outcomes)
    return Baseline(
        accuracy=draft.accuracy + share * (verifier.accuracy - draft.accuracy),
        saved=saved_fraction(draft_cost + share * verifier_cost, verifier_cost),
    )


def random_at_cost(outcomes: Sequence[Outcome]) -> Baseline:
    """Random escalation that costs, in expectation, what the cascade was billed.

    When the verifier costs nothing, every share costs the same: the cascade's own share is taken.
    """
    verifier_cost = sum(outcome.verifier_cost for outcome in outcomes)
    if verifier_cost == 0:
        escalated = sum(not outcome.accepted for outcome in outcomes)
        return expected_random(outcomes, escalated / len(outcomes))
    draft_cost = sum(outcome.draft_cost for outcome in outcomes)
    billed = sum(outcome.cost for outcome in outcomes)
    share = (billed - draft_cost) / verifier_cost
    return expected_random(outcomes, min(1.0, max(0.0, share)))


def random_to_quality(outcomes: Sequence[Outcome], target: float) -> Baseline | None:
    """The cheapest random escalation that keeps `target` of the verifier's accuracy.

    `None` when no share of random escalation gets there.
    """
    draft, verifier = always_draft(outcomes).accuracy, always_verifier(outcomes).accuracy
    wanted = target * verifier
    if draft >= wanted:
        return expected_random(outcomes, 0.0)
    if verifier < wanted:
        return None
    return expected_random(outcomes, (wanted - draft) / (verifier - draft))


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float | None:
    """The probability that a right draft scores higher than a wrong one; a tie counts one half.

    `None` when all labels are equal: there is nothing to tell apart.

    >>> auc([0.9, 0.4, 0.4], [True, True, False])
    0.75
    """
    right = [score for score, label in zip(scores, labels, strict=True) if label]
    wrong = sorted(score for score, label in zip(scores, labels, strict=True) if not label)
    if not right or not wrong:
        return None
    # Twice the count of won pairs, so that the halves of ties stay whole numbers.
    won = sum(bisect_left(wrong, score) + bisect_right(wrong, score) for score in right)
    return won / (2 * len(right) * len(wrong))


def curve(outcomes: Sequence[Outcome]) -> tuple[CurvePoint, ...]:
    """Cost and accuracy at each threshold that tells drafts apart, from accept-all to accept-none.

    Drafts without a score are never accepted. It holds the validator's score to each threshold, and
    charges the second opinions that were asked for at the cascade's own; the cascade's own run can
    differ from it where the validator accepts by more than its score.
    """
    total = len(outcomes)
    verifier_cost = sum(outcome.verifier_cost for outcome in outcomes)
    scored = sorted(
        (outcome for outcome in outcomes if outcome.score is not None),
        key=lambda outcome: outcome.score or 0.0,
        reverse=True,
    )
    cost = sum(
        outcome.draft_cost + outcome.opinions_cost + outcome.verifier_cost for outcome in outcomes
    )
    right = sum(outcome.verifier_correct for outcome in outcomes)

    def point(threshold: float | None, accepted: int) -> CurvePoint:
        return CurvePoint(
            threshold=threshold,
            escalated=(total - accepted) / total,
            accuracy=right / total,
            saved=saved_fraction(cost, verifier_cost),
        )

    points = [point(None, 0)]
    for index, outcome in enumerate(scored):
        cost -= outcome.verifier_cost
        right += outcome.draft_correct - outcome.verifier_correct
        following = scored[index + 1].score if index + 1 < len(scored) else None
        if following != outcome.score:
            points.append(point(outcome.score, index + 1))
    return tuple(reversed(points))


def wilson(successes: int, total: int, *, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval of a share; 95 % by default.

    E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    share = successes / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def bootstrap(
    outcomes: Sequence[_Drawn],
    figure: Callable[[Sequence[_Drawn]], float | None],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float] | None:
    """The percentile interval of a figure over questions drawn with replacement.

    `None` when the figure has no value on most resamples. The same seed gives the same interval.

    B. Efron, Bootstrap Methods: Another Look at the Jackknife, 1979.
    """
    draw = random.Random(seed)
    values = sorted(
        value
        for _ in range(resamples)
        if (value := figure(draw.choices(outcomes, k=len(outcomes)))) is not None
    )
    if len(values) <= resamples // 2:
        return None
    tail = (1 - level) / 2
    return (
        values[math.floor(tail * (len(values) - 1))],
        values[math.ceil((1 - tail) * (len(values) - 1))],
    )


def _baseline(
    outcomes: Sequence[Outcome],
    *,
    correct: Callable[[Outcome], bool],
    cost: Callable[[Outcome], int],
) -> Baseline:
    verifier_cost = sum(outcome.verifier_cost for outcome in outcomes)
    return Baseline(
        accuracy=sum(map(correct, outcomes)) / len(outcomes),
        saved=saved_fraction(sum(map(cost, outcomes)), verifier_cost),
    )
