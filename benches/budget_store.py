"""What a SQLite store takes: `python benches/budget_store.py [EVENTS]` (default 100,000).

Each line gives the processor's time and the time on the wall; the wall's includes the disk.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from cascadeflow.budgets.audit import verify
from cascadeflow.budgets.records import Charge, Scope, Spender, UsageEvent
from cascadeflow.budgets.stores import open_store
from cascadeflow.budgets.stores.protocol import Grant

if TYPE_CHECKING:
    from collections.abc import Iterator

START = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 1000
GRANTS = 200


def event(number: int, chance: random.Random) -> UsageEvent:
    """One of ten thousand users of twenty teams; ids at random, as real ones are."""
    at = START + timedelta(seconds=number)
    return UsageEvent(
        event_id=f"{chance.getrandbits(128):032x}",
        at=at,
        logged_at=at,
        request_id=f"request-{number}",
        spender=Spender(
            user_id=f"user_{chance.randrange(10_000)}",
            tier="pro",
            team=f"team{chance.randrange(20)}",
        ),
        charge=Charge(
            model="openai:gpt-5-mini",
            nanodollars=chance.randrange(10**6),
            confirmed=True,
            held=10**6,
            input_tokens=500,
            output_tokens=100,
            price_source="catalogue",
            price_date="2026-01-01",
        ),
    )


class Timed:
    """Seconds of a block."""

    wall = 0.0
    processor = 0.0

    def __str__(self) -> str:
        return f"{self.processor * 1e3:10.2f} ms of processor, {self.wall * 1e3:10.2f} ms in all"


@contextmanager
def timed(what: str | None = None) -> Iterator[Timed]:
    """Times a block, and prints it if it has a name."""
    timer, wall, processor = Timed(), time.perf_counter(), time.process_time()
    yield timer
    timer.wall = time.perf_counter() - wall
    timer.processor = time.process_time() - processor
    if what:
        print(f"{what:42} {timer}")


def report(what: str, timers: list[Timed]) -> None:
    """Prints the medians."""
    middle = Timed()
    middle.wall = median(each.wall for each in timers)
    middle.processor = median(each.processor for each in timers)
    print(f"{what:42} {middle}")


def measure(count: int, folder: Path) -> None:
    """Fills a store, then opens, reads and audits it."""
    url, chance = f"sqlite:///{folder}/budgets.db", random.Random(1)
    store = open_store(url)
    batches = []
    for start in range(0, count, BATCH):
        events = [event(number, chance) for number in range(start, start + BATCH)]
        with timed() as timer:
            store.append(events)
        batches.append(timer)
    report("append 1,000 events, the first 20 times", batches[:20])
    report("append 1,000 events, the last 20 times", batches[-20:])
    grants = []
    for number in range(GRANTS):
        with timed() as timer:
            store.grant([Grant(Scope("user", f"user_{number}"), 10**12, START)])
        grants.append(timer)
    report("grant one slice", grants)
    store.close()
    size = (folder / "budgets.db").stat().st_size
    print(f"{'the file':42} {size / 1e6:10.1f} MB, {size / count:.0f} bytes an event")
    with timed(f"open for writing, {GRANTS} grants left open"):
        store = open_store(url)
    store.close()
    with timed("open for reading"):
        store = open_store(url, read_only=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with timed("read every scope's sums of the last day"):
        since = START + timedelta(seconds=count) - timedelta(days=1)
        sum(1 for _ in store.scopes(since=since))
    with timed(f"read {count:,} events"):
        sum(1 for _ in store.events())
    with timed(f"verify {count:,} events"):
        found = verify(store)
    assert found.ok, found.reason
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{'memory that reading and verifying added':42} {grown:10.1f} MiB")
    store.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, Path(temporary))
