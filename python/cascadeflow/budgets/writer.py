"""Talks to a store from a thread of its own, so that no request's path ever waits for a disk.

Everything that was asked for while a write was under way is written together in the next one. What
could not be written (a full disk) is kept and tried again; until it is written, modes that enforce
take no new requests.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cascadeflow.budgets.stores.protocol import HeldCall, StrictHold
from cascadeflow.budgets.vault import Wants
from cascadeflow.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from cascadeflow.budgets.books import Account, Books
    from cascadeflow.budgets.records import LogEvent, Scope
    from cascadeflow.budgets.reservation import Hold
    from cascadeflow.budgets.stores.protocol import ScopeRecord
    from cascadeflow.budgets.vault import Vault

__all__ = ["BATCH_SECONDS", "MOST_UNWRITTEN", "Writer"]

T = TypeVar("T")

_logger: Final = logging.getLogger(__name__)

BATCH_SECONDS: Final = 0.05
"""How long events wait for company, and so what a crash may cost the log in `default` mode."""

MOST_UNWRITTEN: Final = 50_000
"""Requests whose events may wait to be written; then new requests wait too."""

_PER_WRITE: Final = 5_000
_FIRST_RETRY: Final = 0.05
_LAST_RETRY: Final = 5.0
"""Seconds between the tries to write what could not be written; each is twice the one before."""


class _Round:
    """What is to be done in the next round of the thread."""

    __slots__ = ("done", "holds", "jobs", "loads", "tidy_at_ms", "wants")

    def __init__(self) -> None:
        self.done: Future[None] = Future()
        self.loads: dict[Scope, Wants] = {}
        self.wants: dict[Account, Wants] = {}
        self.holds: list[StrictHold] = []
        self.tidy_at_ms: int | None = None
        self.jobs: list[tuple[Future[Any], Callable[[], Any]]] = []


class Writer:
    """Queues what a store is to do, and does it."""

    def __init__(self, vault: Vault, books: Books, *, strict: bool) -> None:
        self._vault = vault
        self._books = books
        self.strict = strict
        self._state = threading.Condition(threading.Lock())
        self._queue: deque[tuple[Sequence[LogEvent], str | None]] = deque()
        self._unwritten: list[LogEvent] = []
        self._ended: list[str] = []
        self._round = _Round()
        self._rooms: list[Future[None]] = []
        self._idle = True
        self._urgent = False
        self._closing = False
        self._closed: str | None = None
        self._failure: BaseException | None = None
        self._retry_at = 0.0
        self._delay = _FIRST_RETRY
        self._thread: threading.Thread | None = None

    # What may be asked from any thread

    @property
    def failing(self) -> bool:
        """Whether the store could not be written, and it is not time to try again."""
        return self._failure is not None and (
            bool(self._unwritten) or time.monotonic() < self._retry_at
        )

    def admit(self, *, must: bool) -> Future[None] | None:
        """Says whether a request may go on: gives what to wait for, `None` when nothing is.

        Args:
            must: whether it may not run without the store.

        Raises:
            StoreError: the store cannot be written, or is closed.
        """
        if self._closed is not None:
            raise StoreError(self._closed)
        if self.failing:
            if must or len(self._queue) > MOST_UNWRITTEN:
                raise self._error()
            return None
        if len(self._queue) <= MOST_UNWRITTEN:
            return None
        with self._state:
            room: Future[None] = Future()
            self._rooms.append(room)
            self._hurry()
        return room

    def put(self, events: Sequence[LogEvent], *, ended: str | None = None) -> None:
        """Queues events; never waits. `ended` is a request whose hold on disk is over."""
        if not events and ended is None:
            return
        self._queue.append((events, ended))
        if self._idle:
            with self._state:
                self._wake()

    def load(self, scopes: Iterable[Scope], amount: int) -> Future[None]:
        """Opens scopes from the store, and asks for so much to be granted on each."""
        with self._state:
            for scope in scopes:
                self._round.loads.setdefault(scope, Wants()).add(amount, forced=False)
            self._hurry()
            return self._round.done

    def grant(self, needs: Iterable[tuple[Account, int]], *, forced: bool) -> Future[None]:
        """Asks for so much more to be granted on each account."""
        with self._state:
            for account, amount in needs:
                self._round.wants.setdefault(account, Wants()).add(amount, forced=forced)
            self._hurry()
            return self._round.done

    def hold(self, hold: Hold, calls: Sequence[tuple[str, int]]) -> Future[None]:
        """Writes down a hold."""
        record = StrictHold(
            request_id=hold.request_id,
            at=hold.at,
            spender=hold.route.spender,
            calls=tuple(HeldCall(model=model, nanodollars=amount) for model, amount in calls),
        )
        with self._state:
            self._round.holds.append(record)
            self._hurry()
            return self._round.done

    def tidy(self, now_ms: int) -> None:
        """Drops idle accounts, and gives back what they were granted. Nobody waits for it."""
        with self._state:
            self._round.tidy_at_ms = now_ms
            self._wake()

    def call(self, job: Callable[[], T]) -> Future[T]:
        """Does something with the store once everything queued so far is written."""
        future: Future[T] = Future()
        with self._state:
            if self._closed is not None:
                future.set_exception(StoreError(self._closed))
                return future
            self._round.jobs.append((future, job))
            self._hurry()
        return future

    def read_late(self, accounts: Sequence[Account]) -> Future[None]:
        """Reads what was spent in windows that came while the accounts were open."""
        return self.call(lambda: self._vault.read_late(accounts))

    def flush(self) -> Future[None]:
        """Writes what is queued so far, at once."""
        return self.call(_nothing)

    def append(self, events: Sequence[LogEvent]) -> None:
        """Writes events and waits until they are."""
        self.call(lambda: self._append_now(events)).result()

    def events(self, *, since: datetime | None, until: datetime | None) -> list[LogEvent]:
        """The log; waits for it."""
        return self.call(lambda: list(self._vault.store.events(since=since, until=until))).result()

    def records(self) -> list[ScopeRecord]:
        """Every scope that the store knows; waits for it."""
        return self.call(self._vault.records).result()

    def close(self, why: str, spent: Callable[[], list[tuple[Scope, int]]]) -> None:
        """Writes what is left, closes the store and ends the thread.

        Raises:
            StoreError: not everything could be written.
        """
        with self._state:
            if self._closing:
                return
            self._closing = True
            self._closed = why
            self._hurry()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        try:
            self._take()
            self._append()
        finally:
            self._vault.store.close(spent())

    def abandon(self, why: str) -> None:
        """In a forked child: the thread, its locks and what it was doing are the parent's."""
        self._state = threading.Condition(threading.Lock())
        self._closing = True
        self._closed = why
        self._queue.clear()
        self._unwritten = []
        self._round = _Round()

    def _error(self) -> StoreError:
        return StoreError(
            f"the budget's store cannot be written, so no request is taken on: {self._failure}"
        )

    # The lock is held

    def _hurry(self) -> None:
        self._urgent = True
        self._wake()

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="cascadeflow-budgets", daemon=True
            )
            self._thread.start()
        else:
            self._state.notify()

    # The thread

    def _run(self) -> None:
        while True:
            with self._state:
                self._wait()
                if self._closing and not self._urgent:
                    return
                self._urgent = False
                turn, self._round = self._round, _Round()
                rooms, self._rooms = self._rooms, []
            self._do(turn)
            for room in rooms:
                room.set_result(None)

    def _wait(self) -> None:
        """Waits until there is something to do; the lock is held."""
        while not self._pressing():
            if self._queue or self._unwritten or self._round.tidy_at_ms is not None:
                now = time.monotonic()
                until = now + BATCH_SECONDS if self._failure is None else self._retry_at
                while now < until and not self._pressing():
                    self._state.wait(until - now)
                    now = time.monotonic()
                return
            self._idle = True
            if not self._queue:  # whoever queued it after the flag was set has seen the flag
                self._state.wait()
            self._idle = False

    def _pressing(self) -> bool:
        return self._urgent or self._closing

    def _do(self, turn: _Round) -> None:
        """One round: the log first, then what was asked for, each with everything of its kind."""
        try:
            self._work(turn)
        except Exception as error:  # noqa: BLE001 - nobody may wait for ever
            failed = error if isinstance(error, StoreError) else _wrapped(error)
            self._failed(failed)
            with self._books.lock:
                for scope in turn.loads:
                    self._books.pending.pop(scope, None)
            turn.done.set_exception(failed)
            for future, _ in turn.jobs:
                if not future.done():
                    future.set_exception(failed)
            return
        turn.done.set_result(None)

    def _work(self, turn: _Round) -> None:
        store = self._vault.store
        with self._books.lock:
            # From here on what is booked on a scope that is being opened waits for it; what was
            # logged before is written, and so is in the sum that it is opened with.
            for scope in turn.loads:
                if scope not in self._books.accounts:
                    self._books.pending.setdefault(scope, [])
            self._take()
        self._append()
        if turn.tidy_at_ms is not None:
            # Here, where scopes are opened too: what is given back is not in use again.
            store.report(self._books.evict(turn.tidy_at_ms))
        if turn.loads:
            opened = [scope for scope in turn.loads if scope in self._books.pending]
            self._vault.open(opened)
            for scope, want in turn.loads.items():
                account = self._books.accounts.get(scope)
                if account is not None and not self.strict:
                    turn.wants.setdefault(account, want)
        self._vault.read_late(turn.wants)
        if turn.wants and not self.strict:
            self._vault.grant(turn.wants)
        if turn.holds:
            store.hold(turn.holds)
        if self._failure is not None:
            _logger.warning("the budget's store can be written again")
            self._failure = None
            self._delay = _FIRST_RETRY
        for future, job in turn.jobs:
            try:
                future.set_result(job())
            except Exception as error:  # noqa: BLE001 - it is the caller's to see
                future.set_exception(error)

    def _take(self) -> None:
        while self._queue:
            events, ended = self._queue.popleft()
            self._unwritten += events
            if ended is not None:
                self._ended.append(ended)

    def _append(self) -> None:
        if self._unwritten:
            self._vault.cover()
        while self._unwritten or self._ended:
            batch, ended = self._unwritten[:_PER_WRITE], []
            if len(self._unwritten) <= _PER_WRITE:
                ended = self._ended  # after the last of their events
            self._vault.store.append(batch, ended=ended)
            del self._unwritten[:_PER_WRITE]
            if ended is self._ended:
                self._ended = []

    def _append_now(self, events: Sequence[LogEvent]) -> None:
        self._vault.cover()
        self._vault.store.append(events)

    def _failed(self, error: BaseException) -> None:
        if self._failure is None:
            _logger.error("the budget's store cannot be written: %s", error)
        self._failure = error
        self._retry_at = time.monotonic() + self._delay
        self._delay = min(2 * self._delay, _LAST_RETRY)


def _nothing() -> None:
    """What a flush does once everything before it is written."""


def _wrapped(error: BaseException) -> StoreError:
    wrapped = StoreError(f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
