"""Judging after the answer: the text decides at once, and the full verdict is never lost."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from tests.agent.test_balanced import ACCEPTS, CAPITAL, FAST, REJECTS, agent_of
from tests.quality.local_models import Broken, Stranger

from cascadeflow import ConfigurationError, Drafting, QualityConfig
from cascadeflow.pipeline import events, late

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow._native import Vectors
    from cascadeflow.quality.report import QualityReport

LATER = dataclasses.replace(REJECTS, async_validation=True)
LATER_GOOD = dataclasses.replace(ACCEPTS, async_validation=True)
SMALL = "openai:small"


class Gated(Stranger):
    """An embedder that answers once a test lets it, and says that it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.busy = asyncio.Event(), asyncio.Event()

    async def layered(self, texts: Sequence[str]) -> Vectors:
        self.busy.set()
        await self.go.wait()
        return await super().layered(texts)


def told(w: Any, request_id: str | None = None) -> list[tuple[bool, str | None, bool | None]]:
    """The verdicts that listeners heard of: whether late, by which mode, and what."""
    return [
        (event.late, event.quality.mode, event.quality.accepted)
        for event in w.events
        if isinstance(event, events.DraftJudged) and request_id in (None, event.request_id)
    ]


def not_judged(report: QualityReport, why: str) -> None:
    assert report.accepted is False
    assert report.checks[-1].verdict == "error"
    assert report.checks[-1].name == "validator"
    assert why in report.reason
    assert report.reason == report.checks[-1].reason


# The answer first, the verdict later


@pytest.mark.parametrize(("quality", "good"), [(LATER, False), (LATER_GOOD, True)])
def test_the_answer_comes_on_its_text_alone_and_the_full_verdict_later(
    world: Any, quality: QualityConfig, good: bool
) -> None:
    w = world(small=["Paris."], big=["never asked"])

    async def main() -> None:
        embedder = Gated()
        async with agent_of(w, quality, embedder) as agent:
            result = await agent.run(CAPITAL)
            assert result.content == "Paris."
            assert (result.quality.mode, result.quality.accepted) == ("fast", True)
            assert "toxicity" not in {check.name for check in result.quality.checks}
            await embedder.busy.wait()
            assert result.late_quality is not None
            assert not result.late_quality.done()
            assert told(w) == [(False, "fast", True)]
            embedder.go.set()
            report = await result.validated()
            assert (report.mode, report.accepted) == ("balanced", good)
            assert {"relevance", "grounding", "toxicity"} < {check.name for check in report.checks}
            assert told(w) == [(False, "fast", True), (True, "balanced", good)]
            assert await result.validated() is report
            assert result.quality.mode == "fast"  # it is as it was given out
            assert "late_quality" not in result.to_dict()

    asyncio.run(main())
    assert w.asked == ["small"]


def test_what_the_text_condemns_is_not_answered_with_and_not_judged_again(world: Any) -> None:
    w = world(small=["I'm sorry, but I can't help with that."], big=["Paris."])

    async def main() -> Any:
        embedder = Stranger()
        async with agent_of(w, LATER, embedder) as agent:
            result = await agent.run(CAPITAL)
            assert embedder.asked == []
            return result, await result.validated()

    result, report = asyncio.run(main())
    assert result.content == "Paris."
    assert result.late_quality is None
    assert report is result.quality
    assert told(w) == [(False, "fast", False)]


def test_a_stream_ends_before_the_verdict_which_listeners_hear(world: Any) -> None:
    w = world(small=["Paris it is."], big=["never asked"])

    async def main() -> None:
        for show_draft in (False, True):
            w.events.clear()
            embedder = Gated()
            async with agent_of(w, LATER, embedder) as agent:
                heard = [event async for event in agent.stream(CAPITAL, show_draft=show_draft)]
                assert isinstance(heard[-1], events.RequestCompleted)
                result = heard[-1].result
                text = [event.text for event in heard if isinstance(event, events.TextChunk)]
                assert "".join(text) == result.content == "Paris it is."
                verdicts = [event for event in heard if isinstance(event, events.DraftJudged)]
                assert [event.late for event in verdicts] == [False]
                embedder.go.set()
                assert (await result.validated()).accepted is False
                assert told(w) == [(False, "fast", True), (True, "balanced", False)]

    asyncio.run(main())
    assert w.asked == ["small", "small"]


def test_a_stream_that_nobody_reads_on_is_judged_all_the_same(world: Any) -> None:
    w = world(small=["Paris it is."], big=["never asked"])

    async def main() -> None:
        async with agent_of(w, LATER, Stranger()) as agent:
            stream = agent.stream(CAPITAL)
            async for event in stream:
                if isinstance(event, events.TextChunk):
                    break
            await stream.aclose()

    asyncio.run(main())
    assert told(w) == [(False, "fast", True), (True, "balanced", False)]


def test_without_a_loop_any_thread_may_wait_for_the_verdict(world: Any) -> None:
    w = world(small=["Paris."], big=["never asked"])
    with agent_of(w, LATER, Stranger()) as agent:
        result = agent.run_sync(CAPITAL)
        assert result.late_quality is not None
        report = result.late_quality.result(timeout=30)
        assert (report.mode, report.accepted) == ("balanced", False)
        assert asyncio.run(result.validated()) is report
    assert told(w)[-1] == (True, "balanced", False)


def test_the_verdict_may_be_awaited_on_another_loop_and_by_many(world: Any) -> None:
    w = world(small=["Paris."], big=["never asked"])

    async def main() -> Any:
        async with agent_of(w, LATER, Stranger()) as agent:
            result = await agent.run(CAPITAL)
            gone = asyncio.ensure_future(result.validated())
            gone.cancel()  # who stops waiting does not stop the verdict
            with pytest.raises(asyncio.CancelledError):
                await gone
            reports = await asyncio.gather(*[result.validated() for _ in range(5)])
            assert all(report is reports[0] for report in reports)
            return result, reports[0]

    result, report = asyncio.run(main())
    assert report.accepted is False
    assert asyncio.run(result.validated()) is report


def test_answers_of_a_batch_have_their_verdicts_too(world: Any) -> None:
    w = world(small=["Paris."], big=["never asked"])

    async def main() -> list[Any]:
        async with agent_of(w, LATER, Stranger()) as agent:
            batch = await agent.run_batch([CAPITAL, CAPITAL])
            return [await result.validated() for result in batch.results if result is not None]

    assert [report.accepted for report in asyncio.run(main())] == [False, False]


# What it leads to


def test_an_answer_whose_verdict_is_still_to_come_is_not_kept(world: Any) -> None:
    for quality, asked in ((LATER_GOOD, ["small"] * 2), (ACCEPTS, ["small"])):
        w = world(small=["Paris."], big=["never asked"])

        async def main(w: Any = w, quality: QualityConfig = quality) -> None:
            async with agent_of(w, quality, Stranger(), cache=True) as agent:
                await (await agent.run(CAPITAL)).validated()
                await agent.run(CAPITAL)

        asyncio.run(main())
        assert w.asked == asked


def test_a_verifiers_answer_is_kept_though_validation_is_late(world: Any) -> None:
    w = world(small=["I'm sorry, but I can't help with that."], big=["Paris."])

    async def main() -> None:
        async with agent_of(w, LATER, Stranger(), cache=True) as agent:
            await agent.run(CAPITAL)
            assert (await agent.run(CAPITAL)).content == "Paris."

    asyncio.run(main())
    assert w.asked == ["small", "big"]


@pytest.mark.parametrize(("quality", "good"), [(LATER, False), (LATER_GOOD, True)])
def test_the_router_learns_the_late_verdict_and_only_that(
    world: Any, quality: QualityConfig, good: bool
) -> None:
    w = world(small=["Paris."], big=["never asked"])
    drafting = Drafting()

    async def main() -> Any:
        embedder = Gated()
        async with agent_of(w, quality, embedder, drafting=drafting, draft_up_to=None) as agent:
            result = await agent.run(CAPITAL)
            level: Any = result.routing.complexity
            before = drafting.acceptance.estimate("general", level, SMALL)
            assert before.observations == 0
            embedder.go.set()
            await result.validated()
            return before, drafting.acceptance.estimate("general", level, SMALL)

    before, after = asyncio.run(main())
    assert after.observations == pytest.approx(1)
    assert (after.probability > before.probability) is good


# Nothing is lost


def test_closing_waits_for_the_verdicts_and_giving_up_on_that_stops_none(world: Any) -> None:
    w = world(small=["Paris."], big=["never asked"])

    async def main() -> None:
        embedder = Gated()
        agent = agent_of(w, LATER, embedder)
        results: list[Any] = [await agent.run(CAPITAL) for _ in range(3)]
        impatient = asyncio.create_task(agent.aclose())
        await embedder.busy.wait()
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        closing = asyncio.create_task(agent.aclose())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not closing.done()
        assert not any(result.late_quality.done() for result in results)
        embedder.go.set()
        await closing
        assert all(result.late_quality.done() for result in results)
        for result in results:
            assert (await result.validated()).mode == "balanced"

    asyncio.run(main())


def test_a_verdict_whose_loop_ends_is_reported_as_not_judged(world: Any) -> None:
    for waits in (True, False):
        w = world(small=["Paris."], big=["never asked"])

        async def main(w: Any = w, waits: bool = waits) -> Any:
            embedder = Gated()
            result = await agent_of(w, LATER, embedder).run(CAPITAL)
            if waits:
                await embedder.busy.wait()
            return result

        result = asyncio.run(main())
        not_judged(result.late_quality.result(timeout=0), "it was cancelled, as its event loop")
        assert result.quality.accepted is True
        assert told(w) == [(False, "fast", True), (True, "fast", False)]


def test_a_verdict_whose_loop_was_closed_under_it_is_reported_once_that_is_seen(
    world: Any,
) -> None:
    w = world(small=["Paris."], big=["never asked"])
    embedder = Gated()
    agent = agent_of(w, LATER, embedder)

    async def main() -> Any:
        result = await agent.run(CAPITAL)
        await embedder.busy.wait()
        return result

    loop = asyncio.new_event_loop()
    result = loop.run_until_complete(main())
    left = asyncio.all_tasks(loop)
    loop.close()
    assert not result.late_quality.done()
    asyncio.run(agent.aclose())
    not_judged(result.late_quality.result(timeout=0), "it was cancelled, as its event loop")
    assert left  # they are told of by asyncio, when they go


def test_more_than_can_be_judged_are_reported_as_not_judged(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "MOST_WAITING", 2)
    w = world(small=["Paris."], big=["never asked"])

    async def main() -> None:
        embedder = Gated()
        async with agent_of(w, LATER_GOOD, embedder) as agent:
            waiting = [await agent.run(CAPITAL) for _ in range(2)]
            beyond = await agent.run(CAPITAL)
            assert beyond.content == "Paris."
            not_judged(await beyond.validated(), "2 drafts were waiting to be judged")
            heard = told(w, beyond.request_id)
            assert heard == [(False, "fast", True), (True, "fast", False)]
            embedder.go.set()
            for result in waiting:
                assert (await result.validated()).accepted is True
            again = await agent.run(CAPITAL)
            assert (await again.validated()).accepted is True

    asyncio.run(main())


def test_a_check_that_cannot_run_is_reported_late_as_such(world: Any) -> None:
    w = world(small=["Paris."], big=["never asked"])

    async def main() -> QualityReport:
        async with agent_of(w, LATER_GOOD, Broken()) as agent:
            return await (await agent.run(CAPITAL)).validated()

    report = asyncio.run(main())
    assert report.accepted is False
    assert "relevance: it could not run" in report.reason


def test_a_listener_that_raises_does_not_lose_a_verdict(world: Any) -> None:
    w = world(small=["Paris."], big=["never asked"])

    def listener(event: Any) -> None:
        raise RuntimeError(type(event).__name__)

    async def main() -> QualityReport:
        async with agent_of(w, LATER_GOOD, Stranger(), on_event=listener) as agent:
            return await (await agent.run(CAPITAL)).validated()

    assert asyncio.run(main()).accepted is True


def test_many_requests_at_once_each_get_their_own_verdict(world: Any) -> None:
    w = world(small=[f"Paris, number {number}." for number in range(30)], big=["never asked"])

    async def main() -> None:
        async with agent_of(w, LATER_GOOD, Stranger()) as agent:
            results = await asyncio.gather(*[agent.run(CAPITAL) for _ in range(30)])
            await asyncio.gather(*[result.validated() for result in results])
            for result in results:
                assert told(w, result.request_id) == [
                    (False, "fast", True),
                    (True, "balanced", True),
                ]

    asyncio.run(main())


# Where there is nothing to do later


def test_second_opinions_cannot_come_after_the_answer() -> None:
    with pytest.raises(ConfigurationError, match="async_validation with mode fast or balanced"):
        QualityConfig.strict(async_validation=True)
    with pytest.raises(ConfigurationError, match="async_validation must be True or False"):
        QualityConfig.balanced(async_validation="yes")


@pytest.mark.parametrize(
    "quality",
    [
        dataclasses.replace(FAST, async_validation=True),
        dataclasses.replace(LATER, without=("relevance", "grounding", "toxicity")),
    ],
)
def test_where_no_model_is_asked_nothing_is_left_for_later(
    world: Any, quality: QualityConfig
) -> None:
    w = world(small=["Paris."], big=["never asked"])

    async def main() -> None:
        async with agent_of(w, quality, Stranger(), cache=True) as agent:
            result = await agent.run(CAPITAL)
            assert result.late_quality is None
            assert await result.validated() is result.quality
            await agent.run(CAPITAL)

    asyncio.run(main())
    assert w.asked == ["small"]
    assert told(w) == [(False, quality.mode, True)]


def test_a_validator_of_the_users_own_is_waited_for(world: Any) -> None:
    w = world(small=["BAD"], big=["Paris."])
    agent = w.agent("small", "big", quality_config=LATER)

    async def main() -> Any:
        async with agent:
            return await agent.run(CAPITAL)

    result = asyncio.run(main())
    assert result.content == "Paris."
    assert result.late_quality is None
