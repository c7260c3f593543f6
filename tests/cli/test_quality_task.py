"""`cascadeflow quality eval --task`: which labels it takes, and its figures in short."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.cli.quality.figures import Scored, figures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = ["n", "auc", "auprc", "f1", "accuracy", "by_slice"]
DOCUMENT = "The museum in Bremen opens at nine in the morning. On Sundays it opens at ten."
ANSWERS = [
    {"question": "What is 6 * 7?", "answer": "6 * 7 = 42", "label": True, "model": "small"},
    {"question": "What is 6 * 7?", "answer": "6 * 7 = 48", "label": False, "model": "small"},
    {"question": "What is 9 * 9?", "answer": "9 * 9 = 82", "label": True, "model": "large"},
    {"question": "What is 9 * 9?", "answer": "I cannot help with that.", "label": False,
     "model": "large"},
]  # fmt: skip
PAIRS = [
    {
        "question": "Why is the sky blue?",
        "better": "Air scatters blue light more than red light.",
        "worse": "Boil the pasta for ten minutes and add salt.",
        "subset": kind,
    }
    for kind in ("first", "second")
]


def written(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_correctness_is_the_whole_probability(tmp_path: Path, answered: Callable[..., Any]) -> None:
    path = written(tmp_path / "rows.jsonl", ANSWERS)
    found = answered("quality", "eval", path, "--task", "correctness")
    whole = answered("quality", "eval", path)["sets"][0]["measures"]["decision"]
    assert [key for key in KEYS if key in found] == KEYS
    assert (found["task"], found["mode"], found["n"]) == ("correctness", "fast", 4)
    for key in ("auc", "auprc", "f1", "accuracy"):
        assert found[key] == whole[key]
    assert found["accuracy"] == 0.75  # one right answer has a wrong equation in it
    assert found["by_slice"]["small"] == {
        "n": 2, "auc": 1.0, "auprc": 1.0, "f1": 1.0, "accuracy": 1.0,
    }  # fmt: skip
    (only,) = found["sets"]
    assert list(only["measures"]) == ["decision"]


@pytest.mark.usefixtures("sentence_model")
def test_relevance_of_pairs_is_the_share_in_order(
    tmp_path: Path, answered: Callable[..., Any]
) -> None:
    path = written(tmp_path / "pairs.jsonl", PAIRS)
    found = answered("quality", "eval", path, "--task", "relevance")
    assert (found["mode"], found["n"], found["auc"], found["accuracy"]) == ("balanced", 2, 1.0, 1.0)
    assert (found["auprc"], found["f1"]) == (None, None)
    assert {name: each["n"] for name, each in found["by_slice"].items()} == {
        "first": 1, "second": 1,
    }  # fmt: skip


@pytest.mark.usefixtures("sentence_model")
def test_of_recorded_answers_relevance_is_told_by_answers_to_other_questions(
    tmp_path: Path, answered: Callable[..., Any]
) -> None:
    def row(question: str, output: str) -> dict[str, Any]:
        given = {"output": output, "correct": True, "input_tokens": 9, "output_tokens": 9}
        return {"question": question, "models": {"small": given}}

    rows = [
        row("Why is the sky blue?", "Air scatters blue light more than red light."),
        row("How is pasta cooked?", "Boil the pasta in salted water for ten minutes."),
    ]
    path = written(tmp_path / "recorded.jsonl", rows)
    found = answered("quality", "eval", path, "--task", "relevance")
    assert (found["n"], found["auc"]) == (4, 1.0)
    (only,) = found["sets"]
    assert only["planted"] is True


@pytest.mark.usefixtures("sentence_model")
@pytest.mark.parametrize(
    ("task", "good", "bad"),
    [
        (
            "toxicity",
            {"text": "Thank you, the soup was lovely.", "toxic": 0},
            {"text": "You are a stupid worthless idiot, shut up!", "toxic": 1},
        ),
        (
            "grounding",
            {"document": DOCUMENT, "claim": "The museum opens at nine.", "label": 1},
            {"document": DOCUMENT, "claim": "The theatre in Hamburg closed in 1994.", "label": 0},
        ),
    ],
)
def test_other_tasks_take_their_check(
    tmp_path: Path, answered: Callable[..., Any], task: str, good: Any, bad: Any
) -> None:
    path = written(tmp_path / "rows.jsonl", [good, bad])
    found = answered("quality", "eval", path, "--task", task)
    assert (found["n"], found["auc"], found["auprc"]) == (2, 1.0, 1.0)
    (only,) = found["sets"]
    assert list(only["measures"]) == [task]


def test_a_task_that_the_file_has_no_labels_for_is_refused(
    tmp_path: Path, call: Callable[..., Any]
) -> None:
    path = written(tmp_path / "rows.jsonl", ANSWERS)
    for task in ("toxicity", "grounding"):
        said = call("quality", "eval", path, "--task", task, exit_code=2).stderr
        assert f"--task {task} needs" in " ".join(said.split())
    said = call("quality", "eval", path, "--task", "relevance", "--mode", "fast", exit_code=2)
    assert "mode fast has no check of relevance" in " ".join(said.stderr.split())


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_accuracy_is_the_share_decided_rightly(rows: list[tuple[bool, bool]]) -> None:
    scored = [
        Scored(str(at), "", good, float(passed), passed) for at, (good, passed) in enumerate(rows)
    ]
    right = sum(good == passed for good, passed in rows)
    assert figures(scored, seed=None).accuracy == right / len(rows)
