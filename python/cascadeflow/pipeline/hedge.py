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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.models.completer import Reply
    from cascadeflow.pipeline.run import Asking, Run
    from cascadeflow.pipeline.settle import Call

__all__ = ["ask"]

_Asked: TypeAlias = "dict[asyncio.Future[Reply], Asking]"


async def ask(run: Run, command: Ask) -> Call | None:
    """Asks a model; `None` when it did not answer, or the budget did not pay for it."""
    if command.model.id in run.hedged:
        return None  # it was asked already, beside the one before it
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
    return await run.engine.completer.complete(
        asking.command.model, asking.chat, timeout=run.left(), may_retry=asking.may_retry
    )


async def _hedged(run: Run, first: Asking) -> Call | None:
    wait = run.engine.hedge_after
    assert wait is not None  # noqa: S101 - for mypy: `run.hedges` says so
    asked: _Asked = {asyncio.ensure_future(_reply(run, first)): first}
    timer: asyncio.Future[None] | None = asyncio.ensure_future(run.engine.clock.sleep(wait))
    try:
        while asked:
            waited: set[asyncio.Future[Any]] = {*asked} if timer is None else {*asked, timer}
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            won: tuple[Asking, Reply] | None = None
            for task in [task for task in asked if task in done]:
                asking = asked[task]
                error = task.exception()
                if error is None and won is None:
                    del asked[task]
                    won = asking, task.result()
                elif isinstance(error, ProviderError):
                    del asked[task]
                    run.failed(asking, error)
                elif error is not None:
                    raise error
            if won is not None:
                return await _take(run, won, asked)
            if timer is not None and timer in done:
                timer = None
                second = await _second(run, first)
                if second is not None:
                    asked[asyncio.ensure_future(_reply(run, second))] = second
        return None
    finally:
        await _end([*asked, *([] if timer is None else [timer])])


async def _second(run: Run, first: Asking) -> Asking | None:
    """Begins to ask for the draft once more, if the time and the budget allow it."""
    if run.out_of_time():
        return None
    model = first.command.model
    line = run.plan.drafters
    later = line[line.index(model) + 1 :] if model in line else ()
    if later:
        model = later[0]
        run.hedged.add(model.id)
    return await run.begin(Ask(model, "draft"))


async def _take(run: Run, won: tuple[Asking, Reply], asked: _Asked) -> Call:
    """Hears the first answer, and cancels the other call."""
    asking, reply = won
    call = run.answered(asking, reply)
    for task, other in list(asked.items()):
        task.cancel()
        late = task.done() and not task.cancelled() and task.exception() is None
        model = other.command.model
        other.ahead_ms = max(0.0, asking.began - other.began) * 1000
        if late:  # both came in the same moment: it is known what it cost
            run.answered(other, task.result())
        else:
            run.failed(
                other,
                OvertakenError(
                    f"{model.id}: another answer came first, and this call was cancelled",
                    provider=model.provider,
                    model=model.name,
                    billed=None,
                ),
            )
    await _end(list(asked))
    asked.clear()
    return call


async def _end(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancels what is still under way and waits until its connections are closed."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
