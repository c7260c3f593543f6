"""The file: who may read it, who shares it, and what is said when it is broken."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.cache import SqliteCache, scope_of
from cascadeflow.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path
    from types import SimpleNamespace


def test_answers_outlive_the_cache(tmp_path: Path, make: SimpleNamespace) -> None:
    with make.opened("sqlite", tmp_path) as cache:
        cache.put(make.key(), make.answer("Tromsø", nanodollars=7))
        size = cache.stats.bytes
    with make.opened("sqlite", tmp_path) as cache:
        assert cache.get(make.key()) == make.answer("Tromsø", nanodollars=7)
        assert cache.stats.bytes == size


def test_a_closed_cache_opens_anew_when_it_is_used(tmp_path: Path, make: SimpleNamespace) -> None:
    with make.opened("sqlite", tmp_path) as cache:
        cache.put(make.key(), make.answer())
        asyncio.run(cache.cache.aclose())
        asyncio.run(cache.cache.aclose())
        assert cache.get(make.key()) == make.answer()


def test_only_its_owner_may_read_the_file(tmp_path: Path, make: SimpleNamespace) -> None:
    before = os.umask(0)
    try:
        (tmp_path / "answers.db").touch(0o666)
        with make.opened("sqlite", tmp_path) as cache:
            cache.put(make.key(), make.answer())
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert set(modes) >= {"answers.db", "answers.db-wal"}
    assert set(modes.values()) == {0o600}


def test_the_file_says_neither_who_asked_nor_what(tmp_path: Path, make: SimpleNamespace) -> None:
    with make.opened("sqlite", tmp_path) as cache:
        cache.put(make.key("my-secret-question", "ann@example.org"), make.answer("in clear"))
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"in clear" in written
    assert b"secret-question" not in written
    assert b"ann@example" not in written


def test_what_is_forgotten_is_gone_from_the_disk(tmp_path: Path, make: SimpleNamespace) -> None:
    def written() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())

    with make.opened("sqlite", tmp_path) as cache:
        cache.put(make.key(user="ann"), make.answer("what ann was told"))
        assert b"what ann was told" in written()
        assert cache.clear(scope_of(user_id="ann")) == 1
        assert b"what ann was told" not in written()


@pytest.mark.parametrize("content", [b"not a database at all, " * 50, b"SQLite format 3\0" * 99])
def test_a_file_that_is_no_database_is_an_error_and_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "answers.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="delete it"):
        SqliteCache(path)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_an_error_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    connection = sqlite3.connect(path)
    connection.execute("create table people (name text)")
    connection.commit()
    connection.close()
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="something else"):
        SqliteCache(path)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_cache_of_another_version_is_an_error(tmp_path: Path, make: SimpleNamespace) -> None:
    with make.opened("sqlite", tmp_path):
        pass
    path = tmp_path / "answers.db"
    connection = sqlite3.connect(path)
    connection.execute("pragma user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="another version"):
        SqliteCache(path)


def test_a_file_that_breaks_while_it_is_used_says_what_to_do(
    tmp_path: Path, make: SimpleNamespace
) -> None:
    path = tmp_path / "answers.db"
    with make.opened("sqlite", tmp_path) as cache:
        for number in range(200):
            cache.put(make.key(str(number)), make.answer("x" * 500))
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = os.urandom(len(damaged) - 4096)
    path.write_bytes(damaged)

    def use() -> None:
        with make.opened("sqlite", tmp_path) as cache:
            for number in range(200):
                cache.get(make.key(str(number)))

    with pytest.raises(StoreError, match="delete it"):
        use()


def test_a_row_that_is_no_answer_says_what_to_do(tmp_path: Path, make: SimpleNamespace) -> None:
    with make.opened("sqlite", tmp_path) as cache:
        cache.put(make.key(), make.answer())
        connection = sqlite3.connect(tmp_path / "answers.db")
        connection.execute("update answers set body = x'00'")
        connection.commit()
        connection.close()
        with pytest.raises(StoreError, match="delete it"):
            cache.get(make.key())


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteCache(tmp_path / "nowhere" / "answers.db")
    with pytest.raises(StoreError):
        SqliteCache(tmp_path)


def test_the_disk_is_not_waited_for_on_the_event_loop(
    tmp_path: Path, make: SimpleNamespace
) -> None:
    """While another holds the file locked, the loop goes on; when it lets go, so does the cache."""

    async def main() -> None:
        cache = SqliteCache(tmp_path / "answers.db")
        holder = sqlite3.connect(tmp_path / "answers.db", isolation_level=None)
        holder.execute("begin immediate")
        waiting = asyncio.create_task(cache.put(make.key(), make.answer(), now=make.NOW))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        holder.execute("commit")
        holder.close()
        await waiting
        assert await cache.get(make.key(), now=make.NOW) == make.answer()
        await cache.aclose()

    asyncio.run(main())


def test_threads_end_with_the_cache(tmp_path: Path, make: SimpleNamespace) -> None:
    before = set(threading.enumerate())  # those of other tests may still be ending
    with make.opened("sqlite", tmp_path) as cache:
        cache.get(make.key())
        (thread,) = (
            each
            for each in set(threading.enumerate()) - before
            if each.name.startswith("cascadeflow-cache")
        )
    thread.join(10)
    assert not thread.is_alive()


WORKER = """
import asyncio, sys
from datetime import UTC, datetime
from cascadeflow.cache import CachedAnswer, SqliteCache, cache_key, fingerprint, scope_of
from cascadeflow.types import ChatRequest, Message

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

async def main(path, name):
    cache = SqliteCache(path, max_bytes=40_000)
    for number in range(60):
        request = ChatRequest("m", (Message("user", f"{name}{number % 20}"),))
        key = cache_key(request, configuration=fingerprint([]), scope=scope_of(user_id=name))
        answer = CachedAnswer(text=f"{name}{number % 20}" * 50, model="m:m", created=NOW)
        await cache.put(key, answer, now=NOW)
        found = await cache.get(key, now=NOW)
        assert found is None or found == answer
    await cache.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


def test_several_processes_may_share_the_file(tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(path), name], stderr=subprocess.PIPE)
        for name in "abcd"
    ]
    said = [worker.communicate(timeout=120)[1].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, said
    connection = sqlite3.connect(path)
    rows = connection.execute("select size, body from answers").fetchall()
    total = connection.execute("select bytes from totals").fetchone()[0]
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()
    assert 0 < sum(size for size, _ in rows) == total <= 40_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_uses_a_connection_of_its_own(tmp_path: Path) -> None:
    program = """
import asyncio, os, sys
from cascadeflow.cache import CachedAnswer, SqliteCache, cache_key, fingerprint, scope_of
from cascadeflow.types import ChatRequest, Message
from datetime import UTC, datetime
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
cache = SqliteCache(sys.argv[1])
def key(text):
    ask = ChatRequest("m", (Message("user", text),))
    return cache_key(ask, configuration=fingerprint([]), scope=scope_of())
def answer(text):
    return CachedAnswer(text=text, model="m:m", created=NOW)
asyncio.run(cache.put(key("parent"), answer("p"), now=NOW))
child = os.fork()
if child == 0:
    try:
        assert asyncio.run(cache.get(key("parent"), now=NOW)).text == "p"
        asyncio.run(cache.put(key("child"), answer("c"), now=NOW))
        asyncio.run(cache.aclose())
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert asyncio.run(cache.get(key("child"), now=NOW)).text == "c"
asyncio.run(cache.aclose())
print("both")
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "answers.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["both"], done.stdout + done.stderr


def test_a_cache_that_is_let_go_of_unclosed_leaves_nothing_open(
    tmp_path: Path, make: SimpleNamespace
) -> None:
    cache: Any = SqliteCache(tmp_path / "answers.db")
    asyncio.run(cache.put(make.key(), make.answer(), now=make.NOW))
    del (
        cache
    )  # since 3.13 a connection left to the collector is a ResourceWarning, which fails this
    with make.opened("sqlite", tmp_path) as again:
        assert again.get(make.key()) == make.answer()
