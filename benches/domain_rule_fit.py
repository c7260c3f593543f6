"""Fits weights to rules, in numpy: multinomial logistic regression by L-BFGS, and its folds."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from domain_head import FOLDS
from domain_rows import HERE, LABELS, OWN, Floats, Row
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY = 8
"""Steps that L-BFGS remembers."""

STEPS = 45
ENOUGH = 2e-5
"""It stops where a step makes the loss less by no more than this share."""

FORMS = (("short", "hard negatives"), ("documents", "exams"), ("stories", "other languages"))
"""Kinds of form of the project's own rows that are held out together."""

PUBLIC = 0.5
"""What a public row weighs beside one of the project's own."""

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Weights:
    """What each rule adds to each label, and what each label has to begin with."""

    rules: Floats
    intercepts: Floats

    def sums(self, values: Floats) -> Floats:
        sums: Floats = values @ self.rules + self.intercepts
        return sums


def fit(
    values: Floats, labels: Integers, shares: Floats, *, stated: Floats, penalty: Floats
) -> Weights:
    """Fits weights to rules' values.

    Args:
        values: for each row what each rule found.
        labels: for each row its label's number.
        shares: what each row weighs.
        stated: the weights that the fit starts from and is drawn to, rules by labels.
        penalty: for each rule, how strongly.
    """
    rows = np.arange(len(values))
    drawn = penalty[:, None]

    def loss(weights: Floats) -> tuple[float, Floats]:
        sums = values @ weights[:-1] + weights[-1]
        sums -= sums.max(1, keepdims=True)
        powers = np.exp(sums)
        totals = powers.sum(1, keepdims=True)
        moved = weights[:-1] - stated
        value = -(shares * (sums[rows, labels] - np.log(totals[:, 0]))).sum()
        error = powers / totals
        error[rows, labels] -= 1
        error *= shares[:, None]
        slope = np.vstack([values.T @ error + drawn * moved, error.sum(0)])
        return float(value + 0.5 * (drawn * moved**2).sum()), slope

    start = np.vstack([stated, np.zeros((1, stated.shape[1]), np.float32)])
    found = descend(loss, start.astype(np.float32))
    return Weights(found[:-1], found[-1])


def descend(loss: Callable[[Floats], tuple[float, Floats]], at: Floats) -> Floats:
    """Walks down a smooth convex loss by L-BFGS (Nocedal and Wright, algorithm 7.4)."""
    moves: deque[tuple[Floats, Floats]] = deque(maxlen=MEMORY)
    value, slope = loss(at)
    for _ in range(STEPS):
        way = slope.copy()
        parts = []
        for move, bend in reversed(moves):
            part = (move * way).sum() / (move * bend).sum()
            parts.append(part)
            way -= part * bend
        if moves:
            move, bend = moves[-1]
            way *= (move * bend).sum() / (bend**2).sum()
        else:
            way /= np.abs(slope).sum()
        for (move, bend), part in zip(moves, reversed(parts), strict=True):
            way += move * (part - (bend * way).sum() / (move * bend).sum())
        length, steepness = 1.0, float((slope * way).sum())
        while True:
            there = at - np.float32(length) * way
            lower, bent = loss(there)
            if lower <= value - 1e-4 * length * steepness or length < 1e-6:
                break
            length /= 2
        if ((there - at) * (bent - slope)).sum() > 1e-10:
            moves.append((there - at, bent - slope))
        gain = value - lower
        at, value, slope = there, lower, bent
        if gain < ENOUGH * abs(value):
            break
    return at


def folds(rows: list[Row]) -> Integers:
    """Which fold each row is held out with: whole sources, and whole forms of the project's own."""
    forms = own_forms()
    return np.array([_fold(row, forms) for row in rows], np.int64)


def own_forms() -> dict[str, str]:
    """The free description of each own row's form, by its text."""
    found: dict[str, str] = {}
    for path in sorted((HERE / "domain_training").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found.setdefault(row["text"], row["form"].lower())
    return found


def _fold(row: Row, forms: dict[str, str]) -> int:
    if row.family != OWN:
        return next(at for at, held in enumerate(FOLDS) if row.family in held)
    for at, kinds in enumerate(FORMS):
        if row.form in kinds:
            return at
    return int(hashlib.sha256(forms[row.text].encode()).hexdigest(), 16) % len(FORMS)


def shares_of(rows: list[Row]) -> Floats:
    return np.array([1.0 if row.family == OWN else PUBLIC for row in rows], np.float32)


def labels_of(rows: list[Row]) -> Integers:
    return np.array([LABELS.index(row.label) for row in rows], np.int64)
