"""Batches form by themselves, and nobody loses a vector by another's doing."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow._native import Vectors
from cascadeflow.errors import InvalidRequestError
from cascadeflow.models.batching import ALIKE, MOST_CHARACTERS, MOST_TEXTS, Batcher

if TYPE_CHECKING:
    from collections.abc import Sequence


def vector_of(text: str) -> list[float]:
    """A vector that tells the text it is of."""
    return [1.0, float(len(text)), float(sum(map(ord, text)) % 65_521)]


class Model:
    """What a batcher runs: it notes the batches, and holds the first until it is let go."""

    def __init__(self, *, holds: bool = False) -> None:
        self.batches: list[list[str]] = []
        self.began = threading.Event()
        self.free = threading.Event()
        if not holds:
            self.free.set()

    def run(self, texts: Sequence[str]) -> Vectors:
        self.batches.append(list(texts))
        self.began.set()
        assert self.free.wait(60)
        if "panic" in texts:
            raise BaseException("a panic")  # noqa: TRY002  # as PyO3 raises Rust's
        if "" in texts:
            raise InvalidRequestError(f"text {list(texts).index('')} has no tokens")
        return Vectors([vector_of(text) for text in texts])


async def held(model: Model, batcher: Batcher) -> asyncio.Task[Vectors]:
    """The first run, under way."""
    first = asyncio.create_task(batcher.vectors(["first"]))
    await asyncio.to_thread(model.began.wait, 60)
    return first


async def put(batcher: Batcher, *callers: list[str]) -> list[asyncio.Task[Vectors]]:
    """Callers who stand in line."""
    tasks = [asyncio.create_task(batcher.vectors(texts)) for texts in callers]
    await asyncio.sleep(0)
    return tasks


def test_who_comes_during_a_run_goes_into_the_next_together() -> None:
    async def go() -> None:
        model = Model(holds=True)
        batcher = Batcher(model.run, workers=1)
        first = await held(model, batcher)
        others = await put(batcher, ["a"], ["b", "c"], ["d"])
        model.free.set()
        assert (await first).tolist() == [vector_of("first")]
        assert [(await task).tolist() for task in others] == [
            [vector_of("a")],
            [vector_of("b"), vector_of("c")],
            [vector_of("d")],
        ]
        assert [sorted(batch) for batch in model.batches] == [["first"], ["a", "b", "c", "d"]]

    asyncio.run(go())


def test_nobody_waits_for_company() -> None:
    model = Model()
    batcher = Batcher(model.run, workers=1)

    async def go() -> None:
        for text in ("one", "two"):
            assert (await batcher.vectors([text])).tolist() == [vector_of(text)]

    asyncio.run(go())
    assert model.batches == [["one"], ["two"]]


def test_texts_of_unlike_length_are_not_padded_to_each_other() -> None:
    short, long = "s", "l" * (ALIKE + 2)

    async def go() -> list[list[str]]:
        model = Model(holds=True)
        batcher = Batcher(model.run, workers=1)
        first = await held(model, batcher)
        others = await put(batcher, [short], [long], [short], [long])
        model.free.set()
        await asyncio.gather(first, *others)
        return model.batches[1:]

    assert asyncio.run(go()) == [[short, short], [long, long]]


def test_a_batch_has_an_end() -> None:
    async def go(text: str) -> list[int]:
        model = Model(holds=True)
        batcher = Batcher(model.run, workers=1)
        first = await held(model, batcher)
        others = await put(batcher, *[[text]] * (MOST_TEXTS + 1))
        model.free.set()
        await asyncio.gather(first, *others)
        return [len(batch) for batch in model.batches[1:]]

    assert asyncio.run(go("short")) == [MOST_TEXTS, 1]
    assert asyncio.run(go("l" * MOST_CHARACTERS)) == [1] * (MOST_TEXTS + 1)


def test_a_caller_with_many_texts_lets_others_in_between() -> None:
    async def go() -> list[list[str]]:
        model = Model(holds=True)
        batcher = Batcher(model.run, workers=1)
        first = await held(model, batcher)
        others = await put(batcher, [f"many {n}" for n in range(3 * MOST_TEXTS)], ["one"])
        model.free.set()
        await asyncio.gather(first, *others)
        return model.batches[1:]

    batches = asyncio.run(go())
    assert "one" in batches[1]


def test_a_text_that_is_refused_fails_its_own_caller_only() -> None:
    async def go() -> list[Any]:
        model = Model(holds=True)
        batcher = Batcher(model.run, workers=1)
        first = await held(model, batcher)
        others = await put(batcher, ["a"], [""], ["b", "", "c"], ["d"])
        model.free.set()
        await first
        return await asyncio.gather(*others, return_exceptions=True)

    a, bad, partly, d = asyncio.run(go())
    assert a.tolist() == [vector_of("a")]
    assert d.tolist() == [vector_of("d")]
    assert isinstance(bad, InvalidRequestError)
    assert isinstance(partly, InvalidRequestError)
    assert partly.__notes__ == ["It is about text 1 of the 3 given."]


def test_a_panic_strands_nobody_and_stops_no_worker() -> None:
    async def go() -> Vectors:
        batcher = Batcher(Model().run, workers=1)
        with pytest.raises(BaseException, match="a panic"):
            await batcher.vectors(["panic"])
        return await batcher.vectors(["after"])

    assert asyncio.run(go()).tolist() == [vector_of("after")]


def test_a_cancelled_caller_leaves_the_line_and_takes_nobody_along() -> None:
    async def go() -> list[list[str]]:
        model = Model(holds=True)
        batcher = Batcher(model.run, workers=1)
        first = await held(model, batcher)
        gone, stays = await put(batcher, ["gone", "gone too"], ["stays"])
        running = (await put(batcher, ["later"]))[0]
        gone.cancel()
        first.cancel()  # its run is under way
        await asyncio.gather(gone, first, return_exceptions=True)
        assert gone.cancelled()
        assert first.cancelled()
        model.free.set()
        assert (await stays).tolist() == [vector_of("stays")]
        assert (await running).tolist() == [vector_of("later")]
        return model.batches[1:]

    assert asyncio.run(go()) == [["stays", "later"]]


def test_several_workers_run_at_once() -> None:
    both = threading.Barrier(2, timeout=60)

    def run(texts: Sequence[str]) -> Vectors:
        both.wait()
        return Vectors([vector_of(text) for text in texts])

    async def go() -> None:
        batcher = Batcher(run, workers=2)
        await asyncio.gather(batcher.vectors(["a"]), batcher.vectors(["b" * 100]))

    asyncio.run(go())


def test_callers_of_several_loops_share_batches() -> None:
    model = Model()
    batcher = Batcher(model.run, workers=1)
    texts = [f"text {number}" for number in range(50)]
    wrong: list[str] = []

    async def ask(text: str) -> None:
        if (await batcher.vectors([text])).tolist() != [vector_of(text)]:
            wrong.append(text)

    async def all_of_them() -> None:
        await asyncio.gather(*(ask(text) for text in texts))

    threads = [threading.Thread(target=asyncio.run, args=(all_of_them(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sum(len(batch) for batch in model.batches) == 200
    assert len(model.batches) < 200


@settings(deadline=None, max_examples=50)
@given(
    callers=st.lists(st.lists(st.text(max_size=80), min_size=1, max_size=12), max_size=12),
    workers=st.integers(1, 3),
    cancelled=st.sets(st.integers(0, 11)),
)
def test_everyone_gets_the_vectors_of_their_own_texts(
    callers: list[list[str]], workers: int, cancelled: set[int]
) -> None:
    async def go() -> None:
        batcher = Batcher(Model().run, workers=workers)
        tasks = await put(batcher, *callers)
        for number in cancelled & set(range(len(tasks))):
            tasks[number].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for number, (texts, outcome) in enumerate(zip(callers, outcomes, strict=True)):
            if isinstance(outcome, asyncio.CancelledError):
                assert number in cancelled
            elif isinstance(outcome, BaseException):
                assert isinstance(outcome, InvalidRequestError)
                assert "" in texts
            else:
                assert outcome.tolist() == [vector_of(text) for text in texts]

    asyncio.run(go())
