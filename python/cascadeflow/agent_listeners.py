"""Who hears an agent's events: the user's callbacks, and standard error when it is verbose."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from cascadeflow.errors import ConfigurationError
from cascadeflow.money import to_usd
from cascadeflow.pipeline import events

__all__ = ["Listener", "notifier"]

_logger: Final = logging.getLogger(__name__)

Listener: TypeAlias = Callable[[events.Event], object]


def notifier(
    on_event: Listener | Sequence[Listener] | None, *, verbose: bool
) -> Callable[[events.Event], None] | None:
    """Gives one function that hands an event to everybody, or `None` when nobody listens.

    A listener that raises is logged and breaks nothing.

    Raises:
        ConfigurationError: a listener cannot be called, or is a coroutine function.
    """
    if on_event is None:
        listeners: list[Listener] = []
    elif isinstance(on_event, Sequence):
        listeners = list(on_event)
    else:
        listeners = [on_event]
    for listener in listeners:
        if not callable(listener):
            raise ConfigurationError(f"on_event must be callable, unlike {listener!r}")
        if inspect.iscoroutinefunction(listener):
            raise ConfigurationError(
                "on_event takes plain functions: they are called on the request's way and must "
                "not wait. Put the event into a queue and await that elsewhere"
            )
    if verbose:
        listeners.append(_write)
    if not listeners:
        return None

    def notify(event: events.Event) -> None:
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                _logger.exception("an on_event listener raised on %s", type(event).__name__)

    return notify


def _write(event: events.Event) -> None:
    """Writes one line about an event to standard error; never a word of prompt or answer."""
    line = _line(event)
    if line:
        sys.stderr.write(f"[{event.request_id[:8]}] {line}\n")


def _line(event: events.Event) -> str:  # noqa: PLR0911 - one return a kind of event
    match event:
        case events.Routed():
            models = " -> ".join(filter(None, (event.draft_model, event.verifier_model)))
            return f"{event.route} ({event.reason}): {models}"
        case events.CallFinished():
            cost = "unknown cost" if event.cost is None else f"${to_usd(event.cost):f}"
            return f"{event.role} {event.model}: {event.duration_ms:.0f} ms, {cost}"
        case events.CallFailed():
            return f"{event.role} {event.model} failed: {event.error}"
        case events.DraftJudged():
            verdict = "accepted" if event.quality.accepted else "rejected"
            return f"draft {verdict}: {event.quality.reason}"
        case events.BudgetWarned():
            return f"budget {event.state}: ${to_usd(event.spent):f} of ${to_usd(event.limit):f}"
        case events.RequestCompleted():
            total, saved = event.result.cost.total, event.result.cost.saved
            return f"answered by {event.result.routing.model_used}: cost {total}, saved {saved} USD"
        case events.RequestFailed():
            what = "cancelled" if event.cancelled else f"failed: {event.error}"
            return f"request {what}"
        case _:
            return ""
