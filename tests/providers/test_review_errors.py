"""Forms of errors that no recording shows: their words are found, and mean what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cascadeflow.errors import (
    BadRequestError,
    ContentFilteredError,
    ContextTooLongError,
    OverloadedError,
    ProviderError,
    RateLimitedError,
)
from cascadeflow.providers.codecs import get_codec


def failure(provider: str, status: int, body: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        get_codec(provider).decode(status, {}, json.dumps(body).encode())
    assert caught.value.details == (body if isinstance(body, dict) else {})
    return caught.value


@pytest.mark.parametrize(
    ("provider", "status", "body", "cls", "words"),
    [
        (
            "cloudflare",
            400,
            {"errors": [{"code": 7003, "message": "No route"}], "success": False},
            BadRequestError,
            "No route",
        ),
        ("huggingface", 503, {"error": ["Model too busy"]}, OverloadedError, "Model too busy"),
        (
            "openrouter",
            400,
            {
                "error": {
                    "message": "Provider returned error",
                    "code": 400,
                    "metadata": {"raw": '{"message":"prompt is too long"}', "provider_name": "X"},
                }
            },
            ContextTooLongError,
            "prompt is too long",
        ),
        (
            "openrouter",
            429,
            {"error": {"message": "limited", "code": 429, "metadata": {"raw": 7}}},
            RateLimitedError,
            "limited",
        ),
        (
            "zai",
            400,
            {
                "error": {
                    "code": "1301",
                    "message": "System detected potentially unsafe or sensitive content in input.",
                }
            },
            ContentFilteredError,
            "sensitive content",
        ),
    ],
)
def test_the_words_of_an_error_are_found(
    provider: str, status: int, body: Any, cls: type[ProviderError], words: str
) -> None:
    error = failure(provider, status, body)
    assert type(error) is cls
    assert words in str(error)
    assert (error.status, error.billed) == (status, False)


@pytest.mark.parametrize(
    "body",
    [
        {"errors": []},
        {"error": []},
        {"error": [[]]},
        {"errors": {"a": 1}},
        {"error": {"metadata": []}},
        {"error": {"message": {"a": 1}, "code": 1.5, "type": ["x"]}},
        {"error": None},
    ],
)
def test_an_error_without_words_is_typed_all_the_same(body: Any) -> None:
    for provider in ("openai", "anthropic", "gemini", "bedrock", "cohere", "openai-responses"):
        assert type(failure(provider, 400, body)) is BadRequestError
