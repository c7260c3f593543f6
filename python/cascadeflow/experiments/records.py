"""What an experiment is made of: variants, metrics, guard rails, and who is assigned to what."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

from cascadeflow.config import QualityConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.config import ModelConfig

if TYPE_CHECKING:
    from cascadeflow.types import JsonObject

__all__ = [
    "METRICS",
    "Assignment",
    "DraftingRule",
    "Guardrail",
    "Metric",
    "Variant",
    "VariantSource",
    "check_name",
]

DraftingRule = Literal["always", "never", "trivial", "simple", "moderate", "hard", "expert"]
"""Which requests are drafted: all, none, or those up to this level of complexity."""

Better: TypeAlias = Literal["lower", "higher"]
ModelLike: TypeAlias = "str | ModelConfig | Mapping[str, Any]"

_LONGEST_NAME: Final = 100


def check_name(what: str, name: Any) -> str:
    """Gives a name back if it is one.

    Raises:
        ConfigurationError: it is empty, too long, or holds what cannot be printed.
    """
    if isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable():
        return name
    raise ConfigurationError(
        f"{what} must be printable text of 1 to {_LONGEST_NAME} characters, not {name!r:.120}"
    )


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigurationError(f"{what} must be a finite number, not {value!r:.80}")
    return float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Something that is measured of a request, or reported by you.

    Attributes:
        name: what it is called. The package measures `cost` (US dollars), `latency_ms`
            (milliseconds from call to answer, a stream's reader not counted), `accepted` and
            `escalated` (whether the answer is an accepted draft; whether a draft was rejected and
            the verifier asked), `quality` (the draft's probability of being good enough, where one
            was judged), `error` (whether it got no answer) and `unjudged` (whether its late
            verdict never came; only of answers that were to have one). Any other name is your own:
            `Experiment.record` reports it.
        better: whether `lower` or `higher` values are better.
        kind: `share` lies in 0..1 (yes and no are 1 and 0); `amount` is any number.
    """

    name: str
    better: Better
    kind: Literal["share", "amount"] = "amount"

    def __post_init__(self) -> None:
        check_name("a metric's name", self.name)
        if self.better not in get_args(Better):
            raise ConfigurationError(
                f"metric {self.name!r}: better must be 'lower' or 'higher', not {self.better!r}"
            )
        if self.kind not in {"share", "amount"}:
            raise ConfigurationError(
                f"metric {self.name!r}: kind must be 'share' or 'amount', not {self.kind!r}"
            )

    @classmethod
    def of(cls, given: Any) -> Metric:
        """Reads a metric: a record, or the name of one that is built in.

        Raises:
            ConfigurationError: it is neither; the message says how to write one's own.
        """
        if isinstance(given, Metric):
            known = METRICS.get(given.name)
            if known is not None and known.kind != given.kind:
                raise ConfigurationError(
                    f"the metric {given.name!r} is measured by the package, as kind "
                    f"{known.kind!r}: give your own another name"
                )
            return given
        if isinstance(given, str) and given in METRICS:
            return METRICS[given]
        raise ConfigurationError(
            f"a metric is one of {', '.join(METRICS)}, or your own, such as "
            f"Metric(name='thumbs_up', better='higher', kind='share'); not {given!r:.80}"
        )


METRICS: Final[Mapping[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric(name="cost", better="lower"),
        Metric(name="latency_ms", better="lower"),
        Metric(name="accepted", better="higher", kind="share"),
        Metric(name="escalated", better="lower", kind="share"),
        Metric(name="quality", better="higher", kind="share"),
        Metric(name="error", better="lower", kind="share"),
        Metric(name="unjudged", better="lower", kind="share"),
    )
}
"""What the package measures of every request, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """What a variant may not break: when it surely has, it is stopped, and its users go to control.

    One of `at_most`, `at_least` and `worse_by` says what may not be broken.

    >>> Guardrail(metric="error", at_most=0.05).words
    'error at most 0.05'
    >>> Guardrail(metric="latency_ms", at_most=2000, quantile=0.95).words
    'latency_ms p95 at most 2000'

    Attributes:
        metric: a built-in metric's name, or your own `Metric`.
        at_most: the mean over users (or the quantile) may not be above this.
        at_least: … may not be below this.
        worse_by: the mean may not be worse than control's by more than this, in the metric's unit.
        quantile: 0 to 1, both excluded: bound this quantile of single requests and not their mean.
            That 95 % take at most two seconds is held to as: at most 5 % take longer.
    """

    metric: Metric | str
    at_most: float | None = None
    at_least: float | None = None
    worse_by: float | None = None
    quantile: float | None = None

    def __post_init__(self) -> None:
        measured = Metric.of(self.metric)
        given = [
            name for name in ("at_most", "at_least", "worse_by") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ConfigurationError(
                f"a guard rail on {measured.name!r} needs one of at_most=, at_least= and "
                f"worse_by=, not {' and '.join(given) or 'none'}"
            )
        limit = _number(f"{given[0]} of the guard rail on {measured.name!r}", self.limit)
        if given[0] == "worse_by" and limit < 0:
            raise ConfigurationError(
                f"worse_by of the guard rail on {measured.name!r} must be at least 0, not {limit}"
            )
        if measured.kind == "share" and not 0 <= limit <= 1:
            raise ConfigurationError(
                f"{measured.name!r} is a share: {given[0]} must lie in 0..1, not {limit}"
            )
        if self.quantile is None:
            return
        quantile = _number(f"quantile of the guard rail on {measured.name!r}", self.quantile)
        if given[0] == "worse_by" or not 0 < quantile < 1:
            raise ConfigurationError(
                f"quantile of the guard rail on {measured.name!r} must lie between 0 and 1 and "
                "stand beside at_most= or at_least="
            )

    @property
    def measured(self) -> Metric:
        """The metric as a record."""
        return Metric.of(self.metric)

    @property
    def limit(self) -> float:
        """The number that was given."""
        given = (self.at_most, self.at_least, self.worse_by)
        return next(value for value in given if value is not None)

    @property
    def words(self) -> str:
        """What it asks for, in words."""
        name = self.measured.name
        if self.quantile is not None:
            name += f" p{self.quantile * 100:g}"
        if self.worse_by is not None:
            return f"{name} not worse than control by more than {self.limit:g}"
        return f"{name} {'at most' if self.at_most is not None else 'at least'} {self.limit:g}"

    @property
    def watched(self) -> Metric:
        """What is averaged: the metric, or, under a quantile, how often the limit is passed."""
        measured = self.measured
        if self.quantile is None:
            return measured
        sign = ">" if self.at_most is not None else "<"
        return Metric(name=f"{measured.name} {sign} {self.limit:g}", better="lower", kind="share")

    @property
    def bound(self) -> tuple[float, int]:
        """The bound of the mean of `watched`, and 1 where it may not be above, else -1."""
        if self.quantile is not None:
            return (1 - self.quantile if self.at_most is not None else self.quantile), 1
        if self.worse_by is not None:
            return self.limit, 1 if self.measured.better == "lower" else -1
        return self.limit, 1 if self.at_most is not None else -1

    def passed(self, value: float) -> float:
        """Under a quantile: whether one request passes the limit, as 1 or 0."""
        beyond = value > self.limit if self.at_most is not None else value < self.limit
        return 1.0 if beyond else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way of answering. What it leaves out is as the agent has it.

    >>> Variant(name="strict threshold", quality=QualityConfig.fast(threshold=0.9)).changes
    ('quality',)

    Attributes:
        name: what it is called.
        weight: its part of the experiment's users, beside the other weights.
        quality: how its drafts are judged.
        models: its models, in the place of the agent's, in the order that the agent puts them in.
        draft_models: who drafts, the first one first; the agent's other models stand by.
        verifiers: who verifies or answers directly, likewise. With both, nobody else is asked but
            the agent's fallbacks.
        drafting: which requests are drafted, whether that is expected to pay or not: `always`,
            `never`, or up to a level of complexity.
    """

    name: str
    weight: float = 1.0
    quality: QualityConfig | None = None
    models: Iterable[ModelLike] | None = None
    draft_models: Iterable[ModelLike] | None = None
    verifiers: Iterable[ModelLike] | None = None
    drafting: DraftingRule | None = None

    def __post_init__(self) -> None:
        check_name("a variant's name", self.name)
        weight = _number(f"the weight of variant {self.name!r}", self.weight)
        if not weight > 0:
            raise ConfigurationError(
                f"the weight of variant {self.name!r} must be more than 0, not {weight}: take the "
                "variant out, or stop it with Experiment.stop"
            )
        quality: Any = self.quality
        if quality is not None and not isinstance(quality, QualityConfig):
            raise ConfigurationError(
                f"quality of variant {self.name!r} must be a QualityConfig, such as "
                f"QualityConfig.fast(threshold=0.9), not {type(quality).__name__}"
            )
        for option in ("models", "draft_models", "verifiers"):
            given = getattr(self, option)
            if given is not None:
                object.__setattr__(self, option, _models(f"{option} of {self.name!r}", given))
        if self.models is not None and (self.draft_models or self.verifiers):
            raise ConfigurationError(
                f"variant {self.name!r}: give models=, or draft_models= and verifiers=, not both"
            )
        rule: Any = self.drafting
        if rule is not None and rule not in get_args(DraftingRule):
            raise ConfigurationError(
                f"drafting of variant {self.name!r} must be one of "
                f"{', '.join(get_args(DraftingRule))}; not {rule!r}"
            )

    @property
    def changes(self) -> tuple[str, ...]:
        """Which parts of the agent's configuration it changes."""
        options = ("quality", "models", "draft_models", "verifiers", "drafting")
        return tuple(name for name in options if getattr(self, name) is not None)

    @property
    def named_models(self) -> tuple[ModelConfig, ...]:
        """Every model that it names."""
        lists: Any = (self.models or (), self.draft_models or (), self.verifiers or ())
        return tuple(model for models in lists for model in models)

    @property
    def description(self) -> JsonObject:
        """What it changes, as plain JSON, for the store: no key is in it."""
        said: dict[str, Any] = {}
        if self.quality is not None:
            said["quality"] = _told(self.quality)
        for option in ("models", "draft_models", "verifiers"):
            models: Any = getattr(self, option)
            if models is not None:
                said[option] = [model.id for model in models]
                said[f"{option}_digest"] = models_digest(models)
        if self.drafting is not None:
            said["drafting"] = self.drafting
        return said


def _told(quality: QualityConfig) -> JsonObject:
    """What is not as its mode has it: a field that a later version adds is no other variant."""
    usual = QualityConfig(mode=quality.mode)
    told: dict[str, Any] = {"mode": quality.mode}
    for field in fields(quality):
        value = getattr(quality, field.name)
        if value != getattr(usual, field.name):
            told[field.name] = value if isinstance(value, (int, float, str)) else repr(value)
    return told


def models_digest(models: Iterable[ModelConfig]) -> str:
    """Gives a short text that stands for how models are asked; headers and keys are not in it."""
    parts = [
        [
            model.id,
            model.base_url,
            model.system_prompt,
            model.temperature,
            model.max_tokens,
            dict(model.extra or {}),
        ]
        for model in models
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _models(what: str, given: Any) -> tuple[ModelConfig, ...]:
    if isinstance(given, (str, Mapping, ModelConfig)) or not isinstance(given, Iterable):
        raise ConfigurationError(
            f"{what} must be a list, such as ['openai:gpt-5-mini', 'anthropic:claude-opus-4-5']"
        )
    models: list[ModelConfig] = []
    for model in given:
        if isinstance(model, ModelConfig):
            models.append(model)
        elif isinstance(model, str):
            models.append(ModelConfig.parse(model))
        elif isinstance(model, Mapping):
            try:
                models.append(ModelConfig(**model))
            except TypeError as error:
                raise ConfigurationError(
                    f"{what}: no ModelConfig can be made of {set(model)}: {error}"
                ) from None
        else:
            raise ConfigurationError(
                f"{what}: a model is text, a ModelConfig or a dict of its fields, not "
                f"{type(model).__name__}"
            )
    if not models:
        raise ConfigurationError(f"{what} is empty: name a model, or leave it out")
    return tuple(models)


class Assignment(NamedTuple):
    """Which variant a request is in.

    Attributes:
        experiment: the experiment's name.
        variant: the variant to use: its name.
        config: the same in full: what to change of the agent's configuration.
        unit: who was assigned, as a hash: the user, or the request that has none.
        anonymous: whether the request has no user, and is a unit by itself.
        counted: whether what comes of it is counted. `False` where the variant that the hash chose
            was stopped: such users are given control, but were not drawn into it.
    """

    experiment: str
    variant: str
    config: Variant
    unit: bytes
    anonymous: bool
    counted: bool


class VariantSource(Protocol):
    """What the pipeline needs of an experiment; `Experiment` is one."""

    def choose(self, user_id: str | None, request_id: str) -> Assignment | None:
        """Says which variant a request is in; `None` where it is in none."""

    def observe(
        self, assignment: Assignment, outcome: Mapping[str, float], *, later: bool = False
    ) -> None:
        """Takes what came of a request: values by metric. What is not known is left out.

        Args:
            assignment: its part in the experiment.
            outcome: the values; of each metric one a request.
            later: whether the request was told of before, and these became known since.
        """
