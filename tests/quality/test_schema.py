"""The JSON-schema checker against the reference implementation in Python, and by itself."""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cascadeflow._native import JsonSchema
from cascadeflow.quality import schema as module
from cascadeflow.quality.schema import compiled, hold_to

NAMES = st.sampled_from(["a", "b", "c d", "$ref", ""])
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
COUNTS = st.integers(0, 3)
NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, -1.5, 2.0, 1e3, 1e300])
TEXTS = st.sampled_from(["", "a", "ab", "abc", "1", "é", "日本", "a b"])
PATTERNS = st.sampled_from(["^a", "b$", "^.{2}$", "[0-9]", "^(?!a)", "é", "a|b", r"^\S+$"])

VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.dictionaries(NAMES, inner, max_size=2)
    listed = st.lists(inner, min_size=1, max_size=3)
    known: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), NUMBERS),
        "multipleOf": st.integers(1, 3),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), COUNTS),
        **dict.fromkeys(("minContains", "maxContains"), COUNTS),
        **dict.fromkeys(("minProperties", "maxProperties"), COUNTS),
        "pattern": PATTERNS,
        "format": st.sampled_from(["email", "date-time", "uuid"]),
        "uniqueItems": st.booleans(),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "dependentRequired": st.dictionaries(
            NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2
        ),
        "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2),
        **dict.fromkeys(("properties", "dependentSchemas"), named),
        **dict.fromkeys(("items", "contains", "additionalProperties", "propertyNames"), inner),
        **dict.fromkeys(("not", "if", "then", "else"), inner),
        **dict.fromkeys(("prefixItems", "anyOf", "oneOf", "allOf"), listed),
        "title": TEXTS,
    }
    one = st.one_of([values.map(lambda v, n=name: (n, v)) for name, values in known.items()])
    return st.lists(one, max_size=4).map(dict)


SCHEMAS = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=6)
REFERENCES = st.sampled_from(["#/$defs/one", "#/$defs/two"]).map(lambda name: {"$ref": name})


def accepts(schema: Any, value: Any) -> bool:
    """What the reference says, on whole numbers and floats as it does."""
    return bool(Draft202012Validator(schema).is_valid(value))


def verdict(schema: Any, value: Any) -> str:
    return JsonSchema(json.dumps(schema)).check(json.dumps(value))[0]


@settings(deadline=None)
@given(schema=SCHEMAS, value=VALUES)
def test_a_value_fits_exactly_when_the_reference_says_so(schema: Any, value: Any) -> None:
    Draft202012Validator.check_schema(schema)
    assert verdict(schema, value) == ("fits" if accepts(schema, value) else "fails")


@settings(deadline=None)
@given(one=keywords(REFERENCES), two=keywords(st.booleans()), value=VALUES)
def test_references_are_followed_as_the_reference_does(one: Any, two: Any, value: Any) -> None:
    # One may refer to itself: then it must go into the value, or there is no answer.
    schema = {"$defs": {"one": one, "two": two}, "$ref": "#/$defs/one"}
    found = verdict(schema, value)
    try:
        expected = "fits" if accepts(schema, value) else "fails"
    except RecursionError:
        assert found in ("unknown", "fails")
    else:
        assert found in (expected, "unknown" if loops(one) else expected)


def loops(schema: Any) -> bool:
    """Whether it may come back to itself on the same value."""
    return any(name in schema for name in ("anyOf", "oneOf", "allOf", "not", "if", "then", "else",
               "dependentSchemas"))  # fmt: skip


@settings(deadline=None)
@given(schema=SCHEMAS, value=VALUES)
def test_a_failure_names_a_place_that_is_in_the_value(schema: Any, value: Any) -> None:
    kind, reason = JsonSchema(json.dumps(schema)).check(json.dumps(value))
    if kind != "fails":
        return
    path = re.match(r'\$((?:\.[\w-]+|\[\d+\]|\["[^"]*"\])*) ', reason)
    assert path is not None, reason
    here = value
    for name, index, quoted in re.findall(r'\.([\w-]+)|\[(\d+)\]|\["([^"]*)"\]', path[1]):
        here = here[int(index)] if index else here[name or quoted]


@settings(deadline=None)
@given(text=st.text(alphabet='{}[]":,01ae$.typrfnudbo', max_size=60), value=VALUES)
def test_any_text_may_be_given_as_a_schema(text: str, value: Any) -> None:
    try:
        schema = JsonSchema(text)
    except ValueError:
        return
    assert schema.check(json.dumps(value))[0] in ("fits", "fails", "unknown")


@settings(deadline=None)
@given(schema=VALUES, value=VALUES)
def test_json_that_is_no_schema_is_never_an_error(schema: Any, value: Any) -> None:
    assert verdict(schema, value) in ("fits", "fails", "unknown")


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "STRING"}, "a", 1),  # as Gemini writes it
        ({"type": "string", "nullable": True}, None, 1),  # as OpenAPI does
        ({"minimum": 0, "exclusiveMinimum": True}, 1, 0),  # as draft 4 did
        ({"items": [{"type": "null"}], "additionalItems": False}, [None], [None, 1]),
        ({"multipleOf": 0.01}, 19.99, 19.995),  # which floats get wrong
        ({"const": 9007199254740993}, 9007199254740993, 9007199254740992),
        ({"definitions": {"x": {"type": "null"}}, "$ref": "#/definitions/x"}, None, 1),
        ({"pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"}, "1.5", "."),  # pydantic's decimals
    ],
)
def test_what_providers_write_otherwise_is_read_as_it_is_meant(
    schema: Any, good: Any, bad: Any
) -> None:
    assert verdict(schema, good) == "fits"
    assert verdict(schema, bad) == "fails"


def test_a_tree_of_any_depth_is_checked_and_a_ring_ends() -> None:
    tree = {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node",
    }
    deep = '{"next":' * 100 + "{}" + "}" * 100
    assert hold_to(tree, deep).kind == "fits"
    assert hold_to(tree, deep.replace("{}", "[]")).kind == "fails"
    assert hold_to(tree, '{"next":' * 1000 + "{}" + "}" * 1000).kind == "broken"
    assert hold_to({"$ref": "#"}, "1").kind == "unknown"


def test_a_schema_is_read_once_and_again_when_it_has_changed() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    first = compiled(schema)
    assert compiled(schema) is first
    assert compiled(json.loads(json.dumps(schema))) is first  # another mapping, the same text
    schema["properties"]["a"]["type"] = "integer"
    assert hold_to(schema, '{"a": 1}').kind == "fits"
    assert compiled(schema) is not first


def test_mappings_of_other_kinds_are_schemas_too() -> None:
    schema = MappingProxyType({"properties": MappingProxyType({"a": {"enum": ("x", "y")}})})
    assert hold_to(schema, '{"a": "x"}').kind == "fits"
    assert hold_to(schema, '{"a": "z"}').kind == "fails"
    assert compiled(schema) is compiled(schema)


def test_a_thousand_schemas_are_not_all_kept() -> None:
    kept = [{"const": index} for index in range(1000)]
    for index, one in enumerate(kept):
        assert hold_to(one, str(index)).kind == "fits"
        assert hold_to(one, str(index + 1)).kind == "fails"
    assert len(module._known) <= 512


def test_half_a_surrogate_pair_is_no_json_text() -> None:
    assert hold_to({}, '"\ud800"').kind == "broken"
    assert hold_to({"const": "\ud800"}, '"x"').kind == "fails"


def test_what_is_no_json_is_no_schema() -> None:
    with pytest.raises(TypeError):
        hold_to({"const": object()}, "1")
