"""Verdicts are told in the requests' order, each once, whenever and wherever they come."""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.pipeline import verdicts
from cascadeflow.pipeline.late import LateVerdict
from cascadeflow.pipeline.verdicts import VerdictLine, verdict_values
from cascadeflow.quality.report import QualityReport

if TYPE_CHECKING:
    from collections.abc import Mapping


class Book:
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[int, bool, Mapping[str, float]]] = []
        self.line = VerdictLine()

    def observe(self, request: int, late: LateVerdict | None, accepted: bool = True) -> None:
        def tell(outcome: Mapping[str, float], *, later: bool) -> None:
            self.told.append((request, later, outcome))

        self.line.observe(tell, {"cost": 1.0}, verdict_values(accepted, 0.9), late)

    @property
    def judged(self) -> list[int]:
        """The requests whose verdicts were told, in order."""
        return [request for request, _, outcome in self.told if "accepted" in outcome]


def give(late: LateVerdict, *, accepted: bool = False, came: bool = True) -> None:
    late.came = came
    late.set_result(QualityReport(mode="balanced", threshold=0.8, accepted=accepted, score=0.2))


def test_without_late_verdicts_everything_is_told_at_once_and_together() -> None:
    book = Book()
    book.observe(0, None)
    assert book.told == [(0, False, {"cost": 1.0, "accepted": 1.0, "quality": 0.9})]


def test_the_late_verdict_is_told_in_the_early_ones_place() -> None:
    book, late = Book(), LateVerdict()
    book.observe(0, late)
    assert book.told == [(0, False, {"cost": 1.0})]
    give(late)
    assert book.told[1:] == [(0, True, {"accepted": 0.0, "quality": 0.2, "unjudged": 0.0})]


def test_one_that_never_comes_leaves_the_early_verdict_and_a_mark() -> None:
    book, late = Book(), LateVerdict()
    give(late, came=False)
    book.observe(0, late)
    assert book.told[1:] == [(0, True, {"accepted": 1.0, "quality": 0.9, "unjudged": 1.0})]


@given(st.lists(st.booleans(), max_size=12).flatmap(
    lambda lates: st.tuples(st.just(lates), st.permutations(range(len(lates))))
))  # fmt: skip
def test_what_was_told_is_always_the_first_requests_and_each_once(
    case: tuple[list[bool], list[int]],
) -> None:
    lates, order = case
    book = Book()
    waiting = {}
    for request, late in enumerate(lates):
        if late:
            waiting[request] = LateVerdict()
        book.observe(request, waiting.get(request), accepted=late)
        assert book.judged == list(range(len(book.judged)))
    for request in order:
        if request in waiting:
            give(waiting[request])
        assert book.judged == list(range(len(book.judged)))
    assert book.judged == list(range(len(lates)))
    costs = Counter(request for request, later, outcome in book.told if "cost" in outcome)
    assert set(costs.values()) <= {1}
    assert len(costs) == len(lates)


def test_what_is_known_is_told_when_nobody_may_wait_and_the_rest_once_it_comes() -> None:
    book, first, last = Book(), LateVerdict(), LateVerdict()
    for request, late in enumerate((first, None, last)):
        book.observe(request, late)
    give(last)
    assert book.judged == []
    book.line.release()
    assert book.judged == [1, 2]
    give(first)
    book.line.release()
    assert book.judged == [1, 2, 0]


def test_a_verdict_that_is_waited_for_too_long_gives_way_and_is_not_told_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verdicts, "_LONGEST", 3)
    book, stuck = Book(), LateVerdict()
    book.observe(0, stuck)
    for request in (1, 2):
        book.observe(request, None)
    assert book.judged == []
    book.observe(3, None)
    assert book.judged == [0, 1, 2, 3]
    assert book.told[4][2] == {"accepted": 1.0, "quality": 0.9, "unjudged": 1.0}
    give(stuck)
    assert book.judged == [0, 1, 2, 3]


def test_verdicts_of_several_threads_are_each_told_once() -> None:
    book = Book()
    lates = [LateVerdict() for _ in range(200)]
    for request, late in enumerate(lates):
        book.observe(request, late)

    def give_some(begin: int) -> None:
        for late in lates[begin::4]:
            give(late)

    threads = [threading.Thread(target=give_some, args=(begin,)) for begin in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(book.judged) == list(range(200))


def test_an_answer_that_was_never_judged_has_its_turn_and_tells_nothing() -> None:
    book, late = Book(), LateVerdict()
    book.observe(0, late)
    told: list[Any] = []
    book.line.observe(lambda outcome, *, later: told.append((outcome, later)), {"a": 1.0}, {}, None)
    give(late)
    assert told == [({"a": 1.0}, False)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_its_parents_verdicts() -> None:
    book = Book()
    book.observe(0, LateVerdict())
    child = os.fork()
    if child == 0:
        book.observe(1, None)
        os._exit(0 if book.judged == [1] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_that_closes_tells_nothing_of_its_parents() -> None:
    book, late = Book(), LateVerdict()
    book.observe(0, late)
    book.observe(1, None)  # known, and the parent's to tell
    child = os.fork()
    if child == 0:
        give(late)  # given up there, as its event loop is the parent's
        book.line.release()
        os._exit(0 if book.judged == [] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    give(late)
    assert book.judged == [0, 1]
