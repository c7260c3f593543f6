"""What the commands on budgets share: which store, which time zone, which days."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cascadeflow.clock import Clock, SystemClock
from cascadeflow.errors import ConfigurationError, InvalidRequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cascadeflow.budgets.records import ManualEvent, Scope
    from cascadeflow.budgets.stores.sqlite import SqliteStore

__all__ = [
    "STORE_VARIABLE",
    "ActorOption",
    "ReasonOption",
    "SinceOption",
    "StoreOption",
    "TimezoneOption",
    "UntilOption",
    "acting",
    "clock",
    "event_values",
    "exact",
    "moment",
    "now",
    "reading",
    "safe",
    "scope_named",
    "writing",
]

clock: Clock = SystemClock()
"""What these commands take the time from."""

STORE_VARIABLE: Final = "CASCADEFLOW_STORE"

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar=STORE_VARIABLE,
        help="Where budgets are kept: sqlite:///relative.db or sqlite:////absolute.db.",
        show_envvar=True,
    ),
]

TimezoneOption = Annotated[
    str, typer.Option("--timezone", help="Whose days, weeks and months: an IANA name.")
]

SinceOption = Annotated[
    str | None, typer.Option("--since", help="From this day on: 2026-11-01, or with a time.")
]

UntilOption = Annotated[
    str | None, typer.Option("--until", help="Before this day, which is left out: 2026-12-01.")
]

ActorOption = Annotated[
    str | None, typer.Option("--actor", help="Who does it. Default: your user name.")
]

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it goes into the audit log.")]


def now() -> datetime:
    """The time, UTC."""
    return clock.now()


@contextmanager
def reading(url: str | None) -> Iterator[SqliteStore]:
    """Opens a store beside the process that writes it, and changes nothing."""
    from cascadeflow.budgets.stores import open_store  # noqa: PLC0415

    with open_store(_url(url), clock=clock, read_only=True) as store:
        yield store


@contextmanager
def writing(url: str | None, *, create: bool = False) -> Iterator[SqliteStore]:
    """Opens a store to change it, which nobody else may do meanwhile.

    Raises:
        StoreError: another process has it, or it is not there and is not to be made.
    """
    from cascadeflow.budgets.stores import open_store  # noqa: PLC0415
    from cascadeflow.budgets.stores.sqlite_file import (  # noqa: PLC0415
        database_path,
        writer_is_alive,
    )

    path = database_path(_url(url))
    if not path.exists() and not create:
        raise StoreError(
            f"{path} is not there: look at the path; to make a new store, add --create"
        )
    if path.exists() and writer_is_alive(path):
        raise StoreError(
            f"a running process has {path} open, and only one at a time may write it for now. "
            "Stop that process, run this command, and start it again; or let the process itself "
            "make the change (CostTracker.set_budget, adjust, reset). Nothing was changed"
        )
    with open_store(_url(url), clock=clock) as store:
        yield store


def scope_named(text: str) -> Scope:
    """Reads `global`, `user:u1`, `model:openai:gpt-5` and the like.

    Raises:
        ConfigurationError: it names no scope.
    """
    from cascadeflow.budgets.accounts import parse_scope  # noqa: PLC0415

    return parse_scope(text)


def moment(text: str | None, timezone: str, *, what: str) -> datetime | None:
    """Reads a day or a moment of a time zone, as UTC; a day is its beginning.

    Raises:
        InvalidRequestError: it is none.
        ConfigurationError: there is no such time zone.
    """
    from cascadeflow.budgets.reports import zone  # noqa: PLC0415

    place = zone(timezone)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidRequestError(
            f"{what} must be a day such as 2026-11-01 or a moment such as 2026-11-01T09:30, "
            f"not {text!r:.60}"
        ) from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=place)).astimezone(UTC)


def acting(actor: str | None) -> str:
    """Gives who does it: who was named, else the user of this machine.

    Raises:
        ConfigurationError: nobody was named and the machine does not say.
    """
    import getpass  # noqa: PLC0415

    if actor is not None:
        return actor
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        raise ConfigurationError("say who does it: --actor NAME") from None


def exact(nanodollars: int | None) -> str | None:
    """US dollars for programs: exact text.

    >>> exact(1_500_000_000), exact(None)
    ('1.500000000', None)
    """
    from cascadeflow.money import to_usd  # noqa: PLC0415

    return None if nanodollars is None else f"{to_usd(nanodollars):f}"


def event_values(event: ManualEvent) -> dict[str, Any]:
    """A change made by hand as plain JSON values."""
    return {
        "event_id": event.event_id,
        "at": event.at.isoformat(),
        "kind": event.kind,
        "scope": str(event.scope),
        "period": event.period,
        "amount": exact(event.nanodollars),
        "previous": exact(event.previous),
        "unreported": exact(event.unreported),
        "after": exact(event.after),
        "actor": event.actor,
        "reason": event.reason,
    }


def safe(text: str) -> str:
    r"""A user's text for the terminal: no line break, no control code, no markup.

    >>> safe("a\nb[red]")
    'a\\nb\\[red]'
    """
    from rich.markup import escape  # noqa: PLC0415

    from cascadeflow.budgets.report_records import one_line  # noqa: PLC0415

    return escape(one_line(text))


def _url(url: str | None) -> str:
    url = url or os.environ.get(STORE_VARIABLE)
    if not url:
        raise ConfigurationError(
            f"which store? Name it with --store sqlite:///budgets.db, or in {STORE_VARIABLE}"
        )
    return url
