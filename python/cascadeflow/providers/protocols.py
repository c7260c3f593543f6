"""What the parts promise each other: a codec is pure, a transport sends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from cascadeflow.errors import ProviderError
    from cascadeflow.models.completion import Completion, StreamEvent
    from cascadeflow.types import ChatRequest, Message

__all__ = [
    "Codec",
    "ConnectTimeoutError",
    "EncodedRequest",
    "HttpRequest",
    "HttpResponse",
    "NotConnectedError",
    "Signer",
    "StreamDecoder",
    "Transport",
]


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """A request as bytes, before a base URL and credentials are added to it."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class StreamDecoder(Protocol):
    """Takes a stream's bytes in pieces of any size and gives its events.

    Attributes:
        failure: the error that the stream carried, once it has been read. `feed` and `finish` raise
            it, but only after the events ahead of it have been given: a caller that has been given
            events looks here before it waits for more bytes.
    """

    failure: ProviderError | None

    def feed(self, chunk: bytes) -> Sequence[StreamEvent]:
        """Takes the next bytes; raises a `ProviderError` when the stream itself carries one."""

    def finish(self) -> Sequence[StreamEvent]:
        """Says that no more bytes come; the last event is `Completed`.

        A stream that broke off gives what it had, with `usage_complete=False`.
        """

    def partial(self) -> Completion | None:
        """Gives the answer as far as it has been read, `None` when nothing of it is known."""


class Codec(Protocol):
    """One wire protocol, pure: no I/O, no clock, no state between calls."""

    @property
    def name(self) -> str:
        """The provider's id."""

    def encode(self, request: ChatRequest) -> EncodedRequest:
        """Writes a request in the protocol's words."""

    def decode(self, status: int, headers: Mapping[str, str], body: bytes) -> Completion:
        """Reads a whole response; raises a `ProviderError` for an error response."""

    def decoder(self, headers: Mapping[str, str] = ...) -> StreamDecoder:
        """Gives a decoder for one streamed response."""

    def decode_stream(self, chunks: Iterable[bytes]) -> Iterator[StreamEvent]:
        """Reads a whole stream; the last event carries the Completion."""

    def assistant_message(self, completion: Completion) -> Message:
        """Gives an answer as the message that goes back to this provider in the next request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One HTTP request, credentials included: its headers and body are never shown.

    Attributes:
        method: `POST`, or `GET`.
        url: the absolute URL.
        headers: as they are sent; `authorization` and the like among them.
        body: as it is sent.
        connect: seconds until the connection must stand; `None` waits for ever.
        first_byte: seconds from there to the response's first byte.
        between_chunks: seconds between two pieces of the response's body. The caller keeps this
            deadline; a transport may set its own timers by it.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    connect: float | None = None
    first_byte: float | None = None
    between_chunks: float | None = None


class HttpResponse(Protocol):
    """A response whose body has not been read yet."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names lower-cased."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes, decompressed, as they come."""

    async def aclose(self) -> None:
        """Ends the response; closes the connection when the body was not read to its end."""


class Transport(Protocol):
    """Sends one HTTP request. Anything with this one method can be an agent's transport."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Sends the request and returns once the response's headers are there.

        Raises:
            TimeoutError: a deadline passed; `ConnectTimeoutError` when nothing had been sent.
            ConnectionError: no connection, or it broke; `NotConnectedError` when nothing had been
                sent. Where that is not said, the request may have been billed.
        """


class Signer(Protocol):
    """Adds credentials to requests, where a provider is reached without a key."""

    async def sign(self, request: HttpRequest) -> HttpRequest:
        """Gives the request with its credentials; asked anew for each try.

        Raises:
            MissingKeyError: there are no credentials.
            ConnectionError: they could not be fetched; nothing was sent to the provider.
            TimeoutError: likewise.
        """

    def secrets(self) -> tuple[str, ...]:
        """Everything it used last that no error's text may hold."""


class ConnectTimeoutError(TimeoutError):
    """No connection stood in time: nothing was sent, so nothing was billed."""


class NotConnectedError(ConnectionError):
    """No connection could be made: nothing was sent, so nothing was billed."""
