"""Whether a log shows that a cascade keeps a share of the verifier's right answers.

A cascade *loses* a question whose wrong draft it accepts though the verifier is right, and *gains*
one whose right draft it accepts though the verifier is wrong. Of the verifier's right answers it
keeps `1 - P(loss | verifier right) + odds * P(gain | verifier wrong)`, with the odds that the
verifier is wrong. Given how often the verifier is right, losses and gains are two independent
binomial counts, so that "it keeps less than the target" is a hypothesis about two binomials with
one nuisance parameter, the rate of gains. It is tested exactly, whatever the questions look like:
the greatest probability, over a confidence interval of the nuisance, of a result at least as good
(R. L. Berger and D. D. Boos, P Values Maximized over a Confidence Set for the Nuisance Parameter,
1994; the intervals are C. J. Clopper's and E. S. Pearson's, 1934). No approximation by normal
distributions enters, and nothing is assumed but that the questions are drawn alike.

Thresholds are tested from the one that accepts least on, each at the whole level, until the first
that fails (fixed-sequence testing, as in A. N. Angelopoulos and others, Learn then Test, 2021):
the probability that any threshold that passes does not keep the target is at most the level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from statistics import NormalDist
from typing import Final

__all__ = ["Tally", "keeps", "level_of", "questions_needed"]

_NUISANCE: Final = 0.1
"""The share of the level that each of two intervals may take: for the verifier's odds, and for the
rate of gains."""

_TESTED: Final = 1 - 2 * _NUISANCE

_GRID: Final = 9
"""Rates of gains, over their interval, at which the probability is reckoned: it is smooth."""

_WIDE: Final = 12.0
"""Standard deviations beyond which a binomial count is left out: less than 1e-30 of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a cascade did to the questions of a log.

    Attributes:
        right: questions that the verifier answers rightly.
        wrong: the others.
        losses: of the right ones, those whose wrong draft is accepted.
        gains: of the wrong ones, those whose right draft is accepted.
    """

    right: int
    wrong: int
    losses: int
    gains: int


def level_of(confidence: float) -> float:
    """Gives the level of the test at which a promise holds on fresh questions with a confidence.

    Who checks a promise has a log of their own, no larger than ours, whose quality scatters as
    ours does: what is seen there lies below what is seen here by a difference of twice the
    variance. At the level of the normal quantile times the square root of 2, that difference too is
    covered. The true quality then keeps the target with more than the confidence: 0.99 at 0.95.

    >>> round(level_of(0.95), 4)
    0.01
    """
    return NormalDist().cdf(-math.sqrt(2) * NormalDist().inv_cdf(confidence))


def questions_needed(target: float, level: float) -> int:
    """Gives how many right answers of the verifier show the target where nothing at all is lost.

    >>> questions_needed(0.97, level_of(0.95))
    159
    """
    return math.ceil(math.log(_TESTED * level) / math.log(target))


@lru_cache(maxsize=2**16)
def keeps(tally: Tally, target: float, level: float) -> bool:
    """Whether a tally shows, at a level, that the target is kept.

    Args:
        tally: counts on questions that the cascade's threshold was not chosen by.
        target: the share of the verifier's right answers, above 0 and below 1.
        level: the greatest probability of a wrong yes.
    """
    if not tally.right:
        return False
    if not tally.wrong:
        cumulated = _cumulated(tally.right, 1 - target)
        return cumulated(tally.losses) <= _TESTED * level
    # The verifier is right so often at most; then gains count for so little at least.
    most_right = _upper(tally.right, tally.right + tally.wrong, _NUISANCE * level)
    odds = (1 - most_right) / most_right
    side = _NUISANCE * level / 2
    low = 1 - _upper(tally.wrong - tally.gains, tally.wrong, side)
    high = _upper(tally.gains, tally.wrong, side)
    rates = [low + (high - low) * at / (_GRID - 1) for at in range(_GRID)]
    # From the middle outwards: most that fail do so there.
    rates.sort(key=lambda rate: abs(rate - tally.gains / tally.wrong))
    return all(_as_good(tally, target, odds, rate) <= _TESTED * level for rate in rates)


def _as_good(tally: Tally, target: float, odds: float, rate: float) -> float:
    """The probability of a result at least as good, on the border of the hypothesis."""
    loss_rate = 1 - target + odds * rate
    if loss_rate >= 1:
        return 0.0
    losses = _cumulated(tally.right, loss_rate)
    worth = tally.right * odds / tally.wrong  # losses that a gain makes up for
    start, shares = _shares(tally.wrong, rate)
    return math.fsum(
        share * losses(math.floor(tally.losses + worth * (start + at - tally.gains) + 1e-9))
        for at, share in enumerate(shares)
    )


class _Cumulated:
    """The distribution function of a binomial count."""

    def __init__(self, count: int, rate: float) -> None:
        self._start, shares = _shares(count, rate)
        self._sums = list(accumulate(shares))

    def __call__(self, most: int) -> float:
        at = most - self._start
        return 0.0 if at < 0 else min(1.0, self._sums[min(at, len(self._sums) - 1)])


@lru_cache(maxsize=256)
def _cumulated(count: int, rate: float) -> _Cumulated:
    return _Cumulated(count, rate)


def _shares(count: int, rate: float) -> tuple[int, list[float]]:
    """The probabilities of a binomial count, from the first that matters on."""
    if rate <= 0.0:
        return 0, [1.0]
    if rate >= 1.0:
        return count, [1.0]
    mean, spread = count * rate, math.sqrt(count * rate * (1 - rate))
    start = max(0, math.floor(mean - _WIDE * spread - _WIDE))
    end = min(count, math.ceil(mean + _WIDE * spread + _WIDE))
    share = math.exp(
        math.lgamma(count + 1)
        - math.lgamma(start + 1)
        - math.lgamma(count - start + 1)
        + start * math.log(rate)
        + (count - start) * math.log1p(-rate)
    )
    if share == 0.0:  # nothing of it can be told from 0 so far below the mean
        raise ArithmeticError(f"a binomial of {count} at {rate} underflows")
    shares = []
    odds = rate / (1 - rate)
    for at in range(start, end + 1):
        shares.append(share)
        share *= (count - at) / (at + 1) * odds
    return start, shares


@lru_cache(maxsize=4096)
def _upper(hits: int, count: int, side: float) -> float:
    """Clopper's and Pearson's upper bound of a rate: at it, so few hits have probability `side`."""
    if hits >= count:
        return 1.0
    low, high = hits / count, 1.0
    for _ in range(48):
        middle = (low + high) / 2
        if _Cumulated(count, middle)(hits) > side:
            low = middle
        else:
            high = middle
    return high
