"""What both protocols' codecs need, and no more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import InvalidRequestError, ProviderError
from cascadeflow.models.completion import (
    Completed,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    UsageUpdate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cascadeflow.models.completion import Completion, StreamEvent
    from cascadeflow.providers.protocols import StreamDecoder
    from cascadeflow.types import DocumentPart, ImagePart, JsonObject, Message

__all__ = [
    "EitherDecoder",
    "WholeBodyDecoder",
    "add_extra",
    "data_url",
    "dump",
    "is_event_stream",
    "message_fields",
    "read_json",
]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is not JSON")


_WRITE: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain
).encode
_WRITE_ESCAPED: Final = json.JSONEncoder(
    separators=(",", ":"), allow_nan=False, default=_plain
).encode


def dump(body: Mapping[str, Any]) -> bytes:
    """Writes JSON as bytes, as short as it goes.

    Raises:
        InvalidRequestError: something in it is not JSON.
    """
    try:
        try:
            return _WRITE(body).encode()
        except UnicodeEncodeError:
            # A lone surrogate has no UTF-8; JSON's own escapes can carry it.
            return _WRITE_ESCAPED(body).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from None


_READ: Final = json.JSONDecoder().raw_decode


def read_json(data: bytes) -> Any:
    """Reads JSON: what `json.loads` gives, without its guesses where none are needed.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    try:
        text = data.decode()
        value, end = _READ(text)
    except ValueError:
        return json.loads(data)  # white space ahead of it, a byte order mark, UTF-16
    if end != len(text) and not text[end:].isspace():
        raise ValueError("more than one JSON value")
    return value


def add_extra(body: dict[str, Any], extra: JsonObject) -> None:
    """Adds the caller's further fields: they win, and objects on both sides are put together."""
    for name, value in extra.items():
        old = body.get(name)
        if isinstance(old, dict) and isinstance(value, Mapping):
            body[name] = {**old, **value}
        else:
            body[name] = value


def message_fields(message: Message, provider: str) -> dict[str, Any]:
    """Gives the further fields of a message for one provider.

    `extras["provider:<id>"]` holds what only that provider may see; any other key is a field that
    the caller wrote, and goes to all.
    """
    fields: dict[str, Any] = {}
    for name, value in message.extras.items():
        if not name.startswith("provider:"):
            fields[name] = value
        elif name == f"provider:{provider}":
            fields.update(value)
    return fields


def data_url(part: ImagePart | DocumentPart) -> str:
    """Writes inline data as a `data:` URL.

    Raises:
        InvalidRequestError: the part has no data, or no media type.
    """
    if part.data is None or part.media_type is None:
        raise InvalidRequestError(
            f"{type(part).__name__} needs a url, or data (base64) with its media_type"
        )
    return f"data:{part.media_type};base64,{part.data}"


def is_event_stream(headers: Mapping[str, str]) -> bool:
    """Whether a response is a stream; one that does not say what it is, is taken for one."""
    # A web page is none: read as a whole answer, it is told as what it is.
    return not headers.get("content-type", "").lower().startswith(("application/json", "text/html"))


class WholeBodyDecoder:
    """Reads a whole JSON answer where a stream was asked for: some servers do not stream.

    It has the shape of a stream decoder, so its caller need not care.
    """

    __slots__ = ("_decode", "_pieces", "failure")

    def __init__(self, decode: Callable[[bytes], Completion]) -> None:
        self._decode = decode
        self._pieces: list[bytes] = []
        self.failure: ProviderError | None = None

    def feed(self, chunk: bytes) -> Sequence[StreamEvent]:
        """Keeps the bytes; nothing is known before the last."""
        self._pieces.append(chunk)
        return ()

    def finish(self) -> Sequence[StreamEvent]:
        """Gives the whole answer as events."""
        completion = self._decode(b"".join(self._pieces))
        events: list[StreamEvent] = []
        if completion.reasoning:
            events.append(ReasoningDelta(completion.reasoning))
        if completion.text:
            events.append(TextDelta(completion.text))
        if completion.refusal:
            events.append(RefusalDelta(completion.refusal))
        for index, call in enumerate(completion.tool_calls):
            events.append(ToolCallDelta(index, call.id, call.name, call.arguments))
        if completion.usage is not None:
            events.append(UsageUpdate(completion.usage))
        events.append(Completed(completion))
        return events

    def partial(self) -> Completion | None:
        """Nothing is known of an answer that is not whole."""
        return None


_BLANK: Final = b" \t\r\n\xef\xbb\xbf"
"""What may stand ahead of either: white space, and a byte order mark."""


class EitherDecoder:
    """Reads a stream, or a whole JSON answer that came in its place, by the first byte.

    A stream begins with a field's name, a colon, or a frame's length; none begins as JSON does. So
    it does not matter what the headers say it is, or that nobody kept them.
    """

    __slots__ = ("_blank", "_decoder", "_stream", "_whole", "feed")

    def __init__(self, stream: StreamDecoder, whole: Callable[[bytes], Completion]) -> None:
        self._stream = stream
        self._decoder = stream
        self._whole = whole
        self._blank: list[bytes] = []
        self.feed = self._begin
        """Takes the next bytes; once it is known what they are, this is the decoder's own."""

    def _begin(self, chunk: bytes) -> Sequence[StreamEvent]:
        self._blank.append(chunk)
        begun = chunk.lstrip(_BLANK)
        if not begun:
            return ()
        if begun.startswith((b"{", b"[")):
            self._decoder = WholeBodyDecoder(self._whole)
        self.feed = self._decoder.feed
        return self.feed(b"".join(self._blank))

    @property
    def failure(self) -> ProviderError | None:
        """The error that the stream carried, once it has been read."""
        return self._decoder.failure

    @failure.setter
    def failure(self, failure: ProviderError | None) -> None:
        self._decoder.failure = failure

    def finish(self) -> Sequence[StreamEvent]:
        """Says that no more bytes come; the last event is `Completed`.

        Raises:
            ProviderError: the stream carried an error, or the whole answer is one or is none.
        """
        try:
            return self._decoder.finish()
        except ProviderError as error:
            if error.partial is None:
                error.partial = self._stream.partial()  # as of a stream that began with an error
            raise

    def partial(self) -> Completion | None:
        """Gives the answer as far as it has been read."""
        return self._decoder.partial()
