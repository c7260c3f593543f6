"""JSON made around an answer fits the schema that asks for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.testing.json_answers import json_answer, json_for_schema

LEAVES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "maxLength": 3},
        {"type": "integer"},
        {"type": "integer", "minimum": 5, "maximum": 9},
        {"type": "number", "maximum": 0.5},
        {"type": "boolean"},
        {"type": "null"},
        {"type": ["null", "integer"]},
        {"enum": ["red", 4, None]},
        {"const": {"a": 1}},
        {"$ref": "#/$defs/point"},
    ]
)
DEFINITIONS = {
    "point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
}


def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from(["a", "b", "c"])
    objects = st.dictionaries(names, inner, max_size=3).flatmap(
        lambda properties: st.sampled_from([True, False]).map(
            lambda strict: {
                "type": "object",
                "properties": properties,
                **({"required": list(properties), "additionalProperties": False} if strict else {}),
            }
        )
    )
    arrays = st.builds(
        lambda items, least: {"type": "array", "items": items, "minItems": least},
        inner,
        st.integers(0, 3),
    )
    alternatives = st.lists(inner, min_size=1, max_size=2).map(lambda each: {"anyOf": each})
    together = inner.map(lambda each: {"allOf": [each]})
    return objects | arrays | alternatives | together


@given(st.recursive(LEAVES, nested, max_leaves=6), st.sampled_from(["Paris", "42", "no", "-3.5"]))
def test_the_value_fits_the_schema(schema: dict[str, Any], answer: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="the oracle of this test")
    schema = {**schema, "$defs": DEFINITIONS}
    jsonschema.validate(json_for_schema(schema, answer), schema)


def test_the_answer_stands_where_it_fits() -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "population": {"type": "integer"},
            "capital": {"type": "boolean"},
            "colour": {"enum": ["red", "Paris 2"]},
        },
    }
    assert json_for_schema(schema, "Paris 2") == {
        "city": "Paris 2",
        "population": 2,
        "capital": True,
        "colour": "Paris 2",
    }


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert json.dumps(json_for_schema(schema, "a")).endswith("null" + "}" * 17)
    json_for_schema({"$ref": "#"}, "a")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Paris", '{"answer": "Paris"}'),
        ('{"city": 1}', '{"city": 1}'),
        ("[1]", '{"answer": "[1]"}'),
    ],
)
def test_without_a_schema_any_object_will_do(answer: str, expected: str) -> None:
    assert json_answer(answer, None) == expected
