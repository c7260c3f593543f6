"""A tier is what was asked for, or an error that says what would be right."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tier_samples import tiers

from cascadeflow.config import BudgetConfig, QualityConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.tiers.config import FEATURES, RateLimits, TierConfig, UserProfile
from cascadeflow.tiers.fields import CHECKS, PresetFields, ProfileFields, TierFields

LIMITS = [each.name for each in fields(RateLimits)]


def refusal(make: Any, *args: Any, **settings: Any) -> str:
    """What an error says."""
    with pytest.raises(ConfigurationError) as caught:
        make(*args, **settings)
    return str(caught.value)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [-1, True, 1.0, "5", 10**16])
def test_a_rate_limit_that_is_no_whole_number_from_0_is_refused_by_name(
    name: str, value: Any
) -> None:
    limit = name.removeprefix("burst_")
    given = {name: value} if limit == name else {name: value, limit: 1}
    message = refusal(RateLimits, **given)
    assert f"RateLimits.{name}" in message
    assert f"not {value!r}" in message
    assert "whole number from 0" in message


@pytest.mark.parametrize("period", ["per_second", "per_minute"])
def test_a_burst_needs_its_limit(period: str) -> None:
    burst = f"burst_{period}"
    assert f"{period}, which is missing" in refusal(RateLimits, **{burst: 3})
    assert f"{period}, which is 0" in refusal(RateLimits, **{burst: 3, period: 0})
    assert "at most 50,000,000 times" in refusal(RateLimits, **{burst: 50_000_001, period: 1})
    assert getattr(RateLimits(**{burst: 3, period: 1}), burst) == 3
    assert getattr(RateLimits(**{burst: 0, period: 0}), burst) == 0


def test_limits_that_say_nothing_limit_nothing() -> None:
    assert not RateLimits().limited
    assert all(RateLimits(**{name: 0}).limited for name in LIMITS)


WRONG: list[tuple[str, Any, str]] = [
    ("models", (), "nobody could be asked"),
    ("models", "openai:*", r"\['openai:\*'\]"),
    ("models", [" "], "not empty"),
    ("models", [3], "must be a text"),
    ("models", 3, "list of texts"),
    ("models", b"ab", "list of texts"),
    ("blocked_models", "a", r"\['a'\]"),
    ("blocked_models", None, "list of texts"),
    ("budget", -1, "at least 0 US dollars"),
    ("budget", True, "number of US dollars"),
    ("budget", "a lot", "number of US dollars"),
    ("budget", math.nan, "finite"),
    ("budget", {"daily": 1}, r"BudgetConfig\("),
    ("budget", BudgetConfig(daily=1, timezone="Norway/Nowhere"), "time zone"),
    ("tier_budget", "1e30", "larger than can be accounted for"),
    ("rate_limits", {"per_hour": 3}, r"RateLimits\("),
    ("rate_limits", 10, "RateLimits or None"),
    ("tier_rate_limits", "10", "RateLimits or None"),
    ("max_concurrency", -1, "whole number"),
    ("max_concurrency", True, "whole number"),
    ("tier_max_concurrency", 1.5, "whole number"),
    ("quality_mode", "careful", "careful"),
    ("quality_mode", [], "quality mode"),
    ("quality_config", "fast", "QualityConfig or None"),
    ("max_tokens", 0, "at least 1"),
    ("max_tokens", 10.0, "whole number"),
    ("features", "tools", r"\['tools'\]"),
    ("features", ["tool"], "batch, cache, extra, images, streaming, strict, tools"),
    ("cache_scope", "everybody", "'user' or 'tenant' or 'global'"),
    ("domains", [], "nothing could be asked"),
    ("domains", "code", r"\['code'\]"),
    ("priority", 0, "from 1 to 1,000"),
    ("priority", 1_001, "from 1 to 1,000"),
    ("priority", None, "whole number"),
    ("on_limit", "queue", "'refuse' or 'wait'"),
    ("on_limit", None, "'refuse' or 'wait'"),
    ("max_wait", 0, "more than 0"),
    ("max_wait", math.inf, "finite"),
    ("max_wait", math.nan, "finite"),
    ("max_wait", 10**400, "finite"),
    ("max_wait", "30", "finite number"),
    ("max_wait", True, "finite number"),
]


@pytest.mark.parametrize(("field", "value", "says"), WRONG)
def test_a_value_that_cannot_be_right_is_refused_with_tier_field_and_what_would_be(
    field: str, value: Any, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        TierConfig("silver", **{field: value})
    assert "tier 'silver': " in str(caught.value)
    assert field in str(caught.value)


def test_every_field_has_a_value_that_is_refused() -> None:
    assert {field for field, _, _ in WRONG} == {each.name for each in fields(TierConfig)} - {"name"}


@pytest.mark.parametrize("name", ["", "  ", None, 3, "\ud800"])
def test_a_tier_has_a_name(name: Any) -> None:
    assert "a tier's name" in refusal(TierConfig, name)


def test_quality_is_said_in_one_of_two_ways() -> None:
    config = QualityConfig.fast(threshold=0.5)
    assert TierConfig("t").quality is None
    assert TierConfig("t", quality_mode="fast").quality == QualityConfig.fast()
    assert TierConfig("t", quality_config=config).quality is config
    assert "not both" in refusal(TierConfig, "t", quality_mode="fast", quality_config=config)


def test_lists_are_kept_as_tuples_each_text_once() -> None:
    tier = TierConfig("t", models=["b", "a", "b"], blocked_models={"z", "y"}, domains=iter("ab"))
    assert tier.models == ("b", "a")
    assert tier.blocked_models == ("y", "z")
    assert tier.domains == ("a", "b")
    assert TierConfig("t", features=["tools", "tools"]).features == {"tools"}
    assert TierConfig("t", features=[]).features == frozenset()


def test_a_bare_amount_is_a_total_and_stays_as_it_was_given() -> None:
    tier = TierConfig("t", budget="0.10", tier_budget=BudgetConfig(daily=5))
    assert tier.budget == "0.10"
    assert tier.user_budget == BudgetConfig(total="0.10")
    assert tier.whole_budget is tier.tier_budget
    assert TierConfig("t").user_budget is TierConfig("t").whole_budget is None
    assert TierConfig("t", budget=0).user_budget == BudgetConfig(total=0)


@given(tiers())
def test_a_tier_can_be_hashed_pickled_copied_and_replaced(tier: TierConfig) -> None:
    for other in (
        pickle.loads(pickle.dumps(tier)),  # noqa: S301 - our own
        copy.copy(tier),
        copy.deepcopy(tier),
        replace(tier),
    ):
        assert other == tier
        assert hash(other) == hash(tier)
    assert replace(tier, priority=7).priority == 7
    assert "whole number" in refusal(replace, tier, priority=0)


def test_a_tier_is_frozen_and_holds_nothing_else() -> None:
    tier = TierConfig("t")
    with pytest.raises(FrozenInstanceError):
        tier.priority = 3  # type: ignore[misc]
    assert not hasattr(tier, "__dict__")
    assert not hasattr(RateLimits(), "__dict__")


def test_the_types_that_may_be_given_cover_every_field() -> None:
    names = {each.name for each in fields(TierConfig)}
    assert set(PresetFields.__annotations__) == names
    assert set(TierFields.__annotations__) == set(CHECKS) == names - {"name"}
    profile = {each.name for each in fields(UserProfile) if each.init} - {"tier"}
    assert set(ProfileFields.__annotations__) == profile
    assert names - profile == {"name", "tier_budget", "tier_rate_limits", "tier_max_concurrency"}
    assert set(get_type_hints(TierConfig)) - {"_"} == names


ID = "openai:gpt-5-mini"


@pytest.mark.parametrize(
    ("models", "allowed"),
    [
        (None, True),
        ([ID], True),
        (["gpt-5-mini"], True),
        (["openai:*"], True),
        (["*-mini"], True),
        (["gpt-?-mini"], True),
        (["other", "*"], True),
        (["anthropic:*", "gpt-5"], False),
        (["GPT-5-mini"], False),
        (["gpt-[5]-mini"], False),
        (["gpt-5"], False),
        (["pt-5-mini"], False),
    ],
)
def test_a_pattern_is_of_the_whole_id_or_the_whole_name_in_its_case(
    models: list[str] | None, allowed: bool
) -> None:
    assert TierConfig("t", models=models).allows_model(ID, "gpt-5-mini") is allowed
    blocking = TierConfig("t", blocked_models=models or [])
    assert blocking.allows_model(ID, "gpt-5-mini") is (models is None or not allowed)
    both = TierConfig("t", models=["*"], blocked_models=models or ["*"])
    assert both.allows_model(ID, "gpt-5-mini") is (not allowed)


def plainly(pattern: str, text: str) -> bool:
    """What `*` and `?` mean, by the places that a text can have got to."""
    places = {0}
    for mark in pattern:
        if mark == "*":
            places = set(range(min(places, default=len(text) + 1), len(text) + 1))
        else:
            places = {
                place + 1 for place in places if place < len(text) and mark in {"?", text[place]}
            }
    return len(text) in places


@given(
    st.lists(st.text("ab*?[]!-\n", min_size=1).filter(str.strip), min_size=1, max_size=3),
    st.text("ab[]!-\n"),
    st.text("ab[]!-\n"),
)
def test_patterns_mean_what_a_plain_reference_says(
    patterns: list[str], model_id: str, name: str
) -> None:
    expected = any(plainly(each, text) for each in patterns for text in (model_id, name))
    assert TierConfig("t", models=patterns).allows_model(model_id, name) is expected
    assert TierConfig("t", blocked_models=patterns).allows_model(model_id, name) is not expected


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    tier = TierConfig("t", models=["*a" * 40 + "b"])
    assert not tier.allows_model("a" * 2_000, "a" * 2_000)


def test_a_request_is_general_unless_it_says_more() -> None:
    assert TierConfig("t").allows_domain("law")
    tier = TierConfig("t", domains=["code", "general"])
    assert tier.allows_domain("code")
    assert tier.allows_domain(None)
    assert not tier.allows_domain("law")
    assert not TierConfig("t", domains=["code"]).allows_domain(None)


def test_the_features_are_those_that_are_named() -> None:
    assert TierConfig("t").features == FEATURES
    for first, second in pairwise(sorted(FEATURES)):
        assert TierConfig("t", features=[first]).features.isdisjoint({second})


def test_amounts_of_any_kind_mean_the_same_dollars() -> None:
    given: list[Any] = [0.1, "0.1", Decimal("0.1")]
    limits = {TierConfig("t", budget=each).user_budget.limits for each in given}  # type: ignore[union-attr]
    assert limits == {(("total", 100_000_000),)}
