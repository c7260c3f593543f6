"""Tools made of Python functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, overload

from cascadeflow.types import Tool

__all__ = ["FunctionTool", "tool"]


@dataclass(frozen=True, slots=True)
class FunctionTool(Tool):
    """A tool that is a Python function."""

    function: Callable[..., Any] = field(kw_only=True, compare=False, repr=False)


@overload
def tool(
    function: Callable[..., Any],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool | None = None,
) -> FunctionTool: ...
@overload
def tool(
    function: None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool | None = None,
) -> Callable[[Callable[..., Any]], FunctionTool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool | None = None,
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:
    """Makes a tool of a Python function, as a decorator or by a call."""
    raise NotImplementedError
