"""The latest events and the sums over all of them: what a tracker shows without asking a store."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cascadeflow.budgets.accounts import ANONYMOUS
from cascadeflow.budgets.records import Scope, UsageEvent
from cascadeflow.money import MAX_NANODOLLARS, to_usd
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from cascadeflow.budgets.accounts import Limit
    from cascadeflow.budgets.records import LogEvent, ManualEvent

__all__ = ["CostEntry", "History", "Standing", "TotalState"]

TotalState = Literal["ok", "warned", "exhausted"]
"""Under the warning threshold, from it on, and from the limit itself on."""


@dataclass(frozen=True, slots=True)
class CostEntry:
    """One recorded cost.

    Attributes:
        timestamp: when it was recorded, UTC.
        model: the model as its provider names it.
        provider: the provider's id.
        tokens: input and output together; 0 when the provider did not say.
        nanodollars: what it cost, or `None` when that is unknown.
        query_id: the id of the request it belongs to.
        user_id: the user it belongs to.
        metadata: what else the caller wanted to keep.
    """

    timestamp: datetime
    model: str
    provider: str
    tokens: int
    nanodollars: int | None
    query_id: str | None = None
    user_id: str | None = None
    metadata: Mapping[str, Any] = EMPTY

    @property
    def cost(self) -> float | None:
        """US dollars, for reading; the exact figure is `nanodollars`."""
        return None if self.nanodollars is None else float(to_usd(self.nanodollars))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tracker stands against its total budget.

    Attributes:
        spent: nanodollars spent in all, as far as costs are known.
        limit: the limit in nanodollars, or `None`.
        state: where that is, or `None` without a limit.
        crossed: the states that the entry just recorded was the first to reach.
    """

    spent: int
    limit: int | None
    state: TotalState | None
    crossed: tuple[TotalState, ...] = ()


@dataclass(frozen=True, slots=True)
class Sums:
    """Exact sums in nanodollars, and counts."""

    spent: int
    entries: int
    unknown: int
    by_model: dict[str, int]
    by_provider: dict[str, int]
    by_user: dict[str, int]


class History:
    """Counts every event and keeps the latest; may be used from several threads."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self.renew_lock()
        self.clear()

    def renew_lock(self) -> None:
        """In a forked child: another thread may have held the lock."""
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._spent = 0
            self._count = 0
            self._unknown = 0
            self._by_model: dict[str, int] = {}
            self._by_user: dict[str, int] = {}
            self._adjusted: set[str] = set()
            self._kept: deque[tuple[LogEvent, int]] = deque(maxlen=self._keep)
            self._reached: set[TotalState] = set()
            self._limit: Limit | None = None
            """Which limit `_next` was reckoned for."""
            self._next = 0

    def restore(self, spent: int, by_model: Mapping[str, int], by_user: Mapping[str, int]) -> None:
        """Begins with what a store knows."""
        with self._lock:
            self._spent = spent
            self._by_model = dict(by_model)
            self._by_user = dict(by_user)

    def add(
        self, events: Iterable[UsageEvent], limit: Limit | None, *, tokens: int = 0
    ) -> tuple[TotalState, ...]:
        """Counts events, and gives the states of the total that they are the first to reach.

        Args:
            events: what to count.
            limit: the total budget, or `None`.
            tokens: of an event that does not say how many went in and out, both together.
        """
        with self._lock:
            for event in events:
                charge = event.charge
                self._count += 1
                self._kept.append((event, tokens))
                amount = charge.nanodollars
                if amount is None:
                    self._unknown += 1
                    continue
                amount -= event.corrected_nanodollars
                self._spent += amount
                by = self._by_model
                by[charge.model] = by.get(charge.model, 0) + amount
                user = event.spender.user_id
                if user is not None and user != ANONYMOUS:
                    by = self._by_user
                    by[user] = by.get(user, 0) + amount
            if limit is None or (limit is self._limit and self._spent < self._next):
                return ()
            return self._cross(limit)

    def _cross(self, limit: Limit) -> tuple[TotalState, ...]:
        """Notes which states are new, and where the next begins; the lock is held."""
        new = tuple(
            state
            for amount, state in _totals(limit)
            if self._spent >= amount and state not in self._reached
        )
        self._reached.update(new)
        self._limit = limit
        ahead = [amount for amount, state in _totals(limit) if state not in self._reached]
        self._next = min(ahead, default=MAX_NANODOLLARS)
        return new

    def note(self, event: ManualEvent) -> None:
        """Keeps an event that is no usage."""
        with self._lock:
            self._kept.append((event, 0))
            if event.kind == "adjust" and event.scope.kind == "user":
                self._adjusted.add(event.scope.name)

    def adjust(self, amount: int, limit: Limit | None) -> None:
        """Changes the sum of all by hand; states that it falls under may be reached again."""
        with self._lock:
            self._spent = max(0, self._spent + amount)
            self._limit = None
            for threshold, state in () if limit is None else _totals(limit):
                if self._spent < threshold:
                    self._reached.discard(state)

    def standing(self, limit: Limit | None, crossed: tuple[TotalState, ...] = ()) -> Standing:
        """How the total stands now, with the states that were just reached."""
        spent = self._spent
        if limit is None or limit.nanodollars is None:
            return Standing(spent, None, None)
        state: TotalState = "ok"
        for amount, reached in _totals(limit):
            if spent >= amount:
                state = reached
        return Standing(spent, limit.nanodollars, state, crossed)

    @property
    def spent(self) -> int:
        """Nanodollars in all."""
        return self._spent

    @property
    def unknown(self) -> int:
        """How many events have no known cost."""
        return self._unknown

    def sums(self) -> Sums:
        """All sums, of one moment."""
        with self._lock:
            by_id, by_user = self._by_model.copy(), self._by_user.copy()
            spent, count, unknown = self._spent, self._count, self._unknown
        by_model: dict[str, int] = {}
        by_provider: dict[str, int] = {}
        for model_id, amount in by_id.items():
            provider, name = split(model_id)
            by_model[name] = by_model.get(name, 0) + amount
            by_provider[provider] = by_provider.get(provider, 0) + amount
        return Sums(spent, count, unknown, by_model, by_provider, by_user)

    def events(self) -> list[LogEvent]:
        """The latest events, oldest first."""
        with self._lock:
            return [event for event, _ in self._kept]

    def of_user(self, user: str) -> list[LogEvent]:
        """Those of the latest events that changed what a user has spent, oldest first."""
        with self._lock:
            if not (user == ANONYMOUS or user in self._by_user or user in self._adjusted):
                return []
            return [event for event, _ in self._kept if _concerns(event, user)]

    def entries(self) -> list[CostEntry]:
        """The latest charges as v0.1 showed them, oldest first."""
        with self._lock:
            kept = list(self._kept)
        return [_entry(event, tokens) for event, tokens in kept if hasattr(event, "charge")]


def _concerns(event: LogEvent, user: str) -> bool:
    if isinstance(event, UsageEvent):
        return event.spender.user_id == user
    return event.kind == "adjust" and event.scope == Scope("user", user)


def _totals(limit: Limit) -> list[tuple[int, TotalState]]:
    """The thresholds that v0.1 knew, ascending."""
    return [
        (amount, "warned" if state == "warned" else "exhausted")
        for amount, state in limit.thresholds
        if state != "degraded"
    ]


def split(model_id: str) -> tuple[str, str]:
    """A model's id as its provider's and its name."""
    provider, _, name = model_id.partition(":")
    return provider, name


def _entry(event: Any, tokens: int) -> CostEntry:
    charge = event.charge
    provider, name = split(charge.model)
    user = event.spender.user_id
    return CostEntry(
        event.at,
        name,
        provider,
        tokens or (charge.input_tokens or 0) + (charge.output_tokens or 0),
        event.booked if charge.nanodollars is not None else None,
        event.request_id or None,
        None if user == ANONYMOUS else user,
        event.metadata,
    )
