"""`cascadeflow models`: what the catalogue knows, and the models of this machine."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascadeflow.cli.models_local import list_local, pull, verify
from cascadeflow.cli.output import JsonOption, Output, VerboseOption, opened, rates, shown_rates
from cascadeflow.errors import ConfigurationError, UnknownModelError

if TYPE_CHECKING:
    from cascadeflow.models.catalogue import ModelFacts
    from cascadeflow.models.prices import Price

__all__ = ["models_app"]

models_app = typer.Typer(
    help="What the catalogue knows: context windows, output limits, abilities, prices; and the "
    "models that run on this machine.",
    no_args_is_help=True,
)
models_app.command()(pull)
models_app.command()(verify)


@models_app.command("list")
def list_models(
    *,
    provider: Annotated[
        str | None, typer.Option("--provider", "-p", help="Only this provider's models.")
    ] = None,
    can: Annotated[
        list[str] | None,
        typer.Option("--can", help="Only models known to be able to: tools, vision, …"),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="The models of this machine instead.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also open each of them once and say what it takes.")
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """List providers and how many models each has, or the models of one provider."""
    with opened(as_json=as_json, verbose=verbose) as output:
        if local or measure:
            if provider is not None or can:
                raise ConfigurationError(
                    "--local lists the models of this machine, --provider and --can those of "
                    "providers: leave one out"
                )
            list_local(output, measure=measure)
        elif provider is None and not can:
            _list_providers(output)
        else:
            _list(output, _found("", provider=provider, can=can or ()))


@models_app.command()
def search(
    words: Annotated[list[str], typer.Argument(help="Parts of the name or of provider:model.")],
    *,
    provider: Annotated[
        str | None, typer.Option("--provider", "-p", help="Only this provider's models.")
    ] = None,
    can: Annotated[
        list[str] | None,
        typer.Option("--can", help="Only models known to be able to: tools, vision, …"),
    ] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Find the models whose name holds every word."""
    with opened(as_json=as_json, verbose=verbose) as output:
        _list(output, _found(" ".join(words), provider=provider, can=can or ()))


@models_app.command()
def show(
    model: Annotated[str, typer.Argument(help="provider:model")],
    *,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show what is known of one model."""
    from cascadeflow.models.catalogue import lookup, suggest  # noqa: PLC0415
    from cascadeflow.models.config import ModelConfig  # noqa: PLC0415
    from cascadeflow.models.prices import price_of  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        asked = ModelConfig.parse(model)
        facts = lookup(asked.provider, asked.name)
        if facts is None:
            near = suggest(asked.provider, asked.name)
            raise UnknownModelError(
                f"the catalogue has no {asked.id}"
                + (f"; near it are {', '.join(near)}" if near else "")
            )
        price = price_of(asked, at=datetime.now(UTC))
        values = {"model": asked.id, **_values(facts, price)}
        console = output.console
        console.print(f"{asked.id}  {facts.name}", style="bold")
        console.print(f"catalogue entry: {facts.id}, compiled {facts.date}")
        console.print(f"context window: {_tokens(facts.context_window)}")
        console.print(f"most input: {_tokens(facts.max_input_tokens or facts.context_window)}")
        console.print(f"most output: {_tokens(facts.max_output_tokens)}")
        console.print(f"known to do: {', '.join(sorted(facts.abilities)) or 'nothing known'}")
        if facts.inabilities:
            console.print(f"known not to do: {', '.join(sorted(facts.inabilities))}")
        if facts.deprecated or facts.retires:
            console.print(f"deprecated; ends {facts.retires or 'on an unnamed day'}")
        console.print(f"price in US dollars per million tokens: {shown_rates(price)}")
        output.result(values)


def _list_providers(output: Output) -> None:
    from rich.table import Table  # noqa: PLC0415

    from cascadeflow.models.catalogue import catalogue_date, table  # noqa: PLC0415

    catalogue = table()
    counts = {each: len(catalogue.rows(each)) for each in catalogue.providers()}
    shown = Table(title=f"{sum(counts.values()):,} models, compiled {catalogue_date()}")
    shown.add_column("provider")
    shown.add_column("models", justify="right")
    for name, count in counts.items():
        shown.add_row(name, str(count))
    output.console.print(shown)
    output.console.print(
        "cascadeflow models list -p PROVIDER lists one provider's, --local those of this machine",
        style="dim",
    )
    output.result({"compiled": catalogue_date(), "providers": counts})


def _found(
    words: str, *, provider: str | None, can: list[str] | tuple[str, ...]
) -> list[tuple[ModelFacts, Price | None]]:
    from cascadeflow.models.catalogue import PROVIDER_ALIASES, facts, table  # noqa: PLC0415
    from cascadeflow.models.config import ModelConfig  # noqa: PLC0415
    from cascadeflow.models.prices import price_of  # noqa: PLC0415

    catalogue = table()
    if provider is not None:
        provider = PROVIDER_ALIASES.get(provider.lower(), provider.lower())
        if not catalogue.rows(provider):
            raise UnknownModelError(
                f"the catalogue has no provider {provider!r}; it has "
                f"{', '.join(catalogue.providers())}"
            )
    rows = catalogue.all_rows() if provider is None else catalogue.rows(provider)
    now = datetime.now(UTC)
    found = []
    for row in rows:
        known = facts(row)
        text = f"{known.id} {known.name}".lower()
        if not all(word in text for word in words.lower().split()):
            continue
        if all(known.can(ability) for ability in can):
            found.append((known, price_of(ModelConfig(row.id, row.provider), at=now)))
    return found


def _list(output: Output, found: list[tuple[ModelFacts, Price | None]]) -> None:
    from rich.table import Table  # noqa: PLC0415

    if not found:
        raise UnknownModelError("no model in the catalogue is like that: use fewer words")
    shown = Table(title=f"{len(found):,} models; prices in US dollars per million tokens")
    shown.add_column("model", overflow="fold")
    for heading in ("window", "most output", "input", "output"):
        shown.add_column(heading, justify="right")
    for facts, price in found:
        shown.add_row(
            facts.id,
            _tokens(facts.context_window),
            _tokens(facts.max_output_tokens),
            "unknown" if price is None else str(price.input),
            "unknown" if price is None else str(price.output),
        )
    output.console.print(shown)
    output.result({"models": [_values(facts, price) for facts, price in found]})


def _values(facts: ModelFacts, price: Price | None) -> dict[str, Any]:
    values = asdict(facts)
    values["abilities"] = sorted(facts.abilities)
    values["inabilities"] = sorted(facts.inabilities)
    values["price"] = rates(price)
    return values


def _tokens(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"
