"""`cascadeflow replay`."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascadeflow.cli.output import JsonOption, VerboseOption, opened
from cascadeflow.config import QualityConfig, QualityMode
from cascadeflow.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cascadeflow.cli.replay.formats import ReplayRow
    from cascadeflow.cli.replay.pricing import PricedModel
    from cascadeflow.cli.replay.statistics import Outcome

__all__ = ["replay"]

_PRICE_HELP = "Its price: IN,OUT in US dollars per million tokens, or provider:model."


def replay(
    file: Annotated[Path, typer.Argument(help="Recorded answers: JSON lines, .gz or not.")],
    *,
    draft: Annotated[str, typer.Option(help="The drafting model, as the file names it.")],
    verifier: Annotated[str, typer.Option(help="The verifying model, as the file names it.")],
    mode: Annotated[QualityMode, typer.Option(help="Which checks judge the drafts.")] = "fast",
    cross_check: Annotated[
        str | None,
        typer.Option(help="Mode strict: whose recorded answers the drafts are compared with."),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            help="Another log of the same questions, which lends the answers of models that FILE "
            "lacks. May be given repeatedly."
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="The least score at which a draft is accepted.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many questions.")
    ] = None,
    draft_price: Annotated[str | None, typer.Option(help=_PRICE_HELP)] = None,
    verifier_price: Annotated[str | None, typer.Option(help=_PRICE_HELP)] = None,
    cross_check_price: Annotated[str | None, typer.Option(help=_PRICE_HELP)] = None,
    plot: Annotated[
        list[str] | None,
        typer.Option(help="`terminal`, or a file: .svg, .csv or .json. May be given repeatedly."),
    ] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run recorded answers of real models through the pipeline; say what it saves and keeps."""
    from cascadeflow.cli.replay.formats import model_names, resolve_model  # noqa: PLC0415
    from cascadeflow.cli.replay.joining import read_joined  # noqa: PLC0415
    from cascadeflow.cli.replay.play import always  # noqa: PLC0415
    from cascadeflow.cli.replay.pricing import priced_model  # noqa: PLC0415
    from cascadeflow.cli.replay.report import PLOT_SUFFIXES, ReplayReport, plot_refused  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        if (mode == "strict") is not (cross_check is not None):
            raise InvalidRequestError(
                "--mode strict and --cross-check MODEL belong together: of recorded answers there "
                "is no other second opinion"
            )
        quality = QualityConfig(mode=mode)
        if threshold is not None:
            quality = dataclasses.replace(quality, threshold=threshold)
        files = [Path(each) for each in plot or () if each != "terminal"]
        for path in files:
            if path.suffix not in PLOT_SUFFIXES:
                raise plot_refused(path)
        rows, logs = read_joined(file, also or ())
        names = model_names(rows)
        drafting, verifying = resolve_model(draft, names), resolve_model(verifier, names)
        if drafting == verifying:
            raise InvalidRequestError(f"--draft and --verifier are both {drafting}: choose two")
        asked = [(drafting, draft_price), (verifying, verifier_price)]
        if cross_check is not None:
            asked.append((resolve_model(cross_check, names), cross_check_price))
        if len({name for name, _ in asked}) < len(asked):
            raise InvalidRequestError(f"--cross-check is {asked[-1][0]}: choose a third model")
        now = datetime.now(UTC)
        models = [priced_model(name, price, at=now) for name, price in asked]
        third = models[2] if cross_check is not None else None
        if third is not None:
            quality = dataclasses.replace(quality, cross_check=third.name, judge=False)
        usable = [row for row in rows if all(name in row.answers for name, _ in asked)]
        if not usable:
            raise InvalidRequestError(
                f"no row holds answers of all of {', '.join(name for name, _ in asked)}"
            )
        usable, skipped = usable[:limit], len(rows) - len(usable)
        report = ReplayReport(
            outcomes=_played(usable, models, quality=quality, console=output.console),
            draft=drafting,
            verifier=verifying,
            cross_check=None if third is None else third.name,
            always_cross_check=None if third is None else always(usable, third, verifier=models[1]),
            prices={model.name: model.words for model in models},
            mode=quality.mode,
            threshold=quality.threshold,
            rows=len(rows),
            skipped=skipped,
            logs=logs,
        )
        report.print_table(output.console)
        if plot and "terminal" in plot:
            report.print_plot(output.console)
        for path in files:
            report.write_plot(path)
            output.console.print(f"written: {path}")
        output.result(report.to_dict())


def _played(
    rows: Sequence[ReplayRow],
    models: Sequence[PricedModel],
    *,
    quality: QualityConfig,
    console: Console,
) -> list[Outcome]:
    from rich.progress import Progress  # noqa: PLC0415

    from cascadeflow.cli.replay.play import play  # noqa: PLC0415

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("asking", total=2 * len(rows))
        return asyncio.run(
            play(
                rows,
                models,
                quality=quality,
                on_progress=lambda done: progress.update(task, completed=done),
            )
        )
