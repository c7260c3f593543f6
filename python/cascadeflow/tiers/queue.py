"""The queue before the rate limiter: fair, bounded, and woken only when somebody may pass."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final, TypeAlias

from cascadeflow._native import LimitRefusal, Permit
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.tiers.limits import MOST_TOKENS
from cascadeflow.tiers.waiting import Line, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from cascadeflow._native import RateLimiter
    from cascadeflow.clock import Clock
    from cascadeflow.tiers.waiting import Accounts

__all__ = ["Behind", "FairQueue", "NeverFits", "NotServed", "QueueFull", "TimedOut"]

_NEVER: Final = 1 << 63

_News: TypeAlias = "Waiter | tuple[str, ...] | None"
"""Who left, which accounts have room again (none: see what time it is), or that any may have."""


@dataclass(frozen=True, slots=True)
class Behind:
    """A request that did not pass because others wait for the same account before it.

    Attributes:
        refusal: why they wait, as the limiter said when it was last asked.
        retry_ns: in how many nanoseconds the first of them may pass, so the least that this one
            would wait; `None` when a lease must end.
    """

    refusal: LimitRefusal
    retry_ns: int | None


class NotServed(Exception):  # noqa: N818 - what became of a wait; the gate makes the error of it
    """A wait that ended without a permit.

    Attributes:
        refusal: what it waited for at last, as far as is known.
    """

    def __init__(self, refusal: LimitRefusal | None) -> None:
        super().__init__()
        self.refusal = refusal


class QueueFull(NotServed):
    """As many wait as may."""


class TimedOut(NotServed):
    """The deadline came first."""


class NeverFits(NotServed):
    """The request is larger than a whole limit."""


class _Desk:
    """The waiters of one event loop, and the alarm that wakes it."""

    __slots__ = ("alarm", "armed_ns", "loop", "waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # Until their coroutines have ended, so that none is lost with its loop.
        self.waiters: set[Waiter] = set()
        self.armed_ns = _NEVER  # when the alarm rings, or is about to be set to
        self.alarm: asyncio.Task[None] | None = None


class FairQueue:
    """Lets requests through a rate limiter in a fair order. Serves any number of loops and threads.

    A lock is held for single steps, never while anybody waits. Who must not block (whoever brings
    something back, perhaps from a finaliser that runs in the midst of a step) leaves a note
    instead; whoever holds the lock reads the notes before it goes.
    """

    def __init__(self, limiter: RateLimiter, clock: Clock, *, size: int = 1000) -> None:
        """Begins with nobody waiting.

        Args:
            limiter: what every request must pass.
            clock: the time; its `sleep` is how the queue waits.
            size: how many may wait at once, over all tiers.

        Raises:
            ConfigurationError: `size` is negative.
        """
        if size < 0:
            raise ConfigurationError(f"a queue's size must be at least 0, not {size}")
        self._clock = clock
        self._monotonic = clock.monotonic
        self._size = size
        self._limiter = limiter
        self._acquire = limiter.acquire
        self._line = Line(limiter)
        self._lock = threading.Lock()
        self._desks: dict[asyncio.AbstractEventLoop, _Desk] = {}
        self._news: deque[_News] = deque()
        self._due_ns = _NEVER

    def __len__(self) -> int:
        """How many wait."""
        return self._line.count

    def now_ns(self) -> int:
        """The limiter's time, nanoseconds."""
        # Rounded: cut off, 3 % of all whole nanoseconds come back from a float as one less.
        return round(self._monotonic() * 1e9)

    def try_now(self, accounts: Accounts, tokens: int) -> Permit | LimitRefusal | Behind:
        """Lets a request pass at once, unless others wait for one of its accounts.

        Args:
            accounts: whose limits hold for it, the user's own first.
            tokens: how many it is reckoned to use.
        """
        if not self._line.count:
            return self._acquire(accounts, tokens, round(self._monotonic() * 1e9))
        return self._try_beside(accounts, tokens)

    def _try_beside(self, accounts: Accounts, tokens: int) -> Permit | LimitRefusal | Behind:
        """Tries with others waiting."""
        if self.now_ns() >= self._due_ns or any(loop.is_closed() for loop in list(self._desks)):
            # Whose alarm it is may be busy, or gone with its loop.
            self._news.append(())
            self._attend()
        with self._lock:
            now_ns = self.now_ns()
            closure = self._line.closure([name for name, _ in accounts])
            answer: Permit | LimitRefusal | Behind | None
            if closure is None:
                answer = self._acquire(accounts, tokens, now_ns)
                if isinstance(answer, Permit):
                    # What it took may be what somebody in line now waits for longest.
                    self._news.append(tuple([name for name, _ in accounts]))
            else:
                answer = self._never(accounts, tokens, now_ns)
                if answer is None:
                    due_ns = closure.due_ns
                    retry_ns = None if due_ns is None else max(0, due_ns - now_ns)
                    answer = Behind(closure.refusal, retry_ns)
        if self._news:
            self._attend()
        return answer

    async def wait(
        self,
        accounts: Accounts,
        tokens: int,
        *,
        tier: str,
        weight: int,
        deadline: float | None,
        user: str | None = None,
        on_wait: Callable[[LimitRefusal | None], None] | None = None,
    ) -> Permit:
        """Waits until a request passes.

        Args:
            accounts: whose limits hold for it, the user's own (`"user:…"`) first, if it has any.
            tokens: how many it is reckoned to use.
            tier: who shares the weight with it.
            weight: how many turns it gets for each that a weight of 1 does.
            deadline: when to give up, in seconds of the clock's `monotonic()`.
            user: who takes turns within the tier; by default the user's own account.
            on_wait: called once, if it does not pass at once, with what it waits for.

        Raises:
            QueueFull: there is no place left to wait in.
            TimedOut: the deadline came first.
            NeverFits: it is larger than a whole limit.
            ConfigurationError: `weight` is less than 1.
            InvalidRequestError: `tokens` is negative, or beyond all reason.
        """
        if weight < 1:
            raise ConfigurationError(f"a weight must be at least 1, not {weight}")
        if not 0 <= tokens <= MOST_TOKENS:
            # Here, because the limiter would say so when it is somebody else's step.
            raise InvalidRequestError(f"a request cannot be {tokens} tokens")
        loop = asyncio.get_running_loop()
        waiter = Waiter(
            accounts,
            tokens,
            tier=tier,
            user=user,
            weight=weight,
            deadline_ns=None if deadline is None or deadline == inf else round(deadline * 1e9),
            future=loop.create_future(),
        )
        desk = self._desks.get(loop)
        if desk is None:
            desk = self._desks[loop] = _Desk(loop)
        desk.waiters.add(waiter)
        try:
            self._attend(waiter)
            if on_wait is not None and not waiter.future.done():
                on_wait(waiter.refusal)
            await waiter.future
        except BaseException:
            # Cancelled, perhaps in the very moment in which it passed.
            self._news.append(waiter)
            self._attend()
            raise
        finally:
            self._leave(desk, waiter)
        outcome, waiter.outcome = waiter.outcome, None
        if isinstance(outcome, Permit):
            return outcome
        if outcome == "full":
            raise QueueFull(waiter.refusal)
        if outcome == "late":
            raise TimedOut(waiter.refusal)
        raise NeverFits(waiter.refusal)

    def returned(self, accounts: Accounts | None = None) -> None:
        """Looks again: a lease ended, or tokens or a place came back. Never blocks.

        Args:
            accounts: to whom; without it every user who waits for a limit of its own is tried.
        """
        if self._line.count:
            self._news.append(None if accounts is None else tuple([name for name, _ in accounts]))
            self._attend()

    # One step

    def _attend(self, newcomer: Waiter | None = None) -> None:
        """Takes a step, and more until there are no news; leaves it to whoever is in one."""
        while True:
            lock = self._lock
            if not lock.acquire(blocking=newcomer is not None):
                return
            try:
                done, late = self._step(newcomer)
            finally:
                lock.release()
            newcomer = None
            self._tell(done, late)
            # Only now, for what was noted while the lock was held.
            if not self._news:
                return

    def _step(self, newcomer: Waiter | None) -> tuple[list[Waiter], list[_Desk]]:
        """Gives who waits no longer, and whose alarm rings too late."""
        now_ns, line = self.now_ns(), self._line
        look = self._catch_up(now_ns)
        done = []
        if newcomer is not None:
            if self._admit(newcomer, now_ns):
                look = line.add(newcomer) or look
                if newcomer.deadline_ns is not None:
                    self._due_ns = min(self._due_ns, newcomer.deadline_ns)
            else:
                done.append(newcomer)
                look = look or isinstance(newcomer.outcome, Permit)  # as in `_try_beside`
        if look or now_ns >= self._due_ns:
            done += line.look(now_ns)
        if newcomer is not None and newcomer.flow is not None and newcomer.refusal is None:
            closure = line.closure(newcomer.names)
            newcomer.refusal = None if closure is None else closure.refusal
        due_ns = line.next_ns()
        self._due_ns = _NEVER if due_ns is None else due_ns
        late = [desk for desk in list(self._desks.values()) if self._due_ns < desk.armed_ns]
        for desk in late:
            desk.armed_ns = self._due_ns
        return done, late

    def _catch_up(self, now_ns: int) -> bool:
        """Takes in what has happened since the last step; gives whether others may pass now."""
        look = False
        for desk in list(self._desks.values()):
            if desk.loop.is_closed():
                self._desks.pop(desk.loop, None)
                while desk.waiters:
                    look = self._forsake(desk.waiters.pop(), now_ns) or look
        while self._news:
            item = self._news.popleft()
            if isinstance(item, Waiter):
                look = self._forsake(item, now_ns) or look
            elif item != ():
                self._line.reopen(item)
                look = True
        return look

    def _admit(self, waiter: Waiter, now_ns: int) -> bool:
        """Whether somebody may join the line."""
        never = self._never(waiter.accounts, waiter.tokens, now_ns)
        if never is not None:
            waiter.refusal, waiter.outcome = never, "never"
            return False
        if self._line.count < self._size:
            return True
        closure = self._line.closure(waiter.names)
        if closure is not None:
            waiter.refusal, waiter.outcome = closure.refusal, "full"
            return False
        answer = self._acquire(waiter.accounts, waiter.tokens, now_ns)
        if isinstance(answer, LimitRefusal):
            waiter.refusal, waiter.outcome = answer, "full"
        else:
            waiter.outcome = answer
        return False

    def _never(self, accounts: Accounts, tokens: int, now_ns: int) -> LimitRefusal | None:
        """Gives the refusal of a request that is larger than a whole limit, and asks for no other.

        Others may wait before it, so it must not be tried where it could pass.
        """
        for standing in self._limiter.standings(accounts, now_ns):
            if standing.allowed < (max(1, tokens) if standing.limit == "tokens_per_minute" else 1):
                answer = self._acquire(accounts, tokens, now_ns)
                if isinstance(answer, LimitRefusal) and answer.permanent:
                    return answer
        return None

    def _forsake(self, waiter: Waiter, now_ns: int) -> bool:
        """Takes back what somebody got, who is gone; gives whether others may pass now."""
        outcome, waiter.outcome = waiter.outcome, None
        if not isinstance(outcome, Permit):
            return self._line.remove(waiter)
        outcome.cancel(now_ns)
        self._line.reopen(waiter.names)
        return True

    # Waking

    def _tell(self, done: list[Waiter], late: list[_Desk]) -> None:
        """Wakes who waits no longer, each on its own loop, and sets alarms."""
        if not done and not late:
            return
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        by_loop: dict[asyncio.AbstractEventLoop, list[Waiter]] = {}
        for waiter in done:
            by_loop.setdefault(waiter.future.get_loop(), []).append(waiter)
        calls: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = [
            (loop, partial(_wake, waiters)) for loop, waiters in by_loop.items()
        ]
        calls += [(desk.loop, partial(self._set_alarm, desk)) for desk in late]
        for loop, call in calls:
            if loop is here:
                call()
                continue
            try:
                loop.call_soon_threadsafe(call)
            except RuntimeError:
                if not loop.is_closed():
                    raise
                self._news.append(())  # the next step takes back what its waiters got

    def _set_alarm(self, desk: _Desk) -> None:
        """Sets a loop's alarm; runs on that loop."""
        if desk.alarm is not None:
            desk.alarm.cancel()
            desk.alarm = None
        if desk.waiters and desk.armed_ns != _NEVER:
            # In a context of its own: it rings for others too, long after this request.
            desk.alarm = Context().run(desk.loop.create_task, self._ring(desk, desk.armed_ns))

    async def _ring(self, desk: _Desk, due_ns: int) -> None:
        try:
            await self._clock.sleep((due_ns - self.now_ns()) / 1e9)
        finally:
            # Unless another has been set since: also where the loop's end cancels every task.
            if desk.alarm is asyncio.current_task():
                desk.alarm = None
                desk.armed_ns = _NEVER
        self._news.append(())
        self._attend()

    def _leave(self, desk: _Desk, waiter: Waiter) -> None:
        """Ends a waiter's coroutine; the last one on a loop takes its alarm with it."""
        desk.waiters.discard(waiter)
        if desk.waiters or desk.loop.is_closed():
            return
        if self._desks.get(desk.loop) is desk:
            del self._desks[desk.loop]
        if desk.alarm is not None:
            desk.alarm.cancel()
            desk.alarm = None


def _wake(waiters: list[Waiter]) -> None:
    for waiter in waiters:
        if not waiter.future.done():  # cancelled meanwhile
            waiter.future.set_result(None)
