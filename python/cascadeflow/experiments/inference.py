"""Figures that may be looked at after every request: always-valid intervals, p-values and tests.

**The unit is the user.** Each user counts as one number, the mean of its own requests; a request
without a user is a unit by itself. A user's requests are alike and all get the same variant:
counted singly they would fake significance, and one very busy user would decide alone. Users come
one by one and their means move as they ask more, so what is watched is not a sum of independent
terms but an estimate whose variance falls; its *information*, one over the variance, is the time
that runs. At successive looks such an estimate behaves, with many users, as a Brownian motion at
that time (Scharfstein, Tsiatis and Robins 1997), and a normal mixture bounds that at all times at
once (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021; as asymptotic confidence sequences
Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021; as the mixture SPRT of A/B tests Johari,
Koomen, Pekelis and Walsh 2017). With t the information in units of one request's variance, z the
estimate over its standard error, and r a constant that says where the interval is tightest:

    p = sqrt((t + r) / r) * exp(-z²/2 * t / (t + r)), at most 1
    half-width = standard error * sqrt((t + r)/t * (2 ln(1/alpha) + ln((t + r)/r)))

Under no difference P(p <= alpha at any look) <= alpha, in the limit of many users;
`benches/experiment_validity.py` measures how it stands with few, with skewed costs, rare events and
busy users.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "FEWEST_UNITS",
    "FEWEST_UNITS_FOR_SHARES",
    "Difference",
    "Moments",
    "breach_p",
    "chi_square_tail",
    "compared",
    "mean_breach_p",
    "mixture",
    "sample_ratio_p",
]

FEWEST_UNITS: Final = 30
"""Users that each side needs before anything is said: below that no variance can be trusted."""

FEWEST_UNITS_FOR_SHARES: Final = 10
"""The same where a share is held to a fixed bound: there the variance cannot hide."""


@dataclass(slots=True)
class Moments:
    """Sums over units and over requests of one metric in one variant.

    Attributes:
        units: how many units have a value.
        total: the sum of their means.
        squares: the sum of the squares of their means.
        requests: how many values there are.
        request_total: their sum.
        request_squares: the sum of their squares.
    """

    units: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    requests: float = 0.0
    request_total: float = 0.0
    request_squares: float = 0.0

    def add(
        self, before: tuple[float, float], count: float, total: float, squares: float
    ) -> tuple[float, float]:
        """Takes more values of one unit.

        Args:
            before: how many values the unit had, and their sum.
            count: how many come now.
            total: their sum.
            squares: the sum of their squares.

        Returns:
            How many it has now, and their sum.
        """
        had, had_total = before
        if had:
            mean = had_total / had
            self.total -= mean
            self.squares -= mean * mean
        else:
            self.units += 1
        had, had_total = had + count, had_total + total
        mean = had_total / had
        self.total += mean
        self.squares += mean * mean
        self.requests += count
        self.request_total += total
        self.request_squares += squares
        return had, had_total

    def merged(self, other: Moments) -> Moments:
        """Gives both together; their units must be different ones."""
        return Moments(
            self.units + other.units,
            self.total + other.total,
            self.squares + other.squares,
            self.requests + other.requests,
            self.request_total + other.request_total,
            self.request_squares + other.request_squares,
        )

    @property
    def mean(self) -> float | None:
        """The mean over units of their means; `None` without any."""
        return self.total / self.units if self.units else None

    def deviations(self, *, share: bool) -> tuple[float, float]:
        """Gives the sum of squared deviations of the units' means, and its degrees of freedom.

        Where values are shares, one made-up unit at 0 and one at 1 are added: without them the
        variance of what has not happened yet would be zero, and the first event a proof.
        """
        units, total, squares = self.units, self.total, self.squares
        if share:
            units, total, squares = units + 2, total + 1, squares + 1
        if units < 2:  # noqa: PLR2004 - one value has no spread
            return 0.0, 0.0
        return max(0.0, squares - total * total / units), units - 1

    def request_variance(self, *, share: bool) -> float:
        """The variance of single requests."""
        count, total, squares = self.requests, self.request_total, self.request_squares
        if share:
            count, total, squares = count + 2, total + 1, squares + 1
        if not count:
            return 0.0
        return max(0.0, squares / count - (total / count) ** 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A variant beside control: the difference of means, variant minus control.

    Attributes:
        estimate: the difference; `None` without values on both sides.
        low: the least that it may be, `-inf` while too few users have been seen.
        high: the most.
        p: the always-valid p-value: the least alpha at which 0 is excluded.
        standard_error: of the estimate; `None` where it is not known.
        information: the time that has run: 1 / variance, in units of one request's variance.
        beside: control's mean among the users that are compared.
        units: how many users of both sides are compared.
    """

    estimate: float | None
    low: float = -math.inf
    high: float = math.inf
    p: float = 1.0
    standard_error: float | None = None
    information: float = 0.0
    beside: float | None = None
    units: float = 0.0


def mixture(tightest_at: float) -> float:
    """Gives the mixture's constant that makes 95 % intervals tightest at an information.

    Howard and others 2021, section 3.5, solved to first order.
    """
    spent = 2 * math.log(1 / 0.05)
    return tightest_at / (spent + math.log(1 + spent))


def compared(
    strata: Iterable[tuple[Moments, Moments]],
    *,
    share: bool,
    alpha: float,
    tightest_at: float,
) -> Difference:
    """Compares a variant with control.

    Where the weights changed in the course of the experiment, users who came under one set of
    weights are compared among themselves, and the differences averaged (as Cochran 1954 does):
    pooled, a metric that drifts with time would look like a difference.

    Args:
        strata: for each set of weights, the sums of the variant and of control.
        share: whether the metric is a share.
        alpha: one minus the confidence.
        tightest_at: the information at which the interval is tightest.
    """
    used = [pair for pair in strata if pair[0].units and pair[1].units]
    if not used:
        return Difference(estimate=None)
    parts = [one.units * other.units / (one.units + other.units) for one, other in used]
    whole = sum(parts)
    estimate = sum(
        part * (one.total / one.units - other.total / other.units)
        for part, (one, other) in zip(parts, used, strict=True)
    )
    estimate /= whole
    beside = sum(
        part * other.total / other.units for part, (_, other) in zip(parts, used, strict=True)
    )
    beside /= whole
    units = sum(one.units + other.units for one, other in used)
    variance = 0.0
    fewest = math.inf
    for side in (0, 1):
        seen = [pair[side] for pair in used]
        fewest = min(fewest, sum(moments.units for moments in seen))
        spread = [moments.deviations(share=share) for moments in seen]
        freedom = sum(degrees for _, degrees in spread)
        if freedom:
            single = sum(squares for squares, _ in spread) / freedom
            variance += single * sum(
                (part / whole) ** 2 / moments.units
                for part, moments in zip(parts, seen, strict=True)
            )
    if fewest < FEWEST_UNITS or variance <= 0:
        # Every user the same: nothing says how sure that is.
        return Difference(estimate=estimate, beside=beside, units=units)
    both = Moments()
    for pair in used:
        both = both.merged(pair[0]).merged(pair[1])
    information = both.request_variance(share=share) / variance
    error = math.sqrt(variance)
    r = mixture(tightest_at)
    stretch = math.log1p(information / r)
    p = math.exp(
        min(
            0.0,
            stretch / 2 - estimate * estimate / variance / 2 * information / (information + r),
        )
    )
    half = error * math.sqrt((information + r) / information * (2 * math.log(1 / alpha) + stretch))
    return Difference(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        p=p,
        standard_error=error,
        information=information,
        beside=beside,
        units=units,
    )


def breach_p(
    estimate: float, variance: float, information: float, *, bound: float, tightest_at: float
) -> float:
    """Gives the always-valid p-value of a mean being above a bound; one-sided.

    The half-normal mixture of the same process: 1 / p is what a gambler has won by now who bet a
    unit on the bound being broken, and who on average wins nothing while it is not (Ville 1939).

    Args:
        estimate: the mean, or the difference of two.
        variance: of the estimate.
        information: as in `Difference`.
        bound: what it may not be above.
        tightest_at: the information at which the test is keenest.
    """
    if variance <= 0 or information <= 0:
        return 1.0
    r = mixture(tightest_at)
    if estimate <= bound:
        return 1.0  # it has won nothing; far below, no float could say how little
    z = (estimate - bound) / math.sqrt(variance)
    drift = z * math.sqrt(information / (information + r))
    below = math.log(math.erfc(-drift / math.sqrt(2)) / 2)
    won = math.log(2) + below - math.log1p(information / r) / 2 + drift * drift / 2
    return math.exp(min(0.0, -won))


def mean_breach_p(
    moments: Moments, *, bound: float, sign: int, share: bool, tightest_at: float
) -> float:
    """Gives the p-value of a variant's own mean having passed a bound; 1 while there are too few.

    Args:
        moments: the variant's sums.
        bound: what the mean may not be above (`sign` 1) or below (-1).
        sign: 1 or -1.
        share: whether the metric is a share.
        tightest_at: the information at which the test is keenest.
    """
    if moments.units < (FEWEST_UNITS_FOR_SHARES if share else FEWEST_UNITS):
        return 1.0
    squares, freedom = moments.deviations(share=share)
    variance = squares / freedom / moments.units
    if variance <= 0:
        return 1.0
    return breach_p(
        sign * moments.total / moments.units,
        variance,
        moments.request_variance(share=share) / variance,
        bound=sign * bound,
        tightest_at=tightest_at,
    )


def sample_ratio_p(strata: Iterable[tuple[Sequence[float], Sequence[float]]]) -> tuple[float, int]:
    """Checks whether variants have as many users as their weights say (Pearson's chi-square).

    A small p-value says that users get lost on the way in one variant more than in another: no
    figure of such an experiment can be trusted (Fabijan and others 2019).

    Args:
        strata: for each set of weights, how many users came to each variant, and the weights.

    Returns:
        The p-value, 1 where there is nothing to test, and the degrees of freedom.
    """
    statistic, freedom = 0.0, 0
    for counts, weights in strata:
        seen, whole = sum(counts), sum(weights)
        expected = [seen * weight / whole for weight in weights]
        if len(counts) < 2 or not seen or min(expected) < 5:  # noqa: PLR2004 - Cochran's rule
            continue
        statistic += sum((n - e) ** 2 / e for n, e in zip(counts, expected, strict=True))
        freedom += len(counts) - 1
    return chi_square_tail(statistic, freedom), freedom


def chi_square_tail(statistic: float, freedom: int) -> float:
    """Gives the probability that a chi-square variable is above a statistic.

    The closed forms for whole degrees of freedom (Abramowitz and Stegun 26.4.4 and 26.4.5).

    >>> round(chi_square_tail(3.841459, 1), 6), round(chi_square_tail(5.991465, 2), 6)
    (0.05, 0.05)

    Args:
        statistic: at least 0.
        freedom: the degrees of freedom; with 0 of them nothing was tested, and it is 1.
    """
    if freedom < 1 or statistic <= 0:
        return 1.0
    half = statistic / 2
    if freedom % 2:
        total = math.erfc(math.sqrt(half))
        term, begin = math.sqrt(half / math.pi) * 2 * math.exp(-half), 3
    else:
        total, term, begin = math.exp(-half), math.exp(-half) * half, 4
    for degrees in range(begin, freedom + 1, 2):
        total += term
        term *= statistic / degrees
    return min(1.0, total)
