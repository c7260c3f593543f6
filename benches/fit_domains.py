"""Fits the semantic layer's head and writes it into the package, with its card.

    python benches/fit_domains.py [--vectors CACHE.npz] [--no-write]

Temperature and threshold come from rows whose source the head had not seen: each family of
public sources, and each kind of form of the project's own rows, is held out once
(`domain_rule_fit.folds`). So it is with the rules' weights, whose sums the head reads: fit those
first. The figures of the card come from `domain/domain`'s `test` and `unseen_source` rows, which
nothing is fitted on or chosen by.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from domain_card import card
from domain_head import Network, cell_weights, fit, labels_of, probabilities, temperature_for
from domain_rows import (
    DIMENSION,
    LABELS,
    OWN,
    Floats,
    Row,
    evaluation_rows,
    layered_vectors,
    own_rows,
    permitted_rows,
)
from domain_rule_fit import folds
from domain_stack import evidence_for, held_sums, uncentred

from cascadeflow.domains.evaluation import Evaluation, LabelledRow, Prediction, evaluate
from cascadeflow.domains.semantic import FORMAT, HEAD
from cascadeflow.models.embedding_files import MINILM

EXAMPLES_PER_LABEL = 24


def evaluated(rows: list[Row], shares: Floats, threshold: float = 0.0) -> Evaluation:
    """What the probabilities are worth; below the threshold a row is taken to be general."""
    best, sure = shares.argmax(1), shares.max(1)
    said = [
        Prediction(LABELS[place], float(confidence))
        if confidence >= threshold
        else Prediction("general", None)
        for place, confidence in zip(best, sure, strict=True)
    ]
    return evaluate([LabelledRow(row.text, row.label, row.source) for row in rows], said)


def threshold_for(shares: Floats, rows: list[Row]) -> float:
    """The threshold at which held-out rows are right most often, `general` standing in below it."""
    weights, labels = cell_weights(rows), labels_of(rows)
    best, sure = shares.argmax(1), shares.max(1)
    general = LABELS.index("general")
    steps = np.round(np.arange(0.1, 0.9, 0.01), 2)

    def right(threshold: float) -> float:
        said = np.where(sure >= threshold, best, general)
        return float((weights * (said == labels)).sum())

    values = [right(step) for step in steps]
    # The highest of those that are as good: an unsure answer gains nothing.
    return float(
        max(step for step, value in zip(steps, values, strict=True) if value >= max(values) - 1e-4)
    )


def also_for(shares: Floats, rows: list[Row]) -> float:
    """The probability from which a further domain is named: where naming is best by F1.

    Held-out rows of the project's own count, of which some are labelled with further domains.
    """
    own = [at for at, row in enumerate(rows) if row.family == OWN]
    fits = np.array([[name in {rows[at].label, *rows[at].also} for name in LABELS] for at in own])
    held = shares[own]
    further = held < held.max(1, keepdims=True)
    likeliest_missed = ~fits[np.arange(len(own)), held.argmax(1)]
    steps = np.round(np.arange(0.05, 0.5, 0.01), 2)

    def agreement(step: float) -> float:
        named = further & (held >= step)
        right = (named & fits).sum()
        wanted = (fits & further).sum()
        return float(2 * right / max(1, named.sum() + wanted))

    best = max(steps, key=agreement)
    print(
        f"further domains from {best:.2f}: F1 {agreement(best):.3f}; the likeliest fits "
        f"{1 - likeliest_missed.mean():.1%} of the project's own rows"
    )
    return float(best)


def examples(inputs: Floats, rows: list[Row]) -> list[int]:
    """Rows of the project's own that lie far apart: for each label the farthest first."""
    chosen: list[int] = []
    for label in LABELS:
        places = [
            at for at, row in enumerate(rows)
            if row.family == OWN and row.label == label and len(row.text) <= 160
        ]  # fmt: skip
        held = inputs[places]
        picked = [int((held @ held.mean(0)).argmax())]
        nearest = held @ held[picked[0]]
        while len(picked) < EXAMPLES_PER_LABEL:
            # Half-way: the farthest are odd ones, which explain little.
            order = np.argsort(nearest)
            picked.append(int(order[len(order) // 20]))
            nearest = np.maximum(nearest, held @ held[picked[-1]])
        chosen += [places[at] for at in picked]
    return chosen


def write(
    path: Path,
    net: Network,
    *,
    names: tuple[str, ...],
    threshold: float,
    also: float,
    rows: list[Row],
    embedded: Floats,
) -> None:  # fmt: skip
    layered = embedded.shape[1]
    shown = examples(embedded[:, :DIMENSION], rows)
    header = {
        "format": FORMAT,
        "model": MINILM,
        "domains": LABELS,
        "threshold": threshold,
        "also": also,
        "evidence": names,
        "dimension": DIMENSION,
        "layered": layered,
        "hidden": net.hidden.shape[1],
        "examples": [[rows[at].text, rows[at].label] for at in shown],
    }
    held = embedded[shown, :DIMENSION]
    small = np.round(held / np.abs(held).max(1, keepdims=True) * 127).astype(np.int8)
    hidden = uncentred(net.hidden, names, layered)
    parts = (hidden[:layered].T, hidden[layered:].T, net.hidden_bias, net.out.T, net.bias)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(
        json.dumps(header, ensure_ascii=False).encode() + b"\n"
        + b"".join(np.ascontiguousarray(part, "<f2").tobytes() for part in parts)
        + small.tobytes()
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--vectors", type=Path, help="an .npz that vectors are kept in")
    parser.add_argument("--no-write", action="store_true", help="fit and report only")
    options = parser.parse_args()

    rows, judged = own_rows() + permitted_rows(), evaluation_rows()
    texts = [row.text for row in rows + judged]
    embedded = layered_vectors(texts, options.vectors)
    dimension = embedded.shape[1]
    names, told = evidence_for(rows, held_sums(rows))
    ours = np.concatenate([embedded[: len(rows)], told], 1)
    theirs = np.concatenate([embedded[len(rows) :], evidence_for(judged)[1]], 1)

    which = folds(rows)
    scores = np.zeros((len(rows), len(LABELS)), np.float32)
    for fold in np.unique(which):
        kept = which != fold
        net = fit(
            ours[kept], dimension, [row for row, keep in zip(rows, kept, strict=True) if keep]
        )
        scores[~kept] = net.scores(ours[~kept])
    temperature = temperature_for(scores, rows)
    shares = probabilities(scores, temperature)
    threshold = threshold_for(shares, rows)
    public = [at for at, row in enumerate(rows) if row.family != OWN]
    held_out = evaluated([rows[at] for at in public], shares[public])
    print(f"temperature {temperature:.3f}, threshold {threshold:.2f}")

    final = fit(ours, dimension, rows).cooled(temperature)
    found = probabilities(final.scores(theirs))
    splits = {}
    for split in ("test", "unseen_source"):
        places = [at for at, row in enumerate(judged) if row.split == split]
        part = [judged[at] for at in places]
        splits[split] = (evaluated(part, found[places]), evaluated(part, found[places], threshold))
    text = card(
        trained=Counter((row.source, row.label) for row in rows),
        names=names, temperature=temperature, threshold=threshold, held_out=held_out, splits=splits,
    )  # fmt: skip
    print(text)
    if not options.no_write:
        write(
            HEAD,
            final,
            names=names,
            threshold=threshold,
            also=also_for(shares, rows),
            rows=rows,
            embedded=embedded[: len(rows)],
        )
        HEAD.with_name("CARD.md").write_text(text, encoding="utf-8")
        print(f"{HEAD.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
