"""A threshold for a share of the verifier's quality, chosen on the log that is replayed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.cli.replay.statistics import (
    Baseline,
    always_verifier,
    curve,
    quality_kept,
    saved_fraction,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.cli.replay.statistics import Outcome

__all__ = ["TargetQuality", "choose_threshold", "target_quality"]

_PARTS: Final = 5

_NOBODY: Final = 1.0
"""A threshold that no judgement short of certainty reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetQuality:
    """What was asked for, and what choosing the threshold otherwise than in hindsight gives.

    Attributes:
        target: the share of the verifier's right answers to keep.
        threshold: the one that saves most among those that keep it on these very questions.
        saved: the share of cost saved where the threshold of each fifth of the questions is chosen
            on the others; `None` where the verifier costs nothing.
        quality_kept: the share of the verifier's accuracy kept likewise.
    """

    target: float
    threshold: float
    saved: float | None
    quality_kept: float | None

    def to_dict(self) -> dict[str, Any]:
        """Gives what `--json` says of it; `docs/replay.md` documents each key."""
        told = asdict(self)
        held = {"saved": told.pop("saved"), "quality_kept": told.pop("quality_kept")}
        return {**told, "held_out": held}


def choose_threshold(outcomes: Sequence[Outcome], target: float) -> float:
    """Gives the threshold that saves most while it keeps the target on these questions.

    Args:
        outcomes: what became of each question, with its draft's score.
        target: the share of the verifier's accuracy to keep, 0 to 1.
    """
    wanted = target * always_verifier(outcomes).accuracy
    keeping = [point for point in curve(outcomes) if point.accuracy >= wanted - 1e-12]
    best = max(keeping, key=lambda point: 1 - point.escalated)
    return _NOBODY if best.threshold is None else best.threshold


def target_quality(outcomes: Sequence[Outcome], target: float) -> TargetQuality:
    """Chooses a threshold on all questions, and says what one chosen on others would have done.

    Args:
        outcomes: as for `choose_threshold`.
        target: likewise.
    """
    served: list[Outcome] = []
    accepted: list[bool] = []
    for part in range(_PARTS):
        others = [each for at, each in enumerate(outcomes) if at % _PARTS != part]
        mine = outcomes[part::_PARTS]
        threshold = choose_threshold(others, target) if others else _NOBODY
        served += mine
        accepted += [each.score is not None and each.score >= threshold for each in mine]
    held = _served(served, accepted)
    return TargetQuality(
        target=target,
        threshold=choose_threshold(outcomes, target),
        saved=held.saved,
        quality_kept=quality_kept(held.accuracy, always_verifier(outcomes).accuracy),
    )


def _served(outcomes: Sequence[Outcome], accepted: Sequence[bool]) -> Baseline:
    both = list(zip(outcomes, accepted, strict=True))
    cost = sum(
        each.draft_cost + each.opinions_cost + (0 if stands else each.verifier_cost)
        for each, stands in both
    )
    right = sum(each.draft_correct if stands else each.verifier_correct for each, stands in both)
    return Baseline(
        accuracy=right / len(both),
        saved=saved_fraction(cost, sum(each.verifier_cost for each in outcomes)),
    )
