"""What every codec reads alike: errors, whole answers, streams, and one that came for the other.

A protocol's own module says how one whole answer and one event are read (`_whole`, `_read`), and
nothing of what stands here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from cascadeflow.models.completion import Completed
from cascadeflow.providers.error_mapping import error_from_body
from cascadeflow.providers.shared import EitherDecoder, WholeBodyDecoder, is_event_stream
from cascadeflow.providers.sse import SseParser
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cascadeflow.errors import ProviderError
    from cascadeflow.models.completion import Completion, StreamEvent
    from cascadeflow.providers.protocols import StreamDecoder

__all__ = ["ResponseReader", "SseReader", "StreamReader"]


class ResponseReader(ABC):
    """The reading half of a codec.

    Attributes:
        name: the provider's id.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def decode(self, status: int, headers: Mapping[str, str], body: bytes) -> Completion:
        """Reads a whole response.

        Args:
            status: the HTTP status.
            headers: the response's headers, names lower-cased.
            body: its body, decompressed.

        Raises:
            ProviderError: the response is an error, or is no answer.
        """
        if not 200 <= status < 300:  # noqa: PLR2004
            raise self._error(status, headers, body)
        return self._whole(headers, body)

    def decoder(self, headers: Mapping[str, str] = EMPTY) -> StreamDecoder:
        """Gives a decoder for one streamed response, or for a whole one that came instead."""

        def whole(body: bytes) -> Completion:
            return self._whole(headers, body)

        if not is_event_stream(headers):
            return WholeBodyDecoder(whole)
        return EitherDecoder(self._stream(headers), whole)

    def decode_stream(self, chunks: Iterable[bytes]) -> Iterator[StreamEvent]:
        """Reads a whole stream; the last event is `Completed`.

        Raises:
            ProviderError: the stream carried an error; the events before it have been given.
        """
        decoder = self.decoder()
        for chunk in chunks:
            yield from decoder.feed(chunk)
        yield from decoder.finish()

    def _error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Reads a response whose status says that it is an error."""
        return error_from_body(self.name, status, headers, body)

    @abstractmethod
    def _whole(self, headers: Mapping[str, str], body: bytes) -> Completion:
        """Reads a response whose status says that it is an answer."""

    @abstractmethod
    def _stream(self, headers: Mapping[str, str]) -> StreamDecoder:
        """Gives what reads one stream of the protocol."""


class StreamReader(ABC):
    """Reads one stream: what was read is given first, and only then the error behind it.

    Attributes:
        failure: the error that the stream itself carried, once it has been read; `feed` and
            `finish` raise it, but never before they have given the events that came ahead of it.
    """

    __slots__ = ("_events", "_headers", "_provider", "failure")

    def __init__(self, provider: str, headers: Mapping[str, str] = EMPTY) -> None:
        self._provider = provider
        self._headers = headers
        self._events: list[StreamEvent] = []
        self.failure: ProviderError | None = None

    def feed(self, chunk: bytes) -> Sequence[StreamEvent]:
        """Takes the next bytes and gives the events that they complete.

        Raises:
            ProviderError: the stream carried an error, or bytes that the protocol does not allow.
        """
        self._raise_failure()
        self._feed(chunk)
        return self._given()

    def finish(self) -> Sequence[StreamEvent]:
        """Says that no more bytes come; the last event is `Completed`.

        Raises:
            ProviderError: the stream carried an error.
        """
        self._raise_failure()
        self._end()
        self._events.append(Completed(self._completion()))
        return self._given()

    def partial(self) -> Completion | None:
        """Gives the answer as far as it has been read, `None` when nothing of it is known."""
        return self._completion()

    @abstractmethod
    def _completion(self) -> Completion:
        """Builds the answer from what has been read, be it nothing."""

    @abstractmethod
    def _feed(self, chunk: bytes) -> None:
        """Reads the events that the bytes complete, up to the first that is a failure."""

    @abstractmethod
    def _end(self) -> None:
        """Reads what was pending, and raises what it fails by."""

    def _fail(self, failure: ProviderError) -> None:
        if failure.partial is None:
            failure.partial = self.partial()
        self.failure = failure

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _given(self) -> Sequence[StreamEvent]:
        if not self._events:
            self._raise_failure()
            return ()
        given = self._events.copy()
        self._events.clear()
        return given


class SseReader(StreamReader):
    """Reads one stream of server-sent events."""

    __slots__ = ("_parser",)

    def __init__(
        self, provider: str, headers: Mapping[str, str] = EMPTY, parser: SseParser | None = None
    ) -> None:
        super().__init__(provider, headers)
        self._parser = parser or SseParser()

    def _feed(self, chunk: bytes) -> None:
        for name, data in self._parser.feed(chunk):
            self._read(name, data)
            if self.failure is not None:
                break

    def _end(self) -> None:
        for name, data in self._parser.finish():
            self._read(name, data, at_end=True)
            self._raise_failure()

    @abstractmethod
    def _read(self, name: str, data: bytes, /, *, at_end: bool = False) -> None:
        """Reads one event; at the end, what is cut off is none."""
