"""`cascadeflow route`: one decision explained; no model is asked, and no key is needed."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cascadeflow.cli.domains.options import DomainsOption, LayersOption, own_domains
from cascadeflow.cli.output import JsonOption, VerboseOption, opened
from cascadeflow.cli.stores import StoreOption, reading
from cascadeflow.errors import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from cascadeflow.models.config import ModelConfig

__all__ = ["EXAMPLE_MODELS", "route"]

EXAMPLE_MODELS: Final = ("openai:gpt-6-luna", "anthropic:claude-opus-5-5")
"""The models of an explanation where neither the environment nor the caller names any."""


def route(
    query: Annotated[str, typer.Argument(help="The request; - reads standard input.")],
    *,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            "-m",
            help="provider:model,provider:model; the cheapest drafts. Default: CASCADEFLOW_MODELS, "
            "or the usual models of the providers whose keys are set, or two as an example.",
        ),
    ] = None,
    domains: DomainsOption = None,
    domain: Annotated[
        str | None, typer.Option(help="What it is about, as if the caller had said so.")
    ] = None,
    layers: LayersOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Explain how a request would be routed: its domain, difficulty, models and expected cost."""
    from cascadeflow.cli.route.explain import explain  # noqa: PLC0415
    from cascadeflow.cli.route.picture import draw, values  # noqa: PLC0415
    from cascadeflow.domains.detector import DomainDetector  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output, ExitStack() as stack:
        configs, source = _models(models)
        detector = DomainDetector(
            own_domains(domains).values(),
            semantic="auto" if layers is None else layers == "semantic",
        )
        notes = None if store is None else stack.enter_context(reading(store))
        found = asyncio.run(explain(_text(query), configs, detector, domain=domain, notes=notes))
        draw(found, output.console)
        if source == "example":
            output.console.print(
                "The two models are an example: name yours with --models. Nothing was asked.",
                style="dim",
                soft_wrap=True,
            )
        output.result(values(found) | {"models_from": source, "learned": store is not None})


def _text(query: str) -> str:
    if query != "-":
        return query
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"standard input is no text: {error}") from error


def _models(given: list[str] | None) -> tuple[list[ModelConfig], str]:
    """Gives the models, and who named them: `option`, `environment`, or nobody: `example`."""
    from cascadeflow.agent_env import models_from_env  # noqa: PLC0415
    from cascadeflow.agent_setup import read_models  # noqa: PLC0415

    if given is not None:
        names = [name.strip() for each in given for name in each.split(",") if name.strip()]
        if not names:
            raise InvalidRequestError("--models names none: provider:model,provider:model")
        return read_models(names), "option"
    try:
        names = models_from_env()
    except ConfigurationError:  # it names none and has no key, which takes nothing here
        return read_models(EXAMPLE_MODELS), "example"
    return read_models(names), "environment"
