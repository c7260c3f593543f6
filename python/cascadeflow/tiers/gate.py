"""`Tiers`: the tiers of an agent, who is in which, and the gate that every request passes."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cascadeflow._native import Permit, RateLimiter
from cascadeflow.clock import SystemClock
from cascadeflow.tiers import checks
from cascadeflow.tiers.config import INHERIT, TierConfig
from cascadeflow.tiers.directory import Directory
from cascadeflow.tiers.limits import MOST_TOKENS
from cascadeflow.tiers.policies import policy_of
from cascadeflow.tiers.queue import Behind, FairQueue, NotServed, QueueFull, TimedOut
from cascadeflow.tiers.refusals import headers_of, name_of, refused
from cascadeflow.types import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cascadeflow._native import LimitPolicy, LimitRefusal, LimitStanding
    from cascadeflow.clock import Clock
    from cascadeflow.config import BudgetConfig
    from cascadeflow.tiers.config import UserProfile
    from cascadeflow.tiers.directory import Membership, TierResolver
    from cascadeflow.tiers.limits import RateLimits
    from cascadeflow.tiers.waiting import Accounts

__all__ = ["Entry", "Tiers"]

_MOST_REMEMBERED: Final = 10_000
_EVICT_FROM: Final = 10_000
_EVERY: Final = 0xFF
"""Of so many requests and one, one looks whether there are users to forget."""

_ANONYMOUS: Final = "anonymous"


class Entry:
    """A request that was let in: what it took, until it leaves."""

    __slots__ = ("_accounts", "_permit", "_queue", "counts_tokens", "left", "waited_ms")

    def __init__(
        self,
        queue: FairQueue,
        permit: Permit | None,
        accounts: Accounts,
        counts_tokens: bool,  # noqa: FBT001 - made for every request, by position
        waited_ms: float,
    ) -> None:
        self._queue = queue
        self._permit = permit
        self._accounts = accounts
        self.counts_tokens = counts_tokens
        self.waited_ms = waited_ms
        self.left = permit is None

    def extend(self, tokens: int) -> str | None:
        """Reserves more tokens, or says which limit has not so many left."""
        if self._permit is None:
            return None
        refusal = self._permit.extend(min(tokens, MOST_TOKENS), self._queue.now_ns())
        return None if refusal is None else name_of(refusal)

    def correct(self, tokens: int) -> None:
        """Says how many tokens it used in all; more than a limit can be is as many as it can be."""
        if self._permit is not None:
            self._permit.correct(min(tokens, MOST_TOKENS), self._queue.now_ns())

    def cancel(self) -> None:
        """Leaves without having asked anybody: its place in hours and days is free again."""
        if self._permit is not None and not self.left:
            self.left = True
            self._permit.cancel(self._queue.now_ns())
            self._queue.returned(self._accounts)

    def leave(self) -> None:
        """Ends its leases. Leaving twice is leaving once."""
        if self._permit is not None and not self.left:
            self.left = True
            self._permit.release()
            self._queue.returned(self._accounts)

    def standings(self) -> list[LimitStanding]:
        """How every limit that it passed stands."""
        return [] if self._permit is None else self._permit.standings(self._queue.now_ns())

    def headers(self, standings: Sequence[LimitStanding] | None = None) -> dict[str, str]:
        """Gives the `X-RateLimit-*` values of these standings, or of how they stand now."""
        return headers_of(self.standings() if standings is None else standings)


class _Lease(Entry):
    """One that others may wait for the end of: a stream that nobody read to its end, for one."""

    __slots__ = ()

    def __del__(self) -> None:
        if not self.left:
            self.leave()


@dataclass(frozen=True, slots=True)
class _Gate:
    """What the requests of one tier must pass.

    Attributes:
        tier: whose; kept, so that its id is nobody else's.
        user: the policy of each user's own account.
        shared: the accounts that it shares with others.
        entry: what a request that passed is made.
        counts_tokens: whether any of its limits counts tokens.
    """

    tier: TierConfig
    user: LimitPolicy | None
    shared: Accounts
    entry: type[Entry]
    counts_tokens: bool


class Tiers:
    """Which user may do what, and how often. One may serve several agents, loops and threads.

    >>> tiers = Tiers({"free": TierConfig.free(), "pro": TierConfig.pro()})
    >>> tiers.default
    'free'
    """

    def __init__(
        self,
        tiers: Mapping[str, TierConfig] | None = None,
        *,
        default: str | None = None,
        resolver: TierResolver | None = None,
        profiles: Mapping[str, UserProfile | str] | None = None,
        ttl: float = 60.0,
        resolver_timeout: float = 2.0,
        rate_limits: RateLimits | None = None,
        max_concurrency: int | None = None,
        queue_size: int = 1000,
        clock: Clock | None = None,
    ) -> None:
        """Sets the tiers up.

        Args:
            tiers: by name; without them the presets free, pro and enterprise.
            default: the tier of whoever is in none; `"free"` where there is one, else the only one.
            resolver: says which tier a user is in: a function of the user id, async or not.
            profiles: single users' tiers and exceptions.
            ttl: seconds for which the resolver's answer holds.
            resolver_timeout: seconds that an async resolver may take.
            rate_limits: how often all users of all tiers together may ask.
            max_concurrency: how many requests of all of them may be under way at once.
            queue_size: how many requests may wait for their turn, under `on_limit="wait"`.
            clock: the time.

        Raises:
            ConfigurationError: a tier, its name or a number cannot be.
        """
        if tiers is None:
            presets = (TierConfig.free(), TierConfig.pro(), TierConfig.enterprise())
            tiers = {tier.name: tier for tier in presets}
        given: Any = tiers  # whatever the annotation says
        if default is None and isinstance(given, Mapping):
            default = next(iter(given)) if len(given) == 1 else "free"
        self._clock = clock or SystemClock()
        self._directory = Directory(
            given,
            default=default or "",
            resolver=resolver,
            profiles=profiles,
            ttl=ttl,
            timeout=resolver_timeout,
            clock=self._clock,
        )
        self._rate_limits = rate_limits
        self._max_concurrency = max_concurrency
        self.known: Callable[[str | None, str | None], Membership | None] = self._directory.known
        """Gives a user's tier without waiting, by user id and what the call says; `None` where the
        resolver must be asked (`find`). Bound here, for it is on every request's way."""
        self._own = policy_of(rate_limits, max_concurrency)
        self.queue_size = checks.whole("queue_size", queue_size, 0)
        """How many requests may wait for their turn; and as many more for money."""
        self.own_tracker: Any = None
        """Counts the money of agents that were given no tracker of their own."""
        self._given_profiles = tuple(profiles or ())
        self._exceptions = resolver is not None or bool(profiles)
        self.default = default or ""
        self.domains = DOMAINS.union(
            *(tier.domains or () for tier in self._directory.tiers.values())
        )
        self._renew()
        _every.add(self)

    def _renew(self) -> None:
        """Begins with nothing counted: the leases that a forked child finds are its parent's."""
        self._limiter = RateLimiter()
        self._queue = FairQueue(self._limiter, self._clock, size=self.queue_size)
        self._gates: dict[int, _Gate] = {}
        self._entered = 0
        self._evict_at = _EVICT_FROM
        self._evicting = threading.Lock()

    # Who is who

    @property
    def tiers(self) -> Mapping[str, TierConfig]:
        """The tiers, by name."""
        return self._directory.tiers

    async def find(self, user_id: str | None, user_tier: str | None) -> Membership:
        """Gives a user's tier, and asks the resolver where it must.

        Raises:
            InvalidRequestError: a tier is named although there is a resolver.
        """
        return await self._directory.find(user_id, user_tier)

    def profile(self, user_id: str) -> UserProfile | None:
        """What was set for this user alone."""
        return self._directory.profile(user_id)

    def set_profile(self, user_id: str, profile: UserProfile | str | None) -> None:
        """Sets one user's tier or exceptions from the next request on; `None` takes them back.

        A tier that is not configured is the default tier, as everywhere, and the log is told.

        Raises:
            ConfigurationError: it is no profile and no tier's name, or the user id is no text.
        """
        self._directory.set_profile(user_id, profile)
        if getattr(profile, "budget", None) not in {None, INHERIT}:
            self._exceptions = True

    def forget(self, user_id: str | None = None) -> None:
        """Asks the resolver anew, about one user or about everybody."""
        self._directory.forget(user_id)

    @property
    def has_budgets(self) -> bool:
        """Whether any of them, or an exception that a user may have, says what may be spent."""
        return self._exceptions or any(
            tier.budget is not None or tier.tier_budget is not None for tier in self.tiers.values()
        )

    @property
    def user_budgets(self) -> list[BudgetConfig]:
        """Every budget that a user has, as far as they are known now."""
        given = [tier.user_budget for tier in self.tiers.values()]
        for user_id in self._given_profiles:
            profile = self._directory.profile(user_id)
            if profile is not None:
                tier = self.tiers.get(profile.tier or self.default, self.tiers[self.default])
                given.append(profile.over(tier).user_budget)
        return [budget for budget in given if budget is not None]

    # How often

    def _gate_of(self, tier: TierConfig) -> _Gate:
        """Gives what a tier's requests must pass."""
        found = self._gates.get(id(tier))
        if found is None:
            shared: list[tuple[str, LimitPolicy]] = []
            whole = policy_of(tier.tier_rate_limits, tier.tier_max_concurrency)
            if whole is not None:
                shared.append((f"tier:{tier.name}", whole))
            if self._own is not None:
                shared.append(("global", self._own))
            leased = (tier.max_concurrency, tier.tier_max_concurrency, self._max_concurrency)
            counted = (tier.rate_limits, tier.tier_rate_limits, self._rate_limits)
            if len(self._gates) >= _MOST_REMEMBERED:
                self._gates.clear()
            found = self._gates[id(tier)] = _Gate(
                tier,
                policy_of(tier.rate_limits, tier.max_concurrency),
                tuple(shared),
                Entry if leased == (None, None, None) else _Lease,
                any(limits and limits.tokens_per_minute is not None for limits in counted),
            )
        return found

    def counts_tokens(self, member: Membership) -> bool:
        """Whether any limit of a user's counts tokens."""
        return self._gate_of(member.tier).counts_tokens

    def try_enter(self, member: Membership, tokens: int = 0) -> Entry | None:
        """Lets a request in at once; `None` where it may wait for its turn instead.

        Args:
            member: whose request.
            tokens: how many it is reckoned to use.

        Raises:
            RateLimitError: it comes too soon, and its tier does not wait, or it never fits.
        """
        gate = self._gates.get(id(member.tier)) or self._gate_of(member.tier)
        accounts = gate.shared
        if gate.user is not None:
            accounts = ((f"user:{member.user_id or _ANONYMOUS}", gate.user), *accounts)
        if not accounts:
            return Entry(self._queue, None, (), False, 0.0)  # noqa: FBT003 - counts no tokens
        got = self._queue.try_now(accounts, tokens)
        if type(got) is Permit:
            self._entered += 1
            if not self._entered & _EVERY:
                self._tidy()
            return gate.entry(self._queue, got, accounts, gate.counts_tokens, 0.0)
        behind = got if isinstance(got, Behind) else None
        why = got.refusal if isinstance(got, Behind) else got
        if member.tier.on_limit == "wait" and (behind is not None or not why.permanent):
            return None
        standings = self._limiter.standings(accounts, self._queue.now_ns())
        raise refused(why, member, standings, behind=behind)

    async def wait(
        self,
        member: Membership,
        tokens: int = 0,
        *,
        on_wait: Callable[[str], None] | None = None,
    ) -> Entry:
        """Waits for a request's turn, as long as its tier lets it.

        Args:
            member: whose request.
            tokens: how many it is reckoned to use.
            on_wait: is told which limit it waits for, if it does not pass at once.

        Raises:
            RateLimitError: its time was up, or there is no place to wait in.
        """
        tier = member.tier
        gate = self._gate_of(tier)
        accounts = gate.shared
        if gate.user is not None:
            accounts = ((f"user:{member.user_id or _ANONYMOUS}", gate.user), *accounts)
        began = self._clock.monotonic()
        try:
            got: Permit | LimitRefusal | Behind | None = await self._queue.wait(
                accounts,
                tokens,
                tier=tier.name,
                weight=tier.priority,
                user=f"user:{member.user_id or _ANONYMOUS}",
                deadline=began + tier.max_wait,
                on_wait=None if on_wait is None else lambda why: on_wait(name_of(why)),
            )
            full = None
        except TimedOut:
            got, full = self._queue.try_now(accounts, tokens), None  # how long it would still take
        except NotServed as error:
            got = error.refusal
            full = self.queue_size if isinstance(error, QueueFull) else None
        waited_ms = (self._clock.monotonic() - began) * 1000
        if isinstance(got, Permit):
            self._tidy()
            return gate.entry(self._queue, got, accounts, gate.counts_tokens, waited_ms)
        raise refused(
            got.refusal if isinstance(got, Behind) else got,
            member,
            self._limiter.standings(accounts, self._queue.now_ns()),
            behind=got if isinstance(got, Behind) else None,
            full=full,
            waited_ms=waited_ms,
        )

    def _tidy(self) -> None:
        """Forgets users of whose limits nothing is used any more, once there are many."""
        if len(self._limiter) < self._evict_at or not self._evicting.acquire(blocking=False):
            return
        evicting = threading.Thread(target=self._evict_now, name="cascadeflow-tiers", daemon=True)
        try:
            evicting.start()
        except RuntimeError:
            self._evict_now()  # there is no thread to be had: then here, for the request has passed

    def _evict_now(self) -> None:
        try:
            self._limiter.evict(self._queue.now_ns())
            self._evict_at = max(_EVICT_FROM, 2 * len(self._limiter))
        finally:
            self._evicting.release()


_every: Final[weakref.WeakSet[Tiers]] = weakref.WeakSet()


def _after_fork() -> None:
    for gate in list(_every):
        gate._renew()  # noqa: SLF001 - this module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
