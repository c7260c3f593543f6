"""Who judges a draft: the promise, and the built-in judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cascadeflow.quality.report import QualityReport
from cascadeflow.quality.rules import REJECTED, TextJudgement, judge_text
from cascadeflow.quality.tool_calls import judge_tool_calls

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cascadeflow.config import QualityConfig
    from cascadeflow.models.completion import Completion
    from cascadeflow.quality.report import CheckReport
    from cascadeflow.types import ChatRequest

__all__ = ["RuleValidator", "Validator"]


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
    """Judges by text rules alone, in microseconds; holds no state.

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
        text = judge_text(
            request.last_user_text,
            completion.text,
            instructions="\n".join(
                message.text
                for message in request.messages
                if message.role in ("system", "developer")
            ),
            finish_reason=completion.finish_reason,
            refusal=completion.refusal,
            response_format=request.response_format,
            calls_tools=bool(completion.tool_calls),
            has_reasoning=bool(completion.reasoning),
        )
        tool_calls = judge_tool_calls(
            completion.tool_calls, request.tools, required=request.tool_choice
        )
        score = text.probability
        # What a program is to read must be readable: no threshold makes up for that.
        unfit = tool_calls.verdict == "failed" or (
            request.response_format is not None
            and any(check.name == "format" and check.verdict == "failed" for check in text.checks)
        )
        if unfit:
            score = min(score, REJECTED)
        accepted = score >= config.threshold and not unfit
        checks = (*text.checks, tool_calls)
        return QualityReport(
            mode=config.mode,
            score=score,
            threshold=config.threshold,
            accepted=accepted,
            reason=_in_words(text, checks, score, config.threshold, accepted=accepted),
            checks=checks,
        )


def _in_words(
    text: TextJudgement,
    checks: tuple[CheckReport, ...],
    score: float,
    threshold: float,
    *,
    accepted: bool,
) -> str:
    """The decision in words: what failed, or what made the probability what it is."""
    reaches = score >= threshold
    sides = f"{score:.2f} {'reaches' if reaches else 'is below'} {threshold:.2f}"
    if reaches and not accepted:
        sides = "no threshold makes up for that"
    why = [f"{check.name}: {check.reason}" for check in checks if check.verdict == "failed"]
    if not why and not accepted:
        why = list(text.doubts())
    return f"{'; '.join(why) or 'no check failed'}; {sides}"
