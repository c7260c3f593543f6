"""What the benchmarks of the quality modes share: an answer of known length, and a busy loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from cascadeflow import Price
from cascadeflow.testing import LogNormalLatency, SimulatedModel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

QUESTION = (
    "Why do the leaves of many trees turn yellow and red in autumn, and what does it depend on how "
    "bright the colours become from year to year?"
)
"""32 tokens of the sentence model, its two special ones included."""

ANSWER = (
    "In autumn the days grow short and the nights cold, and a tree stops making chlorophyll, the "
    "green pigment that catches light. As the green fades, yellow and orange pigments show that "
    "were in the leaf all summer. The red ones are made anew from sugar that stays behind when the "
    "tree closes the veins of the leaf. How bright the colours become depends on the weather: "
    "sunny days and cool nights without frost leave much sugar in the leaves and give the "
    "strongest reds, while a warm, cloudy or very dry autumn makes them dull. An early frost ends "
    "it at once, because it kills the leaf."
)
"""128 tokens, six sentences; the same question's."""

DOCUMENT = (
    "The green of a leaf is chlorophyll. It is used up by light and made anew all summer. When the "
    "days grow short and the nights cold, the tree stops making it, and what is left of it fades. "
    "Then the carotenoids show, yellow and orange pigments that have been in the leaf since "
    "spring. Anthocyanins are the red ones. They were not there before: the tree makes them in "
    "autumn from sugar that stays behind in the leaf when its veins are closed. Much sun by day "
    "and cool nights above freezing give the most sugar and the brightest red. Warm, cloudy or "
    "very dry weeks make dull colours, and an early frost kills the leaves and ends it all."
)
"""What the answer may rest on: seven sentences."""

TASKS = 64
TICK = 1e-3


def asked(number: int) -> str:
    """The question as one of many asks it."""
    return f"{QUESTION} ({number})"


def simulated_models(latency: float | LogNormalLatency = 0.0) -> list[SimulatedModel]:
    """A cheap and a dear model that give this answer to all of them."""
    answers = {asked(number): ANSWER for number in range(TASKS)} | {QUESTION: ANSWER}
    return [
        SimulatedModel("small", answers=answers, price=Price(input=1, output=2), latency=latency),
        SimulatedModel("big", answers=answers, price=Price(input=10, output=30), latency=latency),
    ]


class Lateness(NamedTuple):
    """How long an event loop stood still while it served many at once.

    Attributes:
        p99: seconds by which the latest hundredth of timers of a millisecond came too late.
        longest: the latest of all: mostly the one that was due when all tasks began at once.
        judging: the latest of those that were set once answers came.
        took: seconds until all were served.
        ticks: timers that were looked at.
    """

    p99: float
    longest: float
    judging: float
    took: float
    ticks: int


def percentile(values: Sequence[float], share: float) -> float:
    """The value that such a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def stall(ask: Callable[[int], Awaitable[None]]) -> Lateness:
    """Asks from 64 tasks at once, each by its number, and looks how late timers come meanwhile."""
    late: list[float] = []
    judging: list[float] = []
    answered = False

    async def watch() -> None:
        while True:
            begun, since = time.perf_counter(), judging if answered else late
            await asyncio.sleep(TICK)
            since.append(time.perf_counter() - begun - TICK)

    async def one(number: int) -> None:
        nonlocal answered
        await ask(number)
        answered = True

    watcher = asyncio.create_task(watch())
    begun = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(TASKS)))
    took = time.perf_counter() - begun
    watcher.cancel()
    every = late + judging
    return Lateness(
        percentile(every, 0.99), max(every), max(judging, default=0.0), took, len(every)
    )
