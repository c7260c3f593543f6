"""Many requests through one agent, so many at a time, results in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Sized,
)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, overload

from cascadeflow.errors import InvalidRequestError
from cascadeflow.money import from_usd, to_usd
from cascadeflow.types import JsonObject, Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from decimal import Decimal

    from cascadeflow.agent_setup import RunOptions
    from cascadeflow.pipeline.result import CascadeResult
    from cascadeflow.tiers.gate import Tiers

__all__ = ["BatchProgress", "BatchResult", "Question", "places", "run_batch"]

_logger: Final = logging.getLogger(__name__)

Question: TypeAlias = str | Sequence[Message | JsonObject]
"""One request of a batch: a query, or a conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProgress:
    """How far a batch has come.

    Attributes:
        done: requests that have ended, failed ones included.
        failed: requests that have failed.
        total: requests in all; `None` when the questions do not say how many they are.
        cost: US dollars so far, of the answered requests whose cost is known.
    """

    done: int
    failed: int
    total: int | None
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult(Sequence["CascadeResult | None"]):
    """A batch's results; as a sequence, `results`.

    Attributes:
        results: by question, in order; `None` where the request failed.
        errors: by question, in order; `None` where it was answered.
        cost: US dollars, of the answered requests whose cost is known.
        unknown_costs: how many answered requests have no known cost.
        duration_ms: from the call to the last result.
    """

    results: tuple[CascadeResult | None, ...]
    errors: tuple[Exception | None, ...]
    cost: Decimal
    unknown_costs: int
    duration_ms: float

    def __len__(self) -> int:
        return len(self.results)

    @overload
    def __getitem__(self, index: int) -> CascadeResult | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[CascadeResult | None]: ...
    def __getitem__(
        self, index: int | slice
    ) -> CascadeResult | Sequence[CascadeResult | None] | None:
        return self.results[index]

    # v0.1's names.

    @property
    def success_count(self) -> int:
        """How many requests were answered."""
        return len(self.results) - self.failure_count

    @property
    def failure_count(self) -> int:
        """How many requests failed."""
        return sum(error is not None for error in self.errors)

    @property
    def success_rate(self) -> float:
        """The share of requests that were answered, 0 to 1; 0 for an empty batch."""
        return self.success_count / len(self.results) if self.results else 0.0

    @property
    def total_cost(self) -> float:
        """US dollars; the exact figure is `cost`."""
        return float(self.cost)

    @property
    def average_cost(self) -> float:
        """US dollars per answered request of known cost; 0 without one."""
        known = self.success_count - self.unknown_costs
        return self.total_cost / known if known else 0.0

    @property
    def total_time(self) -> float:
        """Seconds from the call to the last result."""
        return self.duration_ms / 1000

    @property
    def average_time(self) -> float:
        """Seconds of `total_time` per request; 0 for an empty batch."""
        return self.total_time / len(self.results) if self.results else 0.0


async def run_batch(
    ask: Callable[[Question], Awaitable[CascadeResult]],
    questions: Iterable[Question] | AsyncIterable[Question],
    *,
    concurrency: int,
    on_progress: Callable[[BatchProgress], None] | None,
    stop_on_error: bool,
    monotonic: Callable[[], float],
) -> BatchResult:
    """Asks every question, at most `concurrency` at a time.

    Questions are taken from their source only when one can be asked, so a source of any length
    costs no memory; results are kept, all of them.

    Raises:
        InvalidRequestError: `concurrency` is no count, or the questions are one text.
        Exception: the first failure, with `stop_on_error`; what is under way is cancelled.
    """
    if isinstance(concurrency, bool) or concurrency < 1:
        raise InvalidRequestError(f"concurrency must be at least 1, not {concurrency!r}")
    if isinstance(questions, (str, Mapping)):
        raise InvalidRequestError("run_batch takes a sequence of queries; one goes to run()")
    batch = _Batch(ask, questions, on_progress, stop_on_error=stop_on_error)
    began = monotonic()
    workers = concurrency if batch.total is None else min(concurrency, batch.total)
    tasks = [asyncio.create_task(batch.work()) for _ in range(workers)]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    order = range(batch.taken)
    return BatchResult(
        results=tuple(batch.results.get(index) for index in order),
        errors=tuple(batch.errors.get(index) for index in order),
        cost=to_usd(batch.cost),
        unknown_costs=sum(result.cost.total is None for result in batch.results.values()),
        duration_ms=(monotonic() - began) * 1000,
    )


async def places(concurrency: int, tiers: Tiers | None, options: RunOptions) -> int:
    """Gives how many of a batch may be under way: as asked, at most as many as its tier lets."""
    if tiers is None or not isinstance(concurrency, int):
        return concurrency
    member = await tiers.find(options.get("user_id"), options.get("user_tier"))
    most = member.tier.max_concurrency
    return concurrency if most is None else min(concurrency, max(1, most))


class _Batch:
    """A batch under way: its workers take questions one by one."""

    def __init__(
        self,
        ask: Callable[[Question], Awaitable[CascadeResult]],
        questions: Iterable[Question] | AsyncIterable[Question],
        on_progress: Callable[[BatchProgress], None] | None,
        *,
        stop_on_error: bool,
    ) -> None:
        self.total = len(questions) if isinstance(questions, Sized) else None
        self.taken = 0
        self.results: dict[int, CascadeResult] = {}
        self.errors: dict[int, Exception] = {}
        self.cost = 0  # nanodollars
        self._ask = ask
        self._on_progress = on_progress
        self._stop_on_error = stop_on_error
        self._source: Iterator[Question] | AsyncIterator[Question] = (
            aiter(questions) if isinstance(questions, AsyncIterable) else iter(questions)
        )
        self._taking = asyncio.Lock()  # an async iterator must not be asked twice at once

    async def work(self) -> None:
        """Takes and asks questions until there are no more."""
        while True:
            async with self._taking:
                try:
                    question = await self._next()
                except StopAsyncIteration:
                    return
                index = self.taken
                self.taken += 1
            try:
                result = await self._ask(question)
            except Exception as error:
                if self._stop_on_error:
                    raise
                self.errors[index] = error
            else:
                self.results[index] = result
                if result.cost.total is not None:
                    self.cost += from_usd(result.cost.total)
            self._report()

    async def _next(self) -> Question:
        if isinstance(self._source, AsyncIterator):
            return await anext(self._source)
        end: Any = object()
        question = next(self._source, end)
        if question is end:
            raise StopAsyncIteration
        return question

    def _report(self) -> None:
        if self._on_progress is None:
            return
        progress = BatchProgress(
            done=len(self.results) + len(self.errors),
            failed=len(self.errors),
            total=self.total,
            cost=to_usd(self.cost),
        )
        try:
            self._on_progress(progress)
        except Exception:
            _logger.exception("on_progress raised: the batch goes on without it")
