"""`cascadeflow replay`."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from itertools import zip_longest
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
        list[str] | None,
        typer.Option(
            help="Mode strict: whose recorded answers the drafts are compared with. May be given "
            "repeatedly: the next is asked where the one before settles nothing."
        ),
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
    target: Annotated[
        float | None,
        typer.Option(
            "--target-quality",
            min=0.0,
            max=1.0,
            help="Choose the threshold that saves most and keeps this share of the verifier's "
            "quality.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many questions.")
    ] = None,
    draft_price: Annotated[str | None, typer.Option(help=_PRICE_HELP)] = None,
    verifier_price: Annotated[str | None, typer.Option(help=_PRICE_HELP)] = None,
    cross_check_price: Annotated[
        list[str] | None,
        typer.Option(help=f"{_PRICE_HELP} For each --cross-check in their order."),
    ] = None,
    plot: Annotated[
        list[str] | None,
        typer.Option(help="`terminal`, or a file: .svg, .csv or .json. May be given repeatedly."),
    ] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run recorded answers of real models through the pipeline; say what it saves and keeps."""
    from cascadeflow.cli.replay.formats import model_names, resolve_model, usable_rows  # noqa: PLC0415
    from cascadeflow.cli.replay.joining import read_joined  # noqa: PLC0415
    from cascadeflow.cli.replay.play import always  # noqa: PLC0415
    from cascadeflow.cli.replay.pricing import priced_model  # noqa: PLC0415
    from cascadeflow.cli.replay.report import PLOT_SUFFIXES, ReplayReport, plot_refused  # noqa: PLC0415
    from cascadeflow.cli.replay.target import target_quality  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        third_names, quality = cross_check or [], _quality(mode, threshold, target, cross_check)
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
        prices = cross_check_price or []
        found = [resolve_model(each, names) for each in third_names]
        _different(drafting, verifying, found)
        if len(prices) > len(found):
            raise InvalidRequestError(
                f"there are {len(prices)} --cross-check-price for {len(found)} --cross-check: "
                f"leave out {', '.join(prices[len(found) :])}"
            )
        asked += zip_longest(found, prices)
        now = datetime.now(UTC)
        models = [priced_model(name, price, at=now) for name, price in asked]
        thirds = models[2:]
        if thirds:
            named = tuple(each.name for each in thirds)
            quality = dataclasses.replace(quality, cross_check=named, judge=False)
        usable = usable_rows(rows, (drafting, verifying), [each.name for each in thirds])
        usable, skipped = usable[:limit], len(rows) - len(usable)
        outcomes = _played(usable, models, quality=quality, console=output.console)
        wanted = None
        if target is not None:
            wanted = target_quality(outcomes, target)
            quality = dataclasses.replace(quality, threshold=wanted.threshold)
            outcomes = _played(usable, models, quality=quality, console=output.console)
        report = ReplayReport(
            outcomes=outcomes,
            draft=drafting,
            verifier=verifying,
            cross_checks=tuple(each.name for each in thirds),
            always_cross_check=always(usable, thirds[0], verifier=models[1]) if thirds else None,
            prices={model.name: model.words for model in models},
            mode=quality.mode,
            threshold=quality.threshold,
            rows=len(rows),
            skipped=skipped,
            logs=logs,
            target=wanted,
        )
        report.print_table(output.console)
        if plot and "terminal" in plot:
            report.print_plot(output.console)
        for path in files:
            report.write_plot(path)
            output.console.print(f"written: {path}")
        output.result(report.to_dict())


def _quality(
    mode: QualityMode,
    threshold: float | None,
    target: float | None,
    cross_check: Sequence[str] | None,
) -> QualityConfig:
    """How drafts are judged, before the cross-checks are looked up."""
    if (mode == "strict") is not bool(cross_check):
        raise InvalidRequestError(
            "--mode strict and --cross-check MODEL belong together: of recorded answers there "
            "is no other second opinion"
        )
    if threshold is not None and target is not None:
        raise InvalidRequestError(
            "--target-quality chooses the threshold: give it, or --threshold, and not both"
        )
    quality = QualityConfig(mode=mode)
    return quality if threshold is None else dataclasses.replace(quality, threshold=threshold)


def _different(draft: str, verifier: str, cross_checks: Sequence[str]) -> None:
    """Refuses a cross-check that is another of the models: it would agree with itself."""
    taken = {draft: "the --draft", verifier: "the --verifier"}
    for name in cross_checks:
        if name in taken:
            raise InvalidRequestError(
                f"--cross-check {name} is {taken[name]} too: choose another model"
            )
        taken[name] = "another --cross-check"


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
