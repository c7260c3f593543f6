"""The holds that are open: renewed while they live, and ended once.

"Now" is the latest moment that any request began at: holds, their deadlines and the periods all go
by the requests' own time.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from cascadeflow.budgets.accounts import scopes_of
from cascadeflow.budgets.books import from_ms, to_ms
from cascadeflow.budgets.records import Charge
from cascadeflow.budgets.reservation import HOLD_MS, LIVE_MS, Bookkeeper, Hold, Outcome
from cascadeflow.errors import InvalidRequestError
from cascadeflow.money import MAX_NANODOLLARS
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from cascadeflow.budgets.books import Account, Books, Crossing
    from cascadeflow.budgets.charges import ChargeBook
    from cascadeflow.budgets.records import AccountStanding
    from cascadeflow.budgets.writer import Writer

__all__ = ["QUARTER_MS", "Holds", "unconfirmed"]

QUARTER_MS: Final = 900_000
"""Periods of every time zone begin at a quarter of an hour of UTC."""

_SWEEP_MS: Final = 30_000
_EVICT_MS: Final = 60_000
_FEW: Final = 2_000
"""So many accounts are looked through at once."""

_LONG_AGO: Final = -(2**62)


class Holds(Bookkeeper):
    """Keeps and ends holds; may be used from several threads and event loops."""

    def __init__(
        self, books: Books, charges: ChargeBook, writer: Writer | None, *, enforces: bool
    ) -> None:
        """Begins with nothing held.

        Args:
            books: the accounts.
            charges: takes what was charged into the history and the log.
            writer: asks the store, if there is one.
            enforces: whether what does not fit is refused.
        """
        self._books = books
        self._charges = charges
        self._writer = writer
        self._enforces = enforces
        self._serials = itertools.count(1)
        self.on_return: Callable[[Sequence[Account] | None], None] | None = None
        """Is told whenever money came back: to which accounts, or `None` for any."""
        self.renew_after_fork()

    def renew_after_fork(self) -> None:
        """Begins anew: what the parent holds is the parent's to settle."""
        self._late_lock = threading.Lock()
        self._sweeping = threading.Lock()
        self._open: dict[int, Hold] = {}
        self._dropped: deque[Hold] = deque()
        self._quarter = self._latest_ms = self._sweep_at = self._evict_at = _LONG_AGO

    def moment(self, at: datetime) -> tuple[datetime, int]:
        """A moment as the ledger takes it: never in a quarter of an hour that is over there.

        Another request may have begun a later period, and that cannot be undone: what comes later
        belongs to it too, in the ledger and in the log.
        """
        at_ms = to_ms(at)
        quarter = at_ms // QUARTER_MS
        if quarter < self._quarter:
            at_ms = self._quarter * QUARTER_MS
            return from_ms(at_ms), at_ms
        self._quarter = quarter
        self._latest_ms = max(self._latest_ms, at_ms)
        return at, at_ms

    def now_ms(self, clock_ms: int) -> int:
        """The time to read accounts at: the clock's, or a later one that a request came from."""
        return max(clock_ms, self._latest_ms)

    # Living

    def renew(self, hold: Hold) -> bool:
        """Puts a hold's deadlines off; `False` when it has ended."""
        if hold.serial not in self._open:
            return False
        now_ms = max(self._latest_ms, hold.at_ms)
        hold.live_until_ms = now_ms + LIVE_MS
        return self._renew(hold, now_ms)

    @staticmethod
    def _renew(hold: Hold, now_ms: int) -> bool:
        renewed = True
        for each in hold.chain:
            each.deadline_ms = now_ms + HOLD_MS
            if each.place is None:
                continue
            ledger, hold_id, _ = each.place
            renewed = ledger.renew(hold_id, each.deadline_ms) and renewed
            for other, _ in each.beside:
                ledger.renew(other, each.deadline_ms)
        return renewed

    def sweep(self, now_ms: int) -> None:
        """Renews what is under way, ends what is forgotten, drops idle accounts."""
        if not self._sweeping.acquire(blocking=False):
            return
        try:
            self._sweep_at = now_ms + _SWEEP_MS
            holds = list(self._open.values())
            for hold in holds:
                if hold.deadline_ms - now_ms < HOLD_MS // 2 and now_ms < hold.live_until_ms:
                    self._renew(hold, now_ms)
            expired = set(self._books.ledger.expire(now_ms))
            for hold in holds:
                gone = (
                    hold.deadline_ms <= now_ms
                    if hold.place is None
                    else (bool(expired) and hold.place[1] in expired)
                )
                if gone:
                    self._expire(hold)
            if now_ms >= self._evict_at:
                self._evict_at = now_ms + _EVICT_MS
                self._tidy(now_ms)
        finally:
            self._sweeping.release()

    def _tidy(self, now_ms: int) -> None:
        """Drops idle accounts, somewhere else where there are many: no request waits for it."""
        if self._writer is not None:
            self._writer.tidy(now_ms)
        elif len(self._books.accounts) <= _FEW:
            self._books.evict(now_ms)
        else:
            threading.Thread(
                target=self._books.evict,
                args=(now_ms,),
                name="cascadeflow-budgets-tidy",
                daemon=True,
            ).start()

    def _expire(self, hold: Hold) -> None:
        with self._late_lock:
            if self._open.pop(hold.serial, None) is None:
                return
            for each in in_turn(hold):
                charges = unconfirmed(each)
                with self._books.lock:
                    self._book_missing(each, charges)
                    each.late = self._charges.book(each, charges, EMPTY)
        for each in hold.chain:
            self._crossed(each)

    # Ending

    def is_open(self, hold: Hold) -> bool:
        """Whether it has not ended."""
        return hold.serial in self._open

    def standings(self, hold: Hold) -> tuple[AccountStanding, ...]:
        """How the accounts that it touches stand now."""
        accounts = dict.fromkeys(account for each in hold.chain for account in each.accounts)
        return self._books.standings(accounts, max(self._latest_ms, hold.at_ms))

    def dropped(self, hold: Hold) -> None:
        """Notes that nobody refers to it any more. Takes no lock: a finaliser calls it."""
        if hold.serial in self._open:
            self._dropped.append(hold)

    def drain(self) -> None:
        """Ends what was dropped: booked at what was held."""
        while self._dropped:
            try:
                hold = self._dropped.popleft()
            except IndexError:  # another thread was faster
                return
            self._settle_in_full(hold)

    def settle_everything(self) -> None:
        """Ends every hold, booked at what was held: the tracker closes."""
        for hold in list(self._open.values()):
            self._settle_in_full(hold)
        self._dropped.clear()

    def _settle_in_full(self, hold: Hold) -> None:
        if self._open.pop(hold.serial, None) is not None:
            for each in in_turn(hold):
                self._end(each, unconfirmed(each), each.held, EMPTY)

    def settle(
        self, hold: Hold, charges: Sequence[Charge], metadata: Mapping[str, object]
    ) -> Outcome:
        """Books what was spent and gives the rest back."""
        total = 0
        for charge in charges:
            amount = charge.nanodollars
            if amount is not None:
                if not 0 <= amount <= MAX_NANODOLLARS:
                    raise InvalidRequestError(f"a charge of {amount} nanodollars cannot be")
                total += amount
        if total > MAX_NANODOLLARS:
            raise InvalidRequestError(f"charges of {total} nanodollars cannot be")
        if self._open.pop(hold.serial, None) is None:
            return self._settle_late(hold, charges, total, metadata)
        if not hold.more:
            return self._end(hold, charges, total, metadata)
        crossed: tuple[Crossing, ...] = ()
        in_turn(hold)
        for each, part in shared_out(hold, charges):
            amount = sum(charge.nanodollars or 0 for charge in part)
            crossed += self._end(each, part, amount, metadata).crossed
        return self._outcome(hold, total, crossed)

    def _outcome(self, hold: Hold, total: int, crossed: tuple[Crossing, ...]) -> Outcome:
        overrun = total - sum(each.held for each in hold.chain) if hold.more else total - hold.held
        hold.outcome = Outcome(total, max(0, overrun), crossed, self, hold)
        return hold.outcome

    def _end(
        self,
        hold: Hold,
        charges: Sequence[Charge],
        total: int,
        metadata: Mapping[str, object],
    ) -> Outcome:
        self._settle_in_ledger(hold, charges, total)
        books = self._books
        if books.models_matter or books.pending or books.version != hold.version:
            with books.lock:
                self._book_missing(hold, charges)
                hold.version = books.version
                self._charges.book(hold, charges, metadata)
        else:
            self._charges.book(hold, charges, metadata)
            if books.pending or books.version != hold.version:  # at this very moment
                self._book_missing(hold, charges)
        return self._outcome(hold, total, self._crossed(hold))

    def _settle_in_ledger(self, hold: Hold, charges: Sequence[Charge], total: int) -> bool:
        """Settles in the ledger; `False` when that knows the hold no more."""
        if hold.place is None:
            return True
        ledger, hold_id, route = hold.place
        now_ms = max(self._latest_ms, hold.at_ms)
        if route.whole:
            done = ledger.settle(hold_id, total, now_ms)
        else:
            amounts = route.amounts([(c.model, c.nanodollars or 0) for c in charges])
            done = ledger.settle(hold_id, amounts, now_ms)
        if self._writer is not None and done.overrun:
            self._books.uncovered.update(route.accounts)
        left = {account.scope.name for _, account in hold.beside}
        for other, account in hold.beside:
            model = account.scope.name
            part = sum(c.nanodollars or 0 for c in charges if c.model == model)
            ledger.settle(other, part if model in left else 0, now_ms)
            left.discard(model)
        self._tell_of_return(route.accounts)
        self._tell_of_return([account for _, account in hold.beside])
        return done.outcome != "already"

    def _tell_of_return(self, accounts: Sequence[Account]) -> None:
        if self.on_return is not None and accounts:
            self.on_return(accounts)

    def _crossed(self, hold: Hold) -> tuple[Crossing, ...]:
        """The thresholds that were reached since the last look."""
        if hold.place is None:
            return ()
        accounts = hold.place[2].accounts
        if hold.beside:  # a model that was asked in the place of another
            accounts = (*accounts, *dict.fromkeys(account for _, account in hold.beside))
        return self._books.crossings(accounts, hold.at_ms)

    def _book_missing(self, hold: Hold, charges: Sequence[Charge]) -> None:
        """Books on accounts that came after the hold."""
        known = {account.scope for account in hold.accounts}
        known |= {account.scope for _, account in hold.beside}
        total, by_model = 0, dict[str, int]()
        for charge in charges:
            total += charge.nanodollars or 0
            by_model[charge.model] = by_model.get(charge.model, 0) + (charge.nanodollars or 0)
        missing = [
            (scope, by_model[scope.name] if scope.kind == "model" else total)
            for scope in scopes_of(hold.route.spender, by_model)
            if scope not in known
        ]
        if missing and total:
            self._books.book(missing, hold.at_ms)

    def _settle_late(
        self,
        hold: Hold,
        charges: Sequence[Charge],
        total: int,
        metadata: Mapping[str, object],
    ) -> Outcome:
        """Corrects what an expired hold was booked at, once; else changes nothing."""
        with self._late_lock:
            late = [each.late for each in hold.chain]
            for each in hold.chain:
                each.late = ()
        corrected = False
        for (each, part), events in zip(shared_out(hold, charges), late, strict=True):
            if not events:
                continue
            amount = sum(charge.nanodollars or 0 for charge in part)
            try:
                known = self._settle_in_ledger(each, part, amount)
            except InvalidRequestError:
                known = False  # long over
            if known:
                self._charges.correct(each, events, part, metadata)
                corrected = True
        if corrected:
            return self._outcome(hold, total, self._crossed(hold))
        before = hold.outcome
        if before is not None:
            return Outcome(before.booked, before.overrun, (), self, hold)
        return Outcome(sum(each.held for each in hold.chain), 0, (), self, hold)


def unconfirmed(hold: Hold) -> list[Charge]:
    """A hold's calls, each booked at what was held for it."""
    return [
        # Where nothing was held, nothing is known: that is not zero.
        Charge(model=model, nanodollars=amount or None, confirmed=False, held=amount)
        for model, amount in hold.calls
    ]


def in_turn(hold: Hold) -> tuple[Hold, ...]:
    """A hold's parts in the order they end: the last one ends what is on disk for the request."""
    for each in hold.chain[:-1]:
        each.strict = False
    return hold.chain


def shared_out(hold: Hold, charges: Sequence[Charge]) -> list[tuple[Hold, list[Charge]]]:
    """Which charges are booked on which part of a hold: each where its call was held."""
    chain = hold.chain
    parts: list[tuple[Hold, list[Charge]]] = [(each, []) for each in chain]
    left = [list(each.calls) for each in chain]
    rest = []
    for charge in charges:
        place = next(
            (n for n, calls in enumerate(left) if (charge.model, charge.held) in calls), None
        )
        if place is None:
            rest.append(charge)
            continue
        left[place].remove((charge.model, charge.held))
        parts[place][1].append(charge)
    for charge in rest:
        models = [{model for model, _ in calls} for calls in left]
        place = next((n for n, named in enumerate(models) if charge.model in named), len(chain) - 1)
        parts[place][1].append(charge)
    return parts
