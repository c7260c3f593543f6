"""Who judges a draft: the promise, and the built-in judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from cascadeflow.quality.calibration import settled
from cascadeflow.quality.opinions import Opinions, second_opinions
from cascadeflow.quality.report import CheckReport, QualityReport
from cascadeflow.quality.rules import REJECTED, TextJudgement, judge_text
from cascadeflow.quality.tool_calls import judge_tool_calls

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cascadeflow.config import QualityConfig, QualityMode
    from cascadeflow.models.completion import Completion
    from cascadeflow.quality.calibration import Calibration
    from cascadeflow.quality.opinions import Adviser
    from cascadeflow.types import ChatRequest

__all__ = ["CascadeValidator", "RuleValidator", "Validator"]


class Validator(Protocol):
    """Judges drafts; pass one of your own as `CascadeAgent(validator=…)`.

    A validator that raises accepts nothing: the pipeline reports the failure as a failed check
    named `validator`, and the verifier is asked. It never counts as a pass.
    """

    def judge(
        self, request: ChatRequest, completion: Completion, *, config: QualityConfig
    ) -> QualityReport | Awaitable[QualityReport]:
        """Judges whether a completion is good enough for the request, at once or as a coroutine.

        Args:
            request: what the drafting model was asked.
            completion: what it answered.
            config: the mode, and the threshold that `score` must reach to be accepted.

        Returns:
            The report; its `accepted` decides.
        """


class RuleValidator:
    """Judges by text rules alone, in microseconds, whatever the mode; holds no state.

    >>> import asyncio
    >>> from cascadeflow.config import QualityConfig
    >>> from cascadeflow.models.completion import Completion
    >>> from cascadeflow.types import ChatRequest, Message
    >>> request = ChatRequest("a-model", (Message("user", "What is the capital of France?"),))
    >>> draft = Completion(text="I'm sorry, but I can't help with that.", finish_reason="stop")
    >>> asyncio.run(RuleValidator().judge(request, draft, config=QualityConfig())).accepted
    False
    """

    __slots__ = ()

    async def judge(
        self, request: ChatRequest, completion: Completion, *, config: QualityConfig
    ) -> QualityReport:
        """Judges by the rules of `cascadeflow.quality.rules`, and checks tool calls.

        Calls that cannot be made and JSON that does not fit what was asked for are rejected
        whatever the threshold.
        """
        config, calibration = settled(config) if config.mode == "fast" else (config, None)
        return _report(_read(request, completion, calibration), config, mode="fast")


class CascadeValidator:
    """The built-in judge: text rules, and in mode `strict` second opinions by models."""

    __slots__ = ()

    async def judge(
        self, request: ChatRequest, completion: Completion, *, config: QualityConfig
    ) -> QualityReport:
        """Judges by text alone, where nobody can be asked; mode `strict` then accepts nothing."""
        return await self.judge_with(request, completion, config=config, adviser=None)

    async def judge_with(
        self,
        request: ChatRequest,
        completion: Completion,
        *,
        config: QualityConfig,
        adviser: Adviser | None,
    ) -> QualityReport:
        """Judges whether a completion is good enough for the request.

        Args:
            request: what the drafting model was asked.
            completion: what it answered.
            config: the mode, and the threshold.
            adviser: asks models for second opinions; `None` where nobody can be asked.
        """
        config, calibration = settled(config)
        text = _read(request, completion, calibration)
        if config.mode == "fast" or text.unfit or text.judgement.rejected:
            return _report(text, config, mode=config.mode)
        if completion.tool_calls:
            # Two models that call a tool differently may both be right; the call itself is checked.
            return _report(text, config, mode=config.mode)
        if adviser is None:
            missing = CheckReport(
                name="opinions", verdict="error", score=0.0, reason="nobody can be asked here"
            )
            return _report(
                text, config, mode=config.mode, opinions=Opinions(0.0, (missing,), heard=False)
            )
        opinions = await second_opinions(
            text.judgement.probability,
            request,
            completion,
            config=config,
            adviser=adviser,
            calibration=calibration,
        )
        return _report(text, config, mode=config.mode, opinions=opinions)


class _Read(NamedTuple):
    """What the text says.

    Attributes:
        judgement: what the rules make of it.
        checks: theirs, and that of the tool calls.
        unfit: whether a program that reads the answer could not.
    """

    judgement: TextJudgement
    checks: tuple[CheckReport, ...]
    unfit: bool


def _read(request: ChatRequest, completion: Completion, calibration: Calibration | None) -> _Read:
    text = judge_text(
        request.last_user_text,
        completion.text,
        instructions="\n".join(
            message.text for message in request.messages if message.role in ("system", "developer")
        ),
        finish_reason=completion.finish_reason,
        refusal=completion.refusal,
        response_format=request.response_format,
        calls_tools=bool(completion.tool_calls),
        has_reasoning=bool(completion.reasoning),
    )
    if calibration is not None:
        text = calibration.judged(text)
    tool_calls = judge_tool_calls(
        completion.tool_calls, request.tools, required=request.tool_choice
    )
    # What a program is to read must be readable: no threshold makes up for that.
    unfit = tool_calls.verdict == "failed" or (
        request.response_format is not None
        and any(check.name == "format" and check.verdict == "failed" for check in text.checks)
    )
    return _Read(text, (*text.checks, tool_calls), unfit)


def _report(
    text: _Read, config: QualityConfig, *, mode: QualityMode, opinions: Opinions | None = None
) -> QualityReport:
    score, checks = text.judgement.probability, text.checks
    heard = True
    if opinions is not None:
        score, checks = opinions.probability, (*checks, *opinions.checks)
        heard = opinions.heard
    if text.unfit:
        score = min(score, REJECTED)
    reaches = score >= config.threshold
    accepted = reaches and heard and not text.unfit
    why = [f"{check.name}: {check.reason}" for check in checks if check.verdict == "failed"]
    if opinions is not None and not heard:
        why += [f"{each.name}: {each.reason}" for each in opinions.checks]
    if not why and not accepted:
        why = list(text.judgement.doubts())
    sides = f"{score:.2f} {'reaches' if reaches else 'is below'} {config.threshold:.2f}"
    if reaches and not accepted:
        sides = "no threshold makes up for that" if heard else "no second opinion could be had"
    return QualityReport(
        mode=mode,
        score=score,
        threshold=config.threshold,
        accepted=accepted,
        reason=f"{'; '.join(why) or 'no check failed'}; {sides}",
        checks=checks,
    )
