"""Whether the calls that a draft asks for can be made: each offered, each fitting its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cascadeflow.quality.report import CheckReport
from cascadeflow.quality.schema import hold_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.types import Tool, ToolCall, ToolChoice

__all__ = ["judge_tool_calls"]

_NAME: Final = "tool_calls"
_SHOWN: Final = 60
_PASSED: Final = CheckReport(name=_NAME, verdict="passed", score=1.0)
_NOTHING: Final = CheckReport(name=_NAME, verdict="not_applicable", score=1.0)


def judge_tool_calls(
    calls: Sequence[ToolCall], tools: Sequence[Tool], *, required: ToolChoice | None = None
) -> CheckReport:
    """Checks that each call names a tool that was offered, with arguments that fit its schema.

    Calls that may not be made at all fail too: under `"none"`, of another tool than the one
    required, or two with the same id, whose results could not be told apart. A call whose schema
    asks something that is not checked makes the verdict `not_applicable`, unless something fails.

    Args:
        calls: what the model asks to call.
        tools: what it was offered.
        required: the request's `tool_choice`: with `"required"` or a tool's name a call must come.

    >>> from cascadeflow.types import Tool, ToolCall
    >>> days = Tool("days", parameters={"properties": {"count": {"type": "integer"}}})
    >>> judge_tool_calls([ToolCall("1", "days", '{"count": "two"}')], [days]).reason
    "the arguments of 'days' are unfit: $.count is of type string, not integer"
    """
    reason = _at_odds(calls, required)
    if reason is None and not calls:
        return _NOTHING
    offered = {tool.name: tool for tool in tools}
    unchecked = ""
    for call in calls:
        if reason is not None:
            break
        tool = offered.get(call.name)
        if tool is None:
            reason = f"no tool called {_shown(call.name)} was offered"
            break
        kind, why = _judged(call, tool)
        if kind in ("fails", "broken"):
            reason = f"the arguments of {call.name!r} are unfit: {why}"
        elif kind == "unknown" and not unchecked:
            unchecked = f"the schema of {call.name!r} could not be checked: {why}"
    reason = reason or _twice(calls)
    if reason is not None:
        return CheckReport(name=_NAME, verdict="failed", score=0.0, reason=reason)
    if unchecked:
        return CheckReport(name=_NAME, verdict="not_applicable", score=1.0, reason=unchecked)
    return _PASSED


def _at_odds(calls: Sequence[ToolCall], required: ToolChoice | None) -> str | None:
    """What is wrong with the calls whatever their tools: against the choice."""
    free = required in (None, "auto")
    if not calls:
        return None if free or required == "none" else "a tool call was required, and there is none"
    if required == "none":
        return f"no tool was to be called, and {_shown(calls[0].name)} is"
    if not free and required != "required":
        others = [call.name for call in calls if call.name != required]
        if others:
            return f"{required!r} was to be called, and {_shown(others[0])} is"
    return None


def _twice(calls: Sequence[ToolCall]) -> str | None:
    ids = [call.id for call in calls if call.id]
    if len(set(ids)) == len(ids):
        return None
    return f"two calls have the id {_shown(max(ids, key=ids.count))}"


def _judged(call: ToolCall, tool: Tool) -> tuple[str, str]:
    """What the arguments are to the schema; they are an object, whatever the schema says."""
    arguments = call.arguments.strip() or "{}"
    verdict = hold_to(tool.parameters, arguments)
    if verdict.kind in ("fits", "unknown") and not arguments.startswith("{"):
        return "fails", "they are no JSON object"
    return verdict.kind, verdict.reason


def _shown(name: str) -> str:
    """A name that the model wrote, which may be anything of any length."""
    return repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "…")
