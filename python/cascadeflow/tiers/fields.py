"""A tier's fields: how each may be given, for type checkers, and how it is read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypedDict, get_args

from cascadeflow.config import CacheScope, QualityConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.tiers import checks
from cascadeflow.tiers.limits import FEATURES, MOST_REQUESTS, OnLimit, RateLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cascadeflow.config import BudgetConfig, QualityMode
    from cascadeflow.money import Amount
    from cascadeflow.tiers.limits import Feature

__all__ = ["CHECKS", "PresetFields", "ProfileFields", "TierFields"]


class ProfileFields(TypedDict, total=False):
    """What may be given for one user alone: any iterable where a tuple is kept."""

    models: Iterable[str] | None
    blocked_models: Iterable[str]
    budget: BudgetConfig | Amount | None
    rate_limits: RateLimits | None
    max_concurrency: int | None
    quality_mode: QualityMode | None
    quality_config: QualityConfig | None
    max_tokens: int | None
    features: Iterable[Feature]
    cache_scope: CacheScope | None
    domains: Iterable[str] | None
    priority: int
    on_limit: OnLimit
    max_wait: float


class TierFields(ProfileFields, total=False):
    """What a tier may be given besides its name."""

    tier_budget: BudgetConfig | Amount | None
    tier_rate_limits: RateLimits | None
    tier_max_concurrency: int | None


class PresetFields(TierFields, total=False):
    """What may be given in the place of a preset's."""

    name: str


def _models(where: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    patterns = checks.texts(where, value)
    if not patterns:
        raise ConfigurationError(f"{where} is empty: nobody could be asked (None is all models)")
    return patterns


def _domains(where: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    domains = checks.texts(where, value)
    if not domains:
        raise ConfigurationError(f"{where} is empty: nothing could be asked (None is anything)")
    return domains


def _scope(where: str, value: Any) -> str | None:
    return None if value is None else checks.one_of(where, value, get_args(CacheScope))


CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "models": _models,
    "blocked_models": checks.texts,
    "budget": checks.optional_budget,
    "tier_budget": checks.optional_budget,
    "rate_limits": partial(checks.instance, kind=RateLimits),
    "tier_rate_limits": partial(checks.instance, kind=RateLimits),
    "max_concurrency": partial(checks.optional_whole, least=0, most=MOST_REQUESTS),
    "tier_max_concurrency": partial(checks.optional_whole, least=0, most=MOST_REQUESTS),
    "quality_mode": checks.optional_quality,
    "quality_config": partial(checks.instance, kind=QualityConfig),
    "max_tokens": partial(checks.optional_whole, least=1),
    "features": partial(checks.subset, known=FEATURES),
    "cache_scope": _scope,
    "domains": _domains,
    "priority": partial(checks.whole, least=1, most=1_000),
    "on_limit": partial(checks.one_of, known=get_args(OnLimit)),
    "max_wait": checks.seconds,
}
"""By field: takes where a value stands, for the error's text, and the value; gives what is kept."""
