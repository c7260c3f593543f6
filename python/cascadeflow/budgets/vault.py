"""What a tracker has of its store: scopes as they were left, and grants that may be spent.

A grant is what a scope may have spent in its whole life, written down before it is spent. It covers
what is spent and held, what the waiting requests need, and a *slice* in advance:

    slice = min(what is left / 20, max(what is spent in about 10 s, one call))

so a busy scope asks its store every ten seconds or so, and near the limit for every call. (How much
is spent in ten seconds is found out by doubling the slice until one lasts so long.) What a
crash leaves granted and unreported counts as spent, in the periods that the grant was made in: it
can hide at most the slice, the requests under way at what they were held at, and what the log's
last moments had not written yet. For that the grant is written anew, however much is left of it,
before it is spent in a new period.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cascadeflow.budgets.accounts import ANONYMOUS, GLOBAL
from cascadeflow.budgets.books import from_ms, to_ms
from cascadeflow.budgets.stores.protocol import Grant
from cascadeflow.errors import InvalidRequestError
from cascadeflow.money import MAX_NANODOLLARS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cascadeflow.budgets.accounts import Limit
    from cascadeflow.budgets.books import Account, Books
    from cascadeflow.budgets.history import History
    from cascadeflow.budgets.records import Scope
    from cascadeflow.budgets.stores.protocol import ScopeRecord, Store

__all__ = ["SLICE_SECONDS", "SMALLEST_SHARE", "Vault", "Wants", "slice_of"]

SLICE_SECONDS: Final = 10.0
"""A slice is about what is spent in so many seconds."""

SMALLEST_SHARE: Final = 20
"""A slice is at most one so-manyeth of what is left."""


@dataclass(slots=True)
class Wants:
    """What waiting requests need of one scope, nanodollars."""

    amounts: list[int] = field(default_factory=list)
    """What each is to be held at, in the order they came."""
    forced: int = 0
    """What is held even over a limit, all together."""

    def add(self, amount: int, *, forced: bool) -> None:
        """Adds one request."""
        if forced:
            self.forced += amount
        else:
            self.amounts.append(amount)

    def fitting(self, left: int) -> list[int]:
        """The requests that fit what is left, as they came; the others will be refused."""
        found = []
        for amount in self.amounts:
            if amount <= left:
                found.append(amount)
                left -= amount
        return found


def slice_of(left: int, wished: int, typical: int) -> int:
    """What is granted in advance, nanodollars.

    Args:
        left: what the tightest limit leaves after the requests that wait.
        wished: what is spent in `SLICE_SECONDS`, as far as that is known.
        typical: what one request holds.

    >>> slice_of(1_000_000, 0, 5_000), slice_of(1_000_000, 10**9, 5_000), slice_of(40, 0, 30)
    (5000, 50000, 2)
    """
    return max(0, min(left // SMALLEST_SHARE, max(wished, typical)))


class Vault:
    """Opens scopes from a store, and asks it for grants. All methods block on the store."""

    def __init__(
        self, store: Store, books: Books, now_ms: Callable[[], int], *, strict: bool
    ) -> None:
        """Looks after one store.

        Args:
            store: the store.
            books: where scopes are opened.
            now_ms: the time that requests go by.
            strict: every hold is written before its provider is called, so nothing need be granted.
        """
        self.store = store
        self._books = books
        self._now_ms = now_ms
        self._strict = strict

    def begin(self, history: History) -> None:
        """Takes over what the store knows at the start: sums, and limits set by hand."""
        spent, by_model, by_user = 0, dict[str, int](), dict[str, int]()
        for record in self.records():
            scope = record.scope
            if record.limits:
                self._books.budgets.set_by_hand(scope, dict(record.limits))
            if scope == GLOBAL:
                spent = record.spent
            elif scope.kind == "model":
                by_model[scope.name] = record.spent
            elif scope.kind == "user" and scope.name != ANONYMOUS:
                by_user[scope.name] = record.spent
        history.restore(max(0, spent), by_model, by_user)
        self._books.models_matter = bool(self._books.budgets.models)

    def records(self) -> list[ScopeRecord]:
        """Every scope that the store knows, without its quarters."""
        return list(self.store.scopes(since=from_ms(self._now_ms())))

    def open(self, scopes: Iterable[Scope]) -> None:
        """Opens scopes as the store knows them.

        Each must be in `books.pending`, and everything that was logged before it came there must be
        written.
        """
        for scope in scopes:
            while not self._open(scope):
                pass  # its limits were changed while it was read

    def _open(self, scope: Scope) -> bool:
        books = self._books
        limits = books.budgets.limits(scope)
        now_ms = self._now_ms()
        total, logged, spent = self._read(scope, limits, now_ms)
        granted = MAX_NANODOLLARS if self._strict else total
        with books.lock:
            if books.budgets.limits(scope) != limits:
                return False
            if scope in books.accounts or not limits:
                books.pending.pop(scope, None)
                return True
            # Thresholds that earlier processes reached were reported by them.
            unread = books.unread.pop(scope, 0)
            account = books.open(
                scope, limits, now_ms,
                spent=spent,
                reported=[max(0, amount - unread) for amount in logged],
                spent_total=total,
                grant=granted,
            )  # fmt: skip
            if not self._strict:
                account.fresh_until_ms = now_ms
            account.granted, account.mark = granted, total
            account.mark_ms = now_ms
            for amount in books.pending.pop(scope):
                books.adjust(account, amount, now_ms)
        if unread:
            books.crossings([account], now_ms)
        return True

    def _read(
        self, scope: Scope, limits: Sequence[Limit], now_ms: int
    ) -> tuple[int, list[int], list[int]]:
        """What a scope has spent in its life, and in each period as logged and as it counts."""
        starts = [_started_ms(limit, now_ms) for limit in limits]
        since = from_ms(min([start for start in starts if start is not None], default=now_ms))
        record = self.store.scope(scope, since=since)
        return max(0, record.spent), *sums_of(record, limits, starts)

    def read_late(self, accounts: Iterable[Account]) -> None:
        """Lets windows that came while an account was open count what the store knows of them.

        Everything that was logged before must be written. What is spent while it is read counts
        too: it is not in the sum of the time before the window's period.
        """
        for account in accounts:
            while account.unread:
                limits, now_ms = account.limits, self._now_ms()
                total, _, spent = self._read(account.scope, limits, now_ms)
                with self._books.lock:
                    if account.limits is not limits:
                        continue
                    began = [
                        total - amount if limit.window in account.unread else None
                        for limit, amount in zip(limits, spent, strict=True)
                    ]
                    # One that was dropped as idle is read when it is opened again.
                    with suppress(InvalidRequestError):
                        account.ledger.count_since(account.handle, began, now_ms)
                    account.unread = ()
                    account.fresh_until_ms = MAX_NANODOLLARS if self._strict else now_ms

    def grant(self, wants: Mapping[Account, Wants]) -> None:
        """Writes down what scopes may spend, then lets them."""
        now_ms = self._now_ms()
        found = [(account, self._up_to(account, want, now_ms)) for account, want in wants.items()]
        made = [(account, up_to) for account, up_to in found if up_to is not None]
        if not made:
            return
        at = from_ms(now_ms)
        self.store.grant([Grant(account.scope, up_to, at) for account, up_to in made])
        for account, up_to in made:
            account.granted = up_to
            account.fresh_until_ms = min(
                (_fresh_ms(limit, now_ms) for limit in account.limits), default=MAX_NANODOLLARS
            )
            self._books.set_grant(account, up_to)

    def cover(self) -> None:
        """Writes down what was booked beyond a grant: by force, or because a provider billed more.

        Before the log says so: else that money would seem to be the one that was granted to the
        requests under way, and a crash would forget theirs.
        """
        if self._strict:
            self._books.uncovered.clear()
            return
        taken: list[Account] = []
        while self._books.uncovered:
            taken.append(self._books.uncovered.pop())
        try:
            self._cover(taken)
        except BaseException:
            self._books.uncovered.update(taken)
            raise

    def _cover(self, accounts: Iterable[Account]) -> None:
        at = from_ms(self._now_ms())
        lives = [(account, account.life()) for account in accounts]
        short = [(a, life) for a, life in lives if life is not None and life > a.granted]
        if not short:
            return
        self.store.grant([Grant(account.scope, life, at) for account, life in short])
        for account, life in short:
            account.granted = life
            self._books.set_grant(account, life)

    def _up_to(self, account: Account, want: Wants, now_ms: int) -> int | None:
        try:
            settled, held = account.ledger.total(account.handle)
            windows = account.ledger.standing(account.handle, now_ms)
        except InvalidRequestError:
            return None  # dropped as idle: whoever waits opens it again
        left = min(
            (w.limit - w.spent - w.held for w in windows if w.limit is not None),
            default=MAX_NANODOLLARS,
        )
        # Nothing is granted for what will be refused: after a crash it would count as spent. The
        # ledger finds the limit that is in its way before it asks for a grant.
        fitting = want.fitting(left)
        needed = want.forced + sum(fitting)
        typical = needed // max(1, len(fitting) + bool(want.forced))
        seconds = (now_ms - account.mark_ms) / 1000
        if seconds < SLICE_SECONDS:
            account.wished = max(2 * account.wished, typical)
        else:
            account.wished = max(0, int((settled - account.mark) / seconds * SLICE_SECONDS))
        account.mark_ms, account.mark = now_ms, settled
        account.wished = ahead = slice_of(left - needed, account.wished, typical)
        up_to = max(account.granted, settled + held + needed + ahead)
        return min(up_to, MAX_NANODOLLARS)


def sums_of(
    record: ScopeRecord, limits: Sequence[Limit], starts: Sequence[int | None]
) -> tuple[list[int], list[int]]:
    """What a scope has spent in each limit's current period: as logged, and as it counts.

    What was taken off beyond what the period had spent (a reset of a longer one) is no credit for
    what came later: the store gives it apart, and it is taken off first. What was granted and never
    reported counts in the periods it was granted in.
    """
    logged, counted = [], []
    granted_ms = None if record.granted_at is None else to_ms(record.granted_at)
    for limit, start in zip(limits, starts, strict=True):
        if start is None:
            logged.append(max(0, record.spent - record.unreported))
            counted.append(max(0, record.spent))
            continue
        amount = 0
        # Sorted: of a quarter's two entries the one that takes off is negative, and so comes first.
        for quarter, change in record.by_quarter:
            # A quarter that lies partly before a rolling window counts.
            if to_ms(quarter) + 900_000 > start:
                amount = max(0, amount + change)
        logged.append(amount)
        unreported = granted_ms is not None and granted_ms >= start - _stale_ms(limit, start)
        counted.append(amount + (record.unreported if unreported else 0))
    return logged, counted


def _started_ms(limit: Limit, now_ms: int) -> int | None:
    """When the current period began; `None` for a total."""
    return limit.window.period(now_ms)[0]


def _stale_ms(limit: Limit, now_ms: int) -> int:
    """How long a grant is spent without being written anew while its period goes on."""
    if limit.period != "rolling":
        return 0
    starts, ends = limit.window.period(now_ms)
    return ((ends or 0) - (starts or 0)) // 48


def _fresh_ms(limit: Limit, now_ms: int) -> int:
    """Until when a grant made now need not be written anew."""
    if limit.period == "rolling":
        return now_ms + _stale_ms(limit, now_ms)
    ends = limit.window.period(now_ms)[1]
    return MAX_NANODOLLARS if ends is None else ends
