"""What the models of this machine take: time to open, and memory, for one session and for two.

    python benches/model_memory.py [NAME…]

opens each model in new processes, three times, and prints the fastest; by default all-MiniLM-L6-v2
as it is and in eight bits, which are made in a temporary folder when they are not in the cache.
What a model adds to resident memory counts pages that other processes share; `private` does not.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time

from cascadeflow.models.local_models import inventory
from cascadeflow.models.measure import Measured, measure
from cascadeflow.models.pull import pull

ROUNDS = 3
NAMES = ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2-int8")


def fastest(name: str, sessions: int) -> Measured:
    """The round that opened it soonest."""
    rounds = [measure(name, sessions=sessions, threads=2) for _ in range(ROUNDS)]
    return min(rounds, key=lambda each: each.load_ms)


def megabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:.0f} MB"


def make_missing(names: list[str], folder: str) -> None:
    """Makes eight bits where they are asked for and not here, outside the user's cache."""
    here = {status.model.name for status in inventory() if status.path is not None}
    if NAMES[1] in names and NAMES[1] not in here:
        os.environ["XDG_CACHE_HOME"] = folder
        begun = time.process_time()
        pull(NAMES[1])
        print(f"{NAMES[1]} made in {time.process_time() - begun:.1f} s of one core")


def main() -> None:
    """Measures and prints."""
    names = sys.argv[1:] or list(NAMES)
    print(f"{'model':24}{'sessions':>9}{'opened in':>12}{'first run':>11}{'adds':>9}{'private':>9}")
    with tempfile.TemporaryDirectory() as folder:
        make_missing(names, folder)
        for name in names:
            for sessions in (1, 2):
                best = fastest(name, sessions)
                print(
                    f"{name:24}{sessions:>9}{best.load_ms:>9.0f} ms{best.first_ms:>8.1f} ms"
                    f"{megabytes(best.added):>9}{megabytes(best.private):>9}"
                )


if __name__ == "__main__":
    main()
