"""A store in memory, which behaves as the ones on disk do: for tests, and to read how they work.

It outlives nothing; `MemoryStore(left=…)` shows what a process would find that opens the store
after another one died, or closed it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cascadeflow.budgets.audit import reclaimed
from cascadeflow.budgets.records import Charge, Scope, UsageEvent
from cascadeflow.budgets.stores.chain import Chain, ChainRow, Head
from cascadeflow.budgets.stores.events import (
    booking,
    check_amount,
    decode,
    encode,
    limit_changes,
    micros,
    quarter_entries,
    quarter_of,
)
from cascadeflow.budgets.stores.notes import decode_note, encode_note
from cascadeflow.budgets.stores.protocol import ScopeRecord
from cascadeflow.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from cascadeflow.budgets.records import LogEvent, ManualEvent
    from cascadeflow.budgets.stores.protocol import Grant, HeldCall, StrictHold
    from cascadeflow.clock import Clock
    from cascadeflow.types import JsonObject, PeriodKind

__all__ = ["MemoryStore"]


@dataclass(slots=True)
class _Sums:
    spent: dict[Scope, int] = field(default_factory=dict)
    quarters: dict[Scope, dict[int, int]] = field(default_factory=dict)
    taken: dict[Scope, dict[int, int]] = field(default_factory=dict)
    limits: dict[Scope, dict[PeriodKind, int | None]] = field(default_factory=dict)

    def add(self, event: LogEvent) -> None:
        booked = booking(event, micros(event.at))
        if booked is not None:
            for scope in (Scope(kind, name) for kind, name in booked.scopes):
                self.spent[scope] = self.spent.get(scope, 0) + booked.nanodollars
                self._book(scope, booked.quarter, booked.nanodollars)
        for scope, period, limit in limit_changes(event):
            self.limits.setdefault(scope, {})[period] = limit

    def _book(self, scope: Scope, quarter: int, nanodollars: int) -> None:
        quarters = self.quarters.setdefault(scope, {})
        total = quarters[quarter] = quarters.get(quarter, 0) + nanodollars
        taken = self.taken.setdefault(scope, {})
        if nanodollars < 0:
            if total < 0:
                taken[quarter] = max(taken.get(quarter, 0), -total)
            return
        # A charge of an earlier quarter came after what was taken off in these: see `sqlite_sums`.
        for later in taken:
            if later > quarter:
                taken[later] += nanodollars


@dataclass(slots=True)
class _Contents:
    """What a file would hold."""

    log: list[ChainRow] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    sums: _Sums = field(default_factory=_Sums)
    grants: dict[Scope, tuple[int, datetime]] = field(default_factory=dict)
    unreported: dict[Scope, tuple[int, datetime]] = field(default_factory=dict)
    holds: dict[int, tuple[StrictHold, HeldCall]] = field(default_factory=dict)
    held_ever: int = 0
    notes: dict[str, str] = field(default_factory=dict)


class MemoryStore:
    """A store of record in memory; see `budgets.stores.protocol.Store`."""

    def __init__(
        self,
        *,
        clock: Clock,
        audit_key: str | bytes | None = None,
        left: MemoryStore | None = None,
    ) -> None:
        """Starts empty, or with what another left.

        Args:
            clock: what dates the events that the store itself writes.
            audit_key: the key of the chain; at least 16 bytes, the same at every opening.
            left: another store, which ends as a crash would end it if it is not closed: this one
                finds what the next process would find.

        Raises:
            ConfigurationError: the key is too short.
        """
        self._clock = clock
        self._chain = Chain(audit_key)
        self._mutex = threading.RLock()
        self._closed = False
        self._contents = _Contents() if left is None else left.taken()
        self._recover()

    def taken(self) -> _Contents:
        """Ends this store and gives what is in it."""
        with self._mutex:
            self._closed = True
            return self._contents

    def _recover(self) -> None:
        contents, now = self._contents, self._clock.now()
        self.append(
            [
                UsageEvent(
                    event_id=f"{hold.request_id}:hold-{number}",
                    at=hold.at,
                    logged_at=now,
                    request_id=hold.request_id,
                    spender=hold.spender,
                    charge=Charge(
                        model=call.model,
                        nanodollars=call.nanodollars,
                        confirmed=False,
                        held=call.nanodollars,
                    ),
                )
                for number, (hold, call) in sorted(contents.holds.items())
            ]
        )
        contents.holds.clear()
        for scope, (up_to, at) in contents.grants.items():
            before, latest = contents.unreported.get(scope, (0, at))
            extra = up_to - self._spent(scope)
            if extra > 0:
                contents.unreported[scope] = before + extra, max(at, latest)
        contents.grants.clear()

    def _open(self) -> _Contents:
        if self._closed:
            raise StoreError(
                "this store in memory is closed: open it again with MemoryStore(left=…)"
            )
        return self._contents

    def _spent(self, scope: Scope) -> int:
        contents = self._contents
        return contents.sums.spent.get(scope, 0) + contents.unreported.get(scope, (0, None))[0]

    def scopes(self, *, since: datetime) -> Iterator[ScopeRecord]:
        """Every scope that has spending since then, a total, or a limit set by hand."""
        with self._mutex:
            contents = self._open()
            sums = contents.sums
            known = dict.fromkeys([*sums.spent, *sums.limits, *contents.unreported])
        for scope in known:
            record = self.scope(scope, since=since)
            if record.spent or record.by_quarter or record.limits:
                yield record

    def scope(self, scope: Scope, *, since: datetime) -> ScopeRecord:
        """One scope; an empty record when nothing is known of it."""
        start = quarter_of(micros(since))
        with self._mutex:
            contents = self._open()
            unreported, granted_at = contents.unreported.get(scope, (0, None))
            taken = contents.sums.taken.get(scope, {})
            return ScopeRecord(
                scope=scope,
                spent=self._spent(scope),
                unreported=unreported,
                by_quarter=tuple(
                    entry
                    for quarter, nanodollars in sorted(
                        contents.sums.quarters.get(scope, {}).items()
                    )
                    if quarter >= start
                    for entry in quarter_entries(quarter, nanodollars, taken.get(quarter, 0))
                ),
                granted_at=granted_at,
                limits=tuple(sorted(contents.sums.limits.get(scope, {}).items())),
            )

    def grant(self, grants: Sequence[Grant]) -> None:
        """Journals what may be spent."""
        for each in grants:
            check_amount(each.up_to, what="a grant")
            micros(each.at)
        with self._mutex:
            journal = self._open().grants
            for each in grants:
                up_to, at = journal.get(each.scope, (each.up_to, each.at))
                journal[each.scope] = max(up_to, each.up_to), max(at, each.at)

    def hold(self, holds: Sequence[StrictHold]) -> None:
        """Journals holds; a second hold of the same request adds its calls to the first's."""
        for each in holds:
            micros(each.at)
            for call in each.calls:
                check_amount(call.nanodollars, what="a hold")
        with self._mutex:
            contents = self._open()
            for each in holds:
                for call in each.calls:
                    contents.held_ever += 1
                    contents.holds[contents.held_ever] = each, call

    def append(self, events: Sequence[LogEvent], *, ended: Iterable[str] = ()) -> None:
        """Appends to the log; an event whose id is in it already is passed over.

        A usage event takes the place of one held call of its request and model; `ended` ends
        whatever else those requests hold.
        """
        encoded = [(event, encode(event)) for event in events]
        with self._mutex:
            contents = self._open()
            for event, body in encoded:
                if event.event_id in contents.ids:
                    continue
                contents.ids.add(event.event_id)
                head = self.head()
                contents.log.append(
                    ChainRow(
                        head.rows + 1,
                        event.event_id,
                        micros(event.at),
                        body,
                        self._chain.link(head.hash, body),
                    )
                )
                contents.sums.add(event)
                if isinstance(event, UsageEvent):
                    self._end_one(event)
            over = set(ended)
            for number in [n for n, (hold, _) in contents.holds.items() if hold.request_id in over]:
                del contents.holds[number]

    def _end_one(self, event: UsageEvent) -> None:
        holds = self._contents.holds
        for number, (hold, call) in holds.items():
            if hold.request_id == event.request_id and call.model == event.charge.model:
                del holds[number]
                return

    def report(self, spent: Iterable[tuple[Scope, int]]) -> None:
        """Shrinks grants to what was truly spent (a sum over the scope's life, holds included)."""
        with self._mutex:
            grants = self._open().grants
            for scope, total in spent:
                _, at = grants.pop(scope, (0, self._clock.now()))
                if total > self._spent(scope):
                    grants[scope] = check_amount(total, what="what was spent"), at

    def reclaim(self, scope: Scope, *, actor: str, reason: str, spent: int = 0) -> ManualEvent:
        """Settles what a crash left granted and not reported; see `SqliteStore.reclaim`."""
        with self._mutex:
            event = reclaimed(
                scope,
                previous=self._spent(scope),
                unreported=self._open().unreported.get(scope, (0, None))[0],
                spent=spent,
                actor=actor,
                reason=reason,
                at=self._clock.now(),
            )
            self.append([event])
            del self._contents.unreported[scope]
        return event

    def events(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[LogEvent]:
        """The log by `at`, oldest first, half-open; as it was when the first was asked for."""
        start = None if since is None else micros(since)
        end = None if until is None else micros(until)
        with self._mutex:
            log = sorted(self._open().log, key=lambda row: (row.at, row.number))
        for row in log:
            if (start is None or row.at >= start) and (end is None or row.at < end):
                yield decode(row.body)

    def rebuild_sums(self) -> None:
        """Reckons all sums and limits anew from the log."""
        with self._mutex:
            self._open().sums = self._reckoned()

    def _reckoned(self) -> _Sums:
        sums = _Sums()
        for row in self._contents.log:
            sums.add(decode(row.body))
        return sums

    @property
    def chain(self) -> Chain:
        """How its rows are hashed."""
        return self._chain

    @property
    def key_fits(self) -> bool:
        """Always: it began with the key it has."""
        return True

    def head(self) -> Head:
        """What it says its newest row is."""
        with self._mutex:
            log = self._open().log
            return Head(log[-1].number, log[-1].hash) if log else self._chain.genesis

    def rows(self) -> Iterator[ChainRow]:
        """The log as it is kept, in the order it was written."""
        with self._mutex:
            return iter(tuple(self._open().log))

    def check_beside_chain(self) -> str | None:
        """Says what is wrong beside the chain: damage, or sums that are not those of the log."""
        with self._mutex:
            kept, reckoned = self._open().sums, self._reckoned()
        for scope in {**kept.spent, **reckoned.spent}:
            if kept.spent.get(scope, 0) != reckoned.spent.get(scope, 0):
                return f"the life's sum of {scope} is not what the log adds up to: reckon it anew"
        if kept != reckoned:
            return "the sums by quarter or the limits are not what the log adds up to: reckon anew"
        return None

    def get_note(self, name: str) -> JsonObject | None:
        """A note as it was last written; `None` where there is none."""
        with self._mutex:
            body = self._open().notes.get(name)
        return None if body is None else decode_note(name, body)

    def put_note(self, name: str, note: JsonObject) -> None:
        """Writes a note in the place of the one of that name."""
        body = encode_note(name, note)
        with self._mutex:
            self._open().notes[name] = body

    def change_note(
        self, name: str, change: Callable[[JsonObject | None], JsonObject]
    ) -> JsonObject:
        """Reads, changes and writes a note as one step; if `change` raises, nothing is changed."""
        with self._mutex:
            self.put_note(name, change(self.get_note(name)))
            return decode_note(name, self._open().notes[name])

    def delete_note(self, name: str) -> bool:
        """Takes a note away; says whether there was one."""
        with self._mutex:
            return self._open().notes.pop(name, None) is not None

    def close(self, spent: Iterable[tuple[Scope, int]] = ()) -> None:
        """Closes: each scope's grant shrinks to what was truly spent (a sum over its life)."""
        with self._mutex:
            if not self._closed:
                self.report(spent)
                self._closed = True
