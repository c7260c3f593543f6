"""Whether drafting pays: the expected cost of a cascade against that of asking the verifier.

    cascade = draft + validation + (1 - p) * verifier          direct = verifier

where p is how likely the draft is accepted. The draft is made where the cascade is cheaper. Sums
are compared as whole numbers, so what is chosen is never the dearer one by the figures it names.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, get_args

from cascadeflow.domains.acceptance import AcceptanceModel, Estimate
from cascadeflow.domains.complexity import ComplexityLevel
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.models.expected_cost import (
    ExpectedCall,
    OutputLengths,
    expect_call,
    input_size,
)
from cascadeflow.models.notes import NoteKeeper

if TYPE_CHECKING:
    from datetime import datetime

    from cascadeflow.models.config import ModelConfig
    from cascadeflow.models.expected_cost import Asked, InputSize
    from cascadeflow.models.notes import Notes
    from cascadeflow.models.usage import Usage

__all__ = ["Basis", "Decision", "Drafting", "decide"]

Basis = Literal["cost", "level"]
"""What decided: the expected cost, or the level alone where the cost cannot tell."""

_logger: Final = logging.getLogger(__name__)

_LEVELS: Final[tuple[ComplexityLevel, ...]] = get_args(ComplexityLevel)
_PARTS: Final = 1_000_000_000
"""Probabilities are compared in billionths, as whole numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a draft is made, and by which figures. Costs are nanodollars.

    Attributes:
        route: `cascade` (draft first) or `direct`.
        reason: why, in words.
        basis: what decided.
        acceptance: how likely the draft is accepted.
        draft_cost: what a draft costs on average; `None` when it is not known, like the others.
        validation_cost: what judging it costs on average, second opinions included.
        verifier_cost: what the verifier's answer costs on average.
        expected_cascade: what drafting first costs on average, rounded up.
        expected_direct: what asking the verifier costs on average.
        explored: whether the draft is made to learn, though it does not seem to pay.
    """

    route: Literal["cascade", "direct"]
    reason: str
    basis: Basis
    acceptance: Estimate
    draft_cost: int | None
    validation_cost: int | None
    verifier_cost: int | None
    expected_cascade: int | None
    expected_direct: int | None
    explored: bool = False

    @property
    def break_even(self) -> float | None:
        """The probability of acceptance from which on a draft pays, more than 1 where it never can.

        `None` where a cost is not known, or the verifier's is nothing.
        """
        if self.draft_cost is None or self.validation_cost is None or not self.verifier_cost:
            return None
        return (self.draft_cost + self.validation_cost) / self.verifier_cost


def decide(
    *,
    level: ComplexityLevel,
    acceptance: Estimate,
    draft_cost: int | None,
    verifier_cost: int | None,
    validation_cost: int | None = 0,
    margin: float = 0.0,
    draft_up_to: ComplexityLevel = "hard",
    problem: str = "",
    opinion_of: str = "",
) -> Decision:
    """Decides by expected cost, or by the level where a cost is not known or nothing costs.

    Args:
        level: how hard the request was judged to be.
        acceptance: how likely its draft is accepted.
        draft_cost: what a draft is expected to cost, nanodollars; `None` when it is not known.
        verifier_cost: what the verifier's answer is expected to cost, nanodollars, or `None`.
        validation_cost: what judging a draft is expected to cost, nanodollars, or `None`.
        margin: by which share of the verifier's cost drafting must be cheaper, 0 to 1.
        draft_up_to: the hardest level that is drafted where the cost cannot tell.
        problem: why a cost is not known, for the reason.
        opinion_of: who judges the draft, for the reason; empty where no model does.

    Raises:
        InvalidRequestError: a cost is negative, or the margin lies outside 0 to 1.
    """
    if not 0 <= margin <= 1:
        raise InvalidRequestError(f"margin is a share of the verifier's cost, 0 to 1, not {margin}")
    if min(draft_cost or 0, verifier_cost or 0, validation_cost or 0) < 0:
        raise InvalidRequestError("an expected cost is negative")
    cascade: int | None = None
    basis: Basis = "level"
    if draft_cost is None or verifier_cost is None or validation_cost is None:
        pays = _LEVELS.index(level) <= _LEVELS.index(draft_up_to)
        why = f"what would pay is not known: {problem or 'a price is not known'}"
        reason = _by_level(level, why, drafted=pays)
    else:
        certain = draft_cost + validation_cost
        rejected = _PARTS - min(_PARTS, int(acceptance.probability * _PARTS))
        scaled = certain * _PARTS + rejected * verifier_cost
        cascade = -(-scaled // _PARTS)
        if certain or verifier_cost:
            basis = "cost"
            pays = scaled < verifier_cost * (_PARTS - round(margin * _PARTS))
            reason = _by_cost(certain, verifier_cost, cascade, acceptance.probability, drafted=pays)
            if not pays and draft_cost < verifier_cost <= certain:
                reason = _by_opinion(draft_cost, validation_cost, verifier_cost, opinion_of)
        else:
            pays = _LEVELS.index(level) <= _LEVELS.index(draft_up_to)
            reason = _by_level(level, "neither model costs anything", drafted=pays)
    return Decision(
        route="cascade" if pays else "direct",
        reason=reason,
        basis=basis,
        acceptance=acceptance,
        draft_cost=draft_cost,
        validation_cost=validation_cost,
        verifier_cost=verifier_cost,
        expected_cascade=cascade,
        expected_direct=verifier_cost,
    )


def _by_level(level: ComplexityLevel, why: str, *, drafted: bool) -> str:
    return f"{level} requests are {'' if drafted else 'not '}drafted; {why}"


def _by_cost(
    certain: int, verifier: int, cascade: int, probability: float, *, drafted: bool
) -> str:
    accepted = f"accepted with {probability:.0%}"
    if drafted:
        return f"a draft pays: {accepted}, {1 - cascade / verifier:.0%} cheaper on average"
    if certain >= verifier:
        return "a draft costs no less than the verifier's answer"
    return f"a draft does not pay: {accepted}, it needs {certain / verifier:.0%}"


def _by_opinion(draft: int, opinion: int, verifier: int, whose: str) -> str:
    """The draft alone would be cheaper."""
    what = f"{whose}'s opinion on it" if whose else "judging it"
    return (
        f"a draft and {what} cost no less than the verifier's answer: "
        f"{draft / verifier:.0%} and {opinion / verifier:.0%} of it"
    )


class Drafting:
    """What an agent knows of whether drafts pay: it decides, and learns from what came of it.

    Any thread may use it, and nothing on a request's path waits for a disk: what was learned is
    written by a thread of its own, every so many observations and at the end.
    """

    def __init__(
        self,
        *,
        acceptance: AcceptanceModel | None = None,
        lengths: OutputLengths | None = None,
        margin: float = 0.0,
        draft_up_to: ComplexityLevel = "hard",
        notes: Notes | None = None,
        save_every: int = 100,
    ) -> None:
        """Takes up what was learned before, if it is stored.

        Args:
            acceptance: how likely drafts are accepted; a new one when `None`.
            lengths: how much models write; a new one when `None`.
            margin: by which share of the verifier's cost drafting must be cheaper, 0 to 1.
            draft_up_to: the hardest level that is drafted where the cost cannot tell.
            notes: where what is learned outlives the process; `None` keeps it in memory, and so
                does a store of the user's own that has none (a warning says so).
            save_every: after how many observations it is written there.

        Raises:
            ConfigurationError: an option that cannot be.
            StoreError: what is stored cannot be read; it was left as it is.
        """
        if not 0 <= margin <= 1:
            raise ConfigurationError(
                f"margin is a share of the verifier's cost, 0 to 1, not {margin}"
            )
        if draft_up_to not in _LEVELS:
            raise ConfigurationError(
                f"draft_up_to must be one of {', '.join(_LEVELS)}; not {draft_up_to!r}"
            )
        self.acceptance = AcceptanceModel() if acceptance is None else acceptance
        self.lengths = OutputLengths() if lengths is None else lengths
        self._margin = margin
        self._draft_up_to = draft_up_to
        self._keeper = None
        if notes is None:
            return
        if not hasattr(notes, "get_note") or not hasattr(notes, "change_note"):
            _logger.warning(
                "the store keeps no notes, so what is learned of drafts ends with the process: "
                "give it get_note and change_note (cascadeflow.models.notes.Notes)"
            )
            return
        tables = (self.acceptance.learned, self.lengths.learned)
        self._keeper = NoteKeeper(notes, tables, every=save_every)

    def decide(
        self,
        request: Asked,
        *,
        domain: str,
        level: ComplexityLevel,
        drafter: ModelConfig,
        verifier: ModelConfig,
        at: datetime,
        validation_cost: int | ExpectedCall = 0,
        explore: bool = True,
    ) -> Decision:
        """Decides about one request.

        Args:
            request: what is asked.
            domain: what it is about.
            level: how hard it was judged to be.
            drafter: who would draft.
            verifier: who would verify, or answer directly.
            at: the moment whose prices hold, with a time zone.
            validation_cost: what judging a draft is expected to cost, nanodollars; or the call that
                judges it, whose cost may not be known.
            explore: whether it may be drafted to learn; `False` to explain a decision, which then
                counts for nothing.

        Raises:
            InvalidRequestError: there is no such level, or `at` has no time zone.
        """
        size = input_size(request)
        drafted, verified = self._expect(request, size, level, drafter, verifier, at=at)
        problem = drafted.problem or verified.problem
        if isinstance(validation_cost, ExpectedCall):
            problem = problem or validation_cost.problem
            judged, whose = validation_cost.nanodollars, validation_cost.model
        else:
            judged, whose = validation_cost, ""
        decision = decide(
            level=level,
            acceptance=self.acceptance.estimate(domain, level, drafter.id),
            draft_cost=drafted.nanodollars,
            verifier_cost=verified.nanodollars,
            validation_cost=judged,
            margin=self._margin,
            draft_up_to=self._draft_up_to,
            problem=problem,
            opinion_of=whose,
        )
        if (
            explore
            and decision.route == "direct"
            and self._could_pay(
                decision,
                # How much the drafter writes is learned from its drafts, and where none is made its
                # length is a guess: that it writes no more than the verifier is worth a try.
                expect_call(
                    request,
                    drafter,
                    level=level,
                    size=size,
                    lengths=self.lengths,
                    at=at,
                    most_output=verified.output_tokens,
                ),
            )
            and self.acceptance.explore(domain, level, drafter.id)
        ):
            reason = f"drafted to learn: {decision.reason}"
            return replace(decision, route="cascade", reason=reason, explored=True)
        return decision

    def _could_pay(self, decision: Decision, shortest: ExpectedCall) -> bool:
        """Whether a short draft that is surely accepted would: else there is nothing to learn."""
        judged = decision.validation_cost
        if shortest.nanodollars is None or judged is None or not decision.verifier_cost:
            return False
        least = shortest.nanodollars + judged
        return least / decision.verifier_cost < 1 - self._margin

    def expect(
        self,
        request: Asked,
        level: ComplexityLevel,
        *models: ModelConfig,
        at: datetime,
    ) -> tuple[ExpectedCall, ...]:
        """Says what a call of each of these models is expected to use and cost."""
        return self._expect(request, input_size(request), level, *models, at=at)

    def _expect(
        self,
        request: Asked,
        size: InputSize,
        level: ComplexityLevel,
        *models: ModelConfig,
        at: datetime,
    ) -> tuple[ExpectedCall, ...]:
        return tuple(
            expect_call(request, model, level=level, size=size, lengths=self.lengths, at=at)
            for model in models
        )

    def judged(
        self,
        *,
        domain: str,
        level: ComplexityLevel,
        model: str,
        accepted: bool,
        elsewhere: bool = True,
    ) -> None:
        """Learns from a draft that was judged.

        Args:
            domain: what the request was about.
            level: how hard it was judged to be.
            model: the id of the model that drafted.
            accepted: whether the draft was the answer.
            elsewhere: whether drafts of other domains are judged as this one was, and may be
                expected to fare alike.
        """
        self.acceptance.observe(domain, level, model, accepted=accepted, elsewhere=elsewhere)

    def answered(self, *, level: ComplexityLevel, model: str, usage: Usage | None) -> None:
        """Learns from an answer, a draft's or a verifier's, how much its model writes."""
        if usage is not None and (tokens := usage.total_output_tokens):
            self.lengths.observe(level, model, tokens)

    def reset(self, *, domain: str | None = None, model: str | None = None) -> None:
        """Forgets what was learned, and in the store too; it is written before this returns.

        Args:
            domain: of this domain only; lengths have none and are kept then.
            model: of this model only.
        """
        self.acceptance.reset(domain=domain, model=model)
        if domain is None:
            self.lengths.reset(model=model)
        self.save()

    def save(self) -> bool:
        """Writes what was learned and waits for it; says whether all of it is stored now.

        Without a store there is nothing to write, and nothing is.
        """
        return self._keeper is not None and self._keeper.save()

    def close(self) -> None:
        """Writes what is left; call it before the store is closed. Twice is once."""
        if self._keeper is not None:
            self._keeper.close()
