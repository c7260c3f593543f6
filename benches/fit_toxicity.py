"""Fits the toxicity head and writes it into the package, with its card.

    python benches/fit_toxicity.py [--vectors CACHE.npz] [--no-write]

Two models are fitted on the same rows: a small network over the sentence vector, and a logistic
regression over hashed n-grams. Their log-odds are weighed together on the project's own rows, each
judged by models that had not seen it (five folds). Nothing is fitted on or chosen by OpenAI's
moderation set, SURGE, ToxicChat, HateCheck or XSTest; `quality_sets.py` measures those.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from quality_rows import auc, digest, vectors
from toxicity_head import Network, Ngrams, fit_mixture, fit_network, fit_ngrams
from toxicity_rows import OWN, REQUESTS, TWEETS, Row, Sparse, own_rows, request_rows, tweet_rows

from cascadeflow.models.embedding_files import MINILM
from cascadeflow.quality.toxicity import WHOLE
from cascadeflow.quality.toxicity_head import FORMAT, HEAD

if TYPE_CHECKING:
    from quality_rows import Flags, Floats

BUCKETS = 1 << 17
FOLDS = 5

SHARES = {
    (OWN, True): 0.38,
    (OWN, False): 0.34,
    (TWEETS, True): 0.08,
    (TWEETS, False): 0.08,
    (REQUESTS, False): 0.12,
}
"""What each group of rows weighs, whatever its number."""


def row_weights(rows: list[Row]) -> Floats:
    groups = [(row.source, row.toxic) for row in rows]
    held = {group: groups.count(group) for group in SHARES}
    return np.array([SHARES[group] * len(rows) / held[group] for group in groups], np.float32)


def both(inputs: Floats, features: Sparse, rows: list[Row], keep: Flags) -> tuple[Network, Ngrams]:
    """The two models, fitted on the rows that are kept."""
    kept = [row for row, is_kept in zip(rows, keep, strict=True) if is_kept]
    toxic, weights = np.array([row.toxic for row in kept]), row_weights(kept)
    return (
        fit_network(inputs[keep], toxic, weights),
        fit_ngrams(features.part(keep), toxic, weights, BUCKETS),
    )


def logits(models: tuple[Network, Ngrams], inputs: Floats, features: Sparse) -> Floats:
    network, ngrams = models
    small, scale = ngrams.quantised()
    found = features.scores(small.astype(np.float32) * np.float32(scale), ngrams.bias)
    return np.column_stack([network.logits(inputs), found])


def write(path: Path, models: tuple[Network, Ngrams], mixture: Floats, bias: float) -> None:
    network, ngrams = models
    small, scale = ngrams.quantised()
    header = {
        "format": FORMAT,
        "model": MINILM,
        "dimension": network.hidden.shape[0],
        "hidden": network.hidden.shape[1],
        "buckets": BUCKETS,
        "ngram_scale": scale,
        "ngram_bias": ngrams.bias,
        "network_weight": float(mixture[0]),
        "ngram_weight": float(mixture[1]),
        "bias": bias,
    }
    parts = (network.hidden.T, network.hidden_bias, network.out, np.array([network.bias]))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(
        json.dumps(header).encode() + b"\n"
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

    rows = own_rows() + tweet_rows() + request_rows()
    texts = [row.text[:WHOLE] for row in rows]
    inputs, features = vectors(texts, options.vectors), Sparse.of(texts, BUCKETS)
    toxic = np.array([row.toxic for row in rows])
    mine = np.array([row.source == OWN for row in rows])
    held_out = np.array([row.held_out for row in rows])
    folds = np.array([int(digest(text)[:8], 16) % FOLDS for text in texts])

    found = np.zeros((len(rows), 2), np.float32)
    for fold in range(FOLDS):
        judged = (
            (folds == fold) & ~held_out & (mine | (np.array([r.source for r in rows]) == REQUESTS))
        )
        models = both(inputs, features, rows, ~judged & ~held_out)
        found[judged] = logits(models, inputs[judged], features.part(judged))
    mixture, bias = fit_mixture(found[mine].astype(float), toxic[mine], np.ones(int(mine.sum())))
    final = both(inputs, features, rows, ~held_out)
    found[held_out] = logits(final, inputs[held_out], features.part(held_out))
    mixed = found @ mixture + np.float32(bias)
    print(f"weights {mixture.round(3).tolist()}, intercept {bias:.3f}")
    for name, part in (("own, five folds", mine), ("davidson, held out", held_out)):
        told = [f"{auc(toxic[part], scores[part]):.3f}" for scores in (*found.T, mixed)]
        print(f"{name}: AUC of network {told[0]}, n-grams {told[1]}, both {told[2]}")
    print("share of rows at 0.5 / 0.7 or more, held out")
    shares = 1 / (1 + np.exp(-mixed))
    kinds = sorted({(row.toxic, row.kind) for row in rows if row.source == OWN}, reverse=True)
    for flag, kind in kinds:
        part = np.array([row.source == OWN and row.kind == kind for row in rows])
        word = "toxic" if flag else "harmless"
        at_half, at_more = (shares[part] >= 0.5).mean(), (shares[part] >= 0.7).mean()
        print(f"{word:9}{kind:18}{part.sum():5}  {at_half:6.1%} {at_more:6.1%}")
    part = np.array([row.source == REQUESTS for row in rows])
    at_half, at_more = (shares[part] >= 0.5).mean(), (shares[part] >= 0.7).mean()
    print(f"harmless {'requests':18}{part.sum():5}  {at_half:6.2%} {at_more:6.2%}")
    if not options.no_write:
        write(HEAD, final, mixture, bias)
        print(f"{HEAD.stat().st_size:,} bytes in {HEAD.name}")


if __name__ == "__main__":
    main()
