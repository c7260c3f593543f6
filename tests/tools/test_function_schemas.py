"""What schema a function's hints, defaults and docstring make."""

from __future__ import annotations

import dataclasses
import datetime  # noqa: TC003 - hints are read at run time, as of all below
import decimal  # noqa: TC003
import enum
import functools
import uuid  # noqa: TC003
from collections.abc import Callable  # noqa: TC003
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, Field

from cascadeflow.errors import ConfigurationError
from cascadeflow.tools import FunctionTool, Toolbox, ToolContext, tool
from cascadeflow.types import Tool, ToolCall


class Unit(enum.Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


class Filters(BaseModel):
    """What to look for."""

    title: str = Field(min_length=2, description="part of the title")
    limit: int = 5


@dataclasses.dataclass
class Point:
    lat: float
    lon: float = 0.0


class Tree(BaseModel):
    children: list[Tree] = []


def everything(  # noqa: PLR0917
    text: str,
    unit: Unit,
    kind: Literal["a", "b", 3],
    point: Point,
    filters: Filters,
    tree: Tree,
    maybe: Optional[int],  # noqa: UP045
    either: int | list[str],
    table: dict[str, float],
    day: datetime.date,
    price: decimal.Decimal,
    id: uuid.UUID,  # noqa: A002
    anything: Any,
    described: Annotated[int, Field(ge=1, le=9, description="how many")] = 3,
    names: tuple[str, ...] = ("x",),
    colours: frozenset[Unit] = frozenset({Unit.CELSIUS}),
    *,
    json: bool = True,
) -> None:
    """Does all of it.

    And says more here.

    Args:
        text: what it is about,
            on two lines.
        described: not this one.
        json (bool): whether in JSON.

    Returns:
        Nothing.
    """


def schema_of(function: Any, **options: Any) -> Any:
    return tool(function, **options).parameters


def members(function: Any, **options: Any) -> Any:
    return schema_of(function, **options)["properties"]


def titles(node: Any) -> list[Any]:
    """Every `title` that is no member's name."""
    if isinstance(node, list):
        return [title for inner in node for title in titles(inner)]
    if not isinstance(node, dict):
        return []
    found = [node["title"]] if isinstance(node.get("title"), str) else []
    return found + [title for inner in node.values() for title in titles(inner)]


def test_hints_become_a_schema_with_defaults_and_descriptions() -> None:
    made = tool(everything)
    assert (made.name, made.description, made.strict) == ("everything", "Does all of it.", None)
    properties = made.parameters["properties"]
    assert made.parameters["type"] == "object"
    assert made.parameters["additionalProperties"] is False
    assert properties["text"] == {
        "type": "string",
        "description": "what it is about, on two lines.",
    }
    assert properties["kind"] == {"enum": ["a", "b", 3]}
    assert properties["unit"] == {"$ref": "#/$defs/Unit"}
    assert properties["maybe"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert properties["described"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
        "description": "how many",
        "default": 3,
    }
    assert properties["names"]["default"] == ["x"]
    assert properties["colours"]["default"] == ["c"]
    assert properties["json"] == {
        "type": "boolean",
        "default": True,
        "description": "whether in JSON.",
    }
    assert properties["anything"] == {}
    assert set(made.parameters["required"]) == set(properties) - {
        *("described", "names", "colours", "json")
    }


def test_definitions_are_kept_and_titles_are_not() -> None:
    schema = schema_of(everything)
    assert set(schema["$defs"]) == {"Unit", "Point", "Filters", "Tree"}
    assert schema["$defs"]["Filters"]["properties"]["title"]["description"] == "part of the title"
    assert schema["$defs"]["Tree"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert titles(schema) == []


def test_a_function_tool_is_a_tool_whose_function_is_neither_compared_nor_shown() -> None:
    one, two = tool(Toy().add), tool(Toy().add)
    assert isinstance(one, FunctionTool)
    assert isinstance(one, Tool)
    assert one == two
    assert "function" not in repr(one)
    assert one(2, 3) == 5


def test_a_decorator_takes_options_or_none() -> None:
    @tool
    def plain(x: int) -> int:
        return x

    @tool(name="other", description="Says so.", strict=False)
    def named(x: int) -> int:
        return x

    assert (plain.name, plain(1)) == ("plain", 1)
    assert (named.name, named.description, named.strict) == ("other", "Says so.", False)
    again = tool(named, name="third")
    assert (again.name, again.description, again.strict) == ("third", "Says so.", False)


class Toy:
    """Adds."""

    def add(self, a: int, b: int = 1) -> int:
        """Adds two.

        Parameters
        ----------
        a : int
            the first
        b : int, optional
            the second,
            if any

        Returns
        -------
        int
        """
        return a + b

    def __call__(self, city: str) -> str:
        return city

    @staticmethod
    def fixed(x: int) -> int:
        return x

    @classmethod
    def made(cls, x: int) -> int:
        return x


async def later(x: int) -> int:
    """Later.

    :param x: what comes
        later
    :type x: int
    """
    return x


def wrapped() -> Any:
    @functools.wraps(later)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return later(*args, **kwargs)

    return inner


@pytest.mark.parametrize(
    ("function", "name", "names"),
    [
        (Toy().add, "add", ["a", "b"]),
        (Toy(), "Toy", ["city"]),
        (Toy.fixed, "fixed", ["x"]),
        (Toy.made, "made", ["x"]),
        (later, "later", ["x"]),
        (wrapped(), "later", ["x"]),
        (functools.partial(Toy().add, 1), "add", ["b"]),
        (functools.partial(Toy().add, b=2), "add", ["a"]),
        (functools.partial(functools.partial(Toy().add, b=2), a=1), "add", []),
    ],
)
def test_every_kind_of_callable_can_be_a_tool(function: Any, name: str, names: list[str]) -> None:
    made = tool(function)
    assert made.name == name
    assert list(made.parameters["properties"]) == names


def test_descriptions_are_read_in_three_forms() -> None:
    assert members(everything)["text"]["description"] == "what it is about, on two lines."
    toy = members(Toy().add)
    assert (toy["a"]["description"], toy["b"]["description"]) == ("the first", "the second, if any")
    assert members(later)["x"]["description"] == "what comes later"
    assert tool(Toy()).description == "Adds."


def test_what_a_partial_gave_by_name_cannot_be_given_by_the_model() -> None:
    bound = tool(functools.partial(Toy().add, b=2))
    problem = Toolbox.of([bound]).check(ToolCall("1", "add", '{"a": 1, "b": 9}'))
    assert problem is not None
    assert "$.b is not allowed" in problem.message


def test_the_context_is_not_in_the_schema() -> None:
    def asks(x: int, context: ToolContext, other: ToolContext | None = None) -> None: ...

    assert list(members(asks)) == ["x"]


def test_names_that_models_may_not_have_are_fine() -> None:
    def print(json: str, copy: int, _hidden: int, model_dump: int, schema: int) -> int:  # noqa: A001
        return len(json) + copy + _hidden + model_dump + schema

    assert tool(print).name == "print"
    assert list(members(print)) == ["json", "copy", "_hidden", "model_dump", "schema"]


def test_a_type_defined_beside_the_function_is_found() -> None:
    class Local(BaseModel):
        x: int

    @tool
    def takes(local: Local) -> None: ...

    assert takes.parameters["properties"]["local"] == {"$ref": "#/$defs/Local"}


def test_a_function_may_name_types_that_are_defined_after_it() -> None:
    assert members(early)["late"] == {"$ref": "#/$defs/Late"}


def early(late: Late, many: list[Late]) -> None: ...


class Late(BaseModel):
    x: int


def test_what_it_returns_is_of_no_interest() -> None:
    def f(x: int) -> NotImported: ...  # type: ignore[name-defined] # noqa: F821

    assert list(members(f)) == ["x"]


def test_none_as_a_default_means_that_null_may_be_given() -> None:
    def f(x: int = None) -> None: ...  # type: ignore[assignment] # noqa: RUF013

    assert members(f)["x"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]


def test_a_field_as_a_default_is_read() -> None:
    def f(x: int = Field(3, ge=1, description="how many"), y: int = Field(description="y")) -> int:
        return x + y

    assert members(f)["x"]["minimum"] == 1
    assert members(f)["x"]["description"] == "how many"
    assert schema_of(f)["required"] == ["y"]


def test_a_default_that_json_cannot_hold_is_left_out_of_the_schema() -> None:
    def f(x: Any = object(), y: float = float("inf")) -> None: ...  # noqa: B008

    assert "default" not in members(f)["x"]


def no_hint(x) -> None: ...  # type: ignore[no-untyped-def] # noqa: ANN001
def many(*values: int) -> None: ...
def any_names(**values: int) -> None: ...
def unknown(x: Missing) -> None: ...  # type: ignore[name-defined] # noqa: F821
def broken(x: "int[") -> None: ...  # type: ignore[valid-type,syntax] # noqa: F722
def aliased(x: Annotated[int, Field(alias="y")]) -> None: ...
def no_json(fine: int, f: Callable[[], int]) -> None: ...
def generates(x: int) -> Any:
    yield x


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_hint, "its parameter 'x' has no annotation: name its type"),
        (many, "its parameter 'values' takes any number of values: make it one that takes a list"),
        (any_names, "its parameter 'values' takes any names: list the parameters"),
        (unknown, "name 'Missing' is not defined: import it at run time"),
        (broken, "its parameter 'x' has an annotation that cannot be read"),
        (aliased, "a parameter has an alias: rename the parameter instead"),
        (no_json, "its parameter 'f' has a type that JSON cannot hold"),
        (generates, "it is a generator: return a list"),
        (Toy.add, "it is a method without its object: give the bound method"),
        (Toy, "it is a class, not a function"),
        (print, "takes any number of values"),
        (dict.fromkeys, "no tool can be made of 'fromkeys'"),
        (lambda: 1, "give it one by tool(function, name=…)"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_with_what_to_do(function: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Toolbox.of([function])
    assert message in str(raised.value)


def test_a_name_that_providers_refuse_is_refused() -> None:
    for name in ("", "a b", "é", "x" * 65):
        with pytest.raises(ConfigurationError, match="no name for a tool"):
            tool(later, name=name)
    with pytest.raises(ConfigurationError, match="a tool is made of a function"):
        tool(3)  # type: ignore[call-overload]


def test_two_tools_may_not_have_one_name() -> None:
    with pytest.raises(ValueError, match="two tools are called 'later'"):
        Toolbox.of([later, tool(Toy().add, name="later")])


def test_a_schema_is_made_once_of_a_function_and_apart_of_its_bound_form() -> None:
    class Odd:
        def f(self: Any, x: int) -> int:
            return x

    odd = Odd()
    assert tool(odd.f).blueprint is tool(odd.f).blueprint
    assert list(members(odd.f)) == ["x"]
    assert list(members(Odd.f)) == ["self", "x"]
    assert list(members(odd.f)) == ["x"]
