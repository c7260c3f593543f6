"""Means of what was observed lately, by key: what is learned online, in bounded memory.

Each key has two sums, of weights and of values. With every observation of the key what was there
before counts for less: after `half_life` of them, half as much. So a key follows change at the pace
at which it is observed, and one that nobody asks about forgets nothing.

Several processes may learn into one stored document. What a process observed since it last saved is
kept apart, as how often the sums decayed and what came on top; that is put on whatever is stored by
then (`merged`), so no process undoes what another one learned.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cascadeflow.errors import ConfigurationError, InvalidRequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cascadeflow.types import JsonObject

__all__ = ["Changes", "Key", "Pattern", "RunningMeans", "Sums"]

Key: TypeAlias = tuple[str, ...]
"""What was observed; every key of one table has the same number of parts."""

Pattern: TypeAlias = tuple[str | None, ...]
"""Which keys: `None` stands for any part."""

Sums: TypeAlias = tuple[float, float]
"""How many observations still count, and the sum of their values."""

_Delta: TypeAlias = tuple[int, float, float]
"""Observations since the last saving: how many, and the sums that they make by themselves."""

_VERSION: Final = 1
_LONGEST_HALF_LIFE: Final = 1_000_000
_NOTHING: Final[Sums] = (0.0, 0.0)
_NO_CHANGE: Final[_Delta] = (0, 0.0, 0.0)
_PLACES: Final = 6
"""Decimal places that are stored: a millionth of an observation."""
_ROUNDED: Final = 1e-5


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened to a table since it was last saved: first what was forgotten, then learned."""

    forgotten: tuple[Pattern, ...] = ()
    learned: Mapping[Key, _Delta] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.forgotten or self.learned)


class RunningMeans:
    """A bounded table of decaying sums. Any thread may use it; nothing in it waits for a disk."""

    def __init__(
        self, name: str, *, parts: int, largest: float, half_life: float, max_keys: int
    ) -> None:
        """Starts knowing nothing.

        Args:
            name: what the stored document is called, such as `"learned.acceptance"`.
            parts: of how many texts a key is made.
            largest: the largest value; larger ones count as this one. The smallest is 0.
            half_life: after so many observations of a key, what was there before counts half.
            max_keys: the most keys kept; the one not used for longest makes room.

        Raises:
            ConfigurationError: a number that cannot be.
        """
        if not 0 < half_life <= _LONGEST_HALF_LIFE:
            raise ConfigurationError(
                "half_life must be a number of observations above 0 and at most "
                f"{_LONGEST_HALF_LIFE:,}, not {half_life!r}"
            )
        if type(max_keys) is not int or max_keys < parts:
            raise ConfigurationError(
                f"a table of learned means needs room for at least {parts} keys, not {max_keys!r}"
            )
        self.name: Final = name
        self.max_keys: Final = max_keys
        self._parts = parts
        self._largest = largest
        self._decay = 2.0 ** (-1.0 / half_life)
        self._heaviest = 1.0 / (1.0 - self._decay)
        self._lock = threading.Lock()
        self._sums: OrderedDict[Key, Sums] = OrderedDict()
        self._tell: Callable[[], None] | None = None
        self._tell_every = 1
        self._untold = 0
        self._forgotten: dict[Pattern, None] = {}
        self._learned: OrderedDict[Key, _Delta] = OrderedDict()
        _tables.add(self)

    def __len__(self) -> int:
        return len(self._sums)

    def observe(self, value: float, *keys: Key) -> None:
        """Adds one observation to each of these keys.

        Raises:
            InvalidRequestError: the value is no number of at least 0.
        """
        if not value >= 0:  # not a number fails too
            raise InvalidRequestError(f"an observation is a number of at least 0, not {value!r}")
        value = min(value, self._largest)
        decay, tell = self._decay, None
        with self._lock:
            for key in keys:
                weight, total = self._sums.get(key, _NOTHING)
                self._set(key, (weight * decay + 1.0, total * decay + value))
            if self._tell is not None:
                self._note(keys, value)
                self._untold += 1
                if self._untold >= self._tell_every:
                    self._untold, tell = 0, self._tell
        if tell is not None:
            tell()

    def read(self, *keys: Key) -> list[Sums]:
        """Gives the sums of these keys, zeros where nothing is known."""
        found = []
        with self._lock:
            for key in keys:
                sums = self._sums.get(key)
                if sums is None:
                    found.append(_NOTHING)
                else:
                    self._sums.move_to_end(key)
                    found.append(sums)
        return found

    def forget(self, pattern: Pattern) -> None:
        """Forgets every key that fits; what is stored of them goes when it is next saved."""
        with self._lock:
            _drop(self._sums, pattern)
            if self._tell is not None:
                _drop(self._learned, pattern)
                self._forgotten.pop(pattern, None)
                self._forgotten[pattern] = None

    def _set(self, key: Key, sums: Sums) -> None:
        table = self._sums
        table[key] = sums
        table.move_to_end(key)
        if len(table) > self.max_keys:
            table.popitem(last=False)

    def _note(self, keys: Iterable[Key], value: float) -> None:
        learned, decay = self._learned, self._decay
        for key in keys:
            times, weight, total = learned.get(key, _NO_CHANGE)
            learned[key] = times + 1, weight * decay + 1.0, total * decay + value
            learned.move_to_end(key)
            if len(learned) > self.max_keys:  # a store that cannot be written for long
                learned.popitem(last=False)

    # Stored

    def to_dict(self) -> dict[str, Any]:
        """Gives the table as JSON."""
        with self._lock:
            sums = list(self._sums.items())
        return self._document(sums)

    def restore(self, document: JsonObject) -> None:
        """Takes a stored table in the place of this one.

        Raises:
            StoreError: it is none, or of a newer version; this table is as it was.
        """
        table = self._read(document)
        with self._lock:
            self._sums = table

    def watch(self, tell: Callable[[], None] | None, *, every: int = 1) -> None:
        """Has changes kept apart for saving, and somebody told once there are so many more.

        Args:
            tell: called from whichever thread observed, so it must not wait; `None` ends it.
            every: after how many observations.
        """
        with self._lock:
            self._tell, self._tell_every, self._untold = tell, every, 0
            if tell is None:
                self._learned.clear()
                self._forgotten.clear()

    def take_changes(self) -> Changes:
        """Gives what changed since the last time, which is then the caller's to save."""
        with self._lock:
            changes = Changes(tuple(self._forgotten), self._learned)
            self._forgotten, self._learned = {}, OrderedDict()
        return changes

    def give_back(self, changes: Changes) -> None:
        """Takes back changes that could not be saved: the next ones include them."""
        with self._lock:
            newer, newly_forgotten = self._learned, self._forgotten
            learned = OrderedDict(changes.learned)
            for pattern in newly_forgotten:
                _drop(learned, pattern)
            for key, (times, weight, total) in newer.items():
                before, old_weight, old_total = learned.get(key, _NO_CHANGE)
                faded = self._decay**times
                learned[key] = (
                    before + times,
                    old_weight * faded + weight,
                    old_total * faded + total,
                )
                learned.move_to_end(key)
            while len(learned) > self.max_keys:
                learned.popitem(last=False)
            self._learned = learned
            self._forgotten = {**dict.fromkeys(changes.forgotten), **newly_forgotten}

    def merged(self, stored: JsonObject | None, changes: Changes) -> dict[str, Any]:
        """Gives the document to store: what is stored by now, and these changes put on it.

        Raises:
            StoreError: what is stored is no such table, or of a newer version.
        """
        table: OrderedDict[Key, Sums] = OrderedDict() if stored is None else self._read(stored)
        for pattern in changes.forgotten:
            _drop(table, pattern)
        self._put_on(table, changes.learned)
        return self._document(list(table.items()))

    def adopt(self, stored: JsonObject) -> None:
        """Takes over what was stored just now, and puts on it what was observed since.

        So a process learns what others did, and what another one forgot is forgotten here too.

        Raises:
            StoreError: as `restore` does.
        """
        table = self._read(stored)
        with self._lock:
            for pattern in self._forgotten:
                _drop(table, pattern)
            self._put_on(table, self._learned)
            self._sums = table

    def _put_on(self, table: OrderedDict[Key, Sums], learned: Mapping[Key, _Delta]) -> None:
        for key, (times, weight, total) in learned.items():
            old_weight, old_total = table.get(key, _NOTHING)
            faded = self._decay**times
            table[key] = old_weight * faded + weight, old_total * faded + total
            table.move_to_end(key)
        while len(table) > self.max_keys:
            table.popitem(last=False)

    def _document(self, sums: Iterable[tuple[Key, Sums]]) -> dict[str, Any]:
        return {
            "what": self.name,
            "version": _VERSION,
            "means": [
                [*key, round(weight, _PLACES), round(total, _PLACES)]
                for key, (weight, total) in sums
            ],
        }

    def _read(self, document: JsonObject) -> OrderedDict[Key, Sums]:
        version = document.get("version")
        if document.get("what") != self.name or type(version) is not int or version < 1:
            raise self._refused("it is something else, or damaged")
        if version > _VERSION:
            raise StoreError(
                f"what is stored as {self.name!r} was written by a newer cascadeflow (its version "
                f"is {version}, this one knows {_VERSION}) and was left as it is: upgrade this "
                f"one, or delete the note {self.name!r} to learn anew"
            )
        rows = document.get("means")
        if not isinstance(rows, list):
            raise self._refused("its rows are missing")
        table: OrderedDict[Key, Sums] = OrderedDict()
        for row in rows[-self.max_keys :]:
            key, sums = self._read_row(row)
            table[key] = sums
        return table

    def _read_row(self, row: Any) -> tuple[Key, Sums]:
        parts = self._parts
        if not isinstance(row, list) or len(row) != parts + 2:
            raise self._refused(f"a row has not {parts + 2} fields")
        texts, (weight, total) = row[:parts], row[parts:]
        if not all(isinstance(text, str) for text in texts):
            raise self._refused("a row's key is no text")
        most = self._largest
        if not (_is_number(weight) and _is_number(total) and total <= (weight + _ROUNDED) * most):
            raise self._refused(f"the sums of {texts} cannot be")
        total = min(total, weight * most)
        # Learned with a longer half-life: it may not outweigh what this one can learn.
        share = min(1.0, self._heaviest / weight) if weight else 0.0
        return tuple(map(sys.intern, texts)), (weight * share, total * share)

    def _refused(self, why: str) -> StoreError:
        return StoreError(
            f"what is stored as {self.name!r} cannot be read ({why}) and was left as it is: "
            f"restore it from a backup, or delete the note {self.name!r} to learn anew"
        )

    def renew_after_fork(self) -> None:
        """The child must not wait for a thread of its parent's, nor save into its store."""
        self._lock = threading.Lock()
        self._tell = None


def _drop(table: OrderedDict[Key, Any], pattern: Pattern) -> None:
    if all(part is None for part in pattern):
        table.clear()
        return
    for key in [key for key in table if _fits(key, pattern)]:
        del table[key]


def _fits(key: Key, pattern: Pattern) -> bool:
    return all(wanted in (None, part) for part, wanted in zip(key, pattern, strict=True))


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 <= value < math.inf


_tables: Final[weakref.WeakSet[RunningMeans]] = weakref.WeakSet()


def _after_fork() -> None:
    for table in list(_tables):
        table.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
