"""Full disks, missing rights and damaged files: a clear error, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from store_samples import ANN, LONG_AGO, START, SqliteOpener, usage

from cascadeflow.budgets.audit import verify
from cascadeflow.budgets.stores import open_store
from cascadeflow.budgets.stores.protocol import Grant
from cascadeflow.errors import CascadeFlowError, StoreError

if TYPE_CHECKING:
    from cascadeflow.budgets.stores.sqlite import SqliteStore

SAMPLES = Path(__file__).parent


@pytest.fixture
def opener(tmp_path: Path) -> SqliteOpener:
    return SqliteOpener(tmp_path / "budgets.db")


def beside(opener: SqliteOpener, end: str) -> Path:
    return opener.path.with_name(opener.path.name + end)


def python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SAMPLES)},
    )


def acknowledged(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.removeprefix("ok ") for line in done.stdout.splitlines() if line.startswith("ok ")]


# A full disk


def fill(store: SqliteStore) -> list[str]:
    """Appends until the disk is full; gives what was acknowledged."""
    done: list[str] = []
    for batch in range(10_000):
        events = [usage(f"{batch}-{n}", user=f"u{batch}") for n in range(20)]
        try:
            store.append(events)
        except StoreError as error:
            assert "the disk is full" in str(error)  # noqa: PT017 - the batches are counted
            with pytest.raises(StoreError, match="the disk is full"):
                store.append(events)
            assert done
            return done
        done += [event.event_id for event in events]
    pytest.fail("the disk never filled")


def test_a_full_database_refuses_and_goes_on_when_there_is_room(opener: SqliteOpener) -> None:
    store = opener.open()
    connection = store._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 20}")
    kept = fill(store)
    assert [event.event_id for event in store.events()] == kept
    assert verify(store).ok
    connection.execute("PRAGMA max_page_count = 1000000")
    store.append([usage("after")])
    assert store.head().rows == len(kept) + 1
    assert verify(store).ok


LIMITED = """
import resource, sys
from pathlib import Path
from store_samples import *
from cascadeflow.errors import StoreError
opener = SqliteOpener(Path(sys.argv[1]))
store = opener.open()
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
for batch in range(10_000):
    event = usage(batch)
    try:
        store.append([event])
    except StoreError as error:
        print(error, file=sys.stderr)
        break
    print("ok", event.event_id)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.append([usage("after")])
print("ok eafter")
"""


def test_a_file_that_may_grow_no_more_refuses_and_keeps_what_it_has(opener: SqliteOpener) -> None:
    done = python(LIMITED, opener.path)
    assert done.returncode == 0, done.stderr
    assert "disk" in done.stderr
    kept = acknowledged(done)
    assert len(kept) > 10
    store = opener.open()
    assert [event.event_id for event in store.events()] == kept
    assert verify(store).ok


def test_a_full_file_system_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", small],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a small file system")
    try:
        opener = SqliteOpener(small / "budgets.db")
        kept = fill(opener.open())
        opener.crash()
        # Whole again elsewhere, where there is room.
        shutil.copytree(small, tmp_path / "large")
        opener = SqliteOpener(tmp_path / "large" / "budgets.db")
        store = opener.open()
        assert [event.event_id for event in store.events()] == kept
        assert verify(store).ok
    finally:
        subprocess.run(["umount", "-l", small], check=True)


# Rights

WITHOUT_RIGHTS = """
import os, sys
from store_samples import *
import cascadeflow.budgets.stores.sqlite, cascadeflow.budgets.audit
from cascadeflow.errors import StoreError
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
for read_only in (False, True):
    try:
        with open_store(sys.argv[1], clock=ManualClock(START), read_only=read_only) as store:
            print("opened", store.head().rows)
    except StoreError as error:
        print(error)
"""


@pytest.fixture
def without_rights(tmp_path: Path) -> object:
    """A folder that everyone can reach, and a way to open a store in it as somebody else."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path(folder.root):
            folder.chmod(folder.stat().st_mode | 0o055)

    def run(opener: SqliteOpener) -> list[str]:
        done = python(WITHOUT_RIGHTS, opener.url)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_a_folder_that_may_not_be_written_is_a_clear_error(
    opener: SqliteOpener, without_rights: object
) -> None:
    folder = opener.path.parent / "fixed"
    folder.mkdir()
    folder.chmod(0o555)
    inside = SqliteOpener(folder / "budgets.db")
    write, read = without_rights(inside)  # type: ignore[operator]
    assert "permission was denied. Give this user the right" in write
    assert "is not there" in read
    assert list(folder.iterdir()) == []


def test_a_file_that_may_not_be_read_is_a_clear_error(
    opener: SqliteOpener, without_rights: object
) -> None:
    opener.open().close()
    opener.path.chmod(0o000)
    for said in without_rights(opener):  # type: ignore[operator]
        assert "permission was denied. Give this user the right" in said


def test_a_file_that_may_only_be_read_is_a_clear_error_for_a_writer(
    opener: SqliteOpener, without_rights: object
) -> None:
    opener.open().append([usage(1)])
    assert opener._store is not None
    opener._store.close()
    for file in opener.path.parent.iterdir():
        file.chmod(0o444)
    opener.path.parent.chmod(0o555)
    write, read = without_rights(opener)  # type: ignore[operator]
    assert "Give this user the right" in write
    # WAL needs its side files, which cannot be made there: that is said, too, or it is read.
    assert read == "opened 1" or "Give this user the right" in read
    opener.path.parent.chmod(0o755)
    beside(opener, "-lock").chmod(0o600)
    opener.path.chmod(0o600)
    assert opener.open().head().rows == 1


# Damage


def left_by_a_crash(opener: SqliteOpener, tmp_path: Path) -> SqliteOpener:
    """A store as a killed process leaves it: some rows in the file, some in its -wal only."""
    store = opener.open()
    store.append([usage(f"old-{n}", 5) for n in range(200)])
    store.close([])
    store = opener.open()
    for n in range(20):
        store.append([usage(f"new-{n}", 7)])
    folder = tmp_path / "copy"
    folder.mkdir()
    for end in ("", "-wal", "-lock"):
        shutil.copy(beside(opener, end), folder)
    opener.crash()
    return SqliteOpener(folder / opener.path.name)


def test_a_wal_that_was_cut_or_lost_is_noticed_and_nothing_is_touched(
    opener: SqliteOpener, tmp_path: Path
) -> None:
    copy = left_by_a_crash(opener, tmp_path)
    wal = beside(copy, "-wal")
    whole = wal.read_bytes()
    file = copy.path.read_bytes()
    assert len(whole) > 10_000
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        wal.write_bytes(whole[:size])
        with pytest.raises(StoreError, match=r"but 220 had been written.*delete budgets.db-lock"):
            copy.open()
        assert copy.path.read_bytes() == file
    wal.unlink()
    with pytest.raises(StoreError, match="but 220 had been written"):
        copy.open()
    # Given back, it is whole again.
    wal.write_bytes(whole)
    store = copy.open()
    assert store.head().rows == 220
    assert store.scope(ANN, since=LONG_AGO).spent == 200 * 5 + 20 * 7
    assert verify(store).ok


def test_an_older_copy_is_noticed_and_may_be_used_on_purpose(opener: SqliteOpener) -> None:
    store = opener.open()
    store.append([usage(1)])
    store.close()
    old = opener.path.read_bytes()
    store = opener.open()
    store.append([usage(2)])
    store.close()
    opener.path.write_bytes(old)
    with pytest.raises(StoreError, match="holds 1 rows of the usage log, but 2 had been written"):
        opener.open()
    beside(opener, "-lock").unlink()
    assert opener.open().head().rows == 1


def test_a_store_that_is_gone_is_not_quietly_begun_anew(opener: SqliteOpener) -> None:
    store = opener.open()
    store.append([usage(1)])
    store.close()
    opener.path.unlink()
    with pytest.raises(StoreError, match="0 rows of the usage log, but 1 had been written"):
        opener.open()
    beside(opener, "-lock").unlink()
    beside(opener, "-wal").write_bytes(b"of another")
    with pytest.raises(StoreError, match=r"budgets\.db-wal is still there"):
        opener.open()
    beside(opener, "-wal").unlink()
    assert opener.open().head().rows == 0


def use(opener: SqliteOpener) -> str:
    """Opens, reads, writes and audits; says how that went."""
    try:
        store = opener.open()
    except CascadeFlowError as error:
        return f"refused: {error}"
    try:
        seen = {event.event_id: event for event in store.events()}
        for record in store.scopes(since=LONG_AGO):
            store.scope(record.scope, since=LONG_AGO)
        store.append([usage("after", 1)])
        report = verify(store)
        whole = {f"e{n}": usage(n, n, user=f"u{n}") for n in range(400)}
        unnoticed = "whole" if seen == whole else "unnoticed"
        return unnoticed if report.ok else f"found: {report.reason}"  # noqa: TRY300 - it reads best
    except CascadeFlowError as error:
        return f"refused: {error}"
    finally:
        try:
            store.close()
        except CascadeFlowError:
            assert store._connection is None  # closed all the same


def test_flipped_bytes_are_refused_or_found_by_the_audit(
    opener: SqliteOpener, tmp_path: Path
) -> None:
    store = opener.open()
    store.append([usage(n, n, user=f"u{n}") for n in range(400)])
    store.close()
    whole = opener.path.read_bytes()
    chance = random.Random(7)
    results: dict[str, int] = {}
    for trial in range(150):
        damaged = SqliteOpener(tmp_path / f"damaged{trial}.db")
        content = bytearray(whole)
        start = chance.randrange(100, len(whole))
        for at in range(start, min(start + chance.choice((1, 8, 500)), len(whole))):
            content[at] ^= chance.randrange(1, 256)
        damaged.path.write_bytes(content)
        kind = use(damaged).partition(":")[0]
        results[kind] = results.get(kind, 0) + 1
    # Some bytes are in no use; whatever matters is noticed.
    assert "unnoticed" not in results, results
    assert results["refused"] > 10, results
    assert results["found"] > 2, results


@pytest.mark.parametrize("read_only", [False, True])
def test_damage_that_is_no_text_is_named(opener: SqliteOpener, *, read_only: bool) -> None:
    opener.open().close()
    whole = opener.path.read_bytes()
    assert b"UNIQUE (kind, name)" in whole
    opener.path.write_bytes(whole.replace(b"UNIQUE (kind, name)", b"UNIQUE (\x8find, name)"))
    with pytest.raises(StoreError, match="damaged"):
        open_store(opener.url, read_only=read_only)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_file_is_an_error_that_says_what_to_do(opener: SqliteOpener, share: float) -> None:
    store = opener.open()
    store.append([usage(n, n, user=f"u{n}") for n in range(400)])
    store.close()
    os.truncate(opener.path, int(opener.path.stat().st_size * share))
    content = opener.path.read_bytes()
    assert use(opener).startswith("refused:")
    assert opener.path.read_bytes() == content


def test_another_programs_lock_is_an_error_that_says_so(
    opener: SqliteOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascadeflow.budgets.stores.sqlite_schema._BUSY_SECONDS", 0.01)
    store = opener.open()
    with closing(sqlite3.connect(opener.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another program keeps it locked"):
            store.append([usage(1)])
        with pytest.raises(StoreError, match="another program keeps it locked"):
            store.close([(ANN, 0)])
    store = opener.open()
    store.grant([Grant(ANN, 5, START)])
    store.append([usage(1)])
    assert verify(store).ok


def test_a_log_cut_by_another_program_is_refused_and_its_sums_are_kept(
    opener: SqliteOpener,
) -> None:
    store = opener.open()
    store.append([usage(n, 5) for n in range(10)])
    store.close()
    with closing(sqlite3.connect(opener.path)) as other:
        other.execute("DROP TRIGGER log_is_never_cut")
        other.execute("DELETE FROM log WHERE number > 7")
        other.execute("DELETE FROM sums")
        other.commit()
    with pytest.raises(StoreError, match="ends at row 7, its head is row 10"):
        opener.open()
    with open_store(opener.url, read_only=True) as reader:
        assert reader.scope(ANN, since=LONG_AGO).spent == 50
        report = verify(reader)
    assert (report.ok, report.first_bad) == (False, 8)
