"""Waiting for money that others hold: what a request holds is a worst case, and most comes back.

A request whose tier waits (`on_limit="wait"`) and that would fit its budgets if what others hold
came back is not refused: it waits until a request of this tracker ends. Who waits for the same
account is served in the order of coming, and nobody who waits too overtakes; requests of tiers that
do not wait are not held back by those that do.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final

from cascadeflow.budgets.accounts import scopes_of
from cascadeflow.errors import BudgetExceededError
from cascadeflow.pipeline import events
from cascadeflow.pipeline.reserve import reserve

if TYPE_CHECKING:
    from cascadeflow.budgets.tracker import CostTracker
    from cascadeflow.clock import Clock
    from cascadeflow.pipeline.run import Run

__all__ = ["Till", "reserve_in_turn", "till_of"]


class _Place:
    """A request that waits, and the account it waits for."""

    __slots__ = ("account", "future", "loop", "tried")

    def __init__(self, account: str, tried: int) -> None:
        self.account = account
        self.tried = tried  # which return of money it knew when it was refused last
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] | None = None


class Till:
    """Who waits for one tracker's money. Serves any number of threads and event loops."""

    def __init__(self) -> None:
        self.returns = 0
        """How often money came back."""
        self.renew()

    def renew(self) -> None:
        """Begins with nobody waiting: at the start, and in a forked child."""
        self._lock = threading.Lock()
        self._lines: dict[str, deque[_Place]] = {}

    def returned(self) -> None:
        """Money came back: the first in each line tries again."""
        if not self._lines:
            self.returns += 1
            return
        with self._lock:
            self.returns += 1
            for line in list(self._lines.values()):
                self._call_first(line)

    def closed_to(self, accounts: set[str]) -> str | None:
        """Gives one of these accounts that somebody waits for."""
        return next((each for each in self._lines if each in accounts), None)

    def join(self, account: str, tried: int) -> _Place:
        """Takes the last place in an account's line.

        Args:
            account: whose money is waited for.
            tried: `returns` before the request was refused; -1 if it was not tried yet.
        """
        place = _Place(account, tried)
        with self._lock:
            self._lines.setdefault(account, deque()).append(place)
        return place

    def move(self, place: _Place, account: str, tried: int) -> None:
        """Notes a refusal: another account may be short now, and its line is then joined."""
        with self._lock:
            place.tried = tried
            if account != place.account:
                self._remove(place)
                place.account = account
                self._lines.setdefault(account, deque()).append(place)

    def leave(self, place: _Place) -> None:
        """Ends a wait: who is first now tries."""
        with self._lock:
            self._remove(place)

    async def turn(self, place: _Place, clock: Clock, seconds: float) -> bool:
        """Waits until a place may try again; `False` when the time was up before."""
        with self._lock:
            if self._is_next(place):
                return True
            place.future = place.loop.create_future()
        alarm = asyncio.ensure_future(clock.sleep(seconds))
        try:
            await asyncio.wait({place.future, alarm}, return_when=asyncio.FIRST_COMPLETED)
            return place.future.done()
        finally:
            alarm.cancel()
            place.future = None

    def _is_next(self, place: _Place) -> bool:
        return self._lines[place.account][0] is place and place.tried < self.returns

    def _remove(self, place: _Place) -> None:
        line = self._lines[place.account]
        first = line[0] is place
        line.remove(place)
        if not line:
            del self._lines[place.account]
        elif first:
            line[0].tried = -1  # it was behind another one, and may fit
            self._call_first(line)

    def _call_first(self, line: deque[_Place]) -> None:
        while line:
            place = line[0]
            if not place.loop.is_closed():
                future = place.future
                if future is not None and place.tried < self.returns:
                    place.loop.call_soon_threadsafe(_wake, future)
                return
            line.popleft()  # its loop is gone, and its request with it


def _wake(future: asyncio.Future[None]) -> None:
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
    return _tills.setdefault(tracker, Till())


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
    seen = till.returns
    refusal: BudgetExceededError | None = None
    account = till.closed_to({str(scope) for scope in scopes_of(run.spender)})
    if account is None:
        try:
            await reserve(run, tracker)
        except BudgetExceededError as error:
            if not _may_fit(error):
                raise
            refusal, account = error, _account(error)
        else:
            return
    place = till.join(account, -1 if refusal is None else seen)
    clock = run.engine.clock
    began = clock.monotonic()
    try:
        if run.heard:
            run.tell(
                events.RequestQueued(
                    request_id=run.request_id, tier=member.tier.name, limit=f"{account} budget"
                )
            )
        until = began + member.tier.max_wait - entry.waited_ms / 1000
        await _wait(run, tracker, till, place, refusal=refusal, until=until)
    finally:
        till.leave(place)
        entry.waited_ms += (clock.monotonic() - began) * 1000


async def _wait(
    run: Run,
    tracker: CostTracker,
    till: Till,
    place: _Place,
    *,
    refusal: BudgetExceededError | None,
    until: float,
) -> None:
    """Tries whenever it is a place's turn, until the time is up."""
    clock = run.engine.clock
    while True:
        left = until - clock.monotonic()
        in_time = left > 0 and await till.turn(place, clock, left)
        if not in_time and refusal is not None:
            raise refusal
        seen = till.returns
        try:
            await reserve(run, tracker)
        except BudgetExceededError as error:
            if not in_time or not _may_fit(error):
                raise
            refusal = error
            till.move(place, _account(error), seen)
        else:
            return


def _may_fit(error: BudgetExceededError) -> bool:
    """Whether it would fit if what others hold came back."""
    return not error.permanent and error.held > 0 and error.spent + error.requested <= error.limit


def _account(error: BudgetExceededError) -> str:
    return f"{error.scope}:{error.name}" if error.name else error.scope
