"""The graded answers that are written for this project hold what their README says."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "benches" / "quality_training"
KINDS = {"math", "code", "reason", "fact", "instruction", "context", "chat"}


def rows() -> list[dict[str, Any]]:
    files = sorted(FOLDER.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def test_every_row_is_whole() -> None:
    for row in rows():
        assert set(row) == {"q", "a", "right", "p", "kind", "fault", "group"}
        assert row["kind"] in KINDS
        assert row["q"].strip()
        assert row["right"] is (row["fault"] == "")
        assert 0 < row["p"] < 1


def test_every_question_has_right_and_wrong_answers_and_one_estimate() -> None:
    by_group = defaultdict(list)
    for row in rows():
        by_group[row["group"]].append(row)
    for group in by_group.values():
        assert {row["right"] for row in group} == {True, False}
        assert len({(row["q"], row["p"]) for row in group}) == 1
        assert len({row["a"] for row in group}) == len(group)


def test_the_readme_counts_what_is_there() -> None:
    found = rows()
    questions = len({row["group"] for row in found})
    assert f"{len(found):,} answers to {questions} questions" in (FOLDER / "README.md").read_text()
