"""What a simulated model is like: how good, how fast, how reliable."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from cascadeflow.models.prices import Price

__all__ = ["AnswerSheet", "LogNormalLatency", "SimulatedModel", "rough_tokens"]

AnswerSheet: TypeAlias = Mapping[str, str] | Callable[[str], str | None]
"""Question to answer: a mapping, or a function that gives `None` for what it does not know."""

CHARACTERS_PER_TOKEN: Final = 4

_STANDARD_NORMAL = NormalDist()


def rough_tokens(text: str) -> int:
    """Counts tokens by the simulator's own rule: four characters each, the last may be shorter.

    >>> rough_tokens("Paris"), rough_tokens("")
    (2, 0)
    """
    return -(-len(text) // CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class LogNormalLatency:
    """Seconds to the first token, as real services spread: most near the median, a long tail.

    Attributes:
        median: seconds that half of the requests stay under.
        sigma: standard deviation of the latency's logarithm; 0 makes every request the median.
    """

    median: float
    sigma: float

    def __post_init__(self) -> None:
        if not (0 < self.median < math.inf and 0 <= self.sigma < math.inf):
            raise ConfigurationError(
                "LogNormalLatency needs a median above 0 seconds and a sigma of at least 0,"
                f" not {self.median} and {self.sigma}"
            )

    @classmethod
    def from_percentiles(cls, p50: float, p95: float) -> Self:
        """Fits the distribution to two measured percentiles, in seconds.

        >>> latency = LogNormalLatency.from_percentiles(0.4, 1.2)
        >>> round(latency.at(0.5), 6), round(latency.at(0.95), 6)
        (0.4, 1.2)

        Raises:
            ConfigurationError: not `0 < p50 <= p95`.
        """
        if not 0 < p50 <= p95:
            raise ConfigurationError(f"latencies need 0 < p50 <= p95, not {p50} and {p95}")
        return cls(median=p50, sigma=math.log(p95 / p50) / _STANDARD_NORMAL.inv_cdf(0.95))

    def at(self, share: float) -> float:
        """The latency that a share of the requests stays under, `0 < share < 1`, in seconds."""
        return self.median * math.exp(self.sigma * _STANDARD_NORMAL.inv_cdf(share))


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """One model of a `SimulatedProvider`. `SimulatedModel("small")` answers at once and never errs.

    Every rate is a probability from 0 to 1, drawn from the provider's seed and the request.

    Attributes:
        name: the model as requests name it.
        skill: how often a question on the answer sheet is answered right.
        answers: the answer sheet: right answers by question. The question is the text of the last
            user message. A question that is not on it gets filler text of `output_tokens`.
        wrong_answers: what to say when an answer is to be wrong; without it, or where it has
            nothing, the right answer is perturbed: another number, the opposite, another answer of
            the sheet, a misspelt word.
        latency: seconds to the first token: fixed, or a `LogNormalLatency`.
        tokens_per_second: how fast tokens follow the first; `None`: all at once.
        tokens_per_chunk: tokens in each event of a stream.
        output_tokens: length of the filler text.
        reasoning_tokens: hidden tokens before each answer: they take time, are billed as output and
            count towards the request's limit.
        cached_share: share of the prompt's tokens that is reported as read from a prompt cache.
        error_rate: how often a request fails with `error_status`. A repeat of it draws again.
        error_status: an HTTP status from 400, or `"disconnect"`: the connection is cut.
        rate_limit: requests a minute; more get a 429. A full minute's worth may come at once.
        break_stream_rate: how often a stream is cut off half-way.
        refusal_rate: how often a question is refused.
        calls_tools: whether a request that offers tools, and leaves it open, is answered by calling
            the one whose name has most words in common with the question, the first among equals.
            Never after a tool's result.
        context_window: tokens; a longer prompt is a 400.
        count_tokens: counts the tokens of a text; without it a token is four characters.
        price: what `SimulatedProvider.models_for` states; without it, the catalogue's by the name.
    """

    name: str
    skill: float = field(default=1.0, kw_only=True)
    answers: AnswerSheet | None = field(default=None, kw_only=True, repr=False)
    wrong_answers: AnswerSheet | None = field(default=None, kw_only=True, repr=False)
    latency: float | LogNormalLatency = field(default=0.0, kw_only=True)
    tokens_per_second: float | None = field(default=None, kw_only=True)
    tokens_per_chunk: int = field(default=1, kw_only=True)
    output_tokens: int = field(default=32, kw_only=True)
    reasoning_tokens: int = field(default=0, kw_only=True)
    cached_share: float = field(default=0.0, kw_only=True)
    error_rate: float = field(default=0.0, kw_only=True)
    error_status: int | Literal["disconnect"] = field(default=500, kw_only=True)
    rate_limit: int | None = field(default=None, kw_only=True)
    break_stream_rate: float = field(default=0.0, kw_only=True)
    refusal_rate: float = field(default=0.0, kw_only=True)
    calls_tools: bool = field(default=True, kw_only=True)
    context_window: int | None = field(default=None, kw_only=True)
    count_tokens: Callable[[str], int] | None = field(default=None, kw_only=True, repr=False)
    price: Price | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigurationError("SimulatedModel needs a name, such as SimulatedModel('small')")
        for name in _SHARES:
            self._require(name, 0 <= getattr(self, name) <= 1, "lie in 0..1")
        for name in ("output_tokens", "tokens_per_chunk"):
            self._require(name, getattr(self, name) >= 1, "be at least 1")
        self._require("reasoning_tokens", self.reasoning_tokens >= 0, "be at least 0")
        for name in ("rate_limit", "context_window"):
            value = getattr(self, name)
            self._require(name, value is None or value >= 1, "be at least 1, or None")
        if not isinstance(self.latency, LogNormalLatency):
            self._require("latency", 0 <= self.latency < math.inf, "be at least 0 seconds")
        speed = self.tokens_per_second
        self._require("tokens_per_second", speed is None or speed > 0, "be more than 0, or None")
        status = self.error_status
        self._require(
            "error_status",
            status == "disconnect" or 400 <= status <= 599,  # noqa: PLR2004
            'be an HTTP status from 400 to 599, or "disconnect"',
        )

    @classmethod
    def from_config(cls, settings: Any) -> Self:
        """Reads plain JSON: the fields by name, a `LogNormalLatency` as `{"median":, "sigma":}`.

        >>> SimulatedModel.from_config({"name": "small", "skill": 0.7}).skill
        0.7

        Raises:
            ConfigurationError: a field that does not exist, or cannot be stated in JSON.
        """
        if not isinstance(settings, Mapping):
            raise ConfigurationError(f"a simulated model must be an object, not {settings!r}")
        unknown = settings.keys() - _JSON_FIELDS
        if unknown or "name" not in settings:
            raise ConfigurationError(
                f"a simulated model is set up by name and any of {', '.join(sorted(_JSON_FIELDS))};"
                f" not by {', '.join(sorted(unknown)) or 'nothing'}"
            )
        values = dict(settings)
        try:
            if isinstance(latency := values.get("latency"), Mapping):
                values["latency"] = LogNormalLatency(**latency)
            return cls(**values)
        except TypeError as error:
            raise ConfigurationError(
                f"simulated model {settings['name']!r} has a setting of the wrong type: {error}"
            ) from error

    def to_config(self) -> dict[str, Any]:
        """Gives plain JSON that `from_config` reads, without what stands at its default.

        Raises:
            ConfigurationError: the model has a function for an answer sheet or for counting.
        """
        settings: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value == each.default or each.name == "price":
                continue
            if callable(value):
                raise ConfigurationError(
                    f"{each.name} of simulated model {self.name!r} is a function, which another"
                    " process cannot be given: use a mapping, or the simulator in this process"
                )
            if isinstance(value, LogNormalLatency):
                value = {"median": value.median, "sigma": value.sigma}
            settings[each.name] = dict(value) if isinstance(value, Mapping) else value
        return settings

    def _require(self, name: str, holds: bool, what: str) -> None:  # noqa: FBT001
        if not holds:
            raise ConfigurationError(
                f"SimulatedModel.{name} must {what}, not {getattr(self, name)!r}"
            )


_SHARES = ("skill", "cached_share", "error_rate", "break_stream_rate", "refusal_rate")
_JSON_FIELDS = frozenset(each.name for each in fields(SimulatedModel)) - {"count_tokens", "price"}
