"""Fits the heads of relevance and grounding and writes them into the package.

    python benches/fit_relevance.py [--vectors CACHE.npz] [--no-write]

Relevance: questions with an answer and a near miss, a text on the same subject that does not do
what was asked (`relevance_training/`); word problems with their solutions, made here; and every
answer paired with other questions; and short and long answers to all kinds of questions
(`quality_training/`). Grounding: sentences that a document supports or does not
(`grounding_training/`); the documents' own sentences; and these with a number altered. All were
written for this project. Nothing is fitted on LLMBar, GSM8K, HaluEval or QAGS; the cards say what
was seen of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from quality_rows import CachedEmbedder, auc, own

from cascadeflow._native import GROUNDING_MEASURES
from cascadeflow.models.embedding import RequestVectors
from cascadeflow.models.embedding_files import MINILM
from cascadeflow.quality import grounding, relevance

if TYPE_CHECKING:
    from quality_rows import Flags, Floats

FOLDS = 8
RIGHT = {"answer", "solution", "graded answer", "supported", "own sentence", "own words"}
"""Kinds of pairs that belong together."""
SWAPS = 4
PROBLEMS = 120
MORE_SWAPS = 6
SMALL_STEP = 1e-5


@dataclass(frozen=True, slots=True)
class Pair:
    """A question, or a document, and a text; what kind of pair; which are held out together."""

    first: str
    second: str
    kind: str
    group: int

    @property
    def right(self) -> bool:
        return self.kind in RIGHT


NAMES = ("Ana", "Bram", "Chloe", "Dev", "Emeka", "Farah", "Gita", "Hugo", "Ines", "Jonas", "Kofi")
THINGS = ("apples", "pencils", "stickers", "marbles", "tickets", "cookies", "shells", "books")
TEMPLATES = (
    """{n} has {a} {t} and buys {b} more. Then {m} gives {n} {c} {t}. How many {t} does {n} have?
{n} starts with {a} {t}. After buying {b} more there are {a} + {b} = {ab}. With the {c} from {m} \
it is {ab} + {c} = {abc}. The answer is {abc}.""",
    """A box holds {a} {t}. {n} fills {b} boxes, {m} fills {c}. How many {t} do they pack together?
Together they fill {b} + {c} = {bc} boxes. Each holds {a} {t}, so they pack {bc} x {a} = {bca}.""",
    """{n} earns {a} dollars an hour, {b} hours a day. How much does {n} earn in {c} days?
{n} earns {a} * {b} = {axb} dollars a day. In {c} days that is {axb} * {c} = {axbxc} dollars.""",
    """{n} reads {a} of {big} pages on Monday and twice as many on Tuesday. How many are left?
On Tuesday {n} reads 2 * {a} = {a2}, so {a} + {a2} = {a3} by now. {big} - {a3} = {left} remain.""",
    """{n} and {m} share {axbxc} {t} equally among {b} friends. How many {t} does each friend get?
We divide the {axbxc} {t} by {b}: {axbxc} / {b} = {axc}. Each friend gets {axc} {t}.""",
    """A train takes {a} minutes from {n}'s town to {m}'s. How long do {c} trips take?
One trip takes {a} minutes. {c} trips take {c} * {a} = {axc} minutes.""",
)
"""Each a question and, behind a line break, its solution."""


def problems() -> list[tuple[str, str]]:
    """Word problems with solutions; each template with other names, things and numbers."""
    chance, made = random.Random(7), []
    for at in range(PROBLEMS):
        n, m = chance.sample(NAMES, 2)
        a, b, c = (chance.randint(2, 40) for _ in range(3))
        big = 3 * a + chance.randint(20, 200)
        values = {
            "n": n, "m": m, "t": chance.choice(THINGS), "a": a, "b": b, "c": c, "ab": a + b,
            "abc": a + b + c, "bc": b + c, "bca": (b + c) * a, "axb": a * b, "axbxc": a * b * c,
            "axc": a * c, "a2": 2 * a, "a3": 3 * a, "big": big, "left": big - 3 * a,
        }  # fmt: skip
        question, answer = TEMPLATES[at % len(TEMPLATES)].format(**values).split("\n")
        made.append((question, answer))
    return made


def relevance_pairs() -> list[Pair]:
    chance = random.Random(3)
    rows, found = own("relevance_training"), []
    for at, row in enumerate(rows):
        found.append(Pair(row["question"], row["answer"], "answer", at))
        found.append(Pair(row["question"], row["near_miss"], "near miss", at))
        others = [other for other in rows if other is not row]
        for other in chance.sample(others, SWAPS):
            text = other[chance.choice(("answer", "near_miss"))]
            found.append(Pair(row["question"], text, "swapped", at))
    made = problems()
    for at, (question, answer) in enumerate(made):
        group = len(rows) + at
        found.append(Pair(question, answer, "solution", group))
        alike = [
            made[k][1] for k in range(at % len(TEMPLATES), len(made), len(TEMPLATES)) if k != at
        ]
        found.append(Pair(question, chance.choice(alike), "solution of its like", group))
        found.append(Pair(question, chance.choice(made)[1], "swapped solution", group))
    found += graded_pairs(len(rows) + len(made))
    right = [pair for pair in found if pair.right]
    for pair in right:
        for other in chance.sample(right, MORE_SWAPS):
            if other.group != pair.group:
                found.append(Pair(pair.first, other.second, "swapped at random", pair.group))
    return found


def graded_pairs(first: int) -> list[Pair]:
    """Right answers, many of them bare results, and answers to other questions of their kind."""
    chance, rows = random.Random(1), own("quality_training")
    groups = {name: first + at for at, name in enumerate(dict.fromkeys(r["group"] for r in rows))}
    found = []
    for row in rows:
        group = groups[row["group"]]
        if row["right"]:
            found.append(Pair(row["q"], row["a"], "graded answer", group))
        others = [each for each in rows if each["group"] != row["group"]]
        alike = [each for each in others if each["kind"] == row["kind"]]
        swapped = (chance.choice(others), chance.choice(alike))
        found += [Pair(row["q"], other["a"], "graded swapped", group) for other in swapped]
    return found


def grounding_pairs() -> list[Pair]:
    chance = random.Random(5)
    rows, found = own("grounding_training"), []
    documents = list(dict.fromkeys(row["document"] for row in rows))
    for row in rows:
        kind = "supported" if row["supported"] else "unsupported"
        group = documents.index(row["document"])
        found.append(Pair(row["document"], row["sentence"], kind, group))
    for group, document in enumerate(documents):
        others = [each for each in documents if each != document]
        mine = sentences(document)
        made = [(each, "own sentence") for each in chance.sample(mine, 2)]
        numbered = [each for each in mine if re.search(r"\d", each)]
        made += [(altered(each, chance), "number altered") for each in numbered[:2]]
        made += [(replaced(each, chance.choice(others), chance), "words replaced")
                 for each in chance.sample(mine, 3)]  # fmt: skip
        made += [(span(document, chance), "own words") for _ in range(4)]
        made += [(span(chance.choice(others), chance), "words of another") for _ in range(4)]
        other = chance.choice([row for row in rows if row["document"] != document])
        made.append((other["sentence"], "of another document"))
        found += [Pair(document, text, kind, group) for text, kind in made]
    return found


def span(document: str, chance: random.Random) -> str:
    """One to four words in a row, as a short answer has them."""
    words = chance.choice(sentences(document)).split()
    size = chance.randint(1, 4)
    at = chance.randrange(max(1, len(words) - size))
    return " ".join(words[at : at + size]).strip(",;:.()")


def replaced(sentence: str, other: str, chance: random.Random) -> str:
    """A sentence with one to three of its longer words taken from another document."""
    words, theirs = sentence.split(), [each for each in other.split() if len(each) > 5]
    places = [at for at, word in enumerate(words) if len(word) > 4] or [len(words) - 1]
    for at in chance.sample(places, min(len(places), chance.randint(1, 3))):
        words[at] = chance.choice(theirs).strip(".,")
    return " ".join(words)


def sentences(text: str) -> list[str]:
    return [each.strip() for each in re.split(r"(?<=[.!?])\s+|\n", text) if len(each.split()) > 4]


def altered(sentence: str, chance: random.Random) -> str:
    numbers = list(re.finditer(r"\d+", sentence))
    place = chance.choice(numbers)
    other = str(int(place.group()) + chance.choice((1, 2, 5, 10, 30)))
    return sentence[: place.start()] + other + sentence[place.end() :]


def fit(
    inputs: Floats, right: Flags, weights: Floats, ridge: float | Floats, signs: Floats
) -> tuple[Floats, float]:
    """Ridge logistic regression by Newton's method, with signs that weights must have.

    The ridge is one for all, or one for each input. A sign of 0 is any, NaN leaves the input out.
    What comes out with the wrong sign is left out, and the rest is fitted anew.
    """
    weights = weights / weights.sum()
    centre, spread = inputs.mean(0), inputs.std(0) + 1e-6
    kept = (inputs.std(0) > 1e-6) & ~np.isnan(signs)
    while True:
        scaled = np.column_stack([(inputs - centre)[:, kept] / spread[kept], np.ones(len(inputs))])
        penalty = np.append(np.broadcast_to(ridge, len(kept))[kept], 0.0)
        found = np.zeros(scaled.shape[1])
        for _ in range(60):
            shares = 1 / (1 + np.exp(-np.clip(scaled @ found, -30, 30)))
            slope = scaled.T @ (weights * (shares - right)) + penalty * found
            curve = (scaled.T * (weights * shares * (1 - shares))) @ scaled + np.diag(penalty)
            step = np.linalg.solve(curve + 1e-9 * np.eye(len(found)), slope)
            found -= step
            if np.abs(step).max() < SMALL_STEP:
                break
        wrong = found[:-1] * signs[kept]
        if (wrong >= 0).all():
            plain = np.zeros(len(kept))
            plain[kept] = found[:-1] / spread[kept]
            return plain, float(found[-1] - plain @ centre)
        kept[np.flatnonzero(kept)[wrong.argmin()]] = False


def held_out(
    inputs: Floats, pairs: list[Pair], weights: Floats, ridge: float | Floats, signs: Floats
) -> Floats:
    right = np.array([pair.right for pair in pairs])
    folds = np.array([pair.group % FOLDS for pair in pairs])
    scores = np.zeros(len(pairs))
    for fold in range(FOLDS):
        kept = folds != fold
        found, bias = fit(inputs[kept], right[kept], weights[kept], ridge, signs)
        scores[~kept] = inputs[~kept] @ found + bias
    return scores


def report(name: str, pairs: list[Pair], scores: Floats) -> None:
    right = np.array([pair.right for pair in pairs])
    kinds = np.array([pair.kind for pair in pairs])
    shares = 1 / (1 + np.exp(-scores))
    print(f"{name}: {len(pairs)} rows, AUC held out {auc(right, scores):.3f}")
    for kind in dict.fromkeys(kinds.tolist()):
        part = kinds == kind
        line = f"  {kind:22}{part.sum():5}  mean {shares[part].mean():.2f}"
        if not right[part][0]:
            line += f"  AUC against right ones {auc(right[part | right], scores[part | right]):.3f}"
        print(f"{line}  below 0.5: {(shares[part] < 0.5).mean():.1%}")


def best_ridge(inputs: Floats, pairs: list[Pair], weights: Floats, signs: Floats) -> float:
    """The ridge under which held-out rows are likeliest."""
    right = np.array([pair.right for pair in pairs])

    def loss(ridge: float) -> float:
        scores = held_out(inputs, pairs, weights, ridge, signs)
        return float((weights * np.logaddexp(0, np.where(right, -scores, scores))).sum())

    return min((1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1), key=loss)


def balanced(pairs: list[Pair], shares: dict[str, float]) -> Floats:
    kinds = [pair.kind for pair in pairs]
    return np.array([shares[kind] / kinds.count(kind) for kind in kinds]) * len(pairs)


def write(path: Path, head: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(head)
    print(f"{path.stat().st_size:,} bytes in {path.name}")


RELEVANCE_SIGNS = {
    "has numbers to share": 0, "has names to share": 0, "question's length": 0,
    "answer's length": 0, relevance.IN_WORDS: 0, "number asked and lacking": -1,
    "code on one side only": -1, "other script": -1,
}  # fmt: skip
"""What may weigh against an answer; all else speaks for it or not at all."""

GROUNDING_SHARES = {
    "supported": 0.3, "own sentence": 0.08, "own words": 0.12, "unsupported": 0.24,
    "number altered": 0.06, "words replaced": 0.1, "words of another": 0.07,
    "of another document": 0.03,
}  # fmt: skip
GROUNDING_SIGNS = {
    "known anywhere": 1, "known in the best sentence": 1, "known around it": 1,
    "word pairs known": 1, "longest run": 1, "cosine": 1, "inner cosine": 1,
}  # fmt: skip
"""What may speak for a sentence; all else speaks against it or not at all."""
SILENT = ("length",)
"""What is no evidence either way, whatever it is worth on rows made as these are."""


@dataclass(frozen=True, slots=True)
class Task:
    """One head to fit: its rows, what it reads of them, and how they weigh."""

    name: str
    pairs: list[Pair]
    inputs: Floats
    names: tuple[str, ...]
    weights: Floats
    signs: Floats

    def fitted(self) -> dict[str, object]:
        """The weights by name and the intercept, after a report on held-out rows."""
        ridge = best_ridge(self.inputs, self.pairs, self.weights, self.signs)
        scores = held_out(self.inputs, self.pairs, self.weights, ridge, self.signs)
        report(f"{self.name}, ridge {ridge}", self.pairs, scores)
        right = np.array([pair.right for pair in self.pairs])
        found, bias = fit(self.inputs, right, self.weights, ridge, self.signs)
        found = found.round(4)
        named = zip(self.names, found.tolist(), strict=True)
        weights = {name: weight for name, weight in named if weight}
        print(f"  {weights}, intercept {bias:.3f}")
        return {"weights": weights, "bias": round(bias, 4)}


def relevance_head(embedder: CachedEmbedder) -> bytes:
    """The weights of what has a name, and of the layered vectors' products, fitted together."""
    pairs, names = relevance_pairs(), relevance.INPUTS

    async def read() -> tuple[Floats, Floats]:
        rows = [
            await relevance.relevance_inputs(pair.first, pair.second, RequestVectors(embedder))
            for pair in pairs
        ]
        products = np.array([np.multiply(row.asked, row.said) for row in rows], np.float32)
        return np.array([row.named for row in rows]), products

    named, products = asyncio.run(read())
    right = np.array([pair.right for pair in pairs])
    weights = np.where(right, 0.5 / right.mean(), 0.5 / (1 - right.mean()))
    # What may not speak as it does is left out by itself first: with the products it takes minutes.
    signs = np.array([RELEVANCE_SIGNS.get(name, 1) for name in names])
    alone, _ = fit(named, right, weights, 1e-3, signs)
    inputs = np.column_stack([named, products])
    signs = np.concatenate([np.where(alone == 0, np.nan, 0), np.zeros(products.shape[1])])
    few = np.arange(inputs.shape[1]) < len(names)
    ridges = [np.where(few, 1e-3, heavy) for heavy in (0.03, 0.06, 0.12, 0.24)]

    def loss(ridge: Floats) -> float:
        scores = held_out(inputs, pairs, weights, ridge, signs)
        return float((weights * np.logaddexp(0, np.where(right, -scores, scores))).sum())

    ridge = min(ridges, key=loss)
    report(
        f"relevance, ridge {ridge[0]} and {ridge[-1]}",
        pairs,
        held_out(inputs, pairs, weights, ridge, signs),
    )
    found, bias = fit(inputs, right, weights, ridge, signs)
    numbers = found[len(names) :].astype("<f2")
    given = zip(names, found[: len(names)].round(4).tolist(), strict=True)
    header = {
        "format": relevance.FORMAT,
        "model": MINILM,
        "weights": {name: weight for name, weight in given if weight},
        "bias": round(bias, 4),
        "products": len(numbers),
    }
    print(f"  {header}")
    return json.dumps(header).encode() + b"\n" + numbers.tobytes()


def grounding_head(embedder: CachedEmbedder) -> bytes:
    width = len(grounding.INPUTS)

    async def read(pair: Pair) -> list[float]:
        claims = await grounding.claims_of([pair.first], pair.second)
        # A sentence is one claim; what is cut in two is taken by its worse half.
        vectors = RequestVectors(embedder)
        rows = [await grounding.grounding_inputs(claim, vectors) for claim in claims]
        return min(rows, key=lambda row: row[0]) if rows else [0.0] * width

    async def read_all(pairs: list[Pair]) -> Floats:
        return np.array([await read(pair) for pair in pairs])

    pairs = grounding_pairs()
    inputs, weights = asyncio.run(read_all(pairs)), balanced(pairs, GROUNDING_SHARES)
    heads = {}
    for name, cosines in (("counted", ()), ("compared", grounding.COSINES)):
        names = (*GROUNDING_MEASURES, *cosines)
        signs = np.array(
            [np.nan if each in SILENT else GROUNDING_SIGNS.get(each, -1) for each in names]
        )
        read_of = inputs[:, : len(names)]
        task = Task(f"grounding, {name}", pairs, read_of, names, weights, signs)
        heads[name] = task.fitted()
    head = {"format": grounding.FORMAT, "model": MINILM, **heads}
    return json.dumps(head).encode() + b"\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--vectors", type=Path, help="an .npz that vectors are kept in")
    parser.add_argument("--no-write", action="store_true", help="fit and report only")
    options = parser.parse_args()
    embedder = CachedEmbedder(options.vectors)
    heads = {
        relevance.HEAD: relevance_head(embedder),
        grounding.HEAD: grounding_head(embedder),
    }
    embedder.save()
    if not options.no_write:
        for path, head in heads.items():
            write(path, head)


if __name__ == "__main__":
    main()
