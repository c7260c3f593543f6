"""Second opinions on a draft: another model's answer, more of the same one, a judge's grade.

They are asked for in this order, the cheapest first, and nobody is asked once the decision is
clear. What asking costs is held and booked by whoever hands in the `Adviser`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from cascadeflow import _native
from cascadeflow.quality.evidence import (
    AGREES,
    DISAGREES,
    TEXT_AT_MOST,
    agreement,
    graded,
    logit,
    probability,
)
from cascadeflow.quality.report import CheckReport
from cascadeflow.quality.rubric import grade, grading
from cascadeflow.quality.rules import judge_text
from cascadeflow.types import TextPart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cascadeflow.config import QualityConfig
    from cascadeflow.models.completion import Completion
    from cascadeflow.quality.calibration import Calibration
    from cascadeflow.types import ChatRequest, Message

__all__ = ["Adviser", "NotAskedError", "Opinions", "same_final_answer", "second_opinions"]

_SAMPLE_AGREES, _SAMPLE_DIFFERS = agreement(0.7, 0.6)
"""A sample of the same model repeats its mistakes more often than another model does."""

_SHORT: Final = 400
"""Characters: longer texts in the same words are read for their final answers and nothing else."""

_REJECTS: Final = 3
"""A grade of this or less is a failed check."""

_QUOTED: Final = 200
"""So many characters of the fault that a judge names are kept."""


def same_final_answer(one: str, other: str) -> bool | None:
    """Says whether two answers come to the same; `None` where one of them names no final answer.

    Short answers that are the same text agree, whatever form they have: letter case, white space
    and a full stop at the end apart, which count in code.

    >>> same_final_answer("The capital of Norway is Oslo.", "the capital of Norway is Oslo")
    True
    >>> same_final_answer("17 + 25 = 42", "It is 43.")
    False
    """
    said = _native.same_final_answer(one, other)
    if said is None and max(len(one), len(other)) <= _SHORT and _folded(one) == _folded(other):
        return _folded(one) != "" or None
    return said


def _folded(text: str) -> str:
    if "```" in text:
        return text.strip()
    # Of the marks at the end only the full stop: "n!" is not "n".
    return " ".join(text.casefold().split()).rstrip(" .")


class NotAskedError(Exception):
    """A second opinion that could not be had; the text says why, and never quotes the request."""


class Adviser(Protocol):
    """Asks models about one draft, within its request's money."""

    async def answer(self, wanted: bool | str) -> tuple[str, Completion]:  # noqa: FBT001 - as configured
        """Asks another model the same request; gives its id and its answer.

        Args:
            wanted: `True` for the cheapest of another family than the drafter's, or a model's name.

        Raises:
            NotAskedError: nobody could be asked, or did not answer.
        """

    async def sample(self, count: int, temperature: float) -> Sequence[Completion]:
        """Asks the drafter again, so many times at once; gives the answers that came.

        Raises:
            NotAskedError: none came.
        """

    async def judge(
        self,
        wanted: bool | str,  # noqa: FBT001 - as configured
        messages: tuple[Message, ...],
    ) -> tuple[str, Completion]:
        """Asks a model to grade; gives its id and what it said.

        Args:
            wanted: `True` for the planned verifier, or a model's name.
            messages: what it is asked.

        Raises:
            NotAskedError: it could not be asked, or did not answer.
        """


@dataclass(frozen=True, slots=True)
class Opinions:
    """What second opinions came to.

    Attributes:
        probability: that the draft is good enough, they included.
        checks: a report of each that was asked for or could not be.
        heard: whether anybody was heard who had something to say, or nobody needed to be.
    """

    probability: float
    checks: tuple[CheckReport, ...]
    heard: bool


async def second_opinions(
    text_probability: float,
    request: ChatRequest,
    completion: Completion,
    *,
    config: QualityConfig,
    adviser: Adviser,
    calibration: Calibration | None = None,
) -> Opinions:
    """Asks for second opinions until it is clear whether a draft is good enough.

    Args:
        text_probability: that it is, by its text alone; uncalibrated, it counts as `TEXT_AT_MOST`
            at most.
        request: what the drafter was asked.
        completion: what it answered.
        config: who is asked, and when it is clear.
        adviser: asks.
        calibration: says what a cross-check moves.
    """
    log_odds, crossed = logit(text_probability), (AGREES, DISAGREES)
    opposed = False  # whether another model came to something else
    if calibration is None:
        log_odds = min(log_odds, logit(TEXT_AT_MOST))
    else:
        crossed = (calibration.agrees, calibration.disagrees)
        config = _bounded(config, crossed)
    checks: list[CheckReport] = []
    heard = False
    for name, check in _line(request, completion, config, adviser, crossed):
        sure = probability(log_odds)
        # More of the drafter's cannot save what another model is against: see `moves` below.
        lost = name == "self_consistency" and opposed and not config.judge
        if _clear(sure, config) or (lost and sure < config.threshold):
            heard = True
            break
        began = perf_counter()
        try:
            found = await check()
        except NotAskedError as error:
            found = _Found("error", 0.0, str(error), None)
        if found.moves is not None:
            heard = True
            moves = found.moves
            if name == "self_consistency" and opposed:
                moves = min(moves, 0.0)  # that it says so again is no second witness
            elif name.startswith("cross_check"):
                opposed = opposed or found.verdict == "failed"
            log_odds += moves
        checks.append(
            CheckReport(
                name=name,
                verdict=found.verdict,
                score=found.score,
                reason=found.reason,
                quoted=found.quoted,
                ms=(perf_counter() - began) * 1000,
            )
        )
    sure = probability(log_odds)
    return Opinions(sure, tuple(checks), heard or _clear(sure, config))


def _bounded(config: QualityConfig, crossed: tuple[float, float]) -> QualityConfig:
    """Takes for clear what no opinion that may be asked for can change, however it comes out."""
    best = worst = 0.0
    for _ in config.cross_checks:
        best, worst = best + crossed[0], worst + crossed[1]
    best += config.samples * _SAMPLE_AGREES + (graded(5) if config.judge else 0.0)
    worst += config.samples * _SAMPLE_DIFFERS + (graded(1) if config.judge else 0.0)
    border = logit(config.threshold)
    return replace(
        config, clear_above=probability(border - worst), clear_below=probability(border - best)
    )


def _clear(sure: float, config: QualityConfig) -> bool:
    """Whether it is clear on which side of the threshold a draft is, wherever that lies."""
    return sure >= max(config.clear_above, config.threshold) or sure < min(
        config.clear_below, config.threshold
    )


class _Found(NamedTuple):
    """What one second opinion found.

    Attributes:
        verdict: as in `CheckReport`.
        score: likewise.
        reason: likewise.
        moves: what it adds to the log-odds; `None` where it has nothing to say.
        quoted: as in `CheckReport`.
    """

    verdict: Literal["passed", "failed", "not_applicable", "error"]
    score: float
    reason: str
    moves: float | None
    quoted: str = ""


def _line(
    request: ChatRequest,
    completion: Completion,
    config: QualityConfig,
    adviser: Adviser,
    crossed: tuple[float, float],
) -> list[tuple[str, Callable[[], Awaitable[_Found]]]]:
    """Who may be asked, the cheapest first."""
    line: list[tuple[str, Callable[[], Awaitable[_Found]]]] = []
    for at, wanted in enumerate(config.cross_checks, 1):
        name = "cross_check" if at == 1 else f"cross_check_{at}"
        asked = partial(_cross_check, request, completion, wanted, adviser, crossed)
        line.append((name, asked))
    if config.samples:
        line.append(("self_consistency", lambda: _samples(request, completion, config, adviser)))
    if config.judge:
        line.append(("judge", lambda: _judge(request, completion, config, adviser)))
    return line


async def _cross_check(
    request: ChatRequest,
    completion: Completion,
    wanted: bool | str,  # noqa: FBT001 - as configured
    adviser: Adviser,
    crossed: tuple[float, float],
) -> _Found:
    who, other = await adviser.answer(wanted)
    if not _answers(request, other):
        raise NotAskedError(f"{who} gave no whole answer")
    same = same_final_answer(completion.text, other.text)
    if same is None:
        return _Found("not_applicable", 1.0, f"no final answer to compare with {who}'s", None)
    if same:
        return _Found("passed", 1.0, "", crossed[0])
    return _Found("failed", 0.0, f"{who} comes to another answer", crossed[1])


async def _samples(
    request: ChatRequest, completion: Completion, config: QualityConfig, adviser: Adviser
) -> _Found:
    answers = await adviser.sample(config.samples, config.sample_temperature)
    compared = [
        same_final_answer(completion.text, each.text) for each in answers if _answers(request, each)
    ]
    said = [same for same in compared if same is not None]
    if not said:
        return _Found("not_applicable", 1.0, "no final answers to compare", None)
    agreeing = sum(said)
    share = agreeing / len(said)
    moves = agreeing * _SAMPLE_AGREES + (len(said) - agreeing) * _SAMPLE_DIFFERS
    if 2 * agreeing >= len(said):
        return _Found("passed", share, "", moves)
    return _Found("failed", share, f"{agreeing} of {len(said)} samples agree with it", moves)


def _answers(request: ChatRequest, other: Completion) -> bool:
    """Whether it answers at all: who declined, or was cut off, does not disagree."""
    return not judge_text(
        request.last_user_text,
        other.text,
        finish_reason=other.finish_reason,
        refusal=other.refusal,
        calls_tools=bool(other.tool_calls),
        has_reasoning=bool(other.reasoning),
    ).rejected


async def _judge(
    request: ChatRequest, completion: Completion, config: QualityConfig, adviser: Adviser
) -> _Found:
    if not all(map(_is_text, request.messages)):
        raise NotAskedError("a judge is shown text only, and the request has more")
    who, said = await adviser.judge(
        config.judge, grading(request.messages, completion.text, config.rubric)
    )
    if said.finish_reason == "length":
        raise NotAskedError(f"{who} was cut off before its grade")
    found = grade(said.text)
    if found is None:
        raise NotAskedError(f"{who} gave no grade")
    given, fault = found
    score = (given - 1) / 4
    if given > _REJECTS:
        return _Found("passed", score, "", graded(given), fault[:_QUOTED])
    return _Found("failed", score, f"{who} gives it {given} of 5", graded(given), fault[:_QUOTED])


def _is_text(message: Message) -> bool:
    return isinstance(message.content, str) or all(
        isinstance(part, TextPart) for part in message.content
    )
