"""Who is in which tier: profiles, calls and the default; what nobody knows is the default."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from enum import StrEnum
from typing import Any

import pytest

from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.testing.clock import ManualClock
from cascadeflow.tiers.config import TierConfig, UserProfile
from cascadeflow.tiers.directory import Directory, Membership

TIERS = {
    "free": TierConfig("free", max_tokens=256),
    "pro": TierConfig("pro", max_tokens=4096, priority=10),
}


def make(**settings: Any) -> Directory:
    return Directory(**{"tiers": TIERS, "default": "free", "clock": ManualClock(), **settings})


def known(directory: Directory, user_id: str | None, user_tier: str | None = None) -> Membership:
    membership = directory.known(user_id, user_tier)
    assert membership is not None
    return membership


def test_who_is_in_no_tier_is_in_the_default_one() -> None:
    directory = make()
    for user_id in ("ann", None):
        assert known(directory, user_id) == Membership(
            user_id=user_id,
            tier=directory.tiers["free"],
            source="default",
            reason="no tier was given: default",
        )


@pytest.mark.parametrize("user_id", ["ann", None])
def test_a_call_names_the_tier_of_its_own_request_only(user_id: str | None) -> None:
    directory = make()
    named = known(directory, user_id, "pro")
    assert (named.user_id, named.source) == (user_id, "call")
    assert named.tier is directory.tiers["pro"]
    assert named.reason == "the call says 'pro'"
    assert known(directory, user_id).tier is directory.tiers["free"]
    assert known(directory, user_id, "pro").tier is directory.tiers["pro"]


@pytest.mark.parametrize("user_id", ["ann", None])
def test_a_tier_that_is_not_configured_is_the_default(user_id: str | None) -> None:
    directory = make()
    assert known(directory, user_id, "gold") == Membership(
        user_id=user_id,
        tier=directory.tiers["free"],
        source="default",
        reason="the tier 'gold' is not configured: default",
    )


def test_an_unknown_tier_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    directory = make()
    for user_id in ("ann", "bob", None, "ann"):
        known(directory, user_id, "gold")
    directory.set_profile("cid", "gold")
    directory.set_profile("dan", "silver")
    assert [record.getMessage().split(" is not")[0] for record in caplog.records] == [
        "the tier 'gold', which a call names,",
        "the tier 'silver', which a user's profile names,",
    ]
    assert all("in the default tier 'free'" in record.getMessage() for record in caplog.records)
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_made_up_tiers_fill_neither_the_memory_nor_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory = make()
    for number in range(1_500):
        long = f"{number:04}" + "x" * 10_000
        assert len(known(directory, "ann", long).reason) < 200
        assert known(directory, "bob", long).source == "default"
    assert len(caplog.records) == 1_001
    assert "no more of them are told" in caplog.records[-1].getMessage()
    assert max(len(record.getMessage()) for record in caplog.records) < 300
    assert sum(map(len, directory._warnings._names)) < 100_000
    assert len(directory._kept) == 0


def test_all_users_of_a_tier_share_one_configuration() -> None:
    directory = make(profiles={"eve": "pro", "fay": UserProfile("pro", max_tokens=4096)})
    members = [known(directory, user, "pro") for user in ("ann", "bob", "eve", "fay", None)]
    assert {id(member.tier) for member in members} == {id(directory.tiers["pro"])}


def test_a_profile_s_tier_holds_over_the_call_s() -> None:
    directory = make(profiles={"ann": "pro"})
    for call in (None, "free", "pro", "gold"):
        member = known(directory, "ann", call)
        assert (member.tier, member.source) == (directory.tiers["pro"], "profile")
        assert member.reason == "the user's profile says 'pro'"
    assert known(directory, "bob").source == "default"


def test_a_profile_s_exceptions_are_the_user_s_own() -> None:
    before = dict(TIERS)
    directory = make(profiles={"ann": UserProfile("pro", max_tokens=None)})
    mine = known(directory, "ann")
    assert mine.tier == TierConfig("pro", max_tokens=None, priority=10)
    assert mine.reason == "the user's profile says 'pro', with the user's own exceptions"
    assert known(directory, "bob", "pro").tier is directory.tiers["pro"]
    assert dict(directory.tiers) == TIERS == before


def test_a_profile_without_a_tier_lies_over_the_tier_found_otherwise() -> None:
    directory = make(profiles={"ann": UserProfile(priority=7)})
    for call, source in ((None, "default"), ("pro", "call"), ("gold", "default")):
        member = known(directory, "ann", call)
        assert member.source == source
        assert member.tier.priority == 7
        assert member.tier.max_tokens == (4096 if call == "pro" else 256)
        assert member.reason.endswith(", with the user's own exceptions")


def test_a_profile_that_names_an_unknown_tier_keeps_its_exceptions_over_the_default() -> None:
    member = known(make(profiles={"ann": UserProfile("gold", priority=7)}), "ann", "pro")
    assert member.tier == TierConfig("free", max_tokens=256, priority=7)
    assert member.source == "default"
    assert member.reason.startswith("the tier 'gold' is not configured: default")


def test_a_profile_is_changed_from_the_next_request_on() -> None:
    directory = make()
    assert known(directory, "ann").tier.name == "free"
    directory.set_profile("ann", "pro")
    assert directory.profile("ann") == UserProfile("pro")
    assert known(directory, "ann").tier.name == "pro"
    directory.set_profile("ann", UserProfile(max_tokens=9))
    assert known(directory, "ann").tier == TierConfig("free", max_tokens=9)
    directory.set_profile("ann", None)
    directory.set_profile("ann", None)
    assert directory.profile("ann") is None
    assert known(directory, "ann").tier is directory.tiers["free"]


def test_what_a_user_gets_is_made_once() -> None:
    directory = make(profiles={"ann": UserProfile("pro", max_tokens=9)})
    first = known(directory, "ann")
    assert known(directory, "ann") is first
    # Another user's equal profile, an object of its own, makes nothing new.
    directory.set_profile("bob", UserProfile("pro", max_tokens=9))
    assert known(directory, "bob").tier is first.tier
    directory.forget()
    assert known(directory, "ann").tier is first.tier


def test_passers_by_take_no_memory() -> None:
    directory = make(profiles={"ann": "pro"})
    for number in range(100):
        known(directory, f"user-{number}", "pro")
    assert len(directory._kept) == 0


def test_only_so_many_users_are_remembered_and_the_profiles_of_all() -> None:
    directory = make(keep=2, profiles=dict.fromkeys(("ann", "bob", "cid", "dan", "eve"), "pro"))
    for user in ("ann", "bob", "cid", "dan"):
        known(directory, user)
    assert list(directory._kept) == ["cid", "dan"]
    known(directory, "cid")
    known(directory, "eve")
    assert list(directory._kept) == ["cid", "eve"]
    assert known(directory, "ann").source == "profile"


def test_a_tier_is_called_what_its_key_says() -> None:
    given = TierConfig.pro()
    directory = make(tiers={"gold": given, "free": TierConfig.free()})
    assert directory.tiers["gold"] == TierConfig.pro(name="gold")
    assert given == TierConfig.pro()
    with pytest.raises(TypeError):
        directory.tiers["free"] = given  # type: ignore[index]


def test_what_the_caller_does_to_its_mapping_afterwards_changes_nothing() -> None:
    tiers, profiles = dict(TIERS), {"ann": "pro"}
    directory = make(tiers=tiers, profiles=profiles)
    tiers.clear()
    profiles.clear()
    assert known(directory, "ann").tier.name == "pro"


class Name(StrEnum):
    FREE = "free"
    PRO = "pro"


def test_an_enum_s_members_are_names() -> None:
    tiers = {Name.FREE: TIERS["free"], Name.PRO: TIERS["pro"]}
    directory = make(tiers=tiers, default=Name.FREE, profiles={"bob": Name.PRO})
    assert {type(name) for name in directory.tiers} == {str}
    assert known(directory, "ann", Name.PRO).tier.name == "pro"
    assert known(directory, "ann", "pro").reason == "the call says 'pro'"
    assert known(directory, "bob").tier.name == "pro"


@pytest.mark.parametrize("name", ["", 7, ["ann"], b"ann", True])
def test_what_is_no_name_is_refused(name: Any) -> None:
    directory = make()
    with pytest.raises(InvalidRequestError, match="user_id must be text that is not empty"):
        directory.known(name, None)
    with pytest.raises(InvalidRequestError, match="user_tier must be text that is not empty"):
        directory.known("ann", name)
    with pytest.raises(ConfigurationError, match="a user id must be a text"):
        directory.set_profile(name, "pro")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tiers": {}}, "with at least one tier"),
        ({"tiers": [TIERS["free"]]}, "must be a mapping"),
        ({"tiers": {"free": {"max_tokens": 1}}}, "must be a TierConfig, not a dict"),
        ({"tiers": {"": TIERS["free"]}}, "a tier's name must be a text"),
        ({"tiers": {7: TIERS["free"]}}, "a tier's name must be a text"),
        ({"default": "gold"}, "'gold' is none of those that are configured: free, pro"),
        ({"default": None}, "the default tier None is none"),
        ({"default": ["free"]}, "is none of those"),
        ({"resolver": "pro"}, "must be a function of the user id, not a str"),
        ({"profiles": {"ann": 7}}, "a UserProfile or a tier's name, not a int"),
        ({"profiles": {"ann": ""}}, "tier must be a text"),
        ({"profiles": {"": "pro"}}, "a user id must be a text"),
        ({"keep": 0}, "keep must be a whole number"),
        ({"keep": 1.5}, "keep must be a whole number"),
        *(
            ({name: value}, f"{name} must be")
            for name in ("ttl", "timeout", "retry_after")
            for value in (0, -1, float("nan"), float("inf"), "1", True, None)
        ),
    ],
)
def test_what_cannot_be_is_refused_at_once(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make(**settings)


def test_threads_that_read_and_change_at_once_never_meet_a_mixture() -> None:
    directory = make(keep=4)
    users = [f"user-{number}" for number in range(8)]
    wrong: list[str] = []
    begin = threading.Barrier(4)

    def work(seed: int) -> None:
        begin.wait()
        for turn in range(3_000):
            user = users[(turn * 7 + seed) % len(users)]
            if seed == 0 and turn % 3 == 0:
                directory.set_profile(
                    user, ("pro", UserProfile(max_tokens=turn + 1), None)[turn % 9 // 3]
                )
            if seed == 1 and turn % 50 == 0:
                directory.forget(None if turn % 100 else user)
            member = known(directory, user)
            if member.user_id != user or member.tier.name not in TIERS:
                wrong.append(f"{user} got {member}")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    assert len(directory._kept) <= 4
    for user in users:  # what was read while it was changed was not remembered wrongly
        profile = directory.profile(user)
        expected = TIERS[(profile and profile.tier) or "free"]
        assert known(directory, user).tier == (profile.over(expected) if profile else expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_a_lock_of_its_own_keeps_the_profiles_and_asks_anew() -> None:
    answers = iter(("free", "pro"))
    directory = make(resolver=lambda _: next(answers), profiles={"ann": "pro"})
    assert asyncio.run(directory.find("bob", None)).tier.name == "free"
    with directory._lock:
        child = os.fork()
        if child == 0:
            code = 1
            signal.alarm(30)  # should it wait for the lock, it does not wait for ever
            try:
                forgot = directory.known("bob", None) is None
                bob = asyncio.run(directory.find("bob", None))
                directory.set_profile("cid", "pro")
                names = [
                    bob.tier.name,
                    *(known(directory, user).tier.name for user in ("ann", "cid")),
                ]
                code = 0 if forgot and names == ["pro"] * 3 else 2
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert known(directory, "bob").tier.name == "free"
