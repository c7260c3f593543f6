"""Figures are kept: bounded, by several processes, through crashes and forks."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.experiments import (
    Experiment,
    Guardrail,
    MemoryExperiments,
    Metric,
    Variant,
    open_experiments,
)
from cascadeflow.experiments.sqlite import SqliteExperiments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cascadeflow.experiments import ExperimentStore

THUMB = Metric(name="thumb", better="higher", kind="share")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        return MemoryExperiments(max_users=64)
    return SqliteExperiments(tmp_path / "ab.db", max_users=64)


def experiment(store: Any, **options: Any) -> Experiment:
    return Experiment("x", [Variant(name="a"), Variant(name="b")], **{"store": store, **options})


def see(trial: Experiment, user: str, value: float) -> None:
    assignment = trial.choose(user, "")
    if assignment is not None:
        trial.observe(assignment, {"cost": value})


def test_what_was_seen_is_there_for_the_next_process(store: ExperimentStore) -> None:
    first = experiment(store)
    for number in range(60):
        see(first, f"u{number}", 1.0)
    first.close()
    second = experiment(store)
    for number in range(60):
        see(second, f"u{number}", 3.0)
    report = second.report()
    assert report.users == 60
    assert {variant.primary.mean for variant in report.variants} == {2.0}
    assert sum(variant.primary.requests for variant in report.variants) == 120


def test_users_are_counted_once_however_they_come(store: ExperimentStore) -> None:
    one, other = experiment(store), experiment(store)
    for trial in (one, other, one, other):
        for number in range(20):
            see(trial, f"u{number}", float(number))
            trial.flush()
    report = one.report()
    assert report.users == 20
    for variant in report.variants:
        mine = [n for n in range(20) if one.choose(f"u{n}", "").variant == variant.name]  # type: ignore[union-attr]
        assert variant.users == variant.primary.users == len(mine)
        assert variant.primary.mean == pytest.approx(sum(mine) / len(mine))


def test_users_beyond_what_is_kept_are_a_fair_sample(store: ExperimentStore) -> None:
    trial = experiment(store)
    for number in range(1000):
        see(trial, f"u{number}", 1.0)
        if number % 50 == 0:
            trial.flush()
    report = trial.report()
    assert report.kept < 1
    assert 64 < report.users < 500
    before = report.users
    for number in range(1000):  # nobody who was forgotten is taken for new
        see(trial, f"u{number}", 1.0)
    assert trial.report().users == before
    assert report.sample_ratio_ok


def test_a_request_without_a_user_is_a_unit_by_itself(store: ExperimentStore) -> None:
    trial = experiment(store, metric=THUMB)
    for number in range(40):
        assignment = trial.choose(None, f"r{number}")
        assert assignment is not None
        assert assignment.anonymous
        trial.observe(assignment, {"cost": 1.0})
        assert trial.record("thumb", 1.0, request_id=f"r{number}")
    report = trial.report()
    assert report.users == 40  # reporting something of it makes no second one
    assert sum(variant.primary.users for variant in report.variants) == 40


def test_a_variant_that_was_something_else_is_refused(store: ExperimentStore) -> None:
    Experiment("x", [Variant(name="a"), Variant(name="b", drafting="never")], store=store)
    with pytest.raises(ConfigurationError, match=r"begun with something else for b.*new name"):
        Experiment("x", [Variant(name="a"), Variant(name="b", drafting="always")], store=store)
    with pytest.raises(ConfigurationError, match="for control"):
        Experiment(
            "x", [Variant(name="a"), Variant(name="b", drafting="never")], store=store, control="b"
        )
    more = [Variant(name="a", weight=9), Variant(name="b", drafting="never"), Variant(name="c")]
    Experiment("x", more, store=store, guardrails=[Guardrail(metric="error", at_most=0.1)])


def test_a_user_who_was_moved_counts_where_it_came_first(store: ExperimentStore) -> None:
    first = experiment(store)
    moved = [n for n in range(200) if first.choose(f"u{n}", "").variant == "a"][:30]  # type: ignore[union-attr]
    for number in moved:
        see(first, f"u{number}", 1.0)
    first.flush()
    later = Experiment("x", [Variant(name="a"), Variant(name="b", weight=50)], store=store)
    for number in moved:
        see(later, f"u{number}", 9.0)
    report = later.report()
    assert report.moved > 20
    assert report.users == 30
    assert report.variants[1].primary.users == 0
    assert report.variants[0].primary.mean is not None


def test_the_numbers_of_users_are_held_to_the_weights_they_came_under(
    store: ExperimentStore,
) -> None:
    store = open_experiments(store)
    for begin, weight in ((0, 1.0), (300, 9.0)):
        trial = Experiment("y", [Variant(name="a"), Variant(name="b", weight=weight)], store=store)
        for number in range(begin, begin + 300):
            assignment = trial.choose(None, f"r{number}")
            assert assignment is not None
            trial.observe(assignment, {"cost": 1.0})
        trial.flush()
    assert trial.report().sample_ratio_ok
    for number in range(4000):
        assignment = trial.choose(None, f"s{number}")
        assert assignment is not None
        if assignment.variant == "a" or number % 5:  # a fifth of b's get lost on the way
            trial.observe(assignment, {"cost": 1.0})
    assert not trial.report().sample_ratio_ok


# The file


def test_only_the_owner_may_read_the_file_and_no_user_is_named_in_it(tmp_path: Path) -> None:
    path = tmp_path / "ab.db"
    trial = experiment(f"sqlite:///{path}")
    see(trial, "ada@example.org", 1.0)
    trial.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"ada" not in path.read_bytes()


def _see_many(url: str, begin: int) -> None:
    trial = experiment(url, every=7)
    for number in range(begin, begin + 150):
        see(trial, f"u{number % 100}", 1.0)
    trial.close()


def test_processes_add_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ab.db'}"
    experiment(url).close()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_see_many, args=(url, 50 * n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    report = experiment(url).report()
    assert report.users == 100
    assert sum(variant.primary.requests for variant in report.variants) == 450


def test_a_killed_process_loses_only_what_it_had_not_written(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ab.db'}"
    code = f"""
import os, signal
from cascadeflow.experiments import Experiment, Variant
trial = Experiment("x", [Variant(name="a"), Variant(name="b")], store={url!r}, every=10**6)
for number in range(40):
    trial.observe(trial.choose(f"u{{number}}", ""), {{"cost": 1.0}})
trial.flush()
for number in range(40, 80):
    trial.observe(trial.choose(f"u{{number}}", ""), {{"cost": 1.0}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    report = experiment(url).report()
    assert 40 <= report.users <= 80


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_writes_nothing_of_its_parents(tmp_path: Path) -> None:
    code = f"""
import os
from cascadeflow.experiments import Experiment, Variant
url = {f"sqlite:///{tmp_path / 'ab.db'}"!r}
trial = Experiment("x", [Variant(name="a"), Variant(name="b")], store=url, every=10**6)
for number in range(10):
    trial.observe(trial.choose(f"u{{number}}", ""), {{"cost": 1.0}})
child = os.fork()
if not child:
    for number in range(10, 15):
        trial.observe(trial.choose(f"u{{number}}", ""), {{"cost": 1.0}})
    trial.flush()
    os._exit(0)
os.waitpid(child, 0)
print(trial.report().users)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "15"


def garbage(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 20)


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table theirs (x)")
    connection.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version = 99")
    connection.close()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def unreadable_book(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("update experiments set body = '{\"form\": 1}'")
    connection.close()


def impossible_sums(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        (body,) = connection.execute("select body from experiments").fetchone()
        book = json.loads(body)
        book["moments"][0][3] = 10**9
        connection.execute("update experiments set body = ?", (json.dumps(book),))
    connection.close()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (garbage, "damaged"),
        (foreign, "holds no experiments"),
        (newer, "another version"),
        (cut, "damaged"),
        (unreadable_book, "damaged.*Restore a backup"),
        (impossible_sums, "damaged.*Restore a backup"),
    ],
)
def test_a_file_that_is_none_or_damaged_says_what_to_do(
    tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "ab.db"
    if harm is not foreign:
        trial = experiment(f"sqlite:///{path}")
        see(trial, "ada", 1.0)
        trial.close()
    harm(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=message):
        experiment(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_damaged_users_sums_are_not_counted_on(tmp_path: Path) -> None:
    path = tmp_path / "ab.db"
    trial = experiment(f"sqlite:///{path}")
    see(trial, "ada", 1.0)
    trial.flush()
    with sqlite3.connect(path) as connection:
        connection.execute("update units set body = '[1]'")
    connection.close()
    see(trial, "ada", 1.0)
    with pytest.raises(StoreError, match="damaged"):
        trial.flush()


@pytest.mark.parametrize(
    "url", ["sqlite://x.db", "sqlite:///", "sqlite:///:memory:", "postgres://x", "sqlite:///a?b"]
)
def test_a_store_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"memory.*sqlite:///"):
        experiment(url)


def test_a_file_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        experiment(f"sqlite:///{tmp_path / 'nowhere' / 'ab.db'}")


def test_what_cannot_be_written_is_kept_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "ab.db"
    trial = experiment(SqliteExperiments(path))
    see(trial, "ada", 1.0)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("alter table units rename to away")
        with pytest.raises(StoreError, match="adding observations"):
            trial.flush()
        see(trial, "ada", 3.0)
        other.execute("alter table away rename to units")
    other.close()
    report = trial.report()
    assert report.users == 1
    assert sum(variant.primary.requests for variant in report.variants) == 2
