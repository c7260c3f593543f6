"""What every command shares: `--json`, `--verbose`, and errors as one clear line.

With `--json` standard output holds one JSON object, its last line, and what is for people goes to
standard error. A command that fails prints `{"error": {"type", "message"}}` as that object.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import fields
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascadeflow.errors import CascadeFlowError, ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

    from cascadeflow.models.prices import Price, PriceTier

__all__ = [
    "JsonOption",
    "Output",
    "VerboseOption",
    "opened",
    "percent",
    "rates",
    "shown_rates",
    "usd",
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]

VerboseOption = Annotated[bool, typer.Option("--verbose", help="Show an error's traceback.")]


class Output:
    """Where a command writes: people read `console`, programs read `result`."""

    def __init__(self, *, as_json: bool) -> None:
        from rich.console import Console  # noqa: PLC0415

        self.as_json = as_json
        self.console: Console = Console(stderr=as_json, highlight=False, soft_wrap=True)
        self.warnings: Console = Console(stderr=True, highlight=False, soft_wrap=True)

    def result(self, values: Mapping[str, Any]) -> None:
        """Gives the command's JSON object; prints nothing unless `--json` was asked for."""
        if self.as_json:
            sys.stdout.write(json.dumps(values) + "\n")
            sys.stdout.flush()


@contextmanager
def opened(*, as_json: bool, verbose: bool) -> Iterator[Output]:
    """Gives a command its output, and turns this package's errors into one line and an exit code.

    Exit code 2: what was asked for cannot work as it was asked (the wrong option, model, price or
    key). Exit code 1: it was tried and failed.
    """
    output = Output(as_json=as_json)
    try:
        yield output
    except CascadeFlowError as error:
        if verbose:
            output.warnings.print_exception(show_locals=False)
        output.warnings.print(f"[bold red]Error:[/] {_escaped(str(error))}")
        output.result({"error": {"type": type(error).__name__, "message": str(error)}})
        usage = isinstance(error, (ConfigurationError, InvalidRequestError))
        raise typer.Exit(2 if usage else 1) from error


def usd(amount: float | None, *, places: int = 6) -> str:
    """US dollars for people; unknown is said, not shown as zero.

    >>> usd(0.00012), usd(-0.5, places=2), usd(None)
    ('$0.000120', '-$0.50', 'unknown')
    """
    if amount is None:
        return "unknown"
    return f"{'-' if amount < 0 else ''}${abs(amount):,.{places}f}"


def percent(share: float | None) -> str:
    """A share for people.

    >>> percent(0.1234), percent(None)
    ('12.3 %', 'n/a')
    """
    return "n/a" if share is None else f"{share * 100:.1f} %"


def rates(price: Price | None) -> dict[str, Any] | None:
    """A price as plain JSON: amounts as exact text, what has no rate left out."""
    if price is None:
        return None
    values: dict[str, Any] = {}
    for field in fields(price):
        value = getattr(price, field.name)
        if isinstance(value, Decimal):
            values[field.name] = f"{value:f}"
        elif hasattr(value, "items"):
            values |= (
                {field.name: {name: f"{rate:f}" for name, rate in value.items()}} if value else {}
            )
        elif isinstance(value, tuple):
            values |= {field.name: [_tier(tier) for tier in value]} if value else {}
        elif value is not None:
            values[field.name] = value
    return values


def shown_rates(price: Price | None) -> str:
    """A price in one line for people.

    >>> from cascadeflow.models.prices import Price
    >>> shown_rates(Price(input=1, output=2)), shown_rates(None)
    ('input 1, output 2', 'unknown')
    """
    if price is None:
        return "unknown"
    parts = []
    for name, value in (rates(price) or {}).items():
        if name in {"source", "date", "service_tier"}:
            continue
        if name == "tiers":
            parts += [
                f"above {tier['above']:,} input tokens "
                + " ".join(f"{key} {rate}" for key, rate in tier.items() if key != "above")
                for tier in value
            ]
        elif name == "requests":
            parts += [f"{kind} {rate} per thousand" for kind, rate in value.items()]
        elif name == "call":
            parts.append(f"{value} per thousand calls")
        else:
            parts.append(f"{name} {value}")
    return ", ".join(parts)


def _tier(tier: PriceTier) -> dict[str, Any]:
    given = {field.name: getattr(tier, field.name) for field in fields(tier)}
    return {
        name: value if isinstance(value, int) else f"{value:f}"
        for name, value in given.items()
        if value is not None
    }


def _escaped(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415

    return escape(text)
