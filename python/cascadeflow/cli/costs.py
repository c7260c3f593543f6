"""`cascadeflow costs`: who spent what, as a table, and the log for other programs."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cascadeflow.cli.output import JsonOption, VerboseOption, opened
from cascadeflow.cli.stores import (
    SinceOption,
    StoreOption,
    TimezoneOption,
    UntilOption,
    moment,
    reading,
    safe,
)
from cascadeflow.errors import InvalidRequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from rich.console import Console

    from cascadeflow.budgets.report_records import Report

__all__ = ["costs_app"]

costs_app = typer.Typer(
    help="Who spent what, from the usage log, and the log for other programs.",
    no_args_is_help=True,
)


@costs_app.command()
def report(
    *,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            help="user, tier, team, key, tag, model, provider, role, day, week or month; "
            "repeatedly for each combination. Default: user.",
        ),
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    timezone: TimezoneOption = "UTC",
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Show only so many rows; sums are of all.")
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV for a spreadsheet in place of the table.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Say who spent what: a row for each user, team, model, day … or combination."""
    from cascadeflow.budgets.reports import chargeback  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        if as_csv and as_json:
            raise InvalidRequestError("--csv and --json exclude each other")
        groupings: list[Any] = by or ["user"]  # `chargeback` says which there are
        start, end = _between(since, until, timezone)
        with reading(store) as file:
            found = chargeback(
                file.events(since=start, until=end),
                by=groupings,
                since=start,
                until=end,
                timezone=timezone,
                ordered=True,
            )
        if as_csv:
            typer.echo(found.to_csv(), nl=False)
            for note in found.notes:
                output.warnings.print(safe(note), style="yellow")
        else:
            _print_report(output.console, found, top=top)
        output.result(found.to_dict())


@costs_app.command()
def export(
    *,
    file: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")],
    form: Annotated[
        Literal["csv", "json", "focus"],
        typer.Option("--format", help="csv, json, or FOCUS 1.4 (FinOps) in CSV."),
    ] = "csv",
    since: SinceOption = None,
    until: UntilOption = None,
    timezone: TimezoneOption = "UTC",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    sub_account: Annotated[
        Literal["user", "team"], typer.Option("--sub-account", help="FOCUS: what SubAccountId is.")
    ] = "user",
    billing_account: Annotated[
        str, typer.Option("--billing-account", help="FOCUS: BillingAccountId.")
    ] = "cascadeflow",
    issuer: Annotated[
        str, typer.Option("--issuer", help="FOCUS: InvoiceIssuerName, such as your company.")
    ] = "CascadeFlow",
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write every charge to a file for other programs: exact, one line a charge."""
    from cascadeflow.budgets.exports import export_csv, export_json  # noqa: PLC0415
    from cascadeflow.budgets.focus import export_focus  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        start, end = _between(since, until, timezone)
        values: dict[str, Any] = {"file": str(file), "format": form}
        with reading(store) as opened_store, _new_file(file, force=force) as text:
            events = opened_store.events(since=start, until=end)
            match form:
                case "csv":
                    values["rows"] = export_csv(events, text, ordered=True)
                case "json":
                    values["rows"] = export_json(events, text, ordered=True)
                case "focus":
                    summary = export_focus(
                        events,
                        text,
                        ordered=True,
                        sub_account=sub_account,
                        billing_account=billing_account,
                        invoice_issuer=issuer,
                    )
                    values |= {
                        "rows": summary.rows,
                        "version": summary.version,
                        "unknown_costs": summary.unknown_costs,
                    }
        output.console.print(f"{values['rows']:,} charges written to {safe(str(file))}")
        if values.get("unknown_costs"):
            output.console.print(
                f"{values['unknown_costs']:,} charges are left out: their cost is not known, which "
                "FOCUS cannot say.",
                style="yellow",
            )
        output.result(values)


def _between(since: str | None, until: str | None, timezone: str) -> tuple[Any, Any]:
    start = moment(since, timezone, what="--since")
    end = moment(until, timezone, what="--until")
    if start is not None and end is not None and end <= start:
        raise InvalidRequestError(f"--until {until} is not after --since {since}")
    return start, end


@contextlib.contextmanager
def _new_file(path: Path, *, force: bool) -> Iterator[TextIO]:
    """Gives a file that appears under its name when it is whole, or not at all.

    Raises:
        InvalidRequestError: there is such a file and it is not to be overwritten.
        StoreError: it cannot be written.
    """
    exists = InvalidRequestError(f"{path} is there already: name another file, or add --force")
    if path.exists() and not force:
        raise exists
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        # What UTF-8 cannot carry (half of a surrogate pair) is written as its escape.
        with beside.open("x", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if force:
            beside.replace(path)
        else:
            _take_name(path, beside)
    except FileExistsError:
        raise exists from None
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        beside.unlink(missing_ok=True)


def _take_name(path: Path, beside: Path) -> None:
    """Gives a file its name if that is free; unlike a look and a rename, never in another's place.

    Raises:
        FileExistsError: it is not free.
    """
    try:
        path.hardlink_to(beside)
    except FileExistsError:
        raise
    except OSError:  # this file system has no links
        path.touch(exist_ok=False)
        beside.replace(path)


def _print_report(console: Console, found: Report, *, top: int | None) -> None:
    from rich.table import Table  # noqa: PLC0415

    headings, rows = found.table()
    *rows, total = rows
    left_out = 0 if top is None else max(0, len(rows) - top)
    shown = Table(show_footer=True)
    for column, (heading, sum_text) in enumerate(zip(headings, total, strict=True)):
        keys = max(1, len(found.by))
        shown.add_column(
            heading,
            footer=sum_text,
            justify="left" if column < keys else "right",
            overflow="fold" if column < keys else "ellipsis",
            no_wrap=column >= keys,
        )
    for row in rows[:top]:
        shown.add_row(*(safe(text) for text in row))
    console.print(shown)
    if left_out:
        console.print(f"and {left_out:,} rows more (--top), which the total counts", style="dim")
    for note in found.notes:
        console.print(safe(note), style="yellow")
