"""What the domain detector stands beside, fitted on the very rows that it may be fitted on.

    python benches/domain_baselines.py [--vectors CACHE.npz]

TF-IDF (words and pairs of words) with logistic regression, and MiniLM's vectors with logistic
regression, on the project's own training set and the permitted public rows. Both in numpy, so that
nothing is needed for a comparison; the regression is full-batch with a quadratic penalty, which
`PENALTIES` tries and the best of which, on the held-out public sources, is taken.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from domain_head import labels_of, probabilities, weights_of
from domain_rows import LABELS, OWN, Floats, Row, evaluation_rows, own_rows, permitted_rows, vectors
from fit_domains import evaluated

if TYPE_CHECKING:
    from numpy.typing import NDArray

BUCKETS = 20_000
"""Words and pairs that are looked at, the most frequent first."""

PENALTIES = (3e-6, 3e-5, 3e-4)
STEPS = 250


def terms(text: str) -> list[str]:
    words = re.findall(r"\w\w+", text.lower())
    return words + [f"{first} {second}" for first, second in pairwise(words)]


class Sparse:
    """Rows of few numbers: (row, column, value) by row."""

    def __init__(self, texts: list[str], vocabulary: dict[str, int], rarity: Floats) -> None:
        rows, columns, values = [], [], []
        for at, text in enumerate(texts):
            held = Counter([vocabulary[term] for term in terms(text) if term in vocabulary])
            if not held:
                continue
            places = np.fromiter(held, np.int64)
            weights = (1 + np.log(np.fromiter(held.values(), np.float64))) * rarity[places]
            rows.append(np.full(len(places), at))
            columns.append(places)
            values.append(weights / np.linalg.norm(weights))
        self.shape = (len(texts), len(vocabulary))
        self.rows = np.concatenate(rows)
        self.columns = np.concatenate(columns)
        self.values = np.concatenate(values)

    def times(self, matrix: Floats) -> Floats:
        found = np.empty((self.shape[0], matrix.shape[1]), np.float32)
        for column in range(matrix.shape[1]):
            parts = self.values * matrix[self.columns, column]
            found[:, column] = np.bincount(self.rows, parts, self.shape[0])
        return found

    def turned_times(self, matrix: Floats) -> Floats:
        found = np.empty((self.shape[1], matrix.shape[1]), np.float32)
        for column in range(matrix.shape[1]):
            parts = self.values * matrix[self.rows, column]
            found[:, column] = np.bincount(self.columns, parts, self.shape[1])
        return found


class Dense:
    """The same two products of an ordinary matrix."""

    def __init__(self, numbers: Floats) -> None:
        self.numbers = numbers
        self.shape = numbers.shape

    def times(self, matrix: Floats) -> Floats:
        found: Floats = self.numbers @ matrix
        return found

    def turned_times(self, matrix: Floats) -> Floats:
        found: Floats = self.numbers.T @ matrix
        return found


def logistic(inputs: Sparse | Dense, rows: list[Row], penalty: float) -> tuple[Floats, Floats]:
    """Softmax regression by Adam on all rows at once."""
    labels, weights = labels_of(rows), weights_of(rows)
    weights = weights / weights.sum()
    target = np.eye(len(LABELS), dtype=np.float32)[labels]
    values = [
        np.zeros((inputs.shape[1], len(LABELS)), np.float32),
        np.zeros(len(LABELS), np.float32),
    ]
    first = [np.zeros_like(value) for value in values]
    second = [np.zeros_like(value) for value in values]
    for step in range(1, STEPS + 1):
        error = (probabilities(inputs.times(values[0]) + values[1]) - target) * weights[:, None]
        slopes = [inputs.turned_times(error) + penalty * values[0], error.sum(0)]
        for place, slope in enumerate(slopes):
            first[place] = 0.9 * first[place] + 0.1 * slope
            second[place] = 0.999 * second[place] + 0.001 * slope * slope
            move = (first[place] / (1 - 0.9**step)) / (
                np.sqrt(second[place] / (1 - 0.999**step)) + 1e-10
            )
            values[place] -= (0.1 * (1 - step / (STEPS + 1)) * move).astype(np.float32)
    return values[0], values[1]


def words_of(texts: list[str]) -> tuple[dict[str, int], Floats]:
    """The most frequent terms, and how rare each is."""
    seen = Counter([term for text in texts for term in set(terms(text))])
    kept = [(term, count) for term, count in seen.most_common(BUCKETS) if count > 1]
    rarity = np.log((1 + len(texts)) / (1 + np.array([count for _, count in kept]))) + 1
    return {term: at for at, (term, _) in enumerate(kept)}, rarity.astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--vectors", type=Path, help="an .npz that vectors are kept in")
    options = parser.parse_args()
    rows, judged = own_rows() + permitted_rows(), evaluation_rows()
    texts = [row.text for row in rows]
    all_vectors = vectors(texts + [row.text for row in judged], options.vectors)
    own = np.array([row.family == OWN for row in rows])

    def prepared(
        name: str, kept: NDArray[np.bool_], asked: list[Row]
    ) -> tuple[Sparse | Dense, Sparse | Dense]:
        if name == "TF-IDF":
            ours = [text for text, keep in zip(texts, kept, strict=True) if keep]
            vocabulary, rarity = words_of(ours)
            fitted = Sparse(ours, vocabulary, rarity)
            return fitted, Sparse([row.text for row in asked], vocabulary, rarity)
        known = all_vectors[: len(rows)]
        theirs = all_vectors[len(rows) :] if asked is judged else known[~kept]
        return Dense(known[kept]), Dense(theirs)

    everything = np.ones(len(rows), bool)
    ours = [row for row, mine in zip(rows, own, strict=True) if mine]
    public = [row for row, mine in zip(rows, own, strict=True) if not mine]
    print("| baseline | rows | n | accuracy | macro recall | ECE |\n|---|---|---|---|---|---|")
    for name in ("TF-IDF", "MiniLM"):
        fitted, asked = prepared(name, own, public)
        tried = []
        for penalty in PENALTIES:
            weights, bias = logistic(fitted, ours, penalty)
            held = evaluated(public, probabilities(asked.times(weights) + bias))
            tried.append((held.macro_recall or 0.0, penalty))
        penalty = max(tried)[1]
        fitted, asked = prepared(name, everything, judged)
        weights, bias = logistic(fitted, rows, penalty)
        shares = probabilities(asked.times(weights) + bias)
        for split in ("test", "unseen_source"):
            places = [at for at, row in enumerate(judged) if row.split == split]
            result = evaluated([judged[at] for at in places], shares[places])
            print(
                f"| {name} + logistic regression ({penalty:g}) "
                f"| `{split}` | {result.rows.rows:,} | "
                f"{result.accuracy:.1%} | {result.macro_recall or 0:.1%} | {result.ece or 0:.3f} |"
            )
        told = ", ".join(f"{label} {count.share:.0%}" for label, count in result.by_label.items())
        print(f"| | by label, `unseen_source` | | {told} | | |")


if __name__ == "__main__":
    main()
