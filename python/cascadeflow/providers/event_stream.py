"""Amazon's binary event stream, parsed from bytes that come in pieces of any size.

The format is `application/vnd.amazon.eventstream`: frames of a prelude (total length, length of the
headers, CRC-32 of the two), typed headers, a payload and a CRC-32 of it all, big-endian
(https://smithy.io/2.0/aws/amazon-eventstream.html). Each byte is copied a bounded number of times,
however small the pieces are.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, TypeAlias
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EventStreamParser", "Frame", "HeaderValue"]

HeaderValue: TypeAlias = bool | int | bytes | str

Frame: TypeAlias = "tuple[Mapping[str, HeaderValue], bytes]"
"""A frame's headers, and its payload. Times are milliseconds since 1970; a UUID is its bytes."""

_PRELUDE: Final = struct.Struct("!III")
_CHECKSUM: Final = struct.Struct("!I")
_SHORTEST: Final = _PRELUDE.size + _CHECKSUM.size
_LONGEST_HEADERS: Final = 128 * 1024
_LONGEST_PAYLOAD: Final = 24 * 1024 * 1024
"""What Amazon's own clients accept, too."""

_NUMBERS: Final[Mapping[int, struct.Struct]] = {
    2: struct.Struct("!b"),
    3: struct.Struct("!h"),
    4: struct.Struct("!i"),
    5: struct.Struct("!q"),
    8: struct.Struct("!q"),
}
"""Types of headers that are numbers: 8, 16, 32 and 64 bits, and a time."""

_MOST_REMEMBERED: Final = 32


class EventStreamParser:
    """Turns bytes into frames. One parser reads one stream.

    Attributes:
        failure: what is wrong with the stream, once something is; the frames ahead of it have been
            given, and no more will be.
        rejected: the first bytes of what is no frame, to tell what it may be instead.
    """

    __slots__ = ("_buffer", "_headers", "_headers_length", "_length", "failure", "rejected")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length = 0
        """How long the frame at the buffer's start is, 0 while its prelude has not been read."""
        self._headers_length = 0
        self._headers: dict[bytes, Mapping[str, HeaderValue]] = {}
        """Headers that have been read: most frames of a stream have the same few."""
        self.failure: str | None = None
        self.rejected = b""

    def feed(self, chunk: bytes) -> list[Frame]:
        """Takes the next bytes and gives the frames that they complete."""
        frames: list[Frame] = []
        if self.failure is not None:
            return frames
        buffer = self._buffer
        buffer += chunk
        start = 0
        try:
            while True:
                if not self._length:
                    if len(buffer) - start < _PRELUDE.size:
                        break
                    self._length, self._headers_length = _read_prelude(buffer, start)
                end = start + self._length
                if len(buffer) < end:
                    break
                frames.append(self._read(bytes(memoryview(buffer)[start:end])))
                start = end
                self._length = 0
        except ValueError as error:
            self.failure = str(error)
            self.rejected = bytes(buffer[start : start + _PRELUDE.size])
            start = len(buffer)
        if start:
            del buffer[:start]
        return frames

    def _read(self, frame: bytes) -> Frame:
        content = len(frame) - _CHECKSUM.size
        if crc32(memoryview(frame)[:content]) != _CHECKSUM.unpack_from(frame, content)[0]:
            raise ValueError("a frame's checksum does not fit its content")
        end = _PRELUDE.size + self._headers_length
        raw = frame[_PRELUDE.size : end]
        headers = self._headers.get(raw)
        if headers is None:
            headers = _read_headers(raw)
            if len(self._headers) < _MOST_REMEMBERED:
                self._headers[raw] = headers
        return headers, frame[end:content]


def _read_prelude(buffer: bytearray, start: int) -> tuple[int, int]:
    """Gives a frame's length and that of its headers.

    Raises:
        ValueError: no frame begins like this.
    """
    length, headers, checksum = _PRELUDE.unpack_from(buffer, start)
    if crc32(buffer[start : start + 8]) != checksum:
        raise ValueError("the checksum of a frame's prelude does not fit: it is no event stream")
    payload = length - headers - _SHORTEST
    if payload < 0 or headers > _LONGEST_HEADERS or payload > _LONGEST_PAYLOAD:
        raise ValueError(f"a frame of {length} bytes with {headers} bytes of headers")
    return length, headers


def _read_headers(raw: bytes) -> Mapping[str, HeaderValue]:
    """Reads headers of all types.

    Raises:
        ValueError: they are cut off, of an unknown type, or not UTF-8.
    """
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(raw):
            name, at = _take(raw, at + 1, raw[at])
            kind = raw[at]
            value: HeaderValue
            at += 1
            if kind <= 1:
                value = kind == 0
            elif kind in _NUMBERS:
                number = _NUMBERS[kind]
                value = number.unpack_from(raw, at)[0]
                at += number.size
            elif kind in (6, 7):
                found, at = _take(raw, at + 2, int.from_bytes(_take(raw, at, 2)[0]))
                value = found if kind == 6 else found.decode()  # noqa: PLR2004 - bytes, or text
            elif kind == 9:  # noqa: PLR2004 - a UUID
                value, at = _take(raw, at, 16)
            else:
                raise ValueError(f"a header of the unknown type {kind}")
            headers[name.decode()] = value
    except (IndexError, struct.error):
        raise ValueError("a frame's headers are cut off") from None
    return headers


def _take(raw: bytes, at: int, length: int) -> tuple[bytes, int]:
    end = at + length
    if end > len(raw):
        raise IndexError
    return raw[at:end], end
