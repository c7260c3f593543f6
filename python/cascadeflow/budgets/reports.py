"""Chargeback: who spent what, when and on which models, from the usage log.

Sums are integer nanodollars and equal the ledger's to the last one. A correction counts as the
difference it makes, in the period of the charge that it corrects; an event that was delivered twice
counts once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias, get_args

from cascadeflow.budgets.log_reading import Entry, LogReader
from cascadeflow.budgets.report_records import Grouping, Report, ReportRow
from cascadeflow.errors import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from cascadeflow.budgets.records import LogEvent

__all__ = ["Grouping", "Report", "ReportRow", "chargeback", "zone"]

_TIMES: Final = {"day": 0, "week": 1, "month": 2}

_Key: TypeAlias = Callable[[Entry], str]

_KEYS: Final[dict[str, _Key]] = {
    "user": lambda entry: entry.event.spender.user_id or "",
    "tier": lambda entry: entry.event.spender.tier or "",
    "team": lambda entry: entry.event.spender.team or "",
    "key": lambda entry: entry.event.spender.key or "",
    "model": lambda entry: entry.event.charge.model,
    "provider": lambda entry: entry.event.charge.model.partition(":")[0],
    "role": lambda entry: entry.event.charge.role,
}


def chargeback(
    events: Iterable[LogEvent],
    *,
    by: Sequence[Grouping],
    since: datetime | None = None,
    until: datetime | None = None,
    timezone: str = "UTC",
    ordered: bool = False,
) -> Report:
    """Adds up the usage log.

    It reads the log once. The rows are kept, and each event's id, unless the events come in order.

    Args:
        events: the usage log, such as `store.events()`.
        by: what there is a row for each of; several: for each combination. None: only totals.
        since: only requests that began then or later.
        until: only requests that began before.
        timezone: an IANA name: whose days, weeks and months are meant.
        ordered: the events come by `at`, oldest first; then memory does not grow with their number.

    Raises:
        InvalidRequestError: an unknown or repeated grouping, a moment without a time zone, or
            events out of order that were said to be `ordered`.
        ConfigurationError: no such time zone.

    >>> from datetime import UTC, datetime
    >>> from cascadeflow.budgets.records import Charge, Spender, UsageEvent
    >>> moment = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    >>> charge = Charge(model="openai:gpt-5", nanodollars=1_250, confirmed=True)
    >>> event = UsageEvent(event_id="e1", at=moment, logged_at=moment, request_id="r1",
    ...                    spender=Spender(user_id="u1"), charge=charge)
    >>> report = chargeback([event, event], by=["day", "user"], timezone="Europe/Oslo")
    >>> [(row.keys, row.calls, str(row.cost)) for row in report.rows]
    [(('2026-11-23', 'u1'), 1, '0.000001250')]
    """
    groupings = _checked(by)
    reader = LogReader(since=since, until=until, ordered=ordered)
    keys = _KeyMaker(groupings, zone(timezone))
    sums: dict[tuple[str, ...], _Sum] = {}
    totals = _Sum()
    overlapping = 0
    for entry in reader.entries(events):
        totals.add(entry, ordered=ordered)
        rows = keys.of(entry)
        if len(rows) > 1:
            overlapping += entry.calls
        for row in rows:
            added = sums.get(row)
            if added is None:
                added = sums[row] = _Sum()
            added.add(entry, ordered=ordered)
    times = tuple(index for index, name in enumerate(groupings) if name in _TIMES)
    return Report(
        by=groupings,
        timezone=timezone,
        since=since,
        until=until,
        rows=tuple(
            sorted(
                (added.row(row) for row, added in sums.items()),
                key=lambda row: (
                    tuple(row.keys[index] for index in times), -row.nanodollars, row.keys
                ),
            )
        ),
        totals=totals.row(()),
        overlapping=overlapping,
        adjustments=reader.adjustments,
    )  # fmt: skip


def zone(name: str) -> ZoneInfo:
    """Gives a time zone by its IANA name.

    Raises:
        ConfigurationError: there is no such time zone on this machine.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(
            f"there is no time zone {name!r} on this machine: use an IANA name such as "
            "'Europe/Oslo' (where it knows none at all, install the package tzdata)"
        ) from None


class _KeyMaker:
    """Says in which rows an entry stands."""

    __slots__ = ("_by_tag", "_makers", "_names", "_times", "_zone")

    def __init__(self, names: tuple[Grouping, ...], zone: ZoneInfo) -> None:
        self._names = names
        self._zone = zone
        self._by_tag = names.index("tag") if "tag" in names else None
        self._makers: list[_Key] = [self._maker(name) for name in names]
        self._times: dict[int, tuple[str, str, str]] = {}

    def of(self, entry: Entry) -> list[tuple[str, ...]]:
        """Gives the keys of an entry's rows: one, or one for each of its tags."""
        keys = tuple([make(entry) for make in self._makers])
        if self._by_tag is None:
            return [keys]
        tags = dict.fromkeys(filter(None, entry.event.spender.tags)) or ("",)
        before, after = keys[: self._by_tag], keys[self._by_tag + 1 :]
        return [(*before, tag, *after) for tag in tags]

    def _maker(self, name: Grouping) -> _Key:
        if name in _TIMES:
            index = _TIMES[name]
            return lambda entry: self._periods(entry.event.at)[index]
        return _KEYS.get(name, lambda _entry: "")

    def _periods(self, at: datetime) -> tuple[str, str, str]:
        """Gives the day, ISO week and month of a moment.

        No zone of today changes its day other than at a whole quarter of an hour of UTC.
        """
        quarter = int(at.timestamp() // 900)
        found = self._times.get(quarter)
        if found is None:
            local = at.astimezone(self._zone)
            year, week, _ = local.isocalendar()
            found = (f"{local:%Y-%m-%d}", f"{year:04}-W{week:02}", f"{local:%Y-%m}")
            self._times[quarter] = found
        return found


class _Sum:
    """One row as it is added up."""

    __slots__ = (
        "at",
        "calls",
        "input_tokens",
        "nanodollars",
        "output_tokens",
        "overrun",
        "request_ids",
        "requests",
        "unconfirmed",
        "unknown_costs",
        "unknown_tokens",
    )

    def __init__(self) -> None:
        self.calls = self.requests = 0
        self.input_tokens = self.output_tokens = 0
        self.nanodollars = self.unconfirmed = self.overrun = 0
        self.unknown_costs = self.unknown_tokens = 0
        self.request_ids: set[str] = set()
        self.at: datetime | None = None

    def add(self, entry: Entry, *, ordered: bool) -> None:
        event = entry.event
        charge = event.charge
        if ordered and event.at != self.at:
            # All of a request's charges are of one moment.
            self.at = event.at
            self.request_ids.clear()
        if entry.calls and event.request_id not in self.request_ids:
            self.request_ids.add(event.request_id)
            self.requests += 1
        self.calls += entry.calls
        self.input_tokens += entry.input_tokens or 0
        self.output_tokens += entry.output_tokens or 0
        self.unknown_costs += entry.unknown_costs
        self.unknown_tokens += entry.unknown_tokens
        booked = charge.nanodollars or 0
        if event.corrects is None:
            self.nanodollars += booked
            self.overrun += max(0, booked - charge.held)
        else:
            # What it corrects was booked at what was held for it, and was unconfirmed.
            self.nanodollars += event.booked
            self.unconfirmed -= event.corrected_nanodollars
            self.overrun += max(0, booked - max(charge.held, event.corrected_nanodollars))
        if not charge.confirmed:
            self.unconfirmed += booked

    def row(self, keys: tuple[str, ...]) -> ReportRow:
        return ReportRow(
            keys=keys,
            calls=self.calls,
            requests=self.requests,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            nanodollars=self.nanodollars,
            unconfirmed_nanodollars=self.unconfirmed,
            overrun_nanodollars=self.overrun,
            unknown_costs=self.unknown_costs,
            unknown_tokens=self.unknown_tokens,
        )


def _checked(by: Sequence[Grouping]) -> tuple[Grouping, ...]:
    groupings = tuple(by)
    known = get_args(Grouping)
    for name in groupings:
        if name not in known:
            raise InvalidRequestError(
                f"a report cannot be grouped by {name!r}: choose of {', '.join(known)}"
            )
        if groupings.count(name) > 1:
            raise InvalidRequestError(f"a report is grouped by {name} once, not twice")
    return groupings
