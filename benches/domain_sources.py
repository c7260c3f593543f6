"""Holds out each source of training rows in turn, and each form of the project's own: the gate.

    python benches/domain_sources.py [--check] [--write] [--vectors CACHE.npz]

What a detector does on sources it never saw is what counts. Each family of public sources, and of
the project's own rows each kind of form, is left out once, the semantic layer's head fitted on the
rest, and the recall on what was left out counted, `general` included. A fixed sample of the rows is
used, so that it takes about a minute without a cache; the shipped head, fitted on all rows, does
better. `--check` fails where a figure is under the committed floor (`domain_sources.json`);
`--write` writes new floors, `MARGIN` under what was measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from domain_head import fit, labels_of
from domain_rows import (
    FORMS,
    LABELS,
    OWN,
    Row,
    layered_vectors,
    own_rows,
    permitted_rows,
)
from domain_stack import evidence_for, held_sums

FLOORS = Path(__file__).with_suffix(".json")
OWN_PER_LABEL = 90
PER_SOURCE = 45
"""Rows that are taken of a label's part of one family of public sources."""

FEWEST = 10
"""A label of fewer held-out rows is not counted."""

MARGIN = 0.06
"""A floor lies so far under what was measured: a fit on another machine's arithmetic differs."""


def sample() -> list[Row]:
    """The same rows each time, whatever was added elsewhere: the first by their digests."""
    rows = sorted(own_rows() + permitted_rows(), key=_digest)
    taken: Counter[tuple[str, str]] = Counter()
    kept = []
    for row in rows:
        group = (row.family, row.label)
        taken[group] += 1
        if taken[group] <= (OWN_PER_LABEL if row.family == OWN else PER_SOURCE):
            kept.append(row)
    return kept


def _digest(row: Row) -> str:
    return hashlib.sha256(row.text.encode()).hexdigest()


def measured(cache: Path | None) -> dict[str, dict[str, float]]:
    """The recall of each label of what was held out."""
    rows = sample()
    texts = [row.text for row in rows]
    embedded = layered_vectors(texts, cache)
    inputs = np.concatenate([embedded, evidence_for(rows, held_sums(rows))[1]], 1)
    labels = labels_of(rows)
    groups = {
        family: np.array([row.family == family for row in rows])
        for family in sorted({row.family for row in rows} - {OWN})
    } | {f"own: {form}": np.array([row.form == form for row in rows]) for form in FORMS}
    found: dict[str, dict[str, float]] = {}
    for name, out in groups.items():
        rest = [row for row, gone in zip(rows, out, strict=True) if not gone]
        net = fit(inputs[~out], embedded.shape[1], rest, members=1)
        said = net.scores(inputs[out]).argmax(1)
        held = labels[out]
        found[name] = {
            LABELS[label]: round(float((said[held == label] == label).mean()), 4)
            for label in range(len(LABELS))
            if (held == label).sum() >= FEWEST
        }
    return {name: recalls for name, recalls in found.items() if recalls}


def by_label(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Each label's mean recall over what was held out of it."""
    means = {}
    for label in LABELS:
        values = [recalls[label] for recalls in found.values() if label in recalls]
        if values:
            means[label] = round(sum(values) / len(values), 4)
    return means


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="fail under the committed floors")
    parser.add_argument("--write", action="store_true", help="write new floors")
    parser.add_argument("--vectors", type=Path, help="an .npz that vectors are kept in")
    options = parser.parse_args()
    found = measured(options.vectors)
    labels = by_label(found)
    mean = sum(labels.values()) / len(labels)
    for name, recalls in found.items():
        told = ", ".join(f"{label} {recall:.0%}" for label, recall in recalls.items())
        print(f"without {name:22} {told}")
    print("by label: " + ", ".join(f"{label} {value:.0%}" for label, value in labels.items()))
    print(f"mean of {len(labels)} labels: {mean:.1%}")
    if options.write:
        floors = {
            "mean": round(mean - MARGIN / 2, 3),
            "labels": {
                label: round(max(0.0, value - 2 * MARGIN), 3) for label, value in labels.items()
            },
        }
        FLOORS.write_text(json.dumps(floors, indent=1) + "\n", encoding="utf-8")
    if options.check:
        floors = json.loads(FLOORS.read_text(encoding="utf-8"))
        missed = [
            f"{label}: {labels.get(label, 0.0):.1%}, floor {floor:.1%}"
            for label, floor in floors["labels"].items()
            if labels.get(label, 0.0) < floor
        ]
        if mean < floors["mean"]:
            missed.append(f"mean: {mean:.1%}, floor {floors['mean']:.1%}")
        if missed:
            sys.exit("under the floor on sources held out: " + "; ".join(missed))


if __name__ == "__main__":
    main()
