"""What `route` and `domains` share: the options on layers and on domains of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from cascadeflow.domains.registry import Domain

__all__ = ["DomainsOption", "LayersOption", "own_domains"]

DomainsOption = Annotated[
    Path | None, typer.Option(help="Domains of your own: a TOML file.", metavar="FILE.toml")
]

LayersOption = Annotated[
    Literal["rules", "semantic"] | None,
    typer.Option(
        help="`rules` alone, or the sentence model behind them too. Default: both, where it is "
        "installed."
    ),
]


def own_domains(path: Path | None) -> dict[str, Domain]:
    """Reads the domains of a TOML file; none without one.

    Raises:
        ConfigurationError: the file or a domain in it cannot be right.
    """
    from cascadeflow.domains.registry import Domain  # noqa: PLC0415

    return {} if path is None else Domain.from_toml(path)
