"""Credentials are known by the names they travel under, and taken out wherever they turn up."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.testing.scrub import SCRUBBED, Scrubber, is_secret_name, scrub_headers

KEY = "sk-live-0123456789abcdef"


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "authorization", "Proxy-Authorization", "X-Api-Key", "api-key", "apikey",
        "x-goog-api-key", "Ocp-Apim-Subscription-Key", "X-Auth-Token", "X-Amz-Security-Token",
        "X-Amz-Signature", "X-Amz-Credential", "Cookie", "Set-Cookie", "key", "access_token",
        "client_secret", "X-Session", "password", "accessToken", "AWSAccessKeyId", "apiKey",
    ],
)  # fmt: skip
def test_what_carries_a_credential_is_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "content-type", "x-request-id", "idempotency-key", "x-ratelimit-remaining-tokens",
        "anthropic-ratelimit-tokens-reset", "x-ratelimit-limit-requests", "openai-organization",
        "retry-after", "monkey", "keyboard", "max_tokens",
    ],
)  # fmt: skip
def test_what_carries_none_is_left_for_tests_to_look_at(name: str) -> None:
    assert not is_secret_name(name)


def test_headers_keep_their_names_and_lose_their_credentials() -> None:
    assert scrub_headers({"X-Api-Key": KEY, "accept": "*/*"}) == {
        "X-Api-Key": SCRUBBED,
        "accept": "*/*",
    }


def test_a_key_is_taken_out_of_everything_that_belongs_to_its_request() -> None:
    url = f"https://user:{KEY}-2@example.org/v1/chat?key={KEY}-3&alt=sse&page={KEY}"
    scrubber = Scrubber({"Authorization": f"Bearer {KEY}"}, url)
    assert scrubber.url(url) == "https://example.org/v1/chat?key=***&alt=sse&page=***"
    assert scrubber.text(f"wrong key {KEY}, {KEY}-2 or {KEY}-3") == "wrong key ***, *** or ***"
    assert scrubber.data(f"{KEY}".encode()) == b"***"
    assert scrubber.headers({"X-Echo": f"got {KEY}", "Set-Cookie": "a=b"}) == {
        "x-echo": "got ***",
        "set-cookie": "***",
    }


def test_a_percent_encoded_key_is_found_in_both_forms() -> None:
    scrubber = Scrubber({}, "https://example.org/?key=abc%2Fdef%2B123")
    assert scrubber.text("abc%2Fdef%2B123 and abc/def+123") == "*** and ***"


def test_names_of_ones_own_are_taken_for_credentials_too() -> None:
    scrubber = Scrubber({"X-Tenant": "tenant-99"}, "https://a/?tenant=b", more_names=["x-tenant"])
    assert scrubber.headers({"X-Tenant": "tenant-99"}) == {"x-tenant": "***"}
    assert scrubber.text("of tenant-99") == "of ***"


def test_a_very_short_value_does_not_tear_holes_into_texts() -> None:
    scrubber = Scrubber({"api-key": "x"}, "https://example.org/")
    assert scrubber.text("an example text") == "an example text"
    assert scrubber.headers({"api-key": "x"}) == {"api-key": "***"}


@given(st.binary(max_size=40), st.binary(max_size=40), st.lists(st.integers(0, 200), max_size=6))
def test_a_key_is_found_across_the_pieces_of_a_body(
    before: bytes, after: bytes, cuts: list[int]
) -> None:
    body = before + KEY.encode() + after
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in pairwise(edges)]
    scrubbed = Scrubber({"authorization": f"Bearer {KEY}"}, "https://a/").chunks(pieces)
    assert b"".join(scrubbed) == before + b"***" + after


@given(st.lists(st.binary(max_size=10), max_size=6))
def test_pieces_without_a_key_stay_as_they_came(pieces: list[bytes]) -> None:
    scrubber = Scrubber({"authorization": f"Bearer {KEY}"}, "https://a/")
    assert scrubber.chunks(pieces) == tuple(pieces)
