"""Structured output: an answer in the form of a Python type."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import ConfigurationError
from cascadeflow.tools.schemas import (
    NotStrictError,
    first_errors,
    object_adapter,
    schema_of,
    strict_form,
    unreadable,
)
from cascadeflow.types import ResponseFormat

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["OutputSchema", "ParsedOutput"]

_KEPT: Final = 256
_FENCE: Final = re.compile(r"```[A-Za-z0-9]*[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)
_WRAPPED: Final = "value"
_MOST_ERRORS: Final = 3


@dataclass(frozen=True, slots=True)
class ParsedOutput:
    """What an answer's text was read as.

    Attributes:
        value: the value, `None` where there is a problem.
        problem: where and why the text does not fit; `None` when it does.
    """

    value: Any
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """A type that answers are asked to have.

    Attributes:
        format: what is asked of the provider.

    >>> schema = OutputSchema.of(list[int])
    >>> schema.format.name, schema.format.schema["required"]
    ('list_int', ['value'])
    >>> schema.parse('{"value": [1, 2]}').value
    [1, 2]
    >>> schema.parse('{"value": [1, "x"]}').problem
    '$.value[1]: Input should be a valid integer, unable to parse string as an integer'
    """

    format: ResponseFormat
    _adapter: TypeAdapter[Any] = field(compare=False, repr=False)
    _wrapped: bool = field(compare=False, repr=False)

    @classmethod
    def of(cls, model: Any) -> OutputSchema:
        """Makes the schema of a type; known again as long as it is among the last 256.

        A type that is not an object in JSON is asked for as the member `value` of one, since
        providers demand an object. The schema is in OpenAI's strict form where it has one: every
        member is then required, also one with a default.

        Args:
            model: a pydantic model, dataclass, TypedDict, or any type that pydantic can read.

        Raises:
            ConfigurationError: no schema can be made of it.
        """
        try:
            # `int | str` and `str | int` are equal and not read alike: the text tells them apart.
            return _known(repr(model), model)
        except TypeError:  # it cannot be hashed
            return _made(model)

    def parse(self, text: str) -> ParsedOutput:
        """Reads an answer's text: JSON, white space around it, and a code fence around that.

        Never raises: whatever pydantic or the type's own validators find is the `problem`.
        """
        inner = text.strip()
        fenced = _FENCE.fullmatch(inner)
        if fenced is not None:
            inner = fenced[1].strip()
        if not inner:
            return ParsedOutput(None, "the answer is empty")
        from pydantic import ValidationError  # noqa: PLC0415 - loaded when the schema was made

        try:
            value = self._adapter.validate_json(inner)
        except ValidationError as error:
            return ParsedOutput(None, first_errors(error, most=_MOST_ERRORS))
        except Exception as error:  # noqa: BLE001 - a validator of the user's may raise anything
            return ParsedOutput(None, f"{type(error).__name__}: {error}")
        return ParsedOutput(value[_WRAPPED] if self._wrapped else value)


@lru_cache(maxsize=_KEPT)
def _known(_text: str, model: Any) -> OutputSchema:
    return _made(model)


def _made(model: Any) -> OutputSchema:
    from pydantic import TypeAdapter  # noqa: PLC0415 - 60 to 140 ms

    if isinstance(model, Mapping) or inspect.isroutine(model):
        raise ConfigurationError(
            f"response_format takes a type, not a {type(model).__name__}; give a JSON schema as "
            'ResponseFormat("json_schema", schema)'
        )
    name = _name_of(model)
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(model)
        schema = _whole(schema_of(adapter))
        wrapped = schema.get("type") != "object"
        if wrapped:
            adapter = object_adapter(name, {_WRAPPED: model}, extra="ignore")
            schema = schema_of(adapter)
            schema["additionalProperties"] = False
    except unreadable() as error:
        raise ConfigurationError(
            f"no schema can be made of {model!r}: {str(error).splitlines()[0]}; give a pydantic "
            "model, a dataclass, a type, or a ResponseFormat with a JSON schema"
        ) from error
    strict: bool | None = True
    try:
        schema = strict_form(schema)
    except NotStrictError:
        strict = None
    return OutputSchema(ResponseFormat("json_schema", schema, name, strict), adapter, wrapped)


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    """A model that holds itself is only a reference at the root: its definition is put there."""
    reference = str(schema.get("$ref", ""))
    definition = schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"))
    if definition is None:
        return schema
    rest = {key: value for key, value in schema.items() if key != "$ref"}
    return {**definition, **rest}


def _name_of(model: Any) -> str:
    if typing.get_origin(model) is typing.Annotated:
        return _name_of(typing.get_args(model)[0])
    name = model.__name__ if isinstance(model, type) else repr(model)
    name = re.sub(r"\b(?:\w+\.)+", "", name)  # of typing.Union the last part
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:64].strip("_") or "answer"
