"""How sure a model was of its own words, where its answer came with log-probabilities.

The measure is the geometric mean of the probabilities that the model gave the tokens it wrote. It
says how sure the model was, and not whether it is right: models are sure of mistakes too, and a
text that could be put in many ways is unlikely in each of them. So it only ever speaks against an
answer, and weighs little.

**How much.** From `_SURE` on it says nothing. Below, the odds that the answer is good are
multiplied by a ratio that falls as a power of the measure, down to `_LEAST` at `_GUESSING`, where
the check fails. The three are set by hand: of one tiny model's answers, the only ones measured, the
power is 2.0 (0.3 to 4.0) and this one 2.2 (`python benches/confidence.py`, `docs/quality.md`).
"""

from __future__ import annotations

import math
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cascadeflow.quality.evidence import logit, probability
from cascadeflow.quality.report import CheckReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.models.completion import Completion, TokenLogprob

__all__ = ["Confidence", "judge_confidence", "mean_probability"]

_SURE: Final = 0.6
_GUESSING: Final = 0.35
_LEAST: Final = 0.3
"""The likelihood ratio of a guess: by it, a faultless text does not reach the usual threshold."""

_NOTABLE: Final = 0.8
"""A ratio that is not below this is not worth a word."""

_FLOOR: Final = -10.0
"""No token counts for less: some servers say -9999 of whatever is not among the likeliest."""

_ROUNDING: Final = 1e-3
"""So far above 0 a logarithm may come by rounding; beyond it is no probability's."""

_MOST: Final = 4_096
"""So many tokens are read, an answer's last ones."""

_LOGPROB: Final = attrgetter("logprob")


class Confidence(NamedTuple):
    """What log-probabilities say of an answer.

    Attributes:
        check: the report; its score is the mean probability.
        ratio: by what the odds that the answer is good enough are multiplied, `_LEAST` to 1.
    """

    check: CheckReport
    ratio: float

    def weighed(self, sure: float) -> float:
        """The probability that an answer is good enough, with this taken into account.

        Args:
            sure: the probability without it, 0 to 1; it never becomes larger.
        """
        if self.ratio == 1.0:
            return sure
        return min(sure, probability(logit(sure) + math.log(self.ratio)))

    def doubts(self) -> tuple[str, ...]:
        """What lowers the probability, in words; nothing where that is hardly so."""
        return (_in_words(self.check.score),) if self.ratio < _NOTABLE else ()


_UNKNOWN: Final = Confidence(
    CheckReport(name="confidence", verdict="not_applicable", score=1.0), 1.0
)


def mean_probability(logprobs: Sequence[TokenLogprob]) -> float | None:
    """The geometric mean of the probabilities that a model gave the tokens it wrote.

    What is no logarithm of a probability (a positive number, NaN, minus infinity, nothing) is
    passed over; of more than 4,096 tokens the last ones are read.

    Args:
        logprobs: the tokens, with natural logarithms.

    Returns:
        It, above 0 and at most 1; `None` where no token has a probability.

    >>> from cascadeflow.models.completion import TokenLogprob
    >>> round(mean_probability([TokenLogprob("4", -0.1), TokenLogprob("2", -0.9)]), 3)
    0.607
    """
    values = list(map(_LOGPROB, logprobs[-_MOST:]))
    total = _plain_sum(values)
    if total is None:
        values = [
            float(max(value, _FLOOR))
            for value in values
            if isinstance(value, (float, int)) and -math.inf < value <= _ROUNDING
        ]
        total = math.fsum(values)
    return min(1.0, math.exp(total / len(values))) if values else None


def _plain_sum(values: list[Any]) -> float | None:
    """The sum of logarithms that need no second look, which they nearly never do; else `None`."""
    try:
        total = sum(values)
        # NaN compares as it likes, but shows in the sum.
        plain = total <= 0.0 and max(values) <= 0.0 and min(values) >= _FLOOR
    except (TypeError, ValueError, OverflowError):  # what is no number, or too large; or nothing
        return None
    return float(total) if plain else None


def judge_confidence(completion: Completion, *, without: tuple[str, ...] = ()) -> Confidence:
    """Judges an answer by the probabilities that its model gave its words.

    Args:
        completion: the answer. Calls of tools are not judged: their form alone makes them sure.
        without: the names of checks that are off.
    """
    if not completion.logprobs or completion.tool_calls or "confidence" in without:
        return _UNKNOWN
    mean = mean_probability(completion.logprobs)
    if mean is None:
        return _UNKNOWN
    ratio = _ratio(mean)
    failed = mean < _GUESSING
    check = CheckReport(
        name="confidence",
        verdict="failed" if failed else "passed",
        score=mean,
        reason=_in_words(mean) if failed else "",
    )
    return Confidence(check, ratio)


def _ratio(mean: float) -> float:
    """The likelihood ratio: 1 for the sure, the least for guesses, geometric between them."""
    doubt = math.log(_SURE / mean) / math.log(_SURE / _GUESSING)
    return float(_LEAST ** min(max(doubt, 0.0), 1.0))


def _in_words(mean: float) -> str:
    return f"the model gave its own words a probability of {mean:.2f} on average"
