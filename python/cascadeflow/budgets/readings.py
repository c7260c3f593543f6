"""What people ask a tracker: how accounts stand, what was logged; and what they change by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascadeflow.budgets.accounts import scopes_of
from cascadeflow.budgets.changes import as_scope, signed
from cascadeflow.budgets.records import Spender
from cascadeflow.budgets.summary import Summary
from cascadeflow.money import to_usd

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from cascadeflow.budgets.accounts import Budgets
    from cascadeflow.budgets.books import Books
    from cascadeflow.budgets.changes import Changes
    from cascadeflow.budgets.clerk import Clerk
    from cascadeflow.budgets.records import AccountStanding, LogEvent, Scope
    from cascadeflow.budgets.writer import Writer
    from cascadeflow.config import BudgetConfig
    from cascadeflow.money import Amount

__all__ = ["Readings"]


class Readings(Summary):
    """Reads accounts and the log, and changes budgets; a `CostTracker` is one."""

    _books: Books
    _budgets: Budgets
    _changes: Changes
    _desk: Clerk
    _lock: threading.Lock
    _writer: Writer | None

    @property
    def enforces(self) -> bool:
        """Whether what does not fit is refused."""
        raise NotImplementedError

    def _now_ms(self) -> int:
        raise NotImplementedError

    def accounts(self, scope: str | Scope | None = None) -> list[AccountStanding]:
        """How accounts stand, each in each of its periods.

        Args:
            scope: whose; without one, those of every scope that was given a budget by its name, and
                of every other that this process has used lately. With a store it may block.

        Raises:
            ConfigurationError: no such scope.
            StoreError: the store cannot be read.
        """
        self._catch_up()
        wanted = self._budgets.scopes if scope is None else [as_scope(scope)]
        for each in wanted:
            self._changes.opened(each)
        with self._books.lock:
            found = self._books.accounts
            chosen = (
                list(found.values()) if scope is None else [found[s] for s in wanted if s in found]
            )
        return list(self._books.standings(chosen, self._now_ms(), counted=True))

    def remaining(
        self,
        user_id: str | None = None,
        *,
        tier: str | None = None,
        team: str | None = None,
        key: str | None = None,
        tags: Sequence[str] = (),
        models: Sequence[str] = (),
    ) -> Decimal | None:
        """US dollars that one more request may cost at most; `None` when nothing limits it.

        With a store it may block. In a mode that enforces, 0 where no budget applies at all.

        Raises:
            StoreError: the store cannot be read.
        """
        self._catch_up()
        spender = Spender(user_id=user_id, tier=tier, team=team, key=key, tags=tuple(tags))
        accounts = [
            account
            for scope in scopes_of(spender, models)
            if (account := self._changes.opened(scope)) is not None
        ]
        if self.enforces and not any(account.applies for account in accounts):
            return to_usd(0)
        left = [s.remaining for s in self._books.standings(accounts, self._now_ms())]
        least = min((amount for amount in left if amount is not None), default=None)
        return None if least is None else to_usd(least)

    def events(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[LogEvent]:
        """The log, oldest first: all of it with a store, else the latest `keep` events.

        Args:
            since: from when on, by the time a request began; from the beginning without it.
            until: up to when, that moment excluded.

        Raises:
            StoreError: the store cannot be read.
        """
        self._catch_up()
        if self._writer is not None:
            return self._writer.events(since=since, until=until)
        return [
            event
            for event in self._history.events()
            if (since is None or event.at >= since) and (until is None or event.at < until)
        ]

    # Changing by hand

    def set_budget(
        self,
        scope: str | Scope,
        config: BudgetConfig | Amount | None,
        *,
        actor: str,
        reason: str,
    ) -> None:
        """Gives a scope another budget, at once, also to requests under way.

        It holds over the configured one, with a store after a restart too. Only amounts are
        changed: time zone and thresholds stay those of the configured budget. Without a store, a
        period that had no limit is counted from now; with one, too, until it is opened again. Where
        users are in tiers, theirs are counted from before, and a user's budget by hand holds
        whatever tier the user comes to be in.

        Args:
            scope: whose: `"global"`, `"user:u1"`, `"team:*"` …
            config: the new budget: periods that it does not name have no limit any more. `None`:
                no limit at all, said on purpose, so that requests are not refused for want of one.
            actor: who changes it.
            reason: why.

        Raises:
            ConfigurationError: no such scope, or the amount cannot be.
            InvalidRequestError: there is no actor or no reason.
            StoreError: it could not be written, and nothing changed.
        """
        with self._lock:
            self._changes.set_budget(scope, config, actor=actor, reason=reason)
        self._tell_of_return()

    def adjust(self, scope: str | Scope, amount: Amount, *, actor: str, reason: str) -> Decimal:
        """Books an amount on one scope by hand, in all its current periods.

        Args:
            scope: whose.
            amount: US dollars; negative to take off.
            actor: who does it.
            reason: why.

        Returns:
            What was booked: no period's spending falls below zero, so less may be taken off.

        Raises:
            ConfigurationError: no such scope.
            InvalidRequestError: the amount is not one; there is no actor or no reason.
            StoreError: it could not be written, and nothing changed.
        """
        with self._lock:
            nanodollars = signed(amount, "amount")
            event = self._changes.adjust(scope, nanodollars, actor=actor, reason=reason)
        self._tell_of_return()
        return to_usd(event.nanodollars or 0)

    def reset(
        self, *, actor: str = "reset()", reason: str = "everything spent is forgotten"
    ) -> None:
        """Forgets everything that was spent; warnings may be given again.

        What requests under way hold stays held. With a store nothing is deleted: what was spent is
        taken off every scope by an adjustment in the log, as `adjust` does, which in a scope of
        several periods takes off no more than its least spent period has.

        Args:
            actor: who does it.
            reason: why.

        Raises:
            StoreError: it could not be written.
        """
        self._catch_up()
        with self._lock:
            self._changes.reset(actor=actor, reason=reason)
        self._tell_of_return()

    def _tell_of_return(self) -> None:
        """Says to who waits for money that there may be more on any account."""
        if self._desk.on_return is not None:
            self._desk.on_return(None)
