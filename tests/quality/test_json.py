"""The strict JSON reader against Python's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow._native import JsonSchema

ANY = JsonSchema("{}")

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def reads(text: str) -> bool:
    def refuse(constant: str) -> Any:
        raise ValueError(constant)  # NaN and Infinity are Python's own

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


@given(value=VALUES, indent=st.none() | st.integers(0, 3), ascii_only=st.booleans())
def test_what_python_writes_is_json(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert ANY.check(text) == ("fits", "")


@given(
    value=VALUES,
    at=st.integers(0, 200),
    patch=st.sampled_from(
        ["", '"', "{", "}", "[", "]", ",", ":", "\\", "0", ".", "e", "\n", "u", "-"]
    ),
)
def test_a_damaged_text_is_json_exactly_when_python_says_so(
    value: Any, at: int, patch: str
) -> None:
    text = json.dumps(value)
    at = min(at, len(text))
    damaged = text[:at] + patch + text[at + 1 :]
    assert (ANY.check(damaged)[0] == "fits") == reads(damaged)


@given(text=st.text(alphabet='{}[]",:0123456789.eE+-truefalsn\\u \n', max_size=30))
def test_any_heap_of_signs_is_json_exactly_when_python_says_so(text: str) -> None:
    assert (ANY.check(text) == ("fits", "")) == reads(text)


def test_deep_nesting_is_an_error_and_no_overflow() -> None:
    assert "nested too deep" in ANY.check("[" * 1_000_000)[1]


def test_a_schema_that_is_no_json_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="schema is not JSON"):
        JsonSchema("{")
