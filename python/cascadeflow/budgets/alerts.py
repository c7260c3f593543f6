"""Says when a budget comes near its limit, without ever standing in a request's way.

A tracker makes an `Alert` once for each account, period and threshold and hands it to an
`AlertDispatcher`, which takes it to every channel from a thread of its own. Everything about alerts
can be imported from here; what sends and what queues stands in `alert_http`, `alert_channels` and
`alert_dispatch`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from cascadeflow.budgets.alert_channels import (
    AlertChannel,
    CallableAlert,
    LogAlert,
    coerce_channels,
)
from cascadeflow.budgets.alert_dispatch import AlertDispatcher
from cascadeflow.budgets.alert_http import SlackAlert, WebhookAlert, verify_webhook
from cascadeflow.budgets.records import BudgetState
from cascadeflow.money import NANODOLLARS_PER_USD, to_usd

if TYPE_CHECKING:
    from datetime import datetime

    from cascadeflow.budgets.records import AccountStanding, Scope
    from cascadeflow.config import EnforcementMode
    from cascadeflow.types import PeriodKind

__all__ = [
    "Alert",
    "AlertChannel",
    "AlertDispatcher",
    "AlertState",
    "CallableAlert",
    "LogAlert",
    "SlackAlert",
    "WebhookAlert",
    "coerce_channels",
    "verify_webhook",
]

AlertState = BudgetState | Literal["refused", "over_limit"]
"""What happened: an account reached a state, a request was refused, or `warn` let one run that did
not fit."""

_PERIOD_WORDS: Final[dict[str, str]] = {
    "day": "daily",
    "week": "weekly",
    "month": "monthly",
    "rolling": "rolling",
    "total": "total",
}

_LONGEST_NAME: Final = 80


def _new_id() -> str:
    return f"alert_{os.urandom(16).hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that people should know of a budget.

    Attributes:
        scope: whose budget.
        period: which of its periods.
        state: what happened.
        standing: how the account stood then.
        at: when, UTC.
        mode: what the budget does when it runs out.
        id: unique, and the same however often it is delivered, so that a receiver can drop repeats.
    """

    scope: Scope
    period: PeriodKind
    state: AlertState
    standing: AccountStanding
    at: datetime
    mode: EnforcementMode
    id: str = field(default_factory=_new_id)

    @property
    def account(self) -> str:
        """Which budget, as people write it: scope, name and period; harmless in a log."""
        return f"{shown(self.scope)} {self.period}"

    @property
    def text(self) -> str:
        """One sentence for people; a name in it holds no line break and is cut when it is long."""
        which = f"{_PERIOD_WORDS[self.period]} budget"
        which = f"global {which}" if not self.scope.name else f"{which} of {shown(self.scope)}"
        standing = self.standing
        used = standing.spent + standing.held
        amounts = _dollars(used)
        if standing.limit is not None:
            amounts += f" of {_dollars(standing.limit)}"
        if standing.held:
            amounts += f", {_dollars(standing.held)} of it held for requests under way"
        until = ""
        if standing.resets_at is not None:
            until = f" until {standing.resets_at.strftime('%Y-%m-%d %H:%M')} UTC"
        if self.state == "refused":
            return f"A request was refused by the {which} ({amounts})."
        if self.state == "over_limit":
            return f"A request did not fit the {which} ({amounts}) and ran all the same."
        if self.state == "ok":
            return f"The {which} is under its thresholds again ({amounts})."
        share = _percent(used, standing.limit)
        if self.state == "warned":
            return f"The {which} is {share} used ({amounts})."
        if self.state == "degraded":
            then = f": answers are made more cheaply{until}" if self.mode == "degrade" else ""
            return f"The {which} is {share} used ({amounts}){then}."
        then = {
            "warn": "requests still run",
            "block": f"further requests are refused{until}",
            "degrade": f"only what costs nothing is answered{until}",
        }[self.mode]
        return f"The {which} is used up ({amounts}): {then}."

    def to_dict(self) -> dict[str, Any]:
        """The alert as plain JSON: exact US dollars as text, times in ISO 8601."""
        standing = self.standing
        return {
            "id": self.id,
            "at": self.at.isoformat(),
            "state": self.state,
            "mode": self.mode,
            "scope": self.scope.kind,
            "name": self.scope.name,
            "period": self.period,
            "currency": "USD",
            "limit": _exact(standing.limit),
            "spent": _exact(standing.spent),
            "held": _exact(standing.held),
            "remaining": _exact(standing.remaining),
            "started_at": _iso(standing.started_at),
            "resets_at": _iso(standing.resets_at),
            "text": self.text,
        }


def shown(scope: Scope) -> str:
    """A scope for people and logs: a user's id may hold anything, a line break included."""
    text = str(scope)
    if len(text) > _LONGEST_NAME:
        text = f"{text[:_LONGEST_NAME]}…"
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _dollars(nanodollars: int) -> str:
    """Dollars for people: cents from a dollar on, and as many places as a small amount needs."""
    sign, amount = ("-", -nanodollars) if nanodollars < 0 else ("", nanodollars)
    if amount >= NANODOLLARS_PER_USD or amount % (NANODOLLARS_PER_USD // 100) == 0:
        return f"{sign}${to_usd(amount):,.2f}"
    places = 6 if amount >= 1_000 else 9  # noqa: PLR2004 - a millionth of a dollar
    return f"{sign}${f'{to_usd(amount):.{places}f}'.rstrip('0')}"


def _percent(used: int, limit: int | None) -> str:
    """Whole percent, rounded down: what is shown as 80 % has reached 80 %."""
    return f"{used * 100 // limit} %" if limit else "100 %"


def _exact(nanodollars: int | None) -> str | None:
    return None if nanodollars is None else f"{to_usd(nanodollars):f}"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
