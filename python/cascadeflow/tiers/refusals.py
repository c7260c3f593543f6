"""What is said to whoever comes too soon: the error, and the headers of the response."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from cascadeflow.errors import RateLimitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow._native import LimitRefusal, LimitStanding
    from cascadeflow.tiers.directory import Membership
    from cascadeflow.tiers.queue import Behind

__all__ = ["headers_of", "name_of", "refused", "words_of"]

_LONG: Final = 100
"""From so many seconds on, nobody wants to read parts of them."""

_WORDS: Final = {
    "per_second": "{n} requests a second",
    "per_minute": "{n} requests a minute",
    "per_hour": "{n} requests an hour",
    "per_day": "{n} requests a day",
    "tokens_per_minute": "{n} tokens a minute",
    "concurrent": "{n} requests at once",
}


def words_of(limit: str, allowed: int) -> str:
    """Gives a limit in words.

    >>> words_of("per_hour", 10)
    '10 requests an hour'
    """
    words = _WORDS[limit].format(n=f"{allowed:,}")
    return (
        words.replace("requests", "request").replace("tokens", "token") if allowed == 1 else words
    )


def name_of(why: LimitRefusal | None) -> str:
    """Gives whose limit it is and which: `user:u1 per_hour`; empty where nobody knows yet."""
    return "" if why is None else f"{why.account} {why.limit}"


def refused(
    why: LimitRefusal | None,
    member: Membership,
    standings: Sequence[LimitStanding],
    *,
    behind: Behind | None = None,
    full: int | None = None,
    waited_ms: float = 0.0,
) -> RateLimitError:
    """Makes the error of a request that was not let in.

    Args:
        why: the limiter's refusal.
        member: whose request.
        standings: how its limits stand.
        behind: others wait for the same limit before it.
        full: how many may wait, where there was no place left.
        waited_ms: how long it waited.
    """
    tier = member.tier.name
    retry_ns = None if why is None else why.retry_ns
    if behind is not None:
        retry_ns = behind.retry_ns
    permanent = why is not None and why.permanent
    after = None if permanent else _seconds(retry_ns)
    if why is None:
        text = f"the request comes too soon (tier {tier})"
    else:
        text = f"{why.account} has {words_of(why.limit, why.allowed)} (tier {tier})"
    if waited_ms:
        text += f", and the request waited {waited_ms / 1000:.3g} s"
    queued = behind is not None or full is not None
    if full is not None:
        text += f", and {full:,} requests wait already"
    elif behind is not None:
        text += ", and others wait for their turn before it"
    if why is not None and permanent:
        advice = "nothing passes"
        if why.limit == "tokens_per_minute" and why.allowed:
            advice = f"this one may use {why.requested:,}: ask for fewer (max_tokens=)"
    elif after is None:
        advice = "try again when another one has ended"
    else:
        advice = f"try again in {after:,.0f} s" if after >= _LONG else f"try again in {after:.3g} s"
    return RateLimitError(
        f"{text}: {advice}",
        account="" if why is None else why.account,
        limit="queue" if queued or why is None else why.limit,
        allowed=0 if why is None else why.allowed,
        requested=1 if why is None else why.requested,
        retry_after=after,
        permanent=permanent,
        tier=tier,
        waited_ms=waited_ms,
        headers=headers_of(standings, retry_after=after),
    )


def _seconds(nanoseconds: int | None) -> float | None:
    """Seconds, never less than the nanoseconds: who comes then shall pass."""
    if nanoseconds is None:
        return None
    seconds = nanoseconds / 1e9
    return seconds if seconds * 1e9 >= nanoseconds else math.nextafter(seconds, math.inf)


def headers_of(
    standings: Sequence[LimitStanding], *, retry_after: float | None = None
) -> dict[str, str]:
    """Gives the headers that say how limits stand; times are whole seconds, rounded up.

    `X-RateLimit-Limit`, `-Remaining` and `-Reset` are those of the request limit that has the
    fewest left (of several, the one that takes longest to come back), `…-Tokens` those of tokens.

    Args:
        standings: how each limit stands.
        retry_after: seconds after which to come again.
    """
    headers: dict[str, str] = {}
    for suffix, of_tokens in (("", False), ("-Tokens", True)):
        chosen: LimitStanding | None = None
        for standing in standings:
            if standing.limit == "concurrent" or of_tokens != (
                standing.limit == "tokens_per_minute"
            ):
                continue
            if chosen is None or (standing.remaining, -(standing.reset_ns or 0)) < (
                chosen.remaining,
                -(chosen.reset_ns or 0),
            ):
                chosen = standing
        if chosen is not None:
            headers[f"X-RateLimit-Limit{suffix}"] = str(chosen.allowed)
            headers[f"X-RateLimit-Remaining{suffix}"] = str(chosen.remaining)
            headers[f"X-RateLimit-Reset{suffix}"] = str(-(-(chosen.reset_ns or 0) // 10**9))
    if retry_after is not None:
        headers["Retry-After"] = str(math.ceil(retry_after))
    return headers
