"""A price: what it takes, what it refuses, what it makes of a usage."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.errors import (
    ConfigurationError,
    InvalidRequestError,
    UnknownPriceError,
    UnknownUsageError,
)
from cascadeflow.models.prices import RATES, Price, PriceTier
from cascadeflow.models.usage import Usage

FULL = Price(
    input=2,
    output=6,
    cache_read="0.2",
    cache_write=2.5,
    cache_write_1h=4,
    reasoning=9,
    input_audio=20,
    cache_read_audio=1,
    output_audio=40,
    requests={"web_search": 10},
    call=5,
    tiers=[PriceTier(above=200_000, input=4, output=12)],
    input_image=3,
    cache_read_image="0.3",
    output_image=60,
    input_video=5,
    cache_read_video="0.5",
    output_video=70,
    citation=8,
    date="2026-10-01",
)


@pytest.mark.parametrize("amount", [0.25, "0.25", Decimal("0.25"), Decimal("0.2500"), "25e-2"])
def test_an_amount_may_be_written_in_any_way(amount: Any) -> None:
    assert Price(input=amount, output=2) == Price(input=Decimal("0.25"), output=2.0)


def test_a_float_is_the_decimal_it_is_written_as() -> None:
    assert Price(input=0.1, output=0).input == Decimal("0.1")


@pytest.mark.parametrize(
    "amount", [-1, "-0.01", float("nan"), float("inf"), True, "free", [], "1e-19"]
)
@pytest.mark.parametrize("name", [*RATES, "call"])
def test_what_is_no_price_is_refused_by_name(name: str, amount: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"Price\.{name}|{name}"):
        Price(**{"input": 1, "output": 1, name: amount})


def test_a_price_in_nanodollars_is_refused_with_the_right_unit() -> None:
    with pytest.raises(ConfigurationError, match="per million tokens"):
        Price(input=250_000_000, output=2)


def test_both_sides_must_be_stated() -> None:
    with pytest.raises(TypeError, match="output"):
        Price(input=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "settings",
    [
        {"requests": {"web_search": -1}},
        {"requests": {"web_search": None}},
        {"tiers": [PriceTier(above=9, cache_read=1)]},
        {"tiers": [PriceTier(above=9, input=1), PriceTier(above=9, input=2)]},
    ],
)
def test_rates_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Price(input=1, output=1, **settings)


@pytest.mark.parametrize("above", [-1, 1.5, True, "200k", None])
def test_a_tier_begins_above_a_count_of_tokens(above: Any) -> None:
    with pytest.raises(ConfigurationError, match="count of tokens"):
        PriceTier(above=above, input=1)


def test_a_price_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        FULL.input = Decimal(0)  # type: ignore[misc]
    with pytest.raises(TypeError):
        FULL.requests["web_search"] = Decimal(0)  # type: ignore[index]


def test_a_price_is_copied_pickled_replaced_and_hashed_by_its_values() -> None:
    for twin in (copy.copy(FULL), copy.deepcopy(FULL), pickle.loads(pickle.dumps(FULL))):  # noqa: S301
        assert twin == FULL
        assert hash(twin) == hash(FULL)
        usage = Usage(input_tokens=7, output_tokens=8)
        assert twin.cost(usage) == FULL.cost(usage)
    dearer = replace(FULL, output=7)
    assert dearer != FULL
    assert dearer.cost(Usage(input_tokens=0, output_tokens=1_000)) == 5_000_000 + 7_000_000


def test_its_repr_reads_as_the_call_that_makes_it() -> None:
    shown = repr(FULL)
    assert eval(shown.replace("source='user', ", "")) == FULL  # noqa: S307
    assert "cache_read=0.2" in shown
    assert "service_tier" not in shown


@pytest.mark.parametrize(
    ("bucket", "tokens", "expected"),
    [
        ("input_tokens", 1, 2_000),
        ("cache_read_tokens", 1, 200),
        ("cache_write_5m_tokens", 1, 2_500),
        ("cache_write_1h_tokens", 1, 4_000),
        ("input_audio_tokens", 1, 20_000),
        ("cache_read_audio_tokens", 1, 1_000),
        ("output_tokens", 1, 6_000),
        ("reasoning_tokens", 1, 9_000),
        ("output_audio_tokens", 1, 40_000),
        ("input_image_tokens", 1, 3_000),
        ("cache_read_image_tokens", 1, 300),
        ("output_image_tokens", 1, 60_000),
        ("input_video_tokens", 1, 5_000),
        ("cache_read_video_tokens", 1, 500),
        ("output_video_tokens", 1, 70_000),
        ("citation_tokens", 1, 8_000),
        ("input_tokens", 200_001, 200_001 * 4_000),
    ],
)
def test_each_bucket_is_charged_at_its_own_rate(bucket: str, tokens: int, expected: int) -> None:
    usage = replace(Usage(input_tokens=0, output_tokens=0), **{bucket: tokens})
    assert FULL.cost(usage) == expected + 5_000_000


def test_every_bucket_of_a_usage_costs_something() -> None:
    nothing = Usage(input_tokens=0, output_tokens=0)
    for field in fields(Usage):
        if field.name != "requests":
            assert FULL.cost(replace(nothing, **{field.name: 1})) > FULL.cost(nothing), field.name
    assert FULL.cost(replace(nothing, requests={"web_search": 2})) == 25_000_000


def test_a_side_that_nobody_reported_is_not_zero() -> None:
    for usage in (Usage(), Usage(input_tokens=5), Usage(output_tokens=5)):
        with pytest.raises(UnknownUsageError, match="missing is not zero"):
            FULL.cost(usage)
    embedding = Price(input=1, output=None)
    assert embedding.cost(Usage(input_tokens=5)) == 5_000


def test_what_the_price_says_nothing_of_is_an_error_that_names_it() -> None:
    searched = Usage(input_tokens=1, output_tokens=1, requests={"web_search": 1})
    with pytest.raises(UnknownPriceError, match="web_search"):
        Price(input=1, output=1).cost(searched)
    with pytest.raises(UnknownPriceError, match=r"Price\(output=…\)"):
        Price(input=1, output=None).cost(Usage(input_tokens=1, output_tokens=1))
    both = Price(input=1, output=1, input_audio=5, cache_read=0.1)
    with pytest.raises(UnknownPriceError, match="cache_read_audio"):
        both.cost(Usage(cache_read_audio_tokens=1, output_tokens=0))


@pytest.mark.parametrize("count", [-1, 2**64, 1.5, "3"])
def test_a_count_that_is_none_is_refused(count: Any) -> None:
    with pytest.raises(InvalidRequestError, match="input"):
        FULL.cost(Usage(input_tokens=count, output_tokens=0))
    with pytest.raises(InvalidRequestError, match="web_search"):
        FULL.cost(Usage(input_tokens=0, output_tokens=0, requests={"web_search": count}))


def test_a_cost_that_cannot_be_accounted_for_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="larger than can be accounted for"):
        FULL.cost(Usage(input_tokens=2**63, output_tokens=0))
    with pytest.raises(InvalidRequestError, match="larger than can be accounted for"):
        FULL.upper_bound(2**63, 0)


COUNTS = st.integers(0, 300_000)


@given(st.tuples(*[COUNTS] * len(RATES)), COUNTS)
def test_no_call_costs_more_than_its_bound(counts: tuple[int, ...], spare: int) -> None:
    names = [field.name for field in fields(Usage) if field.name != "requests"]
    usage = Usage(**dict(zip(names, counts, strict=True)))  # type: ignore[arg-type]
    bound = FULL.upper_bound(usage.total_input_tokens + spare, usage.total_output_tokens + spare)
    assert FULL.cost(usage) <= bound


def test_a_bound_counts_the_dearest_kind_unless_the_call_cannot_use_it() -> None:
    assert FULL.upper_bound(1_000, 0) == 20_000_000 + 5_000_000
    left_out = ["input_audio", "cache_read_audio", "cache_write_1h", "cache_write"]
    assert FULL.upper_bound(1_000, 0, without=left_out) == 5_000_000 + 5_000_000, "video remains"
    assert FULL.upper_bound(1_000, 0, without=RATES) == 2_000_000 + 5_000_000
    assert FULL.upper_bound(200_000, 0, without=RATES) == 405_000_000
    assert FULL.upper_bound(200_001, 0, without=RATES) == 805_004_000


def test_a_bound_refuses_what_it_cannot_bound() -> None:
    with pytest.raises(ConfigurationError, match="smell"):
        FULL.upper_bound(1, 1, without=["smell"])
    for count in (-1, 2**64):
        with pytest.raises(InvalidRequestError, match="counts of tokens"):
            FULL.upper_bound(count, 1)
    with pytest.raises(UnknownPriceError, match="output"):
        Price(input=1, output=None).upper_bound(1, 1)
