"""Stores in memory that fail, wait or count, for the tracker's tests."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from cascadeflow.budgets.stores.memory import MemoryStore
from cascadeflow.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cascadeflow.budgets.records import LogEvent, Scope
    from cascadeflow.budgets.stores.protocol import Grant, ScopeRecord, StrictHold
    from cascadeflow.budgets.tracker import CostTracker


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
