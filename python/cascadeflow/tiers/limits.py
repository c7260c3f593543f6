"""What a tier limits: how often somebody may ask, and which features they have."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, Literal, TypeAlias, get_args

from cascadeflow.errors import ConfigurationError
from cascadeflow.tiers import checks

__all__ = ["FEATURES", "MOST_REQUESTS", "MOST_TOKENS", "Feature", "OnLimit", "RateLimits"]

Feature: TypeAlias = Literal["tools", "streaming", "batch", "images", "strict", "cache", "extra"]
"""What a tier may or may not include.

`tools`: `tools=`. `streaming`: `stream` and what is made of it. `batch`: `run_batch`. `images`:
messages that show one. `strict`: quality mode `strict`. `cache`: answers from the agent's cache.
`extra`: `extra=`, fields that go to the provider unread, so that they may ask it for anything.
"""

FEATURES: Final[frozenset[Feature]] = frozenset(get_args(Feature))

OnLimit: TypeAlias = Literal["refuse", "wait"]
"""A request that comes too soon: `RateLimitError` at once, or a place in a queue."""

MOST_REQUESTS: Final = 1_000_000_000
"""One a nanosecond, which is as fine as the limiter's clock is."""

MOST_TOKENS: Final = 1_000_000_000_000_000
"""The largest limit on tokens, and as many as one request may be counted."""

_MOST_BURSTS: Final = 50_000_000
"""How many times its limit a burst may be: the limiter's clock goes no further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """How often somebody may ask. `None` is no limit, 0 a limit of none at all.

    >>> RateLimits(per_minute=20, burst_per_minute=0, per_hour=200).limited
    True

    Attributes:
        per_second: requests a second, as a steady flow and `burst_per_second` beyond it.
        per_minute: requests a minute, likewise with `burst_per_minute`.
        per_hour: requests in any 3,600 seconds, wherever they begin: 10 an hour is never 11.
        per_day: requests in any 86,400 seconds, likewise.
        tokens_per_minute: tokens in any 60 seconds, all kinds, in and out; reserved by estimate
            before a request is sent, and set right afterwards.
        burst_per_second: how many may come at once beyond the one that is due; by default one less
            than the limit, so that a whole second's may come at once. Never more than
            `per_second + burst_per_second` in any second.
        burst_per_minute: likewise.

    Raises:
        ConfigurationError: a value is no whole number of at least 0, or too large, or a burst
            stands without its limit.
    """

    per_second: int | None = None
    per_minute: int | None = None
    per_hour: int | None = None
    per_day: int | None = None
    tokens_per_minute: int | None = None
    burst_per_second: int | None = None
    burst_per_minute: int | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            most = MOST_TOKENS if each.name == "tokens_per_minute" else MOST_REQUESTS
            value = getattr(self, each.name)
            checks.optional_whole(f"RateLimits.{each.name}", value, 0, most)
        for period in ("per_second", "per_minute"):
            limit, burst = getattr(self, period), getattr(self, f"burst_{period}")
            if burst and not limit:
                raise ConfigurationError(
                    f"RateLimits.burst_{period} is beyond {period}, which "
                    f"{'is 0' if limit == 0 else 'is missing'}: "
                    f"give {period} the steady rate, or leave burst_{period} out"
                )
            if burst and burst > _MOST_BURSTS * limit:
                raise ConfigurationError(
                    f"RateLimits.burst_{period} is at most {_MOST_BURSTS:,} times {period}, "
                    f"not {burst:,}"
                )

    @property
    def limited(self) -> bool:
        """Whether anything is limited at all."""
        return any(getattr(self, each.name) is not None for each in fields(self))
