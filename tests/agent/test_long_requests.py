"""A long request is read in a thread, and treated as a short one is."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import (
    AllModelsFailedError,
    Domain,
    DomainDetector,
    RateLimits,
    TierConfig,
    UnknownModelError,
)
from cascadeflow._native import Vectors
from cascadeflow.domains import complexity
from cascadeflow.domains.complexity import assess
from cascadeflow.types import Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

PATIENCE = 30.0
TALK = "Thanks for the long letter about the garden and the weather in spring. " * 1_500
CODE = "def f(x):\n    return [y for y in x if y or not y]\n" * 2_000
SHORT = "Where is Oslo?"
BEES = Domain("bees", examples=["bbb", "bb b", "bbbb b"])


class Letters:
    """An embedder whose vectors a test can foresee."""

    name = "letters/1"
    dimension = 3

    def embed(self, texts: Sequence[str]) -> Vectors:
        rows = [[float(text.count("a")), float(text.count("b")), 0.5] for text in texts]
        return Vectors(rows).normalised()

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        return self.embed(texts)


@asynccontextmanager
async def readers_busy() -> AsyncIterator[threading.Event]:
    """Keeps everybody who reads long requests at something else, until the event is set."""
    go = threading.Event()
    work = [complexity._readers.run(lambda: go.wait(PATIENCE)) for _ in range(2)]
    tasks = [asyncio.ensure_future(each) for each in work]
    await asyncio.sleep(0)
    try:
        yield go
    finally:
        go.set()
        assert await asyncio.gather(*tasks) == [True, True]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("text", [TALK, CODE], ids=["talk", "code"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"draft_up_to": "simple"},
        {"domains": DomainDetector(semantic=False)},
        {"tier_config": {"free": TierConfig("free", rate_limits=RateLimits(per_hour=9))}},
    ],
    ids=["plain", "levels", "domains", "tiers"],
)
def test_it_is_judged_and_routed_by_what_stands_in_it(
    world: Any, options: dict[str, Any], text: str, *, streamed: bool
) -> None:
    agent = world(small=["yes"], big=["yes"]).agent(**options)
    request: dict[str, Any] = {"user_id": "u"}
    if "domains" in options:
        request["domain"] = "legal"
    found = assess([Message("user", text)], request.get("domain"))

    async def main() -> Any:
        async with agent:
            if streamed:
                return [event async for event in agent.stream(text, **request)][-1].result
            return await agent.run(text, **request)

    result = asyncio.run(main())
    assert result.routing.complexity == found.level
    assert result.routing.complexity_score == found.score
    if "draft_up_to" in options:
        assert result.routing.route == (
            "cascade" if found.level in {"trivial", "simple"} else "direct"
        )
    assert result.content == "yes"


def test_the_callers_word_needs_no_reading(world: Any) -> None:
    async def main() -> None:
        async with world(small=["yes"], big=["yes"]).agent() as agent, readers_busy():
            result = await agent.run(TALK, complexity_hint="hard")
        assert result.routing.complexity == "hard"

    asyncio.run(main())


def test_others_are_answered_while_it_is_read(world: Any) -> None:
    async def main() -> None:
        async with world(small=["yes"], big=["yes"]).agent() as agent, readers_busy() as go:
            long = asyncio.ensure_future(agent.run(TALK))
            for _ in range(5):
                assert (await agent.run(SHORT)).content == "yes"
            assert not long.done()
            go.set()
            assert (await long).content == "yes"

    asyncio.run(main())


def test_its_time_may_end_while_it_is_read_and_it_may_be_cancelled(world: Any) -> None:
    async def main() -> None:
        w = world(small=["yes"], big=["yes"])
        async with w.agent() as agent, readers_busy():
            with pytest.raises(AllModelsFailedError, match="reads it, for it is long"):
                await agent.run(TALK, timeout=0.01)
            task = asyncio.ensure_future(agent.run(TALK))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert w.asked == []

    asyncio.run(main())


def test_what_is_wrong_is_said_before_it_is_read(world: Any) -> None:
    agent = world(small=["yes"], big=["yes"]).agent()
    with pytest.raises(UnknownModelError):
        agent.stream(TALK, model="huge")


def test_a_program_that_fills_asyncios_own_threads_holds_nobody_up(world: Any) -> None:
    async def main() -> None:
        go = threading.Event()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        busy = asyncio.ensure_future(asyncio.to_thread(go.wait, PATIENCE))
        await asyncio.sleep(0)
        domains = DomainDetector([BEES], semantic=Letters())
        async with world(small=["yes"], big=["yes"]).agent(domains=domains) as agent:
            try:
                results = await asyncio.gather(*(agent.run("b bb") for _ in range(9)))
                assert [each.routing.domain for each in results] == ["bees"] * 9
                assert (await agent.run(TALK)).content == "yes"
                assert not busy.done()
            finally:
                go.set()
        await busy

    asyncio.run(main())
