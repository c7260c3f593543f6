"""Makes holds, without waiting.

Where a store must be asked first, an attempt gives the `Future` to wait for, and is made again
afterwards.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from cascadeflow.budgets.accounts import scopes_of
from cascadeflow.budgets.books import Opening, Route
from cascadeflow.budgets.holds import QUARTER_MS, Holds
from cascadeflow.budgets.refusals import does_not_fit, nothing_applies
from cascadeflow.budgets.reservation import HOLD_MS, Hold, Reservation
from cascadeflow.errors import BudgetExceededError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from cascadeflow._native import Ledger
    from cascadeflow.budgets.books import Account
    from cascadeflow.budgets.history import TotalState
    from cascadeflow.budgets.records import Charge, Spender

__all__ = ["Desk"]

STALE: Final = object()
"""An account was dropped as idle between two steps: its route must be found again."""


class Desk(Holds):
    """Makes reservations."""

    def attempt(
        self,
        spender: Spender,
        calls: Sequence[tuple[str, int]],
        request_id: str,
        at: datetime,
        *,
        force: bool,
        tentative: bool = False,
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
            if isinstance(route, Opening):
                return self._load(route, calls)
            hold = Hold(next(self._serials), route, calls, request_id, at=at, at_ms=at_ms)
            hold.version = books.version
            hold.tentative = tentative
            if not (force or route.covered()):
                raise nothing_applies(route.spender, hold.held)
            if route.handles:
                placed = self._place(hold, route, force=force, blind=blind)
                if placed is STALE:
                    continue
                if placed is not None:
                    return cast("Future[None]", placed)
                if hold.place is not None and self._quarter != at_ms // QUARTER_MS:
                    # In which period it was booked cannot be told any more: once again.
                    hold.place[0].release(hold.place[1], at_ms)
                    continue
            self._open[hold.serial] = hold
            return Reservation(self, hold)

    def _place(self, hold: Hold, route: Route, *, force: bool, blind: bool) -> object:
        """Holds in the ledger; gives `None`, `STALE`, or the `Future` to wait for."""
        amount = route.amounts(hold.calls)
        if self._writer is not None and not blind and route.stale(hold.at_ms):
            return self._writer.grant(route.needs(amount), forced=False)
        ledger = self._books.ledger
        made: Any = ledger.reserve(route.handles, amount, hold.at_ms, hold.deadline_ms)
        if type(made) is not int:
            again = partial(ledger.reserve, route.handles, amount, hold.at_ms, hold.deadline_ms)
            made = self._insist(hold, made, amount, again, force=force, blind=blind)
            if type(made) is not int:
                return made
        hold.place = (ledger, made, route)
        return None

    def _load(self, opening: Opening, calls: Sequence[tuple[str, int]]) -> Future[None]:
        assert self._writer is not None  # noqa: S101 - for mypy: only a store makes one wait
        return self._writer.load(opening.scopes, sum(amount for _, amount in calls))

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
            was dropped meanwhile.

        Raises:
            BudgetExceededError: it does not fit, and is not forced.
        """
        books, route = self._books, hold.route
        forced = False
        while type(refusal) is not int and refusal is not None:
            if refusal.kind == "stale":
                books.forget(refusal.scope)
                return STALE
            if refusal.kind == "limit":
                account, window = route.account(refusal.scope), refusal.standing
                if not force:
                    error = does_not_fit(account.scope, window, refusal.requested)
                    error.__dict__["_refused_by"] = (account, window, hold.at_ms)
                    if not hold.tentative:
                        self.announce(error)
                    raise error
                books.note(account, window, "over_limit", hold.at_ms)
                if self._writer is not None and not blind and route.ungranted(amount):
                    # What is forced needs no grant, but a crash should not forget it.
                    return self._writer.grant(route.needs(amount), forced=True)
                forced = hold.over_limit = True
            elif blind:
                books.free(route)
            else:
                assert self._writer is not None  # noqa: S101 - for mypy: only a store grants
                return self._writer.grant(route.needs(amount), forced=False)
            refusal = again(force=forced)
        return refusal

    def announce(self, error: BudgetExceededError) -> None:
        """Alerts of a refusal, once an account and period; see `CostTracker.announce`."""
        refused_by = error.__dict__.get("_refused_by")
        if refused_by is not None:
            account, window, at_ms = refused_by
            self._books.note(account, window, "refused", at_ms)

    # Under way

    def attempt_extend(
        self, hold: Hold, calls: Sequence[tuple[str, int]], *, force: bool
    ) -> bool | Future[None]:
        """Holds more under the same hold, all or nothing, or says what to wait for."""
        if any(amount < 0 for _, amount in calls):
            raise InvalidRequestError("an extension needs amounts of 0 or more nanodollars")
        if hold.serial not in self._open:
            return False
        force = force or not self._enforces
        blind = False
        if self._writer is not None:
            wait = self._writer.admit(must=not force)
            if wait is not None:
                return wait
            blind = self._writer.failing
        if self._dropped:
            self.drain()
        at, at_ms = self.moment(self._charges.now())
        last = hold.chain[-1]
        if last.place is None:
            last.add(calls)
            return True
        if at_ms // QUARTER_MS != last.at_ms // QUARTER_MS:
            return self._hold_later(hold, calls, at=at, at_ms=at_ms, force=force, blind=blind)
        done = self._hold_more(last, last.place, calls, at_ms, force=force, blind=blind)
        hold.over_limit = hold.over_limit or last.over_limit
        return done

    def _hold_more(
        self,
        hold: Hold,
        place: tuple[Ledger, int, Route],
        calls: Sequence[tuple[str, int]],
        at_ms: int,
        *,
        force: bool,
        blind: bool,
    ) -> bool | Future[None]:
        """Holds an extension in the periods that it was begun in."""
        beside = self._hold_beside(hold, calls, force=force, blind=blind)
        if not isinstance(beside, list):
            return beside
        done = self._stretch(hold, place, calls, at_ms, force=force, blind=blind)
        if done is True:
            hold.beside += beside
            hold.add(calls)
        else:
            for other, _ in beside:
                place[0].release(other, hold.at_ms)
            self._tell_of_return([account for _, account in beside])
        return done

    def _hold_later(
        self,
        hold: Hold,
        calls: Sequence[tuple[str, int]],
        *,
        at: datetime,
        at_ms: int,
        force: bool,
        blind: bool,
    ) -> bool | Future[None]:
        """Holds an extension in the periods that it is asked for in, which are later ones."""
        books = self._books
        models = tuple([model for model, _ in calls]) if books.models_matter else ()
        route = books.route(hold.route.spender, models, at_ms, partial=blind)
        if isinstance(route, Opening):
            return self._load(route, calls)
        later = Hold(hold.serial, route, calls, hold.request_id, at=at, at_ms=at_ms)
        later.version, later.strict = books.version, hold.strict
        try:
            placed = self._place(later, route, force=force, blind=blind) if route.handles else None
        except BudgetExceededError:
            return False
        if placed is STALE:
            return self.attempt_extend(hold, calls, force=force)
        if placed is not None:
            return cast("Future[None]", placed)
        hold.more = (*hold.more, later)
        hold.over_limit = hold.over_limit or later.over_limit
        if self.renew(hold):
            return True
        if later.place is not None:  # it was ended meanwhile
            later.place[0].release(later.place[1], at_ms)
            self._tell_of_return(route.accounts)
        return False

    def _stretch(
        self,
        hold: Hold,
        place: tuple[Ledger, int, Route],
        calls: Sequence[tuple[str, int]],
        at_ms: int,
        *,
        force: bool,
        blind: bool,
    ) -> bool | Future[None]:
        ledger, hold_id, route = place
        amount = route.amounts(calls)
        if self._writer is not None and not blind and route.unread():
            return self._writer.grant(route.needs(amount), forced=force)
        extend = partial(ledger.extend, hold_id, amount, at_ms)
        try:
            done: Any = extend()
            if done is not None:
                done = self._insist(hold, done, amount, extend, force=force, blind=blind)
        except BudgetExceededError:
            return False
        except InvalidRequestError:
            if hold.serial in self._open:
                raise
            return False  # it was ended meanwhile
        if done is None:
            return True
        # An account with an open hold is never dropped, so it cannot be `STALE`.
        return cast("Future[None]", done)

    def _hold_beside(
        self, hold: Hold, calls: Sequence[tuple[str, int]], *, force: bool, blind: bool
    ) -> list[tuple[int, Account]] | bool | Future[None]:
        """Holds on the accounts of models that the reservation was not made for."""
        books = self._books
        if not books.models_matter:
            return []
        known = {account.scope for account in hold.accounts}
        models = tuple(dict.fromkeys(model for model, _ in calls))
        route = books.route(hold.route.spender, models, hold.at_ms, partial=blind)
        if isinstance(route, Opening):
            return self._load(route, calls)
        made: list[tuple[int, Account]] = []
        for account in route.accounts:
            if account.scope.kind != "model" or account.scope in known:
                continue
            own = Route(route.spender, (account,))
            alone = Hold(0, own, calls, "", at=hold.at, at_ms=hold.at_ms)
            try:
                placed = self._place(alone, own, force=force, blind=blind)
            except BudgetExceededError:
                placed = False
            if alone.place is None:
                for other, _ in made:
                    books.ledger.release(other, hold.at_ms)
                self._tell_of_return([account for _, account in made])
                if placed is STALE:
                    return self._hold_beside(hold, calls, force=force, blind=blind)
                return cast("bool | Future[None]", placed)
            hold.over_limit = hold.over_limit or alone.over_limit
            made.append((alone.place[1], account))
        return made

    def begin_anew(self, now_ms: int) -> None:
        """Forgets what was spent; what is held stays held, on a ledger of its own."""
        books = self._books
        with books.lock:
            books.renew()
            for hold in list(self._open.values()):
                for each in hold.chain:
                    self._hold_anew(each, now_ms)

    def _hold_anew(self, hold: Hold, now_ms: int) -> None:
        models = tuple(dict.fromkeys(model for model, _ in hold.calls))
        route = self._books.route(hold.route.spender, models, now_ms, partial=True)
        assert type(route) is Route  # noqa: S101 - for mypy: a partial one never waits
        hold.beside = []
        if not route.handles:
            hold.place = None
            return
        ledger = self._books.ledger
        amount = route.amounts(hold.calls)
        made = ledger.reserve(route.handles, amount, now_ms, now_ms + HOLD_MS, force=True)
        assert isinstance(made, int)  # noqa: S101 - for mypy: forced
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
    ) -> tuple[TotalState, ...]:
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
            # Booked and logged at one moment: a scope that is being opened counts it once.
            unread = books.book(amounts, now_ms)
            if writer is not None:
                writer.put([event])
            touched = [books.accounts[scope] for scope, _ in amounts if scope in books.accounts]
        if writer is not None and unread:
            writer.load(unread, 0)
        crossed = self._charges.count([event], tokens=tokens)
        books.crossings(touched, now_ms)
        return crossed
