"""Tools made of Python functions."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from cascadeflow.errors import ConfigurationError
from cascadeflow.tools.calls import ToolContext, ToolProblem, held_to, run_in_time
from cascadeflow.tools.schemas import first_errors
from cascadeflow.tools.signature import Blueprint, blueprint, checked_name, is_async
from cascadeflow.types import Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cascadeflow.tools.calls import ToolOutcome
    from cascadeflow.types import ToolCall

__all__ = ["FunctionTool", "tool"]


@dataclass(frozen=True, slots=True)
class FunctionTool(Tool):
    """A tool that is a Python function; `tool` makes it. It can be called as the function can.

    Attributes:
        name: the name that the model calls it by.
        description: what it does, for the model.
        parameters: the JSON schema of its arguments.
        strict: whether the provider must hold the arguments to the schema, where it can.
        function: what is run.
        blueprint: how arguments become the function's parameters.
    """

    function: Callable[..., Any] = field(kw_only=True, compare=False, repr=False)
    blueprint: Blueprint = field(kw_only=True, compare=False, repr=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function itself."""
        return self.function(*args, **kwargs)

    def read(self, call: ToolCall) -> tuple[dict[str, Any], ToolProblem | None]:
        """Reads a call's arguments as the function's; without a problem they fit.

        They must fit the JSON schema, as any tool's, and then what pydantic makes of them.
        """
        problem = held_to(self, call)
        if problem is not None:
            return {}, problem
        from pydantic import ValidationError  # noqa: PLC0415 - loaded when the tool was made

        try:
            values = self.blueprint.adapter.validate_json(call.arguments.strip() or "{}")
        except ValidationError as error:
            why = first_errors(error, most=1)
            message = f"The arguments of {call.name!r} do not fit: {why}."
            return {}, ToolProblem("invalid_arguments", message)
        return values, None

    async def run(
        self,
        call: ToolCall,
        values: Mapping[str, Any],
        *,
        context: ToolContext,
        timeout: float | None,
    ) -> ToolOutcome:
        """Runs the function with arguments that were read."""
        return await run_in_time(
            call,
            lambda: self.blueprint.call(self.function, values, context),
            is_async=is_async(self.function),
            timeout=timeout,
        )


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
    """Makes a tool of a Python function, as a decorator or by a call.

    The schema comes from the type hints: everything pydantic reads from JSON, and what
    `Annotated[…, Field(…)]` adds. Every parameter needs one. A parameter of the type `ToolContext`
    is filled by the run, and the model does not see it; nor does it see what a partial has given by
    name. Descriptions come from `Field` or from the docstring (Google, NumPy or Sphinx form).

    Args:
        function: a function (async or not), bound method, partial or callable object. One that is
            not async runs in a thread.
        name: what the model calls it; the function's name unless given.
        description: what it does; the docstring's first paragraph unless given.
        strict: whether the provider must hold the arguments to the schema. `True` brings the schema
            into the form this needs: null stands for a parameter that is left out.

    Raises:
        ConfigurationError: no schema can be made of the function; the message says what to do.

    >>> @tool
    ... def weather(city: str, days: int = 1) -> str:
    ...     '''Tells the weather.
    ...
    ...     Args:
    ...         city: which one.
    ...     '''
    ...     return f"{city}: sun"
    >>> weather.parameters["properties"]["city"]
    {'type': 'string', 'description': 'which one.'}
    >>> weather("Lima")
    'Lima: sun'
    """
    names = sys._getframe(1).f_locals  # noqa: SLF001 - types that are defined beside the function

    def make(function: Callable[..., Any]) -> FunctionTool:
        return _made(function, names, name=name, description=description, strict=strict)

    return make if function is None else make(function)


def _made(
    function: Callable[..., Any],
    names: Mapping[str, Any] | None,
    *,
    name: str | None,
    description: str | None,
    strict: bool | None,
) -> FunctionTool:
    if isinstance(function, FunctionTool):
        name = function.name if name is None else name
        description = function.description if description is None else description
        strict = function.strict if strict is None else strict
        function = function.function
    if not callable(function):
        raise ConfigurationError(
            f"a tool is made of a function, not of {type(function).__name__}: put @tool above "
            "@staticmethod, and give a class's method bound"
        )
    read = blueprint(function, strict=strict is True, names=names)
    return FunctionTool(
        checked_name(read.name if name is None else name),
        read.description if description is None else description,
        read.parameters,
        strict,
        function=function,
        blueprint=read,
    )


def function_tool(function: Callable[..., Any]) -> FunctionTool:
    """Makes a tool of a function with nothing said about it.

    Raises:
        ConfigurationError: as `tool` raises it.
    """
    return _made(function, None, name=None, description=None, strict=None)
