"""A cache by one word."""

from __future__ import annotations

from typing import Any

from cascadeflow.cache.protocol import ResponseCache
from cascadeflow.errors import ConfigurationError

__all__ = ["open_cache"]


def open_cache(cache: str | ResponseCache | bool | None) -> ResponseCache | None:  # noqa: FBT001
    """Gives the cache that a setting means; its limits are the defaults.

    >>> type(open_cache("memory")).__name__
    'MemoryCache'

    Args:
        cache: `"memory"` or `True`; `"sqlite:///relative.db"` or `"sqlite:////absolute.db"`; a
            cache of one's own; `None` or `False` for none.

    Raises:
        ConfigurationError: it is none of these.
        StoreError: the file is no cache, or cannot be opened.
    """
    if cache is None or cache is False:
        return None
    if cache is True or cache == "memory":
        from cascadeflow.cache.memory import MemoryCache  # noqa: PLC0415 - one of the two is used

        return MemoryCache()
    if isinstance(cache, str):
        from cascadeflow.cache.sqlite import SqliteCache, path_of  # noqa: PLC0415

        return SqliteCache(path_of(cache))
    given: Any = cache  # whatever the annotation says
    if isinstance(given, ResponseCache) and not isinstance(given, type):
        return given
    raise ConfigurationError(
        f'a cache is "memory", "sqlite:///answers.db" or a ResponseCache, not {given!r:.80}'
    )
