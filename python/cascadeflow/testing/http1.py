"""A small HTTP/1.1 server side, pure: bytes in, requests out, and the bytes of a response.

Strict where leniency hides a client's fault (RFC 9112): only CRLF ends a line, no folded headers,
no second length, no unknown transfer coding.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["HttpFault", "ParsedRequest", "RequestParser", "chunk", "response_head"]

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request's line and headers together."""

_MAX_CHUNK_LINE = 1024

_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~\x80-\xff]+) HTTP/(\d)\.(\d)")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")

_MOST_DIGITS = 18

_HEADS: dict[bytes, _Head] = {}
"""Heads seen so far: a client sends the same one with each request of the same length."""

_MOST_HEADS = 512


class HttpFault(Exception):  # noqa: N818 - it is a response, not an error of ours
    """A request that cannot be read; the connection cannot be used further.

    Attributes:
        status: what to answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ParsedRequest(NamedTuple):
    """One request, as it came. A tuple, for one is made with each request.

    Attributes:
        method: in the case it was sent.
        target: path and query.
        headers: names lower-cased, repeated ones joined by a comma.
        body: whole, chunks put together.
        keep_alive: whether the connection may carry another request.
        chunks_allowed: whether the response may come in chunks (HTTP/1.1).
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool = True
    chunks_allowed: bool = True

    def __repr__(self) -> str:
        return f"ParsedRequest({self.method} {self.target})"  # the headers hold credentials


class _Head(NamedTuple):
    """What a request's line and headers say; `length` is `None` when the body comes in chunks."""

    method: str
    target: str
    headers: Mapping[str, str]
    keep_alive: bool
    newer: bool
    length: int | None


class RequestParser:
    """Takes a connection's bytes in pieces of any size and gives its requests one by one."""

    __slots__ = ("_body", "_buffer", "_fault", "_head", "_max_body", "_searched")

    def __init__(self, *, max_body: int) -> None:
        """Starts at the beginning of a connection.

        Args:
            max_body: the largest body in bytes; a larger one is a 413.
        """
        self._max_body = max_body
        self._buffer = bytearray()
        self._searched = 0
        self._head: _Head | None = None
        self._body = bytearray()
        self._fault: HttpFault | None = None

    @property
    def buffered(self) -> int:
        """Bytes that were fed and are part of no request given yet."""
        return len(self._buffer) + len(self._body)

    @property
    def waits_for_continue(self) -> bool:
        """Whether the client holds its body back until it is told to go on."""
        head = self._head
        return (
            head is not None
            and not self._buffer
            and not self._body
            and head.headers.get("expect", "").lower() == "100-continue"
        )

    def feed(self, data: bytes) -> None:
        """Takes the next bytes."""
        self._buffer += data

    def next_request(self) -> ParsedRequest | None:
        """Gives the next whole request, or `None` when bytes of it are missing.

        Raises:
            HttpFault: the bytes are no request, or one that is too large.
        """
        if self._fault is not None:
            raise self._fault
        try:
            head = self._head
            if head is None:
                if not self._buffer:
                    return None
                head = self._head = self._next_head()
                if head is None:
                    return None
            return self._read_body(head)
        except HttpFault as fault:
            self._fault = fault
            raise

    def _next_head(self) -> _Head | None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # RFC 9112, 2.2: an empty line before it is skipped
            del buffer[:2]
            self._searched = 0
        end = buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0:
            # A client that ends its lines so would wait for an answer for ever.
            if _BARE_LINE_FEED.search(buffer, self._searched):
                raise HttpFault(400, "a line ends without a carriage return")
            self._searched = len(buffer)
        if end > MAX_HEAD or (end < 0 and len(buffer) > MAX_HEAD):
            raise HttpFault(431, f"request line and headers are longer than {MAX_HEAD} bytes")
        if end < 0:
            return None
        data = bytes(buffer[:end])
        del buffer[: end + 4]
        self._searched = 0
        head = _HEADS.get(data)
        if head is None:
            head = _parsed_head(data)
            if len(_HEADS) >= _MOST_HEADS:
                _HEADS.clear()
            _HEADS[data] = head
        if head.length is not None and head.length > self._max_body:
            raise HttpFault(413, f"the body is larger than {self._max_body} bytes")
        return head

    def _read_body(self, head: _Head) -> ParsedRequest | None:
        if head.length is None:
            if not self._read_chunks():
                return None
            body = bytes(self._body)
            self._body.clear()
        else:
            if len(self._buffer) < head.length:
                return None
            body = bytes(self._buffer[: head.length])
            del self._buffer[: head.length]
        self._head = None
        return ParsedRequest(
            head.method, head.target, head.headers, body, head.keep_alive, head.newer
        )

    def _read_chunks(self) -> bool:
        """Moves whole chunks from the buffer to the body; true once the last one is there."""
        buffer = self._buffer
        while True:
            line_end = buffer.find(b"\r\n", 0, _MAX_CHUNK_LINE)
            if line_end < 0:
                if len(buffer) >= _MAX_CHUNK_LINE or b"\n" in buffer:
                    raise HttpFault(400, "this is not the size of a chunk")
                return False
            size_line = _CHUNK_SIZE.fullmatch(buffer, 0, line_end)
            if size_line is None:
                raise HttpFault(400, "this is not the size of a chunk")
            size = int(size_line.group(1), 16)
            if len(self._body) + size > self._max_body:
                raise HttpFault(413, f"the body is larger than {self._max_body} bytes")
            start = line_end + 2
            if size == 0:
                return self._read_trailers(start)
            if len(buffer) < start + size + 2:
                return False
            if buffer[start + size : start + size + 2] != b"\r\n":
                raise HttpFault(400, "a chunk is not as long as it says")
            self._body += buffer[start : start + size]
            del buffer[: start + size + 2]

    def _read_trailers(self, start: int) -> bool:
        buffer = self._buffer
        if buffer.startswith(b"\r\n", start):
            del buffer[: start + 2]
            return True
        end = buffer.find(b"\r\n\r\n", start)
        if end < 0:
            if len(buffer) - start > MAX_HEAD:
                raise HttpFault(431, f"trailers are longer than {MAX_HEAD} bytes")
            return False
        del buffer[: end + 4]
        return True


def _parsed_head(data: bytes) -> _Head:
    text = data.decode("latin-1")
    lines = text.split("\r\n")
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise HttpFault(400, "a control character stands in the request line or a header")
    line = _REQUEST_LINE.fullmatch(lines[0])
    if line is None:
        raise HttpFault(400, "this is not a request line")
    method, target, major, minor = line.groups()
    if major != "1":
        raise HttpFault(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    headers = _headers(lines[1:])
    newer = minor != "0"
    if newer and "host" not in headers:
        raise HttpFault(400, "an HTTP/1.1 request needs a Host header")
    connection = headers.get("connection", "").lower()
    return _Head(
        method=method,
        target=target,
        headers=headers,
        keep_alive="close" not in connection if newer else "keep-alive" in connection,
        newer=newer,
        length=_length(headers, newer=newer),
    )


def _length(headers: Mapping[str, str], *, newer: bool) -> int | None:
    """The body's length in bytes; `None` when it comes in chunks."""
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise HttpFault(400, "a request has a length or a transfer coding, not both")
        if coding.lower() != "chunked" or not newer:
            raise HttpFault(501, "the only transfer coding known is chunked, in HTTP/1.1")
        return None
    if length is None:
        return 0
    lengths = {part.strip() for part in length.split(",")}
    value = lengths.pop()
    if lengths or not (value.isascii() and value.isdigit()):
        raise HttpFault(400, "Content-Length is not one number")
    return int(value[:_MOST_DIGITS])  # a longer number is cut, and still larger than any body


def response_head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    r"""Gives a status line and headers, without the empty line that ends them.

    >>> response_head(200, [("content-length", "2")])
    b'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n'
    """
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} {_reason(status)}\r\n{lines}".encode("latin-1")


def chunk(data: bytes) -> bytes:
    r"""Gives bytes as one chunk of a chunked body; nothing for nothing, for that would end it.

    >>> chunk(b"data: [DONE]")
    b'c\r\ndata: [DONE]\r\n'
    """
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK: Final = b"0\r\n\r\n"


def _headers(lines: Iterable[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        raw_name, colon, value = line.partition(":")
        if not colon or _FIELD_NAME.fullmatch(raw_name) is None:
            raise HttpFault(400, "this is not a header")
        name = raw_name.lower()
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


@lru_cache(maxsize=64)
def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Overloaded" if status == 529 else "Unknown"  # noqa: PLR2004 - Anthropic's own
