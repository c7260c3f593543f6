"""The records that the parts of this room share: who spends, what was charged, what was logged.

All money is integer nanodollars, all times are UTC. Records are frozen; the usage log is a sequence
of them, and every report, forecast, total and audit is read from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cascadeflow.types import PeriodKind, ScopeKind

__all__ = [
    "NOBODY",
    "AccountStanding",
    "BudgetState",
    "Charge",
    "LogEvent",
    "ManualEvent",
    "Scope",
    "Spender",
    "UsageEvent",
]

BudgetState = Literal["ok", "warned", "degraded", "exhausted"]
"""Under `warn_at`, from it on, from `degrade_at` on, and from the limit itself on."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose money is counted: `Scope("user", "u1")`; the global one has an empty name."""

    kind: ScopeKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Spender:
    """For whom a request is made, as the server says; never taken from the client unchecked."""

    user_id: str | None = None
    tier: str | None = None
    team: str | None = None
    key: str | None = None
    tags: tuple[str, ...] = ()


NOBODY: Final = Spender()
"""Nobody in particular: counted on the global account and on the anonymous user's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one call of one model is booked at.

    Attributes:
        model: the model's id, `provider:name`.
        nanodollars: what is booked; `None` when the price or the usage is unknown and nothing was
            held (then it is counted as unknown, not as zero).
        confirmed: whether the provider said what it used; an unconfirmed call is booked at what it
            was held at.
        held: nanodollars that were held for the call.
        estimate: nanodollars the call is reckoned to have cost, when it is unconfirmed.
        role: `draft`, `verifier` or `direct`.
        input_tokens: tokens in, all kinds; `None` when unknown.
        output_tokens: tokens out, reasoning included; `None` when unknown.
        price_source: where the price came from.
        price_date: since when it holds, ISO 8601.
        response_id: the provider's id of the answer.
    """

    model: str
    nanodollars: int | None
    confirmed: bool
    held: int = 0
    estimate: int | None = None
    role: str = "direct"
    input_tokens: int | None = None
    output_tokens: int | None = None
    price_source: str | None = None
    price_date: str | None = None
    response_id: str | None = None

    @property
    def overrun(self) -> int:
        """Nanodollars by which it cost more than was held."""
        return max(0, (self.nanodollars or 0) - self.held)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """One charge in the log.

    Attributes:
        event_id: unique; the same event delivered twice is one event.
        at: when its request began, UTC: the periods it belongs to follow from it.
        logged_at: when it was logged, UTC.
        request_id: this package's id of the request.
        spender: for whom.
        charge: what and how much.
        corrects: the event id of the unconfirmed charge that this one takes the place of; the log
            then counts the difference, `nanodollars - corrected_nanodollars`.
        corrected_nanodollars: what that one was booked at.
        metadata: what the caller wanted to keep; JSON values.
    """

    event_id: str
    at: datetime
    logged_at: datetime
    request_id: str
    spender: Spender
    charge: Charge
    corrects: str | None = None
    corrected_nanodollars: int = 0
    metadata: Mapping[str, object] = field(default_factory=dict)

    @property
    def booked(self) -> int:
        """Nanodollars by which spending changes; negative when a correction lowers it."""
        return (self.charge.nanodollars or 0) - self.corrected_nanodollars


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualEvent:
    """A change made by a person or a program: a limit, an override, an adjustment, a reset.

    Attributes:
        event_id: unique.
        at: when, UTC.
        kind: `limit` (a limit was set or taken away), `adjust` (spending was corrected by hand),
            `reset` (an account's spending was set to zero by an adjustment of `nanodollars`),
            `reclaim` (what a crash left unreported was settled: `nanodollars` of it were spent).
        scope: whose account.
        period: which period; `None` for all the account has.
        nanodollars: the new limit (`None`: no limit), or what is booked by it (may be negative).
        previous: the old limit, or the spending before.
        actor: who did it.
        reason: why.
        unreported: of a `reclaim`, the part of `previous` that was granted and never reported, and
            counts as spent no longer.
    """

    event_id: str
    at: datetime
    kind: Literal["limit", "adjust", "reset", "reclaim"]
    scope: Scope
    period: PeriodKind | None
    nanodollars: int | None
    previous: int | None
    actor: str
    reason: str
    unreported: int = 0

    @property
    def after(self) -> int | None:
        """The limit, or the spending, that it leads to; `None` for no limit, or not known."""
        if self.kind == "limit" or self.nanodollars is None:
            return self.nanodollars
        if self.previous is None:
            return None
        return self.previous - self.unreported + self.nanodollars


LogEvent = UsageEvent | ManualEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStanding:
    """How one account stands in its current period; nanodollars.

    Attributes:
        scope: whose account.
        period: over which time.
        limit: the limit, or `None` when spending is only counted.
        spent: what is settled.
        held: what is held for requests under way.
        state: where spent and held together stand to the limit; `None` without one.
        started_at: when the period began, UTC; `None` for `total`.
        resets_at: when it ends, UTC; `None` for `total`. For `rolling`, when the oldest spending
            begins to fall out.
    """

    scope: Scope
    period: PeriodKind
    limit: int | None
    spent: int
    held: int
    state: BudgetState | None
    started_at: datetime | None
    resets_at: datetime | None

    @property
    def remaining(self) -> int | None:
        """What may still be held; `None` without a limit."""
        return None if self.limit is None else max(0, self.limit - self.spent - self.held)
