"""Batches: in order, so many at a time, with progress, and nothing left behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import AllModelsFailedError, InvalidRequestError, OverloadedError
from cascadeflow.types import Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def test_results_come_in_the_order_of_the_queries(world: Any) -> None:
    w = world(small=[f"answer {index}" for index in range(20)], big=["x"])

    async def main() -> Any:
        async with w.agent() as agent:
            return await agent.run_batch([f"question {i}" for i in range(20)], concurrency=1)

    batch = asyncio.run(main())
    assert [result.content for result in batch] == [f"answer {index}" for index in range(20)]
    assert [body["messages"][0]["content"] for body in w.bodies] == [
        f"question {index}" for index in range(20)
    ]
    assert len(batch) == 20
    assert batch[0].content == "answer 0"
    assert [result.content for result in batch[1:3]] == ["answer 1", "answer 2"]
    assert (batch.success_count, batch.failure_count, batch.success_rate) == (20, 0, 1.0)
    assert batch.total_cost == pytest.approx(20 * 0.0002)
    assert batch.average_cost == pytest.approx(0.0002)
    assert batch.total_time == batch.duration_ms / 1000
    assert batch.average_time == pytest.approx(batch.total_time / 20)


class Gate:
    """A completer that counts who is inside at once, over a world's agent."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.inside = 0
        self.most = 0

    async def complete(self, *arguments: Any, **options: Any) -> Any:
        self.inside += 1
        self.most = max(self.most, self.inside)
        for _ in range(3):
            await asyncio.sleep(0)
        try:
            return await self.inner.complete(*arguments, **options)
        finally:
            self.inside -= 1

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.mark.parametrize("concurrency", [1, 3, 50])
def test_no_more_than_asked_are_under_way_at_once(world: Any, concurrency: int) -> None:
    w = world(small=["a"], big=["x"])

    async def main() -> Gate:
        inner = w.agent()
        gate = Gate(inner._completer)
        agent = w.agent(completer=gate, transport=None, retry=None)
        async with inner, agent:
            await agent.run_batch(["q"] * 12, concurrency=concurrency)
        return gate

    assert asyncio.run(main()).most == min(concurrency, 12)


def test_a_failed_request_has_its_error_and_stops_nobody(world: Any) -> None:
    w = world(small=["a", 500, "b"], big=[500])

    async def main() -> Any:
        async with w.agent() as agent:
            return await agent.run_batch(["1", "2", ""], concurrency=1)

    batch = asyncio.run(main())
    assert [result and result.content for result in batch.results] == ["a", None, None]
    assert batch.errors[0] is None
    assert isinstance(batch.errors[1], AllModelsFailedError)
    assert isinstance(batch.errors[2], InvalidRequestError)
    assert batch.failure_count == 2


def test_the_first_failure_can_stop_everything(world: Any) -> None:
    w = world(small=[500], big=[500])

    async def main() -> None:
        async with w.agent() as agent:
            with pytest.raises(AllModelsFailedError):
                await agent.run_batch(["q"] * 10, concurrency=2, stop_on_error=True)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert len(w.asked) <= 6


def test_what_is_under_way_is_cancelled_when_the_first_failure_stops_everything(
    world: Any,
) -> None:
    w = world(small=["a"])

    class HalfStuck:
        async def complete(self, model: Any, request: Any, **_: Any) -> Any:
            if request.last_user_text == "stuck":
                await asyncio.Event().wait()
            raise OverloadedError("no", provider=model.provider, model=model.name)

        async def aclose(self) -> None:
            pass

    async def main() -> None:
        agent = w.agent(completer=HalfStuck(), transport=None, retry=None)
        with pytest.raises(AllModelsFailedError):
            await agent.run_batch(["stuck", "failing"], concurrency=2, stop_on_error=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_progress_is_told_after_each_request(world: Any) -> None:
    w = world(small=["a", 500, {"text": "c", "usage": False}], big=[500])
    told: list[Any] = []

    async def main() -> Any:
        async with w.agent() as agent:
            return await agent.run_batch(["1", "2", "3"], concurrency=1, on_progress=told.append)

    batch = asyncio.run(main())
    assert [(p.done, p.failed, p.total) for p in told] == [(1, 0, 3), (2, 1, 3), (3, 1, 3)]
    assert [float(p.cost) for p in told] == pytest.approx([0.0002] * 3)
    assert batch.unknown_costs == 1


def test_a_progress_callback_that_raises_is_logged_and_breaks_nothing(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    w = world(small=["a"], big=["x"])

    def explode(_: Any) -> None:
        raise RuntimeError("no bar")

    async def main() -> Any:
        async with w.agent() as agent:
            return await agent.run_batch(["1", "2"], on_progress=explode)

    assert asyncio.run(main()).success_count == 2
    assert "on_progress raised" in caplog.text


def test_queries_come_from_any_iterable_and_are_taken_one_by_one(world: Any) -> None:
    w = world(small=["a"], big=["x"])
    taken: list[int] = []
    ahead: list[int] = []

    def source() -> Iterator[str]:
        for index in range(30):
            taken.append(index)
            yield f"q{index}"

    async def main() -> Any:
        async with w.agent() as agent:
            return await agent.run_batch(
                source(),
                concurrency=2,
                on_progress=lambda progress: ahead.append(len(taken) - progress.done),
            )

    batch = asyncio.run(main())
    assert len(batch) == 30
    assert max(ahead) <= 2


def test_queries_come_from_an_async_iterable_too(world: Any) -> None:
    w = world(small=["a"], big=["x"])
    told: list[Any] = []

    async def source() -> AsyncIterator[Any]:
        for index in range(5):
            await asyncio.sleep(0)
            yield [Message("user", f"q{index}")]

    async def main() -> Any:
        async with w.agent() as agent:
            return await agent.run_batch(source(), concurrency=3, on_progress=told.append)

    assert len(asyncio.run(main())) == 5
    assert {progress.total for progress in told} == {None}


def test_options_hold_for_every_request(world: Any) -> None:
    w = world(small=["a"], big=["x"])

    async def main() -> Any:
        async with w.agent() as agent:
            return await agent.run_batch(["1", "2"], max_tokens=7, temperature=0.0)

    asyncio.run(main())
    assert [(b["max_completion_tokens"], b["temperature"]) for b in w.bodies] == [(7, 0.0)] * 2


def test_an_empty_batch_is_empty(world: Any) -> None:
    async def main() -> Any:
        async with world(small=["a"]).agent() as agent:
            return await agent.run_batch([])

    batch = asyncio.run(main())
    assert len(batch) == 0
    assert (batch.success_rate, batch.average_cost, batch.average_time) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("queries", "options", "message"),
    [
        ("one text", {}, "one goes to run"),
        (["q"], {"concurrency": 0}, "concurrency must be at least 1"),
        (["q"], {"colour": "red"}, "no option called colour"),
    ],
)
def test_what_cannot_work_for_any_request_is_refused_at_once(
    world: Any, queries: Any, options: Any, message: str
) -> None:
    w = world(small=["a"])

    async def main() -> None:
        async with w.agent() as agent:
            await agent.run_batch(queries, **options)

    with pytest.raises(InvalidRequestError, match=message):
        asyncio.run(main())
    assert w.asked == []


def test_a_cancelled_batch_leaves_nothing_behind(world: Any) -> None:
    w = world(small=["a"], big=["x"])

    async def main() -> None:
        reached = asyncio.Event()

        class Stuck:
            async def complete(self, *_: Any, **__: Any) -> Any:
                reached.set()
                await asyncio.Event().wait()

            async def aclose(self) -> None:
                pass

        agent = w.agent(completer=Stuck(), transport=None, retry=None)
        task = asyncio.create_task(agent.run_batch(["1", "2", "3"], concurrency=2))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    ends = [event for event in w.events if type(event).__name__ == "RequestFailed"]
    assert len(ends) == 2
    assert all(event.cancelled for event in ends)
