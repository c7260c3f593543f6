"""A family is who trained a model: of two in one family a mistake of one is often the other's."""

from __future__ import annotations

import pytest

from cascadeflow.models.catalogue import table
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.families import family_of


def family(name: str, provider: str = "openai") -> str:
    return family_of(ModelConfig(name, provider))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-4o-mini", "gpt"),
        ("chatgpt-4o-latest", "gpt"),
        ("openai/gpt-oss-120b", "gpt"),
        ("o1", "gpt"),
        ("openai/o4-mini", "gpt"),
        ("ft:gpt-4o-mini:acme::abc", "gpt"),
        ("us.anthropic.claude-haiku-4-5-v1:0", "claude"),
        ("gemini-2.5-flash-lite", "gemini"),
        ("google/gemma-3-27b-it", "gemini"),
        ("codegemma-7b", "gemini"),
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", "llama"),
        ("meta.llama3-8b-instruct-v1:0", "llama"),
        ("codellama-34b", "llama"),
        ("NousResearch/Hermes-3-Llama-3.1-70B", "llama"),
        ("dolphin-mixtral-8x7b", "mistral"),
        ("command-r-plus", "cohere"),
        ("us.amazon.nova-micro-v1:0", "nova"),
        ("moonshotai/Kimi-K2-Instruct", "kimi"),
        ("Qwen/QwQ-32B", "qwen"),
        ("qwen2.5-coder:7b", "qwen"),
        ("microsoft/phi-4", "phi"),
        ("ai21.jamba-1-5-mini-v1:0", "jamba"),
        ("smollm2:135m", "smollm"),
    ],
)
def test_a_name_tells_its_family_however_it_is_written(name: str, expected: str) -> None:
    assert family(name) == expected


def test_a_distilled_model_counts_to_the_name_that_stands_first() -> None:
    assert family("deepseek-ai/DeepSeek-R1-Distill-Llama-70B") == "deepseek"


def test_a_letter_and_a_number_within_another_name_are_not_openais() -> None:
    assert family("AIDC-AI/Marco-o1") != "gpt"


def test_unknown_models_of_one_name_are_one_family_wherever_they_run() -> None:
    assert family("my-own:7b", "ollama") == family("My-Own:7b", "vllm")
    assert family("MiniMaxAI/MiniMax-M2", "together") == family("minimax-m3", "minimax")
    assert family("sonar") == family("perplexity/sonar-pro", "openrouter")


def test_unknown_models_of_other_names_are_other_families() -> None:
    assert len({family(name) for name in ("olmo-3-7b", "lfm-7b", "sonar", "small", "123")}) == 5


def test_every_model_of_the_catalogue_has_a_family() -> None:
    names = [(row.id, row.provider) for row in table().all_rows()]
    assert len(names) > 1_000
    assert all(family(name, provider) for name, provider in names)


def test_the_makers_of_whom_much_is_asked_have_one_family_each() -> None:
    makers = {"anthropic": "claude", "mistral": "mistral", "deepseek": "deepseek", "xai": "grok"}
    found: dict[str, set[str]] = {}
    for row in table().all_rows():
        if row.provider in makers:
            found.setdefault(row.provider, set()).add(family(row.id, row.provider))
    for provider, families in found.items():
        assert makers[provider] in families
        assert len(families) <= 4, families  # what is no chat model has names of its own
    assert len(found) >= 3
