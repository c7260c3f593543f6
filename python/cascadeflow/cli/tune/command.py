"""`cascadeflow tune`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascadeflow.cli.output import JsonOption, VerboseOption, opened
from cascadeflow.config import QualityConfig, QualityMode
from cascadeflow.errors import InvalidRequestError, UnknownPriceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cascadeflow.cli.replay.formats import ReplayRow
    from cascadeflow.cli.replay.pricing import PricedModel
    from cascadeflow.cli.tune.logged import LogJudge
    from cascadeflow.cli.tune.tuning import LoggedDraft

__all__ = ["tune"]

_PRICE_HELP = "Its price: IN,OUT in US dollars per million tokens, or provider:model."


def tune(
    log: Annotated[Path, typer.Argument(help="Recorded answers: JSON lines, .gz or not.")],
    *,
    draft: Annotated[str, typer.Option(help="The drafting model, as the log names it.")],
    verifier: Annotated[str, typer.Option(help="The verifying model, as the log names it.")],
    mode: Annotated[QualityMode, typer.Option(help="Which checks judge the drafts.")] = "fast",
    cross_check: Annotated[
        list[str] | None,
        typer.Option(
            help="Mode strict: whose recorded answers the drafts are compared with; one model."
        ),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            help="Another log of the same questions, which lends the answers of models that LOG "
            "lacks. May be given repeatedly."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A check that is off, such as toxicity. May be given repeatedly."),
    ] = None,
    target: Annotated[
        float, typer.Option(help="The share of the verifier's right answers to keep.")
    ] = 0.97,
    confidence: Annotated[float, typer.Option(help="How sure the promise shall be.")] = 0.95,
    out: Annotated[
        Path | None, typer.Option(help="The file for QualityConfig(calibration=…).")
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
    """Fit weights and threshold to your own log; state what quality and saving to expect."""
    from cascadeflow.cli.replay.formats import model_names, resolve_model, usable_rows  # noqa: PLC0415
    from cascadeflow.cli.replay.joining import read_joined  # noqa: PLC0415
    from cascadeflow.cli.replay.report import PLOT_SUFFIXES, plot_refused  # noqa: PLC0415
    from cascadeflow.cli.tune.logged import LogJudge  # noqa: PLC0415
    from cascadeflow.cli.tune.report import TuneReport, expected  # noqa: PLC0415
    from cascadeflow.cli.tune.tuning import Scored, choose, weigh  # noqa: PLC0415
    from cascadeflow.quality.calibration import Calibration, checks_off  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        strict = mode == "strict"
        thirds = cross_check or []
        if len(thirds) > 1:
            raise InvalidRequestError(
                f"tune takes one --cross-check, not {len(thirds)} ({', '.join(thirds)}): a "
                "calibration knows one second opinion. replay takes several"
            )
        if strict is not bool(thirds):
            raise InvalidRequestError(
                "--mode strict and --cross-check MODEL belong together: a log holds no other "
                "second opinion"
            )
        _between("--target", target)
        _between("--confidence", confidence)
        files = [Path(each) for each in plot or () if each != "terminal"]
        for path in files:
            if path.suffix not in PLOT_SUFFIXES:
                raise plot_refused(path)
        config = QualityConfig(mode=mode, without=tuple(without or ()))
        judge = LogJudge(config)
        rows, logs = read_joined(log, also or ())
        names = model_names(rows)
        asked = [(draft, draft_price), (verifier, verifier_price)]
        asked += [(third, cross_check_price) for third in thirds]
        found = [(resolve_model(name, names), price) for name, price in asked]
        if len({name for name, _ in found}) < len(found):
            raise InvalidRequestError(
                f"{', '.join(name for name, _ in found)}: the models must be different ones"
            )
        models = [_priced(name, price) for name, price in found]
        usable = usable_rows(
            rows, (models[0].name, models[1].name), [model.name for model in models[2:]]
        )
        drafts = _judged(judge, usable, models, console=output.console)
        weights, held = weigh(drafts)
        tuned = choose(
            [Scored(each, own, strict=strict) for each, own in zip(drafts, held, strict=True)],
            target=target,
            confidence=confidence,
        )
        kept, saved = expected(tuned.outcomes)
        made = Calibration.of_weights(
            weights,
            mode=mode,
            without=checks_off(config),
            draft=models[0].name,
            verifier=models[1].name,
            cross_check=models[2].name if strict else None,
            questions=len(drafts),
            date=datetime.now(UTC).date().isoformat(),
            target=target,
            confidence=confidence,
            promised=tuned.promised,
            threshold=tuned.threshold,
            quality_kept=kept,
            saved=saved,
        )
        if out is not None:
            made.write(out)
        report = TuneReport(
            tuned=tuned,
            calibration=made,
            prices={model.name: model.words for model in models},
            skipped=len(rows) - len(usable),
            not_run=sum(each.not_run for each in drafts),
            out=None if out is None else str(out),
        )
        report.print(output.console)
        for each in logs:
            output.console.print(each.words(len(rows)), style="dim", markup=False)
        if plot and "terminal" in plot:
            report.print_plot(output.console)
        for path in files:
            report.write_plot(path)
            output.console.print(f"written: {path}", markup=False)
        output.result({**report.to_dict(), "also": [each.to_dict() for each in logs]})


def _judged(
    judge: LogJudge,
    rows: Sequence[ReplayRow],
    models: Sequence[PricedModel],
    *,
    console: Console,
) -> list[LoggedDraft]:
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("judging", total=None)
        return asyncio.run(
            judge.drafts(
                rows,
                *models,
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        )


def _between(option: str, share: float) -> None:
    if not 0.5 <= share < 1:  # noqa: PLR2004 - less is no promise; all of it nobody can show
        raise InvalidRequestError(f"{option} must lie in 0.5..1, and below 1; not {share:g}")


def _priced(name: str, price: str | None) -> PricedModel:
    from cascadeflow.cli.replay.pricing import priced_model  # noqa: PLC0415

    try:
        return priced_model(name, price, at=datetime.now(UTC))
    except UnknownPriceError as error:
        raise UnknownPriceError(
            f"{error}; a model for the cross-check has --cross-check-price"
        ) from error
