"""Answers to exact repeats, without asking a model again.

```python
from cascadeflow.cache import open_cache

cache = open_cache("sqlite:///answers.db")     # or "memory"
```

A key is made of everything that changes the answer, and of whose answer it is: by default nobody
sees what another user was answered. Answers are kept **in clear**: in memory, or in a file that
only its owner may read.

The names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascadeflow.cache.answer import CachedAnswer
    from cascadeflow.cache.key import CacheKey, CacheScope, cache_key, fingerprint, scope_of
    from cascadeflow.cache.memory import MemoryCache
    from cascadeflow.cache.opening import open_cache
    from cascadeflow.cache.protocol import CacheStats, ResponseCache
    from cascadeflow.cache.sqlite import SqliteCache

_HOMES = {
    "CacheKey": "key",
    "CacheScope": "key",
    "CacheStats": "protocol",
    "CachedAnswer": "answer",
    "MemoryCache": "memory",
    "ResponseCache": "protocol",
    "SqliteCache": "sqlite",
    "cache_key": "key",
    "fingerprint": "key",
    "open_cache": "opening",
    "scope_of": "key",
}

__all__ = [
    "CacheKey",
    "CacheScope",
    "CacheStats",
    "CachedAnswer",
    "MemoryCache",
    "ResponseCache",
    "SqliteCache",
    "cache_key",
    "fingerprint",
    "open_cache",
    "scope_of",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
