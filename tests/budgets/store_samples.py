"""Events and stores for the tests of stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from cascadeflow.budgets.records import Charge, Scope, Spender, UsageEvent
from cascadeflow.budgets.stores import open_store
from cascadeflow.budgets.stores.memory import MemoryStore
from cascadeflow.testing.clock import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

    from cascadeflow.budgets.stores.sqlite import SqliteStore

START = datetime(2026, 3, 1, 12, 7, tzinfo=UTC)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
GLOBAL = Scope("global")
ANN = Scope("user", "ann")
MODEL = "openai:gpt-5-mini"


def usage(
    number: int | str,
    nanodollars: int | None = 10,
    *,
    user: str | None = "ann",
    minutes: float = 0.0,
    request: str | None = None,
    model: str = MODEL,
    confirmed: bool = True,
    corrects: str | None = None,
    corrected: int = 0,
    spender: Spender | None = None,
    metadata: dict[str, object] | None = None,
) -> UsageEvent:
    at = START + timedelta(minutes=minutes)
    return UsageEvent(
        event_id=f"e{number}",
        at=at,
        logged_at=at + timedelta(seconds=1),
        request_id=request or f"r{number}",
        spender=spender or Spender(user_id=user),
        charge=Charge(model=model, nanodollars=nanodollars, confirmed=confirmed),
        corrects=corrects,
        corrected_nanodollars=corrected,
        metadata=metadata or {},
    )


class Opener(Protocol):
    """Opens the same store again and again, each time as a new process would."""

    def open(self) -> SqliteStore | MemoryStore: ...

    def crash(self) -> None:
        """Ends the store as the death of its process does."""


class MemoryOpener:
    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self._store: MemoryStore | None = None

    def open(self) -> MemoryStore:
        self._store = MemoryStore(clock=self.clock, left=self._store)
        return self._store

    def crash(self) -> None:
        """What opens next finds what was there."""


class SqliteOpener:
    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(START)
        self.path = path
        self._store: SqliteStore | None = None

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def open(self) -> SqliteStore:
        self._store = open_store(self.url, clock=self.clock)
        return self._store

    def crash(self) -> None:
        # Closes the file and gives the lock back, as the system does, and writes nothing.
        assert self._store is not None
        self._store._shut()
        assert self._store._lock is not None
        self._store._lock.release()
