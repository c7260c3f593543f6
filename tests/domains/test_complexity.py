"""Complexity, from Python."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.domains import assess
from cascadeflow.types import DOMAINS, ImagePart, Message, TextPart

BENCHES = Path(__file__).parents[2] / "benches"
LEVELS = {"trivial": 0.0, "simple": 0.15, "moderate": 0.35, "hard": 0.60, "expert": 0.82}


def lines(path: Path) -> list[dict[str, Any]]:
    """A JSON object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# A greeting, a question and a proof with demands, in the languages whose main words are known.
RISING = {
    row["lang"]: row["rising"]
    for row in lines(Path(__file__).parent / "complexity_in_languages.jsonl")
}


def score(text: str, domain: str | None = None) -> float:
    return assess([Message("user", text)], domain).score


@given(st.text(), st.sampled_from([None, "billing", *sorted(DOMAINS)]))
def test_every_text_gets_a_level_that_fits_its_score(text: str, domain: str | None) -> None:
    found = assess([Message("user", text)], domain)
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
    assert assess([Message("user", "Then do it? " * 80_000)]).level in {"moderate", "hard"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Prove the theorem with a lemma about eigenvalues.", "specialist terms"),
        ("Do this:\n1. one\n2. two\n3. three\n4. four\n5. five\n6. six", "listed items"),
        ("```python\nfor a in b:\n    if a:\n        f(a)\n```", "code"),
        ("Show that this is optimal.", "asks for a proof or the best"),
        ("Please compare them, justify it and explain why.", "asks for reasoning"),
    ],
)
def test_the_heaviest_reason_comes_first(text: str, reason: str) -> None:
    assert assess([Message("user", text)]).reasons[0] == reason


def test_the_parts_add_up_to_the_score() -> None:
    found = assess([Message("user", "Compare two ways to sort a list, in detail.")], "code")
    assert [what for what, _ in found.parts if what != "a request"] == list(found.reasons)
    total = sum(weight for _, weight in found.parts)
    assert found.score == pytest.approx(1 - 2.718281828459045 ** -max(total, 0))


def test_the_domain_counts_where_it_is_known() -> None:
    text = "Does this hold if the other side never signed it?"
    assert score(text, "legal") > score(text) > score(text, "support")
    assert score(text, "a domain of one's own") == score(text)
    assert score("", "legal") == 0.0


def test_a_text_to_be_shortened_is_easier_than_one_to_be_judged() -> None:
    letter = "The committee met on Monday and agreed on the new rules for the garden. " * 8
    assert score("Summarize this: " + letter) < score("Evaluate this: " + letter)


@pytest.mark.parametrize("language", RISING)
def test_difficulty_rises_in_other_languages_too(language: str) -> None:
    texts = RISING[language]
    scores = [score(text) for text in texts]
    assert scores == sorted(scores)
    assert assess([Message("user", texts[0])]).level == "trivial"
    assert assess([Message("user", texts[2])]).level in {"moderate", "hard", "expert"}


def test_what_is_fitted_meets_the_grades_it_was_fitted_on() -> None:
    rows = lines(BENCHES / "complexity_examples.jsonl")
    assert len(rows) >= 150
    order = list(LEVELS)
    off = [
        abs(order.index(assess([Message("user", row["text"])]).level) + 1 - row["grade"])
        for row in rows
    ]
    assert statistics.mean(distance <= 1 for distance in off) > 0.9
    means = [
        statistics.mean(score(r["text"]) for r in rows if r["grade"] == g) for g in range(1, 6)
    ]
    assert means == sorted(means)
