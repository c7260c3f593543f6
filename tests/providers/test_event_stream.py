"""Amazon's event stream: frames read beside botocore's own reader, and broken ones refused."""

from __future__ import annotations

import datetime
import random
import struct
import tracemalloc
import uuid
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow.providers.event_stream import EventStreamParser

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMATS = {2: "!b", 3: "!h", 4: "!i", 5: "!q", 8: "!q"}


def header(name: str, kind: int, value: Any) -> bytes:
    raw = name.encode()
    head = bytes([len(raw)]) + raw + bytes([kind])
    if kind in FORMATS:
        return head + struct.pack(FORMATS[kind], value)
    if kind in (6, 7):
        data = value.encode() if kind == 7 else value
        return head + struct.pack("!H", len(data)) + data
    return head + (value if kind == 9 else b"")


def frame(headers: bytes = b"", payload: bytes = b"") -> bytes:
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    checked = prelude + struct.pack("!I", crc32(prelude)) + headers + payload
    return checked + struct.pack("!I", crc32(checked))


def read(*chunks: bytes) -> tuple[list[Any], str | None]:
    parser = EventStreamParser()
    frames = [
        (dict(headers), payload) for chunk in chunks for headers, payload in parser.feed(chunk)
    ]
    return frames, parser.failure


def by_botocore(data: bytes) -> list[Any]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(message.headers, message.payload) for message in buffer]


VALUES = {
    0: st.just(True),
    1: st.just(False),
    2: st.integers(-(2**7), 2**7 - 1),
    3: st.integers(-(2**15), 2**15 - 1),
    4: st.integers(-(2**31), 2**31 - 1),
    5: st.integers(-(2**63), 2**63 - 1),
    6: st.binary(max_size=40),
    7: st.text(max_size=40),
    8: st.integers(0, 4_000_000_000_000),
    9: st.binary(min_size=16, max_size=16),
}
HEADERS = st.dictionaries(
    st.text(st.characters(codec="ascii"), min_size=1, max_size=30),
    st.sampled_from(sorted(VALUES)).flatmap(lambda kind: VALUES[kind].map(lambda v: (kind, v))),
    max_size=8,
)
FRAMES = st.lists(st.tuples(HEADERS, st.binary(max_size=300)), max_size=5)


def written(frames: Sequence[Any]) -> bytes:
    return b"".join(
        frame(b"".join(header(name, *typed) for name, typed in headers.items()), payload)
        for headers, payload in frames
    )


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


@given(FRAMES, st.lists(st.integers(0, 10_000), max_size=6))
def test_frames_with_headers_of_all_types_are_read_as_botocore_reads_them(
    frames: list[Any], places: list[int]
) -> None:
    data = written(frames)
    found, failure = read(*cut(data, places))
    assert failure is None
    assert found == [
        ({name: value for name, (_, value) in headers.items()}, payload)
        for headers, payload in frames
    ]
    theirs = by_botocore(data)
    for (ours, payload), (headers, their_payload) in zip(found, theirs, strict=True):
        assert payload == their_payload
        assert ours.keys() == headers.keys()
        for name, value in headers.items():
            mine = ours[name]
            if isinstance(value, datetime.datetime):  # they make a date of a time's milliseconds
                continue
            assert mine == value


def test_a_stream_gives_the_same_frames_byte_by_byte_and_at_every_cut() -> None:
    data = frame(header(":event-type", 7, "a"), b"{}") + frame() + frame(b"", b"xyz")
    whole = read(data)
    assert whole == ([({":event-type": "a"}, b"{}"), ({}, b""), ({}, b"xyz")], None)
    assert read(*(bytes([byte]) for byte in data)) == whole
    for place in range(len(data)):
        assert read(data[:place], data[place:]) == whole


def test_each_byte_is_covered_by_a_checksum() -> None:
    data = frame(header(":event-type", 7, "contentBlockDelta"), b'{"a":1}')
    good = frame(b"", b"first")
    for place in range(len(data)):
        for bit in (1, 128):
            broken = bytearray(data)
            broken[place] ^= bit
            frames, failure = read(good + bytes(broken) + good)
            assert frames[0] == ({}, b"first")
            assert frames[1:] == []
            # A length that was enlarged may wait for bytes that never come; the checksum of the
            # prelude tells before.
            assert failure is not None, place


def prelude(length: int, headers: int) -> bytes:
    head = struct.pack("!II", length, headers)
    return head + struct.pack("!I", crc32(head))


@pytest.mark.parametrize(
    ("length", "headers"),
    [
        (0, 0),
        (15, 0),
        (16, 1),
        (2**32 - 1, 0),
        (24 * 2**20 + 17, 0),
        (2**20, 128 * 1024 + 1),
        (100, 2**32 - 1),
    ],
)
def test_a_frame_of_absurd_length_is_refused_before_its_bytes_come(
    length: int, headers: int
) -> None:
    frames, failure = read(prelude(length, headers))
    assert frames == []
    assert failure is not None
    assert str(length) in failure


def test_the_largest_frame_that_amazon_s_clients_take_is_taken() -> None:
    payload = bytes(24 * 2**20)
    frames, failure = read(frame(b"", payload))
    assert failure is None
    assert frames[0][1] == payload


@pytest.mark.parametrize(
    "headers",
    [
        b"\x05abc",
        b"\x01a",
        b"\x01a\x04\x00",
        b"\x01a\x07\x00\x05ab",
        b"\x01a\x07\x00",
        b"\x01a\x09\x00",
        b"\x01a\x0a",
        b"\x01a\xff",
        b"\x01\xff\x00",
        b"\x01a\x07\x00\x01\xff",
    ],
)
def test_headers_that_cannot_be_read_are_refused(headers: bytes) -> None:
    frames, failure = read(frame(b"", b"ok") + frame(headers, b"{}"))
    assert frames == [({}, b"ok")]
    assert failure is not None


def test_nothing_is_given_after_a_failure() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"<html>and so on") == []
    failure = parser.failure
    assert failure is not None
    assert parser.rejected.startswith(b"<html>")
    assert parser.feed(frame()) == []
    assert parser.failure == failure


@settings(max_examples=200)
@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=3))
def test_whatever_the_bytes_are_botocore_and_this_parser_agree_on_what_is_a_frame(
    data: bytes, places: list[int]
) -> None:
    frames, failure = read(*cut(data, places))
    try:
        theirs = by_botocore(data)
    except (ParserError, UnicodeDecodeError, struct.error, IndexError, KeyError):
        assert failure is not None
        return
    assert failure is None
    assert len(frames) == len(theirs)


def test_a_large_frame_in_small_pieces_takes_the_room_of_a_few_copies() -> None:
    payload = random.Random(1).randbytes(2_000_000)
    data = frame(b"", payload)
    parser = EventStreamParser()
    tracemalloc.start()
    try:
        for at in range(0, len(data) - 64, 64):
            assert parser.feed(data[at : at + 64]) == []
        held, _ = tracemalloc.get_traced_memory()
        frames = parser.feed(data[at + 64 :])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert frames[0][1] == payload
    assert held < 1.3 * len(data)
    assert peak < 3.5 * len(data)


def test_a_uuid_and_a_time_are_what_they_are_on_the_wire() -> None:
    name = uuid.UUID(int=7)
    headers = header("u", 9, name.bytes) + header("t", 8, 1_700_000_000_123)
    assert read(frame(headers))[0][0][0] == {"u": name.bytes, "t": 1_700_000_000_123}
