"""Keeping what is learned: behind the requests' back, and whatever becomes of the store."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.models.notes import NoteKeeper
from cascadeflow.models.running_means import RunningMeans

if TYPE_CHECKING:
    from collections.abc import Callable

    from cascadeflow.types import JsonObject

A = ("a",)
PATIENCE = 30.0


class Shelf:
    """Notes in a dict, which can be slow or broken; as `budgets.stores` has them otherwise."""

    def __init__(self) -> None:
        self.notes: dict[str, JsonObject] = {}
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Event()
        self.written = threading.Semaphore(0)
        self.broken: Exception | None = None

    def get_note(self, name: str) -> JsonObject | None:
        return self.notes.get(name)

    def put_note(self, name: str, note: JsonObject) -> None:
        self.notes[name] = note

    def change_note(
        self, name: str, change: Callable[[JsonObject | None], JsonObject]
    ) -> JsonObject:
        self.asked.set()
        assert self.open.wait(PATIENCE)
        try:
            if self.broken is not None:
                raise self.broken
            self.notes[name] = change(self.notes.get(name))
        finally:
            self.written.release()
        return self.notes[name]

    def delete_note(self, name: str) -> bool:
        return self.notes.pop(name, None) is not None


def table(name: str = "test") -> RunningMeans:
    return RunningMeans(name, parts=1, largest=1.0, half_life=10, max_keys=10)


def weight(shelf: Shelf, name: str = "test") -> float:
    stored = table(name)
    stored.restore(shelf.notes[name])
    return stored.read(A)[0][0]


def test_it_is_written_after_so_many_observations_by_a_thread_of_its_own() -> None:
    shelf, means = Shelf(), table()
    keeper = NoteKeeper(shelf, [means], every=5)
    for _ in range(4):
        means.observe(1, A)
    assert shelf.notes == {}
    means.observe(1, A)
    assert shelf.written.acquire(timeout=PATIENCE)
    assert weight(shelf) == pytest.approx(means.read(A)[0][0], abs=1e-5)
    keeper.close()


def test_nobody_who_observes_waits_for_a_slow_store() -> None:
    shelf, means = Shelf(), table()
    keeper = NoteKeeper(shelf, [means], every=1)
    shelf.open.clear()
    means.observe(1, A)
    assert shelf.asked.wait(PATIENCE)
    for _ in range(100):  # the store hangs: were it waited for, this would never end
        means.observe(1, A)
        means.read(A)
    shelf.open.set()
    keeper.close()
    assert weight(shelf) == pytest.approx(means.read(A)[0][0], abs=1e-5)


def test_closing_writes_what_is_left_and_closing_twice_is_closing_once() -> None:
    shelf, means = Shelf(), table()
    keeper = NoteKeeper(shelf, [means])
    means.observe(1, A)
    keeper.close()
    assert weight(shelf) == 1
    shelf.notes.clear()
    means.observe(1, A)
    keeper.close()
    assert keeper.save()  # nothing is kept for it any more
    assert shelf.notes == {}


def test_nothing_is_written_where_nothing_changed() -> None:
    shelf = Shelf()
    keeper = NoteKeeper(shelf, [table()])
    assert keeper.save()
    assert not shelf.asked.is_set()
    keeper.close()


def test_a_store_that_fails_is_warned_of_once_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shelf, means, other = Shelf(), table(), table("other")
    keeper = NoteKeeper(shelf, [means, other])
    shelf.broken = StoreError("the disk is full")
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            means.observe(1, A)
            other.observe(1, A)
            assert not keeper.save()
        (record,) = caplog.records
        assert record.getMessage().endswith("kept in memory meanwhile: the disk is full")
        shelf.broken = None
        assert keeper.save()
        assert "can be saved again" in caplog.records[-1].getMessage()
    assert weight(shelf) == weight(shelf, "other") == pytest.approx(means.read(A)[0][0], abs=1e-5)
    keeper.close()


def test_the_thread_survives_a_store_that_fails() -> None:
    shelf, means = Shelf(), table()
    keeper = NoteKeeper(shelf, [means], every=1)
    shelf.broken = RuntimeError("a store of somebody's own")
    means.observe(1, A)
    assert shelf.written.acquire(timeout=PATIENCE)
    shelf.broken = None
    means.observe(1, A)
    assert shelf.written.acquire(timeout=PATIENCE)
    keeper.close()
    assert weight(shelf) == pytest.approx(means.read(A)[0][0], abs=1e-5)


def savers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "cascadeflow-notes"}


def test_its_thread_ends_with_its_work_and_another_is_begun_when_there_is_more() -> None:
    shelf, means, before = Shelf(), table(), savers()
    keeper = NoteKeeper(shelf, [means], every=2)
    assert savers() == before  # nothing is due
    for turn in range(3):
        shelf.open.clear()
        means.observe(1, A)
        assert savers() == before
        means.observe(1, A)
        (thread,) = savers() - before
        shelf.open.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert weight(shelf) == pytest.approx(means.read(A)[0][0], abs=1e-5)
        assert turn == 0 or weight(shelf) > 2
    means.observe(1, A)
    keeper.close()
    assert savers() == before
    assert weight(shelf) == pytest.approx(means.read(A)[0][0], abs=1e-5)


def test_an_observation_in_the_midst_of_a_save_is_written_by_the_same_thread() -> None:
    shelf, means, before = Shelf(), table(), savers()
    keeper = NoteKeeper(shelf, [means], every=1)
    shelf.open.clear()
    means.observe(1, A)
    assert shelf.asked.wait(PATIENCE)
    means.observe(1, A)  # what is being written just now has it not
    (thread,) = savers() - before
    shelf.open.set()
    thread.join(PATIENCE)
    assert weight(shelf) == pytest.approx(means.read(A)[0][0], abs=1e-5)
    keeper.close()


class Forgetful(Shelf):
    """A store of somebody's own, which writes what it is given and says that it was nothing."""

    def change_note(
        self, name: str, change: Callable[[JsonObject | None], JsonObject]
    ) -> JsonObject:
        super().change_note(name, change)
        given: Any = None
        return given  # type: ignore[no-any-return]


def test_a_store_that_gives_nonsense_is_warned_of_and_written_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shelf, means, other, before = Forgetful(), table(), table("other"), savers()
    keeper = NoteKeeper(shelf, [means, other], every=2)
    for _ in range(3):
        means.observe(1, A)
        other.observe(1, A)
        assert keeper.save()
    assert "what other processes learned (test) cannot be taken up from the store" in caplog.text
    assert "(other)" in caplog.text
    assert weight(shelf) == weight(shelf, "other") == pytest.approx(means.read(A)[0][0], abs=1e-5)
    for thread in savers() - before:
        thread.join(PATIENCE)
    shelf.asked.clear()
    for _ in range(2):
        means.observe(1, A)
    assert shelf.asked.wait(PATIENCE)  # the thread is none the worse for it
    other.observe(1, A)
    keeper.close()
    assert weight(shelf) == pytest.approx(means.read(A)[0][0], abs=1e-5)
    assert weight(shelf, "other") == pytest.approx(other.read(A)[0][0], abs=1e-5)


def test_what_is_stored_and_cannot_be_read_is_refused_at_the_start_and_left_as_it_is() -> None:
    shelf = Shelf()
    newer: Any = {"what": "test", "version": 9, "means": "in a form to come"}
    shelf.notes["test"] = newer
    with pytest.raises(StoreError, match="newer cascadeflow"):
        NoteKeeper(shelf, [table()])
    assert shelf.notes == {"test": newer}


def test_what_became_unreadable_meanwhile_is_not_written_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shelf, means = Shelf(), table()
    keeper = NoteKeeper(shelf, [means])
    shelf.notes["test"] = {"what": "test", "version": 9}
    means.observe(1, A)
    assert not keeper.save()
    assert shelf.notes["test"] == {"what": "test", "version": 9}
    assert "upgrade" in caplog.text
    shelf.delete_note("test")
    keeper.close()
    assert weight(shelf) == 1


@pytest.mark.parametrize("every", [0, -1, 1.5, True])
def test_a_number_of_observations_that_cannot_be_is_refused(every: Any) -> None:
    with pytest.raises(ConfigurationError, match="every"):
        NoteKeeper(Shelf(), [table()], every=every)


FORKS = """
import os, sys, threading
from cascadeflow.domains.acceptance import AcceptanceModel
from cascadeflow.models.notes import NoteKeeper
from cascadeflow.budgets.stores.memory import MemoryStore
from cascadeflow.clock import SystemClock

model, store = AcceptanceModel(), MemoryStore(clock=SystemClock())
keeper = NoteKeeper(store, [model.learned], every=1)
cell = "code", "hard", "m:m"
model.observe(*cell, accepted=True)
for lock in (model._lock, model.learned._lock, keeper._state, keeper._saving):
    lock.acquire()  # as if other threads were at it just now
child = os.fork()
if child == 0:
    model.observe(*cell, accepted=True)
    model.explore(*cell)
    assert model.estimate(*cell).observations > 1.9
    assert keeper.save() is False
    keeper.close()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_learns_in_memory_and_waits_for_none_of_its_parents_threads() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
