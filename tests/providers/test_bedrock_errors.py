"""What Bedrock's exceptions mean: the exception's name counts, wherever it stands."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cascadeflow import errors
from cascadeflow.errors import MalformedResponseError, ProviderError
from cascadeflow.providers.codecs import get_codec

AMAZON = "http://internal.amazon.com/coral/com.amazon.bedrock/"

CASES = [
    (429, "ThrottlingException", "Too many requests, please wait", "RateLimitedError"),
    (429, "ThrottlingException", "Too many tokens, please wait", "RateLimitedError"),
    (400, "ServiceQuotaExceededException", "exceeds the service quota", "RateLimitedError"),
    (429, "ModelNotReadyException", "The model is not ready", "RateLimitedError"),
    (403, "AccessDeniedException", "no access to the model", "PermissionDeniedError"),
    (403, "ExpiredTokenException", "The security token is expired", "AuthenticationError"),
    (403, "UnrecognizedClientException", "The security token is invalid", "AuthenticationError"),
    (403, "InvalidSignatureException", "does not match", "AuthenticationError"),
    (403, "IncompleteSignatureException", "must contain", "AuthenticationError"),
    (403, "MissingAuthenticationTokenException", "Missing Token", "AuthenticationError"),
    (404, "ResourceNotFoundException", "Model not found", "ModelNotFoundError"),
    (400, "ValidationException", "The provided model identifier is invalid.", "ModelNotFoundError"),
    (400, "ValidationException", "The text field is blank", "BadRequestError"),
    (400, "ValidationException", "Input is too long for requested model.", "ContextTooLongError"),
    (
        400,
        "ValidationException",
        "Input Tokens Exceeded: Number of input tokens exceeds maximum length.",
        "ContextTooLongError",
    ),
    (
        400,
        "ValidationException",
        "The model returned the following errors: prompt is too long: 210000 tokens > 200000",
        "ContextTooLongError",
    ),
    (
        400,
        "ValidationException",
        "Output blocked by content filtering policy",
        "ContentFilteredError",
    ),
    (408, "ModelTimeoutException", "took too long", "ProviderTimeoutError"),
    (424, "ModelErrorException", "an error while processing the model", "OverloadedError"),
    (500, "InternalServerException", "Retry your request", "OverloadedError"),
    (503, "ServiceUnavailableException", "is not available", "OverloadedError"),
    (400, "BrandNewException", "", "BadRequestError"),
]

LATER = {"RateLimitedError", "OverloadedError", "ProviderTimeoutError"}


def failure(status: int, headers: dict[str, str], body: Any) -> ProviderError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ProviderError) as caught:
        get_codec("bedrock").decode(status, {"x-amzn-requestid": "r-7", **headers}, data)
    return caught.value


@pytest.mark.parametrize(("status", "kind", "message", "name"), CASES)
@pytest.mark.parametrize("place", ["header", "type"])
def test_an_exception_becomes_one_class(
    status: int, kind: str, message: str, name: str, place: str
) -> None:
    body: dict[str, Any] = {"message": message}
    headers: dict[str, str] = {}
    if place == "header":
        headers["x-amzn-errortype"] = f"{kind}:{AMAZON}"
    else:
        body["__type"] = f"com.amazon.coral.service#{kind}"
    error = failure(status, headers, body)
    assert type(error) is getattr(errors, name)
    assert (error.provider, error.status, error.request_id) == ("bedrock", status, "r-7")
    assert error.code == kind
    assert error.retryable == (name in LATER)
    assert error.details == body
    assert message in str(error)
    # The model had begun, or nobody can say whether it had.
    ran = kind in ("ModelErrorException", "ModelTimeoutException")
    assert error.billed is (None if ran else False)


def test_a_bedrock_key_that_is_not_valid_is_told_apart_from_a_right_that_is_missing() -> None:
    said = "Authentication failed: Please make sure your API Key is valid."
    error = failure(403, {}, {"Message": said})
    assert type(error) is errors.AuthenticationError
    assert said in str(error)
    assert error.details == {"Message": said}
    denied = failure(403, {}, {"Message": "User is not authorized"})
    assert type(denied) is errors.PermissionDeniedError


@pytest.mark.parametrize(
    ("status", "body", "name", "billed"),
    [
        (502, b"<html>Bad Gateway</html>", "OverloadedError", None),
        (504, b"{}", "OverloadedError", None),
        (500, b"", "OverloadedError", False),
        (400, b"[1]", "BadRequestError", False),
        (400, {"error": {"message": "a gateway's own"}}, "BadRequestError", False),
        (429, {"message": None}, "RateLimitedError", False),
    ],
)
def test_what_stands_between_may_answer_in_its_own_way(
    status: int, body: Any, name: str, billed: bool | None
) -> None:
    error = failure(status, {}, body)
    assert type(error) is getattr(errors, name)
    assert error.billed is billed
    if isinstance(body, dict) and "error" in body:
        assert "a gateway's own" in str(error)


def test_a_key_that_is_echoed_is_blanked() -> None:
    key = "sk-proj-abcdef0123456789"
    error = failure(403, {}, {"message": f"bad {key}", "deep": [{"k": key}]})
    assert key not in str(error) + repr(error) + repr(error.details)


def test_an_exception_in_an_answer_s_place_may_have_been_billed() -> None:
    body = {"__type": "com.amazon.coral#ThrottlingException", "message": "slow down"}
    error = failure(200, {}, body)
    assert type(error) is errors.RateLimitedError
    assert error.billed is None


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"output": {}}', b'{"output": {"message": {"content": "x"}}}', b"\xff"],
)
def test_a_response_that_is_none_is_a_typed_error(body: bytes) -> None:
    error = failure(200, {}, body)
    assert type(error) is MalformedResponseError
    assert error.billed is None
