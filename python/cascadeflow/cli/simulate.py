"""`cascadeflow simulate`: a simulated provider on this machine, until it is interrupted."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascadeflow.cli.output import JsonOption, Output, VerboseOption, opened
from cascadeflow.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from cascadeflow.testing.provider import SimulatedProvider

__all__ = ["simulate"]


def simulate(
    *,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A model's name, repeatedly. Default: small, large."),
    ] = None,
    latency: Annotated[float, typer.Option(help="Seconds to the first token.")] = 0.0,
    tokens_per_second: Annotated[
        float | None, typer.Option(help="Speed after it; default: all at once.")
    ] = None,
    output_tokens: Annotated[int, typer.Option(help="Length of an answer.")] = 32,
    error_rate: Annotated[float, typer.Option(help="Share of requests that fail.")] = 0.0,
    error_status: Annotated[int, typer.Option(help="The HTTP status they fail with.")] = 500,
    rate_limit: Annotated[int | None, typer.Option(help="Requests a minute and model.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A JSON file: seed, api_key, models with every field of SimulatedModel, answer "
            "sheets too. Takes the place of the options above and of --seed."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides everything that is drawn.")] = 0,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes any free one.")] = 0,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a simulated provider that speaks the protocols of all real ones, until Ctrl-C."""
    from cascadeflow.testing.simulator import provider_from_config  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        settings: dict[str, Any] = {
            "seed": seed,
            "models": [
                {
                    "name": name,
                    "latency": latency,
                    "tokens_per_second": tokens_per_second,
                    "output_tokens": output_tokens,
                    "error_rate": error_rate,
                    "error_status": error_status,
                    "rate_limit": rate_limit,
                }
                for name in model or ("small", "large")
            ],
        }
        if config is not None:
            settings = _read(config)
        provider = provider_from_config(settings, host=host, port=port)
        names = [each["name"] for each in settings["models"]]
        asyncio.run(_serve(provider, names, output))


async def _serve(provider: SimulatedProvider, names: list[str], output: Output) -> None:
    from cascadeflow.budgets.report_records import counted  # noqa: PLC0415

    stop = asyncio.Event()
    if sys.platform != "win32":  # there, an interrupt ends asyncio.run by itself
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with provider:
        _introduce(provider, names, output)
        await stop.wait()
        stats = provider.stats
    requests, connections = stats.requests, stats.connections
    output.console.print(f"{counted(requests, 'request')} on {counted(connections, 'connection')}")


def _introduce(provider: SimulatedProvider, names: list[str], output: Output) -> None:
    url = provider.base_url
    body = json.dumps({"model": names[0], "messages": [{"role": "user", "content": "Hello"}]})
    models = " ".join(f"-m openai:{name}" for name in names)
    command = f"cascadeflow run Hello {models} --base-url {url} --allow-unknown-price"
    config = f'base_url="{url}", api_key="any", price=Price(input=1, output=2)'
    lines = (
        f"A simulated provider listens at {provider.url}",
        f"models: {', '.join(names)}",
        "",
        "OpenAI protocol, from a shell:",
        f"  curl {url}/chat/completions -H 'content-type: application/json' -d '{body}'",
        "Anthropic protocol: the SDK's base URL is the address above.",
        "From this package:",
        f"  OPENAI_API_KEY=any {command}",
        f'  ModelConfig("{names[0]}", "openai", {config})',
        "Every program that takes its addresses from the environment, unchanged:",
        *(f"  export {name}={value}" for name, value in _environment(provider)),
        "",
        "Ctrl-C ends it.",
    )
    output.console.print("\n".join(lines), markup=False)
    output.result(
        {
            "base_url": url,
            "url": provider.url,
            "port": provider.port,
            "models": names,
        }
    )


def _environment(provider: SimulatedProvider) -> tuple[tuple[str, str], ...]:
    """What leads each protocol here: the variables that the providers' own SDKs read, most of them.

    Vertex and Azure want a project, or deployments, besides.
    """
    url = provider.url
    addresses = (
        ("OPENAI_BASE_URL", provider.base_url),
        ("ANTHROPIC_BASE_URL", url),
        ("GOOGLE_GEMINI_BASE_URL", url),
        ("GOOGLE_VERTEX_BASE_URL", url),
        ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url),
        ("CO_API_URL", url),
        ("AZURE_OPENAI_ENDPOINT", url),
    )
    keys = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "VERTEX_ACCESS_TOKEN")
    more = ("AWS_BEARER_TOKEN_BEDROCK", "COHERE_API_KEY", "AZURE_OPENAI_API_KEY")
    return (*addresses, *((name, "any") for name in (*keys, *more)))


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{path} must hold a JSON object")
    return settings
