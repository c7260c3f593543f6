"""Adds up what requests cost and says when a limit comes near.

`CostTracker` tracks and warns; it stops nothing. Enforcement, which holds money before it is spent,
is a later part of this package and will not change these names.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.money import MAX_NANODOLLARS, from_usd, to_usd
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BudgetState", "CostEntry", "CostTracker", "Standing"]

_logger: Final = logging.getLogger(__name__)

BudgetState = Literal["ok", "warned", "exhausted"]
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
    """How a tracker stands.

    Attributes:
        spent: nanodollars spent in all, as far as costs are known.
        limit: the limit in nanodollars, or `None`.
        state: where that is, or `None` without a limit.
        crossed: the states that the entry just recorded was the first to reach.
    """

    spent: int
    limit: int | None
    state: BudgetState | None
    crossed: tuple[BudgetState, ...] = ()


class CostTracker:
    """Adds up what requests cost, exactly, and warns at 80 % and at 100 % of a limit.

    It tracks and warns **only**: a request that goes over the limit still runs, and nothing is held
    back for requests under way. Give it to an agent (`CascadeAgent(cost_tracker=…)`), or call
    `add_cost` yourself. One tracker may serve several agents and threads.

    Sums are exact (integer nanodollars) and count every entry; of the entries themselves only the
    last `keep` stay in memory. A cost that is not known is counted in `unknown_costs`, not as zero.

    >>> tracker = CostTracker(budget_limit=10.00)
    >>> tracker.add_cost("gpt-4o", "openai", tokens=1200, cost=0.25)
    >>> tracker.get_summary()["budget_remaining"]
    9.75
    """

    def __init__(
        self,
        budget_limit: Decimal | float | str | None = None,
        warn_threshold: float = 0.8,
        verbose: bool = False,  # noqa: FBT001, FBT002 - v0.1's position
        *,
        keep: int = 10_000,
    ) -> None:
        """Starts at nothing spent.

        Args:
            budget_limit: US dollars; 0 is a limit of zero, `None` no limit.
            warn_threshold: the share of the limit, 0 to 1, at which a warning is logged.
            verbose: log every entry too.
            keep: how many of the latest entries stay readable.

        Raises:
            ConfigurationError: an amount is negative, not a number, or out of range.
        """
        if not 0 <= warn_threshold <= 1:
            raise ConfigurationError(f"warn_threshold must lie in 0..1, not {warn_threshold}")
        if keep < 0:
            raise ConfigurationError(f"keep must be at least 0, not {keep}")
        try:
            self._limit = (
                None if budget_limit is None else from_usd(budget_limit, what="budget_limit")
            )
        except InvalidRequestError as error:
            raise ConfigurationError(str(error)) from None
        self.warn_threshold = warn_threshold
        self.verbose = verbose
        self._warn_at = None if self._limit is None else _share(self._limit, warn_threshold)
        self._keep = keep
        self._lock = threading.Lock()
        self._clear()
        _trackers.add(self)

    def _clear(self) -> None:
        self._spent = 0
        self._count = 0
        self._unknown = 0
        self._by_model: dict[str, int] = {}
        self._by_provider: dict[str, int] = {}
        self._by_user: dict[str, int] = {}
        self._entries: deque[CostEntry] = deque(maxlen=self._keep)
        self._reached: set[BudgetState] = set()

    def record(
        self,
        *,
        model: str,
        provider: str,
        nanodollars: int | None,
        tokens: int = 0,
        at: datetime | None = None,
        query_id: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Any] = EMPTY,
    ) -> Standing:
        """Records one cost and says how the tracker now stands.

        Raises:
            InvalidRequestError: the cost or the token count is negative, or too large.
        """
        if tokens < 0 or (nanodollars is not None and not 0 <= nanodollars <= MAX_NANODOLLARS):
            raise InvalidRequestError(
                f"a cost needs tokens >= 0 and 0..{MAX_NANODOLLARS} nanodollars, "
                f"not {tokens} and {nanodollars}"
            )
        entry = CostEntry(
            at or datetime.now(UTC),
            model,
            provider,
            tokens,
            nanodollars,
            query_id,
            user_id,
            metadata,
        )
        with self._lock:
            self._count += 1
            self._entries.append(entry)
            if nanodollars is None:
                self._unknown += 1
            else:
                self._spent += nanodollars
                _add(self._by_model, model, nanodollars)
                _add(self._by_provider, provider, nanodollars)
                if user_id is not None:
                    _add(self._by_user, user_id, nanodollars)
            standing = self._stand(mark=True)
        if self.verbose:
            _logger.info("%s:%s cost %s nanodollars", provider, model, nanodollars)
        for state in standing.crossed:
            _logger.warning(
                "the budget is %s: %s of %s USD spent (tracked only: nothing is stopped)",
                state,
                to_usd(standing.spent),
                to_usd(standing.limit or 0),
            )
        return standing

    def standing(self) -> Standing:
        """How the tracker stands now."""
        with self._lock:
            return self._stand(mark=False)

    def _stand(self, *, mark: bool) -> Standing:
        """Reads the state; the caller holds the lock. `mark` notes which states are new."""
        if self._limit is None or self._warn_at is None:
            return Standing(self._spent, None, None)
        state: BudgetState = "ok"
        crossed: list[BudgetState] = []
        if self._spent >= self._warn_at:
            state = "warned"
            crossed.append("warned")
        if self._spent >= self._limit:
            state = "exhausted"
            crossed.append("exhausted")
        new = tuple(reached for reached in crossed if reached not in self._reached)
        if mark:
            self._reached.update(new)
        return Standing(self._spent, self._limit, state, new if mark else ())

    def add_cost(  # noqa: PLR0917 - v0.1's positions
        self,
        model: str,
        provider: str,
        tokens: int,
        cost: Decimal | float | str | None,
        query_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        user_id: str | None = None,
    ) -> None:
        """Records a cost given in US dollars, as v0.1 did.

        An agent that was given this tracker records its requests itself: adding them again here
        counts them twice.

        Raises:
            InvalidRequestError: the cost or the token count is negative, or not a number.
        """
        self.record(
            model=model,
            provider=provider,
            nanodollars=None if cost is None else from_usd(cost, what="cost"),
            tokens=tokens,
            query_id=query_id,
            user_id=user_id,
            metadata=metadata or EMPTY,
        )

    @property
    def spent(self) -> Decimal:
        """US dollars spent in all, exactly, as far as costs are known."""
        return to_usd(self._spent)

    @property
    def total_cost(self) -> float:
        """US dollars spent in all, for reading; the exact figure is `spent`."""
        return float(to_usd(self._spent))

    @property
    def budget_limit(self) -> float | None:
        """The limit in US dollars, or `None`."""
        return None if self._limit is None else float(to_usd(self._limit))

    @property
    def budget_warned(self) -> bool:
        """Whether the warning threshold is reached."""
        return self.standing().state in {"warned", "exhausted"}

    @property
    def budget_exceeded(self) -> bool:
        """Whether the limit is reached."""
        return self.standing().state == "exhausted"

    @property
    def unknown_costs(self) -> int:
        """How many entries have no known cost: the sums are short by what these cost."""
        return self._unknown

    @property
    def entries(self) -> list[CostEntry]:
        """The latest entries, oldest first, at most `keep` of them."""
        with self._lock:
            return list(self._entries)

    @property
    def by_model(self) -> dict[str, float]:
        """US dollars by model name."""
        return self._dollars(self._by_model)

    @property
    def by_provider(self) -> dict[str, float]:
        """US dollars by provider id."""
        return self._dollars(self._by_provider)

    @property
    def by_user(self) -> dict[str, float]:
        """US dollars by user id, of the requests that named one."""
        return self._dollars(self._by_user)

    def _dollars(self, amounts: dict[str, int]) -> dict[str, float]:
        with self._lock:
            return {key: float(to_usd(amount)) for key, amount in amounts.items()}

    def get_summary(self) -> dict[str, Any]:
        """Everything in one dict, US dollars as floats; the `budget_` keys only with a limit."""
        with self._lock:
            standing = self._stand(mark=False)
            summary: dict[str, Any] = {
                "total_cost": float(to_usd(self._spent)),
                "total_entries": self._count,
                "unknown_costs": self._unknown,
            }
            amounts = {
                "by_model": self._by_model.copy(),
                "by_provider": self._by_provider.copy(),
                "by_user": self._by_user.copy(),
            }
        for name, by in amounts.items():
            summary[name] = {key: float(to_usd(amount)) for key, amount in by.items()}
        limit = standing.limit
        if limit is not None:
            summary["budget_limit"] = float(to_usd(limit))
            summary["budget_remaining"] = float(to_usd(max(0, limit - standing.spent)))
            summary["budget_used_pct"] = 100 * standing.spent / limit if limit else 100.0
            summary["budget_exceeded"] = standing.state == "exhausted"
            summary["budget_state"] = standing.state
        return summary

    def get_recent_entries(self, n: int = 10) -> list[CostEntry]:
        """The latest `n` entries, oldest first."""
        return self.entries[-n:] if n > 0 else []

    def get_entries_by_model(self, model: str) -> list[CostEntry]:
        """Those of the kept entries that name this model."""
        return [entry for entry in self.entries if entry.model == model]

    def get_entries_by_provider(self, provider: str) -> list[CostEntry]:
        """Those of the kept entries that name this provider."""
        return [entry for entry in self.entries if entry.provider == provider]

    def reset(self) -> None:
        """Forgets everything that was spent; warnings may be given again."""
        with self._lock:
            self._clear()

    def print_summary(self) -> None:
        """Writes the summary to standard output."""
        summary = self.get_summary()
        lines = [
            f"Total cost:       ${summary['total_cost']:.6f}",
            f"Entries:          {summary['total_entries']}",
        ]
        if summary["unknown_costs"]:
            lines.append(f"Of unknown cost:  {summary['unknown_costs']}")
        if "budget_limit" in summary:
            lines.append(f"Budget limit:     ${summary['budget_limit']:.2f}")
            lines.append(f"Budget remaining: ${summary['budget_remaining']:.6f}")
            lines.append(
                f"Budget used:      {summary['budget_used_pct']:.1f} % ({summary['budget_state']})"
            )
        for title, name in (("model", "by_model"), ("provider", "by_provider")):
            ranked = sorted(summary[name].items(), key=lambda item: item[1], reverse=True)
            lines.extend(f"By {title}: {key:<32} ${cost:.6f}" for key, cost in ranked)
        sys.stdout.write("\n".join(lines) + "\n")


def _share(limit: int, threshold: float) -> int:
    """The amount at which a limit's share is reached, rounded up: no warning comes early."""
    share = Decimal(limit) * Decimal(str(threshold))
    return int(share.to_integral_value(rounding=ROUND_CEILING))


def _add(amounts: dict[str, int], key: str, amount: int) -> None:
    amounts[key] = amounts.get(key, 0) + amount


_trackers: weakref.WeakSet[CostTracker] = weakref.WeakSet()


def _renew_locks() -> None:
    """In a forked child: another thread may have held a lock at the moment of the fork."""
    for tracker in _trackers:
        tracker._lock = threading.Lock()  # noqa: SLF001 - this module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
