"""A call of a tool: what may be wrong with it, what came of it, and running one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from threading import Thread
from time import perf_counter
from typing import Any, Final, Literal, TypeAlias

from cascadeflow.errors import ToolAbort
from cascadeflow.quality.schema import hold_to
from cascadeflow.types import Message, Tool, ToolCall

__all__ = [
    "ToolContext",
    "ToolExecutor",
    "ToolOutcome",
    "ToolProblem",
    "held_to",
    "run_executor",
    "run_in_time",
]

_LONGEST_ERROR: Final = 2_000
"""Characters of an error that the model is told; some hold whole pages."""

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


def held_to(tool: Tool, call: ToolCall) -> ToolProblem | None:
    """Holds a call's arguments to its tool's schema; `None` when nothing speaks against them."""
    arguments = call.arguments.strip() or "{}"
    verdict = hold_to(tool.parameters, arguments)
    if verdict.kind == "broken":
        why = f"The arguments of {call.name!r} are not JSON: {verdict.reason}."
        return ToolProblem("broken_json", why)
    if not arguments.startswith("{"):
        why = f"The arguments of {call.name!r} must be one JSON object, such as {{}}."
        return ToolProblem("not_an_object", why)
    if verdict.kind == "fails":
        why = f"The arguments of {call.name!r} do not fit: {verdict.reason}."
        return ToolProblem("invalid_arguments", why)
    return None


async def run_executor(
    executor: ToolExecutor, call: ToolCall, *, timeout: float | None = None
) -> ToolOutcome:
    """Runs a call with an executor of the user's own; the rules are those of `Toolbox.execute`.

    Args:
        executor: gets the call; a function that is not async runs in a thread.
        call: the call, whose arguments are the executor's to read.
        timeout: seconds it may take.

    Raises:
        ToolAbort: the executor raised it.

    >>> import asyncio
    >>> asyncio.run(run_executor(lambda call: {"sum": 3}, ToolCall("1", "add", "{}"))).content
    '{"sum":3}'
    """
    from cascadeflow.tools.signature import is_async  # noqa: PLC0415 - it imports this module

    return await run_in_time(
        call, lambda: executor(call), is_async=is_async(executor), timeout=timeout
    )


async def run_in_time(
    call: ToolCall, start: Callable[[], Any], *, is_async: bool, timeout: float | None
) -> ToolOutcome:
    """Runs what a call asks for, in a thread unless it is async, and writes down what came of it.

    Raises:
        ToolAbort: the tool raised it.
    """
    begun = perf_counter()
    content, error = "", None
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            value = start() if is_async else await _in_thread(start)
            if inspect.isawaitable(value):
                value = await value
        content = _as_text(value)
    except ToolAbort:
        raise
    except Exception as raised:  # noqa: BLE001 - whatever it is, the model is told
        late = isinstance(raised, TimeoutError) and limit.expired()
        error = f"TimeoutError: it took longer than {timeout:g} s" if late else _in_words(raised)
    return ToolOutcome(
        call=call,
        content=content if error is None else error,
        error=error,
        duration_ms=(perf_counter() - begun) * 1000,
    )


async def _in_thread(start: Callable[[], Any]) -> Any:
    """Runs a function in a thread of its own, with the context's variables.

    A pool would run full of tools that wait for tools of their own, and hold up whoever else uses
    it; the end of the process waits for none of these threads.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    context = copy_context()
    ended: list[tuple[Any, BaseException | None]] = []

    def tell() -> None:
        if not done.done():
            done.set_result(None)

    def run() -> None:
        try:
            ended.append((context.run(start), None))
        except BaseException as raised:  # noqa: BLE001 - raised where the call is waited for
            ended.append((None, raised))
        with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
            loop.call_soon_threadsafe(tell)

    Thread(target=run, name="cascadeflow-tool", daemon=True).start()
    await done
    value, raised = ended[0]
    if raised is not None:
        raise raised
    return value


def _as_text(value: Any) -> str:
    """A result as the model reads it: text as it is, all else as JSON.

    Raises:
        TypeError: it is no JSON, and pydantic cannot make it so.
    """
    if isinstance(value, str):
        text = str.__str__(value)  # of an enum's member its value
    else:
        from pydantic_core import PydanticSerializationError, to_json  # noqa: PLC0415

        try:
            return to_json(value, inf_nan_mode="strings").decode()
        except (PydanticSerializationError, ValueError) as error:
            raise TypeError(f"the result cannot be written as JSON: {error}") from error
    # Half a surrogate pair, as JSON may carry it, is no text in UTF-8.
    return text.encode("utf-8", "replace").decode()


def _in_words(raised: Exception) -> str:
    try:
        text = f"{type(raised).__name__}: {raised}".removesuffix(": ")
    except Exception:  # noqa: BLE001 - an error whose text is itself an error
        text = type(raised).__name__
    text = text if len(text) <= _LONGEST_ERROR else text[:_LONGEST_ERROR] + "…"
    return text.encode("utf-8", "replace").decode()
