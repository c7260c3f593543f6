"""Writes to a store as a tracker would, until it is killed. Arguments: URL, seed, mode.

It keeps its own sums, spends what it was granted before it logs it, and tells of each step once the
store has returned from it (see `harness`).
"""

from __future__ import annotations

import json
import os
import random
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cascadeflow.budgets.audit import limit_changed
from cascadeflow.budgets.records import Charge, Scope, Spender, UsageEvent
from cascadeflow.budgets.stores import open_store
from cascadeflow.budgets.stores.protocol import Grant, HeldCall, StrictHold

if TYPE_CHECKING:
    from cascadeflow.budgets.stores.sqlite import SqliteStore

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
START = datetime(2026, 3, 1, tzinfo=UTC)
MODEL = "openai:gpt-5-mini"


def tell(**what: object) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


class Writer:
    def __init__(self, store: SqliteStore, seed: int) -> None:
        self.store = store
        self.chance = random.Random(seed)
        self.seed = seed
        self.number = 0
        self.total: dict[Scope, int] = {}
        self.granted: dict[Scope, int] = {}
        self.waiting: list[UsageEvent] = []
        self.written: list[UsageEvent] = []

    def event(self, user: str, amount: int, request: str | None = None) -> UsageEvent:
        self.number += 1
        at = START + timedelta(minutes=self.number)
        return UsageEvent(
            event_id=f"{self.seed}-{self.number}",
            at=at,
            logged_at=at,
            request_id=request or f"request-{self.seed}-{self.number}",
            spender=Spender(user_id=user, tags=("night",)),
            charge=Charge(model=MODEL, nanodollars=amount, confirmed=True),
        )

    def append(self, events: list[UsageEvent], ended: tuple[str, ...] = ()) -> None:
        self.store.append(events, ended=ended)
        for each in events:
            tell(event=each.event_id, request=each.request_id, nanodollars=each.booked)
        for request in ended:
            tell(ended=request)
        self.written.extend(events)

    def spend_granted(self) -> None:
        user, amount = f"u{self.chance.randrange(4)}", self.chance.randrange(1, 1000)
        scopes = (Scope("global"), Scope("user", user))
        short = []
        for scope in scopes:
            if scope not in self.total:
                self.total[scope] = self.store.scope(scope, since=LONG_AGO).spent
            needed = self.total[scope] + amount
            if needed > self.granted.get(scope, 0):
                up_to = needed + self.chance.randrange(5000)
                tell(asking=up_to, scope=str(scope))
                short.append(Grant(scope, up_to, START + timedelta(minutes=self.number)))
        if short:
            self.store.grant(short)
            self.granted |= {grant.scope: grant.up_to for grant in short}
        for scope in scopes:
            self.total[scope] += amount
            tell(spent=self.total[scope], scope=str(scope))
        self.waiting.append(self.event(user, amount))
        if self.chance.random() < 0.15:
            self.append(self.waiting)
            self.waiting = []

    def spend_held(self) -> None:
        request = f"request-{self.seed}-{self.number}-held"
        user, amounts = f"u{self.chance.randrange(4)}", (self.chance.randrange(1, 1000), 7)
        hold = StrictHold(
            request_id=request,
            at=START,
            spender=Spender(user_id=user),
            calls=tuple(HeldCall(model=MODEL, nanodollars=amount) for amount in amounts),
        )
        self.store.hold([hold])
        tell(held=request, nanodollars=sum(amounts))
        fate = self.chance.random()
        if fate < 0.8:
            self.append([self.event(user, amounts[0] // 2, request)], (request,))
        elif fate < 0.9:
            tell(releasing=request)
            self.append([], (request,))
        # Else it is still under way.
        self.number += 1

    def lower_limit(self) -> None:
        scope = Scope("user", "u0")
        known = dict(self.store.scope(scope, since=LONG_AGO).limits)
        limit = (known.get("day") or 10**12) - 1
        event = limit_changed(
            scope, "day", limit=limit, previous=None, actor="test", reason="test", at=START
        )
        self.store.append([event])
        tell(limit=limit, scope=str(scope))

    def work(self, *, strict: bool) -> None:
        while True:
            if strict:
                self.spend_held()
            else:
                self.spend_granted()
            other = self.chance.random()
            if other < 0.02:
                self.lower_limit()
            elif other < 0.06 and self.written:  # delivered again, which must change nothing
                self.store.append(self.chance.choices(self.written, k=3))


if __name__ == "__main__":
    url, seed, mode = sys.argv[1:]
    Writer(open_store(url), int(seed)).work(strict=mode == "strict")
