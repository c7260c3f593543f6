"""The usage log for other programs: one line a charge, every value exact, as CSV or JSON.

Nothing is rounded, shortened or made safe for spreadsheets here: `reports.chargeback` is for
people. A correction is a line of its own whose `booked_usd` is the difference that it makes, so the
sum of `booked_usd` is what was spent.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.budgets.log_reading import LogReader
from cascadeflow.money import NANODOLLARS_PER_USD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from typing import TextIO

    from cascadeflow.budgets.records import LogEvent, UsageEvent

__all__ = ["CSV_COLUMNS", "export_csv", "export_json", "usd_text"]

CSV_COLUMNS: Final = (
    "event_id",
    "at",
    "logged_at",
    "request_id",
    "corrects",
    "user",
    "tier",
    "team",
    "key",
    "tags",
    "model",
    "provider",
    "role",
    "confirmed",
    "input_tokens",
    "output_tokens",
    "booked_usd",
    "cost_usd",
    "held_usd",
    "estimate_usd",
    "overrun_usd",
    "price_source",
    "price_date",
    "response_id",
    "metadata",
)
"""The columns of `export_csv`, which are also the keys of `export_json`. `cost_usd` is what the
charge is booked at and empty when that is unknown; `booked_usd` is what spending changes by."""


def export_csv(
    events: Iterable[LogEvent],
    file: TextIO,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    ordered: bool = False,
) -> int:
    """Writes the charges as CSV (RFC 4180): a heading line, then a line each.

    Args:
        events: the usage log; it is read once and not kept.
        file: open for writing, with `newline=""`.
        since: only requests that began then or later.
        until: only requests that began before.
        ordered: the events come by `at`, oldest first; then memory does not grow with their number.

    Returns:
        How many charges were written.
    """
    writer = csv.writer(file)
    writer.writerow(CSV_COLUMNS)
    written = 0
    for values in _charges(events, since=since, until=until, ordered=ordered):
        values["tags"] = _json(values["tags"])
        values["metadata"] = _json(values["metadata"])
        values["confirmed"] = "true" if values["confirmed"] else "false"
        writer.writerow(values.values())
        written += 1
    return written


def export_json(
    events: Iterable[LogEvent],
    file: TextIO,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    ordered: bool = False,
) -> int:
    """Writes the charges as a JSON array, an object a line; dollars are exact text.

    The arguments and the result are those of `export_csv`.
    """
    file.write("[")
    written = 0
    for values in _charges(events, since=since, until=until, ordered=ordered):
        file.write(",\n" if written else "\n")
        file.write(_json(values))
        written += 1
    file.write("\n]\n")
    return written


def _charges(
    events: Iterable[LogEvent], *, since: datetime | None, until: datetime | None, ordered: bool
) -> Iterator[dict[str, Any]]:
    reader = LogReader(since=since, until=until, ordered=ordered)
    return (_values(entry.event) for entry in reader.entries(events))


def _values(event: UsageEvent) -> dict[str, Any]:
    """Gives an event's values in the order of `CSV_COLUMNS`."""
    charge, spender = event.charge, event.spender
    return {
        "event_id": event.event_id,
        "at": event.at.isoformat(),
        "logged_at": event.logged_at.isoformat(),
        "request_id": event.request_id,
        "corrects": event.corrects,
        "user": spender.user_id,
        "tier": spender.tier,
        "team": spender.team,
        "key": spender.key,
        "tags": list(spender.tags),
        "model": charge.model,
        "provider": charge.model.partition(":")[0],
        "role": charge.role,
        "confirmed": charge.confirmed,
        "input_tokens": charge.input_tokens,
        "output_tokens": charge.output_tokens,
        "booked_usd": _usd(event.booked),
        "cost_usd": _usd(charge.nanodollars),
        "held_usd": _usd(charge.held),
        "estimate_usd": _usd(charge.estimate),
        "overrun_usd": _usd(charge.overrun),
        "price_source": charge.price_source,
        "price_date": charge.price_date,
        "response_id": charge.response_id,
        "metadata": dict(event.metadata),
    }


def usd_text(nanodollars: int) -> str:
    """Gives exact dollars with nine places: `money.to_usd` as text, without a decimal between.

    >>> usd_text(1_500_000_000), usd_text(-1)
    ('1.500000000', '-0.000000001')
    """
    whole, part = divmod(abs(nanodollars), NANODOLLARS_PER_USD)
    return f"{'-' if nanodollars < 0 else ''}{whole}.{part:09}"


def _usd(nanodollars: int | None) -> str | None:
    return None if nanodollars is None else usd_text(nanodollars)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
