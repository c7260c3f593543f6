"""The statistics under a forecast: what a day costs, how that changes, and how sure it is.

A day's spending is taken as level x weekday x chance. The level may grow by some share a day (a
Poisson regression with a logarithmic link), which counts as far as it stands out of the noise; so
do the weekdays' factors (both are shrunk as James and Stein do). Older days weigh less: half of it
every three weeks. Chance is what the days of the past did, each against its own level and weekday,
drawn again (a bootstrap of pairs of days): so a bursty account's interval is wide and a steady
one's is narrow, with no distribution assumed. That level and growth are only estimated is drawn
too, from the same days.

All in plain Python, and the same for the same history: the draws are seeded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["QUARTERS", "DayPart", "Fit", "fit", "simulate"]

QUARTERS: Final = 96
"""Quarters of an hour in a day, by the clock on the wall."""

HALF_LIFE: Final = 21.0
"""Days after which a day weighs half."""

DAYS_FOR_GROWTH: Final = 14

GROWTH_FADES: Final = (0.95, 1.01)
"""Each further day changes by so much of what the day before changed, evenly drawn between these:
some growth ends and some goes on."""

GROWTH_DOUBT: Final = 0.75
"""A growth that does not stand out may be there all the same: so much of its error is drawn."""

LOWEST_WEEKDAY: Final = 0.1
"""A weekday worth less than this share of a mean day is not asked what chance may do."""

STEEPEST: Final = 0.1
"""The most that a level may be taken to grow or shrink, as a share a day."""

FURTHEST: Final = math.log(100.0)
"""No level is drawn further from the last one than a hundredfold, whatever the growth."""

BLOCK: Final = 2
"""Days that are drawn together: what is unusual often lasts for more than one."""


@dataclass(frozen=True, slots=True)
class DayPart:
    """A stretch of one local day that is still to come.

    Attributes:
        ahead: days after the last complete one; today is 1.
        weekday: 0 is Monday.
        begin: quarters since midnight.
        end: quarters since midnight, `QUARTERS` for the whole day.
    """

    ahead: int
    weekday: int
    begin: float = 0.0
    end: float = float(QUARTERS)


@dataclass(frozen=True, slots=True)
class Fit:
    """What was found in the complete days of the past, oldest first.

    Attributes:
        weekday: each weekday's factor, Monday first.
        level: the logarithm of the last day's level, without its weekday.
        growth: by how much that changes from day to day.
        fitted: each past day's level, in nanodollars.
        ratios: what each past day was, as a share of what level and weekday say.
        to_level: by how much each day's error, in nanodollars, moves the last level's logarithm.
        to_growth: by how much each day's error moves the growth.
        freedom: days, less what was estimated from them.
        profile: each quarter's share of a day.
        days: each past day's nanodollars by quarter.
        weekdays: each past day's weekday.
    """

    weekday: tuple[float, ...]
    level: float
    growth: float
    fitted: tuple[float, ...]
    ratios: tuple[float, ...]
    to_level: tuple[float, ...]
    to_growth: tuple[float, ...]
    freedom: float
    profile: tuple[float, ...]
    days: tuple[Mapping[int, int], ...]
    weekdays: tuple[int, ...]

    def share(self, begin: float, end: float) -> float:
        """The part of a day that lies between two quarters."""
        return _between(dict(enumerate(self.profile)), begin, end)


def fit(days: Sequence[Mapping[int, int]], last_weekday: int, *, weekly: bool) -> Fit:
    """Finds level, slope, weekdays and hours in complete days.

    Args:
        days: each day's nanodollars by quarter of an hour, oldest first; not all empty.
        last_weekday: the newest one's, 0 is Monday.
        weekly: whether weekdays are told apart.
    """
    count = len(days)
    sums = [max(0.0, float(sum(day.values()))) for day in days]
    weekdays = tuple((last_weekday - (count - 1 - index)) % 7 for index in range(count))
    weights = [0.5 ** ((count - 1 - index) / HALF_LIFE) for index in range(count)]
    weekday, spent_on_weekdays = _weekday_factors(sums, weekdays) if weekly else ((1.0,) * 7, 0.0)
    times = [float(index - (count - 1)) for index in range(count)]
    # A day says as much of the level as its weekday is worth: an office's Sundays say nothing.
    expected = [w * weekday[day] for w, day in zip(weights, weekdays, strict=True)]
    spent = [w * amount for w, amount in zip(weights, sums, strict=True)]
    growth, kept = 0.0, 0.0
    if count >= DAYS_FOR_GROWTH:
        growth = _growth(times, expected, spent)
        doubt = _growth_error(times, expected, spent, growth) ** 2
        kept = max(0.0, 1.0 - 2.0 * doubt / growth**2) if growth else 0.0
        growth *= kept
    tilted, middle = _tilt(times, expected, growth)
    level = sum(spent) / sum(tilted)  # at the middle
    fitted = tuple(level * math.exp(growth * (t - middle)) for t in times)
    spread = level * sum(m * (t - middle) ** 2 for m, t in zip(tilted, times, strict=True))
    moves = max(kept, GROWTH_DOUBT) / spread if count >= DAYS_FOR_GROWTH else 0.0
    to_growth = tuple(moves * w * (t - middle) for w, t in zip(weights, times, strict=True))
    likely = [value * weekday[day] for value, day in zip(fitted, weekdays, strict=True)]
    return Fit(
        weekday=weekday,
        level=math.log(level) - growth * middle,
        growth=growth,
        fitted=fitted,
        ratios=tuple(y / e if e > 0 else 1.0 for y, e in zip(sums, likely, strict=True)),
        # A day's error moves the mean, and by the growth what it is by now.
        to_level=tuple(
            w / sum(spent) - g * middle for w, g in zip(weights, to_growth, strict=True)
        ),
        to_growth=to_growth,
        freedom=max(1.0, count - 1 - kept - spent_on_weekdays),
        profile=_profile(days, sum(sums)),
        days=tuple(days),
        weekdays=weekdays,
    )


def simulate(found: Fit, parts: Sequence[DayPart], *, paths: int, seed: int) -> list[list[float]]:
    """Draws what may be spent in each part: one list of nanodollars for each path."""
    random = Random(seed)
    pool = [
        index
        for index, weekday in enumerate(found.weekdays)
        if found.weekday[weekday] >= LOWEST_WEEKDAY
    ]
    count = len(found.ratios)
    middle = sum(found.ratios[index] for index in pool) / len(pool)
    widen = math.sqrt(count / found.freedom)
    # By part: how many days ahead it is, its weekday's and its hours' factor, its own ratios.
    prepared = []
    own: dict[tuple[float, float], tuple[float, list[float]]] = {}
    for part in parts:
        key = part.begin, part.end
        if key not in own:
            own[key] = _ratios_of(found, part)
        share, ratios = own[key]
        prepared.append((part.ahead, found.weekday[part.weekday] * share, ratios))
    drawn: list[list[float]] = []
    for _ in range(paths):
        # Few days say little of their own spread: Student's t, as a normal with a random scale.
        scale = widen * math.sqrt(found.freedom / random.gammavariate(found.freedom / 2.0, 2.0))
        errors = [
            fitted * found.weekday[weekday] * scale * (found.ratios[index] - middle)
            for fitted, weekday, index in zip(
                found.fitted, found.weekdays, _draw(random, pool, count), strict=True
            )
        ]
        off = _within(_dot(found.to_level, errors), FURTHEST)
        growth = _within(found.growth + _dot(found.to_growth, errors), STEEPEST)
        amounts = []
        reaches = _reaches(random.uniform(*GROWTH_FADES), parts[-1].ahead)
        for (ahead, factor, ratios), index in zip(
            prepared, _draw(random, pool, len(prepared)), strict=True
        ):
            chance = max(0.0, middle + scale * (ratios[index] - middle))
            amounts.append(
                math.exp(found.level + _within(off + growth * reaches[ahead], FURTHEST))
                * factor
                * chance
            )
        drawn.append(amounts)
    return drawn


def _growth(times: Sequence[float], expected: Sequence[float], spent: Sequence[float]) -> float:
    """The growth that puts the mean time of the money where it is: Poisson's likelihood equation.

    The mean time rises with the growth, so halving the range finds it.
    """
    money = _dot(times, spent) / sum(spent)
    low, high = -STEEPEST, STEEPEST
    for _ in range(40):
        growth = (low + high) / 2.0
        if _tilt(times, expected, growth)[1] < money:
            low = growth
        else:
            high = growth
    return (low + high) / 2.0


def _growth_error(
    times: Sequence[float], expected: Sequence[float], spent: Sequence[float], growth: float
) -> float:
    """The standard error of the growth, by what the days did and no distribution (a sandwich)."""
    tilted, middle = _tilt(times, expected, growth)
    level = sum(spent) / sum(tilted)
    spread = level * sum(m * (t - middle) ** 2 for m, t in zip(tilted, times, strict=True))
    noise = sum(
        ((t - middle) * (y - level * m)) ** 2 for t, y, m in zip(times, spent, tilted, strict=True)
    )
    return math.sqrt(noise) / spread


def _tilt(
    times: Sequence[float], expected: Sequence[float], growth: float
) -> tuple[list[float], float]:
    """Weights under a growth, and their mean time; the weights are 1 x their own at that time."""
    raw = [m * math.exp(growth * t) for m, t in zip(expected, times, strict=True)]
    middle = _dot(raw, times) / sum(raw)
    scale = math.exp(-growth * middle)
    return [m * scale for m in raw], middle


def _weekday_factors(
    sums: Sequence[float], weekdays: Sequence[int]
) -> tuple[tuple[float, ...], float]:
    """Each weekday's factor, and how many free parameters they are worth."""
    # Each day against the week around it, so that a trend is not taken for a weekday.
    ratios: list[list[float]] = [[] for _ in range(7)]
    for index, amount in enumerate(sums):
        start = min(max(0, index - 3), len(sums) - 7)
        week = sum(sums[start : start + 7]) / 7.0
        if week > 0:
            ratios[weekdays[index]].append(amount / week)
    means = [sum(group) / len(group) if group else 1.0 for group in ratios]
    center = sum(means) / 7.0
    between = sum((mean - center) ** 2 for mean in means) / 6.0
    observed = sum(len(group) for group in ratios)
    within = sum(
        (ratio - mean) ** 2 for group, mean in zip(ratios, means, strict=True) for ratio in group
    ) / max(1, observed - 7)
    if between <= 0 or center <= 0:
        return (1.0,) * 7, 0.0
    kept = max(0.0, 1.0 - within * 7.0 / max(1, observed) / between)
    return tuple(1.0 + kept * (mean / center - 1.0) for mean in means), 6.0 * kept


def _profile(days: Sequence[Mapping[int, int]], total: float) -> tuple[float, ...]:
    """Each quarter's share of a day; a day's worth of "any time" is mixed in."""
    by_quarter = [0.0] * QUARTERS
    for day in days:
        for quarter, amount in day.items():
            by_quarter[quarter] += amount
    even = total / len(days) / QUARTERS
    shares = [max(0.0, amount) + even for amount in by_quarter]
    whole = sum(shares)
    return tuple(share / whole for share in shares)


def _ratios_of(found: Fit, part: DayPart) -> tuple[float, list[float]]:
    """A part's share of a day, and what it was on each past day, as a share of what to expect."""
    if part.begin <= 0 and part.end >= QUARTERS:
        return 1.0, list(found.ratios)
    share = found.share(part.begin, part.end)
    ratios = []
    for day, level, weekday in zip(found.days, found.fitted, found.weekdays, strict=True):
        expected = level * found.weekday[weekday] * share
        ratios.append(max(0.0, _between(day, part.begin, part.end)) / expected if expected else 1.0)
    return share, ratios


def _between(day: Mapping[int, float], begin: float, end: float) -> float:
    """The sum between two moments of a day; a quarter that is cut counts by its part."""
    total = 0.0
    for quarter, amount in day.items():
        inside = min(quarter + 1.0, end) - max(float(quarter), begin)
        if inside > 0:
            total += amount * inside
    return total


def _reaches(fade: float, days: int) -> list[float]:
    """How many days' worth of growth lie between the last day and each day ahead."""
    reaches = [0.0]
    step = 1.0
    for _ in range(days):
        reaches.append(reaches[-1] + step)
        step *= fade
    return reaches


def _draw(random: Random, pool: Sequence[int], wanted: int) -> list[int]:
    """Draws past days, two that follow each other at a time."""
    drawn: list[int] = []
    count = len(pool)
    while len(drawn) < wanted:
        start = int(random.random() * count)
        drawn.extend(pool[(start + step) % count] for step in range(BLOCK))
    return drawn[:wanted]


def _within(value: float, bound: float) -> float:
    return min(bound, max(-bound, value))


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))
