"""Calls beside the answer: what a request is about, and second opinions on its draft.

They cost money and time as any call does, are held before they are sent and booked when they end;
but whatever comes of them, the request goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cascadeflow.errors import (
    BudgetExceededError,
    ConfigurationError,
    InvalidRequestError,
    ProviderError,
    UnknownPriceError,
)
from cascadeflow.pipeline.cascade import Ask
from cascadeflow.pipeline.partial import settle_partial

if TYPE_CHECKING:
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.pipeline.cascade import Role
    from cascadeflow.pipeline.purse import Tab
    from cascadeflow.pipeline.run import Run
    from cascadeflow.pipeline.settle import Call
    from cascadeflow.types import ChatRequest

__all__ = ["UNASKED", "ask_beside"]

UNASKED: Final = (BudgetExceededError, ConfigurationError, InvalidRequestError, UnknownPriceError)
"""What is raised before anything is sent."""


async def ask_beside(
    run: Run,
    model: ModelConfig,
    role: Role,
    chat: ChatRequest,
    *,
    tab: Tab | None,
    deadline: float,
) -> Call:
    """Asks one model once; its cost is the request's.

    Args:
        run: whose request it is.
        model: who is asked.
        role: what for.
        chat: what it is sent.
        tab: its money; `None` without a budget.
        deadline: seconds it may take, retries included.

    Raises:
        ProviderError: it did not answer.
        Exception: nothing was sent, or whatever a completer of the user's own raises.
    """
    asking = run.ask(Ask(model, role), tab, chat)
    left = run.left()
    try:
        asking.sent = True
        reply = await run.engine.completer.complete(
            model,
            chat,
            timeout=deadline if left is None else min(deadline, left),
            may_retry=asking.may_retry,
        )
    except ProviderError as error:
        run.failed(asking, error)
        raise
    except Exception as error:
        # Its protocol has no words for the question, or there is no key: nothing was sent. Of
        # anything else nobody knows.
        unsent = isinstance(error, UNASKED)
        settle_partial(run, asking, None, error=error, billed=False if unsent else None)
        run.open.remove(asking)
        raise
    return run.answered(asking, reply)
