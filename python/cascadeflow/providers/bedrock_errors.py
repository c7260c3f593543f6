"""What Amazon Bedrock's exceptions mean, in this package's classes.

An exception's name says more than the status beside it: an expired credential and a model that may
not be used are both a 403. It stands in the header `x-amzn-errortype`, in the body's `__type`, or
in the headers of an event stream's frame.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import (
    AuthenticationError,
    ContentFilteredError,
    ContextTooLongError,
    ModelNotFoundError,
    OverloadedError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitedError,
)
from cascadeflow.providers.error_mapping import (
    error_from_body,
    error_from_object,
    scrub,
    scrub_value,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["error_from_response", "error_in_stream"]

_EXCEPTIONS: Final[Mapping[str, tuple[int, type[ProviderError] | None]]] = {
    "accessdeniedexception": (403, None),
    "expiredtoken": (403, AuthenticationError),
    "expiredtokenexception": (403, AuthenticationError),
    "incompletesignature": (403, AuthenticationError),
    "incompletesignatureexception": (403, AuthenticationError),
    "internalserverexception": (500, None),
    "invalidclienttokenid": (403, AuthenticationError),
    "invalidsignatureexception": (403, AuthenticationError),
    "missingauthenticationtoken": (403, AuthenticationError),
    "missingauthenticationtokenexception": (403, AuthenticationError),
    "modelerrorexception": (424, OverloadedError),
    "modelnotreadyexception": (429, None),
    "modelstreamerrorexception": (424, OverloadedError),
    "modeltimeoutexception": (408, ProviderTimeoutError),
    "resourcenotfoundexception": (404, None),
    "servicequotaexceededexception": (400, RateLimitedError),
    "serviceunavailableexception": (503, None),
    "signaturedoesnotmatch": (403, AuthenticationError),
    "throttlingexception": (429, RateLimitedError),
    "unrecognizedclientexception": (403, AuthenticationError),
    "validationexception": (400, None),
}
"""The status of an exception that comes without one, and its class where the status' is another."""

_WORDS: Final[tuple[tuple[type[ProviderError], re.Pattern[str]], ...]] = (
    (ContextTooLongError, re.compile(r"input tokens? exceed|input is too long", re.IGNORECASE)),
    (ModelNotFoundError, re.compile(r"model identifier is invalid", re.IGNORECASE)),
    (ContentFilteredError, re.compile(r"blocked by (?:\w+ )?content filter", re.IGNORECASE)),
)
"""What a `ValidationException` says where others have a status or a type of its own."""

_BAD_REQUEST: Final = 400
_FORBIDDEN: Final = 403
_GAVE_UP: Final = frozenset({408, 499, 502, 504})
_RAN: Final = frozenset({"modelerrorexception", "modeltimeoutexception"})
"""The model had begun: nobody knows what of it is billed."""


def error_from_response(
    provider: str, status: int, headers: Mapping[str, str], body: bytes
) -> ProviderError:
    """Reads a response whose status says that it is an error, whatever its body is."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        return error_from_body(provider, status, headers, body)
    kind = _name(headers.get("x-amzn-errortype")) or _name(parsed.get("__type"))
    billed = None if kind.lower() in _RAN or status in _GAVE_UP else False
    return _error(provider, kind, parsed, headers, status=status, billed=billed)


def error_in_stream(
    provider: str, kind: Any, parsed: Any, headers: Mapping[str, str]
) -> ProviderError:
    """Reads an exception that came in an answer's place, or in the middle of one.

    Args:
        provider: whose words these are.
        kind: the exception's name, by the frame's headers.
        parsed: the frame's payload.
        headers: the response's headers, names lower-cased.
    """
    kind = _name(kind)
    status, _ = _EXCEPTIONS.get(kind.lower(), (None, None))
    fields = parsed if isinstance(parsed, dict) else {}
    return _error(provider, kind, fields, headers, status=status, billed=None)


def _error(
    provider: str,
    kind: str,
    parsed: Mapping[str, Any],
    headers: Mapping[str, str],
    *,
    status: int | None,
    billed: bool | None,
) -> ProviderError:
    message = _message(parsed)
    cls = _class_of(kind, status, message)
    error = error_from_object(
        provider,
        {"message": message},
        status=status,
        headers=headers,
        billed=billed,
        by_status={status: cls} if cls is not None and status is not None else None,
    )
    error.code = scrub(kind) or None
    error.details = scrub_value(parsed)
    return error


def _class_of(kind: str, status: int | None, message: str) -> type[ProviderError] | None:
    _, cls = _EXCEPTIONS.get(kind.lower(), (None, None))
    if cls is None and status == _BAD_REQUEST:
        cls = next((cls for cls, words in _WORDS if words.search(message)), None)
    if cls is None and status == _FORBIDDEN and message.startswith("Authentication failed"):
        cls = AuthenticationError  # what is said of a Bedrock API key that is not valid
    return cls


def _name(value: Any) -> str:
    """An exception's name without its namespace: `com.amazon.coral#X:http://…` is `X`."""
    return value.partition(":")[0].rpartition("#")[2].strip() if isinstance(value, str) else ""


def _message(parsed: Mapping[str, Any]) -> str:
    """What checks signatures writes `Message`; a gateway in between may have a form of its own."""
    inner = parsed.get("error")
    found = [parsed.get("message"), parsed.get("Message"), inner]
    if isinstance(inner, dict):
        found.append(inner.get("message"))
    return next((each for each in found if isinstance(each, str) and each), "")
