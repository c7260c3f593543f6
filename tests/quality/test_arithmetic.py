"""The checker of equations against Python's exact fractions."""

# ruff: noqa: RUF001 - the signs are what is tested

from __future__ import annotations

import operator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

SIGNS = {"+": 1, "-": 1, "*": 2, "×": 2, "/": 2, "÷": 2}
OPERATIONS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "×": operator.mul,
    "/": operator.truediv,
    "÷": operator.truediv,
}


@st.composite
def expressions(
    draw: st.DrawFn, depth: int = 3, signs: str = "+-*×/÷", decimals: bool = True
) -> tuple[str, Fraction, int]:
    """An expression as people write it, its exact value, and how tightly it binds."""
    if depth == 0 or (depth < 3 and draw(st.booleans())):
        whole = draw(st.integers(1, 9999))
        form = draw(st.sampled_from(["plain", "grouped", "decimal"][: 3 if decimals else 2]))
        if form == "grouped":
            return f"{whole:,}", Fraction(whole), 9
        if form == "decimal":
            text = f"{whole // 10}.{whole % 10}"
            return text, Fraction(text), 9
        return str(whole), Fraction(whole), 9
    left, right = (draw(expressions(depth - 1, signs, decimals)) for _ in range(2))
    sign = draw(st.sampled_from(signs))
    strength = SIGNS[sign]
    assume(sign not in "/÷" or right[1] != 0)
    value = OPERATIONS[sign](left[1], right[1])
    sides = [
        f"({side[0]})" if side[2] < least else side[0]
        for side, least in ((left, strength), (right, strength + 1))
    ]
    return f"{sides[0]} {sign} {sides[1]}", value, strength


def written(value: Fraction, places: int) -> str:
    """The value rounded to so many decimals, as people write results."""
    digits = str(round(value * 10**places)).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


def arithmetic(judge: Any, text: str) -> str:
    return str(judge("What does it come to?", text).verdict("arithmetic"))


@given(expression=expressions(), prose=st.sampled_from(["So {} = {}.", "{} = {}", "- {} = ${}"]))
def test_an_equation_that_holds_is_never_flagged(
    judge: Any, expression: tuple[str, Fraction, int], prose: str
) -> None:
    text, value, _ = expression
    assume(0 <= value < 10**12)
    exact = value * 1000
    places = 3 if exact.denominator != 1 else next(n for n in range(4) if (value * 10**n) % 1 == 0)
    assert arithmetic(judge, prose.format(text, written(value, places))) == "passed"


# A difference may be a label with its dash, and a quotient a part of something: both are let pass.
@given(expression=expressions(signs="+*×", decimals=False), off=st.integers(1, 10**6))
def test_an_equation_that_is_off_is_flagged(
    judge: Any, expression: tuple[str, Fraction, int], off: int
) -> None:
    text, value, _ = expression
    assume(value < 10**30)
    assert arithmetic(judge, f"So {text} = {int(value) + off}.") == "failed"


@given(a=st.integers(1, 10**6), b=st.integers(1, 10**6), places=st.integers(1, 6))
def test_a_quotient_may_be_rounded_or_cut_at_any_place(
    judge: Any, a: int, b: int, places: int
) -> None:
    value = Fraction(a, b)
    cut = Fraction(value.numerator * 10**places // value.denominator, 10**places)
    for shown in (written(value, places), written(cut, places)):
        assert arithmetic(judge, f"That is {a} / {b} = {shown}.") == "passed"


@given(a=st.integers(2, 999), b=st.integers(2, 999), off=st.integers(1, 99))
def test_the_first_wrong_equation_is_named_with_what_it_comes_to(
    judge: Any, a: int, b: int, off: int
) -> None:
    text = f"First {a} + {b} = {a + b}. Then {a} * {b} = {a * b + off}. So {a} + 1 = {a}."
    judged = judge("What does it come to?", text)
    assert judged.verdict("arithmetic") == "failed"
    assert f"it is {a * b}" in judged.reason("arithmetic")


@given(
    text=st.lists(
        st.sampled_from(
            [*"3+-×/()=≈%$x半½²`\n.,…: ", "12", "1,5", "2.50", "of", "apples", "**", "mod"]
        ),
        max_size=60,
    ).map(" ".join)
)
def test_any_heap_of_signs_can_be_checked(judge: Any, text: str) -> None:
    assert arithmetic(judge, text) in {"passed", "failed", "not_applicable"}


@pytest.mark.parametrize(
    "text",
    [
        "x = 3",
        "2x + 3 = 8, so x = 2.5",
        "f(2) + 1 = 9",
        "2024-05-13 = a Monday",
        "chapters 3-5 = 40 pages",
        "1/4 = $250 each",
        "`total = 2 + 2 = 5`",
        "```python\ntotal = 2 + 2 == 5\ncount = 7 // 2\n```",
        "the product of 3 and 4 + 2 = 14",
        "2 hours 50 minutes + 20 minutes = 3 hours 10 minutes",
        "101 + 1 = 110 in binary",
        "3 dozen + 4 = 40",
        "√16 + 3 = 7 and |−5| + 1 = 6",
        "5 chairs + 2 tables = 300 dollars",
        "H2 + O2 = H2O",
        "Day 1 - 3 + 4 = 7",
    ],
)
def test_what_is_surely_no_equation_between_numbers_is_left_alone(judge: Any, text: str) -> None:
    assert arithmetic(judge, text) in {"passed", "not_applicable"}
