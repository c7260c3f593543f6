"""`CostTracker`: who may spend what, held before it is spent, counted to the nanodollar."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, Self

from cascadeflow.budgets.accounts import ANONYMOUS, GLOBAL
from cascadeflow.budgets.books import Books, Route, from_ms, to_ms
from cascadeflow.budgets.changes import Changes
from cascadeflow.budgets.charges import ChargeBook
from cascadeflow.budgets.clerk import Clerk, settled
from cascadeflow.budgets.history import CostEntry, History, Standing, TotalState
from cascadeflow.budgets.options import check, read_budgets, read_store
from cascadeflow.budgets.records import BudgetState, Charge, Spender
from cascadeflow.budgets.reservation import Outcome, Reservation
from cascadeflow.budgets.tiered import TierBudgets
from cascadeflow.errors import BudgetExceededError, InvalidRequestError, StoreError
from cascadeflow.money import MAX_NANODOLLARS, from_usd
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cascadeflow.budgets.accounts import Limit
    from cascadeflow.budgets.alerts import AlertDispatcher
    from cascadeflow.budgets.records import AccountStanding
    from cascadeflow.budgets.stores.protocol import Durability, Store
    from cascadeflow.budgets.writer import Writer
    from cascadeflow.clock import Clock
    from cascadeflow.config import BudgetConfig, EnforcementMode
    from cascadeflow.models.notes import Notes
    from cascadeflow.money import Amount

_logger: Final = logging.getLogger(__name__)

__all__ = [
    "ANONYMOUS",
    "BudgetState",
    "CostEntry",
    "CostTracker",
    "Outcome",
    "Reservation",
    "Standing",
    "TotalState",
]


class CostTracker(TierBudgets):
    """Holds the worst case of each request on every budget it touches, and counts what was spent.

    Give it to an agent (`CascadeAgent(cost_tracker=…)`). One tracker may serve several agents,
    event loops and threads. Sums are exact (integer nanodollars) and count every charge; of the
    charges themselves only the last `keep` stay in memory. A cost that is not known is counted in
    `unknown_costs`, not as zero.

    What a budget does when it runs out is the `enforcement_mode`'s to say: `warn` says so and runs
    all the same, `block` refuses, `degrade` answers more cheaply as long as that fits, then
    refuses. In the last two a request that no limit applies to is refused: unknown is not
    unlimited.

    >>> tracker = CostTracker(budget_limit=10.00)
    >>> tracker.add_cost("gpt-4o", "openai", tokens=1200, cost=0.25)
    >>> tracker.get_summary()["budget_remaining"]
    9.75
    """

    def __init__(
        self,
        budget_limit: Amount | None = None,
        warn_threshold: float = 0.8,
        verbose: bool = False,  # noqa: FBT001, FBT002 - v0.1's position
        *,
        keep: int = 10_000,
        global_budget: Amount | BudgetConfig | None = None,
        user_budgets: Mapping[str, Amount | BudgetConfig] | None = None,
        default_user_budget: Amount | BudgetConfig | None = None,
        budgets: Mapping[str, Amount | BudgetConfig] | None = None,
        enforcement_mode: EnforcementMode | None = None,
        alert_channels: Sequence[Any] = (),
        store: str | Store | None = None,
        durability: Durability = "default",
        default_max_output: int = 4096,
        min_output: int = 256,
        clock: Clock | None = None,
    ) -> None:
        """Starts at nothing spent, or where its store left off.

        Args:
            budget_limit: US dollars for everybody together and for ever, v0.1's name of
                `global_budget=BudgetConfig(total=…, warn_at=warn_threshold)`.
            warn_threshold: the share of `budget_limit`, 0 to 1, at which a warning is logged.
            verbose: log every charge too.
            keep: how many of the latest charges stay readable.
            global_budget: what all requests together may spend. A bare amount is a total, for ever;
                0 is a limit of zero.
            user_budgets: what these users may spend.
            default_user_budget: what each other user may spend, those without a name included, who
                are one user together, `"anonymous"`.
            budgets: further budgets: `"team:research"`, `"tier:pro"`, `"key:k1"`, `"tag:batch"`,
                `"model:openai:gpt-4o"`; `"team:*"` is that of each team without its own.
            enforcement_mode: what a budget does when it runs out; without one, `warn` when only
                `budget_limit` is given, else `block`.
            alert_channels: where alerts go: `WebhookAlert`, `SlackAlert`, `LogAlert`, a function.
            store: where budgets outlive the process: `"sqlite:///path"`; `None` or `"memory"` keeps
                them in this process.
            durability: with a store: `strict` writes each hold before its provider is called.
            default_max_output: under a budget, the `max_tokens` of requests that have none.
            min_output: the fewest output tokens that `degrade` lowers a request to.
            clock: the time.

        Raises:
            ConfigurationError: an amount is negative, not a number, or out of range; two budgets
                are given for the same; an option is not one.
            StoreError: the store cannot be opened.
        """
        if clock is None:
            from cascadeflow.clock import SystemClock  # noqa: PLC0415 - it imports asyncio

            clock = SystemClock()
        self._clock: Clock = clock
        self._budgets = read_budgets(
            budget_limit=budget_limit,
            warn_threshold=warn_threshold,
            global_budget=global_budget,
            user_budgets=user_budgets,
            default_user_budget=default_user_budget,
            budgets=budgets,
        )
        self._assigned = self._budgets.assigned
        check(
            keep=keep,
            mode=enforcement_mode,
            durability=durability,
            stored=store not in {None, "memory"} if isinstance(store, str) else store is not None,
            default_max_output=default_max_output,
            min_output=min_output,
        )
        self.warn_threshold = warn_threshold
        self.verbose = verbose
        self._default_max_output = default_max_output
        self._min_output = min_output
        self.mode_stated = enforcement_mode is not None
        """Whether somebody said what a budget does when it runs out."""
        if enforcement_mode is None:
            newer = global_budget is not None or default_user_budget is not None
            enforcement_mode = "block" if newer or user_budgets or budgets else "warn"
        self._mode: EnforcementMode = enforcement_mode
        self._alerts: AlertDispatcher | None = None
        if alert_channels:
            from cascadeflow.budgets.alerts import (  # noqa: PLC0415 - off costs nothing
                AlertDispatcher,
                coerce_channels,
            )

            self._alerts = AlertDispatcher(coerce_channels(alert_channels), clock=clock)
        self._lock = threading.Lock()
        """Held by changes by hand, one at a time."""
        self._closed = False
        self._history = History(keep)
        opened = self._store = read_store(store, clock)
        self._books = Books(
            self._budgets,
            stored=opened is not None,
            alert=None if self._alerts is None else self._alert,
            log=self._history.of_user,
        )
        self._writer: Writer | None = None
        vault: Vault | None = None
        if opened is not None:
            from cascadeflow.budgets.vault import Vault  # noqa: PLC0415 - off costs nothing
            from cascadeflow.budgets.writer import Writer  # noqa: PLC0415

            vault = Vault(opened, self._books, self._now_ms, strict=durability == "strict")
            self._writer = Writer(vault, self._books, strict=durability == "strict")
            atexit.register(_close_at_exit, weakref.ref(self))
        self._charges = ChargeBook(
            self._history,
            self._writer,
            clock,
            self._total_limit,
            enforces=self.enforces,
            verbose=verbose,
        )
        self._desk = Clerk(self._books, self._charges, self._writer, enforces=self.enforces)
        if vault is not None:
            vault.begin(self._history)
        self._changes = Changes(
            self._budgets,
            self._books,
            self._desk,
            history=self._history,
            charges=self._charges,
            writer=self._writer,
            clock=clock,
        )
        _trackers.add(self)

    # What it is set to

    @property
    def mode(self) -> EnforcementMode:
        """What a budget does when it runs out."""
        return self._mode

    @property
    def enforces(self) -> bool:
        """Whether what does not fit is refused."""
        return self._mode != "warn"

    @property
    def default_max_output(self) -> int:
        """Under a budget, the `max_tokens` of requests that have none."""
        return self._default_max_output

    @property
    def min_output(self) -> int:
        """The fewest output tokens that `degrade` lowers a request to."""
        return self._min_output

    @property
    def budgeted_models(self) -> frozenset[str]:
        """The models that have a budget of their own; with `"model:*"` every model is in it."""
        return self._budgets.models

    def _total_limit(self) -> Limit | None:
        for limit in self._budgets.limits(GLOBAL):
            if limit.period == "total":
                return limit
        return None

    # Holding

    async def reserve(
        self,
        spender: Spender,
        calls: Sequence[tuple[str, int]],
        *,
        request_id: str,
        at: datetime,
        force: bool = False,
        tentative: bool = False,
    ) -> Reservation:
        """Holds the most that some calls can cost on every budget they touch, or on none.

        Without a store nothing is waited for. With one, a scope's first use and a grant that is
        spent wait for the store's thread, many requests for one write; so does every request under
        `durability="strict"`.

        Args:
            spender: for whom.
            calls: each call's model (`provider:name`) and the most it can cost, nanodollars.
            request_id: this package's id of the request.
            at: when the request began: the money belongs to the periods that hold then.
            force: hold it even over the limits (`warn` always does).
            tentative: a refusal is not the last word: it alerts nobody until `announce` says so.

        Raises:
            BudgetExceededError: it does not fit a budget, or no budget applies.
            InvalidRequestError: an amount is negative or too large.
            StoreError: the store cannot be written, and the mode enforces.
        """
        return await self._desk.reserve(
            spender, calls, request_id, at, force=force, tentative=tentative
        )

    def announce(self, error: BudgetExceededError) -> None:
        """Sends the alert of a refusal that was `tentative`, now that nothing else was found."""
        self._desk.announce(error)

    def reserve_sync(
        self,
        spender: Spender,
        calls: Sequence[tuple[str, int]],
        *,
        request_id: str,
        at: datetime,
        force: bool = False,
    ) -> Reservation:
        """As `reserve`, for threads without an event loop."""
        return self._desk.reserve_sync(spender, calls, request_id, at, force=force)

    def state(self, spender: Spender, models: Sequence[str] = ()) -> BudgetState | None:
        """The worst state of the budgets that a request touches, holds included.

        `None` when none of them has a limit, or when none was read from the store yet: `prepare`
        reads them.

        Args:
            spender: for whom.
            models: ids of the models that may be called.
        """
        now_ms = self._now_ms()
        route = self._books.route(spender, tuple(models), now_ms, partial=True)
        assert type(route) is Route  # noqa: S101 - for mypy: a partial one never waits
        return self._books.worst(route, now_ms)

    async def prepare(self, spender: Spender, models: Sequence[str] = ()) -> BudgetState | None:
        """Reads the budgets that a request touches from the store, and gives their worst state.

        Without a store, and once they were read, nothing is waited for.

        Raises:
            StoreError: the store cannot be read, and the mode enforces.
        """
        await self._desk.prepare(spender, tuple(models), self._now_ms())
        return self.state(spender, models)

    # Counting

    def record(
        self,
        *,
        model: str,
        provider: str,
        nanodollars: int | None,
        tokens: int = 0,
        at: datetime | None = None,
        query_id: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Any] = EMPTY,
    ) -> Standing:
        """Books what was spent elsewhere, over any limit, and says how the total now stands.

        It is booked on the budgets that hold now, whatever `at` says.

        Raises:
            InvalidRequestError: the cost or the token count is negative, or too large.
            StoreError: the tracker is closed.
        """
        if tokens < 0 or (nanodollars is not None and not 0 <= nanodollars <= MAX_NANODOLLARS):
            raise InvalidRequestError(
                f"a cost needs tokens >= 0 and 0..{MAX_NANODOLLARS} nanodollars, "
                f"not {tokens} and {nanodollars}"
            )
        charge = Charge(
            model=f"{provider}:{model}",
            nanodollars=nanodollars,
            confirmed=True,
            held=nanodollars or 0,
        )
        crossed = self._desk.record(
            charge,
            Spender(user_id=user_id or ANONYMOUS),
            at=self._clock.now(),
            given=at,
            request_id=query_id or "",
            tokens=tokens,
            metadata=metadata,
        )
        return self._history.standing(self._total_limit(), crossed)

    def add_cost(  # noqa: PLR0917 - v0.1's positions
        self,
        model: str,
        provider: str,
        tokens: int,
        cost: Amount | None,
        query_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        user_id: str | None = None,
    ) -> None:
        """Books a cost given in US dollars, as v0.1 did.

        An agent that was given this tracker books its requests itself: adding them again here
        counts them twice.

        Raises:
            InvalidRequestError: the cost or the token count is negative, or not a number.
        """
        self.record(
            model=model,
            provider=provider,
            nanodollars=None if cost is None else from_usd(cost, what="cost"),
            tokens=tokens,
            query_id=query_id,
            user_id=user_id,
            metadata=metadata or EMPTY,
        )

    # The end

    def flush(self) -> None:
        """Waits until everything logged so far is in the store.

        Raises:
            StoreError: it cannot be written.
        """
        self._catch_up()
        if self._writer is not None:
            self._writer.flush().result()

    async def aflush(self) -> None:
        """As `flush`, on an event loop."""
        self._catch_up()
        if self._writer is not None:
            await settled(self._writer.flush())

    @property
    def notes(self) -> Notes | None:
        """Where what is learned outlives the process: the store; `None` without one."""
        return self._store

    def close(self) -> None:
        """Ends every hold at what was held, writes what is left and closes the store.

        Closing twice is closing once. Without a store only the alerts are waited for, two seconds
        at most, and the tracker may be used on.

        Raises:
            StoreError: not everything could be written.
        """
        if self._closed:
            return
        try:
            if self._writer is not None:
                self._closed = True
                self._desk.settle_everything()
                self._writer.close("the tracker is closed: make another one", self._books.totals)
        finally:
            if self._alerts is not None:
                self._alerts.close(timeout=2.0)

    async def aclose(self) -> None:
        """As `close`, on an event loop."""
        import asyncio  # noqa: PLC0415 - whoever waits has it

        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _catch_up(self) -> None:
        self._desk.drain()

    def _now_ms(self) -> int:
        return self._desk.now_ms(to_ms(self._clock.now()))

    def _alert(self, standing: AccountStanding, state: Any, now_ms: int) -> None:
        from cascadeflow.budgets.alerts import Alert  # noqa: PLC0415 - off costs nothing

        if self._alerts is not None:
            self._alerts.send(
                Alert(
                    scope=standing.scope,
                    period=standing.period,
                    state=state,
                    standing=standing,
                    at=from_ms(now_ms),
                    mode=self._mode,
                )
            )

    def _begin_anew_after_fork(self) -> None:
        """The child's own: fresh locks, an empty ledger; the store is the parent's."""
        self._lock = threading.Lock()
        self._budgets.renew_lock()
        self._history.renew_lock()
        self._history.clear()
        self._books.renew()
        self._charges.renew_after_fork()
        self._desk.renew_after_fork()
        if self._writer is not None:
            self._closed = True
            self._writer.abandon(
                "this process was forked from the one that opened the budget's store, and one "
                "process at a time may spend from it: make the CostTracker after forking"
            )


_trackers: Final[weakref.WeakSet[CostTracker]] = weakref.WeakSet()


def _close_at_exit(reference: weakref.ref[CostTracker]) -> None:
    tracker = reference()
    if tracker is not None:
        try:
            tracker.close()
        except StoreError as error:
            _logger.error("at the end of the process: %s", error)  # noqa: TRY400 - nobody's to trace


def _after_fork() -> None:
    for tracker in list(_trackers):
        tracker._begin_anew_after_fork()  # noqa: SLF001 - this module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
