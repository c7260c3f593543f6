"""Asks a model over HTTP: encode, send, decode; retries, deadlines, attempts, errors mapped once.

Nothing here knows a protocol. What a call costs above its transport is measured by
`benches/` and kept small: no validation, no copies, one dictionary of headers per model.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.clock import SystemClock
from cascadeflow.config import BreakerPolicy, Deadlines, RetryPolicy
from cascadeflow.errors import (
    ConfigurationError,
    MalformedResponseError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
)
from cascadeflow.models.completer import Reply
from cascadeflow.models.completion import Completed
from cascadeflow.providers.breaker import Breakers, outcome_of
from cascadeflow.providers.call import Call
from cascadeflow.providers.error_mapping import request_id_of, scrub, scrub_body, scrub_error
from cascadeflow.providers.protocols import (
    ConnectTimeoutError,
    HttpRequest,
    NotConnectedError,
)
from cascadeflow.providers.target import Target
from cascadeflow.providers.transport import ClientTransport, HttpTransport, as_transport
from cascadeflow.types import Attempt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from cascadeflow.clock import Clock
    from cascadeflow.models.completer import RetryPermit
    from cascadeflow.models.completion import Completion, StreamEvent
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.providers.breaker import BreakerState, CircuitBreaker
    from cascadeflow.providers.protocols import HttpResponse, Signer
    from cascadeflow.types import ChatRequest

__all__ = ["HttpCompleter"]

_MOST_TARGETS: Final = 256

_TIMER_SECONDS: Final = 0.01
"""A timer may fire a little before its time by another clock."""

_BREAKER: Final = BreakerPolicy()

MOST_BODY_BYTES: Final = 64 * 1024 * 1024
"""The largest whole response, decompressed. Answers with pictures in them take a few megabytes."""

MOST_STREAM_BYTES: Final = 256 * 1024 * 1024
"""The longest stream, decompressed. The longest answers, 128,000 tokens with a chunk for each, take
about 60 MB."""


class HttpCompleter:
    """The `Completer` of everything that is reached over HTTP.

    Args:
        transport: `None` for the default; a client with httpx's API; or an object with one `send`.
        retry: when a failed try is repeated. A stream is never repeated once it has given an event.
        deadlines: how long each part of a call may take.
        breaker: when a model that keeps failing is left alone for a while; `None` never does that.
        clock: what is asked for the time, and waited on between tries.
        random: what the waits between tries are drawn from.

    Raises:
        ConfigurationError: an option is of another type.
    """

    def __init__(
        self,
        *,
        transport: Any = None,
        retry: RetryPolicy | None = None,
        deadlines: Deadlines | None = None,
        breaker: BreakerPolicy | None = _BREAKER,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        _check("retry", retry, RetryPolicy)
        _check("deadlines", deadlines, Deadlines)
        _check("breaker", breaker, BreakerPolicy)
        self._transport = as_transport(transport)
        self._owns_transport = transport is None
        self._retry = retry or RetryPolicy()
        self._deadlines = deadlines or Deadlines()
        self._head_seconds: float | None = None
        """What sending may take over a transport that is not ours: it may keep no deadlines."""
        connect, first_byte = self._deadlines.connect, self._deadlines.first_byte
        ours = isinstance(self._transport, (HttpTransport, ClientTransport))
        if not (ours or connect is None or first_byte is None):
            self._head_seconds = connect + first_byte
        self._clock: Clock = clock or SystemClock()
        self._random = random or Random()
        self._breakers = Breakers(breaker, clock=self._clock, random=self._random)
        self._targets: dict[int, tuple[Target, CircuitBreaker | None]] = {}

    async def complete(
        self,
        model: ModelConfig,
        request: ChatRequest,
        *,
        timeout: float | None = None,
        may_retry: RetryPermit | None = None,
    ) -> Reply:
        """Asks and waits for the whole answer.

        Args:
            model: which model, where it is and how to reach it.
            request: what to ask.
            timeout: seconds for everything, retries included; the shorter of it and the total
                deadline counts.
            may_retry: asked with the error before the wait for each further try; `False` ends the
                trying and raises the error. Not asked where there would be no further try anyway.

        Raises:
            ProviderError: every try failed; its `attempts` hold them all.
            CircuitOpenError: the model failed too often lately, and nothing was sent.
            MissingKeyError: no API key was found.
            InvalidRequestError: the provider's protocol has no words for the request.
        """
        now = self._clock.monotonic
        target, breaker = self._target(model)
        call = Call(now(), self._total(timeout), breaker)
        http = self._prepare(target, request, stream=False)
        completion: Completion | None = None
        try:
            call.admit(target)
            while completion is None:
                try:
                    completion = await self._try(target, http, call)
                except ProviderError as error:
                    await self._after_failure(target, error, call, may_retry)
        finally:
            call.close()
        return Reply(
            completion=completion,
            attempts=tuple(call.attempts),
            duration_ms=(now() - call.start) * 1000,
            transport_ms=call.waited * 1000,
        )

    async def stream(
        self,
        model: ModelConfig,
        request: ChatRequest,
        *,
        timeout: float | None = None,
        may_retry: RetryPermit | None = None,
    ) -> AsyncGenerator[StreamEvent | Reply, None]:
        """Asks and yields the events, then one `Reply`; closing the iterator closes the connection.

        Only what failed before the first event is tried again. A stream that ends before its answer
        does raises a `ProviderConnectionError`, whose `partial` is what had come.

        Args:
            model: which model, where it is and how to reach it.
            request: what to ask.
            timeout: seconds for everything, retries included.
            may_retry: as for `complete`.

        Raises:
            ProviderError: every try failed, or the stream failed half-way.
            CircuitOpenError: the model failed too often lately, and nothing was sent.
            MissingKeyError: no API key was found.
            InvalidRequestError: the provider's protocol has no words for the request.
        """
        now = self._clock.monotonic
        target, breaker = self._target(model)
        call = Call(now(), self._total(timeout), breaker)
        http = self._prepare(target, request, stream=True)
        first: float | None = None
        completion: Completion | None = None
        try:
            call.admit(target)
            while completion is None:
                batches = self._try_stream(target, http, call)
                try:
                    async for events in batches:
                        if first is None:
                            first = now()
                            call.answering()
                        for event in events:
                            if isinstance(event, Completed):
                                completion = event.completion
                            yield event
                except ProviderError as error:
                    if first is not None:
                        self._record(target, error, call)
                        raise
                    await self._after_failure(target, error, call, may_retry)
                finally:
                    await batches.aclose()
        finally:
            call.close()
        yield Reply(
            completion=completion,
            attempts=tuple(call.attempts),
            duration_ms=(now() - call.start) * 1000,
            transport_ms=call.waited * 1000,
            first_token_ms=None if first is None else (first - call.start) * 1000,
        )

    async def aclose(self) -> None:
        """Closes the default transport's connections; the completer may be used again.

        A transport or client that was handed in is its owner's to close.
        """
        if self._owns_transport:
            await self._transport.aclose()  # type: ignore[attr-defined] # it is an HttpTransport

    def breakers(self) -> Mapping[str, BreakerState]:
        """Gives the state of each model's circuit breaker, by the model's id.

        A model that is asked at several addresses stands there once for each, as `id at address`.
        """
        return self._breakers.states()

    # One try

    async def _try(self, target: Target, http: HttpRequest, call: Call) -> Completion:
        response = await self._send(target, http, call)
        began = self._clock.monotonic()
        try:
            body = await self._body(target, response, call)
        finally:
            await response.aclose()
            call.waited += self._clock.monotonic() - began
        completion = self._decode(target, response, body)
        self._succeeded(target, response, call)
        return completion

    async def _try_stream(
        self, target: Target, http: HttpRequest, call: Call
    ) -> AsyncGenerator[Sequence[StreamEvent], None]:
        """Yields the events in the batches in which they come; the last one holds `Completed`."""
        response = await self._send(target, http, call)
        pieces = None
        try:
            if not 200 <= response.status < 300:  # noqa: PLR2004
                began = self._clock.monotonic()
                try:
                    body = await self._body(target, response, call)
                finally:
                    call.waited += self._clock.monotonic() - began
                self._decode(target, response, body)
            decoder = target.codec.decoder(response.headers)
            pieces = response.chunks()
            size = 0
            broken: ProviderError | None = None
            events: Sequence[StreamEvent] = ()
            try:
                while (piece := await self._next(pieces, call)) is not None:
                    size += len(piece)
                    if size > MOST_STREAM_BYTES:
                        failure = self._too_large(target, MOST_STREAM_BYTES)
                        failure.partial = decoder.partial()
                        raise failure
                    if events := decoder.feed(piece):
                        yield events
                        if decoder.failure is not None:
                            raise decoder.failure
                events = decoder.finish()
            except OSError as error:
                events = ()
                partial = decoder.partial()
                if partial is None or not _is_whole(partial):
                    broken = self._mapped(target, error, call, self._deadlines.between_chunks)
                    broken.partial = partial
            # An error raised from within would carry the one below it, and whatever that shows.
            if broken is not None:
                raise broken
            if not events:
                events = decoder.finish()  # it broke behind the answer's last word
            completed = events[-1]
            if isinstance(completed, Completed) and _is_cut(completed.completion):
                failure = self._error(
                    target,
                    ProviderConnectionError,
                    "the stream ended before its answer did",
                    billed=None,
                )
                failure.partial = completed.completion
                raise failure
            self._succeeded(target, response, call)
            yield events
        finally:
            await self._end(response, pieces, call)

    def _decode(self, target: Target, response: HttpResponse, body: bytes) -> Completion:
        """Decodes; an error is made of a body in which the known keys are blanked beforehand."""
        try:
            return target.codec.decode(response.status, response.headers, body)
        except ProviderError:
            clean = scrub_body(body, target.secrets())
            if clean == body:
                raise
        return target.codec.decode(response.status, response.headers, clean)

    async def _send(self, target: Target, http: HttpRequest, call: Call) -> HttpResponse:
        now = self._clock.monotonic
        call.tried_at = began = now()
        try:
            if target.signer is not None and "authorization" not in http.headers:
                http = await self._signed(target.signer, http, call)
            return await call.limiter.limit(self._transport.send(http), self._until_head(call))
        except OSError as error:
            failure = self._mapped(target, error, call, self._head_seconds)
        finally:
            call.waited += now() - began
        # Raised from within, it would carry the error below it, and whatever that one shows.
        raise failure

    def _until_head(self, call: Call) -> float | None:
        """Seconds until the response's headers must be there."""
        left = self._left(call)
        most = self._head_seconds
        return left if most is None or (left is not None and left < most) else most

    async def _signed(self, signer: Signer, http: HttpRequest, call: Call) -> HttpRequest:
        try:
            return await call.limiter.limit(signer.sign(http), self._left(call))
        except TimeoutError as error:
            failure: OSError = ConnectTimeoutError(f"no credentials in time ({error})")
        except OSError as error:
            failure = NotConnectedError(f"no credentials ({error})")
        raise failure

    async def _body(self, target: Target, response: HttpResponse, call: Call) -> bytes:
        pieces = response.chunks()
        read: list[bytes] = []
        size = 0
        failure: ProviderError | None = None
        try:
            while True:
                piece = await call.limiter.limit(anext(pieces, None), self._patience(call))
                if piece is None:
                    break
                read.append(piece)
                size += len(piece)
                if size > MOST_BODY_BYTES:
                    raise self._too_large(target, MOST_BODY_BYTES)
        except OSError as error:
            # What an error's status says stands, also where the words to it break off.
            if response.status < 400:  # noqa: PLR2004
                failure = self._mapped(target, error, call, self._deadlines.between_chunks)
        finally:
            await _close(pieces)
        if failure is not None:
            raise failure
        return read[0] if len(read) == 1 else b"".join(read)

    async def _end(self, response: HttpResponse, pieces: Any, call: Call) -> None:
        """Ends a response; what that takes is the transport's."""
        began = self._clock.monotonic()
        try:
            await _close(pieces)
        finally:
            await response.aclose()
            call.waited += self._clock.monotonic() - began

    async def _next(self, pieces: AsyncIterator[bytes], call: Call) -> bytes | None:
        """Waits for the next piece within its deadline and the call's; `None` at the end."""
        now = self._clock.monotonic
        left = self._patience(call)
        began = now()
        try:
            return await call.limiter.limit(anext(pieces, None), left)
        finally:
            call.waited += now() - began

    def _patience(self, call: Call) -> float | None:
        """Seconds that the next piece may take."""
        between = self._deadlines.between_chunks
        left = self._left(call)
        return between if left is None or (between is not None and between < left) else left

    # What comes of it

    def _succeeded(self, target: Target, response: HttpResponse, call: Call) -> None:
        call.tell("answered")
        call.attempts.append(
            Attempt(
                provider=target.provider.id,
                model=target.model.name,
                outcome="ok",
                status=response.status,
                request_id=request_id_of(response.headers),
                started_ms=(call.tried_at - call.start) * 1000,
                duration_ms=(self._clock.monotonic() - call.tried_at) * 1000,
                billed=True,
            )
        )

    def _record(self, target: Target, error: ProviderError, call: Call) -> None:
        """Notes a failed try, and makes sure that its error says where and holds no key."""
        call.tell("unknown" if call.overdue else outcome_of(error), error.retry_after)
        error.model = error.model or target.model.name
        scrub_error(error, target.secrets())
        call.attempts.append(
            Attempt(
                provider=target.provider.id,
                model=target.model.name,
                outcome=type(error).__name__,
                status=error.status,
                request_id=error.request_id,
                started_ms=(call.tried_at - call.start) * 1000,
                duration_ms=(self._clock.monotonic() - call.tried_at) * 1000,
                billed=error.billed,
            )
        )
        error.attempts = tuple(call.attempts)

    async def _after_failure(
        self,
        target: Target,
        error: ProviderError,
        call: Call,
        may_retry: RetryPermit | None,
    ) -> None:
        """Waits before the next try, or raises the error when there shall be none."""
        self._record(target, error, call)
        wait = self._wait(error, len(call.attempts))
        if wait is None or self._too_late(wait, call) or call.shut_out(wait):
            raise error
        # A permit may take its time, so that the deadline is looked at once more.
        if may_retry is not None and (not await may_retry(error) or self._too_late(wait, call)):
            raise error
        began = self._clock.monotonic()
        await self._clock.sleep(wait)
        call.waited += self._clock.monotonic() - began
        if not call.admitted():
            raise error

    def _too_late(self, wait: float, call: Call) -> bool:
        """Whether the deadline leaves no time for a try after a wait."""
        left = self._left(call)
        return left is not None and wait >= left

    def _wait(self, error: ProviderError, tries: int) -> float | None:
        """Seconds until the next try: full jitter, and never less than the provider asks for."""
        policy = self._retry
        if not error.retryable or tries >= policy.attempts:
            return None
        asked = error.retry_after
        if asked is not None and asked > policy.max_delay:
            return None
        highest = min(policy.max_delay, policy.base_delay * 2 ** (tries - 1))
        jitter = self._random.uniform(0.0, highest)
        # All who were told the same moment would come at once, so the jitter is added to it.
        return jitter if asked is None else asked + min(jitter, policy.base_delay)

    def _mapped(
        self, target: Target, error: OSError, call: Call, patience: float | None
    ) -> ProviderError:
        """Says what an error of the transport means; `patience` is how long it was waited for."""
        billed: bool | None = None
        if isinstance(error, (ConnectTimeoutError, NotConnectedError, ConnectionRefusedError)):
            billed = False
        why = str(error)
        if not isinstance(error, TimeoutError):
            return self._error(target, ProviderConnectionError, why, billed=billed)
        left = self._left(call)
        call.overdue = left is not None and left < _TIMER_SECONDS
        if not why:
            why = "the call's deadline passed"
            if not call.overdue and patience is not None:
                why = f"nothing came for {patience:g} s"
        return self._error(target, ProviderTimeoutError, why, billed=billed)

    def _too_large(self, target: Target, most: int) -> ProviderError:
        return self._error(
            target,
            MalformedResponseError,
            f"the response was broken off, being larger than {most // 2**20} MiB: the base URL is "
            "probably not the API's",
            billed=None,
        )

    def _error(
        self, target: Target, cls: type[ProviderError], why: str, *, billed: bool | None
    ) -> ProviderError:
        return cls(
            f"{target.model.id}: {scrub(why, target.secrets())}",
            provider=target.provider.id,
            model=target.model.name,
            billed=billed,
        )

    # Preparation

    def _prepare(self, target: Target, request: ChatRequest, *, stream: bool) -> HttpRequest:
        model = target.model
        key = target.key()
        extra = {**model.extra, **request.extra} if model.extra else request.extra
        if request.model != model.name or request.stream != stream or extra is not request.extra:
            request = replace(request, model=model.name, stream=stream, extra=extra)
        encoded = target.codec.encode(request)
        deadlines = self._deadlines
        return HttpRequest(
            method="POST",
            url=target.url(encoded.path),
            headers=target.headers(encoded, key),
            body=encoded.body,
            connect=deadlines.connect,
            first_byte=deadlines.first_byte,
            between_chunks=deadlines.between_chunks,
        )

    def _target(self, model: ModelConfig) -> tuple[Target, CircuitBreaker | None]:
        known = self._targets.get(id(model))
        if known is None or known[0].model is not model:
            if len(self._targets) >= _MOST_TARGETS:
                self._targets.clear()
            target = Target(model)
            breaker = self._breakers.of(target.model.id, target.base)
            known = self._targets[id(model)] = target, breaker
        return known

    def _total(self, timeout: float | None) -> float | None:
        total = self._deadlines.total
        if timeout is None:
            return total
        return timeout if total is None else min(timeout, total)

    def _left(self, call: Call) -> float | None:
        return None if call.deadline is None else call.deadline - self._clock.monotonic()


def _check(option: str, given: Any, kind: type) -> None:
    """Refuses what is neither `None` nor of its type, before a request comes upon it."""
    if given is not None and not isinstance(given, kind):
        raise ConfigurationError(f"{option} must be a {kind.__name__}, not {type(given).__name__}")


def _is_whole(completion: Completion) -> bool:
    """Whether a stream has given its whole answer: why it ended, and what it used."""
    return completion.usage_complete and completion.raw_finish_reason is not None


def _is_cut(completion: Completion) -> bool:
    """Whether a stream ended before the provider said why the answer ends."""
    return not completion.usage_complete and completion.raw_finish_reason is None


async def _close(pieces: Any) -> None:
    if pieces is not None and hasattr(pieces, "aclose"):
        await pieces.aclose()
