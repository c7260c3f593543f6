"""Requests, answers and both caches, for this room's tests."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.cache import (
    CachedAnswer,
    CacheKey,
    MemoryCache,
    SqliteCache,
    cache_key,
    fingerprint,
    scope_of,
)
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MODELS = fingerprint(["openai:gpt-5-mini"])


def key(text: str = "Hi", user: str | None = "ann") -> CacheKey:
    request = ChatRequest("m", (Message("user", text),))
    return cache_key(request, configuration=MODELS, scope=scope_of(user_id=user))


def answer(text: str = "Oslo", **settings: Any) -> CachedAnswer:
    return CachedAnswer(text=text, model="openai:gpt-5-mini", created=NOW, **settings)


def at(seconds: float = 0.0) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The helpers above: a test module can import none of its neighbours."""
    return SimpleNamespace(NOW=NOW, MODELS=MODELS, key=key, answer=answer, at=at, opened=opened)


class Blocking:
    """A cache whose methods a test calls without an event loop of its own."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def get(self, key: CacheKey, now: datetime = NOW) -> CachedAnswer | None:
        found: CachedAnswer | None = asyncio.run(self.cache.get(key, now=now))
        return found

    def put(self, key: CacheKey, answer: CachedAnswer, now: datetime = NOW) -> None:
        asyncio.run(self.cache.put(key, answer, now=now))

    def clear(self, scope: str | None = None) -> int:
        return int(asyncio.run(self.cache.clear(scope)))

    @property
    def stats(self) -> Any:
        return asyncio.run(self.cache.stats())


@contextmanager
def opened(kind: str, folder: Path, **settings: Any) -> Iterator[Blocking]:
    """One of the two caches, closed in the end."""
    cache: Any
    if kind == "memory":
        cache = MemoryCache(**settings)
    else:
        cache = SqliteCache(folder / "answers.db", **settings)
    try:
        yield Blocking(cache)
    finally:
        asyncio.run(cache.aclose())


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which cache: what holds of one holds of the other."""
    return str(request.param)


@pytest.fixture
def cache(kind: str, tmp_path: Path) -> Iterator[Blocking]:
    """One of the two, as it is by default."""
    with opened(kind, tmp_path) as found:
        yield found
