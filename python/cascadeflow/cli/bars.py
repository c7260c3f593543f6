"""Bars of text: shares as lengths, to an eighth of a character, and other marks of the pictures."""

from __future__ import annotations

from typing import Final

__all__ = ["ascii_only", "bar", "needle", "shortened", "span"]

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_ASCII: Final = str.maketrans("█▉▊▋▌▍▎▏─│┌├└┤●·…µ", "####====-|+|`|o..u") | dict.fromkeys(
    range(0x2801, 0x2900),
    "*",  # the braille dots of the plots
)


def bar(share: float, width: int, *, mark: float | None = None) -> str:
    """Draws a share as a bar, padded to the whole width.

    >>> bar(0.5, 8), bar(0.25, 8, mark=0.75), bar(2, 4)
    ('████    ', '██    │ ', '████')

    Args:
        share: what is drawn; beyond 0 to 1 it is drawn as 0 or 1.
        width: characters that 1 takes.
        mark: a share that is marked by a line, such as a threshold.
    """
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    drawn = ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)
    return drawn if mark is None else _put(drawn, mark, "│")


def needle(at: float, width: int) -> str:
    """Draws a place on a scale from 0 to 1.

    >>> needle(0.5, 9)
    '────●────'
    """
    return _put("─" * width, at, "●")


def span(low: float, at: float, high: float, width: int, *, mark: float | None = None) -> str:
    """Draws an interval on a scale from 0 to 1, the value within it, and a line where one is.

    >>> span(0.2, 0.5, 0.8, 11, mark=1)
    '··├──●──┤·│'
    """
    begin, end = _place(low, width), _place(high, width)
    drawn = "".join("─" if begin <= place <= end else "·" for place in range(width))
    drawn = _put(_put(drawn, low, "├"), high, "┤")
    if mark is not None and 0 <= mark <= 1:
        drawn = _put(drawn, mark, "│")
    return _put(drawn, at, "●")


def shortened(text: str, width: int) -> str:
    """Gives a text in one line of at most so many characters, control codes left out.

    >>> shortened("one  two three", 9)
    'one two …'
    """
    line = "".join(each if each.isprintable() else " " for each in " ".join(text.split()))
    return line if len(line) <= width else f"{line[: width - 1]}…"


def ascii_only(text: str) -> str:
    """Draws the same for an output that knows ASCII alone.

    >>> ascii_only(bar(0.5, 4, mark=1)), ascii_only("└─ 3 µs")
    ('## |', '`- 3 us')
    """
    return text.translate(_ASCII)


def _place(share: float, width: int) -> int:
    return round(min(1.0, max(0.0, share)) * (width - 1))


def _put(drawn: str, share: float, sign: str) -> str:
    place = _place(share, len(drawn))
    return f"{drawn[:place]}{sign}{drawn[place + 1 :]}"
