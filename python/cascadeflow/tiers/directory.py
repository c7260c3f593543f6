"""`Directory`: who is in which tier.

A user's own profile says it first; then the resolver, where there is one, or the call's
`user_tier=`, where there is none; then the default. Whatever is unknown, missing or fails is the
default tier: nobody is ever in none.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.tiers import checks
from cascadeflow.tiers.config import TierConfig, UserProfile
from cascadeflow.tiers.resolving import (
    Answer,
    Question,
    TierResolver,
    Warnings,
    quoted,
    raised,
    read,
)

if TYPE_CHECKING:
    from cascadeflow.clock import Clock

__all__ = ["Directory", "Membership", "Source", "TierResolver"]

Source: TypeAlias = Literal["default", "call", "profile", "resolver"]
"""Who named a user's tier."""

_FOR_EVER: Final = float("inf")

_new: Final = tuple.__new__
"""Makes a named tuple in half the time that its own class takes."""


class Membership(NamedTuple):
    """Which tier somebody is in, and why.

    One is made for every request: a tuple, which takes a fifth of a frozen dataclass's time.

    Attributes:
        user_id: who; `None` for those without a name.
        tier: the tier with the user's own exceptions. The same object for all who have none.
        source: who named the tier; `default` where nobody did, or none that is configured.
        reason: in words.
    """

    user_id: str | None
    tier: TierConfig
    source: Source
    reason: str


class _Found(NamedTuple):
    """A membership of anybody's."""

    tier: TierConfig
    source: Source
    reason: str


class _Kept(NamedTuple):
    """What is remembered of a user."""

    membership: Membership
    until: float
    """Seconds of the monotonic clock."""
    call: str | None
    """The `user_tier=` that it was found for."""
    found: _Found | None = None
    """What the resolver's answer came to."""
    order: int = 0
    """The number of the question."""
    failed: bool = False

    def is_better_than(self, question: Question, *, failed: bool) -> bool:
        """Whether an answer is: better than a failure, and than one that was asked for earlier."""
        if self.found is None:
            return False
        return failed if failed != self.failed else self.order > question.order


class Directory:
    """Says which tier a user is in. One serves any number of threads and event loops.

    >>> from cascadeflow.testing import ManualClock
    >>> from cascadeflow.tiers.config import TierConfig, UserProfile
    >>> tiers = {"free": TierConfig("free"), "pro": TierConfig("pro", max_tokens=4096)}
    >>> directory = Directory(tiers, default="free", clock=ManualClock())
    >>> directory.known("ann", "pro").tier.name
    'pro'
    >>> directory.known("ann", "gold").reason
    "the tier 'gold' is not configured: default"
    >>> directory.set_profile("bob", "pro")
    >>> directory.known("bob", None).source
    'profile'
    """

    def __init__(
        self,
        tiers: Mapping[str, TierConfig],
        *,
        default: str,
        resolver: TierResolver | None = None,
        profiles: Mapping[str, UserProfile | str] | None = None,
        ttl: float = 60.0,
        retry_after: float = 1.0,
        timeout: float = 2.0,
        keep: int = 100_000,
        clock: Clock,
    ) -> None:
        """Sets it up; nobody is asked yet.

        Args:
            tiers: by name. A configuration that calls itself otherwise is renamed to its key.
            default: the tier of whoever is in no other.
            resolver: says which tier a user id is in. One that is not async is called on the event
                loop, which stands still meanwhile: it must not wait for anything.
            profiles: single users' tiers, or exceptions from them.
            ttl: seconds for which the resolver's answer holds.
            retry_after: seconds after which a resolver that failed is asked about that user again.
            timeout: seconds that an async resolver may take.
            keep: how many users are remembered; the least recently seen make room. Profiles count
                apart, and all stay.
            clock: the time.

        Raises:
            ConfigurationError: a tier, its name, a profile or a number cannot be, or the default is
                none of the tiers.
        """
        self._tiers = _read_tiers(tiers)
        named: Any = default  # whatever the annotation says
        if not isinstance(named, str) or named not in self._tiers:
            raise ConfigurationError(
                f"the default tier {named!r:.60} is none of those that are configured: "
                f"{', '.join(self._tiers)}"
            )
        if resolver is not None and not callable(resolver):
            raise ConfigurationError(
                "the tier resolver must be a function of the user id, not a "
                f"{type(resolver).__name__}"
            )
        self._default = self._tiers[default]
        self._resolver = resolver
        self._ttl = checks.seconds("ttl", ttl)
        self._retry_after = checks.seconds("retry_after", retry_after)
        self._timeout = checks.seconds("timeout", timeout)
        self._keep = checks.whole("keep", keep, 1)
        self._clock = clock
        self._monotonic = clock.monotonic
        self._warnings = Warnings(clock)
        self._orders = itertools.count(1)
        self._lay = lru_cache(maxsize=keep)(_laid_over)
        self._by_profile = self._all_found("profile", "the user's profile says")
        self._resolved = self._all_found("resolver", "the resolver says")
        self._unnamed = _Found(self._default, "default", "no tier was given: default")
        # By the call's `user_tier=`; a resolver leaves it nothing to say.
        self._called: dict[str | None, _Found] = {}
        if resolver is None:
            self._called[None] = self._unnamed
            for name, found in self._all_found("call", "the call says").items():
                self._called[name] = found
        self._unresolved = _Found(self._default, "default", "the resolver names no tier: default")
        self._profiles: dict[str, UserProfile] = {}
        self._open: dict[str, dict[asyncio.AbstractEventLoop, Question]] = {}
        # Read without the lock, in single steps that CPython does not interrupt. Whatever changes
        # it, and what must fit to it, holds the lock.
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._seen = self._kept.move_to_end
        self._lock = threading.Lock()
        for user_id, profile in (profiles or {}).items():
            self.set_profile(user_id, profile)
        _directories.add(self)

    @property
    def tiers(self) -> Mapping[str, TierConfig]:
        """The tiers by name; read only."""
        return MappingProxyType(self._tiers)

    def _all_found(self, source: Source, reason: str) -> dict[str, _Found]:
        return {
            name: _Found(tier, source, f"{reason} {quoted(name)}")
            for name, tier in self._tiers.items()
        }

    # Whose tier

    def known(self, user_id: str | None, user_tier: str | None) -> Membership | None:
        """Says which tier a request is in, unless the resolver must be asked: then `None`.

        Args:
            user_id: whose request it is; `None` for somebody without a name.
            user_tier: the tier that the call names.

        Raises:
            InvalidRequestError: the call names a tier, and the resolver says which it is; or a
                name is no text, or empty.
        """
        try:
            kept = self._kept.get(user_id)  # type: ignore[arg-type] # nobody is in it
            found = self._called.get(user_tier) if kept is None else None
        except TypeError:  # a name that is not even hashable
            return self._without_asking(user_id, user_tier)
        if kept is not None:
            if kept[2] == user_tier and self._monotonic() < kept[1]:
                try:  # noqa: SIM105 - `suppress` takes longer than all the rest
                    self._seen(user_id)  # type: ignore[arg-type]
                except KeyError:
                    pass  # another thread let go of it just now, and it holds all the same
                return kept[0]
        elif (
            found is not None
            and user_id not in self._profiles
            and (user_id is None or (user_id and isinstance(user_id, str)))
        ):
            return _new(Membership, (user_id, found[0], found[1], found[2]))
        return self._without_asking(user_id, user_tier)

    async def find(self, user_id: str | None, user_tier: str | None) -> Membership:
        """Says which tier a request is in, and asks the resolver where nothing that holds is known.

        Those who ask about one user at the same time on one event loop put one question.

        Args:
            user_id: whose request it is; `None` for somebody without a name.
            user_tier: the tier that the call names.

        Raises:
            InvalidRequestError: the call names a tier, and the resolver says which it is; or a
                name is no text, or empty.
        """
        membership = self.known(user_id, user_tier)
        if membership is None:
            assert user_id is not None  # noqa: S101 - for mypy: nobody is asked about nobody
            membership = await self._ask(user_id)
        return membership

    def _without_asking(self, user_id: str | None, user_tier: str | None) -> Membership | None:
        given: dict[str, Any] = {"user_id": user_id, "user_tier": user_tier}
        for what, name in given.items():
            if name is not None and (not isinstance(name, str) or not name):
                raise InvalidRequestError(
                    f"{what} must be text that is not empty, not {name!r:.60}"
                )
        if self._resolver is not None and user_tier is not None:
            raise InvalidRequestError(
                "user_tier= cannot be given where a tier resolver says which tier a user is in: "
                "leave it out"
            )
        found = self._unnamed if user_tier is None else self._called.get(user_tier)
        if found is None:
            assert user_tier is not None  # noqa: S101 - for mypy
            self._warnings.unknown(user_tier, self._default.name, "a call")
            found = self._fallen(user_tier)
        if user_id is None:
            return Membership(None, *found)
        with self._lock:
            profile = self._profiles.get(user_id)
            if self._resolver is not None and (profile is None or profile.tier is None):
                return None
            membership = self._settle(user_id, found)
            # What takes a profile to know; neither a passer-by nor a made-up name.
            if profile is not None and (user_tier is None or user_tier in self._tiers):
                self._remember(user_id, _Kept(membership, _FOR_EVER, user_tier))
        return membership

    def _fallen(self, name: str) -> _Found:
        return _Found(
            self._default, "default", f"the tier {quoted(name)} is not configured: default"
        )

    def _settle(self, user_id: str, found: _Found) -> Membership:
        """Gives a user's own profile the last word, under the lock."""
        profile = self._profiles.get(user_id)
        if profile is None:
            return Membership(user_id, *found)
        if profile.tier is not None:
            found = self._by_profile.get(profile.tier) or self._fallen(profile.tier)
        return Membership(user_id, *self._with_exceptions(found, profile))

    def _with_exceptions(self, found: _Found, profile: UserProfile) -> _Found:
        tier = self._lay(profile, found.tier)
        if tier is found.tier:
            return found
        return _Found(tier, found.source, f"{found.reason}, with the user's own exceptions")

    def _remember(self, user_id: str, kept: _Kept) -> None:
        """Under the lock."""
        self._kept[user_id] = kept
        self._kept.move_to_end(user_id)
        if len(self._kept) > self._keep:
            self._kept.popitem(last=False)

    # Profiles

    def profile(self, user_id: str) -> UserProfile | None:
        """What was set for this user."""
        return self._profiles.get(user_id)

    def set_profile(self, user_id: str, profile: UserProfile | str | None) -> None:
        """Gives one user a tier or exceptions from it, from the next request on.

        Where it names a tier, that holds over the call's and the resolver's, who is then not asked.
        Where it names none, its exceptions hold over whatever tier the user is found to be in.

        Args:
            user_id: whose.
            profile: a tier's name alone, or more; `None` takes back what was set.

        Raises:
            ConfigurationError: it is neither, or the user id is no text or empty.
        """
        checks.text("a user id", user_id)
        read = _read_profile(profile)
        if read is not None and read.tier is not None and read.tier not in self._tiers:
            self._warnings.unknown(read.tier, self._default.name, "a user's profile")
        with self._lock:
            if read is None:
                self._profiles.pop(user_id, None)
            else:
                self._profiles[user_id] = read
            kept = self._kept.pop(user_id, None)
            if kept is not None and kept.found is not None:
                # The resolver's answer holds for as long as it did.
                membership = self._settle(user_id, kept.found)
                self._remember(user_id, kept._replace(membership=membership))

    # The resolver

    def forget(self, user_id: str | None = None) -> None:
        """Asks the resolver anew, from the next request on.

        A question that is under way is answered to those who wait for it, and not remembered.

        Args:
            user_id: about whom; `None` is everybody.
        """
        with self._lock:
            if user_id is None:
                self._kept.clear()
                self._open.clear()
            else:
                self._kept.pop(user_id, None)
                self._open.pop(user_id, None)

    async def _ask(self, user_id: str) -> Membership:
        assert self._resolver is not None  # noqa: S101 - for mypy
        loop = asyncio.get_running_loop()
        with self._lock:
            here = self._open.setdefault(user_id, {})
            question = here.get(loop)
            mine = question is None
            if question is None:
                for gone in [other for other in here if other.is_closed()]:
                    del here[gone]
                question = here[loop] = Question(user_id, loop, next(self._orders))
        if mine:
            answer = self._put(question, self._resolver)
            if answer is not None:
                return self._hear(question, answer)
        membership: Membership = await question.outcome()
        return membership

    def _put(self, question: Question, resolver: TierResolver) -> Answer | None:
        """Asks; `None` when the answer comes later."""
        try:
            value: Any = resolver(question.user_id)
            if not isinstance(value, Awaitable):
                return read(value)
            question.put(value, self._hear, seconds=self._timeout, clock=self._clock)
        except Exception as error:  # noqa: BLE001 - whatever it is, it names no tier
            return raised(error)
        except BaseException:
            with self._lock:
                self._close(question)
            raise
        return None

    def _hear(self, question: Question, answer: Answer) -> Membership:
        """Takes an answer, remembers it, and says what it comes to."""
        found, failed = self._found(answer), answer.problem is not None
        user_id = question.user_id
        with self._lock:
            lasting = self._close(question) and answer.lasting
            now = self._monotonic()
            kept = self._kept.get(user_id)
            if (
                kept is not None
                and now < kept.until
                and kept.is_better_than(question, failed=failed)
            ):
                return kept.membership  # another event loop was told it meanwhile
            membership = self._settle(user_id, found)
            if lasting:
                until = now + (self._retry_after if failed else self._ttl)
                self._remember(
                    user_id, _Kept(membership, until, None, found, question.order, failed)
                )
        return membership

    def _close(self, question: Question) -> bool:
        """Takes a question off the list, under the lock; `False` when it was forgotten already."""
        here = self._open.get(question.user_id)
        if here is None or here.get(question.loop) is not question:
            return False
        del here[question.loop]
        if not here:
            del self._open[question.user_id]
        return True

    def _found(self, answer: Answer) -> _Found:
        """The tier that an answer names; logs what is wrong with it."""
        name, default = answer.tier, self._default
        if answer.problem is not None:
            self._warnings.problem(answer.problem, default.name)
            return _Found(default, "default", f"{answer.problem}: default")
        if name is None:
            found = self._unresolved
        elif name in self._resolved:
            found = self._resolved[name]
        else:
            self._warnings.unknown(name, default.name, "the tier resolver")
            found = self._fallen(name)
        return found if answer.profile is None else self._with_exceptions(found, answer.profile)

    def _begin_anew_after_fork(self) -> None:
        """The child's own lock, which no thread of the parent holds, and nothing remembered."""
        self._lock = threading.Lock()
        self._kept.clear()
        self._open.clear()


def _laid_over(profile: UserProfile, tier: TierConfig) -> TierConfig:
    """The tier itself where the profile changes nothing, so that it stays one object for all."""
    changed = profile.over(tier)
    return tier if changed == tier else changed


def _read_tiers(tiers: Any) -> dict[str, TierConfig]:
    if not isinstance(tiers, Mapping) or not tiers:
        raise ConfigurationError(
            'tiers must be a mapping such as {"free": TierConfig.free()} with at least one tier, '
            f"not {tiers!r:.60}"
        )
    read: dict[str, TierConfig] = {}
    for name, config in tiers.items():
        checks.text("a tier's name", name)
        if not isinstance(config, TierConfig):
            raise ConfigurationError(
                f"the tier {name!r:.60} must be a TierConfig, not a {type(config).__name__}"
            )
        plain = name[:]  # also of an enum's member
        read[plain] = config if config.name == plain else replace(config, name=plain)
    return read


def _read_profile(profile: Any) -> UserProfile | None:
    if isinstance(profile, str):
        return UserProfile(tier=profile)
    if profile is None or isinstance(profile, UserProfile):
        return profile
    raise ConfigurationError(
        f"a user's profile must be a UserProfile or a tier's name, not a {type(profile).__name__}"
    )


_directories: Final[weakref.WeakSet[Directory]] = weakref.WeakSet()


def _after_fork() -> None:
    for directory in list(_directories):
        directory._begin_anew_after_fork()  # noqa: SLF001 - this module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
