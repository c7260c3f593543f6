"""A tier's rate limits as the limiter takes them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascadeflow._native import LimitPolicy
    from cascadeflow.tiers.limits import RateLimits

__all__ = ["policy_of"]


@lru_cache(maxsize=4_096)
def policy_of(limits: RateLimits | None, concurrent: int | None) -> LimitPolicy | None:
    """Gives the limiter's policy, the same object for the same limits.

    A burst that is not stated is one less than its limit: the whole of it may come at once.

    Args:
        limits: how often; `None` is no limit.
        concurrent: how many requests may be under way at once; `None` is no limit.

    Returns:
        The policy, or `None` where nothing is limited.
    """
    if limits is None and concurrent is None:
        return None
    from cascadeflow._native import LimitPolicy  # noqa: PLC0415 - only where something is limited

    if limits is None:
        return LimitPolicy(concurrent=concurrent)
    if concurrent is None and not limits.limited:
        return None
    return LimitPolicy(
        per_second=_flow(limits.per_second, limits.burst_per_second),
        per_minute=_flow(limits.per_minute, limits.burst_per_minute),
        per_hour=limits.per_hour,
        per_day=limits.per_day,
        tokens_per_minute=limits.tokens_per_minute,
        concurrent=concurrent,
    )


def _flow(limit: int | None, burst: int | None) -> tuple[int, int] | None:
    if limit is None:
        return None
    return limit, max(0, limit - 1) if burst is None else burst
