"""Reading labelled answers: each form by its fields, and what is refused."""

from __future__ import annotations

import gzip
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.cli.quality.forms import read_sets
from cascadeflow.cli.quality.planting import altered
from cascadeflow.errors import InvalidRequestError, StoreError
from cascadeflow.quality.documents import documents_of

if TYPE_CHECKING:
    from pathlib import Path

    from cascadeflow.cli.quality.cases import CaseSet

DOCUMENT = "The museum opens at nine in the morning, and at ten on Sundays. Entry is free."
SUMMARISED = {
    "article": DOCUMENT,
    "summary_sentences": [
        {"sentence": "It is free.", "responses": [{"response": "yes"}, {"response": "yes"}]},
        {"sentence": "It is shut.", "responses": [{"response": "no"}, {"response": "yes"}]},
    ],
}


def sets(path: Path, *rows: Any, **options: Any) -> dict[str, CaseSet]:
    file = path / "rows.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {each.name: each for each in read_sets(file, **options)}


def told(given: CaseSet) -> list[tuple[str, str, str, bool]]:
    return [
        (case.part, case.messages[-1].text, case.answer, case.good)
        for case in given.cases
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "kind", "cases"),
    [
        (
            {"question": "q?", "answer": "x", "label": "right", "model": "m"},
            "answers",
            [("m", "q?", "x", True)],
        ),
        ({"q": "q?", "a": "x", "right": False, "kind": "k"}, "answers", [("k", "q?", "x", False)]),
        (
            {"messages": [{"role": "user", "content": "q?"}], "answer": "x", "label": 1},
            "answers",
            [("", "q?", "x", True)],
        ),
        (
            {"question": "q?", "better": "x", "worse": "y", "subset": "s"},
            "pairs",
            [("s", "q?", "x", True), ("s", "q?", "y", False)],
        ),
        (
            {"input": "q?", "output_1": "x", "output_2": "y", "label": 2, "_split": "s"},
            "pairs",
            [("s", "q?", "y", True), ("s", "q?", "x", False)],
        ),
        (
            {"prompt": "q?", "response 1": "x", "response 2": "y", "label": 0, "scenario": "s"},
            "pairs",
            [("s", "q?", "x", True), ("s", "q?", "y", False)],
        ),
        (
            {
                "Question": "q?",
                "Best Answer": "x",
                "Correct Answers": "x; y",
                "Incorrect Answers": "z; ",
            },
            "answers",
            [("", "q?", "x", True), ("", "q?", "y", True), ("", "q?", "z", False)],
        ),
        (
            {"user_query": "q?", "chatgpt_response": "x", "hallucination": "yes"},
            "answers",
            [("", "q?", "x", False)],
        ),
        (
            {"document": DOCUMENT, "claim": "It is free.", "label": "supported"},
            "grounding",
            [("", "Summarise the document.", "It is free.", True)],
        ),
        (
            {"text": "x", "toxic": 1, "functionality": "f"},
            "toxicity",
            [("f", "", "x", False)],
        ),
        ({"prompt": "x", "S": 0, "V": 1, "V2": 1}, "toxicity", [("V", "", "x", False)]),
        ({"prompt": "x", "S": 0, "S3": 0}, "toxicity", [("none", "", "x", True)]),
        ({"text": "x", "class": "neither"}, "toxicity", [("neither", "", "x", True)]),
        ({"text": "x", "class": "offensive"}, "toxicity", [("offensive", "", "x", False)]),
        ({"prompt": "x", "label": "safe", "type": "t"}, "toxicity", [("t", "", "x", True)]),
    ],
)
def test_a_form_is_told_by_its_fields(
    tmp_path: Path, row: Any, kind: str, cases: list[tuple[str, str, str, bool]]
) -> None:
    (only,) = sets(tmp_path, row).values()
    assert (only.name, only.kind) == ("rows", kind)
    assert told(only) == cases


def test_context_makes_grounded_answers_and_reaches_the_judge_as_documents(tmp_path: Path) -> None:
    row = {"question": "When?", "context": [DOCUMENT, DOCUMENT[::-1]], "answer": "", "label": 0}
    (grounded,) = sets(tmp_path, row).values()
    assert (grounded.name, grounded.kind) == ("rows, with context", "grounding")
    assert documents_of(grounded.cases[0].messages) == (DOCUMENT, DOCUMENT[::-1])
    (case,) = sets(
        tmp_path,
        {"messages": [{"role": "user", "content": "?"}], "context": DOCUMENT, "a": "b", "label": 0},
    )["rows, with context"].cases
    assert documents_of(case.messages) == (DOCUMENT,)


def test_knowledge_is_kept_back_once_and_given_once(tmp_path: Path) -> None:
    row = {
        "knowledge": DOCUMENT,
        "question": "Is it free?",
        "right_answer": "yes",
        "hallucinated_answer": "no",
    }
    found = sets(tmp_path, row)
    kept, given = found["rows, knowledge kept back"], found["rows, knowledge given"]
    assert [documents_of(case.messages) for case in kept.cases] == [(), ()]
    assert [documents_of(case.messages) for case in given.cases] == [(DOCUMENT,)] * 2
    assert told(given) == [("", "Is it free?", "yes", True), ("", "Is it free?", "no", False)]


def test_a_summarys_sentence_is_supported_by_more_than_half_the_votes(tmp_path: Path) -> None:
    found = sets(tmp_path, SUMMARISED)
    assert [case.good for case in found["rows, sentences"].cases] == [True, False]
    (whole,) = found["rows, summaries"].cases
    assert (whole.answer, whole.good) == ("It is free. It is shut.", False)


def test_recorded_answers_have_models_as_parts_and_faults_planted_beside_them(
    tmp_path: Path,
) -> None:
    rows = [
        {
            "question": f"How many are {at} and 2?",
            "models": {
                "a": {"output": f"{at} + 2 = {at + 2}\n#### {at + 2}", "correct": True,
                      "input_tokens": 1, "output_tokens": 1},
                "b": {"output": "#### 99", "correct": False,
                      "input_tokens": 1, "output_tokens": 1},
            },
        }
        for at in range(10, 16)
    ]  # fmt: skip
    found = sets(tmp_path, *rows)
    assert list(found) == [
        "rows",
        "rows, another final number",
        "rows, the last equation agreeing",
        "rows, another's answer",
    ]
    assert found["rows"].models
    assert {case.part for case in found["rows"].cases} == {"a", "b"}
    for name, given in list(found.items())[1:]:
        assert given.planted
        assert [case.good for case in given.cases] == [False, True] * 6
        for changed, own in zip(given.cases[::2], given.cases[1::2], strict=True):
            assert own in found["rows"].cases, "what is judged once is not judged again"
            assert changed.answer != own.answer
            assert changed.key == own.key
            total, named = changed.answer.split("= ")[1].split("\n#### ")
            assert (total == named) is (name != "rows, another final number")
    again = sets(tmp_path, *rows)
    assert [told(each) for each in again.values()] == [told(each) for each in found.values()]


def test_an_answer_is_altered_in_its_final_number_alone() -> None:
    chance = random.Random(0)
    text = "We have 3 * 4 = 12 and 12 + 5 = 17.\nThe answer is 17."
    changed = altered(text, chance, equation=False)
    assert changed is not None
    head, tail = text.rsplit("17", 1)
    assert changed.startswith(head)
    assert changed.endswith(tail)
    assert changed != text
    agreeing = altered(text, chance, equation=True)
    assert agreeing is not None
    new = agreeing.rsplit("answer is ", 1)[1].rstrip(".")
    assert agreeing == text.replace("17", new)
    assert altered("It is blue.", chance, equation=False) is None
    assert altered("The answer is 5.", chance, equation=True) is None


def test_a_limit_draws_the_same_rows_of_the_same_seed(tmp_path: Path) -> None:
    rows = [{"text": str(at), "toxic": at % 2} for at in range(50)]
    drawn = told(sets(tmp_path, *rows, limit=10, seed=3)["rows"])
    assert len(drawn) == 10
    assert drawn == told(sets(tmp_path, *rows, limit=10, seed=3)["rows"])
    assert drawn != told(sets(tmp_path, *rows, limit=10, seed=4)["rows"])
    assert len(sets(tmp_path, *rows, limit=99)["rows"].cases) == 50


def test_a_gzipped_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(gzip.compress(b'{"text": "a", "toxic": 0}\n'))
    assert len(read_sets(path)[0].cases) == 1
    path.write_bytes(gzip.compress(b"abc")[:-4])
    with pytest.raises(StoreError, match=r"rows\.jsonl cannot be read"):
        read_sets(path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["{"], "line 1: the line is cut off"),
        (["{a"], "line 1: no JSON, at character 2: Expecting property name"),
        (["[1]"], "line 1: not a JSON object"),
        ([{"a": 1}], "line 1: rows with the fields 'a' are of no known form"),
        ([{"text": "a", "toxic": 0}, {"text": "a"}], "line 2: no field toxic"),
        ([{"text": "a", "toxic": 0}, {"text": 3, "toxic": 0}], "line 2: text must be text, not 3"),
        ([{"text": "a", "toxic": 2}], "line 1: toxic must be true or false, 1 or 0"),
        ([{"q": "a", "a": "b", "label": "maybe"}], "line 1: label must be true or false"),
        ([{"q": " ", "a": "b", "label": 1}], "line 1: the question is empty"),
        ([{"q": "a", "a": "b", "label": 1, "context": 5}], "line 1: context must be a text or a"),
        ([{"q": "a", "a": "b", "label": 1, "finish_reason": "x"}], "finish_reason must be stop or"),
        ([{"messages": [], "a": "b", "label": 1}], "line 1: messages is empty"),
        ([{"q": "a", "better": 1, "worse": ""}], "line 1: better must be text, not 1"),
        ([{"input": "", "output_1": "", "output_2": "", "label": 0}], "label must be 1 or 2"),
        ([{"prompt": "", "label": "?", "type": ""}], "label must be safe or unsafe"),
        (
            [{"prompt": "", "response 1": "", "response 2": "", "label": 2}],
            "no row has a label that says which is better",
        ),
        ([{**SUMMARISED, "summary_sentences": []}], "summary_sentences must be a list"),
        ([{"question": "a", "models": {}}], "line 1: no model answered"),
        (
            [{"question": "a", "prompt_tok": 1, "models": {"m": {"output": "b", "out_tok": 1}}}],
            "no answer has the field 'correct'; mark them first: cascadeflow judge",
        ),
        ([""], "holds no rows"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, lines: list[Any], words: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        sets(tmp_path, *lines)
    assert words in str(caught.value)
    assert "rows.jsonl" in str(caught.value)
