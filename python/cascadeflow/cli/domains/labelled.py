"""Reading labelled requests: JSON lines with `text` and `label`, and where they are from."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.domains.evaluation import LabelledRow
from cascadeflow.domains.reading import near
from cascadeflow.errors import InvalidRequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["read_labelled"]

_GZIP: Final = b"\x1f\x8b"
_NAMED: Final = 5


def read_labelled(
    path: str, known: Collection[str], *, splits: Collection[str] = ()
) -> tuple[LabelledRow, ...]:
    """Reads the rows of a file, gzipped or not.

    Args:
        path: the file; `-` is standard input.
        known: the labels that there are.
        splits: the rows with one of these in `split`; all rows where it is empty.

    Raises:
        StoreError: the file cannot be read.
        InvalidRequestError: a line is no row, a label is no domain, or no row is left.
    """
    name = "standard input" if path == "-" else path
    rows: list[LabelledRow] = []
    unknown: dict[str, int] = {}  # with the line where each stands first
    there: set[str] = set()
    # Only at line feeds: a JSON text may hold U+2028, at which splitlines() would cut it.
    for number, line in enumerate(_content(path, name).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row, split = _row(json.loads(line))
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(
                f"{name}, line {number}: {error}; docs/cli.md shows the form"
            ) from error
        there.add(split or "(none)")
        if splits and split not in splits:
            continue
        if row.label not in known:
            unknown.setdefault(row.label, number)
        rows.append(row)
    if unknown:
        raise _not_known(unknown, known, name)
    if not there:
        raise InvalidRequestError(f"{name} holds no rows")
    if not rows:
        raise InvalidRequestError(
            f"{name} has no rows of the split {', '.join(splits)}; its splits are "
            + ", ".join(sorted(there))
        )
    return tuple(rows)


def _content(path: str, name: str) -> str:
    try:
        if path == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:  # noqa: PTH123 - a path of the user's, as it is
                data = file.read()
        return (gzip.decompress(data) if data.startswith(_GZIP) else data).decode("utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise StoreError(f"{name} cannot be read: {error}") from error


def _row(entry: Any) -> tuple[LabelledRow, str | None]:
    if not isinstance(entry, dict):
        raise TypeError("not a JSON object")
    text, label = _field(entry, "text"), _field(entry, "label")
    source, split = (_field(entry, name, needed=False) for name in ("source", "split"))
    if not label:
        raise ValueError("the label is empty")
    return LabelledRow(text or "", label, source or ""), split


def _field(entry: Mapping[str, Any], name: str, *, needed: bool = True) -> str | None:
    value = entry.get(name)
    if value is None and not needed:
        return None
    if name not in entry:
        raise ValueError(f"no field {name!r}")
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {value!r:.40}")
    return value


def _not_known(
    unknown: Mapping[str, int], known: Collection[str], name: str
) -> InvalidRequestError:
    shown = list(unknown.items())[:_NAMED]
    says = ", ".join(f"{label!r:.60} (line {number})" for label, number in shown)
    more = f" and {len(unknown) - len(shown)} more" if len(unknown) > len(shown) else ""
    return InvalidRequestError(
        f"{name}: no domains are called {says}{more}; {near(shown[0][0], known)} Those of your own "
        "come with --domains FILE.toml"
    )
