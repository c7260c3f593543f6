"""The audit finds what was done to a log, and says what it cannot find."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from store_samples import ANN, START, MemoryOpener, SqliteOpener, usage

from cascadeflow.budgets.audit import AuditReport, adjusted, limit_changed, noted_head, verify
from cascadeflow.budgets.stores import open_store
from cascadeflow.budgets.stores.memory import MemoryStore
from cascadeflow.errors import ConfigurationError, InvalidRequestError, StoreError
from cascadeflow.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "a key that nobody else has"


@pytest.fixture
def opener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteOpener:
    monkeypatch.delenv("CASCADEFLOW_AUDIT_KEY", raising=False)
    opener = SqliteOpener(tmp_path / "budgets.db")
    store = opener.open()
    store.append([usage(n, 10 + n) for n in range(1, 11)])
    store.close()
    return opener


def tamper(opener: SqliteOpener, *statements: str) -> None:
    """Changes the file as one who has SQL can; the triggers do not stop him."""
    with closing(sqlite3.connect(opener.path)) as other:
        names = other.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            other.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            other.execute(statement)
        other.commit()


def audit(opener: SqliteOpener, head: str | None = None, key: str | None = None) -> AuditReport:
    with open_store(opener.url, read_only=True, audit_key=key) as store:
        return verify(store, head=head)


def test_an_untouched_log_is_ok(opener: SqliteOpener) -> None:
    report = audit(opener)
    assert (report.ok, report.rows, report.first_bad, report.reason) == (True, 10, None, "")
    assert not report.keyed
    assert audit(opener, head=report.head).ok


def test_each_hash_is_of_the_one_before_and_the_rows_text(opener: SqliteOpener) -> None:
    digest = bytes(32)
    with open_store(opener.url, read_only=True) as store:
        for row in store.rows():
            digest = hashlib.sha256(digest + row.body.encode()).digest()
            assert row.hash == digest
            assert json.loads(row.body)["event_id"] == row.event_id
        assert store.head().hash == digest


@pytest.mark.parametrize(
    ("statement", "first_bad"),
    [
        ("UPDATE log SET body = replace(body, ':13,', ':03,') WHERE number = 3", 3),
        ("UPDATE log SET body = CAST(X'FF00' AS TEXT) WHERE number = 3", 3),
        ("UPDATE log SET body = '' WHERE number = 10", 10),
        ("UPDATE log SET hash = X'00' WHERE number = 4", 4),
        ("UPDATE log SET hash = 'text' WHERE number = 4", 4),
        ("UPDATE log SET event_id = 'other' WHERE number = 5", 5),
        ("UPDATE log SET event_id = 5 WHERE number = 5", 5),
        ("UPDATE log SET at = at + 1 WHERE number = 6", 6),
        ("DELETE FROM log WHERE number = 1", 1),
        ("DELETE FROM log WHERE number = 7", 7),
        ("DELETE FROM log WHERE number = 10", 10),
        ("DELETE FROM log WHERE number > 4", 5),
        ("DELETE FROM log", 1),
        ("INSERT INTO log SELECT 11, 'x', at, body, hash FROM log WHERE number = 10", 11),
        ("INSERT INTO log SELECT 0, 'x', at, body, hash FROM log WHERE number = 1", 1),
        ("INSERT INTO log SELECT -5, 'x', at, body, hash FROM log WHERE number = 1", 1),
        ("UPDATE log SET number = -number WHERE number = 2", 1),
        ("UPDATE state SET rows = 8", 9),
        ("UPDATE state SET rows = 12", 11),
        ("UPDATE state SET hash = zeroblob(32)", None),
        ("UPDATE scopes SET spent = spent - 1 WHERE kind = 'user'", None),
        ("UPDATE sums SET nanodollars = 0 WHERE scope_id = 2", None),
        ("DELETE FROM sums", None),
        ("INSERT INTO limits VALUES (2, 'day', 1000000)", None),
    ],
)
def test_what_was_tampered_with_is_found(
    opener: SqliteOpener, statement: str, first_bad: int | None
) -> None:
    tamper(opener, statement)
    report = audit(opener)
    assert not report.ok
    assert report.first_bad == first_bad
    assert report.reason


def test_two_rows_that_changed_places_are_found(opener: SqliteOpener) -> None:
    tamper(
        opener,
        "UPDATE log SET number = -3 WHERE number = 3",
        "UPDATE log SET number = 3 WHERE number = 4",
        "UPDATE log SET number = 4 WHERE number = -3",
    )
    assert audit(opener).first_bad == 3


def forge(opener: SqliteOpener, link: Callable[[bytes, bytes], bytes], *, last: int = 10) -> None:
    """Lowers the third charge and computes all hashes anew, sums too; drops rows after `last`."""
    tamper(
        opener,
        f"DELETE FROM log WHERE number > {last}",  # noqa: S608 - a test's own number
        "UPDATE log SET body = replace(body, ':13,', ':12,') WHERE number = 3",
    )
    with closing(sqlite3.connect(opener.path)) as other:
        digest = bytes(32)
        rows = other.execute("SELECT number, body FROM log ORDER BY number").fetchall()
        for number, body in rows:
            digest = link(digest, body.encode())
            other.execute("UPDATE log SET hash = ? WHERE number = ?", (digest, number))
        lost = 1 + sum(10 + n for n in range(last + 1, 11))
        other.execute("UPDATE state SET rows = ?, hash = ?", (last, digest))
        other.execute(
            "UPDATE state SET summed_rows = rows, summed_global = summed_global - ?", [lost]
        )
        other.execute("UPDATE scopes SET spent = spent - ?", [lost])
        other.execute("UPDATE sums SET nanodollars = nanodollars - ?", [lost])
        other.commit()


def unkeyed(digest: bytes, body: bytes) -> bytes:
    return hashlib.sha256(digest + body).digest()


def test_a_forger_of_an_unkeyed_chain_is_found_only_by_a_noted_head(opener: SqliteOpener) -> None:
    head = audit(opener).head
    forge(opener, unkeyed)
    assert audit(opener).ok  # as the module says it cannot prove
    report = audit(opener, head=head)
    assert (report.ok, report.first_bad) == (False, 10)
    assert "noted" in report.reason


def test_taking_away_the_newest_rows_is_found_only_by_a_noted_head(opener: SqliteOpener) -> None:
    head = audit(opener).head
    forge(opener, unkeyed, last=8)
    assert audit(opener).ok
    report = audit(opener, head=head)
    assert (report.ok, report.first_bad) == (False, 9)
    assert "10 had been noted" in report.reason


@pytest.fixture
def keyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteOpener:
    monkeypatch.delenv("CASCADEFLOW_AUDIT_KEY", raising=False)
    opener = SqliteOpener(tmp_path / "keyed.db")
    with open_store(opener.url, clock=opener.clock, audit_key=KEY) as store:
        store.append([usage(n, 10 + n) for n in range(1, 11)])
    return opener


def test_a_forger_without_the_key_is_found(keyed: SqliteOpener) -> None:
    assert audit(keyed, key=KEY).ok
    assert audit(keyed, key=KEY).keyed
    forge(keyed, unkeyed)
    assert audit(keyed, key=KEY).first_bad == 1


def test_a_keyed_chain_is_hmac_sha_256(keyed: SqliteOpener) -> None:
    forge(keyed, lambda digest, body: hmac.digest(KEY.encode(), digest + body, "sha256"))
    assert audit(keyed, key=KEY).ok


def test_a_forger_cannot_pass_a_keyed_log_off_as_an_unkeyed_one(keyed: SqliteOpener) -> None:
    forge(keyed, unkeyed)
    tamper(keyed, "UPDATE state SET key_fingerprint = X''")
    with pytest.raises(StoreError, match="begun without an audit key"):
        audit(keyed, key=KEY)


def test_the_key_is_needed_to_write_and_to_verify_and_not_to_read(
    keyed: SqliteOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="set CASCADEFLOW_AUDIT_KEY"):
        keyed.open()
    with pytest.raises(StoreError, match="another key"):
        open_store(keyed.url, audit_key="not the right key at all")
    with open_store(keyed.url, read_only=True) as store:
        assert len(list(store.events())) == 10
        with pytest.raises(ConfigurationError, match="set CASCADEFLOW_AUDIT_KEY"):
            verify(store)
    monkeypatch.setenv("CASCADEFLOW_AUDIT_KEY", KEY)
    store = keyed.open()
    store.append([usage(11)])
    assert verify(store).ok


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="at least 16 bytes") as failure:
        open_store(f"sqlite:///{tmp_path}/a.db", audit_key="short-secret")
    assert "short-secret" not in str(failure.value)
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_in_no_file_and_no_text(keyed: SqliteOpener) -> None:
    with open_store(keyed.url, clock=keyed.clock, audit_key=KEY) as store:
        store.append([usage(12)])
        shown = f"{store!r} {store.chain!r} {vars(store)!r}"
        files = b"".join(file.read_bytes() for file in keyed.path.parent.iterdir())
    assert KEY not in shown
    assert KEY.encode() not in files


@pytest.mark.parametrize("head", ["", "10", "x:y", "1:" + "g" * 64, "-1:" + "0" * 64, "1:" + "00"])
def test_a_head_that_is_none_is_refused(opener: SqliteOpener, head: str) -> None:
    with pytest.raises(ConfigurationError, match="64 hexadecimal digits"):
        audit(opener, head=head)


def test_a_noted_head_stays_good_while_the_log_grows(opener: SqliteOpener) -> None:
    store = opener.open()
    head = noted_head(store)
    store.append([usage("more")])
    assert verify(store, head=head).ok
    assert head != noted_head(store)
    store.close()


def test_a_log_in_memory_is_chained_the_same_way(opener: SqliteOpener) -> None:
    memory = MemoryOpener().open()
    assert verify(memory).ok
    memory.append([usage(n, 10 + n) for n in range(1, 11)])
    assert noted_head(memory) == audit(opener).head
    log = memory._contents.log
    log[4] = log[4]._replace(body=log[4].body.replace(":15", ":14"))
    assert verify(memory).first_bad == 5
    assert verify(MemoryStore(clock=ManualClock(START), audit_key=KEY)).keyed


def test_what_is_written_during_an_audit_is_the_next_audits(opener: SqliteOpener) -> None:
    store = opener.open()
    rows = store.rows

    class Growing:
        """A store that grows while it is read."""

        chain, key_fits = store.chain, store.key_fits
        head, check_beside_chain = store.head, store.check_beside_chain

        def rows(self) -> object:
            store.append([usage("more")])
            return rows()

    assert verify(Growing()).ok  # type: ignore[arg-type]
    assert verify(store).rows == 11
    store.close()


@pytest.mark.parametrize(("actor", "reason"), [("", "why"), ("eve", ""), (" ", "\n")])
def test_a_change_by_hand_needs_an_actor_and_a_reason(actor: str, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match="actor and a reason"):
        adjusted(ANN, nanodollars=1, previous=0, actor=actor, reason=reason, at=START)
    with pytest.raises(InvalidRequestError, match="at least 0"):
        limit_changed(ANN, "day", limit=-1, previous=0, actor="eve", reason="why", at=START)


def test_every_change_by_hand_is_an_event_of_its_own() -> None:
    events = [
        adjusted(ANN, nanodollars=1, previous=0, actor="eve", reason="why", at=START)
        for _ in range(100)
    ]
    assert len({event.event_id for event in events}) == 100
