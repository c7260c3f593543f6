"""A call of a tool: what it is told, what may be wrong with it, what came of it; and running one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from cascadeflow.types import Message, ToolCall

__all__ = ["ToolContext", "ToolExecutor", "ToolOutcome", "ToolProblem", "run_executor"]

ToolExecutor: TypeAlias = Callable[[ToolCall], Any | Awaitable[Any]]
"""Runs the calls of tools that were declared by schema: gets the call, gives the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """What a tool may know of the run: a parameter with this annotation is handed it.

    The model does not see the parameter and cannot fill it.

    Attributes:
        call_id: the id of the call.
        user_id: whose request this is, as the server said.
        request_id: the run's id.
        step: which answer of the model asked for the call, from 1.
    """

    call_id: str
    user_id: str | None = None
    request_id: str | None = None
    step: int = 1


@dataclass(frozen=True, slots=True)
class ToolProblem:
    """Why a call cannot be made.

    Attributes:
        kind: `unknown_tool`, `broken_json`, `not_an_object`, or `invalid_arguments`.
        message: where and why, in one sentence that the model can act on.
    """

    kind: Literal["unknown_tool", "broken_json", "not_an_object", "invalid_arguments"]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """What came of a call.

    Attributes:
        call: the call.
        content: what the model is told: the result (JSON, unless it was text), or the error.
        error: `"ClassName: message"`, or why the call could not be made; `None` when it worked.
        duration_ms: how long it took, in milliseconds.
    """

    call: ToolCall
    content: str
    error: str | None = None
    duration_ms: float = 0.0

    @property
    def message(self) -> Message:
        """The outcome as the message that the model gets."""
        return Message("tool", self.content, tool_call_id=self.call.id)


async def run_executor(
    executor: ToolExecutor, call: ToolCall, *, timeout: float | None = None
) -> ToolOutcome:
    """Runs a call with an executor of the user's own; the rules are those of `Toolbox.execute`."""
    raise NotImplementedError
