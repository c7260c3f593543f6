"""Routes by examples: which of a user's own domains a request is about, or none of them.

What a request's vector is compared with is each domain's mean and its nearest example
(`rust/embed/src/routes.rs`); what a cosine is worth depends on how alike a domain's examples are
among themselves, and how near the domains lie to each other. `data/examples.json` says how these
count, fitted by `benches/fit_examples.py`; its card says on what.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Self

from cascadeflow._native import ExampleIndex
from cascadeflow.domains.records import Evidence, LayerReport
from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cascadeflow._native import Vectors
    from cascadeflow.domains.registry import Domain
    from cascadeflow.models.embedding import Embedder

__all__ = ["ExampleRoutes", "ExampleWeights"]

_SHOWN: Final = 3
"""Examples that are named as evidence."""

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleWeights:
    """How cosines become probabilities: a softmax over the domains and "none of these".

    A domain's score is `mean`, `nearest` and `cohesion` by what they weigh; that of "none" is
    `bias`, and `log_examples`, `single`, `own` and `other` by what is known of the examples.

    Attributes:
        model: the sentence model whose vectors they are fitted to.
        variance: how much examples of a domain usually scatter in each direction.
        strength: how many examples that is worth beside the user's own.
        mean: of the cosine with the mean of a domain's examples.
        nearest: of the cosine with its nearest example.
        cohesion: of how alike its examples are.
        bias: of "none of these".
        log_examples: of the logarithm of how many examples a domain has, in the mean.
        single: where there is one domain only, and `other` cannot be known.
        own: of how near an example lies to the others of its domain.
        other: of how near it lies to the next domain.
        threshold: the least probability that it is one of the domains at which the likeliest of
            them answers.
    """

    model: str
    variance: float
    strength: float
    mean: float
    nearest: float
    cohesion: float
    bias: float
    log_examples: float
    single: float
    own: float
    other: float
    threshold: float

    @classmethod
    def builtin(cls) -> Self:
        """Gives those that come with the package."""
        return cls(**_shipped())

    def none_score(self, index: ExampleIndex, examples: float) -> float:
        """Gives the score of "none of these" among some domains, of so many examples each."""
        own_mean, own_nearest, other_mean, other_nearest = index.nearness
        score = self.bias + self.log_examples * math.log(examples)
        score += self.own * (own_mean + own_nearest) / 2
        if other_mean is None or other_nearest is None:
            return score + self.single
        return score + self.other * (other_mean + other_nearest) / 2


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Any]:
    text = files("cascadeflow.domains").joinpath("data", "examples.json").read_text("utf-8")
    weights: dict[str, Any] = json.loads(text)["weights"]
    return weights


class ExampleRoutes:
    """Domains known by their examples. Immutable; safe to use from many threads."""

    __slots__ = ("_base", "_examples", "_index", "_names", "_none", "_of", "_weights", "threshold")

    def __init__(
        self,
        domains: Iterable[Domain],
        embedder: Embedder,
        *,
        weights: ExampleWeights | None = None,
    ) -> None:
        """Embeds the examples, blocking meanwhile: some milliseconds each; `make` does not block.

        Args:
            domains: at least one, each with examples.
            embedder: whose vectors the requests will have too.
            weights: other ones than the package's, as for another sentence model.

        Raises:
            ConfigurationError: there is no domain, one has no examples, or there is no model.
            InvalidRequestError: an example that has no vector.
        """
        known = _with_examples(domains)
        self._set(known, embedder.embed(_texts(known)), embedder.name, weights)

    @classmethod
    async def make(
        cls,
        domains: Iterable[Domain],
        embedder: Embedder,
        *,
        weights: ExampleWeights | None = None,
    ) -> Self:
        """Does what the constructor does and raises what it raises, without blocking.

        Its last part, 10 ms and 230 for 1,500 examples, runs in a thread.
        """
        import asyncio  # noqa: PLC0415 - seldom needed

        known = _with_examples(domains)
        vectors = await embedder.vectors(_texts(known))
        return await asyncio.to_thread(cls.of_vectors, known, vectors, embedder.name, weights)

    @classmethod
    def of_vectors(
        cls,
        domains: Iterable[Domain],
        vectors: Vectors,
        model: str,
        weights: ExampleWeights | None = None,
    ) -> Self:
        """Takes the vectors of all examples, domain by domain, in their order.

        Args:
            domains: as for the constructor.
            vectors: a vector for each example.
            model: the name of the model that they are of.
            weights: as for the constructor.

        Raises:
            ConfigurationError: there is no domain, or one has no examples.
            InvalidRequestError: there are more or fewer vectors than examples.
        """
        routes = cls.__new__(cls)
        routes._set(_with_examples(domains), vectors, model, weights)  # noqa: SLF001 - its own
        return routes

    def _set(
        self,
        domains: Sequence[Domain],
        vectors: Vectors,
        model: str,
        weights: ExampleWeights | None,
    ) -> None:
        found = weights or ExampleWeights.builtin()
        if model != found.model:
            _logger.warning(
                "domains by examples: how sure they are was fitted to %s, not to %s; its "
                "probabilities may be off",
                found.model,
                model,
            )
        self._names = tuple([domain.name for domain in domains])
        self._examples = tuple(_texts(domains))
        self._of = tuple([at for at, domain in enumerate(domains) for _ in domain.examples])
        self._weights = found
        self._index = ExampleIndex(
            vectors, self._of, variance=found.variance, strength=found.strength
        )
        self._base = tuple([found.cohesion * each for each in self._index.cohesion])
        self._none = found.none_score(self._index, len(self._of) / len(self._names))
        self.threshold = found.threshold

    @property
    def names(self) -> tuple[str, ...]:
        """The domains, in the order in which they were given."""
        return self._names

    def report(self, vector: Vectors, *, ms: float = 0.0) -> LayerReport:
        """Says which of the domains a request is about, or none.

        The likeliest answers where it is probable enough, `threshold`, that it is any of them: of
        two domains that are much alike the better one is still better than none. What the
        probabilities lack to 1 is that of none of these. They hold for requests half of which are
        about none of the domains.

        Args:
            vector: the request's one vector, of the model that made the examples'.
            ms: how long it took to come by it.

        Raises:
            InvalidRequestError: it is not one vector, or of another dimension.
        """
        means, nearest, near = self._index.score(vector, nearest=_SHOWN)
        of_mean, of_nearest = self._weights.mean, self._weights.nearest
        scores = [
            of_mean * mean + of_nearest * best + base
            for mean, best, base in zip(means, nearest, self._base, strict=True)
        ]
        highest = max(*scores, self._none)
        shares = [math.exp(score - highest) for score in scores]
        total = math.fsum(shares) + math.exp(self._none - highest)
        likely = [(name, share / total) for name, share in zip(self._names, shares, strict=True)]
        likely.sort(key=_probability, reverse=True)
        return LayerReport(
            layer="semantic",
            probabilities=tuple(likely),
            answered=math.fsum(shares) / total >= self.threshold,
            threshold=self.threshold,
            evidence=tuple(
                [Evidence(self._examples[at], self._names[self._of[at]], cos) for at, cos in near]
            ),
            ms=ms,
        )

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"ExampleRoutes({', '.join(self._names)})"


def _probability(likely: tuple[str, float]) -> float:
    return likely[1]


def _with_examples(domains: Iterable[Domain]) -> tuple[Domain, ...]:
    found = tuple(domains)
    if not found:
        raise ConfigurationError("routes by examples need at least one Domain with examples")
    for domain in found:
        if not domain.examples:
            raise ConfigurationError(
                f"domain {domain.name!r} has no examples to be known by: Domain({domain.name!r}, "
                "examples=[…])"
            )
    return found


def _texts(domains: Sequence[Domain]) -> list[str]:
    return [example for domain in domains for example in domain.examples]
