"""`cascadeflow budget`: how accounts stand, and changing their limits and spending by hand."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

import typer

from cascadeflow.cli.output import JsonOption, VerboseOption, opened
from cascadeflow.cli.stores import (
    ActorOption,
    ReasonOption,
    StoreOption,
    TimezoneOption,
    acting,
    event_values,
    exact,
    now,
    reading,
    safe,
    scope_named,
    writing,
)
from cascadeflow.errors import InvalidRequestError
from cascadeflow.money import NANODOLLARS_PER_USD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from rich.console import Console

    from cascadeflow.budgets.records import ManualEvent
    from cascadeflow.budgets.stored_standings import StoredStanding
    from cascadeflow.types import PeriodKind

__all__ = ["budget_app"]

budget_app = typer.Typer(
    help="How budgets stand, and changing limits and spending by hand.", no_args_is_help=True
)

Period = Literal["day", "week", "month", "rolling", "total"]

ScopeArgument = Annotated[
    str, typer.Argument(help="global, user:NAME, tier:…, team:…, key:…, tag:… or model:…")
]

RollingHoursOption = Annotated[
    float, typer.Option("--rolling-hours", help="The length of the rolling period.")
]

_UNSET: Final = "not set by hand"

_COLOURS = {"warned": "yellow", "degraded": "dark_orange", "exhausted": "bold red"}
_BAR = 12


@budget_app.command()
def show(
    scope: Annotated[
        str | None, typer.Argument(help="global, user:NAME, team:… Default: all, the dearest first")
    ] = None,
    *,
    store: StoreOption = None,
    timezone: TimezoneOption = "UTC",
    rolling_hours: RollingHoursOption = 24.0,
    top: Annotated[int, typer.Option("--top", min=1, help="At most so many accounts.")] = 20,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show what was spent today, this week, this month and in all, and limits set by hand."""
    from cascadeflow.budgets.stored_standings import StoredCalendar  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        asked = None if scope is None else scope_named(scope)
        moment = now()
        calendar = StoredCalendar(moment, timezone=timezone, rolling_hours=rolling_hours)
        with reading(store) as file:
            if asked is not None:
                records, count = [file.scope(asked, since=calendar.since)], 1
            else:
                found = _Counted(file.scopes(since=calendar.since))
                # The month, then all its life: what is looked for is who spends now.
                records = heapq.nlargest(
                    top,
                    found,
                    key=lambda record: (
                        record.scope.kind == "global",
                        bool(record.limits),
                        sum(amount for _, amount in record.by_quarter),
                        record.spent,
                    ),
                )
                count = found.count
        accounts = [calendar.standings(record) for record in records]
        _print_accounts(output.console, accounts, everything=asked is not None)
        if count > len(records):
            output.console.print(
                f"and {count - len(records):,} more: --top shows more of them", style="dim"
            )
        if not accounts:
            output.console.print("Nothing was spent yet, and no limit was set by hand.")
        output.console.print(
            "Limits that the running process has from its code are not in the store: shown are "
            "those set by hand.",
            style="dim",
        )
        output.result(
            {
                "now": moment.isoformat(),
                "timezone": timezone,
                "count": count,
                "accounts": [
                    {"scope": str(standings[0].standing.scope), "periods": _periods(standings)}
                    for standings in accounts
                ],
            }
        )


@budget_app.command(name="set")
def set_limits(
    scope: ScopeArgument,
    *,
    reason: ReasonOption,
    daily: Annotated[str | None, typer.Option(help="US dollars for each day.")] = None,
    weekly: Annotated[str | None, typer.Option(help="… for each ISO week.")] = None,
    monthly: Annotated[str | None, typer.Option(help="… for each month.")] = None,
    total: Annotated[str | None, typer.Option(help="… for ever.")] = None,
    rolling: Annotated[str | None, typer.Option(help="… for every stretch of hours.")] = None,
    unlimited: Annotated[
        list[str] | None,
        typer.Option("--unlimited", help="Take this period's limit away. May be repeated."),
    ] = None,
    actor: ActorOption = None,
    store: StoreOption = None,
    only: Annotated[
        bool, typer.Option("--only", help="Take the limits of all other periods away.")
    ] = False,
    create: Annotated[
        bool, typer.Option("--create", help="Make the store if it is not there.")
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Set limits by hand. They hold over those in the code, from the next start on."""
    from cascadeflow.budgets.audit import limit_changed  # noqa: PLC0415
    from cascadeflow.money import from_usd  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        asked = scope_named(scope)
        wanted: dict[PeriodKind, int | None] = {}
        named: tuple[tuple[PeriodKind, str | None], ...] = (
            ("day", daily),
            ("week", weekly),
            ("month", monthly),
            ("total", total),
            ("rolling", rolling),
        )
        for period, amount in named:
            if amount is not None:
                wanted[period] = from_usd(amount, what=f"the {period} limit")
        for name in unlimited or ():
            period = _period_named(name)
            if period in wanted:
                raise InvalidRequestError(f"the {period} is given a limit and --unlimited: choose")
            wanted[period] = None
        if not wanted:
            raise InvalidRequestError(
                "which limit? --daily 5, --weekly, --monthly, --total, --rolling, or "
                "--unlimited PERIOD"
            )
        asked_for = set(wanted)
        moment = now()
        who = acting(actor)
        with writing(store, create=create) as file:
            before = dict(file.scope(asked, since=moment).limits)
            if only:
                # The code may limit them too, which the store does not know.
                wanted |= {each: None for each in get_args(Period) if each not in wanted}
            events = [
                limit_changed(
                    asked,
                    period,
                    limit=limit,
                    previous=before.get(period),
                    actor=who,
                    reason=reason,
                    at=moment,
                )
                for period, limit in wanted.items()
                if before.get(period, _UNSET) != limit
            ]
            file.append(events)
        changed = {event.period for event in events}
        for period, limit in wanted.items():
            old = _limit_text(before.get(period, _UNSET))
            if period in changed:
                output.console.print(f"{safe(str(asked))} {period}: {old} → {_limit_text(limit)}")
            elif period in asked_for:
                output.console.print(f"{safe(str(asked))} {period}: is {old} already, not changed")
        kept = {period: limit for period, limit in before.items() if period not in wanted}
        if not only:
            stays = "".join(f"{period} {_limit_text(kept[period])}, " for period in sorted(kept))
            output.console.print(
                f"As before: {stays}{'and ' if kept else ''}what the code limits in other periods "
                "(--only takes these limits away).",
                style="dim",
            )
        if events:
            output.console.print(
                "It holds when the process that uses this store starts.", style="dim"
            )
        output.result(
            {
                "scope": str(asked),
                "events": [event_values(event) for event in events],
                "kept": [
                    {"period": period, "limit": exact(limit)} for period, limit in kept.items()
                ],
            }
        )


@budget_app.command()
def reset(
    scope: ScopeArgument,
    *,
    reason: ReasonOption,
    period: Annotated[Period, typer.Option(help="Whose spending is set to zero.")] = "day",
    timezone: TimezoneOption = "UTC",
    rolling_hours: RollingHoursOption = 24.0,
    actor: ActorOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Set a period's spending to zero by hand; its costs stay in the reports."""
    from cascadeflow.budgets.audit import reset as reset_event  # noqa: PLC0415
    from cascadeflow.budgets.stored_standings import StoredCalendar  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        asked = scope_named(scope)
        moment = now()
        who = acting(actor)
        calendar = StoredCalendar(moment, timezone=timezone, rolling_hours=rolling_hours)
        events: list[ManualEvent] = []
        with writing(store) as file:
            before = calendar.standings(file.scope(asked, since=calendar.since))
            account = next(each for each in before if each.standing.period == period)
            if account.unreported:
                # What a crash left counts as spent until it is settled: here, as not spent.
                events.append(file.reclaim(asked, actor=who, reason=reason, spent=0))
            spent = account.standing.spent - account.unreported
            if spent:
                events.append(
                    reset_event(asked, period, previous=spent, actor=who, reason=reason, at=moment)
                )
                file.append(events[-1:])
            after = calendar.standings(file.scope(asked, since=calendar.since))
        if events:
            output.console.print(
                f"{safe(str(asked))} {period}: {_usd(account.standing.spent)} → {_usd(0)} spent"
            )
        else:
            output.console.print(
                f"{safe(str(asked))} {period}: nothing was spent, nothing was changed"
            )
        output.result(
            {
                "scope": str(asked),
                "period": period,
                "events": [event_values(event) for event in events],
                "before": _periods(before),
                "after": _periods(after),
            }
        )


@budget_app.command()
def reclaim(
    scope: Annotated[
        str | None, typer.Argument(help="global, user:NAME, …; `budget show` marks them with *")
    ] = None,
    *,
    reason: ReasonOption,
    everything: Annotated[
        bool, typer.Option("--all", help="Every account that has something, as not spent.")
    ] = False,
    spent: Annotated[
        str | None,
        typer.Option(
            help="US dollars of it that were truly spent, as the provider bills it. Default: 0."
        ),
    ] = None,
    actor: ActorOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Settle what a crashed process had been granted and never reported, which counts as spent."""
    from cascadeflow.money import from_usd  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        if everything == (scope is not None):
            raise InvalidRequestError("which account? Name one such as user:ada, or give --all")
        if everything and spent is not None:
            raise InvalidRequestError(
                "--spent is of one account: first settle those that have spent something, each "
                "with its --spent, then the others with --all"
            )
        asked = None if scope is None else scope_named(scope)
        amount = from_usd(spent or "0", what="--spent")
        who = acting(actor)
        events: list[ManualEvent] = []
        with writing(store) as file:
            scopes = (
                [record.scope for record in file.scopes(since=now()) if record.unreported]
                if asked is None
                else [asked]
            )
            for each in scopes:
                event = file.reclaim(each, actor=who, reason=reason, spent=amount)
                events.append(event)
                output.console.print(
                    f"{safe(str(each))}: of {_usd(event.unreported)} that were never reported, "
                    f"{_usd(event.nanodollars or 0)} count as spent now "
                    f"({_usd(event.previous or 0)} → {_usd(event.after or 0)} in all)"
                )
        if not events:
            output.console.print("No account has anything unreported; nothing was changed")
        output.result(
            {
                "scope": None if asked is None else str(asked),
                "events": [event_values(event) for event in events],
            }
        )


def _period_named(name: str) -> PeriodKind:
    known: tuple[PeriodKind, ...] = get_args(Period)
    for period in known:
        if name == period:
            return period
    raise InvalidRequestError(f"there is no period {name!r:.40}: {', '.join(known)}")


class _Counted:
    """An iterable that says how many it gave."""

    def __init__(self, items: Any) -> None:
        self._items = items
        self.count = 0

    def __iter__(self) -> Any:
        for item in self._items:
            self.count += 1
            yield item


def _print_accounts(
    console: Console, accounts: list[tuple[StoredStanding, ...]], *, everything: bool
) -> None:
    from rich.table import Table  # noqa: PLC0415

    if not accounts:
        return
    limited = any(each.by_hand for standings in accounts for each in standings)
    shown = Table()
    shown.add_column("account", overflow="fold")
    shown.add_column("period")
    shown.add_column("spent", justify="right")
    if limited:
        shown.add_column("limit by hand", justify="right")
        shown.add_column("left", justify="right")
        shown.add_column("")
    shown.add_column("ends (UTC)")
    for standings in accounts:
        named = False
        for each in standings:
            standing = each.standing
            if standing.period == "rolling" and not everything and not each.by_hand:
                continue
            cells = [
                "" if named else safe(str(standing.scope)),
                standing.period,
                _about(standing.spent) + (" *" if each.unreported else ""),
            ]
            named = True
            if limited:
                left, limit = standing.remaining, standing.limit
                cells += [
                    _limit_text(limit) if each.by_hand else "",
                    "" if left is None else _about(left),
                    _bar(standing.spent / limit) if limit else "",
                ]
            ends = standing.resets_at
            shown.add_row(
                *cells,
                "" if ends is None else f"{ends:%Y-%m-%d %H:%M}",
                style=_COLOURS.get(standing.state or ""),
                end_section=standing.period == "total",
            )
    console.print(shown)
    if any(each.unreported for standings in accounts for each in standings):
        console.print(
            "* includes what a process was granted and has not reported: it counts as spent. If "
            "that process is dead, `cascadeflow budget reclaim --all` settles it.",
            style="dim",
        )


def _bar(share: float) -> str:
    filled = min(_BAR, round(share * _BAR))
    return "█" * filled + "░" * (_BAR - filled) + f" {share:.0%}"


def _periods(standings: tuple[StoredStanding, ...]) -> list[Mapping[str, Any]]:
    return [
        {
            "period": each.standing.period,
            "spent": exact(each.standing.spent),
            "booked": exact(each.booked),
            "unreported": exact(each.unreported),
            "limit": exact(each.standing.limit),
            "remaining": exact(each.standing.remaining),
            "by_hand": each.by_hand,
            "state": each.standing.state,
            "started_at": _iso(each.standing.started_at),
            "resets_at": _iso(each.standing.resets_at),
        }
        for each in standings
    ]


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _usd(nanodollars: int) -> str:
    from cascadeflow.budgets.report_records import dollars  # noqa: PLC0415

    return dollars(nanodollars)


def _about(nanodollars: int) -> str:
    """Dollars at a glance: cents, and below a dollar as much as can be seen."""
    cents = 2 if abs(nanodollars) >= NANODOLLARS_PER_USD or not nanodollars else 6
    return f"${nanodollars / NANODOLLARS_PER_USD:,.{cents}f}"


def _limit_text(limit: int | str | None) -> str:
    if limit is None:
        return "unlimited"
    return limit if isinstance(limit, str) else _usd(limit)
