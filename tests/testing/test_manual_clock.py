"""The manual clock: nothing waits, everything wakes in order."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.errors import ConfigurationError
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from cascadeflow.clock import Clock


def test_it_is_a_clock() -> None:
    clock: Clock = ManualClock()
    assert clock.monotonic() == 0.0


def test_now_starts_where_it_is_told_in_utc_and_moves_with_the_clock() -> None:
    start = datetime(2026, 11, 22, 12, tzinfo=timezone(timedelta(hours=5)))
    clock = ManualClock(start)
    clock.advance(3600.5)
    assert clock.now() == datetime(2026, 11, 22, 8, 0, 0, 500_000, tzinfo=UTC)
    assert clock.now().tzinfo is UTC


def test_a_start_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="time zone"):
        ManualClock(datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is tested


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_the_clock_moves_forward_only(seconds: float) -> None:
    clock = ManualClock()
    with pytest.raises(ConfigurationError, match="forward"):
        clock.advance(seconds)
    with pytest.raises(ConfigurationError, match="forward"):
        asyncio.run(clock.run_for(seconds))


def test_ten_tenths_of_a_second_are_a_second() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        sleeper = asyncio.create_task(clock.sleep(1.0))
        await asyncio.sleep(0)
        for _ in range(10):
            clock.advance(0.1)
        await sleeper
        assert clock.monotonic() == 1.0

    asyncio.run(scenario())


def test_a_sleep_of_nothing_yields_once_and_needs_no_advance() -> None:
    async def scenario() -> list[str]:
        clock = ManualClock()
        order: list[str] = []

        async def other() -> None:
            order.append("other")

        task = asyncio.create_task(other())
        await clock.sleep(0)
        order.append("sleeper")
        await task
        return order

    assert asyncio.run(scenario()) == ["other", "sleeper"]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=30))
def test_sleepers_wake_by_deadline_then_by_who_slept_first(seconds: list[int]) -> None:
    async def scenario() -> list[int]:
        clock = ManualClock()
        woken: list[int] = []

        async def sleep(index: int) -> None:
            await clock.sleep(seconds[index])
            woken.append(index)

        tasks = [asyncio.create_task(sleep(index)) for index in range(len(seconds))]
        await asyncio.sleep(0)
        clock.advance(20)
        await asyncio.gather(*tasks)
        return woken

    assert asyncio.run(scenario()) == sorted(range(len(seconds)), key=lambda i: (seconds[i], i))


def test_nobody_wakes_before_the_time() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        sleeper = asyncio.create_task(clock.sleep(10))
        await clock.run_for(9.999)
        assert not sleeper.done()
        assert (clock.sleepers, clock.next_deadline) == (1, 10.0)
        await clock.run_for(0.001)
        assert sleeper.done()
        assert (clock.sleepers, clock.next_deadline) == (0, None)

    asyncio.run(scenario())


def test_run_for_wakes_a_repeating_task_at_each_of_its_times_and_advance_only_once() -> None:
    async def scenario(*, step_by_step: bool) -> list[float]:
        clock = ManualClock()
        seen: list[float] = []

        async def tick() -> None:
            while True:
                await clock.sleep(1)
                seen.append(clock.monotonic())

        task = asyncio.create_task(tick())
        await asyncio.sleep(0)
        if step_by_step:
            await clock.run_for(3.5)
        else:
            clock.advance(3.5)
            await clock.run_for(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert clock.sleepers == 0
        return seen

    assert asyncio.run(scenario(step_by_step=True)) == [1.0, 2.0, 3.0]
    assert asyncio.run(scenario(step_by_step=False)) == [3.5]


def test_a_cancelled_sleeper_is_forgotten() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        tasks = [asyncio.create_task(clock.sleep(seconds)) for seconds in (3, 1, 2)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        assert (clock.sleepers, clock.next_deadline) == (2, 2.0)
        clock.advance(3)
        await asyncio.gather(tasks[0], tasks[2])

    asyncio.run(scenario())


def test_autojump_runs_sleeping_code_to_its_end_in_simulated_time() -> None:
    async def scenario() -> list[tuple[str, float]]:
        clock = ManualClock(autojump=True)
        seen: list[tuple[str, float]] = []

        async def work(name: str, *pauses: float) -> None:
            for pause in pauses:
                await clock.sleep(pause)
                seen.append((name, clock.monotonic()))

        await asyncio.gather(work("slow", 60, 60), work("fast", 1, 1, 100))
        return seen

    assert asyncio.run(scenario()) == [
        ("fast", 1.0),
        ("fast", 2.0),
        ("slow", 60.0),
        ("fast", 102.0),
        ("slow", 120.0),
    ]


def test_without_autojump_a_sleeper_waits_for_the_test() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        sleeper = asyncio.create_task(clock.sleep(1))
        for _ in range(200):
            await asyncio.sleep(0)
        assert not sleeper.done()
        sleeper.cancel()

    asyncio.run(scenario())


def test_a_sleeper_on_another_thread_is_woken() -> None:
    clock = ManualClock()
    asleep = threading.Event()
    woken_at: list[float] = []

    async def sleep() -> None:
        task = asyncio.create_task(clock.sleep(5))
        await asyncio.sleep(0)
        asleep.set()
        await task
        woken_at.append(clock.monotonic())

    thread = threading.Thread(target=lambda: asyncio.run(sleep()))
    thread.start()
    assert asleep.wait(30)
    clock.advance(5)
    thread.join(30)
    assert woken_at == [5.0]
