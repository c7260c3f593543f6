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

MOST_TEXTS: Final = 16
"""Texts in a run: about as many as gain by being together; more would only make others wait."""


class _Job:
    """The texts of one caller, and what has come of them."""

    __slots__ = ("dropped", "future", "left", "parts", "taken", "texts")

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.taken = 0
        self.left = len(texts)
        self.parts: dict[int, bytes] = {}
        self.dropped = False
        self.future: Future[Vectors] = Future()

    def wants_more(self) -> bool:
        """Whether its next texts are to be run; not when nobody waits for them any more."""
        if self.taken == 0 and not self.future.set_running_or_notify_cancel():
            return False
        return not self.dropped


class _Piece(NamedTuple):
    """Texts of one job that go into one run."""

    job: _Job
    start: int
    texts: Sequence[str]


class Batcher:
    """Runs texts on threads of its own, in batches that form by themselves.

    Nobody is kept waiting for company: a text that finds a worker free is run at once. Those who
    come while all are busy are taken together as soon as one is free, in the order in which they
    came; of a caller with many texts a few at a time, so that nobody waits for all of them.

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
            Exception: what `run` raised for these very texts.
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
        while pieces := self._take():
            self._run_together(pieces)

    def _take(self) -> list[_Piece]:
        """The next batch; when there is none, this worker is busy no more."""
        pieces = []
        with self._lock:
            room = MOST_TEXTS
            again = []
            while self._waiting and room:
                job = self._waiting.popleft()
                if not job.wants_more():
                    continue
                texts = job.texts[job.taken : job.taken + room]
                pieces.append(_Piece(job, job.taken, texts))
                room -= len(texts)
                job.taken += len(texts)
                if job.taken < len(job.texts):
                    again.append(job)
            self._waiting.extend(again)
            if not pieces:
                self._busy -= 1
        return pieces

    def _run_together(self, pieces: list[_Piece]) -> None:
        try:
            vectors = self._run([text for piece in pieces for text in piece.texts])
        except Exception as error:  # noqa: BLE001  # whatever it is, somebody waits for it
            if len(pieces) == 1:
                self._fail(pieces[0], error)
                return
            # One of them may have spoilt it for the others: each for itself.
            for piece in pieces:
                self._run_together([piece])
            return
        row = 4 * vectors.dimension
        numbers = memoryview(vectors.tobytes())
        at = 0
        for piece in pieces:
            end = at + row * len(piece.texts)
            self._give(piece, bytes(numbers[at:end]), vectors.dimension)
            at = end

    def _give(self, piece: _Piece, numbers: bytes, dimension: int) -> None:
        job = piece.job
        with self._lock:
            job.parts[piece.start] = numbers
            job.left -= len(piece.texts)
            whole = job.left == 0
        if whole:
            rows = b"".join(part for _, part in sorted(job.parts.items()))
            job.future.set_result(Vectors.from_bytes(rows, dimension))

    def _fail(self, piece: _Piece, error: Exception) -> None:
        job = piece.job
        with self._lock:
            first, job.dropped = not job.dropped, True
        if first:
            if piece.start:
                error.add_note(f"Its texts are counted from text {piece.start} of those given.")
            job.future.set_exception(error)
