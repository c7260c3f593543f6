"""Named JSON objects beside the usage log: what is learned, and may be lost without harm to it.

A note is kept as text, so whoever reads it has a copy of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import InvalidRequestError, StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from cascadeflow.types import JsonObject

__all__ = ["LARGEST_NOTE", "NOTES_TABLE", "NotesInSqlite", "decode_note", "encode_note"]

LARGEST_NOTE: Final = 4 * 1024 * 1024
"""Characters of a note as JSON; what is learned takes some hundred thousand at most."""

_LONGEST_NAME: Final = 200

NOTES_TABLE: Final = """
CREATE TABLE notes (
    name TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
) WITHOUT ROWID;
"""


def encode_note(name: str, note: JsonObject) -> str:
    """Gives a note as text.

    Raises:
        InvalidRequestError: the name is empty, too long or not ASCII; the note is no JSON object,
            or too large.
    """
    if not (name.isascii() and 0 < len(name) <= _LONGEST_NAME):
        raise InvalidRequestError(
            f"a note's name is ASCII text of 1 to {_LONGEST_NAME} characters, not {name!r:.220}"
        )
    if not isinstance(note, Mapping):
        raise InvalidRequestError(f"a note is a JSON object, not {type(note).__name__}")
    try:
        body = json.dumps(dict(note), allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the note {name!r} is no JSON: {error}") from None
    if len(body) > LARGEST_NOTE:
        raise InvalidRequestError(
            f"the note {name!r} has {len(body):,} characters, more than {LARGEST_NOTE:,}: keep "
            "less in it"
        )
    return body


def decode_note(name: str, body: object) -> JsonObject:
    """Gives a note back.

    Raises:
        StoreError: it is damaged.
    """
    try:
        note: Any = json.loads(body) if isinstance(body, str) else None
    except (ValueError, RecursionError):
        note = None
    if not isinstance(note, dict):
        raise StoreError(
            f"the note {name!r} is damaged and was left as it is: restore a backup, or take it "
            f"away with delete_note({name!r}); the usage log does not depend on it"
        )
    return note


class NotesInSqlite:
    """The notes of a SQLite store, which says how it reads and writes."""

    def _reading(self, doing: str) -> AbstractContextManager[sqlite3.Connection]:
        raise NotImplementedError

    def _transaction(self, doing: str) -> AbstractContextManager[sqlite3.Connection]:
        raise NotImplementedError

    def get_note(self, name: str) -> JsonObject | None:
        """A note as it was last written; `None` where there is none.

        Raises:
            StoreError: it is damaged, or the file cannot be read.
        """
        with self._reading("reading a note") as connection:
            return _read(connection, name)

    def put_note(self, name: str, note: JsonObject) -> None:
        """Writes a note in the place of the one of that name; durable when it returns.

        Raises:
            InvalidRequestError: it is no JSON object, or too large.
            StoreError: the file cannot be written.
        """
        body = encode_note(name, note)
        with self._transaction("writing a note") as connection:
            _write(connection, name, body)

    def change_note(
        self, name: str, change: Callable[[JsonObject | None], JsonObject]
    ) -> JsonObject:
        """Reads, changes and writes a note in one transaction; gives it as it was written.

        If `change` raises, nothing is changed. It may not use the store.

        Raises:
            InvalidRequestError: what it gives is no JSON object, or too large.
            StoreError: the note is damaged, or the file cannot be written.
        """
        with self._transaction("writing a note") as connection:
            note = change(_read(connection, name))
            body = encode_note(name, note)
            _write(connection, name, body)
        return decode_note(name, body)

    def delete_note(self, name: str) -> bool:
        """Takes a note away, a damaged one too; says whether there was one.

        Raises:
            StoreError: the file cannot be written.
        """
        with self._transaction("deleting a note") as connection:
            return connection.execute("DELETE FROM notes WHERE name = ?", (name,)).rowcount > 0


def _read(connection: sqlite3.Connection, name: str) -> JsonObject | None:
    row = connection.execute("SELECT body FROM notes WHERE name = ?", (name,)).fetchone()
    return None if row is None else decode_note(name, row[0])


def _write(connection: sqlite3.Connection, name: str, body: str) -> None:
    connection.execute(
        "INSERT INTO notes (name, body) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET body = excluded.body",
        (name, body),
    )
