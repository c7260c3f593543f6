"""Texts of many callers run through a model together: whoever comes during a run is in the next."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

from cascadeflow._native import Vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Batcher"]

MOST_TEXTS: Final = 8
"""Texts in a run. Beside 0.2 to 0.3 ms a token, a run of all-MiniLM-L6-v2 costs 2 to 3 ms: eight
short texts share that, more would gain little and only make others wait."""

MOST_CHARACTERS: Final = 1024
"""Characters in a run of several texts; long ones gain nothing by being together."""

ALIKE: Final = 32
"""Characters by which texts of a run may differ. They are padded to the longest: 32 characters are
about the 8 tokens that a run of its own costs."""

_MOST_LOOKED_AT: Final = 64
"""Callers that are looked through for texts of like length."""


class _Job:
    """The texts of one caller, and what has come of them."""

    __slots__ = ("dropped", "future", "left", "order", "rows", "texts")

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        # Those of like length after another; the next one to run stands last.
        self.order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        self.left = len(texts)
        self.rows: list[bytes] = [b""] * len(texts)
        self.dropped = False
        self.future: Future[Vectors] = Future()

    def next_length(self) -> int:
        """Characters of its next text."""
        return len(self.texts[self.order[-1]])


class _Item(NamedTuple):
    """One text in a run."""

    job: _Job
    place: int

    @property
    def text(self) -> str:
        return self.job.texts[self.place]


def _fits(items: list[_Item], length: int) -> bool:
    """Whether a text of so many characters may go into a run with these."""
    if not items:
        return True
    first = len(items[0].text)
    return (
        len(items) < MOST_TEXTS
        and abs(first - length) <= ALIKE
        and (len(items) + 1) * max(first, length) <= MOST_CHARACTERS
    )


class Batcher:
    """Runs texts on threads of its own, in batches that form by themselves.

    Nobody is kept waiting for company: a text that finds a worker free is run at once. As soon as
    one of the busy is free, it takes the text that has waited longest, and those of like length
    with it; of a caller with many texts a few at a time, so that nobody waits for all of them.

    Args:
        run: gives the vectors of texts; it blocks. What it refuses fails only its own caller.
        workers: how many runs there may be at once.
    """

    def __init__(self, run: Callable[[Sequence[str]], Vectors], *, workers: int) -> None:
        self._run = run
        self._workers = workers
        self.after_fork()

    def after_fork(self) -> None:
        """Forgets what a parent process had under way: its threads are not here."""
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._busy = 0
        self._pool: ThreadPoolExecutor | None = None

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts, at least one, from any event loop of any thread.

        A caller who is cancelled leaves the line; what is being run already runs to its end.

        Raises:
            Exception: what `run` raised for one of these texts.
        """
        job = _Job(texts)
        with self._lock:
            if self._busy < self._workers:
                self._threads().submit(self._work)
                self._busy += 1
            self._waiting.append(job)
        try:
            return await asyncio.wrap_future(job.future)
        finally:
            job.dropped = True

    async def call(self, work: Callable[[], object]) -> None:
        """Runs something else on one of the threads."""
        with self._lock:
            future = self._threads().submit(work)
        await asyncio.wrap_future(future)

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="cascadeflow-embed")
        return self._pool

    def _work(self) -> None:
        while items := self._take():
            self._run_together(items)

    def _take(self) -> list[_Item]:
        """The next batch; when there is none, this worker is busy no more."""
        items: list[_Item] = []
        with self._lock:
            looked_at: list[_Job] = []
            while self._waiting and len(looked_at) < _MOST_LOOKED_AT and len(items) < MOST_TEXTS:
                job = self._waiting.popleft()
                if job.dropped:
                    continue
                looked_at.append(job)
                while job.order and _fits(items, job.next_length()):
                    items.append(_Item(job, job.order.pop()))
            if not items:
                self._busy -= 1
                return items
            first, *others = looked_at
            self._waiting.extendleft(job for job in reversed(others) if job.order)
            if first.order:
                self._waiting.append(first)
        return items

    def _run_together(self, items: list[_Item]) -> None:
        try:
            vectors = self._run([item.text for item in items])
        # Whatever it is, somebody waits for it; a panic in Rust is no Exception.
        except BaseException as error:  # noqa: BLE001
            if len(items) == 1:
                self._fail(items[0], error)
                return
            # One of them may have spoilt it for the others: each for itself.
            for item in items:
                self._run_together([item])
            return
        row = 4 * vectors.dimension
        numbers = vectors.tobytes()
        for at, item in enumerate(items):
            self._give(item, numbers[at * row : (at + 1) * row], vectors.dimension)

    def _give(self, item: _Item, row: bytes, dimension: int) -> None:
        job = item.job
        with self._lock:
            job.rows[item.place] = row
            job.left -= 1
            whole = job.left == 0
        if whole and job.future.set_running_or_notify_cancel():
            job.future.set_result(Vectors.from_bytes(b"".join(job.rows), dimension))

    def _fail(self, item: _Item, error: BaseException) -> None:
        job = item.job
        with self._lock:
            first, job.dropped = not job.dropped, True
        if first and job.future.set_running_or_notify_cancel():
            if len(job.texts) > 1:
                error.add_note(f"It is about text {item.place} of the {len(job.texts)} given.")
            job.future.set_exception(error)
