"""The text rules, which are Rust: from a request and its answer to checks and one probability."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cascadeflow._native import judge_answer
from cascadeflow.quality.report import CheckReport

if TYPE_CHECKING:
    from cascadeflow.models.completion import Completion
    from cascadeflow.types import ChatRequest

__all__ = ["Judgement", "judge_text"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the text rules found.

    Attributes:
        probability: that the answer is good enough, 0 to 1.
        rejected: whether one check rejects it whatever the others say.
        checks: each check, always the same ones in the same order.
    """

    probability: float
    rejected: bool
    checks: tuple[CheckReport, ...]


def judge_text(request: ChatRequest, completion: Completion) -> Judgement:
    """Judges an answer by its text, in well under a millisecond."""
    form = request.response_format
    instructions = "\n".join(
        message.text for message in request.messages if message.role in {"system", "developer"}
    )
    probability, rejected, checks, _ = judge_answer(
        request.last_user_text,
        completion.text,
        instructions=instructions,
        finish_reason=completion.finish_reason,
        refusal=completion.refusal,
        response_format=form.kind if form else None,
        schema=json.dumps(form.schema, default=_plain) if form and form.schema else None,
        calls_tools=bool(completion.tool_calls),
        has_reasoning=bool(completion.reasoning),
    )
    reports = tuple(CheckReport(name=n, verdict=v, score=s, reason=r) for n, v, s, r in checks)
    return Judgement(probability, rejected, reports)


def _plain(value: Any) -> Any:
    """A schema that was frozen (mapping proxies, tuples) as JSON knows it."""
    return dict(value) if hasattr(value, "keys") else list(value)
