"""Which price a model has, and what an answer cost."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cascadeflow.errors import InvalidRequestError, UnknownPriceError
from cascadeflow.models.completion import Completion
from cascadeflow.models.config import LOCAL_PROVIDERS, ModelConfig, add_local_provider
from cascadeflow.models.prices import Price, cost_of, price_of, require_price, set_price
from cascadeflow.models.usage import Usage

MINI = ModelConfig.parse("openai:gpt-5-mini")
USAGE = Usage(input_tokens=1_000, output_tokens=500)


def dollars(price: Price | None) -> tuple[Decimal | None, Decimal | None]:
    assert price is not None
    return price.input, price.output


def test_the_catalogue_knows_the_price_and_its_date(now: datetime) -> None:
    price = price_of(MINI, at=now)
    assert dollars(price) == (Decimal("0.25"), 2)
    assert price is not None
    assert (price.source, price.service_tier) == ("catalogue", None)
    assert price.date is not None
    assert datetime.fromisoformat(price.date) <= now.replace(tzinfo=None)


def test_a_stated_price_wins_in_the_order_documented(now: datetime) -> None:
    set_price("openai:GPT-5-mini", Price(input=3, output=3))
    try:
        assert dollars(price_of(MINI, at=now)) == (3, 3)
        flat = ModelConfig("gpt-5-mini", "openai", cost=0.002)
        assert dollars(price_of(flat, at=now)) == (2, 2)
        stated = ModelConfig("gpt-5-mini", "openai", cost=0.002, price=Price(input=1, output=1))
        assert price_of(stated, at=now) is stated.price
    finally:
        set_price("openai:gpt-5-mini", None)
    assert dollars(price_of(MINI, at=now)) == (Decimal("0.25"), 2)


def test_v01s_cost_is_dollars_per_thousand_tokens_both_ways(now: datetime) -> None:
    price = require_price(ModelConfig(name="gpt-4", provider="openai", cost=0.03), at=now)
    assert price.cost(Usage(input_tokens=500, output_tokens=500)) == 30_000_000
    assert price.source == "user"


def test_v01s_cost_of_zero_is_a_statement_and_not_a_gap(now: datetime) -> None:
    price = require_price(ModelConfig("anything", "openai", cost=0.0), at=now)
    assert price.cost(USAGE) == 0


@pytest.mark.parametrize("provider", sorted(LOCAL_PROVIDERS))
def test_models_on_the_users_own_machines_are_free_unless_priced(
    provider: str, now: datetime
) -> None:
    price = require_price(ModelConfig("llama3.2", provider), at=now)
    assert price.cost(USAGE) == 0
    assert price.source == "local"
    priced = ModelConfig("llama3.2", provider, cost=0.001)
    assert require_price(priced, at=now).cost(USAGE) == 1_500_000


def test_a_provider_may_be_said_to_be_local(now: datetime) -> None:
    model = ModelConfig("m", "own-rack-of-this-test")
    assert price_of(model, at=now) is None
    add_local_provider("own-rack-of-this-test")
    assert require_price(model, at=now).cost(USAGE) == 0


@pytest.mark.parametrize("name", ["gpt-oss:120b-cloud", "qwen3-coder:cloud"])
def test_ollamas_own_cloud_is_not_taken_for_free(name: str, now: datetime) -> None:
    assert price_of(ModelConfig(name, "ollama"), at=now) is None


def test_an_unknown_price_is_an_error_that_says_how_to_state_it(now: datetime) -> None:
    with pytest.raises(UnknownPriceError) as caught:
        require_price(ModelConfig.parse("openai:gpt5-mini"), at=now)
    text = str(caught.value)
    assert "openai:gpt5-mini" in text
    assert "price=Price(input=…, output=…)" in text
    assert 'unknown_price="allow"' in text
    assert "Did you mean openai:gpt-5-mini" in text


def test_a_model_without_a_price_by_the_token_has_none(now: datetime) -> None:
    assert price_of(ModelConfig.parse("openai:tts-1"), at=now) is None
    assert price_of(ModelConfig.parse("cerebras:qwen-3-coder-480b"), at=now) is None


def test_a_free_variant_is_free_and_an_unpriced_model_is_not(now: datetime) -> None:
    free = ModelConfig.parse("openrouter:deepseek/deepseek-r1:free")
    assert require_price(free, at=now).cost(USAGE) == 0
    assert require_price(free, at=now).source == "catalogue"
    assert price_of(ModelConfig.parse("openrouter:stealth/crouton-alpha"), at=now) is None


def test_a_moment_needs_a_time_zone() -> None:
    with pytest.raises(InvalidRequestError, match="time zone"):
        price_of(MINI, at=datetime(2026, 11, 22))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("tier", "expected"),
    [
        (None, "0.25"),
        ("default", "0.25"),
        ("standard", "0.25"),
        ("auto", "0.25"),
        ("flex", "0.125"),
        ("batch", "0.125"),
        ("priority", "0.45"),
        ("Priority", "0.45"),
    ],
)
def test_the_tier_that_served_is_priced(tier: str | None, expected: str, now: datetime) -> None:
    price = price_of(MINI, at=now, service_tier=tier)
    assert price is not None
    assert price.input == Decimal(expected)


def test_a_tier_whose_price_nobody_knows_has_none(now: datetime) -> None:
    assert price_of(MINI, at=now, service_tier="scale") is None
    with pytest.raises(UnknownPriceError, match="service tier 'scale'"):
        require_price(MINI, at=now, service_tier="scale")
    old = ModelConfig.parse("openai:gpt-4")
    assert dollars(price_of(old, at=now, service_tier="flex")) == (30, 60), "no more than the usual"
    assert price_of(old, at=now, service_tier="priority") is None
    stated = ModelConfig("gpt-4", "openai", cost=0.001)
    assert price_of(stated, at=now, service_tier="scale") is not None, "the user's word holds"


def test_dated_prices_change_at_midnight_utc() -> None:
    model = ModelConfig.parse("deepseek:deepseek-v4-pro")
    before = datetime(2026, 8, 16, 23, 59, 59, 999_999, tzinfo=UTC)
    price = price_of(model, at=before)
    assert price is not None
    later = price_of(model, at=before + timedelta(microseconds=1))
    assert later is not None
    assert (price.input, later.input) == (Decimal("0.435"), Decimal("0.66"))
    assert later.date == "2026-08-17"


def test_prices_by_the_hour_follow_the_clock() -> None:
    model = ModelConfig.parse("deepseek:deepseek-v4-pro")
    at = [datetime(2026, 11, 22, hour, tzinfo=UTC) for hour in (0, 1, 4, 6, 10)]
    prices = [price_of(model, at=moment) for moment in at]
    assert [price and price.input for price in prices] == [
        Decimal(each) for each in ("0.66", "1.32", "0.66", "1.32", "0.66")
    ]


def served(name: str, by: str | None) -> Price | None:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    return price_of(ModelConfig.parse(name), at=at, served_model=by)


def test_a_dated_snapshot_that_served_has_its_own_price() -> None:
    assert dollars(served("openai:gpt-4o", None)) == (Decimal("2.5"), 10)
    assert dollars(served("openai:gpt-4o", "gpt-4o-2024-05-13")) == (5, 15)
    assert dollars(served("openai:gpt-4o", "gpt-4o-2024-08-06")) == (Decimal("2.5"), 10)


def test_another_model_that_a_router_chose_has_its_own_price() -> None:
    assert served("openrouter:openrouter/auto", None) is None
    chosen = served("openrouter:openrouter/auto", "anthropic/claude-opus-5")
    assert dollars(chosen) == (5, 25)
    assert dollars(served("azure:my-deployment", "gpt-4o-2024-11-20")) == (Decimal("2.5"), 10)
    assert dollars(served("openai:gpt-5-mini", "gpt-4o-2024-08-06")) == (Decimal("2.5"), 10)


@pytest.mark.parametrize(
    ("asked", "by"),
    [
        ("openrouter:deepseek/deepseek-r1:free", "deepseek/deepseek-r1"),
        ("cerebras:llama-3.3-70b", "llama3.3-70b-latest"),
        ("anthropic:claude-sonnet-4-5", "vertex/claude-4-5-sonnet-v2"),
        ("groq:llama-3.3-70b-versatile", "accounts/groq/llama-3.3-70b-versatile-20990101"),
    ],
)
def test_another_name_for_the_same_model_keeps_the_asked_price(asked: str, by: str) -> None:
    assert served(asked, by) == served(asked, None) is not None


def test_a_model_that_served_and_nobody_knows_has_no_price() -> None:
    assert served("openai:gpt-4o", "something-else-entirely") is None
    assert served("groq:llama-3.3-70b-versatile", "llama-3.3-8b-versatile") is None


def answer(**values: Any) -> Completion:
    return Completion(**{"usage": USAGE, "model": "gpt-5-mini-2025-08-07", **values})


def test_an_answer_costs_its_usage_at_the_price_that_served_it(now: datetime) -> None:
    cost = cost_of(answer(), MINI, at=now)
    assert (cost.nanodollars, cost.source, cost.confirmed) == (1_250_000, "catalogue", True)
    assert cost.problem == ""
    flex = cost_of(answer(service_tier="flex"), MINI, at=now)
    assert (flex.nanodollars, flex.date) == (625_000, "2026-10-12")


def test_what_the_provider_says_it_charged_wins(now: datetime) -> None:
    stated = ModelConfig("gpt-5-mini", "openai", price=Price(input=9, output=9))
    cost = cost_of(answer(reported_cost=77), stated, at=now)
    assert (cost.nanodollars, cost.source) == (77, "provider")
    assert cost_of(answer(reported_cost=0, usage=None), MINI, at=now).nanodollars == 0


@pytest.mark.parametrize(
    ("completion", "problem"),
    [
        (answer(usage=None), "did not say what was used"),
        (answer(usage=Usage(input_tokens=5)), "nothing of output tokens"),
        (answer(service_tier="scale"), "at service tier 'scale' is not known"),
        (answer(model="mystery-9"), "served as mystery-9"),
        (
            answer(usage=Usage(input_tokens=1, output_tokens=1, requests={"code_execution": 1})),
            "no rate for code_execution",
        ),
    ],
)
def test_a_cost_that_is_unknown_is_none_and_says_why(
    completion: Completion, problem: str, now: datetime
) -> None:
    cost = cost_of(completion, MINI, at=now)
    assert cost.nanodollars is None
    assert not cost.confirmed
    assert problem in cost.problem


def test_a_cost_by_an_estimated_usage_is_not_confirmed(now: datetime) -> None:
    cost = cost_of(answer(usage_complete=False), MINI, at=now)
    assert cost.nanodollars == 1_250_000
    assert not cost.confirmed


def test_importing_prices_reads_no_table_and_loads_nothing_heavy() -> None:
    script = (
        "import sys, cascadeflow.models.prices, cascadeflow.models as models\n"
        "models.price_of, models.lookup\n"
        "from cascadeflow.models import catalogue\n"
        "assert catalogue._table is None\n"
        "heavy = {'pydantic', 'httpx2', 'genai_prices', 'asyncio', 'ssl', 'numpy', 'difflib',"
        " 'tomllib', 'zipfile', 'argparse', 'tempfile'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"
