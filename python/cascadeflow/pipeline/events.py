"""What happens to a request, as it happens. Telemetry listens; the pipeline does not know who does.

`agent.stream()` yields these; `CascadeAgent(on_event=…)` hands each to a callback. The names and
fields are stable: a field may be added, none is taken away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.models.completer import Attempt
    from cascadeflow.models.completion import Completion
    from cascadeflow.models.usage import Usage
    from cascadeflow.pipeline.result import CascadeResult
    from cascadeflow.quality.report import QualityReport
    from cascadeflow.tools import ToolOutcome
    from cascadeflow.types import ToolCall

__all__ = [
    "AnswerReplaced",
    "BudgetWarned",
    "CallFailed",
    "CallFinished",
    "CallStarted",
    "DraftJudged",
    "Event",
    "RequestCompleted",
    "RequestFailed",
    "RequestQueued",
    "RequestStarted",
    "Routed",
    "StepStarted",
    "TextChunk",
    "ToolCallChunk",
    "ToolFinished",
    "ToolStarted",
    "UsageReported",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStarted:
    """A request was taken on."""

    request_id: str
    user_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestQueued:
    """A request waits for its turn: its tier, and the limit that it waits for."""

    request_id: str
    tier: str
    limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """A plan was made: which route, which models, why.

    `headers` are the `X-RateLimit-*` values as the request was let in: a stream's response may be
    begun with them.
    """

    request_id: str
    route: str
    reason: str
    complexity: str
    draft_model: str | None
    verifier_model: str | None
    headers: Mapping[str, str] = EMPTY
    domain: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted:
    """A model is being asked.

    `role` is `draft`, `verifier`, `direct`, `classifier`, `cross_check`, `sample` or `judge`.
    """

    request_id: str
    model: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished:
    """A model answered. `cost` is in nanodollars, `None` when unknown."""

    request_id: str
    model: str
    role: str
    completion: Completion
    attempts: tuple[Attempt, ...]
    duration_ms: float
    cost: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed:
    """A model did not answer; the next in line is tried, if there is one."""

    request_id: str
    model: str
    role: str
    error: Exception
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftJudged:
    """The draft was accepted or rejected; `late`: after it had been answered with, for listeners.

    Streams end before a late verdict.
    """

    request_id: str
    model: str
    quality: QualityReport
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChunk:
    """A further piece of the answer's text, on a stream."""

    request_id: str
    model: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallChunk:
    """A further piece of a tool call, on a stream."""

    request_id: str
    model: str
    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReported:
    """What the provider says the call under way has used so far, on a stream; the last one counts.

    `model`'s call may be a draft that is held back.
    """

    request_id: str
    model: str
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted:
    """A tool that a model asked for is run; `step` counts the models' turns from 1."""

    request_id: str
    step: int
    call: ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished:
    """It has been run, or refused: `outcome.error` says why."""

    request_id: str
    step: int
    outcome: ToolOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """The models are asked again, with what the tools gave; the text that comes now is anew.

    `step` counts from 1, and the first one is not announced.
    """

    request_id: str
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerReplaced:
    """What was streamed so far is void: the draft was rejected, or its model failed half-way."""

    request_id: str
    old_model: str
    new_model: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetWarned:
    """An account has just reached a state for the first time in its period.

    `account` is its scope and period, such as `user:u1 day`; amounts are in nanodollars.
    """

    request_id: str
    account: str
    state: Literal["ok", "warned", "degraded", "exhausted"]
    spent: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCompleted:
    """The request's last event: the whole result."""

    request_id: str
    result: CascadeResult


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed:
    """The request's last event when it has no answer. `cancelled` tells a caller's cancel apart.

    `cost` is in nanodollars: what its calls are known to have cost all the same.
    """

    request_id: str
    error: BaseException
    cancelled: bool
    cost: int = 0


Event: TypeAlias = (
    RequestStarted
    | RequestQueued
    | Routed
    | CallStarted
    | CallFinished
    | CallFailed
    | DraftJudged
    | BudgetWarned
    | TextChunk
    | ToolCallChunk
    | UsageReported
    | ToolStarted
    | ToolFinished
    | StepStarted
    | AnswerReplaced
    | RequestCompleted
    | RequestFailed
)
