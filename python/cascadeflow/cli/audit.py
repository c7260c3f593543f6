"""`cascadeflow audit`: who changed what by hand, and whether the usage log is as it was written."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Annotated

import typer

from cascadeflow.cli.output import JsonOption, VerboseOption, opened
from cascadeflow.cli.stores import (
    SinceOption,
    StoreOption,
    TimezoneOption,
    UntilOption,
    event_values,
    moment,
    reading,
    safe,
    scope_named,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from cascadeflow.budgets.records import ManualEvent

__all__ = ["audit_app"]

audit_app = typer.Typer(
    help="Who changed what by hand, and whether the log is as it was written.",
    no_args_is_help=True,
)


@audit_app.command(name="list")
def list_changes(
    *,
    scope: Annotated[
        str | None, typer.Option("--scope", help="Only this account's: global, user:NAME, …")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    timezone: TimezoneOption = "UTC",
    top: Annotated[int, typer.Option("--top", min=1, help="The newest so many.")] = 50,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """List what was changed by hand: limits, resets, adjustments; by whom and why."""
    from cascadeflow.budgets.records import ManualEvent  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        asked = None if scope is None else scope_named(scope)
        start = moment(since, timezone, what="--since")
        end = moment(until, timezone, what="--until")
        newest: deque[ManualEvent] = deque(maxlen=top)
        count = 0
        with reading(store) as file:
            for event in file.events(since=start, until=end):
                if isinstance(event, ManualEvent) and asked in {None, event.scope}:
                    newest.append(event)
                    count += 1
        _print_changes(output.console, newest)
        if count > len(newest):
            output.console.print(
                f"and {count - len(newest):,} older: --top shows more of them", style="dim"
            )
        output.result({"count": count, "changes": [event_values(event) for event in newest]})


@audit_app.command()
def verify(
    *,
    head: Annotated[
        str | None,
        typer.Option("--head", help="What `audit head` printed earlier; also finds an older copy."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Find rows of the log that were changed, taken out or put in. Exit code 1 when there are."""
    from cascadeflow.budgets.audit import verify as verify_log  # noqa: PLC0415
    from cascadeflow.budgets.report_records import counted  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        with reading(store) as file:
            found = verify_log(file, head=head)
        console = output.console
        if found.ok:
            console.print(
                f"the log is as it was written: {counted(found.rows, 'row')}", style="green"
            )
            console.print(f"head: {found.head}")
            if head is None:
                console.print(
                    "Note the head elsewhere: with --head, a later check also finds an older copy "
                    "put back, and newest rows taken away.",
                    style="dim",
                )
            if not found.keyed:
                console.print(
                    "Without a key (CASCADEFLOW_AUDIT_KEY, set before the log is begun) someone "
                    "who reckons every hash anew is not found.",
                    style="dim",
                )
        else:
            console.print(
                f"The log is not as it was written: {safe(found.reason)}", style="bold red"
            )
            console.print(
                f"It was read as far as row {found.rows:,}. Keep the file as it is, and compare it "
                "with a backup."
            )
        output.result(
            {
                "ok": found.ok,
                "rows": found.rows,
                "first_bad": found.first_bad,
                "reason": found.reason,
                "head": found.head,
                "keyed": found.keyed,
            }
        )
        if not found.ok:
            raise typer.Exit(1)


@audit_app.command()
def head(
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Print the newest row's number and hash, to note elsewhere and give to verify later."""
    from cascadeflow.budgets.audit import noted_head  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        with reading(store) as file:
            found = noted_head(file)
        output.console.print(found)
        output.result({"head": found})


def _print_changes(console: Console, changes: Iterable[ManualEvent]) -> None:
    from rich.table import Table  # noqa: PLC0415

    shown = Table()
    shown.add_column("when (UTC)", no_wrap=True)
    shown.add_column("who")
    shown.add_column("account", overflow="fold")
    shown.add_column("change")
    shown.add_column("why", overflow="fold")
    for event in changes:
        shown.add_row(
            f"{event.at:%Y-%m-%d %H:%M:%S}",
            safe(event.actor),
            f"{safe(str(event.scope))} {event.period or 'all periods'}",
            _change(event),
            safe(event.reason),
        )
    if shown.row_count:
        console.print(shown)
    else:
        console.print("Nothing was changed by hand.")


def _change(event: ManualEvent) -> str:
    """Says what was done, and what was before and after it."""
    from cascadeflow.budgets.report_records import dollars  # noqa: PLC0415

    if event.kind == "limit":
        before = "" if event.previous is None else f" (before: {dollars(event.previous)})"
        return (
            f"limit {'none' if event.nanodollars is None else dollars(event.nanodollars)}{before}"
        )
    amount = dollars(event.nanodollars or 0)
    if event.kind == "reclaim":
        what = f"reclaim: of {dollars(event.unreported)} not reported, {amount} were spent"
    else:
        what = f"{event.kind} {'' if amount.startswith('-') else '+'}{amount}"
    if event.previous is None or event.after is None:
        return what
    return f"{what} ({dollars(event.previous)} → {dollars(event.after)})"
