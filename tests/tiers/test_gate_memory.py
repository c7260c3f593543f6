"""What the gate remembers of users stays bounded, however they came in."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from cascadeflow import RateLimits, TierConfig, Tiers
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    import pytest

    from cascadeflow.tiers.directory import Membership

USERS = 25_000
TIER = TierConfig("free", rate_limits=RateLimits(per_second=1), on_limit="wait")


def remembered(tiers: Tiers) -> int:
    """How many accounts the limiter has, once nobody is about to drop any."""
    for thread in threading.enumerate():
        if thread.name == "cascadeflow-tiers":
            thread.join()
    return len(tiers._limiter)


def member_of(tiers: Tiers, user: int) -> Membership:
    member = tiers.known(f"u{user}", None)
    assert member is not None
    return member


def test_users_who_came_in_through_the_queue_alone_are_forgotten_too() -> None:
    clock = ManualClock()
    tiers = Tiers({"free": TIER}, clock=clock)

    async def main() -> None:
        for user in range(USERS):
            entry = await tiers.wait(member_of(tiers, user))
            entry.leave()
            if not user % 1_000:
                clock.advance(2)
                remembered(tiers)

    asyncio.run(main())
    assert remembered(tiers) < 15_000


def test_where_no_thread_can_be_started_the_request_passes_and_users_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    clock = ManualClock()
    tiers = Tiers({"free": TIER}, clock=clock)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for user in range(USERS):
        entry = tiers.try_enter(member_of(tiers, user))
        assert entry is not None
        entry.leave()
        if not user % 1_000:
            clock.advance(2)
    assert remembered(tiers) < 15_000
