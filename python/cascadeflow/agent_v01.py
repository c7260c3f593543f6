"""The streaming events of v0.1, for code that was written against them.

New code reads `CascadeAgent.stream`, whose events are typed and say more.
"""

from __future__ import annotations

import sys
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from cascadeflow.pipeline import events
from cascadeflow.pipeline.cascade import BESIDE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cascadeflow.pipeline.result import CascadeResult

__all__ = ["StreamEvent", "StreamEventType", "v01_events", "written"]


class StreamEventType(Enum):
    """What kind of event a `StreamEvent` is."""

    ROUTING = "routing"
    CHUNK = "chunk"
    DRAFT_DECISION = "draft_decision"
    SWITCH = "switch"
    COMPLETE = "complete"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of `CascadeAgent.stream_events`.

    Attributes:
        type: what kind it is.
        content: text, for `CHUNK` and `SWITCH`.
        data: further facts, by the names v0.1 gave them.
    """

    type: StreamEventType
    content: str
    data: dict[str, Any]


async def written(stream: AsyncGenerator[events.Event], *, shown: bool) -> CascadeResult:
    """Writes an answer to standard output as it comes, where it is to be shown.

    Args:
        stream: an agent's events.
        shown: `False` writes nothing.
    """
    async with aclosing(stream) as events_of:
        async for event in events_of:
            if isinstance(event, events.RequestCompleted):
                if shown:
                    sys.stdout.write("\n")
                return event.result
            if not shown:
                continue
            if isinstance(event, events.TextChunk):
                sys.stdout.write(event.text)
                sys.stdout.flush()
            elif isinstance(event, events.AnswerReplaced):
                line = f"[{event.old_model} broke off: {event.new_model} answers]"
                sys.stdout.write(f"\n{line}\n")
            elif isinstance(event, events.StepStarted):
                sys.stdout.write("\n")
    raise AssertionError("a stream ends with its result or with an error")


async def v01_events(
    stream: AsyncGenerator[events.Event], *, model_names: dict[str, str]
) -> AsyncGenerator[StreamEvent]:
    """Says each event in v0.1's words; an error becomes an event, as it did there.

    Args:
        stream: an agent's events.
        model_names: by model id, the name its provider gives it.
    """
    draft_model: str | None = None
    verifier_model: str | None = None
    phase = "direct"
    try:
        async for event in stream:
            match event:
                case events.Routed():
                    draft_model, verifier_model = event.draft_model, event.verifier_model
                    yield StreamEvent(
                        StreamEventType.ROUTING,
                        "",
                        {"strategy": event.route, "complexity": event.complexity},
                    )
                case events.CallStarted():
                    if event.role not in BESIDE:
                        phase = event.role
                case events.TextChunk():
                    provider = event.model.partition(":")[0]
                    yield StreamEvent(
                        StreamEventType.CHUNK,
                        event.text,
                        {"model": model_names[event.model], "phase": phase, "provider": provider},
                    )
                case events.DraftJudged():
                    if event.quality.accepted is not True:
                        phase = "verifier"  # whose answer may be there already
                    yield StreamEvent(
                        StreamEventType.DRAFT_DECISION,
                        "",
                        {
                            "accepted": event.quality.accepted is True,
                            "score": event.quality.score,
                            "confidence": event.quality.score,
                            "reason": event.quality.reason,
                            "draft_model": model_names.get(draft_model or ""),
                            "verifier_model": model_names.get(verifier_model or ""),
                        },
                    )
                case events.AnswerReplaced():
                    old, new = model_names[event.old_model], model_names[event.new_model]
                    yield StreamEvent(
                        StreamEventType.SWITCH,
                        f"Cascading to {new}",
                        {"from_model": old, "to_model": new, "reason": event.reason},
                    )
                case events.RequestCompleted():
                    yield StreamEvent(
                        StreamEventType.COMPLETE, "", {"result": v01_result(event.result)}
                    )
                case _:
                    pass
    except Exception as error:  # noqa: BLE001 - v0.1 promised an event instead
        yield StreamEvent(
            StreamEventType.ERROR, str(error), {"error": str(error), "type": type(error).__name__}
        )
    finally:
        await stream.aclose()


def v01_result(result: CascadeResult) -> dict[str, Any]:
    """Gives a result as the flat dict that v0.1's last event carried."""
    return {
        "content": result.content,
        "model_used": result.model_used,
        "total_cost": result.total_cost,
        "latency_ms": result.latency_ms,
        "complexity": result.complexity,
        "cascaded": result.cascaded,
        "draft_accepted": result.draft_accepted,
        "cost_saved": result.cost_saved,
        "draft_cost": result.draft_cost,
        "verifier_cost": result.verifier_cost,
        "quality_score": result.quality.score,
        "reason": result.routing.reason,
        "metadata": result.metadata,
    }
