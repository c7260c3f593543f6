"""The training set is what its page says: labelled, varied, and no part of what is evaluated."""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.types import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "benches" / "domain_training"
FILES = sorted(FOLDER.glob("*.jsonl"))
SHARED_WORDS = 8


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def plain(text: str) -> str:
    return re.sub(r"\W+", " ", unicodedata.normalize("NFKC", text).lower()).strip()


def runs(text: str) -> Iterator[tuple[str, ...]]:
    """Every run of so many words."""
    words = plain(text).split()
    for start in range(len(words) - SHARED_WORDS + 1):
        yield tuple(words[start : start + SHARED_WORDS])


def test_every_domain_has_its_file() -> None:
    assert {file.stem for file in FILES} == DOMAINS


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_row_is_whole_and_no_opening_is_a_habit(file: Path) -> None:
    rows = rows_of(file)
    assert len(rows) >= 400
    for row in rows:
        assert set(row) == {"text", "label", "also", "form", "lang"}
        assert row["text"].strip()
        assert row["label"] == file.stem
        assert set(row["also"]) <= DOMAINS - {row["label"]}
    openings = Counter(" ".join(plain(row["text"]).split()[:2]) for row in rows)
    opening, count = openings.most_common(1)[0]
    assert count <= 0.03 * len(rows), opening
    assert sum(row["lang"] != "en" for row in rows) >= 0.08 * len(rows)


def test_no_row_comes_twice() -> None:
    texts = Counter(plain(row["text"]) or row["text"] for file in FILES for row in rows_of(file))
    assert [text for text, count in texts.items() if count > 1] == []


def test_no_row_shares_eight_words_in_a_row_with_the_evaluation_data(shared_data: Path) -> None:
    with gzip.open(shared_data / "domain" / "domain.jsonl.gz", "rt", encoding="utf-8") as lines:
        evaluated = {run for line in lines for run in runs(json.loads(line)["text"])}
    shared = [
        row["text"][:80]
        for file in FILES
        for row in rows_of(file)
        if not evaluated.isdisjoint(runs(row["text"]))
    ]
    assert shared == []
