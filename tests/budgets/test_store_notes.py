"""Notes in a store: JSON objects that outlive the process, beside a log they cannot harm."""

from __future__ import annotations

import logging
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import START, MemoryOpener, SqliteOpener, usage

from cascadeflow.budgets.audit import verify
from cascadeflow.budgets.stores import open_store
from cascadeflow.budgets.stores.memory import MemoryStore
from cascadeflow.budgets.stores.notes import LARGEST_NOTE
from cascadeflow.domains.acceptance import AcceptanceModel
from cascadeflow.errors import InvalidRequestError, StoreError
from cascadeflow.models.notes import NoteKeeper
from cascadeflow.testing.clock import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

    from store_samples import Opener

    from cascadeflow.budgets.stores.sqlite import SqliteStore
    from cascadeflow.domains.complexity import ComplexityLevel

CELL: tuple[str, ComplexityLevel, str] = ("code", "hard", "openai:gpt-5-mini")


@pytest.fixture(params=["memory", "sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return MemoryOpener() if request.param == "memory" else SqliteOpener(tmp_path / "budgets.db")


@pytest.fixture
def disk(tmp_path: Path) -> SqliteOpener:
    return SqliteOpener(tmp_path / "budgets.db")


def test_a_note_is_what_was_written_last_also_after_a_crash(opener: Opener) -> None:
    store = opener.open()
    assert store.get_note("a") is None
    store.put_note("a", {"x": [1, 2.5, None, "ü\ud800"]})
    store.put_note("a", {"y": True})
    store.put_note("b", {})
    opener.crash()
    store = opener.open()
    assert store.get_note("a") == {"y": True}
    assert store.get_note("b") == {}


def test_what_a_reader_does_to_its_copy_changes_no_note(opener: Opener) -> None:
    store = opener.open()
    store.put_note("a", {"list": [1]})
    note: Any = store.get_note("a")
    note["list"].append(2)
    assert store.get_note("a") == {"list": [1]}


def test_a_note_is_deleted_once(opener: Opener) -> None:
    store = opener.open()
    store.put_note("a", {})
    assert store.delete_note("a")
    assert not store.delete_note("a")
    assert store.get_note("a") is None


def test_many_threads_that_change_a_note_lose_nothing(opener: Opener) -> None:
    store = opener.open()

    def count() -> None:
        for _ in range(20):
            store.change_note("n", lambda note: {"n": (note or {"n": 0})["n"] + 1})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get_note("n") == {"n": 80}


def test_a_change_that_fails_changes_nothing(opener: Opener) -> None:
    store = opener.open()
    store.put_note("a", {"x": 1})

    def broken(_: object) -> dict[str, Any]:
        raise LookupError("no")

    with pytest.raises(LookupError):
        store.change_note("a", broken)
    with pytest.raises(InvalidRequestError, match="no JSON"):
        store.change_note("a", lambda _: {"x": float("nan")})
    assert store.get_note("a") == {"x": 1}
    store.append([usage(1, 5)])  # nothing of it stays open
    assert store.head().rows == 1


@pytest.mark.parametrize(
    ("name", "note", "says"),
    [
        ("", {}, "name is ASCII"),
        ("ü", {}, "name is ASCII"),
        ("n" * 201, {}, "name is ASCII"),
        ("a", [], "JSON object, not list"),
        ("a", {"x": object()}, "no JSON"),
        ("a", {"x": float("inf")}, "no JSON"),
        ("a", {"x": "y" * LARGEST_NOTE}, "keep less"),
    ],
)
def test_what_is_no_note_is_refused(opener: Opener, name: str, note: Any, says: str) -> None:
    store = opener.open()
    with pytest.raises(InvalidRequestError, match=says):
        store.put_note(name, note)
    assert store.get_note(name) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(note=st.dictionaries(st.text(), JSON, max_size=4))
def test_any_json_object_comes_back_as_it_was(note: dict[str, Any]) -> None:
    store = MemoryStore(clock=ManualClock(START))
    store.put_note("a", note)
    assert store.get_note("a") == note


def test_a_reader_reads_notes_and_writes_none(disk: SqliteOpener) -> None:
    disk.open().put_note("a", {"x": 1})
    with open_store(disk.url, read_only=True) as reader:
        assert reader.get_note("a") == {"x": 1}
        with pytest.raises(StoreError, match="reading only"):
            reader.put_note("a", {})
        with pytest.raises(StoreError, match="reading only"):
            reader.delete_note("a")


def damage(store: SqliteStore, body: str) -> None:
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("UPDATE notes SET body = ?", (body,))
        connection.commit()


@pytest.mark.parametrize("body", ["{", "[1]", '{"x": 1', ""])
def test_a_damaged_note_is_refused_left_alone_and_can_be_deleted(
    disk: SqliteOpener, body: str
) -> None:
    store = disk.open()
    store.append([usage(1, 5)])
    store.put_note("a", {"x": 1})
    damage(store, body)
    with pytest.raises(StoreError, match=r"damaged.*delete_note"):
        store.get_note("a")
    with pytest.raises(StoreError, match="damaged"):
        store.change_note("a", lambda _: {})
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("SELECT body FROM notes").fetchone() == (body,)
    assert verify(store).ok
    assert store.delete_note("a")
    assert store.get_note("a") is None


KILLED = """
import os, signal, sys
from cascadeflow.budgets.stores import open_store

store = open_store(sys.argv[1])
store.put_note("a", {"x": 1})
store.put_note("b", {"y": 1})

def change(note):
    note["x"] += 1
    if note["x"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return note

store.change_note("a", change)
store.change_note("a", change)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_killed_in_the_middle_of_a_change_leaves_what_was_acknowledged(
    disk: SqliteOpener,
) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, disk.url], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    store = disk.open()
    assert (store.get_note("a"), store.get_note("b")) == ({"x": 2}, {"y": 1})


# What is learned, kept in a store


def learn(model: AcceptanceModel, times: int, *, accepted: bool) -> None:
    for _ in range(times):
        model.observe(*CELL, accepted=accepted)


def test_what_was_learned_is_there_after_a_restart(opener: Opener) -> None:
    model = AcceptanceModel()
    keeper = NoteKeeper(opener.open(), [model.learned])
    learn(model, 30, accepted=True)
    keeper.close()
    opener.crash()
    again = AcceptanceModel()
    NoteKeeper(opener.open(), [again.learned])
    assert again.estimate(*CELL).observations == pytest.approx(
        model.estimate(*CELL).observations, abs=1e-5
    )
    assert again.estimate(*CELL).probability > 0.8


def full(store: SqliteStore) -> None:
    """From now on the store's disk is full."""
    connection = store._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")


def test_on_a_full_disk_learning_goes_on_and_is_written_once_there_is_room(
    disk: SqliteOpener, caplog: pytest.LogCaptureFixture
) -> None:
    store = disk.open()
    model = AcceptanceModel()
    keeper = NoteKeeper(store, [model.learned], every=1_000_000)
    full(store)
    for number in range(200):  # more than fits a page
        model.observe(f"domain-{number}", "hard", "m:m", accepted=True)
    with caplog.at_level(logging.WARNING):
        assert not keeper.save()
        learn(model, 5, accepted=True)
        assert not keeper.save()
    assert [record.levelname for record in caplog.records] == ["WARNING"]  # once
    assert "disk is full" in caplog.text
    assert model.estimate(*CELL).observations > 4
    connection = store._connection
    assert connection is not None
    connection.execute("PRAGMA max_page_count = 100000")
    assert keeper.save()
    stored = AcceptanceModel.from_dict(store.get_note("learned.acceptance") or {})
    assert stored.estimate(*CELL).observations == pytest.approx(
        model.estimate(*CELL).observations, abs=1e-5
    )
    assert stored.estimate("domain-7", "hard", "m:m").observations == 1


def test_a_store_that_another_program_keeps_locked_delays_nothing_but_the_saving(
    disk: SqliteOpener, caplog: pytest.LogCaptureFixture
) -> None:
    store = disk.open()
    connection = store._connection
    assert connection is not None
    connection.execute("PRAGMA busy_timeout = 1")
    model = AcceptanceModel()
    keeper = NoteKeeper(store, [model.learned], every=1_000_000)
    learn(model, 10, accepted=True)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not keeper.save()
        other.execute("ROLLBACK")
    assert "locked" in caplog.text
    learn(model, 1, accepted=True)
    assert keeper.save()
    note: Any = store.get_note("learned.acceptance")
    assert {tuple(row[:3]) for row in note["means"]} == {("", *CELL[1:]), CELL}
    stored = AcceptanceModel.from_dict(note)
    assert stored.estimate(*CELL).observations == pytest.approx(
        model.estimate(*CELL).observations, abs=1e-5
    )


def test_two_agents_on_one_store_add_to_what_the_other_learned(opener: Opener) -> None:
    store = opener.open()
    one, other = AcceptanceModel(), AcceptanceModel()
    keep_one = NoteKeeper(store, [one.learned])
    keep_other = NoteKeeper(store, [other.learned])
    learn(one, 12, accepted=True)
    learn(other, 12, accepted=True)
    assert keep_one.save()
    assert keep_other.save()
    alone = AcceptanceModel()
    learn(alone, 24, accepted=True)
    assert other.estimate(*CELL).observations == pytest.approx(
        alone.estimate(*CELL).observations, abs=1e-4
    )
    learn(one, 1, accepted=True)  # and with its next save the first knows of both
    assert keep_one.save()
    assert one.estimate(*CELL).observations > 23


def test_what_one_agent_forgets_the_other_forgets_with_its_next_save(opener: Opener) -> None:
    store = opener.open()
    one, other = AcceptanceModel(), AcceptanceModel()
    keep_one = NoteKeeper(store, [one.learned])
    keep_other = NoteKeeper(store, [other.learned])
    learn(one, 20, accepted=True)
    assert keep_one.save()
    learn(other, 1, accepted=True)
    assert keep_other.save()
    one.reset()
    assert keep_one.save()
    assert one.estimate(*CELL).observations == 0
    other.observe("math", "hard", "m:m", accepted=True)
    assert keep_other.save()
    assert other.estimate(*CELL).observations == 0
