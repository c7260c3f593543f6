"""The tools of one run: declared to the model, its calls checked and executed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.tools.calls import ToolContext, ToolOutcome, ToolProblem, held_to
from cascadeflow.tools.function import FunctionTool, function_tool
from cascadeflow.types import EMPTY, Tool

if TYPE_CHECKING:
    from cascadeflow.types import ToolCall

__all__ = ["AnyTool", "Toolbox"]

AnyTool: TypeAlias = Callable[..., Any] | Tool | Mapping[str, Any]
"""What may stand in `tools=`: a function, a tool, or a dict in the OpenAI form."""

_FIELDS: Final = frozenset({"name", "description", "parameters", "strict", "type"})
_NAMED: Final = 20
_LONGEST_NAME: Final = 60


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one run.

    Attributes:
        tools: what is declared to the model, in order.

    >>> import asyncio
    >>> from cascadeflow.types import ToolCall
    >>> def add(a: int, b: int) -> int:
    ...     return a + b
    >>> box = Toolbox.of([add])
    >>> box.check(ToolCall("1", "add", '{"a": 1}')).message
    "The arguments of 'add' do not fit: $ lacks the member “b”."
    >>> asyncio.run(box.execute(ToolCall("1", "add", '{"a": 1, "b": 2}'))).content
    '3'
    """

    tools: tuple[Tool, ...]
    _named: Mapping[str, Tool] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        named = {tool.name: tool for tool in self.tools}
        if len(named) < len(self.tools):
            names = [tool.name for tool in self.tools]
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidRequestError(
                f"two tools are called {twice!r}: give one another name, as by tool(…, name=…)"
            )
        object.__setattr__(self, "_named", named)

    @classmethod
    def of(cls, tools: Iterable[AnyTool]) -> Toolbox:
        """Reads tools: functions, tools, and dicts in the OpenAI form.

        Raises:
            ConfigurationError: no tool can be made of a function; the message says what to do.
            InvalidRequestError: something is no tool, or two have the same name.
        """
        if isinstance(tools, (str, Mapping, Tool)) or not isinstance(tools, Iterable):
            raise InvalidRequestError(f"tools must be a list of tools, not {type(tools).__name__}")
        return cls(tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools)))

    @property
    def names(self) -> frozenset[str]:
        """The names of the tools that have a function."""
        return frozenset(tool.name for tool in self.tools if isinstance(tool, FunctionTool))

    @property
    def runnable(self) -> bool:
        """Whether every tool has a function."""
        return all(isinstance(tool, FunctionTool) for tool in self.tools)

    def check(self, call: ToolCall) -> ToolProblem | None:
        """Says why a call cannot be made; `None` when it can.

        The arguments are held to the tool's JSON schema, a function's to its pydantic types too.
        """
        tool = self._named.get(call.name)
        if tool is None:
            return self._unknown(call)
        return tool.read(call)[1] if isinstance(tool, FunctionTool) else held_to(tool, call)

    async def execute(
        self,
        call: ToolCall,
        *,
        context: ToolContext | None = None,
        timeout: float | None = None,
    ) -> ToolOutcome:
        """Runs a call of a tool that has a function.

        What goes wrong is in the outcome, for the model to read: a problem with the call, an error
        that the function raised, a timeout. An async function is cancelled when its time is up; one
        that is not async runs in a thread, which nothing can stop: it is left to itself.

        Args:
            call: what the model asks for.
            context: what the function may know of the run, where it asks for it; its `call_id` is
                set to the call's.
            timeout: seconds it may take.

        Raises:
            ToolAbort: the function raised it.
            ConfigurationError: the tool has no function.
        """
        tool = self._named.get(call.name)
        if tool is not None and not isinstance(tool, FunctionTool):
            raise ConfigurationError(
                f"the tool {call.name!r} is only described: give its function in tools=, or run it "
                "with a tool_executor= of your own"
            )
        values, problem = ({}, self._unknown(call)) if tool is None else tool.read(call)
        if tool is None or problem is not None:
            text = "" if problem is None else problem.message
            return ToolOutcome(call=call, content=text, error=text)
        known = ToolContext(call_id=call.id) if context is None else context
        if known.call_id != call.id:
            known = replace(known, call_id=call.id)
        return await tool.run(call, values, context=known, timeout=timeout)

    def _unknown(self, call: ToolCall) -> ToolProblem:
        name = call.name if len(call.name) <= _LONGEST_NAME else call.name[:_LONGEST_NAME] + "…"
        names = [repr(tool.name) for tool in self.tools[:_NAMED]]
        rest = ", …" if len(self.tools) > _NAMED else ""
        there = f"the tools are {', '.join(names)}{rest}" if names else "there are no tools"
        return ToolProblem("unknown_tool", f"There is no tool called {name!r}; {there}.")


def _tool(tool: Any, where: str) -> Tool:
    if isinstance(tool, Mapping):
        return _declared(tool, where)
    if isinstance(tool, Tool):
        return tool
    if callable(tool):
        return function_tool(tool)
    raise InvalidRequestError(
        f"{where} must be a function, a Tool or a dict in the OpenAI form, "
        f"not {type(tool).__name__}"
    )


def _declared(tool: Mapping[str, Any], where: str) -> Tool:
    """Reads `{"type": "function", "function": {…}}`, or what stands in it."""
    body = tool.get("function", tool)
    if tool.get("type", "function") != "function" or not isinstance(body, Mapping):
        raise InvalidRequestError(f"{where} is not a function: {tool.get('type')!r}")
    unknown = set(body) - _FIELDS
    if unknown:
        names = ", ".join(sorted(map(str, unknown)))
        raise InvalidRequestError(f"{where} has fields no tool has: {names}")
    name, description = body.get("name"), body.get("description") or ""
    parameters, strict = body.get("parameters") or EMPTY, body.get("strict")
    if not isinstance(name, str) or not name:
        raise InvalidRequestError(f"{where} needs a name")
    if not isinstance(description, str):
        raise InvalidRequestError(f"{where}.description must be text")
    if not isinstance(parameters, Mapping):
        raise InvalidRequestError(f"{where}.parameters must be a JSON schema (a dict)")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequestError(f"{where}.strict must be True, False or None")
    return Tool(name, description, parameters, strict)
