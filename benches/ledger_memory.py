"""How much memory the ledger takes for each scope, and whether evicted ones give it back.

    python benches/ledger_memory.py [--scopes 1000000] [--json]

It opens so many users with a limit for each day, week and month, spends on each, evicts them all
when their periods are over, and does it again: the second lot must fit where the first was. What is
measured is what the process has in memory (Linux: the proportional set size), before and after.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from cascadeflow._native import Ledger, Refusal, Window

NOW = 1_795_348_800_000
NEXT_QUARTER = NOW + 90 * 86_400_000
ZONE = "Europe/Oslo"
LIMIT = 10**12


def resident() -> int:
    """Bytes of memory that this process has."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/smaps_rollup has no Pss")


def fill(ledger: Ledger, scopes: int, now_ms: int) -> None:
    """Opens scopes and spends on each."""
    limits = [(Window.day(ZONE), LIMIT), (Window.week(ZONE), LIMIT), (Window.month(ZONE), LIMIT)]
    for number in range(scopes):
        scope = ledger.open_scope("user", f"user-{number:09}", limits, now_ms)
        hold = ledger.reserve((scope,), 1_000, now_ms, now_ms + 60_000)
        assert not isinstance(hold, Refusal), hold
        ledger.settle(hold, 900, now_ms)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scopes", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    if not sys.platform.startswith("linux"):
        sys.exit("this reads /proc, which only Linux has")

    ledger = Ledger()
    before = resident()
    fill(ledger, arguments.scopes, NOW)
    full = resident()
    evicted = len(ledger.evict(NEXT_QUARTER, 0))
    fill(ledger, arguments.scopes, NEXT_QUARTER)
    again = resident()
    found = {
        "scopes": arguments.scopes,
        "bytes_per_scope": round((full - before) / arguments.scopes),
        "evicted": evicted,
        "bytes_per_scope_after_as_many_more": round((again - before) / arguments.scopes),
    }
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name.replace('_', ' ')}: {value:,}")


if __name__ == "__main__":
    main()
