"""Whatever comes, ends, fails or leaves: no budget is exceeded, and nobody waits who could pass."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from agent_world import QUESTION, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from till_site import Calls, settled

from cascadeflow import (
    AllModelsFailedError,
    BudgetConfig,
    BudgetExceededError,
    CascadeResult,
    CostTracker,
    TierConfig,
)
from cascadeflow.pipeline import events
from cascadeflow.pipeline.till import till_of

if TYPE_CHECKING:
    from cascadeflow.budgets.records import AccountStanding

MAX_WAIT = 50_000.0
"""Seconds: some waits go over midnight, and some end before."""

GLOBAL, OWN, WHOLE = 12_000_000, 8_000_000, 5_000_000
"""Nanodollars: of everybody, of each user, of the tier that does not wait."""

PER_TOKEN = 2_000
BEFORE = 86_000
"""Nanodollars: what is held for a token of the answer, and for the question."""


@dataclass
class Asked:
    """One request, as the test knows it."""

    number: int
    user: str
    tier: str
    tokens: int
    task: asyncio.Task[CascadeResult]
    request_id: str = ""

    @property
    def worst(self) -> int:
        return BEFORE + PER_TOKEN * self.tokens


class Site:
    """Requests of two users in two tiers, and what becomes of them."""

    def __init__(self, answers: list[Any], *, daily: bool) -> None:
        self.world = World(small=answers)
        self.calls = Calls(self.world)
        self.daily = daily
        self.asked: list[Asked] = []
        self.judged: set[int] = set()
        self.tracker = CostTracker(
            global_budget=self.budget(GLOBAL), enforcement_mode="block", clock=self.world.clock
        )
        own, whole = self.budget(OWN), self.budget(WHOLE)
        self.agent = self.world.agent(
            tier_config={
                "free": TierConfig("free", budget=own, on_limit="wait", max_wait=MAX_WAIT),
                "quick": TierConfig("quick", budget=own, tier_budget=whole),
            },
            cost_tracker=self.tracker,
        )

    def budget(self, nanodollars: int) -> BudgetConfig:
        amount = f"{nanodollars / 1e9:.9f}"
        return BudgetConfig(daily=amount) if self.daily else BudgetConfig(total=amount)

    # What happens

    async def ask(self, user: str, tier: str, tokens: int) -> None:
        work = self.agent.run(QUESTION, user_id=user, user_tier=tier, max_tokens=tokens)
        asked = Asked(len(self.asked), user, tier, tokens, asyncio.ensure_future(work))
        self.asked.append(asked)
        told = len(self.world.events)
        await settled()
        started = [e for e in self.world.events[told:] if isinstance(e, events.RequestStarted)]
        asked.request_id = started[0].request_id

    async def end_call(self, number: int) -> None:
        if self.calls.open:
            self.calls.open.pop(number % len(self.calls.open)).set_result(None)
            await settled()

    async def cancel(self, number: int) -> None:
        if self.asked:
            self.asked[number % len(self.asked)].task.cancel()
            await settled()

    async def turn_the_clock(self, seconds: int) -> None:
        await self.world.clock.run_for(seconds)
        await settled()

    # What must hold

    def see(self) -> None:
        accounts = {str(account.scope): account for account in self.tracker.accounts()}
        for name, account in accounts.items():
            if account.limit is not None:
                assert account.spent + account.held <= account.limit, name
        begun = [e.request_id for e in self.world.events if isinstance(e, events.CallStarted)]
        self.nobody_overtakes(begun)
        self.nobody_waits_who_could_pass(begun, accounts)
        if not self.daily:
            self.nobody_is_refused_who_could_wait(accounts)

    def nobody_overtakes(self, begun: list[str]) -> None:
        for user in ("ann", "bob"):
            own = {a.request_id: a.number for a in self.asked if (a.user, a.tier) == (user, "free")}
            order = [own[request_id] for request_id in begun if request_id in own]
            assert order == sorted(order), user

    def nobody_waits_who_could_pass(
        self, begun: list[str], accounts: dict[str, AccountStanding]
    ) -> None:
        def fits(asked: Asked, name: str) -> bool:
            account = accounts[name]
            return account.remaining is None or asked.worst <= account.remaining

        waiting = [a for a in self.asked if not a.task.done() and a.request_id not in begun]
        for place, asked in enumerate(waiting):
            assert asked.tier == "free", "the quick do not wait"
            if fits(asked, "global") and fits(asked, f"user:{asked.user}"):
                assert any(
                    before.user == asked.user or not fits(before, "global")
                    for before in waiting[:place]
                ), asked

    def nobody_is_refused_who_could_wait(self, accounts: dict[str, AccountStanding]) -> None:
        for asked in self.asked:
            if asked.number in self.judged or not asked.task.done() or asked.task.cancelled():
                continue
            self.judged.add(asked.number)
            error = asked.task.exception()
            if asked.tier == "quick" or not isinstance(error, BudgetExceededError):
                continue
            needed = [accounts["global"], accounts[f"user:{asked.user}"]]
            spent = any(a.limit is not None and a.spent + asked.worst > a.limit for a in needed)
            assert spent or getattr(error, "__notes__", None), error

    async def end(self) -> None:
        """Everybody is answered or refused, and nothing is held."""
        while self.calls.open:
            await self.end_call(0)
        await self.turn_the_clock(int(MAX_WAIT) + 1)
        while self.calls.open:  # a new day has let some pass
            await self.end_call(0)
            self.see()
        done = await asyncio.gather(*[a.task for a in self.asked], return_exceptions=True)
        known = (CascadeResult, BudgetExceededError, AllModelsFailedError, asyncio.CancelledError)
        assert all(isinstance(each, known) for each in done), done
        assert sum(account.held for account in self.tracker.accounts()) == 0
        assert len(till_of(self.tracker)) == 0
        assert self.world.clock.sleepers == 0


ANSWERS: list[Any] = [
    {"text": "yes", "input_tokens": 10, "output_tokens": 5},
    {"text": "yes", "input_tokens": 10, "output_tokens": 90},
    {"text": "yes", "input_tokens": 10, "output_tokens": 90, "usage": False},
    500,
    401,
]

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("ask"),
            st.sampled_from(["ann", "bob"]),
            st.sampled_from(["free", "free", "free", "quick"]),
            st.sampled_from([100, 500, 1000, 2500, 3900, 4500]),
        ),
        st.tuples(st.just("end_call"), st.integers(0, 9)),
        st.tuples(st.just("cancel"), st.integers(0, 99)),
        st.tuples(st.just("turn_the_clock"), st.integers(1, 20_000)),
    ),
    min_size=1,
    max_size=40,
)


@pytest.mark.parametrize("daily", [False, True])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS, answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=12))
def test_whatever_happens(daily: bool, steps: list[Any], answers: list[Any]) -> None:
    async def main() -> None:
        site = Site(answers, daily=daily)
        async with site.agent:
            for name, *given_with in steps:
                await getattr(site, name)(*given_with)
                site.see()
            await site.end()

    asyncio.run(main())


def test_the_amounts_are_as_this_test_reckons() -> None:
    async def main() -> None:
        site = Site(ANSWERS, daily=False)
        async with site.agent:
            await site.ask("ann", "free", 1000)
            account = site.tracker.accounts("global")[0]
            assert account.held == site.asked[0].worst
            await site.end()

    asyncio.run(main())
