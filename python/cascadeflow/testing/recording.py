"""A transport that writes down what was really sent and what really came back."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from cascadeflow.clock import SystemClock
from cascadeflow.errors import ConfigurationError
from cascadeflow.testing.scrub import Scrubber
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Collection,
        Iterable,
        Mapping,
        Sequence,
    )
    from os import PathLike

    from cascadeflow.clock import Clock
    from cascadeflow.providers.protocols import HttpRequest, HttpResponse, Transport

__all__ = ["CannedResponse", "Exchange", "RecordingTransport"]

Outcome = Literal["complete", "closed_early", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what became of it, credentials scrubbed.

    Attributes:
        index: which request of its transport it was, from 0, in the order they were sent.
        method: `POST`, or `GET`.
        url: the absolute URL.
        headers: of the request, names lower-cased.
        body: of the request.
        status: of the response; `None` when none came.
        response_headers: names lower-cased; empty when no response came.
        chunks: the response's body, in the pieces it came in.
        outcome: `complete`: read to its end; `closed_early`: the reader closed it before;
            `failed`: no response, or the body broke off; `error` says how.
        error: the class of the exception and its words; `None` unless it failed.
        started: when it was sent, in seconds of the transport's clock.
        responded: when the response's headers were there; `None` when they never came.
        ended: when the body ended, was closed or broke off.
    """

    index: int
    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status: int | None
    response_headers: Mapping[str, str] = field(default=EMPTY, repr=False)
    chunks: tuple[bytes, ...] = field(default=(), repr=False)
    outcome: Outcome = "complete"
    error: tuple[str, str] | None = None
    started: float = 0.0
    responded: float | None = None
    ended: float = 0.0

    @property
    def response_body(self) -> bytes:
        """The response's body in one piece."""
        return b"".join(self.chunks)

    @property
    def request_json(self) -> Any:
        """The request's body, read as JSON."""
        return json.loads(self.body)

    @property
    def response_json(self) -> Any:
        """The response's body, read as JSON."""
        return json.loads(self.response_body)


@dataclass(frozen=True, slots=True, kw_only=True)
class CannedResponse:
    """A response made up beforehand.

    Attributes:
        status: the HTTP status.
        headers: names in any case.
        chunks: the body, in the pieces it shall come in.
        breaks_with: raised after the last piece, in place of a proper end.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Sequence[bytes] = ()
    breaks_with: Exception | None = None

    @classmethod
    def json(cls, content: Any, *, status: int = 200, headers: Mapping[str, str] = EMPTY) -> Self:
        """A JSON body.

        >>> CannedResponse.json({"ok": True}).chunks
        (b'{"ok":true}',)
        """
        body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
        return cls(
            status=status, headers={"content-type": "application/json", **headers}, chunks=(body,)
        )

    @classmethod
    def events(
        cls,
        events: Iterable[Any],
        *,
        headers: Mapping[str, str] = EMPTY,
        breaks_with: Exception | None = None,
    ) -> Self:
        """A stream of server-sent events, one piece each.

        Args:
            events: what each event's `data` holds: text as it is (`"[DONE]"`), anything else as
                JSON. An event of a mapping that has a `type` is named after it, as Anthropic does.
            headers: further headers.
            breaks_with: raised after the last event, in place of a proper end.
        """
        return cls(
            headers={"content-type": "text/event-stream", **headers},
            chunks=tuple(_event(event) for event in events),
            breaks_with=breaks_with,
        )


Answer: TypeAlias = CannedResponse | Exception


class RecordingTransport:
    """A `Transport` that records every exchange, over another transport or canned responses.

    Give exactly one of the three sources. What is recorded holds no credentials: neither the
    headers and URL parameters that carry them, nor their values where a body repeats them.
    """

    def __init__(
        self,
        inner: Any = None,
        *,
        responses: Iterable[Answer] | None = None,
        respond: Callable[[HttpRequest], Answer | Awaitable[Answer]] | None = None,
        clock: Clock | None = None,
        secret_names: Collection[str] = (),
    ) -> None:
        """Sets the source.

        Args:
            inner: what really sends: a `Transport`, an `httpx2.AsyncClient` or an
                `httpx.AsyncClient`; who made it closes it.
            responses: canned responses, given in this order; an exception among them is raised.
            respond: gives the response to a request, or raises, or gives an exception to raise.
            clock: what the times of an exchange are read from; the machine's own unless told.
            secret_names: further headers and URL parameters that hold credentials.

        Raises:
            ConfigurationError: not exactly one source was given, or `inner` cannot send.
        """
        if sum(source is not None for source in (inner, responses, respond)) != 1:
            raise ConfigurationError(
                "RecordingTransport needs exactly one of inner=, responses= and respond="
            )
        self._inner: Transport | None = None
        if inner is not None:
            from cascadeflow.providers.transport import as_transport  # noqa: PLC0415 - when sending

            self._inner = as_transport(inner)
        self._responses = None if responses is None else iter(responses)
        self._respond = respond
        self._clock = clock or SystemClock()
        self._secret_names = frozenset(secret_names)
        self._sent = 0
        self._exchanges: list[Exchange] = []

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """Every exchange that has ended, in the order the requests were sent."""
        return tuple(sorted(self._exchanges, key=lambda exchange: exchange.index))

    @property
    def open_exchanges(self) -> int:
        """How many requests were sent whose response has neither ended nor been closed."""
        return self._sent - len(self._exchanges)

    def __repr__(self) -> str:
        return f"RecordingTransport({len(self._exchanges)} exchanges, {self.open_exchanges} open)"

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Sends the request on, and returns once the response's headers are there."""
        record = _Record(
            request,
            self._sent,
            clock=self._clock,
            secret_names=self._secret_names,
            keep=self._exchanges.append,
        )
        self._sent += 1
        try:
            response = await self._answer(request)
        except BaseException as error:
            record.end("failed", error)
            raise
        record.begin_response(response)
        return _RecordedResponse(response, record)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the exchanges as JSON lines (gzipped when the name ends in `.gz`).

        `ReplayTransport.load` reads them.

        Raises:
            StoreError: the file cannot be written.
        """
        from cascadeflow.testing.replay import save_exchanges  # noqa: PLC0415 - it imports us

        save_exchanges(self.exchanges, path)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        if self._inner is not None:
            return await self._inner.send(request)
        if self._respond is not None:
            given = self._respond(request)
            answer = await given if isawaitable(given) else given
        else:
            answer = self._next_canned(request)
        if isinstance(answer, Exception):
            raise answer
        return CannedReply(answer)

    def _next_canned(self, request: HttpRequest) -> Answer:
        for answer in self._responses or ():
            return answer
        url = Scrubber(request.headers, request.url, more_names=self._secret_names).url(request.url)
        raise ConfigurationError(
            f"no canned response is left for request {self._sent} ({request.method} {url}):"
            " give RecordingTransport more responses"
        )


class CannedReply:
    """An `HttpResponse` over a canned response."""

    __slots__ = ("_response",)

    def __init__(self, response: CannedResponse) -> None:
        self._response = response

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names lower-cased."""
        return {name.lower(): value for name, value in self._response.headers.items()}

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's pieces, then its breaking off when it shall."""
        for chunk in self._response.chunks:
            yield chunk
        if self._response.breaks_with is not None:
            raise self._response.breaks_with

    async def aclose(self) -> None:
        """Nothing is open."""


class _Record:
    """What becomes an exchange once it has ended."""

    __slots__ = (
        "_clock",
        "_index",
        "_keep",
        "_open",
        "_request",
        "_secret_names",
        "_started",
        "pieces",
        "responded",
        "response_headers",
        "status",
    )

    def __init__(
        self,
        request: HttpRequest,
        index: int,
        *,
        clock: Clock,
        secret_names: Collection[str],
        keep: Callable[[Exchange], None],
    ) -> None:
        self._request = request
        self._index = index
        self._clock = clock
        self._secret_names = secret_names
        self._keep = keep
        self._open = True
        self._started = clock.monotonic()
        self.status: int | None = None
        self.response_headers: Mapping[str, str] = EMPTY
        self.responded: float | None = None
        self.pieces: list[bytes] = []

    def begin_response(self, response: HttpResponse) -> None:
        """Notes the response's status and headers."""
        self.status = response.status
        self.response_headers = response.headers
        self.responded = self._clock.monotonic()

    def end(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """Writes the exchange down, once."""
        if not self._open:
            return
        self._open = False
        request = self._request
        scrubber = Scrubber(request.headers, request.url, more_names=self._secret_names)
        self._keep(
            Exchange(
                index=self._index,
                method=request.method,
                url=scrubber.url(request.url),
                headers=scrubber.headers(request.headers),
                body=scrubber.data(request.body),
                status=self.status,
                response_headers=scrubber.headers(self.response_headers),
                chunks=scrubber.chunks(self.pieces),
                outcome=outcome,
                error=None if error is None else (type(error).__name__, scrubber.text(str(error))),
                started=self._started,
                responded=self.responded,
                ended=self._clock.monotonic(),
            )
        )


class _RecordedResponse:
    """Passes a response on and writes down what passes."""

    __slots__ = ("_record", "_response")

    def __init__(self, response: HttpResponse, record: _Record) -> None:
        self._response = response
        self._record = record

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        pieces = self._response.chunks()
        try:
            async for chunk in pieces:
                self._record.pieces.append(chunk)
                yield chunk
        except GeneratorExit:
            raise  # the reader stopped reading: `aclose` writes it down
        except BaseException as error:
            self._record.end("failed", error)
            raise
        else:
            self._record.end("complete")
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()

    async def aclose(self) -> None:
        try:
            await self._response.aclose()
        finally:
            self._record.end("closed_early")


def _event(event: Any) -> bytes:
    if isinstance(event, str):
        return f"data: {event}\n\n".encode()
    name = event.get("type") if isinstance(event, dict) else None
    data = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
    return f"event: {name}\ndata: {data}\n\n".encode() if name else f"data: {data}\n\n".encode()
