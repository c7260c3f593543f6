from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow._native import final_answer, same_final_answer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("answer", "text", "normal"),
    [
        ('```json\n{"reasoning": "3 * 6", "answer": "$18"}\n```', "$18", "18 dollar"),
        ("Half of it.\n#### 1,250", "1,250", "1250"),
        ("Thus $x = \\boxed{\\frac{3}{4}}$.", "\\frac{3}{4}", "3/4"),
        ("The correct answer is (C) Mars.", "(C) Mars", "C"),
        ("Yes, it is.", "Yes", "true"),
        (
            "The function returns [1, 'a.b'], so the answer is [1, 'a.b'].",
            "[1, 'a.b']",
            "[1, 'a.b']",
        ),
        ("答案是 42。", "42", "42"),
    ],
)
def test_the_final_answer_is_found_and_put_in_one_form(answer: str, text: str, normal: str) -> None:
    assert final_answer(answer) == (text, normal)


@pytest.mark.parametrize(
    "answer", ["", "Leaves fall because trees save water in winter, and grow anew.", "a\n" * 50]
)
def test_an_explanation_has_no_final_answer(answer: str) -> None:
    assert final_answer(answer) is None
    assert same_final_answer(answer, "5") is None


def test_answers_are_compared_by_what_they_mean() -> None:
    assert same_final_answer("The answer is 5 hours.", "#### 300 minutes\n") is True
    assert same_final_answer("\n#### 5 hours", "The answer is 5 minutes.") is False
    assert same_final_answer('{"answer": "50%"}', "The answer is 0.5") is True
    assert same_final_answer("answer: 1.234", "answer: 1,234") is None


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_two_texts_can_be_compared_in_either_order(one: str, other: str) -> None:
    assert same_final_answer(one, other) == same_final_answer(other, one)
    assert same_final_answer(one, one) is not False


def test_a_megabyte_is_compared_without_recursion() -> None:
    for piece in ("[", "the answer is (", "<<", "` ", "= 1 "):
        assert same_final_answer(piece * (1_000_000 // len(piece)), "5") in (None, False)


def test_agreement_of_recorded_answers_says_what_their_correctness_says(
    request: pytest.FixtureRequest, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = request.path.parents[2] / "benches" / "final_answers.py"
    spec = importlib.util.spec_from_file_location("final_answers", path)
    assert spec is not None
    assert spec.loader is not None
    script: Any = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "final_answers", script)
    spec.loader.exec_module(script)
    monkeypatch.setenv("CASCADEFLOW_DATA", str(shared_data))
    for name, least_same, least_differ in (
        ("zeroeval_gsm8k", 0.995, 0.97),
        ("zeroeval_crux", 0.97, 0.8),
    ):
        said = script.count(name)
        for kind, same, least in (
            ("both right", True, least_same),
            ("one right", False, least_differ),
        ):
            total = sum(count for (which, _), count in said.items() if which == kind)
            assert said[kind, same] / total >= least
