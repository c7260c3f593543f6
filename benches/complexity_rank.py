"""How well the complexity score ranks requests that people and a judge model graded.

    python benches/complexity_rank.py

Reads FLASK's instructions (evaluation only: nothing is fitted on them), whose five grades say how
much knowledge an answer needs, and prints Spearman's rank correlation with the score, alone and
with the domain that the rules detect, beside that of the request's bare length. The intervals hold
95 % of 2,000 resamples of the instructions.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cascadeflow.domains import assess
from cascadeflow.domains.rules import RuleLayer
from cascadeflow.types import Message

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

GRADES = (
    "simple lifestyle knowledge",
    "advanced lifestyle knowledge",
    "formal education knowledge",
    "major level knowledge",
    "expert level knowledge",
)
RESAMPLES = 2000


def ranks(values: Array) -> Array:
    """Ranks, ties sharing their mean."""
    _, place, sizes = np.unique(values, return_inverse=True, return_counts=True)
    shared: Array = (np.cumsum(sizes) - (sizes + 1) / 2)[place]
    return shared


def spearman(a: Array, b: Array) -> float:
    """Spearman's rank correlation."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def main() -> None:
    """Reads, scores, prints."""
    here = Path(__file__).parents[1]
    folder = Path(os.environ.get("CASCADEFLOW_DATA", here.parent / "shared" / "data"))
    with gzip.open(folder / "complexity" / "flask.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if row["difficulty"] in GRADES]
    texts = [str(row["instruction"]) for row in rows]
    grades = np.array([float(GRADES.index(row["difficulty"])) for row in rows])
    rules = RuleLayer.builtin()
    domains = [rules.report(text).probabilities[0][0] for text in texts]
    measures = {
        "score": np.array([assess([Message("user", text)]).score for text in texts]),
        "score, with the rules' domain": np.array(
            [
                assess([Message("user", text)], domain).score
                for text, domain in zip(texts, domains, strict=True)
            ]
        ),
        "length": np.array([float(len(text)) for text in texts]),
    }
    random = np.random.default_rng(6)
    picks = [random.integers(0, len(rows), len(rows)) for _ in range(RESAMPLES)]
    resampled = {
        name: np.array([spearman(values[pick], grades[pick]) for pick in picks])
        for name, values in measures.items()
    }
    print(f"{len(rows)} instructions; Spearman's rank correlation with the grade")
    for name, values in measures.items():
        low, high = np.quantile(resampled[name], [0.025, 0.975])
        print(f"{name:<30}: {spearman(values, grades):+.3f}  ({low:+.3f} to {high:+.3f})")
    better = np.mean(resampled["score"] > resampled["length"])
    print(f"the score beats the length in {better:.1%} of the resamples")
    for at, grade in enumerate(GRADES):
        mine = measures["score"][grades == at]
        print(f"mean score, {grade:<28}: {mine.mean():.3f}  ({len(mine)})")


if __name__ == "__main__":
    main()
