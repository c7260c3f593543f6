"""Where an HTTP/1.1 response ends in the bytes that came, and whether anything came behind it."""

from __future__ import annotations

from typing import Final

__all__ = ["Framing"]

_HEAD: Final = 0
_DATA: Final = 1
_SIZE: Final = 2
_TRAILER: Final = 3
_END: Final = 4
_LOST: Final = 5

_LONGEST_LINE: Final = 128 * 1024


class Framing:
    r"""Follows one response's framing (RFC 9112, section 6), and nothing else of it.

    The engine would take what a server sends behind a response for the answer to the next request.
    So a connection is only used again when the response ended where its bytes did. Whatever cannot
    be followed counts as not clean: then the connection is closed, and nothing else is lost.

    >>> framing = Framing()
    >>> framing.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno")
    >>> framing.clean
    True
    >>> framing.feed(b"HTTP/1.1 200 OK\r\n")
    >>> framing.clean
    False
    """

    __slots__ = ("_chunked", "_left", "_line", "_state")

    def __init__(self) -> None:
        self._state = _HEAD
        self._line = b""
        """What has come of a line, or of the head, that is not whole."""
        self._left = 0
        """Bytes of the body, or of the chunk with its line's end, that are still to come."""
        self._chunked = False

    @property
    def clean(self) -> bool:
        """Whether the response has ended, and nothing came behind it."""
        return self._state == _END

    def feed(self, data: bytes) -> None:
        """Takes the next bytes."""
        position = 0
        while position < len(data):
            if self._state == _DATA:
                step = min(self._left, len(data) - position)
                self._left -= step
                position += step
                if not self._left:
                    self._state = _SIZE if self._chunked else _END
            elif self._state in (_END, _LOST):
                self._state = _LOST
                return
            else:
                position = self._read_line(data, position)

    def _read_line(self, data: bytes, position: int) -> int:
        """Reads to the end of a line, or of the head; gives where to go on."""
        end = b"\r\n\r\n" if self._state == _HEAD else b"\n"
        before = len(self._line)
        text = self._line + data[position:] if before else data[position:]
        at = text.find(end)
        if at < 0:
            self._line = text
            if len(text) > _LONGEST_LINE:
                self._state = _LOST
            return len(data)
        self._line = b""
        try:
            self._take(text[:at])
        except (ValueError, IndexError):
            self._state = _LOST
        return position + at + len(end) - before

    def _take(self, line: bytes) -> None:
        if self._state == _HEAD:
            self._take_head(line)
        elif self._state == _SIZE:
            size = int(line.partition(b";")[0], 16)
            if size < 0:
                raise ValueError
            self._state = _DATA if size else _TRAILER
            self._left = size + 2
        elif not line.strip(b"\r"):
            self._state = _END

    def _take_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        status = int(first.split(b" ", 2)[1])
        if status < 200:  # noqa: PLR2004 - the response itself follows
            return
        fields: dict[bytes, bytes] = {}
        for line in lines:
            name, _, value = line.partition(b":")
            fields[name.strip().lower()] = value.strip()
        length = fields.get(b"content-length")
        self._chunked = fields.get(b"transfer-encoding", b"").lower() == b"chunked"
        if self._chunked:
            self._state = _SIZE
        elif length is not None:
            self._left = max(0, int(length))
            self._state = _DATA if self._left else _END
        else:
            self._state = _LOST  # to the end of the connection, or with no body at all
