"""Fields in each protocol's own words: what a budget can reckon with, and what it cannot."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cascadeflow import ModelConfig, Price
from cascadeflow.errors import InvalidRequestError, UnboundedCostError
from cascadeflow.models.worst_case import worst_case
from cascadeflow.pipeline.limits import stated_limit
from cascadeflow.pipeline.request import normalise
from cascadeflow.types import ChatRequest, Message

AT = datetime(2026, 11, 22, tzinfo=UTC)


def worst(provider: str, extra: dict[str, Any]) -> int:
    model = ModelConfig("m", provider, price=Price(input=1, output=2))
    request = ChatRequest("m", (Message("user", "hello"),), extra=extra)
    return worst_case(model, request, output_tokens=100, at=AT).output_tokens


@pytest.mark.parametrize(
    ("provider", "extra"),
    [
        ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 50}, "topK": 4}}),
        ("gemini", {"safetySettings": []}),
        ("vertex", {"labels": {"team": "a"}}),
        ("bedrock", {"inferenceConfig": {"topP": 0.5}, "requestMetadata": {"user_id": "a"}}),
        ("cohere", {"k": 3, "p": 0.9, "safety_mode": "STRICT", "citation_options": {}}),
        ("openai-responses", {"reasoning": {"effort": "low"}, "include": [], "text": {}}),
    ],
)
def test_what_changes_no_bill_needs_no_statement(provider: str, extra: dict[str, Any]) -> None:
    assert worst(provider, extra) == 100


@pytest.mark.parametrize(
    ("provider", "extra"),
    [
        ("gemini", {"cachedContent": "cachedContents/1"}),
        ("gemini", {"generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_HIGH"}}),
        ("gemini", {"generationConfig": "all"}),
        ("bedrock", {"guardrailConfig": {"guardrailIdentifier": "g"}}),
        ("bedrock", {"additionalModelRequestFields": {"anything": 1}}),
        ("openai-responses", {"previous_response_id": "resp_1"}),
        ("openai-responses", {"conversation": "conv_1"}),
        ("cohere", {"documents": ["long"]}),
    ],
)
def test_what_may_change_it_must_be_stated(provider: str, extra: dict[str, Any]) -> None:
    with pytest.raises(UnboundedCostError):
        worst(provider, extra)


@pytest.mark.parametrize(
    ("provider", "extra"),
    [
        ("gemini", {"contents": []}),
        ("gemini", {"systemInstruction": {"parts": []}}),
        ("gemini", {"system_instruction": {"parts": []}}),
        ("openai-responses", {"instructions": "be long"}),
        ("gemini", {"generationConfig": {"maxOutputTokens": "many"}}),
        ("bedrock", {"inferenceConfig": {"maxTokens": -1}}),
    ],
)
def test_what_would_send_something_else_is_refused(provider: str, extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        worst(provider, extra)


@pytest.mark.parametrize(
    ("provider", "extra"),
    [
        ("gemini", {"generationConfig": {"maxOutputTokens": 900}}),
        ("vertex", {"generationConfig": {"maxOutputTokens": 900}}),
        ("gemini", {"generation_config": {"max_output_tokens": 900}}),
        ("bedrock", {"inferenceConfig": {"maxTokens": 900}}),
        ("openai-responses", {"max_output_tokens": 900}),
        ("cohere", {"max_tokens": 900}),
        ("anthropic", {"max_tokens": 900}),
        ("groq", {"max_completion_tokens": 900}),
    ],
)
def test_a_limit_in_the_provider_s_words_counts_and_is_reported(
    provider: str, extra: dict[str, Any]
) -> None:
    assert worst(provider, extra) == 900
    model = ModelConfig("m", provider, price=Price(input=1, output=2))
    assert stated_limit(normalise("hello", extra=extra), model) == 900


def test_several_answers_are_all_reckoned_with() -> None:
    assert worst("gemini", {"generationConfig": {"candidateCount": 3}}) == 300
