"""A store whose writer is killed fifty times, at random points, forgets and doubles nothing."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from crash.harness import Told, check, kill_at_random

from cascadeflow.budgets.audit import verify
from cascadeflow.budgets.stores import open_store
from cascadeflow.clock import SystemClock

WRITER = Path(__file__).with_name("store_writer.py")
ROUNDS = 25  # in each mode


@pytest.mark.parametrize("mode", ["default", "strict"])
def test_nothing_acknowledged_is_lost_and_nothing_counted_twice(tmp_path: Path, mode: str) -> None:
    url = f"sqlite:///{tmp_path}/budgets.db"
    chance = random.Random(f"kill {mode}")
    told = Told()
    silent = 0
    for number in range(ROUNDS):
        command = [sys.executable, str(WRITER), url, str(number), mode]
        text = kill_at_random(command, chance)
        silent += not text
        told.add(text)
        with open_store(url, clock=SystemClock()) as store:
            check(store, told)
    with open_store(url, read_only=True) as store:
        report = verify(store)
    assert report.ok, report.reason
    # The writers were killed while they worked, not before.
    assert len(told.events) > ROUNDS
    assert silent < ROUNDS / 2
    assert bool(told.held) == (mode == "strict")
    assert bool(told.spent) == (mode == "default")
