"""A store with a few weeks of spending, for the tests of the commands that read it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cascadeflow.budgets.records import Charge, Spender, UsageEvent
from cascadeflow.budgets.stores import open_store
from cascadeflow.testing import ManualClock

NOW = datetime(2026, 11, 19, 12, 7, tzinfo=UTC)
"""A Thursday; the clock that the commands are given stands there."""


def usage(number: int, *, at: datetime = NOW, user: str = "ada", **charge: Any) -> UsageEvent:
    """A call of a million nanodollars: a tenth of a cent."""
    values: dict[str, Any] = {
        "model": "openai:gpt-5",
        "nanodollars": 1_000_000,
        "confirmed": True,
        "held": 1_000_000,
        "input_tokens": 100,
        "output_tokens": 10,
    }
    return UsageEvent(
        event_id=f"e{number}",
        at=at,
        logged_at=at + timedelta(seconds=1),
        request_id=f"r{number}",
        spender=Spender(user_id=user, team="research", tier="pro", tags=("beta", "batch")),
        charge=Charge(**(values | charge)),
    )


def filled(url: str) -> None:
    """Ada spends a tenth of a cent a day for thirty days; `=cmd()` and eve half a cent today."""
    with open_store(url, clock=ManualClock(NOW)) as store:
        store.append(
            [usage(number, at=NOW - timedelta(days=number)) for number in range(30)]
            + [
                usage(100, user="=cmd()", nanodollars=5_000_000, held=5_000_000),
                usage(101, user="eve", nanodollars=5_000_000, held=5_000_000, confirmed=False),
            ]
        )
