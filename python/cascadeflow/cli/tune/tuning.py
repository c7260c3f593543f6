"""Choosing weights and a threshold by a log: pure functions on what each draft was and cost."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cascadeflow.cli.replay.statistics import Outcome, saved_fraction
from cascadeflow.cli.tune.promise import Tally, keeps, level_of, questions_needed
from cascadeflow.quality.evidence import logit, probability
from cascadeflow.quality.fitting import JudgedDraft, Weights, fit, held_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "Candidate",
    "LoggedDraft",
    "Scored",
    "Tuned",
    "choose",
    "decided",
    "weigh",
]

_PARTS: Final = 5
"""Weights are fitted on four fifths of the questions, and tried on the last."""

_BORDERS: Final = tuple((160 - step) / 20 for step in range(251))
"""The log-odds that are tried as thresholds, 8.0 to -4.5: the last, 0.011, lies above what a draft
that is rejected outright can reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDraft:
    """One question of the log. Costs are in nanodollars.

    Attributes:
        judged: what the text, and where they ran the local checks, say; and whether it is right.
        rejected: whether a check rejects it, whatever its probability.
        not_run: whether a local check could not run; it is then rejected too.
        verifier_right: whether the verifier's answer is right.
        draft_cost: what the draft cost.
        verifier_cost: what the verifier costs.
        opinion_cost: what the second opinion costs; 0 where there is none.
    """

    judged: JudgedDraft
    rejected: bool
    verifier_right: bool
    draft_cost: int
    verifier_cost: int
    opinion_cost: int = 0
    not_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One threshold, by weights that saw none of the questions.

    Attributes:
        threshold: the least probability that is accepted.
        accepted: the share of drafts that are.
        accuracy: share of right answers.
        saved: share of the verifier-alone cost that is saved; `None` where that costs nothing.
        promised: whether it passed, and all before it; where nothing is accepted, nothing is lost.
    """

    threshold: float
    accepted: float
    accuracy: float
    saved: float | None
    promised: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What a log gives.

    Attributes:
        threshold: that of the promised candidates which saves most; 1 where there is none.
        promised: whether there is one.
        candidates: each threshold that tells drafts apart, the strictest first.
        outcomes: what becomes of each question at the threshold, by weights that did not see it.
        needed: so many questions show the target at least, if nothing is lost.
    """

    threshold: float
    promised: bool
    candidates: tuple[Candidate, ...]
    outcomes: tuple[Outcome, ...]
    needed: int


class Scored:
    """A draft with its log-odds by given weights, ready to be held to many thresholds.

    Attributes:
        draft: what it is and cost.
        accepted_up_to: the highest threshold, in log-odds, at which it is accepted.
        asked_up_to: the highest at which a second opinion could make it accepted, and is asked for.
        settled_up_to: the highest at which it is accepted whatever a second opinion says: from here
            down, none is asked for.
    """

    __slots__ = ("accepted_up_to", "asked_up_to", "draft", "settled_up_to")

    def __init__(self, draft: LoggedDraft, weights: Weights, *, strict: bool) -> None:
        """Scores a draft; `strict` says whether a second opinion may be asked for."""
        judged = draft.judged
        self.draft = draft
        unaided = weights.unaided(judged.log_odds, judged.features)
        worst = best = -math.inf if draft.rejected else unaided
        if strict:
            worst, best = worst + weights.disagrees, best + weights.agrees
        # Who was not heard counts as against it: it is then accepted only where it would be anyway.
        self.accepted_up_to = best if judged.agrees or not strict else worst
        self.asked_up_to, self.settled_up_to = best, worst

    def outcome(self, border: float) -> Outcome:
        """What becomes of the question where so much is the least, in log-odds."""
        draft = self.draft
        accepted = self.accepted_up_to >= border
        asked = self.settled_up_to < border <= self.asked_up_to
        cost = draft.draft_cost + (draft.opinion_cost if asked else 0)
        return Outcome(
            draft_correct=draft.judged.good,
            verifier_correct=draft.verifier_right,
            draft_cost=draft.draft_cost,
            verifier_cost=draft.verifier_cost,
            accepted=accepted,
            score=probability(max(self.accepted_up_to, -700.0)),
            cost=cost if accepted else cost + draft.verifier_cost,
        )


def weigh(drafts: Sequence[LoggedDraft]) -> tuple[Weights, tuple[Weights, ...]]:
    """Fits weights to drafts.

    Drafts that are rejected outright have no part in it: no weight changes that.

    Args:
        drafts: at least one.

    Returns:
        The weights that are fitted on all, and for each draft those that saw none of its question
        (five parts); where all drafts are of one question, there are none such but the same.
    """
    usable = [draft.judged for draft in drafts if not draft.rejected]
    if not usable:
        blank = (0.0,) * len(drafts[0].judged.features)
        weights = Weights(intercept=0.0, text=1.0, features=blank)
        return weights, (weights,) * len(drafts)
    weights = fit(usable)
    part_of = _parts(usable)
    torn = len(set(map(part_of, usable))) > 1
    held = iter(held_out(usable, part_of, start=weights) if torn else [weights] * len(usable))
    return weights, tuple(weights if draft.rejected else next(held) for draft in drafts)


def choose(scored: Sequence[Scored], *, target: float, confidence: float) -> Tuned:
    """Chooses the threshold that saves most of those that keep the target.

    Args:
        scored: the drafts by weights that saw none of their questions.
        target: the share of the verifier's right answers to be kept, above 0 and below 1.
        confidence: with which it is, on as many fresh questions.
    """
    level = level_of(confidence)
    candidates = _candidates(scored, target, level)
    best = max(
        (each for each in candidates if each.promised and each.accepted),
        key=lambda each: each.saved or 0.0,
        default=None,
    )
    threshold = 1.0 if best is None else best.threshold
    right = sum(each.draft.verifier_right for each in scored)
    needed = questions_needed(target, level)
    return Tuned(
        threshold=threshold,
        promised=best is not None,
        candidates=candidates,
        outcomes=decided(scored, threshold),
        needed=-(-needed * len(scored) // right) if right else needed,
    )


def decided(scored: Sequence[Scored], threshold: float) -> tuple[Outcome, ...]:
    """What becomes of each question at a threshold; 1 accepts nothing."""
    border = math.inf if threshold >= 1 else logit(threshold)
    return tuple(each.outcome(border) for each in scored)


def _parts(drafts: Sequence[JudgedDraft]) -> Callable[[JudgedDraft], int]:
    groups = sorted(
        {draft.group for draft in drafts},
        key=lambda name: zlib.crc32(name.encode("utf-8", "replace")),
    )
    part = {group: index % _PARTS for index, group in enumerate(groups)}
    return lambda draft: part[draft.group]


def _candidates(scored: Sequence[Scored], target: float, level: float) -> tuple[Candidate, ...]:
    """Goes through the thresholds once, taking in each draft where it comes in."""
    total = len(scored)
    right = sum(each.draft.verifier_right for each in scored)
    alone = sum(each.draft.verifier_cost for each in scored)
    cost = alone + sum(each.draft.draft_cost for each in scored)
    accepting = sorted(scored, key=lambda each: each.accepted_up_to)
    asking = sorted(scored, key=lambda each: each.asked_up_to)
    settling = sorted(scored, key=lambda each: each.settled_up_to)
    accepted = losses = gains = 0
    found: list[Candidate] = []
    before = (-1, -1)
    promised = True
    for border in _BORDERS:
        while accepting and accepting[-1].accepted_up_to >= border:
            draft = accepting.pop().draft
            accepted += 1
            losses += draft.verifier_right and not draft.judged.good
            gains += draft.judged.good and not draft.verifier_right
            cost -= draft.verifier_cost
        while asking and asking[-1].asked_up_to >= border:
            cost += asking.pop().draft.opinion_cost
        while settling and settling[-1].settled_up_to >= border:
            cost -= settling.pop().draft.opinion_cost
        if before == (accepted, cost):
            continue
        before = (accepted, cost)
        tally = Tally(right=right, wrong=total - right, losses=losses, gains=gains)
        promised = promised and (not accepted or keeps(tally, target, level))
        found.append(
            Candidate(
                threshold=round(probability(border), 6),
                accepted=accepted / total,
                accuracy=(right - losses + gains) / total,
                saved=saved_fraction(cost, alone),
                promised=promised,
            )
        )
    return tuple(found)
