"""Errors, mapped once: what a provider's refusal means, in this package's classes.

Nothing here does I/O, and no text that leaves here holds a key: known keys and whatever looks like
one are blanked, even where the server echoes them.
"""

from __future__ import annotations

import json
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import (
    AuthenticationError,
    BadRequestError,
    ContentFilteredError,
    ContextTooLongError,
    MalformedResponseError,
    ModelNotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitedError,
)
from cascadeflow.providers.scrubbing import scrub, scrub_body, scrub_error, scrub_value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "error_from_body",
    "error_from_object",
    "header_facts",
    "malformed",
    "request_id_of",
    "retry_after_of",
    "scrub",
    "scrub_body",
    "scrub_error",
    "scrub_value",
]

_LONGEST_QUOTE: Final = 400

_CONTEXT: Final = re.compile(
    r"context[ _]?(?:length|window|limit|size)|maximum context|prompt is too long|too many tokens"
    r"|input (?:is )?too long|reduce the length|exceeds? the (?:maximum|max|model's)[^.]*tokens"
    r"|token count[^.]*exceeds|input length and `?max_tokens`? exceed|prompt_too_long",
    re.IGNORECASE,
)
_FILTER: Final = re.compile(
    r"content[_ ](?:filter|policy|management)|responsible ?ai|moderation|flagged|safety system"
    r"|bio_policy",
    re.IGNORECASE,
)
_POLICIES: Final = ("content management policy", "usage policy", "unsafe or sensitive content")
"""Words by which messages say that a policy was broken: Azure's, OpenAI's, Z.ai's."""
_CREDIT: Final = re.compile(
    r"insufficient[_ ](?:quota|balance|credit|funds)|credit balance|out of credit|billing_"
    r"|check your plan and billing|payment required|exceeded your monthly|spending limit",
    re.IGNORECASE,
)

_BY_TYPE: Final[Mapping[str, int]] = {
    "authentication_error": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "insufficient_quota": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "timeout_error": 408,
    "request_too_large": 413,
    "invalid_request_error": 400,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "too_many_requests": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_server_error": 500,
    "overloaded_error": 529,
    "vector_store_timeout": 504,
    # What OpenAI finds wrong with a request only after it has answered with status 200.
    **dict.fromkeys(
        (
            "bio_policy",
            "data_residency_mismatch",
            "empty_image_file",
            "failed_to_download_image",
            "image_content_policy_violation",
            "image_file_not_found",
            "image_file_too_large",
            "image_parse_error",
            "image_too_large",
            "image_too_small",
            "invalid_base64_image",
            "invalid_image",
            "invalid_image_format",
            "invalid_image_mode",
            "invalid_image_url",
            "invalid_prompt",
            "unsupported_image_media_type",
        ),
        400,
    ),
}
"""The error types that name a status when the response itself has none (an error in a stream)."""

_BY_STATUS: Final[Mapping[int, type[ProviderError]]] = {
    401: AuthenticationError,
    402: PermissionDeniedError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: ProviderTimeoutError,
    409: OverloadedError,  # a conflict with the same request still running: come again
    425: OverloadedError,
    429: RateLimitedError,
    498: OverloadedError,  # Groq: the flex tier has no capacity
}

_GAVE_UP: Final = frozenset({408, 499, 502, 504, 520, 524})
"""Whoever stood between gave up waiting, or lost the answer: behind it the request may have run."""

_ADVICE: Final[tuple[tuple[type[ProviderError], str], ...]] = (
    (AuthenticationError, "check the key"),
    (PermissionDeniedError, "check what the key may use, and the account's credit"),
    (ModelNotFoundError, "check the model's name and the base URL"),
    (ContextTooLongError, "shorten the messages or use a model with a larger context window"),
    (ContentFilteredError, "the provider's filter refused the content: rephrase it"),
    (BadRequestError, "the provider refused the request's form"),
    (RateLimitedError, "wait, or ask for a higher limit"),
    (OverloadedError, "try again later or elsewhere"),
    (ProviderTimeoutError, "try again later or elsewhere"),
)


def error_from_body(
    provider: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    by_status: Mapping[int, type[ProviderError]] | None = None,
) -> ProviderError:
    """Reads a response whose status says that it is an error, whatever its body is."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        words = body[: 2 * _LONGEST_QUOTE].decode("utf-8", "replace").strip()
        parsed = {"message": words} if words and not words.startswith("<") else {}
    billed = None if status in _GAVE_UP else False
    return error_from_object(
        provider, parsed, status=status, headers=headers, billed=billed, by_status=by_status
    )


def error_from_object(
    provider: str,
    parsed: Any,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    billed: bool | None = False,
    by_status: Mapping[int, type[ProviderError]] | None = None,
) -> ProviderError:
    """Reads an error object, from a response's body or out of a stream.

    Args:
        provider: whose words these are.
        parsed: the JSON value; any form is taken.
        status: the HTTP status; without one, or with a 2xx, the object's own is used.
        headers: the response's headers, names lower-cased.
        billed: whether the provider charged for what led here.
        by_status: what a status means where a protocol uses it for something of its own.
    """
    headers = headers or {}
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]  # Google, where a stream was asked for
    words = _words(parsed)
    kind, code, message = words["type"], words["code"], words["message"]
    effective = status if status is not None and status >= 300 else _status_in(parsed, kind, code)  # noqa: PLR2004
    own = by_status.get(effective) if by_status is not None and effective is not None else None
    cls = own or _classify(effective, kind, code, message)
    quoted = scrub(message)[:_LONGEST_QUOTE]
    advice = next((text for base, text in _ADVICE if issubclass(cls, base)), "")
    if effective is not None and 300 <= effective < 400:  # noqa: PLR2004
        advice = "the base URL is probably not the API's"
    said = f": {quoted}" if quoted else ""
    answered = f"answered {effective}" if effective else "reported an error"
    wait = retry_after_of(headers)
    error = cls(
        f"{provider} {answered}{said} ({advice})",
        provider=provider,
        model="",
        status=status if status is not None and status >= 300 else effective,  # noqa: PLR2004
        request_id=request_id_of(headers) or words["request_id"] or None,
        code=scrub(code or kind) or None,
        retry_after=_retry_delay(parsed) if wait is None else wait,
        billed=billed,
        retryable=_server_says(headers),
    )
    if isinstance(parsed, dict):
        error.details = scrub_value(parsed)
    return error


def malformed(provider: str, why: str, *, body: bytes = b"", status: int = 200) -> ProviderError:
    """Makes the error for bytes that the protocol does not allow. It may well have been billed."""
    looks = body[:200].lstrip().lower()
    if looks.startswith((b"<!doctype", b"<html")):
        why = f"{why}: it is a web page, so the base URL is probably not the API's"
    return MalformedResponseError(
        f"{provider} sent a response that its protocol does not allow: {why}",
        provider=provider,
        model="",
        status=status,
        billed=None,
    )


def _classify(status: int | None, kind: str, code: str, message: str) -> type[ProviderError]:
    texts = f"{kind} {code} {message}"
    cls: type[ProviderError]
    if code == "API_KEY_INVALID":
        cls = AuthenticationError  # Google says so with a 400
    elif status in (400, 413, 422, None):
        cls = OverloadedError if status is None else BadRequestError
        if _CREDIT.search(texts):
            cls = PermissionDeniedError
        elif _CONTEXT.search(texts):
            cls = ContextTooLongError
        elif _FILTER.search(f"{kind} {code}") or any(each in message for each in _POLICIES):
            cls = ContentFilteredError
    elif status == 429 and (  # noqa: PLR2004
        _CREDIT.search(f"{kind} {code}")
        # Google says this of every limit; only its other words mean that waiting will not help.
        or ("plan and billing" in message and kind != "RESOURCE_EXHAUSTED")
        or "credits are depleted" in message
        or "spending cap" in message
    ):
        cls = PermissionDeniedError
    elif status == 403 and _FILTER.search(texts):  # noqa: PLR2004 - OpenRouter's moderation
        cls = ContentFilteredError
    elif status >= 500:  # noqa: PLR2004
        cls = OverloadedError
    elif status < 400:  # noqa: PLR2004
        cls = MalformedResponseError
    else:
        cls = _BY_STATUS.get(status, BadRequestError)
    return cls


def _words(parsed: Any) -> dict[str, str]:
    """Finds type, code and message in the forms that providers use."""
    found = {"type": "", "code": "", "message": "", "request_id": ""}
    layers: list[Any] = [parsed]
    if isinstance(parsed, dict):
        inner = parsed.get("error")
        if inner is None:
            inner = parsed.get("errors")  # Cloudflare
        if isinstance(inner, list):
            inner = inner[0] if inner else None
        layers = [inner, parsed] if inner is not None else [parsed]
    for layer in layers:
        if isinstance(layer, str):
            found["message"] = found["message"] or layer
        if not isinstance(layer, dict):
            continue
        for name, known in found.items():
            value = layer.get(name)
            if known or value is None or (name == "type" and value == "error"):
                continue
            found[name] = value if isinstance(value, str) else json.dumps(value)
        if not found["message"] and layer.get("detail") is not None:
            detail = layer["detail"]
            found["message"] = detail if isinstance(detail, str) else json.dumps(detail)
    _read_google(layers[0], found)
    _read_router(layers[0], found)
    return found


def _read_router(error: Any, found: dict[str, str]) -> None:
    """Reads OpenRouter's words: what the provider behind it said is what went wrong."""
    metadata = error.get("metadata") if isinstance(error, dict) else None
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, str) and raw and raw not in found["message"]:
        found["message"] = f"{found['message']}: {raw}" if found["message"] else raw


def _read_google(error: Any, found: dict[str, str]) -> None:
    """Reads Google's words: `code` repeats the HTTP status; `status` and a detail say more."""
    status = error.get("status") if isinstance(error, dict) else None
    if isinstance(status, str) and status.isupper():
        found["type"] = found["type"] or status
        if not found["code"] or found["code"].isdecimal():
            reason = _detail(error, "reason")
            found["code"] = reason if isinstance(reason, str) else status


def _detail(error: Mapping[str, Any], name: str) -> Any:
    """Finds a field of the first detail that has it."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and name in detail:
            return detail[name]
    return None


def _retry_delay(parsed: Any) -> float | None:
    """Google says in the body how long to wait."""
    error = parsed.get("error") if isinstance(parsed, dict) else None
    delay = _detail(error, "retryDelay") if isinstance(error, dict) else None
    return _seconds(delay, {}) if isinstance(delay, str) else None


def _status_in(parsed: Any, kind: str, code: str) -> int | None:
    inner = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    if isinstance(inner, dict):
        for name in ("status_code", "code", "status"):
            value = inner.get(name)
            if isinstance(value, str) and value.isdecimal() and len(value) < 9:  # noqa: PLR2004
                value = int(value)
            if isinstance(value, int) and 400 <= value < 600:  # noqa: PLR2004
                return value
    return _BY_TYPE.get(code) or _BY_TYPE.get(kind)


def _server_says(headers: Mapping[str, str]) -> bool | None:
    """OpenAI and Anthropic may say outright whether to try again."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", ""))


# Headers


_REQUEST_ID_HEADERS: Final = (
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-amzn-requestid",
    "x-debug-trace-id",  # Cohere
    "mistral-correlation-id",
)

_KEPT_HEADERS: Final = frozenset({*_REQUEST_ID_HEADERS, "retry-after", "retry-after-ms"})


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Gives the provider's id of the HTTP request, when it sent one."""
    for name in _REQUEST_ID_HEADERS:
        value = headers.get(name)
        if value:
            return value
    return None


def header_facts(headers: Mapping[str, str]) -> dict[str, str]:
    """Keeps the headers that say something of limits or of the request's id, and no other."""
    return {
        name: value
        for name, value in headers.items()
        if name in _KEPT_HEADERS
        or "ratelimit" in name
        or "rate-limit" in name
        or name.endswith(("-call-limit", "-call-remaining"))  # Cohere's trial keys
    }


_DURATION: Final = re.compile(
    r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?"
)


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Gives the seconds that the provider asks to wait, by `Retry-After` or its rate limits.

    A date is measured against the response's own `Date`, so that no clock is needed.

    >>> retry_after_of({"retry-after": "7"})
    7.0
    >>> retry_after_of({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m2.5s"})
    62.5
    """
    wait = _seconds(headers.get("retry-after-ms"), headers, unit=0.001)
    if wait is None:
        wait = _seconds(headers.get("retry-after"), headers)
    if wait is not None:
        return wait
    waits: list[float] = []
    for name, value in headers.items():
        if value == "0" and "ratelimit" in name and "remaining" in name:
            reset = _seconds(headers.get(name.replace("remaining", "reset")), headers)
            if reset is not None:
                waits.append(reset)
    return max(waits, default=None)


def _seconds(value: str | None, headers: Mapping[str, str], unit: float = 1.0) -> float | None:
    if not value:
        return None
    try:
        number = float(value)
    except ValueError:
        pass
    else:
        if not 0 <= number < float("inf"):
            return None
        if number > 1e9:  # noqa: PLR2004 - a moment since 1970, in seconds or milliseconds
            then = number / 1000 if number > 1e12 else number  # noqa: PLR2004
            return _until(then, headers)
        return number * unit
    if (match := _DURATION.fullmatch(value)) and any(match.groups()):
        hours, minutes, seconds, milliseconds = (float(group or 0) for group in match.groups())
        return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    moment = _moment(value)
    return None if moment is None else _until(moment, headers)


def _moment(value: str) -> float | None:
    from datetime import datetime  # noqa: PLC0415 - only the rare date form needs it

    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            return read(value).timestamp()
        except ValueError:
            continue
    return None


def _until(moment: float, headers: Mapping[str, str]) -> float | None:
    date = headers.get("date")
    now = _moment(date) if date else None
    return None if now is None else max(0.0, moment - now)
