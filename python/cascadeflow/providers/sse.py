"""Server-sent events, parsed from bytes that come in pieces of any size.

The format is WHATWG HTML §9.2.6. Both streaming protocols speak it, so the parser stands alone. It
copies each byte a bounded number of times, however small the pieces are.
"""

from __future__ import annotations

from typing import Final

__all__ = ["STRAY", "SseEvent", "SseParser"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

SseEvent = tuple[str, bytes]
"""An event's name (empty when it has none) and its data, lines joined by a line feed."""

STRAY: Final = "\n"
"""The name under which stray lines are given, which no event can have."""


class SseParser:
    r"""Turns bytes into events. One parser reads one stream.

    With `stray`, lines that look like JSON and belong to no event are given too, each by itself and
    named `STRAY`: the standard passes over them, but some servers write their errors so.

    >>> parser = SseParser()
    >>> parser.feed(b"event: greeting\ndata: hel"), parser.feed(b"lo\n\n")
    ([], [('greeting', b'hello')])
    """

    __slots__ = ("_after_return", "_data", "_first", "_name", "_pieces", "_stray")

    def __init__(self, *, stray: bool = False) -> None:
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._name = ""
        self._first = True
        self._after_return = False
        self._stray = stray

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Takes the next bytes and gives the events that they complete."""
        if b"\r" in chunk or self._after_return:
            chunk = self._unify_line_ends(chunk)
        if b"\n" not in chunk:
            if chunk:
                self._pieces.append(chunk)
            return []
        if self._pieces:
            self._pieces.append(chunk)
            chunk = b"".join(self._pieces)
            self._pieces.clear()
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if rest:
            self._pieces.append(rest)
        return self._read(lines)

    def finish(self) -> list[SseEvent]:
        """Says that the stream has ended and gives what was pending.

        The standard drops an event that no blank line ended; many servers forget that line after
        their last event, so it is given, and the caller judges whether its data is whole.
        """
        lines = [b"".join(self._pieces), b""]
        self._pieces.clear()
        return self._read(lines)

    def _unify_line_ends(self, chunk: bytes) -> bytes:
        if self._after_return and chunk:
            # The carriage return that ended the last chunk was already taken for a line's end.
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        if chunk.endswith(b"\r"):
            self._after_return = True
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _read(self, lines: list[bytes]) -> list[SseEvent]:
        events: list[SseEvent] = []
        for line in lines:
            if self._first:
                self._first = False
                line = line.removeprefix(_BYTE_ORDER_MARK)  # noqa: PLW2901 - the mark is no text
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line:
                if self._data:
                    events.append((self._name, b"\n".join(self._data)))
                    self._data.clear()
                self._name = ""
            elif line.startswith(b"event:"):
                self._name = line[6:].removeprefix(b" ").decode("utf-8", "replace")
            elif line == b"data":
                self._data.append(b"")
            elif self._stray and line[:1] in b' \t{}[],"':
                events.append((STRAY, line))
            # Comments (a leading colon), `id`, `retry` and unknown fields say nothing of an answer.
        return events
