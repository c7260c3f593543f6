"""One probability from everything that was found: the text's, and what second opinions add to it.

Each finding moves the log-odds that the draft is good enough by a likelihood ratio. How much a
second opinion moves them is reckoned, not fitted: no recorded answers may be fitted on that the
figures are reported of.

**Agreement.** A draft is right with the odds that its text gives. A second answer is right with a
probability `r` of its own. Right answers agree; a wrong draft agrees with the second answer only if
that is wrong too, in the very same way, which happens in a share `c` of the cases in which both are
wrong. So agreement multiplies the odds by `r / ((1 - r) * c)`, disagreement by
`(1 - r) / (1 - (1 - r) * c)`. With `r = 0.75`, a cheap model's, and `c = 0.25`: by 12 and 0.27.

**Text.** Where nothing speaks against an answer the rules give 0.96, whatever was asked: a prior,
and not a measurement. It counts as 0.9 at most, so that one opinion against a draft outweighs it at
the default threshold.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = [
    "AGREES",
    "DISAGREES",
    "TEXT_AT_MOST",
    "agreement",
    "graded",
    "logit",
    "probability",
]

TEXT_AT_MOST: Final = 0.9
"""The most that a draft's text alone can count for."""

_SECOND_RIGHT: Final = 0.75
_SAME_MISTAKE: Final = 0.25


def logit(share: float) -> float:
    """The log-odds of a probability, kept finite.

    >>> logit(0.5)
    0.0
    """
    share = min(max(share, 1e-9), 1 - 1e-9)
    return math.log(share / (1 - share))


def probability(log_odds: float) -> float:
    """The probability of log-odds.

    >>> probability(0.0)
    0.5
    """
    if log_odds >= 0:
        return 1 / (1 + math.exp(-log_odds))
    power = math.exp(log_odds)
    return power / (1 + power)


def agreement(right: float, same_mistake: float) -> tuple[float, float]:
    """What agreement, and disagreement, of a second answer add to the log-odds.

    Args:
        right: the probability that the second answer is right.
        same_mistake: of the cases in which both are wrong, the share in which they agree.

    >>> agree, differ = agreement(0.75, 0.25)
    >>> round(math.exp(agree), 1), round(math.exp(differ), 2)
    (12.0, 0.27)
    """
    wrong = 1 - right
    return math.log(right / (wrong * same_mistake)), math.log(wrong / (1 - wrong * same_mistake))


AGREES, DISAGREES = agreement(_SECOND_RIGHT, _SAME_MISTAKE)
"""What another model's agreement and disagreement add to the log-odds."""

_GRADES: Final = {5: 2.2, 4: 1.0, 3: -1.5, 2: -3.5, 1: -4.5}


def graded(grade: int) -> float:
    """What a judge's grade, 1 to 5, adds to the log-odds: set by hand, a judge errs one in ten."""
    return _GRADES[grade]
