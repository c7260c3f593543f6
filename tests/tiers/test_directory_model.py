"""Whatever happens in whatever order: the directory says what a plain model of it says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow.testing.clock import ManualClock
from cascadeflow.tiers.config import TierConfig, UserProfile
from cascadeflow.tiers.directory import Directory

if TYPE_CHECKING:
    from collections.abc import Mapping

TTL, RETRY_AFTER = 8.0, 2.0
USERS = ("ann", "bob", "cid")

tiers = st.fixed_dictionaries(
    {
        "free": st.builds(TierConfig.free, max_tokens=st.integers(1, 3)),
        "pro": st.builds(TierConfig.pro, max_tokens=st.integers(1, 3)),
    }
)
names = st.sampled_from(["free", "pro", "gold"])
exceptions = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.none() | st.integers(1, 3),
        "priority": st.integers(1, 3),
        "models": st.none() | st.just(("*-mini",)),
        "quality_mode": st.none() | st.just("fast"),
    },
)
profiles = st.builds(
    lambda tier, fields: UserProfile(tier, **fields), st.none() | names, exceptions
)
failures = st.sampled_from([OSError("x"), TimeoutError(), 7, b"pro", ["pro"], TierConfig("pro")])
answers = st.none() | names | profiles | failures
users = st.sampled_from(USERS)
seconds = st.sampled_from([0.5, 1.5, 2.0, 7.5, 8.0])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("find"), st.none() | users),
        st.tuples(st.just("find"), st.none() | users),
        st.tuples(st.just("answer"), users, answers),
        st.tuples(st.just("profile"), users, st.none() | names | profiles),
        st.tuples(st.just("forget"), st.none() | users),
        st.tuples(st.just("wait"), seconds),
    ),
    max_size=40,
)
calls = st.lists(
    st.one_of(
        st.tuples(st.just("find"), st.none() | users, st.none() | names),
        st.tuples(st.just("find"), st.none() | users, st.none() | names),
        st.tuples(st.just("profile"), users, st.none() | names | profiles),
        st.tuples(st.just("forget"), st.none() | users),
        st.tuples(st.just("wait"), seconds),
    ),
    max_size=40,
)


class Model:
    """The same, said as plainly as it goes."""

    def __init__(self, configured: Mapping[str, TierConfig]) -> None:
        self.tiers = configured
        self.profiles: dict[str, UserProfile] = {}
        self.remembered: dict[str, tuple[Any, float]] = {}
        self.asked: list[str] = []

    def named(self, name: str | None, source: str) -> tuple[TierConfig, str]:
        if name is not None and name in self.tiers:
            return self.tiers[name], source
        return self.tiers["free"], "default"

    def set_profile(self, user: str, profile: UserProfile | str | None) -> None:
        if profile is None:
            self.profiles.pop(user, None)
        else:
            self.profiles[user] = UserProfile(profile) if isinstance(profile, str) else profile

    def forget(self, user: str | None) -> None:
        for gone in USERS if user is None else (user,):
            self.remembered.pop(gone, None)

    def with_profile(self, user: str, found: tuple[TierConfig, str]) -> tuple[TierConfig, str]:
        profile = self.profiles.get(user)
        if profile is None:
            return found
        tier, source = found if profile.tier is None else self.named(profile.tier, "profile")
        return profile.over(tier), source

    def called(self, user: str | None, call: str | None) -> tuple[TierConfig, str]:
        found = self.named(call, "call")
        return found if user is None else self.with_profile(user, found)

    def resolved(
        self, user: str | None, now: float, answers: Mapping[str, Any]
    ) -> tuple[TierConfig, str]:
        if user is None:
            return self.named(None, "default")
        profile = self.profiles.get(user)
        if profile is not None and profile.tier is not None:
            return self.with_profile(user, self.named(None, "default"))
        answer, until = self.remembered.get(user, (None, -1.0))
        if now >= until:
            self.asked.append(user)
            answer = answers.get(user)
            good = answer is None or isinstance(answer, (str, UserProfile))
            self.remembered[user] = answer, now + (TTL if good else RETRY_AFTER)
        if isinstance(answer, UserProfile):
            tier, source = self.named(answer.tier, "resolver")
            return self.with_profile(user, (answer.over(tier), source))
        name = answer if isinstance(answer, str) else None
        return self.with_profile(user, self.named(name, "resolver"))


def unchanged(directory: Directory, before: Mapping[str, TierConfig]) -> None:
    assert dict(directory.tiers) == before
    assert (TierConfig.free(), TierConfig.pro()) == PRESETS


PRESETS = (TierConfig.free(), TierConfig.pro())


@settings(max_examples=150, deadline=None)
@given(configured=tiers, steps=steps, is_async=st.booleans())
def test_with_a_resolver_it_says_what_the_model_says(
    configured: dict[str, TierConfig], steps: list[tuple[Any, ...]], is_async: bool
) -> None:
    clock, model = ManualClock(), Model(configured)
    told: dict[str, Any] = {}
    asked: list[str] = []

    def at_once(user: str) -> Any:
        asked.append(user)
        if isinstance(told.get(user), Exception):
            raise told[user]
        return told.get(user)

    async def later(user: str) -> Any:
        await asyncio.sleep(0)
        return at_once(user)

    directory = Directory(
        configured,
        default="free",
        resolver=later if is_async else at_once,
        ttl=TTL,
        retry_after=RETRY_AFTER,
        clock=clock,
    )

    async def run() -> None:
        for step, *values in steps:
            if step == "wait":
                clock.advance(*values)
            elif step == "answer":
                told[values[0]] = values[1]
            elif step == "profile":
                directory.set_profile(*values)
                model.set_profile(*values)
            elif step == "forget":
                directory.forget(*values)
                model.forget(*values)
            else:
                member = await directory.find(values[0], None)
                expected = model.resolved(values[0], clock.monotonic(), told)
                assert (member.user_id, member.tier, member.source) == (values[0], *expected)
                assert asked == model.asked
                if member.tier == configured[member.tier.name]:
                    assert member.tier is directory.tiers[member.tier.name]

    asyncio.run(run())
    unchanged(directory, configured)


@settings(max_examples=150, deadline=None)
@given(configured=tiers, steps=calls, keep=st.integers(1, 3))
def test_without_one_it_says_what_the_model_says_without_waiting(
    configured: dict[str, TierConfig], steps: list[tuple[Any, ...]], keep: int
) -> None:
    clock, model = ManualClock(), Model(configured)
    directory = Directory(configured, default="free", keep=keep, clock=clock)
    for step, *values in steps:
        if step == "wait":
            clock.advance(*values)
        elif step == "profile":
            directory.set_profile(*values)
            model.set_profile(*values)
        elif step == "forget":
            directory.forget(*values)
        else:
            member = directory.known(*values)
            assert member is not None
            expected = model.called(*values)
            assert (member.user_id, member.tier, member.source) == (values[0], *expected)
            assert len(directory._kept) <= keep
    unchanged(directory, configured)


@settings(max_examples=100, deadline=None)
@given(
    configured=tiers,
    before=st.dictionaries(users, profiles | names, max_size=3),
    user=users,
    change=st.none() | names | profiles,
    call=st.none() | names,
)
def test_editing_one_user_changes_no_other_user_and_no_tier(
    configured: dict[str, TierConfig],
    before: dict[str, Any],
    user: str,
    change: Any,
    call: str | None,
) -> None:
    directory = Directory(configured, default="free", profiles=before, clock=ManualClock())
    others = [other for other in (*USERS, None) if other != user]
    earlier = [directory.known(other, call) for other in others]
    directory.set_profile(user, change)
    assert [directory.known(other, call) for other in others] == earlier
    unchanged(directory, configured)
    fresh = Directory(
        configured, default="free", profiles={user: change} if change else {}, clock=ManualClock()
    )
    assert directory.known(user, call) == fresh.known(user, call)
