"""Where spending will stand when a period ends, how sure that is, and when the limit is reached.

The forecast is made from the complete days of an account's past, as `forecast_model` says. With
three weeks of them weekdays are told apart (`"weekday"`), with three days there is a rate
(`"rate"`), with fewer there is no forecast, and the reason says so (`"none"`). How good it is:
`python benches/forecast_backtest.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from cascadeflow.budgets.forecast_history import QUARTER, complete_days, quarters_of, zone_of
from cascadeflow.budgets.forecast_model import QUARTERS, DayPart, Fit, fit, simulate
from cascadeflow.errors import InvalidRequestError
from cascadeflow.money import to_usd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from zoneinfo import ZoneInfo

    from cascadeflow.budgets.records import LogEvent, Scope
    from cascadeflow.types import PeriodKind

__all__ = ["Forecast", "ForecastMethod", "forecast"]

ForecastMethod = Literal["weekday", "rate", "none"]

DAYS_FOR_WEEKDAYS: Final = 21
"""Complete days from which on weekdays are told apart: each was seen three times."""

DAYS_FOR_RATE: Final = 3
"""Complete days without which there is no forecast."""

HORIZON: Final = timedelta(days=366)
"""How far an account that never ends is looked ahead for the moment its limit is reached."""

_SEED: Final = 20_261_122
_PATHS: Final = 400
_GRID: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How an account will stand at its period's end; nanodollars, and times in UTC.

    Attributes:
        scope: whose account.
        period: over which time.
        expected: the middle: it will be more as likely as less. `None` without a forecast, and for
            `total`, which has no end.
        low: it will be less with a chance of `(1 - level) / 2`; never less than is spent already.
        high: it will be more with a chance of `(1 - level) / 2`.
        runs_out_at: when the limit is reached, by the middle; `None` when it is not, or without a
            limit or a forecast.
        runs_out_early: when it is reached if much is spent: earlier with a chance of
            `(1 - level) / 2`.
        method: `weekday` (level, slope, weekdays, hours), `rate` (level and hours), or `none`.
        level: the chance that it lies between `low` and `high`.
        samples: complete days that it was made from.
        reason: why there is no forecast, or only a part of one; `None` when there is one.
    """

    scope: Scope
    period: PeriodKind
    expected: int | None
    low: int | None
    high: int | None
    runs_out_at: datetime | None
    runs_out_early: datetime | None
    method: ForecastMethod
    level: float
    samples: int
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The forecast as plain JSON: exact US dollars as text, times in ISO 8601."""
        money = {
            name: None if amount is None else f"{to_usd(amount):f}"
            for name, amount in (
                ("expected", self.expected),
                ("low", self.low),
                ("high", self.high),
            )
        }
        times = {
            name: None if moment is None else moment.isoformat()
            for name, moment in (
                ("runs_out_at", self.runs_out_at),
                ("runs_out_early", self.runs_out_early),
            )
        }
        return {
            "scope": self.scope.kind,
            "name": self.scope.name,
            "period": self.period,
            "currency": "USD",
            **money,
            **times,
            "method": self.method,
            "level": self.level,
            "samples": self.samples,
            "reason": self.reason,
        }


def forecast(
    history: Iterable[tuple[datetime, int] | LogEvent],
    *,
    scope: Scope,
    period: PeriodKind,
    window_start: datetime | None,
    window_end: datetime | None,
    limit: int | None,
    spent: int,
    held: int,
    now: datetime,
    timezone: str,
    level: float = 0.8,
) -> Forecast:
    """Foretells one account's spending.

    Args:
        history: the past, in any order, the further back the better (twelve weeks are looked at):
            events of the log, of which those of `scope` are taken, or pairs of a time and the
            nanodollars spent then by the account, such as sums of quarter hours.
        scope: whose account.
        period: over which time.
        window_start: when the period began; for `rolling`, `now` less the window's length.
        window_end: when it ends; `None` for `total`. For `rolling`, the moment to look at, such as
            `now` and the window's length.
        limit: nanodollars, or `None`.
        spent: nanodollars settled in the period.
        held: nanodollars held for requests under way; they count as spent except in `low`.
        now: the time.
        timezone: IANA name of the zone whose days and weekdays people live by.
        level: how sure the interval shall be, more than 0 and less than 1.

    Raises:
        InvalidRequestError: a time has no zone, or `level` is out of its range.
        ConfigurationError: the zone is not known.
    """
    if not 0.0 < level < 1.0:
        raise InvalidRequestError(f"level must lie between 0 and 1, not {level}")
    for name, moment in (("now", now), ("window_start", window_start), ("window_end", window_end)):
        if moment is not None and moment.tzinfo is None:
            raise InvalidRequestError(f"{name} must have a time zone, such as UTC")
    zone = zone_of(timezone)
    now = now.astimezone(UTC)
    quarters = quarters_of(history, scope, now)
    days, today = complete_days(quarters, now, zone)
    view = _View(
        base=_Base(
            quarters=quarters,
            start=window_start if period == "rolling" else None,
            now=now,
            spent=spent,
            held=held,
        ),
        limit=limit,
        now=now,
        end=None if window_end is None else window_end.astimezone(UTC),
        zone=zone,
        level=level,
    )
    method: ForecastMethod = "none"
    reason: str | None = None
    if view.end is not None and view.end <= now:
        reason = "the period is over"
        outlook = _Outlook(*(view.base.at(now),) * 3)
    elif len(days) < DAYS_FOR_RATE:
        reason = (
            f"the account has {len(days)} complete days of history; a forecast needs at least "
            f"{DAYS_FOR_RATE}"
        )
        outlook = _Outlook()
    elif not any(sum(day.values()) > 0 for day in days):
        reason = f"nothing was spent in the {len(days)} complete days before today"
        outlook = _Outlook()
    else:
        method = "weekday" if len(days) >= DAYS_FOR_WEEKDAYS else "rate"
        found = fit(days, (today - 1) % 7, weekly=method == "weekday")
        outlook = _look_ahead(found, view)
        if view.end is None:
            reason = "the period has no end: only when its limit is reached can be foretold"
    if limit is not None and spent + held >= limit:
        outlook.runs_out_at = outlook.runs_out_early = now
    return Forecast(
        scope=scope,
        period=period,
        expected=outlook.expected,
        low=outlook.low,
        high=outlook.high,
        runs_out_at=outlook.runs_out_at,
        runs_out_early=outlook.runs_out_early,
        method=method,
        level=level,
        samples=len(days),
        reason=reason,
    )


@dataclass(slots=True)
class _Outlook:
    expected: int | None = None
    low: int | None = None
    high: int | None = None
    runs_out_at: datetime | None = None
    runs_out_early: datetime | None = None


class _Base:
    """What counts in the window already, and how it falls out of one that rolls."""

    __slots__ = ("_falls", "_held", "_length", "_now", "_spent")

    def __init__(
        self,
        *,
        quarters: dict[int, int],
        start: datetime | None,
        now: datetime,
        spent: int,
        held: int,
    ) -> None:
        self._spent = spent
        self._held = held
        self._now = now
        self._length: timedelta | None = None
        self._falls: list[tuple[int, int]] = []
        if start is not None:
            self._length = now - start
            first = int(start.timestamp())
            self._falls = sorted(
                (quarter * QUARTER, amount)
                for quarter, amount in quarters.items()
                if quarter * QUARTER >= first
            )

    @property
    def rolls(self) -> bool:
        return self._length is not None

    def at(self, moment: datetime, *, with_held: bool = True) -> int:
        """Nanodollars of today's that still count at a moment to come."""
        held = self._held if with_held else 0
        if self._length is None:
            return self._spent + held
        first = (moment - self._length).timestamp()
        gone = sum(amount for began, amount in self._falls if began < first)
        if moment - self._length >= self._now:
            gone = self._spent
        return max(0, self._spent - gone) + held


@dataclass(frozen=True, slots=True)
class _View:
    base: _Base
    limit: int | None
    now: datetime
    end: datetime | None
    zone: ZoneInfo
    level: float


def _look_ahead(found: Fit, view: _View) -> _Outlook:
    """Draws many futures and reads from them what is asked."""
    end = view.end or view.now + HORIZON
    stretches = _stretches(view.now, end, view.zone)
    drawn = simulate(found, [part for _, _, part in stretches], paths=_PATHS, seed=_SEED)
    tail = (1.0 - view.level) / 2.0
    outlook = _Outlook()
    if view.end is not None:
        sums = sorted(sum(path) for path in drawn)
        base = view.base.at(end)
        outlook.low = view.base.at(end, with_held=False) + round(_quantile(sums, tail))
        outlook.expected = base + round(_quantile(sums, 0.5))
        outlook.high = base + round(_quantile(sums, 1.0 - tail))
    if view.limit is not None:
        lines = _finish_lines(stretches, found, view, view.limit)
        # A place is a stretch and the share of its money that is spent by then.
        places = sorted(_reached(path, lines) for path in drawn)
        outlook.runs_out_at = _moment(places, 0.5, stretches, found, view.zone)
        outlook.runs_out_early = _moment(places, tail, stretches, found, view.zone)
    return outlook


Stretch = tuple[datetime, datetime, DayPart]


def _stretches(now: datetime, end: datetime, zone: ZoneInfo) -> list[Stretch]:
    """Cuts the time to come at local midnights, whatever daylight saving makes of the days."""
    stretches: list[Stretch] = []
    begin = now
    ahead = 1
    while begin < end:
        local = begin.astimezone(zone)
        tomorrow = local.date() + timedelta(days=1)
        midnight = datetime.combine(tomorrow, time(), zone).astimezone(UTC)
        stop = min(end, midnight)
        part = DayPart(
            ahead,
            local.weekday(),
            0.0 if stretches else _wall_quarters(local),
            float(QUARTERS) if stop == midnight else _wall_quarters(stop.astimezone(zone)),
        )
        stretches.append((begin, stop, part))
        begin = stop
        ahead += 1
    return stretches


def _finish_lines(
    stretches: Sequence[Stretch], found: Fit, view: _View, limit: int
) -> list[tuple[int, float, float]]:
    """Where a drawn future is compared with what is left: a stretch, its share, nanodollars left.

    Of a calendar's period nothing falls out, so the ends of the stretches will do. Of a rolling one
    it falls out all the time, so it is looked at in steps of a 200th of what is to come.
    """
    if not view.base.rolls:
        left = limit - view.base.at(view.now)
        return [(index, 1.0, left) for index in range(len(stretches))]
    lines: list[tuple[int, float, float]] = []
    start, end = stretches[0][0], stretches[-1][1]
    index = 0
    for step in range(1, _GRID + 1):
        moment = start + (end - start) * (step / _GRID)
        while moment > stretches[index][1] and index + 1 < len(stretches):
            index += 1
        _, ended, part = stretches[index]
        share = 1.0
        if moment < ended:
            share = found.share(part.begin, _wall_quarters(moment.astimezone(view.zone)))
            share /= found.share(part.begin, part.end)
        lines.append((index, share, limit - view.base.at(moment)))
    return lines


def _reached(path: Sequence[float], lines: Sequence[tuple[int, float, float]]) -> tuple[int, float]:
    """Where a drawn future has spent all that is left; beyond every stretch when it has not."""
    current, before, passed = 0, 0.0, 0.0
    for index, share, left in lines:
        while current < index:
            before += path[current]
            current += 1
            passed = 0.0
        amount = path[current]
        if before + amount * share >= left:
            exact = (left - before) / amount if amount > 0 else 0.0
            return index, max(passed, exact)  # what falls out is known step by step only
        passed = share
    return len(path), 0.0


def _within(stretch: Stretch, share: float, found: Fit, zone: ZoneInfo) -> float:
    """The moment by which a share of a stretch's money is spent, by the hours people spend at."""
    begin, end = stretch[0].timestamp(), stretch[1].timestamp()
    steps: list[tuple[float, float]] = []
    moment = begin
    while moment < end:
        after = min(end, (moment // QUARTER + 1) * QUARTER)
        local = datetime.fromtimestamp(moment, zone)
        quarter = local.hour * 4 + local.minute // 15
        steps.append((after, found.profile[quarter] * (after - moment)))
        moment = after
    wanted = share * sum(weight for _, weight in steps)
    for after, weight in steps:
        if wanted <= weight:
            return after
        wanted -= weight
    return end


def _wall_quarters(local: datetime) -> float:
    """Quarters since midnight by the clock on the wall."""
    return local.hour * 4 + (local.minute * 60 + local.second + local.microsecond / 1e6) / QUARTER


def _quantile(ordered: Sequence[float], share: float) -> float:
    """A quantile of ordered numbers, between two of them in proportion."""
    place = share * (len(ordered) - 1)
    index = min(int(place), len(ordered) - 2)
    return ordered[index] + (place - index) * (ordered[index + 1] - ordered[index])


def _moment(
    places: Sequence[tuple[int, float]],
    share: float,
    stretches: Sequence[Stretch],
    found: Fit,
    zone: ZoneInfo,
) -> datetime | None:
    """The moment that a share of the futures has reached; `None` when fewer ever do."""
    index, part = places[min(len(places) - 1, int(share * len(places)))]
    if index >= len(stretches):
        return None
    return datetime.fromtimestamp(_within(stretches[index], part, found, zone), UTC)
