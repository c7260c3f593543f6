"""The records that every room shares: messages, tools, requests. Import nothing of ours.

All are frozen: what was decided is what was done. What a caller writes as plain dicts (the OpenAI
message form) is read by `pipeline.request`; everything behind it sees only these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

__all__ = [
    "DOMAINS",
    "EMPTY",
    "GENERAL",
    "Attempt",
    "ChatRequest",
    "ContentPart",
    "DocumentPart",
    "FinishReason",
    "ImagePart",
    "JsonObject",
    "Message",
    "PeriodKind",
    "ResponseFormat",
    "Role",
    "ScopeKind",
    "TextPart",
    "Tool",
    "ToolCall",
    "ToolChoice",
]

JsonObject: TypeAlias = Mapping[str, Any]


class _Empty(Mapping[str, Any]):
    """The empty mapping. Unlike a mapping proxy it may be a default on 3.11, pickled and copied."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __hash__(self) -> int:
        return hash(())

    def __repr__(self) -> str:
        return "{}"

    def __reduce__(self) -> str:
        return "EMPTY"


EMPTY: Final[JsonObject] = _Empty()
"""The empty mapping, shared: a default that nobody can write to."""

Role = Literal["system", "developer", "user", "assistant", "tool"]

ScopeKind = Literal["global", "tier", "user", "team", "key", "tag", "model"]
"""Whose money a budget counts."""

PeriodKind = Literal["rolling", "day", "week", "month", "total"]
"""Over which time it is counted."""

DOMAINS: Final = frozenset(
    {
        *("code", "creative", "data", "factual", "finance", "general", "legal", "math", "medical"),
        *("reasoning", "science", "summarization", "support", "translation"),
    }
)
"""What a request may be about; `general` is anything else."""

GENERAL: Final = "general"
"""The domain of what is none of the others, and of what nobody is sure about."""

FinishReason = Literal[
    "stop", "length", "tool_calls", "content_filter", "refusal", "error", "unknown"
]
"""Why a completion ended. `length`: cut by a token limit. `refusal`: the model itself declined."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text in a message."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image in a message: a URL, or base64 data with its media type."""

    url: str | None = None
    data: str | None = field(default=None, repr=False)
    media_type: str | None = None
    detail: Literal["auto", "low", "high"] | None = None


@dataclass(frozen=True, slots=True)
class DocumentPart:
    """A file in a message, such as a PDF: a URL, an id at the provider, or base64 data."""

    url: str | None = None
    file_id: str | None = None
    data: str | None = field(default=None, repr=False)
    media_type: str | None = None
    name: str | None = None


ContentPart: TypeAlias = TextPart | ImagePart | DocumentPart


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to call a tool.

    Attributes:
        id: the provider's id of the call; the tool's result names it.
        name: the tool's name.
        arguments: the arguments as the JSON text the model wrote, which may be broken JSON.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: who speaks.
        content: text, or parts where there is more than text.
        tool_calls: what an assistant's message asked to call.
        tool_call_id: on a `tool` message, which call this is the result of.
        name: the speaker's name, where the protocol carries one.
        extras: what the provider's protocol needs back unchanged (signed thinking blocks …).
    """

    role: Role
    content: str | tuple[ContentPart, ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    extras: JsonObject = EMPTY

    @property
    def text(self) -> str:
        """The message's text, its parts joined by line breaks; what is not text is left out."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may ask to call.

    Attributes:
        name: the function's name.
        description: what it does, for the model.
        parameters: the JSON schema of its arguments.
        strict: whether the provider must hold the arguments to the schema, where it can.
    """

    name: str
    description: str = ""
    parameters: JsonObject = EMPTY
    strict: bool | None = None


ToolChoice: TypeAlias = str
"""`"auto"`, `"none"`, `"required"`, or the name of the one tool to call."""


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The form asked of the answer: any JSON, or JSON that fits a schema.

    Attributes:
        kind: `json_object` (any JSON) or `json_schema`.
        schema: the JSON schema, with `json_schema`.
        name: the schema's name, which some protocols ask for.
        strict: whether the provider must hold to the schema, where it can.
    """

    kind: Literal["json_object", "json_schema"]
    schema: JsonObject = EMPTY
    name: str = "answer"
    strict: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of one model, whatever became of it.

    Attributes:
        provider: the provider's id.
        model: the model as the provider names it.
        outcome: `ok`, or the name of the error's class.
        status: the HTTP status, when there was a response.
        request_id: the provider's id of the request.
        started_ms: milliseconds from the start of the call to the start of this try.
        duration_ms: how long it took, in milliseconds.
        billed: whether the provider charged for it; `None` when that cannot be known.
    """

    provider: str
    model: str
    outcome: str
    status: int | None = None
    request_id: str | None = None
    started_ms: float = 0.0
    duration_ms: float = 0.0
    billed: bool | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What is asked of one model, free of any protocol. A codec writes it in the provider's words.

    `None` means: say nothing about it to the provider.

    Attributes:
        model: the model as the provider names it.
        messages: the conversation, at least one message.
        max_tokens: the largest number of output tokens, reasoning included.
        temperature: sampling temperature.
        top_p: nucleus sampling.
        stop: sequences that end the answer.
        seed: the sampling seed, where the provider has one.
        tools: functions the model may call.
        tool_choice: whether it may, must, or which one it must call.
        response_format: the form asked of the answer.
        logprobs: how many of the likeliest tokens to report per position; 0 reports the chosen one.
        stream: whether the answer comes in pieces.
        user: an opaque id of the end user, for the provider's abuse checks.
        extra: further fields for the body, in the provider's own words.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    response_format: ResponseFormat | None = None
    logprobs: int | None = None
    stream: bool = False
    user: str | None = None
    extra: JsonObject = EMPTY

    @property
    def last_user_text(self) -> str:
        """The text of the last user message: what the request asks."""
        return last_user_text(self.messages)


def last_user_text(messages: Sequence[Message]) -> str:
    """Gives the text of the last user message, or of the last message when no user spoke."""
    for message in reversed(messages):
        if message.role == "user":
            return message.text
    return messages[-1].text if messages else ""
