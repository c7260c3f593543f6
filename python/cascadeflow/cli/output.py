"""What every command shares: `--json`, `--verbose`, and errors as one clear line.

With `--json` standard output holds one JSON object, its last line, and what is for people goes to
standard error. A command that fails prints `{"error": {"type", "message"}}` as that object.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascadeflow.errors import CascadeFlowError, ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

__all__ = ["JsonOption", "Output", "VerboseOption", "opened", "percent", "usd"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]

VerboseOption = Annotated[bool, typer.Option("--verbose", help="Show an error's traceback.")]


class Output:
    """Where a command writes: people read `console`, programs read `result`."""

    def __init__(self, *, as_json: bool) -> None:
        from rich.console import Console  # noqa: PLC0415

        self.as_json = as_json
        self.console: Console = Console(stderr=as_json, highlight=False)
        self.warnings: Console = Console(stderr=True, highlight=False)

    def result(self, values: Mapping[str, Any]) -> None:
        """Gives the command's JSON object; prints nothing unless `--json` was asked for."""
        if self.as_json:
            sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")
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
        output.warnings.print(f"[bold red]Error:[/] {_escaped(str(error))}", soft_wrap=True)
        output.result({"error": {"type": type(error).__name__, "message": str(error)}})
        usage = isinstance(error, (ConfigurationError, InvalidRequestError))
        raise typer.Exit(2 if usage else 1) from error


def usd(amount: float | None, *, places: int = 6) -> str:
    """US dollars for people; unknown is said, not shown as zero.

    >>> usd(0.00012), usd(None)
    ('$0.000120', 'unknown')
    """
    return "unknown" if amount is None else f"${amount:,.{places}f}"


def percent(share: float | None) -> str:
    """A share for people.

    >>> percent(0.1234), percent(None)
    ('12.3 %', 'n/a')
    """
    return "n/a" if share is None else f"{share * 100:.1f} %"


def _escaped(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415

    return escape(text)
