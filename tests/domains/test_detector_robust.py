"""Threads, loops, forks, cancelled requests and texts of every kind: no harm comes of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow import Domain, DomainDetector
from cascadeflow._native import Vectors
from cascadeflow.domains.rules import RuleLayer
from cascadeflow.domains.semantic import SemanticHead
from cascadeflow.types import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.domains.records import Detection

READ = 64 * 1024
BEES = Domain("bees", examples=["bbb", "bb b", "bbbb b"])
PIECES = [
    "SELECT name FROM users",
    "the patient",
    "translate",
    "(((((",
    "<request>",
    "\x00",
    "\ud800",
    "\u202e",
    "e\u0301",
    "👩‍💻",
    "请问",
    "مرحبا",
    " ",
    "\n",
    "a" * 300,
    "`",
    "%s{}",
]


class Counts:
    """An embedder that notes what it is given, and waits where it is told to."""

    dimension = 384

    def __init__(self) -> None:
        self.name = SemanticHead.builtin().model
        self.given: list[str] = []
        self.hold: asyncio.Event | None = None
        self.gate = threading.Event()
        self.gate.set()

    def embed(self, texts: Sequence[str]) -> Vectors:
        assert self.gate.wait(30)
        self.given += texts
        rows = [[1.0 + text.count("b"), 1.0 + len(text) % 7, *[0.1] * 382] for text in texts]
        return Vectors(rows).normalised()

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        if self.hold is not None:
            await self.hold.wait()
        return self.embed(texts)

    async def layered(self, texts: Sequence[str]) -> Vectors:
        return Vectors([[*row, *row] for row in (await self.vectors(texts)).tolist()])


def detect(detector: DomainDetector, text: str) -> Detection:
    return asyncio.run(detector.detect(text))


def check(found: Detection, names: frozenset[str] = DOMAINS) -> None:
    assert found.domain in names
    assert all(layer.error is None for layer in found.layers)
    if found.layer != "none":
        assert found.domains[0] == (found.domain, found.confidence)
        assert found.confidence is not None
        assert 0 < found.confidence <= 1
    for layer in found.layers:
        shares = [share for _, share in layer.probabilities]
        assert shares == sorted(shares, reverse=True)
        assert all(0 <= share <= 1 for share in shares)
        assert sum(shares) <= 1 + 1e-6


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        "\x00",
        "\ud800",
        "half \udfff pair",
        "🙂" * 5_000,
        "\u200b\u200b",
        "\ufeff",
        "e" + "\u0301" * 100_000,
        "कृपया इस function को fix करो, यह IndexError देता है",
        "(" * 200_000,
        "a" * 1_000_000,
        "translate " * 100_000,
        "\n" * 300_000 + "x",
        "```" * 100_000,
        "|" * 200_000,
        "1,2;3\t" * 50_000,
        "SELECT " * 50_000,
        '{"a":' * 100_000,
        "\u202e\u2066" * 50_000,
    ],
    ids=range(20),
)
def test_any_text_has_a_domain(text: str) -> None:
    embedder = Counts()
    found = detect(DomainDetector([BEES], semantic=embedder), text)
    check(found, DOMAINS | {"bees"})
    if not text.strip():
        assert found.layer == "none"


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_mixture_has_a_domain(text: str) -> None:
    detector = DomainDetector(semantic=Counts())
    check(detect(detector, text))
    check(detector.detect_by_rules(text))


def test_of_a_long_text_both_ends_are_read_and_nothing_more() -> None:
    embedder = Counts()
    detector = DomainDetector(semantic=embedder)
    detect(detector, "BEGIN " + "word " * 400_000 + " END")
    (read,) = embedder.given
    assert len(read) == READ + 1
    assert read.startswith("BEGIN ")
    assert read.endswith(" END")
    whole = ("word " * READ)[:READ]
    detect(detector, whole)
    assert embedder.given[1] == whole


def test_what_stands_at_either_end_of_a_long_text_is_seen() -> None:
    sure = {"domain": "legal", "rule": [{"name": "z", "weight": 40.0, "any": "zebraclause"}]}
    detector = DomainDetector(rules=RuleLayer(extra=[sure]), semantic=False)
    filler = "word " * 300_000
    for text in (f"zebraclause {filler}", f"{filler} zebraclause"):
        assert detector.detect_by_rules(text).domain == "legal"


def test_half_a_surrogate_pair_is_read_as_a_question_mark() -> None:
    embedder = Counts()
    detect(DomainDetector(semantic=embedder), "half \ud800 a pair, grüße")
    assert embedder.given == ["half ? a pair, grüße"]


# At once


def test_many_threads_and_loops_get_what_one_gets() -> None:
    texts = [f"bb {number} what of it?" + "x" * number for number in range(40)]
    expected = [_said(detect(DomainDetector([BEES], semantic=Counts()), text)) for text in texts]
    embedder = Counts()
    detector = DomainDetector([BEES], semantic=embedder)
    start = threading.Barrier(16)
    wrong: list[Any] = []

    def work() -> None:
        async def main() -> list[Detection]:
            return await asyncio.gather(*[detector.detect(text) for text in texts])

        start.wait()
        found = [_said(each) for each in asyncio.run(main())]
        if found != expected:
            wrong.append(found)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert embedder.given.count("bbbb b") == 1  # the examples were read once


def _said(found: Detection) -> Any:
    layers = [(layer.layer, layer.probabilities, layer.answered) for layer in found.layers]
    return found.domain, found.layer, found.domains, layers


def test_one_detector_serves_a_second_loop_after_the_first_is_gone() -> None:
    detector = DomainDetector([BEES], semantic=Counts())
    assert _said(detect(detector, "bb what?")) == _said(detect(detector, "bb what?"))


def test_who_is_cancelled_while_the_vector_is_made_spoils_nothing() -> None:
    embedder = Counts()
    detector = DomainDetector([BEES], semantic=embedder)

    async def main() -> None:
        embedder.hold = asyncio.Event()
        vectors = detector.vectors()
        first = asyncio.ensure_future(detector.detect("bb what?", vectors))
        second = asyncio.ensure_future(detector.detect("bb what?", vectors))
        for _ in range(5):
            await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        embedder.hold.set()
        check(await second, DOMAINS | {"bees"})

    asyncio.run(main())
    assert embedder.given.count("bb what?") == 1


def test_who_is_cancelled_while_the_examples_are_read_spoils_nothing() -> None:
    embedder = Counts()
    detector = DomainDetector([BEES], semantic=embedder)

    async def main() -> None:
        vectors = detector.vectors()
        assert vectors is not None
        await vectors.vector_of("bb what?")
        embedder.gate.clear()
        first = asyncio.ensure_future(detector.detect("bb what?", vectors))
        for _ in range(5):
            await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        embedder.gate.set()
        check(await detector.detect("bb what?", vectors), DOMAINS | {"bees"})

    asyncio.run(main())
    assert embedder.given.count("bbbb b") == 1


FORKED = """
import asyncio, os, threading
from cascadeflow import DomainDetector

ready, done = DomainDetector(semantic="auto"), threading.Event()
held = threading.Event()

def hold():
    with ready._lock:  # as while the model is looked for
        held.set()
        done.wait(60)

thread = threading.Thread(target=hold)
thread.start()
held.wait(60)
child = os.fork()
if child == 0:
    found = asyncio.run(ready.detect("and the other one?"))
    os._exit(0 if len(found.layers) == 2 else 1)
status = os.waitpid(child, 0)[1]
done.set()
thread.join()
print("done" if status == 0 else status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_is_not_held_up_by_a_thread_it_has_not(tmp_path: Any) -> None:
    environment = {**os.environ, "CASCADEFLOW_SENTENCE_MODEL": str(tmp_path / "nowhere")}
    outcome = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert outcome.stdout.strip() == "done", outcome.stderr
