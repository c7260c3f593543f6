"""`kill -9` in the middle of load: the accounts never show less than the provider served."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from crash.harness import kill_at_random

from cascadeflow import CostTracker
from cascadeflow.budgets.audit import verify
from cascadeflow.budgets.stores import open_store
from cascadeflow.money import from_usd

SERVICE = Path(__file__).with_name("service.py")
ROUNDS = 25
LIMIT = "50"
USERS = 8


@pytest.mark.timeout(300)
@pytest.mark.parametrize("durability", ["default", "strict"])
def test_a_killed_service_never_forgets_what_was_served(durability: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'budgets.db'}"
    chance = random.Random(11)
    served = before = 0
    for round_number in range(ROUNDS):
        command = [sys.executable, str(SERVICE), url, durability, LIMIT, str(round_number)]
        written = kill_at_random(command, chance, most_lines=400)
        served += sum(json.loads(line)["served"] for line in written.splitlines())
        with CostTracker(
            global_budget=LIMIT, default_user_budget=LIMIT, enforcement_mode="block", store=url
        ) as tracker:
            (account,) = tracker.accounts("global")
            assert account.limit == from_usd(LIMIT), "the limit changed"
            assert account.held == 0
            assert served <= account.spent <= account.limit
            assert account.spent >= before, "the account shows less than before"
            before = account.spent
            users = [tracker.accounts(f"user:u{number}")[0].spent for number in range(USERS)]
            assert sum(users) >= served
    assert served > 0
    with open_store(url, read_only=True) as store:
        assert verify(store).ok
        booked = sum(event.booked for event in store.events())
    if durability == "strict":
        # Nothing is lost: the log alone has all that was served.
        assert booked >= served
        assert before == booked
