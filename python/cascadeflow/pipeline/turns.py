"""An answer as the message that goes back to the models in the next turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascadeflow.errors import ConfigurationError
from cascadeflow.providers.codecs import get_codec
from cascadeflow.types import Message

if TYPE_CHECKING:
    from cascadeflow.models.completion import Completion

__all__ = ["assistant_message"]


def assistant_message(provider: str, completion: Completion) -> Message:
    """Gives an answer as a message; what only its own provider may see is marked as that one's."""
    try:
        codec = get_codec(provider)
    except ConfigurationError:  # in this process, or behind a completer of the user's own
        return Message("assistant", completion.text, tool_calls=completion.tool_calls)
    return codec.assistant_message(completion)
