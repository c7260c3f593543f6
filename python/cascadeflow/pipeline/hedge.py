"""Asks a model and waits for its whole answer; a draft that is slow is asked for twice.

A hedged draft goes to the next drafter, or to the same model over another connection where there is
no other. Whoever answers first is heard; the other call is cancelled and its connection closed. It
may have been billed all the same, so under a budget it is held for before it is sent, and booked at
what was held.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias

from cascadeflow.errors import OvertakenError, ProviderError
from cascadeflow.pipeline.cascade import Ask
from cascadeflow.pipeline.judge import heard_before
from cascadeflow.types import Attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.models.completer import Reply
    from cascadeflow.pipeline.engine import Asking
    from cascadeflow.pipeline.run import Run
    from cascadeflow.pipeline.settle import Call

__all__ = ["ask"]


class _Side:
    """One of the two calls: begun, once there is an `asking`."""

    __slots__ = ("asking",)

    def __init__(self, asking: Asking | None = None) -> None:
        self.asking = asking


_Asked: TypeAlias = "dict[asyncio.Future[Reply | None], _Side]"


async def ask(run: Run, command: Ask) -> Call | None:
    """Asks a model; `None` when it did not answer, or the budget did not pay for it."""
    heard = await heard_before(run, command)
    if heard is not None:
        return heard
    asking = await run.begin(command)
    if asking is None:
        return None
    if command.role == "draft" and run.hedges:
        return await _hedged(run, asking)
    try:
        reply = await _reply(run, asking)
    except ProviderError as error:
        run.failed(asking, error)
        return None
    return run.answered(asking, reply)


async def _reply(run: Run, asking: Asking) -> Reply:
    asking.sent = True
    return await run.engine.completer.complete(
        asking.command.model, asking.chat, timeout=run.left(), may_retry=asking.may_retry
    )


async def _hedged(run: Run, first: Asking) -> Call | None:
    wait = run.engine.hedge_after
    assert wait is not None  # noqa: S101 - for mypy: `run.hedges` says so
    asked: _Asked = {asyncio.ensure_future(_reply(run, first)): _Side(first)}
    timer: asyncio.Future[None] | None = asyncio.ensure_future(run.engine.clock.sleep(wait))
    try:
        while asked:
            waited: set[asyncio.Future[Any]] = {*asked} if timer is None else {*asked, timer}
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            won = _hear(run, asked, done)
            if won is not None:
                return await _take(run, won, asked)
            if timer is not None and timer in done:
                timer = None
                # Its money is asked for meanwhile: a slow store does not delay the first answer.
                side = _Side()
                asked[asyncio.ensure_future(_second(run, first, side))] = side
        return None
    finally:
        await _end([*asked, *([] if timer is None else [timer])])


async def _second(run: Run, first: Asking, side: _Side) -> Reply | None:
    """Asks for the draft once more, if the time and the budget allow it."""
    if run.out_of_time():
        return None
    model = first.command.model
    line = run.plan.drafters
    later = line[line.index(model) + 1 :] if model in line else ()
    side.asking = await run.begin(Ask(later[0] if later else model, "draft"))
    if side.asking is None:
        return None
    if later:
        run.hedged.add(later[0].id)
    return await _reply(run, side.asking)


def _hear(run: Run, asked: _Asked, done: set[asyncio.Future[Any]]) -> tuple[Asking, Reply] | None:
    """Notes who has failed, and gives the first who has answered.

    Raises:
        BaseException: what is no provider's error ends the request.
    """
    won: tuple[Asking, Reply] | None = None
    wrong: BaseException | None = None
    for task in [task for task in asked if task in done]:
        asking = asked[task].asking
        error = task.exception()
        if error is not None and not isinstance(error, ProviderError):
            wrong = wrong or error
            if asking is not None:
                asking.raised = error
            continue
        reply = None if error is not None else task.result()
        if reply is not None and won is not None:
            continue  # both came in the same moment: the other one is heard of later
        del asked[task]
        if asking is None:
            continue  # the budget did not pay for it
        if error is not None:
            _beside(asking, *asked.values())
            run.failed(asking, error)
        elif reply is not None:
            won = asking, reply
    if wrong is not None:
        if won is not None:
            run.answered(*won)  # it is paid for all the same
        raise wrong
    return won


def _beside(asking: Asking, *sides: _Side) -> None:
    """Notes how long a call was waited for before another one, which still counts, was made."""
    for side in sides:
        if side.asking is not None:
            asking.ahead_ms = max(0.0, side.asking.began - asking.began) * 1000


async def _take(run: Run, won: tuple[Asking, Reply], asked: _Asked) -> Call:
    """Hears the first answer, and cancels the other call."""
    asking, reply = won
    call = run.answered(asking, reply)
    for task, side in list(asked.items()):
        task.cancel()
        other = side.asking
        if other is None:
            continue  # its money was still waited for
        late = None
        if task.done() and not task.cancelled() and task.exception() is None:
            late = task.result()
        _beside(other, _Side(asking))
        if late is not None:  # it is known what it cost
            run.answered(other, late)
            continue
        run.failed(other, _overtaken(other, run.engine.clock.monotonic()))
    await _end(list(asked))
    asked.clear()
    return call


def _overtaken(asking: Asking, now: float) -> OvertakenError:
    model = asking.command.model
    error = OvertakenError(
        f"{model.id}: another answer came first, and this call was cancelled",
        provider=model.provider,
        model=model.name,
        billed=None,
    )
    duration_ms = (now - asking.began) * 1000
    error.attempts = (
        Attempt(
            provider=model.provider,
            model=model.name,
            outcome="OvertakenError",
            duration_ms=duration_ms,
        ),
    )
    return error


async def _end(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancels what is still under way and waits until its connections are closed."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
