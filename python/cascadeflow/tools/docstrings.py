"""What a docstring says of a function and of its parameters, in the three usual forms."""

from __future__ import annotations

import inspect
import re
from itertools import pairwise
from typing import Final

__all__ = ["read_docstring"]

_GOOGLE: Final = re.compile(
    r"(?:Args|Arguments|Parameters|Params|Keyword Args|Keyword Arguments|Other Parameters):\s*$"
)
_SECTION: Final = re.compile(
    r"(?:Args|Arguments|Parameters|Params|Keyword Args|Keyword Arguments|Other Parameters|Returns?"
    r"|Yields?|Raises|Examples?|Notes?|Attributes|See Also|Warnings?|References|Todo):\s*$"
)
_GOOGLE_ENTRY: Final = re.compile(r"\*{0,2}(\w+)\s*(?:\(.*?\))?\s*:(?:\s+(.*))?$")
_UNDERLINE: Final = re.compile(r"-{3,}\s*$")
_NUMPY: Final = re.compile(r"(?:Other )?Parameters\s*$")
_NUMPY_ENTRY: Final = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")
_SPHINX: Final = re.compile(
    r":(?:param|parameter|arg|argument|key|keyword)\s+(?:[^:]*?\s)?\*{0,2}(\w+)\s*:\s*(.*)$"
)


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    r"""Reads a docstring: its first paragraph, and what it says of each parameter.

    Parameters are read from Google's and NumPy's sections and from Sphinx's fields.

    >>> read_docstring("Looks up.\n\nArgs:\n  city: which one.\n  days: how many\n    of them.")
    ('Looks up.', {'city': 'which one.', 'days': 'how many of them.'})
    """
    lines = inspect.cleandoc(text).splitlines()
    return _summary(lines), _google(lines) | _numpy(lines) | _sphinx(lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _summary(lines: list[str]) -> str:
    taken: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        starts = _SECTION.match(line) or line.startswith(":") or _UNDERLINE.match(following)
        if starts or (not line.strip() and taken):
            break
        taken.append(line.strip())
    return " ".join(filter(None, taken))


def _google(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for start, header in enumerate(lines):
        if not _GOOGLE.match(header.strip()):
            continue
        body = lines[start + 1 :]
        first = next((line for line in body if line.strip()), "")
        level = _indent(first)
        # Behind a header on the first line nobody can tell how far the rest was indented.
        if level <= _indent(header) and start > 0:
            continue
        _entries(body, level, _GOOGLE_ENTRY, found)
    return _joined(found)


def _numpy(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for start, (header, following) in enumerate(pairwise(lines)):
        if not (_NUMPY.match(header) and _UNDERLINE.match(following)):
            continue
        body = lines[start + 2 :]
        ends = (
            index
            for index, line in enumerate(body)
            if _UNDERLINE.match(line) and index and not _indent(body[index - 1])
        )
        end = next(ends, len(body) + 1) - 1
        _entries(body[:end], 0, _NUMPY_ENTRY, found)
    return _joined(found)


def _entries(
    body: list[str], level: int, entry: re.Pattern[str], found: dict[str, list[str]]
) -> None:
    """Collects entries that begin at one indentation, with what is indented further."""
    current: list[list[str]] = []
    for line in body:
        if not line.strip():
            continue
        if _indent(line) < level:
            break
        if _indent(line) > level:
            for texts in current:
                texts.append(line.strip())
            continue
        match = entry.match(line.strip())
        current = []
        if match is None:
            continue
        for name in match[1].split(","):
            texts = found.setdefault(name.strip().lstrip("*"), [])
            current.append(texts)
            if entry is _GOOGLE_ENTRY and match[2]:
                texts.append(match[2].strip())


def _sphinx(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines:
        match = _SPHINX.match(line.strip())
        if match is not None:
            current = found.setdefault(match[1], [])
            current.append(match[2].strip())
        elif not line.strip() or line.strip().startswith(":"):
            current = None
        elif current is not None:
            current.append(line.strip())
    return _joined(found)


def _joined(found: dict[str, list[str]]) -> dict[str, str]:
    joined = {name: " ".join(filter(None, texts)) for name, texts in found.items()}
    return {name: text for name, text in joined.items() if text}
