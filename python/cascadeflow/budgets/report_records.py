"""What a chargeback report holds, and how it is shown: a table, CSV for a spreadsheet, JSON."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from cascadeflow.money import to_usd

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from cascadeflow.budgets.log_reading import Adjustment

__all__ = [
    "UNNAMED",
    "Grouping",
    "Report",
    "ReportRow",
    "counted",
    "dollars",
    "one_line",
    "spreadsheet_safe",
]

Grouping = Literal[
    "user", "tier", "team", "key", "tag", "model", "provider", "role", "day", "week", "month"
]
"""What a report has a row for each of; `day`, `week` (ISO 8601) and `month` are the calendar's."""

UNNAMED: Final = "(none)"
"""How a user, team … that a request did not name is shown; in `ReportRow.keys` it is empty."""

# The columns after the keys: the row's field, and whether it is money.
_COLUMNS: Final = (
    ("calls", "calls", False),
    ("requests", "requests", False),
    ("input tokens", "input_tokens", False),
    ("output tokens", "output_tokens", False),
    ("cost (USD)", "nanodollars", True),
    ("unconfirmed (USD)", "unconfirmed_nanodollars", True),
    ("overrun (USD)", "overrun_nanodollars", True),
    ("unknown costs", "unknown_costs", False),
    ("unknown tokens", "unknown_tokens", False),
)

_CSV_NAMES: Final = {
    "nanodollars": "cost_usd",
    "unconfirmed_nanodollars": "unconfirmed_usd",
    "overrun_nanodollars": "overrun_usd",
}

# What a spreadsheet takes for a formula's beginning, in half and in full width.
_FORMULA_BEGINS: Final = "=+-@|%\t\r\n\0\uff1d\uff0b\uff0d\uff20"

# Where there is nothing of these, a person need not read about it.
_RARE: Final = {
    "unconfirmed_nanodollars",
    "overrun_nanodollars",
    "unknown_costs",
    "unknown_tokens",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One row of a report.

    Attributes:
        keys: one text for each thing the report is grouped by; empty where the request named none.
        calls: calls of models; a correction is none.
        requests: requests that made them. A request that called two models counts in the row of
            each, so the rows' sum may be more than the total.
        input_tokens: tokens in, of the calls whose tokens are known.
        output_tokens: tokens out, likewise.
        nanodollars: what was booked.
        unconfirmed_nanodollars: the part of it that was booked at what was held, because the
            provider never said what the call used.
        overrun_nanodollars: the part of it that calls cost more than was held for them.
        unknown_costs: calls whose cost is not known; it is not zero, and not in `nanodollars`.
        unknown_tokens: calls whose input or output tokens are not known.
    """

    keys: tuple[str, ...]
    calls: int
    requests: int
    input_tokens: int
    output_tokens: int
    nanodollars: int
    unconfirmed_nanodollars: int
    overrun_nanodollars: int
    unknown_costs: int
    unknown_tokens: int

    @property
    def cost(self) -> Decimal:
        """What was booked, in US dollars, exact."""
        return to_usd(self.nanodollars)

    @property
    def unconfirmed_cost(self) -> Decimal:
        """The unconfirmed part of it, in US dollars."""
        return to_usd(self.unconfirmed_nanodollars)

    @property
    def overrun(self) -> Decimal:
        """What calls cost more than was held for them, in US dollars."""
        return to_usd(self.overrun_nanodollars)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A chargeback report.

    Attributes:
        by: what it has a row for each of.
        timezone: whose days, weeks and months these are.
        since: only what began then or later; `None`: from the log's beginning.
        until: only what began before.
        rows: by time first, then the dearest first.
        totals: everything once.
        overlapping: how many calls stand in several rows, because they have several tags and the
            rows are by tag. Where it is not 0 the rows' sum is more than the totals.
        adjustments: what was changed by hand on budgets in that time, by account. It is no cost and
            in no row; an account's spending is its costs and its adjustments.
    """

    by: tuple[Grouping, ...]
    timezone: str
    since: datetime | None
    until: datetime | None
    rows: tuple[ReportRow, ...]
    totals: ReportRow
    overlapping: int
    adjustments: tuple[Adjustment, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the rows must know, a sentence each."""
        notes = []
        if self.overlapping:
            notes.append(
                "A call with several tags counts under each of them (here "
                f"{counted(self.overlapping, 'call')}): the rows add up to more than the total, "
                "which counts each call once."
            )
        if self.totals.unknown_costs:
            notes.append(
                f"The cost of {counted(self.totals.unknown_costs, 'call')} is not known and not "
                "part of the sums."
            )
        notes.extend(
            f"Changed by hand, not a cost: {each.scope} {each.period or 'all periods'} by "
            f"{_usd_text(each.nanodollars, 2)} USD ({counted(each.changes, 'change')})."
            for each in self.adjustments
        )
        return tuple(notes)

    def to_table(self) -> str:
        """Gives the report as aligned plain text, amounts exact, with its notes below."""
        headings, rows = self.table()
        lines = [headings, *rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
        texts = []
        for index, line in enumerate(lines):
            cells = [
                text.ljust(width) if column < len(self.by) else text.rjust(width)
                for column, (text, width) in enumerate(zip(line, widths, strict=True))
            ]
            texts.append("  ".join(cells).rstrip())
            if index in {0, len(lines) - 2}:
                texts.append("  ".join("-" * width for width in widths))
        return "\n".join([*texts, *self.notes]) + "\n"

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Gives headings and rows as text for people, the totals as the last row.

        Amounts have as many places as the finest of their column needs, so that all are exact;
        columns of rare things that did not happen are left out.
        """
        everything = [*self.rows, self.totals]
        shown = [
            column
            for column in _COLUMNS
            if column[1] not in _RARE or any(getattr(row, column[1]) for row in everything)
        ]
        headings = [*(self.by or ("",)), *(heading for heading, _, _ in shown)]
        places = {
            field: max(_places(getattr(row, field)) for row in everything)
            for _, field, is_money in shown
            if is_money
        }
        rows = []
        for row in everything:
            keys = [one_line(key) or UNNAMED for key in row.keys]
            if row is self.totals:
                keys = ["total", *[""] * (len(headings) - len(shown) - 1)]
            elif not self.by:
                keys = [""]
            rows.append(
                keys
                + [
                    _usd_text(getattr(row, field), places[field])
                    if is_money
                    else f"{getattr(row, field):,}"
                    for _, field, is_money in shown
                ]
            )
        return headings, rows

    def to_csv(self) -> str:
        """Gives the rows as CSV for a spreadsheet: a heading line, no totals, dollars exact.

        What users named is made safe: `spreadsheet_safe`. Programs read `to_json`, which is exact.
        """
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow([*self.by, *(_CSV_NAMES.get(field, field) for _, field, _ in _COLUMNS)])
        for row in self.rows:
            writer.writerow(
                [spreadsheet_safe(key) if key else UNNAMED for key in row.keys]
                + [
                    f"{to_usd(getattr(row, field)):f}" if money else getattr(row, field)
                    for _, field, money in _COLUMNS
                ]
            )
        return text.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Gives everything as plain JSON values: dollars as exact text, nanodollars as integers."""
        return {
            "by": list(self.by),
            "timezone": self.timezone,
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
            "rows": [
                {**dict(zip(self.by, row.keys, strict=True)), **_values(row)} for row in self.rows
            ],
            "totals": _values(self.totals),
            "overlapping": self.overlapping,
            "adjustments": [
                {
                    "scope": str(each.scope),
                    "period": each.period,
                    "nanodollars": each.nanodollars,
                    "changes": each.changes,
                }
                for each in self.adjustments
            ],
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """Gives `to_dict()` as JSON."""
        return json.dumps(self.to_dict())


def spreadsheet_safe(text: str) -> str:
    r"""Gives a text that no spreadsheet takes for a formula; anything else is left as it is.

    A cell that begins with =, +, -, @, a tab or a line break is run by spreadsheets (OWASP, "CSV
    Injection"), also in full-width form and after spaces: it gets an apostrophe in front.

    >>> spreadsheet_safe("=cmd()"), spreadsheet_safe("u1")
    ("'=cmd()", 'u1')
    """
    first = text.lstrip(" \u00a0\u3000")[:1]
    return f"'{text}" if first and first in _FORMULA_BEGINS else text


def one_line(text: str) -> str:
    r"""Gives a text that cannot break a line or steer a terminal.

    >>> one_line("a\nb\x1b[31m")
    'a\\nb\\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def counted(number: int, what: str) -> str:
    """So many of something whose plural takes an s.

    >>> counted(1, "row"), counted(1_200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def dollars(nanodollars: int) -> str:
    """US dollars for people, exact: two places, and more where there is more.

    >>> dollars(1_500_000_000_000), dollars(-120_000), dollars(0)
    ('$1,500.00', '-$0.00012', '$0.00')
    """
    return f"{'-' if nanodollars < 0 else ''}${_usd_text(abs(nanodollars), 2)}"


def _values(row: ReportRow) -> Mapping[str, Any]:
    return {
        "calls": row.calls,
        "requests": row.requests,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost": f"{row.cost:f}",
        "nanodollars": row.nanodollars,
        "unconfirmed_cost": f"{row.unconfirmed_cost:f}",
        "unconfirmed_nanodollars": row.unconfirmed_nanodollars,
        "overrun": f"{row.overrun:f}",
        "overrun_nanodollars": row.overrun_nanodollars,
        "unknown_costs": row.unknown_costs,
        "unknown_tokens": row.unknown_tokens,
    }


def _places(nanodollars: int) -> int:
    """How many decimal places an amount needs; two at least."""
    digits = f"{abs(nanodollars) % 10**9:09}".rstrip("0")
    return max(2, len(digits))


def _usd_text(nanodollars: int, places: int) -> str:
    """Dollars for people, at least that many places and as many as it needs."""
    return f"{to_usd(nanodollars):,.{max(places, _places(nanodollars))}f}"
