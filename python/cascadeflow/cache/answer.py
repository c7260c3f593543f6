"""An answer as it is kept, and which answers may be."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from cascadeflow.errors import InvalidRequestError
from cascadeflow.models.usage import Usage
from cascadeflow.types import EMPTY, ToolCall

if TYPE_CHECKING:
    from cascadeflow.models.completion import Completion

__all__ = ["CachedAnswer"]

_FINISHED: Final = ("stop", "tool_calls")
_COUNTS: Final = tuple(each.name for each in fields(Usage) if each.name != "requests")


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedAnswer:
    """What is needed to give an answer again.

    Attributes:
        text: the visible text.
        model: who gave it, `provider:name`.
        created: when it was given, UTC.
        finish_reason: why it ended; only what ended of itself is kept.
        tool_calls: what the model asked to call.
        reasoning: the reasoning that was shown.
        usage: the tokens that all calls for it took; `None` when nobody said.
        nanodollars: what all calls for it cost; `None` when that is unknown.
        response_id: the provider's id of the answer.
    """

    text: str
    model: str
    created: datetime
    finish_reason: Literal["stop", "tool_calls"] = "stop"
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    usage: Usage | None = None
    nanodollars: int | None = None
    response_id: str | None = None

    def __post_init__(self) -> None:
        if self.finish_reason not in _FINISHED:
            raise InvalidRequestError(
                f"an answer that ended by {self.finish_reason!r} is not kept: the next one may be "
                "better; CachedAnswer.of gives None for it"
            )
        if self.created.tzinfo is None:
            raise InvalidRequestError("CachedAnswer.created needs a time zone")

    @classmethod
    def of(
        cls,
        completion: Completion,
        *,
        model: str,
        created: datetime,
        usage: Usage | None = None,
        nanodollars: int | None = None,
    ) -> CachedAnswer | None:
        """Gives a completion as it is kept, or `None` when it should not be.

        Not kept is what is no whole answer or may be better the next time: an answer cut at its
        limit or ended by a filter, a refusal, an empty one, and one whose provider did not confirm
        what it used, as on a stream that broke off.

        Args:
            completion: the answer.
            model: who gave it, `provider:name`.
            created: when, with a time zone.
            usage: the tokens of all calls for it; the completion's own by default.
            nanodollars: what all calls for it cost; `None` when that is unknown.
        """
        if (
            completion.finish_reason not in _FINISHED
            or completion.refusal
            or not completion.usage_complete
            or completion.usage is None
            or not (completion.text or completion.tool_calls)
        ):
            return None
        return cls(
            text=completion.text,
            model=model,
            created=created,
            finish_reason="tool_calls" if completion.finish_reason == "tool_calls" else "stop",
            tool_calls=completion.tool_calls,
            reasoning=completion.reasoning,
            usage=completion.usage if usage is None else usage,
            nanodollars=nanodollars,
            response_id=completion.response_id,
        )

    def to_bytes(self) -> bytes:
        """Gives it as JSON; what a model says may hold half a character, and keeps it."""
        usage = self.usage
        counts = None
        if usage is not None:
            counts = {name: getattr(usage, name) for name in _COUNTS}
            counts = {name: count for name, count in counts.items() if count is not None}
            counts["requests"] = dict(usage.requests)
        return json.dumps(
            {
                "text": self.text,
                "model": self.model,
                "created": self.created.astimezone(UTC).isoformat(),
                "finish": self.finish_reason,
                "calls": [[call.id, call.name, call.arguments] for call in self.tool_calls],
                "reasoning": self.reasoning,
                "usage": counts,
                "nanodollars": self.nanodollars,
                "response_id": self.response_id,
            },
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode("utf-8", "surrogatepass")

    @classmethod
    def from_bytes(cls, data: bytes) -> CachedAnswer:
        """Reads what `to_bytes` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            raw: dict[str, Any] = json.loads(data)
            counts = raw["usage"]
            usage = None
            if counts is not None:
                requests = counts.pop("requests")
                usage = Usage(**counts, requests=requests or EMPTY)
            return cls(
                text=raw["text"],
                model=raw["model"],
                created=datetime.fromisoformat(raw["created"]),
                finish_reason=raw["finish"],
                tool_calls=tuple(ToolCall(*call) for call in raw["calls"]),
                reasoning=raw["reasoning"],
                usage=usage,
                nanodollars=raw["nanodollars"],
                response_id=raw["response_id"],
            )
        except (KeyError, TypeError, AttributeError, InvalidRequestError) as error:
            raise ValueError(f"no cached answer: {error!r}") from error
