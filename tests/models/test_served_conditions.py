"""An answer is priced by what served it: its tier, mode, region, hour, length, and kinds of tokens.

On recorded answers, against genai-prices' own reading of the raw bodies and its own arithmetic.
"""

from __future__ import annotations

import decimal
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.models.genai_oracle import providers
from tests.models.recorded import Exchange, exchanges

from cascadeflow.models.catalogue import PROVIDER_ALIASES, find_row, table
from cascadeflow.models.completion import Completion
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import CostOf, Price, cost_of, price_of
from cascadeflow.models.usage import Usage
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
USAGE = Usage(input_tokens=1_000, cache_read_tokens=1_000, output_tokens=1_000)
BY_ID = {provider.id: provider for provider in providers}
FLAVORS = {"anthropic": "default", "cohere": "default", "openai-responses": "responses"}


@pytest.fixture(scope="module")
def recorded(recordings: Path) -> list[Exchange]:
    return list(exchanges(recordings))


def cost(exchange: Exchange, **changes: Any) -> CostOf:
    completion = replace(exchange.completion, **changes)
    return cost_of(completion, ModelConfig(exchange.asked, exchange.provider), at=NOW)


def theirs(exchange: Exchange) -> int | None:
    """Nanodollars that genai-prices reads out of a raw body; `None` where it cannot."""
    provider = BY_ID.get(PROVIDER_ALIASES.get(exchange.provider, exchange.provider))
    if provider is None or not isinstance(exchange.body, dict):
        return None
    offered = [each.api_flavor for each in provider.extractors or ()]
    flavor = FLAVORS.get(exchange.provider, "chat" if "chat" in offered else "default")
    flavor = "default" if exchange.provider in ("gemini", "vertex", "bedrock") else flavor
    try:
        name, usage = provider.extract_usage(exchange.body, api_flavor=flavor)
    except ValueError:
        return None  # nothing was counted
    named = (name or exchange.asked, exchange.asked)
    models = (provider.find_model(each, all_providers=list(providers)) for each in named)
    model = next(filter(None, models), None)
    if model is None or not vars(model.get_prices(NOW)):
        return None  # without rates, which they count as nothing
    tier = exchange.completion.service_tier
    context = {"service_tier": tier} if tier else None
    with decimal.localcontext(prec=60):
        price = model.calc_price(
            usage, provider, genai_request_timestamp=NOW, price_context=context
        )
        nano = price.total_price * 10**9
        return int(nano.to_integral_value(rounding=decimal.ROUND_CEILING))


def test_recorded_answers_cost_what_genai_prices_reads_out_of_their_bodies(
    recorded: list[Exchange],
) -> None:
    """Searches are left out, which it does not read; so is what Mistral read from its cache."""
    compared, wrong = 0, []
    for exchange in recorded:
        usage = exchange.completion.usage
        if usage is None or exchange.completion.reported_cost is not None:
            continue
        expected = theirs(exchange)
        if expected is None:
            continue
        if exchange.provider == "anthropic":
            requests = {k: n for k, n in usage.requests.items() if k == "web_search"}
            usage = replace(usage, requests=requests)
        else:
            usage = replace(usage, requests=EMPTY)
        if exchange.provider == "mistral":
            total = usage.total_input_tokens
            usage = replace(usage, input_tokens=total, cache_read_tokens=None)
        ours = cost(exchange, usage=usage).nanodollars
        if ours is None and exchange.completion.service_tier == "optimized":
            continue  # they price it as if it were the usual latency
        compared += 1
        if ours != expected:
            wrong.append((exchange.provider, exchange.row["id"], ours, expected, usage))
    assert wrong == []
    assert compared > 0.5 * len(recorded)


def test_what_a_provider_says_it_charged_is_the_cost(recorded: list[Exchange]) -> None:
    said = [each for each in recorded if each.completion.reported_cost is not None]
    assert said
    for exchange in said:
        assert cost(exchange).source == "provider"
        raw = exchange.body["usage"]["cost"] if isinstance(exchange.body, dict) else None
        if raw is not None and not exchange.body["usage"].get("is_byok"):
            found = cost(exchange).nanodollars
            nano = decimal.Decimal(str(raw)) * 10**9
            assert found == int(nano.to_integral_value(rounding=decimal.ROUND_CEILING))


def raw_facts(exchange: Exchange) -> str:
    return str(exchange.row.get("response") or exchange.row.get("response_text"))


def test_a_recorded_flex_answer_of_openai_costs_the_flex_price(recorded: list[Exchange]) -> None:
    flex = next(
        each
        for each in recorded
        if each.provider == "openai-responses" and each.completion.service_tier == "flex"
    )
    assert '"service_tier":"flex"' in raw_facts(flex).replace(": ", ":")
    usual = cost(flex, service_tier="default").nanodollars
    found = cost(flex)
    assert found.nanodollars is not None
    assert usual is not None
    assert usual == pytest.approx(2 * found.nanodollars, abs=2)
    assert found.date is not None
    assert found.date > "2026-10"


def test_recorded_answers_at_cheaper_tiers_without_a_price_cost_the_usual_one(
    recorded: list[Exchange],
) -> None:
    """Vertex's ON_DEMAND_FLEX and Bedrock's flex: no less than what is billed."""
    found = {
        each.provider: each
        for each in recorded
        if each.completion.service_tier == "flex" and each.provider in ("vertex", "bedrock")
    }
    assert found.keys() == {"vertex", "bedrock"}
    for exchange in found.values():
        assert cost(exchange).nanodollars == cost(exchange, service_tier=None).nanodollars


def test_a_recorded_answer_optimised_for_latency_has_no_known_cost(
    recorded: list[Exchange],
) -> None:
    fast = next(each for each in recorded if each.completion.service_tier == "optimized")
    assert fast.body["performanceConfig"] == {"latency": "optimized"}
    assert cost(fast).nanodollars is None
    assert "'optimized'" in cost(fast).problem


@pytest.mark.parametrize(
    ("provider", "tier"),
    [("openai", "default"), ("groq", "on_demand"), ("gemini", "standard"), ("vertex", "on_demand")],
)
def test_the_usual_tier_of_each_provider_costs_the_usual_price(
    recorded: list[Exchange], provider: str, tier: str
) -> None:
    served = [
        each
        for each in recorded
        if each.provider == provider and each.completion.service_tier == tier
    ]
    assert served
    for exchange in served:
        assert cost(exchange).nanodollars == cost(exchange, service_tier=None).nanodollars


def test_each_recorded_region_of_anthropic_costs_the_list_price_but_the_us(
    recorded: list[Exchange],
) -> None:
    seen = set()
    for exchange in recorded:
        usage = exchange.completion.extras.get("usage")
        if exchange.provider != "anthropic" or not isinstance(usage, dict):
            continue
        seen.add(usage.get("inference_geo"))
        plain = {name: value for name, value in usage.items() if name != "inference_geo"}
        extras = {**exchange.completion.extras, "usage": plain}
        assert cost(exchange) == cost(exchange, extras=extras)
    assert {"global", "not_available"} <= seen


def claude(name: str = "claude-opus-5", **usage: Any) -> CostOf:
    answer = Completion(
        usage=USAGE, model=name, service_tier="standard", extras={"usage": usage} if usage else {}
    )
    return cost_of(answer, ModelConfig(name, "anthropic"), at=NOW)


def test_inference_that_stays_in_the_us_costs_a_tenth_more_with_newer_claudes() -> None:
    usual, raised = claude().nanodollars, claude(inference_geo="us").nanodollars
    assert usual is not None
    assert raised is not None
    assert 10 * raised == 11 * usual
    older = claude("claude-opus-4-5", inference_geo="us").nanodollars
    assert older == claude("claude-opus-4-5").nanodollars
    assert claude(inference_geo="eu").nanodollars is None
    assert "in region 'eu'" in claude(inference_geo="eu").problem
    for nothing in ("", None, 7):
        assert claude(inference_geo=nothing).nanodollars == usual


def test_a_stated_price_and_other_providers_know_no_region() -> None:
    answer = Completion(usage=USAGE, extras={"usage": {"inference_geo": "us"}})
    stated = ModelConfig("claude-opus-5", "anthropic", price=Price(input=1, output=1))
    assert cost_of(answer, stated, at=NOW).nanodollars == 3_000_000
    same = ModelConfig("gpt-5-mini", "openai")
    without = replace(answer, extras={})
    assert cost_of(answer, same, at=NOW) == cost_of(without, same, at=NOW)


def test_the_fast_mode_that_served_costs_its_own_price() -> None:
    """Anthropic says so in the usage; the tier beside it is the standard one."""
    usual, fast = claude(speed="standard").nanodollars, claude(speed="fast").nanodollars
    both = claude(speed="fast", inference_geo="us").nanodollars
    assert usual == claude().nanodollars
    assert usual is not None
    assert fast is not None
    assert both is not None
    assert fast == 2 * usual
    assert 10 * both == 11 * fast
    assert claude("claude-opus-4-5", speed="fast").nanodollars is None


def test_a_search_in_a_region_costs_what_a_search_costs() -> None:
    usage = Usage(input_tokens=0, output_tokens=0, requests={"web_search": 1})
    answer = Completion(usage=usage, extras={"usage": {"inference_geo": "us"}})
    model = ModelConfig("claude-opus-5", "anthropic")
    assert cost_of(answer, model, at=NOW).nanodollars == 10_000_000


def test_a_tier_that_is_said_to_be_nothing_is_the_usual_one() -> None:
    answer = Completion(usage=USAGE, service_tier="")
    assert cost_of(answer, ModelConfig("gpt-5-mini", "openai"), at=NOW).nanodollars is not None


def test_every_condition_of_the_table_but_two_can_be_met_by_what_an_answer_says() -> None:
    """OpenRouter's routes and Perplexity's kinds of search are no part of an answer; both report
    what they charged."""
    kinds = {
        (key, row.provider)
        for row in table().all_rows()
        for context, _, _ in row.variants()
        for key in context
    }
    assert {key for key, _ in kinds} == {
        *("service_tier", "processing", "speed", "route", "search_type")
    }
    assert {where for key, where in kinds if key == "route"} == {"openrouter"}
    assert {where for key, where in kinds if key == "search_type"} == {"perplexity"}
    compared = 0
    for row in table().all_rows():
        for context, when, rates in row.variants():
            tier = context.get("service_tier") or context.get("processing") or context.get("speed")
            found = find_row(row.provider, row.id)
            if found is None or found[0] is not row or tier is None or "output" not in rates:
                continue
            if when is not None and when > "2026-11-22":
                continue
            compared += 1
            price = price_of(ModelConfig(row.id, row.provider), at=NOW, service_tier=tier)
            assert price is not None, (row.id, context)
            assert price.service_tier == tier, (row.id, context)
    assert compared > 100


# Which row a recorded model is priced by


def test_a_recorded_model_without_a_price_has_none_at_genai_prices_either(
    recorded: list[Exchange],
) -> None:
    """`docs/prices.md` names them."""
    asked = {(each.provider, each.asked, each.completion.model) for each in recorded}
    priced = 0
    for provider, name, served in asked:
        if price_of(ModelConfig(name, provider), at=NOW, served_model=served) is not None:
            priced += 1
            continue
        theirs = BY_ID.get(PROVIDER_ALIASES.get(provider, provider))
        for each in (name, served):
            model = theirs.find_model(each, all_providers=providers) if theirs and each else None
            if each == name and served not in (None, name):
                continue  # another model answered
            assert model is None or not vars(model.get_prices(NOW)), (provider, each)
    assert priced > 0.8 * len(asked)


@pytest.mark.parametrize(
    ("provider", "name", "row"),
    [
        ("openai-responses", "gpt-5.4", "openai:gpt-5.4"),
        ("gemini", "models/gemini-2.5-pro", "google:gemini-2.5-pro"),
        ("vertex", "publishers/google/models/gemini-2.5-pro", "google:gemini-2.5-pro"),
        (
            "vertex",
            "projects/p/locations/europe-west4/publishers/google/models/gemini-2.5-pro",
            "google:gemini-2.5-pro",
        ),
        ("cohere", "command-r-plus-08-2024", "cohere:command-r-plus"),
        ("bedrock", "amazon.nova-lite-v1:0", "aws:amazon.nova-lite-v1:0"),
        ("bedrock", "us.amazon.nova-lite-v1:0", "aws:amazon.nova-lite-v1:0"),
        ("bedrock", "anthropic.claude-opus-5", "aws:regional.anthropic.claude-opus-5"),
        ("bedrock", "ca.anthropic.claude-opus-5-v1:0", "aws:regional.anthropic.claude-opus-5"),
        ("bedrock", "global.anthropic.claude-opus-5", "aws:global.anthropic.claude-opus-5"),
        (
            "bedrock",
            "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-5",
            "aws:regional.anthropic.claude-opus-5",
        ),
        (
            "bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.claude-opus-5",
            "aws:regional.anthropic.claude-opus-5",
        ),
        (
            "bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-opus-5",
            "aws:global.anthropic.claude-opus-5",
        ),
    ],
)
def test_full_names_of_a_model_lead_to_its_row(provider: str, name: str, row: str) -> None:
    found = find_row(provider, name)
    assert found is not None
    assert f"{found[0].provider}:{found[0].id}" == row


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("bedrock", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"),
        ("bedrock", "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123"),
        (
            "bedrock",
            "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-opus-5",
        ),
        ("bedrock", "us-gov.anthropic.claude-opus-5"),
        ("vertex", "projects/p/locations/us-central1/endpoints/123"),
    ],
)
def test_a_name_that_hides_the_model_or_its_price_has_none(provider: str, name: str) -> None:
    assert price_of(ModelConfig(name, provider), at=NOW) is None
