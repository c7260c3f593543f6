"""The frozen configuration records that several rooms share.

They stand on the ground floor so that rooms above need not import each other for them.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.money import Amount, from_usd

if TYPE_CHECKING:
    from cascadeflow.types import PeriodKind

__all__ = [
    "LOCAL_CHECKS",
    "TEXT_CHECKS",
    "TOKEN_CHECKS",
    "BreakerPolicy",
    "BudgetConfig",
    "CacheScope",
    "Deadlines",
    "EnforcementMode",
    "QualityConfig",
    "QualityMode",
    "RetryPolicy",
]

EnforcementMode = Literal["warn", "block", "degrade"]
"""What a budget does when it runs out: say so, refuse, or answer more cheaply."""

QualityMode = Literal["fast", "balanced", "strict"]

CacheScope = Literal["user", "tenant", "global"]
"""Who shares answers: nobody with anybody, the users of a team, or all."""

_QUALITY_NUMBERS: Final = {
    "threshold": 1.0,
    "clear_above": 1.0,
    "clear_below": 1.0,
    "sample_temperature": 2.0,
    "check_timeout": 600.0,
    "relevance_threshold": 1.0,
    "grounding_threshold": 1.0,
    "toxicity_threshold": 1.0,
}
"""The numbers of a `QualityConfig`, and the most that each may be."""

_MOST_SAMPLES: Final = 20


class _Usual(float):
    """A default that nobody stated: it gives way to a calibration's."""

    __slots__ = ()


_THRESHOLD: Final = _Usual(0.80)

LOCAL_CHECKS: Final = ("relevance", "grounding", "toxicity")
"""The checks by models on this machine."""

TEXT_CHECKS: Final = (
    "truncated",
    "refusal",
    "echo",
    "format",
    "topic",
    "hedging",
    "self_correction",
    "repetition",
    "arithmetic",
    "final_answer",
    "numbers",
    "constraints",
    "language",
    "units",
    "code",
)
"""The checks by rules over the text that can be off; that there is a text at all cannot."""

TOKEN_CHECKS: Final = ("confidence",)
"""The checks by the probabilities that a model gave its own words, where they were asked for."""

_LARGEST_WINDOW: Final = 1_000
"""Tries that a circuit breaker remembers for a model, at most."""


def _whole(what: str, value: Any) -> None:
    """Refuses what is no whole number, whatever its annotation says."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{what} must be a whole number, not {value!r}")


def _seconds(what: str, value: Any) -> None:
    """Refuses what is no number at all; its bounds are looked at where they are known."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f"{what} must be a number of seconds, not {value!r}")


def _words(what: str, value: Any) -> None:
    """Refuses what is neither text nor `None`."""
    if value is not None and not (isinstance(value, str) and value.strip()):
        raise ConfigurationError(f"{what} must be text, not {value!r}")


def _names(given: Any) -> tuple[str, ...]:
    """Takes the names of checks that are off, once each."""
    known = (*TEXT_CHECKS, *TOKEN_CHECKS, *LOCAL_CHECKS)
    if isinstance(given, str) or not isinstance(given, (tuple, list, set, frozenset)):
        raise ConfigurationError(
            f"QualityConfig.without takes names of checks, such as ('toxicity',), not {given!r}"
        )
    unknown = sorted({str(each) for each in given if each not in known})
    if unknown:
        raise ConfigurationError(
            f"QualityConfig.without: there is no check {', '.join(unknown)} that can be off; there "
            f"are {', '.join(known)}"
        )
    return tuple(name for name in known if name in given)


def _several(given: Any) -> bool | str | tuple[str, ...]:
    """Takes who is to cross-check: anybody, nobody, a model, or several models in turn."""
    if isinstance(given, bool) or (isinstance(given, str) and given):
        return given
    names = tuple(given) if isinstance(given, (tuple, list)) else ()
    if not names or not all(isinstance(each, str) and each for each in names):
        raise ConfigurationError(
            "QualityConfig.cross_check must be True, False, a model's name or several names, not "
            f"{given!r}"
        )
    if len(set(names)) < len(names):
        raise ConfigurationError(
            f"QualityConfig.cross_check names a model twice: {', '.join(names)}. Each is asked once"
        )
    return names[0] if len(names) == 1 else names


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetConfig:
    """What one user, team, tag … may spend, in US dollars. 0 is a limit of zero; `None` is none.

    Periods are those of the calendar in `timezone`: a day begins at midnight there, a week on
    Monday (ISO 8601), a month on its first day, daylight saving included.

    >>> BudgetConfig(daily=1, monthly="20.50").limits
    (('day', 1000000000), ('month', 20500000000))

    Attributes:
        daily: for each calendar day.
        weekly: for each ISO week.
        monthly: for each calendar month.
        total: for ever.
        rolling: for every stretch of `rolling_hours`, wherever it begins.
        rolling_hours: the length of that stretch, in hours.
        warn_at: the share of a limit, 0 to 1, from which on it is `warned`.
        degrade_at: the share from which on `degrade` mode plans more cheaply.
        timezone: an IANA name, such as `"Europe/Oslo"`.
    """

    daily: Amount | None = None
    weekly: Amount | None = None
    monthly: Amount | None = None
    total: Amount | None = None
    rolling: Amount | None = None
    rolling_hours: float = 24.0
    warn_at: float = 0.8
    degrade_at: float = 0.9
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if not 0 <= self.warn_at <= self.degrade_at <= 1:
            raise ConfigurationError(
                "BudgetConfig needs 0 <= warn_at <= degrade_at <= 1, not "
                f"{self.warn_at} and {self.degrade_at}"
            )
        if not 0 < self.rolling_hours <= 24 * 366:
            raise ConfigurationError(
                f"BudgetConfig.rolling_hours must lie in 0..8784, not {self.rolling_hours}"
            )
        try:
            limits = self.limits
        except InvalidRequestError as error:
            raise ConfigurationError(f"BudgetConfig: {error}") from None
        if not limits:
            raise ConfigurationError(
                "a BudgetConfig needs a limit: daily=, weekly=, monthly=, rolling= or total="
            )

    @property
    def limits(self) -> tuple[tuple[PeriodKind, int], ...]:
        """Each limit that is set: its period and nanodollars, shortest period first."""
        named: tuple[tuple[PeriodKind, Amount | None], ...] = (
            ("rolling", self.rolling),
            ("day", self.daily),
            ("week", self.weekly),
            ("month", self.monthly),
            ("total", self.total),
        )
        return tuple(
            (period, from_usd(amount, what=f"the {period} budget"))
            for period, amount in named
            if amount is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed call is tried again at the same model: full jitter, exponential, capped.

    Attributes:
        attempts: tries in all, the first included; 1 never retries.
        base_delay: seconds; try n waits a random time up to `base_delay * 2**(n-1)`.
        max_delay: seconds; no wait is longer, and a `Retry-After` that is longer ends the retrying.
    """

    attempts: int = 3
    base_delay: float = 0.5
    max_delay: float = 8.0

    def __post_init__(self) -> None:
        _whole("RetryPolicy.attempts", self.attempts)
        _seconds("RetryPolicy.base_delay", self.base_delay)
        _seconds("RetryPolicy.max_delay", self.max_delay)
        if self.attempts < 1:
            raise ConfigurationError(
                f"RetryPolicy.attempts must be at least 1, not {self.attempts}"
            )
        if not (0 <= self.base_delay <= self.max_delay):
            raise ConfigurationError("RetryPolicy needs 0 <= base_delay <= max_delay, in seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long each part of a call may take, in seconds; `None` waits for ever.

    Attributes:
        connect: until the connection stands, TLS included.
        first_byte: from the request being sent to the response's first byte.
        between_chunks: between two pieces of a stream.
        total: the whole call, retries included.
    """

    connect: float | None = 10.0
    first_byte: float | None = 120.0
    between_chunks: float | None = 60.0
    total: float | None = 300.0

    def __post_init__(self) -> None:
        for name in ("connect", "first_byte", "between_chunks", "total"):
            value = getattr(self, name)
            if value is None:
                continue
            _seconds(f"Deadlines.{name}", value)
            if not value > 0:
                raise ConfigurationError(
                    f"Deadlines.{name} must be more than 0 seconds or None, not {value}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a model that keeps failing is left alone for a while.

    Its circuit opens when `failures` of its last `window` tries within `period` failed; then
    nothing is sent to it for a while (`CircuitOpenError`, at once, so that the next model in line
    is asked). After that one request tries it out: an answer closes the circuit, a failure opens it
    for twice as long. Only what speaks of the provider's health counts as a failure: overload, a
    missed deadline of `Deadlines` other than `total`, a broken connection, a malformed answer. A
    rate limit, a refused request and a call's own time-out do not: they may be one key's, one
    request's or one caller's.

    With `failures == window`, only failures in a row open it.

    Attributes:
        failures: so many failed tries open the circuit.
        window: of so many tries, the last ones.
        period: seconds; what is longer ago does not count.
        cooldown: seconds that it stays open for the first time, and twice as long each time that
            trying it out fails. The wait is drawn from the upper half of this (so that many
            processes do not come back at once) and is never less than the `Retry-After` of the
            failure that opened it.
        max_cooldown: seconds; it never stays open longer.
    """

    failures: int = 10
    window: int = 20
    period: float = 60.0
    cooldown: float = 5.0
    max_cooldown: float = 120.0

    def __post_init__(self) -> None:
        for name in ("failures", "window"):
            _whole(f"BreakerPolicy.{name}", getattr(self, name))
        for name in ("period", "cooldown", "max_cooldown"):
            _seconds(f"BreakerPolicy.{name}", getattr(self, name))
        if not 1 <= self.failures <= self.window <= _LARGEST_WINDOW:
            raise ConfigurationError(
                f"BreakerPolicy needs 1 <= failures <= window <= {_LARGEST_WINDOW}, not "
                f"{self.failures} and {self.window}"
            )
        if not self.period > 0:
            raise ConfigurationError(
                f"BreakerPolicy.period must be more than 0 seconds, not {self.period}"
            )
        if not 0 < self.cooldown <= self.max_cooldown:
            raise ConfigurationError("BreakerPolicy needs 0 < cooldown <= max_cooldown, in seconds")


@dataclass(frozen=True, slots=True)
class QualityConfig:
    """How a draft is judged, and how sure the judgement must be.

    `fast` judges by rules over the text. `balanced` also runs models on this machine: is the answer
    one to the question, do the documents that were given support it, is it toxic. `strict` then
    asks other models for a second opinion, the cheapest way first, until the decision is clear;
    what that costs is held like any call.

    Options of another mode are kept and do nothing. `relevance_threshold`, `grounding_threshold`,
    `toxicity_threshold`, `toxicity_model`, `grounding_model` and `check_timeout` count in
    `balanced` and `strict`, `async_validation` in `balanced`; `clear_above`, `clear_below`,
    `cross_check`, `samples`, `sample_temperature`, `judge` and `rubric` in `strict`. Where a mode
    is named alone, as a tier's or a call's `quality_mode`, it comes with its own defaults.

    >>> from dataclasses import replace
    >>> replace(QualityConfig.fast(cross_check="gemini-2.5-flash"), mode="strict").cross_checks
    ('gemini-2.5-flash',)

    >>> QualityConfig.balanced(toxicity_threshold=0.5, without=("grounding",)).without
    ('grounding',)
    >>> QualityConfig.strict(samples=3, judge=False).samples
    3

    Attributes:
        mode: which checks run.
        threshold: the least probability that the draft is good enough, 0 to 1, at which it is
            accepted; its default is the calibration's, and without one it is fitted,
            `docs/quality.md` says on what.
        clear_above: `strict` asks nobody further once the probability is at least this, and at
            least `threshold`.
        clear_below: `strict` asks nobody further once it is below this, and below `threshold`.
        cross_check: whether another model answers the request too, to see whether both agree:
            `True` takes the cheapest of another family than the drafter's that the request may use;
            or a model's id or name, of the request's models and not the drafter; or several, asked
            one after the other until it is clear.
        samples: how many further answers the drafter is asked for, to see whether it agrees with
            itself; 0 for none.
        sample_temperature: the sampling temperature of those.
        judge: whether a model is asked to grade the draft: `True` takes the planned verifier; or a
            model's id or name, of the request's models.
        rubric: what it grades by, in words; `None` is the built-in rubric.
        check_timeout: seconds that asking one model may take, retries included.
        calibration: a file that `cascadeflow tune` wrote for this mode: the probability is then the
            one fitted to your own log. `strict` with one asks nobody whose answer could not change
            the decision; `clear_above` and `clear_below` do not count then.
    """

    mode: QualityMode = "fast"
    threshold: float = _THRESHOLD
    _: KW_ONLY
    clear_above: float = 0.97
    clear_below: float = 0.50
    cross_check: bool | str | tuple[str, ...] = True
    samples: int = 0
    sample_temperature: float = 0.7
    judge: bool | str = True
    rubric: str | None = None
    check_timeout: float = 30.0
    calibration: str | None = None
    relevance_threshold: float = 0.05
    grounding_threshold: float = 0.25
    toxicity_threshold: float = 0.7
    toxicity_model: str | None = None
    grounding_model: str | None = None
    without: tuple[str, ...] = ()
    async_validation: bool = False

    def __post_init__(self) -> None:
        for name, most in _QUALITY_NUMBERS.items():
            value: Any = getattr(self, name)  # whatever the annotation says
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigurationError(f"QualityConfig.{name} must be a number, not {value!r}")
            if not 0.0 <= value <= most:
                raise ConfigurationError(
                    f"QualityConfig.{name} must lie in 0..{most:g}, not {value}"
                )
        _whole("QualityConfig.samples", self.samples)
        if not 0 <= self.samples <= _MOST_SAMPLES:
            raise ConfigurationError(
                f"QualityConfig.samples must lie in 0..{_MOST_SAMPLES}, not {self.samples}"
            )
        if self.clear_below > self.clear_above:
            raise ConfigurationError(
                f"QualityConfig.clear_below ({self.clear_below}) must not lie above clear_above "
                f"({self.clear_above})"
            )
        object.__setattr__(self, "cross_check", _several(self.cross_check))
        judge: Any = self.judge
        if not isinstance(judge, (bool, str)) or judge == "":
            raise ConfigurationError(
                f"QualityConfig.judge must be True, False or a model's name, not {judge!r}"
            )
        _words("QualityConfig.rubric", self.rubric)
        self._check_models()
        object.__setattr__(self, "without", _names(self.without))
        if self.check_timeout <= 0:
            raise ConfigurationError("QualityConfig.check_timeout must be more than 0 seconds")
        if self.mode not in ("fast", "balanced", "strict"):
            raise ConfigurationError(
                f"quality mode {self.mode!r} does not exist: use fast, balanced or strict"
            )
        if self.mode == "strict" and self.async_validation:
            raise ConfigurationError(
                "second opinions are paid for from their request's money, which is settled with "
                "its answer: use async_validation with mode fast or balanced"
            )
        if self.mode == "strict" and not (self.cross_check or self.samples or self.judge):
            raise ConfigurationError(
                "quality mode strict with cross_check, samples and judge all off asks for no "
                "second opinion: leave one on, or use QualityConfig.fast()"
            )

    def _check_models(self) -> None:
        for name in ("calibration", "toxicity_model", "grounding_model"):
            _words(f"QualityConfig.{name}", getattr(self, name))
        if not isinstance(self.async_validation, bool):
            raise ConfigurationError(
                "QualityConfig.async_validation must be True or False, not "
                f"{self.async_validation!r}"
            )

    @property
    def threshold_stated(self) -> bool:
        """Whether somebody chose the threshold: what is stated goes before a calibration's."""
        return not isinstance(self.threshold, _Usual)

    @classmethod
    def fast(cls, **overrides: Any) -> Self:
        """Text rules only, in well under a millisecond.

        >>> QualityConfig.fast(threshold=0.6).threshold
        0.6
        """
        return replace(cls(mode="fast"), **overrides)

    @property
    def cross_checks(self) -> tuple[bool | str, ...]:
        """Who answers the request too, in turn; empty where nobody does.

        >>> QualityConfig.strict(cross_check=["gemini-2.5-flash", "mistral-small"]).cross_checks
        ('gemini-2.5-flash', 'mistral-small')
        """
        if isinstance(self.cross_check, tuple):
            return self.cross_check
        return (self.cross_check,) if self.cross_check else ()

    @property
    def local_checks(self) -> tuple[str, ...]:
        """The checks by models on this machine that are to run."""
        if self.mode == "fast":
            return ()
        return tuple(name for name in LOCAL_CHECKS if name not in self.without)

    @classmethod
    def balanced(cls, **overrides: Any) -> Self:
        """Text rules, and models on this machine: relevance, grounding, toxicity.

        >>> QualityConfig.balanced(toxicity_threshold=0.70).local_checks
        ('relevance', 'grounding', 'toxicity')
        """
        return replace(cls(mode="balanced"), **overrides)

    @classmethod
    def strict(cls, **overrides: Any) -> Self:
        """What `balanced` does, then second opinions by models: a cross-check, samples, a judge.

        >>> QualityConfig.strict(cross_check="gemini-2.5-flash-lite").cross_check
        'gemini-2.5-flash-lite'
        """
        return replace(cls(mode="strict"), **overrides)
