"""The HTTP parser: the same requests however the bytes are cut, and no leniency."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cascadeflow.testing.http1 import (
    MAX_HEAD,
    HttpFault,
    ParsedRequest,
    RequestParser,
    chunk,
    response_head,
)

TOKEN = st.text(
    "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_!#$%&'*+.^`|~", min_size=1, max_size=12
)
RESERVED = {"content-length", "transfer-encoding", "connection", "expect", "host"}
VALUE = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20
)


@st.composite
def whole_requests(draw: st.DrawFn) -> tuple[bytes, ParsedRequest]:
    """A request's bytes and what is to be read from them."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "M-SEARCH"]))
    target = draw(st.sampled_from(["/", "/v1/chat/completions", "/v1/models?limit=20", "*"]))
    headers = {
        name: draw(VALUE).strip()
        for name in draw(st.lists(TOKEN, max_size=5, unique_by=str.lower))
        if name.lower() not in RESERVED
    }
    body = draw(st.binary(max_size=200))
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    space = draw(st.sampled_from(["", " ", " \t"]))
    lines += [f"{name}:{space}{value}" for name, value in headers.items()]
    expected = {"host": "localhost", **{name.lower(): value for name, value in headers.items()}}
    if draw(st.booleans()):
        lines.append("Transfer-Encoding: chunked")
        expected["transfer-encoding"] = "chunked"
        sent, start = b"", 0
        for size in draw(st.lists(st.integers(1, 60), max_size=8)):
            piece = body[start : start + size]
            extension = draw(st.sampled_from([b"", b";name=value", b' ;a="b"']))
            sent += b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) if piece else b""
            start += size
        body = body[:start]
        trailers = draw(st.sampled_from([b"", b"X-Checksum: 1\r\n"]))
        sent += b"0\r\n" + trailers + b"\r\n"
    else:
        lines.append(f"Content-Length: {len(body)}")
        expected["content-length"] = str(len(body))
        sent = body
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    blank = draw(st.sampled_from([b"", b"\r\n"]))
    return blank + head + sent, ParsedRequest(method, target, expected, body)


def read_all(data: bytes, cuts: list[int], *, max_body: int = 10_000) -> tuple[list[Any], int]:
    """Feeds bytes in pieces; gives the requests, and the fault's status or 0."""
    parser = RequestParser(max_body=max_body)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    requests: list[Any] = []
    for start, end in pairwise(edges):
        parser.feed(data[start:end])
        try:
            while (request := parser.next_request()) is not None:
                requests.append(request)
        except HttpFault as fault:
            return requests, fault.status
    return requests, 0


@given(st.lists(whole_requests(), min_size=1, max_size=4), st.lists(st.integers(0, 10**6)))
def test_requests_are_read_whole_however_their_bytes_are_cut(
    requests: list[tuple[bytes, ParsedRequest]], cuts: list[int]
) -> None:
    data = b"".join(sent for sent, _ in requests)
    expected = [request for _, request in requests]
    assert read_all(data, cuts) == (expected, 0)
    assert read_all(data, list(range(len(data)))) == (expected, 0)


@given(
    st.lists(
        st.sampled_from(
            [b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n", b"\n", b"\r", b" ", b":", b"0", b"5",
             b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"abc", b"\0",
             b"HTTP/2.0", b"content-length: 99999999999999999999\r\n", b";"]
        ),
        max_size=14,
    ).map(b"".join)
    | st.binary(max_size=60),
    st.lists(st.integers(0, 10**6)),
)  # fmt: skip
@example(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nX", [30])
def test_whatever_the_bytes_cutting_them_changes_nothing_and_only_faults_are_raised(
    data: bytes, cuts: list[int]
) -> None:
    whole = read_all(data, [])
    assert read_all(data, cuts) == whole
    assert read_all(data, list(range(len(data)))) == whole


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"\nGET / HTTP/1.1\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        (b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (HEAD + b"no colon\r\n\r\n", 400),
        (HEAD + b"space before : colon\r\n\r\n", 400),
        (HEAD + b" folded: line\r\n\r\n", 400),
        (HEAD + b"a: b\rc\r\n\r\n", 400),
        (HEAD + b"a: b\0c\r\n\r\n", 400),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
        (HEAD + b"Content-Length: +3\r\n\r\n", 400),
        (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (HEAD + b"Content-Length: 10001\r\n\r\n", 413),
        (HEAD + b"Content-Length: 100000000000000000000000\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2711\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1388\r\n" + b"a" * 5000 + b"\r\n1389\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 2000, 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a" * (MAX_HEAD + 1), 431),
        (HEAD + b"a: " + b"b" * MAX_HEAD + b"\r\n\r\n", 431),
        (HEAD + b"a: " + b"b" * MAX_HEAD, 431),
    ],
)
def test_what_is_no_request_is_a_fault(data: bytes, status: int) -> None:
    assert read_all(data, []) == ([], status)
    assert read_all(data, list(range(0, len(data), 7))) == ([], status)


def test_a_fault_stays_a_fault() -> None:
    parser = RequestParser(max_body=10)
    parser.feed(b"nonsense\r\n\r\n")
    for _ in range(2):
        with pytest.raises(HttpFault):
            parser.next_request()
        parser.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")


def test_repeated_headers_are_joined_and_equal_lengths_are_one() -> None:
    data = HEAD + b"A: 1\r\na: 2\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\nabc"
    ((request,), fault) = read_all(data, [])
    assert (request.headers["a"], request.body, fault) == ("1, 2", b"abc", 0)


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_the_connection_is_kept_as_the_version_and_header_say(head: bytes, keeps: bool) -> None:
    ((request,), _) = read_all(head, [])
    assert request.keep_alive is keeps
    assert request.chunks_allowed is (b"HTTP/1.1" in head)


def test_a_client_that_waits_for_continue_is_noticed_until_its_body_comes() -> None:
    parser = RequestParser(max_body=10)
    seen = []
    for data in (HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", b"a", b"b"):
        parser.feed(data)
        request = parser.next_request()
        seen.append((parser.waits_for_continue, request and request.body))
    assert seen == [(True, None), (False, None), (False, b"ab")]


def test_what_is_buffered_is_counted() -> None:
    parser = RequestParser(max_body=10)
    parser.feed(HEAD[:5])
    parser.next_request()
    assert parser.buffered == 5


def test_a_request_does_not_show_its_headers() -> None:
    request = ParsedRequest("GET", "/", {"authorization": "Bearer secret"}, b"")
    assert repr(request) == "ParsedRequest(GET /)"


def test_a_response_head_has_a_reason_for_every_status() -> None:
    assert response_head(404, []) == b"HTTP/1.1 404 Not Found\r\n"
    assert response_head(529, []) == b"HTTP/1.1 529 Overloaded\r\n"
    assert response_head(599, [("a", "b")]) == b"HTTP/1.1 599 Unknown\r\na: b\r\n"


def test_an_empty_chunk_is_not_written_for_it_would_end_the_body() -> None:
    assert chunk(b"") == b""
