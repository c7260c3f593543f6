"""`cascadeflow run`: one question, its answer as it comes, then a line of what it cost."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascadeflow.cli.output import JsonOption, Output, VerboseOption, opened, percent, usd
from cascadeflow.config import QualityConfig, QualityMode

if TYPE_CHECKING:
    from cascadeflow.agent import CascadeAgent, RunOptions
    from cascadeflow.pipeline.result import CascadeResult

__all__ = ["cost_line", "run"]


def run(
    query: Annotated[str, typer.Argument(help="The question; - reads standard input.")],
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="provider:model, repeatedly; the cheapest drafts. Default: CASCADEFLOW_MODELS, "
            "or the usual models of the providers whose keys are set.",
        ),
    ] = None,
    mode: Annotated[QualityMode, typer.Option(help="Which checks judge the draft.")] = "fast",
    threshold: Annotated[
        float | None, typer.Option(help="The least score at which the draft is accepted.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="The system message.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most output tokens of each call.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for the whole request.")] = None,
    direct: Annotated[bool, typer.Option("--direct", help="Make no draft.")] = False,
    base_url: Annotated[
        str | None, typer.Option(help="Where all of the models are, such as a simulated provider.")
    ] = None,
    allow_unknown_price: Annotated[
        bool, typer.Option("--allow-unknown-price", help="Run models of unknown price too.")
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Answer a question: the answer goes to standard output, what it cost to standard error."""
    with opened(as_json=as_json, verbose=verbose) as output:
        quality = QualityConfig(mode=mode)
        if threshold is not None:
            quality = replace(quality, threshold=threshold)
        agent = _agent(
            model, base_url, quality, unknown_price="allow" if allow_unknown_price else "error"
        )
        options: RunOptions = {
            "system_prompt": system,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "timeout": timeout,
            "force_direct": direct,
        }
        text = sys.stdin.read() if query == "-" else query
        result = asyncio.run(_ask(agent, text, options, output))
        output.warnings.print(cost_line(result), style="dim", markup=False)
        output.result(result.to_dict())


async def _ask(
    agent: CascadeAgent, text: str, options: RunOptions, output: Output
) -> CascadeResult:
    async with agent:
        if output.as_json:
            return await agent.run(text, **options)
        # Writes the answer as it comes, and says when a model broke off half-way.
        return await agent.run_streaming(text, **options)


def _agent(
    models: list[str] | None, base_url: str | None, quality: QualityConfig, **options: Any
) -> CascadeAgent:
    from cascadeflow.agent import CascadeAgent  # noqa: PLC0415
    from cascadeflow.agent_env import models_from_env  # noqa: PLC0415
    from cascadeflow.models.config import ModelConfig  # noqa: PLC0415

    configs = [ModelConfig.parse(each) for each in models or models_from_env()]
    if base_url is not None:
        configs = [replace(config, base_url=base_url) for config in configs]
    return CascadeAgent(configs, quality, **options)


def cost_line(result: CascadeResult) -> str:
    """Says in one line who answered, why, what it cost and what it saved."""
    routing, quality, cost = result.routing, result.quality, result.cost
    if quality.accepted is None:
        how = f"direct: {routing.reason}"
    elif quality.accepted:
        how = f"draft accepted ({quality.score or 0:.2f})"
    else:
        how = f"draft rejected: {quality.reason}"
    parts = [routing.model_used, how]
    parts.append(f"cost {usd(None if cost.total is None else float(cost.total))}")
    if cost.saved is not None:
        parts.append(
            f"saved {usd(float(cost.saved))} ({percent(cost.saved_fraction)}, {cost.saved_basis})"
        )
    parts.append(f"{result.timing.total_ms:,.0f} ms")
    return " | ".join(parts)
