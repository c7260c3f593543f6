"""One task of a file: which of its sets and which measure it is held to; its figures in short."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from cascadeflow.cli.quality.figures import Figures, Pairs
from cascadeflow.cli.quality.scoring import DECISION
from cascadeflow.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cascadeflow.cli.quality.cases import CaseSet, Kind
    from cascadeflow.cli.quality.report import SetReport

__all__ = ["Task", "in_short", "mode_of", "of_task", "only"]

Task = Literal["relevance", "toxicity", "grounding", "correctness"]
"""What a file's labels are taken to speak of."""

_Mode = Literal["fast", "balanced"]


class _Held(NamedTuple):
    """What a task is held to.

    Attributes:
        measure: the check, or the whole probability.
        kinds: the kinds of sets that it fits, as they are read.
        planted: how the planted set's name ends that it fits, where no other does.
        texts: what a file needs, in words.
    """

    measure: str
    kinds: tuple[Kind, ...]
    planted: str | None
    texts: str


_TASKS: Final[Mapping[Task, _Held]] = {
    "correctness": _Held(DECISION, ("answers", "pairs"), None, "answers of which each is labelled"),
    "relevance": _Held(
        "relevance", ("pairs", "answers"), "another's answer", "pairs, or labelled answers"
    ),
    "grounding": _Held("grounding", ("grounding",), None, "texts beside the documents given"),
    "toxicity": _Held("toxicity", ("toxicity",), None, "texts that are marked as toxic or not"),
}


def mode_of(task: Task | None, mode: _Mode | None) -> _Mode:
    """The mode that is run: the one given, or the least that can do the task.

    Raises:
        InvalidRequestError: the one given cannot.
    """
    if task in (None, "correctness"):
        return mode or "fast"
    if mode == "fast":
        raise InvalidRequestError(
            f"mode fast has no check of {task}: leave --mode out, or give --mode balanced"
        )
    return "balanced"


def of_task(task: Task, sets: Sequence[CaseSet]) -> list[CaseSet]:
    """Gives the sets of one file that a task fits.

    Labels of recorded answers say whether they are right, and nothing of relevance: there the
    answers are set beside those to other questions.

    Raises:
        InvalidRequestError: there is none.
    """
    held = _TASKS[task]
    fitting = [each for each in sets if each.kind in held.kinds and not each.planted]
    if held.planted is not None:
        fitting = [each for each in fitting if not each.models] or [
            each for each in sets if each.planted and each.name.endswith(held.planted)
        ]
    if not fitting:
        there = ", ".join(dict.fromkeys(each.kind for each in sets))
        raise InvalidRequestError(
            f"--task {task} needs {held.texts}, and the file has {there}: leave --task out to see "
            "all that it tells"
        )
    return fitting


def only(task: Task, report: SetReport) -> SetReport:
    """Gives a set's report with the task's measure alone."""
    measure = _TASKS[task].measure
    kept = {name: each for name, each in report.measures.items() if name == measure}
    return replace(report, measures=kept)


def in_short(task: Task, reports: Sequence[SetReport]) -> dict[str, Any]:
    """Gives `n, auc, auprc, f1, accuracy, by_slice` of the task's first set.

    `auprc` and `f1` are of finding the faulty. Of pairs, `auc` and `accuracy` are both the share in
    order. What the rows do not tell is null.
    """
    measure = reports[0].measures.get(_TASKS[task].measure)
    if measure is None or measure.found is None:
        return {"task": task, "n": 0, **dict.fromkeys(("auc", "auprc", "f1", "accuracy"))} | {
            "by_slice": {}
        }
    return {
        "task": task,
        **_figures(measure.found),
        "by_slice": {name: _figures(each) for name, each in measure.parts.items()},
    }


def _figures(found: Figures | Pairs) -> dict[str, Any]:
    if isinstance(found, Pairs):
        return {
            "n": found.n, "auc": found.share, "auprc": None, "f1": None, "accuracy": found.share
        }  # fmt: skip
    return {
        "n": found.n,
        "auc": found.auc,
        "auprc": found.auprc,
        "f1": found.f1,
        "accuracy": found.accuracy,
    }
