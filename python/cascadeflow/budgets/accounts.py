"""Whose money a request is, and which limits hold for whom.

A limit set by hand holds over a configured one, one given to a name over the default of its kind
(`"team:*"`). What nobody gave a limit to has none here; whether such a request may run at all is
the tracker's to say.

Between the two stands what a user is *assigned*: the budget of the tier that the user is in. It
changes while money is spent and held, so the user's account counts in the windows of every budget
that may come to hold, without a limit where the one that holds now has none.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, cast, get_args

from cascadeflow.budgets.records import Scope, Spender
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.money import MAX_NANODOLLARS
from cascadeflow.types import PeriodKind, ScopeKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cascadeflow._native import Window
    from cascadeflow.budgets.records import BudgetState
    from cascadeflow.money import Amount

__all__ = [
    "ANONYMOUS",
    "GLOBAL",
    "MOST_WINDOWS",
    "UNASSIGNED",
    "Budgets",
    "EveryModel",
    "Limit",
    "Rules",
    "named",
    "parse_scope",
    "read_budget",
    "scopes_of",
    "still_counting",
]

ANONYMOUS: Final = "anonymous"
"""The user of a request that names none."""

GLOBAL: Final = Scope("global")

_EVERY: Final = "*"
_MOST_REMEMBERED: Final = 10_000
_KINDS: Final[tuple[str, ...]] = get_args(ScopeKind)
_PERIODS: Final[tuple[PeriodKind, ...]] = get_args(PeriodKind)
_EVERY_USER: Final = Scope("user", _EVERY)

UNASSIGNED: Final = object()
"""What a user is assigned whom nobody assigned anything; `None` is a tier without a budget."""

MOST_WINDOWS: Final = 64
"""In so many windows the ledger counts one account at most."""

_MOST_SETTINGS: Final = 12
"""Time zones and lengths of the rolling period that declared budgets may have: with each of them
there are four windows and the total, which leaves room for what is assigned undeclared."""

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
    counted: bool = False
    """Whether it only counts, for a budget that may come to hold here."""

    @property
    def bound(self) -> int | None:
        """The limit that the ledger is told, nanodollars.

        One that nothing reaches where it only counts: what has no limit, the ledger may forget.
        """
        return MAX_NANODOLLARS if self.counted else self.nanodollars

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
    for period in _PERIODS:
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


class Rules(NamedTuple):
    """What holds for a scope."""

    limits: tuple[Limit, ...]
    """Shortest period first; empty when the scope is not even counted."""
    applies: bool
    """Whether anybody said how much it may spend, be it without a limit: unknown is not
    unlimited."""


def counting(limits: Iterable[Limit], windows: Mapping[Window, PeriodKind]) -> tuple[Limit, ...]:
    """The limits, and windows that only count beside them; one window at least."""
    found = [limit for limit in limits if limit.nanodollars is not None]
    known = {limit.window for limit in found}
    found += [
        Limit(period, window, None, (), counted=True)
        for window, period in windows.items()
        if window not in known
    ]
    if not found:
        return (Limit("total", _window("total", "UTC", 24.0), None, ()),)
    return tuple(sorted(found, key=lambda limit: _PERIODS.index(limit.period)))


def still_counting(limits: tuple[Limit, ...], before: Iterable[Limit]) -> tuple[Limit, ...]:
    """The limits, and what was counted before and they leave out."""
    known = {limit.window for limit in limits}
    left_out = [
        Limit(limit.period, limit.window, None, (), counted=True)
        for limit in before
        if limit.bound is not None and limit.window not in known
    ]
    if not left_out:
        return limits
    return tuple(sorted([*limits, *left_out], key=lambda limit: _PERIODS.index(limit.period)))


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
        self._made: dict[Scope, Rules] = {}
        self._shared: dict[object, Rules] = {}
        self.tiered = False
        """Whether users are assigned budgets: then each user is counted, in all `_windows`."""
        self.assigned: dict[str, BudgetConfig | None] = {}
        """By user: the budget of the tier; never replaced, so that it may be looked up unlocked."""
        self._retired: dict[str, BudgetConfig | None] = {}
        """Assignments of users whose accounts were dropped lately."""
        self._windows: dict[Window, PeriodKind] = {}
        self._settings: dict[tuple[str, float], None] = {}
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

    def add(self, scope: Scope, config: BudgetConfig) -> bool:
        """Gives a scope its budget while others are in use; says whether that is new.

        Raises:
            ConfigurationError: it has another one.
        """
        with self._lock:
            known = self._configured.get(scope)
            if known is not None:
                if limits_of(known, {}) != limits_of(config, {}):
                    raise ConfigurationError(
                        f"two budgets for {scope}: {known} and {config}; give it one"
                    )
                return False
            self.configure(scope, config, str(scope))
            self._made.clear()
            return True

    def config(self, scope: Scope) -> BudgetConfig | None:
        """The budget of a scope: its own, else the one assigned, else the default of its kind."""
        found = self._configured.get(scope)
        if found is None and scope.kind == "user":
            assigned = self.assignment(scope.name)
            found = assigned if isinstance(assigned, BudgetConfig) else None
        return self._configured.get(Scope(scope.kind, _EVERY)) if found is None else found

    def by_hand(self, scope: Scope) -> dict[PeriodKind, int | None]:
        """What was set by hand for this scope itself."""
        return self._by_hand.get(scope, {})

    def set_by_hand(self, scope: Scope, limits: Mapping[PeriodKind, int | None]) -> None:
        """Sets periods of a scope by hand; those that are not named stay as they are."""
        with self._lock:
            self._by_hand[scope] = {**self.by_hand(scope), **limits}
            self._made.clear()
            self._shared.clear()
            if self.tiered and scope == _EVERY_USER:
                self._count_default()

    # Tiers

    def assignment(self, user: str) -> object:
        """The budget that a user is assigned, `None`, or `UNASSIGNED`."""
        return self.assigned.get(user, self._retired.get(user, UNASSIGNED))

    def assign(self, user: str, config: object) -> None:
        """Assigns a user a budget, `None` for a tier without one, or takes that back."""
        with self._lock:
            self._retired.pop(user, None)
            if config is UNASSIGNED:
                self.assigned.pop(user, None)
            else:
                self.assigned[user] = cast("BudgetConfig | None", config)
            self._made.pop(Scope("user", user), None)

    def declare(self, configs: Iterable[BudgetConfig]) -> bool:
        """Notes budgets that users may be assigned; says whether anybody is counted anew for it.

        Raises:
            ConfigurationError: they have more different windows than an account can have.
        """
        with self._lock:
            before = len(self._windows), self.tiered
            windows, settings = dict(self._windows), dict(self._settings)
            for config in [*configs, self._configured.get(_EVERY_USER)]:
                if config is not None:
                    settings[config.timezone, config.rolling_hours] = None
                    windows |= {limit.window: limit.period for limit in limits_of(config, {})}
            if len(settings) > _MOST_SETTINGS:
                raise ConfigurationError(
                    f"the users' budgets have {len(settings)} different time zones and "
                    f"rolling_hours together, more than {_MOST_SETTINGS}: give them fewer"
                )
            self._windows, self._settings, self.tiered = windows, settings, True
            self._count_default()
            self._made.clear()
            self._shared.clear()
            return before != (len(self._windows), True)

    def _count_default(self) -> None:
        """Counts in the windows that the default budget has by hand, too; the lock is held."""
        for limit in limits_of(self._configured.get(_EVERY_USER), self.by_hand(_EVERY_USER)):
            if limit.nanodollars is not None:
                self._windows[limit.window] = limit.period

    def undeclared(self, scope: Scope, limits: Iterable[Limit]) -> list[Limit]:
        """Those of a scope's limits that its account may not have counted when it was open before.

        They came with a budget that this user was assigned and that nobody had declared.
        """
        if not self.tiered or scope.kind != "user" or scope in self._configured:
            return []
        return [x for x in limits if x.bound is not None and x.window not in self._windows]

    def keep(self, user: str) -> None:
        """Notes that a user's account is open: what is assigned to it stays."""
        if user in self._retired:
            with self._lock:
                if user in self._retired:
                    self.assigned.setdefault(user, self._retired.pop(user))

    def retire(self, users: Iterable[str]) -> None:
        """Notes that users' accounts were dropped: soon what they are assigned is, too.

        Not at once: a request that is about to reserve may have found its user's budget unchanged
        just before.
        """
        with self._lock:
            for user in users:
                if user in self.assigned:
                    self._retired[user] = self.assigned.pop(user)

    def forget_retired(self) -> None:
        """Forgets what was assigned to users who were not seen again since the last round."""
        with self._lock:
            for user in self._retired:
                self._made.pop(Scope("user", user), None)
            self._retired.clear()

    # What holds

    def limits(self, scope: Scope) -> tuple[Limit, ...]:
        """The limits of a scope, shortest period first; empty when nobody gave it any."""
        return self.rules(scope).limits

    def rules(self, scope: Scope) -> Rules:
        """What holds for a scope."""
        made = self._made.get(scope)
        if made is None:
            with self._lock:
                made = self._rules(scope)
                if len(self._made) >= _MOST_REMEMBERED:
                    self._made.clear()
                self._made[scope] = made
        return made

    def amounts(self, scope: Scope) -> dict[PeriodKind, int | None]:
        """By period: the limit that a scope has, `None` for one taken away by hand."""
        config = self.config(scope)
        return {**({} if config is None else dict(config.limits)), **self._all_by_hand(scope)}

    def _all_by_hand(self, scope: Scope) -> dict[PeriodKind, int | None]:
        """What was set by hand for a scope, or for the default that it has."""
        by_hand: dict[PeriodKind, int | None] = {}
        if scope not in self._configured and not (
            scope.kind == "user" and isinstance(self.assignment(scope.name), BudgetConfig)
        ):
            by_hand |= self.by_hand(Scope(scope.kind, _EVERY))
        return by_hand | self.by_hand(scope)

    def _rules(self, scope: Scope) -> Rules:
        by_hand = self._all_by_hand(scope)
        config = self.config(scope)
        counts = self.tiered and scope.kind == "user" and scope not in self._configured
        applies = bool(by_hand) or config is not None
        if counts:
            applies = applies or self.assignment(scope.name) is None
        if self.by_hand(scope):
            return self._made_of(config, by_hand, counts=counts, applies=applies, own=True)
        if by_hand and not counts:
            return Rules(limits_of(config, by_hand), applies)
        # Users of the same budget, millions of them, share one tuple.
        key = (config, bool(by_hand), counts, applies)
        shared = self._shared.get(key)
        if shared is None:
            if len(self._shared) >= _MOST_REMEMBERED:
                self._shared.clear()
            shared = self._made_of(config, by_hand, counts=counts, applies=applies, own=False)
            self._shared[key] = shared
        return shared

    def _made_of(
        self,
        config: BudgetConfig | None,
        by_hand: Mapping[PeriodKind, int | None],
        *,
        counts: bool,
        applies: bool,
        own: bool,
    ) -> Rules:
        limits = limits_of(config, by_hand)
        if not counts:
            return Rules(limits, applies)
        windows = self._windows
        if own:
            # A limit set by hand follows the tier's time zone, and is counted in each of them.
            windows = windows | {
                _window(period, zone, hours): period
                for zone, hours in self._settings
                for period, amount in by_hand.items()
                if amount is not None
            }
        return Rules(counting(limits, windows), applies)

    @property
    def scopes(self) -> list[Scope]:
        """Every scope that was given limits by its name."""
        return [s for s in {**self._configured, **self._by_hand} if s.name != _EVERY]

    @property
    def models(self) -> frozenset[str]:
        """The models that have a budget of their own."""
        found = {s.name for s in {**self._configured, **self._by_hand} if s.kind == "model"}
        return EveryModel() if _EVERY in found else frozenset(found)
