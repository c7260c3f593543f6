"""A Python function's parameters as a JSON schema, and JSON arguments as its parameters' values."""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn
from weakref import WeakKeyDictionary

from cascadeflow.errors import ConfigurationError
from cascadeflow.tools.calls import ToolContext
from cascadeflow.tools.docstrings import read_docstring
from cascadeflow.tools.schemas import (
    NotStrictError,
    object_adapter,
    schema_of,
    strict_form,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import TypeAdapter

__all__ = ["Blueprint", "blueprint", "checked_name", "is_async"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEPT: Final = 1024
_EMPTY: Final = inspect.Parameter.empty

# By the function, by whether it is bound and whether the schema is strict.
_kept: WeakKeyDictionary[Any, dict[tuple[bool, bool], Blueprint]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """What is to be known of a function to make a tool of it.

    Attributes:
        name: its name.
        description: the first paragraph of its docstring.
        parameters: the JSON schema of its arguments.
        adapter: reads them.
        positional: its parameters that take no name, in order, with their defaults.
        contexts: the parameters that are handed the `ToolContext`.
        absent: under strict mode, the parameters for which null means their default.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    adapter: TypeAdapter[dict[str, Any]]
    positional: tuple[tuple[str, Any], ...]
    contexts: tuple[str, ...]
    absent: frozenset[str]

    def call(
        self, function: Callable[..., Any], values: Mapping[str, Any], context: ToolContext
    ) -> Any:
        """Calls the function with the arguments that were read."""
        given = {
            name: value
            for name, value in values.items()
            if not (value is None and name in self.absent)
        }
        given |= dict.fromkeys(self.contexts, context)
        ahead = [given.pop(name, default) for name, default in self.positional]
        return function(*ahead, **given)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine, as far as can be told without calling it."""
    while isinstance(function, functools.partial):
        function = function.func
    called = getattr(type(function), "__call__", None)  # noqa: B004 - what a call of it runs
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def blueprint(
    function: Callable[..., Any], *, strict: bool, names: Mapping[str, Any] | None = None
) -> Blueprint:
    """Reads a function's signature and docstring; known again as long as the function lives.

    Args:
        function: a function, bound method, partial or callable object.
        strict: whether the schema must be in OpenAI's strict form.
        names: what annotations may name besides the function's own globals.

    Raises:
        ConfigurationError: no schema can be made of it; says why and what to do.
    """
    # A bound method is another object each time it is looked up; what is read of it is not.
    written = getattr(function, "__func__", function)
    if len(_kept) > _KEPT:
        _kept.clear()
    try:
        known = _kept.setdefault(written, {})
    except TypeError:  # it cannot be hashed or weakly referred to
        known = {}
    key = (written is not function, strict)
    if key not in known:
        known[key] = _read(function, names or {}, strict=strict)
    return known[key]


def _read(function: Callable[..., Any], names: Mapping[str, Any], *, strict: bool) -> Blueprint:
    plain = _plain(function)
    name = _name_of(function)
    if isinstance(function, type):
        _refuse(name, f"it is a class, not a function: wrap {name}(…) in one")
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        _refuse(name, "it is a generator: return a list")
    try:
        parameters = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError) as error:
        _refuse(name, f"its parameters cannot be read ({error}): wrap it in a function")
    summary, said = read_docstring(_docstring(function, plain) or "")
    scope = _Scope(name, plain, names)
    hints: dict[str, Any] = {}
    contexts: list[str] = []
    for parameter in parameters.values():
        if parameter.name in _bound(function):
            continue
        hint = scope.hint(parameter)
        if _is_context(hint):
            contexts.append(parameter.name)
        else:
            hints[parameter.name] = hint
    fields = {
        key: _field(hint, parameters[key].default, strict=strict) for key, hint in hints.items()
    }
    absent = frozenset(
        key
        for key, hint in hints.items()
        if strict and _has_default(parameters[key].default) and not _takes_none(hint)
    )
    adapter, schema = _adapter(name, fields)
    return Blueprint(
        name=name,
        description=summary,
        parameters=_finished(name, schema, hints, parameters, said, strict=strict, absent=absent),
        adapter=adapter,
        positional=tuple(
            (parameter.name, parameter.default)
            for parameter in parameters.values()
            if parameter.kind is parameter.POSITIONAL_ONLY
        ),
        contexts=tuple(contexts),
        absent=absent,
    )


def _docstring(function: Callable[..., Any], plain: Any) -> str | None:
    """A function's own docstring, the one that it inherits, or that of the object called."""
    if plain is getattr(type(function), "__call__", None):  # noqa: B004
        return plain.__doc__ or inspect.getdoc(type(function))
    return inspect.getdoc(plain)


def _refuse(name: str, why: str) -> NoReturn:
    raise ConfigurationError(f"no tool can be made of {name!r}: {why}")


def _plain(function: Callable[..., Any]) -> Any:
    """The function that was written: behind partials, wrappers and callable objects."""
    inner: Any = function
    while True:
        if isinstance(inner, functools.partial):
            inner = inner.func
        elif hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        elif hasattr(inner, "__func__"):
            inner = inner.__func__
        elif not hasattr(inner, "__code__") and hasattr(type(inner).__call__, "__code__"):
            inner = type(inner).__call__
        else:
            return inner


def _name_of(function: Callable[..., Any]) -> str:
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    return str(getattr(inner, "__name__", type(inner).__name__))


def checked_name(name: str) -> str:
    """Gives the name back when every provider takes it.

    Raises:
        ConfigurationError: it has other signs than letters, digits, `_` and `-`, or over 64.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no name for a tool (1 to 64 of A-Z a-z 0-9 _ -): give it one by "
            "tool(function, name=…)"
        )
    return name


def _bound(function: Callable[..., Any]) -> frozenset[str]:
    """What a partial has given by name: it is the program's, and the model is not asked."""
    found: set[str] = set()
    while isinstance(function, functools.partial):
        found |= set(function.keywords)
        function = function.func
    return frozenset(found)


class _Scope:
    """Finds what annotations mean."""

    def __init__(self, name: str, plain: Any, names: Mapping[str, Any]) -> None:
        self._name = name
        self._globals = getattr(plain, "__globals__", {})
        self._locals = dict(names)
        code, cells = getattr(plain, "__code__", None), getattr(plain, "__closure__", None)
        for free, cell in zip(code.co_freevars if code else (), cells or (), strict=False):
            try:
                self._locals[free] = cell.cell_contents
            except ValueError:  # assigned later than this
                continue

    def hint(self, parameter: inspect.Parameter) -> Any:
        """Gives a parameter's type, with what `Annotated` says of it."""
        name, label = parameter.name, f"its parameter {parameter.name!r}"
        if parameter.kind is parameter.VAR_POSITIONAL:
            self._refuse(f"{label} takes any number of values: make it one that takes a list")
        if parameter.kind is parameter.VAR_KEYWORD:
            self._refuse(f"{label} takes any names: list the parameters, or take one dict")
        if parameter.annotation is _EMPTY:
            if name in ("self", "cls"):
                self._refuse("it is a method without its object: give the bound method, object.m")
            self._refuse(f"{label} has no annotation: name its type (Any takes every JSON value)")
        holder = types.SimpleNamespace(__annotations__={name: parameter.annotation})
        missing: NameError | None = None
        for known in (self._locals, {"ToolContext": ToolContext} | self._locals):
            try:
                return typing.get_type_hints(holder, self._globals, known, include_extras=True)[
                    name
                ]
            except NameError as error:
                missing = error
            except (TypeError, SyntaxError, AttributeError) as error:
                self._refuse(f"{label} has an annotation that cannot be read: {error}")
        return self._refuse(
            f"{label} has the annotation {parameter.annotation!r}, and {missing}: import it at run "
            "time (not under TYPE_CHECKING), above the function where @tool makes a tool of it"
        )

    def _refuse(self, why: str) -> NoReturn:
        _refuse(self._name, why)


def _is_context(hint: Any) -> bool:
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    return hint is ToolContext or (
        typing.get_origin(hint) in (typing.Union, types.UnionType)
        and set(typing.get_args(hint)) == {ToolContext, type(None)}
    )


def _takes_none(hint: Any) -> bool:
    if hint in (None, Any, object, type(None)):
        return True
    hint = getattr(hint, "__value__", hint)  # what `type X = …` stands for
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _takes_none(inner[0])
    if origin in (typing.Union, types.UnionType):
        return any(map(_takes_none, inner))
    return origin is typing.Literal and None in inner


def _has_default(default: Any) -> bool:
    """Whether a parameter may be left out, its default also being pydantic's `Field(…)`."""
    required = getattr(default, "is_required", None)
    return default is not _EMPTY and not (callable(required) and required())


def _field(hint: Any, default: Any, *, strict: bool) -> Any:
    """A parameter as a member of a TypedDict."""
    from pydantic.fields import FieldInfo  # noqa: PLC0415 - 60 to 140 ms

    optional = _has_default(default)
    # Under strict mode null stands for what is left out; `x: int = None` means `int | None`.
    if optional and (strict or default is None) and not _takes_none(hint):
        hint = typing.Optional[hint]  # noqa: UP045 - also of what `|` does not take
    if isinstance(default, FieldInfo):
        return typing.Annotated[hint, default]
    return typing.NotRequired[hint] if optional else hint


def _adapter(name: str, fields: dict[str, Any]) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    """Reads the fields as one object, and gives its schema as pydantic makes it."""
    try:
        return _read_as(name, fields)
    except unreadable() as error:
        for key, hint in fields.items():
            try:
                _read_as(name, {key: hint})
            except unreadable() as inner:
                why = str(inner).splitlines()[0]
                _refuse(name, f"its parameter {key!r} has a type that JSON cannot hold: {why}")
        _refuse(name, str(error).splitlines()[0])


def _read_as(name: str, fields: dict[str, Any]) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    adapter = object_adapter(name, fields, extra="forbid")
    return adapter, schema_of(adapter)


def _finished(
    name: str,
    schema: dict[str, Any],
    hints: Mapping[str, Any],
    parameters: Mapping[str, inspect.Parameter],
    said: Mapping[str, str],
    *,
    strict: bool,
    absent: frozenset[str],
) -> dict[str, Any]:
    """The schema with descriptions and defaults, in its final order, strict where asked."""
    out = dict(schema)
    properties: dict[str, Any] = out.setdefault("properties", {})
    if set(properties) != set(hints):
        _refuse(name, "a parameter has an alias: rename the parameter instead")
    for key, member in properties.items():
        words = member.pop("description", None) or _description(hints[key]) or said.get(key, "")
        default = parameters[key].default
        if default is not _EMPTY and "default" not in member:
            member.update(_default(default))
        if key in absent and member.get("default") is not None:
            words = f"{words} Null means the default, {member['default']!r}.".strip()
        if words:
            member["description"] = words
    first = {"type": "object", "properties": properties}
    out = {**first, **{key: value for key, value in out.items() if key not in first}}
    out["additionalProperties"] = False
    if not strict:
        return out
    try:
        return strict_form(out)
    except NotStrictError as error:
        _refuse(name, f"strict=True does not go with its types, {error}; or leave strict= out")


def _description(hint: Any) -> str | None:
    """What `Annotated[…, Field(description=…)]` says, which null beside it would hide."""
    said = [getattr(one, "description", None) for one in getattr(hint, "__metadata__", ())]
    return next((one for one in said if isinstance(one, str)), None)


def _default(value: Any) -> dict[str, Any]:
    """The default as JSON, if JSON can hold it."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python  # noqa: PLC0415

    try:
        return {"default": to_jsonable_python(value)}
    except (PydanticSerializationError, ValueError):
        return {}
