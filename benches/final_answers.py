"""How well two models' final answers are compared: agreement against recorded correctness.

    python benches/final_answers.py

Reads `cascade/zeroeval_gsm8k`, `zeroeval_crux` and `routellm_gsm8k` (`CASCADEFLOW_DATA`), takes
every pair of models that answered the same question, and counts: of pairs that are both right, how
often `same_final_answer` says so; of pairs of which one is right, how often it says they differ.
Pairs that are both wrong may agree or not, and are only counted.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascadeflow._native import final_answer, same_final_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
Answers = dict[str, tuple[str, bool]]


def lines(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a file of the shared data."""
    folder = Path(os.environ.get("CASCADEFLOW_DATA", ROOT.parent / "shared" / "data"))
    with gzip.open(folder / f"cascade/{name}.jsonl.gz", "rt") as file:
        yield from map(json.loads, file)


def questions(name: str) -> Iterator[Answers]:
    """For each question every model's answer, and whether it is right."""
    for row in lines(name):
        if "models" in row:
            yield {m: (given["output"], given["correct"]) for m, given in row["models"].items()}
        else:
            yield {
                row[f"{kind}_model"]: (row[f"{kind}_response"], row[f"{kind}_correct"])
                for kind in ("cheap", "exp")
            }


def count(name: str) -> Counter[tuple[str, bool | None]]:
    """How often each kind of pair is said to be the same, different, or neither."""
    said: Counter[tuple[str, bool | None]] = Counter()
    for answers in questions(name):
        for (one, good), (other, fine) in itertools.combinations(answers.values(), 2):
            kind = "both right" if good and fine else "one right" if good or fine else "none right"
            said[kind, same_final_answer(one, other)] += 1
    return said


def main() -> None:
    """Compares, counts, prints."""
    for name in ("zeroeval_gsm8k", "zeroeval_crux", "routellm_gsm8k"):
        texts = [text for answers in questions(name) for text, _ in answers.values()]
        found = sum(final_answer(text) is not None for text in texts)
        print(f"\n{name}: a final answer is found in {found / len(texts):.2%}")
        said = count(name)
        for kind in ("both right", "one right", "none right"):
            total = sum(number for (which, _), number in said.items() if which == kind)
            shares = ", ".join(
                f"{word} {said[kind, same] / total:.2%}"
                for word, same in (("same", True), ("differ", False), ("unclear", None))
            )
            print(f"  {kind:11} {total:6} pairs: {shares}")


if __name__ == "__main__":
    main()
