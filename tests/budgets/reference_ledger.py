"""A slow, obvious, single-threaded model of the ledger in `cascadeflow._native`: same names, same
answers. It is what the native one is tested against.

What the stub leaves open is decided here:

* A hold's money, its extensions included, belongs to the periods that held when it was reserved.
* Of several reasons to refuse, `stale` comes first, then `limit`, then `grant`; of several full
  windows the one that resets last, of equals the first.
* `force` holds over limits; a grant is what is on disk, so that is still asked for.
* Looking (`standing`, `total`) changes nothing; what books or tries to moves a scope's periods on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from reference_calendar import EARLIEST_MS, LATEST_MS, Window

from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.money import MAX_NANODOLLARS

if TYPE_CHECKING:
    from collections.abc import Sequence

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


ALREADY = Settlement("already", None, 0)


@dataclass(slots=True, eq=False)
class Sum:
    """Money settled and held."""

    spent: int = 0
    held: int = 0

    def add(self, spent: int, held: int) -> None:
        self.spent += spent
        self.held += held
        assert self.spent >= 0
        assert self.held >= 0


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
            oldest = next((i for i, sum_ in counted if sum_.spent + sum_.held), index)
            resets_ms = self.window.starts_ms(oldest + self.window.buckets)
        return WindowStanding(
            self.window,
            self.limit,
            sum(s.spent for _, s in counted),
            sum(s.held for _, s in counted),
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
    open_holds: int = 0

    def use(self, now_ms: int) -> None:
        self.used_ms = max(self.used_ms, now_ms)
        for account in self.accounts:
            account.roll(now_ms)


@dataclass(slots=True, eq=False)
class Part:
    """What a hold has on one scope: the amount, and the sums it is in."""

    scope: Scope
    amount: int
    places: list[tuple[Account, int]]

    def add(self, spent: int, held: int) -> None:
        self.scope.life.add(spent, held)
        for account, index in self.places:
            account.at(index).add(spent, held)


@dataclass(slots=True, eq=False)
class Hold:
    """Money held, or once held, for one request."""

    parts: list[Part]
    deadline_ms: int
    key: bytes | None
    state: Literal["open", "expired", "ended"] = "open"
    ended_ms: int = 0
    booked: list[int] = field(default_factory=list)

    def outcome(self, outcome: Literal["settled", "released", "corrected"]) -> Settlement:
        over = [b - p.amount for b, p in zip(self.booked, self.parts, strict=True)]
        return Settlement(outcome, max(self.booked), max([0, *over]))


class Ledger:
    """Scopes, their windows, and holds on them."""

    def __init__(self, *, late_seconds: int = 86_400) -> None:
        if isinstance(late_seconds, bool) or not 0 <= late_seconds <= 10**9:
            raise ConfigurationError("late_seconds is a whole number from 0 to 10**9")
        self._late_ms = late_seconds * 1000
        self._scopes: dict[int, Scope] = {}
        self._names: dict[tuple[str, str], Scope] = {}
        self._holds: dict[int, Hold] = {}
        self._keys: dict[bytes, int] = {}
        self._gone: set[int] = set()
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
            scope = self._names[kind, name]
            scope.used_ms = max(scope.used_ms, now_ms)
            return scope.handle
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
        found.use(now_ms)

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
            return self._keys[key]
        for handle, part in zip(scopes, amounts, strict=True):
            if handle not in self._scopes:
                return Refusal("stale", handle, part)
        parts = []
        for handle, part in zip(scopes, amounts, strict=True):
            scope = self._scopes[handle]
            scope.use(now_ms)
            parts.append(Part(scope, part, [(a, a.current) for a in scope.accounts]))
        refusal = refused(parts, amounts, force=force)
        if refusal:
            return refusal
        for held in parts:
            held.add(0, held.amount)
            held.scope.open_holds += 1
        self._issued += 1
        self._holds[self._issued] = Hold(parts, deadline_ms, key)
        if key is not None:
            self._keys[key] = self._issued
        return self._issued

    def extend(
        self, hold: int, amount: int | Sequence[int], now_ms: int, *, force: bool = False
    ) -> Refusal | None:
        found, now_ms = self._hold(hold), instant(now_ms)
        if found is None or found.state != "open":
            raise InvalidRequestError("the hold is open no more")
        amounts = spread(amount, len(found.parts))
        for part in found.parts:
            part.scope.use(now_ms)
        refusal = refused(found.parts, amounts, force=force)
        if refusal:
            return refusal
        for part, more in zip(found.parts, amounts, strict=True):
            part.add(0, more)
            part.amount += more
        return None

    def renew(self, hold: int, deadline_ms: int) -> bool:
        found, deadline_ms = self._hold(hold), instant(deadline_ms)
        if found is None or found.state != "open":
            return False
        found.deadline_ms = max(found.deadline_ms, deadline_ms)
        return True

    def settle(self, hold: int, actual: int | Sequence[int], now_ms: int) -> Settlement:
        found, now_ms = self._hold(hold), instant(now_ms)
        if found is None or not self._may_end(found, now_ms):
            return ALREADY
        return self._end(found, spread(actual, len(found.parts)), now_ms, "settled")

    def release(self, hold: int, now_ms: int) -> Settlement:
        found, now_ms = self._hold(hold), instant(now_ms)
        if found is None or not self._may_end(found, now_ms):
            return ALREADY
        return self._end(found, [0] * len(found.parts), now_ms, "released")

    def expire(self, now_ms: int) -> list[int]:
        now_ms = instant(now_ms)
        for hold, found in list(self._holds.items()):
            if found.state != "open" and found.ended_ms + self._late_ms <= now_ms:
                del self._holds[hold]
                self._gone.add(hold)
                if found.key is not None:
                    del self._keys[found.key]
        due = [h for h, f in self._holds.items() if f.state == "open" and f.deadline_ms <= now_ms]
        for hold in due:
            found = self._holds[hold]
            self._end(found, [part.amount for part in found.parts], now_ms, "settled")
            found.state = "expired"
        return due

    def adjust(self, scope: int, amount: int, now_ms: int) -> int:
        found, now_ms = self._scope(scope), instant(now_ms)
        amount = integer(amount, "an adjustment", -MAX_NANODOLLARS, MAX_NANODOLLARS)
        found.use(now_ms)
        spendings = [account.standing(account.current).spent for account in found.accounts]
        amount = max(amount, -min([found.life.spent, *spendings]))
        check_room([found.life], amount)
        found.life.add(amount, 0)
        for account in found.accounts:
            left = amount
            if amount >= 0:
                account.at(account.current).add(amount, 0)
                continue
            for _, sum_ in account.counted(account.current):  # what falls out first goes first
                taken = min(sum_.spent, -left)
                sum_.add(-taken, 0)
                left += taken
        return amount

    def standing(self, scope: int, now_ms: int) -> list[WindowStanding]:
        found, now_ms = self._scope(scope), instant(now_ms)
        return [account.standing(account.reached(now_ms)) for account in found.accounts]

    def total(self, scope: int) -> tuple[int, int]:
        life = self._scope(scope).life
        return life.spent, life.held

    def held_amounts(self, hold: int) -> list[tuple[int, int]]:
        found = self._hold(hold)
        if found is None or found.state == "ended":
            raise InvalidRequestError("the hold is open no more")
        amounts = found.booked if found.state == "expired" else [p.amount for p in found.parts]
        return [(p.scope.handle, a) for p, a in zip(found.parts, amounts, strict=True)]

    def scopes(self) -> list[int]:
        return list(self._scopes)

    def open_holds(self) -> int:
        return sum(hold.state == "open" for hold in self._holds.values())

    def evict(self, now_ms: int, idle_ms: int) -> list[tuple[str, str, int]]:
        now_ms = instant(now_ms)
        idle_ms = integer(idle_ms, "idle_ms", 0, LATEST_MS)
        dropped = []
        for scope in list(self._scopes.values()):
            if scope.open_holds or now_ms - scope.used_ms < idle_ms:
                continue
            if scope.grant is None and not all(
                a.reached(now_ms) - a.current >= a.window.buckets for a in scope.accounts
            ):
                continue
            del self._scopes[scope.handle], self._names[scope.kind, scope.name]
            dropped.append((scope.kind, scope.name, scope.life.spent))
        return dropped

    def _scope(self, scope: int) -> Scope:
        if scope not in self._scopes:
            raise InvalidRequestError(f"no scope {scope} is open: open it again")
        return self._scopes[scope]

    def _hold(self, hold: int) -> Hold | None:
        """A hold, `None` when it is over for so long that it was forgotten."""
        if hold in self._gone:
            return None
        if hold not in self._holds:
            raise InvalidRequestError(f"there never was a hold {hold}")
        return self._holds[hold]

    def _may_end(self, hold: Hold, now_ms: int) -> bool:
        late = hold.state == "expired" and hold.ended_ms + self._late_ms <= now_ms
        return not late and hold.state != "ended"

    def _end(
        self,
        hold: Hold,
        actual: list[int],
        now_ms: int,
        outcome: Literal["settled", "released"],
    ) -> Settlement:
        was_open = hold.state == "open"
        for place, (part, booked) in enumerate(zip(hold.parts, actual, strict=True)):
            if was_open:
                part.scope.open_holds -= 1
                part.add(booked, -part.amount)
            else:
                part.add(booked - hold.booked[place], 0)
            part.scope.used_ms = max(part.scope.used_ms, now_ms)
        hold.booked = actual
        hold.state = "ended"
        if was_open:
            hold.ended_ms = now_ms
        return hold.outcome(outcome if was_open else "corrected")


def refused(parts: list[Part], amounts: list[int], *, force: bool) -> Refusal | None:
    """Why so much more cannot be held, if it cannot."""
    full: list[Refusal] = []
    for part, amount in zip(parts, amounts, strict=True):
        for account, index in part.places:
            # A calendar period that is over still has its limit; a rolling window never is over.
            rolling = account.window.kind == "rolling"
            standing = account.standing(account.current if rolling else index)
            if (
                not force
                and standing.limit is not None
                and standing.spent + standing.held + amount > standing.limit
            ):
                full.append(Refusal("limit", part.scope.handle, amount, standing=standing))
    if full:
        return max(full, key=resets_at)  # the first of equals
    for part, amount in zip(parts, amounts, strict=True):
        needed = part.scope.life.spent + part.scope.life.held + amount
        if part.scope.grant is not None and needed > part.scope.grant:
            return Refusal("grant", part.scope.handle, amount, grant_needed=needed)
    for part, amount in zip(parts, amounts, strict=True):
        check_room([part.scope.life], amount)
    return None


def resets_at(refusal: Refusal) -> float:
    assert refusal.standing is not None
    resets_ms = refusal.standing.resets_ms
    return float("inf") if resets_ms is None else resets_ms


def check_room(sums: list[Sum], amount: int) -> None:
    if any(sum_.spent + sum_.held + amount > MAX_NANODOLLARS for sum_ in sums):
        raise InvalidRequestError("more money than can be accounted for")


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
