"""Keeping what is learned: named notes in a store, written behind the requests' back.

A store of budgets keeps such notes (`budgets.stores`); whoever learns is handed one as `Notes`, so
that no room imports another.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Final, Protocol

from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cascadeflow.models.running_means import RunningMeans
    from cascadeflow.types import JsonObject

__all__ = ["NoteKeeper", "Notes"]

_logger: Final = logging.getLogger(__name__)


class Notes(Protocol):
    """Where named JSON objects are kept. Methods block, and what one returns from is durable."""

    def get_note(self, name: str) -> JsonObject | None:
        """A note as it was last written; `None` where there is none."""

    def put_note(self, name: str, note: JsonObject) -> None:
        """Writes a note, in the place of the one of that name; the last writer wins."""

    def change_note(
        self, name: str, change: Callable[[JsonObject | None], JsonObject]
    ) -> JsonObject:
        """Reads, changes and writes a note as one step that nobody comes between; gives it.

        `change` is given the note as it is now, or `None`; if it raises, nothing is changed.
        """

    def delete_note(self, name: str) -> bool:
        """Takes a note away; says whether there was one."""


class NoteKeeper:
    """Keeps tables of means in a store: read at the start, written now and then and at the end.

    Writing happens in a thread of its own, which is begun when there is something to write and ends
    with it.
    What a store refuses (a full disk) is kept in memory and tried again with the next save; a
    warning is logged once until it can be written again. A crash loses what was observed since the
    last save, less than `every` observations of each table where the store keeps up.
    """

    def __init__(self, notes: Notes, tables: Sequence[RunningMeans], *, every: int = 100) -> None:
        """Reads what is stored, if anything is.

        Args:
            notes: the store.
            tables: what is kept; each under its own name.
            every: after how many observations of a table everything is written.

        Raises:
            StoreError: what is stored cannot be read; it was left as it is, and so were the tables
                that come after it.
            ConfigurationError: `every` is no number of at least 1.
        """
        if type(every) is not int or every < 1:
            raise ConfigurationError(f"every must be a number of observations, not {every!r}")
        self._notes = notes
        self._tables = tuple(tables)
        self._pid = os.getpid()
        self._state = threading.Lock()
        self._saving = threading.Lock()
        self._due = False
        self._closing = False
        self._failing = False
        self._thread: threading.Thread | None = None
        for table in self._tables:
            stored = notes.get_note(table.name)
            if stored is not None:
                table.restore(stored)
        for table in self._tables:
            table.watch(self._wake, every=every)

    def save(self) -> bool:
        """Writes what changed and waits for it; says whether everything is in the store now."""
        if os.getpid() != self._pid:
            return False  # the store is the parent's, and so is what was to be written
        with self._saving:
            saved = [self._save(table) for table in self._tables]  # each, whatever the others do
        return all(saved)

    def close(self) -> None:
        """Writes what is left and ends the thread; learning goes on in memory, unsaved.

        Closing twice is closing once. It raises nothing: what could not be written is logged.
        """
        if os.getpid() != self._pid:
            return
        with self._state:
            if self._closing:
                return
            self._closing = True
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self.save()
        for table in self._tables:
            table.watch(None)

    def _wake(self) -> None:
        """Called on a request's path: it must not wait for a disk."""
        with self._state:
            if self._closing:
                return
            self._due = True
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="cascadeflow-notes", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._state:
                if self._closing or not self._due:
                    self._thread = None  # nobody keeps one waiting; the next is begun when due
                    return
                self._due = False
            self.save()

    def _save(self, table: RunningMeans) -> bool:
        changes = table.take_changes()
        if not changes:
            return True
        try:
            stored = self._notes.change_note(
                table.name, lambda stored: table.merged(stored, changes)
            )
        except Exception as error:  # noqa: BLE001 - whatever a store raises: learning goes on
            table.give_back(changes)
            if not self._failing:
                _logger.warning(
                    "what was learned (%s) cannot be saved, and is kept in memory meanwhile: %s",
                    table.name,
                    error,
                )
            self._failing = True
            return False
        if self._failing:
            self._failing = False
            _logger.warning("what is learned can be saved again")
        try:
            table.adopt(stored)
        except Exception as error:  # noqa: BLE001 - a store of the user's own may give anything
            _logger.warning(
                "what other processes learned (%s) cannot be taken up from the store: %s",
                table.name,
                error,
            )
        return True
