"""A model as it is written down: v0.1's form works, and what does nothing is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cascadeflow.errors import ConfigurationError
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import Price


def test_v01s_forms_work_by_name_and_by_position() -> None:
    by_name = ModelConfig(name="gpt-4", provider="openai", cost=0.03)
    assert by_name == ModelConfig("gpt-4", provider="openai", cost=0.03)
    assert by_name == ModelConfig("gpt-4", "openai", 0.03)
    assert by_name.id == "openai:gpt-4"


def test_v01s_optional_settings_are_kept() -> None:
    model = ModelConfig(
        name="gpt-4",
        provider="openai",
        cost=0.03,
        max_tokens=4096,
        system_prompt="Be brief.",
        temperature=0.7,
        api_key="sk-secret",
        base_url="http://localhost:8000/v1",
        extra={"top_k": 5},
        speed_ms=800,
        quality_score=0.9,
        supports_tools=True,
    )
    assert (model.max_tokens, model.temperature, model.extra["top_k"]) == (4096, 0.7, 5)


def test_a_provider_is_known_in_any_case() -> None:
    assert ModelConfig("gpt-4", "OpenAI") == ModelConfig.parse("openai:gpt-4")


def test_no_key_or_header_is_shown() -> None:
    model = ModelConfig("m", "openai", api_key="sk-secret", headers={"x-key": "sk-secret"})
    assert "sk-secret" not in repr(model)


def test_a_model_may_be_a_key_of_a_mapping_whatever_its_extras() -> None:
    model = ModelConfig("m", "openai", extra={"a": [1]}, headers={"b": "c"})
    assert {model: 1}[replace(model)] == 1


def test_what_the_caller_does_to_its_mappings_later_changes_nothing() -> None:
    extra, headers = {"top_k": 5}, {"x-team": "a"}
    model = ModelConfig("m", "openai", extra=extra, headers=headers)
    extra["top_k"] = 6
    headers.clear()
    assert (model.extra, model.headers) == ({"top_k": 5}, {"x-team": "a"})


@pytest.mark.parametrize("name", ["keywords", "domains"])
def test_a_field_of_v01_that_would_do_nothing_is_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"ModelConfig\({name}=…\).*leave (it|them) out"):
        ModelConfig("m", "openai", **{name: ["code"]})


@pytest.mark.parametrize(
    ("name", "hint"),
    [("temprature", "did you mean temperature?"), ("colour", "it takes name, provider, cost")],
)
def test_an_unknown_field_is_refused_with_the_nearest_one(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ModelConfig("m", "openai", **{name: 1})
    assert name in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"name": ""},
        {"provider": ""},
        {"cost": -0.1},
        {"cost": float("nan")},
        {"cost": float("inf")},
        {"temperature": 2.5},
        {"temperature": float("nan")},
        {"quality_score": 1.1},
        {"speed_ms": -1},
        {"max_tokens": 0},
        {"max_tokens": True},
        {"context_window": 0},
        {"price": 0.25},
        {"cost": "0.25"},
        {"temperature": "hot"},
        {"max_tokens": "100"},
        {"max_tokens": 1.5},
        {"name": 5},
        {"api_key": b"secret"},
        {"base_url": 5},
        {"headers": "x-a: b"},
        {"extra": [("a", 1)]},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ModelConfig(**{"name": "m", "provider": "openai", **settings})


def test_a_key_of_another_type_is_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="api_key must be text, not bytes") as caught:
        ModelConfig("m", "openai", api_key=b"secret")  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_a_number_as_price_is_told_apart_from_v01s_cost() -> None:
    with pytest.raises(ConfigurationError, match="per 1,000 tokens is cost="):
        ModelConfig("m", "openai", price=0.002)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["gpt-4", ":gpt-4", "openai:", ""])
def test_text_without_a_provider_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="provider:model"):
        ModelConfig.parse(text)


def test_text_may_have_colons_in_the_models_name_and_further_settings() -> None:
    price = Price(input=1, output=2)
    model = ModelConfig.parse("ollama:llama3:8b", price=price, temperature=0)
    assert (model.name, model.price, model.temperature) == ("llama3:8b", price, 0)
