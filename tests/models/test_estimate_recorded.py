"""Recorded streams that are cut anywhere, reckoned by what came of them."""

from __future__ import annotations

import base64
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.models.recorded import STREAM_HEADERS, Exchange, countable, exchanges, kind_of

from cascadeflow.models.config import ModelConfig
from cascadeflow.models.estimate import estimate_usage
from cascadeflow.providers.codecs import get_codec
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from cascadeflow.models.completion import Completion
    from cascadeflow.models.usage import Usage

ROOT = Path(__file__).parents[2]
ASKED = ChatRequest("m", (Message("user", "What is the capital of Norway?"),))
A_WORD = 8
"""A beginning may have a few tokens more than the whole: those of the word that was cut."""


@pytest.fixture(scope="module")
def streams(recordings: Path) -> list[Exchange]:
    return [each for each in exchanges(recordings) if is_stream(each) and countable(each)]


def is_stream(exchange: Exchange) -> bool:
    named = "event-stream" in (exchange.row.get("content_type") or "")
    return "response_base64" in exchange.row or (named and "response_text" in exchange.row)


def content(exchange: Exchange) -> bytes:
    if "response_base64" in exchange.row:
        return base64.b64decode(exchange.row["response_base64"])
    return str(exchange.row["response_text"]).encode()


def cut(exchange: Exchange, length: int) -> Completion | None:
    """The answer as far as it stood when the connection broke."""
    headers = STREAM_HEADERS if "response_base64" in exchange.row else {}
    decoder = get_codec(exchange.provider).decoder(headers)
    decoder.feed(content(exchange)[:length])
    return decoder.partial()


def estimated(exchange: Exchange, partial: Completion | None) -> Usage:
    model = ModelConfig(exchange.asked, exchange.provider)
    usage = estimate_usage(model, ASKED, partial)
    assert usage is not None
    return usage


def test_a_stream_that_is_cut_is_reckoned_between_nothing_and_the_whole(
    streams: list[Exchange],
) -> None:
    chance = random.Random(4)
    assert streams
    grew = 0
    for exchange in streams:
        billed = exchange.completion.usage
        assert billed is not None
        counted = estimated(exchange, replace(exchange.completion, usage=None))
        most = max(counted.total_output_tokens + A_WORD, billed.total_output_tokens)
        length = len(content(exchange))
        before = -1
        for place in sorted(chance.randrange(length) for _ in range(25)):
            usage = estimated(exchange, cut(exchange, place))
            assert 0 <= usage.total_output_tokens <= most, (exchange.row["id"], place)
            assert usage.total_output_tokens >= before - A_WORD, (exchange.row["id"], place)
            grew += usage.total_output_tokens > before
            before = usage.total_output_tokens
            assert usage.total_input_tokens > 0
    assert grew > 3 * len(streams)


def test_what_anthropic_says_of_the_input_first_is_the_estimate_s_input(
    streams: list[Exchange],
) -> None:
    said = [each for each in streams if each.provider == "anthropic"]
    assert said
    for exchange in said:
        text = content(exchange)
        after_start = text.index(b"\n\n", text.index(b"message_start")) + 2
        usage = estimated(exchange, cut(exchange, after_start + 40))
        told = re.search(rb'"input_tokens":\s*(\d+)', text)
        assert told is not None
        assert usage.input_tokens == int(told[1])
        assert usage.cache_read_tokens is not None


def documented() -> dict[tuple[str, str], float]:
    """The p95 of the table in docs/tokens.md, by family and kind of answer."""
    section = (ROOT / "docs" / "tokens.md").read_text().partition("## An answer that broke off")[2]
    found = {}
    for line in section.partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"[\d.]+%", cells[-1]):
            found[cells[0], cells[1]] = float(cells[-1].rstrip("%")) / 100
    return found


def test_the_whole_is_reckoned_within_the_documented_error_of_its_family(
    streams: list[Exchange],
) -> None:
    errors = documented()
    assert len(errors) > 10
    compared, over = 0, []
    for exchange in streams:
        completion, usage = exchange.completion, exchange.completion.usage
        assert usage is not None
        kind = kind_of(exchange)
        if kind not in errors:
            continue
        compared += 1
        found = estimated(exchange, replace(completion, usage=None)).total_output_tokens
        off = abs(found - usage.total_output_tokens)
        if off > max(A_WORD, errors[kind] * usage.total_output_tokens):
            over.append((exchange.provider, exchange.row["id"], found, usage.total_output_tokens))
    assert compared > 0.8 * len(streams)
    assert len(over) <= 0.1 * compared, over
