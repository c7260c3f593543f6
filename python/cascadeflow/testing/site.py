"""What a simulated provider answers to each HTTP request."""

from __future__ import annotations

import json
import logging
import math
import re
from dataclasses import asdict
from datetime import timedelta
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from cascadeflow.testing import anthropic_form, openai_form
from cascadeflow.testing.behaviour import Draws, Failure, UnreadableError
from cascadeflow.testing.forms import FORMS, Form, form_at
from cascadeflow.testing.http1 import response_head
from cascadeflow.testing.server import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cascadeflow.clock import Clock
    from cascadeflow.testing.behaviour import Ask, Behaviour, Protocol, Reply
    from cascadeflow.testing.http1 import HttpFault, ParsedRequest
    from cascadeflow.testing.journal import Entry, Journal, SimulatedStats
    from cascadeflow.testing.model import SimulatedModel
    from cascadeflow.testing.server import Outcome

__all__ = ["STATS_PATH", "ProviderSite"]

STATS_PATH: Final = "/simulator/stats"
"""Where a provider in another process is asked for its counts."""

logger = logging.getLogger(__name__)

_REMEMBERED_REQUESTS: Final = 131_072
"""Distinct requests whose repeats are surely counted; one that came longer ago counts as new."""

_KEPT_BODIES: Final = 1024
_LARGEST_KEPT_BODY: Final = 8192

_Headers: TypeAlias = tuple[tuple[str, str], ...]

_JSON: Final = ("content-type", "application/json")
_RAW_DECODE: Final = json.JSONDecoder().raw_decode
_ACCESS_KEY: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/")


class ProviderSite:
    """Routes, checks, lets a model's behaviour decide, and writes the response."""

    def __init__(
        self,
        behaviours: Mapping[str, Behaviour],
        *,
        seed: int,
        clock: Clock,
        api_key: str | None,
        journal: Journal,
        stats: Callable[[], SimulatedStats],
    ) -> None:
        self._behaviours = behaviours
        self._seed = seed
        self._clock = clock
        self._api_key = api_key
        self._journal = journal
        self._stats = stats
        self._limits = {
            name: _RateLimit(behaviour.model.rate_limit, clock)
            for name, behaviour in behaviours.items()
            if behaviour.model.rate_limit is not None
        }
        self._repeats: dict[int, int] = {}
        self._older_repeats: dict[int, int] = {}
        self._known: dict[tuple[Callable[..., Ask], bytes], _Known] = {}
        self._second = 0
        self._head_starts: dict[tuple[int, tuple[str, str]], bytes] = {}

    def respond(self, request: ParsedRequest) -> Delivery:
        """Answers one request."""
        if request.target == STATS_PATH and request.method == "GET":
            return self._counts()
        entry = self._journal.begin(request)
        path = request.target.partition("?")[0]
        form = form_at(path)
        if form is not None:
            entry.protocol, method = form.protocol, "POST"
        elif path.endswith("/models") or "/models/" in path:
            entry.protocol = "anthropic" if "anthropic-version" in request.headers else "openai"
            method = "GET"
        else:
            method = request.method
        content = request.body
        if form is None:
            content = content or path.encode("latin-1", "replace")
        elif form.in_path:
            content = b"%b\0%b" % (request.target.encode("latin-1", "replace"), content)
        draws = self._draws(entry, content)
        try:
            if request.method != method:
                failure = Failure(status=405, message=f"{path} takes {method} only")
                raise _Refused(failure, (("allow", method),))  # noqa: TRY301
            if entry.protocol is None:
                raise _Refused(Failure(status=404, message=f"nothing is at {path}"))  # noqa: TRY301
            self._authorise(entry)
            if form is None:
                return self._models(entry, path)
            return self._answer(entry, form, content, draws)
        except _Refused as refused:
            return self._failure(entry, refused.failure, headers=refused.headers)
        except Exception as error:
            # Whatever a user's own answer sheet or counter raises must reach who runs the test.
            logger.exception("a simulated model could not answer")
            message = f"the simulated model raised {type(error).__name__}: {error}"
            return self._failure(entry, Failure(status=500, message=message))

    def refuse(self, fault: HttpFault) -> bytes:
        """Gives the body of the response to bytes that are no request."""
        self._journal.faults += 1
        failure = Failure(status=fault.status, message=str(fault))
        return openai_form.error_body(failure, request_id="")

    def _draws(self, entry: Entry, content: bytes) -> Draws:
        """Counts the request's repeats and draws for this one."""
        kind = entry.protocol or "other"
        key = hash((kind, content))
        entry.repeat = self._repeats.get(key, 0) or self._older_repeats.get(key, 0)
        if len(self._repeats) >= _REMEMBERED_REQUESTS:
            self._older_repeats, self._repeats = self._repeats, {}
        self._repeats[key] = entry.repeat + 1
        draws = Draws(self._seed, kind, content, repeat=entry.repeat)
        entry.request_id = f"req_{draws.identifier(0)}"
        return draws

    def _authorise(self, entry: Entry) -> None:
        headers = entry.request.headers
        if self._api_key is not None:
            said = headers.get("authorization", "")
            signed = _ACCESS_KEY.match(said)
            given = {signed[1] if signed else said.removeprefix("Bearer ")}
            given |= {headers.get(name) for name in ("x-api-key", "api-key", "x-goog-api-key")}
            if self._api_key not in given:
                message = "the API key is missing or not the one this simulated provider was given"
                raise _Refused(Failure(status=401, message=message, code="invalid_api_key"))
        if entry.protocol == "anthropic" and "anthropic-version" not in headers:
            raise _Refused(Failure(status=400, message="anthropic-version: header is required"))

    def _answer(self, entry: Entry, form: Form, content: bytes, draws: Draws) -> Delivery:
        known = self._known.get((form.read, content)) or self._learn(entry, form, content)
        ask, behaviour, reply = known
        entry.ask = ask
        limits = self._take(ask.model, form.protocol) if self._limits else ()
        seconds = behaviour.seconds_to_first_token(draws)
        if behaviour.fails(draws):
            return self._simulated_error(entry, behaviour, seconds, limits)
        reply = reply or behaviour.reply(ask, repeat=entry.repeat)
        if isinstance(reply, Failure):
            raise _Refused(reply, limits)
        entry.reply = reply
        entry.status = 200
        turn = _Turn(entry, form, ask, reply, behaviour.model, draws, seconds, limits)
        if ask.stream:
            return self._stream(turn, breaks=behaviour.breaks(draws))
        return self._whole(turn)

    def _learn(self, entry: Entry, form: Form, content: bytes) -> _Known:
        """Reads a request, and keeps what it says once it has come twice.

        A load test sends the same few again and again.
        """
        request = entry.request
        try:
            ask = entry.ask = form.read(_read_json(request.body), request.target)
        except UnreadableError as error:
            raise _Refused(Failure(status=400, message=str(error))) from error
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            message = f"the body could not be read: {error}"
            raise _Refused(Failure(status=400, message=message)) from error
        behaviour = self._behaviours.get(ask.model)
        if behaviour is None:
            raise _no_such_model(ask.model)
        if not entry.repeat or len(content) > _LARGEST_KEPT_BODY:
            return _Known(ask, behaviour, None)
        if len(self._known) >= _KEPT_BODIES:
            self._known.clear()
        reply = behaviour.reply(ask, repeat=0) if behaviour.always_answers_alike(ask) else None
        known = self._known[form.read, content] = _Known(ask, behaviour, reply)
        return known

    def _take(self, model: str, protocol: Protocol) -> _Headers:
        """Takes one request off the model's rate limit; gives the headers that tell of it."""
        limit = self._limits.get(model)
        if limit is None:
            return ()
        wait = limit.take()
        headers = limit.headers(protocol)
        if wait > 0:
            message = f"Rate limit reached for {model}: {limit.per_minute} requests a minute"
            failure = Failure(
                status=429, message=message, code="rate_limit_exceeded", retry_after=wait
            )
            raise _Refused(failure, headers)
        return headers

    def _whole(self, turn: _Turn) -> Delivery:
        """A whole answer, sent when its last token would be there."""
        body = turn.form.body(
            turn.ask, turn.reply, answer_id=turn.draws.identifier(1), created=self._timestamp()
        )
        seconds = turn.seconds
        if turn.model.tokens_per_second is not None:
            seconds += max(0, turn.reply.output_tokens - 1) / turn.model.tokens_per_second
        return Delivery(
            head=self._head(200, _JSON, turn.entry, seconds, turn.limits),
            parts=((seconds, body),),
            ended=turn.entry.end,
        )

    def _stream(self, turn: _Turn, *, breaks: bool) -> Delivery:
        """A stream: the first token after the latency, the rest at the model's speed."""
        before, pieces, after = turn.form.events(
            turn.ask,
            turn.reply,
            answer_id=turn.draws.identifier(1),
            created=self._timestamp(),
            tokens_per_chunk=turn.model.tokens_per_chunk,
        )
        if breaks:
            pieces, after = pieces[: len(pieces) // 2], ()
        speed = turn.model.tokens_per_second
        first = turn.seconds
        parts: tuple[tuple[float, bytes], ...]
        if speed is None:
            parts = ((first, b"".join((*before, *pieces, *after))),)
        else:
            first += turn.reply.reasoning_tokens / speed
            interval = turn.model.tokens_per_chunk / speed
            last = first + max(0, len(pieces) - 1) * interval
            parts = (
                (first, b"".join(before)),
                *((first + index * interval, piece) for index, piece in enumerate(pieces)),
                (last, b"".join(after)),
            )
        return Delivery(
            head=self._head(
                200, ("content-type", turn.form.stream_type), turn.entry, first, turn.limits
            ),
            parts=parts,
            streamed=True,
            ending="broken" if breaks else "complete",
            ended=turn.entry.end,
        )

    def _simulated_error(
        self, entry: Entry, behaviour: Behaviour, seconds: float, limits: _Headers
    ) -> Delivery:
        status = behaviour.model.error_status
        if status == "disconnect":
            return Delivery(
                head=b"", parts=((seconds, b""),), ending="disconnected", ended=entry.end
            )
        failure = Failure(status=status, message="a simulated error: the same request may succeed")
        return self._failure(entry, failure, headers=limits, seconds=seconds)

    def _failure(
        self, entry: Entry, failure: Failure, *, headers: _Headers = (), seconds: float = 0.0
    ) -> Delivery:
        entry.status = failure.status
        form = FORMS[entry.protocol or "openai"]
        body = form.error_body(failure, request_id=entry.request_id)
        if form.error_headers is not None:
            headers = (*form.error_headers(failure), *headers)
        if failure.retry_after is not None:
            headers = (
                ("retry-after", str(math.ceil(failure.retry_after))),
                ("retry-after-ms", str(math.ceil(failure.retry_after * 1000))),
                *headers,
            )
        # A HEAD request's response has no body, and one would be read as the next response.
        parts = () if entry.request.method == "HEAD" else ((seconds, body),)
        return Delivery(
            head=self._head(failure.status, _JSON, entry, seconds, headers),
            parts=parts,
            ended=entry.end,
        )

    def _models(self, entry: Entry, path: str) -> Delivery:
        form = anthropic_form if entry.protocol == "anthropic" else openai_form
        name = path.partition("/models/")[2]
        if name and name not in self._behaviours:
            raise _no_such_model(name)
        created = self._timestamp()
        body = (
            form.model_body(name, created=created)
            if name
            else form.models_body(self._behaviours, created=created)
        )
        entry.status = 200
        return Delivery(
            head=self._head(200, _JSON, entry, 0.0, ()), parts=((0.0, body),), ended=entry.end
        )

    def _counts(self) -> Delivery:
        body = json.dumps(asdict(self._stats())).encode()
        return Delivery(
            head=response_head(200, (_JSON,)), parts=((0.0, body),), ended=_not_written_down
        )

    def _head(
        self,
        status: int,
        content_type: tuple[str, str],
        entry: Entry,
        seconds: float,
        more: _Headers,
    ) -> bytes:
        start = self._head_start(status, content_type)
        protocol = entry.protocol or "openai"
        name = FORMS[protocol].id_header
        known = f"{name}: {entry.request_id}\r\n" if name else ""
        if protocol.startswith("openai"):
            known += f"openai-processing-ms: {int(seconds * 1000)}\r\n"
        lines = "".join([f"{name}: {value}\r\n" for name, value in more]) if more else ""
        return start + (known + lines).encode("latin-1")

    def _head_start(self, status: int, content_type: tuple[str, str]) -> bytes:
        """What the heads of one second have in common."""
        second = self._timestamp()
        if self._second != second:
            self._second = second
            self._head_starts.clear()
        start = self._head_starts.get((status, content_type))
        if start is None:
            start = response_head(status, (("date", formatdate(second, usegmt=True)), content_type))
            self._head_starts[status, content_type] = start
        return start

    def _timestamp(self) -> int:
        return int(self._clock.now().timestamp())


class _Refused(Exception):  # noqa: N818 - it is a response, not an error of ours
    """A request that gets an error response."""

    def __init__(self, failure: Failure, headers: _Headers = ()) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.headers = headers


def _not_written_down(_outcome: Outcome, _answered: bool) -> None:  # noqa: FBT001 - a callback
    """Asking for the counts is not counted."""


def _read_json(body: bytes) -> Any:
    """As `json.loads`, without its guessing at the encoding: JSON on the wire is UTF-8."""
    text = body.decode()
    try:
        content, end = _RAW_DECODE(text)
    except ValueError:
        return json.loads(text)  # spaces before it, or no JSON
    return content if end == len(text) else json.loads(text)


def _no_such_model(name: str) -> _Refused:
    message = f"The model `{name}` does not exist or you do not have access to it."
    return _Refused(Failure(status=404, message=message, code="model_not_found"))


class _Known(NamedTuple):
    """What a body says, and what is always answered to it; `None` when that may vary."""

    ask: Ask
    behaviour: Behaviour
    reply: Reply | Failure | None


class _Turn(NamedTuple):
    """An answer that is about to be written."""

    entry: Entry
    form: Form
    ask: Ask
    reply: Reply
    model: SimulatedModel
    draws: Draws
    seconds: float
    limits: _Headers


class _RateLimit:
    """Requests a minute of one model: a bucket that refills steadily and holds a minute's worth."""

    __slots__ = ("_clock", "_left", "_seen", "per_minute")

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._left = float(per_minute)
        self._seen = clock.monotonic()

    def take(self) -> float:
        """Takes one request; gives 0, or the seconds until there is one to take."""
        now = self._clock.monotonic()
        gained = (now - self._seen) * self.per_minute / 60
        self._left = min(float(self.per_minute), self._left + gained)
        self._seen = now
        # What a refill's rounding leaves short of one request is one request.
        if self._left >= 1 - 1e-9:
            self._left -= 1
            return 0.0
        return (1 - self._left) * 60 / self.per_minute

    def headers(self, protocol: Protocol) -> _Headers:
        """How the protocol tells its clients about the limit."""
        left = max(0, math.floor(self._left + 1e-9))
        seconds = (self.per_minute - self._left) * 60 / self.per_minute
        if protocol.startswith("openai"):
            return (
                ("x-ratelimit-limit-requests", str(self.per_minute)),
                ("x-ratelimit-remaining-requests", str(left)),
                ("x-ratelimit-reset-requests", f"{math.ceil(seconds * 1000)}ms"),
            )
        if protocol != "anthropic":
            return ()  # the others tell nothing before they refuse
        full_again = self._clock.now() + timedelta(seconds=seconds)
        return (
            ("anthropic-ratelimit-requests-limit", str(self.per_minute)),
            ("anthropic-ratelimit-requests-remaining", str(left)),
            ("anthropic-ratelimit-requests-reset", full_again.strftime("%Y-%m-%dT%H:%M:%SZ")),
        )
