"""Reads the usage log for reports and exports: each charge once, corrections as differences.

A correction takes the place of an unconfirmed charge. Its money is logged as a difference already
(`UsageEvent.booked`); its tokens are not, so the reader keeps what it needs of the unconfirmed
charges until their corrections come, in whichever order the two arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cascadeflow.budgets.records import ManualEvent, UsageEvent
from cascadeflow.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from cascadeflow.budgets.records import LogEvent, Scope
    from cascadeflow.types import PeriodKind

__all__ = ["Adjustment", "Entry", "LogReader"]


class Entry(NamedTuple):
    """One charge as it adds to what was added up before.

    Attributes:
        event: the event; `event.booked` is the money it adds.
        calls: 1, and 0 for a correction.
        input_tokens: tokens it adds, negative when a correction lowers them; `None` when unknown.
        output_tokens: likewise.
        unknown_costs: 1 for a charge of unknown cost, -1 for the correction that makes it known.
        unknown_tokens: the same for a charge whose input or output tokens are unknown.
    """

    event: UsageEvent
    calls: int
    input_tokens: int | None
    output_tokens: int | None
    unknown_costs: int
    unknown_tokens: int


class Adjustment(NamedTuple):
    """What was changed by hand on one account: it moves a budget, it is no cost.

    Attributes:
        scope: whose account.
        period: which period; `None` for all the account has.
        nanodollars: the sum of the changes.
        changes: how many there were.
    """

    scope: Scope
    period: PeriodKind | None
    nanodollars: int
    changes: int


class _Usage(NamedTuple):
    """What of a charge a correction replaces."""

    input_tokens: int | None
    output_tokens: int | None
    cost_known: bool


class LogReader:
    """Reads one log once.

    Args:
        since: only what began then or later; usage by the request's start, its corrections with it.
        until: only what began before.
        ordered: the events come by `at`, oldest first. Then what the reader remembers is bounded by
            the events of one instant, and an event out of order is an error. Otherwise it remembers
            every event's id (about 0.1 KB each).

    Raises:
        InvalidRequestError: `since` or `until` has no time zone, or `until` lies before `since`.
    """

    __slots__ = (
        "_adjusted",
        "_corrections",
        "_ids",
        "_manual_ids",
        "_now",
        "_ordered",
        "_originals",
        "_since",
        "_until",
    )

    def __init__(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        ordered: bool = False,
    ) -> None:
        for name, moment in (("since", since), ("until", until)):
            if moment is not None and moment.utcoffset() is None:
                raise InvalidRequestError(
                    f"{name} needs a time zone: datetime(…, tzinfo=UTC), not {moment.isoformat()}"
                )
        if since is not None and until is not None and until < since:
            raise InvalidRequestError(
                f"until ({until.isoformat()}) lies before since ({since.isoformat()})"
            )
        self._since = since
        self._until = until
        self._ordered = ordered
        self._now: datetime | None = None
        self._ids: set[str] = set()
        self._manual_ids: set[str] = set()
        self._originals: dict[str, _Usage] = {}
        self._corrections: dict[str, _Usage] = {}
        self._adjusted: dict[tuple[Scope, PeriodKind | None], tuple[int, int]] = {}

    @property
    def adjustments(self) -> tuple[Adjustment, ...]:
        """What was changed by hand, of what has been read so far, by account."""
        return tuple(
            Adjustment(scope, period, nanodollars, changes)
            for (scope, period), (nanodollars, changes) in sorted(
                self._adjusted.items(), key=lambda each: (str(each[0][0]), each[0][1] or "")
            )
        )

    def entries(self, events: Iterable[LogEvent]) -> Iterator[Entry]:
        """Gives each charge that lies in the time asked for, once.

        Raises:
            InvalidRequestError: the reader is `ordered` and an event lies before the one before it.
        """
        since, until, ids = self._since, self._until, self._ids
        for event in events:
            at = event.at
            if (since is not None and at < since) or (until is not None and at >= until):
                continue
            if not isinstance(event, UsageEvent):
                self._note(event)
                continue
            if self._ordered and at != self._now:
                self._forget(at)
            if event.event_id in ids:
                continue
            ids.add(event.event_id)
            if event.corrects is None and event.charge.confirmed:
                # The common case needs no memory: nothing corrects a confirmed charge.
                charge = event.charge
                unknown = charge.input_tokens is None or charge.output_tokens is None
                yield Entry(
                    event,
                    1,
                    charge.input_tokens,
                    charge.output_tokens,
                    int(charge.nanodollars is None),
                    int(unknown),
                )
            else:
                yield self._paired(event)

    def _paired(self, event: UsageEvent) -> Entry:
        """Gives an unconfirmed charge or a correction as the difference it makes."""
        charge = event.charge
        usage = _Usage(charge.input_tokens, charge.output_tokens, charge.nanodollars is not None)
        before: _Usage | None = None
        if event.corrects is not None:
            before = self._originals.pop(event.corrects, None)
            if before is None:
                self._corrections[event.corrects] = usage
            else:
                usage = _replaced(before, usage)
        after = self._corrections.pop(event.event_id, None)
        if after is not None:
            # Its correction came first and was taken in full: only what that left open is added.
            before, usage = after, _replaced(usage, after)
        elif not charge.confirmed:
            self._originals[event.event_id] = usage
        return Entry(
            event,
            int(event.corrects is None),
            _difference(before.input_tokens if before else None, usage.input_tokens),
            _difference(before.output_tokens if before else None, usage.output_tokens),
            (not usage.cost_known) - (before is not None and not before.cost_known),
            _unknown_tokens(usage) - (before is not None and _unknown_tokens(before)),
        )

    def _forget(self, at: datetime) -> None:
        """Begins another instant."""
        if self._now is not None and at < self._now:
            raise InvalidRequestError(
                f"the events are not in order: {at.isoformat()} comes after "
                f"{self._now.isoformat()}; read them with ordered=False"
            )
        self._now = at
        self._ids.clear()
        self._originals.clear()
        self._corrections.clear()

    def _note(self, event: ManualEvent) -> None:
        """Adds up what was changed by hand; a limit, or what books nothing, is no money."""
        if event.kind == "limit" or not event.nanodollars or event.event_id in self._manual_ids:
            return
        self._manual_ids.add(event.event_id)
        key = (event.scope, event.period)
        nanodollars, changes = self._adjusted.get(key, (0, 0))
        self._adjusted[key] = (nanodollars + event.nanodollars, changes + 1)


def _replaced(before: _Usage, after: _Usage) -> _Usage:
    """What is known once the correction has come; it may know less than the charge did."""
    return _Usage(
        before.input_tokens if after.input_tokens is None else after.input_tokens,
        before.output_tokens if after.output_tokens is None else after.output_tokens,
        before.cost_known or after.cost_known,
    )


def _difference(before: int | None, after: int | None) -> int | None:
    return None if after is None else after - (before or 0)


def _unknown_tokens(usage: _Usage) -> bool:
    return usage.input_tokens is None or usage.output_tokens is None
