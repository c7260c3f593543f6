"""A slow, obvious model of `cascadeflow._native.Window`, on the standard library's `zoneinfo`.

A period is named by a number that never falls as time goes on. That of a calendar window follows
the *latest local date so far*: where clocks are set back over midnight, the new day has begun all
the same and does not end again; a day that a zone skipped has no instant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Literal
from zoneinfo import ZoneInfo

from cascadeflow.errors import ConfigurationError

__all__ = ["EARLIEST_MS", "LATEST_MS", "Window", "unix_ms", "zone_names"]

Kind = Literal["day", "week", "month", "total", "rolling"]

EARLIEST_MS = -62_000_000_000_000
LATEST_MS = 253_000_000_000_000
"""Instants the ledger takes: from the year 5 to 9987."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONDAY = date(1969, 12, 29)
MILLISECOND = timedelta(milliseconds=1)


def at(unix_ms: int) -> datetime:
    return EPOCH + unix_ms * MILLISECOND


def unix_ms(moment: datetime) -> int:
    return (moment - EPOCH) // MILLISECOND


def first_instant(day: date, zone: ZoneInfo) -> datetime:
    """The first instant at which the zone's date is `day` or a later one."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    first = midnight.astimezone(UTC)
    second = midnight.replace(fold=1).astimezone(UTC)
    if second >= first:  # midnight comes once, or twice
        return first
    # There is no midnight: the clock jumps over it, somewhere between the two.
    before, after = second, first
    while after - before > MILLISECOND:
        middle = before + (after - before) // MILLISECOND // 2 * MILLISECOND
        if middle.astimezone(zone).date() >= day:
            after = middle
        else:
            before = middle
    return after


def latest_date(moment: datetime, zone: ZoneInfo) -> date:
    """The latest date that the zone has seen by then."""
    day = moment.astimezone(zone).date()
    while first_instant(day + timedelta(1), zone) <= moment:
        day += timedelta(1)
    return day


@dataclass(frozen=True, slots=True)
class Window:
    """Over which time a scope's money is counted."""

    kind: Kind
    zone: str = ""
    seconds: int = 0
    parts: int = 0

    @staticmethod
    def day(zone: str) -> Window:
        return Window("day", known(zone))

    @staticmethod
    def week(zone: str) -> Window:
        return Window("week", known(zone))

    @staticmethod
    def month(zone: str) -> Window:
        return Window("month", known(zone))

    @staticmethod
    def total() -> Window:
        return Window("total")

    @staticmethod
    def rolling(seconds: int, buckets: int) -> Window:
        if not 1 <= seconds <= 366 * 86_400 or not 1 <= buckets <= 1_000:
            raise ConfigurationError("a rolling window has 1 s to 366 days and 1 to 1000 buckets")
        return Window("rolling", seconds=seconds, parts=buckets)

    @property
    def width_ms(self) -> int:
        """How long a bucket of a rolling window lasts; together they last at least the window."""
        return math.ceil(self.seconds * 1000 / self.parts)

    @property
    def buckets(self) -> int:
        """How many numbers count together: the window's buckets and the one partly outside."""
        return self.parts + 1 if self.kind == "rolling" else 1

    def index(self, now_ms: int) -> int:
        """The number of the period, or of the bucket, that holds at an instant."""
        if self.kind == "total":
            return 0
        if self.kind == "rolling":
            return now_ms // self.width_ms
        day = latest_date(at(now_ms), zone_info(self.zone))
        if self.kind == "day":
            return day.toordinal() - EPOCH.toordinal()
        if self.kind == "week":
            return (day - MONDAY).days // 7
        return (day.year - 1970) * 12 + day.month - 1

    def starts_ms(self, index: int) -> int | None:
        """When the period or bucket of that number begins."""
        if self.kind == "total":
            return None
        if self.kind == "rolling":
            return index * self.width_ms
        if self.kind == "day":
            day = EPOCH.date() + timedelta(index)
        elif self.kind == "week":
            day = MONDAY + timedelta(7 * index)
        else:
            day = date(1970 + index // 12, 1 + index % 12, 1)
        return unix_ms(first_instant(day, zone_info(self.zone)))

    def period(self, now_ms: int) -> tuple[int | None, int | None]:
        """The instance that holds at an instant: from the oldest bucket's start to the newest's
        end."""
        index = self.index(now_ms)
        return self.starts_ms(index - self.buckets + 1), self.starts_ms(index + 1)


@cache
def zone_info(zone: str) -> ZoneInfo:
    """A zone of the package `tzdata`; a system's own data may be years old."""
    with files("tzdata").joinpath("zoneinfo", *zone.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=zone)


def known(zone: str) -> str:
    if zone not in zone_names():
        raise ConfigurationError(f"{zone!r} is no IANA time zone, such as Europe/Oslo")
    return zone


@cache
def zone_names() -> tuple[str, ...]:
    return tuple(files("tzdata").joinpath("zones").read_text().split())
