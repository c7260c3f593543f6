"""Judging a draft: the promise, and the validator that every agent has unless it is given another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from cascadeflow.quality.report import CheckReport, QualityReport
from cascadeflow.quality.rules import judge_text

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cascadeflow.config import QualityConfig
    from cascadeflow.models.completion import Completion
    from cascadeflow.types import ChatRequest

__all__ = ["RuleValidator", "Validator"]


class Validator(Protocol):
    """Says whether a draft is good enough.

    A validator that raises accepts nothing: the pipeline counts the draft as rejected, and the
    result shows a failed check that names the exception.
    """

    def judge(
        self, request: ChatRequest, completion: Completion, *, config: QualityConfig
    ) -> QualityReport | Awaitable[QualityReport]:
        """Judges a draft, at once or, when it must wait for something, as a coroutine.

        Args:
            request: what the drafting model was sent.
            completion: what it answered.
            config: which checks to run and the threshold to hold the score against.

        Returns:
            The report; `accepted` is the decision.
        """


class RuleValidator:
    """The text rules: always on, no model, no network."""

    __slots__ = ()

    def judge(
        self, request: ChatRequest, completion: Completion, *, config: QualityConfig
    ) -> QualityReport:
        """Judges a draft by its text and its tool calls."""
        found = judge_text(request, completion)
        checks = (*found.checks, _tool_calls(request, completion))
        failed = [check for check in checks if check.verdict == "failed"]
        rejected = found.rejected or checks[-1].verdict == "failed"
        score = min(found.probability, checks[-1].score) if rejected else found.probability
        accepted = not rejected and score >= config.threshold
        return QualityReport(
            mode=config.mode,
            score=score,
            threshold=config.threshold,
            accepted=accepted,
            reason=_reason(accepted, score, config.threshold, failed),
            checks=checks,
        )


def _reason(accepted: bool, score: float, threshold: float, failed: list[CheckReport]) -> str:  # noqa: FBT001
    if accepted:
        return f"score {score:.2f} reaches the threshold {threshold:.2f}"
    why = "; ".join(f"{check.name}: {check.reason}" for check in failed)
    below = f"score {score:.2f} is under the threshold {threshold:.2f}"
    return f"{why} ({below})" if why else below


def _tool_calls(request: ChatRequest, completion: Completion) -> CheckReport:
    """Whether each call names a tool that was offered, with a JSON object for its arguments."""
    if not completion.tool_calls:
        missing = request.tools and (
            request.tool_choice == "required"
            or request.tool_choice in {tool.name for tool in request.tools}
        )
        if missing:
            return _failed("a tool call was required and none was made")
        return CheckReport(name="tool_calls", verdict="not_applicable", score=1.0)
    offered = {tool.name for tool in request.tools}
    for call in completion.tool_calls:
        if call.name not in offered:
            return _failed(f"{call.name!r} was called, which is not one of the tools")
        try:
            arguments = json.loads(call.arguments or "{}")
        except ValueError:
            return _failed(f"the arguments of {call.name} are not JSON")
        if not isinstance(arguments, dict):
            return _failed(f"the arguments of {call.name} are not a JSON object")
    return CheckReport(name="tool_calls", verdict="passed", score=1.0)


def _failed(reason: str) -> CheckReport:
    return CheckReport(name="tool_calls", verdict="failed", score=0.0, reason=reason)
