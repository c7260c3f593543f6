"""What the books remember of an open account, and which accounts a request is counted on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, final

from cascadeflow.errors import InvalidRequestError
from cascadeflow.money import MAX_NANODOLLARS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cascadeflow._native import Ledger, Window
    from cascadeflow.budgets.accounts import Limit, Rules
    from cascadeflow.budgets.records import Scope, Spender

__all__ = ["Account", "Opening", "Route", "from_ms", "to_ms"]

_Reports = tuple[dict[str, tuple[int, int]], dict[tuple[str, str], int]]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


@lru_cache(maxsize=1024)
def from_ms(moment: int) -> datetime:
    """Unix milliseconds as a moment in UTC; the ends of periods come again and again."""
    return _EPOCH + moment * _MILLISECOND


def to_ms(moment: datetime) -> int:
    """A moment as Unix milliseconds, rounded down.

    Raises:
        InvalidRequestError: it has no time zone.
    """
    try:
        return (moment - _EPOCH) // _MILLISECOND
    except TypeError:
        raise InvalidRequestError("a budget needs times with a time zone, such as UTC") from None


class Account:
    """A scope that is open in the ledger."""

    __slots__ = (
        "applies",
        "fresh_until_ms",
        "granted",
        "handle",
        "ledger",
        "limits",
        "mark",
        "mark_ms",
        "next_check",
        "noted",
        "opened_at",
        "past",
        "reached",
        "scope",
        "unread",
        "wished",
    )

    def __init__(
        self,
        scope: Scope,
        ledger: Ledger,
        handle: int,
        rules: Rules,
        *,
        opened_at: tuple[int, int],
    ) -> None:
        self.scope = scope
        self.ledger = ledger
        self.handle = handle
        self.limits, self.applies = rules
        self.opened_at = opened_at
        """When it was opened, Unix milliseconds, and what it had spent in its life by then."""
        self.next_check = 0
        """No threshold can be reached before the scope has settled so much in its life."""
        self.reached: dict[str, tuple[int, int]] = {}
        """By period: which instance, and how many thresholds were reported in it."""
        self.noted: dict[tuple[str, str], int] = {}
        """By period and what happened: in which instance it was reported."""
        self.past: dict[tuple[Limit, ...], _Reports] = {}
        """What was reported of limits that a change of tier took away, should they come back."""
        # With a store; see `vault`.
        self.unread: tuple[Window, ...] = ()
        """Windows whose spending is to be read before it is spent from again."""
        self.granted = 0
        self.fresh_until_ms = MAX_NANODOLLARS
        self.mark_ms = self.mark = 0
        self.wished = 0

    def life(self) -> int | None:
        """What it has spent and holds in its life; `None` when it was dropped as idle."""
        try:
            return sum(self.ledger.total(self.handle))
        except InvalidRequestError:
            return None


@final
class Opening:
    """What is to be read from a store before a request can be taken on."""

    __slots__ = ("scopes",)

    def __init__(self, scopes: Sequence[Scope]) -> None:
        self.scopes = scopes


@final
class Route:
    """The accounts that one spender's calls of some models are counted on."""

    __slots__ = ("accounts", "handles", "parts", "spender", "whole")

    def __init__(self, spender: Spender, accounts: tuple[Account, ...]) -> None:
        self.spender = spender
        self.accounts = accounts
        self.handles = [account.handle for account in accounts]
        self.parts = [
            account.scope.name if account.scope.kind == "model" else None for account in accounts
        ]
        self.whole = not any(self.parts)
        """Whether every account is counted the whole request, not one model's part."""

    def covered(self) -> bool:
        """Whether any budget applies, be it one without a limit."""
        for account in self.accounts:  # noqa: SIM110 - on every request's path
            if account.applies:
                return True
        return False

    def amounts(self, calls: Iterable[tuple[str, int]]) -> int | list[int]:
        """What each account is counted of these calls."""
        if self.whole:
            total = 0
            for _, amount in calls:
                total += amount
            return total
        total, by_model = 0, dict[str, int]()
        for model, amount in calls:
            total += amount
            by_model[model] = by_model.get(model, 0) + amount
        return [total if part is None else by_model.get(part, 0) for part in self.parts]

    def account(self, handle: int) -> Account:
        """The account with this handle."""
        return self.accounts[self.handles.index(handle)]

    def stale(self, now_ms: int) -> bool:
        """Whether a grant must be written anew before it is spent in a new period."""
        return any(now_ms >= account.fresh_until_ms for account in self.accounts)

    def unread(self) -> bool:
        """Whether windows that came late are to be read from the store first."""
        return any(account.unread for account in self.accounts)

    def ungranted(self, amount: int | list[int]) -> bool:
        """Whether so much more is not written down yet."""
        return any(
            (account.life() or 0) + more > account.granted for account, more in self.needs(amount)
        )

    def needs(self, amount: int | list[int]) -> list[tuple[Account, int]]:
        """What a request needs of each account's grant."""
        amounts = [amount] * len(self.accounts) if isinstance(amount, int) else amount
        return list(zip(self.accounts, amounts, strict=True))
