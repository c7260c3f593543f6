"""Stores in memory that fail, wait or count, for the tracker's tests."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cascadeflow.budgets.records import NOBODY, Charge
from cascadeflow.budgets.stores.memory import MemoryStore
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.errors import StoreError
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cascadeflow.budgets.records import LogEvent, Scope, Spender
    from cascadeflow.budgets.reservation import Reservation
    from cascadeflow.budgets.stores.protocol import Grant, ScopeRecord, StrictHold

USD = 10**9
MODEL = "openai:small"
START = datetime(2026, 3, 10, 12, tzinfo=UTC)
ME = {"actor": "ada", "reason": "asked for"}


class TestStore(MemoryStore):
    """Counts its calls; fails while `broken`, and waits while `gate` is closed."""

    __test__ = False

    def __init__(self, **options: Any) -> None:
        self.calls: Counter[str] = Counter()
        self.broken = False
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()
        self.granted: list[Grant] = []
        self.reported: dict[Scope, int] = {}
        super().__init__(**options)
        self.calls.clear()

    def _enter(self, what: str) -> None:
        self.calls[what] += 1
        if not self.gate.is_set():
            self.waiting.set()
            self.gate.wait()
        if self.broken:
            raise StoreError("no space left on the device")

    def scope(self, scope: Scope, **options: Any) -> ScopeRecord:
        self._enter("scope")
        return super().scope(scope, **options)

    def grant(self, grants: Sequence[Grant]) -> None:
        self._enter("grant")
        self.granted += grants
        super().grant(grants)

    def hold(self, holds: Sequence[StrictHold]) -> None:
        self._enter("hold")
        super().hold(holds)

    def append(self, events: Sequence[LogEvent], *, ended: Iterable[str] = ()) -> None:
        self._enter("append")
        super().append(events, ended=ended)

    def report(self, spent: Iterable[tuple[Scope, int]]) -> None:
        pairs = list(spent)
        self.reported |= dict(pairs)
        super().report(pairs)


def kill(tracker: CostTracker) -> None:
    """Ends a tracker's thread as the death of its process does: nothing more is written."""
    writer = tracker._writer
    assert writer is not None
    with writer._state:
        writer._closing, writer._urgent, writer._closed = True, False, "it has died"
        writer._queue.clear()
        writer._unwritten.clear()
        writer._state.notify_all()
    if writer._thread is not None:
        writer._thread.join()
    tracker._closed = True


class Site:
    """A clock, and stores that follow one another as processes do."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.store = TestStore(clock=self.clock)
        self.trackers: list[CostTracker] = []

    def tracker(self, **options: Any) -> CostTracker:
        self.trackers.append(CostTracker(store=self.store, clock=self.clock, **options))
        return self.trackers[-1]

    def crash(self) -> None:
        """What the next process finds when this one dies now."""
        dead, self.store.broken = self.store, True
        dead.gate.set()
        for tracker in self.trackers:
            kill(tracker)
        self.trackers.clear()
        self.store = TestStore(clock=self.clock, left=self.store)


def hold(
    tracker: CostTracker, amount: int, spender: Spender = NOBODY, request_id: str = "r"
) -> Reservation:
    now = tracker._clock.now()
    return tracker.reserve_sync(spender, [(MODEL, amount)], request_id=request_id, at=now)


def paid(amount: int) -> list[Charge]:
    return [Charge(model=MODEL, nanodollars=amount, confirmed=True, held=amount)]


def spent(tracker: CostTracker, scope: str = "global") -> dict[str, int]:
    return {standing.period: standing.spent for standing in tracker.accounts(scope)}
