"""`cascadeflow quality`: how well drafts are judged, on labelled answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cascadeflow.cli.output import JsonOption, VerboseOption, opened
from cascadeflow.errors import InvalidRequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cascadeflow.cli.quality.cases import Case, CaseSet
    from cascadeflow.cli.quality.scoring import Judged
    from cascadeflow.config import QualityConfig

__all__ = ["quality_app"]

quality_app = typer.Typer(
    help="How well drafts are judged.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@quality_app.callback()
def _group() -> None:
    """How well drafts are judged."""


@quality_app.command("eval")
def evaluate_quality(
    files: Annotated[
        list[Path], typer.Argument(help="Labelled answers: JSON lines, gzipped or not.")
    ],
    *,
    task: Annotated[
        Literal["relevance", "toxicity", "grounding", "correctness"] | None,
        typer.Option(help="What the labels speak of. Default: all that the file tells."),
    ] = None,
    mode: Annotated[
        Literal["fast", "balanced"] | None,
        typer.Option(
            help="What judges: text rules, or models on this machine too. Default: balanced where "
            "the task needs it, else fast."
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Accept from this probability on. Default: the mode's."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Draw so many rows of each file at most.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Decides what is drawn, planted, and the intervals.")
    ] = 0,
    jobs: Annotated[
        int, typer.Option(min=1, help="Judge so many at once; times then hold others' work too.")
    ] = 1,
    svg: Annotated[
        Path | None, typer.Option(help="Write the plot to this file.", metavar="FILE.svg")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the JSON to this file.", metavar="FILE.json")
    ] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Say how well the judge tells right from wrong, on labelled answers."""
    from cascadeflow.cli.quality.forms import read_sets  # noqa: PLC0415
    from cascadeflow.cli.quality.report import picture, reported  # noqa: PLC0415
    from cascadeflow.cli.quality.tables import print_plot, print_sets  # noqa: PLC0415
    from cascadeflow.cli.quality.task import in_short, mode_of, of_task, only  # noqa: PLC0415
    from cascadeflow.cli.replay.plot import svg_plot  # noqa: PLC0415
    from cascadeflow.config import QualityConfig  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        _ending("--svg", svg, ".svg")
        _ending("--out", out, ".json")
        overrides: dict[str, Any] = {} if threshold is None else {"threshold": threshold}
        config = QualityConfig(mode=mode_of(task, mode), **overrides)
        sets = []
        for path in files:
            told = read_sets(path, limit=limit, seed=seed)
            told = told if task is None else of_task(task, told)
            sets += [(str(path), each) for each in told]
        judged = asyncio.run(_judged([each for _, each in sets], config, jobs, output.console))
        found = [reported(path, each, judged, seed=seed) for path, each in sets]
        if task is not None:
            found = [only(task, each) for each in found]
        print_sets(found, output.console)
        plot = picture(found)
        if plot is not None:
            print_plot(plot, output.console)
        values = {
            **({} if task is None else in_short(task, found)),
            "mode": config.mode,
            "threshold": float(config.threshold),
            "limit": limit,
            "seed": seed,
            "jobs": jobs,
            "sets": [each.to_dict() for each in found],
        }
        if svg is not None:
            if plot is None:
                raise InvalidRequestError(
                    "nothing to plot: pairs have no curve, and nothing else was scored"
                )
            _write(svg, svg_plot(plot, width=860))
            output.console.print(f"written: {svg}", markup=False)
        if out is not None:
            _write(out, json.dumps(values, indent=1) + "\n")
            output.console.print(f"written: {out}", markup=False)
        output.result(values)


async def _judged(
    sets: Sequence[CaseSet], config: QualityConfig, jobs: int, console: Console
) -> dict[Case, Judged]:
    from rich.progress import Progress  # noqa: PLC0415

    from cascadeflow.cli.quality.scoring import configured, judge_all  # noqa: PLC0415
    from cascadeflow.quality.validator import CascadeValidator  # noqa: PLC0415

    total = len(configured(sets, config))
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("judging", total=total)
        return await judge_all(
            sets,
            CascadeValidator(),
            config,
            jobs=jobs,
            on_progress=lambda done: progress.update(task, completed=done),
        )


def _ending(option: str, path: Path | None, wanted: str) -> None:
    """Refuses a file of a kind that is not written, before anything is judged."""
    if path is not None and path.suffix != wanted:
        raise InvalidRequestError(
            f"{option} cannot write {path.name!r}: name a file ending in {wanted}"
        )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error}") from error
