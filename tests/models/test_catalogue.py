"""What the catalogue knows, and how models are put in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from itertools import permutations

import pytest

from cascadeflow import models
from cascadeflow.models import catalogue
from cascadeflow.models._facts import ABILITIES
from cascadeflow.models.catalogue import cheapest_first, find_row, lookup, suggest
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import Price


def test_facts_of_a_known_model() -> None:
    facts = lookup("openai", "gpt-5-mini")
    assert facts is not None
    assert (facts.id, facts.context_window, facts.max_output_tokens) == (
        "openai:gpt-5-mini",
        400_000,
        128_000,
    )
    assert {"tools", "vision", "structured_output", "reasoning"} <= facts.abilities
    assert facts.priced
    assert not facts.deprecated
    assert date.fromisoformat(facts.date)


def test_an_ability_is_known_denied_or_not_known() -> None:
    facts = lookup("anthropic", "claude-opus-5")
    assert facts is not None
    assert facts.can("tools") is True
    assert facts.can("sampling") is False
    assert facts.can("telepathy") is None
    assert not facts.abilities & facts.inabilities


@pytest.mark.parametrize(
    ("provider", "name", "found"),
    [
        ("openai", "GPT-4o-2024-05-13", "openai:gpt-4o-2024-05-13"),
        ("openai", "gpt-5.2-20251211", "openai:gpt-5.2"),
        ("anthropic", "claude-sonnet-4-5-20250929", "anthropic:claude-sonnet-4-5"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws:"),
        ("azure_openai", "gpt-4o", "openai:gpt-4o"),
        ("gemini", "models/gemini-2.5-flash", "google:gemini-2.5-flash"),
        ("vertex", "publishers/google/models/gemini-2.5-pro", "google:gemini-2.5-pro"),
        ("xai", "grok-4.5", "x-ai:grok-4.5"),
        ("OpenRouter", "anthropic/claude-opus-5", "openrouter:anthropic/claude-opus-5"),
        ("together_ai", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "together:meta-llama/"),
        (
            "huggingface",
            "meta-llama/Llama-3.3-70B-Instruct:together",
            "huggingface_together:meta-llama/Llama-3.3-70B-Instruct",
        ),
    ],
)
def test_a_name_as_the_provider_is_asked_with_finds_its_model(
    provider: str, name: str, found: str
) -> None:
    facts = lookup(provider, name)
    assert facts is not None
    assert facts.id.startswith(found)


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("openai", "no-such-model"),
        ("no-such-provider", "gpt-5-mini"),
        ("my-openai-proxy", "gpt-5-mini"),
        ("huggingface", "meta-llama/Llama-3.3-70B-Instruct"),
        ("huggingface", "meta-llama/Llama-3.3-70B-Instruct:nobody"),
    ],
)
def test_what_is_not_known_is_none(provider: str, name: str) -> None:
    assert lookup(provider, name) is None


def test_every_alias_leads_to_a_provider_of_the_table() -> None:
    assert set(catalogue.PROVIDER_ALIASES.values()) <= set(catalogue.table().providers())
    assert not set(catalogue.PROVIDER_ALIASES) & set(catalogue.table().providers())


def test_every_fact_in_the_table_can_be_read() -> None:
    counted = 0
    for row in catalogue.table().all_rows():
        facts = catalogue.facts(row)
        assert facts.abilities | facts.inabilities <= set(ABILITIES), facts.id
        assert all(
            limit is None or limit > 0
            for limit in (facts.context_window, facts.max_input_tokens, facts.max_output_tokens)
        ), facts.id
        assert facts.retires is None or date.fromisoformat(facts.retires)
        counted += 1
    assert counted > 2_000


def test_names_from_outside_do_not_fill_the_memory() -> None:
    catalogue.reload()
    for number in range(catalogue._MOST_REMEMBERED + 10):
        find_row("openai", "gpt-5-mini", f"gpt-5-mini-{number}")
    assert len(catalogue._found) <= catalogue._MOST_REMEMBERED


def test_models_are_put_in_order_of_price_whatever_their_order(now: datetime) -> None:
    wanted = [
        "ollama:llama3.2",
        "openai:gpt-5-mini",
        "anthropic:claude-opus-5",
        "openai:gpt-5-pro",
    ]
    for given in permutations(ModelConfig.parse(each) for each in wanted):
        assert [model.id for model in cheapest_first(given, at=now)] == wanted


def test_models_of_unknown_price_come_last_in_the_order_given(now: datetime) -> None:
    unknown = [ModelConfig("b", "acme"), ModelConfig("a", "acme")]
    embedding = ModelConfig.parse("openai:text-embedding-3-small")
    known = ModelConfig.parse("openai:gpt-5-pro")
    assert cheapest_first([*unknown, embedding, known], at=now) == [known, *unknown, embedding]


def test_output_counts_for_a_quarter_of_the_tokens(now: datetime) -> None:
    wordy = ModelConfig("wordy", "acme", price=Price(input=1, output=5))
    even = ModelConfig("even", "acme", price=Price(input=2, output="1.9"))
    assert cheapest_first([wordy, even], at=now) == [even, wordy]
    even = replace(even, price=Price(input=2, output="2.1"))
    assert cheapest_first([even, wordy], at=now) == [wordy, even]


def test_a_fee_for_the_call_counts(now: datetime) -> None:
    plain = ModelConfig("plain", "acme", price=Price(input=2, output=2))
    fee = ModelConfig("fee", "acme", price=Price(input=1, output=1, call=12))
    assert cheapest_first([fee, plain], at=now) == [plain, fee]


def test_free_models_are_ordered_by_quality_then_speed(now: datetime) -> None:
    strong = ModelConfig("strong", "ollama", quality_score=0.9, speed_ms=10)
    fast = ModelConfig("fast", "ollama", quality_score=0.5, speed_ms=100)
    slow = ModelConfig("slow", "ollama", quality_score=0.5, speed_ms=900)
    plain = ModelConfig("plain", "ollama")
    for given in permutations([strong, slow, fast, plain]):
        assert cheapest_first(given, at=now) == [plain, fast, slow, strong]


def test_near_names_are_suggested() -> None:
    assert suggest("openai", "gpt5-mini")[0] == "openai:gpt-5-mini"
    assert suggest("xai", "grok-45")[0].startswith("xai:grok-4")
    assert suggest("acme", "gpt-5-mini")[0].endswith(":gpt-5-mini")
    assert suggest("openai", "zzzzzzzzzzzz") == []
    assert len(suggest("openai", "gpt-4", limit=2)) == 2


def test_the_public_names_are_sorted_and_all_there() -> None:
    assert sorted(models.__all__, key=str.casefold) == sorted(models._HOMES, key=str.casefold)
    for name in models.__all__:
        assert getattr(models, name).__class__ is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        models.no_such_name  # noqa: B018
