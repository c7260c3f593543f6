"""Asking a model what a request is about is paid for like any call: held, booked, never twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cascadeflow import (
    BudgetExceededError,
    CascadeAgent,
    CascadeFlowError,
    CostTracker,
    Domain,
    DomainDetector,
    ImagePart,
    InvalidRequestError,
    Message,
    ModelConfig,
    RetryPolicy,
    TextPart,
    ZeroShot,
)
from cascadeflow.budgets.records import UsageEvent
from cascadeflow.models.prices import Price
from cascadeflow.money import to_usd
from cascadeflow.pipeline import events
from cascadeflow.testing import ManualClock, RecordingTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VAGUE = "and the other one?"
SAID = '{"domain": "legal", "also": ["finance"], "sure": true}'
UNSURE = '{"domain": "legal", "also": [], "sure": false}'
SAYS = {"text": SAID, "input_tokens": 300, "output_tokens": 20}
YES = {"text": "yes", "input_tokens": 5, "output_tokens": 20}
BAD = {"text": "BAD", "input_tokens": 5, "output_tokens": 20}
LOST = ConnectionError("reset")
BREAKS = {"text": "it breaks off", "breaks_after": 2}
SEARCH = ("c1", "search", '{"text": "Oslo"}')
TURNS = 300


class Site:
    """A world in which questions about domains have a script of their own.

    Attributes:
        sent: each call's model, whether it was a question about domains, and what it did.
        before: awaited before each answer.
    """

    def __init__(self, world: Any, said: list[Any], **scripts: list[Any]) -> None:
        self.world = world(**scripts)
        self.sent: list[tuple[str, bool, Any]] = []
        self.before: Callable[[bool], Any] | None = None
        self._said = self._repeated(said)
        self._plain = self.world._respond
        self.world.transport = RecordingTransport(respond=self._respond)

    @staticmethod
    def _repeated(script: list[Any]) -> Iterator[Any]:
        yield from script
        while True:
            yield script[-1]

    async def _respond(self, request: Any) -> Any:
        body = json.loads(request.body)
        classifies = "You sort requests" in str(body["messages"][0]["content"])
        scripts = self.world.scripts
        script = self._said if classifies else scripts[body["model"]]
        does = next(script)
        self.sent.append((body["model"], classifies, does))
        if self.before is not None:
            await self.before(classifies)
        before, scripts[body["model"]] = scripts[body["model"]], iter([does])
        try:
            return self._plain(request)
        finally:
            scripts[body["model"]] = before

    def agent(self, *domains: Domain, **options: Any) -> CascadeAgent:
        detector = DomainDetector(domains, semantic=False)
        agent: CascadeAgent = self.world.agent(
            **{"domains": detector, "zero_shot": True, "breaker": None, **options}
        )
        return agent

    @property
    def questions(self) -> int:
        """How often a model was asked what a request is about."""
        return sum(classifies for _, classifies, _ in self.sent)

    def billed(self, bill: Any) -> int:
        """What the providers bill for what came whole, nanodollars."""
        return sum(
            bill(model, does["input_tokens"], does["output_tokens"])
            for model, _, does in self.sent
            if isinstance(does, dict) and "output_tokens" in does
        )

    def certain(self) -> bool:
        """Whether nothing was sent of which nobody can say what it cost."""
        return all(
            does == 500 or (isinstance(does, dict) and "output_tokens" in does)
            for _, _, does in self.sent
        )


def money(budget: Any = 1, **options: Any) -> CostTracker:
    return CostTracker(**{"global_budget": budget, "enforcement_mode": "block", **options})


def ask(agent: CascadeAgent, query: str = VAGUE, **options: Any) -> Any:
    async def main() -> Any:
        async with agent:
            return await agent.run(query, **{"max_tokens": 100, **options})

    return asyncio.run(main())


def held(tracker: CostTracker) -> int:
    return sum(standing.held for standing in tracker.accounts())


def used(tracker: CostTracker) -> list[UsageEvent]:
    """What was charged, as the log has it."""
    return [event for event in tracker.events() if isinstance(event, UsageEvent)]


def booked(tracker: CostTracker) -> dict[str, int]:
    """What each request was booked at, by its id, as the log has it."""
    sums: Counter[str] = Counter()
    for event in used(tracker):
        sums[event.request_id] += event.charge.nanodollars or 0
    return dict(sums)


def check_books(
    tracker: CostTracker, site: Site, bill: Any, results: list[Any], *, whole: bool = True
) -> None:
    """Asserts that nothing is held, and that books, log, results and bills agree."""
    assert held(tracker) == 0
    log = booked(tracker)
    assert tracker.spent == to_usd(sum(log.values()))
    for result in results:
        assert result.budget.booked == to_usd(log.get(result.request_id, 0))
        if result.cost.confirmed and result.routing.route != "cache":
            assert result.budget.booked == result.cost.total
            assert result.budget.unconfirmed == 0
        json.dumps(result.to_dict(), allow_nan=False)
    if whole and site.certain():
        assert tracker.spent == to_usd(site.billed(bill))
    assert tracker.spent >= to_usd(site.billed(bill))


def warned(site: Site) -> list[tuple[str, str]]:
    told = [each for each in site.world.events if isinstance(each, events.BudgetWarned)]
    return [(each.account, each.state) for each in told]


CLASSIFIERS = [SAYS, {**SAYS, "text": UNSURE}, {**SAYS, "text": "who knows?"}, 500, LOST]
ANSWERS = [YES, BAD, 500, LOST, BREAKS]
CLASSIFIERS.append({"text": SAID, "usage": False})


async def _read(agent: CascadeAgent, query: str, leaves_after: int | None, **options: Any) -> Any:
    """Reads a stream to its end, or leaves it after so many events."""
    stream = agent.stream(query, **options)
    last: Any = None
    seen = 0
    async for event in stream:
        last = event
        seen += 1
        if leaves_after is not None and seen > leaves_after:
            await stream.aclose()
            return None
    return getattr(last, "result", None)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    said=st.lists(st.sampled_from(CLASSIFIERS), min_size=1, max_size=3),
    small=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=3),
    big=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=3),
    budget=st.sampled_from(["0.0003", "0.0009", "0.004", "0.008", "0.02", "1"]),
    mode=st.sampled_from(["block", "degrade", "warn"]),
    retries=st.integers(1, 2),
    cache=st.sampled_from([None, "memory"]),
    extra=st.sampled_from([None, 0, "0.0001"]),
    ways=st.lists(
        st.tuples(
            st.sampled_from([VAGUE, "what of it?", "so?"]),
            st.sampled_from(["run", "stream", "shown", 0, 2, 3, 4, 6]),
        ),
        min_size=1,
        max_size=4,
    ),
)
@example(
    said=[SAYS],
    small=[BAD],
    big=[YES],
    budget="0.008",
    mode="degrade",
    retries=1,
    cache="memory",
    extra=0,
    ways=[(VAGUE, "run")] * 3,
)
@example(
    said=[LOST, SAYS],
    small=[BREAKS],
    big=[YES],
    budget="1",
    mode="block",
    retries=2,
    cache=None,
    extra=None,
    ways=[(VAGUE, "shown")] * 2,
)
def test_the_books_agree_whatever_happens(
    world: Any,
    bill: Any,
    *,
    said: list[Any],
    small: list[Any],
    big: list[Any],
    budget: str,
    mode: str,
    retries: int,
    cache: str | None,
    extra: Any,
    ways: list[tuple[str, Any]],
) -> None:
    site = Site(world, said, small=small, big=big)
    results: list[Any] = []
    with money(budget, enforcement_mode=mode) as tracker:
        retry = RetryPolicy(attempts=retries, base_delay=0)
        agent = site.agent(cost_tracker=tracker, retry=retry, cache=cache)

        async def main() -> None:
            async with agent:
                for query, way in ways:
                    options: Any = {"max_tokens": 100, "max_extra_cost": extra}
                    try:
                        if way == "run":
                            result = await agent.run(query, **options)
                        else:
                            leaves = way if isinstance(way, int) else None
                            shown = way != "stream"
                            result = await _read(agent, query, leaves, show_draft=shown, **options)
                    except CascadeFlowError:
                        result = None
                    assert held(tracker) == 0
                    if result is not None:
                        results.append(result)

        asyncio.run(main())
        # Of a stream that was left nobody says what it cost: it is booked at what was held.
        left = any(isinstance(way, int) for _, way in ways)
        check_books(tracker, site, bill, results, whole=not left)
        (total,) = tracker.accounts("global")
        if mode != "warn":
            assert total.limit is not None
            assert total.spent <= total.limit
        told = warned(site)
        assert len(told) == len(set(told))  # each state is told once
        if total.state != "ok":
            assert ("global total", total.state) in told


def test_a_threshold_that_asking_reached_is_told_once(world: Any) -> None:
    site = Site(world, [SAYS], small=[YES], big=[YES])
    with money("0.0004", enforcement_mode="warn") as tracker:
        result = ask(site.agent(cost_tracker=tracker))
        assert result.budget.booked == Decimal("0.000385")  # 340 for asking, 45 for answering
        told = warned(site)
        assert len(told) == len(set(told)) > 0
        (total,) = tracker.accounts("global")
        assert ("global total", total.state) in told
        kinds = site.world.kinds()
        assert kinds.index("BudgetWarned") < kinds.index("Routed")  # when it was reached


def test_what_asking_did_not_spend_pays_for_the_request_itself(world: Any, bill: Any) -> None:
    def enough(budget: Decimal) -> bool:
        site = Site(world, [SAYS], small=[YES])
        with money(budget) as tracker:
            try:
                result = ask(site.agent(cost_tracker=tracker))
            except BudgetExceededError:
                return False
            check_books(tracker, site, bill, [result])
            return bool(result.routing.domain == "legal")

    probe = money()
    with probe:
        site = Site(world, [SAYS], small=[YES])
        result = ask(site.agent(cost_tracker=probe))
        both = result.budget.held  # what asking and answering were held at, one after the other
    spent = Decimal(bill("small", 300, 20)) / 10**9
    # The hold for asking, or what it cost and the hold for the answer: the greater is enough.
    assert enough(both)
    assert enough(both - spent / 2)


@pytest.mark.parametrize("said", [500, LOST, {"text": SAID, "usage": False}])
def test_a_failure_is_booked_as_any_call_is(world: Any, bill: Any, said: Any) -> None:
    site = Site(world, [said], small=[YES], big=[YES])
    with money() as tracker:
        result = ask(site.agent(cost_tracker=tracker))
        charges = [event.charge for event in used(tracker)]
        asking = [charge for charge in charges if charge.role == "classifier"]
        if said == 500:
            assert asking == []
            assert result.budget.unconfirmed == 0
        else:
            (charge,) = asking
            assert not charge.confirmed
            assert charge.nanodollars == charge.held > 0
            assert result.budget.unconfirmed == 1
        assert result.content == "yes"
        check_books(tracker, site, bill, [result])


@pytest.mark.parametrize("does", [YES, 500])
def test_a_question_that_cannot_be_written_costs_nothing(world: Any, does: Any) -> None:
    site = Site(world, [SAYS], small=[does], big=[does])
    models = [
        ModelConfig(name, "openai", price=Price(input=1, output=2), api_key="sk-test")
        for name in ("small", "big")
    ]
    odd = ModelConfig("..", "gemini", price=Price(input=1, output=1), api_key="k")
    with money() as tracker:
        agent = CascadeAgent(
            [models[0], odd, models[1]],
            order="given",
            transport=site.world.transport,
            retry=RetryPolicy(attempts=1),
            domains=DomainDetector(semantic=False),
            zero_shot=ZeroShot(model=odd.id),
            cost_tracker=tracker,
            on_event=site.world.events.append,
        )
        if does == 500:
            with pytest.raises(InvalidRequestError):  # it stands in for the one that failed
                ask(agent)
        else:
            assert "cannot be a model's name" in ask(agent).routing.domain_reason
        assert "classifier" not in [event.charge.role for event in used(tracker)]
        assert held(tracker) == 0
        assert site.questions == 0


def test_an_image_alone_is_not_asked_about(world: Any) -> None:
    site = Site(world, [SAYS], small=[YES], big=[YES])
    picture = ImagePart(url="https://example.com/a.png")

    async def main(*parts: Any) -> Any:
        async with site.agent() as agent:
            return await agent.run(messages=[Message("user", parts)])

    assert asyncio.run(main(picture)).routing.domain == "general"
    assert site.questions == 0
    assert asyncio.run(main(TextPart("what of it?"), picture)).routing.domain == "legal"


def test_who_was_named_is_asked_though_general_requests_have_another_model(world: Any) -> None:
    site = Site(world, [SAYS], small=[YES], middle=[YES], big=[YES])
    general = Domain("general", models=["big"])
    ask(site.agent(general, zero_shot=ZeroShot(model="middle")))
    ask(site.agent(general), "what of it?")
    assert [model for model, classifies, _ in site.sent if classifies] == ["middle", "small"]


def test_where_the_caller_named_the_model_nobody_else_sees_the_request(world: Any) -> None:
    site = Site(world, [SAYS], small=[YES], big=[YES])
    ask(site.agent(zero_shot=ZeroShot(model="small")), model="big")
    assert [model for model, _, _ in site.sent] == ["big", "big"]


# Repeats, steps, hedges


def test_a_repeated_request_is_served_from_the_cache_and_nobody_is_asked_again(
    world: Any, bill: Any
) -> None:
    site = Site(world, [SAYS], small=[YES], big=[YES])
    with money() as tracker:
        agent = site.agent(Domain("legal", models=["big"]), cost_tracker=tracker, cache="memory")

        async def main() -> list[Any]:
            async with agent:
                return [await agent.run(VAGUE) for _ in range(3)]

        results = asyncio.run(main())
        assert [result.routing.route for result in results] == ["direct", "cache", "cache"]
        assert [result.routing.domain for result in results] == ["legal"] * 3
        assert [model for model, _, _ in site.sent] == ["small", "big"]
        assert results[1].budget.booked == results[1].cost.total == 0
        check_books(tracker, site, bill, results)


@pytest.mark.parametrize("text", ["who knows?", UNSURE])
def test_who_did_not_know_is_not_asked_again(world: Any, bill: Any, text: str) -> None:
    site = Site(world, [{**SAYS, "text": text}], small=[YES], big=[YES])
    with money() as tracker:
        agent = site.agent(cost_tracker=tracker)

        async def main() -> list[Any]:
            async with agent:
                return [await agent.run(VAGUE) for _ in range(3)]

        results = asyncio.run(main())
        assert site.questions == 1
        assert {result.routing.domain_layer for result in results} == {"none"}
        check_books(tracker, site, bill, results)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_loop_asks_once_for_all_its_steps(world: Any, bill: Any, *, streamed: bool) -> None:
    calls = {"text": "", "calls": (SEARCH,), "input_tokens": 5, "output_tokens": 20}
    site = Site(world, [SAYS], small=[calls, calls, YES], big=[YES])

    def search(text: str) -> str:
        """Searches."""
        return f"{text} is in Norway"

    with money() as tracker:
        agent = site.agent(cost_tracker=tracker)
        options: Any = {"tools": [search], "tool_executor": True, "max_tokens": 100}

        async def main() -> Any:
            async with agent:
                if streamed:
                    return await _read(agent, VAGUE, None, **options)
                return await agent.run(VAGUE, **options)

        result = asyncio.run(main())
        assert len(result.steps) == 2
        assert site.questions == 1
        assert len(site.sent) == 4
        assert result.cost.classifier == to_usd(bill("small", 300, 20))
        check_books(tracker, site, bill, [result])


@pytest.mark.parametrize("streamed", [False, True])
def test_a_hedged_draft_is_paid_for_beside_the_question(
    world: Any, bill: Any, *, streamed: bool
) -> None:
    clock = ManualClock()
    site = Site(world, [SAYS], small=[YES], middle=[YES], big=[YES])

    async def slow(classifies: bool) -> None:
        if not classifies and len(site.sent) == 2:
            while not clock.sleepers:  # noqa: ASYNC110 - a clock tells no event
                await asyncio.sleep(0)
            clock.advance(11)
            await clock.sleep(1_000)

    site.before = slow
    with money() as tracker:
        agent = site.agent(cost_tracker=tracker, hedge_after=10, clock=clock)

        async def main() -> Any:
            async with agent:
                if streamed:
                    return await _read(agent, VAGUE, None, max_tokens=100)
                return await agent.run(VAGUE, max_tokens=100)

        result = asyncio.run(main())
        assert [model for model, _, _ in site.sent] == ["small", "small", "middle"]
        assert held(tracker) == 0
        assert result.budget.booked == tracker.spent
        assert result.budget.unconfirmed == 1  # the one that was overtaken
        assert result.cost.classifier == to_usd(bill("small", 300, 20))
        json.dumps(result.to_dict(), allow_nan=False)


# Cancelled, left


async def _several_turns(_: bool) -> None:
    for _turn in range(3):
        await asyncio.sleep(0)


WAYS: dict[str, Callable[[CascadeAgent], Any]] = {
    "run": lambda agent: agent.run(VAGUE, max_tokens=100, timeout=60),
    "stream": lambda agent: _read(agent, VAGUE, None, max_tokens=100),
    "a shown draft": lambda agent: _read(agent, VAGUE, None, max_tokens=100, show_draft=True),
    "batch": lambda agent: agent.run_batch([VAGUE, "what of it?"]),
}


@pytest.mark.parametrize("said", [SAYS, LOST])
@pytest.mark.parametrize("hedged", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_cancelled_at_any_turn_nothing_is_held(
    world: Any, bill: Any, way: str, *, hedged: bool, said: Any
) -> None:
    async def cancelled_at(turn: int) -> bool:
        site = Site(world, [said], small=[BAD], big=[YES])
        site.before = _several_turns
        with money() as tracker:
            agent = site.agent(cost_tracker=tracker, hedge_after=10 if hedged else None)
            async with agent:
                task = asyncio.ensure_future(WAYS[way](agent))
                for _ in range(turn):
                    await asyncio.sleep(0)
                ended = bool(task.done())
                task.cancel()
                await asyncio.wait([task])
                assert held(tracker) == 0
                assert site.world.transport.open_exchanges == 0
                assert tracker.spent == to_usd(sum(booked(tracker).values()))
                whole = [event.charge for event in used(tracker) if event.charge.confirmed]
                # What came is booked at its price, and what was broken off at what was held.
                assert sum(charge.nanodollars or 0 for charge in whole) <= site.billed(bill)
                assert len(used(tracker)) == len(site.sent)
        return ended

    async def main() -> int:
        for turn in range(TURNS):
            if await cancelled_at(turn):
                return turn
        return TURNS

    assert 5 < asyncio.run(main()) < TURNS  # every turn of it was tried


@pytest.mark.parametrize("show_draft", [False, True])
def test_a_stream_that_is_left_after_any_event_holds_nothing(
    world: Any, bill: Any, *, show_draft: bool
) -> None:
    async def left_after(count: int) -> bool:
        site = Site(world, [SAYS], small=[{**BAD, "text": "BAD one two"}], big=[YES])
        with money() as tracker:
            async with site.agent(cost_tracker=tracker) as agent:
                result = await _read(agent, VAGUE, count, show_draft=show_draft, max_tokens=100)
                assert held(tracker) == 0
                assert tracker.spent == to_usd(sum(booked(tracker).values()))
                assert tracker.spent >= to_usd(bill("small", 300, 20))
        return result is not None

    async def main() -> int:
        for count in range(TURNS):
            if await left_after(count):
                return count
        return TURNS

    assert 5 < asyncio.run(main()) < TURNS  # after every event of it
