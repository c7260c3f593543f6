"""Judges a draft, whatever the validator does: what cannot be judged is not accepted."""

from __future__ import annotations

import logging
from asyncio import timeout
from dataclasses import replace
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.config import QualityConfig
from cascadeflow.errors import ProviderTimeoutError
from cascadeflow.pipeline import events
from cascadeflow.pipeline.late import loggable
from cascadeflow.pipeline.turns import read_answer
from cascadeflow.quality.report import CheckReport, QualityReport
from cascadeflow.quality.rules import REJECTED
from cascadeflow.quality.validator import CascadeValidator, takes_a_while
from cascadeflow.types import GENERAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cascadeflow.models.completion import Completion
    from cascadeflow.pipeline.cascade import Ask
    from cascadeflow.pipeline.decide import Drafting
    from cascadeflow.pipeline.run import Run
    from cascadeflow.pipeline.settle import Call
    from cascadeflow.structured import OutputSchema

__all__ = ["asks_models", "heard_before", "judge", "learns"]

_logger: Final = logging.getLogger(__name__)


_ANSWERS: Final = QualityConfig.fast(threshold=2 * REJECTED)
"""By this a text is rejected for what no other virtue makes up for, or for so many lesser faults
together that it is as unlikely to be an answer."""

_READER: Final = CascadeValidator()
"""Says that of any answer: a validator of the user's own is made to judge drafts."""


async def judge(run: Run, draft: Call) -> QualityReport:
    """Judges a draft. A validator that fails, or is out of time, accepts nothing."""
    clock = run.engine.clock.monotonic
    began = clock()
    config = run.quality
    try:
        judged: object = _judged(run, draft)
        if not isinstance(judged, QualityReport) and isawaitable(judged):
            async with timeout(run.left()):
                judged = await judged
        report = _checked(judged)
        crashed = False
    except Exception as error:  # noqa: BLE001 - whatever a user's validator raises: escalate
        _logger.warning("the validator raised %s: the draft counts as rejected", loggable(error))
        _break_off(run, error)
        crashed = True
        reason = f"the validator raised {type(error).__name__}: {str(error)[:200]}"
        report = QualityReport(
            mode=config.mode,
            threshold=config.threshold,
            accepted=False,
            reason=reason,
            checks=(CheckReport(name="validator", verdict="failed", score=0.0, reason=reason),),
        )
    if run.schema is not None and report.accepted is True:
        report = _read_as(run.schema, draft.reply.completion, report)
    learn = _lesson(run, draft)
    run.late = None
    if report.accepted is True and _waits(run):
        run.late = run.engine.late.begin(run, draft, report, _in_full(run, draft), learn)
    elif report.accepted is not None and not crashed:
        learn(report.accepted)
    run.validation_ms = (run.validation_ms or 0.0) + (clock() - began) * 1000
    if run.heard:
        run.tell(
            events.DraftJudged(request_id=run.request_id, model=draft.model.id, quality=report)
        )
    return report


def _judged(run: Run, draft: Call) -> object:
    """What the validator makes of it, or a coroutine that gives that."""
    validator, config = run.engine.validator, run.quality
    completion = draft.reply.completion
    if not isinstance(validator, CascadeValidator):
        return validator.judge(draft.request, completion, config=config)
    if config.mode == "fast" or _waits(run):
        if takes_a_while(draft.request, completion):
            return validator.judge_text_aside(draft.request, completion, config=config)
        return validator.judge_text(draft.request, completion, config=config)
    if not asks_models(run):
        return _in_full(run, draft)()
    from cascadeflow.pipeline.opinions import RequestAdviser  # noqa: PLC0415 - off costs nothing

    return validator.judge_with(
        draft.request,
        completion,
        config=config,
        adviser=RequestAdviser(run, draft),
        vectors=run.vectors,
    )


def _in_full(run: Run, draft: Call) -> Callable[[], Awaitable[QualityReport]]:
    """Judges a draft by all that needs no other model."""
    validator, config, vectors = run.engine.validator, run.quality, run.vectors
    assert isinstance(validator, CascadeValidator)  # noqa: S101 - for mypy: whose callers look
    request, completion = draft.request, draft.reply.completion
    return lambda: validator.judge_with(
        request, completion, config=config, adviser=None, vectors=vectors
    )


def _waits(run: Run) -> bool:
    """Whether all but the text is judged after the answer."""
    config = run.quality
    return bool(
        config.async_validation
        and config.local_checks
        and isinstance(run.engine.validator, CascadeValidator)
    )


def _lesson(run: Run, draft: Call) -> Callable[[bool], None]:
    """Takes a verdict for the router, if it learns of this request."""
    drafting = run.engine.drafting
    if drafting is None or not learns(run):
        return lambda _: None
    return partial(
        _taught,
        drafting,
        domain=run.domain or GENERAL,
        level=run.plan.complexity,
        model=draft.model.id,
        elsewhere=run.quality == run.engine.quality,
    )


def _taught(drafting: Drafting, accepted: bool, **about: Any) -> None:  # noqa: FBT001 - a verdict
    drafting.judged(accepted=accepted, **about)


async def heard_before(run: Run, command: Ask) -> Call | None:
    """Gives what a verifier has answered already, when it was asked the very same as a cross-check.

    It is asked anew if anything would be put to it in other words or with other settings, and if
    its answer was none: it declined, was cut off, or wrote what cannot be read as what was asked.
    """
    if command.role != "verifier" or not asks_models(run):
        return None
    for call in run.calls:
        if call.role != "cross_check" or call.model != command.model:
            continue
        wanted = replace(run.chat_for(command.model), stream=False)
        if call.request != wanted:
            continue
        completion = call.reply.completion
        report = await _READER.judge_text_aside(wanted, completion, config=_ANSWERS)
        if run.schema is not None and report.accepted is True:
            report = _read_as(run.schema, completion, report)
        if report.accepted is True:
            return call
    return None


def asks_models(run: Run) -> bool:
    """Whether models are asked for second opinions on its draft; a user's validator asks nobody."""
    return run.quality.mode == "strict" and isinstance(run.engine.validator, CascadeValidator)


def _break_off(run: Run, error: Exception) -> None:
    """Books the second opinions that were under way when time ran out."""
    for asking in run.open[:-1]:
        asking.ahead_ms = 0.0  # side by side they were waited for once
    for asking in list(run.open):
        model = asking.command.model
        broken = ProviderTimeoutError(
            f"{model.id}: the request's time was up, and this call was cancelled",
            provider=model.provider,
            model=model.name,
            billed=None if asking.sent else False,
        )
        broken.__cause__ = error
        run.failed(asking, broken)


def learns(run: Run) -> bool:
    """Whether drafts are judged here as they are elsewhere: what is learned holds for all."""
    tier = None if run.member is None else run.member.tier
    return run.asked_quality is None and (tier is None or tier.quality is None)


def _checked(report: object) -> QualityReport:
    """A user's validator may give anything."""
    if not isinstance(report, QualityReport):
        raise TypeError(f"judge gave a {type(report).__name__}, not a QualityReport")
    return report


def _read_as(schema: OutputSchema, answer: Completion, report: QualityReport) -> QualityReport:
    """Rejects a draft that cannot be read as what the caller asked for."""
    problem = read_answer(schema, answer.text, answer.tool_calls).problem
    if problem is None:
        return report
    reason = f"the answer is no {schema.format.name}: {problem}"
    check = CheckReport(name="structured_output", verdict="failed", score=0.0, reason=reason)
    return replace(report, accepted=False, reason=reason, checks=(*report.checks, check))
