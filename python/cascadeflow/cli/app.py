"""The `cascadeflow` command and its subcommands."""

from __future__ import annotations

from typing import Annotated

import typer

from cascadeflow.cli.audit import audit_app
from cascadeflow.cli.budget import budget_app
from cascadeflow.cli.costs import costs_app
from cascadeflow.cli.demo.command import demo
from cascadeflow.cli.doctor import doctor
from cascadeflow.cli.domains.command import domains_app
from cascadeflow.cli.experiments import experiments_app
from cascadeflow.cli.forecast import forecast
from cascadeflow.cli.judge import judge
from cascadeflow.cli.models import models_app
from cascadeflow.cli.prices import prices_app
from cascadeflow.cli.quality.command import quality_app
from cascadeflow.cli.replay.command import replay
from cascadeflow.cli.route.command import route
from cascadeflow.cli.run import run
from cascadeflow.cli.simulate import simulate
from cascadeflow.cli.tokens import tokens
from cascadeflow.cli.tune.command import tune

__all__ = ["app"]

app = typer.Typer(
    name="cascadeflow",
    help="Answers each LLM request with the cheapest model that is good enough.",
    no_args_is_help=True,
    # A traceback that shows local variables could show a key.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from cascadeflow import __version__  # noqa: PLC0415

        typer.echo(f"cascadeflow {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Answers each LLM request with the cheapest model that is good enough."""


app.command()(run)
app.command()(demo)
app.command()(replay)
app.command()(tune)
app.command()(judge)
app.command()(route)
app.command()(simulate)
app.command()(tokens)
app.command()(doctor)
app.command()(forecast)
app.add_typer(budget_app, name="budget")
app.add_typer(costs_app, name="costs")
app.add_typer(audit_app, name="audit")
app.add_typer(domains_app, name="domains")
app.add_typer(experiments_app, name="experiments")
app.add_typer(models_app, name="models")
app.add_typer(prices_app, name="prices")
app.add_typer(quality_app, name="quality")
