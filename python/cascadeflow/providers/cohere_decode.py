"""Reads Cohere's v2 chat, whole and streamed. What becomes of an answer is `cohere_answer`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cascadeflow.providers.cohere_answer import Answer
from cascadeflow.providers.error_mapping import error_from_object, malformed
from cascadeflow.providers.reading import SseReader
from cascadeflow.providers.shared import read_json
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.errors import ProviderError
    from cascadeflow.models.completion import Completion

__all__ = ["CohereStreamDecoder", "read_response"]

_FORM: Final = frozenset({"delta", "index", "type"})
"""What nearly every event has, and no more."""
_PIECES: Final = frozenset(
    {
        *("citation-end", "citation-start", "content-delta", "content-end", "content-start"),
        *("message-end", "message-start", "tool-call-delta", "tool-call-end", "tool-call-start"),
        "tool-plan-delta",
    }
)
_NOTHING: Final[Mapping[str, Any]] = {}


def read_response(provider: str, headers: Mapping[str, str], body: bytes) -> Completion:
    """Reads a whole response whose status says that it is an answer.

    Raises:
        ProviderError: the body is an error all the same, or no answer at all.
    """
    try:
        parsed = read_json(body)
        if not isinstance(parsed, dict):
            raise malformed(provider, "it is not a JSON object")
        message = parsed.get("message")
        if isinstance(message, dict):
            answer = Answer()
            answer.add_message(message, new=True)
            answer.add_top(parsed)
            return answer.completion(headers)
    except ValueError:
        raise malformed(provider, "it is not JSON", body=body) from None
    except RecursionError:
        raise malformed(provider, "it is nested too deeply") from None
    if message or parsed.get("error"):
        # An error object's message is text. It began to answer, and may bill what it did.
        raise error_from_object(provider, parsed, headers=headers, billed=None)
    raise malformed(provider, "it has no message")


# Streams


class CohereStreamDecoder(SseReader):
    """Reads one stream of chat events."""

    __slots__ = ("_answer", "_ended")

    def __init__(self, provider: str, headers: Mapping[str, str] = EMPTY) -> None:
        super().__init__(provider, headers)
        self._answer = Answer(self._events)
        self._ended = False

    def _completion(self) -> Completion:
        ended = self._ended and self._answer.finish is not None
        return self._answer.completion(self._headers, complete=ended, broken=not ended)

    def _read(self, _: str, data: bytes, *, at_end: bool = False) -> None:
        if data == b"[DONE]":
            return  # of the end, `message-end` is the word
        try:
            event = read_json(data)
            if isinstance(event, dict):
                self._take(event)
            else:
                self._fail(malformed(self._provider, "a stream's event is not a JSON object"))
        except (ValueError, RecursionError):
            if not at_end and data.strip():  # what is cut off, or blank, is no event
                self._fail(malformed(self._provider, "a stream's event is not JSON", body=data))

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = event.get("type")
        if not isinstance(kind, str) or kind not in _PIECES:
            if kind in (None, "error") and (event.get("message") or event.get("error")):
                self._fail(self._error(event))
            else:
                self._answer.unknown.append(event)
            return
        delta = event.get("delta")
        if not isinstance(delta, dict):
            delta = _NOTHING
        message = delta.get("message")
        if isinstance(message, dict):
            self._answer.add_message(message, event.get("index"), new=kind.endswith("start"))
        if len(delta) != 1 or message is None or not event.keys() <= _FORM:
            self._answer.add_top(event)
            self._answer.add_top(delta)
        if kind == "message-end":
            self._ended = True
            if delta.get("error"):
                self._fail(self._error({"message": delta["error"]}))

    def _error(self, said: Mapping[str, Any]) -> ProviderError:
        return error_from_object(self._provider, said, headers=self._headers, billed=None)
