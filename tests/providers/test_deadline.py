"""One timer limits one wait after another, and never mistakes whose cancellation it is."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from cascadeflow.providers.deadline import Deadline


def test_a_wait_that_is_too_long_is_a_time_out_and_the_next_one_is_free_of_it() -> None:
    async def main() -> None:
        limiter = Deadline()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await limiter.limit(asyncio.Event().wait(), 0.01)
            assert await limiter.limit(asyncio.sleep(0, "done"), 5.0) == "done"
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        limiter.close()

    asyncio.run(main())


def test_an_earlier_deadline_than_the_armed_one_is_kept() -> None:
    async def main() -> None:
        limiter = Deadline()
        await limiter.limit(asyncio.sleep(0), 100.0)
        with pytest.raises(TimeoutError):
            await limiter.limit(asyncio.Event().wait(), 0.01)
        limiter.close()

    asyncio.run(main())


def test_a_later_deadline_outlives_the_armed_one() -> None:
    async def main() -> None:
        limiter = Deadline()
        await limiter.limit(asyncio.sleep(0), 0.01)
        assert await limiter.limit(asyncio.sleep(0.05, "done"), 30.0) == "done"
        limiter.close()

    asyncio.run(main())


def test_a_cancellation_from_outside_stays_one() -> None:
    async def main() -> None:
        started = asyncio.Event()

        async def wait() -> None:
            limiter = Deadline()
            started.set()
            try:
                await limiter.limit(asyncio.Event().wait(), 30.0)
            finally:
                limiter.close()

        task = asyncio.create_task(wait())
        await started.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(main())


def test_a_cancellation_from_outside_wins_over_a_time_out_at_the_same_moment() -> None:
    async def main() -> None:
        async def stubborn() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            task.cancel()
            await asyncio.sleep(0)

        async def wait() -> None:
            await Deadline().limit(stubborn(), 0.01)

        task = asyncio.create_task(wait())
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_what_survives_its_own_cancellation_is_given() -> None:
    async def main() -> None:
        async def stubborn() -> str:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return "done"

        limiter = Deadline()
        assert await limiter.limit(stubborn(), 0.01) == "done"
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        limiter.close()

    asyncio.run(main())


def test_an_error_of_the_awaited_is_its_own() -> None:
    async def main() -> None:
        async def fails() -> None:
            raise ValueError("mine")

        limiter = Deadline()
        with pytest.raises(ValueError, match="mine"):
            await limiter.limit(fails(), 5.0)
        assert await limiter.limit(asyncio.sleep(0, 1), None) == 1
        limiter.close()

    asyncio.run(main())


def test_it_works_inside_another_time_out() -> None:
    async def main() -> None:
        limiter = Deadline()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await limiter.limit(asyncio.Event().wait(), 30.0)
        limiter.close()

    asyncio.run(main())


def test_a_wait_under_way_can_be_given_more_time_less_time_or_no_end() -> None:
    async def main() -> None:
        async def moving(limiter: Deadline, seconds: float | None) -> str:
            limiter.move(seconds)
            await asyncio.sleep(0.05)
            return "done"

        limiter = Deadline()
        for first, then in ((0.01, 30.0), (0.01, None), (None, None), (None, 30.0)):
            assert await limiter.limit(moving(limiter, then), first) == "done"
        for first in (30.0, None):
            with pytest.raises(TimeoutError):
                await limiter.limit(moving(limiter, 0.01), first)
        limiter.close()

    asyncio.run(main())


def test_a_timer_that_looks_too_early_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascadeflow.providers.deadline._LOOK_SECONDS", 0.004)

    async def main() -> None:
        limiter = Deadline()
        assert await limiter.limit(asyncio.sleep(0.03, "done"), 30.0) == "done"
        with pytest.raises(TimeoutError):
            await limiter.limit(asyncio.Event().wait(), 0.03)
        limiter.close()

    asyncio.run(main())
