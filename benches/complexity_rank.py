"""How well the complexity score ranks requests that people and a judge model graded.

    python benches/complexity_rank.py

Reads FLASK's instructions (evaluation only: nothing is fitted on them), whose five grades say how
much knowledge an answer needs, and prints Spearman's rank correlation with the score, beside that
of the request's bare length.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
from pathlib import Path

from cascadeflow.domains import assess
from cascadeflow.types import Message

GRADES = (
    "simple lifestyle knowledge",
    "advanced lifestyle knowledge",
    "formal education knowledge",
    "major level knowledge",
    "expert level knowledge",
)


def ranks(values: list[float]) -> list[float]:
    """Ranks, ties sharing their mean."""
    order = sorted(range(len(values)), key=values.__getitem__)
    out = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for index in order[start:end]:
            out[index] = (start + end - 1) / 2
        start = end
    return out


def spearman(a: list[float], b: list[float]) -> float:
    """Spearman's rank correlation."""
    return statistics.correlation(ranks(a), ranks(b))


def main() -> None:
    """Reads, scores, prints."""
    here = Path(__file__).parents[1]
    folder = Path(os.environ.get("CASCADEFLOW_DATA", here.parent / "shared" / "data"))
    with gzip.open(folder / "complexity" / "flask.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if row["difficulty"] in GRADES]
    grades = [float(GRADES.index(row["difficulty"])) for row in rows]
    found = [assess([Message("user", row["instruction"])]) for row in rows]
    scores = [complexity.score for complexity in found]
    lengths = [float(len(row["instruction"])) for row in rows]
    print(f"{len(rows)} instructions")
    print(f"Spearman, score  : {spearman(scores, grades):+.3f}")
    print(f"Spearman, length : {spearman(lengths, grades):+.3f}")
    for at, grade in enumerate(GRADES):
        mine = [s for s, g in zip(scores, grades, strict=True) if g == at]
        print(f"mean score, {grade:<28}: {statistics.mean(mine):.3f}  ({len(mine)})")


if __name__ == "__main__":
    main()
