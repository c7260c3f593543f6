"""Tool loops: the tools that an answer asks for are run, and the models are asked again.

Each step walks the whole course: draft, judge, verify. Once a draft was rejected, the steps that
follow go to the verifier at once. Before a step the budget is asked for what it can cost, and a
limit on tokens for what it can use; refused, the loop ends with the answer that is there, and what
its tools gave is the last of the steps. So it does when the request's time-out has passed by then.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from cascadeflow.errors import InvalidRequestError, ToolAbort
from cascadeflow.pipeline import events
from cascadeflow.pipeline.result import StepReport
from cascadeflow.pipeline.turns import assistant_message
from cascadeflow.tools import ToolContext, ToolOutcome, run_executor

if TYPE_CHECKING:
    from cascadeflow.pipeline.cascade import Ending
    from cascadeflow.pipeline.route import Plan
    from cascadeflow.pipeline.run import Run
    from cascadeflow.pipeline.settle import Call
    from cascadeflow.quality.report import QualityReport
    from cascadeflow.tools import Toolbox, ToolExecutor
    from cascadeflow.types import ToolCall

__all__ = ["Finished", "ToolLoop"]


@dataclass(frozen=True, slots=True)
class Finished:
    """A step that is over.

    Attributes:
        answer: the call whose answer was kept.
        quality: how its draft was judged, `None` when none was.
        escalated: whether a draft was rejected.
        end: how many calls had been tried by its end, those of earlier steps included.
        report: what the caller is told of it.
    """

    answer: Call
    quality: QualityReport | None
    escalated: bool
    end: int
    report: StepReport


class ToolLoop:
    """Runs the tools that the models ask for, until they ask for none."""

    __slots__ = ("_executor", "_most", "_toolbox")

    def __init__(
        self, toolbox: Toolbox, executor: ToolExecutor | Literal[True], max_steps: int
    ) -> None:
        """Notes how.

        Args:
            toolbox: the tools that were declared.
            executor: runs a call; `True` runs the functions that were declared as tools.
            max_steps: how often the models may answer, at most.

        Raises:
            InvalidRequestError: there are no tools, no function where one is needed, or no steps.
        """
        if type(max_steps) is not int or max_steps < 1:
            raise InvalidRequestError(f"max_steps must be a whole number from 1, not {max_steps!r}")
        if not toolbox.tools:
            raise InvalidRequestError("tool_executor= needs tools=")
        if executor is True and not toolbox.runnable:
            raise InvalidRequestError(
                "tool_executor=True runs Python functions, and a tool is only described: give its "
                "function in tools=, or a tool_executor= that takes a ToolCall"
            )
        if executor is not True and not callable(executor):
            raise InvalidRequestError(
                "tool_executor must be True, or a function that takes a ToolCall, not "
                f"{type(executor).__name__}"
            )
        self._toolbox = toolbox
        self._executor: Any = executor
        self._most = max_steps

    async def go_on(self, run: Run, ending: Ending) -> bool:
        """Runs what an answer asks for and begins the next step; `False` when that was the last.

        Raises:
            ToolAbort: a tool wants the whole request to end.
        """
        answer = ending.answer
        if answer is None or not answer.reply.completion.tool_calls:
            return False
        step = len(run.finished) + 1
        if step >= self._most or run.out_of_time():
            return False
        completion = answer.reply.completion
        began, read_ms = run.elapsed_ms(), run.reader_ms
        outcomes = await self._outcomes(run, step, completion.tool_calls)
        took_ms = run.elapsed_ms() - began - (run.reader_ms - read_ms)
        run.tools_ms = (run.tools_ms or 0.0) + took_ms
        report = StepReport(model=answer.model.id, text=completion.text, outcomes=outcomes)
        before = run.request
        run.request = replace(
            before,
            messages=(
                *before.messages,
                assistant_message(answer.model.provider, completion),
                *[outcome.message for outcome in outcomes],
            ),
            # A call that had to be made has been made: to demand it again would never end.
            tool_choice=before.tool_choice if before.tool_choice in ("auto", "none") else None,
        )
        escalated = ending.escalated or any(step.escalated for step in run.finished)
        plan: Plan | None = None
        if not run.out_of_time():
            plan = await self._afford(
                run, replace(run.plan, drafters=()) if escalated else run.plan
            )
            if plan is None and run.stopped_by is None:
                run.budget_action = "fewer_steps"
        if plan is None:
            # The answer stands as it is; what the tools gave is not lost.
            run.unanswered = report
            run.request = before
            return False
        run.finished.append(
            Finished(answer, ending.quality, ending.escalated, len(run.tried), report)
        )
        run.tell(events.StepStarted(request_id=run.request_id, step=step + 1))
        run.follow(plan)
        return True

    async def _afford(self, run: Run, plan: Plan) -> Plan | None:
        if run.entry is not None and run.entry.counts_tokens:
            from cascadeflow.pipeline.admit import extend  # noqa: PLC0415 - it is loaded already

            run.stopped_by = extend(run, run.entry, plan)
            if run.stopped_by is not None:
                return None
        if run.purse is None:
            return plan
        from cascadeflow.pipeline.reserve import reserve_step  # noqa: PLC0415 - off costs nothing

        return await run.in_time(reserve_step(run, plan))

    async def _outcomes(
        self, run: Run, step: int, calls: tuple[ToolCall, ...]
    ) -> tuple[ToolOutcome, ...]:
        """Runs the calls of one turn side by side; results in the calls' order."""
        tasks = [asyncio.ensure_future(self._run(run, step, call)) for call in calls]
        try:
            return tuple(await asyncio.gather(*tasks))
        finally:
            # One that ends the request, or a cancelled request, ends the others too.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, run: Run, step: int, call: ToolCall) -> ToolOutcome:
        run.tell(events.ToolStarted(request_id=run.request_id, step=step, call=call))
        try:
            outcome = await self._execute(run, step, call)
        except ToolAbort:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled this: the tool waited for something that was cancelled.
            outcome = _broken(call, "CancelledError: what the tool waited for was cancelled")
        except Exception as error:  # noqa: BLE001 - a validator of the tool's own types
            outcome = _broken(call, f"{type(error).__name__}: {error}")
        run.tell(events.ToolFinished(request_id=run.request_id, step=step, outcome=outcome))
        return outcome

    async def _execute(self, run: Run, step: int, call: ToolCall) -> ToolOutcome:
        if self._executor is True:
            context = ToolContext(
                call_id=call.id,
                request_id=run.request_id,
                user_id=run.spender.user_id,
                step=step,
            )
            return await self._toolbox.execute(call, context=context, timeout=run.left())
        problem = self._toolbox.check(call)
        if problem is not None:
            return _broken(call, problem.message)
        return await run_executor(self._executor, call, timeout=run.left())


def _broken(call: ToolCall, why: str) -> ToolOutcome:
    return ToolOutcome(call=call, content=why, error=why)
