"""The last station but one: what each call used becomes exact money.

All sums are integer nanodollars. A cost that is not known is `None` and makes the total `None`; it
is never taken for zero. What the provider itself says it charged wins over any price list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
    from cascadeflow.types import ChatRequest

__all__ = ["Call", "Failure", "cost_report", "price_alone", "settle"]


@dataclass(frozen=True, slots=True)
class Call:
    """One model's answer, settled.

    Attributes:
        model: who was asked.
        role: what for.
        request: what it was sent.
        reply: what it answered, and how that was come by.
        cost: what that cost, and by which price.
    """

    model: ModelConfig
    role: Literal["draft", "verifier", "direct"]
    request: ChatRequest
    reply: Reply
    cost: CostOf

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
        """The part of it that was spent waiting."""
        return self.reply.transport_ms


@dataclass(frozen=True, slots=True)
class Failure:
    """One model that did not answer.

    Attributes:
        model: who was asked.
        role: what for.
        error: how it failed.
        cost: nanodollars it is known to have used before it broke; `None` when nothing is known.
        duration_ms: from asking to the failure. All of it counts as waiting.
    """

    model: ModelConfig
    role: Literal["draft", "verifier", "direct"]
    error: ProviderError
    cost: int | None
    duration_ms: float

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every try of this model."""
        return self.error.attempts

    @property
    def transport_ms(self) -> float:
        """The part of it that was spent waiting: all of it."""
        return self.duration_ms


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


def cost_report(
    calls: Sequence[Call],
    failures: Sequence[Failure],
    *,
    answer: Call,
    verifier: ModelConfig,
    at: datetime,
) -> CostReport:
    """Adds up a request.

    Args:
        calls: every call that was answered.
        failures: every call that was not.
        answer: the call whose answer was kept.
        verifier: the model that was planned to verify, or to answer directly.
        at: the moment whose prices hold.
    """
    draft = final = None
    other = [failure.cost for failure in failures if failure.cost is not None]
    total: int | None = sum(other)
    confirmed = all(map(_unbilled, failures))
    for call in calls:
        if call.role == "draft":
            draft = call
        else:
            final = call
        cost = call.cost.nanodollars
        total = None if total is None or cost is None else total + cost
        confirmed = confirmed and _confirmed(call)
    alone, basis = _verifier_alone(answer, final, verifier, at)
    saved = None if alone is None or total is None else alone - total
    return CostReport(
        total=usd(total),
        draft=usd(draft.cost.nanodollars) if draft else None,
        verifier=usd(final.cost.nanodollars) if final else None,
        other=usd(sum(other)) if other else None,
        verifier_alone=usd(alone),
        saved=usd(saved),
        saved_fraction=saved / alone if saved is not None and alone else None,
        saved_basis=basis if saved is not None else None,
        price_sources={call.model.id: call.cost.source for call in calls},
        price_dates={call.model.id: call.cost.date for call in calls},
        confirmed=confirmed,
    )


def _verifier_alone(
    answer: Call, final: Call | None, verifier: ModelConfig, at: datetime
) -> tuple[int | None, Literal["measured", "estimated"]]:
    """What the planned verifier alone would have cost: its own bill, or its price on these tokens.

    The estimate takes the kept answer's token counts as they are. Another model splits the same
    text into other tokens and may answer at other length: nobody knows without asking it.
    """
    if final is not None and final.model.id == verifier.id:
        return final.cost.nanodollars, "measured"
    return price_alone(verifier, answer.reply.completion.usage, at), "estimated"


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
