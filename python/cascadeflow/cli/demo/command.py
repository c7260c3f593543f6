"""`cascadeflow demo`."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cascadeflow.cli.output import JsonOption, Output, VerboseOption, opened

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from cascadeflow.cli.demo.cast import Cast
    from cascadeflow.cli.demo.play import Answer
    from cascadeflow.cli.demo.questions import Question

__all__ = ["demo"]

_PATIENCE = 95.0
"""Seconds for drafts: on two idle cores the local model needs about 60 for all of them."""


def demo(
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Ask real models: by key, or Ollama's. Costs money.")
    ] = False,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Draft with a simulated model: over in a second.")
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Answer 24 short questions in a cascade, with no key; see what it costs and saves."""
    with opened(as_json=as_json, verbose=verbose) as output:
        if live and simulated:
            raise typer.BadParameter("--live and --simulated exclude each other")
        asyncio.run(_demo(output, live=live, local=not simulated))


async def _demo(output: Output, *, live: bool, local: bool) -> None:
    from cascadeflow.cli.demo.questions import load_questions  # noqa: PLC0415
    from cascadeflow.cli.demo.report import figures, print_figures  # noqa: PLC0415

    questions = load_questions()
    started = time.perf_counter()
    async with _cast(questions, live=live, local=local) as cast:
        console = output.console
        if cast.note:
            console.print(cast.note, style="yellow", markup=False)
        console.print(f"draft: {cast.draft.words}\nverifier: {cast.verifier.words}", markup=False)
        patience = None if live else _PATIENCE
        answers = await _show(questions, cast, output, patience=patience)
        values = figures(answers, cast, seconds=time.perf_counter() - started)
        print_figures(values, cast, console)
        output.result(values)


@asynccontextmanager
async def _cast(questions: Sequence[Question], *, live: bool, local: bool) -> AsyncGenerator[Cast]:
    from cascadeflow.cli.demo.cast import live_cast, simulated_cast  # noqa: PLC0415

    if live:
        yield live_cast()
        return
    async with simulated_cast(questions, local=local) as cast:
        yield cast


async def _show(
    questions: Sequence[Question], cast: Cast, output: Output, *, patience: float | None
) -> list[Answer]:
    """Plays the demo, a row an answer as it comes."""
    from cascadeflow.cli.demo.play import play  # noqa: PLC0415
    from cascadeflow.cli.demo.report import RowPrinter, row  # noqa: PLC0415

    answers: list[Answer] = []
    printer = RowPrinter(output.console)
    printer.header()
    with output.console.status("") as status:
        status.update(questions[0].prompt)
        async for answer in play(questions, cast, patience=patience):
            answers.append(answer)
            printer.add(row(answer, cast), right=answer.right)
            done = len(answers)
            status.update(questions[done].prompt if done < len(questions) else "adding up")
    return answers
