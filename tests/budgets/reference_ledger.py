"""A slow, obvious, single-threaded model of the ledger in `cascadeflow._native`: same names, same
answers. It is what the native one is tested against.

What the stub leaves open is decided here:

* What is held belongs to the periods that were current when it was asked for: a hold's to those of
  `reserve`, an extension's to those of `extend`. What was held first is used first.
* Scopes are asked one by one, in the order of `rank`; the first that refuses is the one that is
  named. It is asked whether its handle is `stale`, then for its `limit`s, then for its `grant`. Of
  several full windows the one that resets last is named, of equals the last.
* What costs nothing always fits. `force` holds over limits and grants, up to what can be counted.
* Looking (`standing`, `total`) changes nothing; asking moves a scope's periods on.
* An expired hold can be corrected until an `expire` that comes `late_seconds` after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from reference_calendar import EARLIEST_MS, LATEST_MS, Window

from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.money import MAX_NANODOLLARS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_SCOPES = 64

__all__ = ["Ledger", "Refusal", "Settlement", "Window", "WindowStanding"]


@dataclass(frozen=True, slots=True)
class WindowStanding:
    """How one window of a scope stands."""

    window: Window
    limit: int | None
    spent: int
    held: int
    starts_ms: int | None
    resets_ms: int | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a reservation was not made."""

    kind: Literal["limit", "grant", "stale"]
    scope: int
    requested: int
    grant_needed: int | None = None
    standing: WindowStanding | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a settlement."""

    outcome: Literal["settled", "released", "corrected", "already"]
    booked: int | None
    overrun: int


@dataclass(slots=True, eq=False)
class Sum:
    """Money settled and held.

    It falls below nothing where spending was taken away by hand and its hold is corrected after
    that; then it is shown as nothing.
    """

    spent: int = 0
    held: int = 0

    def add(self, spent: int, held: int) -> None:
        self.spent += spent
        self.held += held
        assert self.held >= 0

    def shown(self) -> tuple[int, int]:
        used = max(0, self.spent + self.held)
        spent = min(max(0, self.spent), used)
        return spent, used - spent


@dataclass(slots=True, eq=False)
class Account:
    """A scope in one window: a sum for each of its periods, or buckets, that ever was."""

    window: Window
    limit: int | None
    current: int
    sums: dict[int, Sum] = field(default_factory=dict)

    def reached(self, now_ms: int) -> int:
        return max(self.current, self.window.index(now_ms))

    def roll(self, now_ms: int) -> int:
        """Moves on to the period of this instant; never back."""
        self.current = self.reached(now_ms)
        return self.current

    def at(self, index: int) -> Sum:
        return self.sums.setdefault(index, Sum())

    def counted(self, index: int) -> list[tuple[int, Sum]]:
        """What counts while period `index` holds, oldest first."""
        return [(i, self.at(i)) for i in range(index - self.window.buckets + 1, index + 1)]

    def standing(self, index: int) -> WindowStanding:
        counted = self.counted(index)
        resets_ms = self.window.starts_ms(index + 1)
        if self.window.kind == "rolling":  # when the oldest money falls out
            oldest = next((i for i, sum_ in counted if sum_.spent + sum_.held > 0), index)
            resets_ms = self.window.starts_ms(oldest + self.window.buckets)
        together = Sum(sum(s.spent for _, s in counted), sum(s.held for _, s in counted))
        return WindowStanding(
            self.window,
            self.limit,
            *together.shown(),
            self.window.starts_ms(counted[0][0]),
            resets_ms,
        )


@dataclass(slots=True, eq=False)
class Scope:
    """Whose money is counted."""

    handle: int
    kind: str
    name: str
    accounts: list[Account]
    life: Sum
    grant: int | None
    used_ms: int

    def touch(self, now_ms: int) -> None:
        """Remembers a use; one within a second of the last is not worth it."""
        if now_ms - self.used_ms > 1_000:
            self.used_ms = now_ms

    def roll(self, now_ms: int) -> None:
        for account in self.accounts:
            account.roll(now_ms)

    def standings(self, now_ms: int) -> list[WindowStanding]:
        return [account.standing(account.reached(now_ms)) for account in self.accounts]

    def refusal(self, amount: int, *, force: bool) -> Refusal | None:
        """Why so much more cannot be held now, if it cannot."""
        needed = self.life.spent + self.life.held + amount
        if amount == 0:
            return None
        standings = [account.standing(account.current) for account in self.accounts]
        full = [
            each
            for each in standings
            if not force and each.limit is not None and each.spent + each.held + amount > each.limit
        ]
        if full:
            last = max(reversed(full), key=resets_at)
            return Refusal("limit", self.handle, amount, standing=last)
        if needed > MAX_NANODOLLARS:
            raise InvalidRequestError("more money than can be accounted for")
        if not force and self.grant is not None and needed > self.grant:
            return Refusal("grant", self.handle, amount, grant_needed=needed)
        return None

    def would_forget(self, now_ms: int) -> bool:
        """Whether a limit would be forgotten something with the scope."""
        return self.grant is None and any(
            each.limit is not None and each.spent + each.held for each in self.standings(now_ms)
        )


@dataclass(slots=True, eq=False)
class Part:
    """What was held on one scope at one time: the amount, and the periods it is in."""

    scope: Scope
    amount: int
    places: list[tuple[Account, int]] = field(default_factory=list)

    def add(self, spent: int, held: int) -> None:
        self.scope.life.add(spent, held)
        for account, index in self.places:
            account.at(index).add(spent, held)

    def hold(self) -> None:
        self.places = [(account, account.current) for account in self.scope.accounts]
        self.add(0, self.amount)


@dataclass(slots=True, eq=False)
class Hold:
    """Money held for one request, or booked when it has expired.

    `parts` has a list for each scope, with what `reserve` held on it and then each extension.
    """

    parts: list[list[Part]]
    deadline_ms: int
    expired_ms: int | None = None

    def amounts(self) -> list[int]:
        return [sum(part.amount for part in parts) for parts in self.parts]


class Ledger:
    """Scopes, their windows, and holds on them."""

    def __init__(self, *, late_seconds: int = 86_400) -> None:
        if isinstance(late_seconds, bool) or not 0 <= late_seconds <= 10**9:
            raise ConfigurationError("late_seconds is a whole number from 0 to 10**9")
        self._late_ms = late_seconds * 1000
        self.rank: Callable[[int], int] = int
        self._scopes: dict[int, Scope] = {}
        self._names: dict[tuple[str, str], Scope] = {}
        self._holds: dict[int, Hold] = {}
        self._keys: dict[bytes, tuple[int, int]] = {}  # the hold, and until when it is known
        self._over: set[int] = set()
        self._issued = 0

    def open_scope(
        self,
        kind: str,
        name: str,
        limits: Sequence[tuple[Window, int | None]],
        now_ms: int,
        *,
        spent: Sequence[int] = (),
        spent_total: int = 0,
        grant: int | None = None,
    ) -> int:
        now_ms = instant(now_ms)
        checked = distinct(limits)
        spends = [money(amount) for amount in spent]
        if len(spends) > len(checked):
            raise InvalidRequestError("spent has an amount for each window at most")
        spends += [0] * (len(checked) - len(spends))
        life = Sum(money(spent_total))
        granted = None if grant is None else money(grant)
        if (kind, name) in self._names:
            return self._names[kind, name].handle
        accounts = []
        for place, (window, limit) in enumerate(checked):
            account = Account(window, limit, window.index(now_ms))
            account.at(account.current).spent = spends[place]
            accounts.append(account)
        self._issued += 1
        scope = Scope(self._issued, kind, name, accounts, life, granted, now_ms)
        self._scopes[scope.handle] = self._names[kind, name] = scope
        return scope.handle

    def find_scope(self, kind: str, name: str) -> int | None:
        scope = self._names.get((kind, name))
        return scope.handle if scope else None

    def scope_name(self, scope: int) -> tuple[str, str]:
        found = self._scope(scope)
        return found.kind, found.name

    def set_limits(
        self, scope: int, limits: Sequence[tuple[Window, int | None]], now_ms: int
    ) -> None:
        found, now_ms = self._scope(scope), instant(now_ms)
        checked = distinct(limits)
        old = {account.window: account for account in found.accounts}
        found.accounts = []
        for window, limit in checked:
            account = old.get(window) or Account(window, limit, window.index(now_ms))
            account.limit = limit
            found.accounts.append(account)
        found.roll(now_ms)

    def set_grant(self, scope: int, grant: int | None) -> None:
        self._scope(scope).grant = None if grant is None else money(grant)

    def reserve(
        self,
        scopes: Sequence[int],
        amount: int | Sequence[int],
        now_ms: int,
        deadline_ms: int,
        *,
        key: bytes | None = None,
        force: bool = False,
    ) -> int | Refusal:
        amounts = spread(amount, len(scopes))
        now_ms, deadline_ms = instant(now_ms), instant(deadline_ms)
        if not 1 <= len(scopes) <= MAX_SCOPES:
            raise InvalidRequestError(f"a hold is on 1 to {MAX_SCOPES} scopes")
        if len(set(scopes)) != len(scopes):
            raise InvalidRequestError("a scope is named twice")
        if key is not None:
            if not 1 <= len(key) <= 16:
                raise InvalidRequestError("a key has 1 to 16 bytes")
            key = key.ljust(16, b"\0")
        if key is not None and key in self._keys:
            return self._keys[key][0]
        asked = list(zip(scopes, amounts, strict=True))
        for handle, part in sorted(asked, key=lambda pair: self.rank(pair[0])):
            if handle not in self._scopes:
                return Refusal("stale", handle, part)
            refusal = self._ask(self._scopes[handle], part, now_ms, force=force)
            if refusal:
                return refusal
        parts = [Part(self._scopes[handle], part) for handle, part in asked]
        for part_held in parts:
            part_held.hold()
        self._issued += 1
        self._holds[self._issued] = Hold([[part_held] for part_held in parts], deadline_ms)
        if key is not None:
            self._keys[key] = self._issued, deadline_ms + self._late_ms
        return self._issued

    def _ask(self, scope: Scope, amount: int, now_ms: int, *, force: bool) -> Refusal | None:
        scope.roll(now_ms)
        refusal = scope.refusal(amount, force=force)
        if refusal is None:
            scope.touch(now_ms)
        return refusal

    def extend(
        self, hold: int, amount: int | Sequence[int], now_ms: int, *, force: bool = False
    ) -> Refusal | None:
        found, now_ms = self._hold(hold), instant(now_ms)
        if found is None or found.expired_ms is not None:
            raise InvalidRequestError("the hold is open no more")
        amounts = spread(amount, len(found.parts))
        more = [Part(p[0].scope, a) for p, a in zip(found.parts, amounts, strict=True)]
        for part in sorted(more, key=lambda part: self.rank(part.scope.handle)):
            refusal = self._ask(part.scope, part.amount, now_ms, force=force)
            if refusal:
                return refusal
        for parts, part in zip(found.parts, more, strict=True):
            part.hold()
            parts.append(part)
        return None

    def renew(self, hold: int, deadline_ms: int) -> bool:
        found, deadline_ms = self._hold(hold), instant(deadline_ms)
        if found is None or found.expired_ms is not None:
            return False
        found.deadline_ms = deadline_ms
        return True

    def settle(self, hold: int, actual: int | Sequence[int], now_ms: int) -> Settlement:
        found, now_ms = self._hold(hold), instant(now_ms)
        if found is None:
            return Settlement("already", None, 0)
        return self._end(hold, found, spread(actual, len(found.parts)), now_ms, "settled")

    def release(self, hold: int, now_ms: int) -> Settlement:
        found, now_ms = self._hold(hold), instant(now_ms)
        if found is None:
            return Settlement("already", None, 0)
        return self._end(hold, found, [0] * len(found.parts), now_ms, "released")

    def _end(
        self,
        hold: int,
        found: Hold,
        actual: list[int],
        now_ms: int,
        outcome: Literal["settled", "released"],
    ) -> Settlement:
        self._forget(hold)
        overrun = max([0, *(a - h for a, h in zip(actual, found.amounts(), strict=True))])
        for parts, booked in zip(found.parts, actual, strict=True):
            rest = booked
            for part in parts:
                share = rest if part is parts[-1] else min(rest, part.amount)
                rest -= share
                if found.expired_ms is None:
                    part.add(share, -part.amount)
                else:
                    part.add(share - part.amount, 0)
            parts[0].scope.touch(now_ms)
        corrected = found.expired_ms is not None
        return Settlement("corrected" if corrected else outcome, max(actual), overrun)

    def expire(self, now_ms: int) -> list[int]:
        now_ms = instant(now_ms)
        due = []
        for hold, found in list(self._holds.items()):
            if found.expired_ms is not None:
                if now_ms > found.expired_ms + self._late_ms:
                    self._forget(hold)
            elif found.deadline_ms <= now_ms:
                found.expired_ms = now_ms
                due.append(hold)
                for parts in found.parts:
                    for part in parts:
                        part.add(part.amount, -part.amount)
        for key, (hold, until) in list(self._keys.items()):
            if hold not in self._holds and until < now_ms:
                del self._keys[key]
        return due

    def adjust(self, scope: int, amount: int, now_ms: int) -> int:
        found, now_ms = self._scope(scope), instant(now_ms)
        amount = integer(amount, "an adjustment", -MAX_NANODOLLARS, MAX_NANODOLLARS)
        found.roll(now_ms)
        shown = [found.life.shown()[0], *(each.spent for each in found.standings(now_ms))]
        room = MAX_NANODOLLARS - found.life.spent - found.life.held
        amount = min(max(amount, -min(shown)), room)
        found.life.add(amount, 0)
        for account in found.accounts:
            if amount >= 0:
                account.at(account.current).add(amount, 0)
                continue
            left = -amount
            for _, sum_ in reversed(account.counted(account.current)):  # the newest goes first
                taken = max(0, min(sum_.spent, left))
                sum_.add(-taken, 0)
                left -= taken
        return amount

    def standing(self, scope: int, now_ms: int) -> list[WindowStanding]:
        return self._scope(scope).standings(instant(now_ms))

    def total(self, scope: int) -> tuple[int, int]:
        return self._scope(scope).life.shown()

    def held_amounts(self, hold: int) -> list[tuple[int, int]]:
        found = self._hold(hold)
        if found is None:
            raise InvalidRequestError("the hold is open no more")
        handles = [parts[0].scope.handle for parts in found.parts]
        return list(zip(handles, found.amounts(), strict=True))

    def scopes(self) -> list[int]:
        return list(self._scopes)

    def open_holds(self) -> int:
        return sum(hold.expired_ms is None for hold in self._holds.values())

    def evict(self, now_ms: int, idle_ms: int) -> list[tuple[str, str, int]]:
        now_ms = instant(now_ms)
        idle_ms = integer(idle_ms, "idle_ms", 0, LATEST_MS)
        busy = {parts[0].scope.handle for hold in self._holds.values() for parts in hold.parts}
        dropped = []
        for scope in list(self._scopes.values()):
            idle = now_ms - scope.used_ms >= idle_ms and scope.handle not in busy
            if idle and not scope.would_forget(now_ms):
                del self._scopes[scope.handle], self._names[scope.kind, scope.name]
                dropped.append((scope.kind, scope.name, scope.life.shown()[0]))
        return dropped

    def _scope(self, scope: int) -> Scope:
        if scope not in self._scopes:
            raise InvalidRequestError(f"no scope {scope} is open: open it again")
        return self._scopes[scope]

    def _hold(self, hold: int) -> Hold | None:
        """A hold that is open or expired, `None` when it is over."""
        if hold in self._over:
            return None
        if hold not in self._holds:
            raise InvalidRequestError(f"there never was a hold {hold}")
        return self._holds[hold]

    def _forget(self, hold: int) -> None:
        del self._holds[hold]
        self._over.add(hold)


def resets_at(standing: WindowStanding) -> float:
    return float("inf") if standing.resets_ms is None else standing.resets_ms


def integer(value: object, what: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidRequestError(f"{what} is a whole number from {low} to {high}")
    return value


def money(amount: int) -> int:
    return integer(amount, "an amount of nanodollars", 0, MAX_NANODOLLARS)


def instant(now_ms: int) -> int:
    return integer(now_ms, "a Unix time in milliseconds", EARLIEST_MS, LATEST_MS)


def spread(amount: int | Sequence[int], count: int) -> list[int]:
    """One amount for each scope."""
    amounts = [amount] * count if isinstance(amount, int) else list(amount)
    if len(amounts) != count:
        raise InvalidRequestError(f"{len(amounts)} amounts for {count} scopes")
    return [money(each) for each in amounts]


def distinct(
    limits: Sequence[tuple[Window, int | None]],
) -> list[tuple[Window, int | None]]:
    if len({window for window, _ in limits}) != len(limits):
        raise ConfigurationError("a window is named twice")
    if any(isinstance(limit, bool) for _, limit in limits) or any(
        not 0 <= limit <= MAX_NANODOLLARS for _, limit in limits if limit is not None
    ):
        raise ConfigurationError("a limit is whole nanodollars")
    return list(limits)
