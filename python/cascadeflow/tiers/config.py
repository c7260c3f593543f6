"""What a tier is: which models, how much, how often, how well. Frozen records, and nothing else."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Final, Literal, TypeAlias, get_args

from cascadeflow.config import BudgetConfig, CacheScope, QualityConfig, QualityMode
from cascadeflow.money import Amount

__all__ = ["FEATURES", "Feature", "OnLimit", "RateLimits", "TierConfig", "UserProfile"]

Feature: TypeAlias = Literal["tools", "streaming", "batch", "images", "strict", "cache", "extra"]
"""What a tier may or may not include.

`tools`: `tools=`. `streaming`: `stream` and what is made of it. `batch`: `run_batch`. `images`:
messages that show one. `strict`: quality mode `strict`. `cache`: answers from the agent's cache.
`extra`: `extra=`, fields that go to the provider unread, so that they may ask it for anything.
"""

FEATURES: Final[frozenset[Feature]] = frozenset(get_args(Feature))

OnLimit: TypeAlias = Literal["refuse", "wait"]
"""A request that comes too soon: `RateLimitError` at once, or a place in a queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """How often somebody may ask. `None` is no limit, 0 a limit of none at all.

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
    """

    per_second: int | None = None
    per_minute: int | None = None
    per_hour: int | None = None
    per_day: int | None = None
    tokens_per_minute: int | None = None
    burst_per_second: int | None = None
    burst_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class TierConfig:
    """What the users of one tier get. Everything is enforced before anything is sent.

    >>> TierConfig.free(max_tokens=512).max_tokens
    512

    Attributes:
        name: the tier's name, such as `"free"`.
        models: which of the agent's models may draft, verify, judge and stand in: ids
            (`"openai:gpt-5-mini"`), names, or patterns (`"openai:*"`, `"*-mini"`); `None` is all.
        blocked_models: which may not, whatever `models` says; likewise.
        budget: what each user of the tier may spend; a bare amount is a total, for ever. A budget
            given to a user by name holds over it.
        tier_budget: what all users of the tier may spend together.
        rate_limits: how often each user may ask.
        tier_rate_limits: how often all users of the tier together may.
        max_concurrency: how many requests of one user may be under way at once.
        tier_max_concurrency: how many of all users of the tier together.
        quality_mode: how drafts are judged, unless the call says otherwise; `None` is the agent's.
        quality_config: the same in full; one of the two.
        max_tokens: the most output tokens of a call: a request that asks for more is lowered to it,
            one that says nothing is sent it.
        features: what it includes; all of it unless said.
        cache_scope: who shares answers; `None` is the agent's.
        domains: what its requests may be about (`domain=`); `None` is anything. A request that
            says nothing is `"general"`.
        priority: its weight among those who wait, 1 to 1,000: of two tiers that wait for the same
            limit, one of priority 10 is served ten times for each time one of 1 is.
        on_limit: `refuse` raises `RateLimitError` at once, `wait` waits up to `max_wait`.
        max_wait: seconds; under `wait`.
    """

    name: str
    _: KW_ONLY
    models: tuple[str, ...] | None = None
    blocked_models: tuple[str, ...] = ()
    budget: BudgetConfig | Amount | None = None
    tier_budget: BudgetConfig | Amount | None = None
    rate_limits: RateLimits | None = None
    tier_rate_limits: RateLimits | None = None
    max_concurrency: int | None = None
    tier_max_concurrency: int | None = None
    quality_mode: QualityMode | None = None
    quality_config: QualityConfig | None = None
    max_tokens: int | None = None
    features: frozenset[Feature] = FEATURES
    cache_scope: CacheScope | None = None
    domains: tuple[str, ...] | None = None
    priority: int = 1
    on_limit: OnLimit = "refuse"
    max_wait: float = 30.0


@dataclass(frozen=True, slots=True)
class UserProfile:
    """One user's tier, and what is different for this user alone.

    Every field of `TierConfig` but `name`, `tier_budget`, `tier_rate_limits` and
    `tier_max_concurrency` may be given; what is not is the tier's. `None` is a value like any
    other: `max_tokens=None` lifts the tier's limit.

    Attributes:
        tier: the user's tier; `None` is the default tier.
    """

    tier: str | None = None
