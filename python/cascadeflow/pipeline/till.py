"""Waiting for money that others hold: what a request holds is a worst case, and most comes back.

A request whose tier waits (`on_limit="wait"`) and that would fit its budgets if what others hold
came back, or once a period ends, is not refused: it waits, for an account at a time, and tries
again when money comes back to that account or its period is over. Those who wait pass in the order
in which they came, as far as they need the same account; requests of tiers that do not wait are
not held back by them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import weakref
from collections import OrderedDict, deque
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from cascadeflow.budgets.accounts import scopes_of
from cascadeflow.errors import BudgetExceededError
from cascadeflow.money import from_usd, to_usd
from cascadeflow.pipeline import events
from cascadeflow.pipeline.reserve import reserve

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from cascadeflow.budgets.books import Account
    from cascadeflow.budgets.tracker import CostTracker
    from cascadeflow.clock import Clock
    from cascadeflow.pipeline.run import Run
    from cascadeflow.tiers.config import TierConfig
    from cascadeflow.tiers.gate import Entry

__all__ = ["Till", "reserve_in_turn", "till_of"]

_FAR_OFF: Final = 1e9
"""Seconds: thirty years, which a calendar can still add."""

_INSTANT: Final = 1e-9
"""Seconds: what a sum of floats may be short of a moment."""


class _Place:
    """A request that waits.

    Attributes:
        number: how many came before it.
        account: whose money it waits for; `None` while it waits for none.
        called: whether it may fit since it was refused last.
    """

    __slots__ = ("account", "called", "future", "loop", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.account: str | None = None
        self.called = False
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] | None = None


_Line: TypeAlias = "OrderedDict[_Place, None]"
"""Who waits for one account's money, in the order of their numbers; never empty."""

_News: TypeAlias = "_Place | tuple[str, ...] | None"
"""Who left, which accounts money came back to, or that it may be any."""


class Till:
    """Who waits for one tracker's money. Serves any number of threads and event loops.

    The lock is held for single steps, never while anybody waits. Whoever brings money back or
    leaves must not block, for a garbage collection may make it do so in the midst of a step: it
    leaves a note instead, and whoever holds the lock reads the notes afterwards.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self.renew()

    def renew(self) -> None:
        """Begins with nobody waiting: at the start, and in a forked child."""
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}
        self._news: deque[_News] = deque()
        self._waiting = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._waiting

    # Coming and going

    def arrive(self) -> _Place:
        """Gives the next place in the order of coming; nobody waits in it yet."""
        return _Place(next(self._numbers))

    def ahead(self, place: _Place, accounts: Collection[str]) -> str | None:
        """Gives one of these accounts that somebody who came before waits for."""
        if not self._lines:
            return None
        with self._lock:
            found = None
            for account in accounts:
                first = self._first(account)
                if first is not None and first.number < place.number:
                    found = account
                    break
        self._read()
        return found

    def wait_for(self, place: _Place, account: str) -> None:
        """Puts a place into an account's line, and takes it out of another one's.

        Who comes to be the first of a line may try at once: what comes back while nobody waits for
        it is told to nobody.
        """
        if place.account == account:
            return
        with self._lock:
            self._remove(place)
            place.account = account
            line = self._lines.setdefault(account, OrderedDict())
            last = next(reversed(line), place)
            line[place] = None
            if last.number > place.number:
                for other in [each for each in line if each.number > place.number]:
                    line.move_to_end(other)
            self._waiting += 1
            place.called = self._first(account) is place
        self._read()

    def leave(self, place: _Place) -> None:
        """Ends a wait: who comes next may try. Never blocks."""
        if place.account is not None:
            self._news.append(place)
            self._read()

    def returned(self, accounts: Collection[Account] | None = None) -> None:
        """Money came back: whoever is first in line for it may try. Never blocks.

        Args:
            accounts: to which; without them, to any.
        """
        # Who joins a line after this look tries after it too, and finds the money.
        if self._lines:
            back = None if accounts is None else tuple([str(each.scope) for each in accounts])
            self._news.append(back)
            self._read()

    # Waiting

    def take_turn(self, place: _Place, *, uncalled: bool) -> bool:
        """Whether a place is the first of its line and may try now.

        Args:
            place: whose.
            uncalled: it may, even if nothing came back since it tried last.
        """
        with self._lock:
            account = place.account
            first = account is not None and self._first(account) is place
            called = place.called
            place.called = False  # who is not the first is called when that changes
        self._read()
        return first and (called or uncalled)

    async def pause(self, place: _Place, clock: Clock, seconds: float) -> None:
        """Waits until a place may try, so many seconds at most."""
        with self._lock:
            if place.called:
                return  # in this very moment
            future = place.future = place.loop.create_future()
        self._read()
        alarm = asyncio.ensure_future(clock.sleep(seconds))
        try:
            await asyncio.wait({future, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if alarm.done():
                alarm.result()
        finally:
            place.future = None
            if not place.loop.is_closed():  # else its tasks have ended with it
                alarm.cancel()

    # One step; whoever calls holds the lock

    def _read(self) -> None:
        """Reads the notes, unless somebody else is about to. Called without the lock."""
        while self._news and self._lock.acquire(blocking=False):
            try:
                while self._news:
                    self._heed(self._news.popleft())
            finally:
                self._lock.release()

    def _heed(self, news: _News) -> None:
        if isinstance(news, _Place):
            self._remove(news)
            return
        for account in list(self._lines) if news is None else news:
            self._call(account)

    def _remove(self, place: _Place) -> None:
        account, place.account = place.account, None
        line = None if account is None else self._lines.get(account)
        if account is None or line is None or place not in line:
            return  # its loop was closed, or this process was forked
        before = itertools.takewhile(lambda each: each is not place, line)
        was_first = not any(each.loop.is_running() for each in before)
        self._drop(account, line, place)
        if was_first:
            self._call(account)

    def _drop(self, account: str, line: _Line, place: _Place) -> None:
        del line[place]
        self._waiting -= 1
        if not line:
            del self._lines[account]

    def _first(self, account: str) -> _Place | None:
        """Whose turn is next: the first whose loop can take it."""
        line = self._lines.get(account, ())
        return next((place for place in line if place.loop.is_running()), None)

    def _call(self, account: str) -> None:
        """Tells the first in line to try, and those before it, should their loops run again."""
        line = self._lines.get(account)
        if line is None:
            return
        gone = []
        for place in line:
            if place.loop.is_closed():
                gone.append(place)
                continue
            place.called = True
            _wake(place)
            if place.loop.is_running():
                break
        for place in gone:
            self._drop(account, line, place)


def _wake(place: _Place) -> None:
    future = place.future
    if future is None:
        return  # it is not waiting just now, and looks before it does
    try:
        place.loop.call_soon_threadsafe(_resolve, future)
    except RuntimeError:
        if not place.loop.is_closed():
            raise


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


_tills: Final[weakref.WeakKeyDictionary[CostTracker, Till]] = weakref.WeakKeyDictionary()


def _after_fork() -> None:
    for till in list(_tills.values()):
        till.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def till_of(tracker: CostTracker) -> Till:
    """Gives the tracker's till; agents that share a tracker share it."""
    till = _tills.get(tracker)
    if till is None:
        till = _tills.setdefault(tracker, Till())
        tracker.on_return(till.returned)
    return till


async def reserve_in_turn(run: Run, tracker: CostTracker, till: Till) -> None:
    """Holds a run's money as `reserve` does, and waits for it where the tier waits.

    Raises:
        BudgetExceededError: it does not fit, or not within the tier's `max_wait`.
        CascadeFlowError: what else `reserve` raises.
    """
    member, entry = run.member, run.entry
    if member is None or entry is None or member.tier.on_limit != "wait" or not tracker.enforces:
        await reserve(run, tracker)
        return
    wait = _Wait(run, tracker, till, member.tier, entry)
    try:
        await wait.until_held()
    except BudgetExceededError as error:
        tracker.announce(error)
        raise
    finally:
        wait.end()


class _Wait:
    """One request at the till."""

    def __init__(
        self, run: Run, tracker: CostTracker, till: Till, tier: TierConfig, entry: Entry
    ) -> None:
        self._run = run
        self._tracker = tracker
        self._till = till
        self._tier = tier
        self._entry = entry
        self._clock = run.engine.clock
        self._place = till.arrive()
        self._until = self._clock.monotonic() + tier.max_wait - entry.waited_ms / 1000
        self._began: float | None = None  # when it joined a line
        self._models = [model.id for model in (*run.plan.drafters[:1], run.plan.verifiers[0])]
        self._accounts: list[str] | None = None  # those that it needs
        self._short = ""  # the account that it has to wait for
        self._refusal: BudgetExceededError | None = None
        self._try_at: datetime | None = None  # when a period ends that has no room for it

    async def until_held(self) -> None:
        """Returns once the money is held.

        Raises:
            BudgetExceededError: that does not come to be in time.
        """
        if await self._hold():
            return
        tiers, till, place = self._run.engine.tiers, self._till, self._place
        if tiers is not None and len(till) >= tiers.queue_size:
            raise self._noted(f"as many wait as may: {tiers.queue_size} (queue_size=)")
        now = self._began = self._clock.monotonic()
        till.wait_for(place, self._short)
        told = False
        while True:
            late = now >= self._until - _INSTANT
            due = self._try_at is not None and self._clock.now() >= self._try_at
            if due:
                self._try_at = None
            if till.take_turn(place, uncalled=late or due) or late:
                if self._is_behind() and not late:
                    till.wait_for(place, self._short)
                elif await self._hold():
                    return
                elif late:
                    raise self._noted(f"it waited for its turn, {self._tier.max_wait:g} s in all")
                else:
                    till.wait_for(place, self._short)
            else:
                if not told:
                    told = True
                    self._tell()
                await till.pause(place, self._clock, self._seconds(now))
            now = self._clock.monotonic()

    def end(self) -> None:
        """Leaves, and notes how long it was there."""
        if self._began is not None:
            self._till.leave(self._place)
            self._entry.waited_ms += (self._clock.monotonic() - self._began) * 1000

    # Trying

    async def _hold(self) -> bool:
        """Tries to hold the money; what is lacking is noted.

        It is tried although others are before it, to know whether waiting helps: what it then gets
        it gives back.

        Raises:
            BudgetExceededError: waiting does not help.
        """
        run, plan = self._run, self._run.plan
        behind = self._is_behind()
        if self._entry.waited_ms or self._began is not None:
            run.created = self._clock.now()  # another period may have begun, with other prices
        try:
            await reserve(run, self._tracker, tentative=True)
        except BudgetExceededError as error:
            self._refusal = error
            self._short = _account(error)
            if not self._may_fit(error):
                raise
            return False
        self._refusal = self._try_at = None
        purse = run.purse
        if not behind or purse is None or not purse.held:
            return True
        purse.close()
        run.purse, run.plan, run.budget_action = None, plan, "none"
        self._refusal = self._others_first(purse.held)
        return False

    def _is_behind(self) -> bool:
        """Whether somebody who came before waits for an account that it needs; which is noted."""
        if not len(self._till):
            return False
        if self._accounts is None:
            scopes = scopes_of(self._run.spender, self._models)
            self._accounts = [str(scope) for scope in scopes]
        account = self._till.ahead(self._place, self._accounts)
        if account is not None:
            self._short = account
        return account is not None

    def _may_fit(self, error: BudgetExceededError) -> bool:
        """Whether it may come to fit in time: when others' money comes back, or a period ends."""
        if error.permanent:
            return False
        now = self._clock.now()
        left = max(0.0, self._until - self._clock.monotonic())
        last = now + timedelta(seconds=min(_FAR_OFF, left))
        requested = from_usd(error.requested)
        ends = []
        models = [error.name] if error.scope == "model" else []
        for each in self._tracker.standings(self._run.spender, models):
            limit = each.limit
            if limit is None or each.spent + each.held + requested <= limit:
                continue
            end = each.resets_at if each.resets_at is not None and each.resets_at > now else None
            if requested > limit or (
                each.spent + requested > limit and (end is None or end > last)
            ):
                return False
            if end is not None:
                ends.append(end)
        self._try_at = min(ends, default=None)
        return True

    def _seconds(self, now: float) -> float:
        """How long to wait until there is something to look at, whatever others do."""
        left = min(_FAR_OFF, self._until - now)
        if self._try_at is None:
            return left
        return min(left, (self._try_at - self._clock.now()).total_seconds())

    # Telling

    def _tell(self) -> None:
        run = self._run
        if run.heard:
            run.tell(
                events.RequestQueued(
                    request_id=run.request_id, tier=self._tier.name, limit=f"{self._short} budget"
                )
            )

    def _others_first(self, requested: int) -> BudgetExceededError:
        """The refusal of a request that would fit, if others did not wait before it."""
        account = self._short
        standings = self._tracker.standings(self._run.spender, self._models)
        full = [each for each in standings if str(each.scope) == account and each.limit is not None]
        found = min(full, key=lambda each: each.remaining or 0, default=None)
        kind, _, name = account.partition(":")
        return BudgetExceededError(
            f"this request would fit, but others wait before it for the budget of {account[:80]!r}:"
            " raise that, or the tier's max_wait",
            scope=kind,
            name=name,
            period="total" if found is None else found.period,
            limit=to_usd(0 if found is None or found.limit is None else found.limit),
            spent=to_usd(0 if found is None else found.spent),
            held=to_usd(0 if found is None else found.held),
            requested=to_usd(requested),
            resets_at=None if found is None else found.resets_at,
            permanent=False,
        )

    def _noted(self, why: str) -> BudgetExceededError:
        """The last refusal, and why it stands."""
        assert self._refusal is not None  # noqa: S101 - for mypy: what was not held was refused
        self._refusal.add_note(why)
        return self._refusal


def _account(error: BudgetExceededError) -> str:
    return f"{error.scope}:{error.name}" if error.name else error.scope
