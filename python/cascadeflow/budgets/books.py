"""The accounts that are open in the ledger: who touches which, how they stand, what they reached.

Scopes without a limit are not opened. Thresholds and alerts follow what is *settled*: a hold is a
worst case, and most of it comes back.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from cascadeflow.budgets.accounts import (
    MOST_WINDOWS,
    Rules,
    named,
    scopes_of,
    still_counting,
)
from cascadeflow.budgets.records import (
    AccountStanding,
    BudgetState,
    Scope,
    Spender,
    UsageEvent,
)
from cascadeflow.budgets.routes import Account, Opening, Route, from_ms, to_ms
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.money import MAX_NANODOLLARS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cascadeflow._native import Ledger, Window, WindowStanding
    from cascadeflow.budgets.accounts import Budgets, Limit
    from cascadeflow.budgets.records import LogEvent
    from cascadeflow.config import BudgetConfig

__all__ = ["Account", "Books", "Crossing", "Opening", "Route", "from_ms", "to_ms"]

Crossing = tuple[AccountStanding, BudgetState]

_LEVELS: Final[tuple[BudgetState, ...]] = ("ok", "warned", "degraded", "exhausted")

_MOST_ROUTES: Final = 20_000
"""Spenders whose accounts are remembered; the next one clears the memory, which only costs time."""

_AT_ONCE: Final = 1_000

_MOST_UNUSED: Final = 10_000
"""So many users may be assigned a budget without having an account open."""

_MOST_PAST: Final = 8

IDLE_MS: Final = 900_000
"""An account that nobody used for a quarter of an hour may be dropped."""


class Books:
    """All accounts. May be used from several threads; the lock is never held while waiting."""

    def __init__(
        self,
        budgets: Budgets,
        *,
        stored: bool,
        alert: Callable[..., None] | None,
        log: Callable[[str], Iterable[LogEvent]],
    ) -> None:
        """Begins with no account open.

        Args:
            budgets: which limits hold for whom.
            stored: whether scopes must be read from a store before they are opened.
            alert: is told account, limit, standing, what happened and when, once for each account,
                period and thing that happened.
            log: gives what the log in memory has of a user.
        """
        self.budgets = budgets
        self._stored = stored
        self._alert = alert
        self._log = log
        self.version = 0
        """Changes whenever the limits do."""
        self.renew()

    def renew(self) -> None:
        """Begins anew with an empty ledger: after a fork, and when everything is forgotten."""
        from cascadeflow._native import Ledger  # noqa: PLC0415 - for a tracker with limits only

        self.lock = threading.RLock()
        self.ledger: Ledger = Ledger()
        self.version += 1
        self.accounts: dict[Scope, Account] = {}
        self.pending: dict[Scope, list[int]] = {}
        """Scopes that are being read from a store, and what is to be booked on them afterwards."""
        self.unread: dict[Scope, int] = {}
        """What was booked on scopes that are not read from the store yet."""
        self.uncovered: set[Account] = set()
        """With a store: accounts on which more may be booked than was granted."""
        self._routes: dict[object, Route] = {}
        self.models_matter = bool(self.budgets.models)

    def route(
        self, spender: Spender, models: tuple[str, ...], now_ms: int, *, partial: bool = False
    ) -> Route | Opening:
        """The accounts of a request, opened where they were not.

        Args:
            spender: for whom.
            models: ids of the models that are to be called.
            now_ms: when, Unix milliseconds.
            partial: do without accounts that would have to be read from a store first.
        """
        key: object = (spender, models) if self.models_matter else spender
        route = self._routes.get(key)
        if route is not None:
            return route
        with self.lock:
            full = named(spender)
            found, missing = [], []
            for scope in scopes_of(full, models):
                limits = self.budgets.limits(scope)
                if not limits:
                    continue
                account = self.accounts.get(scope)
                if account is None and not self._stored:
                    account = self.open(scope, limits, now_ms)
                if account is None:
                    missing.append(scope)
                else:
                    found.append(account)
            if missing and not partial:
                return Opening(missing)
            route = Route(full, tuple(found))
            if not missing:
                if len(self._routes) >= _MOST_ROUTES:
                    self._routes.clear()
                self._routes[key] = route
            return route

    def open(
        self,
        scope: Scope,
        limits: tuple[Limit, ...],
        now_ms: int,
        *,
        spent: Sequence[int] = (),
        reported: Sequence[int] = (),
        spent_total: int = 0,
        grant: int | None = None,
    ) -> Account:
        """Opens a scope in the ledger; the lock is held.

        Args:
            scope: whose money.
            limits: its limits.
            now_ms: when, Unix milliseconds.
            spent: what it has spent already in each limit's current period.
            reported: the part of it whose thresholds have been reported already.
            spent_total: what it has spent in its life.
            grant: what it may spend in its life; `None` without a store.
        """
        windows = [(limit.window, limit.bound) for limit in limits]
        handle = self.ledger.open_scope(
            scope.kind, scope.name, windows, now_ms,
            spent=spent, spent_total=spent_total, grant=grant,
        )  # fmt: skip
        rules = Rules(limits, self.budgets.rules(scope).applies)
        opened_at = (now_ms, spent_total)
        account = Account(scope, self.ledger, handle, rules, opened_at=opened_at)
        if scope.kind == "user":
            self.budgets.keep(scope.name)
            if not self._stored:
                self._recall(account, self.budgets.undeclared(scope, limits), now_ms)
        for limit, amount in zip(limits, reported, strict=False):
            instance = _instance(limit, limit.window.period(now_ms)[0], now_ms)
            account.reached[limit.period] = (instance, _level(limit, amount))
        self.accounts[scope] = account
        return account

    def totals(self) -> list[tuple[Scope, int]]:
        """What each open scope has spent and held in its life."""
        with self.lock:
            lives = [(scope, account.life()) for scope, account in self.accounts.items()]
            return [(scope, life) for scope, life in lives if life is not None]

    def set_limits(self, now_ms: int) -> list[Account]:
        """Takes changed budgets over into the accounts that are open; gives those that changed."""
        with self.lock:
            changed = [
                account for account in self.accounts.values() if self._take_over(account, now_ms)
            ]
            self._routes.clear()
            self.models_matter = bool(self.budgets.models)
            self.version += 1
            return changed

    def _take_over(self, account: Account, now_ms: int, *, by_tier: bool = False) -> bool:
        """Takes what holds now over into an open account; the lock is held.

        Args:
            account: which.
            now_ms: when, Unix milliseconds.
            by_tier: its user was assigned another budget, rather than the budget changed.

        Returns:
            Whether its limits changed.

        Raises:
            ConfigurationError: it would be counted in more windows than an account can have.
        """
        rules = self.budgets.rules(account.scope)
        limits = rules.limits
        if account.scope.kind == "user" and self.budgets.tiered:
            limits = still_counting(limits, account.limits)
        if limits == account.limits:
            account.applies = rules.applies
            return False
        if len(limits) > MOST_WINDOWS:
            raise ConfigurationError(
                f"{account.scope} was given budgets of {len(limits)} different periods and time "
                f"zones, more than {MOST_WINDOWS}: give it fewer"
            )
        before = account.limits
        bounds = {limit.window: limit.bound for limit in before}
        added = [limit for limit in limits if limit.window not in bounds]
        windows = [(limit.window, limit.bound) for limit in limits]
        try:
            if added and account.scope.kind == "user" and self.budgets.tiered:
                # Their limits hold once it is known what counts on them.
                free = [(window, bounds.get(window, MAX_NANODOLLARS)) for window, _ in windows]
                self.ledger.set_limits(account.handle, free, now_ms)
                account.limits = limits
                self._recall(account, added, now_ms)
                if self._stored:
                    account.unread += tuple([limit.window for limit in added])
                    account.fresh_until_ms = 0
            self.ledger.set_limits(account.handle, windows, now_ms)
        except InvalidRequestError:
            return False  # dropped as idle at this very moment
        account.limits = limits
        account.applies = rules.applies
        if by_tier:
            _turn_reports(account, before)
        else:
            account.noted.clear()
        self._rearm(account, now_ms)
        return True

    def _recall(self, account: Account, added: Sequence[Limit], now_ms: int) -> None:
        """Lets windows that come late count what this process knows to be spent in them.

        That is all of it where the account was opened in the window's period, and else what its
        other windows count, or the log has that is kept in memory, whichever is more.
        """
        if not added:
            return
        settled, held = self.ledger.total(account.handle)
        standings = self.ledger.standing(account.handle, now_ms)
        opened_ms, opened_life = account.opened_at
        began: dict[Window, int] = {}
        for limit in added:
            start = limit.window.period(now_ms)[0]
            found = [settled - self._logged(account.scope, start)]
            if start is None:
                found.append(0)
            elif opened_ms >= start:
                found.append(opened_life)
            found += [
                settled + held - standing.spent - standing.held
                for standing in standings
                if start is None or (standing.starts_ms is not None and standing.starts_ms >= start)
            ]
            began[limit.window] = min(found)
        lives = [began.get(limit.window) for limit in account.limits]
        self.ledger.count_since(account.handle, lives, now_ms)

    def _logged(self, scope: Scope, since_ms: int | None) -> int:
        """What the log in memory has of a user's spending since an instant."""
        total = 0
        for event in self._log(scope.name):
            if since_ms is None or to_ms(event.at) >= since_ms:
                booked = event.booked if isinstance(event, UsageEvent) else event.nanodollars or 0
                total = max(0, total + booked)
        return total

    def assign(
        self, user: str, config: BudgetConfig | None, moment_ms: Callable[[], int]
    ) -> Account | None:
        """Assigns a user the budget of a tier; gives the account when its limits changed.

        Raises:
            ConfigurationError: it would be counted in more windows than an account can have.
        """
        budgets = self.budgets
        with self.lock:
            before = budgets.assignment(user)
            if not budgets.tiered:
                budgets.declare(())
                self.set_limits(moment_ms())
            budgets.assign(user, config)
            account = self.accounts.get(Scope("user", user))
            if account is None or before == config:
                return None
            try:
                changed = self._take_over(account, moment_ms(), by_tier=True)
            except ConfigurationError:
                budgets.assign(user, before)
                raise
            return account if changed else None

    def forget(self, handle: int) -> None:
        """Drops an account that the ledger has dropped."""
        with self.lock:
            for scope, account in list(self.accounts.items()):
                if account.handle == handle:
                    del self.accounts[scope]
            self._routes.clear()

    def set_grant(self, account: Account, grant: int) -> None:
        """Lets an account spend so much in its life, unless it was dropped meanwhile."""
        try:
            account.ledger.set_grant(account.handle, grant)
        except InvalidRequestError:
            self.uncovered.discard(account)

    def free(self, route: Route) -> None:
        """Lets accounts spend without a grant: `warn` refuses nothing, not even without a store."""
        with self.lock:
            for account in route.accounts:
                self.set_grant(account, MAX_NANODOLLARS)
                self.uncovered.add(account)

    def evict(self, now_ms: int) -> list[tuple[Scope, int]]:
        """Drops idle accounts; gives each with its life's total.

        With a million of them it takes seconds, which it does without the lock and, in the ledger,
        without the interpreter's: who meets a dropped account on the way opens it again.
        """
        ledger, budgets = self.ledger, self.budgets
        budgets.forget_retired()
        evicted = [
            (Scope(kind, name), total)  # type: ignore[arg-type] # the ledger was given it
            for kind, name, total in ledger.evict(now_ms, IDLE_MS)
        ]
        for start in range(0, len(evicted), _AT_ONCE):
            with self.lock:
                for scope, _ in evicted[start : start + _AT_ONCE]:
                    account = self.accounts.get(scope)
                    # It may have been opened again meanwhile.
                    if account and ledger.find_scope(scope.kind, scope.name) != account.handle:
                        del self.accounts[scope]
                        if scope.kind == "user":
                            budgets.retire([scope.name])
        if len(budgets.assigned) > _MOST_UNUSED + len(self.accounts):
            self._retire_unused()
        if evicted:
            self._routes.clear()
        return evicted

    def _retire_unused(self) -> None:
        """Retires what was assigned to users of whom no request followed."""
        names = list(self.budgets.assigned)
        for start in range(0, len(names), _AT_ONCE):
            with self.lock:
                part = names[start : start + _AT_ONCE]
                self.budgets.retire([n for n in part if Scope("user", n) not in self.accounts])

    def book(self, scopes: Iterable[tuple[Scope, int]], now_ms: int) -> list[Scope]:
        """Books by force on those of the scopes that are open, or are just being opened.

        What is not open needs no booking: it is in the log, from which it will be opened.

        Returns:
            What has a limit and should be opened, so that its thresholds are looked at.
        """
        unread = []
        with self.lock:
            for scope, amount in scopes:
                if scope in self.pending:
                    self.pending[scope].append(amount)
                    continue
                account = self.accounts.get(scope)
                if account is None and not self._stored:
                    limits = self.budgets.limits(scope)
                    account = self.open(scope, limits, now_ms) if limits else None
                if account is not None:
                    try:
                        self._adjust(account, amount, now_ms)
                    except InvalidRequestError:  # dropped as idle at this very moment
                        self.forget(account.handle)
                        unread += self.book([(scope, amount)], now_ms)
                elif self._stored and self.budgets.limits(scope):
                    self.unread[scope] = self.unread.get(scope, 0) + amount
                    unread.append(scope)
        return unread

    def _adjust(self, account: Account, amount: int, now_ms: int) -> int:
        booked = self.ledger.adjust(account.handle, amount, now_ms)
        if booked < 0:
            account.noted.clear()
            self._rearm(account, now_ms)
        elif self._stored:
            self.uncovered.add(account)
        return booked

    def _rearm(self, account: Account, now_ms: int) -> None:
        """Lets thresholds be reported again that are not reached any more; the lock is held."""
        account.next_check = 0
        windows = self.ledger.standing(account.handle, now_ms)
        for limit, window in zip(account.limits, windows, strict=True):
            if limit.period in account.reached:
                instance, before = account.reached[limit.period]
                account.reached[limit.period] = (instance, min(before, _level(limit, window.spent)))

    def adjust(self, account: Account, amount: int, now_ms: int) -> int:
        """Books an amount by hand, negative too; gives what was booked."""
        with self.lock:
            return self._adjust(account, amount, now_ms)

    # How they stand

    def standings(
        self, accounts: Iterable[Account], now_ms: int, *, counted: bool = False
    ) -> tuple[AccountStanding, ...]:
        """How accounts stand, each in each of its periods; those dropped meanwhile are left out.

        Args:
            accounts: which.
            now_ms: when, Unix milliseconds.
            counted: also periods that are only counted, for a budget that may come to hold.
        """
        with self.lock:
            found: list[AccountStanding] = []
            for account in accounts:
                if self.accounts.get(account.scope) is not account:
                    continue
                try:
                    windows = self.ledger.standing(account.handle, now_ms)
                except InvalidRequestError:
                    continue
                found += [
                    standing_of(account.scope, limit, window)
                    for limit, window in zip(account.limits, windows, strict=True)
                    if counted or not limit.counted
                ]
            return tuple(found)

    def worst(self, route: Route, now_ms: int) -> BudgetState | None:
        """The worst state of a route's accounts; `None` when none has a limit."""
        states = [s.state for s in self.standings(route.accounts, now_ms) if s.state is not None]
        return max(states, key=_LEVELS.index, default=None)

    def crossings(self, accounts: Iterable[Account], now_ms: int) -> tuple[Crossing, ...]:
        """The thresholds that were reached since the last look, each given once in its period."""
        crossed: tuple[Crossing, ...] = ()
        for account in accounts:
            try:
                if account.ledger.total(account.handle)[0] >= account.next_check:
                    crossed += self._cross(account, now_ms)
            except InvalidRequestError:
                continue  # dropped as idle: its periods are over
        return crossed

    def _cross(self, account: Account, now_ms: int) -> tuple[Crossing, ...]:
        crossed: list[Crossing] = []
        with self.lock:
            life, _ = account.ledger.total(account.handle)
            room = MAX_NANODOLLARS
            windows = account.ledger.standing(account.handle, now_ms)
            for limit, window in zip(account.limits, windows, strict=True):
                if limit.nanodollars is None:
                    continue
                instance = _instance(limit, window.starts_ms, now_ms)
                level = _level(limit, window.spent)
                seen, before = account.reached.get(limit.period, (instance, 0))
                if seen != instance:
                    before = 0
                account.reached[limit.period] = (instance, max(level, before))
                for _, state in limit.thresholds[before:level]:
                    standing = standing_of(account.scope, limit, window)
                    crossed.append((standing, state))
                    if self._alert is not None:
                        self._alert(standing, state, now_ms)
                # The next threshold, or the first one of the next period.
                room = min(room, limit.thresholds[0][0])
                for amount, _ in limit.thresholds[level : level + 1]:
                    room = min(room, amount - window.spent)
            account.next_check = life + max(room, 1)
        return tuple(crossed)

    def note(self, account: Account, window: WindowStanding, what: str, now_ms: int) -> None:
        """Alerts of a refusal, or of what ran over its limit: once an account and period."""
        if self._alert is None:
            return
        with self.lock:
            for limit in account.limits:
                if limit.window != window.window:
                    continue
                instance = _instance(limit, window.starts_ms, now_ms)
                if account.noted.get((limit.period, what)) != instance:
                    account.noted[limit.period, what] = instance
                    self._alert(standing_of(account.scope, limit, window), what, now_ms)


def _turn_reports(account: Account, before: tuple[Limit, ...]) -> None:
    """Puts what was reported of the limits before aside, and takes up what was of those now.

    Whoever changes tier to and fro is not told the same again and again.
    """
    old, new = (tuple([x for x in limits if not x.counted]) for limits in (before, account.limits))
    reached, noted = account.past.pop(new, ({}, {}))
    same = {limit.period for limit in new if limit in old}
    reached |= {period: seen for period, seen in account.reached.items() if period in same}
    noted |= {which: seen for which, seen in account.noted.items() if which[0] in same}
    account.past[old] = account.reached, account.noted
    account.reached, account.noted = reached, noted
    if len(account.past) > _MOST_PAST:
        del account.past[next(iter(account.past))]


def _level(limit: Limit, spent: int) -> int:
    """How many thresholds so much spending has reached."""
    return sum(spent >= amount for amount, _ in limit.thresholds)


def _instance(limit: Limit, starts_ms: int | None, now_ms: int) -> int:
    """Which of its periods it is. A rolling one never ends: once in its length is once."""
    if limit.period == "rolling":
        starts, ends = limit.window.period(now_ms)
        return now_ms // max(1, (ends or 0) - (starts or 0))
    return starts_ms or 0


def standing_of(scope: Scope, limit: Limit, window: WindowStanding) -> AccountStanding:
    """One account's standing as a record."""
    spent, held = window.spent, window.held
    starts_ms, resets_ms = window.starts_ms, window.resets_ms
    return AccountStanding(
        scope=scope,
        period=limit.period,
        limit=limit.nanodollars,
        spent=spent,
        held=held,
        state=limit.state(spent + held),
        started_at=None if starts_ms is None else from_ms(starts_ms),
        resets_at=None if resets_ms is None else from_ms(resets_ms),
    )
