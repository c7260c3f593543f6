"""The tools of one run: declared to the model, its calls checked and executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cascadeflow.types import Tool, ToolCall

if TYPE_CHECKING:
    from cascadeflow.tools.calls import ToolContext, ToolOutcome, ToolProblem

__all__ = ["Toolbox"]


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one run.

    Attributes:
        tools: what is declared to the model, in order.
    """

    tools: tuple[Tool, ...]

    @classmethod
    def of(cls, tools: Sequence[Callable[..., Any] | Tool | Mapping[str, Any]]) -> Toolbox:
        """Reads tools: functions, tools, and dicts in the OpenAI form."""
        raise NotImplementedError

    @property
    def names(self) -> frozenset[str]:
        """The names of the tools that have a function."""
        raise NotImplementedError

    @property
    def runnable(self) -> bool:
        """Whether every tool has a function."""
        raise NotImplementedError

    def check(self, call: ToolCall) -> ToolProblem | None:
        """Says why a call cannot be made; `None` when it can."""
        raise NotImplementedError

    async def execute(
        self,
        call: ToolCall,
        *,
        context: ToolContext | None = None,
        timeout: float | None = None,
    ) -> ToolOutcome:
        """Runs a call of a tool that has a function."""
        raise NotImplementedError
