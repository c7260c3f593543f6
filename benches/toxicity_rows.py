"""The rows that the toxicity head is fitted on, with their vectors and n-grams.

The project's own set (`toxicity_training/`), a part of davidson's tweets (MIT), and requests of
`domain_training/`, none of which is toxic. Every other set of `toxicity/` is for judging only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from quality_rows import digest, own, read

from cascadeflow._native import ngram_features

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from quality_rows import Floats

OWN = "own"
TWEETS = "davidson"
REQUESTS = "requests"

TWEETS_TAKEN = {"hate": 1430, "offensive": 5000, "neither": 4163}
"""How many tweets of a class are used: nine in ten of the 19,190 `offensive` ones hold one of a
few words, and say the same."""
REQUESTS_TAKEN = 2000
"""How many English requests are used; of those in other languages, all."""
HELD_OUT = 5
"""One tweet in five is held out, and judges."""


@dataclass(frozen=True, slots=True)
class Row:
    """A text, whether it is toxic, where it is from, and what kind it is."""

    text: str
    toxic: bool
    source: str
    kind: str
    lang: str = "en"
    held_out: bool = False


def own_rows() -> list[Row]:
    """The project's own set."""
    return [
        Row(row["text"], bool(row["toxic"]), OWN, row["kind"], row["lang"])
        for row in own("toxicity_training")
    ]


def tweet_rows() -> list[Row]:
    """Davidson's tweets: `hate` and `offensive` count as toxic."""
    rows, taken = [], dict.fromkeys(TWEETS_TAKEN, 0)
    for row in sorted(read("toxicity/davidson"), key=lambda row: digest(row["text"])):
        kind = row["class"]
        if taken[kind] < TWEETS_TAKEN[kind]:
            taken[kind] += 1
            held = taken[kind] % HELD_OUT == 0
            rows.append(Row(row["text"], kind != "neither", TWEETS, kind, held_out=held))
    return rows


def request_rows() -> list[Row]:
    """Requests people make of a model, none toxic, many in other languages."""
    found = {
        row["text"]: Row(
            row["text"][:1000], toxic=False, source=REQUESTS, kind=row["label"], lang=row["lang"]
        )
        for row in own("domain_training")
    }
    ordered = sorted(found.values(), key=lambda row: digest(row.text))
    english = [row for row in ordered if row.lang == "en"]
    return english[:REQUESTS_TAKEN] + [row for row in ordered if row.lang != "en"]


@dataclass(frozen=True, slots=True)
class Sparse:
    """N-gram features of rows, one after another: the bucket of each, and where a row begins."""

    buckets: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @staticmethod
    def of(texts: list[str], size: int) -> Sparse:
        held = [np.array(ngram_features(text), np.uint64) for text in texts]
        lengths = np.array([len(each) for each in held], np.int64)
        joined = np.concatenate(held) & np.uint64(size - 1)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        return Sparse(joined.astype(np.int64), starts, lengths)

    def part(self, keep: NDArray[np.bool_]) -> Sparse:
        mask = np.repeat(keep, self.lengths)
        lengths = self.lengths[keep]
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        return Sparse(self.buckets[mask], starts, lengths)

    def scores(self, weights: Floats, bias: float) -> Floats:
        sums = np.add.reduceat(np.append(weights[self.buckets], 0), self.starts)
        sums[self.lengths == 0] = 0
        found: Floats = bias + sums / np.sqrt(np.maximum(self.lengths, 1))
        return found
