"""Usage logs for the tests of reports: single events, and whole logs drawn by hypothesis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from cascadeflow.budgets.records import (
    Charge,
    LogEvent,
    ManualEvent,
    Scope,
    Spender,
    UsageEvent,
)

START = datetime(2026, 10, 20, tzinfo=UTC)
"""A log that is drawn begins then, and spans a change of clocks and a change of months."""

NAMES = st.sampled_from([None, "", "u1", "u2", "=cmd()", "ü\n漢"])
MODELS = st.sampled_from(["openai:gpt-5", "openai:gpt-5-mini", "anthropic:claude", "odd"])
TOKENS = st.none() | st.integers(0, 10**9)


def usage(number: int = 1, *, at: datetime = START, **more: Any) -> UsageEvent:
    """One event of user u1 at 1,000 nanodollars; keywords go where they belong."""
    spender = {
        name: more.pop(name)
        for name in ("user_id", "tier", "team", "key", "tags")
        if name in more
    }  # fmt: skip
    event = {
        name: more.pop(name)
        for name in (
            *("event_id", "request_id", "logged_at", "corrects", "corrected_nanodollars"),
            "metadata",
        )
        if name in more
    }
    charge = {"model": "openai:gpt-5", "nanodollars": 1_000, "confirmed": True} | more
    charge.setdefault("held", charge["nanodollars"] or 0)
    return UsageEvent(
        **{
            "event_id": f"e{number}",
            "at": at,
            "logged_at": at + timedelta(seconds=2),
            "request_id": f"r{number}",
        }
        | event,
        spender=Spender(**({"user_id": "u1"} | spender)),
        charge=Charge(**charge),
    )


def manual(number: int, scope: Scope, nanodollars: int | None, **more: Any) -> ManualEvent:
    """A change by hand, at the log's start unless said otherwise."""
    values: dict[str, Any] = {
        "event_id": f"m{number}",
        "at": START,
        "kind": "adjust",
        "scope": scope,
        "period": None,
        "nanodollars": nanodollars,
        "previous": 0,
        "actor": "me",
        "reason": "because",
    }
    return ManualEvent(**(values | more))


@st.composite
def charges(draw: st.DrawFn, *, confirmed: bool) -> Charge:
    unknown = confirmed and draw(st.booleans()) and draw(st.booleans())
    held = draw(st.integers(0, 10**12))
    cost = held if not confirmed else draw(st.integers(0, 2 * 10**12))
    return Charge(
        model=draw(MODELS),
        nanodollars=None if unknown else cost,
        confirmed=confirmed,
        held=held,
        estimate=None if confirmed else draw(st.none() | st.integers(0, held)),
        role=draw(st.sampled_from(["draft", "verifier", "direct"])),
        input_tokens=draw(TOKENS),
        output_tokens=draw(TOKENS),
    )


@st.composite
def logs(draw: st.DrawFn) -> list[LogEvent]:
    """A log in no order: requests of several calls, corrections, events delivered twice."""
    events: list[LogEvent] = []
    for request in range(draw(st.integers(0, 12))):
        at = START + timedelta(seconds=draw(st.integers(0, 21 * 86_400)))
        spender = Spender(
            user_id=draw(NAMES),
            tier=draw(NAMES),
            team=draw(NAMES),
            key=draw(NAMES),
            tags=tuple(draw(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=3))),
        )
        for call in range(draw(st.integers(1, 3))):
            confirmed = draw(st.booleans())
            charge = draw(charges(confirmed=confirmed))
            event = UsageEvent(
                event_id=f"e{request}-{call}",
                at=at,
                logged_at=at + timedelta(seconds=draw(st.integers(0, 60))),
                request_id=f"r{request}",
                spender=spender,
                charge=charge,
            )
            events.append(event)
            if not confirmed and draw(st.booleans()):
                events.append(correction(event, draw(st.integers(0, 2 * 10**12)), draw(TOKENS)))
    events += [
        manual(number, Scope("user", "u1"), draw(st.integers(-1000, 1000)))
        for number in range(draw(st.integers(0, 2)))
    ]
    if events:
        events += draw(st.lists(st.sampled_from(events), max_size=4))
    return draw(st.permutations(events))


def correction(
    event: UsageEvent, nanodollars: int, tokens: int | None, *, after: timedelta = timedelta(days=9)
) -> UsageEvent:
    """What takes an unconfirmed event's place, logged so much later."""
    return UsageEvent(
        event_id=f"{event.event_id}-corrected",
        at=event.at,
        logged_at=event.logged_at + after,
        request_id=event.request_id,
        spender=event.spender,
        charge=Charge(
            model=event.charge.model,
            nanodollars=nanodollars,
            confirmed=True,
            held=event.charge.held,
            role=event.charge.role,
            input_tokens=tokens,
            output_tokens=tokens,
        ),
        corrects=event.event_id,
        corrected_nanodollars=event.charge.nanodollars or 0,
    )
