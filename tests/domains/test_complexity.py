"""Complexity, from Python."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.domains import assess
from cascadeflow.types import ImagePart, Message, TextPart

LEVELS = {"trivial": 0.0, "simple": 0.15, "moderate": 0.35, "hard": 0.60, "expert": 0.82}


@given(st.text())
def test_every_text_gets_a_level_that_fits_its_score(text: str) -> None:
    found = assess([Message("user", text)])
    assert 0.0 <= found.score <= 1.0
    assert found.level == max(
        (level for level, least in LEVELS.items() if found.score >= least), key=LEVELS.__getitem__
    )


def test_the_last_user_message_is_judged_not_the_answer_before_it() -> None:
    hard = "Prove rigorously that the eigenvalues of a Hermitian matrix are real, step by step."
    talk = [Message("user", hard), Message("assistant", "…"), Message("user", "Thanks!")]
    assert assess(talk).score < assess([Message("user", hard)]).score


def test_a_long_conversation_makes_a_short_question_harder() -> None:
    question = Message("user", "And the second one?")
    context = Message("assistant", "word " * 5_000)
    assert assess([context, question]).score > assess([question]).score


def test_parts_that_are_not_text_are_passed_over() -> None:
    message = Message("user", (TextPart("What is this?"), ImagePart(url="https://a.example/b.png")))
    assert assess([message]).level == "trivial"


def test_a_text_may_be_a_megabyte() -> None:
    assert assess([Message("user", "(((((" * 200_000)]).score <= 1.0
    assert assess([Message("user", "Then do it? " * 80_000)]).level in {"hard", "expert"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Prove the theorem with a lemma about eigenvalues.", "specialist terms"),
        ("Do this:\n1. one\n2. two\n3. three\n4. four\n5. five\n6. six", "listed items"),
        ("```python\nfor a in b:\n    if a:\n        f(a)\n```", "code"),
    ],
)
def test_the_heaviest_reason_comes_first(text: str, reason: str) -> None:
    assert assess([Message("user", text)]).reasons[0] == reason
