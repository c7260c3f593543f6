"""Tiers as plain values and files: what is written is read again, and a slip is an error."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from tier_samples import EXACT, tiers

from cascadeflow.config import BudgetConfig, QualityConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.tiers.config import RateLimits, TierConfig, UserProfile

PAGE = Path(__file__).parents[2] / "docs" / "tiers.md"


@given(tiers(EXACT))
def test_what_is_written_is_read_as_the_same_tier(tier: TierConfig) -> None:
    plain = json.loads(json.dumps(tier.to_dict()))
    assert TierConfig.from_dict(plain) == tier


@given(tiers())
def test_whatever_the_amounts_were_written_as_they_come_back_the_same(tier: TierConfig) -> None:
    plain = json.loads(json.dumps(tier.to_dict()))
    read = TierConfig.from_dict(plain)
    assert read.to_dict() == plain
    assert replace(read, budget=tier.budget, tier_budget=tier.tier_budget) == tier
    for before, after in (
        (tier.user_budget, read.user_budget),
        (tier.whole_budget, read.whole_budget),
    ):
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            assert after.limits == before.limits
            assert after.timezone == before.timezone
            assert after.warn_at == before.warn_at
            assert after.rolling_hours == before.rolling_hours


def test_only_what_differs_from_the_defaults_is_written() -> None:
    assert TierConfig("t").to_dict() == {"name": "t"}
    assert TierConfig("t", max_concurrency=0, features=[]).to_dict() == {
        "name": "t",
        "max_concurrency": 0,
        "features": [],
    }
    assert TierConfig("t", rate_limits=RateLimits(per_hour=0)).to_dict() == {
        "name": "t",
        "rate_limits": {"per_hour": 0},
    }


EVERYTHING: dict[str, Any] = {
    "models": ["openai:*"],
    "blocked_models": ["*-pro"],
    "budget": {"daily": 0.1, "weekly": "0.2", "rolling": 3, "rolling_hours": 12, "warn_at": 0.5},
    "tier_budget": 100.5,
    "rate_limits": {"per_second": 2, "burst_per_second": 0, "tokens_per_minute": 500},
    "tier_rate_limits": {"per_day": 9},
    "max_concurrency": 3,
    "tier_max_concurrency": 4,
    "quality_config": {"mode": "fast", "threshold": 0.7},
    "max_tokens": 100,
    "features": ["tools"],
    "cache_scope": "tenant",
    "domains": ["code"],
    "priority": 9,
    "on_limit": "wait",
    "max_wait": 3,
}

EVERY_TIER = TierConfig(
    "all",
    models=("openai:*",),
    blocked_models=("*-pro",),
    budget=BudgetConfig(
        daily=Decimal("0.1"),
        weekly=Decimal("0.2"),
        rolling=Decimal(3),
        rolling_hours=12,
        warn_at=0.5,
    ),
    tier_budget=Decimal("100.5"),
    rate_limits=RateLimits(per_second=2, burst_per_second=0, tokens_per_minute=500),
    tier_rate_limits=RateLimits(per_day=9),
    max_concurrency=3,
    tier_max_concurrency=4,
    quality_config=QualityConfig(threshold=0.7),
    max_tokens=100,
    features=frozenset({"tools"}),
    cache_scope="tenant",
    domains=("code",),
    priority=9,
    on_limit="wait",
    max_wait=3.0,
)


def test_every_field_can_be_read() -> None:
    assert TierConfig.from_dict(EVERYTHING, name="all") == EVERY_TIER
    assert {*EVERYTHING, "name", "quality_mode"} == {each.name for each in fields(TierConfig)}
    assert TierConfig.from_dict({"name": "t", "quality_mode": "fast"}).quality_mode == "fast"


def toml_of(value: Any) -> str:
    """A value in TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml_of(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


def test_a_file_and_a_mapping_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "tiers.toml"
    lines = [f"{key} = {toml_of(value)}" for key, value in EVERYTHING.items()]
    path.write_text("\n".join(["[tiers.all]", *lines, "[tiers.free]", 'preset = "free"']))
    expected = {"all": EVERY_TIER, "free": TierConfig.free()}
    assert TierConfig.from_toml(path) == expected
    assert list(TierConfig.from_toml(str(path))) == ["all", "free"]


def test_the_name_is_the_given_one_the_keys_or_the_presets() -> None:
    assert TierConfig.from_dict({}, name="a").name == "a"
    assert TierConfig.from_dict({"name": "b"}).name == "b"
    assert TierConfig.from_dict({"preset": "pro"}).name == "pro"
    assert TierConfig.from_dict({"preset": "pro"}, name="c") == TierConfig.pro(name="c")
    assert TierConfig.from_dict({"name": "d"}, name="d").name == "d"
    with pytest.raises(ConfigurationError, match="'a' is named 'b' within"):
        TierConfig.from_dict({"name": "b"}, name="a")
    with pytest.raises(ConfigurationError, match="needs a name"):
        TierConfig.from_dict({})


def test_a_table_lies_over_its_presets_and_a_value_replaces_it() -> None:
    pro = TierConfig.pro()
    assert pro.rate_limits is not None
    assert isinstance(pro.budget, BudgetConfig)
    tier = TierConfig.from_dict(
        {"preset": "pro", "rate_limits": {"per_minute": 7}, "budget": {"daily": "8"}}
    )
    assert tier.rate_limits == replace(pro.rate_limits, per_minute=7)
    assert tier.budget == replace(pro.budget, daily=Decimal(8))
    assert TierConfig.from_dict({"preset": "pro", "budget": 8}).budget == 8
    assert TierConfig.from_dict({"preset": "pro", "features": []}).features == frozenset()


@pytest.mark.parametrize("lifted", ["unlimited", None])
def test_what_a_preset_limits_can_be_lifted(lifted: Any) -> None:
    names = ["budget", "rate_limits", "max_tokens", "max_concurrency"]
    tier = TierConfig.from_dict({"preset": "free", **dict.fromkeys(names, lifted)})
    assert tier == TierConfig.free(
        budget=None, rate_limits=None, max_tokens=None, max_concurrency=None
    )
    within = TierConfig.from_dict(
        {"preset": "free", "rate_limits": {"per_hour": lifted}, "budget": {"daily": lifted}}
    )
    assert within == TierConfig.free(
        rate_limits=RateLimits(per_minute=5, per_day=200, tokens_per_minute=20_000),
        budget=replace(TierConfig.free().user_budget or BudgetConfig(total=0), daily=None),
    )


SLIPS: list[tuple[dict[Any, Any], str]] = [
    ({"max_token": 5}, "max_token is not known: did you mean max_tokens?"),
    ({"presets": "pro"}, "presets is not known: did you mean preset?"),
    ({"rate_limits": {"per_minut": 5}}, "rate_limits.per_minut is not known: did you mean"),
    ({"tier_rate_limits": {"zzz": 5}}, "tier_rate_limits.zzz is not known: known are"),
    ({"budget": {"dayly": 5}}, "budget.dayly is not known: did you mean daily?"),
    ({"quality_config": {"treshold": 5}}, "quality_config.treshold is not known: did you"),
    ({3: 4}, "3 is not known"),
    ({"preset": "gold"}, "preset must be 'free' or 'pro' or 'enterprise', not 'gold'"),
    ({"preset": ["pro"]}, "preset must be"),
    ({"budget": {"daily": True}}, "budget.daily must be a number of US dollars, not True"),
    ({"budget": {"daily": [1]}}, "budget.daily must be a number of US dollars"),
    ({"budget": {"daily": "much"}}, "budget.daily must be a number of US dollars"),
    ({"budget": {"daily": -1}}, "budget.daily must be finite and at least 0"),
    ({"budget": {"daily": 1, "warn_at": "x"}}, "budget.warn_at must be a number, not 'x'"),
    ({"budget": {"daily": 1, "warn_at": 2}}, "budget: BudgetConfig needs 0 <= warn_at"),
    ({"budget": {"daily": 1, "timezone": "X/Y"}}, "budget: "),
    ({"budget": {"daily": 1, "timezone": 5}}, "timezone must be a text"),
    ({"budget": {}}, "budget: a BudgetConfig needs a limit"),
    ({"budget": []}, "budget must be a number of US dollars"),
    ({"tier_budget": True}, "tier_budget must be a number of US dollars, not True"),
    ({"rate_limits": {"per_minute": "5"}}, "rate_limits: RateLimits.per_minute must be"),
    ({"rate_limits": {"per_minute": 5.5}}, "rate_limits: RateLimits.per_minute must be"),
    ({"rate_limits": 5}, "rate_limits must be a RateLimits"),
    ({"quality_config": {"mode": "hard"}}, "quality_config: quality mode 'hard'"),
    ({"quality_config": {"threshold": "x"}}, "quality_config: QualityConfig.threshold"),
    ({"quality_config": 0.5}, "quality_config must be a QualityConfig"),
    ({"models": "openai:*"}, "models must be a list of texts"),
    ({"features": "unlimited"}, "features must be a list of texts"),
    ({"priority": 1.5}, "priority must be a whole number"),
    ({"max_wait": "10"}, "max_wait must be a finite number of seconds"),
]


@pytest.mark.parametrize(("table", "says"), SLIPS)
def test_a_slip_is_refused_with_its_tier_and_its_place(table: dict[Any, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)) as caught:
        TierConfig.from_dict(table, name="silver")
    assert str(caught.value).startswith("tier 'silver': ")


@pytest.mark.parametrize("value", [None, 3, "free", ["free"]])
def test_what_is_no_table_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a table"):
        TierConfig.from_dict(value, name="t")
    with pytest.raises(ConfigurationError, match="must be a table"):
        UserProfile.from_dict(value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no tiers"),
        ("tiers = 3", "has no tiers"),
        ("[tiers]", "has no tiers"),
        ("[tier.free]", "tier is not known"),
        ("[tiers.free]\n[other]", "other is not known"),
        ("[tiers]\nfree = 3", "tier 'free' must be a table"),
        ('[tiers.""]', "a tier's name"),
        ("[tiers.free]\nmax_tokens = \n", "line 2"),
        ("[tiers.free]\n[tiers.free]\n", "line 2"),
        ('[tiers.free]\nname = "pro"', "'free' is named 'pro' within"),
        ("[tiers.free]\n[tiers.free.rate_limits]\nper_our = 3", "rate_limits.per_our is not"),
        ("[tiers.free]\nbudget = nan", "budget must be finite"),
        ("[tiers.free]\nmax_wait = inf", "max_wait must be a finite"),
        ("[tiers.free]\nmax_tokens = 1e3", "max_tokens must be a whole number"),
        ("[tiers.free]\nbudget = 2026-01-01", "budget must be a number of US dollars"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_with_where(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=re.escape(says)) as caught:
        TierConfig.from_toml(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    with pytest.raises(ConfigurationError, match=r"missing\.toml"):
        TierConfig.from_toml(missing)
    missing.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        TierConfig.from_toml(missing)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        TierConfig.from_toml(tmp_path)


def test_an_amount_in_a_file_is_what_it_says_to_the_last_digit(tmp_path: Path) -> None:
    path = tmp_path / "tiers.toml"
    path.write_text("[tiers.a]\nbudget = 1234567.123456789\n[tiers.b]\nbudget = 0.1\n")
    tiers = TierConfig.from_toml(path)
    assert tiers["a"].budget == Decimal("1234567.123456789")
    assert tiers["b"].budget == TierConfig.from_dict({"budget": 0.1}, name="b").budget


def section(heading: str) -> str:
    return PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_pages_examples_of_records_and_files_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    ran = 0
    for heading in ("What a tier is", "The presets", "Files", "One user's own"):
        for language, source in re.findall(
            r"^```(\w+)\n(.*?)^```", section(heading), re.DOTALL | re.MULTILINE
        ):
            if language == "toml":
                Path("tiers.toml").write_text(source)
            else:
                exec(compile(source, f"{PAGE} {heading}", "exec"), names)  # noqa: S102 - our page
                ran += 1
    assert ran == 4
    assert names["own"]["free"] == TierConfig.free(max_tokens=512, models=["*-mini", "*-luna"])


def test_the_page_lists_every_field_of_a_tier() -> None:
    listed = re.findall(r"^\| (`.*?) \|", section("What a tier is"), re.MULTILINE)
    found = {name for cell in listed for name in re.findall(r"`(\w+)`", cell)}
    assert found == {each.name for each in fields(TierConfig)} - {"name"}
