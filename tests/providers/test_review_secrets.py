"""A key that a server sends back, however it is written there, is in no error."""

from __future__ import annotations

import base64
import html
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest

from cascadeflow.errors import ProviderError
from cascadeflow.providers.codecs import get_codec
from cascadeflow.providers.error_mapping import scrub, scrub_body, scrub_error

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = ['tenant-7/s+cret="q&zz<9>longer~value', "plainTenantKey0123456789abcdef"]
PROVIDERS = ["openai", "anthropic", "gemini", "bedrock", "cohere", "openai-responses"]
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in an address": lambda key: quote(key, safe=""),
    "in a form": quote_plus,
    "in a page": html.escape,
    "in base64": lambda key: base64.b64encode(key.encode()).decode(),
    "in basic authentication": lambda key: base64.b64encode(f"me:{key}".encode()).decode(),
    "in base64 for addresses": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "in JSON within JSON": lambda key: json.dumps({"key": key}),
}


def bodies(shown: str) -> list[dict[str, Any]]:
    return [
        {"error": {"message": f"bad key {shown}!"}},
        {"error": {"message": "x" * 390 + shown}},  # a quote ends in the middle of it
        {"error": {"message": "bad", "sent": {shown: [shown]}}},
        {"error": {"type": shown, "code": shown, "message": "bad"}},
        {"detail": [{"loc": ["header"], "input": shown}], "request_id": shown},
    ]


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


def carried_by(error: ProviderError) -> str:
    details = json.dumps(error.details, ensure_ascii=False)
    return f"{error} {error!r} {error.code} {error.request_id} {details}"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", KEYS)
def test_no_error_holds_a_key_that_the_body_holds(key: str, form: str) -> None:
    shown = FORMS[form](key)
    parts = [shown[at : at + 12] for at in range(2, len(shown) - 14)]
    if form == "in JSON within JSON":
        parts = [key, json.dumps(key)[1:-1]]
    for body in bodies(shown):
        text = json.dumps(body)
        inside = json.dumps(shown)[1:-1]
        for data in (
            text.encode(),
            text.replace(inside, escaped(shown)).encode(),
            text.encode("utf-16"),
            f"bad key {shown}".encode(),
        ):
            for provider in PROVIDERS:
                with pytest.raises(ProviderError) as caught:
                    get_codec(provider).decode(401, {}, scrub_body(data, [key]))
                scrub_error(caught.value, [key])
                held = carried_by(caught.value)
                assert not [part for part in parts if part in held], (body, provider)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_in_a_streams_error_is_blanked_where_the_quote_was_cut(key: str) -> None:
    fault = json.dumps({"error": {"message": "x" * 385 + "#"}}).replace("#", escaped(key))
    for name in ("openai", "anthropic", "gemini"):
        with pytest.raises(ProviderError) as caught:
            list(get_codec(name).decode_stream([f"data: {fault}\n\n".encode()]))
        scrub_error(caught.value, [key])
        assert key[:8] not in carried_by(caught.value)


def test_what_holds_no_key_is_left_as_it_came() -> None:
    body = b' {"error" : {"message": "no \\u00e9 key"} } '
    assert scrub_body(body, KEYS) == body
    assert scrub_body(body, ["", ""]) == body
    assert scrub("an ordinary sentence", KEYS) == "an ordinary sentence"
    odd = "\udc80odd-secret-text"  # a byte of the environment that is no UTF-8
    assert scrub_body(body, [odd]) == body
