"""Fits the weights of the quality probability and says how good it is.

    python benches/fit_quality.py            # fit, report
    python benches/fit_quality.py --write    # and write rust/core/src/quality/weights.rs

Fitted on recorded answers of real models with known correctness, all Apache-2.0
(`cascade/zeroeval_gsm8k`, `cascade/zeroeval_crux`, `cascade/routellm_gsm8k` under
`CASCADEFLOW_DATA`). Both tasks weigh the same. Faults that these answers hardly ever have (a
refusal, an echo, a broken form) get weights set by hand, `PRIORS`; they are held fixed while the
others are fitted by ridge logistic regression.

The default threshold is the least one, in steps of 0.01, at which the four pairs' cascades keep
95 % of the dear model's right answers in the mean, by predictions held out by question.

Everything that is reported is held out: by question (five parts) and, apart, by model (each
model's answers are predicted by weights that never saw that model).
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cascadeflow._native import judge_answer, quality_weights
from cascadeflow.config import QualityConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "rust" / "core" / "src" / "quality" / "weights.rs"

# By hand: a check that fails (a badness of one half and more) rejects an otherwise faultless answer
# at the default threshold, one that only finds fault does not.
PRIORS = {
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
}
RIDGE = 0.5
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
    """One recorded answer."""

    task: str
    model: str
    question: str
    features: tuple[float, ...]
    right: bool

    @property
    def part(self) -> int:
        """Which fifth of the questions this is one of; stable across runs."""
        return zlib.crc32(self.question.encode()) % PARTS


def read() -> list[Row]:
    """Reads the answers and takes their features."""
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

    def __init__(self, names: Sequence[str], rows: Sequence[Row]) -> None:
        """Fits by Newton's method; the features in `PRIORS` keep their weights."""
        self.names = names
        free = [at for at, name in enumerate(names) if name not in PRIORS]
        fixed = [(at, PRIORS[name]) for at, name in enumerate(names) if name in PRIORS]
        per_task: defaultdict[str, int] = defaultdict(int)
        for row in rows:
            per_task[row.task] += 1
        points = [
            (
                [1.0, *(row.features[at] for at in free)],
                sum(row.features[at] * weight for at, weight in fixed),
                float(row.right),
                len(rows) / len(per_task) / per_task[row.task],
            )
            for row in rows
        ]
        beta = [0.0] * (len(free) + 1)
        for _ in range(12):
            gradient = [0.0, *(-RIDGE * value for value in beta[1:])]
            hessian = [
                [RIDGE * (a == b) * (a > 0) for b in range(len(beta))] for a in range(len(beta))
            ]
            for inputs, offset, target, weight in points:
                guess = sigmoid(offset + sum(b * x for b, x in zip(beta, inputs, strict=True)))
                slope = weight * (target - guess)
                curve = weight * guess * (1.0 - guess)
                for a, x in enumerate(inputs):
                    if x:
                        gradient[a] += slope * x
                        line, scaled = hessian[a], curve * x
                        for b in range(a + 1):
                            line[b] += scaled * inputs[b]
            for a in range(len(beta)):
                for b in range(a):
                    hessian[b][a] = hessian[a][b]
            step = solve(hessian, gradient)
            beta = [b + s for b, s in zip(beta, step, strict=True)]
            if max(map(abs, step)) < 1e-6:
                break
        fitted = dict(zip((names[at] for at in free), beta[1:], strict=True))
        self.intercept = round(beta[0], 3)
        self.weights = [round(fitted.get(name, PRIORS.get(name, 0.0)), 3) for name in names]

    def probability(self, row: Row) -> float:
        """The probability that the answer is right."""
        terms = zip(self.weights, row.features, strict=True)
        return sigmoid(self.intercept + sum(w * x for w, x in terms))


def held_out(
    names: Sequence[str], rows: Sequence[Row], key: Callable[[Row], object]
) -> list[float]:
    """Predicts each row by a fit that saw no row with the same key."""
    fits = {
        value: Fit(names, [row for row in rows if key(row) != value])
        for value in {key(row) for row in rows}
    }
    return [fits[key(row)].probability(row) for row in rows]


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


def fitted_threshold(rows: Sequence[Row], scores: Sequence[float], target: float = 0.95) -> float:
    """The least threshold at which the pairs keep the target in the mean."""
    for hundredths in range(50, 100):
        kept = [cascade(rows, scores, pair, hundredths / 100).kept for pair in PAIRS]
        if sum(kept) / len(kept) >= target:
            return hundredths / 100
    return 1.0


def report(rows: Sequence[Row], by_question: list[float], by_model: list[float], at: float) -> None:
    """Prints what the held-out predictions are worth, with acceptance at the threshold `at`."""
    print(f"\n{'answers of':44} {'right':>6} {'AUC q':>6} {'AUC m':>6} {'ECE q':>6} {'ECE m':>6}")
    means: defaultdict[str, list[float]] = defaultdict(list)
    for task in ("gsm8k", "crux"):
        for model in sorted({row.model for row in rows if row.task == task}):
            mine = [i for i, row in enumerate(rows) if (row.task, row.model) == (task, model)]
            right = [rows[i].right for i in mine]
            held = [[scores[i] for i in mine] for scores in (by_question, by_model)]
            figures = [measure(s, right) for measure in (auc, calibration_error) for s in held]
            means[task].append(figures[0])
            label = f"{task} {model}"
            share = sum(right) / len(right)
            print(f"{label:44} {share:6.3f} " + " ".join(f"{figure:6.3f}" for figure in figures))
        mine = [i for i, row in enumerate(rows) if row.task == task]
        right = [rows[i].right for i in mine]
        mean = sum(means[task]) / len(means[task])
        errors = [calibration_error([s[i] for i in mine], right) for s in (by_question, by_model)]
        label = f"{task}, mean AUC within models; ECE pooled"
        print(f"{label:44} {sum(right) / len(right):6.3f} "
              f"{mean:6.3f} {'':6} {errors[0]:6.3f} {errors[1]:6.3f}")  # fmt: skip
    right = [row.right for row in rows]
    both = (by_question, by_model)
    figures = [measure(scores, right) for measure in (auc, calibration_error) for scores in both]
    print(f"{'all, pooled (rewards knowing the model)':44} {sum(right) / len(right):6.3f} "
          + " ".join(f"{figure:6.3f}" for figure in figures))  # fmt: skip
    print(f"\nat threshold {at}, held out by question; random: as many escalated by lot")
    heads = "accept  right   rest  saved   kept  random"
    print(f"{'pair':44}  {heads}")
    for pair in PAIRS:
        c = cascade(rows, by_question, pair, at)
        print(f"{pair:44} {c.accepted:7.3f} {c.right_accepted:6.3f} {c.right_refused:6.3f} "
              f"{c.saved:6.3f} {c.kept:6.3f} {c.kept_by_lot:7.3f}")  # fmt: skip


def write(fit: Fit, rows: Sequence[Row]) -> None:
    """Writes the weights where the Rust side reads them."""
    head = f"""//! The weights of the probability, one for each feature.
//!
//! Written by `python benches/fit_quality.py --write`; do not edit. Fitted on {len(rows)} recorded
//! answers to GSM8K and CRUX questions (Apache-2.0); weights marked *prior* are set by hand there,
//! for faults that those answers hardly ever have. `docs/quality.md` is their card.

use super::features::COUNT;

/// The logit of an answer of which nothing is known to be wrong.
pub const INTERCEPT: f64 = {fit.intercept:.3f};

/// What each feature adds to the logit, in the order of [`super::features::NAMES`].
pub const WEIGHTS: [f64; COUNT] = ["""
    lines = head.splitlines()
    for name, weight in zip(fit.names, fit.weights, strict=True):
        lines += [f"    {weight:.3f}, // {name}{', prior' if name in PRIORS else ''}"]
    WEIGHTS.write_text("\n".join([*lines, "];", ""]))


def main() -> None:
    """Fits, reports, and writes when asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the weights into the Rust side")
    parser.add_argument("--threshold", type=float, default=None, help="report acceptance at this")
    options = parser.parse_args()
    rows = read()
    names, committed_intercept, committed = quality_weights()
    fit = Fit(names, rows)
    print(f"{len(rows)} answers, {sum(row.right for row in rows)} right")
    print(f"{'intercept':20} {fit.intercept:7.3f}  (committed {committed_intercept:.3f})")
    for name, weight, old in zip(names, fit.weights, committed, strict=True):
        kind = "prior" if name in PRIORS else "fitted"
        used = sum(row.features[names.index(name)] != 0 for row in rows)
        print(f"{name:20} {weight:7.3f}  (committed {old:.3f})  {kind}, not 0 in {used} answers")
    threshold = QualityConfig().threshold if options.threshold is None else options.threshold
    by_question = held_out(names, rows, lambda row: row.part)
    by_model = held_out(names, rows, lambda row: row.model)
    print(f"fitted threshold     {fitted_threshold(rows, by_question):7.2f}  (default {threshold})")
    report(rows, by_question, by_model, threshold)
    if options.write:
        write(fit, rows)
        print(f"\nwrote {WEIGHTS.relative_to(ROOT)}; build the extension again")


if __name__ == "__main__":
    main()
