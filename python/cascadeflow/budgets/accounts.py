"""Whose money a request is, and which limits hold for whom.

A limit set by hand holds over a configured one, one given to a name over the default of its kind
(`"team:*"`). What nobody gave a limit to has none here; whether such a request may run at all is
the tracker's to say.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast, get_args

from cascadeflow.budgets.records import Scope, Spender
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.types import PeriodKind, ScopeKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cascadeflow._native import Window
    from cascadeflow.budgets.records import BudgetState
    from cascadeflow.money import Amount

__all__ = [
    "ANONYMOUS",
    "GLOBAL",
    "Budgets",
    "EveryModel",
    "Limit",
    "named",
    "parse_scope",
    "read_budget",
    "scopes_of",
]

ANONYMOUS: Final = "anonymous"
"""The user of a request that names none."""

GLOBAL: Final = Scope("global")

_EVERY: Final = "*"
_MOST_REMEMBERED: Final = 10_000
_KINDS: Final[tuple[str, ...]] = get_args(ScopeKind)

ROLLING_BUCKETS: Final = 48
"""A rolling window refuses up to a 48th of its length late: half an hour of a day."""


def parse_scope(text: str) -> Scope:
    """Reads `"global"`, `"team:research"`, `"model:openai:gpt-4o"`, `"team:*"`.

    Raises:
        ConfigurationError: no such kind, or no name.
    """
    kind, colon, name = text.partition(":")
    if kind == "global" and not colon:
        return GLOBAL
    if kind not in _KINDS or kind == "global" or not name:
        kinds = ", ".join(f'"{kind}:…"' for kind in _KINDS if kind != "global")
        raise ConfigurationError(f'a budget is that of "global", {kinds}, not {text!r}')
    return Scope(cast("ScopeKind", kind), name)


def named(spender: Spender) -> Spender:
    """The same spender, the anonymous user where none was named."""
    if spender.user_id:
        return spender
    return Spender(
        user_id=ANONYMOUS,
        tier=spender.tier,
        team=spender.team,
        key=spender.key,
        tags=spender.tags,
    )


def scopes_of(spender: Spender, models: Iterable[str] = ()) -> Iterator[Scope]:
    """Every scope that a spender's calls of these models are counted on, each once."""
    yield GLOBAL
    if spender.tier:
        yield Scope("tier", spender.tier)
    yield Scope("user", spender.user_id or ANONYMOUS)
    if spender.team:
        yield Scope("team", spender.team)
    if spender.key:
        yield Scope("key", spender.key)
    for tag in dict.fromkeys(spender.tags):
        if tag:
            yield Scope("tag", tag)
    for model in dict.fromkeys(models):
        yield Scope("model", model)


@dataclass(frozen=True, slots=True)
class Limit:
    """One period of a scope: its limit and where its states begin, in nanodollars."""

    period: PeriodKind
    window: Window
    nanodollars: int | None
    thresholds: tuple[tuple[int, BudgetState], ...]
    """Ascending: from which spending on which state holds; empty without a limit."""

    def state(self, used: int) -> BudgetState | None:
        """The state at so much spending; `None` without a limit."""
        if self.nanodollars is None:
            return None
        state: BudgetState = "ok"
        if used < self.thresholds[0][0]:  # nearly always
            return state
        for amount, reached in self.thresholds:
            if used >= amount:
                state = reached
        return state


def share(limit: int, threshold: float) -> int:
    """The amount at which a limit's share is reached, rounded up: no warning comes early."""
    amount = Decimal(limit) * Decimal(str(threshold))
    return int(amount.to_integral_value(rounding=ROUND_CEILING))


@lru_cache(maxsize=256)
def _window(period: PeriodKind, zone: str, hours: float) -> Window:
    from cascadeflow._native import Window  # noqa: PLC0415 - a tracker without limits needs none

    if period == "rolling":
        return Window.rolling(max(1, round(hours * 3600)), ROLLING_BUCKETS)
    if period == "total":
        return Window.total()
    return {"day": Window.day, "week": Window.week, "month": Window.month}[period](zone)


def limits_of(
    config: BudgetConfig | None, by_hand: Mapping[PeriodKind, int | None]
) -> tuple[Limit, ...]:
    """The limits that hold: those set by hand over the configured ones."""
    amounts: dict[PeriodKind, int | None] = {} if config is None else dict(config.limits)
    amounts |= by_hand
    zone = "UTC" if config is None else config.timezone
    hours = 24.0 if config is None else config.rolling_hours
    warn_at = 0.8 if config is None else config.warn_at
    degrade_at = 0.9 if config is None else config.degrade_at
    made = []
    for period in get_args(PeriodKind):
        if period not in amounts:
            continue
        limit = amounts[period]
        thresholds: tuple[tuple[int, BudgetState], ...] = ()
        if limit is not None:
            thresholds = (
                (share(limit, warn_at), "warned"),
                (share(limit, degrade_at), "degraded"),
                (limit, "exhausted"),
            )
        made.append(Limit(period, _window(period, zone, hours), limit, thresholds))
    return tuple(made)


def read_budget(value: Amount | BudgetConfig, what: str) -> BudgetConfig:
    """A budget as it is given: a bare amount is a total.

    Raises:
        ConfigurationError: the amount is negative, not a number, or out of range.
    """
    if isinstance(value, BudgetConfig):
        return value
    try:
        return BudgetConfig(total=value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{what}: {error}") from None


class EveryModel(frozenset[str]):
    """All model ids: what `"model:*"` gives a budget of their own."""

    def __contains__(self, model: object) -> bool:
        return isinstance(model, str)

    def __bool__(self) -> bool:
        return True


class Budgets:
    """Which limits hold for whom."""

    def __init__(self) -> None:
        self._configured: dict[Scope, BudgetConfig] = {}
        self._by_hand: dict[Scope, dict[PeriodKind, int | None]] = {}
        self._made: dict[Scope, tuple[Limit, ...]] = {}
        self._shared: dict[BudgetConfig | None, tuple[Limit, ...]] = {}
        self.renew_lock()

    def renew_lock(self) -> None:
        """In a forked child: another thread may have held the lock."""
        self._lock = threading.Lock()

    def configure(self, scope: Scope, value: Amount | BudgetConfig, what: str) -> None:
        """Gives a scope its budget at the start.

        Raises:
            ConfigurationError: it has one already, or the amount cannot be.
        """
        if scope in self._configured:
            raise ConfigurationError(f"{what}: {scope} is given two budgets; give it one")
        config = read_budget(value, what)
        try:
            limits_of(config, {})
        except ConfigurationError as error:
            raise ConfigurationError(f"{what}: {error}") from None
        self._configured[scope] = config

    def config(self, scope: Scope) -> BudgetConfig | None:
        """The configured budget of a scope: its own, or the default of its kind."""
        found = self._configured.get(scope)
        return self._configured.get(Scope(scope.kind, _EVERY)) if found is None else found

    def by_hand(self, scope: Scope) -> dict[PeriodKind, int | None]:
        """What was set by hand for this scope itself."""
        return self._by_hand.get(scope, {})

    def set_by_hand(self, scope: Scope, limits: Mapping[PeriodKind, int | None]) -> None:
        """Sets periods of a scope by hand; those that are not named stay as they are."""
        with self._lock:
            self._by_hand[scope] = {**self.by_hand(scope), **limits}
            self._made.clear()

    def limits(self, scope: Scope) -> tuple[Limit, ...]:
        """The limits of a scope, shortest period first; empty when nobody gave it any."""
        made = self._made.get(scope)
        if made is None:
            with self._lock:
                made = self._limits(scope)
                if len(self._made) >= _MOST_REMEMBERED:
                    self._made.clear()
                self._made[scope] = made
        return made

    def _limits(self, scope: Scope) -> tuple[Limit, ...]:
        by_hand: dict[PeriodKind, int | None] = {}
        if scope not in self._configured:  # the default of its kind may have been changed too
            by_hand |= self.by_hand(Scope(scope.kind, _EVERY))
        by_hand |= self.by_hand(scope)
        config = self.config(scope)
        if by_hand:
            return limits_of(config, by_hand)
        # Users of the default budget, millions of them, share one tuple.
        shared = self._shared.get(config)
        if shared is None:
            shared = self._shared[config] = limits_of(config, by_hand)
        return shared

    @property
    def scopes(self) -> list[Scope]:
        """Every scope that was given limits by its name."""
        return [s for s in {**self._configured, **self._by_hand} if s.name != _EVERY]

    @property
    def models(self) -> frozenset[str]:
        """The models that have a budget of their own."""
        found = {s.name for s in {**self._configured, **self._by_hand} if s.kind == "model"}
        return EveryModel() if _EVERY in found else frozenset(found)
