"""A request that is cancelled at any turn of the event loop leaves nothing taken behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from agent_world import QUESTION, Behaviour, World, read, until

from cascadeflow import BudgetConfig, RateLimits, TierConfig
from cascadeflow.budgets.records import Spender

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cascadeflow import CascadeAgent

MOST = 2
TURNS = 200
SEARCH = ("c1", "search", '{"text": "Oslo"}')
TIER = TierConfig(
    "free",
    budget=BudgetConfig(daily=1000),
    tier_budget=BudgetConfig(daily=2000),
    rate_limits=RateLimits(tokens_per_minute=10**9, per_hour=10**6),
    max_concurrency=MOST,
    tier_max_concurrency=MOST,
    on_limit="wait",
)


async def search(text: str) -> str:
    """Searches."""
    await asyncio.sleep(0)
    return f"{text} is in Norway"


async def tier_of(user_id: str) -> str:
    assert user_id
    await asyncio.sleep(0)
    return "free"


async def several_turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def streamed(agent: CascadeAgent, **options: Any) -> Any:
    return await read(agent.stream(QUESTION, user_id="u", **options))


WAYS: dict[str, Callable[[CascadeAgent], Coroutine[Any, Any, Any]]] = {
    "run": lambda agent: agent.run(QUESTION, user_id="u", timeout=60),
    "stream": lambda agent: streamed(agent, timeout=60),
    "a shown draft": lambda agent: streamed(agent, show_draft=True),
    "tools": lambda agent: agent.run(QUESTION, user_id="u", tools=[search], tool_executor=True),
    "streamed tools": lambda agent: streamed(agent, tools=[search], tool_executor=True),
    "batch": lambda agent: agent.run_batch([QUESTION, "And Bergen?"], user_id="u"),
}


def world_of(way: str) -> World:
    world = World(small=["BAD draft"], middle=[500], big=["big says"])
    if "tools" in way:
        calls: Behaviour = {"text": "BAD", "calls": (SEARCH,)}
        world = World(small=[calls, "BAD draft"], big=[{"calls": (SEARCH,)}, "big says"])
    world.meanwhile = several_turns
    return world


async def nothing_taken(agent: CascadeAgent) -> None:
    """Asserts that all places are free and no money is held."""
    tiers, tracker = agent.tiers, agent.cost_tracker
    assert tiers is not None
    assert tracker is not None
    entry = tiers.try_enter(await tiers.find("u", None))
    assert entry is not None
    standings = entry.standings()
    left = {each.account: each.remaining for each in standings if each.limit == "concurrent"}
    entry.cancel()
    assert left == {"user:u": MOST - 1, "tier:free": MOST - 1}
    held = [each.held for each in tracker.standings(Spender(user_id="u", tier="free"))]
    assert not any(held)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("hedged", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_cancelled_at_any_turn_it_leaves_no_place_taken_and_no_money_held(
    way: str, hedged: bool, again: bool
) -> None:
    async def cancelled_at(turn: int) -> bool:
        world = world_of(way)
        agent = world.agent(
            tier_config={"free": TIER},
            tier_resolver=tier_of,
            cache="memory",
            hedge_after=10 if hedged else None,
        )
        async with agent:
            task = asyncio.ensure_future(WAYS[way](agent))
            for _ in range(turn):
                await asyncio.sleep(0)
            ended = task.done()
            while not task.done():
                task.cancel()
                if not again:
                    await asyncio.wait([task])
                await asyncio.sleep(0)
            assert task.cancelled() or task.exception() is None
            # Cancelled more than once, its own tasks may end a little later than it does.
            for _ in range(20 if again else 0):
                await asyncio.sleep(0)
            await nothing_taken(agent)
            assert world.transport.open_exchanges == 0
        return ended

    async def main() -> int:
        for turn in range(TURNS):
            if await cancelled_at(turn):
                return turn
        return TURNS

    assert 10 < asyncio.run(main()) < TURNS  # every turn of it was tried


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("which", [0, 1, 3])
@pytest.mark.parametrize("scarce", [{"max_concurrency": 1}, {"budget": "0.035"}])
def test_whoever_of_a_crowd_is_cancelled_at_any_turn_the_others_are_answered(
    scarce: dict[str, Any], which: int, streams: bool
) -> None:
    tier = TierConfig("free", on_limit="wait", max_tokens=300, **scarce)

    async def cancelled_at(turn: int) -> bool:
        world = World(small=["BAD draft"], big=["big says"])
        world.meanwhile = several_turns
        async with world.agent(tier_config={"free": tier}) as agent:
            ask = streamed if streams else WAYS["run"]
            tasks = [asyncio.ensure_future(ask(agent)) for _ in range(4)]
            for _ in range(turn):
                await asyncio.sleep(0)
            ended = tasks[which].done()
            tasks[which].cancel()
            others = [task for task in tasks if task is not tasks[which]]
            await until(lambda: all(task.done() for task in tasks))
            assert [task.result().content for task in others] == ["big says"] * 3
            assert ended or tasks[which].cancelled()
            assert agent.cost_tracker is not None
            standings = agent.cost_tracker.standings(Spender(user_id="u", tier="free"))
            assert not any(each.held for each in standings)
        return ended

    turns = next(turn for turn in range(TURNS) if asyncio.run(cancelled_at(turn)))
    assert turns > 5
