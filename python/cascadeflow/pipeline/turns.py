"""An answer as the message that goes back to the models, and as what the caller asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cascadeflow.errors import ConfigurationError
from cascadeflow.providers.codecs import get_codec
from cascadeflow.types import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.models.completion import Completion
    from cascadeflow.structured import OutputSchema, ParsedOutput
    from cascadeflow.types import ToolCall

__all__ = ["assistant_message", "read_answer"]


def assistant_message(provider: str, completion: Completion) -> Message:
    """Gives an answer as a message; what only its own provider may see is marked as that one's."""
    try:
        codec = get_codec(provider)
    except ConfigurationError:  # in this process, or behind a completer of the user's own
        return Message("assistant", completion.text, tool_calls=completion.tool_calls)
    return codec.assistant_message(completion)


def read_answer(schema: OutputSchema, text: str, tool_calls: Sequence[ToolCall]) -> ParsedOutput:
    """Reads an answer as the type that was asked for; beside tool calls it need not be one yet."""
    read = schema.parse(text)
    return replace(read, problem=None) if tool_calls and read.problem is not None else read
