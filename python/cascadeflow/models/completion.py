"""What a model answered, free of any protocol, and the events of an answer that comes in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cascadeflow.types import EMPTY, FinishReason, JsonObject, ToolCall

if TYPE_CHECKING:
    from cascadeflow.models.usage import Usage

__all__ = [
    "Completed",
    "Completion",
    "ReasoningDelta",
    "RefusalDelta",
    "StreamEvent",
    "TextDelta",
    "TokenLogprob",
    "ToolCallDelta",
    "UsageUpdate",
]


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token the model chose and the natural logarithm of its probability."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A model's whole answer.

    Attributes:
        text: the visible text, empty when there is none.
        tool_calls: what the model asks to call.
        finish_reason: why it ended, in our words; `raw_finish_reason` keeps the provider's.
        usage: what was consumed, or `None` when the provider did not say.
        usage_complete: whether `usage` is the provider's final word; `False` on a broken stream.
        model: the model that served the request, by the provider's word.
        response_id: the provider's id of the answer.
        request_id: the provider's id of the HTTP request, from its headers.
        refusal: the model's words of refusal, where the protocol carries them apart.
        reasoning: the reasoning text that was shown, empty when there is none.
        logprobs: chosen tokens with their log-probabilities, when asked for.
        service_tier: the tier that served the request, which decides the price.
        reported_cost: nanodollars, when the provider itself says what it charged.
        headers: rate-limit and request-id headers, lower-cased; never a key.
        extras: every other field of the answer, in the provider's own words.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "unknown"
    raw_finish_reason: str | None = None
    usage: Usage | None = None
    usage_complete: bool = True
    model: str | None = None
    response_id: str | None = None
    request_id: str | None = None
    refusal: str | None = None
    reasoning: str = ""
    logprobs: tuple[TokenLogprob, ...] | None = None
    service_tier: str | None = None
    reported_cost: int | None = None
    headers: JsonObject = EMPTY
    extras: JsonObject = EMPTY


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A further piece of the visible text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A further piece of the reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """A further piece of a refusal that the protocol carries apart from the text."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A further piece of the tool call at `index`; `id` and `name` come with the first."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class UsageUpdate:
    """What the provider says was consumed so far; the last one counts."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Completed:
    """The stream's last event: the whole answer."""

    completion: Completion


StreamEvent: TypeAlias = (
    TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta | UsageUpdate | Completed
)
