"""`cascadeflow forecast`: where spending will stand when a period ends, and when it runs out."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from cascadeflow.cli.output import JsonOption, VerboseOption, opened
from cascadeflow.cli.stores import (
    StoreOption,
    TimezoneOption,
    exact,
    now,
    reading,
    safe,
    scope_named,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cascadeflow.budgets.forecast import Forecast
    from cascadeflow.budgets.records import AccountStanding

__all__ = ["forecast"]

_HISTORY: Final = timedelta(days=86)
_DAYS_SHOWN: Final = 28
_WIDTH: Final = 48
_BARS: Final = "▁▂▃▄▅▆▇█"


def forecast(
    scope: Annotated[
        str, typer.Argument(help="global, user:NAME, tier:…, team:…, key:…, tag:… or model:…")
    ] = "global",
    *,
    period: Annotated[
        Literal["day", "week", "month", "rolling", "total"],
        typer.Option(help="Which period is looked at."),
    ] = "month",
    limit: Annotated[
        str | None,
        typer.Option(help="The limit in US dollars. Default: the one set by hand, if any."),
    ] = None,
    level: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="How sure the interval shall be.")
    ] = 0.8,
    timezone: TimezoneOption = "UTC",
    rolling_hours: Annotated[
        float, typer.Option("--rolling-hours", help="The length of the rolling period.")
    ] = 24.0,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Foretell what is spent at a period's end, and when the limit is reached."""
    from cascadeflow.budgets.forecast import forecast as foretell  # noqa: PLC0415
    from cascadeflow.budgets.forecast_history import QUARTER, quarters_of  # noqa: PLC0415
    from cascadeflow.budgets.reports import zone  # noqa: PLC0415
    from cascadeflow.budgets.stored_standings import StoredCalendar  # noqa: PLC0415
    from cascadeflow.money import from_usd  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        asked = scope_named(scope)
        moment = now()
        calendar = StoredCalendar(moment, timezone=timezone, rolling_hours=rolling_hours)
        given = None if limit is None else from_usd(limit, what="--limit")
        with reading(store) as file:
            standing = next(
                each.standing
                for each in calendar.standings(file.scope(asked, since=calendar.since))
                if each.standing.period == period
            )
            sums = quarters_of(file.events(since=moment - _HISTORY), asked, moment)
        start, end = standing.started_at, standing.resets_at
        if period == "rolling":
            length = timedelta(hours=rolling_hours)
            start, end = moment - length, moment + length
        found = foretell(
            [(datetime.fromtimestamp(at * QUARTER, UTC), each) for at, each in sums.items()],
            scope=asked,
            period=period,
            window_start=start,
            window_end=end,
            limit=standing.limit if given is None else given,
            spent=standing.spent,
            held=0,
            now=moment,
            timezone=timezone,
            level=level,
        )
        days = Counter[str]()
        place = zone(timezone)
        for at, amount in sums.items():
            days[f"{datetime.fromtimestamp(at * QUARTER, place):%Y-%m-%d}"] += amount
        today = moment.astimezone(place).date()
        shown = [
            (today - timedelta(days=ago)).isoformat() for ago in range(_DAYS_SHOWN - 1, -1, -1)
        ]
        daily = [days[day] for day in shown]
        allowed = standing.limit if given is None else given
        _print(output.console, found, standing, limit=allowed, end=end, daily=daily)
        output.result(
            {
                **found.to_dict(),
                "scope": str(asked),
                "now": moment.isoformat(),
                "timezone": timezone,
                "ends_at": None if end is None else end.isoformat(),
                "spent": exact(standing.spent),
                "limit": exact(allowed),
                "daily": [
                    {"day": day, "cost": exact(cost)}
                    for day, cost in zip(shown, daily, strict=True)
                ],
            }
        )


def sparkline(values: Sequence[int]) -> str:
    """Draws numbers as a line of bars, the largest as the highest; nothing is the lowest.

    >>> sparkline([0, 4, 8, -1])
    '▁▅█▁'
    """
    highest = max([*values, 0])
    if not highest:
        return _BARS[0] * len(values)
    top = len(_BARS) - 1
    return "".join(_BARS[max(0, -(-value * top // highest))] for value in values)


def _print(
    console: Console,
    found: Forecast,
    standing: AccountStanding,
    *,
    limit: int | None,
    end: datetime | None,
    daily: Sequence[int],
) -> None:
    from cascadeflow.budgets.report_records import dollars  # noqa: PLC0415

    until = "" if end is None else f", to {end:%Y-%m-%d %H:%M} UTC"
    console.print(f"{safe(str(found.scope))} {found.period}{until}", style="bold")
    console.print(
        f"last {len(daily)} days  {sparkline(daily)}  at most {dollars(max(daily))} a day"
    )
    console.print(f"spent so far   {dollars(standing.spent)}")
    if found.expected is not None:
        console.print(f"expected       {_about(found.expected)}")
        console.print(
            f"interval       {_about(found.low)} to {_about(found.high)} ({found.level:.0%} sure)"
        )
    if limit is not None:
        console.print(f"limit          {dollars(limit)}")
        console.print(f"               {_bar(standing.spent, found, limit)}")
        if found.runs_out_at is not None:
            console.print(
                f"runs out       {found.runs_out_at:%Y-%m-%d %H:%M} UTC"
                + (
                    f", {found.runs_out_early:%Y-%m-%d %H:%M} UTC if much is spent"
                    if found.runs_out_early is not None and found.runs_out_early < found.runs_out_at
                    else ""
                ),
                style="yellow",
            )
        elif found.runs_out_early is not None:
            console.print(
                f"runs out       only if much is spent, then {found.runs_out_early:%Y-%m-%d %H:%M} "
                "UTC"
            )
        elif found.method != "none":
            console.print("runs out       not before the period ends", style="green")
    if found.reason is not None:
        console.print(found.reason, style="dim")
    if found.method != "none":
        how = "level, trend and weekdays" if found.method == "weekday" else "rate"
        console.print(f"from the {how} of {found.samples} complete days", style="dim")


def _about(nanodollars: int | None) -> str:
    """A guess needs no nine places."""
    return f"${(nanodollars or 0) / 1e9:,.2f}"


def _bar(spent: int, found: Forecast, limit: int) -> str:
    """Spent, expected and at most, on one line with the limit's mark."""
    ends = [spent, found.expected or spent, found.high or spent]
    widest = max(limit, *ends) or 1
    solid, likely, possible = (round(each * _WIDTH / widest) for each in ends)
    mark = min(_WIDTH - 1, round(limit * _WIDTH / widest))
    cells = [
        "█" if cell < solid else "▓" if cell < likely else "░" if cell < possible else "·"
        for cell in range(_WIDTH)
    ]
    cells[mark] = "│"
    return "".join(cells) + "  █ spent ▓ expected ░ at most │ limit"
