"""`cascadeflow experiments`: which A/B tests a file holds, how they stand, and how to stop one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascadeflow.cli.bars import ascii_only, shortened, span
from cascadeflow.cli.output import JsonOption, VerboseOption, opened
from cascadeflow.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from cascadeflow.experiments.analysis import (
        ExperimentSummary,
        MetricReport,
        VariantReport,
    )
    from cascadeflow.experiments.sqlite import SqliteExperiments

__all__ = ["experiments_app"]

experiments_app = typer.Typer(
    help="A/B tests: which there are, how they stand, and how to stop one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

FileArgument = Annotated[
    str,
    typer.Argument(help="The SQLite file that Experiment(store=…) was given, or its sqlite:///…"),
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="Which experiment; where the file has one, that one.")
]

_BAR: int = 41


@experiments_app.command("list")
def list_experiments(
    file: FileArgument,
    *,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """List a file's experiments, a line each."""
    from cascadeflow.experiments.analysis import report_of  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        store = _opened(file)
        try:
            found = [report_of(store.read(name)) for name in store.names()]
        finally:
            store.close()
        for each in found:
            variants = ", ".join(
                f"{variant.name} ({variant.users:,}{', stopped' if variant.stopped else ''})"
                for variant in each.variants
            )
            output.console.print(
                f"{each.name}: {each.state}, by {each.metric}, {each.users:,} users: {variants}",
                markup=False,
            )
        if not found:
            output.console.print("No experiment was begun in this file.")
        output.result(
            {
                "experiments": [
                    {
                        "name": each.name,
                        "state": each.state,
                        "metric": each.metric,
                        "users": each.users,
                        "variants": {
                            variant.name: {
                                "users": variant.users,
                                "stopped": variant.stopped,
                                "verdict": variant.primary.verdict,
                            }
                            for variant in each.variants
                        },
                    }
                    for each in found
                ]
            }
        )


@experiments_app.command("report")
def report_experiment(
    file: FileArgument,
    *,
    name: NameOption = None,
    plot: Annotated[
        list[Path] | None,
        typer.Option(help="Draw the intervals into this .svg file. May be given repeatedly."),
    ] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Say how an experiment stands; it may be looked at as often as you like."""
    from cascadeflow.cli.experiments_picture import svg_picture  # noqa: PLC0415
    from cascadeflow.experiments.analysis import report_of  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        for path in plot or ():
            if path.suffix != ".svg":
                raise ConfigurationError(f"--plot draws .svg files, not {path}")
        store = _opened(file)
        try:
            report = report_of(store.read(_chosen(store, name)))
        finally:
            store.close()
        _print_report(report, output.console)
        for path in plot or ():
            try:
                path.write_text(svg_picture(report), encoding="utf-8")
            except OSError as error:
                raise StoreError(f"{path} cannot be written: {error.strerror}") from None
            output.console.print(f"written: {path}", markup=False)
        output.result(report.to_dict())


@experiments_app.command("stop")
def stop_experiment(
    file: FileArgument,
    *,
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the report.")],
    name: NameOption = None,
    variant: Annotated[
        str | None, typer.Option(help="Stop this variant; without it, the whole experiment.")
    ] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Stop a variant, whose users are then given control, or a whole experiment. For good."""
    from cascadeflow.experiments.experiment import stop_of  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        store = _opened(file)
        try:
            chosen = _chosen(store, name)
            at = datetime.now(UTC).isoformat(timespec="seconds")
            stop = stop_of(store.read(chosen).description, variant, reason, at=at)
            book = store.stop(chosen, stop)
        finally:
            store.close()
        noted = book.ended or book.stopped.get(variant or "")
        news = noted == stop
        what = f"variant {variant}" if variant is not None else "the experiment"
        output.console.print(
            f"{chosen}: {what} {'is stopped' if news else 'was stopped before'}. Running processes "
            "hear of it when they next write what they have seen.",
            markup=False,
        )
        output.result(
            {
                "name": chosen,
                "variant": variant,
                "news": news,
                "stopped": {each: stop.reason for each, stop in book.stopped.items()},
                "state": "running" if book.ended is None else "stopped",
            }
        )


def _opened(file: str) -> SqliteExperiments:
    from cascadeflow.experiments.sqlite import SqliteExperiments, path_of  # noqa: PLC0415

    path = path_of(file) if file.startswith("sqlite:") else Path(file)
    return SqliteExperiments(path, create=False)


def _chosen(store: SqliteExperiments, name: str | None) -> str:
    if name is not None:
        return name
    names = store.names()
    if len(names) == 1:
        return names[0]
    if not names:
        raise ConfigurationError("no experiment was begun in this file")
    raise ConfigurationError(
        f"the file has {len(names)}: say which with --name: {', '.join(names)}"
    )


def _print_report(report: ExperimentSummary, console: Console) -> None:
    unicode = "utf" in (console.encoding or "").lower()
    for line, style in _lines(report):
        console.print(line if unicode else ascii_only(line), style=style, markup=False)


def _lines(report: ExperimentSummary) -> Iterator[tuple[str, str]]:
    yield (
        (
            f"{report.name}: {report.state}, {report.users:,} users"
            + ("" if report.share == 1 else f" ({report.share:.0%} of all take part)")
            + f"; {report.metric}, {report.better} is better"
        ),
        "bold",
    )
    if report.stopped is not None:
        yield f"stopped: {report.stopped}", "yellow"
    if not report.sample_ratio_ok:
        yield (
            (
                f"The numbers of users do not fit the weights (p {report.sample_ratio_p:.2g}): "
                "users get lost in one variant more than in another. Find out why before you "
                "believe a figure."
            ),
            "bold red",
        )
    if report.moved:
        yield (
            (f"{report.moved:,} values are not counted: their users moved when weights changed"),
            "dim",
        )
    if report.kept < 1:
        yield f"of new users {report.kept:.2%} are counted, for there are many", "dim"
    widest = max(len(variant.name) for variant in report.variants)
    limits = _limits([variant.primary for variant in report.variants])
    for variant in report.variants:
        yield "", ""
        yield from _variant_lines(variant, widest, limits, report.confidence)


def _variant_lines(
    variant: VariantReport, widest: int, limits: tuple[float, float], confidence: float
) -> Iterator[tuple[str, str]]:
    share = "no longer drawn" if variant.weight is None else f"weight {variant.weight:.0%}"
    head = f"{variant.name:<{widest}}  {variant.users:,} users, {share}"
    yield head + (", control" if variant.control else ""), "bold"
    if variant.stopped is not None:
        yield f"  stopped: {variant.stopped}", "yellow"
    for metric in (variant.primary, *variant.others):
        if not metric.users:
            continue
        first = metric is variant.primary
        yield f"  {shortened(metric.metric, 24):<24} {_figures(metric)}", ""
        if first and metric.low is not None and metric.high is not None:
            low, high = limits
            wide = high - low
            drawn = span(
                (metric.low - low) / wide,
                ((metric.difference or 0.0) - low) / wide,
                (metric.high - low) / wide,
                _BAR,
                mark=-low / wide,
            )
            yield f"  {'':<24} {drawn} {confidence:.0%} at any time: {metric.verdict}", ""
    for guard in variant.guardrails:
        value = "nothing seen" if guard.value is None else f"{guard.value:.4g}"
        state = "BROKEN" if guard.broken else "kept"
        yield (
            f"  guard rail {guard.guardrail}: {state}, {value} (p {guard.p:.2g})",
            "red" if guard.broken else "green",
        )


def _figures(metric: MetricReport) -> str:
    said = f"mean {_short(metric.mean)}"
    if metric.difference is None:
        return said
    said += f", difference {metric.difference:+.4g}"
    if metric.relative is not None:
        said += f" ({metric.relative:+.1%})"
    if metric.low is None or metric.high is None or metric.p is None:
        return said + ": too few users to say how sure that is"
    return said + f", {metric.low:+.4g} to {metric.high:+.4g}, p {metric.p:.2g}"


def _short(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _limits(metrics: Sequence[MetricReport]) -> tuple[float, float]:
    """The scale of all bars, zero on it."""
    ends: list[Any] = [0.0, *[end for each in metrics for end in (each.low, each.high)]]
    known = [end for end in ends if end is not None]
    low, high = min(known), max(known)
    margin = (high - low) * 0.05 or 1.0
    return low - margin, high + margin
