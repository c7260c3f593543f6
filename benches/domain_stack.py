"""What the head reads: a sentence's vector, structure, and what the rules' weights add up to.

The weights of the rules are fitted on the same rows as the head. Taken as they are they would look
better than on requests they never saw, and the head would trust them more than they deserve. So
while it is fitted, a row's sums come from weights fitted without its source or form.
"""

from __future__ import annotations

import numpy as np
from domain_rows import LABELS, RULES, Floats, Row, evidence, structural
from domain_rule_fit import fit, folds, labels_of, shares_of
from fit_domain_rules import PENALTY, WORD_PENALTY, stated, values_of

from cascadeflow.domains.rules import builtin_rules

SUMS_SCALE = 2.0
"""How much more the rules' sums count at first than other evidence: of 0.5, 1 and 2 the best on
held-out sources."""


def held_sums(rows: list[Row]) -> Floats:
    """The rules' sums for each row, by weights fitted without the row's fold; centred."""
    rules = builtin_rules()
    values = values_of(rules, [row.text for row in rows])
    labels, shares, start = labels_of(rows), shares_of(rows), stated(rules)
    penalty = np.array([WORD_PENALTY if rule.diluted else PENALTY for rule in rules], np.float32)
    which = folds(rows)
    sums = np.zeros((len(rows), len(LABELS)), np.float32)
    for fold in np.unique(which):
        kept = which != fold
        weights = fit(values[kept], labels[kept], shares[kept], stated=start, penalty=penalty)
        sums[~kept] = weights.sums(values[~kept])
    return centred(sums)


def centred(sums: Floats) -> Floats:
    """The sums less their mean: what is added to all domains alike says nothing."""
    found: Floats = sums - sums.mean(1, keepdims=True)
    return found


def evidence_for(rows: list[Row], sums: Floats | None = None) -> tuple[tuple[str, ...], Floats]:
    """The evidence as the head takes it: structure, then the rules' centred sums, scaled.

    Args:
        rows: the requests.
        sums: the rules' sums, `held_sums` for rows that they were fitted on; the shipped rules' own
            without.
    """
    names, told = evidence([row.text for row in rows])
    places = rule_places(names)
    if sums is None:
        sums = centred(told[:, places])
    found = structural(names, told)
    found[:, places] = sums * np.float32(SUMS_SCALE)
    return names, found


def rule_places(names: tuple[str, ...]) -> list[int]:
    """Where the rules' sums stand in the evidence, in the order of `LABELS`."""
    return [names.index(f"{RULES}{label}") for label in LABELS]


def uncentred(hidden: Floats, names: tuple[str, ...], dimension: int) -> Floats:
    """Weights that read the evidence as the rules give it, from ones that read `evidence_for`."""
    turned = hidden.copy()
    places = [dimension + place for place in rule_places(names)]
    mine = hidden[places] * np.float32(SUMS_SCALE)
    turned[places] = mine - mine.mean(0, keepdims=True)
    return turned
