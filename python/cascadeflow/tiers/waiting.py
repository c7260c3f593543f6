"""Who waits for a rate limit, and whose turn is next. It knows no clock, no lock and no event loop.

Each waits for one account at a time: the one that refused it and takes longest. That account is
*closed* until somebody who waits for it passes: nobody who needs it overtakes them, and who does
not need it goes by. Users' own accounts (`"user:…"`) are kept apart from those that are shared, so
that a look asks once about each shared one and not at all about users whose time has not come.

A turn goes to the tier that had the least for its weight (start-time fair queueing: Goyal, Vin and
Cheng, 1997), with a virtual time for each shared account, so that a tier that was idle, or held
back by a limit of its own, saves up nothing. Within a tier users take turns in a ring, and a user's
requests go in the order in which they came.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cascadeflow._native import LimitRefusal, Permit

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from cascadeflow._native import LimitPolicy, RateLimiter

__all__ = ["Accounts", "Closure", "Line", "Waiter"]

Accounts: TypeAlias = "tuple[tuple[str, LimitPolicy], ...]"

Outcome: TypeAlias = Permit | Literal["full", "late", "never"]
"""How waiting ended: it passed, there was no place, its time was up, or it fits no limit."""

_USER: Final = "user:"
_TURN: Final = 720_720 << 20
"""What a turn costs a tier of weight 1, in virtual time: whole numbers do not drift. Every weight
up to 16 divides it, and the larger ones nearly do."""

_SLACK: Final = 64
"""How many entries that count no more a heap may hold besides as many as count."""


class Waiter:
    """One request that waits, or has just ended waiting."""

    __slots__ = (
        "accounts",
        "closure",
        "deadline_ns",
        "flow",
        "future",
        "names",
        "outcome",
        "own",
        "refusal",
        "shared",
        "tier",
        "tokens",
        "user",
        "weight",
    )

    def __init__(
        self,
        accounts: Accounts,
        tokens: int,
        *,
        tier: str,
        user: str | None,
        weight: int,
        deadline_ns: int | None,
        future: asyncio.Future[None],
    ) -> None:
        self.accounts = accounts
        self.tokens = tokens
        self.tier = tier
        self.weight = weight
        self.deadline_ns = deadline_ns
        self.future = future
        self.names = tuple([name for name, _ in accounts])
        self.own = self.names[0] if self.names and self.names[0].startswith(_USER) else None
        self.shared = self.names if self.own is None else self.names[1:]
        self.user = user or self.own or ""
        self.flow: _Flow | None = None  # while it waits
        self.closure: Closure | None = None  # which account it closed last
        self.outcome: Outcome | None = None
        self.refusal: LimitRefusal | None = None  # what it waits for, as far as is known


class _Flow:
    """One user's requests of one tier, in the order in which they came; never empty."""

    __slots__ = ("group", "key", "parked", "turn", "waiters")

    def __init__(self, key: tuple[str, str], turn: int) -> None:
        self.key = key
        self.turn = turn
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        # One of the two: ready for its turn, or waiting for an account of its own.
        self.group: _Group | None = None
        self.parked: Closure | None = None

    @property
    def head(self) -> Waiter:
        return next(iter(self.waiters))


class _Group:
    """The flows of a tier that need the same shared accounts and are ready for their turn."""

    __slots__ = ("key", "number", "ready", "ring", "shared", "tier")

    def __init__(self, key: tuple[str, tuple[str, ...]], number: int) -> None:
        self.key = key
        self.tier, self.shared = key
        self.number = number
        self.ring: list[tuple[int, _Flow]] = []  # a heap by turn; some entries count no more
        self.ready = 0

    def push(self, flow: _Flow) -> None:
        if len(self.ring) > 2 * self.ready + _SLACK:
            self.ring = [entry for entry in self.ring if self._counts(entry)]
            heapify(self.ring)
        heappush(self.ring, (flow.turn, flow))
        flow.group = self
        self.ready += 1

    def first(self) -> _Flow | None:
        """The flow whose turn is next."""
        while self.ring:
            if self._counts(self.ring[0]):
                return self.ring[0][1]
            heappop(self.ring)
        return None

    def _counts(self, entry: tuple[int, _Flow]) -> bool:
        return entry[1].group is self and entry[1].turn == entry[0]


class Closure:
    """An account that refused somebody who waits."""

    __slots__ = ("account", "due_ns", "flows", "refusal")

    def __init__(self, refusal: LimitRefusal, now_ns: int) -> None:
        self.account = refusal.account
        self.refusal = refusal
        retry_ns = refusal.retry_ns
        # Never this very moment: it would be asked without end.
        self.due_ns = None if retry_ns is None else now_ns + max(1, retry_ns)
        self.flows: dict[_Flow, None] = {}  # who is parked on it, where it is a user's own


class Line:
    """Everybody who waits, in order. Whoever calls holds the queue's lock."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter
        self._numbers = count()
        self.count = 0
        self._reset()

    def _reset(self) -> None:
        self._flows: dict[tuple[str, str], _Flow] = {}
        self._groups: dict[tuple[str, tuple[str, ...]], _Group] = {}
        self._closed: dict[str, Closure] = {}  # shared accounts, since the last look
        self._parked: dict[str, Closure] = {}  # users' own
        self._tags: dict[str, int] = {}  # by tier: when its next turn starts, in virtual time
        self._times: dict[str, int] = {}  # by shared account: when the last turn on it started
        # Heaps by time; some entries count no more.
        self._unparkings: list[tuple[int, int, Closure]] = []
        self._deadlines: list[tuple[int, int, Waiter]] = []

    # Asking

    def closure(self, names: Iterable[str]) -> Closure | None:
        """Gives what closes one of these accounts, if anything does."""
        for name in names:
            found = self._closed.get(name) or self._parked.get(name)
            if found is not None:
                return found
        return None

    def next_ns(self) -> int | None:
        """When to look again, if nothing else happens before."""
        moments = [
            closure.due_ns for closure in self._closed.values() if closure.due_ns is not None
        ]
        while self._unparkings and not self._is_parked(self._unparkings[0][2]):
            heappop(self._unparkings)
        while self._deadlines and self._deadlines[0][2].flow is None:
            heappop(self._deadlines)
        moments += [heap[0][0] for heap in (self._unparkings, self._deadlines) if heap]
        return min(moments, default=None)

    # Coming and going

    def add(self, waiter: Waiter) -> bool:
        """Puts somebody in line; gives whether it may be their turn, so that a look is due."""
        self.count += 1
        if waiter.deadline_ns is not None:
            if len(self._deadlines) > 2 * self.count + _SLACK:
                self._deadlines = [entry for entry in self._deadlines if entry[2].flow is not None]
                heapify(self._deadlines)
            heappush(self._deadlines, (waiter.deadline_ns, next(self._numbers), waiter))
        key = (waiter.tier, waiter.user)
        flow = self._flows.get(key)
        if flow is not None:
            waiter.flow = flow
            flow.waiters[waiter] = None
            return False
        flow = waiter.flow = self._flows[key] = _Flow(key, next(self._numbers))
        flow.waiters[waiter] = None
        group = self._place(flow)
        # Behind others of its group there is nothing to look for: they are closed out.
        return group is not None and group.ready == 1

    def remove(self, waiter: Waiter) -> bool:
        """Takes somebody out of the line; gives whether others may pass now."""
        flow = waiter.flow
        if flow is None:
            return False
        closure = waiter.closure
        opens = self._take(waiter, flow, served=False)
        if closure is not None and self._is_parked(closure):
            self._unpark(closure)
            opens = True
        elif closure is not None and self._closed.get(closure.account) is closure:
            opens = True
        if not self.count:
            self._reset()
        return opens

    def reopen(self, names: Iterable[str] | None) -> None:
        """Lets the users whose own accounts these are be looked at again; `None` is all users."""
        for name in list(self._parked) if names is None else names:
            closure = self._parked.get(name)
            if closure is not None:
                self._unpark(closure)

    # Looking

    def look(self, now_ns: int) -> list[Waiter]:
        """Lets everybody pass who may, in order, and gives who waits no longer, with the outcome.

        Who passes at its deadline passes; who is looked at only after it was too late.
        """
        done: list[Waiter] = []
        self._expire(now_ns - 1, done)
        while self._unparkings and self._unparkings[0][0] <= now_ns:
            closure = heappop(self._unparkings)[2]
            if self._is_parked(closure):
                self._unpark(closure)
        self._serve(now_ns, done)
        while self._expire(now_ns, done):
            self._serve(now_ns, done)
        if not self.count:
            self._reset()
        return done

    def _serve(self, now_ns: int, done: list[Waiter]) -> None:
        self._closed = {}
        ranks = [rank for group in self._groups.values() if (rank := self._rank(group))]
        heapify(ranks)
        while ranks:
            group = ranks[0][3]
            rank = None if self.closure(group.shared) is not None else self._rank(group)
            if rank is None:
                heappop(ranks)
            elif rank != ranks[0]:
                heapreplace(ranks, rank)
            else:
                flow = group.ring[0][1]
                waiter = flow.head
                closure = None if waiter.own is None else self.closure((waiter.own,))
                if closure is not None:
                    self._park(flow, closure)
                    continue
                moved_to = self._ask(waiter, flow, now_ns, done)
                if moved_to is not None and (rank := self._rank(moved_to)):
                    heappush(ranks, rank)

    def _rank(self, group: _Group) -> tuple[int, int, int, _Group] | None:
        """What groups take turns by."""
        flow = group.first()
        if flow is None:
            return None
        return self._tags.get(group.tier, 0), flow.turn, group.number, group

    def _ask(self, waiter: Waiter, flow: _Flow, now_ns: int, done: list[Waiter]) -> _Group | None:
        """Asks the limiter for who is next; gives the group that the flow went on to, if any."""
        answer = self._limiter.acquire(waiter.accounts, waiter.tokens, now_ns)
        if isinstance(answer, LimitRefusal):
            waiter.refusal = answer
            if not answer.permanent:
                closure = waiter.closure = Closure(answer, now_ns)
                if answer.account == waiter.own:
                    self._park(flow, closure)
                else:
                    self._closed[answer.account] = closure
                return None
            waiter.outcome = "never"
        else:
            waiter.outcome = answer
            start = self._tags.get(waiter.tier, 0)
            for name in waiter.shared:
                start = max(start, self._times.get(name, 0))
            self._times.update(dict.fromkeys(waiter.shared, start))
            self._tags[waiter.tier] = start + _TURN // waiter.weight
        done.append(waiter)
        group = flow.group
        self._take(waiter, flow, served=waiter.outcome != "never")
        return None if flow.group is group else flow.group

    def _expire(self, now_ns: int, done: list[Waiter]) -> bool:
        """Ends waiting at its deadline; gives whether others may pass now."""
        moved = False
        while self._deadlines and self._deadlines[0][0] <= now_ns:
            waiter = heappop(self._deadlines)[2]
            if waiter.flow is not None:
                closure = self.closure(waiter.names)
                if closure is not None:
                    waiter.refusal = closure.refusal
                waiter.outcome = "late"
                moved = self.remove(waiter) or moved
                done.append(waiter)
        return moved

    # Where flows stand

    def _place(self, flow: _Flow) -> _Group | None:
        """Parks a flow whose user's account is closed; gives the group that another goes to."""
        head = flow.head
        closure = None if head.own is None else self._parked.get(head.own)
        if closure is not None:
            flow.parked = closure
            closure.flows[flow] = None
            return None
        key = (head.tier, head.shared)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key, next(self._numbers))
        group.push(flow)
        return group

    def _unplace(self, flow: _Flow) -> None:
        if flow.parked is not None:
            flow.parked.flows.pop(flow)
            if not flow.parked.flows and self._is_parked(flow.parked):
                del self._parked[flow.parked.account]
            flow.parked = None
        if flow.group is not None:
            flow.group.ready -= 1
            if not flow.group.ready:
                del self._groups[flow.group.key]
            flow.group = None

    def _take(self, waiter: Waiter, flow: _Flow, *, served: bool) -> bool:
        """Takes one out of a flow; gives whether the flow now waits for other accounts."""
        was_first = flow.head is waiter
        del flow.waiters[waiter]
        waiter.flow = waiter.closure = None
        self.count -= 1
        if not flow.waiters:
            self._unplace(flow)
            del self._flows[flow.key]
            return False
        if not was_first:
            return False
        moved = flow.head.names != waiter.names
        if served:
            flow.turn = next(self._numbers)  # it has had its turn: to the end of the ring
        if moved:
            self._unplace(flow)
            self._place(flow)
        elif served and flow.group is not None:
            flow.group.ready -= 1
            flow.group.push(flow)
        return moved

    def _is_parked(self, closure: Closure) -> bool:
        return self._parked.get(closure.account) is closure

    def _park(self, flow: _Flow, closure: Closure) -> None:
        """Sets a flow aside until its user's account may have room again; it keeps its turn."""
        self._unplace(flow)
        flow.parked = closure
        closure.flows[flow] = None
        if self._is_parked(closure):
            return
        self._parked[closure.account] = closure
        if closure.due_ns is not None:
            if len(self._unparkings) > 2 * len(self._parked) + _SLACK:
                self._unparkings = [
                    entry for entry in self._unparkings if self._is_parked(entry[2])
                ]
                heapify(self._unparkings)
            heappush(self._unparkings, (closure.due_ns, next(self._numbers), closure))

    def _unpark(self, closure: Closure) -> None:
        del self._parked[closure.account]
        flows, closure.flows = closure.flows, {}
        for flow in flows:
            flow.parked = None
            self._place(flow)
