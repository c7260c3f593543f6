"""The demo's questions: each is checkable, and its answer sheet agrees with its check."""

from __future__ import annotations

import pytest

from cascadeflow.cli.demo.questions import Check, load_questions
from cascadeflow.errors import ConfigurationError


def test_there_are_24_questions_of_several_domains_with_different_names_and_words() -> None:
    questions = load_questions()
    assert len(questions) == 24
    assert len({question.id for question in questions}) == 24
    assert len({question.prompt for question in questions}) == 24
    assert len({question.domain for question in questions}) >= 7


def test_each_answer_sheet_is_right_and_wrong_where_it_says_so() -> None:
    for question in load_questions():
        assert question.check.holds(question.right), question.id
        assert not question.check.holds(question.wrong), question.id


@pytest.mark.parametrize(
    ("check", "answer", "right"),
    [
        (Check(kind="number", value=12), "7 + 5 = 12\n\nThis is 1 example", True),
        (Check(kind="number", value=1200), "It is 1,200.", True),
        (Check(kind="number", value=12), "12 or perhaps 13", False),
        (Check(kind="number", value=12), "twelve", False),
        (Check(kind="number", value=-1.5), "x = -1.5", True),
        (Check(kind="words", one_of=("Au",), case=True), "The symbol is Au.", True),
        (Check(kind="words", one_of=("Au",), case=True), "au pair", False),
        (Check(kind="words", one_of=("eight", "8")), "It has Eight legs", True),
        (Check(kind="words", one_of=("8",)), "It has 18 legs", False),
        (Check(kind="words", one_of=("yes",), never=("no",)), "Yes and no", False),
        (Check(kind="pattern", pattern=r"len\(xs\)"), "use len(xs)", True),
        (Check(kind="json", value={"a": 1}), '```json\n{"a": 1}\n```', True),
        (Check(kind="json", value={"a": 1}), '{"a": true}', False),
        (Check(kind="json", value={"a": 1}), 'Sure: {"a": 1}', False),
        (Check(kind="list", sets=(frozenset({"a", "b"}),)), "B, and A.", True),
        (Check(kind="list", sets=(frozenset({"a", "b"}),)), "1. a\n2. b", True),
        (Check(kind="list", sets=(frozenset({"a", "b"}),)), "a, b, b", False),
        (Check(kind="list", sets=(frozenset({"a", "b"}),)), "a", False),
    ],
)
def test_a_check_holds_for_right_answers_only(check: Check, answer: str, right: bool) -> None:
    assert check.holds(answer) is right


def test_a_question_file_that_contradicts_itself_or_cannot_be_read_is_refused() -> None:
    entry = """
[[question]]
id = "q"
domain = "d"
prompt = "p"
check = { kind = "number", value = 1 }
right = "2"
wrong = "3"
"""
    with pytest.raises(ConfigurationError, match="contradicts"):
        load_questions(entry)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_questions("nonsense")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_questions('[[question]]\nid = "q"')
