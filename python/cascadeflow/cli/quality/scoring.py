"""Judges cases as drafts are judged, and sorts what was said of them."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Final

from cascadeflow.cli.quality.cases import Case, asked
from cascadeflow.cli.quality.figures import Scored
from cascadeflow.config import TEXT_CHECKS
from cascadeflow.models.completion import Completion
from cascadeflow.types import ChatRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cascadeflow.cli.quality.cases import CaseSet, Kind
    from cascadeflow.config import QualityConfig
    from cascadeflow.quality.report import QualityReport
    from cascadeflow.quality.validator import Validator

__all__ = ["DECISION", "Judged", "Measured", "configured", "judge_all", "measured"]

DECISION: Final = "decision"
"""The measure that is the judge's whole probability; the others are single checks."""

_CHECKS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "answers": (DECISION, "relevance"),
    "pairs": (DECISION, "relevance"),
    "grounding": (DECISION, "grounding"),
    "toxicity": ("toxicity",),
}
"""What each kind of label can be held to."""

_WARM_UP: Final = Case(
    key="",
    part="",
    messages=asked("Which town is it?", ["Paris is the capital of France, on the river Seine."]),
    answer="It is Paris, the capital of France.",
    good=True,
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judge said of a case, and how long it took, milliseconds."""

    report: QualityReport
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A set's texts by one measure.

    Attributes:
        rows: what could be scored; of pairs those of which both could.
        errors: texts that the check could not be run on; none of them is in `rows`.
        not_run: texts that something else had rejected before; none of them is in `rows`.
        not_applicable: texts in `rows` that the check has nothing to say of.
    """

    rows: tuple[Scored, ...]
    errors: int = 0
    not_run: int = 0
    not_applicable: int = 0


async def judge_all(
    sets: Iterable[CaseSet],
    validator: Validator,
    config: QualityConfig,
    *,
    jobs: int = 1,
    on_progress: Callable[[int], None] = lambda _: None,
) -> dict[Case, Judged]:
    """Judges every case once, whatever sets it is in.

    Args:
        sets: the cases.
        validator: who judges.
        config: the mode, and the thresholds. A text whose toxicity alone is known is no answer:
            nothing else of it is judged.
        jobs: how many are judged at once; with more than one, times have others' work in them.
        on_progress: called with how many are done.
    """
    cases = configured(sets, config)
    for each in set(cases.values()):
        await _judge(_WARM_UP, validator, each)  # opens what it needs: no case's time has it in it
    waiting = iter(cases.items())
    found: dict[Case, Judged] = {}

    async def work() -> None:
        for case, how in waiting:
            began = perf_counter()
            report = await _judge(case, validator, how)
            found[case] = Judged(report, (perf_counter() - began) * 1e3)
            on_progress(len(found))

    await asyncio.gather(*(work() for _ in range(min(jobs, len(cases)))))
    return found


def configured(sets: Iterable[CaseSet], config: QualityConfig) -> dict[Case, QualityConfig]:
    """Gives every case that can be judged, once, with what it is judged by."""
    toxicity = replace(config, without=(*TEXT_CHECKS, "relevance", "grounding"))
    by_kind = dict.fromkeys(_CHECKS, config) | {"toxicity": toxicity}
    return {
        case: by_kind[each.kind]
        for each in sets
        if each.kind != "toxicity" or toxicity.local_checks
        for case in each.cases
    }


def measured(cases: CaseSet, judged: Mapping[Case, Judged]) -> dict[str, Measured]:
    """Gives a set's texts by each measure that its labels can be held to, if it was taken at all.

    A check that nothing was found by, on any text, was not part of the mode or has nothing to say
    of such texts: it is left out, unless it could not be run.
    """
    found: dict[str, Measured] = {}
    if any(case not in judged for case in cases.cases):
        return found
    for name in _CHECKS[cases.kind]:
        taken = _decided(cases, judged) if name == DECISION else _checked(cases, judged, name)
        if taken.errors or taken.not_applicable < len(taken.rows):
            found[name] = taken
    return found


async def _judge(case: Case, validator: Validator, config: QualityConfig) -> QualityReport:
    said = validator.judge(
        ChatRequest("labelled", case.messages),
        Completion(text=case.answer, finish_reason=case.finish_reason),
        config=config,
    )
    return await said if inspect.isawaitable(said) else said


def _decided(cases: CaseSet, judged: Mapping[Case, Judged]) -> Measured:
    rows = []
    for case in cases.cases:
        report = judged[case].report
        rows.append(
            Scored(case.key, case.part, case.good, report.score or 0.0, report.accepted is True)
        )
    return Measured(rows=tuple(rows))


def _checked(cases: CaseSet, judged: Mapping[Case, Judged], name: str) -> Measured:
    rows: list[Scored | None] = []
    counts: Counter[str] = Counter()
    for case in cases.cases:
        checks = judged[case].report.checks
        check = next((each for each in checks if each.name == name), None)
        counts["not run" if check is None else check.verdict] += 1
        if check is None or check.verdict == "error":
            rows.append(None)
        else:
            passed = check.verdict != "failed"
            rows.append(Scored(case.key, case.part, case.good, check.score, passed))
    if cases.kind == "pairs":
        both = zip(rows[::2], rows[1::2], strict=True)
        rows = [row for pair in both if None not in pair for row in pair]
    return Measured(
        rows=tuple(row for row in rows if row is not None),
        errors=counts["error"],
        not_run=counts["not run"],
        not_applicable=counts["not_applicable"],
    )
