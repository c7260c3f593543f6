"""Any tier, any profile: what hypothesis draws them from."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from cascadeflow.config import BudgetConfig, CacheScope, QualityConfig
from cascadeflow.tiers.config import FEATURES, OnLimit, RateLimits, TierConfig

NAMES = st.text(min_size=1, max_size=8).filter(str.strip)

EXACT = st.one_of(
    st.integers(0, 10**9),
    st.decimals(0, 10**9, allow_nan=False, allow_infinity=False, places=9),
)
"""Amounts that a file gives back as they are."""

AMOUNTS = st.one_of(
    EXACT,
    st.floats(0, 1e9, allow_nan=False),
    st.decimals(0, 10**6, places=4).map(str),
)


def budgets(amounts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any budget, or a bare amount."""
    periods = st.dictionaries(
        st.sampled_from(["daily", "weekly", "monthly", "total", "rolling"]), amounts, min_size=1
    )
    shares = st.floats(0, 1, allow_nan=False)
    records = st.builds(
        lambda limits, warn_at, hours, zone: BudgetConfig(
            **limits, warn_at=min(warn_at, 0.9), rolling_hours=hours, timezone=zone
        ),
        periods,
        shares,
        st.floats(0.5, 48),
        st.sampled_from(["UTC", "Europe/Oslo"]),
    )
    return st.one_of(st.none(), amounts, records)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values)


WHOLE = optional(st.integers(0, 1_000_000))


@st.composite
def rate_limits(draw: st.DrawFn) -> RateLimits:
    """Any limits; a burst only with its limit."""
    names = ["per_second", "per_minute", "per_hour", "per_day", "tokens_per_minute"]
    limits: dict[str, Any] = {name: draw(WHOLE) for name in names}
    for period in ("per_second", "per_minute"):
        if limits[period]:
            limits[f"burst_{period}"] = draw(WHOLE)
    return RateLimits(**limits)


def fields_of_users(amounts: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """By field that a profile may hold too: its values."""
    return {
        "models": optional(st.lists(NAMES, min_size=1, max_size=3)),
        "blocked_models": st.lists(NAMES, max_size=3),
        "budget": budgets(amounts),
        "rate_limits": optional(rate_limits()),
        "max_concurrency": WHOLE,
        "max_tokens": optional(st.integers(1, 100_000)),
        "features": st.sets(st.sampled_from(sorted(FEATURES))),
        "cache_scope": optional(st.sampled_from(get_args(CacheScope))),
        "domains": optional(st.lists(NAMES, min_size=1, max_size=3)),
        "priority": st.integers(1, 1_000),
        "on_limit": st.sampled_from(get_args(OnLimit)),
        "max_wait": st.floats(0.001, 1e6),
    }


QUALITY = st.one_of(
    st.just({}),
    st.just({"quality_mode": "fast"}),
    st.floats(0, 1).map(lambda share: {"quality_config": QualityConfig(threshold=share)}),
)


def tiers(amounts: st.SearchStrategy[Any] = AMOUNTS) -> st.SearchStrategy[TierConfig]:
    """Any tier."""
    own = {
        "tier_budget": budgets(amounts),
        "tier_rate_limits": optional(rate_limits()),
        "tier_max_concurrency": WHOLE,
    }
    given = st.fixed_dictionaries({}, optional=fields_of_users(amounts) | own)
    return st.builds(
        lambda name, fields, quality: TierConfig(name, **fields, **quality), NAMES, given, QUALITY
    )


def overrides() -> st.SearchStrategy[dict[str, Any]]:
    """Any fields of a profile."""
    given = st.fixed_dictionaries({}, optional=fields_of_users(AMOUNTS))
    return st.builds(lambda fields, quality: fields | quality, given, QUALITY)
