"""Fits the head of the domain detector's semantic layer, in numpy.

An ensemble of small networks (one hidden layer) over a sentence's vector and the rules' structural
evidence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from domain_rows import DIMENSION, LABELS, OWN, Floats, Row
from numpy.typing import NDArray

MEMBERS = 1
HIDDEN = 128
EPOCHS = 8
BATCH = 128
RATE = 2e-3
DECAY = 0.02
DROPOUT = 0.3
SMOOTHING = 0.05
VECTOR_SCALE = 8.0
EVIDENCE_SCALE = 0.3
CAP = 300
"""Rows that a label's part of one public source weighs at most, the project's own being 1 each: the
project's rows are varied, a source's are all of one making."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Network:
    """One hidden layer of rectified sums, then scores; its weights hold the inputs' scales."""

    hidden: Floats
    hidden_bias: Floats
    out: Floats
    bias: Floats

    def scores(self, inputs: Floats) -> Floats:
        scores: Floats = (
            np.maximum(inputs @ self.hidden + self.hidden_bias, 0) @ self.out + self.bias
        )
        return scores

    def cooled(self, temperature: float) -> Network:
        """The same, surer of itself (below 1) or less sure."""
        return Network(
            self.hidden, self.hidden_bias, self.out / temperature, self.bias / temperature
        )  # fmt: skip


def labels_of(rows: list[Row]) -> Integers:
    return np.array([LABELS.index(row.label) for row in rows], np.int64)


def weights_of(rows: list[Row]) -> Floats:
    """Each row's weight: sources capped, labels half-way balanced."""
    held = Counter((row.family, row.label) for row in rows)
    weights = np.array(
        [1.0 if row.family == OWN else min(1.0, CAP / held[row.family, row.label]) for row in rows],
        np.float32,
    )
    labels = labels_of(rows)
    share = np.bincount(labels, weights, len(LABELS))
    balanced: Floats = weights * np.sqrt(share.mean() / np.maximum(share, 1))[labels]
    return balanced.astype(np.float32)


def fit(inputs: Floats, dimension: int, rows: list[Row], *, members: int = MEMBERS) -> Network:
    """Fits the ensemble, as one network whose hidden units are all of theirs.

    Args:
        inputs: for each row its layered vector and, after its `dimension` numbers, its evidence.
        dimension: numbers in a layered vector.
        rows: the rows.
        members: networks that are averaged.
    """
    scale = np.full(inputs.shape[1], EVIDENCE_SCALE, np.float32)
    middle = np.zeros(inputs.shape[1], np.float32)
    # All vectors of an inner layer point much the same way: what tells them apart is made as large.
    for at in range(0, dimension, DIMENSION):
        part = slice(at, at + DIMENSION)
        middle[part] = inputs[:, part].mean(0)
        spread = np.linalg.norm(inputs[:, part] - middle[part], axis=1).mean()
        scale[part] = VECTOR_SCALE / spread
    scaled = (inputs - middle) * scale
    nets = [_fit_one(scaled, rows, seed) for seed in range(members)]
    hidden = np.concatenate([net.hidden for net in nets], 1) * scale[:, None]
    return Network(
        hidden,
        np.concatenate([net.hidden_bias for net in nets]) - middle @ hidden,
        np.concatenate([net.out for net in nets]) / members,
        np.mean([net.bias for net in nets], 0),
    )


def _fit_one(inputs: Floats, rows: list[Row], seed: int) -> Network:
    """AdamW with a warm-up and a linear decline, dropout between the layers, smoothed labels."""
    rng = np.random.default_rng(seed)
    count, width = inputs.shape
    labels, weights = labels_of(rows), weights_of(rows)
    targets = np.full((count, len(LABELS)), SMOOTHING / len(LABELS), np.float32)
    targets[np.arange(count), labels] += 1 - SMOOTHING
    span, inner = width**-0.5, HIDDEN**-0.5
    values = [
        rng.uniform(-span, span, (width, HIDDEN)).astype(np.float32),
        np.zeros(HIDDEN, np.float32),
        rng.uniform(-inner, inner, (HIDDEN, len(LABELS))).astype(np.float32),
        np.zeros(len(LABELS), np.float32),
    ]
    first = [np.zeros_like(value) for value in values]
    second = [np.zeros_like(value) for value in values]
    steps = EPOCHS * (count // BATCH)
    step = 0
    for _ in range(EPOCHS):
        order = rng.permutation(count)
        for at in range(0, count - BATCH + 1, BATCH):
            step += 1
            batch = order[at : at + BATCH]
            taken = inputs[batch]
            kept = (rng.random((BATCH, HIDDEN), np.float32) >= DROPOUT) / np.float32(1 - DROPOUT)
            inside = np.maximum(taken @ values[0] + values[1], 0) * kept
            error = (_softmax(inside @ values[2] + values[3]) - targets[batch]) * (
                weights[batch, None] / BATCH
            )
            back = (error @ values[2].T) * kept * (inside > 0)
            slopes = [taken.T @ back, back.sum(0), inside.T @ error, error.sum(0)]
            rate = RATE * min(1.0, step / (0.1 * steps)) * (1 - (step - 1) / steps)
            for place, (value, slope) in enumerate(zip(values, slopes, strict=True)):
                first[place] = 0.9 * first[place] + 0.1 * slope
                second[place] = 0.999 * second[place] + 0.001 * slope * slope
                move = (first[place] / (1 - 0.9**step)) / (
                    np.sqrt(second[place] / (1 - 0.999**step)) + 1e-8
                )
                np.subtract(value, np.float32(rate) * (move + DECAY * value), out=value)
    return Network(*values)


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    shares: Floats = powers / powers.sum(1, keepdims=True)
    return shares


def probabilities(scores: Floats, temperature: float = 1.0) -> Floats:
    return _softmax(scores / np.float32(temperature))


def cell_weights(rows: list[Row]) -> Floats:
    """Weights by which each label counts the same, and within it each family of sources."""
    held = Counter((row.label, row.family) for row in rows)
    families: defaultdict[str, set[str]] = defaultdict(set)
    for label, family in held:
        families[label].add(family)
    weights = np.array(
        [1 / (held[row.label, row.family] * len(families[row.label])) for row in rows], np.float32
    )
    return weights / weights.sum()


def temperature_for(scores: Floats, rows: list[Row]) -> float:
    """The temperature under which held-out rows are likeliest, labels and sources alike."""
    weights, labels = cell_weights(rows), labels_of(rows)
    candidates = np.exp(np.linspace(np.log(0.4), np.log(4), 120))

    def loss(temperature: float) -> float:
        right = probabilities(scores, temperature)[np.arange(len(rows)), labels]
        return float(-(weights * np.log(np.maximum(right, 1e-9))).sum())

    return float(min(candidates, key=loss))


FOLDS = (
    ("mbpp", "pubmedqa", "mmlu_law", "clinc"),
    ("gsm8k", "mmlu_science", "banking77", "instructions"),
    ("bbh", "crux", "truthfulqa"),
)
"""Families of sources that are held out together: each label keeps some source in each fold."""
