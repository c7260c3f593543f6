"""Keys are blanked in whatever an error carries, however the text that holds them was written.

Nobody should find a key in a log because a server sent it back.
"""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cascadeflow.errors import ProviderError

__all__ = ["scrub", "scrub_body", "scrub_error", "scrub_value"]

_KEY_LIKE: Final = re.compile(
    r"(?:\b(?:sk|pk|rk|gsk|xai|pplx|csk|hf|fw|tgp)[-_][A-Za-z0-9_*.\-]{8,})"
    r"|(?:\b(?:AIza|ya29\.)[A-Za-z0-9_\-.]{16,})"
    r"|(?:(?i:bearer)\s+[^\s\"'<>,]{8,})"
)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Blanks keys in a text: the given ones, and what has the form of one.

    >>> scrub("bad key: sk-proj-0123456789abcdef, tenant-7-secret", ["tenant-7-secret"])
    'bad key: [key], [key]'
    """
    for form in _forms(secrets):
        text = text.replace(form, "[key]")
    return _KEY_LIKE.sub("[key]", text)


_ESCAPE: Final = re.compile("%[0-9A-F]{2}")
_URL_SAFE: Final = str.maketrans("+/", "-_")
_SHORTEST_PART: Final = 8
"""Fewer letters of a key tell nothing, and may be anything."""


def _forms(secrets: Iterable[str]) -> list[str]:
    """Gives keys as texts may show them: as they are, or escaped as others write text."""
    forms: set[str] = set()
    for secret in filter(None, secrets):
        data = secret.encode("utf-8", "surrogatepass")
        written = {secret, quote(data, safe=""), quote_plus(data), html.escape(secret)}
        written |= {_ESCAPE.sub(lambda found: found[0].lower(), form) for form in written}
        for _ in range(3):  # JSON, and JSON that stands as text in JSON
            written |= {json.dumps(form)[1:-1] for form in written}
        forms |= written | {form.replace("/", "\\/") for form in written}
        forms.update(_in_base64(data))
    return sorted(forms, key=len, reverse=True)


def _in_base64(data: bytes) -> Iterable[str]:
    """Gives what base64 makes of bytes, wherever in a text they stand: all but the outer letters.

    Three bytes are four letters, so there are three ways.
    """
    for lead, skipped in enumerate((0, 2, 3)):
        whole = (lead + len(data)) // 3 * 4
        letters = base64.b64encode(bytes(lead) + data).decode()[skipped:whole]
        if len(letters) >= _SHORTEST_PART:
            yield letters
            yield letters.translate(_URL_SAFE)


_DEEPEST: Final = 32


def scrub_body(body: bytes, secrets: Iterable[str]) -> bytes:
    """Blanks the given keys in a response's body, also where JSON has escaped them."""
    kept = tuple(filter(None, secrets))
    forms = _forms(kept)
    for form in forms:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            known = form.encode(encoding, "surrogatepass")
            body = body.replace(known, "[key]".encode(encoding))
    try:
        parsed = json.loads(body) if kept else None
        said = json.dumps(parsed, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body
    if any(form in said for form in forms):  # each letter can be escaped, or none
        return json.dumps(scrub_value(parsed, kept)).encode()
    return body


def scrub_value(value: Any, secrets: Iterable[str] = (), depth: int = _DEEPEST) -> Any:
    """Blanks keys in every text of a JSON value; what is nested deeper than any error is cut."""
    if isinstance(value, str):
        return scrub(value, secrets)
    if isinstance(value, (list, dict)) and not depth:
        return "[cut]"
    if isinstance(value, list):
        return [scrub_value(item, secrets, depth - 1) for item in value]
    if isinstance(value, dict):
        return {
            scrub(name, secrets) if isinstance(name, str) else name: scrub_value(
                item, secrets, depth - 1
            )
            for name, item in value.items()
        }
    return value


def scrub_error(error: ProviderError, secrets: Iterable[str]) -> None:
    """Blanks the given keys in everything that an error carries."""
    kept = tuple(secret for secret in secrets if secret)
    error.args = tuple(_scrub_end(scrub(str(arg), kept), kept) for arg in error.args)
    error.details = scrub_value(error.details, kept)
    if error.code is not None:
        error.code = scrub(error.code, kept)
    if error.request_id is not None:
        error.request_id = scrub(error.request_id, kept)


def _scrub_end(text: str, secrets: Iterable[str]) -> str:
    """Blanks the beginning of a key with which a quote ends, because it was cut there."""
    for form in _forms(secrets):
        for length in range(len(form) - 1, _SHORTEST_PART - 1, -1):
            text = text.replace(f"{form[:length]} (", "[key] (")
    return text
