"""Fits the two parts of the toxicity head, in numpy: a small network, and n-gram weights.

Each is a logistic model of rows that weigh what their group is given; their log-odds are weighed
together afterwards, on rows that neither had seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from quality_rows import Flags, Floats
    from toxicity_rows import Sparse

MEMBERS = 2
HIDDEN = 128
EPOCHS = 16
BATCH = 128
RATE = 2e-3
DECAY = 0.03
DROPOUT = 0.4
SMOOTHING = 0.05
VECTOR_SCALE = 12.0

NGRAM_STEPS = 120
NGRAM_RATE = 0.15
NGRAM_RIDGE = 1e-5


@dataclass(frozen=True, slots=True)
class Network:
    """One hidden layer of rectified sums over a vector, then the log-odds."""

    hidden: Floats
    hidden_bias: Floats
    out: Floats
    bias: float

    def logits(self, inputs: Floats) -> Floats:
        found: Floats = (
            np.maximum(inputs @ self.hidden + self.hidden_bias, 0) @ self.out + self.bias
        )
        return found


def fit_network(inputs: Floats, toxic: Flags, weights: Floats) -> Network:
    """Fits an ensemble, as one network whose hidden units are all of theirs."""
    nets = [_fit_one(inputs * VECTOR_SCALE, toxic, weights, seed) for seed in range(MEMBERS)]
    return Network(
        np.concatenate([net.hidden for net in nets], 1) * VECTOR_SCALE,
        np.concatenate([net.hidden_bias for net in nets]),
        np.concatenate([net.out for net in nets]) / MEMBERS,
        float(np.mean([net.bias for net in nets])),
    )


def _fit_one(inputs: Floats, toxic: Flags, weights: Floats, seed: int) -> Network:
    """AdamW with a linear decline, dropout before the output, smoothed labels."""
    rng = np.random.default_rng(seed)
    count, width = inputs.shape
    weights = weights / weights.mean()
    targets = np.where(toxic, 1 - SMOOTHING, SMOOTHING).astype(np.float32)
    values = [
        rng.normal(0, width**-0.5, (width, HIDDEN)).astype(np.float32),
        np.zeros(HIDDEN, np.float32),
        rng.normal(0, HIDDEN**-0.5, HIDDEN).astype(np.float32),
        np.zeros(1, np.float32),
    ]
    first = [np.zeros_like(value) for value in values]
    second = [np.zeros_like(value) for value in values]
    steps, step = EPOCHS * (count // BATCH), 0
    for _ in range(EPOCHS):
        order = rng.permutation(count)
        for at in range(0, count - BATCH + 1, BATCH):
            step += 1
            batch = order[at : at + BATCH]
            taken = inputs[batch]
            kept = (rng.random((BATCH, HIDDEN), np.float32) >= DROPOUT) / np.float32(1 - DROPOUT)
            inside = np.maximum(taken @ values[0] + values[1], 0) * kept
            scores = inside @ values[2] + values[3]
            error = (1 / (1 + np.exp(-scores)) - targets[batch]) * weights[batch] / BATCH
            back = error[:, None] * values[2] * kept * (inside > 0)
            slopes = [taken.T @ back, back.sum(0), inside.T @ error, error.sum(keepdims=True)]
            rate = RATE * min(1.0, step / (0.1 * steps)) * (1 - (step - 1) / steps)
            for place, (value, slope) in enumerate(zip(values, slopes, strict=True)):
                first[place] = 0.9 * first[place] + 0.1 * slope
                second[place] = 0.999 * second[place] + 0.001 * slope * slope
                move = (first[place] / (1 - 0.9**step)) / (
                    np.sqrt(second[place] / (1 - 0.999**step)) + 1e-8
                )
                np.subtract(value, np.float32(rate) * (move + DECAY * value), out=value)
    return Network(values[0], values[1], values[2], float(values[3][0]))


@dataclass(frozen=True, slots=True)
class Ngrams:
    """A weight a bucket, and the intercept."""

    weights: Floats
    bias: float

    def quantised(self) -> tuple[NDArray[np.int8], float]:
        """The weights as signed bytes, and what a step of them is worth.

        The largest one in ten thousand is cut.
        """
        top = float(np.quantile(np.abs(self.weights[self.weights != 0]), 0.9999))
        scale = top / 127
        return np.clip(np.round(self.weights / scale), -127, 127).astype(np.int8), scale


def fit_ngrams(features: Sparse, toxic: Flags, weights: Floats, size: int) -> Ngrams:
    """Ridge logistic regression over the buckets, by Adam on all rows at once."""
    weights = (weights / weights.sum()).astype(np.float64)
    owner = np.repeat(np.arange(len(toxic)), features.lengths)
    norm = 1 / np.sqrt(np.maximum(features.lengths, 1))
    value, bias = np.zeros(size), 0.0
    first, second = np.zeros(size), np.zeros(size)
    first_bias, second_bias = 0.0, 0.0
    for step in range(1, NGRAM_STEPS + 1):
        scores = features.scores(value, bias)
        error = (1 / (1 + np.exp(-scores)) - toxic) * weights
        slope = np.bincount(features.buckets, (error * norm)[owner], size) + NGRAM_RIDGE * value
        rate = NGRAM_RATE * (1 - (step - 1) / NGRAM_STEPS)
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope * slope
        value -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        total = float(error.sum())
        first_bias = 0.9 * first_bias + 0.1 * total
        second_bias = 0.999 * second_bias + 0.001 * total * total
        bias -= (
            rate
            * (first_bias / (1 - 0.9**step))
            / ((second_bias / (1 - 0.999**step)) ** 0.5 + 1e-8)
        )
    return Ngrams(value.astype(np.float32), bias)


def fit_mixture(logits: Floats, toxic: Flags, weights: Floats) -> tuple[Floats, float]:
    """Weights for columns of log-odds, none below zero, and an intercept, by Newton's method."""
    weights = weights / weights.sum()
    kept = np.ones(logits.shape[1], bool)
    while True:
        inputs = np.column_stack([logits[:, kept], np.ones(len(logits))])
        found = np.zeros(inputs.shape[1])
        for _ in range(50):
            shares = 1 / (1 + np.exp(-inputs @ found))
            slope = inputs.T @ (weights * (shares - toxic)) + 1e-4 * found
            curve = (inputs.T * (weights * shares * (1 - shares))) @ inputs
            found -= np.linalg.solve(curve + 1e-4 * np.eye(len(found)), slope)
        if (found[:-1] >= 0).all():
            full = np.zeros(logits.shape[1], np.float32)
            full[kept] = found[:-1]
            return full, float(found[-1])
        kept[np.flatnonzero(kept)[found[:-1] < 0]] = False
