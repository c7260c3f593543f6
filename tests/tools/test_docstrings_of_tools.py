"""Docstrings in the three usual forms, and whatever else people write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.tools.docstrings import read_docstring

GOOGLE = """Looks up the weather
in a city.

A second paragraph.

Args:
    city (str): the city:
        or a village.

    days (int, optional): how many.
        Up to nine.
    odd (dict[str, tuple(int)]): types in brackets.
    *rest: what remains.
    nothing:

Returns:
    a text: with a colon.
"""

NUMPY = """
Looks up the weather.

Parameters
----------
city : str
    the city
days, hours : int, default: 3
    how many

    of them
unsaid

Returns
-------
text : str
    not a parameter
"""

SPHINX = """Looks up the weather.

:param city: the city
    or a village
:type city: str
:param int days: how many
:keyword unit: which: one
:returns: a text
    :param inner: odd
"""


@pytest.mark.parametrize(
    ("text", "summary", "parameters"),
    [
        (
            GOOGLE,
            "Looks up the weather in a city.",
            {
                "city": "the city: or a village.",
                "days": "how many. Up to nine.",
                "odd": "types in brackets.",
                "rest": "what remains.",
            },
        ),
        (
            NUMPY,
            "Looks up the weather.",
            {"city": "the city", "days": "how many of them", "hours": "how many of them"},
        ),
        (
            SPHINX,
            "Looks up the weather.",
            {
                "city": "the city or a village",
                "days": "how many",
                "unit": "which: one",
                "inner": "odd",
            },
        ),
        ("", "", {}),
        ("One line.", "One line.", {}),
        ("Args:\n    x: a", "", {"x": "a"}),
        ("Says.\nArgs:\n    x: a\nMore: text", "Says.", {"x": "a"}),
        ("Says.\n\nParameters:\n    x: a", "Says.", {"x": "a"}),
        ("Says: this.\n\nArgs:\nx: not indented", "Says: this.", {}),
    ],
)
def test_a_docstring_is_read(text: str, summary: str, parameters: dict[str, str]) -> None:
    assert read_docstring(text) == (summary, parameters)


@given(text=st.text(alphabet="Args:Parmetn -\n\tx*(),.", max_size=80) | st.text(max_size=200))
def test_any_text_is_a_docstring(text: str) -> None:
    summary, parameters = read_docstring(text)
    assert "\n" not in summary
    assert all(name.isidentifier() or name.isalnum() for name in parameters)
    assert all("\n" not in said for said in parameters.values())
