"""The two drivers of a run: one waits for whole answers, one passes pieces on as they come.

Both do what the course says and nothing else; neither decides anything. Whatever ends a run (an
answer, an error, a cancelled task, a reader that went away), its connection is closed, its books
are closed, and its last event says so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cascadeflow.errors import MalformedResponseError, ProviderError
from cascadeflow.models.completer import Reply
from cascadeflow.models.completion import TextDelta, ToolCallDelta, UsageUpdate
from cascadeflow.pipeline import events
from cascadeflow.pipeline.cascade import Ask
from cascadeflow.pipeline.hedge import ask
from cascadeflow.pipeline.judge import heard_before, judge
from cascadeflow.pipeline.report import close, finish

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Sequence,
    )

    from cascadeflow.cache.answer import CachedAnswer
    from cascadeflow.pipeline.cascade import Ending, Outcome
    from cascadeflow.pipeline.engine import Asking
    from cascadeflow.pipeline.result import CascadeResult
    from cascadeflow.pipeline.run import Run
    from cascadeflow.pipeline.settle import Call
    from cascadeflow.types import ToolCall

__all__ = ["complete", "stream"]


async def complete(run: Run) -> CascadeResult:
    """Drives a run with whole answers.

    Raises:
        AllModelsFailedError: nobody in line answered.
    """
    outcome: Outcome = None
    try:
        await run.admit()
        if run.cached is not None:
            return finish(run, run.recalled(run.cached))
        while True:
            try:
                command = run.course.send(outcome)
            except StopIteration as stop:
                outcome = None
                if run.loop is None or not await run.loop.go_on(run, stop.value):
                    return await _remembered(run, stop.value)
                continue
            if isinstance(command, Ask):
                outcome = await ask(run, command)
            else:
                outcome = await judge(run, command.draft)
    except BaseException as error:
        run.abandon(error)
        raise


async def _remembered(run: Run, ending: Ending) -> CascadeResult:
    """Closes the books, and keeps the answer where one is kept."""
    result = close(run, ending)
    recall = run.engine.recall
    if recall is not None and ending.answer is not None:
        await recall.remember(run, ending.answer, result)
    return finish(run, result)


async def stream(run: Run, *, show_draft: bool) -> AsyncGenerator[events.Event]:
    """Drives a run and yields its events, pieces of the answer among them.

    The text pieces after the last `AnswerReplaced` or `StepStarted` (or all of them, without
    either) are the result's content, exactly.

    Args:
        run: the run, opened with `streamed=True`.
        show_draft: whether a draft's pieces are passed on as they come, to be replaced if it is
            rejected; otherwise they are held back until it is accepted.

    Raises:
        AllModelsFailedError: nobody in line answered.
    """
    driver = _Pieces(run, show_draft=show_draft)
    clock = run.engine.clock.monotonic
    run.take_up()
    try:
        await driver.begin()
        while True:
            for event in run.drain():
                before = clock()
                yield event
                run.reader_ms += (clock() - before) * 1000
            if driver.result is not None:
                return
            await driver.advance()
    except BaseException as error:
        try:
            await driver.aclose()
        finally:
            if driver.result is None:
                run.abandon(error)
        raise


class _Pieces:
    """Advances a streamed run by one piece, or by one decision."""

    def __init__(self, run: Run, *, show_draft: bool) -> None:
        self.result: CascadeResult | None = None
        self._run = run
        self._show_draft = show_draft
        self._outcome: Outcome = None
        self._asking: Asking | None = None
        self._pieces: AsyncIterator[Any] | None = None
        self._shown_by: str | None = None  # whose text the reader has
        self._replaced_because = ""
        self._work: asyncio.Future[Any] | None = None  # what may tell events before it ends
        self._then: Callable[[Any], Awaitable[None]] | None = None  # takes what it gave

    async def begin(self) -> None:
        """Takes the request on. Where it may have to wait for its turn, its reader is told so."""
        if self._run.engine.tiers is not None:
            self._start(self._run.admit(), self._admitted)
            return
        await self._run.admit()
        await self._admitted(None)

    async def _admitted(self, _: None) -> None:
        if self._run.cached is not None:
            self.recall(self._run.cached)

    async def advance(self) -> None:
        """Takes the next piece of what is under way, or the course's next decision."""
        if self._work is not None:
            await self._watch(self._work)
            return
        if self._pieces is not None and self._asking is not None:
            await self._take(self._pieces, self._asking)
            return
        try:
            command = self._run.course.send(self._outcome)
        except StopIteration as stop:
            self._outcome = None
            await self._end(stop.value)
            return
        if not isinstance(command, Ask):
            quality = await judge(self._run, command.draft)
            self._replaced_because = quality.reason
            self._outcome = quality
            return
        self._outcome = await heard_before(self._run, command)
        if self._outcome is not None:
            return  # it is shown whole
        if command.role == "draft" and not self._show_draft and self._run.hedges:
            # Nobody sees its pieces, so it may be asked for twice, and comes whole.
            self._start(ask(self._run, command), self._drafted)
        else:
            await self._begin(command)

    def _start(
        self, work: Coroutine[Any, Any, Any], then: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Begins what is waited for while its events are passed on."""
        self._work, self._then = asyncio.ensure_future(work), then

    async def _watch(self, work: asyncio.Future[Any]) -> None:
        """Waits until the work has something to tell, or is done."""
        run = self._run
        if not work.done() and not run.outbox:
            run.news = asyncio.get_running_loop().create_future()
            await asyncio.wait({work, run.news}, return_when=asyncio.FIRST_COMPLETED)
            run.news = None
        if work.done() and self._then is not None:
            self._work = None
            await self._then(work.result())

    async def _drafted(self, call: Call | None) -> None:
        self._outcome = call

    async def _begin(self, command: Ask) -> None:
        asking = await self._run.begin(command)
        self._outcome = None
        if asking is not None:
            self._asking = asking
            self._pieces = self._run.engine.completer.stream(
                command.model,
                asking.chat,
                timeout=self._run.left(),
                may_retry=asking.may_retry,
            )

    async def _take(self, pieces: AsyncIterator[Any], asking: Asking) -> None:
        command, asking.sent = asking.command, True
        try:
            piece = await anext(pieces, None)
            if piece is None:
                raise MalformedResponseError(
                    "the stream ended without its last event",
                    provider=command.model.provider,
                    model=command.model.name,
                    billed=None,
                )
        except ProviderError as error:
            await self.aclose()
            self._run.failed(asking, error)
            self._replaced_because = f"{command.model.id} failed: {type(error).__name__}"
            self._outcome = None
            return
        if isinstance(piece, Reply):
            # Booked first: closing may be cancelled, or fail.
            self._outcome = self._run.answered(asking, piece)
            await self.aclose()
        elif isinstance(piece, UsageUpdate):
            self._run.used(asking, piece.usage)
        elif command.role != "draft" or self._show_draft:
            self._show(command.model.id, piece)

    async def aclose(self) -> None:
        """Closes the connection of the call under way, and ends the tools."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        pieces, self._pieces = self._pieces, None
        close_pieces = getattr(pieces, "aclose", None)
        if close_pieces is not None:
            await close_pieces()

    def recall(self, answer: CachedAnswer) -> None:
        """Shows an answer that was given before, and ends."""
        result = self._run.recalled(answer)
        self._show_whole(result.routing.model_used, result.content, result.tool_calls)
        self.result = finish(self._run, result)

    def _show(self, model: str, piece: Any) -> None:
        run = self._run
        if isinstance(piece, TextDelta):
            if not piece.text:
                return
            self._turn_to(model)
            run.tell(events.TextChunk(request_id=run.request_id, model=model, text=piece.text))
        elif isinstance(piece, ToolCallDelta):
            self._turn_to(model)
            run.tell(
                events.ToolCallChunk(
                    request_id=run.request_id,
                    model=model,
                    index=piece.index,
                    id=piece.id,
                    name=piece.name,
                    arguments=piece.arguments,
                )
            )

    def _turn_to(self, model: str) -> None:
        """What comes next is this model's: what another one showed is void."""
        run = self._run
        if self._shown_by == model:
            return
        if self._shown_by is not None:
            run.tell(
                events.AnswerReplaced(
                    request_id=run.request_id,
                    old_model=self._shown_by,
                    new_model=model,
                    reason=self._replaced_because,
                )
            )
        self._shown_by = model
        run.first_shown_ms = run.elapsed_ms()

    async def _end(self, ending: Ending) -> None:
        """Shows what was held back, and closes the books."""
        answer = ending.answer
        if answer is not None and self._shown_by != answer.model.id:
            completion = answer.reply.completion
            self._show_whole(answer.model.id, completion.text, completion.tool_calls)
        run = self._run
        if run.loop is None:
            self.result = await _remembered(run, ending)
            return

        async def then(goes_on: bool) -> None:  # noqa: FBT001 - what `go_on` gives
            if goes_on:
                self._shown_by = None  # what was shown belongs to a step that is over
            else:
                self.result = await _remembered(run, ending)

        # What was shown is passed on before the tools are run, and so is each tool's event.
        self._start(run.loop.go_on(run, ending), then)

    def _show_whole(self, model: str, text: str, tool_calls: Sequence[ToolCall]) -> None:
        if self._shown_by is not None:
            self._turn_to(model)
        self._show(model, TextDelta(text))
        for index, call in enumerate(tool_calls):
            self._show(model, ToolCallDelta(index, call.id, call.name, call.arguments))
