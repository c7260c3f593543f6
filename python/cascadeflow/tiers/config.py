"""What a tier is: which models, how much, how often, how well. Frozen records, and nothing else."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Self

from cascadeflow.config import BudgetConfig, CacheScope, QualityConfig, QualityMode
from cascadeflow.errors import ConfigurationError
from cascadeflow.money import Amount  # noqa: TC001 - so that the fields' types can be resolved
from cascadeflow.tiers import checks
from cascadeflow.tiers.fields import CHECKS
from cascadeflow.tiers.limits import FEATURES, Feature, OnLimit, RateLimits
from cascadeflow.tiers.policies import policy_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Unpack

    from cascadeflow.tiers.fields import PresetFields, ProfileFields, TierFields

__all__ = [
    "FEATURES",
    "INHERIT",
    "Feature",
    "OnLimit",
    "RateLimits",
    "TierConfig",
    "UserProfile",
    "policy_of",
]


@dataclass(frozen=True, slots=True)
class TierConfig:
    """What the users of one tier get. Everything is enforced before anything is sent.

    >>> TierConfig.free(max_tokens=512).max_tokens
    512

    Attributes:
        name: the tier's name, such as `"free"`.
        models: which of the agent's models may draft, verify, judge and stand in: ids
            (`"openai:gpt-5-mini"`), names, or patterns (`"openai:*"`, `"*-mini"`); `None` is all.
        blocked_models: which may not, whatever `models` says; likewise.
        budget: what each user of the tier may spend; a bare amount is a total, for ever. A budget
            given to a user by name holds over it.
        tier_budget: what all users of the tier may spend together.
        rate_limits: how often each user may ask.
        tier_rate_limits: how often all users of the tier together may.
        max_concurrency: how many requests of one user may be under way at once.
        tier_max_concurrency: how many of all users of the tier together.
        quality_mode: how drafts are judged, unless the call says otherwise; `None` is the agent's.
        quality_config: the same in full; one of the two.
        max_tokens: the most output tokens of a call: a request that asks for more is lowered to it,
            one that says nothing is sent it.
        features: what it includes; all of it unless said.
        cache_scope: who shares answers; `None` is the agent's.
        domains: what its requests may be about (`domain=`); `None` is anything. A request that
            says nothing is `"general"`.
        priority: its weight among those who wait, 1 to 1,000: of two tiers that wait for the same
            limit, one of priority 10 is served ten times for each time one of 1 is.
        on_limit: `refuse` raises `RateLimitError` at once, `wait` waits up to `max_wait`.
        max_wait: seconds; under `wait`.

    Raises:
        ConfigurationError: a value cannot be right; the text names the tier, the field and what
            would be.
    """

    name: str
    _: KW_ONLY
    models: tuple[str, ...] | None = None
    blocked_models: tuple[str, ...] = ()
    budget: BudgetConfig | Amount | None = None
    tier_budget: BudgetConfig | Amount | None = None
    rate_limits: RateLimits | None = None
    tier_rate_limits: RateLimits | None = None
    max_concurrency: int | None = None
    tier_max_concurrency: int | None = None
    quality_mode: QualityMode | None = None
    quality_config: QualityConfig | None = None
    max_tokens: int | None = None
    features: frozenset[Feature] = FEATURES
    cache_scope: CacheScope | None = None
    domains: tuple[str, ...] | None = None
    priority: int = 1
    on_limit: OnLimit = "refuse"
    max_wait: float = 30.0

    if TYPE_CHECKING:  # what may be given is wider than what is kept

        def __init__(self, name: str, **given: Unpack[TierFields]) -> None: ...

    def __post_init__(self) -> None:
        checks.text("a tier's name", self.name)
        owner = f"tier {self.name!r}"
        for name, check in CHECKS.items():
            object.__setattr__(self, name, check(f"{owner}: {name}", getattr(self, name)))
        _one_quality(owner, self.quality_mode, self.quality_config)

    @classmethod
    def free(cls, **overrides: Unpack[PresetFields]) -> Self:
        """A tier for those who try it out; `docs/tiers.md` gives its numbers and their reasons.

        >>> TierConfig.free().rate_limits.per_hour, TierConfig.free(name="trial").name
        (50, 'trial')

        Raises:
            ConfigurationError: an override is no field, or its value cannot be right.
        """
        return cls._preset("free", overrides)

    @classmethod
    def pro(cls, **overrides: Unpack[PresetFields]) -> Self:
        """A tier for one who works with it daily.

        >>> TierConfig.pro(domains=["code", "data"]).domains
        ('code', 'data')

        Raises:
            ConfigurationError: as `free` does.
        """
        return cls._preset("pro", overrides)

    @classmethod
    def enterprise(cls, **overrides: Unpack[PresetFields]) -> Self:
        """A tier for a company's people and machines: every feature, limits against mistakes.

        >>> TierConfig.enterprise().features == FEATURES
        True

        Raises:
            ConfigurationError: as `free` does.
        """
        return cls._preset("enterprise", overrides)

    @classmethod
    def _preset(cls, preset: str, overrides: Mapping[str, Any]) -> Self:
        from cascadeflow.tiers import presets  # noqa: PLC0415 - it is written in these records

        return cls(**presets.preset(preset, overrides))

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], *, name: str | None = None) -> Self:
        """Reads a tier from plain values, as JSON and TOML have them.

        Budgets are amounts or tables of `BudgetConfig`'s fields, rate limits and `quality_config`
        tables. `preset` names a preset to begin with: a table lies over the preset's, key by key.
        Where `None` is no limit, `"unlimited"` says so too, for TOML has no null.

        >>> TierConfig.from_dict({"preset": "pro", "budget": {"daily": 8}}, name="team").user_budget
        BudgetConfig(daily=Decimal('8'), ... monthly=Decimal('50'), ...)

        Args:
            mapping: the tier's fields.
            name: the tier's name, where `mapping` does not say; or else the preset's.

        Raises:
            ConfigurationError: a key is not known or a value cannot be right; the text says which.
        """
        from cascadeflow.tiers import reading  # noqa: PLC0415 - only where something is read

        return cls(**reading.tier_fields(mapping, name=name))

    @classmethod
    def from_toml(cls, path: str | Path) -> dict[str, Self]:
        """Reads the tiers of a TOML file, a table `[tiers.<name>]` each, as `from_dict` does.

        Raises:
            ConfigurationError: the file cannot be read or is no TOML, has no tiers or something
                else than tiers, or a tier cannot be right; the text says where.
        """
        from cascadeflow.tiers import reading  # noqa: PLC0415 - only where something is read

        return reading.read_tiers(path, cls.from_dict)

    def to_dict(self) -> dict[str, Any]:
        """Gives the tier as plain values that JSON and TOML can write, without its defaults.

        `from_dict` makes the same tier of them. Amounts are written as exact decimal text, so that
        one which was given as a float or as text comes back as the same amount, a `Decimal`.

        >>> TierConfig("free", budget=0.1, max_tokens=512).to_dict()
        {'name': 'free', 'budget': '0.1', 'max_tokens': 512}
        """
        from cascadeflow.tiers import reading  # noqa: PLC0415 - only where something is written

        return reading.plain_tier(self)

    @property
    def user_budget(self) -> BudgetConfig | None:
        """What each user may spend, a bare amount read as a total."""
        return _budget(self.budget)

    @property
    def whole_budget(self) -> BudgetConfig | None:
        """What all users of the tier may spend together, likewise."""
        return _budget(self.tier_budget)

    @property
    def quality(self) -> QualityConfig | None:
        """How drafts are judged; `None` is the agent's."""
        if self.quality_mode is not None:
            return QualityConfig(mode=self.quality_mode)
        return self.quality_config

    def allows_model(self, model_id: str, name: str) -> bool:
        """Tells whether a model may do anything for this tier: what is blocked never may.

        In a pattern, `*` stands for any text, `?` for any one character; all else, brackets
        included, stands for itself, in its case.

        >>> tier = TierConfig("t", models=["openai:*", "*-mini"], blocked_models=["*:gpt-5-pro"])
        >>> [tier.allows_model(f"openai:{name}", name) for name in ("gpt-5", "gpt-5-pro")]
        [True, False]

        Args:
            model_id: the model's id, such as `"openai:gpt-5-mini"`.
            name: its name alone, such as `"gpt-5-mini"`.
        """
        if checks.matches(self.blocked_models, model_id, name):
            return False
        return self.models is None or checks.matches(self.models, model_id, name)

    def allows_domain(self, domain: str | None) -> bool:
        """Tells whether a request may be about this; one that says nothing is `"general"`.

        >>> TierConfig("t", domains=["code"]).allows_domain(None)
        False
        """
        return self.domains is None or (domain or "general") in self.domains


class _Inherit(Enum):
    """What a field of a profile is that was not given."""

    INHERIT = "INHERIT"

    def __repr__(self) -> str:
        return self.name


INHERIT: Final = _Inherit.INHERIT


@dataclass(frozen=True, slots=True)
class UserProfile:
    """One user's tier, and what is different for this user alone.

    Every field of `TierConfig` but `name`, `tier_budget`, `tier_rate_limits` and
    `tier_max_concurrency` may be given; what is not is the tier's. `None` is a value like any
    other: `max_tokens=None` lifts the tier's limit. A value takes the tier's place whole: a
    `RateLimits` that says nothing about hours lifts the tier's limit an hour.

    >>> UserProfile("free", max_tokens=None).over(TierConfig.free()) == (
    ...     TierConfig.free(max_tokens=None)
    ... )
    True

    Attributes:
        tier: the user's tier; `None` is the default tier.

    Raises:
        ConfigurationError: a value cannot be right, as for `TierConfig`.
    """

    tier: str | None = None
    _: KW_ONLY
    models: tuple[str, ...] | _Inherit | None = INHERIT
    blocked_models: tuple[str, ...] | _Inherit = INHERIT
    budget: BudgetConfig | Amount | _Inherit | None = INHERIT
    rate_limits: RateLimits | _Inherit | None = INHERIT
    max_concurrency: int | _Inherit | None = INHERIT
    quality_mode: QualityMode | _Inherit | None = INHERIT
    quality_config: QualityConfig | _Inherit | None = INHERIT
    max_tokens: int | _Inherit | None = INHERIT
    features: frozenset[Feature] | _Inherit = INHERIT
    cache_scope: CacheScope | _Inherit | None = INHERIT
    domains: tuple[str, ...] | _Inherit | None = INHERIT
    priority: int | _Inherit = INHERIT
    on_limit: OnLimit | _Inherit = INHERIT
    max_wait: float | _Inherit = INHERIT
    _last: tuple[TierConfig, TierConfig] | None = field(
        default=None, init=False, repr=False, compare=False
    )
    """The tier that was last asked for, and what it is for this user."""

    if TYPE_CHECKING:  # what may be given is wider than what is kept

        def __init__(self, tier: str | None = None, **given: Unpack[ProfileFields]) -> None: ...

    def __post_init__(self) -> None:
        if self.tier is not None:
            checks.text("a profile's tier", self.tier)
        given = self.overrides
        for name, value in given.items():
            object.__setattr__(self, name, CHECKS[name](f"user profile: {name}", value))
        _one_quality("user profile", given.get("quality_mode"), given.get("quality_config"))

    def __reduce__(self) -> tuple[Callable[..., UserProfile], tuple[Any, ...]]:
        return _profile, (self.tier, self.overrides)  # without what was last asked for

    @property
    def overrides(self) -> dict[str, Any]:
        """What is different for this user, by field."""
        values = ((name, getattr(self, name)) for name in _OVERRIDABLE)
        return {name: value for name, value in values if value is not INHERIT}

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Self:
        """Reads a profile from plain values, as `TierConfig.from_dict` reads a tier.

        >>> UserProfile.from_dict({"tier": "pro", "max_tokens": "unlimited"})
        UserProfile(tier='pro', ... max_tokens=None, ...)

        Raises:
            ConfigurationError: a key is not known or a value cannot be right; the text says which.
        """
        from cascadeflow.tiers import reading  # noqa: PLC0415 - only where something is read

        return cls(**reading.profile_fields(mapping))

    def over(self, config: TierConfig) -> TierConfig:
        """Gives what the user gets: the tier, with what is different laid over it.

        The tier is not changed; asked again with the same one, it gives the same object.

        Args:
            config: the user's tier.
        """
        last = self._last
        if last is not None and last[0] is config:
            return last[1]
        given = self.overrides
        # Of the two ways to say how drafts are judged, the user's replaces the tier's.
        if given.get("quality_mode") is not None:
            given["quality_config"] = None
        elif given.get("quality_config") is not None:
            given["quality_mode"] = None
        laid = replace(config, **given) if given else config
        object.__setattr__(self, "_last", (config, laid))  # one assignment: threads may race
        return laid


def _profile(tier: str | None, overrides: Mapping[str, Any]) -> UserProfile:
    return UserProfile(tier, **overrides)


def _budget(given: BudgetConfig | Amount | None) -> BudgetConfig | None:
    return given if given is None or isinstance(given, BudgetConfig) else checks.total(given)


def _one_quality(owner: str, mode: object, config: object) -> None:
    if mode is not None and config is not None:
        raise ConfigurationError(f"{owner}: give quality_mode or quality_config, not both")


_OVERRIDABLE: Final = tuple(
    each.name for each in fields(UserProfile) if each.init and each.name != "tier"
)
