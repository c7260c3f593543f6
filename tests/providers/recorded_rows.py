"""The recorded exchanges, and their JSON taken apart without any codec's helpers."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Row = dict[str, Any]
Path_ = tuple[str | int, ...]


def rows_of(folder: Path, name: str) -> list[Row]:
    """Every exchange of a file, which is named after a provider."""
    with gzip.open(folder / f"{name}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def headers_of(row: Row) -> dict[str, str]:
    """A response's headers, as a codec is given them."""
    return {name.lower(): value for name, value in (row["headers"] or {}).items()}


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every scalar that says something: nulls and empty texts, lists and objects do not."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    elif value is not None and value != "":
        yield path, value


def dig(value: Any, path: Path_) -> Any:
    """What stands at a path, `None` when nothing does."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value
