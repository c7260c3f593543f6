"""What a call that broke off is known to have used, and what it is reckoned to have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cascadeflow.errors import ProviderError
from cascadeflow.models.completion import Completion
from cascadeflow.pipeline.settle import settle

if TYPE_CHECKING:
    from cascadeflow.pipeline.engine import Asking
    from cascadeflow.pipeline.run import Run

__all__ = ["settle_partial"]


def settle_partial(
    run: Run,
    asking: Asking,
    partial: Completion | None,
    *,
    error: BaseException,
    billed: bool | None,
) -> int | None:
    """Gives what a call that broke off is known to have used: the least it can have cost.

    A budget books more: what was held for the call, since nobody can say that it was less. What it
    is reckoned to have used, counted, stands beside it.
    """
    model = asking.command.model
    seen = partial
    if partial is None or partial.usage is None:
        partial = Completion(usage=asking.usage)
    cost: int | None = None
    if partial.usage is not None or partial.reported_cost is not None:
        cost = settle(model, partial, at=run.created).nanodollars
    # A run that ends without a result has nobody to tell but its budget.
    told = asking.tab is not None or isinstance(error, ProviderError)
    if billed is not False and told:
        from cascadeflow.models.estimate import estimate_usage  # noqa: PLC0415 - seldom needed

        if seen is not None and seen.usage is None:
            seen = replace(seen, usage=asking.usage)
        usage = estimate_usage(model, asking.chat, seen or partial)
        if usage is not None:
            reckoned = settle(model, Completion(usage=usage), at=run.created)
            asking.estimate = reckoned.nanodollars
    if asking.tab is not None:
        asking.tab.failed(
            error, billed=billed, known=cost, usage=partial.usage, estimate=asking.estimate
        )
    return cost
