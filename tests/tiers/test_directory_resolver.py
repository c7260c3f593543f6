"""The resolver is believed for a while, and whatever goes wrong is the default tier."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from directory_site import SECRET, Site, turns

from cascadeflow.errors import InvalidRequestError
from cascadeflow.tiers.config import TierConfig, UserProfile
from cascadeflow.tiers.directory import Membership

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def test_the_resolver_says_the_tier_and_is_believed_for_a_while() -> None:
    site = Site(ttl=60)
    assert site.directory.known("ann", None) is None
    first = site.find_now()
    assert first == Membership(
        user_id="ann",
        tier=site.directory.tiers["pro"],
        source="resolver",
        reason="the resolver says 'pro'",
    )
    assert first.tier is site.directory.tiers["pro"]
    site.answer = "free"
    site.clock.advance(59.9)
    assert site.directory.known("ann", None) is first
    site.clock.advance(0.1)
    assert site.directory.known("ann", None) is None
    assert site.find_now().tier.name == "free"
    assert site.asked == {"ann": 2}


def test_an_async_resolver_is_awaited() -> None:

    async def resolver(user_id: str) -> str:
        await asyncio.sleep(0)
        return "pro" if user_id == "ann" else "free"

    directory = Site(resolver=resolver).directory
    assert asyncio.run(directory.find("ann", None)).tier.name == "pro"
    assert asyncio.run(directory.find("bob", None)).tier.name == "free"
    assert directory.known("ann", None) is not None


def test_nobody_is_asked_about_somebody_without_a_name() -> None:
    site = Site()
    nobody = site.directory.known(None, None)
    assert nobody is not None
    assert (nobody.tier.name, nobody.source) == ("free", "default")
    assert not site.asked


@pytest.mark.parametrize("user_id", ["ann", "bob", None])
def test_a_call_cannot_name_a_tier_where_the_resolver_does(user_id: str | None) -> None:
    site = Site(profiles={"bob": "pro"})
    site.find_now("ann")
    for _ in range(2):
        with pytest.raises(InvalidRequestError, match="where a tier resolver says"):
            site.directory.known(user_id, "pro")
        with pytest.raises(InvalidRequestError, match="where a tier resolver says"):
            asyncio.run(site.directory.find(user_id, "pro"))


def test_who_has_no_tier_is_in_the_default_one() -> None:
    member = Site(answer=None).find_now()
    assert (member.tier.name, member.source) == ("free", "default")
    assert member.reason == "the resolver names no tier: default"


@pytest.mark.parametrize("name", ["gold", "", " ", "x" * 10_000])
def test_an_unknown_tier_is_the_default_one(name: str, caplog: pytest.LogCaptureFixture) -> None:
    site = Site(answer=name)
    for user in ("ann", "bob"):
        member = site.find_now(user)
        assert (member.tier, member.source) == (site.directory.tiers["free"], "default")
        assert "is not configured: default" in member.reason
        assert len(member.reason) < 150
    assert len(caplog.records) == 1
    assert "which the tier resolver names" in caplog.records[0].getMessage()


def test_the_resolver_may_make_exceptions() -> None:
    site = Site(answer=UserProfile("pro", max_tokens=None))
    member = site.find_now()
    assert member.tier == TierConfig("pro", max_tokens=None, priority=10)
    assert member.source == "resolver"
    assert member.reason == "the resolver says 'pro', with the user's own exceptions"
    site.answer = UserProfile("pro", max_tokens=None)  # an equal one, made anew
    assert site.find_now("bob").tier is member.tier
    site.answer = UserProfile(max_tokens=1)
    assert site.find_now("cid").tier == TierConfig("free", max_tokens=1)
    site.answer = UserProfile("gold", max_tokens=1)
    assert site.find_now("dan").tier == TierConfig("free", max_tokens=1)


def test_a_profile_that_names_a_tier_holds_over_the_resolver_who_is_not_asked() -> None:
    site = Site(answer="pro", profiles={"ann": "free"})
    member = site.directory.known("ann", None)
    assert member is not None
    assert (member.tier.name, member.source) == ("free", "profile")
    assert not site.asked


def test_a_profile_without_a_tier_lies_over_what_the_resolver_says() -> None:
    site = Site(
        answer=UserProfile("pro", max_tokens=9, priority=3),
        profiles={"ann": UserProfile(priority=7)},
    )
    assert site.find_now().tier == TierConfig("pro", max_tokens=9, priority=7)
    # Taken back, the resolver's answer holds for as long as it did, and nobody asks again.
    site.directory.set_profile("ann", None)
    member = site.directory.known("ann", None)
    assert member is not None
    assert member.tier == TierConfig("pro", max_tokens=9, priority=3)
    site.directory.set_profile("ann", "free")
    site.directory.set_profile("ann", None)
    assert site.directory.known("ann", None) == member
    site.clock.advance(60)
    assert site.directory.known("ann", None) is None
    assert site.asked == {"ann": 1}


def test_exceptions_of_a_user_s_own_lie_over_the_default_when_the_resolver_fails() -> None:
    site = Site(answer=OSError(SECRET), profiles={"ann": UserProfile(priority=7)})
    assert site.find_now().tier == TierConfig("free", max_tokens=256, priority=7)


class Odd:
    """Neither a name nor a profile, and its words must not be read."""

    def __repr__(self) -> str:
        raise AssertionError(SECRET)


async def generator(_: str) -> AsyncIterator[str]:
    yield "pro"


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (OSError(SECRET), "the resolver raised OSError: default"),
        (KeyError(SECRET), "the resolver raised KeyError: default"),
        (TimeoutError(), "the resolver raised TimeoutError: default"),
        (
            ExceptionGroup(SECRET, [ValueError(SECRET)]),
            "the resolver raised ExceptionGroup: default",
        ),
        (7, "the resolver gave int, which names no tier: default"),
        (True, "the resolver gave bool, which names no tier: default"),
        (b"pro", "the resolver gave bytes, which names no tier: default"),
        (["pro"], "the resolver gave list, which names no tier: default"),
        (TierConfig("pro"), "the resolver gave TierConfig, which names no tier: default"),
        (Odd(), "the resolver gave Odd, which names no tier: default"),
        (generator("ann"), "the resolver gave async_generator, which names no tier: default"),
    ],
)
def test_what_goes_wrong_is_the_default_tier_for_a_moment(
    answer: Any, reason: str, slow: bool, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(answer=answer, slow=slow, retry_after=1.0)

    async def ask() -> Membership:
        asking = asyncio.create_task(site.find())
        await turns()
        if slow:
            site.let_go()
        return await asking

    member = asyncio.run(ask())
    assert member == Membership(
        user_id="ann", tier=site.directory.tiers["free"], source="default", reason=reason
    )
    site.clock.advance(0.9)
    assert site.directory.known("ann", None) is member
    site.clock.advance(0.1)
    site.answer = "pro"
    assert asyncio.run(ask()).tier.name == "pro"
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert reason.removesuffix(": default") in record.getMessage()
    assert record.exc_info is None
    assert "hunter2" not in caplog.text
    assert "ann" not in record.getMessage().split()


def test_a_failing_resolver_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(answer=OSError(SECRET))
    for number in range(120):
        site.find_now(f"user-{number}")
        site.clock.advance(1)
    assert len(caplog.records) == 2


def test_errors_of_ever_new_classes_do_not_fill_the_memory() -> None:
    site = Site()
    for number in range(250):
        site.answer = type(f"Error{number}", (Exception,), {})()
        site.find_now(f"user-{number}")
    assert len(site.directory._warnings._problems) <= 100


def test_what_is_awaited_on_another_loop_is_a_failure() -> None:
    loop = asyncio.new_event_loop()
    site = Site(answer=loop.create_future())
    assert site.find_now().reason == "the resolver raised ValueError: default"
    loop.close()


def test_a_resolver_that_takes_too_long_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(slow=True, timeout=2.0, retry_after=1.0)

    async def main() -> None:
        asking = [asyncio.create_task(site.find()) for _ in range(3)]
        await site.clock.run_for(1.9)
        assert not any(task.done() for task in asking)
        await site.clock.run_for(0.1)
        for member in await asyncio.gather(*asking):
            assert (member.tier.name, member.source) == ("free", "default")
            assert member.reason == "the resolver took longer than 2 s: default"
        assert site.cancelled == 1
        assert site.clock.sleepers == 0
        await site.clock.run_for(1)
        again = asyncio.create_task(site.find())
        await turns()
        site.let_go()
        assert (await again).tier.name == "pro"
        await turns()
        assert site.clock.sleepers == 0  # its deadline went with it

    asyncio.run(main())
    assert site.asked == {"ann": 2}
    assert len(caplog.records) == 1


def test_what_comes_too_late_is_neither_believed_nor_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = asyncio.Event()
    told: list[dict[str, Any]] = []

    async def stubborn(_: str) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await gate.wait()
        raise OSError(SECRET)

    site = Site(resolver=stubborn, timeout=2.0, retry_after=60.0)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        asking = asyncio.create_task(site.find())
        await site.clock.run_for(2)
        member = await asking
        gate.set()
        await turns()
        assert site.directory.known("ann", None) is member

    asyncio.run(main())
    assert told == []
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("turns_of_its_own", [0, 1])
def test_an_answer_that_comes_in_the_moment_of_its_deadline_counts(turns_of_its_own: int) -> None:
    gate = asyncio.Event()

    async def resolver(_: str) -> str:
        await gate.wait()
        for _turn in range(turns_of_its_own):
            await asyncio.sleep(0)
        return "pro"

    site = Site(resolver=resolver, timeout=2.0)

    async def main() -> Membership:
        asking = asyncio.create_task(site.find())
        await turns()
        site.clock.advance(2)
        gate.set()
        return await asking

    assert asyncio.run(main()).tier.name == "pro"
