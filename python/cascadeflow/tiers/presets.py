"""The three presets: numbers to begin with. `docs/tiers.md` gives the reason for each."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.config import BudgetConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.tiers.checks import near
from cascadeflow.tiers.config import FEATURES, RateLimits, TierConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.tiers.fields import TierFields

__all__ = ["PRESETS", "preset"]

_FREE: Final[TierFields] = {
    "budget": BudgetConfig(daily=Decimal("0.25"), monthly=Decimal("2.50")),
    "rate_limits": RateLimits(per_minute=5, per_hour=50, per_day=200, tokens_per_minute=20_000),
    "max_concurrency": 2,
    "max_tokens": 1_024,
    "features": frozenset({"cache", "streaming"}),
    "priority": 1,
}

_PRO: Final[TierFields] = {
    "budget": BudgetConfig(daily=Decimal(5), monthly=Decimal(50)),
    "rate_limits": RateLimits(
        per_minute=60, per_hour=1_000, per_day=10_000, tokens_per_minute=200_000
    ),
    "max_concurrency": 10,
    "max_tokens": 8_192,
    "features": frozenset({"batch", "cache", "images", "streaming", "tools"}),
    "priority": 5,
}

_ENTERPRISE: Final[TierFields] = {
    "budget": BudgetConfig(daily=Decimal(200), monthly=Decimal(2_000)),
    "rate_limits": RateLimits(per_minute=600, tokens_per_minute=2_000_000),
    "max_concurrency": 100,
    "features": FEATURES,
    "priority": 20,
}

PRESETS: Final[Mapping[str, TierFields]] = MappingProxyType(
    {"free": _FREE, "pro": _PRO, "enterprise": _ENTERPRISE}
)
"""By name: what each sets; the rest is `TierConfig`'s default."""


def preset(name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Gives a preset's fields, the overrides in the place of its own.

    Raises:
        ConfigurationError: an override is no field of a tier.
    """
    known = [each.name for each in fields(TierConfig)]
    for field in overrides:
        if field not in known:
            raise ConfigurationError(
                f"TierConfig.{name}() knows no {field!r}: {near(field, known)}"
            )
    return {"name": name, **PRESETS[name], **overrides}
