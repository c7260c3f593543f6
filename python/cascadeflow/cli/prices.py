"""`cascadeflow prices`: why a model costs what it costs, and bringing the table up to date."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascadeflow.cli.output import JsonOption, VerboseOption, opened, percent, rates, shown_rates
from cascadeflow.errors import ConfigurationError, UnknownPriceError

if TYPE_CHECKING:
    from rich.console import Console

    from cascadeflow.models.price_updates import PriceChange, PriceDiff, WhichTable

__all__ = ["prices_app"]

prices_app = typer.Typer(
    help="Why a model costs what it costs, and bringing the table up to date.",
    no_args_is_help=True,
)

_MOST_SHOWN = 40

_TABLES = "shipped, user, installed, or a file"


@prices_app.command()
def show(
    model: Annotated[str, typer.Argument(help="provider:model")],
    *,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show a model's price now, where it comes from, and how it was and will be."""
    from cascadeflow.models.price_updates import show_price  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        found = show_price(model, at=datetime.now(UTC))
        console = output.console
        console.print(found.model, style="bold")
        console.print(f"US dollars per million tokens: {shown_rates(found.price)}")
        console.print(f"why: {found.reason}")
        since = None if found.price is None else found.price.date
        if since is not None:
            console.print(f"as of: {since}")
        for when, listed in found.periods if len(found.periods) > 1 else ():
            console.print(f"{when}: {_listed(listed)}")
        for context, when, listed in found.variants:
            console.print(f"with {context}, {when}: {_listed(listed)}")
        if found.not_by_token:
            console.print(f"not by the token: {_listed(found.not_by_token)}")
        sources = ", ".join(f"{name} {version}" for name, version in found.sources.items())
        console.print(f"table: {found.table} ({sources})", style="dim")
        if found.price is None:
            raise UnknownPriceError(
                f"the price of {found.model} is not known: {found.reason}. State it with "
                "ModelConfig(price=Price(input=…, output=…)) or in a prices file"
            )
        output.result(
            {
                "model": found.model,
                "price": rates(found.price),
                "reason": found.reason,
                "date": since,
                "periods": [
                    {"when": when, "rates": _plain(listed)} for when, listed in found.periods
                ],
                "variants": [
                    {"context": context, "when": when, "rates": _plain(listed)}
                    for context, when, listed in found.variants
                ],
                "not_by_token": _plain(found.not_by_token),
                "table": found.table,
                "sources": dict(found.sources),
            }
        )


@prices_app.command()
def update(
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A table, or genai-prices' JSON data. Default: the installed package.",
        ),
    ] = None,
    max_change: Annotated[
        float, typer.Option(help="Refuse to take over prices that moved by this share or more.")
    ] = 0.5,
    force: Annotated[
        bool, typer.Option("--force", help="Take them over all the same, older ones too.")
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make your own price table from the genai-prices package; shows what changes."""
    from cascadeflow.models.price_updates import update_prices  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        report = update_prices(source, at=datetime.now(UTC), max_change=max_change, force=force)
        _print_diff(output.console, report.diff)
        values = {
            "written": None if report.written is None else str(report.written),
            "refused": [_change(change) for change in report.refused],
            "diff": _diff_values(report.diff),
        }
        if report.refused and report.written is None:
            output.console.print(
                f"{len(report.refused)} prices moved by {max_change:.0%} or more:", style="yellow"
            )
            _print_changes(output.console, report.refused)
            raise ConfigurationError(
                "nothing was written: look at these prices, then run it again with --force, or "
                "with a larger --max-change"
            )
        if report.written is None:
            output.console.print("The table in use is up to date; nothing was written.")
        else:
            output.console.print(f"Written: {report.written}")
        output.result(values)


@prices_app.command()
def diff(
    old: Annotated[str, typer.Argument(help=_TABLES)] = "shipped",
    new: Annotated[str, typer.Argument(help=_TABLES)] = "installed",
    *,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compare two price tables: the package's, your own, the installed genai-prices, or a file."""
    from cascadeflow.models.price_updates import diff_prices  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        found = diff_prices(_which(old), _which(new), at=datetime.now(UTC))
        _print_diff(output.console, found)
        output.result(_diff_values(found))


def _which(name: str) -> WhichTable:
    match name:
        case "shipped" | "user" | "installed":
            return name
        case _:
            return Path(name)


def _print_diff(console: Console, diff: PriceDiff) -> None:
    console.print(f"from {diff.old}\n  to {diff.new}")
    if diff.same:
        console.print("no price differs")
        return
    console.print(
        f"{len(diff.changes)} rates differ, {len(diff.added)} models are new, "
        f"{len(diff.removed)} are gone"
    )
    _print_changes(console, diff.changes)
    for heading, names in (("new", diff.added), ("gone", diff.removed)):
        if names:
            more = len(names) - _MOST_SHOWN
            rest = f" and {more} more" if more > 0 else ""
            console.print(f"{heading}: {', '.join(names[:_MOST_SHOWN])}{rest}")


def _print_changes(console: Console, changes: tuple[PriceChange, ...]) -> None:
    from rich.table import Table  # noqa: PLC0415

    if not changes:
        return
    table = Table()
    table.add_column("model", overflow="fold")
    table.add_column("rate", overflow="fold")
    for heading in ("old", "new", "change"):
        table.add_column(heading, justify="right")
    for change in changes[:_MOST_SHOWN]:
        moved = "" if change.change is None else percent(float(change.change))
        table.add_row(change.model, change.rate, _amount(change.old), _amount(change.new), moved)
    console.print(table)
    if len(changes) > _MOST_SHOWN:
        console.print(f"and {len(changes) - _MOST_SHOWN} more; --json lists them all", style="dim")


def _amount(amount: Any) -> str:
    return "none" if amount is None else str(amount)


def _diff_values(diff: PriceDiff) -> dict[str, Any]:
    return {
        "old": diff.old,
        "new": diff.new,
        "changes": [_change(change) for change in diff.changes],
        "added": list(diff.added),
        "removed": list(diff.removed),
    }


def _change(change: PriceChange) -> dict[str, Any]:
    return {
        "model": change.model,
        "rate": change.rate,
        "old": None if change.old is None else str(change.old),
        "new": None if change.new is None else str(change.new),
    }


def _listed(listed: Any) -> str:
    return ", ".join(f"{name} {rate}" for name, rate in listed.items()) or "the usual price"


def _plain(value: Any) -> Any:
    """Amounts as exact text."""
    if hasattr(value, "items"):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (str, int)) or value is None:
        return value
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    return str(value)
