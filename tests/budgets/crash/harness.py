"""Kills a program that writes to a store, again and again, and checks what the store then knows.

The program is any command that opens the store, works until it is killed, and tells on its standard
output, a JSON object a line, what is so *by then*. Amounts are nanodollars; a scope is written as
`Scope` is (`"user:ann"`):

    {"event": ID, "request": ID, "nanodollars": N}   the event is acknowledged to be in the log
    {"spent": TOTAL, "scope": S}      so much of the scope's money is gone, over its life
    {"asking": UP_TO, "scope": S}     it is about to ask for a grant up to this
    {"held": REQUEST, "nanodollars": N}   a strict hold is acknowledged, and its call may be made
    {"releasing": REQUEST}            it is about to end the hold without a charge
    {"ended": REQUEST}                the hold's end is acknowledged
    {"limit": N, "scope": S}          a limit set by hand is acknowledged; each is below the last

A line is written in one piece (`os.write`), so that none is half when the program dies.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cascadeflow.budgets.records import UsageEvent

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from cascadeflow.budgets.stores.sqlite import SqliteStore

__all__ = ["Told", "check", "kill_at_random"]

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def kill_at_random(command: Sequence[str], chance: random.Random, *, most_lines: int = 120) -> str:
    """Runs the command, kills it (SIGKILL) at a random point, and gives all it had written.

    Half of the points are a number of lines, the others a time from the start on: so that it dies
    while it opens the store, too.

    Raises:
        AssertionError: it ended by itself.
    """
    lines = chance.randrange(1, most_lines) if chance.random() < 0.7 else 0
    seconds = chance.uniform(0.0, 0.4)
    written = bytearray()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        output = child.stdout.fileno()
        if lines:
            while written.count(b"\n") < lines and (some := os.read(output, 1 << 16)):
                written += some
        else:
            select.select([child.stderr], [], [], seconds)  # no error comes: it waits that long
        child.kill()
        while some := os.read(output, 1 << 16):
            written += some
        error = child.stderr.read().decode()
    assert child.returncode == -9, f"the program ended by itself: {error}"
    assert not written or written.endswith(b"\n"), "a line was cut"
    return written.decode()


@dataclass(slots=True)
class Told:
    """What the programs have told so far, all that were killed together."""

    events: dict[str, int] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    releasing: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    limits: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """Takes in what one program wrote."""
        for line in text.splitlines():
            told: dict[str, Any] = json.loads(line)
            if "event" in told:
                self.events[told["event"]] = told["nanodollars"]
                self.requests[told["event"]] = told["request"]
            elif "spent" in told:
                self._raise(self.spent, told["scope"], told["spent"])
            elif "asking" in told:
                self._raise(self.asked, told["scope"], told["asking"])
            elif "held" in told:
                self.held[told["held"]] = self.held.get(told["held"], 0) + told["nanodollars"]
            elif "releasing" in told:
                self.releasing.add(told["releasing"])
            elif "ended" in told:
                self.ended.add(told["ended"])
            else:
                assert told["limit"] <= self.limits.get(told["scope"], told["limit"])
                self.limits[told["scope"]] = told["limit"]

    @staticmethod
    def _raise(known: dict[str, int], scope: str, amount: int) -> None:
        known[scope] = max(amount, known.get(scope, amount))


def check(store: SqliteStore, told: Told) -> None:
    """Holds what a store knows, opened again, against what its writers told before they died.

    Raises:
        AssertionError: something acknowledged is lost, something is counted twice, or an account
            shows less than was spent or more room than before.
    """
    logged: Counter[str] = Counter()
    booked: dict[str, int] = {}
    by_request: dict[str, list[UsageEvent]] = defaultdict(list)
    total = 0
    for event in store.events():
        logged[event.event_id] += 1
        if isinstance(event, UsageEvent):
            booked[event.event_id] = event.booked
            by_request[event.request_id].append(event)
            total += event.booked
    assert max(logged.values(), default=1) == 1, "an event is in the log twice"
    lost = [each for each, amount in told.events.items() if booked.get(each) != amount]
    assert not lost, f"acknowledged and lost: {lost[:5]}"

    records = {str(record.scope): record for record in store.scopes(since=_LONG_AGO)}
    if "global" in records:
        record = records["global"]
        assert record.spent - record.unreported == total, "the log's sum is not the account's"
    for scope, record in records.items():
        quarters = sum(amount for _, amount in record.by_quarter)
        assert record.spent == quarters + record.unreported
        assert record.spent >= told.seen.get(scope, 0), f"{scope} shows less than before"
        told.seen[scope] = record.spent
        if scope in told.asked:
            assert record.spent <= max(told.asked[scope], quarters), f"{scope} was never granted it"
    for scope, amount in told.spent.items():
        assert told.seen.get(scope, 0) >= amount, f"{scope} shows less than was spent"
    for scope, limit in told.limits.items():
        (now,) = {amount for _, amount in records[scope].limits}
        assert now is not None
        assert now <= limit, f"the limit of {scope} grew"
        told.limits[scope] = now

    charged = set(told.requests.values())
    for request, amount in told.held.items():
        events = by_request[request]
        if request in told.ended:
            known = [event for event in events if event.event_id in told.events]
            assert len(known) == len(events), f"{request} had ended, and was charged again"
        elif request not in charged:
            # It died in the middle: charged as it was held, or by an event nobody heard of; or it
            # was being released, and nobody heard that it was.
            charge = sum(event.booked for event in events)
            confirmed = [event for event in events if event.charge.confirmed]
            released = request in told.releasing and not events
            assert confirmed or released or charge == amount, f"the hold of {request} is lost"
