"""Where experiments are kept: the protocol, and the memory of this process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from cascadeflow.errors import ConfigurationError
from cascadeflow.experiments.book import Book

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cascadeflow.experiments.book import Pending, Stop, UnitSums
    from cascadeflow.types import JsonObject

__all__ = ["ExperimentStore", "MemoryExperiments", "Review", "no_experiment", "open_experiments"]

Review: TypeAlias = "Callable[[Book], None]"
"""Looks at a book whose sums have just changed, and may note stops in it."""

_LARGEST_MEMORY: Final = 20_000


class ExperimentStore(Protocol):
    """Keeps experiments by name. Methods block; what one returns from is kept."""

    def begin(self, description: JsonObject) -> Book:
        """Notes what an experiment is, and gives its book as it stands."""

    def add(self, name: str, pending: Mapping[bytes, Pending], review: Review) -> Book:
        """Adds what was seen, has the book reviewed, and keeps both, whole or not at all."""

    def stop(self, name: str, stop: Stop) -> Book:
        """Notes a stop; one that was noted before stays as it is."""

    def read(self, name: str) -> Book:
        """Gives a book as it stands."""

    def names(self) -> list[str]:
        """The experiments' names, in order."""

    def close(self) -> None:
        """Lets go of files; the store may be used again."""


class MemoryExperiments:
    """Keeps experiments in this process's memory; they end with it.

    Args:
        max_users: how many users' sums an experiment keeps, about a kilobyte each. When more come,
            half of those kept are forgotten, chosen by hash: what they did stays counted, and of
            new users the same half are left out.
    """

    def __init__(self, *, max_users: int = _LARGEST_MEMORY) -> None:
        self._max_users = check_max_users(max_users)
        self._lock = threading.Lock()
        self._books: dict[str, Book] = {}
        self._units: dict[str, dict[bytes, UnitSums]] = {}

    def begin(self, description: JsonObject) -> Book:
        """Notes what an experiment is, and gives a copy of its book.

        Raises:
            ConfigurationError: it was something else before.
        """
        with self._lock:
            book = self._books.get(description["name"])
            if book is None:
                book = self._books[description["name"]] = Book(dict(description))
                self._units[description["name"]] = {}
            else:
                book.describe(description, where="this process's memory")
            return _copied(book)

    def add(self, name: str, pending: Mapping[bytes, Pending], review: Review) -> Book:
        """Adds what was seen, has the book reviewed, and gives a copy."""
        with self._lock:
            book, units = self._book(name), self._units[name]
            book.absorb(pending, units)
            while len(units) > self._max_users:
                book.level += 1
                for unit in [each for each in units if book.is_left_out(each)]:
                    del units[unit]
            review(book)
            return _copied(book)

    def stop(self, name: str, stop: Stop) -> Book:
        """Notes a stop, and gives a copy of the book."""
        with self._lock:
            book = self._book(name)
            book.stop(stop)
            return _copied(book)

    def read(self, name: str) -> Book:
        """Gives a copy of a book."""
        with self._lock:
            return _copied(self._book(name))

    def names(self) -> list[str]:
        """The experiments' names, in order."""
        with self._lock:
            return sorted(self._books)

    def close(self) -> None:
        """There is nothing to let go of."""

    def _book(self, name: str) -> Book:
        book = self._books.get(name)
        if book is None:
            raise no_experiment(name, sorted(self._books), "this process's memory")
        return book


def open_experiments(store: Any) -> ExperimentStore:
    """Opens a store: `"memory"`, `"sqlite:///relative.db"`, or one that is open.

    Raises:
        ConfigurationError: it names none.
        StoreError: the file cannot be opened.
    """
    if isinstance(store, str):
        if store == "memory":
            return MemoryExperiments()
        from cascadeflow.experiments.sqlite import SqliteExperiments, path_of  # noqa: PLC0415

        return SqliteExperiments(path_of(store))
    names = ("begin", "add", "stop", "read", "names", "close")
    if isinstance(store, type) or not all(hasattr(store, name) for name in names):
        raise ConfigurationError(
            'store must be "memory", "sqlite:///experiments.db" or an ExperimentStore, not '
            f"{store!r:.80}"
        )
    opened: ExperimentStore = store
    return opened


def check_max_users(max_users: Any) -> int:
    """Gives the number back if it is one.

    Raises:
        ConfigurationError: it is none.
    """
    if type(max_users) is not int or max_users < 1:
        raise ConfigurationError(f"max_users must be a number of users, not {max_users!r}")
    return max_users


def no_experiment(name: str, names: list[str], where: str) -> ConfigurationError:
    """Gives the error that says which experiments there are."""
    known = f"it has {', '.join(names)}" if names else "it has none yet"
    return ConfigurationError(f"{where} has no experiment called {name!r:.120}: {known}")


def _copied(book: Book) -> Book:
    return Book.from_text(book.to_text(), where="this process's memory")
