"""Why a request was refused, in words that say what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascadeflow.budgets.books import from_ms
from cascadeflow.errors import BudgetExceededError
from cascadeflow.money import to_usd

if TYPE_CHECKING:
    from cascadeflow._native import WindowStanding
    from cascadeflow.budgets.records import Scope, Spender

__all__ = ["does_not_fit", "nothing_applies"]

_PERIODS = {
    "rolling": "rolling budget",
    "day": "budget of the day",
    "week": "budget of the week",
    "month": "budget of the month",
    "total": "total budget",
}


def does_not_fit(scope: Scope, window: WindowStanding, requested: int) -> BudgetExceededError:
    """The error for a request that a full account refused.

    Args:
        scope: whose account.
        window: the period that is full, as it stood.
        requested: what the request may cost on that account, nanodollars.
    """
    limit = window.limit or 0
    left = max(0, limit - window.spent - window.held)
    resets_at = None if window.resets_ms is None else from_ms(window.resets_ms)
    permanent = requested > limit
    if permanent:
        todo = (
            "it is larger than the whole budget, so waiting does not help: "
            "lower max_tokens, use a cheaper model, or raise the budget"
        )
    else:
        waits = []
        if window.held:
            waits.append("for requests under way to end")
        if resets_at is not None:
            waits.append(f"until {resets_at:%Y-%m-%d %H:%M} UTC")
        wait = f"wait {' or '.join(waits)}, " if waits else ""
        todo = f"{wait}lower max_tokens, use a cheaper model, or raise the budget"
    return BudgetExceededError(
        f"this request may cost up to ${dollars(requested)}, and of the "
        f"{_PERIODS[window.window.kind]} of {_shown(scope)}, ${dollars(limit)}, "
        f"${dollars(left)} is left "
        f"(${dollars(window.spent)} spent, ${dollars(window.held)} held): {todo}",
        scope=scope.kind,
        name=scope.name,
        period=window.window.kind,
        limit=to_usd(limit),
        spent=to_usd(window.spent),
        held=to_usd(window.held),
        requested=to_usd(requested),
        resets_at=resets_at,
        permanent=permanent,
    )


def nothing_applies(spender: Spender, requested: int) -> BudgetExceededError:
    """The error for a request that no budget covers at all: unknown is not unlimited."""
    user = spender.user_id or ""
    return BudgetExceededError(
        f"no budget applies to the user {user[:80]!r}, and unknown is not unlimited: set "
        "default_user_budget= or global_budget= on the CostTracker (or a budget for this user)",
        scope="user",
        name=user,
        period="total",
        limit=to_usd(0),
        spent=to_usd(0),
        held=to_usd(0),
        requested=to_usd(requested),
        resets_at=None,
        permanent=True,
    )


def dollars(nanodollars: int) -> str:
    """Dollars without needless zeros, two places at least."""
    whole, _, cents = f"{to_usd(nanodollars):f}".partition(".")
    return f"{whole}.{cents[:2]}{cents[2:].rstrip('0')}"


def _shown(scope: Scope) -> str:
    text = str(scope)[:80]
    return text if text.isprintable() else ascii(text)
