"""Answers kept in this process: gone when it ends, and never another process's."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from cascadeflow.cache.protocol import CacheStats
from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime

    from cascadeflow.cache.answer import CachedAnswer
    from cascadeflow.cache.key import CacheKey

__all__ = ["MemoryCache", "check_limits", "size_in_memory"]

_ENTRY: Final = 1_024
"""Bytes that an entry takes besides its texts: the records, and its place in two dictionaries."""


class _Entry(NamedTuple):
    answer: CachedAnswer
    scope: str
    created: float
    size: int


class MemoryCache:
    """Keeps the answers that were used last.

    A lock is held for a few dictionary operations, so that any thread may use it.

    Args:
        max_entries: how many answers at most.
        max_bytes: how much memory they take at most; an answer larger than that is not kept.
        ttl: seconds after which an answer is forgotten; `None` never.
    """

    def __init__(
        self,
        max_entries: int = 10_000,
        *,
        max_bytes: int = 64 * 1024 * 1024,
        ttl: float | None = 3600.0,
    ) -> None:
        check_limits(max_entries=max_entries, max_bytes=max_bytes, ttl=ttl)
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._lock = threading.Lock()
        self._by_use: OrderedDict[bytes, _Entry] = OrderedDict()
        self._by_age: OrderedDict[bytes, float] = OrderedDict()
        self._bytes = 0
        self._hits = 0
        self._misses = 0

    async def get(self, key: CacheKey, *, now: datetime) -> CachedAnswer | None:
        """Gives the answer, unless there is none or it has grown too old."""
        digest = key.digest
        with self._lock:
            entry = self._by_use.get(digest)
            if entry is not None and self._is_old(entry.created, now):
                self._drop(digest)
                entry = None
            if entry is None:
                self._misses += 1
                return None
            self._hits += 1
            self._by_use.move_to_end(digest)
            return entry.answer

    async def put(self, key: CacheKey, answer: CachedAnswer, *, now: datetime) -> None:
        """Keeps an answer in the place of an earlier one; the least recently used ones make room.

        Its age counts from now.
        """
        digest, size = key.digest, size_in_memory(answer)
        created = now.timestamp()
        with self._lock:
            if digest in self._by_use:
                self._drop(digest)
            while self._by_age:
                oldest, since = next(iter(self._by_age.items()))
                if not self._is_old(since, now):
                    break
                self._drop(oldest)
            if size > self._max_bytes:
                return
            self._by_use[digest] = _Entry(answer, key.scope, created, size)
            self._by_age[digest] = created
            self._bytes += size
            while len(self._by_use) > self._max_entries or self._bytes > self._max_bytes:
                self._drop(next(iter(self._by_use)))

    async def clear(self, scope: str | None = None) -> int:
        """Forgets every answer, or those of one scope, and gives how many."""
        with self._lock:
            gone = [d for d, entry in self._by_use.items() if scope in (None, entry.scope)]
            for digest in gone:
                self._drop(digest)
        return len(gone)

    async def stats(self) -> CacheStats:
        """How it does."""
        with self._lock:
            return CacheStats(
                hits=self._hits,
                misses=self._misses,
                entries=len(self._by_use),
                bytes=self._bytes,
            )

    async def aclose(self) -> None:
        """Nothing is open; the answers stay for as long as the cache does."""

    def _is_old(self, created: float, now: datetime) -> bool:
        return self._ttl is not None and now.timestamp() - created >= self._ttl

    def _drop(self, digest: bytes) -> None:
        entry = self._by_use.pop(digest)
        del self._by_age[digest]
        self._bytes -= entry.size


def size_in_memory(answer: CachedAnswer) -> int:
    """How many bytes an answer takes in memory, about."""
    texts = [answer.text, answer.reasoning]
    for call in answer.tool_calls:
        texts += [call.id, call.name, call.arguments]
    return _ENTRY + sum(map(sys.getsizeof, texts))


def check_limits(*, max_entries: int | None, max_bytes: int, ttl: float | None) -> None:
    """Refuses limits that keep nothing, or for no time.

    Raises:
        ConfigurationError: one of them is less than 1, or `ttl` is not above 0.
    """
    for name, value in (("max_entries", max_entries), ("max_bytes", max_bytes)):
        if value is not None and (type(value) is not int or value < 1):
            raise ConfigurationError(f"a cache's {name} must be at least 1, not {value!r:.40}")
    if ttl is not None and not 0 < ttl < float("inf"):
        raise ConfigurationError(
            f"a cache's ttl must be more than 0 seconds, or None for ever; not {ttl!r:.40}"
        )
