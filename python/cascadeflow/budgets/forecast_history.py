"""A history, whatever it is made of, as sums by quarter of an hour and by local day."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from cascadeflow.budgets.accounts import ANONYMOUS
from cascadeflow.budgets.records import ManualEvent, UsageEvent
from cascadeflow.errors import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from zoneinfo import ZoneInfo

    from cascadeflow.budgets.records import LogEvent, Scope

__all__ = ["MOST_DAYS", "QUARTER", "complete_days", "quarters_of", "zone_of"]

MOST_DAYS: Final = 84
"""Complete days that are looked at, the newest ones."""

QUARTER: Final = 900
"""Seconds in a quarter of an hour: every zone's midnight is the begin of one."""


def quarters_of(
    history: Iterable[tuple[datetime, int] | LogEvent], scope: Scope, now: datetime
) -> dict[int, int]:
    """Sums by UTC quarter of an hour, whatever the history is made of; what is to come is left out.

    A million events are a few thousand sums.
    """
    sums: dict[int, int] = {}
    last = now.timestamp()
    is_own = _own(scope)
    for item in history:
        if isinstance(item, tuple):
            at, amount = item
        elif isinstance(item, ManualEvent) or not is_own(item):
            continue  # what was set right by hand was not spent
        else:
            at, amount = item.at, item.booked
        if at.tzinfo is None:
            raise InvalidRequestError("a time in the history must have a time zone, such as UTC")
        second = at.timestamp()
        if second <= last:
            quarter = int(second // QUARTER)
            sums[quarter] = sums.get(quarter, 0) + amount
    return sums


def _own(scope: Scope) -> Callable[[UsageEvent], bool]:
    """Tells whether an event is the scope's spending."""
    kind, name = scope.kind, scope.name
    if kind == "global":
        return lambda _: True
    if kind == "tag":
        return lambda event: name in event.spender.tags
    if kind == "user":
        return lambda event: (event.spender.user_id or ANONYMOUS) == name
    value = attrgetter(
        {
            "model": "charge.model",
            "tier": "spender.tier",
            "team": "spender.team",
            "key": "spender.key",
        }[kind]
    )
    return lambda event: bool(value(event) == name)


def complete_days(
    quarters: dict[int, int], now: datetime, zone: ZoneInfo
) -> tuple[list[dict[int, int]], int]:
    """The local days after the first one of the history and before today, oldest first.

    The first one is left out, for nobody knows when on that day the account began.

    Returns:
        The days, each as sums by quarter on the wall, and today's weekday, 0 for Monday.
    """
    today = now.astimezone(zone).date()
    if not quarters:
        return [], today.weekday()
    first = datetime.fromtimestamp(min(quarters) * QUARTER, zone).date()
    start = max(first + timedelta(days=1), today - timedelta(days=MOST_DAYS))
    days: list[dict[int, int]] = [{} for _ in range((today - start).days)]
    # A day's margin: no zone is further than that from UTC.
    oldest = (datetime.combine(start, time(), UTC) - timedelta(days=1)).timestamp() // QUARTER
    for quarter, amount in quarters.items():
        if quarter < oldest:
            continue
        local = datetime.fromtimestamp(quarter * QUARTER, zone)
        index = (local.date() - start).days
        if 0 <= index < len(days):
            wall = local.hour * 4 + local.minute // 15
            days[index][wall] = days[index].get(wall, 0) + amount
    return days, today.weekday()


def zone_of(name: str) -> ZoneInfo:
    """The zone of an IANA name.

    Raises:
        ConfigurationError: there is none.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - a forecast's only

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(
            f"the time zone {name!r:.80} is not known here: write an IANA name such as "
            "'Europe/Oslo', and install the package tzdata where the system has no zones"
        ) from None
