"""What the demo shows: a row a question, and the figures at the end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cascadeflow.cli.output import percent, usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

    from cascadeflow.cli.demo.cast import Cast, Role
    from cascadeflow.cli.demo.play import Answer

__all__ = ["RowPrinter", "figures", "percentile", "print_figures", "row"]

_NANODOLLARS = 10**9

_HEADINGS = ("question", "draft's verdict", "answered by", "right", "cost", "saved")
_FIXED = (19, 5, 9, 10)
"""Widths of the last four columns; the first two share what the terminal has left."""

_SHOWN_REASON = 60

_NEXT = (
    ("cascadeflow doctor", "which keys and models this machine has"),
    ("cascadeflow demo --live", "the same with real models, once a key is set"),
    ('cascadeflow run "Why is the sky blue?"', "one question through your own cascade"),
    (
        "cascadeflow replay log.jsonl --draft A --verifier B",
        "what your own recorded answers would have saved",
    ),
    ("cascadeflow simulate", "a simulated provider to build against"),
)


class RowPrinter:
    """Prints the table row by row as the answers come, in a terminal and anywhere else."""

    def __init__(self, console: Console) -> None:
        self._console = console
        left = max(24, console.width - sum(_FIXED) - len(_HEADINGS))
        self._widths = (left * 45 // 100, left - left * 45 // 100, *_FIXED)

    def header(self) -> None:
        """Prints the columns' names."""
        self._print(_HEADINGS, style="bold")

    def add(self, cells: tuple[str, ...], *, right: bool) -> None:
        """Prints a row; a wrong answer's in red."""
        self._print(cells, style=None if right else "red")

    def _print(self, cells: tuple[str, ...], *, style: str | None) -> None:
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
        for heading, width in zip(_HEADINGS, self._widths, strict=True):
            table.add_column(
                width=width,
                justify="right" if heading in {"cost", "saved"} else "left",
                no_wrap=heading == "question",
                overflow="ellipsis",
            )
        table.add_row(*map(Text, cells), style=style)
        self._console.print(table)


def row(answer: Answer, cast: Cast) -> tuple[str, ...]:
    """One answer's row; text from models is not in it."""
    quality, routing = answer.result.quality, answer.result.routing
    if answer.draft is None:
        verdict = "no draft: out of time"
    elif quality.accepted is None:
        verdict = f"no draft: {routing.reason}"
    elif quality.accepted:
        verdict = f"accepted ({quality.score or 0:.2f})"
    else:
        verdict = f"rejected: {quality.reason}"
    model = cast.draft if routing.model_used == cast.draft.model.id else cast.verifier
    return (
        answer.question.prompt,
        verdict if len(verdict) <= _SHOWN_REASON else verdict[: _SHOWN_REASON - 1] + "…",
        model.shown,
        "yes" if answer.right else "no",
        usd(_dollars(answer.cost)),
        usd(_dollars(answer.saved)),
    )


def figures(answers: Sequence[Answer], cast: Cast, *, seconds: float) -> dict[str, Any]:
    """The demo's JSON object; `docs/cli.md` documents each key."""
    total = len(answers)
    cost = _sum(answer.cost for answer in answers)
    alone = _sum(answer.verifier_cost for answer in answers)
    saved = None if cost is None or not alone else 1 - cost / alone
    overheads = [answer.result.timing.overhead_ms for answer in answers]
    drafted = [answer for answer in answers if answer.draft is not None]
    accepted = [answer for answer in answers if answer.result.quality.accepted]
    return {
        "questions": total,
        "accuracy": _share(answers, lambda answer: answer.right),
        "cost": _dollars(cost),
        "cost_verifier_only": _dollars(alone),
        "saved": saved,
        "overhead_ms": {"p50": percentile(overheads, 50), "p99": percentile(overheads, 99)},
        "cost_draft_only": _dollars(_sum(answer.draft_cost for answer in answers)),
        "accuracy_draft_only": _share(drafted, lambda answer: answer.draft_right),
        "accuracy_verifier_only": _share(answers, lambda answer: answer.verifier_right),
        "drafted": len(drafted),
        "accepted": len(accepted),
        "accepted_wrong": sum(not answer.right for answer in accepted),
        "draft": _role(cast.draft),
        "verifier": _role(cast.verifier),
        "note": cast.note,
        "seconds": seconds,
        "answers": [_answer(answer) for answer in answers],
    }


def print_figures(values: dict[str, Any], cast: Cast, console: Console) -> None:
    """Prints the totals beside each model alone, the overhead, and what to try next."""
    from rich.table import Table  # noqa: PLC0415

    table = Table()
    table.add_column("policy")
    for heading in ("right", "total cost", "saved"):
        table.add_column(heading, justify="right")
    alone = values["cost_verifier_only"]
    draft_saved = None
    if values["cost_draft_only"] is not None and alone:
        draft_saved = 1 - values["cost_draft_only"] / alone
    rows = (
        (
            f"always cheap: {cast.draft.shown}",
            "accuracy_draft_only",
            "cost_draft_only",
            draft_saved,
        ),
        ("CascadeFlow, fast", "accuracy", "cost", values["saved"]),
        (
            f"always expensive: {cast.verifier.shown}",
            "accuracy_verifier_only",
            "cost_verifier_only",
            0.0 if alone else None,
        ),
    )
    for name, accuracy, cost, saved in rows:
        style = "bold" if accuracy == "accuracy" else None
        table.add_row(
            name, percent(values[accuracy]), usd(values[cost]), percent(saved), style=style
        )
    console.print(table)
    overhead = values["overhead_ms"]
    if values["drafted"] < values["questions"]:
        console.print(
            f"This machine is busy: after {values['drafted']} drafts the time was up, and the "
            "remaining questions went to the verifier at once. Always cheap is over the drafts.",
            style="yellow",
        )
    console.print(
        f"{values['accepted']} of {values['drafted']} drafts were accepted, "
        f"{values['accepted_wrong']} of them wrong: the rules of mode fast see a draft's form "
        "and its sums, not whether a fact is true."
    )
    console.print(
        f"CascadeFlow's own time above the transport: p50 {overhead['p50']:.2f} ms, p99 "
        f"{overhead['p99']:.2f} ms over {values['questions']} requests; "
        f"{values['seconds']:.0f} s in all."
    )
    console.print(
        "Each model alone is measured too: its answers to the same questions, outside the "
        "cascade's bill.",
        style="dim",
    )
    console.print("\nNext:")
    for command, purpose in _NEXT:
        console.print(f"  {command:<52} {purpose}", markup=False)


def percentile(values: Sequence[float], share: int) -> float:
    """The least of the values that `share` percent of them do not exceed (nearest rank).

    >>> percentile([4.0, 1.0, 3.0, 2.0], 50), percentile([4.0, 1.0, 3.0, 2.0], 99)
    (2.0, 4.0)
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]


def _answer(answer: Answer) -> dict[str, Any]:
    result = answer.result
    return {
        "id": answer.question.id,
        "domain": answer.question.domain,
        "question": answer.question.prompt,
        "accepted": result.quality.accepted,
        "score": result.quality.score,
        "reason": result.quality.reason,
        "model_used": result.routing.model_used,
        "content": result.content,
        "right": answer.right,
        "draft": answer.draft,
        "draft_right": answer.draft_right,
        "verifier_right": answer.verifier_right,
        "cost": _dollars(answer.cost),
        "cost_verifier_only": _dollars(answer.verifier_cost),
        "overhead_ms": result.timing.overhead_ms,
        "total_ms": result.timing.total_ms,
    }


def _role(role: Role) -> dict[str, Any]:
    return {
        "model": role.model.id,
        "simulated": role.simulated,
        "priced_as": role.priced_as,
        "error_rate": role.error_rate,
    }


def _share(answers: Sequence[Answer], holds: Callable[[Answer], bool]) -> float | None:
    return sum(map(holds, answers)) / len(answers) if answers else None


def _sum(costs: Iterable[int | None]) -> int | None:
    """Adds up costs; one that is unknown makes the sum unknown."""
    total = 0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total


def _dollars(nanodollars: int | None) -> float | None:
    return None if nanodollars is None else nanodollars / _NANODOLLARS
