"""What the pipeline needs of a cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from datetime import datetime

    from cascadeflow.cache.answer import CachedAnswer
    from cascadeflow.cache.key import CacheKey

__all__ = ["CacheStats", "ResponseCache"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """How a cache does.

    Attributes:
        hits: how often it had the answer, since this process opened it.
        misses: how often it had not.
        entries: how many answers it holds.
        bytes: how much they take, as the cache counts it.
    """

    hits: int
    misses: int
    entries: int
    bytes: int


@runtime_checkable
class ResponseCache(Protocol):
    """Keeps answers by key. Its methods may be called from any thread and any event loop."""

    async def get(self, key: CacheKey, *, now: datetime) -> CachedAnswer | None:
        """Gives the answer, unless there is none or it has grown too old.

        Raises:
            StoreError: what it is kept in cannot be read.
        """

    async def put(self, key: CacheKey, answer: CachedAnswer, *, now: datetime) -> None:
        """Keeps an answer in the place of an earlier one; the least recently used ones make room.

        Raises:
            StoreError: what it is kept in cannot be written.
        """

    async def clear(self, scope: str | None = None) -> int:
        """Forgets every answer, or those of one scope (`scope_of`), and gives how many."""

    async def stats(self) -> CacheStats:
        """How it does."""

    async def aclose(self) -> None:
        """Lets go of files and threads; using the cache again opens them anew."""
