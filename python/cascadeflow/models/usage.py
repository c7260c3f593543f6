"""What a call consumed: one record of disjoint buckets, in which missing is not zero."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Usage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call, in disjoint buckets: no token is counted in two of them.

    `None` means the provider did not say; 0 means it said none. Text, documents and what a provider
    does not tell apart by kind are plain input and output.

    Attributes:
        input_tokens: input that was neither read from nor written to a cache, and is in no bucket
            of its own kind.
        cache_read_tokens: input read from the provider's prompt cache.
        cache_write_5m_tokens: input written to a cache that lasts 5 minutes (or an unnamed time).
        cache_write_1h_tokens: input written to a cache that lasts an hour.
        input_audio_tokens: audio input not read from a cache.
        cache_read_audio_tokens: audio input read from a cache.
        input_image_tokens: image input not read from a cache.
        cache_read_image_tokens: image input read from a cache.
        input_video_tokens: video input not read from a cache.
        cache_read_video_tokens: video input read from a cache.
        output_tokens: visible output: text and tool calls.
        reasoning_tokens: output spent on reasoning, shown or hidden.
        output_audio_tokens: audio output.
        output_image_tokens: image output.
        output_video_tokens: video output.
        citation_tokens: output that quotes sources, where the provider counts it apart.
        requests: counted server-side tool use, such as `{"web_search": 2}`.
    """

    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    input_audio_tokens: int | None = None
    cache_read_audio_tokens: int | None = None
    input_image_tokens: int | None = None
    cache_read_image_tokens: int | None = None
    input_video_tokens: int | None = None
    cache_read_video_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    output_audio_tokens: int | None = None
    output_image_tokens: int | None = None
    output_video_tokens: int | None = None
    citation_tokens: int | None = None
    requests: Mapping[str, int] = EMPTY

    @property
    def total_input_tokens(self) -> int:
        """All input, cached or not, whatever its kind."""
        return _sum(
            self.input_tokens,
            self.cache_read_tokens,
            self.cache_write_5m_tokens,
            self.cache_write_1h_tokens,
            self.input_audio_tokens,
            self.cache_read_audio_tokens,
            self.input_image_tokens,
            self.cache_read_image_tokens,
            self.input_video_tokens,
            self.cache_read_video_tokens,
        )

    @property
    def total_output_tokens(self) -> int:
        """All output, reasoning included."""
        return _sum(
            self.output_tokens,
            self.reasoning_tokens,
            self.output_audio_tokens,
            self.output_image_tokens,
            self.output_video_tokens,
            self.citation_tokens,
        )

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.total_input_tokens + self.total_output_tokens

    def __add__(self, other: Usage) -> Usage:
        """Adds two records bucket by bucket; missing plus missing stays missing."""
        counts = {
            name: None if a is None and b is None else (a or 0) + (b or 0)
            for name in _BUCKETS
            for a, b in ((getattr(self, name), getattr(other, name)),)
        }
        kinds = {*self.requests, *other.requests}
        requests = {
            kind: self.requests.get(kind, 0) + other.requests.get(kind, 0) for kind in kinds
        }
        return Usage(**counts, requests=requests or EMPTY)


_BUCKETS = tuple(f.name for f in fields(Usage) if f.name != "requests")


def _sum(*counts: int | None) -> int:
    return sum(count for count in counts if count is not None)
