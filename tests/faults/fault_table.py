"""Every way in which a server misbehaves, and what must come of it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

from fault_server import Link, chunk, head
from fault_voices import Voice

from cascadeflow.errors import (
    AuthenticationError,
    BadRequestError,
    MalformedResponseError,
    ModelNotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitedError,
)

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Answer:
    """The answer is given all the same, and booked: at its cost, or at its hold."""

    confirmed: bool = True


@dataclass(frozen=True)
class Fails:
    """The call fails so; what may have been billed is booked at its hold."""

    error: type[ProviderError]
    billed: bool | None = None


Outcome = Answer | Fails
Play: TypeAlias = Callable[[Any, Voice], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Fault:
    """One way to misbehave.

    Attributes:
        name: of the test.
        play: what the server does with a request.
        whole: what must come of a request for a whole answer; `None`: not asked for.
        streamed: likewise of one for a stream.
        ran: whether the model may have run, and its provider bills it.
        hangs_up: whether the client must close the connection before it asks again.
        known: what is still wrong about it, and where that has to be put right.
    """

    name: str
    play: Play
    whole: Outcome | None
    streamed: Outcome | None
    ran: bool = True
    hangs_up: bool = False
    known: str | None = None

    def __str__(self) -> str:
        return self.name


FAULTS: list[Fault] = []
"""Those that show at once."""

HANGING: list[Fault] = []
"""Those that only a deadline ends."""


def fault(
    *, whole: Outcome | None, streamed: Outcome | None, into: list[Fault] = FAULTS, **more: Any
) -> Callable[[Play], Play]:
    """Puts a function into a table; its name is the fault's."""

    def add(play: Play) -> Play:
        into.append(Fault(play.__name__, play, whole, streamed, **more))
        return play

    return add


def both(outcome: Outcome, **more: Any) -> Callable[[Play], Play]:
    return fault(whole=outcome, streamed=outcome, **more)


def body_of(link: Link, voice: Voice) -> tuple[bytes, str]:
    """A good response's body and its content type, for what the request asks."""
    if link.streamed:
        return b"".join(voice.events()), voice.stream_kind
    return voice.whole(), "application/json"


BROKEN = Fails(ProviderConnectionError)
MALFORMED = Fails(MalformedResponseError)


# The connection


@both(BROKEN, hangs_up=True)
async def reset_before_the_headers(link: Link, _voice: Voice) -> None:
    link.reset()


@both(BROKEN, hangs_up=True)
async def closed_before_the_headers(link: Link, _voice: Voice) -> None:
    await link.finish()


@both(BROKEN, hangs_up=True)
async def reset_within_the_headers(link: Link, _voice: Voice) -> None:
    await link.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
    link.reset()


@both(BROKEN, hangs_up=True)
async def reset_after_the_headers(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.send(head(200, {"content-type": kind, "content-length": len(body)}))
    link.reset()


@both(BROKEN, hangs_up=True)
async def closed_in_the_middle_of_the_body(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.send(head(200, {"content-type": kind, "content-length": len(body)}))
    await link.send(body[: len(body) // 2])
    await link.finish()


@both(BROKEN, hangs_up=True)
async def reset_between_two_chunks(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.send(head(200, {"content-type": kind, "transfer-encoding": "chunked"}))
    await link.send(chunk(body[: len(body) // 2]))
    link.reset()


@both(Answer(), hangs_up=True)
async def closed_after_the_answer(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.respond(body, kind=kind)
    await link.finish()


# Framing


@fault(whole=BROKEN, streamed=Answer(), hangs_up=True)
async def length_that_is_too_long(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.send(head(200, {"content-type": kind, "content-length": len(body) + 10}) + body)
    await link.finish()


@fault(whole=MALFORMED, streamed=BROKEN)
async def length_that_is_too_short(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.send(head(200, {"content-type": kind, "content-length": len(body) // 2}) + body)


@both(BROKEN, hangs_up=True)
async def lengths_that_contradict_each_other(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    lengths = f"content-length: {len(body)}\r\ncontent-length: {len(body) + 1}"
    await link.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{lengths}\r\n\r\n".encode() + body)


@both(BROKEN, hangs_up=True)
async def chunk_without_a_size(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.send(head(200, {"content-type": kind, "transfer-encoding": "chunked"}))
    await link.send(b"zz\r\n" + body + b"\r\n0\r\n\r\n")


@both(BROKEN, hangs_up=True)
async def chunk_longer_than_it_says(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.send(head(200, {"content-type": kind, "transfer-encoding": "chunked"}))
    await link.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) // 2, body))


@fault(whole=BROKEN, streamed=Answer(), hangs_up=True)
async def last_chunk_missing(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.send(head(200, {"content-type": kind, "transfer-encoding": "chunked"}))
    await link.send(chunk(body))
    await link.finish()


@both(Answer(), hangs_up=True)
async def neither_length_nor_chunks(link: Link, voice: Voice) -> None:
    """As HTTP/1.0 did: the body's end is the connection's."""
    body, kind = body_of(link, voice)
    await link.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n".encode() + body)
    await link.finish()


@both(Answer())
async def bytes_behind_the_answer(link: Link, voice: Voice) -> None:
    """They must not be taken for the next request's answer."""
    body, kind = body_of(link, voice)
    good = head(200, {"content-type": kind, "content-length": len(body)}) + body
    await link.send(good + b"HTTP/1.1 500 Sorry\r\ncontent-length: 2\r\n\r\nno")


@both(BROKEN, hangs_up=True)
async def headers_without_end(link: Link, _voice: Voice) -> None:
    await link.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await link.send(b"x-more: " + b"m" * 1000 + b"\r\n")


@both(BROKEN, hangs_up=True)
async def status_line_of_another_protocol(link: Link, _voice: Voice) -> None:
    await link.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    await link.silence()


@both(Answer())
async def word_before_the_answer(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.send(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
    await link.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    await link.respond(body, kind=kind)


@both(BROKEN, hangs_up=True)
async def switch_to_another_protocol(link: Link, _voice: Voice) -> None:
    await link.send(head(101, {"upgrade": "websocket", "connection": "upgrade"}))
    await link.silence()


# Encodings


@both(BROKEN)
async def truncated_gzip(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    packed = gzip.compress(body)
    await link.respond(packed[: len(packed) // 2], kind=kind, content_encoding="gzip")


@both(BROKEN)
async def gzip_that_is_none(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.respond(body, kind=kind, content_encoding="gzip")


@both(Answer())
async def good_gzip(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.respond(gzip.compress(body), kind=kind, content_encoding="gzip")


@both(MALFORMED)
async def invalid_utf_8(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.respond(body.replace(b"Oslo", b"O\xff\xfeo"), kind=kind)


@both(MALFORMED)
async def binary_rubbish(link: Link, voice: Voice) -> None:
    kind = voice.stream_kind if link.streamed else "application/json"
    rubbish = bytes(range(256)) * 40
    await link.respond(b"data: " + rubbish + b"\n\n" if link.streamed else rubbish, kind=kind)


# Another kind of answer than was asked for


@both(MALFORMED)
async def web_page(link: Link, _voice: Voice) -> None:
    page = b"<!DOCTYPE html><html><body>Please log in</body></html>"
    await link.respond(page, kind="text/html")


@fault(whole=None, streamed=Answer())
async def whole_answer_where_a_stream_was_asked_for(link: Link, voice: Voice) -> None:
    await link.respond(voice.whole())


@fault(whole=MALFORMED, streamed=None)
async def stream_where_a_whole_answer_was_asked_for(link: Link, voice: Voice) -> None:
    await link.stream(*voice.events(), kind=voice.stream_kind)


@fault(whole=MALFORMED, streamed=BROKEN)
async def empty_body(link: Link, voice: Voice) -> None:
    await link.respond(b"", kind=voice.stream_kind if link.streamed else "application/json")


@fault(whole=MALFORMED, streamed=BROKEN)
async def no_content(link: Link, _voice: Voice) -> None:
    await link.send(head(204, {}))


@both(MALFORMED)
async def json_of_another_shape(link: Link, _voice: Voice) -> None:
    await link.respond(b"[1, 2, 3]")


@both(MALFORMED)
async def empty_object(link: Link, _voice: Voice) -> None:
    await link.respond(b"{}")


@both(MALFORMED)
async def deep_nesting(link: Link, _voice: Voice) -> None:
    await link.respond(b"[" * 100_000)


@both(Fails(MalformedResponseError, billed=False), ran=False)
async def redirection(link: Link, _voice: Voice) -> None:
    await link.respond(b"", status=302, location="http://127.0.0.1:1/elsewhere")


@both(Fails(MalformedResponseError, billed=False), ran=False)
async def not_modified(link: Link, _voice: Voice) -> None:
    await link.send(head(304, {}))


# Long lines


@both(Answer())
async def line_of_a_megabyte(link: Link, voice: Voice) -> None:
    text = "o" * MEGABYTE
    if link.streamed:
        await link.stream(*voice.events(text, pieces=1), kind=voice.stream_kind)
    else:
        await link.respond(voice.whole(text))


@fault(whole=None, streamed=BROKEN)
async def line_of_a_megabyte_that_never_ends(link: Link, voice: Voice) -> None:
    await link.respond(voice.unfinished, kind=voice.stream_kind)


# Within a stream


@fault(whole=None, streamed=Fails(OverloadedError), hangs_up=True)
async def error_as_the_first_event(link: Link, voice: Voice) -> None:
    await link.stream(voice.overloaded, kind=voice.stream_kind)


@fault(whole=None, streamed=Fails(OverloadedError), hangs_up=True)
async def error_after_some_text(link: Link, voice: Voice) -> None:
    """What a status of 500 is, once the headers have gone."""
    await link.stream(*voice.begun(), voice.overloaded, kind=voice.stream_kind)


@fault(whole=None, streamed=Fails(OverloadedError), hangs_up=True)
async def error_after_some_text_and_then_silence(link: Link, voice: Voice) -> None:
    await link.stream(*voice.begun(), voice.overloaded, kind=voice.stream_kind, end=False)
    await link.silence()


@fault(whole=None, streamed=BROKEN)
async def stream_that_ends_in_the_middle(link: Link, voice: Voice) -> None:
    await link.stream(*voice.begun(), kind=voice.stream_kind)


@fault(whole=None, streamed=Answer())
async def usage_twice(link: Link, voice: Voice) -> None:
    await link.stream(*voice.usage_twice(), kind=voice.stream_kind)


@fault(whole=None, streamed=Answer())
async def end_mark_missing(link: Link, voice: Voice) -> None:
    await link.stream(*voice.without_end_mark(), kind=voice.stream_kind)


@both(Answer(confirmed=False))
async def usage_missing(link: Link, voice: Voice) -> None:
    whole, events = voice.without_usage()
    if link.streamed:
        await link.stream(*events, kind=voice.stream_kind)
    else:
        await link.respond(whole)


@fault(whole=None, streamed=Answer())
async def byte_by_byte(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.send(head(200, {"content-type": kind, "transfer-encoding": "chunked"}))
    for at in range(len(body)):
        await link.send(chunk(body[at : at + 1]))
    await link.send(b"0\r\n\r\n")


# Statuses


def status(number: int, outcome: Outcome, *, ran: bool = False) -> None:
    """Adds an error status: with an error object, with a web page and with nothing."""

    async def with_json(link: Link, voice: Voice) -> None:
        await link.respond(voice.error(), status=number)

    async def with_page(link: Link, _voice: Voice) -> None:
        await link.respond(b"<html>Sorry</html>", status=number, kind="text/html")

    async def with_nothing(link: Link, _voice: Voice) -> None:
        await link.respond(b"", status=number)

    plays = ((with_json, True, True), (with_page, True, False), (with_nothing, False, True))
    for play, whole, streamed in plays:
        FAULTS.append(
            Fault(
                f"{number}_{play.__name__}",
                play,
                outcome if whole else None,
                outcome if streamed else None,
                ran,
            )
        )


status(400, Fails(BadRequestError, billed=False))
status(401, Fails(AuthenticationError, billed=False))
status(403, Fails(PermissionDeniedError, billed=False))
status(404, Fails(ModelNotFoundError, billed=False))
status(413, Fails(BadRequestError, billed=False))
status(429, Fails(RateLimitedError, billed=False))
status(500, Fails(OverloadedError, billed=False))
status(503, Fails(OverloadedError, billed=False))
status(529, Fails(OverloadedError, billed=False))
# Whoever stood between gave up waiting: the model may have run.
status(408, Fails(ProviderTimeoutError), ran=True)
status(502, Fails(OverloadedError), ran=True)
status(504, Fails(OverloadedError), ran=True)


@both(Fails(OverloadedError, billed=False), ran=False, hangs_up=True)
async def error_status_whose_body_breaks_off(link: Link, voice: Voice) -> None:
    body = voice.error()
    await link.send(head(500, {"content-type": "application/json", "content-length": 1000}))
    await link.send(body)
    await link.finish()


@both(Fails(OverloadedError, billed=False), ran=False, hangs_up=True)
async def error_status_and_an_end(link: Link, voice: Voice) -> None:
    await link.respond(voice.error(), status=503, connection="close")
    await link.finish()


# What only a deadline ends


def hanging(whole: Outcome | None, streamed: Outcome | None, **more: Any) -> Callable[[Play], Play]:
    return fault(whole=whole, streamed=streamed, into=HANGING, hangs_up=True, **more)


LATE = Fails(ProviderTimeoutError)


@hanging(LATE, LATE)
async def no_answer_at_all(link: Link, _voice: Voice) -> None:
    await link.silence()


@hanging(LATE, LATE)
async def silence_after_the_headers(link: Link, voice: Voice) -> None:
    kind = voice.stream_kind if link.streamed else "application/json"
    await link.send(head(200, {"content-type": kind, "transfer-encoding": "chunked"}))
    await link.silence()


@hanging(LATE, LATE)
async def silence_within_the_headers(link: Link, _voice: Voice) -> None:
    await link.send(b"HTTP/1.1 200 OK\r\ncontent-type: app")
    await link.silence()


@hanging(LATE, LATE)
async def silence_in_the_middle(link: Link, voice: Voice) -> None:
    body, kind = body_of(link, voice)
    await link.send(head(200, {"content-type": kind, "content-length": len(body)}))
    await link.send(body[: len(body) // 2])
    await link.silence()


@hanging(LATE, Answer())
async def silence_behind_the_last_byte(link: Link, voice: Voice) -> None:
    """A whole answer's end is its length; a stream says itself that it is whole."""
    body, kind = body_of(link, voice)
    await link.send(head(200, {"content-type": kind, "transfer-encoding": "chunked"}))
    await link.send(chunk(body))
    await link.silence()


@hanging(Fails(OverloadedError, billed=False), Fails(OverloadedError, billed=False), ran=False)
async def error_status_and_silence(link: Link, voice: Voice) -> None:
    await link.send(head(500, {"content-type": "application/json", "content-length": 1000}))
    await link.send(voice.error())
    await link.silence()


@hanging(LATE, LATE)
async def drip_that_never_ends(link: Link, voice: Voice) -> None:
    """Each byte comes in time, and the answer never."""
    kind = voice.stream_kind if link.streamed else "application/json"
    await link.send(head(200, {"content-type": kind, "transfer-encoding": "chunked"}))
    for byte in voice.unfinished if link.streamed else b" " * MEGABYTE:
        await link.send(chunk(bytes((byte,))))
        await asyncio.sleep(0.01)


@hanging(LATE, LATE)
async def words_before_the_answer_without_end(link: Link, _voice: Voice) -> None:
    while True:
        await link.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.sleep(0.01)
