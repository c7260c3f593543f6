"""Errors are mapped once, say what to do, and hold no key."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow import errors
from cascadeflow.errors import ProviderError
from cascadeflow.providers.codecs import get_codec
from cascadeflow.providers.error_mapping import (
    error_from_body,
    header_facts,
    retry_after_of,
    scrub,
    scrub_error,
)


def openai(code: str | None = None, message: str = "", kind: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "type": kind, "message": message, "param": None}}


def anthropic(kind: str, message: str = "") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


CASES = [
    (401, openai("invalid_api_key", "Incorrect API key"), "AuthenticationError"),
    (402, {"error": {"message": "Insufficient Balance"}}, "PermissionDeniedError"),
    (403, openai(message="Country not supported"), "PermissionDeniedError"),
    (403, {"error": {"message": "input was flagged by moderation"}}, "ContentFilteredError"),
    (404, openai("model_not_found", "no such model"), "ModelNotFoundError"),
    (400, openai("unsupported_value", "bad"), "BadRequestError"),
    (422, {"detail": [{"loc": ["body", "n"], "msg": "extra"}]}, "BadRequestError"),
    (400, openai("context_length_exceeded", "too long"), "ContextTooLongError"),
    (
        400,
        openai(message="This model's maximum context length is 8192 tokens."),
        "ContextTooLongError",
    ),
    (
        400,
        anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        "ContextTooLongError",
    ),
    (413, anthropic("request_too_large", "Request exceeds the maximum size"), "BadRequestError"),
    (400, openai("content_filter", "filtered"), "ContentFilteredError"),
    (
        400,
        anthropic("invalid_request_error", "Your credit balance is too low"),
        "PermissionDeniedError",
    ),
    (429, openai("rate_limit_exceeded", "Rate limit reached"), "RateLimitedError"),
    (429, openai("insufficient_quota", "You exceeded"), "PermissionDeniedError"),
    (429, anthropic("rate_limit_error", "slow down"), "RateLimitedError"),
    (408, {}, "ProviderTimeoutError"),
    (409, {}, "OverloadedError"),
    (500, openai(kind="server_error"), "OverloadedError"),
    (503, b"upstream connect error", "OverloadedError"),
    (529, anthropic("overloaded_error", "Overloaded"), "OverloadedError"),
    (498, {"error": {"message": "flex tier capacity exceeded"}}, "OverloadedError"),
    (418, b"", "BadRequestError"),
    (302, b"<html>", "MalformedResponseError"),
]


@pytest.mark.parametrize(("status", "body", "name"), CASES)
def test_a_status_and_its_words_become_one_class(status: int, body: Any, name: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ProviderError) as caught:
        get_codec("openai").decode(status, {"x-request-id": "req-7"}, data)
    error = caught.value
    assert type(error) is getattr(errors, name)
    assert (error.provider, error.status, error.request_id) == ("openai", status, "req-7")
    later = {"RateLimitedError", "OverloadedError", "ProviderTimeoutError"}
    assert error.retryable == (name in later)
    # Who only passed the request on and gave up waiting cannot know what ran behind it.
    assert error.billed is (None if status == 408 else False)


@pytest.mark.parametrize("status", [408, 499, 502, 504, 520, 524])
def test_a_gateway_that_gave_up_cannot_say_that_nothing_was_billed(status: int) -> None:
    assert error_from_body("openai", status, {}, b"<html>").billed is None


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_an_error_in_an_answer_s_place_may_have_been_billed(provider: str) -> None:
    body = b'{"type": "error", "error": {"message": "the upstream broke off", "code": 502}}'
    with pytest.raises(ProviderError) as caught:
        get_codec(provider).decode(200, {}, body)
    assert caught.value.billed is None


def test_the_server_s_own_word_on_retrying_counts() -> None:
    assert error_from_body("openai", 400, {"x-should-retry": "true"}, b"{}").retryable
    assert not error_from_body("openai", 503, {"x-should-retry": "false"}, b"{}").retryable


def test_a_message_quotes_the_provider_and_says_what_to_do() -> None:
    error = error_from_body(
        "groq", 404, {}, json.dumps(openai("x", "The model `m` is gone")).encode()
    )
    assert "groq answered 404" in str(error)
    assert "The model `m` is gone" in str(error)
    assert "check the model's name" in str(error)
    long = error_from_body("groq", 400, {}, json.dumps(openai("x", "a" * 9000)).encode())
    assert len(str(long)) < 600


@pytest.mark.parametrize(
    "key",
    ["sk-proj-abcdef0123456789", "gsk_0123456789abcdef", "xai-0123456789abcdef", "hf_abcdefghijkl"],
)
def test_a_key_that_the_server_echoes_is_blanked(key: str) -> None:
    body = json.dumps(openai("invalid_api_key", f"Incorrect API key provided: {key}.")).encode()
    error = error_from_body("openai", 401, {}, body)
    assert key not in str(error) + repr(error) + repr(error.details)
    assert "[key]" in str(error)


def test_a_key_of_any_form_is_blanked_where_it_is_known() -> None:
    key = "tenant:plain-words"
    body = json.dumps({"error": {"message": f"bad {key}", "code": key, "deep": [{"k": key}]}})
    error = error_from_body("acme", 401, {"x-request-id": key}, body.encode())
    scrub_error(error, [key])
    assert key not in "".join([str(error), repr(error), repr(vars(error))])


def test_scrubbing_leaves_other_words_alone() -> None:
    text = "The task-based model sk is a key-value store; bearer of news"
    assert scrub(text) == text


# Waiting


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        (
            {
                "retry-after": "Sun, 22 Nov 2026 10:00:30 GMT",
                "date": "Sun, 22 Nov 2026 10:00:00 GMT",
            },
            30.0,
        ),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "17ms"}, 0.017),
        ({"x-ratelimit-remaining-tokens": "9", "x-ratelimit-reset-tokens": "1s"}, None),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-22T10:00:05Z",
                "date": "Sun, 22 Nov 2026 10:00:00 GMT",
            },
            5.0,
        ),
        (
            {
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": "1795341602000",
                "date": "Sun, 22 Nov 2026 10:00:00 GMT",
            },
            2.0,
        ),
    ],
)
def test_how_long_to_wait_is_read_from_the_headers(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_of(headers) == (None if seconds is None else pytest.approx(seconds))


@given(value=st.text(max_size=30))
def test_no_header_breaks_the_reading_of_a_wait(value: str) -> None:
    wait = retry_after_of({"retry-after": value, "date": value})
    assert wait is None or wait >= 0


def test_only_limits_and_request_ids_are_kept_of_the_headers() -> None:
    headers = {
        "x-request-id": "r",
        "retry-after": "1",
        "x-ratelimit-limit-tokens": "9",
        "anthropic-ratelimit-requests-remaining": "8",
        "authorization": "Bearer sk-secret",
        "set-cookie": "session=1",
        "openai-organization": "org",
        "content-type": "application/json",
    }
    assert header_facts(headers).keys() == {
        "x-request-id",
        "retry-after",
        "x-ratelimit-limit-tokens",
        "anthropic-ratelimit-requests-remaining",
    }


# Fuzz

NAMES = ["choices", "message", "delta", "content", "tool_calls", "function", "id", "index", "usage"]
NAMES += ["error", "type", "text", "name", "prompt_tokens", "completion_tokens", "cost", "logprobs"]
NAMES += ["reasoning", "thinking", "input", "content_block", "stop_reason", "finish_reason", "code"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@given(value=json_values, status=st.sampled_from([200, 400, 429, 500]))
def test_no_json_breaks_a_codec(provider: str, value: Any, status: int) -> None:
    with suppress(ProviderError):
        get_codec(provider).decode(status, {}, json.dumps(value).encode())


KINDS = ["message_start", "content_block_start", "content_block_delta", "message_delta", "error"]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@given(values=st.lists(json_values, max_size=5), kinds=st.lists(st.sampled_from(KINDS), min_size=5))
def test_no_stream_of_json_breaks_a_decoder(
    provider: str, values: list[Any], kinds: list[str]
) -> None:
    if provider == "anthropic":
        values = [
            {**value, "type": kind} if isinstance(value, dict) else value
            for value, kind in zip(values, kinds, strict=False)
        ]
    data = "".join(f"data: {json.dumps(value)}\n\n" for value in values).encode()
    with suppress(ProviderError):
        assert list(get_codec(provider).decode_stream([data]))


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@given(data=st.binary(max_size=200))
def test_no_bytes_break_a_codec(provider: str, data: bytes) -> None:
    codec = get_codec(provider)
    for body in (data, b'{"choices":[' + data, b'{"content":' + data):
        with pytest.raises(ProviderError):
            codec.decode(500, {}, body)
        with suppress(ProviderError):
            codec.decode(200, {}, body)
    with suppress(ProviderError):
        list(codec.decode_stream([b"data: ", data, b"\n\n"]))


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_deeply_nested_json_is_a_typed_error_or_an_answer(provider: str) -> None:
    for depth in (50, 300, 900, 20_000):
        deep = '{"a":' * depth + "1" + "}" * depth
        body = f'{{"choices":[{{"delta":{deep},"message":{deep}}}],"error":{deep}}}'.encode()
        with pytest.raises(ProviderError):
            get_codec(provider).decode(500, {}, body)
        with suppress(ProviderError):
            get_codec(provider).decode(200, {}, body)
        with suppress(ProviderError):
            list(get_codec(provider).decode_stream([b"data: " + body + b"\n\n"] * 2))
