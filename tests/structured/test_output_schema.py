"""Answers in the form of Python types: what is asked for, and how the text is read."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field, RootModel, TypeAdapter, ValidationError, model_validator
from pydantic_core import to_jsonable_python
from typing_extensions import TypedDict

from cascadeflow.errors import ConfigurationError
from cascadeflow.quality import judge_text
from cascadeflow.structured import OutputSchema, ParsedOutput

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class City(BaseModel):
    """A city."""

    name: str = Field(min_length=2, description="as its people call it")
    people: int | None = None
    tags: list[str] = []


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class Box(BaseModel, Generic[T]):
    inside: T


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind", description="the pet")]
    home: Annotated[City, Field(description="where they live")]


class Row(TypedDict):
    a: int


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


class Fussy(BaseModel):
    x: int

    @model_validator(mode="after")
    def fuss(self) -> Fussy:
        if self.x == 1:
            raise ValueError("not one")
        if self.x == 2:
            raise KeyError("two")
        return self


Numbers = RootModel[list[int]]
st.register_type_strategy(Numbers, st.builds(Numbers, st.lists(st.integers())))
st.register_type_strategy(
    City,
    st.builds(
        City,
        name=st.text(min_size=2),
        people=st.none() | st.integers(),
        tags=st.lists(st.text(), max_size=2),
    ),
)

TYPES = [
    *(City, Tree, Owner, Box[int], Point, Row, Colour, int, bool, None, list[int], list[City]),
    *(Literal["a", "b"], int | str, City | None, Cat | Dog, Numbers),
    *(Annotated[int, Field(ge=0)], dict[str, int], tuple[int, str], Any, dict[str, Any]),
]
OPEN = {"dict[str, int]", "tuple[int, str]", "typing.Any", "dict[str, typing.Any]"}


@pytest.mark.parametrize("model", TYPES, ids=repr)
def test_what_is_asked_for_is_an_object_of_a_valid_schema(model: Any) -> None:
    schema = OutputSchema.of(model)
    form = schema.format
    Draft202012Validator.check_schema(form.schema)
    assert form.kind == "json_schema"
    assert form.schema["type"] == "object"
    assert "title" not in form.schema
    assert form.name.replace("_", "").replace("-", "").isalnum()
    assert len(form.name) <= 64
    assert form.strict is (None if repr(model) in OPEN else True)
    assert OutputSchema.of(model) is schema


@settings(deadline=None, max_examples=200)
@given(model=st.sampled_from(TYPES).filter(lambda m: "Any" not in repr(m)), data=st.data())
def test_what_fits_the_schema_is_read_back_as_the_value_it_was(model: Any, data: Any) -> None:
    value = data.draw(st.from_type(type(None) if model is None else model))
    try:
        plain = to_jsonable_python(value)
        json.dumps(plain, allow_nan=False)
        expected = TypeAdapter(model).validate_python(plain)
    except (ValueError, UnicodeEncodeError):
        return  # what JSON cannot hold, or the type itself refuses
    schema = OutputSchema.of(model)
    wrapped = "value" in schema.format.schema.get("properties", {}) and model is not Tree
    text = json.dumps({"value": plain} if wrapped else plain)
    for written in (text, f"\n  {text}\n", f"```json\n{text}\n```", f"```\n{text}\n```  "):
        assert schema.parse(written) == ParsedOutput(expected)
    # The judge of drafts says the same of it.
    report = judge_text("?", text, response_format=schema.format)
    form = next(check for check in report.checks if check.name == "format")
    assert form.verdict == "passed", form


@pytest.mark.parametrize(
    ("model", "text", "problem"),
    [
        (City, "", "the answer is empty"),
        (City, "  \n", "the answer is empty"),
        (City, "```json\n```", "$: Invalid JSON"),
        (City, "```json\n\n```", "the answer is empty"),
        (City, "Lima", "$: Invalid JSON: expected value at line 1 column 1"),
        (City, 'Here: {"name": "Lima"}', "$: Invalid JSON"),
        (City, '{"name": "Lima"} Anything else?', "trailing characters"),
        (City, '```json\n{"name": "Lima"}\n```\nAnything else?', "$: Invalid JSON"),
        (City, '{"name": "Lima"', "EOF while parsing"),
        (City, "{'name': 'Lima'}", "$: Invalid JSON"),
        (City, "[]", "$: Input should be an object"),
        (City, "{}", "$.name: Field required"),
        (City, '{"name": "L"}', "$.name: String should have at least 2 characters"),
        (City, '{"name": "Lima", "tags": ["a", 1]}', "$.tags[1]: Input should be a valid string"),
        (list[int], "[1]", "$: Input should be an object"),
        (list[int], '{"value": ["x"]}', "$.value[0]: Input should be a valid integer"),
        (Fussy, '{"x": 1}', "$: Value error, not one"),
        (Fussy, '{"x": 2}', "KeyError: 'two'"),
        (City, '{"name": "\ud800"}', "unable to parse raw data as a unicode string"),
        (Any, "[" * 100_000, "$: Invalid JSON: recursion limit exceeded"),
        (Tree, '{"value": 1, "children": [' * 5_000, "$: Invalid JSON"),
    ],
)
def test_what_does_not_fit_says_where_and_why(model: Any, text: str, problem: str) -> None:
    parsed = OutputSchema.of(model).parse(text)
    assert parsed.value is None
    assert parsed.problem is not None
    assert problem in parsed.problem


def test_only_the_first_problems_are_told() -> None:
    parsed = OutputSchema.of(list[int]).parse(json.dumps({"value": ["x"] * 1000}))
    assert parsed.problem is not None
    assert parsed.problem.endswith("; and 997 more")
    assert len(parsed.problem) < 400
    parsed = OutputSchema.of(list[int]).parse(json.dumps({"value": ["x"] * 100_000}))
    assert parsed.problem == "$ has 100000 values that do not fit"


@settings(deadline=None)
@given(text=st.text() | st.text(alphabet='{}[]":,`\njson value19', max_size=50))
def test_any_text_is_read_without_an_error(text: str) -> None:
    for model in (City, list[int], Tree):
        parsed = OutputSchema.of(model).parse(text)
        assert (parsed.value is None) == (parsed.problem is not None)


def test_what_strict_mode_does_not_check_is_put_into_words_and_checked_here() -> None:
    form = OutputSchema.of(City).format
    assert form.strict is True
    assert form.schema["required"] == ["name", "people", "tags"]
    assert form.schema["properties"]["name"] == {
        "type": "string",
        "description": "as its people call it (minLength: 2)",
    }
    assert OutputSchema.of(City).parse('{"name": "L"}').problem is not None


def test_a_choice_by_a_tag_and_a_described_part_have_a_strict_form() -> None:
    form = OutputSchema.of(Owner).format
    assert form.strict is True
    pet, home = form.schema["properties"]["pet"], form.schema["properties"]["home"]
    assert set(pet) == {"anyOf", "description"}
    assert "$ref" not in home
    assert home["description"] == "where they live"
    owner = OutputSchema.of(Owner).parse(
        '{"pet": {"kind": "dog", "name": "Rex"}, "home": {"name": "Lima"}}'
    )
    assert owner.value == Owner(pet=Dog(kind="dog", name="Rex"), home=City(name="Lima"))


def test_a_type_that_holds_itself_is_written_out_at_the_root() -> None:
    form = OutputSchema.of(Tree).format
    assert form.schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert form.strict is True
    value = OutputSchema.of(Tree).parse('{"value": 1, "children": [{"value": 2}]}').value
    assert value == Tree(value=1, children=[Tree(value=2)])


def test_unions_that_are_equal_and_not_alike_are_kept_apart() -> None:
    assert OutputSchema.of(int | str).parse('{"value": "1"}').value == "1"
    one, two = OutputSchema.of(Cat | Dog), OutputSchema.of(Dog | Cat)
    assert one.format.schema != two.format.schema


def test_names_are_what_providers_take() -> None:
    class Größe(BaseModel):  # noqa: PLC2401
        x: int

    assert OutputSchema.of(Größe).format.name == "Gr_e"
    assert OutputSchema.of(Box[list[int]]).format.name == "Box_list_int"
    assert OutputSchema.of(list[City]).format.name == "list_City"
    assert OutputSchema.of(Annotated[City, "x"]).format.name == "City"
    long = type("X" * 100, (BaseModel,), {"__annotations__": {"x": int}})
    assert OutputSchema.of(long).format.name == "X" * 64


def test_a_type_that_cannot_be_hashed_can_be_asked_for() -> None:
    schema = OutputSchema.of(Annotated[list[int], Field(json_schema_extra={"examples": [[1]]})])
    assert schema.parse('{"value": [1]}').value == [1]


@pytest.mark.parametrize(
    "model", [len, lambda: 1, functools.partial(int), {"type": "object"}, "City", 3, object()]
)
def test_what_is_no_type_is_refused_with_what_to_do(model: Any) -> None:
    with pytest.raises(ConfigurationError, match="ResponseFormat"):
        OutputSchema.of(model)


def test_the_reference_agrees_with_what_is_asked_for() -> None:
    for model, value in ((City, {"name": "Lima"}), (Tree, {"value": 1, "children": []})):
        valid = Draft202012Validator(OutputSchema.of(model).format.schema).is_valid(value)
        try:
            TypeAdapter(model).validate_python(value)
        except ValidationError:
            assert not valid
        # Strict mode asks for every member: what it takes, the type takes, not the reverse.
        assert valid is (model is Tree)
