"""Tools: Python functions and raw JSON schemas that a model may ask to call, and running them."""

from __future__ import annotations

from cascadeflow.tools.calls import (
    ToolContext,
    ToolExecutor,
    ToolOutcome,
    ToolProblem,
    run_executor,
)
from cascadeflow.tools.function import FunctionTool, tool
from cascadeflow.tools.toolbox import Toolbox

__all__ = [
    "FunctionTool",
    "ToolContext",
    "ToolExecutor",
    "ToolOutcome",
    "ToolProblem",
    "Toolbox",
    "run_executor",
    "tool",
]
