"""What people change by hand: limits, adjustments, resets. Each is an event with actor and reason.

With a store, a change is on disk before it takes effect. It takes effect while requests are under
way: what they hold stays held, and is settled on accounts that came later too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from cascadeflow.budgets.accounts import GLOBAL, parse_scope, read_budget
from cascadeflow.budgets.records import ManualEvent, Scope
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.money import from_usd
from cascadeflow.types import PeriodKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.budgets.accounts import Budgets
    from cascadeflow.budgets.books import Account, Books
    from cascadeflow.budgets.charges import ChargeBook
    from cascadeflow.budgets.desk import Desk
    from cascadeflow.budgets.history import History
    from cascadeflow.budgets.writer import Writer
    from cascadeflow.clock import Clock
    from cascadeflow.money import Amount

__all__ = ["Changes"]

_DEFAULTS = BudgetConfig(total=0)
_SETTINGS = ("timezone", "rolling_hours", "warn_at", "degrade_at")


class Changes:
    """Changes budgets and spending by hand."""

    def __init__(
        self,
        budgets: Budgets,
        books: Books,
        desk: Desk,
        *,
        history: History,
        charges: ChargeBook,
        writer: Writer | None,
        clock: Clock,
    ) -> None:
        self._budgets = budgets
        self._books = books
        self._desk = desk
        self._history = history
        self._charges = charges
        self._writer = writer
        self._clock = clock

    def set_budget(
        self,
        scope: str | Scope,
        config: BudgetConfig | Amount | None,
        *,
        actor: str,
        reason: str,
    ) -> list[ManualEvent]:
        """Sets every limit of a scope; see `CostTracker.set_budget`."""
        found = as_scope(scope)
        who, why = said(actor, "actor"), said(reason, "reason")
        if self._writer is not None and found.name != "*":
            # What the new limits are the first to reach is seen on an account that is open: one
            # that is opened afterwards counts as reported. So it must not be dropped meanwhile.
            self._writer.flush().result()
            self.opened(found)
        old = self._budgets.amounts(found)
        new: dict[PeriodKind, int | None] = dict.fromkeys(old)
        if self._budgets.tiered and found.kind == "user" and found.name != "*":
            # The whole budget, whatever periods the tiers have that the user comes to be in.
            new = dict.fromkeys(get_args(PeriodKind))
        if config is None:
            new = new or {"total": None}
        else:
            given = read_budget(config, "set_budget")
            self._check_settings(found, given)
            new |= dict(given.limits)
        _, now_ms = self._desk.moment(self._clock.now())
        events = [
            self._event(
                "limit",
                found,
                period,
                nanodollars=amount,
                previous=old.get(period),
                actor=who,
                reason=why,
            )
            for period, amount in new.items()
            if period not in old or old[period] != amount
        ]
        self._write(events)
        self._budgets.set_by_hand(found, new)
        changed = self._books.set_limits(now_ms)
        self._books.crossings(changed, now_ms)
        return events

    def _check_settings(self, scope: Scope, given: BudgetConfig) -> None:
        """Only amounts are set by hand: the log keeps no more."""
        holds = self._budgets.config(scope) or _DEFAULTS
        for name in _SETTINGS:
            value = getattr(given, name)
            if value not in {getattr(_DEFAULTS, name), getattr(holds, name)}:
                raise ConfigurationError(
                    f"set_budget changes amounts; {name} of {scope} stays "
                    f"{getattr(holds, name)!r}: give it where the CostTracker is made"
                )

    def adjust(
        self, scope: str | Scope, nanodollars: int, *, actor: str, reason: str
    ) -> ManualEvent:
        """Books an amount on one scope by hand; see `CostTracker.adjust`."""
        found = as_scope(scope)
        who, why = said(actor, "actor"), said(reason, "reason")
        account = self.opened(found)
        return self._adjust(found, account, nanodollars, "adjust", actor=who, reason=why)

    def _adjust(
        self,
        scope: Scope,
        account: Account | None,
        nanodollars: int,
        kind: Literal["adjust", "reset"],
        *,
        actor: str,
        reason: str,
    ) -> ManualEvent:
        _, now_ms = self._desk.moment(self._clock.now())
        previous: int | None = self._history.spent if scope == GLOBAL else None
        booked = nanodollars
        if account is not None:
            previous = account.ledger.total(account.handle)[0]
            booked = self._books.adjust(account, nanodollars, now_ms)
        elif scope == GLOBAL:
            booked = max(nanodollars, -self._history.spent)
        event = self._event(
            kind,
            scope,
            None,
            nanodollars=booked,
            previous=previous,
            actor=actor,
            reason=reason,
        )
        try:
            self._write([event])
        except BaseException:
            if account is not None:
                self._books.adjust(account, -booked, now_ms)
            raise
        if scope == GLOBAL:
            self._history.adjust(booked, self._charges.total_limit())
        if account is not None:
            self._books.crossings([account], now_ms)
        return event

    def reset(self, *, actor: str, reason: str) -> list[ManualEvent]:
        """Takes off what was spent, of every scope; see `CostTracker.reset`."""
        who, why = said(actor, "actor"), said(reason, "reason")
        if self._writer is None:
            now_ms = self._desk.moment(self._clock.now())[1]
            self._desk.begin_anew(now_ms)
            self._history.clear()
            return []
        events = []
        for record in self._writer.records():
            if record.spent <= 0:
                continue
            account = self.opened(record.scope)
            event = self._adjust(
                record.scope, account, -record.spent, "reset", actor=who, reason=why
            )
            events.append(event)
        self._history.clear()
        return events

    def opened(self, scope: Scope) -> Account | None:
        """The account of a scope, opened if it has a limit; `None` when it has none."""
        limits = self._budgets.limits(scope)
        if not limits:
            return None
        if self._writer is None:
            with self._books.lock:
                account = self._books.accounts.get(scope)
                if account is None:
                    now_ms = self._desk.moment(self._clock.now())[1]
                    account = self._books.open(scope, limits, now_ms)
                return account
        if scope not in self._books.accounts:
            self._writer.load([scope], 0).result()
        account = self._books.accounts.get(scope)
        if account is not None and account.unread:
            self._writer.read_late([account]).result()
        return account

    def _event(
        self,
        kind: Literal["limit", "adjust", "reset"],
        scope: Scope,
        period: PeriodKind | None,
        *,
        nanodollars: int | None,
        previous: int | None,
        actor: str,
        reason: str,
    ) -> ManualEvent:
        return ManualEvent(
            event_id=self._charges.event_id(),
            at=self._desk.moment(self._clock.now())[0],
            kind=kind,
            scope=scope,
            period=period,
            nanodollars=nanodollars,
            previous=previous,
            actor=actor,
            reason=reason,
        )

    def _write(self, events: Sequence[ManualEvent]) -> None:
        if self._writer is not None:
            self._writer.append(events)
        for event in events:
            self._history.note(event)


def as_scope(scope: str | Scope) -> Scope:
    """A scope as it may be given."""
    return scope if isinstance(scope, Scope) else parse_scope(scope)


def said(text: str, what: str) -> str:
    """What the audit needs to be told.

    Raises:
        InvalidRequestError: it is empty.
    """
    if not text.strip():
        raise InvalidRequestError(f"a change by hand needs {what}=: who did it, and why")
    return text


def signed(amount: Amount, what: str) -> int:
    """Dollars that may be negative, as nanodollars; rounded away from zero.

    Raises:
        InvalidRequestError: it is not a number, infinite or too large.
    """
    text = str(amount).strip()
    if text.startswith("-"):
        return -from_usd(text[1:], what=what)
    return from_usd(amount, what=what)
