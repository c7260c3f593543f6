"""The last station but one: what each call used becomes exact money.

All sums are integer nanodollars. A cost that is not known is `None` and makes the total `None`; it
is never taken for zero. What the provider itself says it charged wins over any price list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from cascadeflow.errors import InvalidRequestError, UnknownPriceError, UnknownUsageError
from cascadeflow.models.prices import CostOf, cost_of, price_of
from cascadeflow.pipeline.result import CostReport, usd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cascadeflow.errors import ProviderError
    from cascadeflow.models.completer import Attempt, Reply
    from cascadeflow.models.completion import Completion
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.models.usage import Usage
    from cascadeflow.pipeline.cascade import Role
    from cascadeflow.types import ChatRequest

__all__ = ["Call", "Failure", "Turn", "cost_report", "price_alone", "recalled_cost", "settle"]

_ANSWERS: Final = frozenset({"verifier", "direct"})
_OPINIONS: Final = frozenset({"cross_check", "sample", "judge"})


@dataclass(frozen=True, slots=True)
class Call:
    """One model's answer, settled.

    Attributes:
        model: who was asked.
        role: what for.
        request: what it was sent.
        reply: what it answered, and how that was come by.
        cost: what that cost, and by which price.
        ahead_ms: where another call was under way too: how much earlier this one was asked.
    """

    model: ModelConfig
    role: Role
    request: ChatRequest
    reply: Reply
    cost: CostOf
    ahead_ms: float | None = None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every try of this model."""
        return self.reply.attempts

    @property
    def duration_ms(self) -> float:
        """How long it took, retries included."""
        return self.reply.duration_ms

    @property
    def transport_ms(self) -> float:
        """The part of it that was spent waiting, and that no other call was waited for."""
        waited = self.reply.transport_ms
        return waited if self.ahead_ms is None else min(waited, self.ahead_ms)


@dataclass(frozen=True, slots=True)
class Failure:
    """One model that did not answer.

    Attributes:
        model: who was asked.
        role: what for.
        error: how it failed.
        cost: nanodollars it is known to have used before it broke; `None` when nothing is known.
        duration_ms: from asking to the failure. All of it counts as waiting.
        estimate: nanodollars it is reckoned to have cost, counted; `None` when it surely cost
            nothing, or nobody can say.
        ahead_ms: where another call was under way too: how much earlier this one was asked.
    """

    model: ModelConfig
    role: Role
    error: ProviderError
    cost: int | None
    duration_ms: float
    estimate: int | None = None
    ahead_ms: float | None = None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every try of this model."""
        return self.error.attempts

    @property
    def transport_ms(self) -> float:
        """The part of it that was spent waiting, and that no other call was waited for."""
        return self.duration_ms if self.ahead_ms is None else self.ahead_ms


def settle(model: ModelConfig, completion: Completion, *, at: datetime) -> CostOf:
    """Gives what an answer cost.

    Args:
        model: who answered.
        completion: the answer; the tier and the model that served it decide the price.
        at: the moment whose price holds.
    """
    try:
        return cost_of(completion, model, at=at)
    except InvalidRequestError as error:
        # A provider whose figures cannot be has not spoilt the answer; what it cost is not known.
        return CostOf(nanodollars=None, confirmed=False, problem=str(error))


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the models: one, or one a step of a tool loop.

    Attributes:
        answer: the call whose answer was kept.
        tried: every call that was made for it, in order.
    """

    answer: Call
    tried: Sequence[Call | Failure]


def cost_report(turns: Sequence[Turn], *, verifier: ModelConfig, at: datetime) -> CostReport:
    """Adds up a request.

    Args:
        turns: its turns, in order.
        verifier: the model that was planned to verify, or to answer directly.
        at: the moment whose prices hold.
    """
    calls = [tried for turn in turns for tried in turn.tried if isinstance(tried, Call)]
    failures = [tried for turn in turns for tried in turn.tried if isinstance(tried, Failure)]
    alone: int | None = 0
    basis: Literal["measured", "estimated"] = "measured"
    for turn in turns:
        one, how = _verifier_alone(turn, verifier, at)
        alone = None if alone is None or one is None else alone + one
        basis = "estimated" if how == "estimated" else basis
    return _added_up(calls, failures, alone=alone, basis=basis)


def recalled_cost(tried: Sequence[Call | Failure], *, alone: int | None) -> CostReport:
    """Adds up a request that was answered from the cache: at most, what it is about was asked.

    Args:
        tried: the calls for that.
        alone: what the planned verifier would have cost, nanodollars; `None` when it is not known.
    """
    return _added_up(
        [each for each in tried if isinstance(each, Call)],
        [each for each in tried if isinstance(each, Failure)],
        alone=alone,
        basis="estimated",
    )


def _added_up(
    calls: Sequence[Call],
    failures: Sequence[Failure],
    *,
    alone: int | None,
    basis: Literal["measured", "estimated"],
) -> CostReport:
    other = [failure.cost for failure in failures if failure.cost is not None]
    total: int | None = sum(other)
    for call in calls:
        cost = call.cost.nanodollars
        total = None if total is None or cost is None else total + cost
    saved = None if alone is None or total is None else alone - total
    reckoned = [failure.estimate for failure in failures if failure.estimate is not None]
    return CostReport(
        total=usd(total),
        draft=usd(_sum([call for call in calls if call.role == "draft"])),
        verifier=usd(_sum([call for call in calls if call.role in _ANSWERS])),
        classifier=usd(_sum([call for call in calls if call.role == "classifier"])),
        opinions=usd(_sum([call for call in calls if call.role in _OPINIONS])),
        other=usd(sum(other)) if other else None,
        estimated_other=usd(sum(reckoned)) if reckoned else None,
        verifier_alone=usd(alone),
        saved=usd(saved),
        saved_fraction=saved / alone if saved is not None and alone else None,
        saved_basis=basis if saved is not None else None,
        price_sources={call.model.id: call.cost.source for call in calls},
        price_dates={call.model.id: call.cost.date for call in calls},
        confirmed=all(map(_unbilled, failures)) and all(map(_confirmed, calls)),
    )


def _sum(calls: Sequence[Call]) -> int | None:
    """Adds up what calls cost; `None` when there are none, or one of them is unknown."""
    total: int | None = 0 if calls else None
    for call in calls:
        cost = call.cost.nanodollars
        total = None if total is None or cost is None else total + cost
    return total


def _verifier_alone(
    turn: Turn, verifier: ModelConfig, at: datetime
) -> tuple[int | None, Literal["measured", "estimated"]]:
    """What the planned verifier alone would have cost: its own bill, or its price on these tokens.

    The estimate takes the kept answer's token counts as they are. Another model splits the same
    text into other tokens and may answer at other length: nobody knows without asking it.
    """
    for call in turn.tried:
        if not isinstance(call, Call) or call.model.id != verifier.id:
            continue
        # A second opinion may have become the answer.
        if call.role in _ANSWERS or (call.role in _OPINIONS and call is turn.answer):
            return call.cost.nanodollars, "measured"
    return price_alone(verifier, turn.answer.reply.completion.usage, at), "estimated"


def price_alone(verifier: ModelConfig, usage: Usage | None, at: datetime) -> int | None:
    """Gives what a model would have cost on the tokens that another one used, if that is known."""
    price = price_of(verifier, at=at)
    if usage is None or price is None:
        return None
    try:
        return price.cost(usage)
    except (UnknownPriceError, UnknownUsageError, InvalidRequestError):
        return None  # it has no price for something the other one used


def _confirmed(call: Call) -> bool:
    """Whether the cost rests on the provider's own word, and no other try may have been billed."""
    return call.cost.confirmed and all(
        attempt.outcome == "ok" or attempt.billed is False for attempt in call.attempts
    )


def _unbilled(failure: Failure) -> bool:
    """Whether a failed call surely cost nothing."""
    return failure.error.billed is False and all(a.billed is False for a in failure.attempts)
