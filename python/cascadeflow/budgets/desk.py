"""A hold's life: made, extended, renewed, and ended once.

Nothing here waits. Where a store must be asked first, an attempt gives the `Future` to wait for,
and is made again afterwards. "Now" is the latest moment that any request began at: holds, their
deadlines and the periods all go by the requests' own time.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from cascadeflow.budgets.accounts import scopes_of
from cascadeflow.budgets.books import Route, from_ms, to_ms
from cascadeflow.budgets.records import Charge
from cascadeflow.budgets.refusals import does_not_fit, nothing_applies
from cascadeflow.budgets.reservation import HOLD_MS, LIVE_MS, Hold, Outcome, Reservation
from cascadeflow.errors import BudgetExceededError, InvalidRequestError
from cascadeflow.money import MAX_NANODOLLARS
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from cascadeflow.budgets.books import Account, Books, Crossing
    from cascadeflow.budgets.charges import ChargeBook
    from cascadeflow.budgets.history import Standing
    from cascadeflow.budgets.records import AccountStanding, Spender
    from cascadeflow.budgets.writer import Writer

__all__ = ["Desk"]

STALE: Final = object()

_QUARTER_MS: Final = 900_000
"""Periods of every time zone begin at a quarter of an hour of UTC."""

_SWEEP_MS: Final = 30_000
_EVICT_MS: Final = 60_000
_LONG_AGO: Final = -(2**62)


class Desk:
    """Makes and ends reservations; may be used from several threads and event loops."""

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
        self.renew_after_fork()

    def renew_after_fork(self) -> None:
        """Begins anew: what the parent holds is the parent's to settle."""
        self._late_lock = threading.Lock()
        self._sweeping = threading.Lock()
        self._open: dict[int, Hold] = {}
        self._dropped: deque[Hold] = deque()
        self._serials = itertools.count(1)
        self._quarter = self._latest_ms = self._sweep_at = self._evict_at = _LONG_AGO

    def moment(self, at: datetime) -> tuple[datetime, int]:
        """A moment as the ledger takes it: never in a quarter of an hour that is over there.

        Another request may have begun a later period, and that cannot be undone: what comes later
        belongs to it too, in the ledger and in the log.
        """
        at_ms = to_ms(at)
        quarter = at_ms // _QUARTER_MS
        if quarter < self._quarter:
            at_ms = self._quarter * _QUARTER_MS
            return from_ms(at_ms), at_ms
        self._quarter = quarter
        if at_ms > self._latest_ms:
            self._latest_ms = at_ms
        return at, at_ms

    def now_ms(self, clock_ms: int) -> int:
        """The time to read accounts at: the clock's, or a later one that a request came from."""
        return max(clock_ms, self._latest_ms)

    # Making

    def attempt(
        self,
        spender: Spender,
        calls: Sequence[tuple[str, int]],
        request_id: str,
        at: datetime,
        *,
        force: bool,
    ) -> Reservation | Future[None]:
        """Holds the worst case of some calls, or says what to wait for.

        Raises:
            BudgetExceededError: it does not fit, or no limit applies.
            InvalidRequestError: an amount is no amount.
            StoreError: the store cannot be written.
        """
        force = force or not self._enforces
        blind = False
        if self._writer is not None:
            wait = self._writer.admit(must=not force)
            if wait is not None:
                return wait
            blind = self._writer.failing
        books = self._books
        while True:
            at, at_ms = self.moment(at)
            if at_ms >= self._sweep_at:
                self.sweep(at_ms)
            if self._dropped:
                self.drain()
            models = tuple([model for model, _ in calls]) if books.models_matter else ()
            route = books.route(spender, models, at_ms, partial=blind)
            if type(route) is not Route:
                assert self._writer is not None  # noqa: S101 - for mypy: nothing else is missing
                return self._writer.load(route.scopes, sum(amount for _, amount in calls))
            if self._writer is not None and not blind and route.stale(at_ms):
                return self._writer.grant(route.needs(route.amounts(calls)), forced=force)
            hold = Hold(next(self._serials), route, calls, request_id, at, at_ms, books.version)
            if route.handles:
                ledger = books.ledger
                amount = route.amounts(calls)
                made = ledger.reserve(route.handles, amount, at_ms, hold.deadline_ms)
                if type(made) is not int:
                    again = partial(ledger.reserve, route.handles, amount, at_ms, hold.deadline_ms)
                    made = self._insist(hold, made, amount, again, force=force, blind=blind)
                    if made is STALE:
                        continue
                    if type(made) is not int:
                        return cast("Future[None]", made)
                hold.place = (ledger, made, route)
                if self._quarter != at_ms // _QUARTER_MS:
                    # In which period it was booked cannot be told any more: once again.
                    ledger.release(made, at_ms)
                    continue
            elif not force:
                raise nothing_applies(route.spender, hold.held)
            self._open[hold.serial] = hold
            return Reservation(self, hold)

    def _insist(
        self,
        hold: Hold,
        refusal: Any,
        amount: int | list[int],
        again: Callable[..., Any],
        *,
        force: bool,
        blind: bool,
    ) -> Any:
        """What follows a refusal: an error, a wait, or another try.

        Returns:
            What the ledger gave in the end; a `Future` to wait for first; `STALE` when an account
            was dropped meanwhile and the route must be found again.

        Raises:
            BudgetExceededError: it does not fit, and is not forced.
        """
        books, route = self._books, hold.route
        forced = False
        while type(refusal) is not int and refusal is not None:
            if refusal.kind == "stale":
                books.forget(refusal.scope)
                return STALE
            account = route.account(refusal.scope)
            window = refusal.standing
            if refusal.kind == "limit" and window is not None:
                if not force:
                    books.note(account, window, "refused", hold.at_ms)
                    raise does_not_fit(account.scope, window, refusal.requested)
                books.note(account, window, "over_limit", hold.at_ms)
                forced = hold.over_limit = True
            elif blind:
                books.free(route)
            else:
                assert self._writer is not None  # noqa: S101 - for mypy: only a store grants
                return self._writer.grant(route.needs(amount), forced=force)
            refusal = again(force=forced)
        return refusal

    # Under way

    def attempt_extend(
        self, hold: Hold, calls: Sequence[tuple[str, int]], *, force: bool
    ) -> bool | Future[None]:
        """Holds more under the same hold, all or nothing, or says what to wait for."""
        force = force or not self._enforces
        blind = False
        if self._writer is not None:
            wait = self._writer.admit(must=not force)
            if wait is not None:
                return wait
            blind = self._writer.failing
        if self._dropped:
            self.drain()
        place = hold.place
        if hold.serial not in self._open:
            return False
        if any(amount < 0 for _, amount in calls):
            raise InvalidRequestError("an extension needs amounts of 0 or more nanodollars")
        if place is None:
            hold.add(calls)
            return True
        beside = self._hold_beside(hold, calls, force=force, blind=blind)
        if not isinstance(beside, list):
            return beside
        ledger, hold_id, route = place
        amount = route.amounts(calls)
        done: Any = False
        try:
            extend = partial(ledger.extend, hold_id, amount, hold.at_ms)
            done = extend()
            if done is not None:
                done = self._insist(hold, done, amount, extend, force=force, blind=blind)
        except BudgetExceededError:
            done = False
        except InvalidRequestError:
            if hold.serial in self._open:
                raise
            done = False  # it was ended meanwhile
        if done is not None:
            for other in beside:
                ledger.release(other[0], hold.at_ms)
            return False if done is STALE else cast("bool | Future[None]", done)
        hold.beside += beside
        hold.add(calls)
        return True

    def _hold_beside(
        self, hold: Hold, calls: Sequence[tuple[str, int]], *, force: bool, blind: bool
    ) -> list[tuple[int, Account]] | bool | Future[None]:
        """Holds on the accounts of models that the reservation was not made for."""
        books = self._books
        if not books.models_matter:
            return []
        known = {account.scope for account in hold.accounts}
        known |= {account.scope for _, account in hold.beside}
        models = tuple(dict.fromkeys(model for model, _ in calls))
        route = books.route(hold.route.spender, models, hold.at_ms, partial=blind)
        if type(route) is not Route:
            assert self._writer is not None  # noqa: S101 - for mypy: nothing else is missing
            return self._writer.load(route.scopes, sum(amount for _, amount in calls))
        made: list[tuple[int, Account]] = []
        ledger = books.ledger
        for account in route.accounts:
            if account.scope.kind != "model" or account.scope in known:
                continue
            alone = Route(route.spender, (account,))
            amount = alone.amounts(calls)
            shadow = Hold(0, alone, calls, hold.request_id, hold.at, hold.at_ms, 0)
            reserve = partial(ledger.reserve, alone.handles, amount, hold.at_ms, hold.deadline_ms)
            try:
                held: Any = reserve()
                if type(held) is not int:
                    held = self._insist(shadow, held, amount, reserve, force=force, blind=blind)
            except BudgetExceededError:
                held = False
            if type(held) is not int:
                for other, _ in made:
                    ledger.release(other, hold.at_ms)
                return False if held is STALE else cast("bool | Future[None]", held)
            hold.over_limit = hold.over_limit or shadow.over_limit
            made.append((held, account))
        return made

    def renew(self, hold: Hold) -> bool:
        """Puts a hold's deadlines off; `False` when it has ended."""
        if hold.serial not in self._open:
            return False
        now_ms = max(self._latest_ms, hold.at_ms)
        hold.live_until_ms = now_ms + LIVE_MS
        return self._renew(hold, now_ms)

    @staticmethod
    def _renew(hold: Hold, now_ms: int) -> bool:
        hold.deadline_ms = now_ms + HOLD_MS
        if hold.place is None:
            return True
        ledger, hold_id, _ = hold.place
        try:
            renewed = ledger.renew(hold_id, hold.deadline_ms)
            for other, _ in hold.beside:
                ledger.renew(other, hold.deadline_ms)
        except InvalidRequestError:
            return False  # it was ended meanwhile
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
                evicted = self._books.evict(now_ms)
                if evicted and self._writer is not None:
                    self._writer.report(evicted)
        finally:
            self._sweeping.release()

    def _expire(self, hold: Hold) -> None:
        with self._late_lock:
            if self._open.pop(hold.serial, None) is None:
                return
            hold.late = self._charges.book(hold, unconfirmed(hold), EMPTY)
        self._after(hold)

    def begin_anew(self, now_ms: int) -> None:
        """Forgets what was spent; what is held stays held, on a ledger of its own."""
        books = self._books
        with books.lock:
            books.renew()
            for hold in list(self._open.values()):
                models = tuple(dict.fromkeys(model for model, _ in hold.calls))
                route = books.route(hold.route.spender, models, now_ms, partial=True)
                assert type(route) is Route  # noqa: S101 - for mypy: a partial one never waits
                hold.beside = []
                if not route.handles:
                    hold.place = None
                    continue
                amount = route.amounts(hold.calls)
                ledger = books.ledger
                made = ledger.reserve(route.handles, amount, now_ms, now_ms + HOLD_MS, force=True)
                assert isinstance(made, int)  # noqa: S101 - for mypy: forced, without a store
                hold.place = (ledger, made, route)
                if hold.serial not in self._open:  # it ended meanwhile, on the old ledger
                    ledger.release(made, now_ms)

    # Counting what was spent elsewhere

    def record(
        self,
        charge: Charge,
        spender: Spender,
        *,
        at: datetime,
        given: datetime | None,
        request_id: str,
        tokens: int,
        metadata: Mapping[str, object],
    ) -> Standing:
        """Books one charge, over any limit; see `CostTracker.record`.

        Args:
            charge: what was spent.
            spender: by whom.
            at: now.
            given: when it was spent, where the caller says so.
            request_id: of which request.
            tokens: input and output together.
            metadata: what to keep with it.
        """
        now, now_ms = self.moment(at)
        if self._dropped:
            self.drain()
        event = self._charges.event(
            charge, spender, at=given or now, logged_at=at, request_id=request_id, metadata=metadata
        )
        writer, books = self._writer, self._books
        if writer is not None:
            writer.admit(must=False)
        scopes = scopes_of(spender, (charge.model,))
        amounts = [(scope, charge.nanodollars or 0) for scope in scopes]
        with books.lock:
            # Logged and booked at one moment: a scope that is being opened counts it once.
            if writer is not None:
                writer.put([event])
            books.book(amounts, now_ms)
            touched = [books.accounts[scope] for scope, _ in amounts if scope in books.accounts]
        standing = self._charges.count([event], tokens=tokens)
        books.crossings(touched, now_ms)
        return standing

    # Ending

    def is_open(self, hold: Hold) -> bool:
        """Whether it has not ended."""
        return hold.serial in self._open

    def standings(self, hold: Hold) -> tuple[AccountStanding, ...]:
        """How the accounts that it touches stand now."""
        return self._books.standings(hold.accounts, max(self._latest_ms, hold.at_ms))

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
            self._end(hold, unconfirmed(hold), hold.held, EMPTY)

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
        return self._end(hold, charges, total, metadata)

    def _end(
        self,
        hold: Hold,
        charges: Sequence[Charge],
        total: int,
        metadata: Mapping[str, object],
    ) -> Outcome:
        self._settle_in_ledger(hold, charges, total)
        self._charges.book(hold, charges, metadata)
        crossed = self._after(hold, charges)
        overrun = total - hold.held
        outcome = Outcome(total, overrun if overrun > 0 else 0, crossed, self, hold)
        hold.outcome = outcome
        return outcome

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
        for other, account in hold.beside:
            model = account.scope.name
            part = sum(c.nanodollars or 0 for c in charges if c.model == model)
            ledger.settle(other, part, now_ms)
        return done.outcome != "already"

    def _after(self, hold: Hold, charges: Sequence[Charge] = ()) -> tuple[Crossing, ...]:
        """Books on accounts that came after the hold, and gives the thresholds reached."""
        books = self._books
        if books.models_matter or books.pending or books.version != hold.version:
            self._book_missing(hold, charges)
        if hold.place is None:
            return ()
        return books.crossings(hold.place[2].accounts, hold.at_ms)

    def _book_missing(self, hold: Hold, charges: Sequence[Charge]) -> None:
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
            late, hold.late = hold.late, ()
        if late:
            try:
                corrected = self._settle_in_ledger(hold, charges, total)
            except InvalidRequestError:
                corrected = False  # long over
            if corrected:
                self._charges.correct(hold, late, charges, metadata)
                crossed = self._after(hold)
                hold.outcome = Outcome(total, max(0, total - hold.held), crossed, self, hold)
                return hold.outcome
        before = hold.outcome
        if before is not None:
            return Outcome(before.booked, before.overrun, (), self, hold)
        return Outcome(hold.held, 0, (), self, hold)


def unconfirmed(hold: Hold) -> list[Charge]:
    """A hold's calls, each booked at what was held for it."""
    return [
        # Where nothing was held, nothing is known: that is not zero.
        Charge(model=model, nanodollars=amount or None, confirmed=False, held=amount)
        for model, amount in hold.calls
    ]
