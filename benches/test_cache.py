"""What it takes to know an exact repeat, and to have its answer."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from cascadeflow.cache import (
    CachedAnswer,
    CacheKey,
    MemoryCache,
    cache_key,
    fingerprint,
    scope_of,
)
from cascadeflow.types import ChatRequest, Message

KEY = "cache key, 1 KB"
HIT = "cache hit, memory"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TEXT = ("The quick brown fox jumps over the lazy dog. " * 24)[:1024]
REQUEST = ChatRequest(
    "gpt-5-mini", (Message("system", "Be brief."), Message("user", TEXT)), max_tokens=500
)
BODY = {
    "model": "gpt-5-mini",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TEXT}],
    "max_tokens": 500,
}
MODELS = fingerprint(["openai:gpt-5-mini", "anthropic:claude-opus-4-5"])
ANN = scope_of(user_id="ann")


def drive(awaitable: Any) -> Any:
    """Runs what never waits, without the cost of a loop."""
    try:
        awaitable.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited")


def test_key(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": KEY, "role": "figure", "gate_s": 1e-3, "goal_s": 15e-6}
    key = benchmark(cache_key, REQUEST, configuration=MODELS, scope=ANN)
    assert len(key.digest) == 32


def test_key_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": KEY, "role": "reference", "reference": "json + sha256"}

    def key() -> bytes:
        return hashlib.sha256(json.dumps(BODY, sort_keys=True).encode()).digest()

    assert len(benchmark(key)) == 32


def test_hit(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": HIT, "role": "figure", "gate_s": 1e-3, "goal_s": 3e-6}
    cache = MemoryCache()
    keys = [CacheKey(hashlib.sha256(str(n).encode()).digest(), ANN) for n in range(1_000)]
    answer = CachedAnswer(text=TEXT, model="openai:gpt-5-mini", created=NOW)
    for key in keys:
        drive(cache.put(key, answer, now=NOW))

    def hit() -> Any:
        return drive(cache.get(keys[500], now=NOW))

    assert benchmark(hit) is answer


def test_hit_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": HIT, "role": "reference", "reference": "json.loads"}
    kept = CachedAnswer(text=TEXT, model="openai:gpt-5-mini", created=NOW).to_bytes()
    # What a cache beside the process costs at least: reading the answer's JSON again.
    assert benchmark(json.loads, kept)["text"] == TEXT
