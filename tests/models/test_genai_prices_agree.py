"""Our prices are genai-prices' prices, to the nanodollar, for every model, moment and tier."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models import genai_oracle as oracle

from cascadeflow.errors import UnknownPriceError
from cascadeflow.models._price import RATES
from cascadeflow.models._table import SHIPPED, Table
from cascadeflow.models.usage import Usage

TABLE = Table.read(SHIPPED)
CONTEXTS = [
    None,
    {"service_tier": "flex"},
    {"service_tier": "priority"},
    {"service_tier": "default"},
    {"service_tier": "fast", "speed": "fast"},
    {"processing": "batch", "service_tier": "batch"},
    {"route": "mistral/eu"},
    {"search_type": "fast"},
    {"service_tier": "unheard-of"},
]
TOKENS = st.one_of(st.none(), st.integers(0, 3), st.integers(0, 2_000_000))
USAGES = st.builds(
    Usage,
    input_tokens=st.integers(0, 2_000_000),
    cache_read_tokens=TOKENS,
    cache_write_5m_tokens=TOKENS,
    cache_write_1h_tokens=TOKENS,
    input_audio_tokens=TOKENS,
    cache_read_audio_tokens=TOKENS,
    input_image_tokens=TOKENS,
    cache_read_image_tokens=TOKENS,
    input_video_tokens=TOKENS,
    cache_read_video_tokens=TOKENS,
    output_tokens=st.integers(0, 2_000_000),
    reasoning_tokens=TOKENS,
    output_audio_tokens=TOKENS,
    output_image_tokens=TOKENS,
    output_video_tokens=TOKENS,
    citation_tokens=TOKENS,
    requests=st.dictionaries(st.sampled_from(sorted(oracle.REQUESTS)), st.integers(0, 50)),
)
MOMENTS = st.datetimes(
    min_value=datetime(2023, 1, 1),  # noqa: DTZ001 - hypothesis wants bounds without a zone
    max_value=datetime(2028, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=9)), timezone(-timedelta(hours=7))]),
)


def check(index: int, usage: Usage, at: datetime, context: dict[str, str] | None) -> bool:
    """Holds one cost to the oracle's; gives whether there was a price to compare."""
    provider, model = oracle.MODELS[index]
    row = TABLE.row(provider.id, model.id)
    assert row is not None
    theirs = model.get_prices(at, context)
    if not row.priced:
        assert not any(value is not None for value in vars(theirs).values()), row.id
        return False
    price = row.price(int(at.timestamp() // 1), context, None)
    expected = oracle.nanodollars(model, provider, usage, at, context)
    if row.data["prices"][0][1].get("input") == 0:
        assert expected == price.cost(Usage(input_tokens=9, output_tokens=9)) == 0, row.id
        return True
    missing = oracle.unpriced(theirs, usage)
    if missing:
        with pytest.raises(UnknownPriceError):
            price.cost(usage)
        requests = {kind: count for kind, count in usage.requests.items() if kind not in missing}
        usage = replace(usage, requests=requests)
        if oracle.unpriced(theirs, usage):
            return False
    assert price.cost(usage) == expected, (row.provider, row.id, usage, at, context)
    return True


@settings(deadline=None, max_examples=400)
@given(st.integers(0, len(oracle.MODELS) - 1), USAGES, MOMENTS, st.sampled_from(CONTEXTS))
def test_the_cost_of_any_usage_is_theirs_rounded_up_to_the_nanodollar(
    index: int, usage: Usage, at: datetime, context: dict[str, str] | None
) -> None:
    check(index, usage, at, context)


def test_every_model_of_the_table_agrees_at_random_moments_and_usages() -> None:
    chance = random.Random(2)
    compared = 0
    for index in range(len(oracle.MODELS)):
        for context in (None, chance.choice(CONTEXTS)):
            at = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(160_000_000))
            usage = Usage(
                input_tokens=chance.choice([7, 1_000, 199_999, 200_001, 272_001, 600_000]),
                cache_read_tokens=chance.choice([None, 0, 1, 50_000]),
                cache_write_5m_tokens=chance.choice([None, 3, 4_000]),
                cache_write_1h_tokens=chance.choice([None, 5, 6_000]),
                input_image_tokens=chance.choice([None, 0, 258]),
                cache_read_image_tokens=chance.choice([None, 0, 129]),
                input_video_tokens=chance.choice([None, 0, 1_032]),
                cache_read_video_tokens=chance.choice([None, 0, 516]),
                output_tokens=chance.randrange(50_000),
                reasoning_tokens=chance.choice([None, 0, 77]),
                output_image_tokens=chance.choice([None, 0, 1_290]),
                output_video_tokens=chance.choice([None, 0, 5_792]),
                citation_tokens=chance.choice([None, 0, 41]),
            )
            compared += check(index, usage, at, context)
    assert compared > len(oracle.MODELS)


def with_a_rate_of_their_own() -> list[tuple[int, dict[str, str] | None]]:
    """Every model that charges a kind of its own, by each of its contexts."""
    found: list[tuple[int, dict[str, str] | None]] = []
    for index, (provider, model) in enumerate(oracle.MODELS):
        row = TABLE.row(provider.id, model.id)
        assert row is not None
        every = [rates for _, rates in row.data.get("prices", ())]
        every += [rates for _, _, rates in row.variants()]
        if any(kind in rates for rates in every for kind in KINDS):
            found.append((index, None))
            found += [(index, context) for context, _, _ in row.variants()]
    return found


KINDS = {name for name in RATES if name.endswith(("audio", "image", "video", "citation"))}
BUCKETS = [each.name for each in fields(Usage) if each.name != "requests"]


@pytest.mark.parametrize("bucket", BUCKETS)
def test_every_kind_costs_what_it_costs_them_where_it_has_a_rate_of_its_own(bucket: str) -> None:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    models = with_a_rate_of_their_own()
    assert len(models) > 40
    nothing = Usage(input_tokens=0, output_tokens=0)
    compared = sum(
        check(index, replace(nothing, **{bucket: 300_007}), at, context)
        for index, context in models
    )
    assert compared > 40


def changes_of_price() -> list[tuple[int, datetime]]:
    """Every midnight on which a price changes, and the second before it."""
    moments = []
    for index, (provider, model) in enumerate(oracle.MODELS):
        row = TABLE.row(provider.id, model.id)
        assert row is not None
        for when, _ in row.data.get("prices", ()):
            if isinstance(when, str):
                midnight = datetime.fromisoformat(when).replace(tzinfo=UTC)
                moments += [(index, midnight), (index, midnight - timedelta(microseconds=1))]
            elif when is not None:
                for edge in when:
                    at = datetime.fromisoformat(f"2026-11-22T{edge}").replace(tzinfo=UTC)
                    moments += [(index, at), (index, at - timedelta(microseconds=1))]
    return moments


def test_prices_change_at_the_same_instant_as_theirs() -> None:
    moments = changes_of_price()
    assert len(moments) > 100
    usage = Usage(input_tokens=1_003, cache_read_tokens=77, output_tokens=1_001)
    for index, at in moments:
        check(index, usage, at, None)


def names_of(rule: Any) -> list[str]:
    """Texts that a rule mentions, each a name that may match it, or another rule before it."""
    if isinstance(rule, str):
        return [rule]
    kind, *arguments = rule
    if kind in ("or", "and"):
        return [name for argument in arguments for name in names_of(argument)]
    if kind == "regex":
        plain = arguments[0].strip("^$").replace("\\.", ".")
        dated = plain.replace("\\d{4}-\\d{2}-\\d{2}", "2026-01-31").replace("\\d{8}", "20260131")
        return [dated]
    return [arguments[0], f"{arguments[0]}-20251211", f"x{arguments[0]}"]


@pytest.mark.parametrize("provider_id", [provider.id for provider in oracle.providers])
def test_names_lead_to_the_same_model_as_theirs(provider_id: str) -> None:
    provider = next(each for each in oracle.providers if each.id == provider_id)
    names = {f"{provider_id}-no-such-model-20251399"}
    rows = TABLE.rows(provider_id)
    for row in rows[:: 1 + len(rows) // 200]:
        written = names_of(row.data.get("match", row.id))
        names |= {row.id, row.id.upper(), f"{row.id}-20251211", *written}
    for fallback in provider.fallback_model_providers or ():
        names |= {row.id for row in TABLE.rows(fallback)}
    for name in sorted(names):
        theirs = provider.find_model(name, all_providers=oracle.providers)
        ours = TABLE.find(provider_id, name)
        assert (ours and ours[0].id) == (theirs and theirs.id), name
        if ours is not None:
            assert ours[1] == any(theirs is model for model in provider.models), name


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, len(oracle.MODELS) - 1),
    st.sampled_from(["", "-latest", "-20250229", "-2025-02-28", "-20251211", ":free", "@20260101"]),
    st.text("abc-/.:0123456789", max_size=3),
)
def test_mangled_names_lead_where_theirs_lead(index: int, suffix: str, prefix: str) -> None:
    provider, model = oracle.MODELS[index]
    name = f"{prefix}{model.id}{suffix}"
    theirs = provider.find_model(name, all_providers=oracle.providers)
    ours = TABLE.find(provider.id, name)
    assert (ours and ours[0].id) == (theirs and theirs.id)
