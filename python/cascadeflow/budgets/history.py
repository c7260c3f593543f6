"""The latest events and the sums over all of them: what a tracker shows without asking a store."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cascadeflow.budgets.accounts import ANONYMOUS
from cascadeflow.money import to_usd
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from cascadeflow.budgets.accounts import Limit
    from cascadeflow.budgets.records import LogEvent, UsageEvent

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
            self._kept: deque[tuple[LogEvent, int]] = deque(maxlen=self._keep)
            self._reached: set[TotalState] = set()

    def restore(self, spent: int, by_model: Mapping[str, int], by_user: Mapping[str, int]) -> None:
        """Begins with what a store knows."""
        with self._lock:
            self._spent = spent
            self._by_model = dict(by_model)
            self._by_user = dict(by_user)

    def add(
        self, events: Iterable[UsageEvent], limit: Limit | None, *, tokens: int | None = None
    ) -> Standing:
        """Counts events, and says how the total stands and which states are new.

        Args:
            events: what to count.
            limit: the total budget, or `None`.
            tokens: of an event that does not say how many went in and out, both together.
        """
        with self._lock:
            for event in events:
                charge = event.charge
                self._count += 1
                self._kept.append((event, tokens or 0))
                if charge.nanodollars is None:
                    self._unknown += 1
                    continue
                booked = event.booked
                self._spent += booked
                self._by_model[charge.model] = self._by_model.get(charge.model, 0) + booked
                user = event.spender.user_id
                if user is not None and user != ANONYMOUS:
                    self._by_user[user] = self._by_user.get(user, 0) + booked
            return self._stand(limit, mark=True)

    def note(self, event: LogEvent) -> None:
        """Keeps an event that is no usage."""
        with self._lock:
            self._kept.append((event, 0))

    def adjust(self, amount: int, limit: Limit | None) -> None:
        """Changes the sum of all by hand; states that it falls under may be reached again."""
        with self._lock:
            self._spent = max(0, self._spent + amount)
            for threshold, state in () if limit is None else limit.thresholds:
                if self._spent < threshold and state != "degraded":
                    self._reached.discard("warned" if state == "warned" else "exhausted")

    def standing(self, limit: Limit | None) -> Standing:
        """How the total stands now."""
        with self._lock:
            return self._stand(limit, mark=False)

    def _stand(self, limit: Limit | None, *, mark: bool) -> Standing:
        """Reads the state; the lock is held. `mark` notes which states are new."""
        if limit is None or limit.nanodollars is None:
            return Standing(self._spent, None, None)
        state: TotalState = "ok"
        crossed: list[TotalState] = []
        for amount, reached in limit.thresholds:
            if self._spent >= amount and reached in {"warned", "exhausted"}:
                state = "warned" if reached == "warned" else "exhausted"
                crossed.append(state)
        if not mark:
            return Standing(self._spent, limit.nanodollars, state)
        new = tuple(reached for reached in crossed if reached not in self._reached)
        self._reached.update(new)
        return Standing(self._spent, limit.nanodollars, state, new)

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

    def entries(self) -> list[CostEntry]:
        """The latest charges as v0.1 showed them, oldest first."""
        with self._lock:
            kept = list(self._kept)
        return [_entry(event, tokens) for event, tokens in kept if hasattr(event, "charge")]


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
