"""Fits the weights of the quality probability and says how good it is.

    python benches/fit_quality.py            # fit, report
    python benches/fit_quality.py --write    # and write rust/core/src/quality/weights.rs

Fitted on the answers that were graded for this project (`quality_training/`, Apache-2.0) by ridge
logistic regression. A right answer weighs as its question's `p`, the share of small models that get
it right, a wrong one as the rest: each question then counts once, and as hard as it is. Nothing may
speak for an answer: a measure whose weight comes out positive is left out. Faults that hardly any
answer has, or that show for certain, get weights set by hand, `PRIORS`; so does the logit of an
answer with no fault, `FAULTLESS`: how many drafts are right depends on who drafts. The ridge is the
one under which questions held out are likeliest.

Reported on recorded answers of real models with known correctness, which no weight has seen
(`cascade/zeroeval_gsm8k`, `cascade/zeroeval_crux`, `cascade/routellm_gsm8k` under
`CASCADEFLOW_DATA`).
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cascadeflow._native import judge_answer, quality_weights
from cascadeflow.config import QualityConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "rust" / "core" / "src" / "quality" / "weights.rs"

# By hand: a check that fails (a badness of one half and more) rejects an otherwise faultless answer
# at the default threshold, one that only finds fault does not.
PRIORS = {
    "wrong_arithmetic": -4.0,
    "final_unsupported": -3.0,
    "not_last_result": -0.5,
    "impossible_count": -2.0,
    "self_correction": -2.0,
    "hedging": -3.8,
    "repetition": -3.8,
    "truncated": -3.8,
    "off_topic": -3.8,
    "format": -3.8,
    "refusal": -3.8,
    "constraints": -3.8,
    "wrong_language": -3.8,
    "wrong_units": -3.8,
    "broken_code": -3.8,
}
FAULTLESS = 2.5
RIDGES = (0.03, 0.1, 0.3, 1.0)
PARTS = 5

# The cheap model's answer costs this share of the dear one's, as measured over all rows.
PAIRS = {
    "GSM8K gpt-4o-mini → gpt-4o": (
        "gsm8k", "gpt-4o-mini-2024-07-18", "gpt-4o-2024-05-13", 0.039),
    "GSM8K claude-3-haiku → claude-3-5-sonnet": (
        "gsm8k", "claude-3-haiku-20240307", "claude-3-5-sonnet-20241022", 0.115),
    "GSM8K Mixtral-8x7B → GPT-4": (
        "gsm8k", "mixtral-8x7b-instruct-v0.1", "gpt-4-1106-preview", 0.009),
    "CRUX gpt-4o-mini → gpt-4o": (
        "crux", "gpt-4o-mini-2024-07-18", "gpt-4o-2024-05-13", 0.049),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One answer: recorded, or graded for this project (its group is then its question)."""

    task: str
    model: str
    question: str
    features: tuple[float, ...]
    right: bool
    weight: float = 1.0

    @property
    def part(self) -> int:
        """Which fifth of the questions this is one of; stable across runs."""
        return zlib.crc32(self.question.encode()) % PARTS


def read_own() -> list[Row]:
    """Reads the answers that were graded for this project."""
    given = [
        json.loads(line)
        for path in sorted((ROOT / "benches" / "quality_training").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    alike = Counter((row["group"], row["right"]) for row in given)
    rows = []
    for row in given:
        share = row["p"] if row["right"] else 1.0 - row["p"]
        features = judge_answer(row["q"], row["a"], finish_reason="stop")[3]
        weight = share / alike[row["group"], row["right"]]
        rows.append(Row(row["kind"], "", row["group"], tuple(features), row["right"], weight))
    return rows


def read_recorded() -> list[Row]:
    """Reads the recorded answers and takes their features."""
    folder = Path(os.environ.get("CASCADEFLOW_DATA", ROOT.parent / "shared" / "data")) / "cascade"

    def lines(name: str) -> Iterable[dict[str, object]]:
        with gzip.open(folder / f"{name}.jsonl.gz", "rt") as file:
            yield from map(json.loads, file)

    def row(task: str, model: str, question: str, answer: str, right: object) -> Row:
        features = judge_answer(question, answer)[3]
        return Row(task, model, question, tuple(features), bool(right))

    rows = []
    for task in ("gsm8k", "crux"):
        for line in lines(f"zeroeval_{task}"):
            for model, given in line["models"].items():
                answer = given["output"]
                rows.append(row(task, model, line["question"], answer, given["correct"]))
    for line in lines("routellm_gsm8k"):
        for kind in ("cheap", "exp"):
            answer, right = line[f"{kind}_response"], line[f"{kind}_correct"]
            rows.append(row("gsm8k", line[f"{kind}_model"], line["prompt"], answer, right))
    return rows


def solve(matrix: list[list[float]], vector: list[float]) -> list[float]:
    """Solves a small symmetric positive definite system by elimination."""
    size = len(vector)
    rows = [[*line, value] for line, value in zip(matrix, vector, strict=True)]
    for at in range(size):
        for below in range(at + 1, size):
            factor = rows[below][at] / rows[at][at]
            if factor:
                for column in range(at, size + 1):
                    rows[below][column] -= factor * rows[at][column]
    out = [0.0] * size
    for at in reversed(range(size)):
        known = sum(rows[at][column] * out[column] for column in range(at + 1, size))
        out[at] = (rows[at][size] - known) / rows[at][at]
    return out


def sigmoid(value: float) -> float:
    """1 / (1 + e^-value), without overflow."""
    if value < 0:
        return math.exp(value) / (1.0 + math.exp(value))
    return 1.0 / (1.0 + math.exp(-value))


class Fit:
    """An intercept and a weight for each feature."""

    def __init__(self, names: Sequence[str], rows: Sequence[Row], ridge: float) -> None:
        """Fits by Newton's method; the features in `PRIORS` keep their weights."""
        fixed = [(at, PRIORS[name]) for at, name in enumerate(names) if name in PRIORS]
        free = [at for at, name in enumerate(names) if name not in PRIORS]
        offsets = [sum(row.features[at] * weight for at, weight in fixed) for row in rows]
        while True:
            beta = self._newton(rows, free, offsets, ridge)
            worst = max(zip(beta[1:], free, strict=True), default=(0.0, 0))
            if worst[0] <= 0:
                break
            free.remove(worst[1])
        fitted = {names[at]: weight for at, weight in zip(free, beta[1:], strict=True)}
        self.names = names
        self.intercept = beta[0]
        self.weights = [round(fitted.get(name, PRIORS.get(name, 0.0)), 3) for name in names]

    @staticmethod
    def _newton(
        rows: Sequence[Row], free: Sequence[int], offsets: Sequence[float], ridge: float
    ) -> list[float]:
        beta = [0.0] * (len(free) + 1)
        inputs = [[1.0, *(row.features[at] for at in free)] for row in rows]
        for _ in range(30):
            gradient = [0.0, *(-ridge * value for value in beta[1:])]
            hessian = [
                [ridge * (a == b) * (a > 0) for b in range(len(beta))] for a in range(len(beta))
            ]
            for row, line, offset in zip(rows, inputs, offsets, strict=True):
                guess = sigmoid(offset + sum(b * x for b, x in zip(beta, line, strict=True)))
                slope = row.weight * (row.right - guess)
                curve = row.weight * guess * (1.0 - guess)
                for a, x in enumerate(line):
                    if x:
                        gradient[a] += slope * x
                        for b in range(a + 1):
                            hessian[a][b] += curve * x * line[b]
            for a in range(len(beta)):
                for b in range(a):
                    hessian[b][a] = hessian[a][b]
            step = solve(hessian, gradient)
            beta = [b + s for b, s in zip(beta, step, strict=True)]
            if max(map(abs, step)) < 1e-6:
                break
        return beta

    def probability(self, row: Row, intercept: float = FAULTLESS) -> float:
        """The probability that the answer is right."""
        terms = zip(self.weights, row.features, strict=True)
        return sigmoid(intercept + sum(w * x for w, x in terms))


def held_out(names: Sequence[str], rows: Sequence[Row], ridge: float) -> list[float]:
    """Predicts each row by a fit that saw no answer to the same question."""
    fits = [Fit(names, [row for row in rows if row.part != at], ridge) for at in range(PARTS)]
    return [fits[row.part].probability(row, fits[row.part].intercept) for row in rows]


def log_loss(scores: Sequence[float], rows: Sequence[Row]) -> float:
    """The mean weighted negative log-likelihood."""
    terms = (
        -row.weight * math.log(score if row.right else 1.0 - score)
        for score, row in zip(scores, rows, strict=True)
    )
    return sum(terms) / sum(row.weight for row in rows)


def auc(scores: Sequence[float], right: Sequence[bool]) -> float:
    """The chance that a right answer scores higher than a wrong one; ties count one half."""
    order = sorted(zip(scores, right, strict=True))
    positives = sum(right)
    negatives = len(order) - positives
    rank_sum, at = 0.0, 0
    while at < len(order):
        end = at
        while end < len(order) and order[end][0] == order[at][0]:
            end += 1
        rank_sum += (at + end + 1) / 2 * sum(is_right for _, is_right in order[at:end])
        at = end
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def calibration_error(scores: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error over bins of equal count."""
    order = sorted(zip(scores, right, strict=True))
    total = 0.0
    for at in range(bins):
        part = order[len(order) * at // bins : len(order) * (at + 1) // bins]
        total += abs(sum(score - is_right for score, is_right in part))
    return total / len(order)


@dataclass(frozen=True, slots=True)
class Cascade:
    """What a pair's cascade does at a threshold."""

    accepted: float
    right_accepted: float
    right_refused: float
    saved: float
    kept: float
    kept_by_lot: float


def cascade(rows: Sequence[Row], scores: Sequence[float], pair: str, at: float) -> Cascade:
    """Plays a pair: drafts at or above the threshold stand, the others go to the dear model."""
    task, cheap, dear, ratio = PAIRS[pair]
    drafts = {
        row.question: (score, row.right)
        for row, score in zip(rows, scores, strict=True)
        if (row.task, row.model) == (task, cheap)
    }
    verified = {row.question: row.right for row in rows if (row.task, row.model) == (task, dear)}
    accepted = [good for score, good in drafts.values() if score >= at]
    refused = [good for score, good in drafts.values() if score < at]
    share = len(accepted) / len(drafts)
    best = sum(verified.values())
    right = sum(good if score >= at else verified[q] for q, (score, good) in drafts.items())
    by_lot = share * (sum(accepted) + sum(refused)) + (1 - share) * best
    mean = [sum(part) / len(part) if part else math.nan for part in (accepted, refused)]
    return Cascade(share, mean[0], mean[1], share - ratio, right / best, by_lot / best)


def report(rows: Sequence[Row], scores: list[float], at: float) -> None:
    """Prints what the predictions of recorded answers are worth, with acceptance at `at`."""
    print(f"\n{'recorded answers of':44} {'right':>6} {'AUC':>6} {'ECE':>6}")
    for task in ("gsm8k", "crux"):
        found = []
        for model in sorted({row.model for row in rows if row.task == task}):
            mine = [i for i, row in enumerate(rows) if (row.task, row.model) == (task, model)]
            right, held = [rows[i].right for i in mine], [scores[i] for i in mine]
            found.append(auc(held, right))
            print(f"{f'{task} {model}':44} {sum(right) / len(right):6.3f} {found[-1]:6.3f} "
                  f"{calibration_error(held, right):6.3f}")  # fmt: skip
        mine = [i for i, row in enumerate(rows) if row.task == task]
        right = [rows[i].right for i in mine]
        error = calibration_error([scores[i] for i in mine], right)
        label = f"{task}, mean AUC within models; ECE pooled"
        mean = sum(found) / len(found)
        print(f"{label:44} {sum(right) / len(right):6.3f} {mean:6.3f} {error:6.3f}")
    print(f"\nat threshold {at}; random: as many escalated by lot")
    heads = "accept  right   rest  saved   kept  random"
    print(f"{'pair':44}  {heads}")
    for pair in PAIRS:
        c = cascade(rows, scores, pair, at)
        print(f"{pair:44} {c.accepted:7.3f} {c.right_accepted:6.3f} {c.right_refused:6.3f} "
              f"{c.saved:6.3f} {c.kept:6.3f} {c.kept_by_lot:7.3f}")  # fmt: skip


def write(fit: Fit, rows: Sequence[Row]) -> None:
    """Writes the weights where the Rust side reads them."""
    head = f"""//! The weights of the probability, one for each feature.
//!
//! Written by `python benches/fit_quality.py --write`; do not edit. Fitted on {len(rows)} answers
//! that were graded for this project; the intercept and weights marked *prior* are set by hand
//! there. `docs/quality.md` is their card.

use super::features::COUNT;

/// The logit of an answer of which nothing is known to be wrong.
pub const INTERCEPT: f64 = {FAULTLESS:.3f};

/// What each feature adds to the logit, in the order of [`super::features::NAMES`].
pub const WEIGHTS: [f64; COUNT] = ["""
    lines = head.splitlines()
    for name, weight in zip(fit.names, fit.weights, strict=True):
        prior = ", prior" if name in PRIORS else ""
        lines += [f"    {f'{weight:.3f},':7} // {name}{prior}"]
    WEIGHTS.write_text("\n".join([*lines, "];", ""]))


def main() -> None:
    """Fits, reports, and writes when asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the weights into the Rust side")
    parser.add_argument("--threshold", type=float, default=None, help="report acceptance at this")
    options = parser.parse_args()
    rows = read_own()
    names, committed_intercept, committed = quality_weights()
    losses = {ridge: log_loss(held_out(names, rows, ridge), rows) for ridge in RIDGES}
    ridge = min(losses, key=lambda each: losses[each])
    fit = Fit(names, rows, ridge)
    told = ", ".join(f"{each}: {loss:.4f}" for each, loss in losses.items())
    print(f"{len(rows)} answers, {sum(row.right for row in rows)} right; held out, log loss {told}")
    print(f"ridge {ridge}; intercept {FAULTLESS} (committed {committed_intercept}; "
          f"of these questions it would be {fit.intercept:.3f})")  # fmt: skip
    for name, weight, old in zip(names, fit.weights, committed, strict=True):
        kind = "prior" if name in PRIORS else "fitted"
        used = sum(row.features[names.index(name)] != 0 for row in rows)
        print(f"{name:20} {weight:7.3f}  (committed {old:.3f})  {kind}, not 0 in {used} answers")
    threshold = QualityConfig().threshold if options.threshold is None else options.threshold
    recorded = read_recorded()
    report(recorded, [fit.probability(row) for row in recorded], threshold)
    if options.write:
        write(fit, rows)
        print(f"\nwrote {WEIGHTS.relative_to(ROOT)}; build the extension again")


if __name__ == "__main__":
    main()
