"""What chat completions and their dialects count, by kind."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import require_price
from cascadeflow.models.usage import Usage
from cascadeflow.providers.openai_usage import read_usage

RESEARCH = {
    "prompt_tokens": 33,
    "completion_tokens": 7_163,
    "total_tokens": 7_196,
    "citation_tokens": 20_016,
    "num_search_queries": 18,
    "reasoning_tokens": 73_997,
}


def test_each_kind_is_taken_out_of_the_whole() -> None:
    usage = read_usage(
        {
            "prompt_tokens": 1_000,
            "completion_tokens": 500,
            "prompt_tokens_details": {
                "cached_tokens": 100,
                "audio_tokens": 20,
                "image_tokens": 300,
                "video_tokens": 50,
            },
            "completion_tokens_details": {
                "reasoning_tokens": 40,
                "audio_tokens": 10,
                "image_tokens": 200,
                "video_tokens": 0,
            },
        }
    )
    assert usage == Usage(
        input_tokens=530,
        cache_read_tokens=100,
        input_audio_tokens=20,
        input_image_tokens=300,
        input_video_tokens=50,
        output_tokens=250,
        reasoning_tokens=40,
        output_audio_tokens=10,
        output_image_tokens=200,
        output_video_tokens=0,
    )


def test_perplexitys_deep_research_counts_beside_the_answer() -> None:
    usage = read_usage(RESEARCH)
    assert usage == Usage(
        input_tokens=33,
        output_tokens=7_163,
        reasoning_tokens=73_997,
        citation_tokens=20_016,
        requests={"web_search": 18},
    )
    price = require_price(
        ModelConfig("sonar-deep-research", "perplexity"), at=datetime(2026, 11, 22, tzinfo=UTC)
    )
    dollars = 33 * 2 + 7_163 * 8 + 73_997 * 3 + 20_016 * 2 + 18 * 5_000
    assert price.cost(usage) == dollars * 1_000


def test_perplexitys_other_models_search_within_their_fee() -> None:
    usage = read_usage({name: n for name, n in RESEARCH.items() if name != "reasoning_tokens"})
    assert usage == Usage(input_tokens=33, output_tokens=7_163)


def test_what_counts_nothing_is_no_usage() -> None:
    assert read_usage({}) is None
    assert read_usage({"prompt_tokens": None, "cost": 1.0}) is None
    assert read_usage({"prompt_tokens": 0}) == Usage(input_tokens=0)


COUNT = st.none() | st.integers(0, 60)
KINDS = ("cached", "cache_write", "audio", "image", "video", "reasoning", "text")
DETAILS = st.fixed_dictionaries({f"{kind}_tokens": COUNT for kind in KINDS})


@given(st.integers(0, 100), st.integers(0, 100), DETAILS, DETAILS)
def test_the_buckets_add_up_to_what_was_counted_whatever_the_parts(
    prompt: int, completion: int, into: dict[str, Any], out: dict[str, Any]
) -> None:
    usage = read_usage(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "prompt_tokens_details": into,
            "completion_tokens_details": out,
        }
    )
    assert usage is not None
    assert usage.total_input_tokens == prompt
    assert usage.total_output_tokens == completion
    counts = [getattr(usage, each.name) for each in fields(Usage) if each.name != "requests"]
    assert all(count is None or count >= 0 for count in counts)
