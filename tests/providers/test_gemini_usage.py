"""What Gemini counts and how it fails: what the recordings do not show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cascadeflow.errors import (
    AuthenticationError,
    BadRequestError,
    ContextTooLongError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    RateLimitedError,
)
from cascadeflow.models.usage import Usage
from cascadeflow.providers.codecs import get_codec
from cascadeflow.providers.gemini_usage import count_requests, read_tier, read_usage


def test_missing_is_not_zero() -> None:
    assert read_usage({}) is None
    assert read_usage({"trafficType": "ON_DEMAND"}) is None
    assert read_usage({"promptTokenCount": 4}) == Usage(input_tokens=4)
    assert read_usage({"candidatesTokenCount": 0}) == Usage(output_tokens=0)


def test_tools_read_beside_the_prompt_and_images_are_told_apart() -> None:
    usage = read_usage(
        {
            "promptTokenCount": 300,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 40},
                {"modality": "IMAGE", "tokenCount": 200},
                {"modality": "DOCUMENT", "tokenCount": 60},
            ],
            "cachedContentTokenCount": 150,
            "cacheTokensDetails": [{"modality": "IMAGE", "tokenCount": 120}],
            "toolUsePromptTokenCount": 50,
            "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 10}],
            "candidatesTokenCount": 90,
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 70}],
            "thoughtsTokenCount": 5,
            "totalTokenCount": 445,
        }
    )
    assert usage == Usage(
        input_tokens=110,
        cache_read_tokens=30,
        input_image_tokens=90,
        cache_read_image_tokens=120,
        output_tokens=20,
        output_image_tokens=70,
        reasoning_tokens=5,
    )
    assert usage.total_tokens == 445


def test_parts_larger_than_the_whole_are_not_counted_twice() -> None:
    usage = read_usage(
        {
            "promptTokenCount": 10,
            "cachedContentTokenCount": 99,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}],
            "candidatesTokenCount": 3,
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 9}],
        }
    )
    assert usage is not None
    assert (usage.total_input_tokens, usage.total_output_tokens) == (10, 3)


@pytest.mark.parametrize("count", [-1, 2**60, True, "7", None, 1.5, []])
def test_what_is_no_count_is_not_counted(count: Any) -> None:
    assert read_usage({"promptTokenCount": count, "totalTokenCount": count}) is None


def grounded(queries: list[str], *chunks: Any, **rest: Any) -> dict[str, Any]:
    grounding = {"webSearchQueries": queries, "groundingChunks": list(chunks)}
    return {"groundingMetadata": grounding, **rest}


@pytest.mark.parametrize(
    ("candidate", "model", "requests"),
    [
        (grounded(["a", "b", "a", ""]), "gemini-3-flash", {"web_search": 2}),
        (grounded(["a", "b"]), "gemini-2.5-pro", {"web_search": 1}),
        (grounded([], {"web": {}}), "gemini-3-flash", {"web_search": 1}),
        (grounded([], {"web": {}}, urlContextMetadata={}), "gemini-3-flash", {}),
        (grounded([""]), "gemini-3-flash", {}),
        (grounded([], {"maps": {}}), "gemini-3-flash", {"google_maps": 1}),
        (grounded([], {"retrievedContext": {"fileSearchStore": "s"}}), None, {}),
        (grounded([], {"retrievedContext": {"uri": "u"}}), None, {"vertex_ai_search": 1}),
        ({"groundingMetadata": {}}, "gemini-3-flash", {}),
        ({"groundingMetadata": {"webSearchQueries": [3], "groundingChunks": 5}}, None, {}),
    ],
)
def test_searches_are_counted_as_they_are_billed(
    candidate: Any, model: str | None, requests: dict[str, int]
) -> None:
    assert count_requests([candidate], model) == requests


@pytest.mark.parametrize(
    ("raw", "tier"),
    [
        ({"serviceTier": "priority"}, "priority"),
        ({"serviceTier": "unspecified"}, None),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned_throughput"),
        ({"trafficType": "TRAFFIC_TYPE_UNSPECIFIED"}, None),
        ({"trafficType": 5}, None),
        ({}, None),
    ],
)
def test_the_tier_has_the_name_that_its_price_has(raw: Any, tier: str | None) -> None:
    assert read_tier(raw) == tier


# Errors


def error(code: int, status: str, message: str = "No.", *details: Any) -> bytes:
    body = {"code": code, "message": message, "status": status, "details": list(details)}
    return json.dumps({"error": body}).encode()


def raised(status: int, body: bytes, **headers: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        get_codec("gemini").decode(status, headers, body)
    return caught.value


BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37.5s"}
QUOTA = "You exceeded your current quota, please check your plan and billing details."


@pytest.mark.parametrize(
    ("status", "word", "message", "cls"),
    [
        (400, "INVALID_ARGUMENT", "No.", BadRequestError),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (9) exceeds the maximum number of tokens allowed (8).",
            ContextTooLongError,
        ),
        (401, "UNAUTHENTICATED", "No.", AuthenticationError),
        (403, "PERMISSION_DENIED", "No.", PermissionDeniedError),
        (429, "RESOURCE_EXHAUSTED", QUOTA, RateLimitedError),
        (429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.", PermissionDeniedError),
        (500, "INTERNAL", "No.", OverloadedError),
        (503, "UNAVAILABLE", "The model is overloaded.", OverloadedError),
    ],
)
def test_errors_are_told_by_status_and_word(
    status: int, word: str, message: str, cls: type[ProviderError]
) -> None:
    failure = raised(status, error(status, word, message))
    assert type(failure) is cls
    assert (failure.status, failure.code) == (status, word)


def test_a_wrong_key_is_told_by_its_reason() -> None:
    failure = raised(400, error(400, "INVALID_ARGUMENT", "API key not valid.", BAD_KEY))
    assert type(failure) is AuthenticationError
    assert (failure.status, failure.code) == (400, "API_KEY_INVALID")


def test_the_wait_stands_in_the_body_and_a_header_goes_before_it() -> None:
    body = error(429, "RESOURCE_EXHAUSTED", QUOTA, {"violations": []}, RETRY)
    assert raised(429, body).retry_after == 37.5
    assert raised(429, body, **{"retry-after": "5"}).retry_after == 5
    listed = b"[" + body + b"]"
    assert raised(429, listed).retry_after == 37.5
    assert raised(429, listed).code == "RESOURCE_EXHAUSTED"


def test_a_key_in_an_error_is_blanked() -> None:
    key = "AIzaSyA0123456789abcdefghijklmnopqrstuv"
    assert key not in str(raised(400, error(400, "INVALID_ARGUMENT", f"bad key {key}")))
