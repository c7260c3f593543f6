"""What pydantic takes, a tool takes; what it refuses, a tool refuses; what fits is what arrives."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import enum
import gzip
import json
import uuid
from pathlib import Path  # noqa: TC003 - hints are read at run time, as of all here
from typing import Annotated, Any, Literal, Optional, Union

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from cascadeflow.errors import ConfigurationError
from cascadeflow.tools import Toolbox, tool
from cascadeflow.tools.schemas import NotStrictError, strict_form
from cascadeflow.types import ToolCall


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    colour: Colour = Colour.RED
    sizes: list[int] = []


@dataclasses.dataclass
class Point:
    x: float
    label: str | None = None


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


LEAVES = [
    *(int, str, bool, float, type(None), Colour, Level, Item, Point, Tree),
    *(datetime.date, uuid.UUID, Literal["a", "b"], Literal[1, "x", None]),
    Annotated[int, Field(ge=0, le=5)],
    Annotated[str, Field(min_length=1, max_length=3)],
    Annotated[str, Field(pattern="^[a-c]+$")],
    Annotated[list[int], Field(max_length=2)],
]


def types_of(leaves: list[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.sampled_from(leaves),
        lambda inner: (
            inner.map(lambda t: list[t])
            | inner.map(lambda t: dict[str, t])
            | inner.map(lambda t: tuple[t, ...])
            | st.tuples(inner, inner).map(lambda two: tuple[two])
            | st.tuples(inner, inner).map(lambda two: Union[two])  # noqa: UP007
            | inner.map(lambda t: Optional[t])  # noqa: UP045
        ),
        max_leaves=4,
    )


CLOSED = types_of(LEAVES)
TYPES = types_of([*LEAVES, Any])


# No float is a whole number here: as JSON, 3.0 is an integer, and pydantic takes it when it is lax.
SCALARS = st.sampled_from(
    [
        *(None, True, False, 0, 1, 2, 5, 6, -1, 0.5, "", "a", "abc", "abcd", "red", "x", "1"),
        *("2026-01-31", "2026-02-31", "00000000-0000-0000-0000-000000000001", 10**30),
    ]
)
MEMBERS = st.sampled_from(["name", "colour", "sizes", "x", "label", "value", "children", "other"])
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=3),
    max_leaves=6,
)


def function_of(hint: Any) -> Any:
    def takes(x: Any) -> Any:
        received.append(x)

    received: list[Any] = []
    takes.__annotations__ = {"x": hint}
    return takes, received


def refused(hint: Any, text: str, *, strict: bool) -> bool:
    try:
        TypeAdapter(hint).validate_json(text, strict=strict)
    except ValidationError:
        return True
    return False


def call(value: Any) -> ToolCall:
    return ToolCall("1", "takes", json.dumps({"x": value}))


@settings(deadline=None)
@given(hint=TYPES, value=JSON_VALUES)
def test_a_tool_takes_exactly_what_pydantic_takes_without_guessing(hint: Any, value: Any) -> None:
    function, _ = function_of(hint)
    problem = Toolbox.of([function]).check(call(value))
    text = json.dumps(value)
    assert (problem is None) == (not refused(hint, text, strict=True)), (hint, value, problem)
    if problem is None:
        assert not refused(hint, text, strict=False)


@settings(deadline=None)
@given(hint=CLOSED, data=st.data())
def test_a_value_that_is_written_as_json_arrives_as_it_was(hint: Any, data: Any) -> None:
    value = data.draw(st.from_type(hint))
    try:
        written = to_jsonable_python(value, inf_nan_mode="constants")
        text = json.dumps({"x": written}, allow_nan=False)
    except (ValueError, UnicodeEncodeError):
        return  # NaN, infinities and half surrogate pairs are no JSON
    function, received = function_of(hint)
    box = Toolbox.of([function])
    asked = ToolCall("1", "takes", text)
    if box.check(asked) is not None:
        # A value that its own type refuses, such as a text outside the pattern.
        assert refused(hint, json.dumps(written), strict=True)
        return
    outcome = asyncio.run(box.execute(asked))
    assert outcome.error is None
    assert received == [TypeAdapter(hint).validate_json(json.dumps(written))]


@settings(deadline=None)
@given(hint=TYPES, value=JSON_VALUES)
def test_a_strict_schema_follows_the_rules_and_takes_no_more(hint: Any, value: Any) -> None:
    function, _ = function_of(hint)
    free = tool(function)
    try:
        strict = tool(function, strict=True)
    except ConfigurationError as error:
        said = str(error)
    else:
        said = ""
        follows_the_rules(strict.parameters)
        Draft202012Validator.check_schema(strict.parameters)
        if Toolbox.of([strict]).check(call(value)) is None:
            assert Toolbox.of([free]).check(call(value)) is None
    assert not said or "strict=True does not go with its types" in said


def follows_the_rules(schema: Any) -> None:
    """OpenAI's: every object closed, every member required, nothing beside a reference."""
    allowed = {
        *("type", "properties", "required", "additionalProperties", "items", "anyOf", "enum"),
        *("const", "$ref", "$defs", "description", "format", "pattern", "minimum", "maximum"),
        *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"),
    }
    assert set(schema) <= allowed, set(schema) - allowed
    assert "$ref" not in schema or set(schema) == {"$ref"}
    assert {"type", "anyOf", "$ref", "enum", "const"} & set(schema)
    if schema.get("type") == "object":
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) == set(schema["properties"])
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    inner += schema.get("anyOf", [])
    inner += [schema["items"]] if "items" in schema else []
    for one in inner:
        follows_the_rules(one)


def recorded(folder: Path) -> list[dict[str, Any]]:
    """Every tool in the OpenAI form that a recorded request declares."""
    tools: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(file, "rt") as lines:
            for line in lines:
                body = json.loads(line)["request"]
                for one in (body.get("tools") or []) if isinstance(body, dict) else []:
                    if isinstance(one, dict) and "function" in one:
                        known = {"name", "description", "parameters", "strict"}
                        function = {k: v for k, v in one["function"].items() if k in known}
                        tools[json.dumps(function)] = {"type": "function", "function": function}
    return list(tools.values())


def test_every_recorded_tool_is_read_checked_and_made_strict_where_it_can_be(
    recordings: Path,
) -> None:
    tools = recorded(recordings)
    assert len(tools) > 20
    strict = 0
    for declared in tools:
        (read,) = Toolbox.of([declared]).tools
        assert read.name == declared["function"]["name"]
        assert read.parameters == (declared["function"].get("parameters") or {})
        box = Toolbox.of([read])
        for arguments in ("{}", '{"city": "Lima"}', '{"x": 1}'):
            problem = box.check(ToolCall("1", read.name, arguments))
            fits = Draft202012Validator(dict(read.parameters)).is_valid(json.loads(arguments))
            assert (problem is None) == fits, (read.parameters, arguments, problem)
        try:
            follows_the_rules(strict_form(read.parameters))
        except (NotStrictError, AssertionError):
            continue
        strict += 1
    assert strict > len(tools) / 2
