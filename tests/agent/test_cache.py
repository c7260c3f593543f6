"""An exact repeat is answered without asking anybody, and nobody is given another's answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import CascadeAgent, ConfigurationError, CostTracker, MemoryCache
from cascadeflow.pipeline import events

if TYPE_CHECKING:
    from pathlib import Path


def ask(agent: CascadeAgent, query: str = "Where is Oslo?", **options: Any) -> Any:
    return asyncio.run(agent.run(query, **options))


@pytest.fixture(params=["memory", "sqlite"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Both kinds, by the words an agent takes."""
    return "memory" if request.param == "memory" else f"sqlite:///{tmp_path / 'answers.db'}"


def test_a_repeat_is_answered_from_the_cache_and_costs_nothing(world: Any, cache: str) -> None:
    w = world(small=["BAD"], big=["Oslo"])
    agent = w.agent(cache=cache)
    first = ask(agent, user_id="ann")
    again = ask(agent, user_id="ann")
    assert again.content == first.content == "Oslo"
    assert w.asked == ["small", "big"]
    assert again.routing.route == "cache"
    assert again.routing.model_used == "openai:big"
    assert again.cost.total == 0
    assert again.cost.saved == again.cost.verifier_alone > 0
    assert again.attempts == ()
    assert again.request_id != first.request_id
    assert again.quality.accepted is None
    assert w.kinds()[-3:] == ["RequestStarted", "Routed", "RequestCompleted"]


def test_a_streamed_repeat_is_shown_whole(world: Any, cache: str) -> None:
    call = ("call-1", "look_up", '{"city": "Oslo"}')
    w = world(small=[{"text": "Oslo it is", "calls": (call,)}])
    agent = w.agent(cache=cache)
    tools = [{"name": "look_up", "parameters": {"type": "object"}}]

    async def read() -> list[Any]:
        return [event async for event in agent.stream("Where is Oslo?", tools=tools)]

    first, again = asyncio.run(read()), asyncio.run(read())
    assert len(w.asked) == 1
    shown = [event.text for event in again if isinstance(event, events.TextChunk)]
    assert shown == ["Oslo it is"] == [first[-1].result.content]
    assert again[-1].result.tool_calls == first[-1].result.tool_calls
    assert [e.name for e in again if isinstance(e, events.ToolCallChunk)] == ["look_up"]


def test_without_a_cache_every_request_is_asked(world: Any) -> None:
    w = world(small=["Oslo"])
    agent = w.agent()
    ask(agent)
    ask(agent)
    assert len(w.asked) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"query": "Where is Bergen?"},
        {"user_id": "eve"},
        {"user_id": None},
        {"team": "another"},
        {"temperature": 0.5},
        {"max_tokens": 9},
        {"seed": 1},
        {"stop": "x"},
        {"system_prompt": "Be brief."},
        {"extra": {"top_k": 3}},
        {"model": "big"},
        {"force_direct": True},
        {"use_cache": False},
    ],
)
def test_what_is_not_the_same_request_of_the_same_user_is_asked(world: Any, other: Any) -> None:
    w = world(small=["Oslo"], big=["Oslo"])
    agent = w.agent(cache="memory")
    ask(agent, user_id="ann")
    ask(agent, **{"user_id": "ann", **other})
    assert len(w.asked) == 2


def test_a_request_that_opted_out_is_not_remembered(world: Any) -> None:
    w = world(small=["Oslo"])
    agent = w.agent(cache="memory")
    ask(agent, use_cache=False)
    ask(agent)
    assert len(w.asked) == 2


@pytest.mark.parametrize(
    ("scope", "one", "another", "shared"),
    [
        ("user", {"user_id": "a"}, {"user_id": "b"}, False),
        ("user", {"user_id": "a", "team": "x"}, {"user_id": "b", "team": "x"}, False),
        ("tenant", {"user_id": "a", "team": "x"}, {"user_id": "b", "team": "x"}, True),
        ("tenant", {"user_id": "a", "team": "x"}, {"user_id": "a", "team": "y"}, False),
        ("global", {"user_id": "a", "team": "x"}, {}, True),
    ],
)
def test_who_shares_is_what_cache_scope_says(
    world: Any, scope: Any, one: Any, another: Any, *, shared: bool
) -> None:
    w = world(small=["Oslo"])
    agent = w.agent(cache="memory", cache_scope=scope)
    ask(agent, **one)
    ask(agent, **another)
    assert len(w.asked) == (1 if shared else 2)


@pytest.mark.parametrize(
    "behaviour",
    [{"text": "Oslo", "finish": "length"}, {"text": "Oslo", "usage": False}, {"text": ""}],
)
def test_an_answer_that_is_not_whole_or_not_confirmed_is_not_kept(
    world: Any, behaviour: Any
) -> None:
    w = world(small=[behaviour])
    agent = w.agent(cache="memory")
    ask(agent)
    ask(agent)
    assert len(w.asked) == 2


def test_a_draft_that_nobody_accepted_is_not_kept(world: Any) -> None:
    w = world(small=["BAD"], big=[500])
    agent = w.agent(cache="memory", on_verifier_failure="draft")
    assert ask(agent).content == "BAD"
    ask(agent)
    assert w.asked == ["small", "big"] * 2


def test_a_cache_hit_is_free_under_a_budget_that_is_spent(world: Any) -> None:
    w = world(small=["Oslo"])
    tracker = CostTracker(global_budget="0.01", enforcement_mode="block")
    agent = w.agent(cache="memory", cost_tracker=tracker)
    ask(agent, max_tokens=100)
    tracker.record(model="x", provider="y", nanodollars=10_000_000)
    again = ask(agent, max_tokens=100)
    assert again.routing.route == "cache"
    assert again.budget.booked == Decimal(0)


def test_a_cache_of_ones_own_serves_several_agents(world: Any) -> None:
    shared = MemoryCache(max_entries=5)
    w = world(small=["Oslo"])
    ask(w.agent(cache=shared))
    ask(w.agent(cache=shared))
    assert len(w.asked) == 1
    ask(w.agent(cache=shared, quality_mode="fast", enable_cascade=False, order="given"))
    assert len(w.asked) == 1  # the only model is asked directly either way


@pytest.mark.parametrize(
    "field",
    [
        {"headers": {"x-route": "another"}},
        {"base_url": "http://127.0.0.1:8/v1"},
        {"system_prompt": "Be brief."},
        {"temperature": 0.5},
        {"max_tokens": 7},
        {"extra": {"top_k": 3}},
    ],
)
def test_agents_that_would_be_answered_otherwise_share_no_answer(world: Any, field: Any) -> None:
    shared = MemoryCache()
    w = world(small=["Oslo"])
    (model,) = w.agent("small").models
    for each in (model, replace(model, **field)):
        ask(CascadeAgent([each], cache=shared, transport=w.transport))
    assert len(w.asked) == 2


def test_only_a_cache_that_was_named_in_words_is_closed_with_its_agent(world: Any) -> None:
    closed: list[str] = []

    class Watched(MemoryCache):
        async def aclose(self) -> None:
            closed.append("own")

    asyncio.run(world(small=["Oslo"]).agent(cache=Watched()).aclose())
    assert closed == []


def test_a_cache_that_breaks_costs_no_answer(
    world: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "answers.db"
    w = world(small=["Oslo"])
    agent = w.agent(cache=f"sqlite:///{path}")

    async def main() -> None:
        await agent.run("Where is Oslo?")
        await agent.aclose()
        path.write_bytes(b"not a database, and long enough to be looked at" * 100)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        assert (await agent.run("Where is Oslo?")).content == "Oslo"
        await agent.aclose()

    asyncio.run(main())
    assert len(w.asked) == 2
    assert "cache" in caplog.text


def test_a_cache_of_ones_own_that_raises_costs_no_answer(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MemoryCache):
        async def get(self, *_: Any, **__: Any) -> Any:
            raise KeyError("what was asked")

        async def put(self, *_: Any, **__: Any) -> None:
            raise KeyError("what was answered")

    assert ask(world(small=["Oslo"]).agent(cache=Broken())).content == "Oslo"
    assert caplog.text.count("KeyError") == 2
    assert "what was" not in caplog.text


@pytest.mark.parametrize("bad", ["disk", 5, "postgres://x"])
def test_what_is_no_cache_is_refused(world: Any, bad: Any) -> None:
    with pytest.raises(ConfigurationError):
        world(small=["Oslo"]).agent(cache=bad)
    with pytest.raises(ConfigurationError, match="cache_scope"):
        world(small=["Oslo"]).agent(cache="memory", cache_scope="everybody")
