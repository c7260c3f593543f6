"""The file of a SQLite store: made, opened, shared, refused, brought forward."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from store_samples import ANN, GLOBAL, LONG_AGO, START, SqliteOpener, usage

from cascadeflow.budgets.audit import limit_changed, verify
from cascadeflow.budgets.records import Scope, Spender
from cascadeflow.budgets.stores import open_store
from cascadeflow.budgets.stores.protocol import Grant, HeldCall, StrictHold
from cascadeflow.budgets.stores.sqlite_file import APPLICATION_ID
from cascadeflow.budgets.stores.sqlite_schema import MIGRATIONS, connect, migrate
from cascadeflow.errors import ConfigurationError, StoreError


@pytest.fixture
def opener(tmp_path: Path) -> SqliteOpener:
    return SqliteOpener(tmp_path / "budgets.db")


def python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


HOLDER = """
import os, sys
from cascadeflow.budgets.stores import open_store
store = open_store(sys.argv[1])
print(os.getpid(), flush=True)
sys.stdin.read()
"""


# Where it lies


def test_a_relative_and_an_absolute_path_name_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("sqlite:///a b%20#é.db") as store:
        store.append([usage(1)])
    with open_store(f"sqlite:///{tmp_path}/a b%20#é.db") as store:
        assert store.head().rows == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "postgres://host/db",
        "a.db",
        "sqlite:///a\x00b.db",
    ],
)
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_store(url)


def test_a_missing_folder_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="create it first"):
        open_store(f"sqlite:///{tmp_path}/none/a.db")
    with pytest.raises(StoreError, match="is a folder"):
        open_store(f"sqlite:///{tmp_path}")
    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_may_read_it(opener: SqliteOpener) -> None:
    before = os.umask(0)
    try:
        opener.open().append([usage(1)])
    finally:
        os.umask(before)
    files = sorted(opener.path.parent.iterdir())
    names = [file.name.removeprefix("budgets.db") for file in files]
    assert names == ["", "-lock", "-shm", "-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_clean_end_leaves_one_file_and_its_lock(opener: SqliteOpener) -> None:
    opener.open().close()
    assert {file.name for file in opener.path.parent.iterdir()} == {"budgets.db", "budgets.db-lock"}


def test_every_commit_is_on_the_disk_before_it_is_acknowledged(opener: SqliteOpener) -> None:
    connection = opener.open()._connection
    assert connection is not None
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


# Whose it is


@pytest.mark.parametrize("content", [b"x", b"name,cost\nann,3\n" * 100, b"SQLite format 3\x00"])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(
    opener: SqliteOpener, content: bytes
) -> None:
    opener.path.write_bytes(content)
    for read_only in (False, True):
        with pytest.raises(StoreError, match="not a SQLite file"):
            open_store(opener.url, read_only=read_only)
    assert opener.path.read_bytes() == content
    assert [file.name for file in opener.path.parent.iterdir()] == ["budgets.db"]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_another_programs_database_is_refused_and_left_as_it_is(
    opener: SqliteOpener, mode: str
) -> None:
    with closing(sqlite3.connect(opener.path)) as other:
        other.execute(f"PRAGMA journal_mode = {mode}")
        other.execute("CREATE TABLE log (number INTEGER)")
        other.commit()
    content = opener.path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreError, match="another program"):
            open_store(opener.url, read_only=read_only)
    assert opener.path.read_bytes() == content
    assert [file.name for file in opener.path.parent.iterdir()] == ["budgets.db"]


def test_an_empty_file_becomes_a_store(opener: SqliteOpener) -> None:
    opener.path.touch()
    with pytest.raises(StoreError, match="is not there"):
        open_store(opener.url, read_only=True)
    opener.open().append([usage(1)])
    opener.crash()
    assert opener.open().head().rows == 1


def test_a_half_made_store_of_a_dead_process_is_made_anew(opener: SqliteOpener) -> None:
    for name in ("-new", "-new-journal", "-new-wal"):
        opener.path.with_name(opener.path.name + name).write_bytes(b"half" * 1000)
    assert opener.open().head().rows == 0


# One writer at a time


def test_a_second_process_is_told_who_has_it_open(opener: SqliteOpener) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, opener.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        with pytest.raises(StoreError, match=f"in use by process {pid} on .*read_only=True"):
            opener.open()
        with open_store(opener.url, read_only=True) as reader:
            assert reader.head().rows == 0
        holder.kill()
        holder.wait()
    opener.open()  # the lock died with its holder


def test_this_process_cannot_open_it_twice_either(opener: SqliteOpener) -> None:
    store = opener.open()
    with pytest.raises(StoreError, match="in this process already"):
        open_store(opener.url)
    link = opener.path.with_name("link.db")
    link.symlink_to(opener.path)
    with pytest.raises(StoreError, match="in this process already"):
        open_store(f"sqlite:///{link}")
    store.append([usage(1)])
    # The refused tries have not lost the lock.
    done = python(HOLDER, opener.url)
    assert "StoreError" in done.stderr
    assert f"process {os.getpid()}" in done.stderr
    store.close()
    opener.open()


FORKER = """
import os, sys
from datetime import UTC, datetime
from cascadeflow.budgets.stores import open_store
from cascadeflow.errors import StoreError
since = datetime(2000, 1, 1, tzinfo=UTC)
store = open_store(sys.argv[1])
told = os.pipe()
child = os.fork()
if not child:
    said = []
    for call in (lambda: store.append([]), lambda: list(store.events()), store.close,
                 lambda: open_store(sys.argv[1]), lambda: open_store(sys.argv[1], read_only=True)):
        try:
            call()
            said.append("no error")
        except StoreError as error:
            said.append(str(error))
    os.write(told[1], "\\n".join(said).encode())
    sys.stdin.read()
    os._exit(0)
print(os.read(told[0], 100_000).decode(), flush=True)
store.append([])
if sys.argv[2] == "die":
    os.kill(os.getpid(), 9)
os.waitpid(child, 0)
"""


def test_a_forked_child_has_no_part_in_its_parents_store(opener: SqliteOpener) -> None:
    done = python(FORKER, opener.url, "live")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert all("forked this one" in line for line in lines[:3])
    assert "in use by process" in lines[3]
    assert "was forked" in lines[4]


def test_a_living_child_does_not_keep_its_dead_parents_lock(opener: SqliteOpener) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKER, opener.url, "die"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert parent.wait() == -9
        store = opener.open()  # the child lives on, until its standard input ends
        store.append([usage(1)])
    assert verify(store).ok


# Readers


def test_a_reader_sees_what_is_written_meanwhile_and_can_change_nothing(
    opener: SqliteOpener,
) -> None:
    store = opener.open()
    store.append([usage(1, 5)])
    with open_store(opener.url, read_only=True) as reader:
        assert reader.scope(ANN, since=LONG_AGO).spent == 5
        store.append([usage(2, 6)])
        assert reader.scope(ANN, since=LONG_AGO).spent == 11
        assert len(list(reader.events())) == 2
        assert verify(reader).ok
        for call in (
            lambda: reader.append([usage(3)]),
            lambda: reader.grant([Grant(ANN, 1, START)]),
            lambda: reader.hold([]),
            lambda: reader.reclaim(ANN, actor="a", reason="r"),
            reader.rebuild_sums,
        ):
            with pytest.raises(StoreError, match="reading only"):
                call()
    store.append([usage(3, 7)])
    store.close()
    with open_store(opener.url, read_only=True) as reader:
        assert reader.scope(ANN, since=LONG_AGO).spent == 18
    assert {file.name for file in opener.path.parent.iterdir()} <= {
        "budgets.db",
        "budgets.db-lock",
        "budgets.db-shm",
        "budgets.db-wal",
    }


def test_a_reader_reckons_what_a_dead_writer_left_as_the_next_writer_will(
    opener: SqliteOpener,
) -> None:
    store = opener.open()
    store.append([usage(1, 5)])
    store.grant([Grant(ANN, 100, START), Grant(GLOBAL, 20, START)])
    store.hold(
        [
            StrictHold(
                request_id="r",
                at=START + timedelta(minutes=1),
                spender=Spender(user_id="bob", team="red"),
                calls=(HeldCall(model="m", nanodollars=40),),
            )
        ]
    )
    with open_store(opener.url, read_only=True) as reader:  # its writer lives: nothing is lost yet
        assert reader.scope(ANN, since=LONG_AGO).spent == 5
    opener.crash()

    with open_store(opener.url, read_only=True) as reader:
        seen = {record.scope: record.spent for record in reader.scopes(since=LONG_AGO)}
        asked = {scope: reader.scope(scope, since=LONG_AGO).spent for scope in seen}
        granted = reader.scope(ANN, since=LONG_AGO).granted_at
    store = opener.open()
    assert seen == asked == {each.scope: each.spent for each in store.scopes(since=LONG_AGO)}
    assert seen[ANN] == 100
    assert seen[Scope("team", "red")] == 40
    assert seen[GLOBAL] == 45
    assert granted == START


# Sums


def test_sums_that_do_not_fit_the_log_are_reckoned_anew_at_opening(opener: SqliteOpener) -> None:
    store = opener.open()
    store.append([usage(n, n) for n in range(50)])
    store.close()
    for damage in (
        "UPDATE state SET summed_rows = 3",
        "UPDATE scopes SET spent = 1 WHERE kind = 'global'",
        "UPDATE state SET summed_global = summed_global + 1",
    ):
        with closing(sqlite3.connect(opener.path)) as other:
            other.execute("DELETE FROM sums")
            other.execute(damage)
            other.commit()
        store = opener.open()
        assert store.scope(GLOBAL, since=LONG_AGO).spent == sum(range(50))
        assert verify(store).ok
        store.close()


def test_a_sum_that_no_account_can_hold_is_an_error_and_loses_nothing(opener: SqliteOpener) -> None:
    store = opener.open()
    store.append([usage(n, 2**62 - 1) for n in range(2)])
    with pytest.raises(StoreError, match="9 billion"):
        store.append([usage(3, 2**62 - 1)])
    store.append([usage(4, 1)])
    assert store.scope(ANN, since=LONG_AGO).spent == 2**63 - 1
    assert verify(store).ok


# The log


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log SET body = 'x' WHERE number = 1",
        "DELETE FROM log WHERE number = 2",
        "DELETE FROM log",
        "INSERT OR REPLACE INTO log SELECT number, event_id, at, 'x', hash FROM log LIMIT 1",
        "INSERT OR REPLACE INTO log SELECT 99, event_id, at, 'x', hash FROM log LIMIT 1",
        "REPLACE INTO log VALUES (1, 'new', 1, 'x', 'y')",
    ],
)
def test_sql_cannot_change_what_was_logged(opener: SqliteOpener, statement: str) -> None:
    store = opener.open()
    store.append([usage(n) for n in range(3)])
    with (
        closing(sqlite3.connect(opener.path)) as other,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        other.execute(statement)
    assert verify(store).ok


# Versions

# The first form as it was published; what is in it was written by this package.
FIRST_FORM = Path(__file__).parent / "store_form_1.sql"


def write_first_form(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST_FORM.read_text())
        connection.execute("PRAGMA journal_mode = WAL")
    path.chmod(0o600)


def test_a_file_of_the_first_form_is_still_read(opener: SqliteOpener) -> None:
    write_first_form(opener.path)
    store = opener.open()
    assert store.scope(ANN, since=LONG_AGO).spent == 10 + 20 + 100  # granted and lost: 100
    assert dict(store.scope(ANN, since=LONG_AGO).limits) == {"day": 1000}
    assert [event.event_id for event in store.events()][-1] == "r9:hold-1"
    assert verify(store).ok


def test_a_new_file_has_the_same_tables_as_the_first_form_brought_forward(
    opener: SqliteOpener, tmp_path: Path
) -> None:
    other = SqliteOpener(tmp_path / "old.db")
    write_first_form(other.path)

    def tables(store: SqliteOpener) -> list[tuple[str, str]]:
        connection = store.open()._connection
        assert connection is not None
        return connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()

    assert tables(opener) == tables(other)


def test_a_file_of_the_first_form_keeps_notes_once_it_was_opened(opener: SqliteOpener) -> None:
    write_first_form(opener.path)
    store = opener.open()
    store.put_note("learned", {"a": 1})
    opener.crash()
    store = opener.open()
    assert store.get_note("learned") == {"a": 1}
    assert store.head().rows == 4  # the log is as it was, and the hold that was settled
    connection = store._connection
    assert connection is not None
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_package_of_the_first_form_refuses_a_file_of_the_second(opener: SqliteOpener) -> None:
    opener.open().close()
    first = {1: MIGRATIONS[1]}
    with (
        closing(connect(opener.path, read_only=False)) as connection,
        pytest.raises(StoreError, match=r"form is 2, this one knows 1\): upgrade"),
    ):
        migrate(connection, opener.path, migrations=first)


NEXT = max(MIGRATIONS) + 1
NEXT_FORM = {
    **MIGRATIONS,
    NEXT: """
    ALTER TABLE scopes ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey';
    CREATE TABLE marks (scope_id INTEGER, mark TEXT);
    CREATE TRIGGER marks_stay BEFORE DELETE ON marks BEGIN
        SELECT RAISE(ABORT, 'no'); SELECT 1; END;
    INSERT INTO marks SELECT id, kind || ':' || name FROM scopes;
    """,
}


def test_a_file_is_brought_forward_with_what_is_in_it(opener: SqliteOpener) -> None:
    write_first_form(opener.path)
    with closing(connect(opener.path, read_only=False)) as connection:
        assert migrate(connection, opener.path, migrations=NEXT_FORM)
        assert not migrate(connection, opener.path, migrations=NEXT_FORM)
        assert connection.execute("PRAGMA user_version").fetchone() == (NEXT,)
        assert ("user:ann",) in connection.execute("SELECT mark FROM marks").fetchall()
        assert connection.execute("SELECT DISTINCT colour FROM scopes").fetchall() == [("grey",)]
        assert connection.execute("SELECT COUNT(*) FROM log").fetchone() == (3,)
    # And now it is newer than this package is.
    content = opener.path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreError, match="newer cascadeflow"):
            open_store(opener.url, read_only=read_only)
    assert opener.path.read_bytes() == content


def test_a_step_that_fails_leaves_the_file_as_it_was(opener: SqliteOpener) -> None:
    write_first_form(opener.path)
    broken = {**NEXT_FORM, NEXT + 1: "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1);"}
    with closing(connect(opener.path, read_only=False)) as connection:
        with pytest.raises(StoreError, match=f"form {NEXT + 1}"):
            migrate(connection, opener.path, migrations=broken)
        assert connection.execute("PRAGMA user_version").fetchone() == (NEXT,)
        tables = connection.execute("SELECT name FROM sqlite_schema").fetchall()
        assert ("half",) not in tables
        assert ("marks",) in tables


def test_a_reader_does_not_bring_a_file_forward(opener: SqliteOpener) -> None:
    write_first_form(opener.path)
    with (
        closing(connect(opener.path, read_only=True)) as connection,
        pytest.raises(StoreError, match="open it once for writing"),
    ):
        migrate(connection, opener.path, read_only=True, migrations=NEXT_FORM)


def test_what_the_first_form_holds_was_written_by_this_package(opener: SqliteOpener) -> None:
    """How the fixture came about; the rows of the log are the same, hash for hash."""
    store = opener.open()
    store.append([usage(1, 10), usage(2, 20)])
    limit = limit_changed(
        ANN, "day", limit=1000, previous=None, actor="eve", reason="asked", at=START
    )
    store.append([limit])
    write_first_form(old := opener.path.with_name("old.db"))
    with closing(sqlite3.connect(old)) as connection:
        kept = connection.execute("SELECT body, hash FROM log ORDER BY number").fetchall()
    rows = list(store.rows())
    assert kept[:2] == [(row.body, row.hash) for row in rows[:2]]
