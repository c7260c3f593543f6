"""How likely a draft is accepted: learned online by domain, complexity and drafting model.

A beta-binomial estimate that is shrunk in two steps. What a model's drafts of one level met with,
whatever the domain, is shrunk towards what is expected of that level (`PRIORS`); what they met with
in one domain is shrunk towards that. So a domain that was never drafted begins where the model
stands elsewhere, and a model that was never asked where its level does.

Old observations fade (`RunningMeans`), so the estimate follows a model or a validator that changes.
Where nothing is drafted any more nothing would be learned any more: `explore` says of every so
many-th request that it is drafted all the same.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self, get_args

from cascadeflow.domains.complexity import ComplexityLevel
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.models.running_means import RunningMeans

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.models.running_means import Key
    from cascadeflow.types import JsonObject

__all__ = ["NOTE", "PRIORS", "AcceptanceModel", "Estimate"]

NOTE: Final = "learned.acceptance"
"""The name of the note that it is stored as."""

PRIORS: Final[Mapping[ComplexityLevel, float]] = MappingProxyType(
    {"trivial": 0.90, "simple": 0.80, "moderate": 0.50, "hard": 0.30, "expert": 0.30}
)
"""What is expected of a model that was never asked, by level.

Set by the share of recorded drafts of six small models that the fast rules accepted and that were
right, averaged over the three recorded sources and rounded down to 0.05; for `expert`, where no
draft is recorded, the share of `hard` lessened as much as small models' right answers are. `python
benches/acceptance_prior.py` prints today's figures beside them: they move with what the levels are.
That is less than the share accepted: until something is known, a draft that would be accepted
wrongly counts as one that does not pay. Eight observations of a model weigh as much.
"""

_LEVELS: Final[tuple[ComplexityLevel, ...]] = get_args(ComplexityLevel)
_ANY: Final = ""
"""Stands for all domains together; no domain has an empty name."""

_LEVEL_WEIGHT: Final = 8.0
"""So many observations of a model weigh as much as what is expected of the level."""

_POOL_WEIGHT: Final = 8.0
"""So many observations in a domain weigh as much as what the model met with in all of them."""

_Z: Final = 1.6448536269514722
"""The standard normal distribution has 90 % within this many deviations."""

_LAMBDA: Final = (_Z * _Z - 3) / 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How likely a draft is accepted.

    Attributes:
        probability: 0 to 1.
        observations: how many observations of this domain, level and model still count; a fraction,
            for old ones count less.
        behind: how many observations the estimate weighs in all, what it is shrunk towards
            included.
    """

    probability: float
    observations: float
    behind: float

    @property
    def low(self) -> float:
        """With 90 % probability it lies from here on, up to `high`."""
        return _interval(self.probability, self.behind)[0]

    @property
    def high(self) -> float:
        """With 90 % probability it lies from `low` up to here."""
        return _interval(self.probability, self.behind)[1]


class AcceptanceModel:
    """Learns how likely drafts are accepted. Any thread may use it; nothing in it waits.

    >>> model = AcceptanceModel()
    >>> for _ in range(40):
    ...     model.observe("code", "hard", "openai:gpt-5-mini", accepted=True)
    >>> model.estimate("code", "hard", "openai:gpt-5-mini").probability > 0.9
    True
    >>> model.reset()
    >>> model.estimate("code", "hard", "openai:gpt-5-mini").probability
    0.3
    """

    def __init__(
        self,
        *,
        half_life: float = 100.0,
        explore_every: int = 25,
        max_cells: int = 2_048,
        priors: Mapping[ComplexityLevel, float] = PRIORS,
    ) -> None:
        """Starts knowing nothing but what is expected of the levels.

        Args:
            half_life: after so many observations of a domain, level and model, what was there
                before counts half.
            explore_every: of the requests of a domain, level and model that would not be drafted,
                every so many-th is drafted all the same; 0 explores nothing.
            max_cells: the most combinations kept, those of all domains together included; the one
                not used for longest makes room.
            priors: what is expected of each level; all five are named.

        Raises:
            ConfigurationError: a value that cannot be.
        """
        if type(explore_every) is not int or explore_every < 0:
            raise ConfigurationError(
                f"explore_every must be a number of requests, or 0, not {explore_every!r}"
            )
        if set(priors) != set(_LEVELS) or not all(0 <= each <= 1 for each in priors.values()):
            raise ConfigurationError(
                f"priors must give {', '.join(_LEVELS)} a probability each, 0 to 1"
            )
        self.learned: Final = RunningMeans(
            NOTE, parts=3, largest=1.0, half_life=half_life, max_keys=max_cells
        )
        self._explore_every = explore_every
        self._priors = dict(priors)
        self._skipped: OrderedDict[Key, int] = OrderedDict()
        self._lock = threading.Lock()
        _models.add(self)

    def observe(
        self,
        domain: str,
        level: ComplexityLevel,
        model: str,
        *,
        accepted: bool,
        elsewhere: bool = True,
    ) -> None:
        """Learns from one draft that was judged.

        Args:
            domain: what the request was about; any name, a domain of the user's own too.
            level: how hard it was judged to be.
            model: the id of the model that drafted, `provider:name`.
            accepted: whether the draft was the answer.
            elsewhere: whether it says something of other domains too: not where this one judges by
                a threshold of its own.

        Raises:
            InvalidRequestError: there is no such level, or the domain has no name.
        """
        if level not in self._priors:
            raise _no_level(level)
        if not domain:
            raise InvalidRequestError("a domain's name is empty; `general` is what has none")
        pool = ((_ANY, level, model),) if elsewhere else ()
        self.learned.observe(float(accepted), *pool, (domain, level, model))

    def estimate(self, domain: str, level: ComplexityLevel, model: str) -> Estimate:
        """Estimates how likely a draft is accepted.

        Raises:
            InvalidRequestError: there is no such level.
        """
        prior = self._priors.get(level)
        if prior is None:
            raise _no_level(level)
        (pooled, pooled_accepted), (weight, accepted) = self.learned.read(
            (_ANY, level, model), (domain, level, model)
        )
        pool = (_LEVEL_WEIGHT * prior + pooled_accepted) / (_LEVEL_WEIGHT + pooled)
        behind = _POOL_WEIGHT + weight
        probability = (_POOL_WEIGHT * pool + accepted) / behind
        return Estimate(probability=probability, observations=weight, behind=behind)

    def explore(self, domain: str, level: ComplexityLevel, model: str) -> bool:
        """Says whether a request that would not be drafted is drafted all the same, to learn.

        It counts: it is asked once for each such request. Of every `explore_every` in a row for one
        domain, level and model exactly one is drafted, whichever threads they come from.
        """
        every = self._explore_every
        if not every:
            return False
        key = domain, level, model
        with self._lock:
            count = self._skipped.get(key, 0) + 1
            self._skipped[key] = count % every
            self._skipped.move_to_end(key)
            if len(self._skipped) > self.learned.max_keys:
                self._skipped.popitem(last=False)
        return count >= every

    def reset(self, *, domain: str | None = None, model: str | None = None) -> None:
        """Forgets what was learned, here and with the next save in the store too.

        Args:
            domain: in this domain only. What its drafts taught of a model in all domains together
                is kept, unless the model is forgotten altogether.
            model: of this model only.
        """
        self.learned.forget((domain, None, model))
        with self._lock:
            for key in [
                key for key in self._skipped if domain in (None, key[0]) and model in (None, key[2])
            ]:
                del self._skipped[key]

    def to_dict(self) -> dict[str, Any]:
        """Gives what was learned as JSON, for `from_dict`."""
        return self.learned.to_dict()

    @classmethod
    def from_dict(cls, document: JsonObject, **options: Any) -> Self:
        """Makes a model of what another one learned.

        Args:
            document: as `to_dict` gave it.
            options: as the constructor takes them; they are not part of the document.

        Raises:
            StoreError: the document is none, or of a newer version.
            ConfigurationError: an option that cannot be.
        """
        model = cls(**options)
        model.learned.restore(document)
        return model

    def renew_after_fork(self) -> None:
        """The child must not wait for a thread of its parent's."""
        self._lock = threading.Lock()


def _interval(probability: float, behind: float) -> tuple[float, float]:
    """The middle 90 % of the beta distribution with this mean and so many observations behind it.

    By Abramowitz and Stegun 26.5.22, which leaves out 5 % on each side to within 1 % of all. Where
    less than one acceptance, or one rejection, lies behind it, it reaches to that end, and holds
    more than 90 %.
    """
    accepted, rejected = probability * behind, (1 - probability) * behind
    first = 1 / (2 * max(accepted, 1.0) - 1)
    second = 1 / (2 * max(rejected, 1.0) - 1)
    harmonic = 2 / (first + second)
    spread = _Z * math.sqrt(harmonic + _LAMBDA) / harmonic
    skew = (second - first) * (_LAMBDA + 5 / 6 - 2 / (3 * harmonic))
    odds = max(accepted, 1.0) / max(rejected, 1.0)
    low = odds * math.exp(2 * (skew - spread))
    high = odds * math.exp(2 * (skew + spread))
    return (
        0.0 if accepted < 1 else min(probability, low / (1 + low)),
        1.0 if rejected < 1 else max(probability, high / (1 + high)),
    )


def _no_level(level: object) -> InvalidRequestError:
    return InvalidRequestError(f"a level is one of {', '.join(_LEVELS)}; not {level!r}")


_models: Final[weakref.WeakSet[AcceptanceModel]] = weakref.WeakSet()


def _after_fork() -> None:
    for model in list(_models):
        model.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
