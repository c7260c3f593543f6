"""JSON schemas as providers want them: without noise, and where asked in OpenAI's strict form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

__all__ = [
    "NotStrictError",
    "first_errors",
    "object_adapter",
    "schema_of",
    "strict_form",
    "tidy",
    "unreadable",
]

Schema: TypeAlias = dict[str, Any]

_ONE: Final = (
    *("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
_LISTED: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED: Final = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")

_LISTABLE: Final = 1_000
"""More errors of pydantic's are only counted: it makes a record of each, 3 µs apiece."""

# What strict mode lets stand of what only narrows a value; the rest is put into words.
_NARROWING: Final = (
    *("minLength", "maxLength", "uniqueItems", "minProperties", "maxProperties"),
    *("contentEncoding", "contentMediaType", "minContains", "maxContains"),
)
_FORMATS: Final = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
)
_FORBIDDEN: Final = (
    *("not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties"),
    *("propertyNames", "contains", "unevaluatedItems", "unevaluatedProperties", "prefixItems"),
)
_DROPPED: Final = ("default", "examples", "discriminator", "deprecated", "readOnly", "writeOnly")


class NotStrictError(Exception):
    """A schema has no strict form; the text says where and why. Never leaves this package."""


def unreadable() -> tuple[type[Exception], ...]:
    """What pydantic raises where it can make no schema of a type."""
    from pydantic.errors import (  # noqa: PLC0415 - 60 to 140 ms
        PydanticUndefinedAnnotation,
        PydanticUserError,
    )

    return PydanticUserError, PydanticUndefinedAnnotation, TypeError, ValueError, RecursionError


def object_adapter(
    name: str, fields: Mapping[str, Any], *, extra: Literal["forbid", "ignore"]
) -> TypeAdapter[Any]:
    """Reads JSON objects with these members as dicts.

    Raises:
        Exception: one of `unreadable()`.
    """
    from pydantic import ConfigDict, TypeAdapter  # noqa: PLC0415 - 60 to 140 ms
    from typing_extensions import TypedDict  # noqa: PLC0415 - pydantic's own

    make: Any = TypedDict
    # A TypedDict takes every name, where a model's fields may not be called `json` or `_x`.
    shape = make(name, dict(fields))
    shape.__pydantic_config__ = ConfigDict(extra=extra)
    return TypeAdapter(shape)


def schema_of(adapter: TypeAdapter[Any]) -> Schema:
    """The JSON schema of what an adapter reads, tidied.

    Raises:
        Exception: one of `unreadable()`.
    """
    from pydantic.json_schema import GenerateJsonSchema  # noqa: PLC0415 - 60 to 140 ms

    class Quiet(GenerateJsonSchema):
        # A default that JSON cannot hold is left out of the schema, without a warning.
        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    return tidy(adapter.json_schema(schema_generator=Quiet))


def first_errors(error: ValidationError, *, most: int) -> str:
    """The first errors that pydantic found: where, and why; of very many only their number."""
    count = error.error_count()
    if count > _LISTABLE:
        return f"$ has {count} values that do not fit"
    words = []
    for one in error.errors(include_url=False, include_context=False, include_input=False)[:most]:
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in one["loc"])
        words.append(f"${''.join(steps)}: {one['msg']}")
    if count > most > 1:
        words.append(f"and {count - most} more")
    return "; ".join(words)


def _mapped(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """Applies a change to every subschema, the innermost first; the given one stays as it is."""
    if not isinstance(schema, Mapping):
        return schema
    out: Schema = {}
    for key, value in schema.items():
        if key in _ONE:
            out[key] = _mapped(value, change)
        elif key in _LISTED and isinstance(value, (list, tuple)):
            out[key] = [_mapped(inner, change) for inner in value]
        elif key in _NAMED and isinstance(value, Mapping):
            out[key] = {name: _mapped(inner, change) for name, inner in value.items()}
        else:
            out[key] = value
    return change(out)


def tidy(schema: Mapping[str, Any]) -> Schema:
    """Copies a schema without titles, which pydantic makes of the names that stand there anyway.

    >>> tidy({"title": "T", "properties": {"title": {"title": "Title", "type": "string"}}})
    {'properties': {'title': {'type': 'string'}}}
    """
    tidied: Schema = _mapped(schema, _without_title)
    return tidied


def _without_title(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "title"}


def strict_form(schema: Mapping[str, Any]) -> Schema:
    """Gives a schema in the form that OpenAI's strict mode asks for.

    Every member of every object becomes required, no other is allowed, `oneOf` becomes `anyOf`, and
    what strict mode does not know but only narrows a value (`minLength` …) is put into the
    description. What a value must fit is otherwise the same.

    Args:
        schema: an object's schema.

    Raises:
        NotStrictError: it has no such form: a dict with free keys, `Any`, a tuple, a condition.
    """
    definitions = schema.get("$defs", {})
    recursive = {name for name in definitions if name in _reached(definitions, name)}

    def change(inner: Schema) -> Schema:
        return _strictly(_inlined(inner, definitions, recursive, change))

    formed: Schema = _mapped(schema, change)
    if formed.get("type") != "object":
        raise NotStrictError("the whole must be an object")
    return formed


def _strictly(schema: Schema) -> Schema:
    forbidden = [key for key in _FORBIDDEN if key in schema]
    if forbidden:
        what = "a tuple" if forbidden == ["prefixItems"] else f"the keyword {forbidden[0]}"
        raise NotStrictError(f"{what} has no strict form")
    out = {key: value for key, value in schema.items() if key not in _DROPPED}
    if "oneOf" in out:
        if "anyOf" in out:
            raise NotStrictError("anyOf beside oneOf has no strict form")
        out["anyOf"] = out.pop("oneOf")
    if "allOf" in out:
        parts = out.pop("allOf")
        if len(parts) != 1 or set(parts[0]) & set(out):
            raise NotStrictError("several forms that must hold at once have no strict form")
        out |= parts[0]
    if out.get("additionalProperties") is False:
        del out["additionalProperties"]
    if not {"type", "anyOf", "$ref", "enum", "const"} & set(out):
        raise NotStrictError("a value of any type has no strict form: name its type")
    if out.get("type") == "object":
        if "additionalProperties" in out:
            raise NotStrictError("an object with free names has no strict form: list its members")
        out["properties"] = out.get("properties", {})
        out["required"] = list(out["properties"])
        out["additionalProperties"] = False
    if out.get("type") == "array" and "items" not in out:
        raise NotStrictError("a list of anything has no strict form: name its items' type")
    return _in_words(out)


def _in_words(schema: Schema) -> Schema:
    """Moves what strict mode does not check into the description."""
    moved: Schema = {key: schema[key] for key in _NARROWING if key in schema}
    if schema.get("format") not in {None, *_FORMATS}:
        moved["format"] = schema["format"]
    if "(?" in str(schema.get("pattern", "")):
        moved["pattern"] = schema["pattern"]
    if not moved:
        return schema
    out = {key: value for key, value in schema.items() if key not in moved}
    notes = ", ".join(f"{key}: {value}" for key, value in moved.items())
    out["description"] = f"{out['description']} ({notes})" if out.get("description") else notes
    return out


def _name_of(schema: Mapping[str, Any]) -> str | None:
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        return reference.removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")
    return None


def _reached(definitions: Mapping[str, Any], start: str) -> set[str]:
    """The definitions that one leads to."""
    found: set[str] = set()
    waiting = [start]

    def note(schema: Schema) -> Schema:
        name = _name_of(schema)
        if name is not None and name not in found:
            found.add(name)
            waiting.append(name)
        return schema

    while waiting:
        _mapped(definitions.get(waiting.pop(), {}), note)
    return found


def _inlined(
    schema: Schema,
    definitions: Mapping[str, Any],
    recursive: set[str],
    change: Callable[[Schema], Schema],
) -> Schema:
    """Strict mode takes nothing beside a reference: its definition is written out instead."""
    name = _name_of(schema)
    if name is None or set(schema) == {"$ref"}:
        return schema
    beside = {key: value for key, value in schema.items() if key not in {"$ref", *_DROPPED}}
    if "$defs" in beside:
        raise NotStrictError("the whole must be an object")
    if name not in definitions or name in recursive or not beside:
        return {"$ref": schema["$ref"]}
    return {**_mapped(definitions[name], change), **beside}
