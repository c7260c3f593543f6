"""genai-prices as an oracle: its own arithmetic on our records."""

from __future__ import annotations

import decimal
from typing import TYPE_CHECKING, Any

from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, Provider
from genai_prices.types import Usage as InclusiveUsage

if TYPE_CHECKING:
    from datetime import datetime

    from cascadeflow.models.usage import Usage

MODELS: list[tuple[Provider, ModelInfo]] = [
    (provider, model) for provider in providers for model in provider.models
]

REQUESTS = {
    "web_search": ("web_searches", "web_searches_kcount"),
    "file_search": ("storage_searches", "storage_searches_kcount"),
}

_SIDES = {
    "input_tokens": "input_mtok",
    "cache_read_tokens": "input_mtok",
    "cache_write_5m_tokens": "input_mtok",
    "cache_write_1h_tokens": "input_mtok",
    "input_audio_tokens": "input_mtok",
    "cache_read_audio_tokens": "input_mtok",
    "input_image_tokens": "input_mtok",
    "cache_read_image_tokens": "input_mtok",
    "input_video_tokens": "input_mtok",
    "cache_read_video_tokens": "input_mtok",
    "output_tokens": "output_mtok",
    "reasoning_tokens": "output_mtok",
    "output_audio_tokens": "output_mtok",
    "output_image_tokens": "output_mtok",
    "output_video_tokens": "output_mtok",
    "citation_tokens": "output_mtok",
}


def inclusive(usage: Usage) -> InclusiveUsage:
    """Gives disjoint buckets as genai-prices counts them: each kind within the more general one."""

    def count(*names: str) -> int:
        return sum(getattr(usage, name) or 0 for name in names)

    return InclusiveUsage(
        input_tokens=usage.total_input_tokens,
        cache_read_tokens=count(
            "cache_read_tokens",
            "cache_read_audio_tokens",
            "cache_read_image_tokens",
            "cache_read_video_tokens",
        ),
        cache_write_tokens=count("cache_write_5m_tokens", "cache_write_1h_tokens"),
        cache_write_5m_tokens=count("cache_write_5m_tokens"),
        cache_write_1h_tokens=count("cache_write_1h_tokens"),
        input_audio_tokens=count("input_audio_tokens", "cache_read_audio_tokens"),
        cache_audio_read_tokens=count("cache_read_audio_tokens"),
        input_image_tokens=count("input_image_tokens", "cache_read_image_tokens"),
        cache_image_read_tokens=count("cache_read_image_tokens"),
        input_video_tokens=count("input_video_tokens", "cache_read_video_tokens"),
        cache_video_read_tokens=count("cache_read_video_tokens"),
        output_tokens=usage.total_output_tokens,
        output_reasoning_tokens=count("reasoning_tokens"),
        output_audio_tokens=count("output_audio_tokens"),
        output_image_tokens=count("output_image_tokens"),
        output_video_tokens=count("output_video_tokens"),
        output_citation_tokens=count("citation_tokens"),
        **{REQUESTS[kind][0]: count for kind, count in usage.requests.items()},
    )


def nanodollars(
    model: ModelInfo, provider: Provider, usage: Usage, at: datetime, context: Any
) -> int:
    """Gives genai-prices' cost, rounded up to the nanodollar."""
    with decimal.localcontext(prec=60):
        total = model.calc_price(
            inclusive(usage), provider, genai_request_timestamp=at, price_context=context
        ).total_price
        return int((total * 10**9).to_integral_value(rounding=decimal.ROUND_CEILING))


def unpriced(price: ModelPrice, usage: Usage) -> list[str]:
    """Gives what was used and has no price in genai-prices, which it counts as nothing."""
    names = [
        name for name, key in _SIDES.items() if getattr(usage, name) and getattr(price, key) is None
    ]
    return names + [
        kind
        for kind, count in usage.requests.items()
        if count and getattr(price, REQUESTS[kind][1]) is None
    ]
