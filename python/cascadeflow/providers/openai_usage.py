"""The `usage` object of OpenAI chat completions and its dialects, as disjoint buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models.usage import Usage
from cascadeflow.money import from_usd
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_cost", "read_usage"]

_MOST_TOKENS: Final = 2**53
"""A larger count is no count: it could not be told from noise, nor be priced."""

_MOST_TICKS: Final = 10**19
"""More than one answer can cost."""

_NOTHING_SAID: Final = Usage()


def read_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Reads a `usage` object.

    The protocol counts `prompt_tokens` and `completion_tokens` whole and then says of what they
    consist. What is read from a cache, written to one, audio, an image, video or reasoning is taken
    out of the whole, so that nothing is counted twice and the buckets add up to what the provider
    counted. Where the parts are larger than the whole (some routers report tokens as both written
    and read), the whole stands. A dialect that counts reasoning beside `completion_tokens` shows it
    in `total_tokens`; Perplexity's deep research counts it, its citations and its searches apart.

    Returns:
        The usage, or `None` when the object counts nothing.
    """
    prompt = _count(raw, "prompt_tokens")
    completion = _count(raw, "completion_tokens")
    details = _mapping(raw, "prompt_tokens_details")
    cached = _count(details, "cached_tokens")
    if cached is None:
        cached = _cached_elsewhere(raw)
    written = _count(details, "cache_write_tokens")
    audio = _count(details, "audio_tokens")
    image, video = _count(details, "image_tokens"), _count(details, "video_tokens")
    if prompt is None:
        missed = _count(raw, "prompt_cache_miss_tokens")
        prompt = None if missed is None else missed + (cached or 0)
    if prompt is not None:
        plain = prompt
        cached, plain = _take(cached, plain)
        written, plain = _take(written, plain)
        audio, plain = _take(audio, plain)
        image, plain = _take(image, plain)
        video, plain = _take(video, plain)
        prompt = plain

    made = _mapping(raw, "completion_tokens_details")
    reasoning = _count(made, "reasoning_tokens")
    researched = reasoning is None and {"num_search_queries", "reasoning_tokens"} <= raw.keys()
    if reasoning is None:
        reasoning = _count(raw, "reasoning_tokens")
    spoken = _count(made, "audio_tokens")
    drawn, filmed = _count(made, "image_tokens"), _count(made, "video_tokens")
    if completion is not None:
        if not (researched or _counted_beside(raw, reasoning)):
            reasoning, completion = _take(reasoning, completion)
        spoken, completion = _take(spoken, completion)
        drawn, completion = _take(drawn, completion)
        filmed, completion = _take(filmed, completion)

    usage = Usage(
        input_tokens=prompt,
        cache_read_tokens=cached,
        cache_write_5m_tokens=written,
        input_audio_tokens=audio,
        input_image_tokens=image,
        input_video_tokens=video,
        output_tokens=completion,
        reasoning_tokens=reasoning,
        output_audio_tokens=spoken,
        output_image_tokens=drawn,
        output_video_tokens=filmed,
        citation_tokens=_count(raw, "citation_tokens") if researched else None,
        requests=_requests(raw, researched=researched) or EMPTY,
    )
    return None if usage == _NOTHING_SAID else usage


def read_cost(raw: Mapping[str, Any]) -> int | None:
    """Reads what the provider itself says it charged, in nanodollars, rounded up.

    OpenRouter states `cost`; with the customer's own key at the upstream provider (`is_byok`) that
    is its fee alone, and the upstream's bill stands beside it. Perplexity states a table with a
    total. xAI states ticks, of which a dollar has 10,000,000,000
    (https://docs.x.ai/developers/cost-tracking).
    """
    ticks = raw.get("cost_in_usd_ticks")
    if type(ticks) is int and 0 <= ticks < _MOST_TICKS:
        return -(-ticks // 10)
    cost = raw.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    charged = _nanodollars(cost)
    if charged is not None and raw.get("is_byok") is True:
        upstream = _nanodollars(_mapping(raw, "cost_details").get("upstream_inference_cost"))
        return None if upstream is None else charged + upstream
    return charged


def _counted_beside(raw: Mapping[str, Any], reasoning: int | None) -> bool:
    """Whether `completion_tokens` leaves reasoning out, as xAI's does and its total shows."""
    if not reasoning:
        return False
    total = _count(raw, "total_tokens")
    prompt = _count(raw, "prompt_tokens") or 0
    return (
        total is not None and total == prompt + (_count(raw, "completion_tokens") or 0) + reasoning
    )


def _take(part: int | None, whole: int) -> tuple[int | None, int]:
    """Takes a part out of what is left of the whole, and no more than there is."""
    if part is None:
        return None, whole
    taken = min(part, whole)
    return taken, whole - taken


def _requests(raw: Mapping[str, Any], *, researched: bool) -> dict[str, int]:
    """Counted server-side tool use: OpenRouter's name, the one it had before, and Perplexity's.

    Other models of Perplexity search, too; that is in their fee for the call.
    """
    queries = _count(raw, "num_search_queries") if researched else None
    if queries:
        return {"web_search": queries}
    for name in ("server_tool_use_details", "server_tool_use"):
        searches = _count(_mapping(raw, name), "web_search_requests")
        if searches:
            return {"web_search": searches}
    return {}


def _cached_elsewhere(raw: Mapping[str, Any]) -> int | None:
    """Finds what was read from a cache under the names of DeepSeek, Together and early Mistral."""
    for name in ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens"):
        cached = _count(raw, name)
        if cached is not None:
            return cached
    return None


def _count(raw: Mapping[str, Any], name: str) -> int | None:
    value = raw.get(name)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:  # a bool is no count
        return None
    return value if 0 <= value <= _MOST_TOKENS else None


_NOTHING: Final[Mapping[str, Any]] = {}


def _mapping(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    return value if isinstance(value, dict) else _NOTHING


def _nanodollars(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # More dollars than one answer can cost are no amount.
    return from_usd(value) if 0 <= value < 1e9 else None  # noqa: PLR2004
