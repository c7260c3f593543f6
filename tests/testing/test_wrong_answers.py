"""Wrong answers: surely wrong, and of the same kind as the right one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.testing.wrong_answers import perturbed


def plain(text: str) -> str:
    return " ".join(text.split()).casefold()


@given(st.text(), st.integers(0, 2**64), st.lists(st.text(), max_size=4))
def test_a_wrong_answer_is_never_the_right_one(right: str, choice: int, others: list[str]) -> None:
    assert plain(perturbed(right, choice, others)) != plain(right)


@given(st.integers(0, 10**9), st.integers(0, 100))
def test_the_last_number_becomes_another_near_by(number: int, choice: int) -> None:
    wrong = perturbed(f"3 + 4 is {number}, is it not?", choice)
    found = re.fullmatch(r"3 \+ 4 is (\d+), is it not\?", wrong)
    assert found
    assert 0 < abs(int(found[1]) - number) <= 10


@given(st.decimals(0, 1000, places=2), st.integers(0, 100))
def test_decimals_keep_their_places(number: object, choice: int) -> None:
    assert re.fullmatch(r"\d+\.\d\d", perturbed(f"{number}", choice))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("1,999", "2,000"),
        ("007", "008"),
        ("It costs 12.99 dollars", "It costs 13.00 dollars"),
        ("A", "B"),
        ("(D).", "(A)."),
        ("True", "False"),
        ("no", "yes"),
        ("That is incorrect.", "That is correct."),
        ("Paris", "aPris"),
        ("aa", "aaa"),
        ("...", "unknown"),
        ("", "unknown"),
        ('{"total": 41}', '{"total": 42}'),
    ],
)
def test_each_kind_of_answer_has_its_own_kind_of_mistake(right: str, wrong: str) -> None:
    assert perturbed(right, 0) == wrong


@given(st.integers(0, 50))
def test_a_letter_becomes_another_letter(choice: int) -> None:
    for right in "ABCDE":
        assert perturbed(right, choice) in set("ABCD") - {right}


def test_words_become_another_answer_of_the_sheet() -> None:
    sheet = ("Paris", "Rome", "paris ", "Oslo")
    assert {perturbed("Paris", choice, sheet) for choice in range(4)} == {"Rome", "Oslo"}
