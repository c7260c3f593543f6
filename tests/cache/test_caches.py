"""Both caches: the least recently used answer goes, the old one too, and nobody gets another's."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow.cache import MemoryCache, ResponseCache, SqliteCache, open_cache, scope_of
from cascadeflow.cache.memory import size_in_memory
from cascadeflow.errors import ConfigurationError
from cascadeflow.testing.clock import ManualClock

if TYPE_CHECKING:
    from types import SimpleNamespace


def test_an_answer_is_given_again(cache: Any, make: SimpleNamespace) -> None:
    assert cache.get(make.key()) is None
    cache.put(make.key(), make.answer())
    assert cache.get(make.key()) == make.answer()
    assert cache.get(make.key("Ho")) is None
    stats = cache.stats
    assert (stats.hits, stats.misses, stats.entries) == (1, 2, 1)
    assert stats.bytes > len("Oslo")


def test_a_later_answer_takes_the_place_of_an_earlier_one(
    cache: Any, make: SimpleNamespace
) -> None:
    cache.put(make.key(), make.answer("Bergen"))
    before = cache.stats.bytes
    cache.put(make.key(), make.answer("Oslo"))
    assert cache.get(make.key()).text == "Oslo"
    assert cache.stats.entries == 1
    assert cache.stats.bytes == before - 2


def test_nobody_is_given_another_s_answer(cache: Any, make: SimpleNamespace) -> None:
    cache.put(make.key(user="ann"), make.answer("hers"))
    cache.put(make.key(user=None), make.answer("nobody's"))
    assert cache.get(make.key(user="bob")) is None
    assert cache.get(make.key(user="ann")).text == "hers"
    assert cache.get(make.key(user=None)).text == "nobody's"


def test_one_user_s_answers_can_be_forgotten(cache: Any, make: SimpleNamespace) -> None:
    for user in ("ann", "bob"):
        for text in ("one", "two"):
            cache.put(make.key(text, user), make.answer())
    assert cache.clear(scope_of(user_id="ann")) == 2
    assert cache.get(make.key("one", "ann")) is None
    assert cache.get(make.key("one", "bob")) is not None
    assert cache.clear() == 2
    assert cache.stats.entries == cache.stats.bytes == 0


def test_an_answer_grows_too_old_by_the_clock_that_is_passed_in(
    kind: str, tmp_path: Path, make: SimpleNamespace
) -> None:
    clock = ManualClock()
    with make.opened(kind, tmp_path, ttl=60) as cache:
        cache.put(make.key(), make.answer(), clock.now())
        clock.advance(59.999)
        assert cache.get(make.key(), clock.now()) is not None  # being used does not renew it
        clock.advance(0.001)
        assert cache.get(make.key(), clock.now()) is None
        assert cache.stats.entries == cache.stats.bytes == 0


def test_what_is_too_old_goes_when_something_new_comes(
    kind: str, tmp_path: Path, make: SimpleNamespace
) -> None:
    with make.opened(kind, tmp_path, ttl=60) as cache:
        for second, text in enumerate("abc"):
            cache.put(make.key(text), make.answer(), make.at(second))
        cache.put(make.key("d"), make.answer(), make.at(61))
        assert cache.stats.entries == 2  # c and d


def test_without_a_ttl_an_answer_is_kept_for_ever(
    kind: str, tmp_path: Path, make: SimpleNamespace
) -> None:
    with make.opened(kind, tmp_path, ttl=None) as cache:
        cache.put(make.key(), make.answer(), make.at(0))
        assert cache.get(make.key(), make.at(1e9)) is not None


def test_an_answer_larger_than_the_cache_is_not_kept_and_costs_no_other(
    kind: str, tmp_path: Path, make: SimpleNamespace
) -> None:
    with make.opened(kind, tmp_path, max_bytes=3_000) as cache:
        cache.put(make.key("small"), make.answer())
        cache.put(make.key("large"), make.answer())
        cache.put(make.key("large"), make.answer("x" * 5_000))
        assert cache.get(make.key("large")) is None  # nor the earlier answer, which no longer holds
        assert cache.get(make.key("small")) is not None


class Model:
    """What a cache is, as simply as it can be said."""

    def __init__(self, max_bytes: int, ttl: float, max_entries: int, size: Any) -> None:
        self.max_bytes, self.ttl, self.max_entries, self.size = max_bytes, ttl, max_entries, size
        self.entries: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def get(self, name: str, now: float) -> str | None:
        text, since = self.entries.get(name, (None, 0.0))
        if text is None:
            return None
        if now - since >= self.ttl:
            del self.entries[name]
            return None
        self.entries.move_to_end(name)
        return text

    def put(self, name: str, text: str, now: float) -> None:
        self.entries.pop(name, None)
        for other, (_, since) in list(self.entries.items()):
            if now - since >= self.ttl:
                del self.entries[other]
        if self.size(name, text) > self.max_bytes:
            return
        self.entries[name] = (text, now)
        while self.bytes > self.max_bytes or len(self.entries) > self.max_entries:
            self.entries.popitem(last=False)

    @property
    def bytes(self) -> int:
        return sum(self.size(name, text) for name, (text, _) in self.entries.items())


steps = st.lists(
    st.tuples(
        st.sampled_from(["get", "put", "get", "wait"]),
        st.sampled_from("abcdef"),
        st.integers(0, 1_500),
    ),
    max_size=40,
)


@pytest.mark.parametrize("which", ["memory", "sqlite"])
@given(steps=steps)
@settings(max_examples=60, deadline=None)
def test_a_cache_is_what_its_simple_model_is(
    which: str, make: SimpleNamespace, steps: list[tuple[str, str, int]]
) -> None:
    def size(name: str, text: str) -> int:
        answer, key = make.answer(text), make.key(name)
        if which == "memory":
            return size_in_memory(answer)
        return len(answer.to_bytes()) + len(key.digest) + len(key.scope)

    limits: dict[str, Any] = {"max_bytes": 5_000, "ttl": 100.0}
    most = 3 if which == "memory" else 1_000
    if which == "memory":
        limits["max_entries"] = most
    model = Model(size=size, **{"max_entries": most, **limits})
    now = 0.0
    with (
        tempfile.TemporaryDirectory() as folder,
        make.opened(which, Path(folder), **limits) as cache,
    ):
        for action, name, amount in steps:
            if action == "wait":
                now += amount / 20
            elif action == "put":
                model.put(name, "x" * amount, now)
                cache.put(make.key(name), make.answer("x" * amount), make.at(now))
            else:
                found = cache.get(make.key(name), make.at(now))
                assert (found and found.text) == model.get(name, now)
            stats = cache.stats
            assert (stats.entries, stats.bytes) == (len(model.entries), model.bytes)


def test_many_threads_and_loops_may_use_one_cache(
    kind: str, tmp_path: Path, make: SimpleNamespace
) -> None:
    wrong: list[Any] = []
    with make.opened(kind, tmp_path, max_bytes=20_000) as opened:
        cache = opened.cache

        async def use(name: str) -> None:
            for turn in range(15):
                text = f"{name}{turn % 5}"
                await cache.put(make.key(text), make.answer(text), now=make.NOW)
                found = await cache.get(make.key(text), now=make.NOW)
                if found is not None and found.text != text:
                    wrong.append(found)

        async def several(name: str) -> None:
            await asyncio.gather(*(use(f"{name}{task}") for task in range(3)))

        def run(name: str) -> None:
            try:
                asyncio.run(several(name))
            except BaseException as error:  # noqa: BLE001 - a thread's error is the test's
                wrong.append(error)

        threads = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        stats = opened.stats
        assert stats.hits + stats.misses == 4 * 3 * 15
        assert stats.bytes <= 20_000
        names = [f"{a}{b}{c}" for a in "abcd" for b in range(3) for c in range(5)]
        kept = [name for name in names if opened.get(make.key(name)) is not None]
        assert len(kept) == stats.entries
        assert opened.clear() == len(kept)
        assert opened.stats.bytes == 0


@pytest.mark.parametrize(
    "limits",
    [{"max_bytes": 0}, {"max_bytes": 1.5}, {"ttl": 0}, {"ttl": float("nan")}, {"ttl": -1.0}],
)
def test_limits_that_keep_nothing_are_refused(
    kind: str, tmp_path: Path, make: SimpleNamespace, limits: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError), make.opened(kind, tmp_path, **limits):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_number_of_entries_is_a_limit_in_memory(make: SimpleNamespace) -> None:
    async def main() -> None:
        cache = MemoryCache(2)
        for name in "abc":
            await cache.put(make.key(name), make.answer(), now=make.NOW)
        assert await cache.get(make.key("a"), now=make.NOW) is None
        assert await cache.get(make.key("b"), now=make.NOW) is not None

    asyncio.run(main())


# Opening by one word


def test_a_cache_is_opened_by_one_word(tmp_path: Path) -> None:
    assert open_cache(None) is None
    assert open_cache(False) is None
    assert isinstance(open_cache(True), MemoryCache)
    assert isinstance(open_cache("memory"), MemoryCache)
    file = open_cache(f"sqlite:///{tmp_path}/a.db")
    assert isinstance(file, SqliteCache)
    assert isinstance(file, ResponseCache)
    assert open_cache(file) is file
    assert (tmp_path / "a.db").is_file()
    asyncio.run(file.aclose())


@pytest.mark.parametrize(
    "wrong", ["redis://x", "sqlite:///", "sqlite:///:memory:", "sqlite:///a?b", 1, MemoryCache, ""]
)
def test_what_is_no_cache_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="sqlite:///"):
        open_cache(wrong)
