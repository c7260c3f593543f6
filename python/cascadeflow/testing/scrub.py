"""Credentials out of what is kept: known by the name of the header or parameter they travel in."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["SCRUBBED", "Scrubber", "is_secret_name", "scrub_headers"]

SCRUBBED: Final = "***"
"""What stands where a credential was."""

_SECRET_NAME = re.compile(
    r"(^|[-_.])(auth|authorization|authentication|bearer|cookie2?|credential|key|apikey|jwt|"
    r"passwd|password|secret|session|sig|signature|token)s?($|[-_.])"
)
# Named like credentials, and none: without these a recording would lose what tests look at.
_NOT_SECRET = frozenset({"idempotency-key", "x-idempotency-key", "sec-websocket-key"})
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_COUNTS_TOKENS = re.compile(r"(ratelimit|rate-limit|-tokens-|tokens$)")

_SHORTEST_SECRET: Final = 6
"""A shorter value is not looked for elsewhere: it would tear holes into ordinary text."""


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Tells whether what is called so holds a credential.

    >>> is_secret_name("X-Api-Key"), is_secret_name("x-ratelimit-remaining-tokens")
    (True, False)
    """
    lowered = _CAMEL.sub("-", name).lower()
    if lowered in _NOT_SECRET or _COUNTS_TOKENS.search(lowered):
        return False
    return _SECRET_NAME.search(lowered) is not None


def scrub_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Gives the headers with every credential replaced by `***`."""
    return {name: SCRUBBED if is_secret_name(name) else value for name, value in headers.items()}


class Scrubber:
    """Knows the credentials of one request and takes them out of everything that belongs to it."""

    __slots__ = ("_more_names", "_secrets", "_secrets_bytes")

    def __init__(
        self, headers: Mapping[str, str], url: str, *, more_names: Collection[str] = ()
    ) -> None:
        """Collects the credentials.

        Args:
            headers: of the request, credentials included.
            url: of the request, credentials included.
            more_names: further headers and parameters that hold credentials, in any case.
        """
        self._more_names = frozenset(name.lower() for name in more_names)
        secrets: set[str] = set()
        for name, value in headers.items():
            if self._is_secret(name):
                # "Bearer sk-…": the scheme is none of it, and the bare key may turn up elsewhere.
                secrets.update({value, *value.split()[-1:]})
        parts = urlsplit(url)
        for parameter in parts.query.split("&"):
            name, _, value = parameter.partition("=")
            if self._is_secret(unquote_plus(name)):
                secrets.update({value, unquote_plus(value)})
        user_info, at, _ = parts.netloc.rpartition("@")
        if at:
            secrets.update({user_info, *user_info.split(":", 1)[1:]})
        longest_first = sorted(
            (secret for secret in secrets if len(secret) >= _SHORTEST_SECRET),
            key=len,
            reverse=True,
        )
        self._secrets = tuple(longest_first)
        self._secrets_bytes = tuple(secret.encode("utf-8", "replace") for secret in longest_first)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers, names lower-cased, each credential replaced."""
        return {
            name.lower(): SCRUBBED if self._is_secret(name) else self.text(value)
            for name, value in headers.items()
        }

    def url(self, url: str) -> str:
        """The URL without user information, each credential in its query replaced."""
        parts = urlsplit(url)
        query = "&".join(
            f"{name}{equals}{SCRUBBED}"
            if equals and self._is_secret(unquote_plus(name))
            else parameter
            for parameter in parts.query.split("&")
            for name, equals, _ in (parameter.partition("="),)
        )
        host = parts.netloc.rpartition("@")[2]
        return self.text(urlunsplit((parts.scheme, host, parts.path, query, "")))

    def text(self, text: str) -> str:
        """The text with every known credential replaced."""
        for secret in self._secrets:
            text = text.replace(secret, SCRUBBED)
        return text

    def data(self, data: bytes) -> bytes:
        """The bytes with every known credential replaced."""
        for secret in self._secrets_bytes:
            data = data.replace(secret, SCRUBBED.encode())
        return data

    def chunks(self, chunks: Iterable[bytes]) -> tuple[bytes, ...]:
        """The pieces of a body; joined into one when a credential lies across two of them."""
        scrubbed = tuple(self.data(chunk) for chunk in chunks)
        joined = b"".join(scrubbed)
        whole = self.data(joined)
        return scrubbed if whole == joined else (whole,)

    def _is_secret(self, name: str) -> bool:
        return name.lower() in self._more_names or is_secret_name(name)
