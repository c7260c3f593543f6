"""Money held for one request, and what became of it.

A hold ends exactly once: settled, released, dropped (nobody refers to its `Reservation` any more)
or expired. The last two are booked at what was held, as unconfirmed charges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from cascadeflow.errors import InvalidRequestError
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cascadeflow._native import Ledger
    from cascadeflow.budgets.books import Account, Route
    from cascadeflow.budgets.records import (
        AccountStanding,
        BudgetState,
        Charge,
        Spender,
        UsageEvent,
    )

__all__ = ["Hold", "Outcome", "Reservation"]


class Outcome:
    """What became of a reservation; nanodollars.

    Attributes:
        booked: what its charges came to, as far as they are known.
        overrun: by how much that is more than was held.
        crossed: the thresholds that this was the first to reach in their period, with the account:
            each is reported once, by whichever reservation reached it.
    """

    __slots__ = ("_books", "_hold", "_standings", "booked", "crossed", "overrun")

    def __init__(
        self,
        booked: int,
        overrun: int,
        crossed: tuple[tuple[AccountStanding, BudgetState], ...],
        books: Bookkeeper,
        hold: Hold,
    ) -> None:
        self.booked = booked
        self.overrun = overrun
        self.crossed = crossed
        self._books = books
        self._hold = hold
        self._standings: tuple[AccountStanding, ...] | None = None

    @property
    def standings(self) -> tuple[AccountStanding, ...]:
        """How the accounts stood when this was first asked for."""
        if self._standings is None:
            self._standings = self._books.standings(self._hold)
        return self._standings

    def __repr__(self) -> str:
        return f"Outcome(booked={self.booked}, overrun={self.overrun}, crossed={self.crossed})"


class Hold:
    """What a tracker knows of one reservation. It outlives the `Reservation` that a caller has."""

    __slots__ = (
        "at",
        "at_ms",
        "beside",
        "calls",
        "deadline_ms",
        "held",
        "late",
        "live_until_ms",
        "more",
        "outcome",
        "over_limit",
        "place",
        "request_id",
        "route",
        "serial",
        "strict",
        "tentative",
        "version",
    )

    def __init__(
        self,
        serial: int,
        route: Route,
        calls: Sequence[tuple[str, int]],
        request_id: str,
        *,
        at: datetime,
        at_ms: int,
    ) -> None:
        held = 0
        for _, amount in calls:
            if amount < 0:
                raise InvalidRequestError(f"a call cannot be held at {amount} nanodollars")
            held += amount
        self.serial = serial
        self.route = route
        self.calls = calls
        self.held = held
        self.request_id = request_id
        self.at = at
        self.at_ms = at_ms
        self.version = 0
        """Which limits held when it was made."""
        self.deadline_ms = at_ms + HOLD_MS
        self.live_until_ms = at_ms + LIVE_MS
        self.over_limit = False
        self.strict = False
        """Whether it is on disk, and its end is to be written too."""
        self.tentative = False
        """Whether a refusal is not the last word, and alerts nobody yet."""
        self.place: tuple[Ledger, int, Route] | None = None
        """Where it is held: the ledger, the id it has there, and the accounts; `None` when none of
        them has a limit."""
        self.beside: list[tuple[int, Account]] = []
        """Holds on the accounts of models that came later, by the ledger's ids."""
        self.late: tuple[UsageEvent, ...] = ()
        """What it was booked at when it expired: one late settlement may correct it."""
        self.more: tuple[Hold, ...] = ()
        """Extensions that came in a later quarter of an hour: they belong to its periods."""
        self.outcome: Outcome | None = None

    @property
    def chain(self) -> tuple[Hold, ...]:
        """Itself and what came later."""
        return (self, *self.more)

    @property
    def accounts(self) -> tuple[Account, ...]:
        """The accounts that it is held on from the beginning."""
        return self.route.accounts if self.place is None else self.place[2].accounts

    def add(self, calls: Sequence[tuple[str, int]]) -> None:
        """Notes an extension."""
        self.calls = [*self.calls, *calls]
        self.held += sum(amount for _, amount in calls)


HOLD_MS: Final = 600_000
"""A hold's deadline: ten minutes, put off again and again while its reservation lives."""

LIVE_MS: Final = 86_400_000
"""A reservation that nobody ended or renewed for a day counts as forgotten."""


class Reservation:
    """Money held for one request: `settle` it, `release` it, or drop it.

    Whoever drops it without a word (an exception, a cancelled task) has it booked in full, as
    unconfirmed charges: nobody can know that less was spent.

    Attributes:
        request_id: this package's id of the request.
        over_limit: whether it did not fit a budget and was held all the same (`warn` mode).
    """

    __slots__ = ("__weakref__", "_books", "_hold")

    def __init__(self, books: Bookkeeper, hold: Hold) -> None:
        self._books = books
        self._hold = hold

    @property
    def request_id(self) -> str:
        """This package's id of the request."""
        return self._hold.request_id

    @property
    def spender(self) -> Spender:
        """For whom; the anonymous user where none was named."""
        return self._hold.route.spender

    @property
    def at(self) -> datetime:
        """To which periods the money belongs, UTC."""
        return self._hold.at

    @property
    def held(self) -> int:
        """Nanodollars held in all, extensions included."""
        return sum(hold.held for hold in self._hold.chain)

    @property
    def calls(self) -> tuple[tuple[str, int], ...]:
        """What it was held for: model ids and nanodollars, extensions included."""
        return tuple(call for hold in self._hold.chain for call in hold.calls)

    @property
    def over_limit(self) -> bool:
        """Whether it did not fit a budget and was held all the same, as `warn` mode does."""
        return self._hold.over_limit

    @property
    def open(self) -> bool:
        """Whether the money is still held."""
        return self._books.is_open(self._hold)

    @property
    def standings(self) -> tuple[AccountStanding, ...]:
        """How the accounts that it touches stand now."""
        return self._books.standings(self._hold)

    async def extend(self, calls: Sequence[tuple[str, int]], *, force: bool = False) -> bool:
        """Holds more for further calls, all or nothing.

        Args:
            calls: model ids and the most that each call can cost, nanodollars.
            force: hold it even over the limits.

        Returns:
            Whether it is held; `False` too when the reservation has ended.

        Raises:
            StoreError: the store cannot be written, and the mode enforces.
        """
        return await self._books.extend(self._hold, calls, force=force)

    def extend_sync(self, calls: Sequence[tuple[str, int]], *, force: bool = False) -> bool:
        """As `extend`, for threads without an event loop."""
        return self._books.extend_sync(self._hold, calls, force=force)

    def confirm(self) -> None:
        """Ends what was tentative about it: an extension that is refused alerts again."""
        self._hold.tentative = False

    def renew(self) -> bool:
        """Says that the request is still under way; `False` when the hold has ended."""
        return self._books.renew(self._hold)

    def settle(
        self, charges: Sequence[Charge], *, metadata: Mapping[str, object] = EMPTY
    ) -> Outcome:
        """Books what was spent and gives the rest back; never waits.

        A second settlement changes nothing and gives the first one's outcome without `crossed`.

        Args:
            charges: one for each call that was billed or may have been.
            metadata: what to keep in the log with them; JSON values.
        """
        return self._books.settle(self._hold, charges, metadata)

    def release(self) -> Outcome:
        """Gives everything back: nothing was sent, or the provider surely charged nothing."""
        return self._books.settle(self._hold, (), EMPTY)

    def __repr__(self) -> str:
        state = "open" if self.open else "ended"
        return f"<Reservation {self._hold.request_id} {state}, {self.held} nanodollars>"

    def __del__(self) -> None:
        # A garbage collection may run this anywhere, in the middle of a lock that this very thread
        # holds included: it only leaves a note.
        self._books.dropped(self._hold)


class Bookkeeper(Protocol):
    """What a reservation asks of its tracker."""

    def is_open(self, hold: Hold) -> bool: ...
    def standings(self, hold: Hold) -> tuple[AccountStanding, ...]: ...
    async def extend(
        self, hold: Hold, calls: Sequence[tuple[str, int]], *, force: bool
    ) -> bool: ...
    def extend_sync(self, hold: Hold, calls: Sequence[tuple[str, int]], *, force: bool) -> bool: ...
    def renew(self, hold: Hold) -> bool: ...
    def settle(
        self, hold: Hold, charges: Sequence[Charge], metadata: Mapping[str, object]
    ) -> Outcome: ...
    def dropped(self, hold: Hold) -> None: ...
