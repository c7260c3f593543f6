"""`cascadeflow costs`: who spent what, as a table, and the log for other programs."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

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
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

    from rich.console import Console

    from cascadeflow.budgets.report_records import Report

__all__ = ["costs_app"]

_NAME: Final = 16

# What a narrow terminal does without; the notes below the table say how many costs are unknown.
_LEFT_OUT_FIRST: Final = (
    "unknown tokens",
    "unknown costs",
    "overrun (USD)",
    "requests",
    "output tokens",
    "input tokens",
    "calls",
    "unconfirmed (USD)",
)

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
    from cascadeflow.budgets.report_records import counted  # noqa: PLC0415

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
        output.console.print(f"{counted(values['rows'], 'charge')} written to {safe(str(file))}")
        if values.get("unknown_costs"):
            output.console.print(
                f"{counted(values['unknown_costs'], 'charge')} left out: of unknown cost, which "
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
    from rich.cells import cell_len  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from cascadeflow.budgets.report_records import counted  # noqa: PLC0415

    headings, rows = found.table()
    *rows, total = rows
    more = 0 if top is None else max(0, len(rows) - top)
    rows = rows[:top]
    keys = max(1, len(found.by))
    # Headings may be broken between words, amounts never.
    needed = {
        column: max(cell_len(text) for text in (*heading.split(), *texts))
        for column, (heading, *texts) in enumerate(zip(headings, total, *rows, strict=True))
    }
    widths = _fitted(needed, headings, keys, _room(console))
    shown = Table(show_footer=True, width=_table_width(widths))
    for column, width in widths.items():
        shown.add_column(
            headings[column],
            footer=total[column],
            justify="left" if column < keys else "right",
            overflow="fold",
            width=width,
        )
    for row in rows:
        shown.add_row(*(safe(row[column]) for column in widths))
    console.print(shown)
    if len(widths) < len(headings):
        absent = ", ".join(headings[column] for column in needed if column not in widths)
        console.print(
            f"No room for: {absent}. A wider window shows them; --csv and --json have them too.",
            style="dim",
        )
    if more:
        console.print(
            f"and {counted(more, 'more row')} (--top), which the total counts", style="dim"
        )
    for note in found.notes:
        console.print(safe(note), style="yellow")


def _room(console: Console) -> int | None:
    """How wide a table may be; `None` for any width: a file has lines as long as they come."""
    return console.width if console.is_terminal or "COLUMNS" in os.environ else None


def _table_width(widths: Mapping[int, int]) -> int:
    return sum(widths.values()) + 3 * len(widths) + 1


def _fitted(
    needed: Mapping[int, int], headings: Sequence[str], keys: int, room: int | None
) -> dict[int, int]:
    """Gives the columns there is room for, with their widths.

    Names are folded at 16 characters at the least; then columns are left out, the rarest first.
    """
    if room is None:
        return dict(needed)
    widths = {
        column: min(width, _NAME) if column < keys else width for column, width in needed.items()
    }
    for heading in _LEFT_OUT_FIRST:
        if _table_width(widths) <= room:
            break
        if heading in headings:
            del widths[headings.index(heading)]
    for column in range(keys):
        spare = max(0, room - _table_width(widths))
        widths[column] += min(spare, needed[column] - widths[column])
    return widths
