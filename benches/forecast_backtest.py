"""How good a forecast is, on generated spending whose true course is known.

    python benches/forecast_backtest.py               # 100 accounts of each kind
    python benches/forecast_backtest.py --accounts 20

For each account: a history of 2 to 12 weeks, a month that is under way, a forecast of where it will
stand at the month's end, and where it truly stood. `coverage` is the share of accounts that ended
inside the 80 % interval; `error` the median of |expected - true| / true; `width` the median of the
interval's width / true; `straight` the error of the ruler that most dashboards draw (spent so far /
time passed x the month). All are shares of the whole month's true sum; a month that ended at
nothing is left out of them, and an account without a forecast is left out (`forecasts` says how
many had one).
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cascadeflow.budgets.forecast import forecast
from cascadeflow.budgets.records import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ZONE = "America/New_York"
DOLLAR = 1_000_000_000

# How the day of office workers goes, and of people everywhere.
OFFICE = [0, 0, 0, 0, 0, 0, 1, 3, 8, 12, 13, 11, 8, 11, 12, 11, 9, 6, 3, 2, 1, 1, 0, 0]
EVERYWHERE = [3, 2, 2, 2, 2, 3, 3, 4, 5, 6, 6, 6, 6, 6, 6, 6, 5, 5, 5, 4, 4, 4, 3, 2]
WEEK = [1.25, 1.3, 1.3, 1.25, 1.1, 0.45, 0.35]


def constant(_day: int, _weekday: int, random: Random) -> float:
    return random.gammavariate(25, 1 / 25)


def weekly(_day: int, weekday: int, random: Random) -> float:
    return WEEK[weekday] * random.gammavariate(16, 1 / 16)


def office(_day: int, weekday: int, random: Random) -> float:
    return (1.4 if weekday < 5 else 0.0) * random.gammavariate(9, 1 / 9)


def trend(day: int, weekday: int, random: Random) -> float:
    return (0.5 + day / 80) * WEEK[weekday] * random.gammavariate(16, 1 / 16)


def growth(day: int, weekday: int, random: Random) -> float:
    return 1.015**day * WEEK[weekday] * random.gammavariate(16, 1 / 16)


def bursty(_day: int, _weekday: int, random: Random) -> float:
    return math.exp(random.gauss(-0.5, 1.0))


def heavy(_day: int, _weekday: int, random: Random) -> float:
    return random.paretovariate(1.8) * 0.45


def sparse(_day: int, _weekday: int, random: Random) -> float:
    return random.gammavariate(2, 1 / 2) * 5 if random.random() < 0.2 else 0.0


def outage(day: int, weekday: int, random: Random) -> float:
    if day % 40 in (20, 21, 22):  # three days without service, now and then
        return 0.0
    return weekly(day, weekday, random)


def step(day: int, weekday: int, random: Random) -> float:
    return (1.0 if day < 45 else 2.0) * weekly(day, weekday, random)


SERIES: dict[str, Callable[[int, int, Random], float]] = {
    "constant": constant,
    "weekly": weekly,
    "office": office,
    "trend": trend,
    "growth": growth,
    "bursty": bursty,
    "heavy": heavy,
    "sparse": sparse,
    "outage": outage,
    "step": step,
}

WELL_SPECIFIED = ("constant", "weekly", "office", "trend", "bursty", "sparse", "outage")


@dataclass(frozen=True)
class Outcome:
    """One account's forecast beside what came."""

    method: str
    inside: bool
    error: float | None
    width: float | None
    straight: float | None


def account(kind: str, random: Random) -> tuple[list[tuple[datetime, int]], datetime]:
    """An account's whole course by quarter hours, and its first midnight."""
    zone = ZoneInfo(ZONE)
    first = datetime(2026, random.randrange(1, 10), random.randrange(1, 28), tzinfo=zone)
    hours = OFFICE if kind in ("office", "weekly") else EVERYWHERE
    weight = sum(hours)
    course = []
    for day in range(150):
        date = first.date() + timedelta(days=day)
        dollars = SERIES[kind](day, date.weekday(), random)
        for hour, share in enumerate(hours):
            if share and dollars:
                # Within an hour it comes in a random quarter.
                local = datetime(
                    date.year, date.month, date.day, hour, 15 * random.randrange(4), tzinfo=zone
                )
                course.append((local.astimezone(UTC), round(dollars * share / weight * DOLLAR)))
    return course, first


def month_around(moment: datetime) -> tuple[datetime, datetime]:
    zone = ZoneInfo(ZONE)
    local = moment.astimezone(zone)
    start = datetime(local.year, local.month, 1, tzinfo=zone)
    end = datetime(local.year + (local.month == 12), local.month % 12 + 1, 1, tzinfo=zone)
    return start.astimezone(UTC), end.astimezone(UTC)


def backtest(kind: str, accounts: int, *, seed: int = 1, level: float = 0.8) -> list[Outcome]:
    """Forecasts that many accounts of a kind, and compares."""
    random = Random(f"{kind}/{seed}")
    outcomes = []
    for _ in range(accounts):
        course, first = account(kind, random)
        now = (first + timedelta(days=random.uniform(14, 84))).astimezone(UTC)
        start, end = month_around(now)
        past = [pair for pair in course if pair[0] <= now]
        spent = sum(amount for at, amount in past if at >= start)
        true = sum(amount for at, amount in course if start <= at < end)
        made = forecast(
            past,
            scope=Scope("user", "u"),
            period="month",
            window_start=start,
            window_end=end,
            limit=None,
            spent=spent,
            held=0,
            now=now,
            timezone=ZONE,
            level=level,
        )
        if made.low is None or made.expected is None or made.high is None:
            continue  # too little was spent to say anything, and it says so
        passed = (now - start) / (end - start)
        outcomes.append(
            Outcome(
                method=made.method,
                inside=made.low <= true <= made.high,
                error=abs(made.expected - true) / true if true else None,
                width=(made.high - made.low) / true if true else None,
                straight=abs(spent / passed - true) / true if true and passed else None,
            )
        )
    return outcomes


def coverage(outcomes: Sequence[Outcome]) -> float:
    return sum(outcome.inside for outcome in outcomes) / len(outcomes)


def median(values: Sequence[float | None]) -> float:
    return statistics.median(value for value in values if value is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=100, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(
        f"{'series':<10} {'coverage':>9} {'error':>8} {'width':>8} {'straight':>9} {'ms each':>8}"
    )
    everything = []
    for kind in SERIES:
        began = time.perf_counter()
        outcomes = backtest(kind, arguments.accounts, seed=arguments.seed)
        took = (time.perf_counter() - began) / arguments.accounts * 1000
        everything += outcomes
        shares = (
            coverage(outcomes),
            median([outcome.error for outcome in outcomes]),
            median([outcome.width for outcome in outcomes]),
            median([outcome.straight for outcome in outcomes]),
        )
        cells = "".join(f"{share:>10.1%}" for share in shares)
        print(f"{kind:<10}{cells}{len(outcomes):>10}{took:>10.1f}")
    print(f"{'all':<10} {coverage(everything):>9.1%}  (80 % is right)")


if __name__ == "__main__":
    main()
