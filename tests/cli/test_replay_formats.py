"""Reading recorded answers: each form, and what is refused."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.cli.judging import read_log
from cascadeflow.cli.replay.formats import model_names, read_rows, resolve_model, usable_rows
from cascadeflow.errors import InvalidRequestError, StoreError, UnknownModelError

if TYPE_CHECKING:
    from pathlib import Path

OWN = {
    "id": "q1",
    "question": "What is 2 + 2?",
    "models": {
        "small": {"output": "5", "correct": False, "input_tokens": 9, "output_tokens": 1},
        "large": {
            "output": "4",
            "correct": True,
            "input_tokens": 11,
            "output_tokens": 2,
            "finish_reason": "length",
        },
    },
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_projects_own_form_is_read_as_written(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path / "log.jsonl", OWN))
    assert (row.id, row.question) == ("q1", "What is 2 + 2?")
    assert row.answers["small"].output == "5"
    assert row.answers["small"].correct is False
    assert (row.answers["large"].input_tokens, row.answers["large"].output_tokens) == (11, 2)
    assert row.answers["large"].finish_reason == "length"
    assert row.answers["small"].finish_reason == "stop"


def test_zeroevals_form_shares_the_prompts_tokens_between_the_models(tmp_path: Path) -> None:
    entry = {
        "id": "x#0",
        "question": "Why?",
        "answer": "Because",
        "prompt_tok": 142,
        "models": {"m": {"output": "So", "correct": True, "pred": "So", "out_tok": 3}},
    }
    (row,) = read_rows(write(tmp_path / "zero.jsonl", entry))
    assert (row.answers["m"].input_tokens, row.answers["m"].output_tokens) == (142, 3)


def test_routellms_form_gives_both_models_by_their_names(tmp_path: Path) -> None:
    entry = {
        "id": 0,
        "prompt": "How many?",
        "cheap_model": "cheap-1",
        "exp_model": "dear-1",
        "cheap_correct": False,
        "exp_correct": True,
        "cheap_response": " 3",
        "exp_response": "4",
        "prompt_tok": 64,
        "cheap_out_tok": 82,
        "exp_out_tok": 83,
    }
    (row,) = read_rows(write(tmp_path / "route.jsonl", entry))
    assert row.id == "0"
    assert row.answers["cheap-1"].output == " 3"
    assert row.answers["dear-1"].correct is True
    assert row.answers["dear-1"].output_tokens == 83


def test_a_gzipped_file_is_read_and_blank_lines_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    nameless = {**OWN}
    del nameless["id"]
    path.write_bytes(gzip.compress(("\n" + json.dumps(nameless) + "\n\n").encode()))
    (row,) = read_rows(path)
    assert row.id == "line 2"
    assert model_names([row]) == ("large", "small")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"cheap_correct": True, "exp_correct": True, "prompt": "?"}, "nothing to judge"),
        ({"models": {}}, "question"),
        ({**OWN, "models": {}}, "no model answered"),
        ({**OWN, "models": {"m": {"output": "x", "correct": 1}}}, "true or false"),
        ({**OWN, "models": {"m": {"output": None, "correct": True}}}, "output must be text"),
        ({**OWN, "models": {"m": {"output": "x", "correct": True}}}, "input_tokens"),
        ({**OWN, "models": {}, "unjudged": {}}, "no model answered"),
        ([1], "not a JSON object"),
    ],
)
def test_a_row_of_another_form_is_refused_with_its_line(
    tmp_path: Path, row: Any, words: str
) -> None:
    path = write(tmp_path / "bad.jsonl", OWN, row)
    with pytest.raises(InvalidRequestError, match="line 2") as caught:
        read_rows(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"question": "What is', "line 2: the line is cut off"),
        ('{"question": "What?", "models":', "line 2: the line is cut off"),
        ('{"question": tru', "line 2: the line is cut off"),
        ('{"question": What?}', "line 2: no JSON, at character 14: Expecting value"),
    ],
)
def test_a_line_that_is_no_json_is_named_once_and_so_is_what_is_wrong(
    tmp_path: Path, line: str, words: str
) -> None:
    path = write(tmp_path / "bad.jsonl", OWN)
    path.write_text(path.read_text(encoding="utf-8").rstrip() + "\n" + line, encoding="utf-8")
    for read in (read_rows, read_log):
        with pytest.raises(InvalidRequestError, match="line 2") as caught:
            read(path)
        assert words in str(caught.value)
        assert "line 1" not in str(caught.value)


def bare(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in answer.items() if key != "correct"}


def test_answers_without_a_mark_are_read_and_only_those_that_are_judged_need_one(
    tmp_path: Path,
) -> None:
    models: Any = OWN["models"]
    small, large = models["small"], models["large"]
    marked = {"small": small, "large": large, "third": bare(large)}
    half = {"small": bare(small), "large": large, "third": large}
    rows = read_rows(
        write(tmp_path / "log.jsonl", {**OWN, "models": marked}, {**OWN, "models": half})
    )
    assert rows[0].answers["third"].correct is None
    assert usable_rows(rows, ("small", "large"), ["third"]) == [rows[0]]
    with pytest.raises(InvalidRequestError, match="no answer of small has the field 'correct'"):
        usable_rows(rows[1:], ("small", "large"))
    with pytest.raises(InvalidRequestError, match="cascadeflow judge"):
        usable_rows(rows[1:], ("small", "large"))
    with pytest.raises(InvalidRequestError, match="no row holds answers of all of small, fourth"):
        usable_rows(rows, ("small", "fourth"))
    aside = {**OWN, "models": {}, "unjudged": {"small": bare(small)}}
    (kept,) = read_rows(write(tmp_path / "aside.jsonl", aside))
    assert not kept.answers


def test_a_file_that_cannot_be_read_or_holds_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        read_rows(tmp_path / "absent.jsonl")
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(b"not gzip")
    with pytest.raises(StoreError, match="cannot be read"):
        read_rows(broken)
    with pytest.raises(InvalidRequestError, match="no rows"):
        read_rows(write(tmp_path / "empty.jsonl"))


NAMES = (
    "claude-3-5-sonnet-20241022",
    "gpt-4o-2024-05-13",
    "gpt-4o-2024-08-06",
    "gpt-4o-mini-2024-07-18",
    "Meta-Llama-3.1-8B-Instruct",
)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("openai:gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
        ("claude-3.5-sonnet", "claude-3-5-sonnet-20241022"),
        ("meta-llama-3.1-8b-instruct", "Meta-Llama-3.1-8B-Instruct"),
        ("llama-3.1-8b", "Meta-Llama-3.1-8B-Instruct"),
    ],
)
def test_a_model_is_found_by_a_looser_name(wanted: str, found: str) -> None:
    assert resolve_model(wanted, NAMES) == found


def test_a_name_that_means_several_models_or_none_lists_them() -> None:
    with pytest.raises(UnknownModelError, match="gpt-4o-2024-05-13, gpt-4o-2024-08-06"):
        resolve_model("gpt-4o", NAMES)
    with pytest.raises(UnknownModelError, match="holds no model 'gemini'; it holds claude"):
        resolve_model("gemini", NAMES)
    with pytest.raises(UnknownModelError, match="holds no model"):
        resolve_model(":", NAMES)
