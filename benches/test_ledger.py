"""What a budget check takes: money held for a request on four scopes, and settled after it.

The reference is the obvious ledger in plain Python: dictionaries behind one lock, all or nothing,
with the same scopes, windows and answers.
"""

from __future__ import annotations

import gc
import threading
from itertools import count
from typing import Any

import pytest

from cascadeflow._native import Ledger, Window

CHECK = "budget check: reserve + settle, 4 scopes x 3 periods"
REFUSED = "budget check that is refused, 4 scopes x 3 periods"
CROWDED = "budget check with 1,000,000 scopes open"
OPEN = "opening a scope with 3 periods"

NOW = 1_795_348_800_000  # 2026-11-22 12:00 UTC
DEADLINE = NOW + 600_000
LIMIT = 10**18
ZONE = "Europe/Oslo"
LIMITS = [(Window.day(ZONE), LIMIT), (Window.week(ZONE), LIMIT), (Window.month(ZONE), LIMIT)]
SCOPES = [("global", ""), ("tier", "pro"), ("user", "u1"), ("model", "openai:gpt-5-mini")]
CROWD = 1_000_000


class LockedLedger:
    """Dictionaries behind one lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.scopes: list[list[list[Any]]] = []
        self.names: dict[tuple[str, str], int] = {}
        self.holds: dict[int, tuple[list[list[Any]], int, int]] = {}
        self.ids = count()

    def open_scope(
        self, kind: str, name: str, limits: list[tuple[Window, int]], now_ms: int
    ) -> int:
        with self.lock:
            handle = self.names.setdefault((kind, name), len(self.scopes))
            if handle == len(self.scopes):
                # limit, spent, held, when the period ends
                self.scopes.append(
                    [[limit, 0, 0, window.period(now_ms)[1]] for window, limit in limits]
                )
            return handle

    def reserve(
        self, scopes: tuple[int, ...], amount: int, now_ms: int, deadline_ms: int
    ) -> int | None:
        with self.lock:
            accounts = [account for scope in scopes for account in self.scopes[scope]]
            for limit, spent, held, ends_ms in accounts:
                if now_ms >= ends_ms:
                    raise AssertionError("the benchmark ends within its period")
                if spent + held + amount > limit:
                    return None
            for account in accounts:
                account[2] += amount
            hold = next(self.ids)
            self.holds[hold] = accounts, amount, deadline_ms
            return hold

    def settle(self, hold: int, actual: int, now_ms: int) -> None:
        with self.lock:
            accounts, amount, deadline_ms = self.holds.pop(hold)
            if now_ms >= deadline_ms:
                raise AssertionError("the benchmark ends before its holds expire")
            for account in accounts:
                account[1] += actual
                account[2] -= amount


def checker(ledger: Any, crowd: int = 0) -> Any:
    """One request's budget check, with as many other scopes open."""
    for number in range(crowd):
        ledger.open_scope("user", f"crowd-{number}", LIMITS, NOW)
    handles = tuple(ledger.open_scope(kind, name, LIMITS, NOW) for kind, name in SCOPES)
    reserve, settle = ledger.reserve, ledger.settle

    def check() -> None:
        settle(reserve(handles, 1_500_000, NOW, DEADLINE), 1_200_000, NOW)

    return check


def test_check(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": CHECK, "role": "figure", "gate_s": 1e-3, "goal_s": 1e-6}
    ledger = Ledger()
    benchmark(checker(ledger))
    scope = ledger.find_scope("global", "")
    assert scope is not None
    settled, held = ledger.total(scope)
    assert settled % 1_200_000 == held == 0
    assert settled > 0


def test_check_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {
        "figure": CHECK,
        "role": "reference",
        "reference": "a lock and dictionaries",
    }
    ledger = LockedLedger()
    benchmark(checker(ledger))
    assert not ledger.holds


def refuser(ledger: Any) -> Any:
    """A request that the last of its scopes has no money for."""
    handles = [ledger.open_scope(kind, name, LIMITS, NOW) for kind, name in SCOPES[:3]]
    handles.append(ledger.open_scope("team", "t", [(window, 10) for window, _ in LIMITS], NOW))
    reserve, scopes = ledger.reserve, tuple(handles)

    def check() -> Any:
        return reserve(scopes, 1_500_000, NOW, DEADLINE)

    return check


def test_refused_check(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": REFUSED, "role": "figure", "gate_s": 1e-3, "goal_s": 2e-6}
    assert benchmark(refuser(Ledger())).kind == "limit"


def test_refused_check_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {
        "figure": REFUSED,
        "role": "reference",
        "reference": "a lock and dictionaries",
    }
    assert benchmark(refuser(LockedLedger())) is None


def test_crowded_check(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": CROWDED, "role": "figure", "gate_s": 1e-3, "goal_s": 1e-6}
    ledger = Ledger()
    check = checker(ledger, CROWD)
    benchmark(check)
    assert len(ledger.scopes()) == CROWD + len(SCOPES)


def test_crowded_check_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {
        "figure": CROWDED,
        "role": "reference",
        "reference": "the same ledger with 4 scopes",
    }
    benchmark(checker(Ledger()))


@pytest.mark.parametrize(
    ("make", "about"),
    [
        (Ledger, {"role": "figure", "gate_s": 1e-3, "goal_s": 5e-6}),
        (LockedLedger, {"role": "reference", "reference": "a lock and dictionaries"}),
    ],
    ids=["figure", "reference"],
)
def test_open(benchmark: Any, make: Any, about: dict[str, Any]) -> None:
    benchmark.extra_info |= {"figure": OPEN, **about}
    ledger = make()
    names = [f"user-{number}" for number in range(200_000)]
    later = iter(names)

    def open_many() -> None:
        for _ in range(10_000):
            ledger.open_scope("user", next(later), LIMITS, NOW)

    gc.collect()
    benchmark.pedantic(open_many, rounds=20)
    benchmark.extra_info["value_s"] = benchmark.stats.stats.median / 10_000
