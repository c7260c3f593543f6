"""Fits the complexity score on requests graded for this project, and says how well it ranks them.

    python benches/fit_complexity.py --words     # the lexicon; then build the extension anew
    python benches/fit_complexity.py             # fit, report
    python benches/fit_complexity.py --write     # and write rust/core/src/complexity/weights.rs

Grades are 1 (trivial: a greeting, a common fact) to 5 (expert), for what a good answer takes in
knowledge and work. They are of `complexity_examples.jsonl` (written for this) and
`complexity_grades.jsonl` (rows of the domain detector's training set). No evaluation data is read.

The lexicon gives each word of the training set the mean grade of the domains in which it is used,
shrunk towards the mean of all; graded rows are left out of it. The weights are found by ridge
regression of the score on the middles of the five levels, with signs that sense demands; then the
domains' offsets on what remains. What is reported is held out, in ten parts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cascadeflow._native import complexity_inputs
from cascadeflow.types import DOMAINS as DOMAIN_SET

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

HERE = Path(__file__).parent
ROOM = HERE.parent / "rust" / "core" / "src" / "complexity"
DOMAINS = sorted(DOMAIN_SET)
MIDDLES = np.array([0.075, 0.25, 0.475, 0.71, 0.90])
BOUNDS = np.array([0.15, 0.35, 0.60, 0.82])
# These lower the score, all others raise it; the way a word is used decides about a choice.
LOWERING = {"everyday vocabulary", "plain question", "a text is given", "a short answer will do"}
EITHER = {"multiple choice"}
# A list and an order of steps are more work, however few of the graded requests have one.
AT_LEAST = {"listed items": 0.1, "several steps": 0.1}
RIDGE = 0.3
DOMAIN_RIDGE = 2.0
PARTS = 10

# A word needs so many rows, and so much to say (in tenths of a grade), to be listed; the mean of
# all counts as so many rows of it.
LEAST_ROWS, LEAST_TENTHS, PRIOR_ROWS = 4, 2, 4


@dataclass(frozen=True, slots=True)
class Graded:
    """A request with its grade."""

    text: str
    domain: str
    grade: int
    source: str


def digest(text: str) -> str:
    """What a row of the training set is known by."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def lines(path: Path) -> list[dict[str, str]]:
    """A JSON object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def training_rows() -> dict[str, tuple[str, str]]:
    """Text and domain of the training set's rows."""
    return {
        digest(row["text"]): (row["text"], row["label"])
        for path in sorted((HERE / "domain_training").glob("*.jsonl"))
        for row in lines(path)
    }


def graded() -> list[Graded]:
    """All graded requests; rows that have left the training set are passed over."""
    rows = training_rows()
    found = [
        Graded(row["text"], row["domain"], int(row["grade"]), "examples")
        for row in lines(HERE / "complexity_examples.jsonl")
    ]
    for row in lines(HERE / "complexity_grades.jsonl"):
        if row["sha256"] in rows:
            text, domain = rows[row["sha256"]]
            found.append(Graded(text, domain, int(row["grade"]), "training set"))
    return found


def lexicon() -> str:
    """Words with their tenths of a grade, sorted."""
    known = graded()
    means = {
        domain: statistics.mean(row.grade for row in known if row.domain == domain)
        for domain in DOMAINS
    }
    skipped = {row["sha256"] for row in lines(HERE / "complexity_grades.jsonl")}
    rows = [row for key, row in training_rows().items() if key not in skipped]
    middle = statistics.mean(means[domain] for _, domain in rows)
    count: Counter[str] = Counter()
    total: defaultdict[str, float] = defaultdict(float)
    for text, domain in rows:
        for word in set(re.findall(r"[^\W\d_]+", text.lower())):
            count[word] += 1
            total[word] += means[domain] - middle
    tenths = {
        word: round(10 * total[word] / (rows_of + PRIOR_ROWS))
        for word, rows_of in count.items()
        if rows_of >= LEAST_ROWS
    }
    return "".join(
        f"{word} {value}\n"
        for word, value in sorted(tenths.items())
        if abs(value) >= LEAST_TENTHS and (len(word) > 1 or word.isascii())
    )


def score(inputs: Array, weights: Array, extra: Array) -> Array:
    """The score as Rust reckons it."""
    sums: Array = np.maximum(inputs @ weights + extra, 0.0)
    return 1.0 - np.exp(-sums)


def fit(
    inputs: Array, extra: Array, target: Array, *, bounds: tuple[Array, Array], ridge: float
) -> Array:
    """Least squares of the score with ridge and bounds, by projected gradient with momentum."""
    low, high = bounds
    weights: Array = np.clip(np.full(inputs.shape[1], 0.1), low, high)
    speed = np.zeros_like(weights)
    share = 1.0 / len(target)
    for step in range(6000):
        sums = inputs @ weights + extra
        found = 1.0 - np.exp(-np.maximum(sums, 0.0))
        # Below nothing the score is flat: a small slope leads back.
        slope = np.where(sums > 0, 1.0 - found, 0.1)
        gradient = inputs.T @ ((found - target) * slope) * share + ridge * share * weights
        speed = 0.95 * speed - (0.5 if step < 4000 else 0.1) * gradient
        weights = np.clip(weights + speed, low, high)
    return weights


@dataclass(frozen=True, slots=True)
class Model:
    """What is written."""

    weights: Array
    domains: Array

    def scores(self, inputs: Array, members: Array) -> Array:
        """Scores of requests, with a domain where `members` names one."""
        return score(inputs, self.weights, members @ self.domains)


def train(names: list[str], inputs: Array, members: Array, target: Array) -> Model:
    """Weights without the domain, then the domains' offsets on top of them."""
    low = np.array(
        [-4.0 if name in LOWERING | EITHER else AT_LEAST.get(name, 0.0) for name in names]
    )
    high = np.array([0.0 if name in LOWERING else 4.0 for name in names])
    weights = fit(inputs, np.zeros(len(target)), target, bounds=(low, high), ridge=RIDGE)
    wide = np.full(members.shape[1], 0.6)
    domains = fit(members, inputs @ weights, target, bounds=(-wide, wide), ridge=DOMAIN_RIDGE)
    return Model(weights, domains)


def ranks(values: Array) -> Array:
    """Ranks, ties sharing their mean."""
    _, place, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    shared: Array = (ends - (sizes + 1) / 2)[place]
    return shared


def spearman(a: Array, b: Array) -> float:
    """Spearman's rank correlation."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def report(rows: list[Graded], found: dict[str, Array], grades: Array) -> None:
    """Rank correlation and the levels met, held out."""
    for what, scores in found.items():
        line = [f"{what:<24}"]
        for source in ("examples", "training set"):
            of = np.array([row.source == source for row in rows])
            line.append(f"{source} {spearman(scores[of], grades[of]):+.3f}")
        level = np.searchsorted(BOUNDS, scores, side="right") + 1
        line.append(f"all {spearman(scores, grades):+.3f}")
        line.append(f"exact {np.mean(level == grades):.0%}")
        line.append(f"within one {np.mean(abs(level - grades) <= 1):.0%}")
        print(" | ".join(line))


def source(names: list[str], model: Model, count: int) -> str:
    """The Rust module."""
    weights = "".join(
        f"    {value:.3f}, // {name}\n".replace("-0.000", "0.000")
        for name, value in zip(names, model.weights, strict=True)
    )
    domains = "".join(
        f'    ("{name}", {value:.3f}),\n'
        for name, value in zip(DOMAINS, model.domains, strict=True)
    )
    return (
        "//! The weights of the score.\n//!\n"
        "//! Written by `python benches/fit_complexity.py --write`; do not edit. Fitted on "
        f"{count} requests\n//! that were graded for this project. `docs/domains.md` is their "
        "card.\n\nuse super::COUNT;\n\n"
        "/// What each input adds to the sum, in the order of [`super::INPUTS`].\n"
        f"pub(super) const WEIGHTS: [f64; COUNT] = [\n{weights}];\n\n"
        "/// What each domain adds.\n"
        f"pub(super) const DOMAINS: [(&str, f64); {len(DOMAINS)}] = [\n{domains}];\n"
    )


def main() -> None:
    """Fits, reports, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", action="store_true", help="write the lexicon and stop")
    parser.add_argument("--write", action="store_true", help="write the weights")
    asked = parser.parse_args()
    if asked.words:
        text = lexicon()
        (ROOM / "words.txt").write_text(text, encoding="utf-8")
        print(f"{text.count(chr(10))} words, {len(text.encode())} bytes")
        return
    rows = graded()
    table = [complexity_inputs(row.text) for row in rows]
    names = [name for name, _ in table[0]]
    inputs = np.array([[value for _, value in row] for row in table])
    # From words / (words + 3) to words / (words + 6), as Rust weighs the domain.
    presence = inputs[:, 0] / (2 - inputs[:, 0])
    members = np.zeros((len(rows), len(DOMAINS)))
    for place, row in enumerate(rows):
        members[place, DOMAINS.index(row.domain)] = presence[place]
    grades = np.array([float(row.grade) for row in rows])
    target = MIDDLES[grades.astype(int) - 1]
    order = np.random.default_rng(6).permutation(len(rows))
    found = {"without the domain": np.zeros(len(rows)), "with the domain": np.zeros(len(rows))}
    for part in range(PARTS):
        held = order[part::PARTS]
        rest = np.setdiff1d(order, held)
        model = train(names, inputs[rest], members[rest], target[rest])
        found["without the domain"][held] = model.scores(inputs[held], 0 * members[held])
        found["with the domain"][held] = model.scores(inputs[held], members[held])
    found["length alone"] = np.array([float(len(row.text)) for row in rows]) / 10_000
    print(f"{len(rows)} requests, held out in {PARTS} parts")
    report(rows, found, grades)
    model = train(names, inputs, members, target)
    for name, value in zip(names, model.weights, strict=True):
        print(f"{value:+.3f}  {name}")
    print({name: round(float(v), 2) for name, v in zip(DOMAINS, model.domains, strict=True)})
    if asked.write:
        (ROOM / "weights.rs").write_text(source(names, model, len(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
