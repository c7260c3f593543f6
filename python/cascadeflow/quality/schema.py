"""Holding JSON texts to JSON schemas, each schema read once.

`rust/core/src/quality/schema` does the work and says which keywords it knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal

from cascadeflow._native import JsonSchema

if TYPE_CHECKING:
    from cascadeflow.types import JsonObject

__all__ = ["SchemaVerdict", "compiled", "hold_to"]

_KEPT: Final = 512
"""How many schemas are kept: those of a service are far fewer, and each is a few kilobytes."""


@dataclass(frozen=True, slots=True)
class SchemaVerdict:
    """What a text is to a schema.

    Attributes:
        kind: `fits`; `fails`; `broken`, no JSON at all; or `unknown`: nothing speaks against it,
            and the schema asks something that is not checked.
        reason: where and why, in words; empty when it fits.
    """

    kind: Literal["fits", "fails", "unknown", "broken"]
    reason: str = ""


_FITS: Final = SchemaVerdict("fits")

# By the identity of the mapping: what it held when it was read, and what it was read as. The
# mapping is kept too, so that no other can come to have its identity.
_known: dict[int, tuple[JsonObject, Any, JsonSchema]] = {}
_lock = Lock()


def hold_to(schema: JsonObject, text: str) -> SchemaVerdict:
    """Reads a text as JSON and holds it to a schema.

    The schema is read once and known again, by its identity and, when that is another, by its
    text. One that was changed in the meantime is read anew.

    Args:
        schema: the schema; JSON that is no schema makes every verdict `unknown`.
        text: the text, whose time is bounded by its length.

    Raises:
        TypeError, ValueError: the schema is not JSON.

    >>> hold_to({"type": "object", "required": ["city"]}, "{}").reason
    '$ lacks the member “city”'
    """
    try:
        kind, reason = compiled(schema).check(text)
    except UnicodeEncodeError:
        return SchemaVerdict("broken", "half a surrogate pair")
    return _FITS if kind == "fits" else SchemaVerdict(kind, reason)


def compiled(schema: JsonObject) -> JsonSchema:
    """Gives a schema as the Rust side reads it, read once.

    Raises:
        TypeError, ValueError: the schema is not JSON.
    """
    entry = _known.get(id(schema))
    if entry is not None and entry[0] is schema and entry[1] == schema:
        return entry[2]
    copy = _copied(schema)
    found = _read(json.dumps(copy))
    with _lock:
        while len(_known) >= _KEPT:
            del _known[next(iter(_known))]
        _known[id(schema)] = (schema, copy, found)
    return found


@lru_cache(maxsize=_KEPT)
def _read(text: str) -> JsonSchema:
    return JsonSchema(text)


def _copied(value: Any) -> Any:
    """The schema as it is now; also of mappings and sequences of other kinds."""
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(inner) for inner in value]
    return value
