"""A profile changes its own user's tier, and nothing else."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tier_samples import overrides, tiers

from cascadeflow.config import QualityConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.tiers.config import INHERIT, RateLimits, TierConfig, UserProfile
from cascadeflow.tiers.fields import ProfileFields

PRESETS = [TierConfig.free, TierConfig.pro, TierConfig.enterprise]


@given(
    users=st.lists(overrides(), min_size=2, max_size=5),
    edited=overrides(),
    which=st.integers(0, 4),
    tier=st.one_of(tiers(), st.sampled_from([make() for make in PRESETS])),
)
def test_editing_one_users_profile_changes_no_other_user_and_no_preset(
    users: list[dict[str, Any]], edited: dict[str, Any], which: int, tier: TierConfig
) -> None:
    before = [make() for make in PRESETS]
    frozen = copy.deepcopy(tier)
    profiles = [UserProfile(tier.name, **given) for given in users]
    effective = [profile.over(tier) for profile in profiles]
    kept = copy.deepcopy(effective)
    at = which % len(profiles)
    own = profiles[at]
    # Of the two ways to say how drafts are judged, a profile has one.
    quality = {"quality_mode": INHERIT, "quality_config": INHERIT}
    profiles[at] = replace(own, **(quality | edited))
    changed = profiles[at].over(tier)

    assert tier == frozen
    assert [make() for make in PRESETS] == before
    assert effective == kept
    assert own.over(tier) == kept[at]
    for other, profile in enumerate(profiles):
        if other != at:
            assert profile.over(tier) == kept[other]
    for name, value in (own.overrides | profiles[at].overrides).items():
        if name not in quality:
            assert getattr(changed, name) == profiles[at].overrides.get(name, value)


@given(tier=tiers(), given=overrides())
def test_what_is_given_is_the_users_and_the_rest_is_the_tiers(
    tier: TierConfig, given: dict[str, Any]
) -> None:
    profile = UserProfile("any", **given)
    laid = profile.over(tier)
    normal = TierConfig("normal", **given)
    for each in fields(TierConfig):
        if each.name.startswith("quality_"):
            continue
        source = normal if each.name in given else tier
        assert getattr(laid, each.name) == getattr(source, each.name)
    assert laid.quality == (normal.quality or tier.quality)
    assert laid.name == tier.name


def test_a_profile_without_overrides_is_the_tier_itself() -> None:
    tier = TierConfig.free()
    assert UserProfile("free").over(tier) is tier
    assert UserProfile().overrides == {}


def test_the_same_tier_gives_the_same_object_and_another_one_its_own() -> None:
    profile = UserProfile(max_tokens=5)
    free, pro = TierConfig.free(), TierConfig.pro()
    laid = profile.over(free)
    assert profile.over(free) is laid
    assert profile.over(pro) == replace(pro, max_tokens=5)
    assert profile.over(free) == laid


def test_none_is_a_value_and_not_given_is_none() -> None:
    tier = TierConfig.free()
    assert UserProfile(max_tokens=None).over(tier).max_tokens is None
    assert UserProfile().over(tier).max_tokens == 1_024
    assert UserProfile(max_tokens=None) != UserProfile()
    assert repr(UserProfile().max_tokens) == "INHERIT"
    assert replace(UserProfile(max_tokens=5), max_tokens=INHERIT) == UserProfile()


def test_a_record_takes_the_tiers_place_whole() -> None:
    laid = UserProfile(rate_limits=RateLimits(per_minute=9)).over(TierConfig.pro())
    assert laid.rate_limits == RateLimits(per_minute=9)


def test_the_users_way_to_judge_replaces_the_tiers_whichever_it_is() -> None:
    config = QualityConfig(threshold=0.3)
    by_mode = TierConfig("t", quality_mode="fast")
    by_config = TierConfig("t", quality_config=config)
    assert UserProfile(quality_config=config).over(by_mode).quality is config
    assert UserProfile(quality_mode="fast").over(by_config).quality == QualityConfig.fast()
    assert UserProfile(quality_mode=None).over(by_mode).quality is None
    assert UserProfile(quality_mode=None).over(by_config).quality is config
    with pytest.raises(ConfigurationError, match="not both"):
        UserProfile(quality_mode="fast", quality_config=config)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("models", ()),
        ("blocked_models", "a"),
        ("budget", -1),
        ("rate_limits", 10),
        ("max_concurrency", -1),
        ("quality_mode", "careful"),
        ("quality_config", "fast"),
        ("max_tokens", 0),
        ("features", ["tool"]),
        ("cache_scope", "all"),
        ("domains", []),
        ("priority", 0),
        ("on_limit", "queue"),
        ("max_wait", 0),
    ],
)
def test_a_value_that_cannot_be_right_is_refused_when_the_profile_is_made(
    field: str, value: Any
) -> None:
    assert field in ProfileFields.__annotations__
    with pytest.raises(ConfigurationError, match=f"user profile: {field}"):
        UserProfile("pro", **{field: value})
    with pytest.raises(ConfigurationError, match=f"user profile: {field}"):
        UserProfile.from_dict({"tier": "pro", field: value})


def test_a_tier_is_named_by_a_text() -> None:
    for tier in ("", 3):
        with pytest.raises(ConfigurationError, match="a profile's tier"):
            UserProfile(tier)  # type: ignore[arg-type]


def test_what_the_tiers_users_share_is_not_one_users() -> None:
    for field in ("name", "tier_budget", "tier_rate_limits", "tier_max_concurrency"):
        with pytest.raises(TypeError, match=field):
            UserProfile("pro", **{field: None})  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match=f"{field} is not known"):
            UserProfile.from_dict({field: None})


def test_plain_values_are_read_as_a_tiers_are() -> None:
    read = UserProfile.from_dict(
        {
            "tier": "pro",
            "budget": {"daily": 0.1},
            "rate_limits": {"per_hour": 5},
            "max_tokens": None,
            "max_concurrency": "unlimited",
            "models": ["a"],
            "quality_config": {"threshold": 0.5},
        }
    )
    tier = TierConfig.from_dict(
        {
            "budget": {"daily": 0.1},
            "rate_limits": {"per_hour": 5},
            "models": ["a"],
            "quality_config": {"threshold": 0.5},
        },
        name="t",
    )
    assert read.over(TierConfig.enterprise(name="t", features=tier.features, priority=1)) == tier
    assert UserProfile.from_dict({}) == UserProfile()
    with pytest.raises(ConfigurationError, match=r"max_token is not known: did you mean"):
        UserProfile.from_dict({"max_token": 3})


@given(overrides())
def test_a_profile_can_be_hashed_pickled_and_copied(given: dict[str, Any]) -> None:
    profile = UserProfile("pro", **given)
    profile.over(TierConfig.pro())
    for other in (
        pickle.loads(pickle.dumps(profile)),  # noqa: S301 - our own
        copy.copy(profile),
        copy.deepcopy(profile),
        replace(profile),
    ):
        assert other == profile
        assert hash(other) == hash(profile)
        assert other.overrides == profile.overrides
        assert other._last is None
    with pytest.raises(FrozenInstanceError):
        profile.tier = "free"  # type: ignore[misc]


def test_threads_that_ask_for_two_tiers_each_get_their_own() -> None:
    profile = UserProfile(max_tokens=7)
    asked = [TierConfig.free(), TierConfig.pro()]
    start = Barrier(4)
    wrong: list[str] = []

    def ask(tier: TierConfig) -> None:
        start.wait()
        wrong.extend(tier.name for _ in range(2_000) if profile.over(tier).name != tier.name)

    threads = [Thread(target=ask, args=(asked[number % 2],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_many_users_share_what_is_not_different() -> None:
    tier = TierConfig.pro(models=["a", "b"], blocked_models=["c"], domains=["code"])
    laid = UserProfile(max_tokens=1).over(tier)
    for each in fields(TierConfig):
        if each.name != "max_tokens":
            assert getattr(laid, each.name) is getattr(tier, each.name), each.name
