"""The presets are what their page says, and take any field in the place of their own."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tier_samples import overrides

from cascadeflow.config import BudgetConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.tiers.config import FEATURES, RateLimits, TierConfig
from cascadeflow.tiers.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[2] / "docs" / "tiers.md"

MAKERS: dict[str, Callable[..., TierConfig]] = {
    "free": TierConfig.free,
    "pro": TierConfig.pro,
    "enterprise": TierConfig.enterprise,
}


def shown(number: Any) -> str:
    return "\u2013" if number is None else f"{number:,}"


def row(tier: TierConfig) -> dict[str, str]:
    """A preset as the page's table has it."""
    limits, budget = tier.rate_limits, tier.budget
    assert limits is not None
    assert isinstance(budget, BudgetConfig)
    return {
        "requests a minute": shown(limits.per_minute),
        "requests an hour": shown(limits.per_hour),
        "requests a day": shown(limits.per_day),
        "tokens a minute": shown(limits.tokens_per_minute),
        "requests at once": shown(tier.max_concurrency),
        "output tokens of a call": shown(tier.max_tokens),
        "US dollars a day": shown(budget.daily),
        "US dollars a month": shown(budget.monthly),
        "features": ", ".join(sorted(tier.features)),
        "priority": shown(tier.priority),
    }


def table() -> dict[str, dict[str, str]]:
    """The page's table, by preset."""
    section = PAGE.read_text().partition("\n## The presets\n")[2].partition("\n## ")[0]
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ]
    names = [name.strip("`") for name in lines[0][1:]]
    return {name: {line[0]: line[1 + at] for line in lines[1:]} for at, name in enumerate(names)}


def test_the_pages_table_is_what_the_code_has() -> None:
    assert table() == {name: row(make()) for name, make in MAKERS.items()}


def test_a_preset_sets_nothing_that_the_table_does_not_show() -> None:
    listed = {
        "name",
        "budget",
        "rate_limits",
        "max_concurrency",
        "max_tokens",
        "features",
        "priority",
    }
    plain = TierConfig("plain")
    for make in MAKERS.values():
        preset, limits, budget = make(), make().rate_limits, make().user_budget
        assert limits is not None
        assert budget is not None
        for each in fields(TierConfig):
            if each.name not in listed:
                assert getattr(preset, each.name) == getattr(plain, each.name)
        assert limits == RateLimits(
            per_minute=limits.per_minute,
            per_hour=limits.per_hour,
            per_day=limits.per_day,
            tokens_per_minute=limits.tokens_per_minute,
        )
        assert budget == BudgetConfig(daily=budget.daily, monthly=budget.monthly)


def test_every_tier_gets_at_least_what_the_one_below_gets() -> None:
    def least(value: int | None) -> float:
        return float("inf") if value is None else value

    for low, high in (("free", "pro"), ("pro", "enterprise")):
        below, above = MAKERS[low](), MAKERS[high]()
        assert below.features < above.features
        for each in fields(RateLimits):
            if getattr(below.rate_limits, each.name) is not None:
                assert least(getattr(below.rate_limits, each.name)) < least(
                    getattr(above.rate_limits, each.name)
                )
        assert least(below.max_tokens) < least(above.max_tokens)
        assert least(below.max_concurrency) < least(above.max_concurrency)
        assert below.priority < above.priority
    assert TierConfig.enterprise().features == FEATURES


@pytest.mark.parametrize("name", MAKERS)
@given(changed=overrides(), another=st.booleans())
def test_an_override_changes_its_field_and_nothing_else(
    name: str, changed: dict[str, Any], *, another: bool
) -> None:
    named = {"name": "another"} if another else {}
    assert MAKERS[name](**changed, **named) == replace(MAKERS[name](), **changed, **named)
    assert MAKERS[name]() == TierConfig(name, **PRESETS[name])


@pytest.mark.parametrize("name", MAKERS)
def test_an_unknown_override_is_refused_with_the_nearest_field(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean max_tokens\?") as caught:
        MAKERS[name](max_token=5)
    assert f"TierConfig.{name}()" in str(caught.value)
    with pytest.raises(ConfigurationError, match="blocked_models, budget, cache_scope"):
        MAKERS[name](zzz=5)


def test_an_override_is_held_to_what_a_tier_may_be() -> None:
    with pytest.raises(ConfigurationError, match=re.escape("tier 'pro': max_tokens must be")):
        TierConfig.pro(max_tokens=0)


def test_a_tier_of_ones_own_kind_stays_one() -> None:
    class Own(TierConfig):
        __slots__ = ()

    assert type(Own.free()) is Own
    assert type(Own.from_dict({"preset": "pro"})) is Own
