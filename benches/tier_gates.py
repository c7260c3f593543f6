"""A tier's gate, and the same in the obvious way: dictionaries and deques behind one lock."""

from __future__ import annotations

import threading
from collections import deque
from time import perf_counter_ns

from cascadeflow import RateLimits, TierConfig, Tiers

MINUTE, HOUR, DAY = (seconds * 10**9 for seconds in (60, 3_600, 86_400))
MANY = 10**8


class PlainTiers:
    """Dictionaries and deques behind one lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tiers = {"free": (MANY, MANY, MANY), "pro": (MANY, MANY, MANY)}
        self.passed: dict[str, tuple[deque[int], deque[int], deque[int]]] = {}

    def enter(self, user: str, tier: str) -> bool:
        limits = self.tiers.get(tier, self.tiers["free"])
        now = perf_counter_ns()
        with self.lock:
            logs = self.passed.get(user)
            if logs is None:
                logs = self.passed[user] = (deque(), deque(), deque())
            for log, limit, window in zip(logs, limits, (MINUTE, HOUR, DAY), strict=True):
                while log and log[0] <= now - window:
                    log.popleft()
                if len(log) >= limit:
                    return False
            for log in logs:
                log.append(now)
        return True

    def request(self, user: str) -> None:
        assert self.enter(user, "pro")


class OurTiers:
    """The gate that an agent's requests pass."""

    def __init__(self) -> None:
        limits = RateLimits(per_minute=MANY, per_hour=MANY, per_day=MANY)
        tiers = {name: TierConfig(name, rate_limits=limits) for name in ("free", "pro")}
        self.tiers = Tiers(tiers, default="free")

    def request(self, user: str) -> None:
        tiers = self.tiers
        member = tiers.known(user, "pro")
        assert member is not None
        entry = tiers.try_enter(member)
        assert entry is not None
        entry.leave()
