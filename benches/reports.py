"""What chargeback over a million events takes, in time and memory: `python benches/reports.py`."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cascadeflow.budgets.records import Charge, Spender, UsageEvent
from cascadeflow.budgets.reports import chargeback

if TYPE_CHECKING:
    from collections.abc import Iterator

START = datetime(2026, 11, 1, tzinfo=UTC)
MODELS = ("openai:gpt-5", "openai:gpt-5-mini", "anthropic:claude-opus-5")


def events(count: int) -> Iterator[UsageEvent]:
    """A month of a thousand users, two calls a request."""
    for number in range(count):
        at = START + timedelta(milliseconds=2_500 * (number // 2))
        yield UsageEvent(
            event_id=f"event-{number:032d}",
            at=at,
            logged_at=at,
            request_id=f"request-{number // 2:032d}",
            spender=Spender(user_id=f"u{number % 1000}", team=f"t{number % 10}"),
            charge=Charge(
                model=MODELS[number % 3],
                nanodollars=number % 100_000,
                confirmed=True,
                held=100_000,
                input_tokens=100,
                output_tokens=50,
            ),
        )


def measure(count: int, *, ordered: bool) -> None:
    """Prints the processor's seconds beyond making the events, and how far the process grew."""
    began = time.process_time()
    for _ in events(count):
        pass
    making = time.process_time() - began
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    report = chargeback(events(count), by=["user", "day"], timezone="Europe/Oslo", ordered=ordered)
    took = time.process_time() - began - making
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"{count:>9,} events {'in order' if ordered else 'any order':9} {took:6.2f} s "
        f"{took / count * 1e6:5.1f} µs an event, {len(report.rows):,} rows, {grown:,.0f} MiB more"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(int(sys.argv[1]), ordered=sys.argv[2] == "ordered")
    else:
        for size in (100_000, 1_000_000):
            for order in ("ordered", "any"):
                # A process of its own: the high-water mark of memory never falls.
                subprocess.run([sys.executable, __file__, str(size), order], check=True)
